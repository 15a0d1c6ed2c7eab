%% @doc The event manager: a plain `gen_event' that hears of every bucket of the registry.
%%
%% Its handlers get `{create, Name, Pid}' when a bucket was made and `{exit, Name, Pid}' when one has
%% ended, always after the registry changed; Name is a binary and Pid the native process.
%%
%% ```
%% ok = gen_event:add_handler(kv_event_manager, my_handler, []).
%% '''
-module(kv_event_manager).

-export([start_link/1, child_spec/1]).

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
