%% @doc Backups that take long, under a real node: no commit waits for them, the files that they read stay, and they give way
%% where the log needs the space.
-module(kv_backup_space_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% Milliseconds for each piece of 128 KiB of a backup: a file of the log takes 10 seconds, or a quarter of an hour.
-define(SLOW, "20").
-define(STANDS, "2000").
-define(SEGMENT, ((64 bsl 20) - 4096)).
-define(KEYS, 10).

suite() -> [{timetrap, {seconds, 180}}].

all() ->
    [
        the_files_that_a_slow_backup_reads_stay_until_it_has_ended,
        a_checkpoint_that_is_done_while_a_backup_ends_stays,
        no_commit_waits_for_a_backup_whose_disk_stands,
        a_backup_gives_way_where_the_log_needs_its_space,
        a_backup_on_another_disk_gives_way_where_the_log_needs_the_files_that_it_reads
    ].

init_per_suite(Config) -> kv_disk_world:build_shim(kv_test:start_suite(Config)).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) -> kv_disk_world:start_case(kv_test:start_with_vm(Config)).

end_per_testcase(_Case, Config) ->
    Left = kv_test:end_with_vm(Config),
    ok = kv_disk_world:end_case(Config),
    Left.

%% Meanwhile checkpoints are made that would let the log use these files again.
the_files_that_a_slow_backup_reads_stay_until_it_has_ended(Config) ->
    Data = kv_disk_world:folder(Config),
    Backup = path(Config, "backup"),
    Program = kv_disk_world:shimmed(Config, []),
    in_kv(Config, Data, Program, fun(Bucket) ->
        ok = put_round(Bucket, 1),
        Running = begin_backup(Config, Backup, ?SLOW),
        [Copied | _] = kv_test:wait(fun() -> some(filelib:wildcard(Backup ++ ".tmp/log-*")) end),
        Held = filename:join(Data, filename:basename(Copied)),
        ok = put_until(Bucket, fun() -> segment() >= 3 end),
        ?assert(filelib:is_file(Held)),
        ?assertNot(filelib:is_file(Backup)),
        ok = kv_disk_world:mend("slow_backup", Config),
        ?assertMatch({done, {ok, #{}}}, kv_test:down(Running)),
        ok = put_until(Bucket, fun() -> not filelib:is_file(Held) end)
    end),
    in_kv(Config, Backup, Program, fun(Bucket) -> ?assert(lists:all(fun(Round) -> Round >= 1 end, rounds(Bucket))) end).

%% The end of the backup lets older files go. The new checkpoint has its name by then, but the program has not heard of it.
a_checkpoint_that_is_done_while_a_backup_ends_stays(Config) ->
    Data = kv_disk_world:folder(Config),
    Backup = path(Config, "backup"),
    in_kv(Config, Data, kv_disk_world:shimmed(Config, []), fun(Bucket) ->
        ok = put_round(Bucket, 1),
        Running = begin_backup(Config, Backup, ?SLOW),
        _ = kv_test:wait(fun() -> some(filelib:wildcard(Backup ++ ".tmp/log-*")) end),
        Before = checkpoints(Data),
        ok = kv_disk_world:break("named", "", Config),
        {Writer, Writing} = spawn_monitor(fun() -> put_until_told(Bucket, 1) end),
        [New] = kv_test:wait(fun() -> some(checkpoints(Data) -- Before) end),
        Writer ! stop,
        ok = kv_disk_world:mend("slow_backup", Config),
        ?assertMatch({done, {ok, #{}}}, kv_test:down(Running)),
        ok = kv_disk_world:mend("named", Config),
        normal = kv_test:down(Writing),
        ok = kv_test:wait(fun() -> checkpoints(Data) -- Before =:= checkpoints(Data) end),
        ?assertEqual([New], checkpoints(Data))
    end).

no_commit_waits_for_a_backup_whose_disk_stands(Config) ->
    Backup = path(Config, "backup"),
    in_kv(Config, kv_disk_world:folder(Config), kv_disk_world:shimmed(Config, []), fun(Bucket) ->
        Running = begin_backup(Config, Backup, ?STANDS),
        ok = kv_test:wait(fun() -> filelib:is_dir(Backup ++ ".tmp") end),
        [ok = kv_bucket:put(Bucket, K, K) || K <- lists:seq(1, 500)],
        ?assertNot(filelib:is_file(Backup)),
        ok = kv_disk_world:mend("slow_backup", Config),
        ?assertMatch({done, {ok, #{}}}, kv_test:down(Running))
    end).

%% There is room for three files of the log, and for the copy of one, and not for four. Either the log finds that first, or the copy.
a_backup_gives_way_where_the_log_needs_its_space(Config) ->
    Disk = path(Config, "disk"),
    Words = "need its space: free space, or name|No space left on device: free space",
    gives_way(Config, Disk, "285m", filename:join(Disk, "data"), filename:join(Disk, "backup"), Words).

%% There is room for three files of the log. The first one is not needed any more, but for the backup.
a_backup_on_another_disk_gives_way_where_the_log_needs_the_files_that_it_reads(Config) ->
    Disk = path(Config, "disk"),
    gives_way(Config, Disk, "230m", filename:join(Disk, "data"), path(Config, "backup"), "need the space of old files").

gives_way(Config, Disk, Size, Data, Backup, Words) ->
    kv_disk_world:if_apart(fun() ->
        ok = file:make_dir(Disk),
        Program = kv_disk_world:apart_and_shimmed(Config, ["mount -t tmpfs -o size=" ++ Size ++ " none " ++ Disk]),
        in_kv(Config, Data, Program, fun(Bucket) ->
            ok = put_round(Bucket, 1),
            Running = begin_backup(Config, Backup, ?SLOW),
            Result = put_until_down(Bucket, Running, 1),
            ?assertMatch({done, {error, {enospc, _}}}, Result),
            {done, {error, {enospc, Text}}} = Result,
            ?assertMatch({match, _}, re:run(Text, Words), Text),
            ?assertEqual([], seen("ls -d " ++ Backup ++ "*")),
            ok = kv_test:wait(fun() -> kv_bucket:put(Bucket, last, 1) =:= ok end),
            [?assert(is_integer(Round)) || Round <- rounds(Bucket)]
        end)
    end).

%%% Support

path(Config, Name) -> filename:join(?config(case_home, Config), Name).

some([]) -> false;
some(Names) -> lists:sort(Names).

%% The answer of a command in the mount name space of the program.
seen(Command) ->
    string:lexemes(os:cmd("nsenter -m -t " ++ integer_to_list(kv_node:os_pid()) ++ " sh -c '" ++ Command ++ " 2>/dev/null'"), "\n").

begin_backup(Config, Folder, Slow) ->
    ok = kv_disk_world:break("slow_backup", Slow, Config),
    {_, Monitor} = spawn_monitor(fun() -> exit({done, kv:backup(Folder)}) end),
    Monitor.

%% The file of the log that is written now.
segment() ->
    #{disk := #{position := Position}} = kv_node:info(),
    Position div ?SEGMENT.

put_round(Bucket, Round) ->
    Answers = [kv_bucket:put(Bucket, K, {Round, binary:copy(<<Round:64>>, 1 bsl 17)}, infinity) || K <- lists:seq(1, ?KEYS)],
    case lists:usort(Answers) of
        [ok] -> ok;
        Some -> Some
    end.

put_until(Bucket, IsDone) -> put_until(Bucket, IsDone, 2).

put_until(Bucket, IsDone, Round) ->
    ok = put_round(Bucket, Round),
    case IsDone() of
        true -> ok;
        false -> put_until(Bucket, IsDone, Round + 1)
    end.

put_until_told(Bucket, N) ->
    receive
        stop -> ok
    after 0 ->
        ok = kv_bucket:put(Bucket, N rem ?KEYS + 1, {2, binary:copy(<<2:64>>, 1 bsl 13)}, infinity),
        put_until_told(Bucket, N + 1)
    end.

checkpoints(Data) -> filelib:wildcard(filename:join(Data, "checkpoint-*")).

%% A put that finds no room changes nothing.
put_until_down(Bucket, Monitor, Round) ->
    receive
        {'DOWN', Monitor, process, _, Reason} -> Reason
    after 0 ->
        _ = put_round(Bucket, Round),
        put_until_down(Bucket, Monitor, Round + 1)
    end.

rounds(Bucket) ->
    [
        begin
            ?assertEqual(binary:copy(<<Round:64>>, 1 bsl 17), Value),
            Round
        end
     || {Round, Value} <- kv_bucket:get_many(Bucket, lists:seq(1, ?KEYS))
    ].

in_kv(Config, Data, Program, Fun) ->
    kv_test:in(
        ?config(vm, Config),
        fun() ->
            ok = kv_test:start_kv([{data_dir, Data}, {program, Program}, {checkpoint_log, 1 bsl 20}]),
            _ = Fun(kv_disk_world:bucket(kv_node, sessions)),
            application:stop(kv)
        end,
        170000
    ).
