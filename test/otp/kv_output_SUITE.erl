%% Output that waits for a peer: a peer that does not read is disconnected, but not one that had no chance to read.
-module(kv_output_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile(export_all).
-compile(nowarn_export_all).

-define(MIB, 1048576).
%% An eighth of the default, so that less must be sent.
-define(LITTLE, ["--max-queue", integer_to_list(64 * ?MIB)]).

suite() ->
    [{timetrap, {seconds, 60}}].

all() ->
    [
        those_who_monitor_hear_a_reason_of_1_mib_that_is_over_the_limit_for_all_of_them,
        reasons_of_any_size_arrive_at_those_who_are_linked_and_those_who_monitor,
        a_reason_for_many_waits_in_one_copy,
        a_thousand_kv_calls_hear_a_large_reason,
        calls_that_waited_for_resume_are_answered_in_order,
        values_that_are_over_the_limit_wait_for_resume_and_arrive,
        answers_after_resume_wait_for_a_peer_that_does_not_read,
        a_peer_that_reads_is_not_given_up_for_what_one_turn_made,
        a_peer_that_does_not_read_is_given_up
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

start(Config, Arguments) ->
    kv_program:start(kv_program:arguments("output", ?config(epmd_port, Config)) ++ Arguments).

%% Runs the fun with a bucket in a VM. Checks that the program is the same at the end, and that no peer was
%% disconnected.
in_vm(Config, Arguments, Fun) ->
    Program = #{name := Name} = start(Config, Arguments),
    Node = list_to_atom(Name),
    Vm = kv_test:start_vm(Config, ["-setcookie", "secret"]),
    Result = kv_test:in(Vm, fun() ->
        Value = Fun(spawn(Node, kv_bucket, init, [[]])),
        ?assertEqual([Node], nodes(hidden)),
        Value
    end),
    ok = kv_test:stop_vm(Vm),
    {Program, Result}.

%% Returns the peak of memory in use, in kilobytes.
peak(#{os_pid := OsPid}) ->
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/status"),
    {match, [Kilobytes]} = re:run(Status, "VmHWM:\\s+(\\d+) kB", [{capture, [1], list}]),
    list_to_integer(Kilobytes).

%%% One reason for many

%% Each watcher reports the size of the reason that it gets. It also reports when it has begun.
watchers(Count, Bucket, How) ->
    Self = self(),
    Watchers = [spawn_link(fun() -> watch(Self, How, Bucket) end) || _ <- lists:seq(1, Count)],
    [receive {Watcher, begun} -> ok end || Watcher <- Watchers],
    Watchers.

watch(To, How, Bucket) ->
    _ = process_flag(trap_exit, true),
    _ = How(Bucket),
    %% A message to the bucket arrives after the monitor that was sent before it.
    0 = gen_server:call(Bucket, size, 30000),
    To ! {self(), begun},
    receive
        {'DOWN', _, process, Bucket, Reason} -> To ! {self(), Reason};
        {'EXIT', Bucket, Reason} -> To ! {self(), Reason}
    end.

monitoring(Bucket) -> monitor(process, Bucket).
linking(Bucket) -> link(Bucket).

those_who_monitor_hear_a_reason_of_1_mib_that_is_over_the_limit_for_all_of_them(Config) ->
    {Program, ok} = in_vm(Config, ?LITTLE, fun(Bucket) ->
        Reason = rand:bytes(?MIB),
        Watchers = watchers(200, Bucket, fun monitoring/1),
        true = exit(Bucket, Reason),
        [receive {Watcher, Got} -> ?assert(Got =:= Reason) end || Watcher <- Watchers],
        ok
    end),
    ?assert(peak(Program) < 100 * 1024).

reasons_of_any_size_arrive_at_those_who_are_linked_and_those_who_monitor(Config) ->
    {_, ok} = in_vm(Config, [], fun(First) ->
        lists:foreach(
            fun(Size) ->
                Bucket = spawn(node(First), kv_bucket, init, [[]]),
                Reason = rand:bytes(Size),
                Linked = watchers(10, Bucket, fun linking/1),
                Watchers = Linked ++ watchers(10, Bucket, fun monitoring/1),
                true = exit(Bucket, Reason),
                [receive {Watcher, Got} -> ?assert(Got =:= Reason) end || Watcher <- Watchers]
            end,
            [10, 1000, 1019, 1020, 2000, 65000, 65535, 65536, 65537, 70000, 200000]
        )
    end).

%% With the lowest limit. A peer over the limit would be disconnected within two seconds.
a_reason_for_many_waits_in_one_copy(Config) ->
    Program = #{tcp_port := Port} = start(Config, ["--max-queue", integer_to_list(?MIB), "--ticktime", "8"]),
    Peer = kv_fragment_peer:connect(Port, "raw@127.0.0.1"),
    Other = kv_fragment_peer:connect(Port, "other@127.0.0.1"),
    Bucket = kv_fragment_peer:spawn_bucket(Peer),
    Self = kv_fragment_peer:self_pid(Peer),
    Refs = [make_ref() || _ <- lists:seq(1, 200)],
    [ok = kv_raw_peer:send_bytes(Peer, kv_fragment_peer:frame({19, Self, Bucket, Ref})) || Ref <- Refs],
    0 = kv_fragment_peer:call(Peer, Bucket, size),
    Reason = rand:bytes(700000),
    Exit = {26, kv_fragment_peer:self_pid(Other), Bucket},
    [ok = kv_raw_peer:send_bytes(Other, Part) || Part <- kv_fragment_peer:fragments(1, Exit, Reason, 65000)],
    timer:sleep(3000),
    ok = downs(Peer, #{}, Reason, length(Refs)),
    ?assert(peak(Program) < 100 * 1024).

downs(_Peer, _Parts, _Reason, 0) ->
    ok;
downs(Peer, Parts, Reason, Left) ->
    {{28, _, _, _}, Got, Rest} = kv_fragment_peer:recv_message(Peer, Parts),
    ?assert(Got =:= Reason),
    downs(Peer, Rest, Reason, Left - 1).

%% Calls that wait for resume, from callers without a monitor. Their answers hold the reason.
a_thousand_kv_calls_hear_a_large_reason(Config) ->
    {Program, ok} = in_vm(Config, [], fun(Bucket) ->
        Reason = rand:bytes(?MIB),
        ok = sys:suspend(Bucket),
        Aliases = [alias() || _ <- lists:seq(1, 1000)],
        [Bucket ! {'$kv_call', Alias, size} || Alias <- Aliases],
        true = exit(Bucket, Reason),
        [receive {Alias, down, Got} -> ?assert(Got =:= Reason) end || Alias <- Aliases],
        ok
    end),
    ?assert(peak(Program) < 100 * 1024).

%%% Resume

calls_that_waited_for_resume_are_answered_in_order(Config) ->
    {_, ok} = in_vm(Config, [], fun(Bucket) ->
        ok = sys:suspend(Bucket),
        Numbers = lists:seq(1, 2000),
        ok = gen_server:cast(Bucket, {put, k, 0}),
        Asked = [
            {N, gen_server:send_request(Bucket, {get, k}), gen_server:cast(Bucket, {put, k, N})}
         || N <- Numbers
        ],
        ok = sys:resume(Bucket),
        Late = gen_server:send_request(Bucket, {get, k}),
        [?assertEqual({reply, N - 1}, gen_server:receive_response(Request, 30000)) || {N, Request, ok} <- Asked],
        ?assertEqual({reply, 2000}, gen_server:receive_response(Late, 30000)),
        ?assertMatch({status, _, _, [_, running | _]}, sys:get_status(Bucket)),
        ok
    end).

values_that_are_over_the_limit_wait_for_resume_and_arrive(Config) ->
    {Program, ok} = in_vm(Config, ?LITTLE, fun(Bucket) ->
        ok = gen_server:call(Bucket, {put, k, rand:bytes(?MIB)}),
        ok = sys:suspend(Bucket),
        Self = self(),
        Get = fun() -> Self ! {self(), byte_size(gen_server:call(Bucket, {get, k}, infinity))} end,
        Callers = [spawn_link(Get) || _ <- lists:seq(1, 200)],
        kv_test:wait(fun() ->
            lists:all(fun(Caller) -> process_info(Caller, status) =:= {status, waiting} end, Callers)
        end),
        ok = sys:resume(Bucket),
        [receive {Caller, Size} -> ?assertEqual(?MIB, Size) end || Caller <- Callers],
        ok
    end),
    ?assert(peak(Program) < 100 * 1024).

%% Another peer reads meanwhile, and is served.
answers_after_resume_wait_for_a_peer_that_does_not_read(Config) ->
    Program = #{tcp_port := Port} = start(Config, []),
    Peer = peer(Port, "raw@127.0.0.1"),
    Other = peer(Port, "other@127.0.0.1"),
    [Bucket, Second] = [kv_raw_peer:spawn_bucket(Peer) || _ <- [1, 2]],
    %% Of a size that is copied for each peer.
    Value = rand:bytes(60000),
    ok = kv_raw_peer:call(Peer, Bucket, {put, k, Value}),
    ok = system(Peer, Bucket, suspend),
    Tags = [kv_raw_peer:send_call(Peer, Bucket, {get, k}) || _ <- lists:seq(1, 5000)],
    kv_test:wait(fun() -> system(Other, Bucket, get_status) =/= none end),
    ok = system(Other, Bucket, resume),
    ?assertEqual(0, kv_raw_peer:call(Other, Second, size)),
    ?assert(peak(Program) < 100 * 1024),
    [?assert(Value =:= kv_raw_peer:recv_reply(Peer, Tag)) || Tag <- Tags],
    ok.

system(#{name := Name} = Peer, To, Request) ->
    Tag = make_ref(),
    Self = kv_raw_peer:pid(Name, 1, 77),
    ok = kv_raw_peer:send_frame(Peer, {22, Self, To}, {system, {Self, Tag}, Request}),
    kv_raw_peer:recv_reply(Peer, Tag).

peer(Port, Name) ->
    {ok, Peer} = kv_raw_peer:handshake(Port, #{name => Name}),
    Peer.

%%% The limit

%% Another process makes the node send the peer, in one turn, more than may wait for a peer.
flood(Config, Arguments) ->
    Program = #{tcp_port := Port} = start(Config, ["--max-queue", integer_to_list(?MIB) | Arguments]),
    Peer = peer(Port, "raw@127.0.0.1"),
    Other = peer(Port, "other@127.0.0.1"),
    Bucket = kv_raw_peer:spawn_bucket(Other),
    Value = rand:bytes(60000),
    ok = kv_raw_peer:call(Other, Bucket, {put, k, Value}),
    [Sender, Victim] = [kv_raw_peer:pid(Name, 1, 77) || Name <- ["other@127.0.0.1", "raw@127.0.0.1"]],
    Tag = make_ref(),
    Call = {'$gen_call', {Victim, Tag}, {get, k}},
    Frame = kv_raw_peer:frame({22, Sender, Bucket}, Call),
    ok = kv_raw_peer:send_bytes(Other, lists:duplicate(300, Frame)),
    {Program, Peer, Other, Tag, Value}.

a_peer_that_reads_is_not_given_up_for_what_one_turn_made(Config) ->
    {_Program, Peer, _Other, Tag, Value} = flood(Config, []),
    [?assert(Value =:= kv_raw_peer:recv_reply(Peer, Tag)) || _ <- lists:seq(1, 300)],
    ?assertEqual(yes, kv_raw_peer:ping(Peer)).

a_peer_that_does_not_read_is_given_up(Config) ->
    {Program, _Peer, Other, _Tag, _Value} = flood(Config, ["--ticktime", "4"]),
    Line = kv_program:await_line(Program, "log warning"),
    ?assertMatch({match, _}, re:run(Line, "raw@127\\.0\\.0\\.1.*does not read.*--max-queue")),
    ?assertEqual(yes, kv_raw_peer:ping(Other)).
