%% @doc Keeps all that goes wrong in a VM with an Observer, and all that Observer says in a message box.
%%
%% Three things tell that Observer is unwell: what is logged, what is written to the group leader ("Observer: Child
%% (pro_panel) crashed", "Unhandled event"), and message boxes that nobody expects.
-module(kv_observer_watch).

-export([start/0, arm/0, complaints/0, message_boxes/0]).

%% Called by logger.
-export([log/2]).

-define(TABLE, ?MODULE).

%% From now on. The result is to be the group leader of whoever starts Observer.
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

%% The calls that open a message box are traced: its text is in no widget. Observer's own Trace tab ends every
%% trace of the VM, so this is done anew before each case.
arm() ->
    {module, wxMessageDialog} = code:ensure_loaded(wxMessageDialog),
    _ = erlang:trace(all, true, [call, {tracer, whereis(?MODULE)}]),
    1 = erlang:trace_pattern({wxMessageDialog, new, 3}, true, [global]),
    1 = erlang:trace_pattern({wxMessageDialog, new, 2}, true, [global]),
    ok.

%% What went wrong since this was asked last.
complaints() ->
    [What || {_, {complaint, What}} <- take(complaint)].

%% {Caption, Text} of the message boxes since this was asked last.
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

%% wx' own default is "Message", GTK shows none.
caption(Options) ->
    characters(proplists:get_value(caption, lists:append(Options), "")).

characters(Text) ->
    unicode:characters_to_list(Text).

%% The protocol of input and output, as far as somebody writes.
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

%% Runs in the process that logs. What the tree of kv logs is no complaint: its processes are killed here.
log(Event, _Config) ->
    is_of_kv() orelse note(complaint, Event).

is_of_kv() ->
    Ancestors = [Name || Names <- [get('$ancestors')], is_list(Names), Name <- Names],
    case process_info(self(), registered_name) of
        {registered_name, kv_sup} -> true;
        _ -> lists:member(kv_sup, Ancestors)
    end.
