%% @doc The connection of a {@link kv_node} to its program, and how it is made anew.
%%
%% A lost connection is not the end of the program. kv_node dials again, with growing pauses, from a helper process, since a
%% handshake may take seconds. Somebody else in the VM may be faster: that the connection is there is said by `nodeup', and not
%% by the helper. A VM that has another name, or another creation, than the program was told is a stranger to it: then the
%% program is started anew.
%% @private
-module(kv_connection).

-export([new/4, lost/1, found/1, is_up/1, since/1, age/1, dial/1, pong/2, dialled/2]).

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
    %% Tells one loss from the next.
    loss :: undefined | reference(),
    pause = 0 :: non_neg_integer(),
    dialler :: undefined | reference(),
    %% The text of the question after whose answer is dialled: the program knows the new cookie then.
    question :: undefined | binary()
}).

-type vm() :: {node(), non_neg_integer()}.
-opaque t() :: #connection{}.

-define(FIRST_PAUSE, 10).
-define(LONGEST_PAUSE, 1000).

%% @doc A connection that is up. Timeout: milliseconds for which it is made anew when it is lost.
-spec new(node(), kv_node_program:t(), atom(), non_neg_integer()) -> t().
new(Node, Program, Cookie, Timeout) ->
    #connection{node = Node, program = Program, vm = vm(), cookie = Cookie, timeout = Timeout}.

vm() -> {node(), erlang:system_info(creation)}.

-spec is_up(t()) -> boolean().
is_up(#connection{lost = Lost}) -> Lost =:= undefined.

%% @doc Which loss it is that lasts now.
-spec since(t()) -> undefined | reference().
since(#connection{lost = undefined}) -> undefined;
since(#connection{loss = Loss}) -> Loss.

%% @doc For how many milliseconds it has been lost.
-spec age(t()) -> non_neg_integer().
age(#connection{lost = undefined}) -> 0;
age(#connection{lost = Lost}) -> erlang:monotonic_time(millisecond) - Lost.

%% @doc It is lost. The calling process gets the message `dial' from now on, each time that {@link dial/1} is to be called.
-spec lost(t()) -> t().
lost(Connection) ->
    Now = erlang:monotonic_time(millisecond),
    later(Connection#connection{lost = Now, loss = make_ref(), pause = ?FIRST_PAUSE}).

later(#connection{pause = Pause} = Connection) ->
    _ = erlang:send_after(Pause, self(), dial),
    Connection#connection{pause = min(?LONGEST_PAUSE, 2 * Pause), dialler = undefined, question = undefined}.

%% @doc It is there again, and was lost for so many milliseconds.
-spec found(t()) -> {non_neg_integer(), t()}.
found(#connection{lost = Lost} = Connection) when is_integer(Lost) ->
    {erlang:monotonic_time(millisecond) - Lost, Connection#connection{lost = undefined, question = undefined}}.

%% @doc Dials, or says why there is no use in it any more.
-spec dial(t()) -> {ok, t()} | {error, {nodedown, node()} | {vm_renamed, node(), node()}}.
dial(#connection{lost = undefined} = Connection) ->
    {ok, Connection};
dial(#connection{node = Node, vm = {Name, _} = Vm, lost = Lost, timeout = Timeout} = Connection) ->
    Expired = erlang:monotonic_time(millisecond) - Lost >= Timeout,
    case {is_alive(), vm()} of
        {_, _} when Expired -> {error, {nodedown, Node}};
        %% Distribution may be stopped to be started under another name: starting it here would keep it from that.
        {false, _} -> {ok, later(Connection)};
        {true, Vm} -> {ok, dial_as(erlang:get_cookie(), Connection)};
        {true, {Other, _}} -> {error, {vm_renamed, Name, Other}}
    end.

dial_as(Cookie, #connection{cookie = Cookie} = Connection) ->
    start_dialling(Connection);
dial_as(Cookie, #connection{program = Program} = Connection) ->
    Question = iolist_to_binary(["cookie-", integer_to_binary(erlang:unique_integer([positive]))]),
    ok = kv_node_program:say(Program, ["--cookie=", atom_to_list(Cookie)]),
    ok = kv_node_program:say(Program, ["ping ", Question]),
    %% A program that does not answer is ended by its kv_node.
    Connection#connection{cookie = Cookie, question = Question}.

%% @doc The program has answered over the leash.
-spec pong(binary(), t()) -> t().
pong(Question, #connection{question = Question} = Connection) ->
    start_dialling(Connection#connection{question = undefined});
pong(_Text, Connection) ->
    Connection.

start_dialling(#connection{node = Node} = Connection) ->
    {_, Dialler} = spawn_monitor(fun() -> net_kernel:connect_node(Node) end),
    Connection#connection{dialler = Dialler}.

%% @doc Whether that monitor is the one of the helper, which has ended; then the next attempt is on its way.
-spec dialled(reference(), t()) -> {ok, t()} | other.
dialled(Dialler, #connection{dialler = Dialler, lost = undefined} = Connection) ->
    {ok, Connection#connection{dialler = undefined}};
dialled(Dialler, #connection{dialler = Dialler} = Connection) ->
    {ok, later(Connection)};
dialled(_Monitor, _Connection) ->
    other.
