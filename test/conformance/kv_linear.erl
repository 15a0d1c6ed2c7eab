%% @doc Checks whether a history of reads and writes of one register is linearizable, that is, possible in some order
%% that agrees with the times: Wing and Gong, "Testing and Verifying Concurrent Objects", 1993, with memoization
%% (Lowe, 2017).
%%
%% An operation is {Begin, End, write | read, Value}: it took effect at one instant between its times. The register
%% holds `absent' at first. {Begin, End, {call, Fun}, Answer} is an operation that reads and writes: Fun returns the answer and
%% the next value for a value. {Begin, End, {maybe, Fun}, _} has no answer, because of a crash by End: it took effect at one
%% instant between its times, or not at all.
-module(kv_linear).

-export([check/1]).

-type operation() :: {integer(), integer(), read | write | {call | 'maybe', fun((term()) -> {term(), term()})}, term()}.

%% The work is limited by the number of sets of operations that can come before others. That number is small if few
%% processes are at work at once.
-spec check([operation()]) -> boolean().
check(History) ->
    Numbered = lists:zip(lists:seq(1, length(History)), lists:sort(History)),
    {Possible, _Tried} = possible(Numbered, absent, #{}),
    Possible.

possible(Left, Value, Tried) ->
    State = {[N || {N, _} <- Left], Value},
    case {[End || {_, {_, End, _, _} = Operation} <- Left, must(Operation)], Tried} of
        {[], _} ->
            {true, Tried};
        {_, #{State := _}} ->
            {false, Tried};
        {Ends, #{}} ->
            Soonest = lists:min(Ends),
            First = [Operation || {_, {Begin, _, _, _}} = Operation <- Left, Begin =< Soonest],
            try_each(First, Left, Value, Tried#{State => tried})
    end.

try_each([], _Left, _Value, Tried) ->
    {false, Tried};
try_each([{_, {_, _, read, Seen}} | First], Left, Value, Tried) when Seen =/= Value ->
    try_each(First, Left, Value, Tried);
try_each([{_, {_, _, {call, Fun}, Answer}} = Operation | First], Left, Value, Tried) ->
    case Fun(Value) of
        {Answer, Next} -> try_one(Operation, Next, First, Left, Value, Tried);
        _Other -> try_each(First, Left, Value, Tried)
    end;
try_each([{_, {_, _, {'maybe', Fun}, _}} = Operation | First], Left, Value, Tried) ->
    {_Answer, Next} = Fun(Value),
    try_one(Operation, Next, First, Left, Value, Tried);
try_each([{_, {_, _, _, Next}} = Operation | First], Left, Value, Tried) ->
    try_one(Operation, Next, First, Left, Value, Tried).

try_one(Operation, Next, First, Left, Value, Tried0) ->
    case possible(after_operation(Operation, lists:delete(Operation, Left)), Next, Tried0) of
        {true, Tried} -> {true, Tried};
        {false, Tried} -> try_each(First, Left, Value, Tried)
    end.

must({_, _, {'maybe', _}, _}) -> false;
must(_Operation) -> true.

%% Nothing takes effect after its end.
after_operation({_, {Begin, _, _, _}}, Left) ->
    [Numbered || {_, {_, End, _, _} = Operation} = Numbered <- Left, must(Operation) orelse End >= Begin].
