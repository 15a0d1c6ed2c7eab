%% @doc The event manager: a plain `gen_event' that hears of every bucket of the registry.
%%
%% Its handlers get `{create, Name, Pid}' when a bucket was made and `{exit, Name, Pid}' when one has
%% ended, always after the registry changed; Name is a binary and Pid the native process.
%%
%% ```
%% ok = gen_event:add_handler(kv_event_manager, my_handler, []).
%% '''
%%
%% A handler that was added by {@link add_handler/4} with `[lost]' also gets `{lost, Name, Pid}' for each bucket and registry
%% of this VM that was lost with its node: Name is its label, a binary, or the name that it was started with, Pid the
%% native process. Processes without either are not told of. No `exit' comes for what was lost.
-module(kv_event_manager).

-export([start_link/1, child_spec/1, add_handler/4, delete_handler/3, lost/2]).

-export_type([manager/0, handler/0]).

-type manager() :: pid() | atom() | {atom(), node()} | {global, term()} | {via, module(), term()}.
-type handler() :: module() | {module(), term()}.

%% @doc Starts an event manager under a local name.
-spec start_link(atom()) -> {ok, pid()} | {error, {already_started, pid()}}.
start_link(Name) when is_atom(Name) ->
    gen_event:start_link({local, Name}).

%% @doc Its child specification.
-spec child_spec(atom()) -> supervisor:child_spec().
child_spec(Name) ->
    #{
        id => Name,
        start => {?MODULE, start_link, [Name]},
        restart => permanent,
        %% Handlers are the user's: what a gen_server usually gets to finish.
        shutdown => 5000,
        type => worker,
        modules => dynamic
    }.

%% @doc Adds a handler, as `gen_event:add_handler/3' does; with `lost' among Events it is told of losses as well. To be
%% removed by {@link delete_handler/3}.
-spec add_handler(manager(), handler(), term(), [lost]) -> term().
add_handler(Manager, Handler, Arguments, []) ->
    gen_event:add_handler(Manager, Handler, Arguments);
add_handler(Manager, Handler, Arguments, [lost]) ->
    gen_event:add_handler(Manager, {kv_event_handler, Handler}, {module_of(Handler), Arguments}).

module_of({Module, _Id}) -> Module;
module_of(Module) -> Module.

%% @doc Removes a handler, whichever way it was added, and gives what its terminate returned, or `{error, module_not_found}'.
-spec delete_handler(manager(), handler(), term()) -> term().
delete_handler(Manager, Handler, Arguments) ->
    case gen_event:delete_handler(Manager, {kv_event_handler, Handler}, Arguments) of
        {error, module_not_found} -> gen_event:delete_handler(Manager, Handler, Arguments);
        Removed -> Removed
    end.

%% @private
%% Handlers may take their time: whoever tells them must not wait.
-spec lost(atom(), [kv_proxies:proxy()]) -> ok.
lost(undefined, _Proxies) ->
    ok;
lost(Manager, Proxies) ->
    case [{Name, Native} || #{name := Name, native := Native} <- Proxies, Name =/= undefined] of
        [] ->
            ok;
        Lost ->
            _ = spawn(fun() -> tell(Manager, Lost) end),
            ok
    end.

tell(Manager, Lost) ->
    Asked = [Handler || {kv_event_handler, _} = Handler <- gen_event:which_handlers(Manager)],
    _ = [gen_event:call(Manager, Handler, {'$kv_lost', Name, Pid}, infinity) || {Name, Pid} <- Lost, Handler <- Asked],
    ok.
