%% @doc Calls to native processes, with one frame each way.
%%
%% A call to a remote native process is `{'$kv_call', Alias, Request}'. The answer is `{Alias, Reply}', or `{Alias,
%% down, Reason}' if the process is dead or ends before it has answered. A local process, the watcher of the node,
%% tells the caller when the connection is lost: see {@link kv_watcher}.
%%
%% A call to a local proxy is `{'$kv_call', {Pid, Alias}, Request}'. The proxy passes it on as above. The caller
%% monitors the proxy and the watcher of the node. So a call that is under way exits with `{nodedown, Node}' as soon
%% as the node is lost, and a call that begins while the node is away waits in the proxy, within its timeout. If the
%% node has no watcher, the message is `{'$kv_relay', {Pid, Alias}, Request}', and the answer, or the news of the
%% loss, comes by way of the proxy.
%%
%% All other processes are called through `gen_server', and so are processes of a node whose kind is not known yet.
%% Both ways keep the order of messages, and exit with the same reasons.
%% @private
-module(kv_call).

-export([call/3, send/2, await/2, abandon/1]).

-export_type([id/0]).

%% A call that has been sent and not yet been answered.
-opaque id() ::
    {native, reference(), node()}
    | {proxy, pid(), reference(), reference() | none, node()}
    | {server, gen_server:request_id(), term()}.

-include("kv_timeout.hrl").

%% @doc Calls a server. Exits with the reasons of gen_server:call/3.
-spec call(gen_server:server_ref(), term(), timeout()) -> term().
call(Server, Request, Timeout) when is_pid(Server), node(Server) =/= node(), ?IS_TIMEOUT(Timeout) ->
    case kv_watcher:watcher(node(Server)) of
        Watcher when is_pid(Watcher) ->
            call(Server, Watcher, Request, Timeout);
        plain ->
            gen_server:call(Server, Request, Timeout);
        unknown ->
            Reply = by_server(Server, Request, Timeout),
            ok = kv_watcher:start(node(Server)),
            Reply
    end;
call(Server, Request, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case native_proxy(Server) of
        {Proxy, Node} ->
            case await(send_to_proxy(Proxy, Node, Request), Timeout) of
                {reply, Reply} ->
                    Reply;
                {error, Reason} ->
                    _ = Reason =:= timeout andalso kv_local:sent(Server),
                    exit({Reason, {gen_server, call, [Server, Request, Timeout]}})
            end;
        none ->
            by_server(Server, Request, Timeout)
    end;
call(Server, Request, Timeout) ->
    gen_server:call(Server, Request, Timeout).

by_server(Server, Request, Timeout) ->
    try
        gen_server:call(Server, Request, Timeout)
    catch
        exit:{timeout, _} = Reason:Stack ->
            ok = kv_local:sent(Server),
            erlang:raise(exit, Reason, Stack)
    end.

%% A proxy may also stand for a process of a node that is no C node.
native_proxy(Server) ->
    case proxy(Server) of
        {Proxy, Node} ->
            case kv_watcher:watcher(Node) of
                plain -> none;
                _ -> {Proxy, Node}
            end;
        none ->
            none
    end.

%% Returns a proxy of this VM, given by pid or name, and the node of its native process.
proxy(Pid) when is_pid(Pid), node(Pid) =:= node() ->
    case kv_proxies:node_of(Pid) of
        none -> none;
        Node -> {Pid, Node}
    end;
proxy(Pid) when is_pid(Pid) -> none;
proxy(undefined) -> none;
proxy(Name) when is_atom(Name) -> proxy(whereis(Name));
proxy({global, Name}) -> proxy(global:whereis_name(Name));
proxy({via, Module, Name}) -> proxy(Module:whereis_name(Name));
proxy({Name, Node}) when is_atom(Name), Node =:= node() -> proxy(Name);
proxy(_Server) -> none.

send_to_proxy(Proxy, Node, Request) ->
    Lost = case kv_watcher:watcher(Node) of
        Watcher when is_pid(Watcher) -> erlang:monitor(process, Watcher);
        _ -> none
    end,
    Alias = erlang:monitor(process, Proxy, [{alias, reply_demonitor}]),
    Proxy ! {call_of(Lost), {self(), Alias}, Request},
    {proxy, Proxy, Alias, Lost, Node}.

%% If no watcher can tell that the node is lost, the proxy does: it relays the answer.
call_of(none) -> '$kv_relay';
call_of(_Lost) -> '$kv_call'.

%% The alias and the monitor end with the first answer, so neither can leave anything in the mailbox.
call(Server, Watcher, Request, Timeout) ->
    Alias = erlang:monitor(process, Watcher, [{alias, reply_demonitor}]),
    _ = erlang:send(Server, {'$kv_call', Alias, Request}, [noconnect]),
    receive
        {Alias, Reply} -> Reply;
        {Alias, down, Reason} -> failed(Reason, Server, Request, Timeout);
        {'DOWN', Alias, process, _, _} -> failed(noconnection, Server, Request, Timeout)
    after Timeout ->
        true = erlang:demonitor(Alias, [flush]),
        receive
            {Alias, Reply} -> Reply;
            {Alias, down, Reason} -> failed(Reason, Server, Request, Timeout)
        after 0 ->
            %% The request may be handled later, and what this process asks next must not overtake it.
            ok = kv_local:sent(Server),
            failed(timeout, Server, Request, Timeout)
        end
    end.

-spec failed(term(), pid(), term(), timeout()) -> no_return().
failed(Reason, Server, Request, Timeout) ->
    exit({reason(Reason, node(Server)), {gen_server, call, [Server, Request, Timeout]}}).

%% As gen.erl, do_call/4, does.
reason(noconnection, Node) -> {nodedown, Node};
reason(Reason, _Node) -> Reason.

%% @doc Sends a call and does not wait for the answer.
-spec send(gen_server:server_ref(), term()) -> id().
send(Server, Request) when is_pid(Server), node(Server) =/= node() ->
    case kv_watcher:watcher(node(Server)) of
        Watcher when is_pid(Watcher) ->
            Alias = erlang:monitor(process, Watcher, [{alias, reply_demonitor}]),
            _ = erlang:send(Server, {'$kv_call', Alias, Request}, [noconnect]),
            {native, Alias, node(Server)};
        _ ->
            {server, gen_server:send_request(Server, Request), Server}
    end;
send(Server, Request) ->
    case native_proxy(Server) of
        {Proxy, Node} -> send_to_proxy(Proxy, Node, Request);
        none -> {server, gen_server:send_request(Server, Request), Server}
    end.

%% @doc Waits for the answer to a call that this process has sent. A call that times out is abandoned. `{error, answered}':
%% the answer was taken before, or the call was abandoned; this is not known before the time is over.
-spec await(id(), timeout()) -> {reply, term()} | {error, term()}.
await({native, Alias, Node}, Timeout) ->
    receive
        {Alias, Reply} -> {reply, Reply};
        {Alias, down, Reason} -> {error, reason(Reason, Node)};
        {'DOWN', Alias, process, _, _} -> {error, {nodedown, Node}}
    after Timeout ->
        give_up(Alias, timeout, Node)
    end;
await({proxy, _, _, _, _} = Id, Timeout) ->
    await_proxy(Id, kv_deadline:in(Timeout));
await({server, Id, Server}, Timeout) ->
    case gen_server:receive_response(Id, Timeout) of
        {reply, Reply} -> ok = get_to_know(Server), {reply, Reply};
        {error, {Reason, _}} -> {error, reason(Reason, node_of(Server))};
        timeout -> {error, timeout}
    end.

await_proxy({proxy, Proxy, Alias, Lost, Node} = Id, Deadline) ->
    receive
        {Alias, Reply} -> ok = forget(Lost), {reply, Reply};
        {Alias, down, Reason} -> ok = forget(Lost), {error, reason(Reason, Node)};
        {'DOWN', Alias, process, _, Reason} -> ok = forget(Lost), {error, proxy_ended(Reason, Node)};
        {'DOWN', Lost, process, _, _} -> node_lost(Id, Deadline)
    after kv_deadline:remaining(Deadline) ->
        ok = forget(Lost),
        %% A call that still waits in the proxy must not be handled any more.
        Proxy ! {'$kv_cancel', Alias},
        give_up(Alias, timeout, Node)
    end.

%% A call that reached the proxy after the loss waits there.
node_lost({proxy, Proxy, Alias, _Lost, Node}, Deadline) ->
    try gen_server:call(Proxy, {'$kv_waits', Alias}, kv_deadline:remaining(Deadline)) of
        true -> await_proxy({proxy, Proxy, Alias, none, Node}, Deadline);
        false -> give_up(Alias, {nodedown, Node}, Node)
    catch
        exit:_ -> give_up(Alias, {nodedown, Node}, Node)
    end.

%% An answer that has just arrived counts. Without an answer and without a monitor the answer was taken before.
give_up(Alias, Reason, Node) ->
    Monitored = erlang:demonitor(Alias, [info]),
    receive
        {Alias, Reply} -> {reply, Reply};
        {Alias, down, Other} -> {error, reason(Other, Node)};
        {'DOWN', Alias, process, _, _} -> {error, Reason}
    after 0 ->
        case Monitored of
            true -> {error, Reason};
            false -> {error, answered}
        end
    end.

forget(none) -> ok;
forget(Lost) -> true = erlang:demonitor(Lost, [flush]), ok.

%% A supervisor ends the proxies of a lost node with reason shutdown. To a caller, the node is lost.
proxy_ended(noconnection, Node) ->
    {nodedown, Node};
proxy_ended(Reason, Node) when Reason =:= shutdown; element(1, Reason) =:= shutdown ->
    case kv_watcher:watcher(Node) of
        Watcher when is_pid(Watcher) -> Reason;
        _ -> {nodedown, Node}
    end;
proxy_ended(Reason, _Node) ->
    Reason.

get_to_know(Server) when is_pid(Server), node(Server) =/= node() ->
    case kv_watcher:watcher(node(Server)) of
        unknown -> kv_watcher:start(node(Server));
        _ -> ok
    end;
get_to_know(_Server) ->
    ok.

node_of(Server) when is_pid(Server) -> node(Server);
node_of({_Name, Node}) when is_atom(Node) -> Node;
node_of(_Server) -> node().

%% @doc Abandons a call: its answer never arrives.
-spec abandon(id()) -> ok.
abandon(Id) ->
    _ = await(Id, 0),
    ok.
