%% @doc Shared by the suites that lose a node: its program, or the connection to it.
%%
%% All functions but away_program/1 run in the VM that owns the program.
-module(kv_loss).

-include_lib("common_test/include/ct.hrl").

-export([in/3, keeping/3, start_own/2, stop_supervisor/2, async/1, await/1]).
-export([kill/0, kill_and_await/0, disconnect_and_await/0, is_up/0, lose/0, find/0, buckets/0]).
-export([away_program/1, take_away/1, bring_back/1]).

-define(DEADLINE, 60000).

%% Runs a fun in the VM of a case while kv runs there.
in(Config, Environment, Fun) ->
    kv_test:in(?config(vm, Config), fun() ->
        ok = kv_test:start_kv(Environment),
        process_flag(trap_exit, true),
        Result = Fun(),
        ok = application:stop(kv),
        Result
    end, 190000).

%% The same, but kv goes on, and processes that the fun starts live until the VM stops.
keeping(Config, Environment, Fun) ->
    kv_test:in(?config(vm, Config), fun() ->
        ok = kv_test:start_kv(Environment),
        Test = self(),
        Keeper = spawn(fun() ->
            process_flag(trap_exit, true),
            Test ! {self(), Fun()},
            receive stop -> ok end
        end),
        receive {Keeper, Result} -> Result end
    end).

%% Starts a bucket or a registry below a supervisor of its own, of default intensity.
start_own(Module, Options) ->
    {ok, Supervisor} = supervisor:start_link(kv_test_sup, []),
    {ok, Pid} = supervisor:start_child(Supervisor, Module:child_spec(Options)),
    Pid.

stop_supervisor(Supervisor, Within) ->
    Monitor = monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive
        {'DOWN', Monitor, process, _, shutdown} -> ok
    after Within -> error(did_not_stop)
    end.

async(Fun) ->
    spawn_monitor(fun() -> exit(try Fun() of Value -> {ok, Value} catch Class:Reason -> {Class, Reason} end) end).

await({_Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, _, Result} -> Result
    after ?DEADLINE -> error(no_answer)
    end.

%% Waits for a program, because its predecessor may have been killed a moment ago, and kills it.
kill() ->
    case kv_test:wait(fun() -> try {os_pid, kv_node:os_pid()} catch exit:_ -> false end end, ?DEADLINE) of
        {os_pid, OsPid} -> _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid) ++ " 2>&1"), ok
    end.

kill_and_await() ->
    {up, #{connection := Before}} = kv_nodes:status(kv_node),
    ok = kill(),
    await_connection(Before).

disconnect_and_await() ->
    {up, #{connection := Before, node := Node}} = kv_nodes:status(kv_node),
    true = erlang:disconnect_node(Node),
    await_connection(Before).

await_connection(Before) ->
    kv_test:wait(fun() ->
        case kv_nodes:status(kv_node) of
            {up, #{connection := Now}} when Now > Before -> true;
            _ -> false
        end
    end, ?DEADLINE).

is_up() ->
    case kv_nodes:status(kv_node) of
        {up, #{node := Node}} -> lists:member(Node, nodes(connected));
        _ -> false
    end.

%% Loses the connection until find/0 is called: with such a cookie nobody can connect, and kv cannot hand it over.
lose() ->
    Node = kv_node:name(),
    true = erlang:set_cookie(Node, '\x{3bb}'),
    true = erlang:disconnect_node(Node),
    kv_test:wait(fun() -> element(1, kv_nodes:status(kv_node)) =:= lost end).

find() ->
    [Alive, Host] = string:split(atom_to_list(node()), "@"),
    true = erlang:set_cookie(list_to_atom("kv_" ++ Alive ++ "@" ++ Host), erlang:get_cookie()),
    kv_test:wait(fun() -> is_up() end, ?DEADLINE).

buckets() ->
    {kv_totals, Buckets, _, _, _, _} = gen_server:call({net_kernel, kv_node:name()}, kv_totals),
    Buckets.

%% Returns a copy of the program that can be taken away while the original serves other suites.
away_program(Config) ->
    Program = filename:join(?config(home, Config), "kv_node"),
    {ok, _} = file:copy(kv_test:program(), Program),
    ok = file:change_mode(Program, 8#755),
    Program.

%% Returns once all processes have noticed the loss: kv_node may see the end of the program before the connection is
%% lost.
take_away(Program) ->
    Node = kv_node:name(),
    ok = file:rename(Program, Program ++ ".away"),
    ok = kill(),
    ok = kv_test:wait(fun() -> kv_nodes:status(kv_node) =:= starting end),
    kv_test:wait(fun() -> kv_watcher:watcher(Node) =:= unknown end).

bring_back(Program) ->
    ok = file:rename(Program ++ ".away", Program).
