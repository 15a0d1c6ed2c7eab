%% @doc kv:info, kv:top and kv:tree, from every node; and what Observer and similar tools see of the proxies.
-module(kv_tree_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [{group, info}, {group, top}, {group, tree}, {group, elsewhere}, {group, observer}].

groups() ->
    [
        {info, [], [
            a_bucket_is_known_by_every_address,
            a_suspended_bucket_is_looked_at_as_any_other,
            a_registry_tells_how_many_names_it_has,
            a_dead_process_is_noproc,
            other_processes_are_badarg,
            a_node_tells_what_is_on_it,
            a_process_with_a_label_is_not_taken_for_a_registry
        ]},
        {top, [], [
            processes_come_by_memory_operations_or_queue,
            top_prints_a_row_for_each,
            wrong_options_are_named
        ]},
        {tree, [], [
            a_tree_has_supervisors_proxies_and_native_processes,
            a_tree_of_many_buckets_shows_some_and_counts_the_rest,
            processes_outside_the_tree_are_below_their_owners,
            names_cannot_harm_a_terminal_and_make_no_atoms,
            a_terminal_without_unicode_gets_lines_in_ascii,
            colours_are_printed_when_asked_for
        ]},
        {elsewhere, [], [
            a_vm_without_kv_finds_the_one_that_runs_it,
            a_call_from_another_vm_prints_where_it_was_made,
            without_a_running_application_it_is_noproc,
            a_hung_node_does_not_keep_anybody_waiting
        ]},
        {observer, [], [
            a_box_has_the_name_of_its_bucket,
            a_box_has_its_name_again_when_the_bucket_comes_again,
            names_are_given_to_so_many_buckets_and_no_more,
            a_name_that_is_taken_is_left_to_its_owner,
            state_and_dictionary_show_what_the_bucket_is_made_of,
            the_state_of_a_hung_bucket_is_what_was_known_last,
            a_walk_over_the_tree_of_the_application_crashes_nowhere,
            buckets_in_a_stock_supervisor_are_counted
        ]}
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(Case, Config) -> kv_test:start_with_kv(Config, environment(Case)).

environment(names_are_given_to_so_many_buckets_and_no_more) -> [{observer_names, 3}];
environment(a_hung_node_does_not_keep_anybody_waiting) -> [{ping_timeout, 30000}];
environment(the_state_of_a_hung_bucket_is_what_was_known_last) -> [{ping_timeout, 30000}];
environment(_Case) -> [].

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

%%% Info

a_bucket_is_known_by_every_address(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link([{name, shopping}, {label, <<"shopping">>}]),
        ok = kv_bucket:put(Proxy, key, value),
        Native = kv_proxy:native(Proxy),
        yes = global:register_name(globally, Proxy),
        Info = kv:info(Native),
        ?assertMatch(
            #{
                pid := Native,
                owner := Proxy,
                kind := bucket,
                name := <<"shopping">>,
                size := 1,
                operations := 1,
                queue := 0,
                suspended := false,
                links := 0,
                monitors := 1,
                monitored_by := 1
            },
            Info
        ),
        ?assert(maps:get(memory, Info) > 0),
        [
            ?assertEqual(Info, kv:info(Address))
         || Address <- [Proxy, shopping, {shopping, node()}, {shopping, kv_node:name()}, {global, globally}] ++
                [{via, global, globally}]
        ],
        ?assertEqual([], kv_test:mailbox())
    end).

a_suspended_bucket_is_looked_at_as_any_other(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link(),
        ok = sys:suspend(kv_proxy:native(Proxy)),
        ok = gen_server:cast(Proxy, {put, key, value}),
        kv_test:wait(fun() -> maps:get(queue, kv:info(Proxy)) =:= 1 end),
        ?assertMatch(#{suspended := true, size := 0, operations := 0}, kv:info(Proxy)),
        ok = sys:resume(kv_proxy:native(Proxy)),
        ?assertMatch(#{suspended := false, size := 1, queue := 0, operations := 1}, kv:info(Proxy))
    end).

a_registry_tells_how_many_names_it_has(Config) ->
    in(Config, fun() ->
        ?assertMatch(#{kind := registry, size := 0, name := kv_registry}, kv:info(kv_registry)),
        [ok = kv_registry:create(kv_registry, name(I)) || I <- lists:seq(1, 5)],
        ?assertMatch(#{size := 5}, kv:info(kv_registry)),
        Registry = kv_proxy:native(kv_registry),
        ok = sys:suspend(Registry),
        ?assertMatch(#{size := undefined, suspended := true}, kv:info(Registry)),
        ok = sys:resume(Registry)
    end).

a_dead_process_is_noproc(Config) ->
    in(Config, fun() ->
        {ok, Proxy} = kv_bucket:start_link(),
        Native = kv_proxy:native(Proxy),
        ok = kv_bucket:stop(Proxy),
        [
            ?assertExit({noproc, {kv, info, [_]}}, kv:info(Address))
         || Address <- [Proxy, Native, nobody, {nobody, node()}, {nobody, kv_node:name()}, {global, nobody}]
        ],
        ?assertExit({{nodedown, 'no@127.0.0.1'}, _}, kv:info({nobody, 'no@127.0.0.1'}))
    end).

other_processes_are_badarg(Config) ->
    in(Config, fun() ->
        [?assertError(badarg, kv:info(What)) || What <- [self(), init, "text", {rex, kv_node:name()}, #{}, 7]]
    end).

a_node_tells_what_is_on_it(Config) ->
    in(Config, fun() ->
        [ok = kv_registry:create(kv_registry, name(I)) || I <- lists:seq(1, 3)],
        Node = kv_node:name(),
        Info = kv:info(),
        ?assertMatch(#{buckets := 3, registries := 1, names := 3, processes := 6, queue := 0}, Info),
        ?assertMatch(#{node := #{name := Node, os_pid := _}, version := _}, Info),
        ?assertMatch(#{local_reads := #{Node := {off, not_wanted}}}, Info),
        ?assertEqual(lists:sort(maps:keys(Info)), lists:sort(maps:keys(kv:info(kv_node)))),
        ?assertEqual(lists:sort(maps:keys(Info)), lists:sort(maps:keys(kv:info(node())))),
        ?assertMatch(#{buckets := 3, names := 3, node := #{name := Node}}, kv:info(Node)),
        ?assertExit({{nodedown, 'no@127.0.0.1'}, _}, kv:info('no@127.0.0.1')),
        ?assertEqual({error, {nodedown, 'no@127.0.0.1'}}, kv_totals:native_info('no@127.0.0.1'))
    end).

%% The node with such a process is this VM, with a module that answers as a C node does.
a_process_with_a_label_is_not_taken_for_a_registry(Config) ->
    in(Config, fun() ->
        ok = application:stop(kv),
        ok = load(kv_node, [
            "-export([processes/1]).",
            "processes(To) ->"
            "    Row = fun(Module, Label) -> {self(), Module, Label, 10, 1, 0} end,"
            "    To ! {kv_processes, self(), [Row(kv_bucket, <<\"a\">>), Row(kv_registry, undefined)]},"
            "    To ! {kv_processes, self(), [Row(counter, <<\"visits\">>), Row(net_kernel, undefined)]}."
        ]),
        Kinds = kv_inspect:fold(node(), fun(#{kind := Kind}, Kinds) -> [Kind | Kinds] end, [], 5000),
        ?assertEqual({ok, [service, service, registry, bucket]}, Kinds)
    end).

load(Module, Lines) ->
    Attributes = ["-module(" ++ atom_to_list(Module) ++ ")." | Lines],
    Forms = [begin {ok, Tokens, _} = erl_scan:string(Line), {ok, Form} = erl_parse:parse_form(Tokens), Form end || Line <- Attributes],
    {ok, Module, Beam} = compile:forms(Forms),
    _ = code:purge(Module),
    {module, Module} = code:load_binary(Module, "fake", Beam),
    ok.

%%% Top

processes_come_by_memory_operations_or_queue(Config) ->
    in(Config, fun() ->
        [Large, Busy, Waiting | _] = [bucket(name(I)) || I <- lists:seq(1, 30)],
        ok = kv_bucket:put(Large, key, binary:copy(<<"a">>, 100000)),
        [ok = kv_bucket:put(Busy, key, I) || I <- lists:seq(1, 200)],
        ok = sys:suspend(Waiting),
        [ok = gen_server:cast(Waiting, clear) || _ <- lists:seq(1, 3)],
        kv_test:wait(fun() -> maps:get(queue, kv:info(Waiting)) =:= 3 end),
        ?assertMatch([#{pid := Large}], kv:processes([{limit, 1}])),
        ?assertMatch([#{pid := Busy} | _], kv:processes(#{by => operations})),
        ?assertMatch([#{pid := Waiting, suspended := true}, _], kv:processes([{by, queue}, {limit, 2}])),
        ?assertEqual(20, length(kv:processes())),
        ?assertEqual(33, length(kv:processes([{limit, 1000}]))),
        ?assertEqual(3, length(kv:processes([{limit, 3}, {node, kv_node:name()}]))),
        [
            ?assertEqual(lists:reverse(lists:sort(Values)), Values)
         || By <- [memory, operations, queue],
            Values <- [[maps:get(By, Process) || Process <- kv:processes([{by, By}])]]
        ]
    end).

top_prints_a_row_for_each(Config) ->
    in(Config, fun() ->
        [ok = kv_bucket:put(bucket(name(I)), key, binary:copy(<<"a">>, 2000)) || I <- lists:seq(1, 3)],
        {ok, Text} = printed(unicode, fun() -> kv:top([{limit, 4}, {colours, false}]) end),
        [Summary, Titles | Rows] = string:lexemes(Text, "\n"),
        ?assertMatch({match, _}, re:run(Summary, "6 processes, of them 3 buckets; .* by memory$")),
        ?assertMatch({match, _}, re:run(Titles, "^pid +kind +size +memory +operations +queue +links +monitors +name$")),
        ?assertEqual(4, length(Rows)),
        ?assertMatch([_], [Row || Row <- Rows, string:find(Row, "kv_registry") =/= nomatch]),
        ?assertMatch([_, _, _], [Row || Row <- Rows, string:find(Row, "\"bucket ") =/= nomatch])
    end).

wrong_options_are_named(Config) ->
    in(Config, fun() ->
        Wrong = [{by, size}, {limit, 0}, {limit, many}, {node, "node"}, {colours, red}, {name, shopping}, {odd, 1}],
        [?assertMatch({error, {bad_option, Key, _}}, kv:top([{Key, Value}])) || {Key, Value} <- Wrong],
        [?assertMatch({error, {bad_option, Key, _}}, kv:tree(#{Key => Value})) || {Key, Value} <- [{by, memory} | Wrong]],
        [?assertMatch({error, {bad_option, Key, _}}, kv:processes([{Key, Value}])) || {Key, Value} <- Wrong],
        ?assertMatch({error, {bad_option, colours, _}}, kv:processes([{colours, true}])),
        ?assertMatch({error, {bad_option, "text", _}}, kv:top(["text"]))
    end).

%%% Tree

a_tree_has_supervisors_proxies_and_native_processes(Config) ->
    in(Config, fun() ->
        Native = bucket(<<"shopping">>),
        ok = kv_bucket:put(Native, key, value),
        #{owner := Proxy} = kv:info(Native),
        Text = tree([]),
        Names = ["kv_sup", "kv_event_manager", "kv_node_sup", "kv_node", "kv_store_sup", "kv_bucket_sup", "kv_registry"],
        [?assertNotEqual(nomatch, string:find(Text, Name)) || Name <- Names],
        Bucket = lists:flatten(io_lib:format("~p ══ ~p bucket \"shopping\", 1 key, ", [Proxy, Native])),
        [Line] = [Line || Line <- string:lexemes(Text, "\n"), string:find(Line, "shopping") =/= nomatch],
        ?assertMatch({"            │   └── " ++ _, [_, _]}, {Line, string:split(Line, Bucket)}),
        ?assertNotEqual(nomatch, string:find(Text, "registry kv_registry, 1 name")),
        ?assertNotEqual(nomatch, string:find(Text, "net_kernel")),
        ?assertEqual(nomatch, string:find(Text, "\e"))
    end).

a_tree_of_many_buckets_shows_some_and_counts_the_rest(Config) ->
    in(Config, fun() ->
        _ = [bucket(name(I)) || I <- lists:seq(1, 1203)],
        ?assertEqual(20, occurrences("bucket \"bucket ", tree([]))),
        ?assertEqual(1, occurrences("... and 1,183 more", tree([]))),
        ?assertEqual(1, occurrences("1,203 children", tree([]))),
        ?assertEqual(1, occurrences("bucket \"bucket ", tree([{limit, 1}]))),
        ?assertEqual(1, occurrences("kv_registry", tree([{limit, 1}]))),
        ?assertEqual(1203, occurrences("bucket \"bucket ", tree([{limit, 1203}]))),
        ?assertEqual(0, occurrences(" more", tree([{limit, 1203}]))),
        ?assertEqual(1, occurrences("besides: 2 processes", tree([])))
    end).

processes_outside_the_tree_are_below_their_owners(Config) ->
    in(Config, fun() ->
        {ok, Registry} = kv_registry:start_link(),
        ok = kv_registry:create(Registry, <<"inside">>),
        Own = spawn_link(kv_node:name(), kv_bucket, init, [[]]),
        Lines = string:lexemes(tree([]), "\n"),
        Below = fun(Upper, Lower) ->
            [_, Next | _] = lists:dropwhile(fun(Line) -> string:find(Line, Upper) =:= nomatch end, Lines),
            ?assertNotEqual(nomatch, string:find(Next, Lower))
        end,
        Below(pid_to_list(Registry), "registry, 1 name"),
        Below("registry, 1 name", "\"inside\""),
        Below(pid_to_list(self()), pid_to_list(Own)),
        true = unlink(Own),
        true = exit(Own, kill)
    end).

names_cannot_harm_a_terminal_and_make_no_atoms(Config) ->
    in(Config, fun() ->
        Names = [<<"a\e[31mred">>, <<"b\n\r\t", 7>>, <<"c", 16#202e/utf8>>, <<"d", 255, 254>>, binary:copy(<<"e">>, 1000)],
        _ = [bucket(Name) || Name <- Names],
        Text = tree([]),
        Shown = ["\"a\\x1B[31mred\"", "\"b\\x0A\\x0D\\x09\\x07\"", "\"c\\x{202E}\"", "\"d\\xFF\\xFE\""],
        [?assertEqual({Name, 1}, {Name, occurrences(Name, Text)}) || Name <- Shown],
        ?assertEqual(1, occurrences(lists:duplicate(40, $e) ++ "...\"", Text)),
        ?assertEqual([], [Char || Char <- Text, Char < 32, Char =/= $\n]),
        _ = {printed(unicode, fun kv:top/0), kv:info(), kv:processes()},
        _ = [bucket(name(I)) || I <- lists:seq(1, 1100)],
        Before = erlang:system_info(atom_count),
        _ = {tree([{limit, 2000}]), printed(unicode, fun() -> kv:top([{limit, 2000}]) end), kv:processes([{limit, 2000}])},
        ?assertEqual(Before, erlang:system_info(atom_count))
    end).

a_terminal_without_unicode_gets_lines_in_ascii(Config) ->
    in(Config, fun() ->
        _ = bucket(<<"caf", 16#e9/utf8>>),
        {ok, Text} = printed(latin1, fun() -> kv:tree([{colours, false}]) end),
        ?assertEqual([], [Char || Char <- Text, Char > 126]),
        ?assertEqual(1, occurrences("            |   `-- <", Text)),
        ?assertEqual(1, occurrences("\"caf\\x{E9}\"", Text))
    end).

colours_are_printed_when_asked_for(Config) ->
    in(Config, fun() ->
        _ = bucket(<<"shopping">>),
        {ok, Coloured} = printed(unicode, fun() -> kv:tree([{colours, true}]) end),
        ?assert(occurrences("\e[32m\"shopping\"\e[0m", Coloured) =:= 1),
        %% The group leader of this process is not a terminal.
        {ok, Plain} = printed(unicode, fun() -> kv:tree() end),
        ?assertEqual(nomatch, string:find(Plain, "\e"))
    end).

%%% Elsewhere

a_vm_without_kv_finds_the_one_that_runs_it(Config) ->
    {Node, Native, NativeNode} = in(Config, fun() -> {node(), bucket(<<"shopping">>), kv_node:name()} end),
    Other = kv_test:start_vm(Config),
    kv_test:in(Other, fun() ->
        pong = net_adm:ping(Node),
        [
            ?assertEqual(1, occurrences("bucket \"shopping\", 0 keys", tree(Options)))
         || Options <- [[], [{node, Node}], [{node, NativeNode}]]
        ],
        {ok, Text} = printed(unicode, fun() -> kv:tree(Node) end),
        ?assertEqual(1, occurrences(pid_to_list(Native), Text)),
        ?assertMatch(#{buckets := 1, names := 1, version := _}, kv:info()),
        ?assertMatch(#{buckets := 1}, kv:info(NativeNode)),
        ?assertMatch(#{pid := Native, size := 0}, kv:info(Native)),
        ?assertMatch(#{pid := Native}, kv:info(maps:get(owner, kv:info(Native)))),
        ?assertMatch(#{kind := registry}, kv:info({kv_registry, Node})),
        ?assertMatch([#{pid := Native}], [P || #{kind := bucket} = P <- kv:processes()]),
        {ok, Top} = printed(unicode, fun() -> kv:top() end),
        ?assertEqual(1, occurrences("\"shopping\"", Top))
    end),
    ok = kv_test:stop_vm(Other).

a_call_from_another_vm_prints_where_it_was_made(Config) ->
    Node = in(Config, fun() -> _ = bucket(<<"shopping">>), node() end),
    Other = kv_test:start_vm(Config),
    kv_test:in(Other, fun() ->
        {ok, Text} = printed(unicode, fun() -> erpc:call(Node, kv, tree, []) end),
        ?assertEqual(1, occurrences("bucket \"shopping\", 0 keys", Text)),
        {ok, Top} = printed(unicode, fun() -> rpc:call(Node, kv, top, []) end),
        ?assertEqual(1, occurrences("\"shopping\"", Top))
    end),
    ok = kv_test:stop_vm(Other).

without_a_running_application_it_is_noproc(Config) ->
    Node = in(Config, fun() -> node() end),
    Other = kv_test:start_vm(Config),
    kv_test:in(Other, fun() ->
        [
            ?assertExit({noproc, {kv, Function, _}}, apply(kv, Function, Arguments))
         || {Function, Arguments} <- [{tree, []}, {top, []}, {info, []}, {processes, []}, {tree, [node()]}]
        ],
        ?assertExit({{nodedown, 'no@127.0.0.1'}, _}, kv:tree('no@127.0.0.1')),
        pong = net_adm:ping(Node),
        ok = erpc:call(Node, application, stop, [kv]),
        ?assertExit({noproc, _}, kv:tree()),
        ?assertExit({noproc, _}, kv:tree(Node))
    end),
    ok = kv_test:stop_vm(Other).

a_hung_node_does_not_keep_anybody_waiting(Config) ->
    in(Config, fun() ->
        Native = bucket(<<"shopping">>),
        OsPid = kv_node:os_pid(),
        ok = kv_test:signal("STOP", OsPid),
        %% kv has a time limit of its own. The test checks that the call returns, not how fast.
        ?assertExit({timeout, {kv, info, [Native]}}, kv:info(Native)),
        ok = kv_test:signal("CONT", OsPid),
        ?assertMatch(#{size := 0}, kv:info(Native)),
        ?assertEqual([], kv_test:mailbox())
    end).

%%% Proxies in Observer

a_box_has_the_name_of_its_bucket(Config) ->
    in(Config, fun() ->
        Names = [<<"shopping">>, <<"caf", 16#e9/utf8>>, <<"two\nlines">>],
        Proxies = [maps:get(owner, kv:info(bucket(Name))) || Name <- Names],
        {ok, Named} = kv_bucket:start_link([{name, own_name}, {label, <<"label">>}]),
        {ok, Bare} = kv_bucket:start_link(),
        case has_labels() of
            true ->
                ?assertEqual(Names, [proc_lib:get_label(Proxy) || Proxy <- Proxies]),
                ?assertEqual(<<"label">>, proc_lib:get_label(Named)),
                ?assertEqual([], [Name || Proxy <- Proxies, {registered_name, Name} <- [registered_name(Proxy)]]);
            false ->
                Atoms = ['kv: shopping', 'kv: café', 'kv: two?lines'],
                ?assertEqual([{registered_name, Name} || Name <- Atoms], [registered_name(P) || P <- Proxies]),
                Boxes = boxes(),
                [?assert(lists:member(atom_to_list(Name), Boxes)) || Name <- Atoms]
        end,
        ?assertEqual({registered_name, own_name}, registered_name(Named)),
        ?assertEqual([], registered_name(Bare))
    end).

a_box_has_its_name_again_when_the_bucket_comes_again(Config) ->
    without_labels(Config, fun() ->
        _ = bucket(<<"shopping">>),
        Made = kv_names:made(),
        [
            begin
                Proxy = whereis('kv: shopping'),
                Monitor = monitor(process, Proxy),
                exit(Proxy, kill),
                killed = kv_test:down(Monitor),
                kv_test:wait(fun() -> kv_registry:lookup(kv_registry, <<"shopping">>) =:= error end),
                #{owner := Next} = kv:info(bucket(<<"shopping">>)),
                ?assertEqual({registered_name, 'kv: shopping'}, registered_name(Next))
            end
         || _ <- lists:seq(1, 10)
        ],
        ?assertEqual(Made, kv_names:made())
    end).

names_are_given_to_so_many_buckets_and_no_more(Config) ->
    without_labels(Config, fun() ->
        _ = [bucket(name(I)) || I <- lists:seq(1, 10)],
        ?assertEqual(3, length(named())),
        ?assertEqual(3, kv_names:made()),
        Atoms = erlang:system_info(atom_count),
        _ = [bucket(name(I)) || I <- lists:seq(11, 500)],
        ?assertEqual(Atoms, erlang:system_info(atom_count)),
        %% A restart of the whole tree does not reset the counter.
        ok = application:stop(kv),
        ok = kv_test:start_kv([{observer_names, 3}]),
        _ = [bucket(name(I)) || I <- lists:seq(501, 510)],
        ?assertEqual(3, kv_names:made()),
        ?assertMatch(#{name := <<"bucket 510">>}, kv:info(bucket(name(510)))),
        ok = application:stop(kv),
        ok = kv_test:start_kv([{observer_names, 0}]),
        _ = bucket(name(1)),
        ?assertEqual([], named())
    end).

named() -> [Name || Name <- registered(), lists:prefix("kv: ", atom_to_list(Name))].

a_name_that_is_taken_is_left_to_its_owner(Config) ->
    without_labels(Config, fun() ->
        true = register('kv: mine', self()),
        Bucket = bucket(<<"mine">>),
        ?assertEqual(self(), whereis('kv: mine')),
        ok = kv_bucket:put(Bucket, key, value),
        [First, Second] = [element(2, kv_bucket:start_link([{label, <<"twice">>}])) || _ <- [1, 2]],
        ?assertEqual({First, []}, {whereis('kv: twice'), registered_name(Second)})
    end).

state_and_dictionary_show_what_the_bucket_is_made_of(Config) ->
    in(Config, fun() ->
        Native = bucket(<<"shopping">>),
        ok = kv_bucket:put(Native, key, value),
        #{owner := Proxy, memory := Memory} = kv:info(Native),
        %% The calls of Observer's process window: observer_procinfo.erl, fetch_state_info2/2.
        {kv_bucket, init, 1} = proc_lib:translate_initial_call(Proxy),
        [gen_server] = proplists:get_value(behaviour, kv_proxy:module_info(attributes)),
        {status, Proxy, {module, gen_server}, [_, running, _, _, Misc]} = sys:get_status(Proxy, 200),
        [{header, _}, {data, _}, {data, [{"State", State}]}] = Misc,
        ?assertMatch(
            #{kind := bucket, native := Native, label := <<"shopping">>, size := 1, memory := Memory, queue := 0},
            State
        ),
        whole(State),
        {dictionary, Dictionary} = process_info(Proxy, dictionary),
        ?assertEqual({bucket, Native, <<"shopping">>}, proplists:get_value('$kv_native', Dictionary)),
        ?assertMatch(#{size := 1, memory := Memory, as_of := _}, proplists:get_value('$kv_figures', Dictionary)),
        [whole(Value) || {_, Value} <- Dictionary],
        ?assertEqual(Native, element(3, sys:get_state(Proxy, 200))),
        ok = sys:suspend(Native),
        Suspended = kv_test:proxy_state(Proxy),
        ?assertMatch(#{suspended := true, size := 1}, Suspended),
        whole(Suspended),
        ?assertEqual(Native, element(3, sys:get_state(Proxy, 200)))
    end).

%% Observer makes links of the pids in a term that it shows in full: observer_html_lib.erl, all_or_expand/2.
whole(Term) ->
    ?assertEqual(io_lib:format("~tP", [Term, 100]), io_lib:format("~tP", [Term, 8])).

the_state_of_a_hung_bucket_is_what_was_known_last(Config) ->
    in(Config, fun() ->
        Native = bucket(<<"shopping">>),
        Never = maps:get(owner, kv:info(bucket(<<"never looked at">>))),
        ok = kv_bucket:put(Native, key, value),
        #{owner := Proxy} = kv:info(Native),
        #{size := 1} = Now = kv_test:proxy_state(Proxy),
        ?assertNot(is_map_key(as_of, Now)),
        OsPid = kv_node:os_pid(),
        ok = kv_test:signal("STOP", OsPid),
        ?assertMatch(#{native := Native, size := 1, as_of := _}, kv_test:proxy_state(Proxy)),
        whole(kv_test:proxy_state(Proxy)),
        State = kv_test:proxy_state(Never),
        ?assertMatch({#{label := <<"never looked at">>}, false}, {State, is_map_key(size, State)}),
        ?assertEqual(Native, element(3, sys:get_state(Proxy))),
        ok = kv_test:signal("CONT", OsPid),
        ok = kv_bucket:put(Native, other, value),
        ?assertMatch(#{size := 2}, kv_test:proxy_state(Proxy)),
        ok = kv_bucket:put(Proxy, third, value),
        ?assertEqual(3, kv_bucket:size(Proxy))
    end).

%% As LiveDashboard does: it starts at the master of the application, follows links, and asks each process for its
%% links, dictionary and name. process_info/2 raises badarg for a process of another node.
a_walk_over_the_tree_of_the_application_crashes_nowhere(Config) ->
    in(Config, fun() ->
        Natives = [bucket(name(I)) || I <- lists:seq(1, 5)],
        Proxies = [maps:get(owner, kv:info(Native)) || Native <- Natives],
        Master = application_controller:get_master(kv),
        {Supervisor, kv_app} = application_master:get_child(Master),
        ?assertEqual(whereis(kv_sup), Supervisor),
        Seen = walk([Supervisor], #{Master => true}),
        [?assert(is_map_key(Proxy, Seen)) || Proxy <- Proxies],
        ?assertEqual([], [Pid || Pid <- maps:keys(Seen), node(Pid) =/= node()]),
        ?assertEqual(5, proplists:get_value(active, supervisor:count_children(kv_bucket_sup))),
        [
            ?assertEqual(2, proplists:get_value(active, supervisor:count_children(Level)))
         || Level <- [kv_sup, kv_node_sup, kv_store_sup]
        ]
    end).

walk([], Seen) ->
    Seen;
walk([Pid | Rest], Seen) when is_map_key(Pid, Seen) ->
    walk(Rest, Seen);
walk([Pid | Rest], Seen) when is_pid(Pid) ->
    Items = [registered_name, initial_call, links, dictionary, current_function, message_queue_len, memory],
    [{_, _}, {_, _}, {links, Links}, {dictionary, Dictionary} | _] = process_info(Pid, Items),
    {Module, _, _} = proplists:get_value('$initial_call', Dictionary, {none, init, 1}),
    Children = [Child || Module =:= supervisor, {_, Child, _, _} <- supervisor:which_children(Pid)],
    [?assert(lists:member(Child, Links)) || Child <- Children],
    walk(Children ++ [Link || Link <- Links, is_pid(Link)] ++ Rest, Seen#{Pid => true});
walk([_Port | Rest], Seen) ->
    walk(Rest, Seen).

buckets_in_a_stock_supervisor_are_counted(Config) ->
    in(Config, fun() ->
        {ok, Supervisor} = supervisor:start_link(?MODULE, one_for_one),
        Specs = [kv_bucket:child_spec([{name, Name}]) || Name <- [first, second]],
        [{ok, _} = supervisor:start_child(Supervisor, Spec) || Spec <- Specs],
        {ok, _} = supervisor:start_child(Supervisor, kv_registry:child_spec([{name, names}])),
        ?assertEqual([{specs, 3}, {active, 3}, {supervisors, 0}, {workers, 3}], supervisor:count_children(Supervisor)),
        Monitor = monitor(process, whereis(first)),
        exit(kv_proxy:native(first), kill),
        killed = kv_test:down(Monitor),
        %% The child has a name, and is restarted.
        ok = kv_test:wait(fun() -> is_pid(whereis(first)) end),
        ?assertEqual([{specs, 3}, {active, 3}, {supervisors, 0}, {workers, 3}], supervisor:count_children(Supervisor)),
        _ = walk([Supervisor], #{self() => true}),
        ok = supervisor:terminate_child(Supervisor, second)
    end).

init(Strategy) -> {ok, {#{strategy => Strategy}, []}}.

%%% Help

name(I) -> iolist_to_binary(["bucket ", integer_to_list(I)]).

%% Returns the native process of a bucket that the registry creates.
bucket(Name) ->
    ok = kv_registry:create(kv_registry, Name),
    {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
    Bucket.

has_labels() -> erlang:function_exported(proc_lib, set_label, 1).

without_labels(Config, Fun) ->
    in(Config, fun() -> has_labels() orelse Fun() end).

registered_name(Pid) -> process_info(Pid, registered_name).

%% Returns the names in the boxes that Observer draws: observer_app_wx.erl asks appmon_info for them.
boxes() ->
    {ok, Appmon} = appmon_info:start_link2(self(), self(), []),
    gen_server:cast(Appmon, {self(), app, kv, true, []}),
    receive
        {delivery, Appmon, app, kv, {_Root, Boxes, _Lines, _Others}} -> [Name || {_, Name} <- Boxes]
    after 5000 -> error(no_delivery)
    end.

occurrences(Part, Text) -> length(string:split(Text, Part, all)) - 1.

%% Returns the tree as text.
tree(Options) ->
    {ok, Text} = printed(unicode, fun() -> kv:tree(Options) end),
    Text.

%% Returns the value of a fun, and what it prints.
printed(Encoding, Fun) ->
    Self = self(),
    Leader = spawn_link(fun() -> leader(Encoding, Self, []) end),
    Before = group_leader(),
    true = group_leader(Leader, self()),
    try Fun() of
        Result ->
            Leader ! stop,
            receive
                {printed, Leader, Text} -> {Result, Text}
            end
    after
        true = group_leader(Before, self())
    end.

leader(Encoding, Owner, Text) ->
    receive
        {io_request, From, Tag, Request} ->
            {Answer, More} = io_answer(Request, Encoding),
            From ! {io_reply, Tag, Answer},
            leader(Encoding, Owner, [Text | More]);
        stop ->
            Owner ! {printed, self(), lists:flatten(Text)}
    end.

io_answer({put_chars, _, Chars}, _) -> {ok, unicode:characters_to_list(Chars)};
io_answer({put_chars, _, M, F, A}, _) -> {ok, unicode:characters_to_list(apply(M, F, A))};
io_answer(getopts, Encoding) -> {[{encoding, Encoding}], []};
io_answer(_, _) -> {{error, enotsup}, []}.
