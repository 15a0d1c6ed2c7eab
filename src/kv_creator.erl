%% @doc Creates a bucket for a registry. Each bucket is created by a short-lived process of its own, so that neither
%% the registry nor its proxy ever waits for a supervisor.
%%
%% The process ends once the registry has taken the bucket. If the connection is lost meanwhile, the process asks
%% again once the connection is back. It ends a bucket that the registry does not want any more, so that no bucket is
%% left which nobody can find.
%% @private
-module(kv_creator).

-export([start/4, failed/3]).

-define(POLL, 20).
%% Bytes of the reason for which a bucket could not be created.
-define(REASON_MAX, 65536).

%% @doc Starts to create a bucket, for a registry on the node of this kv_node. The native registry gets the outcome.
%% The caller gets a `{'DOWN', Monitor, ...}', and must pass its reason to failed/3.
-spec start(atom(), pid(), binary(), {module(), atom(), [term()]}) -> reference().
start(Server, Registry, Name, StartBucket) ->
    {_Pid, Monitor} = spawn_monitor(fun() -> create(Server, Registry, Name, StartBucket) end),
    Monitor.

%% @doc Tells the registry that there will be no bucket, unless the creator has done so. A registry that is away will
%% ask again.
-spec failed(undefined | pid(), binary(), term()) -> ok.
failed(_Registry, _Name, normal) -> ok;
failed(undefined, _Name, _Reason) -> ok;
failed(Registry, Name, Reason) -> tell(Registry, {bucket_failed, Name, Reason}).

%% The node refuses a message with a huge reason, and the callers who wait for the name would wait for ever.
tell(Registry, {bucket_failed, Name, Reason}) when not is_atom(Reason) ->
    case erlang:external_size(Reason) of
        Size when Size > ?REASON_MAX -> send(Registry, {bucket_failed, Name, {too_large, Size}});
        _Size -> send(Registry, {bucket_failed, Name, Reason})
    end;
tell(Registry, Outcome) ->
    send(Registry, Outcome).

send(Registry, Outcome) ->
    _ = erlang:send(Registry, {'$gen_cast', Outcome}, [noconnect]),
    ok.

create(Server, Registry, Name, StartBucket) ->
    case make(Name, StartBucket) of
        {ok, Bucket, Native} -> hand_over(Server, Registry, Name, Bucket, Native);
        {error, Reason} -> tell(Registry, {bucket_failed, Name, Reason})
    end.

make(Name, {Module, Function, Arguments}) ->
    try apply(Module, Function, Arguments ++ [#{label => Name}]) of
        {ok, Bucket} -> {ok, Bucket, kv_proxy:native(Bucket)};
        {error, Reason} -> {error, Reason};
        Other -> {error, {bad_return, Other}}
    catch
        exit:{Reason, {gen_server, call, _}} -> {error, Reason};
        _:Reason -> {error, Reason}
    end.

%% This is a call because a cast may be lost with the connection.
hand_over(Server, Registry, Name, Bucket, Native) ->
    try gen_server:call(Registry, {bucket_created, Name, Native}, infinity) of
        ok -> ok;
        {error, _Unwanted} -> kv_bucket:stop(Bucket, shutdown)
    catch
        exit:{{nodedown, _}, _} -> again(Server, Registry, Name, Bucket, Native);
        exit:{noconnection, _} -> again(Server, Registry, Name, Bucket, Native);
        exit:_ -> end_bucket(Bucket)
    end.

%% If the program was started again, neither bucket nor registry exists any more.
again(Server, Registry, Name, Bucket, Native) ->
    ok = timer:sleep(?POLL),
    case kv_nodes:await(Server, infinity) of
        {ok, #{node := Node}} when Node =:= node(Registry) ->
            hand_over(Server, Registry, Name, Bucket, Native);
        _ ->
            end_bucket(Bucket)
    end.

end_bucket(Bucket) ->
    try kv_bucket:stop(Bucket, shutdown) of
        ok -> ok
    catch
        exit:_ -> ok
    end.
