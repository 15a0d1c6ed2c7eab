%% @doc The common parts of a kv_node and one that is attached: their words to {@link kv_nodes} while they start, and the messages
%% that mean the same to both.
%% @private
-module(kv_node_keeper).

-export([slow_request/1, expect/2, not_expected/2, cannot_start/3, parent/0, other/2]).

%% @doc Sets the option for this VM. Without it all stays as it was.
-spec slow_request(kv_node_options:t()) -> ok.
slow_request(#{slow_request := undefined}) -> ok;
slow_request(#{slow_request := Ms}) -> kv_telemetry:slow_request(Ms).

%% @doc Tells that a node is on its way. Returns a monitor on kv_nodes.
-spec expect(atom(), kv_node_options:t()) -> reference().
expect(Server, #{start_timeout := Timeout}) ->
    Nodes = kv_nodes:monitor(),
    ok = kv_nodes:expected(Server, keeper(), Timeout),
    Nodes.

%% @doc The start has failed. Before: whether the node was expected before it. Nobody starts a process again whose first start has
%% failed.
-spec not_expected(atom(), Before :: boolean()) -> ok.
not_expected(Server, false) -> kv_nodes:gone(Server, order);
not_expected(_Server, true) -> ok.

%% @doc Logs a failure. That of the first start is the caller's result: only later ones are logged.
-spec cannot_start(atom(), term(), kv_backoff:t()) -> ok.
cannot_start(Server, Reason, Backoff) ->
    case kv_backoff:is_first(Backoff) of
        true -> ok;
        false -> kv_node_log:cannot_start(Server, Reason, kv_backoff:delay(kv_backoff:failures(Backoff)))
    end.

%% @doc Returns the process that has started the calling one, for a start that may take long; nobody waits for it once that process
%% has ended.
-spec parent() -> pid() | undefined.
parent() ->
    case get('$ancestors') of
        [Pid | _] when is_pid(Pid) -> Pid;
        [Name | _] when is_atom(Name) -> whereis(Name);
        _ -> undefined
    end.

%% @doc Reads a message that has come behind all others: an answer of the program, the end of a linked process, or nothing of ours.
-spec other(term(), kv_pulse:t()) -> {ok, kv_pulse:t()} | {stop, term()}.
other({'EXIT', _Pid, normal}, Pulse) ->
    {ok, Pulse};
other({'EXIT', _Pid, Reason}, _Pulse) ->
    {stop, Reason};
other(Message, Pulse) ->
    {ok, kv_pulse:answer(Message, Pulse)}.

%% The process at the top of the tree. As long as it lives, this process is started again after a failure.
keeper() ->
    case lists:last(get('$ancestors')) of
        Pid when is_pid(Pid) -> Pid;
        Name -> whereis(Name)
    end.
