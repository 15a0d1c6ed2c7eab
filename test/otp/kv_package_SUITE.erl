%% @doc The Debian package of the node as a service: built, looked at by lintian, listed and unpacked. `make deb-check' installs
%% it, too, which needs root and a Debian of its own.
-module(kv_package_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {minutes, 5}}].

all() ->
    [
        it_holds_the_program_and_what_a_service_needs,
        it_names_the_packages_that_the_program_needs,
        it_takes_what_the_program_loads_at_run_time_as_a_suggestion,
        what_it_unpacks_runs,
        its_service_waits_for_a_configuration
    ].

%% lintian is a part of the building: any fault fails it.
init_per_suite(Config) ->
    Missing = [Name || Name <- ["dh", "lintian", "dpkg-deb"], os:find_executable(Name) =:= false],
    case {os:getenv("KV_PREBUILT"), Missing} of
        {false, []} -> built(Config);
        _ -> {skip, "no package is built here: this needs debhelper and lintian"}
    end.

built(Config) ->
    {0, Lines} = run(filename:join(kv_test:project("scripts/deb"), "scripts/deb"), ["quick"]),
    [{package, lists:last(Lines)} | Config].

end_per_suite(_Config) -> ok.

it_holds_the_program_and_what_a_service_needs(Config) ->
    {0, Lines} = run("dpkg-deb", ["--contents", ?config(package, Config)]),
    Files = [{Mode, Path} || Line <- Lines, [Mode, "root/root", _, _, _, "." ++ Path] <- [string:lexemes(Line, " ")]],
    Doc = "/usr/share/doc/kv-node/",
    ?assertEqual(
        lists:sort([
            {"-rw-r--r--", "/lib/systemd/system/kv_node.service"},
            {"-rw-r--r--", "/usr/share/man/man1/kv_node.1.gz"},
            {"-rwxr-xr-x", "/usr/bin/kv_node"},
            {"drwxr-xr-x", "/etc/kv/"}
            | [
                {"-rw-r--r--", Doc ++ Name}
             || Name <- [
                    "README.Debian", "README.md.gz", "SECURITY.md.gz", "changelog.Debian.gz", "changelog.gz", "copyright",
                    "examples/node.conf", "operating.md.gz", "standalone.md.gz"
                ]
            ]
        ]),
        lists:sort([File || {_, Path} = File <- Files, Path =:= "/etc/kv/" orelse lists:last(Path) =/= $/])
    ).

field(Config, Name) ->
    {0, Lines} = run("dpkg-deb", ["--field", ?config(package, Config), Name]),
    lists:append(Lines).

it_names_the_packages_that_the_program_needs(Config) ->
    _ = application:load(kv),
    {ok, Version} = application:get_key(kv, vsn),
    ?assertEqual(Version, hd(string:split(field(Config, "Version"), "-"))),
    Needs = field(Config, "Depends"),
    [?assertMatch({match, _}, re:run(Needs, Name ++ "\\b"), Needs) || Name <- ["adduser", "libc6", "libuv1", "libssl3"]],
    ?assertEqual("erlang-base, libseccomp2", field(Config, "Recommends")).

it_takes_what_the_program_loads_at_run_time_as_a_suggestion(Config) ->
    ?assertEqual(nomatch, string:find(field(Config, "Depends"), "microhttpd")),
    ?assertNotEqual(nomatch, string:find(field(Config, "Suggests"), "libmicrohttpd12")).

unpacked(Config) ->
    To = filename:join(?config(priv_dir, Config), "unpacked"),
    {0, _} = run("dpkg-deb", ["--extract", ?config(package, Config), To]),
    To.

%% The example of a configuration lacks nothing but a cookie.
what_it_unpacks_runs(Config) ->
    To = unpacked(Config),
    Program = To ++ "/usr/bin/kv_node",
    {ok, Version} = application:get_key(kv, vsn),
    ?assertEqual({0, ["kv_node " ++ Version]}, run(Program, ["--version"])),
    Conf = To ++ "/usr/share/doc/kv-node/examples/node.conf",
    {_, Lines} = run(Program, ["--config", Conf, "--check-config"]),
    ?assertEqual(
        ["options     ok: " ++ Conf, "cookie      would fail (no_cookie): the cookie file /etc/kv/cookie cannot be read: No such file or directory"],
        lists:sublist(Lines, 2)
    ).

its_service_waits_for_a_configuration(Config) ->
    {ok, Unit} = file:read_file(unpacked(Config) ++ "/lib/systemd/system/kv_node.service"),
    [
        ?assertMatch({match, _}, re:run(Unit, ["^", Line, "$"], [multiline]), Line)
     || Line <- [
            "ConditionPathExists=/etc/kv/node.conf", "User=kv", "StateDirectory=kv",
            "ExecStart=/usr/bin/kv_node --no-leash --config /etc/kv/node.conf"
        ]
    ].

%%% Running

run(Name, Arguments) ->
    Program = case lists:member($/, Name) of
        true -> Name;
        false -> os:find_executable(Name)
    end,
    Port = open_port({spawn_executable, Program}, [{args, Arguments}, exit_status, stderr_to_stdout, {line, 4000}]),
    {Status, Lines} = await(Port, []),
    ct:log("~ts ~tp~n~ts", [Name, Arguments, lists:join("\n", Lines)]),
    {Status, Lines}.

await(Port, Lines) ->
    receive
        {Port, {data, {_, Line}}} -> await(Port, [Line | Lines]);
        {Port, {exit_status, Status}} -> {Status, lists:reverse(Lines)}
    end.
