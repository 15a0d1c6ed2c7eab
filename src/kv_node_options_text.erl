%% @doc The table of {@link kv_node_options} as documentation: for {@link kv_node}, `KV.Node' and docs/options.md.
%%
%% `make options' writes the first and the last, and a test holds them to the table. `KV.Node' takes its list when it is
%% compiled.
%% @private
-module(kv_node_options_text).

-export([edoc/0, elixir/0, markdown/0, wanted/1]).

%% `plain': in the sentence of an error.
-type language() :: erlang | elixir | plain.

%% Columns of a line of source.
-define(WIDTH, 118).

%% @doc An HTML list, as comment lines of kv_node.erl.
-spec edoc() -> unicode:chardata().
edoc() ->
    lists:join("\n", ["%% <ul>"] ++ [edoc_item(Row) || Row <- kv_node_options:table()] ++ ["%% </ul>"]).

edoc_item({Key, _, _, _, _, _} = Row) ->
    Text = lists:flatten(io_lib:format("<li>`~s`: ~ts</li>", [Key, sentences(Row, erlang)])),
    wrap("%% ", "%%     ", edoc_code(Text)).

%% The closing quote of code in EDoc is another one.
edoc_code(Text) ->
    re:replace(Text, "`([^`]*)`", "`\\1'", [global, unicode, {return, list}]).

%% @doc A Markdown list for the documentation of `KV.Node'.
-spec elixir() -> binary().
elixir() ->
    Items = [
        wrap("  * ", "    ", lists:flatten(io_lib:format("`:~s` - ~ts", [Key, sentences(Row, elixir)])))
     || {Key, _, _, _, _, _} = Row <- kv_node_options:table()
    ],
    unicode:characters_to_binary(lists:join("\n", Items)).

%% @doc A Markdown table for docs/options.md.
-spec markdown() -> binary().
markdown() ->
    Rows = [row(Row) || Row <- kv_node_options:table()],
    Head = ["| option | value | default | flag of `kv_node` | since | what it does |\n", "|---|---|---|---|---|---|\n"],
    unicode:characters_to_binary([Head, Rows]).

row({Key, Flag, Type, Default, Since, Text}) ->
    Cells = [["`", atom_to_list(Key), "`"], type(Type, erlang), default_cell(Default), flag(Flag), Since, text(Text, erlang)],
    ["| ", lists:join(" | ", Cells), " |\n"].

flag(none) -> "";
flag(Flag) -> ["`--", Flag, "`"].

default_cell(undefined) -> "see the text";
default_cell(Default) -> value(Default, erlang).

%% The text, what the value may be, and the default.
sentences({_, _, Type, Default, _, Text}, Language) ->
    [text(Text, Language), " Value: ", type(Type, Language), default(Default, Language), "."].

default(undefined, _Language) -> "";
default(Default, Language) -> ["; ", value(Default, Language), " by default"].

value(Value, plain) -> io_lib:format("~p", [Value]);
value({program, Value}, Language) -> value(Value, Language);
value(Value, elixir) when is_atom(Value), not is_boolean(Value) -> io_lib:format("`:~s`", [Value]);
value(Value, _Language) -> io_lib:format("`~p`", [Value]).

type(boolean, Language) -> type({one_of, [true, false]}, Language);
type(text, plain) -> "a string of one line";
type(text, _Language) -> "a string";
type(node_name, plain) -> "an atom of visible ASCII characters with one @, as in kv@host";
type(node_name, _Language) -> "an atom";
type({integer, "", Least, Most}, _Language) -> io_lib:format("~b to ~b", [Least, Most]);
type({integer, Unit, Least, Most}, _Language) -> io_lib:format("~b to ~b ~s", [Least, Most, Unit]);
type({one_of, Words}, Language) -> any_of([value(Word, Language) || Word <- Words]).

%% @doc Returns the good values of a type, as in "ticktime must be 1 to 86400 seconds".
-spec wanted(kv_node_options:type()) -> unicode:chardata().
wanted(Type) ->
    type(Type, plain).

any_of([One, Other]) -> [One, " or ", Other];
any_of([One | Rest]) -> [One, ", ", any_of(Rest)].

%% An atom is written 'word' in the table.
-spec text(string(), language()) -> string().
text(Text, elixir) -> re:replace(Text, "'(\\w+)'", "`:\\1`", [global, {return, list}]);
text(Text, erlang) -> re:replace(Text, "'(\\w+)'", "`\\1`", [global, {return, list}]).

wrap(First, Next, Text) ->
    wrap(string:lexemes(Text, " "), First, Next, First, []).

wrap([], _First, _Next, Line, Lines) ->
    lists:join("\n", lists:reverse([Line | Lines]));
wrap([Word | Words], First, Next, Line, Lines) ->
    case string:length(Line) + 1 + string:length(Word) of
        Width when Width > ?WIDTH -> wrap(Words, First, Next, Next ++ Word, [Line | Lines]);
        _ when Line =:= First -> wrap(Words, none, Next, Line ++ Word, Lines);
        _ -> wrap(Words, First, Next, Line ++ " " ++ Word, Lines)
    end.
