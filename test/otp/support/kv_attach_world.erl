%% @doc Shared by the suites of attached VMs: the program without a leash, and VMs with names under which they come back.
-module(kv_attach_world).

-include_lib("common_test/include/ct.hrl").

-export([start_case/1, end_case/1, node/1, start_node/1, start_node/2, start_node/3]).
-export([start_vm/1, start_vm/2, start_vm/3, start_plain_vm/1, vm_options/1, kill_vm/1, refusal/1, refusal/3]).
-export([replace_facts/1, await_state/1, hide_from/1, show_to/1, patient/1, keep/1, hear_of_losses/0, losses/0]).

-compile({no_auto_import, [node/1]}).

-define(DEADLINE, 60000).

%%% Cases

%% Each case has a node name of its own. The programs that it starts are listed in a file, since they outlive their ports.
start_case(Config0) ->
    Config = kv_test:start_case(Config0),
    Id = integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid(),
    [{id, Id}, {node, "hand" ++ Id ++ "@127.0.0.1"} | Config].

end_case(Config) ->
    _ = [end_program(OsPid) || OsPid <- listed(Config, "programs")],
    _ = [end_program(OsPid) || OsPid <- listed(Config, "vms")],
    ok.

end_program(OsPid) ->
    _ = os:cmd("kill -KILL " ++ OsPid ++ " 2>&1"),
    kv_test:gone(list_to_integer(OsPid)).

listed(Config, Kind) ->
    case file:read_file(list(Config, Kind)) of
        {ok, Lines} -> string:lexemes(binary_to_list(Lines), "\n");
        {error, enoent} -> []
    end.

note(Config, Kind, OsPid) ->
    ok = file:write_file(list(Config, Kind), [integer_to_list(OsPid), "\n"], [append]).

list(Config, Kind) -> filename:join(?config(home, Config), Kind).

node(Config) -> list_to_atom(?config(node, Config)).

%%% The program

start_node(Config) ->
    start_node(Config, []).

start_node(Config, Arguments) ->
    start_node(Config, Arguments, kv_program:program()).

%% Options of the case come first, so they count. Another program has the place of the usual one.
start_node(Config, Arguments, Path) ->
    Own = [
        "--no-leash", "--name", ?config(node, Config), "--epmd-port", integer_to_list(?config(epmd_port, Config)),
        "--zeros", atom_to_list(kv_release:zeros()), "--get-state", atom_to_list(kv_release:get_state())
    ],
    Script = "exec '" ++ Path ++ "' " ++ lists:join(" ", ["'" ++ One ++ "'" || One <- Arguments ++ Own]),
    Program = #{os_pid := OsPid} = kv_program:shell(lists:flatten(Script), "secret\n"),
    ok = note(Config, "programs", OsPid),
    kv_program:await_ready(Program).

%%% VMs

start_vm(Config) ->
    start_vm(Config, []).

start_vm(Config, Environment) ->
    start_vm(Config, vm, Environment).

%% A VM with that name, attached to the node of the case.
start_vm(Config, Name, Environment) ->
    Vm = start_plain_vm(Config, Name),
    Node = node(Config),
    ok = kv_test:in(Vm, fun() -> kv_test:start_kv([{attach, Node} | Environment]) end),
    Vm.

start_plain_vm(Config) ->
    start_plain_vm(Config, vm).

start_plain_vm(Config, Name) ->
    Options = vm_options(list_to_atom(lists:concat([Name, ?config(id, Config), "@127.0.0.1"]))),
    Vm = kv_test:start_vm(Config, ["-setcookie", "secret"], Options),
    ok = note(Config, "vms", kv_test:vm_os_pid(Vm)),
    Vm.

vm_options(Node) ->
    [Name, Host] = string:split(atom_to_list(Node), "@"),
    #{name => Name, host => Host, longnames => true}.

%% Ends a VM so that it cannot say anything.
kill_vm(Vm) ->
    OsPid = kv_test:vm_os_pid(Vm),
    true = unlink(Vm),
    ok = kv_test:signal("KILL", OsPid),
    kv_test:gone(OsPid).

%% Returns the reason for which a VM does not attach to the node of the case.
refusal(Config) ->
    Vm = start_plain_vm(Config),
    Reason = refusal(Vm, node(Config), 5000),
    ok = kv_test:stop_vm(Vm),
    Reason.

%% The same for a VM, which waits for so many milliseconds.
refusal(Vm, Node, Timeout) ->
    kv_test:in(Vm, fun() ->
        process_flag(trap_exit, true),
        {error, Reason} = kv_node:start_link(x, [{attach, Node}, {start_timeout, Timeout}]),
        Reason
    end).

%%% In a VM

%% Lets this VM say of itself what a C node might.
replace_facts(Facts) ->
    Forms = [
        {attribute, 1, module, kv_node},
        {attribute, 2, export, [{facts, 0}]},
        {function, 3, facts, 0, [{clause, 3, [], [], [erl_parse:abstract(Facts)]}]}
    ],
    {ok, kv_node, Code} = compile:forms(Forms),
    {module, kv_node} = code:load_binary(kv_node, "kv_node.erl", Code),
    ok.

await_state(Wanted) ->
    kv_test:wait(
        fun() ->
            case gen_server:call(kv_node, info) of
                #{state := Wanted} -> true;
                #{state := {Wanted, _}} -> true;
                _ -> false
            end
        end,
        ?DEADLINE
    ).

%% Loses the connection until show_to/1 is called: with such a cookie nobody can connect.
hide_from(Node) ->
    true = erlang:set_cookie(Node, '\x{3bb}'),
    true = erlang:disconnect_node(Node),
    ok.

show_to(Node) ->
    true = erlang:set_cookie(Node, erlang:get_cookie()),
    ok.

%% Asks until there is an answer.
patient(Ask) ->
    {answer, Answer} = kv_test:wait(
        fun() ->
            try
                {answer, Ask()}
            catch
                exit:_ -> false
            end
        end,
        ?DEADLINE
    ),
    Answer.

%% Runs a fun in a process that lives as long as the VM, and so does all that the fun starts with a link.
keep(Fun) ->
    Caller = self(),
    {Keeper, Monitor} = spawn_monitor(fun() ->
        process_flag(trap_exit, true),
        Caller ! {self(), Fun()},
        receive stop -> ok end
    end),
    receive
        {Keeper, Result} -> true = demonitor(Monitor, [flush]), Result;
        {'DOWN', Monitor, process, _, Reason} -> error(Reason)
    end.

%% From now on losses/0 returns the names of what was lost.
hear_of_losses() ->
    Listener = spawn(fun() -> listen([]) end),
    true = register(kv_attach_losses, Listener),
    {kv_event_manager:add_handler(kv_event_manager, kv_test_handler, Listener, [lost]), Listener}.

listen(Names) ->
    receive
        {event, {lost, Name, _}} -> listen([Name | Names]);
        {From, names} -> From ! {names, lists:sort(Names)}, listen(Names);
        _ -> listen(Names)
    end.

losses() ->
    kv_attach_losses ! {self(), names},
    receive
        {names, Names} -> Names
    end.
