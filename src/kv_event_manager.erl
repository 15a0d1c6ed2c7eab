%% @doc The event manager: a plain `gen_event' that gets an event for every bucket of the registry.
%%
%% Its handlers get `{create, Name, Pid}' when a bucket has been created and `{exit, Name, Pid}' when a bucket has
%% ended. The registry has already changed by then. Name is a binary, and Pid is the native process.
%%
%% ```
%% ok = gen_event:add_handler(kv_event_manager, my_handler, []).
%% '''
%%
%% A handler that was added by {@link add_handler/4} with `[lost]' also gets `{lost, Name, Pid}' for each bucket and
%% registry of this VM that was lost with its node. Name is the label, a binary, or the name with which the process
%% was started, and Pid is the native process. A process with neither causes no event. Lost processes cause no `exit'
%% events.
%%
%% A handler that was added with `[restored]' also gets `{restored, Name, Pid}' when a durable bucket that had no process has
%% one again, with its entries. This event comes after the `{create, Name, Pid}' that every handler gets for the new process.
-module(kv_event_manager).

-export([start_link/1, child_spec/1, add_handler/4, delete_handler/3, check/3, lost/2, restored/3]).

-export_type([manager/0, handler/0, event/0]).

-type manager() :: pid() | atom() | {atom(), node()} | {global, term()} | {via, module(), term()}.
-type handler() :: module() | {module(), term()}.
-type event() :: lost | restored.

%% @doc Starts an event manager under a local name.
-spec start_link(atom()) -> {ok, pid()} | {error, {already_started, pid()}}.
start_link(Name) when is_atom(Name), Name =/= undefined ->
    gen_event:start_link({local, Name});
start_link(Other) ->
    kv_misuse:raise({?MODULE, start_link, [Other]}, 1, kv_options:wrong("the name", "an atom", Other)).

%% @doc Returns a child specification.
-spec child_spec(atom()) -> supervisor:child_spec().
child_spec(Name) ->
    #{
        id => Name,
        start => {?MODULE, start_link, [Name]},
        restart => permanent,
        %% Handlers are the user's code, so the manager gets the usual time of a gen_server.
        shutdown => 5000,
        type => worker,
        modules => dynamic
    }.

%% @doc Adds a handler, as `gen_event:add_handler/3' does. With `lost' among Events the handler gets losses as well, and with
%% `restored' the durable buckets that have a process again. Remove the handler with {@link delete_handler/3}.
-spec add_handler(manager(), handler(), term(), [event()]) -> term().
add_handler(Manager, Handler, Arguments, []) ->
    gen_event:add_handler(Manager, Handler, Arguments);
add_handler(Manager, Handler, Arguments, Events) ->
    ok = check(Events, {?MODULE, add_handler, [Manager, Handler, Arguments, Events]}, 4),
    gen_event:add_handler(Manager, {kv_event_handler, Handler}, {module_of(Handler), Events, Arguments}).

%% @private
%% Raises `badarg' if the argument of Call at Place is no list of events.
-spec check([event()], kv_misuse:call(), kv_misuse:place()) -> ok.
check(Events, Call, Place) ->
    case lists:member(Events, [[], [lost], [restored], [lost, restored], [restored, lost]]) of
        true -> ok;
        false -> kv_misuse:raise(Call, Place, kv_options:wrong("the list of events", "[], [lost], [restored] or [lost, restored]", Events))
    end.

module_of({Module, _Id}) -> Module;
module_of(Module) -> Module.

%% @doc Removes a handler, whichever way it was added. Returns the value of its terminate, or `{error,
%% module_not_found}'.
-spec delete_handler(manager(), handler(), term()) -> term().
delete_handler(Manager, Handler, Arguments) ->
    case gen_event:delete_handler(Manager, {kv_event_handler, Handler}, Arguments) of
        {error, module_not_found} -> gen_event:delete_handler(Manager, Handler, Arguments);
        Removed -> Removed
    end.

%% @private
%% Handlers may take their time, and the caller must not wait for them.
-spec lost(atom(), [kv_proxies:proxy()]) -> ok.
lost(undefined, _Proxies) ->
    ok;
lost(Manager, Proxies) ->
    case [{Name, Native} || #{name := Name, native := Native} <- Proxies, Name =/= undefined] of
        [] ->
            ok;
        Lost ->
            _ = spawn(fun() -> tell(Manager, [{lost, Name, Pid} || {Name, Pid} <- Lost]) end),
            ok
    end.

%% @private
%% A registry has a process again for a durable bucket.
-spec restored(undefined | manager(), binary(), pid()) -> ok.
restored(undefined, _Name, _Pid) ->
    ok;
restored(Manager, Name, Pid) ->
    _ = spawn(fun() -> tell(Manager, [{restored, Name, Pid}]) end),
    ok.

%% Each handler knows for which of the events it has asked.
tell(Manager, Events) ->
    Asked = [Handler || {kv_event_handler, _} = Handler <- gen_event:which_handlers(Manager)],
    _ = [gen_event:call(Manager, Handler, {'$kv_event', Event}, infinity) || Event <- Events, Handler <- Asked],
    ok.
