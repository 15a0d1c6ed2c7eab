%% @doc `kv_node --check' and `kv_node --salvage' on real folders: whole, torn, damaged, and in use.
-module(kv_check_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% The first file of the log, its header, and a block of it.
-define(LOG, "log-0000000000000000").
-define(BLOCK, 4096).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        a_whole_folder_is_shown_with_its_tables_and_its_end,
        checking_writes_nothing,
        a_torn_write_at_the_end_is_no_damage,
        damage_to_the_last_batch_of_a_node_that_was_stopped_is_named,
        damage_in_the_middle_is_named_with_file_and_byte,
        a_missing_file_of_the_log_is_named,
        a_damaged_store_block_is_named,
        a_folder_without_its_store_block_is_damaged,
        a_folder_without_data_is_not_checked,
        a_folder_that_a_node_uses_is_not_checked,
        a_log_of_a_newer_program_is_not_checked,
        what_is_salvaged_starts_and_has_all_but_the_damaged_change,
        salvage_does_without_the_store_block,
        salvage_does_without_a_file_of_the_log,
        entries_of_a_table_whose_name_is_lost_get_a_bucket,
        salvage_of_a_whole_folder_loses_nothing,
        a_name_that_was_given_on_is_that_of_its_last_bucket,
        a_bucket_whose_new_name_is_lost_keeps_its_entries,
        a_bucket_whose_first_record_is_lost_goes_back_to_its_registry,
        damage_to_what_was_salvaged_is_found_before_its_first_start,
        salvage_writes_only_to_a_new_folder,
        wrong_arguments_are_refused_in_words
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(_Case, Config0) ->
    Config = kv_test:start_case(Config0),
    [{data, filename:join(?config(home, Config), "data")}, {new, filename:join(?config(home, Config), "new")} | Config].

end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Check

a_whole_folder_is_shown_with_its_tables_and_its_end(Config) ->
    ok = fill(Config),
    {0, Lines} = check(?config(data, Config)),
    [
        ?assertMatch([_ | _], [Line || Line <- Lines, re:run(Line, Pattern, [unicode]) =/= nomatch], Pattern)
     || Pattern <- [
            "^store +[0-9a-f]{16}, made 20\\d\\d-\\d\\d-\\d\\d",
            "^version +1$",
            "^zeros +(differ|same)$",
            "^segments +[12] of 67108864 bytes, " ?LOG " to log-000000000000000[01]$",
            "^log +\\d+ batches with 12 changes$",
            "^last change +20\\d\\d",
            "^end +" ?LOG ", byte \\d+ \\(LSN \\d+\\)$",
            "^tail +none$",
            "^tables +2$",
            "^table +1 bucket sessions \\(commit\\): 9 entries, \\d+ bytes$",
            "^table +2 bucket größe \\(commit\\): 1 entries, \\d+ bytes$",
            "^result +whole$"
        ]
    ].

checking_writes_nothing(Config) ->
    ok = fill(Config),
    Data = ?config(data, Config),
    Before = files(Data),
    {0, _} = check(Data),
    ?assertEqual(Before, files(Data)),
    %% A copy need not have the file `lock', and may be for reading only.
    ok = file:delete(filename:join(Data, "lock")),
    ok = file:change_mode(Data, 8#500),
    ?assertMatch({0, _}, check(Data)),
    ok = file:change_mode(Data, 8#700).

%% Without the mark that a node writes when it ends, nothing says that the last batch was durable.
a_torn_write_at_the_end_is_no_damage(Config) ->
    ok = fill(Config),
    [Last, Mark] = last_batches(Config),
    ok = flip(Config, ?LOG, Mark),
    ok = flip(Config, ?LOG, Last + 70),
    {0, Lines} = check(?config(data, Config)),
    ?assertMatch([<<"a batch of 76 bytes that was written in part", _/binary>>], texts(<<"tail">>, Lines)).

damage_to_the_last_batch_of_a_node_that_was_stopped_is_named(Config) ->
    ok = fill(Config),
    [Last, _Mark] = last_batches(Config),
    ok = flip(Config, ?LOG, Last + 70),
    {1, Lines} = check(?config(data, Config)),
    [Damage] = texts(<<"damaged">>, Lines),
    ?assertMatch({match, _}, re:run(Damage, io_lib:format(?LOG ", byte ~b: ", [Last]))).

damage_in_the_middle_is_named_with_file_and_byte(Config) ->
    ok = fill(Config),
    At = place(Config, <<"needle5">>),
    ok = flip(Config, ?LOG, At),
    {1, Lines} = check(?config(data, Config)),
    Where = iolist_to_binary(io_lib:format(?LOG ", byte ~b: ", [At div ?BLOCK * ?BLOCK])),
    [Damage] = texts(<<"damaged">>, Lines),
    ?assertEqual(Where, binary:part(Damage, 0, byte_size(Where))),
    ?assertMatch([<<"damaged: kv_node --salvage ", _/binary>>], texts(<<"result">>, Lines)).

a_missing_file_of_the_log_is_named(Config) ->
    ok = fill_two_files(Config),
    Data = ?config(data, Config),
    ok = file:delete(filename:join(Data, ?LOG)),
    {1, Lines} = check(Data),
    ?assertEqual([<<?LOG " is missing, but a part of the log lies there">>], texts(<<"damaged">>, Lines)),
    ok = file:rename(filename:join(Data, "log-0000000000000001"), filename:join(Data, "log-0000000000000003")),
    ok = file:write_file(filename:join(Data, ?LOG), ""),
    {1, Others} = check(Data),
    ?assertMatch({match, _}, re:run(texts(<<"damaged">>, Others), "log-0000000000000001 is missing between others")).

a_damaged_store_block_is_named(Config) ->
    ok = fill(Config),
    ok = flip(Config, "store", 20),
    {1, Lines} = check(?config(data, Config)),
    ?assertEqual([<<"the file store is not what its checksum says">>], texts(<<"damaged">>, Lines)),
    ok = flip(Config, "store", 20),
    ?assertMatch({0, _}, check(?config(data, Config))).

a_folder_without_its_store_block_is_damaged(Config) ->
    Data = ?config(data, Config),
    ok = fill(Config),
    ok = file:delete(filename:join(Data, "store")),
    {1, Lines} = check(Data),
    ?assertEqual([<<"the file store is missing, and a log or a checkpoint is there">>], texts(<<"damaged">>, Lines)),
    ok = file:rename(filename:join(Data, ?LOG), filename:join(Data, "checkpoint-0000000000001000")),
    ?assertMatch({1, _}, check(Data)).

a_folder_without_data_is_not_checked(Config) ->
    Data = ?config(data, Config),
    {66, Lines} = check(Data),
    ?assertMatch({match, _}, re:run(texts(<<"result">>, Lines), "there is no such folder")),
    ?assertEqual(false, filelib:is_dir(Data)),
    ok = file:make_dir(Data),
    ?assertMatch({66, _}, check(Data)),
    ?assertEqual({ok, []}, file:list_dir(Data)).

a_folder_that_a_node_uses_is_not_checked(Config) ->
    Vm = kv_test:start_vm(Config),
    Data = ?config(data, Config),
    OsPid = kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{data_dir, Data}]),
        kv_node:os_pid()
    end),
    {66, Lines} = check(Data),
    ?assertMatch({match, _}, re:run(texts(<<"result">>, Lines), io_lib:format("which is process ~b", [OsPid]))),
    ok = kv_test:stop_vm(Vm).

a_log_of_a_newer_program_is_not_checked(Config) ->
    ok = fill(Config),
    ok = newer(filename:join(?config(data, Config), "store"), 52),
    {66, Lines} = check(?config(data, Config)),
    ?assertMatch({match, _}, re:run(texts(<<"result">>, Lines), "version 2 of the format")),
    ?assertMatch({66, _}, salvage(Config)).

%%% Salvage

what_is_salvaged_starts_and_has_all_but_the_damaged_change(Config) ->
    ok = fill(Config),
    ok = flip(Config, ?LOG, place(Config, <<"needle5">>)),
    Before = files(?config(data, Config)),
    {1, Lines} = salvage(Config),
    ?assertEqual(Before, files(?config(data, Config))),
    ?assertMatch({match, _}, re:run(texts(<<"lost">>, Lines), "4096 bytes; at least 1 of the batches there, and 1 changes")),
    ?assertEqual([<<"whole">>], texts(<<"result">>, Lines)),
    ?assertEqual([{K, <<"value">>} || K <- needles(), K =/= <<"needle5">>], entries(Config, sessions)),
    ?assertEqual([{one, 1}], entries(Config, 'größe')).

salvage_does_without_the_store_block(Config) ->
    ok = fill(Config),
    ok = file:delete(filename:join(?config(data, Config), "store")),
    {1, Lines} = salvage(Config, ["--zeros", zeros()]),
    ?assertMatch([<<"the file store: ", _/binary>>], texts(<<"lost">>, Lines)),
    ?assertEqual([{K, <<"value">>} || K <- needles()], entries(Config, sessions)).

salvage_does_without_a_file_of_the_log(Config) ->
    ok = fill_two_files(Config),
    ok = file:delete(filename:join(?config(data, Config), ?LOG)),
    {1, Lines} = salvage(Config),
    ?assertMatch([<<?LOG, _/binary>>], texts(<<"lost">>, Lines)),
    ?assertEqual([{last, 1}], entries(Config, salvaged_1)).

entries_of_a_table_whose_name_is_lost_get_a_bucket(Config) ->
    ok = fill(Config),
    ok = flip(Config, ?LOG, place(Config, <<"sessions">>)),
    {1, Lines} = salvage(Config),
    ?assertEqual(
        [<<"the name of table 1 is lost: its entries are in the bucket salvaged_1">>],
        texts(<<"unnamed">>, Lines)
    ),
    ?assertEqual([{K, <<"value">>} || K <- needles()], entries(Config, salvaged_1)).

salvage_of_a_whole_folder_loses_nothing(Config) ->
    ok = fill(Config),
    {0, Lines} = salvage(Config),
    ?assertEqual([<<"nothing is lost">>], texts(<<"salvaged">>, Lines)),
    ?assertEqual([{K, <<"value">>} || K <- needles()], entries(Config, sessions)).

a_name_that_was_given_on_is_that_of_its_last_bucket(Config) ->
    ok = give_on(Config),
    Shown = [<<"2 bucket carts / new (commit): 1 entries, 8 bytes">>, <<"3 bucket carts / old (commit): 1 entries, 9 bytes">>],
    {0, Lines} = check(?config(data, Config)),
    ?assertEqual(Shown, tl(texts(<<"table">>, Lines))),
    {0, Salvaged} = salvage(Config),
    ?assertEqual(Shown, tl(texts(<<"table">>, Salvaged))),
    ?assertEqual([{<<"new">>, #{milk => 1}}, {<<"old">>, #{bread => 2}}], names(Config)).

a_bucket_whose_new_name_is_lost_keeps_its_entries(Config) ->
    ok = give_on(Config),
    ok = flip(Config, ?LOG, place(Config, <<"new">>)),
    {1, Lines} = salvage(Config),
    ?assertEqual(
        [<<"the name of table 2 is that of table 3 by now: its entries are in the bucket salvaged_2">>],
        texts(<<"unnamed">>, Lines)
    ),
    ?assertEqual([{<<"old">>, #{bread => 2}}, {<<"salvaged_2">>, #{milk => 1}}], names(Config)).

a_bucket_whose_first_record_is_lost_goes_back_to_its_registry(Config) ->
    ok = give_on(Config),
    ok = flip(Config, ?LOG, place(Config, <<"old">>)),
    {1, Lines} = salvage(Config),
    ?assertEqual([], texts(<<"unnamed">>, Lines)),
    ?assertEqual([{<<"new">>, #{milk => 1}}, {<<"old">>, #{bread => 2}}], names(Config)).

damage_to_what_was_salvaged_is_found_before_its_first_start(Config) ->
    ok = fill(Config),
    {0, _} = salvage(Config),
    New = lists:keyreplace(data, 1, Config, {data, ?config(new, Config)}),
    ok = flip(New, ?LOG, place(New, <<"needle5">>)),
    ?assertMatch({1, _}, check(?config(new, Config))).

salvage_writes_only_to_a_new_folder(Config) ->
    ok = fill(Config),
    ok = file:make_dir(?config(new, Config)),
    File = filename:join(?config(new, Config), "something"),
    ok = file:write_file(File, "else"),
    {66, Lines} = salvage(Config),
    ?assertMatch({match, _}, re:run(texts(<<"result">>, Lines), "is there already")),
    ok = file:delete(File),
    ?assertMatch({0, _}, salvage(Config)),
    ?assertMatch({66, _}, salvage(Config)),
    ?assertEqual({error, enoent}, file:list_dir(?config(new, Config) ++ ".tmp")).

wrong_arguments_are_refused_in_words(_Config) ->
    [
        ?assertMatch({64, [<<"fatal bad_option --", _/binary>>]}, run(Arguments))
     || Arguments <- [["--check"], ["--salvage", "/a"], ["--to", "/a"], ["--check", "/a", "--salvage", "/b", "--to", "/c"]]
    ].

%%% Folders

needles() -> [<<"needle", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 9)].

%% Each change is a batch of its own. An orderly end adds a mark to the log.
fill(Config) ->
    in_kv(Config, ?config(data, Config), fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        [ok = kv_bucket:put(Bucket, Key, <<"value">>) || Key <- needles()],
        {ok, Other} = kv_bucket:start_link([{name, 'größe'}, {durable, commit}]),
        ok = kv_bucket:put(Other, one, 1),
        ok
    end).

%% The first file of the log is full, and the last change is in the second one.
fill_two_files(Config) ->
    in_kv(Config, ?config(data, Config), fun() ->
        Value = binary:copy(<<"0123456789abcdef">>, 1 bsl 20),
        {ok, Bucket} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        [ok = kv_bucket:put(Bucket, Key, Value, [{timeout, infinity}]) || Key <- lists:seq(1, 4)],
        ok = kv_bucket:put(Bucket, last, 1, [{timeout, infinity}])
    end).

%% A name with a bucket, the bucket under another name, and the first name with another bucket.
give_on(Config) ->
    in_kv(Config, ?config(data, Config), fun() ->
        ok = start_registry(),
        [First, Second] = [
            begin
                ok = kv_registry:create(carts, <<"old">>),
                {ok, Bucket} = kv_registry:lookup(carts, <<"old">>),
                ok = kv_bucket:put(Bucket, Key, Value),
                Next =:= none orelse (ok = kv_registry:rename(carts, <<"old">>, Next)),
                Bucket
            end
         || {Key, Value, Next} <- [{milk, 1, <<"new">>}, {bread, 2, none}]
        ],
        true = First =/= Second,
        ok
    end).

start_registry() ->
    {ok, _} = kv_registry:start_link([{name, carts}, {durable, commit}]),
    ok.

names(Config) ->
    in_kv(Config, ?config(new, Config), fun() ->
        ok = start_registry(),
        [
            begin
                {ok, Bucket} = kv_registry:lookup(carts, Name),
                {Name, kv_bucket:to_map(Bucket)}
            end
         || Name <- lists:sort(kv_registry:names(carts))
        ]
    end).

entries(Config, Name) ->
    in_kv(Config, ?config(new, Config), fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, Name}, {durable, commit}]),
        lists:sort(maps:to_list(kv_bucket:to_map(Bucket)))
    end).

in_kv(Config, Folder, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(Vm, fun() ->
            ok = kv_test:start_kv([{data_dir, Folder}]),
            Result = Fun(),
            %% The program has ended when the application has.
            ok = application:stop(kv),
            Result
        end)
    after
        ok = kv_test:stop_vm(Vm)
    end.

files(Folder) ->
    {ok, Names} = file:list_dir(Folder),
    [{Name, erlang:md5(read(filename:join(Folder, Name)))} || Name <- lists:sort(Names)].

read(File) ->
    {ok, Bytes} = file:read_file(File),
    Bytes.

flip(Config, Name, At) ->
    {ok, File} = file:open(filename:join(?config(data, Config), Name), [read, write, binary, raw]),
    {ok, <<Byte>>} = file:pread(File, At, 1),
    ok = file:pwrite(File, At, <<(Byte bxor 1)>>),
    ok = file:close(File).

%% Where these bytes are in the log first.
place(Config, Bytes) ->
    {At, _} = binary:match(read(filename:join(?config(data, Config), ?LOG)), Bytes),
    At.

last_batches(Config) ->
    Places = [At || {At, _} <- binary:matches(read(filename:join(?config(data, Config), ?LOG)), <<"kvb1">>)],
    lists:nthtail(length(Places) - 2, Places).

%% The next version, with the right checksum at an offset.
newer(File, Sum) ->
    <<Magic:8/binary, _:32, Rest/binary>> = read(File),
    <<Summed:Sum/binary, _:32, Last/binary>> = <<Magic/binary, 2:32, Rest/binary>>,
    file:write_file(File, [Summed, <<(crc32c(Summed)):32>>, Last]).

crc32c(Bytes) ->
    lists:foldl(fun(Byte, Sum) -> crc32c(Sum bxor Byte, 8) end, 16#FFFFFFFF, binary_to_list(Bytes)) bxor 16#FFFFFFFF.

crc32c(Sum, 0) -> Sum;
crc32c(Sum, N) -> crc32c((Sum bsr 1) bxor (16#82F63B78 * (Sum band 1)), N - 1).

zeros() ->
    case +0.0 =:= -0.0 of
        true -> "same";
        false -> "differ"
    end.

%%% The program

check(Folder) -> run(["--check", Folder]).

salvage(Config) -> salvage(Config, []).

salvage(Config, More) -> run(["--salvage", ?config(data, Config), "--to", ?config(new, Config) | More]).

%% Returns the status, and the lines.
run(Arguments) ->
    Port = open_port({spawn_executable, kv_program:program()}, [{args, Arguments}, {line, 4096}, binary, exit_status]),
    lines(Port, []).

lines(Port, Lines) ->
    receive
        {Port, {data, {eol, Line}}} -> lines(Port, [Line | Lines]);
        {Port, {exit_status, Status}} -> {Status, lists:reverse(Lines)}
    end.

%% The texts behind a word.
texts(Word, Lines) ->
    [iolist_to_binary(string:trim(binary:part(Line, 12, byte_size(Line) - 12))) || Line <- Lines, is_line_of(Word, Line)].

is_line_of(Word, Line) ->
    Size = byte_size(Word),
    byte_size(Line) > 12 andalso string:trim(binary:part(Line, 0, 12)) =:= Word andalso Size < 13.
