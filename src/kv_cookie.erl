%% @doc The cookie that this VM uses for a C node. A user may have set one for that node alone
%% (`erlang:set_cookie/2'), and may change it at any time.
%% @private
-module(kv_cookie).

-export([of_node/1, line/1]).

%% @doc Returns the cookie for a node; `unknown' while distribution is being stopped.
-spec of_node(node()) -> {ok, atom()} | unknown.
of_node(Node) ->
    try erlang:get_cookie(Node) of
        nocookie -> unknown;
        Cookie -> {ok, Cookie}
    catch
        exit:_ -> unknown
    end.

%% @doc Returns the line that hands a cookie to the program, without a newline. A cookie is any atom that Erlang nodes can
%% use: dist_util.erl, gen_digest/2, takes each character for one byte. Hexadecimal digits, because it may have any
%% characters, or none.
-spec line(atom()) -> {ok, iodata()} | {error, {bad_cookie, binary()}}.
line(Cookie) ->
    case unicode:characters_to_binary(atom_to_list(Cookie), unicode, latin1) of
        Bytes when is_binary(Bytes) ->
            {ok, ["--cookie-hex=", binary:encode_hex(Bytes)]};
        _ ->
            {error, {bad_cookie, <<"the cookie has a character above 255, with which no two Erlang nodes can connect">>}}
    end.
