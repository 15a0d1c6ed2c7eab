%% @doc Data folders that a node refuses, with the sentence that a person gets; and folders with which it gets along.
-module(kv_folder_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(NOBODY, "65534").

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_folder_that_may_only_be_read,
        a_folder_of_another_user,
        a_file_system_that_may_only_be_read,
        a_folder_that_another_node_has,
        a_folder_that_another_node_leaves_in_a_moment,
        a_folder_of_a_later_version,
        a_folder_with_another_order_of_zeros,
        a_store_block_that_is_damaged,
        a_folder_without_its_store_block_is_refused_and_stays_as_it_is,
        a_log_that_is_damaged_before_answered_changes,
        a_file_of_the_log_that_is_missing,
        data_that_needs_more_memory_than_there_is,
        files_that_are_not_of_the_node,
        a_folder_that_is_removed_under_a_node_ends_it_before_any_answer,
        a_folder_that_is_moved_under_a_node_has_every_answered_change_once_it_is_back,
        a_file_system_that_is_mounted_over_the_folder_ends_the_node_before_any_answer,
        a_backup_of_a_folder_that_is_gone_says_so,
        a_clock_that_was_set_back,
        a_clock_that_is_set_back_under_a_node_ends_no_entry
    ].

init_per_suite(Config) -> kv_disk_world:build_shim(kv_disk_world:start_suite(Config)).
end_per_suite(Config) -> kv_disk_world:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_disk_world:start_case(Config).
end_per_testcase(_Case, Config) -> kv_disk_world:end_case(Config).

%%% Users and permissions

a_folder_that_may_only_be_read(Config) ->
    as_root(fun() ->
        Folder = kv_disk_world:folder(Config),
        ok = file:make_dir(Folder),
        "" = os:cmd("chown " ?NOBODY " " ++ Folder ++ " && chmod 500 " ++ Folder),
        check_refused(Config, [as_nobody(Config)], [
            "data folder .*: cannot use it: Permission denied: let the user of this program read, write and search the folder, "
            "or name another$"
        ])
    end).

a_folder_of_another_user(Config) ->
    as_root(fun() ->
        with_entry(Config),
        check_refused(Config, [as_nobody(Config)], [
            "data folder .*: it belongs to user 0, and this program runs as user " ?NOBODY ", who may not use it: change the "
            "owner, or name another folder$"
        ]),
        has_entry(Config)
    end).

a_file_system_that_may_only_be_read(Config) ->
    as_root(fun() ->
        with_entry(Config),
        Folder = kv_disk_world:folder(Config),
        Mount = "mount --bind " ++ Folder ++ " " ++ Folder ++ " && mount -o remount,ro,bind " ++ Folder,
        Program = kv_disk_world:apart(Config, [Mount]),
        case os:cmd("unshare -m true 2>&1") of
            "" ->
                check_refused(Config, [{program, Program}], [
                    "data folder .*: cannot use it: Read-only file system: mount the file system for writing, or name another "
                    "folder$"
                ]),
                has_entry(Config);
            Why ->
                {skip, "no mount namespace: " ++ Why}
        end
    end).

as_nobody(Config) ->
    {program, kv_disk_world:shimmed(Config, ["[ `id -u` != 0 ] || exec setpriv --reuid " ?NOBODY " --clear-groups \"$0\" \"$@\""])}.

as_root(Fun) ->
    case kv_disk_world:is_root() of
        true -> Fun();
        false -> {skip, "needs root to become another user"}
    end.

%%% Other nodes

a_folder_that_another_node_has(Config) ->
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config),
        OsPid = integer_to_list(kv_disk_world:os_pid(Server)),
        ?assertMatch(
            {match, _},
            re:run(kv_disk_world:refusal(Config), "^data folder .*: another node uses it, which is process " ++ OsPid ++ ": stop that node, or name another folder for this one$")
        ),
        kv_disk_world:stop_node(Server)
    end).

a_folder_that_another_node_leaves_in_a_moment(Config) ->
    with_entry(Config),
    in_vm(Config, fun() ->
        First = kv_disk_world:start_node(Config),
        Test = self(),
        Next = spawn_link(fun() ->
            Server = kv_disk_world:start_node(Config),
            Test ! {self(), Server},
            receive
                stop -> kv_disk_world:stop_node(Server)
            end
        end),
        kv_test:wait(fun() -> length(locking(Config)) > 1 end),
        ok = kv_disk_world:stop_node(First),
        receive
            {Next, Server} -> ?assertEqual(3, kv_bucket:get(kv_disk_world:bucket(Server, sessions), milk))
        end,
        Monitor = erlang:monitor(process, Next),
        Next ! stop,
        normal = kv_test:down(Monitor)
    end).

%% The programs that have opened the file `lock'.
locking(Config) ->
    Lock = kv_disk_world:file("lock", Config),
    lists:usort([hd(tl(tl(filename:split(Fd)))) || Fd <- filelib:wildcard("/proc/[0-9]*/fd/*"), file:read_link(Fd) =:= {ok, Lock}]).

%%% Other formats

a_folder_of_a_later_version(Config) ->
    with_entry(Config),
    change_store(Config, fun(<<Magic:8/binary, 1:32, Rest:40/binary>>) -> <<Magic/binary, 2:32, Rest/binary>> end),
    check_refused(Config, [], ["^data folder .*: it has version 2 of the format, and this program knows versions up to 1: use a newer program$"]).

change_store(Config, Change) ->
    File = kv_disk_world:file("store", Config),
    {ok, <<Before:52/binary, _Crc:32, Zeros/binary>>} = file:read_file(File),
    After = Change(Before),
    ok = file:write_file(File, <<After/binary, (kv_disk_world:crc32c(After)):32, Zeros/binary>>).

a_folder_with_another_order_of_zeros(Config) ->
    with_entry(Config, [{zeros, same}]),
    check_refused(Config, [{zeros, differ}], ["^data folder .*: its keys were stored with --zeros same, and 0.0 and -0.0 would change places: set the option zeros to same$"]).

%%% Damage

a_store_block_that_is_damaged(Config) ->
    with_entry(Config),
    File = kv_disk_world:file("store", Config),
    {ok, <<First, Rest/binary>>} = file:read_file(File),
    ok = file:write_file(File, <<(First bxor 1), Rest/binary>>),
    check_refused(Config, [], ["^data folder .*: the file store is damaged$"]),
    ok = file:write_file(File, <<"too short">>),
    check_refused(Config, [], ["^data folder .*: the file store has 9 bytes and not 4096: it is damaged$"]),
    ok = file:write_file(File, <<First, Rest/binary>>),
    has_entry(Config).

%% As from a copy that was not finished.
a_folder_without_its_store_block_is_refused_and_stays_as_it_is(Config) ->
    with_entry(Config),
    File = kv_disk_world:file("store", Config),
    ok = file:rename(File, File ++ ".away"),
    check_refused(Config, [], [
        "^data folder .*: the file store is missing, and a log or a checkpoint is there: copy all files of the folder, or use kv_node --salvage$"
    ]),
    ?assertNot(filelib:is_file(File)),
    ok = file:rename(File ++ ".away", File),
    has_entry(Config).

a_log_that_is_damaged_before_answered_changes(Config) ->
    with_entry(Config),
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config),
        Bucket = kv_disk_world:bucket(Server, sessions),
        [ok = kv_bucket:put(Bucket, Key, Key) || Key <- lists:seq(1, 20)],
        kv_disk_world:stop_node(Server)
    end),
    {ok, File} = file:open(kv_disk_world:file("log-0000000000000000", Config), [read, write, binary, raw]),
    {ok, <<Byte>>} = file:pread(File, 7 * 4096 + 70, 1),
    ok = file:pwrite(File, 7 * 4096 + 70, <<(Byte bxor 1)>>),
    check_refused(Config, [], ["^data folder .*: log-0000000000000000, byte 28672: "]),
    ok = file:pwrite(File, 7 * 4096 + 70, <<Byte>>),
    ok = file:close(File),
    has_entry(Config).

%% The value begins in the first file, and ends in the second. The third is made ahead.
a_file_of_the_log_that_is_missing(Config) ->
    Size = 65 bsl 20,
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config),
        ok = kv_bucket:put(kv_disk_world:bucket(Server, sessions), big, binary:copy(<<"v">>, Size), 60000),
        kv_test:wait(fun() -> filelib:is_file(kv_disk_world:file("log-0000000000000002", Config)) end),
        kv_disk_world:stop_node(Server)
    end),
    Missing = kv_disk_world:file("log-0000000000000001", Config),
    ok = file:rename(Missing, Missing ++ ".away"),
    check_refused(Config, [], ["^data folder .*: log-0000000000000001 is missing, but a part of the log lies there$"]),
    ok = file:rename(Missing ++ ".away", Missing),
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config),
        ?assertEqual(Size, byte_size(kv_bucket:get(kv_disk_world:bucket(Server, sessions), big, undefined, 60000))),
        kv_disk_world:stop_node(Server)
    end).

data_that_needs_more_memory_than_there_is(Config) ->
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config),
        ok = kv_bucket:put(kv_disk_world:bucket(Server, sessions), big, binary:copy(<<"v">>, 20 bsl 20)),
        kv_disk_world:stop_node(Server)
    end),
    check_refused(Config, [{max_memory, 16 bsl 20}], ["^data folder .*: the durable buckets need 2[0-9]+ bytes of memory, and --max-memory allows 16777216: raise it$"]).

%%% Folders that go away under a node

-define(GONE, "^data folder .*: it was removed, moved or unmounted while the node used it, .*: put it back, or restore a backup$").

a_folder_that_is_removed_under_a_node_ends_it_before_any_answer(Config) ->
    goes_away(Config, kv_test:program(), fun() -> file:del_dir_r(kv_disk_world:folder(Config)) end, fun(Bucket) ->
        ?assertEqual(0, kv_bucket:size(Bucket)),
        ?assertEqual(ok, kv_bucket:put(Bucket, again, 1))
    end).

a_folder_that_is_moved_under_a_node_has_every_answered_change_once_it_is_back(Config) ->
    Folder = kv_disk_world:folder(Config),
    Aside = Folder ++ ".aside",
    goes_away(Config, kv_test:program(), fun() -> file:rename(Folder, Aside) end, fun(Bucket) -> ?assertEqual(0, kv_bucket:size(Bucket)) end),
    ok = file:del_dir_r(Folder),
    ok = file:rename(Aside, Folder),
    in_a_vm(Config, kv_test:program(), fun(Bucket) -> ?assertEqual(lists:seq(1, 100), kv_bucket:get_many(Bucket, lists:seq(1, 100))) end).

a_file_system_that_is_mounted_over_the_folder_ends_the_node_before_any_answer(Config) ->
    as_root(fun() ->
        Mount = fun() ->
            "" = os:cmd("nsenter -m -t " ++ integer_to_list(kv_node:os_pid()) ++ " mount -t tmpfs none " ++ kv_disk_world:folder(Config) ++ " 2>&1"),
            ok
        end,
        goes_away(Config, kv_disk_world:apart(Config, []), Mount, fun(Bucket) ->
            %% The next program has a name space of its own, and sees the folder.
            ?assertEqual(lists:seq(1, 100), kv_bucket:get_many(Bucket, lists:seq(1, 100)))
        end)
    end).

a_backup_of_a_folder_that_is_gone_says_so(Config) ->
    Backup = filename:join(?config(case_home, Config), "backup"),
    in_a_vm(Config, kv_test:program(), fun(Bucket) ->
        ok = kv_bucket:put(Bucket, 1, 1),
        ok = file:del_dir_r(kv_disk_world:folder(Config)),
        {exit, {fatal, log_failed, Text}} = kv_test:outcome(fun() -> kv:backup(Backup) end),
        ?assertMatch({match, _}, re:run(Text, ?GONE), Text),
        ?assertEqual([], filelib:wildcard(Backup ++ "*"))
    end).

goes_away(Config, Program, GoAway, Then) ->
    in_a_vm(Config, Program, fun(Bucket) ->
        [ok = kv_bucket:put(Bucket, K, K) || K <- lists:seq(1, 100)],
        Node = monitor(process, kv_node),
        ok = GoAway(),
        {fatal, log_failed, Text} = end_of(Node, Bucket),
        ?assertMatch({match, _}, re:run(Text, ?GONE), Text),
        _ = kv_disk_world:patient(fun() -> kv_bucket:size(Bucket) end),
        Then(Bucket)
    end).

%% The program looks ten times a second while it writes. It may write something of its own meanwhile.
end_of(Node, Bucket) ->
    receive
        {'DOWN', Node, process, _, Reason} -> Reason
    after 200 ->
        ?assertMatch({exit, _}, kv_test:outcome(fun() -> kv_bucket:put(Bucket, last, 1) end)),
        kv_test:down(Node)
    end.

in_a_vm(Config, Program, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(Vm, fun() ->
            ok = kv_test:start_kv([{data_dir, kv_disk_world:folder(Config)}, {program, Program}]),
            _ = Fun(kv_disk_world:bucket(kv_node, sessions)),
            application:stop(kv)
        end, 50000)
    after
        ok = kv_test:stop_vm(Vm)
    end.

%%% Folders with which a node gets along

files_that_are_not_of_the_node(Config) ->
    with_entry(Config),
    Garbage = rand:bytes(10000),
    Names = ["README", "log-", "log-1", "log-000000000000000g", "log-0000000000000000.old", "ahead.tmp", "store.tmp", "größe"],
    [ok = file:write_file(kv_disk_world:file(Name, Config), Garbage) || Name <- Names],
    ok = file:make_dir(kv_disk_world:file("lost+found", Config)),
    has_entry(Config).

%% An entry with a time to live and one that has ended; both as of the later time.
a_clock_that_was_set_back(Config) ->
    Program = {program, kv_disk_world:shimmed(Config, [])},
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config, [Program]),
        Bucket = kv_disk_world:bucket(Server, sessions),
        ok = kv_bucket:put(Bucket, short, 1, [{ttl, 100}]),
        ok = kv_bucket:put(Bucket, long, 1, [{ttl, 7200000}]),
        ok = kv_bucket:put(Bucket, ever, 1),
        error = kv_test:wait(fun() -> kv_bucket:fetch(Bucket, short) =:= error andalso error end),
        ok = kv_bucket:put(Bucket, later, 1),
        kv_disk_world:stop_node(Server)
    end),
    [ttls_do_not_go_back(Config, Program, Hours, Most) || {Hours, Most} <- [{-24 * 365, 7200000}, {1, 3600000}, {0, 3600000}]],
    ok = kv_disk_world:break("clock", integer_to_list(3 * 3600), Config),
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config, [Program]),
        Bucket = kv_disk_world:bucket(Server, sessions),
        ?assertEqual([error, error, {ok, 1}], [kv_bucket:fetch(Bucket, Key) || Key <- [short, long, ever]]),
        kv_disk_world:stop_node(Server)
    end).

%% A change is made in each life, so that the log knows the time.
ttls_do_not_go_back(Config, Program, Hours, Most) ->
    ok = kv_disk_world:break("clock", integer_to_list(Hours * 3600), Config),
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config, [Program]),
        Bucket = kv_disk_world:bucket(Server, sessions),
        {ok, Left} = kv_bucket:ttl(Bucket, long),
        ?assert(Left =< Most andalso Left > Most - 600000, {Hours, Left}),
        ?assertEqual(error, kv_bucket:fetch(Bucket, short)),
        ?assertEqual({ok, infinity}, kv_bucket:ttl(Bucket, ever)),
        ok = kv_bucket:put(Bucket, hours, Hours),
        kv_disk_world:stop_node(Server)
    end).

%% The log knows of a later time than that at which the entry was put.
a_clock_that_is_set_back_under_a_node_ends_no_entry(Config) ->
    Program = {program, kv_disk_world:shimmed(Config, [])},
    ok = kv_disk_world:break("clock", "7200", Config),
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config, [Program]),
        Bucket = kv_disk_world:bucket(Server, sessions),
        ok = kv_bucket:put(Bucket, ever, 1),
        ok = kv_disk_world:mend("clock", Config),
        ok = kv_bucket:put(Bucket, long, 1, [{ttl, 3600000}]),
        kv_disk_world:stop_node(Server)
    end),
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config, [Program]),
        {ok, Left} = kv_bucket:ttl(kv_disk_world:bucket(Server, sessions), long),
        ?assert(Left =< 3600000 andalso Left > 3000000, Left),
        kv_disk_world:stop_node(Server)
    end).

%%% Support

in_vm(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

with_entry(Config) ->
    with_entry(Config, []).

with_entry(Config, Options) ->
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config, Options),
        ok = kv_bucket:put(kv_disk_world:bucket(Server, sessions), milk, 3),
        kv_disk_world:stop_node(Server)
    end).

has_entry(Config) ->
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config),
        ?assertEqual(3, kv_bucket:get(kv_disk_world:bucket(Server, sessions), milk)),
        kv_disk_world:stop_node(Server)
    end).

check_refused(Config, Options, Patterns) ->
    Text = in_vm(Config, fun() -> kv_disk_world:refusal(Config, Options) end),
    [?assertMatch({match, _}, re:run(Text, Pattern), {Text, Pattern}) || Pattern <- Patterns].
