%% @doc Durable registries: names that survive the bucket, the registry, the program and the VM, and buckets that are attached when
%% somebody asks for them.
-module(kv_durable_registry_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% KV_NAMES sets how many names a start finds.
-define(NAMES, "3000").

suite() -> [{timetrap, {seconds, 120 + names() div 200}}].

all() ->
    [
        {group, options},
        {group, names},
        {group, alone},
        {group, restarts},
        {group, tree}
    ].

groups() ->
    [
        {options, [], [
            a_durable_registry_without_a_name_is_refused_in_words,
            a_name_that_may_mean_another_registry_tomorrow_is_refused_in_words,
            a_node_without_a_folder_has_no_durable_registry,
            a_durable_bucket_in_a_volatile_registry_is_refused_in_words,
            a_volatile_registry_does_not_hide_a_durable_one,
            a_bucket_and_a_registry_on_disk_do_not_share_a_name,
            a_second_registry_of_the_name_is_refused_with_the_first,
            a_durable_registry_has_no_function_that_fills_it,
            nobody_gives_a_bucket_the_place_of_another_by_a_misspelt_option
        ]},
        {names, [], [
            the_policy_of_a_bucket_is_that_of_its_registry_unless_create_says_another,
            a_bucket_that_ends_keeps_its_name_and_its_entries,
            create_of_a_name_without_a_process_attaches_and_ignores_options,
            the_limits_of_a_bucket_come_back_with_it,
            callers_of_one_name_get_one_bucket,
            names_list_and_count_show_names_without_a_process,
            metadata_stays_with_the_name,
            a_name_without_a_process_is_renamed,
            a_bucket_that_is_renamed_keeps_its_entries_after_its_end,
            delete_drops_the_entries_with_or_without_a_process,
            destroy_of_a_bucket_takes_its_name_away,
            a_volatile_bucket_takes_its_name_along,
            any_binary_up_to_the_limit_is_a_durable_name,
            a_bucket_that_cannot_be_attached_tells_everybody_why_and_keeps_its_name,
            handlers_that_asked_hear_of_a_bucket_that_is_restored
        ]}
    ] ++ [
        {alone, [], [
            a_registry_that_is_killed_loses_no_name_and_no_bucket,
            a_bucket_that_ends_while_its_registry_is_away_is_told_of_later,
            a_registry_without_a_supervisor_of_buckets_ends_with_them_and_attaches_again,
            a_registry_that_is_stopped_comes_back_with_its_names
        ]},
        {restarts, [], [
            a_program_that_is_killed_loses_no_name,
            the_loss_of_the_program_is_no_loss_of_what_a_durable_registry_keeps,
            a_vm_that_is_killed_loses_no_name,
            a_rename_is_whole_or_not_at_all,
            a_bucket_that_was_asked_for_before_the_end_of_the_program_makes_no_name_after_it,
            a_bucket_that_was_asked_for_before_the_end_of_the_program_keeps_nobody_waiting,
            many_names_do_not_delay_a_start
        ]},
        {tree, [], [
            the_registry_of_the_tree_is_durable_by_the_environment,
            wrong_options_of_the_registry_are_refused_in_words,
            a_tree_without_a_folder_says_so
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Options

a_durable_registry_without_a_name_is_refused_in_words(_Config) ->
    Text = <<"a durable registry needs a name, by which its names are found again; give a name that is an atom">>,
    [
        ?assertEqual({error, {bad_option, durable, Text}}, kv_registry:start_link([{durable, commit} | Nameless]))
     || Nameless <- [[], [{name, undefined}], [{name, nil}]]
    ],
    ?assertMatch({error, {bad_option, durable, <<"the name of a durable registry must not", _/binary>>}}, durable('')).

a_name_that_may_mean_another_registry_tomorrow_is_refused_in_words(_Config) ->
    [
        ?assertMatch({error, {bad_option, durable, <<"the name of a durable registry must be an atom, ", _/binary>>}}, durable(Name))
     || Name <- [{global, shop}, {via, global, shop}]
    ].

a_node_without_a_folder_has_no_durable_registry(Config) ->
    in_kv(Config, [], fun() ->
        {error, {no_data_dir, Text}} = durable(shop),
        ?assertMatch(<<"kv_node has no folder for durable buckets: give it one with its option data_dir", _/binary>>, Text),
        ?assertEqual(undefined, whereis(shop))
    end).

a_durable_bucket_in_a_volatile_registry_is_refused_in_words(Config) ->
    in_kv(Config, fun() ->
        Refused = {error, {bad_option, durable, <<"durable must be false, since the registry is not durable itself, and is commit">>}},
        {ok, Own} = kv_registry:start_link([]),
        [
            ?assertEqual(
                {Refused, ok, error},
                {
                    kv_registry:create(Registry, <<"a">>, [{durable, commit}]),
                    kv_registry:create(Registry, <<"b">>, [{durable, false}]),
                    kv_registry:lookup(Registry, <<"a">>)
                }
            )
         || Registry <- [kv_registry, Own]
        ]
    end).

a_volatile_registry_does_not_hide_a_durable_one(Config) ->
    in_kv(Config, fun() ->
        {ok, Registry} = durable(shop),
        ok = stop(Registry),
        ?assertEqual(
            {error, {bad_option, durable,
                <<"the data_dir has a durable registry of this name; give the option durable, or choose another name">>}},
            ends(fun() -> kv_registry:start_link([{name, shop}]) end)
        ),
        {ok, _} = kv_registry:start_link([{name, another}])
    end).

a_bucket_and_a_registry_on_disk_do_not_share_a_name(Config) ->
    in_kv(Config, fun() ->
        {ok, Registry} = durable(shop),
        ok = stop(Registry),
        {ok, Bucket} = kv_bucket:start_link([{name, eggs}, {durable, commit}]),
        ok = stop(Bucket),
        ?assertMatch(
            {error, {bad_option, durable, <<"the data_dir has a durable registry of this name;", _/binary>>}},
            ends(fun() -> kv_bucket:start_link([{name, shop}, {durable, commit}]) end)
        ),
        ?assertMatch(
            {error, {bad_option, durable, <<"the data_dir has a durable bucket of this name;", _/binary>>}},
            ends(fun() -> durable(eggs) end)
        )
    end).

a_second_registry_of_the_name_is_refused_with_the_first(Config) ->
    in_kv(Config, fun() ->
        {ok, Registry} = durable(shop),
        ?assertEqual({error, {already_started, Registry}}, durable(shop)),
        %% Also one of another VM, or of no VM at all.
        Native = kv_proxy:native(Registry),
        Options = [{owner, self()}, {durable, commit}, {store, {<<>>, <<"shop">>}}],
        _ = spawn_request(node(Native), kv_registry, init, [Options], [monitor]),
        ?assertEqual({error, {already_started, Native}}, receive {ack, _, Answer} -> Answer end)
    end).

a_durable_registry_has_no_function_that_fills_it(_Config) ->
    ?assertMatch(
        {error, {bad_option, fill, <<"fill is for a registry that comes back empty; ", _/binary>>}},
        kv_registry:start_link([{name, shop}, {durable, commit}, {fill, {erlang, is_pid, []}}])
    ).

nobody_gives_a_bucket_the_place_of_another_by_a_misspelt_option(_Config) ->
    ?assertMatch({error, {bad_option, stor, <<"there is no option stor", _/binary>>}}, kv_bucket:start_link([{stor, 1}])),
    ?assertMatch({error, {bad_option, store, _}}, kv_registry:create(kv_registry, <<"a">>, [{store, {<<>>, <<"a">>}}])).

%%% Names

the_policy_of_a_bucket_is_that_of_its_registry_unless_create_says_another(Config) ->
    with_shop(Config, fun() ->
        ok = kv_registry:create(shop, <<"eggs">>),
        ok = kv_registry:create(shop, <<"milk">>, [{durable, false}]),
        ok = kv_registry:create(shop, <<"tea">>, [{durable, commit}]),
        [ok = stop_bucket(Name) || Name <- [<<"eggs">>, <<"milk">>, <<"tea">>]],
        ?assertEqual([<<"eggs">>, <<"tea">>], lists:sort(kv_registry:names(shop)))
    end).

a_bucket_that_ends_keeps_its_name_and_its_entries(Config) ->
    with_shop(Config, fun() ->
        lists:foldl(
            fun(End, Expected) ->
                {ok, Bucket} = kv_registry:lookup_or_create(shop, <<"eggs">>),
                ?assertEqual(Expected, kv_bucket:get(Bucket, count)),
                ?assertEqual(1, kv_bucket:generation(Bucket)),
                Next = if Expected =:= nil; Expected =:= undefined -> 1; true -> Expected + 1 end,
                ok = kv_bucket:put(Bucket, count, Next),
                ok = ended(Bucket, End),
                ?assertExit({noproc, _}, kv_bucket:get(Bucket, count)),
                {ok, Other} = kv_registry:lookup(shop, <<"eggs">>),
                ?assertNotEqual(Bucket, Other),
                ?assertEqual({ok, Other}, kv_registry:lookup(shop, <<"eggs">>)),
                Next
            end,
            undefined,
            [
                fun(Bucket) -> kv_bucket:stop(Bucket) end,
                fun(Bucket) -> kv_bucket:stop(Bucket, shutdown) end,
                fun(Bucket) -> exit(Bucket, kill) end,
                fun(Bucket) -> exit(proxy_of(Bucket), kill) end,
                fun(Bucket) -> gen_server:stop(proxy_of(Bucket)) end
            ]
        )
    end).

create_of_a_name_without_a_process_attaches_and_ignores_options(Config) ->
    with_shop(Config, fun() ->
        ok = kv_registry:create(shop, <<"eggs">>, [{max_entries, 5}, {meta, brown}]),
        {ok, Bucket} = kv_registry:lookup(shop, <<"eggs">>),
        ok = kv_bucket:put(Bucket, a, 1),
        ok = ended(Bucket, fun kv_bucket:stop/1),
        ok = kv_registry:create(shop, <<"eggs">>, [{max_entries, 1}, {durable, false}, {meta, white}]),
        {ok, Next} = kv_registry:lookup(shop, <<"eggs">>),
        ?assertEqual([1, 5], [kv_bucket:get(Next, a), maps:get(max_entries, kv_bucket:stats(Next))]),
        ?assertEqual({ok, brown}, kv_registry:meta(shop, <<"eggs">>))
    end).

the_limits_of_a_bucket_come_back_with_it(Config) ->
    with_shop(Config, fun() ->
        Given = [{max_memory, 1 bsl 20}, {max_entries, 7}, {ttl, 600000}, {evict, lru}, {touch_on_read, true}],
        ok = kv_registry:create(shop, <<"eggs">>, Given),
        Limits = fun() ->
            {ok, Bucket} = kv_registry:lookup(shop, <<"eggs">>),
            {Bucket, maps:with([max_memory, max_entries, ttl, evict, touch_on_read], kv_bucket:stats(Bucket))}
        end,
        {Bucket, Before} = Limits(),
        ok = ended(Bucket, fun kv_bucket:stop/1),
        {_, After} = Limits(),
        ?assertEqual(Before, After),
        ?assertMatch(#{max_entries := 7}, After)
    end).

callers_of_one_name_get_one_bucket(Config) ->
    with_shop(Config, fun() ->
        ok = kv_registry:create(shop, <<"eggs">>),
        [
            begin
                ok = stop_bucket(<<"eggs">>),
                Ask = fun
                    (N) when N rem 2 =:= 0 -> kv_registry:lookup(shop, <<"eggs">>);
                    (_) -> kv_registry:lookup_or_create(shop, <<"eggs">>)
                end,
                Callers = [spawn_monitor(fun() -> exit({found, Ask(N)}) end) || N <- lists:seq(1, 20)],
                Found = [receive {'DOWN', Monitor, _, _, {found, Answer}} -> Answer end || {_, Monitor} <- Callers],
                ?assertMatch([{ok, _}], lists:usort(Found))
            end
         || _ <- lists:seq(1, 5)
        ]
    end).

names_list_and_count_show_names_without_a_process(Config) ->
    with_shop(Config, fun() ->
        Names = [<<"a:1">>, <<"a:2">>, <<"b:1">>],
        [ok = kv_registry:create(shop, Name) || Name <- Names],
        {ok, B} = kv_registry:lookup(shop, <<"b:1">>),
        ok = stop_bucket(<<"a:1">>),
        ?assertEqual(Names, lists:sort(kv_registry:names(shop))),
        ?assertEqual([<<"a:1">>, <<"a:2">>], lists:sort(kv_registry:names(shop, [{prefix, <<"a:">>}]))),
        ?assertMatch([{<<"a:1">>, dormant}, {<<"a:2">>, _}, {<<"b:1">>, B}], lists:sort(kv_registry:list(shop))),
        ?assertEqual([{<<"a:1">>, dormant}], kv_registry:list(shop, [{prefix, <<"a:1">>}])),
        ?assertEqual([3, 2], [kv_registry:count(shop), kv_registry:count(shop, [{prefix, <<"a:">>}])]),
        ?assertMatch(#{<<"a:1">> := dormant, <<"b:1">> := B}, sys:get_state(kv_proxy:native(shop))),
        %% None of these has attached a process.
        ?assertEqual([{<<"a:1">>, dormant}], kv_registry:list(shop, [{prefix, <<"a:1">>}]))
    end).

metadata_stays_with_the_name(Config) ->
    with_shop(Config, fun() ->
        Large = binary:copy(<<"x">>, 60000),
        ok = kv_registry:create(shop, <<"eggs">>, [{meta, {brown, 6}}]),
        ok = kv_registry:create(shop, <<"milk">>),
        ok = stop_bucket(<<"eggs">>),
        ok = stop_bucket(<<"milk">>),
        ?assertEqual({ok, {brown, 6}}, kv_registry:meta(shop, <<"eggs">>)),
        ?assertEqual(error, kv_registry:meta(shop, <<"milk">>)),
        ok = kv_registry:put_meta(shop, <<"milk">>, Large),
        ?assertEqual([{<<"eggs">>, dormant}, {<<"milk">>, dormant}], lists:sort(kv_registry:list(shop))),
        ok = restart_registry(),
        ?assertEqual([{ok, {brown, 6}}, {ok, Large}], [kv_registry:meta(shop, Name) || Name <- [<<"eggs">>, <<"milk">>]]),
        ok = kill_program(),
        ?assertEqual([{ok, {brown, 6}}, {ok, Large}], [kv_registry:meta(shop, Name) || Name <- [<<"eggs">>, <<"milk">>]]),
        {ok, _} = kv_registry:lookup(shop, <<"milk">>),
        ?assertEqual({ok, Large}, kv_registry:meta(shop, <<"milk">>))
    end).

a_name_without_a_process_is_renamed(Config) ->
    with_shop(Config, fun() ->
        ok = fill(<<"eggs">>, 7),
        ok = fill(<<"milk">>, 8),
        ok = stop_bucket(<<"eggs">>),
        ?assertEqual({error, name_taken}, kv_registry:rename(shop, <<"eggs">>, <<"milk">>)),
        ok = stop_bucket(<<"milk">>),
        ?assertEqual({error, name_taken}, kv_registry:rename(shop, <<"eggs">>, <<"milk">>)),
        ?assertEqual(ok, kv_registry:rename(shop, <<"eggs">>, <<"omelette">>)),
        ?assertEqual(error, kv_registry:lookup(shop, <<"eggs">>)),
        ?assertEqual([7, 8], [filled(<<"omelette">>), filled(<<"milk">>)])
    end).

a_bucket_that_is_renamed_keeps_its_entries_after_its_end(Config) ->
    with_shop(Config, fun() ->
        ok = fill(<<"eggs">>, 7),
        ok = kv_registry:put_meta(shop, <<"eggs">>, brown),
        ok = kv_registry:rename(shop, <<"eggs">>, <<"omelette">>),
        {ok, Bucket} = kv_registry:lookup(shop, <<"omelette">>),
        ok = kv_bucket:put(Bucket, after_it, 1),
        ok = ended(Bucket, fun(_) -> exit(Bucket, kill) end),
        ok = fill(<<"eggs">>, 9),
        ok = kill_program(),
        ?assertEqual([7, 9], [filled(<<"omelette">>), filled(<<"eggs">>)]),
        {ok, Next} = kv_registry:lookup(shop, <<"omelette">>),
        ?assertEqual(1, kv_bucket:get(Next, after_it)),
        ?assertEqual([{ok, brown}, error], [kv_registry:meta(shop, Name) || Name <- [<<"omelette">>, <<"eggs">>]])
    end).

delete_drops_the_entries_with_or_without_a_process(Config) ->
    with_shop(Config, fun() ->
        [ok = fill(Name, 7) || Name <- [<<"eggs">>, <<"milk">>]],
        ok = stop_bucket(<<"milk">>),
        [?assertEqual(ok, kv_registry:delete(shop, Name)) || Name <- [<<"eggs">>, <<"milk">>]],
        [?assertEqual(error, kv_registry:delete(shop, Name)) || Name <- [<<"eggs">>, <<"milk">>]],
        ?assertEqual([[], 0], [kv_registry:names(shop), kv_registry:count(shop)]),
        ok = kv_registry:create(shop, <<"eggs">>),
        ?assertEqual(undefined, filled(<<"eggs">>)),
        ok = kill_program(),
        ?assertEqual([<<"eggs">>], kv_registry:names(shop)),
        ?assertEqual(undefined, filled(<<"eggs">>))
    end).

destroy_of_a_bucket_takes_its_name_away(Config) ->
    with_shop(Config, fun() ->
        ok = fill(<<"eggs">>, 7),
        {ok, Bucket} = kv_registry:lookup(shop, <<"eggs">>),
        ok = kv_bucket:destroy(Bucket),
        ?assertEqual([error, 0], [kv_registry:lookup(shop, <<"eggs">>), kv_registry:count(shop)]),
        ok = kill_program(),
        ?assertEqual(error, kv_registry:lookup(shop, <<"eggs">>))
    end).

a_volatile_bucket_takes_its_name_along(Config) ->
    with_shop(Config, fun() ->
        ok = kv_registry:create(shop, <<"eggs">>, [{durable, false}]),
        ok = stop_bucket(<<"eggs">>),
        ?assertEqual([error, 0], [kv_registry:lookup(shop, <<"eggs">>), kv_registry:count(shop)]),
        ok = kv_registry:create(shop, <<"eggs">>, [{durable, false}]),
        ok = kill_program(),
        ?assertEqual([error, 0], [kv_registry:lookup(shop, <<"eggs">>), kv_registry:count(shop)])
    end).

any_binary_up_to_the_limit_is_a_durable_name(Config) ->
    with_shop(Config, fun() ->
        Names = [<<>>, <<0, 255>>, binary:copy(<<"n">>, 65536)],
        [ok = fill(Name, byte_size(Name)) || Name <- Names],
        ok = kill_program(),
        ?assertEqual([0, 2, 65536], [filled(Name) || Name <- Names]),
        ?assertEqual({error, {name_too_long, 65537}}, kv_registry:create(shop, binary:copy(<<"n">>, 65537)))
    end).

%% The supervisor of its buckets is away.
a_bucket_that_cannot_be_attached_tells_everybody_why_and_keeps_its_name(Config) ->
    in_kv(Config, fun() ->
        {ok, Buckets} = kv_bucket_sup:start_link(stand),
        {ok, _} = kv_registry:start_link([{name, shop}, {durable, commit}, {start_bucket, {kv_bucket_sup, start_bucket, [stand]}}]),
        ok = fill(<<"eggs">>, 7),
        true = unlink(Buckets),
        ok = gen_server:stop(Buckets),
        ?assertMatch({error, {no_supervisor, _}}, kv_registry:lookup(shop, <<"eggs">>)),
        ?assertMatch({error, {no_supervisor, _}}, kv_registry:create(shop, <<"eggs">>)),
        ?assertEqual([{<<"eggs">>, dormant}], kv_registry:list(shop)),
        {ok, _} = kv_bucket_sup:start_link(stand),
        ?assertEqual(7, filled(<<"eggs">>))
    end).

handlers_that_asked_hear_of_a_bucket_that_is_restored(Config) ->
    in_kv(Config, fun() ->
        {ok, _} = start_shop([{event_manager, kv_event_manager}]),
        ok = kv_event_manager:add_handler(kv_event_manager, kv_test_handler, {asked, self()}, [restored]),
        ok = kv_event_manager:add_handler(kv_event_manager, {kv_test_handler, 2}, {lost, self()}, [lost]),
        ok = gen_event:add_handler(kv_event_manager, {kv_test_handler, 3}, {plain, self()}),
        ok = kv_registry:create(shop, <<"eggs">>),
        {ok, Bucket} = kv_registry:lookup(shop, <<"eggs">>),
        ok = ended(Bucket, fun kv_bucket:stop/1),
        {ok, Next} = kv_registry:lookup(shop, <<"eggs">>),
        Events = fun(Tag, Many) -> [receive {{Tag, event}, Event} -> Event end || _ <- lists:seq(1, Many)] end,
        Plain = [{create, <<"eggs">>, Bucket}, {exit, <<"eggs">>, Bucket}, {create, <<"eggs">>, Next}],
        ?assertEqual(Plain ++ [{restored, <<"eggs">>, Next}], Events(asked, 4)),
        ok = gen_event:sync_notify(kv_event_manager, last),
        ?assertEqual(Plain ++ [last], Events(plain, 4)),
        ?assertEqual(Plain ++ [last], Events(lost, 4))
    end).

%%% The registry ends alone

a_registry_that_is_killed_loses_no_name_and_no_bucket(Config) ->
    with_shop(Config, fun() ->
        [ok = fill(Name, 7) || Name <- [<<"eggs">>, <<"tea">>]],
        ok = kv_registry:create(shop, <<"milk">>, [{durable, false}, {meta, fresh}]),
        Buckets = [{Name, bucket(Name)} || Name <- [<<"eggs">>, <<"milk">>]],
        ok = stop_bucket(<<"tea">>),
        [
            begin
                ok = kill_registry(Which),
                ?assertEqual(Buckets ++ [{<<"tea">>, dormant}], lists:sort(kv_registry:list(shop))),
                ?assertEqual({ok, fresh}, kv_registry:meta(shop, <<"milk">>)),
                [?assertEqual({ok, Bucket}, kv_registry:lookup(shop, Name)) || {Name, Bucket} <- Buckets],
                ?assertEqual(1, kv_registry:generation(shop))
            end
         || _ <- lists:seq(1, 3), Which <- [proxy, native]
        ],
        ?assertEqual([7, 7], [filled(Name) || Name <- [<<"eggs">>, <<"tea">>]]),
        ok = stop_bucket(<<"milk">>),
        ok = stop_bucket(<<"eggs">>),
        ?assertMatch([{<<"eggs">>, dormant}, {<<"tea">>, _}], lists:sort(kv_registry:list(shop)))
    end).

a_bucket_that_ends_while_its_registry_is_away_is_told_of_later(Config) ->
    in_kv(Config, fun() ->
        {ok, Registry} = start_shop([{event_manager, kv_event_manager}]),
        ok = kv_registry:create(shop, <<"eggs">>),
        ok = kv_registry:create(shop, <<"milk">>, [{durable, false}]),
        Buckets = [{Name, bucket(Name)} || Name <- [<<"eggs">>, <<"milk">>]],
        ok = stop(Registry),
        [ok = ended(Bucket, fun(_) -> exit(Bucket, kill) end) || {_, Bucket} <- Buckets],
        ok = gen_event:add_handler(kv_event_manager, kv_test_handler, self()),
        {ok, _} = start_shop([{event_manager, kv_event_manager}]),
        Events = [receive {event, Event} -> Event end || _ <- Buckets],
        ?assertEqual([{exit, Name, Bucket} || {Name, Bucket} <- Buckets], lists:sort(Events)),
        ?assertEqual([{<<"eggs">>, dormant}], kv_registry:list(shop))
    end).

a_registry_without_a_supervisor_of_buckets_ends_with_them_and_attaches_again(Config) ->
    in_kv(Config, fun() ->
        {ok, Registry} = durable(shop),
        [ok = fill(Name, 7) || Name <- [<<"eggs">>, <<"tea">>]],
        ok = kv_registry:create(shop, <<"milk">>, [{durable, false}]),
        Bucket = bucket(<<"eggs">>),
        true = unlink(Registry),
        ok = ended(Bucket, fun(_) -> exit(Registry, kill) end),
        {ok, _} = kv_test:wait(fun() -> started(durable(shop)) end),
        ?assertEqual([<<"eggs">>, <<"tea">>], lists:sort(kv_registry:names(shop))),
        ?assertEqual([7, 7], [filled(Name) || Name <- [<<"eggs">>, <<"tea">>]]),
        ?assertNotEqual(Bucket, bucket(<<"eggs">>)),
        ok = ended(bucket(<<"tea">>), fun kv_bucket:stop/1),
        ?assertEqual(7, filled(<<"tea">>))
    end).

a_registry_that_is_stopped_comes_back_with_its_names(Config) ->
    with_shop(Config, fun() ->
        ok = fill(<<"eggs">>, 7),
        ok = kv_registry:create(shop, <<"milk">>, [{durable, false}]),
        Buckets = lists:sort(kv_registry:list(shop)),
        ok = restart_registry(),
        ?assertEqual(Buckets, lists:sort(kv_registry:list(shop)))
    end).

%%% The program and the VM end

a_program_that_is_killed_loses_no_name(Config) ->
    with_shop(Config, fun() ->
        Names = [integer_to_binary(N) || N <- lists:seq(1, 20)],
        [ok = fill(Name, Name) || Name <- Names],
        Registry = whereis(shop),
        [
            begin
                Old = bucket(<<"1">>),
                ok = kill_program(),
                ?assertExit({noproc, _}, kv_bucket:get(Old, key)),
                ?assertEqual(Registry, whereis(shop)),
                ?assertEqual(lists:sort([{Name, dormant} || Name <- Names]), lists:sort(kv_registry:list(shop))),
                ?assertEqual(Names, [filled(Name) || Name <- Names]),
                ?assertEqual([1, 1], [kv_registry:generation(shop), kv_bucket:generation(bucket(<<"1">>))])
            end
         || _ <- lists:seq(1, 3)
        ]
    end).

%% The policy of a bucket may be that of its registry, or of `create'.
the_loss_of_the_program_is_no_loss_of_what_a_durable_registry_keeps(Config) ->
    [the_loss_is_no_loss(Config, Policy) || Policy <- [commit, interval]].

the_loss_is_no_loss(Config, Policy) ->
    Folder = filename:join(?config(home, Config), Policy),
    in_kv(Config, [{data_dir, Folder}], fun() ->
        ok = kv_event_manager:add_handler(kv_event_manager, kv_test_handler, {events, self()}, [lost]),
        Start = {start_bucket, {kv_bucket_sup, start_bucket, [kv_bucket_sup]}},
        {ok, _} = kv_registry:start_link([{name, shop}, {durable, Policy}, Start]),
        ok = kv_registry:create(shop, <<"eggs">>),
        ok = kv_registry:create(shop, <<"milk">>, [{durable, commit}]),
        ok = kv_registry:create(shop, <<"cache">>, [{durable, false}]),
        ok = fill(<<"eggs">>, 12),
        ok = kv_test:wait(fun() -> held() =:= {1, 1, 2} andalso as_held_is_known(2) end),
        ok = kv_test_log:listen(warning, fun(#{level := Level}) -> Level =:= warning end),
        ok = kill_program(),
        Line = lost_line(),
        ?assertMatch({match, _}, re:run(Line, "what it held: 1 bucket, 1 registry as of .* ago; by name: kv_registry, <<\"cache\">>; "), Line),
        ?assertMatch({match, _}, re:run(Line, "; 2 durable buckets come back from "), Line),
        Lost = fun() -> receive {{events, event}, {lost, Name, _}} -> Name end end,
        ?assertEqual([kv_registry, <<"cache">>], lists:sort([Lost(), Lost()])),
        ok = gen_event:sync_notify(kv_event_manager, last),
        ?assertEqual([], [Name || {{events, event}, {lost, Name, _}} <- kv_test:mailbox()]),
        %% The supervisor of the buckets may just be starting again.
        ok = kv_test:wait(fun() -> kv_registry:lookup(shop, <<"eggs">>) =/= {error, noproc} end),
        ?assertEqual(12, filled(<<"eggs">>)),
        ?assertEqual(error, kv_registry:lookup(shop, <<"cache">>))
    end).

%% Volatile buckets and registries, and durable buckets.
held() ->
    {kv_totals, Buckets, Registries, _, _, Durable} = gen_server:call({net_kernel, kv_node:name()}, kv_totals),
    {Buckets, Registries, Durable}.

%% The node asks for the totals once a second.
as_held_is_known(Durable) ->
    string:find(io_lib:format("~0p", [sys:get_state(kv_node)]), "durable => " ++ integer_to_list(Durable)) =/= nomatch.

lost_line() ->
    receive
        {line, {_, Line}} ->
            case string:find(Line, "is lost") of
                nomatch -> lost_line();
                _ -> Line
            end
    end.

a_vm_that_is_killed_loses_no_name(Config) ->
    Names = [integer_to_binary(N) || N <- lists:seq(1, 20)],
    [
        begin
            Vm = kv_test:start_vm(Config),
            kv_test:in(Vm, fun() ->
                ok = start_kv(Config),
                {ok, Buckets} = kv_bucket_sup:start_link(stand),
                {ok, Registry} = start_shop([]),
                true = unlink(Buckets),
                true = unlink(Registry),
                Found = lists:sort(kv_registry:list(shop)),
                ?assertEqual([{Name, dormant} || Round > 1, Name <- lists:sort(Names)], Found),
                [?assertEqual({Round - 1, Name}, filled(Name)) || Round > 1, Name <- Names],
                [ok = fill(Name, {Round, Name}) || Name <- Names]
            end),
            _ = unlink(Vm),
            Monitor = monitor(process, Vm),
            kv_test:signal("KILL", kv_test:vm_os_pid(Vm)),
            _ = kv_test:down(Monitor)
        end
     || Round <- lists:seq(1, 3)
    ].

%% Its supervisor starts it late.
a_bucket_that_was_asked_for_before_the_end_of_the_program_makes_no_name_after_it(Config) ->
    with_slow_shop(Config, fun() ->
        Late = asked_for_before_a_kill(<<"eggs">>),
        ok = let_go(Late),
        ?assertEqual([], kv_registry:names(shop)),
        ok = kill_program(),
        ?assertEqual([], kv_registry:names(shop))
    end).

a_bucket_that_was_asked_for_before_the_end_of_the_program_keeps_nobody_waiting(Config) ->
    with_slow_shop(Config, fun() ->
        Late = asked_for_before_a_kill(<<"eggs">>),
        {Next, Caller} = ask_for(<<"eggs">>),
        ok = let_go(Next),
        ?assertEqual(ok, kv_test:down(Caller)),
        Bucket = bucket(<<"eggs">>),
        ok = let_go(Late),
        ?assertEqual([{<<"eggs">>, Bucket}], kv_registry:list(shop)),
        ok = kv_bucket:put(Bucket, key, 7)
    end).

with_slow_shop(Config, Fun) ->
    in_kv(Config, fun() ->
        {ok, _} = kv_bucket_sup:start_link(stand),
        Start = {start_bucket, {?MODULE, start_when_told, [self()]}},
        {ok, _} = kv_registry:start_link([{name, shop}, {durable, commit}, Start]),
        Fun()
    end).

start_when_told(Test, Options) ->
    Test ! {asked_for, self()},
    receive
        go -> kv_bucket_sup:start_bucket(stand, Options)
    end.

%% Returns the process that creates the bucket, and a monitor of the caller.
ask_for(Name) ->
    {_, Monitor} = spawn_monitor(fun() -> exit(kv_registry:create(shop, Name, [{timeout, 60000}])) end),
    receive
        {asked_for, Creator} -> {Creator, Monitor}
    after 10000 -> error(not_asked_for)
    end.

asked_for_before_a_kill(Name) ->
    {Late, Caller} = ask_for(Name),
    ok = kill_program(),
    ?assertNotEqual(ok, kv_test:down(Caller)),
    Late.

%% Returns once the process that creates the bucket has ended.
let_go(Creator) ->
    Monitor = monitor(process, Creator),
    Creator ! go,
    ?assertEqual(normal, kv_test:down(Monitor)),
    ok.

%% Names that are renamed in circles while the program is killed: each set of entries has exactly one name.
a_rename_is_whole_or_not_at_all(Config) ->
    with_shop(Config, fun() ->
        Names = [<<"a">>, <<"b">>, <<"c">>],
        [ok = fill(Name, Name) || Name <- Names],
        [
            begin
                {Turner, Monitor} = spawn_monitor(fun() -> turn(Names, 1) end),
                ok = kv_test:wait(fun() -> turns(Turner) > 2 * Round end),
                ok = kill_program(),
                exit(Turner, kill),
                _ = kv_test:down(Monitor),
                ?assertEqual(Names, lists:sort([filled(Name) || Name <- kv_registry:names(shop)]))
            end
         || Round <- lists:seq(1, 5)
        ]
    end).

turn(Names, N) ->
    put(turns, N),
    [First | _] = kv_registry:names(shop),
    _ = kv_test:attempt(fun() -> kv_registry:rename(shop, First, integer_to_binary(N)) end),
    turn(Names, N + 1).

turns(Pid) ->
    {dictionary, Dictionary} = process_info(Pid, dictionary),
    proplists:get_value(turns, Dictionary, 0).

many_names_do_not_delay_a_start(Config) ->
    Many = names(),
    with_shop(Config, fun() ->
        Names = [integer_to_binary(N) || N <- lists:seq(1, Many)],
        _ = kv_test:wait(fun() -> ok =:= create_all(Names) end, 60000),
        ok = fill(<<"1">>, 7),
        Killed = kv_test:milliseconds(fun kill_program/0),
        ?assertEqual(Many, kv_registry:count(shop)),
        report(Many, Killed),
        %% Nobody has asked for a bucket.
        ?assertEqual([], supervisor:which_children(stand)),
        ?assertEqual(7, filled(<<"1">>)),
        ?assertEqual(1, length(supervisor:which_children(stand)))
    end).

names() -> list_to_integer(os:getenv("KV_NAMES", ?NAMES)).

report(Many, Killed) ->
    Status = element(2, file:read_file("/proc/" ++ integer_to_list(kv_node:os_pid()) ++ "/status")),
    {match, [Memory]} = re:run(Status, "VmRSS:\\s*(.*)", [{capture, all_but_first, list}]),
    Disk = maps:get(disk, kv_node:info()),
    io:format(user, "~b names: back after ~b ms, ~p of recovery, memory ~s~n", [Many, round(Killed), maps:get(recovery_ms, Disk), Memory]).

create_all(Names) ->
    Test = self(),
    Parts = [[Name || {Name, I} <- lists:zip(Names, lists:seq(1, length(Names))), I rem 50 =:= Part] || Part <- lists:seq(0, 49)],
    [spawn_link(fun() -> Test ! {created, [kv_registry:create(shop, Name) || Name <- Part]} end) || Part <- Parts],
    Answers = lists:append([receive {created, Some} -> Some end || _ <- Parts]),
    [] = [Answer || Answer <- Answers, Answer =/= ok],
    ok.

%%% The tree of kv

the_registry_of_the_tree_is_durable_by_the_environment(Config) ->
    in_kv(Config, [{registry, [{durable, commit}]}, folder(Config)], fun() ->
        ok = kv_registry:create(kv_registry, <<"eggs">>),
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"eggs">>),
        ok = kv_bucket:put(Bucket, key, 7),
        ok = kv_test:signal("KILL", kv_node:os_pid()),
        {ok, Next} = kv_test:wait(fun() -> try kv_registry:lookup(kv_registry, <<"eggs">>) catch exit:_ -> false end end),
        ?assertEqual(7, kv_bucket:get(Next, key))
    end).

wrong_options_of_the_registry_are_refused_in_words(_Config) ->
    Start = fun(Options) -> kv_sup:start_link((kv_config:defaults())#{registry_options => Options}) end,
    ?assertEqual({error, {bad_option, durable, <<"durable must be false, commit or interval, and is yes">>}}, Start([{durable, yes}])),
    ?assertEqual(
        {error, {bad_option, durble, <<"there is no option durble; did you mean durable?">>}}, Start([{durble, commit}])
    ).

a_tree_without_a_folder_says_so(Config) ->
    Vm = kv_test:start_vm(Config),
    kv_test:in(Vm, fun() ->
        ok = application:load(kv),
        ok = application:set_env(kv, registry, [{durable, commit}]),
        process_flag(trap_exit, true),
        ?assertMatch({error, {no_data_dir, <<"kv_node has no folder", _/binary>>}}, kv_sup:start_link(kv_config:defaults()))
    end),
    ok = kv_test:stop_vm(Vm).

%%% Support

durable(Name) -> kv_registry:start_link([{name, Name}, {durable, commit}]).

start_shop(Options) ->
    Start = {start_bucket, {kv_bucket_sup, start_bucket, [kv_bucket_sup]}},
    kv_registry:start_link([{name, shop}, {durable, commit}, Start | Options]).

folder(Config) -> {data_dir, filename:join(?config(home, Config), "data")}.

start_kv(Config) -> kv_test:start_kv([folder(Config)]).

in_kv(Config, Fun) -> in_kv(Config, [folder(Config)], Fun).

in_kv(Config, Environment, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(
            Vm,
            fun() ->
                ok = kv_test:start_kv(Environment),
                Fun()
            end,
            100000 + 5 * names()
        )
    after
        ok = kv_test:stop_vm(Vm)
    end.

%% With a registry, and a supervisor of its buckets, that no restart of the program ends.
with_shop(Config, Fun) ->
    in_kv(Config, fun() ->
        {ok, _} = kv_bucket_sup:start_link(stand),
        {ok, _} = start_stand(),
        Fun()
    end).

start_stand() ->
    kv_registry:start_link([{name, shop}, {durable, commit}, {start_bucket, {kv_bucket_sup, start_bucket, [stand]}}]).

fill(Name, Value) ->
    {ok, Bucket} = kv_registry:lookup_or_create(shop, Name),
    kv_bucket:put(Bucket, key, Value).

filled(Name) -> kv_bucket:get(bucket(Name), key).

bucket(Name) ->
    {ok, Bucket} = kv_registry:lookup(shop, Name),
    Bucket.

stop_bucket(Name) ->
    ended(bucket(Name), fun kv_bucket:stop/1).

%% Returns once the process, and its proxy, have ended.
ended(Bucket, End) ->
    Monitors = [monitor(process, Pid) || Pid <- [Bucket | lists:filter(fun is_pid/1, [proxy_of(Bucket)])]],
    _ = End(Bucket),
    _ = [kv_test:down(Monitor) || Monitor <- Monitors],
    ok.

proxy_of(Bucket) ->
    Proxies = [Pid || Sup <- [stand, kv_bucket_sup], whereis(Sup) =/= undefined, {_, Pid, _, _} <- supervisor:which_children(Sup)],
    case [Pid || Pid <- Proxies, kv_proxy:native(Pid) =:= Bucket] of
        [Proxy] -> Proxy;
        [] -> undefined
    end.

stop(Pid) ->
    true = unlink(Pid),
    gen_server:stop(Pid).

%% The outcome of a start, for a caller that does not end with the started process.
ends(Start) ->
    process_flag(trap_exit, true),
    Start().

restart_registry() ->
    ok = stop(whereis(shop)),
    {ok, _} = start_stand(),
    ok.

kill_registry(Which) ->
    Proxy = whereis(shop),
    true = unlink(Proxy),
    Monitor = monitor(process, Proxy),
    exit(case Which of proxy -> Proxy; native -> kv_proxy:native(Proxy) end, kill),
    _ = kv_test:down(Monitor),
    {ok, _} = start_stand(),
    ok.

started({ok, Pid}) -> {ok, Pid};
started({error, _}) -> false.

%% Returns once the registry has a native process on the next program.
kill_program() ->
    Native = kv_proxy:native(shop),
    ok = kv_test:wait(fun() -> maps:get(uptime_ms, kv_node:info()) >= 1000 end),
    kv_test:signal("KILL", kv_node:os_pid()),
    ok = kv_test:wait(fun() -> try kv_proxy:native(shop) =/= Native catch exit:_ -> false end end, 30000),
    ok.
