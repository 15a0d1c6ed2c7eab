%% @doc Plots, drawn by gnuplot.
-module(kv_bench_plot).

-export([draw/2]).

-include("kv_bench.hrl").

%% @doc Draws the plots that have figures, and returns the names of the files.
-spec draw(file:filename(), [kv_bench:row()]) -> [file:filename()].
draw(Out, Rows) ->
    ok = filelib:ensure_dir(filename:join(Out, "file")),
    Calls = #{part => calls, bytes => 10},
    Sizes = #{part => sizes},
    Plots = [
        by_callers("calls-get.svg", "get, values of 10 bytes", Rows, Calls#{operation => get}),
        by_callers("calls-put.svg", "put, values of 10 bytes", Rows, Calls#{operation => put}),
        by_size("sizes-get.svg", "get, one caller", Rows, Sizes#{operation => get, callers => 1}),
        by_size("sizes-put.svg", "put, one caller", Rows, Sizes#{operation => put, callers => 1})
    ],
    _ = [ok = gnuplot(Out, File, Script) || {File, Script} <- Plots],
    [File || {File, _Script} <- Plots].

by_callers(File, Title, Rows, Pattern) ->
    lines(File, Title, "callers", fun(Tics) -> [["set yrange [0:*]\n"] | tics(Tics, fun integer_to_list/1)] end, Rows, Pattern, callers).

by_size(File, Title, Rows, Pattern) ->
    lines(File, Title, "size of a value", fun(Tics) -> [["set logscale y\n"] | tics(Tics, fun size/1)] end, Rows, Pattern, bytes).

size(Bytes) when Bytes >= 1024 * 1024 -> integer_to_list(Bytes div (1024 * 1024)) ++ " MiB";
size(Bytes) when Bytes >= 1024 -> integer_to_list(Bytes div 1024) ++ " KiB";
size(Bytes) -> integer_to_list(Bytes) ++ " B".

%% The range of the measured points, and a little room on both sides.
tics(Tics, Label) ->
    Labels = [io_lib:format("'~ts' ~b", [Label(Tic), Tic]) || Tic <- Tics],
    [
        io_lib:format("set xrange [~.2f:~.2f]~n", [lists:min(Tics) * 0.8, lists:max(Tics) * 1.25]),
        ["set xtics (", lists:join(", ", Labels), ")\n"]
    ].

lines(File, Title, Axis, Scale, Rows, Pattern, Field) ->
    Remote = kv_bench_contender:names() -- [local_ets, local_agent],
    case [{Name, Points} || Name <- Remote, Points <- [points(Rows, Pattern#{contender => Name}, Field)], Points =/= []] of
        [] ->
            none;
        Lines ->
            Tics = lists:usort([X || {_Name, Points} <- Lines, {X, _Spread} <- Points]),
            {File, [head(File, Title, Axis), Scale(Tics), data(Lines), plot(Lines)]}
    end.

points(Rows, Pattern, Field) ->
    [
        {X, kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{Field => X, metric => rate}))}
     || X <- lists:usort([at(Field, Row) || Row <- Rows]),
        kv_bench_figures:values(Rows, Pattern#{Field => X, metric => rate}) =/= []
    ].

at(callers, Row) -> Row#row.callers;
at(bytes, Row) -> Row#row.bytes.

head(File, Title, Axis) ->
    [
        "set terminal svg size 900,540 font 'sans-serif,13' background '#ffffff' noenhanced\n",
        "set output '", File, "'\n",
        "set title '", Title, "'\n",
        "set xlabel '", Axis, "'\n",
        "set ylabel 'calls a second'\n",
        "set logscale x\nset format y '%.0s%c'\n",
        "set grid ytics lc rgb '#dddddd'\nset border 3\nset tics nomirror\n",
        "set key outside right top\n"
    ].

data(Lines) ->
    [
        ["$", atom_to_list(Name), " << EOD\n", [io_lib:format("~b ~b ~b ~b\n", [X, round(Mid), round(Min), round(Max)]) || {X, {Min, Mid, Max}} <- Points], "EOD\n"]
     || {Name, Points} <- Lines
    ].

%% Medians, with bars from the least to the greatest.
plot(Lines) ->
    Curves = [
        io_lib:format("$~ts using 1:2:3:4 with yerrorlines lw ~ts lc rgb '~ts' pt 7 ps 0.5 title '~ts'", [
            Name, weight(Name), colour(Name), kv_bench_contender:title(Name)
        ])
     || {Name, _Points} <- Lines
    ],
    ["plot ", lists:join(", \\\n     ", Curves), "\n"].

%% Ours violet, those of a BEAM green, those of Redis red, the rest grey.
colour(kv_bucket) -> "#7b1fa2";
colour(kv_gather) -> "#7e57c2";
colour(kv_eager) -> "#ba68c8";
colour(kv_prompt) -> "#d8b4e2";
colour(kv_call) -> "#3f51b5";
colour(map) -> "#1b5e20";
colour(ets) -> "#66bb6a";
colour(agent) -> "#b5d99c";
colour(eredis) -> "#c62828";
colour(eredis_pool) -> "#ef9a9a";
colour(libei) -> "#616161";
colour(tcp) -> "#bdbdbd";
colour(_Local) -> "#000000".

weight(kv_bucket) -> "3";
weight(_) -> "1.2".

gnuplot(Out, File, Script) ->
    Path = filename:join(Out, File ++ ".gnuplot"),
    ok = file:write_file(Path, unicode:characters_to_binary(Script)),
    "" = os:cmd("cd '" ++ Out ++ "' && gnuplot '" ++ filename:basename(Path) ++ "'"),
    file:delete(Path).
