%% Control messages: a raw peer sends the same to a native node and to an ordinary one, and gets the same answers.
-module(kv_conf_control_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% Neither an atom cache nor fragments, so that frames are plain with every node.
-define(PLAIN, (kv_raw_peer:all_flags() band bnot 16#802000)).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        an_unlink_is_always_acknowledged,
        a_link_to_what_is_not_there_is_answered_with_an_exit,
        a_link_is_told_the_end_once,
        an_unlinked_process_is_not_told,
        an_acknowledgement_of_nothing_is_ignored,
        a_monitor_of_what_is_not_there_is_answered,
        a_monitor_is_told_by_pid_or_by_name,
        a_demonitor_of_nothing_is_ignored,
        old_forms_of_messages_and_exits_act,
        an_exit_of_a_link_that_is_not_there_is_ignored,
        messages_to_nobody_are_dropped,
        a_spawn_reply_says_what_was_installed,
        a_spawn_request_with_wrong_options_is_badopt,
        a_reply_goes_to_the_alias,
        the_peer_gets_no_message_twice
    ].

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%%% Running on both

%% A case gets a connected peer, the pid for which it speaks, and the node. It returns the frames that it has
%% received.
same(Config, Case) ->
    [{reference, Expected}, {native, Seen}] = [{Which, run(Config, Node, Case)} || {Which, Node} <- kv_conformance:targets(Config)],
    ?assertEqual({reference, Expected}, {reference, Seen}),
    Seen.

run(Config, Node, Case) ->
    Name = "raw@127.0.0.1",
    {ok, Peer} = kv_conformance:raw_peer(Config, Node, #{name => Name, flags => ?PLAIN}),
    try Case(Peer, kv_raw_peer:pid(Name, 1, 77), Node) of
        Frames -> kv_conformance:normalise(Node, [kind(Frame) || Frame <- Frames ++ rest(Peer)])
    after
        kv_raw_peer:close(Peer)
    end.

%% The frames that have arrived by the time a ping is answered.
rest(#{name := Name} = Peer) ->
    Tag = make_ref(),
    Self = kv_raw_peer:pid(Name, 1, 77),
    ok = kv_raw_peer:send_frame(Peer, {6, Self, '', net_kernel}, {'$gen_call', {Self, Tag}, {is_auth, list_to_atom(Name)}}),
    until_reply(Peer, Tag).

until_reply(Peer, Tag) ->
    case kv_raw_peer:recv_control(Peer, 5000) of
        {_Send, {Tag, yes}} -> [];
        {error, Reason} -> [{closed, Reason}];
        Frame -> [Frame | until_reply(Peer, Tag)]
    end.

%% The forms with and without a payload, with and without a sender, mean the same.
kind({{2, _, To}, Message}) -> {message, To, Message};
kind({{22, _From, To}, Message}) -> {message, To, Message};
kind({{33, _From, Alias}, Message}) -> {message, Alias, Message};
kind({{3, From, To, Reason}, none}) -> {exit, From, To, Reason};
kind({{24, From, To}, Reason}) -> {exit, From, To, Reason};
kind({{21, From, To, Ref, Reason}, none}) -> {down, From, To, Ref, Reason};
kind({{28, From, To, Ref}, Reason}) -> {down, From, To, Ref, Reason};
kind(Other) -> Other.

send(Peer, Control) -> ok = kv_raw_peer:send_bytes(Peer, kv_raw_peer:frame(Control)).
send(Peer, Control, Payload) -> ok = kv_raw_peer:send_frame(Peer, Control, Payload).

frames(Peer, Count) -> [kv_raw_peer:recv_control(Peer, 5000) || _ <- lists:seq(1, Count)].

%% A bucket that has ended, as all processes know.
dead(Peer, Self) ->
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    Ref = make_ref(),
    send(Peer, {19, Self, Bucket, Ref}),
    send(Peer, {26, Self, Bucket}, kill),
    {{28, Bucket, Self, Ref}, killed} = kv_raw_peer:recv_control(Peer, 5000),
    Bucket.

%%% Cases

an_unlink_is_always_acknowledged(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        Bucket = kv_raw_peer:spawn_bucket(Peer),
        Dead = dead(Peer, Self),
        Ids = [1, 2, 16#FFFFFFFF, 1 bsl 62, 1 bsl 63, (1 bsl 64) - 1],
        [send(Peer, {35, Id, Self, To}) || Id <- Ids, To <- [Bucket, Dead]],
        send(Peer, {1, Self, Bucket}),
        send(Peer, {35, 7, Self, Bucket}),
        lists:sort(frames(Peer, 13))
    end).

a_link_to_what_is_not_there_is_answered_with_an_exit(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        Dead = dead(Peer, Self),
        [send(Peer, {1, Self, To}) || To <- [Dead, kv_case:other_creation(Dead, 1), Dead]],
        frames(Peer, 3)
    end).

a_link_is_told_the_end_once(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        Bucket = kv_raw_peer:spawn_bucket(Peer),
        [send(Peer, {1, Self, Bucket}) || _ <- [1, 2]],
        send(Peer, {26, Self, Bucket}, crash),
        frames(Peer, 1)
    end).

an_unlinked_process_is_not_told(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        Bucket = kv_raw_peer:spawn_bucket(Peer),
        [send(Peer, Control) || Control <- [{1, Self, Bucket}, {35, 1, Self, Bucket}, {19, Self, Bucket, make_ref()}]],
        send(Peer, {26, Self, Bucket}, crash),
        frames(Peer, 2)
    end).

an_acknowledgement_of_nothing_is_ignored(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Peer, Self, _Node) ->
            [send(Peer, {36, Id, Self, kv_raw_peer:spawn_bucket(Peer)}) || Id <- [1, 1 bsl 63]],
            []
        end)
    ).

a_monitor_of_what_is_not_there_is_answered(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        Dead = dead(Peer, Self),
        [send(Peer, {19, Self, To, make_ref()}) || To <- [Dead, nobody, kv_case:other_creation(Dead, 1)]],
        frames(Peer, 3)
    end).

a_monitor_is_told_by_pid_or_by_name(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        send(Peer, {29, make_ref(), Self, Self, {kv_bucket, init, 1}, []}, [[{name, controlled}]]),
        [{{31, _, _, 0, Bucket}, none}] = frames(Peer, 1),
        0 = kv_raw_peer:call(Peer, Bucket, size),
        [send(Peer, {19, Self, What, make_ref()}) || What <- [Bucket, controlled]],
        send(Peer, {26, Self, Bucket}, {shutdown, why}),
        lists:sort(fun(A, B) -> is_pid(element(2, kind(A))) >= is_pid(element(2, kind(B))) end, frames(Peer, 2))
    end).

a_demonitor_of_nothing_is_ignored(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Peer, Self, _Node) ->
            Bucket = kv_raw_peer:spawn_bucket(Peer),
            [send(Peer, {20, Self, What, make_ref()}) || What <- [Bucket, nobody, kv_case:other_creation(Bucket, 1)]],
            []
        end)
    ).

%% The forms without payloads, which a BEAM still sends if it had queued them before it was connected.
old_forms_of_messages_and_exits_act(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        [ByExit, ByLink] = [kv_raw_peer:spawn_bucket(Peer) || _ <- [1, 2]],
        [send(Peer, {2, '', Bucket}, {'$gen_call', {Self, Tag}, size}) || {Bucket, Tag} <- [{ByExit, a}, {ByLink, b}]],
        Answers = lists:sort(fun(A, B) -> element(2, A) =< element(2, B) end, frames(Peer, 2)),
        [send(Peer, {19, Self, Bucket, make_ref()}) || Bucket <- [ByExit, ByLink]],
        send(Peer, {8, Self, ByExit, crash}),
        First = frames(Peer, 1),
        send(Peer, {1, Self, ByLink}),
        send(Peer, {3, Self, ByLink, broken}),
        Answers ++ First ++ frames(Peer, 1)
    end).

an_exit_of_a_link_that_is_not_there_is_ignored(Config) ->
    ?assertMatch(
        [{message, _, {tag, 0}}],
        same(Config, fun(Peer, Self, _Node) ->
            Bucket = kv_raw_peer:spawn_bucket(Peer),
            send(Peer, {24, Self, Bucket}, crash),
            send(Peer, {22, Self, Bucket}, {'$gen_call', {Self, tag}, size}),
            frames(Peer, 1)
        end)
    ).

messages_to_nobody_are_dropped(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Peer, Self, _Node) ->
            Dead = dead(Peer, Self),
            [send(Peer, {22, Self, To}, hello) || To <- [Dead, kv_case:other_creation(Dead, 1)]],
            send(Peer, {6, Self, '', nobody}, hello),
            send(Peer, {33, Self, make_ref_of(Dead)}, hello),
            send(Peer, {26, Self, Dead}, kill),
            send(Peer, {7, Self, Dead}),
            []
        end)
    ).

%% A reference of the node of the pid.
make_ref_of(Pid) ->
    <<131, 88, Rest/binary>> = term_to_binary(Pid, [{minor_version, 2}]),
    Name = binary:part(Rest, 0, byte_size(Rest) - 12),
    Creation = binary:part(Rest, byte_size(Rest) - 4, 4),
    binary_to_term(<<131, 90, 3:16, Name/binary, Creation/binary, 1:32, 2:32, 3:32>>).

a_spawn_reply_says_what_was_installed(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        lists:append([
            begin
                send(Peer, {29, make_ref(), Self, Self, {kv_bucket, init, 1}, Options}, [[]]),
                [{{31, _, _, Flags, Bucket}, none}] = Reply = frames(Peer, 1),
                send(Peer, {26, Self, Bucket}, crash),
                Reply ++ frames(Peer, length([x || Bit <- [1, 2], Flags band Bit =/= 0]))
            end
         || Options <- [[], [link], [monitor], [link, monitor], [{priority, high}, link], [monitor, {min_heap_size, 300}]]
        ])
    end).

%% For unknown options see kv_conf_differences_SUITE.
a_spawn_request_with_wrong_options_is_badopt(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        lists:append([
            begin
                send(Peer, {29, make_ref(), Self, Self, {kv_bucket, init, 1}, Options}, [[]]),
                frames(Peer, 1)
            end
         || Options <- [[7], [1, 2]]
        ])
    end).

a_reply_goes_to_the_alias(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        Bucket = kv_raw_peer:spawn_bucket(Peer),
        Alias = binary_to_term(<<131, 90, 3:16, 119, 13, "raw@127.0.0.1", 77:32, 1:32, 2:32, 3:32>>),
        [send(Peer, {22, Self, Bucket}, {'$gen_call', {Self, Tag}, size}) || Tag <- [[alias | Alias], [[alias | Alias], more], Alias]],
        frames(Peer, 3)
    end).

the_peer_gets_no_message_twice(Config) ->
    same(Config, fun(Peer, Self, _Node) ->
        Bucket = kv_raw_peer:spawn_bucket(Peer),
        Ref = make_ref(),
        send(Peer, {19, Self, Bucket, Ref}),
        send(Peer, {1, Self, Bucket}),
        send(Peer, {26, Self, Bucket}, crash),
        Told = frames(Peer, 2),
        [send(Peer, Control) || Control <- [{20, Self, Bucket, Ref}, {35, 1, Self, Bucket}]],
        Told ++ frames(Peer, 1)
    end).
