%% @doc State that one kv_node leaves to its successor: how many times in a row the node has failed, and which
%% operating system process it owned.
%%
%% A program that cannot start, or ends as soon as it runs, would use up the intensity of its supervisor within
%% milliseconds. So kv_node counts failures, and takes one off the count for each second that a program ran. With a
%% count of four the next start waits 100 ms, with five 200 ms, and so on up to 5 s. That keeps a node below 20 starts
%% in any 10 seconds: three at once, one per second, and a few between the waits. A program that is killed at most
%% once a second never waits.
%% @private
-module(kv_backoff).

-export([new/0, of_options/1, wait/1, delay/1, failed/1, ended/2, failures/1]).
-export([own/2, disown/1, owned/1, orphaned/1, is_first/1, served/1]).

-export_type([t/0]).

-type t() :: atomics:atomics_ref().

-define(FAILURES, 1).
-define(OS_PID, 2).
-define(STARTED, 3).
-define(SERVED, 4).
-define(LOST, 5).
-define(FIELDS, 5).
-define(FREE_FAILURES, 3).
-define(FIRST_DELAY, 100).
-define(LONGEST_DELAY, 5000).
%% Milliseconds of uptime that make up for one failure.
-define(REDEMPTION, 1000).

-spec new() -> t().
new() ->
    atomics:new(?FIELDS, []).

%% @doc Returns the backoff of a supervisor that keeps one, or a new one.
-spec of_options(kv_node_options:t()) -> t().
of_options(#{backoff := undefined}) -> new();
of_options(#{backoff := Backoff}) -> Backoff.

%% @doc Waits for as long as the number of failures requires.
-spec wait(t()) -> ok.
wait(Backoff) ->
    timer:sleep(delay(failures(Backoff))).

%% @doc Returns the milliseconds to wait after this many failures in a row.
-spec delay(non_neg_integer()) -> non_neg_integer().
delay(Failures) when Failures =< ?FREE_FAILURES -> 0;
delay(Failures) -> min(?LONGEST_DELAY, ?FIRST_DELAY bsl min(16, Failures - ?FREE_FAILURES - 1)).

-spec failures(t()) -> non_neg_integer().
failures(Backoff) ->
    atomics:get(Backoff, ?FAILURES).

%% @doc Counts a start that has failed.
-spec failed(t()) -> ok.
failed(Backoff) ->
    atomics:add(Backoff, ?FAILURES, 1).

%% @doc Counts the end of a program that has run for Uptime milliseconds.
-spec ended(t(), non_neg_integer()) -> ok.
ended(Backoff, Uptime) ->
    ok = atomics:put(Backoff, ?LOST, erlang:monotonic_time(millisecond)),
    atomics:put(Backoff, ?FAILURES, max(0, failures(Backoff) + 1 - Uptime div ?REDEMPTION)).

%% @doc Remembers the operating system process, in case the kv_node that owns it is killed.
-spec own(t(), pos_integer()) -> ok.
own(Backoff, OsPid) ->
    ok = atomics:put(Backoff, ?STARTED, erlang:monotonic_time(millisecond)),
    atomics:put(Backoff, ?OS_PID, OsPid).

-spec disown(t()) -> ok.
disown(Backoff) ->
    atomics:put(Backoff, ?OS_PID, 0).

-spec owned(t()) -> pos_integer() | undefined.
owned(Backoff) ->
    case atomics:get(Backoff, ?OS_PID) of
        0 -> undefined;
        OsPid -> OsPid
    end.

%% @doc Called when the kv_node that owned the process was killed: counts as the end of the program.
-spec orphaned(t()) -> ok.
orphaned(Backoff) ->
    ok = disown(Backoff),
    ended(Backoff, erlang:monotonic_time(millisecond) - atomics:get(Backoff, ?STARTED)).

%% @doc Returns `true' until the first program has served.
-spec is_first(t()) -> boolean().
is_first(Backoff) ->
    atomics:get(Backoff, ?SERVED) =:= 0.

%% @doc Called when a program serves. Returns `first', or how many milliseconds ago its predecessor ended.
-spec served(t()) -> first | {back_after, non_neg_integer()}.
served(Backoff) ->
    case atomics:exchange(Backoff, ?SERVED, 1) of
        0 -> first;
        1 -> {back_after, erlang:monotonic_time(millisecond) - atomics:get(Backoff, ?LOST)}
    end.
