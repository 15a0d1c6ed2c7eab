%% @doc Lists of options, and the sentences of errors about them.
%%
%% Every function that takes options reads them here. Of an option that is given twice the first counts, as in
%% `proplists' and in `Keyword'; each value is checked all the same. An error is a tuple of `bad_option', the key, and a
%% sentence that names what is wanted: {@link error()}.
%% @private
-module(kv_options).

-export([check/3, is_call/1, wrong/3, unknown/2, nearest/2, shown/1]).

-export_type([error/0, verdict/0]).

%% The option, and a sentence for a person.
-type error() :: {bad_option, term(), binary()}.

%% The verdict on one option: its value is good; its value is wrong, and Wanted says which are good; or there is no such
%% option.
-type verdict() :: true | {wanted, unicode:chardata()} | unknown.

%% Characters of a value that an error shows.
-define(SHOWN, 80).
%% Subterms of a value that an error formats.
-define(DEPTH, 12).

%% @doc Returns the options as a map, the first of each, or the first one that is wrong. Verdict judges one option; Known
%% are the keys to name where there is no such option.
-spec check(term(), fun((term(), term()) -> verdict()), [atom()]) -> {ok, map()} | {error, error()}.
check(Options, Verdict, Known) when is_map(Options) ->
    check(maps:to_list(Options), Verdict, Known, #{});
check(Options, Verdict, Known) ->
    check(Options, Verdict, Known, #{}).

check([], _Verdict, _Known, Checked) ->
    {ok, Checked};
check([{Key, Value} | Rest], Verdict, Known, Checked) ->
    case Verdict(Key, Value) of
        true -> check(Rest, Verdict, Known, maps:merge(#{Key => Value}, Checked));
        {wanted, Wanted} -> {error, {bad_option, Key, wrong(shown(Key), Wanted, Value)}};
        unknown -> {error, {bad_option, Key, unknown(Key, Known)}}
    end;
check([Other | _], _Verdict, _Known, _Checked) ->
    {error, {bad_option, Other, wrong("an option", "a pair of key and value", Other)}};
check(Other, _Verdict, _Known, _Checked) ->
    {error, {bad_option, Other, wrong("options", "a list of pairs or a map", Other)}}.

%% @doc Returns `true' for a value that names a function and its first arguments.
-spec is_call(term()) -> boolean().
is_call({M, F, A}) -> is_atom(M) andalso is_atom(F) andalso is_list(A);
is_call(_Value) -> false.

%% @doc Returns the sentence for a wrong value: "ticktime must be 1 to 86400 seconds, and is 0".
-spec wrong(unicode:chardata(), unicode:chardata(), term()) -> binary().
wrong(What, Wanted, Given) ->
    unicode:characters_to_binary([What, " must be ", Wanted, ", and is ", shown(Given)]).

%% @doc Returns the sentence for an unknown option: it names the nearest one, or all if none is near.
-spec unknown(term(), [atom()]) -> binary().
unknown(Key, Known) ->
    Hint = case nearest(Key, Known) of
        {ok, Near} -> ["; did you mean ", atom_to_list(Near), "?"];
        none when length(Known) =:= 1 -> ["; the only option is ", atom_to_list(hd(Known))];
        none -> ["; the options are ", lists:join(", ", [atom_to_list(One) || One <- lists:sort(Known)])]
    end,
    unicode:characters_to_binary(["there is no option ", shown(Key), Hint]).

%% @doc Returns the word that Key was probably meant to be: at most every third letter differs.
-spec nearest(term(), [atom()]) -> {ok, atom()} | none.
nearest(Key, Known) when is_atom(Key), Known =/= [] ->
    Text = atom_to_list(Key),
    {Distance, Near} = lists:min([{distance(Text, atom_to_list(One)), One} || One <- Known]),
    case Distance * 3 =< max(length(Text), 3) of
        true -> {ok, Near};
        false -> none
    end;
nearest(_Key, _Known) ->
    none.

%% The edit distance of Levenshtein, one row of his table after the other.
distance(From, To) ->
    lists:last(lists:foldl(fun(Char, Row) -> next_row(Char, To, Row) end, lists:seq(0, length(To)), From)).

next_row(Char, To, [Corner | Above]) ->
    cells(Char, To, Corner, Above, [Corner + 1]).

cells(_Char, [], _Corner, [], Row) ->
    lists:reverse(Row);
cells(Char, [Other | To], Corner, [Above | Rest], [Left | _] = Row) ->
    Replaced = case Char of
        Other -> Corner;
        _ -> Corner + 1
    end,
    cells(Char, To, Above, Rest, [lists:min([Replaced, Above + 1, Left + 1]) | Row]).

%% @doc Returns the text of a term, cut if it is long.
-spec shown(term()) -> string().
shown(Term) ->
    Text = unicode:characters_to_list(io_lib:format("~0tP", [Term, ?DEPTH])),
    case length(Text) of
        Length when Length > ?SHOWN -> lists:sublist(Text, ?SHOWN) ++ "...";
        _ -> Text
    end.
