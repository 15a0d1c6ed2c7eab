%% @doc Calls to buckets and registries that return the result of a local read where possible.
%%
%% Makes a real call first, because cases send messages of which kv_local does not know. The local read must come
%% after them.
-module(kv_local_call).

-export([call/3]).

-spec call(gen_server:server_ref(), term(), timeout()) -> term().
call(Server, Request, Timeout) ->
    Called = kv_call:call(Server, Request, Timeout),
    case locally(Server, Request) of
        call -> Called;
        {answer, Answer} -> Answer
    end.

%% {get, Function} is a request of Agent.
locally(_Server, {get, Function}) when is_function(Function) -> call;
locally(_Server, {get, {_, _, _}}) -> call;
locally(Server, {get, Key}) -> value(kv_local:fetch(Server, Key), nil);
locally(Server, {get, Key, Default}) -> value(kv_local:fetch(Server, Key), Default);
locally(Server, {fetch, Key}) -> answer(kv_local:fetch(Server, Key));
locally(Server, {has_key, Key}) -> answer(kv_local:has_key(Server, Key));
locally(Server, size) -> answer(kv_local:size(Server));
locally(Server, {lookup, Name}) -> answer(kv_local:lookup(Server, Name));
locally(_Server, _Request) -> call.

value({ok, Value}, _Default) -> {answer, Value};
value(error, Default) -> {answer, Default};
value(call, _Default) -> call.

answer(call) -> call;
answer(Answer) -> {answer, Answer}.
