%% @doc Walks: entries, or keys, a second, of one caller that walks over a whole large table, from this VM.
%%
%% Keys of 20 bytes, values of 32 bytes. Each contender comes in the pieces that its own interface has.
-module(kv_bench_walk).

-export([run/1]).

-include("kv_bench.hrl").

-define(VALUE_BYTES, 32).
%% Entries that are put at once.
-define(BATCH, 1000).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{contenders := Names} = Settings) ->
    lists:append([contender(Name, Settings) || Name <- Names, lists:member(Name, [kv_bucket, map, ets, eredis])]).

%% One after the other: each table takes its memory.
contender(Name, #{entries := Entries, rounds := Rounds}) ->
    #{open := Open, close := Close, walk := Walk, put_many := PutMany} = Contender = kv_bench_contender:start(Name),
    State = Open(1),
    ok = fill(Entries, State, PutMany),
    Rows = [row(Name, What, Round, Entries, fun() -> Walk(State, What) end) || What <- [entries, keys], Round <- lists:seq(1, Rounds)],
    _ = Close(State),
    ok = kv_bench_contender:stop(Contender),
    Rows.

fill(Entries, State, PutMany) ->
    Value = binary:copy(<<"v">>, ?VALUE_BYTES),
    lists:foreach(
        fun(First) -> PutMany(State, [{kv_bench_load:key(I), Value} || I <- lists:seq(First, min(First + ?BATCH - 1, Entries))]) end,
        lists:seq(1, Entries, ?BATCH)
    ).

row(Name, What, Round, Entries, Walk) ->
    true = erlang:garbage_collect(),
    {Us, Seen} = timer:tc(Walk),
    %% SCAN may return a key twice.
    true = Seen >= Entries,
    Rate = Entries * 1.0e6 / Us,
    io:format("  walk ~b ~-24ts ~ts ~10b/s~n", [Round, kv_bench_contender:title(Name), What, round(Rate)]),
    #row{part = walk, operation = What, bytes = ?VALUE_BYTES, contender = Name, round = Round, value = Rate}.
