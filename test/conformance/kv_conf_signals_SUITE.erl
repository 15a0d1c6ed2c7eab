%% Monitors and links, of a native process and of an ordinary one.
-module(kv_conf_signals_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, call/2, outcome/1, next/0, next/1, end_of/1, serve/1, do/2, finish/2]).
-import(kv_case, [helper/0, reasons/0, deadly/0]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 120}}].

all() -> [{group, monitor}, {group, link}].

groups() ->
    [
        {monitor, [], [
            a_monitor_tells_the_reason,
            a_monitor_of_a_dead_process_tells_noproc,
            every_monitor_tells_once,
            a_monitor_that_was_taken_back_tells_nothing,
            a_monitor_can_be_taken_back_after_it_told,
            a_monitor_tells_with_its_own_tag,
            monitors_of_many_processes_all_tell,
            answers_come_before_the_end,
            a_monitor_of_another_life_tells_noproc,
            a_watcher_that_died_is_forgotten,
            a_monitor_taken_back_twice_is_harmless
        ]},
        {link, [], [
            a_link_tells_the_reason,
            a_linked_process_that_does_not_trap_dies_with_the_reason,
            a_linked_process_that_dies_takes_it_along,
            a_link_to_a_dead_process_tells_noproc,
            two_links_are_one,
            an_unlinked_process_tells_nothing,
            an_unlinked_process_is_not_taken_along,
            an_unlinked_process_can_be_linked_again,
            links_and_unlinks_in_turn_end_as_the_last_says,
            an_unlink_of_a_dead_process_is_harmless,
            a_link_tells_before_a_monitor,
            all_linked_processes_are_told,
            a_link_to_another_life_tells_noproc,
            a_chain_of_links_breaks_as_a_whole
        ]}
    ].

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%%% monitor

a_monitor_tells_the_reason(Config) ->
    Seen = same(Config, fun(Node) ->
        [
            begin
                Bucket = bucket(Node),
                Monitor = monitor(process, Bucket),
                exit(Bucket, Reason),
                {Monitor, next()}
            end
         || Reason <- deadly()
        ]
    end),
    ?assertMatch([{Ref, {'DOWN', Ref, process, {pid, target, 1}, shutdown}} | _], Seen).

a_monitor_of_a_dead_process_tells_noproc(Config) ->
    ?assertMatch(
        [{'DOWN', _, process, {pid, target, 1}, noproc}, {'DOWN', _, process, {pid, target, 1}, noproc}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = gen_server:stop(Bucket),
            [begin _ = monitor(process, Bucket), next() end || _ <- [1, 2]]
        end)
    ).

every_monitor_tells_once(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Monitors = [monitor(process, Bucket) || _ <- lists:seq(1, 20)],
        exit(Bucket, crash),
        Downs = next(20),
        {lists:sort(Monitors) =:= lists:sort([Ref || {'DOWN', Ref, process, _, crash} <- Downs]), kv_test:mailbox()}
    end).

a_monitor_that_was_taken_back_tells_nothing(Config) ->
    ?assertMatch(
        {true, [{'DOWN', _, process, _, crash}], []},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [First, _Second, Third] = [monitor(process, Bucket) || _ <- [1, 2, 3]],
            true = demonitor(First),
            Info = demonitor(Third, [info, flush]),
            exit(Bucket, crash),
            {Info, [next()], kv_test:mailbox()}
        end)
    ).

a_monitor_can_be_taken_back_after_it_told(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [First, Second, Third] = [monitor(process, Bucket) || _ <- [1, 2, 3]],
        exit(Bucket, crash),
        crash = kv_test:down(Second),
        ok = kv_test:wait(fun() -> {message_queue_len, 2} =:= process_info(self(), message_queue_len) end),
        {demonitor(First, [info]), demonitor(Third, [flush, info]), demonitor(Second, [info]), kv_test:mailbox()}
    end).

a_monitor_tells_with_its_own_tag(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        _ = monitor(process, Bucket, [{tag, {my, tag}}]),
        _ = monitor(process, {nobody, Node}, [{tag, other}]),
        First = next(),
        exit(Bucket, crash),
        {First, next()}
    end).

monitors_of_many_processes_all_tell(Config) ->
    ?assertEqual(
        lists:duplicate(100, {shutdown, why}),
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Self = self(),
            Watchers = [spawn(fun() -> Monitor = monitor(process, Bucket), Self ! ready, Self ! kv_test:down(Monitor) end) || _ <- lists:seq(1, 100)],
            [ready = next() || _ <- Watchers],
            ok = serve(Bucket),
            ok = gen_server:stop(Bucket, {shutdown, why}, 10000),
            next(100)
        end)
    ).

answers_come_before_the_end(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Monitor = monitor(process, Bucket),
        [Bucket ! {'$gen_call', {self(), N}, {get, a, N}} || N <- lists:seq(1, 50)],
        Bucket ! {system, {self(), stopped}, {terminate, crash}},
        [Bucket ! {'$gen_call', {self(), N}, {get, a, N}} || N <- lists:seq(51, 60)],
        {next(52), Monitor, kv_test:mailbox()}
    end).

a_monitor_of_another_life_tells_noproc(Config) ->
    ?assertMatch(
        [{'DOWN', _, process, _, noproc}, {'DOWN', _, process, _, noproc}, ok],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [begin _ = monitor(process, kv_case:other_creation(Bucket, N)), next() end || N <- [1, 2]] ++ [serve(Bucket)]
        end)
    ).

a_watcher_that_died_is_forgotten(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Helper = helper(),
        [do(Helper, fun() -> monitor(process, Bucket), ok end) || _ <- [1, 2, 3]],
        done = finish(Helper, done),
        ok = serve(Bucket),
        ok = gen_server:stop(Bucket),
        kv_test:mailbox()
    end).

a_monitor_taken_back_twice_is_harmless(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Monitor = monitor(process, Bucket),
        [demonitor(Monitor, [info]), demonitor(Monitor, [info]), serve(Bucket)]
    end).

%%% link

a_link_tells_the_reason(Config) ->
    Seen = same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        [
            begin
                Bucket = spawn_link(Node, kv_bucket, init, [[]]),
                exit(Bucket, Reason),
                next()
            end
         || Reason <- deadly()
        ]
    end),
    ?assertMatch([{'EXIT', {pid, target, 1}, shutdown}, _, {'EXIT', _, killed} | _], Seen).

a_linked_process_that_does_not_trap_dies_with_the_reason(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Helper = helper(),
                Bucket = do(Helper, fun() -> spawn_link(Node, kv_bucket, init, [[]]) end),
                Monitor = monitor(process, Helper),
                ok = gen_server:stop(Bucket, Reason, 10000),
                case Reason of
                    normal -> finish(Helper, still_there);
                    _ -> kv_test:down(Monitor)
                end
            end
         || Reason <- reasons()
        ]
    end).

%% A process that ends with reason `kill' does not kill others. Only the signal of exit/2 does.
a_linked_process_that_dies_takes_it_along(Config) ->
    Seen = same(Config, fun(Node) ->
        [
            begin
                Helper = helper(),
                Bucket = do(Helper, fun() -> Pid = bucket(Node), link(Pid), Pid end),
                Monitor = monitor(process, Bucket),
                _ = finish(Helper, Reason),
                case Reason of
                    normal -> serve(Bucket);
                    _ -> kv_test:down(Monitor)
                end
            end
         || Reason <- reasons()
        ]
    end),
    ?assertMatch([ok, shutdown, {shutdown, why}, kill, killed, crash | _], Seen).

a_link_to_a_dead_process_tells_noproc(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = gen_server:stop(Bucket),
        Helper = helper(),
        Monitor = monitor(process, Helper),
        ok = kv_case:tell(Helper, fun() -> link(Bucket), receive never -> ok end end),
        Reason = kv_test:down(Monitor),
        process_flag(trap_exit, true),
        {Reason, [begin outcome(fun() -> link(Bucket) end), next() end || _ <- [1, 2]]}
    end).

two_links_are_one(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        Bucket = bucket(Node),
        [true = link(Bucket) || _ <- [1, 2, 3]],
        exit(Bucket, crash),
        First = next(),
        Other = bucket(Node),
        [true = link(Other) || _ <- [1, 2, 3]],
        true = unlink(Other),
        exit(Other, crash),
        crash_or_noproc = one_of([crash, noproc], end_of(Other)),
        {First, kv_test:mailbox()}
    end).

%% The monitor may be installed before or after the end.
one_of(Reasons, Reason) ->
    case lists:member(Reason, Reasons) of
        true -> crash_or_noproc;
        false -> Reason
    end.

an_unlinked_process_tells_nothing(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            process_flag(trap_exit, true),
            Bucket = spawn_link(Node, kv_bucket, init, [[]]),
            true = unlink(Bucket),
            ok = gen_server:stop(Bucket, crash, 10000),
            kv_test:mailbox()
        end)
    ).

an_unlinked_process_is_not_taken_along(Config) ->
    ?assertEqual(
        ok,
        same(Config, fun(Node) ->
            Helper = helper(),
            Bucket = do(Helper, fun() -> spawn_link(Node, kv_bucket, init, [[]]) end),
            true = do(Helper, fun() -> unlink(Bucket) end),
            crash = finish(Helper, crash),
            serve(Bucket)
        end)
    ).

an_unlinked_process_can_be_linked_again(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        Bucket = spawn_link(Node, kv_bucket, init, [[]]),
        true = unlink(Bucket),
        true = link(Bucket),
        exit(Bucket, crash),
        [next()]
    end).

links_and_unlinks_in_turn_end_as_the_last_says(Config) ->
    ?assertMatch(
        {[], {'EXIT', _, crash}},
        same(Config, fun(Node) ->
            process_flag(trap_exit, true),
            [Unlinked, Linked] = [bucket(Node), bucket(Node)],
            [begin true = link(Bucket), true = unlink(Bucket) end || _ <- lists:seq(1, 500), Bucket <- [Unlinked, Linked]],
            true = link(Linked),
            ok = gen_server:stop(Unlinked, crash, 10000),
            Before = kv_test:mailbox(),
            exit(Linked, crash),
            {Before, next()}
        end)
    ).

an_unlink_of_a_dead_process_is_harmless(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        Bucket = spawn_link(Node, kv_bucket, init, [[]]),
        ok = gen_server:stop(Bucket),
        Told = next(),
        {Told, unlink(Bucket), unlink(Bucket), kv_test:mailbox()}
    end).

a_link_tells_before_a_monitor(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        [
            begin
                {Bucket, _} = spawn_opt(Node, kv_bucket, init, [[]], [link, monitor]),
                ok = serve(Bucket),
                End(Bucket),
                next(2)
            end
         || End <- [fun(Bucket) -> exit(Bucket, crash) end, fun(Bucket) -> exit(Bucket, kill) end]
        ]
    end).

all_linked_processes_are_told(Config) ->
    ?assertEqual(
        lists:duplicate(50, crash),
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Helpers = [helper() || _ <- lists:seq(1, 50)],
            Monitors = [begin true = do(Helper, fun() -> link(Bucket) end), monitor(process, Helper) end || Helper <- Helpers],
            exit(Bucket, crash),
            [kv_test:down(Monitor) || Monitor <- Monitors]
        end)
    ).

a_link_to_another_life_tells_noproc(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        Bucket = bucket(Node),
        Seen = outcome(fun() -> link(kv_case:other_creation(Bucket, 1)) end),
        {Seen, next(), serve(Bucket)}
    end).

%% A native process between two of the test's processes, twice.
a_chain_of_links_breaks_as_a_whole(Config) ->
    same(Config, fun(Node) ->
        Helpers = [helper() || _ <- lists:seq(1, 10)],
        Pairs = lists:zip(lists:droplast(Helpers), tl(Helpers)),
        Buckets = [
            begin
                Bucket = bucket(Node),
                [true = do(Helper, fun() -> link(Bucket) end) || Helper <- [A, B]],
                ok = serve(Bucket),
                Bucket
            end
         || {A, B} <- Pairs
        ],
        Monitors = [monitor(process, Pid) || Pid <- Helpers ++ Buckets],
        exit(hd(Helpers), broken),
        lists:usort([kv_test:down(Monitor) || Monitor <- Monitors])
    end).
