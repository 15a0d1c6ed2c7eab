%% Reads the log of a data folder as docs/durable-format.md has it, without the program. Trusts checksums, and reads of files that are
%% used again only what belongs there.
-module(kv_log_reader).

-export([batches/1, records/2, files/1, file_name/1, lsn/2, place/1]).

-define(BLOCK, 4096).
-define(CONTENT, (64 bsl 20 - ?BLOCK)).
-define(PIECE, (1 bsl 20)).

-type lsn() :: non_neg_integer().
-type change() :: {put, term(), term()} | {delete, term()} | {expiry, term()} | clear | {table, Name :: binary()} | drop.

%% The names of the files of the log.
-spec files(file:filename()) -> [string()].
files(Folder) ->
    {ok, Names} = file:list_dir(Folder),
    lists:sort([Name || "log-" ++ _ = Name <- Names]).

-spec file_name(non_neg_integer()) -> string().
file_name(Number) -> lists:flatten(io_lib:format("log-~16.16.0b", [Number])).

%% The LSN of an offset in a file, and back.
-spec lsn(string(), non_neg_integer()) -> lsn().
lsn("log-" ++ Number, At) -> list_to_integer(Number, 16) * ?CONTENT + max(0, At - ?BLOCK).

-spec place(lsn()) -> {string(), non_neg_integer()}.
place(Lsn) -> {file_name(Lsn div ?CONTENT), ?BLOCK + Lsn rem ?CONTENT}.

%% The LSN and the length of each batch, in their order.
-spec batches(file:filename()) -> [{lsn(), pos_integer()}].
batches(Folder) ->
    Headers = [{lsn(File, At), Header} || File <- files(Folder), {At, Header} <- headers(filename:join(Folder, File), ?BLOCK)],
    [{Lsn, Length} || {Lsn, <<"kvb1", _:32, Lsn:64, Length:64>>} <- Headers].

headers(Path, At) ->
    {ok, File} = file:open(Path, [read, raw, binary]),
    Found = headers_from(File, At),
    ok = file:close(File),
    Found.

headers_from(File, At) ->
    case file:pread(File, At, ?PIECE) of
        {ok, Bytes} ->
            [{At + Block, binary:part(Bytes, Block, 24)} || Block <- lists:seq(0, byte_size(Bytes) - 24, ?BLOCK)]
                ++ headers_from(File, At + byte_size(Bytes));
        eof ->
            []
    end.

%% The records of all batches from an LSN on, with the number of their table.
-spec records(file:filename(), lsn()) -> [{pos_integer(), change()}].
records(Folder, From) ->
    lists:append([records_of(stream(Folder, Lsn + 64, Length - 64)) || {Lsn, Length} <- batches(Folder), Lsn >= From]).

stream(_Folder, _Lsn, 0) ->
    <<>>;
stream(Folder, Lsn, Length) ->
    {Name, At} = place(Lsn),
    Here = min(Length, ?CONTENT - Lsn rem ?CONTENT),
    {ok, File} = file:open(filename:join(Folder, Name), [read, raw, binary]),
    {ok, Bytes} = file:pread(File, At, Here),
    ok = file:close(File),
    <<Bytes/binary, (stream(Folder, Lsn + Here, Length - Here))/binary>>.

records_of(<<>>) ->
    [];
records_of(<<Kind, From/binary>>) ->
    {Table, Rest} = number(From),
    {Change, Next} = change(Kind, Rest),
    [{Table, Change} | records_of(Next)].

change(1, <<_:3, HasExpiry:1, ValueForm:2, KeyForm:2, From/binary>>) ->
    {KeyLength, Lengths} = number(skip(6 * HasExpiry, From)),
    {ValueLength, Bytes} = number(Lengths),
    <<Key:KeyLength/binary, Value:ValueLength/binary, Next/binary>> = Bytes,
    {{put, term(KeyForm, Key), term(ValueForm, Value)}, Next};
change(2, <<Form, From/binary>>) ->
    {Key, Next} = counted(From),
    {{delete, term(Form, Key)}, Next};
change(3, <<Form, _Expiry:48, From/binary>>) ->
    {Key, Next} = counted(From),
    {{expiry, term(Form, Key)}, Next};
change(4, Next) ->
    {clear, Next};
change(5, <<_Policy, _Kind, From/binary>>) ->
    {_Registry, At} = counted(From),
    {Name, Rest} = counted(At),
    {_Options, Next} = counted(Rest),
    {{table, Name}, Next};
change(6, Next) ->
    {drop, Next}.

skip(Length, From) -> binary:part(From, Length, byte_size(From) - Length).

counted(From) ->
    {Length, Rest} = number(From),
    <<Bytes:Length/binary, Next/binary>> = Rest,
    {Bytes, Next}.

number(<<0:1, Low:7, Next/binary>>) ->
    {Low, Next};
number(<<1:1, Low:7, From/binary>>) ->
    {High, Next} = number(From),
    {High bsl 7 + Low, Next}.

term(0, Bytes) -> binary_to_term(<<131, Bytes/binary>>);
term(1, Bytes) -> Bytes.
