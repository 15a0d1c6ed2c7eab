%% @doc The size limit of each known node, so that a request over the limit is refused without sending it.
%% @private
-module(kv_limits).

-export([least/0, set/2, forget/1, of_node/1, check/2]).

-define(KEY(Node), {?MODULE, Node}).
%% The lower bound of the option max_frame: see kv_node_options.
-define(LEAST, 4096).

%% @doc Returns the lowest limit that a node can have.
-spec least() -> pos_integer().
least() ->
    ?LEAST.

%% @doc Remembers that Node takes messages of at most MaxFrame bytes.
-spec set(node(), pos_integer()) -> ok.
set(Node, MaxFrame) ->
    persistent_term:put(?KEY(Node), MaxFrame).

%% @doc Forgets the limit of Node.
-spec forget(node()) -> ok.
forget(Node) ->
    _ = persistent_term:erase(?KEY(Node)),
    ok.

%% @doc Returns the limit of a node, or `infinity' if it is not known.
-spec of_node(node()) -> pos_integer() | infinity.
of_node(Node) ->
    persistent_term:get(?KEY(Node), infinity).

%% @doc Returns an error if a request with these arguments is too large for the node of Server. Checks only what costs
%% nothing: the size of a binary, if the limit of the node is known.
-spec check(gen_server:server_ref(), [term()]) -> ok | {error, {too_large, pos_integer()}}.
check(Server, [Argument | _]) when is_binary(Argument), byte_size(Argument) >= ?LEAST ->
    check_size(byte_size(Argument), Server);
check(Server, [_, Argument | _]) when is_binary(Argument), byte_size(Argument) >= ?LEAST ->
    check_size(byte_size(Argument), Server);
check(_Server, _Arguments) ->
    ok.

check_size(Size, Server) ->
    case of_server(Server) of
        Limit when Size > Limit -> {error, {too_large, Size}};
        _Enough -> ok
    end.

of_server(Pid) when is_pid(Pid), node(Pid) =/= node() -> of_node(node(Pid));
of_server({_Name, Node}) when is_atom(Node) -> of_node(Node);
of_server(Server) ->
    case kv_proxies:known(Server) of
        none -> infinity;
        {_Proxy, Native} -> of_node(node(Native))
    end.
