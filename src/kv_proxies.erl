%% @doc Which native process each local proxy of a bucket stands for, for those who read without a call.
%%
%% A proxy enters itself when it starts; {@link kv_watch} keeps the table, and takes out each that has ended.
%% @private
-module(kv_proxies).

-export([new/0, enter/2, leave/1, native/1]).

-define(TABLE, ?MODULE).

%% @doc Makes the table, which ends with the process that calls this: the only one that may enter anything.
-spec new() -> ok.
new() ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    ok.

%% @doc From now on Native is found by its proxy.
-spec enter(pid(), pid()) -> ok.
enter(Proxy, Native) ->
    true = ets:insert(?TABLE, {Proxy, Native}),
    ok.

%% @doc And no more.
-spec leave(pid()) -> ok.
leave(Proxy) ->
    true = ets:delete(?TABLE, Proxy),
    ok.

%% @doc The native process of a local proxy, given by its pid or its local name; `none' when it has ended, or is no proxy
%% that entered itself.
-spec native(gen_server:server_ref()) -> pid() | none.
native(Proxy) when is_pid(Proxy), node(Proxy) =:= node() ->
    %% Who knows that the proxy has ended must not reach what outlives it for a moment.
    case is_process_alive(Proxy) of
        true -> entered(Proxy);
        false -> none
    end;
native(Name) when is_atom(Name) ->
    case whereis(Name) of
        Proxy when is_pid(Proxy) -> entered(Proxy);
        _ -> none
    end;
native(_Server) ->
    none.

entered(Proxy) ->
    try ets:lookup(?TABLE, Proxy) of
        [{_, Native}] -> Native;
        [] -> none
    catch
        error:badarg -> none
    end.
