%% @doc Calls: rate, time and processor time of a call, by number of callers, by size of values, for one key or many.
-module(kv_bench_calls).

-export([run/2]).

-include("kv_bench.hrl").

-define(SMALL, 10).
%% Limit on the memory of values that wait to be sent: 16 callers of a megabyte show enough.
-define(CALLERS_OF_LARGE, [1, 16]).
-define(MEBIBYTE, 1024 * 1024).

-spec run(calls | sizes | many | operations | tls, kv_bench:settings()) -> [kv_bench:row()].
run(Part, #{contenders := Names} = Settings) ->
    Contenders = [kv_bench_contender:start(Name) || Name <- Names, takes_part(Part, Name)],
    Rows = lists:append([of_size(Part, Size, Contenders, Settings) || Size <- sizes(Part, Settings)]),
    _ = [ok = kv_bench_contender:stop(Contender) || Contender <- Contenders],
    Rows.

%% Local ETS and a local Agent send nothing, so the size of a value says little.
takes_part(Part, Name) when Part =/= calls, (Name =:= kv_gather orelse Name =:= kv_eager orelse Name =:= kv_prompt) -> false;
takes_part(sizes, Name) -> not lists:member(Name, [local_ets, local_agent]);
takes_part(many, Name) -> not lists:member(Name, [tcp, libei, local_agent]);
takes_part(operations, Name) -> lists:member(Name, [kv_bucket, map, ets, agent, eredis, eredis_pool]);
takes_part(Part, _Name) when Part =:= calls; Part =:= tls -> true.

sizes(sizes, #{sizes := Sizes}) -> Sizes;
sizes(tls, _Settings) -> [?SMALL, ?MEBIBYTE];
sizes(_Part, _Settings) -> [?SMALL].

of_size(Part, Size, Contenders, Settings) ->
    ok = kv_bench_load:prepare(Size),
    _ = [ok = kv_bench_contender:fill(Contender, kv_bench_load:keys(Size), kv_bench_load:value()) || Contender <- Contenders],
    lists:append([cell(Part, Operation, Callers, Size, Contenders, Settings) || {Operation, Callers} <- chosen_cells(Part, Size, Settings)]).

chosen_cells(Part, Size, #{operations := Chosen} = Settings) ->
    [Cell || {Operation, _Callers} = Cell <- cells(Part, Size, Settings), lists:member(Operation, Chosen)].

cells(calls, _Size, #{callers := Callers}) -> [{Operation, N} || Operation <- [get, put, mixed], N <- Callers];
cells(tls, ?SMALL, _Settings) -> [{get, 1}, {get, 16}, {get, 64}, {put, 1}, {put, 16}, {put, 64}];
cells(tls, ?MEBIBYTE, _Settings) -> [{get, 1}, {put, 1}];
cells(sizes, _Size, _Settings) -> [{Operation, N} || Operation <- [get, put], N <- ?CALLERS_OF_LARGE];
cells(operations, _Size, _Settings) -> [{incr, 1}, {incr, 64}, {update, 1}, {update, 64}, {transaction, 1}, {transaction, 64}];
cells(many, _Size, _Settings) -> [{Operation, 1} || Operation <- [get_many, put_many, pipelined]].

cell(Part, Operation, Callers, Size, Contenders, #{rounds := Rounds, ms := Ms}) ->
    io:format("~n~ts: ~ts, ~b callers, values of ~b bytes~n", [Part, Operation, Callers, Size]),
    Able = [Contender || Contender <- Contenders, kv_bench_load:is_able(Contender, Operation)],
    lists:append([
        rows(#row{part = Part, operation = Operation, callers = Callers, bytes = Size, contender = Name, round = Round}, Figures)
     || Round <- lists:seq(1, Rounds),
        #{name := Name} = Contender <- rotate(Round, Able),
        Figures <- [kv_bench_load:run(Contender, Operation, Callers, Ms)],
        ok =:= say(Round, Name, Figures)
    ]).

%% Each round begins with another contender, so that no contender always runs behind the slowest.
rotate(Round, Contenders) ->
    {Front, Back} = lists:split(Round rem max(1, length(Contenders)), Contenders),
    Back ++ Front.

rows(Row, Figures) ->
    [Row#row{metric = Metric, value = Value} || {Metric, Value} <- maps:to_list(Figures), Value =/= undefined].

say(Round, Name, #{rate := Rate, p99 := P99}) ->
    io:format("  ~b ~-24ts ~10b/s  p99 ~p us~n", [Round, kv_bench_contender:title(Name), round(Rate), P99]).
