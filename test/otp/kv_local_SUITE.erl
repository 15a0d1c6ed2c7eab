%% Local reads: they return what calls return, or leave the answer to a call; and they stop when a process or a node
%% ends.
-module(kv_local_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(kv_test, [outcome/1]).

-compile([export_all, nowarn_export_all]).

-define(KEY_RUNS, 1000).
-define(HISTORIES, 400).
-define(OPERATIONS, 6).

suite() -> [{timetrap, {seconds, 120}}].

all() -> [{group, off}, {group, reads}, {group, ends}, {group, opening}, {group, consistency}].

groups() ->
    [
        {off, [], [
            nothing_is_read_locally_unless_asked_for,
            a_wrong_option_is_named
        ]},
        {reads, [], [
            every_read_is_answered_as_by_a_call,
            statistics_have_the_reads_of_all_processes,
            keys_are_the_same_both_ways,
            keys_of_any_kind_are_found,
            values_of_any_kind_are_read,
            large_keys_and_values_are_read_by_call,
            an_atom_that_the_vm_does_not_know_is_asked_for,
            a_bucket_is_read_by_its_proxy_and_by_its_name,
            a_proxy_is_read_where_its_process_is_now,
            a_name_is_read_where_it_is_registered_now,
            names_of_a_registry_are_found,
            a_vm_that_does_not_own_the_node_reads_it_too,
            info_tells_of_each_node_which_way_reads_take
        ]},
        {ends, [], [
            a_suspended_bucket_is_waited_for,
            expired_entries_are_absent,
            a_bucket_that_counts_uses_is_read_soon_after_a_use,
            a_caller_that_knows_of_the_end_of_a_bucket_reads_nothing_of_it,
            a_caller_that_knows_of_the_end_of_a_proxy_reads_nothing_by_it,
            a_registry_is_not_reached_by_a_proxy_that_has_ended,
            a_registry_is_read_again_once_its_connection_is_back,
            proxies_that_have_ended_are_forgotten,
            a_name_is_gone_before_the_next_answer_of_the_registry,
            a_lost_node_is_not_read,
            a_node_of_the_same_name_is_another,
            a_killed_watch_server_closes_what_it_opened
        ]},
        {opening, [], [
            a_file_that_is_not_the_arena_is_not_opened,
            a_closed_arena_is_not_read,
            a_new_version_of_the_module_takes_over
        ]},
        {consistency, [], [
            a_process_reads_its_own_casts,
            a_process_reads_its_own_casts_to_a_proxy,
            a_process_reads_its_own_casts_by_whatever_name_it_sent_them,
            a_process_reads_what_it_has_sent_while_the_node_was_being_opened,
            a_look_up_does_not_overtake_a_request_that_timed_out,
            a_process_that_casts_to_many_buckets_goes_on_reading_them,
            get_many_is_of_one_moment,
            histories_of_several_vms_are_linearizable
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(Case, Config) ->
    On = Case =/= nothing_is_read_locally_unless_asked_for andalso Case =/= a_wrong_option_is_named,
    kv_test:start_with_kv(Config, [{local_reads, true} || On]).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

bucket() -> bucket(<<"bucket">>).

bucket(Name) ->
    ok = kv_registry:create(kv_registry, Name),
    {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
    Bucket.

by_call(Bucket, Request) -> gen_server:call(Bucket, Request).

%% A read by kv_local:fetch/2, which kv_local:get/3 answers in the same way.
local(Server, Key) ->
    Fetched = kv_local:fetch(Server, Key),
    Got = case Fetched of
        {ok, Value} -> Value;
        error -> default;
        call -> call
    end,
    ?assertEqual(Got, kv_local:get(Server, Key, default)),
    Fetched.

%%% off

nothing_is_read_locally_unless_asked_for(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        1 = kv_bucket:get(Bucket, a),
        ?assertEqual(call, kv_local:fetch(Bucket, a)),
        ?assertMatch(#{local_reads := {off, not_wanted}}, kv_node:info()),
        ?assertEqual(not_loaded, kv_nif:size(make_ref(), self()))
    end).

a_wrong_option_is_named(Config) ->
    in(Config, fun() ->
        ?assertMatch({error, {bad_option, local_reads, _}}, kv_node:start_link(other, [{local_reads, yes}]))
    end).

%%% reads

every_read_is_answered_as_by_a_call(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ?assertMatch(#{local_reads := on}, kv_node:info()),
        ok = kv_bucket:put(Bucket, a, 1),
        ok = kv_bucket:put(Bucket, nothing, undefined),
        ?assertEqual({ok, 1}, local(Bucket, a)),
        ?assertEqual(error, local(Bucket, b)),
        ?assertEqual(1, kv_bucket:get(Bucket, a)),
        ?assertEqual(undefined, kv_bucket:get(Bucket, b)),
        ?assertEqual(default, kv_bucket:get(Bucket, b, default)),
        ?assertEqual(undefined, kv_bucket:get(Bucket, nothing, default)),
        ?assertEqual({ok, undefined}, kv_bucket:fetch(Bucket, nothing)),
        ?assertEqual(error, kv_bucket:fetch(Bucket, b)),
        ?assertEqual([true, false], [kv_local:has_key(Bucket, Key) || Key <- [a, b]]),
        ?assertEqual([true, false], [kv_bucket:has_key(Bucket, Key) || Key <- [a, b]]),
        ?assertEqual(2, kv_local:size(Bucket)),
        ?assertEqual(2, kv_bucket:size(Bucket)),
        ?assertEqual({ok, [1, none, undefined]}, kv_local:get_many(Bucket, [a, b, nothing], none)),
        ?assertEqual([1, undefined, undefined], kv_bucket:get_many(Bucket, [a, b, nothing])),
        ?assertEqual([], kv_bucket:get_many(Bucket, [])),
        ?assertError(badarg, kv_bucket:get_many(Bucket, [a | b])),
        ok = kv_bucket:clear(Bucket),
        ?assertEqual(0, kv_local:size(Bucket)),
        ?assertEqual(error, local(Bucket, a))
    end).

statistics_have_the_reads_of_all_processes(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([]),
        ok = kv_bucket:put(Proxy, a, 1),
        {ok, Other} = kv_bucket:start_link([]),
        Read = fun() -> [{kv_bucket:get(Proxy, a), kv_bucket:get(Proxy, b), kv_bucket:has_key(Proxy, a)} || _ <- lists:seq(1, 100)] end,
        Readers = [spawn_monitor(Read) || _ <- lists:seq(1, 8)],
        [receive {'DOWN', Monitor, process, Reader, Reason} -> ?assertEqual(normal, Reason) end || {Reader, Monitor} <- Readers],
        #{pid := Native} = kv:info(Proxy),
        [
            ?assertMatch(#{local_hits := 1600, local_misses := 800, hits := 0, misses := 0, puts := 1}, kv_bucket:stats(Server))
         || Server <- [Proxy, Native]
        ],
        ?assertMatch(#{local_hits := 0, local_misses := 0}, kv_bucket:await(kv_bucket:async(Other, stats, []))),
        _ = [begin {ok, New} = kv_bucket:start_link([]), undefined = kv_bucket:get(New, a), ok = kv_bucket:stop(New) end || _ <- lists:seq(1, 1500)],
        undefined = kv_bucket:get(Other, a),
        undefined = kv_bucket:get(Other, b),
        %% The first of the two reads follows the process's own async, so it is a call.
        ?assertMatch(#{local_misses := 1, misses := 1}, kv_bucket:stats(Other))
    end).

%% The library encodes keys straight from terms. The bytes must equal those of c_src/term.
keys_are_the_same_both_ways(Config) ->
    case code:ensure_loaded(proper) of
        {module, proper} -> in(Config, fun same_both_ways/0);
        {error, _} -> {skip, "there is no PropEr"}
    end.

%% Large keys, which only one of the two encoders makes, are few.
same_both_ways() ->
    Both = [both_ways(Zeros) || _ <- lists:seq(1, ?KEY_RUNS), Zeros <- [same, differ]],
    ?assertEqual([], [Key || {Key, Direct, Generic} <- Both, Direct =/= unknown, Direct =/= Generic]),
    ?assert(length([1 || {_, Direct, _} <- Both, Direct =/= unknown]) > ?KEY_RUNS).

both_ways(Zeros) ->
    {ok, Key} = proper_gen:pick(key(), rand:uniform(12)),
    {Key, kv_nif:key(Key, Zeros, direct), kv_nif:key(Key, Zeros, generic)}.

%% Terms that are encoded directly.
key() ->
    proper_types:sized(fun key/1).

key(0) ->
    proper_types:oneof([
        proper_types:integer(-300, 300),
        proper_types:integer(-(1 bsl 34), 1 bsl 34),
        proper_types:elements([
            1 bsl 31, -(1 bsl 31), (1 bsl 31) - 1, -(1 bsl 31) - 1, 1 bsl 32, 1 bsl 59, 1 bsl 60, 1 bsl 63, (1 bsl 64) - 1,
            -(1 bsl 63), 0.0, -0.0, 1.5, -1.0e300, '', a, 'é', 'with space', list_to_atom(lists:duplicate(255, $a)),
            list_to_atom(lists:duplicate(200, 233)), [], {}, <<>>, "string", [0, 255], [0, 256], [a | b], [1 | 2]
        ]),
        proper_types:float(),
        proper_types:binary(),
        proper_types:list(proper_types:byte())
    ]);
key(Size) ->
    Inner = proper_types:resize(Size div 4, proper_types:lazy(fun() -> key(Size div 4) end)),
    proper_types:frequency([
        {2, key(0)},
        {1, proper_types:loose_tuple(Inner)},
        {1, proper_types:list(Inner)},
        {1, ?MODULE:improper(Inner)}
    ]).

improper(Inner) ->
    proper_types:bind(
        {proper_types:non_empty(proper_types:list(Inner)), proper_types:oneof([a, 7, <<"tail">>])},
        fun({List, Tail}) -> proper_types:exactly(List ++ Tail) end,
        false
    ).

terms() ->
    [
        0, 255, 256, -1, 1 bsl 31, 1 bsl 62, 1 bsl 64, -(1 bsl 200), 0.5, a, '', 'é', 'ключ', <<>>, <<"b">>, <<1:3>>, <<5:11>>,
        binary:copy(<<7>>, 3000), [], "text", [1, 2, 300], [a | b], {}, {1, {2, <<"x">>}}, list_to_tuple(lists:seq(1, 300)), #{},
        #{a => 1}, #{b => #{c => [d]}, 1 => 1.0}, self(), make_ref(), fun erlang:self/0, fun lists:map/2,
        deep(), [binary:copy(<<"k">>, 600), 1]
    ] ++ kept().

%% Terms that people keep, and others of which the library decodes a part.
kept() ->
    Map = #{id => 7, name => <<"x">>},
    [
        true, nil, call, unmet, Map, #{<<"id">> => 7, <<"name">> => <<"x">>}, {session, 7, <<"abc">>, 3}, lists:seq(1, 10),
        lists:seq(250, 260), [Map, Map], #{user => Map, tags => [<<"a">>, <<"b">>], at => 1 bsl 50, rate => 0.25, none => nil},
        #{{1, 2} => 3}, #{1.0 => a, 1 => b}, #{0.0 => zero}, #{[] => [], {} => {}}, [{}, {}], {[], <<>>, #{}, ''},
        maps:from_list([{N, N} || N <- lists:seq(1, 32)]), maps:from_list([{N, N} || N <- lists:seq(1, 33)]),
        lists:seq(300, 811), lists:seq(300, 812), [a, b | c], [1 | 2], {self(), make_ref()}, #{self() => Map}, {'é', a},
        [1 bsl 59, -(1 bsl 59), 1 bsl 63, -(1 bsl 63), -(1 bsl 63) - 1, (1 bsl 64) - 1, 1 bsl 64], {<<1:3>>, Map},
        lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, 16))
    ].

deep() -> lists:foldl(fun(_, Term) -> {Term} end, end_of_it, lists:seq(1, 100)).

keys_of_any_kind_are_found(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Keys = terms() ++ [fun() -> Bucket end],
        [ok = kv_bucket:put(Bucket, Key, Number) || {Number, Key} <- lists:zip(lists:seq(1, length(Keys)), Keys)],
        Found = [local(Bucket, Key) || Key <- Keys],
        %% A fun has other bytes on the wire than in term_to_binary/1.
        Others = [Key || Key <- Keys, not is_function(Key), Key =/= deep()],
        ?assertEqual([], [Key || Key <- Others, local(Bucket, Key) =:= call]),
        ?assertEqual(
            [], [Key || {Key, Answer} <- lists:zip(Keys, Found), Answer =/= call, Answer =/= by_call(Bucket, {fetch, Key})]
        ),
        ?assertEqual(call, local(Bucket, #{[fun() -> Bucket end] => 1})),
        %% 0.0 and -0.0 are one key if they are one in this VM.
        ok = kv_bucket:put(Bucket, 0.0, zero),
        ?assertEqual(by_call(Bucket, {fetch, -0.0}), local(Bucket, -0.0)),
        ?assertEqual(by_call(Bucket, {fetch, {-0.0, []}}), local(Bucket, {-0.0, []})),
        ?assertEqual(error, local(Bucket, {0}))
    end).

values_of_any_kind_are_read(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        [
            begin
                ok = kv_bucket:put(Bucket, key, Value),
                ?assertEqual({ok, Value}, local(Bucket, key))
            end
         || Value <- terms() ++ [
                binary:copy(<<1, 2, 3>>, 40000), lists:seq(1, 1000), -0.0, Bucket, {binary:copy(<<7>>, 100), binary:copy(<<8>>, 5000)}
            ]
        ]
    end).

large_keys_and_values_are_read_by_call(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Large = [binary:copy(<<1>>, 1 bsl 20), lists:seq(1, 100000)],
        Keys = [binary:copy(<<1>>, 5000), lists:seq(1, 5000)],
        [ok = kv_bucket:put(Bucket, Key, Value) || {Key, Value} <- lists:zip([one, other], Large) ++ [{K, 1} || K <- Keys]],
        ?assertEqual([call, call], [local(Bucket, Key) || Key <- [one, other]]),
        ?assertEqual([call, call], [local(Bucket, Key) || Key <- Keys]),
        ?assertEqual(Large, [kv_bucket:get(Bucket, Key) || Key <- [one, other]]),
        ?assertEqual([1, 1], kv_bucket:get_many(Bucket, Keys))
    end).

an_atom_that_the_vm_does_not_know_is_asked_for(Config) ->
    Other = kv_test:start_vm(Config),
    Bucket = in(Config, fun() -> bucket() end),
    Name = "unheard_of_" ++ integer_to_list(erlang:unique_integer([positive])),
    ok = kv_test:in(Other, fun() -> kv_bucket:put(Bucket, key, {list_to_atom(Name)}) end),
    in(Config, fun() ->
        ?assertEqual(call, local(Bucket, key)),
        {Atom} = kv_bucket:get(Bucket, key),
        ?assertEqual(Name, atom_to_list(Atom)),
        ?assertEqual({ok, {Atom}}, local(Bucket, key))
    end),
    kv_test:stop_vm(Other).

a_bucket_is_read_by_its_proxy_and_by_its_name(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, {local, settings}}]),
        {ok, _} = kv_bucket:start_link([{name, {global, settings}}]),
        ok = kv_bucket:put(settings, a, 1),
        [
            begin
                ?assertEqual({ok, 1}, local(Server, a)),
                ?assertEqual(error, local(Server, b)),
                ?assertEqual([true, false], [kv_local:has_key(Server, Key) || Key <- [a, b]]),
                ?assertEqual(1, kv_local:size(Server)),
                ?assertEqual({ok, [1, none]}, kv_local:get_many(Server, [a, b], none)),
                ?assertEqual(1, kv_bucket:get(Server, a))
            end
         || Server <- [settings, Proxy]
        ],
        ok = sys:suspend(kv_proxy:native(Proxy)),
        ?assertEqual([call, call], [local(Server, a) || Server <- [settings, Proxy]]),
        ok = sys:resume(kv_proxy:native(Proxy)),
        %% Neither a bucket, nor a process, nor a process of this VM.
        [
            ?assertEqual([call, call, call], [local(Server, a), kv_local:has_key(Server, a), kv_local:size(Server)], Server)
         || Server <- [self(), kv_node, nobody, undefined, {settings, node()}, {global, settings}, {via, global, settings}, 7]
        ]
    end).

%% By every scheduler, each of which remembers the process.
a_proxy_is_read_where_its_process_is_now(Config) ->
    in(Config, fun() ->
        Buckets = [bucket(<<N>>) || N <- lists:seq(1, 20)],
        Proxy = spawn_link(fun() -> receive stop -> ok end end),
        [
            begin
                ok = kv_bucket:put(Bucket, a, Bucket),
                ok = kv_local:publish_proxy(#{
                    proxy => Proxy, native => Bucket, server => kv_node, kind => bucket, name => undefined
                }),
                ?assertEqual(lists:duplicate(20, {ok, Bucket}), parallel([fun() -> local(Proxy, a) end || _ <- lists:seq(1, 20)]))
            end
         || Bucket <- Buckets ++ Buckets
        ],
        Proxy ! stop
    end).

a_name_is_read_where_it_is_registered_now(Config) ->
    in(Config, fun() ->
        Proxies = [element(2, {ok, _} = kv_bucket:start_link([])) || _ <- [1, 2]],
        [ok = kv_bucket:put(Proxy, here, Proxy) || Proxy <- Proxies],
        [
            begin
                true = register(roaming, Proxy),
                ?assertEqual({ok, Proxy}, local(roaming, here)),
                ?assertEqual(Proxy, kv_local:get(roaming, here, none)),
                ?assertEqual(true, kv_local:has_key(roaming, here)),
                ?assertEqual(1, kv_local:size(roaming)),
                true = unregister(roaming),
                ?assertEqual([call, call], [local(roaming, here), kv_local:get(roaming, here, none)])
            end
         || Proxy <- Proxies ++ Proxies
        ]
    end).

names_of_a_registry_are_found(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_test:wait(fun() -> kv_local:lookup(kv_registry, <<"bucket">>) =:= {ok, Bucket} end),
        Native = kv_proxy:native(kv_registry),
        ?assertEqual({ok, Bucket}, kv_local:lookup(Native, <<"bucket">>)),
        ?assertEqual({ok, Bucket}, kv_local:lookup(whereis(kv_registry), <<"bucket">>)),
        ?assertEqual({ok, Bucket}, kv_registry:lookup(kv_registry, <<"bucket">>)),
        %% A bucket is not taken for a registry, nor a registry for a bucket.
        ?assertEqual([call, call], [local(Native, <<"bucket">>), kv_local:size(Native)]),
        ok = kv_bucket:put(Bucket, <<"name">>, Bucket),
        ?assertEqual(call, kv_local:lookup(Bucket, <<"name">>)),
        %% The name may be about to be created.
        ?assertEqual(call, kv_local:lookup(kv_registry, <<"other">>)),
        ?assertEqual(error, kv_registry:lookup(kv_registry, <<"other">>)),
        ok = sys:suspend(Native),
        ?assertEqual(call, kv_local:lookup(kv_registry, <<"bucket">>)),
        ok = sys:resume(Native)
    end).

a_vm_that_does_not_own_the_node_reads_it_too(Config) ->
    Bucket = in(Config, fun() -> bucket() end),
    Other = kv_test:start_vm(Config),
    ok = kv_test:in(Other, fun() ->
        _ = application:load(kv),
        ok = application:set_env(kv, local_reads, true),
        ok = kv_bucket:put(Bucket, a, 1),
        kv_test:wait(fun() -> local(Bucket, a) =:= {ok, 1} end)
    end),
    [
        begin
            ok = in(Config, fun() -> kv_bucket:put(Bucket, a, N) end),
            ?assertEqual({ok, N}, kv_test:in(Other, fun() -> local(Bucket, a) end))
        end
     || N <- lists:seq(1, 50)
    ],
    kv_test:stop_vm(Other).

info_tells_of_each_node_which_way_reads_take(Config) ->
    Other = kv_test:start_vm(Config),
    {Name, Native, Proxy} = kv_test:in(Other, fun() ->
        ok = kv_test:start_kv(),
        Bucket = bucket(),
        #{owner := Owner} = kv:info(Bucket),
        {kv_node:name(), Bucket, Owner}
    end),
    in(Config, fun() ->
        Own = kv_node:name(),
        ?assertEqual(#{Own => on}, maps:get(local_reads, kv:info())),
        ok = kv_bucket:put(Native, a, 1),
        1 = kv_bucket:get(Proxy, a),
        Expected = #{Own => on, Name => on, node(Proxy) => {off, not_native}},
        kv_test:wait(fun() -> maps:get(local_reads, kv:info()) =:= Expected end)
    end),
    kv_test:stop_vm(Other).

%%% ends

a_suspended_bucket_is_waited_for(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        ok = sys:suspend(Bucket),
        ?assertEqual(call, kv_local:fetch(Bucket, a)),
        ?assertEqual(call, kv_local:size(Bucket)),
        ?assertEqual({exit, timeout}, outcome(fun() -> kv_bucket:get(Bucket, a, none, 50) end)),
        ok = sys:resume(Bucket),
        %% The call that timed out may still be handled, and must not be overtaken.
        ?assertEqual(call, kv_local:fetch(Bucket, a)),
        ?assertEqual(1, kv_bucket:get(Bucket, a)),
        ?assertEqual({ok, 1}, kv_local:fetch(Bucket, a))
    end).

expired_entries_are_absent(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, long, 1, [{ttl, 60000}]),
        ok = kv_bucket:put(Bucket, short, 1, [{ttl, 100}]),
        ?assertEqual({ok, 1}, kv_local:fetch(Bucket, long)),
        ok = kv_test:wait(fun() -> kv_local:fetch(Bucket, short) =:= error end),
        ?assertEqual(false, kv_local:has_key(Bucket, short)),
        ?assertEqual(error, by_call(Bucket, {fetch, short})),
        ?assertEqual(true, kv_local:has_key(Bucket, long))
    end).

a_bucket_that_counts_uses_is_read_soon_after_a_use(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{evict, lru}]),
        Bucket = kv_proxy:native(Proxy),
        ?assertEqual({ok, 1}, read_in_time(Bucket, a, 1)),
        ?assertEqual(1, kv_bucket:get(Bucket, a)),
        ?assertEqual(error, kv_local:fetch(Bucket, b))
    end).

%% A read more than a second after the put is a call.
read_in_time(Bucket, Key, Value) ->
    ok = kv_bucket:put(Bucket, Key, Value),
    case kv_local:fetch(Bucket, Key) of
        call -> read_in_time(Bucket, Key, Value);
        Read -> Read
    end.

a_caller_that_knows_of_the_end_of_a_bucket_reads_nothing_of_it(Config) ->
    in(Config, fun() ->
        [
            begin
                Bucket = bucket(<<N>>),
                ok = kv_bucket:put(Bucket, a, 1),
                {ok, 1} = local(Bucket, a),
                Monitor = monitor(process, Bucket),
                true = exit(Bucket, kill),
                killed = receive {'DOWN', Monitor, process, _, Reason} -> Reason end,
                ?assertEqual(call, local(Bucket, a)),
                ?assertEqual({exit, noproc}, outcome(fun() -> kv_bucket:get(Bucket, a) end))
            end
         || N <- lists:seq(1, 100)
        ]
    end).

%% A bucket outlives a proxy that was killed by a moment. Here the moment lasts as long as the test.
a_caller_that_knows_of_the_end_of_a_proxy_reads_nothing_by_it(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        {Proxy, Monitor} = spawn_monitor(fun() -> receive stop -> ok end end),
        true = register(stands_for_it, Proxy),
        ok = kv_local:publish_proxy(#{
            proxy => Proxy, native => Bucket, server => kv_node, kind => bucket, name => undefined
        }),
        ?assertEqual([{ok, 1}, {ok, 1}], [local(Server, a) || Server <- [Proxy, stands_for_it]]),
        true = exit(Proxy, kill),
        receive {'DOWN', Monitor, process, _, killed} -> ok end,
        ?assertEqual([call, call], [local(Server, a) || Server <- [Proxy, stands_for_it]]),
        ?assertEqual({exit, noproc}, outcome(fun() -> kv_bucket:get(Proxy, a) end)),
        ?assertEqual({ok, 1}, local(Bucket, a))
    end).

%% A registry that belongs to its node stays when its proxy ends.
a_registry_is_not_reached_by_a_proxy_that_has_ended(Config) ->
    in(Config, fun() ->
        true = process_flag(trap_exit, true) =:= false,
        {ok, Proxy} = kv_registry:start_link([{name, shelves}, {owner, node}]),
        ok = kv_registry:create(shelves, <<"a">>),
        {ok, Bucket} = kv_registry:lookup(shelves, <<"a">>),
        ok = kv_test:wait(fun() -> kv_local:lookup(Proxy, <<"a">>) =:= {ok, Bucket} end),
        Native = kv_proxy:native(Proxy),
        true = exit(Proxy, shutdown),
        receive {'EXIT', Proxy, shutdown} -> ok end,
        [?assertEqual({exit, noproc}, outcome(fun() -> kv_registry:lookup(Server, <<"a">>) end)) || Server <- [shelves, Proxy]],
        ?assertEqual({ok, Bucket}, kv_local:lookup(Native, <<"a">>)),
        ok = kv_registry:stop(Native)
    end).

a_registry_is_read_again_once_its_connection_is_back(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Servers = [kv_registry, whereis(kv_registry), kv_proxy:native(kv_registry)],
        AreRead = fun() -> lists:all(fun(Server) -> kv_local:lookup(Server, <<"bucket">>) =:= {ok, Bucket} end, Servers) end,
        ok = kv_test:wait(AreRead),
        ok = kv_lane_test:lose(node(Bucket)),
        ok = kv_test:wait(AreRead)
    end).

proxies_that_have_ended_are_forgotten(Config) ->
    in(Config, fun() ->
        true = process_flag(trap_exit, true) =:= false,
        Entries = fun() -> ets:info(kv_proxies, size) end,
        Before = Entries(),
        Proxies = [element(2, {ok, _} = kv_bucket:start_link([])) || _ <- lists:seq(1, 20)],
        ?assertEqual(Before + 20, Entries()),
        {Stopped, Killed} = lists:split(10, Proxies),
        _ = [ok = kv_bucket:stop(Proxy) || Proxy <- Stopped],
        _ = [true = exit(Proxy, kill) || Proxy <- Killed],
        ok = kv_test:wait(fun() -> Entries() =:= Before end)
    end).

a_name_is_gone_before_the_next_answer_of_the_registry(Config) ->
    in(Config, fun() ->
        [
            begin
                Bucket = bucket(<<N>>),
                {ok, Bucket} = kv_local:lookup(kv_registry, <<N>>),
                ok = kv_bucket:stop(Bucket),
                error = kv_registry:lookup(kv_registry, <<"bogus">>),
                ?assertEqual(call, kv_local:lookup(kv_registry, <<N>>)),
                ?assertEqual(error, kv_registry:lookup(kv_registry, <<N>>))
            end
         || N <- lists:seq(1, 100)
        ]
    end).

a_lost_node_is_not_read(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        Server = monitor(process, kv_node),
        ok = kv_test:signal("KILL", kv_node:os_pid()),
        _ = receive {'DOWN', Server, process, _, Reason} -> Reason end,
        ?assertEqual(call, kv_local:fetch(Bucket, a)),
        ?assertMatch({exit, _}, outcome(fun() -> kv_bucket:get(Bucket, a) end))
    end).

a_node_of_the_same_name_is_another(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Node = node(Bucket),
        ok = kv_bucket:put(Bucket, a, 1),
        OsPid = kv_node:os_pid(),
        ok = kv_test:signal("KILL", OsPid),
        ok = kv_test:wait(fun() -> is_another_program(OsPid) end),
        ok = kv_test:wait(fun() -> is_pid(whereis(kv_registry)) end),
        Fresh = bucket(),
        Node = node(Fresh),
        ok = kv_bucket:put(Fresh, a, 2),
        ok = kv_test:wait(fun() -> kv_local:fetch(Fresh, a) =:= {ok, 2} end),
        ?assertEqual(call, kv_local:fetch(Bucket, a)),
        ?assertEqual({exit, noproc}, outcome(fun() -> kv_bucket:get(Bucket, a) end))
    end).

is_another_program(OsPid) ->
    try kv_node:os_pid() of
        Running -> Running =/= OsPid
    catch
        _:_ -> false
    end.

a_killed_watch_server_closes_what_it_opened(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        {ok, 1} = kv_local:fetch(Bucket, a),
        #{} = Published = persistent_term:get(kv_local),
        Arena = map_get(node(Bucket), Published),
        true = exit(whereis(kv_watcher), kill),
        ok = kv_test:wait(fun() -> kv_nif:fetch(Arena, Bucket, a) =:= closed end),
        ?assertEqual(1, kv_bucket:get(Bucket, a)),
        %% The next calls open it again.
        ok = kv_test:wait(fun() -> kv_bucket:get(Bucket, a) =:= 1 andalso kv_local:fetch(Bucket, a) =:= {ok, 1} end)
    end).

%%% opening

a_file_that_is_not_the_arena_is_not_opened(Config) ->
    in(Config, fun() ->
        {{OsPid, Fd, Id, Size}, Creation, Zeros} = erpc:call(kv_node:name(), kv_local, place, []),
        Open = fun(Place) -> kv_nif:open_arena(Place, <<"n@h">>, Creation, Zeros) end,
        ?assertMatch({ok, _}, Open({OsPid, Fd, Id, Size})),
        ?assertEqual({error, another_arena}, Open({OsPid, Fd, <<0:128>>, Size})),
        ?assertEqual({error, another_size}, Open({OsPid, Fd, Id, Size - 4096})),
        ?assertEqual({error, another_size}, Open({OsPid, Fd, Id, Size * 2})),
        ?assertMatch({error, _}, Open({OsPid, 0, Id, Size})),
        ?assertEqual({error, no_access}, Open({OsPid, 12345, Id, Size})),
        ?assertEqual({error, no_access}, Open({4194304, Fd, Id, Size})),
        ?assertError(badarg, Open({OsPid, Fd, <<"short">>, Size})),
        ?assertError(badarg, Open(nothing))
    end).

a_closed_arena_is_not_read(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        {ok, Arena} = kv_local:open(node(Bucket)),
        ok = kv_bucket:put(Bucket, a, 1),
        ?assertEqual({ok, 1}, kv_nif:fetch(Arena, Bucket, a)),
        ok = kv_local:close(Arena),
        ?assertEqual(closed, kv_nif:fetch(Arena, Bucket, a)),
        ?assertEqual(closed, kv_nif:has_key(Arena, Bucket, a)),
        ?assertEqual(closed, kv_nif:size(Arena, Bucket)),
        ?assertEqual(closed, kv_nif:counters(Arena, Bucket)),
        ?assertEqual({ok, 1}, kv_local:fetch(Bucket, a)),
        %% The mapping ends with the process that has opened it.
        Self = self(),
        {Owner, Monitor} = spawn_monitor(fun() -> Self ! {self(), kv_local:open(node(Bucket))} end),
        {ok, Orphan} = receive {Owner, Opened} -> Opened end,
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        ok = kv_test:wait(fun() -> kv_nif:fetch(Orphan, Bucket, a) =:= closed end)
    end).

%% As release_handler or a recompiling shell does.
a_new_version_of_the_module_takes_over(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        {ok, 1} = kv_local:fetch(Bucket, a),
        [
            begin
                {module, kv_nif} = code:load_file(kv_nif),
                ?assertEqual({ok, 1}, kv_local:fetch(Bucket, a)),
                ok = kv_nif:load(),
                _ = code:purge(kv_nif),
                ?assertEqual({ok, 1}, kv_local:fetch(Bucket, a))
            end
         || _ <- [1, 2, 3]
        ],
        %% Without the new version there is nothing to read with.
        true = code:delete(kv_nif),
        _ = code:purge(kv_nif),
        ?assertEqual(1, kv_bucket:get(Bucket, a))
    end).

%%% consistency

a_process_reads_its_own_casts(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Other = bucket(<<"other">>),
        ok = kv_bucket:put(Other, a, 1),
        [
            begin
                ok = kv_bucket:cast(Bucket, put, [a, N]),
                ?assertEqual({ok, 1}, kv_local:fetch(Other, a)),
                ?assertEqual(N, kv_bucket:get(Bucket, a)),
                ?assertEqual({ok, N}, kv_local:fetch(Bucket, a)),
                Request = kv_bucket:async(Bucket, put, [b, N]),
                ?assertEqual({ok, N}, kv_bucket:fetch(Bucket, b)),
                ok = kv_bucket:await(Request),
                ok = kv_bucket:cast(Bucket, clear, []),
                ?assertEqual(0, kv_bucket:size(Bucket))
            end
         || N <- lists:seq(1, 200)
        ]
    end).

a_process_reads_its_own_casts_to_a_proxy(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, {local, settings}}]),
        [
            begin
                ok = kv_bucket:cast(Server, put, [a, {Server, N}]),
                ?assertEqual({Server, N}, kv_bucket:get(Server, a)),
                ?assertEqual({ok, {Server, N}}, local(Server, a)),
                Request = kv_bucket:async(Server, put, [b, N]),
                ?assertEqual({ok, N}, kv_bucket:fetch(Server, b)),
                ok = kv_bucket:await(Request)
            end
         || N <- lists:seq(1, 100), Server <- [Proxy, settings]
        ]
    end).

%% The node is stopped, so the cast waits.
a_process_reads_its_own_casts_by_whatever_name_it_sent_them(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, settings}]),
        yes = global:register_name(settings, Proxy),
        Native = kv_proxy:native(Proxy),
        ok = kv_bucket:put(settings, a, 0),
        [
            begin
                ?assertEqual({ok, N - 1}, local(Server, a), Name),
                ok = while_stopped(fun() ->
                    ok = kv_bucket:cast(Name, put, [a, N]),
                    ?assertNot(kv_local:is_settled(Name)),
                    ?assertEqual({exit, timeout}, outcome(fun() -> kv_bucket:get(Server, a, none, 10) end), Name)
                end),
                ?assertEqual(N, kv_bucket:get(Name, a)),
                ?assertEqual(N, kv_bucket:get(Server, a))
            end
         || {N, {Name, Server}} <- lists:enumerate([
                {settings, Proxy},
                {{settings, node()}, Proxy},
                {{global, settings}, Proxy},
                {{via, global, settings}, Proxy},
                {{settings, node(Native)}, Native}
            ])
        ]
    end).

while_stopped(Do) ->
    OsPid = kv_node:os_pid(),
    ok = kv_test:signal("STOP", OsPid),
    try
        Do()
    after
        ok = kv_test:signal("CONT", OsPid)
    end.

%% The watcher has opened the node, and its server has not heard of that yet.
a_process_reads_what_it_has_sent_while_the_node_was_being_opened(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        ok = kv_bucket:put(Bucket, a, 1),
        Server = monitor(process, kv_watcher),
        true = exit(whereis(kv_watcher), kill),
        killed = kv_test:down(Server),
        %% A call starts it, once its supervisor knows that the former one has ended.
        ok = kv_test:wait(fun() -> 1 = kv_bucket:get(Bucket, a), is_pid(whereis(kv_watcher)) end),
        ok = sys:suspend(kv_watcher),
        ok = kv_test:wait(fun() -> process_info(whereis(kv_watcher), message_queue_len) =:= {message_queue_len, 1} end),
        ?assertEqual(call, kv_local:fetch(Bucket, a)),
        ok = while_stopped(fun() ->
            ok = kv_bucket:cast(Bucket, put, [a, 2]),
            ok = sys:resume(kv_watcher),
            ok = kv_test:wait(fun() -> kv_local:is_open(node(Bucket)) end),
            ?assertEqual({exit, timeout}, outcome(fun() -> kv_bucket:get(Bucket, a, none, 10) end))
        end),
        ?assertEqual(2, kv_bucket:get(Bucket, a)),
        ?assertEqual({ok, 2}, local(Bucket, a))
    end).

a_look_up_does_not_overtake_a_request_that_timed_out(Config) ->
    in(Config, fun() ->
        Native = kv_proxy:native(kv_registry),
        [
            begin
                Bucket = bucket(<<"a">>),
                ok = kv_test:wait(fun() -> kv_local:lookup(Server, <<"a">>) =:= {ok, Bucket} end),
                ok = while_stopped(fun() ->
                    ?assertEqual({exit, timeout}, outcome(fun() -> kv_registry:delete(Server, <<"a">>, 10) end)),
                    ?assertEqual(call, kv_local:lookup(Server, <<"a">>))
                end),
                ?assertEqual(error, kv_registry:lookup(Server, <<"a">>)),
                ?assert(kv_local:is_settled(Server))
            end
         || Server <- [kv_registry, whereis(kv_registry), Native]
        ]
    end).

%% Of most of the buckets there are only pids.
a_process_that_casts_to_many_buckets_goes_on_reading_them(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        {ok, Proxy} = kv_bucket:start_link([]),
        [
            begin
                [ok = kv_bucket:cast(Server, put, [a, N]) || Server <- [Proxy, Bucket | pids_like(Bucket, 2500)]],
                ?assertEqual([call, call], [local(Server, a) || Server <- [Bucket, Proxy]]),
                ?assertEqual(N, kv_bucket:get(Bucket, a)),
                ?assertEqual({ok, N}, local(Bucket, a)),
                ?assertEqual(call, local(Proxy, a)),
                ?assertEqual(N, kv_bucket:get(Proxy, a)),
                ?assertEqual({ok, N}, local(Proxy, a))
            end
         || N <- [1, 2]
        ]
    end).

pids_like(Pid, Count) ->
    Encoded = term_to_binary(Pid),
    Before = byte_size(Encoded) - 12,
    <<Head:Before/binary, Id:32, Rest:8/binary>> = Encoded,
    [binary_to_term(<<Head/binary, (Id + 100000 + N):32, Rest/binary>>) || N <- lists:seq(1, Count)].

%% A writer puts the same number under all keys, with one message.
get_many_is_of_one_moment(Config) ->
    in(Config, fun() ->
        Bucket = bucket(),
        Keys = lists:seq(1, 50),
        ok = kv_bucket:put_many(Bucket, [{Key, 0} || Key <- Keys]),
        {Writer, Monitor} = spawn_monitor(fun() -> write_all(Bucket, Keys, 1) end),
        Seen = see_many(Bucket, Keys, #{}),
        true = exit(Writer, kill),
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        ?assertEqual([], [Values || Values <- maps:keys(Seen), length(lists:usort(Values)) =/= 1])
    end).

%% Waits until the writer has begun.
see_many(_Bucket, _Keys, Seen) when map_size(Seen) >= 200 -> Seen;
see_many(Bucket, Keys, Seen) -> see_many(Bucket, Keys, Seen#{kv_bucket:get_many(Bucket, Keys) => seen}).

write_all(Bucket, Keys, N) ->
    ok = kv_bucket:put_many(Bucket, [{Key, N} || Key <- Keys]),
    write_all(Bucket, Keys, N + 1).

%% Two VMs with two processes each: one reads locally, one writes by call. KV_HISTORIES is the number of histories.
histories_of_several_vms_are_linearizable(Config) ->
    Count = list_to_integer(os:getenv("KV_HISTORIES", integer_to_list(?HISTORIES))),
    Bucket = in(Config, fun() -> bucket() end),
    Other = kv_test:start_vm(Config),
    Vms = [?config(vm, Config), Other],
    ok = kv_test:in(Other, fun() ->
        _ = application:load(kv),
        ok = application:set_env(kv, local_reads, true),
        ok = kv_bucket:put(Bucket, ready, 1),
        kv_test:wait(fun() -> kv_local:fetch(Bucket, ready) =:= {ok, 1} end)
    end),
    Start = clock() + 300000000,
    Recorded = lists:append(parallel([
        fun() -> kv_test:in(Vm, fun() -> record(Bucket, Count, Start, Number) end, 120000) end
     || {Number, Vm} <- lists:zip([1, 2], Vms)
    ])),
    Histories = maps:values(lists:foldl(
        fun({Key, Operation}, All) -> maps:update_with(Key, fun(Rest) -> [Operation | Rest] end, [Operation], All) end,
        #{}, Recorded
    )),
    ?assertEqual(Count, length(Histories)),
    ?assertEqual([], [History || History <- Histories, not kv_linear:check(History)]),
    ?assertNot(kv_linear:check([{1, 2, write, a}, {3, 4, write, b}, {5, 6, read, a}])),
    Overlaps = length([1 || History <- Histories, overlaps(History)]),
    kv_test:stop_vm(Other),
    {comment, io_lib:format("~b histories, ~b with reads during writes", [Count, Overlaps])}.

overlaps(History) ->
    Reads = [Operation || {_, _, read, _} = Operation <- History],
    lists:any(
        fun({Begin, End, _, _}) -> lists:any(fun({From, To, _, _}) -> From < End andalso Begin < To end, Reads) end,
        [Operation || {_, _, write, _} = Operation <- History]
    ).

parallel(Funs) ->
    Monitors = [spawn_monitor(fun() -> exit({done, Fun()}) end) || Fun <- Funs],
    [receive {'DOWN', Monitor, process, _, {done, Result}} -> Result end || {_, Monitor} <- Monitors].

%% The same for all VMs of a host.
clock() -> os:perf_counter(nanosecond).

record(Bucket, Count, Start, Number) ->
    lists:append(parallel([
        fun() -> lists:append([operations(Bucket, Key, Start, {Role, Number}) || Key <- lists:seq(1, Count)]) end
     || Role <- [reader, writer]
    ])).

operations(Bucket, Key, Start, Who) ->
    Begin = Start + Key * 5000000,
    ok = await(Begin),
    [{Key, operation(Bucket, Key, Who, paced(Who, Begin, N))} || N <- lists:seq(1, ?OPERATIONS)].

%% A read takes no time, but a write does. So reads are spread, and some begin while a write is under way.
paced({reader, Number}, Begin, N) ->
    ok = await(Begin + N * 150000 + Number * 40000),
    N;
paced({writer, _}, _Begin, N) ->
    N.

%% Sleeps where there is time: a node that waits for a processor answers nobody.
await(Time) ->
    case Time - clock() of
        Left when Left =< 0 -> ok;
        Left when Left > 2000000 -> timer:sleep(1), await(Time);
        _ -> erlang:yield(), await(Time)
    end.

operation(Bucket, Key, {reader, _}, _N) ->
    Begin = clock(),
    Value = kv_bucket:get(Bucket, Key, absent),
    {Begin, clock(), read, Value};
operation(Bucket, Key, {writer, _}, N) when N rem 4 =:= 0 ->
    Begin = clock(),
    _ = kv_bucket:delete(Bucket, Key),
    {Begin, clock(), write, absent};
operation(Bucket, Key, {writer, Number}, N) ->
    Begin = clock(),
    ok = kv_bucket:put(Bucket, Key, {Number, N}),
    {Begin, clock(), write, {Number, N}}.
