%% @doc The parameters with which the application starts its tree.
%%
%% The names are those of the Erlang modules. To start the tree under other names, change this map:
%%
%% ```
%% kv_sup:start_link((kv_config:defaults())#{registry := my_registry}).
%% '''
-module(kv_config).

-export([defaults/0, node_options/0, node_options/1, registry_options/0, split_registry/1]).

-export_type([t/0, registry_options/0]).

-type t() :: #{
    %% Local names of the processes of the tree.
    supervisor := atom(),
    event_manager := atom(),
    node_supervisor := atom(),
    node := atom(),
    store_supervisor := atom(),
    bucket_supervisor := atom(),
    registry := atom(),
    %% The child specification of the bucket supervisor.
    bucket_supervisor_spec := supervisor:child_spec(),
    %% apply(M, F, A ++ [BucketOptions]) starts a bucket and returns {ok, Pid} or {error, Reason}.
    start_bucket := {module(), atom(), [term()]},
    node_options := [kv_node:option()],
    registry_options => registry_options()
}.

%% Options of the registry of the tree.
-type registry_options() :: [{durable, false | commit | interval} | {owner, vm | node}].

%% @doc Returns the names of the Erlang side, and the node options of the application environment.
-spec defaults() -> t().
defaults() ->
    #{
        supervisor => kv_sup,
        event_manager => kv_event_manager,
        node_supervisor => kv_node_sup,
        node => kv_node,
        store_supervisor => kv_store_sup,
        bucket_supervisor => kv_bucket_sup,
        registry => kv_registry,
        bucket_supervisor_spec => kv_bucket_sup:child_spec(kv_bucket_sup),
        start_bucket => {kv_bucket_sup, start_bucket, [kv_bucket_sup]},
        node_options => node_options(),
        registry_options => registry_options()
    }.

%% @doc Returns the environment of the application `kv', and the defaults of the C program: options of {@link kv_node}, of
%% which the first of a key counts.
%%
%% The environment holds nothing else but the options of the registry, so that a misspelt option is refused, like one in an
%% argument. Only OTP adds a key of its own.
-spec node_options() -> [kv_node:option()].
node_options() ->
    node_options([]).

%% @doc The same with options of a user, which count first. A VM that attaches to a node sets no options of a program.
-spec node_options([kv_node:option()]) -> [kv_node:option()].
node_options(Options) ->
    Set = [Key || {Key, _} <- Options] ++ [included_applications, registry],
    Given = Options ++ [Option || {Key, _} = Option <- application:get_all_env(kv), not lists:member(Key, Set)],
    case kv_attach:is_wanted(Given) of
        true -> Given;
        false -> Given ++ [{Key, Value} || {Key, _, _, {program, Value}, _, _} <- kv_node_options:table()]
    end.

%% @doc Returns the options of the registry of the tree, as in `{registry, [{durable, commit}]}' in the environment of `kv'.
-spec registry_options() -> registry_options().
registry_options() ->
    application:get_env(kv, registry, []).

%% @doc Returns the options of the registry, and all others: those of the node. Those of the environment count if there are none.
-spec split_registry(term()) -> {registry_options(), term()}.
split_registry(Options) when is_list(Options) ->
    {Registry, Others} = lists:partition(fun(Option) -> is_tuple(Option) andalso element(1, Option) =:= registry end, Options),
    case Registry of
        [{registry, Given} | _] -> {Given, Others};
        _ -> {registry_options(), Options}
    end;
split_registry(Options) ->
    {registry_options(), Options}.
