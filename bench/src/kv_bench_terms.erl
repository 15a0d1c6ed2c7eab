%% @doc Reads without a call beside what people have in their VM today, for each kind of term that they keep: `ets:lookup',
%% persistent_term, an Agent, and a GenServer that reads its ETS table. Keys and values are of other types, small and larger. Then
%% reads by proxy, by name and through the registry.
%%
%% Each kind has a bucket, a table and so on of its own, with the same 1000 entries. A round reads each of them 200,000
%% times, and those that are called a tenth as often, one contender after the other, in another order each round.
-module(kv_bench_terms).

-export([run/1, bars/0]).

-include("kv_bench.hrl").

-define(ENTRIES, 1000).
-define(ROUNDS, 11).
-define(READS, 200000).
%% A call takes ten times as long as a read.
-define(CALLED, 10).
-define(REGISTRY, kv_bench_terms_registry).
-define(NODE, kv_bench_terms_node).
-define(NAMED, kv_bench_terms_named).

-type read() :: {kv_bench_contender:name(), fun((term()) -> term())}.
-type group() :: {Operation :: atom(), Keys :: tuple(), [read()]}.

%% @doc The bars: kind, title, and how many times as long as the other contender a read may take.
-spec bars() -> [{atom(), string(), kv_bench_contender:name(), number()}].
bars() ->
    [{Kind, Title, local_ets, Bar} || {Kind, Title, Bar, _, _} <- kinds()] ++
        [
            {by_proxy, "by a proxy against by a pid", kv_local_pid, 1.3},
            {by_name, "by a name against by a pid", kv_local_pid, 1.5},
            {lookup, "lookup in the registry", local_ets, 1.0}
        ].

%% Key and value of the N-th entry.
kinds() ->
    Binary = fun kv_bench_load:key/1,
    [
        {binary_10, "20-byte binary, 10 bytes", 1.0, Binary, fun(N) -> <<N:80>> end},
        {binary_32, "20-byte binary, 32 bytes", 1.0, Binary, fun(N) -> <<N:256>> end},
        {integer, "integer, integer", 1.2, fun(N) -> N end, fun(N) -> N * 3 end},
        {atom, "atom, boolean", 1.2, fun atom/1, fun(N) -> N rem 2 =:= 0 end},
        {user, "{user, I}, 32 bytes", 1.3, fun(N) -> {user, N} end, fun(N) -> <<N:256>> end},
        {session, "binary, {session, I, \"abc\", 3}", 1.5, Binary, fun(N) -> {session, N, <<"abc">>, 3} end},
        {atom_map, "binary, #{id => I, name => \"x\"}", 1.8, Binary, fun(N) -> #{id => N, name => <<"x">>} end},
        {binary_map, "binary, #{\"id\" => I, \"name\" => \"x\"}", 1.8, Binary, fun(N) -> #{<<"id">> => N, <<"name">> => <<"x">>} end},
        {list, "binary, list of 10 integers", 1.5, Binary, fun(N) -> lists:seq(N, N + 9) end},
        {binary_1000, "20-byte binary, 1000 bytes", 1.7, Binary, fun(N) -> <<N:8000>> end}
    ].

atom(N) -> list_to_atom("flag_" ++ integer_to_list(N)).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{quick := Quick}) ->
    io:format("~nterms: ~b entries of each kind~n", [?ENTRIES]),
    Node = start(),
    Groups = [group(Kind) || Kind <- kinds()] ++ addresses() ++ [lookup()],
    {Rounds, Reads} = case Quick of
        true -> {3, ?READS div 10};
        false -> {?ROUNDS, ?READS}
    end,
    Rows = lists:append([measure(Group, Round, Reads) || Round <- lists:seq(1, Rounds), Group <- Groups]),
    ok = gen_server:stop(?REGISTRY),
    ok = gen_server:stop(Node),
    Rows.

start() ->
    Name = lists:concat(["bench_terms_", os:getpid(), "@127.0.0.1"]),
    {ok, Node} = kv_node:start_link(?NODE, [{node_name, list_to_atom(Name)}, {local_reads, true}]),
    {ok, _} = kv_registry:start_link([{name, ?REGISTRY}, {node, ?NODE}]),
    #{local_reads := on} = kv_node:info(?NODE),
    Node.

%%% Contenders

-spec group({atom(), string(), number(), fun(), fun()}) -> group().
group({Kind, _Title, _Bar, Key, Value}) ->
    Entries = [{Key(N), Value(N)} || N <- lists:seq(1, ?ENTRIES)],
    Bucket = bucket(atom_to_binary(Kind)),
    ok = kv_bucket:put_many(Bucket, Entries),
    Ets = table(Entries),
    {Kind, keys(Entries), [
        {kv_local, getter(Bucket)},
        {local_ets, fun(Wanted) -> ets:lookup(Ets, Wanted) end},
        {persistent_term, constants(Kind, Entries)},
        {local_agent, agent(Entries)},
        {local_server_ets, server(Entries)}
    ]}.

constants(Kind, Entries) ->
    [ok = persistent_term:put({?MODULE, Kind, Key}, Value) || {Key, Value} <- Entries],
    fun(Key) -> persistent_term:get({?MODULE, Kind, Key}, nil) end.

agent(Entries) ->
    {ok, Agent} = 'Elixir.Agent':start_link(maps, from_list, [Entries]),
    fun(Key) -> 'Elixir.Agent':get(Agent, 'Elixir.Map', get, [Key]) end.

server(Entries) ->
    {ok, Server} = kv_bench_ets:start(),
    ok = gen_server:call(Server, {put_many, Entries}),
    fun(Key) -> gen_server:call(Server, {get, Key, nil}) end.

%% The same bucket by its pid, its proxy and its name.
addresses() ->
    Entries = [{kv_bench_load:key(N), <<N:256>>} || N <- lists:seq(1, ?ENTRIES)],
    {ok, Proxy} = kv_bucket:start_link([{name, ?NAMED}, {node, ?NODE}]),
    ok = kv_bucket:put_many(Proxy, Entries),
    {Proxy, Native} = kv_proxies:readable(Proxy),
    [
        {Operation, keys(Entries), [{kv_local, getter(Address)}, {kv_local_pid, getter(Native)}]}
     || {Operation, Address} <- [{by_proxy, Proxy}, {by_name, ?NAMED}]
    ].

lookup() ->
    Entries = [{Name, bucket(Name)} || N <- lists:seq(1, ?ENTRIES), Name <- [kv_bench_load:key(N)]],
    Ets = table(Entries),
    {lookup, keys(Entries), [
        {kv_local, fun(Name) -> 'Elixir.KV.Registry':lookup(?REGISTRY, Name) end},
        {local_ets, fun(Name) -> ets:lookup(Ets, Name) end}
    ]}.

getter(Bucket) -> fun(Key) -> 'Elixir.KV.Bucket':get(Bucket, Key) end.

bucket(Name) ->
    ok = kv_registry:create(?REGISTRY, Name),
    {ok, Bucket} = kv_registry:lookup(?REGISTRY, Name),
    Bucket.

table(Entries) ->
    Ets = ets:new(?MODULE, [public, {read_concurrency, true}]),
    true = ets:insert(Ets, Entries),
    Ets.

keys(Entries) -> list_to_tuple([Key || {Key, _} <- Entries]).

%%% Measuring

-spec measure(group(), pos_integer(), pos_integer()) -> [kv_bench:row()].
measure({Operation, Keys, Readers}, Round, Reads) ->
    {Front, Back} = lists:split(Round rem length(Readers), Readers),
    [
        #row{part = terms, operation = Operation, contender = Name, round = Round, metric = ns, value = timed(Read, Keys, reads(Name, Reads))}
     || {Name, Read} <- Back ++ Front
    ].

reads(Name, Reads) when Name =:= local_agent; Name =:= local_server_ets -> Reads div ?CALLED;
reads(_Name, Reads) -> Reads.

%% Nanoseconds of one read, by a process that does nothing else.
timed(Read, Keys, Reads) ->
    Parent = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        _ = read(Read, Keys, 1, tuple_size(Keys)),
        Begin = erlang:monotonic_time(nanosecond),
        _ = read(Read, Keys, 1, Reads),
        Parent ! {self(), (erlang:monotonic_time(nanosecond) - Begin) / Reads}
    end),
    receive
        {Pid, Ns} -> true = demonitor(Monitor, [flush]), Ns;
        {'DOWN', Monitor, process, Pid, Reason} -> error({reader_died, Reason})
    end.

read(_Read, _Keys, _At, 0) ->
    done;
read(Read, Keys, At, Left) ->
    _ = Read(element(At, Keys)),
    read(Read, Keys, At rem tuple_size(Keys) + 1, Left - 1).
