%% @doc Trees and tables as text, for any kind of terminal: with colours and box-drawing characters if the terminal
%% has them.
%%
%% Users choose names, so no control character of a name reaches the terminal.
%% @private
-module(kv_text).

-export([print/2, tree/1, table/4, unavailable/2, colours/0]).
-export([count/3, number/1, bytes/1, atom/1]).

-export_type([line/0]).

-type style() :: plain | supervisor | process | bucket | registry | faint | strong | problem.
-type line() :: [unicode:chardata() | {style(), unicode:chardata()}].

%% Characters of a name that are shown.
-define(LONGEST, 40).

%%% Output

%% @doc Prints lines to the group leader of the caller, which may be on another node.
-spec print([line()], boolean()) -> ok.
print(Lines, Colours) ->
    Unicode = proplists:get_value(encoding, options(), latin1) =:= unicode,
    io:put_chars([[written(Part, Colours, Unicode) || Part <- Line] ++ "\n" || Line <- Lines]).

options() ->
    case io:getopts() of
        Options when is_list(Options) -> Options;
        _ -> []
    end.

written({Style, Text}, true, Unicode) -> [code(Style), encoded(Text, Unicode), "\e[0m"];
written({_Style, Text}, false, Unicode) -> encoded(Text, Unicode);
written(Text, _Colours, Unicode) -> encoded(Text, Unicode).

encoded(Text, true) -> Text;
encoded(Text, false) -> [ascii(Char) || Char <- unicode:characters_to_list(Text)].

%% Replacements for a terminal without Unicode.
ascii(16#251c) -> $|;
ascii(16#2514) -> $`;
ascii(16#2500) -> $-;
ascii(16#2502) -> $|;
ascii(16#2550) -> $=;
ascii(Char) when Char > 126 -> io_lib:format("\\x{~.16B}", [Char]);
ascii(Char) -> Char.

code(plain) -> "\e[0m";
code(supervisor) -> "\e[1m";
code(process) -> "\e[36m";
code(bucket) -> "\e[32m";
code(registry) -> "\e[33m";
code(faint) -> "\e[2m";
code(strong) -> "\e[1m";
code(problem) -> "\e[31m".

%% @doc Returns `true' if the terminal of the caller is likely to have colours: it is a terminal, and neither TERM nor
%% NO_COLOR (https://no-color.org) says otherwise. Elixir has a setting of its own.
-spec colours() -> boolean().
colours() ->
    Refused = os:getenv("NO_COLOR", "") =/= "" orelse os:getenv("TERM", "dumb") =:= "dumb",
    not Refused andalso element(1, io:columns()) =:= ok.

%%% Trees

%% @doc Returns a tree as lines.
-spec tree(kv_tree:tree()) -> [line()].
tree({Item, Trees}) ->
    [item(Item) | branches(Trees, [])].

branches([], _Before) -> [];
branches([Last], Before) -> branch(Last, Before, "└── ", "    ");
branches([Tree | Rest], Before) -> branch(Tree, Before, "├── ", "│   ") ++ branches(Rest, Before).

branch({Item, Trees}, Before, Corner, Side) ->
    [[{faint, Before ++ Corner}] ++ item(Item) | branches(Trees, Before ++ Side)].

item({vm, Node}) ->
    [{strong, atom(Node)}];
item({process, Pid, Name, undefined}) ->
    [{process, registered(Name, Pid)}, pid_after(Name, Pid)];
item({process, Pid, Name, Children}) ->
    [{supervisor, registered(Name, Pid)}, pid_after(Name, Pid), ", ", count(Children, "child", "children")];
item({owner, Pid, Name, #{name := Node, os_pid := OsPid, version := Version, uptime_ms := Uptime} = Info}) ->
    [
        {process, registered(Name, Pid)},
        pid_after(Name, Pid),
        [" ══ ", atom(Node), ", version ", Version, ", OS process ", integer_to_list(OsPid), ", up ", duration(Uptime)],
        disk(maps:get(disk, Info, undefined))
    ];
item({proxy, Pid, _Name, Native}) when is_pid(Native) ->
    [pid(Pid), " ══ ", pid(Native), {faint, " ended"}];
item({proxy, Pid, _Name, Process}) ->
    [pid(Pid), " ══ " | native(Process)];
item({native, Process}) ->
    native(Process);
item({others, Node, Totals}) ->
    #{processes := Processes, memory := Memory} = Totals,
    [{strong, atom(Node)}, [", besides: ", count(Processes, "process", "processes"), ", ", bytes(Memory)]];
item({outside, Pid, Name, Above}) ->
    [{process, registered(Name, Pid)}, pid_after(Name, Pid), above(Above)];
item({unavailable, Node, Reason}) ->
    unavailable(Node, Reason);
item({more, Number}) ->
    [{faint, ["... and ", number(Number), " more"]}].

%% The folder of the durable buckets.
disk(#{folder := Folder, log_bytes := Log, recovery_ms := Recovery} = Disk) ->
    [
        ["; ", clean(Folder), ": log ", bytes(Log), synced(Disk), checkpoint(Disk), ", read in ", duration(Recovery)]
        | [{problem, ", no checkpoint"} || map_get(checkpoint_failing, Disk)] ++ [{problem, ", no space"} || map_get(full, Disk)]
    ];
disk(_None) ->
    [].

synced(#{last_sync_ms := undefined}) -> "";
synced(#{last_sync_ms := Ms}) -> [", synced ", duration(Ms), " ago"].

checkpoint(#{last_checkpoint_ms := undefined}) -> "";
checkpoint(#{checkpoint_bytes := Bytes, last_checkpoint_ms := Ms}) -> [", checkpoint ", bytes(Bytes), " ", duration(Ms), " ago"].

native(#{pid := Pid, kind := Kind, size := Size, memory := Memory, suspended := Suspended} = Process) ->
    [pid(Pid), " "] ++ title(Process) ++
        [[sizes(Kind, Size), ", ", bytes(Memory), durable(Process)], waiting(Process)] ++
        [{problem, ", suspended"} || Suspended].

title(#{kind := service, name := Name}) -> [{process, shown_name(Name)}];
title(#{kind := Kind, name := undefined}) -> [{Kind, atom(Kind)}];
title(#{kind := Kind, name := Name}) -> [[atom(Kind), " "], {Kind, shown_name(Name)}].

sizes(bucket, Size) when is_integer(Size) -> [", ", count(Size, "key", "keys")];
sizes(registry, Size) when is_integer(Size) -> [", ", count(Size, "name", "names")];
sizes(_Kind, _Size) -> [].

durable(#{durable := Policy}) when Policy =/= false -> [", durable: ", atom(Policy)];
durable(_Process) -> [].

waiting(#{queue := 0}) -> [];
waiting(#{queue := Queue}) -> {problem, [", ", number(Queue), " waiting"]}.

above(undefined) -> [];
above(Name) when is_atom(Name) -> {faint, [" under ", atom(Name)]};
above(Pid) -> {faint, [" under ", pid(Pid)]}.

registered(undefined, Pid) -> pid(Pid);
registered(Name, _Pid) -> atom(Name).

pid_after(undefined, _Pid) -> [];
pid_after(_Name, Pid) -> {faint, [" ", pid(Pid)]}.

%% @doc Returns a line that replaces a tree or a table.
-spec unavailable(node(), term()) -> line().
unavailable(Node, Reason) ->
    [{strong, atom(Node)}, {problem, [" does not answer: ", clean(io_lib:format("~tp", [Reason]))]}].

%%% Tables

%% @doc Returns the processes of a node as a table, with the totals of all processes in a line above.
-spec table(node(), kv_totals:by(), kv_totals:totals(), [kv_inspect:process()]) -> [line()].
table(Node, By, Totals, Processes) ->
    Rows = [row(Process) || Process <- Processes],
    Widths = [lists:max([string:length(Cell) || Cell <- Column]) || Column <- columns([titles() | Rows])],
    [summary(Node, By, Totals), [{faint, aligned(titles(), Widths)}]] ++
        [coloured(Process, aligned(Row, Widths)) || {Process, Row} <- lists:zip(Processes, Rows)].

summary(Node, By, #{processes := Processes, buckets := Buckets, memory := Memory, operations := Operations}) ->
    [
        {strong, atom(Node)},
        [
            ": ",
            count(Processes, "process", "processes"),
            ", of them ",
            count(Buckets, "bucket", "buckets"),
            "; ",
            bytes(Memory),
            ", ",
            count(Operations, "operation", "operations"),
            "; by ",
            atom(By)
        ]
    ].

titles() -> ["pid", "kind", "size", "memory", "operations", "queue", "links", "monitors", "name"].

row(#{pid := Pid, kind := Kind, name := Name, size := Size, links := Links} = Process) ->
    #{memory := Memory, operations := Operations, queue := Queue, monitors := To, monitored_by := By} = Process,
    [
        pid(Pid),
        atom(Kind),
        cell(Size),
        bytes(Memory),
        number(Operations),
        number(Queue),
        number(Links),
        number(To + By),
        shown_name(Name)
    ].

cell(undefined) -> "-";
cell(Number) -> number(Number).

columns([[] | _]) -> [];
columns(Rows) -> [[hd(Row) || Row <- Rows] | columns([tl(Row) || Row <- Rows])].

%% Numbers are aligned to the right. The last column is the name.
aligned([Pid, Kind | Cells], [PidWidth, KindWidth | Widths]) ->
    [pad(Pid, PidWidth, trailing), "  ", pad(Kind, KindWidth, trailing) | aligned_right(Cells, Widths)].

aligned_right([Name], [_]) -> ["  ", Name];
aligned_right([Cell | Cells], [Width | Widths]) -> ["  ", pad(Cell, Width, leading) | aligned_right(Cells, Widths)].

pad(Text, Width, Side) -> string:pad(Text, Width, Side).

coloured(#{suspended := true}, Row) -> [Row, {problem, "  suspended"}];
coloured(#{}, Row) -> [Row].

%%% Words

pid(Pid) -> pid_to_list(Pid).

shown_name(undefined) -> "";
shown_name(Name) when is_atom(Name) -> atom(Name);
shown_name(Name) -> ["\"", clean(Name), "\""].

%% @doc Returns an atom as its language writes it.
-spec atom(atom()) -> iolist().
atom(Atom) ->
    case atom_to_list(Atom) of
        "Elixir." ++ Name -> clean(Name);
        Name -> clean(Name)
    end.

%% Removes control characters and marks that change the direction of writing, and shortens. Bytes that are not text
%% are shown as such.
clean(Text) ->
    case unicode:characters_to_list(Text) of
        Chars when is_list(Chars) -> shortened(Chars, fun visible/1);
        _NotText -> shortened(binary_to_list(iolist_to_binary(Text)), fun visible_byte/1)
    end.

shortened(Chars, Visible) ->
    {Shown, Rest} = split(?LONGEST, Chars),
    [[Visible(Char) || Char <- Shown], ["..." || Rest =/= []]].

split(Length, List) when length(List) =< Length -> {List, []};
split(Length, List) -> lists:split(Length, List).

visible_byte(Byte) when Byte > 126 -> io_lib:format("\\x~2.16.0B", [Byte]);
visible_byte(Byte) -> visible(Byte).

visible(Char) when Char < 32; Char >= 127, Char < 160 -> io_lib:format("\\x~2.16.0B", [Char]);
visible(Char) when Char >= 16#200b, Char =< 16#200f -> io_lib:format("\\x{~.16B}", [Char]);
visible(Char) when Char >= 16#2028, Char =< 16#202e -> io_lib:format("\\x{~.16B}", [Char]);
visible(Char) when Char >= 16#2060, Char =< 16#2069; Char =:= 16#feff -> io_lib:format("\\x{~.16B}", [Char]);
visible(Char) -> Char.

%% @doc Returns `3 keys', `1 key'.
-spec count(non_neg_integer(), string(), string()) -> iolist().
count(1, One, _Many) -> ["1 ", One];
count(Number, _One, Many) -> [number(Number), " ", Many].

%% @doc Returns a number with commas: 1,234,567.
-spec number(non_neg_integer()) -> iolist().
number(Number) when Number < 1000 -> integer_to_list(Number);
number(Number) -> [number(Number div 1000), io_lib:format(",~3..0B", [Number rem 1000])].

%% @doc Returns a size with a suitable unit.
-spec bytes(non_neg_integer()) -> iolist().
bytes(Bytes) when Bytes < 1 bsl 10 -> [integer_to_list(Bytes), " B"];
bytes(Bytes) when Bytes < 1 bsl 20 -> io_lib:format("~.1f KiB", [Bytes / (1 bsl 10)]);
bytes(Bytes) when Bytes < 1 bsl 30 -> io_lib:format("~.1f MiB", [Bytes / (1 bsl 20)]);
bytes(Bytes) -> io_lib:format("~.1f GiB", [Bytes / (1 bsl 30)]).

duration(Ms) when Ms < 60000 -> io_lib:format("~.1f s", [Ms / 1000]);
duration(Ms) when Ms < 3600000 -> io_lib:format("~b min", [Ms div 60000]);
duration(Ms) when Ms < 86400000 -> io_lib:format("~b h ~b min", [Ms div 3600000, Ms rem 3600000 div 60000]);
duration(Ms) -> io_lib:format("~b d ~b h", [Ms div 86400000, Ms rem 86400000 div 3600000]).
