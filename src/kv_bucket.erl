%% @doc A bucket: a process that keeps values under keys.
%%
%% The process itself runs on the C node. {@link start_link/1} makes one and returns its local proxy;
%% {@link kv_registry:lookup/2} returns the native process. Every function here takes either, and anything else
%% that names a process: a registered name, `{Name, Node}', `{global, Name}', `{via, Module, Name}'.
%%
%% ```
%% {ok, Bucket} = kv_bucket:start_link([]),
%% ok = kv_bucket:put(Bucket, milk, 3),
%% 3 = kv_bucket:get(Bucket, milk).
%% '''
%%
%% Keys and values are any terms; keys are the same when `=:=' says so. Functions that talk to a bucket exit as
%% `gen_server:call/3' does: with `noproc' when there is none, `timeout' when it does not answer within 5000
%% milliseconds or the Timeout given, `{nodedown, Node}' when its node is lost.
%%
%% A request that is too large, or nested too deep (`max_frame', `max_depth' of {@link kv_node}), changes nothing. Functions
%% that only write answer `{error, Why}': {@link put/3}, {@link put_new/3}, {@link put_many/2}, {@link delete_many/2}. All others,
%% whose answer may be any term, exit with `{Why, _}'. Why is `{too_large, Bytes}', `{too_deep, Levels}', where Levels is the limit,
%% `{too_much_pending, Bytes}', when more large messages are under way than the node keeps, or `{unsupported_term, record}' and
%% `{unsupported_term, integer}' for terms that not every release of OTP can read.
%%
%% The fastest address is the native process: a call of it is one message each way and nothing else. The proxy is a hop
%% more, a name costs a look-up more.
%%
%% == Many at a time ==
%%
%% {@link get_many/2}, {@link put_many/2} and {@link delete_many/2} send all keys in one message. {@link async/3} sends any
%% request without waiting for its answer, {@link await/1} waits for it, {@link cast/3} wants none:
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

-export([start_link/0, start_link/1, child_spec/1, stop/1, stop/2, stop/3]).
-export([get/2, get/3, get/4, fetch/2, fetch/3, has_key/2, has_key/3]).
-export([put/3, put/4, put_new/3, put_new/4, delete/2, delete/3, clear/1, clear/2]).
-export([size/1, size/2, keys/1, keys/2, to_map/1, to_map/2, generation/1, generation/2]).
-export([get_many/2, get_many/3, get_many/4, take/2, take/3]).
-export([put_many/2, put_many/3, delete_many/2, delete_many/3]).
-export([async/3, await/1, await/2, await_many/1, await_many/2, abandon/1, cast/3]).

-export_type([t/0, key/0, value/0, entries/0, options/0, option/0, request/0, put_option/0, refused/0]).

-type t() :: gen_server:server_ref().
-type key() :: term().
-type value() :: term().
-type entries() :: [{key(), value()}] | #{key() => value()}.
%% A request that was sent with {@link async/3}, and whose answer has not been waited for.
-type request() :: kv_request:t().
-type option() ::
    {name, kv_start_options:name()}
    %% What status reports call it.
    | {label, binary()}
    %% The local name of the kv_node to run on, when there are several.
    | {node, atom()}
    %% Bytes of its entries and their index.
    | {max_memory, pos_integer()}
    %% What goes when there is no room.
    | {evict, none | lru | ttl}
    | kv_start_options:stay_option().
-type options() :: [option()] | #{name => kv_start_options:name(), label => binary(), node => atom(), atom() => term()}.
%% How long what is put stays there, and how long the answer is waited for; in milliseconds.
-type put_option() :: {ttl, pos_integer() | infinity} | {timeout, timeout()}.

%% Why a request was refused.
-type refused() ::
    {too_large | too_deep | too_much_pending, pos_integer()}
    | {unsupported_term, record | integer}.

-define(TIMEOUT, 5000).

%% @equiv start_link([])
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    start_link([]).

%% @doc Starts an empty bucket, linked to the caller.
%%
%% Options: `name', an atom, `{local, Atom}', `{global, Term}' or `{via, Module, Term}'; `label', a binary that
%% status reports show; `node', the local name of a {@link kv_node}; `max_memory', the bytes that entries and index may
%% take, unlimited unless given (all buckets of a node together have its `max_memory'); `evict', what happens to a put
%% that finds no room: `none', it is answered `{error, enomem}', the default; `lru', of some entries that are looked at the
%% one not used for longest goes; `ttl', the one that expires soonest does, and none that never does.
%%
%% `on_node_down': when the C program is lost, `stay' keeps the process that this returns, with its name, until the program is
%% back, and makes an empty bucket there; `exit' ends it with `noconnection'. A bucket with a name stays unless told
%% otherwise, one without ends. `fill', `{Module, Function, Arguments}': `apply(Module, Function, [Bucket | Arguments])' is
%% called each time that the bucket was made on the node, now and later, with the native process, and before anything else
%% reaches it. When it fails or returns `{error, Reason}', the bucket ends with that reason. See {@link generation/1}.
%%
%% `id', `restart' and `shutdown' are for {@link child_spec/1} and mean nothing here.
%%
%% When the node is starting, or starting again, this waits for it, at most for `start_timeout' of {@link kv_node}.
%%
%% Errors: `{bad_option, Key}'; `{already_started, Pid}' when the name is taken; `{already_registered, Pid}' when
%% it is taken on the C node; `{not_running, Text}' when nobody starts a C node, and the text says what to start;
%% `{start_timeout, Ms}' and `{nodedown, Node}' when it is not there in time; what `fill' failed with.
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    case kv_start_options:validate(Options, fun valid/2) of
        {ok, Valid} ->
            Native = kv_start_options:registered(Valid) ++ maps:to_list(maps:with([label, max_memory, evict], Valid)),
            kv_proxy:start_link(bucket, kv_start_options:name(Valid), (kv_start_options:stay(Valid, exit))#{
                node => maps:get(node, Valid, undefined), native => Native
            });
        {error, Reason} ->
            {error, Reason}
    end.

valid(label, Label) -> is_binary(Label);
valid(max_memory, Bytes) -> is_integer(Bytes) andalso Bytes > 0 andalso Bytes < 1 bsl 63;
valid(evict, Evict) -> lists:member(Evict, [none, lru, ttl]);
valid(_, _) -> false.

%% @doc A child specification. A bucket with a name has the name as its id, and is permanent: it stays when its node is lost,
%% and is restarted when it was lost itself. One without a name has the id `kv_bucket', and is temporary: nobody would find
%% an empty one in its place. The options `id', `restart' and `shutdown' say otherwise.
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

%% @doc Ends the bucket with Reason, and returns when it is gone.
-spec stop(t(), term(), timeout()) -> ok.
stop(Bucket, Reason, Timeout) ->
    gen_server:stop(Bucket, Reason, Timeout).

%% @doc The value under Key, or `undefined'.
-spec get(t(), key()) -> value() | undefined.
get(Bucket, Key) ->
    get(Bucket, Key, undefined, ?TIMEOUT).

%% @doc The value under Key, or Default.
-spec get(t(), key(), Default) -> value() | Default.
get(Bucket, Key, Default) ->
    get(Bucket, Key, Default, ?TIMEOUT).

%% @doc The value under Key, or Default. Timeout is in milliseconds.
-spec get(t(), key(), Default, timeout()) -> value() | Default.
get(Bucket, Key, Default, Timeout) ->
    case kv_local:fetch(Bucket, Key) of
        {ok, Value} -> Value;
        error -> Default;
        call -> read(Bucket, get, [Key, Default], Timeout)
    end.

%% @equiv fetch(Bucket, Key, 5000)
-spec fetch(t(), key()) -> {ok, value()} | error.
fetch(Bucket, Key) ->
    fetch(Bucket, Key, ?TIMEOUT).

%% @doc `{ok, Value}', or `error' when there is none under Key.
-spec fetch(t(), key(), timeout()) -> {ok, value()} | error.
fetch(Bucket, Key, Timeout) ->
    case kv_local:fetch(Bucket, Key) of
        call -> read(Bucket, fetch, [Key], Timeout);
        Answer -> Answer
    end.

%% @equiv has_key(Bucket, Key, 5000)
-spec has_key(t(), key()) -> boolean().
has_key(Bucket, Key) ->
    has_key(Bucket, Key, ?TIMEOUT).

%% @doc Whether there is a value under Key.
-spec has_key(t(), key(), timeout()) -> boolean().
has_key(Bucket, Key, Timeout) ->
    case kv_local:has_key(Bucket, Key) of
        call -> read(Bucket, has_key, [Key], Timeout);
        Answer -> Answer
    end.

%% @equiv put(Bucket, Key, Value, 5000)
-spec put(t(), key(), value()) -> ok | {error, enomem | refused()}.
put(Bucket, Key, Value) ->
    put(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key, in place of the one that is there. The last argument is a timeout, or a list of `{ttl, Ms}',
%% after which the key is gone, and `{timeout, Ms}'. Without a ttl it stays, also where one was set before.
%%
%% `{error, enomem}': there was no room, and nothing has changed; nor has it when the request was refused, see above.
-spec put(t(), key(), value(), timeout() | [put_option()]) -> ok | {error, enomem | refused()}.
put(Bucket, Key, Value, Options) ->
    put_for(Bucket, put, [Key, Value], Options).

%% @equiv put_new(Bucket, Key, Value, 5000)
-spec put_new(t(), key(), value()) -> boolean() | {error, enomem | refused()}.
put_new(Bucket, Key, Value) ->
    put_new(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key unless there is one already; says whether it did. Options and errors are as for {@link put/4}.
-spec put_new(t(), key(), value(), timeout() | [put_option()]) -> boolean() | {error, enomem | refused()}.
put_new(Bucket, Key, Value, Options) ->
    put_for(Bucket, put_new, [Key, Value], Options).

%% @equiv delete(Bucket, Key, 5000)
-spec delete(t(), key()) -> value() | nil.
delete(Bucket, Key) ->
    delete(Bucket, Key, ?TIMEOUT).

%% @doc Removes Key and gives the value that it had. When it had none the answer is `nil', in Erlang too: that
%% is what the bucket itself answers. Where `nil' may be a value, ask {@link has_key/2} before.
-spec delete(t(), key(), timeout()) -> value() | nil.
delete(Bucket, Key, Timeout) ->
    write(Bucket, delete, [Key], Timeout).

%% @equiv clear(Bucket, 5000)
-spec clear(t()) -> ok.
clear(Bucket) ->
    clear(Bucket, ?TIMEOUT).

%% @doc Removes all keys.
-spec clear(t(), timeout()) -> ok.
clear(Bucket, Timeout) ->
    write(Bucket, clear, [], Timeout).

%% @equiv size(Bucket, 5000)
-spec size(t()) -> non_neg_integer().
size(Bucket) ->
    ?MODULE:size(Bucket, ?TIMEOUT).

%% @doc The number of keys. Takes the same time however many there are. What has expired (`ttl' of {@link put/4}) does not
%% count; only in a bucket of more than 1,000 keys it does until the node has removed it, by itself: within some 2 seconds, and
%% 3 more for each million of keys.
-spec size(t(), timeout()) -> non_neg_integer().
size(Bucket, Timeout) ->
    case kv_local:size(Bucket) of
        call -> read(Bucket, size, [], Timeout);
        Size -> Size
    end.

%% @equiv keys(Bucket, 5000)
-spec keys(t()) -> [key()].
keys(Bucket) ->
    keys(Bucket, ?TIMEOUT).

%% @doc All keys, in no order.
-spec keys(t(), timeout()) -> [key()].
keys(Bucket, Timeout) ->
    read(Bucket, keys, [], Timeout).

%% @equiv to_map(Bucket, 5000)
-spec to_map(t()) -> #{key() => value()}.
to_map(Bucket) ->
    to_map(Bucket, ?TIMEOUT).

%% @doc All keys with their values. Of more than 256 MiB it exits with `{{too_large, Bytes}, _}', as {@link keys/2}.
-spec to_map(t(), timeout()) -> #{key() => value()}.
to_map(Bucket, Timeout) ->
    read(Bucket, to_map, [], Timeout).

%% @equiv generation(Bucket, 5000)
-spec generation(t()) -> pos_integer().
generation(Bucket) ->
    generation(Bucket, ?TIMEOUT).

%% @doc Which life of the bucket this is: 1 for the process that was made first, and one more each time that it was lost with
%% its node and made anew. Who finds another number than before finds what was put meanwhile, and nothing older.
-spec generation(t(), timeout()) -> pos_integer().
generation(Bucket, Timeout) ->
    kv_call:call(Bucket, generation, Timeout).

%%% Many at a time

%% @equiv get_many(Bucket, Keys, undefined)
-spec get_many(t(), [key()]) -> [value() | undefined].
get_many(Bucket, Keys) ->
    get_many(Bucket, Keys, undefined).

%% @equiv get_many(Bucket, Keys, Default, 5000)
-spec get_many(t(), [key()], Default) -> [value() | Default].
get_many(Bucket, Keys, Default) ->
    get_many(Bucket, Keys, Default, ?TIMEOUT).

%% @doc The values under Keys, in their order, with Default where there is none. All of them are of one moment.
%%
%% It is one message, and the bucket does nothing else until it has made the answer: some 10 milliseconds for 100,000
%% keys. An answer of more than 256 MiB is not made: it exits with `{{too_large, Bytes}, _}'. Raises `badarg' when Keys is no
%% proper list. {@link take/2} gives a map instead.
-spec get_many(t(), [key()], Default, timeout()) -> [value() | Default].
get_many(Bucket, Keys, Default, Timeout) ->
    case kv_local:get_many(Bucket, Keys, Default) of
        {ok, Values} -> Values;
        call -> read(Bucket, get_many, [Keys, Default], Timeout)
    end.

%% @equiv take(Bucket, Keys, 5000)
-spec take(t(), [key()]) -> #{key() => value()}.
take(Bucket, Keys) ->
    take(Bucket, Keys, ?TIMEOUT).

%% @doc Those of Keys that have a value, with it: `maps:with(Keys, to_map(Bucket))', and otherwise as {@link get_many/4}.
%% The list that get_many gives is made several times faster than the map.
-spec take(t(), [key()], timeout()) -> #{key() => value()}.
take(Bucket, Keys, Timeout) ->
    read(Bucket, take, [Keys], Timeout).

%% @equiv put_many(Bucket, Entries, 5000)
-spec put_many(t(), entries()) -> ok | {error, enomem | refused()}.
put_many(Bucket, Entries) ->
    put_many(Bucket, Entries, ?TIMEOUT).

%% @doc Puts all Entries, a map or a list of pairs, of which the later one of two with the same key counts.
%%
%% It is one message: nobody sees some of the entries without the others. Raises `badarg', and puts nothing, when Entries
%% is neither. `{error, enomem}': there was no room for one of them; those before it, in the order of the list, are put.
%% Options are as for {@link put/4}.
-spec put_many(t(), entries(), timeout() | [put_option()]) -> ok | {error, enomem | refused()}.
put_many(Bucket, Entries, Options) ->
    put_for(Bucket, put_many, [Entries], Options).

%% @equiv delete_many(Bucket, Keys, 5000)
-spec delete_many(t(), [key()]) -> non_neg_integer() | {error, refused()}.
delete_many(Bucket, Keys) ->
    delete_many(Bucket, Keys, ?TIMEOUT).

%% @doc Removes Keys, and says how many of them there were. It is one message. Raises `badarg', and removes nothing, when
%% Keys is no proper list.
-spec delete_many(t(), [key()], timeout()) -> non_neg_integer() | {error, refused()}.
delete_many(Bucket, Keys, Timeout) ->
    write(Bucket, delete_many, [Keys], Timeout).

%%% Without waiting

%% @doc Sends a request and returns at once. Function is the name of one of the functions of this module that ask a bucket
%% something, Arguments are its arguments without bucket and timeout: `async(Bucket, put, [milk, 3])'.
%%
%% The answer is what {@link await/1} returns, in the process that called async, once. Requests to one bucket are handled
%% in the order in which they, and calls and casts, were sent. A request that is never waited for nor given up with
%% {@link abandon/1} leaves its answer in the mailbox.
-spec async(t(), kv_request:name(), [term()]) -> request().
async(Bucket, Function, Arguments) ->
    ok = kv_local:sent(Bucket),
    kv_request:send(Bucket, Function, Arguments).

%% @equiv await(Request, 5000)
-spec await(request()) -> term().
await(Request) ->
    await(Request, ?TIMEOUT).

%% @doc Waits for the answer to a request. Exits as a call does. After a timeout, in milliseconds, the request is given
%% up: its answer is dropped when it comes. Raises `badarg' in any process but the one that sent it.
-spec await(request(), timeout()) -> term().
await(Request, Timeout) ->
    kv_request:await(Request, Timeout).

%% @equiv await_many(Requests, 5000)
-spec await_many([request()]) -> [term()].
await_many(Requests) ->
    await_many(Requests, ?TIMEOUT).

%% @doc Waits for the answers to requests, and gives them in the order of the list. Timeout is for all of them together.
%% When one exits the rest is given up.
-spec await_many([request()], timeout()) -> [term()].
await_many(Requests, Timeout) ->
    kv_request:await_many(Requests, Timeout).

%% @doc Gives up a request: no answer to it comes any more. The bucket may have handled it, or may still do so.
-spec abandon(request()) -> ok.
abandon(Request) ->
    kv_request:abandon(Request).

%% @doc Has something done without an answer, not even whether it was: `put', `delete', `clear', `put_many' or
%% `delete_many'. Arguments are as for {@link async/3}. Always `ok', also when there is no such bucket.
-spec cast(t(), put | delete | clear | put_many | delete_many, [term()]) -> ok.
cast(Bucket, Function, Arguments) when
    Function =:= put; Function =:= delete; Function =:= clear; Function =:= put_many; Function =:= delete_many
->
    ok = kv_local:sent(Bucket),
    gen_server:cast(Bucket, kv_request:message(Function, Arguments)).

%% A put, with a time or a list of options.
put_for(Bucket, Function, Arguments, Options) when is_list(Options) ->
    {Ttl, Timeout} = put_options(Options, [], ?TIMEOUT),
    write(Bucket, Function, Arguments ++ Ttl, Timeout);
put_for(Bucket, Function, Arguments, Timeout) ->
    write(Bucket, Function, Arguments, Timeout).

put_options([{ttl, infinity} | Rest], _Ttl, Timeout) -> put_options(Rest, [], Timeout);
put_options([{ttl, Ms} | Rest], _Ttl, Timeout) -> put_options(Rest, [Ms], Timeout);
put_options([{timeout, Timeout} | Rest], Ttl, _Timeout) -> put_options(Rest, Ttl, Timeout);
put_options([], Ttl, Timeout) -> {Ttl, Timeout};
put_options(Other, _Ttl, _Timeout) -> error(badarg, [Other]).

%% Where all reads go out that are calls.
read(Bucket, Function, Arguments, Timeout) ->
    kv_request:call(Bucket, Function, Arguments, Timeout).

%% And all that may change something.
write(Bucket, Function, Arguments, Timeout) ->
    kv_request:call(Bucket, Function, Arguments, Timeout).
