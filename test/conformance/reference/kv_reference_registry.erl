%% @doc A registry as a gen_server over a map of names to pids. It is loaded as `kv_registry' on the reference node.
-module(kv_reference_registry).
-behaviour(gen_server).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2, code_change/3]).

%% Names that are being created, and who waits for them. In the process dictionary, so that the state has only names
%% and pids.
-define(WAITING, '$waiting').

-spec init(term()) -> no_return().
init(List) ->
    Known = [owner, name, creator, event_manager, label, ancestors, generation, only],
    kv_reference:enter(?MODULE, Known, List, fun(Options) ->
        _ = put(?WAITING, #{}),
        _ = put('$creator', maps:get(creator, Options, undefined)),
        _ = put('$events', maps:get(event_manager, Options, undefined)),
        _ = put('$creator_monitor', watch(get('$creator'))),
        #{}
    end).

watch(undefined) -> undefined;
watch(Creator) -> monitor(process, Creator).

-spec handle_call(term(), gen_server:from(), map()) -> term().
handle_call({Request, Name}, _From, Names) when (Request =:= lookup orelse Request =:= create), not is_binary(Name) ->
    {reply, {error, {bad_name, Name}}, Names};
handle_call({Request, Name} = Call, From, Names) when Request =:= lookup; Request =:= create ->
    case {Names, get(?WAITING)} of
        {#{Name := Pid}, _} -> {reply, answer(Request, {ok, Pid}), Names};
        {_, #{Name := Calls} = Waiting} -> {noreply, Names, wait(Name, Calls ++ [{Call, From}], Waiting)};
        {_, _} when Request =:= lookup -> {reply, error, Names};
        {_, _} -> {noreply, create(Name, [{Call, From}], Names)}
    end;
handle_call(generation, _From, Names) ->
    {reply, kv_reference:generation(), Names};
handle_call({bucket_created, Name, Pid}, _From, Names) when is_binary(Name), is_pid(Pid) ->
    case {Names, get(?WAITING)} of
        {#{Name := Pid}, _} -> {reply, ok, Names};
        {#{Name := Other}, _} -> {reply, {error, {already_created, Other}}, Names};
        {_, #{Name := _}} -> {reply, ok, settle(Name, {ok, Pid}, Names)};
        {_, _} -> {reply, {error, unknown_name}, Names}
    end;
handle_call(names, _From, Names) ->
    {reply, maps:keys(Names), Names};
handle_call(stop, _From, Names) ->
    {stop, normal, ok, Names};
handle_call(Request, _From, Names) ->
    {reply, {error, {bad_request, Request}}, Names}.

answer(lookup, {ok, Pid}) -> {ok, Pid};
answer(lookup, {error, _}) -> error;
answer(create, {ok, Pid}) -> Pid;
answer(create, {error, Reason}) -> {error, Reason}.

wait(Name, Calls, Waiting) ->
    _ = put(?WAITING, Waiting#{Name => Calls}),
    infinity.

create(Name, Calls, Names) ->
    _ = wait(Name, Calls, get(?WAITING)),
    case get('$creator') of
        undefined ->
            Bucket = spawn(kv_bucket, init, [[{owner, self()}, {label, Name}]]),
            settle(Name, {ok, Bucket}, Names);
        Creator ->
            Creator ! {create_bucket, self(), Name},
            Names
    end.

%% Answers all who wait, in order.
settle(Name, Outcome, Names0) ->
    {Calls, Waiting} = maps:take(Name, get(?WAITING)),
    _ = put(?WAITING, Waiting),
    Names = settled(Name, Outcome, Names0),
    [gen_server:reply(From, answer(Request, Outcome)) || {{Request, _}, From} <- Calls],
    Names.

settled(Name, {ok, Pid}, Names) ->
    _ = put(monitor(process, Pid), Name),
    ok = notify(create, Name, Pid),
    Names#{Name => Pid};
settled(_Name, {error, _}, Names) ->
    Names.

notify(Kind, Name, Pid) ->
    case get('$events') of
        undefined -> ok;
        Manager -> gen_event:notify(Manager, {Kind, Name, Pid})
    end.

-spec handle_cast(term(), map()) -> {noreply, map()}.
handle_cast({create, Name}, Names) when is_binary(Name) ->
    case is_map_key(Name, Names) orelse is_map_key(Name, get(?WAITING)) of
        true -> {noreply, Names};
        false -> {noreply, create(Name, [], Names)}
    end;
handle_cast({bucket_created, Name, Pid}, Names) ->
    {noreply, outcome(Name, {ok, Pid}, Names)};
handle_cast({bucket_failed, Name, Reason}, Names) ->
    {noreply, outcome(Name, {error, Reason}, Names)};
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
            ok = notify(exit, Name, Pid),
            {noreply, maps:remove(Name, Names)}
    end;
handle_info(_Message, Names) ->
    {noreply, Names}.

-spec code_change(term(), map(), term()) -> {ok, map()}.
code_change(_Old, Names, _Extra) ->
    {ok, Names}.
