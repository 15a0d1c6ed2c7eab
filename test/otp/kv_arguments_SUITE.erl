%% Arguments of calls: options in last place, in every function alike, and the sentences about wrong arguments. And what
%% stands for an absent key.
-module(kv_arguments_SUITE).

-include_lib("stdlib/include/assert.hrl").
-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [
        every_function_takes_a_timeout_or_a_list_with_one,
        a_list_of_options_in_the_third_place_of_get_is_options_and_any_other_a_default,
        a_time_to_live_is_an_option_in_put_async_and_cast_alike,
        async_and_cast_refuse_a_timeout_and_say_where_it_belongs,
        a_wrong_argument_is_named_with_the_value_that_is_wanted,
        a_wrong_argument_of_a_registry_is_named,
        the_error_is_of_the_function_that_was_called,
        lists_that_only_the_node_can_check_are_named_too,
        a_request_is_awaited_once_and_by_its_sender,
        a_wrong_server_is_an_error_as_of_gen_server,
        a_server_that_can_name_no_process_is_named_as_the_wrong_argument,
        a_process_of_the_node_that_is_no_bucket_is_an_exit,
        an_absent_key_is_undefined_in_every_function,
        keys_of_large_values_are_listed,
        all_doors_count_the_same_after_an_expiry
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config).
end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%% Runs a test with a bucket that is given by its proxy, by its native pid, and by its name.
for_each(Config, Test) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, arguments}]),
        [
            begin
                ok = kv_bucket:clear(Proxy),
                Test(Bucket)
            end
         || Bucket <- [Proxy, kv_proxy:native(Proxy), arguments]
        ],
        ?assertEqual([], kv_test:mailbox())
    end).

%% The sentences of an error, by the number of the argument.
sentences(Fun) ->
    try Fun() of
        Result -> {no_error, Result}
    catch
        error:badarg:Stack ->
            [{_, _, _, Info} | _] = Stack,
            #{module := Module} = proplists:get_value(error_info, Info),
            Plain = fun(_, Text) -> lists:flatten(io_lib:format("~ts", [Text])) end,
            maps:map(Plain, Module:format_error(badarg, Stack))
    end.

%%% One meaning

every_function_takes_a_timeout_or_a_list_with_one(Config) ->
    for_each(Config, fun(Bucket) ->
        Calls = [
            {get, [k, none]}, {fetch, [k]}, {has_key, [k]}, {put, [k, 1]}, {put_new, [k, 1]}, {delete, [k]}, {clear, []}, {size, []},
            {keys, []}, {to_map, []}, {generation, []}, {get_many, [[k], none]}, {take, [[k]]}, {put_many, [[{k, 1}]]},
            {delete_many, [[k]]}
        ],
        [
            begin
                Answers = [apply(kv_bucket, Function, [Bucket | Arguments ++ [Last]]) || Last <- last_arguments(), ok =:= kv_bucket:clear(Bucket)],
                ?assertMatch([_], lists:usort(Answers), Function)
            end
         || {Function, Arguments} <- Calls
        ],
        Await = fun(Last) -> kv_bucket:await(kv_bucket:async(Bucket, size, []), Last) end,
        ?assertEqual([0], lists:usort([Await(Last) || Last <- last_arguments()])),
        ?assertEqual([0], kv_bucket:await_many([kv_bucket:async(Bucket, size, [])], [{timeout, infinity}])),
        ok = sys:suspend(kv_proxy:native(whereis(arguments))),
        ?assertExit({timeout, _}, kv_bucket:size(Bucket, [{timeout, 0}, {timeout, infinity}])),
        ok = sys:resume(kv_proxy:native(whereis(arguments)))
    end),
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link(),
        [
            begin
                ?assertEqual(ok, kv_registry:create(Registry, <<"a">>, Last)),
                ?assertMatch({ok, _}, kv_registry:lookup(Registry, <<"a">>, Last)),
                ?assertEqual([<<"a">>], kv_registry:names(Registry, Last)),
                ?assertEqual(1, kv_registry:generation(Registry, Last))
            end
         || Last <- last_arguments()
        ],
        ?assertEqual(ok, kv_registry:stop(Registry, [{timeout, 5000}])),
        {ok, Bucket} = kv_bucket:start_link(),
        ?assertEqual(ok, kv_bucket:stop(Bucket, normal, [{timeout, 5000}]))
    end).

last_arguments() -> [5000, infinity, [], [{timeout, 5000}], [{timeout, infinity}, {timeout, 1}]].

a_list_of_options_in_the_third_place_of_get_is_options_and_any_other_a_default(Config) ->
    for_each(Config, fun(Bucket) ->
        Cases = [
            {[{timeout, 5000}], undefined}, {[{default, 0}], 0}, {[{timeout, 5000}, {default, 0}], 0}, {[{default, 1}, {default, 2}], 1},
            {[{default, [{timeout, 1}]}], [{timeout, 1}]}, {[], []}, {none, none}, {[a], [a]}, {[{ttl, 1}], [{ttl, 1}]},
            {[{colour, red}], [{colour, red}]}, {[{timeout, 1}, colour], [{timeout, 1}, colour]}, {[{timeout, 1} | x], [{timeout, 1} | x]}
        ],
        [
            begin
                ?assertEqual(Answer, kv_bucket:get(Bucket, absent, Third)),
                ?assertEqual([Answer], kv_bucket:get_many(Bucket, [absent], Third)),
                ?assertEqual(Answer, kv_bucket:await(kv_bucket:async(Bucket, get, [absent, without_timeout(Third)]))),
                ?assertEqual([Answer], kv_bucket:await(kv_bucket:async(Bucket, get_many, [[absent], without_timeout(Third)])))
            end
         || {Third, Answer} <- Cases
        ],
        ?assertError(badarg, kv_bucket:get(Bucket, absent, [{timeout, 1}, {colour, red}])),
        ?assertError(badarg, kv_bucket:get_many(Bucket, [absent], [{defualt, 1}, {timeout, 1}])),
        ?assertEqual([{timeout, 1}], kv_bucket:get(Bucket, absent, [{timeout, 1}], 5000)),
        ?assertEqual([{timeout, 1}], kv_bucket:get(Bucket, absent, [{timeout, 1}], [{timeout, 5000}])),
        ?assertEqual(0, kv_bucket:await(kv_bucket:async(Bucket, get, [absent, 0, []])))
    end).

%% async takes no timeout, so the same without it.
without_timeout([{timeout, 5000} | Rest]) when Rest =/= [] -> Rest;
without_timeout([{timeout, 5000}]) -> undefined;
without_timeout(Third) -> Third.

a_time_to_live_is_an_option_in_put_async_and_cast_alike(Config) ->
    for_each(Config, fun(Bucket) ->
        Options = [[{ttl, 1 bsl 46}], [{ttl, infinity}], []],
        [
            begin
                ?assertEqual(ok, kv_bucket:put(Bucket, a, 1, Option)),
                ?assertEqual(ok, kv_bucket:await(kv_bucket:async(Bucket, put, [b, 1, Option]))),
                ?assertEqual(true, kv_bucket:await(kv_bucket:async(Bucket, put_new, [{c, Option}, 1, Option]))),
                ?assertEqual(ok, kv_bucket:await(kv_bucket:async(Bucket, put_many, [[{d, 1}], Option]))),
                ?assertEqual(ok, kv_bucket:cast(Bucket, put, [e, 1, Option])),
                ?assertEqual(ok, kv_bucket:cast(Bucket, put_many, [#{f => 1}, Option]))
            end
         || Option <- Options
        ],
        ?assertEqual(5 + length(Options), kv_bucket:size(Bucket)),
        ok = kv_bucket:cast(Bucket, put, [short, 1, [{ttl, 1}]]),
        kv_test:wait(fun() -> not kv_bucket:has_key(Bucket, short) end)
    end).

async_and_cast_refuse_a_timeout_and_say_where_it_belongs(Config) ->
    Await = "async/3 does not wait: await/2 takes the timeout",
    Cast = "cast/3 does not wait, and takes no timeout",
    Ttl = "; the time to live is [{ttl, Ms}]",
    for_each(Config, fun(Bucket) ->
        Cases = [
            {async, put, [k, v, 1000], Await ++ Ttl}, {async, put, [k, v, infinity], Await ++ Ttl}, {cast, put, [k, v, 1000], Cast ++ Ttl},
            {async, put_many, [[], 1000], Await ++ Ttl}, {async, get, [k, none, 1000], Await}, {async, size, [1000], Await},
            {async, fetch, [k, [{timeout, 1}]], Await}, {async, get, [k, [{timeout, 1}]], Await}, {async, put, [k, v, [{ttl, 1}, {timeout, 1}]], Await},
            {cast, delete, [k, [{timeout, 1}]], Cast}, {cast, clear, [infinity], Cast}
        ],
        [
            ?assertEqual(#{3 => Text}, sentences(fun() -> kv_bucket:How(Bucket, Function, Arguments) end))
         || {How, Function, Arguments, Text} <- Cases
        ],
        ?assertEqual(#{}, kv_bucket:to_map(Bucket))
    end).

%%% Sentences

a_wrong_argument_is_named_with_the_value_that_is_wanted(Config) ->
    Milliseconds = "0 to 4294967295 milliseconds, or infinity",
    for_each(Config, fun(Bucket) ->
        Cases = [
            {put, [k, v, soon], 4, "the timeout must be " ++ Milliseconds ++ ", or a list of options, and is soon"},
            {put, [k, v, -1], 4, "the timeout must be " ++ Milliseconds ++ ", or a list of options, and is -1"},
            {put, [k, v, [{ttl, 0}]], 4, "ttl must be 1 to 70368744177664 milliseconds, or infinity, and is 0"},
            {put, [k, v, [{timeout, 1.5}]], 4, "timeout must be " ++ Milliseconds ++ ", and is 1.5"},
            {put, [k, v, [{tll, 10}]], 4, "there is no option tll; did you mean ttl?"},
            {put, [k, v, [ttl]], 4, "an option must be a pair of key and value, and is ttl"},
            {size, [[{ttl, 1}]], 2, "there is no option ttl; the only option is timeout"},
            {fetch, [k, 1 bsl 32], 3, "the timeout must be " ++ Milliseconds ++ ", or a list of options, and is 4294967296"},
            {get, [k, [{timeout, soon}]], 3, "timeout must be " ++ Milliseconds ++ ", and is soon"},
            {get, [k, 0, [{default, 1}]], 4, "the default is the third argument already; here stands the timeout, or a list with it"},
            {async, [puts, [k]], 2, "async/3 cannot send puts; did you mean put?"},
            {async, [stop, []], 2,
                "async/3 cannot send stop; the functions are "
                "clear, compare_and_delete, compare_and_put, decr, delete, delete_many, expire, expire_at, fetch, "
                "generation, get, get_many, has_key, incr, keys, persist, pop, put, put_many, put_new, put_new_many, "
                "replace, scan, size, stats, swap, take, to_map, touch, transaction, ttl"},
            {async, [put, [k]], 3, "the arguments must be [Key, Value] or [Key, Value, Options], and is [k]"},
            {async, [get, k], 3, "the arguments must be [Key] or [Key, Default], and is k"},
            {async, [size, [k | l]], 3, "the arguments must be [], and is [k|l]"},
            {async, [put, [k, v, x]], 3, "the last of the arguments must be a list of options, and is x"},
            {cast, [get, [k]], 2,
                "cast/3 cannot send get; the functions are "
                "clear, compare_and_delete, compare_and_put, decr, delete, delete_many, expire, expire_at, incr, "
                "persist, put, put_many, replace, swap, touch"}
        ],
        [
            ?assertEqual(#{Place => Text}, sentences(fun() -> apply(kv_bucket, Function, [Bucket | Arguments]) end))
         || {Function, Arguments, Place, Text} <- Cases
        ],
        ?assertEqual(#{}, kv_bucket:to_map(Bucket))
    end).

a_wrong_argument_of_a_registry_is_named(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link(),
        ?assertEqual({error, {bad_name, shopping}}, kv_registry:lookup(Registry, shopping)),
        ?assertEqual({error, {bad_name, shopping}}, kv_registry:create(Registry, shopping)),
        [
            ?assertMatch(
                #{Place := "the timeout must be 0 to 4294967295 milliseconds, or infinity, or a list of options, and is soon"},
                sentences(fun() -> apply(kv_registry, Function, Arguments ++ [soon]) end),
                Function
            )
         || {Function, Arguments, Place} <- [
                {lookup, [Registry, <<"a">>], 3}, {create, [Registry, <<"a">>], 3}, {names, [Registry], 2}, {generation, [Registry], 2},
                {stop, [Registry], 2}
            ]
        ],
        ?assertMatch(#{1 := "the process must be a bucket, " ++ _}, sentences(fun() -> kv:info(self()) end)),
        ?assertMatch(#{1 := "the process or node must be " ++ _}, sentences(fun() -> kv:info("kv") end)),
        ?assertMatch(#{1 := "the name must be an atom, and is " ++ _}, sentences(fun() -> kv_event_manager:start_link("name") end)),
        ?assertMatch(
            #{4 := "the list of events must be [], [lost], [restored] or [lost, restored], and is [gone]"},
            sentences(fun() -> kv_event_manager:add_handler(kv_event_manager, handler, [], [gone]) end)
        )
    end).

%% As a shell and a log print it.
the_error_is_of_the_function_that_was_called(_Config) ->
    Raised = fun() ->
        try
            kv_bucket:put(a, k, v, -1)
        catch
            error:badarg:Stack -> Stack
        end
    end,
    [{kv_bucket, put, [a, k, v, -1], _}, {?MODULE, _, _, _} | _] = Stack = Raised(),
    Printed = unicode:characters_to_list(erl_error:format_exception(error, badarg, Stack)),
    ?assertNotEqual(nomatch, string:find(Printed, "in function  kv_bucket:put/4")),
    ?assertNotEqual(nomatch, string:find(Printed, "*** argument 4: the timeout must be")).

lists_that_only_the_node_can_check_are_named_too(Config) ->
    Keys = "the list of keys must be a proper list, and is [k|l]",
    Entries = "the collection of entries must be a map or a proper list of pairs, and is [k]",
    for_each(Config, fun(Bucket) ->
        [
            begin
                ?assertEqual(#{2 => Text}, sentences(fun() -> kv_bucket:Function(Bucket, Given) end)),
                Await = fun() -> kv_bucket:await(kv_bucket:async(Bucket, Function, [Given])) end,
                ?assertEqual(#{1 => "the answer to the request: " ++ Text}, sentences(Await))
            end
         || {Function, Given, Text} <- [
                {get_many, [k | l], Keys}, {take, [k | l], Keys}, {delete_many, [k | l], Keys}, {put_many, [k], Entries}
            ]
        ],
        ?assertMatch({[{kv_bucket, take, [Bucket, k], _} | _], _}, stack(fun() -> kv_bucket:take(Bucket, k) end))
    end).

stack(Fun) ->
    try
        Fun()
    catch
        error:Reason:Stack -> {Stack, Reason}
    end.

a_request_is_awaited_once_and_by_its_sender(Config) ->
    for_each(Config, fun(Bucket) ->
        Request = kv_bucket:async(Bucket, size, []),
        Others = fun(Function) -> elsewhere(fun() -> sentences(fun() -> kv_bucket:Function(Request) end) end) end,
        [
            ?assertMatch(#{1 := "only the process that sent the request, " ++ _}, Others(Function))
         || Function <- [await, abandon]
        ],
        0 = kv_bucket:await(Request),
        ?assertMatch(#{1 := "the request has been awaited" ++ _}, sentences(fun() -> kv_bucket:await(Request, 0) end)),
        ?assertMatch(#{1 := "the request must be " ++ _}, sentences(fun() -> kv_bucket:await(size) end)),
        ?assertMatch(#{1 := "the request must be " ++ _}, sentences(fun() -> kv_bucket:abandon(size) end)),
        ?assertMatch(#{1 := "the list of requests must be " ++ _}, sentences(fun() -> kv_bucket:await_many([size]) end)),
        ?assertMatch(#{1 := "the list of requests must be " ++ _}, sentences(fun() -> kv_bucket:await_many(size) end))
    end).

elsewhere(Fun) ->
    {_, Monitor} = spawn_monitor(fun() -> exit(Fun()) end),
    receive
        {'DOWN', Monitor, process, _, Result} -> Result
    end.

a_wrong_server_is_an_error_as_of_gen_server(Config) ->
    in(Config, fun() ->
        [
            ?assertEqual(reason(fun() -> gen_server:call(Server, size) end), reason(fun() -> kv_bucket:size(Server) end), Server)
         || Server <- [nobody, {global, nobody}, {via, global, nobody}, self()]
        ]
    end).

a_server_that_can_name_no_process_is_named_as_the_wrong_argument(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = Started = kv_bucket:start_link(),
        Calls = [
            fun(Server) -> kv_bucket:get(Server, k) end,
            fun(Server) -> kv_bucket:put(Server, k, 1) end,
            fun(Server) -> kv_bucket:size(Server) end,
            fun(Server) -> kv_bucket:generation(Server) end,
            fun(Server) -> kv_bucket:async(Server, get, [k]) end,
            fun(Server) -> kv_bucket:cast(Server, put, [k, 1]) end,
            fun(Server) -> kv_registry:lookup(Server, <<"name">>) end,
            fun(Server) -> kv_registry:create(Server, <<"name">>) end,
            fun(Server) -> kv_registry:names(Server) end
        ],
        Alone = iolist_to_binary(["the server must be the pid alone, and is {ok,", pid_to_list(Bucket), "}"]),
        [
            begin
                #{1 := Text} = sentences(fun() -> Call(Started) end),
                ?assertEqual(Alone, iolist_to_binary(Text)),
                ?assertMatch(#{1 := _}, sentences(fun() -> Call(Other) end))
            end
         || Call <- Calls, Other <- [42, <<"name">>, {a, b, c}, [Bucket]]
        ]
    end).

a_process_of_the_node_that_is_no_bucket_is_an_exit(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link(),
        {ok, Bucket} = kv_bucket:start_link(),
        Calls = [
            {get, [k]}, {fetch, [k]}, {has_key, [k]}, {put, [k, 1]}, {put_new, [k, 1]}, {delete, [k]}, {clear, []}, {size, []}, {keys, []},
            {to_map, []}, {get_many, [[k]]}, {take, [[k]]}, {put_many, [[{k, 1}]]}, {delete_many, [[k]]}
        ],
        [
            begin
                ?assertExit({{bad_request, _}, _}, apply(kv_bucket, Function, [Server | Arguments]), Function),
                ?assertExit({{bad_request, _}, _}, kv_bucket:await(kv_bucket:async(Server, Function, Arguments)), Function)
            end
         || {Function, Arguments} <- Calls, Server <- [Registry, kv_proxy:native(Registry)]
        ],
        ?assertExit({{bad_request, _}, _}, kv_registry:names(Bucket)),
        ?assertExit({{bad_request, _}, _}, kv_registry:lookup(Bucket, <<"a">>)),
        Value = {error, {bad_request, size}},
        ok = kv_bucket:put(Bucket, k, Value),
        ?assertEqual(Value, kv_bucket:get(Bucket, k)),
        ?assertEqual(Value, kv_bucket:delete(Bucket, k))
    end).

reason(Fun) ->
    try
        Fun()
    catch
        exit:{{Reason, _Stack}, _Call} -> {exit, Reason};
        exit:{Reason, _Call} -> {exit, Reason}
    end.

%%% Absent, large, expired

an_absent_key_is_undefined_in_every_function(Config) ->
    for_each(Config, fun(Bucket) ->
        ?assertEqual(undefined, kv_bucket:get(Bucket, k)),
        ?assertEqual(undefined, kv_bucket:delete(Bucket, k)),
        ?assertEqual(undefined, kv_bucket:delete(Bucket, k, [{timeout, 5000}])),
        ?assertEqual([undefined], kv_bucket:get_many(Bucket, [k])),
        [
            ?assertEqual(Absent, kv_bucket:await(kv_bucket:async(Bucket, Function, [Argument])))
         || {Function, Argument, Absent} <- [{get, k, undefined}, {delete, k, undefined}, {get_many, [k], [undefined]}]
        ],
        ok = kv_bucket:put(Bucket, k, nil),
        ?assertEqual(nil, kv_bucket:delete(Bucket, k))
    end).

keys_of_large_values_are_listed(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        Value = binary:copy(<<7>>, 100 * 1000 * 1000),
        [ok = kv_bucket:put(Bucket, N, Value, [{timeout, infinity}]) || N <- [1, 2, 3]],
        ?assertEqual([1, 2, 3], lists:sort(kv_bucket:keys(Bucket))),
        ?assertEqual([1, 2, 3], lists:sort(gen_server:call(Bucket, keys))),
        ?assertExit({{too_large, _}, _}, kv_bucket:to_map(Bucket)),
        ?assertExit({{too_large, _}, _}, kv_bucket:take(Bucket, [1, 2, 3])),
        ?assertExit({{too_large, _}, _}, kv_bucket:get_many(Bucket, [1, 2, 3])),
        ok = kv_bucket:stop(Bucket)
    end).

%% The second of two expiries is not swept at once: the table rests after the first.
all_doors_count_the_same_after_an_expiry(Config) ->
    for_each(Config, fun(Bucket) ->
        ok = kv_bucket:put(Bucket, stays, 1),
        [
            begin
                ok = kv_bucket:put(Bucket, N, N, [{ttl, 1}]),
                ok = kv_test:wait(fun() -> not kv_bucket:has_key(Bucket, N) end),
                ok = kv_bucket:put(Bucket, {also, N}, N, [{ttl, 1}]),
                ok = kv_test:wait(fun() -> length(kv_bucket:keys(Bucket)) =:= 1 end),
                ?assertEqual([1, 1, 1, 1, 1, 1], [Door(Bucket) || Door <- doors()])
            end
         || N <- lists:seq(1, 20)
        ]
    end).

doors() ->
    Agent = fun(Module, Function) -> fun(Bucket) -> gen_server:call(Bucket, {get, {Module, Function, []}}) end end,
    [
        fun(Bucket) -> maps:get(size, kv:info(Bucket)) end,
        Agent(maps, size),
        Agent(erlang, map_size),
        fun kv_bucket:size/1,
        fun(Bucket) -> length(kv_bucket:keys(Bucket)) end,
        fun(Bucket) -> map_size(kv_bucket:to_map(Bucket)) end
    ].
