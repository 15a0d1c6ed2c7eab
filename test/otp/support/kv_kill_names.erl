%% The part of kv_kill_client that changes a durable registry: names come, go and change, and their buckets are changed.
%%
%% In the model a name {Client, K} stands for {Meta, Entries}. Meta is none if the name has no metadata. No operation of
%% the model is done in two steps that a kill may part: a lookup that attaches a process changes nothing.
-module(kv_kill_names).

-export([registry/0, operation/3, after_operation/3, committed/1, serve/0, do/1, contents/0]).

-define(NAMES, 6).
-define(KEYS, 10).

registry() -> kills_names.

%%% Operations and the model

%% Returns operation N of a client.
operation(Client, N, Draw) ->
    One = {Client, Draw(name, ?NAMES)},
    case Draw(kind, 20) of
        Kind when Kind < 4 -> {create, [One, element(Draw(policy, 3) + 1, {commit, interval, default}), Draw(meta, 2) * N]};
        Kind when Kind < 11 -> {put, [One, Draw(key, ?KEYS), N]};
        Kind when Kind < 13 -> {put_meta, [One, N]};
        Kind when Kind < 16 -> {rename, [One, {Client, Draw(other, ?NAMES)}]};
        16 -> {delete, [One]};
        17 -> {destroy, [One]};
        _ -> {stop, [One]}
    end.

after_operation(create, [One, _Policy, 0], Names) -> maps:merge(#{One => {none, #{}}}, Names);
after_operation(create, [One, _Policy, Meta], Names) -> maps:merge(#{One => {Meta, #{}}}, Names);
after_operation(rename, [One, Other], Names) when is_map_key(One, Names), not is_map_key(Other, Names) ->
    {Value, Rest} = maps:take(One, Names),
    Rest#{Other => Value};
after_operation(Name, [One | Arguments], Names) when is_map_key(One, Names) ->
    changed(Name, Arguments, One, map_get(One, Names), Names);
after_operation(_Name, _Arguments, Names) ->
    Names.

changed(put, [Key, Value], One, {Meta, Entries}, Names) -> Names#{One := {Meta, Entries#{Key => Value}}};
changed(put_meta, [Meta], One, {_, Entries}, Names) -> Names#{One := {Meta, Entries}};
changed(Gone, [], One, _, Names) when Gone =:= delete; Gone =:= destroy -> maps:remove(One, Names);
changed(_Name, _Arguments, _One, _, Names) -> Names.

%% Of numbered operations, the numbers of those that changed something under `commit'. The model has the policies here, in the
%% place of the metadata.
committed(Operations) ->
    {Committed, _} = lists:foldl(fun committed/2, {[], #{}}, Operations),
    Committed.

committed({N, {Name, [One | _]} = Operation}, {Before, Policies}) ->
    Next = with_policies(Operation, Policies),
    {Policy, _} = maps:get(One, maps:merge(Next, Policies), {interval, #{}}),
    case Policy =/= interval andalso (Name =:= put_meta orelse Next =/= Policies) of
        true -> {[N | Before], Next};
        false -> {Before, Next}
    end.

with_policies({create, [One, Policy, _Meta]}, Policies) -> after_operation(create, [One, Policy, Policy], Policies);
with_policies({put_meta, _}, Policies) -> Policies;
with_policies({Name, Arguments}, Policies) -> after_operation(Name, Arguments, Policies).

%%% In the VM under test

%% Returns once the registry is there. It belongs to the caller.
serve() ->
    {ok, _} = kv_bucket_sup:start_link(kills_buckets),
    Start = {kv_bucket_sup, start_bucket, [kills_buckets]},
    {ok, _} = kv_registry:start_link([{name, registry()}, {durable, commit}, {start_bucket, Start}]),
    ok.

%% Returns `{error, Reason}' only for what no kill explains.
do({create, [One, Policy, Meta]}) ->
    Options = [{durable, Policy} || Policy =/= default] ++ [{meta, Meta} || Meta =/= 0],
    kv_registry:create(registry(), name(One), Options);
do({put, [One, Key, Value]}) -> in_bucket(One, fun(Bucket) -> kv_bucket:put(Bucket, Key, Value) end);
do({put_meta, [One, Meta]}) -> kv_registry:put_meta(registry(), name(One), Meta);
do({rename, [One, Other]}) ->
    case kv_registry:rename(registry(), name(One), name(Other)) of
        {error, name_taken} -> ok;
        Answer -> Answer
    end;
do({delete, [One]}) -> kv_registry:delete(registry(), name(One));
do({destroy, [One]}) -> in_bucket(One, fun kv_bucket:destroy/1);
do({stop, [One]}) -> in_bucket(One, fun kv_bucket:stop/1).

in_bucket(One, Fun) ->
    case kv_registry:lookup(registry(), name(One)) of
        {ok, Bucket} -> Fun(Bucket);
        Other -> Other
    end.

name({Client, K}) -> <<Client, K>>.

%% All names as in the model.
contents() ->
    maps:from_list([{{Client, K}, content(Name)} || <<Client, K>> = Name <- kv_registry:names(registry())]).

content(Name) ->
    {ok, Bucket} = kv_registry:lookup(registry(), Name),
    Meta =
        case kv_registry:meta(registry(), Name) of
            {ok, Some} -> Some;
            error -> none
        end,
    {Meta, kv_bucket:to_map(Bucket)}.
