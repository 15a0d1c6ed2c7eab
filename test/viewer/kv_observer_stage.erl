%% @doc The environment of Observer: a virtual display, VMs with a home and an EPMD of their own, and the check that
%% nothing of them is left.
-module(kv_observer_stage).

-export([missing/0, start_display/1, stop_display/1, start_vm/1, observer_version/0, left_running/1]).

-include_lib("common_test/include/ct.hrl").

-define(SCREEN, "1100x620x24").
-define(START, 20000).

%% Returns what is not installed, by the names of Debian's packages.
missing() ->
    Programs = [{"Xvfb", "xvfb"}, {"xdotool", "xdotool"}],
    Modules = [{observer_wx, "erlang-observer"}, {wx, "erlang-wx"}],
    [Package || {Program, Package} <- Programs, os:find_executable(Program) =:= false] ++
        [Package || {Module, Package} <- Modules, code:which(Module) =:= non_existing].

observer_version() ->
    _ = application:load(observer),
    {ok, Version} = application:get_key(observer, vsn),
    Version.

%% Xvfb takes a free display and reports its number. Xvfb ends when its standard input does.
start_display(Config) ->
    Command = "Xvfb -displayfd 1 -screen 0 " ?SCREEN " -nolisten tcp 2>/dev/null & x=$!; read line; kill $x",
    Caller = self(),
    Holder = spawn(fun() ->
        Options = [{args, ["-c", Command]}, {line, 100}, {env, environment(Config)}],
        Port = open_port({spawn_executable, "/bin/sh"}, Options),
        receive
            {Port, {data, {eol, Display}}} -> Caller ! {self(), Display}
        end,
        receive
            stop -> port_close(Port)
        end
    end),
    receive
        {Holder, Display} -> [{display, ":" ++ Display}, {display_holder, Holder} | Config]
    after ?START -> error(no_display)
    end.

stop_display(Config) ->
    ?config(display_holder, Config) ! stop.

%% Starts a distributed VM. Messages of GTK go to a file. The VM uses nothing of the user's session, and no D-Bus.
start_vm(Config) ->
    Name = "vm" ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid(),
    Stderr = filename:join(?config(home, Config), Name ++ ".stderr"),
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    {ok, Vm, _Node} = peer:start(#{
        name => Name,
        host => "127.0.0.1",
        longnames => true,
        connection => standard_io,
        wait_boot => 30000,
        shutdown => close,
        exec => {"/bin/sh", ["-c", "exec \"$0\" \"$@\" 2>>'" ++ Stderr ++ "'", Erl]},
        args => ["-pa" | code:get_path()] ++ ["-kernel", "logger_level", "critical"],
        env => environment(Config)
    }),
    Vm.

environment(Config) ->
    [
        {"ERL_EPMD_PORT", port_of_epmd(Config)},
        {"HOME", ?config(home, Config)},
        {"DISPLAY", proplists:get_value(display, Config, "")},
        {"GDK_BACKEND", "x11"},
        {"GSETTINGS_BACKEND", "memory"},
        {"NO_AT_BRIDGE", "1"},
        {"DBUS_SESSION_BUS_ADDRESS", "disabled:"},
        {"ERL_CRASH_DUMP_SECONDS", "0"},
        {"ERL_FLAGS", ""}
        | [{Name, false} || Name <- ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "WAYLAND_DISPLAY", "GTK_THEME"]]
    ].

port_of_epmd(Config) ->
    integer_to_list(?config(epmd_port, Config)).

%% Returns {Number, Name} of the operating system processes that have our EPMD's port in their environment.
left_running(Config) ->
    Ours = list_to_binary("ERL_EPMD_PORT=" ++ port_of_epmd(Config)),
    [
        {list_to_integer(OsPid), string:trim(Name)}
     || OsPid <- filelib:wildcard("[0-9]*", "/proc"),
        {ok, Environment} <- [file:read_file("/proc/" ++ OsPid ++ "/environ")],
        lists:member(Ours, binary:split(Environment, <<0>>, [global])),
        {ok, Name} <- [file:read_file("/proc/" ++ OsPid ++ "/comm")],
        kv_test:is_os_process(list_to_integer(OsPid))
    ].
