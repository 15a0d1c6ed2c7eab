%% The program survives the loss of the connection, and the user's tree survives the loss of the program.
-module(kv_lost_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).
-import(kv_loss, [async/1, await/1, kill/0, disconnect_and_await/0, is_up/0, lose/0, find/0, buckets/0, away_program/1]).

suite() -> [{timetrap, {seconds, 200}}].

all() -> [{group, connection}, {group, signals}, {group, crowds}].

groups() ->
    [
        {connection, [parallel], [
            a_lost_connection_costs_the_owner_nothing,
            another_nodes_lost_connection_costs_nobody_anything,
            a_hundred_disconnects_lose_no_acknowledged_put,
            starts_that_are_cut_leave_one_process_each,
            names_that_were_being_made_are_made,
            a_process_that_ended_during_the_loss_ends_its_proxy,
            an_owner_that_ended_meanwhile_takes_its_process_along,
            links_end_as_in_otp,
            a_changed_cookie_is_handed_over,
            a_program_that_hangs_without_connection_is_killed,
            a_busy_connection_is_no_silence,
            a_connection_that_does_not_come_back_costs_the_program,
            a_vm_with_another_name_gets_a_new_program,
            distribution_is_not_started_meanwhile,
            stopping_while_the_connection_is_lost_is_quick
        ]},
        {signals, [parallel], [
            sigterm_to_vm_and_program_lets_terminate_read,
            no_signal_but_kill_ends_the_program_on_its_leash
        ]},
        {crowds, [parallel], [
            one_survives_everything,
            ten_survive_everything,
            two_hundred_survive_everything,
            ten_survive_a_program_that_fails_for_half_a_minute
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_vm(Config).

%% Cases run side by side, so each checks only its own program.
end_per_testcase(_Case, Config) -> kv_test:end_vm(Config).

in(Config, Fun) -> kv_loss:in(Config, [], Fun).

in(Config, Environment, Fun) -> kv_loss:in(Config, Environment, Fun).

%%% The connection

a_lost_connection_costs_the_owner_nothing(Config) ->
    in(Config, fun() ->
        Everything = everything(),
        Native = kv_proxy:native(sessions),
        Monitor = monitor(process, Native),
        [
            begin
                ok = disconnect_and_await(),
                ?assertEqual(Everything, everything_now(Everything))
            end
         || _ <- lists:seq(1, 10)
        ],
        %% In OTP, the loss of the connection fires a monitor on a process of another node.
        ?assertEqual(noconnection, kv_test:down(Monitor)),
        ?assertEqual(Native, kv_proxy:native(sessions))
    end).

another_nodes_lost_connection_costs_nobody_anything(Config) ->
    Other = kv_test:start_vm(Config),
    Node = kv_test:in(?config(vm, Config), fun() ->
        ok = kv_test:start_kv(),
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        ok = kv_bucket:put(Bucket, milk, 3),
        kv_node:name()
    end),
    kv_test:in(Other, fun() ->
        {ok, Bucket} = kv_registry:lookup({kv_registry, Node}, <<"shopping">>),
        [
            begin
                Monitor = monitor(process, Bucket),
                true = erlang:disconnect_node(Node),
                ?assertEqual(noconnection, kv_test:down(Monitor)),
                %% The watcher of the node may notice the loss a moment later. A call before that would exit.
                ok = kv_test:wait(fun() -> try kv_bucket:get(Bucket, milk) =:= 3 catch exit:{{nodedown, _}, _} -> false end end)
            end
         || _ <- lists:seq(1, 10)
        ]
    end),
    kv_test:in(?config(vm, Config), fun() ->
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        ?assertEqual(3, kv_bucket:get(Bucket, milk))
    end),
    ok = kv_test:stop_vm(Other).

a_hundred_disconnects_lose_no_acknowledged_put(Config) ->
    in(Config, fun() ->
        Everything = everything(),
        {ok, Shopping} = kv_registry:lookup(kv_registry, <<"shopping">>),
        Writers = [spawn_writer(Bucket, Writer) || {Writer, Bucket} <- lists:enumerate([sessions, Shopping, sessions, Shopping])],
        [
            begin
                timer:sleep(rand:uniform(20)),
                ok = disconnect_and_await()
            end
         || _ <- lists:seq(1, 100)
        ],
        [
            begin
                Writer ! {stop, self()},
                Last = receive {Writer, Number} -> Number end,
                ?assert(Last > 100),
                ?assertEqual(Last, length([N || N <- lists:seq(1, Last), kv_bucket:get(Bucket, {Id, N}) =:= N]))
            end
         || {Writer, Id, Bucket} <- Writers
        ],
        ?assertEqual(Everything, everything_now(Everything))
    end).

spawn_writer(Bucket, Id) ->
    {spawn_link(fun() -> write(Bucket, Id, 1) end), Id, Bucket}.

%% Puts one key after the other. A put that is not acknowledged is repeated.
write(Bucket, Id, N) ->
    Acknowledged = try kv_bucket:put(Bucket, {Id, N}, N) of
        ok -> N
    catch
        exit:_ -> N - 1
    end,
    receive
        {stop, Who} -> Who ! {self(), Acknowledged}
    after 0 -> write(Bucket, Id, Acknowledged + 1)
    end.

starts_that_are_cut_leave_one_process_each(Config) ->
    in(Config, fun() ->
        Before = buckets(),
        Cutter = spawn_link(fun() -> cut(kv_node:name()) end),
        Starters = [
            async(fun() ->
                process_flag(trap_exit, true),
                Started = [kv_bucket:start_link(name(Starter, N)) || N <- lists:seq(1, 50)],
                receive stop -> Started end
            end)
         || Starter <- [1, 2, 3, 4]
        ],
        timer:sleep(3000),
        true = unlink(Cutter),
        true = exit(Cutter, kill),
        ok = kv_test:wait(fun() -> is_up() end),
        [Starter ! stop || {Starter, _} <- Starters],
        Started = lists:append([Pids || {ok, Pids} <- [await(S) || S <- Starters]]),
        ?assertEqual(200, length(Started)),
        ?assertEqual([], [Other || Other <- Started, element(1, Other) =/= ok]),
        %% All of them were linked to their starter and end with it. None is left.
        ok = kv_test:wait(fun() -> buckets() =:= Before end)
    end).

name(Starter, N) when N rem 2 =:= 0 -> [{name, list_to_atom(lists:concat([bucket_, Starter, "_", N]))}];
name(_Starter, _N) -> [].

cut(Node) ->
    timer:sleep(rand:uniform(15)),
    _ = erlang:disconnect_node(Node),
    cut(Node).

names_that_were_being_made_are_made(Config) ->
    in(Config, fun() ->
        Cutter = spawn_link(fun() -> cut(kv_node:name()) end),
        Names = [<<"name", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 100)],
        [ok = create(Name) || Name <- Names],
        true = unlink(Cutter),
        true = exit(Cutter, kill),
        ok = kv_test:wait(fun() -> is_up() end),
        ok = kv_test:wait(fun() -> lists:sort(kv_registry:names(kv_registry)) =:= lists:sort(Names) end),
        [
            begin
                {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
                ok = kv_bucket:put(Bucket, name, Name)
            end
         || Name <- Names
        ],
        ok = kv_test:wait(fun() -> buckets() =:= length(Names) end),
        ?assertEqual(length(Names), proplists:get_value(active, supervisor:count_children(kv_bucket_sup)))
    end).

create(Name) ->
    try kv_registry:create(kv_registry, Name, 5000) of
        ok -> ok;
        {error, _} -> create(Name)
    catch
        exit:_ -> create(Name)
    end.

a_process_that_ended_during_the_loss_ends_its_proxy(Config) ->
    Other = kv_test:start_vm(Config),
    {Bucket, Native} = kv_loss:keeping(Config, [], fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, sessions}]),
        {ok, _} = kv_bucket:start_link([{name, kept}]),
        Native = kv_proxy:native(Bucket),
        ok = lose(),
        {Bucket, Native}
    end),
    killed = kv_test:in(Other, fun() ->
        Monitor = monitor(process, Native),
        true = exit(Native, kill),
        kv_test:down(Monitor)
    end),
    kv_test:in(?config(vm, Config), fun() ->
        Monitor = monitor(process, Bucket),
        ok = find(),
        ?assertEqual(noproc, kv_test:down(Monitor)),
        ?assertEqual(undefined, kv_bucket:get(kept, key))
    end),
    ok = kv_test:stop_vm(Other).

an_owner_that_ended_meanwhile_takes_its_process_along(Config) ->
    in(Config, fun() ->
        Before = buckets(),
        {ok, Bucket} = kv_bucket:start_link([{name, sessions}]),
        ok = kv_bucket:put(sessions, key, 1),
        ok = lose(),
        true = exit(Bucket, kill),
        receive {'EXIT', Bucket, killed} -> ok end,
        ok = find(),
        ok = kv_test:wait(fun() -> buckets() =:= Before end),
        {ok, _} = kv_bucket:start_link([{name, sessions}]),
        ?assertEqual(undefined, kv_bucket:get(sessions, key))
    end).

links_end_as_in_otp(Config) ->
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([]),
        Native = kv_proxy:native(Bucket),
        true = link(Native),
        %% The VM drops signals that it has not sent when it disconnects. The answer shows that the link has arrived.
        ok = kv_bucket:put(Native, linked, true),
        true = erlang:disconnect_node(node(Native)),
        receive {'EXIT', Native, noconnection} -> ok end,
        receive {'EXIT', Bucket, noproc} -> ok end
    end).

a_changed_cookie_is_handed_over(Config) ->
    in(Config, fun() ->
        Everything = everything(),
        [
            begin
                true = erlang:set_cookie(Cookie),
                ok = disconnect_and_await(),
                ?assertEqual(Everything, everything_now(Everything))
            end
         || Cookie <- [another, 'with space and ÿ', '--no-leash']
        ]
    end).

a_program_that_hangs_without_connection_is_killed(Config) ->
    in(Config, [{ping_interval, 50}, {ping_timeout, 300}], fun() ->
        Node = monitor(process, kv_node),
        OsPid = kv_node:os_pid(),
        ok = lose(),
        ok = kv_test:signal("STOP", OsPid),
        ?assertMatch({node_unresponsive, _}, kv_test:down(Node)),
        ok = kv_test:gone(OsPid),
        ok = find()
    end).

%% While the connection is busy, no question can be sent on it.
a_busy_connection_is_no_silence(Config) ->
    in(Config, [{ping_interval, 50}, {ping_timeout, 3000}], fun() ->
        Everything = everything(),
        Native = kv_proxy:native(sessions),
        Value = binary:copy(<<"x">>, 4 bsl 20),
        Until = erlang:monotonic_time(millisecond) + 6000,
        Writers = [async(fun() -> write_until(Native, {writer, N}, Value, Until) end) || N <- lists:seq(1, 16)],
        [?assertEqual({ok, done}, await(Writer)) || Writer <- Writers],
        ?assertEqual(Everything, everything_now(Everything))
    end).

write_until(Bucket, Key, Value, Until) ->
    ok = kv_bucket:put(Bucket, Key, Value, 60000),
    case erlang:monotonic_time(millisecond) < Until of
        true -> write_until(Bucket, Key, Value, Until);
        false -> done
    end.

a_connection_that_does_not_come_back_costs_the_program(Config) ->
    in(Config, [{reconnect_timeout, 300}], fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}]),
        Name = kv_node:name(),
        Node = monitor(process, kv_node),
        OsPid = kv_node:os_pid(),
        ok = lose(),
        ?assertEqual({nodedown, Name}, kv_test:down(Node)),
        ok = kv_test:gone(OsPid),
        ok = find(),
        ?assertEqual(undefined, kv_bucket:get(sessions, key, undefined, 20000))
    end).

a_vm_with_another_name_gets_a_new_program(Config) ->
    Vm = kv_test:start_undistributed_vm(Config, []),
    kv_test:in(Vm, fun() ->
        process_flag(trap_exit, true),
        {ok, _} = net_kernel:start('first@127.0.0.1', #{name_domain => longnames}),
        ok = kv_test:start_kv(),
        {ok, _} = kv_bucket:start_link([{name, sessions}]),
        Node = monitor(process, kv_node),
        OsPid = kv_node:os_pid(),
        ok = net_kernel:stop(),
        ok = kv_test:wait(fun() -> not is_alive() end),
        {ok, _} = net_kernel:start('second@127.0.0.1', #{name_domain => longnames}),
        ?assertEqual({vm_renamed, 'first@127.0.0.1', 'second@127.0.0.1'}, kv_test:down(Node)),
        ok = kv_test:gone(OsPid),
        ?assertEqual(ok, kv_bucket:put(sessions, key, 1, 20000)),
        ?assertEqual('kv_second@127.0.0.1', kv_node:name()),
        ok = application:stop(kv)
    end),
    ok = kv_test:stop_vm(Vm).

%% The user stops distribution in order to start it under another name.
distribution_is_not_started_meanwhile(Config) ->
    Vm = kv_test:start_undistributed_vm(Config, []),
    kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv(),
        OsPid = kv_node:os_pid(),
        ok = net_kernel:stop(),
        ok = kv_test:wait(fun() -> not is_alive() end),
        timer:sleep(500),
        ?assertNot(is_alive()),
        ?assertEqual(OsPid, kv_node:os_pid()),
        {ok, _} = net_kernel:start('renamed@127.0.0.1', #{name_domain => longnames}),
        ok = kv_test:gone(OsPid),
        ok = kv_test:wait(fun() -> is_up() end),
        ok = application:stop(kv)
    end),
    ok = kv_test:stop_vm(Vm).

stopping_while_the_connection_is_lost_is_quick(Config) ->
    kv_test:in(?config(vm, Config), fun() ->
        ok = kv_test:start_kv(),
        process_flag(trap_exit, true),
        {ok, Supervisor} = supervisor:start_link(kv_test_sup, []),
        [{ok, _} = supervisor:start_child(Supervisor, kv_bucket:child_spec([{name, {global, N}}])) || N <- lists:seq(1, 200)],
        OsPid = kv_node:os_pid(),
        ok = lose(),
        exit(Supervisor, shutdown),
        receive {'EXIT', Supervisor, shutdown} -> ok after 5000 -> error(did_not_stop) end,
        ok = application:stop(kv),
        ?assertNot(kv_test:is_os_process(OsPid))
    end).

%%% Signals

%% systemd, Kubernetes and Heroku send the signal to every process at once.
sigterm_to_vm_and_program_lets_terminate_read(Config) ->
    Vm = ?config(vm, Config),
    File = filename:join(?config(home, Config), "last_words"),
    OsPids = kv_test:in(Vm, fun() ->
        ok = kv_test_app:load(),
        ok = application:set_env(kv_test_app, file, File),
        {ok, _} = application:ensure_all_started(kv_test_app),
        [list_to_integer(os:getpid()), kv_node:os_pid()]
    end),
    unlink(Vm),
    [] = os:cmd(lists:join(" ", ["kill -TERM" | [integer_to_list(OsPid) || OsPid <- OsPids]])),
    [ok = kv_test:gone(OsPid) || OsPid <- OsPids],
    ?assertEqual({ok, <<"what is to be read at the end">>}, file:read_file(File)).

no_signal_but_kill_ends_the_program_on_its_leash(Config) ->
    in(Config, fun() ->
        Everything = everything(),
        [kv_test:signal(Signal, kv_node:os_pid()) || Signal <- ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"]],
        ?assertEqual(Everything, everything_now(Everything))
    end).

%%% Crowds under one supervisor of default intensity

one_survives_everything(Config) -> survives(Config, 1, 0).

ten_survive_everything(Config) -> survives(Config, 5, 5).

two_hundred_survive_everything(Config) -> survives(Config, 100, 100).

survives(Config, Buckets, Registries) ->
    Program = away_program(Config),
    in(Config, [{program, Program}, {ping_interval, 50}, {ping_timeout, 500}], fun() ->
        {Supervisor, Children} = crowd(Buckets, Registries),
        [
            begin
                ok = kill(),
                timer:sleep(rand:uniform(150))
            end
         || _ <- lists:seq(1, 20)
        ],
        ok = answers(Supervisor, Children),
        ok = kv_test:signal("STOP", kv_node:os_pid()),
        ok = kv_test:wait(fun() -> not is_up() end),
        ok = answers(Supervisor, Children),
        ok = file:rename(Program, Program ++ ".away"),
        ok = kill(),
        timer:sleep(2000),
        ok = file:rename(Program ++ ".away", Program),
        ok = answers(Supervisor, Children)
    end).

ten_survive_a_program_that_fails_for_half_a_minute(Config) ->
    Failing = kv_test:script(Config, "failing", ["[ -e \"$0.failing\" ] && exit 7", "exec " ++ kv_test:program()]),
    in(Config, [{program, Failing}], fun() ->
        {Supervisor, Children} = crowd(5, 5),
        ok = file:write_file(Failing ++ ".failing", <<>>),
        ok = kill(),
        timer:sleep(30000),
        ok = file:delete(Failing ++ ".failing"),
        ok = answers(Supervisor, Children)
    end).

crowd(Buckets, Registries) ->
    {ok, Supervisor} = supervisor:start_link(kv_test_sup, []),
    Specs =
        [kv_bucket:child_spec([{name, child("bucket", N)}]) || N <- lists:seq(1, Buckets)] ++
        [kv_registry:child_spec([{name, child("registry", N)}]) || N <- lists:seq(1, Registries)],
    [{ok, _} = supervisor:start_child(Supervisor, Spec) || Spec <- Specs],
    {Supervisor, lists:sort(supervisor:which_children(Supervisor))}.

child(Kind, N) -> list_to_atom(Kind ++ integer_to_list(N)).

%% The children are the same, and each of them serves.
answers(Supervisor, Children) ->
    [ok = answer(Child) || Child <- Children],
    ?assert(is_process_alive(Supervisor)),
    ?assertEqual(Children, lists:sort(supervisor:which_children(Supervisor))),
    ok.

answer({Name, _Pid, worker, [kv_bucket]}) -> insist(fun() -> kv_bucket:put(Name, key, 1, 20000) end);
answer({Name, _Pid, worker, [kv_registry]}) -> insist(fun() -> kv_registry:create(Name, <<"a">>, 20000) end).

insist(Ask) ->
    kv_test:wait(fun() -> try Ask() =:= ok catch exit:{{nodedown, _}, _} -> false end end, 30000).

%%% Helpers

%% Starts a bucket with a name, one without, and a registry with a bucket, all of them with contents. Returns the
%% process that runs them, too.
everything() ->
    {ok, Named} = kv_bucket:start_link([{name, sessions}]),
    {ok, Nameless} = kv_bucket:start_link([]),
    {ok, Own} = kv_registry:start_link([{name, own}]),
    ok = kv_registry:create(kv_registry, <<"shopping">>),
    ok = kv_registry:create(own, <<"own">>),
    {ok, Shopping} = kv_registry:lookup(kv_registry, <<"shopping">>),
    {ok, OwnBucket} = kv_registry:lookup(own, <<"own">>),
    [ok = kv_bucket:put(Bucket, kept, Bucket) || Bucket <- [Named, Nameless, Shopping, OwnBucket]],
    everything_now({[Named, Nameless, Own], [Named, Nameless, Shopping, OwnBucket]}).

everything_now(Everything) ->
    {Proxies, Buckets} = {element(1, Everything), element(2, Everything)},
    {
        Proxies,
        Buckets,
        [is_process_alive(Proxy) || Proxy <- Proxies],
        [kv_bucket:get(Bucket, kept) =:= Bucket || Bucket <- Buckets],
        [kv_proxy:native(Proxy) || Proxy <- Proxies],
        [kv_registry:lookup(Registry, Name) || {Registry, Name} <- [{kv_registry, <<"shopping">>}, {own, <<"own">>}]],
        kv_node:os_pid(),
        whereis(kv_node)
    }.
