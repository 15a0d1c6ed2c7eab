%% Runs the C program and EPMD for tests. Each of them ends with its owner, because the owner holds the pipe to its
%% standard input.
-module(kv_program).

-export([arguments/2, start/1, start/2, run/2, shell/2, await_ready/1, await_line/2, await_exit/1, stop/1]).
-export([start_epmd/0, start_epmd/1, stop_epmd/1, epmd_port_of/2, free_port/0]).
-export([os_pid/1, is_alive/1, kill/2, until/1, program/0]).

-define(DEADLINE, 20000).

-type program() :: #{
    port := port(),
    os_pid := integer(),
    tcp_port => inet:port_number(),
    creation => non_neg_integer(),
    name => string(),
    version => string()
}.
-type epmd() :: #{holder := pid(), port := inet:port_number(), os_pid := integer()}.

-export_type([program/0, epmd/0]).

%% ---- the program ----------------------------------------------------------------------------

%% KV_NODE_PROGRAM lets the tests run against another build, such as one with sanitizers.
-spec program() -> file:filename().
program() ->
    case os:getenv("KV_NODE_PROGRAM") of
        false -> filename:join(code:priv_dir(kv), "kv_node");
        Path -> Path
    end.

%% A name that begins with Prefix and that no other test uses, and the port of EPMD.
-spec arguments(string(), inet:port_number()) -> [string()].
arguments(Prefix, EpmdPort) ->
    Name = Prefix ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid() ++ "@127.0.0.1",
    ["--name", Name, "--epmd-port", integer_to_list(EpmdPort)].

%% Starts the program with the cookie "secret", and waits until it is ready.
-spec start([string()]) -> program().
start(Arguments) ->
    start(Arguments, "secret\n").

-spec start([string()], iodata()) -> program().
start(Arguments, Input) ->
    await_ready(run(Arguments, Input)).

%% Starts the program. Its output is for await_line/2 and await_exit/1.
-spec run([string()], iodata()) -> program().
run(Arguments, Input) ->
    open({spawn_executable, program()}, [{args, Arguments}], Input).

%% Starts a shell that runs a script in which $0 is the program.
-spec shell(string(), iodata()) -> program().
shell(Script, Input) ->
    open({spawn_executable, "/bin/sh"}, [{args, ["-c", Script, program()]}], Input).

open(What, Options, Input) ->
    Port = open_port(What, [{line, 4096}, binary, exit_status, use_stdio | Options]),
    OsPid = os_pid(Port),
    true = port_command(Port, Input),
    #{port => Port, os_pid => OsPid}.

-spec os_pid(port()) -> integer().
os_pid(Port) ->
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    OsPid.

-spec await_ready(program()) -> program().
await_ready(Program) ->
    "ready " ++ Fields = await_line(Program, "ready "),
    Pairs = [list_to_tuple(string:split(Field, "=")) || Field <- string:lexemes(Fields, " ")],
    #{"name" := Name, "port" := Port, "creation" := Creation, "version" := Version} =
        maps:from_list(Pairs),
    Program#{
        name => Name,
        tcp_port => list_to_integer(Port),
        creation => list_to_integer(Creation),
        version => Version
    }.

%% Returns the next line that contains Part, and drops the lines before it.
-spec await_line(program(), string()) -> string().
await_line(#{port := Port} = Program, Part) ->
    receive
        {Port, {data, {eol, Bytes}}} ->
            Line = binary_to_list(Bytes),
            case string:find(Line, Part) of
                nomatch -> await_line(Program, Part);
                _ -> Line
            end;
        {Port, {exit_status, Status}} ->
            error({ended_before_line, Part, Status})
    after ?DEADLINE -> error({no_line, Part})
    end.

%% Returns the exit status and the last line, if there was one.
-spec await_exit(program()) -> {integer(), string()}.
await_exit(Program) ->
    await_exit(Program, "").

await_exit(#{port := Port} = Program, Last) ->
    receive
        {Port, {data, {eol, Line}}} -> await_exit(Program, binary_to_list(Line));
        {Port, {exit_status, Status}} -> {Status, Last}
    after ?DEADLINE -> error({still_running, Last})
    end.

%% Closes the port of the program and waits until the program is gone.
-spec stop(program()) -> ok.
stop(#{port := Port, os_pid := OsPid}) ->
    ok = close(Port),
    until(fun() -> not is_alive(OsPid) end).

%% The port of a program that has ended may be closed already.
close(Port) ->
    try port_close(Port) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% ---- operating system processes -------------------------------------------------------------

-spec is_alive(integer()) -> boolean().
is_alive(OsPid) ->
    filelib:is_dir("/proc/" ++ integer_to_list(OsPid)).

-spec kill(integer(), string()) -> ok.
kill(OsPid, Signal) ->
    "" = os:cmd("kill -" ++ Signal ++ " " ++ integer_to_list(OsPid)),
    ok.

%% Polls until Condition returns true.
-spec until(fun(() -> boolean())) -> ok.
until(Condition) ->
    until(Condition, erlang:monotonic_time(millisecond) + ?DEADLINE).

until(Condition, Deadline) ->
    case {Condition(), erlang:monotonic_time(millisecond) > Deadline} of
        {true, _} ->
            ok;
        {false, true} ->
            error(did_not_happen);
        {false, false} ->
            receive
            after 20 -> until(Condition, Deadline)
            end
    end.

%% ---- EPMD -----------------------------------------------------------------------------------

-spec start_epmd() -> epmd().
start_epmd() ->
    start_epmd(free_port()).

%% Starts an EPMD that ends with this VM at the latest. Returns once it answers.
-spec start_epmd(inet:port_number()) -> epmd().
start_epmd(Port) ->
    Caller = self(),
    {Holder, Monitor} = spawn_monitor(fun() -> hold_epmd(Caller, Port) end),
    receive
        {Holder, OsPid} ->
            true = demonitor(Monitor, [flush]),
            ok = until(fun() -> epmd_answers(Port) end),
            #{holder => Holder, port => Port, os_pid => OsPid};
        {'DOWN', Monitor, process, Holder, Reason} ->
            error({no_epmd, Reason})
    end.

hold_epmd(Caller, Port) ->
    Script =
        "exec 3<&0; epmd -address 127.0.0.1 -port \"$0\" </dev/null 2>/dev/null & echo $!; "
        "cat <&3 >/dev/null; kill -9 $!",
    Shell = open_port(
        {spawn_executable, "/bin/sh"},
        [{args, ["-c", Script, integer_to_list(Port)]}, {line, 100}, exit_status]
    ),
    receive
        {Shell, {data, {eol, OsPid}}} -> Caller ! {self(), list_to_integer(OsPid)}
    end,
    receive
        stop -> port_close(Shell)
    end.

-spec stop_epmd(epmd()) -> ok.
stop_epmd(#{holder := Holder, os_pid := OsPid}) ->
    Holder ! stop,
    until(fun() -> not is_alive(OsPid) end).

epmd_answers(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            true;
        {error, _} ->
            false
    end.

%% Returns the port that an EPMD has for a node, or unknown if it has none or does not answer.
-spec epmd_port_of(inet:port_number(), string()) -> inet:port_number() | unknown.
epmd_port_of(EpmdPort, Alive) ->
    case gen_tcp:connect({127, 0, 0, 1}, EpmdPort, [binary, {active, false}]) of
        {ok, Socket} ->
            ok = gen_tcp:send(Socket, [<<(length(Alive) + 1):16, 122>>, Alive]),
            Answer = gen_tcp:recv(Socket, 0, ?DEADLINE),
            ok = gen_tcp:close(Socket),
            port_in(Answer);
        {error, _} ->
            unknown
    end.

port_in({ok, <<119, 0, Port:16, _/binary>>}) -> Port;
port_in(_) -> unknown.

-spec free_port() -> inet:port_number().
free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
