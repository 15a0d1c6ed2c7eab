%% @doc Shared by the suites: real VMs with an EPMD of their own, waiting for events with a deadline, and the check
%% that no operating system process is left behind.
%%
%% Every VM is started by `peer' and controlled over its standard input and output. So the node that runs the tests
%% takes no part in distribution, and a VM can be halted, stopped or killed without losing the suite.
-module(kv_test).

-export([start_suite/1, end_suite/1, start_case/1, end_case/1]).
-export([start_with_vm/1, start_with_kv/1, start_with_kv/2, end_with_vm/1, end_vm/1]).
-export([start_vm/1, start_vm/2, start_vm/3, start_undistributed_vm/2, stop_vm/1, vm_os_pid/1, in/2, in/3]).
-export([start_program/3, stop_program/1, start_kv/0, start_kv/1, proxy_state/1, wait/1, wait/2, patient/2, down/1, gone/1, attempt/1, outcome/1, mailbox/0, signal/2, is_os_process/1, milliseconds/1]).
-export([script/3, project/1, program/0, programs/1, registered_in_epmd/2, epmd_os_pids/1, free_port/0, report/2]).

-include_lib("common_test/include/ct.hrl").

-define(DEADLINE, 10000).
-define(POLL, 5).

%%% Suites and cases

%% Starts an EPMD on a port of its own. The shell between this VM and EPMD is a leash: EPMD ends when the standard
%% input of the shell does, however this VM ends.
start_suite(Config) ->
    Port = free_port(),
    Leash = spawn(fun() -> leash(Port) end),
    wait(fun() -> is_listening(Port) end),
    [{epmd_port, Port}, {epmd_leash, Leash} | Config].

leash(Port) ->
    Command = io_lib:format("~ts -port ~b -address 127.0.0.1 & epmd=$!; read line; kill $epmd", [epmd(), Port]),
    Shell = os:find_executable("sh"),
    _ = open_port({spawn_executable, Shell}, [{args, ["-c", lists:flatten(Command)]}, exit_status]),
    receive
        stop -> ok
    end.

epmd() ->
    Own = filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "bin", "epmd"]),
    case filelib:is_regular(Own) of
        true -> Own;
        false -> os:find_executable("epmd")
    end.

%% Fails if a case has left a C program running, after killing the program: one that a case has stopped cannot end by itself.
end_suite(Config) ->
    Ended = end_case(Config),
    ?config(epmd_leash, Config) ! stop,
    Port = ?config(epmd_port, Config),
    ok = wait(fun() -> not is_listening(Port) end),
    ok = Ended.

%% Gives each case a directory of its own. It is also the home of its VMs, with a cookie file in it.
start_case(Config) ->
    Home = filename:join(?config(priv_dir, Config), "home-" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = filelib:ensure_dir(filename:join(Home, "file")),
    [{home, Home} | Config].

%% Fails a case that leaves a C program running, after killing the program.
end_case(Config) ->
    try wait(fun() -> programs(Config) =:= [] end, 5000) of
        ok -> ok
    catch
        error:{deadline, _} ->
            Left = programs(Config),
            [signal("KILL", OsPid) || OsPid <- Left],
            {fail, {left_running, Left}}
    end.

%% Starts a case with a VM, as `vm' in its configuration.
start_with_vm(Config0) ->
    Config = start_case(Config0),
    [{vm, start_vm(Config)} | Config].

start_with_kv(Config) ->
    start_with_kv(Config, []).

%% Starts a case with a VM in which kv runs, with these values in its environment.
start_with_kv(Config0, Environment) ->
    Config = start_with_vm(Config0),
    ok = in(?config(vm, Config), fun() -> start_kv(Environment) end),
    Config.

%% Stops the VM of a case, and fails a case that leaves a C program running.
end_with_vm(Config) ->
    ok = end_vm(Config),
    end_case(Config).

%% Stops the VM of a case, if it still runs. For suites whose cases run side by side, where programs of other cases
%% are running.
end_vm(Config) ->
    _ = [stop_vm(Vm) || {vm, Vm} <- Config, is_process_alive(Vm)],
    ok.

%% Returns the C programs that use our EPMD: they have inherited its port in their environment.
programs(Config) ->
    Ours = "ERL_EPMD_PORT=" ++ integer_to_list(?config(epmd_port, Config)),
    [
        list_to_integer(OsPid)
     || OsPid <- filelib:wildcard("[0-9]*", "/proc"),
        file:read_file("/proc/" ++ OsPid ++ "/comm") =:= {ok, <<"kv_node\n">>},
        is_os_process(list_to_integer(OsPid)),
        has_variable(Ours, file:read_file("/proc/" ++ OsPid ++ "/environ"))
    ].

has_variable(Variable, {ok, Environment}) ->
    lists:member(list_to_binary(Variable), binary:split(Environment, <<0>>, [global]));
has_variable(_Variable, {error, _}) ->
    false.

%%% VMs

%% Starts a VM that is distributed under a loopback name.
start_vm(Config) ->
    start_vm(Config, []).

start_vm(Config, Arguments) ->
    Name = "vm" ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid(),
    start_vm(Config, Arguments, #{name => Name, host => "127.0.0.1", longnames => true}).

%% Starts a VM that is not distributed.
start_undistributed_vm(Config, Arguments) ->
    start_vm(Config, Arguments, #{}).

%% Options: more of peer's.
start_vm(Config, Arguments, Options) ->
    Home = ?config(home, Config),
    {ok, Vm, _Node} = peer:start(Options#{
        connection => standard_io,
        wait_boot => 30000,
        shutdown => close,
        args => ["-pa" | code:get_path()] ++ ["-kernel", "logger_level", "critical"] ++ Arguments,
        env => [
            {"ERL_EPMD_PORT", integer_to_list(?config(epmd_port, Config))},
            {"HOME", Home},
            {"ERL_CRASH_DUMP_SECONDS", "0"},
            {"ERL_FLAGS", ""}
        ]
    }),
    Vm.

stop_vm(Vm) ->
    peer:stop(Vm).

vm_os_pid(Vm) ->
    list_to_integer(peer:call(Vm, os, getpid, [])).

%% Runs a fun in a VM.
in(Vm, Fun) ->
    in(Vm, Fun, 60000).

in(Vm, Fun, Timeout) ->
    peer:call(Vm, erlang, apply, [Fun, []], Timeout).

%%% In a VM

start_kv() ->
    start_kv([]).

%% Starts the application with these values in its environment.
start_kv(Environment) ->
    _ = application:load(kv),
    [ok = application:set_env(kv, Key, Value) || {Key, Value} <- Environment],
    {ok, _} = application:ensure_all_started(kv),
    ok.

%% Returns the state that a proxy shows in a status report.
proxy_state(Proxy) ->
    {status, _, _, [_, running, _, _, Misc]} = sys:get_status(Proxy),
    [State] = [State || {data, [{"State", State}]} <- Misc],
    State.

%% Waits until Condition returns anything but false, and returns that value.
wait(Condition) ->
    wait(Condition, ?DEADLINE).

wait(Condition, Timeout) ->
    wait_until(Condition, erlang:monotonic_time(millisecond) + Timeout).

wait_until(Condition, Deadline) ->
    case Condition() of
        true -> ok;
        false ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true -> error({deadline, erlang:fun_info(Condition, name)});
                false -> timer:sleep(?POLL), wait_until(Condition, Deadline)
            end;
        Value -> Value
    end.

%% Asks until there is an answer, so many times more, 5 ms apart: a program that was killed comes back. Returns the answer.
patient(Ask, Left) ->
    try
        Ask()
    catch
        exit:_ when Left > 0 ->
            timer:sleep(5),
            patient(Ask, Left - 1)
    end.

%% Returns the reason in the DOWN of a monitor.
down(Monitor) ->
    receive
        {'DOWN', Monitor, process, _, Reason} -> Reason
    after ?DEADLINE -> error({no_down, Monitor})
    end.

%% Returns the result of Fun, or why there is none.
attempt(Fun) ->
    try
        Fun()
    catch
        _:Reason -> {failed, Reason}
    end.

%% Returns the result of a call, or why it exited.
outcome(Fun) ->
    try Fun() of
        Value -> {returned, Value}
    catch
        exit:{Reason, _} -> {exit, Reason}
    end.

%% Returns the messages that have arrived so far.
mailbox() ->
    receive
        Message -> [Message | mailbox()]
    after 0 -> []
    end.

%% Waits until an operating system process has ended.
gone(OsPid) ->
    wait(fun() -> not is_os_process(OsPid) end).

is_os_process(OsPid) ->
    case file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/stat") of
        {ok, Stat} ->
            [_, <<State, _/binary>>] = string:split(Stat, ") ", trailing),
            State =/= $Z andalso State =/= $X;
        {error, _} ->
            false
    end.

signal(Signal, OsPid) ->
    [] = os:cmd("kill -" ++ Signal ++ " " ++ integer_to_list(OsPid)),
    ok.

milliseconds(Fun) ->
    {Microseconds, _} = timer:tc(Fun),
    Microseconds / 1000.

%%% Programs and EPMD

%% Starts a program by hand, without a VM that owns it. The program belongs to a process that outlives the set-up of
%% the case. Adds `node' and `owner' to the configuration.
start_program(Config, Program, Cookie) ->
    ["--name", Name | _] = Arguments = kv_program:arguments("hand", ?config(epmd_port, Config)),
    Options = Arguments ++ ["--get-state", atom_to_list(kv_release:get_state())],
    Self = self(),
    Owner = spawn(fun() -> own_program(Self, Program, Options, Cookie) end),
    receive
        {Owner, ready} -> [{node, list_to_atom(Name)}, {owner, Owner} | Config]
    after 20000 -> error(not_ready)
    end.

own_program(Parent, Program, Options, Cookie) ->
    Port = open_port({spawn_executable, Program}, [{args, Options}, {line, 4096}, binary, exit_status]),
    true = port_command(Port, [Cookie, "\n"]),
    await_ready(Parent, Port),
    receive
        stop -> true = port_close(Port)
    end.

await_ready(Parent, Port) ->
    receive
        {Port, {data, {eol, <<"ready ", _/binary>>}}} -> Parent ! {self(), ready};
        {Port, {data, _}} -> await_ready(Parent, Port)
    end.

stop_program(Config) ->
    Monitor = monitor(process, ?config(owner, Config)),
    ?config(owner, Config) ! stop,
    normal = down(Monitor).

%% Returns the folder of the project, which has this file. The tests may run from a build directory inside of it.
project(File) ->
    project(code:lib_dir(kv), File).

project(Directory, File) ->
    case filelib:is_regular(filename:join(Directory, File)) of
        true -> Directory;
        false when Directory =/= "/" -> project(filename:dirname(Directory), File)
    end.

program() ->
    filename:join(code:priv_dir(kv), "kv_node").

%% Writes a shell script that replaces the C program.
script(Config, Name, Lines) ->
    Path = filename:join(?config(home, Config), Name),
    ok = file:write_file(Path, ["#!/bin/sh\n", [[Line, "\n"] || Line <- Lines]]),
    ok = file:change_mode(Path, 8#755),
    Path.

%% Returns true if EPMD has the name. EPMD lists a node until it has seen the end of the connection to it.
registered_in_epmd(Config, Node) ->
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, ?config(epmd_port, Config), [binary, {active, false}]),
    ok = gen_tcp:send(Socket, [<<(length(Alive) + 1):16, $z>>, Alive]),
    Answer = gen_tcp:recv(Socket, 2),
    ok = gen_tcp:close(Socket),
    case Answer of
        {ok, <<119, 0>>} -> true;
        {ok, <<119, _>>} -> false
    end.

%% Returns the EPMDs that were started for a port.
epmd_os_pids(Port) ->
    [
        list_to_integer(OsPid)
     || OsPid <- filelib:wildcard("[0-9]*", "/proc"),
        {ok, Line} <- [file:read_file("/proc/" ++ OsPid ++ "/cmdline")],
        %% VMs have the port in their arguments, too, and may be about to end.
        [Program | Arguments] <- [binary:split(Line, <<0>>, [global])],
        filename:basename(Program) =:= <<"epmd">>,
        lists:member(integer_to_binary(Port), Arguments)
    ].

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

is_listening(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]) of
        {ok, Socket} ->
            Answer = case gen_tcp:send(Socket, <<1:16, $n>>) of ok -> gen_tcp:recv(Socket, 4, 1000); Closed -> Closed end,
            ok = gen_tcp:close(Socket),
            Answer =:= {ok, <<Port:32>>};
        {error, _} ->
            false
    end.

%% Shows the times of repeated runs, in milliseconds.
report(What, Times) ->
    Sorted = lists:sort(Times),
    Median = lists:nth((length(Sorted) + 1) div 2, Sorted),
    ct:pal("~ts: ~b times, min ~.1f, median ~.1f, max ~.1f ms", [
        What, length(Sorted), float(hd(Sorted)), float(Median), float(lists:last(Sorted))
    ]).
