%% @doc The end of a kv_node: tells others, ends the program, and stops distribution if kv has started it.
%% @private
-module(kv_node_stop).

-export([stop/3, how/1]).

-type node_of() :: #{
    server := atom(),
    node := node(),
    program := kv_node_program:t(),
    backoff := kv_backoff:t(),
    %% The contents of the node, as of its last answer.
    totals := kv_node_log:totals(),
    uptime := non_neg_integer()
}.

%% EPMD forgets a node when it sees the end of the connection to it.
-define(UNREGISTER_TIMEOUT, 1000).

%% @doc Ends the node of a kv_node that ends with Reason. Returns once the program is gone.
-spec stop(term(), kv_node_options:t(), node_of()) -> ok.
stop(Reason, #{stop_timeout := Timeout} = Options, #{server := Server, node := Node, program := Program} = Ended) ->
    #{backoff := Backoff} = Ended,
    How = how(Reason),
    %% The entries of a durable bucket are on disk: it is not lost.
    Proxies = [Proxy || Proxy <- kv_proxies:of_server(Server), not maps:get(durable, Proxy)],
    ok = kv_nodes:gone(Server, How),
    ok = kv_node_directory:leave(Server),
    ok = kv_limits:forget(Node),
    ok = last_signal(Reason, Program),
    ok = kv_node_program:stop(Program, Timeout),
    ok = kv_backoff:disown(Backoff),
    _ = kv_epmd:await_unregistered(Node, ?UNREGISTER_TIMEOUT),
    ok = tell_of_loss(How, Reason, Proxies, Options, Ended),
    end_of_service(How, Ended).

%% @doc Returns whether a kv_node that ends with this reason ends in order.
-spec how(term()) -> order | failure.
how(normal) -> order;
how(shutdown) -> order;
how({shutdown, _}) -> order;
how(_Failure) -> failure.

%% A program that has not answered will not stop when it is asked to.
last_signal({node_unresponsive, _}, Program) -> kv_node_program:kill(Program);
last_signal(_Reason, _Program) -> ok.

tell_of_loss(order, _Reason, _Proxies, _Options, _Ended) ->
    ok;
tell_of_loss(failure, Reason, Proxies, #{event_manager := Events} = Options, #{node := Node, totals := Totals}) ->
    ok = kv_node_log:lost(Node, Reason, Totals, Proxies, maps:get(data_dir, Options, undefined)),
    kv_event_manager:lost(Events, Proxies).

%% Nobody needs distribution when the supervisor stops the node; after a failure the next node needs it.
end_of_service(order, _Ended) -> kv_distribution:release();
end_of_service(failure, #{backoff := Backoff, uptime := Uptime}) -> kv_backoff:ended(Backoff, Uptime).
