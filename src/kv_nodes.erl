%% @doc Knows which C nodes this VM can use, and who waits for one.
%%
%% A node is known by the local name of its {@link kv_node}. kv_node tells this server when its node is up, when the
%% connection is lost, when the program is silent, and when the program is gone. Proxies and callers ask this server,
%% because it outlives each kv_node and is not part of any supervision tree of kv.
%%
%% ```
%%      expected/3          up/3              lost/1             up/3
%%  down ---------> starting ----> {up, ...} -------> {lost, ...} ----> {up, ...}
%%                     ^                 \                /
%%                     +------------------+--- gone/2 ---+
%% '''
%%
%% A node to which this VM is attached ({@link kv_attached}) is `away' once it has been lost for too long, and comes back from there.
%%
%% The server is started when it is first needed: {@link kv_on_demand}.
%% @private
-module(kv_nodes).
-behaviour(gen_server).

-export([expected/3, is_expected/1, recovering/2, up/3, lost/1, away/1, silent/2, gone/2]).
-export([status/1, await/2, send_await/1, await_start/2, subscribe/1, unsubscribe/1, monitor/0, answers/1, start_timeout/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, code_change/3]).

-export_type([status/0, place/0]).

%% A node and one connection to it. The creation distinguishes one run of the program from the next. The number
%% distinguishes the connections of a kv_node.
-type place() :: #{node := node(), creation := non_neg_integer(), connection := pos_integer()}.
%% `starting': a process is there that will start the node. `down': there is none. `away': nobody knows whether or when an attached
%% node comes back.
-type status() :: {up, place()} | {lost, place()} | away | starting | down.

%% {Server, status(), Silent, StartTimeout, Progress}. Progress of a start that takes long: {Percent, When}, or none.
-define(TABLE, ?MODULE).
%% Outlives this server: the keeper of a kv_node, and its start_timeout.
-define(KEPT(Server), {?MODULE, kept, Server}).
-define(DEFAULT_START_TIMEOUT, 10000).
%% A server that has just ended is asked again: TRIES times, every RETRY milliseconds.
-define(RETRY, 10).
-define(TRIES, 100).
%% How long a caller that does not wait for a node takes to fail. If it failed at once, it would only use up the
%% intensity of the supervisor above while the node is ending.
-define(FAILED_PAUSE, 500).

-record(state, {
    %% The process that starts the node, and starts it again: usually a supervisor.
    keepers = #{} :: #{atom() => pid()},
    %% The kv_node of a node that is up or lost.
    owners = #{} :: #{atom() => pid()},
    monitors = #{} :: #{pid() => reference()},
    %% Processes that get each change of status, until the node is up.
    subscribers = #{} :: #{pid() => atom()},
    %% Calls of await/2.
    waiting = [] :: [{atom(), gen_server:from()}]
}).

%%% Called by kv_node

%% @doc Keeper starts the kv_node of that name, and starts it again after a failure, as long as Keeper lives.
-spec expected(atom(), pid(), pos_integer()) -> ok.
expected(Server, Keeper, StartTimeout) ->
    tell({expected, Server, Keeper, StartTimeout}).

%% @doc Returns `true' if a kv_node of that name runs, or will be started again.
-spec is_expected(atom()) -> boolean().
is_expected(Server) ->
    case persistent_term:get(?KEPT(Server), undefined) of
        {Keeper, _} -> is_process_alive(Keeper);
        undefined -> false
    end.

%% @doc The program that is starting has read so much of its data. Who waits for it waits for `start_timeout' from now on.
-spec recovering(atom(), 0..100) -> ok.
recovering(Server, Percent) ->
    tell({recovering, Server, Percent}).

%% @doc The calling kv_node is connected to its node. Also called after each reconnection.
-spec up(atom(), node(), non_neg_integer()) -> ok.
up(Server, Node, Creation) ->
    tell({up, Server, self(), Node, Creation}).

%% @doc The connection is lost. The program may still be running.
-spec lost(atom()) -> ok.
lost(Server) ->
    tell({lost, Server}).

%% @doc An attached node has been lost for so long that nobody should wait for it any more. It may come back: {@link up/3}.
-spec away(atom()) -> ok.
away(Server) ->
    tell({away, Server}).

%% @doc Silent is true while the program has left a question unanswered.
-spec silent(atom(), boolean()) -> ok.
silent(Server, Silent) ->
    tell({silent, Server, Silent}).

%% @doc The program is gone, or is about to be ended: in order, or by a failure, after which it is started again. When
%% this returns, every subscriber has been told.
-spec gone(atom(), order | failure) -> ok.
gone(Server, How) ->
    tell({gone, Server, How}).

tell(Message) ->
    ask(Message, ?TRIES).

%% A server that ends is started again, but its supervisor may not have noticed its end yet.
ask(Message, Tries) ->
    ok = kv_on_demand:ensure(?MODULE),
    try
        gen_server:call(?MODULE, Message, infinity)
    catch
        exit:_ when Tries > 1 ->
            ok = timer:sleep(?RETRY),
            ask(Message, Tries - 1)
    end.

%%% Called by proxies and callers

%% @doc Returns the status, without sending a message.
-spec status(atom()) -> status().
status(Server) ->
    case row(Server) of
        {_, Status, _, _, _} -> Status;
        undefined -> down
    end.

%% @doc Returns `true' if the node has answered the last question that was due.
-spec answers(atom()) -> boolean().
answers(Server) ->
    case row(Server) of
        {_, {up, _}, Silent, _, _} -> not Silent;
        _ -> false
    end.

%% @doc Returns how many milliseconds a caller waits for the node while it starts.
-spec start_timeout(atom()) -> pos_integer().
start_timeout(Server) ->
    case row(Server) of
        {_, _, _, Timeout, _} -> Timeout;
        undefined -> ?DEFAULT_START_TIMEOUT
    end.

row(Server) ->
    try ets:lookup(?TABLE, Server) of
        [Row] -> Row;
        [] -> undefined
    catch
        error:badarg -> undefined
    end.

%% @doc Waits until the node is up, as long as a process is there that will start it.
-spec await(atom(), timeout()) -> {ok, place()} | {error, down | timeout}.
await(Server, Timeout) ->
    case status(Server) of
        {up, Place} -> {ok, Place};
        down -> {error, down};
        _ when Timeout =:= 0 -> {error, timeout};
        _ -> await_change(Server, Timeout)
    end.

await_change(Server, Timeout) ->
    try
        gen_server:call(?MODULE, {await, Server}, Timeout)
    catch
        exit:{timeout, _} -> {error, timeout};
        exit:_ -> {error, down}
    end.

%% @doc Asks what await/2 with infinity asks, and does not wait: gen_server:check_response/2 reads the answer.
-spec send_await(atom()) -> gen_server:request_id().
send_await(Server) ->
    ok = kv_on_demand:ensure(?MODULE),
    gen_server:send_request(?MODULE, {await, Server}).

%% @doc As await/2, for a caller that is about to start a process on the node. Returns the reason in words. Waits for a
%% node that is starting or lost, at most for its `start_timeout' since it began or has made progress; with false it does
%% not wait.
-spec await_start(atom(), boolean()) -> {ok, place()} | {error, {not_running, binary()}}.
await_start(Server, true) ->
    await_start(Server, start_timeout(Server), await(Server, start_timeout(Server)));
await_start(Server, false) ->
    case status(Server) of
        {up, Place} ->
            {ok, Place};
        _ ->
            ok = pause(Server),
            await_start(Server, 0, await(Server, 0))
    end.

await_start(_Server, _Timeout, {ok, Place}) ->
    {ok, Place};
await_start(Server, _Timeout, {error, down}) ->
    {error, {not_running, not_there(Server, kv_node_directory:running() -- [Server])}};
await_start(Server, Timeout, {error, timeout}) ->
    case patience(Server, Timeout) of
        0 -> {error, {not_running, not_ready(Server, Timeout, progress(Server))}};
        More -> await_start(Server, Timeout, await(Server, More))
    end.

%% How many milliseconds are left since the last sign of life.
patience(Server, Timeout) ->
    case progress(Server) of
        {_Percent, When} -> max(0, When + Timeout - erlang:monotonic_time(millisecond));
        none -> 0
    end.

progress(Server) ->
    case row(Server) of
        {_, _, _, _, Progress} -> Progress;
        undefined -> none
    end.

not_there(Server, []) ->
    Text =
        "~ts is not running: start the application kv first. Either list kv among the applications of your own, or call "
        "application:ensure_all_started(kv), or put KV.Supervisor or a kv_node of that name first in your tree",
    text(Text, [kv_text:atom(Server)]);
not_there(Server, [Default | _]) ->
    Text =
        "~ts is not running, and ~ts is. The option node is the local name of a kv_node of this VM: give it the name of one "
        "that runs, or leave it out, or put a kv_node of that name first in your tree",
    text(Text, [kv_text:atom(Server), kv_text:atom(Default)]).

not_ready(Server, _Timeout, {Percent, _When}) ->
    text("~ts is starting: it has read ~b% of its durable buckets from disk. Try again once it is ready", [kv_text:atom(Server), Percent]);
not_ready(Server, Timeout, none) ->
    Name = kv_text:atom(Server),
    case status(Server) of
        away -> text("the node of ~ts is away, and was not back after ~b ms. ~ts goes on trying to connect", [Name, Timeout, Name]);
        _ -> text("~ts is starting, but was not ready after ~b ms. See the log for the reason", [Name, Timeout])
    end.

pause(Server) ->
    {_, Monitor} = subscribe(Server),
    receive
        {?MODULE, Server, _} -> ok
    after ?FAILED_PAUSE -> ok
    end,
    true = erlang:demonitor(Monitor, [flush]),
    unsubscribe(Server).

text(Format, Arguments) ->
    unicode:characters_to_binary(io_lib:format(Format, Arguments)).

%% @doc Returns the status, and subscribes the calling process. The process gets `{kv_nodes, Server, Status}' for each
%% change until the node is up; that message is the last. The reference is a monitor on this server: a subscription
%% ends with the server.
-spec subscribe(atom()) -> {status(), reference()}.
subscribe(Server) ->
    Status = ask({subscribe, Server, self()}, ?TRIES),
    %% If the server has ended since, the monitor says so at once.
    {Status, erlang:monitor(process, ?MODULE)}.

%% @doc Returns a monitor on this server, for a kv_node: when the server ends, it forgets what the kv_node has told
%% it.
-spec monitor() -> reference().
monitor() ->
    ok = kv_on_demand:ensure(?MODULE),
    erlang:monitor(process, ?MODULE).

%% @doc Unsubscribes. A message that was on its way may still arrive.
-spec unsubscribe(atom()) -> ok.
unsubscribe(_Server) ->
    gen_server:cast(?MODULE, {unsubscribe, self()}).

%%% The server

%% @private
-spec init([]) -> {ok, #state{}}.
init([]) ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    {ok, lists:foldl(fun expect/2, #state{}, kept())}.

%% A kv_node that is about to be started again cannot tell a new server.
kept() ->
    [{Server, Keeper, Timeout} || {?KEPT(Server), {Keeper, Timeout}} <- persistent_term:get(), is_process_alive(Keeper)].

expect({Server, Keeper, StartTimeout}, #state{keepers = Keepers} = State) ->
    Status = case status(Server) of
        down -> starting;
        Known -> Known
    end,
    true = ets:insert(?TABLE, {Server, Status, false, StartTimeout, none}),
    watch(Keeper, State#state{keepers = Keepers#{Server => Keeper}}).

forget(Server) ->
    _ = persistent_term:erase(?KEPT(Server)),
    ok.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}} | {noreply, #state{}}.
handle_call({expected, Server, Keeper, StartTimeout}, _From, State) ->
    ok = persistent_term:put(?KEPT(Server), {Keeper, StartTimeout}),
    {reply, ok, expect({Server, Keeper, StartTimeout}, State)};
handle_call({up, Server, Owner, Node, Creation}, _From, #state{owners = Owners} = State) ->
    %% Unique in the VM, because it is compared with the number that a former server gave.
    Connection = erlang:unique_integer([monotonic, positive]),
    Place = #{node => Node, creation => Creation, connection => Connection},
    Up = watch(Owner, State#state{owners = Owners#{Server => Owner}}),
    {reply, ok, change(Server, {up, Place}, Up)};
handle_call({lost, Server}, _From, State) ->
    case status(Server) of
        {up, Place} -> {reply, ok, change(Server, {lost, Place}, State)};
        _ -> {reply, ok, State}
    end;
handle_call({away, Server}, _From, State) ->
    {reply, ok, change(Server, away, State)};
handle_call({recovering, Server, Percent}, _From, State) ->
    _ = ets:update_element(?TABLE, Server, {5, {Percent, erlang:monotonic_time(millisecond)}}),
    {reply, ok, State};
handle_call({silent, Server, Silent}, _From, State) ->
    _ = ets:update_element(?TABLE, Server, {3, Silent}),
    {reply, ok, State};
handle_call({gone, Server, failure}, _From, State) ->
    {reply, ok, ended(Server, State)};
handle_call({gone, Server, order}, _From, #state{keepers = Keepers, owners = Owners} = State) ->
    ok = forget(Server),
    Unkept = State#state{keepers = maps:remove(Server, Keepers)},
    case Owners of
        #{Server := _} -> {reply, ok, ended(Server, Unkept)};
        #{} -> {reply, ok, settle(Server, Unkept)}
    end;
handle_call({await, Server}, From, #state{waiting = Waiting} = State) ->
    case status(Server) of
        {up, Place} -> {reply, {ok, Place}, State};
        down -> {reply, {error, down}, State};
        _ -> {noreply, State#state{waiting = [{Server, From} | Waiting]}}
    end;
handle_call({subscribe, Server, Pid}, _From, #state{subscribers = Subscribers} = State) ->
    {reply, status(Server), watch(Pid, State#state{subscribers = Subscribers#{Pid => Server}})};
handle_call(Request, _From, State) ->
    {reply, {error, {bad_request, Request}}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({unsubscribe, Pid}, #state{subscribers = Subscribers} = State) ->
    {noreply, unwatch(Pid, State#state{subscribers = maps:remove(Pid, Subscribers)})};
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', _, process, Pid, _Reason}, #state{monitors = Monitors} = State) when is_map_key(Pid, Monitors) ->
    #state{keepers = Keepers, owners = Owners, subscribers = Subscribers} = State,
    Forgotten = State#state{
        monitors = maps:remove(Pid, Monitors), subscribers = maps:remove(Pid, Subscribers), keepers = without(Pid, Keepers)
    },
    ok = lists:foreach(fun forget/1, keys(Pid, Keepers)),
    Ended = lists:foldl(fun ended/2, Forgotten, keys(Pid, Owners)),
    {noreply, lists:foldl(fun settle/2, Ended, keys(Pid, Keepers))};
handle_info(_Other, State) ->
    {noreply, State}.

keys(Value, Map) -> [Key || {Key, One} <- maps:to_list(Map), One =:= Value].

without(Pid, Processes) -> maps:filter(fun(_, Process) -> Process =/= Pid end, Processes).

%% The kv_node of that name has ended, or says that it will.
ended(Server, #state{owners = Owners} = State) when is_map_key(Server, Owners) ->
    Rest = State#state{owners = maps:remove(Server, Owners)},
    settle(Server, unwatch(map_get(Server, Owners), Rest));
ended(_Server, State) ->
    State.

%% A node without a kv_node will be started, as long as its keeper is there.
settle(Server, #state{owners = Owners} = State) when is_map_key(Server, Owners) ->
    State;
settle(Server, #state{keepers = Keepers} = State) when is_map_key(Server, Keepers) ->
    change(Server, starting, State);
settle(Server, State) ->
    change(Server, down, State).

change(Server, Status, #state{subscribers = Subscribers, waiting = Waiting} = State) ->
    true = ets:insert(?TABLE, {Server, Status, false, start_timeout(Server), none}),
    Told = keys(Server, Subscribers),
    _ = [Pid ! {?MODULE, Server, Status} || Pid <- Told],
    {Answered, Others} = lists:partition(fun({Name, _}) -> Name =:= Server end, Waiting),
    answer(Status, Answered, Told, State#state{waiting = Others}).

answer({up, Place}, Answered, Told, #state{subscribers = Subscribers} = State) ->
    _ = [gen_server:reply(From, {ok, Place}) || {_, From} <- Answered],
    lists:foldl(fun unwatch/2, State#state{subscribers = maps:without(Told, Subscribers)}, Told);
answer(down, Answered, _Told, State) ->
    _ = [gen_server:reply(From, {error, down}) || {_, From} <- Answered],
    State;
answer(_Status, Answered, _Told, #state{waiting = Waiting} = State) ->
    State#state{waiting = Answered ++ Waiting}.

watch(Pid, #state{monitors = Monitors} = State) when is_map_key(Pid, Monitors) ->
    State;
watch(Pid, #state{monitors = Monitors} = State) ->
    State#state{monitors = Monitors#{Pid => erlang:monitor(process, Pid)}}.

%% Unless it is monitored for another reason.
unwatch(Pid, #state{keepers = Keepers, owners = Owners, subscribers = Subscribers, monitors = Monitors} = State) ->
    Needed = is_map_key(Pid, Subscribers) orelse keys(Pid, Keepers) =/= [] orelse keys(Pid, Owners) =/= [],
    case Monitors of
        #{Pid := Monitor} when not Needed ->
            true = erlang:demonitor(Monitor, [flush]),
            State#state{monitors = maps:remove(Pid, Monitors)};
        #{} ->
            State
    end.

%% @private
-spec code_change(term(), #state{}, term()) -> {ok, #state{}}.
code_change(_OldVersion, State, _Extra) ->
    {ok, State}.
