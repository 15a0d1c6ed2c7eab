%% @doc A handler of an event manager that runs a user's handler and asks for events that not every handler gets: `{lost,
%% Name, Pid}' and `{restored, Name, Pid}'. {@link kv_event_manager} recognises it by its module.
%%
%% Other handlers never get these: gen_event would remove a handler that has no clause for them.
%% @private
-module(kv_event_handler).
-behaviour(gen_event).

-export([init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2, code_change/3]).

-record(state, {
    module :: module(),
    events :: [kv_event_manager:event()],
    state :: term()
}).

-type user() :: {module(), [kv_event_manager:event()]}.

-type result() ::
    {ok, #state{}}
    | {ok, #state{}, hibernate}
    | {swap_handler, term(), #state{}, module() | {module(), term()}, term()}
    | remove_handler.

%% @private
-spec init({module(), [kv_event_manager:event()], term()}) -> {ok, #state{}} | {ok, #state{}, hibernate} | {error, term()}.
init({Module, Events, Arguments}) ->
    wrapped({Module, Events}, Module:init(Arguments)).

-spec wrapped(user(), term()) -> term().
wrapped({Module, Events}, {ok, State}) ->
    {ok, #state{module = Module, events = Events, state = State}};
wrapped({Module, Events}, {ok, State, hibernate}) ->
    {ok, #state{module = Module, events = Events, state = State}, hibernate};
wrapped(_User, Other) ->
    Other.

%% @private
-spec handle_event(term(), #state{}) -> result().
handle_event(Event, #state{module = Module, state = State} = Wrapper) ->
    next(Wrapper, Module:handle_event(Event, State)).

%% @private
-spec handle_call(term(), #state{}) ->
    {ok, term(), #state{}}
    | {ok, term(), #state{}, hibernate}
    | {swap_handler, term(), term(), #state{}, module() | {module(), term()}, term()}
    | {remove_handler, term()}.
handle_call({'$kv_event', Event}, #state{events = Events} = Wrapper) ->
    case lists:member(element(1, Event), Events) of
        true -> answered(handle_event(Event, Wrapper));
        false -> {ok, ok, Wrapper}
    end;
handle_call(Request, #state{module = Module, state = State} = Wrapper) ->
    case Module:handle_call(Request, State) of
        {ok, Reply, Next} -> {ok, Reply, Wrapper#state{state = Next}};
        {ok, Reply, Next, hibernate} -> {ok, Reply, Wrapper#state{state = Next}, hibernate};
        {swap_handler, Reply, Arguments1, Next, Handler, Arguments2} ->
            {swap_handler, Reply, Arguments1, Wrapper#state{state = Next}, Handler, Arguments2};
        {remove_handler, Reply} -> {remove_handler, Reply}
    end.

answered({ok, Next}) -> {ok, ok, Next};
answered({ok, Next, hibernate}) -> {ok, ok, Next, hibernate};
answered({swap_handler, Arguments1, Next, Handler, Arguments2}) -> {swap_handler, ok, Arguments1, Next, Handler, Arguments2};
answered(remove_handler) -> {remove_handler, ok}.

%% @private
-spec handle_info(term(), #state{}) -> result().
handle_info(Message, #state{module = Module, state = State} = Wrapper) ->
    case erlang:function_exported(Module, handle_info, 2) of
        true -> next(Wrapper, Module:handle_info(Message, State));
        false -> {ok, Wrapper}
    end.

next(Wrapper, {ok, State}) -> {ok, Wrapper#state{state = State}};
next(Wrapper, {ok, State, hibernate}) -> {ok, Wrapper#state{state = State}, hibernate};
next(Wrapper, {swap_handler, Arguments1, State, Handler, Arguments2}) ->
    {swap_handler, Arguments1, Wrapper#state{state = State}, Handler, Arguments2};
next(_Wrapper, remove_handler) ->
    remove_handler.

%% @private
-spec terminate(term(), #state{}) -> term().
terminate(Reason, #state{module = Module, state = State}) ->
    case erlang:function_exported(Module, terminate, 2) of
        true -> Module:terminate(Reason, State);
        false -> ok
    end.

%% @private
-spec code_change(term(), #state{}, term()) -> {ok, #state{}}.
code_change(OldVersion, #state{module = Module, state = State} = Wrapper, Extra) ->
    case erlang:function_exported(Module, code_change, 3) of
        true ->
            {ok, Next} = Module:code_change(OldVersion, State, Extra),
            {ok, Wrapper#state{state = Next}};
        false ->
            {ok, Wrapper}
    end.
