%% @doc Puts the entries of a file that {@link kv_export} has written: {@link kv_bucket:import/3}.
%%
%% The file is read twice: once to see that it is whole, and once to put its entries. Both times one entry after the other, so
%% the memory that an import takes does not depend on the size of the file.
%% @private
-module(kv_import).

-export([import/3, file_name/2]).

-export_type([reason/0]).

%% `{incomplete, Count, Reason}': Count entries have been put, and the next request got `{error, Reason}'.
-type reason() :: {file, file:posix() | badarg | terminated | system_limit | not_regular} | {bad_file, binary()}
    | {incomplete, non_neg_integer(), term()}.

-include("kv_export.hrl").
-include_lib("kernel/include/file.hrl").

%% An import puts so many entries, or bytes, in one request. A transaction takes no more than 1,000, and 1 MiB.
-define(BATCH_ENTRIES, 1000).
-define(BATCH_BYTES, (1 bsl 19)).
-define(READ_AHEAD, (1 bsl 18)).
%% Milliseconds: the program takes no more.
-define(TTL_MAX, (1 bsl 46)).

-record(batch, {
    bucket :: gen_server:server_ref(),
    timeout :: timeout(),
    %% The entries that are in the bucket, and those of this batch: without a time to live, and with the time of their end.
    put = 0 :: non_neg_integer(),
    plain = [] :: [{term(), term()}],
    timed = [] :: [{non_neg_integer(), {term(), term()}}],
    count = 0 :: non_neg_integer(),
    bytes = 0 :: non_neg_integer()
}).

%% @doc Puts the entries of a file. Checks the whole file before it puts any. Returns the number of entries that it has put.
-spec import(gen_server:server_ref(), file:name_all(), term()) -> {ok, non_neg_integer()} | {error, reason()}.
import(Bucket, Path, Options) ->
    Call = {kv_bucket, import, [Bucket, Path, Options]},
    ok = kv_call_options:server(Call),
    #{timeout := Timeout} = kv_call_options:options(Call, []),
    case open(file_name(Call, Path)) of
        {ok, File} ->
            try
                check_and_put(File, #batch{bucket = Bucket, timeout = Timeout})
            catch
                throw:{?MODULE, Reason} -> {error, Reason}
            after
                _ = file:close(File)
            end;
        {error, Reason} ->
            {error, {file, Reason}}
    end.

%% To open a FIFO would wait for its writer.
open(Name) ->
    case file:read_file_info(Name) of
        {ok, #file_info{type = regular}} -> file:open(Name, [read, raw, binary, {read_ahead, ?READ_AHEAD}]);
        {ok, #file_info{}} -> {error, not_regular};
        {error, Reason} -> {error, Reason}
    end.

%% @doc Returns the name of a file as one string or binary. Raises `badarg' if it is none.
-spec file_name(kv_misuse:call(), term()) -> string() | binary().
file_name(Call, Path) ->
    try one_name(Path) of
        Name when Name =/= [], Name =/= <<>> -> Name;
        _Empty -> no_file_name(Call, Path)
    catch
        error:_ -> no_file_name(Call, Path)
    end.

%% A list may have binaries in it, which are UTF-8 then, and atoms. A zero byte ends a name for the system.
one_name(Path) when is_binary(Path) ->
    nomatch = binary:match(Path, <<0>>),
    Path;
one_name(Path) when is_list(Path) ->
    Name = [_ | _] = unicode:characters_to_list(filename:flatten(Path)),
    false = lists:member(0, Name),
    Name.

-spec no_file_name(kv_misuse:call(), term()) -> no_return().
no_file_name(Call, Path) ->
    kv_misuse:raise(Call, 2, kv_options:wrong("the file", "the name of a file", Path)).

check_and_put(File, Batch) ->
    Size = must(file:position(File, eof)),
    none = read_all(File, Size, fun(_Expiry, _Entry, _Bytes, none) -> none end, none),
    #batch{put = Put} = flush(read_all(File, Size, fun add/4, Batch)),
    {ok, Put}.

must({ok, Done}) -> Done;
must({error, Reason}) -> throw({?MODULE, {file, Reason}}).

%%% Putting

add(Expiry, Entry, Bytes, #batch{count = Count, bytes = Sum} = Batch) when
    Count >= ?BATCH_ENTRIES; Count > 0, Sum + Bytes > ?BATCH_BYTES
->
    add(Expiry, Entry, Bytes, flush(Batch));
add(0, Entry, Bytes, #batch{plain = Plain, count = Count, bytes = Sum} = Batch) ->
    Batch#batch{plain = [Entry | Plain], count = Count + 1, bytes = Sum + Bytes};
add(Expiry, Entry, Bytes, #batch{timed = Timed, count = Count, bytes = Sum} = Batch) ->
    Batch#batch{timed = [{Expiry, Entry} | Timed], count = Count + 1, bytes = Sum + Bytes}.

flush(#batch{plain = Plain, timed = Timed} = Batch) ->
    Now = erlang:system_time(millisecond),
    Living = [{put, Key, Value, min(Expiry - Now, ?TTL_MAX)} || {Expiry, {Key, Value}} <- Timed, Expiry > Now],
    put_timed(Living, put_plain(Plain, Batch#batch{plain = [], timed = [], count = 0, bytes = 0})).

%% One entry alone goes without a list: it may be as large as a message can be.
put_plain([], Batch) -> Batch;
put_plain([{Key, Value}], Batch) -> request(put, [Key, Value, infinity], 1, Batch);
put_plain(Plain, Batch) -> request(put_many, [Plain, infinity], length(Plain), Batch).

put_timed([], Batch) -> Batch;
put_timed([{put, Key, Value, Ttl}], Batch) -> request(put, [Key, Value, Ttl], 1, Batch);
put_timed(Puts, Batch) -> request(transaction, [Puts], length(Puts), Batch).

request(Function, Arguments, Count, #batch{bucket = Bucket, timeout = Timeout, put = Put} = Batch) ->
    case kv_request:call(Bucket, Function, Arguments, Timeout) of
        {error, {Index, Reason}} when is_integer(Index) -> throw({?MODULE, {incomplete, Put, Reason}});
        {error, Reason} -> throw({?MODULE, {incomplete, Put, Reason}});
        _Done -> Batch#batch{put = Put + Count}
    end.

%%% Reading

read_all(File, Size, Fun, Acc) ->
    0 = must(file:position(File, 0)),
    ok = read_header(read(File, ?HEADER_SIZE)),
    read_records(File, {?HEADER_SIZE, Size}, 0, Fun, Acc).

read_header(<<?MAGIC, ?VERSION:32, Sum:32>>) ->
    Sum =:= erlang:crc32(<<?MAGIC, ?VERSION:32>>) orelse bad("the file is damaged at its beginning"),
    ok;
read_header(<<?MAGIC, Version:32, Sum:32>>) ->
    Sum =:= erlang:crc32(<<?MAGIC, Version:32>>) orelse bad("the file is damaged at its beginning"),
    bad(["the file has version ", integer_to_list(Version), " of the format, and this kv reads version ", integer_to_list(?VERSION)]);
read_header(<<?MAGIC, _/binary>>) ->
    bad("the file ends in its first bytes");
read_header(_Other) ->
    bad("the file is no export of a bucket").

read_records(File, {At, Size}, Count, Fun, Acc) ->
    case read(File, ?RECORD_HEAD) of
        <<?RECORD, Expiry:64, Bytes:32>> = Head ->
            Next = At + ?RECORD_HEAD + Bytes + ?SUM_SIZE,
            Next =< Size orelse torn(Size),
            Entry = entry(sealed(File, Bytes, Head, At), At),
            read_records(File, {Next, Size}, Count + 1, Fun, Fun(Expiry, Entry, Bytes, Acc));
        <<?TRAILER, Written:64, 0:32>> = Head ->
            <<>> = sealed(File, 0, Head, At),
            Written =:= Count orelse bad(["the file has ", integer_to_list(Count), " entries, and should have ", integer_to_list(Written)]),
            read(File, 1) =:= <<>> orelse bad(["something follows the end of the export, which is at byte ", at(File)]),
            Acc;
        Head when byte_size(Head) < ?RECORD_HEAD ->
            torn(At + byte_size(Head));
        _Other ->
            damaged(At)
    end.

%% Returns the bytes that follow Head, if the sum of both is right.
sealed(File, Bytes, Head, At) ->
    case read(File, Bytes + ?SUM_SIZE) of
        <<Body:Bytes/binary, Sum:32>> ->
            Sum =:= erlang:crc32(erlang:crc32(Head), Body) orelse damaged(At),
            Body;
        Short ->
            torn(At + byte_size(Head) + byte_size(Short))
    end.

entry(Bytes, At) ->
    try binary_to_term(Bytes) of
        {_Key, _Value} = Entry -> Entry;
        _Other -> damaged(At)
    catch
        error:badarg -> damaged(At)
    end.

read(File, Bytes) ->
    case file:read(File, Bytes) of
        eof -> <<>>;
        Result -> must(Result)
    end.

at(File) -> integer_to_list(must(file:position(File, cur)) - 1).

-spec torn(non_neg_integer()) -> no_return().
torn(At) -> bad(["the file is torn: it ends at byte ", integer_to_list(At), ", in the middle"]).

-spec damaged(non_neg_integer()) -> no_return().
damaged(At) -> bad(["the file is damaged: the record at byte ", integer_to_list(At), " has another sum than when it was written"]).

-spec bad(unicode:chardata()) -> no_return().
bad(Text) -> throw({?MODULE, {bad_file, unicode:characters_to_binary(Text)}}).
