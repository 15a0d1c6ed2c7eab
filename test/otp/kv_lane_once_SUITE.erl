%% Calls without a message are done once, whatever happens to either side meanwhile.
-module(kv_lane_once_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_lane_test, [bucket/0, ask/2, is_on/0, lose/1]).
-import(kv_test, [outcome/1]).

-define(DEADLINE, 30000).
-define(INCREMENTS, 20000).
-define(PROCESSES, 8).
%% KV_LANE_OPERATIONS: of all processes together. KV_LANE_PAUSE: milliseconds between two events, at most.
-define(OPERATIONS, 200000).
-define(PAUSE, 50).
%% Increments between two values that a caller puts and takes back.
-define(VALUE_EACH, 32).
%% So many operations take less than a second, however often either side is stopped.
-define(A_SECOND, 5000).
%% Increments of a request that takes the node longer than a caller waits.
-define(LONG, 1000).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        every_increment_counts_once_while_node_and_bucket_are_stopped,
        an_increment_that_was_answered_counts_when_the_connection_is_lost,
        callers_that_are_killed_leave_the_lane_whole,
        every_change_is_made_once_whatever_happens,
        a_vm_that_is_stopped_keeps_nobody_else_waiting,
        the_answer_to_a_request_that_was_taken_comes_through_an_upgrade,
        processes_that_a_purge_kills_leave_the_lane_whole
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config, [{local, all}]).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun, 110000).

every_increment_counts_once_while_node_and_bucket_are_stopped(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        OsPid = kv_node:os_pid(),
        Callers = [spawn_monitor(fun() -> [kv_bucket:incr(Bucket, n, 1, infinity) || _ <- lists:seq(1, ?INCREMENTS)] end) || _ <- lists:seq(1, ?PROCESSES)],
        Disturber = spawn_link(fun() -> disturb(Bucket, OsPid) end),
        [receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason) end || {_, Monitor} <- Callers],
        ok = finish(Disturber),
        ?assertEqual(?PROCESSES * ?INCREMENTS, kv_bucket:get(Bucket, n))
    end).

disturb(Bucket, OsPid) ->
    ok = kv_test:signal("STOP", OsPid),
    timer:sleep(rand:uniform(20)),
    ok = kv_test:signal("CONT", OsPid),
    ok = sys:suspend(Bucket, infinity),
    timer:sleep(rand:uniform(5)),
    ok = sys:resume(Bucket, infinity),
    receive
        {finish, From} -> From ! {self(), finished}
    after rand:uniform(50) -> disturb(Bucket, OsPid)
    end.

finish(Disturber) ->
    Disturber ! {finish, self()},
    receive {Disturber, finished} -> ok end.

%% After an exit with nodedown the last increment may count or not. Some callers may not notice the loss.
an_increment_that_was_answered_counts_when_the_connection_is_lost(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        [
            begin
                Before = kv_test:patient(fun() -> kv_bucket:get(Bucket, n, 0) end, 1000),
                Callers = [spawn_monitor(fun() -> exit(count(Bucket, 0)) end) || _ <- lists:seq(1, ?PROCESSES)],
                timer:sleep(rand:uniform(30)),
                ok = lose(node(Bucket)),
                ok = kv_test:wait(fun() -> is_on() end, ?DEADLINE),
                _ = [Caller ! stop || {Caller, _} <- Callers],
                Counts = [receive {'DOWN', Monitor, process, _, Count} -> Count end || {_, Monitor} <- Callers],
                Counted = kv_test:patient(fun() -> kv_bucket:get(Bucket, n, 0) end, 1000) - Before,
                ?assert(Counted >= lists:sum(Counts) andalso Counted =< lists:sum(Counts) + ?PROCESSES, {Counted, Counts})
            end
         || _ <- lists:seq(1, 20)
        ]
    end).

count(Bucket, Count) ->
    case outcome(fun() -> kv_bucket:incr(Bucket, n) end) of
        {returned, _} ->
            receive
                stop -> Count + 1
            after 0 -> count(Bucket, Count + 1)
            end;
        {exit, {nodedown, _}} ->
            Count
    end.

%% A process that is killed has done what it was answered, and perhaps one more.
callers_that_are_killed_leave_the_lane_whole(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Counter = counters:new(1, [atomics]),
        [
            begin
                {Caller, Monitor} = spawn_monitor(fun() -> count_for_ever(Bucket, Counter) end),
                _ = rand:uniform(4) =:= 1 andalso timer:sleep(1),
                true = exit(Caller, kill),
                receive {'DOWN', Monitor, process, _, killed} -> ok end
            end
         || _ <- lists:seq(1, 500)
        ],
        Answered = counters:get(Counter, 1),
        %% A request that a killed process has sent as a message is handled before this one.
        _ = gen_server:call(Bucket, size),
        Counted = kv_bucket:get(Bucket, n, 0),
        ?assert(Counted >= Answered andalso Counted =< Answered + 500, {Counted, Answered}),
        ?assertEqual({ok, Counted}, ask(Bucket, {fetch, n}))
    end).

count_for_ever(Bucket, Counter) ->
    _ = kv_bucket:incr(Bucket, n),
    ok = counters:add(Counter, 1, 1),
    count_for_ever(Bucket, Counter).

%%% Disturbances of all kinds

%% Each caller has a counter that nobody else changes. So each answer tells how many of the operations with an unknown end were
%% done: never more than there were, and never fewer than before. A caller that is killed has a successor.
every_change_is_made_once_whatever_happens(Config) ->
    Operations = number("KV_LANE_OPERATIONS", ?OPERATIONS),
    Pause = number("KV_LANE_PAUSE", ?PAUSE),
    Allowed = 110000 + 1000 * (Operations div ?A_SECOND),
    _ = ct:timetrap(Allowed),
    OsPid = kv_test:vm_os_pid(?config(vm, Config)),
    Stopper = spawn_link(fun() -> stop_vm_often(OsPid, 4 * Pause) end),
    Began = erlang:monotonic_time(millisecond),
    {Answered, Unknown, Events} = kv_test:in(?config(vm, Config), fun() -> change_whatever_happens(Operations, Pause) end, Allowed),
    ok = finish(Stopper),
    Ms = erlang:monotonic_time(millisecond) - Began,
    ct:pal("~b operations were answered, ~b had an unknown end; ~p; ~b a second", [Answered, Unknown, Events, Answered * 1000 div Ms]).

number(Variable, Default) -> list_to_integer(os:getenv(Variable, integer_to_list(Default))).

stop_vm_often(OsPid, Pause) ->
    ok = kv_test:signal("STOP", OsPid),
    timer:sleep(rand:uniform(20)),
    ok = kv_test:signal("CONT", OsPid),
    receive
        {finish, From} -> From ! {self(), finished}
    after rand:uniform(Pause) -> stop_vm_often(OsPid, Pause)
    end.

change_whatever_happens(Operations, Pause) ->
    Bucket = bucket(),
    Keepers = [{Number, counters:new(3, [atomics])} || Number <- lists:seq(1, ?PROCESSES)],
    Share = Operations div ?PROCESSES,
    Monitors = [element(2, spawn_monitor(fun() -> keep(Bucket, Number, State, Share) end)) || {Number, State} <- Keepers],
    Disturber = spawn_link(fun() -> disturb_all(Bucket, kv_node:os_pid(), Pause, #{}) end),
    [receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason) end || Monitor <- Monitors],
    Events = finish_with(Disturber),
    ok = kv_test:wait(fun() -> is_on() end, ?DEADLINE),
    %% A request that a killed process has sent as a message is handled before this one.
    _ = kv_test:patient(fun() -> gen_server:call(Bucket, size) end, 1000),
    Counts = [{answered(State), unknown(State), kv_bucket:get(Bucket, {count, Number}, 0)} || {Number, State} <- Keepers],
    [?assert(Count >= Answered andalso Count =< Answered + Unknown, {Count, Answered, Unknown}) || {Answered, Unknown, Count} <- Counts],
    {lists:sum([Answered || {Answered, _, _} <- Counts]), lists:sum([Unknown || {_, Unknown, _} <- Counts]), Events}.

%% The state of a caller: increments that were answered, those whose end is unknown, and how many of the latter were done.
answered(State) -> counters:get(State, 1).
unknown(State) -> counters:get(State, 2).

keep(Bucket, Number, State, Share) ->
    true = register(keeper(Number), self()),
    keep_on(Bucket, Number, State, Share).

keeper(Number) -> list_to_atom("keeper_" ++ integer_to_list(Number)).

keep_on(Bucket, Number, State, Share) ->
    {Caller, Monitor} = spawn_monitor(fun() -> change(Bucket, Number, State, Share) end),
    case attend(Caller, Monitor) of
        normal -> ok;
        killed -> ok = counters:add(State, 2, 1), keep_on(Bucket, Number, State, Share)
    end.

attend(Caller, Monitor) ->
    receive
        kill -> true = exit(Caller, kill), attend(Caller, Monitor);
        {'DOWN', Monitor, process, _, Reason} -> Reason
    end.

change(Bucket, Number, State, Share) ->
    Operations = answered(State) + unknown(State),
    _ = Operations rem ?VALUE_EACH =:= 0 andalso whole(Bucket, Number, Operations),
    case outcome(fun() -> kv_bucket:incr(Bucket, {count, Number}, 1, infinity) end) of
        {returned, Count} ->
            ok = counters:add(State, 1, 1),
            counted(Count - answered(State), State);
        {exit, {nodedown, _}} ->
            ok = counters:add(State, 2, 1),
            timer:sleep(1)
    end,
    case Operations < Share of
        true -> change(Bucket, Number, State, Share);
        false -> ok
    end.

counted(Done, State) ->
    ?assert(Done >= counters:get(State, 3) andalso Done =< unknown(State), {Done, counters:get(State, 3), unknown(State)}),
    ok = counters:put(State, 3, Done).

%% A value that another process of this caller has put may come late, but never in parts.
whole(Bucket, Number, Operations) ->
    Value = binary:copy(<<(rand:uniform(256) - 1)>>, rand:uniform(8000)),
    case outcome(fun() -> kv_bucket:put(Bucket, {value, Number}, {Operations, Value}, infinity) end) of
        {returned, ok} -> is_whole(outcome(fun() -> kv_bucket:swap(Bucket, {value, Number}, {Operations, Value}, infinity) end));
        {exit, {nodedown, _}} -> ok
    end.

is_whole({returned, {ok, {_, <<Byte, _/binary>> = Value}}}) -> ?assertEqual(binary:copy(<<Byte>>, byte_size(Value)), Value);
is_whole({exit, {nodedown, _}}) -> ok.

disturb_all(Bucket, OsPid, Pause, Events) ->
    Event = lists:nth(rand:uniform(8), [stop, stop, suspend, suspend, kill, kill, kill, disconnect]),
    ok = happen(Event, Bucket, OsPid),
    More = maps:update_with(Event, fun(N) -> N + 1 end, 1, Events),
    receive
        {finish, From} -> From ! {self(), More}
    after rand:uniform(Pause) -> disturb_all(Bucket, OsPid, Pause, More)
    end.

happen(stop, _Bucket, OsPid) ->
    ok = kv_test:signal("STOP", OsPid),
    timer:sleep(rand:uniform(20)),
    kv_test:signal("CONT", OsPid);
happen(suspend, Bucket, _OsPid) ->
    ok = kv_test:patient(fun() -> sys:suspend(Bucket, infinity) end, 1000),
    timer:sleep(rand:uniform(5)),
    kv_test:patient(fun() -> sys:resume(Bucket, infinity) end, 1000);
happen(kill, _Bucket, _OsPid) ->
    case whereis(keeper(rand:uniform(?PROCESSES))) of
        undefined -> ok;
        Keeper -> Keeper ! kill, ok
    end;
happen(disconnect, Bucket, _OsPid) ->
    _ = erlang:disconnect_node(node(Bucket)),
    kv_test:wait(fun() -> is_on() end, ?DEADLINE).

finish_with(Disturber) ->
    Disturber ! {finish, self()},
    receive {Disturber, Result} -> Result end.

%% The node waits for nobody who asks.
a_vm_that_is_stopped_keeps_nobody_else_waiting(Config) ->
    {Bucket, Callers} = in(Config, fun() -> kv_lane_test:busy(?PROCESSES) end),
    Other = kv_test:start_vm(Config),
    OsPid = kv_test:vm_os_pid(?config(vm, Config)),
    try
        [
            begin
                ok = kv_test:signal("STOP", OsPid),
                kv_test:in(Other, fun() -> [kv_bucket:incr(Bucket, other, 1) || _ <- lists:seq(1, 100)] end),
                ok = kv_test:signal("CONT", OsPid)
            end
         || _ <- lists:seq(1, 20)
        ],
        ?assertEqual(2000, kv_test:in(Other, fun() -> kv_bucket:get(Bucket, other) end))
    after
        ok = kv_test:signal("CONT", OsPid),
        kv_test:stop_vm(Other),
        in(Config, fun() -> [true = exit(Caller, kill) || Caller <- Callers] end)
    end.

%%% Upgrades

long() -> {transaction, [{incr, n, 1} || _ <- lists:seq(1, ?LONG)]}.

the_answer_to_a_request_that_was_taken_comes_through_an_upgrade(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        {First, Before} = kv_lane_test:held(Bucket, long(), 1),
        {Second, Done} = kv_lane_test:held(Bucket, long(), Before + 1),
        ok = kv_upgrade_SUITE:load_all(),
        ?assertEqual(?LONG * Before, last_of(kv_lane_test:wait(First))),
        ?assertEqual(?LONG * Done, last_of(kv_lane_test:wait(Second))),
        ?assertEqual(lost, kv_nif:look(First)),
        ok = lose(node(Bucket)),
        ok = kv_test:wait(fun() -> is_on() end, ?DEADLINE),
        ?assertEqual({ok, ?LONG * Done}, ask(Bucket, {fetch, n}))
    end).

last_of({reply, {ok, Counts}}) -> lists:last(Counts).

%% Those that are inside of kv then: some of them wait for a request that the node has taken, the others for a message.
processes_that_a_purge_kills_leave_the_lane_whole(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([]),
        Bucket = kv_proxy:native(Proxy),
        Counter = counters:new(1, [atomics]),
        [
            begin
                0 = ask(Bucket, {delete, nothing, 0}),
                Callers = [spawn_monitor(fun() -> count_long(Bucket, Counter) end) || _ <- lists:seq(1, ?PROCESSES)],
                timer:sleep(rand:uniform(10)),
                ok = kv_upgrade_SUITE:load_all(),
                [true = exit(Caller, kill) || {Caller, _} <- Callers],
                [killed = kv_test:down(Monitor) || {_, Monitor} <- Callers],
                ok = lose(node(Bucket)),
                ok = kv_test:wait(fun() -> is_on() andalso not is_map_key(phase, kv_test:proxy_state(Proxy)) end, ?DEADLINE)
            end
         || _ <- lists:seq(1, 5)
        ],
        Least = ?LONG * counters:get(Counter, 1),
        Count = kv_bucket:get(Bucket, n, 0),
        ?assertEqual({ok, Count}, ask(Bucket, {fetch, n})),
        ?assertEqual(0, Count rem ?LONG),
        ?assert(Count >= Least andalso Count =< Least + 5 * ?PROCESSES * ?LONG, {Count, Least})
    end).

count_long(Bucket, Counter) ->
    {ok, _} = kv_bucket:transaction(Bucket, element(2, long()), infinity),
    ok = counters:add(Counter, 1, 1),
    count_long(Bucket, Counter).
