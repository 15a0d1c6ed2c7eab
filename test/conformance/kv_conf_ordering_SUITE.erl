%% Order: messages from one process to another arrive in the order of sending, even if TCP cuts them into segments of
%% a few bytes, and among many peers.
-module(kv_conf_ordering_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, call/2, next/0, next/1, serve/1]).
-import(kv_conformance, [same/2]).

-define(PEERS, 200).

suite() -> [{timetrap, {seconds, 120}}].

%% The second way to call is tested with whole frames.
all() -> [{group, whole}, {group, kv_call}, {group, chopped}, {group, peers}].

groups() ->
    [
        {whole, [], cases()},
        {kv_call, [], cases()},
        {chopped, [], cases()},
        {peers, [], [two_hundred_peers_come_work_and_die, peers_that_die_in_the_middle_of_a_frame_leave_nothing]}
    ].

cases() ->
    [
        messages_of_one_sender_keep_their_order,
        messages_of_many_senders_each_keep_their_order,
        answers_of_one_process_keep_their_order,
        large_and_small_messages_keep_their_order,
        large_and_small_answers_keep_their_order,
        a_monitor_comes_before_the_exit_that_follows_it,
        a_link_comes_before_the_exit_that_follows_it,
        an_unlink_comes_before_the_exit_that_follows_it,
        a_message_comes_before_the_exit_that_follows_it,
        answers_come_before_the_exit_and_the_down,
        a_spawn_reply_comes_before_all_else,
        requests_monitors_links_and_ends_in_a_random_order,
        an_event_comes_before_the_answer_that_follows_it,
        a_name_is_free_once_its_end_is_known
    ].

init_per_suite(Config0) ->
    Config = kv_conformance:start(Config0),
    Chopped = kv_conformance:start_peer(Config, ["-epmd_module", "kv_relay"]),
    Relays = [{Node, kv_relay:start(kv_conformance:tcp_port(Config, Node))} || {_, Node} <- kv_conformance:targets(Config)],
    [ok = kv_test:in(Chopped, fun() -> kv_relay:divert(Node, Port) end) || {Node, {_, Port, _}} <- Relays],
    [{chopped, Chopped}, {relays, Relays} | Config].

end_per_suite(Config) ->
    ok = kv_test:stop_vm(?config(chopped, Config)),
    [kv_relay:stop(Relay) || {_, Relay} <- ?config(relays, Config)],
    kv_conformance:stop(Config).

%% Code that runs in the caller's VM runs in the VM behind the relays.
init_per_group(chopped, Config) -> lists:keyreplace(caller, 1, Config, {caller, ?config(chopped, Config)});
init_per_group(Group, Config) -> kv_conformance:enter(Group, Config).

%% The relays have passed everything on in small pieces.
end_per_group(chopped, Config) ->
    Segments = [kv_relay:segments(Relay) || {_, Relay} <- ?config(relays, Config)],
    ct:pal("~p segments", [Segments]),
    true = lists:min(Segments) > 10000,
    ok;
end_per_group(Group, Config) ->
    kv_conformance:leave(Group, Config).

end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%%% whole and chopped

messages_of_one_sender_keep_their_order(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [
            begin
                ok = gen_server:cast(Bucket, {put, last, N}),
                N rem 50 =:= 0 andalso (N = call(Bucket, {get, last}))
            end
         || N <- lists:seq(1, 2000)
        ],
        call(Bucket, to_map)
    end).

messages_of_many_senders_each_keep_their_order(Config) ->
    ?assertEqual(
        [{Sender, 50} || Sender <- lists:seq(1, 30)],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Self = self(),
            [
                spawn(fun() ->
                    [ok = gen_server:cast(Bucket, {put, Sender, N}) || N <- lists:seq(1, 50)],
                    Self ! {Sender, call(Bucket, {get, Sender})}
                end)
             || Sender <- lists:seq(1, 30)
            ],
            lists:sort(next(30))
        end)
    ).

answers_of_one_process_keep_their_order(Config) ->
    ?assertEqual(
        lists:seq(1, 1000),
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [Bucket ! {'$gen_call', {self(), N}, {put_new, N, N}} || N <- lists:seq(1, 1000)],
            [N || {N, true} <- next(1000)]
        end)
    ).

large_and_small_messages_keep_their_order(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Large = binary:copy(<<"large">>, 20000),
        [
            begin
                [gen_server:cast(Bucket, {put, k, Value}) || Value <- [{N, Large}, N]],
                N = call(Bucket, {get, k})
            end
         || N <- lists:seq(1, 5)
        ]
    end).

large_and_small_answers_keep_their_order(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Large = binary:copy(<<"large">>, 20000),
        [ok = call(Bucket, {put, K, V}) || {K, V} <- [{large, Large}, {small, 1}]],
        [Bucket ! {'$gen_call', {self(), {N, K}}, {get, K}} || N <- lists:seq(1, 5), K <- [large, small, small]],
        [Tag || {Tag, _} <- next(15)]
    end).

a_monitor_comes_before_the_exit_that_follows_it(Config) ->
    ?assertEqual(
        [{crash, N} || N <- lists:seq(1, 100)],
        same(Config, fun(Node) ->
            [
                begin
                    Bucket = bucket(Node),
                    Monitor = monitor(process, Bucket),
                    exit(Bucket, {crash, N}),
                    kv_test:down(Monitor)
                end
             || N <- lists:seq(1, 100)
            ]
        end)
    ).

a_link_comes_before_the_exit_that_follows_it(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        [
            begin
                Bucket = bucket(Node),
                link(Bucket),
                exit(Bucket, {crash, N}),
                next()
            end
         || N <- lists:seq(1, 50)
        ]
    end).

an_unlink_comes_before_the_exit_that_follows_it(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            process_flag(trap_exit, true),
            [
                begin
                    Bucket = spawn_link(Node, kv_bucket, init, [[]]),
                    unlink(Bucket),
                    exit(Bucket, {crash, N}),
                    _ = kv_case:end_of(Bucket)
                end
             || N <- lists:seq(1, 50)
            ],
            kv_test:mailbox()
        end)
    ).

a_message_comes_before_the_exit_that_follows_it(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Bucket = bucket(Node),
                Bucket ! {'$gen_call', {self(), N}, {get, a, N}},
                Bucket ! {system, {self(), stopped}, {terminate, normal}},
                Bucket ! {'$gen_call', {self(), never}, {get, a, N}},
                next(2)
            end
         || N <- lists:seq(1, 50)
        ]
    end).

answers_come_before_the_exit_and_the_down(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        [
            begin
                {Registry, _} = spawn_opt(Node, kv_registry, init, [[{owner, self()}]], [link, monitor]),
                {ack, Registry, {ok, Registry}} = next(),
                [Registry ! {'$gen_call', {self(), Tag}, Request} || {Tag, Request} <- [{1, names}, {2, stop}, {3, names}]],
                next(4)
            end
         || _ <- lists:seq(1, 20)
        ]
    end).

a_spawn_reply_comes_before_all_else(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        [
            begin
                _ = erlang:spawn_request(Node, kv_bucket, init, [[{owner, self()}, Option]], [link, monitor]),
                next(case Option of {label, _} -> 2; _ -> 4 end)
            end
         || _ <- lists:seq(1, 10), Option <- [{label, <<"good">>}, {wrong, option}]
        ]
    end).

%% The same program for both nodes, drawn from a seed.
requests_monitors_links_and_ends_in_a_random_order(Config) ->
    [
        same(Config, fun(Node) ->
            process_flag(trap_exit, true),
            _ = rand:seed(exsss, Seed),
            Buckets = [bucket(Node) || _ <- [1, 2, 3]],
            Sent = [act(lists:nth(rand:uniform(3), Buckets), rand:uniform(10), N) || N <- lists:seq(1, 300)],
            [begin Bucket ! {system, {self(), last}, {terminate, normal}}, _ = kv_case:end_of(Bucket) end || Bucket <- Buckets],
            [demonitor(Monitor, [flush]) || Monitor <- Sent, is_reference(Monitor)],
            [unlink(Bucket) || Bucket <- Buckets],
            Received = kv_test:mailbox(),
            %% Answers of one bucket to one process are in order. Answers of several buckets are not.
            {Buckets, length(Sent), [[Message || Message <- Received, concerns(Message, Bucket)] || Bucket <- Buckets]}
        end)
     || Seed <- [{1, 2, N} || N <- lists:seq(1, 5)]
    ].

act(Bucket, Kind, N) when Kind =< 4 -> Bucket ! {'$gen_call', {self(), {Bucket, N}}, {put, N rem 5, N}};
act(Bucket, Kind, N) when Kind =< 6 -> Bucket ! {'$gen_call', {self(), {Bucket, N}}, {get, N rem 5}};
act(Bucket, 7, N) -> gen_server:cast(Bucket, {delete, N rem 5});
act(Bucket, 8, N) -> monitor(process, Bucket, [{tag, {Bucket, N}}]);
act(Bucket, 9, N) -> N rem 2 =:= 0 andalso link(Bucket);
%% A message, too: an exit signal may overtake messages that wait to be handled.
act(Bucket, 10, N) -> N > 250 andalso (Bucket ! {system, {self(), {Bucket, N}}, {terminate, {crash, N}}}).

%% Messages from several monitors of one process have no order among each other.
concerns({{Bucket, _}, _Answer}, Bucket) -> true;
concerns(_, _) -> false.

an_event_comes_before_the_answer_that_follows_it(Config) ->
    same(Config, fun(Node) ->
        Registry = kv_case:registry(Node, [{event_manager, self()}]),
        [Registry ! {'$gen_call', {self(), N}, {create, <<N>>}} || N <- lists:seq(1, 50)],
        next(100)
    end).

a_name_is_free_once_its_end_is_known(Config) ->
    ?assertEqual(
        lists:duplicate(50, ok),
        same(Config, fun(Node) ->
            [
                begin
                    {Bucket, Monitor} = spawn_monitor(Node, kv_bucket, init, [[{owner, self()}, {name, again}]]),
                    {ack, Bucket, {Outcome, _}} = next(),
                    exit(Bucket, kill),
                    killed = kv_test:down(Monitor),
                    Outcome
                end
             || _ <- lists:seq(1, 50)
            ]
        end)
    ).

%%% peers: of the native node

two_hundred_peers_come_work_and_die(Config) ->
    Before = processes(Config),
    Results = at_once(Config, fun(Peer, Bucket, N) ->
        [ok = kv_raw_peer:call(Peer, Bucket, {put, Key, {N, Key}}) || Key <- lists:seq(1, 20)],
        [{N, Key} = kv_raw_peer:call(Peer, Bucket, {get, Key}) || Key <- lists:seq(1, 20)],
        20 = kv_raw_peer:call(Peer, Bucket, size),
        kv_raw_peer:close(Peer)
    end),
    ?assertEqual(lists:duplicate(?PEERS, ok), Results),
    back_to(Config, Before).

peers_that_die_in_the_middle_of_a_frame_leave_nothing(Config) ->
    Before = processes(Config),
    Results = at_once(Config, fun(Peer, Bucket, N) ->
        Frame = kv_raw_peer:frame({22, kv_raw_peer:pid("x@y", 1, 77), Bucket}, {'$gen_call', {Bucket, N}, {put, k, <<0:80000>>}}),
        _ = kv_raw_peer:send_call(Peer, Bucket, {put, k, v}),
        _ = kv_raw_peer:send_call(Peer, Bucket, to_map),
        ok = kv_raw_peer:send_bytes(Peer, binary:part(Frame, 0, N * 7)),
        %% Half of them by a reset.
        ok = kv_raw_peer:setopts(Peer, [{linger, {N rem 2 =:= 0, 0}}]),
        kv_raw_peer:close(Peer)
    end),
    ?assertEqual(lists:duplicate(?PEERS, ok), Results),
    back_to(Config, Before).

%% Runs Work in as many processes as there are peers, once all are connected and each has a linked bucket.
at_once(Config, Work) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), peer(Config, N, Self, Work)} end) || N <- lists:seq(1, ?PEERS)],
    [receive {Pid, connected} -> ok after 30000 -> error(not_connected) end || Pid <- Pids],
    [Pid ! work || Pid <- Pids],
    [receive {Pid, Result} -> Result after 30000 -> error(no_result) end || Pid <- Pids].

peer(Config, N, Parent, Work) ->
    Name = "peer" ++ integer_to_list(N) ++ "@127.0.0.1",
    {ok, Peer} = kv_conformance:raw_peer(Config, kv_conformance:native(Config), #{name => Name}),
    Self = kv_raw_peer:pid(Name, 1, 77),
    ok = kv_raw_peer:send_frame(Peer, {29, make_ref(), Self, Self, {kv_bucket, init, 1}, [link, monitor]}, [[]]),
    {{31, _, Self, 3, Bucket}, none} = kv_raw_peer:recv_control(Peer, 30000),
    Parent ! {self(), connected},
    receive
        work -> Work(Peer, Bucket, N)
    end.

processes(Config) ->
    Node = kv_conformance:native(Config),
    kv_test:in(kv_conformance:caller(Config), fun() -> length(erpc:call(Node, erlang, processes, [])) end).

back_to(Config, Before) ->
    ok = kv_test:wait(fun() -> processes(Config) =:= Before end),
    Node = kv_conformance:native(Config),
    ok = kv_test:wait(fun() ->
        Nodes = kv_test:in(kv_conformance:caller(Config), fun() -> erpc:call(Node, erlang, nodes, []) end),
        [] =:= [N || N <- Nodes, lists:prefix("peer", atom_to_list(N))]
    end).
