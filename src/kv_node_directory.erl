%% @doc Which kv_nodes run in this VM, and the names of their C nodes. Kept in constants, so that looking one up sends no
%% message.
%% @private
-module(kv_node_directory).

-export([enter/2, leave/1, name/1, default/0, running/0]).

-define(KEY(Server), {kv_node, Server}).
-define(DEFAULT, {kv_node, default}).

%% @doc The calling kv_node, with this local name, owns Node from now on.
-spec enter(atom(), node()) -> ok.
enter(Server, Node) ->
    ok = persistent_term:put(?KEY(Server), {Node, self()}),
    case whereis(default()) of
        undefined -> persistent_term:put(?DEFAULT, Server);
        _Running -> ok
    end.

%% @doc It owns no node any more.
-spec leave(atom()) -> ok.
leave(Server) ->
    _ = persistent_term:erase(?KEY(Server)),
    ok.

%% @doc The name of the C node that a kv_node owns; `undefined' if it does not run.
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

%% @doc The local name of the kv_node that was started first and runs; `kv_node' when none does.
-spec default() -> atom().
default() ->
    persistent_term:get(?DEFAULT, kv_node).

%% @doc The local names of all that run, the default one first.
-spec running() -> [atom()].
running() ->
    All = [Server || {?KEY(Server), {_, Pid}} <- persistent_term:get(), is_process_alive(Pid)],
    [Server || Server <- [default()], lists:member(Server, All)] ++ lists:sort(All -- [default()]).
