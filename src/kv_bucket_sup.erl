%% @doc The supervisor of buckets. It has one proxy per bucket.
%%
%% ```
%% {ok, Bucket} = kv_bucket_sup:start_bucket(kv_bucket_sup, []),
%% ok = kv_bucket:put(Bucket, milk, 3).
%% '''
-module(kv_bucket_sup).
-behaviour(supervisor).

-export([start_link/1, child_spec/1, start_bucket/1, start_bucket/2]).
-export([init/1]).

%% @doc Starts a bucket supervisor under a local name.
-spec start_link(atom()) -> {ok, pid()} | {error, term()}.
start_link(Name) when is_atom(Name) ->
    case supervisor:start_link({local, Name}, ?MODULE, []) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    end.

%% @doc Returns a child specification.
-spec child_spec(atom()) -> supervisor:child_spec().
child_spec(Name) ->
    #{
        id => Name,
        start => {?MODULE, start_link, [Name]},
        restart => permanent,
        shutdown => infinity,
        type => supervisor,
        modules => [?MODULE]
    }.

%% @doc Starts a bucket without options.
-spec start_bucket(gen_server:server_ref()) -> {ok, pid()} | {error, term()}.
start_bucket(Supervisor) ->
    start_bucket(Supervisor, []).

%% @doc Starts a bucket. The options are those of {@link kv_bucket:start_link/1}.
-spec start_bucket(gen_server:server_ref(), kv_bucket:options()) -> {ok, pid()} | {error, term()}.
start_bucket(Supervisor, Options) ->
    case supervisor:start_child(Supervisor, [Options]) of
        {ok, Pid} when is_pid(Pid) -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    end.

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    %% A bucket is temporary, because an empty successor would hide that the values are gone. So nothing is ever
    %% restarted, and the intensity is never used.
    Flags = #{strategy => simple_one_for_one, intensity => 1, period => 5},
    {ok, {Flags, [(kv_bucket:child_spec([]))#{start := {kv_bucket, start_link, []}}]}}.
