%% @doc Other VMs: one that writes to a bucket as fast as it can, and some that read it, or read ETS tables of their own.
%%
%% They are started once and get commands. {@link work/3} runs in them.
-module(kv_bench_vms).

-export([start/2, stop/1, write/3, rest/1, round/3]).
-export([begin_work/2, tell/1, count/0, work/3]).

-export_type([t/0]).

-include("kv_bench.hrl").

-type vm() :: pid().
-type t() :: #{writer := vm(), readers := [vm()], bucket := pid(), entries := pos_integer()}.
-type work() :: idle | {write, pid(), pos_integer()} | {read, reader(), rate()}.
-type reader() :: kv_local | local_ets.
%% Reads a second of one VM.
-type rate() :: full | pos_integer().

-define(READERS, 4).
-define(MODEST, 10000).
-define(VALUE_BITS, 256).
-define(KEYS, 20000).
-define(CHUNK, 1000).
-define(BATCH, 200).
%% Requests of the writer that are under way at a time.
-define(PIPELINE, 64).
-define(SETTLE_MS, 200).
-define(TIMEOUT, 60000).
-define(COUNTER, {?MODULE, counter}).

%% @doc Starts the VMs, all idle. The bucket has so many entries.
-spec start(pid(), pos_integer()) -> t().
start(Bucket, Entries) ->
    [Writer | Readers] = [vm() || _ <- lists:seq(0, ?READERS)],
    _ = [ok = peer:call(Vm, ?MODULE, begin_work, [Bucket, Entries], ?TIMEOUT) || Vm <- [Writer | Readers]],
    #{writer => Writer, readers => Readers, bucket => Bucket, entries => Entries}.

%% Their schedulers do not busy-wait: with more of them than processors, the waiting would dominate the figures.
vm() ->
    {ok, Vm, _Node} = peer:start(#{
        name => lists:concat(["bench_vm_", os:getpid(), "_", erlang:unique_integer([positive])]),
        host => "127.0.0.1",
        longnames => true,
        connection => standard_io,
        shutdown => close,
        args => ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
            "-setcookie", atom_to_list(erlang:get_cookie()), "-pa" | code:get_path()]
    }),
    Vm.

-spec stop(t()) -> ok.
stop(#{writer := Writer, readers := Readers}) ->
    lists:foreach(fun peer:stop/1, [Writer | Readers]).

%% @doc From now on the writer writes to that bucket.
-spec write(t(), pid(), pos_integer()) -> ok.
write(#{writer := Writer}, Bucket, Entries) ->
    ok = told(Writer, {write, Bucket, Entries}),
    timer:sleep(?SETTLE_MS).

%% @doc Makes all VMs idle again.
-spec rest(t()) -> ok.
rest(#{writer := Writer, readers := Readers}) ->
    lists:foreach(fun(Vm) -> told(Vm, idle) end, [Writer | Readers]).

told(Vm, Work) ->
    peer:call(Vm, ?MODULE, tell, [Work], ?TIMEOUT).

%% @doc Reads from 1, 2 and 4 VMs, and writes while they read.
-spec round(t(), pos_integer(), pos_integer()) -> [kv_bench:row()].
round(Vms, Round, Ms) ->
    Counts = [1, 2, ?READERS],
    Kinds = turned(Round, [kv_local, local_ets]),
    Quiet = [
        row(vms_get, Count, Kind, Round, Rate)
     || Count <- Counts, Kind <- Kinds, {_, Rate} <- [rates(Vms, idle, {Count, Kind, full}, Ms div 2)]
    ],
    Write = {write, map_get(bucket, Vms), map_get(entries, Vms)},
    {Alone, _} = rates(Vms, Write, {0, kv_local, full}, Ms),
    Full = [{writes, vms_get_written, Count, Kind, full} || Count <- Counts, Kind <- Kinds],
    Modest = [{writes_at_modest, vms_get_modest, ?READERS, Kind, ?MODEST} || Kind <- Kinds],
    Quiet ++ lists:append([
        [row(Operation, Count, nobody, Round, Alone) || {Operation, Count} <- [{writes, Count} || Count <- Counts] ++ [{writes_at_modest, ?READERS}]]
        | [
            [row(Writes, Count, Kind, Round, Written), row(Reads, Count, Kind, Round, Read)]
         || {Writes, Reads, Count, Kind, Rate} <- Full ++ Modest, {Written, Read} <- [rates(Vms, Write, {Count, Kind, Rate}, Ms)]
        ]
    ]).

turned(Round, Kinds) when Round rem 2 =:= 0 -> lists:reverse(Kinds);
turned(_Round, Kinds) -> Kinds.

row(Operation, Count, Contender, Round, Value) ->
    #row{
        part = reads,
        operation = Operation,
        callers = Count,
        bytes = ?VALUE_BITS div 8,
        contender = Contender,
        round = Round,
        metric = rate,
        value = Value
    }.

%% Writes, and reads of all readers together, per second.
rates(#{writer := Writer, readers := Readers} = Vms, Write, {Count, Kind, Rate}, Ms) ->
    Reading = lists:sublist(Readers, Count),
    _ = [ok = told(Vm, {read, Kind, Rate}) || Vm <- Reading],
    ok = told(Writer, Write),
    timer:sleep(?SETTLE_MS),
    Before = [counted(Vm) || Vm <- [Writer | Reading]],
    timer:sleep(Ms),
    After = [counted(Vm) || Vm <- [Writer | Reading]],
    ok = rest(Vms),
    [Written | Read] = [1.0e9 * (B - A) / (T - S) || {{S, A}, {T, B}} <- lists:zip(Before, After)],
    {Written, lists:sum(Read)}.

counted(Vm) ->
    peer:call(Vm, ?MODULE, count, [], ?TIMEOUT).

%%% In the other VM

%% @private
-spec begin_work(pid(), pos_integer()) -> ok.
begin_work(Bucket, Entries) ->
    true = net_kernel:connect_node(node(Bucket)),
    on = kv_watcher:start(node(Bucket), true),
    persistent_term:put(?COUNTER, counters:new(1, [])),
    Parent = self(),
    Ref = make_ref(),
    _ = spawn(fun() ->
        true = register(?MODULE, self()),
        Table = ets:new(?MODULE, [{read_concurrency, true}]),
        _ = [
            true = ets:insert(Table, [{key(N), value(N)} || N <- lists:seq(First, First + ?CHUNK - 1)])
         || First <- lists:seq(1, Entries, ?CHUNK)
        ],
        Parent ! Ref,
        Keys = list_to_tuple([key(rand:uniform(Entries)) || _ <- lists:seq(1, ?KEYS)]),
        work(idle, Keys, #{kv_local => Bucket, local_ets => Table})
    end),
    receive
        Ref -> ok
    end.

key(N) -> kv_bench_load:key(N).
value(N) -> <<N:?VALUE_BITS>>.

%% @private
-spec tell(work()) -> ok.
tell(Work) ->
    ?MODULE ! {work, Work},
    ok.

%% @private
%% @doc The time in nanoseconds, and how much has been done.
-spec count() -> {integer(), non_neg_integer()}.
count() ->
    {erlang:monotonic_time(nanosecond), counters:get(persistent_term:get(?COUNTER), 1)}.

%% @private
-spec work(work(), tuple(), #{reader() => pid() | ets:table()}) -> no_return().
work(idle, Keys, Sources) ->
    receive
        {work, Next} -> work(Next, Keys, Sources)
    end;
work({write, Bucket, Entries} = Work, Keys, Sources) ->
    Requests = [kv_bucket:async(Bucket, put, [key(rand:uniform(Entries)), value(N)]) || N <- lists:seq(1, ?PIPELINE)],
    _ = kv_bucket:await_many(Requests),
    ok = done(?PIPELINE),
    receive
        {work, Next} -> work(Next, Keys, Sources)
    after 0 -> work(Work, Keys, Sources)
    end;
work({read, Kind, Rate}, Keys, Sources) ->
    Next = reading(reader(Kind, map_get(Kind, Sources)), Keys, Rate, erlang:monotonic_time(microsecond), 0),
    work(Next, Keys, Sources).

reader(kv_local, Bucket) -> fun(Key) -> 'Elixir.KV.Bucket':get(Bucket, Key) end;
reader(local_ets, Table) -> fun(Key) -> ets:lookup(Table, Key) end.

%% With a rate: does the work that is due, then pauses.
reading(Read, Keys, Rate, Begin, Done) ->
    {Due, Pause} = due(Rate, Begin, Done),
    ok = read(Read, Keys, Done, Due),
    ok = done(Due),
    receive
        {work, Next} -> Next
    after Pause -> reading(Read, Keys, Rate, Begin, Done + Due)
    end.

due(full, _Begin, _Done) -> {?BATCH, 0};
due(Rate, Begin, Done) -> {max(0, Rate * (erlang:monotonic_time(microsecond) - Begin) div 1000000 - Done), 1}.

read(_Read, _Keys, _At, 0) ->
    ok;
read(Read, Keys, At, Left) ->
    _ = Read(element(At rem tuple_size(Keys) + 1, Keys)),
    read(Read, Keys, At + 1, Left - 1).

done(Number) ->
    counters:add(persistent_term:get(?COUNTER), 1, Number).
