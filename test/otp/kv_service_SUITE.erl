%% The program as a service: options and cookie from files, the check before a start, life without EPMD, and its dealings
%% with a service manager.
-module(kv_service_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 90}}].

all() -> [{group, files}, {group, check}, {group, without_epmd}].

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
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config0) ->
    Config = kv_test:start_case(Config0),
    [{conf, in_home(Config, "kv.conf")}, {cookie, in_home(Config, "cookie")} | Config].

end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

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
