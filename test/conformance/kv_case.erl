%% @doc Building blocks for cases of the conformance suites. All of them run in the caller's VM.
-module(kv_case).

-export([bucket/1, bucket/2, registry/1, registry/2, spawned/1]).
-export([call/2, call_by/1, await_call/1, outcome/1, next/0, next/1, end_of/1, serve/1]).
-export([helper/0, trapping_helper/0, do/2, tell/2, finish/2]).
-export([other_creation/2, tell_event/3, reasons/0, deadly/0, unknown_requests/0]).

-define(DEADLINE, 5000).

%%% Processes of the node under test

-spec bucket(node()) -> pid().
bucket(Node) ->
    bucket(Node, []).

-spec bucket(node(), [tuple()]) -> pid().
bucket(Node, Options) ->
    spawn(Node, kv_bucket, init, [Options]).

-spec registry(node()) -> pid().
registry(Node) ->
    registry(Node, []).

-spec registry(node(), [tuple()]) -> pid().
registry(Node, Options) ->
    spawn(Node, kv_registry, init, [Options]).

%% The start function of a bare process, linked, for a supervisor.
-spec spawned(node()) -> {ok, pid()}.
spawned(Node) ->
    {ok, spawn_link(Node, kv_bucket, init, [[]])}.

%%% Asking

%% Chooses between gen_server:call/3 and the calls of kv_bucket: see kv_conformance:both_ways/1.
-spec call(gen_server:server_ref(), term()) -> term().
call(Server, Request) ->
    (persistent_term:get(?MODULE, gen_server)):call(Server, Request, ?DEADLINE).

-spec call_by(gen_server | kv_call | kv_local_call) -> ok.
call_by(Way) ->
    _ = application:load(kv),
    ok = application:set_env(kv, local_reads, Way =:= kv_local_call),
    %% When the watcher is started again, it opens the memory for local reads.
    ok = end_watch(whereis(kv_watcher)),
    persistent_term:put(?MODULE, Way).

end_watch(undefined) ->
    ok;
end_watch(Pid) ->
    Monitor = monitor(process, Pid),
    true = exit(Pid, kill),
    killed = down(Monitor),
    ok.

%% Returns how a fun ends.
-spec outcome(fun(() -> term())) -> {returned, term()} | {error | exit | throw, term()}.
outcome(Fun) ->
    try
        {returned, Fun()}
    catch
        Class:Reason -> {Class, Reason}
    end.

%% Returns the next message.
-spec next() -> term().
next() ->
    receive
        Message -> Message
    after ?DEADLINE -> error(no_message)
    end.

-spec next(non_neg_integer()) -> [term()].
next(Count) ->
    [next() || _ <- lists:seq(1, Count)].

%% A process that waits in a call has sent the call, and its monitor.
-spec await_call(pid()) -> ok.
await_call(Pid) ->
    kv_test:wait(fun() ->
        case process_info(Pid, [status, monitors]) of
            [{status, waiting}, {monitors, [_ | _]}] -> true;
            _ -> false
        end
    end).

%% Waits until a process has ended, and returns the reason.
-spec end_of(pid() | {atom(), node()}) -> term().
end_of(Process) ->
    down(monitor(process, Process)).

down(Monitor) ->
    receive
        {'DOWN', Monitor, process, _, Reason} -> Reason
    after ?DEADLINE -> error(still_alive)
    end.

%% Returns once a bucket has handled all earlier messages of this process.
-spec serve(gen_server:server_ref()) -> ok.
serve(Bucket) ->
    Size = call(Bucket, size),
    true = is_integer(Size),
    ok.

%%% Processes that do what they are told

-spec helper() -> pid().
helper() ->
    spawn(fun helping/0).

-spec trapping_helper() -> pid().
trapping_helper() ->
    Pid = helper(),
    _ = do(Pid, fun() -> process_flag(trap_exit, true) end),
    Pid.

helping() ->
    receive
        {do, From, Fun} ->
            From ! {self(), done, Fun()},
            helping();
        {tell, Fun} ->
            _ = Fun(),
            helping();
        {finish, Reason} ->
            exit(Reason)
    end.

%% Runs a fun in a helper, and returns its value.
-spec do(pid(), fun(() -> Result)) -> Result.
do(Helper, Fun) ->
    Helper ! {do, self(), Fun},
    receive
        {Helper, done, Result} -> Result
    after ?DEADLINE -> error(helper_hangs)
    end.

%% Runs a fun in a helper without waiting for it.
-spec tell(pid(), fun(() -> term())) -> ok.
tell(Helper, Fun) ->
    Helper ! {tell, Fun},
    ok.

-spec finish(pid(), term()) -> term().
finish(Helper, Reason) ->
    Monitor = monitor(process, Helper),
    Helper ! {finish, Reason},
    down(Monitor).

%% For sys:install/2: reports each event.
-spec tell_event(pid(), term(), term()) -> pid().
tell_event(Pid, Event, _Extra) ->
    Pid ! {event, element(1, Event)},
    Pid.

%%% Identifiers

%% The same pid or reference in another life of its node.
-spec other_creation(pid() | reference(), pos_integer()) -> pid() | reference().
other_creation(Identifier, Difference) ->
    case term_to_binary(Identifier, [{minor_version, 2}]) of
        <<131, 88, Rest/binary>> ->
            Before = byte_size(Rest) - 4,
            <<Id:Before/binary, Creation:32>> = Rest,
            binary_to_term(<<131, 88, Id/binary, (other(Creation, Difference)):32>>);
        <<131, 90, Words:16, 119, Length, Name:Length/binary, Creation:32, Rest/binary>> ->
            binary_to_term(<<131, 90, Words:16, 119, Length, Name/binary, (other(Creation, Difference)):32, Rest/binary>>)
    end.

other(Creation, Difference) ->
    (Creation + Difference) band 16#FFFFFFFF.

%%% Shared by many cases

%% Reasons to exit with.
-spec reasons() -> [term()].
reasons() ->
    [
        normal, shutdown, {shutdown, why}, kill, killed, crash, noproc, noconnection, undefined, [], {}, <<"binary">>, 17, 1.5,
        "text", {badarg, [{m, f, 1, []}]}, #{a => [b]}, self()
    ].

%% Reasons that end a process as an exit signal.
-spec deadly() -> [term()].
deadly() ->
    reasons() -- [normal].

-spec unknown_requests() -> [term()].
unknown_requests() ->
    [
        get, {get}, {get, a, b, c}, {put, a}, {put, a, b, c, d}, {}, {size}, {size, 1}, [], [get, a], "size", <<"size">>, 7,
        1.5, #{get => a}, {"get", a}, {1, 2}, {{get, a}}, fun erlang:node/0, {stop}, stop, {to_map}, sizes, siz, 'SIZE'
    ].
