%% The handshake of the distribution protocol over plain sockets against the real program, and everything that a
%% stranger can get wrong in it.
-module(kv_handshake_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1]).
-compile(export_all).
-compile(nowarn_export_all).

suite() ->
    [{timetrap, {seconds, 90}}].

all() ->
    [{group, handshake}, {group, refused}, {group, takeover}].

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
            a_node_that_speaks_tls_is_refused_in_plain_words,
            every_mandatory_flag_is_demanded,
            a_peer_that_wants_to_be_named_is_not_allowed,
            the_name_of_the_node_itself_is_not_allowed,
            bad_names_are_not_allowed,
            the_version_of_an_old_name_message_is_ignored_as_in_otp,
            garbage_is_closed_at_once,
            a_message_out_of_turn_is_closed,
            a_changed_byte_anywhere_in_a_handshake_lets_nobody_else_in,
            silence_hits_the_deadline,
            a_peer_that_dribbles_hits_the_same_deadline,
            silent_strangers_keep_nobody_out,
            more_than_max_peers_are_not_allowed
        ]},
        {takeover, [], [
            a_newcomer_with_the_cookie_replaces_the_old_connection,
            a_newcomer_with_a_wrong_cookie_does_not_disturb_the_old_connection,
            a_newcomer_that_gives_up_does_not_disturb_the_old_connection,
            a_silent_newcomer_does_not_keep_another_out,
            the_last_verified_of_two_newcomers_stays
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
    kv_program:start(kv_program:arguments("shake", EpmdPort) ++ Arguments).

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

a_node_that_speaks_tls_is_refused_in_plain_words(Config) ->
    Program = start(Config),
    Socket = kv_raw_peer:connect(port(Program)),
    %% The head of a ClientHello; OTP's own is longer.
    ok = gen_tcp:send(Socket, <<22, 3, 1, 512:16, 1, 508:24, 3, 3, 0:64>>),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertNotEqual(nomatch, string:find(Line, "a TLS hello, but this node speaks the distribution protocol without TLS")),
    ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 5000)).

every_mandatory_flag_is_demanded(Config) ->
    Program = start(Config),
    Mandatory = [1 bsl N || N <- lists:seq(0, 31), 16#1070F94 band (1 bsl N) =/= 0],
    ?assertEqual(11, length(Mandatory)),
    %% The digest flag implies all of them, so it has to go as well.
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

the_version_of_an_old_name_message_is_ignored_as_in_otp(Config) ->
    Socket = kv_raw_peer:connect(port(start(Config))),
    ok = kv_raw_peer:send_message(Socket, <<$n, 4:16, 16#5070FFC:32, "raw@127.0.0.1">>),
    ?assertEqual({ok, "ok"}, kv_raw_peer:recv_status(Socket)).

garbage_is_closed_at_once(Config) ->
    %% The handshake deadline is far away, so it does not close them.
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

%% A change in the peer's challenge only changes the answer, and a change in the name or in an optional flag makes
%% another peer. Such peers are let in, because they know the cookie.
a_changed_byte_anywhere_in_a_handshake_lets_nobody_else_in(Config) ->
    Program = start(Config, ["--handshake-timeout", "600000"]),
    Names = [with_changed_name(Program, At) || At <- lists:seq(2, 29)],
    ?assertEqual([], [Other || Other <- Names, Other =/= asked, Other =/= refused]),
    Replies = [with_changed_reply(Program, At) || At <- lists:seq(2, 22)],
    Refused = [refused || _ <- lists:seq(1, 16)],
    ?assertEqual([refused, let_in, let_in, let_in, let_in | Refused], Replies),
    ?assertEqual(yes, kv_raw_peer:ping(peer(Program))).

with_changed_name(Program, At) ->
    Name = <<"raw@127.0.0.1">>,
    Flags = kv_raw_peer:all_flags(),
    Socket = kv_raw_peer:connect(port(Program)),
    ok = gen_tcp:send(Socket, change(<<28:16, $N, Flags:64, 7:32, 13:16, Name/binary>>, At)),
    Answer = kv_raw_peer:recv_status(Socket),
    ok = kv_raw_peer:close(Socket),
    case Answer of
        {ok, "ok"} -> asked;
        {ok, "not_allowed"} -> refused;
        {error, closed} -> refused;
        Other -> Other
    end.

with_changed_reply(Program, At) ->
    {Socket, Challenge} = to_challenge(Program, "r" ++ integer_to_list(At) ++ "@127.0.0.1"),
    Digest = erlang:md5(["secret", integer_to_list(Challenge)]),
    ok = gen_tcp:send(Socket, change(<<21:16, $r, 1:32, Digest/binary>>, At)),
    Answer = kv_raw_peer:recv_message(Socket),
    ok = kv_raw_peer:close(Socket),
    case Answer of
        {ok, <<$a, _:16/binary>>} -> let_in;
        {error, closed} -> refused;
        Other -> Other
    end.

change(Bytes, At) ->
    <<Before:At/binary, Byte, After/binary>> = Bytes,
    <<Before/binary, (Byte bxor 1), After/binary>>.

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
    %% A connected peer may connect again, and a peer that leaves makes room.
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

%% A newcomer with the name of a connected peer, up to the challenge.
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

a_silent_newcomer_does_not_keep_another_out(Config) ->
    Program = start(Config),
    Old = peer(Program),
    {_Silent, _} = to_takeover(Program),
    {Second, Challenge} = to_takeover(Program),
    ?assertEqual(yes, kv_raw_peer:ping(Old)),
    ok = kv_raw_peer:send_reply(Second, Challenge, "secret"),
    ?assertEqual(ok, kv_raw_peer:recv_ack(Second)),
    ?assert(kv_raw_peer:is_closed(Old, 10000)).

the_last_verified_of_two_newcomers_stays(Config) ->
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
