%% @doc Creates a bucket for a registry. Each bucket is created by a short-lived process of its own, so that neither
%% the registry nor its proxy ever waits for a supervisor.
%%
%% The process ends once the registry has taken the bucket. If the connection is lost meanwhile, the process asks
%% again once the connection is back. It ends a bucket that the registry does not want any more, so that no bucket is
%% left which nobody can find.
%%
%% While it waits for the registry or the node, it hibernates: a process that waits in a receive of this module would be
%% killed when the module has been loaded twice.
%% @private
-module(kv_creator).

-export([start/4, failed/3]).
-export([create/4, wait_for_registry/2, wait_for_node/2]).

-define(POLL, 20).
%% A function of the user may call its supervisor as Erlang does, or as Elixir.
-define(IS_CALLER(Module), (Module =:= gen_server orelse Module =:= 'Elixir.GenServer')).
%% Bytes of the reason for which a bucket could not be created.
-define(REASON_MAX, 65536).

%% A bucket that the registry has not taken yet.
-record(made, {
    server :: atom(),
    registry :: pid(),
    name :: binary(),
    bucket :: pid(),
    native :: pid()
}).

%% @doc Starts to create a bucket with options, for a registry on the node of this kv_node. The native registry gets the outcome.
%% The caller gets a `{'DOWN', Monitor, ...}', and must pass its reason to failed/3.
-spec start({atom(), pid()}, binary(), term(), {module(), atom(), [term()]}) -> reference().
start(For, Name, Options, StartBucket) ->
    {_Pid, Monitor} = spawn_monitor(?MODULE, create, [For, Name, Options, StartBucket]),
    Monitor.

%% @doc Tells the registry that there will be no bucket, unless the creator has done so. A registry that is away will
%% ask again.
-spec failed(pid(), binary(), term()) -> ok.
failed(_Registry, _Name, normal) -> ok;
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

%% @private
-spec create({atom(), pid()}, binary(), term(), {module(), atom(), [term()]}) -> ok.
create({Server, Registry}, Name, Options, StartBucket) ->
    case make(Server, Name, Options, StartBucket) of
        {ok, Bucket, Native} ->
            hand_over(#made{server = Server, registry = Registry, name = Name, bucket = Bucket, native = Native});
        {error, Reason} ->
            tell(Registry, {bucket_failed, Name, Reason})
    end.

%% A bucket is on the node of its registry, also if the VM has several.
make(Server, Name, Options, StartBucket) ->
    case kv_registry_options:bucket(Options) of
        {ok, Checked} -> make(Checked#{label => Name, node => Server}, StartBucket);
        {error, Reason} -> {error, Reason}
    end.

make(Options, {Module, Function, Arguments}) ->
    try apply(Module, Function, Arguments ++ [Options]) of
        {ok, Bucket} -> {ok, Bucket, kv_proxy:native(Bucket)};
        {error, Reason} -> {error, Reason};
        Other -> {error, {bad_return, Other}}
    catch
        exit:{noproc, {Caller, call, [Supervisor | _]}} when ?IS_CALLER(Caller), [Supervisor] =:= Arguments ->
            {error, no_supervisor(Supervisor)};
        exit:{Reason, {Caller, call, _}} when ?IS_CALLER(Caller) ->
            {error, Reason};
        _:Reason -> {error, Reason}
    end.

no_supervisor(Supervisor) ->
    Text = [
        "no process runs under the name ", name(Supervisor), ", which the registry has for its supervisor of buckets; start a "
        "KV.BucketSupervisor (kv_bucket_sup) of that name before the registry"
    ],
    {no_supervisor, unicode:characters_to_binary(Text)}.

name(Supervisor) when is_atom(Supervisor) -> kv_text:atom(Supervisor);
name(Supervisor) -> kv_options:shown(Supervisor).

%% This is a call because a cast may be lost with the connection.
hand_over(#made{registry = Registry, name = Name, native = Native} = Made) ->
    wait_for_registry(gen_server:send_request(Registry, {bucket_created, Name, Native}), Made).

%% @private
-spec wait_for_registry(gen_server:request_id(), #made{}) -> ok.
wait_for_registry(Request, #made{bucket = Bucket} = Made) ->
    case answer(Request) of
        none -> erlang:hibernate(?MODULE, wait_for_registry, [Request, Made]);
        {reply, ok} -> ok;
        {reply, {error, _Unwanted}} -> kv_bucket:stop(Bucket, shutdown);
        {error, {noconnection, _}} -> again(Made);
        {error, _} -> end_bucket(Bucket)
    end.

again(#made{server = Server} = Made) ->
    ok = timer:sleep(?POLL),
    wait_for_node(kv_nodes:send_await(Server), Made).

%% If the program was started again, neither bucket nor registry exists any more.
%% @private
-spec wait_for_node(gen_server:request_id(), #made{}) -> ok.
wait_for_node(Request, #made{registry = Registry, bucket = Bucket} = Made) ->
    case answer(Request) of
        none -> erlang:hibernate(?MODULE, wait_for_node, [Request, Made]);
        {reply, {ok, #{node := Node}}} when Node =:= node(Registry) -> hand_over(Made);
        _ -> end_bucket(Bucket)
    end.

%% Looks through the mailbox, and drops messages that nobody expects.
answer(Request) ->
    receive
        Message ->
            case gen_server:check_response(Message, Request) of
                no_reply -> answer(Request);
                Answer -> Answer
            end
    after 0 -> none
    end.

end_bucket(Bucket) ->
    try kv_bucket:stop(Bucket, shutdown) of
        ok -> ok
    catch
        exit:_ -> ok
    end.
