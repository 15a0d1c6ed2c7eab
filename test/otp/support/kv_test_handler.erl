%% @doc A handler of the event manager that forwards every event to a process, with an optional tag.
-module(kv_test_handler).
-behaviour(gen_event).

-export([init/1, handle_event/2, handle_call/2]).

init(Receiver) -> {ok, Receiver}.

handle_event(Event, {Tag, Pid} = Receiver) ->
    Pid ! {{Tag, event}, Event},
    {ok, Receiver};
handle_event(Event, Pid) ->
    Pid ! {event, Event},
    {ok, Pid}.

handle_call(_Request, Receiver) -> {ok, ok, Receiver}.
