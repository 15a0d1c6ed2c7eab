%% @doc Differences between releases of OTP that the C program must know, as they are in this VM. Found by trying: the
%% changes came in patches, and the modules may run on another release than the one that compiled them.
%% @private
-module(kv_release).

-export([zeros/0, get_state/0]).

%% @doc Returns `same' if 0.0 and -0.0 are one key, as up to OTP 26. Both are made from bytes, because a compiler
%% would fold the comparison.
-spec zeros() -> same | differ.
zeros() ->
    case binary_to_term(<<131, 70, 0:64>>) =:= binary_to_term(<<131, 70, 1:1, 0:63>>) of
        true -> same;
        false -> differ
    end.

%% @doc Returns which answer to `get_state' sys expects: the state, as up to OTP 26.0, or `{ok, State}'.
-spec get_state() -> bare | tagged.
get_state() ->
    Probe = spawn(fun() ->
        receive
            {system, From, get_state} -> gen_server:reply(From, {ok, state})
        end
    end),
    case sys:get_state(Probe) of
        state -> tagged;
        {ok, state} -> bare
    end.
