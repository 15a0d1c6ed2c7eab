%% @doc Writes the results: results.csv has every figure, tables.md least, median and greatest of each cell, summary.md
%% the bars and the plots, index.html all of it with drawings.
-module(kv_bench_report).

-export([write/3, page/1]).

-include("kv_bench.hrl").

-define(HISTORY, "bench/history.csv").
-define(BENCHMARK_OF, "Benchmark of ").
-define(ROUNDS, "All contenders took turns in each round. Rounds: ").

%% @doc Writes the files. RELEASE in the environment adds the bars to bench/history.csv under that name.
-spec write(file:filename(), [kv_bench:row()], kv_bench:settings()) -> ok.
write(Out, Rows, Settings) ->
    Tables = [table(Cell, Rows) || Cell <- kv_bench_figures:cells(Rows)],
    About = about(Settings, Rows),
    Summary = [summary(About), kv_bench_bars:table(Rows), absent(), plots(kv_bench_plot:draw(Out, Rows))],
    ok = put_file(Out, "results.csv", kv_bench_csv:text(Rows)),
    ok = put_file(Out, "tables.md", ["# Every cell\n\n", legend() | Tables]),
    ok = put_file(Out, "summary.md", Summary),
    ok = remember(os:getenv("RELEASE", ""), About, Rows),
    ok = put_page(Out, About, Rows),
    io:format("~n~ts~n~ts~nwritten to ~ts~n", [Tables, kv_bench_bars:table(Rows), Out]).

%% @doc Draws the page of results that are there: from results.csv and the head of summary.md.
-spec page(file:filename()) -> ok.
page(Out) ->
    {ok, Summary} = file:read_file(filename:join(Out, "summary.md")),
    [<<"# ", Title/binary>> | Lines] = binary:split(Summary, <<"\n">>, [global]),
    {Head, _} = lists:splitwith(fun(Line) -> not is_table(Line) end, Lines),
    Machine = [Line || <<"- ", Line/binary>> <- Head],
    Texts = [Line || Line <- Head, Line =/= <<>>, binary:first(Line) =/= $-, not tells_rounds(Line)],
    Rows = kv_bench_csv:read(filename:join(Out, "results.csv")),
    About = {[Title | Texts] ++ [rounds(Rows)], Machine},
    ok = remember(os:getenv("RELEASE", ""), About, Rows),
    put_page(Out, About, Rows).

%% Summaries of before had one number for all parts.
tells_rounds(Line) ->
    string:prefix(Line, ?ROUNDS) =/= nomatch orelse string:find(Line, " rounds of ") =/= nomatch.

is_table(<<"|", _/binary>>) -> true;
is_table(_) -> false.

put_page(Out, About, Rows) ->
    put_file(Out, "index.html", kv_bench_page:html(About, Rows, kv_bench_history:html(?HISTORY))).

remember("", _About, _Rows) -> ok;
remember(Release, {[Title | _], _}, Rows) -> kv_bench_history:add(?HISTORY, Release, day(unicode:characters_to_list(Title)), Rows).

day(?BENCHMARK_OF ++ Time) -> string:slice(Time, 0, 10).

put_file(Out, Name, Text) ->
    file:write_file(filename:join(Out, Name), unicode:characters_to_binary(Text)).

%%% The machine and its software

%% Paragraphs on the run, and lines on the machine.
about(#{ms := Ms, quick := Quick}, Rows) ->
    Began = calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}]),
    Lasts = io_lib:format("Rates are those of ~b ms a round, other figures those of as many operations as bench/README.md says.", [Ms]),
    {
        [?BENCHMARK_OF ++ Began | ["A short run: its figures say little." || Quick] ++ [Lasts, rounds(Rows)]],
        [Line || Line <- machine(), Line =/= ""]
    }.

%% Parts may have numbers of rounds of their own.
rounds(Rows) ->
    Most = lists:foldl(
        fun(#row{part = Part, round = Round}, Seen) -> maps:update_with(Part, fun(N) -> max(N, Round) end, Round, Seen) end, #{}, Rows
    ),
    Texts = [
        [integer_to_list(N), " of ", lists:join(", ", lists:sort([atom_to_list(Part) || {Part, M} <- maps:to_list(Most), M =:= N]))]
     || N <- lists:reverse(lists:usort(maps:values(Most)))
    ],
    [?ROUNDS, lists:join("; ", Texts), ". On this machine:"].

summary({[Title | Texts], Machine}) ->
    ["# ", Title, "\n\n", [[Text, "\n\n"] || Text <- Texts], [["- ", Line, "\n"] || Line <- Machine], "\n"].

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
    case lists:member(Part, [memory, pause, reads, terms, lane]) of
        true when Part =:= reads; Part =:= lane ->
            Title = io_lib:format("## ~ts: ~ts, ~b at once, values of ~b bytes\n\n", [Part, Operation, Callers, Bytes]),
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
    Pattern = kv_bench_figures:pattern(Cell),
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
        kv_bench_figures:ratio(Pattern, Name, Rows),
        Median(p50),
        Median(p99),
        Median(server_ns),
        Median(client_ns)
    ].

%% Figures that are not rates: one line each.
plain(Cell, Rows) ->
    Pattern = kv_bench_figures:pattern(Cell),
    Metrics = lists:usort([Row#row.metric || Row <- rows_of(Pattern, Rows)]),
    columns(["", "", "min", "median", "max"], [
        [kv_bench_contender:title(Name), atom_to_list(Metric), kv_bench_figures:text(Min), kv_bench_figures:text(Mid), kv_bench_figures:text(Max)]
     || Name <- names(Pattern, Rows),
        Metric <- Metrics,
        {Min, Mid, Max} <- [kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => Metric}))]
    ]).

%% Nanoseconds or rates, and the ratio of local reads, or calls, to each.
compared(Cell, Rows) ->
    Pattern = kv_bench_figures:pattern(Cell),
    columns(["", "", "min", "median", "max", "kv is"], [
        [kv_bench_contender:title(Name), atom_to_list(Metric), kv_bench_figures:text(Min), kv_bench_figures:text(Mid), kv_bench_figures:text(Max), kv_bench_figures:times(Ratio)]
     || Name <- names(Pattern, Rows),
        Metric <- [ns, rate],
        {Min, Mid, Max} <- [kv_bench_figures:spread(kv_bench_figures:values(Rows, Pattern#{contender => Name, metric => Metric}))],
        Ratio <- [kv_bench_figures:spread(kv_bench_figures:ratios(Rows, Pattern#{metric => Metric}, local(Pattern), Name))]
    ]).

local(#{part := lane}) -> kv_lane;
local(_) -> kv_local.

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
