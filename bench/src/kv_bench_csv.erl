%% @doc results.csv: every figure of every round, a line each.
-module(kv_bench_csv).

-export([text/1, read/1]).

-include("kv_bench.hrl").

-define(HEAD, "part,operation,callers,value_bytes,contender,round,metric,value").

%% @doc The file of these rows.
-spec text([kv_bench:row()]) -> iodata().
text(Rows) ->
    [?HEAD, "\n" | [line(Row) || Row <- Rows]].

line(#row{part = Part, operation = Operation, callers = Callers, bytes = Bytes, contender = Name, round = Round} = Row) ->
    io_lib:format("~ts,~ts,~b,~b,~ts,~b,~ts,~ts\n", [
        Part, Operation, Callers, Bytes, Name, Round, Row#row.metric, kv_bench_figures:text(Row#row.value)
    ]).

%% @doc The rows of such a file. Fails if it is none.
-spec read(file:filename()) -> [kv_bench:row()].
read(File) ->
    {ok, Text} = file:read_file(File),
    [<<?HEAD>> | Lines] = binary:split(Text, <<"\n">>, [global, trim]),
    [row(binary:split(Line, <<",">>, [global])) || Line <- Lines].

row([Part, Operation, Callers, Bytes, Contender, Round, Metric, Value]) ->
    #row{
        part = binary_to_atom(Part),
        operation = binary_to_atom(Operation),
        callers = binary_to_integer(Callers),
        bytes = binary_to_integer(Bytes),
        contender = binary_to_atom(Contender),
        round = binary_to_integer(Round),
        metric = binary_to_atom(Metric),
        value = number(Value)
    }.

number(Text) ->
    case string:to_float(Text) of
        {error, no_float} -> binary_to_integer(Text);
        {Float, <<>>} -> Float
    end.
