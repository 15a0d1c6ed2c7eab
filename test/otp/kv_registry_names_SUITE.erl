%% @doc Registries: options of buckets, other names, deletion, metadata and lists of names.
-module(kv_registry_names_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).
-import(kv_loss, [start_own/2, kill_and_await/0]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_bucket_has_the_options_it_was_created_with,
        a_wrong_option_is_refused_in_words,
        a_bucket_of_a_supervisor_is_filled_before_it_is_found,
        a_bucket_that_cannot_be_filled_is_not_found,
        callers_at_once_get_one_bucket,
        a_bucket_is_found_without_a_call_or_created,
        a_rename_is_seen_at_once,
        a_renamed_bucket_of_a_supervisor_ends_with_its_new_name,
        a_deleted_bucket_takes_its_proxy_along,
        a_deleted_bucket_answers_those_who_came_before,
        a_bucket_that_is_deleted_in_the_middle_of_a_long_request_answers_it,
        a_name_carries_a_term_that_is_lost_with_it,
        names_with_a_prefix_are_listed_and_counted,
        every_way_to_a_registry_serves_all_of_it,
        another_process_is_no_registry,
        the_function_that_starts_buckets_gets_their_options,
        a_registry_comes_back_without_names_and_metadata
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config, [{local_reads, true}]).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%% A registry whose buckets a supervisor starts, and one that creates them itself.
both(Fun) ->
    {ok, Own} = kv_registry:start_link(),
    [Fun(Registry) || Registry <- [kv_registry, Own]].

%%% Options

a_bucket_has_the_options_it_was_created_with(Config) ->
    in(Config, fun() ->
        both(fun(Registry) ->
            ok = kv_registry:create(Registry, <<"small">>, [{max_memory, 4096}, {timeout, 5000}, {max_memory, 1 bsl 40}]),
            {ok, Small} = kv_registry:lookup(Registry, <<"small">>),
            ?assertEqual({error, enomem}, kv_bucket:put(Small, key, binary:copy(<<"x">>, 8192))),
            ok = kv_registry:create(Registry, <<"lru">>, [{max_memory, 65536}, {evict, lru}]),
            {ok, Lru} = kv_registry:lookup(Registry, <<"lru">>),
            [ok = kv_bucket:put(Lru, I, binary:copy(<<"x">>, 1024)) || I <- lists:seq(1, 200)],
            ?assertEqual(ok, kv_registry:create(Registry, <<"small">>, [{max_memory, 1 bsl 40}])),
            ?assertEqual({error, enomem}, kv_bucket:put(Small, key, binary:copy(<<"x">>, 8192)))
        end)
    end).

a_wrong_option_is_refused_in_words(Config) ->
    in(Config, fun() ->
        Wrong = [
            {[{evict, all}], {bad_option, evict, <<"evict must be none, lru or ttl, and is all">>}},
            {[{max_memori, 1}], {bad_option, max_memori, <<"there is no option max_memori; did you mean max_memory?">>}},
            {[{on_node_down, stay}],
                {bad_option, on_node_down,
                    <<"on_node_down must be exit, since a bucket of a registry ends with its node, and is stay">>}},
            {[evict], {bad_option, evict, <<"an option must be a pair of key and value, and is evict">>}}
        ],
        both(fun(Registry) ->
            [
                ?assertEqual({error, Reason}, apply(kv_registry, Function, [Registry, <<"a">>, Options]))
             || Function <- [create, lookup_or_create], {Options, Reason} <- Wrong
            ],
            ?assertMatch({error, {bad_option, label, _}}, kv_registry:create(Registry, <<"a">>, [{label, <<"b">>}])),
            ?assertError(badarg, kv_registry:create(Registry, <<"a">>, [{timeout, soon}])),
            Large = [{meta, binary:copy(<<"x">>, 65536)}],
            ?assertEqual({error, {meta_too_large, 65541}}, kv_registry:create(Registry, <<"a">>, Large)),
            ?assertEqual(0, kv_registry:count(Registry))
        end),
        {ok, Own} = kv_registry:start_link(),
        ?assertEqual(
            {error,
                {bad_option, fill, <<"a registry without a supervisor of buckets creates them itself, and has no option fill">>}},
            kv_registry:create(Own, <<"a">>, [{fill, {?MODULE, fill, [1]}}])
        )
    end).

fill(Bucket, Value) -> kv_bucket:put(Bucket, filled, Value).

a_bucket_of_a_supervisor_is_filled_before_it_is_found(Config) ->
    in(Config, fun() ->
        Fill = {fill, {?MODULE, fill, [1]}},
        {ok, Bucket} = kv_registry:lookup_or_create(kv_registry, <<"filled">>, [Fill, {max_memory, 1 bsl 20}, {on_node_down, exit}]),
        ?assertEqual(1, kv_bucket:get(Bucket, filled))
    end).

a_bucket_that_cannot_be_filled_is_not_found(Config) ->
    in(Config, fun() ->
        Fill = {fill, {?MODULE, fail, []}},
        ?assertEqual({error, no_backup}, kv_registry:create(kv_registry, <<"filled">>, [Fill])),
        ?assertEqual(error, kv_registry:lookup(kv_registry, <<"filled">>)),
        ?assertEqual([], supervisor:which_children(kv_bucket_sup))
    end).

fail(_Bucket) -> {error, no_backup}.

%%% Finding or creating

callers_at_once_get_one_bucket(Config) ->
    in(Config, fun() ->
        both(fun(Registry) ->
            Self = self(),
            Ask = fun() -> Self ! {found, kv_registry:lookup_or_create(Registry, <<"one">>)} end,
            [spawn(Ask) || _ <- lists:seq(1, 50)],
            Found = [receive {found, Answer} -> Answer end || _ <- lists:seq(1, 50)],
            ?assertMatch([{ok, _}], lists:usort(Found)),
            ?assertEqual(lists:usort(Found), [kv_registry:lookup(Registry, <<"one">>)])
        end)
    end).

a_bucket_is_found_without_a_call_or_created(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_registry:lookup_or_create(kv_registry, <<"a">>),
        ?assertEqual({ok, Bucket}, kv_local:lookup(kv_registry, <<"a">>)),
        ?assertEqual({ok, Bucket}, kv_registry:lookup_or_create(kv_registry, <<"a">>, [{max_memory, 1}])),
        ?assertEqual(call, kv_local:lookup(kv_registry, <<"b">>))
    end).

%%% Other names

a_rename_is_seen_at_once(Config) ->
    in(Config, fun() ->
        ok = gen_event:add_handler(kv_event_manager, kv_test_handler, self()),
        {ok, Bucket} = kv_registry:lookup_or_create(kv_registry, <<"0">>),
        ?assertEqual({create, <<"0">>, Bucket}, event()),
        [
            begin
                Old = integer_to_binary(I - 1),
                New = integer_to_binary(I),
                ?assertEqual(ok, kv_registry:rename(kv_registry, Old, New)),
                ?assertEqual({ok, Bucket}, kv_registry:lookup(kv_registry, New)),
                ?assertEqual(error, kv_registry:lookup(kv_registry, Old)),
                ?assertEqual({exit, Old, Bucket}, event()),
                ?assertEqual({create, New, Bucket}, event())
            end
         || I <- lists:seq(1, 20)
        ],
        ?assertEqual([{<<"20">>, Bucket}], kv_registry:list(kv_registry)),
        ?assertEqual(error, kv_registry:rename(kv_registry, <<"0">>, <<"1">>)),
        ok = kv_registry:create(kv_registry, <<"0">>),
        ?assertEqual({error, name_taken}, kv_registry:rename(kv_registry, <<"0">>, <<"20">>)),
        ?assertEqual({error, {bad_name, a}}, kv_registry:rename(kv_registry, <<"0">>, a)),
        ?assertEqual({error, {name_too_long, 65537}}, kv_registry:rename(kv_registry, <<"0">>, binary:copy(<<"x">>, 65537)))
    end).

event() ->
    receive
        {event, Event} -> Event
    after 5000 -> error(no_event)
    end.

a_renamed_bucket_of_a_supervisor_ends_with_its_new_name(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_registry:lookup_or_create(kv_registry, <<"draft">>),
        ok = kv_registry:rename(kv_registry, <<"draft">>, <<"final">>),
        [{_, Proxy, _, _}] = supervisor:which_children(kv_bucket_sup),
        ?assertEqual(Bucket, kv_proxy:native(Proxy)),
        Monitor = monitor(process, Proxy),
        ok = kv_bucket:stop(Bucket),
        ?assertEqual(normal, kv_test:down(Monitor)),
        ?assertEqual([], supervisor:which_children(kv_bucket_sup)),
        ?assertEqual(error, kv_registry:lookup(kv_registry, <<"final">>))
    end).

a_deleted_bucket_takes_its_proxy_along(Config) ->
    in(Config, fun() ->
        ok = gen_event:add_handler(kv_event_manager, kv_test_handler, self()),
        {ok, Bucket} = kv_registry:lookup_or_create(kv_registry, <<"a">>),
        ?assertEqual({create, <<"a">>, Bucket}, event()),
        [{_, Proxy, _, _}] = supervisor:which_children(kv_bucket_sup),
        Monitor = monitor(process, Proxy),
        ?assertEqual(ok, kv_registry:delete(kv_registry, <<"a">>)),
        ?assertEqual(error, kv_registry:lookup(kv_registry, <<"a">>)),
        ?assertExit({noproc, _}, kv_bucket:size(Bucket)),
        ?assertEqual(normal, kv_test:down(Monitor)),
        ?assertEqual({exit, <<"a">>, Bucket}, event()),
        ?assertEqual(error, kv_registry:delete(kv_registry, <<"a">>)),
        ?assertEqual({error, {bad_name, a}}, kv_registry:delete(kv_registry, a)),
        {ok, Fresh} = kv_registry:lookup_or_create(kv_registry, <<"a">>),
        ?assertNotEqual(Bucket, Fresh)
    end).

a_deleted_bucket_answers_those_who_came_before(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link(),
        {ok, Bucket} = kv_registry:lookup_or_create(Registry, <<"a">>),
        Requests = [kv_bucket:async(Bucket, put, [I, I]) || I <- lists:seq(1, 500)],
        ok = kv_registry:delete(kv_proxy:native(Registry), <<"a">>),
        ?assertEqual([ok], lists:usort(kv_bucket:await_many(Requests)))
    end).

a_bucket_that_is_deleted_in_the_middle_of_a_long_request_answers_it(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link(),
        {ok, Bucket} = kv_registry:lookup_or_create(Registry, <<"a">>),
        Monitor = monitor(process, Bucket),
        Request = kv_bucket:async(Bucket, put_many, [[{I, I} || I <- lists:seq(1, 100000)]]),
        ?assertEqual(ok, kv_registry:delete(kv_proxy:native(Registry), <<"a">>)),
        ?assertEqual(error, kv_registry:lookup(Registry, <<"a">>)),
        ?assertEqual(ok, kv_bucket:await(Request, 30000)),
        ?assertEqual(normal, kv_test:down(Monitor))
    end).

%%% Metadata

a_name_carries_a_term_that_is_lost_with_it(Config) ->
    in(Config, fun() ->
        both(fun(Registry) ->
            Meta = #{owner => self(), tags => ["a", <<"b">>]},
            {ok, _} = kv_registry:lookup_or_create(Registry, <<"a">>, [{meta, Meta}, {max_memory, 1 bsl 20}]),
            ?assertEqual({ok, Meta}, kv_registry:meta(Registry, <<"a">>)),
            ok = kv_registry:rename(Registry, <<"a">>, <<"b">>),
            ?assertEqual({ok, Meta}, kv_registry:meta(Registry, <<"b">>)),
            ?assertEqual(ok, kv_registry:put_meta(Registry, <<"b">>, {error, {nodedown, x}})),
            ?assertEqual({ok, {error, {nodedown, x}}}, kv_registry:meta(Registry, <<"b">>)),
            ?assertEqual({error, {meta_too_large, 65541}}, kv_registry:put_meta(Registry, <<"b">>, binary:copy(<<"x">>, 65536))),
            ?assertEqual(error, kv_registry:put_meta(Registry, <<"a">>, 1)),
            ok = kv_registry:delete(Registry, <<"b">>),
            ok = kv_registry:create(Registry, <<"b">>),
            ?assertEqual(error, kv_registry:meta(Registry, <<"b">>)),
            ?assertEqual({error, {bad_name, b}}, kv_registry:meta(Registry, b))
        end)
    end).

%%% Lists

names_with_a_prefix_are_listed_and_counted(Config) ->
    in(Config, fun() ->
        both(fun(Registry) ->
            Users = [<<"user:", (integer_to_binary(I))/binary>> || I <- lists:seq(1, 20)],
            Pids = [{Name, element(2, kv_registry:lookup_or_create(Registry, Name))} || Name <- Users],
            ok = kv_registry:create(Registry, <<"guest">>),
            ?assertEqual(lists:sort(Users), lists:sort(kv_registry:names(Registry, [{prefix, <<"user:">>}]))),
            ?assertEqual(lists:sort(Pids), lists:sort(kv_registry:list(Registry, [{prefix, <<"user:">>}, {timeout, 5000}]))),
            ?assertEqual(21, length(kv_registry:list(Registry, 5000))),
            ?assertEqual([21, 20, 11, 0], [
                kv_registry:count(Registry),
                kv_registry:count(Registry, [{prefix, <<"user:">>}]),
                kv_registry:count(Registry, [{prefix, <<"user:1">>}]),
                kv_registry:count(Registry, [{prefix, <<"users">>}])
            ]),
            [
                ?assertError(badarg, apply(kv_registry, Function, [Registry, Wrong]))
             || Function <- [names, list, count], Wrong <- [[{prefix, user}], [{prefiks, <<>>}], soon, [{timeout, soon}]]
            ]
        end)
    end).

%%% Addresses and failures

every_way_to_a_registry_serves_all_of_it(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link([{name, here}]),
        [
            begin
                {ok, Bucket} = kv_registry:lookup_or_create(Way, <<"a">>, [{meta, 1}]),
                ok = kv_registry:rename(Way, <<"a">>, <<"b">>),
                ok = kv_registry:put_meta(Way, <<"b">>, 2),
                ?assertEqual({ok, 2}, kv_registry:meta(Way, <<"b">>)),
                ?assertEqual([{<<"b">>, Bucket}], kv_registry:list(Way)),
                ?assertEqual(1, kv_registry:count(Way)),
                ok = kv_registry:delete(Way, <<"b">>)
            end
         || Way <- [here, Registry, kv_proxy:native(Registry), {here, kv_node:name()}, {here, node()}]
        ]
    end).

another_process_is_no_registry(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        Calls = [{rename, [<<"a">>, <<"b">>]}, {put_meta, [<<"a">>, 1]}, {list, []}, {count, []}, {names, [[{prefix, <<>>}]]}],
        [
            ?assertExit({{bad_request, _}, _}, apply(kv_registry, Function, [Bucket | Arguments]))
         || {Function, Arguments} <- Calls
        ],
        [
            ?assertError(badarg, apply(kv_registry, Function, ["kv" | Arguments]))
         || {Function, Arguments} <- [{lookup_or_create, [<<"a">>]}, {delete, [<<"a">>]}, {meta, [<<"a">>]} | Calls]
        ]
    end).

the_function_that_starts_buckets_gets_their_options(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link([{start_bucket, {?MODULE, start_for, [self()]}}]),
        Options = [{max_memory, 4096}, {fill, {?MODULE, fill, [2]}}],
        ok = kv_registry:create(Registry, <<"a">>, Options),
        receive
            {asked, Asked} -> ?assertEqual(maps:from_list([{label, <<"a">>}, {node, kv_node} | Options]), Asked)
        end
    end).

start_for(Pid, Options) ->
    Pid ! {asked, Options},
    kv_bucket_sup:start_bucket(kv_bucket_sup, Options).

a_registry_comes_back_without_names_and_metadata(Config) ->
    in(Config, fun() ->
        process_flag(trap_exit, true),
        _ = start_own(kv_registry, [{name, names}, {fill, {?MODULE, create_again, []}}]),
        {ok, First} = kv_registry:lookup_or_create(names, <<"other">>, [{meta, 1}]),
        ok = kill_and_await(),
        ?assertEqual([<<"again">>], kv_registry:names(names)),
        ?assertEqual(error, kv_registry:meta(names, <<"other">>)),
        {ok, Second} = kv_registry:lookup_or_create(names, <<"other">>),
        ?assertNotEqual(First, Second),
        ?assertEqual(error, kv_registry:meta(names, <<"other">>)),
        ?assertEqual({ok, created}, kv_registry:meta(names, <<"again">>)),
        ?assertEqual(2, kv_registry:count(names))
    end).

create_again(Registry) -> kv_registry:create(Registry, <<"again">>, [{meta, created}, {max_memory, 1 bsl 20}]).
