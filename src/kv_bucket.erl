%% @doc A bucket: a process that keeps values under keys.
%%
%% The process runs on the C node. {@link start_link/1} starts the process and returns its local proxy;
%% {@link kv_registry:lookup/2} returns the native process itself. All functions of this module take either, or anything else
%% that names a process: a registered name, `{Name, Node}', `{global, Name}' or `{via, Module, Name}'.
%%
%% ```
%% {ok, Bucket} = kv_bucket:start_link([]),
%% ok = kv_bucket:put(Bucket, milk, 3),
%% 3 = kv_bucket:get(Bucket, milk).
%% '''
%%
%% Keys and values are any terms. Keys are compared with `=:='.
%%
%% == Timeouts and options ==
%%
%% The last argument of each function that waits is a timeout in milliseconds, 5000 by default, or a list of options. `timeout' is
%% an
%% option of all of them: `size(Bucket, [{timeout, 100}])'. Functions that put have `ttl', and {@link get/3} and {@link
%% get_many/3} have
%% `default'. Of an option that is given twice the first counts.
%%
%% A wrong argument raises `badarg'. Shells and logs print a sentence that says which argument is wrong, and which value is
%% wanted.
%%
%% == Errors ==
%%
%% Functions exit in the same cases as `gen_server:call/3': with `noproc' if there is no such bucket, with `timeout' if the bucket
%% does not answer in time, and with `{nodedown, Node}' if its node is lost. If the server is no bucket but another process of the
%% node, they exit with `{{bad_request, Request}, _}'.
%%
%% A request that is too large or nested too deep (`max_frame' and `max_depth' of {@link kv_node}) changes nothing.
%% Functions that change something return `{error, Why}', except {@link delete/2} and {@link pop/2}. All other functions may
%% return any term, so they exit with `{Why, _}'. Why is one of
%% <ul>
%% <li>`{too_large, Bytes}';</li>
%% <li>`{too_deep, Levels}', where Levels is the limit;</li>
%% <li>`{too_much_pending, Bytes}': more large messages are under way than the node keeps;</li>
%% <li>`{unsupported_term, record}', `{unsupported_term, integer}': the request holds a term that not every release of OTP can
%%     read.</li>
%% </ul>
%%
%% The native process is the fastest address: a call is one message each way. The proxy adds a hop, and a name adds a look-up.
%%
%% == Many at a time ==
%%
%% {@link get_many/2}, {@link put_many/2} and {@link delete_many/2} send all keys in one message. {@link async/3} sends a request
%% without waiting for the answer, {@link await/1} waits for the answer, and {@link cast/3} asks for none:
%%
%% ```
%% {ok, Bucket} = kv_bucket:start_link([]),
%% ok = kv_bucket:put_many(Bucket, [{milk, 3}, {eggs, 12}]),
%% [3, 12, undefined] = kv_bucket:get_many(Bucket, [milk, eggs, tea]),
%% Requests = [kv_bucket:async(Bucket, get, [Key]) || Key <- [milk, eggs]],
%% [3, 12] = kv_bucket:await_many(Requests).
%% '''
-module(kv_bucket).
-compile({no_auto_import, [get/1, put/2, size/1]}).

-include("kv_timeout.hrl").

-export([own_options/0, together/1]).
-export([start_link/0, start_link/1, child_spec/1, stop/1, stop/2, stop/3, destroy/1, destroy/2]).
-export([get/2, get/3, get/4, fetch/2, fetch/3, has_key/2, has_key/3]).
-export([put/3, put/4, put_new/3, put_new/4, delete/2, delete/3, clear/1, clear/2]).
-export([size/1, size/2, keys/1, keys/2, to_map/1, to_map/2, generation/1, generation/2]).
-export([get_many/2, get_many/3, get_many/4, take/2, take/3]).
-export([put_many/2, put_many/3, put_new_many/2, put_new_many/3, delete_many/2, delete_many/3]).
-export([pop/2, pop/3, swap/3, swap/4, replace/3, replace/4]).
-export([compare_and_put/4, compare_and_put/5, compare_and_delete/3, compare_and_delete/4]).
-export([incr/2, incr/3, incr/4, decr/2, decr/3, decr/4]).
-export([ttl/2, ttl/3, expire/3, expire/4, expire_at/3, expire_at/4, persist/2, persist/3, touch/2, touch/3]).
-export([update/4, update/5, update_existing/3, update_existing/4, get_and_update/3, get_and_update/4]).
-export([transaction/2, transaction/3]).
-export([stats/1, stats/2, info/1]).
-export([scan/2, scan/3, fold/3, fold/4, count/1, count/2]).
-export([export/2, export/3, import/2, import/3]).
-export([async/3, await/1, await/2, await_many/1, await_many/2, abandon/1, cast/3]).

-export_type([t/0, key/0, value/0, entries/0, options/0, option/0, request/0, refused/0]).
-export_type([operation/0, cast_function/0]).
-export_type([call_option/0, get_option/0, put_option/0, update_option/0, count_option/0]).
-export_type([stats/0, cursor/0, entry/0, walk_option/0, filter/0]).

-type t() :: gen_server:server_ref().
-type key() :: term().
-type value() :: term().
-type entries() :: [{key(), value()}] | #{key() => value()}.
%% A request that {@link async/3} has sent, and whose answer has not been taken yet.
-type request() :: kv_request:t().
-type option() ::
    {name, kv_start_options:name()}
    %% Status reports show it.
    | {label, binary()}
    %% The local name of the kv_node to run on, if there are several.
    | {node, atom()}
    %% Bytes that the entries and their index may take.
    | {max_memory, pos_integer()}
    | {max_entries, pos_integer()}
    %% Which entry is removed if there is no room.
    | {evict, none | lru | ttl}
    %% The time to live of entries that are put without one.
    | {ttl, pos_integer() | infinity}
    %% Each read of a value starts that time again.
    | {touch_on_read, boolean()}
    %% `commit': each change is on disk before it is answered. `interval': within a second.
    | {durable, false | commit | interval}
    %% `latest': reads of a durable bucket do not wait for the disk.
    | {reads, durable | latest}
    | kv_start_options:stay_option().
-type options() :: [option()] | #{name => kv_start_options:name(), label => binary(), node => atom(), atom() => term()}.
%% An operation of a transaction: a function that has one key, and its arguments without the bucket, options last. `check' and
%% `check_absent' are operations of transactions only.
-type operation() ::
    {get | fetch | has_key | delete | check_absent, key()}
    | {put | put_new | check, key(), value()}
    | tuple().
%% A function that {@link cast/3} can send.
-type cast_function() ::
    put | delete | swap | replace | compare_and_put | compare_and_delete | incr | decr | expire | expire_at | persist | touch
    | put_many | delete_many | clear.
%% The time to wait for the answer, in milliseconds.
-type call_option() :: {timeout, timeout()}.
%% The answer where there is no value.
-type get_option() :: {default, term()} | call_option().
%% The time to live of an entry, in milliseconds; or the entry keeps its own.
-type put_option() :: {ttl, pos_integer() | infinity} | {keep_ttl, boolean()} | call_option().
%% Of a counter: the value of an absent key before the step, the time to live of a new entry, and the bounds of the result.
-type count_option() :: {default | min | max, integer()} | {ttl, pos_integer() | infinity} | call_option().
%% An update keeps the time to live of the entry unless one is given.
-type update_option() :: {keep_ttl, true} | put_option().
-type stats() :: #{atom() => non_neg_integer() | infinity | none | lru | ttl | commit | interval | durable | latest | boolean()}.
%% How far a walk has come. Opaque; may be stored and sent.
-type cursor() :: kv_walk:cursor().
%% One entry of a walk: as the option `return' says.
-type entry() :: {key(), value()} | key() | value() | {key(), value(), pos_integer() | infinity}.
-type filter() :: kv_walk:filter().
-type walk_option() :: kv_walk:option().

%% The reason for which the node refused a request. `enospc' and `busy' are those of a durable bucket: the disk is full, or too
%% much waits for the disk.
-type refused() ::
    enospc
    | busy
    | {too_large | too_deep | too_much_pending, pos_integer()}
    | {unsupported_term, record | integer}.

-define(TIMEOUT, 5000).

%% Options that a bucket of the node cannot have.
-define(OF_ONE_VM, [{fill, " is for a bucket of one VM: others would use a bucket of the node while it is being filled"}]).

%% @equiv start_link([])
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    start_link([]).

%% @doc Starts an empty bucket, linked to the caller, and returns its proxy.
%%
%% If the node is starting or restarting, waits for it, at most for `start_timeout' of {@link kv_node}. Options:
%% <ul>
%% <li>`name': an atom, `{local, Atom}', `{global, Term}' or `{via, Module, Term}'. An atom is registered locally and on the C
%%     node.</li>
%% <li>`label': a binary. Status reports show it.</li>
%% <li>`node': the local name of the {@link kv_node} to run on, if there are several.</li>
%% <li>`max_memory': the number of bytes that the entries and their index may take. No limit by default, but all buckets of a
%%     node together are limited by `max_memory' of the node.</li>
%% <li>`max_entries': the number of entries that the bucket may have. No limit by default. Expired entries count until they are
%%     removed; in a bucket of up to 1,000 entries they do not count.</li>
%% <li>`evict': what a put does that finds no room. `none', the default: it returns `{error, enomem}', or `{error, full}' for a
%%     new key above `max_entries'. `lru': it removes the
%%     least recently used of a sample of entries. `ttl': it removes the entry that expires soonest, and never one without a
%%     time to live.</li>
%% <li>`ttl': the time to live, in milliseconds, of each entry that is put without one. `infinity' by default. Every function that
%%     puts honours it.</li>
%% <li>`touch_on_read': `true' starts the `ttl' of the bucket again with each read of a value. Reads are {@link get/2},
%%     {@link fetch/2}, {@link get_many/2}, {@link take/2}, the functions that call yours ({@link update/4}, {@link
%%     update_existing/3}, {@link get_and_update/3}), `get' and `fetch' in a transaction, and Agent's `get' with `Map' and `get'.
%%     No other function is a read: neither {@link has_key/2}, {@link ttl/2}, {@link incr/2}, {@link compare_and_put/4} and a
%%     `check', nor those of the whole bucket, such as {@link to_map/1}, {@link scan/2} and {@link export/2}. Entries that never
%%     expire stay so. It needs a `ttl'. `false' by default. A process that reads without a call ({@link kv_node}) starts the
%%     time again only once a tenth of it is over.</li>
%% <li>`durable': `commit' keeps the entries on disk, in `data_dir' of {@link kv_node}. Each change is on disk before it is
%%     answered, and the next bucket of this name has all of them, whatever has ended meanwhile: the bucket, the program or the
%%     VM. The `name' must be an atom. {@link destroy/1} removes the entries. `interval' does not wait for the disk: a change is
%%     answered once the operating system has it, and is on disk within a second. A power cut may lose that second; the end of
%%     the bucket, the program or the VM loses nothing. Each start may give the other of the two. `false' by default. See
%%     docs/durability.md.</li>
%% <li>`reads': `latest' lets all functions of a durable bucket that change nothing return what the bucket has, without waiting for
%%     the disk. So a read may show a change that a crash takes back. `durable' by default: a read of a key waits until the last
%%     change of that key is safe, and waits for no other key. `latest' needs `durable': a bucket in memory never
%%     waits.</li>
%% <li>`on_node_down': what the proxy does when the C program is lost. `stay', the default of a bucket with a name: the proxy
%%     keeps its pid and its name, and starts an empty bucket as soon as the program is back; a durable one has its entries. `exit', the default of a bucket
%%     without a name: the proxy ends with `noconnection'.</li>
%% <li>`owner': `node' makes a bucket that belongs to its node, and that several VMs share. It stays when the proxy or the VM ends; the
%%     next start under this name, in whatever VM, finds it with its entries, and keeps its options. {@link stop/1} ends it for all.
%%     If it is killed, every proxy ends, the first one that is started again makes a new one, and the others find that. Needs a
%%     `name' that is an atom, and cannot be combined with `fill'. `vm', the default: the bucket ends with its proxy. See
%%     docs/attach.md.</li>
%% <li>`fill': `{Module, Function, Arguments}'. Each time the native process has been started, `apply(Module, Function, [Bucket |
%%     Arguments])' is called with its pid, before the bucket serves any other request. If the function fails or returns
%%     `{error, Reason}', the bucket ends with that reason. Of a durable bucket the function runs only if the folder has none of
%%     that name yet. See {@link generation/1}.</li>
%% <li>`id', `restart', `shutdown': for {@link child_spec/1}.</li>
%% </ul>
%%
%% Errors:
%% <ul>
%% <li>`{bad_option, Key, Text}': the option is unknown, or its value is wrong. The text says what is wanted. Of an option that is
%%     given twice the first counts.</li>
%% <li>`{already_started, Pid}': the name is taken.</li>
%% <li>`{already_registered, Pid}': the name is taken on the C node.</li>
%% <li>`{no_data_dir, Text}': the bucket is to be durable, and its node has no `data_dir'.</li>
%% <li>`enospc', `busy': the folder has no space for a new durable bucket; or too much waits for the disk.</li>
%% <li>`{not_running, Text}': nobody starts a C node. The text says what to start.</li>
%% <li>`{start_timeout, Ms}', `{nodedown, Node}': the node was not ready in time.</li>
%% <li>any other reason: the function of `fill' failed with it.</li>
%% </ul>
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    case together(kv_start_options:validate(Options, own_options())) of
        {ok, Valid} ->
            Native = kv_start_options:registered(Valid) ++ kv_durable:native(Valid) ++ maps:to_list(native(Valid)),
            kv_proxy:start_link(bucket, kv_start_options:name(Valid), (kv_start_options:stay(Valid, exit))#{
                node => kv_start_options:node(Valid), native => Native
            });
        {error, Reason} ->
            {error, Reason}
    end.

%% Options that a registry does not give stay as they are.
native(#{durable := Policy} = Valid) when Policy =/= false, not is_map_key(store, Valid) ->
    maps:merge(kv_durable:options(), maps:with([label | maps:keys(kv_durable:options())], Valid));
native(#{ttl := infinity} = Valid) ->
    native(maps:remove(ttl, Valid));
native(Valid) ->
    maps:with([label, max_memory, max_entries, evict, ttl, touch_on_read, reads], Valid).

%% Returns an error if the options are good one by one, but not together.
%% @private
-spec together({ok, map()} | {error, kv_options:error()}) -> {ok, map()} | {error, kv_options:error()}.
together({ok, #{touch_on_read := true, ttl := Ms} = Valid}) when is_integer(Ms) ->
    with_name({ok, Valid});
together({ok, #{touch_on_read := true}}) ->
    {error, {bad_option, touch_on_read, <<"touch_on_read starts the ttl of the bucket again; give a ttl in milliseconds, too">>}};
together(Result) ->
    with_name(Result).

with_name({ok, Valid}) ->
    case kv_start_options:together(Valid, ?OF_ONE_VM) of
        ok -> with_identity({ok, Valid});
        Error -> Error
    end;
with_name(Error) ->
    Error.

with_identity({ok, #{durable := Policy} = Valid}) when Policy =/= false, not is_map_key(store, Valid) ->
    case kv_start_options:name(Valid) of
        {local, Name} when Name =/= '' -> {ok, Valid};
        Name -> {error, {bad_option, durable, kv_durable:nameless(bucket, Name)}}
    end;
with_identity({ok, #{reads := latest} = Valid}) ->
    case maps:get(durable, Valid, false) of
        false -> {error, {bad_option, reads, kv_durable:no_reads()}};
        _Policy -> {ok, Valid}
    end;
with_identity(Result) ->
    Result.

%% @private
-spec own_options() -> [kv_start_options:row()].
own_options() ->
    [
        {label, fun is_binary/1, "a binary"},
        {max_memory, fun(Bytes) -> is_integer(Bytes) andalso Bytes > 0 andalso Bytes < 1 bsl 63 end,
            "1 to 9223372036854775807 bytes"},
        {max_entries, fun(Entries) -> is_integer(Entries) andalso Entries > 0 andalso Entries < 1 bsl 63 end,
            "1 to 9223372036854775807"},
        {evict, fun(Evict) -> lists:member(Evict, [none, lru, ttl]) end, "none, lru or ttl"},
        {ttl, fun(Ms) -> Ms =:= infinity orelse (is_integer(Ms) andalso Ms > 0 andalso Ms =< 1 bsl 46) end,
            "1 to 70368744177664 milliseconds, or infinity"},
        {touch_on_read, fun is_boolean/1, "true or false"},
        {durable, fun kv_durable:is_policy/1, kv_durable:policies()},
        {reads, fun(Reads) -> Reads =:= durable orelse Reads =:= latest end, "durable or latest"},
        %% From a registry: the name of the registry, and that of the bucket.
        {store, fun kv_durable:is_place/1, "set by a durable registry, and by nobody else"}
    ].

%% @doc Returns a child specification. A bucket with a name is permanent, and the name is its id. A bucket without a name has the
%% id `kv_bucket' and is temporary, because nobody would find its empty successor. The options `id', `restart' and `shutdown'
%% override this.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    kv_start_options:child_spec(Options, ?MODULE, temporary).

%% @equiv stop(Bucket, normal)
-spec stop(t()) -> ok.
stop(Bucket) ->
    stop(Bucket, normal).

%% @equiv stop(Bucket, Reason, infinity)
-spec stop(t(), term()) -> ok.
stop(Bucket, Reason) ->
    stop(Bucket, Reason, infinity).

%% @doc Stops the bucket with Reason, and returns once it has ended. A bucket that belongs to its node (`owner') ends for all VMs.
-spec stop(t(), term(), timeout() | [call_option()]) -> ok.
stop(Bucket, Reason, Timeout) when ?IS_TIMEOUT(Timeout) ->
    kv_proxy:stop(Bucket, Reason, Timeout, {?MODULE, stop, [Bucket, Reason, Timeout]});
stop(Bucket, Reason, Options) ->
    stop(Bucket, Reason, kv_call_options:timeout({?MODULE, stop, [Bucket, Reason, Options]}, infinity)).

%% @equiv destroy(Bucket, 5000)
-spec destroy(t()) -> ok | {error, busy | refused()}.
destroy(Bucket) ->
    destroy(Bucket, ?TIMEOUT).

%% @doc Removes the bucket and all of its entries, on disk, too, and returns once the bucket has ended with reason `normal'.
%%
%% ```
%% {ok, Bucket} = kv_bucket:start_link([]),
%% ok = kv_bucket:destroy(Bucket).
%% '''
%%
%% {@link stop/1} ends just the process: a durable bucket that is started again under the name has its entries. After
%% `destroy' it begins empty, runs `fill', and may have other options. A supervisor starts a permanent bucket again at once;
%% so end the child, too, if it shall stay away. A bucket that is not durable ends as with {@link stop/1}.
%%
%% All or nothing: after a crash the bucket is there with all of its entries, or it is gone. After an exit with `timeout' or
%% `{nodedown, Node}' it may be either. Returns `{error, busy}' if too much waits for the disk; nothing has changed then. One
%% write to the disk, however many entries there are; the node frees their memory in O(n).
-spec destroy(t(), timeout() | [call_option()]) -> ok | {error, busy | refused()}.
destroy(Bucket, Timeout) when ?IS_TIMEOUT(Timeout) ->
    Ask = fun() -> kv_request:call(Bucket, destroy, [], Timeout) end,
    kv_durable:destroy(Bucket, Ask, {?MODULE, destroy, [Bucket, Timeout]}, Timeout);
destroy(Bucket, Options) ->
    destroy(Bucket, timeout(destroy, [Bucket, Options])).

%% @doc Returns the value under Key, or `undefined' if there is none.
-spec get(t(), key()) -> value() | undefined.
get(Bucket, Key) ->
    get(Bucket, Key, undefined, ?TIMEOUT).

%% @doc Returns the value under Key, or Default if there is none.
%%
%% If the third argument is a list of pairs with atoms as keys, and `timeout' or `default' is one of the keys, the argument is
%% options: `get(Bucket, Key, [{timeout, 100}])'. For such a list as the default write `[{default, [{timeout, 100}]}]'.
-spec get(t(), key(), Default | [get_option()]) -> value() | Default.
get(Bucket, Key, [_ | _] = DefaultOrOptions) ->
    {Default, Timeout} = kv_call_options:third({?MODULE, get, [Bucket, Key, DefaultOrOptions]}, undefined),
    get(Bucket, Key, Default, Timeout);
get(Bucket, Key, Default) ->
    get(Bucket, Key, Default, ?TIMEOUT).

%% @doc Returns the value under Key, or Default if there is none. Timeout is in milliseconds.
-spec get(t(), key(), Default, timeout() | [call_option()]) -> value() | Default.
get(Bucket, Key, Default, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case kv_local:get(Bucket, Key, Default) of
        call -> read(Bucket, get, [Key, Default], Timeout);
        Value -> Value
    end;
get(Bucket, Key, Default, Options) ->
    get(Bucket, Key, Default, timeout(get, [Bucket, Key, Default, Options])).

%% @equiv fetch(Bucket, Key, 5000)
-spec fetch(t(), key()) -> {ok, value()} | error.
fetch(Bucket, Key) ->
    fetch(Bucket, Key, ?TIMEOUT).

%% @doc Returns `{ok, Value}' with the value under Key, or `error' if there is none.
-spec fetch(t(), key(), timeout() | [call_option()]) -> {ok, value()} | error.
fetch(Bucket, Key, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case kv_local:fetch(Bucket, Key) of
        call -> read(Bucket, fetch, [Key], Timeout);
        Answer -> Answer
    end;
fetch(Bucket, Key, Options) ->
    fetch(Bucket, Key, timeout(fetch, [Bucket, Key, Options])).

%% @equiv has_key(Bucket, Key, 5000)
-spec has_key(t(), key()) -> boolean().
has_key(Bucket, Key) ->
    has_key(Bucket, Key, ?TIMEOUT).

%% @doc Returns `true' if there is a value under Key.
-spec has_key(t(), key(), timeout() | [call_option()]) -> boolean().
has_key(Bucket, Key, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case kv_local:has_key(Bucket, Key) of
        call -> read(Bucket, has_key, [Key], Timeout);
        Answer -> Answer
    end;
has_key(Bucket, Key, Options) ->
    has_key(Bucket, Key, timeout(has_key, [Bucket, Key, Options])).

%% @equiv put(Bucket, Key, Value, 5000)
-spec put(t(), key(), value()) -> ok | {error, enomem | full | refused()}.
put(Bucket, Key, Value) ->
    put(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key, replacing any value that is there. The last argument is a timeout, or a list with `{timeout, Ms}',
%% `{ttl, Ms}' and `{keep_ttl, true}'. The key expires after `ttl' milliseconds, or never with `{ttl, infinity}'. With `keep_ttl'
%% the entry keeps the expiry that it has. Without either, and for a new entry, the `ttl' of the bucket counts (see
%% {@link start_link/1}): if the bucket has none, the key never expires, even if the value that was there would have.
%%
%% Returns `{error, enomem}' if there is no room, `{error, full}' above `max_entries', and `{error, Reason}' if the request was
%% refused, see above. In both cases
%% nothing has changed.
-spec put(t(), key(), value(), timeout() | [put_option()]) -> ok | {error, enomem | full | refused()}.
put(Bucket, Key, Value, Timeout) when ?IS_TIMEOUT(Timeout) ->
    write(Bucket, put, [Key, Value], Timeout);
put(Bucket, Key, Value, Options) ->
    {Ttl, Timeout} = kv_call_options:put({?MODULE, put, [Bucket, Key, Value, Options]}, Options),
    write(Bucket, put, [Key, Value | Ttl], Timeout).

%% @equiv put_new(Bucket, Key, Value, 5000)
-spec put_new(t(), key(), value()) -> boolean() | {error, enomem | full | refused()}.
put_new(Bucket, Key, Value) ->
    put_new(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key unless there already is a value. Returns `true' if it did. Options and errors are those of
%% {@link put/4}.
-spec put_new(t(), key(), value(), timeout() | [put_option()]) -> boolean() | {error, enomem | full | refused()}.
put_new(Bucket, Key, Value, Timeout) when ?IS_TIMEOUT(Timeout) ->
    write(Bucket, put_new, [Key, Value], Timeout);
put_new(Bucket, Key, Value, Options) ->
    {Ttl, Timeout} = kv_call_options:put({?MODULE, put_new, [Bucket, Key, Value, Options]}, Options),
    write(Bucket, put_new, [Key, Value | Ttl], Timeout).

%% @equiv delete(Bucket, Key, 5000)
-spec delete(t(), key()) -> value() | undefined.
delete(Bucket, Key) ->
    delete(Bucket, Key, ?TIMEOUT).

%% @doc Removes Key and returns its value, or `undefined' if there was none. Call {@link has_key/2} first where `undefined' may be
%% a value.
-spec delete(t(), key(), timeout() | [call_option()]) -> value() | undefined.
delete(Bucket, Key, Timeout) ->
    kv_request:delete(Bucket, Key, undefined, Timeout).

%% @equiv update(Bucket, Key, Initial, Fun, 5000)
-spec update(t(), key(), Initial, fun((value()) -> value())) -> {ok, Initial | value()} | {error, term()}.
update(Bucket, Key, Initial, Fun) ->
    update(Bucket, Key, Initial, Fun, ?TIMEOUT).

%% @doc Puts the result of Fun, called with the value under Key, in place of the value; or puts Initial if there is none. Returns
%% `{ok, New}' with the value that is there now. Nobody changes the key between the read and the put.
%%
%% Fun runs in the calling process, at least once: if the key was changed meanwhile, Fun runs again with the present value. If Fun
%% raises, exits or throws, nothing has changed, and the exception goes to the caller. Fun must not change the key itself; an
%% update of the same key within Fun raises `badarg'. It may use other keys and buckets. But if the functions of two processes update
%% each other's key, both may wait until their timeouts: let all update in one order, or use {@link transaction/2}.
%%
%% At first, processes run their functions at the same time. Once an update has found the value changed, the processes of this VM
%% that update the key queue up, and one after the other runs its Fun, as with an `Agent', until nobody waits. So a slow Fun makes
%% the others wait, each within its timeout. A process that keeps writing the key by {@link put/4} or {@link incr/4} does not
%% queue up, and can make an update try again until its timeout; don't mix them on a hot key.
%%
%% The last argument is a timeout, or a list with `{timeout, Ms}', `{ttl, Ms}' and `{keep_ttl, true}'. The entry keeps its time to
%% live unless `ttl' is given. The time-out does not interrupt Fun; what a Fun that took longer returns is not put.
%%
%% Returns `{error, Reason}' as {@link put/4} does; nothing has changed then. Exits as all functions do. After an exit with
%% `timeout'
%% or `{nodedown, Node}' the change may have been made.
%%
%% O(1), and the bytes of the value: two requests without contention; one request and at most 128 functions together under
%% contention.
-spec update(t(), key(), Initial, fun((value()) -> value()), timeout() | [update_option()]) ->
    {ok, Initial | value()} | {error, term()}.
update(Bucket, Key, Initial, Fun, Options) ->
    Call = {?MODULE, update, [Bucket, Key, Initial, Fun, Options]},
    kv_update:update(Call, Bucket, Key, Initial, Fun, kv_update:options(Call, 4)).

%% @equiv update_existing(Bucket, Key, Fun, 5000)
-spec update_existing(t(), key(), fun((value()) -> value())) -> {ok, value()} | error | {error, term()}.
update_existing(Bucket, Key, Fun) ->
    update_existing(Bucket, Key, Fun, ?TIMEOUT).

%% @doc Does the same as {@link update/5} if there is a value under Key. Returns `error' if there is none.
-spec update_existing(t(), key(), fun((value()) -> value()), timeout() | [update_option()]) ->
    {ok, value()} | error | {error, term()}.
update_existing(Bucket, Key, Fun, Options) ->
    Call = {?MODULE, update_existing, [Bucket, Key, Fun, Options]},
    kv_update:update_existing(Call, Bucket, Key, Fun, kv_update:options(Call, 3)).

%% @equiv get_and_update(Bucket, Key, Fun, 5000)
-spec get_and_update(t(), key(), fun((value() | undefined) -> {Get, value()} | pop)) ->
    {ok, Get | value() | undefined} | {error, term()}.
get_and_update(Bucket, Key, Fun) ->
    get_and_update(Bucket, Key, Fun, ?TIMEOUT).

%% @doc Calls Fun with the value under Key, or with `undefined' if there is none. Fun returns `{Get, New}': New is put, and the
%% function returns `{ok, Get}'. Or Fun returns `pop': the key is removed, and the function returns `{ok, Value}' with the
%% argument of
%% Fun. All else is as for {@link update/5}. Raises `badarg' if Fun returns anything else.
-spec get_and_update(t(), key(), fun((value() | undefined) -> {Get, value()} | pop), timeout() | [update_option()]) ->
    {ok, Get | value() | undefined} | {error, term()}.
get_and_update(Bucket, Key, Fun, Options) ->
    Call = {?MODULE, get_and_update, [Bucket, Key, Fun, Options]},
    kv_update:get_and_update(Call, Bucket, Key, undefined, Fun, kv_update:options(Call, 3)).

%%% By what is there

%% @equiv pop(Bucket, Key, 5000)
-spec pop(t(), key()) -> {ok, value()} | error.
pop(Bucket, Key) ->
    pop(Bucket, Key, ?TIMEOUT).

%% @doc Removes Key and returns `{ok, Value}' with the value that was there, or `error' if there was none. Of two callers only one
%% gets the value. O(1), and the bytes of the value.
-spec pop(t(), key(), timeout() | [call_option()]) -> {ok, value()} | error.
pop(Bucket, Key, Options) ->
    kv_request:run(Bucket, pop, [Key], Options).

%% @equiv swap(Bucket, Key, Value, 5000)
-spec swap(t(), key(), value()) -> {ok, value()} | error | {error, enomem | full | refused()}.
swap(Bucket, Key, Value) ->
    swap(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key and returns `{ok, Old}' with the value that was there, or `error' if there was none; Value is put all
%% the same. Nobody changes the key in between. Options and errors are those of {@link put/4}. O(1), and the bytes of both values.
-spec swap(t(), key(), value(), timeout() | [put_option()]) -> {ok, value()} | error | {error, enomem | full | refused()}.
swap(Bucket, Key, Value, Options) ->
    kv_request:run(Bucket, swap, [Key, Value], Options).

%% @equiv replace(Bucket, Key, Value, 5000)
-spec replace(t(), key(), value()) -> boolean() | {error, enomem | full | refused()}.
replace(Bucket, Key, Value) ->
    replace(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key if there is a value already. Returns `true' if it did. Nobody changes the key in between. Options and
%% errors are those of {@link put/4}. O(1), and the bytes of Value.
-spec replace(t(), key(), value(), timeout() | [put_option()]) -> boolean() | {error, enomem | full | refused()}.
replace(Bucket, Key, Value, Options) ->
    kv_request:run(Bucket, replace, [Key, Value], Options).

%% @equiv compare_and_put(Bucket, Key, Old, New, 5000)
-spec compare_and_put(t(), key(), value(), value()) -> boolean() | {error, enomem | full | refused()}.
compare_and_put(Bucket, Key, Old, New) ->
    compare_and_put(Bucket, Key, Old, New, ?TIMEOUT).

%% @doc Puts New under Key if the value that is there is Old, by `=:='. Returns `true' if it did, and `false' if there is another
%% value or none. Nobody changes the key between the comparison and the put. {@link put_new/4} is the same for a key without a
%% value.
%% Options and errors are those of {@link put/4}.
%%
%% O(1), and the bytes of the values. Values whose bytes differ though they may be equal, such as maps, cost as much as sorting
%% their keys.
-spec compare_and_put(t(), key(), value(), value(), timeout() | [put_option()]) -> boolean() | {error, enomem | full | refused()}.
compare_and_put(Bucket, Key, Old, New, Options) ->
    kv_request:run(Bucket, compare_and_put, [Key, Old, New], Options).

%% @equiv compare_and_delete(Bucket, Key, Old, 5000)
-spec compare_and_delete(t(), key(), value()) -> boolean() | {error, refused()}.
compare_and_delete(Bucket, Key, Old) ->
    compare_and_delete(Bucket, Key, Old, ?TIMEOUT).

%% @doc Removes Key if the value that is there is Old, by `=:='. Returns `true' if it did. The comparison and its cost are those
%% of {@link compare_and_put/5}.
-spec compare_and_delete(t(), key(), value(), timeout() | [call_option()]) -> boolean() | {error, refused()}.
compare_and_delete(Bucket, Key, Old, Options) ->
    kv_request:run(Bucket, compare_and_delete, [Key, Old], Options).

%%% Counters

%% @equiv incr(Bucket, Key, 1)
-spec incr(t(), key()) -> integer() | {error, term()}.
incr(Bucket, Key) ->
    incr(Bucket, Key, 1, ?TIMEOUT).

%% @doc Adds N, or 1 if the third argument is a list of options: see {@link incr/4}.
-spec incr(t(), key(), integer() | [count_option()]) -> integer() | {error, term()}.
incr(Bucket, Key, Options) when is_list(Options) ->
    incr(Bucket, Key, 1, Options);
incr(Bucket, Key, N) ->
    incr(Bucket, Key, N, ?TIMEOUT).

%% @doc Adds N to the integer under Key and returns the result. No increment is lost, however many processes add. The last
%% argument is
%% a timeout or a list of options:
%% <ul>
%% <li>`default': the value of an absent key before the step, 0 by default;</li>
%% <li>`ttl': the time to live of a new entry. An entry that is there keeps its expiry;</li>
%% <li>`min', `max': bounds of the result;</li>
%% <li>`timeout'.</li>
%% </ul>
%% A rate limiter is one call: `incr(Bucket, {User, window}, 1, [{ttl, 60000}, {max, 100}])' returns an error from the 101st call
%% on,
%% until 60 seconds after the first.
%%
%% Errors, after which nothing has changed:
%% <ul>
%% <li>`{error, not_an_integer}': there is another value. Floats do not count;</li>
%% <li>`{error, {limit, Current}}': the result would be out of bounds, or have more than 1,024 bits;</li>
%% <li>those of {@link put/4}.</li>
%% </ul>
%% O(1).
-spec incr(t(), key(), integer() | [count_option()], timeout() | [count_option()]) ->
    integer() | {error, not_an_integer | {limit, integer()} | enomem | full | refused()}.
incr(Bucket, Key, Options, Timeout) when is_list(Options), ?IS_TIMEOUT(Timeout) ->
    incr(Bucket, Key, 1, [{timeout, Timeout} | Options]);
incr(Bucket, Key, N, Timeout) when is_integer(N), ?IS_TIMEOUT(Timeout) ->
    write(Bucket, incr, [Key, N], Timeout);
incr(Bucket, Key, N, Options) ->
    ok = kv_call_options:argument({?MODULE, incr, [Bucket, Key, N, Options]}, 3, 'N'),
    kv_request:run(Bucket, incr, [Key, N], Options).

%% @equiv decr(Bucket, Key, 1)
-spec decr(t(), key()) -> integer() | {error, term()}.
decr(Bucket, Key) ->
    decr(Bucket, Key, 1, ?TIMEOUT).

%% @doc Subtracts N, or 1 if the third argument is a list of options: see {@link decr/4}.
-spec decr(t(), key(), integer() | [count_option()]) -> integer() | {error, term()}.
decr(Bucket, Key, Options) when is_list(Options) ->
    decr(Bucket, Key, 1, Options);
decr(Bucket, Key, N) ->
    decr(Bucket, Key, N, ?TIMEOUT).

%% @doc Subtracts N from the integer under Key. Otherwise as {@link incr/4}: a stock that never goes below nothing is
%% `decr(Bucket, stock, 1, [{min, 0}])'.
-spec decr(t(), key(), integer() | [count_option()], timeout() | [count_option()]) ->
    integer() | {error, not_an_integer | {limit, integer()} | enomem | full | refused()}.
decr(Bucket, Key, Options, Timeout) when is_list(Options), ?IS_TIMEOUT(Timeout) ->
    decr(Bucket, Key, 1, [{timeout, Timeout} | Options]);
decr(Bucket, Key, N, Options) ->
    ok = kv_call_options:argument({?MODULE, decr, [Bucket, Key, N, Options]}, 3, 'N'),
    kv_request:run(Bucket, decr, [Key, N], Options).

%%% Time to live

%% @equiv ttl(Bucket, Key, 5000)
-spec ttl(t(), key()) -> {ok, pos_integer() | infinity} | error.
ttl(Bucket, Key) ->
    ttl(Bucket, Key, ?TIMEOUT).

%% @doc Returns `{ok, Ms}' with the milliseconds until Key expires, `{ok, infinity}' if it never does, or `error' if there is no
%% such
%% key. Neither a use nor a read of the entry. O(1).
-spec ttl(t(), key(), timeout() | [call_option()]) -> {ok, pos_integer() | infinity} | error.
ttl(Bucket, Key, Options) ->
    kv_request:run(Bucket, ttl, [Key], Options).

%% @equiv expire(Bucket, Key, Ms, 5000)
-spec expire(t(), key(), pos_integer() | infinity) -> boolean() | {error, enomem | refused()}.
expire(Bucket, Key, Ms) ->
    expire(Bucket, Key, Ms, ?TIMEOUT).

%% @doc Lets Key expire Ms milliseconds from now: the key is there for Ms milliseconds, and gone from then on. `infinity' is
%% {@link persist/3}. Returns `false' if there is no such key.
%%
%% O(1) if the key has an expiry already. Otherwise the entry is written anew, with a copy of its value: returns `{error, enomem}'
%% if there is no room, and nothing has changed.
-spec expire(t(), key(), pos_integer() | infinity, timeout() | [call_option()]) -> boolean() | {error, enomem | refused()}.
expire(Bucket, Key, Ms, Options) ->
    ok = kv_call_options:argument({?MODULE, expire, [Bucket, Key, Ms, Options]}, 3, 'Ms'),
    kv_request:run(Bucket, expire, [Key, Ms], Options).

%% @equiv expire_at(Bucket, Key, UnixMs, 5000)
-spec expire_at(t(), key(), integer()) -> boolean() | {error, enomem | refused()}.
expire_at(Bucket, Key, UnixMs) ->
    expire_at(Bucket, Key, UnixMs, ?TIMEOUT).

%% @doc Lets Key expire at a time of the wall clock, in milliseconds since 1970: `erlang:system_time(millisecond) + 60000'. A time
%% that
%% has passed removes the key at once. The time is at most 2^46. Returns `false' if there is no such key. Cost and errors are
%% those of {@link expire/4}.
%%
%% The node converts the time when it handles the request, by the wall clock of its own host. Entries expire by a clock that
%% nobody
%% sets, so a later step of the wall clock does not move the expiry.
-spec expire_at(t(), key(), integer(), timeout() | [call_option()]) -> boolean() | {error, enomem | refused()}.
expire_at(Bucket, Key, UnixMs, Options) ->
    ok = kv_call_options:argument({?MODULE, expire_at, [Bucket, Key, UnixMs, Options]}, 3, 'UnixMs'),
    kv_request:run(Bucket, expire_at, [Key, UnixMs], Options).

%% @equiv persist(Bucket, Key, 5000)
-spec persist(t(), key()) -> boolean() | {error, enomem | refused()}.
persist(Bucket, Key) ->
    persist(Bucket, Key, ?TIMEOUT).

%% @doc Lets Key never expire. Returns `false' if there is no such key, and `true' even if the key would not have expired. Cost
%% and
%% errors are those of {@link expire/4}: an entry that had an expiry is written anew.
-spec persist(t(), key(), timeout() | [call_option()]) -> boolean() | {error, enomem | refused()}.
persist(Bucket, Key, Options) ->
    kv_request:run(Bucket, persist, [Key], Options).

%% @equiv touch(Bucket, Key, 5000)
-spec touch(t(), key()) -> boolean() | {error, refused()}.
touch(Bucket, Key) ->
    touch(Bucket, Key, ?TIMEOUT).

%% @doc Starts the time to live of Key again, with the `ttl' of the bucket ({@link start_link/1}), even if the entry was put with
%% another one. A key that never expires stays so. In a bucket without `ttl' the touch only counts as a use of the entry
%% (`evict').
%% Returns `false' if there is no such key: a session that was removed does not come back. O(1).
-spec touch(t(), key(), timeout() | [call_option()]) -> boolean() | {error, refused()}.
touch(Bucket, Key, Options) ->
    kv_request:run(Bucket, touch, [Key], Options).

%% @equiv clear(Bucket, 5000)
-spec clear(t()) -> ok | {error, refused()}.
clear(Bucket) ->
    clear(Bucket, ?TIMEOUT).

%% @doc Removes all keys.
-spec clear(t(), timeout() | [call_option()]) -> ok | {error, refused()}.
clear(Bucket, Timeout) when ?IS_TIMEOUT(Timeout) ->
    write(Bucket, clear, [], Timeout);
clear(Bucket, Options) ->
    clear(Bucket, timeout(clear, [Bucket, Options])).

%% @equiv size(Bucket, 5000)
-spec size(t()) -> non_neg_integer().
size(Bucket) ->
    ?MODULE:size(Bucket, ?TIMEOUT).

%% @doc Returns the number of keys, in constant time. Expired keys (`ttl' of {@link put/4}) do not count. In a bucket of more than
%% 1,000 keys, an expired key counts until the node has removed it, which takes about 2 seconds, plus 3 seconds per million keys.
%% {@link kv:info/1}, Observer and Agent's functions count in the same way. {@link keys/1} and {@link to_map/1} never have an
%% expired
%% key.
-spec size(t(), timeout() | [call_option()]) -> non_neg_integer().
size(Bucket, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case kv_local:size(Bucket) of
        call -> read(Bucket, size, [], Timeout);
        Size -> Size
    end;
size(Bucket, Options) ->
    ?MODULE:size(Bucket, timeout(size, [Bucket, Options])).

%% @equiv keys(Bucket, 5000)
-spec keys(t()) -> [key()].
keys(Bucket) ->
    keys(Bucket, ?TIMEOUT).

%% @doc Returns all keys, in no particular order. Exits with `{{too_large, Bytes}, _}' if the keys, without their values, take
%% more
%% than 256 MiB; the count stops there.
-spec keys(t(), timeout() | [call_option()]) -> [key()].
keys(Bucket, Timeout) when ?IS_TIMEOUT(Timeout) ->
    read(Bucket, keys, [], Timeout);
keys(Bucket, Options) ->
    keys(Bucket, timeout(keys, [Bucket, Options])).

%% @equiv to_map(Bucket, 5000)
-spec to_map(t()) -> #{key() => value()}.
to_map(Bucket) ->
    to_map(Bucket, ?TIMEOUT).

%% @doc Returns a map of all keys and values. Exits with `{{too_large, Bytes}, _}' if they take more than 256 MiB. Expired ones
%% that
%% are not removed yet are part of Bytes.
-spec to_map(t(), timeout() | [call_option()]) -> #{key() => value()}.
to_map(Bucket, Timeout) when ?IS_TIMEOUT(Timeout) ->
    read(Bucket, to_map, [], Timeout);
to_map(Bucket, Options) ->
    to_map(Bucket, timeout(to_map, [Bucket, Options])).

%% @equiv generation(Bucket, 5000)
-spec generation(t()) -> pos_integer().
generation(Bucket) ->
    generation(Bucket, ?TIMEOUT).

%% @doc Returns the generation of the bucket: 1 for its first native process, and one more for each process that was started
%% because
%% the node was lost. If the generation is the same as before, the loss of a node has not emptied the bucket in between. A durable
%% bucket keeps its generation together with its entries.
-spec generation(t(), timeout() | [call_option()]) -> pos_integer().
generation(Bucket, Timeout) when ?IS_TIMEOUT(Timeout) ->
    write(Bucket, generation, [], Timeout);
generation(Bucket, Options) ->
    generation(Bucket, timeout(generation, [Bucket, Options])).

%%% Figures

%% @equiv stats(Bucket, 5000)
-spec stats(t()) -> stats().
stats(Bucket) ->
    stats(Bucket, ?TIMEOUT).

%% @doc Returns what has happened in the bucket since its native process was started:
%% <ul>
%% <li>`hits', `misses': how many times an operation has looked for a key and found it, or not. Operations that look before they
%%     change something count, too;</li>
%% <li>`local_hits', `local_misses': the same of the reads without a call (docs/local.md) that this VM has made. `hits' and
%%     `misses' do not have them, and other VMs have their own;</li>
%% <li>`puts', `deletes': how many entries were put, and how many that were there were deleted by their key. The operations of a
%%     transaction count even if it fails;</li>
%% <li>`expirations', `evictions': how many entries were removed because their time had come, or to make room;</li>
%% <li>`age': for how many milliseconds this has been counted;</li>
%% <li>`size', `memory': the number of entries, and the bytes of entries and index that count against `max_memory';</li>
%% <li>`max_memory', `max_entries', `ttl', `evict', `touch_on_read', `durable', `reads': the options of the bucket. A limit or a
%%     time to live may be `infinity';</li>
%% <li>`generation': see {@link generation/1}.</li>
%% </ul>
%% O(1). All figures are of one moment, but for those of the reads without a call.
-spec stats(t(), timeout() | [call_option()]) -> stats().
stats(Bucket, Options) ->
    kv_request:run(Bucket, stats, [], Options).

%% @doc Returns a map with all that is known about a bucket: that of {@link kv:info/1}, that of {@link stats/1}, and `node', the
%% node of
%% its native process.
-spec info(t()) -> #{atom() => term()}.
info(Bucket) ->
    #{pid := Native} = Info = kv:info(Bucket),
    (maps:merge(Info, stats(Bucket)))#{node => node(Native)}.

%%% Walks

%% @equiv scan(Bucket, Cursor, [])
-spec scan(t(), start | cursor()) -> {[entry()], cursor() | done} | {error, stale_cursor | bad_cursor}.
scan(Bucket, Cursor) ->
    scan(Bucket, Cursor, []).

%% @doc Returns a piece of a walk over all entries, and the cursor for the next piece, or `done'. Begins with the cursor `start'.
%%
%% A key that is there during the whole walk comes exactly once. A key that is put or deleted meanwhile comes at most once. There
%% is no order. A walk is not a snapshot: each piece is of its own moment. The node keeps nothing between two pieces, so a walk
%% may
%% rest for any time, end early, or go on in another process. {@link fold/4} does all pieces.
%%
%% Options:
%% <ul>
%% <li>`{return, entries}', the default: `{Key, Value}'. `keys', `values': these alone. `timed': `{Key, Value, Ttl}', where Ttl is
%%     the number of milliseconds that are left, or `infinity'.</li>
%% <li>`{prefix, Binary}': only keys that are binaries and begin with Binary.</li>
%% <li>`{expires, true}': only entries with a time to live; `false': only entries without.</li>
%% <li>`{limit, N}': at most N entries in a piece.</li>
%% <li>`{timeout, Ms}'.</li>
%% </ul>
%%
%% The node looks at no more than 4,096 entries for a piece, and a piece has no more than 1 MiB, so it may have fewer entries than
%% N, or none, before the end. An entry of more than 1 MiB comes alone. A piece takes the node less than a millisecond, however
%% large
%% the bucket is. A filter does not shorten the walk: the node looks at every entry.
%%
%% Returns `{error, stale_cursor}' if the cursor is of another life of the bucket: the bucket was started again meanwhile, or its
%% node
%% was lost. The walk must begin again. {@link clear/1} does not change the life of a bucket. Returns `{error, bad_cursor}' if the
%% binary is no cursor.
-spec scan(t(), start | cursor(), timeout() | [walk_option()]) ->
    {[entry()], cursor() | done} | {error, stale_cursor | bad_cursor}.
scan(Bucket, Cursor, Options) ->
    kv_walk:scan({?MODULE, scan, [Bucket, Cursor, Options]}, Bucket, Cursor, Options).

%% @equiv fold(Bucket, Fun, Acc, [])
-spec fold(t(), fun((entry(), Acc) -> Acc), Acc) -> Acc.
fold(Bucket, Fun, Acc) ->
    fold(Bucket, Fun, Acc, []).

%% @doc Calls Fun for each entry, in no order, and returns the last result: `Fun(Entry, Acc)'. Works for a bucket of any size.
%%
%% The options, and the entries that come, are those of {@link scan/3}. `timeout' is for each piece. While Fun works on one piece,
%% the next piece is under way. Fun runs in the calling process, and may use the bucket. Exits with `{stale_cursor, _}' if the
%% bucket was replaced in the middle of the walk. O(n).
-spec fold(t(), fun((entry(), Acc) -> Acc), Acc, timeout() | [walk_option()]) -> Acc.
fold(Bucket, Fun, Acc, Options) ->
    Call = {?MODULE, fold, [Bucket, Fun, Acc, Options]},
    ok = kv_call_options:argument(Call, 2, 'Reducer'),
    walked(Call, kv_walk:fold(Call, Bucket, Fun, Acc, Options)).

%% @equiv count(Bucket, [])
-spec count(t()) -> non_neg_integer().
count(Bucket) ->
    count(Bucket, []).

%% @doc Returns the number of entries that have not expired and pass the filters. Options: `prefix', `expires' and `timeout' of
%% {@link scan/3}, and the same guarantees and errors as {@link fold/4}. O(n), in pieces; {@link size/1} is O(1).
-spec count(t(), timeout() | [filter() | call_option()]) -> non_neg_integer().
count(Bucket, Options) ->
    Call = {?MODULE, count, [Bucket, Options]},
    walked(Call, kv_walk:count(Call, Bucket, Options)).

walked(_Call, {ok, Result}) -> Result;
walked(Call, {error, Reason}) -> exit({Reason, Call}).

%%% Files

%% @equiv export(Bucket, File, 5000)
-spec export(t(), file:name_all()) -> {ok, non_neg_integer()} | {error, kv_export:reason()}.
export(Bucket, File) ->
    export(Bucket, File, ?TIMEOUT).

%% @doc Writes all entries, with their times to live, to a file of this VM's machine. Returns `{ok, Count}' with their number.
%%
%% `{ok, 2} = kv_bucket:export(Bucket, "/var/backups/sessions.kv")'
%%
%% The file appears under its name once it is whole and on disk; a file of that name is replaced. If the name is a symbolic
%% link, the file where the link leads is replaced. Until then the entries are in a file beside it, whose name ends with `.tmp'.
%% After an error that file is gone, and the file of that name is as it was; only a process that is killed while it exports
%% leaves the temporary file behind. docs/export-format.md has the format.
%%
%% The file has the bucket of one moment, that at which the export began, though other processes go on to change the bucket. An
%% entry whose time has come since then may be missing. The file of a durable bucket has only changes that are on disk. Works for a
%% bucket of any size. O(n), in pieces. The timeout is for each piece.
%%
%% Each entry that changes before the export has come to it is kept by the node in its old state: a copy, and up to 128 MiB of them.
%% If they become more, because others change the bucket faster than the file is written, the export ends with `{error,
%% {snapshot_too_old, Text}}'. The changes go on.
%%
%% Returns `{error, {file, Posix}}' if the file cannot be written, such as `enoent' and `enospc', `{error, {file,
%% not_regular}}' if
%% the name is that of a directory, a FIFO or a device, `{error, stale_snapshot}' if the bucket was replaced meanwhile, `{error,
%% {too_many_snapshots, 8}}' if it has 8 exports under way, and `{error, busy}' if too much waits for the disk.
%% {@link kv_error:text/1} makes a sentence of a reason. Exits as a call does.
-spec export(t(), file:name_all(), timeout() | [call_option()]) -> {ok, non_neg_integer()} | {error, kv_export:reason()}.
export(Bucket, File, Options) ->
    kv_export:export(Bucket, File, Options).

%% @equiv import(Bucket, File, 5000)
-spec import(t(), file:name_all()) -> {ok, non_neg_integer()} | {error, kv_import:reason()}.
import(Bucket, File) ->
    import(Bucket, File, ?TIMEOUT).

%% @doc Puts the entries of a file that {@link export/3} has written. Returns `{ok, Count}' with the number of entries that were
%% put.
%%
%% An entry keeps the instant at which it expires, by the wall clock; one that has expired since the export is left out. An entry
%% without a time to live has none again, also in a bucket with a default. Entries that are in the bucket already stay, unless the
%% file has their key.
%%
%% The whole file is checked before the first entry is put. Then its entries are put in many requests, of up to 1,000 entries
%% each:
%% others see some of them before the rest. O(n), and the file is read twice; a file of any size takes the VM no more memory than
%% about three of its largest entry. The timeout is for each request.
%%
%% Errors:
%% <ul>
%% <li>`{file, Posix}': the file cannot be read; `{file, not_regular}': it is a directory, a FIFO or a device;</li>
%% <li>`{bad_file, Text}': the file is no export, is torn, damaged or of a later version, as the sentence says. The bucket is
%%     unchanged;</li>
%% <li>`{incomplete, Count, Reason}': Count entries have been put, and the next request got `{error, Reason}', such as
%%     `enomem'.</li>
%% </ul>
%% Exits as a call does. Import only files that you trust: their terms may bring new atoms into the VM.
-spec import(t(), file:name_all(), timeout() | [call_option()]) -> {ok, non_neg_integer()} | {error, kv_import:reason()}.
import(Bucket, File, Options) ->
    kv_import:import(Bucket, File, Options).

%%% Many at a time

%% @equiv get_many(Bucket, Keys, undefined)
-spec get_many(t(), [key()]) -> [value() | undefined].
get_many(Bucket, Keys) ->
    get_many(Bucket, Keys, undefined).

%% @doc Returns the values under Keys. The third argument is a default or options, as in {@link get/3}.
-spec get_many(t(), [key()], Default | [get_option()]) -> [value() | Default].
get_many(Bucket, Keys, [_ | _] = DefaultOrOptions) ->
    {Default, Timeout} = kv_call_options:third({?MODULE, get_many, [Bucket, Keys, DefaultOrOptions]}, undefined),
    get_many(Bucket, Keys, Default, Timeout);
get_many(Bucket, Keys, Default) ->
    get_many(Bucket, Keys, Default, ?TIMEOUT).

%% @doc Returns the values under Keys, in the order of Keys, with Default for each key that has no value.
%%
%% All keys are sent in one message, and all values are from the same moment. O(n); for more than 1,024 keys the node serves other
%% buckets in between. Exits with `{{too_large, Bytes}, _}' if the answer would take more than 256 MiB. Raises `badarg' if Keys is
%% not a proper list. {@link take/2} returns a map.
-spec get_many(t(), [key()], Default, timeout() | [call_option()]) -> [value() | Default].
get_many(Bucket, Keys, Default, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case kv_local:get_many(Bucket, Keys, Default) of
        {ok, Values} -> Values;
        call -> read(Bucket, get_many, [Keys, Default], Timeout)
    end;
get_many(Bucket, Keys, Default, Options) ->
    get_many(Bucket, Keys, Default, timeout(get_many, [Bucket, Keys, Default, Options])).

%% @equiv take(Bucket, Keys, 5000)
-spec take(t(), [key()]) -> #{key() => value()}.
take(Bucket, Keys) ->
    take(Bucket, Keys, ?TIMEOUT).

%% @doc Returns a map of those Keys that have a value, with their values: `maps:with(Keys, to_map(Bucket))'. Has the limits of
%% {@link get_many/4}, whose list is built several times faster than this map.
-spec take(t(), [key()], timeout() | [call_option()]) -> #{key() => value()}.
take(Bucket, Keys, Timeout) when ?IS_TIMEOUT(Timeout) ->
    read(Bucket, take, [Keys], Timeout);
take(Bucket, Keys, Options) ->
    take(Bucket, Keys, timeout(take, [Bucket, Keys, Options])).

%% @equiv put_many(Bucket, Entries, 5000)
-spec put_many(t(), entries()) -> ok | {error, enomem | full | refused()}.
put_many(Bucket, Entries) ->
    put_many(Bucket, Entries, ?TIMEOUT).

%% @doc Puts all Entries, a map or a list of pairs, in one message: all or none. Nobody sees some of them without the others. Of
%% two
%% pairs with the same key, the later one counts. Takes time in proportion to the bytes of Entries.
%%
%% Raises `badarg', and puts nothing, if Entries is neither a map nor a list of pairs. Returns `{error, enomem}' if there is no
%% room for all of them, and `{error, full}' if they are more than `max_entries' allows: no key has changed then. A bucket that
%% evicts makes room for all, and never evicts an entry that the same request has put; what it has evicted is gone even after an
%% error. `{keep_ttl, true}' finds each old entry, except in a request of more than 1,024 keys or 256 KiB, which may evict the
%% entry of a key that comes later in its list. Options and other errors are those of {@link put/4}.
-spec put_many(t(), entries(), timeout() | [put_option()]) -> ok | {error, enomem | full | refused()}.
put_many(Bucket, Entries, Timeout) when ?IS_TIMEOUT(Timeout) ->
    write(Bucket, put_many, [Entries], Timeout);
put_many(Bucket, Entries, Options) ->
    {Ttl, Timeout} = kv_call_options:put({?MODULE, put_many, [Bucket, Entries, Options]}, Options),
    write(Bucket, put_many, [Entries | Ttl], Timeout).

%% @equiv put_new_many(Bucket, Entries, 5000)
-spec put_new_many(t(), entries()) -> boolean() | {error, enomem | full | refused()}.
put_new_many(Bucket, Entries) ->
    put_new_many(Bucket, Entries, ?TIMEOUT).

%% @doc Puts all Entries, a map or a list of pairs, if the bucket has none of their keys. Returns `true'; or `false', and puts
%% nothing, if it has one. Looks and puts in one step. Options and errors are those of {@link put_many/3}.
%%
%% `true = kv_bucket:put_new_many(Bucket, [{seat_1, ada}, {seat_2, bob}])'
-spec put_new_many(t(), entries(), timeout() | [put_option()]) -> boolean() | {error, enomem | full | refused()}.
put_new_many(Bucket, Entries, Options) ->
    kv_request:run(Bucket, put_new_many, [Entries], Options).

%% @equiv delete_many(Bucket, Keys, 5000)
-spec delete_many(t(), [key()]) -> non_neg_integer() | {error, refused()}.
delete_many(Bucket, Keys) ->
    delete_many(Bucket, Keys, ?TIMEOUT).

%% @doc Removes Keys in one message. Returns the number of keys that had a value. Raises `badarg', and removes nothing, if Keys is
%% not a proper list.
-spec delete_many(t(), [key()], timeout() | [call_option()]) -> non_neg_integer() | {error, refused()}.
delete_many(Bucket, Keys, Timeout) when ?IS_TIMEOUT(Timeout) ->
    write(Bucket, delete_many, [Keys], Timeout);
delete_many(Bucket, Keys, Options) ->
    delete_many(Bucket, Keys, timeout(delete_many, [Bucket, Keys, Options])).

%%% Without waiting

%% @equiv transaction(Bucket, Operations, 5000)
-spec transaction(t(), [operation()]) -> {ok, [term()]} | {error, {non_neg_integer(), term()} | refused()}.
transaction(Bucket, Operations) ->
    transaction(Bucket, Operations, ?TIMEOUT).

%% @doc Does all operations, or none, in one request. An operation is a tuple of the name of a function that has one key, and its
%% arguments without the bucket: `{put, Key, Value}', `{put, Key, Value, [{ttl, Ms}]}', `{get, Key}', `{fetch, Key}',
%% `{delete, Key}', `{put_new, Key, Value}', `{has_key, Key}' and the others of {@link kv_operations}. Two more are for
%% transactions only: `{check, Key, Value}' wants the value under Key to be Value, by `=:=', and `{check_absent, Key}' wants no
%% value
%% there.
%%
%% Each operation sees those before it; nobody else sees some of them without the others. Returns `{ok, Results}' with the result
%% of each function, and `ok' for each check.
%%
%% Returns `{error, {Index, Reason}}', with an index from 0, if an operation returns `{error, Reason}'. Nothing has changed then.
%% The reason of a check is `check_failed', and that of a put without room `enomem'. `false', as `put_new' returns, and `error',
%% as `fetch' returns, are results and no failures: use a check where the transaction must not go on.
%%
%% At most 1,000 operations and 1 MiB, else `badarg' and `{error, {too_large, Bytes}}'. The bytes are those of the list of
%% operations in the external term format (`erlang:external_size/1'): names, keys, values and options, also of reads and checks.
%% The values that are in the bucket do not count. The answer has at most 256 MiB. A transaction needs room for its result:
%% what the transaction deletes or makes smaller is room for its puts. To make room, the
%% bucket may evict other keys, but no key that an operation of the transaction names, even if the operation only reads.
%%
%% O(number of operations), and the bytes of keys and values.
-spec transaction(t(), [operation()], timeout() | [call_option()]) ->
    {ok, [term()]} | {error, {non_neg_integer(), term()} | refused()}.
transaction(Bucket, Operations, Options) ->
    kv_transaction:run({?MODULE, transaction, [Bucket, Operations, Options]}, Bucket, Operations, undefined).

%% @doc Sends a request and returns at once. Function is the name of a function of this module that sends a request to a bucket.
%% Arguments are its arguments without bucket and timeout, with options as the last one: `async(Bucket, put, [milk, 3])',
%% `async(Bucket, put, [milk, 3, [{ttl, 1000}]])'.
%%
%% {@link await/1} returns the answer, once, to the process that called async. A bucket handles requests, calls and casts of one
%% process in the order of sending. A request that is neither awaited nor abandoned ({@link abandon/1}) leaves its answer in the
%% mailbox.
%%
%% The timeout is an argument of {@link await/2}. Raises `badarg' if Arguments has one, or does not fit the function.
-spec async(t(), kv_request:name(), [term()]) -> request().
async(Bucket, Function, Arguments) ->
    kv_request:async(Bucket, Function, Arguments, undefined).

%% @equiv await(Request, 5000)
-spec await(request()) -> term().
await(Request) ->
    await(Request, ?TIMEOUT).

%% @doc Waits for the answer to a request, and returns it. Exits in the same cases as a call. A request that has timed out is
%% abandoned: its answer is dropped when it arrives. Raises `badarg' in any process but the one that sent the request, and, once
%% the time is over, if the request has been awaited before.
-spec await(request(), timeout() | [call_option()]) -> term().
await(Request, Timeout) when ?IS_TIMEOUT(Timeout) ->
    kv_request:await(Request, Timeout);
await(Request, Options) ->
    await(Request, timeout(await, [Request, Options])).

%% @equiv await_many(Requests, 5000)
-spec await_many([request()]) -> [term()].
await_many(Requests) ->
    await_many(Requests, ?TIMEOUT).

%% @doc Waits for the answers to requests, and returns them in the order of the list. Timeout is for all of them together. If one
%% of the requests exits, the rest are abandoned.
-spec await_many([request()], timeout() | [call_option()]) -> [term()].
await_many(Requests, Timeout) when ?IS_TIMEOUT(Timeout) ->
    kv_request:await_many(Requests, Timeout);
await_many(Requests, Options) ->
    await_many(Requests, timeout(await_many, [Requests, Options])).

%% @doc Abandons a request: its answer never arrives. The bucket may already have handled the request, or may still do so.
-spec abandon(request()) -> ok.
abandon(Request) ->
    kv_request:abandon(Request).

%% @doc Sends a request that is not answered. Function is `put', `delete', `swap', `replace', `compare_and_put',
%% `compare_and_delete', `incr', `decr', `expire', `expire_at', `persist', `touch', `put_many', `delete_many' or `clear'.
%% Arguments
%% are as for {@link async/3}. Always returns `ok', even if there is no such bucket or the request fails.
%%
%% `put_new', `put_new_many', `pop' and `transaction' cannot be cast, because their caller needs the answer: whether the key was
%% taken, the value that is gone, or whether the transaction was done. {@link async/3} sends them.
-spec cast(t(), cast_function(), [term()]) -> ok.
cast(Bucket, Function, Arguments) ->
    kv_request:cast(Bucket, Function, Arguments).

%% The timeout that the last argument, a list of options, gives.
timeout(Function, Arguments) ->
    kv_call_options:timeout({?MODULE, Function, Arguments}, ?TIMEOUT).

%% All reads that are calls.
read(Bucket, Function, Arguments, Timeout) ->
    kv_request:call(Bucket, Function, Arguments, Timeout).

%% All requests that may change something.
write(Bucket, Function, Arguments, Timeout) ->
    kv_request:call(Bucket, Function, Arguments, Timeout).
