%% @doc The C program as a port: starts it, reads its lines, ends it.
%%
%% docs/native-protocol.md describes the lines.
%% @private
-module(kv_node_program).

-include_lib("kernel/include/logger.hrl").

-export([start/3, say/2, ask/2, parse/1, log/1, exit_reason/2, kill/1, stop/2, last_words/1]).
-export([port/1, os_pid/1]).

-export_type([t/0, ready/0, line/0]).

-record(program, {
    port :: port(),
    os_pid :: pos_integer()
}).

-opaque t() :: #program{}.
-type ready() :: #{
    name := binary(), port := inet:port_number(), creation := non_neg_integer(), version := binary()
}.
-type line() ::
    {ready, ready()}
    | {log, logger:level(), binary()}
    | {fatal, atom() | binary(), binary()}
    | {pong, binary()}
    | {recovering, 0..100}
    | {backup, binary(), {ok, Bytes :: non_neg_integer(), Written :: non_neg_integer()} | {error, {atom() | binary(), binary()}}}
    | {other, binary()}.

-define(METADATA, #{domain => [kv, node]}).
%% A longer line is cut here.
-define(MAX_LINE, 4096).
%% How long the last lines of a program that has ended may take to arrive.
-define(LAST_WORDS, 1000).
-define(LAST_QUESTION, <<"last words">>).

%% @doc Starts the program in Path and sends it Input. Returns `{program_missing, Path}' if there is none.
-spec start(file:filename_all(), iodata(), fun((pos_integer()) -> ok)) -> {ok, t()} | {error, term()}.
start(Path, Input, Owned) ->
    try open_port({spawn_executable, Path}, [{args, []}, exit_status, {line, ?MAX_LINE}, binary, use_stdio, hide]) of
        Port -> started(Port, Input, Owned)
    catch
        error:enoent -> {error, {program_missing, text(Path)}};
        error:eacces -> {error, {program_not_executable, text(Path)}};
        error:Reason -> {error, {program_not_started, text(Path), Reason}}
    end.

started(Port, Input, Owned) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, OsPid} ->
            ok = Owned(OsPid),
            ok = command(Port, Input),
            {ok, #program{port = Port, os_pid = OsPid}};
        undefined ->
            {error, {exited, unknown}}
    end.

%% Fails if the program has ended already. Its messages say how.
command(Port, Input) ->
    try port_command(Port, Input) of
        true -> ok
    catch
        error:_ -> ok
    end.

%% @doc Sends a line to the standard input of a running program. Never waits: a line that the program does not read is
%% dropped.
-spec say(t(), iodata()) -> ok.
say(Program, Line) ->
    _ = ask(Program, Line),
    ok.

%% @doc The same; returns false if the line was dropped.
-spec ask(t(), iodata()) -> boolean().
ask(#program{port = Port}, Line) ->
    try
        erlang:port_command(Port, [Line, $\n], [nosuspend])
    catch
        error:_ -> false
    end.

text(Path) -> unicode:characters_to_binary(Path).

-spec port(t()) -> port().
port(#program{port = Port}) -> Port.

-spec os_pid(t()) -> pos_integer().
os_pid(#program{os_pid = OsPid}) -> OsPid.

%% @doc Parses a line of standard output.
-spec parse(binary()) -> line().
parse(<<"ready ", Rest/binary>> = Line) ->
    case ready(binary:split(Rest, <<" ">>, [global, trim_all]), #{}) of
        #{name := _, port := _, creation := _, version := _} = Ready -> {ready, Ready};
        _ -> {other, Line}
    end;
parse(<<"log ", Rest/binary>> = Line) ->
    case binary:split(Rest, <<" ">>) of
        [Level, Text] -> {log, level(Level), Text};
        _ -> {other, Line}
    end;
parse(<<"fatal ", Rest/binary>>) ->
    case binary:split(Rest, <<" ">>) of
        [Reason, Text] -> {fatal, reason(Reason), Text};
        [Reason] -> {fatal, reason(Reason), <<>>}
    end;
parse(<<"pong ", Text/binary>>) ->
    {pong, Text};
parse(<<"recovering ", Rest/binary>> = Line) ->
    case string:to_integer(Rest) of
        {Percent, <<"%">>} when is_integer(Percent), Percent >= 0, Percent =< 100 -> {recovering, Percent};
        _ -> {other, Line}
    end;
parse(<<"backup ", Rest/binary>> = Line) ->
    case binary:split(Rest, <<" ">>, [global]) of
        [Id, <<"ok">>, <<"bytes=", Bytes/binary>>, <<"written=", Written/binary>>] ->
            {backup, Id, {ok, binary_to_integer(Bytes), binary_to_integer(Written)}};
        [Id, <<"error">>, Word | Text] ->
            {backup, Id, {error, {backup_word(Word), iolist_to_binary(lists:join($\s, Text))}}};
        _ ->
            {other, Line}
    end;
parse(Line) ->
    {other, Line}.

%% Only words that the protocol names become atoms.
backup_word(<<"no_data_dir">>) -> no_data_dir;
backup_word(<<"not_ready">>) -> not_ready;
backup_word(<<"backup_under_way">>) -> backup_under_way;
backup_word(<<"bad_folder">>) -> bad_folder;
backup_word(<<"enospc">>) -> enospc;
backup_word(<<"enomem">>) -> enomem;
backup_word(<<"eio">>) -> eio;
backup_word(Other) -> Other.

ready([<<"name=", Name/binary>> | Rest], Ready) -> ready(Rest, Ready#{name => Name});
ready([<<"port=", Port/binary>> | Rest], Ready) -> ready_number(port, Port, Rest, Ready);
ready([<<"creation=", Creation/binary>> | Rest], Ready) -> ready_number(creation, Creation, Rest, Ready);
ready([<<"version=", Version/binary>> | Rest], Ready) -> ready(Rest, Ready#{version => Version});
ready([_ | Rest], Ready) -> ready(Rest, Ready);
ready([], Ready) -> Ready.

ready_number(Key, Text, Rest, Ready) ->
    case string:to_integer(Text) of
        {Number, <<>>} when is_integer(Number) -> ready(Rest, Ready#{Key => Number});
        _ -> ready(Rest, Ready)
    end.

level(<<"debug">>) -> debug;
level(<<"info">>) -> info;
level(<<"warning">>) -> warning;
level(<<"error">>) -> error;
level(_) -> notice.

%% @doc Passes a line on to logger, at the level that the program gave it.
-spec log(line()) -> ok.
log({log, Level, Text}) -> ?LOG(Level, "~ts", [Text], ?METADATA);
log({other, Line}) -> ?LOG(debug, "kv_node printed: ~ts", [Line], ?METADATA);
log({ready, _}) -> ok;
log({pong, _}) -> ok;
log({recovering, _}) -> ok;
log({backup, _, _}) -> ok;
log({fatal, _, _}) -> ok.

%% Only words that the protocol names become atoms.
reason(<<"bad_option">>) -> bad_option;
reason(<<"no_cookie">>) -> no_cookie;
reason(<<"host_unresolved">>) -> host_unresolved;
reason(<<"no_epmd">>) -> no_epmd;
reason(<<"internal">>) -> internal;
reason(<<"out_of_memory">>) -> out_of_memory;
reason(<<"port_taken">>) -> port_taken;
reason(<<"name_taken">>) -> name_taken;
reason(<<"data_dir">>) -> data_dir;
reason(<<"tls">>) -> tls;
reason(<<"log_failed">>) -> log_failed;
reason(Other) -> Other.

%% @doc Returns why a program has ended: its own last line if it wrote one, otherwise its exit status. The port
%% program that the emulator forks reports a death by signal as 128 plus the number of the signal.
-spec exit_reason(non_neg_integer() | unknown, undefined | {fatal, atom() | binary(), binary()}) -> term().
exit_reason(_Status, {fatal, _, _} = Fatal) -> Fatal;
exit_reason(Status, undefined) when is_integer(Status), Status > 128 -> {killed, signal(Status - 128)};
exit_reason(Status, undefined) -> {exited, Status}.

signal(1) -> sighup;
signal(2) -> sigint;
signal(3) -> sigquit;
signal(4) -> sigill;
signal(6) -> sigabrt;
signal(7) -> sigbus;
signal(8) -> sigfpe;
signal(9) -> sigkill;
signal(11) -> sigsegv;
signal(13) -> sigpipe;
signal(15) -> sigterm;
signal(Number) -> Number.

%% @doc Kills a program that does not answer, and waits for its end.
-spec kill(t()) -> ok.
kill(#program{os_pid = OsPid, port = Port}) ->
    ok = kv_os_process:kill(OsPid),
    receive
        {Port, {exit_status, _}} -> ok
    after ?LAST_WORDS -> ok
    end.

%% @doc Ends the program, and returns once it is gone. Closes its standard input, which tells it to stop. A program
%% that takes longer than Timeout gets SIGKILL, because it ignores other signals (docs/native-protocol.md).
-spec stop(t(), pos_integer()) -> ok.
stop(#program{port = Port, os_pid = OsPid}, Timeout) ->
    %% A closed port does not report the exit status, so the process itself is observed.
    ok = kv_os_process:close_port(Port),
    _ = kv_os_process:finish(OsPid, Timeout),
    ok = flush(Port).

flush(Port) ->
    receive
        {Port, _} -> flush(Port);
        {'EXIT', Port, _} -> flush(Port)
    after 0 -> ok
    end.

%% @doc Returns what the program has logged until now, the last line first, or how it has ended. Asks it a question: its
%% answer comes behind all of that.
-spec last_words(t()) -> {ended, term()} | {running, [binary()]}.
last_words(#program{port = Port} = Program) ->
    ok = say(Program, ["ping ", ?LAST_QUESTION]),
    collect(Port, undefined, []).

collect(Port, Fatal, Words) ->
    receive
        {Port, {data, {_, Line}}} ->
            case parse(Line) of
                {fatal, _, _} = Last -> collect(Port, Last, Words);
                {pong, ?LAST_QUESTION} -> {running, Words};
                Other -> ok = log(Other), collect(Port, Fatal, words(Other, Words))
            end;
        {Port, {exit_status, Status}} ->
            {ended, exit_reason(Status, Fatal)}
    after ?LAST_WORDS -> {running, Words}
    end.

words({log, _Level, Text}, Words) -> [Text | Words];
words(_Line, Words) -> Words.
