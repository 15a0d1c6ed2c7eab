%% @doc Distribution: only a VM that is itself distributed can reach a C node.
%%
%% If the VM is not distributed, kv starts distribution under a loopback name and without listening, so that no port
%% is opened. kv stops the distribution that it has started, so that the user can start distribution afterwards. It never
%% stops another.
%% @private
-module(kv_distribution).

-export([ensure/2, leave/0, release/0, stop/0, is_ours/0]).

-define(STARTED, {?MODULE, started}).
-define(USER(Pid), {?MODULE, user, Pid}).
-define(STOP_TIMEOUT, 1000).

%% @doc Makes sure that the VM is distributed. The calling process counts as a user until it ends or calls release/0.
%% With `false' nothing is started. Epmd: the node registers with EPMD.
-spec ensure(Start :: boolean(), Epmd :: boolean()) -> ok | {error, term()}.
ensure(Start, Epmd) ->
    case {is_alive(), node(), Start} of
        {true, nonode@nohost, _} ->
            {error,
                {not_alive,
                    <<"the VM has a dynamic name, and no node has given it one yet: connect to a node first, or start the VM "
                        "under a name of its own">>}};
        {true, _, _} ->
            ours_only(fun() -> ensure_epmd(Epmd) end);
        {false, _, false} ->
            {error, {not_alive, <<"start the VM with -name or -sname, or set the option distribute to true">>}};
        {false, _, true} ->
            start(Epmd)
    end.

ensure_epmd(true) -> kv_epmd:ensure();
ensure_epmd(false) -> ok.

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

start(Epmd) ->
    case kv_carrier:own_host() of
        {ok, Host} ->
            case ensure_epmd(Epmd) of
                ok -> start(kv_node_name:of_vm(Host), Epmd);
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end.

start(Name, Epmd) ->
    Started = net_kernel:start(Name, #{name_domain => longnames, dist_listen => false}),
    case {Started, is_alive()} of
        {{ok, _}, _} ->
            ok = persistent_term:put(?STARTED, {Name, erlang:system_info(creation)}),
            add_user();
        %% Another process was faster: a second kv_node, or the user.
        {{error, _}, true} ->
            ensure(true, Epmd);
        {{error, Reason}, false} ->
            {error, {no_distribution, why(Reason)}}
    end.

%% The usual cause is the cookie file: auth.erl, read_cookie/0, raises its text.
why({{shutdown, {failed_to_start_child, _Child, Reason}}, _Child2}) -> why(Reason);
why({shutdown, {failed_to_start_child, _Child, Reason}}) -> why(Reason);
why({error, Text}) -> why(Text);
why({Raised, [{_, _, _, _} | _] = _Stack}) -> why(Raised);
why(Reason) ->
    case io_lib:printable_unicode_list(Reason) of
        true -> unicode:characters_to_binary(Reason);
        false -> Reason
    end.

%% @doc Returns `true' if kv has started the distribution that runs. The user may have stopped that one and started
%% another, under the same name, too. The creation tells the two apart.
-spec is_ours() -> boolean().
is_ours() ->
    is_alive() andalso persistent_term:get(?STARTED, undefined) =:= {node(), erlang:system_info(creation)}.

%% One term for each user, so that two that come at the same time do not overwrite each other.
add_user() ->
    persistent_term:put(?USER(self()), true).

users() ->
    [Pid || {?USER(Pid), _} <- persistent_term:get(), is_process_alive(Pid)].

%% @doc Called by a user that needs distribution no more. The last user stops distribution if kv has started it.
-spec release() -> ok.
release() ->
    ok = leave(),
    stop().

%% @doc Called by a user that has failed to start. Does not stop distribution, because the process that started this
%% one may need it for the next attempt.
-spec leave() -> ok.
leave() ->
    _ = persistent_term:erase(?USER(self())),
    ok.

%% @doc Stops distribution if kv has started it and nobody uses it.
-spec stop() -> ok.
stop() ->
    case users() of
        [] ->
            _ = is_ours() andalso stop_distribution(erlang:monotonic_time(millisecond) + ?STOP_TIMEOUT),
            _ = [persistent_term:erase(Key) || {?USER(_) = Key, _} <- persistent_term:get()],
            _ = persistent_term:erase(?STARTED),
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
