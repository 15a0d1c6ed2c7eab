%% @doc kv_node: its options, failures to start and their reasons, distribution and EPMD where there were none, the
%% cookie, the log, and ending without leaving anything behind.
-module(kv_node_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [{group, options}, {group, failures}, {group, distribution}, {group, life}].

groups() ->
    [
        {options, [], [
            an_unknown_option_is_named,
            each_wrong_value_is_named_and_nothing_starts,
            a_wrong_value_in_the_environment_is_the_reason_of_the_application,
            a_wrong_configuration_of_the_tree_is_named
        ]},
        {failures, [], [
            a_missing_program_is_said_at_once,
            a_file_that_cannot_be_executed_is_said,
            a_program_of_another_version_is_refused,
            a_program_that_is_never_ready_is_ended_after_the_timeout,
            a_program_that_reads_its_data_may_take_longer_than_the_timeout,
            a_program_that_falls_silent_while_it_reads_its_data_is_ended,
            the_last_line_of_a_program_is_the_reason,
            a_program_that_ends_without_a_word_leaves_its_status,
            a_program_that_is_killed_leaves_the_signal,
            an_unknown_host_is_said_by_the_program,
            a_taken_port_is_said_by_the_program,
            a_taken_name_is_said_by_the_program,
            a_failed_boot_leaves_nothing_behind
        ]},
        {distribution, [], [
            without_distribution_the_reason_says_what_to_do,
            distribution_and_epmd_are_started_and_distribution_is_stopped,
            the_user_can_start_distribution_afterwards,
            distribution_that_was_there_stays,
            the_name_follows_the_name_of_the_vm,
            short_names_work,
            a_cookie_file_that_cannot_be_made_is_said,
            any_cookie_works,
            the_cookie_is_not_seen_in_the_process_list
        ]},
        {life, [], [
            info_tells_what_is_running,
            the_name_of_a_node_that_is_not_running_is_noproc,
            nobody_waits_for_a_node_whose_first_start_has_failed,
            a_second_node_of_a_vm_gets_a_name_of_its_own,
            log_lines_reach_the_logger_with_level_and_domain,
            odd_lines_do_no_harm,
            two_nodes_can_run_in_one_vm,
            start_and_stop_follow_each_other_quickly_under_one_name,
            the_tree_runs_under_other_names,
            delays_grow_with_failures_and_shrink_with_uptime,
            starts_never_come_faster_than_the_supervisor_bears
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Options

an_unknown_option_is_named(_Config) ->
    ?assertMatch({error, {bad_option, colour, _}}, kv_node:start_link([{colour, green}])),
    ?assertMatch({error, {bad_option, green, _}}, kv_node:start_link([green])),
    ?assertMatch({error, {bad_option, green, _}}, kv_node:start_link(green)).

each_wrong_value_is_named_and_nothing_starts(_Config) ->
    Wrong = [
        {program, ""}, {program, 7}, {data_dir, ""}, {data_dir, 7}, {program, "two\nlines"},
        {node_name, "kv@host"}, {node_name, kv}, {node_name, '@host'}, {node_name, 'kv@'}, {node_name, 'a@b@c'},
        {distribute, yes}, {distribute, undefined}, {delay_send, 1}, {delay_send, undefined},
        {start_timeout, 0}, {start_timeout, infinity}, {start_timeout, undefined},
        {ping_interval, 0}, {ping_interval, 1.5}, {ping_timeout, -1}, {stop_timeout, brutal_kill},
        {ticktime, 0}, {ticktime, 86401}, {max_frame, 4095}, {max_frame, 1 bsl 31}, {max_depth, 15}, {max_depth, (1 bsl 24) + 1}, {max_pending, 1},
        {max_peers, 0}, {max_queue, 1}, {max_memory, 1000}, {follow, 1}, {follow, undefined}, {gather, -1}, {gather, 1001}, {spin, -1}, {spin, 1001}, {handshake_timeout, 9}, {bind, 7},
        {port, 65536}, {port, -1},
        {zeros, equal}, {get_state, ok}, {log_level, loud}, {log_level, "notice"}, {backoff, 3}
    ],
    [
        ?assertMatch({error, {bad_option, Key, _}}, kv_node:start_link([{Key, Value}]), {Key, Value})
     || {Key, Value} <- Wrong
    ],
    ?assertEqual(undefined, whereis(kv_node)).

a_wrong_value_in_the_environment_is_the_reason_of_the_application(Config) ->
    in_vm(Config, fun() ->
        ok = application:load(kv),
        ok = application:set_env(kv, ping_timeout, soon),
        ?assertMatch({error, {{bad_option, ping_timeout, _}, _}}, application:start(kv)),
        ?assertEqual(undefined, whereis(kv_sup)),
        ok = application:set_env(kv, ping_timeout, 5000),
        ok = application:start(kv)
    end).

a_wrong_configuration_of_the_tree_is_named(_Config) ->
    Good = kv_config:defaults(),
    Wrong = [
        {registry, Good#{registry := "registry"}},
        {registry, maps:remove(registry, Good)},
        {start_bucket, Good#{start_bucket := kv_bucket}},
        {bucket_supervisor_spec, Good#{bucket_supervisor_spec := []}},
        {colour, Good#{colour => green}},
        {ticktime, Good#{node_options := [{ticktime, 0}]}}
    ],
    [?assertMatch({error, {bad_option, Key, _}}, kv_sup:start_link(C)) || {Key, C} <- Wrong],
    ?assertEqual({error, {bad_config, []}}, kv_sup:start_link([])).

%%% Failures

a_missing_program_is_said_at_once(Config) ->
    in_vm(Config, fun() ->
        Path = <<"/nowhere/kv_node">>,
        ?assertEqual({error, {program_missing, Path}}, start_node([{program, Path}])),
        ?assertMatch({error, {{program_missing, Path}, _}}, start_application([{program, Path}]))
    end).

a_file_that_cannot_be_executed_is_said(Config) ->
    in_vm(Config, fun() ->
        Path = filename:join(?config(home, Config), "text"),
        ok = file:write_file(Path, "not a program"),
        ?assertEqual({error, {program_not_executable, list_to_binary(Path)}}, start_node([{program, Path}]))
    end).

a_program_of_another_version_is_refused(Config) ->
    Ready = "echo 'ready name=x@y port=1 creation=7 version=0.0.0'",
    fails(Config, [Ready, "exec cat >/dev/null"], fun(Reason) ->
        {ok, Vsn} = application:get_key(kv, vsn),
        ?assertEqual({version_mismatch, <<"0.0.0">>, list_to_binary(Vsn)}, Reason)
    end).

a_program_that_is_never_ready_is_ended_after_the_timeout(Config) ->
    Stubborn = ["trap '' TERM", "echo $$ > $0.pid", "exec sleep 60"],
    Script = kv_test:script(Config, "stubborn", Stubborn),
    in_vm(Config, fun() ->
        Options = [{program, Script}, {start_timeout, 300}, {stop_timeout, 100}],
        ?assertEqual({error, {start_timeout, 300}}, start_node(Options)),
        {ok, OsPid} = file:read_file(Script ++ ".pid"),
        ?assertNot(kv_test:is_os_process(binary_to_integer(string:trim(OsPid))))
    end).

%% Each line is a sign of life; all of them together take longer than the timeout. The bucket waits as long.
a_program_that_reads_its_data_may_take_longer_than_the_timeout(Config) ->
    Lines = [["echo 'recovering ", integer_to_list(Percent), "%'; sleep 1"] || Percent <- [0, 0, 40, 45, 99]],
    Script = kv_test:script(Config, "recovering", Lines ++ ["exec " ++ kv_test:program()]),
    in_vm(Config, fun() ->
        ok = kv_test_log:listen(notice, fun(_) -> true end),
        Test = self(),
        spawn_link(fun() -> Test ! {started, kv_test:start_kv([{program, Script}, {start_timeout, 3000}])} end),
        kv_test:wait(fun() -> kv_nodes:status(kv_node) =:= starting end),
        ?assertMatch({ok, _}, kv_bucket:start_link([{name, waits}])),
        receive
            {started, Result} -> ?assertEqual(ok, Result)
        end,
        ok = kv_test_log:ignore(),
        ?assertEqual(
            [<<"kv_node reads its durable buckets from disk: ", Percent/binary, "% done">> || Percent <- [<<"0">>, <<"40">>, <<"99">>]],
            [Text || {notice, <<"kv_node reads ", _/binary>> = Text} <- kv_test_log:heard()]
        )
    end).

a_program_that_falls_silent_while_it_reads_its_data_is_ended(Config) ->
    Script = kv_test:script(Config, "silent", ["echo 'recovering 40%'", "exec sleep 60"]),
    in_vm(Config, fun() ->
        Options = [{program, Script}, {start_timeout, 300}, {stop_timeout, 100}],
        ?assertEqual({error, {start_timeout, 300}}, start_node(Options))
    end).

the_last_line_of_a_program_is_the_reason(Config) ->
    fails(Config, ["read line", "echo 'fatal no_epmd nothing answers on port 7'", "exit 69"], fun(Reason) ->
        ?assertEqual({fatal, no_epmd, <<"nothing answers on port 7">>}, Reason)
    end),
    fails(Config, ["read line", "echo 'recovering 7%'", "echo 'fatal data_dir another node uses it'", "exit 75"], fun(Reason) ->
        ?assertEqual({fatal, data_dir, <<"another node uses it">>}, Reason)
    end),
    fails(Config, ["read line", "echo 'fatal log_failed EIO'", "exit 76"], fun(Reason) ->
        ?assertEqual({fatal, log_failed, <<"EIO">>}, Reason)
    end),
    fails(Config, ["read line", "echo 'fatal unheard_of because'", "exit 1"], fun(Reason) ->
        ?assertEqual({fatal, <<"unheard_of">>, <<"because">>}, Reason)
    end).

a_program_that_ends_without_a_word_leaves_its_status(Config) ->
    fails(Config, ["read line", "exit 3"], fun(Reason) -> ?assertEqual({exited, 3}, Reason) end).

a_program_that_is_killed_leaves_the_signal(Config) ->
    fails(Config, ["read line", "kill -9 $$"], fun(Reason) -> ?assertEqual({killed, sigkill}, Reason) end),
    fails(Config, ["read line", "kill -6 $$"], fun(Reason) -> ?assertEqual({killed, sigabrt}, Reason) end).

an_unknown_host_is_said_by_the_program(Config) ->
    in_vm(Config, fun() ->
        ?assertMatch({error, {fatal, host_unresolved, <<_, _/binary>>}}, start_node([{node_name, 'kv@no.such.invalid'}]))
    end).

a_taken_port_is_said_by_the_program(Config) ->
    in_vm(Config, fun() ->
        {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
        {ok, Port} = inet:port(Socket),
        ?assertMatch({error, {fatal, port_taken, _}}, start_node([{port, Port}])),
        ok = gen_tcp:close(Socket)
    end).

a_taken_name_is_said_by_the_program(Config) ->
    First = kv_test:start_vm(Config),
    Name = list_to_atom("kv_taken_" ++ os:getpid() ++ "@127.0.0.1"),
    ok = kv_test:in(First, fun() -> kv_test:start_kv([{node_name, Name}]) end),
    try
        in_vm(Config, fun() -> ?assertMatch({error, {fatal, name_taken, _}}, start_node([{node_name, Name}])) end)
    after
        ok = kv_test:stop_vm(First)
    end.

a_failed_boot_leaves_nothing_behind(Config) ->
    Vm = kv_test:start_undistributed_vm(Config, []),
    kv_test:in(Vm, fun() ->
        Ports = erlang:ports(),
        ?assertMatch({error, {{program_missing, _}, _}}, start_application([{program, "/nowhere"}])),
        ?assertEqual(nonode@nohost, node()),
        ?assertEqual(Ports, erlang:ports()),
        %% Except for the server that is not part of the application.
        ?assertEqual([kv_nodes], [P || P <- registered(), lists:prefix("kv_", atom_to_list(P))])
    end),
    ok = kv_test:stop_vm(Vm).

%%% Distribution

without_distribution_the_reason_says_what_to_do(Config) ->
    Vm = kv_test:start_undistributed_vm(Config, []),
    kv_test:in(Vm, fun() ->
        {error, {{not_alive, Text}, _}} = start_application([{distribute, false}]),
        ?assertNotEqual(nomatch, binary:match(Text, <<"-sname">>)),
        ?assertEqual(nonode@nohost, node())
    end),
    ok = kv_test:stop_vm(Vm).

distribution_and_epmd_are_started_and_distribution_is_stopped(Config) ->
    Port = kv_test:free_port(),
    Elsewhere = lists:keystore(epmd_port, 1, Config, {epmd_port, Port}),
    Vm = kv_test:start_undistributed_vm(Elsewhere, []),
    try
        kv_test:in(Vm, fun() ->
            [
                begin
                    ok = kv_test:start_kv(),
                    ?assertMatch({"kv_vm_", [_, _, _, _, _, _, _, _ | "@127.0.0.1"]}, lists:split(6, atom_to_list(node()))),
                    ?assertEqual("kv_" ++ lists:nthtail(6, atom_to_list(node())), atom_to_list(kv_node:name())),
                    ok = kv_registry:create(kv_registry, <<"shopping">>),
                    ok = application:stop(kv),
                    ?assertEqual(nonode@nohost, node())
                end
             || _ <- lists:seq(1, 5)
            ]
        end)
    after
        ok = kv_test:stop_vm(Vm),
        [kv_test:signal("TERM", OsPid) || OsPid <- kv_test:epmd_os_pids(Port)]
    end,
    kv_test:wait(fun() -> kv_test:epmd_os_pids(Port) =:= [] end).

the_user_can_start_distribution_afterwards(Config) ->
    Vm = kv_test:start_undistributed_vm(Config, []),
    kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv(),
        ok = application:stop(kv),
        Name = list_to_atom("mine_" ++ os:getpid() ++ "@127.0.0.1"),
        {ok, _} = net_kernel:start(Name, #{name_domain => longnames}),
        ok = application:start(kv),
        ?assertEqual(list_to_atom("kv_" ++ atom_to_list(Name)), kv_node:name()),
        ok = application:stop(kv),
        ?assertEqual(Name, node()),
        ok = net_kernel:stop()
    end),
    ok = kv_test:stop_vm(Vm).

distribution_that_was_there_stays(Config) ->
    in_vm(Config, fun() ->
        Name = node(),
        ok = kv_test:start_kv(),
        ok = application:stop(kv),
        ?assertEqual(Name, node())
    end).

the_name_follows_the_name_of_the_vm(Config) ->
    in_vm(Config, fun() ->
        ok = kv_test:start_kv(),
        ?assertEqual("kv_" ++ atom_to_list(node()), atom_to_list(kv_node:name())),
        ?assertEqual(pong, net_adm:ping(kv_node:name())),
        ?assertEqual([kv_node:name()], nodes(hidden)),
        ?assertEqual([], nodes())
    end).

short_names_work(Config) ->
    Name = "kv_short" ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid(),
    Vm = kv_test:start_undistributed_vm(Config, ["-sname", Name]),
    kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv(),
        [_, Host] = string:split(atom_to_list(node()), "@"),
        ?assertEqual(nomatch, string:find(Host, ".")),
        ?assertEqual("kv_" ++ Name ++ "@" ++ Host, atom_to_list(kv_node:name())),
        ok = kv_registry:create(kv_registry, <<"shopping">>)
    end),
    ok = kv_test:stop_vm(Vm).

a_cookie_file_that_cannot_be_made_is_said(Config) ->
    %% A file where there should be a directory. That stops root, too.
    NoHome = filename:join(?config(home, Config), "file"),
    ok = file:write_file(NoHome, ""),
    Vm = kv_test:start_undistributed_vm([{home, NoHome} | Config], []),
    kv_test:in(Vm, fun() ->
        {error, {{no_distribution, Text}, _}} = start_application([]),
        ?assertNotEqual(nomatch, binary:match(Text, <<".erlang.cookie">>))
    end),
    ok = kv_test:stop_vm(Vm).

any_cookie_works(Config) ->
    in_vm(Config, fun() ->
        Cookies = [
            '--name=x@y', '--', ' spaces in it ', 'caf\x{e9}', 'a\ttab', 'two\nlines\r', 'a\0b', '', list_to_atom(lists:duplicate(255, $c))
        ],
        [
            begin
                true = erlang:set_cookie(Cookie),
                ok = kv_test:start_kv(),
                ok = kv_registry:create(kv_registry, <<"shopping">>),
                ok = application:stop(kv)
            end
         || Cookie <- Cookies
        ],
        true = erlang:set_cookie('\x{3bb}'),
        ?assertMatch({error, {{bad_cookie, _}, _}}, application:start(kv))
    end).

the_cookie_is_not_seen_in_the_process_list(Config) ->
    in_vm(Config, fun() ->
        true = erlang:set_cookie('a_rare_secret'),
        ok = kv_test:start_kv(),
        Proc = "/proc/" ++ integer_to_list(kv_node:os_pid()),
        [
            begin
                {ok, Seen} = file:read_file(filename:join(Proc, File)),
                ?assertEqual(nomatch, binary:match(Seen, <<"a_rare_secret">>))
            end
         || File <- ["cmdline", "environ"]
        ],
        Status = io_lib:format("~p", [sys:get_status(kv_node)]),
        ?assertEqual(nomatch, string:find(Status, "a_rare_secret"))
    end).

%%% Life

info_tells_what_is_running(Config) ->
    in_vm(Config, fun() ->
        ok = kv_test:start_kv(),
        #{node := Info, version := Version} = kv:info(),
        ?assertEqual(maps:get(version, Info), Version),
        {ok, Vsn} = application:get_key(kv, vsn),
        ?assertEqual(kv_node:name(), maps:get(name, Info)),
        ?assertEqual(kv_node:os_pid(), maps:get(os_pid, Info)),
        ?assertEqual(list_to_binary(Vsn), maps:get(version, Info)),
        ?assert(maps:get(port, Info) > 0),
        ?assert(maps:get(creation, Info) > 3),
        ?assert(maps:get(uptime_ms, Info) >= 0),
        ?assertEqual(list_to_binary(kv_test:program()), maps:get(program, Info)),
        ?assert(kv_test:is_os_process(kv_node:os_pid())),
        ?assertEqual({error, {bad_request, what}}, gen_server:call(kv_node, what))
    end).

the_name_of_a_node_that_is_not_running_is_noproc(Config) ->
    in_vm(Config, fun() ->
        ?assertExit({noproc, {kv_node, name, [kv_node]}}, kv_node:name()),
        ?assertExit({noproc, {kv_node, name, [other]}}, kv_node:name(other)),
        ok = kv_test:start_kv(),
        ok = application:stop(kv),
        ?assertExit({noproc, {kv_node, name, [kv_node]}}, kv_node:name())
    end).

nobody_waits_for_a_node_whose_first_start_has_failed(Config) ->
    in_vm(Config, fun() ->
        process_flag(trap_exit, true),
        {error, {program_missing, _}} = kv_node:start_link(third, [{program, "/nowhere/kv_node"}]),
        ?assertMatch({error, {not_running, <<"third is not running", _/binary>>}}, kv_bucket:start_link([{node, third}]))
    end).

a_second_node_of_a_vm_gets_a_name_of_its_own(Config) ->
    in_vm(Config, fun() ->
        ok = kv_test:start_kv(),
        First = kv_node:name(),
        {ok, Second} = kv_node:start_link(second, []),
        [Alive, Host] = string:split(atom_to_list(First), "@"),
        ?assertEqual(list_to_atom(Alive ++ "_2@" ++ Host), kv_node:name(second)),
        true = unlink(Second),
        ok = gen_server:stop(Second),
        ok = application:stop(kv)
    end).

log_lines_reach_the_logger_with_level_and_domain(Config) ->
    Lines = ["echo 'log debug quiet'", "echo 'log warning look out'", "echo 'log shout odd level'"],
    Script = kv_test:script(Config, "talker", Lines ++ ["exec " ++ kv_test:program()]),
    in_vm(Config, fun() ->
        ok = kv_test_log:listen(all, fun(#{meta := Meta}) -> maps:get(domain, Meta, []) =:= [kv, node] end),
        ok = kv_test:start_kv([{program, Script}]),
        ok = kv_test_log:ignore(),
        ?assertEqual(
            [{debug, <<"quiet">>}, {warning, <<"look out">>}, {notice, <<"odd level">>}],
            [Line || {_, Text} = Line <- kv_test_log:heard(), lists:member(Text, [<<"quiet">>, <<"look out">>, <<"odd level">>])]
        )
    end).

odd_lines_do_no_harm(Config) ->
    Long = "head -c 100000 /dev/zero | tr '\\0' x; echo",
    Lines = [Long, "echo", "echo ready", "echo 'ready port=x'", "echo log", "printf '\\377\\376\\n'"],
    Script = kv_test:script(Config, "odd", Lines ++ ["exec " ++ kv_test:program()]),
    in_vm(Config, fun() ->
        ok = logger:set_primary_config(level, all),
        ok = kv_test:start_kv([{program, Script}]),
        ok = kv_registry:create(kv_registry, <<"shopping">>)
    end).

two_nodes_can_run_in_one_vm(Config) ->
    in_vm(Config, fun() ->
        ok = kv_test:start_kv(),
        Second = list_to_atom("kv_second_" ++ os:getpid() ++ "@127.0.0.1"),
        {ok, Pid} = kv_node:start_link(second, [{node_name, Second}]),
        ?assertEqual(Second, kv_node:name(second)),
        ?assertEqual(kv_node, kv_node:default()),
        {ok, Here} = kv_bucket:start_link([{node, second}]),
        {ok, There} = kv_bucket:start_link(),
        ?assertEqual(Second, node(kv_proxy:native(Here))),
        ?assertEqual(kv_node:name(), node(kv_proxy:native(There))),
        unlink(Here),
        ok = gen_server:stop(Pid),
        ok = kv_bucket:put(There, key, value)
    end).

start_and_stop_follow_each_other_quickly_under_one_name(Config) ->
    in_vm(Config, fun() ->
        ok = kv_test:start_kv(),
        Times = [
            kv_test:milliseconds(fun() ->
                ok = kv_registry:create(kv_registry, <<"shopping">>),
                ok = application:stop(kv),
                ok = application:start(kv),
                ?assertEqual([], kv_registry:names(kv_registry))
            end)
         || _ <- lists:seq(1, 30)
        ],
        %% If EPMD still had the name, the program would lose its first second.
        ?assert(lists:nth(15, lists:sort(Times)) < 1000)
    end).

the_tree_runs_under_other_names(Config) ->
    in_vm(Config, fun() ->
        Config1 = (kv_config:defaults())#{
            supervisor := 'KV.S', event_manager := 'KV.E', node_supervisor := 'KV.NS', node := 'KV.N',
            store_supervisor := 'KV.SS', bucket_supervisor := 'KV.BS', registry := 'KV.R',
            bucket_supervisor_spec := kv_bucket_sup:child_spec('KV.BS'),
            start_bucket := {kv_bucket_sup, start_bucket, ['KV.BS']}
        },
        {ok, Pid} = kv_sup:start_link(Config1),
        ?assertEqual(Pid, whereis('KV.S')),
        ?assertEqual(['KV.NS', 'KV.E'], ids('KV.S')),
        ?assertEqual(['KV.SS', 'KV.N'], ids('KV.NS')),
        ?assertEqual(['KV.R', 'KV.BS'], ids('KV.SS')),
        [?assertMatch([_ | _], supervisor:count_children(S)) || S <- ['KV.S', 'KV.NS', 'KV.SS', 'KV.BS']],
        ok = kv_registry:create('KV.R', <<"shopping">>),
        ?assertEqual([<<"shopping">>], kv_registry:names({'KV.R', kv_node:name('KV.N')})),
        ?assertEqual('KV.N', kv_node:default())
    end).

ids(Supervisor) ->
    [Id || {Id, Pid, _, _} <- supervisor:which_children(Supervisor), Pid =:= whereis(Id)].

delays_grow_with_failures_and_shrink_with_uptime(_Config) ->
    ?assertEqual([0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000], [kv_backoff:delay(N) || N <- lists:seq(0, 11)]),
    ?assertEqual(5000, kv_backoff:delay(1000000)),
    Backoff = kv_backoff:new(),
    [ok = kv_backoff:failed(Backoff) || _ <- lists:seq(1, 5)],
    ok = kv_backoff:ended(Backoff, 999),
    ?assertEqual(6, kv_backoff:failures(Backoff)),
    ok = kv_backoff:ended(Backoff, 3000),
    ?assertEqual(4, kv_backoff:failures(Backoff)),
    ok = kv_backoff:ended(Backoff, 60000),
    ?assertEqual(0, kv_backoff:failures(Backoff)).

%% However long the programs live: kv_sup allows 20 starts of the node in 10 seconds.
starts_never_come_faster_than_the_supervisor_bears(_Config) ->
    Seed = rand:seed_s(exsss, 20),
    lists:foldl(
        fun(_, State) ->
            {Longest, Next} = rand:uniform_s(3000, State),
            {Starts, Last} = lives(kv_backoff:new(), 0, Longest, 200, [], Next),
            ?assert(most_within(10000, Starts) =< 20, Longest),
            Last
        end,
        Seed,
        lists:seq(1, 500)
    ).

lives(_Backoff, _Now, _Longest, 0, Starts, Random) ->
    {lists:reverse(Starts), Random};
lives(Backoff, Now, Longest, Left, Starts, Random) ->
    Start = Now + kv_backoff:delay(kv_backoff:failures(Backoff)),
    {Uptime, Next} = rand:uniform_s(Longest, Random),
    ok = kv_backoff:ended(Backoff, Uptime),
    lives(Backoff, Start + Uptime, Longest, Left - 1, [Start | Starts], Next).

most_within(Period, Starts) ->
    lists:max([length([S || S <- Starts, S >= First, S < First + Period]) || First <- Starts]).

%%% Helpers

in_vm(Config, Fun) ->
    Vm = kv_test:start_vm(Config),
    _ = kv_test:in(Vm, Fun),
    ok = kv_test:stop_vm(Vm).

%% Starts a node that must fail, from a process that does not end with it.
start_node(Options) ->
    process_flag(trap_exit, true),
    kv_node:start_link(Options).

start_application(Environment) ->
    _ = application:load(kv),
    [ok = application:set_env(kv, Key, Value) || {Key, Value} <- Environment],
    application:start(kv).

fails(Config, Lines, Check) ->
    Script = kv_test:script(Config, "program", Lines),
    in_vm(Config, fun() ->
        _ = application:load(kv),
        {error, Reason} = start_node([{program, Script}]),
        Check(Reason)
    end).
