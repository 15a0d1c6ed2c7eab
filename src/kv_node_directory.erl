%% @doc The kv_nodes that run in this VM, and the names of their C nodes. Kept in persistent terms, so that a look-up
%% sends no message.
%% @private
-module(kv_node_directory).

-export([enter/2, leave/1, name/1, owner/1, default/0, running/0]).

-define(KEY(Server), {kv_node, Server}).
-define(DEFAULT, {kv_node, default}).

%% @doc Enters the calling kv_node, whose local name is Server, as the owner of Node.
-spec enter(atom(), node()) -> ok.
enter(Server, Node) ->
    ok = persistent_term:put(?KEY(Server), {Node, self()}),
    case whereis(default()) of
        undefined -> persistent_term:put(?DEFAULT, Server);
        _Running -> ok
    end.

%% @doc Removes a kv_node.
-spec leave(atom()) -> ok.
leave(Server) ->
    _ = persistent_term:erase(?KEY(Server)),
    ok.

%% @doc Returns the name of the C node that a kv_node owns; `undefined' if the kv_node does not run.
-spec name(atom()) -> node() | undefined.
name(Server) ->
    case persistent_term:get(?KEY(Server), undefined) of
        {Node, Pid} ->
            case is_process_alive(Pid) of
                true -> Node;
                false -> undefined
            end;
        undefined ->
            undefined
    end.

%% @doc Returns the local name of the kv_node that owns a C node; `undefined' if no kv_node of this VM does.
-spec owner(node()) -> atom().
owner(Node) ->
    case [Server || {?KEY(Server), {Name, Pid}} <- persistent_term:get(), Name =:= Node, is_process_alive(Pid)] of
        [Server | _] -> Server;
        [] -> undefined
    end.

%% @doc Returns the local name of the kv_node that was started first; `kv_node' if none runs.
-spec default() -> atom().
default() ->
    persistent_term:get(?DEFAULT, kv_node).

%% @doc Returns the local names of all kv_nodes that run, the default one first.
-spec running() -> [atom()].
running() ->
    All = [Server || {?KEY(Server), {_, Pid}} <- persistent_term:get(), is_process_alive(Pid)],
    [Server || Server <- [default()], lists:member(Server, All)] ++ lists:sort(All -- [default()]).
