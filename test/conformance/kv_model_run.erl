%% @doc Runs programs of kv_model's commands against a node, and reports where the node first differs from the model.
%% Runs in a VM that is connected to that node.
-module(kv_model_run).

-export([check/3, program/2]).

-define(CLIENTS, [1, 2, 3]).
-define(SLOTS, 4).
-define(DEADLINE, 5000).

%%% The property

%% Runs so many random programs. A failure comes with the smallest program that shows it.
-spec check(native | reference, node(), pos_integer()) -> ok | {error, term()}.
check(Which, Node, Runs) ->
    Property = proper:forall(proper_types:list(command()), fun(Program) -> ok =:= program({Which, Node}, Program) end),
    case proper:quickcheck(Property, [quiet, long_result, {numtests, Runs}, {max_size, 80}]) of
        true -> ok;
        [Program] -> {error, {Program, program({Which, Node}, Program)}};
        Other -> {error, Other}
    end.

command() ->
    Client = proper_types:elements(?CLIENTS),
    Slot = proper_types:integer(1, ?SLOTS),
    Key = proper_types:elements([a, b, 1, 1.0]),
    Value = proper_types:integer(0, 9),
    Reason = proper_types:elements([normal, shutdown, crash, kill]),
    proper_types:frequency([
        {6, {create, Client, Slot, proper_types:elements([plain, linked, monitored, owned, named, registered])}},
        {5, {proper_types:elements([put, put_new, cast]), Client, Slot, Key, Value}},
        {4, {proper_types:elements([get, delete]), Client, Slot, Key}},
        {2, {proper_types:elements([to_map, lookup]), Client, Slot}},
        {6, {proper_types:elements([monitor, demonitor, link, unlink]), Client, Slot}},
        {2, {exit, Client, Slot, Reason}},
        {2, {stop, Client, Slot, Reason}},
        {1, {die, Client, proper_types:elements([normal, shutdown, crash])}},
        {1, disconnect}
    ]).

%%% One program

-spec program({native | reference, node()}, [kv_model:command()]) -> ok | {differs, map()}.
program({Which, Node}, Program) ->
    Registry = spawn(Node, kv_registry, init, [[]]),
    World = #{
        which => Which, node => Node, registry => Registry, slots => #{}, all => #{}, refs => #{},
        clients => maps:from_list([{Client, kv_case:trapping_helper()} || Client <- ?CLIENTS])
    },
    run(Program, kv_model:new(?CLIENTS), World).

run([], _Model, World) ->
    clean(World);
run([Command | Rest], Model0, World0) ->
    {Result, Messages, Deaths, Model} = kv_model:step(Command, Model0),
    {Seen, World1} = act(Command, Result, Deaths, World0),
    Received = received(Messages, World1),
    case {Seen, lists:sort(Received)} =:= {Result, lists:sort(Messages)} of
        true ->
            run(Rest, Model, World1);
        false ->
            _ = clean(World1),
            {differs, #{
                command => Command, model_before => Model0, result => {expected, Result, seen, Seen},
                messages => {expected, lists:sort(Messages), seen, lists:sort(Received)}
            }}
    end.

clean(#{clients := Clients, all := All, registry := Registry}) ->
    [exit(Pid, kill) || Pid <- [Registry | maps:keys(All)] ++ maps:values(Clients)],
    _ = kv_case:end_of(Registry),
    ok.

%%% Acting

act(_Command, skipped, _Deaths, World) ->
    {skipped, World};
act({create, Client, Slot, How}, _, _, World) ->
    {Pid, Refs} = as(Client, World, fun() -> create(How, Slot, self(), World) end),
    #{slots := Slots, all := All} = World,
    {created, note(Client, Slot, Refs, World#{slots := Slots#{Slot => Pid}, all := All#{Pid => Slot}, refs := forget(Slot, World)})};
act({die, Client, Reason}, _, Deaths, World) ->
    #{clients := Clients, refs := Refs} = World,
    Watched = watch(Deaths, World),
    Reason = kv_case:finish(maps:get(Client, Clients), Reason),
    ok = await(Watched),
    Left = maps:filter(fun({C, _}, _) -> C =/= Client end, Refs),
    {Reason, World#{clients := Clients#{Client := kv_case:trapping_helper()}, refs := Left}};
act(disconnect, _, Deaths, #{node := Node} = World) ->
    true = monitor_node(Node, true),
    true = erlang:disconnect_node(Node),
    receive
        {nodedown, Node} -> ok
    after ?DEADLINE -> error(no_nodedown)
    end,
    ok = kv_test:wait(fun() -> net_adm:ping(Node) =:= pong end),
    ok = await(watch(Deaths, World)),
    {ok, World#{refs := #{}}};
act({monitor, Client, Slot}, _, _, World) ->
    Pid = pid(Slot, World),
    Ref = as(Client, World, fun() -> monitor(process, Pid) end),
    {ok, note(Client, Slot, [Ref], World)};
act({demonitor, Client, Slot}, Expected, _, #{refs := Refs} = World) ->
    case Refs of
        #{{Client, Slot} := [Ref | Rest]} when Expected =/= none ->
            {as(Client, World, fun() -> demonitor(Ref, [flush]) end), World#{refs := Refs#{{Client, Slot} := Rest}}};
        #{} ->
            {none, World}
    end;
act({lookup, Client, Slot}, Expected, _, #{which := Which, registry := Registry} = World) ->
    Ask = fun() -> as(Client, World, fun() -> in_slots(kv_case:call(Registry, {lookup, <<Slot>>}), World) end) end,
    %% An ordinary registry hears of the end of a bucket at some time; the native one does so before all others.
    Which =:= reference andalso kv_test:wait(fun() -> Ask() =:= Expected end),
    {Ask(), World};
act(Command, _, Deaths, World) ->
    Watched = watch(Deaths, World),
    Pid = pid(element(3, Command), World),
    Seen = as(element(2, Command), World, fun() -> signal(Command, Pid) end),
    ok = await(Watched),
    {Seen, World}.

create(How, Slot, Self, #{node := Node, registry := Registry}) ->
    Options = case How of owned -> [{owner, Self}]; named -> [{name, name(Slot)}]; _ -> [] end,
    case How of
        linked -> {spawn_link(Node, kv_bucket, init, [Options]), []};
        monitored -> {Pid, Ref} = spawn_monitor(Node, kv_bucket, init, [Options]), {Pid, [Ref]};
        registered -> {kv_case:call(Registry, {create, <<Slot>>}), []};
        owned -> Pid = spawn(Node, kv_bucket, init, [Options]), receive {ack, Pid, {ok, Pid}} -> {Pid, []} end;
        _ -> Pid = spawn(Node, kv_bucket, init, [Options]), ok = kv_case:serve(Pid), {Pid, []}
    end.

name(Slot) -> list_to_atom("slot_" ++ integer_to_list(Slot)).

%% Other processes may rely on a cast once its sender has had an answer.
signal({cast, _, _, Key, Value}, Pid) ->
    ok = gen_server:cast(Pid, {put, Key, Value}),
    _ = or_noproc(fun() -> kv_case:serve(Pid) end),
    ok;
signal({link, _, _}, Pid) -> link(Pid);
signal({unlink, _, _}, Pid) -> unlink(Pid);
signal({exit, _, _, Reason}, Pid) -> exit(Pid, Reason);
signal({stop, _, _, Reason}, Pid) -> or_noproc(fun() -> gen_server:stop(Pid, Reason, ?DEADLINE) end);
signal({to_map, _, _}, Pid) -> or_noproc(fun() -> kv_case:call(Pid, to_map) end);
signal({Request, _, _, Key}, Pid) -> or_noproc(fun() -> kv_case:call(Pid, {Request, Key}) end);
signal({Request, _, _, Key, Value}, Pid) -> or_noproc(fun() -> kv_case:call(Pid, {Request, Key, Value}) end).

or_noproc(Fun) ->
    try
        Fun()
    catch
        exit:noproc -> noproc;
        exit:{noproc, _} -> noproc
    end.

as(Client, #{clients := Clients}, Fun) ->
    kv_case:do(maps:get(Client, Clients), Fun).

pid(Slot, #{slots := Slots}) -> maps:get(Slot, Slots).

note(_Client, _Slot, [], World) -> World;
note(Client, Slot, [Ref], #{refs := Refs} = World) ->
    World#{refs := Refs#{{Client, Slot} => [Ref | maps:get({Client, Slot}, Refs, [])]}}.

forget(Slot, #{refs := Refs}) -> maps:filter(fun({_, S}, _) -> S =/= Slot end, Refs).

in_slots({ok, Pid}, #{all := All}) -> {ok, maps:get(Pid, All, Pid)};
in_slots(Other, _World) -> Other.

watch(Slots, World) -> [monitor(process, pid(Slot, World)) || Slot <- Slots].

await(Monitors) ->
    [_ = kv_test:down(Monitor) || Monitor <- Monitors],
    ok.

%%% Messages

%% Returns the messages of each client: as many as expected, and those that have arrived besides once the node has
%% answered it.
received(Expected, #{node := Node, clients := Clients} = World) ->
    [
        {Client, in_terms(Message, World)}
     || Client <- ?CLIENTS,
        Message <- kv_case:do(maps:get(Client, Clients), fun() -> collect(length([C || {C, _} <- Expected, C =:= Client]), Node) end)
    ].

%% Messages to the helper itself do not count.
collect(0, Node) ->
    pong = net_adm:ping(Node),
    flush();
collect(Count, Node) ->
    receive
        {Kind, _, _} = Message when Kind =:= 'EXIT' -> [Message | collect(Count - 1, Node)];
        {'DOWN', _, process, _, _} = Message -> [Message | collect(Count - 1, Node)]
    after ?DEADLINE -> [missing]
    end.

flush() ->
    receive
        Message -> [Message | flush()]
    after 0 -> []
    end.

in_terms({'EXIT', Pid, Reason}, #{all := All}) -> {exit, maps:get(Pid, All, Pid), Reason};
in_terms({'DOWN', _, process, Pid, Reason}, #{all := All}) -> {down, maps:get(Pid, All, Pid), Reason};
in_terms(Other, _World) -> Other.
