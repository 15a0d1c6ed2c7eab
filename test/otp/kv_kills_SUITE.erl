%% @doc Kills at random of the program, of the VM, and of both, while many clients change durable buckets of both
%% policies, and the names of a durable registry. Each answer is noted by a process outside of the VM. After each kill all of them
%% have what their clients did, up to the last answer or to an operation that was under way: nothing is missing, nothing older
%% came back, and no request was done by half.
-module(kv_kills_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% KV_KILLS sets the number of kills, and KV_SEED what is drawn.
-define(KILLS, 6).
-define(CLIENTS, 12).
%% The longest time of load before a kill, in milliseconds.
-define(LOAD, 100).
%% A new folder after so many kills, and a new VM after so many of the program: kv_node delays the starts of a program that
%% ends again and again.
-define(FRESH, 100).
-define(PROGRAMS, 3).

suite() -> [{timetrap, {seconds, 120 + 10 * number("KV_KILLS", ?KILLS)}}].

all() -> [no_answered_change_is_lost_by_any_kill].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

-record(run, {
    config,
    listener,
    port,
    seed,
    folder,
    vm,
    vm_os_pid,
    programs = 0,
    %% Client to {number of the last operation that is in Contents, Contents}
    clients = #{},
    kills = #{},
    answered = 0
}).

no_answered_change_is_lost_by_any_kill(Config) ->
    Kills = number("KV_KILLS", ?KILLS),
    Seed = number("KV_SEED", erlang:phash2({erlang:monotonic_time(), os:getpid()})),
    ct:pal("KV_SEED=~b", [Seed]),
    {ok, Listener} = gen_tcp:listen(0, [binary, {packet, 4}, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, ?CLIENTS}]),
    {ok, Port} = inet:port(Listener),
    _ = rand:seed(exsss, {Seed, 1, 1}),
    try
        First = begin_folder(0, #run{config = Config, listener = Listener, port = Port, seed = Seed}),
        Last = lists:foldl(fun one_kill/2, First, lists:seq(1, Kills)),
        {comment, io_lib:format("~p, ~b operations answered", [Last#run.kills, Last#run.answered])}
    catch
        error:{is_not_what_was_answered, Where, Difference}:Stack ->
            ct:pal("~p: ~p", [Where, Difference]),
            erlang:raise(error, {is_not_what_was_answered, Where}, Stack)
    after
        kv_test:stop_vm(get(vm))
    end.

number(Variable, Default) ->
    list_to_integer(os:getenv(Variable, integer_to_list(Default))).

begin_folder(Number, #run{config = Config} = Run) ->
    Folder = filename:join(?config(home, Config), "data-" ++ integer_to_list(Number)),
    Clients = maps:from_list([{Client, {0, #{}}} || Client <- lists:seq(1, ?CLIENTS)]),
    start_vm(Run#run{folder = Folder, clients = Clients}).

start_vm(#run{config = Config, folder = Folder} = Run) ->
    Vm = kv_test:start_vm(Config),
    true = unlink(Vm),
    _ = put(vm, Vm),
    ok = kv_test:in(Vm, fun() -> kv_kill_client:serve(Folder, ?CLIENTS) end),
    Run#run{vm = Vm, vm_os_pid = kv_test:vm_os_pid(Vm), programs = 0}.

%% Afterwards a VM is there, and its buckets have been looked at.
one_kill(Kill, Run) ->
    Kind = kind(rand:uniform(10), Run),
    Loads = start_clients(Run),
    timer:sleep(rand:uniform(?LOAD)),
    Next = kill(Kind, Run),
    Answers = await_clients(Loads),
    Checked = check({Kill, Kind}, Answers, Next),
    fresh(Kill, Checked#run{kills = maps:update_with(Kind, fun(N) -> N + 1 end, 1, Run#run.kills)}).

fresh(Kill, #run{vm = Vm, folder = Folder} = Run) when Kill rem ?FRESH =:= 0 ->
    ok = kv_test:stop_vm(Vm),
    ok = file:del_dir_r(Folder),
    begin_folder(Kill, Run);
fresh(_Kill, Run) ->
    Run.

%%% Kills

kind(_, #run{programs = ?PROGRAMS}) -> vm_and_program;
kind(N, #run{programs = Programs}) when N =< 3, Programs + 1 < ?PROGRAMS -> program_and_its_recovery;
kind(N, _Run) when N =< 7 -> program;
kind(N, _Run) when N =< 8 -> vm;
kind(_, _Run) -> vm_and_program.

kill(program, #run{programs = Programs} = Run) ->
    kill_program(Run),
    Run#run{programs = Programs + 1};
kill(program_and_its_recovery, #run{programs = Programs} = Run) ->
    Before = kill_program(Run),
    [Next | _] = kv_test:wait(fun() -> programs_but(Before, Run) end),
    timer:sleep(rand:uniform(30) - 1),
    ok = kv_test:signal("KILL", Next),
    Run#run{programs = Programs + 2};
kill(vm, #run{vm_os_pid = OsPid} = Run) ->
    ok = kv_test:signal("KILL", OsPid),
    start_vm(Run);
kill(vm_and_program, #run{vm_os_pid = OsPid} = Run) ->
    Both = [integer_to_list(P) || P <- [OsPid | kv_test:programs(Run#run.config)]],
    _ = os:cmd("kill -KILL " ++ lists:join(" ", element(rand:uniform(2), {Both, lists:reverse(Both)}))),
    start_vm(Run).

programs_but(Before, #run{config = Config}) ->
    Others = kv_test:programs(Config) -- [Before],
    Others =/= [] andalso Others.

kill_program(#run{vm = Vm}) ->
    OsPid = kv_test:in(Vm, fun() -> kv_node:os_pid() end),
    ok = kv_test:signal("KILL", OsPid),
    OsPid.

%%% Clients

%% Each client has a process here, which notes its answers.
start_clients(#run{listener = Listener, port = Port, seed = Seed, vm = Vm, clients = Clients}) ->
    Numbers = [{Client, N + 1} || {Client, {N, _}} <- maps:to_list(Clients)],
    ok = kv_test:in(Vm, fun() -> [ok = kv_kill_client:start(Port, Seed, Client, N) || {Client, N} <- Numbers], ok end),
    [note_one(Listener, Numbers) || _ <- Numbers].

note_one(Listener, Numbers) ->
    {ok, Socket} = gen_tcp:accept(Listener, 20000),
    {Noter, Monitor} = spawn_monitor(fun() ->
        receive
            begin_noting -> ok
        end,
        {client, Client} = receive_one(Socket),
        {Client, Next} = lists:keyfind(Client, 1, Numbers),
        exit({noted, Client, note(Socket, Next - 1)})
    end),
    ok = gen_tcp:controlling_process(Socket, Noter),
    Noter ! begin_noting,
    {Socket, Monitor}.

note(Socket, Last) ->
    case receive_one(Socket) of
        {answered, N} when N =:= Last + 1 -> note(Socket, N);
        closed -> Last;
        Other -> {unexpected, Other, Last}
    end.

receive_one(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Message} -> binary_to_term(Message);
        {error, _} -> closed
    end.

%% Those whose VM lives go on after the kill, unless their operation was under way.
await_clients(Loads) ->
    timer:sleep(rand:uniform(20)),
    _ = [gen_tcp:send(Socket, <<"stop">>) || {Socket, _} <- Loads],
    maps:from_list([
        receive
            {'DOWN', Monitor, process, _, {noted, Client, Last}} -> {Client, Last}
        after 60000 -> error(client_does_not_stop)
        end
     || {_, Monitor} <- Loads
    ]).

%%% The check

check(Kill, Answers, #run{vm = Vm, clients = Clients} = Run) ->
    Contents = maps:from_list([{Bucket, contents(Vm, Bucket)} || Bucket <- kv_kill_client:buckets(?CLIENTS)]),
    Checked = maps:map(
        fun(Client, {N, Before}) ->
            Own = own(Client, maps:get(kv_kill_client:bucket(Client), Contents)),
            Last = maps:get(Client, Answers),
            ?assert(is_integer(Last), {Kill, Client, Last}),
            check_client({Kill, Client, Last}, Last, up_to(Run#run.seed, Client, N, Last, Before), Own, Run#run.seed)
        end,
        Clients
    ),
    Answered = lists:sum([maps:get(Client, Answers) - N || {Client, {N, _}} <- maps:to_list(Clients)]),
    Run#run{clients = Checked, answered = Run#run.answered + Answered}.

contents(Vm, Bucket) ->
    kv_test:in(Vm, fun() -> kv_test:patient(fun() -> kv_kill_client:contents(Bucket) end, 4000) end).

own(Client, Contents) ->
    maps:filter(fun({Of, _}, _Value) -> Of =:= Client end, Contents).

up_to(_Seed, _Client, N, Last, Contents) when N >= Last -> Contents;
up_to(Seed, Client, N, Last, Contents) -> up_to(Seed, Client, N + 1, Last, kv_kill_client:model({Seed, Client, N + 1}, Contents)).

%% Operations without an answer may have happened, in their order.
check_client({_, Client, Last} = Where, N, Expected, Own, Seed) ->
    case Own of
        Expected -> {N, Expected};
        _ when N < Last ->
            error({Where, N});
        _ ->
            case N - Last < kv_kill_client:window(Client) of
                true -> check_client(Where, N + 1, kv_kill_client:model({Seed, Client, N + 1}, Expected), Own, Seed);
                false -> error({is_not_what_was_answered, Where, difference(Expected, Own)})
            end
    end.

difference(Expected, Own) ->
    Keys = lists:usort(maps:keys(Expected) ++ maps:keys(Own)),
    [{Key, {expected, maps:get(Key, Expected, none)}, {is, maps:get(Key, Own, none)}} || Key <- Keys, maps:find(Key, Expected) =/= maps:find(Key, Own)].
