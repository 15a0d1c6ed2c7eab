%% @doc Records all errors in a VM with an Observer, and all message boxes of Observer.
%%
%% Errors show in three ways: in the log, in output to the group leader ("Observer: Child (pro_panel) crashed",
%% "Unhandled event"), and in unexpected message boxes.
-module(kv_observer_watch).

-export([start/0, arm/0, complaints/0, message_boxes/0]).

%% Called by logger.
-export([log/2]).

-define(TABLE, ?MODULE).

%% Starts recording. The result must be the group leader of the process that starts Observer.
start() ->
    Caller = self(),
    Keeper = spawn(fun() -> keep(Caller) end),
    receive
        {Keeper, ready} -> ok
    end,
    ok = logger:set_primary_config(level, error),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => error}),
    ok = arm(),
    Keeper.

%% Traces the calls that open a message box, because its text is in no widget. Observer's own Trace tab ends every
%% trace of the VM, so this is repeated before each case.
arm() ->
    {module, wxMessageDialog} = code:ensure_loaded(wxMessageDialog),
    _ = erlang:trace(all, true, [call, {tracer, whereis(?MODULE)}]),
    1 = erlang:trace_pattern({wxMessageDialog, new, 3}, true, [global]),
    1 = erlang:trace_pattern({wxMessageDialog, new, 2}, true, [global]),
    ok.

%% Returns the errors since the last call.
complaints() ->
    [What || {_, {complaint, What}} <- take(complaint)].

%% Returns {Caption, Text} of the message boxes since the last call.
message_boxes() ->
    [Text || {_, {message_box, Text}} <- take(message_box)].

take(Kind) ->
    Rows = [Row || {_, {K, _}} = Row <- ets:tab2list(?TABLE), K =:= Kind],
    [ets:delete(?TABLE, Key) || {Key, _} <- Rows],
    Rows.

note(Kind, What) ->
    ets:insert(?TABLE, {erlang:unique_integer([monotonic]), {Kind, What}}).

%%% The keeper

keep(Caller) ->
    true = register(?MODULE, self()),
    ?TABLE = ets:new(?TABLE, [named_table, public, ordered_set]),
    Caller ! {self(), ready},
    keep().

keep() ->
    receive
        {io_request, From, ReplyAs, Request} -> From ! {io_reply, ReplyAs, write(Request)};
        {trace, _, call, {wxMessageDialog, new, [_, Text | Options]}} -> note(message_box, {caption(Options), characters(Text)});
        _ -> ok
    end,
    keep().

%% The default of wx is "Message"; GTK shows none.
caption(Options) ->
    characters(proplists:get_value(caption, lists:append(Options), "")).

characters(Text) ->
    unicode:characters_to_list(Text).

%% The I/O protocol, as far as output needs it.
write({put_chars, Encoding, Module, Function, Arguments}) ->
    write({put_chars, Encoding, apply(Module, Function, Arguments)});
write({put_chars, _, Characters}) ->
    note(complaint, {written, characters(Characters)}),
    ok;
write({requests, Requests}) ->
    lists:foldl(fun(Request, _) -> write(Request) end, ok, Requests);
write(_) ->
    {error, enotsup}.

%%% Logger

%% Runs in the process that logs. Reports of the tree of kv do not count, because the tests kill its processes.
log(Event, _Config) ->
    is_of_kv() orelse note(complaint, Event).

is_of_kv() ->
    Ancestors = [Name || Names <- [get('$ancestors')], is_list(Names), Name <- Names],
    case process_info(self(), registered_name) of
        {registered_name, kv_sup} -> true;
        _ -> lists:member(kv_sup, Ancestors)
    end.
