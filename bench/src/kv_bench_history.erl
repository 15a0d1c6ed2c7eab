%% @doc history.csv: the main ratios of each release, so that a release that is slower is seen.
%%
%% A line is a release, the date of its run, a bar, its median, the unit of both, and the bar's side and value. `x' is a ratio.
-module(kv_bench_history).

-export([add/4, html/1]).

-define(HEAD, "release,date,bar,median,unit,wanted\n").
-define(WIDTH, 900).
-define(PLOT_LEFT, 560).
-define(PLOT_RIGHT, 780).
-define(ROW_HEIGHT, 26).
%% A ratio that is worse by more than this share than that of the release before is marked.
-define(SLIP, 0.1).

-type line() :: {Release :: binary(), Date :: binary(), Bar :: binary(), Median :: float(), Unit :: binary(), Wanted :: binary()}.

%% @doc Adds a run. Lines of the same release and bar are replaced: the last run of a release counts.
-spec add(file:filename(), Release :: string(), Date :: string(), [kv_bench:row()]) -> ok.
add(File, Release, Date, Rows) ->
    New = [
        {unicode:characters_to_binary(Release), unicode:characters_to_binary(Date), bare(Name), Median * 1.0, bare(string:trim(Unit)),
            unicode:characters_to_binary(Wanted)}
     || {Name, _, _, Unit, {_, Median, _}} = Figure <- kv_bench_bars:figures(Rows),
        {_, [_, _, _, Wanted], _} <- [kv_bench_bars:texts(Figure)]
    ],
    Known = [{R, Bar} || {R, _, Bar, _, _, _} <- New],
    Kept = [Line || {R, _, Bar, _, _, _} = Line <- read(File), not lists:member({R, Bar}, Known)],
    ok = file:write_file(File, [?HEAD | [text(Line) || Line <- Kept ++ New]]).

%% A name in a file of commas.
bare(Name) ->
    iolist_to_binary(string:replace(unicode:characters_to_binary(Name), ",", ";", all)).

text({Release, Date, Bar, Median, Unit, Wanted}) ->
    [Release, ",", Date, ",", Bar, ",", io_lib:format("~.3f", [Median]), ",", Unit, ",", Wanted, "\n"].

-spec read(file:filename()) -> [line()].
read(File) ->
    case file:read_file(File) of
        {error, enoent} -> [];
        {ok, Text} -> [line(binary:split(Line, <<",">>, [global])) || Line <- tl(binary:split(Text, <<"\n">>, [global, trim]))]
    end.

line([Release, Date, Bar, Median, Unit, Wanted]) ->
    {Release, Date, Bar, binary_to_float(Median), Unit, Wanted}.

%% @doc A section of the page: a line for each bar, with a dot for each release.
-spec html(file:filename()) -> iodata().
html(File) ->
    case read(File) of
        [] -> [];
        Lines -> section(Lines)
    end.

section(Lines) ->
    Releases = in_order([Release || {Release, _, _, _, _, _} <- Lines]),
    Bars = in_order([Bar || {_, _, Bar, _, _, _} <- Lines]),
    Numbered = lists:zip(lists:seq(0, length(Bars) - 1), Bars),
    [
        "<h2 id=\"history\">Release by release</h2>\n<p>Medians of each release, from the first (left) to the last; the upper dot is the greatest. ",
        "The figure is that of the last one, red if it is worse than the one before by more than a tenth. Releases: ",
        lists:join(", ", Releases), ".</p>\n",
        io_lib:format("<svg viewBox=\"0 0 ~b ~b\" role=\"img\" aria-label=\"ratios of each release\">\n", [?WIDTH, ?ROW_HEIGHT * length(Bars) + 4]),
        [drawn(At, Bar, [{place(R, Releases), Median} || {R, _, B, Median, _, _} <- Lines, B =:= Bar], last(Bar, Lines)) || {At, Bar} <- Numbered],
        "</svg>\n"
    ].

in_order(Names) ->
    lists:foldl(fun(Name, Seen) -> Seen ++ ([Name] -- Seen) end, [], Names).

%% From 0 to 1: where a release stands among all.
place(Release, Releases) ->
    Before = length(lists:takewhile(fun(R) -> R =/= Release end, Releases)),
    Before / max(1, length(Releases) - 1).

last(Bar, Lines) ->
    lists:last([{Unit, Wanted} || {_, _, B, _, Unit, Wanted} <- Lines, B =:= Bar]).

drawn(At, Bar, Points, {Unit, Wanted}) ->
    Top = At * ?ROW_HEIGHT,
    Greatest = lists:max([Median || {_, Median} <- Points]),
    Dots = [
        {round(?PLOT_LEFT + X * (?PLOT_RIGHT - ?PLOT_LEFT)), Top + ?ROW_HEIGHT - 4 - round((?ROW_HEIGHT - 10) * Median / max(Greatest, 0.001))}
     || {X, Median} <- Points
    ],
    {_, Last} = lists:last(Points),
    [
        io_lib:format("<text x=\"0\" y=\"~b\">~ts</text>\n", [Top + 17, Bar]),
        ["<polyline fill=\"none\" stroke=\"#1f6feb\" points=\"", [io_lib:format("~b,~b ", [X, Y]) || {X, Y} <- Dots], "\"/>\n"],
        [io_lib:format("<circle class=\"kv\" cx=\"~b\" cy=\"~b\" r=\"3\"/>\n", [X, Y]) || {X, Y} <- Dots],
        io_lib:format("<text class=\"right ~ts\" x=\"~b\" y=\"~b\">~.2f ~ts</text>\n", [verdict(Points, Wanted), ?WIDTH - 10, Top + 17, Last, Unit])
    ].

verdict(Points, Wanted) ->
    case lists:reverse([Median || {_, Median} <- Points]) of
        [Last, Before | _] when Before > 0 -> slip(Wanted, Last / Before);
        _ -> ""
    end.

slip(<<"at most", _/binary>>, Ratio) when Ratio > 1 + ?SLIP -> "slipped";
slip(<<"at least", _/binary>>, Ratio) when Ratio < 1 - ?SLIP -> "slipped";
slip(_, _) -> "".
