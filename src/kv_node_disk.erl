%% @doc Asks a C node about the folder of its durable buckets.
%% @private
-module(kv_node_disk).

-export([reply/3]).
-export([begin_reply/3, waiting/4, ask/1]).

%% How long the program may take to tell about its disk.
-define(TIMEOUT, 2000).

%% @doc Answers a call with a map, to which it adds what the node tells of its disk. The process that is called does not wait for the
%% node.
-spec reply(gen_server:from(), node(), map()) -> ok.
reply(From, Node, Info) ->
    _ = spawn(?MODULE, begin_reply, [From, Node, Info]),
    ok.

%% @private
-spec begin_reply(gen_server:from(), node(), map()) -> ok.
begin_reply(From, Node, Info) ->
    _ = erlang:send_after(?TIMEOUT, self(), too_late),
    waiting(From, Node, Info, start(Node)).

start(Node) ->
    spawn_monitor(?MODULE, ask, [Node]).

%% A purge, when code of kv has been loaded twice meanwhile, kills the process that asks, and spares this one: a hibernating process
%% has no code of this module on its stack.
%% @private
-spec waiting(gen_server:from(), node(), map(), {pid(), reference()}) -> ok.
waiting(From, Node, Info, {Asker, Monitor}) ->
    receive
        {'DOWN', Monitor, process, _, {disk, Disk}} ->
            gen_server:reply(From, Info#{disk => Disk});
        {'DOWN', Monitor, process, _, killed} ->
            waiting(From, Node, Info, start(Node));
        {'DOWN', Monitor, process, _, Reason} ->
            gen_server:reply(From, Info#{disk => {error, Reason}});
        too_late ->
            true = exit(Asker, kill),
            gen_server:reply(From, Info#{disk => {error, timeout}})
    after 0 -> erlang:hibernate(?MODULE, waiting, [From, Node, Info, {Asker, Monitor}])
    end.

%% In a process of its own, because a connection that is being set up may hold it up.
%% @private
-spec ask(node()) -> no_return().
ask(Node) ->
    exit(asked(Node)).

asked(Node) ->
    try
        {disk, erpc:call(Node, kv_node, disk, [], ?TIMEOUT)}
    catch
        error:{erpc, Reason} -> Reason;
        error:{exception, Reason, _} -> Reason;
        _:Reason -> Reason
    end.
