%% @doc Pauses: how long a caller that asks for one key all the time has to wait while the table grows and is emptied.
%%
%% `stall' is the C program of that name: one client without pauses of its own, so it sees the node alone. `seen' is the view of
%% a caller on a BEAM, for every contender. `idle' is `seen' without a load: the pauses of this machine and this VM.
-module(kv_bench_pause).

-export([run/1]).

-include("kv_bench.hrl").

%% Kept small, because one request of so many entries holds a GenServer up.
-define(CHUNK, 100).
-define(IDLE_MS, 2000).
-define(AFTERMATH_MS, 1000).
%% Some entries expire while others are still put.
-define(TTL_MS, 500).
-define(SEEN_MAX, 1000000).
-define(ROUNDS_MAX, 3).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{contenders := Chosen, rounds := Rounds, growth := Growth}) ->
    Names = [Name || Name <- kv_bench_memory:contenders(), lists:member(Name, Chosen)],
    stalls(Growth, min(Rounds, ?ROUNDS_MAX)) ++
        lists:append([
            seen(Name, min(Growth, ?SEEN_MAX), Round)
         || Round <- lists:seq(1, min(Rounds, ?ROUNDS_MAX)), Name <- Names
        ]).

%%% The node, by a C client

stalls(Growth, Rounds) ->
    Program = filename:join(code:priv_dir(kv), "kv_node"),
    lists:append([
        stall(Round, kv_bench_os:run("stall", ["--entries", integer_to_list(Growth), Program]))
     || Round <- lists:seq(1, Rounds)
    ]).

stall(Round, Lines) ->
    _ = [io:format("pause: ~ts~n", [Line]) || Line <- Lines],
    Controls = named("control", Lines),
    Phases = named("phase", Lines),
    Busy = [Line || {Name, Line} <- Phases, Name =/= "idle"],
    [
        row(stall, kv_bucket, Round, longest_us, lists:max([figure(Line, "longest_own_us") || Line <- Busy])),
        row(stall_control, kv_bucket, Round, longest_us, lists:max([figure(Line, "control_own_us") || Line <- Busy]))
    ] ++
        rows("stall_control_", Controls, [longest_us, longest_own_us], Round) ++
        rows("stall_", Phases, [longest_us, longest_own_us, p9999_us, p50_us, calls_per_second, control_us, control_own_us], Round).

rows(Prefix, Named, Metrics, Round) ->
    [
        row(list_to_atom(Prefix ++ Name), kv_bucket, Round, Metric, figure(Line, atom_to_list(Metric)))
     || {Name, Line} <- Named, Metric <- Metrics
    ].

%% The lines that begin with this name.
named(What, Lines) ->
    [
        {Name, Line}
     || Line <- Lines, {match, [Name]} <- [re:run(Line, "^" ++ What ++ "=(\\w+)", [{capture, all_but_first, list}])]
    ].

figure(Line, Name) ->
    {match, [Number]} = re:run(Line, "\\b" ++ Name ++ "=(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Number).

%%% All contenders, by a caller on a BEAM

seen(Name, Entries, Round) ->
    Contender = #{open := Open, close := Close, put := Put} = kv_bench_contender:start(Name),
    Rows =
        case kv_bench_load:is_able(Contender, put_many) of
            false ->
                [];
            true ->
                State = Open(1),
                _ = Put(State, kv_bench_load:key(0), <<"value">>),
                Seen = [phase_seen(Phase, Contender, State, Entries, Round) || Phase <- [idle, grow, clear, expire], Phase =/= expire orelse is_map_key(put_expiring, Contender)],
                _ = Close(State),
                lists:append(Seen)
        end,
    ok = kv_bench_contender:stop(Contender),
    Rows.

phase_seen(Phase, #{name := Name} = Contender, State, Entries, Round) ->
    Watcher = watch(Contender),
    ok = act(Phase, Contender, State, Entries),
    {Longest, P999} = stop_watching(Watcher),
    io:format("pause: ~b ~ts, ~ts: longest ~b us, p99.9 ~b us~n", [Round, kv_bench_contender:title(Name), Phase, Longest, P999]),
    Operation = list_to_atom("seen_" ++ atom_to_list(Phase)),
    [row(Operation, Name, Round, longest_us, Longest), row(Operation, Name, Round, p999_us, P999)].

act(idle, _Contender, _State, _Entries) ->
    timer:sleep(?IDLE_MS);
act(grow, #{put_many := PutMany}, State, Entries) ->
    grow(fun(Chunk) -> PutMany(State, Chunk) end, Entries);
act(expire, #{put_expiring := PutExpiring}, State, Entries) ->
    ok = grow(fun(Chunk) -> PutExpiring(State, Chunk, ?TTL_MS) end, Entries),
    timer:sleep(?TTL_MS + ?AFTERMATH_MS);
act(clear, #{clear := Clear}, State, _Entries) ->
    _ = Clear(State),
    %% The contender may clear the remains later.
    timer:sleep(?AFTERMATH_MS).

grow(Put, Entries) ->
    lists:foreach(
        fun(First) -> Put([{kv_bench_load:key(Number), <<Number:256>>} || Number <- lists:seq(First, First + ?CHUNK - 1)]) end,
        lists:seq(1, Entries, ?CHUNK)
    ).

watch(Contender) ->
    Parent = self(),
    spawn_monitor(fun() -> look_on(Parent, Contender) end).

look_on(Parent, #{open := Open, close := Close, get := Get}) ->
    %% Other work of this VM must not hold up the process that measures.
    _ = process_flag(priority, high),
    State = Open(2),
    Histogram = kv_bench_histogram:new(),
    Longest = look_on(Get, State, kv_bench_load:key(0), Histogram, erlang:monotonic_time(nanosecond), 0),
    _ = Close(State),
    Parent ! {self(), Longest div 1000, kv_bench_histogram:percentile(Histogram, 0.999)}.

look_on(Get, State, Key, Histogram, Before, Longest) ->
    _ = Get(State, Key),
    Now = erlang:monotonic_time(nanosecond),
    ok = kv_bench_histogram:add(Histogram, (Now - Before) div 1000),
    receive
        stop -> max(Longest, Now - Before)
    after 0 -> look_on(Get, State, Key, Histogram, Now, max(Longest, Now - Before))
    end.

stop_watching({Pid, Monitor}) ->
    Pid ! stop,
    receive
        {Pid, Longest, P999} ->
            true = demonitor(Monitor, [flush]),
            {Longest, P999};
        {'DOWN', Monitor, process, Pid, Reason} ->
            error({watcher_died, Reason})
    end.

row(Operation, Name, Round, Metric, Value) ->
    #row{part = pause, operation = Operation, contender = Name, round = Round, metric = Metric, value = Value}.
