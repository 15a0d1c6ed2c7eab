%% @doc The C program by itself: started by hand, and used from VMs that do not run the application kv. Buckets and
%% registries are spawned on it as on any node.
-module(kv_native_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(COOKIE, "a_cookie_for_all").

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_node_started_by_hand_answers_ping,
        a_registry_makes_its_own_buckets_and_takes_them_along,
        a_bucket_spawned_with_a_link_shares_the_fate_of_its_parent,
        a_bucket_spawned_with_a_monitor_ends_with_its_reason,
        a_bucket_serves_its_owner_and_ends_with_it,
        of_an_option_given_twice_the_first_counts,
        wrong_options_are_told_to_the_owner,
        a_taken_name_is_told_to_the_owner,
        nothing_else_can_be_spawned,
        two_vms_share_a_bucket,
        a_process_whose_owner_is_on_a_lost_vm_ends_with_noconnection,
        a_vm_that_comes_back_under_its_name_is_let_in,
        a_wrong_cookie_is_refused,
        events_go_to_the_manager_of_another_vm,
        system_messages_are_understood,
        a_closure_is_refused_with_a_reason
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config0) ->
    Config = kv_test:start_program(kv_test:start_case(Config0), kv_test:program(), ?COOKIE),
    [{vm, start_vm(Config)} | Config].

end_per_testcase(_Case, Config) ->
    normal = kv_test:stop_program(Config),
    _ = [kv_test:stop_vm(Vm) || {vm, Vm} <- Config, is_process_alive(Vm)],
    kv_test:end_case(Config).

start_vm(Config) -> kv_test:start_vm(Config, ["-setcookie", ?COOKIE]).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%%% Cases

a_node_started_by_hand_answers_ping(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        ?assertEqual(pong, net_adm:ping(Node)),
        ?assertEqual([], nodes()),
        ?assertEqual([Node], nodes(hidden)),
        ?assertExit({noproc, _}, gen_server:call({nobody, Node}, hello))
    end).

a_registry_makes_its_own_buckets_and_takes_them_along(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Registry = spawn(Node, kv_registry, init, [[{name, registry}]]),
        ok = kv_registry:create({registry, Node}, <<"shopping">>),
        ok = kv_registry:create(Registry, <<"garden">>),
        {ok, Bucket} = kv_registry:lookup(Registry, <<"shopping">>),
        ok = kv_bucket:put(Bucket, eggs, 3),
        ?assertEqual(3, kv_bucket:get(Bucket, eggs)),
        ?assertEqual([<<"garden">>, <<"shopping">>], lists:sort(kv_registry:names(Registry))),
        Monitor = monitor(process, Bucket),
        ok = kv_registry:stop({registry, Node}),
        ?assertEqual(normal, kv_test:down(Monitor)),
        ?assertExit({noproc, _}, kv_registry:names({registry, Node})),
        New = spawn(Node, kv_registry, init, [[{name, registry}]]),
        ?assertEqual([], kv_registry:names(New))
    end).

a_bucket_spawned_with_a_link_shares_the_fate_of_its_parent(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Self = self(),
        Parent = spawn(fun() ->
            Self ! {bucket, spawn_link(Node, kv_bucket, init, [[]])},
            receive never -> ok end
        end),
        Bucket = receive {bucket, Pid} -> Pid end,
        ok = kv_bucket:put(Bucket, key, value),
        Monitor = monitor(process, Bucket),
        exit(Parent, shutdown),
        ?assertEqual(shutdown, kv_test:down(Monitor)),
        process_flag(trap_exit, true),
        Mine = spawn_link(Node, kv_bucket, init, [[]]),
        exit(Mine, kill),
        receive {'EXIT', Mine, Reason} -> ?assertEqual(killed, Reason) end
    end).

a_bucket_spawned_with_a_monitor_ends_with_its_reason(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        {Bucket, Monitor} = spawn_monitor(Node, kv_bucket, init, [[]]),
        ok = kv_bucket:stop(Bucket, {odd, "reason"}),
        ?assertEqual({odd, "reason"}, kv_test:down(Monitor))
    end).

a_bucket_serves_its_owner_and_ends_with_it(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Owner = spawn(fun() -> receive never -> ok end end),
        {Bucket, Monitor} = spawn_monitor(Node, kv_bucket, init, [[{owner, Owner}, {label, <<"shopping">>}]]),
        ok = kv_bucket:put(Bucket, key, value),
        exit(Owner, odd),
        ?assertEqual(odd, kv_test:down(Monitor)),
        %% The owner has ended already.
        {_, Late} = spawn_monitor(Node, kv_bucket, init, [[{owner, Owner}]]),
        ?assertEqual(noproc, kv_test:down(Late))
    end).

of_an_option_given_twice_the_first_counts(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Options = [{name, first}, {max_memory, 100000000}, {name, second}, {max_memory, 1}],
        Bucket = spawn_link(Node, kv_bucket, init, [Options]),
        ?assertEqual(ok, kv_bucket:put({first, Node}, key, value)),
        ?assertExit({noproc, _}, kv_bucket:size({second, Node})),
        ok = kv_bucket:stop(Bucket)
    end).

wrong_options_are_told_to_the_owner(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        [
            begin
                {Pid, Monitor} = spawn_monitor(Node, Module, init, [[{owner, self()}, Option]]),
                receive
                    {ack, Pid, Answer} -> ?assertEqual({error, {bad_option, Option}}, Answer)
                after 5000 -> error(no_ack)
                end,
                ?assertEqual({bad_option, Option}, kv_test:down(Monitor))
            end
         || {Module, Option} <- [
                {kv_bucket, {colour, green}},
                {kv_bucket, green},
                {kv_bucket, {name, "text"}},
                {kv_bucket, {creator, self()}},
                {kv_registry, {event_manager, 7}},
                {kv_registry, {creator, none}}
            ]
        ]
    end).

a_taken_name_is_told_to_the_owner(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        First = spawn(Node, kv_bucket, init, [[{name, shopping}]]),
        ok = kv_bucket:put({shopping, Node}, key, value),
        Second = spawn(Node, kv_bucket, init, [[{owner, self()}, {name, shopping}]]),
        receive
            {ack, Second, Answer} -> ?assertEqual({error, {already_registered, First}}, Answer)
        after 5000 -> error(no_ack)
        end
    end).

nothing_else_can_be_spawned(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Calls = [
            {kv_bucket, init, []}, {kv_bucket, init, [[], []]}, {kv_bucket, start, [[]]},
            {lists, reverse, [[]]}, {os, cmd, ["true"]}
        ],
        [
            begin
                Request = erlang:spawn_request(Node, M, F, A, []),
                receive
                    {spawn_reply, Request, error, Reason} -> ?assertEqual(undef, Reason)
                after 5000 -> error({no_reply, M, F, A})
                end
            end
         || {M, F, A} <- Calls
        ],
        ?assertEqual(pong, net_adm:ping(Node))
    end).

two_vms_share_a_bucket(Config) ->
    Node = ?config(node, Config),
    Other = start_vm(Config),
    Bucket = in(Config, fun() -> spawn(Node, kv_bucket, init, [[{name, shared}]]) end),
    kv_test:in(Other, fun() -> ok = kv_bucket:put({shared, Node}, key, {from, node()}) end),
    in(Config, fun() ->
        {from, OtherName} = kv_bucket:get(Bucket, key),
        ?assertNotEqual(node(), OtherName),
        ok = kv_bucket:stop(Bucket)
    end),
    kv_test:in(Other, fun() -> ?assertExit({noproc, _}, kv_bucket:get(Bucket, key)) end),
    ok = kv_test:stop_vm(Other).

a_process_whose_owner_is_on_a_lost_vm_ends_with_noconnection(Config) ->
    Node = ?config(node, Config),
    Other = start_vm(Config),
    {Owned, Linked, Free} = kv_test:in(Other, fun() ->
        Owner = spawn(fun() -> receive never -> ok end end),
        Self = self(),
        spawn(fun() ->
            Self ! {linked, spawn_link(Node, kv_bucket, init, [[]])},
            receive never -> ok end
        end),
        Linked = receive {linked, Pid} -> Pid end,
        {spawn(Node, kv_bucket, init, [[{owner, Owner}]]), Linked, spawn(Node, kv_bucket, init, [[]])}
    end),
    in(Config, fun() -> [ok = kv_bucket:put(B, key, value) || B <- [Owned, Linked, Free]] end),
    kv_test:signal("KILL", kv_test:vm_os_pid(Other)),
    in(Config, fun() ->
        [?assertMatch(R when R =:= noconnection; R =:= noproc, kv_test:down(monitor(process, B))) || B <- [Owned, Linked]],
        ?assertEqual(value, kv_bucket:get(Free, key))
    end).

a_vm_that_comes_back_under_its_name_is_let_in(Config) ->
    Node = ?config(node, Config),
    Name = list_to_atom("again_" ++ os:getpid() ++ "@127.0.0.1"),
    Bucket = in(Config, fun() -> spawn(Node, kv_bucket, init, [[]]) end),
    [
        begin
            Vm = kv_test:start_undistributed_vm(Config, ["-name", atom_to_list(Name), "-setcookie", ?COOKIE]),
            kv_test:in(Vm, fun() ->
                ok = kv_bucket:put(Bucket, key, I),
                ?assertEqual(I, kv_bucket:get(Bucket, key))
            end),
            OsPid = kv_test:vm_os_pid(Vm),
            kv_test:signal("KILL", OsPid),
            kv_test:gone(OsPid),
            kv_test:wait(fun() -> not kv_test:registered_in_epmd(Config, Name) end)
        end
     || I <- lists:seq(1, 3)
    ],
    in(Config, fun() -> ?assertEqual(3, kv_bucket:get(Bucket, key)) end).

a_wrong_cookie_is_refused(Config) ->
    Node = ?config(node, Config),
    Stranger = kv_test:start_vm(Config, ["-setcookie", "another"]),
    kv_test:in(Stranger, fun() -> ?assertEqual(pang, net_adm:ping(Node)) end),
    in(Config, fun() -> ?assertEqual(pong, net_adm:ping(Node)) end),
    ok = kv_test:stop_vm(Stranger).

events_go_to_the_manager_of_another_vm(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        {ok, Manager} = gen_event:start_link({local, manager}),
        ok = gen_event:add_handler(manager, kv_test_handler, self()),
        [
            begin
                Registry = spawn(Node, kv_registry, init, [[{event_manager, To}]]),
                ok = kv_registry:create(Registry, <<"shopping">>),
                {ok, Bucket} = kv_registry:lookup(Registry, <<"shopping">>),
                ok = kv_bucket:stop(Bucket),
                ?assertEqual([{create, <<"shopping">>, Bucket}, {exit, <<"shopping">>, Bucket}], [event(), event()])
            end
         || To <- [Manager, {manager, node()}]
        ]
    end).

event() ->
    receive
        {event, Event} -> Event
    after 5000 -> error(no_event)
    end.

system_messages_are_understood(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Bucket = spawn(Node, kv_bucket, init, [[]]),
        ?assertMatch({status, Bucket, {module, _}, [_, running, _, _, _]}, sys:get_status(Bucket)),
        ok = sys:suspend(Bucket),
        ?assertMatch({status, Bucket, {module, _}, [_, suspended, _, _, _]}, sys:get_status(Bucket)),
        Self = self(),
        spawn(fun() -> Self ! kv_bucket:put(Bucket, key, value) end),
        ok = sys:resume(Bucket),
        receive ok -> ok after 5000 -> error(not_resumed) end,
        _ = sys:get_state(Bucket),
        ?assertMatch({error, {unknown_system_msg, _}}, sys:change_code(Bucket, kv_bucket, 1, [])),
        ok = sys:terminate(Bucket, shutdown)
    end).

a_closure_is_refused_with_a_reason(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Bucket = spawn(Node, kv_bucket, init, [[]]),
        {error, {cannot_run_closures, Text}} = gen_server:call(Bucket, {update, fun(Map) -> Map end}),
        ?assert(is_binary(Text)),
        Fun = fun() -> a_value end,
        ok = kv_bucket:put(Bucket, key, Fun),
        ?assertEqual(a_value, (kv_bucket:get(Bucket, key))())
    end).
