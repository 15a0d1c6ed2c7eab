%% @doc How this VM dials other nodes: in which address family, at which address, and whether over TLS. The C program must
%% listen there.
%%
%% A VM dials with the modules that `-proto_dist' names, and it resolves hosts in its own way: with inet6_tcp its own host
%% name is `::1' for it, wherever the resolver of the system says otherwise. So the program is told the address.
%% @private
-module(kv_carrier).

-include_lib("kernel/include/net_address.hrl").

-export([family/0, family/1, protocol/1, address/1, own_host/0, loopback/0]).

-export_type([family/0, protocol/0]).

-type family() :: inet | inet6.
-type protocol() :: tcp | tls.
-type refusal() :: {no_distribution, binary()}.

%% @doc Returns the address family in which this VM dials a node. Returns a plain reason if the VM dials it neither over TCP
%% nor over TLS.
-spec family(node()) -> {ok, family()} | {error, refusal()}.
family(Node) ->
    family_of(carrier(Node)).

%% @doc The same, for any node.
-spec family() -> {ok, family()} | {error, refusal()}.
family() ->
    family_of(carrier_of(hd(in_order(modules())))).

family_of({ok, {_Protocol, Family}}) -> {ok, Family};
family_of({error, Reason}) -> {error, Reason}.

%% @doc Returns the protocol below the distribution with which this VM dials a node.
-spec protocol(node()) -> {ok, protocol()} | {error, refusal()}.
protocol(Node) ->
    case carrier(Node) of
        {ok, {Protocol, _Family}} -> {ok, Protocol};
        {error, Reason} -> {error, Reason}
    end.

carrier(Node) ->
    carrier_of(module_for(Node, in_order(modules()))).

module_for(_Node, [Module]) ->
    Module;
module_for(Node, [First | _] = Modules) ->
    %% If none selects the node, its host has no address in any family. address/1 says so.
    hd([Module || Module <- Modules, selects(Module, Node)] ++ [First]).

%% As net_kernel.erl, start_protos/3.
modules() ->
    case init:get_argument(proto_dist) of
        {ok, [[_ | _] = Protocols]} -> [list_to_atom(Protocol ++ "_dist") || Protocol <- Protocols];
        _ -> [inet_tcp_dist]
    end.

%% net_kernel tries the last one first. Of those that listen EPMD takes only the first.
in_order(Modules) ->
    case is_alive() andalso not kv_distribution:is_ours() andalso init:get_argument(dist_listen) =/= {ok, [["false"]]} of
        true -> Modules;
        false -> lists:reverse(Modules)
    end.

selects(Module, Node) ->
    try
        Module:select(Node) =:= true
    catch
        _:_ -> false
    end.

carrier_of(inet_tcp_dist) -> {ok, {tcp, inet}};
carrier_of(inet6_tcp_dist) -> {ok, {tcp, inet6}};
carrier_of(inet_tls_dist) -> {ok, {tls, inet}};
carrier_of(inet6_tls_dist) -> {ok, {tls, inet6}};
carrier_of(Module) ->
    try Module:address() of
        #net_address{protocol = tcp, family = Family} when Family =:= inet; Family =:= inet6 -> {ok, {tcp, Family}};
        _ -> refused(Module, "is neither TCP nor TLS")
    catch
        _:_ -> refused(Module, "cannot be used")
    end.

refused(Module, Why) ->
    Text =
        "-proto_dist ~ts ~ts, and the program of kv speaks nothing else: start the VM with -proto_dist inet_tcp, inet6_tcp, "
        "inet_tls or inet6_tls, or without -proto_dist",
    Protocol = string:replace(atom_to_list(Module), "_dist", "", trailing),
    {error, {no_distribution, unicode:characters_to_binary(io_lib:format(Text, [Protocol, Why]))}}.

%% @doc Returns the address at which this VM dials a node. With `-epmd_module' it may be `unknown' as long as the node does
%% not run.
-spec address(node()) -> {ok, inet:ip_address()} | unknown | {error, {fatal, host_unresolved, binary()} | refusal()}.
address(Node) ->
    case family(Node) of
        {ok, Family} -> address(string:split(atom_to_list(Node), "@"), Family, net_kernel:epmd_module());
        {error, Reason} -> {error, Reason}
    end.

address([_Alive, Host], Family, erl_epmd) ->
    case resolve(Host, Family) of
        {ok, Address} -> {ok, Address};
        {error, Why} -> {error, {fatal, host_unresolved, unresolved(Host, Family, Why)}}
    end;
%% As inet_tcp_dist.erl, gen_setup/6.
address([Alive, Host], Family, Module) ->
    try Module:address_please(Alive, Host, Family) of
        {ok, Address} -> {ok, Address};
        {ok, Address, _Port, _Version} -> {ok, Address};
        _ -> unknown
    catch
        _:_ -> unknown
    end.

%% An address is no matter for the resolver of the system, which would leave a port open.
resolve(Host, Family) ->
    case {inet:parse_strict_address(Host), Family} of
        {{ok, {_, _, _, _} = Address}, inet} -> {ok, Address};
        {{ok, {_, _, _, _, _, _, _, _} = Address}, inet6} -> {ok, Address};
        _ -> inet:getaddr(Host, Family)
    end.

unresolved(Host, Family, Why) ->
    Text = "this VM finds no ~ts address for the host ~ts (~ts): is the host part of the name right, and -proto_dist?",
    unicode:characters_to_binary(io_lib:format(Text, [version(Family), Host, inet:format_error(Why)])).

version(inet) -> "IPv4";
version(inet6) -> "IPv6".

%% @doc Returns the host part of the name that kv gives this VM.
-spec own_host() -> {ok, string()} | {error, refusal()}.
own_host() ->
    case family() of
        {ok, _} -> {ok, inet:ntoa(loopback())};
        {error, Reason} -> {error, Reason}
    end.

%% @doc Returns the address at which this VM registers with EPMD (erl_epmd.erl, do_register_node/3).
-spec loopback() -> inet:ip_address().
loopback() ->
    case family() of
        {ok, inet6} -> {0, 0, 0, 0, 0, 0, 0, 1};
        _ -> {127, 0, 0, 1}
    end.
