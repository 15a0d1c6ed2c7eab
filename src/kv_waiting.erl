%% @doc What waits for a native process that is away: calls, casts and other messages, in the order in which they came.
%%
%% Their number and their bytes are bounded. A call whose caller has given up is not worth passing on: the caller would
%% take the request for one that was not handled.
%% @private
-module(kv_waiting).

-export([new/0, add/2, has/2, cancel/2, take/2, count/1]).

-export_type([t/0, message/0]).

-type message() ::
    {call, gen_server:from(), term()}
    %% What kv_call sends to a proxy.
    | {kv_call, pid(), reference(), term()}
    | {cast, term()}
    | {info, term()}.

-record(waiting, {
    messages = queue:new() :: queue:queue(message()),
    count = 0 :: non_neg_integer(),
    bytes = 0 :: non_neg_integer()
}).

-opaque t() :: #waiting{}.

-define(MOST, 10000).
-define(MOST_BYTES, 64 * 1024 * 1024).

-spec new() -> t().
new() -> #waiting{}.

%% @doc Keeps a message; `full' when there is no room for it. O(size of the message).
-spec add(message(), t()) -> {ok, t()} | full.
add(Message, #waiting{messages = Messages, count = Count, bytes = Bytes}) ->
    More = Bytes + erlang:external_size(request(Message)),
    case Count < ?MOST andalso More =< ?MOST_BYTES of
        true -> {ok, #waiting{messages = queue:in(Message, Messages), count = Count + 1, bytes = More}};
        false -> full
    end.

request({call, _From, Request}) -> Request;
request({kv_call, _Pid, _Alias, Request}) -> Request;
request({cast, Request}) -> Request;
request({info, Message}) -> Message.

-spec count(t()) -> non_neg_integer().
count(#waiting{count = Count}) -> Count.

%% @doc Whether a call of kv_call is there. O(messages).
-spec has(reference(), t()) -> boolean().
has(Alias, #waiting{messages = Messages}) ->
    lists:any(
        fun
            ({kv_call, _Pid, One, _Request}) -> One =:= Alias;
            (_Message) -> false
        end,
        queue:to_list(Messages)
    ).

%% @doc A call is not waited for any more. O(messages).
-spec cancel(reference(), t()) -> t().
cancel(Alias, #waiting{messages = Messages, count = Count} = Waiting) ->
    Rest = queue:filter(
        fun
            ({kv_call, _Pid, One, _Request}) -> One =/= Alias;
            (_Message) -> true
        end,
        Messages
    ),
    Waiting#waiting{messages = Rest, count = min(Count, queue:len(Rest))}.

%% @doc The messages, the oldest first, and the calls that nobody waits for any more. Callers are the processes that have a
%% monitor on the proxy, each as often as it has one: every call that is waited for has its own.
%%
%% Calls of kv_call that were given up have been cancelled. Of the others of one process, which makes one call after the
%% other, the latest ones are waited for.
-spec take(t(), [pid()]) -> {[message()], [message()]}.
take(#waiting{messages = Messages}, Callers) ->
    List = queue:to_list(Messages),
    Monitors = lists:foldl(fun add_one/2, #{}, Callers),
    Left = lists:foldl(fun take_one/2, Monitors, [Pid || {kv_call, Pid, _, _} <- List]),
    {Wanted, Given, _} = lists:foldr(fun sort/2, {[], [], Left}, List),
    {Wanted, Given}.

add_one(Pid, Counts) -> maps:update_with(Pid, fun(Count) -> Count + 1 end, 1, Counts).

take_one(Pid, Counts) -> maps:update_with(Pid, fun(Count) -> max(0, Count - 1) end, 0, Counts).

%% From the latest to the oldest.
sort({call, {Pid, _}, _} = Call, {Wanted, Given, Left}) ->
    case Left of
        #{Pid := Count} when Count > 0 -> {[Call | Wanted], Given, Left#{Pid := Count - 1}};
        #{} -> {Wanted, [Call | Given], Left}
    end;
sort({kv_call, Pid, _, _} = Call, {Wanted, Given, Left}) when is_map_key(Pid, Left) ->
    {[Call | Wanted], Given, Left};
sort(Message, {Wanted, Given, Left}) ->
    {[Message | Wanted], Given, Left}.
