%% @doc Operating system processes: checks whether one exists, and ends it.
%% @private
-module(kv_os_process).

-export([is_alive/1, is_descendant/1, kill/1, await_end/2, finish/2, close_port/1]).

-define(POLL, 5).

%% @doc Returns `true' if the process exists. A zombie, which has ended and waits to be reaped, does not.
-spec is_alive(pos_integer()) -> boolean().
is_alive(OsPid) ->
    case status(OsPid) of
        {ok, State, _Parent} -> State =/= $Z andalso State =/= $X;
        gone -> false;
        unknown -> os:cmd("kill -0 " ++ integer_to_list(OsPid) ++ " 2>&1") =:= ""
    end.

%% @doc Returns `true' if this VM started the process: its parent is erl_child_setup, whose parent is the VM. Returns
%% false where that cannot be seen (no /proc), so that kv never kills a stranger whose pid was reused.
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

%% @doc Waits until the process is gone, at most for Timeout milliseconds.
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

%% @doc Waits for a process that was told to end. A process that does not end within Timeout is killed, and gets the
%% same time again. If it is still there after that, it hangs in the kernel.
-spec finish(pos_integer(), non_neg_integer()) -> ok | timeout.
finish(OsPid, Timeout) ->
    case await_end(OsPid, Timeout) of
        ok ->
            ok;
        timeout ->
            ok = kill(OsPid),
            await_end(OsPid, Timeout)
    end.

%% proc(5): "pid (comm) state ppid ..."; comm itself may contain parentheses.
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

%% @doc Closes the port of a program. The port of a program that has ended may be closed already.
-spec close_port(port()) -> ok.
close_port(Port) ->
    try port_close(Port) of
        true -> ok
    catch
        error:badarg -> ok
    end.
