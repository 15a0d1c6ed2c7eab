%% @doc The durable buckets and registries of a C node, also those without a process, and their end by name.
%% @private
-module(kv_node_tables).

-export([list/1, destroy/3]).

-export_type([table/0]).

-type table() :: #{
    %% An atom, or its text if this VM does not know it.
    name := atom() | binary(),
    kind := bucket | registry,
    durable := commit | interval,
    %% The entries of a bucket, the names of a registry.
    size := non_neg_integer(),
    %% The bytes of a bucket that count against its max_memory.
    memory := non_neg_integer(),
    %% The native process.
    pid := pid() | dormant
}.

-define(TIMEOUT, 5000).

%% @doc Returns what is in no registry. Empty for a node without a `data_dir'. Exits as a call does.
-spec list(node()) -> [table()].
list(Node) ->
    case run(fun() -> erpc:call(Node, kv_node, tables, [], ?TIMEOUT) end, ?TIMEOUT, {kv_node, tables, [Node]}) of
        undefined -> [];
        Tables -> [table(Table) || Table <- Tables]
    end.

table({Name, Kind, Durable, Size, Memory, Pid}) ->
    #{name => name(Name), kind => Kind, durable => Durable, size => Size, memory => Memory, pid => Pid}.

name(Text) ->
    try
        binary_to_existing_atom(Text)
    catch
        error:_ -> Text
    end.

%% @doc Removes a bucket or a registry, whether or not it has a process. See {@link kv_node:destroy/2}.
-spec destroy(node(), atom() | binary(), timeout()) -> ok | {error, term()}.
destroy(Node, Name, Timeout) ->
    run(fun() -> end_table(Node, text(Name), Timeout) end, Timeout, {kv_node, destroy, [Node, Name]}).

text(Name) when is_atom(Name) -> atom_to_binary(Name);
text(Name) when is_binary(Name) -> Name.

%% Only the node knows whether it is a bucket or a registry.
end_table(_Node, <<>>, _Timeout) ->
    {error, {unknown_name, <<"no bucket and no registry has an empty name">>}};
end_table(Node, Name, Timeout) ->
    case attach(Node, kv_bucket, Name) of
        {ok, Bucket} -> kv_bucket:destroy(Bucket, Timeout);
        {error, {is_durable, _}} -> end_registry(attach(Node, kv_registry, Name), Timeout);
        {error, Reason} -> {error, reason(Reason)}
    end.

end_registry({ok, Registry}, Timeout) -> kv_registry:destroy(Registry, Timeout);
end_registry({error, Reason}, _Timeout) -> {error, reason(Reason)}.

reason({no_data_dir, _Text}) -> {unknown_name, <<"the node keeps nothing on disk: it has no data_dir">>};
reason(Reason) -> Reason.

%% A process that takes what is there as it is. It ends with this one.
attach(Node, Module, Name) ->
    Options = [{owner, self()}, {existing, true}, {durable, commit}, {store, {<<>>, Name}}],
    await(kv_native:request(Node, Module, Options)).

await(Making) ->
    receive
        Message ->
            case kv_native:made(Message, Making) of
                {making, Next} -> await(Next);
                {ok, Pid, _Monitor} -> {ok, Pid};
                {attached, Pid, _Monitor, _Generation} -> {ok, Pid};
                {error, {already_started, Pid}} -> {ok, Pid};
                {error, Reason} -> {error, Reason};
                other -> await(Making)
            end
    end.

run(Fun, Timeout, Call) ->
    case kv_inspect:within(Fun, Timeout) of
        {ok, Value} -> Value;
        {error, {Reason, {_Module, _Function, _Arguments}}} -> exit({Reason, Call});
        {error, Reason} -> exit({Reason, Call})
    end.
