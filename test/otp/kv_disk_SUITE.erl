%% @doc Disks that are full, that fail, and that stand, under a real node: nothing that was answered is lost, and buckets that
%% are not durable hear of nothing but the end of the node.
-module(kv_disk_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(ENOSPC, "28").
-define(EIO, "5").
%% Of the image of a file system, and of the file in it that leaves room for one segment of the log.
-define(IMAGE_MIB, "180").
-define(FILLER_MIB, "80").
-define(DELETES, 400).
%% More deletes than the reserve of a full disk has blocks.
-define(RESERVE, 2100).
%% Keys of 254 bytes: the reserve has room for one request to delete so many, and not for two.
-define(LONG, 14000).

%% KV_STAND is how long the disk stands while more waits than may wait, in seconds.
-define(STAND, "1").
%% Changes, by so many clients: more than 200,000 answers may not wait for the disk; nor more than 64 MiB of them.
-define(CLIENTS, 200).
-define(CHANGES, 1100).
-define(LARGE, 90).
%% The program may take so much more for all of that, its log and its answers included.
-define(MEMORY, (512 bsl 20)).

suite() -> [{timetrap, {seconds, 90 + 4 * stand()}}].

all() ->
    [
        a_full_disk_refuses_changes_and_heals_by_itself,
        a_disk_that_is_full_of_entries_heals_when_they_are_cleared,
        long_deletes_on_a_full_disk_are_made_as_a_whole_or_refused,
        a_limit_of_file_sizes_counts_as_a_full_disk,
        a_full_disk_is_backed_up_to_another_one,
        a_backup_that_its_disk_has_no_room_for_leaves_nothing,
        a_write_that_fails_ends_the_node_and_loses_nothing,
        a_sync_that_fails_ends_the_node_and_loses_nothing,
        a_checkpoint_that_fails_is_shown_and_loses_nothing,
        a_disk_that_stands_holds_up_durable_buckets_alone,
        more_than_may_wait_for_a_disk_that_stands_is_refused
    ].

init_per_suite(Config) -> kv_disk_world:build_shim(kv_test:start_suite(Config)).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config) ->
    kv_disk_world:start_case(kv_test:start_with_vm(Config)).

end_per_testcase(_Case, Config) ->
    Left = kv_test:end_with_vm(Config),
    ok = kv_disk_world:end_case(Config),
    Left.

%%% No space

a_full_disk_refuses_changes_and_heals_by_itself(Config) ->
    case make_file_system(Config) of
        ok ->
            in_kv(Config, [], on_file_system(Config), fun(Bucket) -> fill_and_heal(Config, Bucket) end),
            await_detached(Config),
            again(Config, on_file_system(Config), fun(Bucket) ->
                ?assertEqual(lists:seq(?DELETES + 1, ?DELETES + 10), lists:sort([K || {small, K} <- kv_bucket:keys(Bucket)])),
                ?assertEqual(again, kv_bucket:get(Bucket, healed)),
                Large = [K || {large, K} <- kv_bucket:keys(Bucket)],
                ?assertEqual(lists:seq(1, length(Large)), lists:sort(Large)),
                [?assertEqual(mib(K), kv_bucket:get(Bucket, {large, K})) || K <- Large]
            end);
        Why ->
            {skip, "needs root, mkfs.ext4, unshare and a loop device: " ++ Why}
    end.

fill_and_heal(Config, Bucket) ->
    %% Larger than the disk, which nobody has found full so far.
    ?assertEqual({error, enospc}, kv_bucket:put(Bucket, larger, binary:copy(<<0>>, 120 bsl 20), 60000)),
    ok = kv_bucket:put_many(Bucket, [{{small, K}, K} || K <- lists:seq(1, ?DELETES + 10)]),
    Other = kv_disk_world:bucket(kv_node, other),
    ok = kv_bucket:put_many(Other, [{K, K} || K <- lists:seq(1, ?RESERVE)]),
    Last = fill(Bucket, 1),
    ?assert(Last > 30),
    Size = kv_bucket:size(Bucket),
    ?assertEqual({error, enospc}, kv_bucket:put_many(Bucket, [{{many, K}, mib(K)} || K <- [1, 2, 3]])),
    ?assertEqual({error, enospc}, kv_bucket:put(Bucket, {large, 1}, mib(0))),
    ?assertEqual([mib(1), mib(Last)], kv_bucket:get_many(Bucket, [{large, 1}, {large, Last}])),
    ?assertEqual(Size, kv_bucket:size(Bucket)),
    %% Changes that free room go on.
    [?assertEqual(K, kv_bucket:delete(Bucket, {small, K})) || K <- lists:seq(1, ?DELETES)],
    use_the_reserve(Bucket, Other),
    ok = file:delete(filename:join(["/proc", integer_to_list(kv_node:os_pid()), "root" ++ kv_disk_world:file("filler", Config)])),
    ok = kv_test:wait(fun() -> kv_bucket:put(Bucket, healed, again) =:= ok end),
    ok = kv_bucket:put(Bucket, {large, Last + 1}, mib(Last + 1)).

%% One delete in a write takes a block. No delete waits for space: those that find no more room in the reserve are refused, and
%% the last of it is for what drops a whole bucket.
use_the_reserve(Bucket, Other) ->
    Deleted = delete_until_refused(Other, 1),
    ?assert(Deleted > 1000, Deleted),
    ?assertEqual({error, enospc}, kv_bucket:delete(Other, Deleted + 1)),
    ?assertEqual({error, enospc}, kv_bucket:delete(Bucket, {large, 1})),
    ?assertEqual(?RESERVE - Deleted, kv_bucket:size(Other)),
    ?assertEqual(mib(1), kv_bucket:get(Bucket, {large, 1})),
    ok = kv_bucket:clear(Other),
    ok = kv_bucket:destroy(Other).

delete_until_refused(Other, K) when K =< ?RESERVE ->
    case kv_bucket:delete(Other, K) of
        K -> delete_until_refused(Other, K + 1);
        {error, enospc} -> K - 1
    end.

fill(Bucket, K) ->
    case kv_bucket:put(Bucket, {large, K}, mib(K)) of
        ok -> fill(Bucket, K + 1);
        {error, enospc} -> K - 1
    end.

mib(K) -> binary:copy(<<K:64>>, 1 bsl 17).

image(Config) -> filename:join(?config(case_home, Config), "image").

make_file_system(Config) ->
    Steps = [
        "[ `id -u` = 0 ]", "unshare -m true", "truncate -s " ?IMAGE_MIB "M " ++ image(Config), "mkfs.ext4 -q " ++ image(Config),
        "mkdir " ++ kv_disk_world:folder(Config), "unshare -m sh -c '" ++ mount(Config) ++ " && fallocate -l " ?FILLER_MIB "M "
            ++ kv_disk_world:file("filler", Config) ++ "'", "echo well"
    ],
    case string:trim(os:cmd("{ " ++ lists:append(lists:join(" && ", Steps)) ++ "; } 2>&1")) of
        "well" -> await_detached(Config);
        Why -> Why
    end.

mount(Config) -> "mount -o loop " ++ image(Config) ++ " " ++ kv_disk_world:folder(Config).

on_file_system(Config) -> kv_disk_world:apart(Config, [mount(Config)]).

await_detached(Config) ->
    kv_test:wait(fun() -> os:cmd("losetup -j " ++ image(Config)) =:= "" end).

%% Two files of the log fit, and not a third one. Without the entries, a checkpoint makes room for it.
a_disk_that_is_full_of_entries_heals_when_they_are_cleared(Config) ->
    on_small_disk(Config, fun(Bucket) ->
        ?assert(fill(Bucket, 1) > 60),
        ?assertMatch(#{full := true}, maps:get(disk, kv_node:info())),
        ok = kv_bucket:clear(Bucket),
        ok = kv_test:wait(fun() -> kv_bucket:put(Bucket, {large, 1}, mib(1)) =:= ok end),
        ?assert(fill(Bucket, 2) > 60)
    end).

on_small_disk(Config, Fun) ->
    kv_disk_world:if_apart(fun() ->
        Folder = kv_disk_world:folder(Config),
        in_kv(Config, [], kv_disk_world:apart(Config, ["mkdir -p " ++ Folder ++ " && mount -t tmpfs -o size=150m none " ++ Folder]), Fun)
    end).

%% There is room for each of the requests when it begins, and not for all of them. No answer waits for space.
long_deletes_on_a_full_disk_are_made_as_a_whole_or_refused(Config) ->
    on_small_disk(Config, fun(Bucket) ->
        Keys = [<<K:32, (binary:copy(<<"k">>, 250))/binary>> || K <- lists:seq(1, ?LONG)],
        Others = [kv_disk_world:bucket(kv_node, Name) || Name <- [one, another, third]],
        [ok = kv_bucket:put_many(Other, [{Key, 1} || Key <- Keys]) || Other <- Others],
        ?assert(fill(Bucket, 1) > 40),
        Delete = fun(Other) -> exit({done, kv_bucket:delete_many(Other, Keys, 60000)}) end,
        %% All of them begin before one ends.
        Natives = [kv_proxy:native(Other) || Other <- Others],
        [ok = sys:suspend(Native) || Native <- Natives],
        Running = [{Other, spawn_monitor(fun() -> Delete(Other) end)} || Other <- Others],
        Waits = fun(Native) -> {message_queue_len, 1} =:= erpc:call(node(Native), erlang, process_info, [Native, message_queue_len]) end,
        [ok = kv_test:wait(fun() -> Waits(Native) end) || Native <- Natives],
        [ok = sys:resume(Native) || Native <- Natives],
        Answers = [{Other, kv_test:down(Monitor)} || {Other, {_, Monitor}} <- Running],
        ?assertMatch([_ | _], [Other || {Other, {done, {error, enospc}}} <- Answers]),
        ?assertMatch([_ | _], [Other || {Other, {done, ?LONG}} <- Answers]),
        Left = fun({done, {error, enospc}}) -> ?LONG; ({done, ?LONG}) -> 0 end,
        [?assertEqual(Left(Answer), kv_bucket:size(Other)) || {Other, Answer} <- Answers],
        [ok = kv_bucket:clear(Each) || Each <- [Bucket | Others]],
        ok = kv_test:wait(fun() -> kv_bucket:put(Bucket, {large, 1}, mib(1)) =:= ok end)
    end).

a_limit_of_file_sizes_counts_as_a_full_disk(Config) ->
    Program = kv_disk_world:shimmed(Config, ["ulimit -S -f 1000"]),
    in_vm(Config, fun() ->
        process_flag(trap_exit, true),
        ok = start_kv(Config, [], Program),
        {ok, Volatile} = kv_bucket:start_link([]),
        Refused = kv_test:wait(fun() -> enospc(kv_bucket:start_link([{name, sessions}, {durable, commit}])) end),
        ?assertEqual({error, enospc}, Refused),
        ok = kv_bucket:put(Volatile, milk, 3),
        "" = os:cmd("prlimit --fsize=unlimited --pid " ++ integer_to_list(kv_node:os_pid())),
        {ok, Bucket} = kv_test:wait(fun() -> started(kv_bucket:start_link([{name, sessions}, {durable, commit}])) end),
        ok = kv_bucket:put(Bucket, milk, 3),
        application:stop(kv)
    end).

enospc({error, enospc} = Refused) -> Refused;
enospc(_) -> false.

started({ok, _} = Started) -> Started;
started({error, enospc}) -> false.

%%% Backups and space

%% There is no space for a checkpoint, nor for a mark in the log.
a_full_disk_is_backed_up_to_another_one(Config) ->
    Other = lists:keyreplace(case_home, 1, Config, {case_home, disk("other", Config)}),
    case make_file_system(Config) of
        ok ->
            ok = file:make_dir(disk("other", Config)),
            in_kv(Config, [], on_file_system(Config), fun(Bucket) ->
                ?assert(fill(Bucket, 1) > 30),
                {ok, #{bytes := Bytes, written_bytes := Bytes}} = kv:backup(kv_disk_world:folder(Other)),
                ?assertMatch(#{full := true}, maps:get(disk, kv_node:info()))
            end),
            await_detached(Config),
            in_kv(Other, [], kv_test:program(), fun(Bucket) ->
                Keys = lists:sort([K || {large, K} <- kv_bucket:keys(Bucket)]),
                ?assert(length(Keys) > 30),
                ?assertEqual(lists:seq(1, length(Keys)), Keys),
                [?assertEqual(mib(K), kv_bucket:get(Bucket, {large, K})) || K <- Keys]
            end);
        Why ->
            {skip, "needs root, mkfs.ext4, unshare and a loop device: " ++ Why}
    end.

%% One disk has no space, and the other has some, but no more files.
a_backup_that_its_disk_has_no_room_for_leaves_nothing(Config) ->
    kv_disk_world:if_apart(fun() ->
        Disks = [{"small", "size=1m", "it needs 67[0-9]+ bytes, and its file system has 1048576"}, {"files", "size=200m,nr_inodes=3", "cannot make|cannot copy"}],
        Lines = [["mkdir -p ", disk(Name, Config), " && mount -t tmpfs -o ", Limit, " none ", disk(Name, Config)] || {Name, Limit, _} <- Disks],
        in_kv(Config, [], kv_disk_world:apart(Config, Lines), fun(Bucket) ->
            ok = kv_bucket:put(Bucket, milk, 3),
            [is_refused(disk(Name, Config), Sentence) || {Name, _, Sentence} <- Disks],
            {ok, _} = kv:backup(filename:join(?config(case_home, Config), "backup")),
            ok = kv_bucket:put(Bucket, bread, 1)
        end)
    end).

is_refused(Disk, Sentence) ->
    {error, {enospc, Text}} = kv:backup(filename:join(Disk, "new")),
    ?assertMatch({match, _}, re:run(Text, Sentence), Text),
    ?assertEqual({ok, []}, file:list_dir(filename:join(["/proc", integer_to_list(kv_node:os_pid()), "root" ++ Disk]))).

disk(Name, Config) -> filename:join(?config(case_home, Config), Name).

%%% Failures

a_write_that_fails_ends_the_node_and_loses_nothing(Config) ->
    fails(Config, "pwrite", "cannot write to the file log-0000000000000000: Input/output error$", fun(Bucket) ->
        %% Not answered, so it may be there or not.
        kv_test:attempt(fun() -> kv_bucket:put(Bucket, last, 1) end)
    end).

%% A file of the log is made ahead, and synced. Where the page cache cannot be passed by, each commit is synced as well.
a_sync_that_fails_ends_the_node_and_loses_nothing(Config) ->
    fails(Config, "fdatasync", "cannot (make|sync) the file log-000000000000000[0-9]: Input/output error$", fun(Bucket) ->
        kv_test:attempt(fun() -> [kv_bucket:put(Bucket, last, mib(K)) || K <- lists:seq(1, 200)] end)
    end).

fails(Config, Call, Sentence, Change) ->
    %% A checkpoint that fails is given up, and harms nothing.
    in_kv(Config, [{checkpoint_log, 1 bsl 40}], kv_disk_world:shimmed(Config, []), fun(Bucket) ->
        {ok, Volatile} = kv_bucket:start_link([{name, in_memory}]),
        ok = kv_bucket:put(Volatile, milk, 3),
        [ok = kv_bucket:put(Bucket, K, K) || K <- lists:seq(1, 100)],
        ok = kv_bucket:put_many(Bucket, [{{many, K}, K} || K <- lists:seq(1, 1000)]),
        Node = monitor(process, kv_node),
        Native = monitor(process, kv_proxy:native(Volatile)),
        ok = kv_disk_world:break(Call, ?EIO, Config),
        _ = Change(Bucket),
        {fatal, log_failed, Text} = kv_test:down(Node),
        ?assertMatch({match, _}, re:run(Text, "^data folder .*: " ++ Sentence), Text),
        ?assertEqual(noconnection, kv_test:down(Native)),
        {answer, 1} = kv_disk_world:patient(fun() -> kv_bucket:generation(Bucket) end),
        {answer, 2} = kv_disk_world:patient(fun() -> kv_bucket:generation(Volatile) end),
        ?assertEqual(undefined, kv_bucket:get(Volatile, milk)),
        ?assertEqual(lists:seq(1, 100), kv_bucket:get_many(Bucket, lists:seq(1, 100))),
        ?assertEqual(lists:seq(1, 1000), kv_bucket:get_many(Bucket, [{many, K} || K <- lists:seq(1, 1000)])),
        ok = kv_bucket:put(Bucket, well, again)
    end).

%% The log has all that the checkpoint would have had.
a_checkpoint_that_fails_is_shown_and_loses_nothing(Config) ->
    Options = [{checkpoint_log, 1 bsl 20}],
    in_kv(Config, Options, kv_disk_world:shimmed(Config, []), fun(Bucket) ->
        ok = kv_disk_world:break("checkpoint", ?EIO, Config),
        [ok = kv_bucket:put(Bucket, K, mib(K)) || K <- lists:seq(1, 4)],
        kv_test:wait(fun() -> checkpoint_is(failing) end),
        [ok = kv_bucket:put(Bucket, K, mib(K)) || K <- lists:seq(5, 8)],
        ?assertMatch(#{checkpoint_bytes := 0, last_checkpoint_ms := undefined, full := false}, maps:get(disk, kv_node:info()))
    end),
    ok = kv_disk_world:mend("checkpoint", Config),
    in_kv(Config, Options, kv_disk_world:shimmed(Config, []), fun(Bucket) ->
        ?assertEqual([mib(K) || K <- lists:seq(1, 8)], kv_bucket:get_many(Bucket, lists:seq(1, 8))),
        [ok = kv_bucket:put(Bucket, K, mib(K)) || K <- lists:seq(1, 8)],
        kv_test:wait(fun() -> checkpoint_is(there) end),
        #{checkpoint_bytes := Bytes, last_checkpoint_ms := Ms} = maps:get(disk, kv_node:info()),
        ?assert(Bytes > 1 bsl 20 andalso Ms >= 0)
    end),
    %% The next program knows of the checkpoint, too.
    in_kv(Config, [], kv_disk_world:shimmed(Config, []), fun(_Bucket) -> ?assert(checkpoint_is(there)) end).

checkpoint_is(failing) -> maps:get(checkpoint_failing, maps:get(disk, kv_node:info()));
checkpoint_is(there) -> maps:get(checkpoint_bytes, maps:get(disk, kv_node:info())) > 0.

%%% A disk that stands

%% For more than ten times the time in which the program must answer a ping.
a_disk_that_stands_holds_up_durable_buckets_alone(Config) ->
    Pings = [{ping_interval, 50}, {ping_timeout, 300}],
    in_kv(Config, Pings, kv_disk_world:shimmed(Config, []), fun(Bucket) ->
        {ok, Volatile} = kv_bucket:start_link([{name, in_memory}]),
        OsPid = kv_node:os_pid(),
        ok = kv_bucket:put(Bucket, before, 1),
        ok = kv_disk_world:break("stand", "", Config),
        Writers = [spawn_monitor(fun() -> exit(kv_bucket:put(Bucket, K, K, 60000)) end) || K <- lists:seq(1, 50)],
        Until = erlang:monotonic_time(millisecond) + 3500,
        Rounds = use_until(Until, Volatile, 0),
        ?assert(Rounds > 100, Rounds),
        ?assertEqual(OsPid, kv_node:os_pid()),
        %% Nothing of what is not on the disk was shown.
        ?assertEqual([], [M || {'DOWN', _, _, _, _} = M <- kv_test:mailbox()]),
        ?assertExit({timeout, _}, kv_bucket:get(Bucket, 1, undefined, 100)),
        ok = kv_disk_world:mend("stand", Config),
        [?assertEqual(ok, kv_test:down(Monitor)) || {_, Monitor} <- Writers],
        ?assertEqual(lists:seq(1, 50), kv_bucket:get_many(Bucket, lists:seq(1, 50))),
        ?assertEqual([OsPid, Rounds], [kv_node:os_pid(), kv_bucket:size(Volatile)]),
        ?assertEqual(1, kv_bucket:generation(Volatile))
    end).

more_than_may_wait_for_a_disk_that_stands_is_refused(Config) ->
    Pings = [{ping_interval, 100}, {ping_timeout, 2000}],
    in_kv(Config, Pings, kv_disk_world:shimmed(Config, []), fun(Bucket) ->
        {ok, Volatile} = kv_bucket:start_link([{name, in_memory}]),
        OsPid = kv_node:os_pid(),
        Before = memory(OsPid),
        %% Waits with all others, until it is refused.
        IsFull = fun() -> {error, busy} =:= kv_test:attempt(fun() -> kv_bucket:delete(Bucket, absent, 300) end) end,
        Small = stood(Config, Volatile, Before, IsFull, [fun() -> many(Bucket, Client) end || Client <- lists:seq(1, ?CLIENTS)]),
        Answered = lists:sum([length(Done) || {Done, _} <- Small]),
        ?assert(Answered >= 200000, Answered),
        ?assert(lists:sum([Refused || {_, Refused} <- Small]) > 0),
        ?assertEqual(Answered, kv_bucket:size(Bucket)),
        [?assertEqual(Done, kv_bucket:get_many(Bucket, Done)) || {Done, _} <- Small],
        ok = kv_bucket:clear(Bucket),
        AreRefused = fun() -> process_info(self(), message_queue_len) >= {message_queue_len, ?LARGE - 70} end,
        Put = fun(K) -> {K, kv_bucket:put(Bucket, K, mib(K), 240000)} end,
        Large = stood(Config, Volatile, Before, AreRefused, [fun() -> Put(K) end || K <- lists:seq(1, ?LARGE)]),
        Kept = [K || {K, ok} <- Large],
        ?assertEqual(?LARGE - length(Kept), length([K || {K, {error, busy}} <- Large])),
        ?assert(length(Kept) > 30 andalso length(Kept) < 70, Kept),
        ?assertEqual(lists:sort(Kept), lists:sort(kv_bucket:keys(Bucket))),
        [?assertEqual(mib(K), kv_bucket:get(Bucket, K)) || K <- Kept],
        ok = kv_bucket:put(Bucket, well, again),
        ?assertEqual([OsPid, 1], [kv_node:os_pid(), kv_bucket:generation(Volatile)])
    end).

%% Runs these while the disk stands, until IsFull, and returns what they do. A volatile bucket serves meanwhile, and the
%% program takes no more memory than it may.
stood(Config, Volatile, Before, IsFull, Funs) ->
    ok = kv_disk_world:break("stand", "", Config),
    Monitors = [Monitor || Fun <- Funs, {_, Monitor} <- [spawn_monitor(fun() -> exit({done, Fun()}) end)]],
    _ = use_until(erlang:monotonic_time(millisecond) + 1000 * stand(), Volatile, 0),
    ok = kv_bucket:clear(Volatile),
    ok = kv_test:wait(IsFull, 60000),
    ?assert(memory(kv_node:os_pid()) < Before + ?MEMORY, {Before, memory(kv_node:os_pid())}),
    ok = kv_disk_world:mend("stand", Config),
    [receive {'DOWN', Monitor, process, _, {done, Result}} -> Result after 240000 -> error(no_answer) end || Monitor <- Monitors].

%% Returns the keys that were put, and how many were refused.
many(Bucket, Client) ->
    Keys = [{Client, K} || K <- lists:seq(1, ?CHANGES)],
    Requests = [{Key, kv_bucket:async(Bucket, put, [Key, Key])} || Key <- Keys],
    Answers = [{Key, kv_bucket:await(Request, 240000)} || {Key, Request} <- Requests],
    Refused = length([busy || {_, {error, busy}} <- Answers]),
    Done = [Key || {Key, ok} <- Answers],
    ?CHANGES = length(Done) + Refused,
    {Done, Refused}.

memory(OsPid) ->
    {ok, Text} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/status"),
    {match, [Kib]} = re:run(Text, "VmRSS:\\s*([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Kib) * 1024.

stand() -> list_to_integer(os:getenv("KV_STAND", ?STAND)).

use_until(Until, Volatile, Rounds) ->
    ok = kv_bucket:put(Volatile, Rounds, Rounds),
    Rounds = kv_bucket:get(Volatile, Rounds),
    case erlang:monotonic_time(millisecond) < Until of
        true -> use_until(Until, Volatile, Rounds + 1);
        false -> Rounds + 1
    end.

%%% Support

in_vm(Config, Fun) -> kv_test:in(?config(vm, Config), Fun, 85000 + 4000 * stand()).

start_kv(Config, More, Program) ->
    kv_test:start_kv([{data_dir, kv_disk_world:folder(Config)}, {program, Program} | More]).

in_kv(Config, More, Program, Fun) ->
    in_vm(Config, fun() ->
        ok = start_kv(Config, More, Program),
        Fun(kv_disk_world:bucket(kv_node, sessions)),
        application:stop(kv)
    end).

again(Config, Program, Fun) -> in_kv(Config, [], Program, Fun).
