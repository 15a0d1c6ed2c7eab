%% @doc How a VM attaches to a C node that somebody else has started: what the VM needs, and which nodes it refuses.
%% @private
-module(kv_attach).

-export([is_wanted/1, together/2, vm/1, meet/2, no_answer/1]).

-export_type([facts/0]).

%% The facts that the program tells of itself: kv_node:facts/0 on the C node.
-type facts() :: #{
    protocol := pos_integer(),
    version := binary(),
    creation := non_neg_integer(),
    os_pid := pos_integer(),
    port := inet:port_number(),
    max_frame := pos_integer(),
    %% How long the node keeps the processes of a VM that is away.
    reconnect_timeout := non_neg_integer(),
    zeros := differ | same
}.

%% The messages between the two sides: c_src/observe/own.c has the same number, and docs/native-protocol.md the messages.
-define(PROTOCOL, 1).
-define(FACTS_TIMEOUT, 5000).
%% Options that concern a VM that has not started the program, too.
-define(OF_THIS_VM, [
    attach, start_timeout, ping_interval, ping_timeout, local, local_reads, observer_names, slow_request, delay_send
]).
%% Options without a flag that concern the start of the program.
-define(OF_THE_START, [program, node_name, distribute, stop_timeout]).

%%% Options

%% @doc Returns `true' if the VM is to attach. Takes options that have not been checked.
-spec is_wanted(term()) -> boolean().
is_wanted(#{attach := Node}) -> is_node(Node);
is_wanted([{attach, Node} | _]) -> is_node(Node);
is_wanted([_ | Rest]) -> is_wanted(Rest);
is_wanted(_Options) -> false.

is_node(Node) -> Node =/= undefined andalso Node =/= nil.

%% @doc Returns the options that are given, or an error for the first one, in the order Keys, that has no effect beside `attach'.
-spec together(map(), [atom()]) -> {ok, map()} | {error, kv_options:error()}.
together(#{attach := Node} = Given, Keys) when Node =/= undefined ->
    case [Key || Key <- Keys, maps:get(Key, Given, undefined) =/= undefined, not lists:member(Key, ?OF_THIS_VM)] of
        [] -> {ok, Given};
        [Key | _] -> {error, {bad_option, Key, refused(Key, Node, lists:member(Key, ?OF_THE_START))}}
    end;
together(Given, _Keys) ->
    {ok, Given}.

refused(Key, Node, true) ->
    text("~ts is about a program that this VM starts, and with attach it starts none: leave out ~ts, or attach ~ts", [Key, Key, Node]);
refused(Key, Node, false) ->
    text("~ts is an option of the program, and ~ts has been started by somebody else: give it the option there", [Key, Node]).

%%% This VM

%% @doc Returns `ok' if this VM may attach to a node: the VM needs a name of its own, under which it comes back.
-spec vm(node()) -> ok | {error, {not_alive | bad_node_name, binary()}}.
vm(Node) ->
    case {is_alive() andalso node() =/= nonode@nohost, kv_distribution:is_ours()} of
        {true, false} -> kv_node_name:dialled(attach, Node);
        {true, true} -> nameless(Node, "has only a name that kv has made up, which is another after each start");
        {false, _} -> nameless(Node, "has none")
    end.

nameless(Node, Why) ->
    Text = "a VM that attaches to ~ts needs a name of its own, by which that node knows it again, and this VM ~ts: start it with "
        "-name or -sname",
    {error, {not_alive, text(Text, [Node, Why])}}.

%%% The node

%% @doc Connects to the node, asks it about itself, and checks that this VM can use it. Waits for the answer, so a process of its own
%% calls this.
-spec meet(node(), kv_node_options:t()) -> {ok, facts()} | {error, term()}.
meet(Node, Options) ->
    case net_kernel:connect_node(Node) of
        true -> met(facts(Node), Node, Options);
        _ -> {error, no_answer(Node)}
    end.

met({ok, Facts}, Node, Options) ->
    case refusal(Facts, Node) of
        none ->
            ok = greet(Node, Options),
            {ok, Facts};
        Reason ->
            {error, Reason}
    end;
met({error, Reason}, _Node, _Options) ->
    {error, Reason}.

%% Needed for each new connection, even if another process has dialled.
greet(Node, Options) ->
    ok = kv_node_start:set_socket(Node, Options),
    _ = kv_watcher:start(Node, kv_local:wanted(Options)),
    ok.

%% @doc Returns the reason for a node that cannot be reached.
-spec no_answer(node()) -> {not_connected, node(), binary()}.
no_answer(Node) ->
    Text = "this VM did not get through to ~ts: does that node run, does the EPMD of its host know it, has it the cookie that this VM "
        "has for it, and does this VM allow it?",
    {not_connected, Node, text(Text, [Node])}.

facts(Node) ->
    try erpc:call(Node, kv_node, facts, [], ?FACTS_TIMEOUT) of
        #{protocol := _, version := _, creation := _, zeros := _} = Facts -> {ok, Facts};
        _Other -> {error, not_a_node(Node)}
    catch
        error:{exception, undef, _} -> {error, older(Node)};
        error:{erpc, noconnection} -> {error, no_answer(Node)};
        error:{erpc, Reason} -> {error, {not_connected, Node, text("~ts did not tell its version: ~0tp", [Node, Reason])}};
        _:_ -> {error, not_a_node(Node)}
    end.

%% A C node of an early version does not tell its facts. A BEAM may have this application, and is no C node.
older(Node) ->
    try {kv_native:kind(Node), erpc:call(Node, application, get_key, [kv, vsn], ?FACTS_TIMEOUT)} of
        {native, {ok, Version}} -> {version_mismatch, unicode:characters_to_binary(Version), own_version()};
        _ -> not_a_node(Node)
    catch
        _:_ -> no_answer(Node)
    end.

not_a_node(Node) ->
    {not_connected, Node, text("~ts is no node of kv: attach takes the name of a program kv_node", [Node])}.

refusal(#{protocol := Protocol, version := Version}, _Node) when Protocol =/= ?PROTOCOL ->
    {version_mismatch, Version, own_version()};
refusal(#{zeros := Zeros}, Node) ->
    case kv_release:zeros() of
        Zeros -> none;
        Own -> {zeros_mismatch, zeros(Node, Zeros, Own)}
    end.

zeros(Node, Zeros, Own) ->
    text(
        "0.0 and -0.0 are ~ts for ~ts, and ~ts for this VM (OTP ~ts): start the node with --zeros ~ts. VMs of both kinds cannot "
        "share a node",
        [keys(Zeros), Node, keys(Own), erlang:system_info(otp_release), Own]
    ).

keys(same) -> "one key";
keys(differ) -> "two keys".

own_version() ->
    case kv_node_start:version() of
        undefined -> <<"unknown">>;
        Version -> Version
    end.

text(Format, Arguments) ->
    unicode:characters_to_binary(io_lib:format(Format, Arguments)).
