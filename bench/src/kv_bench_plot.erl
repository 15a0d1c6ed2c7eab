%% @doc Plots, drawn by gnuplot.
-module(kv_bench_plot).

-export([draw/2]).

-include("kv_bench.hrl").

%% @doc Draws what there are figures for; answers the names of the files.
-spec draw(file:filename(), [kv_bench:row()]) -> [file:filename()].
draw(Out, Rows) ->
    ok = filelib:ensure_dir(filename:join(Out, "file")),
    Plots = [
        Plot
     || {_, _} = Plot <- [
        lines("calls-get.svg", "get, values of 10 bytes", "callers", Rows, #{part => calls, operation => get, bytes => 10}, callers),
        lines("calls-put.svg", "put, values of 10 bytes", "callers", Rows, #{part => calls, operation => put, bytes => 10}, callers),
        lines("sizes-get.svg", "get, one caller", "bytes of a value", Rows, #{part => sizes, operation => get, callers => 1}, bytes)
    ]],
    _ = [ok = gnuplot(Out, File, Script) || {File, Script} <- Plots],
    [File || {File, _Script} <- Plots].

lines(File, Title, Axis, Rows, Pattern, Field) ->
    Remote = kv_bench_contender:names() -- [local_ets, local_agent],
    case [{Name, Points} || Name <- Remote, Points <- [points(Rows, Pattern#{contender => Name}, Field)], Points =/= []] of
        [] -> none;
        Lines -> {File, [head(File, Title, Axis), data(Lines), plot(Lines)]}
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
        "set terminal svg size 900,540 font 'sans-serif,13' background '#ffffff'\n",
        "set output '", File, "'\n",
        "set title '", Title, "'\n",
        "set xlabel '", Axis, "'\n",
        "set ylabel 'calls a second'\n",
        "set logscale xy\nset xtics 4\nset mytics 10\nset format y '%.0s%c'\n",
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
        io_lib:format("$~ts using 1:2:3:4 with yerrorlines lw ~ts pt 7 ps 0.5 title '~ts'", [Name, weight(Name), kv_bench_contender:title(Name)])
     || {Name, _Points} <- Lines
    ],
    ["plot ", lists:join(", \\\n     ", Curves), "\n"].

weight(kv_bucket) -> "3";
weight(_) -> "1.2".

gnuplot(Out, File, Script) ->
    Path = filename:join(Out, File ++ ".gnuplot"),
    ok = file:write_file(Path, unicode:characters_to_binary(Script)),
    "" = os:cmd("cd '" ++ Out ++ "' && gnuplot '" ++ filename:basename(Path) ++ "'"),
    file:delete(Path).
