%% @doc Operating system processes: whether one is there, and how to end it.
%% @private
-module(kv_os_process).

-export([is_alive/1, is_descendant/1, kill/1, await_end/2, finish/2, close_port/1]).

-define(POLL, 5).

%% @doc Whether the process is there. One that has ended and waits to be reaped is not.
-spec is_alive(pos_integer()) -> boolean().
is_alive(OsPid) ->
    case status(OsPid) of
        {ok, State, _Parent} -> State =/= $Z andalso State =/= $X;
        gone -> false;
        unknown -> os:cmd("kill -0 " ++ integer_to_list(OsPid) ++ " 2>&1") =:= ""
    end.

%% @doc Whether this VM started the process: its parent is erl_child_setup, whose parent is the VM. Where
%% that can't be seen (no /proc) the answer is no, so that nobody ends a stranger with a reused number.
-spec is_descendant(pos_integer()) -> boolean().
is_descendant(OsPid) ->
    case status(OsPid) of
        {ok, _, Parent} ->
            case status(Parent) of
                {ok, _, Vm} -> integer_to_list(Vm) =:= os:getpid();
                _ -> false
            end;
        _ ->
            false
    end.

-spec kill(pos_integer()) -> ok.
kill(OsPid) ->
    _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid) ++ " 2>/dev/null"),
    ok.

%% @doc Waits until the process is gone, at most that many milliseconds.
-spec await_end(pos_integer(), non_neg_integer()) -> ok | timeout.
await_end(OsPid, Timeout) ->
    await_until(OsPid, erlang:monotonic_time(millisecond) + Timeout).

await_until(OsPid, Deadline) ->
    case is_alive(OsPid) of
        false ->
            ok;
        true ->
            case erlang:monotonic_time(millisecond) >= Deadline of
                true ->
                    timeout;
                false ->
                    timer:sleep(?POLL),
                    await_until(OsPid, Deadline)
            end
    end.

%% @doc Waits for a process that was told to end; one that does not within Timeout is killed, and gets the same time for
%% that. What is left after it hangs in the kernel.
-spec finish(pos_integer(), non_neg_integer()) -> ok | timeout.
finish(OsPid, Timeout) ->
    case await_end(OsPid, Timeout) of
        ok ->
            ok;
        timeout ->
            ok = kill(OsPid),
            await_end(OsPid, Timeout)
    end.

%% proc(5): "pid (comm) state ppid ..."; comm may itself hold parentheses.
status(OsPid) ->
    case file:read_file("/proc/" ++ integer_to_list(OsPid) ++ "/stat") of
        {ok, Stat} ->
            [_, Rest] = string:split(Stat, ") ", trailing),
            [<<State>>, Parent | _] = binary:split(Rest, <<" ">>, [global]),
            {ok, State, binary_to_integer(Parent)};
        {error, _} ->
            case filelib:is_dir("/proc/self") of
                true -> gone;
                false -> unknown
            end
    end.

%% @doc Closes the port of a program. That of one that has ended may be closed already.
-spec close_port(port()) -> ok.
close_port(Port) ->
    try port_close(Port) of
        true -> ok
    catch
        error:badarg -> ok
    end.
