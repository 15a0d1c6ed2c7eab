%% @doc Times by which something must have happened.
%% @private
-module(kv_deadline).

-export([in/1, remaining/1]).

%% @doc The time in so many milliseconds, on the clock of erlang:monotonic_time/1.
-spec in(timeout()) -> integer() | infinity.
in(infinity) -> infinity;
in(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

%% @doc How many milliseconds are left until then.
-spec remaining(integer() | infinity) -> timeout().
remaining(infinity) -> infinity;
remaining(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).
