%% @doc Memory: resident bytes of a contender's process for each of a million entries, and the time to load them.
-module(kv_bench_memory).

-export([run/1, contenders/0, load/4]).

-include("kv_bench.hrl").

-define(CHUNK, 1000).
%% Each round starts every contender anew, and loads the same way.
-define(ROUNDS_MAX, 3).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{contenders := Chosen, rounds := Rounds, entries := Entries}) ->
    Names = [Name || Name <- contenders(), lists:member(Name, Chosen)],
    lists:append([
        one(Name, Kind, Entries, Round)
     || Kind <- [binaries, integers], Round <- lists:seq(1, min(Rounds, ?ROUNDS_MAX)), Name <- Names
    ]).

%% @doc The contenders that can be loaded: a map takes as much in a GenServer as in an Agent.
-spec contenders() -> [kv_bench_contender:name()].
contenders() ->
    [kv_bucket, ets, agent, eredis].

one(Name, Kind, Entries, Round) ->
    Contender = #{os_pid := OsPid, open := Open, close := Close} = kv_bench_contender:start(Name),
    Rows =
        case kv_bench_load:is_able(Contender, put_many) of
            false ->
                [];
            true ->
                State = Open(1),
                #{resident := Before} = kv_bench_os:memory(OsPid),
                Ns = load(Contender, State, Kind, Entries),
                _ = settle(Contender),
                #{resident := After, peak := Peak} = kv_bench_os:memory(OsPid),
                _ = Close(State),
                rows(Name, Kind, Round, [
                    {bytes_per_entry, (After - Before) / Entries},
                    {peak_per_entry, (Peak - Before) / Entries},
                    {loaded_per_second, Entries * 1.0e9 / Ns}
                ])
        end,
    ok = kv_bench_contender:stop(Contender),
    Rows.

rows(Name, Kind, Round, Figures) ->
    io:format("memory: ~ts, ~b ~ts ~0p~n", [Kind, Round, kv_bench_contender:title(Name), Figures]),
    [
        #row{part = memory, operation = Kind, contender = Name, round = Round, metric = Metric, value = Value}
     || {Metric, Value} <- Figures
    ].

settle(#{settle := Settle}) -> Settle();
settle(#{}) -> ok.

%% @doc Puts so many entries, a thousand at a time. Returns the nanoseconds for which the contender was busy with them;
%% the time to make them up does not count.
-spec load(kv_bench_contender:t(), term(), binaries | integers, pos_integer()) -> non_neg_integer().
load(#{put_many := PutMany}, State, Kind, Entries) ->
    lists:sum([
        timed(fun() -> PutMany(State, Chunk) end)
     || First <- lists:seq(0, Entries - 1, ?CHUNK), Chunk <- [chunk(Kind, First, min(?CHUNK, Entries - First))]
    ]).

chunk(Kind, First, Length) ->
    [{kv_bench_load:key(Number), value(Kind, Number)} || Number <- lists:seq(First, First + Length - 1)].

value(binaries, Number) -> <<Number:256>>;
value(integers, Number) -> Number.

timed(Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    _ = Fun(),
    erlang:monotonic_time(nanosecond) - Start.
