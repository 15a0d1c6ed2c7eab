%% @doc The connection of a {@link kv_node} to its program, and how it is restored.
%%
%% The program survives the loss of its connection. kv_node dials again, with growing pauses. A helper process dials,
%% because a handshake may take seconds. Another process of the VM may connect first, so only the message `nodeup'
%% says that the connection is back; the end of the helper does not. If the VM has another name or another creation
%% than the program was told, the program does not know it, and a new program is started.
%% @private
-module(kv_connection).

-export([new/4, lost/1, found/1, is_up/1, since/1, age/1, patience/1, dial/1, refresh/1, pong/2, dialled/2]).

-export_type([t/0]).

-record(connection, {
    node :: node(),
    program :: kv_node_program:t(),
    %% Name and creation of the VM when the program was started.
    vm :: vm(),
    %% The cookie that the program has.
    cookie :: atom(),
    timeout :: non_neg_integer(),
    lost :: undefined | integer(),
    %% Distinguishes one loss from the next.
    loss :: undefined | reference(),
    pause = 0 :: non_neg_integer(),
    dialler :: undefined | reference(),
    %% Text of the question that must be answered before dialling: then the program knows the new cookie.
    question :: undefined | binary()
}).

-type vm() :: {node(), non_neg_integer()}.
-opaque t() :: #connection{}.

-define(FIRST_PAUSE, 10).
-define(LONGEST_PAUSE, 1000).
%% How long the VM may be without a name. Its next name or creation is another, so the program is lost already.
-define(NAMELESS, 5000).

%% @doc Returns a connection that is up. After a loss it is dialled for Timeout milliseconds.
-spec new(node(), kv_node_program:t(), atom(), non_neg_integer()) -> t().
new(Node, Program, Cookie, Timeout) ->
    #connection{node = Node, program = Program, vm = vm(), cookie = Cookie, timeout = Timeout}.

vm() -> {node(), erlang:system_info(creation)}.

-spec is_up(t()) -> boolean().
is_up(#connection{lost = Lost}) -> Lost =:= undefined.

%% @doc Returns the identity of the present loss; `undefined' if the connection is up.
-spec since(t()) -> undefined | reference().
since(#connection{lost = undefined}) -> undefined;
since(#connection{loss = Loss}) -> Loss.

%% @doc Returns for how many milliseconds the connection has been lost.
-spec age(t()) -> non_neg_integer().
age(#connection{lost = undefined}) -> 0;
age(#connection{lost = Lost}) -> erlang:monotonic_time(millisecond) - Lost.

%% @doc Returns for how long a lost connection is waited for, for the log: in a VM that is named, the time-out.
-spec patience(non_neg_integer()) -> non_neg_integer() | {nameless, non_neg_integer()}.
patience(Timeout) ->
    case is_alive() of
        true -> Timeout;
        false -> {nameless, min(Timeout, ?NAMELESS)}
    end.

%% @doc Called when the connection is lost. From now on the calling process gets the message `dial' each time that
%% {@link dial/1} must be called.
-spec lost(t()) -> t().
lost(Connection) ->
    Now = erlang:monotonic_time(millisecond),
    later(Connection#connection{lost = Now, loss = make_ref(), pause = ?FIRST_PAUSE}).

later(#connection{pause = Pause} = Connection) ->
    _ = erlang:send_after(Pause, self(), dial),
    Connection#connection{pause = min(?LONGEST_PAUSE, 2 * Pause), dialler = undefined, question = undefined}.

%% @doc Called when the connection is back. Returns for how many milliseconds it was lost.
-spec found(t()) -> {non_neg_integer(), t()}.
found(#connection{lost = Lost} = Connection) when is_integer(Lost) ->
    {erlang:monotonic_time(millisecond) - Lost, Connection#connection{lost = undefined, question = undefined}}.

%% @doc Dials, or returns the reason why dialling is of no use any more.
-spec dial(t()) -> {ok, t()} | {error, {nodedown, node()} | {vm_renamed, node(), node()}}.
dial(#connection{lost = undefined} = Connection) ->
    {ok, Connection};
dial(#connection{node = Node, vm = {Name, _} = Vm, lost = Lost, timeout = Timeout} = Connection) ->
    Age = erlang:monotonic_time(millisecond) - Lost,
    case vm() of
        %% The user may have stopped distribution to start it under another name. Starting it here would prevent that.
        {nonode@nohost, _} when Age < ?NAMELESS -> {ok, later(Connection)};
        Vm when Age >= Timeout -> {error, {nodedown, Node}};
        Vm -> {ok, dial_as(kv_cookie:of_node(Node), Connection)};
        {Other, _} -> {error, {vm_renamed, Name, Other}}
    end.

dial_as({ok, Cookie}, #connection{cookie = Cookie} = Connection) ->
    start_dialling(Connection);
dial_as(unknown, Connection) ->
    later(Connection);
dial_as({ok, Cookie}, #connection{program = Program} = Connection) ->
    case tell(Cookie, Program) of
        ok ->
            Question = iolist_to_binary(["cookie-", integer_to_binary(erlang:unique_integer([positive]))]),
            ok = kv_node_program:say(Program, ["ping ", Question]),
            %% If the program does not answer, its kv_node ends it.
            Connection#connection{cookie = Cookie, question = Question};
        error ->
            later(Connection)
    end.

tell(Cookie, Program) ->
    case kv_cookie:line(Cookie) of
        {ok, Line} -> kv_node_program:say(Program, Line);
        {error, _} -> error
    end.

%% @doc Called now and then. Tells the program if the cookie of its node has changed, so that other nodes with the new
%% cookie can connect to it. The connection of this VM stays.
-spec refresh(t()) -> t().
refresh(#connection{lost = undefined, node = Node, program = Program, cookie = Known} = Connection) ->
    case kv_cookie:of_node(Node) of
        {ok, Known} ->
            Connection;
        {ok, Cookie} ->
            _ = tell(Cookie, Program),
            Connection#connection{cookie = Cookie};
        unknown ->
            Connection
    end;
refresh(Connection) ->
    Connection.

%% @doc Called when the program has answered over the leash.
-spec pong(binary(), t()) -> t().
pong(Question, #connection{question = Question} = Connection) ->
    start_dialling(Connection#connection{question = undefined});
pong(_Text, Connection) ->
    Connection.

start_dialling(#connection{node = Node} = Connection) ->
    {_, Dialler} = spawn_monitor(net_kernel, connect_node, [Node]),
    Connection#connection{dialler = Dialler}.

%% @doc Called with a DOWN. If it is that of the helper, schedules the next attempt.
-spec dialled(reference(), t()) -> {ok, t()} | other.
dialled(Dialler, #connection{dialler = Dialler, lost = undefined} = Connection) ->
    {ok, Connection#connection{dialler = undefined}};
dialled(Dialler, #connection{dialler = Dialler} = Connection) ->
    {ok, later(Connection)};
dialled(_Monitor, _Connection) ->
    other.
