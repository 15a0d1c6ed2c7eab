%% @doc The options of calls: {@link kv_bucket}, {@link kv_registry}. The last argument of a function that waits is a
%% timeout or a list of options. `timeout' is an option of all of them. {@link kv_operations} has the others.
%%
%% All functions raise `badarg', with a sentence, in the name of the call that the user has made: {@link kv_misuse}.
%% @private
-module(kv_call_options).

-include("kv_timeout.hrl").

-export([server/1, timeout/2, put/2, last/3, options/2, third/2, sent/2, argument/3]).

-define(TIMEOUT, 5000).
%% Milliseconds: the program takes no more.
-define(TTL_MAX, (1 bsl 46)).
%% Beyond, the program counts no further.
-define(INTEGER_LIMIT, (1 bsl 1024)).

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
-spec put(kv_misuse:call(), [{atom(), term()}] | term()) -> {[pos_integer() | infinity | keep], timeout()}.
put(_Call, [{ttl, Ms}]) when is_integer(Ms), Ms > 0, Ms =< ?TTL_MAX ->
    {[Ms], ?TIMEOUT};
put({_Module, _Function, Arguments} = Call, Options) ->
    ok = check(Options, [timeout, ttl, keep_ttl], length(Arguments), Call),
    {ttl(Options, Call), first(timeout, Options, ?TIMEOUT)}.

%% @doc Returns the last argument of a message, as a list of one or none, and the timeout: {@link kv_operations:last()}. The last
%% argument of the call is a list of options. Known are those beside `timeout'.
-spec last(kv_operations:last(), kv_misuse:call(), [kv_operations:option()]) -> {[term()], timeout()}.
last(Kind, {_Module, _Function, Arguments} = Call, Known) ->
    Options = lists:last(Arguments),
    ok = check(Options, [timeout | Known], length(Arguments), Call),
    {made(Kind, Options, Call), first(timeout, Options, ?TIMEOUT)}.

made(ttl, Options, Call) -> ttl(Options, Call);
made(list, Options, _Call) -> listed(without_timeout(Options));
made(options, Options, _Call) -> [without_timeout(Options)];
made(_Kind, _Options, _Call) -> [].

without_timeout(Options) -> lists:ukeysort(1, [Option || {Key, _} = Option <- Options, Key =/= timeout]).

listed([]) -> [];
listed(Options) -> [Options].

%% @doc Returns the options that the last argument of a call gives, as a map with `timeout' in it: the first of each. The last
%% argument is a timeout or a list of options. Known are those beside `timeout'.
-spec options(kv_misuse:call(), [kv_operations:option()]) -> #{timeout := timeout(), atom() => term()}.
options({_Module, _Function, Arguments} = Call, Known) ->
    case lists:last(Arguments) of
        Timeout when ?IS_TIMEOUT(Timeout) ->
            #{timeout => Timeout};
        Options ->
            ok = check(Options, [timeout | Known], length(Arguments), Call),
            maps:merge(#{timeout => ?TIMEOUT}, maps:from_list(lists:reverse(Options)))
    end.

%% Without one, the bucket has the default.
ttl(Options, Call) ->
    case {first(ttl, Options, none), first(keep_ttl, Options, false)} of
        {none, true} -> [keep];
        {none, false} -> [];
        {Ttl, false} -> [Ttl];
        {_Ttl, true} -> kv_misuse:raise(Call, length(element(3, Call)), "ttl and keep_ttl exclude each other: give one of them")
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
check(Options, Known, Place, Call) when is_list(Options) ->
    check_all(Options, Known, Place, Call);
check(Other, _Known, Place, Call) ->
    kv_misuse:raise(Call, Place, kv_options:wrong("the timeout", wanted_timeout() ++ ", or a list of options", Other)).

check_all([{Key, Value} | Rest], Known, Place, Call) ->
    case verdict(Key, Value, Known) of
        true -> check_all(Rest, Known, Place, Call);
        {wanted, Wanted} -> kv_misuse:raise(Call, Place, kv_options:wrong(atom_to_list(Key), Wanted, Value));
        unknown -> kv_misuse:raise(Call, Place, unknown(Key, Known, Call))
    end;
check_all([], _Known, _Place, _Call) ->
    ok;
check_all([Other | _], _Known, Place, Call) ->
    kv_misuse:raise(Call, Place, kv_options:wrong("an option", "a pair of key and value", Other));
check_all(Tail, _Known, Place, Call) ->
    kv_misuse:raise(Call, Place, ["the list of options is improper: its tail is ", kv_options:shown(Tail)]).

verdict(Key, Value, Known) ->
    case {lists:member(Key, Known), lists:keyfind(Key, 1, Known)} of
        {true, _} -> is_good(Key, Value);
        {false, {Key, Type}} -> is_good(Type, Value);
        {false, false} -> unknown
    end.

%% By the type of the option, which is its name, if {@link kv_operations} has no other.
is_good(timeout, Value) when ?IS_TIMEOUT(Value) -> true;
is_good(timeout, _Value) -> {wanted, wanted_timeout()};
is_good(ttl, infinity) -> true;
is_good(ttl, Ms) when is_integer(Ms), Ms > 0, Ms =< ?TTL_MAX -> true;
is_good(ttl, _Value) -> {wanted, ["1 to ", integer_to_list(?TTL_MAX), " milliseconds, or infinity"]};
is_good(keep_ttl, Value) -> is_good(boolean, Value);
is_good(integer, Value) when is_integer(Value), abs(Value) < ?INTEGER_LIMIT -> true;
is_good(integer, _Value) -> {wanted, "an integer of at most 1,024 bits"};
is_good(unix_time, Ms) when is_integer(Ms), Ms > -(1 bsl 63), Ms =< ?TTL_MAX -> true;
is_good(unix_time, _Value) -> {wanted, ["milliseconds since 1970, at most ", integer_to_list(?TTL_MAX)]};
is_good(limit, Value) when is_integer(Value), Value > 0, Value < 1 bsl 64 -> true;
is_good(limit, _Value) -> {wanted, "a number of entries from 1 on"};
is_good(walk, Value) when Value =:= entries; Value =:= keys; Value =:= values; Value =:= timed -> true;
is_good(walk, _Value) -> {wanted, "entries, keys, values or timed"};
is_good(prefix, Value) when is_binary(Value) -> true;
is_good(prefix, _Value) -> {wanted, "a binary"};
is_good(boolean, Value) when is_boolean(Value) -> true;
is_good(boolean, _Value) -> {wanted, "true or false"};
is_good(cursor, Value) when Value =:= start; is_binary(Value) -> true;
is_good(cursor, _Value) -> {wanted, "start, or the cursor of the piece before"};
is_good(reducer, Value) when is_function(Value, 2) -> true;
is_good(reducer, _Value) -> {wanted, "a function with two arguments"};
is_good(default, _Value) -> true.

wanted_timeout() ->
    "0 to " ++ integer_to_list(?MAX_TIMEOUT) ++ " milliseconds, or infinity".

unknown(default, _Known, {_, Get, [_, _, _, _]}) when Get =:= get; Get =:= get_many ->
    "the default is the third argument already; here stands the timeout, or a list with it";
unknown(Key, Known, _Call) ->
    kv_options:unknown(Key, [option_name(One) || One <- Known]).

option_name({Name, _Type}) -> Name;
option_name(Name) -> Name.

%% @doc Raises `badarg' unless an argument of a call is good. Name is that of {@link kv_operations:argument()}.
-spec argument(kv_misuse:call(), pos_integer(), atom()) -> ok.
argument({_Module, _Function, Arguments} = Call, Place, Name) ->
    argument(Name, lists:nth(Place, Arguments), Place, Call).

argument(Name, Given, Place, Call) ->
    {What, Type} = kind(Name),
    case Type =:= any orelse is_good(Type, Given) of
        true -> ok;
        {wanted, Wanted} -> kv_misuse:raise(Call, Place, kv_options:wrong(What, Wanted, Given))
    end.

%% The arguments that the VM checks, and the types of options that they have.
kind('N') -> {"the step", integer};
kind('Ms') -> {"the time to live", ttl};
kind('UnixMs') -> {"the time", unix_time};
kind('Cursor') -> {"the cursor", cursor};
kind('Reducer') -> {"the function", reducer};
kind(_Name) -> {"", any}.

%%% async and cast: the last argument of the call are the arguments of another function

%% @doc Returns the arguments of the message: {@link kv_request:call/4}. Absent is the default of `get', `get_many' and `delete'.
-spec sent(kv_misuse:call(), term()) -> [term()].
sent({_Module, How, [_Bucket, Function, Arguments]} = Call, Absent) ->
    Functions = kv_operations:names(How),
    case lists:member(Function, Functions) of
        true -> sent(kv_operations:row(Function), Arguments, counted(Arguments), Absent, Call);
        false -> kv_misuse:raise(Call, 2, no_function(How, Function, Functions))
    end.

sent({_, Names, Options, _, Kind, _} = Row, Arguments, Count, Absent, Call) ->
    case checked(Names, filled(Names, Arguments, Count), Call) of
        {All, []} -> All ++ without_options(Kind, Absent);
        {All, [Default]} when Kind =:= default -> All ++ [default_of(Default, Absent, Call)];
        {All, [Default, Last]} when Kind =:= default -> ok = check_sent(Last, [], Call), All ++ [Default];
        {All, [Last]} -> ok = check_sent(Last, Options, Call), All ++ with_options(Kind, Last, Absent, Call);
        _Wrong -> kv_misuse:raise(Call, 3, kv_options:wrong("the arguments", wanted(Row), Arguments))
    end.

checked(Names, {All, _Rest} = Filled, Call) ->
    ok = lists:foreach(fun({Name, Given}) -> argument(name(Name), Given, 3, Call) end, lists:zip(Names, All)),
    Filled;
checked(_Names, wrong, _Call) ->
    wrong.

name({Name, _Value}) -> Name;
name(Name) -> Name.

%% The arguments that must be there, with the values of those that are left out, and the rest. A list in place of an argument
%% that may be left out is the options.
filled([{_, Value} | Names], [], Count) when Count >= 0 -> filled_next(Value, filled(Names, [], Count));
filled([{_, Value} | Names], [Options] = Last, Count) when is_list(Options) -> filled_next(Value, filled(Names, Last, Count));
filled([_ | Names], [Argument | Rest], Count) when Count >= 0 -> filled_next(Argument, filled(Names, Rest, Count));
filled([], Rest, Count) when Count >= 0 -> {[], Rest};
filled(_Names, _Arguments, _Count) -> wrong.

filled_next(Argument, {All, Rest}) -> {[Argument | All], Rest};
filled_next(_Argument, wrong) -> wrong.

without_options(Kind, Absent) when Kind =:= default; Kind =:= absent -> [Absent];
without_options(options, _Absent) -> [[]];
without_options(_Kind, _Absent) -> [].

with_options(absent, _Options, Absent, _Call) -> [Absent];
with_options(Kind, Options, _Absent, Call) -> made(Kind, Options, Call).

default_of(Default, Absent, Call) ->
    case is_list(Default) andalso are_for_get(Default) of
        true -> ok = check_sent(Default, [default], Call), first(default, Default, Absent);
        false -> Default
    end.

counted(Arguments) ->
    try
        length(Arguments)
    catch
        error:badarg -> -1
    end.

wanted({_, Names, Options, _, Kind, _}) ->
    Must = [Name || Name <- Names, is_atom(Name)],
    May = [Name || {Name, _} <- Names] ++ may(Kind, Options),
    Forms = [["[", lists:join(", ", [atom_to_list(Name) || Name <- Must ++ lists:sublist(May, N)]), "]"] || N <- lists:seq(0, length(May))],
    lists:join(" or ", Forms).

may(default, _Options) -> ['Default'];
may(_Kind, []) -> [];
may(_Kind, _Options) -> ['Options'].

%% Nobody waits here, so a timeout has no place, neither as an option nor as a number.
check_sent(Options, Known, Call) when is_list(Options) ->
    case counted(Options) >= 0 andalso lists:keymember(timeout, 1, Options) of
        true -> kv_misuse:raise(Call, 3, no_timeout(Call));
        false -> check(Options, Known, 3, Call)
    end;
check_sent(Time, Known, Call) when is_integer(Time); Time =:= infinity ->
    Hint = case lists:member(ttl, Known) of
        true -> "; the time to live is [{ttl, Ms}]";
        false -> ""
    end,
    kv_misuse:raise(Call, 3, no_timeout(Call) ++ Hint);
check_sent(Other, _Known, Call) ->
    kv_misuse:raise(Call, 3, kv_options:wrong("the last of the arguments", "a list of options", Other)).

no_timeout({_, async, _}) -> "async/3 does not wait: await/2 takes the timeout";
no_timeout({_, cast, _}) -> "cast/3 does not wait, and takes no timeout";
no_timeout({_, transaction, _}) -> "the timeout is an option of the transaction".

no_function(How, Function, Functions) ->
    Hint = case kv_options:nearest(Function, Functions) of
        {ok, Near} -> ["; did you mean ", atom_to_list(Near), "?"];
        none -> ["; the functions are ", lists:join(", ", [atom_to_list(One) || One <- lists:sort(Functions)])]
    end,
    [sender(How), " cannot send ", kv_options:shown(Function), Hint].

sender(transaction) -> "a transaction";
sender(How) -> [atom_to_list(How), "/3"].
