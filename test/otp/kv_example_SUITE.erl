%% @doc The process of examples/counter: built against include/kv alone, run by a node of its own, used from a
%% BEAM node as any process.
-module(kv_example_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(COOKIE, "a_cookie_for_all").

%% Building libkv.a takes its time when nothing has been built yet.
suite() -> [{timetrap, {minutes, 5}}].

all() ->
    [
        it_is_spawned_by_name_and_answers_calls,
        it_takes_casts_in_order_with_calls,
        a_bad_argument_is_the_reason_it_never_ran,
        it_dies_of_kill_and_its_monitor_fires,
        sys_shows_its_state,
        sys_suspends_and_resumes_it,
        an_unknown_request_is_refused,
        one_of_them_starts_with_the_node,
        a_copy_builds_from_what_was_installed
    ].

%% In the chroots of other releases of OTP nothing can be built.
init_per_suite(Config) ->
    case os:getenv("KV_PREBUILT") of
        false ->
            Program = filename:join(?config(priv_dir, Config), "counter"),
            ok = make(example(), ["PROGRAM=" ++ Program]),
            kv_test:start_suite([{program, Program} | Config]);
        _ ->
            {skip, "nothing is built here"}
    end.

end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config0) ->
    Config = kv_test:start_program(kv_test:start_case(Config0), ?config(program, Config0), ?COOKIE),
    [{vm, kv_test:start_vm(Config, ["-setcookie", ?COOKIE])} | Config].

end_per_testcase(_Case, Config) ->
    normal = kv_test:stop_program(Config),
    _ = [kv_test:stop_vm(Vm) || {vm, Vm} <- Config, is_process_alive(Vm)],
    kv_test:end_case(Config).

example() -> filename:join(kv_test:project("examples/counter/counter.c"), "examples/counter").

%% The Makefile of the example has -I for the public headers and for nothing else.
make(Directory, Arguments) ->
    Port = open_port({spawn_executable, os:find_executable("make")}, [
        {args, ["-C", Directory | Arguments]}, exit_status, stderr_to_stdout, binary, {line, 1024}
    ]),
    await_build(Port).

await_build(Port) ->
    receive
        {Port, {data, {_, Line}}} ->
            ct:log("~ts", [Line]),
            await_build(Port);
        {Port, {exit_status, 0}} ->
            ok;
        {Port, {exit_status, Status}} ->
            {error, Status}
    end.

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%%% Cases

it_is_spawned_by_name_and_answers_calls(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Pid = spawn(Node, counter, init, [7]),
        ?assertEqual(Node, node(Pid)),
        ?assertEqual(7, gen_server:call(Pid, value)),
        ?assertEqual(12, gen_server:call(Pid, {add, 5})),
        ?assertEqual(2, gen_server:call(Pid, {add, -10}))
    end).

it_takes_casts_in_order_with_calls(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Pid = spawn(Node, counter, init, [7]),
        ok = gen_server:cast(Pid, reset),
        ok = gen_server:cast(Pid, {add, 3}),
        ?assertEqual(3, gen_server:call(Pid, value))
    end).

a_bad_argument_is_the_reason_it_never_ran(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        {Pid, Monitor} = spawn_monitor(Node, counter, init, [seven]),
        receive
            {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(not_an_integer, Reason)
        end
    end).

it_dies_of_kill_and_its_monitor_fires(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        {Pid, Monitor} = spawn_monitor(Node, counter, init, [0]),
        ?assertEqual(0, gen_server:call(Pid, value)),
        exit(Pid, kill),
        receive
            {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(killed, Reason)
        end,
        ?assertExit({noproc, _}, gen_server:call(Pid, value))
    end).

sys_shows_its_state(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Pid = spawn(Node, counter, init, [41]),
        42 = gen_server:call(Pid, {add, 1}),
        ?assertEqual(42, sys:get_state(Pid)),
        ?assertMatch({status, Pid, _, [[{'$initial_call', {counter, init, 1}} | _], running | _]}, sys:get_status(Pid))
    end).

sys_suspends_and_resumes_it(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Pid = spawn(Node, counter, init, [0]),
        ok = sys:suspend(Pid),
        ok = gen_server:cast(Pid, {add, 1}),
        ?assertEqual(0, sys:get_state(Pid)),
        ok = sys:resume(Pid),
        ?assertEqual(1, gen_server:call(Pid, value))
    end).

an_unknown_request_is_refused(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        Pid = spawn(Node, counter, init, [16#7fffffffffffffff]),
        ?assertEqual({error, {bad_request, hello}}, gen_server:call(Pid, hello)),
        ?assertEqual({error, {bad_request, {add, 1}}}, gen_server:call(Pid, {add, 1})),
        ?assertEqual(16#7fffffffffffffff, gen_server:call(Pid, value))
    end).

one_of_them_starts_with_the_node(Config) ->
    Node = ?config(node, Config),
    in(Config, fun() ->
        ?assertEqual(1, gen_server:call({counter, Node}, {add, 1})),
        {Pid, Monitor} = spawn_monitor(Node, counter, init, [{counter, 0}]),
        receive
            {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(already_registered, Reason)
        end,
        ?assertEqual(1, gen_server:call({counter, Node}, value))
    end).

%% No file of the source tree is in reach of the copy.
a_copy_builds_from_what_was_installed(Config) ->
    Example = example(),
    Copy = filename:join(?config(priv_dir, Config), "copy"),
    Prefix = filename:join(?config(priv_dir, Config), "installed"),
    ok = file:make_dir(Copy),
    [{ok, _} = file:copy(filename:join(Example, File), filename:join(Copy, File)) || File <- ["Makefile", "counter.c"]],
    ok = make(filename:join([Example, "..", "..", "c_src"]), ["install", "PREFIX=" ++ Prefix]),
    ok = make(Copy, ["KV=" ++ Prefix]),
    ?assert(filelib:is_regular(filename:join(Copy, "counter"))).
