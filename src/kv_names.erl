%% @doc How a person recognises a proxy: by the name of its bucket.
%%
%% From OTP 27 on a process can have a label, any term, and Observer writes it into the box of the process; no atom
%% is made. Before, Observer has only the name that a process is registered under, and that is an atom. So there a
%% proxy is registered as `kv: ' and the name of its bucket, as long as fewer than `observer_names' atoms were made
%% for it in this VM: an atom is never given back, and names of buckets come from users. An atom that is there already
%% costs nothing, so a bucket that comes again gets its name again.
%% @private
-module(kv_names).

-export([allow/2, set/2, made/0]).

-define(COUNTER, {?MODULE, counter}).
%% Longer ones are no help in a box, and an atom has at most 255 characters.
-define(LONGEST, 60).

%% @doc How many atoms may be made in this VM for the proxies of the node with this local name.
-spec allow(atom(), non_neg_integer()) -> ok.
allow(Server, Limit) ->
    _ = counter(),
    persistent_term:put({?MODULE, Server}, Limit).

%% @doc How many atoms were made so far.
-spec made() -> non_neg_integer().
made() ->
    atomics:get(counter(), 1).

%% One for the VM, as there is one table of atoms; it is never erased.
counter() ->
    case persistent_term:get(?COUNTER, undefined) of
        undefined ->
            ok = persistent_term:put(?COUNTER, atomics:new(1, [])),
            persistent_term:get(?COUNTER);
        Counter ->
            Counter
    end.

%% @doc Names the calling process after a bucket of the node with this local name, if it can be done.
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

%% Counted before it is made: however many ask at once, there are never more.
new_atom(Text, Limit) ->
    case atomics:add_get(counter(), 1, 1) =< Limit of
        true ->
            binary_to_atom(Text);
        false ->
            ok = atomics:sub(counter(), 1, 1),
            undefined
    end.

%% It is named already, or another bucket of that name is there.
try_register(Name) ->
    try register(Name, self()) of
        true -> ok
    catch
        error:badarg -> ok
    end.
-endif.
