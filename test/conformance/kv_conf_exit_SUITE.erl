%% Exit signals and spawn requests, to a native process and to an ordinary one.
-module(kv_conf_exit_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, call/2, outcome/1, next/0, next/1, end_of/1, serve/1, do/2, finish/2]).
-import(kv_case, [helper/0, reasons/0, deadly/0]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 120}}].

all() -> [{group, exit}, {group, spawn}].

groups() ->
    [
        {exit, [], [
            an_exit_signal_ends_with_its_reason,
            an_exit_signal_to_a_linked_process_comes_back,
            an_exit_signal_normal_is_ignored,
            an_exit_signal_to_a_dead_process_is_ignored,
            a_suspended_process_can_be_ended,
            a_large_reason_arrives_whole,
            the_first_of_two_exits_counts,
            an_exit_from_a_process_that_has_died_acts,
            an_exit_to_another_life_is_ignored
        ]},
        {spawn, [], [
            all_ways_to_spawn_give_a_process_that_serves,
            a_spawn_with_link_and_monitor_has_both,
            a_spawn_request_is_answered_as_asked,
            options_of_schedulers_and_heaps_are_taken,
            an_owner_is_told_and_followed,
            an_owner_that_is_dead_ends_it_at_once,
            wrong_options_end_it_with_the_reason,
            a_name_that_is_taken_ends_it_with_the_holder,
            a_name_is_free_after_its_process,
            a_spawn_request_can_be_given_up,
            pids_are_never_the_same,
            a_group_leader_can_be_set
        ]}
    ].

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%%% exit

an_exit_signal_ends_with_its_reason(Config) ->
    Seen = same(Config, fun(Node) ->
        [
            begin
                Bucket = bucket(Node),
                Monitor = monitor(process, Bucket),
                true = exit(Bucket, Reason),
                kv_test:down(Monitor)
            end
         || Reason <- deadly()
        ]
    end),
    ?assertMatch([shutdown, {shutdown, why}, killed, killed | _], Seen).

%% The reason of exit/2 to a process that the sender is linked to.
an_exit_signal_to_a_linked_process_comes_back(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Helper = helper(),
                Monitor = monitor(process, Helper),
                ok = kv_case:tell(Helper, fun() ->
                    Bucket = spawn_link(Node, kv_bucket, init, [[]]),
                    exit(Bucket, Reason),
                    receive never -> ok end
                end),
                kv_test:down(Monitor)
            end
         || Reason <- deadly()
        ]
    end).

an_exit_signal_normal_is_ignored(Config) ->
    ?assertEqual(
        [ok, ok],
        same(Config, fun(Node) ->
            [begin exit(Bucket, normal), serve(Bucket) end || Bucket <- [bucket(Node), spawn_link(Node, kv_bucket, init, [[]])]]
        end)
    ).

an_exit_signal_to_a_dead_process_is_ignored(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = gen_server:stop(Bucket),
        [exit(Bucket, Reason) || Reason <- reasons()]
    end).

a_suspended_process_can_be_ended(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Bucket = bucket(Node),
                ok = sys:suspend(Bucket),
                Monitor = monitor(process, Bucket),
                exit(Bucket, Reason),
                kv_test:down(Monitor)
            end
         || Reason <- [shutdown, kill, crash]
        ]
    end).

a_large_reason_arrives_whole(Config) ->
    ?assertEqual([true, true], same(Config, fun(Node) -> large_reason(Node, 5000) end)),
    %% The VM of OTP 25.2.3 hangs when it must send an exit reason in fragments, so only the native node is asked.
    Native = kv_conformance:on(Config, kv_conformance:native(Config), fun(Node) -> large_reason(Node, 500000) end),
    ?assertEqual({observed, [true, true], []}, Native).

large_reason(Node, Words) ->
    process_flag(trap_exit, true),
    Reason = {large, binary:copy(<<"reason">>, Words), lists:seq(1, Words div 5)},
    Bucket = spawn_link(Node, kv_bucket, init, [[]]),
    Monitor = monitor(process, Bucket),
    exit(Bucket, Reason),
    [Reason =:= kv_test:down(Monitor), {'EXIT', Bucket, Reason} =:= next()].

the_first_of_two_exits_counts(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Monitor = monitor(process, Bucket),
        [exit(Bucket, Reason) || Reason <- [normal, first, second, kill]],
        kv_test:down(Monitor)
    end).

an_exit_from_a_process_that_has_died_acts(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Monitor = monitor(process, Bucket),
        spawn(fun() -> exit(Bucket, last_words) end),
        kv_test:down(Monitor)
    end).

an_exit_to_another_life_is_ignored(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [exit(kv_case:other_creation(Bucket, N), kill) || N <- [1, 2, 3]] ++ [serve(Bucket)]
    end).

%%% spawn

all_ways_to_spawn_give_a_process_that_serves(Config) ->
    same(Config, fun(Node) ->
        Arguments = [Node, kv_bucket, init, [[]]],
        Pids = [
            begin
                Pid = case apply(Module, Function, Arguments ++ More) of
                    {Bucket, _Monitor} -> Bucket;
                    Bucket -> Bucket
                end,
                ok = serve(Pid),
                Pid
            end
         || {Module, Function, More} <- [
                {erlang, spawn, []}, {erlang, spawn_link, []}, {erlang, spawn_monitor, []}, {erlang, spawn_opt, [[]]},
                {erlang, spawn_opt, [[link]]}, {erlang, spawn_opt, [[monitor]]}, {erlang, spawn_opt, [[{monitor, [{tag, mine}]}]]},
                {proc_lib, spawn, []}, {proc_lib, spawn_link, []}, {proc_lib, spawn_opt, [[link]]}
            ]
        ],
        process_flag(trap_exit, true),
        [ok = gen_server:stop(Pid) || Pid <- Pids],
        lists:sort(kv_test:mailbox())
    end).

a_spawn_with_link_and_monitor_has_both(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        [
            begin
                {Bucket, Monitor} = spawn_opt(Node, kv_bucket, init, [[]], Options),
                exit(Bucket, crash),
                {Monitor, next(2)}
            end
         || Options <- [[link, monitor], [monitor, link], [link, {monitor, [{tag, mine}]}]]
        ]
    end).

a_spawn_request_is_answered_as_asked(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        [
            begin
                Request = erlang:spawn_request(Node, kv_bucket, init, [[{owner, self()}]], Options),
                %% The acknowledgement comes after the reply, if there is one.
                Messages = next(Count),
                {Request, Messages}
            end
         || {Options, Count} <- [
                {[], 2}, {[link], 2}, {[monitor], 2}, {[link, monitor], 2}, {[{reply_tag, {my, tag}}], 2}, {[{reply, no}], 1},
                {[{reply, error_only}], 1}, {[{reply, success_only}], 2}, {[{reply, yes}, link], 2}
            ]
        ]
    end).

options_of_schedulers_and_heaps_are_taken(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Pid = spawn_opt(Node, kv_bucket, init, [[]], [Option]),
                serve(Pid)
            end
         || Option <- [
                {priority, high}, {fullsweep_after, 10}, {min_heap_size, 1000}, {min_bin_vheap_size, 1000},
                {max_heap_size, 100000000}, {message_queue_data, off_heap}
            ]
        ] ++ [outcome(fun() -> spawn_opt(Node, kv_bucket, init, [[]], Wrong) end) || Wrong <- [[{priority, 7} | x], x]]
    end).

an_owner_is_told_and_followed(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Helper = helper(),
                Bucket = bucket(Node, [{owner, Helper}, {label, <<"owned">>}]),
                Ack = do(Helper, fun() -> receive {ack, _, _} = Message -> Message end end),
                ok = serve(Bucket),
                Monitor = monitor(process, Bucket),
                ok = serve(Bucket),
                _ = finish(Helper, Reason),
                {Bucket, Ack, kv_test:down(Monitor)}
            end
         || Reason <- [normal, shutdown, crash, {shutdown, why}]
        ]
    end).

an_owner_that_is_dead_ends_it_at_once(Config) ->
    same(Config, fun(Node) ->
        Helper = helper(),
        gone = finish(Helper, gone),
        {_, Monitor} = spawn_monitor(Node, kv_bucket, init, [[{owner, Helper}]]),
        kv_test:down(Monitor)
    end).

wrong_options_end_it_with_the_reason(Config) ->
    same(Config, fun(Node) ->
        Own = {owner, self()},
        [
            begin
                {Pid, Monitor} = spawn_monitor(Node, Module, init, [Options]),
                Messages = next(1 + length([Own || is_list(Options), lists:prefix([Own], Options)])),
                {Pid, Monitor, Messages}
            end
         || Module <- [kv_bucket, kv_registry],
            Options <- [
                [Own, {colour, green}], [Own, green], [Own, {name, "text"}], [Own, {name, ''}], [Own, {label, text}],
                [Own, {a}], [Own, {a, b, c}], [Own, {event_manager, 7}], [Own, {creator, none}], [{owner, me}], [{colour, green}],
                none, #{}, {owner, self()}, "options"
            ]
        ]
    end).

a_name_that_is_taken_ends_it_with_the_holder(Config) ->
    same(Config, fun(Node) ->
        First = bucket(Node, [{name, taken}]),
        ok = serve(First),
        Second = bucket(Node, [{owner, self()}, {name, taken}]),
        Told = next(),
        {_, Monitor} = spawn_monitor(Node, kv_registry, init, [[{name, taken}]]),
        Reason = kv_test:down(Monitor),
        ok = gen_server:stop(First),
        {First, Second, Told, Reason}
    end).

a_name_is_free_after_its_process(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                {Bucket, Monitor} = spawn_monitor(Node, kv_bucket, init, [[{name, free}]]),
                ok = serve({free, Node}),
                exit(Bucket, crash),
                kv_test:down(Monitor)
            end
         || _ <- lists:seq(1, 20)
        ]
    end).

a_spawn_request_can_be_given_up(Config) ->
    same(Config, fun(Node) ->
        Request = erlang:spawn_request(Node, kv_bucket, init, [[{name, given_up}]], [link]),
        case erlang:spawn_request_abandon(Request) of
            true ->
                _ = kv_test:wait(fun() -> end_of({given_up, Node}) =:= noproc end),
                kv_test:mailbox();
            false ->
                {spawn_reply, Request, ok, Pid} = next(),
                true = unlink(Pid),
                ok = gen_server:stop(Pid),
                []
        end
    end).

pids_are_never_the_same(Config) ->
    ?assertEqual(
        500,
        same(Config, fun(Node) ->
            Pids = [
                begin
                    {Pid, Monitor} = spawn_monitor(Node, kv_bucket, init, [[]]),
                    exit(Pid, kill),
                    killed = kv_test:down(Monitor),
                    Pid
                end
             || _ <- lists:seq(1, 500)
            ],
            length(lists:usort(Pids))
        end)
    ).

a_group_leader_can_be_set(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        {group_leader(self(), Bucket), serve(Bucket)}
    end).
