%% @doc Calls of native processes, with one frame each way.
%%
%% A call of a remote native process is `{'$kv_call', Alias, Request}'. The answer is `{Alias, Reply}', or
%% `{Alias, down, Reason}' when the process is dead, or ends before it has answered. That the connection is lost is told
%% by a local process, see {@link kv_watch}. Whatever else is called, a proxy say, or a name, is called by way of
%% `gen_server', and so is a node of which it is not known yet what it is: both ways keep the order of messages, and a
%% call exits alike on both.
%% @private
-module(kv_call).

-export([call/3, send/2, await/2, abandon/1]).

-export_type([id/0]).

%% A call that was sent and is not answered yet.
-opaque id() :: {native, reference(), node()} | {server, gen_server:request_id(), term()}.

-define(IS_TIMEOUT(T), (T =:= infinity orelse (is_integer(T) andalso T >= 0))).

%% @doc As gen_server:call/3, whose exits it has.
-spec call(gen_server:server_ref(), term(), timeout()) -> term().
call(Server, Request, Timeout) when is_pid(Server), node(Server) =/= node(), ?IS_TIMEOUT(Timeout) ->
    case kv_watch:watcher(node(Server)) of
        Watcher when is_pid(Watcher) ->
            call(Server, Watcher, Request, Timeout);
        plain ->
            gen_server:call(Server, Request, Timeout);
        unknown ->
            Reply = gen_server:call(Server, Request, Timeout),
            ok = kv_watch:start(node(Server)),
            Reply
    end;
call(Server, Request, Timeout) ->
    gen_server:call(Server, Request, Timeout).

%% The alias ends with the first answer, and the monitor with it: neither can leave anything in the mailbox.
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
            failed(timeout, Server, Request, Timeout)
        end
    end.

-spec failed(term(), pid(), term(), timeout()) -> no_return().
failed(Reason, Server, Request, Timeout) ->
    exit({reason(Reason, node(Server)), {gen_server, call, [Server, Request, Timeout]}}).

%% gen.erl, do_call/4.
reason(noconnection, Node) -> {nodedown, Node};
reason(Reason, _Node) -> Reason.

%% @doc Sends a call and does not wait for its answer.
-spec send(gen_server:server_ref(), term()) -> id().
send(Server, Request) when is_pid(Server), node(Server) =/= node() ->
    case kv_watch:watcher(node(Server)) of
        Watcher when is_pid(Watcher) ->
            Alias = erlang:monitor(process, Watcher, [{alias, reply_demonitor}]),
            _ = erlang:send(Server, {'$kv_call', Alias, Request}, [noconnect]),
            {native, Alias, node(Server)};
        _ ->
            {server, gen_server:send_request(Server, Request), Server}
    end;
send(Server, Request) ->
    {server, gen_server:send_request(Server, Request), Server}.

%% @doc The answer to a call that this process sent. After a timeout the call is abandoned.
-spec await(id(), timeout()) -> {reply, term()} | {error, term()}.
await({native, Alias, Node}, Timeout) ->
    receive
        {Alias, Reply} -> {reply, Reply};
        {Alias, down, Reason} -> {error, reason(Reason, Node)};
        {'DOWN', Alias, process, _, _} -> {error, {nodedown, Node}}
    after Timeout ->
        true = erlang:demonitor(Alias, [flush]),
        receive
            {Alias, Reply} -> {reply, Reply};
            {Alias, down, Reason} -> {error, reason(Reason, Node)}
        after 0 -> {error, timeout}
        end
    end;
await({server, Id, Server}, Timeout) ->
    case gen_server:receive_response(Id, Timeout) of
        {reply, Reply} -> ok = get_to_know(Server), {reply, Reply};
        {error, {Reason, _}} -> {error, reason(Reason, node_of(Server))};
        timeout -> {error, timeout}
    end.

get_to_know(Server) when is_pid(Server), node(Server) =/= node() ->
    case kv_watch:watcher(node(Server)) of
        unknown -> kv_watch:start(node(Server));
        _ -> ok
    end;
get_to_know(_Server) ->
    ok.

node_of(Server) when is_pid(Server) -> node(Server);
node_of({_Name, Node}) when is_atom(Node) -> Node;
node_of(_Server) -> node().

%% @doc Gives up a call: no answer to it comes any more.
-spec abandon(id()) -> ok.
abandon(Id) ->
    _ = await(Id, 0),
    ok.
