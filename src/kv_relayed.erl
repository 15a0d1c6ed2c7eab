%% @doc Calls that a proxy relays in its own name, so that it can answer them if the native process cannot.
%%
%% The proxy passes most calls on with the caller's From, because the caller has a timeout, and an alias to which the
%% answer goes. It relays three kinds of calls both ways: a call with `infinity' on the same node, which has no alias
%% (OTP: lib/stdlib/src/gen.erl, do_call/4) and waits for an answer or the end of the proxy; a call from another node,
%% to which the C node may have no connection, because it dials nobody; and a call that has waited for the node.
%% @private
-module(kv_relayed).

-export([new/0, is_direct/1, call/3, kv_call/3, take_back/1, has/2, answer/2, lose/2, refuse/2, count/1]).

-export_type([t/0]).

-type caller() :: {call, gen_server:from()} | {kv_call, reference()}.
-opaque t() :: #{reference() => caller()}.

-spec new() -> t().
new() -> #{}.

-spec count(t()) -> non_neg_integer().
count(Relay) -> map_size(Relay).

%% @doc Returns `true' if a call may be passed on with its own From.
-spec is_direct(gen_server:from()) -> boolean().
is_direct({_Caller, [alias | Alias]}) when is_reference(Alias) -> node(Alias) =:= node();
is_direct({_Caller, [[alias | Alias] | _]}) when is_reference(Alias) -> node(Alias) =:= node();
is_direct(_From) -> false.

%% The tag of a call that is answered through an alias is an improper list: gen.erl, do_call/4.
-dialyzer({no_improper_lists, call/3}).

%% @doc Returns the message with which the proxy asks.
-spec call(gen_server:from(), term(), t()) -> {term(), t()}.
call(From, Request, Relay) ->
    Alias = erlang:alias([reply]),
    {{'$gen_call', {self(), [alias | Alias]}, Request}, Relay#{Alias => {call, From}}}.

%% @doc The same for a call of {@link kv_call}.
-spec kv_call(reference(), term(), t()) -> {term(), t()}.
kv_call(CallersAlias, Request, Relay) ->
    Alias = erlang:alias([reply]),
    {{'$kv_call', Alias, Request}, Relay#{Alias => {kv_call, CallersAlias}}}.

%% @doc Called instead of using the second part of the result of call/3 or kv_call/3: the message was not sent.
-spec take_back(term()) -> ok.
take_back({'$gen_call', {_, [alias | Alias]}, _Request}) -> _ = erlang:unalias(Alias), ok;
take_back({'$kv_call', Alias, _Request}) -> _ = erlang:unalias(Alias), ok.

%% @doc Returns `true' if this call of kv_call is being relayed.
-spec has(reference(), t()) -> boolean().
has(CallersAlias, Relay) -> lists:member({kv_call, CallersAlias}, maps:values(Relay)).

%% @doc Passes an answer on to its caller. Returns `other' if the message is not an answer.
-spec answer(term(), t()) -> {ok, t()} | other.
answer({[alias | Alias], Reply}, Relay) when is_map_key(Alias, Relay) -> answer(Alias, {reply, Reply}, Relay);
answer({Alias, Reply}, Relay) when is_map_key(Alias, Relay) -> answer(Alias, {reply, Reply}, Relay);
answer({Alias, down, Reason}, Relay) when is_map_key(Alias, Relay) -> answer(Alias, {down, Reason}, Relay);
answer(_Message, _Relay) -> other.

answer(Alias, Answer, Relay) ->
    {Caller, Rest} = maps:take(Alias, Relay),
    ok = tell(Caller, Answer),
    {ok, Rest}.

%% @doc Called when no answers will come: every caller gets the reason.
-spec lose(term(), t()) -> t().
lose(Reason, Relay) ->
    _ = [give_up(Alias, Caller, Reason) || {Alias, Caller} <- maps:to_list(Relay)],
    new().

give_up(Alias, Caller, Reason) ->
    _ = erlang:unalias(Alias),
    tell(Caller, {down, Reason}).

%% @doc Tells the caller of a message that will not be handled.
-spec refuse(kv_waiting:message(), term()) -> ok.
refuse({call, From, _Request}, Reason) -> tell({call, From}, {down, Reason});
refuse({kv_call, _Pid, Alias, _Request}, Reason) -> tell({kv_call, Alias}, {down, Reason});
refuse({cast, _Request}, _Reason) -> ok;
refuse({info, _Message}, _Reason) -> ok.

tell({call, From}, {reply, Reply}) -> gen_server:reply(From, Reply);
tell({call, From}, {down, Reason}) -> gen_server:reply(From, {error, Reason});
tell({kv_call, Alias}, {reply, Reply}) -> _ = Alias ! {Alias, Reply}, ok;
tell({kv_call, Alias}, {down, Reason}) -> _ = Alias ! {Alias, down, Reason}, ok.
