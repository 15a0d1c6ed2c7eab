%% @doc EPMD, the daemon that maps node names to ports: checks whether it runs, starts it, and asks for its names.
%% @private
-module(kv_epmd).

-export([ensure/0, is_running/0, port/0, port_of_all/0, port_of/1, await_unregistered/2]).

-define(DEFAULT_PORT, 4369).
-define(CONNECT_TIMEOUT, 1000).
-define(START_TIMEOUT, 5000).
-define(POLL, 10).

%% @doc Returns the port on which this VM looks for EPMD. The emulator puts ERL_EPMD_PORT into the argument
%% `-epmd_port' (kernel, erl_epmd.erl, get_epmd_port/0).
-spec port() -> inet:port_number().
port() ->
    case init:get_argument(epmd_port) of
        {ok, [[Port | _] | _]} -> list_to_integer(Port);
        _ -> ?DEFAULT_PORT
    end.

%% @doc Returns the port at which this VM dials every node without asking EPMD (`-erl_epmd_port'; kernel, erl_epmd.erl,
%% port_please/3), or `none'.
-spec port_of_all() -> inet:port_number() | none.
port_of_all() ->
    case init:get_argument(erl_epmd_port) of
        {ok, [[Port | _] | _]} -> list_to_integer(Port);
        _ -> none
    end.

%% @doc Returns `true' if an EPMD answers there: the answer to NAMES_REQ begins with the port of EPMD
%% (erts/epmd/src/epmd_srv.c, do_request).
-spec is_running() -> boolean().
is_running() ->
    ask("n", 4) =:= {ok, <<(port()):32>>}.

%% Returns the first bytes of the answer to a request.
ask(Request, Length) ->
    Address = kv_carrier:loopback(),
    Family = case tuple_size(Address) of 4 -> inet; 8 -> inet6 end,
    case gen_tcp:connect(Address, port(), [Family, binary, {active, false}], ?CONNECT_TIMEOUT) of
        {ok, Socket} ->
            _ = gen_tcp:send(Socket, [<<(length(Request)):16>>, Request]),
            Answer = gen_tcp:recv(Socket, Length, ?CONNECT_TIMEOUT),
            ok = gen_tcp:close(Socket),
            Answer;
        {error, Reason} ->
            {error, Reason}
    end.

%% @doc Starts EPMD, for the loopback interface only, unless one answers.
-spec ensure() -> ok | {error, {no_epmd, binary()}}.
ensure() ->
    case is_running() of
        true -> ok;
        false -> start()
    end.

start() ->
    case executable() of
        false ->
            {error, {no_epmd, <<"the program epmd was found neither in the Erlang installation nor in PATH">>}};
        Path ->
            Arguments = ["-daemon", "-address", inet:ntoa(kv_carrier:loopback()), "-port", integer_to_list(port())],
            Port = open_port({spawn_executable, Path}, [{args, Arguments}, exit_status, hide, in]),
            await_started(Port, erlang:monotonic_time(millisecond) + ?START_TIMEOUT)
    end.

executable() ->
    Own = filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "bin", "epmd"]),
    case filelib:is_regular(Own) of
        true -> Own;
        false -> os:find_executable("epmd")
    end.

%% The daemon's parent ends at once; the daemon itself takes a moment to listen.
await_started(Port, Deadline) ->
    receive
        {Port, {exit_status, _}} -> await_running(Deadline)
    after ?START_TIMEOUT ->
        ok = kv_os_process:close_port(Port),
        not_started()
    end.

await_running(Deadline) ->
    case is_running() of
        true ->
            ok;
        false ->
            case erlang:monotonic_time(millisecond) >= Deadline of
                true ->
                    not_started();
                false ->
                    timer:sleep(?POLL),
                    await_running(Deadline)
            end
    end.

not_started() ->
    Address = inet:ntoa(kv_carrier:loopback()),
    Text = io_lib:format("epmd was started, but nothing listens on port ~b of ~ts", [port(), Address]),
    {error, {no_epmd, iolist_to_binary(Text)}}.

%% @doc Returns the port that EPMD has for a node of this host. Not by erl_epmd:port_please/3: with `-erl_epmd_port' it
%% does not ask EPMD.
-spec port_of(node()) -> inet:port_number() | unknown.
port_of(Node) ->
    case ask("z" ++ kv_node_name:alive(Node), 4) of
        {ok, <<119, 0, Port:16>>} -> Port;
        _ -> unknown
    end.

%% @doc Waits until EPMD has forgotten a node, at most for Timeout milliseconds. EPMD notices the end of a node by the
%% end of its connection, which comes soon after.
-spec await_unregistered(node(), non_neg_integer()) -> ok | timeout.
await_unregistered(Node, Timeout) ->
    await_forgotten(Node, erlang:monotonic_time(millisecond) + Timeout).

await_forgotten(Node, Deadline) ->
    case {port_of(Node), erlang:monotonic_time(millisecond) >= Deadline} of
        {unknown, _} ->
            ok;
        {_, true} ->
            timeout;
        {_, false} ->
            timer:sleep(?POLL),
            await_forgotten(Node, Deadline)
    end.
