%% @doc Durable buckets: puts by number of callers, beside the disk alone and beside other stores with a disk.
%%
%% Each round measures every contender of a cell once, so that ratios can be taken within it. kv_bench_recovery has starts and
%% bytes, which take a store of their own.
-module(kv_bench_durable).

-export([run/1, absent/0]).

-include("kv_bench.hrl").

-define(KEY_BYTES, 20).
-define(VALUE_BYTES, 100).
-define(NODE, kv_bench_durable_node).
-define(CALLERS, [1, 16, 64, 256]).
-define(MANY_CALLERS, 16).
%% Of the rate that a durable bucket reaches: at more, no caller would ever be ahead of its pace, and wait.
-define(PACE, 0.8).
%% Of a round; many contenders take part.
-define(MS_MAX, 600).
-define(ROUNDS_MAX, 3).
-define(ABSENT, {?MODULE, absent}).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{rounds := Rounds, ms := Ms} = Settings) ->
    _ = persistent_term:put(?ABSENT, []),
    Short = Settings#{rounds := min(Rounds, ?ROUNDS_MAX), ms := min(Ms, ?MS_MAX)},
    Rows = puts(Short),
    Rows ++ kv_bench_recovery:run(Short) ++ before(Short) ++ turns(Short).

%% @doc Sentences about figures that could not be taken in this run.
-spec absent() -> [string()].
absent() ->
    lists:reverse(persistent_term:get(?ABSENT, [])).

absent(Text) ->
    io:format("durable: ~ts~n", [Text]),
    persistent_term:put(?ABSENT, [Text | persistent_term:get(?ABSENT)]).

%%% Puts

puts(Settings) ->
    Folders = [kv_bench_stores:folder("puts") || _ <- lists:seq(1, 10)],
    {Node, OsPid} = kv_bench_stores:node(?NODE, hd(Folders)),
    Kv = kv(OsPid),
    Others = others(tl(Folders)),
    ok = kv_bench_load:prepare(?VALUE_BYTES),
    _ = [ok = kv_bench_contender:fill(Contender, some_keys(Contender), kv_bench_load:value()) || Contender <- Kv ++ Others],
    Rows = [cell(Callers, Kv ++ Others, Settings) || Callers <- ?CALLERS] ++ [many(Kv, Settings), beside(OsPid, Kv, Settings)],
    _ = [ok = kv_bench_contender:stop(Contender) || Contender <- Kv ++ Others],
    ok = gen_server:stop(Node),
    _ = [ok = file:del_dir_r(Folder) || Folder <- Folders],
    lists:append(Rows).

kv(OsPid) ->
    Buckets = [kv_bench_stores:bucket(Name, ?NODE, OsPid) || Name <- [kv_volatile, kv_commit, kv_interval]],
    _ = lists:last(Buckets) =:= false andalso absent("rows of durable: :interval are left out, since this kv does not have it"),
    [Bucket || Bucket <- Buckets, Bucket =/= false].

others([Mnesia, Bitcask, Synced | Folders]) ->
    Names = [redis_always, redis_always_pool, redis_everysec, redis_everysec_pool, dets],
    Started = [kv_bench_stores:start(Name, Folder) || {Name, Folder} <- lists:zip(Names, lists:sublist(Folders, length(Names)))],
    Started ++ kv_bench_stores:mnesia(Mnesia) ++ bitcask(Bitcask, Synced).

bitcask(Folder, Synced) ->
    case code:ensure_loaded(bitcask) of
        {module, bitcask} ->
            [kv_bench_stores:start(bitcask, Folder), kv_bench_stores:start(bitcask_sync, Synced)];
        {error, _} ->
            absent("rows of Bitcask are left out, since the package erlang-bitcask is not installed"),
            []
    end.

%% Stores that sync each put alone get few of the keys: to fill them takes long. A get of another key is no part of this.
some_keys(#{name := Name}) ->
    Keys = kv_bench_load:keys(?VALUE_BYTES),
    case lists:member(Name, [dets, mnesia_sync, bitcask_sync]) of
        true -> lists:sublist(Keys, 10);
        false -> Keys
    end.

%% The same for any number of callers that share a sync for each: one number says all.
takes_part(Name, Callers) when Name =:= dets; Name =:= bitcask; Name =:= bitcask_sync -> Callers =:= 1;
takes_part(mnesia_sync, Callers) -> Callers =< 16;
takes_part(_, _) -> true.

cell(Callers, Contenders, #{rounds := Rounds, ms := Ms}) ->
    io:format("~ndurable: put, ~b callers, keys of ~b bytes, values of ~b~n", [Callers, ?KEY_BYTES, ?VALUE_BYTES]),
    Able = [Contender || #{name := Name} = Contender <- Contenders, takes_part(Name, Callers)],
    Row = #row{part = durable, operation = put, callers = Callers, bytes = ?VALUE_BYTES},
    lists:append([round_of(Row#row{round = Round}, Able, Ms) || Round <- lists:seq(1, Rounds)]).

round_of(#row{round = Round, callers = Callers} = Row, Contenders, Ms) ->
    {Front, Back} = lists:split(Round rem length(Contenders), Contenders),
    Rows = raw(Row, Ms) ++ lists:append([load(Row, put, Contender, Ms) || Contender <- Back ++ Front]) ++ sqlite(Row, Ms),
    Rows ++ beyond(Callers, Row, Rows).

load(#row{callers = Callers, round = Round} = Row, Operation, #{name := Name} = Contender, Ms) ->
    #{rate := Rate, p50 := P50, p99 := P99} = Figures = kv_bench_load:run(Contender, Operation, Callers, Ms),
    io:format("  ~b ~-28ts ~10b/s  p50 ~p us, p99 ~p us~n", [Round, kv_bench_contender:title(Name), round(Rate), P50, P99]),
    [Row#row{contender = Name, metric = Metric, value = Value} || {Metric, Value} <- maps:to_list(Figures), Value =/= undefined].

%% The disk without a store: a block in a file written ahead, with O_DIRECT and O_DSYNC.
raw(#row{callers = 1, round = Round} = Row, Ms) ->
    Parent = os:getenv("DURABLE_DIR", "/var/tmp"),
    Lines = kv_bench_os:run("disk_alone", [Parent, integer_to_list(Ms), "4096"]),
    [{Rate, P50, P99}] = [Figures || Line <- Lines, Figures <- bare(Line)],
    io:format("  ~b ~-28ts ~10b/s  p50 ~p us, p99 ~p us~n", [Round, kv_bench_contender:title(raw), Rate, P50, P99]),
    [Row#row{contender = raw, metric = Metric, value = Value} || {Metric, Value} <- [{rate, Rate}, {p50, P50}, {p99, P99}]];
raw(_Row, _Ms) ->
    [].

bare(Line) ->
    case re:run(Line, " bare +([0-9]+) commits/s +p50 +([0-9.]+) ms +p99 +([0-9.]+) ms", [{capture, all_but_first, list}]) of
        {match, [Rate, P50, P99]} -> [{list_to_integer(Rate), us(P50), us(P99)}];
        nomatch -> []
    end.

us(Ms) ->
    round(1000 * list_to_float(Ms)).

%% One writer; as many puts in each transaction as there are callers.
sqlite(#row{callers = Puts, round = Round} = Row, Ms) ->
    Folder = kv_bench_stores:folder("sqlite"),
    [Line] = kv_bench_os:run("sqlite_wal", [Folder, io_lib:format("~.3f", [Ms / 1000]), integer_to_list(Puts)]),
    ok = file:del_dir_r(Folder),
    {match, [Rate]} = re:run(Line, "puts_per_second=([0-9]+)", [{capture, all_but_first, list}]),
    io:format("  ~b ~-28ts ~10ts/s~n", [Round, kv_bench_contender:title(sqlite), Rate]),
    [Row#row{contender = sqlite, metric = rate, value = list_to_integer(Rate)}].

%% The time of a commit beyond the sync of the disk and the put of a volatile bucket: of medians within a round.
beyond(1, Row, Rows) ->
    P50 = fun(Name) -> hd(kv_bench_figures:values(Rows, #{contender => Name, metric => p50})) end,
    Us = P50(kv_commit) - P50(raw) - P50(kv_volatile),
    io:format("  ~b a commit takes ~p us beyond the disk and a volatile put~n", [Row#row.round, Us]),
    [Row#row{operation = beyond, contender = kv_commit, metric = beyond_us, value = Us}];
beyond(_Callers, _Row, _Rows) ->
    [].

%%% Many at once

many(Kv, #{rounds := Rounds, ms := Ms}) ->
    io:format("~ndurable: put_many of 1000, ~b callers~n", [?MANY_CALLERS]),
    Row = #row{part = durable, operation = put_many, callers = ?MANY_CALLERS, bytes = ?VALUE_BYTES},
    lists:append([load(Row#row{round = Round}, put_many, Contender, Ms) || Round <- lists:seq(1, Rounds), Contender <- Kv]).

%%% A volatile bucket beside a busy one

%% Others put into a durable bucket as fast as they can (beside_full). Then others put into the durable bucket and into a volatile
%% one at four fifths of that rate, with the same waits between the puts (beside).
beside(OsPid, Kv, #{rounds := Rounds, ms := Ms}) ->
    io:format("~ndurable: a volatile bucket beside a busy one~n", []),
    Watched = kv_bench_stores:bucket(kv_beside, ?NODE, OsPid),
    ok = kv_bench_contender:fill(Watched, kv_bench_load:keys(?VALUE_BYTES), kv_bench_load:value()),
    [Volatile, Commit | _] = Kv,
    Rows = [beside(Round, Watched, Commit, Volatile, Ms) || Round <- lists:seq(1, Rounds)],
    ok = kv_bench_contender:stop(Watched),
    lists:append(Rows).

beside(Round, Watched, Commit, Volatile, Ms) ->
    Row = #row{part = durable, operation = beside, callers = ?MANY_CALLERS, bytes = ?VALUE_BYTES, round = Round},
    {Rate, Full} = beside_one(Row#row{operation = beside_full}, Watched, Commit, Ms, none),
    Paced = [element(2, beside_one(Row, Watched, Busy, Ms, Rate * ?PACE)) || Busy <- [Commit, Volatile]],
    lists:append([Full | Paced]).

beside_one(Row, Watched, #{name := Name} = Busy, Ms, Pace) ->
    Work = kv_bench_pace:start(Busy, ?MANY_CALLERS, Pace),
    Figures = kv_bench_load:run(Watched, mixed, ?MANY_CALLERS, Ms),
    Rate = kv_bench_pace:stop(Work),
    #{rate := Calls} = Figures,
    io:format("  ~b beside ~-21ts ~10b/s, which takes ~b puts/s~n", [Row#row.round, kv_bench_contender:title(Name), round(Calls), round(Rate)]),
    {Rate, [
        Row#row{contender = Name, metric = Metric, value = Value}
     || {Metric, Value} <- maps:to_list(Figures#{beside_rate => Rate}), Value =/= undefined
    ]}.

%%% Gets, against a program of before

before(#{rounds := Rounds, ms := Ms}) ->
    case os:getenv("BEFORE", "") of
        "" ->
            absent("plain get against before is left out: BEFORE=FILE names a kv_node without durable buckets"),
            [];
        Before ->
            Now = filename:join(code:priv_dir(kv), "kv_node"),
            lists:append([gets(Round, Name, Program, Ms) || Round <- lists:seq(1, 2 * Rounds), {Name, Program} <- [{kv_volatile, Now}, {kv_before, Before}]])
    end.

gets(Round, Name, Program, Ms) ->
    Seconds = io_lib:format("~.3f", [Ms / 1000]),
    [Line] = kv_bench_os:run("node_alone", ["--kv-calls", "--depth", "64", "--rounds", "1", "--value-bytes", "10", "--seconds", Seconds, Program]),
    io:format("  ~ts: ~ts~n", [kv_bench_contender:title(Name), Line]),
    [
        #row{part = durable, operation = plain_get, callers = 64, bytes = 10, contender = Name, round = Round, metric = Metric, value = figure(Line, Figure)}
     || {Metric, Figure} <- [{rate, "calls_per_second"}, {server_ns, "node_ns_per_call"}]
    ].

figure(Line, Name) ->
    {match, [Number]} = re:run(Line, "\\b" ++ Name ++ "=([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Number).

%%% Turns while a checkpoint is written

turns(Settings) ->
    case kv_bench_turns:run(Settings) of
        none ->
            absent("the longest turn during a checkpoint is left out, since none was written in time"),
            [];
        Rows ->
            Rows
    end.
