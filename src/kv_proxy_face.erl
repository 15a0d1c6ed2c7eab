%% @doc The appearance of a proxy: in Observer, in crash and status reports, and to callers that look for its native process.
%% @private
-module(kv_proxy_face).

-export([put/1, state/3]).

-type face() :: #{
    kind := kv_proxy:kind(),
    native := pid(),
    label := binary() | undefined,
    server := atom(),
    name := kv_proxy:name(),
    durable := boolean(),
    shared := boolean()
}.

%% @doc Gives the calling proxy the appearance of its native process. Writes to the process dictionary, where others look
%% without a call, and to {@link kv_proxies} and {@link kv_local}.
-spec put(face()) -> ok.
put(#{kind := Kind, native := Native, label := Label, server := Server, name := Name, durable := Durable, shared := Shared}) ->
    _ = erlang:put('$initial_call', {module(Kind), init, 1}),
    case erlang:put('$kv_native', {Kind, Native, Label}) of
        {_, Native, _} ->
            ok;
        _ ->
            ok = kv_local:publish_proxy(#{
                proxy => self(),
                native => Native,
                server => Server,
                kind => Kind,
                name => shown_name(Name, Label),
                durable => Durable,
                shared => Shared
            }),
            publish(Kind, Native)
    end.

module(bucket) -> kv_bucket;
module(registry) -> kv_registry.

shown_name({local, Name}, _Label) -> Name;
shown_name(undefined, Label) -> Label;
shown_name(Name, _Label) -> Name.

publish(registry, Native) ->
    case process_info(self(), registered_name) of
        {registered_name, Name} -> kv_local:publish_registry(self(), Name, Native);
        _ -> kv_local:publish_registry(self(), undefined, Native)
    end;
publish(bucket, _Native) ->
    ok.

%% @doc Returns the state of a proxy for a status report. Leaves out counts of zero, and the phase of a proxy whose native process
%% is here: Observer makes a link of the pid only if it shows all keys, and shows at most seven.
-spec state(map(), atom(), #{atom() => non_neg_integer()}) -> map().
state(Shown, Phase, Counts) ->
    maps:merge(maps:merge(Shown, maps:filter(fun(_, Count) -> Count > 0 end, Counts)), phase(Phase)).

phase(here) -> #{};
phase(Phase) -> #{phase => Phase}.
