%% @doc Writes the entries of a bucket to a file: {@link kv_bucket:export/3}. docs/export-format.md has the format, and
%% {@link kv_import} reads it.
%% @private
-module(kv_export).

-export([export/3]).

-export_type([reason/0]).

%% The file cannot be opened or written, for the reason of the system; it is a directory, a FIFO or a device (`not_regular'); it is
%% no export, or damaged, as the text says; or the bucket could not be read.
-type reason() ::
    {file, file:posix() | badarg | terminated | system_limit | not_regular} | {bad_file, binary()} | kv_snapshot:reason().

-include("kv_export.hrl").
-include_lib("kernel/include/file.hrl").

%% Symbolic links from one to the next.
-define(LINKS_MAX, 40).

%% @doc Writes all entries to the file, which appears under its name once it is whole. Returns the number of entries.
-spec export(gen_server:server_ref(), file:name_all(), term()) -> {ok, non_neg_integer()} | {error, reason()}.
export(Bucket, Path, Options) ->
    Call = {kv_bucket, export, [Bucket, Path, Options]},
    ok = kv_call_options:server(Call),
    #{timeout := Timeout} = kv_call_options:options(Call, []),
    case target(kv_import:file_name(Call, Path), ?LINKS_MAX) of
        {ok, Name} -> export_to(Name, Bucket, Timeout);
        {error, Reason} -> {error, {file, Reason}}
    end.

%% Returns the name of the file to replace: where a symbolic link leads.
target(_Name, 0) ->
    {error, eloop};
target(Name, Links) ->
    case file:read_link_info(Name) of
        {ok, #file_info{type = symlink}} -> followed(file:read_link_all(Name), Name, Links - 1);
        {ok, #file_info{type = regular}} -> {ok, Name};
        {ok, #file_info{}} -> {error, not_regular};
        {error, enoent} -> {ok, Name};
        {error, Reason} -> {error, Reason}
    end.

followed({ok, Next}, Name, Links) -> target(filename:join(filename:dirname(Name), Next), Links);
followed({error, Reason}, _Name, _Links) -> {error, Reason}.

export_to(Name, Bucket, Timeout) ->
    Beside = beside(Name),
    case file:open(Beside, [write, raw, binary, exclusive]) of
        {ok, File} ->
            try write(File, Bucket, Timeout) of
                Result -> finish(Result, File, Beside, Name)
            catch
                Class:Reason:Stack ->
                    _ = finish({error, Reason}, File, Beside, Name),
                    erlang:raise(Class, Reason, Stack)
            end;
        {error, Reason} ->
            {error, {file, Reason}}
    end.

%% In the same folder, so that the file can be renamed. Nobody else has this name.
beside(Name) ->
    Suffix = ["." | lists:join(".", [os:getpid(), integer_to_list(erlang:unique_integer([positive])), "tmp"])],
    case Name of
        _ when is_binary(Name) -> <<Name/binary, (iolist_to_binary(Suffix))/binary>>;
        _ -> Name ++ lists:flatten(Suffix)
    end.

finish({ok, Count}, File, Beside, Name) ->
    case all([fun() -> file:sync(File) end, fun() -> file:close(File) end, fun() -> file:rename(Beside, Name) end]) of
        ok -> ok = sync_folder(Name), {ok, Count};
        {error, Reason} -> finish({error, {file, Reason}}, File, Beside, Name)
    end;
finish({error, Reason}, File, Beside, _Name) ->
    _ = file:close(File),
    _ = file:delete(Beside),
    {error, Reason}.

all([Step | Rest]) ->
    case Step() of
        ok -> all(Rest);
        {error, Reason} -> {error, Reason}
    end;
all([]) ->
    ok.

%% The new name survives a loss of power, where the file system can do so much.
sync_folder(Name) ->
    case file:open(filename:dirname(Name), [read, raw, directory]) of
        {ok, Folder} -> _ = file:sync(Folder), _ = file:close(Folder), ok;
        {error, _Reason} -> ok
    end.

%% An entry has the time that was left to it at the moment of the snapshot, which is after Asked.
write(File, Bucket, Timeout) ->
    case file:write(File, header()) of
        ok ->
            Asked = erlang:system_time(millisecond),
            case kv_snapshot:open(Bucket, Timeout) of
                {ok, Snapshot} -> write_snapshot(File, Snapshot, Asked);
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} ->
            {error, {file, Reason}}
    end.

write_snapshot(File, Snapshot, Asked) ->
    try
        write_pieces(File, kv_snapshot:next(Snapshot), Asked, 0)
    after
        ok = kv_snapshot:close(Snapshot)
    end.

write_pieces(File, {Entries, Snapshot}, Asked, Count) when is_list(Entries) ->
    case file:write(File, [record(Entry, Asked) || Entry <- Entries]) of
        ok ->
            write_pieces(File, kv_snapshot:next(Snapshot), Asked, Count + length(Entries));
        {error, Reason} ->
            ok = kv_snapshot:close(Snapshot),
            {error, {file, Reason}}
    end;
write_pieces(File, done, _Asked, Count) ->
    write_trailer(File, Count);
write_pieces(_File, {error, Reason}, _Asked, _Count) ->
    {error, Reason}.

write_trailer(File, Count) ->
    case file:write(File, trailer(Count)) of
        ok -> {ok, Count};
        {error, Reason} -> {error, {file, Reason}}
    end.

header() ->
    Head = <<?MAGIC, ?VERSION:32>>,
    <<Head/binary, (erlang:crc32(Head)):32>>.

record({Key, Value, Ttl}, Asked) ->
    Expiry = case Ttl of
        infinity -> 0;
        Ms -> Asked + Ms
    end,
    Entry = term_to_iovec({Key, Value}),
    Head = <<?RECORD, Expiry:64, (iolist_size(Entry)):32>>,
    [Head, Entry, <<(erlang:crc32(erlang:crc32(Head), Entry)):32>>].

trailer(Count) ->
    Head = <<?TRAILER, Count:64, 0:32>>,
    [Head, <<(erlang:crc32(Head)):32>>].
