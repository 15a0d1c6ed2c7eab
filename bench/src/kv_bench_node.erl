%% @doc The node alone: the client is the C program node_alone, which costs so little that the node is the limit.
-module(kv_bench_node).

-export([run/1]).

-include("kv_bench.hrl").

-define(DEPTH, 256).
-define(SMALL, 10).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{rounds := Rounds, ms := Ms}) ->
    io:format("~nnode: ~b calls in flight from a C client~n", [?DEPTH]),
    Program = filename:join(code:priv_dir(kv), "kv_node"),
    Arguments = ["--depth", integer_to_list(?DEPTH), "--rounds", integer_to_list(Rounds), "--value-bytes", integer_to_list(?SMALL),
        "--seconds", io_lib:format("~.3f", [Ms / 1000])],
    lists:append([
        lines(Operation, kv_bench_os:run("node_alone", Arguments ++ Options ++ [Program]))
     || {Operation, Options} <- [{monitors, []}, {no_monitors, ["--no-monitors"]}, {kv_calls, ["--kv-calls"]}]
    ]).

lines(Operation, Lines) ->
    lists:append([rows(Operation, Line) || Line <- Lines]).

rows(Operation, Line) ->
    io:format("  ~ts: ~ts~n", [Operation, Line]),
    Figures = [list_to_tuple(string:split(Pair, "=")) || Pair <- string:lexemes(Line, " ")],
    Round = list_to_integer(proplists:get_value("round", Figures)),
    [
        #row{
            part = node,
            operation = Operation,
            callers = ?DEPTH,
            bytes = ?SMALL,
            contender = kv_call,
            round = Round,
            metric = Metric,
            value = list_to_integer(proplists:get_value(Name, Figures))
        }
     || {Metric, Name} <- [
            {rate, "calls_per_second"},
            {server_ns, "node_ns_per_call"},
            {client_ns, "client_ns_per_call"},
            {p50, "p50_us"},
            {p99, "p99_us"}
        ]
    ].
