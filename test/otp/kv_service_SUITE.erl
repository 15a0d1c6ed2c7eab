%% The program as a service: options and cookie from files, the check before a start, life without EPMD, and its dealings
%% with a service manager.
-module(kv_service_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 90}}].

all() -> [{group, files}, {group, check}, {group, without_epmd}, {group, manager}, {group, cores}, {group, metrics}, {group, installed}].

groups() ->
    [
        {files, [], [
            options_and_cookie_come_from_files,
            the_command_line_counts_before_the_file,
            a_wrong_line_ends_it_with_64_and_is_named,
            a_cookie_file_that_others_may_read_ends_it_with_65,
            with_a_cookie_file_the_leash_has_requests_only,
            without_a_leash_nothing_is_read_from_standard_input
        ]},
        {check, [], [
            a_check_of_a_node_that_would_start_says_so_and_changes_nothing,
            a_check_tells_everything_that_would_fail,
            a_check_of_a_running_node_tells_what_it_holds,
            a_check_goes_with_no_other_command
        ]},
        {without_epmd, [], [
            a_vm_that_does_not_listen_dials_its_fixed_port,
            a_vm_that_listens_at_the_same_port_dials_another_address,
            without_epmd_a_port_is_needed,
            each_start_has_another_creation
        ]},
        {manager, [], [
            a_manager_hears_that_it_serves_and_that_it_stops,
            a_manager_with_an_abstract_socket_hears_too,
            a_manager_hears_why_it_does_not_start,
            a_watchdog_gets_signs_of_life,
            a_watchdog_hears_nothing_of_a_stopped_loop,
            a_recovery_tells_its_progress,
            a_long_recovery_asks_for_more_time,
            a_manager_that_reads_late_hears_that_it_serves
        ]},
        {cores, [], [
            no_core_is_written,
            cores_can_be_allowed,
            the_cookie_is_in_memory_that_no_core_has
        ]},
        {metrics, [], [
            figures_are_served_to_whoever_asks,
            events_of_all_buckets_are_added_up_and_those_of_the_ended_stay,
            a_node_of_many_buckets_tells_their_events_at_the_next_scrape,
            a_recovery_is_no_event,
            only_two_pages_are_there_and_only_to_be_read,
            health_says_why_a_node_does_not_serve_yet,
            slow_and_many_clients_keep_nobody_from_the_buckets,
            a_taken_address_ends_it_with_73,
            promtool_finds_no_fault,
            a_real_prometheus_scrapes_it
        ]},
        {installed, [], [
            what_is_installed_runs_and_is_removed_again,
            the_unit_is_one_for_systemd,
            the_manual_page_has_every_option
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config0) ->
    Config = kv_test:start_case(Config0),
    [{conf, in_home(Config, "kv.conf")}, {cookie, in_home(Config, "cookie")} | Config].

%% A case that fails leaves its node behind, if that has no leash. Its command line names the folder of the case.
end_per_testcase(_Case, Config) ->
    Left = [OsPid || OsPid <- filelib:wildcard("[0-9]*", "/proc"), is_ours(OsPid, Config)],
    [ok = kv_test:signal("KILL", list_to_integer(OsPid)) || OsPid <- Left],
    case {Left, ?config(tc_status, Config)} of
        {[_ | _], ok} -> {fail, {left_running, Left}};
        _ -> kv_test:end_case(Config)
    end.

is_ours(OsPid, Config) ->
    file:read_file("/proc/" ++ OsPid ++ "/comm") =:= {ok, <<"kv_node\n">>} andalso
        case file:read_file("/proc/" ++ OsPid ++ "/cmdline") of
            {ok, Line} -> binary:match(Line, list_to_binary(?config(conf, Config))) =/= nomatch;
            {error, _} -> false
        end.

in_home(Config, Name) -> filename:join(?config(home, Config), Name).

%%% Files

%% Writes the cookie "secret", and a file of options with these lines.
write(Config, Lines) ->
    ok = file:write_file(?config(cookie, Config), <<"secret\n">>),
    ok = file:change_mode(?config(cookie, Config), 8#400),
    ok = file:write_file(?config(conf, Config), lists:join("\n", Lines ++ [""])).

alive() -> "service" ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid().

usual(Config) -> usual(Config, alive()).

usual(Config, Alive) ->
    [
        "# a node of a test",
        "name " ++ Alive ++ "@127.0.0.1",
        "epmd-port " ++ integer_to_list(?config(epmd_port, Config)),
        "cookie-file " ++ ?config(cookie, Config)
    ].

configured(Config, More) -> ["--config", ?config(conf, Config) | More].

options_and_cookie_come_from_files(Config) ->
    Port = kv_program:free_port(),
    write(Config, usual(Config) ++ ["port " ++ integer_to_list(Port)]),
    Program = kv_program:start(configured(Config, []), ""),
    ?assertMatch(#{tcp_port := Port}, Program),
    ?assertMatch({ok, _}, kv_raw_peer:handshake(Port, #{cookie => "secret"})),
    kv_program:stop(Program).

the_command_line_counts_before_the_file(Config) ->
    Port = kv_program:free_port(),
    write(Config, usual(Config) ++ ["port 1"]),
    Program = kv_program:start(["--port", integer_to_list(Port) | configured(Config, [])], ""),
    ?assertMatch(#{tcp_port := Port}, Program),
    kv_program:stop(Program).

a_wrong_line_ends_it_with_64_and_is_named(Config) ->
    write(Config, usual(Config) ++ ["port ten"]),
    Wanted = "fatal bad_option " ++ ?config(conf, Config) ++ ":5: --port: a number from 0 to 65535 is wanted",
    ?assertEqual({64, Wanted}, ends(configured(Config, []))),
    ?assertEqual(
        {64, "fatal bad_option cannot read /nowhere: No such file or directory"}, ends(["--config", "/nowhere"])
    ).

a_cookie_file_that_others_may_read_ends_it_with_65(Config) ->
    write(Config, usual(Config)),
    ok = file:change_mode(?config(cookie, Config), 8#444),
    {65, "fatal no_cookie the cookie file " ++ Text} = ends(configured(Config, [])),
    ?assertNotEqual(nomatch, string:find(Text, "has mode 0444: only its owner may read and write it; chmod 400 it")).

with_a_cookie_file_the_leash_has_requests_only(Config) ->
    write(Config, usual(Config)),
    Program = kv_program:start(configured(Config, []), "ping early\n"),
    true = port_command(maps:get(port, Program), "ping late\n"),
    ?assertEqual("pong late", kv_program:await_line(Program, "late")),
    true = port_command(maps:get(port, Program), "--ticktime=9\n"),
    _ = kv_program:await_line(Program, "log warning a line of standard input is ignored"),
    kv_program:stop(Program).

without_a_leash_nothing_is_read_from_standard_input(Config) ->
    write(Config, usual(Config) ++ ["no-leash"]),
    Shell = "exec \"$0\" --config " ++ ?config(conf, Config) ++ " </dev/null",
    Program = kv_program:await_ready(kv_program:shell(Shell, "")),
    ok = kv_program:kill(maps:get(os_pid, Program), "TERM"),
    ?assertMatch({0, _}, kv_program:await_exit(Program)).

ends(Arguments) -> kv_program:await_exit(kv_program:run(Arguments, "")).

%%% Check

check(Config, More) ->
    lines(kv_program:run(configured(Config, ["--check-config" | More]), ""), []).

lines(#{port := Port} = Program, Lines) ->
    receive
        {Port, {data, {eol, Line}}} -> lines(Program, [Line | Lines]);
        {Port, {exit_status, Status}} -> {Status, lists:reverse(Lines)}
    after 20000 -> error(still_running)
    end.

has(Lines, Pattern) ->
    ?assertMatch([_], [Line || Line <- Lines, re:run(Line, "^" ++ Pattern) =/= nomatch], {Pattern, Lines}).

a_check_of_a_node_that_would_start_says_so_and_changes_nothing(Config) ->
    Data = in_home(Config, "data"),
    write(Config, usual(Config) ++ ["data-dir " ++ Data, "max-memory 16777216"]),
    {0, Lines} = check(Config, []),
    [
        has(Lines, Pattern)
     || Pattern <- [
            "options +ok: ", "cookie +ok: ", "limits +ok", "memory +ok: 16777216 bytes$", "data-dir +ok: .* will be made$",
            "address +ok: 127.0.0.1 port 0$", "epmd +ok: EPMD answers at 127.0.0.1:", "result +the node would start$"
        ]
    ],
    ?assertNot(filelib:is_dir(Data)).

a_check_tells_everything_that_would_fail(Config) ->
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Taken),
    Lines0 = [
        "name kv@127.0.0.1",
        "colour red",
        "port " ++ integer_to_list(Port),
        "epmd-port " ++ integer_to_list(kv_program:free_port()),
        "cookie-file /nowhere/cookie",
        "data-dir /nowhere/data",
        "backup-dir /nowhere/backups",
        "tls-certfile /nowhere/certificate"
    ],
    write(Config, Lines0),
    {64, Lines} = check(Config, []),
    [
        has(Lines, Pattern)
     || Pattern <- [
            "options +would fail \\(bad_option\\): .*:2: colour is no option",
            "cookie +would fail \\(no_cookie\\): the cookie file /nowhere/cookie cannot be read: ",
            "data-dir +would fail \\(data_dir\\): data folder /nowhere/data: cannot make it: ",
            "backup-dir +ok: but no backup can be made in /nowhere/backups: ",
            "tls +would fail \\(tls\\): cannot read /nowhere/certificate: ",
            "address +would fail \\(port_taken\\): cannot listen at 127.0.0.1 port ",
            "epmd +would fail \\(no_epmd\\): no EPMD at 127.0.0.1:",
            "result +the node would not start: 6 things to mend$"
        ]
    ],
    ok = gen_tcp:close(Taken).

a_check_of_a_running_node_tells_what_it_holds(Config) ->
    Port = kv_program:free_port(),
    write(Config, usual(Config) ++ ["port " ++ integer_to_list(Port), "data-dir " ++ in_home(Config, "data")]),
    Program = kv_program:start(configured(Config, []), ""),
    {66, Lines} = check(Config, []),
    [
        has(Lines, Pattern)
     || Pattern <- [
            "data-dir +would fail \\(data_dir\\): .* another node uses it, which is process ",
            "address +would fail \\(port_taken\\)", "epmd +would fail \\(name_taken\\)"
        ]
    ],
    kv_program:stop(Program),
    ?assertMatch({0, _}, check(Config, [])).

a_check_goes_with_no_other_command(Config) ->
    write(Config, usual(Config)),
    ?assertMatch(
        {64, "fatal bad_option --check-config goes neither with --check nor" ++ _},
        ends(configured(Config, ["--check-config", "--check", "/data"]))
    ).

%%% Without EPMD

%% The port of EPMD is one at which nobody answers.
alone(Config, Alive, Host, Port) ->
    write(Config, [
        "name " ++ Alive ++ "@" ++ Host,
        "no-epmd",
        "port " ++ integer_to_list(Port),
        "epmd-port " ++ integer_to_list(kv_program:free_port()),
        "cookie-file " ++ ?config(cookie, Config)
    ]),
    kv_program:start(configured(Config, []), "").

%% A VM with this fixed port makes a bucket on the node, and calls it.
uses(Config, Arguments, Port, Node) ->
    Vm = kv_test:start_vm(Config, ["-erl_epmd_port", integer_to_list(Port), "-setcookie", "secret" | Arguments]),
    try
        kv_test:in(Vm, fun() ->
            ?assert(net_kernel:connect_node(Node)),
            Bucket = spawn(Node, kv_bucket, init, [[]]),
            ok = kv_bucket:put(Bucket, milk, 3),
            ?assertEqual(3, kv_bucket:get(Bucket, milk))
        end)
    after
        kv_test:stop_vm(Vm)
    end.

a_vm_that_does_not_listen_dials_its_fixed_port(Config) ->
    Port = kv_program:free_port(),
    #{name := Name} = Program = alone(Config, alive(), "127.0.0.1", Port),
    uses(Config, ["-dist_listen", "false"], Port, list_to_atom(Name)),
    kv_program:stop(Program).

a_vm_that_listens_at_the_same_port_dials_another_address(Config) ->
    Port = kv_program:free_port(),
    #{name := Name} = Program = alone(Config, alive(), "127.0.0.2", Port),
    Here = ["-start_epmd", "false", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"],
    uses(Config, Here, Port, list_to_atom(Name)),
    kv_program:stop(Program).

without_epmd_a_port_is_needed(_Config) ->
    {64, "fatal bad_option --no-epmd needs --port" ++ _} =
        kv_program:await_exit(kv_program:run(["--name", "kv@127.0.0.1", "--no-epmd"], "secret\n")).

each_start_has_another_creation(Config) ->
    Creations = [
        begin
            #{creation := Creation} = Program = alone(Config, "kv", "127.0.0.1", kv_program:free_port()),
            kv_program:stop(Program),
            Creation
        end
     || _ <- [1, 2]
    ],
    ?assertMatch([_, _], lists:usort(Creations)),
    ?assert(lists:all(fun(Creation) -> Creation > 3 end, Creations)).

%%% A service manager

%% Listens as a manager does, at an address of the form of NOTIFY_SOCKET, and starts the program under it.
managed(Config, Address, Environment) ->
    {ok, Socket} = gen_udp:open(0, [{ifaddr, {local, local(Address)}}, binary, {active, false}]),
    write(Config, usual(Config) ++ ["no-leash", "data-dir " ++ in_home(Config, "data")]),
    Variables = ["NOTIFY_SOCKET='" ++ Address ++ "' ", Environment],
    Script = ["export ", Variables, "; exec \"$0\" --config ", ?config(conf, Config), " </dev/null"],
    {Socket, kv_program:shell(lists:flatten(Script), "")}.

local("@" ++ Name) -> <<0, (list_to_binary(Name))/binary>>;
local(Path) -> list_to_binary(Path).

%% Paths of sockets are short, and those of tests are not.
notify_path() -> filename:join("/tmp", "kv_notify_" ++ alive()).

%% The next message, as a list of lines.
heard(Socket) ->
    {ok, {_From, 0, Message}} = gen_udp:recv(Socket, 0, 20000),
    string:split(binary_to_list(Message), "\n", all).

heard_until(Socket, Line) ->
    Lines = heard(Socket),
    case lists:member(Line, Lines) of
        true -> Lines;
        false -> heard_until(Socket, Line)
    end.

a_manager_hears_that_it_serves_and_that_it_stops(Config) ->
    Path = notify_path(),
    {Socket, Program0} = managed(Config, Path, ""),
    #{name := Name, tcp_port := Port, os_pid := OsPid} = Program = kv_program:await_ready(Program0),
    Serves = lists:flatten(io_lib:format("STATUS=~s serves at port ~b", [Name, Port])),
    ?assertEqual(["READY=1", Serves], heard_until(Socket, "READY=1")),
    ok = kv_program:kill(OsPid, "TERM"),
    ?assertEqual(["STOPPING=1", "STATUS=stops"], heard(Socket)),
    ?assertMatch({0, _}, kv_program:await_exit(Program)),
    ok = gen_udp:close(Socket),
    ok = file:delete(Path).

a_manager_with_an_abstract_socket_hears_too(Config) ->
    {Socket, Program} = managed(Config, "@" ++ alive(), ""),
    ["READY=1" | _] = heard_until(Socket, "READY=1"),
    terminate(kv_program:await_ready(Program)).

terminate(#{os_pid := OsPid} = Program) ->
    ok = kv_program:kill(OsPid, "TERM"),
    ?assertMatch({0, _}, kv_program:await_exit(Program)).

a_manager_hears_why_it_does_not_start(Config) ->
    {Socket, Program} = managed(Config, "@" ++ alive(), "ERL_EPMD_PORT=none"),
    ?assertMatch({64, _}, kv_program:await_exit(Program)),
    ?assertMatch(["STOPPING=1", "STATUS=the environment variable ERL_EPMD_PORT is not a port"], heard(Socket)).

a_watchdog_gets_signs_of_life(Config) ->
    {Socket, Program} = managed(Config, "@" ++ alive(), "WATCHDOG_USEC=200000"),
    [["WATCHDOG=1"] = heard_until(Socket, "WATCHDOG=1") || _ <- lists:seq(1, 5)],
    terminate(kv_program:await_ready(Program)).

%% SIGSTOP stands for a turn that never ends.
a_watchdog_hears_nothing_of_a_stopped_loop(Config) ->
    {Socket, Program0} = managed(Config, "@" ++ alive(), "WATCHDOG_USEC=200000"),
    #{os_pid := OsPid} = Program = kv_program:await_ready(Program0),
    ok = kv_program:kill(OsPid, "STOP"),
    drain(Socket),
    ?assertEqual({error, timeout}, gen_udp:recv(Socket, 0, 1000)),
    ok = kv_program:kill(OsPid, "CONT"),
    ["WATCHDOG=1"] = heard_until(Socket, "WATCHDOG=1"),
    terminate(Program).

%% The program has stopped once a quarter of a second passes without a sign.
drain(Socket) ->
    case gen_udp:recv(Socket, 0, 250) of
        {ok, _} -> drain(Socket);
        {error, timeout} -> ok
    end.

a_recovery_tells_its_progress(Config) ->
    Address = "@" ++ alive(),
    {First, Program} = managed(Config, Address, ""),
    terminate(kv_program:await_ready(Program)),
    ok = gen_udp:close(First),
    {Socket, Again} = managed(Config, Address, ""),
    ["STATUS=reads its durable buckets: " ++ _] = heard(Socket),
    ["READY=1" | _] = heard_until(Socket, "READY=1"),
    terminate(kv_program:await_ready(Again)).

%% Each read of the second start takes longer, until the manager has heard that the program needs more time.
a_long_recovery_asks_for_more_time(Config0) ->
    Config = kv_disk_world:build_shim([{case_home, ?config(home, Config0)} | Config0]),
    Address = "@" ++ alive(),
    {First, Program} = managed(Config, Address, ""),
    Full = kv_program:await_ready(Program),
    fill(Config, Full),
    terminate(Full),
    ok = gen_udp:close(First),
    ok = kv_disk_world:break("slow", "200", Config),
    Shim = "KV_SHIM='" ++ ?config(home, Config) ++ "' LD_PRELOAD='" ++ ?config(shim, Config) ++ "'",
    {Socket, Again} = managed(Config, Address, Shim),
    ["EXTEND_TIMEOUT_USEC=30000000"] = heard_until(Socket, "EXTEND_TIMEOUT_USEC=30000000"),
    ok = kv_disk_world:mend("slow", Config),
    ["READY=1" | _] = heard_until(Socket, "READY=1"),
    terminate(kv_program:await_ready(Again)).

%% A recovery reads 256 KiB in a step.
fill(Config, #{name := Name}) ->
    Vm = kv_test:start_vm(Config, ["-setcookie", "secret"]),
    ok = kv_test:in(Vm, fun() ->
        Bucket = spawn(list_to_atom(Name), kv_bucket, init, [[{durable, commit}, {store, {<<>>, <<"shelf">>}}]]),
        lists:foreach(fun(N) -> ok = kv_bucket:put(Bucket, N, rand:bytes(1 bsl 20)) end, lists:seq(1, 24))
    end),
    kv_test:stop_vm(Vm).

%% A socket has room for some ten messages.
a_manager_that_reads_late_hears_that_it_serves(Config) ->
    {Socket, Program0} = managed(Config, "@" ++ alive(), "WATCHDOG_USEC=2000"),
    Program = kv_program:await_ready(Program0),
    timer:sleep(500),
    ["READY=1" | _] = heard_until(Socket, "READY=1"),
    terminate(Program).

%%% Cores

%% The soft and the hard limit of a running program. The shell allows cores first.
core_limits(Config, More) ->
    write(Config, usual(Config) ++ More),
    Script = "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" --config " ++ ?config(conf, Config),
    #{os_pid := OsPid} = Program = kv_program:await_ready(kv_program:shell(Script, "")),
    {ok, Limits} = file:read_file(["/proc/", integer_to_list(OsPid), "/limits"]),
    {match, [Soft, Hard]} = re:run(Limits, "Max core file size +(\\w+) +(\\w+)", [{capture, all_but_first, list}]),
    kv_program:stop(Program),
    {Soft, Hard}.

hard_limit() -> string:trim(os:cmd("ulimit -H -c")).

%% A limit of 0 would let the kernel pipe a core to a program: core(5).
no_core_is_written(Config) ->
    None = case hard_limit() of "0" -> "0"; _ -> "1" end,
    ?assertEqual({None, None}, core_limits(Config, [])).

cores_can_be_allowed(Config) ->
    {Soft, Hard} = core_limits(Config, ["cores true"]),
    ?assertEqual(Soft, Hard),
    ?assertEqual(hard_limit() =:= "0", Hard =:= "0").

%% VmFlags of a mapping has dd if no core has it: proc(5).
the_cookie_is_in_memory_that_no_core_has(Config) ->
    write(Config, usual(Config)),
    #{os_pid := OsPid} = Program = kv_program:start(configured(Config, []), ""),
    {ok, Maps} = file:read_file(["/proc/", integer_to_list(OsPid), "/smaps"]),
    {ok, Memory} = file:open(["/proc/", integer_to_list(OsPid), "/mem"], [read, binary, raw]),
    Private = [Map || Map <- mappings(Maps), is_readable(Map)],
    {Hidden, Dumped} = lists:partition(fun({_, _, Flags}) -> lists:member("dd", Flags) end, Private),
    ?assertNotEqual([], [Map || Map <- Hidden, has_secret(Memory, Map)]),
    ?assertEqual([], [Map || Map <- Dumped, has_secret(Memory, Map)]),
    ok = file:close(Memory),
    kv_program:stop(Program).

mappings(Maps) ->
    {match, Found} = re:run(
        Maps, "^([0-9a-f]+)-([0-9a-f]+) (.{4}) [^V]*?(?:\\n\\w+:.*)*?\\nVmFlags: (.*)$",
        [global, multiline, {capture, all_but_first, list}]
    ),
    [{list_to_integer(First, 16), list_to_integer(Last, 16), string:lexemes(Flags, " ")} || [First, Last, "rw-p", Flags] <- Found].

is_readable({First, Last, _}) -> Last - First < 64 bsl 20.

has_secret(Memory, {First, Last, _}) ->
    case file:pread(Memory, First, Last - First) of
        {ok, Bytes} -> binary:match(Bytes, <<"secret">>) =/= nomatch;
        _ -> false
    end.

%%% Metrics

measured(Config, More) ->
    Port = kv_program:free_port(),
    write(Config, usual(Config) ++ ["metrics 127.0.0.1:" ++ integer_to_list(Port) | More]),
    {kv_program:start(configured(Config, []), ""), Port}.

%% Returns the status and the body.
http(Port, Method, Path) ->
    http(Port, [Method, " ", Path, " HTTP/1.1\r\nHost: kv\r\nConnection: close\r\n\r\n"]).

http(Port, Request) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, Request),
    <<"HTTP/1.1 ", Status:3/binary, Rest/binary>> = read_all(Socket, <<>>),
    [_, Body] = binary:split(Rest, <<"\r\n\r\n">>),
    {binary_to_integer(Status), Body}.

read_all(Socket, Bytes) ->
    case gen_tcp:recv(Socket, 0, 20000) of
        {ok, More} -> read_all(Socket, <<Bytes/binary, More/binary>>);
        {error, closed} -> Bytes
    end.

figure(Port, Name) ->
    {200, Text} = http(Port, "GET", "/metrics"),
    {match, [Value]} = re:run(Text, ["^", Name, " ([0-9.]+)$"], [multiline, {capture, all_but_first, list}]),
    Value.

figures_are_served_to_whoever_asks(Config) ->
    {#{tcp_port := TcpPort} = Program, Port} = measured(Config, ["max-memory 16777216"]),
    ?assertEqual({200, <<"ok\n">>}, http(Port, "GET", "/health")),
    {ok, Peer} = kv_raw_peer:handshake(TcpPort, #{}),
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 3}),
    ?assertEqual("1", figure(Port, "kv_buckets")),
    ?assertEqual("1", figure(Port, "kv_peers")),
    ?assertEqual("16777216", figure(Port, "kv_memory_limit_bytes")),
    ?assert(list_to_integer(figure(Port, "kv_turn_seconds_count")) > 0),
    ?assert(list_to_integer(figure(Port, "kv_messages_total")) > 0),
    kv_program:stop(Program).

events(Port) ->
    [list_to_integer(figure(Port, ["kv_", Event, "_total"])) || Event <- ["hits", "misses", "puts", "deletes", "expirations", "evictions"]].

events_of_all_buckets_are_added_up_and_those_of_the_ended_stay(Config) ->
    {#{tcp_port := TcpPort} = Program, Port} = measured(Config, []),
    ?assertEqual([0, 0, 0, 0, 0, 0], events(Port)),
    {ok, Peer} = kv_raw_peer:handshake(TcpPort, #{}),
    [First, Second] = [kv_raw_peer:spawn_bucket(Peer) || _ <- [1, 2]],
    [ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 3}) || Bucket <- [First, Second, First]],
    [3 = kv_raw_peer:call(Peer, First, {get, milk}) || _ <- [1, 2, 3]],
    nil = kv_raw_peer:call(Peer, Second, {get, eggs}),
    3 = kv_raw_peer:call(Peer, Second, {delete, milk}),
    %% A delete looks for its key, too.
    [4, 1, 3, 1, 0, 0] = Before = events(Port),
    ok = kv_raw_peer:send_frame(Peer, {26, kv_raw_peer:pid("raw@127.0.0.1", 1, 77), First}, kill),
    ok = kv_test:wait(fun() -> figure(Port, "kv_buckets") =:= "1" end),
    ?assertEqual(Before, events(Port)),
    nil = kv_raw_peer:call(Peer, Second, {get, milk}),
    ?assertEqual([4, 2, 3, 1, 0, 0], events(Port)),
    kv_program:stop(Program).

a_node_of_many_buckets_tells_their_events_at_the_next_scrape(Config) ->
    {#{tcp_port := TcpPort} = Program, Port} = measured(Config, []),
    {ok, Peer} = kv_raw_peer:handshake(TcpPort, #{}),
    Buckets = [kv_raw_peer:spawn_bucket(Peer) || _ <- lists:seq(1, 5000)],
    {200, First} = http(Port, "GET", "/metrics"),
    ?assertEqual(nomatch, binary:match(First, <<"kv_puts_total">>)),
    [ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 3}) || Bucket <- Buckets],
    ok = kv_test:wait(fun() -> [0, 0, 5000, 0, 0, 0] =:= events(Port) end),
    kv_program:stop(Program).

%% The log has puts and deletes, which were events before.
a_recovery_is_no_event(Config) ->
    Data = ["data-dir " ++ in_home(Config, "data")],
    {#{tcp_port := TcpPort} = Program, Port} = measured(Config, Data),
    {ok, Peer} = kv_raw_peer:handshake(TcpPort, #{}),
    durable_bucket(Peer, fun(Bucket) ->
        [ok = kv_raw_peer:call(Peer, Bucket, {put, Key, 3}) || Key <- [milk, eggs]],
        3 = kv_raw_peer:call(Peer, Bucket, {delete, milk})
    end),
    ?assertEqual([1, 0, 2, 1, 0, 0], events(Port)),
    kv_program:stop(Program),
    {#{tcp_port := NextPort} = Next, NewPort} = measured(Config, Data),
    {ok, Back} = kv_raw_peer:handshake(NextPort, #{}),
    ?assertEqual([0, 0, 0, 0, 0, 0], events(NewPort)),
    durable_bucket(Back, fun(Bucket) -> 3 = kv_raw_peer:call(Back, Bucket, {get, eggs}) end),
    ?assertEqual([1, 0, 0, 0, 0, 0], events(NewPort)),
    kv_program:stop(Next).

durable_bucket(Peer, Fun) ->
    Self = kv_raw_peer:pid("raw@127.0.0.1", 1, 77),
    Options = [{durable, commit}, {store, {<<>>, <<"shop">>}}],
    ok = kv_raw_peer:send_frame(Peer, {29, make_ref(), Self, Self, {kv_bucket, init, 1}, []}, [Options]),
    {{31, _, Self, 0, Bucket}, none} = kv_raw_peer:recv_control(Peer, 10000),
    Fun(Bucket).

only_two_pages_are_there_and_only_to_be_read(Config) ->
    {Program, Port} = measured(Config, []),
    ?assertMatch({404, _}, http(Port, "GET", "/")),
    ?assertMatch({404, _}, http(Port, "GET", "/metrics/../etc")),
    ?assertEqual({200, <<>>}, http(Port, "HEAD", "/metrics")),
    [?assertMatch({405, _}, http(Port, Method, "/metrics")) || Method <- ["PUT", "DELETE", "OPTIONS"]],
    ?assertMatch({405, _}, http(Port, "POST /metrics HTTP/1.1\r\nHost: kv\r\nContent-Length: 4\r\n\r\nbody")),
    ?assertMatch({200, _}, http(Port, "GET", "/metrics")),
    kv_program:stop(Program).

%% An EPMD that says nothing keeps the node from serving.
health_says_why_a_node_does_not_serve_yet(Config) ->
    {ok, Mute} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, MutePort} = inet:port(Mute),
    Port = kv_program:free_port(),
    write(Config, usual(Config) ++ ["metrics 127.0.0.1:" ++ integer_to_list(Port)]),
    Program = kv_program:run(configured(Config, ["--epmd-port", integer_to_list(MutePort)]), ""),
    kv_program:until(fun() -> can_connect(Port) end),
    ?assertEqual({503, <<"starting\n">>}, http(Port, "GET", "/health")),
    ?assertMatch({503, _}, http(Port, "GET", "/metrics")),
    kv_program:stop(Program),
    ok = gen_tcp:close(Mute).

can_connect(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.

slow_and_many_clients_keep_nobody_from_the_buckets(Config) ->
    {#{tcp_port := TcpPort} = Program, Port} = measured(Config, []),
    Slow = [
        begin
            {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
            _ = gen_tcp:send(Socket, "GET /metr"),
            Socket
        end
     || _ <- lists:seq(1, 25)
    ],
    {ok, Peer} = kv_raw_peer:handshake(TcpPort, #{}),
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 3}),
    {ok, Long} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    _ = gen_tcp:send(Long, ["GET /", lists:duplicate(100000, $a)]),
    ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 4}),
    [ok = gen_tcp:close(Socket) || Socket <- [Long | Slow]],
    kv_program:until(fun() -> health(Port) =:= {200, <<"ok\n">>} end),
    kv_program:stop(Program).

%% Returns none if the server closes the connection.
health(Port) -> try_http(Port, "/health").

try_http(Port, Path) ->
    try
        http(Port, "GET", Path)
    catch
        error:_ -> none
    end.

a_taken_address_ends_it_with_73(Config) ->
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Taken),
    Address = "127.0.0.1:" ++ integer_to_list(Port),
    write(Config, usual(Config) ++ ["metrics " ++ Address]),
    Wanted = "fatal port_taken cannot listen at " ++ Address ++ " for --metrics (address already in use): choose another",
    {73, Line} = ends(configured(Config, [])),
    ?assertMatch({0, _}, {string:str(Line, Wanted) - 1, Line}),
    {73, Lines} = check(Config, []),
    has(Lines, "metrics +would fail \\(port_taken\\): cannot listen at "),
    ok = gen_tcp:close(Taken).

promtool_finds_no_fault(Config) ->
    with("promtool", fun(Promtool) ->
        {Program, Port} = measured(Config, ["data-dir " ++ in_home(Config, "data")]),
        {200, Text} = http(Port, "GET", "/metrics"),
        File = in_home(Config, "metrics.txt"),
        ok = file:write_file(File, Text),
        ?assertEqual("0\n", os:cmd(Promtool ++ " check metrics <" ++ File ++ "; echo $?")),
        kv_program:stop(Program)
    end).

a_real_prometheus_scrapes_it(Config) ->
    with("prometheus", fun(Prometheus) ->
        {Program, Port} = measured(Config, []),
        Web = kv_program:free_port(),
        Yaml = in_home(Config, "prometheus.yml"),
        ok = file:write_file(Yaml, [
            "{scrape_configs: [{job_name: kv, scrape_interval: 1s, static_configs: [{targets: ['127.0.0.1:",
            integer_to_list(Port), "']}]}]}\n"
        ]),
        Script = [
            "exec 3<&0; ", Prometheus, " --config.file=", Yaml, " --storage.tsdb.path=", in_home(Config, "tsdb"),
            " --web.listen-address=127.0.0.1:", integer_to_list(Web),
            " >/dev/null 2>&1 </dev/null & echo started; cat <&3 >/dev/null; kill $!; wait $!"
        ],
        Shell = kv_program:shell(lists:flatten(Script), ""),
        _ = kv_program:await_line(Shell, "started"),
        kv_program:until(fun() -> has_scraped(Web) end),
        kv_program:stop(Shell),
        kv_program:until(fun() -> not can_connect(Web) end),
        kv_program:stop(Program)
    end).

%% The figure `up' is 1 once a scrape has been understood.
has_scraped(Web) ->
    case try_http(Web, "/api/v1/query?query=kv_peers_limit") of
        {200, Body} -> binary:match(Body, <<"\"1024\"">>) =/= nomatch;
        _ -> false
    end.

with(Name, Fun) ->
    case os:find_executable(Name) of
        false -> {skip, "there is no " ++ Name};
        Path -> Fun(Path)
    end.

%%% Installed

project() -> kv_test:project("man/kv_node.1").

make(Target, To) ->
    Command = ["make -C ", project(), "/c_src ", Target, " DESTDIR=", To, " PREFIX=/usr 2>&1; echo \"status $?\""],
    Said = os:cmd(lists:flatten(Command)),
    ?assertNotEqual(nomatch, string:find(Said, "status 0"), Said).

installed(Config) ->
    To = in_home(Config, "root"),
    ok = file:make_dir(To),
    make("install", To),
    To.

what_is_installed_runs_and_is_removed_again() -> [{timetrap, {minutes, 5}}].

what_is_installed_runs_and_is_removed_again(Config) ->
    when_built_here(fun() ->
        To = installed(Config),
        _ = application:load(kv),
        {ok, Version} = application:get_key(kv, vsn),
        ?assertEqual("kv_node " ++ Version ++ "\n", os:cmd(To ++ "/usr/bin/kv_node --version")),
        Other = filename:join(To, "usr/lib/other"),
        ok = file:write_file(Other, <<>>),
        make("uninstall", To),
        ?assertEqual([Other], filelib:wildcard(To ++ "/usr/**") -- [filename:dirname(Other)])
    end).

%% In the chroots of other releases of OTP the program is the one of this machine.
when_built_here(Fun) ->
    case os:getenv("KV_PREBUILT") of
        false -> Fun();
        _ -> {skip, "nothing is built here"}
    end.

the_unit_is_one_for_systemd() -> [{timetrap, {minutes, 5}}].

the_unit_is_one_for_systemd(Config) ->
    with("systemd-analyze", fun(Analyze) -> when_built_here(fun() -> unit(Config, Analyze) end) end).

unit(Config, Analyze) ->
    To = installed(Config),
    {ok, Text} = file:read_file(To ++ "/usr/lib/systemd/system/kv_node.service"),
    ?assertNotEqual(nomatch, binary:match(Text, <<"ExecStart=/usr/bin/kv_node --no-leash --config">>)),
    Unit = in_home(Config, "kv_node.service"),
    ok = file:write_file(Unit, string:replace(Text, "=/usr/bin/", ["=", To, "/usr/bin/"])),
    ?assertEqual("0\n", os:cmd(Analyze ++ " verify --man=no " ++ Unit ++ " 2>&1; echo $?")),
    Security = " security --offline=true --threshold=20 " ++ Unit ++ " >/dev/null 2>&1; echo $?",
    ?assertEqual("0\n", os:cmd(Analyze ++ Security)).

the_manual_page_has_every_option(_Config) ->
    {ok, Page} = file:read_file(project() ++ "/man/kv_node.1"),
    ?assertEqual(binary_to_list(Page), os:cmd(project() ++ "/scripts/man " ++ kv_program:program())),
    with("mandoc", fun(Mandoc) ->
        Said = os:cmd(Mandoc ++ " -T lint " ++ project() ++ "/man/kv_node.1 2>/dev/null"),
        Faults = [Line || Line <- string:lexemes(Said, "\n"), string:find(Line, "referenced manual not found") =:= nomatch],
        ?assertEqual([], Faults)
    end).
