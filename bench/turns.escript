#!/usr/bin/env escript
%% The longest turn of the node's loop, in processor time, for each request about many keys.
%%
%%     scripts/with-epmd escript bench/turns.escript [PROGRAM [KEYS ...]]
%%
%% Nothing else is asked meanwhile: all others would have to wait for so long. `_build/bench/turns.so` takes the times.
%% Columns: the longest, the second longest and the 99th percentile of the turns of 20 us or more, in ms; their number; and
%% the time of the request. Each is the median of some rounds, so that a host that stops the machine now and then does not count.
-mode(compile).

-define(COOKIE, "a_cookie_for_the_bench").
-define(ROUNDS, 5).
-define(HEADER, 16).

main([]) -> main(["priv/kv_node"]);
main([Program]) -> main([Program, "1000", "10000", "1000000"]);
main([Program | Sizes]) ->
    {ok, _} = net_kernel:start([list_to_atom("turns_" ++ os:getpid() ++ "@127.0.0.1"), longnames]),
    true = erlang:set_cookie(node(), list_to_atom(?COOKIE)),
    Library = filename:absname(filename:join(filename:dirname(escript:script_name()), "../_build/bench/turns.so")),
    File = "/dev/shm/kv_turns_" ++ os:getpid(),
    Node = list_to_atom("kv_turns_" ++ os:getpid() ++ "@127.0.0.1"),
    Port = open_port({spawn_executable, Program}, [{args, ["--name", atom_to_list(Node)]}, {line, 4096}, binary,
                                                   {env, [{"LD_PRELOAD", Library}, {"KV_TURNS", File}]}]),
    true = port_command(Port, [?COOKIE, "\n"]),
    receive {Port, {data, {eol, <<"ready ", _/binary>>}}} -> ok end,
    {ok, Turns} = file:open(File, [read, raw, binary]),
    io:format("~8s  ~-20s ~10s ~10s ~10s ~8s ~10s~n", ["keys", "request", "longest", "second", "p99", "turns", "took ms"]),
    try
        _ = [measure(Turns, Node, list_to_integer(Size)) || Size <- Sizes]
    after
        true = port_close(Port),
        file:delete(File)
    end.

measure(Turns, Node, Keys) ->
    Rounds = case Keys > 100000 of true -> 1; false -> ?ROUNDS end,
    _ = [io:format("~8b  ~-20s ~10.3f ~10.3f ~10.3f ~8b ~10.1f~n",
                   [Keys, Name | medians([round_of(Turns, bucket(Node, Name, Keys), Request) || _ <- lists:seq(1, Rounds)])])
         || {Name, Request} <- requests(Keys)],
    ok.

requests(Keys) ->
    Names = [<<"key:", (integer_to_binary(N + 100000000))/binary>> || N <- lists:seq(1, Keys)],
    Entries = [{Name, <<"value ", Name/binary>>} || Name <- Names],
    [
        {"put_many new", {put_many, Entries}},
        {"put_many old", {put_many, Entries}},
        {"put_many of maps", {put_many, [{Name, #{Name => 1, size => 2}} || Name <- Names]}},
        {"put_new_many", {put_new_many, Entries}},
        {"get_many", {get_many, Names}},
        {"keys", keys},
        {"scan", {scan, start, []}},
        {"to_map", to_map},
        {"get_state", get_state},
        {"delete_many", {delete_many, Names}},
        {"end of the bucket", stop}
    ].

%% A bucket of its own for each, with as many keys, unless the request puts new ones.
bucket(Node, Name, Keys) ->
    Bucket = spawn(Node, kv_bucket, init, [[]]),
    Old = not lists:member(Name, ["put_many new", "put_new_many", "put_many of maps"]),
    _ = [ok = gen_server:call(Bucket, {put_many, [{<<"key:", (integer_to_binary(N + 100000000))/binary>>, <<"value">>}
                                                  || N <- lists:seq(From, min(Keys, From + 999))]}, infinity)
         || Old, From <- lists:seq(1, Keys, 1000)],
    Bucket.

round_of(Turns, Bucket, Request) ->
    timer:sleep(60),
    garbage_collect(),
    {_, Before} = counts(Turns),
    {Took, _} = timer:tc(fun() -> ask(Bucket, Request) end),
    timer:sleep(60),
    {_, After} = counts(Turns),
    _ = Request =:= stop orelse exit(Bucket, kill),
    {ok, Bytes} = case After of Before -> {ok, <<>>}; _ -> file:pread(Turns, ?HEADER + 4 * Before, 4 * (After - Before)) end,
    Times = lists:reverse(lists:sort([Time || <<Time:32/native>> <= Bytes])),
    {at(Times, 1) / 1.0e6, at(Times, 2) / 1.0e6, at(Times, 1 + length(Times) div 100) / 1.0e6, length(Times), Took / 1000}.

ask(Bucket, stop) ->
    Monitor = monitor(process, Bucket),
    exit(Bucket, kill),
    receive {'DOWN', Monitor, process, Bucket, _} -> ok end;
ask(Bucket, get_state) -> sys:get_state(Bucket, infinity);
ask(Bucket, Request) -> gen_server:call(Bucket, Request, infinity).

counts(Turns) ->
    {ok, <<All:64/native, Kept:64/native>>} = file:pread(Turns, 0, ?HEADER),
    {All, Kept}.

at(Times, N) when N =< length(Times) -> lists:nth(N, Times);
at(_, _) -> 0.

medians(Rounds) ->
    [lists:nth((length(Rounds) + 1) div 2, lists:sort([element(N, Round) || Round <- Rounds])) || N <- lists:seq(1, 5)].
