%% The leash, and the VM that holds it: requests over standard input, processes whose VM loses its connection and
%% returns, and signals. The VM is a raw peer here. test/c/process/test_away.c tests the same without a network.
-module(kv_leash_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1]).
-compile(export_all).
-compile(nowarn_export_all).

-define(VM, "raw@127.0.0.1").
-define(DEADLINE, 10000).

suite() ->
    [{timetrap, {seconds, 90}}].

all() ->
    [{group, requests}, {group, cookie}, {group, away}, {group, places}, {group, signals}].

groups() ->
    [
        {requests, [], [
            a_ping_is_answered_with_its_text,
            a_ping_is_answered_before_the_node_is_up,
            a_line_that_is_no_request_costs_a_log_line_and_is_not_repeated,
            requests_may_come_in_pieces_and_together,
            a_pong_is_not_lost_among_log_lines_that_nobody_reads,
            a_socket_is_a_leash,
            a_terminal_is_a_leash,
            without_a_leash_nothing_is_answered
        ]},
        {cookie, [], [
            another_cookie_holds_for_the_next_handshake,
            another_cookie_may_have_any_bytes,
            another_cookie_holds_for_a_handshake_under_way,
            a_cookie_that_cannot_be_one_changes_nothing
        ]},
        {away, [], [
            a_bucket_outlives_the_connection_to_its_vm,
            owners_are_monitored_anew_before_a_request_is_read,
            an_owner_that_ended_meanwhile_ends_its_bucket,
            a_connection_that_is_replaced_changes_nothing,
            another_run_of_the_vm_owns_nothing,
            a_vm_that_does_not_come_back_owns_nothing,
            a_program_that_was_stopped_gives_its_vm_the_time_all_the_same,
            without_vm_or_time_nothing_is_kept,
            without_a_leash_every_vm_is_kept,
            a_registry_asks_anew,
            the_node_says_what_it_holds
        ]},
        {places, [], [
            the_last_place_is_kept_for_the_vm,
            the_only_place_is_the_vms
        ]},
        {signals, [], [
            on_its_leash_it_ignores_signals,
            on_its_leash_it_ignores_signals_before_it_is_told_anything,
            without_a_leash_two_signals_end_it_and_others_do_not,
            the_leash_may_be_let_go_of_by_a_line
        ]}
    ].

init_per_suite(Config) ->
    _ = application:load(kv),
    [{epmd, kv_program:start_epmd()} | Config].

end_per_suite(Config) ->
    kv_program:stop_epmd(proplists:get_value(epmd, Config)).

arguments(Config) ->
    #{port := EpmdPort} = proplists:get_value(epmd, Config),
    arguments_at(EpmdPort).

arguments_at(EpmdPort) ->
    kv_program:arguments("leash", EpmdPort).

start(Config) ->
    start(Config, []).

start(Config, Arguments) ->
    kv_program:start(arguments(Config) ++ Arguments).

start_with_vm(Config) ->
    start_with_vm(Config, []).

start_with_vm(Config, Arguments) ->
    start(Config, ["--vm", ?VM | Arguments]).

say(#{port := Port}, Line) ->
    true = port_command(Port, [Line, "\n"]),
    ok.

await(Program, Line) ->
    ?assertEqual(Line, kv_program:await_line(Program, Line)).

%% Returns once the program has handled all lines so far.
sync(Program) ->
    Text = integer_to_list(erlang:unique_integer([positive])),
    ok = say(Program, "ping " ++ Text),
    await(Program, "pong " ++ Text).

peer(Program) ->
    peer(Program, #{}).

peer(#{tcp_port := Port}, Options) ->
    {ok, Peer} = kv_raw_peer:handshake(Port, Options),
    Peer.

other(Program) ->
    peer(Program, #{name => "other@127.0.0.1"}).

%% ---- requests ---------------------------------------------------------------------------------

a_ping_is_answered_with_its_text(Config) ->
    Program = start(Config),
    [
        begin
            ok = say(Program, ["ping ", Text]),
            await(Program, lists:flatten(["pong ", Text]))
        end
     || Text <- ["1", "two words", "", lists:duplicate(64, $x)]
    ].

%% Here the program waits for an EPMD that accepts the connection and says nothing.
a_ping_is_answered_before_the_node_is_up(_Config) ->
    {ok, Mute} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Mute),
    Program = kv_program:run(arguments_at(Port), "secret\nping early\n"),
    await(Program, "pong early"),
    ok = kv_program:stop(Program),
    ok = gen_tcp:close(Mute).

a_line_that_is_no_request_costs_a_log_line_and_is_not_repeated(Config) ->
    Program = start(Config),
    Lines = [
        "hush", "ping", "pingpong", "--port=1 hush", "--cookie hush", ["ping ", lists:duplicate(65, $x)],
        lists:duplicate(10000, $h), "ping a\0b hush"
    ],
    [
        begin
            ok = say(Program, Line),
            Log = kv_program:await_line(Program, "log "),
            ?assertMatch({_, "log warning a line of standard input is ignored: " ++ _}, {Line, Log}),
            ?assertEqual(nomatch, re:run(Log, "hush|hhh"))
        end
     || Line <- Lines
    ],
    ok = say(Program, ""),
    sync(Program).

requests_may_come_in_pieces_and_together(Config) ->
    Program = start(Config),
    [true = port_command(maps:get(port, Program), [Byte]) || Byte <- "ping slow\r\n"],
    await(Program, "pong slow"),
    ok = say(Program, "ping 1\nping 2\n--cookie=secret\nping 3"),
    [await(Program, "pong " ++ N) || N <- ["1", "2", "3"]].

%% The shell reads the ready line and then holds the pipe until a file appears, while log lines fill the pipe and the
%% queue of the program.
a_pong_is_not_lost_among_log_lines_that_nobody_reads(Config) ->
    Go = filename:join(proplists:get_value(priv_dir, Config), "go"),
    Fifo = filename:join(proplists:get_value(priv_dir, Config), "held"),
    Script = [
        "exec 3<&0; rm -f ", Fifo, "; mkfifo ", Fifo, "; \"$0\" ", lists:join(" ", arguments(Config)),
        " <&3 >", Fifo, " & exec 4<", Fifo, "; read line <&4; echo \"$line\"; n=0; ",
        "while [ ! -e ", Go, " ] && [ $n -lt 1000 ]; do sleep 0.02; n=$((n + 1)); done; grep -m 1 pong <&4; cat <&4 >/dev/null"
    ],
    Program = kv_program:await_ready(kv_program:shell(Script, "secret\n")),
    [ok = say(Program, lists:duplicate(50, "nonsense\n")) || _ <- lists:seq(1, 100)],
    ok = say(Program, "ping late"),
    Peer = peer(Program),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    ok = file:write_file(Go, ""),
    await(Program, "pong late"),
    kv_program:stop(Program).

a_socket_is_a_leash(Config) ->
    {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Port} = inet:port(Listener),
    Bash = os:find_executable("bash"),
    Script = io_lib:format("exec \"$0\" ~ts </dev/tcp/127.0.0.1/~b", [lists:join(" ", arguments(Config)), Port]),
    Shell = open_port({spawn_executable, Bash}, [
        {args, ["-c", lists:flatten(Script), kv_program:program()]}, {line, 4096}, binary, exit_status
    ]),
    {ok, Leash} = gen_tcp:accept(Listener, ?DEADLINE),
    ok = gen_tcp:send(Leash, "secret\n"),
    Program = kv_program:await_ready(#{port => Shell, os_pid => kv_program:os_pid(Shell)}),
    ok = gen_tcp:send(Leash, "ping over a socket\n"),
    await(Program, "pong over a socket"),
    ok = gen_tcp:close(Leash),
    ?assertMatch({0, _}, kv_program:await_exit(Program)),
    ok = gen_tcp:close(Listener).

%% script(1) runs the program at a pseudo-terminal, which echoes its input.
a_terminal_is_a_leash(Config) ->
    case terminal() of
        none ->
            {skip, "there is no script(1), or no terminal for it"};
        Path ->
            Command = lists:flatten(lists:join(" ", [kv_program:program() | arguments(Config)])),
            Port = open_port({spawn_executable, Path}, [
                {args, ["-qec", Command, "/dev/null"]}, {line, 4096}, binary, exit_status
            ]),
            Program = #{port => Port, os_pid => kv_program:os_pid(Port)},
            ok = say(Program, "secret"),
            _ = kv_program:await_line(Program, "ready "),
            ok = say(Program, "ping at a terminal"),
            ?assertMatch("pong at a terminal" ++ _, kv_program:await_line(Program, "pong ")),
            true = port_command(Port, [4]),
            ?assertMatch({0, _}, kv_program:await_exit(Program))
    end.

%% A chroot may have no pseudo-terminals.
terminal() ->
    case os:find_executable("script") of
        false -> none;
        Path -> terminal(Path, os:cmd(Path ++ " -qec 'echo works' /dev/null 2>&1 </dev/null"))
    end.

terminal(Path, "works" ++ _) -> Path;
terminal(_Path, _Other) -> none.

without_a_leash_nothing_is_answered(Config) ->
    #{os_pid := OsPid} = Program = start(Config, ["--no-leash"]),
    ok = say(Program, "ping unheard"),
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))),
    ok = kv_program:kill(OsPid, "TERM"),
    {0, Last} = kv_program:await_exit(Program),
    ?assertEqual(nomatch, string:find(Last, "pong")).

%% ---- the cookie -------------------------------------------------------------------------------

another_cookie_holds_for_the_next_handshake(Config) ->
    #{tcp_port := Port} = Program = start(Config),
    Peer = peer(Program),
    ok = say(Program, "--cookie=another"),
    ok = sync(Program),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    Other = #{name => "other@127.0.0.1"},
    ?assertEqual({error, {ack, closed}}, kv_raw_peer:handshake(Port, Other)),
    ?assertMatch({ok, _}, kv_raw_peer:handshake(Port, Other#{cookie => "another"})).

another_cookie_may_have_any_bytes(Config) ->
    #{tcp_port := Port} = Program = start(Config),
    [
        begin
            ok = say(Program, ["--cookie-hex=", [io_lib:format("~2.16.0b", [Byte]) || Byte <- Cookie]]),
            ok = sync(Program),
            ?assertMatch({ok, _}, kv_raw_peer:handshake(Port, #{name => "other@127.0.0.1", cookie => Cookie}))
        end
     || Cookie <- ["tab\tand\nnewline", [0, 255], ""]
    ].

another_cookie_holds_for_a_handshake_under_way(Config) ->
    #{tcp_port := Port} = Program = start(Config),
    [Early, Late] = [kv_raw_peer:connect(Port) || _ <- [early, late]],
    [ok = kv_raw_peer:send_name(Socket, #{name => Name}) || {Socket, Name} <- [{Early, "a@h"}, {Late, "b@h"}]],
    [{ok, "ok"} = kv_raw_peer:recv_status(Socket) || Socket <- [Early, Late]],
    [{ok, {_, First, _, _}}, {ok, {_, Second, _, _}}] = [kv_raw_peer:recv_challenge(S) || S <- [Early, Late]],
    ok = say(Program, "--cookie=another"),
    ok = sync(Program),
    ok = kv_raw_peer:send_reply(Early, First, "secret"),
    ?assertEqual({error, closed}, kv_raw_peer:recv_ack(Early)),
    ok = kv_raw_peer:send_reply(Late, Second, "another"),
    ?assertEqual(ok, kv_raw_peer:recv_ack(Late)).

a_cookie_that_cannot_be_one_changes_nothing(Config) ->
    Program = start(Config),
    [
        begin
            ok = say(Program, Line),
            Log = kv_program:await_line(Program, "log warning"),
            ?assertNotEqual(nomatch, string:find(Log, Text))
        end
     || {Line, Text} <- [
            {"--cookie=", "at least one byte"},
            {["--cookie=", lists:duplicate(256, $c)], "at most 255 bytes"},
            {["--cookie-hex=", lists:duplicate(512, $c)], "at most 255 bytes"},
            {"--cookie-hex=abc", "two hexadecimal digits a byte"}
        ]
    ],
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))).

%% ---- away -------------------------------------------------------------------------------------

owner(Creation) ->
    kv_raw_peer:pid(?VM, 5, Creation).

%% Starts a process of that module, owned by process 5 of the VM, and takes the messages that the start causes.
start_owned(Peer, Module, Options) ->
    Ref = make_ref(),
    Self = kv_raw_peer:pid(?VM, 1, 77),
    Request = {29, Ref, Self, Self, {Module, init, 1}, []},
    ok = kv_raw_peer:send_frame(Peer, Request, [[{owner, owner(77)} | Options]]),
    {{31, _, _, 0, Pid}, none} = kv_raw_peer:recv_control(Peer, ?DEADLINE),
    {{19, Pid, _, Monitor}, none} = kv_raw_peer:recv_control(Peer, ?DEADLINE),
    {Pid, Monitor, take_ack(Pid, kv_raw_peer:recv_control(Peer, ?DEADLINE))}.

take_ack(Pid, {_Send, {ack, Pid, {ok, Pid}}}) -> ok.

put(Peer, Bucket, Key, Value) ->
    ok = kv_raw_peer:call(Peer, Bucket, {put, Key, Value}).

%% As erlang:monitor/2 does from another node.
watch(Peer, Pid) ->
    Ref = make_ref(),
    ok = kv_raw_peer:send_bytes(Peer, kv_raw_peer:frame({19, kv_raw_peer:pid("other@127.0.0.1", 1, 77), Pid, Ref})),
    ok.

down(Peer) ->
    case kv_raw_peer:recv_control(Peer, ?DEADLINE) of
        {{28, _, _, _}, Reason} -> Reason;
        {{21, _, _, _, Reason}, none} -> Reason
    end.

lose(Program, Peer) ->
    ok = kv_raw_peer:close(Peer),
    kv_program:await_line(Program, "log notice connection to its VM " ++ ?VM ++ " lost").

a_bucket_outlives_the_connection_to_its_vm(Config) ->
    Program = start_with_vm(Config),
    Vm = peer(Program),
    {Bucket, Ref, ok} = start_owned(Vm, kv_bucket, []),
    put(Vm, Bucket, milk, 3),
    Lost = lose(Program, Vm),
    ?assertNotEqual(nomatch, string:find(Lost, "its processes are kept for 60 s")),
    Other = other(Program),
    ?assertEqual(3, kv_raw_peer:call(Other, Bucket, {get, milk})),
    Back = peer(Program),
    ?assertEqual({{19, Bucket, owner(77), Ref}, none}, kv_raw_peer:recv_control(Back, ?DEADLINE)),
    Line = kv_program:await_line(Program, "log notice its VM"),
    ?assertMatch({match, _}, re:run(Line, "its VM raw@127.0.0.1 is back after [0-9]+ ms")),
    ?assertEqual(3, kv_raw_peer:call(Back, Bucket, {get, milk})).

%% A call is sent together with the last message of the handshake.
owners_are_monitored_anew_before_a_request_is_read(Config) ->
    Program = #{tcp_port := Port} = start_with_vm(Config),
    Vm = peer(Program),
    Buckets = [start_owned(Vm, kv_bucket, []) || _ <- lists:seq(1, 10)],
    _ = lose(Program, Vm),
    Socket = kv_raw_peer:connect(Port),
    ok = kv_raw_peer:send_name(Socket, #{}),
    {ok, "ok"} = kv_raw_peer:recv_status(Socket),
    {ok, {_, Challenge, _, _}} = kv_raw_peer:recv_challenge(Socket),
    Digest = erlang:md5(["secret", integer_to_list(Challenge)]),
    {Bucket, _, ok} = hd(Buckets),
    Self = kv_raw_peer:pid(?VM, 1, 77),
    Tag = make_ref(),
    Call = kv_raw_peer:frame({22, Self, Bucket}, {'$gen_call', {Self, Tag}, size}),
    ok = gen_tcp:send(Socket, [<<21:16, $r, 1:32>>, Digest, Call]),
    {ok, <<$a, _/binary>>} = kv_raw_peer:recv_message(Socket),
    Frames = [kv_raw_peer:recv_control(#{socket => Socket}, ?DEADLINE) || _ <- lists:seq(1, 11)],
    Monitors = [{{19, Pid, owner(77), Ref}, none} || {Pid, Ref, ok} <- Buckets],
    ?assertEqual(lists:sort(Monitors), lists:sort(lists:droplast(Frames))),
    ?assertMatch({_, {Tag, 0}}, lists:last(Frames)).

an_owner_that_ended_meanwhile_ends_its_bucket(Config) ->
    Program = start_with_vm(Config),
    Vm = peer(Program),
    {Bucket, Ref, ok} = start_owned(Vm, kv_bucket, []),
    Other = other(Program),
    ok = watch(Other, Bucket),
    _ = lose(Program, Vm),
    Back = peer(Program),
    {{19, Bucket, _, Ref}, none} = kv_raw_peer:recv_control(Back, ?DEADLINE),
    ok = kv_raw_peer:send_bytes(Back, kv_raw_peer:frame({21, owner(77), Bucket, Ref, noproc})),
    ?assertEqual(noproc, down(Other)).

a_connection_that_is_replaced_changes_nothing(Config) ->
    Program = start_with_vm(Config),
    Vm = peer(Program),
    {Bucket, Ref, ok} = start_owned(Vm, kv_bucket, []),
    put(Vm, Bucket, milk, 3),
    New = peer(Program),
    ?assert(kv_raw_peer:is_closed(Vm, ?DEADLINE)),
    ?assertEqual({{19, Bucket, owner(77), Ref}, none}, kv_raw_peer:recv_control(New, ?DEADLINE)),
    ?assertEqual(3, kv_raw_peer:call(New, Bucket, {get, milk})).

another_run_of_the_vm_owns_nothing(Config) ->
    Program = start_with_vm(Config),
    Vm = peer(Program),
    {Bucket, _, ok} = start_owned(Vm, kv_bucket, []),
    Other = other(Program),
    ok = watch(Other, Bucket),
    _ = lose(Program, Vm),
    Back = peer(Program, #{creation => 78}),
    ?assertEqual(noconnection, down(Other)),
    _ = kv_program:await_line(Program, "log notice the VM is back as another run"),
    ?assertEqual(yes, kv_raw_peer:ping(Back)).

a_vm_that_does_not_come_back_owns_nothing(Config) ->
    Program = start_with_vm(Config, ["--reconnect-timeout", "50"]),
    Vm = peer(Program),
    {Bucket, _, ok} = start_owned(Vm, kv_bucket, []),
    Other = other(Program),
    ok = watch(Other, Bucket),
    _ = lose(Program, Vm),
    ?assertEqual(noconnection, down(Other)),
    Line = kv_program:await_line(Program, "log notice its VM"),
    ?assertNotEqual(nomatch, string:find(Line, ?VM ++ " did not come back in 0.05 s")),
    Back = peer(Program),
    ?assertEqual(yes, kv_raw_peer:ping(Back)).

%% The program was stopped for longer than its VM may be away. Only one second of that counts.
a_program_that_was_stopped_gives_its_vm_the_time_all_the_same(Config) ->
    Program = #{os_pid := OsPid} = start_with_vm(Config, ["--reconnect-timeout", "6000"]),
    Vm = peer(Program),
    {Bucket, Ref, ok} = start_owned(Vm, kv_bucket, []),
    _ = lose(Program, Vm),
    ok = kv_program:kill(OsPid, "STOP"),
    timer:sleep(6100),
    ok = kv_program:kill(OsPid, "CONT"),
    Back = peer(Program),
    ?assertEqual({{19, Bucket, owner(77), Ref}, none}, kv_raw_peer:recv_control(Back, ?DEADLINE)).

without_vm_or_time_nothing_is_kept(Config) ->
    [
        begin
            Program = start(Config, Arguments),
            Vm = peer(Program),
            {Bucket, _, ok} = start_owned(Vm, kv_bucket, []),
            Other = other(Program),
            ok = watch(Other, Bucket),
            ok = kv_raw_peer:close(Vm),
            ?assertEqual({Arguments, noconnection}, {Arguments, down(Other)}),
            ok = kv_program:kill(maps:get(os_pid, Program), "KILL")
        end
     || Arguments <- [[], ["--vm", "x@127.0.0.1"], ["--vm", ?VM, "--reconnect-timeout=0"], ["--no-leash", "--reconnect-timeout=0"]]
    ],
    ok.

%% Nobody holds the node, so it belongs to none of its VMs more than to another.
without_a_leash_every_vm_is_kept(Config) ->
    Program = #{os_pid := OsPid} = start(Config, ["--no-leash"]),
    Vm = peer(Program),
    {Bucket, Ref, ok} = start_owned(Vm, kv_bucket, []),
    put(Vm, Bucket, milk, 3),
    _ = lose(Program, Vm),
    Back = peer(Program),
    ?assertEqual({{19, Bucket, owner(77), Ref}, none}, kv_raw_peer:recv_control(Back, ?DEADLINE)),
    ?assertEqual(3, kv_raw_peer:call(Back, Bucket, {get, milk})),
    ok = kv_program:kill(OsPid, "KILL").

a_registry_asks_anew(Config) ->
    Program = start_with_vm(Config),
    Vm = peer(Program),
    {Registry, _, ok} = start_owned(Vm, kv_registry, [{creator, owner(77)}]),
    Self = kv_raw_peer:pid(?VM, 1, 77),
    Asked = {create_bucket, Registry, <<"shopping">>},
    {{19, Registry, _, _}, none} = kv_raw_peer:recv_control(Vm, ?DEADLINE),
    ok = kv_raw_peer:send_frame(Vm, {22, Self, Registry}, {'$gen_cast', {create, <<"shopping">>}}),
    ?assertMatch({_, Asked}, kv_raw_peer:recv_control(Vm, ?DEADLINE)),
    _ = lose(Program, Vm),
    Back = peer(Program),
    [{{19, Registry, _, _}, none} = kv_raw_peer:recv_control(Back, ?DEADLINE) || _ <- [owner, creator]],
    ?assertMatch({_, Asked}, kv_raw_peer:recv_control(Back, ?DEADLINE)),
    Bucket = kv_raw_peer:spawn_bucket(Back),
    ?assertEqual(ok, kv_raw_peer:call(Back, Registry, {bucket_created, <<"shopping">>, Bucket})),
    ?assertEqual({ok, Bucket}, kv_raw_peer:call(Back, Registry, {lookup, <<"shopping">>})),
    Unknown = {bucket_created, <<"other">>, Bucket},
    ?assertEqual({error, unknown_name}, kv_raw_peer:call(Back, Registry, Unknown)).

the_node_says_what_it_holds(Config) ->
    Program = start_with_vm(Config),
    Vm = peer(Program),
    {Bucket, _, ok} = start_owned(Vm, kv_bucket, [{generation, 3}]),
    ?assertEqual(3, kv_raw_peer:call(Vm, Bucket, generation)),
    put(Vm, Bucket, <<"milk">>, <<"three">>),
    Self = kv_raw_peer:pid(?VM, 1, 77),
    Tag = make_ref(),
    ok = kv_raw_peer:send_frame(Vm, {6, Self, '', net_kernel}, {'$gen_call', {Self, Tag}, kv_totals}),
    ?assertEqual({kv_totals, 1, 0, 1, 9, 0}, kv_raw_peer:recv_reply(Vm, Tag)).

%% ---- places -----------------------------------------------------------------------------------

refused(#{tcp_port := Port}, Name) ->
    ?assertEqual({error, {status, "not_allowed"}}, kv_raw_peer:handshake(Port, #{name => Name})).

the_last_place_is_kept_for_the_vm(Config) ->
    Program = start_with_vm(Config, ["--max-peers", "2"]),
    _ = other(Program),
    refused(Program, "third@127.0.0.1"),
    Vm = peer(Program),
    refused(Program, "third@127.0.0.1"),
    _ = lose(Program, Vm),
    refused(Program, "third@127.0.0.1"),
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))).

the_only_place_is_the_vms(Config) ->
    Program = start_with_vm(Config, ["--max-peers", "1"]),
    refused(Program, "other@127.0.0.1"),
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))).

%% ---- signals ----------------------------------------------------------------------------------

signals() -> ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"].

on_its_leash_it_ignores_signals(Config) ->
    Program = #{os_pid := OsPid} = start(Config),
    Peer = peer(Program),
    [ok = kv_program:kill(OsPid, Signal) || Signal <- signals()],
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    ok = sync(Program),
    kv_program:stop(Program).

%% From its first instruction on.
on_its_leash_it_ignores_signals_before_it_is_told_anything(Config) ->
    Program = #{os_pid := OsPid} = kv_program:run(arguments(Config), ""),
    ok = kv_program:until(fun() -> ignores_them_all(OsPid) end),
    [ok = kv_program:kill(OsPid, Signal) || Signal <- signals()],
    ok = say(Program, "secret"),
    Ready = kv_program:await_ready(Program),
    [ok = kv_program:kill(OsPid, Signal) || Signal <- signals()],
    ?assertEqual(yes, kv_raw_peer:ping(peer(Ready))).

%% SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2 and SIGTERM have the numbers 1, 2, 3, 10, 12 and 15; signal N is bit N - 1.
ignores_them_all(OsPid) ->
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/status"),
    {match, [Mask]} = re:run(Status, "SigIgn:\\s*([0-9a-f]+)", [{capture, [1], list}]),
    All = lists:sum([1 bsl (Signal - 1) || Signal <- [1, 2, 3, 10, 12, 15]]),
    list_to_integer(Mask, 16) band All =:= All.

without_a_leash_two_signals_end_it_and_others_do_not(Config) ->
    [
        begin
            Program = #{os_pid := OsPid} = start(Config, ["--no-leash"]),
            Peer = peer(Program),
            [ok = kv_program:kill(OsPid, Other) || Other <- ["HUP", "USR1", "USR2"]],
            ?assertEqual(yes, kv_raw_peer:ping(Peer)),
            ok = kv_program:kill(OsPid, Signal),
            ?assertMatch({Signal, {0, _}}, {Signal, kv_program:await_exit(Program)})
        end
     || Signal <- ["TERM", "INT"]
    ],
    ok.

the_leash_may_be_let_go_of_by_a_line(Config) ->
    Program = #{os_pid := OsPid} = kv_program:start(arguments(Config), "--no-leash\nsecret\n"),
    ok = kv_program:kill(OsPid, "TERM"),
    ?assertMatch({0, _}, kv_program:await_exit(Program)).
