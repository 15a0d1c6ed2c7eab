%% @doc A GenServer that keeps an ETS table: no garbage to collect, but every value is copied.
-module(kv_bench_ets).
-behaviour(gen_server).

-export([start/0, select/1, select/2]).
-export([init/1, handle_call/3, handle_cast/2]).

%% Entries of a walk that come at once.
-define(PIECE, 1000).

%% @doc Starts one, linked to no process: it lives as long as its VM.
-spec start() -> {ok, pid()}.
start() ->
    {ok, _} = gen_server:start(?MODULE, [], []).

%% @doc The first piece of a walk over the table, for a caller on another node.
-spec select(ets:table(), entries | keys) -> {[term()], term()} | '$end_of_table'.
select(Table, What) ->
    Spec = spec(What),
    with(Spec, ets:select(Table, Spec, ?PIECE)).

%% @doc The next piece. A continuation that has travelled must be repaired.
-spec select({term(), ets:match_spec()}) -> {[term()], term()} | '$end_of_table'.
select({Continuation, Spec}) ->
    with(Spec, ets:select(ets:repair_continuation(Continuation, Spec))).

with(Spec, {Objects, Continuation}) -> {Objects, {Continuation, Spec}};
with(_Spec, '$end_of_table') -> '$end_of_table'.

spec(entries) -> [{'$1', [], ['$1']}];
spec(keys) -> [{{'$1', '_'}, [], ['$1']}].

-spec init([]) -> {ok, ets:table()}.
init([]) ->
    {ok, ets:new(?MODULE, [set])}.

-spec handle_call(term(), gen_server:from(), ets:table()) -> {reply, term(), ets:table()}.
handle_call({get, Key, Default}, _From, Table) ->
    {reply, value(ets:lookup(Table, Key), Default), Table};
handle_call({put, Key, Value}, _From, Table) ->
    true = ets:insert(Table, {Key, Value}),
    {reply, ok, Table};
handle_call({get_many, Keys}, _From, Table) ->
    {reply, [value(ets:lookup(Table, Key), nil) || Key <- Keys], Table};
handle_call({put_many, Entries}, _From, Table) ->
    true = ets:insert(Table, Entries),
    {reply, ok, Table};
handle_call({incr, Key}, _From, Table) ->
    {reply, ets:update_counter(Table, Key, 1, {Key, 0}), Table};
handle_call(table, _From, Table) ->
    {reply, Table, Table};
handle_call(clear, _From, Table) ->
    true = ets:delete_all_objects(Table),
    {reply, ok, Table};
handle_call(size, _From, Table) ->
    {reply, ets:info(Table, size), Table}.

-spec handle_cast(term(), ets:table()) -> {noreply, ets:table()}.
handle_cast(_Request, Table) ->
    {noreply, Table}.

value([{_Key, Value}], _Default) -> Value;
value([], Default) -> Default.
