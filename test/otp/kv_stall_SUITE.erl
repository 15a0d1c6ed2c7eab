%% A stall is not silence: a program that was stopped, alone or with its peers, disconnects no peer that was there.
-module(kv_stall_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile(export_all).
-compile(nowarn_export_all).

%% Two and a half tick times of the programs here.
-define(STALL, 2500).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        a_peer_that_spoke_while_the_program_was_stopped_stays,
        a_peer_that_was_stopped_with_the_program_stays,
        a_beam_that_was_stopped_with_the_program_stays,
        a_peer_that_says_nothing_is_given_up,
        a_peer_that_says_nothing_after_a_stall_is_given_up
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

start(Config) ->
    Name = "stall" ++ integer_to_list(erlang:unique_integer([positive])) ++ "@127.0.0.1",
    EpmdPort = integer_to_list(?config(epmd_port, Config)),
    kv_program:start(["--name", Name, "--epmd-port", EpmdPort, "--ticktime", "1"]).

peer(#{tcp_port := Port}) ->
    {ok, Peer} = kv_raw_peer:handshake(Port, #{}),
    Peer.

%% Stops these operating system processes for a while. None stays stopped.
stall(OsPids) ->
    try
        [ok = kv_test:signal("STOP", OsPid) || OsPid <- OsPids],
        timer:sleep(?STALL)
    after
        [kv_test:signal("CONT", OsPid) || OsPid <- lists:reverse(OsPids)]
    end.

%% Ticks for Ms milliseconds, five times in a tick time.
tick(_Peer, Left) when Left =< 0 ->
    ok;
tick(Peer, Left) ->
    ok = kv_raw_peer:send_bytes(Peer, <<0:32>>),
    timer:sleep(200),
    tick(Peer, Left - 200).

ping(Peer) ->
    Self = kv_raw_peer:pid("raw@127.0.0.1", 1, 77),
    Tag = make_ref(),
    Request = {'$gen_call', {Self, Tag}, {is_auth, 'raw@127.0.0.1'}},
    ok = kv_raw_peer:send_frame(Peer, {6, Self, '', net_kernel}, Request),
    {_Send, {Tag, Answer}} = kv_raw_peer:recv_control(Peer, 10000),
    Answer.

a_peer_that_spoke_while_the_program_was_stopped_stays(Config) ->
    Program = #{os_pid := OsPid} = start(Config),
    Peer = peer(Program),
    tick(Peer, 600),
    Stall = spawn_monitor(fun() -> stall([OsPid]) end),
    tick(Peer, ?STALL + 2000),
    normal = kv_test:down(element(2, Stall)),
    ?assertEqual(yes, ping(Peer)).

%% A peer that is stopped says nothing. Here it says nothing for as long.
a_peer_that_was_stopped_with_the_program_stays(Config) ->
    Program = #{os_pid := OsPid} = start(Config),
    Peer = peer(Program),
    lists:foreach(
        fun(_) ->
            tick(Peer, 600),
            ok = stall([OsPid])
        end,
        [1, 2]
    ),
    tick(Peer, 2000),
    ?assertEqual(yes, ping(Peer)).

a_beam_that_was_stopped_with_the_program_stays(Config) ->
    #{os_pid := OsPid, name := Name} = start(Config),
    Node = list_to_atom(Name),
    Vm = kv_test:start_vm(Config, ["-setcookie", "secret", "-kernel", "net_ticktime", "1"]),
    Bucket = kv_test:in(Vm, fun() ->
        Made = spawn(Node, kv_bucket, init, [[]]),
        ok = gen_server:call(Made, {put, k, v}),
        Made
    end),
    ok = stall([kv_test:vm_os_pid(Vm), OsPid]),
    timer:sleep(2000),
    ?assertEqual([Node], kv_test:in(Vm, fun() -> nodes(hidden) end)),
    ?assertEqual(v, kv_test:in(Vm, fun() -> gen_server:call(Bucket, {get, k}) end)),
    kv_test:stop_vm(Vm).

a_peer_that_says_nothing_is_given_up(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    ?assert(kv_raw_peer:is_closed(Peer, 10000)),
    assert_silent(Program).

a_peer_that_says_nothing_after_a_stall_is_given_up(Config) ->
    Program = #{os_pid := OsPid} = start(Config),
    Peer = peer(Program),
    ok = stall([OsPid]),
    ?assert(kv_raw_peer:is_closed(Peer, 10000)),
    assert_silent(Program).

assert_silent(Program) ->
    Line = kv_program:await_line(Program, "log warning"),
    ?assertMatch({match, _}, re:run(Line, "raw@127\\.0\\.0\\.1.*nothing was heard of it for 1 seconds")).
