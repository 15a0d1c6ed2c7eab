%% The longest time that `receive ... after' takes.
-define(MAX_TIMEOUT, 16#FFFFFFFF).
-define(IS_TIMEOUT(T), (T =:= infinity orelse (is_integer(T) andalso T >= 0 andalso T =< ?MAX_TIMEOUT))).
