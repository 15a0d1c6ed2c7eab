%% @doc Code that is loaded while it is in use: by c:l/1, `recompile', or an upgrade of a release. Loading a module a second time
%% needs a purge, which kills each process that is still in the oldest code.
-module(kv_upgrade_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        no_process_of_kv_is_in_old_code,
        calls_that_wait_are_answered_whatever_is_loaded_meanwhile,
        buckets_that_are_being_created_are_created,
        calls_that_wait_for_the_node_are_answered,
        a_node_that_is_stopped_while_its_new_connection_is_greeted_stays,
        info_is_answered_whatever_is_loaded_while_the_node_is_asked,
        reads_without_a_call_go_on,
        a_soft_purge_waits_for_callers_inside_of_kv
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(reads_without_a_call_go_on, Config) -> kv_test:start_with_kv(Config, [{local_reads, true}]);
init_per_testcase(a_node_that_is_stopped_while_its_new_connection_is_greeted_stays, Config) ->
    kv_test:start_with_kv(Config, [{local, all}]);
init_per_testcase(info_is_answered_whatever_is_loaded_while_the_node_is_asked, Config) ->
    kv_test:start_with_kv(Config, [{data_dir, ?config(priv_dir, Config)}]);
init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%% Loads each module twice, so that what was the code at the beginning is gone.
load_all() ->
    ok = application:ensure_started(kv),
    {ok, Modules} = application:get_key(kv, modules),
    [{module, Module} = load(Module) || _ <- [1, 2], Module <- Modules],
    [code:purge(Module) || Module <- Modules],
    ok.

load(Module) ->
    _ = code:purge(Module),
    code:load_file(Module).

no_process_of_kv_is_in_old_code(Config) ->
    in(Config, fun() ->
        {ok, Named} = kv_bucket:start_link([{name, shopping}]),
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Native} = kv_registry:lookup(kv_registry, <<"shopping">>),
        nil = gen_server:call(Native, {get, key}),
        undefined = kv_bucket:get(Native, key),
        kv_test:wait(fun() -> is_pid(kv_watcher:watcher(node(Native))) end),
        Before = lists:sort(erlang:processes()),
        Watcher = kv_watcher:watcher(node(Native)),
        ok = load_all(),
        ?assertEqual([], Before -- erlang:processes()),
        ?assertEqual(Watcher, kv_watcher:watcher(node(Native))),
        ok = kv_bucket:put(Named, key, value),
        value = kv_bucket:get(shopping, key),
        ok = kv_registry:create(kv_registry, <<"more">>)
    end).

calls_that_wait_are_answered_whatever_is_loaded_meanwhile(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, shopping}]),
        Native = kv_proxy:native(Bucket),
        ok = kv_bucket:put(Native, key, value),
        ok = kv_bucket:put(Native, key, value),
        kv_test:wait(fun() -> is_pid(kv_watcher:watcher(node(Native))) end),
        ok = sys:suspend(Native),
        Self = self(),
        Callers = [
            spawn_monitor(fun() -> Self ! {answer, gen_server:call(Server, {get, key}, infinity)} end)
         || Server <- [Bucket, Native, shopping, {shopping, node(Native)}]
        ],
        Raw = [alias([reply]) || _ <- [1, 2]],
        [Native ! {'$kv_call', Alias, {get, key}} || Alias <- Raw],
        Requests = [kv_bucket:async(Server, get, [key]) || Server <- [Bucket, Native]],
        ok = kv_bucket:cast(Bucket, put, [other, 1]),
        ok = gen_server:cast(Native, {put, third, 1}),
        ok = load_all(),
        ok = sys:resume(Native),
        [value = receive {answer, Answer} -> Answer end || _ <- Callers],
        [normal = kv_test:down(Monitor) || {_, Monitor} <- Callers],
        [value = receive {Alias, Answer} -> Answer end || Alias <- Raw],
        ?assertEqual([value, value], kv_bucket:await_many(Requests, 5000)),
        ?assertEqual(3, kv_bucket:size(Bucket))
    end).

%% The process that creates a bucket waits for the registry.
buckets_that_are_being_created_are_created(Config) ->
    in(Config, fun() ->
        Registry = kv_proxy:native(kv_registry),
        Self = self(),
        Names = [<<"a">>, <<"b">>, <<"c">>],
        {ok, Gate} = gen_event:start_link(),
        {ok, Own} = kv_registry:start_link([{start_bucket, {?MODULE, start_when_told, [Self]}}, {event_manager, Gate}]),
        _ = [gen_server:send_request(Own, {create, Name}) || Name <- Names],
        Waiting = [receive {start, Creator} -> Creator end || _ <- Names],
        ok = sys:suspend(kv_proxy:native(Own)),
        [Creator ! go || Creator <- Waiting],
        Monitors = [monitor(process, Creator) || Creator <- Waiting],
        kv_test:wait(fun() -> lists:all(fun hibernates/1, Waiting) end),
        ok = load_all(),
        ok = sys:resume(kv_proxy:native(Own)),
        ?assertEqual([normal, normal, normal], [kv_test:down(Monitor) || Monitor <- Monitors]),
        ?assertEqual(Names, lists:sort(kv_registry:names(Own))),
        ?assertEqual(3, proplists:get_value(active, supervisor:count_children(kv_bucket_sup))),
        ?assert(is_process_alive(whereis(kv_registry))),
        ?assertEqual(Registry, kv_proxy:native(kv_registry))
    end).

hibernates(Pid) -> process_info(Pid, current_function) =:= {current_function, {erlang, hibernate, 3}}.

start_when_told(Teller, Options) ->
    Teller ! {start, self()},
    receive go -> ok end,
    kv_bucket_sup:start_bucket(kv_bucket_sup, Options).

calls_that_wait_for_the_node_are_answered(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, shopping}]),
        #{os_pid := OsPid} = kv_node:info(),
        ok = kv_test:signal("STOP", OsPid),
        true = erlang:disconnect_node(kv_node:name()),
        kv_test:wait(fun() -> is_map_key(phase, kv_test:proxy_state(Bucket)) end),
        Self = self(),
        {_, Monitor} = spawn_monitor(fun() -> Self ! {answer, gen_server:call(Bucket, size, 10000)} end),
        kv_test:wait(fun() -> maps:get(waiting, kv_test:proxy_state(Bucket), 0) =:= 1 end),
        ok = load_all(),
        ok = kv_test:signal("CONT", OsPid),
        ?assertEqual(0, receive {answer, Answer} -> Answer end),
        normal = kv_test:down(Monitor)
    end).

%% The process that greets the connection waits for the watch server, and the watcher for the node. A purge kills both.
a_node_that_is_stopped_while_its_new_connection_is_greeted_stays(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, shopping}]),
        ok = kv_bucket:put(Bucket, key, value),
        [Owner, #{os_pid := OsPid, name := Node}] = [whereis(kv_node), kv_node:info()],
        ok = sys:suspend(kv_watcher),
        true = erlang:disconnect_node(Node),
        kv_test:wait(fun() -> is_asked_to_watch(Node) end),
        ok = kv_test:signal("STOP", OsPid),
        ok = sys:resume(kv_watcher),
        kv_test:wait(fun() -> not is_asked_to_watch(Node) end),
        ok = load_all(),
        ok = kv_test:signal("CONT", OsPid),
        kv_test:wait(fun() -> kv_watcher:lane(Node) =:= on andalso not is_map_key(phase, kv_test:proxy_state(Bucket)) end),
        ?assertEqual({Owner, OsPid}, {whereis(kv_node), kv_node:os_pid()}),
        ?assertEqual(value, kv_bucket:get(Bucket, key))
    end).

%% A purge kills the process that has asked. Another one asks again.
info_is_answered_whatever_is_loaded_while_the_node_is_asked(Config) ->
    in(Config, fun() ->
        ?assertMatch(#{disk := #{folder := _}}, kv_node:info()),
        OsPid = kv_node:os_pid(),
        ok = kv_test:signal("STOP", OsPid),
        Request = gen_server:send_request(kv_node, info),
        ok = kv_test:wait(fun() -> lists:any(fun asks_for_the_disk/1, processes()) end),
        ok = load_all(),
        ?assertMatch({reply, #{disk := {error, timeout}}}, gen_server:receive_response(Request, 10000)),
        ok = kv_test:signal("CONT", OsPid),
        ?assertMatch(#{disk := #{folder := _}}, kv_node:info())
    end).

asks_for_the_disk(Pid) ->
    case process_info(Pid, current_stacktrace) of
        {current_stacktrace, Calls} -> lists:keymember(kv_node_disk, 1, Calls);
        undefined -> false
    end.

is_asked_to_watch(Node) ->
    {messages, Messages} = process_info(whereis(kv_watcher), messages),
    [] =/= [asked || {'$gen_call', _, {watch, Asked, _}} <- Messages, Asked =:= Node].

reads_without_a_call_go_on(Config) ->
    in(Config, fun() ->
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Native} = kv_registry:lookup(kv_registry, <<"shopping">>),
        ok = kv_bucket:put(Native, key, value),
        on = kv_watcher:start(node(Native), true),
        ok = load_all(),
        ?assertEqual(on, kv_watcher:local(node(Native))),
        ?assertEqual(value, kv_bucket:get(Native, key)),
        ok = sys:suspend(Native),
        ok = sys:resume(Native),
        ?assertEqual({ok, value}, kv_local:fetch(Native, key))
    end).

%% docs/differences.md: such a caller has code of kv on its stack.
a_soft_purge_waits_for_callers_inside_of_kv(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link(),
        Native = kv_proxy:native(Bucket),
        [ok = kv_bucket:put(Native, key, N) || N <- [1, 2]],
        kv_test:wait(fun() -> is_pid(kv_watcher:watcher(node(Native))) end),
        ok = sys:suspend(Native),
        Self = self(),
        {Pid, Monitor} = spawn_monitor(fun() -> Self ! {answer, kv_bucket:get(Native, key)} end),
        kv_test:wait(fun() -> process_info(Pid, status) =:= {status, waiting} end),
        true = code:soft_purge(kv_call),
        {module, kv_call} = code:load_file(kv_call),
        ?assertNot(code:soft_purge(kv_call)),
        ok = sys:resume(Native),
        ?assertEqual(2, receive {answer, Answer} -> Answer end),
        normal = kv_test:down(Monitor),
        ?assert(code:soft_purge(kv_call))
    end).
