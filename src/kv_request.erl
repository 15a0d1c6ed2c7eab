%% @doc Requests to buckets: which message each function of {@link kv_bucket} sends, and what it returns for the
%% answer. With or without waiting.
%% @private
-module(kv_request).

-include("kv_timeout.hrl").

-export([message/2, run/4, call/4, delete/4, async/4, cast/3, await/2, await_many/2, abandon/1, read/4]).

-export_type([t/0, name/0]).

%% A function of {@link kv_operations}.
-type name() :: atom().

%% How a reply becomes a result. `write': as it is, errors included. `read': exits if the request was refused. `{read,
%% Again}': the reply may be any value, so what looks like an error may be a value. Again asks for the same in a list,
%% where the two differ.
-type answer() :: write | read | stats | {read, term()} | put_many | many | {take, [term()], reference()}.
%% The call, for the exit reason of a refused request.
-type failure() :: {module(), atom(), [term()]}.

-define(TIMEOUT, 5000).

-record(request, {
    owner :: pid(),
    bucket :: gen_server:server_ref(),
    call :: kv_call:id(),
    answer :: answer()
}).

-opaque t() :: #request{}.

%% @doc Returns the message for a request. The arguments are those of the message, as they stand in the tables of
%% operations of the program.
-spec message(name(), [term()]) -> term().
message(Function, Arguments) ->
    {Message, _Answer} = request(Function, Arguments),
    Message.

%% @doc Calls a function of {@link kv_operations}. Arguments are those of the user, without the bucket. The last one comes apart
%% from them: a timeout, or a list of options.
-spec run(gen_server:server_ref(), name(), [term()], timeout() | [{atom(), term()}]) -> term().
run(Bucket, Function, Arguments, Timeout) when ?IS_TIMEOUT(Timeout) ->
    call(Bucket, Function, Arguments, Timeout);
run(Bucket, Function, Arguments, Options) ->
    {_, _, Known, _, Kind, _} = kv_operations:row(Function),
    Call = {kv_bucket, Function, [Bucket | Arguments] ++ [Options]},
    {Last, Timeout} = kv_call_options:last(Kind, Call, Known),
    call(Bucket, Function, Arguments ++ Last, Timeout).

%% @doc Sends a request and waits for the answer. Arguments are those of the message.
-spec call(gen_server:server_ref(), name(), [term()], timeout()) -> term().
call(Bucket, Function, Arguments, Timeout) ->
    ok = check(Bucket, Function, Arguments),
    {Message, Answer} = request(Function, Arguments),
    case kv_limits:check(Bucket, Arguments) of
        ok -> answered(Answer, kv_telemetry:call(Bucket, Message, Timeout, Function), Bucket, Message, Timeout);
        Refused when Answer =:= write -> Refused;
        {error, Why} -> exit({Why, {gen_server, call, [Bucket, Message, Timeout]}})
    end.

%% Most answers are no pairs.
answered(write, Reply, _Bucket, _Message, _Timeout) when not is_tuple(Reply) ->
    Reply;
answered(Answer, Reply, Bucket, Message, Timeout) ->
    answer(Answer, Reply, Bucket, Timeout, {gen_server, call, [Bucket, Message, Timeout]}).

%% @doc Returns the reply to a request whose only tuples are errors. Exits if the request was refused.
-spec read(term(), gen_server:server_ref(), term(), timeout()) -> term().
read(Reply, Server, Message, Timeout) ->
    answer(read, Reply, Server, Timeout, {gen_server, call, [Server, Message, Timeout]}).

%% @doc See {@link kv_bucket:delete/3}. Absent is the answer if there is no value: each language has its own.
-spec delete(gen_server:server_ref(), term(), term(), timeout() | [kv_bucket:call_option()]) -> term().
delete(Bucket, Key, Absent, Timeout) when ?IS_TIMEOUT(Timeout) ->
    call(Bucket, delete, [Key, Absent], Timeout);
delete(Bucket, Key, Absent, Options) ->
    Timeout = kv_call_options:timeout({kv_bucket, delete, [Bucket, Key, Options]}, ?TIMEOUT),
    call(Bucket, delete, [Key, Absent], Timeout).

%% @doc Sends a request and does not wait. See {@link kv_bucket:async/3}. Absent is the default of `get', `get_many' and
%% `delete'.
-spec async(gen_server:server_ref(), name(), [term()], term()) -> t().
async(Bucket, transaction, [Operations | Options] = Arguments, Absent) ->
    Requests = kv_transaction:requests({kv_bucket, async, [Bucket, transaction, Arguments]}, 3, Operations, Absent),
    send(Bucket, transaction, [Requests | Options], Absent);
async(Bucket, Function, Arguments, Absent) ->
    send(Bucket, Function, Arguments, Absent).

send(Bucket, Function, Arguments, Absent) ->
    ok = check(Bucket, async, [Function, Arguments]),
    {Message, Answer} =
        case plain(Function, Arguments, Absent) of
            false -> request(Function, kv_call_options:sent({kv_bucket, async, [Bucket, Function, Arguments]}, Absent));
            Plain -> request(Function, Plain)
        end,
    Call = kv_call:send(Bucket, Message),
    ok = kv_local:sent(Bucket),
    #request{owner = self(), bucket = Bucket, call = Call, answer = Answer}.

%% @doc See {@link kv_bucket:cast/3}.
-spec cast(gen_server:server_ref(), name(), [term()]) -> ok.
cast(Bucket, put, [Key, Value]) when is_pid(Bucket) -> cast(Bucket, {put, Key, Value});
cast(Bucket, delete, [Key]) when is_pid(Bucket) -> cast(Bucket, {delete, Key});
cast(Bucket, put_many, [Entries]) when is_pid(Bucket) -> cast(Bucket, {put_many, pairs(Entries)});
cast(Bucket, Function, Arguments) ->
    ok = check(Bucket, cast, [Function, Arguments]),
    case kv_call_options:sent({kv_bucket, cast, [Bucket, Function, Arguments]}, nil) of
        [Key, nil] when Function =:= delete -> cast(Bucket, {delete, Key});
        Sent -> cast(Bucket, message(Function, Sent))
    end.

cast(Bucket, Message) ->
    ok = gen_server:cast(Bucket, Message),
    kv_local:sent(Bucket).

%% The arguments of a request, if they are the usual ones without options.
plain(get, [Key], Absent) -> [Key, Absent];
plain(put, [_, _] = Arguments, _Absent) -> Arguments;
plain(delete, [Key], Absent) -> [Key, Absent];
plain(get_many, [Keys], Absent) -> [Keys, Absent];
plain(put_many, [_] = Arguments, _Absent) -> Arguments;
plain(fetch, [_] = Arguments, _Absent) -> Arguments;
plain(_Function, _Arguments, _Absent) -> false.

%% @doc See {@link kv_bucket:await/2}.
-spec await(t(), timeout()) -> term().
await(#request{owner = Owner, bucket = Bucket, call = Call, answer = Answer} = Request, Timeout) when Owner =:= self() ->
    Exit = {kv_bucket, await, [Request, Timeout]},
    case kv_call:await(Call, Timeout) of
        {reply, Reply} -> answer(Answer, Reply, Bucket, Timeout, Exit);
        {error, answered} -> kv_misuse:raise(Exit, 1, "the request has been awaited, has timed out or was abandoned before");
        {error, Reason} -> exit({Reason, Exit})
    end;
await(#request{owner = Owner} = Request, Timeout) ->
    Text = ["only the process that sent the request, ", pid_to_list(Owner), ", can await it"],
    kv_misuse:raise({kv_bucket, await, [Request, Timeout]}, 1, Text);
await(Other, Timeout) ->
    kv_misuse:raise({kv_bucket, await, [Other, Timeout]}, 1, wanted_request(Other)).

wanted_request(Other) ->
    kv_options:wrong("the request", "a value that async/3 has returned", Other).

%% @doc See {@link kv_bucket:await_many/2}.
-spec await_many([t()], timeout()) -> [term()].
await_many(Requests, Timeout) ->
    case is_list(Requests) andalso lists:all(fun(Request) -> is_record(Request, request) end, proper(Requests)) of
        true ->
            await_many(Requests, kv_deadline:in(Timeout), []);
        false ->
            Text = kv_options:wrong("the list of requests", "a proper list of values that async/3 has returned", Requests),
            kv_misuse:raise({kv_bucket, await_many, [Requests, Timeout]}, 1, Text)
    end.

await_many([Request | Rest], Deadline, Answers) ->
    try await(Request, kv_deadline:remaining(Deadline)) of
        Answer -> await_many(Rest, Deadline, [Answer | Answers])
    catch
        Class:Reason:Stack ->
            ok = lists:foreach(fun abandon/1, Rest),
            erlang:raise(Class, Reason, Stack)
    end;
await_many([], _Deadline, Answers) ->
    lists:reverse(Answers).

%% @doc See {@link kv_bucket:abandon/1}.
-spec abandon(t()) -> ok.
abandon(#request{owner = Owner, call = Call}) when Owner =:= self() ->
    kv_call:abandon(Call);
abandon(#request{owner = Owner} = Request) ->
    Text = ["only the process that sent the request, ", pid_to_list(Owner), ", can abandon it"],
    kv_misuse:raise({kv_bucket, abandon, [Request]}, 1, Text);
abandon(Other) ->
    kv_misuse:raise({kv_bucket, abandon, [Other]}, 1, wanted_request(Other)).

check(Bucket, _Function, _Arguments) when is_pid(Bucket) -> ok;
check(Bucket, Function, Arguments) -> kv_call_options:server({kv_bucket, Function, [Bucket | Arguments]}).

%%% Requests and answers

-spec request(name(), [term()]) -> {term(), answer()}.
request(get, [Key, Default]) -> {{get, Key, Default}, {read, {get_many, [Key], Default}}};
request(fetch, [Key]) -> {{fetch, Key}, read};
request(has_key, [Key]) -> {{has_key, Key}, read};
request(put, [Key, Value]) -> {{put, Key, Value}, write};
request(put, [Key, Value, Ttl]) -> {{put, Key, Value, Ttl}, write};
request(incr, [Key, N]) -> {{incr, Key, N}, write};
request(delete, [Key, Default]) -> {{delete, Key, Default}, {read, {get_many, [Key], Default}}};
request(take, [Keys]) -> take(Keys, make_ref());
request(Function, []) -> {Function, kind(kv_operations:row(Function))};
request(Function, Arguments) ->
    Row = kv_operations:row(Function),
    {list_to_tuple([Function | listed(Row, Arguments)]), kind(Row)}.

kind({_, _, _, _, _, Answer}) -> Answer.

%% The program reads a list faster than a map, whose keys it would have to compare.
listed({_, ['Entries' | _], _, _, _, _}, [Entries | Rest]) -> [pairs(Entries) | Rest];
listed(_Row, Arguments) -> Arguments.

%% The reference stands for absent values: nobody can have put it.
take(Keys, Absent) -> {{get_many, Keys, Absent}, {take, Keys, Absent}}.

pairs(Entries) when is_map(Entries) -> maps:to_list(Entries);
pairs(Entries) -> Entries.

-define(IS_REFUSED(Kind),
    Kind =:= too_large; Kind =:= too_deep; Kind =:= too_much_pending; Kind =:= unsupported_term
).

-spec answer(answer(), term(), gen_server:server_ref(), timeout(), failure()) -> term().
%% A proxy of another node answers so if it has lost its native process.
answer({read, Again}, {error, {nodedown, _} = Why} = Reply, Bucket, Timeout, Exit) ->
    case kv_call:call(Bucket, Again, Timeout) of
        [Reply] -> Reply;
        _Lost -> exit({Why, Exit})
    end;
answer(_Answer, {error, {nodedown, _} = Why}, _Bucket, _Timeout, Exit) ->
    exit({Why, Exit});
%% Any other native process answers so.
answer(Answer, {error, {bad_request, _} = Why}, _Bucket, _Timeout, Exit) when not is_tuple(Answer); element(1, Answer) =/= read ->
    exit({Why, Exit});
answer(write, Reply, _Bucket, _Timeout, _Exit) ->
    Reply;
answer({read, Again}, {error, {Kind, _} = Why} = Reply, Bucket, Timeout, Exit) when ?IS_REFUSED(Kind); Kind =:= bad_request ->
    case kv_call:call(Bucket, Again, Timeout) of
        [Reply] -> Reply;
        [_] when Kind =/= too_much_pending -> Reply;
        _Refused -> exit({Why, Exit})
    end;
answer({read, _Again}, Reply, _Bucket, _Timeout, _Exit) ->
    Reply;
answer(put_many, {error, {Kind, _}} = Refused, _Bucket, _Timeout, _Exit) when ?IS_REFUSED(Kind) ->
    Refused;
answer(_Read, {error, {Kind, _} = Why}, _Bucket, _Timeout, Exit) when ?IS_REFUSED(Kind) ->
    exit({Why, Exit});
answer(read, Reply, _Bucket, _Timeout, _Exit) ->
    Reply;
answer(stats, Pairs, Bucket, _Timeout, _Exit) ->
    {Hits, Misses} = kv_local:reads(Bucket),
    (maps:from_list(Pairs))#{local_hits => Hits, local_misses => Misses};
answer(Many, {error, {Bad, Given}}, _Bucket, _Timeout, Exit) when Bad =:= bad_keys; Bad =:= bad_entries ->
    misused(Many, Bad, Given, Exit);
answer({take, Keys, Absent}, Values, _Bucket, _Timeout, _Exit) when is_list(Values) ->
    maps:from_list(present(Keys, Values, Absent));
answer(_Many, Reply, _Bucket, _Timeout, _Exit) ->
    Reply.

present([_ | Keys], [Absent | Values], Absent) -> present(Keys, Values, Absent);
present([Key | Keys], [Value | Values], Absent) -> [{Key, Value} | present(Keys, Values, Absent)];
present([], [], _Absent) -> [].

%% The node has looked through the list, so that the VM need not.
-spec misused(answer(), bad_keys | bad_entries, term(), failure()) -> no_return().
misused(_Many, Bad, Given, {kv_bucket, await, _} = Await) ->
    kv_misuse:raise(Await, 1, ["the answer to the request: " | wanted(Bad, Given)]);
misused({take, _, _}, Bad, Given, {gen_server, call, [Bucket | _]}) ->
    kv_misuse:raise({kv_bucket, take, [Bucket, Given]}, 2, wanted(Bad, Given));
misused(_Many, Bad, Given, {gen_server, call, [Bucket, Message | _]}) ->
    kv_misuse:raise({kv_bucket, element(1, Message), [Bucket, Given]}, 2, wanted(Bad, Given)).

wanted(bad_keys, Given) -> [kv_options:wrong("the list of keys", "a proper list", Given)];
wanted(bad_entries, Given) -> [kv_options:wrong("the collection of entries", "a map or a proper list of pairs", Given)].

%% Returns the elements of a list, or none that is a request if the list is improper.
proper(List) ->
    try length(List) of
        _ -> List
    catch
        error:badarg -> [improper]
    end.
