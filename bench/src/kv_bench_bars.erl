%% @doc The bars: the figures that were promised, and the figures that were measured.
-module(kv_bench_bars).

-export([table/1, figures/1, texts/1]).

-export_type([figure/0]).

-include("kv_bench.hrl").

%% On which side of its bar a figure must be.
-type sense() :: at_least | at_most.
-type bar() :: {Name :: string(), sense(), Bar :: number(), Unit :: string(), fun(([kv_bench:row()]) -> kv_bench_figures:spread() | none)}.

-type figure() :: {Name :: string(), sense(), Bar :: number(), Unit :: string(), kv_bench_figures:spread()}.

%% @doc All bars that have figures.
-spec figures([kv_bench:row()]) -> [figure()].
figures(Rows) ->
    [{Name, Sense, Bar, Unit, Spread} || {Name, Sense, Bar, Unit, Figure} <- bars(), Spread <- [Figure(Rows)], Spread =/= none].

%% @doc The texts of a figure: its name; least, median, greatest, and the bar; and if it was met.
-spec texts(figure()) -> {string(), [iodata()], met | missed}.
texts({Name, Sense, Bar, Unit, {Min, Median, Max}}) ->
    {Name, [number(Min, Unit), number(Median, Unit), number(Max, Unit), [wanted(Sense), number(Bar, Unit)]], verdict(Sense, Median, Bar)}.

%% @doc A table of all bars that have figures.
-spec table([kv_bench:row()]) -> iodata().
table(Rows) ->
    case figures(Rows) of
        [] -> [];
        Figures -> ["| bar | least | median | greatest | wanted | |\n|---|--:|--:|--:|--:|---|\n", [line(texts(Figure)) || Figure <- Figures], "\n"]
    end.

line({Name, Texts, met}) -> line(Name, Texts, "met");
line({Name, Texts, missed}) -> line(Name, Texts, "**missed**").

line(Name, Texts, Verdict) ->
    ["| ", lists:join(" | ", [Name | Texts] ++ [Verdict]), " |\n"].

wanted(at_least) -> "at least ";
wanted(at_most) -> "at most ".

verdict(at_least, Figure, Bar) when Figure >= Bar -> met;
verdict(at_most, Figure, Bar) when Figure =< Bar -> met;
verdict(_, _, _) -> missed.

number(Value, Unit) when is_integer(Value), Value >= 1000; is_float(Value), Value >= 1000.0 ->
    [integer_to_list(round(Value)), Unit];
number(Value, Unit) ->
    [io_lib:format("~.2f", [Value * 1.0]), Unit].

-spec bars() -> [bar()].
bars() ->
    [call_bar("GenServer.call, get", kv_call, Callers, Bar) || {Callers, Bar} <- [{1, 1.2}, {64, 1.4}, {256, 1.4}]] ++
        [call_bar("KV.Bucket.get", kv_bucket, Callers, Bar) || {Callers, Bar} <- [{1, 2}, {64, 2.5}, {256, 2.5}]] ++
        [
            {"KV.Bucket.get against eredis GET, 256 callers", at_least, 1.5, " x",
                ratio(get_of(calls, get, 256, 10), kv_bucket, [eredis, eredis_pool])},
            {"processor time in the node for a KV.Bucket.get, 256 callers, against the map peer's", at_most, 1 / 6, " x",
                processor(kv_bucket)},
            {"processor time in the node for a GenServer.call, 256 callers, against the map peer's", at_most, 1 / 6, " x",
                processor(kv_call)},
            many_bar(get_many, [map], 2),
            many_bar(get_many, [eredis, eredis_pool], 20),
            many_bar(put_many, [map], 3),
            many_bar(put_many, [ets], 2),
            many_bar(put_many, [eredis, eredis_pool], 12),
            operation_bar(incr, 1, [ets], 2),
            operation_bar(incr, 64, [ets], 3),
            operation_bar(incr, 1, [eredis, eredis_pool], 1.5),
            operation_bar(incr, 64, [eredis, eredis_pool], 2),
            operation_bar(update, 64, [agent], 0.7),
            operation_bar(transaction, 1, [eredis, eredis_pool], 3),
            walk_bar(entries, [eredis, eredis_pool], 5),
            walk_bar(keys, [eredis, eredis_pool], 5),
            walk_bar(entries, [ets], 2),
            walk_bar(keys, [ets], 2),
            {"KV.Bucket.get of 1 MiB against a map peer, 1 caller", at_least, 1.2, " x",
                ratio(get_of(sizes, get, 1, 1024 * 1024), kv_bucket, map)},
            {"KV.Bucket.get of 1 MiB against a map peer, 16 callers", at_least, 1.2, " x",
                ratio(get_of(sizes, get, 16, 1024 * 1024), kv_bucket, map)},
            memory_bar("20-byte key, 32-byte value", binaries, 75),
            memory_bar("20-byte key, integer", integers, 50),
            {"longest stall of the loop: entries added, expired, dropped", at_most, 2000, " us",
                spread_of(#{part => pause, operation => stall, contender => kv_bucket, metric => longest_us})},
            {"the node alone, C client, 256 in flight, monitors around each call", at_least, 3000000, "/s",
                spread_of(#{part => node, operation => monitors, metric => rate})}
        ] ++ lists:append([reads_bars(Size, Title) || {Size, Title} <- [{small, "1000 entries"}, {large, "large table"}]]) ++
        [
            writes_bar("full speed, against none", writes, nobody),
            writes_bar("full speed, against as many that read ETS", writes, local_ets),
            writes_bar("10,000 reads/s each, against none", writes_at_modest, nobody),
            writes_bar("10,000 reads/s each, against as many that read ETS", writes_at_modest, local_ets)
        ] ++ [terms_bar(Bar) || Bar <- kv_bench_terms:bars()] ++ durable_bars() ++
        [tls_bar(get, Callers, 10) || Callers <- [1, 16, 64]] ++ [tls_bar(Operation, 1, 1024 * 1024) || Operation <- [get, put]].

tls_bar(Operation, Callers, Bytes) ->
    Pattern = #{part => tls, operation => Operation, callers => Callers, bytes => Bytes},
    {
        lists:concat([Operation, " over TLS of ", Bytes, " bytes against a map peer over TLS, callers: ", Callers]),
        at_least,
        2,
        " x",
        ratio(Pattern, kv_tls, map_tls)
    }.

terms_bar({Operation, Title, Other, Bar}) ->
    Pattern = #{part => terms, operation => Operation, metric => ns},
    {
        lists:concat(["local read of ", Title, case Other of local_ets -> " against ets:lookup"; _ -> "" end, ", time"]),
        at_most,
        Bar,
        " x",
        fun(Rows) -> kv_bench_figures:spread(kv_bench_figures:ratios(Rows, Pattern, kv_local, Other)) end
    }.

durable_bars() ->
    Always = [redis_always, redis_always_pool],
    [
        {":commit, 1 caller, beyond a raw sync and a volatile put", at_most, 60, " us",
            spread_of(#{part => durable, operation => beyond, metric => beyond_us})},
        durable_bar(":commit", kv_commit, put, 1, Always, 1.5),
        durable_bar(":commit", kv_commit, put, 1, [dets], 3),
        durable_bar(":commit", kv_commit, put, 1, [mnesia_sync], 3),
        durable_bar(":commit", kv_commit, put, 16, Always, 3),
        durable_bar(":commit", kv_commit, put, 64, Always, 3),
        durable_bar(":commit", kv_commit, put, 256, Always, 2),
        durable_bar(":commit", kv_commit, put, 256, [kv_volatile], 0.7),
        durable_bar(":commit, put_many of 1000", kv_commit, put_many, 16, [kv_volatile], 0.6)
    ] ++
        [durable_bar(":interval", kv_interval, put, Callers, [kv_volatile], 0.9) || Callers <- [16, 64, 256]] ++
        [
            durable_bar(":interval", kv_interval, put, 64, [redis_everysec, redis_everysec_pool], 1.5),
            {"a volatile bucket beside a busy durable one, against beside an equally busy volatile one", at_least, 0.95, " x",
                ratio(#{part => durable, operation => beside}, kv_commit, kv_volatile)},
            {"bytes written for each byte put, 100 puts a commit", at_most, 2.5, " B/B",
                spread_of(#{part => durable, operation => written, metric => bytes_per_byte})},
            {"longest turn while a checkpoint is written, against the control", at_most, 1.5, " x",
                fun(Rows) ->
                    kv_bench_figures:spread(
                        kv_bench_figures:ratios(Rows, #{part => durable, operation => checkpoint, metric => longest_us}, kv_commit, control)
                    )
                end},
            recovery_bar(redis_rdb, 2),
            recovery_bar(redis_aof, 10),
            recovery_bar(mnesia, 4),
            recovery_bar(dets, 40),
            {"plain get, the node alone, against the program of before", at_least, 0.98, " x",
                ratio(#{part => durable, operation => plain_get}, kv_volatile, kv_before)}
        ].

durable_bar(Title, Contender, Operation, Callers, [Other | _] = Others, Bar) ->
    {
        lists:concat([Title, ", ", Callers, " callers, against ", kv_bench_contender:title(Other)]),
        at_least,
        Bar,
        " x",
        ratio(#{part => durable, operation => Operation, callers => Callers}, Contender, Others)
    }.

recovery_bar(Other, Bar) ->
    {
        "start with a million entries, against " ++ kv_bench_contender:title(Other),
        at_least,
        Bar,
        " x",
        ratio(#{part => durable, operation => recovery}, kv_commit, Other)
    }.

reads_bars(Size, Title) ->
    Bar = fun(What, Operation, Sense, Wanted) ->
        {lists:concat(["local ", What, " against ets:lookup, ", Title]), Sense, Wanted, " x", reads_ratio(Size, Operation)}
    end,
    [
        Bar("get, 20-byte key, 32-byte value, time", get, at_most, 0.8),
        Bar("get while the node writes to the bucket at full speed, time", get_written, at_most, 1.5),
        Bar("lookup in the registry, time", lookup, at_most, 1),
        Bar("get_many of 1000, keys a second", get_many, at_least, 1)
    ].

%% Ratios of times; of get_many, the ratio of keys in the same time.
reads_ratio(Size, Operation) ->
    {Ours, Theirs} = case Operation of
        get_many -> {local_ets, kv_local};
        _ -> {kv_local, local_ets}
    end,
    Pattern = #{part => reads, operation => list_to_atom(lists:concat([Size, "_", Operation])), callers => 1, metric => ns},
    fun(Rows) -> kv_bench_figures:spread(kv_bench_figures:ratios(Rows, Pattern, Ours, Theirs)) end.

writes_bar(What, Operation, Other) ->
    {
        "writes while 4 VMs read locally, " ++ What,
        at_least,
        0.9,
        " x",
        ratio(#{part => reads, operation => Operation, callers => 4}, kv_local, Other)
    }.

call_bar(Title, Contender, Callers, Bar) ->
    {
        lists:concat([Title, " against a map peer, ", Callers, " callers"]),
        at_least,
        Bar,
        " x",
        ratio(get_of(calls, get, Callers, 10), Contender, map)
    }.

many_bar(Operation, [Other | _] = Others, Bar) ->
    {
        lists:concat([Operation, " of 1000 against ", kv_bench_contender:title(Other)]),
        at_least,
        Bar,
        " x",
        ratio(get_of(many, Operation, 1, 10), kv_bucket, Others)
    }.

operation_bar(Operation, Callers, [Other | _] = Others, Bar) ->
    {
        lists:concat([Operation, " against ", kv_bench_contender:title(Other), ", ", Callers, " callers"]),
        at_least,
        Bar,
        " x",
        ratio(get_of(operations, Operation, Callers, 10), kv_bucket, Others)
    }.

walk_bar(What, [Other | _] = Others, Bar) ->
    {
        lists:concat(["walk over the ", What, " of a large table against ", kv_bench_contender:title(Other)]),
        at_least,
        Bar,
        " x",
        ratio(#{part => walk, operation => What}, kv_bucket, Others)
    }.

memory_bar(What, Operation, Bar) ->
    {"resident bytes for an entry: " ++ What, at_most, Bar, " B",
        spread_of(#{part => memory, operation => Operation, contender => kv_bucket, metric => bytes_per_entry})}.

get_of(Part, Operation, Callers, Bytes) ->
    #{part => Part, operation => Operation, callers => Callers, bytes => Bytes}.

ratio(Pattern, Contender, Others) ->
    fun(Rows) -> kv_bench_figures:per_second_ratio(Rows, Pattern, {Contender, Others}) end.

processor(Contender) ->
    Pattern = (get_of(calls, get, 256, 10))#{metric => server_ns},
    fun(Rows) -> kv_bench_figures:spread(kv_bench_figures:ratios(Rows, Pattern, Contender, map)) end.

spread_of(Pattern) ->
    fun(Rows) -> kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern)) end.
