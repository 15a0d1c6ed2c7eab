%% @doc Makes a bucket for a registry: a short-lived process for each, so that neither the registry nor its
%% proxy ever waits for a supervisor.
%%
%% The process ends when the registry has taken the bucket. When the connection is lost meanwhile it asks again, once the
%% connection is back; a bucket that the registry does not want any more is ended. So none is left that nobody can find.
%% @private
-module(kv_creator).

-export([start/4, failed/3]).

-define(POLL, 20).
%% Bytes of the reason for which a bucket could not be made.
-define(REASON_MAX, 65536).

%% @doc Starts to make a bucket, for a registry on the node of that kv_node. The native registry is told of the outcome; the
%% caller gets a `{'DOWN', Monitor, ...}', and hands its reason to failed/3.
-spec start(atom(), pid(), binary(), {module(), atom(), [term()]}) -> reference().
start(Server, Registry, Name, StartBucket) ->
    {_Pid, Monitor} = spawn_monitor(fun() -> create(Server, Registry, Name, StartBucket) end),
    Monitor.

%% @doc Tells the registry that there will be no bucket, unless the creator has told it. A registry that is away asks anew.
-spec failed(undefined | pid(), binary(), term()) -> ok.
failed(_Registry, _Name, normal) -> ok;
failed(undefined, _Name, _Reason) -> ok;
failed(Registry, Name, Reason) -> tell(Registry, {bucket_failed, Name, Reason}).

%% The node refuses a huge reason, and the callers who asked for the name would wait for ever.
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

%% The answer says that the registry has it: a message to it may be lost with the connection.
hand_over(Server, Registry, Name, Bucket, Native) ->
    try gen_server:call(Registry, {bucket_created, Name, Native}, infinity) of
        ok -> ok;
        {error, _Unwanted} -> kv_bucket:stop(Bucket, shutdown)
    catch
        exit:{{nodedown, _}, _} -> again(Server, Registry, Name, Bucket, Native);
        exit:{noconnection, _} -> again(Server, Registry, Name, Bucket, Native);
        exit:_ -> end_bucket(Bucket)
    end.

%% After another start of the program neither of the two is there.
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
