%% @doc Distribution: only a VM that is itself distributed can reach a C node.
%%
%% If the VM is not distributed, kv starts distribution under a loopback name and without listening, so that no port
%% is opened. kv stops what it has started, so that the user can start distribution afterwards.
%% @private
-module(kv_distribution).

-export([ensure/1, leave/0, release/0, stop/0, is_ours/0]).

-define(STARTED, {?MODULE, started}).
-define(USERS, {?MODULE, users}).
-define(STOP_TIMEOUT, 1000).

%% @doc Makes sure that the VM is distributed. The calling process counts as a user until it ends or calls release/0.
%% With `false' nothing is started.
-spec ensure(boolean()) -> ok | {error, term()}.
ensure(Start) ->
    case {is_alive(), Start} of
        {true, _} ->
            ours_only(fun kv_epmd:ensure/0);
        {false, false} ->
            {error, {not_alive, <<"start the VM with -name or -sname, or set the option distribute to true">>}};
        {false, true} ->
            case kv_epmd:ensure() of
                ok -> start();
                {error, Reason} -> {error, Reason}
            end
    end.

%% EPMD may have gone since kv started distribution. If the user started distribution, EPMD is left alone: it may have
%% to listen on other interfaces, or the VM may not use EPMD.
ours_only(Ensure) ->
    case is_ours() of
        true ->
            ok = add_user(),
            Ensure();
        false ->
            ok
    end.

start() ->
    Name = list_to_atom("kv_vm_" ++ os:getpid() ++ "@127.0.0.1"),
    case net_kernel:start(Name, #{name_domain => longnames, dist_listen => false}) of
        {ok, _} ->
            ok = persistent_term:put(?STARTED, true),
            add_user();
        {error, Reason} ->
            {error, {no_distribution, why(Reason)}}
    end.

%% The usual cause is the cookie file: auth.erl, read_cookie/0, raises its text.
why({{shutdown, {failed_to_start_child, _Child, Reason}}, _Child2}) -> why(Reason);
why({shutdown, {failed_to_start_child, _Child, Reason}}) -> why(Reason);
why({already_started, _}) -> <<"net_kernel runs, but the VM has no node name yet">>;
why({error, Text}) -> why(Text);
why({Raised, [{_, _, _, _} | _] = _Stack}) -> why(Raised);
why(Reason) ->
    case io_lib:printable_unicode_list(Reason) of
        true -> unicode:characters_to_binary(Reason);
        false -> Reason
    end.

%% @doc Returns `true' if kv has started the distribution that runs.
-spec is_ours() -> boolean().
is_ours() ->
    persistent_term:get(?STARTED, false) andalso is_alive().

add_user() ->
    persistent_term:put(?USERS, lists:usort([self() | users()])).

users() ->
    [Pid || Pid <- persistent_term:get(?USERS, []), is_process_alive(Pid)].

%% @doc Called by a user that needs distribution no more. The last user stops distribution if kv has started it.
-spec release() -> ok.
release() ->
    ok = leave(),
    case users() of
        [] -> stop();
        _ -> ok
    end.

%% @doc Called by a user that has failed to start. Does not stop distribution, because the process that started this
%% one may need it for the next attempt.
-spec leave() -> ok.
leave() ->
    persistent_term:put(?USERS, users() -- [self()]).

%% @doc Stops distribution if kv has started it and nobody uses it.
-spec stop() -> ok.
stop() ->
    case users() of
        [] ->
            Ours = is_ours(),
            _ = persistent_term:erase(?STARTED),
            _ = persistent_term:erase(?USERS),
            _ = Ours andalso stop_distribution(erlang:monotonic_time(millisecond) + ?STOP_TIMEOUT),
            ok;
        _ ->
            ok
    end.

%% The emulator forgets the node name a moment after net_kernel has ended. A caller that looked in between would take
%% the old distribution for one that somebody else has started.
stop_distribution(Deadline) ->
    _ = net_kernel:stop(),
    await_not_alive(Deadline).

await_not_alive(Deadline) ->
    case is_alive() andalso erlang:monotonic_time(millisecond) < Deadline of
        true ->
            timer:sleep(1),
            await_not_alive(Deadline);
        false ->
            ok
    end.
