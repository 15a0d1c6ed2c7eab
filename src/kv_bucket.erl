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
-module(kv_bucket).
-compile({no_auto_import, [get/1, put/2, size/1]}).

-export([start_link/0, start_link/1, child_spec/1, stop/1, stop/2, stop/3]).
-export([get/2, get/3, get/4, fetch/2, fetch/3, has_key/2, has_key/3]).
-export([put/3, put/4, put_new/3, put_new/4, delete/2, delete/3, clear/1, clear/2]).
-export([size/1, size/2, keys/1, keys/2, to_map/1, to_map/2]).

-export_type([t/0, key/0, value/0, options/0, option/0]).

-type t() :: gen_server:server_ref().
-type key() :: term().
-type value() :: term().
-type option() ::
    {name, kv_options:name()}
    %% What status reports call it.
    | {label, binary()}
    %% The local name of the kv_node to run on, when there are several.
    | {node, atom()}.
-type options() :: [option()] | #{name => kv_options:name(), label => binary(), node => atom()}.

-define(TIMEOUT, 5000).

%% @equiv start_link([])
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    start_link([]).

%% @doc Starts an empty bucket, linked to the caller.
%%
%% Options: `name', an atom, `{local, Atom}', `{global, Term}' or `{via, Module, Term}'; `label', a binary that
%% status reports show; `node', the local name of a {@link kv_node}.
%%
%% Errors: `{bad_option, Key}'; `{already_started, Pid}' when the name is taken; `{already_registered, Pid}' when
%% it is taken on the C node; `{not_running, Server}' and `{nodedown, Node}' when there is no C node.
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    case kv_options:validate(Options, fun valid/2) of
        {ok, Valid} ->
            Native = kv_options:registered(Valid) ++ [{label, Label} || #{label := Label} <- [Valid]],
            kv_proxy:start_link(bucket, kv_options:name(Valid), #{
                node => maps:get(node, Valid, undefined), native => Native
            });
        {error, Reason} ->
            {error, Reason}
    end.

valid(label, Label) -> is_binary(Label);
valid(_, _) -> false.

%% @doc A child specification. Its id is the name of the bucket, or `kv_bucket' when it has none.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    #{
        id => kv_options:id(Options, ?MODULE),
        start => {?MODULE, start_link, [Options]},
        %% What it held is gone with it: an empty bucket in its place would hide that.
        restart => temporary,
        %% The native process gets 2 s to end, and 2 s more after it is killed.
        shutdown => 5000,
        type => worker,
        modules => [?MODULE]
    }.

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
    get(Bucket, Key, undefined).

%% @doc The value under Key, or Default.
-spec get(t(), key(), Default) -> value() | Default.
get(Bucket, Key, Default) ->
    get(Bucket, Key, Default, ?TIMEOUT).

%% @doc The value under Key, or Default. Timeout is in milliseconds.
-spec get(t(), key(), Default, timeout()) -> value() | Default.
get(Bucket, Key, Default, Timeout) ->
    gen_server:call(Bucket, {get, Key, Default}, Timeout).

%% @equiv fetch(Bucket, Key, 5000)
-spec fetch(t(), key()) -> {ok, value()} | error.
fetch(Bucket, Key) ->
    fetch(Bucket, Key, ?TIMEOUT).

%% @doc `{ok, Value}', or `error' when there is none under Key.
-spec fetch(t(), key(), timeout()) -> {ok, value()} | error.
fetch(Bucket, Key, Timeout) ->
    gen_server:call(Bucket, {fetch, Key}, Timeout).

%% @equiv has_key(Bucket, Key, 5000)
-spec has_key(t(), key()) -> boolean().
has_key(Bucket, Key) ->
    has_key(Bucket, Key, ?TIMEOUT).

%% @doc Whether there is a value under Key.
-spec has_key(t(), key(), timeout()) -> boolean().
has_key(Bucket, Key, Timeout) ->
    gen_server:call(Bucket, {has_key, Key}, Timeout).

%% @equiv put(Bucket, Key, Value, 5000)
-spec put(t(), key(), value()) -> ok.
put(Bucket, Key, Value) ->
    put(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key, in place of the one that is there.
-spec put(t(), key(), value(), timeout()) -> ok.
put(Bucket, Key, Value, Timeout) ->
    gen_server:call(Bucket, {put, Key, Value}, Timeout).

%% @equiv put_new(Bucket, Key, Value, 5000)
-spec put_new(t(), key(), value()) -> boolean().
put_new(Bucket, Key, Value) ->
    put_new(Bucket, Key, Value, ?TIMEOUT).

%% @doc Puts Value under Key unless there is one already; says whether it did.
-spec put_new(t(), key(), value(), timeout()) -> boolean().
put_new(Bucket, Key, Value, Timeout) ->
    gen_server:call(Bucket, {put_new, Key, Value}, Timeout).

%% @equiv delete(Bucket, Key, 5000)
-spec delete(t(), key()) -> value() | nil.
delete(Bucket, Key) ->
    delete(Bucket, Key, ?TIMEOUT).

%% @doc Removes Key and gives the value that it had. When it had none the answer is `nil', in Erlang too: that
%% is what the bucket itself answers. Where `nil' may be a value, ask {@link has_key/2} before.
-spec delete(t(), key(), timeout()) -> value() | nil.
delete(Bucket, Key, Timeout) ->
    gen_server:call(Bucket, {delete, Key}, Timeout).

%% @equiv clear(Bucket, 5000)
-spec clear(t()) -> ok.
clear(Bucket) ->
    clear(Bucket, ?TIMEOUT).

%% @doc Removes all keys.
-spec clear(t(), timeout()) -> ok.
clear(Bucket, Timeout) ->
    gen_server:call(Bucket, clear, Timeout).

%% @equiv size(Bucket, 5000)
-spec size(t()) -> non_neg_integer().
size(Bucket) ->
    ?MODULE:size(Bucket, ?TIMEOUT).

%% @doc The number of keys.
-spec size(t(), timeout()) -> non_neg_integer().
size(Bucket, Timeout) ->
    gen_server:call(Bucket, size, Timeout).

%% @equiv keys(Bucket, 5000)
-spec keys(t()) -> [key()].
keys(Bucket) ->
    keys(Bucket, ?TIMEOUT).

%% @doc All keys, in no order.
-spec keys(t(), timeout()) -> [key()].
keys(Bucket, Timeout) ->
    gen_server:call(Bucket, keys, Timeout).

%% @equiv to_map(Bucket, 5000)
-spec to_map(t()) -> #{key() => value()}.
to_map(Bucket) ->
    to_map(Bucket, ?TIMEOUT).

%% @doc All keys with their values.
-spec to_map(t(), timeout()) -> #{key() => value()}.
to_map(Bucket, Timeout) ->
    gen_server:call(Bucket, to_map, Timeout).
