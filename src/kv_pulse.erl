%% @doc Checks that the program of a {@link kv_node} answers. Asks it again and again; the answer says how much the
%% node holds.
%%
%% The question goes over the connection if possible. It goes over standard input while there is no connection, while
%% the connection is so busy that nothing can be sent, and after a question that was not answered: none of these means
%% that the program hangs. kv_pulse counts unanswered questions instead of measuring time. If the VM itself was
%% stopped for a while, the answers are in the mailbox behind the timer, and the program is not to blame.
%% @private
-module(kv_pulse).

-export([new/4, beat/2, answer/2, heard/1, totals/1, unanswered/1]).

-export_type([t/0]).

-record(pulse, {
    server :: atom(),
    node :: node(),
    %% none: the program is not of this VM, and has no leash.
    program :: kv_node_program:t() | none,
    interval :: pos_integer(),
    timeout :: pos_integer(),
    tag :: reference(),
    unanswered = 0 :: non_neg_integer(),
    %% The last answer of the node: how much it holds.
    totals :: kv_node_log:totals()
}).

-opaque t() :: #pulse{}.

%% @doc From now on the calling process gets the message `ping' each time that {@link beat/2} must be called.
-spec new(atom(), node(), kv_node_program:t() | none, kv_node_options:t()) -> t().
new(Server, Node, Program, #{ping_interval := Interval, ping_timeout := Timeout}) ->
    _ = erlang:send_after(Interval, self(), ping),
    #pulse{server = Server, node = Node, program = Program, interval = Interval, timeout = Timeout, tag = make_ref()}.

%% @doc Asks, unless too many questions have not been answered.
-spec beat(connection | leash | none, t()) -> {ok, t()} | {unresponsive, non_neg_integer()}.
beat(none, #pulse{interval = Interval} = Pulse) ->
    _ = erlang:send_after(Interval, self(), ping),
    {ok, Pulse};
beat(Way, #pulse{unanswered = Unanswered, interval = Interval, timeout = Timeout, server = Server} = Pulse) ->
    case Unanswered * Interval >= Timeout of
        true ->
            {unresponsive, Unanswered * Interval};
        false ->
            ok = ask(Way, Pulse),
            _ = Unanswered =:= 1 andalso kv_nodes:silent(Server, true),
            _ = erlang:send_after(Interval, self(), ping),
            {ok, Pulse#pulse{unanswered = Unanswered + 1}}
    end.

ask(connection, #pulse{unanswered = 0, node = Node, tag = Tag} = Pulse) ->
    case erlang:send({net_kernel, Node}, {'$gen_call', {self(), Tag}, kv_totals}, [noconnect, nosuspend]) of
        ok -> ok;
        _NotSent -> ask_over_leash(Pulse)
    end;
ask(connection, #pulse{} = Pulse) ->
    ok = ask(connection, Pulse#pulse{unanswered = 0}),
    ask_over_leash(Pulse);
ask(leash, Pulse) ->
    ask_over_leash(Pulse).

%% The answer is the line `pong alive'.
ask_over_leash(#pulse{program = none}) ->
    ok;
ask_over_leash(#pulse{program = Program}) ->
    kv_node_program:say(Program, "ping alive").

%% @doc Reads a message, which may be an answer.
-spec answer(term(), t()) -> t().
answer({Tag, {kv_totals, Buckets, Registries, Entries, Bytes, Durable}}, #pulse{tag = Tag} = Pulse) ->
    Asked = erlang:monotonic_time(millisecond),
    Totals = #{
        buckets => Buckets, registries => Registries, entries => Entries, bytes => Bytes, durable => Durable, asked => Asked
    },
    (heard(Pulse))#pulse{totals = Totals};
answer({Tag, _Answer}, #pulse{tag = Tag} = Pulse) ->
    heard(Pulse);
answer(_Message, Pulse) ->
    Pulse.

%% @doc Called when the program was heard of, or when unanswered questions do not count.
-spec heard(t()) -> t().
heard(#pulse{unanswered = Unanswered, server = Server} = Pulse) ->
    _ = Unanswered > 1 andalso kv_nodes:silent(Server, false),
    Pulse#pulse{unanswered = 0}.

-spec totals(t()) -> kv_node_log:totals().
totals(#pulse{totals = Totals}) -> Totals.

-spec unanswered(t()) -> non_neg_integer().
unanswered(#pulse{unanswered = Unanswered}) -> Unanswered.
