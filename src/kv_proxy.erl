%% @doc One local process that stands for one native process.
%%
%% A supervisor holds the proxy, because supervisors and the tools that draw them want local children. The
%% proxy and the native process monitor each other: whichever ends takes the other along, with the same
%% reason. What is sent to the proxy is passed on, a call with the caller's own From, so that the native
%% process answers the caller directly. When the proxy is told to stop it first stops the native process: after
%% that nobody can reach it.
%%
%% The proxy traps exits. So it ends with its parent whatever the parent's reason, as any gen_server does
%% that traps exits; other exit signals act as on a process that does not.
-module(kv_proxy).
-behaviour(gen_server).

-export([start_link/3, native/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, format_status/1]).

-export_type([kind/0, name/0, options/0]).

-type kind() :: bucket | registry.
-type name() :: undefined | {local, atom()} | {global, term()} | {via, module(), term()}.
-type options() :: #{
    %% The local name of the kv_node on whose node the process is to run; undefined: the default one.
    node := atom(),
    %% Options of the native process, without its owner.
    native := [tuple()],
    %% Registries only: makes the buckets. Without it the native registry makes them itself.
    start_bucket => undefined | {module(), atom(), [term()]}
}.

-record(state, {
    kind :: kind(),
    native :: pid(),
    monitor :: kv_native:monitor(),
    parent :: pid(),
    label :: binary() | undefined,
    start_bucket :: undefined | {module(), atom(), [term()]},
    %% Calls from other nodes that wait for their answer.
    relayed = #{} :: #{reference() => gen_server:from()},
    %% Creators of buckets that are at work.
    creators = #{} :: #{reference() => binary()}
}).

%% How long a registry waits for the node that it lost to be noticed by the supervisors above.
-define(BRANCH_END_TIMEOUT, 1000).
-define(START_FAILED_PAUSE, 500).
-define(FIGURES_TIMEOUT, 100).
%% As many as the native process takes: c_src/kv/options.c.
-define(ANCESTORS_MAX, 16).

%% @doc Starts a native process and its proxy, linked to the caller.
-spec start_link(kind(), name(), options()) -> {ok, pid()} | {error, term()}.
start_link(Kind, Name, #{node := Node} = Options) ->
    Server = node_server(Node),
    try kv_node:name(Server) of
        _ ->
            case start(Name, {Kind, Options}) of
                {ok, Pid} -> {ok, Pid};
                {error, Reason} -> {error, Reason}
            end
    catch
        exit:{noproc, _} ->
            %% Known before a process is made, so that none has to crash for it.
            ok = pause(Kind, Server),
            {error, {not_running, Server}}
    end.

start(undefined, Arguments) -> gen_server:start_link(?MODULE, Arguments, []);
start(Name, Arguments) -> gen_server:start_link(Name, ?MODULE, Arguments, []).

node_server(undefined) -> kv_node:default();
node_server(Server) -> Server.

%% @doc The native process behind a proxy; a native process is its own.
-spec native(gen_server:server_ref()) -> pid().
native(Server) ->
    case gen_server:call(Server, {'$kv_native'}) of
        Native when is_pid(Native) -> Native;
        %% That is how a native process answers what it does not understand.
        {error, {bad_request, _}} when is_pid(Server) -> Server
    end.

%% @private
-spec init({kind(), options()}) -> {ok, #state{}} | {stop, term()}.
init({Kind, #{node := Node, native := NativeOptions} = Options}) ->
    process_flag(trap_exit, true),
    Server = node_server(Node),
    StartBucket = maps:get(start_bucket, Options, undefined),
    case start_native(Kind, Server, creator(StartBucket) ++ NativeOptions) of
        {ok, Native, Monitor} ->
            Label = proplists:get_value(label, NativeOptions),
            ok = be_known_as(Kind, Native, Label),
            ok = kv_names:set(Server, Label),
            ok = be_read_as(Kind, Native),
            {ok, #state{
                kind = Kind,
                native = Native,
                monitor = Monitor,
                parent = parent(),
                label = Label,
                start_bucket = StartBucket
            }};
        {error, Reason} ->
            ok = pause(Kind, Server),
            {stop, Reason}
    end.

creator(undefined) -> [];
creator(_StartBucket) -> [{creator, self()}].

start_native(Kind, Server, NativeOptions) ->
    try kv_node:name(Server) of
        Node -> kv_native:start(Node, module(Kind), [{owner, self()}, {ancestors, ancestors()} | NativeOptions])
    catch
        exit:{noproc, _} -> {error, {not_running, Server}}
    end.

%% What is above this process, for the tree that the node draws of itself. A name alone would not do: it is of
%% this node, and a viewer wants a pid to open.
ancestors() ->
    Known = [Ancestor || Name <- get('$ancestors'), {ok, Ancestor} <- [ancestor(Name)]],
    lists:sublist(Known, ?ANCESTORS_MAX).

ancestor(Pid) when is_pid(Pid), node(Pid) =:= node() ->
    case process_info(Pid, registered_name) of
        {registered_name, Name} -> {ok, {Name, Pid}};
        _ -> {ok, Pid}
    end;
ancestor(Pid) when is_pid(Pid) ->
    {ok, Pid};
ancestor(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> {ok, {Name, Pid}};
        _ -> unknown
    end.

module(bucket) -> kv_bucket;
module(registry) -> kv_registry.

%% What observer and crash reports show: the native process rather than this module.
be_known_as(Kind, Native, Label) ->
    _ = put('$initial_call', {module(Kind), init, 1}),
    _ = put('$kv_native', {Kind, Native, Label}),
    ok.

%% So that it is found by this process without a call, where this VM reads so.
be_read_as(registry, Native) ->
    case process_info(self(), registered_name) of
        {registered_name, Name} -> kv_watch:publish_registry(self(), Name, Native);
        _ -> kv_watch:publish_registry(self(), undefined, Native)
    end;
be_read_as(bucket, Native) ->
    kv_watch:publish_bucket(self(), Native).

parent() ->
    case get('$ancestors') of
        [Parent | _] when is_pid(Parent) -> Parent;
        [Parent | _] -> whereis(Parent)
    end.

%% A registry is permanent. When it can't start, the node is mostly ending just now, and the supervisor above
%% will start the whole branch anew: failing at once would only use up the intensity of the one between.
pause(bucket, _Server) ->
    ok;
pause(registry, Server) ->
    Monitor = erlang:monitor(process, Server),
    receive
        {'DOWN', Monitor, process, _, Reason} when Reason =/= noproc -> ok
    after ?START_FAILED_PAUSE ->
        true = erlang:demonitor(Monitor, [flush]),
        ok
    end.

%% The tag of a call that is answered by way of an alias is an improper list: gen.erl, do_call/4.
-dialyzer({no_improper_lists, handle_call/3}).

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, pid(), #state{}} | {noreply, #state{}}.
handle_call({'$kv_native'}, _From, #state{native = Native} = State) ->
    {reply, Native, State};
handle_call(Request, {Caller, _} = From, State) when node(Caller) =:= node() ->
    ok = pass_on({'$gen_call', From, Request}, State),
    {noreply, State};
handle_call(Request, From, #state{relayed = Relayed} = State) ->
    %% The C node dials nobody, so it may have no connection to the caller's node: the answer comes here.
    Alias = erlang:alias([reply]),
    ok = pass_on({'$gen_call', {self(), [alias | Alias]}, Request}, State),
    {noreply, State#state{relayed = Relayed#{Alias => From}}}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(Request, State) ->
    ok = pass_on({'$gen_cast', Request}, State),
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({'DOWN', Monitor, process, _, Reason}, #state{monitor = Monitor} = State) ->
    native_ended(Reason, State);
handle_info({'DOWN', Monitor, process, _, Reason}, #state{creators = Creators} = State) when
    is_map_key(Monitor, Creators)
->
    {Name, Rest} = maps:take(Monitor, Creators),
    _ = Reason =/= normal andalso kv_creator:failed(State#state.native, Name, Reason),
    {noreply, State#state{creators = Rest}};
handle_info({[alias | Alias], Reply}, #state{relayed = Relayed} = State) when is_map_key(Alias, Relayed) ->
    {From, Rest} = maps:take(Alias, Relayed),
    ok = gen_server:reply(From, Reply),
    {noreply, State#state{relayed = Rest}};
handle_info({create_bucket, Native, Name}, #state{native = Native, start_bucket = {_, _, _} = StartBucket} = State) ->
    Monitor = kv_creator:start(Native, Name, StartBucket),
    {noreply, State#state{creators = (State#state.creators)#{Monitor => Name}}};
handle_info({'EXIT', _Pid, normal}, State) ->
    {noreply, State};
handle_info({'EXIT', _Pid, Reason}, #state{native = Native, monitor = Monitor} = State) ->
    ok = kv_native:stop(Native, Monitor, Reason),
    leave(Reason, State);
handle_info(Message, State) ->
    ok = pass_on(Message, State),
    {noreply, State}.

pass_on(Message, #state{native = Native}) ->
    _ = erlang:send(Native, Message, [noconnect]),
    ok.

%% The connection is lost, so the node's owner is about to end, and the supervisor above it will end this
%% process and its siblings. A registry waits for that; see pause/2.
native_ended(noconnection, #state{kind = registry, parent = Parent} = State) ->
    receive
        {'EXIT', Parent, Reason} -> leave(Reason, State)
    after ?BRANCH_END_TIMEOUT -> leave(noconnection, State)
    end;
native_ended(Reason, State) ->
    leave(Reason, State).

%% Ends this process as an exit signal ends a process that does not trap them: without a crash report. Nothing
%% went wrong here; that a bucket was lost is for its supervisor to report.
-spec leave(term(), #state{}) -> {stop, term(), #state{}}.
leave(kill, State) ->
    {stop, kill, State};
leave(Reason, State) ->
    process_flag(trap_exit, false),
    true = exit(self(), Reason),
    {stop, Reason, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, #state{native = Native, monitor = Monitor}) ->
    kv_native:stop(Native, Monitor, Reason).

%% @private
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(#{reason := _, state := #state{} = State} = Status) ->
    Status#{state := shown(State)};
format_status(#{state := #state{} = State} = Status) ->
    Status#{state := maps:merge(shown(State), figures(State#state.native))};
format_status(Status) ->
    Status.

%% Observer shows no more than seven keys at once, and makes a link of the pid only when all are shown: so what is
%% mostly 0 is left out then.
shown(#state{kind = Kind, native = Native, label = Label, relayed = Relayed, creators = Creators}) ->
    Shown = #{kind => Kind, native => Native, label => Label},
    maps:merge(Shown, maps:filter(fun(_, Number) -> Number > 0 end, #{
        relayed => map_size(Relayed), creators => map_size(Creators)
    })).

%% What the native process is made of, for those who look. A node that does not answer in a moment is not waited for:
%% then it is what was known last, and of when that is. The dictionary has it, too.
figures(Native) ->
    case lists:member(node(Native), nodes(connected)) andalso kv_inspect:details([Native], plain, ?FIGURES_TIMEOUT) of
        {ok, [#{suspended := Suspended} = Process]} ->
            Figures = maps:with([size, memory, queue], Process),
            Now = calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}]),
            _ = put('$kv_figures', Figures#{as_of => list_to_binary(Now)}),
            maps:merge(Figures, maps:from_list([{suspended, true} || Suspended]));
        _NoAnswer ->
            known_last(get('$kv_figures'))
    end.

known_last(undefined) -> #{};
known_last(Figures) -> Figures.
