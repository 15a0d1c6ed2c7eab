%% @doc The library `priv/kv_nif.so', which reads the memory of a node of the same host: c_src/nif/.
%%
%% {@link load/0} loads the library when it is first needed. Until then each function that reads returns `not_loaded'.
%% After that, a new version of this module loads the library as well, and takes over the arenas of the old one.
%%
%% If a function returns a {@link reason()}, the node itself must be asked.
%% @private
-module(kv_nif).

-export([load/0, open_arena/4, close_arena/1, get/4, get_by/4, fetch_by/3, has_key_by/3, size_by/2, meet/5, epoch/0, next_epoch/0, fetch/3, lookup/3, has_key/3, size/2, counters/2, reads/2, key/3]).
-export([open_lane/3, close_lane/1, ask/3, look/1]).

-export_type([arena/0, place/0, reason/0, lane/0, held/0]).

-type arena() :: reference().
-type lane() :: reference().
%% A request that the node has taken and not yet answered. If nobody refers to it any more, nobody gets the answer.
-type held() :: reference().
%% Operating system pid, file descriptor in that process, identity of the arena, and its size in bytes.
-type place() :: {pos_integer(), non_neg_integer(), binary(), pos_integer()}.
-type zeros() :: same | differ.
-type reason() ::
    %% The process has no table, or has ended.
    gone
    %% The process is suspended.
    | held
    %% The table was being written all the time.
    | disturbed
    %% The arena is not in the format that it claims.
    | broken
    %% The bucket counts uses, to know which entry to evict.
    | counted
    %% The key or the value is too large to handle on a scheduler.
    | large
    %% The value has an atom that this VM does not know.
    | unknown
    %% The arena was closed.
    | closed
    | not_loaded.

-type arenas() :: #{node() => arena(), _ => _}.
%% A local process or its name; of any other term nothing is known.
-type proxy() :: term().

-define(VERSION, 1).
%% Set once the library has been requested.
-define(WANTED, {?MODULE, wanted}).
-on_load(load_again/0).
-nifs([open_arena/4, close_arena/1, get/4, get_by/4, fetch_by/3, has_key_by/3, size_by/2, meet/5, epoch/0, next_epoch/0, fetch/3, lookup/3, has_key/3, size/2, counters/2, reads/2, key/3]).
-nifs([open_lane/3, close_lane/1, ask/3, look/1]).

%% @doc Loads the library, unless it is loaded.
-spec load() -> ok | {error, {atom(), string()}}.
load() ->
    case erlang:load_nif(filename:join(directory(), "kv_nif"), ?VERSION) of
        ok -> persistent_term:put(?WANTED, true);
        {error, {reload, _}} -> ok;
        {error, Reason} -> {error, Reason}
    end.

%% Called after an upgrade. This module works without the library, too.
load_again() ->
    _ = persistent_term:get(?WANTED, false) andalso load(),
    ok.

directory() ->
    case code:priv_dir(kv) of
        {error, bad_name} -> filename:absname("priv");
        Priv -> Priv
    end.

%% @doc Maps the arena of a node. The name of the node is given as text.
-spec open_arena(place(), binary(), non_neg_integer(), zeros()) -> {ok, arena()} | {error, atom()}.
open_arena(_Place, _Node, _Creation, _Zeros) ->
    not_loaded({error, not_loaded}).

%% @doc Closes the arena: no more reads from it.
-spec close_arena(arena()) -> ok | not_loaded.
close_arena(_Arena) ->
    not_loaded(not_loaded).

%% @doc Returns the value of a key in the table of a process, or Default; or `call': the process must be asked.
-spec get(arena(), pid(), term(), Default) -> term() | Default | call.
get(_Arena, _Pid, _Key, _Default) ->
    not_loaded(call).

%% @doc The same for the process behind a local proxy, which is given by its pid or its name, if this thread has met the proxy in the
%% present epoch. Arenas has the arena of each node. Returns `unmet' otherwise, and whenever the process must be asked.
-spec get_by(arenas(), proxy(), term(), Default) -> term() | Default | unmet.
get_by(_Arenas, _Proxy, _Key, _Default) ->
    not_loaded(unmet).

%% @doc {@link fetch/3}, for a proxy.
-spec fetch_by(arenas(), proxy(), term()) -> {ok, term()} | error | unmet.
fetch_by(_Arenas, _Proxy, _Key) ->
    not_loaded(unmet).

%% @doc {@link has_key/3}, for a proxy.
-spec has_key_by(arenas(), proxy(), term()) -> boolean() | unmet.
has_key_by(_Arenas, _Proxy, _Key) ->
    not_loaded(unmet).

%% @doc {@link size/2}, for a proxy.
-spec size_by(arenas(), proxy()) -> non_neg_integer() | unmet.
size_by(_Arenas, _Proxy) ->
    not_loaded(unmet).

%% @doc Lets this thread know which native process a proxy stood for in this epoch, and its node.
-spec meet(arena(), pid(), pid(), node(), non_neg_integer()) -> ok.
meet(_Arena, _Native, _Proxy, _Node, _Epoch) ->
    not_loaded(ok).

%% @doc Returns the epoch. It must be asked for before the native process of a proxy is looked up.
-spec epoch() -> non_neg_integer().
epoch() ->
    not_loaded(0).

%% @doc Begins another epoch: a proxy stands for another process now, or has ended.
-spec next_epoch() -> ok.
next_epoch() ->
    not_loaded(ok).

%% @doc Returns the value of a key in the table of a process.
-spec fetch(arena(), pid(), term()) -> {ok, term()} | error | reason().
fetch(_Arena, _Pid, _Key) ->
    not_loaded(not_loaded).

%% @doc Returns the process with a name in a registry.
-spec lookup(arena(), pid(), binary()) -> {ok, pid()} | error | reason().
lookup(_Arena, _Pid, _Name) ->
    not_loaded(not_loaded).

%% @doc Returns `true' if there is a value.
-spec has_key(arena(), pid(), term()) -> boolean() | reason().
has_key(_Arena, _Pid, _Key) ->
    not_loaded(not_loaded).

%% @doc Returns the number of keys.
-spec size(arena(), pid()) -> non_neg_integer() | reason().
size(_Arena, _Pid) ->
    not_loaded(not_loaded).

%% @doc Returns bytes that are equal as long as nothing in the table changes.
-spec counters(arena(), pid()) -> binary() | reason().
counters(_Arena, _Pid) ->
    not_loaded(not_loaded).

%% @doc Returns how many reads of a bucket {@link get/4}, {@link fetch/3} and {@link has_key/3} have answered, in all
%% processes of this VM: those that found a value, and those that found none. Counts of a bucket may be lost if the VM
%% reads more than 1,024 buckets.
-spec reads(arena(), pid()) -> {non_neg_integer(), non_neg_integer()} | closed | not_loaded.
reads(_Arena, _Pid) ->
    not_loaded(not_loaded).

%% @doc Returns a key as the store writes it: its form, and its bytes. For tests that compare the two encoders.
-spec key(term(), zeros(), direct | generic) -> {0 | 1, binary()} | unknown | not_loaded.
key(_Key, _Zeros, _Way) ->
    not_loaded(not_loaded).

%% @doc Maps a lane to the node of an arena, for so many schedulers of this VM.
-spec open_lane(arena(), place(), pos_integer()) -> {ok, lane()} | {error, atom()}.
open_lane(_Arena, _Place, _Groups) ->
    not_loaded({error, not_loaded}).

%% @doc Closes a lane: no more requests by it. Tells the node.
-spec close_lane(lane()) -> ok | not_loaded.
close_lane(_Lane) ->
    not_loaded(not_loaded).

%% @doc Lets a process of the node handle a request, as by `$kv_call', and waits some microseconds for the answer. `call': nothing
%% was done, and nothing will be; the request must be sent as a message. `lost': the lane has ended, and nobody knows whether the
%% request was done.
-spec ask(lane(), pid(), term()) -> {reply, term()} | {taken, held()} | call | lost.
ask(_Lane, _Pid, _Request) ->
    not_loaded(call).

%% @doc Looks for the answer to a request that was taken. After any result but `wait' there is none.
-spec look(held()) -> {reply, term()} | wait | call | lost.
look(_Held) ->
    not_loaded(lost).

%% The result of each function until the library replaces it.
not_loaded(Answer) ->
    try
        erlang:nif_error(not_loaded)
    catch
        error:not_loaded -> Answer
    end.
