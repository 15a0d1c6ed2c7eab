%% @doc A handler of the event manager that sends every event on to a process.
-module(kv_test_handler).
-behaviour(gen_event).

-export([init/1, handle_event/2, handle_call/2]).

init(Pid) -> {ok, Pid}.

handle_event(Event, Pid) ->
    Pid ! {event, Event},
    {ok, Pid}.

handle_call(_Request, Pid) -> {ok, ok, Pid}.
