%% @doc The supervision tree, with its three levels of supervisors.
%%
%% ```
%% Supervisor                one_for_one
%% +-- EventManager          gen_event; survives everything below
%% +-- NodeSupervisor        rest_for_one
%%     +-- Node              owns the C program
%%     +-- StoreSupervisor   one_for_all; one_for_one if the registry is durable, or belongs to the node
%%         +-- BucketSupervisor   one proxy per bucket, temporary
%%         +-- Registry           the proxy of the native registry
%% '''
%%
%% The application starts it. To put it into a tree of your own, name `kv' among the `included_applications' of your
%% application, so that `kv' is loaded and not started, and make the supervisor a child:
%%
%% ```
%% #{id => kv_sup, start => {kv_sup, start_link, [kv_config:defaults()]}, type => supervisor, shutdown => infinity}
%% '''
%%
%% All names are parameters (see {@link kv_config}), so that several trees can live in one VM, and each language can
%% use its own names.
-module(kv_sup).
-behaviour(supervisor).

-export([start_link/1, start_level/2, start_child/3]).
-export([init/1]).

-define(NAMES, [supervisor, event_manager, node_supervisor, node, store_supervisor, bucket_supervisor, registry]).
-define(KEYS, (?NAMES ++ [bucket_supervisor_spec, start_bucket, node_options])).
%% Without these there are defaults.
-define(OPTIONAL, [registry_options]).

%% The default shutdown time of the slowest child, kv_node.
-define(PREDECESSOR_TIMEOUT, 11000).

-type level() :: supervisor | node_supervisor | store_supervisor.

%% @doc Starts the tree, and returns once all of it runs.
%%
%% Returns the plain reason of a failure, without the wrapping that supervisors add: `{error, {program_missing,
%% Path}}', `{error, {bad_option, Key, Text}}', and so on (see {@link kv_node}).
-spec start_link(kv_config:t()) -> {ok, pid()} | {error, term()}.
start_link(Config) ->
    case validate(Config) of
        ok -> start(Config);
        {error, Reason} -> {error, Reason}
    end.

start(Config) ->
    case start_level(supervisor, Config) of
        {ok, Pid} ->
            {ok, Pid};
        {error, Reason} ->
            %% Distribution, if the node had started it before it failed.
            ok = kv_distribution:stop(),
            {error, Reason}
    end.

%% @private
-spec start_level(level(), kv_config:t()) -> {ok, pid()} | {error, term()}.
start_level(Level, Config) ->
    case supervisor:start_link({local, maps:get(Level, Config)}, ?MODULE, {Level, Config}) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, plain(Reason)}
    end.

plain({shutdown, {failed_to_start_child, _Id, Reason}}) -> plain(Reason);
plain(Reason) -> Reason.

%% @private
-spec init({level(), kv_config:t()}) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({supervisor, Config}) ->
    %% one_for_one: handlers of the event manager survive a crash of the store, and a crash of the event manager must
    %% not cost any data. Intensity: both children are back within milliseconds, so a person or a test that kills one
    %% of them again and again does not lose the application. A child that cannot come back uses up 25 restarts in a
    %% moment.
    Flags = #{strategy => one_for_one, intensity => 25, period => 5},
    {ok, {Flags, successors([event_manager(Config), level(node_supervisor, Config)])}};
init({node_supervisor, Config}) ->
    %% rest_for_one: registry and buckets live in the program that the node owns, so they end and start with the node;
    %% the node does not depend on them. Intensity: kv_backoff keeps the node below 20 starts in 10 s, whatever ends
    %% it, so a program that is killed now and then, or is missing for a while, never exceeds it.
    Flags = #{strategy => rest_for_one, intensity => 20, period => 10},
    {ok, {Flags, successors([owner(Config), level(store_supervisor, Config)])}};
init({store_supervisor, Config}) ->
    %% Intensity: a registry that cannot start takes half a second to fail (kv_nodes), so waiting for
    %% the node above to be restarted never exceeds 20 in 10 s.
    Flags = #{strategy => strategy(is_durable(Config) orelse is_shared(Config)), intensity => 20, period => 10},
    #{bucket_supervisor_spec := Buckets, bucket_supervisor := Name} = Config,
    {ok, {Flags, successors([Buckets#{id => Name}, registry(Config)])}}.

%% A volatile registry that is killed alone comes back empty, and nobody would find its buckets any more: so they end with it,
%% and it with them. Of a durable registry the node keeps the names, and which buckets have them. Killed alone, it loses none and
%% finds the same buckets again. The same holds for a registry that belongs to the node. If their supervisor is killed, its buckets have ended, and the registry has heard of each end.
-spec strategy(boolean()) -> one_for_all | one_for_one.
strategy(false) -> one_for_all;
strategy(true) -> one_for_one.

is_durable(#{registry_options := Options}) ->
    case kv_start_options:against(Options, registry_rows()) of
        {ok, #{durable := Policy}} -> Policy =/= false;
        _ -> false
    end;
is_durable(#{}) ->
    false.

registry_rows() ->
    [lists:keyfind(durable, 1, kv_registry:own_options()) | kv_start_options:rows([owner])].

%% A registry that a VM finds in the node to which it is attached may be another VM's, too.
is_shared(#{node_options := Options} = Config) ->
    case kv_start_options:against(maps:get(registry_options, Config, []), registry_rows()) of
        {ok, #{owner := Owner}} -> Owner =:= node;
        _ -> kv_attach:is_wanted(Options)
    end.

successors(Children) ->
    [Child#{start := {?MODULE, start_child, [M, F, A]}} || #{start := {M, F, A}} = Child <- Children].

%% @private
%% If a supervisor is killed, its children notice and end in their own time. Its successor would find their names
%% taken, and use up its intensity by trying. So it waits for them.
-spec start_child(module(), atom(), [term()]) -> {ok, pid()} | {ok, pid(), term()} | ignore | {error, term()}.
start_child(Module, Function, Arguments) ->
    case apply(Module, Function, Arguments) of
        {error, {already_started, Predecessor}} = Error when is_pid(Predecessor) ->
            Monitor = erlang:monitor(process, Predecessor),
            receive
                {'DOWN', Monitor, process, _, _} -> apply(Module, Function, Arguments)
            after ?PREDECESSOR_TIMEOUT ->
                true = erlang:demonitor(Monitor, [flush]),
                Error
            end;
        Started ->
            Started
    end.

level(Level, Config) ->
    #{
        id => maps:get(Level, Config),
        start => {?MODULE, start_level, [Level, Config]},
        restart => permanent,
        %% The children have shutdown times of their own.
        shutdown => infinity,
        type => supervisor,
        modules => [?MODULE]
    }.

event_manager(#{event_manager := Name}) ->
    kv_event_manager:child_spec(Name).

owner(#{node := Name, node_options := Options, event_manager := Events}) ->
    %% The supervisor creates the backoff, so the backoff outlives each node that the supervisor restarts.
    kv_node:child_spec(Name, [{backoff, kv_backoff:new()}, {event_manager, Events} | Options]).

registry(#{registry := Name, node := Node} = Config) ->
    Options = options(maps:get(registry_options, Config, [])),
    kv_registry:child_spec(Options ++ [{name, Name}, {node, Node}] ++ buckets(is_shared(Config), Config) ++ waits(Config)).

buckets(true, _Config) -> [{owner, node}];
buckets(false, #{start_bucket := StartBucket, event_manager := Events}) -> [{start_bucket, StartBucket}, {event_manager, Events}].

%% The kv_node of a node to which this VM is attached stays when the node is lost, so the registry stays, too. Otherwise the
%% registry does not wait for the node: as long as it waited, the supervisor above could not restart the node.
waits(#{node_options := Options}) ->
    case kv_attach:is_wanted(Options) of
        true -> [{on_node_down, stay}];
        false -> [{on_node_down, branch}, {wait, false}]
    end.

options(Options) when is_map(Options) -> maps:to_list(Options);
options(Options) -> Options.

validate(Config) when is_map(Config) ->
    case kv_options:check(Config, fun verdict/2, ?KEYS ++ ?OPTIONAL) of
        {ok, _} -> complete(?KEYS -- maps:keys(Config), Config);
        {error, Reason} -> {error, Reason}
    end;
validate(Config) ->
    {error, {bad_config, Config}}.

complete([], #{node_options := Options} = Config) ->
    case kv_start_options:against(maps:get(registry_options, Config, []), registry_rows()) of
        {ok, _} -> kv_node_options:check(Options);
        {error, Reason} -> {error, Reason}
    end;
complete([Key | _], _Config) -> {error, {bad_option, Key, <<(atom_to_binary(Key))/binary, " is missing">>}}.

verdict(bucket_supervisor_spec, Spec) when is_map(Spec) -> true;
verdict(bucket_supervisor_spec, _) -> {wanted, "a map, the child specification of a supervisor"};
verdict(start_bucket, Start) ->
    case kv_options:is_call(Start) of
        true -> true;
        false -> {wanted, "{Module, Function, Arguments}"}
    end;
verdict(Options, _) when Options =:= node_options; Options =:= registry_options -> true;
verdict(Key, Value) ->
    case lists:member(Key, ?NAMES) of
        true when is_atom(Value) -> true;
        true -> {wanted, "an atom"};
        false -> unknown
    end.
