%% Clients that change durable buckets and a registry until they are killed, and tell a process outside of their VM of each answer.
%%
%% The operations of a client follow from its number and a seed, so the process outside knows them without being told.
%% The keys of a client are its own. In the model a value {N, L} stands for the number of the operation and L words.
-module(kv_kill_client).

-export([window/1, bucket/1, buckets/1, committed/3, model/2]).
-export([serve/2, start/4, contents/1]).

-define(KEYS, 50).
-define(WINDOW, 8).
-define(MANY, 40).
-define(BIG, 20000).

%% Clients whose operations are those of kv_kill_names.
-define(IS_OF_NAMES(Client), (Client rem 4 =:= 3)).

%% How many operations of a client may wait for their answers at once: that many may have happened without one.
window(Client) when ?IS_OF_NAMES(Client) -> 1;
window(Client) when Client rem 3 =:= 0 -> ?WINDOW;
window(_Client) -> 1.

%% Every fourth client has a bucket of its own, and clears it now and then. Every fourth one changes a registry.
bucket(Client) when ?IS_OF_NAMES(Client) -> kv_kill_names:registry();
bucket(Client) when Client rem 4 =:= 0 -> list_to_atom("kills_own_" ++ integer_to_list(Client));
bucket(Client) -> element(Client rem 2 + 1, {kills_even, kills_odd}).

%% With either policy an answered change outlives a kill.
policy(kills_odd) -> interval;
policy(_Bucket) -> commit.

buckets(Clients) ->
    lists:usort([bucket(Client) || Client <- lists:seq(1, Clients)]).

%%% Operations

%% Returns operation N of a client.
operation(Seed, Client, N) ->
    Draw = fun(What, Range) -> erlang:phash2({Seed, Client, N, What}, Range) end,
    drawn(Client, N, Draw).

drawn(Client, N, Draw) when ?IS_OF_NAMES(Client) -> kv_kill_names:operation(Client, N, Draw);
drawn(Client, N, Draw) -> kind(Draw(kind, 40), Client, N, Draw).

kind(Kind, Client, N, Draw) when Kind < 14 -> {put, [key(Client, Draw), value(N, Draw(length, 60))]};
kind(14, Client, N, Draw) -> {put, [key(Client, Draw), value(N, Draw(length, ?BIG))]};
kind(Kind, Client, N, Draw) when Kind < 22 -> {put_many, [many(Client, N, Draw)]};
kind(Kind, Client, _N, Draw) when Kind < 26 -> {delete, [key(Client, Draw)]};
kind(Kind, Client, _N, Draw) when Kind < 28 -> {delete_many, [lists:usort([{Client, Draw(I, ?KEYS)} || I <- lists:seq(1, 10)])]};
kind(Kind, Client, N, Draw) when Kind < 31 -> {swap, [key(Client, Draw), value(N, 3)]};
kind(31, Client, _N, Draw) -> {pop, [key(Client, Draw)]};
kind(32, Client, _N, _Draw) when Client rem 4 =:= 0 -> {clear, []};
kind(Kind, Client, N, Draw) when Kind < 36 ->
    {transaction, [[{put, key(Client, Draw), value(N, 9)}, {incr, {Client, count}, 1}, {delete, {Client, Draw(other, ?KEYS)}}]]};
kind(_Kind, Client, _N, _Draw) -> {incr, [{Client, count}, 1]}.

%% Of the operations up to N, those that a power cut takes back neither. With `interval' an answer says only that no kill does.
committed(Seed, Client, N) when ?IS_OF_NAMES(Client) ->
    kv_kill_names:committed([{I, operation(Seed, Client, I)} || I <- lists:seq(1, N)]);
committed(_Seed, Client, N) ->
    [I || I <- lists:seq(1, N), policy(bucket(Client)) =:= commit].

key(Client, Draw) -> {Client, Draw(key, ?KEYS)}.

many(Client, N, Draw) -> [{{Client, I}, value(N, Draw({length, I}, 100))} || I <- lists:seq(0, Draw(many, ?MANY))].

value(N, Length) -> {value, N, Length}.

%%% The model

%% The contents of a client's part of its bucket after operation N, from those before it.
model({Seed, Client, N}, Contents) ->
    {Name, Arguments} = operation(Seed, Client, N),
    case ?IS_OF_NAMES(Client) of
        true -> kv_kill_names:after_operation(Name, Arguments, Contents);
        false -> after_operation(Name, Arguments, Contents)
    end.

after_operation(put, [Key, Value], Contents) -> Contents#{Key => Value};
after_operation(swap, [Key, Value], Contents) -> Contents#{Key => Value};
after_operation(put_many, [Entries], Contents) -> maps:merge(Contents, maps:from_list(Entries));
after_operation(delete, [Key], Contents) -> maps:remove(Key, Contents);
after_operation(pop, [Key], Contents) -> maps:remove(Key, Contents);
after_operation(delete_many, [Keys], Contents) -> maps:without(Keys, Contents);
after_operation(clear, [], _Contents) -> #{};
after_operation(incr, [Key, Step], Contents) -> Contents#{Key => maps:get(Key, Contents, 0) + Step};
after_operation(transaction, [Steps], Contents) ->
    lists:foldl(fun([Name | Arguments], Now) -> after_operation(Name, Arguments, Now) end, Contents, [tuple_to_list(S) || S <- Steps]).

%%% In the VM under test

%% Starts kv with durable buckets that stay. It makes checkpoints as often as it can, so that kills come in the middle of some.
serve(Folder, Clients) ->
    ok = kv_test:start_kv([{data_dir, Folder}, {checkpoint_log, 1 bsl 20}]),
    Caller = self(),
    Holder = spawn(fun() ->
        ok = kv_kill_names:serve(),
        Names = kv_kill_names:registry(),
        [{ok, _} = kv_bucket:start_link([{name, Bucket}, {durable, policy(Bucket)}]) || Bucket <- buckets(Clients), Bucket =/= Names],
        Caller ! {self(), ready},
        receive
            stop -> ok
        end
    end),
    receive
        {Holder, ready} -> ok
    end.

%% Starts a client that begins with operation N. It tells the listener of this port.
start(Port, Seed, Client, N) ->
    _ = spawn(fun() ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {packet, 4}, {nodelay, true}]),
        ok = gen_tcp:send(Socket, term_to_binary({client, Client})),
        change({Socket, target(Client), Seed, Client}, N, [])
    end),
    ok.

%% A bucket that stays would do a request after those that were lost with the program. Its native process does not.
target(Client) ->
    case window(Client) of
        1 -> bucket(Client);
        _ -> kv_proxy:native(whereis(bucket(Client)))
    end.

change({Socket, _, _, Client} = Who, N, Open) ->
    case {is_told_to_stop(Socket), length(Open) < window(Client)} of
        {true, _} -> last_answers(Socket, Open);
        {false, true} -> change(Who, N + 1, Open ++ [{N, request(Who, N)}]);
        {false, false} -> one_answer(Who, N, Open)
    end.

one_answer({Socket, _, _, _} = Who, N, [First | Open]) ->
    case answered(Socket, First) of
        true -> change(Who, N, Open);
        false -> gen_tcp:close(Socket)
    end.

last_answers(Socket, []) -> gen_tcp:close(Socket);
last_answers(Socket, [First | Open]) -> answered(Socket, First) andalso last_answers(Socket, Open), gen_tcp:close(Socket).

is_told_to_stop(Socket) ->
    receive
        {tcp, Socket, _} -> true;
        {tcp_closed, Socket} -> true
    after 0 -> false
    end.

request({_Socket, _Target, Seed, Client}, N) when ?IS_OF_NAMES(Client) ->
    {names, operation(Seed, Client, N)};
request({_Socket, Target, Seed, Client}, N) ->
    {Name, Arguments} = operation(Seed, Client, N),
    kv_bucket:async(Target, Name, [real(Argument) || Argument <- Arguments]).

%% Returns false if there was no answer: the operation may have happened.
answered(Socket, {N, Request}) ->
    try answer(Request) of
        {error, Reason} when Reason =/= not_found -> tell(Socket, {failed, N, Reason});
        _Answer -> tell(Socket, {answered, N})
    catch
        exit:_ -> false
    end.

answer({names, Operation}) -> kv_kill_names:do(Operation);
answer(Request) -> kv_bucket:await(Request, 60000).

tell(Socket, Message) ->
    gen_tcp:send(Socket, term_to_binary(Message)) =:= ok.

%% A value of the model becomes one of the bucket,
real({value, N, Length}) -> {N, words(N, Length)};
real(Entries) when is_list(Entries) -> [real(Entry) || Entry <- Entries];
real({Key, {value, _, _} = Value}) -> {Key, real(Value)};
real({put, Key, Value}) -> {put, Key, real(Value)};
real(Other) -> Other.

words(N, Length) -> binary:copy(<<N:32>>, Length).

%% and back, for all of a bucket.
contents(Bucket) ->
    case kv_kill_names:registry() of
        Bucket -> kv_kill_names:contents();
        _ -> maps:map(fun(_Key, Value) -> modelled(Value) end, kv_bucket:to_map(Bucket))
    end.

modelled({N, Words}) ->
    Length = byte_size(Words) div 4,
    case words(N, Length) of
        Words -> value(N, Length);
        _ -> {damaged, N, Length}
    end;
modelled(Count) ->
    Count.
