%% @doc Events for the library `telemetry', if it is there. docs/telemetry.md lists the events.
%%
%% kv does not depend on the library. Handlers are attached by functions of the module `telemetry', so while that module is not
%% loaded, there is no handler, and events are not made.
-module(kv_telemetry).

-export([measure/1, slow_request/1, events/0]).
-export([bucket/4, call/4]).

%% An atom: each call looks for it.
-define(SLOW, ?MODULE).

%% @doc Executes the event `[kv, bucket, stats]' with the numbers of {@link kv_bucket:stats/1}. Does nothing if the bucket does not
%% answer, so that a poller goes on. For `telemetry_poller':
%%
%% `{measurements, [{kv_telemetry, measure, [sessions]}]}'
-spec measure(kv_bucket:t()) -> ok.
measure(Bucket) ->
    try kv_bucket:stats(Bucket) of
        Stats -> execute([kv, bucket, stats], maps:filter(fun(_, Value) -> is_integer(Value) end, Stats), #{bucket => Bucket})
    catch
        exit:_ -> ok
    end.

%% @doc From now on each call to a bucket that takes longer than Ms milliseconds executes `[kv, request, slow]', in the process that
%% has called. `infinity', as at the start of the VM, turns that off. Reads without a call, `async' and `cast' do not count.
%% The option `slow_request' of {@link kv_node} calls this function whenever its node starts in this VM.
-spec slow_request(non_neg_integer() | infinity) -> ok.
slow_request(infinity) ->
    _ = persistent_term:erase(?SLOW),
    ok;
slow_request(Ms) when is_integer(Ms), Ms >= 0 ->
    persistent_term:put(?SLOW, Ms).

%% @doc Returns the names of all events, for `telemetry:attach_many/4'.
-spec events() -> [[atom(), ...]].
events() ->
    [[kv, bucket, started], [kv, bucket, restored], [kv, bucket, lost], [kv, bucket, stopped], [kv, bucket, stats], [kv, request, slow]].

%% @doc Called by the proxy of a bucket.
%% @private
-spec bucket(started | restored | lost | stopped, term(), pid() | undefined, map()) -> ok.
bucket(Event, Name, Native, More) ->
    execute([kv, bucket, Event], #{system_time => erlang:system_time()}, More#{bucket => self(), name => Name, native => Native}).

%% @doc Does what {@link kv_lane:call/3} does, and looks at the time if that is wanted.
%% @private
-spec call(gen_server:server_ref(), term(), timeout(), atom()) -> term().
call(Bucket, Message, Timeout, Function) ->
    case persistent_term:get(?SLOW, infinity) of
        infinity -> kv_lane:call(Bucket, Message, Timeout);
        Ms -> timed_call(Bucket, Message, Timeout, {Function, Ms})
    end.

timed_call(Bucket, Message, Timeout, {Function, Ms}) ->
    Start = erlang:monotonic_time(),
    try
        kv_lane:call(Bucket, Message, Timeout)
    after
        Duration = erlang:monotonic_time() - Start,
        _ = Duration > erlang:convert_time_unit(Ms, millisecond, native) andalso
            execute([kv, request, slow], #{duration => Duration}, #{bucket => Bucket, function => Function})
    end.

execute(Event, Measurements, Metadata) ->
    case erlang:function_exported(telemetry, execute, 3) of
        true -> _ = apply(telemetry, execute, [Event, Measurements, Metadata]), ok;
        false -> ok
    end.
