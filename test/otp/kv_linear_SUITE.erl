%% Histories of conditional operations of several processes are linearizable: each operation takes effect at one instant
%% between its call and its answer. The VM that started the bucket reads without a call, and calls without a message.
-module(kv_linear_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% KV_HISTORIES is the number of histories.
-define(HISTORIES, 1000).
%% Of two VMs: one in so many.
-define(OF_TWO_VMS, 4).
-define(OPERATIONS, 5).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        an_impossible_history_is_found,
        histories_of_conditional_operations_are_linearizable,
        histories_of_two_vms_are_linearizable
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config, [{local, all}]).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

%% Two processes cannot both put a new key, and no increment may be lost.
an_impossible_history_is_found(_Config) ->
    New = {call, fun put_new/1},
    ?assert(kv_linear:check([{1, 4, New, true}, {2, 3, New, false}])),
    ?assertNot(kv_linear:check([{1, 4, New, true}, {2, 3, New, true}])),
    Add = {call, fun add/1},
    Fetch = {call, fun fetch/1},
    ?assert(kv_linear:check([{1, 3, Add, 1}, {2, 4, Add, 2}, {5, 6, Fetch, {ok, 2}}])),
    ?assertNot(kv_linear:check([{1, 3, Add, 1}, {2, 4, Add, 1}, {5, 6, Fetch, {ok, 1}}])),
    ?assertNot(kv_linear:check([{1, 2, Add, 1}, {3, 4, Fetch, error}])).

histories_of_conditional_operations_are_linearizable(Config) ->
    Count = histories(),
    kv_test:in(?config(vm, Config), fun() -> check_histories([node()], Count) end, 110000),
    {comment, io_lib:format("~b histories", [Count])}.

%% Callers of two VMs update one key by functions, each in its own VM, beside the operations that the program does alone.
histories_of_two_vms_are_linearizable(Config) ->
    Count = max(1, histories() div ?OF_TWO_VMS),
    Other = kv_test:start_vm(Config),
    try
        Node = kv_test:in(Other, fun() -> node() end),
        kv_test:in(?config(vm, Config), fun() ->
            pong = net_adm:ping(Node),
            check_histories([node(), Node], Count)
        end, 110000)
    after
        kv_test:stop_vm(Other)
    end,
    {comment, io_lib:format("~b histories", [Count])}.

histories() ->
    list_to_integer(os:getenv("KV_HISTORIES", integer_to_list(?HISTORIES))).

check_histories(Nodes, Count) ->
    {ok, Proxy} = kv_bucket:start_link([]),
    Bucket = kv_proxy:native(Proxy),
    [
        begin
            History = history(Nodes, Bucket, {key, N}, 4 + N rem 5),
            ?assert(kv_linear:check(History), History)
        end
     || N <- lists:seq(1, Count)
    ],
    ok.

%% The processes are spread over the nodes in turn.
history(Nodes, Bucket, Key, Processes) ->
    Monitors = [
        element(2, spawn_monitor(lists:nth(N rem length(Nodes) + 1, Nodes), ?MODULE, operations, [Bucket, Key]))
     || N <- lists:seq(1, Processes)
    ],
    lists:append([receive {'DOWN', Monitor, process, _, {done, Operations}} -> Operations end || Monitor <- Monitors]).

operations(Bucket, Key) ->
    exit({done, [operation(Bucket, Key) || _ <- lists:seq(1, ?OPERATIONS)]}).

%% All VMs of a host have the same os:perf_counter/0.
operation(Bucket, Key) ->
    {Model, Fun} = step(rand:uniform(12), Bucket, Key),
    Begin = os:perf_counter(),
    Answer = Fun(),
    {Begin, os:perf_counter(), {call, Model}, Answer}.

step(1, B, K) -> {fun put_new/1, fun() -> kv_bucket:put_new(B, K, 0) end};
step(2, B, K) -> {fun replace/1, fun() -> kv_bucket:replace(B, K, 5) end};
step(3, B, K) -> {fun compare_and_put/1, fun() -> kv_bucket:compare_and_put(B, K, 1, 7) end};
step(4, B, K) -> {fun compare_and_delete/1, fun() -> kv_bucket:compare_and_delete(B, K, 2) end};
step(5, B, K) -> {fun pop/1, fun() -> kv_bucket:pop(B, K) end};
step(6, B, K) -> {fun swap/1, fun() -> kv_bucket:swap(B, K, 1) end};
step(7, B, K) -> {fun twice/1, fun() -> kv_bucket:update(B, K, 3, fun(Old) -> Old * 2 end) end};
step(8, B, K) -> {fun both/1, fun() -> kv_bucket:transaction(B, [{incr, K, 1}, {fetch, K}]) end};
step(9, B, K) -> {fun cast_and_fetch/1, fun() -> cast_and_fetch(B, K) end};
step(N, B, K) when N =< 11 -> {fun fetch/1, fun() -> kv_bucket:fetch(B, K) end};
step(_, B, K) -> {fun add/1, fun() -> kv_bucket:incr(B, K, 1) end}.

%% A cast takes effect between its sending and the answer of a read that the same process sends later.
cast_and_fetch(Bucket, Key) ->
    ok = kv_bucket:cast(Bucket, incr, [Key, 1]),
    _ = kv_bucket:fetch(Bucket, Key),
    ok.

%%% The model: the value, or absent, to the answer and the next value.

put_new(absent) -> {true, 0};
put_new(Old) -> {false, Old}.

replace(absent) -> {false, absent};
replace(_Old) -> {true, 5}.

compare_and_put(1) -> {true, 7};
compare_and_put(Old) -> {false, Old}.

compare_and_delete(2) -> {true, absent};
compare_and_delete(Old) -> {false, Old}.

pop(absent) -> {error, absent};
pop(Old) -> {{ok, Old}, absent}.

swap(absent) -> {error, 1};
swap(Old) -> {{ok, Old}, 1}.

twice(absent) -> {{ok, 3}, 3};
twice(Old) -> {{ok, Old * 2}, Old * 2}.

add(absent) -> {1, 1};
add(Old) -> {Old + 1, Old + 1}.

both(Old) ->
    {New, New} = add(Old),
    {{ok, [New, {ok, New}]}, New}.

cast_and_fetch(Old) ->
    {New, New} = add(Old),
    {ok, New}.

fetch(absent) -> {error, absent};
fetch(Old) -> {{ok, Old}, Old}.
