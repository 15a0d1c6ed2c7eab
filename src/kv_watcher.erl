%% @doc Watches the connections to C nodes, so that calls need no monitors on the wire.
%%
%% `gen_server:call/3' sends MONITOR_P, the request and DEMONITOR_P, each with a system call of its own. A call of
%% {@link kv_call} monitors a local process instead, the watcher of the node, which ends when the connection is lost;
%% whether the process that it calls is alive the C node tells it. So there is one watcher for each connected node
%% that has been called, and this server, which starts them. It also finds out whether a node is such a C node.
%%
%% It is started when it is first needed: {@link kv_on_demand}.
%% @private
-module(kv_watcher).
-behaviour(gen_server).

-export([watcher/1, start/1, start/2, local/1, locals/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([local/0]).

%% {Node, Watcher, Local}; or {Node, plain, Local}: not a C node, or one that is too old.
-define(TABLE, ?MODULE).
-define(START_TIMEOUT, 6000).

%% Whether reads from a node take the path of kv_local, or why not.
-type local() :: on | {off, term()}.
%% The watchers, those included that do not know yet what their node is, and who waits until they do.
-type state() :: #{
    node() => pid(), pid() => node(), {waiting, node()} => [{gen_server:from(), boolean()}]
}.

%% @doc The process that ends when the connection to that node is lost; `plain' when the node does not take
%% `$kv_call'; `unknown' when nobody watches it yet, and {@link start/1} may be called.
-spec watcher(node()) -> pid() | plain | unknown.
watcher(Node) ->
    try ets:lookup(?TABLE, Node) of
        [{_, Watcher, _}] -> Watcher;
        [] -> unknown
    catch
        error:badarg -> unknown
    end.

%% @doc Begins to watch a node, and does not wait for it. The node should be connected.
-spec start(node()) -> ok.
start(Node) ->
    ok = kv_on_demand:ensure(?MODULE),
    gen_server:cast(?MODULE, {watch, Node}).

%% @doc Watches a node and waits until it is known what it is, and whether it is read locally if LocalReads wants that.
-spec start(node(), boolean()) -> local().
start(Node, LocalReads) ->
    ok = kv_on_demand:ensure(?MODULE),
    try
        gen_server:call(?MODULE, {watch, Node, LocalReads}, ?START_TIMEOUT)
    catch
        exit:{Reason, _} -> {off, Reason}
    end.

%% @doc Whether a node is read locally.
-spec local(node()) -> local().
local(Node) ->
    maps:get(Node, locals(), {off, unknown}).

%% @doc The same of all nodes that are watched.
-spec locals() -> #{node() => local()}.
locals() ->
    try
        maps:from_list([{Node, Local} || {Node, _, Local} <- ets:tab2list(?TABLE)])
    catch
        error:badarg -> #{}
    end.

%% @private
-spec init([]) -> {ok, state()}.
init([]) ->
    process_flag(trap_exit, true),
    %% What a former server has published: its watchers have ended with it, and closed it.
    ok = kv_local:reset(),
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    ok = kv_proxies:new(),
    {ok, #{}}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()} | {noreply, state()}.
handle_call({watch, Node, LocalReads}, From, State) ->
    Waiting = [{From, LocalReads} | maps:get({waiting, Node}, State, [])],
    case {State, ets:lookup(?TABLE, Node)} of
        {#{Node := Watcher}, [{_, _, Local}]} ->
            case is_process_alive(Watcher) of
                true -> {reply, Local, State};
                false -> {noreply, State#{{waiting, Node} => Waiting}}
            end;
        {#{Node := _}, []} ->
            {noreply, State#{{waiting, Node} => Waiting}};
        {#{}, []} ->
            {noreply, watch_node(Node, LocalReads, State#{{waiting, Node} => Waiting})}
    end;
handle_call({proxy, #{proxy := Pid, native := Native} = Proxy}, _From, State) ->
    %% One that was entered before has a new native process.
    _ = kv_proxies:node_of(Pid) =:= none andalso erlang:monitor(process, Pid),
    {reply, kv_proxies:enter(Proxy, kv_local:is_open(node(Native))), State};
handle_call(Request, _From, State) ->
    {reply, {error, {bad_request, Request}}, State}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({watch, Node}, State) when is_map_key(Node, State) ->
    {noreply, State};
handle_cast({watch, Node}, State) ->
    {noreply, watch_node(Node, application:get_env(kv, local_reads, false), State)};
handle_cast({registry, Proxy, Name, Native}, State) ->
    _ = is_map_key(node(Native), State) andalso kv_local:enter_registry(Proxy, Name, Native),
    {noreply, State};
handle_cast(_Request, State) ->
    {noreply, State}.

watch_node(Node, LocalReads, State) ->
    Server = self(),
    Watcher = spawn_link(fun() -> watch(Server, Node, LocalReads) end),
    State#{Node => Watcher, Watcher => Node}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()} | {stop, term(), state()}.
handle_info({watching, Watcher, Kind, Opened}, State) when is_map_key(Watcher, State) ->
    Node = map_get(Watcher, State),
    Local = published(Node, Opened),
    true = ets:insert(?TABLE, {Node, shown(Kind, Watcher), Local}),
    {Waiting, Rest} = take_waiting(Node, State),
    ok = lists:foreach(fun({From, _}) -> gen_server:reply(From, Local) end, Waiting),
    {noreply, Rest};
handle_info({'EXIT', Watcher, _Reason}, State) when is_map_key(Watcher, State) ->
    {Node, Rest} = maps:take(Watcher, State),
    true = ets:delete(?TABLE, Node),
    ok = kv_local:withdraw(Node),
    {noreply, watch_again(Node, maps:remove(Node, Rest))};
handle_info({'DOWN', _, process, Proxy, _Reason}, State) ->
    ok = kv_proxies:leave(Proxy),
    {noreply, State};
handle_info(_Other, State) ->
    {noreply, State}.

published(Node, {ok, Arena}) -> ok = kv_local:publish(Node, Arena), on;
published(_Node, {error, Reason}) -> {off, Reason}.

take_waiting(Node, State) ->
    {maps:get({waiting, Node}, State, []), maps:remove({waiting, Node}, State)}.

%% Who waits has connected to the node since: the watcher that ended was that of a former connection. If it was not, the
%% next one says so.
watch_again(Node, State) ->
    case take_waiting(Node, State) of
        {[], _} ->
            State;
        {Waiting, Rest} ->
            case lists:member(Node, nodes(connected)) of
                true ->
                    watch_node(Node, lists:any(fun({_, LocalReads}) -> LocalReads end, Waiting), State);
                false ->
                    ok = lists:foreach(fun({From, _}) -> gen_server:reply(From, {off, noconnection}) end, Waiting),
                    Rest
            end
    end.

shown(native, Watcher) -> Watcher;
shown(plain, _Watcher) -> plain.

%%% The watcher of one node

-spec watch(pid(), node(), boolean()) -> no_return().
watch(Server, Node, LocalReads) ->
    true = erlang:monitor_node(Node, true),
    Kind = kv_native:kind(Node),
    Opened = open(Kind, Node, LocalReads),
    Server ! {watching, self(), Kind, Opened},
    watching(Node, Opened).

open(plain, _Node, _LocalReads) -> {error, not_native};
open(native, _Node, false) -> {error, not_wanted};
open(native, Node, true) -> kv_local:open(Node).

%% What it does not expect, it must not keep for ever. Whoever calls learns of the end of the connection from the end of
%% this process, so its memory is closed before.
watching(Node, Opened) ->
    receive
        {nodedown, Node} ->
            ok = close(Opened),
            exit(noconnection);
        _Other ->
            watching(Node, Opened)
    end.

close({ok, Arena}) -> kv_local:close(Arena);
close({error, _}) -> ok.
