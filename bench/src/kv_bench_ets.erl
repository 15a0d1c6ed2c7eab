%% @doc A GenServer that keeps an ETS table: no garbage to collect, but every value is copied.
-module(kv_bench_ets).
-behaviour(gen_server).

-export([start/0]).
-export([init/1, handle_call/3, handle_cast/2]).

%% @doc Starts one, linked to no process: it lives as long as its VM.
-spec start() -> {ok, pid()}.
start() ->
    {ok, _} = gen_server:start(?MODULE, [], []).

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
