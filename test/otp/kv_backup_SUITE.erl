%% @doc Backups of a node that runs: what is in them, what refuses them, and what is left of one that did not end well.
-module(kv_backup_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MIB, 1048576).
-define(WRITERS, 4).

suite() -> [{timetrap, {seconds, 300}}].

all() ->
    [
        backups_under_load_have_each_change_that_was_answered_before,
        a_backup_stays_as_it_is_while_the_node_goes_on,
        a_backup_has_registries_renames_and_times_to_live,
        a_backup_on_another_file_system_is_a_copy,
        a_backup_of_a_node_without_entries_starts,
        a_folder_that_will_not_do_is_refused_in_words,
        a_program_that_is_killed_leaves_nothing_that_looks_like_a_backup,
        a_node_that_ends_meanwhile_leaves_nothing_behind,
        a_caller_that_gives_up_leaves_the_backup_to_itself,
        another_node_makes_a_backup_with_a_plain_name_below_backup_dir,
        without_backup_dir_no_message_makes_a_backup,
        damage_to_any_answered_change_in_a_backup_is_found
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% The contents of a backup

%% Each writer changes two keys with one request. The log and the checkpoints are replaced all the time.
backups_under_load_have_each_change_that_was_answered_before(Config) ->
    Rounds = with_kv(Config, fun() ->
        ok = start(sessions, commit),
        ok = start(views, interval),
        [ok = kv_bucket:put(sessions, {old, N}, binary:copy(<<N>>, ?MIB), infinity) || N <- lists:seq(1, 80)],
        Answered = atomics:new(2 * ?WRITERS, []),
        Writers = [spawn_link(fun() -> write(Bucket, W, 1, Answered) end) || {Bucket, W} <- writers()],
        ok = kv_test:wait(fun() -> lists:all(fun(Last) -> Last > 20 end, last(Answered)) end),
        Made = [
            begin
                Before = last(Answered),
                {ok, #{folder := Folder, bytes := Bytes, written_bytes := Written}} = kv:backup(name(Config, Round)),
                ?assertEqual(unicode:characters_to_binary(name(Config, Round)), Folder),
                ?assertEqual(Bytes, lists:sum([filelib:file_size(File) || File <- files(Folder)])),
                ?assert(Written < Bytes),
                {Folder, Before}
            end
         || Round <- [1, 2, 3]
        ],
        [begin unlink(Writer), exit(Writer, kill) end || Writer <- Writers],
        Made
    end),
    [
        begin
            ?assertEqual([], filelib:wildcard(binary_to_list(Folder) ++ "*tmp*")),
            ok = is_whole(Folder),
            ok = has_all(Config, Folder, Before)
        end
     || {Folder, Before} <- Rounds
    ].

writers() -> [{sessions, W} || W <- lists:seq(1, ?WRITERS)] ++ [{views, W} || W <- lists:seq(?WRITERS + 1, 2 * ?WRITERS)].

write(Bucket, W, N, Answered) ->
    ok = kv_bucket:put_many(Bucket, [{{W, one}, N}, {{W, other}, {N, binary:copy(<<N>>, 2000)}}]),
    ok = atomics:put(Answered, W, N),
    write(Bucket, W, N + 1, Answered).

last(Answered) -> [atomics:get(Answered, W) || W <- lists:seq(1, 2 * ?WRITERS)].

has_all(Config, Folder, Before) ->
    with_kv(Config, [{data_dir, binary_to_list(Folder)}], fun() ->
        ok = start(sessions, commit),
        ok = start(views, interval),
        [
            begin
                [N, {Other, Bytes}] = kv_bucket:get_many(Bucket, [{W, one}, {W, other}]),
                ?assertEqual({N, binary:copy(<<N>>, 2000)}, {Other, Bytes}),
                ?assert(N >= lists:nth(W, Before))
            end
         || {Bucket, W} <- writers()
        ],
        [?assertEqual(binary:copy(<<N>>, ?MIB), kv_bucket:get(sessions, {old, N})) || N <- lists:seq(1, 80)],
        %% The node goes on in the new folder.
        ok = kv_bucket:put(sessions, new, 1)
    end).

%% 200 MiB are enough for the node to use all files of the log again.
a_backup_stays_as_it_is_while_the_node_goes_on(Config) ->
    Folder = name(Config, kept),
    with_kv(Config, fun() ->
        ok = start(sessions, commit),
        [ok = kv_bucket:put(sessions, N, {first, binary:copy(<<N>>, ?MIB)}, infinity) || N <- lists:seq(1, 10)],
        {ok, _} = kv:backup(Folder),
        Names = [filename:basename(File) || File <- files(Folder)],
        [ok = kv_bucket:put(sessions, N rem 10 + 1, {then, binary:copy(<<N>>, ?MIB)}, infinity) || N <- lists:seq(1, 200)],
        ok = kv_test:wait(fun() -> not filelib:is_file(filename:join(folder(Config), hd([N || "checkpoint" ++ _ = N <- Names]))) end)
    end),
    ok = is_whole(Folder),
    with_kv(Config, [{data_dir, Folder}], fun() ->
        ok = start(sessions, commit),
        [?assertEqual({first, binary:copy(<<N>>, ?MIB)}, kv_bucket:get(sessions, N)) || N <- lists:seq(1, 10)]
    end).

a_backup_has_registries_renames_and_times_to_live(Config) ->
    Folder = name(Config, registry),
    with_kv(Config, fun() ->
        ok = start_registry(carts),
        ok = kv_registry:create(carts, <<"one">>),
        ok = kv_registry:create(carts, <<"gone">>),
        {ok, One} = kv_registry:lookup(carts, <<"one">>),
        ok = kv_bucket:put(One, eggs, 12),
        ok = kv_bucket:put(One, soon, 1, [{ttl, 3600000}]),
        ok = kv_registry:rename(carts, <<"one">>, <<"another">>),
        ok = kv_registry:delete(carts, <<"gone">>),
        {ok, _} = kv:backup(Folder),
        ok = kv_registry:rename(carts, <<"another">>, <<"later">>)
    end),
    ok = is_whole(Folder),
    with_kv(Config, [{data_dir, Folder}], fun() ->
        ok = start_registry(carts),
        ?assertEqual([<<"another">>], kv_registry:names(carts)),
        {ok, Another} = kv_registry:lookup(carts, <<"another">>),
        ?assertEqual(12, kv_bucket:get(Another, eggs)),
        {ok, Left} = kv_bucket:ttl(Another, soon),
        ?assert(Left > 0 andalso Left =< 3600000)
    end).

start_registry(Name) ->
    {ok, _} = kv_registry:start_link([{name, Name}, {durable, commit}]),
    ok.

a_backup_on_another_file_system_is_a_copy(Config) ->
    case file_system("/dev/shm") =:= file_system(?config(home, Config)) of
        false -> backup_on_another_file_system(Config);
        true -> {skip, "/dev/shm is no file system of its own"}
    end.

file_system(Folder) ->
    {ok, #file_info{major_device = Device}} = file:read_file_info(Folder),
    Device.

backup_on_another_file_system(Config) ->
    Folder = filename:join("/dev/shm", "kv_backup_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive]))),
    try
        with_kv(Config, fun() ->
            ok = start(sessions, commit),
            ok = kv_bucket:put_many(sessions, [{N, binary:copy(<<N>>, 1000)} || N <- lists:seq(1, 1000)]),
            {ok, #{bytes := Bytes, written_bytes := Bytes}} = kv:backup(Folder)
        end),
        ok = is_whole(Folder),
        with_kv(Config, [{data_dir, Folder}], fun() ->
            ok = start(sessions, commit),
            ?assertEqual(1000, kv_bucket:size(sessions))
        end)
    after
        _ = file:del_dir_r(Folder)
    end.

a_backup_of_a_node_without_entries_starts(Config) ->
    Folder = name(Config, "with a space and öäü"),
    with_kv(Config, fun() -> {ok, _} = kv:backup(Folder) end),
    ok = is_whole(Folder),
    with_kv(Config, [{data_dir, Folder}], fun() -> ok = start(sessions, commit) end).

%%% Refusals

a_folder_that_will_not_do_is_refused_in_words(Config) ->
    Home = ?config(home, Config),
    Data = folder(Config),
    ok = filelib:ensure_dir(filename:join([Home, "there", "file"])),
    ok = filelib:ensure_dir(filename:join([Home, "taken.tmp", "file"])),
    ok = file:write_file(filename:join([Home, "taken.tmp", "store"]), "mine"),
    ok = file:make_symlink(Data, filename:join(Home, "link")),
    with_kv(Config, fun() ->
        Refused = fun(Folder) ->
            {error, {bad_folder, Text}} = kv:backup(Folder),
            ?assertEqual(Text, kv_error:text({bad_folder, Text})),
            binary_to_list(Text)
        end,
        ?assertMatch({match, _}, re:run(Refused(filename:join(Home, "there")), "it is there already: name a new folder$")),
        ?assertMatch({match, _}, re:run(Refused(filename:join(Home, "there/../")), "it is there already")),
        ?assertMatch({match, _}, re:run(Refused("/"), "it is there already")),
        ?assertMatch({match, _}, re:run(Refused(filename:join([Home, "no", "new"])), "make the folder above, or mount it$")),
        ?assertMatch({match, _}, re:run(Refused(filename:join([Home, "program", "new"])), "cannot open the folder above")),
        ?assertMatch({match, _}, re:run(Refused(Data), "it is the data folder of the node")),
        ?assertMatch({match, _}, re:run(Refused(filename:join(Data, "new")), "it is in the data folder of the node")),
        ?assertMatch({match, _}, re:run(Refused(filename:join([Home, "link", "new"])), "it is in the data folder of the node")),
        ?assertMatch({match, _}, re:run(Refused(filename:join(Home, "new.tmp")), "its name ends in .tmp")),
        ?assertMatch({match, _}, re:run(Refused(filename:join(Home, "taken")), "taken.tmp is in the way, with files that are of no backup")),
        ?assertMatch({match, _}, re:run(Refused(filename:join(Home, lists:duplicate(255, $a))), "its name is too long")),
        ?assertMatch({match, _}, re:run(Refused(filename:join([Home | lists:duplicate(500, "aaaaaaaaaa")])), "too long")),
        ?assertMatch({match, _}, re:run(Refused(filename:join(Home, "two\nlines")), "control character")),
        ?assertMatch({match, _}, re:run(Refused(""), "is empty")),
        ?assertEqual({ok, <<"mine">>}, file:read_file(filename:join([Home, "taken.tmp", "store"]))),
        [?assertError(badarg, kv:backup(NoPath)) || NoPath <- [{not_a, path}, undefined, nil]],
        ?assertMatch({error, {bad_option, colour, _}}, kv:backup(name(Config, new), [{colour, red}])),
        ?assertMatch({error, {bad_option, timeout, _}}, kv:backup(name(Config, new), #{timeout => -1})),
        ?assertExit({noproc, _}, kv:backup(name(Config, new), [{node, no_such_kv_node}])),
        {ok, _} = kv:backup(name(Config, new), [{node, kv_node}]),
        ?assertMatch({match, _}, re:run(Refused(name(Config, new)), "it is there already"))
    end),
    ?assertEqual([], filelib:wildcard(filename:join(Home, "new*.tmp"))),
    with_kv(Config, [], fun() ->
        {error, {no_data_dir, Text}} = kv:backup(name(Config, other)),
        ?assertEqual(Text, kv_error:text({no_data_dir, Text}))
    end).

%%% Backups that do not end well

a_program_that_is_killed_leaves_nothing_that_looks_like_a_backup(Config) ->
    Folder = name(Config, killed),
    with_kv(Config, fun() ->
        ok = fill(),
        [
            begin
                {Caller, Monitor} = spawn_monitor(fun() -> exit({result, kv:backup(Folder)}) end),
                ok = kv_test:wait(fun() -> filelib:is_file(filename:join(Folder ++ ".tmp", Last)) orelse filelib:is_file(Folder) end),
                ok = kv_test:signal("KILL", kv_node:os_pid()),
                receive
                    {'DOWN', Monitor, process, Caller, {{killed, sigkill}, {kv, backup, [Folder, []]}}} ->
                        ?assertNot(filelib:is_file(Folder)),
                        ?assert(filelib:is_dir(Folder ++ ".tmp"));
                    %% The backup was faster than the signal.
                    {'DOWN', Monitor, process, Caller, {result, {ok, _}}} ->
                        ok = is_whole(Folder),
                        ok = file:del_dir_r(Folder)
                end,
                ok = kv_test:wait(fun() -> is_back() end)
            end
         || Last <- ["", "store", "store", "log-0000000000000002"]
        ],
        {ok, _} = kv:backup(Folder),
        ?assertNot(filelib:is_file(Folder ++ ".tmp"))
    end),
    ok = is_whole(Folder).

%% 150 MiB: some segments, and no checkpoint yet.
fill() ->
    {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}, {on_node_down, stay}]),
    [ok = kv_bucket:put(sessions, N, binary:copy(<<N>>, 10 * ?MIB), infinity) || N <- lists:seq(1, 15)],
    ok.

is_back() ->
    try kv_bucket:get(sessions, 1) of
        Value -> is_binary(Value)
    catch
        exit:_ -> false
    end.

a_node_that_ends_meanwhile_leaves_nothing_behind(Config) ->
    Folder = name(Config, ended),
    with_kv(Config, fun() ->
        ok = fill(),
        {Caller, Monitor} = spawn_monitor(fun() -> exit({result, kv:backup(Folder)}) end),
        ok = kv_test:wait(fun() -> filelib:is_file(Folder ++ ".tmp") orelse filelib:is_file(Folder) end),
        OsPid = kv_node:os_pid(),
        ok = application:stop(kv),
        receive
            {'DOWN', Monitor, process, Caller, {result, {ok, _}}} -> ok = is_whole(Folder);
            {'DOWN', Monitor, process, Caller, {_, {kv, backup, _}}} -> ok
        end,
        ?assertNot(kv_test:is_os_process(OsPid)),
        ?assertNot(filelib:is_file(Folder ++ ".tmp"))
    end).

a_caller_that_gives_up_leaves_the_backup_to_itself(Config) ->
    Folder = name(Config, alone),
    with_kv(Config, fun() ->
        ok = fill(),
        ?assertExit({timeout, {kv, backup, _}}, kv:backup(Folder, [{timeout, 0}])),
        ?assertMatch({error, {backup_under_way, _}}, kv:backup(name(Config, second))),
        ok = kv_test:wait(fun() -> filelib:is_file(Folder) end),
        ok = kv_test:wait(fun() -> element(1, kv:backup(name(Config, second))) =:= ok end),
        receive
            Message -> error({unexpected, Message})
        after 0 -> ok
        end
    end),
    ok = is_whole(Folder),
    ok = is_whole(name(Config, second)).

%%% By message

another_node_makes_a_backup_with_a_plain_name_below_backup_dir(Config) ->
    Below = filename:join(?config(home, Config), "backups"),
    ok = file:make_dir(Below),
    Other = kv_test:start_vm(Config),
    OtherNode = kv_test:in(Other, fun() -> node() end),
    try
        with_kv(Config, [{backup_dir, Below} | options(Config)], fun() ->
            ok = start(sessions, commit),
            ok = kv_bucket:put(sessions, eggs, 12),
            Node = kv_node:name(),
            Ask = fun(Name) -> erpc:call(OtherNode, kv, backup, [Name, [{node, Node}]]) end,
            Path = unicode:characters_to_binary(filename:join(Below, "nightly")),
            ?assertMatch({ok, #{folder := Path, bytes := _, written_bytes := _}}, Ask("nightly")),
            [
                ?assertMatch({error, {bad_folder, <<"the name of a backup has 1 to 200 bytes", _/binary>>}}, Ask(Name))
             || Name <- ["../x", "a/b", "/tmp/x", ".", "..", ".hidden", "", "a\nb", lists:duplicate(201, $a)]
            ],
            ?assertMatch({error, {bad_folder, _}}, Ask("nightly")),
            ?assertMatch({error, {bad_folder, _}}, Ask("nightly.tmp")),
            %% As from this VM, by the name of the C node.
            ?assertMatch({ok, #{folder := _}}, kv:backup("again", [{node, Node}])),
            ?assertMatch({error, {bad_option, node, _}}, erpc:call(OtherNode, kv, backup, ["x", [{node, node()}]]))
        end)
    after
        ok = kv_test:stop_vm(Other)
    end,
    {ok, Names} = file:list_dir(Below),
    ?assertEqual(["again", "nightly"], lists:sort(Names)),
    ok = is_whole(filename:join(Below, "nightly")).

without_backup_dir_no_message_makes_a_backup(Config) ->
    with_kv(Config, fun() ->
        {error, {no_backup_dir, Text}} = kv:backup("nightly", [{node, kv_node:name()}]),
        ?assertEqual(Text, kv_error:text({no_backup_dir, Text}))
    end).

%%% Damage

damage_to_any_answered_change_in_a_backup_is_found(Config) ->
    Folder = name(Config, damaged),
    with_kv(Config, fun() ->
        ok = start(sessions, commit),
        ok = kv_bucket:put(sessions, eggs, 12),
        {ok, _} = kv:backup(Folder)
    end),
    [Checkpoint] = filelib:wildcard(filename:join(Folder, "checkpoint-*")),
    [
        begin
            ok = flip(File, At),
            {1, Text} = check(Folder),
            ?assertMatch({match, _}, re:run(Text, "damaged +" ++ filename:basename(File))),
            ok = flip(File, At)
        end
     || {File, At} <- [{Checkpoint, 4096 + 30}, {Checkpoint, 20}]
    ],
    ok = is_whole(Folder).

flip(Path, At) ->
    {ok, File} = file:open(Path, [read, write, raw, binary]),
    {ok, <<Byte>>} = file:pread(File, At, 1),
    ok = file:pwrite(File, At, <<(Byte bxor 1)>>),
    file:close(File).

%%% Support

is_whole(Folder) ->
    {0, Text} = check(Folder),
    {match, _} = re:run(Text, "result +whole"),
    ok.

check(Folder) ->
    Command = unicode:characters_to_list([$', kv_program:program(), "' --check '", Folder, "'; echo status $?"]),
    Text = os:cmd(Command),
    {match, [Status]} = re:run(Text, "status ([0-9]+)", [{capture, all_but_first, list}]),
    {list_to_integer(Status), Text}.

start(Name, Policy) ->
    {ok, _} = kv_bucket:start_link([{name, Name}, {durable, Policy}]),
    ok.

files(Folder) -> filelib:wildcard(filename:join(unicode:characters_to_list(Folder), "*")).

folder(Config) -> filename:join(?config(home, Config), "folder").

name(Config, Name) -> filename:join(?config(home, Config), lists:flatten(io_lib:format("backup ~tp", [Name]))).

options(Config) -> [{data_dir, folder(Config)}, {checkpoint_log, ?MIB}].

with_kv(Config, Fun) -> with_kv(Config, options(Config), Fun).

with_kv(Config, Options, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(
            Vm,
            fun() ->
                ok = kv_test:start_kv(Options),
                Fun()
            end,
            240000
        )
    after
        ok = kv_test:stop_vm(Vm)
    end.
