%% Frames, ticks, a peer that does not read, and everything that a peer can get wrong, over plain sockets against the
%% real program.
-module(kv_wire_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1]).
-compile(export_all).
-compile(nowarn_export_all).

suite() ->
    [{timetrap, {seconds, 90}}].

all() ->
    [{group, frames}, {group, liveness}].

groups() ->
    [
        {frames, [], [
            frames_may_come_byte_by_byte,
            many_frames_may_come_at_once,
            a_malformed_frame_closes_only_its_own_connection,
            every_truncation_of_a_frame_leaves_the_node_alive,
            a_changed_byte_anywhere_in_a_frame_leaves_the_node_alive,
            a_frame_over_the_limit_is_passed_over,
            a_claimed_length_takes_no_memory
        ]},
        {liveness, [], [
            a_silent_peer_gets_ticks_and_is_dropped,
            a_peer_that_ticks_stays,
            a_tick_is_answered_when_nothing_was_sent_since_the_last,
            a_peer_that_reads_late_gets_everything,
            a_peer_that_does_not_read_is_dropped_at_max_queue,
            two_hundred_peers_are_served,
            a_call_that_goes_round_for_ever_keeps_nobody_waiting,
            a_message_in_thousands_of_envelopes_is_opened,
            a_service_that_is_killed_is_there_again
        ]}
    ].

init_per_suite(Config) ->
    [{epmd, kv_program:start_epmd()} | Config].

end_per_suite(Config) ->
    kv_program:stop_epmd(proplists:get_value(epmd, Config)).

%% The program belongs to the process of the test and ends with it, however the test ends.
start(Config) ->
    start(Config, []).

start(Config, Arguments) ->
    #{port := EpmdPort} = proplists:get_value(epmd, Config),
    kv_program:start(kv_program:arguments("wire", EpmdPort) ++ Arguments).

port(#{tcp_port := Port}) -> Port.

peer(Program) ->
    peer(Program, "raw@127.0.0.1").

peer(Program, Name) ->
    {ok, Peer} = kv_raw_peer:handshake(port(Program), #{name => Name}),
    Peer.

%% ---- frames ---------------------------------------------------------------------------------

frames_may_come_byte_by_byte(Config) ->
    #{socket := Socket} = Peer = peer(start(Config)),
    {Tag, Frame} = ping_frame(),
    dribble(Socket, Frame),
    ?assertEqual(yes, kv_raw_peer:recv_reply(Peer, Tag)).

dribble(Socket, Bytes) ->
    [ok = gen_tcp:send(Socket, <<Byte>>) || <<Byte>> <= Bytes],
    ok.

ping_frame() ->
    Tag = make_ref(),
    Self = kv_raw_peer:pid("raw@127.0.0.1", 1, 77),
    Request = {'$gen_call', {Self, Tag}, {is_auth, 'raw@127.0.0.1'}},
    {Tag, kv_raw_peer:frame({6, Self, '', net_kernel}, Request)}.

many_frames_may_come_at_once(Config) ->
    Peer = peer(start(Config)),
    Frames = [ping_frame() || _ <- lists:seq(1, 5000)],
    ok = kv_raw_peer:send_bytes(Peer, [Frame || {_, Frame} <- Frames]),
    [?assertEqual(yes, kv_raw_peer:recv_reply(Peer, Tag)) || {Tag, _} <- Frames],
    ok.

a_malformed_frame_closes_only_its_own_connection(Config) ->
    Program = start(Config),
    Good = peer(Program, "good@127.0.0.1"),
    Bucket = kv_raw_peer:spawn_bucket(Good),
    ok = kv_raw_peer:call(Good, Bucket, {put, eggs, 3}),
    lists:foreach(fun(Case) -> refused_frame(Program, Case) end, malformed(Bucket)),
    ?assertEqual(3, kv_raw_peer:call(Good, Bucket, {get, eggs})),
    ?assertEqual(yes, kv_raw_peer:ping(Good)).

refused_frame(Program, {What, Bytes}) ->
    Bad = peer(Program, "bad@127.0.0.1"),
    ok = kv_raw_peer:send_bytes(Bad, <<(byte_size(Bytes)):32, Bytes/binary>>),
    ?assertEqual({What, true}, {What, kv_raw_peer:is_closed(Bad, 10000)}),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertMatch({What, {match, _}}, {What, re:run(Line, "bad@127\\.0\\.0\\.1.*bad (frame|control)")}).

malformed(To) ->
    Self = kv_raw_peer:pid("bad@127.0.0.1", 1, 77),
    Other = kv_raw_peer:pid("good@127.0.0.1", 1, 77),
    Send = <<112, (term_to_binary({22, Self, To}))/binary>>,
    [
        {"no pass-through byte", <<99, (term_to_binary({22, Self, To}))/binary>>},
        {"another term version", <<112, 130, 97, 1>>},
        {"no term", <<112>>},
        {"an unknown tag", <<112, 131, 255>>},
        {"control that is no tuple", <<112, (term_to_binary(22))/binary>>},
        {"an empty tuple", <<112, (term_to_binary({}))/binary>>},
        {"an opcode that is no number", <<112, (term_to_binary({send, Self, To}))/binary>>},
        {"an unknown opcode", <<112, (term_to_binary({99, Self, To}))/binary>>},
        {"too few elements", <<112, (term_to_binary({22, Self}))/binary, 131, 106>>},
        {"too many elements", <<112, (term_to_binary({1, Self, To, To}))/binary>>},
        {"a name for a pid", <<112, (term_to_binary({1, Self, name}))/binary>>},
        {"a process of another node", <<112, (term_to_binary({1, Other, To}))/binary>>},
        {"a missing payload", Send},
        {"a truncated payload", <<Send/binary, 131, 109, 0, 0, 0, 9, 1>>},
        {"bytes behind the payload", <<Send/binary, 131, 106, 0>>},
        {"a list that claims four billion elements", <<Send/binary, 131, 108, 16#FFFFFFFF:32>>},
        {"a tuple that claims four billion elements", <<Send/binary, 131, 105, 16#FFFFFFFF:32>>},
        {"a compressed payload", <<Send/binary, (term_to_binary(lists:duplicate(999, a), [compressed]))/binary>>},
        {"a reference to an atom cache", <<Send/binary, 131, 82, 0>>},
        {"a map with a key twice", <<Send/binary, 131, 116, 2:32, 97, 1, 106, 97, 1, 106>>},
        {"an atom that is not UTF-8", <<Send/binary, 131, 119, 1, 16#FF>>}
    ].

every_truncation_of_a_frame_leaves_the_node_alive(Config) ->
    Program = start(Config),
    Good = peer(Program, "good@127.0.0.1"),
    {_, Frame} = ping_frame(),
    [truncated(Program, binary:part(Frame, 0, N)) || N <- lists:seq(1, byte_size(Frame) - 1)],
    ?assertEqual(yes, kv_raw_peer:ping(Good)).

truncated(Program, Bytes) ->
    Peer = peer(Program),
    ok = kv_raw_peer:send_bytes(Peer, Bytes),
    kv_raw_peer:close(Peer).

%% Some of these frames are still valid, and end the process that they are for. So the number of the process that must
%% live differs in more than one bit.
a_changed_byte_anywhere_in_a_frame_leaves_the_node_alive(Config) ->
    Program = start(Config),
    Good = peer(Program, "good@127.0.0.1"),
    Bucket = kv_raw_peer:spawn_bucket(Good),
    ok = kv_raw_peer:call(Good, Bucket, {put, eggs, 3}),
    [_, _, Target] = [kv_raw_peer:spawn_bucket(Good) || _ <- [1, 2, 3]],
    [
        changed(Program, Frame, At, Change)
     || Frame <- all_kinds(Target), At <- lists:seq(4, byte_size(Frame) - 1), Change <- [1, 16#80]
    ],
    ?assertEqual(3, kv_raw_peer:call(Good, Bucket, {get, eggs})).

changed(Program, Frame, At, Change) ->
    <<Before:At/binary, Byte, After/binary>> = Frame,
    Peer = peer(Program),
    _ = kv_raw_peer:send_bytes(Peer, <<Before/binary, (Byte bxor Change), After/binary>>),
    kv_raw_peer:close(Peer).

all_kinds(To) ->
    From = kv_raw_peer:pid("raw@127.0.0.1", 1, 77),
    Ref = make_ref(),
    {_, Ping} = ping_frame(),
    [
        Ping,
        kv_raw_peer:frame({22, From, To}, {'$gen_call', {From, [alias | Ref]}, {put, a, #{b => 1.5}}}),
        kv_raw_peer:frame({1, From, To}),
        kv_raw_peer:frame({35, 1, From, To}),
        kv_raw_peer:frame({36, 1, From, To}),
        kv_raw_peer:frame({19, From, net_kernel, Ref}),
        kv_raw_peer:frame({20, From, To, Ref}),
        kv_raw_peer:frame({7, From, To}),
        kv_raw_peer:frame({24, From, To}, shutdown),
        kv_raw_peer:frame({26, From, To}, normal),
        kv_raw_peer:frame({28, From, To, Ref}, noproc),
        kv_raw_peer:frame({29, Ref, From, From, {kv_bucket, init, 1}, [link, monitor]}, [[{owner, From}]]),
        kv_raw_peer:frame({31, Ref, To, 0, From}),
        kv_raw_peer:frame({33, From, Ref}, hello)
    ].

a_frame_over_the_limit_is_passed_over(Config) ->
    Program = start(Config, ["--max-frame", "4096"]),
    Peer = peer(Program),
    Message = kv_raw_peer:frame({6, kv_raw_peer:pid("raw@127.0.0.1", 1, 77), '', net_kernel}, <<0:32768>>),
    ok = kv_raw_peer:send_bytes(Peer, Message),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertNotEqual(nomatch, string:find(Line, "larger than the limit")),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

a_claimed_length_takes_no_memory(Config) ->
    Program = start(Config, ["--max-frame", "2000000000"]),
    Peers = [peer(Program, integer_to_list(N) ++ "@127.0.0.1") || N <- lists:seq(1, 20)],
    Good = peer(Program),
    Before = resident(Program),
    [ok = kv_raw_peer:send_bytes(Peer, <<2000000000:32, 112, 131>>) || Peer <- Peers],
    ?assertEqual(yes, kv_raw_peer:ping(Good)),
    ?assert(resident(Program) - Before < 100 * 1024).

%% Returns the memory in use, in kilobytes.
resident(#{os_pid := OsPid}) ->
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/status"),
    {match, [Kilobytes]} = re:run(Status, "VmRSS:\\s+(\\d+) kB", [{capture, [1], list}]),
    list_to_integer(Kilobytes).

%% ---- liveness -------------------------------------------------------------------------------

a_silent_peer_gets_ticks_and_is_dropped(Config) ->
    Program = start(Config, ["--ticktime", "1"]),
    Peer = peer(Program),
    ?assertEqual(tick, kv_raw_peer:recv_frame(Peer, 10000)),
    ?assert(kv_raw_peer:is_closed(Peer, 10000)),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertMatch({match, _}, re:run(Line, "raw@127\\.0\\.0\\.1.*nothing was heard")).

%% Eight of the peer's ticks are two tick times.
a_peer_that_ticks_stays(Config) ->
    Peer = peer(start(Config, ["--ticktime", "3"])),
    [tick_for_tick(Peer) || _ <- lists:seq(1, 8)],
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

tick_for_tick(Peer) ->
    ?assertEqual(tick, kv_raw_peer:recv_frame(Peer, 10000)),
    ok = kv_raw_peer:send_bytes(Peer, <<0:32>>).

%% With this tick time, the node sends no tick of its own during the test.
a_tick_is_answered_when_nothing_was_sent_since_the_last(Config) ->
    Peer = peer(start(Config, ["--ticktime", "86400"])),
    Tick = fun() -> ok = kv_raw_peer:send_bytes(Peer, <<0:32>>) end,
    %% The node has sent the acknowledgement of the handshake since, so it does not answer the first tick.
    Tick(),
    Tick(),
    ?assertEqual(tick, kv_raw_peer:recv_frame(Peer, 10000)),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)),
    %% The reply to the ping is an answer.
    Tick(),
    {Tag, Frame} = ping_frame(),
    ok = kv_raw_peer:send_bytes(Peer, Frame),
    ?assertMatch({_Send, {Tag, yes}}, kv_raw_peer:recv_frame(Peer, 10000)).

a_peer_that_reads_late_gets_everything(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    Value = binary:copy(<<"v">>, 1 bsl 20),
    ok = kv_raw_peer:call(Peer, Bucket, {put, k, Value}),
    Tags = [kv_raw_peer:send_call(Peer, Bucket, {get, k}) || _ <- lists:seq(1, 200)],
    %% Over the mark at which the node waits for its peer. The node serves others meanwhile.
    Other = peer(Program, "other@127.0.0.1"),
    ?assertEqual(yes, kv_raw_peer:ping(Other)),
    ?assert(resident(Program) < 100 * 1024),
    [?assertEqual(Value, kv_raw_peer:recv_reply(Peer, Tag)) || Tag <- Tags],
    ok.

%% The answers to the peer's own requests wait until it reads. Here another process makes the node send it answers.
a_peer_that_does_not_read_is_dropped_at_max_queue(Config) ->
    Program = start(Config, ["--max-queue", "1048576"]),
    Other = peer(Program, "other@127.0.0.1"),
    _Peer = peer(Program),
    Bucket = kv_raw_peer:spawn_bucket(Other),
    ok = kv_raw_peer:call(Other, Bucket, {put, k, binary:copy(<<"v">>, 512 * 1024)}),
    Sender = kv_raw_peer:pid("other@127.0.0.1", 1, 77),
    Victim = kv_raw_peer:pid("raw@127.0.0.1", 1, 77),
    Call = {'$gen_call', {Victim, make_ref()}, {get, k}},
    Frame = kv_raw_peer:frame({22, Sender, Bucket}, Call),
    ok = kv_raw_peer:send_bytes(Other, lists:duplicate(200, Frame)),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertMatch({match, _}, re:run(Line, "raw@127\\.0\\.0\\.1.*does not read.*--max-queue")),
    ?assertEqual(yes, kv_raw_peer:ping(Other)).

two_hundred_peers_are_served(Config) ->
    Program = start(Config),
    Peers = [peer(Program, "p" ++ integer_to_list(N) ++ "@127.0.0.1") || N <- lists:seq(1, 200)],
    [?assertEqual(yes, kv_raw_peer:ping(Peer)) || Peer <- Peers],
    ok.

%% rex sends Message for {Pid, {sbcast, Name, Message}}, and takes the answer of the bucket, {Pid, Value}, for such a
%% request: so the value makes rex send the bucket the same call again.
a_call_that_goes_round_for_ever_keeps_nobody_waiting(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    Bucket = bucket_named(Peer, loop),
    Rex = whereis(Peer, rex),
    Nobody = kv_raw_peer:pid(maps:get(node, Peer), 99999, 0),
    Call = {'$gen_call', {Rex, Nobody}, {get, again, none}},
    ok = kv_raw_peer:call(Peer, Bucket, {put, again, {sbcast, loop, Call}}),
    ok = kv_raw_peer:send_frame(Peer, {22, self_of(Peer), Bucket}, Call),
    Other = peer(Program, "other@127.0.0.1"),
    ?assertEqual(yes, kv_raw_peer:ping(Other)),
    Another = kv_raw_peer:spawn_bucket(Other),
    ?assertEqual(ok, kv_raw_peer:call(Other, Another, {put, k, v})).

%% rex takes {Pid, {send, rex, Message}} as {Pid, Message}, which goes to rex again.
a_message_in_thousands_of_envelopes_is_opened(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    Message = lists:foldl(fun(_, Inner) -> {send, rex, Inner} end, features_request, lists:seq(1, 5000)),
    ok = kv_raw_peer:send_frame(Peer, {6, self_of(Peer), '', rex}, {self_of(Peer), Message}),
    Node = list_to_atom(maps:get(node, Peer)),
    ?assertMatch({_Send, {features_reply, Node, [erpc]}}, kv_raw_peer:recv_control(Peer, 10000)).

%% Observer, for one, kills any process that it shows.
a_service_that_is_killed_is_there_again(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    [
        begin
            Killed = whereis(Peer, Service),
            ok = kv_raw_peer:send_bytes(Peer, kv_raw_peer:frame({8, self_of(Peer), Killed, kill})),
            Line = kv_program:await_line(Program, "log warning the process " ++ atom_to_list(Service)),
            ?assertNotEqual(nomatch, string:find(Line, "was started again")),
            ?assertNotEqual(Killed, whereis(Peer, Service))
        end
     || Service <- [rex, net_kernel]
    ],
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

self_of(#{name := Name, creation := Creation}) ->
    kv_raw_peer:pid(Name, 1, Creation).

bucket_named(Peer, Name) ->
    Self = self_of(Peer),
    ok = kv_raw_peer:send_frame(Peer, {29, make_ref(), Self, Self, {kv_bucket, init, 1}, []}, [[{name, Name}]]),
    {{31, _Ref, Self, 0, Bucket}, none} = kv_raw_peer:recv_control(Peer, 10000),
    Bucket.

%% The process of that name on the node, as rex says.
whereis(Peer, Name) ->
    Self = self_of(Peer),
    Request = {call, erlang, whereis, [Name], Self},
    ok = kv_raw_peer:send_frame(Peer, {6, Self, '', rex}, {Self, Request}),
    {_Send, {rex, Pid}} = kv_raw_peer:recv_control(Peer, 10000),
    true = is_pid(Pid),
    Pid.
