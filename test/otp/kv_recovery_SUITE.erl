%% @doc Durable buckets after the end of the program and of the VM, by kill -9: a new node on the same folder has every
%% answered change.
-module(kv_recovery_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% KV_LARGE sets the size of the largest value, in MiB: 127 at most, since a message has no more than 128. A file of the log has 64.
-define(LARGE, 70).
-define(THIRD_OF_A_FILE, (23 bsl 20)).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        a_bucket_has_its_entries_after_its_program_is_killed,
        a_bucket_has_its_entries_after_its_vm_is_killed,
        a_bucket_that_is_stopped_and_started_has_its_entries,
        times_to_live_and_options_come_back,
        a_destroyed_bucket_is_empty_when_it_is_started_again,
        a_second_node_may_not_use_the_folder,
        names_of_all_kinds_come_back,
        a_bucket_that_is_stopped_amid_a_request_has_all_of_it_or_nothing,
        many_buckets_come_back,
        a_snapshot_and_the_log_from_its_place_on_make_the_bucket,
        a_value_larger_than_a_file_of_the_log_comes_back,
        a_change_larger_than_a_file_of_the_log_is_there_whole_or_not_at_all
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Cases

a_bucket_has_its_entries_after_its_program_is_killed(Config) ->
    in_kv(Config, fun() ->
        {ok, Bucket} = start([]),
        [ok = kv_bucket:put(Bucket, I, {value, I}) || I <- lists:seq(1, 1000)],
        ok = kv_bucket:put_many(Bucket, [{{many, I}, I} || I <- lists:seq(1, 3000)]),
        7 = kv_bucket:delete(Bucket, {many, 7}),
        ok = kill_program(),
        ?assertEqual(3999, patient(fun() -> kv_bucket:size(Bucket) end)),
        ?assertEqual({value, 1000}, kv_bucket:get(Bucket, 1000)),
        ?assertEqual(undefined, kv_bucket:get(Bucket, {many, 7})),
        ?assertEqual(8, kv_bucket:get(Bucket, {many, 8}))
    end).

a_bucket_has_its_entries_after_its_vm_is_killed(Config) ->
    Value = binary:copy(<<"v">>, 100000),
    killed_with(Config, fun() ->
        {ok, Bucket} = start([]),
        ok = kv_bucket:put(Bucket, milk, Value)
    end),
    in_kv(Config, fun() ->
        {ok, Bucket} = start([]),
        ?assertEqual(Value, kv_bucket:get(Bucket, milk))
    end).

a_bucket_that_is_stopped_and_started_has_its_entries(Config) ->
    in_kv(Config, fun() ->
        {ok, First} = start([]),
        ok = kv_bucket:put(First, milk, 3),
        ok = kv_bucket:stop(First),
        {ok, Second} = start([]),
        ?assertEqual(3, kv_bucket:get(Second, milk))
    end).

times_to_live_and_options_come_back(Config) ->
    killed_with(Config, fun() ->
        {ok, Bucket} = start([{ttl, 3600000}, {max_entries, 10}]),
        ok = kv_bucket:put(Bucket, milk, 3),
        ok = kv_bucket:put(Bucket, eggs, 4, [{ttl, infinity}]),
        ok = kv_bucket:put(Bucket, bread, 5, [{ttl, 1}])
    end),
    in_kv(Config, fun() ->
        {ok, Bucket} = start([{ttl, 3600000}, {max_entries, 10}]),
        {ok, Left} = kv_bucket:ttl(Bucket, milk),
        ?assert(Left > 3000000 andalso Left =< 3600000),
        ?assertEqual({ok, infinity}, kv_bucket:ttl(Bucket, eggs)),
        ?assertEqual(error, kv_bucket:ttl(Bucket, bread)),
        ?assertMatch(#{ttl := 3600000, max_entries := 10}, kv_bucket:stats(Bucket))
    end).

a_destroyed_bucket_is_empty_when_it_is_started_again(Config) ->
    killed_with(Config, fun() ->
        {ok, Bucket} = start([]),
        ok = kv_bucket:put(Bucket, milk, 3),
        true = unlink(Bucket),
        ok = kv_bucket:destroy(Bucket)
    end),
    in_kv(Config, fun() ->
        {ok, Bucket} = start([]),
        ?assertEqual(undefined, kv_bucket:get(Bucket, milk))
    end).

a_second_node_may_not_use_the_folder(Config) ->
    in_kv(Config, fun() ->
        process_flag(trap_exit, true),
        {error, Reason} = kv_node:start_link(second, [{data_dir, folder(Config)}]),
        ?assertMatch({fatal, data_dir, _}, Reason)
    end).

names_of_all_kinds_come_back(Config) ->
    Names = [list_to_atom(lists:duplicate(255, Character)) || Character <- [$a, 16#E9, 16#1F600]]
        ++ ['..', 'a/b', ' ', '\n', '\\', 'größe', 'a\0b', '%s', 'Elixir.My.Bucket', nil_],
    killed_with(Config, fun() ->
        [ok = kv_bucket:put(named(Name), name, Name) || Name <- Names]
    end),
    in_kv(Config, fun() ->
        [?assertEqual({Name, 1}, {kv_bucket:get(named(Name), name), kv_bucket:size(Name)}) || Name <- Names]
    end).

named(Name) ->
    {ok, Bucket} = kv_bucket:start_link([{name, Name}, {durable, commit}]),
    Bucket.

a_bucket_that_is_stopped_amid_a_request_has_all_of_it_or_nothing(Config) ->
    Entries = [{{many, I}, I} || I <- lists:seq(1, 50000)],
    in_kv(Config, fun() ->
        [
            begin
                {ok, Bucket} = start([]),
                ok = kv_bucket:clear(Bucket),
                Request = kv_bucket:async(Bucket, put_many, [Entries]),
                %% The second time it ends in its own time, behind the request.
                ok = Stop(Bucket),
                _ = kv_test:attempt(fun() -> kv_bucket:await(Request) end),
                {ok, Next} = start_when_free(),
                ?assert(lists:member(kv_bucket:size(Next), Sizes)),
                ok = kv_bucket:stop(Next)
            end
         || {Stop, Sizes} <- [{fun kill_native/1, [0, 50000]}, {fun kv_bucket:stop/1, [50000]}]
        ]
    end).

kill_native(Bucket) ->
    Monitor = erlang:monitor(process, Bucket),
    true = unlink(Bucket),
    true = exit(kv_proxy:native(Bucket), kill),
    _ = kv_test:down(Monitor),
    ok.

start_when_free() ->
    kv_test:wait(fun() ->
        case start([]) of
            {ok, Bucket} -> {ok, Bucket};
            {error, {already_started, _}} -> false
        end
    end).

many_buckets_come_back(Config) ->
    Names = [list_to_atom("many_" ++ integer_to_list(N)) || N <- lists:seq(1, 300)],
    killed_with(Config, fun() ->
        [ok = kv_bucket:put(named(Name), name, Name) || Name <- Names]
    end),
    in_kv(Config, fun() ->
        [?assertEqual(Name, kv_bucket:get(named(Name), name)) || Name <- Names]
    end).

%% Of eight writers, each changes what others change, too.
a_snapshot_and_the_log_from_its_place_on_make_the_bucket(Config) ->
    {Snapshots, Last} = in_kv(Config, fun() ->
        {ok, Bucket} = start([]),
        ok = kv_bucket:put_many(Bucket, [{K, 0} || K <- lists:seq(1, 10000)]),
        Writers = [spawn_monitor(fun() -> write(Bucket, N) end) || N <- lists:seq(1, 8)],
        Seen = [snapshot(Bucket) || _ <- lists:seq(1, 8)],
        [exit(Writer, kill) || {Writer, _} <- Writers],
        [killed = kv_test:down(Monitor) || {_, Monitor} <- Writers],
        {Seen, kv_bucket:to_map(Bucket)}
    end),
    [{Table, {table, <<"sessions">>}} | _] = kv_log_reader:records(folder(Config), 0),
    ?assert(length(lists:usort([Lsn || {Lsn, _} <- Snapshots])) > 1),
    [
        begin
            Changes = [Change || {T, Change} <- kv_log_reader:records(folder(Config), Lsn), T =:= Table],
            ?assert(Last =:= lists:foldl(fun changed/2, Entries, Changes), {Lsn, length(Changes)})
        end
     || {Lsn, Entries} <- Snapshots
    ].

write(Bucket, N) ->
    Key = rand:uniform(10000),
    _ =
        case rand:uniform(200) of
            1 -> kv_bucket:clear(Bucket);
            R when R < 50 -> kv_bucket:delete(Bucket, Key);
            R when R < 100 -> kv_bucket:put_many(Bucket, [{K, N} || K <- lists:seq(Key, Key + 20)]);
            _ -> kv_bucket:put(Bucket, Key, N)
        end,
    write(Bucket, N + 8).

%% The entries, and the place in the log from which all later changes are read: docs/native-protocol.md.
snapshot(Bucket) ->
    Native = kv_proxy:native(Bucket),
    {ok, Handle, Lsn} = gen_server:call(Native, {snapshot, self()}),
    {Lsn, maps:from_list([{Key, Value} || {Key, Value, infinity} <- pieces(Native, Handle)])}.

pieces(Native, Handle) ->
    case gen_server:call(Native, {snapshot_next, Handle}) of
        {Entries, more} -> Entries ++ pieces(Native, Handle);
        {Entries, done} -> Entries
    end.

changed({put, Key, Value}, Entries) -> Entries#{Key => Value};
changed({delete, Key}, Entries) -> maps:remove(Key, Entries);
changed(clear, _Entries) -> #{};
changed({table, _}, Entries) -> Entries.

a_value_larger_than_a_file_of_the_log_comes_back(Config) ->
    Mib = list_to_integer(os:getenv("KV_LARGE", integer_to_list(?LARGE))),
    killed_with(Config, fun() ->
        {ok, Bucket} = start([]),
        ok = kv_bucket:put(Bucket, before, 1),
        ok = kv_bucket:put(Bucket, large, large(1, Mib bsl 20), 60000),
        ok = kv_bucket:put(Bucket, behind, 2)
    end),
    in_kv(Config, fun() ->
        {ok, Bucket} = start([]),
        ?assertEqual([1, 2], kv_bucket:get_many(Bucket, [before, behind])),
        ?assert(large(1, Mib bsl 20) =:= kv_bucket:get(Bucket, large, undefined, 60000))
    end).

%% Three values together. The program is killed while it writes them.
a_change_larger_than_a_file_of_the_log_is_there_whole_or_not_at_all(Config) ->
    in_kv(Config, fun() ->
        {ok, Bucket} = start([]),
        _ = [half_written(Bucket, Round) || Round <- lists:seq(1, 3)],
        ok
    end).

half_written(Bucket, Round) ->
    Entries = fun(N) -> [{Key, large(N + Key, ?THIRD_OF_A_FILE)} || Key <- [1, 2, 3]] end,
    Before = kv_bucket:get_many(Bucket, [1, 2, 3]),
    ok = kv_test:wait(fun() -> maps:get(uptime_ms, kv_node:info()) >= 1000 end),
    Native = kv_proxy:native(Bucket),
    OsPid = kv_node:os_pid(),
    Until = written(OsPid) + Round * (22 bsl 20),
    {_, Writer} = spawn_monitor(fun() -> exit(kv_bucket:put_many(Native, Entries(10 * Round), 60000)) end),
    ok = kv_test:wait(fun() -> written(OsPid) > Until end, 60000),
    ok = kill_program(),
    Answer = kv_test:down(Writer),
    Now = patient(fun() -> kv_bucket:get_many(Bucket, [1, 2, 3], undefined, 60000) end),
    After = [Value || {_, Value} <- Entries(10 * Round)],
    ?assert(Now =:= After orelse (Answer =/= ok andalso Now =:= Before), {Round, Answer}).

%% Bytes that a program has written. Most go to the log.
written(OsPid) ->
    {ok, Text} = file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/io"),
    {match, [Bytes]} = re:run(Text, "wchar: ([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Bytes).

large(N, Bytes) -> binary:copy(<<N:64>>, Bytes div 8).

%%% Support

start(Options) ->
    kv_bucket:start_link([{name, sessions}, {durable, commit} | Options]).

folder(Config) -> filename:join(?config(home, Config), "data").

kill_program() ->
    kv_test:signal("KILL", kv_node:os_pid()).

%% The bucket of the tree finds its process anew.
patient(Ask) ->
    kv_test:patient(Ask, 2000).

in_kv(Config, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(Vm, fun() -> with_kv(Config, Fun) end, 100000)
    after
        ok = kv_test:stop_vm(Vm)
    end.

killed_with(Config, Fun) ->
    Vm = kv_test:start_vm(Config),
    _ = kv_test:in(Vm, fun() -> with_kv(Config, Fun) end, 100000),
    ok = kv_test:signal("KILL", kv_test:vm_os_pid(Vm)).

with_kv(Config, Fun) ->
    ok = kv_test:start_kv([{data_dir, folder(Config)}]),
    Fun().
