%% @doc Which native process each local proxy stands for, and on which node: for those who read without a call, for
%% {@link kv_call}, and for the list of what was lost with a node.
%%
%% A proxy enters itself when its native process was made; {@link kv_watcher} keeps the table, and takes out each that has
%% ended.
%% @private
-module(kv_proxies).

-export([new/0, enter/2, leave/1, readable/1, known/1, node_of/1, of_server/1]).

-export_type([proxy/0]).

-type proxy() :: #{
    proxy := pid(), native := pid(), server := atom(), kind := kv_proxy:kind(), name := term()
}.

%% {Proxy, Native, Readable, Server, Kind, Name}
-define(TABLE, ?MODULE).

%% @doc Makes the table, which ends with the process that calls this: the only one that may enter anything.
-spec new() -> ok.
new() ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    ok.

%% @doc From now on the native process is found by its proxy; Readable: also by those who read without a call.
-spec enter(proxy(), boolean()) -> ok.
enter(#{proxy := Proxy, native := Native, server := Server, kind := Kind, name := Name}, Readable) ->
    true = ets:insert(?TABLE, {Proxy, Native, Readable, Server, Kind, Name}),
    ok.

%% @doc And no more.
-spec leave(pid()) -> ok.
leave(Proxy) ->
    true = ets:delete(?TABLE, Proxy),
    ok.

%% @doc A local proxy, given by its pid or its local name, and its native process, if they may be read; `none' when it has
%% ended, or is no proxy that may.
-spec readable(gen_server:server_ref()) -> {pid(), pid()} | none.
readable(Server) ->
    case find(Server) of
        {Proxy, Native, true, _, _, _} -> {Proxy, Native};
        _ -> none
    end.

%% @doc The same of every proxy, whether it may be read or not.
-spec known(gen_server:server_ref()) -> {pid(), pid()} | none.
known(Server) ->
    case find(Server) of
        {Proxy, Native, _, _, _, _} -> {Proxy, Native};
        none -> none
    end.

find(Proxy) when is_pid(Proxy), node(Proxy) =:= node() ->
    %% Who knows that the proxy has ended must not reach what outlives it for a moment.
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

%% @doc The node that the native process of a proxy is, or was last, on; `none' when the process is no proxy.
-spec node_of(pid()) -> node() | none.
node_of(Proxy) ->
    case row(Proxy) of
        {_, Native, _, _, _, _} -> node(Native);
        none -> none
    end.

row(Proxy) ->
    try ets:lookup(?TABLE, Proxy) of
        [Row] -> Row;
        [] -> none
    catch
        error:badarg -> none
    end.

%% @doc All proxies on the node of that kv_node.
-spec of_server(atom()) -> [proxy()].
of_server(Server) ->
    try ets:match_object(?TABLE, {'_', '_', '_', Server, '_', '_'}) of
        Rows ->
            [
                #{proxy => Proxy, native => Native, server => Server, kind => Kind, name => Name}
             || {Proxy, Native, _, _, Kind, Name} <- Rows
            ]
    catch
        error:badarg -> []
    end.
