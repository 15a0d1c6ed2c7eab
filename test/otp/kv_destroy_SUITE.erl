%% @doc The end of a durable registry together with all its names: who ends, what is gone, and what a kill in the middle leaves.
-module(kv_destroy_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% More than are dropped in one turn.
-define(MANY, 1000).
-define(KILLS, 8).

suite() -> [{timetrap, {seconds, 180}}].

all() ->
    [
        a_registry_is_destroyed_with_its_names_and_entries,
        its_buckets_and_their_proxies_end_and_handlers_hear_of_it,
        its_supervisor_starts_it_again_without_names,
        a_registry_is_destroyed_by_every_address,
        a_registry_that_makes_its_own_buckets_is_destroyed_with_them,
        names_of_other_registries_and_buckets_stay,
        a_registry_in_memory_is_refused_in_words,
        destroy_of_nothing_exits_as_every_call,
        requests_that_wait_meanwhile_exit_with_the_registry,
        a_node_lists_its_durable_buckets_and_registries_with_and_without_a_process,
        a_dormant_bucket_is_destroyed_by_its_name,
        a_dormant_registry_is_destroyed_by_its_name,
        a_bucket_and_a_registry_with_a_process_are_destroyed_by_their_name,
        a_name_that_the_folder_does_not_have_is_refused_in_words,
        after_a_checkpoint_the_names_are_gone_as_well,
        a_kill_in_the_middle_leaves_all_names_or_none
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

a_registry_is_destroyed_with_its_names_and_entries(Config) ->
    with_shop(Config, fun() ->
        Shop = whereis(shop),
        ok = fill([<<"eggs">>, <<"milk">>]),
        ok = kv_registry:put_meta(shop, <<"eggs">>, brown),
        ok = kv_bucket:stop(bucket(<<"milk">>)),
        true = unlink(Shop),
        ?assertEqual(ok, kv_registry:destroy(shop)),
        ?assertEqual([undefined, false], [whereis(shop), is_process_alive(Shop)]),
        {ok, _} = start_shop(),
        ?assertEqual([], kv_registry:names(shop)),
        ok = kv_registry:create(shop, <<"eggs">>),
        ?assertEqual([0, error], [kv_bucket:size(bucket(<<"eggs">>)), kv_registry:meta(shop, <<"eggs">>)]),
        ok = kill_program(),
        ?assertEqual([{<<"eggs">>, dormant}], kv_registry:list(shop))
    end).

its_buckets_and_their_proxies_end_and_handlers_hear_of_it(Config) ->
    with_shop(Config, fun() ->
        true = unlink(whereis(shop)),
        ok = kv_registry:stop(shop),
        {ok, Shop} = start_shop([{event_manager, kv_event_manager}]),
        true = unlink(Shop),
        ok = fill([<<"eggs">>, <<"milk">>]),
        ok = kv_registry:create(shop, <<"tea">>, [{durable, false}]),
        Buckets = lists:sort(kv_registry:list(shop)),
        Monitors = [monitor(process, Pid) || {_, Pid} <- Buckets] ++ [monitor(process, Proxy) || {_, Proxy, _, _} <- children()],
        ok = gen_event:add_handler(kv_event_manager, kv_test_handler, self()),
        ok = kv_registry:destroy(shop),
        ?assertEqual([normal], lists:usort([kv_test:down(Monitor) || Monitor <- Monitors])),
        Events = [receive {event, Event} -> Event end || _ <- Buckets],
        ?assertEqual([{exit, Name, Pid} || {Name, Pid} <- Buckets], lists:sort(Events))
    end).

its_supervisor_starts_it_again_without_names(Config) ->
    in_kv(Config, [{registry, [{durable, commit}]}], fun() ->
        ok = kv_registry:create(kv_registry, <<"eggs">>),
        Registry = whereis(kv_registry),
        ok = kv_registry:destroy(kv_registry),
        ok = kv_test:wait(fun() -> not lists:member(whereis(kv_registry), [undefined, Registry]) end),
        ?assertEqual([], kv_registry:names(kv_registry)),
        ok = kv_registry:create(kv_registry, <<"milk">>),
        ok = kill_program(kv_registry),
        ?assertEqual([<<"milk">>], kv_registry:names(kv_registry))
    end).

a_registry_is_destroyed_by_every_address(Config) ->
    with_shop(Config, fun() ->
        Addresses = [
            fun whereis/1,
            fun(Name) -> {Name, node()} end,
            fun(Name) -> yes = global:register_name(Name, whereis(Name)), {global, Name} end,
            fun(Name) -> {via, global, Name} end,
            fun(Name) -> kv_proxy:native(Name) end
        ],
        [
            begin
                true = unlink(whereis(shop)),
                ok = fill([<<"eggs">>]),
                Monitor = monitor(process, whereis(shop)),
                Address = Of(shop),
                _ = is_tuple(Address) andalso element(1, Address) =:= via andalso global:re_register_name(shop, whereis(shop)),
                ?assertEqual(ok, kv_registry:destroy(Address, [{timeout, 60000}])),
                ?assertEqual(normal, kv_test:down(Monitor)),
                {ok, _} = kv_test:wait(fun() -> started(start_shop()) end),
                ?assertEqual([], kv_registry:names(shop))
            end
         || Of <- Addresses
        ]
    end).

a_registry_that_makes_its_own_buckets_is_destroyed_with_them(Config) ->
    with_shop(Config, fun() ->
        {ok, Own} = kv_registry:start_link([{name, own}, {durable, interval}]),
        true = unlink(Own),
        {ok, Bucket} = kv_registry:lookup_or_create(own, <<"eggs">>),
        Monitor = monitor(process, Bucket),
        ok = kv_registry:destroy(own),
        ?assertEqual(normal, kv_test:down(Monitor)),
        {ok, _} = kv_registry:start_link([{name, own}, {durable, interval}]),
        ?assertEqual([], kv_registry:names(own))
    end).

names_of_other_registries_and_buckets_stay(Config) ->
    with_shop(Config, fun() ->
        {ok, _} = kv_registry:start_link([{name, stall}, {durable, commit}]),
        {ok, _} = kv_bucket:start_link([{name, eggs}, {durable, commit}]),
        {ok, Stalled} = kv_registry:lookup_or_create(stall, <<"eggs">>),
        [ok = kv_bucket:put(Bucket, key, 7) || Bucket <- [Stalled, eggs]],
        ok = fill([<<"eggs">>, <<"stall">>]),
        true = unlink(whereis(shop)),
        ok = kv_registry:destroy(shop),
        {ok, _} = start_shop(),
        ok = kill_program(),
        {ok, Found} = kv_registry:lookup(stall, <<"eggs">>),
        ?assertEqual([7, 7, []], [kv_bucket:get(Found, key), kv_bucket:get(eggs, key), kv_registry:names(shop)])
    end).

%%% By name

a_node_lists_its_durable_buckets_and_registries_with_and_without_a_process(Config) ->
    with_shop(Config, fun() ->
        ok = fill([<<"eggs">>, <<"milk">>]),
        ok = dormant(old, interval),
        {ok, Live} = kv_bucket:start_link([{name, live}, {durable, commit}]),
        {ok, _} = kv_bucket:start_link([{name, memory}]),
        ok = kv_bucket:put_many(Live, [{N, N} || N <- lists:seq(1, 5)]),
        [Of, Dormant, Shop] = by_name(),
        ?assertMatch(#{name := live, kind := bucket, durable := commit, size := 5, memory := Memory} when Memory > 0, Of),
        ?assertEqual(kv_proxy:native(Live), maps:get(pid, Of)),
        ?assertMatch(#{name := old, kind := bucket, durable := interval, size := 1, pid := dormant}, Dormant),
        ?assertMatch(#{name := shop, kind := registry, durable := commit, size := 2, memory := 0}, Shop),
        ?assertEqual(kv_proxy:native(shop), maps:get(pid, Shop)),
        ok = kill_program(shop),
        ok = kv_test:wait(fun() -> [maps:get(size, One) || One <- by_name()] =:= [5, 1, 2] end),
        ?assertExit({noproc, _}, kv_node:tables(no_such_node))
    end).

a_dormant_bucket_is_destroyed_by_its_name(Config) ->
    with_shop(Config, fun() ->
        ok = dormant(old, commit),
        ok = dormant(older, interval),
        ?assertEqual(ok, kv_node:destroy(old)),
        ?assertEqual(ok, kv_node:destroy(kv_node, <<"older">>)),
        ?assertMatch([#{name := shop}], kv_node:tables()),
        ok = kill_program(shop),
        ?assertMatch([#{name := shop}], kv_node:tables()),
        {ok, Old} = kv_bucket:start_link([{name, old}, {durable, commit}]),
        ?assertEqual(0, kv_bucket:size(Old))
    end).

a_dormant_registry_is_destroyed_by_its_name(Config) ->
    with_shop(Config, fun() ->
        ok = fill(names()),
        true = unlink(whereis(shop)),
        ok = kv_registry:stop(shop),
        ?assertMatch([#{name := shop, size := ?MANY, pid := dormant}], kv_node:tables()),
        ?assertEqual(ok, kv_node:destroy(kv_node, shop, 60000)),
        ?assertEqual([], kv_node:tables()),
        {ok, _} = start_shop(),
        ?assertEqual([], kv_registry:names(shop))
    end).

a_bucket_and_a_registry_with_a_process_are_destroyed_by_their_name(Config) ->
    with_shop(Config, fun() ->
        ok = fill([<<"eggs">>]),
        {ok, Live} = kv_bucket:start_link([{name, live}, {durable, commit}]),
        ok = kv_bucket:put(Live, 1, 1),
        Ends = [begin true = unlink(Pid), monitor(process, Pid) end || Pid <- [Live, whereis(shop)]],
        [?assertEqual(ok, kv_node:destroy(Name)) || Name <- [live, shop]],
        ?assertEqual([normal, normal], [kv_test:down(End) || End <- Ends]),
        ?assertEqual([], kv_node:tables())
    end).

a_name_that_the_folder_does_not_have_is_refused_in_words(Config) ->
    with_shop(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, memory}]),
        Text = <<"the data_dir has no bucket and no registry of this name">>,
        [?assertEqual({error, {unknown_name, Text}}, kv_node:destroy(Name)) || Name <- [memory, nothing, <<"nothing">>]],
        ?assertMatch({error, {unknown_name, _}}, kv_node:destroy('')),
        ?assertEqual(Text, kv_error:text({unknown_name, Text})),
        ?assertMatch([#{name := shop}], kv_node:tables()),
        ?assertEqual(0, kv_bucket:size(memory))
    end).

by_name() -> lists:sort(fun(#{name := One}, #{name := Other}) -> One =< Other end, kv_node:tables()).

dormant(Name, Policy) ->
    {ok, Bucket} = kv_bucket:start_link([{name, Name}, {durable, Policy}]),
    ok = kv_bucket:put(Bucket, 1, 1),
    true = unlink(Bucket),
    kv_bucket:stop(Bucket).

%%% Refusals

a_registry_in_memory_is_refused_in_words(Config) ->
    with_shop(Config, fun() ->
        {ok, Own} = kv_registry:start_link([]),
        ok = kv_registry:create(Own, <<"eggs">>),
        Refused = {error, {not_durable, <<"the registry keeps nothing on disk; stop ends it, and its names">>}},
        ?assertEqual([Refused, Refused], [kv_registry:destroy(Registry) || Registry <- [Own, kv_registry]]),
        ?assertEqual([<<"eggs">>], kv_registry:names(Own))
    end).

destroy_of_nothing_exits_as_every_call(_Config) ->
    [?assertExit({noproc, _}, kv_registry:destroy(Nobody)) || Nobody <- [nobody, {global, nobody}, {via, global, nobody}]],
    ?assertError(badarg, kv_registry:destroy(nobody, [{ttl, 1}])),
    ?assertError(badarg, kv_registry:destroy("nobody")).

%% The supervisor of its buckets starts one late.
requests_that_wait_meanwhile_exit_with_the_registry(Config) ->
    in_kv(Config, fun() ->
        Start = {start_bucket, {?MODULE, start_never, [self()]}},
        {ok, Shop} = kv_registry:start_link([{name, shop}, {durable, commit}, Start]),
        true = unlink(Shop),
        {_, Caller} = spawn_monitor(fun() -> kv_registry:create(shop, <<"eggs">>, [{timeout, infinity}]) end),
        receive asked_for -> ok end,
        ok = kv_registry:destroy(shop),
        ?assertMatch({normal, _}, kv_test:down(Caller)),
        {ok, _} = kv_registry:start_link([{name, shop}, {durable, commit}]),
        ?assertEqual([], kv_registry:names(shop))
    end).

start_never(Test, _Options) ->
    Test ! asked_for,
    receive
        never -> {error, never}
    end.

%% The checkpoint has the names, and the log behind it their end.
after_a_checkpoint_the_names_are_gone_as_well(Config) ->
    in_kv(Config, [{checkpoint_log, 1 bsl 20}], fun() ->
        {ok, Shop} = start_shop(),
        true = unlink(Shop),
        ok = fill(names()),
        Blob = binary:copy(<<"b">>, 1 bsl 16),
        ok = kv_test:wait(fun() ->
            ok = kv_bucket:put(bucket(hd(names())), blob, Blob),
            map_get(last_checkpoint_ms, map_get(disk, kv_node:info())) =/= undefined
        end),
        ok = kv_registry:destroy(shop),
        {ok, _} = start_shop(),
        ok = fill([<<"eggs">>]),
        ok = kill_program(),
        ?assertEqual([<<"eggs">>], kv_registry:names(shop))
    end).

%% The kill comes at a moment of its own each time.
a_kill_in_the_middle_leaves_all_names_or_none(Config) ->
    with_shop(Config, fun() ->
        _ = process_flag(trap_exit, true),
        Left = [kill_while_destroyed(Round) || Round <- lists:seq(1, ?KILLS)],
        io:format(user, "names left: ~w~n", [Left]),
        ?assertEqual([], lists:usort(Left) -- [0, ?MANY])
    end).

kill_while_destroyed(Round) ->
    true = unlink(whereis(shop)),
    ok = fill_again(),
    [Eggs | _] = Names = names(),
    OsPid = kv_node:os_pid(),
    {_, Killer} = spawn_monitor(fun() -> kv_test:signal("KILL", OsPid) end),
    ok = spin((Round - 1) * 500),
    {_, Caller} = spawn_monitor(fun() -> exit({answer, kv_test:attempt(fun() -> kv_registry:destroy(shop, [{timeout, 60000}]) end)}) end),
    normal = kv_test:down(Killer),
    {answer, Answer} = kv_test:down(Caller),
    Left = kv_test:patient(fun() -> _ = start_shop(), kv_registry:count(shop) end, 2000),
    ?assert(Answer =/= ok orelse Left =:= 0),
    ?assertEqual([], [Name || Left =:= ?MANY, Name <- [Eggs, lists:last(Names)], kv_bucket:get(bucket(Name), key) =/= Name]),
    Left.

fill_again() -> kv_test:wait(fun() -> try fill(names()) catch error:_ -> false end end, 60000).

%% So many microseconds.
spin(Us) -> spin(erlang:monotonic_time(microsecond) + Us, us).

spin(Until, us) ->
    case erlang:monotonic_time(microsecond) < Until of
        true -> spin(Until, us);
        false -> ok
    end.

%%% Support

in_kv(Config, Fun) -> in_kv(Config, [], Fun).

in_kv(Config, Environment, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(
            Vm,
            fun() ->
                ok = kv_test:start_kv([{data_dir, filename:join(?config(home, Config), "data")} | Environment]),
                {ok, _} = kv_bucket_sup:start_link(stand),
                Fun()
            end,
            170000
        )
    after
        ok = kv_test:stop_vm(Vm)
    end.

with_shop(Config, Fun) ->
    in_kv(Config, fun() ->
        {ok, _} = start_shop(),
        Fun()
    end).

start_shop() -> start_shop([]).

start_shop(Options) ->
    Start = {start_bucket, {kv_bucket_sup, start_bucket, [stand]}},
    kv_registry:start_link([{name, shop}, {durable, commit}, Start | Options]).

%% A name is free once the process that had it has ended.
started({error, {already_started, _}}) -> false;
started(Started) -> Started.

names() -> [integer_to_binary(N) || N <- lists:seq(1, ?MANY)].

%% Each bucket has its name as a value. All callers at once, so that they share commits.
fill(Names) ->
    Fill = fun(Name) ->
        {ok, Bucket} = kv_registry:lookup_or_create(shop, Name, [{timeout, 60000}]),
        ok = kv_bucket:put(Bucket, key, Name, [{timeout, 60000}])
    end,
    Callers = [spawn_monitor(fun() -> Fill(Name) end) || Name <- Names],
    [] = [Reason || {_, Monitor} <- Callers, Reason <- [kv_test:down(Monitor)], Reason =/= normal],
    ok.

bucket(Name) ->
    {ok, Bucket} = kv_registry:lookup(shop, Name),
    Bucket.

children() -> supervisor:which_children(stand).

kill_program() -> kill_program(shop).

%% Returns once the registry is on the next program.
kill_program(Registry) ->
    Native = kv_proxy:native(Registry),
    ok = kv_test:signal("KILL", kv_node:os_pid()),
    kv_test:wait(fun() -> try not lists:member(kv_proxy:native(Registry), [undefined, Native]) catch _:_ -> false end end).
