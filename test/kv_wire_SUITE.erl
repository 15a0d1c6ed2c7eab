%% What the C node does with bytes: the handshake, frames, ticks and everything a peer can get wrong,
%% over plain sockets against the real program.
-module(kv_wire_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1]).
-compile(export_all).
-compile(nowarn_export_all).

-define(SECRET, #{cookie => "secret"}).

suite() ->
    [{timetrap, {seconds, 90}}].

all() ->
    [{group, handshake}, {group, refused}, {group, takeover}, {group, frames}, {group, liveness}].

groups() ->
    [
        {handshake, [], [
            a_peer_with_the_cookie_is_let_in,
            the_challenge_names_the_node_with_its_creation_and_flags,
            an_old_name_message_with_its_complement_is_let_in,
            the_bare_digest_flag_stands_for_all_mandatory_ones,
            a_handshake_may_come_byte_by_byte,
            challenges_differ
        ]},
        {refused, [], [
            a_wrong_cookie_is_closed_after_the_reply,
            every_mandatory_flag_is_demanded,
            a_peer_that_wants_to_be_named_is_not_allowed,
            the_name_of_the_node_itself_is_not_allowed,
            bad_names_are_not_allowed,
            an_old_name_message_of_another_version_is_closed,
            garbage_is_closed_at_once,
            a_message_out_of_turn_is_closed,
            silence_hits_the_deadline,
            a_peer_that_dribbles_hits_the_same_deadline,
            silent_strangers_keep_nobody_out,
            more_than_max_peers_are_not_allowed
        ]},
        {takeover, [], [
            a_newcomer_with_the_cookie_replaces_the_old_connection,
            a_newcomer_with_a_wrong_cookie_does_not_disturb_the_old_connection,
            a_newcomer_that_gives_up_does_not_disturb_the_old_connection,
            a_second_newcomer_is_closed_without_an_answer,
            of_two_newcomers_at_once_the_last_verified_stays
        ]},
        {frames, [], [
            frames_may_come_byte_by_byte,
            many_frames_may_come_at_once,
            a_malformed_frame_closes_only_its_own_connection,
            every_truncation_of_a_frame_leaves_the_node_alive,
            a_frame_over_the_limit_is_refused_by_its_length_alone,
            a_claimed_length_takes_no_memory
        ]},
        {liveness, [], [
            a_silent_peer_gets_ticks_and_is_dropped,
            a_peer_that_ticks_stays,
            a_tick_is_answered_when_nothing_was_sent_since_the_last,
            a_peer_that_reads_late_gets_everything,
            a_peer_that_does_not_read_is_dropped_at_max_queue,
            two_hundred_peers_are_served
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
    Name = "wire" ++ integer_to_list(erlang:unique_integer([positive])) ++ "@127.0.0.1",
    kv_program:start(
        ["--name", Name, "--epmd-port", integer_to_list(EpmdPort) | Arguments]
    ).

port(#{tcp_port := Port}) -> Port.

peer(Program) ->
    peer(Program, "raw@127.0.0.1").

peer(Program, Name) ->
    {ok, Peer} = kv_raw_peer:handshake(port(Program), #{name => Name}),
    Peer.

%% ---- handshake ------------------------------------------------------------------------------

a_peer_with_the_cookie_is_let_in(Config) ->
    Peer = peer(start(Config)),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

the_challenge_names_the_node_with_its_creation_and_flags(Config) ->
    #{name := Name, creation := Creation} = Program = start(Config),
    Peer = peer(Program),
    ?assertMatch(#{node := Name, node_creation := Creation}, Peer),
    ?assert(Creation > 3),
    %% Mandatory for OTP 26 and later; hidden; no atom cache.
    #{node_flags := Flags} = Peer,
    ?assertEqual(16#403070F94, Flags band 16#403070F94),
    ?assertEqual(0, Flags band 16#2043).

an_old_name_message_with_its_complement_is_let_in(Config) ->
    {ok, Peer} = kv_raw_peer:handshake(port(start(Config)), #{form => old}),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

the_bare_digest_flag_stands_for_all_mandatory_ones(Config) ->
    {ok, Peer} = kv_raw_peer:handshake(port(start(Config)), #{flags => 16#4000000}),
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

a_handshake_may_come_byte_by_byte(Config) ->
    Program = start(Config),
    Socket = kv_raw_peer:connect(port(Program)),
    Name = <<"slow@127.0.0.1">>,
    Flags = kv_raw_peer:all_flags(),
    dribble(Socket, <<29:16, $N, Flags:64, 7:32, 14:16, Name/binary>>),
    {ok, "ok"} = kv_raw_peer:recv_status(Socket),
    {ok, {_, Challenge, _, _}} = kv_raw_peer:recv_challenge(Socket),
    Digest = erlang:md5(["secret", integer_to_list(Challenge)]),
    dribble(Socket, <<21:16, $r, 1:32, Digest/binary>>),
    ?assertMatch({ok, <<$a, _:16/binary>>}, kv_raw_peer:recv_message(Socket)).

dribble(Socket, Bytes) ->
    [ok = gen_tcp:send(Socket, <<Byte>>) || <<Byte>> <= Bytes],
    ok.

challenges_differ(Config) ->
    Program = start(Config),
    Challenges = [challenge(Program, N) || N <- lists:seq(1, 20)],
    ?assertEqual(20, length(lists:usort(Challenges))).

challenge(Program, N) ->
    {_, Challenge} = to_challenge(Program, "c" ++ integer_to_list(N) ++ "@127.0.0.1"),
    Challenge.

%% ---- refused --------------------------------------------------------------------------------

a_wrong_cookie_is_closed_after_the_reply(Config) ->
    Program = start(Config),
    Answer = kv_raw_peer:handshake(port(Program), #{cookie => "wrong"}),
    ?assertEqual({error, {ack, closed}}, Answer),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertMatch({match, _}, re:run(Line, "raw@127\\.0\\.0\\.1 .*a wrong cookie")),
    ?assertEqual(nomatch, string:find(Line, "secret")),
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))).

every_mandatory_flag_is_demanded(Config) ->
    Program = start(Config),
    Mandatory = [1 bsl N || N <- lists:seq(0, 31), 16#1070F94 band (1 bsl N) =/= 0],
    ?assertEqual(11, length(Mandatory)),
    %% The digest flag stands for all of them, so it has to go as well.
    Offer = kv_raw_peer:all_flags() band bnot 16#4000000,
    [
        ?assertEqual({Flag, {error, {status, "not_allowed"}}}, {
            Flag, kv_raw_peer:handshake(port(Program), #{flags => Offer band bnot Flag})
        })
     || Flag <- Mandatory
    ],
    ok.

a_peer_that_wants_to_be_named_is_not_allowed(Config) ->
    Flags = kv_raw_peer:all_flags() bor (1 bsl 33),
    Answer = kv_raw_peer:handshake(port(start(Config)), #{flags => Flags, name => "127.0.0.1"}),
    ?assertEqual({error, {status, "not_allowed"}}, Answer).

the_name_of_the_node_itself_is_not_allowed(Config) ->
    #{name := Name} = Program = start(Config),
    Answer = kv_raw_peer:handshake(port(Program), #{name => Name}),
    ?assertEqual({error, {status, "not_allowed"}}, Answer).

bad_names_are_not_allowed(Config) ->
    Program = start(Config),
    TooLong = lists:duplicate(250, $a) ++ "@host1",
    Bad = ["", "@", "a", "a@", "@b", "a@b@c", "a b@c", "a\n@c", [200, $@, $c], TooLong],
    [
        ?assertEqual({Name, {error, {status, "not_allowed"}}}, {
            Name, kv_raw_peer:handshake(port(Program), #{name => Name})
        })
     || Name <- Bad
    ],
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))).

an_old_name_message_of_another_version_is_closed(Config) ->
    Socket = kv_raw_peer:connect(port(start(Config))),
    ok = kv_raw_peer:send_message(Socket, <<$n, 4:16, 16#5070FFC:32, "raw@127.0.0.1">>),
    ?assertEqual({error, closed}, kv_raw_peer:recv_status(Socket)).

garbage_is_closed_at_once(Config) ->
    %% The deadline is far away: it is not what closes them.
    Program = start(Config, ["--handshake-timeout", "600000"]),
    Garbage = [
        <<"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n">>,
        <<16#FFFF:16>>,
        <<0:16>>,
        <<1:16, "N">>,
        <<3:16, "nnn">>,
        <<15:16, $N, 0:64, 0:32, 9:16>>,
        <<5:16, "strue">>,
        <<21:16, $r, 0:160>>,
        <<22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3>>,
        binary:copy(<<255>>, 100000)
    ],
    [?assertEqual({Bytes, true}, {Bytes, closed_after(Program, Bytes)}) || Bytes <- Garbage],
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))).

closed_after(Program, Bytes) ->
    Socket = kv_raw_peer:connect(port(Program)),
    _ = gen_tcp:send(Socket, Bytes),
    kv_raw_peer:is_closed(Socket, 10000).

a_message_out_of_turn_is_closed(Config) ->
    Program = start(Config, ["--handshake-timeout", "600000"]),
    Messages = ["strue", <<$c, 0:64>>, <<$N, 0:112>>, <<$r, 0:152>>, <<$r, 0:168>>, <<$a, 0:128>>],
    [?assertEqual({Message, true}, {Message, closed_in_turn(Program, Message)})
     || Message <- Messages],
    ok.

closed_in_turn(Program, Message) ->
    {Socket, _} = to_challenge(Program, "raw@127.0.0.1"),
    ok = kv_raw_peer:send_message(Socket, Message),
    kv_raw_peer:is_closed(Socket, 10000).

to_challenge(Program, Name) ->
    Socket = kv_raw_peer:connect(port(Program)),
    ok = kv_raw_peer:send_name(Socket, #{name => Name}),
    {ok, "ok"} = kv_raw_peer:recv_status(Socket),
    {ok, {_, Challenge, _, _}} = kv_raw_peer:recv_challenge(Socket),
    {Socket, Challenge}.

silence_hits_the_deadline(Config) ->
    Program = start(Config, ["--handshake-timeout", "300"]),
    Silent = kv_raw_peer:connect(port(Program)),
    {Waiting, _} = to_challenge(Program, "raw@127.0.0.1"),
    ?assert(kv_raw_peer:is_closed(Silent, 10000)),
    ?assert(kv_raw_peer:is_closed(Waiting, 10000)),
    ?assertNotEqual(nomatch, string:find(kv_program:await_line(Program, "log warning"), "long")).

a_peer_that_dribbles_hits_the_same_deadline(Config) ->
    Program = start(Config, ["--handshake-timeout", "300"]),
    Socket = kv_raw_peer:connect(port(Program)),
    ok = gen_tcp:send(Socket, <<400:16, $N>>),
    ?assertEqual(closed, dribble_until_closed(Socket, 1000)).

dribble_until_closed(_Socket, 0) ->
    still_open;
dribble_until_closed(Socket, Left) ->
    case {gen_tcp:send(Socket, <<0>>), gen_tcp:recv(Socket, 0, 20)} of
        {ok, {error, timeout}} -> dribble_until_closed(Socket, Left - 1);
        _ -> closed
    end.

silent_strangers_keep_nobody_out(Config) ->
    Program = start(Config, ["--handshake-timeout", "600000", "--max-peers", "10"]),
    Silent = [kv_raw_peer:connect(port(Program)) || _ <- lists:seq(1, 200)],
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))),
    lists:foreach(fun kv_raw_peer:close/1, Silent).

more_than_max_peers_are_not_allowed(Config) ->
    Program = start(Config, ["--max-peers", "2"]),
    One = peer(Program, "one@127.0.0.1"),
    Two = peer(Program, "two@127.0.0.1"),
    Three = fun() -> kv_raw_peer:handshake(port(Program), #{name => "three@127.0.0.1"}) end,
    ?assertEqual({error, {status, "not_allowed"}}, Three()),
    ?assertNotEqual(nomatch, string:find(kv_program:await_line(Program, "three@"), "max-peers")),
    %% One that is there may connect again, and one that goes makes room.
    Again = peer(Program, "one@127.0.0.1"),
    ?assert(kv_raw_peer:is_closed(One, 10000)),
    ok = kv_raw_peer:close(Two),
    kv_program:until(fun() -> element(1, Three()) =:= ok end),
    ?assertEqual(yes, kv_raw_peer:ping(Again)).

%% ---- takeover -------------------------------------------------------------------------------

a_newcomer_with_the_cookie_replaces_the_old_connection(Config) ->
    Program = start(Config),
    Old = peer(Program),
    {New, Challenge} = to_takeover(Program),
    ?assertEqual(yes, kv_raw_peer:ping(Old)),
    ok = kv_raw_peer:send_reply(New, Challenge, "secret"),
    ?assertEqual(ok, kv_raw_peer:recv_ack(New)),
    ?assert(kv_raw_peer:is_closed(Old, 10000)),
    ?assertEqual(yes, kv_raw_peer:ping(Old#{socket := New})).

%% A newcomer of a name that is connected, up to the challenge.
to_takeover(Program) ->
    Socket = kv_raw_peer:connect(port(Program)),
    ok = kv_raw_peer:send_name(Socket, #{}),
    {ok, "alive"} = kv_raw_peer:recv_status(Socket),
    ok = kv_raw_peer:send_message(Socket, "strue"),
    {ok, {_, Challenge, _, _}} = kv_raw_peer:recv_challenge(Socket),
    {Socket, Challenge}.

a_newcomer_with_a_wrong_cookie_does_not_disturb_the_old_connection(Config) ->
    Program = start(Config),
    Old = peer(Program),
    {New, Challenge} = to_takeover(Program),
    ok = kv_raw_peer:send_reply(New, Challenge, "wrong"),
    ?assertEqual({error, closed}, kv_raw_peer:recv_ack(New)),
    ?assertEqual(yes, kv_raw_peer:ping(Old)).

a_newcomer_that_gives_up_does_not_disturb_the_old_connection(Config) ->
    Program = start(Config),
    Old = peer(Program),
    New = kv_raw_peer:connect(port(Program)),
    ok = kv_raw_peer:send_name(New, #{}),
    {ok, "alive"} = kv_raw_peer:recv_status(New),
    ok = kv_raw_peer:send_message(New, "sfalse"),
    ?assert(kv_raw_peer:is_closed(New, 10000)),
    ?assertEqual(yes, kv_raw_peer:ping(Old)).

a_second_newcomer_is_closed_without_an_answer(Config) ->
    Program = start(Config),
    Old = peer(Program),
    {First, Challenge} = to_takeover(Program),
    Second = kv_raw_peer:connect(port(Program)),
    ok = kv_raw_peer:send_name(Second, #{}),
    ?assertEqual({error, closed}, kv_raw_peer:recv_status(Second)),
    ?assertEqual(yes, kv_raw_peer:ping(Old)),
    ok = kv_raw_peer:send_reply(First, Challenge, "secret"),
    ?assertEqual(ok, kv_raw_peer:recv_ack(First)).

of_two_newcomers_at_once_the_last_verified_stays(Config) ->
    Program = start(Config),
    {One, ChallengeOne} = to_challenge(Program, "raw@127.0.0.1"),
    {Two, ChallengeTwo} = to_challenge(Program, "raw@127.0.0.1"),
    ok = kv_raw_peer:send_reply(One, ChallengeOne, "secret"),
    ?assertEqual(ok, kv_raw_peer:recv_ack(One)),
    ok = kv_raw_peer:send_reply(Two, ChallengeTwo, "secret"),
    ?assertEqual(ok, kv_raw_peer:recv_ack(Two)),
    ?assert(kv_raw_peer:is_closed(One, 10000)),
    Peer = #{socket => Two, name => "raw@127.0.0.1", creation => 77, flags => 0},
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

%% ---- frames ---------------------------------------------------------------------------------

frames_may_come_byte_by_byte(Config) ->
    #{socket := Socket} = Peer = peer(start(Config)),
    {Tag, Frame} = ping_frame(),
    dribble(Socket, Frame),
    ?assertEqual(yes, kv_raw_peer:recv_reply(Peer, Tag)).

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
    Program = start(Config, ["--max-depth", "100"]),
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
    Deep = lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, 200)),
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
        {"an atom that is not UTF-8", <<Send/binary, 131, 119, 1, 16#FF>>},
        {"nesting over the limit", <<Send/binary, (term_to_binary(Deep))/binary>>}
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

a_frame_over_the_limit_is_refused_by_its_length_alone(Config) ->
    Program = start(Config, ["--max-frame", "4096"]),
    Peer = peer(Program),
    ok = kv_raw_peer:send_bytes(Peer, <<4097:32>>),
    ?assert(kv_raw_peer:is_closed(Peer, 10000)),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertNotEqual(nomatch, string:find(Line, "larger than the limit")).

a_claimed_length_takes_no_memory(Config) ->
    Program = start(Config, ["--max-frame", "2000000000"]),
    Peers = [peer(Program, integer_to_list(N) ++ "@127.0.0.1") || N <- lists:seq(1, 20)],
    Good = peer(Program),
    Before = resident(Program),
    [ok = kv_raw_peer:send_bytes(Peer, <<2000000000:32, 112, 131>>) || Peer <- Peers],
    ?assertEqual(yes, kv_raw_peer:ping(Good)),
    ?assert(resident(Program) - Before < 100 * 1024).

%% Kilobytes of memory in use.
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

%% Eight ticks of ours are two tick times.
a_peer_that_ticks_stays(Config) ->
    Peer = peer(start(Config, ["--ticktime", "3"])),
    [tick_for_tick(Peer) || _ <- lists:seq(1, 8)],
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

tick_for_tick(Peer) ->
    ?assertEqual(tick, kv_raw_peer:recv_frame(Peer, 10000)),
    ok = kv_raw_peer:send_bytes(Peer, <<0:32>>).

%% With this tick time no tick of the node's own comes during the test.
a_tick_is_answered_when_nothing_was_sent_since_the_last(Config) ->
    Peer = peer(start(Config, ["--ticktime", "86400"])),
    Tick = fun() -> ok = kv_raw_peer:send_bytes(Peer, <<0:32>>) end,
    %% The acknowledgement of the handshake was sent since: no answer to the first.
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
    %% Over the mark at which the node waits for its peer; others are served meanwhile.
    Other = peer(Program, "other@127.0.0.1"),
    ?assertEqual(yes, kv_raw_peer:ping(Other)),
    ?assert(resident(Program) < 100 * 1024),
    [?assertEqual(Value, kv_raw_peer:recv_reply(Peer, Tag)) || Tag <- Tags],
    ok.

%% What it asks for itself waits until it reads; here somebody else has answers sent to it.
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
