%% Names: registered names on another node, global names, and calls of functions by name.
-module(kv_conf_names_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, registry/2, call/2, outcome/1, next/0, end_of/1, serve/1]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 60}}].

all() -> kv_conformance:ways().

groups() ->
    kv_conformance:both_ways([
        {names, [], [
            a_name_takes_calls_casts_and_messages,
            a_name_that_nobody_has_is_noproc,
            a_monitor_of_a_name_tells_the_name,
            a_monitor_of_a_name_stays_with_its_process,
            a_monitor_of_a_name_can_be_taken_back,
            a_name_can_be_stopped,
            names_may_be_any_atom,
            sys_takes_a_name,
            messages_to_a_name_that_nobody_has_are_dropped,
            a_ping_is_answered,
            a_multi_call_collects_the_answers,
            an_abcast_reaches_the_name,
            a_global_name_can_be_a_native_pid,
            a_global_name_goes_with_its_process,
            a_via_name_works
        ]},
        {rpc, [], [
            functions_of_the_list_are_called,
            is_process_alive_tells,
            whereis_and_registered_tell,
            processes_are_those_that_live,
            an_unknown_function_is_undef,
            a_wrong_argument_is_badarg,
            erpc_raises_what_the_call_raised,
            a_call_that_is_received_later,
            rpc_of_many_nodes_collects,
            a_cast_of_a_call_returns_true,
            a_block_call_is_answered,
            an_rpc_abcast_and_sbcast_reach_the_name,
            a_server_is_called_by_name_on_many_nodes,
            nothing_is_left_of_a_call
        ]}
    ]).

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
init_per_group(Group, Config) -> kv_conformance:enter(Group, Config).
end_per_group(Group, Config) -> kv_conformance:leave(Group, Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%% A bucket under a name, which is free again afterwards.
with_name(Node, Name, Fun) ->
    Bucket = bucket(Node, [{name, Name}]),
    ok = serve(Bucket),
    Seen = Fun(Bucket),
    exit(Bucket, kill),
    _ = end_of(Bucket),
    Seen.

%%% names

a_name_takes_calls_casts_and_messages(Config) ->
    ?assertEqual(
        [ok, 1, ok, 2, #{a => 2}],
        same(Config, fun(Node) ->
            with_name(Node, conf, fun(Bucket) ->
                To = {conf, Node},
                To ! a_message,
                [
                    gen_server:call(To, {put, a, 1}), call(To, {get, a}), gen_server:cast(To, {put, a, 2}),
                    call(To, {get, a}), call(Bucket, to_map)
                ]
            end)
        end)
    ).

a_name_that_nobody_has_is_noproc(Config) ->
    same(Config, fun(Node) ->
        To = {nobody, Node},
        [
            outcome(fun() -> call(To, size) end), outcome(fun() -> gen_server:stop(To) end), outcome(fun() -> sys:get_state(To) end),
            gen_server:receive_response(gen_server:send_request(To, size), 5000), end_of(To), gen_server:cast(To, clear)
        ]
    end).

a_monitor_of_a_name_tells_the_name(Config) ->
    ?assertMatch(
        [{'DOWN', _, process, {conf, '$target'}, crash}, {'DOWN', _, process, {conf, '$target'}, noproc}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node, [{name, conf}]),
            ok = serve(Bucket),
            _ = monitor(process, {conf, Node}),
            exit(Bucket, crash),
            First = next(),
            _ = monitor(process, {conf, Node}),
            [First, next()]
        end)
    ).

a_monitor_of_a_name_stays_with_its_process(Config) ->
    same(Config, fun(Node) ->
        First = bucket(Node, [{name, conf}]),
        ok = serve(First),
        Monitor = monitor(process, {conf, Node}),
        exit(First, first),
        first = kv_test:down(Monitor),
        with_name(Node, conf, fun(_Second) -> kv_test:mailbox() end)
    end).

a_monitor_of_a_name_can_be_taken_back(Config) ->
    same(Config, fun(Node) ->
        {Seen, Bucket} = with_name(Node, conf, fun(Bucket) ->
            Monitor = monitor(process, {conf, Node}),
            {demonitor(Monitor, [info]), Bucket}
        end),
        {Seen, end_of(Bucket), kv_test:mailbox()}
    end).

a_name_can_be_stopped(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Bucket = bucket(Node, [{name, conf}]),
                ok = serve(Bucket),
                {outcome(fun() -> gen_server:stop({conf, Node}, Reason, 5000) end), end_of(Bucket)}
            end
         || Reason <- [normal, shutdown, crash]
        ]
    end).

names_may_be_any_atom(Config) ->
    Names = [a, 'with space', 'Elixir.KV.Registry', list_to_atom(lists:duplicate(255, $a)), list_to_atom(lists:duplicate(255, 16#1F600)), 'åäö', '\n'],
    ?assertEqual(
        [ok || _ <- Names],
        same(Config, fun(Node) -> [with_name(Node, Name, fun(_) -> call({Name, Node}, {put, Name, Name}) end) || Name <- Names] end)
    ).

sys_takes_a_name(Config) ->
    same(Config, fun(Node) ->
        with_name(Node, conf, fun(Bucket) ->
            ok = call(Bucket, {put, a, 1}),
            {sys:get_state({conf, Node}), sys:suspend({conf, Node}), sys:resume({conf, Node})}
        end)
    end).

messages_to_a_name_that_nobody_has_are_dropped(Config) ->
    same(Config, fun(Node) ->
        [erlang:send({nobody, Node}, hello, Options) || Options <- [[], [nosuspend], [noconnect], [nosuspend, noconnect]]]
    end).

a_ping_is_answered(Config) ->
    ?assertEqual([pong, pang], same(Config, fun(Node) -> [net_adm:ping(Node), net_adm:ping('nobody@127.0.0.1')] end)).

a_multi_call_collects_the_answers(Config) ->
    same(Config, fun(Node) ->
        with_name(Node, conf, fun(_) ->
            [
                gen_server:multi_call([Node], conf, size), gen_server:multi_call([Node], nobody, size),
                gen_server:multi_call([Node, node()], conf, {get, a}, 5000), gen_server:multi_call([Node], conf, wrong)
            ]
        end)
    end).

an_abcast_reaches_the_name(Config) ->
    ?assertEqual(
        {abcast, abcast, #{a => 1}},
        same(Config, fun(Node) ->
            with_name(Node, conf, fun(Bucket) ->
                {gen_server:abcast([Node], conf, {put, a, 1}), gen_server:abcast([Node], nobody, clear), call(Bucket, to_map)}
            end)
        end)
    ).

a_global_name_can_be_a_native_pid(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Name = {global_name, Node},
        yes = global:register_name(Name, Bucket),
        Seen = [
            global:whereis_name(Name), global:register_name(Name, self()), call({global, Name}, {put, a, 1}),
            gen_server:cast({global, Name}, {put, b, 2}), call({global, Name}, to_map), global:send(Name, hello)
        ],
        _ = global:unregister_name(Name),
        [global:whereis_name(Name) | Seen]
    end).

a_global_name_goes_with_its_process(Config) ->
    ?assertEqual(
        {ok, {exit, noproc}},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Name = {goes, Node},
            yes = global:register_name(Name, Bucket),
            exit(Bucket, crash),
            Gone = kv_test:wait(fun() -> global:whereis_name(Name) =:= undefined end),
            {exit, {Reason, _}} = outcome(fun() -> call({global, Name}, size) end),
            {Gone, {exit, Reason}}
        end)
    ).

a_via_name_works(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        yes = global:register_name(via_name, Bucket),
        Seen = [call({via, global, via_name}, size), gen_server:stop({via, global, via_name}), end_of(Bucket)],
        ok = kv_test:wait(fun() -> global:whereis_name(via_name) =:= undefined end),
        Seen
    end).

%%% rpc

functions_of_the_list_are_called(Config) ->
    ?assertEqual(
        ['$target', '$target', '$target', true, true],
        same(Config, fun(Node) ->
            [
                rpc:call(Node, erlang, node, []), rpc:call(Node, erlang, node, [], 5000), erpc:call(Node, erlang, node, []),
                is_list(rpc:call(Node, erlang, processes, [])), is_list(rpc:call(Node, erlang, registered, []))
            ]
        end)
    ).

is_process_alive_tells(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Before = rpc:call(Node, erlang, is_process_alive, [Bucket]),
        ok = gen_server:stop(Bucket),
        [Before, rpc:call(Node, erlang, is_process_alive, [Bucket]), erpc:call(Node, erlang, is_process_alive, [kv_case:other_creation(Bucket, 1)])]
    end).

whereis_and_registered_tell(Config) ->
    same(Config, fun(Node) ->
        Seen = with_name(Node, conf, fun(Bucket) ->
            {Bucket, rpc:call(Node, erlang, whereis, [conf]), lists:member(conf, rpc:call(Node, erlang, registered, []))}
        end),
        {Seen, rpc:call(Node, erlang, whereis, [conf]), lists:member(conf, rpc:call(Node, erlang, registered, []))}
    end).

processes_are_those_that_live(Config) ->
    ?assertEqual(
        [true, true, false],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Listed = fun() -> lists:member(Bucket, erpc:call(Node, erlang, processes, [])) end,
            Alive = Listed(),
            NetKernel = lists:member(rpc:call(Node, erlang, whereis, [net_kernel]), rpc:call(Node, erlang, processes, [])),
            ok = gen_server:stop(Bucket),
            [Alive, NetKernel, Listed()]
        end)
    ).

an_unknown_function_is_undef(Config) ->
    Seen = same(Config, fun(Node) ->
        [rpc:call(Node, no_module, f, Arguments) || Arguments <- [[], [a], [a, {b}], "ab"]] ++
            [rpc:call(Node, erlang, no_function, []), rpc:call(Node, erlang, whereis, []), rpc:block_call(Node, no_module, f, [1])]
    end),
    ?assertMatch([{badrpc, {'EXIT', {undef, [{no_module, f, [], []}]}}} | _], Seen).

%% The stack of the error is for human readers, so it is not compared.
a_wrong_argument_is_badarg(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                {badrpc, {'EXIT', {Reason, [{Module, Function, Arguments, _} | _]}}} = rpc:call(Node, erlang, F, A),
                {Reason, Module, Function, Arguments}
            end
         || {F, A} <- [{whereis, [1]}, {is_process_alive, [a]}, {is_process_alive, [self()]}]
        ]
    end).

erpc_raises_what_the_call_raised(Config) ->
    same(Config, fun(Node) ->
        [outcome(fun() -> erpc:call(Node, no_module, f, [1]) end), outcome(fun() -> erpc:call(Node, no_module, f, no_list) end)]
    end).

a_call_that_is_received_later(Config) ->
    same(Config, fun(Node) ->
        Key = rpc:async_call(Node, erlang, node, []),
        Yielded = rpc:yield(Key),
        Requests = [erpc:send_request(Node, erlang, whereis, [Name]) || Name <- [nobody, no_one]],
        {Yielded, [erpc:receive_response(Request, 5000) || Request <- Requests], outcome(fun() -> erpc:receive_response(erpc:send_request(Node, m, f, []), 5000) end)}
    end).

rpc_of_many_nodes_collects(Config) ->
    same(Config, fun(Node) ->
        [
            rpc:multicall([Node, node()], erlang, node, []), rpc:multicall([Node, 'nobody@127.0.0.1'], erlang, node, []),
            erpc:multicall([Node], erlang, node, []), erpc:multicall([Node], no_module, f, [])
        ]
    end).

a_cast_of_a_call_returns_true(Config) ->
    same(Config, fun(Node) ->
        [rpc:cast(Node, erlang, node, []), erpc:cast(Node, erlang, node, []), erpc:multicast([Node], erlang, node, []), net_adm:ping(Node)]
    end).

a_block_call_is_answered(Config) ->
    same(Config, fun(Node) ->
        [rpc:block_call(Node, erlang, node, []), rpc:block_call(Node, erlang, whereis, [nobody], 5000)]
    end).

an_rpc_abcast_and_sbcast_reach_the_name(Config) ->
    same(Config, fun(Node) ->
        with_name(Node, conf, fun(Bucket) ->
            Put = fun(Key) -> {'$gen_cast', {put, Key, 1}} end,
            Seen = [rpc:abcast([Node], conf, Put(a)), rpc:sbcast([Node], conf, Put(b)), rpc:sbcast([Node], nobody, Put(c))],
            ok = kv_test:wait(fun() -> call(Bucket, size) =:= 2 end),
            {Seen, call(Bucket, to_map)}
        end)
    end).

a_server_is_called_by_name_on_many_nodes(Config) ->
    same(Config, fun(Node) ->
        with_name(Node, conf, fun(_) ->
            Servers = [{conf, Node}, {nobody, Node}],
            [gen_server:receive_response(gen_server:send_request(Server, size), 5000) || Server <- Servers]
        end)
    end).

%% Each call is a process of its own on the node.
nothing_is_left_of_a_call(Config) ->
    ?assertEqual(
        true,
        same(Config, fun(Node) ->
            Count = fun() -> length(erpc:call(Node, erlang, processes, [])) end,
            Before = Count(),
            [Node = rpc:call(Node, erlang, node, []) || _ <- lists:seq(1, 200)],
            ok = kv_test:wait(fun() -> Count() =< Before end),
            true
        end)
    ).
