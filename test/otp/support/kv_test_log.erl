%% A handler of logger that sends log lines to the test.
-module(kv_test_log).

-export([listen/1, listen/2, ignore/0, heard/0, log/2]).

%% Lines of Level and above come to the calling process as {line, {Level, Text}}.
listen(Level) ->
    listen(Level, fun(_Event) -> true end).

%% The same for the events for which Wanted returns true.
listen(Level, Wanted) ->
    ok = logger:set_primary_config(level, all),
    logger:add_handler(?MODULE, ?MODULE, #{config => {self(), Wanted}, level => Level}).

%% Stops sending lines.
ignore() ->
    logger:remove_handler(?MODULE).

%% Returns the lines that have arrived so far.
heard() ->
    receive
        {line, Line} -> [Line | heard()]
    after 0 -> []
    end.

%% Called by logger, in the process that logs.
log(#{level := Level} = Event, #{config := {Listener, Wanted}}) ->
    case Wanted(Event) of
        true ->
            Text = logger_formatter:format(Event, #{template => [msg], single_line => true}),
            Listener ! {line, {Level, unicode:characters_to_binary(Text)}};
        false ->
            ok
    end.
