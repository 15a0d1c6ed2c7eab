%% @doc Makes a bucket for a registry: a short-lived process for each, so that neither the registry nor its
%% proxy ever waits for a supervisor.
%% @private
-module(kv_creator).

-export([start/3, failed/3]).

%% Bytes of the reason for which a bucket could not be made.
-define(REASON_MAX, 65536).

%% @doc Starts to make a bucket. The native registry is told of the outcome; the caller gets a
%% `{'DOWN', Monitor, ...}', and when its reason is not `normal' tells the registry itself, by failed/3.
-spec start(pid(), binary(), {module(), atom(), [term()]}) -> reference().
start(Registry, Name, StartBucket) ->
    {_Pid, Monitor} = spawn_monitor(fun() -> tell(Registry, create(Name, StartBucket)) end),
    Monitor.

%% @doc Tells the registry that there will be no bucket.
-spec failed(pid(), binary(), term()) -> ok.
failed(Registry, Name, Reason) ->
    tell(Registry, {bucket_failed, Name, Reason}).

%% What a node refuses would leave those waiting who asked for the name.
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

create(Name, {Module, Function, Arguments}) ->
    try apply(Module, Function, Arguments ++ [#{label => Name}]) of
        {ok, Bucket} -> {bucket_created, Name, kv_proxy:native(Bucket)};
        {error, Reason} -> {bucket_failed, Name, Reason};
        Other -> {bucket_failed, Name, {bad_return, Other}}
    catch
        exit:{Reason, {gen_server, call, _}} -> {bucket_failed, Name, Reason};
        _:Reason -> {bucket_failed, Name, Reason}
    end.
