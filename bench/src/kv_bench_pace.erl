%% @doc Work beside a measurement: callers that put without end, as fast as they can or so many a second.
-module(kv_bench_pace).

-export([start/3, stop/1]).

-export_type([work/0]).

-opaque work() :: {Callers :: [{pid(), reference()}], Began :: integer()}.

-define(TICK_MS, 1).
-define(KEYS, 1000).

%% @doc Begins. Pace: puts a second of all callers together.
-spec start(kv_bench_contender:t(), pos_integer(), none | number()) -> work().
start(Contender, Callers, Pace) ->
    {[spawn_monitor(fun() -> caller(Contender, Number, each(Pace, Callers)) end) || Number <- lists:seq(1, Callers)], now_ns()}.

each(none, _Callers) -> none;
each(Pace, Callers) -> Pace / Callers.

%% @doc Ends it, and returns how many there were a second.
-spec stop(work()) -> float().
stop({Callers, Began}) ->
    _ = [Pid ! {stop, self()} || {Pid, _} <- Callers],
    Puts = [
        receive
            {Pid, Count} -> true = demonitor(Monitor, [flush]), Count;
            {'DOWN', Monitor, process, Pid, Reason} -> error({caller_died, Reason})
        end
     || {Pid, Monitor} <- Callers
    ],
    lists:sum(Puts) * 1.0e9 / (now_ns() - Began).

caller(#{open := Open, put := Put, close := Close}, Number, Pace) ->
    State = Open(Number),
    One = fun(Key) -> Put(State, kv_bench_load:key(Key rem ?KEYS + 1), kv_bench_load:value()) end,
    {From, Count} = work(One, Number * 7919, Pace, now_ns(), 0),
    _ = Close(State),
    From ! {self(), Count}.

work(Put, Key, Pace, Began, Count) ->
    receive
        {stop, From} -> {From, Count}
    after wait(Pace, Began, Count) ->
        _ = Put(Key),
        work(Put, Key + 7919, Pace, Began, Count + 1)
    end.

%% A caller that is ahead of its pace waits for the next tick.
wait(none, _Began, _Count) ->
    0;
wait(Pace, Began, Count) ->
    case Count * 1.0e9 / max(Pace, 1.0) > now_ns() - Began of
        true -> ?TICK_MS;
        false -> 0
    end.

now_ns() ->
    erlang:monotonic_time(nanosecond).
