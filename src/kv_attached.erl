%% @doc The kv_node of a VM that is attached: connects to a C node that somebody else has started, and connects again when it was
%% away. It never starts, kills or restarts the program.
%%
%% ```
%%           attach                  connection lost           reconnect_timeout is over
%%  (start) --------> up -------------------------------> lost ------------------------> away
%%                    ^                                    |                              |
%%                    +------------- met again ------------+------------------------------+
%% '''
%%
%% The process stays in all of these states, so its supervisor does not restart anything. `reconnect_timeout' is that of the node: so
%% long the node keeps the processes of a VM that is away, and so long this VM waits for them. A node that is met again under another
%% creation has been started anew: what it held is lost.
%%
%% {@link kv_node} has the functions with which others call this process.
%% @private
-module(kv_attached).
-behaviour(gen_server).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3, format_status/1]).
-export([run/2]).

%% `lost' and `away' with the reference of this loss, and the time since then.
-type phase() :: up | {lost | away, reference(), integer()}.

-record(state, {
    server :: atom(),
    node :: node(),
    %% Name and creation of the VM, by which the node knows its processes.
    vm :: {node(), non_neg_integer()},
    options :: kv_node_options:t(),
    facts :: kv_attach:facts(),
    backoff :: kv_backoff:t(),
    since :: integer(),
    phase = up :: phase(),
    pulse :: kv_pulse:t(),
    %% A monitor on kv_nodes, which tells others of this node.
    nodes :: reference(),
    pause = 0 :: non_neg_integer(),
    %% The process that connects and asks. `stale': the connection has changed meanwhile.
    meeting = none :: none | {reference(), fresh | stale},
    %% Why the node was not met last, for the log.
    refused = none :: term()
}).

-define(FIRST_PAUSE, 10).
-define(LONGEST_PAUSE, 1000).
%% A loss that is over sooner is not logged.
-define(SHOWN_AFTER, 200).

%%% Start

%% @private
-spec init({atom(), kv_node_options:t()}) -> {ok, #state{}} | {stop, term()}.
init({Server, #{attach := Node} = Options}) ->
    process_flag(trap_exit, true),
    ok = kv_node_keeper:slow_request(Options),
    Before = kv_nodes:is_expected(Server),
    Nodes = kv_node_keeper:expect(Server, Options),
    Backoff = kv_backoff:of_options(Options),
    ok = kv_backoff:wait(Backoff),
    case first_meeting(Node, Options) of
        {ok, Facts} ->
            ok = kv_names:allow(Server, maps:get(observer_names, Options)),
            ok = kv_node_directory:enter(Server, Node),
            State = state(Server, Options, Facts, Backoff, Nodes),
            ok = kv_node_log:attached(Node, Facts),
            ok = announce(State),
            {ok, State};
        {error, Reason} ->
            ok = kv_backoff:failed(Backoff),
            ok = kv_node_keeper:cannot_start(Server, Reason, Backoff),
            ok = kv_node_keeper:not_expected(Server, Before),
            {stop, Reason}
    end.

state(Server, #{attach := Node} = Options, Facts, Backoff, Nodes) ->
    #state{
        server = Server,
        node = Node,
        vm = vm(),
        options = Options,
        facts = Facts,
        backoff = Backoff,
        since = now_ms(),
        pulse = kv_pulse:new(Server, Node, none, Options),
        nodes = Nodes
    }.

vm() -> {node(), erlang:system_info(creation)}.

now_ms() -> erlang:monotonic_time(millisecond).

%% Waits for a node that is starting, too.
first_meeting(Node, #{start_timeout := Timeout} = Options) ->
    case kv_attach:vm(Node) of
        ok ->
            ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
            first_meeting(Node, Options, now_ms() + Timeout, ?FIRST_PAUSE);
        {error, Reason} ->
            {error, Reason}
    end.

first_meeting(Node, Options, Deadline, Pause) ->
    case first_result(meet(Node, Options), Node, Deadline) of
        {error, {not_connected, _, _}} = Error ->
            case now_ms() + Pause < Deadline andalso pause(Pause) of
                false -> Error;
                ok -> first_meeting(Node, Options, Deadline, min(?LONGEST_PAUSE, 2 * Pause));
                Stopped -> Stopped
            end;
        Other ->
            Other
    end.

first_result({Meeter, Meeting}, Node, Deadline) ->
    Parent = kv_node_keeper:parent(),
    receive
        {'DOWN', Meeting, process, _, {met, Result}} -> Result;
        {'DOWN', Meeting, process, _, Reason} -> {error, Reason};
        {'EXIT', Parent, Reason} -> {error, Reason}
    after max(0, Deadline - now_ms()) ->
        true = erlang:demonitor(Meeting, [flush]),
        true = exit(Meeter, kill),
        {error, kv_attach:no_answer(Node)}
    end.

pause(Pause) ->
    Parent = kv_node_keeper:parent(),
    receive
        {'EXIT', Parent, Reason} -> {error, Reason}
    after Pause -> ok
    end.

meet(Node, Options) ->
    spawn_monitor(?MODULE, run, [Node, Options]).

%% @private
-spec run(node(), kv_node_options:t()) -> no_return().
run(Node, Options) ->
    exit({met, kv_attach:meet(Node, Options)}).

announce(#state{server = Server, node = Node, facts = #{creation := Creation, max_frame := MaxFrame}}) ->
    ok = kv_limits:set(Node, MaxFrame),
    kv_nodes:up(Server, Node, Creation).

%%% Calls

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}} | {noreply, #state{}}.
handle_call(info, From, #state{phase = up, node = Node} = State) ->
    ok = kv_node_disk:reply(From, Node, info(State)),
    {noreply, State};
handle_call(info, _From, #state{node = Node} = State) ->
    {reply, (info(State))#{disk => {error, {nodedown, Node}}}, State};
handle_call(os_pid, _From, #state{facts = #{os_pid := OsPid}} = State) ->
    {reply, OsPid, State};
handle_call({backup, _Folder}, _From, #state{node = Node} = State) ->
    Text = io_lib:format("this VM is attached to ~ts: give the name of that node, and a name of a folder in its backup_dir", [Node]),
    {reply, {error, {attached, unicode:characters_to_binary(Text)}}, State};
handle_call(Request, _From, State) ->
    {reply, {error, {bad_request, Request}}, State}.

info(#state{node = Node, facts = Facts, options = Options, phase = Phase} = State) ->
    (maps:with([os_pid, port, version, creation], Facts))#{
        name => Node,
        uptime_ms => uptime(State),
        attached => true,
        state => shown(Phase),
        local_reads => local(Options, Node, fun kv_watcher:local/1),
        lane => local(Options, Node, fun kv_watcher:lane/1)
    }.

shown(up) -> up;
shown({Phase, _Loss, Since}) -> {Phase, now_ms() - Since}.

local(Options, Node, Of) ->
    case kv_local:wanted(Options) of
        false -> {off, not_wanted};
        _ -> Of(Node)
    end.

uptime(#state{since = Since}) -> now_ms() - Since.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

%%% Losses

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info(ping, #state{pulse = Pulse} = State) ->
    case kv_pulse:beat(way(State), Pulse) of
        {ok, Next} -> {noreply, State#state{pulse = Next}};
        {unresponsive, Ms} -> {noreply, silent(Ms, State)}
    end;
handle_info({nodedown, Node, _Info}, #state{node = Node} = State) ->
    {noreply, connection_lost(State)};
handle_info({nodeup, Node, _Info}, #state{node = Node} = State) ->
    meet_again(State);
handle_info({meet, Loss}, #state{phase = {_, Loss, _}} = State) ->
    meet_again(State);
handle_info({'DOWN', Meeting, process, _, Result}, #state{meeting = {Meeting, Fresh}} = State) ->
    {noreply, met(Result, Fresh, State#state{meeting = none})};
handle_info({shown, Loss}, #state{phase = {lost, Loss, _}, node = Node, facts = Facts} = State) ->
    ok = kv_node_log:attachment_lost(Node, maps:get(reconnect_timeout, Facts)),
    {noreply, State};
handle_info({give_up, Loss}, #state{phase = {lost, Loss, Since}} = State) ->
    {noreply, give_up(State#state{phase = {away, Loss, Since}})};
handle_info({'DOWN', Nodes, process, _, _}, #state{nodes = Nodes, server = Server, options = Options} = State) ->
    ok = tell_again(State),
    {noreply, State#state{nodes = kv_node_keeper:expect(Server, Options)}};
handle_info(Message, #state{pulse = Pulse} = State) ->
    case kv_node_keeper:other(Message, Pulse) of
        {ok, Next} -> {noreply, State#state{pulse = Next}};
        {stop, Reason} -> {stop, Reason, State}
    end.

way(#state{phase = up}) -> connection;
way(_State) -> none.

%% The program is another's. All that this VM can do is to give up the connection, so that callers do not wait for it.
silent(Ms, #state{node = Node, pulse = Pulse} = State) ->
    ok = kv_node_log:silent(Node, Ms),
    _ = erlang:disconnect_node(Node),
    State#state{pulse = kv_pulse:heard(Pulse)}.

connection_lost(#state{phase = up, server = Server, facts = Facts} = State) ->
    Loss = make_ref(),
    ok = kv_nodes:lost(Server),
    _ = erlang:send_after(?SHOWN_AFTER, self(), {shown, Loss}),
    _ = erlang:send_after(maps:get(reconnect_timeout, Facts), self(), {give_up, Loss}),
    Lost = State#state{phase = {lost, Loss, now_ms()}, pause = ?FIRST_PAUSE, pulse = kv_pulse:heard(State#state.pulse)},
    later(Lost);
connection_lost(#state{meeting = {Meeting, _}} = State) ->
    State#state{meeting = {Meeting, stale}};
connection_lost(State) ->
    State.

later(#state{phase = {_, Loss, _}, pause = Pause} = State) ->
    _ = erlang:send_after(Pause, self(), {meet, Loss}),
    State#state{pause = min(?LONGEST_PAUSE, 2 * Pause)}.

%% The node keeps the processes of this VM no longer, unless it is the node that has been away.
give_up(#state{server = Server, node = Node, phase = {away, _, Since}, options = Options} = State) ->
    ok = kv_nodes:away(Server),
    ok = kv_node_log:away(Node, now_ms() - Since),
    ok = kv_event_manager:lost(maps:get(event_manager, Options), of_this_vm(Server)),
    State.

%% The processes that this VM owns end. Those of the node may be there.
of_this_vm(Server) ->
    [Proxy || #{durable := false, shared := false} = Proxy <- kv_proxies:of_server(Server)].

volatile(Server) ->
    [Proxy || #{durable := false} = Proxy <- kv_proxies:of_server(Server)].

%%% Meeting again

meet_again(State) ->
    case vm_renamed(State) of
        false -> {noreply, meet(State)};
        Reason -> {stop, Reason, State}
    end.

meet(#state{phase = up} = State) ->
    State;
meet(#state{meeting = none, node = Node, options = Options} = State) ->
    {_Meeter, Meeting} = meet(Node, Options),
    State#state{meeting = {Meeting, fresh}};
meet(State) ->
    State.

met({met, {ok, Facts}}, fresh, #state{node = Node} = State) ->
    case lists:member(Node, nodes(connected)) of
        true -> back(Facts, State);
        false -> later(State)
    end;
met({met, {error, Reason}}, fresh, State) ->
    later(refused(Reason, State));
met(_Result, _Stale, State) ->
    later(State).

back(#{creation := Creation} = Facts, #state{node = Node, phase = {_, _, Since}, facts = #{creation := Before}} = State) ->
    Ms = now_ms() - Since,
    _ = Creation =/= Before andalso another_run(Facts, State),
    _ = Ms >= ?SHOWN_AFTER andalso kv_node_log:connection_back(Node, Ms),
    Back = State#state{phase = up, facts = Facts, refused = none, pulse = kv_pulse:heard(State#state.pulse)},
    ok = announce(Back),
    Back.

another_run(Facts, #state{node = Node, server = Server, options = Options, phase = Phase}) ->
    ok = kv_node_log:another_run(Node, Facts),
    Lost = case Phase of
        {lost, _, _} -> volatile(Server);
        {away, _, _} -> volatile(Server) -- of_this_vm(Server)
    end,
    kv_event_manager:lost(maps:get(event_manager, Options), Lost).

%% A node that is away is no news each second. One that this VM cannot use is, once.
refused({not_connected, _, _}, State) ->
    State;
refused(Reason, #state{refused = Reason} = State) ->
    State;
refused(Reason, #state{server = Server} = State) ->
    ok = kv_node_log:cannot_attach(Server, Reason),
    State#state{refused = Reason}.

%% The node knows the processes of this VM by its name. Without a name the VM waits for one.
vm_renamed(#state{vm = {Name, _} = Vm}) ->
    case vm() of
        Vm -> false;
        {nonode@nohost, _} -> false;
        {Other, _} -> {vm_renamed, Name, Other}
    end.

tell_again(#state{phase = up} = State) ->
    announce(State);
tell_again(#state{phase = {lost, _, _}, server = Server} = State) ->
    ok = announce(State),
    kv_nodes:lost(Server);
tell_again(#state{server = Server} = State) ->
    ok = announce(State),
    kv_nodes:away(Server).

%%% End

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, #state{server = Server, node = Node, backoff = Backoff} = State) ->
    ok = kv_nodes:gone(Server, kv_node_stop:how(Reason)),
    ok = kv_node_directory:leave(Server),
    ok = kv_limits:forget(Node),
    kv_backoff:ended(Backoff, uptime(State)).

%% @private
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(#{state := #state{server = Server, node = Node, phase = Phase, pulse = Pulse} = State} = Status) ->
    Status#{
        state := #{
            server => Server,
            name => Node,
            attached => true,
            state => shown(Phase),
            uptime_ms => uptime(State),
            unanswered_pings => kv_pulse:unanswered(Pulse)
        }
    };
format_status(Status) ->
    Status.

%% @private
-spec code_change(term(), #state{}, term()) -> {ok, #state{}}.
code_change(_OldVersion, State, _Extra) ->
    {ok, State}.
