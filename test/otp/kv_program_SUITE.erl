%% The C program as an operating system process: its start, its lines on standard output, its dealings with EPMD, and
%% its end, as docs/native-protocol.md describes them.
-module(kv_program_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1]).
-compile(export_all).
-compile(nowarn_export_all).

%% A machine without a name server waits for it, a quarter of a minute by default.
-define(IMPATIENT, "export RES_OPTIONS='timeout:1 attempts:1'; ").

suite() ->
    [{timetrap, {seconds, 90}}].

all() ->
    [{group, options}, {group, coming_up}, {group, ending}, {group, epmd}].

groups() ->
    [
        {options, [], [
            version_and_help_are_printed,
            a_bad_option_ends_it_with_64,
            a_bad_option_line_ends_it_with_64_and_is_not_repeated,
            options_come_from_standard_input_too,
            the_command_line_counts_before_standard_input,
            a_cookie_that_begins_with_dashes_is_given_as_an_option,
            a_cookie_of_any_bytes_is_given_in_hexadecimal_digits,
            a_missing_cookie_ends_it_with_65,
            the_cookie_is_not_taken_from_the_command_line
        ]},
        {coming_up, [], [
            the_ready_line_says_who_and_where,
            it_listens_where_it_is_told,
            a_taken_port_ends_it_with_73,
            an_unknown_host_ends_it_with_68,
            each_cause_that_keeps_it_from_starting_is_said_with_what_to_do,
            each_limit_that_costs_something_is_said_in_the_log,
            a_log_file_that_may_not_grow_ends_the_log_and_not_the_program,
            epmd_knows_its_port
        ]},
        {ending, [], [
            the_end_of_standard_input_ends_it,
            the_end_of_standard_input_ends_it_before_it_is_up,
            a_closed_port_ends_it,
            without_its_leash_it_goes_on,
            it_ends_with_peers_connected,
            an_unread_standard_output_does_not_hang_it
        ]},
        {epmd, [], [
            no_epmd_ends_it_with_69,
            an_epmd_that_says_nothing_ends_it_with_69,
            something_that_is_no_epmd_ends_it_with_69,
            a_node_with_an_ipv6_address_asks_epmd_at_the_ipv6_loopback,
            a_taken_name_ends_it_with_74,
            a_name_that_becomes_free_is_taken,
            after_a_restart_of_epmd_it_registers_again_with_the_same_creation,
            a_killed_predecessor_does_not_keep_it_from_starting
        ]}
    ].

init_per_suite(Config) ->
    _ = application:load(kv),
    [{epmd, kv_program:start_epmd()} | Config].

end_per_suite(Config) ->
    kv_program:stop_epmd(proplists:get_value(epmd, Config)).

epmd_port(Config) ->
    #{port := Port} = proplists:get_value(epmd, Config),
    Port.

arguments(Config) ->
    arguments(Config, epmd_port(Config)).

arguments(_Config, EpmdPort) ->
    kv_program:arguments("program", EpmdPort).

%% Returns a name that no other test uses.
alive() ->
    "program" ++ integer_to_list(erlang:unique_integer([positive])).

ends(Arguments, Input) ->
    kv_program:await_exit(kv_program:run(Arguments, Input)).

%% ---- options --------------------------------------------------------------------------------

version_and_help_are_printed(_Config) ->
    {ok, Version} = application:get_key(kv, vsn),
    ?assertEqual({0, "kv_node " ++ Version}, ends(["--version"], "")),
    %% The program may be below a folder of any name.
    Help = os:cmd(["'", string:replace(kv_program:program(), "'", "'\\''", all), "' --help"]),
    [
        ?assertNotEqual({Option, nomatch}, {Option, string:find(Help, Option)})
     || Option <- ["--name", "--bind", "--port", "--epmd-port", "--ticktime", "--handshake-timeout",
                   "--max-frame", "--max-depth", "--max-peers", "--max-queue", "--follow", "--gather", "--spin", "--zeros",
                   "--get-state", "--vm", "--reconnect-timeout", "--log-level", "--no-leash", "--version", "--help"]
    ],
    ok.

a_bad_option_ends_it_with_64(_Config) ->
    Bad = [
        ["--name", "nohost"],
        ["--name", "@host"],
        ["--name", "a@b@c"],
        ["--name", "a b@c"],
        ["--name", ""],
        ["--name", lists:duplicate(250, $a) ++ "@host1"],
        ["--name"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--port", "1x"],
        ["--port", " 1"],
        ["--port", ""],
        ["--port=99999999999999999999999"],
        ["--epmd-port", "0"],
        ["--ticktime", "0"],
        ["--ticktime", "1.5"],
        ["--handshake-timeout", "0"],
        ["--max-frame", "10"],
        ["--max-depth", "0"],
        ["--max-peers", "0"],
        ["--max-queue", "0"],
        ["--follow", "yes"],
        ["--gather", "1001"],
        ["--vm", "nohost"],
        ["--vm"],
        ["--reconnect-timeout", "2147483649"],
        ["--reconnect-timeout", "-1"],
        ["--spin", "1001"],
        ["--zeros", "maybe"],
        ["--get-state", "ok"],
        ["--log-level", "loud"],
        ["--bind", ""],
        ["--no-leash=yes"],
        ["--unknown", "1"],
        ["--por", "1"],
        ["--"],
        ["stray"],
        []
    ],
    [bad_option(Arguments) || Arguments <- Bad],
    ok.

bad_option(Arguments) ->
    Outcome = ends(Arguments, "secret\n"),
    ?assertMatch({Arguments, {64, "fatal bad_option " ++ _}}, {Arguments, Outcome}).

a_bad_option_line_ends_it_with_64_and_is_not_repeated(_Config) ->
    Lines = ["--my-secret", "--port=hush", "--unknown=hush", "--no-leash=hush", "--",
             lists:duplicate(5000, $a), "a\0b"],
    [bad_line(Line) || Line <- Lines],
    ok.

bad_line(Line) ->
    {Status, Last} = ends(["--name", "a@127.0.0.1"], [Line, "\nsecret\n"]),
    ?assertMatch({Line, {64, "fatal bad_option " ++ _}}, {Line, {Status, Last}}),
    ?assertEqual({Line, nomatch}, {Line, re:run(Last, "secret|hush")}).

options_come_from_standard_input_too(Config) ->
    #{port := EpmdPort} = proplists:get_value(epmd, Config),
    Name = alive() ++ "@127.0.0.1",
    Port = kv_program:free_port(),
    Input = io_lib:format("--name=~s\r\n--epmd-port=~b\n--port=~b\nsecret\r\n", [Name, EpmdPort, Port]),
    Program = kv_program:start([], [Input]),
    ?assertMatch(#{name := Name, tcp_port := Port}, Program),
    ?assertMatch({ok, _}, kv_raw_peer:handshake(Port, #{cookie => "secret"})).

the_command_line_counts_before_standard_input(Config) ->
    Port = kv_program:free_port(),
    Program = kv_program:start(arguments(Config) ++ ["--port", integer_to_list(Port), "--port", "0"], "--port=0\nsecret\n"),
    ?assertMatch(#{tcp_port := Port}, Program).

a_cookie_of_any_bytes_is_given_in_hexadecimal_digits(Config) ->
    #{tcp_port := Port} = kv_program:start(arguments(Config), "--cookie-hex=6109000aFf\n\n"),
    ?assertMatch({ok, _}, kv_raw_peer:handshake(Port, #{cookie => [$a, 9, 0, 10, 255]})).

a_cookie_that_begins_with_dashes_is_given_as_an_option(Config) ->
    #{tcp_port := Port} = kv_program:start(arguments(Config), "--cookie=--se=cret\n--ticktime=9\n\n"),
    ?assertMatch({ok, _}, kv_raw_peer:handshake(Port, #{cookie => "--se=cret"})).

a_missing_cookie_ends_it_with_65(Config) ->
    Long = lists:duplicate(256, $c),
    Inputs = ["\n", "\r\n", "--ticktime=9\n\n", "--cookie=\n\n", [Long, "\n"],
              ["--cookie=", Long, "\n\n"], "--cookie=--a\n--cookie=--b\n\n", "--cookie=--a\nb\n"],
    [
        ?assertMatch({Input, {65, "fatal no_cookie " ++ _}}, {Input, ends(arguments(Config), Input)})
     || Input <- Inputs
    ],
    Program = kv_program:shell("\"$0\" --name a@127.0.0.1 </dev/null", ""),
    ?assertMatch({65, "fatal no_cookie " ++ _}, kv_program:await_exit(Program)).

the_cookie_is_not_taken_from_the_command_line(_Config) ->
    {Status, Line} = ends(["--name", "a@127.0.0.1", "--cookie", "hush"], ""),
    ?assertMatch({64, "fatal bad_option " ++ _}, {Status, Line}),
    ?assertEqual(nomatch, string:find(Line, "hush")).

%% ---- coming up ------------------------------------------------------------------------------

the_ready_line_says_who_and_where(Config) ->
    {ok, Version} = application:get_key(kv, vsn),
    #{tcp_port := Port} = Program = kv_program:start(arguments(Config)),
    ?assertMatch(#{version := Version}, Program),
    ?assertMatch({ok, _}, kv_raw_peer:handshake(Port, #{})).

it_listens_where_it_is_told(Config) ->
    Port = kv_program:free_port(),
    Where = ["--port", integer_to_list(Port), "--bind=127.0.0.2"],
    #{tcp_port := Port} = kv_program:start(arguments(Config) ++ Where),
    ?assertMatch({ok, _}, gen_tcp:connect({127, 0, 0, 2}, Port, [])),
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])).

a_taken_port_ends_it_with_73(Config) ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    Outcome = ends(arguments(Config) ++ ["--port", integer_to_list(Port)], "secret\n"),
    ?assertMatch({73, "fatal port_taken " ++ _}, Outcome),
    ok = gen_tcp:close(Socket).

%% A label of 64 characters cannot exist, so no resolver asks the network.
an_unknown_host_ends_it_with_68(_Config) ->
    Outcome = ends(["--name", "a@" ++ lists:duplicate(64, $h) ++ ".invalid"], "secret\n"),
    ?assertMatch({68, "fatal host_unresolved " ++ _}, Outcome).

each_cause_that_keeps_it_from_starting_is_said_with_what_to_do(Config) ->
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, InUse} = inet:port(Taken),
    %% Limits of a shell, arguments, status, the last line.
    Causes = [
        {"ulimit -n 8", [], 70, "internal at most 8 files can be open, and the program needs 16: raise the hard limit \\(ulimit -Hn"},
        {"ulimit -n 4", [], 70, "internal at most 4 files can be open"},
        {"ulimit -s 128", [], 70, "internal the stack may have 131072 bytes, and the program needs 262144: raise the limit \\(ulimit -s"},
        {"ulimit -s 56", [], 70, "internal the stack may have 57344 bytes, and the program needs 262144: raise the limit"},
        {"ulimit -s 40", [], 70, "internal the stack may have 40960 bytes"},
        {"ulimit -s 40", ["--port", "x"], 70, "internal the stack may have 40960 bytes"},
        %% A thread gets as much stack as the limit says, and 8 MiB from newer releases of libuv.
        {"ulimit -s 8192; ulimit -d 4000", [], 70, "internal no thread can be started .* or of memory \\(ulimit -d\\)$"},
        {"ulimit -s 256; ulimit -d 4000", [], 70, "internal no thread can be started .* or of memory \\(ulimit -d\\)$"},
        {"ulimit -s 256; ulimit -d 16000", [], 71, "out_of_memory no memory for .* of memory \\(ulimit -d, or that of the container\\)$"},
        {"ulimit -s 4000000; ulimit -v 2000000", [], 70, "internal no thread can be started \\(.*\\): raise the limit of processes \\(ulimit -u"},
        {":", ["--bind", "nowhere.invalid"], 68, "host_unresolved nowhere.invalid has no address \\(.*\\): --bind must be an address"},
        {":", ["--bind", "192.0.2.1"], 73, "port_taken cannot listen at 192.0.2.1 .*: --bind must be an address of this machine$"},
        {":", ["--port", integer_to_list(InUse)], 73, "port_taken .* \\(address already in use\\): choose another --port; 0 is any free one$"}
    ],
    [
        begin
            Ended = kv_program:await_exit(with_limits(Limits, Config, Arguments)),
            ?assertMatch({Limits, Arguments, {Status, _}}, {Limits, Arguments, Ended}),
            ?assertMatch({{match, _}, _}, {re:run(element(2, Ended), "^fatal " ++ Text), Ended})
        end
     || {Limits, Arguments, Status, Text} <- Causes
    ],
    Named = fun(Host) ->
        kv_program:await_exit(kv_program:shell(?IMPATIENT "exec \"$0\" --name " ++ alive() ++ "@" ++ Host, "secret\n"))
    end,
    ?assertMatch({68, "fatal host_unresolved nowhere.invalid " ++ _}, Named("nowhere.invalid")),
    {73, NotHere} = Named("192.0.2.1"),
    ?assertNotEqual(nomatch, string:find(NotHere, "the host part of --name must lead to this machine")),
    Folder = kv_program:shell("exec \"$0\" --name a@127.0.0.1 </", ""),
    ?assertMatch({70, "fatal internal cannot read standard input: " ++ _}, kv_program:await_exit(Folder)),
    ok = gen_tcp:close(Taken).

each_limit_that_costs_something_is_said_in_the_log(Config) ->
    Limits = [
        {"ulimit -f 0", "cannot be shared with other processes, .*: the limit of files, ulimit -f: File too large$"},
        {"ulimit -f 20480", "at most [0-9]+ bytes, and not the [0-9]+ of --max-memory"},
        {"ulimit -n 20", "at most 20 files can be open: .* Raise the hard limit \\(ulimit -Hn\\)$"}
    ],
    [
        begin
            Program = with_limits(Limit, Config, ["--max-memory", "1073741824"]),
            Line = kv_program:await_line(Program, "log warning"),
            ?assertMatch({{match, _}, _}, {re:run(Line, Text), Line}),
            ok = kv_program:stop(Program)
        end
     || {Limit, Text} <- Limits
    ].

%% The shell counts in blocks of 512 bytes, and the program's first lines are longer than one of them.
a_log_file_that_may_not_grow_ends_the_log_and_not_the_program(Config) ->
    File = filename:join(proplists:get_value(priv_dir, Config), "full_log"),
    [goes_on_with_a_full_log(Blocks, File, Config) || Blocks <- [0, 1, 4]],
    ok.

goes_on_with_a_full_log(Blocks, File, Config) ->
    Port = kv_program:free_port(),
    Arguments = arguments(Config) ++ ["--port", integer_to_list(Port), "--log-level", "debug", "--max-memory", "1048576"],
    Script = ["ulimit -f ", integer_to_list(Blocks), " && exec \"$0\" ", lists:join(" ", Arguments), " >", File],
    Program = kv_program:shell(lists:flatten(Script), "secret\n"),
    kv_program:until(fun() -> is_listening(Port) end),
    {ok, Peer} = kv_raw_peer:handshake(Port, #{}),
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 3}),
    [noise(Port) || _ <- lists:seq(1, 50)],
    ?assertEqual({Blocks, Blocks * 512}, {Blocks, filelib:file_size(File)}),
    ?assertEqual({Blocks, 3}, {Blocks, kv_raw_peer:call(Peer, Bucket, {get, milk})}),
    ok = kv_program:stop(Program).

is_listening(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.

with_limits(Limits, Config, Arguments) ->
    Quoted = [["'", Argument, "' "] || Argument <- arguments(Config) ++ Arguments],
    kv_program:shell(lists:flatten([?IMPATIENT, Limits, " && exec \"$0\" ", Quoted]), "secret\n").

epmd_knows_its_port(Config) ->
    #{name := Name, tcp_port := Port} = kv_program:start(arguments(Config)),
    [Alive, _] = string:split(Name, "@"),
    ?assertEqual(Port, kv_program:epmd_port_of(epmd_port(Config), Alive)).

%% ---- ending ---------------------------------------------------------------------------------

%% A port cannot close only the standard input of its program, so a shell does it when told.
the_end_of_standard_input_ends_it(Config) ->
    Script = "{ echo secret; read go; } | \"$0\" " ++ lists:join(" ", arguments(Config)),
    Program = kv_program:await_ready(kv_program:shell(lists:flatten(Script), "")),
    true = port_command(maps:get(port, Program), "go\n"),
    ?assertMatch({0, _}, kv_program:await_exit(Program)).

%% Here the program waits for an EPMD that accepts the connection and says nothing.
the_end_of_standard_input_ends_it_before_it_is_up(Config) ->
    {ok, Mute} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, MutePort} = inet:port(Mute),
    Script = "echo secret | \"$0\" " ++ lists:join(" ", arguments(Config, MutePort)),
    Program = kv_program:shell(lists:flatten(Script), ""),
    ?assertEqual({0, ""}, kv_program:await_exit(Program)),
    ok = gen_tcp:close(Mute).

a_closed_port_ends_it(Config) ->
    #{port := Port, os_pid := OsPid} = kv_program:start(arguments(Config)),
    true = port_close(Port),
    kv_program:until(fun() -> not kv_program:is_alive(OsPid) end).

without_its_leash_it_goes_on(Config) ->
    Script = "printf secret >\"$1\"; exec \"$0\" ",
    Rest = lists:join(" ", arguments(Config)) ++ " --no-leash <\"$1\"",
    File = filename:join(proplists:get_value(priv_dir, Config), "cookie"),
    Shell = ["-c", lists:flatten([Script, Rest]), kv_program:program(), File],
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, Shell}, {line, 4096}, binary, exit_status]),
    Program = #{port => Port, os_pid => kv_program:os_pid(Port)},
    #{tcp_port := TcpPort, os_pid := OsPid} = kv_program:await_ready(Program),
    {ok, Peer} = kv_raw_peer:handshake(TcpPort, #{}),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    ok = kv_program:kill(OsPid, "TERM"),
    ?assertMatch({0, _}, kv_program:await_exit(Program)).

it_ends_with_peers_connected(Config) ->
    #{tcp_port := Port, os_pid := OsPid} = Program = kv_program:start(arguments(Config) ++ ["--no-leash"]),
    {ok, Peer} = kv_raw_peer:handshake(Port, #{}),
    _ = kv_raw_peer:spawn_bucket(Peer),
    Stranger = kv_raw_peer:connect(Port),
    ok = kv_program:kill(OsPid, "TERM"),
    ?assertMatch({0, _}, kv_program:await_exit(Program)),
    ?assert(kv_raw_peer:is_closed(Peer, 10000)),
    ?assert(kv_raw_peer:is_closed(Stranger, 10000)).

%% The shell reads the ready line and then holds the pipe without reading, while every handshake makes log lines: many
%% times as much as a pipe and the queue of the program hold.
an_unread_standard_output_does_not_hang_it(Config) ->
    Fifo = filename:join(proplists:get_value(priv_dir, Config), "unread"),
    Script = [
        "exec 3<&0; rm -f ", Fifo, "; mkfifo ", Fifo, "; \"$0\" --log-level debug ",
        lists:join(" ", arguments(Config)), " <&3 >", Fifo, " & exec 4<", Fifo,
        "; until case $line in ready*) ;; *) false ;; esac; do read line <&4; done; echo \"$line\"; wait $!"
    ],
    Program = kv_program:shell(lists:flatten(Script), "secret\n"),
    #{tcp_port := Port} = kv_program:await_ready(Program),
    [noise(Port) || _ <- lists:seq(1, 2500)],
    {ok, Peer} = kv_raw_peer:handshake(Port, #{}),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    kv_program:stop(Program).

noise(Port) ->
    Socket = kv_raw_peer:connect(Port),
    ok = gen_tcp:send(Socket, "garbage"),
    true = kv_raw_peer:is_closed(Socket, 10000),
    kv_raw_peer:close(Socket).

%% ---- EPMD -----------------------------------------------------------------------------------

no_epmd_ends_it_with_69(Config) ->
    {Status, Line} = ends(arguments(Config, kv_program:free_port()), "secret\n"),
    ?assertMatch({69, "fatal no_epmd " ++ _}, {Status, Line}),
    ?assertNotEqual(nomatch, string:find(Line, "epmd -daemon")).

an_epmd_that_says_nothing_ends_it_with_69(Config) ->
    {ok, Mute} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Mute),
    ?assertMatch({69, "fatal no_epmd " ++ _}, ends(arguments(Config, Port), "secret\n")),
    ok = gen_tcp:close(Mute).

something_that_is_no_epmd_ends_it_with_69(Config) ->
    {ok, Web} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Web),
    Program = kv_program:run(arguments(Config, Port), "secret\n"),
    {ok, Socket} = gen_tcp:accept(Web, 10000),
    ok = gen_tcp:send(Socket, "HTTP/1.1 400 Bad Request\r\n\r\n"),
    ?assertMatch({69, "fatal no_epmd " ++ _}, kv_program:await_exit(Program)),
    ok = gen_tcp:close(Web).

a_node_with_an_ipv6_address_asks_epmd_at_the_ipv6_loopback(Config) ->
    Port = kv_program:free_port(),
    Ends = fun(Bind) -> ends(arguments(Config, Port) ++ ["--bind", Bind], "secret\n") end,
    {69, "fatal no_epmd no EPMD at 127.0.0.1:" ++ _} = Ends("127.0.0.1"),
    case Ends("::1") of
        {69, Text} -> ?assertMatch("fatal no_epmd no EPMD at [::1]:" ++ _, Text);
        {73, _} -> {skip, "no IPv6"}
    end.

a_taken_name_ends_it_with_74(Config) ->
    #{name := Name} = kv_program:start(arguments(Config)),
    Arguments = ["--name", Name, "--epmd-port", integer_to_list(epmd_port(Config))],
    ?assertMatch({74, "fatal name_taken " ++ _}, ends(Arguments, "secret\n")).

a_name_that_becomes_free_is_taken(Config) ->
    #{name := Name, os_pid := OsPid} = kv_program:start(arguments(Config) ++ ["--no-leash"]),
    Arguments = ["--name", Name, "--epmd-port", integer_to_list(epmd_port(Config))],
    Second = kv_program:run(Arguments, "secret\n"),
    ok = kv_program:kill(OsPid, "TERM"),
    ?assertMatch(#{name := Name}, kv_program:await_ready(Second)).

a_killed_predecessor_does_not_keep_it_from_starting(Config) ->
    Arguments = arguments(Config),
    lists:foreach(
        fun(_) ->
            #{os_pid := OsPid} = kv_program:start(Arguments),
            ok = kv_program:kill(OsPid, "KILL")
        end,
        lists:seq(1, 10)
    ).

after_a_restart_of_epmd_it_registers_again_with_the_same_creation(Config) ->
    #{port := EpmdPort} = Epmd = kv_program:start_epmd(),
    Program = kv_program:start(arguments(Config, EpmdPort)),
    #{name := Name, tcp_port := Port, creation := Creation} = Program,
    [Alive, _] = string:split(Name, "@"),
    {ok, Peer} = kv_raw_peer:handshake(Port, #{}),
    ok = kv_program:stop_epmd(Epmd),
    _ = kv_program:await_line(Program, "log warning not registered with EPMD any more"),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    Again = kv_program:start_epmd(EpmdPort),
    kv_program:until(fun() -> kv_program:epmd_port_of(EpmdPort, Alive) =:= Port end),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    {ok, Other} = kv_raw_peer:handshake(Port, #{name => "other@127.0.0.1"}),
    ?assertMatch(#{node_creation := Creation}, Other),
    ok = kv_program:stop_epmd(Again).
