%% @doc A relay between a VM and a node that cuts the stream into segments of a few bytes.
%%
%% A VM that is started with `-epmd_module kv_relay' connects to a node by way of a relay once divert/2 has been
%% called. The node keeps its name. The real EPMD answers all other questions.
-module(kv_relay).

-export([start/1, stop/1, segments/1, divert/2]).

-export_type([relay/0]).
-export([start_link/0, register_node/2, register_node/3, names/1, port_please/2, port_please/3, listen_port_please/2]).

-define(LARGEST_SEGMENT, 16).

-type relay() :: {pid(), inet:port_number(), counters:counters_ref()}.

%%% The relay

%% Listens for connections, and passes them on to Port of this machine. Returns the port to connect to.
-spec start(inet:port_number()) -> relay().
start(Port) ->
    Self = self(),
    Segments = counters:new(1, []),
    Relay = spawn(fun() ->
        {ok, Listener} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | options()]),
        {ok, Own} = inet:port(Listener),
        Self ! {self(), Own},
        accept(Listener, Port, Segments)
    end),
    receive
        {Relay, Own} -> {Relay, Own, Segments}
    after 5000 -> error(no_relay)
    end.

options() ->
    [binary, {active, false}, {nodelay, true}, {reuseaddr, true}].

-spec stop(relay()) -> true.
stop({Relay, _, _}) ->
    exit(Relay, kill).

%% Returns how many segments the relay has passed on.
-spec segments(relay()) -> non_neg_integer().
segments({_, _, Segments}) ->
    counters:get(Segments, 1).

%% The processes that pass a connection on end with the relay.
accept(Listener, Port, Segments) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    {ok, Onward} = gen_tcp:connect({127, 0, 0, 1}, Port, options()),
    [pass(From, To, Segments) || {From, To} <- [{Socket, Onward}, {Onward, Socket}]],
    accept(Listener, Port, Segments).

pass(From, To, Segments) ->
    Pid = spawn_link(fun() ->
        receive
            go -> passing(From, To, Segments)
        end
    end),
    ok = gen_tcp:controlling_process(From, Pid),
    Pid ! go.

passing(From, To, Segments) ->
    case gen_tcp:recv(From, 0) of
        {ok, Bytes} ->
            _ = cut(To, Bytes, Segments),
            passing(From, To, Segments);
        {error, _} ->
            _ = gen_tcp:shutdown(To, write)
    end.

cut(_To, <<>>, _Segments) ->
    ok;
cut(To, Bytes, Segments) ->
    Length = min(byte_size(Bytes), rand:uniform(?LARGEST_SEGMENT)),
    <<Segment:Length/binary, Rest/binary>> = Bytes,
    case gen_tcp:send(To, Segment) of
        ok ->
            ok = counters:add(Segments, 1, 1),
            cut(To, Rest, Segments);
        {error, Reason} ->
            {error, Reason}
    end.

%%% In place of erl_epmd

%% From now on this VM finds that node at Port.
-spec divert(node(), inet:port_number()) -> ok.
divert(Node, Port) ->
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    persistent_term:put({?MODULE, Alive}, Port).

port_please(Name, Host) ->
    port_please(Name, Host, infinity).

port_please(Name, Host, Timeout) ->
    case persistent_term:get({?MODULE, text(Name)}, none) of
        none -> erl_epmd:port_please(Name, Host, Timeout);
        Port -> {port, Port, 6}
    end.

text(Name) when is_atom(Name) -> atom_to_list(Name);
text(Name) -> Name.

start_link() -> erl_epmd:start_link().
register_node(Name, Port) -> erl_epmd:register_node(Name, Port).
register_node(Name, Port, Family) -> erl_epmd:register_node(Name, Port, Family).
names(Host) -> erl_epmd:names(Host).
listen_port_please(Name, Host) -> erl_epmd:listen_port_please(Name, Host).
