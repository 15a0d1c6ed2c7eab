%% @doc Transactions: {@link kv_bucket:transaction/2}. Makes the requests from the operations of the user.
%% @private
-module(kv_transaction).

-export([run/4, requests/4]).

%% The program takes no more.
-define(OPERATIONS_MAX, 1000).

%% @doc Sends the operations and waits for the answer. Absent is the default of `get' and `delete'.
-spec run(kv_misuse:call(), gen_server:server_ref(), [tuple()], term()) -> {ok, [term()]} | {error, term()}.
run(Call, Bucket, Operations, Absent) ->
    ok = kv_call_options:server(Call),
    #{timeout := Timeout} = kv_call_options:options(Call, []),
    case kv_request:call(Bucket, transaction, [requests(Call, 2, Operations, Absent)], Timeout) of
        {error, {Index, {bad_request, Request}}} when is_integer(Index) ->
            wrong({Call, 2, Index}, ["the node of the bucket cannot do ", kv_options:shown(Request)]);
        Answer ->
            Answer
    end.

%% @doc Returns the requests for operations, which are the argument of Call at Place. Raises `badarg' if one of them is wrong.
-spec requests(kv_misuse:call(), pos_integer(), [tuple()], term()) -> [tuple()].
requests(Call, Place, Operations, Absent) ->
    case count(Operations) of
        improper ->
            kv_misuse:raise(Call, Place, kv_options:wrong("the transaction", "a proper list of operations", Operations));
        Count when Count > ?OPERATIONS_MAX ->
            Text = ["a transaction has at most ", integer_to_list(?OPERATIONS_MAX), " operations; this one has ", integer_to_list(Count)],
            kv_misuse:raise(Call, Place, Text);
        Count ->
            lists:zipwith(fun(Operation, Index) -> request(Operation, Absent, {Call, Place, Index}) end, Operations, lists:seq(0, Count - 1))
    end.

count(Operations) ->
    try
        length(Operations)
    catch
        error:badarg -> improper
    end.

%% The usual ones, which have no options.
request({put, _Key, _Value} = Put, _Absent, _Where) -> Put;
request({get, Key}, Absent, _Where) -> {get, Key, Absent};
request({delete, Key}, Absent, _Where) -> {delete, Key, Absent};
request({check, _Key, _Value} = Check, _Absent, _Where) -> Check;
request(Operation, Absent, Where) when is_tuple(Operation), tuple_size(Operation) > 0 ->
    [Function | Arguments] = tuple_to_list(Operation),
    request(function(Function), Arguments, Absent, Where);
request(Other, _Absent, Where) ->
    wrong(Where, kv_options:wrong("an operation", "a tuple such as {put, Key, Value}", Other)).

%% Checks the arguments as async/3 does.
request(Function, Arguments, Absent, {{_, _, [Bucket | _]}, _, _} = Where) ->
    try kv_call_options:sent({kv_bucket, transaction, [Bucket, Function, Arguments]}, Absent) of
        Sent -> kv_request:message(Function, Sent)
    catch
        error:badarg:Stack -> wrong(Where, sentence(Stack))
    end.

%% The name in Elixir.
function('has_key?') -> has_key;
function(Function) -> Function.

sentence(Stack) ->
    lists:join("; ", maps:values(kv_misuse:format_error(badarg, Stack))).

-spec wrong({kv_misuse:call(), pos_integer(), non_neg_integer()}, iodata()) -> no_return().
wrong({Call, Place, Index}, Text) ->
    kv_misuse:raise(Call, Place, ["operation ", integer_to_list(Index), ", counted from 0: ", Text]).
