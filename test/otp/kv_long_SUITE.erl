%% Requests for a million keys through the real node: others are served meanwhile, and nobody sees a part of one.
-module(kv_long_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MANY, 1000000).
%% Calls of another bucket that are answered at least while one request goes on: it takes some thousand turns.
-define(CALLS, 10).
-define(WAIT, 60000).

suite() -> [{timetrap, {seconds, 180}}].

all() ->
    [
        others_are_served_and_local_readers_see_all_or_none,
        a_walk_of_a_million_keys_lets_others_in,
        a_bucket_can_be_killed_and_stopped_in_the_middle
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config, [{local_reads, true}]).
end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) ->
    kv_test:in(?config(vm, Config), fun() ->
        OsPid = kv_node:os_pid(),
        _ = Fun(),
        ?assertEqual(OsPid, kv_node:os_pid())
    end).

bucket() ->
    {ok, Proxy} = kv_bucket:start_link([]),
    kv_proxy:native(Proxy).

entries(Value) -> [{Key, Value} || Key <- lists:seq(1, ?MANY)].

%% Runs Fun again and again until stop/1, which returns how often.
repeat(Fun) ->
    spawn_link(fun() -> repeat(Fun, 0) end).

repeat(Fun, Times) ->
    receive
        {stop, From} -> From ! {self(), Times}
    after 0 ->
        _ = Fun(),
        repeat(Fun, Times + 1)
    end.

stop(Pid) ->
    Pid ! {stop, self()},
    receive
        {Pid, Times} -> Times
    end.

%% Makes the request while another bucket is called all the time.
meanwhile(Bucket, Function, Arguments) ->
    Other = bucket(),
    Caller = repeat(fun() -> kv_bucket:put(Other, key, value) end),
    Answer = kv_bucket:await(kv_bucket:async(Bucket, Function, Arguments), ?WAIT),
    ?assert(stop(Caller) > ?CALLS),
    Answer.

others_are_served_and_local_readers_see_all_or_none(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Ends = [1, ?MANY div 2, ?MANY],
        Reader = repeat(fun() -> [Value, Value, Value] = kv_bucket:get_many(Bucket, Ends, none, ?WAIT) end),
        ?assertEqual(ok, meanwhile(Bucket, put_many, [entries(0)])),
        ?assertEqual(ok, meanwhile(Bucket, put_many, [entries(1)])),
        ?assertEqual([1, 1, 1], kv_bucket:get_many(Bucket, Ends)),
        ?assertEqual(false, meanwhile(Bucket, put_new_many, [entries(2)])),
        ?assertEqual(?MANY, meanwhile(Bucket, delete_many, [lists:seq(1, ?MANY)])),
        ?assertEqual(true, meanwhile(Bucket, put_new_many, [entries(2)])),
        _ = stop(Reader),
        ?assertEqual(?MANY, kv_bucket:size(Bucket))
    end).

a_walk_of_a_million_keys_lets_others_in(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put_many(Bucket, entries(1), ?WAIT),
        ?assertEqual(?MANY, length(meanwhile(Bucket, keys, []))),
        ?assertEqual(?MANY, map_size(meanwhile(Bucket, to_map, []))),
        ?assertEqual(?MANY, length(meanwhile(Bucket, get_many, [lists:seq(1, ?MANY)])))
    end).

a_bucket_can_be_killed_and_stopped_in_the_middle(Config) ->
    in(Config, fun() ->
        [
            begin
                process_flag(trap_exit, true),
                {ok, Proxy} = kv_bucket:start_link([{on_node_down, exit}]),
                Bucket = kv_proxy:native(Proxy),
                {_, Caller} = spawn_monitor(fun() -> exit({answer, kv_bucket:put_many(Bucket, entries(1), ?WAIT)}) end),
                _ = kv_bucket:size(bucket()),
                End(Bucket),
                receive
                    {'DOWN', Caller, process, _, _Reason} -> ok
                end,
                ?assertNot(erpc:call(node(Bucket), erlang, is_process_alive, [Bucket]))
            end
         || End <- [fun(Bucket) -> exit(Bucket, kill) end, fun(Bucket) -> ok = gen_server:stop(Bucket, shutdown, ?WAIT) end]
        ],
        ?assertEqual(ok, kv_bucket:put(bucket(), key, value))
    end).
