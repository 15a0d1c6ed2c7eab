%% @doc The options of {@link kv_node}: what there is, what each may be, and the form in which the C program
%% gets them.
%% @private
-module(kv_node_options).

-export([keys/0, validate/1, for_program/2]).

-export_type([t/0]).

-type t() :: #{atom() => term()}.

%% The longest time that a timer takes, in milliseconds.
-define(MAX_TIME, 16#FFFFFFFF).

%% @doc All keys, with their defaults. A default of `undefined' is worked out at the start, or left to the
%% C program.
-spec defaults() -> t().
defaults() ->
    #{
        program => undefined,
        node_name => undefined,
        distribute => true,
        start_timeout => 10000,
        ping_interval => 1000,
        ping_timeout => 5000,
        stop_timeout => 2000,
        reconnect_timeout => 60000,
        delay_send => true,
        ticktime => 60,
        max_frame => undefined,
        max_depth => undefined,
        max_peers => undefined,
        max_pending => undefined,
        max_queue => undefined,
        follow => true,
        gather => undefined,
        spin => undefined,
        max_memory => undefined,
        handshake_timeout => undefined,
        bind => undefined,
        port => undefined,
        zeros => undefined,
        get_state => undefined,
        log_level => notice,
        observer_names => 1000,
        local_reads => false,
        backoff => undefined,
        event_manager => undefined
    }.

%% @doc The options that a user sets.
-spec keys() -> [atom()].
keys() ->
    maps:keys(defaults()) -- [backoff, event_manager].

%% @doc The options with defaults filled in, or the first that is wrong.
-spec validate(term()) -> {ok, t()} | {error, {bad_option, term()}}.
validate(Options) when is_map(Options) ->
    validate(maps:to_list(Options), defaults());
validate(Options) ->
    validate(Options, defaults()).

validate([], Valid) ->
    {ok, Valid};
validate([{Key, Value} | Rest], Valid) ->
    case is_map_key(Key, Valid) andalso valid(Key, Value) of
        true -> validate(Rest, Valid#{Key := Value});
        false -> {error, {bad_option, Key}}
    end;
validate([Other | _], _Valid) ->
    {error, {bad_option, Other}};
validate(Other, _Valid) ->
    {error, {bad_option, Other}}.

valid(Key, undefined) when Key =/= distribute -> lists:member(Key, may_be_undefined());
valid(program, Path) -> is_text(Path);
valid(node_name, Name) -> is_atom(Name) andalso is_node_name(Name);
valid(distribute, Value) -> is_boolean(Value);
valid(delay_send, Value) -> is_boolean(Value);
valid(start_timeout, Ms) -> is_positive(Ms);
valid(ping_interval, Ms) -> is_positive(Ms);
valid(ping_timeout, Ms) -> is_positive(Ms);
valid(stop_timeout, Ms) -> is_positive(Ms);
valid(reconnect_timeout, Ms) -> is_within(Ms, 0, 16#7FFFFFFF);
%% The program's own limits: c_src/node/options.c, NUMBERS.
valid(ticktime, Seconds) -> is_within(Seconds, 1, 86400);
valid(max_frame, Bytes) -> is_within(Bytes, 4096, 16#7FFFFFFF);
valid(max_depth, Levels) -> is_within(Levels, 16, 1 bsl 24);
valid(max_peers, Peers) -> is_within(Peers, 1, 65536);
valid(max_pending, Bytes) -> is_within(Bytes, 1 bsl 20, 1 bsl 40);
valid(max_queue, Bytes) -> is_within(Bytes, 1 bsl 20, 1 bsl 40);
valid(follow, Value) -> is_boolean(Value);
valid(gather, Microseconds) -> is_within(Microseconds, 0, 1000);
valid(spin, Microseconds) -> is_within(Microseconds, 0, 1000);
valid(max_memory, Bytes) -> is_within(Bytes, 1 bsl 20, 1 bsl 43);
valid(handshake_timeout, Ms) -> is_within(Ms, 10, 600000);
valid(bind, Address) -> is_text(Address);
valid(port, Port) -> is_within(Port, 0, 65535);
valid(zeros, Value) -> lists:member(Value, [differ, same]);
valid(get_state, Value) -> lists:member(Value, [bare, tagged]);
valid(local_reads, Value) -> is_boolean(Value);
valid(log_level, Level) -> lists:member(Level, [debug, info, notice, warning, error]);
valid(observer_names, Names) -> is_within(Names, 0, 100000);
valid(backoff, Backoff) -> is_reference(Backoff);
valid(event_manager, Name) -> is_atom(Name).

may_be_undefined() ->
    [
        program,
        node_name,
        max_frame,
        max_depth,
        max_peers,
        max_pending,
        max_queue,
        gather,
        spin,
        max_memory,
        handshake_timeout,
        bind,
        port,
        zeros,
        get_state,
        backoff,
        event_manager
    ].

is_positive(Value) -> is_within(Value, 1, ?MAX_TIME).

is_within(Value, Least, Most) -> is_integer(Value) andalso Value >= Least andalso Value =< Most.

%% One line of text: it goes to the program as one line.
is_text(Value) ->
    try unicode:characters_to_list(Value) of
        [_ | _] = Text -> not lists:any(fun(Char) -> Char < 32 end, Text);
        _ -> false
    catch
        error:badarg -> false
    end.

is_node_name(Name) ->
    case string:split(atom_to_list(Name), "@", all) of
        [[_ | _] = Alive, [_ | _] = Host] -> is_text(Alive) andalso is_text(Host);
        _ -> false
    end.

%% @doc The lines of options that the program reads from its standard input.
-spec for_program(node(), t()) -> iolist().
for_program(Name, Options) ->
    [
        line("name", Name),
        line("vm", node()),
        line("epmd-port", kv_epmd:port())
        | [line(Flag, Value) || {Key, Flag} <- flags(), Value <- [value(Key, Options)], Value =/= undefined]
    ].

%% What differs between releases of OTP is as in this VM.
value(Key, Options) ->
    case Options of
        #{Key := undefined} when Key =:= zeros -> kv_release:zeros();
        #{Key := undefined} when Key =:= get_state -> kv_release:get_state();
        #{Key := Value} -> Value
    end.

flags() ->
    [
        {reconnect_timeout, "reconnect-timeout"},
        {ticktime, "ticktime"},
        {max_frame, "max-frame"},
        {max_depth, "max-depth"},
        {max_peers, "max-peers"},
        {max_pending, "max-pending"},
        {max_queue, "max-queue"},
        {follow, "follow"},
        {gather, "gather"},
        {spin, "spin"},
        {max_memory, "max-memory"},
        {handshake_timeout, "handshake-timeout"},
        {bind, "bind"},
        {port, "port"},
        {zeros, "zeros"},
        {get_state, "get-state"},
        {log_level, "log-level"}
    ].

line(Flag, Value) ->
    ["--", Flag, "=", text(Value), "\n"].

text(Value) when is_integer(Value) -> integer_to_binary(Value);
text(Value) when is_atom(Value) -> atom_to_binary(Value);
text(Value) -> unicode:characters_to_binary(Value).
