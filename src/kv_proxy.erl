%% @doc A local process that stands for one native process.
%%
%% Supervisors hold proxies, because supervisors and the tools that draw them need local children. The proxy and the
%% native process monitor each other. If one of them ends, the other ends with the same reason. {@link kv_life}
%% describes what happens when the node is lost.
%%
%% The proxy passes on all messages. A call keeps the caller's From, so that the native process answers the caller
%% directly. When the proxy is told to stop, it first stops the native process, so nobody can reach that process
%% afterwards. While the native process is away, messages wait ({@link kv_waiting}); later they are passed on in their
%% order.
%%
%% The proxy traps exits. So it ends with its parent, whatever the reason, as any gen_server does that traps exits.
%% Other exit signals act as on a process that does not trap exits.
%%
%% A native process that belongs to the node stays when its proxy ends. stop/4 ends it.
-module(kv_proxy).
-behaviour(gen_server).

-export([start_link/3, native/1, stop/4]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3, format_status/1]).

-export_type([kind/0, name/0, options/0]).

-type kind() :: bucket | registry.
-type name() :: undefined | {local, atom()} | {global, term()} | {via, module(), term()}.
-type options() :: #{
    %% The local name of the kv_node on whose node the process runs; undefined: the default one.
    node := atom(),
    %% Options of the native process, without its owner.
    native := [tuple()],
    %% The reaction of the proxy to the end of the program. Default: exit.
    on_node_down => kv_life:on_node_down(),
    %% To whom the process belongs. Default: vm.
    owner => kv_life:owner(),
    %% Runs each time the native process has been created, before messages that wait are passed on.
    fill => undefined | {module(), atom(), [term()]},
    %% True: start_link/3 waits for a node that is starting. Default: true.
    wait => boolean(),
    %% For registries: starts the buckets. Without it the native registry creates them itself.
    start_bucket => undefined | {module(), atom(), [term()]}
}.

-record(state, {
    kind :: kind(),
    %% The native process while it takes messages. Otherwise messages wait.
    here :: pid() | undefined,
    server :: atom(),
    name :: term(),
    label :: binary() | undefined,
    on_node_down :: kv_life:on_node_down(),
    start_bucket :: undefined | {module(), atom(), [term()]},
    %% Of a registry: who gets its events.
    events :: undefined | kv_registry:manager(),
    life :: kv_life:t(),
    waiting = kv_waiting:new() :: kv_waiting:t(),
    relay = kv_relayed:new() :: kv_relayed:t(),
    %% Creators of buckets that are at work, by the registry that has asked with the name, and by monitor.
    creators = #{} :: #{reference() => {pid(), binary()}, {pid(), binary()} => reference()},
    %% The generation of the native process that telemetry knows.
    told :: undefined | pid()
}).

%% @doc Starts a native process and its proxy, linked to the caller. Waits for a node that is starting.
-spec start_link(kind(), name(), options()) -> {ok, pid()} | {error, term()}.
start_link(Kind, Name, Options) ->
    case holder(Name) of
        Holder when is_pid(Holder) -> {error, {already_started, Holder}};
        _Nobody -> await_and_start(Kind, Name, Options)
    end.

%% Checked before waiting for the node.
holder(undefined) -> undefined;
holder({local, Name}) -> whereis(Name);
holder({global, Name}) -> global:whereis_name(Name);
holder({via, Module, Name}) -> Module:whereis_name(Name).

await_and_start(Kind, Name, #{node := Node} = Options) ->
    Server = node_server(Node),
    %% Checked before a process is started, so that no process has to crash for it.
    case kv_nodes:await_start(Server, maps:get(wait, Options, true)) of
        {ok, _Place} ->
            case start(Name, {Kind, Options#{node := Server, name => Name}}) of
                {ok, Pid} -> {ok, Pid};
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end.

start(undefined, Arguments) -> gen_server:start_link(?MODULE, Arguments, []);
start(Name, Arguments) -> gen_server:start_link(Name, ?MODULE, Arguments, []).

node_server(undefined) -> kv_node:default();
node_server(Server) -> Server.

%% @doc Returns the native process behind a proxy. A native process is its own.
-spec native(gen_server:server_ref()) -> pid().
native(Server) ->
    case gen_server:call(Server, {'$kv_native'}) of
        Native when is_pid(Native) -> Native;
        %% A native process answers so to a request that it does not know.
        {error, {bad_request, _}} when is_pid(Server) -> Server;
        {error, {nodedown, _} = Reason} -> exit({Reason, {gen_server, call, [Server, {'$kv_native'}]}})
    end.

%% @doc Stops a native process, by its proxy, a name or itself, and returns once it has ended. One that belongs to the node ends for
%% all VMs, while the end of a proxy alone would leave it. Call is for the reason of an exit.
-spec stop(gen_server:server_ref(), term(), timeout(), {module(), atom(), [term()]}) -> ok.
stop(Server, Reason, Timeout, Call) ->
    case kv_proxies:shared(Server, Timeout) of
        {Proxy, Native} ->
            ok = kv_durable:destroy(Proxy, fun() -> gen_server:stop(Native, Reason, Timeout) end, Call, Timeout);
        timeout ->
            exit({timeout, Call});
        none ->
            gen_server:stop(Server, Reason, Timeout)
    end.

%%% Start

%% @private
-spec init({kind(), options()}) -> {ok, #state{}} | {stop, term()}.
init({Kind, #{node := Node} = Options}) ->
    process_flag(trap_exit, true),
    Server = node_server(Node),
    State = state(Kind, Server, Options),
    ok = kv_names:set(Server, State#state.label),
    Timeout = kv_nodes:start_timeout(Server),
    case kv_nodes:await_start(Server, maps:get(wait, Options, true)) of
        {ok, Place} ->
            Life = kv_life:make(Place, State#state.life),
            start_here(State#state{life = Life}, erlang:monotonic_time(millisecond) + Timeout);
        {error, Reason} ->
            {stop, Reason}
    end.

state(Kind, Server, #{native := Native} = Options) ->
    OnNodeDown = maps:get(on_node_down, Options, exit),
    StartBucket = maps:get(start_bucket, Options, undefined),
    #state{
        kind = Kind,
        server = Server,
        name = maps:get(name, Options, undefined),
        label = proplists:get_value(label, Native),
        on_node_down = OnNodeDown,
        start_bucket = StartBucket,
        events = proplists:get_value(event_manager, Native),
        life = kv_life:new(#{
            kind => Kind,
            server => Server,
            options => creator(StartBucket) ++ Native,
            on_node_down => OnNodeDown,
            owner => maps:get(owner, Options, vm),
            fill => maps:get(fill, Options, undefined)
        })
    }.

creator(undefined) -> [];
creator(_StartBucket) -> [{creator, self()}].

%% The caller waits for the first native process. A start that was cut off by the loss of the node is repeated.
start_here(#state{here = Native} = State, _Deadline) when is_pid(Native) ->
    {ok, State};
start_here(#state{life = Life} = State, Deadline) ->
    %% The process that fills the native process may call it by its proxy.
    Filler = kv_life:filler(Life),
    receive
        Message when element(1, Message) =:= spawn_reply; element(1, Message) =:= ack; element(1, Message) =:= 'DOWN';
                element(1, Message) =:= kv_nodes; element(1, element(1, Message)) =:= kv_filled; Message =:= make_again ->
            case progress(Message, State) of
                {ok, Next} -> start_here(Next, Deadline);
                {leave, Reason, _} -> {stop, Reason};
                other -> start_here(State, Deadline)
            end;
        {'$gen_call', {Filler, _} = From, Request} ->
            {noreply, Next} = handle_call(Request, From, State),
            start_here(Next, Deadline);
        {Call, {Filler, _}, _} = Message when Call =:= '$kv_call'; Call =:= '$kv_relay' ->
            start_here(wait_message(Message, State), Deadline);
        {Tag, _} = Answer when is_reference(Tag); hd(Tag) =:= alias ->
            start_here(hand_on(Answer, State), Deadline);
        {Tag, down, _} = Answer when is_reference(Tag) ->
            start_here(hand_on(Answer, State), Deadline)
    after wait_for(Life, Deadline) ->
        ok = kv_life:give_up(Life),
        {stop, not_in_time(State)}
    end.

wait_for(Life, Deadline) ->
    case kv_life:may_take_long(Life) of
        true -> infinity;
        false -> max(0, Deadline - erlang:monotonic_time(millisecond))
    end.

not_in_time(#state{life = Life, server = Server}) ->
    case kv_life:phase(Life) of
        making -> {start_timeout, kv_nodes:start_timeout(Server)};
        _ -> kv_life:nodedown(Life)
    end.

%%% The native process comes and goes

progress(Message, #state{life = Life} = State) ->
    case kv_life:progress(Message, Life) of
        {here, Next} -> {ok, arrive(State#state{life = Next})};
        {lost, Next} -> {ok, lost(Next, State)};
        {found, Next} -> {ok, arrive(lost(Next, State))};
        {given_up, Next} -> {ok, given_up(Next, State)};
        {on_its_way, Next} -> {ok, State#state{life = Next}};
        {leave, Reason, Last} -> {leave, Reason, lose(State#state{life = Last, here = undefined})};
        other -> other
    end.

lost(Life, State) ->
    ok = tell(lost, #{}, State),
    lose(State#state{life = Life, here = undefined}).

%% Nobody knows whether the node comes back, so nothing waits for it.
given_up(Life, #state{here = Native} = State) when is_pid(Native) ->
    given_up(Life, lost(Life, State));
given_up(Life, State) ->
    {Waiting, Next} = take_waiting(lose(State#state{life = Life})),
    ok = refuse(Waiting, Life),
    Next.

%% Passes on all messages that have waited. Their answers come by way of this process.
arrive(#state{life = Life} = State) ->
    Native = kv_life:native(Life),
    {Waiting, Next} = take_waiting(State),
    Here = lists:foldl(fun relay/2, Next#state{here = Native}, Waiting),
    ok = be_known_as(Native, State),
    tell_started(Here).

%% A native process that is found again has been told of.
tell_started(#state{life = Life, told = Told} = State) ->
    case kv_life:native(Life) of
        Told -> State;
        Native -> ok = tell(started_as(Life), #{}, State), State#state{told = Native}
    end.

started_as(Life) ->
    case kv_life:is_attached(Life) of
        true -> restored;
        false -> started
    end.

tell(Event, More, #state{kind = bucket, life = Life, name = Name}) ->
    Facts = More#{generation => kv_life:generation(Life), durable => kv_life:is_durable(Life)},
    kv_telemetry:bucket(Event, Name, kv_life:native(Life), Facts);
tell(_Event, _More, _Registry) ->
    ok.

lose(#state{life = Life, relay = Relay} = State) ->
    State#state{relay = kv_relayed:lose(kv_life:nodedown(Life), Relay)}.

take_waiting(#state{waiting = Waiting, life = Life} = State) ->
    {monitored_by, Callers} = case kv_waiting:count(Waiting) of
        0 -> {monitored_by, []};
        _ -> process_info(self(), monitored_by)
    end,
    {Wanted, Given} = kv_waiting:take(Waiting, Callers),
    ok = refuse(Given, Life),
    {Wanted, State#state{waiting = kv_waiting:new()}}.

refuse(Messages, Life) ->
    lists:foreach(fun(Message) -> kv_relayed:refuse(Message, kv_life:nodedown(Life)) end, Messages).

refuse_waiting(#state{life = Life} = State) ->
    {Waiting, _} = take_waiting(lose(State)),
    refuse(Waiting, Life).

%%% Messages

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, term(), #state{}} | {noreply, #state{}}.
handle_call({'$kv_native'}, {_, _}, #state{here = Native} = State) when is_pid(Native) ->
    {reply, Native, State};
handle_call({'$kv_waits', Alias}, {_, _}, #state{waiting = Waiting, relay = Relay} = State) ->
    {reply, kv_waiting:has(Alias, Waiting) orelse kv_relayed:has(Alias, Relay), State};
handle_call(Request, {_, _} = From, #state{here = Native} = State) when is_pid(Native) ->
    case kv_relayed:is_direct(From) of
        true ->
            {noreply, pass_on({'$gen_call', From, Request}, {call, From, Request}, Native, State)};
        false ->
            {noreply, relay({call, From, Request}, State)}
    end;
handle_call(Request, {Caller, _} = From, State) ->
    {noreply, wait_or_fill(Caller, {call, From, Request}, State)};
handle_call(_Request, _NoFrom, State) ->
    {noreply, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(Request, #state{here = Native} = State) when is_pid(Native) ->
    {noreply, pass_on({'$gen_cast', Request}, {cast, Request}, Native, State)};
handle_cast(Request, State) ->
    {noreply, wait({cast, Request}, State)}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({'$kv_call', {Pid, Alias}, Request}, #state{here = Native} = State) when
    is_pid(Native), is_pid(Pid), is_reference(Alias)
->
    {noreply, pass_on({'$kv_call', Alias, Request}, {kv_call, Pid, Alias, Request}, Native, State)};
handle_info({'$kv_relay', {Pid, Alias}, Request}, #state{here = Native} = State) when
    is_pid(Native), is_pid(Pid), is_reference(Alias)
->
    {noreply, relay({kv_call, Pid, Alias, Request}, State)};
handle_info({Call, {Pid, Alias}, _} = Message, State) when
    Call =:= '$kv_call' orelse Call =:= '$kv_relay', is_pid(Pid), is_reference(Alias)
->
    {noreply, wait_message(Message, State)};
handle_info({'$kv_cancel', Alias}, #state{waiting = Waiting} = State) ->
    {noreply, State#state{waiting = kv_waiting:cancel(Alias, Waiting)}};
handle_info({'DOWN', Monitor, process, _, Reason}, #state{creators = Creators} = State) when
    is_map_key(Monitor, Creators)
->
    {{Registry, Name} = Asked, Rest} = maps:take(Monitor, Creators),
    ok = kv_creator:failed(Registry, Name, Reason),
    {noreply, State#state{creators = maps:remove(Asked, Rest)}};
handle_info({create_bucket, Native, Name}, #state{start_bucket = {_, _, _}} = State) when is_binary(Name) ->
    %% May arrive before the news that the registry has been created, or that its node is back.
    {noreply, create_bucket(Native, Name, [], State)};
handle_info({create_bucket, Native, Name, Options}, #state{start_bucket = {_, _, _}} = State) when is_binary(Name) ->
    {noreply, create_bucket(Native, Name, Options, State)};
handle_info({bucket_restored, _Native, Name, Bucket}, #state{kind = registry, events = Events} = State) when is_binary(Name) ->
    ok = kv_event_manager:restored(Events, Name, Bucket),
    {noreply, State};
handle_info(Message, State) ->
    case progress(Message, State) of
        {ok, Next} -> {noreply, Next};
        {leave, Reason, Last} -> leave(Reason, Last);
        other -> message(Message, State)
    end.

message({'EXIT', Pid, _Reason} = Message, State) when not is_pid(Pid), not is_port(Pid); Pid =:= self() ->
    %% No exit signal: its sender is a process or a port, and this process sends itself none.
    {noreply, hand_on(Message, State)};
message({'EXIT', _Pid, normal}, State) ->
    {noreply, State};
message({'EXIT', _Pid, Reason}, State) ->
    _ = end_native(Reason, State),
    leave(Reason, State);
message(Message, State) ->
    {noreply, hand_on(Message, State)}.

hand_on(Message, #state{here = Native, relay = Relay} = State) ->
    case kv_relayed:answer(Message, Relay) of
        {ok, Rest} ->
            State#state{relay = Rest};
        other when is_pid(Native) ->
            pass_on(Message, {info, Message}, Native, State);
        other ->
            wait({info, Message}, State)
    end.

%% Sends a message to the native process. If the connection is lost, and this process has not yet heard of the loss, the
%% message waits, and so do those that arrive later.
pass_on(Message, Waiting, Native, State) ->
    case erlang:send(Native, Message, [noconnect]) of
        ok -> State;
        noconnect -> not_sent(Waiting, State)
    end.

not_sent(Waiting, #state{life = Life} = State) ->
    ok = kv_life:not_connected(Life),
    wait(Waiting, State#state{here = undefined}).

relay(Waiting, #state{here = undefined} = State) ->
    wait(Waiting, State);
relay({call, From, {'$kv_native'}}, #state{here = Native} = State) ->
    ok = gen_server:reply(From, Native),
    State;
relay({call, From, Request} = Waiting, #state{relay = Relay} = State) ->
    relay(kv_relayed:call(From, Request, Relay), Waiting, State);
relay({kv_call, _Pid, Alias, Request} = Waiting, #state{relay = Relay} = State) ->
    relay(kv_relayed:kv_call(Alias, Request, Relay), Waiting, State);
relay({cast, Request} = Waiting, #state{here = Native} = State) ->
    pass_on({'$gen_cast', Request}, Waiting, Native, State);
relay({info, Message} = Waiting, #state{here = Native} = State) ->
    pass_on(Message, Waiting, Native, State).

relay({Message, Relay}, Waiting, #state{here = Native} = State) ->
    %% While a connection is being closed, send answers ok and drops the message.
    case is_connected(node(Native)) andalso erlang:send(Native, Message, [noconnect]) of
        ok ->
            State#state{relay = Relay};
        NotSent when NotSent =:= false; NotSent =:= noconnect ->
            ok = kv_relayed:take_back(Message),
            not_sent(Waiting, State)
    end.

is_connected(Node) -> Node =:= node() orelse lists:member(Node, nodes(connected)).

wait_message({_Call, {Pid, Alias}, Request}, State) ->
    wait_or_fill(Pid, {kv_call, Pid, Alias, Request}, State).

%% The process that fills the native process may call it by its proxy.
wait_or_fill(Pid, Message, #state{life = Life} = State) ->
    case kv_life:filler(Life) of
        Pid -> (relay(Message, State#state{here = kv_life:native(Life)}))#state{here = undefined};
        _ -> wait(Message, State)
    end.

wait(Message, #state{waiting = Waiting, life = Life} = State) ->
    case not kv_life:is_given_up(Life) andalso kv_waiting:add(Message, Waiting) of
        {ok, More} ->
            State#state{waiting = More};
        NotTaken when NotTaken =:= full; NotTaken =:= false ->
            ok = kv_relayed:refuse(Message, kv_life:nodedown(Life)),
            State
    end.

%% A creator that is at work for that name goes on, and tells the registry when it can. One that was asked by a registry
%% which has ended tells nobody.
create_bucket(Native, Name, _Options, #state{creators = Creators} = State) when is_map_key({Native, Name}, Creators) ->
    State;
create_bucket(Native, Name, Options, #state{server = Server, creators = Creators, start_bucket = StartBucket} = State) ->
    Monitor = kv_creator:start({Server, Native}, Name, Options, StartBucket),
    State#state{creators = Creators#{Monitor => {Native, Name}, {Native, Name} => Monitor}}.

%%% End

%% If the native process is lost, callers that wait get an error. Otherwise the end of this process tells them.
end_native(Reason, #state{life = Life} = State) ->
    case kv_life:end_native(Reason, Life) of
        ended ->
            ended;
        lost ->
            ok = refuse_waiting(State),
            lost
    end.

%% Ends this process as an exit signal ends a process that does not trap exits, without a crash report. Nothing went
%% wrong in the proxy, and its supervisor reports the loss of the bucket.
-spec leave(term(), #state{}) -> {stop, term(), #state{}}.
leave(kill, State) ->
    {stop, kill, State};
leave(noconnection, State) ->
    ok = refuse_waiting(State),
    leave_now(noconnection, State);
leave(Reason, State) ->
    leave_now(Reason, State).

leave_now(Reason, State) ->
    ok = tell(stopped, #{reason => Reason}, State),
    process_flag(trap_exit, false),
    true = exit(self(), Reason),
    {stop, Reason, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(shutdown, #state{on_node_down = How} = State) when How =/= stay ->
    %% The node may be lost, and the supervisor may be ending the proxy for that. Then waiting callers must see the
    %% loss, and not an orderly end.
    case end_native(shutdown, State) of
        ended ->
            tell(stopped, #{reason => shutdown}, State);
        lost ->
            {stop, _, _} = leave(noconnection, State),
            ok
    end;
terminate(Reason, State) ->
    _ = end_native(Reason, State),
    tell(stopped, #{reason => Reason}, State).

%% @private
-spec code_change(term(), #state{}, term()) -> {ok, #state{}}.
code_change(_OldVersion, State, _Extra) ->
    {ok, State}.

%%% Appearance

be_known_as(Native, #state{kind = Kind, label = Label, server = Server, name = Name, life = Life}) ->
    kv_proxy_face:put(#{
        kind => Kind,
        native => Native,
        label => Label,
        server => Server,
        name => Name,
        durable => kv_life:is_durable(Life),
        shared => kv_life:is_shared(Life)
    }).

%% @private
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(#{reason := _, state := #state{} = State} = Status) ->
    Status#{state := shown(State)};
format_status(#{state := #state{here = Native} = State} = Status) when is_pid(Native) ->
    Status#{state := maps:merge(shown(State), kv_figures:of_native(Native))};
format_status(#{state := #state{} = State} = Status) ->
    Status#{state := shown(State)};
format_status(Status) ->
    Status.

shown(#state{kind = Kind, life = Life, label = Label, creators = Creators} = State) ->
    kv_proxy_face:state(#{kind => Kind, native => kv_life:native(Life), label => Label}, kv_life:phase(Life), #{
        relayed => kv_relayed:count(State#state.relay),
        creators => map_size(Creators) div 2,
        waiting => kv_waiting:count(State#state.waiting),
        lives_before => max(0, kv_life:generation(Life) - 1)
    }).
