%% @doc The screen of this VM as a user has it: windows, the mouse, the keyboard, and pictures of it.
%%
%% There is no window manager: a new window is above the others, and has no frame.
-module(kv_observer_screen).

-export([windows/0, has_window/1, click/3, double_click/2, pick_from_popup/2, happens/1, close_message_box/0, picture/2]).

-define(DEADLINE, 30000).
-define(SOON, 2000).

%% What GTK keeps for itself is smaller.
-define(SMALLEST, 50).
%% Above and below the entries of a popup menu.
-define(POPUP_MARGIN, 4).

%% {Id, Title, {X, Y, Width, Height}} of each window of this VM that can be seen. wx removes a window when it has
%% nothing else to do, but finds that out only after an event: so the mouse moves.
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

%% A window may be gone before all is known of it.
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

%% The mouse at a place in a wx window: button 1 is the left, 3 the right one.
click(Window, {X0, Y0}, Button) ->
    {X, Y} = wxWindow:clientToScreen(Window, {X0, Y0}),
    _ = xdotool(io_lib:format("mousemove ~b ~b click ~b", [X, Y, Button])),
    ok.

double_click(Window, {X0, Y0}) ->
    {X, Y} = wxWindow:clientToScreen(Window, {X0, Y0}),
    _ = xdotool(io_lib:format("mousemove ~b ~b click --repeat 2 --delay 60 1", [X, Y])),
    ok.

%% Opens a popup menu of so many entries by a right click, as often as it takes, and clicks its last entry.
pick_from_popup(RightClick, Entries) ->
    {X, Y, W, H} = kv_test:wait(fun() ->
        ok = RightClick(),
        happens(fun() -> first([Place || {_, "Erlang", Place} <- visible()]) end)
    end, ?DEADLINE),
    Half = (H - 2 * ?POPUP_MARGIN) div (2 * Entries),
    _ = xdotool(io_lib:format("mousemove ~b ~b click 1", [X + W div 2, Y + H - ?POPUP_MARGIN - Half])),
    ok.

%% Whether something comes true soon, or what it comes to.
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

%% Waits for a message box and answers it; gives its text.
close_message_box() ->
    {Caption, Text} = kv_test:wait(fun() -> first(kv_observer_watch:message_boxes()) end, ?DEADLINE),
    kv_test:wait(fun() -> titled(Caption) =/= [] end, ?DEADLINE),
    kv_test:wait(fun() -> answer(titled(Caption)) end, ?DEADLINE),
    Text.

titled(Title) ->
    [Id || {Id, T, _} <- windows(), T =:= Title].

%% A key may come too early to be seen.
answer([]) ->
    true;
answer([Id | _]) ->
    _ = xdotool(["windowfocus --sync ", Id, " key Return"]),
    false.

%% Leaves a picture of the upper left of the screen once it stays as it is.
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
