%% @doc Counts durations in microseconds, from many processes at once, and makes no garbage in any of them.
%%
%% Resolution: 1 us up to 1 ms, 16 us up to 64 ms, 1 ms up to 10 s.
-module(kv_bench_histogram).

-export([new/0, add/2, percentile/2]).

-export_type([t/0]).

-opaque t() :: counters:counters_ref().

-define(FINE, 1024).
-define(MIDDLE_STEP, 16).
-define(MIDDLE, 4096).
-define(COARSE_STEP, 1024).
-define(COARSE, 10240).
-define(SLOTS, (?FINE + ?MIDDLE + ?COARSE)).

-spec new() -> t().
new() ->
    counters:new(?SLOTS, [write_concurrency]).

-spec add(t(), non_neg_integer()) -> ok.
add(Histogram, Microseconds) ->
    counters:add(Histogram, slot(Microseconds), 1).

slot(Us) when Us < ?FINE -> Us + 1;
slot(Us) when Us < ?MIDDLE * ?MIDDLE_STEP -> ?FINE + Us div ?MIDDLE_STEP + 1;
slot(Us) -> min(?FINE + ?MIDDLE + Us div ?COARSE_STEP + 1, ?SLOTS).

%% The least duration of a slot.
value(Slot) when Slot =< ?FINE -> Slot - 1;
value(Slot) when Slot =< ?FINE + ?MIDDLE -> (Slot - ?FINE - 1) * ?MIDDLE_STEP;
value(Slot) -> (Slot - ?FINE - ?MIDDLE - 1) * ?COARSE_STEP.

%% @doc The duration that this share of all durations does not exceed; share 1 is the longest. 0 if nothing was counted.
-spec percentile(t(), number()) -> non_neg_integer().
percentile(Histogram, Share) ->
    Counts = [counters:get(Histogram, Slot) || Slot <- lists:seq(1, ?SLOTS)],
    Rank = max(1, ceil(lists:sum(Counts) * Share)),
    find(Counts, 1, Rank, 0).

find([], _Slot, _Rank, Last) -> Last;
find([0 | Counts], Slot, Rank, Last) -> find(Counts, Slot + 1, Rank, Last);
find([Count | _], Slot, Rank, _Last) when Count >= Rank -> value(Slot);
find([Count | Counts], Slot, Rank, _Last) -> find(Counts, Slot + 1, Rank - Count, value(Slot)).
