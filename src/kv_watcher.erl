%% @doc The server of the watchers. A watcher watches the connection to one node, so that calls need no monitors on
%% the wire.
%%
%% `gen_server:call/3' sends MONITOR_P, the request and DEMONITOR_P, each with a system call of its own. A call of
%% {@link kv_call} monitors a local process instead: the watcher of the node, which ends when the connection is lost.
%% The C node itself says if the called process is dead. There is one watcher for each connected node that has been
%% called. It also finds out whether its node is a C node, and opens the memory of the node for local reads.
%%
%% The server is started when it is first needed: {@link kv_on_demand}.
%% @private
-module(kv_watcher).
-behaviour(gen_server).

-export([watcher/1, start/1, start/2, local/1, locals/0, lane/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, code_change/3]).
-export([watch/3, watching/2]).

-export_type([local/0]).

%% {Node, Watcher, Local}; or {Node, plain, Local} if the node is no C node, or one that is too old.
-define(TABLE, ?MODULE).
-define(START_TIMEOUT, 6000).

%% What a watcher has opened. A watcher that an older version has started has no lane.
-type opened() :: {ok, kv_nif:arena(), {ok, kv_nif:lane()} | {error, term()}} | {ok, kv_nif:arena()} | {error, term()}.
%% `on' if this VM reads from the node by kv_local, or calls it by kv_lane; otherwise the reason.
-type local() :: on | {off, term()}.
%% The watchers, including those that do not know yet what their node is, and the callers who wait for that.
-type state() :: #{
    node() => pid(), pid() => node(), {waiting, node()} => [{gen_server:from(), kv_local:wanted()}]
}.

%% @doc Returns the process that ends when the connection to that node is lost; `plain' if the node does not take
%% `$kv_call'; `unknown' if the node is not watched yet, and {@link start/1} may be called.
-spec watcher(node()) -> pid() | plain | unknown.
watcher(Node) ->
    try ets:lookup(?TABLE, Node) of
        [{_, Watcher, _}] -> Watcher;
        [] -> unknown
    catch
        error:badarg -> unknown
    end.

%% @doc Begins to watch a node, without waiting. The node should be connected.
-spec start(node()) -> ok.
start(Node) ->
    ok = kv_on_demand:ensure(?MODULE),
    gen_server:cast(?MODULE, {watch, Node}).

%% @doc Watches a node, and waits until its kind is known, and its memory is open if that is wanted.
-spec start(node(), kv_local:wanted()) -> local().
start(Node, Wanted) ->
    ok = kv_on_demand:ensure(?MODULE),
    try
        gen_server:call(?MODULE, {watch, Node, Wanted}, ?START_TIMEOUT)
    catch
        exit:{Reason, _} -> {off, Reason}
    end.

%% @doc Returns how a node is read.
-spec local(node()) -> local().
local(Node) ->
    maps:get(Node, locals(), {off, unknown}).

%% @doc Returns how each watched node is read.
-spec locals() -> #{node() => local()}.
locals() ->
    try
        maps:from_list([{Node, Local} || {Node, _, Local} <- ets:tab2list(?TABLE)])
    catch
        error:badarg -> #{}
    end.

%% @doc Returns whether calls to a node use its lane.
-spec lane(node()) -> local().
lane(Node) ->
    try
        ets:lookup_element(?TABLE, {lane, Node}, 2)
    catch
        error:badarg -> {off, unknown}
    end.

%% @private
-spec init([]) -> {ok, state()}.
init([]) ->
    process_flag(trap_exit, true),
    %% A former server may have published arenas. Its watchers have ended with it, and closed them.
    ok = kv_local:reset(),
    ok = kv_lane:reset(),
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    ok = kv_proxies:new(),
    {ok, #{}}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()} | {noreply, state()}.
handle_call({watch, Node, Wanted}, From, State) ->
    Waiting = [{From, Wanted} | maps:get({waiting, Node}, State, [])],
    case {State, ets:lookup(?TABLE, Node)} of
        {#{Node := Watcher}, [{_, _, Local}]} ->
            case is_process_alive(Watcher) of
                true -> {reply, Local, State};
                false -> {noreply, State#{{waiting, Node} => Waiting}}
            end;
        {#{Node := _}, []} ->
            {noreply, State#{{waiting, Node} => Waiting}};
        {#{}, []} ->
            {noreply, watch_node(Node, Wanted, State#{{waiting, Node} => Waiting})}
    end;
handle_call({proxy, #{proxy := Pid, native := Native} = Proxy}, _From, State) ->
    %% A proxy that was entered before has a new native process.
    _ = kv_proxies:node_of(Pid) =:= none andalso erlang:monitor(process, Pid),
    {reply, kv_proxies:enter(Proxy, kv_local:is_open(node(Native))), State};
handle_call(Request, _From, State) ->
    {reply, {error, {bad_request, Request}}, State}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({watch, Node}, State) when is_map_key(Node, State) ->
    {noreply, State};
handle_cast({watch, Node}, State) ->
    {noreply, watch_node(Node, kv_local:wanted(), State)};
handle_cast({registry, Proxy, Name, Native}, State) ->
    _ = is_map_key(node(Native), State) andalso kv_local:enter_registry(Proxy, Name, Native),
    {noreply, State};
handle_cast(_Request, State) ->
    {noreply, State}.

watch_node(Node, Wanted, State) ->
    _ = Wanted =/= false andalso kv_local:opening(Node),
    Watcher = spawn_link(?MODULE, watch, [self(), Node, Wanted]),
    State#{Node => Watcher, Watcher => Node}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()} | {stop, term(), state()}.
handle_info({watching, Watcher, Kind, Opened}, State) when is_map_key(Watcher, State) ->
    Node = map_get(Watcher, State),
    Local = published(Node, Opened),
    true = ets:insert(?TABLE, [{{lane, Node}, published_lane(Node, Opened)}, {Node, shown(Kind, Watcher), Local}]),
    {Waiting, Rest} = take_waiting(Node, State),
    ok = lists:foreach(fun({From, _}) -> gen_server:reply(From, Local) end, Waiting),
    {noreply, Rest};
handle_info({'EXIT', Watcher, _Reason}, State) when is_map_key(Watcher, State) ->
    {Node, Rest} = maps:take(Watcher, State),
    true = ets:delete(?TABLE, Node),
    true = ets:delete(?TABLE, {lane, Node}),
    ok = kv_lane:withdraw(Node),
    ok = kv_local:withdraw(Node),
    {noreply, watch_again(Node, maps:remove(Node, Rest))};
handle_info({'DOWN', _, process, Proxy, _Reason}, State) ->
    ok = kv_proxies:leave(Proxy),
    {noreply, State};
handle_info(_Other, State) ->
    {noreply, State}.

published(Node, {ok, Arena, _Lane}) -> ok = kv_local:publish(Node, Arena), on;
published(Node, {ok, Arena}) -> ok = kv_local:publish(Node, Arena), on;
published(Node, {error, Reason}) -> ok = kv_local:withdraw(Node), {off, Reason}.

published_lane(Node, {ok, _Arena, {ok, Lane}}) -> ok = kv_lane:publish(Node, Lane), on;
published_lane(_Node, {ok, _Arena, {error, Reason}}) -> {off, Reason};
published_lane(_Node, {ok, _Arena}) -> {off, not_wanted};
published_lane(_Node, {error, Reason}) -> {off, Reason}.

take_waiting(Node, State) ->
    {maps:get({waiting, Node}, State, []), maps:remove({waiting, Node}, State)}.

%% A caller that waits may have connected to the node since the watcher of the former connection ended. If it has not,
%% the next watcher says so.
watch_again(Node, State) ->
    case take_waiting(Node, State) of
        {[], _} ->
            State;
        {Waiting, Rest} ->
            case lists:member(Node, nodes(connected)) of
                true ->
                    watch_node(Node, most([Wanted || {_, Wanted} <- Waiting]), State);
                false ->
                    ok = lists:foreach(fun({From, _}) -> gen_server:reply(From, {off, noconnection}) end, Waiting),
                    Rest
            end
    end.

most(Wanted) ->
    hd([One || One <- [all, reads, false], lists:member(One, Wanted)]).

shown(native, Watcher) -> Watcher;
shown(plain, _Watcher) -> plain.

%%% The watcher of one node

%% @private
-spec watch(pid(), node(), kv_local:wanted()) -> no_return().
watch(Server, Node, Wanted) ->
    true = erlang:monitor_node(Node, true),
    Kind = kv_native:kind(Node),
    Opened = open(Kind, Node, Wanted),
    Server ! {watching, self(), Kind, Opened},
    watching(Node, Opened).

open(plain, _Node, _Wanted) -> {error, not_native};
open(native, _Node, false) -> {error, not_wanted};
open(native, Node, Wanted) -> with_lane(kv_local:open(Node), Node, Wanted).

with_lane({ok, Arena}, Node, all) -> {ok, Arena, kv_lane:open(Node, Arena)};
with_lane({ok, Arena}, _Node, _Wanted) -> {ok, Arena, {error, not_wanted}};
with_lane({error, Reason}, _Node, _Wanted) -> {error, Reason}.

%% Drops unexpected messages. Callers learn of the end of the connection from the end of this process, so it closes
%% the memory before it ends.
%%
%% A process that waits in a receive of this module would be killed when the module has been loaded twice, and with it
%% the calls under way. A hibernating process has no code of this module on its stack.
%% @private
-spec watching(node(), opened()) -> no_return().
watching(Node, Opened) ->
    receive
        {nodedown, Node} ->
            ok = close(Opened),
            exit(noconnection);
        _Other ->
            watching(Node, Opened)
    after 0 ->
        erlang:hibernate(?MODULE, watching, [Node, Opened])
    end.

close({ok, Arena, Lane}) -> ok = close_lane(Lane), kv_local:close(Arena);
close({ok, Arena}) -> kv_local:close(Arena);
close({error, _}) -> ok.

close_lane({ok, Lane}) -> kv_lane:close(Lane);
close_lane({error, _}) -> ok.

%% @private
-spec code_change(term(), state(), term()) -> {ok, state()}.
code_change(_OldVersion, State, _Extra) ->
    {ok, State}.
