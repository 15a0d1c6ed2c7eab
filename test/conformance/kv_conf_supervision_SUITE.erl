%% Supervision: native processes as children of stock supervisors, bare and behind the application's proxies.
-module(kv_conf_supervision_SUITE).
-behaviour(supervisor).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [call/2, outcome/1, next/0, end_of/1, serve/1]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 120}}].

all() -> [{group, bare}, {group, dynamic}, {group, proxies}].

groups() ->
    [
        {bare, [], [
            a_child_that_ends_is_restarted_as_its_type_says,
            too_many_restarts_end_the_supervisor,
            one_for_all_restarts_all,
            rest_for_one_restarts_the_rest,
            a_child_is_shut_down_in_every_way,
            a_child_can_be_terminated_restarted_and_deleted,
            a_supervisor_ends_its_children_in_reverse_order,
            a_supervisor_that_is_killed_takes_its_children_along,
            a_significant_child_shuts_the_supervisor_down,
            children_are_listed,
            simple_one_for_one_children_come_and_go,
            a_suspended_child_is_shut_down,
            supervisors_may_be_nested
        ]},
        {dynamic, [], [
            a_dynamic_supervisor_starts_and_terminates_children,
            a_dynamic_supervisor_restarts_children,
            a_dynamic_supervisor_has_an_intensity,
            a_dynamic_supervisor_stops_with_its_children
        ]},
        {proxies, [], [
            a_proxy_is_restarted_with_its_native_process,
            a_proxy_is_shut_down_in_every_way,
            proxies_count_against_the_intensity,
            proxies_are_listed_and_counted,
            a_start_that_fails_is_told,
            a_proxy_that_is_killed_takes_its_native_process_along,
            requests_to_a_proxy_are_answered_as_by_the_process
        ]}
    ].

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

init_per_group(dynamic, Config) ->
    case peer:call(kv_conformance:caller(Config), code, ensure_loaded, ['Elixir.DynamicSupervisor']) of
        {module, _} -> Config;
        {error, _} -> {skip, "there is no Elixir"}
    end;
init_per_group(_Group, Config) ->
    Config.

end_per_group(_Group, _Config) ->
    ok.

%%% A stock supervisor

init(Specification) ->
    {ok, Specification}.

start(Flags, Children) ->
    process_flag(trap_exit, true),
    {ok, Supervisor} = supervisor:start_link(?MODULE, {Flags, Children}),
    Supervisor.

bare(Node, Id) ->
    bare(Node, Id, #{}).

bare(Node, Id, More) ->
    maps:merge(#{id => Id, start => {kv_case, spawned, [Node]}}, More).

pid_of(Supervisor, Id) ->
    {Id, Pid, _, _} = lists:keyfind(Id, 1, supervisor:which_children(Supervisor)),
    Pid.

%% Returns the child that has replaced another: a pid, or what the supervisor has instead. The supervisor may have
%% ended.
successor(Supervisor, Id, Old) ->
    kv_test:wait(fun() ->
        try lists:keyfind(Id, 1, supervisor:which_children(Supervisor)) of
            {Id, Old, _, _} -> false;
            {Id, restarting, _, _} -> false;
            {Id, Pid, _, _} when is_pid(Pid) -> restarted;
            {Id, undefined, _, _} -> {not_restarted, undefined};
            false -> {not_restarted, removed}
        catch
            exit:_ -> supervisor_ended
        end
    end).

stop(Supervisor) ->
    Monitor = monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    Reason = kv_test:down(Monitor),
    receive
        {'EXIT', Supervisor, Reason} -> Reason
    after 5000 -> error(no_exit)
    end.

%%% bare

a_child_that_ends_is_restarted_as_its_type_says(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Supervisor = start(#{intensity => 10, period => 1}, [bare(Node, child, #{restart => Restart})]),
                Child = pid_of(Supervisor, child),
                ok = serve(Child),
                ok = gen_server:stop(Child, Reason, 5000),
                Seen = successor(Supervisor, child, Child),
                {Restart, Reason, Seen, stop(Supervisor)}
            end
         || Restart <- [permanent, transient, temporary], Reason <- [normal, shutdown, {shutdown, why}, crash, kill, noproc]
        ]
    end).

too_many_restarts_end_the_supervisor(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Supervisor = start(#{intensity => Intensity, period => 100}, [bare(Node, child), bare(Node, other)]),
                Other = monitor(process, pid_of(Supervisor, other)),
                Seen = crash_until_it_ends(Supervisor, Intensity + 1),
                {Seen, kv_test:down(Other), end_of_supervisor(Supervisor)}
            end
         || Intensity <- [0, 1, 3]
        ]
    end).

crash_until_it_ends(_Supervisor, 0) ->
    [];
crash_until_it_ends(Supervisor, Left) ->
    Child = pid_of(Supervisor, child),
    exit(Child, crash),
    Seen = successor(Supervisor, child, Child),
    [Seen | crash_until_it_ends(Supervisor, Left - 1)].

end_of_supervisor(Supervisor) ->
    receive
        {'EXIT', Supervisor, Reason} -> Reason
    after 5000 -> error(supervisor_lives)
    end.

one_for_all_restarts_all(Config) ->
    same(Config, fun(Node) -> restarts(Node, one_for_all, b) end).

rest_for_one_restarts_the_rest(Config) ->
    same(Config, fun(Node) -> restarts(Node, rest_for_one, b) end).

%% Returns which children are new after one of three has crashed, and why the others ended.
restarts(Node, Strategy, Id) ->
    Supervisor = start(#{strategy => Strategy, intensity => 5, period => 5}, [bare(Node, X) || X <- [a, b, c]]),
    Before = [{X, pid_of(Supervisor, X)} || X <- [a, b, c]],
    Monitors = [{X, monitor(process, Pid)} || {X, Pid} <- Before],
    exit(proplists:get_value(Id, Before), crash),
    restarted = successor(Supervisor, c, proplists:get_value(c, Before)),
    New = [X || {X, Pid} <- Before, pid_of(Supervisor, X) =/= Pid],
    Reasons = [{X, kv_test:down(Monitor)} || {X, Monitor} <- Monitors, lists:member(X, New)],
    [ok = serve(pid_of(Supervisor, X)) || X <- [a, b, c]],
    [demonitor(Monitor, [flush]) || {_, Monitor} <- Monitors],
    {New, Reasons, stop(Supervisor)}.

a_child_is_shut_down_in_every_way(Config) ->
    ?assertMatch(
        [{brutal_kill, killed, shutdown} | _],
        same(Config, fun(Node) ->
            [
                begin
                    Supervisor = start(#{}, [bare(Node, child, #{shutdown => Shutdown, type => Type})]),
                    Monitor = monitor(process, pid_of(Supervisor, child)),
                    Reason = stop(Supervisor),
                    {Shutdown, kv_test:down(Monitor), Reason}
                end
             || Type <- [worker, supervisor], Shutdown <- [brutal_kill, 5000, 1, infinity]
            ]
        end)
    ).

a_child_can_be_terminated_restarted_and_deleted(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{}, [bare(Node, a)]),
        Monitor = monitor(process, pid_of(Supervisor, a)),
        Seen = [
            supervisor:terminate_child(Supervisor, a), kv_test:down(Monitor), supervisor:which_children(Supervisor),
            supervisor:delete_child(Supervisor, b), element(1, supervisor:restart_child(Supervisor, a)),
            supervisor:restart_child(Supervisor, a), supervisor:delete_child(Supervisor, a), serve(pid_of(Supervisor, a)),
            element(1, supervisor:start_child(Supervisor, bare(Node, b))), supervisor:start_child(Supervisor, bare(Node, b)),
            supervisor:terminate_child(Supervisor, b), supervisor:delete_child(Supervisor, b)
        ],
        {Seen, stop(Supervisor)}
    end).

a_supervisor_ends_its_children_in_reverse_order(Config) ->
    ?assertEqual(
        [c, b, a],
        same(Config, fun(Node) ->
            Supervisor = start(#{}, [bare(Node, X) || X <- [a, b, c]]),
            Monitors = [{monitor(process, pid_of(Supervisor, X)), X} || X <- [a, b, c]],
            shutdown = stop(Supervisor),
            [begin {'DOWN', Monitor, process, _, shutdown} = next(), proplists:get_value(Monitor, Monitors) end || _ <- Monitors]
        end)
    ).

a_supervisor_that_is_killed_takes_its_children_along(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{}, [bare(Node, X) || X <- [a, b]]),
        Monitors = [monitor(process, pid_of(Supervisor, X)) || X <- [a, b]],
        exit(Supervisor, kill),
        {end_of_supervisor(Supervisor), [kv_test:down(Monitor) || Monitor <- Monitors]}
    end).

a_significant_child_shuts_the_supervisor_down(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{auto_shutdown => any_significant}, [bare(Node, a, #{restart => transient, significant => true}), bare(Node, b)]),
        Monitor = monitor(process, pid_of(Supervisor, b)),
        ok = gen_server:stop(pid_of(Supervisor, a)),
        {end_of_supervisor(Supervisor), kv_test:down(Monitor)}
    end).

children_are_listed(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{}, [bare(Node, X) || X <- [a, b]]),
        Seen = supervisor:which_children(Supervisor),
        Specification = supervisor:get_childspec(Supervisor, a),
        {Seen, Specification, stop(Supervisor)}
    end).

simple_one_for_one_children_come_and_go(Config) ->
    same(Config, fun(Node) ->
        Child = #{id => bucket, start => {kv_case, spawned, []}, restart => temporary},
        Supervisor = start(#{strategy => simple_one_for_one}, [Child]),
        Pids = [begin {ok, Pid} = supervisor:start_child(Supervisor, [Node]), ok = serve(Pid), Pid end || _ <- lists:seq(1, 5)],
        [First, Second | Rest] = Pids,
        Terminated = supervisor:terminate_child(Supervisor, First),
        Gone = end_of(First),
        ok = gen_server:stop(Second, crash, 5000),
        ok = kv_test:wait(fun() -> length(supervisor:which_children(Supervisor)) =:= 3 end),
        Monitors = [monitor(process, Pid) || Pid <- Rest],
        {Terminated, Gone, stop(Supervisor), [kv_test:down(Monitor) || Monitor <- Monitors]}
    end).

a_suspended_child_is_shut_down(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{}, [bare(Node, a)]),
        Child = pid_of(Supervisor, a),
        ok = sys:suspend(Child),
        Monitor = monitor(process, Child),
        {stop(Supervisor), kv_test:down(Monitor)}
    end).

supervisors_may_be_nested(Config) ->
    same(Config, fun(Node) ->
        Inner = #{
            id => inner, type => supervisor,
            start => {supervisor, start_link, [?MODULE, {#{intensity => 0}, [bare(Node, a)]}]}
        },
        Outer = start(#{strategy => one_for_all, intensity => 2, period => 10}, [Inner, bare(Node, b)]),
        Old = pid_of(Outer, b),
        exit(pid_of(pid_of(Outer, inner), a), crash),
        Seen = successor(Outer, b, Old),
        {Seen, serve(pid_of(pid_of(Outer, inner), a)), stop(Outer)}
    end).

%%% dynamic: Elixir's DynamicSupervisor

dynamic(Options) ->
    process_flag(trap_exit, true),
    {ok, Supervisor} = 'Elixir.DynamicSupervisor':start_link([{strategy, one_for_one} | Options]),
    Supervisor.

start_dynamic(Supervisor, Node, More) ->
    {ok, Pid} = 'Elixir.DynamicSupervisor':start_child(Supervisor, bare(Node, bucket, More)),
    Pid.

a_dynamic_supervisor_starts_and_terminates_children(Config) ->
    same(Config, fun(Node) ->
        Supervisor = dynamic([]),
        [A, B] = [start_dynamic(Supervisor, Node, More) || More <- [#{}, #{restart => temporary, shutdown => brutal_kill}]],
        Monitors = [monitor(process, Pid) || Pid <- [A, B]],
        Terminated = ['Elixir.DynamicSupervisor':terminate_child(Supervisor, Pid) || Pid <- [A, B, A]],
        {Terminated, [kv_test:down(Monitor) || Monitor <- Monitors], 'Elixir.DynamicSupervisor':count_children(Supervisor), stop(Supervisor)}
    end).

a_dynamic_supervisor_restarts_children(Config) ->
    same(Config, fun(Node) ->
        Supervisor = dynamic([{max_restarts, 100}]),
        Seen = [
            begin
                Pid = start_dynamic(Supervisor, Node, #{restart => Restart}),
                ok = gen_server:stop(Pid, Reason, 5000),
                #{active := Active} = 'Elixir.DynamicSupervisor':count_children(Supervisor),
                {Restart, Reason, Active}
            end
         || Restart <- [permanent, transient, temporary], Reason <- [normal, shutdown, crash]
        ],
        {Seen, ['Elixir.DynamicSupervisor':which_children(Supervisor)], stop(Supervisor)}
    end).

a_dynamic_supervisor_has_an_intensity(Config) ->
    same(Config, fun(Node) ->
        Supervisor = dynamic([{max_restarts, 0}]),
        Other = monitor(process, start_dynamic(Supervisor, Node, #{})),
        exit(start_dynamic(Supervisor, Node, #{}), crash),
        {end_of_supervisor(Supervisor), kv_test:down(Other)}
    end).

a_dynamic_supervisor_stops_with_its_children(Config) ->
    same(Config, fun(Node) ->
        Supervisor = dynamic([]),
        Monitors = [monitor(process, start_dynamic(Supervisor, Node, #{shutdown => Shutdown})) || Shutdown <- [brutal_kill, 1, 5000, infinity]],
        {stop(Supervisor), [kv_test:down(Monitor) || Monitor <- Monitors]}
    end).

%%% proxies

%% The local name of the kv_node that kv_conformance simulates for a node.
server(Node) ->
    {Server, _} = lists:keyfind(Node, 2, [{Server, kv_node:name(Server)} || Server <- [native, reference]]),
    Server.

proxied(Node, Id, More) ->
    maps:merge(#{id => Id, start => {kv_bucket, start_link, [[{node, server(Node)}]]}}, More).

a_proxy_is_restarted_with_its_native_process(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Supervisor = start(#{intensity => 10}, [proxied(Node, child, #{restart => Restart})]),
                Child = pid_of(Supervisor, child),
                Native = kv_proxy:native(Child),
                ok = gen_server:stop(case Which of proxy -> Child; native -> Native end, Reason, 5000),
                Seen = successor(Supervisor, child, Child),
                {Which, Restart, Reason, Seen, end_of(Native), stop(Supervisor)}
            end
         || Which <- [proxy, native], Restart <- [permanent, transient, temporary], Reason <- [normal, shutdown, crash]
        ]
    end).

a_proxy_is_shut_down_in_every_way(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                Supervisor = start(#{}, [proxied(Node, child, #{shutdown => Shutdown})]),
                Native = kv_proxy:native(pid_of(Supervisor, child)),
                ok = case Suspended of true -> sys:suspend(Native); false -> ok end,
                Monitor = monitor(process, Native),
                {Shutdown, stop(Supervisor), kv_test:down(Monitor)}
            end
         || {Suspended, Shutdown} <- [{false, brutal_kill}, {false, 5000}, {false, infinity}, {true, 5000}, {true, infinity}]
        ]
    end).

proxies_count_against_the_intensity(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{intensity => 2, period => 100}, [proxied(Node, child, #{}), proxied(Node, other, #{})]),
        Other = monitor(process, kv_proxy:native(pid_of(Supervisor, other))),
        Seen = [
            begin
                Child = pid_of(Supervisor, child),
                exit(kv_proxy:native(Child), crash),
                successor(Supervisor, child, Child)
            end
         || _ <- [1, 2, 3]
        ],
        {Seen, kv_test:down(Other), end_of_supervisor(Supervisor)}
    end).

proxies_are_listed_and_counted(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{}, [proxied(Node, X, #{modules => [kv_bucket]}) || X <- [a, b]]),
        {supervisor:which_children(Supervisor), supervisor:count_children(Supervisor), stop(Supervisor)}
    end).

a_start_that_fails_is_told(Config) ->
    same(Config, fun(Node) ->
        Holder = kv_case:bucket(Node, [{name, taken}]),
        ok = serve(Holder),
        Supervisor = start(#{}, []),
        Child = #{id => child, start => {kv_bucket, start_link, [[{node, server(Node)}, {name, taken}]]}},
        {error, {Seen, _}} = supervisor:start_child(Supervisor, Child),
        ok = gen_server:stop(Holder),
        Again = supervisor:start_child(Supervisor, Child),
        {Seen, element(1, Again), call({taken, Node}, size), stop(Supervisor)}
    end).

a_proxy_that_is_killed_takes_its_native_process_along(Config) ->
    same(Config, fun(Node) ->
        Supervisor = start(#{}, [proxied(Node, child, #{restart => temporary})]),
        Child = pid_of(Supervisor, child),
        Native = monitor(process, kv_proxy:native(Child)),
        exit(Child, kill),
        {kv_test:down(Native), stop(Supervisor)}
    end).

requests_to_a_proxy_are_answered_as_by_the_process(Config) ->
    same(Config, fun(Node) ->
        {ok, Proxy} = kv_bucket:start_link([{node, server(Node)}]),
        [
            kv_bucket:put(Proxy, a, 1), kv_bucket:get(Proxy, a), kv_bucket:get(kv_proxy:native(Proxy), a), gen_server:cast(Proxy, {put, b, 2}),
            kv_bucket:to_map(Proxy), call(Proxy, wrong), kv_bucket:stop(Proxy), outcome(fun() -> element(1, kv_bucket:get(Proxy, a)) end)
        ]
    end).
