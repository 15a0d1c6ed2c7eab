%% @doc Operating system processes: starts and ends those of contenders, and reads the system's accounts of them.
-module(kv_bench_os).

-export([start/2, start/3, stop/1, os_pid/1, port/1, free_port/0, await_port/1, await_end/1, beside/1, run/2]).
-export([processor_ns/1, memory/1, text/1]).

-export_type([program/0]).

-opaque program() :: #{holder := pid(), os_pid := pos_integer(), port := inet:port_number()}.

-define(DEADLINE, 10000).

%% @doc Runs a program that will listen on this port of the loopback, and waits until it does. The shell that starts it is a
%% leash: the program ends with this VM at the latest. It runs in the current directory.
-spec start([string()], inet:port_number()) -> program().
start(Command, Port) ->
    start(Command, Port, "").

%% @doc The same, with a line for its standard input.
-spec start([string()], inet:port_number(), string()) -> program().
start(Command, Port, Input) ->
    Caller = self(),
    {Holder, Monitor} = spawn_monitor(fun() -> hold(Caller, Command, Input) end),
    receive
        {Holder, OsPid} ->
            true = demonitor(Monitor, [flush]),
            ok = await_port(Port),
            #{holder => Holder, os_pid => OsPid, port => Port};
        {'DOWN', Monitor, process, Holder, Reason} ->
            error({not_started, Command, Reason})
    end.

hold(Caller, [Program | Arguments], Input) ->
    Script =
        "IFS= read -r input; exec 3<&0; "
        "printf '%s\\n' \"$input\" | \"$0\" \"$@\" >/dev/null & echo $!; cat <&3 >/dev/null; kill $!; wait $!",
    Shell = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Script, Program | Arguments]}, {line, 100}]),
    true = port_command(Shell, [Input, $\n]),
    receive
        {Shell, {data, {eol, OsPid}}} -> Caller ! {self(), list_to_integer(OsPid)}
    end,
    receive
        {stop, From} ->
            true = port_close(Shell),
            From ! {self(), stopped}
    end.

%% @doc Ends a program, and waits until it is gone.
-spec stop(program()) -> ok.
stop(#{holder := Holder, os_pid := OsPid}) ->
    Holder ! {stop, self()},
    receive
        {Holder, stopped} -> await_end(OsPid)
    end.

%% @doc Waits until a process is gone.
-spec await_end(pos_integer()) -> ok.
await_end(OsPid) ->
    until(fun() -> not filelib:is_dir(proc(OsPid)) end).

-spec os_pid(program()) -> pos_integer().
os_pid(#{os_pid := OsPid}) -> OsPid.

-spec port(program()) -> inet:port_number().
port(#{port := Port}) -> Port.

-spec free_port() -> inet:port_number().
free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

%% @doc Waits until a process listens there.
-spec await_port(inet:port_number()) -> ok.
await_port(Port) ->
    until(fun() -> listens(Port) end).

listens(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            true;
        {error, _} ->
            false
    end.

until(Condition) ->
    until(Condition, erlang:monotonic_time(millisecond) + ?DEADLINE).

until(Condition, Deadline) ->
    case {Condition(), erlang:monotonic_time(millisecond) > Deadline} of
        {true, _} ->
            ok;
        {false, true} ->
            error(deadline);
        {false, false} ->
            timer:sleep(10),
            until(Condition, Deadline)
    end.

%% @doc Nanoseconds of processor time of all threads of a process. Reads the scheduler's account, because times(2) counts
%% in ticks of 10 ms. Asks no process, not even the file server: all may be busy with calls.
-spec processor_ns(pos_integer()) -> non_neg_integer().
processor_ns(OsPid) ->
    Tasks = proc(OsPid) ++ "/task/",
    {ok, Threads} = prim_file:list_dir(Tasks),
    lists:sum([thread_ns(Tasks ++ Thread ++ "/schedstat") || Thread <- Threads]).

thread_ns(File) ->
    case prim_file:read_file(File) of
        {ok, Figures} -> binary_to_integer(hd(binary:split(Figures, <<" ">>)));
        {error, _} -> 0
    end.

%% @doc Resident bytes of a process, now and at the peak.
-spec memory(pos_integer()) -> #{resident := non_neg_integer(), peak := non_neg_integer()}.
memory(OsPid) ->
    {ok, Status} = file:read_file(proc(OsPid) ++ "/status"),
    #{resident => kilobytes(Status, "VmRSS"), peak => kilobytes(Status, "VmHWM")}.

kilobytes(Status, Field) ->
    {match, [Number]} = re:run(Status, Field ++ ":\\s*([0-9]+) kB", [{capture, all_but_first, list}]),
    1024 * list_to_integer(Number).

proc(OsPid) ->
    "/proc/" ++ integer_to_list(OsPid).

%% @doc The path of a program that was built for the benchmark.
-spec beside(string()) -> file:filename().
beside(Program) ->
    filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), Program).

%% @doc Runs such a program to its end, and returns the lines that it prints.
-spec run(string(), [iodata()]) -> [string()].
run(Program, Arguments) ->
    Port = open_port({spawn_executable, beside(Program)}, [{args, Arguments}, {line, 1000}, exit_status]),
    lines(Port, Program).

lines(Port, Program) ->
    receive
        {Port, {data, {eol, Line}}} -> [Line | lines(Port, Program)];
        {Port, {exit_status, 0}} -> [];
        {Port, {exit_status, Status}} -> error({ended, Program, Status})
    end.

%% @doc The output of a command, without the newline at the end.
-spec text(string()) -> string().
text(Command) ->
    string:trim(os:cmd(Command)).
