%% @doc Checkpoints of a node: the folder of durable buckets stays small, and every answered change is there after kills.
-module(kv_checkpoint_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(MIB, 1048576).
-define(SEGMENT, (64 * ?MIB)).

suite() -> [{timetrap, {seconds, 300}}].

all() ->
    [
        a_folder_has_one_checkpoint_and_the_log_since,
        a_program_that_is_killed_while_it_writes_checkpoints_loses_no_answered_change,
        a_damaged_checkpoint_is_refused_with_its_name_and_the_place,
        salvage_has_what_is_in_the_checkpoint_alone,
        salvage_goes_on_behind_damage_to_the_checkpoint
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%% 200 MiB are written, 10 MiB are live.
a_folder_has_one_checkpoint_and_the_log_since(Config) ->
    Folder = folder(Config),
    with_kv(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        [ok = kv_bucket:put(sessions, N rem 10, {N, binary:copy(<<N>>, ?MIB)}) || N <- lists:seq(1, 200)],
        kv_test:wait(fun() -> not filelib:is_file(segment(Folder, 0)) andalso length(checkpoints(Folder)) =:= 1 end),
        ?assert(length(files(Folder, "log-*")) =< 5),
        [Checkpoint] = checkpoints(Folder),
        ?assert(filelib:file_size(Checkpoint) < 12 * ?MIB)
    end),
    with_kv(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        ?assertEqual(10, kv_bucket:size(sessions)),
        [?assertEqual({N, binary:copy(<<N>>, ?MIB)}, kv_bucket:get(sessions, N rem 10)) || N <- lists:seq(191, 200)]
    end).

%% With 1 MiB of log before a checkpoint, nearly all the time one is being written, renamed, or its place is made.
a_program_that_is_killed_while_it_writes_checkpoints_loses_no_answered_change(Config) ->
    with_kv(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}, {on_node_down, stay}]),
        Test = self(),
        Writer = spawn_link(fun() -> write(Test, 1) end),
        [
            begin
                ok = answered(Last),
                ok = kill_program()
            end
         || Last <- [last_of(Round) || Round <- lists:seq(1, 8)]
        ],
        ok = answered(400),
        true = unlink(Writer),
        exit(Writer, kill),
        Last = last_answered(400),
        Lost = [N || N <- lists:seq(max(1, Last - 99), Last), lost(N, kv_bucket:get(sessions, N rem 100))],
        ?assertEqual([], Lost)
    end).

%% Returns once there is another. Answers from before may tell that it is time for the next kill.
kill_program() ->
    OsPid = kv_node:os_pid(),
    ok = kv_test:signal("KILL", OsPid),
    kv_test:wait(fun() -> kv_test:patient(fun() -> kv_node:os_pid() end, 1000) =/= OsPid end).

%% A later change of the key may be there.
lost(N, {There, Value}) -> There < N orelse Value =/= value(There);
lost(_N, undefined) -> true.


last_of(Round) -> Round * 40 + rand:uniform(30) - 1.

value(N) -> binary:copy(<<N:32>>, 10000 + N rem 7 * 3000).

write(Test, N) ->
    try
        ok = kv_bucket:put(sessions, N rem 100, {N, value(N)}),
        Test ! {answered, N},
        write(Test, N + 1)
    catch
        exit:_ -> write(Test, N)
    end.

answered(N) ->
    receive
        {answered, There} when There >= N -> ok
    end.

last_answered(Last) ->
    receive
        {answered, N} -> last_answered(max(N, Last))
    after 0 -> Last
    end.

a_damaged_checkpoint_is_refused_with_its_name_and_the_place(Config) ->
    Folder = folder(Config),
    with_kv(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        [ok = kv_bucket:put(sessions, N, binary:copy(<<N>>, 100000)) || N <- lists:seq(1, 30)],
        kv_test:wait(fun() -> checkpoints(Folder) =/= [] end)
    end),
    Checkpoint = lists:last(checkpoints(Folder)),
    ok = flip(Checkpoint, 5000),
    Vm = kv_test:start_vm(Config),
    Refused = kv_test:in(Vm, fun() -> kv_test:attempt(fun() -> kv_test:start_kv(options(Config)) end) end),
    ok = kv_test:stop_vm(Vm),
    Text = lists:flatten(io_lib:format("~p", [Refused])),
    ?assertMatch({match, _}, re:run(Text, filename:basename(Checkpoint) ++ ", byte 4096: the checkpoint is damaged")).

%% The first file of the log is gone, and nothing but the checkpoint has the entries `{old, N}'.
salvage_has_what_is_in_the_checkpoint_alone(Config) ->
    Folder = folder(Config),
    Old = [{{old, N}, binary:copy(<<N>>, 500000)} || N <- lists:seq(1, 4)],
    with_kv(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        ok = kv_bucket:put_many(sessions, maps:from_list(Old)),
        [ok = kv_bucket:put(sessions, last, {N, binary:copy(<<N>>, ?MIB)}) || N <- lists:seq(1, 200)],
        kv_test:wait(fun() -> not filelib:is_file(segment(Folder, 0)) end)
    end),
    {0, _} = salvage(Folder, Folder ++ ".whole"),
    ?assertEqual({5, Old}, kept(Config, Folder ++ ".whole", Old)),
    %% The last chunk with records: one block is behind it.
    Checkpoint = lists:last(checkpoints(Folder)),
    ok = flip(Checkpoint, filelib:file_size(Checkpoint) - 2 * 4096 - 1),
    {1, Text} = salvage(Folder, Folder ++ ".damaged"),
    ?assertMatch({match, _}, re:run(Text, "lost +" ++ filename:basename(Checkpoint) ++ ", byte [0-9]+: .*: a part of the checkpoint, [0-9]+ bytes")),
    {_, Some} = kept(Config, Folder ++ ".damaged", Old),
    ?assertMatch([_ | _], Some),
    ?assertEqual([], Some -- Old).

%% Thousands of entries in each piece of the checkpoint, and one bad byte in the first piece.
salvage_goes_on_behind_damage_to_the_checkpoint(Config) ->
    Folder = folder(Config),
    Keys = lists:seq(1, 20000),
    with_kv(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        ok = kv_bucket:put_many(sessions, [{K, <<"a value of thirty bytes or more", K:32>>} || K <- Keys])
    end),
    Backup = Folder ++ ".backup",
    with_kv(Config, fun() -> {ok, _} = kv:backup(Backup) end),
    [Checkpoint] = checkpoints(Backup),
    ok = flip(Checkpoint, 20000),
    {1, Text} = salvage(Backup, Folder ++ ".salvaged"),
    ?assertMatch({match, _}, re:run(Text, "lost +" ++ filename:basename(Checkpoint) ++ ", byte 4096: .*: a part of the checkpoint, 262144 bytes")),
    {match, [Saved]} = re:run(Text, "of the checkpoint: [01] tables with ([0-9]+) entries", [{capture, all_but_first, list}]),
    ?assert(list_to_integer(Saved) > length(Keys) div 2, Text),
    ?assertMatch({match, _}, re:run(Text, "salvaged_[0-9]+ \\(commit\\): " ++ Saved ++ " entries")).

kept(Config, Folder, Wanted) ->
    with_kv(Config, [{data_dir, Folder}], fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        {kv_bucket:size(sessions), [{Key, Value} || {Key, _} <- Wanted, {ok, Value} <- [kv_bucket:fetch(sessions, Key)]]}
    end).

salvage(From, To) ->
    Text = os:cmd(lists:flatten(io_lib:format("'~ts' --salvage '~ts' --to '~ts'; echo status $?", [kv_program:program(), From, To]))),
    {match, [Status]} = re:run(Text, "status ([0-9]+)", [{capture, all_but_first, list}]),
    {list_to_integer(Status), Text}.

%%% Support

flip(Path, At) ->
    {ok, File} = file:open(Path, [read, write, raw, binary]),
    {ok, <<Byte>>} = file:pread(File, At, 1),
    ok = file:pwrite(File, At, <<(Byte bxor 1)>>),
    file:close(File).

folder(Config) -> filename:join(?config(home, Config), "folder").

options(Config) -> [{data_dir, folder(Config)}, {checkpoint_log, ?MIB}].

files(Folder, Pattern) -> lists:sort(filelib:wildcard(filename:join(Folder, Pattern))).

checkpoints(Folder) -> files(Folder, "checkpoint-*").

segment(Folder, N) -> filename:join(Folder, io_lib:format("log-~16.16.0b", [N])).

with_kv(Config, Fun) -> with_kv(Config, options(Config), Fun).

with_kv(Config, Options, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(Vm, fun() ->
            ok = kv_test:start_kv(Options),
            Fun()
        end)
    after
        ok = kv_test:stop_vm(Vm)
    end.
