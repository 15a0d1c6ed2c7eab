%% @doc The registry: creates buckets, and finds them by name.
%%
%% Names are binaries, and stay binaries in the registry. Observer is the only reason for which kv ever makes an atom from one:
%% before OTP 27, for at most as many names as the option `observer_names' of {@link kv_node} allows. When a bucket ends, the
%% registry forgets its name before it serves any later request.
%%
%% ```
%% ok = kv_registry:create(kv_registry, <<"shopping">>),
%% {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
%% ok = kv_bucket:put(Bucket, milk, 3).
%% '''
%%
%% lookup/2 returns the pid of the native process, which works from every node of the cluster. The registry is given by its local
%% name, its pid, or, from another node, by `{Name, kv_node:name()}'.
-module(kv_registry).

-include("kv_timeout.hrl").

-export([own_options/0]).
-export([start_link/0, start_link/1, start_link/2, start_link/3, child_spec/1, stop/1, stop/2]).
-export([lookup/2, lookup/3, create/2, create/3, names/1, names/2, generation/1, generation/2]).

-export_type([t/0, name/0, manager/0, options/0, option/0]).

-type t() :: gen_server:server_ref().
-type name() :: binary().
-type manager() :: pid() | atom() | {atom(), node()}.
-type option() ::
    {name, kv_start_options:name()}
    %% apply(M, F, A ++ [BucketOptions]) starts a bucket and returns {ok, Pid} or {error, Reason}.
    | {start_bucket, {module(), atom(), [term()]} | undefined}
    %% Gets {notify, {create, Name, Pid}} and {notify, {exit, Name, Pid}}.
    | {event_manager, manager()}
    %% The local name of the kv_node to run on, if there are several.
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
%% Options:
%% <ul>
%% <li>`start_bucket': `{Module, Function, Arguments}'. Called with the options of the bucket, a map, as one more argument, to start
%%     a bucket below a supervisor. Without it the registry creates its buckets itself, and they end with it.</li>
%% <li>`event_manager': a `gen_event' process. It gets an event for each bucket that is created or ends.</li>
%% <li>`name', `node', `on_node_down', `fill', `id', `restart', `shutdown': as for {@link kv_bucket:start_link/1}. A registry stays
%%     by default, whether or not it has a name, and comes back empty.</li>
%% </ul>
%%
%% Errors are those of {@link kv_bucket:start_link/1}.
%%
%% A pid is short for `[{event_manager, Pid}]'.
-spec start_link(options() | pid()) -> {ok, pid()} | {error, term()}.
start_link(EventManager) when is_pid(EventManager) ->
    start_link([{event_manager, EventManager}]);
start_link(Options) ->
    case kv_start_options:validate(Options, own_options()) of
        {ok, Valid} ->
            kv_proxy:start_link(registry, kv_start_options:name(Valid), (kv_start_options:stay(Valid, stay))#{
                node => kv_start_options:node(Valid),
                native => kv_start_options:registered(Valid) ++ events(Valid),
                start_bucket => start(maps:get(start_bucket, Valid, undefined))
            });
        {error, Reason} ->
            {error, Reason}
    end.

%% @doc Starts a registry that reports its buckets to an event manager. The second argument is a list or map of options; or the
%% supervisor that starts the buckets, as in `start_link(EventManager, Buckets, [])'.
-spec start_link(manager(), options() | gen_server:server_ref()) -> {ok, pid()} | {error, term()}.
start_link(EventManager, Options) when is_list(Options); is_map(Options) ->
    start_link(with(#{event_manager => EventManager}, Options));
start_link(EventManager, Buckets) ->
    start_link(EventManager, Buckets, []).

%% @doc Starts a registry that reports its buckets to an event manager, and whose buckets are started by a {@link kv_bucket_sup}.
%%
%% ```
%% {ok, Manager} = kv_event_manager:start_link(my_events),
%% {ok, Buckets} = kv_bucket_sup:start_link(my_buckets),
%% {ok, Registry} = kv_registry:start_link(Manager, Buckets, [{name, my_registry}]).
%% '''
-spec start_link(manager(), gen_server:server_ref(), options()) -> {ok, pid()} | {error, term()}.
start_link(EventManager, Buckets, Options) ->
    StartBucket = {kv_bucket_sup, start_bucket, [Buckets]},
    start_link(with(#{event_manager => EventManager, start_bucket => StartBucket}, Options)).

with(Arguments, Options) when is_map(Options) -> maps:merge(Options, Arguments);
with(Arguments, Options) when is_list(Options) -> maps:to_list(Arguments) ++ Options.

start(nil) -> undefined;
start(Start) -> Start.

%% @private
-spec own_options() -> [kv_start_options:row()].
own_options() ->
    [
        {start_bucket, fun is_start/1, "{Module, Function, Arguments}"},
        {event_manager, fun is_manager/1, "a pid, a local name or {Name, Node}"}
    ].

is_start(Value) -> Value =:= undefined orelse Value =:= nil orelse kv_options:is_call(Value).

is_manager({Name, Node}) -> is_atom(Name) andalso is_atom(Node);
is_manager(Value) -> is_pid(Value) orelse is_atom(Value).

events(#{event_manager := None}) when None =:= undefined; None =:= nil -> [];
events(#{event_manager := Name}) when is_atom(Name) -> [{event_manager, {Name, node()}}];
events(#{event_manager := Manager}) -> [{event_manager, Manager}];
events(#{}) -> [].

%% @doc Returns a child specification. A registry is permanent. Its id is its name, or `kv_registry' if it has no name. The options
%% `id', `restart' and `shutdown' override this.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    kv_start_options:child_spec(Options, ?MODULE, permanent).

%% @equiv stop(Registry, 5000)
-spec stop(t()) -> ok.
stop(Registry) ->
    stop(Registry, ?TIMEOUT).

%% @doc Stops the registry with reason `normal', and returns once it has ended.
-spec stop(t(), timeout() | [kv_bucket:call_option()]) -> ok.
stop(Registry, Timeout) when ?IS_TIMEOUT(Timeout) ->
    gen_server:stop(Registry, normal, Timeout);
stop(Registry, Options) ->
    stop(Registry, timeout(stop, [Registry, Options])).

%% @equiv lookup(Registry, Name, 5000)
-spec lookup(t(), name()) -> {ok, pid()} | error | {error, {bad_name, term()}}.
lookup(Registry, Name) ->
    lookup(Registry, Name, ?TIMEOUT).

%% @doc Looks up the bucket with this name. Returns `{ok, Pid}', or `error' if there is none, or `{error, {bad_name, Name}}' if the
%% name is not a binary. Exits as in {@link kv_bucket} if the name is larger than a message may be.
-spec lookup(t(), name(), timeout() | [kv_bucket:call_option()]) -> {ok, pid()} | error | {error, {bad_name, term()}}.
lookup(Registry, Name, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case kv_local:lookup(Registry, Name) of
        call -> ask({?MODULE, lookup, [Registry, Name]}, {lookup, Name}, Timeout);
        Answer -> Answer
    end;
lookup(Registry, Name, Options) ->
    lookup(Registry, Name, timeout(lookup, [Registry, Name, Options])).

%% @equiv create(Registry, Name, 5000)
-spec create(t(), name()) -> ok | {error, term()}.
create(Registry, Name) ->
    create(Registry, Name, ?TIMEOUT).

%% @doc Creates a bucket with this name, unless there is one already. Once it has returned `ok', any process that looks up the name
%% finds the bucket.
%%
%% Errors: `{bad_name, Name}' if the name is not a binary; `{name_too_long, Bytes}' if it is longer than 64 KiB; `{too_large, Bytes}'
%% if it is larger than a message may be; any other reason for which the bucket could not be started.
-spec create(t(), name(), timeout() | [kv_bucket:call_option()]) -> ok | {error, term()}.
create(Registry, Name, Timeout) when ?IS_TIMEOUT(Timeout) ->
    ok = kv_call_options:server({?MODULE, create, [Registry, Name]}),
    case kv_limits:check(Registry, [Name]) of
        ok -> created(kv_call:call(Registry, {create, Name}, Timeout));
        Error -> Error
    end;
create(Registry, Name, Options) ->
    create(Registry, Name, timeout(create, [Registry, Name, Options])).

created(Pid) when is_pid(Pid) -> ok;
created({error, Reason}) -> {error, Reason}.

%% @equiv names(Registry, 5000)
-spec names(t()) -> [name()].
names(Registry) ->
    names(Registry, ?TIMEOUT).

%% @doc Returns all names, in no particular order. Exits with `{{too_large, Bytes}, _}' if they take more than 256 MiB.
-spec names(t(), timeout() | [kv_bucket:call_option()]) -> [name()].
names(Registry, Timeout) when ?IS_TIMEOUT(Timeout) ->
    ask({?MODULE, names, [Registry]}, names, Timeout);
names(Registry, Options) ->
    names(Registry, timeout(names, [Registry, Options])).

%% @equiv generation(Registry, 5000)
-spec generation(t()) -> pos_integer().
generation(Registry) ->
    generation(Registry, ?TIMEOUT).

%% @doc Returns the generation of the registry: see {@link kv_bucket:generation/2}.
-spec generation(t(), timeout() | [kv_bucket:call_option()]) -> pos_integer().
generation(Registry, Timeout) when ?IS_TIMEOUT(Timeout) ->
    ask({?MODULE, generation, [Registry]}, generation, Timeout);
generation(Registry, Options) ->
    generation(Registry, timeout(generation, [Registry, Options])).

%% Exits if the node refuses the request, because of its size, for example.
ask({_Module, _Function, [Registry | _]} = Call, Request, Timeout) ->
    ok = kv_call_options:server(Call),
    kv_request:read(kv_call:call(Registry, Request, Timeout), Registry, Request, Timeout).

%% The timeout that the last argument, a list of options, gives.
timeout(Function, Arguments) ->
    kv_call_options:timeout({?MODULE, Function, Arguments}, ?TIMEOUT).
