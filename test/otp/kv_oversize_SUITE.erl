%% Messages over a limit cost their sender an error, and nobody anything else: from the VM that owns the program, from
%% another node, and from plain sockets. After each of them, the contents of a second bucket and of a registry are
%% still there, and so are all connections.
-module(kv_oversize_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MAX_FRAME, 262144).
-define(MAX_DEPTH, 1000).
-define(DEADLINE, 10000).
%% For terms of a million levels: a busy machine takes seconds for each step.
-define(PATIENCE, 120000).
%% Larger than the limit. On an established connection a BEAM sends it in fragments.
-define(HUGE, binary:copy(<<"x">>, 300000)).
%% For processes: larger than any limit that the VM has of itself.
-define(NAMES, [<<"asked">>, <<"kept">>]).

suite() -> [{timetrap, {seconds, 60}}].

group(real) -> [{timetrap, {minutes, 10}}];
group(_) -> [].

all() -> [{group, beam}, {group, real}, {group, wire}].

groups() ->
    [
        {beam, [], [
            writes_answer_an_error,
            reads_exit,
            requests_that_are_not_waited_for_say_so_when_they_are,
            a_stored_error_is_a_value,
            casts_and_plain_messages_are_dropped,
            a_registry_refuses_a_name,
            any_caller_of_a_process_is_answered,
            a_suspended_process_refuses_at_once,
            a_call_of_a_dead_process_exits_as_any_other,
            system_messages_are_answered,
            an_exit_signal_acts,
            a_link_breaks,
            the_end_of_an_owner_ends_its_process,
            rpc_and_erpc_raise,
            rex_answers_badrpc,
            a_spawn_request_fails,
            calls_sent_before_the_connection_was_up_are_answered,
            a_bucket_that_cannot_be_made_for_a_long_reason_keeps_nobody_waiting,
            a_vm_that_knows_the_limit_does_not_send
        ]},
        {real, [], [
            the_defaults_take_what_people_put,
            terms_of_a_million_levels_are_kept_and_shown
        ]},
        {wire, [], [
            a_frame_of_either_form_is_passed_over,
            later_messages_are_handled,
            a_fragment_may_be_too_large_itself,
            a_message_that_does_not_fit_is_refused_and_makes_room,
            a_control_message_too_large_is_answered_if_it_can_be,
            a_signal_with_its_reason_inside_acts,
            a_record_is_refused,
            an_integer_that_no_new_node_reads_is_refused,
            an_error_without_a_caller_is_logged_once,
            a_malformed_beginning_closes_the_connection
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(kv_test:start_case(Config)).

end_per_suite(Config) -> kv_test:end_suite(Config).

%% One node for all cases: damage of one case would show in the next.
init_per_group(beam, Config) ->
    [Owner, Other] = [kv_test:start_vm(Config) || _ <- [1, 2]],
    kv_test:in(Owner, fun() ->
        kv_test:start_kv([{max_frame, ?MAX_FRAME}, {max_depth, ?MAX_DEPTH}]),
        [ok = kv_registry:create(kv_registry, Name) || Name <- ?NAMES],
        ok = kv_bucket:put_many(native(<<"kept">>), content())
    end),
    [{owner, Owner}, {other, Other}, {before, identity(Owner)} | Config];
init_per_group(_Group, Config) ->
    Config.

end_per_group(beam, Config) ->
    [kv_test:stop_vm(?config(Vm, Config)) || Vm <- [owner, other]];
end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) -> Config.

end_per_testcase(_Case, Config) ->
    case ?config(owner, Config) of
        undefined -> ok;
        Owner -> check_kept(Owner, Config)
    end.

check_kept(Owner, Config) ->
    try
        ?assertEqual(?config(before, Config), identity(Owner)),
        ?assertEqual(maps:from_list(content()), kv_test:in(Owner, fun() -> kv_bucket:to_map(native(<<"kept">>)) end)),
        ?assertEqual(?NAMES, kv_test:in(Owner, fun() -> lists:sort(kv_registry:names(kv_registry)) end))
    catch
        error:Reason -> {fail, Reason}
    end.

content() -> [{N, {value, N}} || N <- lists:seq(1, 100)].

identity(Owner) ->
    kv_test:in(Owner, fun() -> {kv_node:os_pid(), kv_node:name(), whereis(kv_node), native(<<"kept">>)} end).

native(Name) ->
    {ok, Native} = kv_registry:lookup(kv_registry, Name),
    Native.

deep(Levels) -> lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, Levels)).

%% Runs a case in the VM that owns the program and in another VM, which must not see the node go. The case gets the
%% native process of a bucket, and in the owner a second time the proxy.
each(Config, Fun) ->
    Owner = ?config(owner, Config),
    Asked = kv_test:in(Owner, fun() -> native(<<"asked">>) end),
    Watched = fun() ->
        true = erlang:monitor_node(node(Asked), true),
        %% So that the node itself refuses.
        ok = kv_limits:forget(node(Asked)),
        _ = kv_bucket:clear(Asked),
        Fun(Asked),
        ?assertEqual(0, kv_bucket:size(Asked)),
        receive
            {nodedown, Node} -> error({nodedown, Node})
        after 0 -> true = erlang:monitor_node(node(Asked), false)
        end
    end,
    [kv_test:in(?config(Vm, Config), Watched) || Vm <- [owner, other]].

-define(assertTooLarge(Expression), ?assertMatch({error, {too_large, Bytes_}} when Bytes_ > 300000, Expression)).
-define(assertTooDeep(Expression), ?assertEqual({error, {too_deep, ?MAX_DEPTH}}, Expression)).

%%% Buckets and registries

writes_answer_an_error(Config) ->
    each(Config, fun(Bucket) ->
        [
            begin
                ?assertTooLarge(kv_bucket:put(Bucket, Key, Value)),
                ?assertTooLarge(kv_bucket:put(Bucket, Key, Value, [{ttl, 1000}])),
                ?assertTooLarge(kv_bucket:put_new(Bucket, Key, Value))
            end
         || {Key, Value} <- [{k, ?HUGE}, {?HUGE, v}, {k, lists:seq(1, 100000)}]
        ],
        ?assertTooLarge(kv_bucket:put_many(Bucket, [{N, binary:copy(<<"v">>, 4096)} || N <- lists:seq(1, 130)])),
        ?assertTooLarge(kv_bucket:delete_many(Bucket, [{N, a, b, c} || N <- lists:seq(1, 30000)])),
        ?assertTooDeep(kv_bucket:put(Bucket, deep(?MAX_DEPTH), v)),
        ?assertTooDeep(kv_bucket:put(Bucket, k, deep(?MAX_DEPTH))),
        ?assertTooDeep(kv_bucket:put_new(Bucket, k, deep(10 * ?MAX_DEPTH))),
        ?assertTooDeep(kv_bucket:put_many(Bucket, #{k => deep(?MAX_DEPTH)})),
        ?assertTooDeep(kv_bucket:delete_many(Bucket, [deep(?MAX_DEPTH)]))
    end).

reads_exit(Config) ->
    each(Config, fun(Bucket) ->
        [
            [
                ?assertExit({{Kind, _}, {gen_server, call, [Bucket, _, 5000]}}, Read(Key))
             || Read <- [
                    fun(K) -> kv_bucket:get(Bucket, K) end,
                    fun(K) -> kv_bucket:get(Bucket, k, K) end,
                    fun(K) -> kv_bucket:fetch(Bucket, K) end,
                    fun(K) -> kv_bucket:has_key(Bucket, K) end,
                    fun(K) -> kv_bucket:delete(Bucket, K) end,
                    fun(K) -> kv_bucket:get_many(Bucket, [K]) end,
                    fun(K) -> kv_bucket:take(Bucket, [K]) end
                ]
            ]
         || {Kind, Key} <- [{too_large, ?HUGE}, {too_large, {?HUGE}}, {too_deep, deep(?MAX_DEPTH)}]
        ]
    end).

requests_that_are_not_waited_for_say_so_when_they_are(Config) ->
    each(Config, fun(Bucket) ->
        Put = kv_bucket:async(Bucket, put, [k, {?HUGE}]),
        Get = kv_bucket:async(Bucket, get, [deep(?MAX_DEPTH)]),
        Fetch = kv_bucket:async(Bucket, fetch, [{?HUGE}]),
        Fine = kv_bucket:async(Bucket, get, [k, fine]),
        ?assertTooLarge(kv_bucket:await(Put)),
        ?assertExit({{too_deep, _}, {kv_bucket, await, [Get, 5000]}}, kv_bucket:await(Get)),
        ?assertExit({{too_large, _}, {kv_bucket, await, [Fetch, 5000]}}, kv_bucket:await(Fetch)),
        ?assertEqual(fine, kv_bucket:await(Fine))
    end).

a_stored_error_is_a_value(Config) ->
    each(Config, fun(Bucket) ->
        [
            begin
                ok = kv_bucket:put(Bucket, k, Value),
                ?assertEqual(Value, kv_bucket:get(Bucket, k)),
                ?assertEqual(Value, kv_bucket:await(kv_bucket:async(Bucket, get, [k]))),
                ?assertEqual({ok, Value}, kv_bucket:fetch(Bucket, k)),
                ?assertEqual(Value, kv_bucket:get(Bucket, none, Value)),
                ?assertEqual(Value, kv_bucket:delete(Bucket, k))
            end
         || Value <- [{error, {too_large, 5}}, {error, {too_deep, 5}}, {error, {unsupported_term, record}}]
        ]
    end).

casts_and_plain_messages_are_dropped(Config) ->
    each(Config, fun(Bucket) ->
        ok = kv_bucket:cast(Bucket, put, [k, ?HUGE]),
        ok = kv_bucket:cast(Bucket, put, [k, deep(?MAX_DEPTH)]),
        Bucket ! ?HUGE,
        Bucket ! deep(?MAX_DEPTH),
        Bucket ! {'$gen_call', ?HUGE, size},
        Bucket ! {self(), ?HUGE, a},
        ?assertEqual(0, kv_bucket:size(Bucket)),
        ?assertEqual([], kv_test:mailbox())
    end).

a_registry_refuses_a_name(Config) ->
    each(Config, fun(Bucket) ->
        Registry = {kv_registry, node(Bucket)},
        ?assertTooLarge(kv_registry:create(Registry, ?HUGE)),
        ?assertExit({{too_large, _}, {gen_server, call, [_, _, 5000]}}, kv_registry:lookup(Registry, ?HUGE)),
        ?assertTooDeep(kv_registry:create(Registry, deep(?MAX_DEPTH))),
        ?assertExit({{too_deep, _}, _}, kv_registry:lookup(Registry, deep(?MAX_DEPTH)))
    end),
    kv_test:in(?config(owner, Config), fun() ->
        ?assertTooLarge(kv_registry:create(kv_registry, ?HUGE)),
        ?assertExit({{too_large, _}, _}, kv_registry:lookup(kv_registry, ?HUGE)),
        {ok, Proxy} = kv_bucket:start_link([]),
        ?assertTooLarge(kv_bucket:put(Proxy, k, ?HUGE)),
        ?assertExit({{too_deep, _}, _}, kv_bucket:get(Proxy, deep(?MAX_DEPTH))),
        ok = kv_bucket:stop(Proxy)
    end).

%%% Callers that wait

any_caller_of_a_process_is_answered(Config) ->
    each(Config, fun(Bucket) ->
        ?assertTooLarge(gen_server:call(Bucket, ?HUGE)),
        ?assertTooLarge(gen_server:call({net_kernel, node(Bucket)}, ?HUGE)),
        ?assertMatch(
            {[{_, {error, {too_large, _}}}], []},
            gen_server:multi_call([node(Bucket)], kv_registry, {lookup, ?HUGE}, 5000)
        ),
        Bucket ! {'$gen_call', {self(), tag}, deep(?MAX_DEPTH)},
        receive
            {tag, Reply} -> ?assertTooDeep(Reply)
        after ?DEADLINE -> error(no_answer)
        end
    end).

a_suspended_process_refuses_at_once(Config) ->
    each(Config, fun(Bucket) ->
        ok = sys:suspend(Bucket),
        ?assertTooLarge(gen_server:call(Bucket, ?HUGE)),
        ?assertTooDeep(kv_bucket:put(Bucket, k, deep(?MAX_DEPTH))),
        ok = sys:resume(Bucket)
    end).

a_call_of_a_dead_process_exits_as_any_other(Config) ->
    each(Config, fun(Bucket) ->
        Dead = spawn_native(Bucket, []),
        true = exit(Dead, kill),
        ?assertExit({noproc, _}, kv_bucket:put(Dead, k, {?HUGE})),
        ?assertExit({noproc, _}, kv_bucket:get(Dead, deep(?MAX_DEPTH))),
        ?assertExit({noproc, _}, gen_server:call(Dead, {?HUGE})),
        ?assertExit({noproc, _}, gen_server:call({nobody, node(Bucket)}, {?HUGE}))
    end).

%% A process of the node that has no owner.
spawn_native(Bucket, Options) ->
    Native = spawn(node(Bucket), kv_bucket, init, [[{owner, self()} | Options]]),
    receive {ack, Native, {ok, Native}} -> Native end.

system_messages_are_answered(Config) ->
    each(Config, fun(Bucket) ->
        ?assertTooLarge(sys:change_code(Bucket, module, old, ?HUGE)),
        ?assertTooDeep(sys:change_code(Bucket, module, old, deep(?MAX_DEPTH))),
        ?assertError({_, {error, {too_large, _}}}, gen_server:stop(Bucket, ?HUGE, 5000))
    end).

%%% Signals

an_exit_signal_acts(Config) ->
    each(Config, fun(Bucket) ->
        [
            begin
                Native = spawn_native(Bucket, []),
                Monitor = monitor(process, Native),
                true = exit(Native, Reason),
                ?assertMatch({Kind, _}, kv_test:down(Monitor))
            end
         || {Kind, Reason} <- reasons()
        ]
    end).

reasons() -> [{too_large, ?HUGE}, {too_deep, deep(2 * ?MAX_DEPTH)}].

a_link_breaks(Config) ->
    each(Config, fun(Bucket) ->
        [
            begin
                Native = spawn_native(Bucket, []),
                Monitor = monitor(process, Native),
                _ = spawn(fun() -> link(Native), exit(Reason) end),
                ?assertMatch({Kind, _}, kv_test:down(Monitor))
            end
         || {Kind, Reason} <- reasons()
        ]
    end).

the_end_of_an_owner_ends_its_process(Config) ->
    each(Config, fun(Bucket) ->
        Self = self(),
        [
            begin
                _ = spawn(fun() ->
                    Self ! {owned, spawn_native(Bucket, [])},
                    receive
                        go -> exit(Reason)
                    end
                end),
                Native =
                    receive
                        {owned, Owned} -> Owned
                    after ?DEADLINE -> error(no_process)
                    end,
                Monitor = monitor(process, Native),
                ok = go_to_owner(Native),
                ?assertMatch({Kind, _}, kv_test:down(Monitor))
            end
         || {Kind, Reason} <- reasons()
        ]
    end).

%% The parent that a native process reports is its owner.
go_to_owner(Native) ->
    {status, _, _, [_, _, Parent | _]} = sys:get_status(Native),
    Parent ! go,
    ok.

%%% Calls by name

rpc_and_erpc_raise(Config) ->
    each(Config, fun(Bucket) ->
        Node = node(Bucket),
        [
            begin
                ?assertError({erpc, system_limit}, erpc:call(Node, erlang, length, [Huge])),
                ?assertMatch({badrpc, _}, rpc:call(Node, erlang, length, [Huge])),
                ?assertEqual([{error, {erpc, system_limit}}], erpc:multicall([Node], erlang, length, [Huge])),
                ok = erpc:cast(Node, erlang, length, [Huge])
            end
         || Huge <- [?HUGE, deep(?MAX_DEPTH)]
        ]
    end).

rex_answers_badrpc(Config) ->
    each(Config, fun(Bucket) ->
        Node = node(Bucket),
        ?assertMatch({badrpc, {too_large, _}}, rpc:block_call(Node, erlang, length, [?HUGE])),
        ?assertEqual({badrpc, {too_deep, ?MAX_DEPTH}}, rpc:block_call(Node, erlang, length, [deep(?MAX_DEPTH)])),
        {rex, Node} ! {self(), {call, erlang, length, [?HUGE], user}},
        receive
            {rex, Answer} -> ?assertMatch({badrpc, {too_large, _}}, Answer)
        after ?DEADLINE -> error(no_answer)
        end,
        ?assertEqual({[], [Node]}, rpc:sbcast([Node], kv_registry, ?HUGE))
    end).

a_spawn_request_fails(Config) ->
    each(Config, fun(Bucket) ->
        [
            begin
                Request = spawn_request(node(Bucket), kv_bucket, init, [[{label, Huge}]], [link, monitor]),
                receive
                    {spawn_reply, Request, error, Error} -> ?assertEqual(system_limit, Error)
                after ?DEADLINE -> error(no_reply)
                end
            end
         || Huge <- [?HUGE, deep(?MAX_DEPTH)]
        ]
    end).

%% Such messages are not sent in fragments.
calls_sent_before_the_connection_was_up_are_answered(Config) ->
    Bucket = kv_test:in(?config(owner, Config), fun() -> native(<<"asked">>) end),
    [
        begin
            Vm = kv_test:start_vm(Config),
            try
                kv_test:in(Vm, fun() ->
                    ?assertTooLarge(kv_bucket:put(Bucket, k, ?HUGE)),
                    ?assertEqual(0, kv_bucket:size(Bucket))
                end),
                kv_test:in(Vm, fun() ->
                    true = erlang:disconnect_node(node(Bucket)),
                    ?assertTooDeep(gen_server:call(Bucket, {get, deep(?MAX_DEPTH), none})),
                    true = erlang:disconnect_node(node(Bucket)),
                    ?assertError({erpc, system_limit}, erpc:call(node(Bucket), erlang, length, [?HUGE]))
                end)
            after
                kv_test:stop_vm(Vm)
            end
        end
    ].

a_bucket_that_cannot_be_made_for_a_long_reason_keeps_nobody_waiting(Config) ->
    kv_test:in(?config(owner, Config), fun() ->
        {ok, Registry} = kv_registry:start_link([{start_bucket, {?MODULE, no_bucket, []}}]),
        ?assertMatch({error, {too_large, _}}, kv_registry:create(Registry, <<"a">>)),
        ok = kv_registry:stop(Registry)
    end).

no_bucket(_Options) -> {error, {no, ?HUGE}}.

a_vm_that_knows_the_limit_does_not_send(Config) ->
    kv_test:in(?config(owner, Config), fun does_not_send/0).

does_not_send() ->
    {ok, Proxy} = kv_bucket:start_link([]),
    Bucket = kv_proxy:native(Proxy),
    Large = binary:copy(<<"x">>, 5000),
    Known = kv_limits:of_node(node(Bucket)),
    ok = kv_limits:set(node(Bucket), 4999),
    try
        [
            begin
                ?assertEqual({error, {too_large, 5000}}, kv_bucket:put(Server, k, Large)),
                ?assertEqual({error, {too_large, 5000}}, kv_bucket:put_new(Server, Large, v)),
                ?assertExit({{too_large, 5000}, {gen_server, call, [Server, _, _]}}, kv_bucket:fetch(Server, Large)),
                ?assertExit({{too_large, 5000}, _}, kv_bucket:delete(Server, Large))
            end
         || Server <- [Bucket, Proxy]
        ],
        ?assertEqual({error, {too_large, 5000}}, kv_registry:create({kv_registry, node(Bucket)}, Large))
    after
        ok = kv_limits:set(node(Bucket), Known)
    end,
    ?assertEqual(ok, kv_bucket:put(Bucket, k, Large)),
    ok = kv_bucket:stop(Proxy).

%%% With the limits that a user has who sets none

in_real(Config, Environment, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(Vm, fun() ->
            kv_test:start_kv([{ping_timeout, ?PATIENCE} | Environment]),
            [ok = kv_registry:create(kv_registry, Name) || Name <- ?NAMES],
            ok = kv_bucket:put_many(native(<<"kept">>), content()),
            Before = kv_node:os_pid(),
            Fun(native(<<"asked">>)),
            ?assertEqual(Before, kv_node:os_pid()),
            ?assertEqual(maps:from_list(content()), kv_bucket:to_map(native(<<"kept">>)))
        end, 4 * ?PATIENCE)
    after
        kv_test:stop_vm(Vm)
    end.

the_defaults_take_what_people_put(Config) ->
    in_real(Config, [], fun(Bucket) ->
        Huge = binary:copy(<<"x">>, 135000000),
        ?assertEqual({error, {too_large, 135000000}}, kv_bucket:put(Bucket, k, Huge, ?PATIENCE)),
        ok = kv_limits:forget(node(Bucket)),
        ?assertMatch({error, {too_large, Bytes}} when Bytes > 135000000, kv_bucket:put(Bucket, k, Huge, ?PATIENCE)),
        Entries = [{N, binary:copy(<<"v">>, 1 bsl 20)} || N <- lists:seq(1, 130)],
        ?assertMatch({error, {too_large, _}}, kv_bucket:put_many(Bucket, Entries, ?PATIENCE)),
        ?assertEqual(undefined, kv_bucket:get(Bucket, deep(70000), undefined, ?PATIENCE)),
        ?assertEqual(ok, kv_bucket:put(Bucket, k, deep(1000000), ?PATIENCE)),
        ?assertEqual({error, {too_deep, 1048576}}, kv_bucket:put(Bucket, k, deep(1100000), ?PATIENCE))
    end).

terms_of_a_million_levels_are_kept_and_shown(Config) ->
    in_real(Config, [{local_reads, true}], fun(Bucket) ->
        Deep = deep(1000000),
        ok = kv_bucket:put(Bucket, Deep, deep, ?PATIENCE),
        ok = kv_bucket:put(Bucket, #{Deep => Deep, a => {Deep}}, in_a_map, ?PATIENCE),
        ok = kv_bucket:put(Bucket, value, Deep, ?PATIENCE),
        ?assertEqual(deep, kv_bucket:get(Bucket, Deep, undefined, ?PATIENCE)),
        ?assertEqual(in_a_map, kv_bucket:get(Bucket, #{a => {Deep}, Deep => Deep}, undefined, ?PATIENCE)),
        ?assert(Deep =:= kv_bucket:get(Bucket, value, undefined, ?PATIENCE)),
        ?assertEqual([deep, undefined], kv_bucket:get_many(Bucket, [Deep, {Deep}], undefined, ?PATIENCE)),
        ?assertEqual(3, map_size(kv_bucket:to_map(Bucket, ?PATIENCE))),
        ?assertEqual(3, map_size(sys:get_state(Bucket, ?PATIENCE))),
        Node = node(Bucket),
        [_ | _] = Tables = rpc:call(Node, observer_backend, get_table_list, [ets, []]),
        _ = [
            rpc:call(Node, observer_backend, get_table, [self(), Table, ets])
         || [{name, _}, {id, Table} | _] <- Tables
        ],
        ?assertMatch([_ | _], rpc:call(Node, erlang, process_info, [Bucket, [messages, dictionary, current_function]])),
        ?assertEqual(deep, kv_bucket:delete(Bucket, Deep, ?PATIENCE))
    end).

%%% On the wire

with_program(Config, Options, Fun) ->
    Program = kv_program:start(kv_program:arguments("oversize", ?config(epmd_port, Config)) ++ Options),
    try
        Fun(Program)
    after
        kv_program:stop(Program)
    end.

-define(SMALL, ["--max-frame", "100000", "--max-pending", "1048576", "--max-depth", "100"]).

%% Both kinds of peers, each with its functions to send and to read a frame.
peers(#{tcp_port := Port}) ->
    {ok, Raw} = kv_raw_peer:handshake(Port, #{name => "plain@127.0.0.1"}),
    [{kv_raw_peer, Raw}, {kv_fragment_peer, kv_fragment_peer:connect(Port)}].

self_pid(#{name := Name, creation := Creation}) -> kv_raw_peer:pid(Name, 1, Creation).

receive_message(kv_raw_peer, Peer) ->
    kv_raw_peer:recv_control(Peer, ?DEADLINE);
receive_message(kv_fragment_peer, Peer) ->
    {Control, Payload, _} = kv_fragment_peer:recv_message(Peer, #{}),
    {Control, Payload}.

send(Peer, Bytes) -> ok = kv_raw_peer:send_bytes(Peer, Bytes).

a_frame_of_either_form_is_passed_over(Config) ->
    with_program(Config, ?SMALL, fun(Program) ->
        [
            begin
                Bucket = Kind:spawn_bucket(Peer),
                ?assertEqual(ok, Kind:call(Peer, Bucket, {put, k, v})),
                ?assertMatch({error, {too_large, _}}, Kind:call(Peer, Bucket, {put, k, ?HUGE})),
                ?assertEqual({error, {too_deep, 100}}, Kind:call(Peer, Bucket, {put, k, deep(100)})),
                ?assertEqual(v, Kind:call(Peer, Bucket, {get, k, none})),
                kv_raw_peer:close(Peer)
            end
         || {Kind, Peer} <- peers(Program)
        ]
    end).

later_messages_are_handled(Config) ->
    with_program(Config, ?SMALL, fun(Program) ->
        [
            begin
                Bucket = Kind:spawn_bucket(Peer),
                Self = self_pid(Peer),
                Frames = iolist_to_binary([
                    Kind:frame({22, Self, Bucket}, {'$gen_call', {Self, N}, Request})
                 || {N, Request} <- [{1, {put, k, ?HUGE}}, {2, {put, k, 2}}, {3, ?HUGE}, {4, {get, k, none}}]
                ]),
                ok = send_in_parts(Peer, Frames),
                {_, {1, {error, {too_large, Length}}}} = receive_message(Kind, Peer),
                ?assert(Length > 300000 andalso Length < 300200),
                {_, {2, ok}} = receive_message(Kind, Peer),
                {_, {3, {error, {too_large, _}}}} = receive_message(Kind, Peer),
                {_, {4, 2}} = receive_message(Kind, Peer),
                kv_raw_peer:close(Peer)
            end
         || {Kind, Peer} <- peers(Program)
        ]
    end).

send_in_parts(Peer, <<Part:7919/binary, Rest/binary>>) -> send(Peer, Part), send_in_parts(Peer, Rest);
send_in_parts(Peer, Rest) -> send(Peer, Rest).

a_fragment_may_be_too_large_itself(Config) ->
    with_program(Config, ?SMALL, fun(#{tcp_port := Port}) ->
        Peer = kv_fragment_peer:connect(Port),
        Bucket = kv_fragment_peer:spawn_bucket(Peer),
        [
            begin
                {Tag, Control, Payload} = kv_fragment_peer:request(Peer, Bucket, {put, k, ?HUGE}),
                send(Peer, Fragments(Control, binary_part(term_to_binary(Payload), 1, 300000))),
                ?assertMatch({_, {Tag, {error, {too_large, _}}}}, receive_message(kv_fragment_peer, Peer))
            end
         || Fragments <- [
                fun(Control, Bytes) -> kv_fragment_peer:first(1, 1, Control, Bytes) end,
                fun(Control, Bytes) ->
                    [kv_fragment_peer:first(1, 2, Control, <<>>), kv_fragment_peer:other(1, 1, Bytes)]
                end,
                fun(Control, <<Head:1000/binary, Rest/binary>>) ->
                    [
                        kv_fragment_peer:first(1, 3, Control, Head),
                        kv_fragment_peer:other(1, 2, Rest),
                        kv_fragment_peer:other(1, 1, <<>>)
                    ]
                end
            ]
        ],
        ?assertEqual(none, kv_fragment_peer:call(Peer, Bucket, {get, k, none})),
        kv_raw_peer:close(Peer)
    end).

a_message_that_does_not_fit_is_refused_and_makes_room(Config) ->
    with_program(Config, ["--max-pending", "1048576"], fun(#{tcp_port := Port}) ->
        Peer = kv_fragment_peer:connect(Port),
        Bucket = kv_fragment_peer:spawn_bucket(Peer),
        Requests = [kv_fragment_peer:request(Peer, Bucket, {put, N, binary:copy(<<N>>, 500000)}) || N <- [1, 2, 3]],
        Messages = [
            {Tag, kv_fragment_peer:fragments(N, Control, Payload, 65536)}
         || {N, {Tag, Control, Payload}} <- lists:zip([1, 2, 3], Requests)
        ],
        %% All but the last fragment of each message, then the last ones.
        [send(Peer, lists:droplast(Fragments)) || {_, Fragments} <- Messages],
        [send(Peer, lists:last(Fragments)) || {_, Fragments} <- Messages],
        [{Tag1, _}, {Tag2, _}, {Tag3, _}] = Messages,
        {_, {Tag1, ok}} = receive_message(kv_fragment_peer, Peer),
        {_, {Tag2, ok}} = receive_message(kv_fragment_peer, Peer),
        {_, {Tag3, {error, {too_much_pending, Bytes}}}} = receive_message(kv_fragment_peer, Peer),
        ?assert(Bytes > 500000),
        ?assertEqual(2, kv_fragment_peer:call(Peer, Bucket, size)),
        {Tag, Control, Payload} = kv_fragment_peer:request(Peer, Bucket, {put, 3, binary:copy(<<3>>, 900000)}),
        send(Peer, kv_fragment_peer:fragments(4, Control, Payload, 65536)),
        {_, {Tag, ok}} = receive_message(kv_fragment_peer, Peer),
        kv_raw_peer:close(Peer)
    end).

a_control_message_too_large_is_answered_if_it_can_be(Config) ->
    with_program(Config, ?SMALL, fun(Program) ->
        [
            begin
                Self = self_pid(Peer),
                [
                    begin
                        Ref = make_ref(),
                        send(Peer, Kind:frame({29, Ref, Self, Self, {kv_bucket, init, 1}, Options}, [[]])),
                        ?assertMatch({{31, Ref, Self, 0, system_limit}, none}, receive_message(Kind, Peer))
                    end
                 || Options <- [[deep(100)], lists:duplicate(100000, link)]
                ],
                kv_raw_peer:close(Peer)
            end
         || {Kind, Peer} <- peers(Program)
        ]
    end).

a_signal_with_its_reason_inside_acts(Config) ->
    with_program(Config, ?SMALL, fun(Program) ->
        [
            [
                begin
                    Bucket = Kind:spawn_bucket(Peer),
                    Self = self_pid(Peer),
                    Ref = make_ref(),
                    send(Peer, [Kind:frame({1, Self, Bucket}) || _ <- Links] ++ [Kind:frame({19, Self, Bucket, Ref})]),
                    send(Peer, Kind:frame(list_to_tuple([Opcode, Self, Bucket | Rest]))),
                    ?assertMatch({{28, Bucket, Self, Ref}, {Why, _}}, receive_message(Kind, Peer))
                end
             || {Opcode, Links} <- [{3, [link]}, {8, []}, {13, [link]}, {18, []}],
                {Why, Reason} <- [{too_large, ?HUGE}, {too_deep, deep(100)}],
                Rest <- [[token || Opcode > 10] ++ [Reason]]
            ]
         || {Kind, Peer} <- peers(Program)
        ]
    end).

%% {record, ...} as OTP 29 writes it: fields, flags, module, name, names, values.
-define(RECORD, <<67, 1:32, 0, 119, 1, "m", 119, 1, "r", 119, 1, "f", 97, 1>>).

a_record_is_refused(Config) ->
    with_program(Config, [], fun(#{tcp_port := Port}) ->
        Peer = kv_fragment_peer:connect(Port),
        Bucket = kv_fragment_peer:spawn_bucket(Peer),
        Reply = call_with(Peer, Bucket, ?RECORD),
        ?assertEqual({error, {unsupported_term, record}}, Reply),
        ?assertEqual(0, kv_fragment_peer:call(Peer, Bucket, size)),
        kv_raw_peer:close(Peer)
    end).

an_integer_that_no_new_node_reads_is_refused(Config) ->
    with_program(Config, [], fun(#{tcp_port := Port}) ->
        Peer = kv_fragment_peer:connect(Port),
        Bucket = kv_fragment_peer:spawn_bucket(Peer),
        Bytes = binary:copy(<<1>>, 524281),
        ?assertEqual(
            {error, {unsupported_term, integer}}, call_with(Peer, Bucket, <<111, 524281:32, 0, Bytes/binary>>)
        ),
        ?assertEqual(0, kv_fragment_peer:call(Peer, Bucket, size)),
        kv_raw_peer:close(Peer)
    end).

%% A call {put, key, Value} whose value has bytes that no term of this VM has.
call_with(Peer, Bucket, Value) ->
    {Tag, Control, Payload} = kv_fragment_peer:request(Peer, Bucket, {put, key, <<"$value">>}),
    <<131, Bytes/binary>> = term_to_binary(Payload),
    [Before, <<>>] = binary:split(Bytes, <<109, 6:32, "$value">>),
    <<131, ControlBytes/binary>> = term_to_binary(Control),
    Frame = <<131, 68, 0, ControlBytes/binary, Before/binary, Value/binary>>,
    send(Peer, <<(byte_size(Frame)):32, Frame/binary>>),
    {_, {Tag, Reply}} = receive_message(kv_fragment_peer, Peer),
    Reply.

an_error_without_a_caller_is_logged_once(Config) ->
    with_program(Config, ?SMALL, fun(#{port := Output} = Program) ->
        [
            begin
                Bucket = Kind:spawn_bucket(Peer),
                [send(Peer, Kind:frame({22, self_pid(Peer), Bucket}, ?HUGE)) || _ <- lists:seq(1, 20)],
                ?assertEqual(0, Kind:call(Peer, Bucket, size)),
                _ = kv_program:await_line(Program, "dropped 1 message that nobody could be told of"),
                kv_raw_peer:close(Peer)
            end
         || {Kind, Peer} <- peers(Program)
        ],
        receive
            {Output, {data, {eol, Line}}} -> error({another_line, Line})
        after 0 -> ok
        end
    end).

a_malformed_beginning_closes_the_connection(Config) ->
    with_program(Config, ?SMALL, fun(#{tcp_port := Port}) ->
        Rest = binary:copy(<<0>>, 100000),
        [
            begin
                Peer = kv_fragment_peer:connect(Port),
                send(Peer, <<(byte_size(Head) + 100000):32, Head/binary, Rest/binary>>),
                ?assert(kv_raw_peer:is_closed(Peer, ?DEADLINE), Head)
            end
         || Head <- [
                <<131, 67>>,
                <<131, 68, 1>>,
                <<131, 68, 0, 104, 1, 97, 99>>,
                <<131, 68, 0, 104, 3, 97, 22, 97, 1, 97, 1>>,
                <<131, 68, 0, 255>>,
                <<131, 69, 0:64, 1:64, 0, 104, 1>>,
                <<131, 70, 5:64, 1:64>>
            ]
        ]
    end).
