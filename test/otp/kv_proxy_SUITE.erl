%% @doc Proxies: messages to a proxy reach the native process, and if one of the two ends, the other ends with the
%% same reason.
-module(kv_proxy_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [{group, messages}, {group, ends}, {group, starts}].

groups() ->
    [
        {messages, [], [
            a_call_is_answered_by_the_native_process_itself,
            a_call_from_another_vm_is_answered,
            every_way_to_name_a_bucket_works,
            every_from_that_gen_server_answers_is_answered,
            a_malformed_from_is_ignored,
            casts_and_other_messages_are_passed_on,
            sys_changes_code_and_reads_state_everywhere,
            sys_looks_at_the_process_that_it_is_given,
            every_function_of_a_bucket_has_its_answer,
            a_bucket_behaves_as_a_map,
            the_status_shows_the_native_process,
            a_native_process_is_its_own
        ]},
        {ends, [], [
            stopping_either_ends_both_with_the_reason,
            after_stop_nobody_reaches_the_bucket,
            an_exit_signal_to_either_ends_both,
            an_exit_signal_normal_is_ignored,
            a_message_that_can_be_no_exit_signal_is_passed_on,
            a_message_that_looks_like_an_exit_signal_ends_both,
            a_bucket_ends_with_the_process_that_started_it,
            a_waiting_call_ends_with_the_reason_of_the_bucket,
            a_suspended_bucket_can_be_stopped,
            a_bucket_that_is_killed_is_not_worth_a_crash_report
        ]},
        {starts, [], [
            wrong_options_are_named,
            a_taken_name_is_refused,
            a_name_taken_on_the_node_is_refused,
            a_name_is_free_as_soon_as_its_owner_was_killed,
            without_a_node_the_reason_says_so,
            a_wrong_name_of_a_node_is_told_beside_the_right_one,
            child_specifications_say_temporary_and_permanent,
            every_supervisor_counts_its_children
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(without_a_node_the_reason_says_so, Config) ->
    kv_test:start_case(Config);
init_per_testcase(_Case, Config) ->
    kv_test:start_with_kv(Config).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%%% Messages

a_call_is_answered_by_the_native_process_itself(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        1 = erlang:trace(Bucket, true, [send]),
        ok = gen_server:call(Bucket, {put, key, value}),
        value = kv_bucket:get(Bucket, key),
        1 = erlang:trace(Bucket, false, [send]),
        Self = self(),
        Native = kv_proxy:native(Bucket),
        Sent = [{To, Message} || {trace, _, send, Message, To} <- kv_test:mailbox()],
        ?assertMatch(
            [
                {Native, {'$gen_call', {Self, _}, {put, key, value}}},
                {Native, {'$kv_call', _Alias, {get, key, undefined}}}
            ],
            Sent
        )
    end).

a_call_from_another_vm_is_answered(Config) ->
    {Bucket, Name} = in(Config, fun() ->
        {ok, Proxy} = kv_bucket_sup:start_bucket(kv_bucket_sup, [{name, shopping}]),
        {Proxy, node()}
    end),
    Other = kv_test:start_vm(Config),
    kv_test:in(Other, fun() ->
        ok = kv_bucket:put(Bucket, key, value),
        value = kv_bucket:get({shopping, Name}, key),
        ?assertEqual({error, {bad_request, what}}, gen_server:call(Bucket, what)),
        {Replies, []} = gen_server:multi_call([Name], shopping, {get, key}),
        ?assertEqual([{Name, value}], Replies),
        Native = kv_proxy:native(Bucket),
        ?assertNotEqual(Bucket, Native),
        value = kv_bucket:get(Native, key)
    end),
    in(Config, fun() -> ?assertNot(is_map_key(relayed, kv_test:proxy_state(Bucket))) end),
    ok = kv_test:stop_vm(Other).

every_way_to_name_a_bucket_works(Config) ->
    in(Config, fun() ->
        Names = [
            {shopping, shopping},
            {{local, list}, list},
            {{global, "any term"}, {global, "any term"}},
            {{via, global, #{a => map}}, {via, global, #{a => map}}}
        ],
        [
            begin
                {ok, Bucket} = kv_bucket:start_link([{name, Name}]),
                ok = kv_bucket:put(Server, key, Name),
                ?assertEqual(Name, kv_bucket:get(Bucket, key)),
                ?assertEqual(Name, kv_bucket:get(kv_proxy:native(Bucket), key))
            end
         || {Name, Server} <- Names
        ],
        ?assertEqual(shopping, kv_bucket:get({shopping, node()}, key)),
        ?assertEqual(shopping, kv_bucket:get({shopping, kv_node:name()}, key)),
        ok = kv_bucket:stop({global, "any term"}),
        ?assertExit({noproc, _}, kv_bucket:get({global, "any term"}, key))
    end).

%% Also those of calls that wait while the node is away.
every_from_that_gen_server_answers_is_answered(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, shopping}]),
        true = register(a_caller, self()),
        Ask = fun() ->
            [
                begin
                    Bucket ! {'$gen_call', From, size},
                    From
                end
             || From <- [
                    {self(), tag}, {alias(), tag}, {a_caller, tag}, {{a_caller, node()}, tag},
                    {self(), [alias | alias()]}, {nobody, [alias | alias()]}
                ]
            ]
        end,
        Answers = fun(Froms) -> [receive {Tag, Reply} -> Reply end || {_, Tag} <- Froms] end,
        ?assertEqual([0, 0, 0, 0, 0, 0], Answers(Ask())),
        #{os_pid := OsPid} = kv_node:info(),
        ok = kv_test:signal("STOP", OsPid),
        true = erlang:disconnect_node(kv_node:name()),
        kv_test:wait(fun() -> is_map_key(phase, kv_test:proxy_state(Bucket)) end),
        %% Callers that are pids are asked for a monitor: without one they have given up.
        Monitor = monitor(process, Bucket),
        [_ | Waiting] = Ask(),
        ok = kv_test:signal("CONT", OsPid),
        ?assertEqual(5, length([Reply || Reply <- Answers(Waiting), Reply =:= 0 orelse element(1, Reply) =:= error])),
        true = demonitor(Monitor, [flush]),
        ?assertEqual(0, kv_bucket:size(Bucket))
    end).

a_malformed_from_is_ignored(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        [Bucket ! {'$gen_call', From, Request} || From <- [no_from, self(), {1}, {1, 2, 3}, []], Request <- [size, {'$kv_native'}]],
        %% Nor does the protocol between kv's own modules trust its senders.
        [Bucket ! {Kind, From, size} || Kind <- ['$kv_call', '$kv_relay'], From <- [{self(), a}, {a, make_ref()}, {1, 2}, a]],
        ?assertEqual(0, gen_server:call(Bucket, size)),
        ?assertEqual(0, kv_bucket:size(Bucket))
    end).

%% A release handler suspends a process, changes its code and resumes it.
sys_changes_code_and_reads_state_everywhere(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        {ok, Remote} = kv_registry:start_link(),
        Servers = [
            Bucket, kv_proxy:native(Bucket), Remote, kv_registry, kv_proxy:native(kv_registry), kv_node, kv_nodes, kv_watcher,
            kv_event_manager, kv_sup, kv_bucket_sup
        ],
        [
            begin
                ok = sys:suspend(Server),
                ?assertEqual({Server, ok}, {Server, sys:change_code(Server, some_module, undefined, [])}),
                ok = sys:resume(Server),
                ok = sys:statistics(Server, true),
                _ = sys:get_state(Server),
                _ = sys:get_status(Server),
                {ok, [_ | _]} = sys:statistics(Server, get),
                ok = sys:statistics(Server, false)
            end
         || Server <- Servers
        ],
        [
            ?assertMatch(State when State =:= State, sys:replace_state(Server, fun(State) -> State end))
         || Server <- [Bucket, Remote, kv_registry, kv_node, kv_nodes, kv_watcher]
        ],
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        ?assertEqual(0, kv_bucket:size(Bucket))
    end).

sys_looks_at_the_process_that_it_is_given(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, settings}]),
        ok = kv_bucket:put(settings, colour, red),
        Native = kv_proxy:native(Bucket),
        #{pid := Native} = kv:info(settings),
        [?assertEqual(#{colour => red}, sys:get_state(Server)) || Server <- [Native, {settings, kv_node:name()}]],
        [?assertEqual(Native, element(3, sys:get_state(Server))) || Server <- [Bucket, settings]],
        ?assertMatch(#{native := Native, size := 1}, kv_test:proxy_state(settings)),
        ok = sys:suspend(settings),
        ?assertEqual(red, gen_server:call(Native, {get, colour})),
        ok = sys:resume(settings)
    end).

casts_and_other_messages_are_passed_on(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        ok = gen_server:cast(Bucket, {put, key, value}),
        value = kv_bucket:get(Bucket, key),
        Bucket ! {an, "odd", message},
        Bucket ! {'EXIT', whereis(init), normal},
        Bucket ! {create_bucket, self(), <<"name">>},
        ok = gen_server:cast(Bucket, {an, "odd", cast}),
        ok = gen_server:cast(Bucket, clear),
        ?assertEqual(0, kv_bucket:size(Bucket))
    end).

every_function_of_a_bucket_has_its_answer(Config) ->
    in(Config, fun() ->
        {ok, B} = kv_bucket:start_link([]),
        ?assertEqual(undefined, kv_bucket:get(B, key)),
        ?assertEqual(default, kv_bucket:get(B, key, default)),
        ?assertEqual(default, kv_bucket:get(B, key, default, 1000)),
        ?assertEqual(error, kv_bucket:fetch(B, key)),
        ?assertEqual(error, kv_bucket:fetch(B, key, 1000)),
        ?assertNot(kv_bucket:has_key(B, key)),
        ?assertNot(kv_bucket:has_key(B, key, 1000)),
        ?assertEqual(ok, kv_bucket:put(B, key, nil)),
        ?assertEqual(ok, kv_bucket:put(B, key, undefined, 1000)),
        ?assertEqual(undefined, kv_bucket:get(B, key, default)),
        ?assertEqual({ok, undefined}, kv_bucket:fetch(B, key)),
        ?assertNot(kv_bucket:put_new(B, key, other)),
        ?assert(kv_bucket:put_new(B, "new", other, 1000)),
        ?assert(kv_bucket:has_key(B, key)),
        ?assertEqual(2, kv_bucket:size(B)),
        ?assertEqual(2, kv_bucket:size(B, infinity)),
        ?assertEqual([key, "new"], lists:sort(kv_bucket:keys(B))),
        ?assertEqual([key, "new"], lists:sort(kv_bucket:keys(B, 1000))),
        ?assertEqual(#{key => undefined, "new" => other}, kv_bucket:to_map(B)),
        ?assertEqual(#{key => undefined, "new" => other}, kv_bucket:to_map(B, 1000)),
        ?assertEqual(other, kv_bucket:delete(B, "new")),
        ?assertEqual(undefined, kv_bucket:delete(B, "new", 1000)),
        ?assertEqual(ok, kv_bucket:clear(B)),
        ?assertEqual(ok, kv_bucket:clear(B, 1000)),
        ?assertEqual(#{}, kv_bucket:to_map(B)),
        ?assertEqual(f, kv_bucket:get(B, fun erlang:self/0, f)),
        ok = sys:suspend(kv_proxy:native(B)),
        ?assertExit({timeout, _}, kv_bucket:get(B, key, default, 50)),
        ok = sys:resume(kv_proxy:native(B)),
        ?assertEqual([], kv_test:mailbox())
    end).

%% Maps distinguish keys by =:=, as buckets do.
a_bucket_behaves_as_a_map(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        Keys = [
            1, 1.0, -1, 1 bsl 64, -(1 bsl 70), a, 'caf\x{e9}', "a", <<"a">>, <<1:3>>, [], {}, {1}, {1.0}, [1 | 2], #{},
            #{1 => a, 2 => b}, #{2 => b, 1 => a}, maps:from_list([{I, I} || I <- lists:seq(1, 100)]), self(),
            make_ref(), fun erlang:self/0, nil, undefined, lists:duplicate(300, 7), [[], [[]]]
        ],
        _ = lists:foldl(
            fun(Step, {Map, Random0}) ->
                {K, Random1} = rand:uniform_s(length(Keys), Random0),
                {Operation, Random} = rand:uniform_s(7, Random1),
                Key = lists:nth(K, Keys),
                Next = same(Operation, Bucket, Key, {Step, Key}, Map),
                {Next, Random}
            end,
            {#{}, rand:seed_s(exsss, 7)},
            lists:seq(1, 3000)
        )
    end).

same(1, B, K, V, Map) -> ?assertEqual(ok, kv_bucket:put(B, K, V)), Map#{K => V};
same(2, B, K, V, Map) ->
    ?assertEqual(not is_map_key(K, Map), kv_bucket:put_new(B, K, V)),
    maps:merge(#{K => V}, Map);
same(3, B, K, _, Map) -> ?assertEqual(maps:get(K, Map, undefined), kv_bucket:delete(B, K)), maps:remove(K, Map);
same(4, B, K, _, Map) -> ?assertEqual(maps:get(K, Map, none), kv_bucket:get(B, K, none)), Map;
same(5, B, K, _, Map) -> ?assertEqual(maps:find(K, Map), kv_bucket:fetch(B, K)), Map;
same(6, B, _, _, Map) -> ?assertEqual(maps:size(Map), kv_bucket:size(B)), Map;
same(7, B, _, _, Map) -> ?assert(Map =:= kv_bucket:to_map(B)), Map.

the_status_shows_the_native_process(Config) ->
    in(Config, fun() ->
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Native} = kv_registry:lookup(kv_registry, <<"shopping">>),
        [{_, Proxy, _, _}] = supervisor:which_children(kv_bucket_sup),
        ?assertMatch(#{kind := bucket, native := Native, label := <<"shopping">>}, kv_test:proxy_state(Proxy)),
        ?assertMatch(#{kind := registry}, kv_test:proxy_state(kv_registry)),
        %% The creator ends by itself, after its bucket is known.
        ok = kv_test:wait(fun() -> not is_map_key(creators, kv_test:proxy_state(kv_registry)) end),
        {dictionary, Dictionary} = process_info(Proxy, dictionary),
        ?assertEqual({kv_bucket, init, 1}, proplists:get_value('$initial_call', Dictionary)),
        ?assertEqual({bucket, Native, <<"shopping">>}, proplists:get_value('$kv_native', Dictionary))
    end).

a_native_process_is_its_own(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        Native = kv_proxy:native(Bucket),
        ?assertEqual(kv_node:name(), node(Native)),
        ?assertEqual(Native, kv_proxy:native(Native))
    end).

%%% Ends

stopping_either_ends_both_with_the_reason(Config) ->
    in(Config, fun() ->
        [
            begin
                {Bucket, Native, Monitors} = bucket(),
                ok = kv_bucket:stop(lists:nth(Which, [Bucket, Native]), Reason, 5000),
                ?assertEqual([Reason, Reason], [kv_test:down(M) || M <- Monitors])
            end
         || Which <- [1, 2], Reason <- [normal, shutdown, {shutdown, "why"}, odd, {odd, [reason, 1.5]}, kill]
        ],
        {Bucket, _, Monitors} = bucket(),
        ok = kv_bucket:stop(Bucket),
        ?assertEqual([normal, normal], [kv_test:down(M) || M <- Monitors])
    end).

after_stop_nobody_reaches_the_bucket(Config) ->
    in(Config, fun() ->
        [
            begin
                {Bucket, Native, _} = bucket(),
                ok = kv_bucket:stop(Bucket, Reason),
                ?assertExit({noproc, _}, kv_bucket:get(Native, key)),
                ?assertExit({noproc, _}, kv_bucket:get(Bucket, key))
            end
         || Reason <- [normal, shutdown, odd], _ <- lists:seq(1, 20)
        ]
    end).

an_exit_signal_to_either_ends_both(Config) ->
    in(Config, fun() ->
        [
            begin
                {Bucket, Native, Monitors} = bucket(),
                true = exit(lists:nth(Which, [Bucket, Native]), Signal),
                ?assertEqual([Reason, Reason], [kv_test:down(M) || M <- Monitors])
            end
         || Which <- [1, 2], {Signal, Reason} <- [{kill, killed}, {shutdown, shutdown}, {odd, odd}, {killed, killed}]
        ]
    end).

an_exit_signal_normal_is_ignored(Config) ->
    in(Config, fun() ->
        {Bucket, Native, _} = bucket(),
        %% From a process that is not their parent. A call that follows a signal arrives after it.
        {_, Monitor} = spawn_monitor(fun() ->
            [
                begin
                    exit(Pid, normal),
                    ok = kv_bucket:put(Pid, key, value)
                end
             || Pid <- [Bucket, Native]
            ]
        end),
        ?assertEqual(normal, kv_test:down(Monitor)),
        ?assertEqual(value, kv_bucket:get(Bucket, key))
    end).

%% The sender of an exit signal is a process or a port.
a_message_that_can_be_no_exit_signal_is_passed_on(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        [Bucket ! {'EXIT', Claimed, claimed} || Claimed <- [shopping, make_ref(), {a, node()}, Bucket]],
        ?assertEqual(0, kv_bucket:size(Bucket))
    end).

%% docs/differences.md: nothing in a process that traps exits tells the two apart.
a_message_that_looks_like_an_exit_signal_ends_both(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        true = unlink(Bucket),
        Monitors = [monitor(process, Pid) || Pid <- [Bucket, kv_proxy:native(Bucket)]],
        Bucket ! {'EXIT', self(), claimed},
        ?assertEqual([claimed, claimed], [kv_test:down(Monitor) || Monitor <- Monitors])
    end).

a_bucket_ends_with_the_process_that_started_it(Config) ->
    in(Config, fun() ->
        [
            begin
                Self = self(),
                spawn(fun() ->
                    Self ! {bucket, kv_bucket:start_link()},
                    receive
                        go -> exit(Reason)
                    end
                end) ! go,
                Bucket = receive {bucket, {ok, Pid}} -> Pid end,
                ?assert(lists:member(kv_test:down(monitor(process, Bucket)), [Reason, noproc]))
            end
         || Reason <- [shutdown, normal, odd]
        ],
        kv_test:wait(fun() -> not lists:any(fun is_proxy/1, processes()) end)
    end).

is_proxy(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> element(1, proplists:get_value('$kv_native', Dictionary, {none})) =:= bucket;
        undefined -> false
    end.

a_waiting_call_ends_with_the_reason_of_the_bucket(Config) ->
    in(Config, fun() ->
        {Bucket, Native, _} = bucket(),
        ok = sys:suspend(Native),
        Callers = [spawn_monitor(fun() -> kv_bucket:get(Server, key) end) || Server <- [Bucket, Native]],
        [kv_test:wait(fun() -> is_calling(Pid) end) || {Pid, _} <- Callers],
        exit(Native, kill),
        [?assertMatch({killed, _}, kv_test:down(Monitor)) || {_, Monitor} <- Callers]
    end).

is_calling(Pid) ->
    case process_info(Pid, [status, current_function]) of
        [{status, waiting}, {current_function, {kv_call, _, _}}] -> true;
        _ -> false
    end.

a_suspended_bucket_can_be_stopped(Config) ->
    in(Config, fun() ->
        [
            begin
                {Bucket, Native, Monitors} = bucket(),
                ok = sys:suspend(Native),
                ok = kv_bucket:stop(Bucket, Reason),
                ?assertEqual([Reason, Reason], [kv_test:down(M) || M <- Monitors])
            end
         || Reason <- [normal, shutdown]
        ]
    end).

a_bucket_that_is_killed_is_not_worth_a_crash_report(Config) ->
    in(Config, fun() ->
        ok = kv_test_log:listen(notice),
        [
            begin
                {_, Native, Monitors} = bucket(),
                exit(Native, Reason),
                [kv_test:down(M) || M <- Monitors]
            end
         || Reason <- [kill, shutdown, odd]
        ],
        %% A report that was on its way would come before this line.
        logger:notice("the end"),
        receive
            {line, First} -> ?assertEqual({notice, <<"the end">>}, First)
        after 5000 -> error(no_log)
        end
    end).

%% Returns a bucket that is linked to nobody, and monitors of both its processes.
bucket() ->
    {ok, Bucket} = kv_bucket:start_link(),
    true = unlink(Bucket),
    Native = kv_proxy:native(Bucket),
    {Bucket, Native, [monitor(process, Bucket), monitor(process, Native)]}.

%%% Starts

wrong_options_are_named(_Config) ->
    Wrong = [{name, "text"}, {name, {local, "text"}}, {name, 7}, {label, text}, {node, "node"}, {colour, green}],
    [?assertMatch({error, {bad_option, Key, _}}, kv_bucket:start_link([{Key, Value}])) || {Key, Value} <- Wrong],
    [?assertMatch({error, {bad_option, Key, _}}, kv_bucket:start_link(#{Key => Value})) || {Key, Value} <- Wrong],
    ?assertMatch({error, {bad_option, odd, _}}, kv_bucket:start_link([odd])),
    ?assertMatch({error, {bad_option, odd, _}}, kv_bucket:start_link(odd)),
    WrongToo = [{start_bucket, kv_bucket}, {event_manager, "text"}, {event_manager, {a, "b"}}, {colour, green}],
    [?assertMatch({error, {bad_option, Key, _}}, kv_registry:start_link([{Key, Value}])) || {Key, Value} <- WrongToo].

a_taken_name_is_refused(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, shopping}]),
        ?assertEqual({error, {already_started, Bucket}}, kv_bucket:start_link([{name, shopping}])),
        {ok, Global} = kv_bucket:start_link([{name, {global, shopping}}]),
        ?assertEqual({error, {already_started, Global}}, kv_bucket:start_link([{name, {global, shopping}}])),
        ?assertMatch({error, {already_started, _}}, kv_registry:start_link([{name, kv_registry}]))
    end).

a_name_taken_on_the_node_is_refused(Config) ->
    in(Config, fun() ->
        Native = spawn(kv_node:name(), kv_bucket, init, [[{name, taken}]]),
        process_flag(trap_exit, true),
        ?assertEqual({error, {already_registered, Native}}, kv_bucket:start_link([{name, taken}])),
        exit(Native, kill),
        ?assertMatch({ok, _}, kv_bucket:start_link([{name, taken}]))
    end).

a_name_is_free_as_soon_as_its_owner_was_killed(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        {ok, First} = kv_bucket:start_link([{name, shopping}]),
        lists:foldl(
            fun(_, Bucket) ->
                exit(Bucket, kill),
                receive {'EXIT', Bucket, killed} -> ok end,
                {ok, Next} = kv_bucket:start_link([{name, shopping}]),
                Next
            end,
            First,
            lists:seq(1, 50)
        )
    end).

without_a_node_the_reason_says_so(_Config) ->
    process_flag(trap_exit, true),
    Said = [
        kv_bucket:start_link(),
        kv_bucket:start_link([{node, other}]),
        kv_registry:start_link([{name, r}])
    ],
    [
        ?assertMatch({match, _}, re:run(Text, ["^", Server, " is not running: start the application kv"]))
     || {{error, {not_running, Text}}, Server} <- lists:zip(Said, ["kv_node", "other", "kv_node"])
    ].

a_wrong_name_of_a_node_is_told_beside_the_right_one(Config) ->
    in(Config, fun() ->
        [
            ?assertMatch(
                {error, {not_running, <<"Other is not running, and kv_node is. The option node is the local name", _/binary>>}},
                Module:start_link([{node, 'Elixir.Other'}])
            )
         || Module <- [kv_bucket, kv_registry]
        ]
    end).

child_specifications_say_temporary_and_permanent(_Config) ->
    ?assertMatch(#{id := kv_bucket, restart := temporary, shutdown := 5000}, kv_bucket:child_spec([])),
    ?assertMatch(#{id := shopping}, kv_bucket:child_spec([{name, shopping}])),
    ?assertMatch(#{id := shopping}, kv_bucket:child_spec([{name, {local, shopping}}])),
    ?assertMatch(#{id := {global, g}}, kv_bucket:child_spec(#{name => {global, g}})),
    ?assertMatch(#{id := kv_registry, restart := permanent}, kv_registry:child_spec([])),
    ?assertEqual(ok, supervisor:check_childspecs([kv_bucket:child_spec([]), kv_registry:child_spec([])])).

every_supervisor_counts_its_children(Config) ->
    in(Config, fun() ->
        [{ok, _} = kv_bucket_sup:start_bucket(kv_bucket_sup) || _ <- lists:seq(1, 3)],
        Active = [
            proplists:get_value(active, supervisor:count_children(S))
         || S <- [kv_sup, kv_node_sup, kv_store_sup, kv_bucket_sup]
        ],
        ?assertEqual([2, 2, 2, 3], Active),
        [{_, Bucket, _, _} | _] = supervisor:which_children(kv_bucket_sup),
        ok = supervisor:terminate_child(kv_bucket_sup, Bucket),
        ?assertEqual(2, proplists:get_value(active, supervisor:count_children(kv_bucket_sup)))
    end).
