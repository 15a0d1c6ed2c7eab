%% @doc Drives the Observer of this VM as its user would, and reads what it shows from the widgets themselves.
%%
%% Observer answers {get_debug_info, From} with its notebook and the process of the open tab: its own tests
%% find their way by it. Everything else here is a walk over windows.
-module(kv_observer_driver).

-compile({no_auto_import, [is_alive/0, nodes/0]}).

-export([start/0, stop/0, is_alive/0, crashes/0, resize/2]).
-export([tab/1, nodes/0, select_node/1, labels/0, rows/0, column/1]).
-export([refresh_processes/0, apps/0, pick_app/1, tree/0]).
-export([open_process/1, process_window/1, process_pages/1, close_process/1, windows_of/1]).
-export([open_table/1, table_rows/0, edit_row/2, delete_row/1, refresh_table/0, close_table/0]).

%% Called by logger.
-export([log/2]).

-include_lib("wx/include/wx.hrl").

-define(DEADLINE, 10000).
-define(POLL, 20).

%% The ids in the menu of a table window: observer_tv_table.erl.
-define(TABLE_REFRESH, 401).
-define(TABLE_DELETE, 404).
%% observer_pro_wx.erl
-define(PROCESSES_REFRESH, 203).

%%% Observer

%% Starts Observer and keeps what it, or anything else, has to report as an error from now on.
start() ->
    Caller = self(),
    Keeper = spawn(fun() ->
        ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
        Caller ! {self(), ready},
        receive
            stop -> ok
        end
    end),
    receive
        {Keeper, ready} -> ok
    end,
    ok = logger:set_primary_config(level, error),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => error}),
    _ = observer:start(),
    wait(fun() -> is_alive() andalso is_list(title()) end).

stop() ->
    Observer = whereis(observer),
    observer:stop(),
    wait(fun() -> not is_process_alive(Observer) end).

is_alive() ->
    is_pid(whereis(observer)).

log(Event, _Config) ->
    ets:insert(?MODULE, {erlang:unique_integer([monotonic]), Event}).

%% The errors that were reported, but for a supervisor's that a child was killed, and wx' that this module read a
%% row of a list that had just become shorter.
crashes() ->
    [Event || {_, Event} <- ets:tab2list(?MODULE), not is_killed_child(Event), not is_late_reading(Event)].

is_late_reading(#{msg := {"wx: ~s", [Text]}}) ->
    string:find(Text, "invalid item index in GetItem") =/= nomatch;
is_late_reading(_Event) ->
    false.

is_killed_child(#{msg := {report, #{label := {supervisor, child_terminated}, report := Report}}}) ->
    proplists:get_value(reason, Report) =:= killed;
is_killed_child(_Event) ->
    false.

info() ->
    observer ! {get_debug_info, self()},
    receive
        {observer_debug, Env, Notebook, Active} ->
            wx:set_env(Env),
            {Notebook, Active}
    after ?DEADLINE -> error(observer_does_not_answer)
    end.

frame() ->
    {Notebook, _} = info(),
    wx:typeCast(wxWindow:getParent(wxWindow:getParent(Notebook)), wxFrame).

title() ->
    wxTopLevelWindow:getTitle(frame()).

%% Moves the window to the corner of the screen.
resize(Width, Height) ->
    %% The size that it has already would be no change, though the screen may not show it yet.
    ok = wxWindow:setSize(frame(), 0, 0, Width, Height - 1),
    wxWindow:setSize(frame(), 0, 0, Width, Height).

%%% Tabs and nodes

tab(Name) ->
    {Notebook, _} = info(),
    Indexes = lists:seq(0, wxNotebook:getPageCount(Notebook) - 1),
    [Index] = [I || I <- Indexes, wxNotebook:getPageText(Notebook, I) =:= Name],
    _ = wxNotebook:setSelection(Notebook, Index),
    ok.

node_menu() ->
    Bar = wxFrame:getMenuBar(frame()),
    Menu = wxMenuBar:getMenu(Bar, wxMenuBar:findMenu(Bar, "Nodes")),
    [{wxMenuItem:getItemLabelText(Item), wxMenuItem:getId(Item)} || Item <- wxMenu:getMenuItems(Menu)].

%% What the menu Nodes offers.
nodes() ->
    [Label || {Label, _} <- node_menu()].

select_node(Node) ->
    {_, Id} = lists:keyfind(atom_to_list(Node), 1, node_menu()),
    observer ! #wx{id = Id, event = #wxCommand{type = command_menu_selected}},
    wait(fun() -> string:find(title(), atom_to_list(Node)) =/= nomatch end).

%%% What a tab shows

page() ->
    {Notebook, _} = info(),
    wxNotebook:getPage(Notebook, wxNotebook:getSelection(Notebook)).

windows(Window) ->
    [Window | lists:append([windows(Child) || Child <- wxWindow:getChildren(Window)])].

of_type(Type, Window) ->
    [W || W <- windows(Window), string:lowercase(wxWindow:getName(W)) =:= Type].

labels() ->
    labels(page()).

labels(Window) ->
    [wxStaticText:getLabel(wx:typeCast(W, wxStaticText)) || W <- of_type("statictext", Window)].

rows() ->
    rows(page()).

rows(Window) ->
    lists:append([list_rows(wx:typeCast(W, wxListCtrl)) || W <- of_type("listctrl", Window)]).

list_rows(List) ->
    Columns = lists:seq(0, wxListCtrl:getColumnCount(List) - 1),
    [
        [wxListCtrl:getItemText(List, Row, [{col, Column}]) || Column <- Columns]
     || Row <- lists:seq(0, wxListCtrl:getItemCount(List) - 1)
    ].

column(N) ->
    [lists:nth(N, Row) || Row <- rows()].

%% Picks Refresh in the menu of the tab Processes.
refresh_processes() ->
    {_, Panel} = info(),
    Panel ! #wx{id = ?PROCESSES_REFRESH, event = #wxCommand{type = command_menu_selected}},
    ok.

%%% Applications

apps() ->
    [
        wxControlWithItems:getString(List, I)
     || W <- of_type("listbox", page()),
        List <- [wx:typeCast(W, wxListBox)],
        I <- lists:seq(0, wxControlWithItems:getCount(List) - 1)
    ].

pick_app(App) ->
    {_, Panel} = info(),
    Panel ! #wx{event = #wxCommand{type = command_listbox_selected, cmdString = App}},
    ok.

%% What is drawn: {Text, [Child]}; none when there is nothing. #app{} is in the state of the panel.
tree() ->
    {_, Panel} = info(),
    [_, State | _] = sys:get_state(Panel),
    case lists:keyfind(app, 1, [Field || Field <- tuple_to_list(State), is_tuple(Field)]) of
        false -> none;
        App -> tree(element(2, App))
    end.

tree({Box, Children}) ->
    {lists:flatten(element(4, element(6, Box))), [tree(Child) || Child <- Children]}.

%%% Windows of processes

%% The message that a double click sends.
open_process(Pid) ->
    observer ! {open_link, Pid},
    wait(fun() -> process_window(Pid) =/= none end).

process_window(Pid) ->
    window_titled(pid_to_list(Pid)).

window_titled(Part) ->
    Frames = [wx:typeCast(W, wxFrame) || W <- of_type("frame", frame())],
    case [F || F <- Frames, shows(wxTopLevelWindow:getTitle(F), Part)] of
        [Frame | _] -> Frame;
        [] -> none
    end.

shows(Title, Part) ->
    string:find(Title, Part) =/= nomatch.

%% {Title of the page, its text}. The last page is there when the window is complete.
process_pages(Pid) ->
    Notebook = wait(fun() -> complete_notebook(process_window(Pid)) end),
    [
        {wxNotebook:getPageText(Notebook, I), page_text(wxNotebook:getPage(Notebook, I))}
     || I <- lists:seq(0, wxNotebook:getPageCount(Notebook) - 1)
    ].

complete_notebook(Frame) ->
    case [wx:typeCast(W, wxNotebook) || W <- of_type("notebook", Frame)] of
        [Notebook | _] -> wxNotebook:getPageCount(Notebook) >= 5 andalso Notebook;
        [] -> false
    end.

page_text(Page) ->
    Html = [wxHtmlWindow:toText(wx:typeCast(W, wxHtmlWindow)) || W <- of_type("htmlwindow", Page)],
    lists:flatten(lists:join("\n", Html ++ labels(Page) ++ lists:append(rows(Page)))).

close_process(Pid) ->
    [Window ! #wx{event = #wxClose{type = close_window}} || Window <- windows_of(observer_procinfo)],
    wait(fun() -> process_window(Pid) =:= none end).

%% The processes behind windows of a kind.
windows_of(Module) ->
    [Pid || Pid <- processes(), proc_lib:translate_initial_call(Pid) =:= {Module, init, 1}].

%%% Windows of tables

%% Double click on a row of the tab Table Viewer.
open_table(Index) ->
    {_, Panel} = info(),
    Panel ! #wx{event = #wxList{type = command_list_item_activated, itemIndex = Index}},
    wait(fun() -> windows_of(observer_tv_table) =/= [] andalso table_frame() =/= none end).

table_frame() ->
    window_titled("TV Ets").

table_rows() ->
    rows(table_frame()).

%% Double click on a row, text into the dialog, and OK.
edit_row(Index, Text) ->
    [Table] = windows_of(observer_tv_table),
    Table ! #wx{event = #wxList{type = command_list_item_activated, itemIndex = Index}},
    Dialog = wait(fun() -> dialog() end),
    [Entry | _] = of_type("text", Dialog) ++ of_type("textctrl", Dialog),
    ok = wxTextCtrl:setValue(wx:typeCast(Entry, wxTextCtrl), Text),
    ok = wxDialog:endModal(Dialog, ?wxID_OK).

dialog() ->
    case of_type("dialog", frame()) of
        [Dialog | _] -> wx:typeCast(Dialog, wxDialog);
        [] -> false
    end.

%% Marks a row and picks Delete in the menu.
delete_row(Index) ->
    [Table] = windows_of(observer_tv_table),
    Table ! #wx{event = #wxList{type = command_list_item_selected, itemIndex = Index}},
    Table ! #wx{id = ?TABLE_DELETE, event = #wxCommand{type = command_menu_selected}},
    ok.

refresh_table() ->
    [Table] = windows_of(observer_tv_table),
    Table ! #wx{id = ?TABLE_REFRESH, event = #wxCommand{type = command_menu_selected}},
    ok.

close_table() ->
    [Table] = windows_of(observer_tv_table),
    Table ! #wx{id = ?wxID_CLOSE, event = #wxCommand{type = command_menu_selected}},
    wait(fun() -> windows_of(observer_tv_table) =:= [] end).

%%% Waiting

wait(Condition) ->
    wait(Condition, erlang:monotonic_time(millisecond) + ?DEADLINE).

wait(Condition, Deadline) ->
    case {Condition(), erlang:monotonic_time(millisecond) > Deadline} of
        {true, _} ->
            ok;
        {false, false} ->
            timer:sleep(?POLL),
            wait(Condition, Deadline);
        {false, true} ->
            error(did_not_happen);
        {Value, _} ->
            Value
    end.
