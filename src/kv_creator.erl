%% @doc Makes a bucket for a registry: a short-lived process for each, so that neither the registry nor its
%% proxy ever waits for a supervisor.
%% @private
-module(kv_creator).

-export([start/3, failed/3]).

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

tell(Registry, Outcome) ->
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
