%% @doc Servers that belong to the VM and not to the application kv: any VM that has this code may call buckets and
%% start them.
%%
%% Like `timer', such a server is started when it is first needed, below `kernel_safe_sup'.
%% @private
-module(kv_on_demand).

-export([ensure/1, start_link/1]).

%% @doc Makes sure that the server runs. Module is its module and its local name.
-spec ensure(module()) -> ok.
ensure(Module) ->
    _ = whereis(Module) =:= undefined andalso start(Module, whereis(kernel_safe_sup)),
    ok.

start(Module, undefined) ->
    gen_server:start({local, Module}, Module, [], []);
start(Module, Supervisor) ->
    supervisor:start_child(Supervisor, #{
        id => Module,
        start => {?MODULE, start_link, [Module]},
        %% The server is temporary, because it is started again when it is needed. So however often it ends, the rest
        %% of the VM is not affected.
        restart => temporary,
        shutdown => brutal_kill,
        type => worker,
        modules => [Module]
    }).

%% @private
-spec start_link(module()) -> {ok, pid()} | {error, term()}.
start_link(Module) ->
    case gen_server:start_link({local, Module}, Module, [], []) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    end.
