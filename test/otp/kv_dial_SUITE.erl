%% How a VM connects to its program: with which cookie, and the reason if it cannot.
-module(kv_dial_SUITE).

-include_lib("stdlib/include/assert.hrl").
-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [
        the_cookie_for_the_node_alone_is_used,
        a_cookie_that_is_changed_reaches_the_program_without_a_new_connection,
        a_cookie_changed_for_the_node_alone_counts_when_the_connection_is_lost,
        a_cookie_that_no_erlang_node_can_use_is_refused_in_plain_words,
        a_program_with_another_cookie_is_the_reason_in_its_own_words,
        the_words_of_the_program_reach_the_logger_too,
        a_vm_that_allows_other_nodes_only_is_told_so,
        a_vm_that_allows_the_node_connects,
        a_vm_with_one_port_for_all_nodes_is_told_so,
        a_vm_with_one_port_for_all_nodes_connects_if_the_program_has_that_port,
        without_epmd_the_program_has_the_port_of_all_nodes,
        without_epmd_a_vm_that_listens_dials_another_address,
        without_epmd_kv_starts_none,
        without_epmd_a_vm_needs_another_way_to_the_node,
        a_vm_that_asks_another_module_than_epmd_is_told_so,
        a_vm_that_connects_by_itself_to_nobody_connects,
        a_vm_that_listens_at_given_ports_connects
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Cookies

the_cookie_for_the_node_alone_is_used(Config) ->
    in_vm(Config, [], fun() ->
        true = erlang:set_cookie(node_name(), 'for\tone'),
        ok = kv_test:start_kv(),
        ?assertEqual([node_name()], nodes(hidden))
    end).

a_cookie_that_is_changed_reaches_the_program_without_a_new_connection(Config) ->
    Vm = kv_test:start_vm(Config, ["-setcookie", "old"]),
    Other = kv_test:start_vm(Config, ["-setcookie", "new"]),
    Node = kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{ping_interval, 20}]),
        true = erlang:set_cookie(new),
        kv_node:name()
    end),
    Creation = fun() -> maps:get(creation, kv_node:info()) end,
    Before = kv_test:in(Vm, Creation),
    %% The other VM gets in as soon as the program has the new cookie.
    kv_test:wait(fun() -> peer:call(Other, net_kernel, connect_node, [Node]) end),
    ?assertEqual([Node], peer:call(Vm, erlang, nodes, [hidden])),
    ?assertEqual(Before, kv_test:in(Vm, Creation)),
    ok = kv_test:stop_vm(Other),
    ok = kv_test:stop_vm(Vm).

a_cookie_changed_for_the_node_alone_counts_when_the_connection_is_lost(Config) ->
    in_vm(Config, [], fun() ->
        ok = kv_test:start_kv(),
        Node = kv_node:name(),
        OsPid = kv_node:os_pid(),
        ok = net_kernel:monitor_nodes(true, [{node_type, hidden}]),
        true = erlang:set_cookie(Node, another),
        true = erlang:disconnect_node(Node),
        receive {nodeup, Node, _} -> ok end,
        ?assertEqual(OsPid, kv_node:os_pid())
    end).

a_cookie_that_no_erlang_node_can_use_is_refused_in_plain_words(Config) ->
    in_vm(Config, [], fun() ->
        true = erlang:set_cookie('\x{3bb}'),
        {error, {bad_cookie, Text}} = start_node([]),
        ?assertEqual(<<"the cookie has a character above 255, with which no two Erlang nodes can connect">>, Text)
    end).

%%% Reasons

a_program_with_another_cookie_is_the_reason_in_its_own_words(Config) ->
    Program = with_another_cookie(Config),
    in_vm(Config, [], fun() ->
        {error, {not_connected, Node, Text}} = start_node([{program, Program}]),
        ?assertEqual(node_name(), Node),
        Pattern = "^the program says: handshake with " ++ atom_to_list(node()) ++ " .* a wrong cookie$",
        ?assertMatch({match, _}, re:run(Text, Pattern), Text)
    end).

the_words_of_the_program_reach_the_logger_too(Config) ->
    Program = with_another_cookie(Config),
    in_vm(Config, [], fun() ->
        ok = logger:set_primary_config(level, warning),
        ok = logger:add_handler(lines, ?MODULE, #{config => self()}),
        {error, {not_connected, _, _}} = start_node([{program, Program}]),
        receive
            {logged, warning, Line} -> ?assertNotEqual(nomatch, string:find(Line, "a wrong cookie"))
        after 0 -> error(not_logged)
        end
    end).

%% A handler of logger.
log(#{level := Level, msg := {Format, Arguments}}, #{config := Pid}) when is_list(Arguments) ->
    Pid ! {logged, Level, unicode:characters_to_binary(io_lib:format(Format, Arguments))};
log(_Event, _Config) ->
    ok.

with_another_cookie(Config) ->
    Script = "sed -u 's/^--cookie-hex=.*/--cookie-hex=00/' | '" ++ kv_test:program() ++ "'",
    kv_test:script(Config, "another_cookie", [Script]).

a_vm_that_allows_other_nodes_only_is_told_so(Config) ->
    in_vm(Config, [], fun() ->
        ok = net_kernel:allow(['other@127.0.0.1']),
        Text = "this VM allows other nodes only: call net_kernel:allow(['" ++ atom_to_list(node_name()) ++ "']) before kv starts",
        ?assertEqual({error, {not_connected, node_name(), list_to_binary(Text)}}, start_node([]))
    end).

a_vm_that_allows_the_node_connects(Config) ->
    in_vm(Config, [], fun() ->
        ok = net_kernel:allow(['other@127.0.0.1', node_name()]),
        ?assertMatch({ok, _}, start_node([])),
        ok = gen_server:stop(kv_node)
    end).

a_vm_with_one_port_for_all_nodes_is_told_so(Config) ->
    Port = integer_to_list(kv_test:free_port()),
    in_vm(Config, ["-erl_epmd_port", Port, "-dist_listen", "false"], fun() ->
        {error, {not_connected, _, Text}} = start_node([]),
        Pattern = "^this VM dials every node at port " ++ Port ++ " \\(-erl_epmd_port\\), and the program listens at port [0-9]+: ",
        ?assertMatch({match, _}, re:run(Text, Pattern), Text)
    end).

a_vm_with_one_port_for_all_nodes_connects_if_the_program_has_that_port(Config) ->
    Port = kv_test:free_port(),
    in_vm(Config, ["-erl_epmd_port", integer_to_list(Port), "-dist_listen", "false"], fun() ->
        ?assertMatch({ok, _}, start_node([{port, Port}])),
        ok = gen_server:stop(kv_node)
    end).

without_epmd_the_program_has_the_port_of_all_nodes(Config) ->
    Port = kv_test:free_port(),
    in_vm(Config, ["-erl_epmd_port", integer_to_list(Port), "-dist_listen", "false"], fun() ->
        ?assertMatch({ok, _}, start_node([{epmd, false}])),
        ?assertMatch(#{port := Port}, kv_node:info()),
        ?assertEqual(unknown, kv_epmd:port_of(kv_node:name())),
        ok = gen_server:stop(kv_node)
    end).

without_epmd_a_vm_that_listens_dials_another_address(Config) ->
    Port = kv_test:free_port(),
    Here = ["-start_epmd", "false", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"],
    in_vm(Config, ["-erl_epmd_port", integer_to_list(Port) | Here], fun() ->
        ?assertMatch({ok, _}, start_node([{epmd, false}, {node_name, 'apart@127.0.0.2'}])),
        ?assertEqual('apart@127.0.0.2', kv_node:name()),
        ok = gen_server:stop(kv_node)
    end).

without_epmd_kv_starts_none(Config) ->
    [Epmd, Port] = [kv_test:free_port() || _ <- [1, 2]],
    Vm = kv_test:start_undistributed_vm([{epmd_port, Epmd} | Config], ["-erl_epmd_port", integer_to_list(Port)]),
    try
        kv_test:in(Vm, fun() ->
            process_flag(trap_exit, true),
            ok = kv_test:start_kv([{epmd, false}]),
            {ok, Bucket} = kv_bucket:start_link([]),
            ok = kv_bucket:put(Bucket, key, value),
            ?assertEqual(value, kv_bucket:get(Bucket, key)),
            ?assertEqual({Epmd, false}, {kv_epmd:port(), kv_epmd:is_running()}),
            ok = application:stop(kv)
        end)
    after
        kv_test:stop_vm(Vm)
    end.

without_epmd_a_vm_needs_another_way_to_the_node(Config) ->
    Refused = fun(Options, Words) ->
        {error, {bad_option, epmd, Text}} = start_node([{epmd, false} | Options]),
        ?assertNotEqual(nomatch, string:find(Text, Words), Text)
    end,
    in_vm(Config, [], fun() -> Refused([], "start it with -erl_epmd_port") end),
    in_vm(Config, ["-erl_epmd_port", "9100", "-dist_listen", "false"], fun() -> Refused([{port, 9101}], "at port 9100") end),
    in_vm(Config, ["-epmd_module", atom_to_list(?MODULE)], fun() -> Refused([], "set the option port") end).

a_vm_that_asks_another_module_than_epmd_is_told_so(Config) ->
    in_vm(Config, ["-epmd_module", atom_to_list(?MODULE)], fun() ->
        {error, {not_connected, _, Text}} = start_node([]),
        Pattern = "^this VM asks kv_dial_SUITE for the ports of other nodes \\(-epmd_module\\), and not EPMD, .* to port [0-9]+$",
        ?assertMatch({match, _}, re:run(Text, Pattern), Text)
    end).

%% A module in the place of erl_epmd, which knows no node.
start_link() -> ignore.
listen_port_please(_Name, _Host) -> {ok, 0}.
register_node(_Name, _Port, _Family) -> {ok, 1}.
register_node(_Name, _Port) -> {ok, 1}.
port_please(_Name, _Host, _Timeout) -> noport.
port_please(_Name, _Host) -> noport.
address_please(_Name, _Host, _Family) -> {ok, {127, 0, 0, 1}}.
names(_Host) -> {ok, []}.

a_vm_that_connects_by_itself_to_nobody_connects(Config) ->
    in_vm(Config, ["-kernel", "dist_auto_connect", "never"], fun() ->
        ok = kv_test:start_kv(),
        ?assertEqual(ok, kv_registry:create(kv_registry, <<"shopping">>))
    end).

a_vm_that_listens_at_given_ports_connects(Config) ->
    Port = integer_to_list(kv_test:free_port()),
    in_vm(Config, ["-kernel", "inet_dist_listen_min", Port, "inet_dist_listen_max", Port], fun() ->
        ?assertEqual(ok, kv_test:start_kv())
    end).

%%% Helpers

node_name() ->
    list_to_atom("kv_" ++ atom_to_list(node())).

%% Starts a node, from a process that does not end with it.
start_node(Options) ->
    process_flag(trap_exit, true),
    kv_node:start_link(Options).

in_vm(Config, Arguments, Fun) ->
    Vm = kv_test:start_vm(Config, Arguments),
    _ = kv_test:in(Vm, Fun),
    ok = kv_test:stop_vm(Vm).
