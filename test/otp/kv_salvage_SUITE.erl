%% @doc `kv_node --check' and `kv_node --salvage' on a folder with all that a folder may have, damaged at random places: registries, names
%% that were given on, deleted names, metadata, both policies, a checkpoint, a log of several files, and lives that were killed.
%% The new folder starts, has nothing that was never true, and all that the lost parts do not speak of.
-module(kv_salvage_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

%% KV_DAMAGES sets how often the folder is damaged, and KV_SEED what is drawn.
-define(DAMAGES, 2).
%% Places that are damaged at once, at most.
-define(PLACES, 4).
%% Blocks of a place, at most.
-define(SPAN, 16).
-define(BLOCK, 4096).
-define(SEGMENT, (64 bsl 20)).
-define(LIVES, [
    {400, [{checkpoint_log, 1 bsl 20}], kill},
    {200, [{checkpoint_log, 1 bsl 20}], kill},
    {200, [{checkpoint_log, 1 bsl 40}], stop}
]).

suite() -> [{timetrap, {seconds, 120 + 15 * number("KV_DAMAGES", ?DAMAGES)}}].

all() -> [what_is_salvaged_of_a_damaged_folder_is_true_and_all_that_is_left].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_with_vm(Config).
end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

number(Variable, Default) -> list_to_integer(os:getenv(Variable, integer_to_list(Default))).

what_is_salvaged_of_a_damaged_folder_is_true_and_all_that_is_left(Config) ->
    Seed = number("KV_SEED", erlang:phash2({erlang:monotonic_time(), os:getpid()})),
    ct:pal("KV_SEED=~b", [Seed]),
    _ = rand:seed(exsss, {Seed, 4, 4}),
    Folder = filename:join(?config(home, Config), "data"),
    World = in(Config, fun() -> kv_salvage_world:make(Folder, Seed, ?LIVES) end),
    {0, Whole} = kv_check_SUITE:run(["--check", Folder]),
    ?assertEqual(map_size(maps:get(now, World)) + 2, length(kv_check_SUITE:texts(<<"table">>, Whole))),
    Log = kv_log_reader:batches(Folder),
    ?assert(length(kv_log_reader:files(Folder)) > 1),
    ?assertMatch([_ | _], filelib:wildcard(filename:join(Folder, "checkpoint-*"))),
    {0, Lines} = salvage(Folder),
    ok = verify(Config, Folder ++ "-new", World, {whole, Folder, false}, 0, Lines),
    Statuses = [damaged(Config, Folder, World, Log, Number) || Number <- lists:seq(1, number("KV_DAMAGES", ?DAMAGES))],
    {comment, io_lib:format("~b times damaged; exit statuses of --salvage: ~p", [
        length(Statuses), [{Status, length([S || S <- Statuses, S =:= Status])} || Status <- lists:usort(Statuses)]
    ])}.

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun, 600000).

%% Returns the exit status of `--salvage'.
damaged(Config, Folder, World, Log, Number) ->
    Damages = [damage(Folder, Log) || _ <- lists:seq(1, rand:uniform(?PLACES))],
    Where = {Number, [What || {What, _, _} <- Damages]},
    {Checked, _} = check(Where, Folder),
    New = Folder ++ "-new",
    {Status, Lines} =
        try
            salvage(Folder)
        after
            [Undo() || {_, _, Undo} <- lists:reverse(Damages)]
        end,
    {Mark, _} = lists:last(Log),
    IsAtEnd = lists:any(fun({_, To, _}) -> To > Mark end, Damages),
    ?assert(Checked =/= 0 orelse Status =:= 0 orelse IsAtEnd, {Where, Lines}),
    ?assertEqual(Status =:= 1, kv_check_SUITE:texts(<<"lost">>, Lines) =/= [], {Where, Lines}),
    ok = verify(Config, New, World, {Where, Folder, IsAtEnd}, Status, Lines),
    Status.

salvage(Folder) -> kv_check_SUITE:run(["--salvage", Folder, "--to", Folder ++ "-new", "--zeros", kv_check_SUITE:zeros()]).

%%% Damage

%% Returns the file and the kind of damage, where the damage ends in the log, and how to undo it.
damage(Folder, Log) ->
    {File, At} = target(rand:uniform(16), Folder, Log),
    Path = filename:join(Folder, File),
    {Kind, Length} = lists:nth(rand:uniform(5), [{flip, 1}, {whole_file, 1} | [{Other, ?BLOCK * rand:uniform(?SPAN)} || Other <- [zeros, noise, elsewhere]]]),
    {To, Undo} = damage(Kind, Path, At, Length),
    {{Kind, File, At, Length}, in_log(File, To), Undo}.

target(N, _Folder, Log) when N =< 10 ->
    {Lsn, _} = lists:nth(rand:uniform(length(Log)), Log),
    kv_log_reader:place(Lsn + rand:uniform(3 * ?BLOCK) - 1);
target(N, Folder, _Log) when N =< 14 ->
    Files = ["store" | kv_log_reader:files(Folder)],
    {lists:nth(rand:uniform(length(Files)), Files), rand:uniform(element(N rem 2 + 1, {?BLOCK, ?SEGMENT})) - 1};
target(_, Folder, _Log) ->
    case filelib:wildcard("checkpoint-*", Folder) of
        [File | _] -> {File, rand:uniform(filelib:file_size(filename:join(Folder, File))) - 1};
        [] -> {"store", 0}
    end.

%% Other files have no place in the log.
in_log("log-" ++ _ = File, At) -> kv_log_reader:lsn(File, At);
in_log(_File, _At) -> 0.

damage(whole_file, Path, At, Length) ->
    Away = filename:join(filename:dirname(Path), "away-" ++ filename:basename(Path)),
    case {rand:uniform(6), filelib:file_size(Path)} of
        {1, Size} when Size > 0 ->
            ok = file:rename(Path, Away),
            {Size, fun() -> ok = file:rename(Away, Path) end};
        {2, Size} when Size > At ->
            Rest = read(Path, At, Size),
            ok = cut(Path, At),
            {Size, fun() -> ok = write(Path, At, Rest) end};
        _ ->
            damage(flip, Path, At, Length)
    end;
damage(Kind, Path, At, Length) ->
    Before = read(Path, At, Length),
    ok = write(Path, At, bytes(Kind, Path, At, Before)),
    {At + byte_size(Before), fun() -> ok = write(Path, At, Before) end}.

bytes(_Kind, _Path, _At, <<>>) -> <<>>;
bytes(flip, _Path, _At, <<Byte>>) -> <<(Byte bxor (1 bsl (rand:uniform(8) - 1)))>>;
bytes(zeros, _Path, _At, Before) -> <<0:(byte_size(Before))/unit:8>>;
bytes(noise, _Path, _At, Before) -> rand:bytes(byte_size(Before));
%% A write that went to another place.
bytes(elsewhere, Path, At, Before) ->
    From = max(0, At - ?BLOCK * rand:uniform(4 * ?SPAN)),
    Bytes = read(Path, From, byte_size(Before)),
    <<Bytes/binary, (binary:part(Before, byte_size(Bytes), byte_size(Before) - byte_size(Bytes)))/binary>>.

read(Path, At, Length) ->
    with(Path, [read], <<>>, fun(File) ->
        case file:pread(File, At, Length) of
            {ok, Bytes} -> Bytes;
            eof -> <<>>
        end
    end).

write(_Path, _At, <<>>) -> ok;
write(Path, At, Bytes) -> with(Path, [read, write], ok, fun(File) -> file:pwrite(File, At, Bytes) end).

cut(Path, At) ->
    with(Path, [read, write], ok, fun(File) ->
        {ok, At} = file:position(File, At),
        file:truncate(File)
    end).

%% A file that was taken away before is not there.
with(Path, Modes, Default, Fun) ->
    case filelib:is_regular(Path) of
        true ->
            {ok, File} = file:open(Path, [raw, binary | Modes]),
            Result = Fun(File),
            ok = file:close(File),
            Result;
        false ->
            Default
    end.

%%% What is lost

%% What lay in the parts of the log that are lost; `all': more is lost than that.
lost(Folder, Lines) ->
    Texts = [Text || Text <- kv_check_SUITE:texts(<<"lost">>, Lines), not is_of_store(Text)],
    Gaps = [re:run(Text, "^(log-\\w+), byte (\\d+), up to (log-\\w+), byte (\\d+): ", [{capture, all_but_first, list}]) || Text <- Texts],
    Places = [{place(From, At), place(To, End)} || {match, [From, At, To, End]} <- Gaps],
    Bytes = iolist_to_binary([stream(Folder, At, End) || {At, End} <- Places]),
    case not lists:member(nomatch, Gaps) andalso byte_size(Bytes) =:= lists:sum([End - At || {At, End} <- Places]) of
        true -> Bytes;
        false -> all
    end.

is_of_store(<<"the file store: ", _/binary>>) -> true;
is_of_store(_) -> false.

place(File, At) -> in_log(File, list_to_integer(At)).

stream(_Folder, End, End) ->
    [];
stream(Folder, Lsn, End) ->
    {Name, At} = kv_log_reader:place(Lsn),
    Length = min(End - Lsn, ?SEGMENT - At),
    [read(filename:join(Folder, Name), At, Length) | stream(Folder, Lsn + Length, End)].

%%% The check

check(Where, Folder) ->
    {Status, Lines} = kv_check_SUITE:run(["--check", Folder]),
    ?assert(lists:member(Status, [0, 1, 66]), {Where, Status, Lines}),
    ?assertMatch([_], kv_check_SUITE:texts(<<"result">>, Lines), {Where, Lines}),
    {Status, Lines}.

verify(_Config, New, _World, {Where, _Folder, _IsAtEnd}, 66, Lines) ->
    ?assertMatch([<<"nothing was salvaged: ", _/binary>>], kv_check_SUITE:texts(<<"result">>, Lines), Where),
    ?assertEqual([], filelib:wildcard(New ++ "*"), Where),
    ok;
verify(Config, New, World, {Where, Folder, IsAtEnd}, Status, Lines) ->
    ?assert(Status < 2, {Where, Status, Lines}),
    {0, Tables} = check(Where, New),
    Shown = [re:run(Text, "^\\d+ bucket (.+) \\((?:commit|interval)\\): (\\d+) entries", [{capture, all_but_first, binary}]) || Text <- kv_check_SUITE:texts(<<"table">>, Tables)],
    Places = lists:sort([{kv_salvage_world:place(Name), binary_to_integer(Entries)} || {match, [Name, Entries]} <- Shown]),
    Contents = in(Config, fun() -> kv_salvage_world:contents(New, [Name || {{none, Name}, _} <- Places]) end),
    ok = file:del_dir_r(New),
    ?assertEqual([], Places -- [{Place, map_size(Entries)} || {Place, _, Entries} <- Contents], Where),
    ok = is_true(Where, World, Contents),
    case lost(Folder, Lines) of
        <<>> when not IsAtEnd -> is_all(Where, World, Contents);
        Lost when is_binary(Lost), not IsAtEnd -> is_left(Where, World, Contents, Lost);
        _ -> ok
    end.

is_all(Where, #{now := Now}, Contents) ->
    Then = [{Place, Meta, maps:map(fun(_, N) -> {T, N} end, Entries)} || {Place, {T, Meta, Entries}} <- maps:to_list(Now)],
    ?assertEqual({Where, lists:sort(Then)}, {Where, lists:sort(Contents)}),
    ok.

%% Each entry was put once, each bucket had its name once, and none is there twice.
is_true(Where, #{past := Past}, Contents) ->
    Ever = lists:append([Had || {{_, place}, Had} <- maps:to_list(Past)]),
    Found = [
        begin
            ?assertEqual([], [{Key, N} || {Key, {T, N}} <- maps:to_list(Entries), not lists:member(N, maps:get({T, Key}, Past, []))], {Where, Place}),
            Ts = lists:usort([T || {T, _} <- maps:values(Entries)]),
            ?assert(length(Ts) < 2, {Where, Place, Ts}),
            ?assert(is_salvaged(Place) orelse lists:member(Place, lists:append([Ever || Ts =:= []] ++ [maps:get({T, place}, Past) || T <- Ts])), {Where, Place, Ts}),
            [?assert(Meta =:= none orelse lists:member(Meta, maps:get({T, meta}, Past)), {Where, Place, Meta}) || T <- Ts],
            Ts
        end
     || {Place, Meta, Entries} <- Contents
    ],
    ?assertEqual(length(lists:append(Found)), length(lists:usort(lists:append(Found))), Where),
    ok.

is_salvaged({_, Name}) when is_atom(Name) -> is_salvaged({none, atom_to_binary(Name)});
is_salvaged({_, <<"salvaged_", _/binary>>}) -> true;
is_salvaged(_) -> false.

%% All is as it was, but for keys and names that the lost parts speak of.
is_left(Where, #{now := Now, past := Past}, Contents, Lost) ->
    Seen = maps:from_list([{T, {Place, Meta, Entries}} || {Place, Meta, Entries} <- Contents, {T, _} <- lists:usort([{T, 0} || {T, _} <- maps:values(Entries)])]),
    IsLost = fun(Text) -> binary:match(Lost, Text) =/= nomatch end,
    [
        begin
            Names = [kv_salvage_world:text(Had) || Had <- maps:get({T, place}, Past)],
            {At, Described, There} = maps:get(T, Seen, {none, none, #{}}),
            ?assertEqual([], [Key || {Key, N} <- maps:to_list(Entries), not IsLost(Key), maps:get(Key, There, none) =/= {T, N}], {Where, Place}),
            IsCleared = maps:is_key({T, cleared}, Past),
            ?assertEqual([], [Key || Key <- maps:keys(maps:without(maps:keys(Entries), There)), not IsCleared, not IsLost(Key)], {Where, Place}),
            [?assertEqual({Place, Meta}, {At, Described}, {Where, T}) || There =/= #{}, not lists:any(IsLost, Names)],
            [?assert(lists:keymember(Place, 1, Contents), {Where, Place}) || not lists:any(IsLost, Names)]
        end
     || {Place, {T, Meta, Entries}} <- maps:to_list(Now)
    ],
    ok.
