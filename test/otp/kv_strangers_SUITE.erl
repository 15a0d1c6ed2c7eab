%% Strangers do not keep others out, however many they are: slow handshakes beside a flood of connections, with hardly
%% any descriptors.
-module(kv_strangers_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile(export_all).
-compile(nowarn_export_all).

-define(HONEST, 40).
%% How far away the honest peers are, in milliseconds.
-define(AWAY, 200).
%% The most connections of each of the four peers that flood.
-define(CONNECTS, 20000).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        a_flood_of_silent_strangers_pushes_out_no_honest_handshake,
        strangers_without_a_name_push_out_nobody_of_their_address_who_has_one,
        a_name_that_is_there_already_is_read_before_its_stranger_goes,
        a_flood_of_strangers_with_names_pushes_out_no_honest_handshake,
        a_flood_is_a_line_in_the_log_and_no_flood_of_lines,
        few_descriptors_are_told_of_and_shared_between_peers_and_strangers,
        peers_that_are_up_never_go_for_strangers
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

arguments(Config) ->
    Name = "strangers" ++ integer_to_list(erlang:unique_integer([positive])) ++ "@127.0.0.1",
    ["--name", Name, "--epmd-port", integer_to_list(?config(epmd_port, Config))].

start(Config) ->
    kv_program:start(arguments(Config)).

%%% A flood

%% Connects again and again from these addresses, until it is stopped. More connections are open than the program
%% keeps. The number of connects is limited.
flood(Port, Addresses, First) ->
    Self = self(),
    Flooders = [
        spawn_monitor(fun() -> flooder(Port, Addresses, First, [], ?CONNECTS, Self) end)
     || _ <- [1, 2, 3, 4]
    ],
    [receive {Pid, half_full} -> ok end || {Pid, _} <- Flooders],
    Flooders.

stop_flood(Flooders) ->
    Counts = [
        begin
            Pid ! stop,
            {connects, Count} = kv_test:down(Monitor),
            Count
        end
     || {Pid, Monitor} <- Flooders
    ],
    lists:sum(Counts).

%% When all four are half full, the places of strangers are taken, and the honest peers may come.
flooder(Port, Addresses, First, Open, Left, Parent) when length(Open) =:= 400, Parent =/= none ->
    Parent ! {self(), half_full},
    flooder(Port, Addresses, First, Open, Left, none);
flooder(Port, [Address | More], First, Open, Left, Parent) when Left > 0 ->
    Options = [binary, {active, false}, {ip, Address}, {nodelay, true}],
    {Kept, Old} = lists:split(min(length(Open), 800), Open),
    [gen_tcp:close(Socket) || Socket <- Old],
    Sockets =
        case gen_tcp:connect({127, 0, 0, 1}, Port, Options, 5000) of
            {ok, Socket} ->
                ok = First(Socket),
                [Socket | Kept];
            {error, _} ->
                Kept
        end,
    receive
        stop -> exit({connects, ?CONNECTS - Left + 1})
    after 0 -> flooder(Port, More ++ [Address], First, Sockets, Left - 1, Parent)
    end;
flooder(_Port, _Addresses, _First, _Open, _Left, _Parent) ->
    receive
        stop -> exit({connects, ?CONNECTS})
    end.

silent(_Socket) -> ok.

named(Socket) -> kv_raw_peer:send_name(Socket, #{name => "stranger@127.0.0.1"}).

addresses() -> [{127, 0, 1, N} || N <- lists:seq(1, 20)].

%%% The honest

%% Connects all at once. Returns for each peer whether it was let in.
honest(Port, Count) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), slow_handshake(Port, N)} end) || N <- lists:seq(1, Count)],
    [receive {Pid, Result} -> Result end || Pid <- Pids].

%% As a node that is far away: each of its messages comes so much later.
slow_handshake(Port, N) ->
    timer:sleep(N * 10),
    Options = #{name => "honest" ++ integer_to_list(N) ++ "@127.0.0.1"},
    Socket = kv_raw_peer:connect(Port),
    ok = kv_raw_peer:send_name(Socket, Options),
    case kv_raw_peer:recv_status(Socket) of
        {ok, "ok"} ->
            timer:sleep(?AWAY),
            slow_reply(Socket, Options);
        Other ->
            {status, Other}
    end.

slow_reply(Socket, Options) ->
    case kv_raw_peer:recv_challenge(Socket) of
        {ok, {_Flags, Challenge, _Creation, _Name}} ->
            timer:sleep(?AWAY),
            ok = kv_raw_peer:send_reply(Socket, Challenge, "secret"),
            {kv_raw_peer:recv_ack(Socket), maps:get(name, Options)};
        Other ->
            {challenge, Other}
    end.

assert_all_in(Results) ->
    ?assertEqual([], [Result || Result <- Results, element(1, Result) =/= ok]).

beside_a_flood(Config, Addresses, First) ->
    #{tcp_port := Port} = Program = start(Config),
    Flooders = flood(Port, Addresses, First),
    {Time, Results} = timer:tc(fun() -> honest(Port, ?HONEST) end),
    Connects = stop_flood(Flooders),
    ct:pal("~b connects; ~b honest handshakes in ~b ms", [Connects, ?HONEST, Time div 1000]),
    assert_all_in(Results),
    Program.

a_flood_of_silent_strangers_pushes_out_no_honest_handshake(Config) ->
    beside_a_flood(Config, addresses(), fun silent/1).

strangers_without_a_name_push_out_nobody_of_their_address_who_has_one(Config) ->
    #{tcp_port := Port} = start(Config),
    Named = [name_first(Port, N) || N <- lists:seq(1, ?HONEST)],
    Silent = [kv_raw_peer:connect(Port) || _ <- lists:seq(1, 1500)],
    [?assertMatch({ok, _}, kv_raw_peer:finish(Socket, Options)) || {Socket, Options} <- Named],
    [gen_tcp:close(Socket) || Socket <- Silent],
    ok.

name_first(Port, N) ->
    Options = #{name => "honest" ++ integer_to_list(N) ++ "@127.0.0.1"},
    Socket = kv_raw_peer:connect(Port),
    ok = kv_raw_peer:send_name(Socket, Options),
    {ok, "ok"} = kv_raw_peer:recv_status(Socket),
    {Socket, Options}.

%% The program is stopped while they connect, so that it accepts all of them before it reads from one.
a_name_that_is_there_already_is_read_before_its_stranger_goes(Config) ->
    #{tcp_port := Port, os_pid := OsPid} = start(Config),
    First = [connect_from({127, 0, 1, 1}, Port) || _ <- lists:seq(1, 200)],
    {ok, _} = kv_raw_peer:handshake(Port, #{name => "accepted@127.0.0.1"}),
    ok = kv_test:signal("STOP", OsPid),
    Options = #{name => "honest@127.0.0.1"},
    {Named, Later} =
        try
            Socket = kv_raw_peer:connect(Port),
            ok = kv_raw_peer:send_name(Socket, Options),
            {Socket, [kv_raw_peer:connect(Port) || _ <- lists:seq(1, 900)]}
        after
            kv_test:signal("CONT", OsPid)
        end,
    ?assertEqual({ok, "ok"}, kv_raw_peer:recv_status(Named)),
    ?assertMatch({ok, _}, kv_raw_peer:finish(Named, Options)),
    [gen_tcp:close(Stranger) || Stranger <- First ++ Later],
    ok.

connect_from(Address, Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {ip, Address}], 5000),
    Socket.

a_flood_of_strangers_with_names_pushes_out_no_honest_handshake(Config) ->
    beside_a_flood(Config, addresses(), fun named/1).

a_flood_is_a_line_in_the_log_and_no_flood_of_lines(Config) ->
    #{port := Program} = beside_a_flood(Config, addresses(), fun silent/1),
    Lines = [Line || {Port, {data, {eol, Line}}} <- kv_test:mailbox(), Port =:= Program],
    Told = [Line || Line <- Lines, string:find(Line, "too many others are waiting") =/= nomatch],
    ?assert(length(Told) >= 1),
    ?assert(length(Told) =< 3).

%%% Descriptors

with_64_files(Config) ->
    Script = "ulimit -n 64; exec \"$0\" " ++ lists:join(" ", arguments(Config)),
    kv_program:shell(lists:flatten(Script), "secret\n").

few_descriptors_are_told_of_and_shared_between_peers_and_strangers(Config) ->
    #{tcp_port := Port} = Program = kv_program:await_ready(with_64_files(Config)),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertMatch({match, _}, re:run(Line, "at most 64 files.*at most 16 connections.*16 handshakes")),
    Strangers = [kv_raw_peer:connect(Port) || _ <- lists:seq(1, 100)],
    assert_all_in(honest(Port, 8)),
    [gen_tcp:close(Stranger) || Stranger <- Strangers],
    ok.

peers_that_are_up_never_go_for_strangers(Config) ->
    #{tcp_port := Port} = kv_program:await_ready(with_64_files(Config)),
    Name = fun(N) -> #{name => "p" ++ integer_to_list(N) ++ "@127.0.0.1"} end,
    Peers = [element(2, {ok, _} = kv_raw_peer:handshake(Port, Name(N))) || N <- lists:seq(1, 16)],
    ?assertMatch({error, {status, _}}, kv_raw_peer:handshake(Port, Name(17))),
    Strangers = [kv_raw_peer:connect(Port) || _ <- lists:seq(1, 100)],
    Named = [kv_raw_peer:connect(Port) || _ <- lists:seq(1, 100)],
    [ok = kv_raw_peer:send_name(Socket, Name(1)) || Socket <- Named],
    [?assertEqual(yes, kv_raw_peer:ping(Peer)) || Peer <- Peers],
    ok = kv_raw_peer:close(hd(Peers)),
    kv_test:wait(fun() -> element(1, kv_raw_peer:handshake(Port, Name(17))) =:= ok end),
    [gen_tcp:close(Socket) || Socket <- Strangers ++ Named],
    ok.
