%% @doc Names and addresses: of a VM that is renamed, of VMs that share an EPMD, of long names and dynamic ones, and over
%% IPv6.
-module(kv_names_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [{group, renamed}, {group, taken}, {group, odd}, {group, dynamic}, {group, carrier}, {group, documented}].

groups() ->
    [
        {renamed, [], [
            a_distribution_that_the_user_has_started_is_never_stopped,
            one_with_the_name_that_kv_gave_is_not_stopped_either,
            a_new_program_has_the_name_of_the_new_vm,
            a_vm_that_stays_without_a_name_gets_one_from_kv_again,
            of_two_trees_the_last_one_stops_distribution
        ]},
        {taken, [], [
            the_names_that_kv_makes_up_stay_for_the_life_of_the_vm,
            vms_with_one_os_pid_share_an_epmd,
            a_name_that_kv_made_up_is_replaced_if_it_is_taken,
            two_trees_in_a_vm_that_kv_has_named_get_two_names,
            the_holder_of_a_taken_name_is_said
        ]},
        {odd, [], [
            a_vm_with_a_long_name_gets_a_node_with_a_shortened_one,
            a_host_that_leaves_no_room_is_a_plain_reason,
            a_host_that_is_not_ascii_is_a_plain_reason,
            a_node_name_that_the_vm_does_not_dial_is_a_plain_reason,
            a_node_name_of_255_characters_works
        ]},
        {dynamic, [], [
            a_vm_that_waits_for_its_name_is_a_plain_reason,
            a_vm_with_a_dynamic_name_works_once_it_has_one,
            a_peer_that_asks_for_a_name_is_refused_in_these_words
        ]},
        {carrier, [], [
            the_program_listens_where_a_vm_with_inet6_dials,
            a_vm_without_a_name_gets_one_at_the_ipv6_loopback,
            a_host_without_an_address_of_the_family_is_said,
            distribution_over_something_else_is_refused_before_anything_starts
        ]},
        {documented, [], [
            the_user_must_stop_distribution_before_starting_it,
            an_epmd_that_kv_has_started_outlives_the_vm,
            monitor_nodes_tells_of_the_node_as_a_hidden_one
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Renamed

a_distribution_that_the_user_has_started_is_never_stopped(Config) ->
    in_nameless(Config, fun() ->
        ok = kv_test:start_kv(),
        Mine = rename("mine"),
        ok = await_node_of(Mine),
        ok = application:stop(kv),
        ?assertEqual({true, Mine}, {is_alive(), node()}),
        ok = application:start(kv),
        ok = application:stop(kv),
        ?assertEqual({true, Mine}, {is_alive(), node()})
    end).

one_with_the_name_that_kv_gave_is_not_stopped_either(Config) ->
    in_nameless(Config, fun() ->
        ok = kv_test:start_kv(),
        Given = node(),
        OsPid = kv_node:os_pid(),
        ok = stop_distribution(),
        {ok, _} = net_kernel:start(Given, #{name_domain => longnames}),
        ok = kv_test:gone(OsPid),
        ok = await_node_of(Given),
        ok = application:stop(kv),
        ?assertEqual({true, Given}, {is_alive(), node()})
    end).

a_new_program_has_the_name_of_the_new_vm(Config) ->
    in_nameless(Config, fun() ->
        ok = kv_test:start_kv(),
        Old = kv_node:name(),
        Mine = rename("again"),
        ok = await_node_of(Mine),
        ok = kv_test:wait(fun() -> attempt(fun() -> kv_registry:create(kv_registry, <<"shopping">>) end) =:= ok end),
        ?assertNot(kv_test:registered_in_epmd(Config, Old)),
        New = kv_node:name(),
        ok = application:stop(kv),
        ?assertNot(kv_test:registered_in_epmd(Config, New)),
        ?assert(kv_test:registered_in_epmd(Config, Mine))
    end).

a_vm_that_stays_without_a_name_gets_one_from_kv_again(Config) ->
    in_nameless(Config, fun() ->
        ok = kv_test:start_kv(),
        Names = {node(), kv_node:name()},
        ok = stop_distribution(),
        ok = kv_test:wait(fun() -> is_alive() andalso attempt(fun kv_node:name/0) =/= failed end, 20000),
        ?assertEqual(Names, {node(), kv_node:name()}),
        ok = application:stop(kv),
        ?assertNot(is_alive())
    end).

of_two_trees_the_last_one_stops_distribution(Config) ->
    in_nameless(Config, fun() ->
        process_flag(trap_exit, true),
        ok = kv_test:start_kv(),
        {ok, Tree} = kv_sup:start_link(second_tree()),
        ok = application:stop(kv),
        ?assert(is_alive()),
        ?assertEqual([], kv_registry:names('KV.R')),
        true = exit(Tree, shutdown),
        ok = kv_test:wait(fun() -> not is_alive() end)
    end).

%%% Taken

the_names_that_kv_makes_up_stay_for_the_life_of_the_vm(Config) ->
    Names = [
        in_nameless(Config, fun() ->
            [Names] = lists:usort([names_of_a_run() || _ <- [1, 2]]),
            Names
        end)
     || _ <- [1, 2]
    ],
    ?assertEqual(4, length(lists:usort(lists:append(Names)))).

names_of_a_run() ->
    ok = kv_test:start_kv(),
    Names = [node(), kv_node:name()],
    ok = application:stop(kv),
    Names.

%% As containers that share a network: each VM has a process table of its own, where it is process 1.
vms_with_one_os_pid_share_an_epmd(Config) ->
    Unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"],
    case os:cmd("unshare " ++ lists:join(" ", Unshare) ++ " sh -c 'echo $$'") of
        "1\n" -> as_in_containers(Config, {os:find_executable("unshare"), Unshare ++ [os:find_executable("erl")]});
        Why -> {skip, Why}
    end.

as_in_containers(Config, Exec) ->
    Vms = [kv_test:start_vm(Config, [], #{exec => Exec}) || _ <- [1, 2]],
    try
        Seen = [
            kv_test:in(Vm, fun() ->
                ok = kv_test:start_kv(),
                ok = kv_registry:create(kv_registry, <<"shopping">>),
                {os:getpid(), node(), kv_node:name()}
            end)
         || Vm <- Vms
        ],
        ?assertMatch([{"1", _, _}, {"1", _, _}], Seen),
        ?assertEqual(4, length(lists:usort(lists:append([[Vm, Node] || {_, Vm, Node} <- Seen])))),
        %% Each reaches the other's node.
        [?assertEqual([<<"shopping">>], kv_test:in(Vm, fun() -> kv_registry:names({kv_registry, Node}) end)) || Vm <- Vms, {_, _, Node} <- Seen]
    after
        [kv_test:stop_vm(Vm) || Vm <- Vms]
    end.

a_name_that_kv_made_up_is_replaced_if_it_is_taken(Config) ->
    in_nameless(Config, fun() ->
        [Vm, Node] = names_of_a_run(),
        {ok, Socket} = register_in_epmd(Config, Node),
        ok = kv_test:start_kv(),
        ?assertEqual(Vm, node()),
        ?assertNotEqual(Node, kv_node:name()),
        ok = application:stop(kv),
        ok = gen_tcp:close(Socket)
    end).

%% As a node that listens on port 4711.
register_in_epmd(Config, Node) ->
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, ?config(epmd_port, Config), [binary, {active, false}]),
    Request = <<$x, 4711:16, 72, 0, 6:16, 6:16, (length(Alive)):16, (list_to_binary(Alive))/binary, 0:16>>,
    ok = gen_tcp:send(Socket, [<<(byte_size(Request)):16>>, Request]),
    {ok, <<118, 0, _Creation:32>>} = gen_tcp:recv(Socket, 6),
    {ok, Socket}.

two_trees_in_a_vm_that_kv_has_named_get_two_names(Config) ->
    in_nameless(Config, fun() ->
        process_flag(trap_exit, true),
        ok = kv_test:start_kv(),
        {ok, Tree} = kv_sup:start_link(second_tree()),
        First = kv_node:name(),
        Second = kv_node:name('KV.N'),
        ?assertNotEqual(First, Second),
        [ok = kv_registry:create({kv_registry_of(N), N}, <<"shopping">>) || N <- [First, Second]],
        true = exit(Tree, shutdown),
        receive {'EXIT', Tree, shutdown} -> ok end,
        ok = application:stop(kv)
    end).

kv_registry_of(Node) ->
    case kv_node:name() of
        Node -> kv_registry;
        _ -> 'KV.R'
    end.

the_holder_of_a_taken_name_is_said(Config) ->
    Name = list_to_atom("kv_held_" ++ os:getpid() ++ "@127.0.0.1"),
    in_named(Config, fun() ->
        {ok, Socket} = register_in_epmd(Config, Name),
        {error, {fatal, name_taken, Elsewhere}} = start_node([{node_name, Name}]),
        ?assertNotEqual(nomatch, string:find(Elsewhere, "That node listens on port 4711")),
        ok = gen_tcp:close(Socket),
        ok = kv_test:start_kv([{node_name, Name}]),
        {error, {fatal, name_taken, Here}} = kv_node:start_link(second, [{node_name, Name}]),
        ?assertNotEqual(nomatch, string:find(Here, "That is the node of kv_node, in this VM")),
        ok = application:stop(kv)
    end).

%%% Odd names

a_vm_with_a_long_name_gets_a_node_with_a_shortened_one(Config) ->
    [
        in_nameless(Config, fun() ->
            Name = list_to_atom(lists:duplicate(Length - length("@127.0.0.1"), $v) ++ "@127.0.0.1"),
            {ok, _} = net_kernel:start(Name, #{name_domain => longnames}),
            ok = kv_test:start_kv(),
            ok = kv_registry:create(kv_registry, <<"shopping">>),
            Node = atom_to_list(kv_node:name()),
            ?assertEqual(min(255, Length + length("kv_")), length(Node)),
            ?assertMatch({"kv_vvv" ++ _, "@127.0.0.1"}, lists:split(length(Node) - length("@127.0.0.1"), Node)),
            ok = application:stop(kv),
            ok = application:start(kv),
            ?assertEqual(Node, atom_to_list(kv_node:name())),
            ok = application:stop(kv)
        end)
     || Length <- [252, 253, 255]
    ].

a_host_that_leaves_no_room_is_a_plain_reason(Config) ->
    in_nameless(Config, fun() ->
        {ok, _} = net_kernel:start(list_to_atom("v@" ++ lists:duplicate(251, $h) ++ ".h"), #{name_domain => longnames}),
        {error, {bad_node_name, Text}} = start_node([]),
        ?assertNotEqual(nomatch, string:find(Text, "set the option node_name"))
    end).

a_host_that_is_not_ascii_is_a_plain_reason(Config) ->
    in_nameless(Config, fun() ->
        {ok, _} = net_kernel:start('v@h\x{f6}st.example', #{name_domain => longnames}),
        {error, {bad_node_name, Text}} = start_node([]),
        ?assertNotEqual(nomatch, string:find(Text, "characters that are not ASCII"))
    end),
    Wrong = ['k\x{f6}@127.0.0.1', 'kv@h\x{f6}st', 'k v@127.0.0.1', 'kv@', '@host', kv, 'a@b@c'],
    [?assertMatch({error, {bad_option, node_name, _}}, kv_node:start_link([{node_name, Name}]), Name) || Name <- Wrong].

a_node_name_that_the_vm_does_not_dial_is_a_plain_reason(Config) ->
    Said = fun(Name, Part) ->
        {error, {bad_node_name, Text}} = start_node([{node_name, Name}]),
        ?assertNotEqual(nomatch, string:find(Text, Part))
    end,
    in_named(Config, fun() -> Said(kv@localhost, "has a long name") end),
    in_vm(Config, ["-sname", "short_" ++ os:getpid()], fun() -> Said('kv@127.0.0.1', "has a short name") end).

a_node_name_of_255_characters_works(Config) ->
    Name = list_to_atom(lists:duplicate(255 - length("@127.0.0.1"), $n) ++ "@127.0.0.1"),
    in_named(Config, fun() ->
        ok = kv_test:start_kv([{node_name, Name}]),
        ?assertEqual(Name, kv_node:name()),
        ok = kv_registry:create({kv_registry, Name}, <<"shopping">>)
    end).

%%% Dynamic names

a_vm_that_waits_for_its_name_is_a_plain_reason(Config) ->
    Vm = kv_test:start_undistributed_vm(Config, ["-name", "undefined@127.0.0.1"]),
    kv_test:in(Vm, fun() ->
        {error, {not_alive, Text}} = start_node([]),
        ?assertNotEqual(nomatch, string:find(Text, "connect to a node first"))
    end),
    ok = kv_test:stop_vm(Vm).

a_vm_with_a_dynamic_name_works_once_it_has_one(Config) ->
    Other = kv_test:start_vm(Config),
    Namer = kv_test:in(Other, fun() -> node() end),
    Vm = kv_test:start_undistributed_vm(Config, ["-name", "undefined@127.0.0.1"]),
    try
        kv_test:in(Vm, fun() ->
            true = net_kernel:connect_node(Namer),
            ok = kv_test:wait(fun() -> node() =/= nonode@nohost end),
            ok = kv_test:start_kv(),
            ?assertEqual("kv_" ++ atom_to_list(node()), atom_to_list(kv_node:name())),
            ok = kv_registry:create(kv_registry, <<"shopping">>),
            %% The VM loses its name with the connection to the node that gave the name.
            OsPid = kv_node:os_pid(),
            true = net_kernel:disconnect(Namer),
            ok = kv_test:wait(fun() -> node() =:= nonode@nohost end),
            ok = kv_test:wait(fun() -> net_kernel:connect_node(Namer) =:= true end),
            ok = kv_test:gone(OsPid),
            ok = kv_test:wait(fun() -> attempt(fun() -> kv_registry:names(kv_registry) end) =:= [] end, 20000),
            ?assertEqual("kv_" ++ atom_to_list(node()), atom_to_list(kv_node:name())),
            ok = application:stop(kv)
        end)
    after
        ok = kv_test:stop_vm(Vm),
        ok = kv_test:stop_vm(Other)
    end.

a_peer_that_asks_for_a_name_is_refused_in_these_words(Config) ->
    Vm = kv_test:start_vm(Config),
    {Node, Cookie, Listener} = kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv(),
        {kv_node:name(), erlang:get_cookie(), spawn(fun listen/0)}
    end),
    Peer = kv_test:start_undistributed_vm(Config, ["-name", "undefined@127.0.0.1", "-setcookie", atom_to_list(Cookie)]),
    try
        ?assertEqual(false, kv_test:in(Peer, fun() -> net_kernel:connect_node(Node) end)),
        kv_test:in(Vm, fun() -> kv_test:wait(fun() -> heard(Listener, "dynamic name and asks for one") end) end)
    after
        ok = kv_test:stop_vm(Peer),
        ok = kv_test:stop_vm(Vm)
    end.

listen() ->
    ok = kv_test_log:listen(notice),
    answer([]).

answer(Before) ->
    receive
        {lines, Asker} ->
            Lines = Before ++ kv_test_log:heard(),
            Asker ! {lines, Lines},
            answer(Lines)
    end.

heard(Listener, Text) ->
    Listener ! {lines, self()},
    receive
        {lines, Lines} -> [] =/= [Line || {warning, Line} <- Lines, string:find(Line, Text) =/= nomatch]
    end.

%%% Carriers

the_program_listens_where_a_vm_with_inet6_dials(Config) ->
    Name = "six_" ++ os:getpid(),
    Names = [["-sname", Name], ["-name", Name ++ "@::1"]],
    [
        in_vm(Config, ["-proto_dist", "inet6_tcp" | Arguments], fun() ->
            ok = kv_test:start_kv(),
            ok = kv_registry:create(kv_registry, <<"shopping">>),
            ?assertEqual("kv_" ++ atom_to_list(node()), atom_to_list(kv_node:name())),
            ok = application:stop(kv)
        end)
     || Arguments <- Names, has_ipv6()
    ].

a_vm_without_a_name_gets_one_at_the_ipv6_loopback(Config) ->
    [
        in_vm(Config, ["-proto_dist" | Protocols], fun() ->
            ok = kv_test:start_kv(),
            ?assertMatch([_, "::1"], string:split(atom_to_list(node()), "@")),
            ok = kv_registry:create(kv_registry, <<"shopping">>),
            ok = application:stop(kv)
        end)
     || Protocols <- [["inet6_tcp"], ["inet_tcp", "inet6_tcp"]], has_ipv6()
    ].

a_host_without_an_address_of_the_family_is_said(Config) ->
    in_vm(Config, ["-name", "four@::1", "-dist_listen", "false"], fun() ->
        {error, {fatal, host_unresolved, Text}} = start_node([]),
        ?assertNotEqual(nomatch, string:find(Text, "finds no IPv4 address for the host ::1"))
    end).

distribution_over_something_else_is_refused_before_anything_starts(Config) ->
    in_vm(Config, ["-proto_dist", "carrier_pigeon"], fun() ->
        {error, {no_distribution, Text}} = start_node([]),
        ?assertNotEqual(nomatch, string:find(Text, "-proto_dist carrier_pigeon cannot be used")),
        ?assertNot(is_alive())
    end).

has_ipv6() ->
    case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.

%%% As documented

the_user_must_stop_distribution_before_starting_it(Config) ->
    in_nameless(Config, fun() ->
        ok = kv_test:start_kv(),
        Given = node(),
        ?assertMatch({error, {already_started, _}}, net_kernel:start('mine@127.0.0.1', #{name_domain => longnames})),
        ?assertEqual(Given, node()),
        ok = application:stop(kv)
    end).

an_epmd_that_kv_has_started_outlives_the_vm(Config) ->
    Port = kv_test:free_port(),
    try
        ok = in_nameless(lists:keystore(epmd_port, 1, Config, {epmd_port, Port}), fun kv_test:start_kv/0),
        [OsPid] = kv_test:epmd_os_pids(Port),
        ?assert(kv_test:is_os_process(OsPid))
    after
        [kv_test:signal("TERM", Epmd) || Epmd <- kv_test:epmd_os_pids(Port)]
    end,
    kv_test:wait(fun() -> kv_test:epmd_os_pids(Port) =:= [] end).

monitor_nodes_tells_of_the_node_as_a_hidden_one(Config) ->
    in_named(Config, fun() ->
        ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
        ok = net_kernel:monitor_nodes(true),
        ok = kv_test:start_kv(),
        Node = kv_node:name(),
        ok = application:stop(kv),
        ok = kv_test:wait(fun() -> not lists:member(Node, nodes(hidden)) end),
        ok = net_kernel:monitor_nodes(false),
        Heard = kv_test:mailbox(),
        ?assertMatch([{nodeup, Node, _}, {nodedown, Node, _}], [M || {_, N, _} = M <- Heard, N =:= Node]),
        ?assertEqual([], [M || {_, N} = M <- Heard, N =:= Node])
    end).

%%% Helpers

in_nameless(Config, Fun) -> in_vm(Config, [], Fun).

in_named(Config, Fun) ->
    Vm = kv_test:start_vm(Config),
    finally_stopped(Vm, Fun).

in_vm(Config, Arguments, Fun) ->
    finally_stopped(kv_test:start_undistributed_vm(Config, Arguments), Fun).

finally_stopped(Vm, Fun) ->
    try
        kv_test:in(Vm, Fun)
    after
        kv_test:stop_vm(Vm)
    end.

rename(Prefix) ->
    Name = list_to_atom(Prefix ++ "_" ++ os:getpid() ++ "@127.0.0.1"),
    ok = stop_distribution(),
    {ok, _} = net_kernel:start(Name, #{name_domain => longnames}),
    Name.

stop_distribution() ->
    ok = net_kernel:stop(),
    kv_test:wait(fun() -> not is_alive() end).

await_node_of(Vm) ->
    Node = list_to_atom("kv_" ++ atom_to_list(Vm)),
    kv_test:wait(fun() -> attempt(fun kv_node:name/0) =:= Node end, 20000).

attempt(Fun) ->
    try
        Fun()
    catch
        _:_ -> failed
    end.

start_node(Options) ->
    process_flag(trap_exit, true),
    _ = application:load(kv),
    kv_node:start_link(Options).

second_tree() ->
    (kv_config:defaults())#{
        supervisor := 'KV.S', event_manager := 'KV.E', node_supervisor := 'KV.NS', node := 'KV.N',
        store_supervisor := 'KV.SS', bucket_supervisor := 'KV.BS', registry := 'KV.R',
        bucket_supervisor_spec := kv_bucket_sup:child_spec('KV.BS'),
        start_bucket := {kv_bucket_sup, start_bucket, ['KV.BS']}
    }.
