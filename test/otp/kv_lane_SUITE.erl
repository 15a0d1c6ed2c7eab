%% Calls without a message: they answer as messages do, or nothing has happened and a message follows. kv_lane_once_SUITE
%% has the tests that each is done once.
-module(kv_lane_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_lane_test, [bucket/0, lane/1, ask/2, once/2, declines/3, is_on/0, entered/1, lose/1]).
-import(kv_test, [outcome/1]).

-define(DEADLINE, 30000).
-define(PROCESSES, 8).
%% Calls by message beside a busy lane, and increments by the lane that may come between two of them.
-define(CALLS, 300).
-define(FAIR, 20000).
%% Requests that the test draws for each operation.
-define(DRAWN, 150).

suite() -> [{timetrap, {seconds, 120}}].

all() -> [{group, off}, {group, calls}, {group, order}, {group, ends}].

groups() ->
    [
        {off, [], [
            there_is_no_lane_unless_it_is_asked_for,
            a_wrong_value_is_named,
            reads_without_a_call_need_no_lane
        ]},
        {calls, [], [
            info_tells_that_there_is_a_lane,
            every_operation_answers_by_the_lane_as_by_message,
            operations_that_are_left_to_messages_are_declined,
            terms_of_any_kind_come_through,
            what_does_not_fit_goes_by_message,
            a_bucket_is_called_by_its_proxy_and_by_its_name,
            a_process_that_is_suspended_or_traced_is_called_by_message,
            a_durable_bucket_is_changed_by_message,
            another_vm_of_the_host_has_a_lane_of_its_own,
            a_vm_that_sends_messages_is_answered_beside_one_that_uses_its_lane_all_the_time
        ]},
        {order, [], [
            a_call_comes_after_a_cast_and_an_async_request,
            a_call_that_timed_out_is_not_overtaken,
            a_call_knows_what_a_read_has_found_expired
        ]},
        {ends, [], [
            a_bucket_that_has_ended_is_not_called,
            a_node_that_was_killed_is_not_called,
            a_new_connection_has_a_new_lane,
            a_killed_watch_server_closes_the_lane,
            an_idle_node_takes_no_processor_time
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(Case, Config) -> kv_test:start_with_kv(Config, environment(Case, Config)).

environment(there_is_no_lane_unless_it_is_asked_for, _Config) -> [];
environment(a_wrong_value_is_named, _Config) -> [];
environment(reads_without_a_call_need_no_lane, _Config) -> [{local_reads, true}];
environment(a_durable_bucket_is_changed_by_message, Config) -> [{local, all}, {data_dir, ?config(priv_dir, Config)}];
environment(_Case, _Config) -> [{local, all}].

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun, 110000).

%%% off

there_is_no_lane_unless_it_is_asked_for(Config) ->
    in(Config, fun() ->
        ?assertMatch(#{lane := {off, not_wanted}, local_reads := {off, not_wanted}}, kv_node:info()),
        ?assertEqual(call, kv_nif:ask(make_ref(), self(), size)),
        ?assertEqual(none, persistent_term:get(kv_lane, none))
    end).

a_wrong_value_is_named(Config) ->
    in(Config, fun() ->
        ?assertMatch({error, {bad_option, local, _}}, kv_node:start_link(other, [{local, writes}]))
    end).

reads_without_a_call_need_no_lane(Config) ->
    in(Config, fun() ->
        ?assertMatch(#{lane := {off, not_wanted}, local_reads := on}, kv_node:info()),
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        ?assertEqual({ok, 1}, kv_local:fetch(Bucket, a))
    end).

%%% calls

info_tells_that_there_is_a_lane(Config) ->
    in(Config, fun() ->
        ?assertMatch(#{lane := on, local_reads := on}, kv_node:info())
    end).

%% Two buckets have had the same requests, one by the lane and the other one by message. Arguments are drawn, and some are wrong.
every_operation_answers_by_the_lane_as_by_message(Config) ->
    in(Config, fun() ->
        Seed = rand:export_seed_s(rand:seed(default)),
        [ByLane, ByMessage] = [bucket(), bucket()],
        [
            begin
                Request = request(Name, ByMessage),
                Expected = comparable(Name, gen_server:call(ByMessage, Request)),
                %% The other bucket has the same history in its statistics.
                _ = is_tagged(Name) andalso gen_server:call(ByLane, {fetch_tagged, element(2, Request)}),
                ?assertEqual(Expected, comparable(Name, ask(ByLane, Request)), {Request, Seed})
            end
         || _ <- lists:seq(1, ?DRAWN), Name <- by_lane()
        ],
        ?assertEqual(kv_bucket:to_map(ByMessage), kv_bucket:to_map(ByLane))
    end).

%% docs/local.md, "Which calls are still messages".
by_message() -> [take, scan, snapshot, snapshot_next, snapshot_close, destroy].

%% All others, but for those that stand in transactions only.
by_lane() -> kv_operations:names() -- [check, check_absent | by_message()].

operations_that_are_left_to_messages_are_declined(Config) ->
    in(Config, fun() ->
        [Bucket, Awake] = [bucket(), bucket()],
        Arguments = #{take => [[a]], scan => [start, []], snapshot => [self()], destroy => []},
        [
            ?assert(declines(Bucket, kv_request:message(Name, maps:get(Name, Arguments, [<<>>])), Awake), Name)
         || Name <- by_message()
        ]
    end).

request(Name, Bucket) ->
    {Name, Arguments, _, _, Last, _} = kv_operations:row(Name),
    case [drawn(Argument, Bucket) || Argument <- Arguments] ++ one_of(last(Last)) of
        [] -> Name;
        [Key, tag | More] -> list_to_tuple([Name, Key, one_of_tags(tag(Bucket, Key)) | More]);
        Drawn -> list_to_tuple([Name | Drawn])
    end.

is_tagged(Name) -> lists:member(Name, [put_tagged, delete_tagged]).

one_of_tags(Tag) -> one_of([absent, 17, none, Tag, Tag, Tag]).

tag(Bucket, Key) ->
    case gen_server:call(Bucket, {fetch_tagged, Key}) of
        {tagged, Tag, _Value} -> Tag;
        absent -> absent
    end.

drawn('Key', _) -> one_of([a, 1, 2, 1.0, <<"b">>, "c", {d, [1]}, #{e => 1}]);
drawn({'N', _}, _) -> one_of([1, 5, -3, 1 bsl 40, none]);
drawn('Ms', _) -> one_of([100000, 0, infinity, none]);
drawn('UnixMs', _) -> one_of([erlang:system_time(millisecond) + 100000, 0, none]);
drawn('Tag', _) -> tag;
drawn('Keys', Bucket) -> one_of([[], none, some('Key', Bucket), some('Key', Bucket), "abc"]);
drawn('Entries', Bucket) ->
    Pairs = lists:zip(some('Key', Bucket), some('Value', Bucket)),
    one_of([[], none, [none], Pairs, Pairs, maps:from_list(Pairs)]);
drawn('Operations', Bucket) ->
    one_of([[], [size]] ++ [[request(Name, Bucket) || Name <- several(untagged())] || _ <- lists:seq(1, 6)]);
drawn(_Value, _) -> one_of([1, 2, <<"b">>, "c", {d, [1]}, #{e => 1}, binary:copy(<<7>>, 300)]).

untagged() -> kv_operations:names(transaction).

some(Argument, Bucket) -> [drawn(Argument, Bucket) || _ <- [1, 2, 3, 4]].

several(List) -> [one_of(List) || _ <- lists:seq(1, rand:uniform(5))].

one_of(List) -> lists:nth(rand:uniform(length(List)), List).

%% The last arguments that a message may have.
last(none) -> [[]];
last(ttl) -> [[], [], [100000], [keep], [infinity], [none]];
last(list) -> [[], [[{default, 10}]], [[{min, 0}, {max, 3}]], [[{ttl, 100000}]], [[none]]];
last(default) -> [[none]];
last(absent) -> [[none]].

%% The parts of an answer that are the same in two buckets.
comparable(stats, Pairs) -> [Pair || {Name, _} = Pair <- Pairs, not lists:member(Name, [age, memory, generation])];
comparable(generation, Generation) when is_integer(Generation) -> some;
comparable(keys, Keys) -> lists:sort(Keys);
comparable(_Name, {ok, Answers}) when is_list(Answers) -> {ok, [comparable(any, Answer) || Answer <- Answers]};
comparable(_Name, {ok, Left}) when is_integer(Left), Left > 50000, Left =< 100000 -> {ok, left};
comparable(_Name, Answer) -> Answer.

terms_of_any_kind_come_through(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Sent = [
            0, 255, 256, -1, 1 bsl 31, -(1 bsl 31), (1 bsl 63) - 1, -(1 bsl 63), (1 bsl 64) - 1, 1.5, -0.0, atom, '', [], {}, #{},
            <<>>, <<"binary">>, "string", [1000], [a | b], {a, {b, [c]}}, #{a => 1, <<"b">> => #{c => []}},
            lists:seq(1, 300), list_to_tuple(lists:seq(1, 200)), binary:copy(<<7>>, 6000), [<<"é"/utf8>>, 'é']
        ],
        [
            begin
                ?assertEqual(ok, ask(Bucket, {put, {key, Term}, Term})),
                ?assertEqual({ok, Term}, gen_server:call(Bucket, {fetch, {key, Term}}))
            end
         || Term <- Sent
        ],
        Answered = [self(), make_ref(), fun erlang:node/0, 1 bsl 100, <<1:3>>, 'λ', {[#{self() => 'λ'}]} | Sent],
        [
            begin
                ok = gen_server:call(Bucket, {put, answer, Term}),
                ?assertEqual({ok, Term}, ask(Bucket, {fetch, answer}))
            end
         || Term <- Answered
        ]
    end).

what_does_not_fit_goes_by_message(Config) ->
    in(Config, fun() ->
        [Bucket, Awake] = [bucket(), bucket()],
        Large = binary:copy(<<1>>, 20000),
        ?assertEqual(call, once(Bucket, {put, a, Large})),
        ?assertEqual(call, once(Bucket, {put, a, self()})),
        ?assertEqual(call, once(Bucket, {put, a, fun() -> Large end})),
        ok = kv_bucket:put(Bucket, a, Large),
        [?assert(declines(Bucket, Request, Awake), Request) || Request <- [{fetch, a}, {pop, a}, {swap, a, 1}, {delete, a, none}]],
        ?assertEqual(Large, kv_bucket:get(Bucket, a)),
        ?assertEqual({ok, Large}, kv_bucket:pop(Bucket, a)),
        ?assertEqual(0, kv_bucket:size(Bucket))
    end).

a_bucket_is_called_by_its_proxy_and_by_its_name(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, shop}]),
        Native = kv_proxy:native(Proxy),
        [ok = kv_bucket:put(Server, N, N) || N <- lists:seq(1, 500), Server <- [shop, Proxy, Native]],
        ?assertEqual(500, kv_bucket:size(shop)),
        Sent = proxied(Proxy),
        ok = until_by_lane(fun() -> ok = kv_bucket:put(shop, a, 1), proxied(Proxy) end, Sent, Native)
    end).

%% A message to the proxy costs it reductions; a call by the lane does not.
proxied(Proxy) -> element(2, process_info(Proxy, reductions)).

until_by_lane(Do, Before, Native) ->
    ok = ask(Native, {put, awake, true}),
    case Do() of
        Before -> ok;
        After -> until_by_lane(Do, After, Native)
    end.

a_process_that_is_suspended_or_traced_is_called_by_message(Config) ->
    in(Config, fun() ->
        [Bucket, Awake] = [bucket(), bucket()],
        ok = sys:suspend(Bucket),
        ?assert(declines(Bucket, {put, a, 1}, Awake)),
        ?assertEqual({exit, timeout}, outcome(fun() -> kv_bucket:put(Bucket, a, 2, 10) end)),
        ok = sys:resume(Bucket),
        ?assertEqual(2, kv_bucket:get(Bucket, a)),
        ok = ask(Bucket, {put, a, 3}),
        ok = sys:log(Bucket, true),
        ?assert(declines(Bucket, {put, a, 4}, Awake)),
        {ok, Log} = sys:log(Bucket, get),
        ok = kv_bucket:put(Bucket, a, 5),
        {ok, Longer} = sys:log(Bucket, get),
        ?assert(length(Longer) > length(Log)),
        ok = sys:log(Bucket, false),
        ?assertEqual({ok, 5}, ask(Bucket, {fetch, a}))
    end).

a_durable_bucket_is_changed_by_message(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, kept}, {durable, commit}]),
        [Bucket, Awake] = [kv_proxy:native(Proxy), bucket()],
        ?assert(declines(Bucket, {put, a, 1}, Awake)),
        ok = kv_bucket:put(Bucket, a, 1),
        ?assertEqual({ok, 1}, ask(Bucket, {fetch, a})),
        ?assert(declines(Bucket, {pop, a}, Awake)),
        ok = kv_bucket:destroy(kept)
    end).

another_vm_of_the_host_has_a_lane_of_its_own(Config) ->
    Bucket = in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([]),
        true = unlink(Proxy),
        kv_proxy:native(Proxy)
    end),
    Other = kv_test:start_vm(Config),
    try
        kv_test:in(Other, fun() ->
            _ = application:load(kv),
            ok = application:set_env(kv, local, all),
            ok = kv_test:wait(fun() -> is_list(kv_bucket:keys(Bucket)) andalso kv_watcher:lane(node(Bucket)) =:= on end),
            ok = ask(Bucket, {put, a, other})
        end),
        ?assertEqual({ok, other}, in(Config, fun() -> ask(Bucket, {fetch, a}) end))
    after
        kv_test:stop_vm(Other)
    end,
    in(Config, fun() -> ?assertEqual({ok, other}, ask(Bucket, {fetch, a})) end).

%% Each answer tells how many increments came before. If the node served the lane first, none of these calls would be answered.
a_vm_that_sends_messages_is_answered_beside_one_that_uses_its_lane_all_the_time(Config) ->
    {Bucket, Callers} = in(Config, fun() -> kv_lane_test:busy(?PROCESSES) end),
    Other = kv_test:start_vm(Config),
    try kv_test:in(Other, fun() -> [kv_bucket:incr(Bucket, n, 1, ?DEADLINE) || _ <- lists:seq(1, ?CALLS)] end) of
        Counts ->
            Between = lists:sort(lists:zipwith(fun erlang:'-'/2, tl(Counts), lists:droplast(Counts))),
            ?assert(lists:nth(?CALLS div 2, Between) < ?FAIR, Between)
    after
        kv_test:stop_vm(Other),
        in(Config, fun() -> [true = exit(Caller, kill) || Caller <- Callers] end)
    end.

%%% order

a_call_comes_after_a_cast_and_an_async_request(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        0 = ask(Bucket, size),
        [
            begin
                _ = kv_nif:ask(lane(Bucket), Bucket, size),
                ok = kv_bucket:cast(Bucket, put, [a, {cast, N}]),
                ?assertEqual({ok, {cast, N}}, kv_bucket:swap(Bucket, a, N)),
                Request = kv_bucket:async(Bucket, put, [a, {async, N}]),
                ?assertEqual({ok, {async, N}}, kv_bucket:pop(Bucket, a)),
                ?assertEqual(ok, kv_bucket:await(Request))
            end
         || N <- lists:seq(1, 2000)
        ]
    end).

a_call_that_timed_out_is_not_overtaken(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, shop}]),
        yes = global:register_name(shop, Proxy),
        Native = kv_proxy:native(Proxy),
        [
            begin
                ok = kv_bucket:put(Server, a, 0),
                ?assert(kv_local:is_settled(Server)),
                ok = sys:suspend(Native),
                [
                    begin
                        ?assertEqual({exit, timeout}, outcome(fun() -> kv_bucket:put(Server, a, N, 5) end)),
                        ?assertNot(kv_local:is_settled(Server))
                    end
                 || N <- [1, 2]
                ],
                ok = sys:resume(Native),
                ?assertEqual({ok, 2}, kv_bucket:swap(Server, a, 3)),
                ?assert(kv_local:is_settled(Server)),
                ?assertEqual(3, kv_bucket:get(Server, a))
            end
         || Server <- [Native, Proxy, shop, {shop, node()}, {global, shop}, {shop, node(Native)}]
        ]
    end).

%% The bucket reads the clock of the node, and the reader that of the VM.
a_call_knows_what_a_read_has_found_expired(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        [
            begin
                ok = kv_bucket:put(Bucket, a, 1, [{ttl, 3}]),
                ok = until_expired(Bucket, a),
                ?assertEqual(true, kv_bucket:put_new(Bucket, a, 2))
            end
         || _ <- lists:seq(1, 500)
        ]
    end).

%% Keeps the node at its lane, so that the call that follows goes there.
until_expired(Bucket, Key) ->
    _ = once(Bucket, size),
    case kv_local:fetch(Bucket, Key) of
        error -> ok;
        _ -> until_expired(Bucket, Key)
    end.

%%% ends

a_bucket_that_has_ended_is_not_called(Config) ->
    in(Config, fun() ->
        Awake = bucket(),
        [
            begin
                {ok, Proxy} = kv_bucket:start_link([]),
                Bucket = kv_proxy:native(Proxy),
                ok = ask(Bucket, {put, a, 1}),
                ok = kv_bucket:stop(Proxy),
                0 = ask(Awake, size),
                ?assertEqual(call, once(Bucket, {put, a, 2})),
                [?assertEqual({exit, noproc}, outcome(fun() -> kv_bucket:put(Server, a, 2) end)) || Server <- [Bucket, Proxy]]
            end
         || _ <- lists:seq(1, 50)
        ]
    end).

a_node_that_was_killed_is_not_called(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = ask(Bucket, {put, a, 1}),
        Lane = lane(Bucket),
        Server = monitor(process, kv_node),
        true = process_flag(trap_exit, true) =:= false,
        ok = kv_test:signal("KILL", kv_node:os_pid()),
        _ = receive {'DOWN', Server, process, _, Reason} -> Reason end,
        ?assertEqual(call, kv_nif:ask(Lane, Bucket, {put, a, 2})),
        ?assertMatch({exit, _}, outcome(fun() -> kv_bucket:put(Bucket, a, 2) end)),
        ok = kv_test:wait(fun() -> is_on() end, ?DEADLINE),
        ?assertEqual({exit, noproc}, outcome(fun() -> kv_bucket:put(Bucket, a, 2) end))
    end).

a_new_connection_has_a_new_lane(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = ask(Bucket, {put, a, 1}),
        Old = lane(Bucket),
        ok = lose(node(Bucket)),
        ?assertEqual(call, kv_nif:ask(Old, Bucket, {put, a, 2})),
        ok = kv_test:wait(fun() -> is_on() andalso has_another_lane(Bucket, Old) end, ?DEADLINE),
        ?assertEqual({ok, 1}, ask(Bucket, {fetch, a})),
        ?assertEqual(call, kv_nif:ask(Old, Bucket, {put, a, 2}))
    end).

has_another_lane(Pid, Old) ->
    case persistent_term:get(kv_lane, #{}) of
        #{node(Pid) := Lane} -> Lane =/= Old;
        #{} -> false
    end.

a_killed_watch_server_closes_the_lane(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = ask(Bucket, {put, a, 1}),
        Lane = lane(Bucket),
        {watcher, Watcher} = kv_test:wait(fun() -> entered(node(Bucket)) end),
        Monitor = monitor(process, Watcher),
        %% Signals to two processes have no order, and is_process_alive/1 may answer before the monitor is there.
        ok = kv_test:wait(fun() -> lists:member(self(), element(2, process_info(Watcher, monitored_by))) end),
        true = exit(whereis(kv_watcher), kill),
        killed = kv_test:down(Monitor),
        %% The next calls open another one.
        ok = kv_test:wait(fun() -> kv_bucket:get(Bucket, a) =:= 1 andalso kv_watcher:lane(node(Bucket)) =:= on end),
        ?assertNotEqual(Lane, lane(Bucket)),
        ?assertEqual({ok, 1}, ask(Bucket, {fetch, a})),
        ?assertEqual(call, kv_nif:ask(Lane, Bucket, {put, a, 2}))
    end).

%% Ticks are 10 ms. A loop that looked on would take all of them.
an_idle_node_takes_no_processor_time(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = ask(Bucket, {put, a, 1}),
        timer:sleep(100),
        Before = ticks(kv_node:os_pid()),
        timer:sleep(2000),
        ?assert(ticks(kv_node:os_pid()) - Before < 50)
    end).

ticks(OsPid) ->
    {ok, Stat} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/stat"),
    [_, Behind] = string:split(Stat, ") ", trailing),
    Fields = string:lexemes(Behind, " "),
    lists:sum([binary_to_integer(lists:nth(N, Fields)) || N <- [12, 13]]).
