%% @doc The page of a run, index.html: plain HTML with drawings in SVG, and nothing that is fetched from elsewhere.
%%
%% A drawing has a line for each contender: a bar up to the median, a dot for each round, and the figures.
-module(kv_bench_page).

-export([html/3]).

-include("kv_bench.hrl").

%% Places in a drawing, in pixels.
-define(WIDTH, 900).
-define(NAMES, 190).
-define(PLOT, 430).
-define(ROW_HEIGHT, 24).
-define(HEAD, 22).
%% How much greater than the least value the greatest of a linear drawing may be.
-define(LINEAR, 50).
%% Columns of figures, right of the plot.
-define(COLUMNS, [700, 760, 825, 890]).

%% @doc The page. About: paragraphs on the run, and lines on the machine. History: kv_bench_history:html/1.
-spec html({[iodata()], [iodata()]}, [kv_bench:row()], History :: iodata()) -> iodata().
html({About, Machine}, Rows, History) ->
    Cells = kv_bench_figures:cells(Rows),
    Parts = parts(Cells),
    [
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>kv: benchmark</title>\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>\n", style(), "</style>\n</head>\n<body>\n",
        "<h1>kv beside other stores</h1>\n",
        [["<p>", escape(Text), "</p>\n"] || Text <- About],
        ["<ul>\n", [["<li>", escape(Line), "</li>\n"] || Line <- Machine], "</ul>\n"],
        ["<nav>", [anchor(Part) || Part <- Parts], "</nav>\n"],
        bars(Rows),
        History,
        [part(Part, Cells, Rows) || Part <- Parts],
        "</body>\n</html>\n"
    ].

style() ->
    "body { max-width: 920px; margin: 2em auto; padding: 0 1em; font: 15px/1.5 sans-serif; color: #222; background: #fff }\n"
    "table { border-collapse: collapse; margin: 1em 0 } th, td { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd }\n"
    "td { white-space: nowrap } th:first-child, td:first-child { text-align: left; white-space: normal } h2 { margin-top: 2em; border-bottom: 2px solid #1f6feb } h3 { margin: 1.5em 0 .3em }\n"
    "nav a { margin-right: 1em } .missed { color: #b30000; font-weight: bold } .met { color: #1a7f37 } svg { width: 100%; height: auto }\n"
    "svg text { font: 12px sans-serif; fill: #222 } .right { text-anchor: end } .pale { fill: #777 } .kv { fill: #1f6feb }\n"
    ".other { fill: #b8bec6 } .slipped { fill: #b30000 } .dot { fill: #222; fill-opacity: .55 } .grid { stroke: #ddd }\n".

parts(Cells) ->
    lists:foldl(fun({Part, _, _, _}, Seen) -> Seen ++ ([Part] -- Seen) end, [], Cells).

anchor(Part) ->
    Name = atom_to_list(Part),
    ["<a href=\"#", Name, "\">", Name, "</a>"].

%%% The bars: figures that were promised

bars(Rows) ->
    case kv_bench_bars:figures(Rows) of
        [] ->
            [];
        Figures ->
            [
                "<h2 id=\"bars\">Wanted and measured</h2>\n<p>A missed bar is shown as missed. Each figure is a median; least and greatest are of the rounds.</p>\n",
                "<table>\n<tr><th></th><th>least</th><th>median</th><th>greatest</th><th>wanted</th><th></th></tr>\n",
                [bar_line(Figure) || Figure <- Figures],
                "</table>\n"
            ]
    end.

bar_line(Figure) ->
    {Name, [Least, Median, Greatest, Wanted], Verdict} = kv_bench_bars:texts(Figure),
    [
        ["<tr><td>", escape(Name), "</td>"],
        [["<td>", escape(Text), "</td>"] || Text <- [Least, Median, Greatest, Wanted]],
        ["<td class=\"", atom_to_list(Verdict), "\">", atom_to_list(Verdict), "</td></tr>\n"]
    ].

%%% The cells

part(Part, Cells, Rows) ->
    Name = atom_to_list(Part),
    ["<h2 id=\"", Name, "\">", Name, "</h2>\n", [cell(Cell, Rows) || {P, _, _, _} = Cell <- Cells, P =:= Part]].

cell({_, Operation, Callers, Bytes} = Cell, Rows) ->
    Pattern = kv_bench_figures:pattern(Cell),
    Metrics = drawn(lists:usort([Row#row.metric || Row <- Rows, matches(Row, Cell)])),
    Title = [atom_to_list(Operation), callers(Callers), [io_lib:format(", values of ~b bytes", [Bytes]) || Bytes > 0]],
    ["<h3>", escape(Title), "</h3>\n", [drawing(Metric, Pattern, Rows) || Metric <- Metrics]].

callers(1) -> ", 1 caller";
callers(Callers) -> [", ", integer_to_list(Callers), " callers"].

matches(#row{part = Part, operation = Operation, callers = Callers, bytes = Bytes}, Cell) ->
    {Part, Operation, Callers, Bytes} =:= Cell.

%% Where there are rates, the other metrics stand beside them as columns.
drawn(Metrics) ->
    case lists:member(rate, Metrics) of
        true -> [rate | [ns || lists:member(ns, Metrics)]];
        false -> Metrics
    end.

drawing(Metric, Pattern, Rows) ->
    Lines = [
        {Name, Values}
     || Name <- kv_bench_contender:all(),
        Values <- [kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => Metric})],
        Values =/= []
    ],
    Scale = scale(lists:append([Values || {_, Values} <- Lines])),
    Height = ?HEAD + ?ROW_HEIGHT * length(Lines) + 6,
    [
        io_lib:format("<svg viewBox=\"0 0 ~b ~b\" role=\"img\" aria-label=\"~ts\">\n", [?WIDTH, Height, unit(Metric)]),
        heads(Metric, Scale, Height),
        [line(At, Line, {Metric, Pattern, Rows, Scale}) || {At, Line} <- lists:zip(lists:seq(0, length(Lines) - 1), Lines)],
        "</svg>\n"
    ].

%% From 0 to the greatest value; logarithmic if the least would not be seen then.
scale(Values) ->
    {Least, _, Greatest} = kv_bench_figures:spread(Values),
    case Least > 0 andalso Greatest / Least > ?LINEAR of
        true -> {logarithmic, Least / 2, Greatest};
        false -> {linear, 0, max(Greatest, 1)}
    end.

place({linear, Least, Greatest}, Value) ->
    round(?PLOT * max(0, Value - Least) / (Greatest - Least));
place({logarithmic, Least, Greatest}, Value) ->
    round(?PLOT * max(0, math:log(max(Value, Least) / Least)) / math:log(Greatest / Least)).

tics({linear, Least, Greatest}) -> [Least, Greatest / 2, Greatest];
tics({logarithmic, Least, Greatest}) -> [Least, math:sqrt(Least * Greatest), Greatest].

unit(rate) -> "a second";
unit(ns) -> "ns";
unit(Metric) -> atom_to_list(Metric).

axis(Metric, {linear, _, _}) -> unit(Metric);
axis(Metric, {logarithmic, _, _}) -> unit(Metric) ++ ", logarithmic".

heads(Metric, Scale, Height) ->
    [
        text(0, 14, "pale", axis(Metric, Scale)),
        [
            [io_lib:format("<line class=\"grid\" x1=\"~b\" y1=\"~b\" x2=\"~b\" y2=\"~b\"/>\n", [X, ?HEAD - 4, X, Height]), text(X, 14, "pale", count(Tic))]
         || Tic <- tics(Scale), X <- [?NAMES + place(Scale, Tic)]
        ],
        [text(X, 14, "pale right", Title) || Metric =:= rate, {X, Title} <- lists:zip(tl(?COLUMNS), ["kv is", "p50 us", "p99 us"])]
    ].

line(At, {Name, Values}, {Metric, Pattern, Rows, Scale}) ->
    Top = ?HEAD + At * ?ROW_HEIGHT,
    {_, Median, _} = kv_bench_figures:spread(Values),
    Columns = [count(Median) | [Text || Metric =:= rate, Text <- beside(Name, Pattern, Rows)]],
    [
        text(0, Top + 15, "", kv_bench_contender:title(Name)),
        io_lib:format("<rect class=\"~ts\" x=\"~b\" y=\"~b\" width=\"~b\" height=\"12\"/>\n", [kind(Name), ?NAMES, Top + 5, max(1, place(Scale, Median))]),
        [io_lib:format("<circle class=\"dot\" cx=\"~b\" cy=\"~b\" r=\"2.5\"/>\n", [?NAMES + place(Scale, Value), Top + 11]) || Value <- Values],
        [text(X, Top + 15, "right", Text) || {X, Text} <- lists:zip(lists:sublist(?COLUMNS, length(Columns)), Columns)]
    ].

kind(Name) ->
    case atom_to_list(Name) of
        "kv_" ++ _ -> "kv";
        _ -> "other"
    end.

%% The ratio to kv, and the times of a call.
beside(Name, Pattern, Rows) ->
    Times = [
        case kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => Metric})) of
            none -> "";
            {_, Value, _} -> count(Value)
        end
     || Metric <- [p50, p99]
    ],
    [kv_bench_figures:ratio(Pattern, Name, Rows) | Times].

count(Value) when abs(Value) >= 10000000 -> io_lib:format("~.1fM", [Value / 1.0e6]);
count(Value) when abs(Value) >= 1000000 -> io_lib:format("~.2fM", [Value / 1.0e6]);
count(Value) when abs(Value) >= 10000 -> io_lib:format("~bk", [round(Value / 1000)]);
count(Value) when abs(Value) >= 100; is_integer(Value) -> integer_to_list(round(Value));
count(Value) -> io_lib:format("~.1f", [Value]).

text(X, Y, Class, Text) ->
    io_lib:format("<text x=\"~b\" y=\"~b\" class=\"~ts\">~ts</text>\n", [X, Y, Class, escape(Text)]).

escape(Text) ->
    [escape_one(Char) || Char <- unicode:characters_to_list(Text)].

escape_one($<) -> "&lt;";
escape_one($>) -> "&gt;";
escape_one($&) -> "&amp;";
escape_one($") -> "&quot;";
escape_one(Char) -> Char.
