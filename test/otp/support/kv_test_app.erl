%% @doc A user's application: its process reads a bucket once more while it is being stopped.
-module(kv_test_app).
-behaviour(application).
-behaviour(gen_server).

-export([load/0]).
-export([start/2, stop/1, init/1, handle_call/3, handle_cast/2, terminate/2]).

%% @doc Loads the application. Its environment must have a file name when it is started.
load() ->
    application:load(
        {application, ?MODULE, [
            {description, "uses kv"}, {vsn, "1"}, {modules, [?MODULE]}, {registered, []},
            {applications, [kernel, stdlib, kv]}, {mod, {?MODULE, []}}
        ]}
    ).

start(_Type, _Arguments) ->
    gen_server:start_link(?MODULE, [], []).

stop(_State) -> ok.

init([]) ->
    process_flag(trap_exit, true),
    {ok, Bucket} = kv_bucket:start_link([{name, settings}]),
    ok = kv_bucket:put(Bucket, key, "what is to be read at the end"),
    {ok, Bucket}.

handle_call(_Request, _From, Bucket) -> {reply, ok, Bucket}.

handle_cast(_Request, Bucket) -> {noreply, Bucket}.

terminate(_Reason, _Bucket) ->
    timer:sleep(300),
    {ok, File} = application:get_env(?MODULE, file),
    ok = file:write_file(File, kv_bucket:get(settings, key)).
