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
%% A bucket can be created with options, found or created in one call ({@link lookup_or_create/3}), given another name and deleted. A
%% name can carry a term, its metadata. A node that is lost takes all names along: a registry comes back empty.
%%
%% A durable registry, `{durable, commit}', keeps its names, their metadata and its buckets on disk, in `data_dir' of {@link
%% kv_node}. The name of a durable bucket whose process has ended is dormant: the next lookup/2 or create/3 attaches a process, with
%% all entries. names/2, list/2 and count/2 include dormant names and attach no process. delete/2 drops the entries together with the
%% name, and destroy/1 the registry with all its names. docs/durability.md has the whole story.
%%
%% lookup/2 returns the pid of the native process, which works from every node of the cluster. The registry is given by its local
%% name, its pid, or, from another node, by `{Name, kv_node:name()}'.
-module(kv_registry).

-include("kv_timeout.hrl").

-export([own_options/0]).
-export([start_link/0, start_link/1, start_link/2, start_link/3, child_spec/1, stop/1, stop/2, destroy/1, destroy/2]).
-export([lookup/2, lookup/3, create/2, create/3, lookup_or_create/2, lookup_or_create/3]).
-export([rename/3, rename/4, delete/2, delete/3, meta/2, meta/3, put_meta/3, put_meta/4]).
-export([names/1, names/2, list/1, list/2, count/1, count/2, generation/1, generation/2]).

-export_type([t/0, name/0, manager/0, options/0, option/0, create_option/0, names_option/0]).

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
    %% Keeps names and buckets on disk.
    | {durable, false | commit}
    | kv_start_options:stay_option().
-type options() :: [option()] | map().
-type create_option() ::
    kv_bucket:call_option()
    %% The metadata of the name.
    | {meta, term()}
    %% Fills the bucket, as for kv_bucket:start_link/1, if a supervisor starts the buckets.
    | {fill, {module(), atom(), [term()]} | undefined}
    %% max_memory, evict and the other options of kv_bucket:start_link/1 about the content of a bucket.
    | {atom(), term()}.
-type names_option() ::
    kv_bucket:call_option()
    %% Only the names that begin with this binary.
    | {prefix, binary()}.

-define(TIMEOUT, 5000).

%% Options that a registry of the node cannot have.
-define(OF_ONE_VM, [
    {start_bucket, " is for a registry of one VM: a registry of the node makes its buckets there, without a supervisor"},
    {event_manager, " is for a registry of one VM: a registry of the node sends no events"},
    {fill, " is for a registry of one VM"}
]).

%% @equiv start_link([])
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    start_link([]).

%% @doc Starts a registry, linked to the caller. It is empty, unless it is durable and has been started before.
%%
%% Options:
%% <ul>
%% <li>`start_bucket': `{Module, Function, Arguments}'. Called with the options of the bucket, a map, as one more argument, to start
%%     a bucket below a supervisor. Without it the registry creates its buckets itself, and they end with it.</li>
%% <li>`event_manager': a `gen_event' process. It gets an event for each bucket that is created or ends.</li>
%% <li>`durable': `commit' keeps names and buckets on disk. Needs a name that is an atom, and cannot be combined with `fill'. `false'
%%     is the default.</li>
%% <li>`owner': `node' makes a registry that belongs to its node, and that several VMs share, with all its buckets: as for {@link
%%     kv_bucket:start_link/1}. It makes its buckets in the node, and sends no events, so it has neither `start_bucket' nor
%%     `event_manager'.</li>
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
    case together(kv_start_options:validate(Options, own_options())) of
        {ok, Valid} ->
            kv_proxy:start_link(registry, kv_start_options:name(Valid), (kv_start_options:stay(Valid, stay))#{
                node => kv_start_options:node(Valid),
                native => kv_start_options:registered(Valid) ++ kv_durable:native(Valid) ++ events(Valid),
                start_bucket => start(maps:get(start_bucket, Valid, undefined))
            });
        {error, Reason} ->
            {error, Reason}
    end.

%% Returns an error if the options are good one by one, but not together.
together({ok, Valid}) ->
    case kv_start_options:together(Valid, ?OF_ONE_VM) of
        ok -> durable({ok, Valid});
        Error -> Error
    end;
together(Error) ->
    Error.

durable({ok, #{durable := Policy, fill := {_, _, _}}}) when Policy =/= false ->
    Text = <<"fill is for a registry that comes back empty; a durable registry has its names, so create them with create/3">>,
    {error, {bad_option, fill, Text}};
durable({ok, #{durable := Policy} = Valid}) when Policy =/= false ->
    case kv_start_options:name(Valid) of
        {local, Name} when Name =/= '' -> {ok, Valid};
        Name -> {error, {bad_option, durable, kv_durable:nameless(registry, Name)}}
    end;
durable(Result) ->
    Result.

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
        {event_manager, fun is_manager/1, "a pid, a local name or {Name, Node}"},
        {durable, fun kv_durable:is_policy/1, kv_durable:policies()}
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
    kv_proxy:stop(Registry, normal, Timeout, {?MODULE, stop, [Registry, Timeout]});
stop(Registry, Options) ->
    stop(Registry, timeout(stop, [Registry, Options])).

%% @equiv destroy(Registry, 5000)
-spec destroy(t()) -> ok | {error, {not_durable, binary()} | term()}.
destroy(Registry) ->
    destroy(Registry, ?TIMEOUT).

%% @doc Removes a durable registry with all its names, their metadata and the entries of its buckets, on disk, too. Returns once the
%% registry has ended with reason `normal'.
%%
%% {@link stop/1} ends just the process: a durable registry that is started again under the name has all names. After `destroy' it
%% begins empty. A supervisor starts a permanent registry again at once; so end the child, too, if it shall stay away.
%%
%% The buckets of the registry end with reason `normal', those in memory, too, as with {@link delete/2}: one that is in the middle of a
%% large request ends behind it. The event manager gets `{exit, Name, Pid}' for each. Other requests to the registry wait
%% meanwhile, and exit with its end.
%%
%% All or nothing: after a crash the registry is there with all of its names, or it is gone. After an exit with `timeout' or
%% `{nodedown, Node}' it may be either. One write to the disk, however many names there are. The node takes O(names) for the rest,
%% and goes on to serve all other processes.
%%
%% Errors: `{not_durable, Text}' for a registry that keeps nothing on disk: {@link stop/1} ends it; `enospc' once a full disk has no
%% room even for this: nothing has changed then.
-spec destroy(t(), timeout() | [kv_bucket:call_option()]) -> ok | {error, {not_durable, binary()} | term()}.
destroy(Registry, Timeout) when ?IS_TIMEOUT(Timeout) ->
    Call = {?MODULE, destroy, [Registry, Timeout]},
    ok = kv_call_options:server(Call),
    Ask = fun() -> changed(call(Registry, destroy_registry, Timeout), {gen_server, call, [Registry, destroy_registry, Timeout]}) end,
    kv_durable:destroy(Registry, Ask, Call, Timeout);
destroy(Registry, Options) ->
    destroy(Registry, timeout(destroy, [Registry, Options])).

%% @equiv lookup(Registry, Name, 5000)
-spec lookup(t(), name()) -> {ok, pid()} | error | {error, {bad_name, term()} | term()}.
lookup(Registry, Name) ->
    lookup(Registry, Name, ?TIMEOUT).

%% @doc Looks up the bucket with this name. Returns `{ok, Pid}', or `error' if there is none, or `{error, {bad_name, Name}}' if the
%% name is not a binary. Exits as in {@link kv_bucket} if the name is larger than a message may be.
%%
%% A durable registry attaches a process to a dormant name first; the caller waits meanwhile. If that fails, the result is `{error,
%% Reason}', as for {@link create/3}, and the name stays.
-spec lookup(t(), name(), timeout() | [kv_bucket:call_option()]) -> {ok, pid()} | error | {error, {bad_name, term()} | term()}.
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
%% The last argument is a timeout or a list of options:
%% <ul>
%% <li>`timeout': milliseconds to wait.</li>
%% <li>`max_memory', `evict' and all other options of {@link kv_bucket:start_link/1} that are about the content of a bucket.</li>
%% <li>`fill': as for {@link kv_bucket:start_link/1}. Needs a registry with `start_bucket'. If that is a function of {@link kv_bucket_sup},
%%     the supervisor starts one bucket at a time, so nobody creates another one below it while the function runs; lookups of names that are
%%     there go on.</li>
%% <li>`meta': the metadata of the name: {@link meta/2}.</li>
%% <li>`durable': for a durable registry: the policy of this bucket, by default that of the registry.</li>
%% </ul>
%% If the name exists, its bucket stays as it is, whatever the options are.
%%
%% Errors: `{bad_name, Name}' if the name is not a binary; `{name_too_long, Bytes}' if it is longer than 64 KiB; `{bad_option, Key,
%% Text}' if an option is wrong: nothing has been started; `{meta_too_large, Bytes}' or `{options_too_large, Bytes}' if the metadata or
%% the options take more than 64 KiB; `{too_large, Bytes}' if a request is larger than a message may be; any other reason for which
%% the bucket could not be started.
%%
%% O(1). Of several callers at once one creates the bucket, and all get it.
-spec create(t(), name(), timeout() | [create_option()]) -> ok | {error, term()}.
create(Registry, Name, TimeoutOrOptions) ->
    case make(create, Registry, Name, TimeoutOrOptions, fun(_) -> call end) of
        {ok, _Pid} -> ok;
        Error -> Error
    end.

%% @equiv lookup_or_create(Registry, Name, 5000)
-spec lookup_or_create(t(), name()) -> {ok, pid()} | {error, term()}.
lookup_or_create(Registry, Name) ->
    lookup_or_create(Registry, Name, ?TIMEOUT).

%% @doc Returns `{ok, Pid}' with the bucket of this name, which it creates if there is none. Options and errors are those of {@link
%% create/3}; options do not matter if the name exists.
%%
%% O(1), one request. No request at all if this VM reads the node's memory and the name exists. Of several callers at once one
%% creates the bucket, and all get the same pid.
-spec lookup_or_create(t(), name(), timeout() | [create_option()]) -> {ok, pid()} | {error, term()}.
lookup_or_create(Registry, Name, TimeoutOrOptions) ->
    make(lookup_or_create, Registry, Name, TimeoutOrOptions, fun(Server) -> kv_local:lookup(Server, Name) end).

make(Function, Registry, Name, Timeout, Local) when ?IS_TIMEOUT(Timeout) ->
    found_or_made(Local(Registry), Function, Registry, [Name], Timeout);
make(Function, Registry, Name, Options, Local) ->
    case kv_registry_options:create({?MODULE, Function, [Registry, Name, Options]}, Options) of
        {ok, Arguments, Timeout} -> found_or_made(Local(Registry), Function, Registry, [Name | Arguments], Timeout);
        {error, Reason} -> {error, Reason}
    end.

found_or_made(call, Function, Registry, [Name | _] = Arguments, Timeout) ->
    ok = kv_call_options:server({?MODULE, Function, [Registry, Name]}),
    case kv_limits:check(Registry, [Name]) of
        ok -> created(call(Registry, list_to_tuple([create | Arguments]), Timeout));
        Error -> Error
    end;
found_or_made(Found, _Function, _Registry, _Arguments, _Timeout) ->
    Found.

created(Pid) when is_pid(Pid) -> {ok, Pid};
%% The words for an option that only the node could refuse.
created({error, {bad_option, Option}}) -> {error, kv_registry_options:refused(Option)};
created({error, Reason}) -> {error, Reason}.

%% @equiv rename(Registry, Old, New, 5000)
-spec rename(t(), name(), name()) -> ok | error | {error, term()}.
rename(Registry, Old, New) ->
    rename(Registry, Old, New, ?TIMEOUT).

%% @doc Gives the bucket Old the name New. Pid, content and metadata stay. Returns `ok', also if both names are the same, or `error'
%% if there is no bucket Old.
%%
%% Errors: `name_taken' if there is a bucket New, or one is being created; `{bad_name, Name}', `{name_too_long, Bytes}', `{too_large,
%% Bytes}' as for {@link create/3}.
%%
%% O(1), one step: nobody finds both names, and nobody who knows both finds neither. The event manager gets `{exit, Old, Pid}' and
%% then `{create, New, Pid}'. The label in status reports and in Observer remains the name with which the bucket was created.
-spec rename(t(), name(), name(), timeout() | [kv_bucket:call_option()]) -> ok | error | {error, term()}.
rename(Registry, Old, New, Timeout) when ?IS_TIMEOUT(Timeout) ->
    change({?MODULE, rename, [Registry, Old, New]}, Timeout);
rename(Registry, Old, New, Options) ->
    rename(Registry, Old, New, timeout(rename, [Registry, Old, New, Options])).

%% @equiv delete(Registry, Name, 5000)
-spec delete(t(), name()) -> ok | error | {error, term()}.
delete(Registry, Name) ->
    delete(Registry, Name, ?TIMEOUT).

%% @doc Stops the bucket of this name with reason `normal', and forgets the name. The entries of a durable bucket are dropped, whether
%% or not it has a process. Returns `error' if there is no such name. Once it has
%% returned `ok', nobody finds the name. Requests that the bucket got before are answered. The native process has ended then, unless
%% one of these requests is so large that it takes several turns; the process ends behind it. Its proxy, if a supervisor has one,
%% ends a moment later.
%%
%% Errors: `{bad_name, Name}'. O(1) for the caller; the node frees the memory of the entries bit by bit.
-spec delete(t(), name(), timeout() | [kv_bucket:call_option()]) -> ok | error | {error, term()}.
delete(Registry, Name, Timeout) when ?IS_TIMEOUT(Timeout) ->
    change({?MODULE, delete, [Registry, Name]}, Timeout);
delete(Registry, Name, Options) ->
    delete(Registry, Name, timeout(delete, [Registry, Name, Options])).

%% @equiv meta(Registry, Name, 5000)
-spec meta(t(), name()) -> {ok, term()} | error | {error, term()}.
meta(Registry, Name) ->
    meta(Registry, Name, ?TIMEOUT).

%% @doc Returns the metadata of a name, or `error' if there is no such name, or if it has no metadata. Error: `{bad_name, Name}'. O(1).
-spec meta(t(), name(), timeout() | [kv_bucket:call_option()]) -> {ok, term()} | error | {error, term()}.
meta(Registry, Name, Timeout) when ?IS_TIMEOUT(Timeout) ->
    change({?MODULE, meta, [Registry, Name]}, Timeout);
meta(Registry, Name, Options) ->
    meta(Registry, Name, timeout(meta, [Registry, Name, Options])).

%% @equiv put_meta(Registry, Name, Meta, 5000)
-spec put_meta(t(), name(), term()) -> ok | error | {error, term()}.
put_meta(Registry, Name, Meta) ->
    put_meta(Registry, Name, Meta, ?TIMEOUT).

%% @doc Makes a term the metadata of a name. The term is lost with the name, and follows it when it is renamed. The metadata of a
%% durable name is on disk with it. Returns `error' if there
%% is no such name.
%%
%% Errors: `{bad_name, Name}'; `{meta_too_large, Bytes}' if the term takes more than 64 KiB, and any reason for which a node refuses a
%% request: nothing has changed then. O(1) beside the copy.
-spec put_meta(t(), name(), term(), timeout() | [kv_bucket:call_option()]) -> ok | error | {error, term()}.
put_meta(Registry, Name, Meta, Timeout) when ?IS_TIMEOUT(Timeout) ->
    change({?MODULE, put_meta, [Registry, Name, Meta]}, Timeout);
put_meta(Registry, Name, Meta, Options) ->
    put_meta(Registry, Name, Meta, timeout(put_meta, [Registry, Name, Meta, Options])).

%% Errors are answers, unless the process is no registry or its node is lost.
change({_Module, Function, [Registry | Arguments]} = Call, Timeout) ->
    ok = kv_call_options:server(Call),
    Request = list_to_tuple([Function | Arguments]),
    case kv_limits:check(Registry, Arguments) of
        ok -> changed(call(Registry, Request, Timeout), {gen_server, call, [Registry, Request, Timeout]});
        Error -> Error
    end.

%% As kv_lane:call/3 does: what timed out before is not overtaken by a look-up without a call.
call(Registry, Request, Timeout) ->
    case kv_local:settle(Registry) of
        settled -> kv_call:call(Registry, Request, Timeout);
        unsettled -> kv_lane:by_message(Registry, Request, Timeout)
    end.

changed({error, {Kind, _} = Why}, Call) when Kind =:= bad_request; Kind =:= nodedown -> exit({Why, Call});
changed(Answer, _Call) -> Answer.

%% @equiv names(Registry, 5000)
-spec names(t()) -> [name()].
names(Registry) ->
    names(Registry, ?TIMEOUT).

%% @doc Returns all names, or with the option `prefix' those that begin with a binary, in no particular order and all of one moment:
%% `names(Registry, [{prefix, <<"user:">>}])'. Exits with `{{too_large, Bytes}, _}' if they take more than 256 MiB.
%%
%% O(all names), with or without a prefix. Other requests to this registry wait meanwhile, and the node goes on to serve all other
%% processes.
-spec names(t(), timeout() | [names_option()]) -> [name()].
names(Registry, TimeoutOrOptions) ->
    select(names, Registry, TimeoutOrOptions).

%% @equiv list(Registry, 5000)
-spec list(t()) -> [{name(), pid() | dormant}].
list(Registry) ->
    list(Registry, ?TIMEOUT).

%% @doc Returns all names with the pids of their buckets; a dormant name of a durable registry comes with `dormant' instead. All else
%% is as for {@link names/2}.
-spec list(t(), timeout() | [names_option()]) -> [{name(), pid() | dormant}].
list(Registry, TimeoutOrOptions) ->
    select(list, Registry, TimeoutOrOptions).

%% @equiv count(Registry, 5000)
-spec count(t()) -> non_neg_integer().
count(Registry) ->
    count(Registry, ?TIMEOUT).

%% @doc Returns the number of names, in constant time; or with the option `prefix' of those that begin with a binary, in O(all names).
-spec count(t(), timeout() | [names_option()]) -> non_neg_integer().
count(Registry, TimeoutOrOptions) ->
    select(count, Registry, TimeoutOrOptions).

select(Function, Registry, Timeout) when ?IS_TIMEOUT(Timeout) ->
    ask({?MODULE, Function, [Registry]}, Function, Timeout);
select(Function, Registry, Options) ->
    Call = {?MODULE, Function, [Registry, Options]},
    case kv_registry_options:prefix(Call, Options) of
        {[], Timeout} -> ask(Call, Function, Timeout);
        {[Prefix], Timeout} -> ask(Call, {Function, Prefix}, Timeout)
    end.

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
    kv_request:read(call(Registry, Request, Timeout), Registry, Request, Timeout).

%% The timeout that the last argument, a list of options, gives.
timeout(Function, Arguments) ->
    kv_call_options:timeout({?MODULE, Function, Arguments}, ?TIMEOUT).
