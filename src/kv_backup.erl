%% @doc Backups of the durable buckets of a node: {@link kv:backup/2}.
%%
%% The VM that owns the program asks for any folder, over the standard input of the program. Others send the program a
%% message with a plain name, for a folder in its `backup_dir'.
%% @private
-module(kv_backup).

-export([by_leash/3, by_message/3]).

-export_type([result/0]).

-type made() :: #{folder := binary(), bytes := non_neg_integer(), written_bytes := non_neg_integer()}.
-type result() :: {ok, made()} | {error, {atom() | binary(), binary()}}.
-type outcome() :: result() | {error, kv_options:error()} | {exit, term()} | {misuse, unicode:chardata()}.

%% How long a node may take to say that it is a C node.
-define(KIND_TIMEOUT, 5000).
%% Bytes of a path, so that a request is one line of the program's standard input.
-define(PATH_MAX, 4000).

%% @doc Asks the program of a kv_node of this VM.
-spec by_leash(atom(), file:name_all(), timeout()) -> outcome().
by_leash(Server, Folder, Timeout) ->
    case bytes(Folder) of
        {ok, <<>>} -> {error, {bad_folder, <<"the path of the backup is empty: name a new folder">>}};
        {ok, Bytes} -> asked(Server, filename:absname(Bytes), Timeout);
        error -> {misuse, wrong(Folder)}
    end.

%% The path is a part of a line for the program.
asked(_Server, Path, _Timeout) when byte_size(Path) > ?PATH_MAX ->
    {error, {bad_folder, <<"the path of the backup is too long: name a folder with a shorter one">>}};
asked(Server, Path, Timeout) ->
    case has_control(Path) of
        true ->
            Text = <<"the path of the backup has a control character, such as a line break: name another folder">>,
            {error, {bad_folder, Text}};
        false ->
            answer(Path, waited(fun() -> kv_node:backup(Server, Path, Timeout) end))
    end.

answer(Path, {ok, Bytes, Written}) -> {ok, #{folder => Path, bytes => Bytes, written_bytes => Written}};
answer(_Path, Other) -> Other.

%% @doc Asks a C node, by a message.
-spec by_message(node(), file:name_all(), timeout()) -> outcome().
by_message(Node, Name, Timeout) ->
    case bytes(Name) of
        {ok, Bytes} -> messaged(is_native(Node), Node, Bytes, Timeout);
        error -> {misuse, wrong(Name)}
    end.

%% A node that is not connected yet cannot be asked.
is_native(Node) ->
    case net_kernel:connect_node(Node) of
        true -> kv_inspect:is_native(Node, ?KIND_TIMEOUT);
        _ -> {error, {nodedown, Node}}
    end.

messaged({ok, true}, Node, Name, Timeout) ->
    waited(fun() -> gen_server:call({net_kernel, Node}, {kv_backup, Name}, Timeout) end);
messaged({ok, false}, Node, _Name, _Timeout) ->
    Text = kv_options:wrong("node", "the local name of a kv_node, or the name of a C node", Node),
    {error, {bad_option, node, unicode:characters_to_binary(Text)}};
messaged({error, Reason}, _Node, _Name, _Timeout) ->
    {exit, Reason}.

waited(Fun) ->
    try
        Fun()
    catch
        exit:{Reason, {gen_server, call, _}} -> {exit, Reason}
    end.

bytes(Name) when is_binary(Name) ->
    {ok, Name};
%% An atom would do for `file', but nil and undefined are a setting that is missing, and no name of a folder.
bytes(Name) when not is_list(Name) ->
    error;
bytes(Name) ->
    try unicode:characters_to_binary(filename:flatten(Name)) of
        Bytes when is_binary(Bytes) -> {ok, Bytes};
        _ -> error
    catch
        error:_ -> error
    end.

has_control(Path) ->
    lists:any(fun(Byte) -> Byte < 32 orelse Byte =:= 127 end, binary_to_list(Path)).

wrong(Folder) ->
    kv_options:wrong("the folder", "a path: a binary or a string", Folder).
