%% @doc The crash matrix: each row kills a process or the program. It checks the processes that come back, those that
%% are gone, and that no operating system process is left. Every row is repeated, because a tree that recovers once may
%% have used up its intensity.
%%
%% The rows of the tree run twice: with the registry of the guide, and one_for_all; and with a durable one, and one_for_one.
-module(kv_crash_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(REPEAT, 20).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [{group, one_for_all}, {group, one_for_one}] ++
        [
            a_node_that_is_killed_while_its_program_hangs_leaves_one_program,
            a_node_supervisor_that_is_killed_leaves_one_program,
            a_program_that_is_killed_at_once_again_is_held_back_and_comes_back,
            a_program_that_hangs_is_killed_and_comes_back,
            a_program_on_its_leash_ignores_signals,
            a_program_that_is_away_for_a_while_is_waited_for,
            a_vm_that_halts_leaves_no_program,
            a_vm_that_is_killed_leaves_no_program,
            a_vm_that_stops_while_its_program_restarts_is_not_held_up
        ].

groups() ->
    Both = [
        an_event_manager_that_is_killed_costs_no_data,
        a_lost_connection_ends_nothing
    ],
    [
        {one_for_all, [], Both ++ [
            a_bucket_that_is_stopped_loses_its_name,
            a_bucket_that_is_killed_loses_its_name,
            a_proxy_that_is_killed_takes_its_bucket_along,
            a_proxy_that_is_stopped_takes_its_bucket_along,
            a_registry_that_is_killed_comes_back_empty_and_without_its_buckets,
            a_bucket_supervisor_that_is_killed_takes_the_registry_along,
            a_node_that_is_killed_takes_its_program_along,
            a_program_that_is_killed_comes_back,
            an_application_that_stops_leaves_no_program
        ]},
        {one_for_one, [], Both ++ [
            a_bucket_that_ends_keeps_its_name,
            a_registry_that_is_killed_alone_comes_back_with_its_names_and_its_buckets,
            a_bucket_supervisor_that_is_killed_leaves_the_registry_and_its_names,
            a_node_that_is_killed_costs_no_name,
            a_program_that_is_killed_comes_back_with_its_names,
            an_application_that_stops_leaves_its_names
        ]}
    ].

init_per_group(one_for_one, Config) -> [{durable, true} | Config];
init_per_group(one_for_all, Config) -> Config.
end_per_group(_Group, _Config) -> ok.

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Rows

a_bucket_that_is_stopped_loses_its_name(Config) ->
    each(Config, "bucket stopped", fun(I) ->
        Bucket = create(name(I)),
        Monitor = monitor(process, Bucket),
        Stop = fun() ->
            ok = kv_bucket:stop(Bucket, shutdown),
            ?assertEqual(error, kv_registry:lookup(kv_registry, name(I)))
        end,
        Time = kv_test:milliseconds(Stop),
        ?assertEqual(shutdown, kv_test:down(Monitor)),
        ?assertNotEqual(Bucket, create(name(I))),
        Time
    end).

a_bucket_that_is_killed_loses_its_name(Config) ->
    each(Config, "bucket killed", fun(I) ->
        Survivor = create(<<"survivor">>),
        Bucket = create(name(I)),
        [Proxy] = [P || P <- proxies(), kv_proxy:native(P) =:= Bucket],
        Monitors = [monitor(process, P) || P <- [Bucket, Proxy]],
        Registry = whereis(kv_registry),
        Kill = fun() ->
            true = exit(Bucket, kill),
            ?assertEqual([killed, killed], [kv_test:down(M) || M <- Monitors]),
            ?assertEqual(error, kv_registry:lookup(kv_registry, name(I)))
        end,
        Time = kv_test:milliseconds(Kill),
        ?assertEqual(Registry, whereis(kv_registry)),
        ?assertEqual({ok, Survivor}, kv_registry:lookup(kv_registry, <<"survivor">>)),
        Time
    end).

a_proxy_that_is_killed_takes_its_bucket_along(Config) ->
    each(Config, "proxy killed", fun(I) ->
        Bucket = create(name(I)),
        [Proxy] = proxies(),
        Monitor = monitor(process, Bucket),
        Kill = fun() ->
            true = exit(Proxy, kill),
            ?assertEqual(killed, kv_test:down(Monitor)),
            ?assertEqual(error, kv_registry:lookup(kv_registry, name(I)))
        end,
        kv_test:milliseconds(Kill)
    end).

%% Observer's "kill" sends exit(Proxy, kill), as in the row above; a supervisor sends shutdown.
a_proxy_that_is_stopped_takes_its_bucket_along(Config) ->
    each(Config, "proxy stopped", fun(I) ->
        Bucket = create(name(I)),
        [Proxy] = proxies(),
        Monitor = monitor(process, Bucket),
        Stop = fun() ->
            {Reason, Stopped} = stop_proxy(I rem 2, Proxy),
            ?assertEqual({ok, Reason}, {Stopped, kv_test:down(Monitor)}),
            ?assertEqual(error, kv_registry:lookup(kv_registry, name(I))),
            ?assertExit({noproc, _}, kv_bucket:get(Bucket, key)),
            ?assertExit({noproc, _}, kv_bucket:get(Proxy, key))
        end,
        kv_test:milliseconds(Stop)
    end).

stop_proxy(0, Proxy) -> {normal, gen_server:stop(Proxy)};
stop_proxy(1, Proxy) -> {shutdown, supervisor:terminate_child(kv_bucket_sup, Proxy)}.

a_registry_that_is_killed_comes_back_empty_and_without_its_buckets(Config) ->
    each(Config, "registry killed", fun(I) ->
        Bucket = create(name(I)),
        Monitor = monitor(process, Bucket),
        OsPid = kv_node:os_pid(),
        Time = recovery(fun() -> exit(whereis(kv_registry), kill) end, [kv_registry, kv_bucket_sup]),
        ?assertEqual(shutdown, kv_test:down(Monitor)),
        ?assertEqual([], kv_registry:names(kv_registry)),
        ?assertEqual(OsPid, kv_node:os_pid()),
        Time
    end).

a_bucket_supervisor_that_is_killed_takes_the_registry_along(Config) ->
    each(Config, "bucket supervisor killed", fun(I) ->
        Bucket = create(name(I)),
        Monitor = monitor(process, Bucket),
        Time = recovery(fun() -> exit(whereis(kv_bucket_sup), kill) end, [kv_registry, kv_bucket_sup]),
        ?assertEqual(killed, kv_test:down(Monitor)),
        ?assertEqual([], kv_registry:names(kv_registry)),
        Time
    end).

%%% Rows with a durable registry

a_bucket_that_ends_keeps_its_name(Config) ->
    Ends = [
        fun(Bucket) -> kv_bucket:stop(Bucket, shutdown) end,
        fun(Bucket) -> exit(Bucket, kill) end,
        fun(Bucket) -> exit(proxy_of(Bucket), kill) end,
        fun(Bucket) -> stop_proxy(0, proxy_of(Bucket)) end,
        fun(Bucket) -> stop_proxy(1, proxy_of(Bucket)) end
    ],
    each(Config, "durable bucket ended", fun(I) ->
        Bucket = create(name(I)),
        ok = kv_bucket:put(Bucket, key, I),
        Monitor = monitor(process, Bucket),
        Registry = whereis(kv_registry),
        Time = kv_test:milliseconds(fun() ->
            _ = (lists:nth(I rem length(Ends) + 1, Ends))(Bucket),
            _ = kv_test:down(Monitor),
            ?assertEqual(I, kv_bucket:get(create(name(I)), key))
        end),
        ?assertNotEqual(Bucket, create(name(I))),
        ?assertEqual(Registry, whereis(kv_registry)),
        Time
    end).

proxy_of(Bucket) ->
    [Proxy] = [P || P <- proxies(), kv_proxy:native(P) =:= Bucket],
    Proxy.

a_registry_that_is_killed_alone_comes_back_with_its_names_and_its_buckets(Config) ->
    each(Config, "durable registry killed", fun(I) ->
        Bucket = create(name(I)),
        ok = kv_registry:create(kv_registry, <<"volatile">>, [{durable, false}]),
        Buckets = lists:sort(kv_registry:list(kv_registry)),
        Supervisor = whereis(kv_bucket_sup),
        Time = recovery(fun() -> exit(whereis(kv_registry), kill) end, [kv_registry]),
        ?assertEqual(Buckets, lists:sort(kv_registry:list(kv_registry))),
        ?assertEqual({ok, Bucket}, kv_registry:lookup(kv_registry, name(I))),
        ?assertEqual(undefined, kv_bucket:get(Bucket, key)),
        ?assertEqual(Supervisor, whereis(kv_bucket_sup)),
        Time
    end).

a_bucket_supervisor_that_is_killed_leaves_the_registry_and_its_names(Config) ->
    each(Config, "bucket supervisor of a durable registry killed", fun(I) ->
        Bucket = create(name(I)),
        ok = kv_bucket:put(Bucket, key, I),
        Monitor = monitor(process, Bucket),
        Registry = whereis(kv_registry),
        Time = recovery(fun() -> exit(whereis(kv_bucket_sup), kill) end, [kv_bucket_sup]),
        ?assertEqual(killed, kv_test:down(Monitor)),
        ?assertEqual(Registry, whereis(kv_registry)),
        ?assertEqual(I, kv_registry:count(kv_registry)),
        ?assertEqual(I, kv_bucket:get(create(name(I)), key)),
        Time
    end).

a_node_that_is_killed_costs_no_name(Config) ->
    each(Config, "node of a durable registry killed", 3, fun(I) ->
        ok = kv_bucket:put(create(name(I)), key, I),
        OsPid = kv_node:os_pid(),
        Time = recovery(fun() -> exit(whereis(kv_node), kill) end, [kv_node, kv_registry]),
        ok = kv_test:gone(OsPid),
        ?assertEqual(lists:seq(1, I), [kv_bucket:get(create(name(N)), key) || N <- lists:seq(1, I)]),
        Time
    end).

a_program_that_is_killed_comes_back_with_its_names(Config) ->
    each(Config, "program of a durable registry killed", 10, fun(I) ->
        Bucket = create(name(I)),
        ok = kv_bucket:put(Bucket, key, I),
        await_uptime(),
        OsPid = kv_node:os_pid(),
        Time = recovery(fun() -> kv_test:signal("KILL", OsPid) end, [kv_node, kv_registry, kv_bucket_sup]),
        ?assertEqual(I, kv_registry:count(kv_registry)),
        ?assertEqual([], proxies()),
        ?assertExit({noproc, _}, kv_bucket:get(Bucket, key)),
        ?assertEqual(lists:seq(1, I), [kv_bucket:get(create(name(N)), key) || N <- lists:seq(1, I)]),
        Time
    end).

an_application_that_stops_leaves_its_names(Config) ->
    each(Config, "application stopped", 5, fun(I) ->
        ok = kv_bucket:put(create(name(I)), key, I),
        Time = kv_test:milliseconds(fun() ->
            ok = application:stop(kv),
            ok = application:start(kv)
        end),
        ?assertEqual(lists:seq(1, I), [kv_bucket:get(create(name(N)), key) || N <- lists:seq(1, I)]),
        Time
    end).

%%% Rows with either

an_event_manager_that_is_killed_costs_no_data(Config) ->
    each(Config, "event manager killed", fun(I) ->
        Bucket = create(name(I)),
        ok = kv_bucket:put(Bucket, key, I),
        Time = recovery(fun() -> exit(whereis(kv_event_manager), kill) end, [kv_event_manager]),
        ?assertEqual(I, kv_bucket:get(Bucket, key)),
        %% The new manager gets the events from now on.
        ok = gen_event:add_handler(kv_event_manager, kv_test_handler, self()),
        New = create(<<"new", (name(I))/binary>>),
        receive
            {event, {create, <<"new", _/binary>>, New}} -> Time
        after 5000 -> error(no_event)
        end
    end).

a_node_that_is_killed_takes_its_program_along(Config) ->
    each(Config, "node killed", 3, fun(I) ->
        _ = create(name(I)),
        OsPid = kv_node:os_pid(),
        Time = recovery(fun() -> exit(whereis(kv_node), kill) end, [kv_node, kv_registry]),
        ok = kv_test:gone(OsPid),
        ?assertEqual([], kv_registry:names(kv_registry)),
        Time
    end).

%% The program does not see the end of its input. Only the next kv_node can end it.
a_node_that_is_killed_while_its_program_hangs_leaves_one_program(Config) ->
    each(Config, "node killed while its program hangs", 3, [{stop_timeout, 100}], fun(_) ->
        OsPid = kv_node:os_pid(),
        Break = fun() ->
            kv_test:signal("STOP", OsPid),
            exit(whereis(kv_node), kill)
        end,
        Time = recovery(Break, [kv_node, kv_registry]),
        ?assertNot(kv_test:is_os_process(OsPid)),
        Time
    end).

a_node_supervisor_that_is_killed_leaves_one_program(Config) ->
    each(Config, "node supervisor killed", 3, fun(I) ->
        _ = create(name(I)),
        OsPid = kv_node:os_pid(),
        Time = recovery(fun() -> exit(whereis(kv_node_sup), kill) end, [kv_node_sup, kv_node, kv_registry]),
        ok = kv_test:gone(OsPid),
        Time
    end).

a_program_that_is_killed_comes_back(Config) ->
    each(Config, "program killed", fun(I) ->
        _ = create(name(I)),
        [Proxy] = proxies(),
        Bucket = kv_proxy:native(Proxy),
        Monitors = [monitor(process, P) || P <- [Bucket, Proxy]],
        Node = monitor(process, kv_node),
        EventManager = whereis(kv_event_manager),
        await_uptime(),
        OsPid = kv_node:os_pid(),
        Time = recovery(fun() -> kv_test:signal("KILL", OsPid) end, [kv_node, kv_registry, kv_bucket_sup]),
        ?assertEqual([noconnection, noconnection], [kv_test:down(M) || M <- Monitors]),
        ?assertEqual({killed, sigkill}, kv_test:down(Node)),
        ?assertEqual([], kv_registry:names(kv_registry)),
        ?assertEqual(EventManager, whereis(kv_event_manager)),
        ?assertNotEqual(OsPid, kv_node:os_pid()),
        Time
    end).

a_program_that_is_killed_at_once_again_is_held_back_and_comes_back(Config) ->
    each(Config, "program killed at once again", 7, fun(_) ->
        OsPid = kv_node:os_pid(),
        recovery(fun() -> kv_test:signal("KILL", OsPid) end, [kv_node, kv_registry])
    end).

a_program_that_hangs_is_killed_and_comes_back(Config) ->
    Environment = [{ping_interval, 50}, {ping_timeout, 200}],
    each(Config, "program stopped by SIGSTOP", ?REPEAT, Environment, fun(I) ->
        _ = create(name(I)),
        await_uptime(),
        Node = monitor(process, kv_node),
        OsPid = kv_node:os_pid(),
        Time = recovery(fun() -> kv_test:signal("STOP", OsPid) end, [kv_node, kv_registry]),
        ?assertMatch({node_unresponsive, _}, kv_test:down(Node)),
        ok = kv_test:gone(OsPid),
        Time
    end).

%% A signal to a whole service or container is meant for the VM, whose processes use the program until they have
%% stopped.
a_program_on_its_leash_ignores_signals(Config) ->
    each(Config, "program told to stop by a signal", 3, fun(I) ->
        Bucket = create(name(I)),
        ok = kv_bucket:put(Bucket, key, value),
        OsPid = kv_node:os_pid(),
        Tell = fun() ->
            [kv_test:signal(Signal, OsPid) || Signal <- ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"]],
            ?assertEqual(value, kv_bucket:get(Bucket, key))
        end,
        Time = kv_test:milliseconds(Tell),
        ?assertEqual(OsPid, kv_node:os_pid()),
        ok = kv_bucket:stop(Bucket),
        Time
    end).

a_lost_connection_ends_nothing(Config) ->
    each(Config, "connection lost", 3, fun(I) ->
        Bucket = create(name(I)),
        ok = kv_bucket:put(Bucket, key, I),
        Name = kv_node:name(),
        Tree = [whereis(P) || P <- [kv_node, kv_registry, kv_bucket_sup]],
        OsPid = kv_node:os_pid(),
        Time = kv_test:milliseconds(fun() ->
            true = erlang:disconnect_node(Name),
            kv_test:wait(fun() -> is_serving() end)
        end),
        ?assertEqual(I, kv_bucket:get(Bucket, key)),
        ?assertEqual(Tree, [whereis(P) || P <- [kv_node, kv_registry, kv_bucket_sup]]),
        ?assertEqual(OsPid, kv_node:os_pid()),
        Time
    end).

a_program_that_is_away_for_a_while_is_waited_for(Config) ->
    Vm = kv_test:start_vm(Config),
    %% A copy that can be taken away while the original serves other suites.
    Program = filename:join(?config(home, Config), "kv_node"),
    {ok, _} = file:copy(kv_test:program(), Program),
    ok = file:change_mode(Program, 8#755),
    kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{program, Program}]),
        Supervisor = whereis(kv_sup),
        Registry = whereis(kv_registry),
        ok = file:rename(Program, Program ++ ".away"),
        ok = kv_test:signal("KILL", kv_node:os_pid()),
        ok = kv_test:wait(fun() -> not is_process_alive(Registry) end),
        timer:sleep(1000),
        ?assertExit({noproc, _}, kv_node:name()),
        ok = file:rename(Program ++ ".away", Program),
        _ = kv_test:wait(fun() -> is_serving() end),
        ?assertEqual(Supervisor, whereis(kv_sup))
    end),
    ok = kv_test:stop_vm(Vm).

a_vm_that_halts_leaves_no_program(Config) ->
    vm_ends(Config, "VM halted, until its program was gone", fun(Vm) -> peer:cast(Vm, erlang, halt, []) end).

a_vm_that_is_killed_leaves_no_program(Config) ->
    vm_ends(Config, "VM killed, until its program was gone", fun(Vm) ->
        kv_test:signal("KILL", kv_test:vm_os_pid(Vm))
    end).

%% kv_node must not call the application controller, which waits for it.
a_vm_that_stops_while_its_program_restarts_is_not_held_up(Config) ->
    Slow = kv_test:script(Config, "slow", ["sleep 0.3", "exec " ++ kv_test:program()]),
    Vm = kv_test:start_vm(Config),
    VmOsPid = kv_test:vm_os_pid(Vm),
    unlink(Vm),
    kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{program, Slow}]),
        Node = monitor(process, kv_node),
        kv_test:signal("KILL", kv_node:os_pid()),
        {killed, sigkill} = kv_test:down(Node),
        init:stop()
    end),
    ok = kv_test:gone(VmOsPid).

an_application_that_stops_leaves_no_program(Config) ->
    each(Config, "application stopped", fun(I) ->
        Bucket = create(name(I)),
        Proxies = [whereis(kv_registry) | proxies()],
        Monitors = [monitor(process, P) || P <- Proxies],
        OsPid = kv_node:os_pid(),
        Time = kv_test:milliseconds(fun() ->
            ok = application:stop(kv),
            ?assertNot(kv_test:is_os_process(OsPid)),
            ok = application:start(kv)
        end),
        [?assertEqual(shutdown, kv_test:down(M)) || M <- Monitors],
        ?assertEqual(error, kv_registry:lookup(kv_registry, name(I))),
        ?assertExit({noproc, _}, kv_bucket:get(Bucket, key)),
        Time
    end).

%%% Helpers

%% Repeats a row in one VM. The fun returns how many milliseconds it took to serve again.
each(Config, What, Row) ->
    each(Config, What, ?REPEAT, Row).

each(Config, What, Repeat, Row) ->
    each(Config, What, Repeat, [], Row).

each(Config, What, Repeat, Given, Row) ->
    Vm = kv_test:start_vm(Config),
    Environment = Given ++ durable(?config(durable, Config), Config),
    Times = kv_test:in(
        Vm,
        fun() ->
            ok = kv_test:start_kv(Environment),
            Supervisor = whereis(kv_sup),
            Times = [Row(I) || I <- lists:seq(1, Repeat)],
            %% Stopping the application is the only row that ends the top of the tree.
            _ = What =:= "application stopped" orelse ?assertEqual(Supervisor, whereis(kv_sup)),
            Times
        end,
        110000
    ),
    kv_test:report(What, Times),
    ok = kv_test:stop_vm(Vm).

%% Each row begins with an empty folder.
durable(true, Config) ->
    Folder = "data" ++ integer_to_list(erlang:unique_integer([positive])),
    [{registry, [{durable, commit}]}, {data_dir, filename:join(?config(home, Config), Folder)}];
durable(undefined, _Config) ->
    [].

vm_ends(Config, What, End) ->
    Name = list_to_atom("kv_halting_" ++ os:getpid() ++ "@127.0.0.1"),
    Times = [one_vm_ends(Config, Name, End) || _ <- lists:seq(1, ?REPEAT)],
    kv_test:report(What, Times).

%% Each VM runs a node of the same name. Its predecessor must have left nothing behind in EPMD.
one_vm_ends(Config, Name, End) ->
    Vm = kv_test:start_vm(Config),
    OsPid = kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{node_name, Name}]),
        _ = create(<<"shopping">>),
        kv_node:os_pid()
    end),
    ?assert(kv_test:registered_in_epmd(Config, Name)),
    unlink(Vm),
    Time = kv_test:milliseconds(fun() ->
        End(Vm),
        kv_test:gone(OsPid)
    end),
    kv_test:wait(fun() -> not kv_test:registered_in_epmd(Config, Name) end),
    Time.

name(I) -> integer_to_binary(I).

create(Name) ->
    ok = kv_registry:create(kv_registry, Name),
    {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
    Bucket.

proxies() ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(kv_bucket_sup)].

%% Returns how many milliseconds it took until each name belongs to another process and a bucket can be created and
%% used.
recovery(Break, Names) ->
    Before = [whereis(Name) || Name <- Names],
    kv_test:milliseconds(fun() ->
        Break(),
        kv_test:wait(fun() ->
            Now = [whereis(Name) || Name <- Names],
            not lists:member(undefined, Now) andalso Now -- Before =:= Now andalso is_serving()
        end, 30000)
    end).

is_serving() ->
    try
        ok = kv_registry:create(kv_registry, <<"probe">>),
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"probe">>),
        ok = kv_bucket:put(Bucket, key, value),
        ok = kv_registry:delete(kv_registry, <<"probe">>),
        error =:= kv_registry:lookup(kv_registry, <<"probe">>)
    catch
        exit:_ -> false
    end.

%% A program that ran for a second is restarted without a pause (kv_backoff).
await_uptime() ->
    kv_test:wait(fun() -> maps:get(uptime_ms, kv_node:info()) >= 1000 end).
