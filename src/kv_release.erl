%% @doc What differs between the releases of OTP that the C program has to know, as it is in this VM. It is tried out
%% rather than looked up: the changes came in patches, and modules may run on another release than compiled them.
%% @private
-module(kv_release).

-export([zeros/0, get_state/0]).

%% @doc Whether 0.0 and -0.0 are one key: they are up to OTP 26. Both are made from bytes because a compiler would
%% put in its own answer.
-spec zeros() -> same | differ.
zeros() ->
    case binary_to_term(<<131, 70, 0:64>>) =:= binary_to_term(<<131, 70, 1:1, 0:63>>) of
        true -> same;
        false -> differ
    end.

%% @doc What sys expects in answer to `get_state': the state, up to OTP 26.0, or `{ok, State}'.
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
