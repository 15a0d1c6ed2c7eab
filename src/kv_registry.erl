%% @doc The registry: finds buckets by name, and makes them.
%%
%% Names are binaries; no atom is ever made from one. A bucket that ends loses its name before the registry
%% serves any later request.
%%
%% ```
%% ok = kv_registry:create(kv_registry, <<"shopping">>),
%% {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
%% ok = kv_bucket:put(Bucket, milk, 3).
%% '''
%%
%% The pid that lookup/2 gives is that of the native process: it works from every node of the cluster. The
%% registry itself may be given by its local name, its pid, `{Name, kv_node:name()}' on any node, and so on.
-module(kv_registry).

-export([start_link/0, start_link/1, child_spec/1, stop/1, stop/2]).
-export([lookup/2, lookup/3, create/2, create/3, names/1, names/2, generation/1, generation/2]).

-export_type([t/0, name/0, options/0, option/0]).

-type t() :: gen_server:server_ref().
-type name() :: binary().
-type option() ::
    {name, kv_start_options:name()}
    %% apply(M, F, A ++ [BucketOptions]) makes a bucket and returns {ok, Pid} or {error, Reason}.
    | {start_bucket, {module(), atom(), [term()]} | undefined}
    %% Gets {notify, {create, Name, Pid}} and {notify, {exit, Name, Pid}}.
    | {event_manager, pid() | atom() | {atom(), node()}}
    %% The local name of the kv_node to run on, when there are several.
    | {node, atom()}
    | kv_start_options:stay_option().
-type options() :: [option()] | map().

-define(TIMEOUT, 5000).

%% @equiv start_link([])
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    start_link([]).

%% @doc Starts an empty registry, linked to the caller.
%%
%% Options: `name', as for {@link kv_bucket:start_link/1}; `start_bucket', `{Module, Function, Arguments}', called with
%% the options of the bucket (a map) as one argument more, to make a bucket by way of a supervisor (without it the
%% registry makes its buckets itself, and they end with it); `event_manager', a `gen_event' process that is told of
%% every bucket; `node', the local name of a {@link kv_node}; `on_node_down', `fill', and for {@link child_spec/1} `id', `restart'
%% and `shutdown', as for {@link kv_bucket:start_link/1}. A registry stays when its node is lost, and comes back empty.
%%
%% Errors are those of {@link kv_bucket:start_link/1}.
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    case kv_start_options:validate(Options, fun valid/2) of
        {ok, Valid} ->
            kv_proxy:start_link(registry, kv_start_options:name(Valid), (kv_start_options:stay(Valid, stay))#{
                node => maps:get(node, Valid, undefined),
                native => kv_start_options:registered(Valid) ++ events(Valid),
                start_bucket => maps:get(start_bucket, Valid, undefined)
            });
        {error, Reason} ->
            {error, Reason}
    end.

valid(start_bucket, {M, F, A}) -> is_atom(M) andalso is_atom(F) andalso is_list(A);
valid(start_bucket, Value) -> Value =:= undefined;
valid(event_manager, {Name, Node}) -> is_atom(Name) andalso is_atom(Node);
valid(event_manager, Value) -> is_pid(Value) orelse is_atom(Value);
valid(_, _) -> false.

events(#{event_manager := undefined}) -> [];
events(#{event_manager := Name}) when is_atom(Name) -> [{event_manager, {Name, node()}}];
events(#{event_manager := Manager}) -> [{event_manager, Manager}];
events(#{}) -> [].

%% @doc A child specification. Its id is the name of the registry, or `kv_registry' when it has none. It is permanent. The
%% options `id', `restart' and `shutdown' say otherwise.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    kv_start_options:child_spec(Options, ?MODULE, permanent).

%% @equiv stop(Registry, 5000)
-spec stop(t()) -> ok.
stop(Registry) ->
    stop(Registry, ?TIMEOUT).

%% @doc Ends the registry with reason `normal', and returns when it is gone.
-spec stop(t(), timeout()) -> ok.
stop(Registry, Timeout) ->
    gen_server:stop(Registry, normal, Timeout).

%% @equiv lookup(Registry, Name, 5000)
-spec lookup(t(), name()) -> {ok, pid()} | error.
lookup(Registry, Name) ->
    lookup(Registry, Name, ?TIMEOUT).

%% @doc The bucket of that name: `{ok, Pid}', or `error'. A name that no message may hold exits, as in {@link kv_bucket}.
-spec lookup(t(), name(), timeout()) -> {ok, pid()} | error.
lookup(Registry, Name, Timeout) ->
    case kv_local:lookup(Registry, Name) of
        call -> ask(Registry, {lookup, Name}, Timeout);
        Answer -> Answer
    end.

%% @equiv create(Registry, Name, 5000)
-spec create(t(), name()) -> ok | {error, term()}.
create(Registry, Name) ->
    create(Registry, Name, ?TIMEOUT).

%% @doc Makes a bucket of that name, unless there is one. When this returns `ok', a lookup by anybody finds it.
%%
%% Errors: `{bad_name, Name}' when it is not a binary; `{too_large, Bytes}' when it is larger than a message may be; what
%% the bucket supervisor answers.
-spec create(t(), name(), timeout()) -> ok | {error, term()}.
create(Registry, Name, Timeout) ->
    case kv_limits:check(Registry, [Name]) of
        ok -> created(kv_call:call(Registry, {create, Name}, Timeout));
        Error -> Error
    end.

created(Pid) when is_pid(Pid) -> ok;
created({error, Reason}) -> {error, Reason}.

%% @equiv names(Registry, 5000)
-spec names(t()) -> [name()].
names(Registry) ->
    names(Registry, ?TIMEOUT).

%% @doc All names, in no order.
-spec names(t(), timeout()) -> [name()].
names(Registry, Timeout) ->
    ask(Registry, names, Timeout).

%% @equiv generation(Registry, 5000)
-spec generation(t()) -> pos_integer().
generation(Registry) ->
    generation(Registry, ?TIMEOUT).

%% @doc Which life of the registry this is: see {@link kv_bucket:generation/2}.
-spec generation(t(), timeout()) -> pos_integer().
generation(Registry, Timeout) ->
    kv_call:call(Registry, generation, Timeout).

%% A request that the node refuses, for its size say, exits: no answer to it can be returned.
ask(Registry, Request, Timeout) ->
    kv_request:read(kv_call:call(Registry, Request, Timeout), Registry, Request, Timeout).
