%% @doc A registry as a gen_server over a map of names to pids. It is loaded as `kv_registry' on the reference node.
-module(kv_reference_registry).
-behaviour(gen_server).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2, code_change/3]).

%% Names that are being created, and the requests that wait for them; and the metadata of names. In the process dictionary, so
%% that the state has only names and pids.
-define(WAITING, '$waiting').
-define(META, '$meta').

-define(MOST, 65536).

-spec init(term()) -> no_return().
init(List) ->
    Known = [owner, name, creator, event_manager, label, ancestors, generation, only],
    kv_reference:enter(?MODULE, Known, List, fun(Options) ->
        _ = put(?WAITING, #{}),
        _ = put(?META, #{}),
        _ = put('$creator', maps:get(creator, Options, undefined)),
        _ = put('$events', maps:get(event_manager, Options, undefined)),
        _ = put('$creator_monitor', watch(get('$creator'))),
        #{}
    end).

watch(undefined) -> undefined;
watch(Creator) -> monitor(process, Creator).

-spec handle_call(term(), gen_server:from(), map()) -> term().
handle_call(generation, _From, Names) ->
    {reply, kv_reference:generation(), Names};
handle_call({bucket_created, Name, Pid}, _From, Names) when is_binary(Name), is_pid(Pid) ->
    case {Names, get(?WAITING)} of
        {#{Name := Pid}, _} -> {reply, ok, Names};
        {#{Name := Other}, _} -> {reply, {error, {already_created, Other}}, Names};
        {_, #{Name := _}} -> {reply, ok, settle(Name, {ok, Pid}, Names)};
        {_, _} -> {reply, {error, unknown_name}, Names}
    end;
handle_call({Request, Prefix}, _From, Names) when
    (Request =:= names orelse Request =:= list orelse Request =:= count), not is_binary(Prefix)
->
    {reply, {error, {bad_prefix, Prefix}}, Names};
handle_call({Request, Prefix}, _From, Names) when Request =:= names; Request =:= list; Request =:= count ->
    {reply, select(Request, maps:filter(fun(Name, _) -> binary:longest_common_prefix([Name, Prefix]) =:= byte_size(Prefix) end, Names)), Names};
handle_call(Request, _From, Names) when Request =:= names; Request =:= list; Request =:= count ->
    {reply, select(Request, Names), Names};
handle_call(stop, _From, Names) ->
    {stop, normal, ok, Names};
handle_call(Request, From, Names) ->
    case named(Request) of
        {ok, Name} -> named(Name, Request, From, Names);
        {error, Reason} -> {reply, {error, Reason}, Names}
    end.

select(names, Names) -> maps:keys(Names);
select(list, Names) -> maps:to_list(Names);
select(count, Names) -> map_size(Names).

%%% Requests about one name

%% Returns the name, or the error of a request that can be refused without looking at any name.
named({rename, _, New}) when not is_binary(New) -> {error, {bad_name, New}};
named({rename, _, New}) when byte_size(New) > ?MOST -> {error, {name_too_long, byte_size(New)}};
named({rename, Old, _}) -> is_name(Old);
named({put_meta, Name, Meta}) ->
    case size_of(Meta) of
        Size when Size > ?MOST -> {error, {meta_too_large, Size}};
        _ -> is_name(Name)
    end;
named({Request, Name}) when Request =:= lookup; Request =:= create; Request =:= delete; Request =:= meta -> is_name(Name);
named({create, Name, _Options}) -> is_name(Name);
named({create, Name, _Options, _Meta}) -> is_name(Name);
named(Request) -> {error, {bad_request, Request}}.

is_name(Name) when is_binary(Name) -> {ok, Name};
is_name(Name) -> {error, {bad_name, Name}}.

%% The size in a message, without the byte of the version.
size_of(Term) -> erlang:external_size(Term) - 1.

named(Name, Request, From, Names) ->
    case get(?WAITING) of
        #{Name := Calls} = Waiting ->
            _ = put(?WAITING, Waiting#{Name => Calls ++ [{Request, From}]}),
            {noreply, Names};
        #{} when not is_map_key(Name, Names), element(1, Request) =:= create ->
            create(Name, Request, From, Names);
        #{} when not is_map_key(Name, Names) ->
            {reply, error, Names};
        #{} ->
            {Reply, Next} = serve(Request, map_get(Name, Names), Names),
            {reply, Reply, Next}
    end.

serve({lookup, _}, Pid, Names) ->
    {{ok, Pid}, Names};
serve({rename, Name, Name}, _Pid, Names) ->
    {ok, Names};
serve({rename, Old, New}, Pid, Names) ->
    case is_map_key(New, Names) orelse is_map_key(New, get(?WAITING)) of
        true ->
            {{error, name_taken}, Names};
        false ->
            Meta = maps:find(Old, get(?META)),
            Without = forget(Old, Pid, Names),
            _ = [put(?META, (get(?META))#{New => Kept}) || {ok, Kept} <- [Meta]],
            _ = [put(Monitor, New) || {Monitor, Holder} <- get(), is_reference(Monitor), Holder =:= Old],
            ok = notify(create, New, Pid),
            {ok, Without#{New => Pid}}
    end;
serve({delete, Name}, Pid, Names) ->
    _ = [{erase(Monitor), demonitor(Monitor, [flush])} || {Monitor, Holder} <- get(), is_reference(Monitor), Holder =:= Name],
    Without = forget(Name, Pid, Names),
    %% It may have ended already.
    _ = try gen_server:stop(Pid, normal, infinity) catch exit:_ -> gone end,
    {ok, Without};
serve({meta, Name}, _Pid, Names) ->
    {maps:find(Name, get(?META)), Names};
serve({put_meta, Name, Meta}, _Pid, Names) ->
    _ = put(?META, (get(?META))#{Name => Meta}),
    {ok, Names};
serve(Create, Pid, Names) when element(1, Create) =:= create ->
    {Pid, Names}.

forget(Name, Pid, Names) ->
    _ = put(?META, maps:remove(Name, get(?META))),
    ok = notify(exit, Name, Pid),
    maps:remove(Name, Names).

%%% Creating

create(Name, _Request, _From, Names) when byte_size(Name) > ?MOST ->
    {reply, {error, {name_too_long, byte_size(Name)}}, Names};
create(Name, {create, Name, Options, Meta} = Request, From, Names) ->
    case size_of(Meta) of
        Size when Size > ?MOST -> {reply, {error, {meta_too_large, Size}}, Names};
        _ -> create(Name, Options, {ok, Meta}, {Request, From}, Names)
    end;
create(Name, {create, Name, Options} = Request, From, Names) ->
    create(Name, Options, error, {Request, From}, Names);
create(Name, {create, Name} = Request, From, Names) ->
    create(Name, none, error, {Request, From}, Names).

create(Name, Options, Meta, Call, Names) ->
    case {get('$creator'), wrong(Options)} of
        {_, {true, Wrong}} when not is_list(Options) ->
            {reply, {error, {bad_option, Wrong}}, Names};
        {undefined, {true, Wrong}} ->
            {reply, {error, {bad_option, Wrong}}, Names};
        {Creator, _} ->
            _ = put(?WAITING, (get(?WAITING))#{Name => [Call]}),
            _ = [put(?META, (get(?META))#{Name => Given}) || {ok, Given} <- [Meta]],
            {noreply, make(Creator, Name, Options, Names)}
    end.

%% The reference checks just what the cases send.
wrong(none) -> false;
wrong(Options) when not is_list(Options) -> {true, Options};
wrong(Options) ->
    case [Option || Option <- Options, not is_good(Option)] of
        [] -> false;
        [Wrong | _] -> {true, Wrong}
    end.

is_good({max_memory, Bytes}) -> is_integer(Bytes) andalso Bytes > 0;
is_good({evict, How}) -> lists:member(How, [none, lru, ttl]);
is_good(_Option) -> false.

make(undefined, Name, Options, Names) ->
    Given = [Option || Options =/= none, Option <- Options],
    Bucket = spawn(kv_bucket, init, [[{owner, self()}, {label, Name} | Given]]),
    settle(Name, {ok, Bucket}, Names);
make(Creator, Name, none, Names) ->
    Creator ! {create_bucket, self(), Name},
    Names;
make(Creator, Name, Options, Names) ->
    Creator ! {create_bucket, self(), Name, Options},
    Names.

%% Serves all that waits, in order.
settle(Name, Outcome, Names) ->
    {Calls, Waiting} = maps:take(Name, get(?WAITING)),
    _ = put(?WAITING, Waiting),
    lists:foldl(fun(Call, Acc) -> settle_call(Call, Outcome, Acc) end, settled(Name, Outcome, Names), Calls).

settle_call({Create, From}, {error, Reason}, Names) when element(1, Create) =:= create ->
    ok = reply(From, {error, Reason}),
    Names;
settle_call({Request, From}, _Outcome, Names) ->
    case handle_call(Request, From, Names) of
        {reply, Reply, Next} -> ok = reply(From, Reply), Next;
        {noreply, Next} -> Next
    end.

%% Nobody waits for the answer to a cast.
reply(cast, _Reply) -> ok;
reply(From, Reply) -> gen_server:reply(From, Reply).

settled(Name, {ok, Pid}, Names) ->
    _ = put(monitor(process, Pid), Name),
    ok = notify(create, Name, Pid),
    Names#{Name => Pid};
settled(Name, {error, _}, Names) ->
    _ = put(?META, maps:remove(Name, get(?META))),
    Names.

notify(Kind, Name, Pid) ->
    case get('$events') of
        undefined -> ok;
        Manager -> gen_event:notify(Manager, {Kind, Name, Pid})
    end.

-spec handle_cast(term(), map()) -> {noreply, map()}.
handle_cast({bucket_created, Name, Pid}, Names) ->
    {noreply, outcome(Name, {ok, Pid}, Names)};
handle_cast({bucket_failed, Name, Reason}, Names) ->
    {noreply, outcome(Name, {error, Reason}, Names)};
handle_cast(Request, Names) when element(1, Request) =:= create; element(1, Request) =:= rename;
        element(1, Request) =:= delete; element(1, Request) =:= put_meta ->
    case handle_call(Request, cast, Names) of
        {reply, _Reply, Next} -> {noreply, Next};
        {noreply, Next} -> {noreply, Next}
    end;
handle_cast(_Request, Names) ->
    {noreply, Names}.

outcome(Name, Outcome, Names) ->
    case get(?WAITING) of
        #{Name := _} -> settle(Name, Outcome, Names);
        #{} -> Names
    end.

-spec handle_info(term(), map()) -> {noreply, map()} | {stop, term(), map()}.
handle_info({'DOWN', Monitor, process, Pid, Reason}, Names) ->
    case {kv_reference:owner_ended(Monitor), get('$creator_monitor') =:= Monitor, erase(Monitor)} of
        {true, _, _} ->
            {stop, Reason, Names};
        {_, true, _} ->
            {noreply, lists:foldl(fun(Name, Acc) -> settle(Name, {error, Reason}, Acc) end, Names, maps:keys(get(?WAITING)))};
        {_, _, undefined} ->
            {noreply, Names};
        {_, _, Name} ->
            {noreply, forget(Name, Pid, Names)}
    end;
handle_info(_Message, Names) ->
    {noreply, Names}.

-spec code_change(term(), map(), term()) -> {ok, map()}.
code_change(_Old, Names, _Extra) ->
    {ok, Names}.
