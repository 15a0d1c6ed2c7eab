%% Updates by a function, alone and with others, and transactions.
-module(kv_update_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 120}}].

all() -> [{group, updates}, {group, transactions}].

groups() ->
    [
        {updates, [], [
            an_update_puts_the_initial_value_or_the_result,
            get_and_update_is_that_of_map,
            the_time_to_live_is_kept_unless_one_is_given,
            no_increment_of_64_callers_is_lost,
            no_acknowledged_increment_of_killed_callers_is_lost,
            two_vms_update_one_key,
            a_function_that_fails_has_changed_nothing,
            the_next_in_the_queue_gets_the_value_from_before_one_that_failed,
            one_that_is_killed_in_its_turn_is_passed_over,
            one_that_is_too_late_is_passed_over,
            one_that_waits_gives_up_at_its_timeout,
            an_update_within_an_update_of_the_same_key_is_refused,
            an_error_reaches_only_the_one_whose_value_is_refused,
            those_who_wait_exit_when_the_bucket_ends,
            an_update_comes_after_what_its_caller_has_cast,
            a_queue_ends_when_nobody_is_there,
            a_history_of_updates_is_linearizable
        ]},
        {transactions, [], [
            a_transaction_is_done_by_every_address,
            a_failed_transaction_changes_nothing,
            operations_have_options,
            a_wrong_operation_is_named_before_anything_is_sent,
            a_transaction_can_be_awaited,
            readers_see_all_of_a_transaction_or_nothing
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%%% Helpers, in the VM

bucket() -> bucket([]).

bucket(Options) ->
    {ok, Proxy} = kv_bucket:start_link(Options),
    kv_proxy:native(Proxy).

addresses() ->
    {ok, Proxy} = kv_bucket:start_link([{name, by_name}]),
    Native = kv_proxy:native(Proxy),
    [Native, Proxy, by_name, {by_name, node(Native)}, {by_name, node()}].

increment(Value) -> Value + 1.

update(Bucket, Fun) -> kv_bucket:update(Bucket, k, 1, Fun).

%% Runs the funs side by side, and waits until all have ended. Returns how they have ended.
together(Funs) ->
    Monitors = [element(2, spawn_monitor(fun() -> exit({value, Fun()}) end)) || Fun <- Funs],
    [receive {'DOWN', Monitor, process, _, Reason} -> Reason end || Monitor <- Monitors].

times(0, _Fun) -> ok;
times(N, Fun) -> _ = Fun(), times(N - 1, Fun).

%% Takes the turn in the queue of the key, so that others wait.
hold(Bucket) ->
    Queue = kv_updates:queue(Bucket, k),
    Place = kv_update_queue:join(Queue, infinity, self()),
    receive
        {Place, turn, _Value} -> {Queue, Place};
        {'DOWN', Place, process, _, normal} -> hold(Bucket);
        {'DOWN', Place, process, _, noproc} -> hold(Bucket)
    end.

release({Queue, Place}) ->
    ok = kv_update_queue:turn_done(Queue, Place, none),
    receive
        {Place, turn, _Changed} -> release({Queue, Place});
        {Place, committed} -> erlang:demonitor(Place, [flush])
    end.

%% Starts a process that joins the queue, and waits until it is there.
waiting({Queue, _Place}, Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({value, Fun()}) end),
    kv_test:wait(fun() -> is_member(Queue, Pid) end),
    {Pid, Monitor}.

is_member(Queue, Pid) ->
    {monitors, Monitors} = process_info(Queue, monitors),
    lists:member({process, Pid}, Monitors).

ended({_Pid, Monitor}) -> kv_test:down(Monitor).

%%% Updates

an_update_puts_the_initial_value_or_the_result(Config) ->
    in(Config, fun() ->
        [
            begin
                ?assertEqual(error, kv_bucket:update_existing(Bucket, N, fun increment/1)),
                ?assertEqual({ok, 1}, kv_bucket:update(Bucket, N, 1, fun increment/1)),
                ?assertEqual({ok, 2}, kv_bucket:update(Bucket, N, 1, fun increment/1)),
                ?assertEqual({ok, 3}, kv_bucket:update_existing(Bucket, N, fun increment/1)),
                ?assertEqual(3, kv_bucket:get(Bucket, N))
            end
         || {N, Bucket} <- lists:zip(lists:seq(1, 5), addresses())
        ]
    end).

get_and_update_is_that_of_map(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ?assertEqual({ok, undefined}, kv_bucket:get_and_update(Bucket, k, fun(Old) -> {Old, [1, 2]} end)),
        ?assertEqual({ok, 1}, kv_bucket:get_and_update(Bucket, k, fun([One | Rest]) -> {One, Rest} end)),
        ?assertEqual({ok, [2]}, kv_bucket:get_and_update(Bucket, k, fun(_) -> pop end)),
        ?assertEqual({ok, undefined}, kv_bucket:get_and_update(Bucket, k, fun(_) -> pop end)),
        ?assertEqual(false, kv_bucket:has_key(Bucket, k)),
        ?assertError(badarg, kv_bucket:get_and_update(Bucket, k, fun(_) -> wrong end))
    end).

the_time_to_live_is_kept_unless_one_is_given(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Gone = fun() -> kv_test:wait(fun() -> not kv_bucket:has_key(Bucket, k) end) end,
        ok = kv_bucket:put(Bucket, k, 1, [{ttl, 300}]),
        {ok, 2} = update(Bucket, fun increment/1),
        Held = hold(Bucket),
        One = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        _ = release(Held),
        ?assertMatch({value, {ok, _}}, ended(One)),
        Gone(),
        {ok, 1} = kv_bucket:update(Bucket, k, 1, fun increment/1, [{ttl, 20}]),
        Gone(),
        ok = kv_bucket:put(Bucket, k, 1, [{ttl, 60000}]),
        {ok, 2} = kv_bucket:update(Bucket, k, 1, fun increment/1, [{ttl, 20}, {timeout, 1000}]),
        Gone()
    end).

no_increment_of_64_callers_is_lost(Config) ->
    in(Config, fun() ->
        Addresses = addresses(),
        Callers = [
            fun() -> times(1000, fun() -> {ok, _} = update(lists:nth(1 + N rem 5, Addresses), fun increment/1) end) end
         || N <- lists:seq(1, 64)
        ],
        ?assertEqual([{value, ok}], lists:usort(together(Callers))),
        ?assertEqual(64000, kv_bucket:get(hd(Addresses), k))
    end, 110000).

no_acknowledged_increment_of_killed_callers_is_lost(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Counter = counters:new(1, []),
        Forever = fun Loop() -> {ok, _} = update(Bucket, fun increment/1), counters:add(Counter, 1, 1), Loop() end,
        Callers = [spawn_monitor(Forever) || _ <- lists:seq(1, 32)],
        [
            begin
                Before = counters:get(Counter, 1),
                kv_test:wait(fun() -> counters:get(Counter, 1) > Before + 100 end),
                exit(Pid, kill),
                killed = kv_test:down(Monitor)
            end
         || {Pid, Monitor} <- Callers
        ],
        Value = kv_bucket:get(Bucket, k),
        Acknowledged = counters:get(Counter, 1),
        ?assert(Acknowledged =< Value andalso Value =< Acknowledged + length(Callers), {Acknowledged, Value})
    end, 110000).

two_vms_update_one_key(Config) ->
    Other = kv_test:start_vm(Config),
    Bucket = in(Config, fun() -> spawn_bucket() end),
    Work = fun() -> together([fun() -> times(500, fun() -> {ok, _} = update(Bucket, fun increment/1) end) end || _ <- lists:seq(1, 8)]) end,
    Self = self(),
    Theirs = spawn_link(fun() -> Self ! {self(), kv_test:in(Other, Work)} end),
    ?assertEqual([{value, ok}], lists:usort(in(Config, Work))),
    receive
        {Theirs, Outcome} -> ?assertEqual([{value, ok}], lists:usort(Outcome))
    end,
    ?assertEqual(8000, in(Config, fun() -> kv_bucket:get(Bucket, k) end)),
    kv_test:stop_vm(Other).

%% A bucket that outlives the process that has started it.
spawn_bucket() ->
    Self = self(),
    _ = spawn(fun() -> Self ! {bucket, bucket()}, receive stop -> ok end end),
    receive
        {bucket, Bucket} -> Bucket
    end.

a_function_that_fails_has_changed_nothing(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, k, 7),
        Fails = fun() ->
            ?assertError(oops, update(Bucket, fun(7) -> error(oops) end)),
            ?assertExit(oops, update(Bucket, fun(7) -> exit(oops) end)),
            ?assertThrow(oops, update(Bucket, fun(7) -> throw(oops) end)),
            ?assertEqual(7, kv_bucket:get(Bucket, k))
        end,
        Fails(),
        Held = hold(Bucket),
        Waiting = waiting(Held, Fails),
        _ = release(Held),
        ?assertEqual({value, ok}, ended(Waiting))
    end).

the_next_in_the_queue_gets_the_value_from_before_one_that_failed(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Held = hold(Bucket),
        One = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        Two = waiting(Held, fun() -> update(Bucket, fun(1) -> throw(oops) end) end),
        Three = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        _ = release(Held),
        ?assertEqual({value, {ok, 1}}, ended(One)),
        ?assertMatch({{nocatch, oops}, [{?MODULE, _, _, _} | _]}, ended(Two)),
        ?assertEqual({value, {ok, 2}}, ended(Three))
    end).

one_that_is_killed_in_its_turn_is_passed_over(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Self = self(),
        Held = hold(Bucket),
        ok = kv_bucket:put(Bucket, k, 1),
        {Pid, _} = One = waiting(Held, fun() -> update(Bucket, fun(_) -> Self ! in_turn, receive never -> ok end end) end),
        Two = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        _ = release(Held),
        receive
            in_turn -> exit(Pid, kill)
        end,
        ?assertEqual(killed, ended(One)),
        ?assertMatch({value, {ok, 2}}, ended(Two)),
        ?assertEqual(2, kv_bucket:get(Bucket, k))
    end).

one_that_is_too_late_is_passed_over(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, k, 0),
        Held = hold(Bucket),
        Late = fun(Value) -> receive after 100 -> Value + 100 end end,
        One = waiting(Held, fun() -> kv_bucket:update(Bucket, k, 1, Late, 90) end),
        Two = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        _ = release(Held),
        ?assertMatch({timeout, {gen_server, call, [Bucket, _, 90]}}, ended(One)),
        ?assertEqual({value, {ok, 1}}, ended(Two))
    end).

one_that_waits_gives_up_at_its_timeout(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Held = hold(Bucket),
        One = waiting(Held, fun() ->
            timeout = try kv_bucket:update(Bucket, k, 1, fun increment/1, 50) catch exit:{timeout, _} -> timeout end,
            kv_test:mailbox()
        end),
        ?assertEqual({value, []}, ended(One)),
        _ = release(Held),
        ?assertEqual({ok, 1}, update(Bucket, fun increment/1))
    end).

an_update_within_an_update_of_the_same_key_is_refused(Config) ->
    in(Config, fun() ->
        [Native, Proxy | _] = addresses(),
        ok = kv_bucket:put(Native, k, 1),
        Inner = fun(Bucket) -> fun(_) -> update(Bucket, fun increment/1) end end,
        ?assertError(badarg, update(Native, Inner(Native))),
        ?assertError(badarg, update(Native, Inner(Proxy))),
        ?assertEqual({ok, 6}, update(Native, fun(1) -> {ok, N} = kv_bucket:update(Proxy, other, 5, fun increment/1), N + 1 end)),
        ?assertEqual({ok, 7}, update(Native, fun increment/1))
    end).

an_error_reaches_only_the_one_whose_value_is_refused(Config) ->
    in(Config, fun() ->
        Bucket = bucket([{max_memory, 100000}]),
        ok = kv_bucket:put(Bucket, k, 0),
        Held = hold(Bucket),
        One = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        Two = waiting(Held, fun() -> update(Bucket, fun(_) -> binary:copy(<<1>>, 1000000) end) end),
        Three = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        _ = release(Held),
        ?assertEqual({value, {ok, 1}}, ended(One)),
        ?assertEqual({value, {error, enomem}}, ended(Two)),
        ?assertEqual({value, {ok, 2}}, ended(Three))
    end).

those_who_wait_exit_when_the_bucket_ends(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        Bucket = bucket(),
        Held = hold(Bucket),
        One = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        exit(Bucket, kill),
        kv_test:wait(fun() -> not erpc:call(node(Bucket), erlang, is_process_alive, [Bucket]) end),
        {Queue, Place} = Held,
        ok = kv_update_queue:turn_done(Queue, Place, none),
        ?assertMatch({noproc, {gen_server, call, [Bucket, _, 5000]}}, ended(One)),
        ?assertExit({noproc, _}, update(Bucket, fun increment/1))
    end).

an_update_comes_after_what_its_caller_has_cast(Config) ->
    in(Config, fun() ->
        [
            begin
                Held = hold(kv_update_address(Bucket)),
                One = waiting(Held, fun() ->
                    ok = kv_bucket:cast(Bucket, put, [k, N]),
                    update(Bucket, fun increment/1)
                end),
                _ = release(Held),
                ?assertEqual({value, {ok, N + 1}}, ended(One))
            end
         || N <- [100, 200, 300], Bucket <- lists:sublist(addresses_once(), 3)
        ]
    end).

addresses_once() ->
    case whereis(by_name) of
        undefined -> addresses();
        Proxy -> [kv_proxy:native(Proxy), Proxy, by_name]
    end.

kv_update_address(Name) when is_atom(Name) -> whereis(Name);
kv_update_address(Address) -> Address.

a_queue_ends_when_nobody_is_there(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        {Queue, _} = Held = hold(Bucket),
        Monitor = erlang:monitor(process, Queue),
        One = waiting(Held, fun() -> update(Bucket, fun increment/1) end),
        _ = release(Held),
        {value, {ok, 1}} = ended(One),
        ?assertEqual(normal, kv_test:down(Monitor)),
        kv_test:wait(fun() -> kv_updates:find(Bucket, k) =:= none end),
        ?assertEqual([], ets:tab2list(kv_updates)),
        ?assertEqual(undefined, get('$kv_updating')),
        ?assertEqual([], kv_test:mailbox())
    end).

a_history_of_updates_is_linearizable(Config) ->
    in(Config, fun() ->
        [?assert(kv_linear:check(history(bucket()))) || _ <- lists:seq(1, 30)]
    end, 110000).

history(Bucket) ->
    Add = fun(N) ->
        {{call, fun(absent) -> {{ok, N}, N}; (Old) -> {{ok, Old + N}, Old + N} end},
            fun() -> kv_bucket:update(Bucket, k, N, fun(Old) -> Old + N end) end}
    end,
    Existing = {{call, fun(absent) -> {error, absent}; (Old) -> {{ok, Old * 2}, Old * 2} end},
        fun() -> kv_bucket:update_existing(Bucket, k, fun(Old) -> Old * 2 end) end},
    Pop = {{call, fun(absent) -> {{ok, undefined}, absent}; (Old) -> {{ok, Old}, absent} end},
        fun() -> kv_bucket:get_and_update(Bucket, k, fun(_) -> pop end) end},
    Put = {{call, fun(_) -> {ok, 0} end}, fun() -> kv_bucket:put(Bucket, k, 0) end},
    Fetch = {{call, fun(absent) -> {error, absent}; (Old) -> {{ok, Old}, Old} end}, fun() -> kv_bucket:fetch(Bucket, k) end},
    All = [Add(1), Add(10), Add(100), Existing, Pop, Put, Fetch],
    Outcomes = together([fun() -> [timed(lists:nth(rand:uniform(7), All)) || _ <- lists:seq(1, 8)] end || _ <- lists:seq(1, 4)]),
    lists:append([Operations || {value, Operations} <- Outcomes]).

timed({Kind, Fun}) ->
    Begin = erlang:monotonic_time(),
    Answer = Fun(),
    {Begin, erlang:monotonic_time(), Kind, Answer}.

%%% Transactions

a_transaction_is_done_by_every_address(Config) ->
    in(Config, fun() ->
        [
            begin
                _ = kv_bucket:clear(Bucket),
                ?assertEqual(
                    {ok, [ok, 1, {ok, 1}, true, false, 1, undefined, ok, ok]},
                    kv_bucket:transaction(Bucket, [
                        {put, a, 1}, {get, a}, {fetch, a}, {put_new, b, 2}, {put_new, b, 3}, {delete, a}, {get, a},
                        {check, b, 2}, {check_absent, a}
                    ])
                ),
                ?assertEqual(#{b => 2}, kv_bucket:to_map(Bucket)),
                ?assertEqual({ok, []}, kv_bucket:transaction(Bucket, []))
            end
         || Bucket <- addresses()
        ]
    end).

a_failed_transaction_changes_nothing(Config) ->
    in(Config, fun() ->
        Bucket = bucket([{max_memory, 100000}]),
        ok = kv_bucket:put(Bucket, a, 1),
        [
            begin
                ?assertEqual({error, {2, Reason}}, kv_bucket:transaction(Bucket, [{put, a, 2}, {delete, b}, Failing])),
                ?assertEqual(#{a => 1}, kv_bucket:to_map(Bucket))
            end
         || {Failing, Reason} <- [
                {{check, a, 1}, check_failed},
                {{check_absent, a}, check_failed},
                {{put, b, binary:copy(<<1>>, 200000)}, enomem}
            ]
        ],
        Large = binary:copy(<<1>>, 1100000),
        ?assertMatch({error, {too_large, _}}, kv_bucket:transaction(Bucket, [{put, a, Large}]))
    end).

operations_have_options(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        {ok, [ok, true, 7]} = kv_bucket:transaction(Bucket, [{put, a, 1, [{ttl, 20}]}, {put_new, b, 1, [{ttl, 20}]}, {get, c, 7}], [{timeout, 1000}]),
        kv_test:wait(fun() -> kv_bucket:to_map(Bucket) =:= #{} end)
    end).

a_wrong_operation_is_named_before_anything_is_sent(Config) ->
    in(Config, fun() ->
        Nobody = self(),
        [
            begin
                Stack = try kv_bucket:transaction(Nobody, [{get, a}, Wrong]) catch error:badarg:Trace -> Trace end,
                Text = lists:flatten(io_lib:format("~ts", [maps:values(kv_misuse:format_error(badarg, Stack))])),
                ?assertMatch("operation 1, counted from 0: " ++ _, Text)
            end
         || Wrong <- [frob, {}, {frob, a}, {put, a}, {size}, {put, a, 1, [{ttl, 0}]}, {put, a, 1, [{timeout, 5}]}, {transaction, []}]
        ],
        ?assertError(badarg, kv_bucket:transaction(Nobody, not_a_list)),
        ?assertError(badarg, kv_bucket:transaction(Nobody, [{get, a} | tail])),
        ?assertError(badarg, kv_bucket:transaction(Nobody, lists:duplicate(1001, {get, a})))
    end).

a_transaction_can_be_awaited(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Request = kv_bucket:async(Bucket, transaction, [[{put, a, 1}, {get, b}]]),
        ?assertEqual({ok, [ok, undefined]}, kv_bucket:await(Request)),
        ?assertError(badarg, kv_bucket:async(Bucket, transaction, [[{put, a}]]))
    end).

readers_see_all_of_a_transaction_or_nothing(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Keys = lists:seq(1, 20),
        Write = fun(N) -> {ok, _} = kv_bucket:transaction(Bucket, [{put, Key, N} || Key <- Keys]) end,
        Write(0),
        Writer = spawn_link(fun() -> [Write(N) || N <- lists:seq(1, 2000)] end),
        Monitor = erlang:monitor(process, Writer),
        Read = fun Loop() ->
            ?assertMatch([_], lists:usort(kv_bucket:get_many(Bucket, Keys))),
            receive
                {'DOWN', Monitor, process, _, normal} -> ok
            after 0 -> Loop()
            end
        end,
        Read()
    end).

in(Config, Fun, Timeout) -> kv_test:in(?config(vm, Config), Fun, Timeout).
