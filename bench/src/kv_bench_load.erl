%% @doc Load: a number of callers, each with one call at a time, for a number of milliseconds.
-module(kv_bench_load).

-export([prepare/1, run/4, is_able/2, keys/1, key/1, value/0, microsecond/0]).

-export_type([operation/0, figures/0]).

%% mixed: one put to nine gets.
-type operation() :: get | put | mixed | get_many | put_many | pipelined | incr | update | transaction.
-type figures() :: #{
    %% Calls a second.
    rate := float(),
    %% Microseconds of a call. Unknown if calls are counted in batches.
    p50 := non_neg_integer() | undefined,
    p99 := non_neg_integer() | undefined,
    max := non_neg_integer() | undefined,
    %% Nanoseconds of processor time for one call, in the contender's process and in this VM.
    server_ns := float() | undefined,
    client_ns := float()
}.

-define(KEYS, 1000).
%% Operations of a transaction.
-define(TRANSACTION, 10).
%% Requests that are under way at a time.
-define(PIPELINE, 100).
%% Limit on the size of all values together: there are fewer keys if values are large.
-define(STORED, 64 * 1024 * 1024).
%% Read in place, not copied.
-define(KEYS_TERM, {?MODULE, keys}).
-define(VALUE_TERM, {?MODULE, value}).
%% Callers work for this long before it counts.
-define(WARM_UP_MS, 100).
%% A caller that has not answered by then is stuck.
-define(DEADLINE, 60000).

%% @doc The keys of the bench: a thousand binaries of 20 bytes, fewer for large values.
-spec keys(pos_integer()) -> [binary()].
keys(ValueSize) ->
    [key(I) || I <- lists:seq(1, min(?KEYS, ?STORED div ValueSize))].

%% @doc One key; the number may exceed that of the last key.
-spec key(non_neg_integer()) -> binary().
key(Number) ->
    <<"key-", (binary:encode_hex(<<Number:64>>))/binary>>.

%% @doc The value that is put: set by prepare/1.
-spec value() -> binary().
value() ->
    persistent_term:get(?VALUE_TERM).

%% @doc Sets the size of values. Fill the contenders again afterwards.
-spec prepare(pos_integer()) -> ok.
prepare(ValueSize) ->
    persistent_term:put(?KEYS_TERM, list_to_tuple(keys(ValueSize))),
    persistent_term:put(?VALUE_TERM, binary:copy(<<"v">>, ValueSize)).

%% @doc Callers make calls for Ms milliseconds. Each has its own state of the contender.
-spec run(kv_bench_contender:t(), operation(), pos_integer(), pos_integer()) -> figures().
run(Contender, Operation, Callers, Ms) ->
    Before = process_flag(priority, high),
    Histogram = kv_bench_histogram:new(),
    Parent = self(),
    Function = function(Operation, Contender),
    Pids = [
        spawn_monitor(fun() -> caller(Parent, Contender, Function, Histogram, Number) end)
     || Number <- lists:seq(1, Callers)
    ],
    _ = [receive_from(Caller, ready) || Caller <- Pids],
    From = erlang:monotonic_time(nanosecond) + ?WARM_UP_MS * 1000000,
    To = From + Ms * 1000000,
    _ = [Pid ! {go, From, To} || {Pid, _Monitor} <- Pids],
    Processor = processor(Contender, From, To),
    Calls = lists:sum([receive_from(Caller, calls) || Caller <- Pids]),
    _ = process_flag(priority, Before),
    figures(Calls / ((To - From) / 1.0e9), Processor, Contender, Histogram).

%% The number selects the key.
function(get, #{get := Get}) ->
    fun(State, Number) -> Get(State, pick(Number)) end;
function(put, #{put := Put}) ->
    fun(State, Number) -> Put(State, pick(Number), value()) end;
function(mixed, #{get := Get, put := Put}) ->
    fun
        (State, Number) when Number rem 10 =:= 0 -> Put(State, pick(Number), value());
        (State, Number) -> Get(State, pick(Number))
    end;
function(get_many, #{get_many := GetMany}) ->
    Keys = tuple_to_list(persistent_term:get(?KEYS_TERM)),
    fun(State, _Number) -> GetMany(State, Keys) end;
function(pipelined, #{pipelined := Pipelined}) ->
    Keys = lists:sublist(tuple_to_list(persistent_term:get(?KEYS_TERM)), ?PIPELINE),
    fun(State, _Number) -> Pipelined(State, Keys) end;
function(incr, #{incr := Incr}) ->
    fun(State, Number) -> Incr(State, counter(Number)) end;
function(update, #{update := Update}) ->
    Work = microsecond(),
    fun(State, _Number) -> Update(State, counter(0), Work) end;
function(transaction, #{transaction := Transaction}) ->
    Value = value(),
    fun(State, Number) -> Transaction(State, [{pick(Number + I * 256), Value} || I <- lists:seq(1, ?TRANSACTION)]) end;
function(put_many, #{put_many := PutMany}) ->
    Value = value(),
    Entries = [{Key, Value} || Key <- tuple_to_list(persistent_term:get(?KEYS_TERM))],
    fun(State, _Number) -> PutMany(State, Entries) end.

%% Keys that hold numbers.
counter(Number) ->
    key((1 bsl 32) + (Number bsr 8) rem ?KEYS).

%% @doc Returns a function that adds one to a number, and takes about a microsecond.
-spec microsecond() -> fun((integer()) -> integer()).
microsecond() ->
    Rounds = 200000,
    {Us, _} = timer:tc(fun() -> busy(Rounds, 0) end),
    Each = max(1, Rounds div max(1, Us)),
    fun(N) -> N + 1 + busy(Each, 0) * 0 end.

busy(0, Sum) -> Sum;
busy(Left, Sum) -> busy(Left - 1, (Sum * 31 + Left) band 16#ffff).

pick(Number) ->
    Keys = persistent_term:get(?KEYS_TERM),
    element((Number bsr 8) rem tuple_size(Keys) + 1, Keys).

%% @doc Returns true if a contender supports the operation.
-spec is_able(kv_bench_contender:t(), operation()) -> boolean().
is_able(Contender, Operation) when Operation =:= get_many; Operation =:= put_many; Operation =:= pipelined -> is_map_key(Operation, Contender);
is_able(Contender, Operation) when Operation =:= incr; Operation =:= update; Operation =:= transaction -> is_map_key(Operation, Contender);
is_able(_Contender, _Operation) -> true.

figures(Rate, {Server, Client}, Contender, Histogram) ->
    Percentile = fun(Share) ->
        case Contender of
            #{batch := 1} -> kv_bench_histogram:percentile(Histogram, Share);
            #{} -> undefined
        end
    end,
    #{
        rate => Rate,
        p50 => Percentile(0.5),
        p99 => Percentile(0.99),
        max => Percentile(1),
        server_ns => per_call(Server, Rate),
        client_ns => per_call(Client, Rate)
    }.

per_call(undefined, _Rate) -> undefined;
per_call(Share, Rate) -> Share * 1.0e9 / max(Rate, 1.0).

%% How many processors the contender's process and this VM keep busy between two moments. The moments themselves are
%% measured, because on a busy machine they come later than asked for.
processor(Contender, From, To) ->
    Before = used(Contender, From),
    After = used(Contender, To),
    share(Before, After).

used(Contender, When) ->
    sleep_until(When),
    Server = server_ns(Contender),
    Client = kv_bench_os:processor_ns(list_to_integer(os:getpid())),
    {erlang:monotonic_time(nanosecond), Server, Client}.

server_ns(#{os_pid := undefined}) -> undefined;
server_ns(#{os_pid := OsPid}) -> kv_bench_os:processor_ns(OsPid).

share({Before, undefined, ClientBefore}, {After, undefined, ClientAfter}) ->
    {undefined, (ClientAfter - ClientBefore) / (After - Before)};
share({Before, ServerBefore, ClientBefore}, {After, ServerAfter, ClientAfter}) ->
    {(ServerAfter - ServerBefore) / (After - Before), (ClientAfter - ClientBefore) / (After - Before)}.

sleep_until(Time) ->
    timer:sleep(max(0, (Time - erlang:monotonic_time(nanosecond)) div 1000000)).

receive_from({Pid, Monitor}, What) ->
    receive
        {Pid, ready} when What =:= ready -> ok;
        {Pid, Calls} when What =:= calls, is_integer(Calls) ->
            true = demonitor(Monitor, [flush]),
            Calls;
        {'DOWN', Monitor, process, Pid, Reason} ->
            error({caller_died, Reason})
    after ?DEADLINE -> error({caller_is_stuck, What})
    end.

%%% A caller

caller(Parent, #{open := Open, close := Close, batch := Batch}, Operation, Histogram, Number) ->
    State = Open(Number),
    Parent ! {self(), ready},
    receive
        {go, From, To} ->
            Start = erlang:monotonic_time(nanosecond),
            Calls = loop(Operation, State, Batch, Histogram, From, To, Number * 7919, Start, 0),
            _ = Close(State),
            Parent ! {self(), Calls}
    end.

%% One look at the clock for each call: it ends one call and begins the next.
loop(Operation, State, Batch, Histogram, From, To, Seed, Before, Calls) ->
    Next = repeat(Batch, Operation, State, Seed),
    case erlang:monotonic_time(nanosecond) of
        Now when Now >= To ->
            Calls;
        Now when Before >= From ->
            kv_bench_histogram:add(Histogram, (Now - Before) div 1000),
            loop(Operation, State, Batch, Histogram, From, To, Next, Now, Calls + Batch);
        Now ->
            loop(Operation, State, Batch, Histogram, From, To, Next, Now, Calls)
    end.

repeat(0, _Operation, _State, Seed) ->
    Seed;
repeat(Left, Operation, State, Seed) ->
    _ = Operation(State, Seed),
    repeat(Left - 1, Operation, State, (Seed * 1103515245 + 12345) band 16#7fffffff).
