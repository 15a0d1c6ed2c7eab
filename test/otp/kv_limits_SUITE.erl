%% Limits of memory and time: the memory that all buckets of a node may take together, and entries that expire.
-module(kv_limits_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MAX_MEMORY, (4 bsl 20)).
-define(VALUE, binary:copy(<<"v">>, 1000)).
%% A bucket with more keys than this counts expired keys until they are removed.
-define(MANY, 20000).

suite() -> [{timetrap, {seconds, 60}}].

all() -> [{group, memory}, {group, expiry}].

groups() ->
    [
        {memory, [], [
            a_put_over_the_limit_of_the_node_is_refused_and_reads_go_on,
            all_buckets_share_the_limit_of_the_node,
            a_refused_put_leaves_the_old_value,
            a_value_that_never_fits_is_refused,
            put_many_over_the_limit_puts_nothing,
            a_full_bucket_takes_no_new_key,
            put_new_many_puts_all_or_none,
            deleting_makes_room,
            clearing_makes_room,
            a_bucket_that_ends_makes_room,
            expired_entries_make_room,
            a_bucket_that_may_evict_goes_on_at_the_limit_of_the_node,
            buckets_come_and_go_at_the_limit,
            many_who_write_at_the_limit_are_all_answered
        ]},
        {expiry, [], [
            an_idle_node_removes_what_has_expired,
            an_idle_node_removes_what_has_expired_in_many_buckets,
            expired_entries_of_a_small_bucket_do_not_count,
            expired_entries_of_a_small_bucket_do_not_count_in_local_reads,
            entries_of_a_bucket_that_has_ended_do_not_wake_the_node
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(Case, Config) ->
    kv_test:start_with_kv(Config, environment(lists:member(Case, cases(memory)))).

cases(Group) -> element(3, lists:keyfind(Group, 1, groups())).

environment(true) -> [{max_memory, ?MAX_MEMORY}];
environment(false) -> [{local_reads, true}].

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

%% The program at the end is the program of the beginning.
in(Config, Fun) ->
    kv_test:in(?config(vm, Config), fun() ->
        OsPid = kv_node:os_pid(),
        _ = Fun(),
        ?assertEqual(OsPid, kv_node:os_pid()),
        ?assert(kv_test:is_os_process(OsPid))
    end).

bucket() -> bucket([]).

bucket(Options) ->
    {ok, Proxy} = kv_bucket:start_link(Options),
    kv_proxy:native(Proxy).

%% Puts values from number First on until one is refused, and returns its number.
fill(Bucket, First) ->
    case kv_bucket:put(Bucket, First, ?VALUE) of
        ok -> fill(Bucket, First + 1);
        {error, enomem} -> First
    end.

%%% The memory of a node

a_put_over_the_limit_of_the_node_is_refused_and_reads_go_on(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        End = fill(Bucket, 0),
        ?assert(End > ?MAX_MEMORY div 2000),
        ?assert(End * 1000 < ?MAX_MEMORY),
        ?assertEqual(error, kv_bucket:fetch(Bucket, End)),
        ?assertEqual(End, kv_bucket:size(Bucket)),
        ?assertEqual(lists:duplicate(End, ?VALUE), kv_bucket:get_many(Bucket, lists:seq(0, End - 1))),
        ?assertEqual(lists:seq(0, End - 1), lists:sort(kv_bucket:keys(Bucket)))
    end).

all_buckets_share_the_limit_of_the_node(Config) ->
    in(Config, fun() ->
        [First, Second] = [bucket(), bucket()],
        ok = kv_bucket:put(Second, mine, 1),
        End = fill(First, 0),
        ?assertEqual({error, enomem}, kv_bucket:put(Second, large, binary:copy(<<"v">>, 100000))),
        ?assert(fill(Second, 0) < 10),
        ?assertEqual(1, kv_bucket:get(Second, mine)),
        ?assertEqual(?VALUE, kv_bucket:get(First, End - 1))
    end).

a_refused_put_leaves_the_old_value(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        _ = fill(Bucket, 0),
        Large = binary:copy(<<"v">>, 100000),
        ?assertEqual({error, enomem}, kv_bucket:put(Bucket, 7, Large)),
        ?assertEqual(?VALUE, kv_bucket:get(Bucket, 7)),
        ?assertEqual({error, enomem}, kv_bucket:put_new(Bucket, new, Large)),
        ?assertEqual(false, kv_bucket:put_new(Bucket, 7, Large)),
        ?assertEqual(false, kv_bucket:has_key(Bucket, new)),
        ?assertEqual(ok, kv_bucket:put(Bucket, 7, binary:copy(<<"w">>, 1000)))
    end).

a_value_that_never_fits_is_refused(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, small, 1),
        Large = binary:copy(<<"v">>, ?MAX_MEMORY),
        ?assertEqual({error, enomem}, kv_bucket:put(Bucket, large, Large)),
        ?assertEqual({error, enomem}, kv_bucket:put(bucket([{evict, lru}]), large, Large)),
        ?assertEqual(1, kv_bucket:get(Bucket, small)),
        ?assertEqual(ok, kv_bucket:put(Bucket, large, binary:copy(<<"v">>, ?MAX_MEMORY div 2)))
    end).

put_many_over_the_limit_puts_nothing(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Numbers = lists:seq(1, 2 * ?MAX_MEMORY div 1000),
        ?assertEqual({error, enomem}, kv_bucket:put_many(Bucket, [{N, ?VALUE} || N <- Numbers])),
        ?assertEqual([], kv_bucket:keys(Bucket)),
        ok = kv_bucket:put_many(Bucket, [{0, old}, {1, old}]),
        ?assertEqual({error, enomem}, kv_bucket:put_many(Bucket, [{N, ?VALUE} || N <- Numbers])),
        ?assertEqual(#{0 => old, 1 => old}, kv_bucket:to_map(Bucket))
    end).

a_full_bucket_takes_no_new_key(Config) ->
    in(Config, fun() ->
        Bucket = bucket([{max_entries, 3}]),
        ok = kv_bucket:put_many(Bucket, [{1, a}, {2, a}]),
        ?assertEqual({error, full}, kv_bucket:put_many(Bucket, [{2, b}, {3, b}, {4, b}])),
        ?assertEqual(#{1 => a, 2 => a}, kv_bucket:to_map(Bucket)),
        ?assertEqual(ok, kv_bucket:put(Bucket, 3, a)),
        ?assertEqual({error, full}, kv_bucket:put(Bucket, 4, a)),
        ?assertEqual({error, full}, kv_bucket:put_new(Bucket, 4, a)),
        ?assertEqual({error, full}, kv_bucket:put_new_many(Bucket, [{4, a}])),
        ?assertEqual(ok, kv_bucket:put(Bucket, 1, c)),
        Cache = bucket([{max_entries, 3}, {evict, lru}]),
        ok = kv_bucket:put_many(Cache, [{N, N} || N <- lists:seq(1, 3)]),
        ok = kv_bucket:put_many(Cache, [{N, N} || N <- lists:seq(4, 6)]),
        ?assertEqual([4, 5, 6], lists:sort(kv_bucket:keys(Cache))),
        ?assertEqual({error, full}, kv_bucket:put_many(Cache, [{N, N} || N <- lists:seq(7, 10)]))
    end).

put_new_many_puts_all_or_none(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ?assertEqual(true, kv_bucket:put_new_many(Bucket, #{a => 1, b => 2})),
        ?assertEqual(false, kv_bucket:put_new_many(Bucket, [{c, 3}, {b, 3}])),
        ?assertEqual(#{a => 1, b => 2}, kv_bucket:to_map(Bucket)),
        ?assertEqual(true, kv_bucket:await(kv_bucket:async(Bucket, put_new_many, [[{c, 3}]])))
    end).

deleting_makes_room(Config) ->
    in(Config, fun() ->
        [First, Second] = [bucket(), bucket()],
        End = fill(First, 0),
        ?assertEqual(End div 2, kv_bucket:delete_many(First, lists:seq(0, End div 2 - 1))),
        Again = fill(First, End) - End,
        ?assert(Again > End div 4),
        ?assertEqual(?VALUE, kv_bucket:delete(First, End - 1)),
        ?assertEqual(ok, kv_bucket:put(First, once_more, ?VALUE)),
        _ = kv_bucket:delete_many(First, lists:seq(End div 2, End + Again)),
        ?assert(fill(Second, 0) > End div 4)
    end).

clearing_makes_room(Config) ->
    in(Config, fun() ->
        [First, Second] = [bucket(), bucket()],
        End = fill(First, 0),
        ok = kv_bucket:clear(First),
        ?assert(fill(Second, 0) > End * 9 div 10)
    end).

a_bucket_that_ends_makes_room(Config) ->
    in(Config, fun() ->
        {ok, First} = kv_bucket:start_link([]),
        Second = bucket(),
        End = fill(kv_proxy:native(First), 0),
        ok = kv_bucket:stop(First),
        ?assert(fill(Second, 0) > End * 9 div 10)
    end).

expired_entries_make_room(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        End = fill(Bucket, 0),
        Last = lists:seq(End - 2000, End - 1),
        2000 = kv_bucket:delete_many(Bucket, Last),
        ok = kv_bucket:put_many(Bucket, [{N, ?VALUE} || N <- Last], [{ttl, 500}]),
        kv_test:wait(fun() -> kv_bucket:put(Bucket, large, binary:copy(<<"v">>, 1 bsl 20)) =:= ok end)
    end).

a_bucket_that_may_evict_goes_on_at_the_limit_of_the_node(Config) ->
    in(Config, fun() ->
        [Kept, Cache] = [bucket(), bucket([{evict, lru}])],
        ok = kv_bucket:put_many(Kept, [{N, ?VALUE} || N <- lists:seq(1, 1000)]),
        Answers = [kv_bucket:put(Cache, N, ?VALUE) || N <- lists:seq(1, 2 * ?MAX_MEMORY div 1000)],
        ?assertEqual([ok], lists:usort(Answers)),
        ?assertEqual(?VALUE, kv_bucket:get(Cache, length(Answers))),
        ?assert(kv_bucket:size(Cache) < length(Answers)),
        ?assertEqual(1000, kv_bucket:size(Kept))
    end).

buckets_come_and_go_at_the_limit(Config) ->
    in(Config, fun() ->
        _ = process_flag(trap_exit, true),
        Full = bucket(),
        End = fill(Full, 0),
        Started = [kv_bucket:start_link([]) || _ <- lists:seq(1, 1000)],
        ?assertEqual([], [Reason || {error, Reason} <- Started, Reason =/= enomem]),
        Native = [kv_proxy:native(Proxy) || {ok, Proxy} <- Started],
        [?assertEqual(error, kv_bucket:fetch(Bucket, none)) || Bucket <- Native],
        [ok = kv_bucket:stop(Proxy) || {ok, Proxy} <- Started],
        ?assertEqual(End, kv_bucket:size(Full)),
        _ = kv_bucket:delete_many(Full, lists:seq(0, End div 2)),
        ?assertEqual(ok, kv_bucket:put(bucket(), a, ?VALUE))
    end).

many_who_write_at_the_limit_are_all_answered(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        _ = fill(Bucket, 0),
        Large = binary:copy(<<"v">>, 50000),
        Write = fun(N) ->
            [kv_bucket:put(Bucket, {N, I}, Large) || I <- lists:seq(1, 50)] ++ [kv_bucket:get(Bucket, 1)]
        end,
        Writers = [spawn_monitor(fun() -> exit(lists:usort(Write(N))) end) || N <- lists:seq(1, 20)],
        [?assertEqual([{error, enomem}, ?VALUE], kv_test:down(Monitor)) || {_, Monitor} <- Writers]
    end).

%%% Entries whose time is over

%% Read in the memory of the node, without a call, so that nothing wakes the node.
an_idle_node_removes_what_has_expired(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Entries = [{N, N} || N <- lists:seq(1, ?MANY)],
        ok = kv_bucket:put_many(Bucket, Entries, [{ttl, 300}]),
        kv_test:wait(fun() -> kv_local:size(Bucket) =:= 0 end),
        ok = kv_bucket:put(Bucket, for_good, 1),
        ?assertEqual(1, kv_bucket:size(Bucket))
    end).

an_idle_node_removes_what_has_expired_in_many_buckets(Config) ->
    in(Config, fun() ->
        Buckets = [bucket() || _ <- lists:seq(1, 200)],
        [ok = kv_bucket:put(Bucket, N, 1, [{ttl, 100 + N}]) || N <- lists:seq(1, 3), Bucket <- Buckets],
        [kv_test:wait(fun() -> kv_local:size(Bucket) =:= 0 end) || Bucket <- Buckets]
    end).

expired_entries_of_a_small_bucket_do_not_count(Config) ->
    in(Config, fun() -> expired_entries_do_not_count(fun(Bucket) -> gen_server:call(Bucket, size) end) end).

expired_entries_of_a_small_bucket_do_not_count_in_local_reads(Config) ->
    in(Config, fun() -> expired_entries_do_not_count(fun(Bucket) -> kv_bucket:size(Bucket) end) end).

expired_entries_do_not_count(Size) ->
    Bucket = bucket(),
    ok = kv_bucket:put(Bucket, for_good, 1),
    Keys = lists:seq(1, 900),
    [
        begin
            ok = kv_bucket:put_many(Bucket, [{Key, 1} || Key <- Keys], [{ttl, Ttl}]),
            kv_test:wait(fun() -> not kv_bucket:has_key(Bucket, 1) end),
            ?assertEqual(1, Size(Bucket))
        end
     || Ttl <- [20, 1, 50, 7]
    ].

entries_of_a_bucket_that_has_ended_do_not_wake_the_node(Config) ->
    in(Config, fun() ->
        {ok, First} = kv_bucket:start_link([]),
        Second = bucket(),
        ok = kv_bucket:put(First, a, 1, [{ttl, 100}]),
        ok = kv_bucket:put(Second, a, 1, [{ttl, 200}]),
        ok = kv_bucket:stop(First),
        kv_test:wait(fun() -> kv_local:size(Second) =:= 0 end)
    end).
