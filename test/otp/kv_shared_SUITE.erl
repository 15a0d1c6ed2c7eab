%% Buckets and registries that belong to the node: VMs find them, leave them, end them for all, and lose nothing by a restart.
-module(kv_shared_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-define(CALLERS, 4).
-define(NAME, <<"shopping">>).

suite() -> [{timetrap, {seconds, 90}}].

all() -> [{group, one_vm}, {group, several}, {group, restarts}].

groups() ->
    [
        {one_vm, [parallel], [
            options_of_one_vm_are_refused,
            a_bucket_stays_when_its_proxy_ends_and_is_found_again,
            a_bucket_stays_when_its_proxy_is_killed,
            stop_and_destroy_end_it,
            its_owner_is_the_node,
            a_bucket_that_is_killed_comes_back_empty,
            a_name_of_another_process_is_taken,
            a_durable_bucket_of_the_node_has_its_entries_after_a_restart_of_the_program
        ]},
        {several, [parallel], [
            the_first_start_makes_it_and_the_others_find_it,
            starts_at_once_make_one,
            stop_ends_it_for_all,
            stop_by_the_proxy_of_another_vm_ends_it_for_all,
            when_it_is_killed_one_makes_it_anew_and_the_others_find_that,
            a_registry_is_shared_with_its_buckets,
            a_registry_that_is_stopped_ends_its_buckets_for_all
        ]},
        {restarts, [parallel], [
            a_rolling_restart_loses_nothing_and_no_call_fails,
            a_vm_that_is_killed_and_back_loses_nothing_and_no_call_fails
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_attach_world:start_case(Config).
end_per_testcase(_Case, Config) -> kv_attach_world:end_case(Config).

%%% One VM, which starts its own program: it takes no attachment to have these

options_of_one_vm_are_refused(_Config) ->
    Name = "what belongs to the node needs a name, by which every VM finds it; give a name that is an atom",
    [
        ?assertEqual({error, {bad_option, owner, list_to_binary(Name)}}, Module:start_link([{owner, node} | Options]))
     || Module <- [kv_bucket, kv_registry], Options <- [[], [{name, {global, a}}], [{name, ''}]]
    ],
    [
        begin
            {error, {bad_option, Key, Text}} = Module:start_link([{owner, node}, {name, a}, {Key, Value}]),
            ?assertNotEqual(nomatch, string:find(Text, "of one VM"))
        end
     || {Module, Key, Value} <- [
            {kv_bucket, fill, {m, f, []}},
            {kv_registry, fill, {m, f, []}},
            {kv_registry, event_manager, self()},
            {kv_registry, start_bucket, {m, f, []}}
        ]
    ],
    ?assertMatch({error, {bad_option, owner, <<"owner must be vm or node", _/binary>>}}, kv_bucket:start_link([{owner, me}])).

own(Config, Fun) -> own(Config, [], Fun).

own(Config, Environment, Fun) ->
    Vm = kv_attach_world:start_plain_vm(Config),
    ok = kv_test:in(Vm, fun() ->
        process_flag(trap_exit, true),
        ok = kv_test:start_kv(Environment),
        ok = Fun(),
        application:stop(kv)
    end).

start(Options) -> kv_bucket:start_link([{name, shared}, {owner, node} | Options]).

a_bucket_stays_when_its_proxy_ends_and_is_found_again(Config) ->
    own(Config, fun() ->
        {ok, First} = start([{max_entries, 7}]),
        Native = kv_proxy:native(First),
        ok = kv_bucket:put(shared, key, 1),
        ok = gen_server:stop(First),
        1 = kv_bucket:get(Native, key),
        {ok, Second} = start([{max_entries, 9}]),
        Native = kv_proxy:native(Second),
        {1, 1, #{max_entries := 7}} = {kv_bucket:get(shared, key), kv_bucket:generation(shared), kv_bucket:stats(shared)},
        #{monitors := 0, monitored_by := 1} = kv:info(Native),
        ok
    end).

a_bucket_stays_when_its_proxy_is_killed(Config) ->
    own(Config, fun() ->
        First = kv_loss:start_own(kv_bucket, [{name, shared}, {owner, node}]),
        ok = kv_bucket:put(shared, key, 1),
        true = exit(First, kill),
        ok = kv_test:wait(fun() -> is_pid(whereis(shared)) andalso whereis(shared) =/= First end),
        1 = kv_bucket:get(shared, key),
        ok
    end).

stop_and_destroy_end_it(Config) ->
    own(Config, fun() ->
        [
            begin
                {ok, Bucket} = start([]),
                Native = kv_proxy:native(Bucket),
                Monitors = [monitor(process, One) || One <- [Bucket, Native]],
                ok = End(Given(Bucket, Native)),
                [Reason, Reason] = [kv_test:down(One) || One <- Monitors],
                undefined = whereis(shared)
            end
         || {End, Reason} <- [
                {fun kv_bucket:stop/1, normal},
                {fun(B) -> kv_bucket:stop(B, enough) end, enough},
                {fun kv_bucket:destroy/1, normal}
            ],
            Given <- [fun(Bucket, _) -> Bucket end, fun(_, Native) -> Native end, fun(_, _) -> shared end]
        ],
        ok
    end).

its_owner_is_the_node(Config) ->
    own(Config, fun() ->
        {ok, Bucket} = start([]),
        {ok, Registry} = kv_registry:start_link([{name, names}, {owner, node}]),
        [#{owner := node} = kv:info(One) || One <- [Bucket, kv_proxy:native(Bucket), Registry]],
        ok = kv_registry:create(Registry, ?NAME),
        {ok, Named} = kv_registry:lookup(Registry, ?NAME),
        Native = kv_proxy:native(Registry),
        #{owner := Native} = kv:info(Named),
        {ok, Own} = kv_bucket:start_link([{name, own}]),
        #{owner := Own} = kv:info(Own),
        ok = gen_server:stop(Bucket),
        true = nomatch =/= string:find(io_lib:format("~p", [kv_tree:trees(20)]), "owner => node"),
        ok
    end).

a_bucket_that_is_killed_comes_back_empty(Config) ->
    own(Config, fun() ->
        First = kv_loss:start_own(kv_bucket, [{name, shared}, {owner, node}]),
        ok = kv_bucket:put(shared, key, 1),
        Monitor = monitor(process, First),
        true = exit(kv_proxy:native(First), kill),
        killed = kv_test:down(Monitor),
        undefined = kv_attach_world:patient(fun() -> kv_bucket:get(shared, key) end),
        ok
    end).

a_name_of_another_process_is_taken(Config) ->
    own(Config, fun() ->
        Native = made(kv_native:request(kv_node:name(), kv_bucket, [{owner, self()}, {name, shared}])),
        {error, {already_registered, Native}} = start([]),
        {ok, _} = kv_registry:start_link([{name, names}, {owner, node}]),
        ok
    end).

%% Returns a bucket that this process owns, without a proxy.
made(Making) ->
    receive
        Message ->
            case kv_native:made(Message, Making) of
                {making, More} -> made(More);
                {ok, Native, _} -> Native
            end
    end.

a_durable_bucket_of_the_node_has_its_entries_after_a_restart_of_the_program(Config) ->
    own(Config, [{data_dir, filename:join(?config(home, Config), "data")}], fun() ->
        {ok, First} = start([{durable, commit}]),
        ok = kv_bucket:put(shared, key, 1),
        ok = kv_loss:kill_and_await(),
        1 = kv_attach_world:patient(fun() -> kv_bucket:get(shared, key) end),
        ok = gen_server:stop(First),
        {ok, _} = start([{durable, commit}]),
        1 = kv_bucket:get(shared, key),
        ok
    end).

%%% Several VMs

vms(Config, Names) ->
    _ = kv_attach_world:start_node(Config),
    [kv_attach_world:start_vm(Config, Name, []) || Name <- Names].

%% Starts the shared bucket below a supervisor, and returns its native process.
start_in(Vm) ->
    kv_test:in(Vm, fun() ->
        Bucket = kv_attach_world:keep(fun() -> kv_loss:start_own(kv_bucket, [{name, shared}, {owner, node}]) end),
        kv_proxy:native(Bucket)
    end).

native_in(Vm) ->
    kv_test:in(Vm, fun() -> kv_attach_world:patient(fun() -> kv_proxy:native(shared) end) end).

the_first_start_makes_it_and_the_others_find_it(Config) ->
    [One, Two] = vms(Config, [one, two]),
    Native = start_in(One),
    ok = kv_test:in(One, fun() -> kv_bucket:put(shared, key, 1) end),
    ?assertEqual(Native, start_in(Two)),
    ?assertEqual(1, kv_test:in(Two, fun() -> kv_bucket:get(shared, key) end)),
    ok = kv_test:stop_vm(One),
    ?assertEqual(1, kv_test:in(Two, fun() -> kv_bucket:get(shared, key) end)).

starts_at_once_make_one(Config) ->
    Vms = vms(Config, [one, two, three]),
    Self = self(),
    _ = [spawn_link(fun() -> Self ! {native, start_in(Vm)} end) || Vm <- Vms],
    ?assertMatch([_], lists:usort([receive {native, Native} -> Native end || _ <- Vms])).

stop_ends_it_for_all(Config) ->
    [One, Two] = Vms = vms(Config, [one, two]),
    Listener = self(),
    _ = [
        spawn_link(fun() ->
            Down = kv_test:in(Vm, fun() ->
                process_flag(trap_exit, true),
                {ok, Bucket} = start([]),
                Monitor = monitor(process, Bucket),
                ok = kv_bucket:put(shared, Vm, here),
                kv_test:down(Monitor)
            end),
            Listener ! {Vm, Down}
        end)
     || Vm <- Vms
    ],
    ok = kv_test:in(One, fun() ->
        ok = kv_test:wait(fun() -> whereis(shared) =/= undefined andalso kv_bucket:size(shared) =:= 2 end),
        kv_bucket:stop(shared)
    end),
    ?assertEqual([normal, normal], [receive {Vm, Down} -> Down end || Vm <- [One, Two]]).

stop_by_the_proxy_of_another_vm_ends_it_for_all(Config) ->
    [One, Two] = Vms = vms(Config, [one, two]),
    Node = kv_test:in(Two, fun node/0),
    [
        begin
            Proxies = [_, There] = [kv_test:in(Vm, fun kept/0) || Vm <- Vms],
            ok = kv_test:in(One, fun() ->
                Monitors = [monitor(process, Proxy) || Proxy <- Proxies],
                ok = kv_bucket:stop(Given(There), enough, 5000),
                [enough, enough] = [kv_test:down(Monitor) || Monitor <- Monitors],
                ok
            end)
        end
     || Given <- [fun(_) -> {shared, Node} end, fun(There) -> There end]
    ],
    NoProcess = kv_test:in(One, fun() -> kv_loss:await(kv_loss:async(fun() -> kv_bucket:stop({nobody, Node}) end)) end),
    ?assertMatch({exit, noproc}, NoProcess).

%% The shared bucket without a supervisor.
kept() ->
    kv_attach_world:keep(fun() ->
        {ok, Bucket} = start([]),
        Bucket
    end).

when_it_is_killed_one_makes_it_anew_and_the_others_find_that(Config) ->
    Vms = [One | _] = vms(Config, [one, two, three]),
    [Native] = lists:usort([start_in(Vm) || Vm <- Vms]),
    ok = kv_test:in(One, fun() -> kv_bucket:put(shared, key, 1) end),
    true = kv_test:in(One, fun() -> exit(Native, kill) end),
    Next = fun() ->
        case lists:usort([native_in(Vm) || Vm <- Vms]) of
            [New] when New =/= Native -> {new, New};
            _ -> false
        end
    end,
    {new, _} = kv_test:wait(Next),
    [?assertEqual(undefined, kv_test:in(Vm, fun() -> kv_bucket:get(shared, key) end)) || Vm <- Vms].

a_registry_is_shared_with_its_buckets(Config) ->
    [One, Two] = vms(Config, [one, two]),
    {ok, Bucket} = kv_test:in(One, fun() -> kv_registry:lookup_or_create(kv_registry, ?NAME, [{meta, mine}, {max_entries, 10}]) end),
    ?assertEqual({ok, Bucket}, kv_test:in(Two, fun() -> kv_registry:lookup(kv_registry, ?NAME) end)),
    ?assertEqual({ok, mine}, kv_test:in(Two, fun() -> kv_registry:meta(kv_registry, ?NAME) end)),
    ok = kv_test:in(Two, fun() -> kv_bucket:put(Bucket, key, 1) end),
    ok = kv_test:in(One, fun() -> application:stop(kv) end),
    ?assertEqual(1, kv_test:in(Two, fun() -> kv_bucket:get(Bucket, key) end)),
    ok = kv_test:stop_vm(One),
    Again = kv_attach_world:start_vm(Config, one, []),
    ?assertEqual({ok, Bucket}, kv_test:in(Again, fun() -> kv_registry:lookup(kv_registry, ?NAME) end)).

a_registry_that_is_stopped_ends_its_buckets_for_all(Config) ->
    [One, Two] = vms(Config, [one, two]),
    {ok, Bucket} = kv_test:in(One, fun() -> kv_registry:lookup_or_create(kv_registry, ?NAME) end),
    ok = kv_test:in(One, fun() -> kv_registry:stop(kv_registry) end),
    ?assertEqual([], kv_test:in(Two, fun() -> kv_attach_world:patient(fun() -> kv_registry:names(kv_registry) end) end)),
    ?assertMatch({exit, {noproc, _}}, kv_test:in(Two, fun() -> kv_loss:await(kv_loss:async(fun() -> kv_bucket:get(Bucket, a) end)) end)).

%%% Restarts

a_rolling_restart_loses_nothing_and_no_call_fails(Config) ->
    restarts(Config, fun(Vm) ->
        ok = kv_test:in(Vm, fun() -> application:stop(kv) end),
        kv_test:stop_vm(Vm)
    end).

a_vm_that_is_killed_and_back_loses_nothing_and_no_call_fails(Config) ->
    restarts(Config, fun kv_attach_world:kill_vm/1).

%% Both VMs count in the same buckets. Each is ended and started again while the other goes on.
restarts(Config, End) ->
    [One, Two] = vms(Config, [one, two]),
    _ = [start_in(Vm) || Vm <- [One, Two]],
    ok = kv_test:in(One, fun() -> count(one) end),
    ok = kv_test:in(Two, fun() -> count(two) end),
    First = restarted(Config, one, One, Two, End),
    Second = restarted(Config, two, Two, First, End),
    [?assertEqual([], kv_test:in(Vm, fun stop_counting/0)) || Vm <- [First, Second]].

%% The counts of both VMs are there for the next run of one, and the other one has not failed once.
restarted(Config, Name, Vm, Other, End) ->
    Progress = kv_test:in(Other, fun progress/0),
    [Shared, Named] = kv_test:in(Vm, fun counted/0),
    ok = End(Vm),
    Again = kv_attach_world:start_vm(Config, Name, []),
    _ = start_in(Again),
    [SharedNow, NamedNow] = kv_test:in(Again, fun counted/0),
    [?assert(maps:get(Key, Now, 0) >= maps:get(Key, Before, 0)) || {Before, Now} <- [{Shared, SharedNow}, {Named, NamedNow}], Key <- [one, two]],
    ok = kv_test:in(Again, fun() -> count(Name) end),
    ok = kv_test:wait(fun() -> kv_test:in(Other, fun progress/0) > Progress + 100 end),
    ?assertEqual([], kv_test:in(Other, fun failures/0)),
    Again.

%%% In a VM: callers that count until they are stopped

count(Name) ->
    Table = kv_attach_world:keep(fun() -> ets:new(counts, [public, named_table]) end),
    true = ets:insert(Table, [{calls, 0}, {stop, false}]),
    {ok, Bucket} = kv_registry:lookup_or_create(kv_registry, ?NAME),
    _ = [spawn(fun() -> count_on(Name, Bucket) end) || _ <- lists:seq(1, ?CALLERS)],
    ok.

count_on(Name, Bucket) ->
    case ets:lookup(counts, stop) of
        [{stop, true}] -> ok;
        _ -> one_more(Name, Bucket), count_on(Name, Bucket)
    end.

one_more(Name, Bucket) ->
    try
        {ok, Bucket} = kv_registry:lookup(kv_registry, ?NAME),
        _ = kv_bucket:incr(shared, Name, 1),
        _ = kv_bucket:incr(Bucket, Name, 1),
        ets:update_counter(counts, calls, 1)
    catch
        Class:Reason -> ets:insert(counts, {{failed, erlang:unique_integer()}, Class, Reason})
    end.

progress() -> ets:lookup_element(counts, calls, 2).

failures() -> ets:match_object(counts, {{failed, '_'}, '_', '_'}).

counted() ->
    {ok, Bucket} = kv_registry:lookup(kv_registry, ?NAME),
    [kv_bucket:to_map(shared), kv_bucket:to_map(Bucket)].

stop_counting() ->
    true = ets:insert(counts, {stop, true}),
    failures().
