#!/usr/bin/env escript
%% The price of Observer for a node: the time of each of its questions, and the waits of another connection meanwhile.
%%
%%     scripts/with-epmd escript bench/observe.escript [PROGRAM [BUCKETS ...]]
%%
%% One registry makes all buckets of a node, so it monitors them all. A VM of its own has the second connection, and calls
%% `net_kernel` of the node again and again. "waited" is the longest and the 99.9th percentile of its calls while the question was
%% asked for half a second, "quiet" the same without a question. On a machine that does other work, the longest says more about
%% this work than about the node.
-mode(compile).

-define(COOKIE, "a_cookie_for_the_bench").
-define(MS, 500).

main([]) -> main(["priv/kv_node"]);
main([Program]) -> main([Program, "10", "1000", "100000"]);
main([Program | Sizes]) ->
    Suffix = os:getpid() ++ "@127.0.0.1",
    {ok, _} = net_kernel:start([list_to_atom("observe_" ++ Suffix), longnames]),
    true = erlang:set_cookie(node(), list_to_atom(?COOKIE)),
    process_flag(trap_exit, true),
    {ok, Pinger, _} = peer:start(#{connection => standard_io, name => "ping_" ++ os:getpid(), host => "127.0.0.1",
                                   longnames => true, args => ["-setcookie", ?COOKIE, "-hidden"]}),
    io:format("~8s  ~-28s ~10s ~14s ~14s~n", ["buckets", "question", "took ms", "waited max ms", "99.9 % ms"]),
    _ = [measure(Program, list_to_atom("kv_" ++ Size ++ "_" ++ Suffix), list_to_integer(Size), Pinger) || Size <- Sizes],
    peer:stop(Pinger).

measure(Program, Node, Buckets, Pinger) ->
    Port = open_port({spawn_executable, Program}, [{args, ["--name", atom_to_list(Node)]}, {line, 4096}, binary]),
    true = port_command(Port, [?COOKIE, "\n"]),
    receive {Port, {data, {eol, <<"ready ", _/binary>>}}} -> ok end,
    Registry = spawn(Node, kv_registry, init, [[]]),
    _ = [gen_server:cast(Registry, {create, integer_to_binary(N)}) || N <- lists:seq(1, Buckets)],
    {ok, _} = gen_server:call(Registry, {lookup, integer_to_binary(Buckets)}, 60000),
    ok = row(Buckets, "quiet", Node, Pinger, fun() -> timer:sleep(?MS) end),
    Questions = questions(Node, Registry),
    [ok = row(Buckets, Name, Node, Pinger, Question) || {Name, Question} <- Questions],
    ok = row(Buckets, "one full refresh", Node, Pinger, fun() -> [Question() || {_, Question} <- Questions] end),
    true = port_close(Port),
    ok.

%% The median time of one question, and the waits of the other connection.
row(Buckets, Name, Node, Pinger, Question) ->
    Self = self(),
    Reference = make_ref(),
    Ping = spawn_link(fun() -> Self ! {Reference, peer:call(Pinger, erlang, apply, [pinging(Node), []], 120000)} end),
    Times = repeat(Question, erlang:monotonic_time(millisecond) + ?MS),
    Waits =
        receive
            {Reference, Seen} -> receive {'EXIT', Ping, normal} -> Seen end;
            {'EXIT', Ping, Reason} -> exit(Reason)
        end,
    Sorted = lists:sort(Times),
    io:format("~8b  ~-28s ~10.2f ~14.2f ~14.2f~n",
              [Buckets, Name, lists:nth((length(Sorted) + 1) div 2, Sorted) / 1000,
               lists:last(Waits) / 1000, lists:nth(max(1, length(Waits) * 999 div 1000), Waits) / 1000]).

repeat(Question, Deadline) ->
    {Time, _} = timer:tc(Question),
    case erlang:monotonic_time(millisecond) < Deadline of
        true -> [Time | repeat(Question, Deadline)];
        false -> [Time]
    end.

%% No other VM has the modules of a script, so functions that every VM has run there.
pinging(Node) ->
    {ok, Tokens, _} = erl_scan:string(
        "fun() -> Deadline = erlang:monotonic_time(millisecond) + " ++ integer_to_list(?MS) ++ ","
        "Loop = fun Loop(Seen) ->"
        "  {T, yes} = timer:tc(gen_server, call, [{net_kernel, '" ++ atom_to_list(Node) ++ "'}, {is_auth, node()}]),"
        "  case erlang:monotonic_time(millisecond) < Deadline of true -> Loop([T | Seen]); false -> lists:sort([T | Seen]) end "
        "end, Loop([]) end."),
    {ok, [Form]} = erl_parse:parse_exprs(Tokens),
    {value, Fun, _} = erl_eval:expr(Form, []),
    Fun.

questions(Node, Registry) ->
    Call = fun(M, F, A) -> fun() -> {M, F, false} = {M, F, is_badrpc(rpc:call(Node, M, F, A))} end end,
    [
        {"System", Call(observer_backend, sys_info, [])},
        {"Load Charts", fun() -> chart(Node) end},
        {"Processes", fun() -> rows(spawn_link(Node, observer_backend, procs_info, [self()])) end},
        {"Table Viewer", Call(observer_backend, get_table_list, [ets, []])},
        {"Sockets", Call(observer_backend, get_socket_list, [])},
        {"Applications", fun() -> tree(Node) end},
        {"window of the registry", fun() ->
            Items = [links, monitors, monitored_by, memory, reductions, dictionary],
            false = is_badrpc(rpc:call(Node, erlang, process_info, [Registry, Items])),
            false = is_badrpc(rpc:call(Node, sys, get_status, [Registry, 200]))
        end}
    ].

is_badrpc({badrpc, _}) -> true;
is_badrpc(_) -> false.

rows(Pid) ->
    receive
        {procs_info, Pid, _} -> rows(Pid);
        {'EXIT', Pid, normal} -> ok
    end.

%% The first sample comes after the period, which is not the node's time: the shortest period is 100 ms.
chart(Node) ->
    Pid = spawn_link(Node, observer_backend, fetch_stats, [self(), 100]),
    receive {stats, _, _, _, _} -> Pid ! exit end,
    receive {'EXIT', Pid, normal} -> ok end.

tree(Node) ->
    {ok, Pid} = rpc:call(Node, appmon_info, start_link2, [self(), self(), []]),
    gen_server:cast(Pid, {self(), app, kv, true, []}),
    receive {delivery, Pid, app, kv, _} -> ok end.
