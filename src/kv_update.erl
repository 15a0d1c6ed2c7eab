%% @doc Updates by a function: {@link kv_bucket:update/4}, {@link kv_bucket:update_existing/3},
%% {@link kv_bucket:get_and_update/3}.
%%
%% The function runs in the process that calls. The request `fetch_tagged' gets the value and its tag, and `put_tagged' puts the
%% result if the tag is still that of the value. A process that finds the value changed meanwhile joins the queue of the key,
%% where the processes of this VM wait for each other: {@link kv_update_queue}. A process that finds a queue joins at once.
%%
%% Queues belong to an address, as a process uses it: the native pid, or the proxy. So requests to one address stay in the order in
%% which a process has sent them.
%% @private
-module(kv_update).

-export([options/2, update/6, update_existing/5, get_and_update/6]).

%% The keys that this process updates at the moment.
-define(UPDATING, '$kv_updating').

-record(update, {
    call :: kv_misuse:call(),
    bucket :: gen_server:server_ref(),
    address :: gen_server:server_ref(),
    key :: term(),
    %% Returns the change and the answer.
    step :: fun((value()) -> {kv_update_queue:change(), term()}),
    timeout :: timeout(),
    deadline :: integer() | infinity
}).

-type value() :: absent | {value, term()}.
-type call() :: kv_misuse:call().
-type how() :: {kv_update_queue:ttl(), timeout()}.

%% @doc Returns the options, the last argument of a call, whose function is in this place. Raises `badarg' if one of them is wrong.
-spec options(call(), pos_integer()) -> how().
options({_Module, _Function, Arguments} = Call, Place) ->
    ok = kv_call_options:server(Call),
    case lists:nth(Place, Arguments) of
        Fun when is_function(Fun, 1) -> ttl_and_timeout(kv_call_options:options(Call, [ttl, keep_ttl]));
        Other -> kv_misuse:raise(Call, Place, kv_options:wrong("the function", "a function with one argument", Other))
    end.

ttl_and_timeout(#{timeout := Timeout} = Options) -> {maps:get(ttl, Options, keep), Timeout}.

%% @doc See {@link kv_bucket:update/4}.
-spec update(call(), gen_server:server_ref(), term(), term(), fun((term()) -> term()), how()) -> {ok, term()} | {error, term()}.
update(Call, Bucket, Key, Initial, Fun, {Ttl, Timeout}) ->
    Step = fun
        (absent) -> {{put, Initial, Ttl}, {ok, Initial}};
        ({value, Value}) -> put_result(Fun(Value), Ttl)
    end,
    run(Call, Bucket, Key, Step, Timeout).

%% @doc See {@link kv_bucket:update_existing/3}.
-spec update_existing(call(), gen_server:server_ref(), term(), fun((term()) -> term()), how()) ->
    {ok, term()} | error | {error, term()}.
update_existing(Call, Bucket, Key, Fun, {Ttl, Timeout}) ->
    Step = fun
        (absent) -> {none, error};
        ({value, Value}) -> put_result(Fun(Value), Ttl)
    end,
    run(Call, Bucket, Key, Step, Timeout).

put_result(New, Ttl) -> {{put, New, Ttl}, {ok, New}}.

%% @doc See {@link kv_bucket:get_and_update/3}. Absent is the argument of the function if there is no value.
-spec get_and_update(call(), gen_server:server_ref(), term(), term(), fun((term()) -> {term(), term()} | pop), how()) ->
    {ok, term()} | {error, term()}.
get_and_update(Call, Bucket, Key, Absent, Fun, {Ttl, Timeout}) ->
    Step = fun
        (absent) -> got(Fun(Absent), Absent, Ttl, Call);
        ({value, Value}) -> got(Fun(Value), Value, Ttl, Call)
    end,
    run(Call, Bucket, Key, Step, Timeout).

got({Get, New}, _Value, Ttl, _Call) -> {{put, New, Ttl}, {ok, Get}};
got(pop, Value, _Ttl, _Call) -> {pop, {ok, Value}};
got(Other, _Value, _Ttl, Call) ->
    kv_misuse:raise(Call, 3, kv_options:wrong("the result of the function", "{Get, New} or pop", Other)).

run(Call, Bucket, Key, Step, Timeout) ->
    Address = address(Bucket),
    Update = #update{
        call = Call,
        bucket = Bucket,
        address = Address,
        key = Key,
        step = Step,
        timeout = Timeout,
        deadline = kv_deadline:in(Timeout)
    },
    Outer = get(?UPDATING),
    Id = {native(Address), Key},
    case is_list(Outer) andalso lists:member(Id, Outer) of
        true ->
            Text = "the function of an update must not update the same key: return the new value instead",
            kv_misuse:raise(Call, general, Text);
        false ->
            _ = put(?UPDATING, [Id | none_if_undefined(Outer)]),
            try
                start(Update)
            after
                restore(Outer)
            end
    end.

none_if_undefined(undefined) -> [];
none_if_undefined(Outer) -> Outer.

restore(undefined) -> _ = erase(?UPDATING), ok;
restore(Outer) -> _ = put(?UPDATING, Outer), ok.

%% The name of a process of this node becomes its pid, so that the queue is the same.
address(Name) when is_atom(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> Pid;
        _ -> Name
    end;
address({Name, Node}) when is_atom(Name), Node =:= node() -> address(Name);
address(Server) -> Server.

native(Address) ->
    case kv_proxies:known(Address) of
        {_Proxy, Native} -> Native;
        none -> Address
    end.

%%% Without a queue

start(#update{address = Address, key = Key} = Update) ->
    case kv_updates:find(Address, Key) of
        none ->
            attempt(fetch(Update), Update);
        Queue ->
            %% The requests of the queue are sent by another process than those that this one has sent before.
            _ = kv_local:is_settled(Address) orelse fetch(Update),
            join(Queue, Update)
    end.

fetch(Update) -> request(fetch_tagged, [], Update).

request(Function, Arguments, #update{address = Address, key = Key, deadline = Deadline}) ->
    kv_request:call(Address, Function, [Key | Arguments], kv_deadline:remaining(Deadline)).

attempt({tagged, Tag, Value}, Update) -> attempt(Tag, {value, Value}, Update);
attempt(absent, Update) -> attempt(absent, absent, Update);
attempt({error, _} = Refused, _Update) -> Refused.

attempt(Tag, Value, #update{step = Step} = Update) ->
    {Change, Answer} = Step(Value),
    case change(Change, Tag, Update) of
        ok -> Answer;
        {error, _} = Refused -> Refused;
        _Changed -> join(Update)
    end.

change(none, _Tag, _Update) ->
    ok;
change(Change, Tag, Update) ->
    {Function, Arguments} = kv_update_queue:request(Change, Tag),
    request(Function, Arguments, Update).

%%% In the queue

join(#update{address = Address, key = Key} = Update) ->
    join(kv_updates:queue(Address, Key), Update).

join(Queue, #update{deadline = Deadline} = Update) ->
    Place = kv_update_queue:join(Queue, Deadline, self()),
    wait(Queue, Place, none, Update).

%% Last is the outcome of the latest run of the function.
wait(Queue, Place, Last, #update{deadline = Deadline} = Update) ->
    receive
        {Place, turn, Value} ->
            take_turn(Queue, Place, Value, Update);
        {Place, committed} ->
            true = erlang:demonitor(Place, [flush]),
            outcome(Last);
        {Place, failed, {error, _} = Refused} ->
            true = erlang:demonitor(Place, [flush]),
            Refused;
        {Place, failed, {exit, Reason}} ->
            true = erlang:demonitor(Place, [flush]),
            failed(Reason, Update);
        {'DOWN', Place, process, _, Reason} when Reason =:= normal; Reason =:= noproc ->
            %% The queue has ended before it took note of this process.
            join(Update);
        {'DOWN', Place, process, _, Reason} ->
            failed(Reason, Update)
    after kv_deadline:remaining(Deadline) ->
        leave(Queue, Place, Last, Update)
    end.

take_turn(Queue, Place, Value, #update{step = Step, deadline = Deadline} = Update) ->
    Outcome = run(Step, Value),
    case kv_deadline:remaining(Deadline) of
        0 ->
            leave(Queue, Place, none, Update);
        _ ->
            ok = kv_update_queue:turn_done(Queue, Place, change(Outcome)),
            wait(Queue, Place, Outcome, Update)
    end.

%% An exception is kept until the value that has caused it is known to be that of the bucket.
run(Step, Value) ->
    try Step(Value) of
        {Change, Answer} -> {Change, Answer}
    catch
        Class:Reason:Stack -> {raise, Class, Reason, Stack}
    end.

change({Change, _Answer}) -> Change;
change({raise, _, _, _}) -> none.

outcome({_Change, Answer}) -> Answer;
outcome({raise, Class, Reason, Stack}) -> erlang:raise(Class, Reason, Stack).

%% A message that has just arrived counts.
leave(Queue, Place, Last, Update) ->
    ok = kv_update_queue:leave(Queue, Place),
    receive
        {Place, committed} -> outcome(Last);
        {Place, failed, {error, _} = Refused} -> Refused;
        {Place, failed, {exit, Reason}} -> failed(Reason, Update)
    after 0 ->
        ok = drop(Place),
        failed(timeout, Update)
    end.

drop(Place) ->
    receive
        {Place, turn, _} -> drop(Place)
    after 0 -> ok
    end.

-spec failed(term(), #update{}) -> no_return().
failed(Reason, #update{bucket = Bucket, key = Key, timeout = Timeout}) ->
    exit({Reason, {gen_server, call, [Bucket, {fetch_tagged, Key}, Timeout]}}).
