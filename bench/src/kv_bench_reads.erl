%% @doc Reads without a call: in this VM and from several VMs at once, with and without another VM that writes.
%%
%% A round measures each cell once, the contenders of a group one after the other, so that ratios can be taken within it.
-module(kv_bench_reads).

-export([run/1]).

-include("kv_bench.hrl").

-define(SMALL, 1000).
%% Tables that several VMs read; each VM has an ETS table of the same size.
-define(SHARED, 100000).
-define(MANY, 1000).
-define(VALUE_BYTES, 32).
-define(SIZES, [8, 1024, 16 * 1024, 64 * 1024]).
%% Keys that are read in turn; more than one processor keeps in its caches.
-define(KEYS, 20000).
%% Reads for one look at the clock.
-define(BATCH, 200).
-define(CHUNK, 1000).
-define(CALL_TIMEOUT, 60000).
-define(REGISTRY, kv_bench_reads_registry).
-define(NODE, kv_bench_reads_node).

-type contender() :: kv_local | local_ets | persistent_term | kv_bucket.
-type table() :: #{
    size := small | large, entries := pos_integer(), name := binary(), bucket := pid(), ets := ets:table(), keys := #{atom() => tuple()}
}.
%% The function is called with the keys in turn.
-type group() :: {
    Operation :: atom(), Processes :: pos_integer(), Bytes :: pos_integer(), Keys :: tuple(), [{contender(), fun((term()) -> term())}]
}.

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{rounds := Rounds, ms := Ms, entries := Entries}) ->
    io:format("~nreads: of 1000, ~b and ~b entries~n", [?SHARED, Entries]),
    Node = start(),
    Tables = [Small | _] = [table(small, ?SMALL), table(large, max(?SMALL, Entries))],
    Shared = bucket(<<"shared">>),
    ok = fill(Shared, ?SHARED),
    Vms = kv_bench_vms:start(Shared, ?SHARED),
    Quiet = lists:append([groups(Table) || Table <- Tables]) ++ others(Small),
    Rows = lists:append([round(Round, Quiet, Tables, Vms, Ms) || Round <- lists:seq(1, Rounds)]),
    ok = kv_bench_vms:stop(Vms),
    _ = [true = ets:delete(Ets) || #{ets := Ets} <- Tables],
    ok = gen_server:stop(?REGISTRY),
    ok = gen_server:stop(Node),
    Rows.

round(Round, Quiet, Tables, Vms, Ms) ->
    Short = max(1, Ms div 10),
    Rows = [measure(Group, Round, Short) || Group <- Quiet] ++
        [written(Table, Round, Vms, Short) || Table <- Tables] ++
        [kv_bench_vms:round(Vms, Round, max(1, Ms * 7 div 10))],
    io:format("  round ~b~n", [Round]),
    lists:append(Rows).

start() ->
    Name = lists:concat(["bench_reads_", os:getpid(), "@127.0.0.1"]),
    {ok, Node} = kv_node:start_link(?NODE, [{node_name, list_to_atom(Name)}, {local_reads, true}]),
    {ok, _} = kv_registry:start_link([{name, ?REGISTRY}, {node, ?NODE}]),
    #{local_reads := on} = kv_node:info(?NODE),
    Node.

%%% Tables and keys

-spec table(small | large, pos_integer()) -> table().
table(Size, Entries) ->
    Name = atom_to_binary(Size),
    Bucket = bucket(Name),
    Ets = ets:new(?MODULE, [public, {read_concurrency, true}]),
    ok = fill(Bucket, Entries),
    ok = fill(fun(Some) -> true = ets:insert(Ets, Some) end, Entries),
    #{
        size => Size,
        entries => Entries,
        name => Name,
        bucket => Bucket,
        ets => Ets,
        keys => maps:from_list([{Kind, chosen(Kind, Entries)} || Kind <- [binary, integer, tuple, absent]])
    }.

bucket(Name) ->
    ok = kv_registry:create(?REGISTRY, Name),
    {ok, Bucket} = kv_registry:lookup(?REGISTRY, Name),
    Bucket.

fill(Bucket, Entries) when is_pid(Bucket) ->
    fill(fun(Some) -> ok = kv_bucket:put_many(Bucket, Some, ?CALL_TIMEOUT) end, Entries);
fill(Put, Entries) ->
    lists:foreach(Put, [
        [{key(Kind, N), <<N:(?VALUE_BYTES * 8)>>} || N <- lists:seq(First, min(Entries, First + ?CHUNK - 1))]
     || Kind <- [binary, integer, tuple], First <- lists:seq(1, Entries, ?CHUNK)
    ]).

chosen(Kind, Entries) ->
    list_to_tuple([key(Kind, rand:uniform(Entries)) || _ <- lists:seq(1, ?KEYS)]).

key(binary, N) -> kv_bench_load:key(N);
key(absent, N) -> <<"no--", (binary:part(kv_bench_load:key(N), 4, 16))/binary>>;
key(integer, N) -> N;
key(tuple, N) -> {key, N}.

%%% Cells

-spec groups(table()) -> [group()].
groups(#{bucket := Bucket, ets := Ets, name := Name, keys := #{binary := Binary} = Keys} = Table) ->
    true = ets:insert(Ets, {Name, Bucket}),
    Some = lists:sublist(tuple_to_list(Binary), ?MANY),
    [
        {operation(Table, Operation), Processes, ?VALUE_BYTES, map_get(Kind, Keys), both(Table)}
     || {Operation, Processes, Kind} <- [
            {get, 1, binary}, {get, 2, binary}, {get_integer, 1, integer}, {get_tuple, 1, tuple}, {get_absent, 1, absent}
        ]
    ] ++ [
        {operation(Table, lookup), 1, byte_size(Name), {Name}, [
            {kv_local, fun(Wanted) -> 'Elixir.KV.Registry':lookup(?REGISTRY, Wanted) end},
            {local_ets, fun(Wanted) -> ets:lookup(Ets, Wanted) end}
        ]},
        {operation(Table, get_many), 1, ?VALUE_BYTES, {Some}, [
            {kv_local, fun(All) -> 'Elixir.KV.Bucket':get_many(Bucket, All) end},
            {local_ets, fun(All) -> [ets:lookup(Ets, Key) || Key <- All] end}
        ]}
    ].

operation(#{size := Size}, Operation) ->
    list_to_atom(lists:concat([Size, "_", Operation])).

both(#{bucket := Bucket, ets := Ets}) ->
    [{kv_local, fun(Key) -> 'Elixir.KV.Bucket':get(Bucket, Key) end}, {local_ets, fun(Key) -> ets:lookup(Ets, Key) end}].

%% One key: by the size of its value, and against stores other than ETS.
-spec others(table()) -> [group()].
others(#{bucket := Bucket, ets := Ets, keys := #{binary := Binary}} = Table) ->
    Large = [{{size, Bytes}, binary:copy(<<"v">>, Bytes)} || Bytes <- ?SIZES],
    ok = kv_bucket:put_many(Bucket, Large),
    true = ets:insert(Ets, Large),
    Call = {kv_bucket, fun(Key) -> kv_call:call(Bucket, {get, Key, nil}, ?CALL_TIMEOUT) end},
    Key = element(1, Binary),
    ok = persistent_term:put({?MODULE, Key}, kv_bucket:get(Bucket, Key)),
    Term = {persistent_term, fun(Wanted) -> persistent_term:get({?MODULE, Wanted}) end},
    [{one_key, 1, ?VALUE_BYTES, {Key}, both(Table) ++ [Term, Call]}] ++
        [{one_key, 1, Bytes, {Wanted}, both(Table) ++ [Call]} || {{size, Bytes} = Wanted, _} <- Large].

%% The keys that other processes put all the time, with values of the same size.
written(#{bucket := Bucket, entries := Entries, keys := #{binary := Keys}} = Table, Round, Vms, Ms) ->
    ok = kv_bench_vms:write(Vms, Bucket, Entries),
    Rows = measure({operation(Table, get_written), 1, ?VALUE_BYTES, Keys, both(Table)}, Round, Ms),
    ok = kv_bench_vms:rest(Vms),
    Rows.

%%% Measuring

-spec measure(group(), pos_integer(), pos_integer()) -> [kv_bench:row()].
measure({Operation, Processes, Bytes, Keys, Readers}, Round, Ms) ->
    {Front, Back} = lists:split(Round rem length(Readers), Readers),
    [
        #row{
            part = reads,
            operation = Operation,
            callers = Processes,
            bytes = Bytes,
            contender = Name,
            round = Round,
            metric = ns,
            value = by(Processes, Read, Keys, Ms) / reads_in(element(1, Keys))
        }
     || {Name, Read} <- Back ++ Front
    ].

reads_in(Keys) when is_list(Keys) -> length(Keys);
reads_in(_Key) -> 1.

%% Nanoseconds of one read, with so many processes that read at once.
by(Processes, Read, Keys, Ms) ->
    Parent = self(),
    Readers = [spawn_monitor(fun() -> Parent ! {self(), timed(Read, Keys, Ms)} end) || _ <- lists:seq(1, Processes)],
    Took = [
        receive
            {Pid, Ns} -> true = demonitor(Monitor, [flush]), Ns;
            {'DOWN', Monitor, process, Pid, Reason} -> error({reader_died, Reason})
        end
     || {Pid, Monitor} <- Readers
    ],
    lists:sum(Took) / Processes.

timed(Read, Keys, Ms) ->
    Batch = max(1, ?BATCH div reads_in(element(1, Keys))),
    _ = batch(Read, Keys, 1, Batch),
    Begin = erlang:monotonic_time(nanosecond),
    until(Begin + Ms * 1000000, Begin, Read, Keys, Batch, 1, 0).

until(End, Begin, Read, Keys, Batch, At, Done) ->
    Next = batch(Read, Keys, At, Batch),
    case erlang:monotonic_time(nanosecond) of
        Now when Now >= End -> (Now - Begin) / (Done + Batch);
        _ -> until(End, Begin, Read, Keys, Batch, Next, Done + Batch)
    end.

batch(_Read, _Keys, At, 0) ->
    At;
batch(Read, Keys, At, Left) ->
    _ = Read(element(At, Keys)),
    batch(Read, Keys, At rem tuple_size(Keys) + 1, Left - 1).
