%% @doc Reads without a call, against ETS in the same VM: what bench/README.md calls local.
%%
%% One interleaved run: in each round every cell is measured for kv and for what it is compared with, one after the other;
%% ratios are taken within a round, and their median is what counts.
-module(kv_bench_local).

-export([main/0, read_on/3, write_on/2, count/0]).

-define(MANY, 1000).
-define(BATCH, 200).

-type cell() :: {Name :: string(), fun(() -> number()), fun(() -> number()), Bar :: none | {at_most | at_least, number()}}.

%% @doc Prints the tables and ends the VM. ENTRIES, ROUNDS and MS are taken from the environment.
-spec main() -> no_return().
main() ->
    _ = application:load(kv),
    ok = application:set_env(kv, local_reads, true),
    {ok, _} = application:ensure_all_started(kv),
    #{local_reads := on} = kv_node:info(),
    io:format("Nanoseconds for one read, medians of ~b rounds; load before: ~s~n~n", [rounds(), os:getenv("LOAD_BEFORE", "?")]),
    [table(Entries) || Entries <- [1000, environment("ENTRIES", 1000000)]],
    ok = writing(),
    init:stop(),
    receive never -> ok end.

environment(Name, Default) -> list_to_integer(os:getenv(Name, integer_to_list(Default))).
rounds() -> environment("ROUNDS", 7).
milliseconds() -> environment("MS", 100).

%%% Reading

table(Entries) ->
    Ets = ets:new(local, [public, {read_concurrency, true}]),
    Name = integer_to_binary(Entries),
    Bucket = bucket(Name),
    ok = fill(Bucket, Ets, Entries),
    true = ets:insert(Ets, {Name, Bucket}),
    io:format("### ~b entries~n~n", [Entries]),
    print("reads", rounds(cells(Name, Bucket, Ets, Entries))),
    {Stop, _} = writer(Bucket, Entries),
    io:format("The same while another VM writes to the bucket as fast as it can~n~n", []),
    print("reads, written", rounds([bar(Cell, {at_most, 1.5}) || Cell <- lists:sublist(cells(Name, Bucket, Ets, Entries), 1)])),
    Stop(),
    true = ets:delete(Ets),
    kv_bucket:stop(Bucket).

bar({Name, Kv, Other, _}, Bar) -> {Name, Kv, Other, Bar}.

bucket(Name) ->
    ok = kv_registry:create(kv_registry, Name),
    {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
    Bucket.

-spec cells(binary(), pid(), ets:table(), pos_integer()) -> [cell()].
cells(Name, Bucket, Ets, Entries) ->
    Keys = fun(Make) -> list_to_tuple([Make(rand:uniform(Entries)) || _ <- lists:seq(1, 20000)]) end,
    Binary = Keys(fun binary/1),
    Get = fun(Key) -> kv_bucket:get(Bucket, Key) end,
    Lookup = fun(Key) -> ets:lookup(Ets, Key) end,
    Pair = fun(Title, All, Bar) -> {Title, fun() -> each(Get, All, 1) end, fun() -> each(Lookup, All, 1) end, Bar} end,
    Sizes = [{integer_to_list(Size) ++ " B, one key", {{large, Size}}} || Size <- [8, 1024, 16384, 65536]],
    Term = persistent(Bucket),
    [
        Pair("20-byte key, 32-byte value", Binary, {at_most, 0.8}),
        Pair("integer key", Keys(fun(N) -> N end), none),
        Pair("tuple key", Keys(fun(N) -> {k, N} end), none),
        Pair("miss", Keys(fun(N) -> binary(-N) end), none),
        {"20-byte key, 2 processes", fun() -> each(Get, Binary, 2) end, fun() -> each(Lookup, Binary, 2) end, none},
        {"registry: a name", fun() -> each(name(), {Name}, 1) end, fun() -> each(Lookup, {Name}, 1) end, {at_most, 1}},
        {"against persistent_term, one key", fun() -> each(Get, {binary(1)}, 1) end, fun() -> each(Term, {binary(1)}, 1) end, none},
        {"against a call, one key", fun() -> each(Get, {binary(1)}, 1) end,
            fun() -> each(fun(Key) -> kv_call:call(Bucket, {get, Key}, 5000) end, {binary(1)}, 1) end, none},
        many(Bucket, Ets, lists:sublist(tuple_to_list(Binary), ?MANY))
        | [Pair(Title, All, none) || {Title, All} <- Sizes]
    ].

name() -> fun(Wanted) -> kv_registry:lookup(kv_registry, Wanted) end.

persistent(Bucket) ->
    persistent_term:put({?MODULE, binary(1)}, kv_bucket:get(Bucket, binary(1))),
    fun(Key) -> persistent_term:get({?MODULE, Key}) end.

many(Bucket, Ets, Keys) ->
    {"get_many of 1000, a key", fun() -> each(fun(All) -> kv_bucket:get_many(Bucket, All) end, {Keys}, 1) / ?MANY end,
        fun() -> each(fun(All) -> [ets:lookup(Ets, Key) || Key <- All] end, {Keys}, 1) / ?MANY end, {at_most, 1}}.

binary(N) -> <<"key-", N:128>>.

fill(Bucket, Ets, Entries) ->
    [
        begin
            ok = kv_bucket:put_many(Bucket, Some),
            true = ets:insert(Ets, Some)
        end
     || First <- lists:seq(1, Entries, 1000),
        Make <- [fun binary/1, fun(N) -> N end, fun(N) -> {k, N} end],
        Some <- [[{Make(N), <<N:256>>} || N <- lists:seq(First, First + 999)]]
    ],
    Large = [{{large, Size}, binary:copy(<<7>>, Size)} || Size <- [8, 1024, 16384, 65536]],
    ok = kv_bucket:put_many(Bucket, Large),
    true = ets:insert(Ets, Large),
    ok.

%% Nanoseconds of one call of Fun by each of so many processes.
each(Fun, Keys, 1) ->
    timed(Fun, Keys, deadline(), 0, erlang:monotonic_time(nanosecond));
each(Fun, Keys, Processes) ->
    Monitors = [spawn_monitor(fun() -> exit({took, each(Fun, Keys, 1)}) end) || _ <- lists:seq(1, Processes)],
    Took = [receive {'DOWN', Monitor, process, _, {took, Time}} -> Time end || {_, Monitor} <- Monitors],
    lists:sum(Took) / Processes.

deadline() -> erlang:monotonic_time(nanosecond) + milliseconds() * 1000000.

timed(Fun, Keys, Deadline, Done, Begin) ->
    Now = erlang:monotonic_time(nanosecond),
    case Now >= Deadline of
        true -> (Now - Begin) / max(1, Done);
        false ->
            Batch = if tuple_size(Keys) =:= 1, is_list(element(1, Keys)) -> 1; true -> ?BATCH end,
            ok = batch(Fun, Keys, Done, Batch),
            timed(Fun, Keys, Deadline, Done + Batch, Begin)
    end.

batch(_Fun, _Keys, _At, 0) ->
    ok;
batch(Fun, Keys, At, Left) ->
    _ = Fun(element(At rem tuple_size(Keys) + 1, Keys)),
    batch(Fun, Keys, At + 1, Left - 1).

%%% Writing

%% Writes per second of a VM that puts as fast as it can, while others read: as fast as they can, which takes processors
%% from node and writer, so it is compared with VMs that read an ETS table of their own instead.
writing() ->
    Bucket = bucket(<<"written">>),
    Entries = 100000,
    ok = kv_bucket:put_many(Bucket, [{binary(N), <<N:256>>} || N <- lists:seq(1, Entries)]),
    {Stop, Writer} = writer(Bucket, Entries),
    Kinds = [{0, none} | [{Vms, Kind} || Vms <- [1, 2, 4], Kind <- [kv, ets]]],
    Rounds = [[writes(Writer, Bucket, Entries, Kind) || Kind <- Kinds] || _ <- lists:seq(1, rounds())],
    Stop(),
    io:format("| VMs that read | writes/s, median | while they read ETS | ratio | wanted |~n|--:|--:|--:|--:|---|~n"),
    [None | Others] = [[lists:nth(At, Round) || Round <- Rounds] || At <- lists:seq(1, length(Kinds))],
    io:format("| 0 | ~b | | | |~n", [round(median(None))]),
    written([1, 2, 4], Others).

written([Vms | Rest], [Kv, Ets | Others]) ->
    Ratio = median([A / B || {A, B} <- lists:zip(Kv, Ets)]),
    io:format("| ~b | ~b | ~b | ~.2f | ~s |~n", [
        Vms, round(median(Kv)), round(median(Ets)), Ratio, case Vms of 4 -> "at least 0.9"; _ -> "" end
    ]),
    written(Rest, Others);
written([], []) ->
    ok.

writes(Writer, Bucket, Entries, {Vms, Kind}) ->
    Readers = [vm() || _ <- lists:seq(1, Vms)],
    [ok = peer:cast(Reader, ?MODULE, read_on, [Kind, Bucket, Entries]) || Reader <- Readers],
    timer:sleep(500),
    Before = peer:call(Writer, ?MODULE, count, []),
    Begin = erlang:monotonic_time(millisecond),
    timer:sleep(1000),
    After = peer:call(Writer, ?MODULE, count, []),
    Took = erlang:monotonic_time(millisecond) - Begin,
    [peer:stop(Reader) || Reader <- Readers],
    1000 * (After - Before) / Took.

%% @private
-spec count() -> non_neg_integer().
count() -> counters:get(persistent_term:get(written), 1).

writer(Bucket, Entries) ->
    Vm = vm(),
    ok = peer:cast(Vm, ?MODULE, write_on, [Bucket, Entries]),
    ok = wait(fun() -> peer:call(Vm, persistent_term, get, [written, none]) =/= none end),
    {fun() -> peer:stop(Vm) end, Vm}.

wait(Ready) ->
    case Ready() of
        true -> ok;
        false -> timer:sleep(10), wait(Ready)
    end.

vm() ->
    Name = "reader_" ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid(),
    {ok, Vm, _} = peer:start(#{
        name => Name, host => "127.0.0.1", longnames => true, connection => standard_io,
        args => ["-setcookie", atom_to_list(erlang:get_cookie()), "-pa" | code:get_path()]
    }),
    Vm.

%% @doc Puts for ever, 64 requests at a time.
-spec write_on(pid(), pos_integer()) -> no_return().
write_on(Bucket, Entries) ->
    Counter = counters:new(1, []),
    persistent_term:put(written, Counter),
    write_on(Bucket, Entries, Counter).

write_on(Bucket, Entries, Counter) ->
    Requests = [kv_bucket:async(Bucket, put, [binary(rand:uniform(Entries)), <<N:256>>]) || N <- lists:seq(1, 64)],
    _ = kv_bucket:await_many(Requests),
    ok = counters:add(Counter, 1, 64),
    write_on(Bucket, Entries, Counter).

%% @doc Gets for ever, from the bucket or from a table of its own.
-spec read_on(kv | ets, pid(), pos_integer()) -> no_return().
read_on(kv, Bucket, Entries) ->
    _ = application:load(kv),
    ok = application:set_env(kv, local_reads, true),
    reading(fun(Key) -> kv_bucket:get(Bucket, Key) end, Entries);
read_on(ets, _Bucket, Entries) ->
    Table = ets:new(own, [{read_concurrency, true}]),
    true = ets:insert(Table, [{binary(N), <<N:256>>} || N <- lists:seq(1, Entries)]),
    reading(fun(Key) -> ets:lookup(Table, Key) end, Entries).

reading(Read, Entries) ->
    _ = Read(binary(rand:uniform(Entries))),
    reading(Read, Entries).

%%% Figures

-spec rounds([cell()]) -> [{cell(), [{number(), number()}]}].
rounds(Cells) ->
    All = [[{Kv(), Other()} || {_, Kv, Other, _} <- Cells] || _ <- lists:seq(1, rounds())],
    [{Cell, [lists:nth(At, Round) || Round <- All]} || {At, Cell} <- lists:zip(lists:seq(1, length(Cells)), Cells)].

print(Title, Measured) ->
    io:format("| ~s | kv | other | ratio | wanted |~n|---|--:|--:|--:|---|~n", [Title]),
    [
        io:format("| ~s | ~b | ~b | ~.2f | ~s |~n", [
            Name, round(median([Kv || {Kv, _} <- Figures])), round(median([Other || {_, Other} <- Figures])),
            median([Kv / Other || {Kv, Other} <- Figures]), wanted(Bar)
        ])
     || {{Name, _, _, Bar}, Figures} <- Measured
    ],
    io:format("~n").

wanted(none) -> "";
wanted({at_most, Bar}) -> io_lib:format("at most ~p", [Bar]);
wanted({at_least, Bar}) -> io_lib:format("at least ~p", [Bar]).

median(Figures) -> lists:nth((length(Figures) + 1) div 2, lists:sort(Figures)).
