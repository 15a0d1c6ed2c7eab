%% @doc Shared by the reference bucket and registry: how a process that a peer has spawned becomes a gen_server, and
%% its options. Written as a BEAM programmer would write it, and as docs/native-protocol.md describes it.
-module(kv_reference).

-export([enter/4, generation/0, owner_ended/1, load_on/1]).

-type options() :: #{atom() => term()}.

%% Reads the options, registers the name, tells the owner, then serves. On an error, tells the owner why, and ends.
-spec enter(module(), [atom()], term(), fun((options()) -> term())) -> no_return().
enter(Module, Known, List, Init) ->
    {parent, Parent} = process_info(self(), parent),
    _ = put('$ancestors', [Parent]),
    _ = put('$initial_call', {Module, init, 1}),
    Options = recognised(Known, List),
    case take_name(check(Known, List), Options) of
        ok ->
            %% The owner may end as soon as it is told. It is monitored by then.
            ok = watch_owner(Options),
            _ = put(generation, maps:get(generation, Options, 1)),
            ok = acknowledge(Options, {ok, self()}),
            gen_server:enter_loop(Module, [], Init(Options));
        {error, Reason} ->
            ok = acknowledge(Options, {error, Reason}),
            exit(Reason)
    end.

%% Returns the options before the first wrong one: the owner gets the error.
recognised(Known, List) when is_list(List) ->
    maps:from_list(lists:takewhile(fun(Option) -> is_valid(Known, Option) end, List));
recognised(_Known, _NoList) ->
    #{}.

check(Known, List) when is_list(List) ->
    case lists:dropwhile(fun(Option) -> is_valid(Known, Option) end, List) of
        [] -> ok;
        [Bad | _] -> {error, {bad_option, Bad}}
    end;
check(_Known, NoList) ->
    {error, {bad_option, NoList}}.

is_valid(Known, {Key, Value}) -> lists:member(Key, Known) andalso is_value(Key, Value);
is_valid(_Known, _Option) -> false.

is_value(owner, Value) -> is_pid(Value);
is_value(creator, Value) -> is_pid(Value);
is_value(name, Value) -> is_atom(Value) andalso Value =/= '';
is_value(store, {Registry, Name}) -> is_binary(Registry) andalso is_binary(Name);
is_value(label, Value) -> is_binary(Value);
is_value(ancestors, Value) -> is_list(Value) andalso length(Value) =< 16 andalso lists:all(fun is_ancestor/1, Value);
is_value(generation, Value) -> is_integer(Value) andalso Value > 0;
is_value(only, Value) -> Value =:= true;
is_value(max_memory, Value) -> is_integer(Value) andalso Value > 0;
is_value(max_entries, Value) -> is_integer(Value) andalso Value > 0;
is_value(evict, Value) -> lists:member(Value, [none, lru, ttl]);
is_value(event_manager, {Name, Node}) -> is_atom(Name) andalso is_atom(Node);
is_value(event_manager, Value) -> is_pid(Value).

is_ancestor({Name, Pid}) -> is_atom(Name) andalso is_pid(Pid);
is_ancestor(Pid) -> is_pid(Pid).

take_name(ok, #{name := Name}) ->
    try register(Name, self()) of
        true -> ok
    catch
        error:badarg -> {error, {already_registered, whereis(Name)}}
    end;
take_name(Outcome, _Options) ->
    Outcome.

acknowledge(#{owner := Owner}, Outcome) ->
    Owner ! {ack, self(), Outcome},
    ok;
acknowledge(_Options, _Outcome) ->
    ok.

watch_owner(#{owner := Owner}) ->
    _ = put(owner, monitor(process, Owner)),
    ok;
watch_owner(_Options) ->
    ok.

-spec generation() -> pos_integer().
generation() ->
    get(generation).

-spec owner_ended(reference()) -> boolean().
owner_ended(Monitor) ->
    get(owner) =:= Monitor.

%% Loads the reference on a node, under the names of the native modules, so that a case is the same for both nodes.
-spec load_on(pid()) -> ok.
load_on(Vm) ->
    [{module, _} = peer:call(Vm, code, load_binary, load_arguments(Module)) || Module <- [?MODULE, kv_reference_bucket, kv_reference_registry]],
    ok.

load_arguments(Module) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    {ok, Name, Binary} = compile:forms(renamed(Forms), [nowarn_missing_spec]),
    [Name, "reference", Binary].

renamed(kv_reference_bucket) -> kv_bucket;
renamed(kv_reference_registry) -> kv_registry;
renamed([Head | Tail]) -> [renamed(Head) | renamed(Tail)];
renamed(Tuple) when is_tuple(Tuple) -> list_to_tuple(renamed(tuple_to_list(Tuple)));
renamed(Other) -> Other.
