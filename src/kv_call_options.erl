%% @doc The options of calls: {@link kv_bucket}, {@link kv_registry}. The last argument of a function that waits is a
%% timeout or a list of options. `timeout' is an option of all of them, `ttl' of those that put, and `default' of `get' and
%% `get_many'.
%%
%% All functions raise `badarg', with a sentence, in the name of the call that the user has made: {@link kv_misuse}.
%% @private
-module(kv_call_options).

-include("kv_timeout.hrl").

-export([server/1, timeout/2, put/2, update/2, third/2, sent/3]).

-define(TIMEOUT, 5000).
%% Milliseconds: the program takes no more.
-define(TTL_MAX, (1 bsl 46)).

%% @doc Raises `badarg' if the first argument of a call can name no process.
-spec server(kv_misuse:call()) -> ok.
server({_Module, _Function, [Server | _]}) when is_pid(Server); is_atom(Server) ->
    ok;
server({_Module, _Function, [Server | _]} = Call) ->
    case names_a_process(Server) of
        true -> ok;
        false -> kv_misuse:raise(Call, 1, kv_options:wrong("the server", wanted_server(Server), Server))
    end.

names_a_process({global, _Name}) -> true;
names_a_process({via, Module, _Name}) -> is_atom(Module);
names_a_process({Name, Node}) -> is_atom(Name) andalso is_atom(Node);
names_a_process(_Other) -> false.

wanted_server({ok, Pid}) when is_pid(Pid) -> "the pid alone";
wanted_server(_Other) -> "a pid, a registered name, {Name, Node}, {global, Name} or {via, Module, Name}".

%% @doc Returns the timeout that the last argument of a call gives, or Default.
-spec timeout(kv_misuse:call(), timeout()) -> timeout().
timeout({_Module, _Function, Arguments} = Call, Default) ->
    ok = check(lists:last(Arguments), [timeout], length(Arguments), Call),
    first(timeout, lists:last(Arguments), Default).

%% @doc Returns the time to live, as the last argument of a request, and the timeout.
-spec put(kv_misuse:call(), [{atom(), term()}] | term()) -> {[pos_integer()], timeout()}.
put(_Call, [{ttl, Ms}]) when is_integer(Ms), Ms > 0, Ms =< ?TTL_MAX ->
    {[Ms], ?TIMEOUT};
put({_Module, _Function, Arguments} = Call, Options) ->
    ok = check(Options, [timeout, ttl], length(Arguments), Call),
    {ttl(Options), first(timeout, Options, ?TIMEOUT)}.

%% @doc Returns the time to live and the timeout for a function that keeps the time to live unless one is given.
-spec update(kv_misuse:call(), timeout() | [{atom(), term()}] | term()) -> {keep | infinity | pos_integer(), timeout()}.
update(_Call, Timeout) when ?IS_TIMEOUT(Timeout) ->
    {keep, Timeout};
update({_Module, _Function, Arguments} = Call, Options) ->
    ok = check(Options, [timeout, ttl, keep_ttl], length(Arguments), Call),
    {first(ttl, Options, keep), first(timeout, Options, ?TIMEOUT)}.

ttl(Options) ->
    case first(ttl, Options, infinity) of
        infinity -> [];
        Ms -> [Ms]
    end.

%% @doc Returns default and timeout where the third argument of `get' or `get_many' is a list: options, if it is a list of
%% pairs with one of these options among them, or else the default itself.
-spec third(kv_misuse:call(), term()) -> {Default :: term(), timeout()}.
third({_Module, _Function, [_, _, List]} = Call, Absent) ->
    case are_for_get(List) of
        true ->
            ok = check(List, [timeout, default], 3, Call),
            {first(default, List, Absent), first(timeout, List, ?TIMEOUT)};
        false ->
            {List, ?TIMEOUT}
    end.

%% One known option is enough: a wrong one beside it is an error, and no default.
are_for_get(List) ->
    are_pairs(List) andalso (lists:keymember(timeout, 1, List) orelse lists:keymember(default, 1, List)).

are_pairs([{Key, _} | Rest]) -> is_atom(Key) andalso (Rest =:= [] orelse are_pairs(Rest));
are_pairs(_List) -> false.

first(Key, Options, Default) ->
    case lists:keyfind(Key, 1, Options) of
        {Key, Value} -> Value;
        false -> Default
    end.

%% Every option must be right, also one that does not count because it is the second of its name.
check([{Key, Value} | Rest], Known, Place, Call) ->
    case verdict(Key, Value, Known) of
        true -> check(Rest, Known, Place, Call);
        {wanted, Wanted} -> kv_misuse:raise(Call, Place, kv_options:wrong(atom_to_list(Key), Wanted, Value));
        unknown -> kv_misuse:raise(Call, Place, unknown(Key, Known, Call))
    end;
check([], _Known, _Place, _Call) ->
    ok;
check([Other | _], _Known, Place, Call) ->
    kv_misuse:raise(Call, Place, kv_options:wrong("an option", "a pair of key and value", Other));
check(Other, _Known, Place, Call) ->
    kv_misuse:raise(Call, Place, kv_options:wrong("the timeout", wanted_timeout() ++ ", or a list of options", Other)).

verdict(Key, Value, Known) ->
    case lists:member(Key, Known) andalso is_good(Key, Value) of
        true -> true;
        {wanted, Wanted} -> {wanted, Wanted};
        false -> unknown
    end.

is_good(timeout, Value) when ?IS_TIMEOUT(Value) -> true;
is_good(timeout, _Value) -> {wanted, wanted_timeout()};
is_good(ttl, infinity) -> true;
is_good(ttl, Ms) when is_integer(Ms), Ms > 0, Ms =< ?TTL_MAX -> true;
is_good(ttl, _Value) -> {wanted, ["1 to ", integer_to_list(?TTL_MAX), " milliseconds, or infinity"]};
is_good(keep_ttl, true) -> true;
is_good(keep_ttl, _Value) -> {wanted, "true, or no such option"};
is_good(default, _Value) -> true.

wanted_timeout() ->
    "0 to " ++ integer_to_list(?MAX_TIMEOUT) ++ " milliseconds, or infinity".

unknown(default, _Known, {_, Get, [_, _, _, _]}) when Get =:= get; Get =:= get_many ->
    "the default is the third argument already; here stands the timeout, or a list with it";
unknown(Key, Known, _Call) ->
    kv_options:unknown(Key, Known).

%%% async and cast: the last argument of the call are the arguments of another function

%% @doc Returns the arguments of a request: {@link kv_request:call/4}. Functions are those that may be sent so; Absent is the
%% default of `get', `get_many' and `delete'.
-spec sent(kv_misuse:call(), [kv_request:name()], term()) -> [term()].
sent({_Module, How, [_Bucket, Function, Arguments]} = Call, Functions, Absent) ->
    case lists:member(Function, Functions) of
        true -> sent(Function, Arguments, counted(Arguments) - count(Function), Absent, Call);
        false -> kv_misuse:raise(Call, 2, no_function(How, Function, Functions))
    end.

%% The last number tells how many arguments there are beyond those that must be there.
sent(Get, [Key], 0, Absent, _Call) when Get =:= get; Get =:= get_many; Get =:= delete ->
    [Key, Absent];
sent(_Function, Arguments, 0, _Absent, _Call) ->
    Arguments;
sent(Get, [Key, Default], 1, Absent, Call) when Get =:= get; Get =:= get_many ->
    case is_list(Default) andalso are_for_get(Default) of
        true -> ok = check_sent(Default, [default], Call), [Key, first(default, Default, Absent)];
        false -> [Key, Default]
    end;
sent(Get, [Key, Default, Options], 2, _Absent, Call) when Get =:= get; Get =:= get_many ->
    ok = check_sent(Options, [], Call),
    [Key, Default];
sent(Put, Arguments, 1, _Absent, Call) when Put =:= put; Put =:= put_new; Put =:= put_many ->
    Options = lists:last(Arguments),
    ok = check_sent(Options, [ttl], Call),
    lists:droplast(Arguments) ++ ttl(Options);
sent(Function, Arguments, 1, Absent, Call) ->
    ok = check_sent(lists:last(Arguments), [], Call),
    sent(Function, lists:droplast(Arguments), 0, Absent, Call);
sent(Function, Arguments, _Other, _Absent, Call) ->
    kv_misuse:raise(Call, 3, kv_options:wrong("the arguments", wanted(Function), Arguments)).

count(Function) when Function =:= put; Function =:= put_new -> 2;
count(Function) when Function =:= clear; Function =:= size; Function =:= keys; Function =:= to_map; Function =:= generation -> 0;
count(_Function) -> 1.

counted(Arguments) ->
    try
        length(Arguments)
    catch
        error:badarg -> -1
    end.

wanted(get) -> "[Key] or [Key, Default]";
wanted(get_many) -> "[Keys] or [Keys, Default]";
wanted(Put) when Put =:= put; Put =:= put_new -> "[Key, Value] or [Key, Value, Options]";
wanted(put_many) -> "[Entries] or [Entries, Options]";
wanted(Many) when Many =:= take; Many =:= delete_many -> "[Keys]";
wanted(Function) ->
    case count(Function) of
        0 -> "[]";
        1 -> "[Key]"
    end.

%% Nobody waits here, so a timeout has no place, neither as an option nor as a number.
check_sent(Options, Known, Call) when is_list(Options) ->
    case lists:keymember(timeout, 1, Options) of
        true -> kv_misuse:raise(Call, 3, no_timeout(Call));
        false -> check(Options, Known, 3, Call)
    end;
check_sent(Time, Known, Call) when is_integer(Time); Time =:= infinity ->
    Hint = case Known of
        [ttl] -> "; the time to live is [{ttl, Ms}]";
        _ -> ""
    end,
    kv_misuse:raise(Call, 3, no_timeout(Call) ++ Hint);
check_sent(Other, _Known, Call) ->
    kv_misuse:raise(Call, 3, kv_options:wrong("the last of the arguments", "a list of options", Other)).

no_timeout({_, async, _}) -> "async/3 does not wait: await/2 takes the timeout";
no_timeout({_, cast, _}) -> "cast/3 does not wait, and takes no timeout".

no_function(How, Function, Functions) ->
    Hint = case kv_options:nearest(Function, Functions) of
        {ok, Near} -> ["; did you mean ", atom_to_list(Near), "?"];
        none -> ["; the functions are ", lists:join(", ", [atom_to_list(One) || One <- lists:sort(Functions)])]
    end,
    [atom_to_list(How), "/3 cannot send ", kv_options:shown(Function), Hint].
