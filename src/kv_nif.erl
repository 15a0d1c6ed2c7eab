%% @doc The library `priv/kv_nif.so', which reads the memory of a node of the same host: c_src/nif/.
%%
%% It is loaded when it is first asked for, by {@link load/0}; until then each function that reads answers
%% `not_loaded'. From then on a new version of this module loads it as well, and takes over the arenas of the old one.
%%
%% An answer that is a {@link reason()} means that the node itself is to be asked.
%% @private
-module(kv_nif).

-export([load/0, open_arena/4, close_arena/1, fetch/3, lookup/3, has_key/3, size/2, counters/2, key/3]).

-export_type([arena/0, place/0, reason/0]).

-type arena() :: reference().
%% Operating system pid, file descriptor there, the arena's identity and its size in bytes.
-type place() :: {pos_integer(), non_neg_integer(), binary(), pos_integer()}.
-type zeros() :: same | differ.
-type reason() ::
    %% The process has no table, or has ended.
    gone
    %% It is suspended.
    | held
    %% It was written all the time.
    | disturbed
    %% The arena is not what its format says.
    | broken
    %% The bucket counts uses, to know what to evict.
    | counted
    %% Key or value are too large for a scheduler.
    | large
    %% The value has an atom that this VM does not know.
    | unknown
    %% The arena was closed.
    | closed
    | not_loaded.

-define(VERSION, 1).
%% Set once the library is wanted.
-define(WANTED, {?MODULE, wanted}).
-on_load(load_again/0).
-nifs([open_arena/4, close_arena/1, fetch/3, lookup/3, has_key/3, size/2, counters/2, key/3]).

%% @doc Loads the library, unless it is loaded.
-spec load() -> ok | {error, {atom(), string()}}.
load() ->
    case erlang:load_nif(filename:join(directory(), "kv_nif"), ?VERSION) of
        ok -> persistent_term:put(?WANTED, true);
        {error, {reload, _}} -> ok;
        {error, Reason} -> {error, Reason}
    end.

%% Of an upgrade. Without the library this module does its work, too.
load_again() ->
    _ = persistent_term:get(?WANTED, false) andalso load(),
    ok.

directory() ->
    case code:priv_dir(kv) of
        {error, bad_name} -> filename:absname("priv");
        Priv -> Priv
    end.

%% @doc Maps the arena of a node whose name is given as text.
-spec open_arena(place(), binary(), non_neg_integer(), zeros()) -> {ok, arena()} | {error, atom()}.
open_arena(_Place, _Node, _Creation, _Zeros) ->
    not_loaded({error, not_loaded}).

%% @doc From now on nobody reads from it any more.
-spec close_arena(arena()) -> ok | not_loaded.
close_arena(_Arena) ->
    not_loaded(not_loaded).

%% @doc The value of a key in the table of a process.
-spec fetch(arena(), pid(), term()) -> {ok, term()} | error | reason().
fetch(_Arena, _Pid, _Key) ->
    not_loaded(not_loaded).

%% @doc The process of a name in a registry.
-spec lookup(arena(), pid(), binary()) -> {ok, pid()} | error | reason().
lookup(_Arena, _Pid, _Name) ->
    not_loaded(not_loaded).

%% @doc Whether there is a value.
-spec has_key(arena(), pid(), term()) -> boolean() | reason().
has_key(_Arena, _Pid, _Key) ->
    not_loaded(not_loaded).

%% @doc The number of keys.
-spec size(arena(), pid()) -> non_neg_integer() | reason().
size(_Arena, _Pid) ->
    not_loaded(not_loaded).

%% @doc Bytes that are the same as long as nothing in the table changes.
-spec counters(arena(), pid()) -> binary() | reason().
counters(_Arena, _Pid) ->
    not_loaded(not_loaded).

%% @doc A key as the store has it: its form, and its bytes. For tests that both ways to make them agree.
-spec key(term(), zeros(), direct | generic) -> {0 | 1, binary()} | unknown | not_loaded.
key(_Key, _Zeros, _Way) ->
    not_loaded(not_loaded).

%% What a function answers as long as the library has not taken its place.
not_loaded(Answer) ->
    try
        erlang:nif_error(not_loaded)
    catch
        error:not_loaded -> Answer
    end.
