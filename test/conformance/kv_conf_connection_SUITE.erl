%% The loss of a connection, and its consequences.
-module(kv_conf_connection_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, registry/1, call/2, outcome/1, next/0, next/1, end_of/1, serve/1, do/2]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 60}}].

all() -> kv_conformance:ways().

groups() ->
    kv_conformance:both_ways([
        a_lost_connection_breaks_links_and_monitors,
        a_monitor_of_a_name_tells_the_loss,
        a_call_that_waits_exits_with_nodedown,
        a_node_monitor_tells_the_loss,
        a_process_linked_to_a_lost_node_ends_with_noconnection,
        a_process_whose_owner_is_on_a_lost_node_ends_with_noconnection,
        a_process_without_an_owner_stays,
        an_unlinked_process_survives_the_loss,
        a_monitor_taken_back_before_the_loss_tells_nothing,
        nothing_of_the_former_life_arrives_after_it,
        an_alias_survives_the_loss,
        links_and_monitors_of_the_new_life_work,
        a_third_node_sees_what_the_loss_ended,
        a_registry_forgets_buckets_of_a_lost_owner,
        a_connection_may_be_lost_many_times,
        the_loss_is_told_links_first
    ]).

init_per_suite(Config0) ->
    Config = kv_conformance:start(Config0),
    Witness = kv_conformance:start_peer(Config, ["-hidden"]),
    [{witness, Witness} | Config].

end_per_suite(Config) ->
    ok = kv_test:stop_vm(?config(witness, Config)),
    kv_conformance:stop(Config).

init_per_group(Group, Config) -> kv_conformance:enter(Group, Config).
end_per_group(Group, Config) -> kv_conformance:leave(Group, Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%% Returns once the connection is gone on this side and there is a new one. Then it is gone on the other side, too.
lose(Node) ->
    true = monitor_node(Node, true),
    true = erlang:disconnect_node(Node),
    receive
        {nodedown, Node} -> ok
    after 5000 -> error(no_nodedown)
    end.

lose_and_return(Node) ->
    ok = lose(Node),
    ok = kv_test:wait(fun() -> net_adm:ping(Node) =:= pong end).

a_lost_connection_breaks_links_and_monitors(Config) ->
    ?assertMatch(
        [{'EXIT', _, noconnection}, {'DOWN', _, process, _, noconnection}],
        same(Config, fun(Node) ->
            process_flag(trap_exit, true),
            Bucket = spawn_link(Node, kv_bucket, init, [[]]),
            _ = monitor(process, bucket(Node)),
            ok = serve(Bucket),
            ok = lose(Node),
            lists:sort(fun(A, _) -> element(1, A) =:= 'EXIT' end, next(2))
        end)
    ).

a_monitor_of_a_name_tells_the_loss(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node, [{name, lost_name}]),
        ok = serve(Bucket),
        _ = monitor(process, {lost_name, Node}),
        ok = lose(Node),
        Seen = next(),
        ok = kv_test:wait(fun() -> net_adm:ping(Node) =:= pong end),
        {Seen, serve({lost_name, Node}), gen_server:stop({lost_name, Node})}
    end).

a_call_that_waits_exits_with_nodedown(Config) ->
    ?assertMatch(
        [{exit, {{nodedown, '$target'}, {gen_server, call, _}}}, {error, {noconnection, _}}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = sys:suspend(Bucket),
            Self = self(),
            Caller = kv_case:helper(),
            ok = kv_case:tell(Caller, fun() -> Self ! {outcome, outcome(fun() -> call(Bucket, size) end)} end),
            ok = kv_case:await_call(Caller),
            Request = gen_server:send_request(Bucket, size),
            ok = lose(Node),
            Outcome = receive {outcome, Of} -> Of after 5000 -> error(no_outcome) end,
            [Outcome, gen_server:receive_response(Request, 5000)]
        end)
    ).

a_node_monitor_tells_the_loss(Config) ->
    same(Config, fun(Node) ->
        pong = net_adm:ping(Node),
        [true = monitor_node(Node, true) || _ <- [1, 2]],
        true = erlang:disconnect_node(Node),
        {next(2), erlang:disconnect_node(Node)}
    end).

a_process_linked_to_a_lost_node_ends_with_noconnection(Config) ->
    ends(Config, fun(Node) -> spawn_link(Node, kv_bucket, init, [[]]) end).

a_process_whose_owner_is_on_a_lost_node_ends_with_noconnection(Config) ->
    ends(Config, fun(Node) -> bucket(Node, [{owner, self()}]) end).

%% The witness is on another node.
ends(Config, Start) ->
    Witness = ?config(witness, Config),
    [
        begin
            {Pid, Helper} = kv_test:in(kv_conformance:caller(Config), fun() ->
                Helper = kv_case:trapping_helper(),
                Pid = do(Helper, fun() -> Start(Node) end),
                ok = serve(Pid),
                {Pid, Helper}
            end),
            Watcher = kv_test:in(Witness, fun() ->
                Watcher = kv_case:helper(),
                Monitor = do(Watcher, fun() -> monitor(process, Pid) end),
                do(Watcher, fun() -> ok = serve(Pid) end),
                {Watcher, Monitor}
            end),
            Alive = kv_test:in(kv_conformance:caller(Config), fun() -> ok = lose_and_return(Node), is_process_alive(Helper) end),
            Reason = kv_test:in(Witness, fun() -> {W, Monitor} = Watcher, do(W, fun() -> kv_test:down(Monitor) end) end),
            ?assertEqual({Which, true, noconnection}, {Which, Alive, Reason})
        end
     || {Which, Node} <- kv_conformance:targets(Config)
    ].

a_process_without_an_owner_stays(Config) ->
    ?assertEqual(
        #{a => 1},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            _ = monitor(process, Bucket),
            ok = call(Bucket, {put, a, 1}),
            ok = lose_and_return(Node),
            {'DOWN', _, process, Bucket, noconnection} = next(),
            call(Bucket, to_map)
        end)
    ).

an_unlinked_process_survives_the_loss(Config) ->
    ?assertEqual(
        ok,
        same(Config, fun(Node) ->
            Bucket = spawn_link(Node, kv_bucket, init, [[]]),
            true = unlink(Bucket),
            ok = lose_and_return(Node),
            serve(Bucket)
        end)
    ).

a_monitor_taken_back_before_the_loss_tells_nothing(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [true = demonitor(monitor(process, Bucket)) || _ <- [1, 2, 3]],
        ok = lose_and_return(Node),
        {kv_test:mailbox(), serve(Bucket)}
    end).

%% The bucket cannot answer until there is a new connection.
nothing_of_the_former_life_arrives_after_it(Config) ->
    ?assertMatch(
        {{'DOWN', _, process, _, noconnection}, [], crash},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Monitor = monitor(process, Bucket),
            true = link(Bucket),
            true = unlink(Bucket),
            ok = serve(Bucket),
            ok = lose_and_return(Node),
            Lost = next(),
            Second = monitor(process, Bucket),
            exit(Bucket, crash),
            Reason = kv_test:down(Second),
            false = Monitor =:= Second,
            {Lost, kv_test:mailbox(), Reason}
        end)
    ).

%% An alias belongs to a process, not to a connection. So the bucket answers over the new connection.
an_alias_survives_the_loss(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Alias = alias(),
        ok = sys:suspend(Bucket),
        Bucket ! {'$gen_call', {self(), [alias | Alias]}, size},
        Bucket ! {'$gen_call', {self(), plain}, size},
        _ = sys:get_state(Bucket),
        ok = lose_and_return(Node),
        ok = sys:resume(Bucket),
        next(2)
    end).

links_and_monitors_of_the_new_life_work(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        Bucket = bucket(Node),
        ok = lose_and_return(Node),
        true = link(Bucket),
        _ = monitor(process, Bucket),
        exit(Bucket, crash),
        next(2)
    end).

a_third_node_sees_what_the_loss_ended(Config) ->
    Witness = ?config(witness, Config),
    [
        begin
            {Linked, Free} = kv_test:in(kv_conformance:caller(Config), fun() ->
                Helper = kv_case:trapping_helper(),
                do(Helper, fun() ->
                    {spawn_link(Node, kv_bucket, init, [[]]), bucket(Node)}
                end)
            end),
            kv_test:in(Witness, fun() -> [ok = serve(Pid) || Pid <- [Linked, Free]] end),
            kv_test:in(kv_conformance:caller(Config), fun() -> lose_and_return(Node) end),
            Seen = kv_test:in(Witness, fun() -> {outcome(fun() -> serve(Linked) end), serve(Free)} end),
            ?assertMatch({_, {{exit, {noproc, _}}, ok}}, {Which, Seen})
        end
     || {Which, Node} <- kv_conformance:targets(Config)
    ].

a_registry_forgets_buckets_of_a_lost_owner(Config) ->
    same(Config, fun(Node) ->
        Registry = kv_case:registry(Node, [{creator, self()}]),
        Request = gen_server:send_request(Registry, {create, <<"a">>}),
        {create_bucket, Registry, <<"a">>} = next(),
        Bucket = bucket(Node, [{owner, self()}]),
        {ack, Bucket, {ok, Bucket}} = next(),
        ok = gen_server:cast(Registry, {bucket_created, <<"a">>, Bucket}),
        {reply, Bucket} = gen_server:receive_response(Request, 5000),
        ok = lose_and_return(Node),
        ok = kv_test:wait(fun() -> call(Registry, names) =:= [] end),
        end_of(Bucket)
    end).

a_connection_may_be_lost_many_times(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        Bucket = bucket(Node),
        [
            begin
                Linked = spawn_link(Node, kv_bucket, init, [[]]),
                ok = call(Bucket, {put, N, N}),
                ok = lose_and_return(Node),
                {'EXIT', Linked, noconnection} = next(),
                noproc = end_of(Linked)
            end
         || N <- lists:seq(1, 20)
        ],
        call(Bucket, size)
    end).

the_loss_is_told_links_first(Config) ->
    same(Config, fun(Node) ->
        process_flag(trap_exit, true),
        {Bucket, _} = spawn_opt(Node, kv_bucket, init, [[]], [link, monitor]),
        ok = serve(Bucket),
        true = monitor_node(Node, true),
        true = erlang:disconnect_node(Node),
        next(3)
    end).
