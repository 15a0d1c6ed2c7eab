%% @doc Messages that wait for a native process that is away: calls, casts and others, in the order of arrival.
%%
%% Their number and their bytes are limited. A call whose caller has given up must not be passed on: the caller takes
%% the request for one that was not handled.
%% @private
-module(kv_waiting).

-export([new/0, add/2, has/2, cancel/2, take/2, count/1]).

-export_type([t/0, message/0]).

-type message() ::
    {call, gen_server:from(), term()}
    %% A call that kv_call has sent to a proxy.
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

%% @doc Adds a message. Returns `full' if there is no room. O(size of the message).
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

%% @doc Returns `true' if this call of kv_call waits here. O(messages).
-spec has(reference(), t()) -> boolean().
has(Alias, #waiting{messages = Messages}) ->
    lists:any(
        fun
            ({kv_call, _Pid, One, _Request}) -> One =:= Alias;
            (_Message) -> false
        end,
        queue:to_list(Messages)
    ).

%% @doc Removes a call that its caller has abandoned. O(messages).
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

%% @doc Returns the messages, the oldest first, and the calls whose callers have given up. Callers are the processes
%% that monitor the proxy, each as often as it has a monitor: a call that is still waited for has one.
%%
%% A caller that is no pid, such as an alias, may wait without a monitor, and is believed to.
%%
%% Calls of kv_call are cancelled when their callers give up. Other processes make one call after the other, so of
%% several calls of one process, the latest ones are still waited for.
-spec take(t(), [pid()]) -> {[message()], [message()]}.
take(#waiting{messages = Messages}, Callers) ->
    List = queue:to_list(Messages),
    Monitors = lists:foldl(fun add_one/2, #{}, Callers),
    Left = lists:foldl(fun take_one/2, Monitors, [Pid || {kv_call, Pid, _, _} <- List]),
    {Wanted, Given, _} = lists:foldr(fun sort/2, {[], [], Left}, List),
    {Wanted, Given}.

add_one(Pid, Counts) -> maps:update_with(Pid, fun(Count) -> Count + 1 end, 1, Counts).

take_one(Pid, Counts) -> maps:update_with(Pid, fun(Count) -> max(0, Count - 1) end, 0, Counts).

%% Goes from the latest to the oldest.
sort({call, {Pid, _}, _} = Call, {Wanted, Given, Left}) when is_pid(Pid) ->
    case Left of
        #{Pid := Count} when Count > 0 -> {[Call | Wanted], Given, Left#{Pid := Count - 1}};
        #{} -> {Wanted, [Call | Given], Left}
    end;
sort({kv_call, Pid, _, _} = Call, {Wanted, Given, Left}) when is_map_key(Pid, Left) ->
    {[Call | Wanted], Given, Left};
sort(Message, {Wanted, Given, Left}) ->
    {[Message | Wanted], Given, Left}.
