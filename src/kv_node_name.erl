%% @doc The names that kv chooses: of the VM, if kv starts distribution, and of the C node.
%%
%% Containers may share a network, and with it an EPMD, while each VM has the operating system pid 1. So a name that kv
%% makes up has a random part. The part stays the same for the life of the VM: a node that is started again has its old
%% name.
%% @private
-module(kv_node_name).

-export([of_vm/1, of_node/1, dialled/2, is_made_up/1, renew/0, is_valid/1, alive/1]).

-define(PART, {?MODULE, part}).
-define(PART_LENGTH, 8).
-define(BASE, 36).
%% The longest name (c_src/wire/handshake.h, KV_NODE_NAME_MAX), which is also the longest atom.
-define(LONGEST, 255).
%% Room for the @ and a number behind the name.
-define(SUFFIX, 8).

%% @doc Returns the name for a VM that is not distributed.
-spec of_vm(Host :: string()) -> node().
of_vm(Host) ->
    list_to_atom("kv_vm_" ++ part() ++ "@" ++ Host).

%% @doc Returns the name for the C node. By default it has the host part of the VM's name, because this VM must be able to
%% reach the node there.
-spec of_node(kv_node_options:t()) -> {ok, node()} | {error, {bad_node_name, binary()}}.
of_node(#{node_name := Name} = Options) ->
    case is_valid(node()) of
        true when Name =/= undefined -> reachable(node_name, Name, net_kernel:get_state());
        true -> derived(is_made_up(Options), string:split(atom_to_list(node()), "@"));
        false -> bad("the name of this VM, ~ts, has characters that are not ASCII: start the VM under another name", [node()])
    end.

%% @doc Returns `ok' if this VM dials a node of that name, which is the value of the option Key.
-spec dialled(atom(), node()) -> ok | {error, {bad_node_name, binary()}}.
dialled(Key, Name) ->
    case reachable(Key, Name, net_kernel:get_state()) of
        {ok, Name} -> ok;
        {error, Reason} -> {error, Reason}
    end.

%% A VM with a short name dials no host with a dot, and one with a long name no other: inet_tcp_dist.erl, splitnode/3.
reachable(Key, Name, #{name_domain := Domain}) ->
    [_Alive, Host] = string:split(atom_to_list(Name), "@"),
    case {Domain, lists:member($., Host), inet:parse_strict_address(Host)} of
        {shortnames, true, _} -> bad("this VM has a short name, and does not dial ~ts: give ~ts a host without a dot", [Name, Key]);
        {longnames, false, {error, _}} -> bad("this VM has a long name, and does not dial ~ts: give ~ts a host with a dot", [Name, Key]);
        _ -> {ok, Name}
    end;
reachable(_Key, Name, _Stopped) ->
    {ok, Name}.

derived(true, [_Alive, Host]) ->
    {ok, unused("kv_" ++ part(), "", "@" ++ Host, 2)};
derived(false, [Alive, Host]) ->
    case shortened("kv_" ++ Alive, ?LONGEST - length("@" ++ Host)) of
        "" -> bad("no name of at most ~b characters ends with @~ts: set the option node_name", [?LONGEST, Host]);
        Name when length(Name) + length(Host) + ?SUFFIX =< ?LONGEST -> {ok, unused(Name, "", "@" ++ Host, 2)};
        Name -> {ok, list_to_atom(Name ++ "@" ++ Host)}
    end.

bad(Format, Arguments) ->
    {error, {bad_node_name, unicode:characters_to_binary(io_lib:format(Format, Arguments))}}.

%% Long names that begin alike get different random parts.
shortened(Name, Room) when length(Name) =< Room -> Name;
shortened(Name, Room) when Room > ?PART_LENGTH + 1 -> lists:sublist(Name, Room - ?PART_LENGTH - 1) ++ "_" ++ part();
shortened(_Name, _Room) -> "".

%% Several nodes may run in this VM.
unused(Name, Number, Host, Next) ->
    Node = list_to_atom(Name ++ Number ++ Host),
    case kv_node_directory:owner(Node) of
        undefined -> Node;
        _ -> unused(Name, "_" ++ integer_to_list(Next), Host, Next + 1)
    end.

%% @doc Returns `true' if the name of the C node is neither the user's choice nor made of the VM's name.
-spec is_made_up(kv_node_options:t()) -> boolean().
is_made_up(#{node_name := Name}) ->
    Name =:= undefined andalso kv_distribution:is_ours().

%% @doc Chooses another random part, because a name with the old one is taken.
-spec renew() -> ok.
renew() ->
    persistent_term:put(?PART, random()).

part() ->
    case persistent_term:get(?PART, undefined) of
        undefined ->
            ok = renew(),
            persistent_term:get(?PART);
        Part ->
            Part
    end.

random() ->
    <<Number:64>> = random_bytes(8),
    Digits = string:lowercase(integer_to_list(Number, ?BASE)),
    lists:nthtail(max(0, length(Digits) - ?PART_LENGTH), Digits).

%% Not from `crypto', which kv needs for nothing else, and not from `rand', which is seeded with the time.
random_bytes(Count) ->
    case file:open("/dev/urandom", [read, raw, binary]) of
        {ok, File} ->
            {ok, Bytes} = file:read(File, Count),
            ok = file:close(File),
            Bytes;
        {error, _} ->
            Seed = {os:getpid(), os:system_time(), erlang:monotonic_time(), erlang:unique_integer(), inet:gethostname()},
            binary:part(erlang:md5(term_to_binary(Seed)), 0, Count)
    end.

%% @doc Returns `true' for a node name that the C program takes: two parts of visible ASCII characters.
-spec is_valid(node()) -> boolean().
is_valid(Name) ->
    Text = atom_to_list(Name),
    IsVisible = lists:all(fun(Char) -> Char > $\s andalso Char =< $~ end, Text),
    case string:split(Text, "@", all) of
        [[_ | _], [_ | _]] -> IsVisible;
        _ -> false
    end.

%% @doc Returns the part of a node name that EPMD knows.
-spec alive(node()) -> string().
alive(Node) ->
    hd(string:split(atom_to_list(Node), "@")).
