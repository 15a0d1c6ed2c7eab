%% @doc Certificates for tests, made afresh, and the options with which a VM uses them.
-module(kv_tls_files).

-include_lib("public_key/include/public_key.hrl").

-export([make/2, cluster/1, arguments/3, optfile/2]).

-export_type([files/0]).

%% Of a node: the paths of certificate, key and authorities.
-type files() :: #{certfile := file:filename(), keyfile := file:filename(), cacertfile := file:filename()}.

%% Some releases of OTP look for a DNS name even where the host of a node is an address, and others for the address.
-define(NAMES, [
    {dNSName, "127.0.0.1"}, {dNSName, "localhost"}, {dNSName, "::1"}, {iPAddress, <<127, 0, 0, 1>>}, {iPAddress, <<1:128>>}
]).

%% @doc Makes the files of two nodes that trust each other, in a new folder below Home. Options of each: `hosts', the names in
%% its certificate, and `validity'.
-spec make(file:filename(), #{node := map(), vm := map()}) -> #{node := files(), vm := files()}.
make(Home, #{node := Node, vm := Vm}) ->
    Folder = filename:join(Home, "tls" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:make_dir(Folder),
    #{server_config := OfNode, client_config := OfVm} =
        public_key:pkix_test_data(#{server_chain => chain(Node), client_chain => chain(Vm)}),
    #{node => write(Folder, "node", OfNode), vm => write(Folder, "vm", OfVm)}.

%% @doc Makes the files of all nodes of a cluster: whoever has them trusts them.
-spec cluster(file:filename()) -> files().
cluster(Home) ->
    #{node := #{cacertfile := OfNode}, vm := #{cacertfile := OfVm} = Files} = make(Home, #{node => #{}, vm => #{}}),
    Authorities = [element(2, {ok, _} = file:read_file(Path)) || Path <- [OfNode, OfVm]],
    ok = file:write_file(OfVm, Authorities),
    Files.

chain(Options) ->
    Names = #'Extension'{
        extnID = ?'id-ce-subjectAltName',
        critical = false,
        extnValue = names(Options)
    },
    Validity = [{validity, Dates} || #{validity := Dates} <- [Options]],
    #{root => strong(), intermediates => [strong()], peer => strong() ++ [{extensions, [Names]} | Validity]}.

names(#{hosts := Hosts}) -> [{dNSName, Host} || Host <- Hosts];
names(_Options) -> ?NAMES.

%% The policy of Debian refuses SHA-1, which is what the test data have by themselves.
strong() -> [{key, {namedCurve, secp256r1}}, {digest, sha256}].

write(Folder, Name, Config) ->
    {Type, Key} = proplists:get_value(key, Config),
    [Own | _] = [proplists:get_value(cert, Config)],
    Authorities = proplists:get_value(cacerts, Config),
    #{
        certfile => pem(Folder, Name ++ ".crt", [{'Certificate', Der, not_encrypted} || Der <- [Own | between(Own, Authorities)]]),
        keyfile => pem(Folder, Name ++ ".key", [{Type, Key, not_encrypted}]),
        cacertfile => pem(Folder, Name ++ ".ca", [{'Certificate', Der, not_encrypted} || Der <- Authorities])
    }.

%% The test data hold the authorities of both sides together. Those that have issued the certificate go with it.
between(Der, Authorities) ->
    case [Authority || Authority <- Authorities, Authority =/= Der, public_key:pkix_is_issuer(Der, Authority)] of
        [Authority | _] -> [Authority | between(Authority, Authorities -- [Authority])];
        [] -> []
    end.

pem(Folder, Name, Entries) ->
    Path = filename:join(Folder, Name),
    ok = file:write_file(Path, public_key:pem_encode(Entries)),
    Path.

%% @doc Returns the arguments of a VM: Server are the options with which it takes connections, and Client those with which it
%% dials.
-spec arguments(file:filename(), [term()], [term()]) -> [string()].
arguments(Home, Server, Client) ->
    ["-proto_dist", "inet_tls", "-ssl_dist_optfile", optfile(Home, [{server, Server}, {client, Client}])].

-spec optfile(file:filename(), term()) -> file:filename().
optfile(Home, Options) ->
    Path = filename:join(Home, "optfile" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:write_file(Path, io_lib:format("~tp.~n", [Options])),
    Path.
