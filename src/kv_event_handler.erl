%% @doc A handler of an event manager that runs a user's handler and asks for losses. {@link kv_event_manager:lost/2}
%% recognises it by its module.
%%
%% Other handlers never get `{lost, Name, Pid}': gen_event would remove a handler that has no clause for it.
%% @private
-module(kv_event_handler).
-behaviour(gen_event).

-export([init/1, handle_event/2, handle_call/2, handle_info/2, terminate/2, code_change/3]).

-record(state, {
    module :: module(),
    state :: term()
}).

-type result() ::
    {ok, #state{}}
    | {ok, #state{}, hibernate}
    | {swap_handler, term(), #state{}, module() | {module(), term()}, term()}
    | remove_handler.

%% @private
-spec init({module(), term()}) -> {ok, #state{}} | {ok, #state{}, hibernate} | {error, term()}.
init({Module, Arguments}) ->
    wrapped(Module, Module:init(Arguments)).

wrapped(Module, {ok, State}) -> {ok, #state{module = Module, state = State}};
wrapped(Module, {ok, State, hibernate}) -> {ok, #state{module = Module, state = State}, hibernate};
wrapped(_Module, Other) -> Other.

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
handle_call({'$kv_lost', Name, Pid}, Wrapper) ->
    case handle_event({lost, Name, Pid}, Wrapper) of
        {ok, Next} -> {ok, ok, Next};
        {ok, Next, hibernate} -> {ok, ok, Next, hibernate};
        {swap_handler, Arguments1, Next, Handler, Arguments2} -> {swap_handler, ok, Arguments1, Next, Handler, Arguments2};
        remove_handler -> {remove_handler, ok}
    end;
handle_call(Request, #state{module = Module, state = State} = Wrapper) ->
    case Module:handle_call(Request, State) of
        {ok, Reply, Next} -> {ok, Reply, Wrapper#state{state = Next}};
        {ok, Reply, Next, hibernate} -> {ok, Reply, Wrapper#state{state = Next}, hibernate};
        {swap_handler, Reply, Arguments1, Next, Handler, Arguments2} ->
            {swap_handler, Reply, Arguments1, Wrapper#state{state = Next}, Handler, Arguments2};
        {remove_handler, Reply} -> {remove_handler, Reply}
    end.

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
