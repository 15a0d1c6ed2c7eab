%% @doc A map in a persistent term: each call reads it, few moments change it, and an empty one is erased.
%%
%% Readers take it by `persistent_term:get(Key, #{})'. Only the process of {@link kv_watcher} changes it. The VM looks through
%% the heaps of all processes at each change, so a map that stays the same is not put.
%% @private
-module(kv_published).

-export([update/2]).

%% @doc Puts the map that Change makes of the one under Key.
-spec update(Key :: atom(), fun((map()) -> map())) -> ok.
update(Key, Change) ->
    Published = persistent_term:get(Key, #{}),
    case Change(Published) of
        Published -> ok;
        Changed when map_size(Changed) =:= 0 -> _ = persistent_term:erase(Key), ok;
        Changed -> persistent_term:put(Key, Changed)
    end.
