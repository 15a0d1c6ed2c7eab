%% @doc Says why this VM could not connect to a program that is ready: in the words of the program, if the program has
%% heard of the attempt, and otherwise by the settings of this VM that can keep it from dialling.
%% @private
-module(kv_not_connected).

-export([text/3]).

%% @doc Returns the cause as a sentence for a person. Words are the lines that the program has logged meanwhile, the last
%% one first.
-spec text(node(), inet:port_number(), [binary()]) -> binary().
text(Node, Port, Words) ->
    unicode:characters_to_binary(cause(Node, Port, Words)).

cause(Node, Port, Words) ->
    case [Line || Line <- Words, is_about_connection(Line)] of
        [Last | _] -> ["the program says: ", Last];
        [] -> settings([fun allowed/2, fun fixed_port/2, fun epmd_module/2, fun certificate/2], Node, Port)
    end.

%% Such a line is "handshake with NODE closed: WHY".
is_about_connection(Line) ->
    binary:match(Line, <<" closed: ">>) =/= nomatch.

settings([Setting | Rest], Node, Port) ->
    case Setting(Node, Port) of
        fine -> settings(Rest, Node, Port);
        Text -> Text
    end;
settings([], Node, Port) ->
    [
        "the program listens at port ",
        integer_to_list(Port),
        ", and this VM did not get through: does ",
        host(Node),
        " lead to this machine, in the address family of -proto_dist, and past every firewall?"
    ].

host(Node) ->
    [_, Host] = string:split(atom_to_list(Node), "@"),
    Host.

allowed(Node, _Port) ->
    case net_kernel:allowed() of
        {ok, [_ | _] = Allowed} ->
            %% Where a VM dials, the name of a host does not count: net_kernel.erl, setup/5.
            case lists:member(Node, Allowed) of
                true -> fine;
                false -> ["this VM allows other nodes only: call net_kernel:allow(['", atom_to_list(Node), "']) before kv starts"]
            end;
        _ ->
            fine
    end.

fixed_port(_Node, Port) ->
    case kv_epmd:port_of_all() of
        Same when Same =:= none; Same =:= Port ->
            fine;
        Fixed ->
            [
                "this VM dials every node at port ", integer_to_list(Fixed), " (-erl_epmd_port), and the program listens at port ",
                integer_to_list(Port), ": set epmd to false, and give the program an address of its own with node_name if this VM "
                "listens; or start the VM without -erl_epmd_port"
            ]
    end.

%% The program takes no notice if this VM refuses its certificate before it has a name.
certificate(Node, _Port) ->
    case kv_carrier:protocol(Node) of
        {ok, tls} ->
            [
                "this VM connects over TLS, and its log says why that failed: if it verifies its peers, the certificate of this "
                "node must be for ", host(Node), ", and an address must be there as a DNS name, too"
            ];
        _ ->
            fine
    end.

epmd_module(Node, Port) ->
    case net_kernel:epmd_module() of
        erl_epmd ->
            fine;
        Module ->
            [
                "this VM asks ", atom_to_list(Module), " for the ports of other nodes (-epmd_module), and not EPMD, with which the "
                "program is registered: let it lead ", atom_to_list(Node), " to port ", integer_to_list(Port)
            ]
    end.
