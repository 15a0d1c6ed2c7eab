%% @doc A GenServer that keeps a map: the first thing that people write, and the measure for kv.
-module(kv_bench_map).
-behaviour(gen_server).

-export([start/0, new/0, values/2, put_all/2, updated/3, replace/2]).
-export([init/1, handle_call/3, handle_cast/2]).

%% @doc Starts one, linked to no process: it lives as long as its VM.
-spec start() -> {ok, pid()}.
start() ->
    {ok, _} = gen_server:start(?MODULE, [], []).

-spec init([]) -> {ok, map()}.
init([]) ->
    {ok, #{}}.

-spec handle_call(term(), gen_server:from(), map()) -> {reply, term(), map()}.
handle_call({get, Key, Default}, _From, Map) ->
    {reply, maps:get(Key, Map, Default), Map};
handle_call({put, Key, Value}, _From, Map) ->
    {reply, ok, Map#{Key => Value}};
handle_call({get_many, Keys}, _From, Map) ->
    {reply, values(Map, Keys), Map};
handle_call({put_many, Entries}, _From, Map) ->
    {reply, ok, put_all(Map, Entries)};
handle_call({incr, Key}, _From, Map) ->
    New = maps:get(Key, Map, 0) + 1,
    {reply, New, Map#{Key => New}};
handle_call(to_list, _From, Map) ->
    {reply, maps:to_list(Map), Map};
handle_call(keys, _From, Map) ->
    {reply, maps:keys(Map), Map};
handle_call(clear, _From, _Map) ->
    {reply, ok, #{}};
handle_call(size, _From, Map) ->
    {reply, map_size(Map), Map}.

-spec handle_cast(term(), map()) -> {noreply, map()}.
handle_cast(_Request, Map) ->
    {noreply, Map}.

%%% Functions that an Agent with a map is called with

-spec new() -> map().
new() ->
    #{}.

%% @doc The values in the order of their keys, as KV.Bucket.get_many returns them.
-spec values(map(), [term()]) -> [term()].
values(Map, Keys) ->
    [maps:get(Key, Map, nil) || Key <- Keys].

%% @doc Measured to be faster than one key at a time.
-spec put_all(map(), [{term(), term()}]) -> map().
put_all(Map, Entries) ->
    maps:merge(Map, maps:from_list(Entries)).

-spec updated(map(), term(), fun((integer()) -> integer())) -> map().
updated(Map, Key, Fun) ->
    Map#{Key => Fun(maps:get(Key, Map, 0))}.

-spec replace(map(), map()) -> map().
replace(_Map, New) ->
    New.
