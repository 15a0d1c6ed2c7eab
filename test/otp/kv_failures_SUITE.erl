%% Tests the table of docs/failures.md row by row. rows/0 maps each row to its tests, in this
%% suite or in another one that is about exactly that row.
-module(kv_failures_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
%% Callbacks of the application of a_sigterm_to_both_loses_nothing_that_terminate_reads.
-export([start/2, stop/1]).
-compile([export_all, nowarn_export_all]).
-import(kv_loss, [start_own/2, async/1, await/1]).

-define(MAX_FRAME, 262144).
-define(STALL, 2500).

suite() -> [{timetrap, {seconds, 60}}].

all() -> [every_row_has_a_test, {group, rows}].

groups() ->
    [{rows, [parallel], lists:usort([Case || {_, Cases} <- rows(), {?MODULE, Case} <- Cases])}].

rows() ->
    [
        {"a bucket is stopped or killed", [
            {kv_crash_SUITE, a_bucket_that_is_stopped_loses_its_name},
            {kv_crash_SUITE, a_bucket_that_is_killed_loses_its_name},
            {?MODULE, one_bucket_that_ends_touches_no_other}
        ]},
        {"its proxy is stopped or killed", [
            {kv_crash_SUITE, a_proxy_that_is_stopped_takes_its_bucket_along},
            {kv_crash_SUITE, a_proxy_that_is_killed_takes_its_bucket_along}
        ]},
        {"its owner ends, or the owner's node is lost", [{?MODULE, a_bucket_ends_with_its_owner}]},
        {"the registry of the tree is killed", [
            {kv_crash_SUITE, a_registry_that_is_killed_comes_back_empty_and_without_its_buckets}
        ]},
        {"the bucket supervisor is killed", [{kv_crash_SUITE, a_bucket_supervisor_that_is_killed_takes_the_registry_along}]},
        {"the event manager is killed", [{kv_crash_SUITE, an_event_manager_that_is_killed_costs_no_data}]},
        {"the connection between VM and program is lost", [{?MODULE, a_lost_connection_costs_no_value}]},
        {"a message is over a limit", [{?MODULE, a_message_over_a_limit_is_answered_with_an_error}]},
        {"the C program dies", [{?MODULE, a_process_with_a_name_outlives_the_program}]},
        {"the registry of the tree, or `KV.info/0`, is called while the program starts again", [
            {?MODULE, a_call_of_the_tree_exits_while_the_program_is_away}
        ]},
        {"the C program hangs", [{kv_crash_SUITE, a_program_that_hangs_is_killed_and_comes_back}]},
        {"it cannot start", [
            {kv_node_SUITE, a_missing_program_is_said_at_once},
            {kv_crash_SUITE, a_program_that_is_away_for_a_while_is_waited_for},
            {kv_stay_SUITE, the_node_logs_one_line_for_each_event}
        ]},
        {"the VM is given another name", [{?MODULE, a_vm_with_another_name_gets_a_new_program}]},
        {"distribution of the VM is stopped (`Node.stop/0`)", [
            {kv_names_SUITE, a_vm_that_stays_without_a_name_gets_one_from_kv_again}
        ]},
        {"SIGTERM to VM and program at once", [{?MODULE, a_sigterm_to_both_loses_nothing_that_terminate_reads}]},
        {"VM and program are frozen together", [{?MODULE, a_vm_and_a_program_that_were_frozen_together_go_on}]},
        {"the VM halts or is killed", [
            {kv_crash_SUITE, a_vm_that_halts_leaves_no_program},
            {kv_crash_SUITE, a_vm_that_is_killed_leaves_no_program}
        ]},
        {"the application is stopped", [
            {kv_crash_SUITE, an_application_that_stops_leaves_no_program},
            {?MODULE, a_process_with_a_name_waits_for_the_application}
        ]},
        {"the folder `data_dir` cannot be used", [
            {kv_folder_SUITE, a_folder_that_may_only_be_read},
            {kv_folder_SUITE, a_folder_that_another_node_has},
            {kv_folder_SUITE, a_log_that_is_damaged_before_answered_changes}
        ]},
        {"the disk is full", [{kv_disk_SUITE, a_full_disk_refuses_changes_and_heals_by_itself}]},
        {"the disk is slow, or stands", [{kv_disk_SUITE, a_disk_that_stands_holds_up_durable_buckets_alone}]},
        {"a write or a sync of the log fails", [
            {kv_disk_SUITE, a_write_that_fails_ends_the_node_and_loses_nothing},
            {kv_disk_SUITE, a_sync_that_fails_ends_the_node_and_loses_nothing}
        ]},
        {"the folder `data_dir` is removed, moved or unmounted under the node", [
            {kv_folder_SUITE, a_folder_that_is_removed_under_a_node_ends_it_before_any_answer},
            {kv_folder_SUITE, a_folder_that_is_moved_under_a_node_has_every_answered_change_once_it_is_back},
            {kv_folder_SUITE, a_file_system_that_is_mounted_over_the_folder_ends_the_node_before_any_answer}
        ]},
        {"a peer sends garbage, or has a wrong cookie", [{?MODULE, garbage_and_a_wrong_cookie_disturb_nobody_else}]},
        {"a call that a process does not understand", [{?MODULE, an_unknown_call_is_answered_with_an_error}]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(every_row_has_a_test, Config) ->
    Config;
init_per_testcase(Case, Config0) ->
    Config = kv_test:start_case(Config0),
    [{vm, start_vm(Case, Config)} | Config].

%% Distribution that was started by a flag cannot be stopped.
start_vm(a_vm_with_another_name_gets_a_new_program, Config) ->
    kv_test:start_undistributed_vm(Config, []);
start_vm(_Case, Config) ->
    kv_test:start_vm(Config, ["-setcookie", "secret", "-kernel", "net_ticktime", "1"]).

%% Cases run side by side, so each checks only its own program.
end_per_testcase(_Case, Config) -> kv_test:end_vm(Config).

%%% The map

every_row_has_a_test(_Config) ->
    ?assertEqual([Row || {Row, _} <- rows()], rows_of(failures(filename:dirname(code:which(?MODULE))))),
    [
        begin
            {module, Suite} = code:ensure_loaded(Suite),
            ?assert(erlang:function_exported(Suite, Case, 1), {Suite, Case}),
            ?assert(lists:member(Case, cases_of(Suite)), {Suite, Case})
        end
     || {_, Cases} <- rows(), {Suite, Case} <- Cases
    ].

rows_of(Failures) ->
    {ok, Text} = file:read_file(Failures),
    {match, Rows} = re:run(Text, "^\\| (.*?) \\| ", [global, multiline, {capture, [1], list}]),
    lists:append(Rows) -- ["what"].

%% The tests may run from a build directory inside the project.
failures("/") ->
    error(no_table_of_failures);
failures(Directory) ->
    Path = filename:join([Directory, "docs", "failures.md"]),
    case filelib:is_regular(Path) of
        true -> Path;
        false -> failures(filename:dirname(Directory))
    end.

cases_of(Suite) ->
    Groups = case erlang:function_exported(Suite, groups, 0) of
        true -> Suite:groups();
        false -> []
    end,
    lists:append([cases_of(One, Groups) || One <- Suite:all()]).

cases_of({group, Name}, Groups) ->
    {Name, _, Members} = lists:keyfind(Name, 1, Groups),
    lists:append([cases_of(One, Groups) || One <- Members]);
cases_of(Case, _Groups) ->
    [Case].

%%% Processes

one_bucket_that_ends_touches_no_other(Config) ->
    in(Config, fun() ->
        Proxy = start_own(kv_bucket, [{name, sessions}]),
        _ = start_own(kv_bucket, [{name, other}]),
        [ok = kv_bucket:put(Bucket, key, 1) || Bucket <- [sessions, other]],
        Monitors = [monitor(process, P) || P <- [Proxy, kv_proxy:native(Proxy)]],
        true = exit(kv_proxy:native(Proxy), kill),
        ?assertEqual([killed, killed], [kv_test:down(Monitor) || Monitor <- Monitors]),
        ok = kv_test:wait(fun() -> is_pid(whereis(sessions)) end),
        ?assertEqual(undefined, kv_bucket:get(sessions, key)),
        ?assertEqual(1, kv_bucket:get(other, key))
    end).

a_bucket_ends_with_its_owner(Config) ->
    Other = kv_test:start_vm(Config, ["-setcookie", "secret"]),
    Node = in(Config, fun() -> kv_node:name() end, keep),
    Own = fun() ->
        Owner = spawn(fun() -> receive {done, _} = Reason -> exit(Reason) end end),
        {Owner, spawn(Node, kv_bucket, init, [[{owner, Owner}]])}
    end,
    {Owner, Bucket} = kv_test:in(Other, Own),
    {_, Left} = kv_test:in(Other, Own),
    {Mine, Local} = kv_test:in(?config(vm, Config), Own),
    Downs = kv_test:in(?config(vm, Config), fun() ->
        Monitors = [monitor(process, P) || P <- [Bucket, Local]],
        [P ! {done, P} || P <- [Owner, Mine]],
        [kv_test:down(Monitor) || Monitor <- Monitors]
    end),
    ?assertEqual([{done, Owner}, {done, Mine}], Downs),
    Watcher = kv_test:in(?config(vm, Config), fun() -> watch(Left) end),
    ok = kv_test:stop_vm(Other),
    ?assertEqual(noconnection, kv_test:in(?config(vm, Config), fun() ->
        Watcher ! {why, self()},
        receive {Watcher, Why} -> Why end
    end)).

%% Returns a process that already monitors another, and reports the reason of its end.
watch(Pid) ->
    Test = self(),
    Watcher = spawn(fun() ->
        Monitor = monitor(process, Pid),
        0 = gen_server:call(Pid, size),
        Test ! {self(), watches},
        Why = kv_test:down(Monitor),
        receive {why, Asker} -> Asker ! {self(), Why} end
    end),
    receive {Watcher, watches} -> Watcher end.

an_unknown_call_is_answered_with_an_error(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([]),
        [
            ?assertEqual({error, {bad_request, coffee}}, gen_server:call(Server, coffee))
         || Server <- [Bucket, kv_proxy:native(Bucket), kv_registry, kv_node]
        ]
    end).

%%% The connection and the program

a_lost_connection_costs_no_value(Config) ->
    in(Config, fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        Shopping = create(<<"shopping">>),
        [ok = kv_bucket:put(Bucket, key, 1) || Bucket <- [sessions, Shopping]],
        {Node, OsPid} = {kv_node:name(), kv_node:os_pid()},
        Monitor = monitor(process, Shopping),
        ok = sys:suspend(kv_proxy:native(sessions)),
        Call = async(fun() -> kv_bucket:get(sessions, key, none, 20000) end),
        ok = kv_test:wait(fun() -> [1 || #{queue := 1} <- [kv:info(sessions)]] =:= [1] end),
        true = erlang:disconnect_node(Node),
        ?assertMatch({exit, {{nodedown, Node}, _}}, await(Call)),
        ?assertEqual(noconnection, kv_test:down(Monitor)),
        %% From here on calls wait for the connection.
        ok = sys:resume(kv_proxy:native(sessions)),
        ?assertEqual([1, 1], [kv_bucket:get(Bucket, key) || Bucket <- [sessions, Shopping]]),
        ?assertEqual({ok, Shopping}, kv_registry:lookup(kv_registry, <<"shopping">>)),
        ?assertEqual({Node, OsPid, 1}, {kv_node:name(), kv_node:os_pid(), kv_bucket:generation(sessions)})
    end).

a_message_over_a_limit_is_answered_with_an_error(Config) ->
    Depth = 1000,
    in(Config, [{max_frame, ?MAX_FRAME}, {max_depth, Depth}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        Shopping = create(<<"shopping">>),
        ok = kv_bucket:put(Shopping, key, 1),
        Node = kv_node:name(),
        true = monitor_node(Node, true),
        Large = binary_to_list(binary:copy(<<"x">>, 2 * ?MAX_FRAME)),
        Deep = lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, 2 * Depth)),
        [
            begin
                ?assertMatch({error, {too_large, Bytes}} when Bytes > ?MAX_FRAME, kv_bucket:put(Bucket, key, Large)),
                ?assertMatch({error, {too_large, _}}, kv_bucket:put_many(Bucket, [{N, binary:copy(<<N>>, 65536)} || N <- lists:seq(1, 9)])),
                ?assertEqual({error, {too_deep, Depth}}, kv_bucket:put(Bucket, key, Deep)),
                ?assertExit({{too_large, _}, _}, kv_bucket:get(Bucket, Large)),
                ?assertExit({{too_deep, Depth}, _}, kv_bucket:get(Bucket, Deep)),
                ?assertMatch({error, {too_large, _}}, gen_server:call(Bucket, {get, Large}))
            end
         || Bucket <- [sessions, kv_proxy:native(sessions), Shopping]
        ],
        ?assertMatch({error, {too_large, _}}, kv_registry:create(kv_registry, binary:copy(<<"n">>, 2 * ?MAX_FRAME))),
        ?assertEqual({0, 1}, {kv_bucket:size(sessions), kv_bucket:get(Shopping, key)}),
        ?assertEqual([], [lost || {nodedown, _} <- kv_test:mailbox()])
    end).

a_process_with_a_name_outlives_the_program(Config) ->
    in(Config, fun() ->
        Shopping = monitor(process, create(<<"shopping">>)),
        Bucket = start_own(kv_bucket, [{name, sessions}]),
        Filled = start_own(kv_bucket, [{name, settings}, {fill, {kv_bucket, put_many, [[{theme, dark}]]}}]),
        Registry = start_own(kv_registry, [{name, names}]),
        Nameless = monitor(process, start_own(kv_bucket, [{id, nameless}])),
        [ok = kv_bucket:put(B, key, 1) || B <- [sessions, settings]],
        ok = kv_registry:create(names, <<"a">>),
        ok = kv_test_log:listen(notice),
        ok = kv_test:signal("KILL", kv_node:os_pid()),
        ?assertEqual([noconnection, noconnection], [kv_test:down(M) || M <- [Shopping, Nameless]]),
        ?assertEqual([undefined, undefined], [kv_bucket:get(B, key) || B <- [sessions, settings]]),
        ?assertEqual({dark, []}, {kv_bucket:get(settings, theme), kv_registry:names(names)}),
        ?assertEqual([Bucket, Filled, Registry], [whereis(N) || N <- [sessions, settings, names]]),
        ?assertEqual(2, kv_bucket:generation(sessions)),
        ok = kv_test:wait(fun() -> is_pid(attempt(fun() -> create(<<"again">>) end)) end),
        ?assertMatch([_], [Line || {warning, Line} <- kv_test_log:heard(), string:find(Line, "is lost") =/= nomatch])
    end).

%% A program that is away for as long as the test wants: a copy, since the original serves other cases.
a_call_of_the_tree_exits_while_the_program_is_away(Config) ->
    Program = filename:join(?config(home, Config), "kv_node"),
    {ok, _} = file:copy(kv_test:program(), Program),
    ok = file:change_mode(Program, 8#755),
    in(Config, [{program, Program}], fun() ->
        _ = start_own(kv_registry, [{name, names}]),
        Registry = monitor(process, whereis(kv_registry)),
        ok = file:rename(Program, Program ++ ".away"),
        ok = kv_test:signal("KILL", kv_node:os_pid()),
        _ = kv_test:down(Registry),
        ?assertExit({noproc, _}, kv_registry:names(kv_registry)),
        ?assertExit({noproc, _}, kv_registry:create(kv_registry, <<"a">>)),
        ?assertExit({noproc, _}, kv:info()),
        Waiting = async(fun() -> kv_registry:names(names, infinity) end),
        ok = file:rename(Program ++ ".away", Program),
        ?assertEqual({ok, []}, await(Waiting)),
        ok = kv_test:wait(fun() -> attempt(fun() -> kv_registry:names(kv_registry) end) =:= [] end),
        ?assertMatch(#{}, kv:info())
    end).

a_vm_with_another_name_gets_a_new_program(Config) ->
    Vm = list_to_atom("old_" ++ os:getpid() ++ "@127.0.0.1"),
    Renamed = list_to_atom("new_" ++ os:getpid() ++ "@127.0.0.1"),
    {ok, _} = kv_test:in(?config(vm, Config), fun() -> net_kernel:start([Vm, longnames]) end),
    in(Config, fun() ->
        Bucket = start_own(kv_bucket, [{name, sessions}]),
        ok = kv_bucket:put(sessions, key, 1),
        OsPid = kv_node:os_pid(),
        ok = kv_test_log:listen(notice),
        ok = net_kernel:stop(),
        {ok, _} = net_kernel:start([Renamed, longnames]),
        ok = kv_test:wait(fun() -> is_pid(whereis(kv_node)) andalso attempt(fun kv_node:os_pid/0) =/= OsPid end),
        ok = kv_test:wait(fun() -> attempt(fun() -> kv_bucket:get(sessions, key, none, 20000) end) =:= none end),
        ?assertEqual(Bucket, whereis(sessions)),
        ?assertEqual(list_to_atom("kv_" ++ atom_to_list(Renamed)), kv_node:name()),
        Expected = io_lib:format("vm_renamed,'~ts','~ts'", [Vm, Renamed]),
        ?assertMatch([_], [Line || {warning, Line} <- kv_test_log:heard(), string:find(Line, Expected) =/= nomatch])
    end).

a_vm_and_a_program_that_were_frozen_together_go_on(Config) ->
    Os = in(Config, [{ticktime, 1}, {ping_timeout, 2000}], fun() ->
        _ = start_own(kv_bucket, [{name, sessions}]),
        ok = kv_bucket:put(sessions, key, 1),
        true = register(listener, self()),
        true = monitor_node(kv_node:name(), true),
        [list_to_integer(os:getpid()), kv_node:os_pid()]
    end, keep),
    [ok = kv_test:signal("STOP", Pid) || Pid <- Os],
    timer:sleep(?STALL),
    [ok = kv_test:signal("CONT", Pid) || Pid <- Os],
    timer:sleep(?STALL),
    kv_test:in(?config(vm, Config), fun() ->
        ?assertEqual({messages, []}, process_info(whereis(listener), messages)),
        ?assertEqual(1, kv_bucket:get(sessions, key))
    end).

%%% Stopping

%% An application whose process reads a bucket while it is being stopped.
start(_Type, [File]) ->
    {ok, proc_lib:spawn_link(fun() ->
        process_flag(trap_exit, true),
        {ok, _} = kv_bucket:start_link([{name, sessions}]),
        ok = kv_bucket:put(sessions, key, <<"read in the end">>),
        receive
            {'EXIT', _, shutdown} ->
                %% Gives the program the time to end, if the signal would end it.
                timer:sleep(300),
                file:write_file(File, kv_bucket:get(sessions, key))
        end
    end)}.

stop(_State) -> ok.

a_sigterm_to_both_loses_nothing_that_terminate_reads(Config) ->
    File = filename:join(?config(home, Config), "last_words"),
    {Vm, Program} = in(Config, fun() ->
        ok = application:load({application, ?MODULE, [{applications, [kv]}, {mod, {?MODULE, [File]}}]}),
        ok = application:start(?MODULE),
        ok = kv_test:wait(fun() -> attempt(fun() -> kv_bucket:has_key(sessions, key) end) =:= true end),
        {os:getpid(), kv_node:os_pid()}
    end, keep),
    [] = os:cmd(lists:flatten(io_lib:format("kill -TERM ~s ~b", [Vm, Program]))),
    [ok = kv_test:gone(OsPid) || OsPid <- [list_to_integer(Vm), Program]],
    ?assertEqual({ok, <<"read in the end">>}, file:read_file(File)).

a_process_with_a_name_waits_for_the_application(Config) ->
    in(Config, fun() ->
        Bucket = start_own(kv_bucket, [{name, sessions}]),
        OsPid = kv_node:os_pid(),
        ok = application:stop(kv),
        ?assertNot(kv_test:is_os_process(OsPid)),
        Call = async(fun() -> kv_bucket:put(sessions, key, 1, 20000) end),
        ok = application:start(kv),
        ?assertEqual({ok, ok}, await(Call)),
        ?assertEqual(Bucket, whereis(sessions))
    end).

%%% Others

garbage_and_a_wrong_cookie_disturb_nobody_else(Config) ->
    Port = in(Config, fun() ->
        true = register(listener, self()),
        ok = kv_test_log:listen(notice),
        _ = start_own(kv_bucket, [{name, sessions}]),
        ok = kv_bucket:put(sessions, key, 1),
        maps:get(port, kv_node:info())
    end, keep),
    {ok, Peer} = kv_raw_peer:handshake(Port, #{}),
    ok = kv_raw_peer:send_bytes(Peer, <<16:32, 112, 131, 104, 255, 0:96>>),
    ?assert(kv_raw_peer:is_closed(Peer, 10000)),
    ?assertMatch({error, _}, kv_raw_peer:handshake(Port, #{cookie => "guess"})),
    Lines = kv_test:in(?config(vm, Config), fun() ->
        ?assertEqual({1, 1}, {kv_bucket:get(sessions, key), kv_bucket:generation(sessions)}),
        ok = kv_test:wait(fun() -> length(about_peers()) >= 2 end),
        about_peers()
    end),
    ?assertMatch([_, _], Lines).

about_peers() ->
    {messages, Messages} = process_info(whereis(listener), messages),
    [Line || {line, {_, Line}} <- Messages, re:run(Line, "raw@127.0.0.1|127.0.0.1:\\d+", [{capture, none}]) =:= match].

%%% Helpers

in(Config, Fun) -> in(Config, [], Fun).

in(Config, Fun, keep) -> kv_loss:keeping(Config, [], Fun);
in(Config, Environment, Fun) -> kv_loss:in(Config, Environment, Fun).

in(Config, Environment, Fun, keep) -> kv_loss:keeping(Config, Environment, Fun).

%% Returns the value of a fun, or the reason of its exit.
attempt(Fun) ->
    try Fun() catch exit:Reason -> {exit, Reason} end.

create(Name) ->
    ok = kv_registry:create(kv_registry, Name),
    {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
    Bucket.
