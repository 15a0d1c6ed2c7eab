%% @doc The benchmark: compares kv with other stores that a BEAM can use, on this machine, on loopback.
%%
%% bench/README.md explains each number. This VM is the caller; every contender runs in a process of its own.
-module(kv_bench).

-export([main/0]).

-export_type([part/0, settings/0, row/0]).

-include("kv_bench.hrl").

-type part() :: node | calls | sizes | many | operations | walk | memory | pause | reads | terms | lane | durable | tls.
-type row() :: #row{}.
-type settings() :: #{
    rounds := pos_integer(),
    %% Duration of one measurement.
    ms := pos_integer(),
    callers := [pos_integer()],
    operations := [kv_bench_load:operation()],
    sizes := [pos_integer()],
    %% Entries of the table whose memory is measured, and of the table that grows while a caller waits.
    entries := pos_integer(),
    growth := pos_integer(),
    contenders := [kv_bench_contender:name()],
    quick := boolean()
}.

%% @doc Runs the parts that the environment names in ONLY (default: all), shorter with QUICK, and writes to the directory OUT.
-spec main() -> no_return().
main() ->
    case os:getenv("PAGE", "") of
        "" -> measure();
        Out -> ok = kv_bench_report:page(Out)
    end,
    halt(0).

measure() ->
    Settings = settings(),
    Out = os:getenv("OUT", "bench/results/unnamed"),
    Rows = lists:append([run(Part, Settings) || Part <- parts()]),
    ok = filelib:ensure_dir(filename:join(Out, "file")),
    kv_bench_report:write(Out, Rows, Settings).

settings() ->
    Quick = os:getenv("QUICK", "") =/= "",
    Default = defaults(Quick),
    #{
        rounds => number("ROUNDS", maps:get(rounds, Default)),
        ms => number("MS", maps:get(ms, Default)),
        callers => numbers("CALLERS", maps:get(callers, Default)),
        sizes => numbers("SIZES", maps:get(sizes, Default)),
        entries => number("ENTRIES", maps:get(entries, Default)),
        growth => number("GROWTH", maps:get(growth, Default)),
        operations => chosen("OPERATIONS", [get, put, mixed, get_many, put_many, pipelined, incr, update, transaction]),
        contenders => chosen("CONTENDERS", kv_bench_contender:names()),
        quick => Quick
    }.

defaults(true) ->
    #{rounds => 3, ms => 200, callers => [1, 64, 256], sizes => [10, 1024 * 1024], entries => 100000, growth => 200000};
defaults(false) ->
    #{
        rounds => 5,
        ms => 1000,
        callers => [1, 4, 16, 64, 256],
        sizes => [10, 1024, 64 * 1024, 1024 * 1024],
        entries => 1000000,
        growth => 10000000
    }.

number(Variable, Default) ->
    list_to_integer(os:getenv(Variable, integer_to_list(Default))).

numbers(Variable, Default) ->
    case string:lexemes(os:getenv(Variable, ""), ", ") of
        [] -> Default;
        Texts -> [list_to_integer(Text) || Text <- Texts]
    end.

parts() ->
    chosen("ONLY", [node, calls, sizes, many, operations, walk, memory, pause, reads, terms, lane, durable, tls]).

%% The environment may name some of these, separated by commas.
chosen(Variable, All) ->
    Names = [list_to_atom(Name) || Name <- string:lexemes(os:getenv(Variable, ""), ", ")],
    case {Names, Names -- All} of
        {[], []} ->
            All;
        {_, []} ->
            [Name || Name <- All, lists:member(Name, Names)];
        {_, Unknown} ->
            io:format(standard_error, "~ts: there is no ~0p; there are ~0p~n", [Variable, Unknown, All]),
            halt(64)
    end.

-spec run(part(), settings()) -> [row()].
run(node, Settings) -> kv_bench_node:run(Settings);
run(calls, Settings) -> kv_bench_calls:run(calls, Settings);
run(sizes, Settings) -> kv_bench_calls:run(sizes, Settings);
run(many, Settings) -> kv_bench_calls:run(many, Settings);
run(operations, Settings) -> kv_bench_calls:run(operations, Settings);
run(walk, Settings) -> kv_bench_walk:run(Settings);
run(memory, Settings) -> kv_bench_memory:run(Settings);
run(pause, Settings) -> kv_bench_pause:run(Settings);
run(reads, Settings) -> kv_bench_reads:run(Settings);
run(terms, Settings) -> kv_bench_terms:run(Settings);
run(lane, Settings) -> kv_bench_lane:run(Settings);
run(durable, Settings) -> kv_bench_durable:run(Settings);
run(tls, Settings) -> kv_bench_tls:run(Settings).
