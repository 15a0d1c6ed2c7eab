%% @doc Requests to buckets: which message each function of {@link kv_bucket} sends, and what it returns for the
%% answer. With or without waiting.
%% @private
-module(kv_request).

-export([message/2, call/4, send/3, await/2, await_many/2, abandon/1, read/4]).

-export_type([t/0, name/0]).

-type name() ::
    get
    | fetch
    | has_key
    | put
    | put_new
    | delete
    | clear
    | size
    | keys
    | to_map
    | get_many
    | take
    | put_many
    | delete_many.

%% How a reply becomes a result. `write': as it is, errors included. `read': exits if the request was refused. `{read,
%% Again}': the reply may be any value, so what looks like an error may be a value. Again asks for the same in a list,
%% where the two differ.
-type answer() :: write | read | {read, term()} | put_many | many | {take, [term()], reference()}.
%% The call, for the exit reason of a refused request.
-type failure() :: {module(), atom(), [term()]}.

-record(request, {
    owner :: pid(),
    bucket :: gen_server:server_ref(),
    call :: kv_call:id(),
    answer :: answer()
}).

-opaque t() :: #request{}.

%% @doc Returns the message for a request. Raises `badarg' if there is no such function, or not with so many
%% arguments.
-spec message(name(), [term()]) -> term().
message(Function, Arguments) ->
    {Message, _Answer} = request(Function, Arguments),
    Message.

%% @doc Sends a request and waits for the answer.
-spec call(gen_server:server_ref(), name(), [term()], timeout()) -> term().
call(Bucket, Function, Arguments, Timeout) ->
    {Message, Answer} = request(Function, Arguments),
    Call = {gen_server, call, [Bucket, Message, Timeout]},
    case kv_limits:check(Bucket, Arguments) of
        ok -> answer(Answer, kv_call:call(Bucket, Message, Timeout), Bucket, Timeout, Call);
        Refused when Answer =:= write -> Refused;
        {error, Why} -> exit({Why, Call})
    end.

%% @doc Returns the reply to a request whose only tuples are errors. Exits if the request was refused.
-spec read(term(), gen_server:server_ref(), term(), timeout()) -> term().
read(Reply, Server, Message, Timeout) ->
    answer(read, Reply, Server, Timeout, {gen_server, call, [Server, Message, Timeout]}).

%% @doc Sends a request and does not wait. See {@link kv_bucket:async/3}.
-spec send(gen_server:server_ref(), name(), [term()]) -> t().
send(Bucket, Function, Arguments) ->
    {Message, Answer} = request(Function, Arguments),
    #request{owner = self(), bucket = Bucket, call = kv_call:send(Bucket, Message), answer = Answer}.

%% @doc See {@link kv_bucket:await/2}.
-spec await(t(), timeout()) -> term().
await(#request{owner = Owner, bucket = Bucket, call = Call, answer = Answer} = Request, Timeout) when Owner =:= self() ->
    Exit = {kv_bucket, await, [Request, Timeout]},
    case kv_call:await(Call, Timeout) of
        {reply, Reply} -> answer(Answer, Reply, Bucket, Timeout, Exit);
        {error, Reason} -> exit({Reason, Exit})
    end;
await(Request, Timeout) ->
    error(badarg, [Request, Timeout]).

%% @doc See {@link kv_bucket:await_many/2}.
-spec await_many([t()], timeout()) -> [term()].
await_many(Requests, Timeout) ->
    await_many(Requests, kv_deadline:in(Timeout), []).

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
abandon(Request) ->
    error(badarg, [Request]).

%%% Requests and answers

-spec request(name(), [term()]) -> {term(), answer()}.
request(get, [Key, Default]) -> {{get, Key, Default}, {read, {get_many, [Key], Default}}};
request(get, [Key]) -> request(get, [Key, undefined]);
request(fetch, [Key]) -> {{fetch, Key}, read};
request(has_key, [Key]) -> {{has_key, Key}, read};
request(put, [Key, Value]) -> {{put, Key, Value}, write};
request(put, [Key, Value, Ttl]) -> {{put, Key, Value, ttl(Ttl)}, write};
request(put_new, [Key, Value]) -> {{put_new, Key, Value}, write};
request(put_new, [Key, Value, Ttl]) -> {{put_new, Key, Value, ttl(Ttl)}, write};
request(delete, [Key, Default]) -> {{delete, Key, Default}, {read, {get_many, [Key], Default}}};
request(delete, [Key]) -> {{delete, Key}, {read, {get_many, [Key], nil}}};
request(clear, []) -> {clear, write};
request(size, []) -> {size, read};
request(keys, []) -> {keys, read};
request(to_map, []) -> {to_map, read};
request(get_many, [Keys, Default]) -> {{get_many, Keys, Default}, many};
request(get_many, [Keys]) -> {{get_many, Keys, undefined}, many};
request(take, [Keys]) -> take(Keys, make_ref());
request(put_many, [Entries]) -> {{put_many, pairs(Entries)}, put_many};
request(put_many, [Entries, Ttl]) -> {{put_many, pairs(Entries), ttl(Ttl)}, put_many};
request(delete_many, [Keys]) -> {{delete_many, Keys}, put_many};
request(Function, Arguments) -> error(badarg, [Function, Arguments]).

%% The reference stands for absent values: nobody can have put it.
take(Keys, Absent) -> {{get_many, Keys, Absent}, {take, Keys, Absent}}.

%% The program reads a list faster than a map, whose keys it would have to compare.
pairs(Entries) when is_map(Entries) -> maps:to_list(Entries);
pairs(Entries) -> Entries.

%% The program takes milliseconds up to 2^46.
ttl(infinity) -> infinity;
ttl(Ms) when is_integer(Ms), Ms > 0, Ms =< 1 bsl 46 -> Ms;
ttl(Other) -> error(badarg, [Other]).

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
answer(write, Reply, _Bucket, _Timeout, _Exit) ->
    Reply;
answer({read, Again}, {error, {Kind, _} = Why} = Reply, Bucket, Timeout, Exit) when ?IS_REFUSED(Kind) ->
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
answer(_Many, {error, {Bad, _}}, _Bucket, _Timeout, _Exit) when Bad =:= bad_keys; Bad =:= bad_entries -> error(badarg);
answer({take, Keys, Absent}, Values, _Bucket, _Timeout, _Exit) when is_list(Values) ->
    maps:from_list(present(Keys, Values, Absent));
answer(_Many, Reply, _Bucket, _Timeout, _Exit) ->
    Reply.

present([_ | Keys], [Absent | Values], Absent) -> present(Keys, Values, Absent);
present([Key | Keys], [Value | Values], Absent) -> [{Key, Value} | present(Keys, Values, Absent)];
present([], [], _Absent) -> [].
