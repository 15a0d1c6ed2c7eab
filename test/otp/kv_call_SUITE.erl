%% Calls to buckets: they send no monitors on the wire, and exit when a process or a node ends. Also requests that are
%% sent now and awaited later, and the socket options of the connection.
-module(kv_call_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() -> [{group, calls}, {group, requests}, {group, many}, {group, socket}].

groups() ->
    [
        {calls, [], [
            a_call_is_one_message_each_way,
            a_vm_without_the_application_calls_so_too,
            a_call_waits_where_the_mailbox_is_long,
            a_native_registry_is_called_as_ever,
            casts_and_calls_keep_their_order_while_the_node_becomes_known,
            a_caller_that_traps_exits_gets_nothing_but_its_answer,
            a_wrong_timeout_is_refused_before_anything_is_sent,
            a_late_answer_is_dropped,
            a_killed_watcher_is_as_a_lost_node_and_replaced,
            a_killed_watch_server_is_replaced,
            after_the_node_has_come_back_calls_are_as_before,
            a_process_of_a_former_node_is_noproc
        ]},
        {requests, [], [
            answers_belong_to_their_requests,
            requests_are_handled_in_the_order_in_which_they_were_sent,
            a_request_to_a_dead_bucket_exits_with_noproc,
            a_request_to_a_bucket_that_ends_meanwhile_exits_with_its_reason,
            a_request_to_a_lost_node_exits_with_nodedown,
            a_request_that_times_out_is_given_up,
            an_abandoned_request_leaves_nothing_behind,
            when_one_of_many_fails_the_rest_is_given_up,
            many_share_one_deadline,
            only_the_sender_can_wait,
            a_term_that_is_no_request_is_refused,
            casts_of_all_kinds_act
        ]},
        {many, [], [
            a_hundred_thousand_keys_are_one_request,
            take_is_maps_with,
            malformed_arguments_raise_badarg,
            an_answer_too_large_is_an_error
        ]},
        {socket, [], [
            the_connection_to_the_node_is_set_and_no_other,
            the_option_leaves_the_connection_alone,
            a_new_connection_is_set_again
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%% Starts a native bucket, and waits until the kind of its node is known.
native() ->
    {ok, Proxy} = kv_bucket:start_link([]),
    Bucket = kv_proxy:native(Proxy),
    ok = known(Bucket),
    Bucket.

known(Bucket) ->
    0 = kv_bucket:size(Bucket),
    kv_test:wait(fun() -> is_pid(kv_watcher:watcher(node(Bucket))) end).

%% The same bucket, by each kind of address.
addresses() ->
    {ok, Proxy} = kv_bucket:start_link([{name, by_name}]),
    Native = kv_proxy:native(Proxy),
    ok = known(Native),
    [Native, Proxy, by_name, {by_name, node(Native)}].

%% Runs a fun in a process of its own, and returns how it ended.
outcome(Fun) ->
    kv_test:down(element(2, spawn_monitor(fun() -> exit({value, Fun()}) end))).

succeeds(Fun) -> element(1, kv_case:outcome(Fun)) =:= returned.

%%% calls

a_call_is_one_message_each_way(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        ok = sys:log(Bucket, true),
        ok = kv_bucket:put(Bucket, a, 1),
        1 = kv_bucket:get(Bucket, a),
        1 = gen_server:call(Bucket, {get, a}),
        {ok, Log} = sys:log(Bucket, get),
        ?assertMatch(
            [
                {in, {'$kv_call', A, {put, a, 1}}}, {out, ok, A}, {in, {'$kv_call', B, {get, a, undefined}}}, {out, 1, B},
                {in, {'$gen_call', From, {get, a}}}, {out, 1, From}
            ],
            Log
        ),
        %% Its proxy is the only monitor: no caller has one.
        ?assertMatch([{monitored_by, [_Proxy]}], erpc:call(node(Bucket), erlang, process_info, [Bucket, [monitored_by]]))
    end).

a_vm_without_the_application_calls_so_too(Config) ->
    Bucket = in(Config, fun() -> {Starter, _} = spawn_monitor(fun hold_bucket/0), bucket_of(Starter) end),
    Other = kv_test:start_vm(Config),
    try
        kv_test:in(Other, fun() ->
            ok = known(Bucket),
            ok = kv_bucket:put(Bucket, a, 1),
            1 = kv_bucket:get(Bucket, a),
            ?assertNot(lists:keymember(kv, 1, application:which_applications())),
            ?assert(lists:keymember(kv_watcher, 1, supervisor:which_children(kernel_safe_sup)))
        end)
    after
        kv_test:stop_vm(Other)
    end.

hold_bucket() ->
    {ok, Proxy} = kv_bucket:start_link([]),
    receive
        {From, bucket} -> From ! {self(), kv_proxy:native(Proxy)}
    end,
    receive never -> ok end.

bucket_of(Starter) ->
    Starter ! {self(), bucket},
    receive
        {Starter, Bucket} -> Bucket
    end.

%% The compiler reports if a receive only looks at messages that arrived after its reference was made. All three
%% receives of a call do; those that wait for a request that was sent earlier cannot.
a_call_waits_where_the_mailbox_is_long(_Config) ->
    Source = proplists:get_value(source, kv_call:module_info(compile)),
    {ok, kv_call, _, [{_, Warnings}]} = compile:file(Source, [binary, return, recv_opt_info]),
    Texts = [lists:flatten(Module:format_error(Warning)) || {_, Module, Warning} <- Warnings],
    ?assertEqual(2, length([Text || "OPTIMIZED: all clauses match reference created by monitor/3" ++ _ = Text <- Texts])).

a_native_registry_is_called_as_ever(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        Registry = spawn(node(Bucket), kv_registry, init, [[]]),
        ok = kv_registry:create(Registry, <<"a">>),
        {ok, Named} = kv_registry:lookup(Registry, <<"a">>),
        ?assertEqual({ok, Named}, kv_call:call(Registry, {lookup, <<"a">>}, 5000)),
        ok = kv_registry:stop(Registry),
        ?assertExit({noproc, {gen_server, call, [Registry, names, 5000]}}, kv_call:call(Registry, names, 5000))
    end).

%% Nobody has called the node before: the first calls use gen_server, the later ones `$kv_call'.
casts_and_calls_keep_their_order_while_the_node_becomes_known(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([]),
        Bucket = kv_proxy:native(Proxy),
        true = exit(kv_watcher:watcher(node(Bucket)), kill),
        ok = kv_test:wait(fun() -> kv_watcher:watcher(node(Bucket)) =:= unknown end),
        Known = [step(Bucket, N) || N <- lists:seq(1, 2000)],
        ?assertMatch([unknown | _], Known),
        ok = known_at_last(Bucket)
    end).

step(Bucket, N) ->
    Known = kv_watcher:watcher(node(Bucket)),
    ok = kv_bucket:cast(Bucket, put, [n, N]),
    Request = kv_bucket:async(Bucket, get, [n]),
    ok = kv_bucket:cast(Bucket, put, [n, -N]),
    ?assertEqual(-N, kv_bucket:get(Bucket, n)),
    ?assertEqual(N, kv_bucket:await(Request)),
    Known.

known_at_last(Bucket) ->
    kv_test:wait(fun() -> is_pid(kv_watcher:watcher(node(Bucket))) end).

a_caller_that_traps_exits_gets_nothing_but_its_answer(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        Bucket = native(),
        [ok = kv_bucket:put(Bucket, N, N) || N <- lists:seq(1, 100)],
        ok = sys:terminate(Bucket, done),
        ok = kv_test:wait(fun() -> not erpc:call(node(Bucket), erlang, is_process_alive, [Bucket]) end),
        ?assertExit({noproc, _}, kv_bucket:get(Bucket, 1)),
        ?assertMatch([{'EXIT', _Proxy, done}], [kv_case:next() | kv_test:mailbox()]),
        ?assertEqual({monitors, []}, process_info(self(), monitors))
    end).

a_wrong_timeout_is_refused_before_anything_is_sent(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        [?assertError(badarg, kv_bucket:put(Bucket, a, 1, Wrong)) || Wrong <- [-1, 1.5, soon, 1 bsl 32]],
        ?assertEqual(0, kv_bucket:size(Bucket)),
        ?assertEqual(0, kv_bucket:size(Bucket, infinity))
    end).

a_late_answer_is_dropped(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        ok = sys:suspend(Bucket),
        ?assertExit({timeout, {gen_server, call, [Bucket, {put, a, 1}, 1]}}, kv_bucket:put(Bucket, a, 1, 1)),
        ?assertExit({timeout, _}, kv_bucket:get(Bucket, a, none, 0)),
        ok = sys:resume(Bucket),
        ?assertEqual(1, kv_bucket:get(Bucket, a)),
        ?assertEqual([], kv_test:mailbox()),
        ?assertEqual({monitors, []}, process_info(self(), monitors))
    end).

a_killed_watcher_is_as_a_lost_node_and_replaced(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        Node = node(Bucket),
        ok = sys:suspend(Bucket),
        {Caller, Monitor} = spawn_monitor(fun() -> kv_bucket:get(Bucket, a) end),
        ok = kv_case:await_call(Caller),
        Watcher = kv_watcher:watcher(Node),
        exit(Watcher, kill),
        ?assertMatch({{nodedown, Node}, {gen_server, call, _}}, kv_test:down(Monitor)),
        ok = sys:resume(Bucket),
        ok = kv_test:wait(fun() -> kv_watcher:watcher(Node) =:= unknown end),
        ok = known(Bucket),
        ?assertNotEqual(Watcher, kv_watcher:watcher(Node))
    end).

a_killed_watch_server_is_replaced(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        Monitor = monitor(process, whereis(kv_watcher)),
        [
            begin
                exit(whereis(kv_watcher), kill),
                ok = kv_test:wait(fun() -> kv_watcher:watcher(node(Bucket)) =:= unknown end),
                ok = known(Bucket)
            end
         || _ <- lists:seq(1, 10)
        ],
        ?assertEqual(killed, kv_test:down(Monitor))
    end).

after_the_node_has_come_back_calls_are_as_before(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        Watcher = kv_watcher:watcher(node(native())),
        Node = kv_node:name(),
        ok = kill_program(Node),
        ok = kv_test:wait(fun() -> succeeds(fun native/0) end),
        ?assertEqual(Node, kv_node:name()),
        ?assertNotEqual(Watcher, kv_watcher:watcher(Node))
    end).

%% Kills the program, and waits until this VM has noticed.
kill_program(Node) ->
    true = monitor_node(Node, true),
    ok = kv_test:signal("KILL", kv_node:os_pid()),
    receive
        {nodedown, Node} -> ok
    end.

a_process_of_a_former_node_is_noproc(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        Former = spawn(kv_node:name(), kv_bucket, init, [[]]),
        ok = kv_bucket:put(Former, a, 1),
        ok = kill_program(node(Former)),
        ok = kv_test:wait(fun() -> succeeds(fun native/0) end),
        ?assertExit({noproc, _}, kv_bucket:get(Former, a)),
        ?assertExit({noproc, _}, gen_server:call(Former, {get, a}))
    end).

%%% requests

answers_belong_to_their_requests(Config) ->
    in(Config, fun() ->
        [
            begin
                ok = kv_bucket:clear(Bucket),
                Requests = [kv_bucket:async(Bucket, put_new, [N rem 50, N]) || N <- lists:seq(1, 100)],
                Answers = lists:duplicate(50, true) ++ lists:duplicate(50, false),
                ?assertEqual(lists:reverse(Answers), kv_bucket:await_many(lists:reverse(Requests))),
                ?assertEqual([{ok, 7}, error], [kv_bucket:await(kv_bucket:async(Bucket, fetch, [K])) || K <- [7, x]]),
                ?assertEqual([7, undefined], kv_bucket:await(kv_bucket:async(Bucket, get_many, [[7, x]]))),
                ?assertEqual(#{7 => 7}, kv_bucket:await(kv_bucket:async(Bucket, take, [[7, x]]))),
                ?assertEqual([], kv_test:mailbox())
            end
         || Bucket <- addresses()
        ]
    end).

requests_are_handled_in_the_order_in_which_they_were_sent(Config) ->
    in(Config, fun() ->
        [
            begin
                Requests = [
                    begin
                        ok = kv_bucket:cast(Bucket, put, [a, N]),
                        kv_bucket:async(Bucket, get, [a])
                    end
                 || N <- lists:seq(1, 500)
                ],
                ok = kv_bucket:put(Bucket, a, 0),
                ?assertEqual(lists:seq(1, 500), kv_bucket:await_many(Requests))
            end
         || Bucket <- addresses()
        ]
    end).

a_request_to_a_dead_bucket_exits_with_noproc(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        [Native | _] = Addresses = addresses(),
        ok = kv_bucket:stop(Native),
        [?assertExit({noproc, {kv_bucket, await, [_, 5000]}}, kv_bucket:await(kv_bucket:async(A, size, []))) || A <- Addresses]
    end).

a_request_to_a_bucket_that_ends_meanwhile_exits_with_its_reason(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        [
            begin
                [Native | _] = Addresses = addresses(),
                ok = sys:suspend(Native),
                Requests = [kv_bucket:async(Address, size, []) || Address <- Addresses],
                %% The proxy has passed on all earlier messages before it answers this one.
                _ = sys:get_status(by_name),
                exit(Native, Reason),
                [?assertExit({Seen, {kv_bucket, await, _}}, kv_bucket:await(Request)) || Request <- Requests],
                ok = kv_test:wait(fun() -> whereis(by_name) =:= undefined end),
                [{'EXIT', _, Seen}] = kv_test:mailbox()
            end
         || {Reason, Seen} <- [{kill, killed}, {shutdown, shutdown}, {{odd, "reason"}, {odd, "reason"}}]
        ]
    end).

a_request_to_a_lost_node_exits_with_nodedown(Config) ->
    in(Config, fun() ->
        Bucket = spawn(kv_node:name(), kv_bucket, init, [[]]),
        ok = known(Bucket),
        ok = sys:suspend(Bucket),
        Requests = [kv_bucket:async(Bucket, get, [N]) || N <- lists:seq(1, 10)],
        Node = node(Bucket),
        ok = kill_program(Node),
        [?assertExit({{nodedown, Node}, {kv_bucket, await, _}}, kv_bucket:await(Request)) || Request <- Requests],
        ?assertEqual([], kv_test:mailbox())
    end).

a_request_that_times_out_is_given_up(Config) ->
    in(Config, fun() ->
        [Native | _] = Addresses = addresses(),
        ok = sys:suspend(Native),
        [?assertExit({timeout, {kv_bucket, await, [_, 1]}}, kv_bucket:await(kv_bucket:async(A, put, [A, 1]), 1)) || A <- Addresses],
        ok = sys:resume(Native),
        ?assertEqual(lists:duplicate(4, 1), kv_bucket:get_many(Native, Addresses)),
        [?assertEqual(4, kv_bucket:size(A)) || A <- Addresses],
        ?assertEqual([], kv_test:mailbox())
    end).

an_abandoned_request_leaves_nothing_behind(Config) ->
    in(Config, fun() ->
        [
            begin
                Requests = [kv_bucket:async(Bucket, put, [N, N]) || N <- lists:seq(1, 100)],
                [ok = kv_bucket:abandon(Request) || Request <- Requests],
                ?assertEqual(100, kv_bucket:size(Bucket)),
                ?assertEqual([], kv_test:mailbox()),
                ?assertEqual({monitors, []}, process_info(self(), monitors)),
                ok = kv_bucket:clear(Bucket)
            end
         || Bucket <- addresses()
        ]
    end).

when_one_of_many_fails_the_rest_is_given_up(Config) ->
    in(Config, fun() ->
        Alive = native(),
        Dead = spawn(node(Alive), kv_bucket, init, [[]]),
        ok = kv_bucket:stop(Dead),
        Requests = [kv_bucket:async(Bucket, size, []) || Bucket <- [Alive, Dead, Alive, Alive]],
        ?assertExit({noproc, {kv_bucket, await, _}}, kv_bucket:await_many(Requests)),
        0 = kv_bucket:size(Alive),
        ?assertEqual([], kv_test:mailbox())
    end).

many_share_one_deadline(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        ok = sys:suspend(Bucket),
        Requests = [kv_bucket:async(Bucket, size, []) || _ <- lists:seq(1, 1000)],
        %% Sequential requests would take a minute.
        ?assertExit({timeout, _}, kv_bucket:await_many(Requests, 60)),
        ok = sys:resume(Bucket),
        0 = kv_bucket:size(Bucket),
        ?assertEqual([], kv_test:mailbox()),
        ?assertEqual([], kv_bucket:await_many([])),
        ?assertEqual([0], kv_bucket:await_many([kv_bucket:async(Bucket, size, [])], infinity))
    end).

only_the_sender_can_wait(Config) ->
    in(Config, fun() ->
        Request = kv_bucket:async(native(), size, []),
        ?assertMatch({badarg, _}, outcome(fun() -> kv_bucket:await(Request) end)),
        ?assertMatch({badarg, _}, outcome(fun() -> kv_bucket:abandon(Request) end)),
        ?assertEqual(0, kv_bucket:await(Request))
    end).

a_term_that_is_no_request_is_refused(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        [
            ?assertError(badarg, kv_bucket:async(Bucket, Function, Arguments))
         || {Function, Arguments} <- [{get, []}, {get, [a, b, c]}, {size, [a]}, {shout, []}, {"get", [a]}, {get, a}, {stop, []}]
        ],
        ?assertError(_, kv_bucket:cast(Bucket, get, [a])),
        ?assertError(badarg, kv_bucket:cast(Bucket, put, [a])),
        ?assertError(badarg, kv_bucket:await(request)),
        ?assertEqual([], kv_test:mailbox())
    end).

casts_of_all_kinds_act(Config) ->
    in(Config, fun() ->
        [
            begin
                ok = kv_bucket:cast(Bucket, put, [a, 1]),
                ok = kv_bucket:cast(Bucket, put_many, [#{b => 2, c => 3, d => 4}]),
                ok = kv_bucket:cast(Bucket, delete, [b]),
                ok = kv_bucket:cast(Bucket, delete_many, [[c, x]]),
                ?assertEqual(#{a => 1, d => 4}, kv_bucket:to_map(Bucket)),
                ok = kv_bucket:cast(Bucket, clear, []),
                ?assertEqual(0, kv_bucket:size(Bucket))
            end
         || Bucket <- addresses()
        ],
        ok = kv_bucket:cast(spawn(node(native()), kv_bucket, init, [none]), clear, []),
        ok = kv_bucket:cast(nobody, clear, [])
    end).

%%% many

a_hundred_thousand_keys_are_one_request(Config) ->
    in(Config, fun() ->
        [Native, Proxy | _] = addresses(),
        Keys = [{key, N} || N <- lists:seq(1, 100000)],
        Values = lists:seq(1, 100000),
        ok = kv_bucket:put_many(Proxy, lists:zip(Keys, Values)),
        ?assertEqual(100000, kv_bucket:size(Native)),
        ?assertEqual(Values, kv_bucket:get_many(Native, Keys)),
        ?assertEqual(lists:reverse(Values), kv_bucket:get_many(Proxy, lists:reverse(Keys))),
        ?assertEqual(maps:from_list(lists:zip(Keys, Values)), kv_bucket:take(Native, [x | Keys])),
        ?assertEqual(99999, kv_bucket:delete_many(Native, tl(Keys))),
        ?assertEqual(#{{key, 1} => 1}, kv_bucket:to_map(Native))
    end).

take_is_maps_with(Config) ->
    in(Config, fun() ->
        Map = #{1 => a, 2 => undefined, 3 => nil, "4" => [5], <<6>> => make_ref(), 7.0 => self()},
        [
            begin
                ok = kv_bucket:put_many(Bucket, Map),
                [
                    ?assertEqual(maps:with(Keys, Map), kv_bucket:take(Bucket, Keys))
                 || Keys <- [[], [1], [1, 1], [1, 2, 3], [7, 7.0], maps:keys(Map), [x | maps:keys(Map)], [x, y, x]]
                ]
            end
         || Bucket <- addresses()
        ]
    end).

malformed_arguments_raise_badarg(Config) ->
    in(Config, fun() ->
        [Native | _] = Addresses = addresses(),
        [
            begin
                [
                    begin
                        ?assertError(badarg, kv_bucket:get_many(Bucket, Keys)),
                        ?assertError(badarg, kv_bucket:take(Bucket, Keys)),
                        ?assertError(badarg, kv_bucket:delete_many(Bucket, Keys)),
                        ?assertError(badarg, kv_bucket:await(kv_bucket:async(Bucket, get_many, [Keys])))
                    end
                 || Keys <- [a, [a | b], #{a => b}, <<>>]
                ],
                [?assertError(badarg, kv_bucket:put_many(Bucket, Entries)) || Entries <- [a, [a], "ab", [{a, 1} | b], [{a, 1}, {b}]]]
            end
         || Bucket <- Addresses
        ],
        ?assertEqual(0, kv_bucket:size(Native))
    end).

an_answer_too_large_is_an_error(Config) ->
    in(Config, fun() ->
        Bucket = native(),
        ok = kv_bucket:put(Bucket, a, <<0:(8 * 1024 * 1024)>>),
        Keys = lists:duplicate(300, a),
        ?assertExit({{too_large, Bytes}, _} when Bytes > 300 * 1024 * 1024, kv_bucket:get_many(Bucket, Keys, undefined, 60000)),
        ?assertExit({{too_large, _}, _}, kv_bucket:take(Bucket, Keys, 60000)),
        ?assertEqual([undefined], kv_bucket:get_many(Bucket, [b]))
    end).

%%% socket

the_connection_to_the_node_is_set_and_no_other(Config) ->
    Other = kv_test:start_vm(Config),
    try
        Node = kv_test:in(Other, fun() -> node() end),
        in(Config, fun() ->
            pong = net_adm:ping(Node),
            ?assertEqual({ok, [{delay_send, true}]}, net_kernel:getopts(kv_node:name(), [delay_send])),
            ?assertEqual({ok, [{buffer, 131072}]}, net_kernel:getopts(kv_node:name(), [buffer])),
            ?assertEqual({ok, [{delay_send, false}]}, net_kernel:getopts(Node, [delay_send]))
        end)
    after
        kv_test:stop_vm(Other)
    end.

the_option_leaves_the_connection_alone(Config) ->
    in(Config, fun() ->
        ok = application:stop(kv),
        ok = application:set_env(kv, delay_send, false),
        ok = application:start(kv),
        ?assertEqual({ok, [{delay_send, false}]}, net_kernel:getopts(kv_node:name(), [delay_send]))
    end).

a_new_connection_is_set_again(Config) ->
    in(Config, fun() ->
        Node = kv_node:name(),
        Owner = whereis(kv_node),
        [
            begin
                true = erlang:disconnect_node(Node),
                _ = Again(Node),
                ok = kv_test:wait(fun() -> net_kernel:getopts(Node, [delay_send]) =:= {ok, [{delay_send, true}]} end)
            end
            %% Connected again by kv_node, and by another process that was faster.
         || Again <- [fun(_) -> not_dialled end, fun net_kernel:connect_node/1]
        ],
        ?assertEqual(Owner, whereis(kv_node))
    end).
