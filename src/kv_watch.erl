%% @doc Watches the connections to C nodes, so that calls need no monitors on the wire.
%%
%% `gen_server:call/3' sends MONITOR_P, the request and DEMONITOR_P, each with a system call of its own. A call of
%% {@link kv_call} monitors a local process instead, the watcher of the node, which ends when the connection is lost;
%% whether the process that it calls is alive the C node tells it. So there is one watcher for each connected node
%% that has been called, and this server, which starts them. It also finds out whether a node is such a C node.
%%
%% Any VM that has this code may call buckets, also one where the application kv does not run: like `timer', the server
%% is therefore started when it is first needed, below `kernel_safe_sup'.
%% @private
-module(kv_watch).
-behaviour(gen_server).

-export([watcher/1, start/1, start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% {Node, Watcher}; or {Node, plain}: not a C node, or one that is too old.
-define(TABLE, ?MODULE).
%% Nobody is registered as that on any node.
-define(NOBODY, '$kv_call').

%% The watchers, those included that do not know yet what their node is.
-type state() :: #{node() => pid(), pid() => node()}.

%% @doc The process that ends when the connection to that node is lost; `plain' when the node does not take
%% `$kv_call'; `unknown' when nobody watches it yet, and {@link start/1} may be called.
-spec watcher(node()) -> pid() | plain | unknown.
watcher(Node) ->
    try ets:lookup(?TABLE, Node) of
        [{_, Watcher}] -> Watcher;
        [] -> unknown
    catch
        error:badarg -> unknown
    end.

%% @doc Begins to watch a node, and does not wait for it. The node should be connected.
-spec start(node()) -> ok.
start(Node) ->
    _ = whereis(?MODULE) =:= undefined andalso start_server(whereis(kernel_safe_sup)),
    gen_server:cast(?MODULE, {watch, Node}).

start_server(undefined) ->
    gen_server:start({local, ?MODULE}, ?MODULE, [], []);
start_server(Supervisor) ->
    supervisor:start_child(Supervisor, #{
        id => ?MODULE,
        start => {?MODULE, start_link, []},
        %% It is started again when it is needed again. However often it ends, nothing else of the VM must.
        restart => temporary,
        shutdown => brutal_kill,
        type => worker,
        modules => [?MODULE]
    }).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    case gen_server:start_link({local, ?MODULE}, ?MODULE, [], []) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    end.

%% @private
-spec init([]) -> {ok, state()}.
init([]) ->
    process_flag(trap_exit, true),
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    {ok, #{}}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(Request, _From, State) ->
    {reply, {error, {bad_request, Request}}, State}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({watch, Node}, State) when is_map_key(Node, State) ->
    {noreply, State};
handle_cast({watch, Node}, State) ->
    Server = self(),
    Watcher = spawn_link(fun() -> watch(Server, Node) end),
    {noreply, State#{Node => Watcher, Watcher => Node}};
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()} | {stop, term(), state()}.
handle_info({watching, Watcher, Kind}, State) when is_map_key(Watcher, State) ->
    true = ets:insert(?TABLE, {map_get(Watcher, State), shown(Kind, Watcher)}),
    {noreply, State};
handle_info({'EXIT', Watcher, _Reason}, State) when is_map_key(Watcher, State) ->
    {Node, Rest} = maps:take(Watcher, State),
    true = ets:delete(?TABLE, Node),
    {noreply, maps:remove(Node, Rest)};
handle_info(_Other, State) ->
    {noreply, State}.

shown(native, Watcher) -> Watcher;
shown(plain, _Watcher) -> plain.

%%% The watcher of one node

-spec watch(pid(), node()) -> no_return().
watch(Server, Node) ->
    true = erlang:monitor_node(Node, true),
    Server ! {watching, self(), kind(Node)},
    watching(Node).

%% What it does not expect, it must not keep for ever.
watching(Node) ->
    receive
        {nodedown, Node} -> exit(noconnection);
        _Other -> watching(Node)
    end.

%% A C node says of a `$kv_call' to nobody that nobody is there; any other node says nothing. Its net_kernel answers
%% after that in any case: the C node handles what comes from one connection in order.
kind(Node) ->
    Alias = erlang:alias([reply]),
    _ = erlang:send({?NOBODY, Node}, {'$kv_call', Alias, hello}, [noconnect]),
    Question = gen_server:send_request({net_kernel, Node}, {is_auth, node()}),
    Kind = receive
        {Alias, down, noproc} -> native;
        {nodedown, Node} -> exit(noconnection);
        Message -> answered(gen_server:check_response(Message, Question))
    end,
    _ = erlang:unalias(Alias),
    Kind.

answered({reply, _}) -> plain;
answered({error, _}) -> exit(noconnection);
answered(no_reply) -> plain.
