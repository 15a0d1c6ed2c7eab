%% @doc A model of clients, buckets and a registry, as a function: for each command its result, the messages that
%% clients get, and the buckets that end. The model talks to no process; kv_model_run does.
%%
%% Clients trap exits. A slot holds at most one living bucket at a time. Commands to a slot that has never had a
%% bucket do nothing.
-module(kv_model).

-export([new/1, step/2]).

-export_type([command/0, model/0, message/0]).

-type client() :: pos_integer().
-type slot() :: pos_integer().
-type how() :: plain | linked | monitored | owned | named | registered.
-type command() ::
    {create, client(), slot(), how()}
    | {put | put_new | cast, client(), slot(), term(), term()}
    | {get | delete, client(), slot(), term()}
    | {to_map | lookup | monitor | demonitor | link | unlink, client(), slot()}
    | {exit | stop, client(), slot(), atom()}
    | {die, client(), atom()}
    | disconnect.
-type message() :: {client(), {exit | down, slot(), term()}}.
-type bucket() :: #{
    alive := boolean(), owner := none | client(), registered := boolean(), data := map(), links := [client()], monitors := [client()]
}.
-type model() :: #{clients := [client()], buckets := #{slot() => bucket()}}.

-spec new([client()]) -> model().
new(Clients) ->
    #{clients => Clients, buckets => #{}}.

%% Returns the result, the messages in no order, the slots whose buckets end, and the next state.
-spec step(command(), model()) -> {term(), [message()], [slot()], model()}.
step({create, Client, Slot, How}, Model) ->
    case bucket(Slot, Model) of
        #{alive := true} -> {skipped, [], [], Model};
        _ -> {created, [], [], put_bucket(Slot, created(Client, How), Model)}
    end;
step({die, Client, Reason}, Model) ->
    died(Client, Reason, Model);
step(disconnect, Model) ->
    disconnected(Model);
step(Command, Model) ->
    Slot = element(3, Command),
    case bucket(Slot, Model) of
        none -> {skipped, [], [], Model};
        #{alive := false} -> {Result, Messages} = dead(Command), {Result, Messages, [], Model};
        Bucket -> alive(Command, Slot, Bucket, Model)
    end.

bucket(Slot, #{buckets := Buckets}) -> maps:get(Slot, Buckets, none).

put_bucket(Slot, Bucket, #{buckets := Buckets} = Model) -> Model#{buckets := Buckets#{Slot => Bucket}}.

created(Client, How) ->
    #{
        alive => true,
        owner => case How of owned -> Client; _ -> none end,
        registered => How =:= registered,
        data => #{},
        links => [Client || How =:= linked],
        monitors => [Client || How =:= monitored]
    }.

%%% Commands to a dead bucket

dead({lookup, _, _}) -> {error, []};
dead({cast, _, _, _, _}) -> {ok, []};
dead({monitor, Client, Slot}) -> {ok, [{Client, {down, Slot, noproc}}]};
dead({link, Client, Slot}) -> {true, [{Client, {exit, Slot, noproc}}]};
dead({demonitor, _, _}) -> {none, []};
dead({unlink, _, _}) -> {true, []};
dead({exit, _, _, _}) -> {true, []};
dead(_Request) -> {noproc, []}.

%%% Commands to a living bucket

alive({put, _, _, Key, Value}, Slot, Bucket, Model) -> changed(ok, Slot, Bucket, put_data(Key, Value, Bucket), Model);
alive({cast, _, _, Key, Value}, Slot, Bucket, Model) -> changed(ok, Slot, Bucket, put_data(Key, Value, Bucket), Model);
alive({put_new, _, _, Key, Value}, Slot, #{data := Data} = Bucket, Model) ->
    case Data of
        #{Key := _} -> {false, [], [], Model};
        #{} -> changed(true, Slot, Bucket, put_data(Key, Value, Bucket), Model)
    end;
alive({get, _, _, Key}, _Slot, #{data := Data}, Model) -> {maps:get(Key, Data, nil), [], [], Model};
alive({delete, _, _, Key}, Slot, #{data := Data} = Bucket, Model) -> changed(maps:get(Key, Data, nil), Slot, Bucket, maps:remove(Key, Data), Model);
alive({to_map, _, _}, _Slot, #{data := Data}, Model) -> {Data, [], [], Model};
alive({lookup, _, Slot}, Slot, #{registered := true}, Model) -> {{ok, Slot}, [], [], Model};
alive({lookup, _, _}, _Slot, #{}, Model) -> {error, [], [], Model};
alive({monitor, Client, _}, Slot, #{monitors := Monitors} = Bucket, Model) ->
    {ok, [], [], put_bucket(Slot, Bucket#{monitors := [Client | Monitors]}, Model)};
alive({demonitor, Client, _}, Slot, #{monitors := Monitors} = Bucket, Model) ->
    case lists:member(Client, Monitors) of
        true -> {true, [], [], put_bucket(Slot, Bucket#{monitors := lists:delete(Client, Monitors)}, Model)};
        false -> {none, [], [], Model}
    end;
alive({link, Client, _}, Slot, #{links := Links} = Bucket, Model) ->
    {true, [], [], put_bucket(Slot, Bucket#{links := lists:usort([Client | Links])}, Model)};
alive({unlink, Client, _}, Slot, #{links := Links} = Bucket, Model) ->
    {true, [], [], put_bucket(Slot, Bucket#{links := lists:delete(Client, Links)}, Model)};
alive({exit, _, _, normal}, _Slot, _Bucket, Model) -> {true, [], [], Model};
alive({exit, _, _, kill}, Slot, _Bucket, Model) -> ended(true, [{Slot, killed}], Model);
alive({exit, _, _, Reason}, Slot, _Bucket, Model) -> ended(true, [{Slot, Reason}], Model);
alive({stop, _, _, Reason}, Slot, _Bucket, Model) -> ended(ok, [{Slot, Reason}], Model).

put_data(Key, Value, #{data := Data}) -> Data#{Key => Value}.

changed(Result, Slot, Bucket, Data, Model) ->
    {Result, [], [], put_bucket(Slot, Bucket#{data := Data}, Model)}.

%%% Ends

ended(Result, Deaths, Model) ->
    Messages = [Message || {Slot, Reason} <- Deaths, Message <- told(Slot, bucket(Slot, Model), Reason)],
    {Result, Messages, [Slot || {Slot, _} <- Deaths], lists:foldl(fun({Slot, _}, M) -> bury(Slot, M) end, Model, Deaths)}.

told(Slot, #{links := Links, monitors := Monitors}, Reason) ->
    [{Client, {exit, Slot, Reason}} || Client <- Links] ++ [{Client, {down, Slot, Reason}} || Client <- Monitors].

bury(Slot, Model) ->
    put_bucket(Slot, (bucket(Slot, Model))#{alive := false, links := [], monitors := []}, Model).

%% A client that ends takes its links along, unless it ends normally, and all that it owns. Its successor starts from
%% nothing.
died(Client, Reason, #{buckets := Buckets} = Model0) ->
    Deaths = [{Slot, Reason} || {Slot, #{alive := true} = Bucket} <- maps:to_list(Buckets), goes_along(Client, Reason, Bucket)],
    Forget = fun(_Slot, #{links := Links, monitors := Monitors, owner := Owner} = Bucket) ->
        Bucket#{
            links := lists:delete(Client, Links),
            monitors := [C || C <- Monitors, C =/= Client],
            owner := case Owner of Client -> none; _ -> Owner end
        }
    end,
    ended(Reason, Deaths, Model0#{buckets := maps:map(Forget, Buckets)}).

goes_along(Client, _Reason, #{owner := Client}) -> true;
goes_along(Client, Reason, #{links := Links}) -> Reason =/= normal andalso lists:member(Client, Links).

%% Clients get the loss. Processes that depend on a client end, and nobody is left to get the reason.
disconnected(#{buckets := Buckets} = Model) ->
    Living = [{Slot, Bucket} || {Slot, #{alive := true} = Bucket} <- maps:to_list(Buckets)],
    Messages = [Message || {Slot, Bucket} <- Living, Message <- told(Slot, Bucket, noconnection)],
    Deaths = [Slot || {Slot, #{links := Links, owner := Owner}} <- Living, Links =/= [] orelse Owner =/= none],
    Cleared = maps:map(fun(Slot, #{alive := Alive} = Bucket) ->
        Bucket#{links := [], monitors := [], alive := Alive andalso not lists:member(Slot, Deaths)}
    end, Buckets),
    {ok, Messages, Deaths, Model#{buckets := Cleared}}.
