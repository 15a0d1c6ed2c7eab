%% @doc Evaluates rows: least, median and greatest, and ratios of figures of the same round.
-module(kv_bench_figures).

-export([values/2, median/1, spread/1, ratios/4, per_second_ratio/3, cells/1, pattern/1, ratio/3, times/1, text/1]).

-export_type([pattern/0, spread/0]).

-include("kv_bench.hrl").

%% Fields of a row, and their required values.
-type pattern() :: #{
    part => atom(), operation => atom(), callers => pos_integer(), bytes => non_neg_integer(), contender => atom(), metric => atom()
}.
-type spread() :: {Min :: number(), Median :: number(), Max :: number()}.

-spec matching([kv_bench:row()], pattern()) -> [kv_bench:row()].
matching(Rows, Pattern) ->
    [Row || Row <- Rows, maps:fold(fun(Field, Value, True) -> True andalso field(Field, Row) =:= Value end, true, Pattern)].

field(part, Row) -> Row#row.part;
field(operation, Row) -> Row#row.operation;
field(callers, Row) -> Row#row.callers;
field(bytes, Row) -> Row#row.bytes;
field(contender, Row) -> Row#row.contender;
field(metric, Row) -> Row#row.metric.

%% @doc The values of the rows that match.
-spec values([kv_bench:row()], pattern()) -> [number()].
values(Rows, Pattern) ->
    [Row#row.value || Row <- matching(Rows, Pattern)].

-spec median([number(), ...]) -> number().
median(Values) ->
    Sorted = lists:sort(Values),
    Half = length(Sorted) div 2,
    case length(Sorted) rem 2 of
        1 -> lists:nth(Half + 1, Sorted);
        0 -> (lists:nth(Half, Sorted) + lists:nth(Half + 1, Sorted)) / 2
    end.

-spec spread([number()]) -> spread() | none.
spread([]) -> none;
spread(Values) -> {lists:min(Values), median(Values), lists:max(Values)}.

%% @doc For each round, the figure of one contender divided by the figure of another. Of several others, the one with the
%% greatest figure counts: figures are rates.
-spec ratios([kv_bench:row()], pattern(), atom(), atom() | [atom()]) -> [float()].
ratios(Rows, Pattern, Contender, Other) when is_atom(Other) ->
    ratios(Rows, Pattern, Contender, [Other]);
ratios(Rows, Pattern, Contender, Others) ->
    Ours = by_round(Rows, Pattern#{contender => Contender}),
    Theirs = [by_round(Rows, Pattern#{contender => Other}) || Other <- Others],
    [
        Value / lists:max(Best)
     || {Round, Value} <- maps:to_list(Ours),
        Best <- [[Figure || #{Round := Figure} <- Theirs, Figure > 0]],
        Best =/= []
    ].

by_round(Rows, Pattern) ->
    maps:from_list([{Row#row.round, Row#row.value} || Row <- matching(Rows, Pattern)]).

%% @doc The ratio of a contender's rate to the rates of others.
-spec per_second_ratio([kv_bench:row()], pattern(), {atom(), atom() | [atom()]}) -> spread() | none.
per_second_ratio(Rows, Pattern, {Contender, Others}) ->
    spread(ratios(Rows, Pattern#{metric => rate}, Contender, Others)).

%% @doc The cells that have figures, in the order in which they were measured.
-spec cells([kv_bench:row()]) -> [{atom(), atom(), pos_integer(), non_neg_integer()}].
cells(Rows) ->
    lists:foldl(
        fun(#row{part = Part, operation = Operation, callers = Callers, bytes = Bytes}, Seen) ->
            Cell = {Part, Operation, Callers, Bytes},
            case lists:member(Cell, Seen) of
                true -> Seen;
                false -> Seen ++ [Cell]
            end
        end,
        [],
        Rows
    ).

%% @doc The pattern of a cell.
-spec pattern({atom(), atom(), pos_integer(), non_neg_integer()}) -> pattern().
pattern({Part, Operation, Callers, Bytes}) ->
    #{part => Part, operation => Operation, callers => Callers, bytes => Bytes}.

%% @doc The text of the ratio of kv's rate to a contender's, in a cell; "" if there is none.
-spec ratio(pattern(), atom(), [kv_bench:row()]) -> iodata().
ratio(Pattern, Contender, Rows) ->
    times(per_second_ratio(Rows, Pattern, {ours(Pattern), Contender})).

%% @doc The median of ratios as text; "" if there are none.
-spec times(spread() | none) -> iodata().
times(none) -> "";
times({_, Median, _}) -> io_lib:format("~.2f x", [Median]).

ours(#{part := durable, operation := plain_get}) -> kv_volatile;
ours(#{part := durable}) -> kv_commit;
ours(#{part := reads}) -> kv_local;
ours(#{part := tls}) -> kv_tls;
ours(_) -> kv_bucket.

%% @doc A figure as text.
-spec text(number()) -> iodata().
text(Value) when is_integer(Value) -> integer_to_list(Value);
text(Value) when Value >= 10000 -> integer_to_list(round(Value));
text(Value) -> io_lib:format("~.1f", [Value]).
