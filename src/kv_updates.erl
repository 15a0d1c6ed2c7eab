%% @doc The queues of keys that several processes of this VM update at the same time: {@link kv_update_queue}.
%%
%% The server starts a queue when it is first asked for, and knows the queues of this VM. A queue ends by itself. The server is
%% started when it is first needed: {@link kv_on_demand}.
%% @private
-module(kv_updates).
-behaviour(gen_server).

-export([find/2, queue/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% {{Address, Key}, Queue}
-define(TABLE, ?MODULE).

%% The server knows the queues by their monitors.
-type state() :: #{reference() => {term(), term()}}.

%% @doc Returns the queue of a key, if there is one. It may have ended.
-spec find(term(), term()) -> pid() | none.
find(Address, Key) ->
    try ets:lookup(?TABLE, {Address, Key}) of
        [{_, Queue}] -> Queue;
        [] -> none
    catch
        error:badarg -> none
    end.

%% @doc Returns the queue of a key, and starts it if there is none. It may have ended by the time it is used.
-spec queue(term(), term()) -> pid().
queue(Address, Key) ->
    ok = kv_on_demand:ensure(?MODULE),
    gen_server:call(?MODULE, {queue, Address, Key}, infinity).

%% @private
-spec init([]) -> {ok, state()}.
init([]) ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    {ok, #{}}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, pid() | unknown, state()}.
handle_call({queue, Address, Key}, _From, State) ->
    Known = find(Address, Key),
    case is_pid(Known) andalso is_process_alive(Known) of
        true -> {reply, Known, State};
        false -> start({Address, Key}, State)
    end;
handle_call(_Request, _From, State) ->
    {reply, unknown, State}.

start({Address, Key} = Id, State) ->
    {Queue, Monitor} = kv_update_queue:start(Address, Key),
    true = ets:insert(?TABLE, {Id, Queue}),
    {reply, Queue, State#{Monitor => Id}}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', Monitor, process, Queue, _Reason}, State) when is_map_key(Monitor, State) ->
    {Id, Rest} = maps:take(Monitor, State),
    %% The key may have another queue by now.
    true = ets:delete_object(?TABLE, {Id, Queue}),
    {noreply, Rest};
handle_info(_Message, State) ->
    {noreply, State}.
