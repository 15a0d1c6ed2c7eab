%% @doc The scripts that run tests and checks: what fails is named, and two first runs do not disturb each other. The programs
%% that these scripts call are stand-ins, first in their PATH. The last case builds a copy of the tree.
-module(kv_scripts_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_part_that_fails_is_named_with_its_last_words_and_its_log,
        failed_tests_of_c_and_of_elixir_are_named,
        a_run_without_a_failure_ends_with_the_numbers_alone,
        of_two_first_runs_one_builds_the_table_of_dialyzer,
        a_table_of_dialyzer_that_cannot_be_built_says_why,
        dialyzer_never_fails_without_a_word,
        kv_builds_runs_and_installs_below_a_folder_of_any_name
    ].

%% A tree that has the scripts, and a folder for the stand-ins.
init_per_testcase(Case, Config) ->
    Tree = filename:join(?config(priv_dir, Config), Case),
    Scripts = filename:join(kv_test:project("scripts/dialyzer"), "scripts"),
    [
        begin
            To = filename:join([Tree, "scripts", Name]),
            ok = filelib:ensure_dir(To),
            {ok, _} = file:copy(filename:join(Scripts, Name), To),
            ok = file:change_mode(To, 8#755)
        end
     || Name <- ["test", "dialyzer", "with-epmd"]
    ],
    [{tree, Tree} | Config].

end_per_testcase(_Case, _Config) -> ok.

%%% scripts/test

a_part_that_fails_is_named_with_its_last_words_and_its_log(Config) ->
    stand_in(Config, "make", "echo the table is askew; exit 3"),
    {Status, Said} = run(Config, "scripts/test", ["lint"]),
    ?assertEqual(1, Status),
    ?assertEqual(
        [
            "== what failed",
            "lint: 1 failed, status 3; the output is in _build/test-logs/lint.log",
            "    the table is askew",
            "0 passed, 1 failed"
        ],
        last(4, Said)
    ),
    {ok, Log} = file:read_file(filename:join(?config(tree, Config), "_build/test-logs/lint.log")),
    ?assertEqual(<<"the table is askew\n">>, Log).

failed_tests_of_c_and_of_elixir_are_named(Config) ->
    stand_in(Config, "make",
        "echo '[FAIL] store::it_grows: (0.00s)'; echo '[====] Synthesis: Tested: 3 | Passing: 2 | Failing: 1'; exit 1"),
    stand_in(Config, "mix", "echo '  1) test a bucket holds (KV.SomeTest)'; echo '3 tests, 1 failure'; exit 2"),
    {1, Said} = run(Config, "scripts/test", ["c"]),
    ?assertEqual(["    store::it_grows", "2 passed, 1 failed"], last(2, Said)),
    stand_in(Config, "scripts/with-epmd", "exec \"$@\""),
    {1, Elixir} = run(Config, "scripts/test", ["elixir"]),
    ?assertMatch(["    test a bucket holds (KV.SomeTest)", _], last(2, Elixir)).

a_run_without_a_failure_ends_with_the_numbers_alone(Config) ->
    stand_in(Config, "make", "echo all is well"),
    ?assertEqual({0, ["== lint", "all is well", "1 passed, 0 failed"]}, run(Config, "scripts/test", ["lint"])).

%%% scripts/dialyzer

of_two_first_runs_one_builds_the_table_of_dialyzer(Config) ->
    stand_ins_of_dialyzer(Config, "echo built >>\"$KV_TREE/builds\"; read -r go <\"$KV_TREE/gate\"; echo table >\"$3\""),
    Gate = filename:join(?config(tree, Config), "gate"),
    "" = os:cmd("mkfifo '" ++ Gate ++ "'"),
    Ports = [start(Config, "scripts/dialyzer", []) || _ <- [1, 2]],
    %% The run that builds waits here: only an open gate has a reader.
    ok = file:write_file(Gate, <<"go\n">>),
    ?assertEqual([0, 0], [element(1, await(Port, [])) || Port <- Ports]),
    ?assertEqual({ok, <<"built\n">>}, file:read_file(filename:join(?config(tree, Config), "builds"))).

a_table_of_dialyzer_that_cannot_be_built_says_why(Config) ->
    stand_ins_of_dialyzer(Config, "echo no memory left; exit 1"),
    {Status, Said} = run(Config, "scripts/dialyzer", []),
    ?assertEqual(1, Status),
    ?assert(lists:member("no memory left", Said)),
    ?assertNotEqual(nomatch, string:find(lists:last(Said), "--build_plt ended with status 1; its output is in ")).

dialyzer_never_fails_without_a_word(Config) ->
    stand_ins_of_dialyzer(Config, "echo table >\"$3\""),
    stand_in(Config, "mix", "touch \"$KV_TREE/analysed\""),
    {Status, Said} = run(Config, "scripts/dialyzer", []),
    ?assertEqual(2, Status),
    ?assertEqual(["Unknown types: x:y/0", "scripts/dialyzer: dialyzer ended with status 2"], last(2, Said)).

stand_ins_of_dialyzer(Config, Build) ->
    stand_in(Config, "elixir", "printf some"),
    stand_in(Config, "mix", ":"),
    stand_in(Config, "dialyzer", [
        "if [ \"$1\" = --build_plt ]; then ", Build, "\n",
        "elif [ -e \"$KV_TREE/analysed\" ]; then echo 'Unknown types: x:y/0'; exit 2; fi"
    ]).

%%% Building

kv_builds_runs_and_installs_below_a_folder_of_any_name() -> [{timetrap, {minutes, 5}}].

kv_builds_runs_and_installs_below_a_folder_of_any_name(Config) ->
    case {os:getenv("KV_PREBUILT"), os:find_executable("mix")} of
        {false, Mix} when is_list(Mix) -> build(filename:join(?config(tree, Config), "a b:c'd \"e"));
        _ -> {skip, "nothing is built here"}
    end.

build(Folder) ->
    ok = filelib:ensure_dir(filename:join(Folder, "priv/file")),
    Names = ["Makefile", "mix.exs", "rebar.config", "c_src", "include", "src", "lib", "scripts", "examples", "man", "etc"],
    Project = kv_test:project("scripts/dialyzer"),
    {0, _} = command("cp", ["-R"] ++ [filename:join(Project, Name) || Name <- Names] ++ [Folder], Folder),
    Asked = "KV.Registry.create(KV.Registry, \"a\"); {:ok, b} = KV.Registry.lookup(KV.Registry, \"a\"); IO.puts(KV.Bucket.put(b, 1, 2))",
    {0, Said} = command("sh", ["-c", "echo '" ++ Asked ++ "' | scripts/run"], Folder),
    ?assertEqual("ok", lists:last(Said)),
    {0, _} = command("make", ["-C", "c_src", "install", "DESTDIR=" ++ filename:join(Folder, "x y"), "PREFIX=/usr"], Folder),
    ?assert(filelib:is_regular(filename:join(Folder, "x y/usr/bin/kv_node"))),
    Program = filename:join(Folder, "the counter"),
    {0, _} = command("make", ["-C", "examples/counter", "PROGRAM=" ++ Program], Folder),
    ?assert(filelib:is_regular(Program)),
    ok = file:del_dir_r(Folder).

%% Without optimisation, which takes most of the time.
command(Name, Arguments, Folder) ->
    Port = open_port({spawn_executable, os:find_executable(Name)}, [
        {args, Arguments}, {cd, Folder}, exit_status, stderr_to_stdout, {line, 1000},
        {env, [{"CFLAGS", "-O0"}, {"LTO", ""}, {"MAKEFLAGS", "-j2"}, {"MIX_ENV", "dev"}]}
    ]),
    {Status, Said} = await(Port, []),
    ct:log("~ts", [lists:join("\n", Said)]),
    {Status, Said}.

%%% Running

%% A name with a slash is a script of the tree, any other a program in the PATH.
stand_in(Config, Name, Script) ->
    Place = case lists:member($/, Name) of
        true -> Name;
        false -> filename:join("bin", Name)
    end,
    File = filename:join(?config(tree, Config), Place),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, ["#!/bin/sh\n", Script, "\n"]),
    ok = file:change_mode(File, 8#755).

run(Config, Script, Arguments) ->
    await(start(Config, Script, Arguments), []).

start(Config, Script, Arguments) ->
    Tree = ?config(tree, Config),
    open_port({spawn_executable, filename:join(Tree, Script)}, [
        {args, Arguments}, {cd, Tree}, exit_status, stderr_to_stdout, {line, 1000},
        {env, [
            {"PATH", filename:join(Tree, "bin") ++ ":" ++ os:getenv("PATH")},
            {"XDG_CACHE_HOME", filename:join(Tree, "cache")},
            {"KV_TREE", Tree}
        ]}
    ]).

%% Returns the status and the lines, without those that are empty.
await(Port, Lines) ->
    receive
        {Port, {data, {_, ""}}} -> await(Port, Lines);
        {Port, {data, {_, Line}}} -> await(Port, [Line | Lines]);
        {Port, {exit_status, Status}} -> {Status, lists:reverse(Lines)}
    end.

last(N, Lines) -> lists:nthtail(max(0, length(Lines) - N), Lines).
