%% @doc Writes the results: results.csv has every figure, tables.md least, median and greatest of each cell, summary.md
%% the bars and the plots.
-module(kv_bench_report).

-export([write/3]).

-include("kv_bench.hrl").

-spec write(file:filename(), [kv_bench:row()], kv_bench:settings()) -> ok.
write(Out, Rows, Settings) ->
    Tables = [table(Cell, Rows) || Cell <- kv_bench_figures:cells(Rows)],
    Summary = [summary(Settings), kv_bench_bars:table(Rows), absent(), plots(kv_bench_plot:draw(Out, Rows))],
    ok = put_file(Out, "results.csv", [csv_head() | [csv(Row) || Row <- Rows]]),
    ok = put_file(Out, "tables.md", ["# Every cell\n\n", legend() | Tables]),
    ok = put_file(Out, "summary.md", Summary),
    io:format("~n~ts~n~ts~nwritten to ~ts~n", [Tables, kv_bench_bars:table(Rows), Out]).

put_file(Out, Name, Text) ->
    file:write_file(filename:join(Out, Name), unicode:characters_to_binary(Text)).

%%% The machine and its software

summary(#{rounds := Rounds, ms := Ms, quick := Quick}) ->
    [
        "# Benchmark of ", calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}]), "\n\n",
        ["A short run: its figures say little.\n\n" || Quick],
        io_lib:format("~b rounds of ~b ms each, all contenders in turn in each round. On this machine:\n\n", [Rounds, Ms]),
        [["- ", Line, "\n"] || Line <- machine(), Line =/= ""],
        "\n"
    ].

machine() ->
    [
        kv_bench_os:text("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//; s/ / x /'"),
        kv_bench_os:text("uname -sr"),
        "Erlang/OTP " ++ erlang:system_info(otp_release) ++ ", Elixir " ++ binary_to_list('Elixir.System':version()),
        kv_bench_os:text("redis-server --version | cut -d' ' -f1-3"),
        kv_bench_os:text("cc --version | head -1"),
        "load before the run: " ++ os:getenv("LOAD_BEFORE", "not known")
    ].

%% Bars without a figure, and why.
absent() ->
    [["Not in this run: ", Text, ".\n\n"] || Text <- kv_bench_durable:absent()].

plots(Files) ->
    [["![", filename:rootname(File), "](", File, ")\n\n"] || File <- Files].

%%% Tables

legend() ->
    [
        "Rates are calls a second: least, median, greatest of the rounds. *kv is* is the median of the ratios of KV.Bucket (in the part "
        "durable, of the bucket with `durable: :commit`) to this contender, each taken within a round. Times are medians: of the half and of all but a hundredth of the calls, and of the "
        "processor time one call takes in the contender's process and in the caller's VM. Of reads, *ns* is the time that one of them "
        "takes, where less than 1 x is faster than this; rates are those of all VMs together.\n\n"
    ].

table({durable, Operation, _, _} = Cell, Rows) when Operation =:= beyond; Operation =:= written; Operation =:= checkpoint ->
    [io_lib:format("## durable: ~ts\n\n", [Operation]), plain(Cell, Rows), "\n"];
table({Part, Operation, Callers, Bytes} = Cell, Rows) ->
    case lists:member(Part, [memory, pause, reads, terms]) of
        true when Part =:= reads ->
            Title = io_lib:format("## reads: ~ts, ~b at once, values of ~b bytes\n\n", [Operation, Callers, Bytes]),
            [Title, compared(Cell, Rows), "\n"];
        true when Part =:= terms ->
            [io_lib:format("## terms: ~ts\n\n", [Operation]), compared(Cell, Rows), "\n"];
        true ->
            [io_lib:format("## ~ts: ~ts\n\n", [Part, Operation]), plain(Cell, Rows), "\n"];
        false ->
            Title = io_lib:format("## ~ts: ~ts, ~b callers, values of ~b bytes\n\n", [Part, Operation, Callers, Bytes]),
            [Title, rates(Cell, Rows), "\n"]
    end.

rates(Cell, Rows) ->
    Pattern = pattern(Cell),
    Titles = ["", "min", "median", "max", "kv is", "p50 us", "p99 us", "its ns", "caller's ns"],
    Lines = [rate_line(Name, Pattern, Rows) || Name <- names(Pattern, Rows)],
    columns(Titles, Lines).

rate_line(Name, Pattern, Rows) ->
    Median = fun(Metric) ->
        case kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => Metric})) of
            none -> "";
            {_, Value, _} -> integer_to_list(round(Value))
        end
    end,
    {Min, Mid, Max} = kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => rate})),
    [
        kv_bench_contender:title(Name),
        integer_to_list(round(Min)),
        integer_to_list(round(Mid)),
        integer_to_list(round(Max)),
        ratio(kv_bench_figures:per_second_ratio(Rows, Pattern, {ours(Pattern), Name})),
        Median(p50),
        Median(p99),
        Median(server_ns),
        Median(client_ns)
    ].

ours(#{part := durable, operation := plain_get}) -> kv_volatile;
ours(#{part := durable}) -> kv_commit;
ours(_) -> kv_bucket.

ratio(none) -> "";
ratio({_Min, Median, _Max}) -> io_lib:format("~.2f x", [Median]).

%% Figures that are not rates: one line each.
plain(Cell, Rows) ->
    Pattern = pattern(Cell),
    Metrics = lists:usort([Row#row.metric || Row <- rows_of(Pattern, Rows)]),
    columns(["", "", "min", "median", "max"], [
        [kv_bench_contender:title(Name), atom_to_list(Metric), figure(Min), figure(Mid), figure(Max)]
     || Name <- names(Pattern, Rows),
        Metric <- Metrics,
        {Min, Mid, Max} <- [kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => Metric}))]
    ]).

%% Nanoseconds or rates, and the ratio of local reads to each.
compared(Cell, Rows) ->
    Pattern = pattern(Cell),
    columns(["", "", "min", "median", "max", "kv is"], [
        [kv_bench_contender:title(Name), atom_to_list(Metric), figure(Min), figure(Mid), figure(Max), ratio(Ratio)]
     || Name <- names(Pattern, Rows),
        Metric <- [ns, rate],
        {Min, Mid, Max} <- [kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => Metric}))],
        Ratio <- [kv_bench_figures:spread(kv_bench_figures:ratios(Rows, Pattern#{metric => Metric}, kv_local, Name))]
    ]).

figure(Value) when is_integer(Value) -> integer_to_list(Value);
figure(Value) when Value >= 10000 -> integer_to_list(round(Value));
figure(Value) -> io_lib:format("~.1f", [Value]).

pattern({Part, Operation, Callers, Bytes}) ->
    #{part => Part, operation => Operation, callers => Callers, bytes => Bytes}.

rows_of(#{part := Part, operation := Operation, callers := Callers, bytes := Bytes}, Rows) ->
    [Row || #row{part = P, operation = O, callers = C, bytes = B} = Row <- Rows, {P, O, C, B} =:= {Part, Operation, Callers, Bytes}].

names(Pattern, Rows) ->
    Present = [Row#row.contender || Row <- rows_of(Pattern, Rows)],
    [Name || Name <- kv_bench_contender:all(), lists:member(Name, Present)].

%% A table of Markdown that is aligned as plain text.
columns(Titles, Lines) ->
    Texts = [[lists:flatten(Text) || Text <- Line] || Line <- [Titles | Lines]],
    Widths = [lists:max([length(lists:nth(Column, Line)) || Line <- Texts]) || Column <- lists:seq(1, length(Titles))],
    [Head | Body] = [line(Line, Widths) || Line <- Texts],
    Rule = ["| ", lists:join(" | ", [lists:duplicate(max(3, Width) - 1, $-) ++ ending(Column) || {Column, Width} <- numbered(Widths)]), " |\n"],
    [Head, Rule, Body].

numbered(Widths) -> lists:zip(lists:seq(1, length(Widths)), Widths).

ending(1) -> "-";
ending(_) -> ":".

line(Line, Widths) ->
    ["| ", lists:join(" | ", [pad(Column, Text, max(3, Width)) || {{Column, Width}, Text} <- lists:zip(numbered(Widths), Line)]), " |\n"].

pad(1, Text, Width) -> string:pad(Text, Width);
pad(_, Text, Width) -> string:pad(Text, Width, leading).

%%% Numbers as text

csv_head() ->
    "part,operation,callers,value_bytes,contender,round,metric,value\n".

csv(#row{part = Part, operation = Operation, callers = Callers, bytes = Bytes, contender = Name, round = Round} = Row) ->
    io_lib:format("~ts,~ts,~b,~b,~ts,~b,~ts,~ts\n", [
        Part, Operation, Callers, Bytes, Name, Round, Row#row.metric, figure(Row#row.value)
    ]).
