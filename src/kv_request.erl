%% @doc Requests of buckets: what message each function of {@link kv_bucket} sends, and what it makes of the answer; with or
%% without waiting for it.
%% @private
-module(kv_request).

-export([message/2, call/4, send/3, await/2, await_many/2, abandon/1]).

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

%% What is made of a reply before it is returned.
-type answer() :: as_it_is | many | {take, [term()], reference()}.

-record(request, {
    owner :: pid(),
    call :: kv_call:id(),
    answer :: answer()
}).

-opaque t() :: #request{}.

%% @doc The message that a request is. Raises `badarg' when there is no such function, or not with so many arguments.
-spec message(name(), [term()]) -> term().
message(Function, Arguments) ->
    {Message, _Answer} = request(Function, Arguments),
    Message.

%% @doc Asks and waits.
-spec call(gen_server:server_ref(), name(), [term()], timeout()) -> term().
call(Bucket, Function, Arguments, Timeout) ->
    {Message, Answer} = request(Function, Arguments),
    answer(Answer, kv_call:call(Bucket, Message, Timeout)).

%% @doc Asks and does not wait. See {@link kv_bucket:async/3}.
-spec send(gen_server:server_ref(), name(), [term()]) -> t().
send(Bucket, Function, Arguments) ->
    {Message, Answer} = request(Function, Arguments),
    #request{owner = self(), call = kv_call:send(Bucket, Message), answer = Answer}.

%% @doc See {@link kv_bucket:await/2}.
-spec await(t(), timeout()) -> term().
await(#request{owner = Owner, call = Call, answer = Answer} = Request, Timeout) when Owner =:= self() ->
    case kv_call:await(Call, Timeout) of
        {reply, Reply} -> answer(Answer, Reply);
        {error, Reason} -> exit({Reason, {kv_bucket, await, [Request, Timeout]}})
    end;
await(Request, Timeout) ->
    error(badarg, [Request, Timeout]).

%% @doc See {@link kv_bucket:await_many/2}.
-spec await_many([t()], timeout()) -> [term()].
await_many(Requests, Timeout) ->
    await_many(Requests, deadline(Timeout), []).

await_many([Request | Rest], Deadline, Answers) ->
    try await(Request, remaining(Deadline)) of
        Answer -> await_many(Rest, Deadline, [Answer | Answers])
    catch
        Class:Reason:Stack ->
            ok = lists:foreach(fun abandon/1, Rest),
            erlang:raise(Class, Reason, Stack)
    end;
await_many([], _Deadline, Answers) ->
    lists:reverse(Answers).

deadline(infinity) -> infinity;
deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

remaining(infinity) -> infinity;
remaining(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

%% @doc See {@link kv_bucket:abandon/1}.
-spec abandon(t()) -> ok.
abandon(#request{owner = Owner, call = Call}) when Owner =:= self() ->
    kv_call:abandon(Call);
abandon(Request) ->
    error(badarg, [Request]).

%%% Requests and answers

-spec request(name(), [term()]) -> {term(), answer()}.
request(get, [Key, Default]) -> {{get, Key, Default}, as_it_is};
request(get, [Key]) -> {{get, Key, undefined}, as_it_is};
request(fetch, [Key]) -> {{fetch, Key}, as_it_is};
request(has_key, [Key]) -> {{has_key, Key}, as_it_is};
request(put, [Key, Value]) -> {{put, Key, Value}, as_it_is};
request(put, [Key, Value, Ttl]) -> {{put, Key, Value, ttl(Ttl)}, as_it_is};
request(put_new, [Key, Value]) -> {{put_new, Key, Value}, as_it_is};
request(put_new, [Key, Value, Ttl]) -> {{put_new, Key, Value, ttl(Ttl)}, as_it_is};
request(delete, [Key]) -> {{delete, Key}, as_it_is};
request(clear, []) -> {clear, as_it_is};
request(size, []) -> {size, as_it_is};
request(keys, []) -> {keys, as_it_is};
request(to_map, []) -> {to_map, as_it_is};
request(get_many, [Keys, Default]) -> {{get_many, Keys, Default}, many};
request(get_many, [Keys]) -> {{get_many, Keys, undefined}, many};
request(take, [Keys]) -> take(Keys, make_ref());
request(put_many, [Entries]) -> {{put_many, pairs(Entries)}, many};
request(put_many, [Entries, Ttl]) -> {{put_many, pairs(Entries), ttl(Ttl)}, many};
request(delete_many, [Keys]) -> {{delete_many, Keys}, many};
request(Function, Arguments) -> error(badarg, [Function, Arguments]).

%% The reference stands for absent values: nobody has put it.
take(Keys, Absent) -> {{get_many, Keys, Absent}, {take, Keys, Absent}}.

%% The program reads a list faster than a map, whose keys it must compare.
pairs(Entries) when is_map(Entries) -> maps:to_list(Entries);
pairs(Entries) -> Entries.

%% The program takes milliseconds up to 2^46.
ttl(infinity) -> infinity;
ttl(Ms) when is_integer(Ms), Ms > 0, Ms =< 1 bsl 46 -> Ms;
ttl(Other) -> error(badarg, [Other]).

answer(as_it_is, Reply) -> Reply;
answer(_Many, {error, {Bad, _}}) when Bad =:= bad_keys; Bad =:= bad_entries -> error(badarg);
answer({take, Keys, Absent}, Values) when is_list(Values) -> maps:from_list(present(Keys, Values, Absent));
answer(_Many, Reply) -> Reply.

present([_ | Keys], [Absent | Values], Absent) -> present(Keys, Values, Absent);
present([Key | Keys], [Value | Values], Absent) -> [{Key, Value} | present(Keys, Values, Absent)];
present([], [], _Absent) -> [].
