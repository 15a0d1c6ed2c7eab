%% @doc The screen of this VM: windows, mouse, keyboard, and pictures.
%%
%% There is no window manager: a new window is above the others, and has no frame.
-module(kv_observer_screen).

-export([windows/0, has_window/1, click/3, double_click/2, pick_from_popup/2, happens/1, close_message_box/0, picture/2]).

-define(DEADLINE, 30000).
-define(SOON, 2000).

%% GTK uses smaller windows for itself.
-define(SMALLEST, 50).
%% The space above and below the entries of a popup menu.
-define(POPUP_MARGIN, 4).

%% Returns {Id, Title, {X, Y, Width, Height}} of each visible window of this VM. wx removes a window once it has
%% nothing else to do, but only notices that after an event. So the mouse moves.
windows() ->
    _ = xdotool("mousemove 3 3 mousemove 2 2"),
    visible().

has_window(Place) ->
    lists:keymember(Place, 3, visible()).

visible() ->
    Command =
        "for id in $(xdotool search --onlyvisible --name '.*'); do "
        "[ \"$(xdotool getwindowpid $id)\" = " ++ os:getpid() ++ " ] || continue; "
        "xdotool getwindowgeometry --shell $id | sed 's/.*=//' | tr '\\n' ' '; xdotool getwindowname $id; done 2>/dev/null",
    [Window || Line <- string:split(os:cmd(Command), "\n", all), Window <- window(Line)].

%% A window may disappear while it is being inspected.
window(Line) ->
    case re:run(Line, "^(\\d+) (-?\\d+) (-?\\d+) (\\d+) (\\d+) \\d+ (.*)$", [{capture, all_but_first, list}]) of
        {match, [Id, X, Y, W, H, Title]} ->
            Place = [_, _, Width, Height] = [list_to_integer(Text) || Text <- [X, Y, W, H]],
            [{Id, Title, list_to_tuple(Place)} || min(Width, Height) >= ?SMALLEST];
        nomatch ->
            []
    end.

xdotool(Arguments) ->
    os:cmd(lists:flatten(["xdotool ", Arguments, " 2>/dev/null"])).

%% Moves the mouse to a place in a wx window and clicks: button 1 is the left, 3 the right one.
click(Window, {X0, Y0}, Button) ->
    {X, Y} = wxWindow:clientToScreen(Window, {X0, Y0}),
    _ = xdotool(io_lib:format("mousemove ~b ~b click ~b", [X, Y, Button])),
    ok.

double_click(Window, {X0, Y0}) ->
    {X, Y} = wxWindow:clientToScreen(Window, {X0, Y0}),
    _ = xdotool(io_lib:format("mousemove ~b ~b click --repeat 2 --delay 60 1", [X, Y])),
    ok.

%% Opens a popup menu of so many entries by a right click, repeats until it is open, and clicks its last entry.
pick_from_popup(RightClick, Entries) ->
    {X, Y, W, H} = kv_test:wait(fun() ->
        ok = RightClick(),
        happens(fun() -> first([Place || {_, "Erlang", Place} <- visible()]) end)
    end, ?DEADLINE),
    Half = (H - 2 * ?POPUP_MARGIN) div (2 * Entries),
    _ = xdotool(io_lib:format("mousemove ~b ~b click 1", [X + W div 2, Y + H - ?POPUP_MARGIN - Half])),
    ok.

%% Waits for a condition for a short time, and returns its value.
happens(Condition) ->
    try
        kv_test:wait(Condition, ?SOON)
    of
        ok -> true;
        Value -> Value
    catch
        error:{deadline, _} -> false
    end.

first([First | _]) -> First;
first([]) -> false.

%% Waits for a message box and answers it; returns its text.
close_message_box() ->
    {Caption, Text} = kv_test:wait(fun() -> first(kv_observer_watch:message_boxes()) end, ?DEADLINE),
    kv_test:wait(fun() -> titled(Caption) =/= [] end, ?DEADLINE),
    kv_test:wait(fun() -> answer(titled(Caption)) end, ?DEADLINE),
    Text.

titled(Title) ->
    [Id || {Id, T, _} <- windows(), T =:= Title].

%% A key that is pressed too early is lost.
answer([]) ->
    true;
answer([Id | _]) ->
    _ = xdotool(["windowfocus --sync ", Id, " key Return"]),
    false.

%% Takes a picture of the upper left of the screen once it no longer changes.
picture(Path, {Width, Height}) ->
    Crop = io_lib:format("~bx~b+0+0", [Width, Height]),
    Command = ["import -window root -crop ", Crop, " +repage -strip +dither -colors 64 PNG8:'", Path, "' 2>&1"],
    ok = filelib:ensure_dir(Path),
    kv_test:wait(fun() -> is_still(Path, lists:flatten(Command)) end, ?DEADLINE).

is_still(Path, Command) ->
    "" = os:cmd(Command),
    {ok, One} = file:read_file(Path),
    timer:sleep(400),
    "" = os:cmd(Command),
    {ok, One} =:= file:read_file(Path).
