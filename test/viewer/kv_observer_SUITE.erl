%% @doc The real Observer, in a VM of its own under a virtual display, looks at the BEAM node and at the C node.
%%
%% One VM and one Observer serve all cases, in order, as for a user who goes from tab to tab. The suite reads the
%% contents of the screen from the widgets, and moves the mouse where Observer has no other way. After each case,
%% Observer must be the same process, must not have complained, and must have no window left. If KV_IMAGES names a
%% directory, the suite leaves pictures of the screen there.
-module(kv_observer_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(WIDTH, 1100).
-define(HEIGHT, 620).
%% Pixels of a small screen: the names of buckets are drawn within, whatever the width of the window.
-define(USUAL_WIDTH, 1280).
%% Observer asks for the lists of the open tab every 10 s.
-define(REFRESH, 10000).
%% The machine may be busy.
-define(PATIENCE, 40000).
-define(MANY, 100000).
-define(MIB, 1048576).
%% A table of more than 64 MiB is private.
-define(OVER_THE_LIMIT, 65).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        the_tree_of_the_beam_node_has_a_box_for_each_bucket,
        the_process_window_of_a_proxy_shows_its_native_process,
        the_tools_of_supervisors_count_the_tree,
        the_nodes_menu_leads_to_the_c_node,
        system_shows_the_c_node,
        memory_allocators_shows_the_memory_of_the_c_node,
        load_charts_draws_what_the_c_node_does,
        processes_shows_each_native_process,
        a_process_window_shows_a_bucket,
        a_pid_in_a_process_window_leads_to_the_other_node_and_back,
        applications_shows_the_tree_across_nodes,
        a_box_in_applications_opens_a_window_on_either_node,
        table_viewer_shows_each_bucket,
        a_table_can_be_read_edited_and_deleted_from,
        a_suspended_bucket_refuses_edits,
        a_bucket_over_the_size_limit_is_private,
        sockets_shows_each_connection,
        ports_is_empty,
        the_log_menu_is_refused_in_words,
        tracing_traces_nothing_and_harms_nobody,
        a_bucket_killed_in_processes_is_gone_everywhere,
        a_proxy_killed_in_applications_takes_its_bucket_along,
        a_registry_killed_in_applications_starts_anew_without_buckets,
        two_refreshes_later_all_is_well,
        two_observers_look_at_one_c_node,
        a_hundred_thousand_buckets_are_shown_without_an_atom_more,
        observer_outlives_the_c_node,
        closing_observer_leaves_nothing_in_the_c_node
    ].

init_per_suite(Config) ->
    case kv_observer_stage:missing() of
        [] -> start(kv_test:start_suite(Config));
        Missing -> {skip, "not installed: " ++ lists:flatten(lists:join(", ", Missing)) ++ " (see scripts/install)"}
    end.

start(Config0) ->
    Config1 = kv_observer_stage:start_display(kv_test:start_case(Config0)),
    Vm = kv_observer_stage:start_vm(Config1),
    Program = kv_program:program(),
    C = kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{program, Program}]),
        kv_node:name(kv_node:default())
    end),
    Config = [{vm, Vm}, {c_node, C} | Config1],
    in(Config, fun fill/0),
    ct:pal("OTP ~ts, observer ~ts", [erlang:system_info(otp_release), kv_observer_stage:observer_version()]),
    [{nobody_looks, in(Config, fun() -> natives(C) end)} | Config].

%% Runs in the VM.
fill() ->
    [ok = kv_registry:create(kv_registry, Name) || Name <- names()],
    [ok = kv_bucket:put(bucket(<<"shopping">>), Key, Value) || {Key, Value} <- stock()],
    [ok = kv_bucket:put(bucket(<<"sessions">>), {session, N}, <<"token", N>>) || N <- lists:seq(1, 40)],
    [ok = kv_bucket:put(bucket(<<"settings">>), Key, Value) || {Key, Value} <- [{theme, dark}, {language, <<"en">>}]].

names() ->
    [<<"shopping">>, <<"sessions">>, <<"settings">>, <<"книги"/utf8>>].

stock() ->
    [
        {<<"eggs">>, 3},
        {<<"milk">>, 1},
        {<<"coffee">>, {250, gram}},
        {bread, #{kind => rye, slices => 12}},
        {{aisle, 7}, [1.5, "tea"]}
    ].

end_per_suite(Config) ->
    kv_test:stop_vm(?config(vm, Config)),
    kv_observer_stage:stop_display(Config),
    kv_test:end_suite(Config),
    nothing_left_running(Config).

nothing_left_running(Config) ->
    try kv_test:wait(fun() -> kv_observer_stage:left_running(Config) =:= [] end)
    catch
        error:{deadline, _} ->
            Left = kv_observer_stage:left_running(Config),
            [kv_test:signal("KILL", OsPid) || {OsPid, _} <- Left],
            error({left_running, Left})
    end.

%% If a case has lost Observer, the next cases get a new one.
init_per_testcase(_Case, Config) ->
    C = ?config(c_node, Config),
    Observer = in(Config, fun() ->
        kv_observer_driver:is_alive() orelse start_observer(C),
        kv_observer_watch:arm(),
        whereis(observer)
    end),
    [{observer, Observer} | Config].

start_observer(C) ->
    ok = kv_observer_driver:start(),
    ok = kv_observer_driver:resize(?WIDTH, ?HEIGHT),
    kv_observer_driver:select_node(C),
    _ = kv_observer_watch:complaints(),
    _ = kv_observer_watch:message_boxes(),
    ok.

end_per_testcase(closing_observer_leaves_nothing_in_the_c_node, Config) ->
    verdict([{complaints, in(Config, fun kv_observer_watch:complaints/0)}]);
end_per_testcase(_Case, Config) ->
    Observer = ?config(observer, Config),
    verdict([
        {observer_is_gone, in(Config, fun() -> [lost || whereis(observer) =/= Observer] end)},
        {complaints, in(Config, fun kv_observer_watch:complaints/0)},
        {message_boxes, in(Config, fun kv_observer_watch:message_boxes/0)},
        {left_open, in(Config, fun left_open/0)}
    ]).

%% Closes all open windows.
left_open() ->
    kv_observer_screen:happens(fun() -> other_windows() =:= [] end),
    Titles = other_windows(),
    kv_observer_driver:is_alive() andalso kv_observer_driver:close_windows(),
    kv_observer_screen:happens(fun() -> other_windows() =:= [] end),
    Titles.

other_windows() ->
    [Title || {_, Title, _} <- kv_observer_screen:windows(), string:prefix(Title, "Observer - ") =:= nomatch].

verdict(Checks) ->
    case [Check || {_, [_ | _]} = Check <- Checks] of
        [] -> ok;
        Failed -> {fail, Failed}
    end.

in(Config, Fun) ->
    kv_test:in(?config(vm, Config), Fun).

%% Waits in the VM, so that the condition need not travel.
until(Config, Fun) ->
    in(Config, fun() -> kv_test:wait(Fun, ?PATIENCE) end).

%%% The BEAM node

the_tree_of_the_beam_node_has_a_box_for_each_bucket(Config) ->
    Beam = in(Config, fun erlang:node/0),
    in(Config, fun() -> kv_observer_driver:select_node(Beam) end),
    in(Config, fun() -> kv_observer_driver:tab("Applications") end),
    until(Config, fun() -> lists:member("kv", kv_observer_driver:apps()) end),
    in(Config, fun() -> kv_observer_driver:pick_app("kv") end),
    Proxies = in(Config, fun proxies/0),
    ?assertEqual(length(names()), length(Proxies)),
    Boxes = until(Config, fun() -> children_of("kv_bucket_sup", kv_observer_driver:tree()) end),
    ?assertEqual(lists:sort(Proxies), lists:sort(lists:append([kv_observer_driver:pids(Box) || Box <- Boxes]))),
    Texts = lists:append([kv_observer_driver:texts(Box) || Box <- Boxes]),
    [?assert(has(Texts, unicode:characters_to_list(Name)), Texts) || Name <- names()],
    picture(Config, "observer-applications-beam", {?WIDTH, 420}).

the_process_window_of_a_proxy_shows_its_native_process(Config) ->
    {Native, Pages} = in(Config, fun() ->
        Proxy = proxy(<<"shopping">>),
        ok = kv_observer_driver:open_process(Proxy),
        Read = kv_observer_driver:process_pages(Proxy),
        ok = kv_observer_driver:close_processes(),
        {pid_to_list(bucket(<<"shopping">>)), Read}
    end),
    State = proplists:get_value("State", Pages),
    [shows(State, Part) || Part <- [Native, "shopping", "size", "memory"]],
    shows(proplists:get_value("Dictionary", Pages), "kv_native").

%% Observer on another OTP release, LiveDashboard and others count children so.
the_tools_of_supervisors_count_the_tree(Config) ->
    ?assertEqual(
        length(names()),
        in(Config, fun() ->
            [[_, _ | _] = supervisor:count_children(Supervisor) || Supervisor <- [kv_sup, kv_bucket_sup]],
            proplists:get_value(active, supervisor:count_children(kv_bucket_sup))
        end)
    ).

%%% The C node, tab by tab

the_nodes_menu_leads_to_the_c_node(Config) ->
    C = ?config(c_node, Config),
    ?assert(lists:member(atom_to_list(C), in(Config, fun kv_observer_driver:nodes/0))),
    in(Config, fun() -> kv_observer_driver:tab("System") end),
    in(Config, fun() -> kv_observer_driver:select_node(C) end).

system_shows_the_c_node(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("System") end),
    Labels = until(Config, fun() ->
        All = kv_observer_driver:labels(),
        has(All, "libuv") andalso All
    end),
    ct:pal("~tp", [Labels]),
    [?assert(has(Labels, Part)) || Part <- ["kv 0.", "native node", "Processes", "Up time"]].

memory_allocators_shows_the_memory_of_the_c_node(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Memory Allocators") end),
    until(Config, fun() -> lists:member("buckets", kv_observer_driver:column(1)) end),
    Rows = in(Config, fun kv_observer_driver:rows/0),
    ct:pal("~tp", [Rows]),
    %% Resident memory: a program of a few megabytes has no line of hundreds.
    [?assert(list_to_integer(Kilobytes) < 100000, Rows) || [_ | Sizes] <- Rows, Kilobytes <- Sizes, is_number_text(Kilobytes)],
    [?assert(lists:member(Name, [N || [N | _] <- Rows])) || Name <- ["heap", "buckets", "processes", "network"]],
    until(Config, fun() -> length(kv_observer_driver:samples()) >= 3 end),
    [?assertNotEqual([], Lines, Chart) || {Chart, Lines} <- in(Config, fun kv_observer_driver:graphs/0)].

is_number_text(Text) -> re:run(Text, "^[0-9]+$") =/= nomatch.

%% Work that takes processor time, memory and the network moves all three charts.
load_charts_draws_what_the_c_node_does(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Load Charts") end),
    [Before | _] = until(Config, fun() -> at_least(4, kv_observer_driver:samples()) end),
    Samples = until(Config, fun() ->
        put_megabytes(<<"sessions">>, 32),
        Samples = kv_observer_driver:samples(),
        [Last | _] = lists:reverse(Samples),
        Busy = lists:max([lists:max(tuple_to_list(Usage)) || #{runq := Usage} <- Samples]),
        Busy > 0 andalso total(Last) > total(Before) + 16 * ?MIB andalso Samples
    end),
    [
        ?assert(is_integer(Figure) andalso Figure >= 0)
     || Sample <- Samples, Figures <- maps:values(Sample), Figure <- tuple_to_list(Figures)
    ],
    ?assertEqual([io, memory, runq], lists:sort(maps:keys(Before))),
    ?assert(lists:any(fun(#{io := {In, _}}) -> In > ?MIB end, Samples)),
    ?assertMatch([_], lists:usort([tuple_size(Usage) || #{runq := Usage} <- Samples])),
    until(Config, fun() -> lists:all(fun({_, Lines}) -> Lines =/= [] end, kv_observer_driver:graphs()) end),
    ?assertEqual(3, length(in(Config, fun kv_observer_driver:graphs/0))),
    in(Config, fun() -> delete_megabytes(<<"sessions">>, 32) end).

put_megabytes(Name, Count) ->
    [ok = kv_bucket:put(bucket(Name), N, binary:copy(<<N>>, ?MIB)) || N <- lists:seq(1, Count)],
    ok.

%% A bucket returns the value that it has deleted, which must not leave the VM.
delete_megabytes(Name, Count) ->
    lists:foreach(fun(N) -> kv_bucket:delete(bucket(Name), N) end, lists:seq(1, Count)).

%% The first of the six is the total.
total(#{memory := Kinds}) ->
    element(1, Kinds).

at_least(N, List) ->
    length(List) >= N andalso List.

processes_shows_each_native_process(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Processes") end),
    in(Config, fun kv_observer_driver:sort_processes_by_pid/0),
    until(Config, fun() -> lists:member("kv_registry", kv_observer_driver:column(2)) end),
    Rows = in(Config, fun kv_observer_driver:rows/0),
    Natives = in(Config, fun() -> [pid_to_list(bucket(Name)) || Name <- names()] end),
    Buckets = [Row || [Pid | _] = Row <- Rows, lists:member(Pid, Natives)],
    ?assertEqual(length(names()), length(Buckets)),
    ?assertEqual(
        lists:sort([unicode:characters_to_list([Name, ": kv_bucket:waiting/0"]) || Name <- names()]),
        lists:sort([Function || [_, _, _, _, "0", Function] <- Buckets])
    ),
    ?assert(lists:all(fun([_, _, _, Memory | _]) -> list_to_integer(Memory) > 0 end, Buckets)),
    [?assert(lists:member(Name, [N || [_, N | _] <- Rows])) || Name <- ["rex", "net_kernel", "kv_registry"]],
    picture(Config, "observer-processes", {?WIDTH, 420}).

a_process_window_shows_a_bucket(Config) ->
    Pages = in(Config, fun() ->
        Bucket = bucket(<<"shopping">>),
        ok = kv_observer_driver:open_process(Bucket),
        Read = kv_observer_driver:process_pages(Bucket),
        ok = kv_observer_driver:refresh_process(Bucket),
        Read = kv_observer_driver:process_pages(Bucket),
        ok = kv_observer_driver:close_processes(),
        Read
    end),
    ?assertEqual(["Process Information", "Messages", "Dictionary", "Stack Trace", "State"], [Title || {Title, _} <- Pages]),
    [shows(proplists:get_value("State", Pages), Part) || Part <- ["shopping", "size => 5", "memory", "entries"]],
    %% Observer shows the beginning of a long term, and keys have no order.
    Dictionary = proplists:get_value("Dictionary", Pages),
    ?assert(lists:any(fun(Key) -> contains(Dictionary, Key) end, ["eggs", "milk", "aisle", "bread"])),
    shows(proplists:get_value("Process Information", Pages), "kv_bucket:init/1"),
    shows(proplists:get_value("Stack Trace", Pages), "kv_bucket:waiting/0").

%% By mouse, on the pids among links and monitors.
a_pid_in_a_process_window_leads_to_the_other_node_and_back(Config) ->
    in(Config, fun() ->
        {Bucket, Proxy} = {bucket(<<"shopping">>), proxy(<<"shopping">>)},
        ok = kv_observer_driver:open_process(Bucket),
        ok = kv_observer_driver:click_pid(Bucket, Proxy),
        ok = kv_test:wait(fun() -> kv_observer_driver:is_open(Proxy) end),
        ok = kv_observer_driver:close_processes(),
        ok = kv_observer_driver:open_process(Proxy),
        ok = kv_observer_driver:click_pid(Proxy, Bucket),
        ok = kv_test:wait(fun() -> kv_observer_driver:is_open(Bucket) end),
        ok = kv_observer_driver:close_processes()
    end).

applications_shows_the_tree_across_nodes(Config) ->
    show_tree_of_c(Config),
    Tree = in(Config, fun kv_observer_driver:tree/0),
    Texts = kv_observer_driver:texts(Tree),
    [?assert(has(Texts, Part)) || Part <- ["sessions", "settings", "книги", "kv_registry", "rex", "net_kernel"]],
    Shown = kv_observer_driver:pids(Tree),
    Both = in(Config, fun() -> [bucket(Name) || Name <- names()] ++ [proxy(Name) || Name <- names()] end),
    [?assert(lists:member(Pid, Shown)) || Pid <- Both],
    Names = [Box || {Text, _, _} = Box <- kv_observer_driver:boxes(Tree), has([Text], "sessions") orelse has([Text], "settings")],
    [?assert(X + Width < ?USUAL_WIDTH, Text) || {Text, _, {X, _, Width, _}} <- Names],
    picture(Config, "observer-applications-c", {?WIDTH, 420}).

show_tree_of_c(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Applications") end),
    until(Config, fun() -> kv_observer_driver:apps() =:= ["kv"] end),
    in(Config, fun() -> kv_observer_driver:pick_app("kv") end),
    until(Config, fun() -> lists:member(bucket(<<"shopping">>), kv_observer_driver:pids(kv_observer_driver:tree())) end).

a_box_in_applications_opens_a_window_on_either_node(Config) ->
    show_tree_of_c(Config),
    in(Config, fun() ->
        [
            begin
                ok = kv_observer_driver:open_from_applications(Pid),
                ok = kv_observer_driver:close_processes()
            end
         || Pid <- [bucket(<<"shopping">>), proxy(<<"shopping">>)]
        ]
    end).

%%% Tables

table_viewer_shows_each_bucket(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Table Viewer") end),
    until(Config, fun() -> kv_observer_driver:row_count() =:= length(names()) end),
    Rows = in(Config, fun kv_observer_driver:rows/0),
    ?assertEqual(["kv_bucket"], lists:usort([Name || [Name | _] <- Rows])),
    Owners = in(Config, fun() -> [pid_to_list(bucket(Name)) || Name <- names()] end),
    ?assertEqual(lists:sort(Owners), lists:sort([Owner || [_, _, _, Owner | _] <- Rows])),
    Ids = in(Config, fun() -> [unicode:characters_to_list(Name) ++ " " ++ pid_to_list(bucket(Name)) || Name <- names()] end),
    ?assertEqual(lists:sort(Ids), lists:sort([string:trim(Id) || [_, _, _, _, _, Id] <- Rows])),
    ?assertEqual(["0", "2", "40", "5"], lists:sort([Size || [_, Size | _] <- Rows])),
    picture(Config, "observer-tables", {?WIDTH, 340}).

a_table_can_be_read_edited_and_deleted_from(Config) ->
    open_table(Config, <<"shopping">>),
    until(Config, fun() -> length(kv_observer_driver:table_rows()) =:= length(stock()) end),
    picture_of_table(Config, "observer-table", {?WIDTH, 340}),
    in(Config, fun() -> kv_observer_driver:edit_row(key_row("eggs"), "{<<\"eggs\">>, [twelve, 12]}.") end),
    until(Config, fun() -> kv_bucket:get(bucket(<<"shopping">>), <<"eggs">>) =:= [twelve, 12] end),
    until(Config, fun() -> has(lists:append(kv_observer_driver:table_rows()), "twelve") end),
    in(Config, fun() -> kv_observer_driver:delete_row(key_row("milk")) end),
    until(Config, fun() -> kv_bucket:has_key(bucket(<<"shopping">>), <<"milk">>) =:= false end),
    %% A row that is gone stays for one more refresh, in another colour.
    in(Config, fun kv_observer_driver:refresh_table/0),
    until(Config, fun() -> length(kv_observer_driver:table_rows()) =:= length(stock()) - 1 end),
    ?assertEqual(length(stock()) - 1, in(Config, fun() -> kv_bucket:size(bucket(<<"shopping">>)) end)),
    in(Config, fun kv_observer_driver:close_table/0).

a_suspended_bucket_refuses_edits(Config) ->
    open_table(Config, <<"settings">>),
    until(Config, fun() -> length(kv_observer_driver:table_rows()) =:= 2 end),
    in(Config, fun() -> sys:suspend(bucket(<<"settings">>)) end),
    in(Config, fun() -> kv_observer_driver:edit_row(key_row("theme"), "{theme, light}.") end),
    ?assert(contains(in(Config, fun kv_observer_screen:close_message_box/0), "Could not edit object")),
    in(Config, fun() -> kv_observer_driver:delete_row(key_row("theme")) end),
    ?assert(contains(in(Config, fun kv_observer_screen:close_message_box/0), "Could not delete object")),
    in(Config, fun() -> sys:resume(bucket(<<"settings">>)) end),
    ?assertEqual(dark, in(Config, fun() -> kv_bucket:get(bucket(<<"settings">>), theme) end)),
    in(Config, fun kv_observer_driver:close_table/0).

a_bucket_over_the_size_limit_is_private(Config) ->
    in(Config, fun() -> put_megabytes(<<"sessions">>, ?OVER_THE_LIMIT) end),
    in(Config, fun() -> kv_observer_driver:tab("Table Viewer") end),
    in(Config, fun kv_observer_driver:refresh_tables/0),
    until(Config, fun() -> lists:member("105", [Size || [_, Size | _] <- kv_observer_driver:rows()]) end),
    in(Config, fun() -> kv_observer_driver:open_table(row_of(<<"sessions">>)) end),
    ?assert(contains(in(Config, fun kv_observer_screen:close_message_box/0), "private")),
    in(Config, fun() -> delete_megabytes(<<"sessions">>, ?OVER_THE_LIMIT) end).

open_table(Config, Name) ->
    in(Config, fun() -> kv_observer_driver:tab("Table Viewer") end),
    in(Config, fun kv_observer_driver:refresh_tables/0),
    until(Config, fun() -> row_of(Name) =/= none end),
    in(Config, fun() -> kv_observer_driver:open_table(row_of(Name)) end).

%% Returns the row of the table of a bucket: the owner is in it.
row_of(Name) ->
    Owner = pid_to_list(bucket(Name)),
    index_of(fun(Row) -> has(Row, Owner) end, kv_observer_driver:rows()).

key_row(Key) ->
    index_of(fun(Row) -> has(Row, Key) end, kv_observer_driver:table_rows()).

index_of(Predicate, Rows) ->
    case [I || {I, Row} <- lists:zip(lists:seq(1, length(Rows)), Rows), Predicate(Row)] of
        [Index | _] -> Index - 1;
        [] -> none
    end.

%%% Sockets, Ports, Log, Trace

sockets_shows_each_connection(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Sockets") end),
    until(Config, fun() -> kv_observer_driver:row_count() =:= 1 end),
    [Row] = in(Config, fun kv_observer_driver:rows/0),
    ct:pal("~tp", [Row]),
    ?assert(has(Row, "tcp")),
    ?assert(has(Row, "127.0.0.1:")),
    ?assert(has(Row, in(Config, fun() -> atom_to_list(node()) end))).

ports_is_empty(Config) ->
    in(Config, fun() -> kv_observer_driver:tab("Ports") end),
    until(Config, fun() -> kv_observer_driver:rows() =:= [] end).

the_log_menu_is_refused_in_words(Config) ->
    in(Config, fun kv_observer_driver:toggle_log/0),
    ?assert(contains(in(Config, fun kv_observer_screen:close_message_box/0), "sasl")).

%% The whole way: mark a bucket, Trace processes, OK, Start Trace. ttb warns that the node cannot be traced.
tracing_traces_nothing_and_harms_nobody(Config) ->
    C = ?config(c_node, Config),
    in(Config, fun() -> kv_observer_driver:tab("Processes") end),
    in(Config, fun() -> kv_observer_driver:trace_in_processes(bucket(<<"shopping">>)) end),
    in(Config, fun() -> kv_observer_driver:tab("Trace Overview") end),
    until(Config, fun() -> has(lists:append(kv_observer_driver:rows()), pid_to_list(bucket(<<"shopping">>))) end),
    ?assertEqual("Stop Trace", in(Config, fun kv_observer_driver:toggle_trace/0)),
    Traced = in(Config, fun() -> rpc:call(C, erlang, process_info, [bucket(<<"shopping">>), trace]) end),
    ?assertEqual({trace, 0}, Traced),
    Said = [Text || {written, Text} <- in(Config, fun kv_observer_watch:complaints/0)],
    ?assert(has(Said, "faulty_vsn_of_runtime_tools")),
    ?assertEqual("Start Trace", in(Config, fun kv_observer_driver:toggle_trace/0)),
    in(Config, fun kv_observer_driver:close_trace_window/0).

%%% Killing: rows of docs/failures.md

a_bucket_killed_in_processes_is_gone_everywhere(Config) ->
    Others = others(Config, <<"книги"/utf8>>),
    in(Config, fun() -> kv_observer_driver:tab("Processes") end),
    in(Config, fun kv_observer_driver:refresh_processes/0),
    in(Config, fun() ->
        {Bucket, Proxy} = {bucket(<<"книги"/utf8>>), proxy(<<"книги"/utf8>>)},
        [OfBucket, OfProxy] = [monitor(process, Pid) || Pid <- [Bucket, Proxy]],
        ok = kv_observer_driver:kill_in_processes(Bucket),
        killed = kv_test:down(OfBucket),
        killed = kv_test:down(OfProxy),
        error = kv_registry:lookup(kv_registry, <<"книги"/utf8>>)
    end),
    ?assertEqual(Others, others(Config, <<"книги"/utf8>>)).

a_proxy_killed_in_applications_takes_its_bucket_along(Config) ->
    Others = others(Config, <<"settings">>),
    Beam = in(Config, fun erlang:node/0),
    C = ?config(c_node, Config),
    in(Config, fun() -> kv_observer_driver:tab("Applications") end),
    in(Config, fun() -> kv_observer_driver:select_node(Beam) end),
    until(Config, fun() -> lists:member("kernel", kv_observer_driver:apps()) end),
    in(Config, fun() -> kv_observer_driver:pick_app("kv") end),
    %% Until the tree of this node has come, Observer draws the tree of the C node, which has proxies, too.
    until(Config, fun() ->
        Drawn = kv_observer_driver:pids(kv_observer_driver:tree()),
        lists:member(proxy(<<"settings">>), Drawn) andalso not lists:member(bucket(<<"settings">>), Drawn)
    end),
    in(Config, fun() ->
        {Bucket, Proxy} = {bucket(<<"settings">>), proxy(<<"settings">>)},
        [OfBucket, OfProxy] = [monitor(process, Pid) || Pid <- [Bucket, Proxy]],
        ok = kv_observer_driver:kill_in_applications(Proxy),
        killed = kv_test:down(OfProxy),
        killed = kv_test:down(OfBucket),
        error = kv_registry:lookup(kv_registry, <<"settings">>)
    end),
    in(Config, fun() -> kv_observer_driver:select_node(C) end),
    ?assertEqual(Others, others(Config, <<"settings">>)).

a_registry_killed_in_applications_starts_anew_without_buckets(Config) ->
    show_tree_of_c(Config),
    C = ?config(c_node, Config),
    in(Config, fun() ->
        Old = rpc:call(C, erlang, whereis, [kv_registry]),
        [OfRegistry, OfBucket] = [monitor(process, Pid) || Pid <- [Old, bucket(<<"shopping">>)]],
        ok = kv_observer_driver:kill_in_applications(Old),
        killed = kv_test:down(OfRegistry),
        _ = kv_test:down(OfBucket),
        New = kv_test:wait(fun() -> other_than([Old, undefined], rpc:call(C, erlang, whereis, [kv_registry])) end),
        ok = kv_test:wait(fun() -> is_pid(whereis(kv_registry)) end),
        ok = kv_test:wait(fun() -> lists:member(New, kv_observer_driver:pids(kv_observer_driver:tree())) end)
    end),
    ?assertEqual([], in(Config, fun() -> kv_registry:names(kv_registry) end)),
    in(Config, fun fill/0).

other_than(Known, Value) ->
    not lists:member(Value, Known) andalso Value.

%% The other buckets, by name, and the number of their proxies.
others(Config, Name) ->
    in(Config, fun() ->
        Others = lists:delete(Name, kv_registry:names(kv_registry)),
        There = length([Name || {ok, _} <- [kv_registry:lookup(kv_registry, Name)]]),
        kv_test:wait(fun() -> length(proxies()) =:= length(Others) + There end),
        [{Other, bucket(Other)} || Other <- lists:sort(Others)]
    end).

%%% Time, and many

two_refreshes_later_all_is_well(Config) ->
    timer:sleep(2 * ?REFRESH + 500),
    ?assert(in(Config, fun kv_observer_driver:is_alive/0)).

%% One Observer is closed, and the VM of another one is killed.
two_observers_look_at_one_c_node(Config) ->
    C = ?config(c_node, Config),
    in(Config, fun() -> kv_observer_driver:tab("Load Charts") end),
    Alone = until(Config, fun() -> alone(C) end),
    [look_from_a_second_vm(Config, Leave) || Leave <- [close, kill]],
    until(Config, fun() -> natives(C) =:= Alone end),
    ?assertMatch([_ | _], in(Config, fun kv_observer_driver:samples/0)).

alone(C) ->
    Natives = natives(C),
    lists:member({observer_backend, fetch_stats, 2}, Natives) andalso Natives.

look_from_a_second_vm(Config, Leave) ->
    C = ?config(c_node, Config),
    Second = kv_observer_stage:start_vm(Config),
    try
        [
            kv_test:in(Second, Step)
         || Step <- [
                fun() -> pong = net_adm:ping(C) end,
                fun() -> kv_observer_driver:start() end,
                fun() -> kv_observer_driver:tab("Applications") end,
                fun() -> kv_observer_driver:select_node(C) end,
                fun() -> kv_test:wait(fun() -> kv_observer_driver:apps() =:= ["kv"] end, ?PATIENCE) end,
                fun() -> kv_observer_driver:tab("Load Charts") end,
                fun() -> kv_test:wait(fun() -> length(kv_observer_driver:samples()) > 1 end, ?PATIENCE) end,
                fun() -> kv_observer_driver:tab("Processes") end,
                fun() -> kv_test:wait(fun() -> kv_observer_driver:row_count() > length(names()) end, ?PATIENCE) end,
                fun() -> [] = kv_observer_watch:complaints() end
            ]
        ],
        %% Both are served at the same time.
        ?assertEqual(2, length([F || {observer_backend, fetch_stats, 2} = F <- in(Config, fun() -> natives(C) end)])),
        leave(Leave, Second)
    after
        is_process_alive(Second) andalso kv_test:stop_vm(Second)
    end.

leave(close, Vm) ->
    kv_test:in(Vm, fun kv_observer_driver:stop/0);
leave(kill, Vm) ->
    OsPid = kv_test:vm_os_pid(Vm),
    kv_test:signal("KILL", OsPid),
    kv_test:gone(OsPid),
    kv_test:wait(fun() -> not is_process_alive(Vm) end).

%% Buckets with labels and without proxies, created by this VM itself: only what Observer adds counts.
a_hundred_thousand_buckets_are_shown_without_an_atom_more(Config) ->
    C = ?config(c_node, Config),
    in(Config, fun() -> kv_observer_driver:tab("Processes") end),
    Few = until(Config, fun() -> at_least_rows(length(names())) end),
    Buckets = in(Config, fun() -> make_buckets(C, ?MANY) end),
    Atoms = in(Config, fun() -> erlang:system_info(atom_count) end),
    in(Config, fun kv_observer_driver:refresh_processes/0),
    until(Config, fun() -> at_least_rows(?MANY + length(names())) end),
    in(Config, fun() -> kv_observer_driver:tab("Table Viewer") end),
    until(Config, fun() -> at_least_rows(1000) end),
    in(Config, fun() -> kv_observer_driver:tab("Applications") end),
    until(Config, fun() -> kv_observer_driver:apps() =:= ["kv"] end),
    in(Config, fun() -> kv_observer_driver:pick_app("kv") end),
    until(Config, fun() -> length(kv_observer_driver:pids(kv_observer_driver:tree())) > 100 end),
    ?assert(in(Config, fun() -> erlang:system_info(atom_count) end) - Atoms < 100),
    in(Config, fun() -> [exit(Bucket, kill) || Bucket <- Buckets] end),
    in(Config, fun() -> kv_observer_driver:tab("Processes") end),
    in(Config, fun kv_observer_driver:refresh_processes/0),
    until(Config, fun() -> kv_observer_driver:row_count() =< Few + 2 end).

at_least_rows(N) ->
    Count = kv_observer_driver:row_count(),
    Count >= N andalso Count.

make_buckets(C, Count) ->
    Requests = [
        erlang:spawn_request(C, kv_bucket, init, [[{label, <<"bucket ", (integer_to_binary(N))/binary>>}]], [])
     || N <- lists:seq(1, Count)
    ],
    [
        receive
            {spawn_reply, Request, ok, Pid} -> Pid
        end
     || Request <- Requests
    ].

%%% The C node's end, and Observer's

%% In each tab, Observer stays, and once the tab is entered again it shows the node that has been started again.
observer_outlives_the_c_node(Config) ->
    [
        begin
            in(Config, fun() -> kv_observer_driver:tab(Tab) end),
            until(Config, fun() -> shows_the_node(Tab) end),
            kill_the_program(Config),
            in(Config, fun() -> kv_observer_driver:tab("Ports") end),
            in(Config, fun() -> kv_observer_driver:tab(Tab) end),
            until(Config, fun() -> shows_the_node(Tab) end)
        end
     || Tab <- ["System", "Load Charts", "Memory Allocators", "Applications", "Processes", "Table Viewer", "Sockets"]
    ].

shows_the_node("System") -> has(kv_observer_driver:labels(), "libuv");
shows_the_node("Applications") -> kv_observer_driver:apps() =:= ["kv"];
shows_the_node("Load Charts") -> length(kv_observer_driver:samples()) >= 2;
shows_the_node("Memory Allocators") -> length(kv_observer_driver:samples()) >= 2;
shows_the_node(_) -> kv_observer_driver:row_count() > 0.

kill_the_program(Config) ->
    in(Config, fun() ->
        Old = kv_node:os_pid(kv_node:default()),
        ok = kv_test:signal("KILL", Old),
        ok = kv_test:wait(fun() -> is_restarted(Old) end, ?PATIENCE),
        fill()
    end).

is_restarted(Old) ->
    try
        kv_node:os_pid(kv_node:default()) =/= Old andalso is_list(kv_registry:names(kv_registry))
    catch
        exit:_ -> false
    end.

closing_observer_leaves_nothing_in_the_c_node(Config) ->
    C = ?config(c_node, Config),
    in(Config, fun kv_observer_driver:stop/0),
    NobodyLooks = ?config(nobody_looks, Config),
    until(Config, fun() -> natives(C) =:= NobodyLooks end).

%%% Reading

%% Inside the VM.
bucket(Name) ->
    {ok, Bucket} = kv_registry:lookup(kv_registry, Name),
    Bucket.

proxy(Name) ->
    Bucket = bucket(Name),
    [Proxy] = [P || P <- proxies(), kv_proxy:native(P) =:= Bucket],
    Proxy.

proxies() ->
    [Proxy || {_, Proxy, _, _} <- supervisor:which_children(kv_bucket_sup)].

%% The initial calls of all processes of the C node but those that answer this question.
natives(C) ->
    lists:sort([
        Call
     || Pid <- rpc:call(C, erlang, processes, []),
        {initial_call, Call} <- [rpc:call(C, erlang, process_info, [Pid, initial_call])]
    ]).

contains(Text, Part) ->
    string:find(Text, Part) =/= nomatch.

shows(Text, Part) ->
    contains(Text, Part) orelse error({not_shown, Part, Text}).

has(Texts, Part) ->
    lists:any(fun(Text) -> contains(Text, Part) end, Texts).

%% Returns the children of the box with that text, or false if there are none.
children_of(_Text, none) ->
    false;
children_of(Text, {{Text, _, _}, Children}) ->
    Children =/= [] andalso Children;
children_of(Text, {_, Children}) ->
    case [Found || Child <- Children, Found <- [children_of(Text, Child)], Found =/= false] of
        [Found | _] -> Found;
        [] -> false
    end.

%%% Pictures

picture(Config, Name, {Width, Height}) ->
    take_picture(Config, Name, {Width, Height}, fun() -> kv_observer_driver:resize(Width, Height) end).

picture_of_table(Config, Name, {Width, Height}) ->
    take_picture(Config, Name, {Width, Height}, fun() -> kv_observer_driver:resize_table(Width, Height) end).

take_picture(Config, Name, Size, Resize) ->
    case os:getenv("KV_IMAGES") of
        false ->
            ok;
        Directory ->
            Path = filename:join(filename:absname(Directory), Name ++ ".png"),
            in(Config, Resize),
            in(Config, fun() -> kv_observer_screen:picture(Path, Size) end),
            in(Config, fun() -> kv_observer_driver:resize(?WIDTH, ?HEIGHT) end),
            ct:pal("~ts", [Path])
    end.
