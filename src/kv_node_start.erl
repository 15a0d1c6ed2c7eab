%% @doc The start of a kv_node, step by step: distribution, the program, the handshake between the two. A step that
%% fails returns its plain reason, and what was started before it is ended.
%% @private
-module(kv_node_start).

-export([end_predecessor/2, start/2, set_socket/2, version/0]).

%% Bytes that one read from the connection may return.
-define(SOCKET_BUFFER, 128 * 1024).
%% Names that are tried, if kv makes them up.
-define(NAMES, 3).

%% A recovery that takes longer is logged, at each such step in percent.
-define(SHOWN_AFTER, 500).
-define(SHOWN_STEP, 10).

-type started() :: #{
    node := node(),
    program := kv_node_program:t(),
    path := file:filename_all(),
    ready := kv_node_program:ready(),
    cookie := atom()
}.

%% @doc Ends the program of a kv_node before this one that was killed. Such a program stops by itself, unless it hangs.
-spec end_predecessor(kv_backoff:t(), kv_node_options:t()) -> ok.
end_predecessor(Backoff, #{stop_timeout := Timeout}) ->
    case kv_backoff:owned(Backoff) of
        undefined ->
            ok;
        OsPid ->
            _ = kv_os_process:is_descendant(OsPid) andalso kv_os_process:finish(OsPid, Timeout),
            kv_backoff:orphaned(Backoff)
    end.

%% @doc Starts distribution if necessary, then the program, and connects to it. The calling process owns the port of
%% the program, and gets `{nodeup, Node, Info}' and `{nodedown, Node, Info}' from now on. The reasons are those of
%% {@link kv_node}. `server' among the options is the local name of the kv_node, for {@link kv_nodes}.
-spec start(kv_node_options:t(), kv_backoff:t()) -> {ok, started()} | {error, term()}.
start(#{distribute := Distribute, epmd := Epmd} = Options, Backoff) ->
    case kv_distribution:ensure(Distribute, Epmd) of
        ok -> start(Options, Backoff, ?NAMES);
        {error, Reason} -> {error, Reason}
    end.

start(Options, Backoff, Names) ->
    case kv_node_name:of_node(Options) of
        {ok, Node} -> start(Options, Backoff, Names, Node, kv_carrier:address(Node), cookie(Node));
        {error, Reason} -> give_up(Reason, Options)
    end.

start(Options, _Backoff, _Names, _Node, {error, Reason}, _Cookie) ->
    give_up(Reason, Options);
start(Options, Backoff, Names, Node, Address, Cookie) ->
    case {kv_cookie:line(Cookie), kv_tls:lines(Node)} of
        {{ok, Line}, {ok, Tls}} -> start(Options, Backoff, Names, Node, Address, Cookie, [Tls, Line]);
        {{ok, _}, {error, Reason}} -> give_up(Reason, Options);
        {{error, Reason}, _} -> give_up(Reason, Options)
    end.

start(Options, Backoff, Names, Node, Address, Cookie, CookieLine) ->
    Path = program(Options),
    %% The empty line ends the options.
    Input = [kv_node_options:for_program(Node, listening(Address, Options)), CookieLine, "\n\n"],
    case kv_node_program:start(Path, Input, fun(OsPid) -> kv_backoff:own(Backoff, OsPid) end) of
        {ok, Program} ->
            case meet(Program, Node, Options) of
                {ok, Ready} ->
                    {ok, #{node => Node, program => Program, path => Path, ready => Ready, cookie => Cookie}};
                {error, Reason} ->
                    ok = kv_node_program:stop(Program, maps:get(stop_timeout, Options)),
                    ok = kv_backoff:disown(Backoff),
                    failed(Reason, Options, Backoff, Names, Node)
            end;
        {error, Reason} ->
            give_up(Reason, Options)
    end.

%% The program listens where this VM dials.
listening({ok, Address}, #{bind := undefined} = Options) -> Options#{bind := inet:ntoa(Address)};
listening(_Address, Options) -> Options.

%% The program has tried for a moment, because EPMD may not have forgotten a predecessor that was killed.
failed({fatal, name_taken, Text}, Options, Backoff, Names, Node) ->
    case kv_node_name:is_made_up(Options) andalso Names > 1 of
        true ->
            ok = kv_node_name:renew(),
            start(Options, Backoff, Names - 1);
        false ->
            give_up({fatal, name_taken, iolist_to_binary([Text, holder(Node)])}, Options)
    end;
failed(Reason, Options, _Backoff, _Names, _Node) ->
    give_up(Reason, Options).

holder(Node) ->
    case {kv_node_directory:owner(Node), kv_epmd:port_of(Node)} of
        {undefined, unknown} -> "";
        {undefined, Port} -> io_lib:format(". That node listens on port ~b", [Port]);
        {Server, _} -> io_lib:format(". That is the node of ~tp, in this VM", [Server])
    end.

%% Under a supervisor that keeps a backoff there will be another attempt, or kv_sup cleans up.
give_up(Reason, #{backoff := undefined}) ->
    ok = kv_distribution:release(),
    {error, Reason};
give_up(Reason, _Options) ->
    ok = kv_distribution:leave(),
    {error, Reason}.

meet(Program, Node, Options) ->
    case await_ready(kv_node_program:port(Program), deadline(Options), Options#{shown => none, since => now_ms()}, undefined) of
        {ok, Ready} ->
            case same_version(Ready) of
                ok -> connect(Program, Node, Ready);
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end.

deadline(#{start_timeout := Timeout}) -> now_ms() + Timeout.

now_ms() -> erlang:monotonic_time(millisecond).

await_ready(Port, Deadline, #{start_timeout := Timeout} = Options, Fatal) ->
    Parent = kv_node_keeper:parent(),
    receive
        {Port, {data, {_, Line}}} ->
            case kv_node_program:parse(Line) of
                {ready, Ready} -> {ok, Ready};
                {fatal, _, _} = Last -> await_ready(Port, Deadline, Options, Last);
                {recovering, Percent} -> await_ready(Port, deadline(Options), recovering(Percent, Options), Fatal);
                Other -> kv_node_program:log(Other), await_ready(Port, Deadline, Options, Fatal)
            end;
        {Port, {exit_status, Status}} ->
            {error, kv_node_program:exit_reason(Status, Fatal)};
        {'EXIT', Port, _} when Fatal =/= undefined ->
            {error, Fatal};
        %% A recovery may take long, and nobody waits for it any more.
        {'EXIT', Parent, Reason} ->
            {error, Reason}
    after max(0, Deadline - now_ms()) ->
        {error, {start_timeout, Timeout}}
    end.

%% A sign of life: `start_timeout' bounds the silence of the program, and not the time that all its data takes.
recovering(Percent, #{server := Server, shown := Shown, since := Since} = Options) ->
    ok = kv_nodes:recovering(Server, Percent),
    case now_ms() - Since > ?SHOWN_AFTER andalso Percent div ?SHOWN_STEP of
        Step when Step =:= false; Step =:= Shown -> Options;
        Step -> ok = kv_node_log:recovering(Server, Percent), Options#{shown := Step}
    end.

same_version(#{version := Version}) ->
    case version() of
        undefined -> ok;
        Version -> ok;
        Own -> {error, {version_mismatch, Version, Own}}
    end.

%% @doc Returns the version of the application; `undefined' if nothing tells it.
%%
%% Not by application:load/1: while the application controller stops the application, it waits for this process, which
%% would wait for the controller.
-spec version() -> binary() | undefined.
version() ->
    case application:get_key(kv, vsn) of
        {ok, Vsn} -> unicode:characters_to_binary(Vsn);
        undefined -> version_in_file(code:where_is_file("kv.app"))
    end.

version_in_file(non_existing) ->
    undefined;
version_in_file(Path) ->
    case file:consult(Path) of
        {ok, [{application, kv, Keys}]} -> unicode:characters_to_binary(proplists:get_value(vsn, Keys, ""));
        _ -> undefined
    end.

connect(Program, Node, Ready) ->
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    case net_kernel:connect_node(Node) of
        true ->
            {ok, Ready};
        _ ->
            case kv_node_program:last_words(Program) of
                {ended, Reason} -> {error, Reason};
                {running, Words} -> {error, {not_connected, Node, kv_not_connected:text(Node, maps:get(port, Ready), Words)}}
            end
    end.

%% @doc Batches small writes to the node. Must be called for each new connection. A connection that does not take the
%% options, over TLS for example, works as well, only slower.
-spec set_socket(node(), kv_node_options:t()) -> ok.
set_socket(Node, #{delay_send := true}) ->
    %% The emulator tells of a connection before net_kernel takes options for it (kernel, dist_util.erl: do_setnode/1, then
    %% mark_nodeup/2). This waits for net_kernel.
    _ = net_kernel:connect_node(Node),
    _ = net_kernel:setopts(Node, [{delay_send, true}, {buffer, ?SOCKET_BUFFER}]),
    ok;
set_socket(_Node, #{delay_send := false}) ->
    ok.

cookie(Node) ->
    case kv_cookie:of_node(Node) of
        {ok, Cookie} -> Cookie;
        unknown -> nocookie
    end.

program(#{program := undefined}) ->
    case code:priv_dir(kv) of
        {error, bad_name} -> filename:absname("priv/kv_node");
        Priv -> filename:join(Priv, "kv_node")
    end;
program(#{program := Path}) ->
    filename:absname(Path).
