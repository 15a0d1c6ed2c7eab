%% @doc Shared by the suites about lanes: asks a process by the lane alone, so that a test knows the way of a request.
-module(kv_lane_test).

-export([bucket/0, busy/1, lane/1, ask/2, once/2, wait/1, declines/3, is_on/0, held/3, entered/1, lose/1]).

-include_lib("stdlib/include/assert.hrl").

-define(DEADLINE, 30000).
%% Requests for each message that wakes the node, and messages for each that is waited for.
-define(OFTEN, 100).
%% Requests that a node may decline in a row before it counts as one that declines.
-define(TRIES, 20).

bucket() ->
    {ok, Proxy} = kv_bucket:start_link([]),
    kv_proxy:native(Proxy).

%% Returns a bucket that outlives the caller, and so many processes that increment a number in it by the lane, for ever.
busy(Processes) ->
    {ok, Proxy} = kv_bucket:start_link([]),
    true = unlink(Proxy),
    Bucket = kv_proxy:native(Proxy),
    0 = ask(Bucket, size),
    {Bucket, [spawn(fun() -> increment_for_ever(Bucket) end) || _ <- lists:seq(1, Processes)]}.

increment_for_ever(Bucket) ->
    _ = kv_bucket:incr(Bucket, n, 1, infinity),
    increment_for_ever(Bucket).

lane(Pid) -> map_get(node(Pid), persistent_term:get(kv_lane, #{})).

%% Asks by the lane until there is an answer. The node looks at the lane only while it is asked often, and sees that when
%% it handles a message. This process goes on asking meanwhile: on a busy machine it might come back too late if it waited.
ask(Pid, Request) ->
    repeat(fun() -> once(Pid, Request) end, Pid, Request, 1, erlang:monotonic_time(millisecond) + ?DEADLINE).

repeat(Ask, Pid, Request, Asked, Deadline) ->
    case Ask() of
        {reply, Reply} ->
            Reply;
        call ->
            _ = Asked rem ?OFTEN =:= 0 andalso erlang:send({nobody_of_this_name, node(Pid)}, awake, [noconnect]),
            _ = Asked rem (?OFTEN * ?OFTEN) =:= 0 andalso ping(node(Pid)),
            _ = erlang:monotonic_time(millisecond) < Deadline orelse error({never_answered, Request}),
            repeat(Ask, Pid, Request, Asked + 1, Deadline)
    end.

ping(Node) ->
    yes = gen_server:call({net_kernel, Node}, {is_auth, node()}),
    pong.

once(Pid, Request) ->
    case kv_nif:ask(lane(Pid), Pid, Request) of
        {taken, Held} -> wait(Held);
        Result -> Result
    end.

wait(Held) ->
    case kv_nif:look(Held) of
        wait -> erlang:yield(), wait(Held);
        Result -> Result
    end.

%% Asks for something that takes the node longer than a caller waits. Returns the slot of a request that the node has taken,
%% and how many were answered before it.
held(Pid, Request, Answered) ->
    _ = ask(Pid, size),
    case kv_nif:ask(lane(Pid), Pid, Request) of
        {taken, Held} -> {Held, Answered};
        {reply, _} -> held(Pid, Request, Answered + 1);
        call -> held(Pid, Request, Answered)
    end.

%% Returns true if the node declines a request, though it answers another one at the same time.
declines(Pid, Request, Awake) ->
    lists:all(fun(_) -> 0 = ask(Awake, size), once(Pid, Request) =:= call end, lists:seq(1, ?TRIES)).

is_on() ->
    try kv_node:info() of
        #{lane := Lane} -> Lane =:= on
    catch
        _:_ -> false
    end.

%% For kv_test:wait/1: a lane is used a moment before its watcher is entered.
entered(Node) ->
    case kv_watcher:watcher(Node) of
        Watcher when is_pid(Watcher) -> {watcher, Watcher};
        unknown -> false
    end.

%% Loses the connection of a node. The watcher hears of that a little later than the caller of disconnect_node/1, and closes the
%% lane before it ends, and the server of the watchers hears of that later than this process. So the lane that is_on/0 tells of
%% afterwards is another one.
lose(Node) ->
    {watcher, Watcher} = kv_test:wait(fun() -> entered(Node) end),
    _ = erlang:disconnect_node(Node),
    ok = kv_test:wait(fun() -> kv_watcher:watcher(Node) =/= Watcher end),
    _ = sys:get_state(kv_watcher),
    ok.
