%% VMs that attach to a node that somebody else has started: what they need, what they see of its losses, and what the node keeps of
%% theirs. The node is the real program, started by hand without a leash; the VMs are real, too.
-module(kv_attach_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-compile([export_all, nowarn_export_all]).

-define(COOKIE, "secret").

suite() -> [{timetrap, {seconds, 90}}].

all() -> [{group, attaching}, {group, losses}].

groups() ->
    [
        {attaching, [parallel], [
            an_application_attaches_and_leaves_the_program_alone,
            options_of_the_program_are_refused_one_by_one,
            a_vm_without_a_name_of_its_own_is_refused,
            a_node_with_other_zeros_is_refused,
            another_version_with_the_same_messages_works,
            another_version_with_other_messages_is_refused_with_both_versions,
            a_node_that_is_none_is_refused,
            a_start_waits_for_the_node,
            a_backup_is_made_by_the_name_of_the_node
        ]},
        {losses, [parallel], [
            a_short_loss_costs_nothing,
            a_node_that_does_not_answer_is_lost_until_it_does,
            a_node_that_is_away_is_not_waited_for,
            a_node_that_is_started_anew_has_lost_what_it_held,
            no_supervisor_restarts_anything_while_the_node_is_away,
            a_vm_that_is_back_as_another_run_owns_nothing,
            the_node_keeps_each_vm_for_its_own_time
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_attach_world:start_case(Config).
end_per_testcase(_Case, Config) -> kv_attach_world:end_case(Config).

%%% Attaching

an_application_attaches_and_leaves_the_program_alone(Config) ->
    #{os_pid := OsPid, creation := Creation, tcp_port := Port} = kv_attach_world:start_node(Config),
    {Vm, Node} = {kv_attach_world:start_vm(Config), kv_attach_world:node(Config)},
    ?assertMatch(
        #{name := Node, os_pid := OsPid, creation := Creation, port := Port, attached := true, state := up, disk := undefined},
        kv_test:in(Vm, fun() -> kv_node:info() end)
    ),
    ok = kv_test:in(Vm, fun() ->
        #{version := _, buckets := 0, node := #{attached := true}} = kv:info(),
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        Node = node(Bucket),
        ok = kv_bucket:put(Bucket, milk, 3),
        application:stop(kv)
    end),
    ?assert(kv_test:is_os_process(OsPid)),
    ok = kv_test:stop_vm(Vm),
    ?assert(kv_test:is_os_process(OsPid)).

options_of_the_program_are_refused_one_by_one(_Config) ->
    Allowed = [attach, start_timeout, ping_interval, ping_timeout, local, local_reads, observer_names, slow_request, delay_send],
    [
        begin
            {error, {bad_option, Key, Text}} = kv_node_options:validate([{Key, value(Default, Type)}, {attach, 'kv@host'}]),
            ?assertNotEqual(nomatch, string:find(Text, atom_to_list(Key))),
            ?assertNotEqual(nomatch, string:find(Text, "kv@host"))
        end
     || {Key, _, Type, Default, _, _} <- kv_node_options:table(), not lists:member(Key, Allowed)
    ],
    ?assertEqual(
        {error, {bad_option, spin, <<"spin is an option of the program, and kv@host has been started by somebody else: give it the option there">>}},
        kv_sup:start_link((kv_config:defaults())#{node_options := [{attach, 'kv@host'}, {spin, 0}]})
    ),
    ?assertMatch({ok, #{local := reads}}, kv_node_options:validate([{attach, 'kv@host'}, {local, reads}, {zeros, undefined}])).

value({program, Value}, _Type) -> Value;
value(undefined, text) -> "text";
value(undefined, node_name) -> 'name@host';
value(undefined, {one_of, [Word | _]}) -> Word;
value(undefined, {integer, _, Least, _}) -> Least;
value(Value, _Type) -> Value.

a_vm_without_a_name_of_its_own_is_refused(Config) ->
    _ = kv_attach_world:start_node(Config),
    Node = kv_attach_world:node(Config),
    Vm = kv_test:start_undistributed_vm(Config, ["-setcookie", ?COOKIE]),
    {not_alive, Text} = kv_attach_world:refusal(Vm, Node, 5000),
    ?assertNotEqual(nomatch, string:find(Text, "-name or -sname")),
    %% A name that kv has made up is none, either.
    ok = kv_test:in(Vm, fun() -> kv_test:start_kv() end),
    {not_alive, Other} = kv_attach_world:refusal(Vm, Node, 5000),
    ?assertNotEqual(nomatch, string:find(Other, "made up")),
    kv_test:stop_vm(Vm).

a_node_with_other_zeros_is_refused(Config) ->
    [Other] = [same, differ] -- [kv_release:zeros()],
    _ = kv_attach_world:start_node(Config, ["--zeros", atom_to_list(Other)]),
    {zeros_mismatch, Text} = kv_attach_world:refusal(Config),
    ?assertNotEqual(nomatch, string:find(Text, "--zeros " ++ atom_to_list(kv_release:zeros()))).

%% The version of a copy of the program is another one; nothing else differs.
another_version_with_the_same_messages_works(Config) ->
    Own = kv_node_start:version(),
    {ok, Program} = file:read_file(kv_test:program()),
    Path = filename:join(?config(home, Config), "kv_node"),
    ok = file:write_file(Path, binary:replace(Program, Own, <<"9.8.7">>, [global])),
    ok = file:change_mode(Path, 8#755),
    _ = kv_attach_world:start_node(Config, [], Path),
    Vm = kv_attach_world:start_vm(Config),
    ?assertMatch(#{version := <<"9.8.7">>, state := up}, kv_test:in(Vm, fun() -> kv_node:info() end)),
    ?assertMatch(#{version := Own, node := #{version := <<"9.8.7">>}}, kv_test:in(Vm, fun() -> kv:info() end)).

%% There is one version of the messages yet, so the node is a VM that says what a later program might.
another_version_with_other_messages_is_refused_with_both_versions(Config) ->
    Later = #{protocol => 2, version => <<"9.8.7">>, creation => 1, zeros => kv_release:zeros()},
    Vm = kv_test:start_vm(Config, ["-setcookie", ?COOKIE], kv_attach_world:vm_options(kv_attach_world:node(Config))),
    ok = kv_test:in(Vm, fun() -> kv_attach_world:replace_facts(Later) end),
    ?assertEqual({version_mismatch, <<"9.8.7">>, kv_node_start:version()}, kv_attach_world:refusal(Config)),
    kv_test:stop_vm(Vm).

a_node_that_is_none_is_refused(Config) ->
    Vm = kv_test:start_vm(Config, ["-setcookie", ?COOKIE], kv_attach_world:vm_options(kv_attach_world:node(Config))),
    {not_connected, Node, Text} = kv_attach_world:refusal(Config),
    ?assertEqual(kv_attach_world:node(Config), Node),
    ?assertNotEqual(nomatch, string:find(Text, "is no node of kv")),
    kv_test:stop_vm(Vm).

a_start_waits_for_the_node(Config) ->
    Vm = kv_attach_world:start_plain_vm(Config),
    Node = kv_attach_world:node(Config),
    ?assertMatch({not_connected, Node, _}, kv_attach_world:refusal(Vm, Node, 300)),
    Test = self(),
    _ = spawn_link(fun() -> Test ! {started, kv_test:in(Vm, fun() -> kv_test:start_kv([{attach, Node}, {start_timeout, 60000}]) end)} end),
    timer:sleep(300),
    _ = kv_attach_world:start_node(Config),
    receive {started, Result} -> ?assertEqual(ok, Result) end,
    kv_test:stop_vm(Vm).

a_backup_is_made_by_the_name_of_the_node(Config) ->
    Home = ?config(home, Config),
    [ok = file:make_dir(filename:join(Home, Folder)) || Folder <- ["data", "backups"]],
    Folders = ["--data-dir", filename:join(Home, "data"), "--backup-dir", filename:join(Home, "backups")],
    _ = kv_attach_world:start_node(Config, Folders),
    Vm = kv_attach_world:start_vm(Config),
    Node = kv_attach_world:node(Config),
    ?assertMatch({error, {attached, _}}, kv_test:in(Vm, fun() -> kv:backup("/tmp/never") end)),
    ?assertMatch({ok, #{folder := _}}, kv_test:in(Vm, fun() -> kv:backup("one", [{node, Node}]) end)).

%%% Losses

a_short_loss_costs_nothing(Config) ->
    _ = kv_attach_world:start_node(Config),
    Vm = kv_attach_world:start_vm(Config),
    ok = kv_test:in(Vm, fun() ->
        Bucket = kv_loss:start_own(kv_bucket, [{name, sessions}]),
        Nameless = kv_loss:start_own(kv_bucket, []),
        Native = kv_proxy:native(Bucket),
        [ok = kv_bucket:put(B, key, 1) || B <- [Bucket, Nameless]],
        [
            begin
                ok = kv_loss:disconnect_and_await(),
                [1 = kv_bucket:get(B, key) || B <- [Bucket, Nameless]],
                Native = kv_proxy:native(sessions),
                1 = kv_bucket:generation(sessions)
            end
         || _ <- lists:seq(1, 5)
        ],
        ok
    end).

a_node_that_does_not_answer_is_lost_until_it_does(Config) ->
    #{os_pid := OsPid} = kv_attach_world:start_node(Config),
    Vm = kv_attach_world:start_vm(Config, [{ping_interval, 50}, {ping_timeout, 200}]),
    ok = kv_test:in(Vm, fun() ->
        _ = kv_attach_world:keep(fun() -> kv_loss:start_own(kv_bucket, [{name, sessions}]) end),
        kv_bucket:put(sessions, key, 1)
    end),
    ok = kv_test:signal("STOP", OsPid),
    ok = kv_test:in(Vm, fun() -> kv_attach_world:await_state(lost) end),
    ok = kv_test:signal("CONT", OsPid),
    ?assertEqual(1, kv_test:in(Vm, fun() -> ok = kv_attach_world:await_state(up), kv_bucket:get(sessions, key, undefined, 20000) end)).

%% The node does not know the time of this VM, so the VM does not get through for longer than that.
a_node_that_is_away_is_not_waited_for(Config) ->
    _ = kv_attach_world:start_node(Config, ["--reconnect-timeout", "300"]),
    Vm = kv_attach_world:start_vm(Config),
    ok = kv_test:in(Vm, fun() ->
        process_flag(trap_exit, true),
        Node = kv_node:name(),
        Stays = kv_loss:start_own(kv_bucket, [{name, own}]),
        _ = kv_loss:start_own(kv_bucket, [{name, shared}, {owner, node}]),
        Ends = monitor(process, kv_loss:start_own(kv_bucket, [])),
        [ok = kv_bucket:put(B, key, 1) || B <- [own, shared]],
        Waits = fun() -> kv_loss:async(fun() -> kv_bucket:get(own, key, undefined, infinity) end) end,
        ok = kv_attach_world:hide_from(Node),
        ok = kv_attach_world:await_state(lost),
        Waiting = Waits(),
        ok = kv_attach_world:await_state(away),
        {exit, {{nodedown, Node}, _}} = kv_loss:await(Waiting),
        {exit, {{nodedown, Node}, _}} = kv_loss:await(Waits()),
        noconnection = kv_test:down(Ends),
        #{node := #{state := {away, Ms}, attached := true}} = Info = kv:info(),
        true = Ms >= 300,
        false = is_map_key(buckets, Info),
        ok = kv_attach_world:show_to(Node),
        ok = kv_attach_world:await_state(up),
        1 = kv_attach_world:patient(fun() -> kv_bucket:get(shared, key) end),
        undefined = kv_attach_world:patient(fun() -> kv_bucket:get(own, key) end),
        {2, Stays} = {kv_bucket:generation(own), whereis(own)},
        ok
    end).

a_node_that_is_started_anew_has_lost_what_it_held(Config) ->
    #{os_pid := OsPid} = kv_attach_world:start_node(Config),
    Vm = kv_attach_world:start_vm(Config),
    Before = kv_test:in(Vm, fun() ->
        {ok, _} = kv_attach_world:hear_of_losses(),
        _ = kv_attach_world:keep(fun() -> kv_loss:start_own(kv_bucket, [{name, own}]) end),
        _ = kv_attach_world:keep(fun() -> kv_loss:start_own(kv_bucket, [{name, shared}, {owner, node}]) end),
        [ok = kv_bucket:put(B, key, 1) || B <- [own, shared]],
        ok = kv_registry:create(kv_registry, <<"a">>),
        {whereis(kv_node), whereis(kv_registry), whereis(own), whereis(shared)}
    end),
    ok = kv_test:signal("KILL", OsPid),
    ok = kv_test:in(Vm, fun() -> kv_attach_world:await_state(lost) end),
    #{os_pid := Next} = kv_attach_world:start_node(Config),
    ok = kv_test:in(Vm, fun() ->
        ok = kv_attach_world:await_state(up),
        [undefined = kv_attach_world:patient(fun() -> kv_bucket:get(B, key) end) || B <- [own, shared]],
        [] = kv_attach_world:patient(fun() -> kv_registry:names(kv_registry) end),
        Before = {whereis(kv_node), whereis(kv_registry), whereis(own), whereis(shared)},
        [kv_registry, own, shared] = kv_attach_world:losses(),
        Next = kv_node:os_pid(),
        2 = kv_bucket:generation(own),
        ok
    end).

no_supervisor_restarts_anything_while_the_node_is_away(Config) ->
    #{os_pid := OsPid} = kv_attach_world:start_node(Config, ["--reconnect-timeout", "50"]),
    Vm = kv_attach_world:start_vm(Config),
    Processes = fun() -> [whereis(Name) || Name <- [kv_sup, kv_node_sup, kv_node, kv_store_sup, kv_bucket_sup, kv_registry]] end,
    Before = kv_test:in(Vm, Processes),
    ok = kv_test:signal("KILL", OsPid),
    ok = kv_test:in(Vm, fun() -> kv_attach_world:await_state(away) end),
    timer:sleep(1500),
    ?assertEqual(Before, kv_test:in(Vm, Processes)),
    {exit, {{nodedown, _}, _}} = kv_test:in(Vm, fun() -> kv_loss:await(kv_loss:async(fun() -> kv_registry:names(kv_registry) end)) end),
    _ = kv_attach_world:start_node(Config),
    ok = kv_test:in(Vm, fun() -> kv_attach_world:await_state(up), kv_registry:create(kv_registry, <<"a">>) end),
    ?assertEqual(Before, kv_test:in(Vm, Processes)).

a_vm_that_is_back_as_another_run_owns_nothing(Config) ->
    _ = kv_attach_world:start_node(Config),
    Node = kv_attach_world:node(Config),
    [Vm, Other] = [kv_attach_world:start_vm(Config, Name, []) || Name <- [one, two]],
    Native = kv_test:in(Vm, fun() ->
        _ = kv_attach_world:keep(fun() -> kv_loss:start_own(kv_bucket, [{name, sessions}]) end),
        kv_proxy:native(sessions)
    end),
    ok = kv_attach_world:kill_vm(Vm),
    %% The node keeps it, as it cannot know that the VM has ended.
    ?assert(kv_test:in(Other, fun() -> rpc:call(Node, erlang, is_process_alive, [Native]) end)),
    Again = kv_attach_world:start_vm(Config, one, []),
    ?assertNot(kv_test:in(Other, fun() -> rpc:call(Node, erlang, is_process_alive, [Native]) end)),
    ok = kv_test:in(Again, fun() ->
        _ = kv_loss:start_own(kv_bucket, [{name, sessions}]),
        kv_bucket:put(sessions, key, 1)
    end).

the_node_keeps_each_vm_for_its_own_time(Config) ->
    _ = kv_attach_world:start_node(Config, ["--reconnect-timeout", "1500"]),
    Node = kv_attach_world:node(Config),
    Names = [one, two, three],
    [One, Two, Three] = [kv_attach_world:start_vm(Config, Name, []) || Name <- Names],
    [NativeOne, NativeTwo] = [
        kv_test:in(Vm, fun() ->
            _ = kv_attach_world:keep(fun() -> kv_loss:start_own(kv_bucket, [{name, Name}]) end),
            kv_proxy:native(Name)
        end)
     || {Vm, Name} <- [{One, one}, {Two, two}]
    ],
    IsAlive = fun(Pid) -> kv_test:in(Three, fun() -> rpc:call(Node, erlang, is_process_alive, [Pid]) end) end,
    ok = kv_attach_world:kill_vm(One),
    timer:sleep(1000),
    ok = kv_attach_world:kill_vm(Two),
    ok = kv_test:wait(fun() -> not IsAlive(NativeOne) end),
    ?assert(IsAlive(NativeTwo)),
    ok = kv_test:wait(fun() -> not IsAlive(NativeTwo) end).
