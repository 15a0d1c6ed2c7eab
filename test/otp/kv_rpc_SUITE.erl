%% @doc Calls of tools to the C node by rpc, erpc and the process rex, from a real VM: functions with absurd
%% arguments, the tree of the tab Applications, and tools that cannot work with a node that is no BEAM.
-module(kv_rpc_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% A call that has not been answered by then hangs.
-define(TIMEOUT, 10000).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        every_function_is_exported,
        wrong_arguments_get_an_error_or_an_answer,
        a_wrong_number_of_arguments_is_undef,
        arguments_that_are_no_list_are_refused,
        errors_are_of_the_kind_that_erpc_has,
        rex_answers_whatever_it_is_asked,
        many_callers_are_answered_while_a_bucket_serves,
        the_tree_has_the_nearest_supervisor_above_each_bucket,
        a_bucket_of_another_supervisor_is_below_that,
        a_bucket_without_an_owner_is_below_the_root,
        the_window_of_a_process_shows_its_last_requests,
        etop_says_that_it_cannot_work_here,
        ttb_does_not_trace_the_node
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_test:start_with_kv(Config).

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%% The functions of c_src/observe/, as the node lists them.
functions() -> [{M, F, A} || {M, F, A, _} <- rpc:call(native_node(), kv_node, functions, [])].

wrong(Node) ->
    Dead = spawn(fun() -> ok end),
    Native = rpc:call(Node, erlang, whereis, [net_kernel]),
    [-1, 1 bsl 100, 1.5, '', ets, <<"x">>, <<5:3>>, [], [memory | memory], "memory", lists:duplicate(100000, memory),
     lists:seq(1, 1000), {}, {a, b}, {<<"x">>, Native}, {<<"x">>, self()}, #{a => 1}, self(), Dead, Native,
     make_ref(), fun() -> ok end, fun lists:map/2, hd(erlang:ports())].

native_node() -> kv_node:name(kv_node:default()).

%% Checks that the bucket is there and intact.
is_well() ->
    {ok, Bucket} = kv_bucket:start_link(),
    ok = kv_bucket:put(Bucket, key, value),
    value =:= kv_bucket:get(Bucket, key) andalso ok =:= kv_bucket:stop(Bucket).

%%% Cases: calls

every_function_is_exported(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        [?assert(rpc:call(Node, erlang, function_exported, [M, F, A])) || {M, F, A} <- functions()],
        ?assertNot(rpc:call(Node, erlang, function_exported, [os, cmd, 1]))
    end).

wrong_arguments_get_an_error_or_an_answer(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        Wrong = wrong(Node),
        [call(Node, M, F, Arguments) || {M, F, A} <- functions(), Arguments <- arguments(A, Wrong)],
        ?assert(is_well())
    end).

arguments(0, _Wrong) -> [[]];
arguments(1, Wrong) -> [[X] || X <- Wrong];
arguments(2, Wrong) -> [[X, Y] || X <- Wrong, Y <- Wrong];
arguments(3, Wrong) -> [[X, Y, X] || X <- Wrong, Y <- Wrong].

call(Node, M, F, Arguments) ->
    case rpc:call(Node, M, F, Arguments, ?TIMEOUT) of
        {badrpc, {'EXIT', {badarg, _}}} -> ok;
        {badrpc, {'EXIT', {noproc, {_, call, _}}}} -> ok;
        {badrpc, {'EXIT', {noproc, {sys, get_status, Arguments}}}} -> ok;
        {badrpc, Other} -> error({M, F, Arguments, Other});
        _ -> ok
    end.

a_wrong_number_of_arguments_is_undef(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        Functions = functions(),
        [
            ?assertMatch({badrpc, {'EXIT', {undef, [{M, F, _, []}]}}}, rpc:call(Node, M, F, lists:duplicate(N, self())))
         || {M, F, _} <- Functions, N <- lists:seq(0, 5), not lists:member({M, F, N}, Functions)
        ],
        ?assertMatch({badrpc, {'EXIT', {undef, [{no, thing, _, []}]}}}, rpc:call(Node, no, thing, lists:seq(1, 300))),
        ?assertMatch({badrpc, {'EXIT', {undef, [{no, thing, 100000, []}]}}},
                     rpc:call(Node, no, thing, lists:duplicate(100000, x)))
    end).

%% rpc itself checks the list, so the test sends its message.
arguments_that_are_no_list_are_refused(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        [
            begin
                Request = spawn_request(Node, erpc, execute_call, [res, M, F, Arguments], [monitor]),
                receive {spawn_reply, Request, ok, _} -> ok end,
                receive {'DOWN', Request, process, _, Reason} -> ?assertMatch({res, error, badarg, _}, Reason) end
            end
         || {M, F, _} <- functions(), Arguments <- [[a | b], x, 1, #{}, <<"x">>, {}]
        ],
        ?assert(is_well())
    end).

errors_are_of_the_kind_that_erpc_has(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        ?assertError({exception, badarg, [{erlang, whereis, [1], []}]}, erpc:call(Node, erlang, whereis, [1])),
        ?assertError({exception, undef, [{os, cmd, ["ls"], []}]}, erpc:call(Node, os, cmd, ["ls"])),
        ?assertError({exception, cannot_run_closures, _}, erpc:call(Node, fun() -> ok end)),
        ok = erpc:cast(Node, os, cmd, ["ls"]),
        ok = erpc:cast(Node, observer_backend, sys_info, []),
        ?assertEqual([{ok, Node}], erpc:multicall([Node], erlang, node, [])),
        ?assert(is_well())
    end).

rex_answers_whatever_it_is_asked(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        ?assertEqual(Node, rpc:block_call(Node, erlang, node, [])),
        ?assert(is_list(rpc:block_call(Node, erlang, processes, []))),
        ?assertMatch({badrpc, {'EXIT', {badarg, _}}}, rpc:block_call(Node, erlang, whereis, [1])),
        [
            ?assertMatch({error, {bad_request, _}}, gen_server:call({rex, Node}, Request))
         || Request <- [hello, {block_call, a, b}, {call, a, b}]
        ],
        [
            ?assertMatch({badrpc, {'EXIT', {badarg, _}}}, gen_server:call({rex, Node}, Request))
         || Request <- [{block_call, 1, 2, 3, 4}, {call, a, b, c, d}, {call, 1, b, [], self()}]
        ],
        [gen_server:cast({rex, Node}, Request) || Request <- [hello, {cast, erlang, node, [], self()}, {cast, 1, 2, 3, 4}]],
        [{rex, Node} ! Message || Message <- [hello, {self(), hello}, {self(), {call, a}}, {1, {call, a, b, [], c}}]],
        ?assert(is_well())
    end).

many_callers_are_answered_while_a_bucket_serves(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        {ok, Bucket} = kv_bucket:start_link(),
        Callers = [
            spawn_monitor(fun() ->
                _ = [
                    rpc:call(Node, observer_backend, F, A, ?TIMEOUT)
                 || _ <- lists:seq(1, 20),
                    {F, A} <- [{sys_info, []}, {get_table_list, [ets, []]}, {get_table, [self(), x, ets]}, {nothing, [1]}]
                ]
            end)
         || _ <- lists:seq(1, 30)
        ],
        [ok = kv_bucket:put(Bucket, N, N) || N <- lists:seq(1, 1000)],
        [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Callers],
        ?assertEqual(1000, kv_bucket:size(Bucket))
    end).

%%% Cases: the tree

%% As observer_app_wx does: returns [{Box, Pid}], and the parent of each box.
tree(Node) ->
    {ok, Server} = rpc:call(Node, appmon_info, start_link2, [self(), self(), []]),
    gen_server:cast(Server, {self(), app, kv, true, []}),
    {Root, Boxes, Lines, []} =
        receive {delivery, Server, app, kv, Tree} -> Tree after ?TIMEOUT -> error(no_tree) end,
    ?assert(lists:keymember(Root, 2, Boxes)),
    {Root, maps:from_list([{Pid, Name} || {Pid, Name} <- lists:reverse(Boxes)]), maps:from_list([{To, From} || {From, To} <- Lines])}.

%% The names from a process up to the root.
way_up(Pid, {Root, Names, Above}) -> way_up(maps:get(Pid, Names), Root, Above).
way_up(Root, Root, _Above) -> [Root];
way_up(Name, Root, Above) -> [Name | way_up(maps:get(Name, Above), Root, Above)].

the_tree_has_the_nearest_supervisor_above_each_bucket(Config) ->
    in(Config, fun() ->
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        {_, Names, Above} = Tree = tree(native_node()),
        [Box, _Proxy, "kv_bucket_sup", "kv"] = way_up(Bucket, Tree),
        ?assertNotEqual(nomatch, string:find(Box, "shopping")),
        %% The boxes are those processes, so that a double click opens them.
        [{_, Proxy, _, _}] = supervisor:which_children(kv_bucket_sup),
        ?assertEqual("kv_bucket_sup", maps:get(maps:get(Proxy, Names), Above)),
        ?assertEqual("kv_bucket_sup", maps:get(whereis(kv_bucket_sup), Names)),
        ?assertMatch([_, _, "kv_store_sup" | _], way_up(kv_proxy:native(kv_registry), Tree))
    end).

a_bucket_of_another_supervisor_is_below_that(Config) ->
    in(Config, fun() ->
        {ok, Supervisor} = kv_bucket_sup:start_link(somebody_elses_sup),
        {ok, Proxy} = supervisor:start_child(Supervisor, []),
        Tree = tree(native_node()),
        {_, Names, _} = Tree,
        [_, _, "somebody_elses_sup" | _] = way_up(kv_proxy:native(Proxy), Tree),
        ?assertEqual("somebody_elses_sup", maps:get(Supervisor, Names)),
        true = unlink(Supervisor),
        exit(Supervisor, shutdown)
    end).

a_bucket_without_an_owner_is_below_the_root(Config) ->
    in(Config, fun() ->
        Node = native_node(),
        Bucket = spawn(Node, kv_bucket, init, [[{label, <<"alone">>}]]),
        Linked = spawn_link(Node, kv_bucket, init, [[]]),
        Tree = tree(Node),
        ?assertMatch([_, "kv"], way_up(Bucket, Tree)),
        ?assertMatch([_, "<" ++ _, "kv"], way_up(Linked, Tree)),
        true = unlink(Linked),
        [exit(Pid, kill) || Pid <- [Bucket, Linked]]
    end).

%%% Cases: tools

the_window_of_a_process_shows_its_last_requests(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link(),
        Bucket = kv_proxy:native(Proxy),
        Requests = fun() ->
            {status, Bucket, _, [_, _, _, _, [_, {data, Data} | _]]} =
                rpc:call(node(Bucket), sys, get_status, [Bucket, 200]),
            proplists:get_value("Last requests", Data)
        end,
        ?assertEqual([], Requests()),
        ok = kv_bucket:put(Bucket, key, value),
        ?assertMatch([<<"call put/2, ", _/binary>> | _], Requests())
    end).

%% The tool asks for the version of observer_backend. Only a node that can be traced may answer: see
%% docs/differences.md.
etop_says_that_it_cannot_work_here(Config) ->
    tool(Config, etop, fun(Node) ->
        {Pid, Monitor} = spawn_monitor(fun() -> etop:start([{node, Node}, {output, text}]) end),
        receive
            {'DOWN', Monitor, process, Pid, Reason} ->
                ?assertEqual("Faulty version of runtime_tools on remote node", Reason)
        end
    end).

ttb_does_not_trace_the_node(Config) ->
    tool(Config, ttb, fun(Node) ->
        ?assertMatch({ok, []}, ttb:tracer([Node], [])),
        _ = ttb:stop()
    end).

tool(Config, Module, Fun) ->
    case in(Config, fun() -> code:ensure_loaded(Module) end) of
        {module, Module} ->
            in(Config, fun() ->
                {group_leader, Leader} = process_info(whereis(init), group_leader),
                true = group_leader(Leader, self()),
                Fun(native_node()),
                ?assert(is_well())
            end);
        {error, _} ->
            {skip, "this OTP has no Observer"}
    end.
