%% @doc Calls without a message: put, get and incr of a VM that shares the node's memory, beside ETS, a local process and the same
%% calls by message.
%%
%% A round measures each cell once, the contenders of a cell one after the other, so that ratios can be taken within it. `ns' is the
%% time that passes for one operation of all callers together.
-module(kv_bench_lane).

-export([run/1]).
%% A process that keeps a map.
-export([init/1, handle_call/3, handle_cast/2]).

-include("kv_bench.hrl").

-define(NODE, kv_bench_lane_node).
-define(KEYS, 1000).
-define(BATCH, 50).
-define(TIMEOUT, 60000).
-define(MANY, 100).

-type kind() :: binary | integer | map.
-type contender() :: {kv_bench_contender:name(), fun((Key :: term(), Value :: term()) -> term())}.
-type group() :: {Operation :: atom(), Keys :: tuple(), Values :: tuple(), [contender()]}.

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{rounds := Rounds, ms := Ms}) ->
    io:format("~nlane: put, get and incr of ~b keys~n", [?KEYS]),
    {Node, Tables} = start(),
    Groups = lists:append([groups(Kind, Tables) || Kind <- [binary, integer, map]]) ++ [many(Tables)],
    Rows = [
        row(Group, Callers, Round, Contender, max(1, Ms div 5))
     || Round <- lists:seq(1, Rounds), Group <- Groups, Callers <- [1, 16, 64, 256], Contender <- turned(Round, element(4, Group))
    ],
    More = lists:append([busy(Round, Tables, max(1, Ms div 2)) ++ paced(Round, Tables, Ms) || Round <- lists:seq(1, Rounds)]),
    ok = stop(Node, Tables),
    Rows ++ More.

start() ->
    Name = lists:concat(["bench_lane_", os:getpid(), "@127.0.0.1"]),
    {ok, Node} = kv_node:start_link(?NODE, [{node_name, list_to_atom(Name)}, {local, all}]),
    #{lane := on} = kv_node:info(?NODE),
    {ok, Proxy} = kv_bucket:start_link([{node, ?NODE}]),
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    Ets = ets:new(?MODULE, [public, {write_concurrency, true}, {read_concurrency, true}]),
    {Node, #{proxy => Proxy, bucket => kv_proxy:native(Proxy), server => Server, ets => Ets}}.

stop(Node, #{proxy := Proxy, server := Server, ets := Ets}) ->
    ok = kv_bucket:stop(Proxy),
    ok = gen_server:stop(Server),
    true = ets:delete(Ets),
    gen_server:stop(Node).

turned(Round, Contenders) ->
    {Front, Back} = lists:split(Round rem length(Contenders), Contenders),
    Back ++ Front.

%%% Cells

-spec groups(kind(), map()) -> [group()].
groups(Kind, Tables) ->
    Keys = list_to_tuple([key(Kind, N) || N <- lists:seq(1, ?KEYS)]),
    Values = list_to_tuple([value(Kind, N) || N <- lists:seq(1, ?KEYS)]),
    [{lane_put(Kind), Keys, Values, puts(Tables)}, {lane_get(Kind), Keys, Values, gets(Tables)}] ++
        [{lane_incr, Keys, Values, incrs(Tables)} || Kind =:= integer].

key(integer, N) -> N;
key(_Kind, N) -> kv_bench_load:key(N).

value(binary, _N) -> <<"ten bytes.">>;
value(integer, N) -> N;
value(map, N) -> #{id => N, name => <<"x">>}.

lane_put(Kind) -> list_to_atom(lists:concat(["lane_put_", Kind])).

lane_get(Kind) -> list_to_atom(lists:concat(["lane_get_", Kind])).

%% Reads that need no call are faster still: the part `reads'. Here the node answers.
puts(#{bucket := Bucket, server := Server, ets := Ets}) ->
    [
        {kv_lane, fun(Key, Value) -> ok = kv_bucket:put(Bucket, Key, Value) end},
        {local_ets, fun(Key, Value) -> true = ets:insert(Ets, {Key, Value}) end},
        {local_server, fun(Key, Value) -> ok = gen_server:call(Server, {put, Key, Value}, ?TIMEOUT) end},
        {kv_bucket, fun(Key, Value) -> ok = kv_call:call(Bucket, {put, Key, Value}, ?TIMEOUT) end}
    ].

gets(#{bucket := Bucket, server := Server, ets := Ets}) ->
    [
        {kv_lane, fun(Key, _) -> kv_lane:call(Bucket, {fetch, Key}, ?TIMEOUT) end},
        {local_ets, fun(Key, _) -> ets:lookup(Ets, Key) end},
        {local_server, fun(Key, _) -> gen_server:call(Server, {get, Key}, ?TIMEOUT) end},
        {kv_bucket, fun(Key, _) -> kv_call:call(Bucket, {fetch, Key}, ?TIMEOUT) end}
    ].

incrs(#{bucket := Bucket, server := Server, ets := Ets}) ->
    [
        {kv_lane, fun(Key, _) -> kv_bucket:incr(Bucket, Key) end},
        {local_ets, fun(Key, _) -> ets:update_counter(Ets, Key, 1, {Key, 0}) end},
        {local_server, fun(Key, _) -> gen_server:call(Server, {incr, Key}, ?TIMEOUT) end},
        {kv_bucket, fun(Key, _) -> kv_call:call(Bucket, {incr, Key, 1}, ?TIMEOUT) end}
    ].

%% Entries in the place of values.
many(#{bucket := Bucket, ets := Ets}) ->
    Entries = [{kv_bench_load:key(N), <<"ten bytes.">>} || N <- lists:seq(1, ?MANY)],
    {lane_put_many, {none}, {Entries}, [
        {kv_lane, fun(_, All) -> ok = kv_bucket:put_many(Bucket, All) end},
        {local_ets, fun(_, All) -> true = ets:insert(Ets, All) end}
    ]}.

%%% Beside other programs, and with pauses

%% As many programs as processors, which do nothing but loop.
busy(Round, Tables, Ms) ->
    Programs = [program() || _ <- lists:seq(1, erlang:system_info(logical_processors_available))],
    Group = remote(lane_put_busy, Tables),
    Rows = [row(Group, Callers, Round, Contender, Ms) || Callers <- [1, 256], Contender <- turned(Round, element(4, Group))],
    ok = lists:foreach(fun finish/1, Programs),
    Rows.

%% It ends by itself if this VM cannot end it.
program() ->
    Loop = ["120", "/bin/sh", "-c", "while :; do :; done"],
    open_port({spawn_executable, os:find_executable("timeout")}, [{args, Loop}, exit_status]).

finish(Program) ->
    {os_pid, OsPid} = erlang:port_info(Program, os_pid),
    _ = os:cmd(lists:concat(["kill ", OsPid])),
    receive
        {Program, {exit_status, _}} -> ok
    end.

%% One caller that waits between two calls: the time of the call alone.
paced(Round, Tables, Ms) ->
    [
        with_value(row_of(Group, 1, Round, Name), paced_ns(Do, Group, Us, Ms))
     || {Operation, Us} <- [{lane_put_each_100us, 100}, {lane_put_each_ms, 1000}],
        Group <- [remote(Operation, Tables)],
        {Name, Do} <- turned(Round, element(4, Group))
    ].

paced_ns(Do, {_, Keys, Values, _}, Us, Ms) ->
    Times = [
        begin
            ok = pause(Us),
            Begin = erlang:monotonic_time(nanosecond),
            _ = Do(element(1, Keys), element(1, Values)),
            erlang:monotonic_time(nanosecond) - Begin
        end
     || _ <- lists:seq(1, Ms * 1000 div Us)
    ],
    lists:nth((length(Times) + 1) div 2, lists:sort(Times)).

%% The clock of `receive' has milliseconds.
pause(Us) when Us >= 1000 -> timer:sleep(Us div 1000);
pause(Us) -> pause_until(erlang:monotonic_time(nanosecond) + Us * 1000).

pause_until(End) ->
    case erlang:monotonic_time(nanosecond) < End of
        true -> pause_until(End);
        false -> ok
    end.

%% Puts of binaries, by the lane and by message.
remote(Operation, Tables) ->
    Keys = list_to_tuple([key(binary, N) || N <- lists:seq(1, ?KEYS)]),
    Values = list_to_tuple([value(binary, N) || N <- lists:seq(1, ?KEYS)]),
    {Operation, Keys, Values, [Contender || {Name, _} = Contender <- puts(Tables), lists:member(Name, [kv_lane, kv_bucket])]}.

%%% Measuring

-spec row(group(), pos_integer(), pos_integer(), contender(), pos_integer()) -> kv_bench:row().
row({_, Keys, Values, _} = Group, Callers, Round, {Name, Do}, Ms) ->
    with_value(row_of(Group, Callers, Round, Name), measured(Callers, Do, Keys, Values, Ms)).

with_value(Row, Value) -> Row#row{value = Value}.

row_of({Operation, _, Values, _}, Callers, Round, Name) ->
    #row{
        part = lane,
        operation = Operation,
        callers = Callers,
        bytes = byte_size(term_to_binary(element(1, Values))),
        contender = Name,
        round = Round,
        metric = ns
    }.

%% Nanoseconds that pass for one operation, of so many callers together.
measured(Callers, Do, Keys, Values, Ms) ->
    Parent = self(),
    Working = [
        spawn_monitor(fun() ->
            _ = batch(Do, Keys, Values, Caller * 17),
            Parent ! {self(), until(erlang:monotonic_time(nanosecond) + Ms * 1000000, Do, Keys, Values, Caller * 31, 0)}
        end)
     || Caller <- lists:seq(1, Callers)
    ],
    Begin = erlang:monotonic_time(nanosecond),
    Done = [
        receive
            {Pid, Count} -> true = demonitor(Monitor, [flush]), Count;
            {'DOWN', Monitor, process, Pid, Reason} -> error({caller_died, Reason})
        end
     || {Pid, Monitor} <- Working
    ],
    (erlang:monotonic_time(nanosecond) - Begin) / lists:sum(Done).

until(End, Do, Keys, Values, At, Done) ->
    Next = batch(Do, Keys, Values, At),
    case erlang:monotonic_time(nanosecond) >= End of
        true -> Done + ?BATCH;
        false -> until(End, Do, Keys, Values, Next, Done + ?BATCH)
    end.

batch(Do, Keys, Values, At) ->
    lists:foldl(
        fun(_, Last) ->
            Next = Last rem tuple_size(Keys) + 1,
            _ = Do(element(Next, Keys), element(Next, Values)),
            Next
        end,
        At rem tuple_size(Keys),
        lists:seq(1, ?BATCH)
    ).

%%% The local process

-spec init([]) -> {ok, map()}.
init([]) -> {ok, #{}}.

-spec handle_call(term(), gen_server:from(), map()) -> {reply, term(), map()}.
handle_call({put, Key, Value}, _From, Map) -> {reply, ok, Map#{Key => Value}};
handle_call({get, Key}, _From, Map) -> {reply, maps:find(Key, Map), Map};
handle_call({incr, Key}, _From, Map) ->
    Value = maps:get(Key, Map, 0) + 1,
    {reply, Value, Map#{Key => Value}}.

-spec handle_cast(term(), map()) -> {noreply, map()}.
handle_cast(_Request, Map) -> {noreply, Map}.
