%% A program that makes only the system calls that a node needs. `scripts/test-confined' runs other suites with such programs.
-module(kv_seccomp_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 90}}].

all() ->
    [
        a_node_is_confined_only_if_that_is_asked_for,
        nothing_that_a_service_does_is_refused,
        nothing_that_a_vm_wants_is_refused,
        a_call_outside_the_list_fails_with_eperm_and_is_named_and_the_node_goes_on,
        without_the_library_it_does_not_start_and_says_why
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

in_home(Config, Name) -> filename:join(?config(home, Config), Name).

arguments(Config) -> kv_program:arguments("seccomp", ?config(epmd_port, Config)).

%% 2 in the field Seccomp of proc(5) stands for a filter. Each thread has its own.
filters(OsPid) ->
    Files = filelib:wildcard("/proc/" ++ integer_to_list(OsPid) ++ "/task/*/status"),
    lists:usort([
        begin
            {ok, Status} = file:read_file(File),
            {match, [Mode]} = re:run(Status, "^Seccomp:\t(.)$", [multiline, {capture, all_but_first, list}]),
            Mode
        end
     || File <- Files
    ]).

a_node_is_confined_only_if_that_is_asked_for(Config) ->
    [
        begin
            #{os_pid := OsPid} = Program = kv_program:start(arguments(Config) ++ More),
            ?assertEqual(Mode, filters(OsPid)),
            kv_program:stop(Program)
        end
     || {More, Mode} <- [{[], hd_of_ours()}, {["--seccomp", "true"], ["2"]}]
    ].

%% A container may confine this VM already.
hd_of_ours() -> filters(list_to_integer(os:getpid())).

%%% Calls that a node makes

%% Every line of the program from now on, and its status.
rest(#{port := Port}) -> rest(Port, []).

rest(Port, Lines) ->
    receive
        {Port, {data, {eol, Line}}} -> rest(Port, [binary_to_list(Line) | Lines]);
        {Port, {exit_status, Status}} -> {Status, lists:reverse(Lines)}
    after 20000 -> error({still_running, Lines})
    end.

%% A manager, figures, durable buckets, a backup; and, with the same folder, a recovery and SIGTERM.
nothing_that_a_service_does_is_refused(Config) ->
    Figures = kv_program:free_port(),
    Path = in_tmp(),
    {ok, Manager} = gen_udp:open(0, [{ifaddr, {local, Path}}, binary, {active, false}]),
    Settings = ["--metrics", "127.0.0.1:" ++ integer_to_list(Figures), "--data-dir", in_home(Config, "data")],
    Program = managed(Config, Path, Settings),
    {ok, Peer} = kv_raw_peer:handshake(maps:get(tcp_port, Program), #{cookie => "secret"}),
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 3}),
    {ok, Http} = gen_tcp:connect({127, 0, 0, 1}, Figures, [binary, {active, false}]),
    ok = gen_tcp:send(Http, "GET /metrics HTTP/1.0\r\n\r\n"),
    {ok, <<"HTTP/1.", _, " 200", _/binary>>} = gen_tcp:recv(Http, 0, 20000),
    ?assertEqual([], refused_until(Program, ["backup 1 ", in_home(Config, "backup"), "\n"], "backup 1 ")),
    ok = gen_tcp:close(Http),
    ok = kv_program:stop(Program),
    Again = managed(Config, Path, ["--no-leash" | Settings]),
    ok = kv_program:kill(maps:get(os_pid, Again), "TERM"),
    {0, Lines} = rest(Again),
    ?assertEqual([], refused(Lines)),
    ok = gen_udp:close(Manager),
    ok = file:delete(Path).

managed(Config, Path, Settings) ->
    Words = ["NOTIFY_SOCKET=" ++ Path, "WATCHDOG_USEC=200000", "exec", "\"$0\"", "--seccomp", "true"] ++ Settings ++ arguments(Config),
    kv_program:await_ready(kv_program:shell(lists:flatten(lists:join(" ", Words)), "secret\n")).

refused(Lines) -> [Line || Line <- Lines, string:find(Line, "was refused") =/= nomatch].

%% The lines about refusals up to the answer to a request.
refused_until(#{port := Port}, Request, Answer) ->
    true = port_command(Port, Request),
    refused(lines_until(Port, Answer)).

lines_until(Port, Answer) ->
    receive
        {Port, {data, {eol, Line}}} ->
            case string:find(Line, Answer) of
                nomatch -> [binary_to_list(Line) | lines_until(Port, Answer)];
                _ -> []
            end
    after 20000 -> error({no_line, Answer})
    end.

in_tmp() -> "/tmp/kv_seccomp_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])).

%% The option of KV.Node. The lines of the program come to logger here.
nothing_that_a_vm_wants_is_refused(Config) ->
    Data = in_home(Config, "data"),
    Vm = kv_test:start_vm(Config),
    {OsPid, Lines} = kv_test:in(Vm, fun() ->
        ok = kv_test_log:listen(warning),
        ok = kv_test:start_kv([{seccomp, true}, {local, all}, {data_dir, Data}]),
        {ok, Bucket} = kv_bucket:start_link([]),
        {ok, Durable} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        [ok = kv_bucket:put(Each, N, binary:copy(<<N>>, 70000)) || Each <- [Bucket, Durable], N <- lists:seq(1, 200)],
        [<<N, _/binary>> = kv_bucket:get(Each, N) || Each <- [Bucket, Durable], N <- lists:seq(1, 200)],
        {ok, _} = kv:backup(Data ++ "-backup"),
        true = erlang:disconnect_node(kv_node:name()),
        ok = kv_test:wait(fun() -> catch kv_bucket:get(Bucket, 1) =/= undefined end),
        Refused = [Line || {_, Line} <- kv_test_log:heard(), binary:match(Line, <<"was refused">>) =/= nomatch],
        {kv_node:os_pid(), Refused}
    end),
    ?assertEqual(["2"], filters(OsPid)),
    ?assertEqual([], Lines),
    kv_test:stop_vm(Vm).

%%% Calls that it does not make

a_call_outside_the_list_fails_with_eperm_and_is_named_and_the_node_goes_on(Config) ->
    Shim = in_home(Config, "shim.so"),
    Source = filename:join(?config(data_dir, Config), "shim.c"),
    "" = os:cmd(lists:join(" ", ["cc -shared -fPIC -o", Shim, Source, "-lpthread"])),
    Script = ["KV_SHIM=", ?config(home, Config), " LD_PRELOAD=", Shim, " exec \"$0\" --seccomp true", [[" ", A] || A <- arguments(Config)]],
    Program = kv_program:await_ready(kv_program:shell(lists:flatten(Script), "secret\n")),
    #{tcp_port := Port} = Program,
    ok = file:write_file(in_home(Config, "go"), <<>>),
    Line = kv_program:await_line(Program, "the system call "),
    ?assertMatch({match, _}, re:run(Line, "^log warning the system call personality \\([0-9]+\\) was refused, because of --seccomp")),
    ok = kv_program:until(fun() -> file:read_file(in_home(Config, "said")) =:= {ok, <<"-1 1">>} end),
    {ok, Peer} = kv_raw_peer:handshake(Port, #{cookie => "secret"}),
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    ok = kv_raw_peer:call(Peer, Bucket, {put, milk, 3}),
    kv_program:stop(Program).

%% The linker finds a file that is no library before the one of the system.
without_the_library_it_does_not_start_and_says_why(Config) ->
    ok = file:write_file(in_home(Config, "libseccomp.so.2"), <<"no library">>),
    Start = ["export LD_LIBRARY_PATH=", ?config(home, Config), "; exec \"$0\" --seccomp true", [[" ", A] || A <- arguments(Config)]],
    Wanted = "--seccomp needs the library libseccomp.so.2: install libseccomp2",
    ?assertEqual({70, "fatal internal " ++ Wanted}, kv_program:await_exit(kv_program:shell(lists:flatten(Start), "secret\n"))),
    {70, Lines} = rest(kv_program:shell(lists:flatten([Start, " --check-config"]), "")),
    ?assert(lists:member("seccomp     would fail (internal): " ++ Wanted, Lines)).
