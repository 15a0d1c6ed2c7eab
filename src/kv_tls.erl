%% @doc The options of TLS for the C program, if this VM dials it over TLS: those with which the VM itself takes connections.
%%
%% The VM has them from `-ssl_dist_opt' and `-ssl_dist_optfile'; OTP: ssl, inet_tls_dist.erl, get_ssl_options/1, and
%% ssl_dist_sup.erl. Of two values of one option the first counts. An option that the program cannot follow is refused: a node
%% must not be less strict than its cluster.
%% @private
-module(kv_tls).

-export([lines/1]).

-type refusal() :: {bad_tls_option, atom(), binary()}.

%% The program takes lines of this length, and the flag belongs to them.
-define(MAX_VALUE, 4000).

%% @doc Returns the lines of options for the program of a node. None if the VM dials the node over TCP.
-spec lines(node()) -> {ok, iolist()} | {error, refusal() | {no_distribution, binary()}}.
lines(Node) ->
    case kv_carrier:protocol(Node) of
        {ok, tcp} -> {ok, []};
        {ok, tls} -> of_options(own_options(), allowed_hosts());
        {error, Reason} -> {error, Reason}
    end.

of_options([], _Hosts) ->
    refuse(certfile, "this VM takes connections over TLS, and has no options for them: see -ssl_dist_optfile");
of_options(Options, Hosts) ->
    translate(Options, Hosts).

%%% The options of this VM

own_options() ->
    from_arguments() ++ from_file().

from_arguments() ->
    case init:get_argument(ssl_dist_opt) of
        {ok, Arguments} -> server_options(lists:append(Arguments));
        error -> []
    end.

server_options(["server_" ++ Option, Value | Rest]) -> [argument(Option, Value) | server_options(Rest)];
server_options([_Option, _Value | Rest]) -> server_options(Rest);
server_options(_) -> [].

%% As inet_tls_dist.erl, ssl_option/2.
argument("ciphers", Value) -> {ciphers, [Value]};
argument("versions", Value) -> {versions, [list_to_atom(Value)]};
argument("depth", Value) -> {depth, list_to_integer(Value)};
argument("verify_fun", Value) -> {verify_fun, term(Value)};
argument(Option, Value) when
    Option =:= "certfile"; Option =:= "cacertfile"; Option =:= "keyfile"; Option =:= "password"; Option =:= "dhfile"
->
    {list_to_atom(Option), Value};
argument(Option, Value) ->
    {list_to_atom(Option), list_to_atom(Value)}.

term(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

%% The table belongs to ssl_dist_sup, and everybody may read it.
from_file() ->
    try ets:lookup(ssl_dist_opts, server) of
        [{server, Options}] -> Options;
        [] -> []
    catch
        error:badarg -> []
    end.

%% The hosts of net_kernel:allow/1. None: every host.
allowed_hosts() ->
    case net_kernel:allowed() of
        {ok, Allowed} -> lists:usort([host(atom_to_list(Node)) || Node <- Allowed, is_atom(Node)]);
        _ -> []
    end.

host(Node) -> lists:last(string:split(Node, "@")).

%%% The options of the program

-spec translate([term()], [string()]) -> {ok, iolist()} | {error, refusal()}.
translate(Options, Hosts) ->
    try
        First = first_values(Options),
        ok = has_certificate(First),
        {ok, [option(Option, Hosts) || Option <- First]}
    catch
        throw:{refused, Option, Text} -> refuse(Option, Text)
    end.

first_values(Options) ->
    lists:foldr(fun(Option, Rest) -> [Option | lists:keydelete(element(1, Option), 1, Rest)] end, [], flat(Options)).

flat(Options) ->
    lists:flatmap(fun flat_option/1, proplists:normalize(Options, [])).

flat_option(Option) when is_atom(Option) -> [{Option, true}];
flat_option({certs_keys, [Pair]}) when is_map(Pair) -> maps:to_list(Pair);
flat_option({certs_keys, _}) -> refused(certs_keys, "the program has one certificate and one key");
flat_option({Name, _} = Option) when is_atom(Name) -> [Option];
flat_option(Other) -> refused(unknown, io_lib:format("~tp is no option of TLS", [Other])).

has_certificate(Options) ->
    case lists:keymember(certfile, 1, Options) of
        true -> ok;
        false -> refused(certfile, "the program needs the file of a certificate")
    end.

option({Name, File}, _) when Name =:= certfile; Name =:= keyfile; Name =:= cacertfile; Name =:= dhfile -> file(Name, File);
option({password, Password}, _) when is_list(Password); is_binary(Password) -> line(password, Password);
option({verify, Verify}, _) when Verify =:= verify_none; Verify =:= verify_peer -> line(verify, atom_to_list(Verify));
option({fail_if_no_peer_cert, Fail}, _) when is_boolean(Fail) -> line('fail-if-no-peer-cert', atom_to_list(Fail));
option({depth, Depth}, _) when is_integer(Depth) -> line(depth, integer_to_list(Depth));
option({versions, Versions}, _) -> line(versions, versions(Versions));
option({ciphers, Ciphers}, _) -> line(ciphers, ciphers(Ciphers));
option({verify_fun, Fun}, Hosts) -> verify_fun(Fun, Hosts);
option({crl_check, false}, _) -> [];
option({Name, _}, _) ->
    case is_without_effect(Name) of
        true -> [];
        false -> refused(Name, "the program cannot follow this option")
    end.

%% These say how the VM does it, or name what the program does in any case.
is_without_effect(Name) ->
    lists:member(Name, [
        secure_renegotiate, client_renegotiation, reuse_sessions, reuse_session, session_tickets, hibernate_after, ktls, log_level,
        honor_cipher_order, honor_ecc_order, nodelay, erl_dist, handshake, max_handshake_size, receiver_spawn_opts,
        sender_spawn_opts, active, mode, packet
    ]).

file(Name, File) ->
    line(Name, filename:absname(File)).

line(Name, Text) ->
    Value = unicode:characters_to_binary(Text),
    case is_binary(Value) andalso byte_size(Value) =< ?MAX_VALUE andalso binary:match(Value, [<<"\n">>, <<0>>]) =:= nomatch of
        true -> ["--tls-", atom_to_list(Name), "=", Value, "\n"];
        false -> refused(Name, "the value is too long for the program, or holds a character that its options cannot have")
    end.

versions(Versions) ->
    case lists:usort(Versions) of
        ['tlsv1.2'] -> "tlsv1.2";
        ['tlsv1.3'] -> "tlsv1.3";
        ['tlsv1.2', 'tlsv1.3'] -> "tlsv1.2,tlsv1.3";
        _ -> refused(versions, "the program has tlsv1.2 and tlsv1.3 only")
    end.

ciphers([First | _] = Names) when is_integer(First) -> ciphers(string:lexemes(Names, ":"));
ciphers(Names) when is_list(Names) -> lists:join($,, lists:map(fun cipher/1, Names));
ciphers(_) -> refused(ciphers, "a list of names is wanted").

%% OpenSSL's name.
cipher(Suite) when is_map(Suite) ->
    try
        of_ssl(suite_to_openssl_str, Suite)
    catch
        error:_ -> refused(ciphers, io_lib:format("~tp is no cipher", [Suite]))
    end;
cipher(Name) when is_list(Name) ->
    case of_ssl(str_to_suite, Name) of
        Suite when is_map(Suite) -> cipher(Suite);
        _ -> refused(ciphers, io_lib:format("~ts is no cipher", [Name]))
    end;
cipher(Other) ->
    refused(ciphers, io_lib:format("~tp is no name of a cipher", [Other])).

%% The application ssl is there in a VM that speaks TLS. Elsewhere it need not be installed.
of_ssl(Function, Argument) -> apply(ssl, Function, [Argument]).

%% The program does as inet_tls_dist:verify_client/3.
verify_fun({inet_tls_dist, verify_client, _}, Hosts) ->
    hosts(Hosts);
verify_fun({Fun, _}, Hosts) when is_function(Fun, 3) ->
    case {erlang:fun_info(Fun, module), erlang:fun_info(Fun, name)} of
        {{module, inet_tls_dist}, {name, verify_client}} -> hosts(Hosts);
        _ -> other_verify_fun()
    end;
verify_fun(_, _Hosts) ->
    other_verify_fun().

-spec other_verify_fun() -> no_return().
other_verify_fun() ->
    refused(verify_fun, "the program knows inet_tls_dist:verify_client/3 only").

hosts([]) -> [];
hosts(Hosts) -> line(hosts, lists:join($,, Hosts)).

-spec refused(atom(), iodata()) -> no_return().
refused(Name, Text) ->
    throw({refused, Name, Text}).

-spec refuse(atom(), iodata()) -> {error, refusal()}.
refuse(Name, Text) ->
    {error, {bad_tls_option, Name, unicode:characters_to_binary(Text)}}.
