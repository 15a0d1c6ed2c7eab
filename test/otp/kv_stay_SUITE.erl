%% Buckets in the user's own tree: which ones stay and which ones end when their node is lost, and what callers see.
-module(kv_stay_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).
-import(kv_loss, [start_own/2, stop_supervisor/2, async/1, await/1, kill/0, kill_and_await/0, disconnect_and_await/0]).
-import(kv_loss, [buckets/0, away_program/1, take_away/1, bring_back/1]).

suite() -> [{timetrap, {seconds, 60}}].

all() -> [{group, specifications}, {group, losses}, {group, calls}, {group, starts}].

groups() ->
    [
        {specifications, [], [
            a_process_with_a_name_is_permanent_and_the_name_is_its_id,
            a_process_without_a_name_is_as_in_the_guide,
            options_of_a_child_specification_count,
            wrong_options_are_named
        ]},
        {losses, [parallel], [
            a_named_bucket_stays_and_comes_back_empty,
            a_registry_of_ones_own_stays,
            a_bucket_without_a_name_ends_with_noconnection,
            on_node_down_overrides_either,
            monitors_and_links_on_what_stays_see_nothing,
            the_generation_counts_the_lives,
            the_loss_of_the_process_itself_ends_its_proxy_with_the_reason,
            one_warning_tells_what_was_lost,
            handlers_that_asked_hear_of_what_was_lost,
            the_node_logs_one_line_for_each_event,
            local_reads_go_on_with_the_new_process
        ]},
        {calls, [parallel], [
            calls_without_an_end_get_an_error,
            a_call_is_not_forgotten_if_the_node_is_back_before_its_loss_is_known,
            a_call_is_not_forgotten_that_comes_while_the_connection_is_made,
            calls_from_other_nodes_get_an_error,
            functions_exit_at_once_when_under_way,
            functions_wait_when_they_begin_later,
            no_call_is_forgotten_between_two_losses,
            functions_of_other_nodes_exit_as_well,
            waiting_messages_keep_their_order,
            a_caller_that_gave_up_is_not_served,
            waiting_messages_are_limited,
            requests_without_waiting_see_the_loss,
            no_caller_sees_a_shutdown
        ]},
        {starts, [parallel], [
            filling_comes_before_whatever_waited,
            a_bucket_can_be_filled_by_its_name,
            a_bucket_that_cannot_be_filled_ends_with_the_reason,
            a_start_waits_for_a_node_that_starts,
            a_start_without_a_node_says_what_to_start,
            the_server_that_knows_the_nodes_may_end,
            a_call_that_follows_the_loss_at_once_waits,
            a_process_that_is_away_stops_at_once,
            a_supervisor_does_not_wait_for_a_node_that_hangs
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_vm(Config).

%% Cases run side by side, so each checks only its own program.
end_per_testcase(_Case, Config) -> kv_test:end_vm(Config).

in(Config, Fun) -> kv_loss:in(Config, [], Fun).

in(Config, Environment, Fun) -> kv_loss:in(Config, Environment, Fun).

%%% Child specifications

a_process_with_a_name_is_permanent_and_the_name_is_its_id(_Config) ->
    [
        begin
            ?assertMatch(#{id := Id, restart := permanent}, Module:child_spec([{name, Name}])),
            ?assertEqual(ok, supervisor:check_childspecs([Module:child_spec([{name, Name}])]))
        end
     || {Name, Id} <- [{a, a}, {{local, a}, a}, {{global, b}, {global, b}}, {{via, global, c}, {via, global, c}}],
        Module <- [kv_bucket, kv_registry]
    ].

a_process_without_a_name_is_as_in_the_guide(_Config) ->
    ?assertMatch(#{id := kv_bucket, restart := temporary}, kv_bucket:child_spec([])),
    ?assertMatch(#{id := kv_registry, restart := permanent}, kv_registry:child_spec([])).

options_of_a_child_specification_count(_Config) ->
    Options = [{name, a}, {id, other}, {restart, transient}, {shutdown, 17}],
    [
        ?assertMatch(#{id := other, restart := transient, shutdown := 17}, Module:child_spec(Options))
     || Module <- [kv_bucket, kv_registry]
    ].

wrong_options_are_named(_Config) ->
    [
        ?assertMatch({error, {bad_option, Key, _}}, Module:start_link([{Key, Value}]))
     || {Key, Value} <- [{restart, always}, {shutdown, soon}, {on_node_down, wait}, {fill, fun() -> ok end}, {fill, {m, f}}],
        Module <- [kv_bucket, kv_registry]
    ].

%%% Losses

a_named_bucket_stays_and_comes_back_empty(Config) ->
    in(Config, fun() ->
        Bucket = start_own(kv_bucket, [{name, sessions}]),
        ok = kv_bucket:put(sessions, key, 1),
        Native = kv_proxy:native(sessions),
        ok = kill_and_await(),
        ?assertEqual(undefined, kv_bucket:get(sessions, key)),
        ?assertEqual(Bucket, whereis(sessions)),
        ?assertNotEqual(Native, kv_proxy:native(sessions)),
        ok = kv_bucket:put({sessions, kv_node:name()}, key, 2),
        ?assertEqual(2, kv_bucket:get(sessions, key))
    end).

a_registry_of_ones_own_stays(Config) ->
    in(Config, fun() ->
        Registry = start_own(kv_registry, [{name, names}]),
        Nameless = start_own(kv_registry, [{id, nameless}]),
        ok = kv_registry:create(names, <<"a">>),
        ok = kill_and_await(),
        ?assertEqual([], kv_registry:names(names)),
        ok = kv_registry:create(names, <<"b">>),
        ok = kv_registry:create(Nameless, <<"c">>),
        ?assertMatch({ok, _}, kv_registry:lookup(names, <<"b">>)),
        ?assertEqual(Registry, whereis(names)),
        ?assertEqual([<<"c">>], kv_registry:names(Nameless))
    end).

a_bucket_without_a_name_ends_with_noconnection(Config) ->
    in(Config, fun() ->
        Monitors = [monitor(process, start_own(kv_bucket, [{id, I}])) || I <- lists:seq(1, 3)],
        ok = kill(),
        ?assertEqual([noconnection, noconnection, noconnection], [kv_test:down(M) || M <- Monitors])
    end).

on_node_down_overrides_either(Config) ->
    in(Config, fun() ->
        Stays = start_own(kv_bucket, [{on_node_down, stay}]),
        Ends = start_own(kv_bucket, [{name, ends}, {restart, temporary}, {on_node_down, exit}]),
        Registry = start_own(kv_registry, [{name, ends_too}, {restart, temporary}, {on_node_down, exit}]),
        Monitors = [monitor(process, P) || P <- [Ends, Registry]],
        ok = kill_and_await(),
        ?assertEqual([noconnection, noconnection], [kv_test:down(M) || M <- Monitors]),
        ?assertEqual(ok, kv_bucket:put(Stays, key, 1))
    end).

monitors_and_links_on_what_stays_see_nothing(Config) ->
    in(Config, fun() ->
        Bucket = start_own(kv_bucket, [{name, stays}]),
        true = link(Bucket),
        Proxy = monitor(process, Bucket),
        Native = monitor(process, kv_proxy:native(Bucket)),
        ok = kill_and_await(),
        ?assertEqual(noconnection, kv_test:down(Native)),
        ok = kv_bucket:put(stays, key, 1),
        ?assertEqual([], kv_test:mailbox()),
        true = demonitor(Proxy)
    end).

the_generation_counts_the_lives(Config) ->
    in(Config, fun() ->
        Bucket = start_own(kv_bucket, [{name, stays}]),
        _ = start_own(kv_registry, [{name, names}]),
        [
            begin
                ?assertEqual(N, kv_bucket:generation(stays)),
                ?assertEqual(N, kv_bucket:generation(kv_proxy:native(stays))),
                ?assertEqual(N, kv_registry:generation(names)),
                ok = kill_and_await()
            end
         || N <- [1, 2, 3]
        ],
        %% A lost connection starts no new generation. A bucket that ended itself begins with 1 again.
        ok = disconnect_and_await(),
        ?assertEqual(4, kv_bucket:generation(stays)),
        exit(kv_proxy:native(stays), kill),
        ok = kv_test:wait(fun() -> is_pid(whereis(stays)) andalso whereis(stays) =/= Bucket end),
        ?assertEqual(1, kv_bucket:generation(stays))
    end).

the_loss_of_the_process_itself_ends_its_proxy_with_the_reason(Config) ->
    in(Config, fun() ->
        _ = start_own(kv_bucket, [{name, other}]),
        ok = kv_bucket:put(other, key, kept),
        [
            begin
                Proxy = start_own(kv_bucket, [{name, sessions}]),
                Monitor = monitor(process, Proxy),
                _ = End(kv_proxy:native(sessions)),
                ?assertEqual(Reason, kv_test:down(Monitor)),
                ok = kv_test:wait(fun() -> is_pid(whereis(sessions)) andalso whereis(sessions) =/= Proxy end),
                ?assertEqual(undefined, kv_bucket:get(sessions, key)),
                {links, [Supervisor]} = process_info(whereis(sessions), links),
                ok = stop_supervisor(Supervisor, 5000)
            end
         || {End, Reason} <- [
                {fun(Native) -> exit(Native, kill) end, killed},
                {fun(Native) -> exit(Native, crash) end, crash},
                {fun(Native) -> gen_server:stop(Native, done, 5000) end, done}
            ]
        ],
        ?assertEqual(kept, kv_bucket:get(other, key))
    end).

one_warning_tells_what_was_lost(Config) ->
    Lines = in(Config, [{ping_interval, 50}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        _ = start_own(kv_registry, [{name, names}]),
        ok = kv_bucket:put_many(sessions, [{I, I} || I <- lists:seq(1, 1200)]),
        timer:sleep(200),
        ok = listen(warning),
        ok = kill_and_await(),
        heard()
    end),
    ?assertMatch([_], Lines),
    [Line] = Lines,
    [
        ?assertMatch({match, _}, re:run(Line, Part), {Part, Line})
     || Part <- ["is lost", "killed,sigkill", "1 bucket,", "2 registries", "1,20\\d entries", "sessions", "names"]
    ].

handlers_that_asked_hear_of_what_was_lost(Config) ->
    in(Config, fun() ->
        ok = gen_event:add_handler(kv_event_manager, kv_test_handler, self()),
        ok = kv_event_manager:add_handler(kv_event_manager, {kv_test_handler, asked}, {asked, self()}, [lost]),
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Shopping} = kv_registry:lookup(kv_registry, <<"shopping">>),
        _ = start_own(kv_bucket, [{name, sessions}]),
        Sessions = kv_proxy:native(sessions),
        ok = kill_and_await(),
        ok = kv_registry:create(kv_registry, <<"then">>),
        {ok, Then} = kv_registry:lookup(kv_registry, <<"then">>),
        Expected = [{create, <<"shopping">>, Shopping}, {create, <<"then">>, Then}],
        ok = kv_test:wait(fun() -> length(element(2, process_info(self(), messages))) >= 2 * length(Expected) + 3 end),
        Heard = kv_test:mailbox(),
        ?assertEqual(Expected, [Event || {event, Event} <- Heard]),
        ?assertEqual(
            lists:sort([{lost, <<"shopping">>, Shopping}, {lost, sessions, Sessions} | Expected]),
            lists:sort([Event || {{asked, _}, Event} <- Heard, element(2, Event) =/= kv_registry])
        ),
        ?assertNotMatch({error, _}, kv_event_manager:delete_handler(kv_event_manager, {kv_test_handler, asked}, done))
    end).

the_node_logs_one_line_for_each_event(Config) ->
    Slow = kv_test:script(Config, "switch", ["[ -e \"$0.away\" ] && exit 7", "exec " ++ kv_test:program()]),
    kv_test:in(?config(vm, Config), fun() ->
        ok = logger:set_primary_config(level, all),
        ok = listen(notice),
        ok = kv_test:start_kv([{program, Slow}]),
        process_flag(trap_exit, true),
        ?assertMatch([<<"kv_", _/binary>>], [Line || Line <- heard(), is_about("has started: OS process", Line)]),
        ok = file:write_file(Slow ++ ".away", <<>>),
        ok = kill(),
        ok = kv_test:wait(fun() -> kv_nodes:status(kv_node) =:= starting end),
        timer:sleep(700),
        ok = file:delete(Slow ++ ".away"),
        {ok, _} = kv_nodes:await(kv_node, 10000),
        Lines = heard(),
        ?assertMatch([_], [Line || Line <- Lines, is_about("is lost", Line)]),
        ?assertMatch([_ | _], [Line || Line <- Lines, is_about("cannot start .*exited,7.*next try in", Line)]),
        ?assertMatch([_], [Line || Line <- Lines, is_about("is back after \\d+ ms: OS process", Line)]),
        ok = application:stop(kv)
    end).

local_reads_go_on_with_the_new_process(Config) ->
    in(Config, [{local_reads, true}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        ok = kv_bucket:put(sessions, key, 1),
        ?assertEqual({ok, 1}, kv_local:fetch(sessions, key)),
        ok = kill_and_await(),
        [
            begin
                ok = kv_bucket:cast(sessions, put, [key, N]),
                ?assertEqual(N, kv_bucket:get(sessions, key))
            end
         || N <- lists:seq(1, 500)
        ],
        ?assertEqual(500, kv_bucket:get(sessions, key)),
        ?assertEqual({ok, 500}, kv_local:fetch(sessions, key)),
        ok = disconnect_and_await(),
        ok = kv_test:wait(fun() -> kv_local:fetch(sessions, key) =:= {ok, 500} end)
    end).

%%% Calls

calls_without_an_end_get_an_error(Config) ->
    in(Config, fun() ->
        Bucket = start_own(kv_bucket, [{name, sessions}]),
        ok = sys:suspend(kv_proxy:native(sessions)),
        Calls = [async(fun() -> gen_server:call(Server, {get, key}, infinity) end) || Server <- [sessions, Bucket]],
        ok = kv_test:wait(fun() -> maps:get(relayed, kv_test:proxy_state(Bucket), 0) =:= 2 end),
        Node = kv_node:name(),
        ok = kill(),
        [?assertEqual({ok, {error, {nodedown, Node}}}, await(Call)) || Call <- Calls]
    end).

a_call_is_not_forgotten_if_the_node_is_back_before_its_loss_is_known(Config) ->
    in(Config, fun() ->
        Proxy = start_own(kv_bucket, [{name, sessions}]),
        Native = kv_proxy:native(Proxy),
        ok = sys:suspend(Native),
        Call = async(fun() -> gen_server:call(sessions, {get, key}, infinity) end),
        ok = kv_test:wait(fun() -> maps:get(relayed, kv_test:proxy_state(Proxy), 0) =:= 1 end),
        {up, Before} = kv_nodes:status(kv_node),
        ok = sys:suspend(Proxy),
        true = erlang:disconnect_node(node(Native)),
        ok = up_after(Before),
        ok = sys:resume(Proxy),
        ?assertEqual({ok, {error, {nodedown, node(Native)}}}, await(Call)),
        ok = sys:resume(Native),
        ?assertEqual(Native, kv_proxy:native(Proxy)),
        ?assertEqual(undefined, kv_bucket:get(sessions, key))
    end).

%% The proxy sets its monitor while the node is not connected. So the VM connects, and the monitor has no loss to tell of.
a_call_is_not_forgotten_that_comes_while_the_connection_is_made(Config) ->
    in(Config, fun() ->
        Proxy = start_own(kv_bucket, [{name, sessions}]),
        Native = kv_proxy:native(Proxy),
        {up, Before} = kv_nodes:status(kv_node),
        ok = sys:suspend(Proxy),
        true = erlang:disconnect_node(node(Native)),
        ok = up_after(Before),
        ok = sys:suspend(kv_node),
        true = erlang:disconnect_node(node(Native)),
        Call = async(fun() -> gen_server:call(sessions, {get, key}, infinity) end),
        ok = kv_test:wait(fun() -> process_info(Proxy, message_queue_len) >= {message_queue_len, 2} end),
        ok = sys:resume(Proxy),
        ok = kv_test:wait(fun() -> lists:member(node(Native), nodes(connected)) end),
        ok = sys:resume(kv_node),
        ?assertEqual({ok, nil}, await(Call)),
        ?assertEqual(Native, kv_proxy:native(Proxy))
    end).

up_after(Before) ->
    kv_test:wait(fun() ->
        case kv_nodes:status(kv_node) of
            {up, Place} -> Place =/= Before;
            _ -> false
        end
    end).

calls_from_other_nodes_get_an_error(Config) ->
    Other = kv_test:start_vm(Config),
    Vm = node_of(?config(vm, Config)),
    ok = kv_loss:keeping(Config, [], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        sys:suspend(kv_proxy:native(sessions))
    end),
    Node = kv_test:in(?config(vm, Config), fun() -> kv_node:name() end),
    Call = async(fun() ->
        kv_test:in(Other, fun() -> gen_server:call({sessions, Vm}, {get, key}, 20000) end)
    end),
    kv_test:in(?config(vm, Config), fun() ->
        ok = kv_test:wait(fun() -> maps:get(relayed, kv_test:proxy_state(sessions), 0) =:= 1 end),
        kill()
    end),
    ?assertEqual({ok, {error, {nodedown, Node}}}, await(Call)),
    ?assertEqual(ok, kv_test:in(Other, fun() -> kv_bucket:put({sessions, Vm}, key, 1) end)),
    kv_test:stop_vm(Other).

functions_exit_at_once_when_under_way(Config) ->
    in(Config, fun() ->
        Bucket = start_own(kv_bucket, [{name, sessions}]),
        _ = start_own(kv_registry, [{name, names}]),
        Servers = [sessions, Bucket, kv_proxy:native(sessions)],
        [ok = sys:suspend(kv_proxy:native(S)) || S <- [sessions, names]],
        Calls =
            [async(fun() -> kv_bucket:get(S, key, none, 60000) end) || S <- Servers] ++
            [async(fun() -> kv_bucket:put(S, key, 1, 60000) end) || S <- Servers] ++
            [async(fun() -> kv_registry:names(names, 60000) end)],
        timer:sleep(100),
        Node = kv_node:name(),
        ok = kill(),
        [?assertMatch({exit, {{nodedown, Node}, _}}, await(Call)) || Call <- Calls]
    end).

functions_wait_when_they_begin_later(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        _ = start_own(kv_registry, [{name, names}]),
        ok = take_away(Program),
        Early = async(fun() -> kv_bucket:get(sessions, key, none, 100) end),
        ?assertMatch({exit, {timeout, {gen_server, call, [sessions, {get, key, none}, 100]}}}, await(Early)),
        Calls = [
            async(fun() -> kv_bucket:get(sessions, key, none, 20000) end),
            async(fun() -> kv_registry:lookup(names, <<"a">>, 20000) end),
            async(fun() -> gen_server:call(sessions, {get, key, none}, 20000) end),
            async(fun() -> kv_bucket:generation(sessions, 20000) end)
        ],
        timer:sleep(100),
        ok = bring_back(Program),
        ?assertEqual([{ok, none}, {ok, error}, {ok, none}, {ok, 2}], [await(Call) || Call <- Calls])
    end).

%% The proxy may be back before the watcher of the new connection. Then the proxy tells callers of the next loss.
no_call_is_forgotten_between_two_losses(Config) ->
    in(Config, fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        Node = kv_node:name(),
        Callers = [async(fun() -> put_until(sessions, N, erlang:monotonic_time(millisecond) + 4000) end) || N <- lists:seq(1, 20)],
        [
            begin
                timer:sleep(rand:uniform(40)),
                erlang:disconnect_node(Node)
            end
         || _ <- lists:seq(1, 100)
        ],
        [?assertEqual({ok, done}, await(Caller)) || Caller <- Callers]
    end).

put_until(Bucket, Key, End) ->
    _ = try kv_bucket:put(Bucket, Key, 1, infinity) catch exit:{{nodedown, _}, _} -> lost end,
    case erlang:monotonic_time(millisecond) < End of
        true -> put_until(Bucket, Key, End);
        false -> done
    end.

functions_of_other_nodes_exit_as_well(Config) ->
    Other = kv_test:start_vm(Config),
    Vm = node_of(?config(vm, Config)),
    Proxy = kv_loss:keeping(Config, [], fun() ->
        Bucket = start_own(kv_bucket, [{name, sessions}]),
        ok = kv_bucket:put(sessions, stored, {error, {nodedown, stored}}),
        Bucket
    end),
    Node = kv_test:in(?config(vm, Config), fun() -> kv_node:name() end),
    Stored = kv_test:in(Other, fun() -> [kv_bucket:get(Server, stored) || Server <- [{sessions, Vm}, Proxy]] end),
    ?assertEqual([{error, {nodedown, stored}}, {error, {nodedown, stored}}], Stored),
    kv_test:in(?config(vm, Config), fun() -> sys:suspend(kv_proxy:native(sessions)) end),
    Calls = [
        async(fun() -> kv_test:in(Other, fun() -> outcome(Ask, Server) end) end)
     || Ask <- [get, has_key, put, delete], Server <- [{sessions, Vm}, Proxy]
    ],
    kv_test:in(?config(vm, Config), fun() ->
        ok = kv_test:wait(fun() -> maps:get(relayed, kv_test:proxy_state(sessions), 0) =:= length(Calls) end),
        kill()
    end),
    [?assertEqual({ok, {nodedown, Node}}, await(Call)) || Call <- Calls],
    kv_test:stop_vm(Other).

outcome(Ask, Server) ->
    try ask(Ask, Server) of
        Answer -> {returned, Answer}
    catch
        exit:{Reason, _} -> Reason
    end.

ask(get, Server) -> kv_bucket:get(Server, key, undefined, 20000);
ask(has_key, Server) -> kv_bucket:has_key(Server, key, 20000);
ask(put, Server) -> kv_bucket:put(Server, key, 1, 20000);
ask(delete, Server) -> kv_bucket:delete(Server, key, 20000).

waiting_messages_keep_their_order(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        ok = take_away(Program),
        Requests = [
            begin
                ok = kv_bucket:cast(sessions, put, [key, N]),
                ok = gen_server:cast(sessions, {put, other, N}),
                kv_bucket:async(sessions, get, [key])
            end
         || N <- lists:seq(1, 200)
        ],
        ok = bring_back(Program),
        ?assertEqual(lists:seq(1, 200), kv_bucket:await_many(Requests)),
        ?assertEqual(200, kv_bucket:get(sessions, other))
    end).

a_caller_that_gave_up_is_not_served(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        ok = take_away(Program),
        ?assertExit({timeout, _}, kv_bucket:put(sessions, by_function, 1, 50)),
        ?assertExit({timeout, _}, gen_server:call(sessions, {put, by_call, 1}, 50)),
        {_, Monitor} = spawn_monitor(fun() -> gen_server:call(sessions, {put, by_dead, 1}, 20) end),
        _ = kv_test:down(Monitor),
        ok = kv_bucket:abandon(kv_bucket:async(sessions, put, [by_request, 1])),
        ok = bring_back(Program),
        ?assertEqual([], kv_bucket:keys(sessions))
    end).

waiting_messages_are_limited(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        _ = start_own(kv_bucket, [{name, many}]),
        _ = start_own(kv_bucket, [{name, large}]),
        Node = kv_node:name(),
        ok = take_away(Program),
        [ok = kv_bucket:cast(many, put, [N, N]) || N <- lists:seq(1, 10000)],
        ?assertEqual({error, {nodedown, Node}}, gen_server:call(many, {get, 1}, 20000)),
        ?assertExit({{nodedown, Node}, _}, kv_bucket:get(many, 1, none, 20000)),
        [ok = kv_bucket:cast(large, put, [N, binary:copy(<<N>>, 16 bsl 20)]) || N <- [1, 2, 3]],
        ?assertExit({{nodedown, Node}, _}, kv_bucket:put(large, 4, binary:copy(<<4>>, 17 bsl 20), 20000)),
        ok = bring_back(Program),
        Sizes = fun() -> [kv_bucket:size(Bucket, 20000) || Bucket <- [many, large]] end,
        ok = kv_test:wait(fun() -> try Sizes() =:= [10000, 3] catch exit:{{nodedown, Node}, _} -> false end end)
    end).

requests_without_waiting_see_the_loss(Config) ->
    in(Config, fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        ok = sys:suspend(kv_proxy:native(sessions)),
        Request = kv_bucket:async(sessions, get, [key]),
        timer:sleep(50),
        Node = kv_node:name(),
        ok = kill_and_await(),
        ?assertExit({{nodedown, Node}, _}, kv_bucket:await(Request, 20000)),
        ?assertEqual(undefined, kv_bucket:await(kv_bucket:async(sessions, get, [key]))),
        ?assertEqual([], kv_test:mailbox()),
        ?assertEqual({monitors, []}, process_info(self(), monitors))
    end).

%% The tree of kv ends its children with reason shutdown. Callers must see the loss, and not an orderly end.
no_caller_sees_a_shutdown(Config) ->
    in(Config, fun() ->
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Native} = kv_registry:lookup(kv_registry, <<"shopping">>),
        [{_, Proxy, _, _}] = supervisor:which_children(kv_bucket_sup),
        Ask = fun
            (1) -> kv_bucket:get(Proxy, key);
            (2) -> gen_server:call(Proxy, {get, key});
            (3) -> gen_server:call(Proxy, {get, key}, infinity);
            (4) -> kv_bucket:get(Native, key);
            (5) -> kv_registry:lookup(kv_registry, <<"shopping">>);
            (6) -> gen_server:call(kv_registry, {lookup, <<"shopping">>});
            (7) -> gen_server:call(kv_registry, {lookup, <<"shopping">>}, infinity)
        end,
        Callers = [async(fun() -> until_it_fails(fun() -> Ask(N) end) end) || N <- [1, 2, 3, 4, 5, 6, 7], _ <- [1, 2, 3]],
        timer:sleep(100),
        ok = kill(),
        Ends = [await(Caller) || Caller <- Callers],
        [?assert(is_plain_loss(End), End) || End <- Ends]
    end).

until_it_fails(Ask) ->
    case Ask() of
        {error, _} = Error -> Error;
        _ -> until_it_fails(Ask)
    end.

is_plain_loss({ok, {error, {nodedown, _}}}) -> true;
is_plain_loss({exit, {{nodedown, _}, _}}) -> true;
is_plain_loss({exit, {Reason, _}}) -> lists:member(Reason, [noproc, timeout]);
is_plain_loss(_) -> false.

%%% Starts, fills and stops

filling_comes_before_whatever_waited(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        Lives = ets:new(lives, [public]),
        _ = start_own(kv_bucket, [{name, sessions}, {fill, {?MODULE, fill, [Lives]}}]),
        ?assertEqual({1, 100}, {kv_bucket:get(sessions, life), kv_bucket:size(sessions) - 1}),
        ok = take_away(Program),
        Waiting = async(fun() -> {kv_bucket:get(sessions, life, none, 20000), kv_bucket:size(sessions)} end),
        timer:sleep(50),
        ok = bring_back(Program),
        ?assertEqual({ok, {2, 101}}, await(Waiting)),
        %% A lost connection loses no values, so nothing is filled.
        ok = disconnect_and_await(),
        ?assertEqual(2, kv_bucket:get(sessions, life))
    end).

fill(Bucket, Lives) ->
    timer:sleep(100),
    ok = kv_bucket:put(Bucket, life, ets:update_counter(Lives, life, 1, {life, 0})),
    kv_bucket:put_many(Bucket, [{N, N} || N <- lists:seq(1, 100)]).

a_bucket_can_be_filled_by_its_name(Config) ->
    in(Config, fun() ->
        _ = start_own(kv_bucket, [{name, sessions}, {fill, {?MODULE, fill_by_name, []}}]),
        ?assertEqual(by_name, kv_bucket:get(sessions, filled)),
        ok = kill_and_await(),
        ?assertEqual(by_name, kv_bucket:get(sessions, filled))
    end).

a_bucket_that_cannot_be_filled_ends_with_the_reason(Config) ->
    in(Config, fun() ->
        [
            ?assertMatch({error, Reason}, kv_bucket:start_link([{name, odd}, {fill, {?MODULE, Fill, []}}]))
         || {Fill, Reason} <- [{fill_refuses, no_data}, {fill_exits, no_luck}, {fill_from_a_lost_node, {{nodedown, nobody@nowhere}, lost}}]
        ],
        ?assertEqual(undefined, whereis(odd)),
        Switch = ets:new(switch, [public]),
        {ok, Bucket} = kv_bucket:start_link([{name, sessions}, {fill, {?MODULE, fill_once, [Switch]}}]),
        ok = kill(),
        ?assertEqual(only_once, kv_test:down(monitor(process, Bucket)))
    end).

fill_refuses(_Bucket) -> {error, no_data}.
fill_exits(_Bucket) -> exit(no_luck).
fill_from_a_lost_node(_Bucket) -> exit({{nodedown, nobody@nowhere}, lost}).

%% For a caller who knows the bucket by its name.
fill_by_name(_Bucket) -> kv_bucket:put(sessions, filled, by_name).

fill_once(_Bucket, Switch) ->
    case ets:insert_new(Switch, {done}) of
        true -> ok;
        false -> {error, only_once}
    end.

a_start_waits_for_a_node_that_starts(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        ok = take_away(Program),
        Starting = async(fun() ->
            {ok, Bucket} = kv_bucket:start_link([]),
            kv_bucket:put(Bucket, key, 1)
        end),
        timer:sleep(200),
        ok = bring_back(Program),
        ?assertEqual({ok, ok}, await(Starting))
    end).

a_start_without_a_node_says_what_to_start(Config) ->
    kv_test:in(?config(vm, Config), fun() ->
        {Microseconds, Said} = timer:tc(fun() -> kv_bucket:start_link([{name, a}]) end),
        ?assertMatch({error, {not_running, <<"kv_node is not running: start the application kv", _/binary>>}}, Said),
        ?assert(Microseconds < 1000000),
        ok = kv_test:start_kv(),
        ok = application:stop(kv),
        ?assertMatch({error, {not_running, _}}, kv_bucket:start_link([{name, a}]))
    end).

the_server_that_knows_the_nodes_may_end(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        true = exit(whereis(kv_nodes), kill),
        ok = kv_test:wait(fun() -> element(1, kv_nodes:status(kv_node)) =:= up end),
        ok = take_away(Program),
        true = exit(whereis(kv_nodes), kill),
        ok = bring_back(Program),
        ?assertEqual(ok, kv_bucket:put(sessions, key, 1, 20000)),
        {ok, Bucket} = kv_bucket:start_link([]),
        ?assertEqual(ok, kv_bucket:put(Bucket, key, 1))
    end).

%% The proxy has not heard of the loss yet.
a_call_that_follows_the_loss_at_once_waits(Config) ->
    in(Config, [], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        Node = kv_node:name(),
        [
            begin
                true = erlang:disconnect_node(Node),
                ?assertEqual(ok, kv_bucket:put(sessions, N, N)),
                true = erlang:disconnect_node(Node),
                ?assertEqual(N, gen_server:call(sessions, {get, N, none}, infinity)),
                true = erlang:disconnect_node(Node),
                ok = kv_bucket:cast(sessions, put, [cast, N]),
                ?assertEqual(N, kv_bucket:get(sessions, cast))
            end
         || N <- lists:seq(1, 10)
        ]
    end).

a_process_that_is_away_stops_at_once(Config) ->
    Program = away_program(Config),
    in(Config, [{program, Program}], fun() ->
        {ok, Supervisor} = supervisor:start_link(kv_test_sup, []),
        [{ok, _} = supervisor:start_child(Supervisor, kv_bucket:child_spec([{name, {global, N}}])) || N <- lists:seq(1, 200)],
        ok = take_away(Program),
        ok = stop_supervisor(Supervisor, 5000),
        ok = bring_back(Program)
    end).

%% The first proxy notices, and from then on the node is known to be silent.
a_supervisor_does_not_wait_for_a_node_that_hangs(Config) ->
    in(Config, [{ping_interval, 50}, {ping_timeout, 20000}], fun() ->
        {ok, Supervisor} = supervisor:start_link(kv_test_sup, []),
        [{ok, _} = supervisor:start_child(Supervisor, kv_bucket:child_spec([{name, {global, N}}])) || N <- lists:seq(1, 200)],
        OsPid = kv_node:os_pid(),
        ok = kv_test:signal("STOP", OsPid),
        ok = kv_test:wait(fun() -> not kv_nodes:answers(kv_node) end),
        ok = stop_supervisor(Supervisor, 5000),
        ok = kv_test:signal("CONT", OsPid),
        ok = kv_test:wait(fun() -> kv_nodes:answers(kv_node) end),
        ok = kv_test:wait(fun() -> buckets() =:= 0 end)
    end).

%%% Helpers

node_of(Vm) -> kv_test:in(Vm, fun() -> node() end).

%% The lines of kv_node_log come to the calling process.
listen(Level) ->
    kv_test_log:listen(Level, fun
        (#{meta := #{mfa := {kv_node_log, _, _}}}) -> true;
        (_Event) -> false
    end).

heard() ->
    [Text || {_Level, Text} <- kv_test_log:heard()].

is_about(Pattern, Line) ->
    re:run(Line, Pattern) =/= nomatch.
