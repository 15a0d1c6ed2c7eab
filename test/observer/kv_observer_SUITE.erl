%% @doc The real Observer, in a VM of its own under a virtual display, looks at the BEAM node and at the C node.
%%
%% One VM and one Observer for all cases, in order: as a user who goes from tab to tab. What is on the screen is
%% read back from the widgets. With KV_IMAGES naming a directory, screenshots are left there.
-module(kv_observer_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(SCREEN, "1100x620x24").
-define(WIDTH, 1100).
-define(HEIGHT, 620).
%% Observer asks for the lists of the open tab every 10 s.
-define(REFRESH, 10000).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        the_tree_of_the_beam_node_has_a_box_for_each_bucket,
        the_process_window_of_a_proxy_shows_its_native_process,
        the_tools_of_supervisors_count_the_tree,
        the_nodes_menu_leads_to_the_c_node,
        system_shows_the_c_node,
        memory_allocators_shows_the_c_node,
        load_charts_gets_figures,
        processes_shows_each_native_process,
        a_process_window_shows_a_bucket,
        applications_shows_the_tree_across_nodes,
        table_viewer_shows_each_bucket,
        a_table_can_be_read_edited_and_deleted_from,
        sockets_shows_each_connection,
        ports_is_empty,
        a_bucket_killed_from_observer_is_gone_everywhere,
        two_refreshes_later_all_is_well,
        closing_observer_leaves_nothing_in_the_c_node
    ].

init_per_suite(Config) ->
    case [What || {What, false} <- [{"Xvfb", os:find_executable("Xvfb")}, {"erlang-observer", observer()}]] of
        [] -> start(kv_test:start_suite(Config));
        Missing -> {skip, "not installed: " ++ lists:flatten(lists:join(", ", Missing)) ++ "; see scripts/install"}
    end.

observer() ->
    not is_tuple(code:lib_dir(observer)) andalso not is_tuple(code:lib_dir(wx)).

start(Config0) ->
    {Screen, Display} = start_screen(),
    Config = kv_test:start_case(Config0),
    true = os:putenv("DISPLAY", ":" ++ Display),
    Vm = kv_test:start_vm(Config),
    Program = kv_program:program(),
    C = kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{program, Program}]),
        [ok = kv_registry:create(kv_registry, Name) || Name <- [<<"shopping">>, <<"users">>, <<"книги"/utf8>>]],
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        [ok = kv_bucket:put(Bucket, Key, Value) || {Key, Value} <- stock()],
        ok = kv_observer_driver:start(),
        ok = kv_observer_driver:resize(?WIDTH, ?HEIGHT),
        kv_node:name(kv_node:default())
    end),
    [{vm, Vm}, {screen, Screen}, {display, Display}, {c_node, C} | Config].

stock() ->
    [{<<"eggs">>, 3}, {<<"milk">>, 1}, {bread, #{kind => rye, slices => 12}}, {{aisle, 7}, [1.5, "tea"]}].

%% Xvfb picks a display that is free and says which. It ends when its standard input does.
start_screen() ->
    Command = "Xvfb -displayfd 1 -screen 0 " ?SCREEN " -nolisten tcp 2>/dev/null & x=$!; read line; kill $x",
    Caller = self(),
    Screen = spawn(fun() ->
        Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Command]}, {line, 100}]),
        receive
            {Port, {data, {eol, Display}}} -> Caller ! {self(), Display}
        end,
        receive
            stop -> port_close(Port)
        end
    end),
    receive
        {Screen, Display} -> {Screen, Display}
    after 20000 -> error(no_display)
    end.

end_per_suite(Config) ->
    kv_test:stop_vm(?config(vm, Config)),
    ?config(screen, Config) ! stop,
    Lock = "/tmp/.X" ++ ?config(display, Config) ++ "-lock",
    kv_test:wait(fun() -> not filelib:is_regular(Lock) end),
    ok = kv_test:end_case(Config),
    kv_test:end_suite(Config).

%% Each case ends with Observer alive, and nothing reported.
end_per_testcase(closing_observer_leaves_nothing_in_the_c_node, Config) ->
    no_crash(Config);
end_per_testcase(_Case, Config) ->
    case {in(Config, fun kv_observer_driver:is_alive/0), no_crash(Config)} of
        {true, ok} -> ok;
        {false, _} -> {fail, observer_is_gone};
        {true, Failed} -> Failed
    end.

no_crash(Config) ->
    case in(Config, fun kv_observer_driver:crashes/0) of
        [] -> ok;
        Crashes -> {fail, {reported, Crashes}}
    end.

in(Config, Fun) ->
    kv_test:in(?config(vm, Config), Fun).

%% Waits in the VM, so that what is asked for need not travel.
until(Config, Fun) ->
    in(Config, fun() -> kv_test:wait(Fun) end).

%%% The BEAM node

the_tree_of_the_beam_node_has_a_box_for_each_bucket(Config) ->
    in(Config, fun() -> kv_observer_driver:resize(?WIDTH, ?HEIGHT) end),
    in(Config, fun() -> kv_observer_driver:tab("Applications") end),
    until(Config, fun() -> lists:member("kv", kv_observer_driver:apps()) end),
    in(Config, fun() -> kv_observer_driver:pick_app("kv") end),
    Boxes = until(Config, fun() -> children_of("kv_bucket_sup", kv_observer_driver:tree()) end),
    ?assertEqual(3, length(Boxes)),
    picture(Config, "observer-applications-beam").

the_process_window_of_a_proxy_shows_its_native_process(Config) ->
    {Native, Pages} = in(Config, fun() ->
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        [Proxy] = [P || {_, P, _, _} <- supervisor:which_children(kv_bucket_sup), kv_proxy:native(P) =:= Bucket],
        ok = kv_observer_driver:open_process(Proxy),
        Read = kv_observer_driver:process_pages(Proxy),
        ok = kv_observer_driver:close_process(Proxy),
        {pid_to_list(Bucket), Read}
    end),
    State = proplists:get_value("State", Pages),
    [?assert(contains(State, Part)) || Part <- [Native, "shopping", "size", "memory"]],
    ?assert(contains(proplists:get_value("Dictionary", Pages), "kv_native")).

the_tools_of_supervisors_count_the_tree(Config) ->
    ?assertEqual(
        3,
        in(Config, fun() ->
            [
                {_, [_, _ | _]} = {Supervisor, supervisor:count_children(Supervisor)}
             || Supervisor <- [kv_sup, kv_bucket_sup]
            ],
            proplists:get_value(active, supervisor:count_children(kv_bucket_sup))
        end)
    ).

%%% The C node

the_nodes_menu_leads_to_the_c_node(Config) ->
    C = ?config(c_node, Config),
    ?assert(lists:member(atom_to_list(C), in(Config, fun kv_observer_driver:nodes/0))),
    in(Config, fun() -> kv_observer_driver:tab("System") end),
    in(Config, fun() -> kv_observer_driver:select_node(C) end).

system_shows_the_c_node(Config) ->
    Labels = until(Config, fun() ->
        All = kv_observer_driver:labels(),
        lists:any(fun(Label) -> contains(Label, "libuv") end, All) andalso All
    end),
    [
        ?assert(lists:any(fun(Label) -> contains(Label, Part) end, Labels))
     || Part <- ["kv 0.", "native node", "Processes", "Up time"]
    ].

memory_allocators_shows_the_c_node(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Memory Allocators") end),
    until(Config, fun() -> lists:member("buckets", kv_observer_driver:column(1)) end),
    Names = in(Config, fun() -> kv_observer_driver:column(1) end),
    [?assert(lists:member(Name, Names)) || Name <- ["heap", "buckets", "processes", "network"]].

%% The charts are drawn, not written: that the panel asked, got an answer and lives is what there is to see.
load_charts_gets_figures(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Load Charts") end),
    until(Config, fun() -> collectors(Config) =/= [] end),
    timer:sleep(1500),
    ?assert(in(Config, fun kv_observer_driver:is_alive/0)).

collectors(Config) ->
    C = ?config(c_node, Config),
    [
        Pid
     || Pid <- rpc:call(C, erlang, processes, []),
        {initial_call, {observer_backend, _, _}} <- [rpc:call(C, erlang, process_info, [Pid, initial_call])]
    ].

processes_shows_each_native_process(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Processes") end),
    until(Config, fun() -> lists:member("kv_registry", kv_observer_driver:column(2)) end),
    Names = in(Config, fun() -> kv_observer_driver:column(2) end),
    ?assertEqual(3, length([Name || Name <- Names, contains(Name, "kv_bucket:init/1")])),
    [?assert(lists:member(Name, Names)) || Name <- ["rex", "net_kernel", "kv_registry"]],
    picture(Config, "observer-processes").

a_process_window_shows_a_bucket(Config) ->
    Pages = in(Config, fun() ->
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        ok = kv_observer_driver:open_process(Bucket),
        Read = kv_observer_driver:process_pages(Bucket),
        ok = kv_observer_driver:close_process(Bucket),
        Read
    end),
    [?assert(contains(proplists:get_value("State", Pages), Part)) || Part <- ["shopping", "size", "memory", "eggs"]],
    ?assert(contains(proplists:get_value("Dictionary", Pages), "eggs")),
    ?assert(contains(proplists:get_value("Process Information", Pages), "kv_bucket:init/1")),
    ?assert(contains(proplists:get_value("Stack Trace", Pages), "kv_bucket:waiting/0")).

applications_shows_the_tree_across_nodes(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Applications") end),
    until(Config, fun() -> kv_observer_driver:apps() =:= ["kv"] end),
    in(Config, fun() -> kv_observer_driver:pick_app("kv") end),
    until(Config, fun() -> lists:any(fun(Text) -> contains(Text, "shopping") end, texts(kv_observer_driver:tree())) end),
    Texts = texts(in(Config, fun kv_observer_driver:tree/0)),
    [?assert(lists:any(fun(Text) -> contains(Text, Part) end, Texts)) || Part <- ["users", "книги", "kv_registry", "rex"]],
    picture(Config, "observer-applications-c").

table_viewer_shows_each_bucket(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Table Viewer") end),
    until(Config, fun() -> length(kv_observer_driver:rows()) =:= 3 end),
    Rows = in(Config, fun kv_observer_driver:rows/0),
    ?assertEqual(["kv_bucket", "kv_bucket", "kv_bucket"], [Name || [Name | _] <- Rows]).

a_table_can_be_read_edited_and_deleted_from(Config) ->
    in(Config, fun() -> kv_observer_driver:open_table(row_of(<<"shopping">>)) end),
    until(Config, fun() -> length(kv_observer_driver:table_rows()) =:= 4 end),
    picture(Config, "observer-table"),
    in(Config, fun() -> kv_observer_driver:edit_row(key_row("eggs"), "{<<\"eggs\">>, [twelve, 12]}.") end),
    until(Config, fun() -> kv_bucket:get(bucket(<<"shopping">>), <<"eggs">>) =:= [twelve, 12] end),
    until(Config, fun() -> contains(lists:flatten(kv_observer_driver:table_rows()), "twelve") end),
    in(Config, fun() -> kv_observer_driver:delete_row(key_row("milk")) end),
    until(Config, fun() -> kv_bucket:has_key(bucket(<<"shopping">>), <<"milk">>) =:= false end),
    %% A row that is gone stays for one refresh more, in another colour.
    in(Config, fun kv_observer_driver:refresh_table/0),
    until(Config, fun() -> length(kv_observer_driver:table_rows()) =:= 3 end),
    ?assertEqual(3, in(Config, fun() -> kv_bucket:size(bucket(<<"shopping">>)) end)),
    in(Config, fun kv_observer_driver:close_table/0).

%% The row of the table that belongs to a bucket: the owner is in it.
row_of(Name) ->
    Owner = pid_to_list(bucket(Name)),
    index_of(fun(Row) -> lists:any(fun(Cell) -> contains(Cell, Owner) end, Row) end, kv_observer_driver:rows()).

key_row(Key) ->
    index_of(fun(Row) -> contains(lists:flatten(Row), Key) end, kv_observer_driver:table_rows()).

index_of(Predicate, Rows) ->
    [Index | _] = [I || {I, Row} <- lists:zip(lists:seq(0, length(Rows) - 1), Rows), Predicate(Row)],
    Index.

bucket(Name) ->
    {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
    Bucket.

sockets_shows_each_connection(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Sockets") end),
    until(Config, fun() -> kv_observer_driver:rows() =/= [] end),
    ?assert(contains(lists:flatten(in(Config, fun kv_observer_driver:rows/0)), "tcp")).

ports_is_empty(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Ports") end),
    until(Config, fun() -> kv_observer_driver:rows() =:= [] end).

%% All that the menu does is exit(Pid, kill), in Observer's VM.
a_bucket_killed_from_observer_is_gone_everywhere(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Processes") end),
    Bucket = in(Config, fun() -> bucket(<<"users">>) end),
    in(Config, fun() -> exit(Bucket, kill) end),
    until(Config, fun() -> kv_registry:lookup(kv_registry, <<"users">>) =:= error end),
    until(Config, fun() -> proplists:get_value(active, supervisor:count_children(kv_bucket_sup)) =:= 2 end),
    in(Config, fun kv_observer_driver:refresh_processes/0),
    until(Config, fun() -> length([N || N <- kv_observer_driver:column(2), contains(N, "kv_bucket:init/1")]) =:= 2 end).

two_refreshes_later_all_is_well(Config) ->
    timer:sleep(2 * ?REFRESH + 500),
    ?assert(in(Config, fun kv_observer_driver:is_alive/0)).

closing_observer_leaves_nothing_in_the_c_node(Config) ->
    C = ?config(c_node, Config),
    in(Config, fun kv_observer_driver:stop/0),
    until(Config, fun() -> length(rpc:call(C, erlang, processes, [])) =:= length([net_kernel, rex, registry, caller, b1, b2]) end).

%%% Reading

contains(Text, Part) ->
    string:find(Text, Part) =/= nomatch.

texts(none) -> [];
texts({Text, Children}) -> [Text | lists:append([texts(Child) || Child <- Children])].

%% The children of the box with that text; false when there is none.
children_of(_Text, none) ->
    false;
children_of(Text, {Text, Children}) ->
    Children =/= [] andalso Children;
children_of(Text, {_, Children}) ->
    case [Found || Child <- Children, Found <- [children_of(Text, Child)], Found =/= false] of
        [Found | _] -> Found;
        [] -> false
    end.

%%% Pictures

picture(Config, Name) ->
    case os:getenv("KV_IMAGES") of
        false -> ok;
        Directory ->
            in(Config, fun() -> kv_observer_driver:resize(?WIDTH, ?HEIGHT) end),
            picture(?config(display, Config), Directory, Name)
    end.

picture(Display, Directory, Name) ->
    timer:sleep(700),
    Path = filename:join(Directory, Name ++ ".png"),
    "" = os:cmd("import -display :" ++ Display ++ " -window root -strip -colors 64 PNG8:" ++ Path),
    ct:pal("~ts", [Path]).
