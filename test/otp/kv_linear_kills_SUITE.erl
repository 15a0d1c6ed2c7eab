%% @doc Histories of durable buckets are linearizable across kills of the program and of the VM. An operation without an answer
%% took effect before the kill, or not at all. All that a process was told is true afterwards, too: also the values that it has read.
-module(kv_linear_kills_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% KV_CRASHES sets the number of kills.
-define(CRASHES, 6).
-define(CLIENTS, 64).
%% Of one round. The clients use those of the round before, too, so each key lives across a kill.
-define(KEYS, 32).
-define(OPERATIONS, 40).
%% Every fourth kill is one of the VM.
-define(OF_VM, 4).

suite() -> [{timetrap, {seconds, 120 + 10 * crashes()}}].

all() -> [an_impossible_history_is_found, histories_are_linearizable_across_kills].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

crashes() -> list_to_integer(os:getenv("KV_CRASHES", integer_to_list(?CRASHES))).

%% The kill is at 10.
an_impossible_history_is_found(_Config) ->
    Add = fun kv_linear_SUITE:add/1,
    Fetch = {call, fun kv_linear_SUITE:fetch/1},
    Unanswered = {5, 10, {'maybe', Add}, none},
    One = {1, 2, {call, Add}, 1},
    ?assert(kv_linear:check([One, Unanswered, {11, 12, Fetch, {ok, 1}}])),
    ?assert(kv_linear:check([One, Unanswered, {11, 12, Fetch, {ok, 2}}])),
    %% Lost; seen before and lost; neither before nor after; and twice.
    ?assertNot(kv_linear:check([One, Unanswered, {11, 12, Fetch, error}])),
    ?assertNot(kv_linear:check([One, Unanswered, {6, 7, Fetch, {ok, 2}}, {11, 12, Fetch, {ok, 1}}])),
    ?assertNot(kv_linear:check([One, Unanswered, {11, 12, Fetch, {ok, 1}}, {13, 14, Fetch, {ok, 2}}])),
    ?assertNot(kv_linear:check([One, Unanswered, {11, 12, Fetch, {ok, 3}}])).

histories_are_linearizable_across_kills(Config) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {packet, 4}, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, ?CLIENTS}]),
    {ok, Port} = inet:port(Listener),
    Crashes = crashes(),
    {Vm, Histories} = lists:foldl(
        fun(Round, {Vm, Notes}) -> round(Round, {Config, Listener, Port, Vm}, Notes) end,
        {start_vm(Config), []},
        lists:seq(1, Crashes)
    ),
    Keys = [{Round, K} || Round <- lists:seq(0, Crashes), K <- lists:seq(1, ?KEYS)],
    Last = kv_test:in(Vm, fun() -> [fetched(Key) || Key <- Keys] end),
    ok = kv_test:stop_vm(Vm),
    All = Last ++ lists:append(Histories),
    ByKey = lists:foldl(fun({Key, Operation}, Map) -> maps:update_with(Key, fun(L) -> [Operation | L] end, [Operation], Map) end, #{}, All),
    Wrong = [{Key, shown(History)} || {Key, History} <- maps:to_list(ByKey), not kv_linear:check(History)],
    ?assertEqual([], Wrong),
    Unanswered = length([1 || {_, {_, _, {'maybe', _}, _}} <- All]),
    {comment, io_lib:format("~b kills, ~b keys, ~b operations, ~b unanswered", [Crashes, map_size(ByKey), length(All), Unanswered])}.

%% The times from the first one on.
shown(History) ->
    {First, _, _, _} = lists:min(History),
    [{Begin - First, End - First, Kind, element(2, erlang:fun_info(Fun, name)), Answer} || {Begin, End, {Kind, Fun}, Answer} <- lists:sort(History)].

%%% A round: load, a kill, and all that the clients have told

round(Round, {Config, Listener, Port, Vm}, Notes) ->
    ok = kv_test:in(Vm, fun() -> [spawn(fun() -> client(Port, Round) end) || _ <- lists:seq(1, ?CLIENTS)], ok end),
    Noters = [note_one(Listener) || _ <- lists:seq(1, ?CLIENTS)],
    timer:sleep(rand:uniform(60)),
    {Dead, Next} = kill(Round, Config, Vm),
    Told = lists:append([
        receive
            {'DOWN', Monitor, process, _, {noted, Told}} -> Told
        after 60000 -> error(client_does_not_stop)
        end
     || Monitor <- Noters
    ]),
    {Next, [[operation(One, Dead) || One <- Told] | Notes]}.

%% Returns a time at which the program was gone, and the VM for the next round.
kill(Round, Config, Vm) when Round rem ?OF_VM =:= 0 ->
    true = unlink(Vm),
    Programs = kv_test:programs(Config),
    ok = kv_test:signal("KILL", kv_test:vm_os_pid(Vm)),
    {dead(Programs), start_vm(Config)};
kill(_Round, Config, Vm) ->
    Programs = kv_test:programs(Config),
    [ok = kv_test:signal("KILL", OsPid) || OsPid <- Programs],
    {dead(Programs), Vm}.

dead(Programs) ->
    [ok = kv_test:gone(OsPid) || OsPid <- Programs],
    os:perf_counter().

note_one(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener, 20000),
    {Noter, Monitor} = spawn_monitor(fun() ->
        receive
            begin_noting -> exit({noted, note(Socket, [])})
        end
    end),
    ok = gen_tcp:controlling_process(Socket, Noter),
    Noter ! begin_noting,
    Monitor.

note(Socket, Told) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Message} -> note(Socket, noted(binary_to_term(Message), Told));
        {error, _} -> Told
    end.

noted({begins, Begin, Step, Key}, Told) -> [{Begin, Step, Key} | Told];
noted({answered, End, Answer}, [{Begin, Step, Key} | Told]) -> [{Begin, Step, Key, End, Answer} | Told].

operation({Begin, Step, Key, End, Answer}, _Dead) -> {Key, {Begin, End, {call, model(Step)}, Answer}};
operation({Begin, Step, Key}, Dead) -> {Key, {Begin, max(Begin, Dead), {'maybe', model(Step)}, none}}.

model(Step) -> element(1, kv_linear_SUITE:step(Step, none, none)).

%%% In the VM under test

start_vm(Config) ->
    Vm = kv_test:start_vm(Config),
    ok = kv_test:in(Vm, fun() -> serve(filename:join(?config(home, Config), "data")) end),
    Vm.

%% Half of the VMs make checkpoints as often as they can.
serve(Folder) ->
    ok = kv_test:start_kv([{data_dir, Folder}, {local_reads, true}, {checkpoint_log, element(rand:uniform(2), {1 bsl 20, 64 bsl 20})}]),
    {ok, Bucket} = kv_bucket:start_link([{name, linear}, {durable, commit}]),
    true = unlink(Bucket),
    ok.

client(Port, Round) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {packet, 4}, {nodelay, true}]),
    operate(Socket, Round, ?OPERATIONS).

operate(Socket, _Round, 0) ->
    gen_tcp:close(Socket);
operate(Socket, Round, Left) ->
    Key = {Round - rand:uniform(2) + 1, rand:uniform(?KEYS)},
    Step = step(rand:uniform(12)),
    {_Model, Fun} = kv_linear_SUITE:step(Step, linear, Key),
    ok = tell(Socket, {begins, os:perf_counter(), Step, Key}),
    try Fun() of
        Answer ->
            ok = tell(Socket, {answered, os:perf_counter(), Answer}),
            operate(Socket, Round, Left - 1)
    catch
        exit:_ -> gen_tcp:close(Socket)
    end.

%% Not a cast: a kill may lose it, and nobody is told.
step(9) -> 8;
step(Step) -> Step.

tell(Socket, Message) -> gen_tcp:send(Socket, term_to_binary(Message)).

fetched(Key) ->
    Begin = os:perf_counter(),
    {answer, Answer} = kv_disk_world:patient(fun() -> kv_bucket:fetch(linear, Key) end),
    {Key, {Begin, os:perf_counter(), {call, fun kv_linear_SUITE:fetch/1}, Answer}}.
