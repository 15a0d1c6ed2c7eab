%% @doc A bucket as a gen_server over a map. A native bucket must be indistinguishable from it. It is loaded as
%% `kv_bucket' on the reference node.
-module(kv_reference_bucket).
-behaviour(gen_server).

-compile({no_auto_import, [put/2]}).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, code_change/3]).

-define(IS_TTL(Ttl), (Ttl =:= infinity orelse (is_integer(Ttl) andalso Ttl > 0 andalso Ttl =< 1 bsl 46))).

-spec init(term()) -> no_return().
init(List) ->
    Known = [owner, name, store, label, ancestors, generation, only, max_memory, max_entries, evict],
    kv_reference:enter(?MODULE, Known, List, fun(_Options) -> #{} end).

-spec handle_call(term(), gen_server:from(), map()) -> {reply, term(), map()}.
handle_call(generation, _From, Map) ->
    {reply, kv_reference:generation(), Map};
handle_call({get, Key}, _From, Map) ->
    {reply, maps:get(Key, Map, nil), Map};
handle_call({get, Key, Default}, _From, Map) ->
    {reply, maps:get(Key, Map, Default), Map};
handle_call({fetch, Key}, _From, Map) ->
    {reply, maps:find(Key, Map), Map};
handle_call({put, Key, Value}, _From, Map) ->
    {reply, ok, put(Key, Value, Map)};
handle_call({put_new, Key, _Value}, _From, Map) when is_map_key(Key, Map) ->
    {reply, false, Map};
handle_call({put_new, Key, Value}, _From, Map) ->
    {reply, true, put(Key, Value, Map)};
handle_call({Put, _Key, _Value, Ttl}, _From, Map) when Put =:= put orelse Put =:= put_new, not ?IS_TTL(Ttl) ->
    {reply, {error, {bad_ttl, Ttl}}, Map};
handle_call({Put, Key, Value, Ttl}, From, Map) when Put =:= put; Put =:= put_new ->
    {reply, Done, New} = handle_call({Put, Key, Value}, From, Map),
    ok = keep_for(Ttl, [Key || Done =/= false]),
    {reply, Done, New};
handle_call({delete, Key}, From, Map) ->
    handle_call({delete, Key, nil}, From, Map);
handle_call({delete, Key, Default}, _From, Map) ->
    {reply, maps:get(Key, Map, Default), maps:remove(Key, Map)};
handle_call({pop, Key}, _From, Map) ->
    {reply, maps:find(Key, Map), maps:remove(Key, Map)};
handle_call({swap, Key, Value}, _From, Map) ->
    {reply, maps:find(Key, Map), put(Key, Value, Map)};
handle_call({replace, Key, Value}, _From, Map) when is_map_key(Key, Map) ->
    {reply, true, put(Key, Value, Map)};
handle_call({replace, _Key, _Value}, _From, Map) ->
    {reply, false, Map};
handle_call({compare_and_put, Key, Old, New}, _From, Map) ->
    case maps:find(Key, Map) =:= {ok, Old} of
        true -> {reply, true, put(Key, New, Map)};
        false -> {reply, false, Map}
    end;
handle_call({compare_and_delete, Key, Old}, _From, Map) ->
    case maps:find(Key, Map) =:= {ok, Old} of
        true -> {reply, true, maps:remove(Key, Map)};
        false -> {reply, false, Map}
    end;
handle_call({Step, _Key, By}, _From, Map) when Step =:= incr orelse Step =:= decr, not is_integer(By) ->
    {reply, {error, {bad_step, By}}, Map};
handle_call({decr, Key, By}, From, Map) ->
    handle_call({incr, Key, -By}, From, Map);
handle_call({incr, Key, By}, _From, Map) ->
    case maps:get(Key, Map, 0) of
        Old when is_integer(Old) -> {reply, Old + By, Map#{Key => Old + By}};
        _ -> {reply, {error, not_an_integer}, Map}
    end;
handle_call({has_key, Key}, _From, Map) ->
    {reply, is_map_key(Key, Map), Map};
handle_call(size, _From, Map) ->
    {reply, map_size(Map), Map};
handle_call(keys, _From, Map) ->
    {reply, maps:keys(Map), Map};
handle_call(to_map, _From, Map) ->
    {reply, Map, Map};
handle_call(clear, _From, _Map) ->
    {reply, ok, #{}};
handle_call({get_many, Keys}, From, Map) ->
    handle_call({get_many, Keys, nil}, From, Map);
handle_call({get_many, Keys, Default}, _From, Map) ->
    case is_proper(Keys) of
        true -> {reply, [maps:get(Key, Map, Default) || Key <- Keys], Map};
        false -> {reply, {error, {bad_keys, Keys}}, Map}
    end;
handle_call({put_many, Entries}, _From, Map) ->
    case are_entries(Entries) of
        true -> {reply, ok, put_many(Entries, Map)};
        false -> {reply, {error, {bad_entries, Entries}}, Map}
    end;
handle_call({put_many, _Entries, Ttl}, _From, Map) when not ?IS_TTL(Ttl) ->
    {reply, {error, {bad_ttl, Ttl}}, Map};
handle_call({put_many, Entries, Ttl}, From, Map) ->
    {reply, Done, New} = handle_call({put_many, Entries}, From, Map),
    ok = keep_for(Ttl, [Key || Done =:= ok, {Key, _} <- entries(Entries)]),
    {reply, Done, New};
handle_call({put_new_many, Entries}, From, Map) ->
    handle_call({put_new_many, Entries, infinity}, From, Map);
handle_call({put_new_many, Entries, Ttl}, From, Map) ->
    IsEntries = are_entries(Entries),
    case [Key || true <- [IsEntries], {Key, _} <- entries(Entries), is_map_key(Key, Map)] of
        [_ | _] when ?IS_TTL(Ttl) ->
            {reply, false, Map};
        _ ->
            {reply, Done, New} = handle_call({put_many, Entries, Ttl}, From, Map),
            {reply, if Done =:= ok -> true; true -> Done end, New}
    end;
handle_call({delete_many, Keys}, _From, Map) ->
    case is_proper(Keys) of
        true -> {reply, length([K || K <- lists:usort(Keys), is_map_key(K, Map)]), maps:without(Keys, Map)};
        false -> {reply, {error, {bad_keys, Keys}}, Map}
    end;
handle_call(Request, _From, Map) ->
    {reply, {error, {bad_request, Request}}, Map}.

-spec handle_cast(term(), map()) -> {noreply, map()}.
handle_cast({put, Key, Value}, Map) -> {noreply, put(Key, Value, Map)};
handle_cast({delete, Key}, Map) -> {noreply, maps:remove(Key, Map)};
handle_cast(clear, _Map) -> {noreply, #{}};
handle_cast({Many, Argument}, Map) when Many =:= put_many; Many =:= delete_many ->
    {reply, _, New} = handle_call({Many, Argument}, none, Map),
    {noreply, New};
handle_cast(_Request, Map) -> {noreply, Map}.

is_proper([_ | Tail]) -> is_proper(Tail);
is_proper(Tail) -> Tail =:= [].

are_entries(Map) when is_map(Map) -> true;
are_entries(Term) -> is_proper(Term) andalso lists:all(fun(Entry) -> is_tuple(Entry) andalso tuple_size(Entry) =:= 2 end, Term).

put_many(Entries, Map) -> lists:foldl(fun({Key, Value}, Acc) -> put(Key, Value, Acc) end, Map, entries(Entries)).

entries(Entries) when is_map(Entries) -> maps:to_list(Entries);
entries(Entries) -> Entries.

%% A map keeps a key that it has, such as -0.0 for 0.0 before OTP 27. A new put has its full time to live again.
put(Key, Value, Map) ->
    _ = erase({timer, Key}),
    Map#{Key => Value}.

keep_for(infinity, _Keys) ->
    ok;
keep_for(Ttl, Keys) ->
    lists:foreach(fun(Key) -> erlang:put({timer, Key}, erlang:start_timer(Ttl, self(), {expired, Key})) end, Keys).

-spec handle_info(term(), map()) -> {noreply, map()} | {stop, term(), map()}.
handle_info({'DOWN', Monitor, process, _, Reason}, Map) ->
    case kv_reference:owner_ended(Monitor) of
        true -> {stop, Reason, Map};
        false -> {noreply, Map}
    end;
handle_info({timeout, Timer, {expired, Key}}, Map) ->
    case get({timer, Key}) of
        Timer ->
            _ = erase({timer, Key}),
            {noreply, maps:remove(Key, Map)};
        _ ->
            {noreply, Map}
    end;
handle_info(_Message, Map) ->
    {noreply, Map}.

-spec code_change(term(), map(), term()) -> {ok, map()}.
code_change(_Old, Map, _Extra) ->
    {ok, Map}.
