%% A data folder with all that a folder may have, made by operations that are drawn, and a note of all of them: so whatever is read
%% of the folder later can be told to be true or not.
%%
%% Each bucket has a number, T. Its keys and values name it, and each value the operation that put it. So an entry in a wrong bucket
%% is found, too. The texts of keys, names and metadata are found in the bytes of the log.
-module(kv_salvage_world).

-export([make/3, contents/2, place/1, text/1]).

-define(REGISTRIES, [{carts, commit}, {views, interval}]).
-define(BUCKETS, [{sessions, commit}, {hits, interval}]).
-define(NAMES, 8).
-define(KEYS, 12).
%% Three values of the first bucket that are so large make a log of more than one file.
-define(LARGE, (16 bsl 20)).
-define(LARGES, 5).
-define(HOUR, 3600000).

%% Places of buckets: {Registry, Name}, or {none, Name}.
-type place() :: {atom(), atom() | binary()}.
-type world() :: #{
    %% The last operation, and the last bucket.
    n := non_neg_integer(),
    t := non_neg_integer(),
    %% All that is there: T, metadata, and keys with the operation that has put each.
    now := #{place() => {pos_integer(), none | binary(), #{binary() => pos_integer()}}},
    %% All that ever was: {T, Key} to operations, {T, place} and {T, meta} to what it had, {T, cleared}.
    past := #{term() => [term()]}
}.
-export_type([world/0]).

%% Makes a folder in lives of so many operations, each with options of its own. Between two of them the program ends, or is killed.
%% Runs in a VM without kv.
-spec make(file:filename(), integer(), [{pos_integer(), [tuple()], stop | kill}]) -> world().
make(Folder, Seed, Lives) ->
    _ = rand:seed(exsss, {Seed, 3, 3}),
    lists:foldl(fun(Life, World) -> live(Folder, Life, World) end, #{n => 0, t => 0, now => #{}, past => #{}}, Lives).

live(Folder, {Operations, Options, End}, World0) ->
    ok = kv_test:start_kv([{data_dir, Folder} | Options]),
    Holder = start_all(),
    World1 = lists:foldl(fun own_bucket/2, World0, ?BUCKETS),
    World = lists:foldl(fun(_, Before) -> operation(Before) end, World1, lists:seq(1, Operations)),
    Next =
        case End of
            stop -> lists:foldl(fun(K, Before) -> put_one({none, sessions}, K, ?LARGE, Before) end, World, lists:seq(1, ?LARGES));
            kill -> World
        end,
    ok = end_life(End, Holder),
    Next.

end_life(kill, Holder) ->
    Monitor = monitor(process, kv_node),
    ok = kv_test:signal("KILL", kv_node:os_pid()),
    _ = kv_test:down(Monitor),
    end_life(stop, Holder);
end_life(stop, Holder) ->
    true = exit(Holder, kill),
    ok = kv_test:wait(fun() -> [] =:= [Name || {Name, _} <- ?REGISTRIES ++ ?BUCKETS, whereis(Name) =/= undefined] end),
    application:stop(kv).

%% Returns the process that all of them are linked to.
start_all() ->
    Caller = self(),
    Holder = spawn(fun() ->
        [{ok, _} = kv_registry:start_link([{name, Name}, {durable, Policy}, {on_node_down, stay}]) || {Name, Policy} <- ?REGISTRIES],
        [{ok, _} = kv_bucket:start_link([{name, Name}, {durable, Policy}, {on_node_down, stay}]) || {Name, Policy} <- ?BUCKETS],
        Caller ! {self(), started},
        receive
            never -> ok
        end
    end),
    receive
        {Holder, started} -> Holder
    end.

own_bucket({Name, _}, #{now := Now} = World) when is_map_key({none, Name}, Now) -> World;
own_bucket({Name, _}, World) -> made({none, Name}, none, World).

%%% Operations

operation(#{n := N, now := Now} = World0) ->
    World = World0#{n := N + 1},
    Registry = element(1, lists:nth(rand:uniform(length(?REGISTRIES)), ?REGISTRIES)),
    Place = {Registry, <<"<name", (integer_to_binary(rand:uniform(?NAMES)))/binary, ">">>},
    {Own, _} = lists:nth(rand:uniform(length(?BUCKETS)), ?BUCKETS),
    case rand:uniform(20) of
        Kind when Kind =< 6 -> change(rand:uniform(12), {none, Own}, World);
        Kind when Kind =< 10, is_map_key(Place, Now) -> change(rand:uniform(12), Place, World);
        Kind when is_map_key(Place, Now) -> change_name(Kind, Place, World);
        Kind -> create(Kind rem 2, Place, World)
    end.

change(Kind, Place, World) when Kind =< 6 ->
    put_one(Place, rand:uniform(?KEYS), rand:uniform(3000), World);
change(Kind, Place, #{now := Now} = World) when Kind =< 8 ->
    {T, _, _} = map_get(Place, Now),
    Keys = [key(T, K) || K <- lists:seq(1, rand:uniform(?KEYS))],
    ok = kv_bucket:put_many(bucket(Place), [{Key, value(T, Key, World, 50)} || Key <- Keys]),
    lists:foldl(fun(Key, Before) -> has_put(Place, Key, Before) end, World, Keys);
change(9, Place, #{now := Now, past := Past} = World) ->
    {T, Meta, _} = map_get(Place, Now),
    ok = kv_bucket:clear(bucket(Place)),
    World#{now := Now#{Place := {T, Meta, #{}}}, past := Past#{{T, cleared} => [true]}};
change(_, Place, #{now := Now} = World) ->
    {T, Meta, Entries} = map_get(Place, Now),
    Key = key(T, rand:uniform(?KEYS)),
    _ = kv_bucket:delete(bucket(Place), Key),
    World#{now := Now#{Place := {T, Meta, maps:remove(Key, Entries)}}}.

put_one(Place, K, Size, #{now := Now} = World) ->
    {T, _, _} = map_get(Place, Now),
    Key = key(T, K),
    ok = kv_bucket:put(bucket(Place), Key, value(T, Key, World, Size), [{timeout, infinity}] ++ [{ttl, ?HOUR} || K rem 3 =:= 0]),
    has_put(Place, Key, World).

has_put(Place, Key, #{n := N, now := Now} = World) ->
    {T, Meta, Entries} = map_get(Place, Now),
    remember({T, Key}, N, World#{now := Now#{Place := {T, Meta, Entries#{Key => N}}}}).

value(T, Key, #{n := N}, Size) -> {T, Key, N, binary:copy(<<"x">>, Size)}.

key(T, K) -> <<"<", (integer_to_binary(T))/binary, ":", (integer_to_binary(K))/binary, ">">>.

change_name(Kind, {Registry, Name}, #{now := Now} = World) when Kind =< 14 ->
    Other = {Registry, <<"<name", (integer_to_binary(rand:uniform(?NAMES)))/binary, ">">>},
    case kv_registry:rename(Registry, Name, element(2, Other)) of
        ok ->
            {{T, _, _} = Bucket, Rest} = maps:take({Registry, Name}, Now),
            remember({T, place}, Other, World#{now := Rest#{Other => Bucket}});
        {error, name_taken} ->
            World
    end;
change_name(Kind, {Registry, Name} = Place, #{n := N, now := Now} = World) when Kind =< 16 ->
    {T, _, Entries} = map_get(Place, Now),
    Meta = <<"<meta", (integer_to_binary(N))/binary, ">">>,
    ok = kv_registry:put_meta(Registry, Name, Meta),
    remember({T, meta}, Meta, World#{now := Now#{Place := {T, Meta, Entries}}});
change_name(Kind, Place, World) when Kind =< 18 ->
    ok = kv_bucket:stop(bucket(Place)),
    World;
change_name(_Kind, {Registry, Name} = Place, #{now := Now} = World) ->
    ok = kv_registry:delete(Registry, Name),
    World#{now := maps:remove(Place, Now)}.

create(0, {Registry, Name} = Place, World) ->
    ok = kv_registry:create(Registry, Name),
    made(Place, none, World);
create(1, {Registry, Name} = Place, #{n := N} = World) ->
    Meta = <<"<meta", (integer_to_binary(N))/binary, ">">>,
    ok = kv_registry:create(Registry, Name, [{meta, Meta}, {durable, commit}]),
    made(Place, Meta, World).

made(Place, Meta, #{t := T, now := Now} = World) ->
    remember({T + 1, meta}, Meta, remember({T + 1, place}, Place, World#{t := T + 1, now := Now#{Place => {T + 1, Meta, #{}}}})).

remember(What, Had, #{past := Past} = World) ->
    World#{past := maps:update_with(What, fun(Before) -> [Had | Before] end, [Had], Past)}.

bucket({none, Name}) ->
    Name;
bucket({Registry, Name}) ->
    {ok, Bucket} = kv_registry:lookup(Registry, Name),
    Bucket.

%%% What is there

%% All buckets in a folder, those of these names included: place, metadata, and for each key T and N of its value.
-spec contents(file:filename(), [atom()]) -> [{place(), none | binary(), #{binary() => {pos_integer(), pos_integer()}}}].
contents(Folder, Names) ->
    ok = kv_test:start_kv([{data_dir, Folder}]),
    Holder = start_all(),
    Others = [Name || Name <- Names, whereis(Name) =:= undefined],
    Started = [Bucket || Name <- Others, {ok, Bucket} <- [kv_bucket:start_link([{name, Name}, {durable, commit}])]],
    Own = [{none, Name} || Name <- Others ++ [Name || {Name, _} <- ?BUCKETS]],
    Places = Own ++ [{Registry, Name} || {Registry, _} <- ?REGISTRIES, Name <- kv_registry:names(Registry)],
    Contents = [{Place, meta(Place), maps:map(fun seen/2, kv_bucket:to_map(bucket(Place)))} || Place <- Places],
    [ok = kv_bucket:stop(Bucket) || Bucket <- Started],
    ok = end_life(stop, Holder),
    Contents.

meta({none, _}) ->
    none;
meta({Registry, Name}) ->
    case kv_registry:meta(Registry, Name) of
        {ok, Meta} -> Meta;
        error -> none
    end.

seen(Key, {T, Key, N, Bytes}) ->
    true = Bytes =:= binary:copy(<<"x">>, byte_size(Bytes)),
    {T, N}.

%% As `kv_node --check' prints it.
-spec place(binary()) -> place().
place(Shown) ->
    case binary:split(Shown, <<" / ">>) of
        [Name] -> {none, binary_to_atom(Name)};
        [Registry, Name] -> {binary_to_atom(Registry), Name}
    end.

%% The text of a place in the log.
-spec text(place()) -> binary().
text({_, Name}) when is_atom(Name) -> atom_to_binary(Name);
text({_, Name}) -> Name.
