%% @doc Drives the Observer of this VM as its user would, and reads its contents from the widgets.
%%
%% Observer answers {get_debug_info, From} with its notebook and the process of the open tab; its own tests use that.
%% Widgets are read *in the process that owns them*, the only one that changes them, so that a list cannot become
%% shorter while it is read. Windows are found through the states of their processes.
-module(kv_observer_driver).

-compile({no_auto_import, [is_alive/0, nodes/0]}).

-export([start/0, stop/0, is_alive/0, resize/2]).
-export([tab/1, nodes/0, select_node/1, toggle_log/0, status/0]).
-export([labels/0, rows/0, row_count/0, column/1, samples/0, graphs/0]).
-export([refresh_processes/0, sort_processes_by_pid/0, kill_in_processes/1, trace_in_processes/1]).
-export([toggle_trace/0, close_trace_window/0]).
-export([apps/0, pick_app/1, tree/0, texts/1, boxes/1, pids/1, kill_in_applications/1, open_from_applications/1]).
-export([open_process/1, is_open/1, process_pages/1, refresh_process/1, click_pid/2, close_processes/0]).
-export([refresh_tables/0, open_table/1, table_rows/0, edit_row/2, delete_row/1, refresh_table/0, resize_table/2]).
-export([close_table/0, close_windows/0]).

-include_lib("wx/include/wx.hrl").

-define(DEADLINE, 40000).
-define(SETTLED, 300).

%% The ids in Observer's menus: observer_wx.erl, observer_pro_wx.erl, observer_procinfo.erl, observer_tv_wx.erl,
%% observer_tv_table.erl.
-define(LOG_TOGGLE, 5).
-define(PROCESSES_REFRESH, 203).
-define(PROCESSES_TRACE, 206).
-define(PROCESS_REFRESH, 601).
-define(TABLES_REFRESH, 401).
-define(TABLE_REFRESH, 401).
-define(TABLE_DELETE, 404).

%% The number of entries of the popup menus. Kill is the last entry of both.
-define(PROCESSES_POPUP, 5).
-define(APPLICATIONS_POPUP, 7).

-define(PID_COLUMN, 0).

%%% Observer

%% Starts Observer under kv_observer_watch.
start() ->
    Keeper =
        case whereis(kv_observer_watch) of
            undefined -> kv_observer_watch:start();
            Pid -> Pid
        end,
    Own = group_leader(),
    true = group_leader(Keeper, self()),
    _ = observer:start(),
    true = group_leader(Own, self()),
    wait(fun() -> is_alive() andalso is_list(title()) end).

%% By now the panels have ended. The panel of Observer itself is left to wx, because wx:destroy/0 sometimes does not
%% return (seen on OTP 25 and 27).
stop() ->
    _ = spawn(fun observer:stop/0),
    wait(fun() -> panels() =:= [] end).

panels() ->
    [Module || Pid <- processes(), {Module, init, 1} <- [proc_lib:translate_initial_call(Pid)], is_panel(atom_to_list(Module))].

is_panel("observer_wx") -> false;
is_panel(Module) -> lists:prefix("observer_", Module).

is_alive() ->
    is_pid(whereis(observer)).

info() ->
    observer ! {get_debug_info, self()},
    receive
        {observer_debug, Env, Notebook, Active} ->
            wx:set_env(Env),
            {Notebook, Active}
    after ?DEADLINE -> error(observer_does_not_answer)
    end.

panel() ->
    {_, Panel} = info(),
    Panel.

frame() ->
    {Notebook, _} = info(),
    wx:typeCast(wxWindow:getParent(wxWindow:getParent(Notebook)), wxFrame).

title() ->
    wxTopLevelWindow:getTitle(frame()).

%% Moves the window to the corner of the screen.
resize(Width, Height) ->
    resize(frame(), Width, Height).

%% Repeats until the screen shows it: a size that is set while the window opens is lost, and a box outside of the
%% window cannot be clicked. Setting the size that wx already has would change nothing.
resize(Frame, Width, Height) ->
    wait(fun() ->
        ok = wxWindow:setSize(Frame, 0, 0, Width, Height - 1),
        ok = wxWindow:setSize(Frame, 0, 0, Width, Height),
        kv_observer_screen:happens(fun() -> kv_observer_screen:has_window({0, 0, Width, Height}) end)
    end).

%% Evaluates a fun in a process of Observer, between two of its messages.
within(Process, Fun) ->
    Tag = make_ref(),
    Caller = self(),
    _ = sys:replace_state(
        Process,
        fun(State) ->
            Caller ! {Tag, evaluate(Fun)},
            State
        end,
        ?DEADLINE
    ),
    receive
        {Tag, {ok, Value}} -> Value;
        {Tag, Failed} -> error({in_observer, Failed})
    after 0 -> error(not_evaluated)
    end.

evaluate(Fun) ->
    try
        {ok, Fun()}
    catch
        Class:Reason:Stacktrace -> {Class, Reason, Stacktrace}
    end.

%% Returns the record that is the state of a process of Observer.
state(Process) ->
    [State] = [S || S <- lists:flatten([sys:get_state(Process, ?DEADLINE)]), is_tuple(S), element(1, S) =:= state],
    State.

%% Returns the widget of a class in a state; the first if there are several.
widget(Class, State) ->
    [Widget | _] = [W || {wx_ref, _, Type, _} = W <- tuple_to_list(State), Type =:= Class],
    Widget.

menu(Process, Id) ->
    Process ! #wx{id = Id, event = #wxCommand{type = command_menu_selected}},
    ok.

%%% Tabs and nodes

tab(Name) ->
    {Notebook, _} = info(),
    Indexes = lists:seq(0, wxNotebook:getPageCount(Notebook) - 1),
    [Index] = [I || I <- Indexes, wxNotebook:getPageText(Notebook, I) =:= Name],
    wxNotebook:getSelection(Notebook) =:= Index orelse change_tab(Notebook, Index).

%% wx tells Observer, and Observer tells the panel. Once the panel returns its state, it has asked the node.
change_tab(Notebook, Index) ->
    Previous = panel(),
    _ = wxNotebook:setSelection(Notebook, Index),
    wait(fun() -> panel() =/= Previous end),
    _ = sys:get_state(panel(), ?DEADLINE),
    ok.

node_menu() ->
    Bar = wxFrame:getMenuBar(frame()),
    Menu = wxMenuBar:getMenu(Bar, wxMenuBar:findMenu(Bar, "Nodes")),
    [{wxMenuItem:getItemLabelText(Item), wxMenuItem:getId(Item)} || Item <- wxMenu:getMenuItems(Menu)].

%% Returns the entries of the menu Nodes.
nodes() ->
    [Label || {Label, _} <- node_menu()].

select_node(Node) ->
    {_, Id} = lists:keyfind(atom_to_list(Node), 1, node_menu()),
    ok = menu(observer, Id),
    wait(fun() -> string:find(title(), atom_to_list(Node)) =/= nomatch end).

%% The only entry of the menu Log.
toggle_log() ->
    menu(observer, ?LOG_TOGGLE).

%% Returns the text of the line at the foot of the window.
status() ->
    wxStatusBar:getStatusText(wxFrame:getStatusBar(frame())).

%%% The contents of a tab

page() ->
    {Notebook, _} = info(),
    wxNotebook:getPage(Notebook, wxNotebook:getSelection(Notebook)).

windows(Window) ->
    [Window | lists:append([windows(Child) || Child <- wxWindow:getChildren(Window)])].

of_type(Type, Window) ->
    [W || W <- windows(Window), string:lowercase(wxWindow:getName(W)) =:= Type].

in_page(Read) ->
    Page = page(),
    within(panel(), fun() -> Read(Page) end).

labels() ->
    in_page(fun labels/1).

labels(Window) ->
    [wxStaticText:getLabel(wx:typeCast(W, wxStaticText)) || W <- of_type("statictext", Window)].

rows() ->
    in_page(fun rows/1).

rows(Window) ->
    lists:append([list_rows(List) || List <- lists(Window)]).

lists(Window) ->
    [wx:typeCast(W, wxListCtrl) || W <- of_type("listctrl", Window)].

list_rows(List) ->
    Columns = lists:seq(0, wxListCtrl:getColumnCount(List) - 1),
    [
        [wxListCtrl:getItemText(List, Row, [{col, Column}]) || Column <- Columns]
     || Row <- lists:seq(0, wxListCtrl:getItemCount(List) - 1)
    ].

column(N) ->
    [lists:nth(N, Row) || Row <- rows()].

row_count() ->
    in_page(fun(Page) -> lists:sum([wxListCtrl:getItemCount(List) || List <- lists(Page)]) end).

%% Returns the values in Load Charts and Memory Allocators, oldest first: #{Chart => {Value, ...}}.
samples() ->
    [{_, Queue}] = [S || {N, {_, _}} = S <- tuple_to_list(state(panel())), is_integer(N)],
    queue:to_list(Queue).

%% {Chart, its lines on the screen}: #win{name, ..., graphs} in observer_defs.hrl.
graphs() ->
    Fields = lists:append([Field || Field <- tuple_to_list(state(panel())), is_list(Field)]),
    [{element(2, Chart), element(6, Chart)} || Chart <- Fields, is_tuple(Chart), element(1, Chart) =:= win].

%%% Processes

%% Picks Refresh in the menu of the tab.
refresh_processes() ->
    menu(panel(), ?PROCESSES_REFRESH).

%% Clicks twice on the head of the column Pid: the lowest pid is first. Rows then keep their places.
sort_processes_by_pid() ->
    Click = #wx{event = #wxList{type = command_list_col_click, col = ?PID_COLUMN}},
    [panel() ! Click || _ <- [descending, ascending]],
    ok.

%% Right-clicks on the row of a process, and picks the last entry of the popup menu.
kill_in_processes(Pid) ->
    kv_observer_screen:pick_from_popup(fun() -> click_row(Pid, 3) end, ?PROCESSES_POPUP).

%% Marks the row and picks Trace processes from the menu; answers OK to the flags.
trace_in_processes(Pid) ->
    ok = click_row(Pid, 1),
    wait(fun() -> is_marked(Pid) end),
    ok = menu(panel(), ?PROCESSES_TRACE),
    ok = confirm(wait(fun() -> dialog() end)).

is_marked(Pid) ->
    lists:any(fun(Field) -> Field =:= {[row_of(Pid)], [Pid]} end, tuple_to_list(state(panel()))).

click_row(Pid, Button) ->
    {List, {X, Y, _, H}} = wait(fun() -> place_of(Pid) end),
    kv_observer_screen:click(List, {X + 20, Y + H div 2}, Button).

place_of(Pid) ->
    case row_of(Pid) of
        none ->
            false;
        Row ->
            in_page(fun(Page) ->
                [List] = lists(Page),
                _ = wxListCtrl:ensureVisible(List, Row),
                {true, Rectangle} = wxListCtrl:getItemRect(List, Row),
                {List, Rectangle}
            end)
    end.

row_of(Pid) ->
    index_of(pid_to_list(Pid), column(?PID_COLUMN + 1), 0).

index_of(Text, [Text | _], Index) -> Index;
index_of(Text, [_ | Texts], Index) -> index_of(Text, Texts, Index + 1);
index_of(_Text, [], _Index) -> none.

%%% Trace

%% The button of the tab Trace Overview, pressed or released.
toggle_trace() ->
    Button = widget(wxToggleButton, state(panel())),
    Pressed = not wxToggleButton:getValue(Button),
    ok = wxToggleButton:setValue(Button, Pressed),
    Event = #wxCommand{type = command_togglebutton_clicked, commandInt = maps:get(Pressed, #{true => 1, false => 0})},
    panel() ! #wx{id = wxWindow:getId(Button), obj = Button, event = Event},
    _ = state(panel()),
    wxToggleButton:getLabel(Button).

%% The window that would show the trace.
close_trace_window() ->
    Frames = [wx:typeCast(W, wxFrame) || W <- of_type("frame", frame())],
    _ = [wxFrame:close(F) || F <- Frames, string:find(wxTopLevelWindow:getTitle(F), "Trace Log") =/= nomatch],
    ok.

%%% Applications

apps() ->
    in_page(fun(Page) ->
        [
            wxControlWithItems:getString(List, I)
         || W <- of_type("listbox", Page),
            List <- [wx:typeCast(W, wxListBox)],
            I <- lists:seq(0, wxControlWithItems:getCount(List) - 1)
        ]
    end).

pick_app(App) ->
    panel() ! #wx{event = #wxCommand{type = command_listbox_selected, cmdString = App}},
    ok.

%% Returns the drawing: {{Text, Pid, {X, Y, Width, Height}}, [Child]}; none if there is nothing. #app{}, #box{} and
%% #str{} of observer_app_wx.erl.
tree() ->
    case lists:keyfind(app, 1, [Field || Field <- tuple_to_list(state(panel())), is_tuple(Field)]) of
        false -> none;
        App -> tree(element(2, App))
    end.

tree({{box, X, Y, W, H, {str, _, _, Text, Pid}}, Children}) ->
    {{lists:flatten(Text), Pid, {X, Y, W, H}}, [tree(Child) || Child <- Children]}.

texts(Tree) ->
    [Text || {Text, _, _} <- boxes(Tree)].

pids(Tree) ->
    [Pid || {_, Pid, _} <- boxes(Tree)].

boxes(none) -> [];
boxes({Box, Children}) -> [Box | lists:append([boxes(Child) || Child <- Children])].

%% Right-clicks on a box, picks the last entry of the popup menu, and answers OK to the reason.
kill_in_applications(Pid) ->
    RightClick = fun() -> at_box(Pid, fun(Area, Place) -> kv_observer_screen:click(Area, Place, 3) end) end,
    ok = kv_observer_screen:pick_from_popup(RightClick, ?APPLICATIONS_POPUP),
    confirm(wait(fun() -> dialog() end)).

%% Double-clicks on a box until it works.
open_from_applications(Pid) ->
    wait(fun() ->
        ok = at_box(Pid, fun kv_observer_screen:double_click/2),
        kv_observer_screen:happens(fun() -> is_open(Pid) end)
    end).

at_box(Pid, Do) ->
    {Area, Place} = wait(fun() -> settled_place_of_box(Pid) end),
    Do(Area, Place).

%% Observer may draw a new tree again at once, at another place.
settled_place_of_box(Pid) ->
    case place_of_box(Pid) of
        false ->
            false;
        Place ->
            timer:sleep(?SETTLED),
            Place =:= place_of_box(Pid) andalso Place
    end.

place_of_box(Pid) ->
    Area = widget(wxScrolledWindow, state(panel())),
    case [Rectangle || {_, P, Rectangle} <- boxes(tree()), P =:= Pid] of
        [{X, Y, W, H} | _] ->
            Place = {round(X + W / 2), round(Y + H / 2)},
            {Area, wxScrolledWindow:calcScrolledPosition(Area, Place)};
        [] ->
            false
    end.

%%% Windows of processes

%% The message that a double click sends.
open_process(Pid) ->
    observer ! {open_link, Pid},
    wait(fun() -> is_open(Pid) end).

is_open(Pid) ->
    process_window(Pid) =/= none.

%% Returns {Process, State} of the window of a process once the window is complete.
process_window(Pid) ->
    Windows = [{Window, State} || Window <- processes_of(observer_procinfo), State <- complete(Window)],
    case [Found || {_, State} = Found <- Windows, lists:member(Pid, tuple_to_list(State))] of
        [Found | _] -> Found;
        [] -> none
    end.

%% A window that opens or closes at this moment has no state.
complete(Window) ->
    try
        [state(Window)]
    catch
        exit:_ -> []
    end.

%% Returns the processes of the windows of a kind.
processes_of(Module) ->
    [Pid || Pid <- processes(), proc_lib:translate_initial_call(Pid) =:= {Module, init, 1}].

%% Returns {Title of the page, its text}.
process_pages(Pid) ->
    {Window, State} = process_window(Pid),
    Notebook = widget(wxNotebook, State),
    within(Window, fun() ->
        [
            {wxNotebook:getPageText(Notebook, I), page_text(wxNotebook:getPage(Notebook, I))}
         || I <- lists:seq(0, wxNotebook:getPageCount(Notebook) - 1)
        ]
    end).

page_text(Page) ->
    Html = [wxHtmlWindow:toText(wx:typeCast(W, wxHtmlWindow)) || W <- of_type("htmlwindow", Page)],
    lists:flatten(lists:join("\n", Html ++ labels(Page) ++ lists:append(rows(Page)))).

refresh_process(Pid) ->
    {Window, _} = process_window(Pid),
    menu(Window, ?PROCESS_REFRESH).

%% Moves the mouse to a pid in the window of a process.
click_pid(Pid, Shown) ->
    _ = info(),
    {Window, State} = process_window(Pid),
    Text = pid_to_list(Shown),
    [Label | _] = within(Window, fun() ->
        Labels = of_type("statictext", widget(wxFrame, State)),
        [W || W <- Labels, wxStaticText:getLabel(wx:typeCast(W, wxStaticText)) =:= Text]
    end),
    kv_observer_screen:click(Label, {8, 8}, 1).

close_processes() ->
    [Window ! #wx{event = #wxClose{type = close_window}} || Window <- processes_of(observer_procinfo)],
    wait(fun() -> processes_of(observer_procinfo) =:= [] end).

%%% Windows of tables

refresh_tables() ->
    menu(panel(), ?TABLES_REFRESH).

%% Double-clicks on a row of the tab Table Viewer.
open_table(Index) ->
    panel() ! #wx{event = #wxList{type = command_list_item_activated, itemIndex = Index}},
    ok.

table() ->
    _ = info(),
    [Table | _] = wait(fun() -> some(processes_of(observer_tv_table)) end),
    {Table, state(Table)}.

table_rows() ->
    {Table, State} = table(),
    within(Table, fun() -> rows(widget(wxFrame, State)) end).

some([]) -> false;
some(List) -> List.

%% Double-clicks on a row, types text into the dialog, and answers OK.
edit_row(Index, Text) ->
    {Table, _} = table(),
    Table ! #wx{event = #wxList{type = command_list_item_activated, itemIndex = Index}},
    Dialog = wait(fun() -> dialog() end),
    [Entry | _] = of_type("text", Dialog) ++ of_type("textctrl", Dialog),
    ok = wxTextCtrl:setValue(wx:typeCast(Entry, wxTextCtrl), Text),
    confirm(Dialog).

%% Marks a row and picks Delete in the menu.
delete_row(Index) ->
    {Table, _} = table(),
    Table ! #wx{event = #wxList{type = command_list_item_selected, itemIndex = Index}},
    menu(Table, ?TABLE_DELETE).

refresh_table() ->
    {Table, _} = table(),
    menu(Table, ?TABLE_REFRESH).

resize_table(Width, Height) ->
    {_, State} = table(),
    resize(widget(wxFrame, State), Width, Height).

close_table() ->
    [menu(Table, ?wxID_CLOSE) || Table <- processes_of(observer_tv_table)],
    wait(fun() -> processes_of(observer_tv_table) =:= [] end).

%%% Dialogs

dialog() ->
    case of_type("dialog", frame()) of
        [Dialog | _] -> wxWindow:isShown(Dialog) andalso wx:typeCast(Dialog, wxDialog);
        [] -> false
    end.

confirm(Dialog) ->
    wait(fun() -> wxDialog:isModal(Dialog) end),
    wxDialog:endModal(Dialog, ?wxID_OK).

close_windows() ->
    close_processes(),
    close_table().

%%% Waiting

wait(Condition) ->
    kv_test:wait(Condition, ?DEADLINE).
