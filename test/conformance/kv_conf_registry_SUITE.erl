%% The answers of a registry, and its messages about its buckets.
-module(kv_conf_registry_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, registry/1, registry/2, call/2, next/0, next/1, unknown_requests/0]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 120}}].

all() -> kv_conformance:ways().

groups() ->
    kv_conformance:both_ways([
        {registry, [], [
            every_request_of_a_registry_is_answered,
            an_unknown_request_to_a_registry_is_answered_with_an_error,
            options_of_a_bucket_are_checked_before_it_is_made,
            a_bucket_can_be_given_another_name,
            a_name_can_be_deleted,
            a_name_carries_metadata,
            names_are_selected_by_a_prefix,
            all_requests_wait_for_the_creator_in_order,
            a_name_is_made_once,
            a_name_goes_with_its_bucket,
            a_registry_takes_its_buckets_along,
            a_creator_makes_the_buckets,
            requests_wait_for_the_creator_in_order,
            a_creator_that_fails_is_told_to_those_who_wait,
            a_creator_that_dies_is_told_to_those_who_wait,
            a_bucket_that_died_before_it_was_announced_is_announced_and_dies,
            events_are_told_in_order
        ]}
    ]).

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
init_per_group(Group, Config) -> kv_conformance:enter(Group, Config).
end_per_group(Group, Config) -> kv_conformance:leave(Group, Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%%% registry

every_request_of_a_registry_is_answered(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Requests = [
            names, {lookup, <<"a">>}, {create, <<"a">>}, {lookup, <<"a">>}, {create, <<"a">>}, {lookup, <<>>}, {create, <<>>},
            {lookup, <<>>}, {create, <<0, 255>>}, {lookup, <<0, 255>>}
        ],
        Answers = [call(Registry, Request) || Request <- Requests],
        {Answers, lists:sort(call(Registry, names))}
    end).

an_unknown_request_to_a_registry_is_answered_with_an_error(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Wrong = [{Request, Name} || Request <- [lookup, create], Name <- [a, "a", 1, [], {}, <<1:7>>, self()]],
        [call(Registry, Request) || Request <- Wrong ++ unknown_requests() -- [stop]]
    end).

options_of_a_bucket_are_checked_before_it_is_made(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Wrong = [[{evict, all}], [{max_memory, 0}], [{max_memory, 1 bsl 20}, {colour, red}], evict, [{owner, self()}], [evict]],
        Refused = [call(Registry, {create, <<"a">>, Options}) || Options <- Wrong],
        Bucket = call(Registry, {create, <<"a">>, [{max_memory, 1 bsl 20}, {evict, lru}]}),
        {Refused, Bucket =:= call(Registry, {create, <<"a">>, [{colour, red}]}), call(Registry, names)}
    end).

a_bucket_can_be_given_another_name(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node, [{event_manager, self()}]),
        [call(Registry, {create, Name}) || Name <- [<<"a">>, <<"b">>]],
        Renames = [
            {<<"a">>, <<"c">>}, {<<"a">>, <<"d">>}, {<<"c">>, <<"b">>}, {<<"c">>, <<"c">>}, {a, <<"b">>}, {<<"c">>, c},
            {a, c}, {<<"c">>, binary:copy(<<"x">>, 65537)}
        ],
        Answers = [call(Registry, {rename, Old, New}) || {Old, New} <- Renames],
        ok = gen_server:cast(Registry, {rename, <<"c">>, <<"e">>}),
        Names = lists:sort(call(Registry, names)),
        {Answers, Names, [call(Registry, {lookup, Name}) =:= error || Name <- [<<"a">>, <<"c">>, <<"e">>]], next(6)}
    end).

a_name_can_be_deleted(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Bucket = call(Registry, {create, <<"a">>}),
        Monitor = monitor(process, Bucket),
        Answers = [call(Registry, {delete, Name}) || Name <- [<<"a">>, <<"a">>, a]],
        Reason = kv_test:down(Monitor),
        Fresh = call(Registry, {create, <<"a">>}),
        ok = gen_server:cast(Registry, {delete, <<"a">>}),
        {Answers, Reason, Fresh =:= Bucket, call(Registry, names)}
    end).

a_name_carries_metadata(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Large = binary:copy(<<"x">>, 65536),
        _ = call(Registry, {create, <<"a">>, [], #{plan => free}}),
        ok = gen_server:cast(Registry, {put_meta, <<"b">>, 1}),
        [
            call(Registry, Request)
         || Request <- [
                {meta, <<"a">>}, {meta, <<"b">>}, {meta, a}, {put_meta, <<"a">>, [1, 2]}, {meta, <<"a">>}, {put_meta, <<"b">>, 1},
                {put_meta, a, 1}, {put_meta, <<"a">>, Large}, {create, <<"c">>, [], Large}, {rename, <<"a">>, <<"d">>},
                {meta, <<"d">>}, {delete, <<"d">>}, {meta, <<"d">>}
            ]
        ]
    end).

names_are_selected_by_a_prefix(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Pids = [{Name, call(Registry, {create, Name})} || Name <- [<<"user:1">>, <<"user:2">>, <<"use">>, <<>>]],
        {
            [lists:sort(call(Registry, {names, Prefix})) || Prefix <- [<<>>, <<"use">>, <<"user:">>, <<"user:2">>, <<"users">>]],
            lists:sort(Pids) =:= lists:sort(call(Registry, list)),
            [Name || {Name, _} <- call(Registry, {list, <<"user:1">>})],
            [call(Registry, Request) || Request <- [count, {count, <<"user">>}, {count, user}, {names, 1}, {list, []}]]
        }
    end).

all_requests_wait_for_the_creator_in_order(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node, [{creator, self()}]),
        A = <<"a">>,
        Requests = [
            {create, A, [{colour, red}], 1}, {meta, A}, {put_meta, A, 2}, {meta, A}, count, {rename, A, <<"b">>}, {lookup, A}, {delete, A}
        ],
        [Registry ! {'$gen_call', {self(), {N, Request}}, Request} || {N, Request} <- lists:zip(lists:seq(1, 8), Requests)],
        Before = next(2),
        ok = gen_server:cast(Registry, {bucket_created, A, bucket(Node)}),
        {Before, next(7), call(Registry, names), call(Registry, {meta, <<"b">>})}
    end).

a_name_is_made_once(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Self = self(),
        [spawn(fun() -> Self ! call(Registry, {create, <<"one">>}) end) || _ <- lists:seq(1, 50)],
        Pids = next(50),
        ok = gen_server:cast(Registry, {create, <<"one">>}),
        ok = gen_server:cast(Registry, {create, <<"two">>}),
        {length(lists:usort(Pids)), lists:sort(call(Registry, names))}
    end).

a_name_goes_with_its_bucket(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        [
            begin
                Bucket = call(Registry, {create, <<"a">>}),
                Monitor = monitor(process, Bucket),
                exit(Bucket, Reason),
                Reached = kv_test:down(Monitor),
                ok = kv_test:wait(fun() -> call(Registry, {lookup, <<"a">>}) =:= error end),
                {Reached, call(Registry, names)}
            end
         || Reason <- [shutdown, kill, crash]
        ]
    end).

a_registry_takes_its_buckets_along(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Registry = registry(Node),
                Monitors = [monitor(process, call(Registry, {create, <<N>>})) || N <- [1, 2, 3]],
                _ = End(Registry),
                [kv_test:down(Monitor) || Monitor <- Monitors]
            end
         || End <- [
                fun(Registry) -> ok = call(Registry, stop) end,
                fun(Registry) -> ok = gen_server:stop(Registry, {shutdown, why}, 10000) end,
                fun(Registry) -> exit(Registry, kill) end
            ]
        ]
    end).

a_creator_makes_the_buckets(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node, [{creator, self()}]),
        Id = gen_server:send_request(Registry, {create, <<"a">>}),
        {create_bucket, Registry, <<"a">>} = Asked = next(),
        Bucket = bucket(Node),
        ok = gen_server:cast(Registry, {bucket_created, <<"a">>, Bucket}),
        {Asked, gen_server:receive_response(Id, 10000), call(Registry, {lookup, <<"a">>})}
    end).

requests_wait_for_the_creator_in_order(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node, [{creator, self()}]),
        Requests = [{create, <<"a">>}, {lookup, <<"a">>}, {lookup, <<"b">>}, {create, <<"a">>}, names, {lookup, <<"a">>}],
        [Registry ! {'$gen_call', {self(), {N, Request}}, Request} || {N, Request} <- lists:zip(lists:seq(1, 6), Requests)],
        Before = next(3),
        ok = gen_server:cast(Registry, {bucket_created, <<"a">>, bucket(Node)}),
        {Before, next(4), call(Registry, names)}
    end).

a_creator_that_fails_is_told_to_those_who_wait(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node, [{creator, self()}]),
        [Registry ! {'$gen_call', {self(), N}, Request} || {N, Request} <- [{1, {create, <<"a">>}}, {2, {lookup, <<"a">>}}, {3, {create, <<"a">>}}]],
        Asked = next(),
        ok = gen_server:cast(Registry, {bucket_failed, <<"a">>, {max_children, 3}}),
        ok = gen_server:cast(Registry, {bucket_failed, <<"a">>, again}),
        ok = gen_server:cast(Registry, {bucket_created, <<"never">>, self()}),
        {Asked, next(3), call(Registry, {lookup, <<"a">>}), call(Registry, names)}
    end).

a_creator_that_dies_is_told_to_those_who_wait(Config) ->
    same(Config, fun(Node) ->
        Creator = kv_case:helper(),
        Registry = registry(Node, [{creator, Creator}]),
        ok = kv_case:tell(Creator, fun() -> receive {create_bucket, _, _} -> exit(gave_up) end end),
        Answer = call(Registry, {create, <<"a">>}),
        {Answer, call(Registry, {lookup, <<"a">>})}
    end).

a_bucket_that_died_before_it_was_announced_is_announced_and_dies(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node, [{creator, self()}, {event_manager, self()}]),
        Bucket = bucket(Node),
        Id = gen_server:send_request(Registry, {create, <<"a">>}),
        Asked = next(),
        ok = gen_server:stop(Bucket),
        ok = gen_server:cast(Registry, {bucket_created, <<"a">>, Bucket}),
        {response, Answer} = {response, gen_server:receive_response(Id, 10000)},
        {Asked, next(2), Answer, call(Registry, {lookup, <<"a">>})}
    end).

events_are_told_in_order(Config) ->
    same(Config, fun(Node) ->
        Name = list_to_atom("events_" ++ integer_to_list(erlang:unique_integer([positive]))),
        true = register(Name, self()),
        [
            begin
                Registry = registry(Node, [{event_manager, Manager}]),
                Buckets = [call(Registry, {create, <<N>>}) || N <- [1, 2, 3]],
                [begin ok = gen_server:stop(Bucket, Reason, 10000) end || {Bucket, Reason} <- lists:zip(Buckets, [normal, shutdown, crash])],
                Messages = next(6),
                Again = call(Registry, {create, <<1>>}),
                {Messages, Again, next()}
            end
         || Manager <- [self(), {Name, node()}]
        ]
    end).
