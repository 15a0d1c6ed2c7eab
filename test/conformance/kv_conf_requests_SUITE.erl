%% Requests and their answers: calls, casts and aliases, of a native process and of a gen_server.
-module(kv_conf_requests_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, call/2, outcome/1, next/0, next/1, serve/1, unknown_requests/0]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 120}}].

all() -> kv_conformance:ways().

groups() ->
    kv_conformance:both_ways([
        {call, [], [
            every_request_of_a_bucket_is_answered,
            requests_that_depend_on_a_value_are_answered,
            requests_about_many_keys_are_answered,
            malformed_requests_about_many_keys_do_nothing,
            an_unknown_request_is_answered_with_an_error,
            a_time_to_live_that_is_none_is_refused,
            an_entry_is_gone_after_its_time_to_live,
            keys_are_the_same_when_they_match,
            a_message_that_is_no_request_is_ignored,
            a_call_to_a_dead_process_exits_with_noproc,
            a_call_to_a_process_that_dies_meanwhile_exits_with_its_reason,
            a_call_that_times_out_exits_with_timeout,
            a_request_can_be_sent_now_and_received_later,
            requests_of_a_collection_are_all_answered,
            a_pipeline_of_calls_is_answered_in_order,
            the_tag_of_a_call_comes_back_as_it_was,
            the_answer_goes_to_the_process_that_the_call_names,
            the_answer_goes_to_an_alias_or_a_name_that_the_call_names,
            a_call_whose_from_reaches_nobody_is_handled,
            calls_of_many_processes_are_all_answered,
            a_stop_ends_with_its_reason,
            a_stop_of_a_dead_process_exits_with_noproc,
            proc_lib_stops_it
        ]},
        {cast, [], [
            every_cast_of_a_bucket_acts,
            an_unknown_cast_is_ignored,
            a_cast_to_a_dead_process_is_ok,
            casts_and_calls_of_one_process_keep_their_order
        ]},
        {alias, [], [
            a_late_reply_never_lands_in_the_mailbox,
            late_replies_of_many_calls_never_land_in_the_mailbox,
            an_abandoned_request_leaves_nothing_behind,
            a_reply_to_an_alias_arrives,
            a_reply_alias_takes_one_reply,
            an_alias_that_was_given_up_takes_none,
            the_alias_of_a_monitor_ends_with_it,
            an_alias_in_a_longer_tag_is_used,
            a_reply_to_the_alias_of_a_dead_process_is_dropped
        ]}
    ]).

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
init_per_group(Group, Config) -> kv_conformance:enter(Group, Config).
end_per_group(Group, Config) -> kv_conformance:leave(Group, Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%%% call

every_request_of_a_bucket_is_answered(Config) ->
    Answers = [
        {size, 0}, {{get, a}, nil}, {{get, a, none}, none}, {{fetch, a}, error}, {{has_key, a}, false},
        {{delete, a}, nil}, {{delete, a, none}, none}, {{put, a, 1}, ok}, {{put, a, 2}, ok}, {{put_new, a, 3}, false}, {{put_new, b, [4]}, true},
        {{get, a}, 2}, {{get, b, none}, [4]}, {{fetch, b}, {ok, [4]}}, {{has_key, b}, true}, {size, 2},
        {to_map, #{a => 2, b => [4]}}, {{delete, a}, 2}, {keys, [b]}, {{delete, b, none}, [4]}, {keys, []}, {{put, nil, nil}, ok}, {{get, nil}, nil},
        {{fetch, nil}, {ok, nil}}, {clear, ok}, {keys, []}, {to_map, #{}}, {size, 0}
    ],
    assert_answers(Config, Answers).

requests_that_depend_on_a_value_are_answered(Config) ->
    Answers = [
        {{pop, a}, error}, {{swap, a, 1}, error}, {{swap, a, 2.0}, {ok, 1}}, {{pop, a}, {ok, 2.0}}, {{pop, a}, error},
        {{replace, a, 1}, false}, {{put, a, nil}, ok}, {{replace, a, 1}, true}, {{get, a, none}, 1},
        {{compare_and_put, a, 1.0, 2}, false}, {{compare_and_put, a, 1, #{x => [1, 2]}}, true},
        {{compare_and_put, a, #{x => [1, 2]}, "b"}, true}, {{compare_and_put, x, nil, 1}, false},
        {{compare_and_delete, a, b}, false}, {{compare_and_delete, a, "b"}, true}, {{compare_and_delete, a, "b"}, false}, {size, 0},
        {{incr, n, 5}, 5}, {{decr, n, 7}, -2}, {{incr, n, 1 bsl 70}, (1 bsl 70) - 2}, {{decr, n, 1 bsl 70}, -2}, {{incr, n, 0}, -2},
        {{incr, n, 1.0}, {error, {bad_step, 1.0}}}, {{decr, n, a}, {error, {bad_step, a}}}, {{put, n, 1.0}, ok},
        {{incr, n, 1}, {error, not_an_integer}}, {{decr, m, -3}, 3}, {to_map, #{n => 1.0, m => 3}}
    ],
    assert_answers(Config, Answers).

requests_about_many_keys_are_answered(Config) ->
    Answers = [
        {{get_many, []}, []}, {{put_many, []}, ok}, {{put_many, #{}}, ok}, {{delete_many, []}, 0}, {size, 0},
        {{put_new_many, []}, true}, {{put_new_many, [{n, 1}]}, true}, {{put_new_many, #{m => 1, n => 2}}, false},
        {{delete_many, [m, n]}, 1},
        {{put_many, [{a, 1}, {"b", [2]}, {a, 3}]}, ok}, {{get_many, [a, x, "b", a]}, [3, nil, [2], 3]},
        {{get_many, [x, a], {no, thing}}, [{no, thing}, 3]}, {{put_many, #{1 => one, 2.0 => two, #{} => nil}}, ok},
        {{get_many, [1, 1.0, 2, 2.0, #{}], none}, [one, none, none, two, nil]}, {size, 5},
        %% Such lists are sent as a string.
        {{get_many, [1, 2, 255], none}, [one, none, none]}, {{delete_many, [1, 1, 2]}, 1}, {{get_many, "b"}, [nil]},
        {{delete_many, [a, "b", x, 2.0, #{}]}, 4}, {to_map, #{}}
    ],
    assert_answers(Config, Answers).

%% One bucket gives these answers to these requests, in this order.
assert_answers(Config, Answers) ->
    ?assertEqual(
        Answers,
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [{Request, call(Bucket, Request)} || {Request, _} <- Answers]
        end)
    ).

malformed_requests_about_many_keys_do_nothing(Config) ->
    NoKeys = [a, 1, <<"ab">>, {a, b}, #{a => b}, [a | b], [1, 2 | 3], ["ab" | "cd" ++ e]],
    NoEntries = [a, 1, <<"ab">>, {a, b}, "ab", [a], [{a}], [{a, 1}, b], [{a, 1}, {b, 2, 3}], [{a, 1} | b], [{a, 1} | {b, 2}], [[a | 1]]],
    Requests = [{Kind, Keys} || Kind <- [get_many, delete_many], Keys <- NoKeys] ++
        [{get_many, Keys, none} || Keys <- NoKeys] ++ [{put_many, Entries} || Entries <- NoEntries],
    Seen = same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = call(Bucket, {put_many, [{kept, 1}]}),
        Answers = [call(Bucket, Request) || Request <- Requests],
        [ok = gen_server:cast(Bucket, Request) || Request <- Requests],
        {Answers, call(Bucket, to_map)}
    end),
    ?assertMatch({[{error, {bad_keys, a}} | _], #{kept := 1}}, Seen).

an_unknown_request_is_answered_with_an_error(Config) ->
    ?assertEqual(
        [{error, {bad_request, Request}} || Request <- unknown_requests()],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [call(Bucket, Request) || Request <- unknown_requests()]
        end)
    ).

a_time_to_live_that_is_none_is_refused(Config) ->
    Bad = [0, -1, 1.5, forever, 1 bsl 47, 1 bsl 70, [], <<"1">>],
    ?assertEqual(
        {[{error, {bad_ttl, Ttl}} || Ttl <- Bad, _ <- [put, put_new, put_many]], #{}},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Answers = [
                call(Bucket, Request)
             || Ttl <- Bad, Request <- [{put, a, 1, Ttl}, {put_new, a, 1, Ttl}, {put_many, [{a, 1}], Ttl}]
            ],
            {Answers, call(Bucket, to_map)}
        end)
    ).

%% The result before that moment is not compared: it depends on the speed of the machine.
an_entry_is_gone_after_its_time_to_live(Config) ->
    ?assertEqual(
        {[ok, true, ok, ok, ok], #{stays => 1, renewed => 2}},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Requests = [
                {put, a, 1, 1}, {put_new, b, 1, 1}, {put_many, [{renewed, 1}, {c, 1}], 1}, {put_many, #{stays => 1}, infinity},
                {put, renewed, 2}
            ],
            Answers = [call(Bucket, Request) || Request <- Requests],
            ok = kv_test:wait(fun() -> map_size(call(Bucket, to_map)) =:= 2 end),
            {Answers, call(Bucket, to_map)}
        end)
    ).

keys_are_the_same_when_they_match(Config) ->
    Keys = [1, 1.0, "1", <<"1">>, '1', [1], {1}, #{1 => 1}, #{1.0 => 1}, #{1 => 1.0}, [], <<>>, '', {}, #{}, <<1:1>>, <<128>>],
    ?assertEqual(
        {length(Keys), lists:seq(1, length(Keys))},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Numbered = lists:zip(Keys, lists:seq(1, length(Keys))),
            [ok = call(Bucket, {put, Key, Number}) || {Key, Number} <- lists:reverse(Numbered)],
            {call(Bucket, size), [number_of(Bucket, Key, Number) || {Key, Number} <- Numbered]}
        end)
    ).

number_of(Bucket, Key, Number) ->
    case call(Bucket, {get, Key}) of
        Number -> Number;
        Other -> {Key, Other}
    end.

a_message_that_is_no_request_is_ignored(Config) ->
    ?assertEqual(
        {#{a => 1}, []},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = call(Bucket, {put, a, 1}),
            Messages = [
                hello, {}, [], 1, {a, b}, {'$gen_cast'}, {'$gen_calls', {self(), x}, size}, {put, a, 2}, timeout, <<0:80000>>,
                {'DOWN', make_ref(), process, self(), normal}, {'EXIT', kv_case:helper(), shutdown}, {notify, event}
            ],
            [Bucket ! Message || Message <- Messages],
            {call(Bucket, to_map), kv_test:mailbox()}
        end)
    ).

a_call_to_a_dead_process_exits_with_noproc(Config) ->
    ?assertMatch(
        [{exit, {noproc, {gen_server, call, [_, size, _]}}}, {exit, {noproc, {gen_server, call, [_, size]}}}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = gen_server:stop(Bucket),
            [outcome(fun() -> call(Bucket, size) end), outcome(fun() -> gen_server:call(Bucket, size) end)]
        end)
    ).

a_call_to_a_process_that_dies_meanwhile_exits_with_its_reason(Config) ->
    Reasons = [kill, shutdown, {shutdown, why}, crash, noproc, noconnection, {a, [b], <<"c">>}],
    Seen = same(Config, fun(Node) -> [dies_meanwhile(Node, Reason) || Reason <- Reasons] end),
    ?assertMatch([{exit, {killed, {gen_server, call, _}}}, {exit, {shutdown, _}} | _], Seen).

dies_meanwhile(Node, Reason) ->
    Bucket = bucket(Node),
    ok = sys:suspend(Bucket),
    Helper = kv_case:helper(),
    Self = self(),
    ok = kv_case:tell(Helper, fun() ->
        Id = gen_server:send_request(Bucket, size),
        Self ! sent,
        Self ! {answered, gen_server:receive_response(Id, 10000), outcome(fun() -> call(Bucket, size) end)}
    end),
    sent = next(),
    Caller = kv_case:helper(),
    ok = kv_case:tell(Caller, fun() -> Self ! outcome(fun() -> call(Bucket, size) end) end),
    ok = kv_case:await_call(Caller),
    exit(Bucket, Reason),
    receive
        {answered, {error, {_, _}}, {exit, {noproc, _}}} -> ok
    after 10000 -> error(no_answer)
    end,
    receive
        {exit, {_, {gen_server, call, _}}} = Outcome -> Outcome
    after 10000 -> error(no_outcome)
    end.

a_call_that_times_out_exits_with_timeout(Config) ->
    ?assertMatch(
        {{exit, {timeout, {gen_server, call, [_, {put, a, 1}, 10]}}}, 1},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = sys:suspend(Bucket),
            Outcome = outcome(fun() -> gen_server:call(Bucket, {put, a, 1}, 10) end),
            ok = sys:resume(Bucket),
            {Outcome, call(Bucket, {get, a})}
        end)
    ).

a_request_can_be_sent_now_and_received_later(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        First = gen_server:send_request(Bucket, {put, a, 1}),
        Second = gen_server:send_request(Bucket, {get, a}),
        Waited = gen_server:wait_response(Second, 10000),
        Received = gen_server:receive_response(First, 10000),
        Third = gen_server:send_request(Bucket, size),
        Checked = gen_server:check_response(next(), Third),
        ok = gen_server:stop(Bucket),
        Dead = gen_server:receive_response(gen_server:send_request(Bucket, size), 10000),
        {Waited, Received, Checked, Dead}
    end).

requests_of_a_collection_are_all_answered(Config) ->
    same(Config, fun(Node) ->
        Buckets = [bucket(Node) || _ <- lists:seq(1, 5)],
        Ids = lists:foldl(
            fun({Number, Bucket}, Acc) -> gen_server:send_request(Bucket, {put_new, a, Number}, Number, Acc) end,
            gen_server:reqids_new(),
            lists:zip(lists:seq(1, 5), Buckets)
        ),
        lists:sort(collect(Ids))
    end).

collect(Ids) ->
    case gen_server:receive_response(Ids, 10000, true) of
        no_request -> [];
        {Response, Label, Rest} -> [{Label, Response} | collect(Rest)]
    end.

a_pipeline_of_calls_is_answered_in_order(Config) ->
    ?assertEqual(
        lists:seq(1, 2000),
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Tag = make_ref(),
            [Bucket ! {'$gen_call', {self(), {Tag, N}}, {get, a, N}} || N <- lists:seq(1, 2000)],
            [begin {{Tag, N}, Value} = next(), Value end || N <- lists:seq(1, 2000)]
        end)
    ).

the_tag_of_a_call_comes_back_as_it_was(Config) ->
    Tags = [
        make_ref(), tag, 1, 1.5, [], "tag", <<"tag">>, {make_ref(), node()}, [make_ref()], [make_ref() | tail], #{a => b},
        [alias], [alias | tail], [[alias] | tail], [[other | make_ref()]], {alias, make_ref()}, [make_ref(), alias]
    ],
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [begin Bucket ! {'$gen_call', {self(), Tag}, size}, {Tag, 0} = next() end || Tag <- Tags],
        length(Tags)
    end).

the_answer_goes_to_the_process_that_the_call_names(Config) ->
    ?assertEqual(
        {[], {tag, 0}},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Other = kv_case:helper(),
            Self = self(),
            ok = kv_case:tell(Other, fun() -> receive Message -> Self ! Message end end),
            Bucket ! {'$gen_call', {Other, tag}, size},
            Message = next(),
            {kv_test:mailbox(), Message}
        end)
    ).

%% gen:reply/2 sends the answer to any To of {To, Tag}, as `To ! {Tag, Reply}' does.
the_answer_goes_to_an_alias_or_a_name_that_the_call_names(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        true = register(a_caller, self()),
        Froms = [{alias(), tag}, {alias(), [make_ref()]}, {{a_caller, node()}, tag}, {nobody, [alias | alias()]}],
        [begin Bucket ! {'$gen_call', From, size}, {Tag, 0} = next() end || {_, Tag} = From <- Froms],
        Systems = [{alias(), tag}, {{a_caller, node()}, tag}],
        [begin Bucket ! {system, From, get_state}, {tag, _} = next() end || From <- Systems],
        true = unregister(a_caller),
        kv_test:mailbox()
    end).

a_call_whose_from_reaches_nobody_is_handled(Config) ->
    ?assertEqual(
        {[], 7},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Froms = [{<<"nobody">>, tag}, {{nobody, node()}, tag}, {{nobody, nowhere}, tag}, {{1, 2}, tag}, {nobody, tag}, {[], []}],
            [Bucket ! {'$gen_call', From, {put, From, 1}} || From <- Froms],
            Bucket ! {'$gen_call', {alias([reply]), tag}, {put, a, 1}},
            {tag, ok} = next(),
            {kv_test:mailbox(), call(Bucket, size)}
        end)
    ).

calls_of_many_processes_are_all_answered(Config) ->
    ?assertEqual(
        {100, lists:seq(1, 100)},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Self = self(),
            [spawn(fun() -> true = call(Bucket, {put_new, N, N}), Self ! call(Bucket, {get, N}) end) || N <- lists:seq(1, 100)],
            Answers = next(100),
            {call(Bucket, size), lists:sort(Answers)}
        end)
    ).

a_stop_ends_with_its_reason(Config) ->
    Reasons = [normal, shutdown, {shutdown, why}, kill, crash, [], {a, <<"b">>}, 17],
    ?assertEqual(
        [{{returned, ok}, Reason} || Reason <- Reasons],
        same(Config, fun(Node) ->
            [
                begin
                    Bucket = bucket(Node),
                    Monitor = monitor(process, Bucket),
                    {outcome(fun() -> gen_server:stop(Bucket, Reason, 10000) end), kv_test:down(Monitor)}
                end
             || Reason <- Reasons
            ]
        end)
    ).

a_stop_of_a_dead_process_exits_with_noproc(Config) ->
    ?assertEqual(
        [{exit, noproc}, {exit, noproc}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = gen_server:stop(Bucket),
            [outcome(fun() -> gen_server:stop(Bucket) end), outcome(fun() -> gen_server:stop({nobody, Node}) end)]
        end)
    ).

proc_lib_stops_it(Config) ->
    same(Config, fun(Node) ->
        [outcome(fun() -> proc_lib:stop(bucket(Node), Reason, 10000) end) || Reason <- [normal, shutdown, {any, thing}]]
    end).

%%% cast

every_cast_of_a_bucket_acts(Config) ->
    ?assertEqual(
        [#{a => 1}, #{a => 2, b => 3}, #{b => 3}, #{b => 3}, #{}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [
                begin
                    [ok = gen_server:cast(Bucket, Cast) || Cast <- Casts],
                    call(Bucket, to_map)
                end
             || Casts <- [[{put, a, 1}], [{put, a, 2}, {put, b, 3}], [{delete, a}], [{delete, a}], [clear]]
            ]
        end)
    ).

an_unknown_cast_is_ignored(Config) ->
    ?assertEqual(
        #{a => 1},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = call(Bucket, {put, a, 1}),
            [ok = gen_server:cast(Bucket, Cast) || Cast <- unknown_requests() ++ [{get, a}, {put_new, b, 1}, size, {put}, {clear}]],
            call(Bucket, to_map)
        end)
    ).

a_cast_to_a_dead_process_is_ok(Config) ->
    ?assertEqual(
        [ok, ok, hello],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = gen_server:stop(Bucket),
            [gen_server:cast(Bucket, clear), gen_server:cast({nobody, Node}, clear), Bucket ! hello]
        end)
    ).

casts_and_calls_of_one_process_keep_their_order(Config) ->
    ?assertEqual(
        lists:seq(1, 1000),
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [
                begin
                    ok = gen_server:cast(Bucket, {put, a, N}),
                    call(Bucket, {get, a})
                end
             || N <- lists:seq(1, 1000)
            ]
        end)
    ).

%%% alias

a_late_reply_never_lands_in_the_mailbox(Config) ->
    ?assertEqual(
        {[], 1},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = sys:suspend(Bucket),
            {exit, {timeout, _}} = outcome(fun() -> gen_server:call(Bucket, {put, a, 1}, 10) end),
            ok = sys:resume(Bucket),
            ok = serve(Bucket),
            {kv_test:mailbox(), call(Bucket, {get, a})}
        end)
    ).

late_replies_of_many_calls_never_land_in_the_mailbox(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = sys:suspend(Bucket),
            [{exit, {timeout, _}} = outcome(fun() -> gen_server:call(Bucket, size, 0) end) || _ <- lists:seq(1, 200)],
            [{exit, {timeout, _}} = outcome(fun() -> sys:get_state(Bucket, 0) end) || _ <- lists:seq(1, 200)],
            ok = sys:resume(Bucket),
            ok = serve(Bucket),
            kv_test:mailbox()
        end)
    ).

an_abandoned_request_leaves_nothing_behind(Config) ->
    ?assertEqual(
        {timeout, []},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = sys:suspend(Bucket),
            Id = gen_server:send_request(Bucket, size),
            Outcome = gen_server:receive_response(Id, 10),
            ok = sys:resume(Bucket),
            ok = serve(Bucket),
            {Outcome, kv_test:mailbox()}
        end)
    ).

a_reply_to_an_alias_arrives(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Alias = alias(),
        [Bucket ! {'$gen_call', {self(), [alias | Alias]}, {get, a, N}} || N <- [1, 2, 3]],
        Messages = next(3),
        true = unalias(Alias),
        Messages
    end).

a_reply_alias_takes_one_reply(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Alias = alias([reply]),
        [Bucket ! {'$gen_call', {self(), [alias | Alias]}, {get, a, N}} || N <- [1, 2, 3]],
        ok = serve(Bucket),
        kv_test:mailbox()
    end).

an_alias_that_was_given_up_takes_none(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Alias = alias(),
            true = unalias(Alias),
            Bucket ! {'$gen_call', {self(), [alias | Alias]}, size},
            ok = serve(Bucket),
            kv_test:mailbox()
        end)
    ).

the_alias_of_a_monitor_ends_with_it(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [
            begin
                Monitor = monitor(process, Bucket, [{alias, Kind}]),
                Call = {'$gen_call', {self(), [alias | Monitor]}, size},
                [Bucket ! Call || _ <- [1, 2]],
                ok = serve(Bucket),
                Before = kv_test:mailbox(),
                _ = demonitor(Monitor, [flush]),
                Bucket ! Call,
                ok = serve(Bucket),
                After = kv_test:mailbox(),
                _ = unalias(Monitor),
                {Kind, Before, After}
            end
         || Kind <- [explicit_unalias, demonitor, reply_demonitor]
        ]
    end).

an_alias_in_a_longer_tag_is_used(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Alias = alias(),
        Nobody = kv_case:helper(),
        Bucket ! {'$gen_call', {Nobody, [[alias | Alias] | more]}, size},
        Message = next(),
        true = unalias(Alias),
        Message
    end).

a_reply_to_the_alias_of_a_dead_process_is_dropped(Config) ->
    ?assertEqual(
        {[], 0},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Helper = kv_case:helper(),
            Alias = kv_case:do(Helper, fun() -> alias() end),
            done = kv_case:finish(Helper, done),
            Bucket ! {'$gen_call', {Helper, [alias | Alias]}, size},
            Bucket ! {'$gen_call', {self(), [alias | kv_case:other_creation(Alias, 1)]}, size},
            ok = serve(Bucket),
            {kv_test:mailbox(), call(Bucket, size)}
        end)
    ).
