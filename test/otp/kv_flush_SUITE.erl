%% @doc Power cuts. A node writes to an ext4 on a block device that remembers each write and each flush. Of these, disks are made as
%% a power cut may leave them: all writes before the last flush are there, and any of those after it, whole, in part, or not. A node
%% that starts on such a disk has every change that had been answered by then, under `commit'.
%%
%% `make crash' installs what this needs: nbdkit and nbdfuse.
-module(kv_flush_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% KV_CUTS sets the number of power cuts, and KV_SEED what is drawn.
-define(CUTS, 2).
%% Milliseconds of load: at least, for each cut, and at most, since the device is small.
-define(LOAD, 1000).
-define(LOAD_EACH, 20).
-define(LOAD_MAX, 3000).
-define(CLIENTS, 4).
-define(SIZE, "400M").
-define(SECTOR, 512).
%% Writes of the file system itself, before a node is there.
-define(BEGIN_BYTES, 1000000).
%% How far from an answer a power cut may be, in bytes of the log of the device.
-define(AROUND, 100000).

suite() -> [{timetrap, {seconds, 120 + 20 * cuts()}}].

all() -> [no_answered_change_is_lost_by_a_power_cut].

init_per_suite(Config0) ->
    case [Missing || Missing <- ["nbdkit", "nbdfuse", "mkfs.ext4", "losetup", "setpriv"], os:find_executable(Missing) =:= false] of
        [] ->
            Config = kv_test:start_suite(Config0),
            case kv_disk_world:is_root() andalso build_device(Config) of
                "" -> Config;
                false -> skip(Config, "needs root, to mount file systems");
                Why -> skip(Config, "no nbdkit plugin can be built: " ++ Why)
            end;
        Missing ->
            {skip, "not installed: " ++ lists:join(", ", Missing)}
    end.

skip(Config, Why) ->
    ok = kv_test:end_suite(Config),
    {skip, Why}.

end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_disk_world:start_case(kv_test:start_case(Config)).

end_per_testcase(_Case, Config) ->
    Left = kv_test:end_case(Config),
    ok = kv_test:wait(fun() -> kv_disk_world:end_case(Config) =:= ok end),
    Left.

cuts() -> list_to_integer(os:getenv("KV_CUTS", integer_to_list(?CUTS))).

build_device(Config) ->
    os:cmd(lists:flatten(lists:join(" ", ["cc -shared -fPIC -O1 -o", device(Config), filename:join(?config(data_dir, Config), "device.c"), "2>&1"]))).

device(Config) -> filename:join(?config(priv_dir, Config), "device.so").

%%% The case

no_answered_change_is_lost_by_a_power_cut(Config) ->
    Seed = list_to_integer(os:getenv("KV_SEED", integer_to_list(erlang:phash2({erlang:monotonic_time(), os:getpid()})))),
    ct:pal("KV_SEED=~b", [Seed]),
    _ = rand:seed(exsss, {Seed, 2, 2}),
    "" = os:cmd(lists:flatten([
        "truncate -s " ?SIZE " ", path("image", Config), " && mkfs.ext4 -q ", path("image", Config), " && cp --sparse=always ", path("image", Config), " ",
        path("before", Config), " && mkdir ", path("fuse", Config), " ", kv_disk_world:folder(Config)
    ])),
    Answers = [{Client, Of, committed(Seed, Client, Of)} || {Client, Of} <- record(Config, Seed, min(?LOAD_MAX, ?LOAD + ?LOAD_EACH * cuts()))],
    ok = file:delete(path("image", Config)),
    Size = filelib:file_size(path("log", Config)),
    At = lists:sort([cut(N rem 4, Size, lists:append([Of || {_, Of, _} <- Answers])) || N <- lists:seq(1, cuts())]),
    Checked = cut_all(Config, At, fun(Position, Flushed) -> check(Config, Seed, Position, Flushed, Answers) end),
    Answered = lists:sum([length(Of) || {_, Of, _} <- Answers]),
    {comment, io_lib:format("~b cuts, ~b operations answered, ~b of them at the time of a cut in the mean", [length(Checked), Answered, lists:sum(Checked) div length(Checked)])}.

%% Anywhere, or around an answer: most of the bytes are those of files that are made ahead.
cut(0, Size, _Answers) ->
    ?BEGIN_BYTES + rand:uniform(Size - ?BEGIN_BYTES);
cut(_, Size, Answers) ->
    {_, At} = lists:nth(rand:uniform(length(Answers)), Answers),
    min(Size, At + rand:uniform(?AROUND) - ?AROUND div 2).

path(Name, Config) -> filename:join(?config(case_home, Config), Name).

%%% A node under load, on the device

%% Returns for each client its answers: the number of the operation, and the bytes of the log of the device by then.
record(Config, Seed, Load) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {packet, 4}, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Program = kv_disk_world:apart(Config, [
        "setpriv --pdeathsig KILL nbdfuse " ++ path("fuse/disk", Config) ++ " --command nbdkit -s " ++ device(Config) ++ " image="
            ++ path("image", Config) ++ " log=" ++ path("log", Config) ++ " >/dev/null 2>&1 </dev/null &",
        "until [ -e " ++ path("fuse/disk", Config) ++ " ]; do sleep 0.02; done",
        "mount -o loop " ++ path("fuse/disk", Config) ++ " " ++ kv_disk_world:folder(Config)
    ]),
    Vm = kv_test:start_vm(Config),
    true = unlink(Vm),
    ok = kv_test:in(Vm, fun() ->
        ok = application:load(kv),
        ok = application:set_env(kv, program, Program),
        kv_kill_client:serve(kv_disk_world:folder(Config), ?CLIENTS)
    end),
    ok = kv_test:in(Vm, fun() -> [ok = kv_kill_client:start(Port, Seed, Client, 1) || Client <- lists:seq(1, ?CLIENTS)], ok end),
    Noters = [note_one(Listener, path("log", Config)) || _ <- lists:seq(1, ?CLIENTS)],
    timer:sleep(Load),
    %% In one command: the program ends by itself soon after the VM.
    _ = os:cmd(lists:join(" ", ["kill -KILL" | [integer_to_list(OsPid) || OsPid <- [kv_test:vm_os_pid(Vm) | kv_test:programs(Config)]]])),
    Answers = [receive {'DOWN', Monitor, process, _, {noted, Client, Of}} -> {Client, Of} after 20000 -> error(client_does_not_stop) end || Monitor <- Noters],
    await_detached(Config),
    Answers.

note_one(Listener, Log) ->
    {ok, Socket} = gen_tcp:accept(Listener, 20000),
    {Noter, Monitor} = spawn_monitor(fun() ->
        receive
            begin_noting -> ok
        end,
        {client, Client} = kv_kills_SUITE:receive_one(Socket),
        exit({noted, Client, note(Socket, Log, [])})
    end),
    ok = gen_tcp:controlling_process(Socket, Noter),
    Noter ! begin_noting,
    Monitor.

note(Socket, Log, Answers) ->
    case kv_kills_SUITE:receive_one(Socket) of
        {answered, N} -> note(Socket, Log, [{N, filelib:file_size(Log)} | Answers]);
        closed -> Answers
    end.

await_detached(Config) ->
    kv_test:wait(fun() -> string:find(os:cmd("losetup -a"), ?config(case_home, Config)) =:= nomatch end).

%%% Disks after a power cut

%% Goes through the log of the device once. `before' has all writes up to the last flush.
cut_all(Config, At, Check) ->
    {ok, Log} = file:open(path("log", Config), [read, binary, raw, {read_ahead, 1 bsl 20}]),
    {ok, Before} = file:open(path("before", Config), [read, write, binary, raw]),
    Checked = cut_each(Config, {Log, Before}, 0, [], At, Check),
    ok = file:close(Before),
    ok = file:close(Log),
    Checked.

cut_each(_Config, _Files, _Position, _Since, [], _Check) ->
    [];
cut_each(Config, Files, Position, Since, [Cut | At], Check) when Position >= Cut ->
    ok = make_disk(Config, Since),
    [Check(Position, length(Since)) | cut_each(Config, Files, Position, Since, At, Check)];
cut_each(Config, {Log, Before} = Files, Position, Since, At, Check) ->
    case file:read(Log, 1) of
        {ok, <<"f">>} ->
            ok = file:pwrite(Before, lists:reverse(Since)),
            cut_each(Config, Files, Position + 1, [], At, Check);
        {ok, <<"w">>} ->
            {ok, <<Offset:64, Length:32>>} = file:read(Log, 12),
            {ok, Bytes} = file:read(Log, Length),
            cut_each(Config, Files, Position + 13 + Length, [{Offset, Bytes} | Since], At, Check);
        eof ->
            cut_each(Config, Files, hd(At), Since, At, Check)
    end.

%% Some of the writes since the last flush have reached the disk, in any order.
make_disk(Config, Since) ->
    "" = os:cmd(lists:flatten(["cp --sparse=always ", path("before", Config), " ", path("image", Config)])),
    {ok, Disk} = file:open(path("image", Config), [read, write, binary, raw]),
    Kept = rand:uniform(5) - 1,
    ok = file:pwrite(Disk, lists:append([torn(Write, Kept) || Write <- lists:reverse(Since)])),
    file:close(Disk).

%% Of five parts, so many are kept.
torn(Write, Kept) ->
    case {rand:uniform(4) =< Kept, rand:uniform(3)} of
        {true, 1} -> sectors(Write);
        {true, _} -> [Write];
        {false, _} -> []
    end.

sectors({Offset, Bytes}) ->
    [{Offset + At, binary:part(Bytes, At, ?SECTOR)} || At <- lists:seq(0, byte_size(Bytes) - ?SECTOR, ?SECTOR), rand:uniform(2) =:= 1].

%%% The check

%% Returns how many operations had been answered by then.
check(Config, Seed, Position, Since, Answers) ->
    Program = kv_disk_world:apart(Config, ["mount -o loop " ++ path("image", Config) ++ " " ++ kv_disk_world:folder(Config)]),
    Vm = kv_test:start_vm(Config),
    Contents = kv_test:in(Vm, fun() ->
        ok = application:load(kv),
        ok = application:set_env(kv, program, Program),
        ok = kv_kill_client:serve(kv_disk_world:folder(Config), ?CLIENTS),
        [{Bucket, kv_kill_client:contents(Bucket)} || Bucket <- kv_kill_client:buckets(?CLIENTS)]
    end),
    ok = kv_test:stop_vm(Vm),
    await_detached(Config),
    lists:sum([check_client({Position, Since}, Seed, One, Position, Contents) || One <- Answers]).

%% The answers that a power cut must not take back. All before them are on the disk, too.
committed(Seed, Client, Of) ->
    Committed = kv_kill_client:committed(Seed, Client, greatest(Of)),
    Set = maps:from_keys(Committed, true),
    [Answer || {N, _} = Answer <- Of, is_map_key(N, Set)].

greatest(Of) -> lists:max([0 | [N || {N, _} <- Of]]).

%% Answers are noted a moment after they were given, so later operations may be there, too: without a gap.
check_client(Where, Seed, {Client, Answers, Committed}, Position, Contents) ->
    Least = greatest([Answer || {_, At} = Answer <- Committed, At =< Position]),
    Most = greatest(Answers) + kv_kill_client:window(Client),
    {_, Bucket} = lists:keyfind(kv_kill_client:bucket(Client), 1, Contents),
    Own = kv_kills_SUITE:own(Client, Bucket),
    Then = kv_kills_SUITE:up_to(Seed, Client, 0, Least, #{}),
    ?assert(is_one_of(Seed, Client, Least, Most, Then, Own), {Where, Client, Least, Most, kv_kills_SUITE:difference(Then, Own)}),
    Least.

is_one_of(_Seed, _Client, _N, _Most, Own, Own) -> true;
is_one_of(_Seed, _Client, Most, Most, _Then, _Own) -> false;
is_one_of(Seed, Client, N, Most, Then, Own) ->
    is_one_of(Seed, Client, N + 1, Most, kv_kill_client:model({Seed, Client, N + 1}, Then), Own).
