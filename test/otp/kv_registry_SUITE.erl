%% @doc Registries: names, buckets that a supervisor starts for them, failures of such starts, and events.
-module(kv_registry_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_bucket_is_found_by_any_name_after_create,
        a_cast_to_create_is_seen_by_the_next_lookup,
        creating_twice_gives_the_same_bucket,
        a_name_must_be_a_binary,
        buckets_are_made_by_the_supervisor,
        a_failure_to_make_a_bucket_is_the_answer,
        a_creator_that_is_killed_is_a_failure,
        a_slow_creation_holds_up_nobody_else,
        events_come_after_the_registry_changed,
        a_registry_without_a_supervisor_takes_its_buckets_along,
        a_registry_takes_its_manager_and_its_supervisor_as_arguments,
        two_registries_do_not_see_each_other,
        a_registry_is_reached_by_its_name_from_another_vm,
        a_registry_stops_normally
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%%% Cases

a_bucket_is_found_by_any_name_after_create(Config) ->
    in(Config, fun() ->
        Names = [<<>>, <<"a name with \"quotes\"">>, <<0, 255>>, binary:copy(<<"x">>, 65536)],
        [
            begin
                ?assertEqual(error, kv_registry:lookup(kv_registry, Name)),
                ok = kv_registry:create(kv_registry, Name),
                {ok, Bucket} = kv_registry:lookup(kv_registry, Name, 1000),
                ok = kv_bucket:put(Bucket, key, Name)
            end
         || Name <- Names
        ],
        ?assertEqual(lists:sort(Names), lists:sort(kv_registry:names(kv_registry)))
    end).

a_cast_to_create_is_seen_by_the_next_lookup(Config) ->
    in(Config, fun() ->
        [
            begin
                Name = integer_to_binary(I),
                ok = gen_server:cast(kv_registry, {create, Name}),
                {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
                ok = kv_bucket:put(Bucket, key, I)
            end
         || I <- lists:seq(1, 50)
        ]
    end).

creating_twice_gives_the_same_bucket(Config) ->
    in(Config, fun() ->
        Self = self(),
        [spawn(fun() -> Self ! {made, gen_server:call(kv_registry, {create, <<"one">>})} end) || _ <- lists:seq(1, 20)],
        Made = [receive {made, Pid} -> Pid end || _ <- lists:seq(1, 20)],
        ?assertMatch([Pid] when is_pid(Pid), lists:usort(Made)),
        ?assertEqual(1, length(supervisor:which_children(kv_bucket_sup)))
    end).

a_name_must_be_a_binary(Config) ->
    in(Config, fun() ->
        ?assertEqual({error, {bad_name, shopping}}, kv_registry:create(kv_registry, shopping)),
        ?assertEqual({error, {bad_name, "shopping"}}, kv_registry:create(kv_registry, "shopping", 1000))
    end).

buckets_are_made_by_the_supervisor(Config) ->
    in(Config, fun() ->
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Native} = kv_registry:lookup(kv_registry, <<"shopping">>),
        [{_, Proxy, worker, _}] = supervisor:which_children(kv_bucket_sup),
        ?assertEqual(Native, kv_proxy:native(Proxy))
    end).

a_failure_to_make_a_bucket_is_the_answer(Config) ->
    in(Config, fun() ->
        Cases = [
            {{?MODULE, make, [{error, no_room}]}, no_room},
            {{?MODULE, make, [odd]}, {bad_return, odd}},
            {{?MODULE, no_such_function, []}, undef},
            {{kv_bucket_sup, start_bucket, [nobody]},
                {no_supervisor,
                    <<"no process runs under the name nobody, which the registry has for its supervisor of buckets; "
                        "start a KV.BucketSupervisor (kv_bucket_sup) of that name before the registry">>}}
        ],
        [
            begin
                {ok, Registry} = kv_registry:start_link([{start_bucket, StartBucket}]),
                ?assertEqual({error, Reason}, kv_registry:create(Registry, <<"shopping">>)),
                ?assertEqual(error, kv_registry:lookup(Registry, <<"shopping">>))
            end
         || {StartBucket, Reason} <- Cases
        ]
    end).

make(Result, _Options) -> Result.

a_creator_that_is_killed_is_a_failure(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link([{start_bucket, {?MODULE, die, []}}]),
        ?assertEqual({error, killed}, kv_registry:create(Registry, <<"shopping">>)),
        ?assertNot(is_map_key(creators, kv_test:proxy_state(Registry)))
    end).

die(_Options) ->
    exit(self(), kill),
    receive never -> ok end.

a_slow_creation_holds_up_nobody_else(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link([{start_bucket, {?MODULE, wait_for, [self()]}}]),
        Self = self(),
        spawn(fun() -> Self ! {slow, kv_registry:create(Registry, <<"slow">>)} end),
        Creator = receive {waiting, <<"slow">>, Pid} -> Pid end,
        ?assertEqual(error, kv_registry:lookup(Registry, <<"other">>)),
        ?assertMatch(#{creators := 1}, kv_test:proxy_state(Registry)),
        Creator ! go,
        receive {slow, Answer} -> ?assertEqual(ok, Answer) end,
        ?assertMatch({ok, _}, kv_registry:lookup(Registry, <<"slow">>))
    end).

wait_for(Pid, #{label := Name} = Options) ->
    Pid ! {waiting, Name, self()},
    receive go -> kv_bucket_sup:start_bucket(kv_bucket_sup, Options) end.

events_come_after_the_registry_changed(Config) ->
    in(Config, fun() ->
        ok = gen_event:add_handler(kv_event_manager, kv_test_handler, self()),
        [
            begin
                ok = kv_registry:create(kv_registry, <<"shopping">>),
                ok = kv_registry:create(kv_registry, <<"shopping">>),
                {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
                ?assertEqual({create, <<"shopping">>, Bucket}, event()),
                exit(Bucket, Reason),
                ?assertEqual({exit, <<"shopping">>, Bucket}, event()),
                ?assertEqual(error, kv_registry:lookup(kv_registry, <<"shopping">>))
            end
         || Reason <- [shutdown, kill, odd]
        ]
    end).

event() ->
    receive
        {event, Event} -> Event
    after 5000 -> error(no_event)
    end.

a_registry_without_a_supervisor_takes_its_buckets_along(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link(),
        true = unlink(Registry),
        ok = kv_registry:create(Registry, <<"shopping">>),
        {ok, Bucket} = kv_registry:lookup(Registry, <<"shopping">>),
        ok = kv_bucket:put(Bucket, key, value),
        ?assertEqual([], supervisor:which_children(kv_bucket_sup)),
        Monitor = monitor(process, Bucket),
        exit(Registry, shutdown),
        ?assertEqual(shutdown, kv_test:down(Monitor))
    end).

two_registries_do_not_see_each_other(Config) ->
    in(Config, fun() ->
        StartBucket = {start_bucket, {kv_bucket_sup, start_bucket, [kv_bucket_sup]}},
        {ok, One} = kv_registry:start_link([{name, one}, StartBucket]),
        {ok, Two} = kv_registry:start_link([{name, two}, StartBucket]),
        ok = kv_registry:create(one, <<"shopping">>),
        ?assertEqual(error, kv_registry:lookup(two, <<"shopping">>)),
        ok = kv_registry:create(two, <<"shopping">>),
        ?assertNotEqual(kv_registry:lookup(One, <<"shopping">>), kv_registry:lookup(Two, <<"shopping">>)),
        ?assertEqual([], kv_registry:names(kv_registry))
    end).

a_registry_takes_its_manager_and_its_supervisor_as_arguments(Config) ->
    in(Config, fun() ->
        {ok, Manager} = kv_event_manager:start_link(my_events),
        {ok, Buckets} = kv_bucket_sup:start_link(my_buckets),
        ok = gen_event:add_handler(Manager, kv_test_handler, self()),
        Registries = [
            kv_registry:start_link(Manager),
            kv_registry:start_link(Manager, Buckets),
            kv_registry:start_link(my_events, my_buckets),
            kv_registry:start_link(my_events, [{name, by_list}]),
            kv_registry:start_link(my_events, my_buckets, #{name => by_map})
        ],
        [
            begin
                Pid = gen_server:call(Registry, {create, <<"shopping">>}),
                receive {event, Event} -> ?assertEqual({create, <<"shopping">>, Pid}, Event) end
            end
         || {ok, Registry} <- Registries
        ],
        ?assertEqual(5, length([Pid || {ok, Pid} <- Registries])),
        ?assertEqual(3, proplists:get_value(active, supervisor:count_children(my_buckets))),
        ?assertMatch({error, {bad_option, colour, _}}, kv_registry:start_link(my_events, my_buckets, [{colour, red}]))
    end).

a_registry_is_reached_by_its_name_from_another_vm(Config) ->
    Name = in(Config, fun kv_node:name/0),
    Other = kv_test:start_vm(Config),
    Bucket = kv_test:in(Other, fun() ->
        pong = net_adm:ping(Name),
        ok = kv_registry:create({kv_registry, Name}, <<"shopping">>),
        {ok, Native} = kv_registry:lookup({kv_registry, Name}, <<"shopping">>),
        ok = kv_bucket:put(Native, key, value),
        Native
    end),
    in(Config, fun() ->
        ?assertEqual({ok, Bucket}, kv_registry:lookup(kv_registry, <<"shopping">>)),
        ?assertEqual(value, kv_bucket:get(Bucket, key))
    end),
    ok = kv_test:stop_vm(Other),
    in(Config, fun() -> ?assertEqual(value, kv_bucket:get(Bucket, key)) end).

a_registry_stops_normally(Config) ->
    in(Config, fun() ->
        [
            begin
                {ok, Registry} = kv_registry:start_link(),
                Native = kv_proxy:native(Registry),
                Monitors = [monitor(process, P) || P <- [Registry, Native]],
                ok = Stop(Registry, Native),
                ?assertEqual([normal, normal], [kv_test:down(M) || M <- Monitors])
            end
         || Stop <- [
                fun(Proxy, _) -> kv_registry:stop(Proxy) end,
                fun(_, Native) -> kv_registry:stop(Native) end,
                fun(Proxy, _) -> gen_server:call(Proxy, stop) end
            ]
        ]
    end).
