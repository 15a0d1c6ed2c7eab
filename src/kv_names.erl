%% @doc Names proxies after their buckets, so that a person can recognise them in Observer.
%%
%% From OTP 27 on a process can have a label, any term, which Observer writes into the box of the process. No atom is
%% needed. Before OTP 27, Observer shows only the registered name, an atom. There a proxy is registered as `kv: ' and
%% the name of its bucket, as long as kv has created fewer than `observer_names' atoms in this VM: users choose the
%% names of buckets, and an atom is never freed. An atom that exists already costs nothing, so a bucket that comes
%% back gets its name again.
%% @private
-module(kv_names).

-export([allow/2, set/2, made/0]).

-define(COUNTER, {?MODULE, counter}).
%% Longer names do not fit into a box, and an atom has at most 255 characters.
-define(LONGEST, 60).

%% @doc Sets how many atoms kv may create in this VM for the proxies of the node with this local name.
-spec allow(atom(), non_neg_integer()) -> ok.
allow(Server, Limit) ->
    _ = counter(),
    persistent_term:put({?MODULE, Server}, Limit).

%% @doc Returns how many atoms kv has created so far.
-spec made() -> non_neg_integer().
made() ->
    atomics:get(counter(), 1).

%% One counter for the VM, because there is one table of atoms. It is never erased.
counter() ->
    case persistent_term:get(?COUNTER, undefined) of
        undefined ->
            ok = persistent_term:put(?COUNTER, atomics:new(1, [])),
            persistent_term:get(?COUNTER);
        Counter ->
            Counter
    end.

%% @doc Names the calling process after a bucket of the node with this local name, if possible.
-spec set(atom(), binary() | undefined) -> ok.
-if(?OTP_RELEASE >= 27).
set(_Server, undefined) -> ok;
set(_Server, Label) -> proc_lib:set_label(Label).
-else.
set(_Server, undefined) ->
    ok;
set(Server, Label) ->
    case persistent_term:get({?MODULE, Server}, 0) of
        0 -> ok;
        Limit -> register_as(name(Label), Limit)
    end.

name(Label) ->
    case unicode:characters_to_list(Label) of
        Text when is_list(Text) -> "kv: " ++ [printable(Char) || Char <- lists:sublist(Text, ?LONGEST)];
        _NotText -> undefined
    end.

printable(Char) when Char < 32; Char =:= 127 -> $?;
printable(Char) -> Char.

register_as(undefined, _Limit) ->
    ok;
register_as(Text, Limit) ->
    case atom(unicode:characters_to_binary(Text), Limit) of
        undefined -> ok;
        Name -> try_register(Name)
    end.

atom(Text, Limit) ->
    try
        binary_to_existing_atom(Text)
    catch
        error:badarg -> new_atom(Text, Limit)
    end.

%% Counted before the atom is created, so that concurrent callers never create too many.
new_atom(Text, Limit) ->
    case atomics:add_get(counter(), 1, 1) =< Limit of
        true ->
            binary_to_atom(Text);
        false ->
            ok = atomics:sub(counter(), 1, 1),
            undefined
    end.

%% The process has a name already, or there is another bucket of that name.
try_register(Name) ->
    try register(Name, self()) of
        true -> ok
    catch
        error:badarg -> ok
    end.
-endif.
