%% @doc Deadlines.
%% @private
-module(kv_deadline).

-export([in/1, remaining/1]).

%% @doc Returns the time Timeout milliseconds from now, on the clock of erlang:monotonic_time/1.
-spec in(timeout()) -> integer() | infinity.
in(infinity) -> infinity;
in(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

%% @doc Returns how many milliseconds are left.
-spec remaining(integer() | infinity) -> timeout().
remaining(infinity) -> infinity;
remaining(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).
