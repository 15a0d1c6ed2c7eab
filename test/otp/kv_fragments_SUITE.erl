%% Messages in fragments, to and from the real program, over plain sockets and from a BEAM. Also ALTACT_SIG_SEND,
%% which only peers newer than this machine's BEAM send.
-module(kv_fragments_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([init_per_testcase/2, end_per_testcase/2]).
-compile(export_all).
-compile(nowarn_export_all).

-define(FRAGMENT, 65536).
-define(ALTACT_SIG, (1 bsl 37)).
-define(PING, {is_auth, 'raw@127.0.0.1'}).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [{group, wire}, {group, altact}, {group, beam}].

groups() ->
    [
        {wire, [], [
            a_value_comes_back_whatever_its_size,
            a_message_that_fits_into_a_fragment_comes_whole,
            a_peer_without_fragments_gets_none,
            a_value_may_come_in_fragments_of_any_size,
            many_values_may_come_at_once,
            a_message_takes_its_place_when_it_is_whole,
            a_frame_of_the_other_form_closes_its_connection,
            a_bad_fragment_closes_only_its_own_connection,
            fragments_over_a_limit_cost_only_their_message,
            unfinished_messages_end_with_the_connection,
            a_claim_of_many_fragments_takes_no_memory,
            an_answer_of_another_process_does_not_wait,
            an_answer_of_the_same_process_waits,
            a_small_answer_overtakes_a_large_one_under_way,
            requests_are_read_while_a_large_answer_is_under_way,
            a_large_answer_is_what_it_was_when_it_was_asked_for,
            a_peer_that_reads_late_takes_little_memory,
            a_peer_that_reads_slowly_and_ticks_gets_it_all
        ]},
        {altact, [], [
            a_reply_to_an_alias_is_in_the_newest_form_the_peer_has,
            messages_reach_pids_and_names_whatever_the_other_flags,
            a_message_to_an_alias_is_dropped,
            an_exit_signal_ends_a_pid_or_a_name,
            an_exit_signal_to_an_alias_is_dropped,
            flags_that_contradict_each_other_close_the_connection
        ]},
        {beam, [], [
            values_come_back_byte_for_byte,
            callers_with_small_values_go_on_while_large_ones_are_under_way,
            messages_between_two_processes_keep_their_order,
            a_reason_that_is_large_arrives,
            a_beam_with_a_short_tick_time_stays_while_a_large_value_trickles
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%% The program belongs to the process of the test and ends with it, however the test ends.
start(Config) ->
    start(Config, []).

start(Config, Arguments) ->
    EpmdPort = proplists:get_value(epmd_port, Config),
    kv_program:start(kv_program:arguments("fragments", EpmdPort) ++ Arguments).

peer(#{tcp_port := Port}) ->
    kv_fragment_peer:connect(Port).

peer(#{tcp_port := Port}, Name) ->
    kv_fragment_peer:connect(Port, Name).

%% ---- values over plain sockets --------------------------------------------------------------

a_value_comes_back_whatever_its_size(Config) ->
    Peer = peer(start(Config)),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    lists:foreach(
        fun(Size) ->
            Value = rand:bytes(Size),
            ?assertEqual(ok, kv_fragment_peer:call(Peer, Bucket, {put, k, Value})),
            ?assert(Value =:= kv_fragment_peer:call(Peer, Bucket, {get, k}))
        end,
        sizes()
    ).

sizes() ->
    Around = [Fragments * ?FRAGMENT + Byte || Fragments <- [1, 2, 3], Byte <- lists:seq(-70, 2)],
    [0, 1 | Around] ++ [1000000, 10000000].

%% A reply is a pair of tag and value. 65536 bytes of it fit into one frame; one byte more makes two fragments.
a_message_that_fits_into_a_fragment_comes_whole(Config) ->
    Peer = peer(start(Config)),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Frame = fun(Size) ->
        ok = kv_fragment_peer:call(Peer, Bucket, {put, k, binary:copy(<<"v">>, Size)}),
        Tag = kv_fragment_peer:send_call(Peer, Bucket, {get, k}),
        {?FRAGMENT - byte_size(term_to_binary({Tag, <<>>})) + 1, kv_fragment_peer:recv_frame(Peer, 10000)}
    end,
    {Largest, {whole, _, _}} = Frame(1),
    ?assertMatch({_, {whole, _, _}}, Frame(Largest)),
    {_, {first, Sequence, 2, {22, _, _}, First}} = Frame(Largest + 1),
    {other, Sequence, 1, Last} = kv_fragment_peer:recv_frame(Peer, 10000),
    ?assertEqual(?FRAGMENT + 1, byte_size(First) + byte_size(Last)).

a_peer_without_fragments_gets_none(Config) ->
    #{tcp_port := Port} = start(Config),
    {ok, Peer} = kv_raw_peer:handshake(Port, #{}),
    Bucket = kv_raw_peer:spawn_bucket(Peer),
    Value = rand:bytes(1000000),
    ?assertEqual(ok, kv_raw_peer:call(Peer, Bucket, {put, k, Value})),
    ?assertEqual(Value, kv_raw_peer:call(Peer, Bucket, {get, k})).

a_value_may_come_in_fragments_of_any_size(Config) ->
    Peer = peer(start(Config)),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Value = rand:bytes(5000),
    lists:foreach(
        fun(Size) ->
            {Tag, Control, Payload} = kv_fragment_peer:request(Peer, Bucket, {put, Size, Value}),
            Frames = kv_fragment_peer:fragments(Size, Control, Payload, Size),
            ok = kv_raw_peer:send_bytes(Peer, Frames),
            ?assertMatch({_, {Tag, ok}, _}, kv_fragment_peer:recv_message(Peer, #{})),
            ?assertEqual(Value, kv_fragment_peer:call(Peer, Bucket, {get, Size}))
        end,
        [1, 2, 3, 100, 4999, 5000, 5100, 1000000]
    ).

%% The first fragment of each message, then the second of each, and so on, with pings in between.
many_values_may_come_at_once(Config) ->
    Count = 300,
    Peer = peer(start(Config)),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Requests = [kv_fragment_peer:request(Peer, Bucket, {put, N, <<N:80000>>}) || N <- lists:seq(1, Count)],
    Columns = [
        kv_fragment_peer:fragments(N, Control, Payload, 3000)
     || {N, {_, Control, Payload}} <- lists:enumerate(Requests)
    ],
    lists:foreach(
        fun(Row) ->
            ok = kv_raw_peer:send_bytes(Peer, Row),
            case Row =:= last_row(Columns) of
                false -> ?assertEqual(0, kv_fragment_peer:call(Peer, Bucket, size));
                true -> ok
            end
        end,
        rows(Columns)
    ),
    [{_, {Tag, ok}, _} = kv_fragment_peer:recv_message(Peer, #{}) || {Tag, _, _} <- Requests],
    ?assertEqual(Count, kv_fragment_peer:call(Peer, Bucket, size)),
    [?assertEqual(<<N:80000>>, kv_fragment_peer:call(Peer, Bucket, {get, N})) || N <- [1, 150, 300]],
    ok.

rows([[] | _]) -> [];
rows(Columns) -> [[hd(Column) || Column <- Columns] | rows([tl(Column) || Column <- Columns])].

last_row(Columns) -> [lists:last(Column) || Column <- Columns].

a_message_takes_its_place_when_it_is_whole(Config) ->
    Peer = peer(start(Config)),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    {_, Control, Payload} = kv_fragment_peer:request(Peer, Bucket, {put, k, <<0:8000>>}),
    [First, Second] = kv_fragment_peer:fragments(7, Control, Payload, 9000),
    ok = kv_raw_peer:send_bytes(Peer, First),
    ?assertEqual(ok, kv_fragment_peer:call(Peer, Bucket, {put, k, between})),
    ok = kv_raw_peer:send_bytes(Peer, Second),
    {_, {_, ok}, _} = kv_fragment_peer:recv_message(Peer, #{}),
    ?assertEqual(<<0:8000>>, kv_fragment_peer:call(Peer, Bucket, {get, k})).

%% ---- what closes a connection ---------------------------------------------------------------

a_frame_of_the_other_form_closes_its_connection(Config) ->
    #{tcp_port := Port} = Program = start(Config),
    Self = kv_raw_peer:pid("raw@127.0.0.1", 1, 77),
    Control = {6, Self, '', net_kernel},
    With = peer(Program),
    ok = kv_raw_peer:send_bytes(With, kv_raw_peer:frame(Control, hello)),
    ?assert(kv_raw_peer:is_closed(With, 10000)),
    ?assertMatch("log warning " ++ _, kv_program:await_line(Program, "bad frame")),
    Bad = [kv_fragment_peer:frame(Control, hello) | kv_fragment_peer:fragments(1, Control, hello, 99)],
    lists:foreach(
        fun(Frame) ->
            {ok, Without} = kv_raw_peer:handshake(Port, #{}),
            ok = kv_raw_peer:send_bytes(Without, Frame),
            ?assert(kv_raw_peer:is_closed(Without, 10000)),
            ?assertMatch("log warning " ++ _, kv_program:await_line(Program, "bad frame"))
        end,
        Bad
    ).

a_bad_fragment_closes_only_its_own_connection(Config) ->
    Program = start(Config),
    Good = peer(Program, "good@127.0.0.1"),
    Bucket = kv_fragment_peer:spawn_bucket(Good),
    Cases = bad_fragments({22, kv_raw_peer:pid("bad@127.0.0.1", 1, 77), Bucket}),
    lists:foreach(
        fun({What, Frames}) ->
            Bad = peer(Program, "bad@127.0.0.1"),
            ok = kv_raw_peer:send_bytes(Bad, Frames),
            ?assertEqual({What, true}, {What, kv_raw_peer:is_closed(Bad, 10000)}),
            Line = kv_program:await_line(Program, "bad@127.0.0.1"),
            ?assertMatch({What, {match, _}}, {What, re:run(Line, "warning.*bad (frame|control)")})
        end,
        Cases
    ),
    ?assertEqual(0, kv_fragment_peer:call(Good, Bucket, size)).

bad_fragments(Control) ->
    First = kv_fragment_peer:first(5, 3, Control, <<>>),
    Other = fun(Sequence, Id) -> kv_fragment_peer:other(Sequence, Id, <<1>>) end,
    [
        {"an unknown sequence", Other(5, 2)},
        {"another sequence than the one begun", [First, Other(6, 2)]},
        {"a second first fragment", [First, First]},
        {"an id twice", [First, Other(5, 2), Other(5, 2)]},
        {"an id left out", [First, Other(5, 1)]},
        {"a sequence that goes on behind its end", [First, Other(5, 2), Other(5, 1), Other(5, 0)]},
        {"a first id of 0", kv_fragment_peer:first(5, 0, Control, <<>>)},
        {"a sequence of 0", kv_fragment_peer:first(0, 2, Control, <<>>)},
        {"an atom cache", <<21:32, 131, 69, 5:64, 3:64, 1, 104, 0>>},
        {"half a control message", <<22:32, 131, 69, 5:64, 3:64, 0, 104, 3, 97>>},
        {"half a header", <<10:32, 131, 70, 5:64>>},
        {"an unknown control message", kv_fragment_peer:fragments(5, setelement(1, Control, 99), x, 9)},
        {"a payload that is no term", [First, Other(5, 2), Other(5, 1)]},
        {"a payload with more behind it", [First, Other(5, 2), kv_fragment_peer:other(5, 1, <<106, 106>>)]}
    ].

fragments_over_a_limit_cost_only_their_message(Config) ->
    Program = start(Config, ["--max-frame", "1000000", "--max-pending", "2000000"]),
    Peer = peer(Program),
    Control = {6, kv_raw_peer:pid("raw@127.0.0.1", 1, 77), '', net_kernel},
    Begin = fun(Sequence, Id) -> kv_fragment_peer:first(Sequence, Id, Control, <<109, 100000:32>>) end,
    Add = fun(Sequence, Id) -> kv_fragment_peer:other(Sequence, Id, <<0:800000>>) end,
    ok = kv_raw_peer:send_bytes(Peer, [Begin(1, 12) | [Add(1, Id) || Id <- lists:seq(11, 1, -1)]]),
    ?assertMatch("log " ++ _, kv_program:await_line(Program, "larger than the limit")),
    ok = kv_raw_peer:send_bytes(Peer, [[Begin(N, 3), Add(N, 2)] || N <- lists:seq(1, 21)]),
    ok = kv_raw_peer:send_bytes(Peer, [kv_fragment_peer:other(N, 1, <<>>) || N <- lists:seq(21, 1, -1)]),
    {Ping, Frame} = ping(Peer),
    ok = kv_raw_peer:send_bytes(Peer, Frame),
    {_, {Ping, yes}, #{}} = kv_fragment_peer:recv_message(Peer, #{}).

unfinished_messages_end_with_the_connection(Config) ->
    Program = start(Config),
    Control = {6, kv_raw_peer:pid("raw@127.0.0.1", 1, 77), '', net_kernel},
    One = peer(Program),
    ok = kv_raw_peer:send_bytes(One, kv_fragment_peer:first(5, 2, Control, <<>>)),
    ok = kv_raw_peer:close(One),
    Two = peer(Program),
    ok = kv_raw_peer:send_bytes(Two, kv_fragment_peer:other(5, 1, <<106>>)),
    ?assert(kv_raw_peer:is_closed(Two, 10000)).

a_claim_of_many_fragments_takes_no_memory(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Before = resident(Program),
    Control = {22, kv_fragment_peer:self_pid(Peer), Bucket},
    Claims = [kv_fragment_peer:first(N, 1 bsl 63, Control, <<>>) || N <- lists:seq(1, 1000)],
    ok = kv_raw_peer:send_bytes(Peer, Claims),
    ?assertEqual(0, kv_fragment_peer:call(Peer, Bucket, size)),
    ?assert(resident(Program) - Before < 10 * 1024).

%% Returns the memory in use, in kilobytes.
resident(#{os_pid := OsPid}) ->
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/status"),
    {match, [Kilobytes]} = re:run(Status, "VmRSS:\\s+(\\d+) kB", [{capture, [1], list}]),
    list_to_integer(Kilobytes).

%% ---- what waits for what --------------------------------------------------------------------

%% Starts a peer whose socket takes little ahead, and a bucket with that value.
with_large(Config, Size) ->
    Peer = #{socket := Socket} = peer(start(Config)),
    ok = inet:setopts(Socket, [{recbuf, ?FRAGMENT}]),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    ok = kv_fragment_peer:call(Peer, Bucket, {put, large, binary:copy(<<"large">>, Size div 5)}),
    ok = kv_fragment_peer:call(Peer, Bucket, {put, small, 1}),
    {Peer, Bucket}.

ping(Peer) ->
    Tag = make_ref(),
    Self = kv_fragment_peer:self_pid(Peer),
    {Tag, kv_fragment_peer:frame({6, Self, '', net_kernel}, {'$gen_call', {Self, Tag}, ?PING})}.

%% The node reads both requests at once, and writes the answers afterwards.
an_answer_of_another_process_does_not_wait(Config) ->
    {Peer, Bucket} = with_large(Config, 10000000),
    {Large, Control, Payload} = kv_fragment_peer:request(Peer, Bucket, {get, large}),
    {Ping, Frame} = ping(Peer),
    ok = kv_raw_peer:send_bytes(Peer, [kv_fragment_peer:frame(Control, Payload), Frame]),
    {_, {Ping, yes}, Parts} = kv_fragment_peer:recv_message(Peer, #{}),
    ?assertMatch({_, {Large, _}, _}, kv_fragment_peer:recv_message(Peer, Parts)).

an_answer_of_the_same_process_waits(Config) ->
    {Peer, Bucket} = with_large(Config, 10000000),
    Requests = [kv_fragment_peer:request(Peer, Bucket, {get, Key}) || Key <- [small, large, small, large, small]],
    Frames = [kv_fragment_peer:frame(Control, Payload) || {_, Control, Payload} <- Requests],
    ok = kv_raw_peer:send_bytes(Peer, Frames),
    [{_, {Tag, _}, _} = kv_fragment_peer:recv_message(Peer, #{}) || {Tag, _, _} <- Requests],
    ok.

%% Only the system knows how much a socket holds, but it is limited, and far less than the whole message.
a_small_answer_overtakes_a_large_one_under_way(Config) ->
    {Peer, Bucket} = with_large(Config, 64 bsl 20),
    _ = kv_fragment_peer:send_call(Peer, Bucket, {get, large}),
    {first, 1, Count, _, _} = kv_fragment_peer:recv_frame(Peer, 10000),
    ?assert(Count > 1000),
    {Ping, Frame} = ping(Peer),
    ok = kv_raw_peer:send_bytes(Peer, Frame),
    Overtaken = fragments_before(Peer, Ping, 0),
    ct:pal("~b of ~b fragments before a small answer", [Overtaken, Count]),
    ?assert(Overtaken < Count div 4).

fragments_before(Peer, Tag, Count) ->
    case kv_fragment_peer:recv_frame(Peer, 10000) of
        {other, _, _, _} -> fragments_before(Peer, Tag, Count + 1);
        {whole, _, {Tag, _}} -> Count
    end.

%% Four large answers exceed every mark for small answers. The node still reads requests.
requests_are_read_while_a_large_answer_is_under_way(Config) ->
    {Peer, Bucket} = with_large(Config, 40 bsl 20),
    Tags = [kv_fragment_peer:send_call(Peer, Bucket, {get, large}) || _ <- lists:seq(1, 4)],
    {first, _, Count, _, _} = kv_fragment_peer:recv_frame(Peer, 10000),
    {Ping, Frame} = ping(Peer),
    ok = kv_raw_peer:send_bytes(Peer, Frame),
    ?assert(fragments_before(Peer, Ping, 0) < Count),
    ?assertEqual(4, length(Tags)).

%% The node sends a value from where it lies. Changes of its key or its bucket do not affect the answer.
a_large_answer_is_what_it_was_when_it_was_asked_for(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    Other = peer(Program, "other@127.0.0.1"),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Value = rand:bytes(16 bsl 20),
    ok = kv_fragment_peer:call(Peer, Bucket, {put, k, Value}),
    Get = kv_fragment_peer:send_call(Peer, Bucket, {get, k}),
    {Ping, Frame} = ping(Peer),
    ok = kv_raw_peer:send_bytes(Peer, Frame),
    {_, {Ping, yes}, Parts} = kv_fragment_peer:recv_message(Peer, #{}),
    [ok = kv_fragment_peer:call(Other, Bucket, {put, k, binary:copy(<<N>>, 16 bsl 20)}) || N <- lists:seq(1, 3)],
    ok = kv_fragment_peer:call(Other, Bucket, clear),
    ok = kv_fragment_peer:call(Other, Bucket, {put, other, binary:copy(<<4>>, 16 bsl 20)}),
    Exit = kv_fragment_peer:frame({26, kv_fragment_peer:self_pid(Other), Bucket}, kill),
    ok = kv_raw_peer:send_bytes(Other, Exit),
    Next = kv_fragment_peer:spawn_bucket(Other),
    ok = kv_fragment_peer:call(Other, Next, {put, k, binary:copy(<<5>>, 16 bsl 20)}),
    {_, {Get, Got}, _} = kv_fragment_peer:recv_message(Peer, Parts),
    ?assert(Got =:= Value).

%% Many large answers exceed the mark: the requests behind them wait in the socket.
a_peer_that_reads_late_takes_little_memory(Config) ->
    Program = start(Config),
    Peer = peer(Program),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Value = binary:copy(<<"v">>, 1 bsl 20),
    ok = kv_fragment_peer:call(Peer, Bucket, {put, k, Value}),
    Tags = [kv_fragment_peer:send_call(Peer, Bucket, {get, k}) || _ <- lists:seq(1, 200)],
    Other = peer(Program, "other@127.0.0.1"),
    ?assertEqual(1, kv_fragment_peer:call(Other, Bucket, size)),
    ?assert(resident(Program) < 100 * 1024),
    [{_, {Tag, Value}, _} = kv_fragment_peer:recv_message(Peer, #{}) || Tag <- Tags],
    ok.

%% OTP counts whole frames, and so does this peer. No frame takes longer than the peer waits.
a_peer_that_reads_slowly_and_ticks_gets_it_all(Config) ->
    Program = start(Config, ["--ticktime", "1"]),
    Peer = #{socket := Socket} = peer(Program),
    ok = inet:setopts(Socket, [{recbuf, ?FRAGMENT}]),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Value = rand:bytes(16 bsl 20),
    ok = kv_fragment_peer:call(Peer, Bucket, {put, k, Value}),
    Tag = kv_fragment_peer:send_call(Peer, Bucket, {get, k}),
    {first, Sequence, Id, Control, Bytes} = kv_fragment_peer:recv_frame(Peer, 10000),
    {Parts, Left} = read_slowly(Peer, Sequence, Id, [Bytes], 30),
    {_, {Tag, Answer}, _} =
        kv_fragment_peer:recv_message(Peer, #{Sequence => {Control, Left, Parts}}),
    ?assert(Answer =:= Value).

%% Three tick times for thirty frames.
read_slowly(_Peer, _Sequence, Id, Parts, 0) ->
    {Parts, Id};
read_slowly(Peer, Sequence, Id, Parts, Frames) ->
    ok = kv_raw_peer:send_bytes(Peer, <<0:32>>),
    receive
    after 100 -> ok
    end,
    case kv_fragment_peer:recv_frame(Peer, 10000) of
        tick ->
            read_slowly(Peer, Sequence, Id, Parts, Frames);
        {other, Sequence, Next, Bytes} when Next =:= Id - 1 ->
            read_slowly(Peer, Sequence, Next, [Parts | Bytes], Frames - 1)
    end.

%% ---- ALTACT_SIG_SEND ------------------------------------------------------------------------

altact_peer(Config) ->
    #{tcp_port := Port} = start(Config),
    kv_fragment_peer:connect(Port, "raw@127.0.0.1", ?ALTACT_SIG).

a_reply_to_an_alias_is_in_the_newest_form_the_peer_has(Config) ->
    #{tcp_port := Port} = start(Config),
    lists:foreach(
        fun({More, Form}) ->
            Peer = kv_fragment_peer:connect(Port, "raw@127.0.0.1", More),
            Alias = binary_to_term(<<131, 90, 3:16, 119, 13, "raw@127.0.0.1", 77:32, 1:32, 2:32, 3:32>>),
            From = {kv_fragment_peer:self_pid(Peer), [alias | Alias]},
            Call = kv_fragment_peer:frame({6, element(1, From), '', net_kernel}, {'$gen_call', From, ?PING}),
            ok = kv_raw_peer:send_bytes(Peer, Call),
            {Control, {[alias | Alias], yes}, _} = kv_fragment_peer:recv_message(Peer, #{}),
            ?assertEqual(Form, form(Control, Alias)),
            ok = kv_raw_peer:close(Peer)
        end,
        [{0, alias_send}, {?ALTACT_SIG, altact_sig_send}]
    ).

form({33, _From, Alias}, Alias) -> alias_send;
form({37, 4, _From, Alias}, Alias) -> altact_sig_send.

messages_reach_pids_and_names_whatever_the_other_flags(Config) ->
    Peer = altact_peer(Config),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Self = kv_fragment_peer:self_pid(Peer),
    Cases = [
        {{37, 0, Self, Bucket}, size, 0},
        {{37, 1, Self, Bucket}, size, 0},
        {{37, 2, Self, Bucket, token}, size, 0},
        {{37, 3, Self, Bucket, token, more, [still, more]}, size, 0},
        {{37, 8, Self, net_kernel}, ?PING, yes},
        {{37, 16#e0, Self, Bucket}, size, 0},
        {{37, 1 bsl 31, Self, Bucket}, size, 0},
        {{37, 1 bsl 64, Self, Bucket}, size, 0},
        {{37, 1 bsl 4000, Self, Bucket}, size, 0}
    ],
    lists:foreach(
        fun({Control, Request, Reply}) ->
            Tag = make_ref(),
            Call = {'$gen_call', {Self, Tag}, Request},
            ok = kv_raw_peer:send_bytes(Peer, kv_fragment_peer:frame(Control, Call)),
            ?assertMatch({_, {Tag, Reply}, _}, kv_fragment_peer:recv_message(Peer, #{}))
        end,
        Cases
    ).

a_message_to_an_alias_is_dropped(Config) ->
    Peer = altact_peer(Config),
    Self = kv_fragment_peer:self_pid(Peer),
    ok = kv_raw_peer:send_bytes(Peer, kv_fragment_peer:frame({37, 4, Self, make_ref()}, hello)),
    ?assertEqual(yes, answer(Peer)).

%% Waits for the answer to a ping, so that the node has handled everything before it.
answer(Peer) ->
    {Tag, Frame} = ping(Peer),
    ok = kv_raw_peer:send_bytes(Peer, Frame),
    {_, {Tag, Answer}, _} = kv_fragment_peer:recv_message(Peer, #{}),
    Answer.

an_exit_signal_ends_a_pid_or_a_name(Config) ->
    Peer = altact_peer(Config),
    Self = kv_fragment_peer:self_pid(Peer),
    Ends = [{16, pid, reason}, {17, pid, kill}, {24, named, reason}, {25, named, kill}],
    lists:foreach(
        fun({Flags, To, Reason}) ->
            Ref = make_ref(),
            Spawn = {29, Ref, Self, Self, {kv_bucket, init, 1}, [monitor]},
            ok = kv_raw_peer:send_bytes(Peer, kv_fragment_peer:frame(Spawn, [[{name, bucket}]])),
            {{31, Ref, Self, 2, Bucket}, none, _} = kv_fragment_peer:recv_message(Peer, #{}),
            Receiver = case To of pid -> Bucket; named -> bucket end,
            Normal = kv_fragment_peer:frame({37, Flags, Self, Receiver}, normal),
            Exit = kv_fragment_peer:frame({37, Flags, Self, Receiver}, Reason),
            ok = kv_raw_peer:send_bytes(Peer, [Normal, Exit, Exit]),
            Expected = case Reason of kill -> killed; _ -> Reason end,
            ?assertMatch({{28, Bucket, Self, Ref}, Expected, _}, kv_fragment_peer:recv_message(Peer, #{})),
            ?assertEqual(yes, answer(Peer))
        end,
        Ends
    ).

an_exit_signal_to_an_alias_is_dropped(Config) ->
    Peer = altact_peer(Config),
    Self = kv_fragment_peer:self_pid(Peer),
    ok = kv_raw_peer:send_bytes(Peer, kv_fragment_peer:frame({37, 20, Self, make_ref()}, kill)),
    ?assertEqual(yes, answer(Peer)).

flags_that_contradict_each_other_close_the_connection(Config) ->
    Program = #{tcp_port := Port} = start(Config),
    Bad = [{37, 12, self, make_ref()}, {37, -1, self, name}, {37, 2, self, pid}, {37, 0, self, name}],
    lists:foreach(
        fun(Control) ->
            Peer = kv_fragment_peer:connect(Port, "raw@127.0.0.1", ?ALTACT_SIG),
            Real = setelement(3, Control, kv_fragment_peer:self_pid(Peer)),
            ok = kv_raw_peer:send_bytes(Peer, kv_fragment_peer:frame(Real, hello)),
            ?assertEqual({Control, true}, {Control, kv_raw_peer:is_closed(Peer, 10000)}),
            Line = kv_program:await_line(Program, "bad control message 37"),
            ?assertMatch("log warning " ++ _, Line)
        end,
        Bad
    ).

%% ---- a BEAM ---------------------------------------------------------------------------------

%% Runs a fun with the pid of a new bucket in a VM.
in_vm(Config, Fun) ->
    #{name := Name} = start(Config),
    Vm = kv_test:start_vm(Config, ["-setcookie", "secret"]),
    Result = kv_test:in(Vm, fun() -> Fun(spawn(list_to_atom(Name), kv_bucket, init, [[]])) end, 100000),
    ok = kv_test:stop_vm(Vm),
    Result.

values_come_back_byte_for_byte(Config) ->
    Sizes = [1, ?FRAGMENT - 1, ?FRAGMENT, ?FRAGMENT + 1, 10000000, 64 bsl 20],
    Times = in_vm(Config, fun(Bucket) -> [put_and_get(Bucket, Size) || Size <- Sizes] end),
    [ct:pal("~b bytes: put in ~b us, got in ~b us", [Size, Put, Get]) || {Size, Put, Get} <- Times],
    ok.

put_and_get(Bucket, Size) ->
    Value = rand:bytes(Size),
    {Put, ok} = timer:tc(fun() -> gen_server:call(Bucket, {put, Size, Value}, 60000) end),
    {Get, Answer} = timer:tc(fun() -> gen_server:call(Bucket, {get, Size}, 60000) end),
    ?assert(Answer =:= Value),
    {Size, Put, Get}.

callers_with_small_values_go_on_while_large_ones_are_under_way(Config) ->
    {Alone, Beside, Large} = in_vm(Config, fun callers/1),
    ct:pal("20 callers with small values, us~nalone:  ~p~nbeside: ~p~n64 MiB: ~p", [
        quantiles(Alone), quantiles(Beside), Large
    ]),
    %% If each caller waited for the large value under way, there would be one answer for each value.
    ?assert(length(Beside) > 2 * 20 * 5).

%% Twenty callers for half a second, and then until one of them gets 64 MiB five times.
callers(Bucket) ->
    ok = gen_server:call(Bucket, {put, large, binary:copy(<<0>>, 64 bsl 20)}, 60000),
    ok = gen_server:call(Bucket, {put, small, 1}),
    Alone = while(Bucket, fun() -> timer:sleep(500) end),
    Self = self(),
    Beside = while(Bucket, fun() ->
        Self ! {large, [element(1, timer:tc(fun() -> get_large(Bucket) end)) || _ <- lists:seq(1, 5)]}
    end),
    receive
        {large, Large} -> {Alone, Beside, Large}
    end.

get_large(Bucket) ->
    64 bsl 20 = byte_size(gen_server:call(Bucket, {get, large}, 60000)).

while(Bucket, Fun) ->
    Self = self(),
    Callers = [spawn_link(fun() -> Self ! {self(), small(Bucket, [])} end) || _ <- lists:seq(1, 20)],
    _ = Fun(),
    [Caller ! stop || Caller <- Callers],
    lists:append([receive {Caller, Times} -> Times end || Caller <- Callers]).

small(Bucket, Times) ->
    receive
        stop -> Times
    after 0 ->
        {Time, 1} = timer:tc(fun() -> gen_server:call(Bucket, {get, small}, 60000) end),
        small(Bucket, [Time | Times])
    end.

quantiles(Times) ->
    Sorted = lists:sort(Times),
    Count = length(Sorted),
    At = fun(Percent) -> lists:nth(max(1, Count * Percent div 100), Sorted) end,
    #{count => Count, p50 => At(50), p90 => At(90), p99 => At(99), max => At(100)}.

%% In both directions, a message arrives after a large message that was sent to the same process before it.
messages_between_two_processes_keep_their_order(Config) ->
    in_vm(Config, fun(Bucket) ->
        Large = binary:copy(<<"l">>, 5000000),
        lists:foreach(
            fun(N) ->
                gen_server:cast(Bucket, {put, k, Large}),
                gen_server:cast(Bucket, {put, k, N}),
                ?assertEqual(N, gen_server:call(Bucket, {get, k}))
            end,
            lists:seq(1, 20)
        ),
        ok = gen_server:call(Bucket, {put, large, Large}),
        Keys = [k, large, k, k, large, k],
        Requests = [{Key, gen_server:send_request(Bucket, {get, Key})} || Key <- Keys ++ Keys ++ Keys],
        ?assertEqual([Key || {Key, _} <- Requests], [arrival(Requests) || _ <- Requests])
    end),
    ok.

%% Returns the key that the next message answers.
arrival(Requests) ->
    receive
        {[alias | Ref], _} -> hd([Key || {Key, Request} <- Requests, Request =:= Ref])
    after 60000 -> error(no_answer)
    end.

a_reason_that_is_large_arrives(Config) ->
    in_vm(Config, fun(Bucket) ->
        Reason = rand:bytes(1000000),
        Monitor = monitor(process, Bucket),
        true = exit(Bucket, Reason),
        receive
            {'DOWN', Monitor, process, Bucket, Reason} -> ok
        after 30000 -> error(no_reason)
        end
    end),
    ok.

%% The value takes longer than the tick time and a quarter of it, after which OTP gives up a peer that has not sent a
%% whole frame. EPMD tells the BEAM the port of the relay instead of the node's.
a_beam_with_a_short_tick_time_stays_while_a_large_value_trickles(Config) ->
    Epmd = #{port := Hidden} = kv_program:start_epmd(),
    #{name := Name, tcp_port := Port} = start([{epmd_port, Hidden}]),
    Registered = relay(proplists:get_value(epmd_port, Config), Name, Port),
    Vm = kv_test:start_vm(Config, ["-setcookie", "secret", "-kernel", "net_ticktime", "4"]),
    Time = kv_test:in(
        Vm,
        fun() ->
            Bucket = spawn(list_to_atom(Name), kv_bucket, init, [[]]),
            Value = rand:bytes(3000000),
            ok = gen_server:call(Bucket, {put, k, Value}, 60000),
            {Time, Answer} = timer:tc(fun() -> gen_server:call(Bucket, {get, k}, 60000) end),
            ?assert(Answer =:= Value),
            Time
        end,
        100000
    ),
    ct:pal("3 MB trickled for ~b ms", [Time div 1000]),
    ?assert(Time > 6000000),
    ok = gen_tcp:close(Registered),
    ok = kv_test:stop_vm(Vm),
    kv_program:stop_epmd(Epmd).

%% Listens under the name of the node for one connection, and passes on 400 kB a second of the output of the node. The
%% name is registered until the returned socket is closed.
relay(EpmdPort, Name, Port) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {sndbuf, 16384}]),
    {ok, RelayPort} = inet:port(Listener),
    _ = spawn_link(fun() ->
        {ok, Beam} = gen_tcp:accept(Listener, 60000),
        {ok, Node} = gen_tcp:connect(
            {127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 16384}, {nodelay, true}]
        ),
        ok = inet:setopts(Beam, [{nodelay, true}]),
        Up = spawn_link(fun() -> pass(Beam, Node, 0, 0) end),
        ok = gen_tcp:controlling_process(Beam, Up),
        pass(Node, Beam, 4000, 10)
    end),
    [Alive, _Host] = string:split(Name, "@"),
    Request = <<120, RelayPort:16, 72, 0, 6:16, 6:16, (length(Alive)):16, (list_to_binary(Alive))/binary, 0:16>>,
    {ok, Epmd} = gen_tcp:connect({127, 0, 0, 1}, EpmdPort, [binary, {active, false}]),
    ok = gen_tcp:send(Epmd, [<<(byte_size(Request)):16>>, Request]),
    {ok, <<118, 0, _Creation:32>>} = gen_tcp:recv(Epmd, 6, 10000),
    Epmd.

%% At most Chunk bytes (0: any number) every Pause milliseconds.
pass(From, To, Chunk, Pause) ->
    case gen_tcp:recv(From, 0) of
        {ok, Bytes} ->
            ok = pass_chunks(To, Bytes, Chunk, Pause),
            pass(From, To, Chunk, Pause);
        {error, _} ->
            gen_tcp:close(To)
    end.

pass_chunks(To, Bytes, Chunk, Pause) when Chunk > 0, byte_size(Bytes) > Chunk ->
    <<Now:Chunk/binary, Later/binary>> = Bytes,
    ok = pass_chunks(To, Now, Chunk, Pause),
    pass_chunks(To, Later, Chunk, Pause);
pass_chunks(To, Bytes, _Chunk, Pause) ->
    timer:sleep(Pause),
    case gen_tcp:send(To, Bytes) of
        ok -> ok;
        {error, closed} -> ok
    end.
