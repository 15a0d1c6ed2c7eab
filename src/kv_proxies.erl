%% @doc Maps each local proxy to its native process and its node: for local reads, for {@link kv_call}, and for the
%% list of processes that were lost with a node.
%%
%% A proxy enters itself once its native process has been created. {@link kv_watcher} keeps the table, and removes
%% proxies that have ended.
%% @private
-module(kv_proxies).

-export([new/0, enter/2, leave/1, readable/1, known/1, resolved/1, shared/1, shared/2, node_of/1, of_server/1]).

-export_type([proxy/0]).

-type proxy() :: #{
    proxy := pid(), native := pid(), server := atom(), kind := kv_proxy:kind(), name := term(), durable => boolean(), shared => boolean()
}.

%% {Proxy, Native, Readable, Server, Kind, Name, Durable, Shared}
-define(TABLE, ?MODULE).

%% @doc Creates the table. It ends with the calling process, which is the only one that may write to it.
-spec new() -> ok.
new() ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    ok.

%% @doc Enters a proxy and its native process. Readable: the process may also be read locally.
-spec enter(proxy(), boolean()) -> ok.
enter(#{proxy := Proxy, native := Native, server := Server, kind := Kind, name := Name} = Entered, Readable) ->
    Durable = maps:get(durable, Entered, false),
    Shared = maps:get(shared, Entered, false),
    true = ets:insert(?TABLE, {Proxy, Native, Readable, Server, Kind, Name, Durable, Shared}),
    kv_nif:next_epoch().

%% @doc Removes a proxy.
-spec leave(pid()) -> ok.
leave(Proxy) ->
    true = ets:delete(?TABLE, Proxy),
    kv_nif:next_epoch().

%% @doc Returns a local proxy, given by its pid or its local name, and its native process, if the process may be read
%% locally. Returns `none' if the proxy has ended, or if Server is no such proxy.
-spec readable(gen_server:server_ref()) -> {pid(), pid()} | none.
readable(Server) ->
    case find(Server) of
        {Proxy, Native, true, _, _, _, _, _} -> {Proxy, Native};
        _ -> none
    end.

%% @doc The same for every proxy, whether or not its process may be read locally.
-spec known(gen_server:server_ref()) -> {pid(), pid()} | none.
known(Server) ->
    case find(Server) of
        {Proxy, Native, _, _, _, _, _, _} -> {Proxy, Native};
        none -> none
    end.

%% @doc The same for a proxy whose native process belongs to the node.
-spec shared(gen_server:server_ref()) -> {pid(), pid()} | none.
shared(Server) ->
    case find(Server) of
        {Proxy, Native, _, _, _, _, _, true} -> {Proxy, Native};
        _ -> none
    end.

%% @doc The same for a proxy of any VM, given in any way.
-spec shared(gen_server:server_ref(), timeout()) -> {pid(), pid()} | none | timeout.
shared(Server, Timeout) ->
    case resolved(Server) of
        {Name, Node} when is_atom(Name), is_atom(Node) -> shared_of(Node, Name, Timeout);
        Pid when is_pid(Pid), node(Pid) =/= node() -> shared_of(node(Pid), Pid, Timeout);
        Local -> shared(Local)
    end.

%% @doc Returns a pid, a local name or `{Name, Node}' for anything that names a process.
-spec resolved(gen_server:server_ref() | {local, atom()}) -> pid() | undefined | atom() | {atom(), node()}.
resolved({local, Name}) -> Name;
resolved({global, Name}) -> global:whereis_name(Name);
resolved({via, Module, Name}) -> Module:whereis_name(Name);
resolved({Name, Node}) when Node =:= node() -> Name;
resolved(Server) -> Server.

%% Each VM knows its own proxies. A C node and a VM without kv have none; a C node that is watched is known as one without a call.
shared_of(Node, Server, Timeout) ->
    case kv_watcher:watcher(Node) of
        Watcher when is_pid(Watcher) -> none;
        _ -> ask_vm(Node, Server, Timeout)
    end.

ask_vm(Node, Server, Timeout) ->
    try
        erpc:call(Node, ?MODULE, shared, [Server], Timeout)
    catch
        error:{erpc, timeout} -> timeout;
        _:_ -> none
    end.

find(Proxy) when is_pid(Proxy), node(Proxy) =:= node() ->
    %% The native process may outlive its proxy for a moment. A caller who knows that the proxy has ended must not
    %% reach it.
    case is_process_alive(Proxy) of
        true -> row(Proxy);
        false -> none
    end;
find(Name) when is_atom(Name) ->
    case whereis(Name) of
        Proxy when is_pid(Proxy) -> row(Proxy);
        _ -> none
    end;
find(_Server) ->
    none.

%% @doc Returns the node on which the native process of a proxy runs, or last ran; `none' if the process is no proxy.
-spec node_of(pid()) -> node() | none.
node_of(Proxy) ->
    case row(Proxy) of
        {_, Native, _, _, _, _, _, _} -> node(Native);
        none -> none
    end.

row(Proxy) ->
    try ets:lookup(?TABLE, Proxy) of
        [Row] -> Row;
        [] -> none
    catch
        error:badarg -> none
    end.

%% @doc Returns all proxies on the node of a kv_node.
-spec of_server(atom()) -> [proxy()].
of_server(Server) ->
    try ets:match_object(?TABLE, {'_', '_', '_', Server, '_', '_', '_', '_'}) of
        Rows ->
            [
                #{
                    proxy => Proxy, native => Native, server => Server, kind => Kind, name => Name, durable => Durable, shared => Shared
                }
             || {Proxy, Native, _, _, Kind, Name, Durable, Shared} <- Rows
            ]
    catch
        error:badarg -> []
    end.
