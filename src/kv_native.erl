%% @doc Starts and ends one native process, from the process that owns it.
%%
%% A start is a request and up to three messages: the reply to the spawn request, the acknowledgement of the new
%% process, or its end. {@link request/3} sends the request, and {@link made/2} reads the messages, so that the caller
%% can do other things meanwhile.
%% @private
-module(kv_native).

-export([kind/1, request/3, made/2, abandon/1, leave/1, stop/4]).

-export_type([monitor/0, making/0]).

-type monitor() :: reference().
%% A start under way. The pid is known once the request has been answered.
-opaque making() :: {node(), reference(), pid() | undefined}.

%% Nobody is registered under this name on any node.
-define(NOBODY, '$kv_call').
%% How long a native process may take to end when asked, and again when killed.
-define(STOP_TIMEOUT, 2000).

%% @doc Returns `native' if a node is a C node that takes `$kv_call', and `plain' if it is any other node. Exits with
%% `noconnection' if the node is not connected, or is lost meanwhile.
%%
%% A C node answers a `$kv_call' to a name that nobody has; any other node ignores it. The net_kernel of either answers after
%% that, because a node handles what comes from one connection in order.
-spec kind(node()) -> native | plain.
kind(Node) ->
    Alias = erlang:alias([reply]),
    _ = erlang:send({?NOBODY, Node}, {'$kv_call', Alias, hello}, [noconnect]),
    Answer = gen_server:receive_response(gen_server:send_request({net_kernel, Node}, {is_auth, node()}), infinity),
    _ = erlang:unalias(Alias),
    receive
        {Alias, down, noproc} -> native
    after 0 -> plain_or_lost(Answer)
    end.

plain_or_lost({reply, _}) -> plain;
plain_or_lost({error, _}) -> exit(noconnection).

%% @doc Requests a process. {@link made/2} reads the outcome.
-spec request(node(), kv_bucket | kv_registry, [tuple()]) -> making().
request(Node, Module, Options) ->
    {Node, erlang:spawn_request(Node, Module, init, [Options], [monitor]), undefined}.

%% @doc Reads a message. Returns the process if it serves now, or an error if there will be none, or `making' if more
%% messages must come, or `other' if the message is not about this start. `attached': the process has the entries and the
%% generation of a durable bucket that was there. `adopted': the process was there, and belongs to the node.
-spec made(term(), making()) -> Made when
    Made ::
        {ok, pid(), monitor()}
        | {attached, pid(), monitor(), pos_integer()}
        | {adopted, pid(), monitor(), pos_integer()}
        | {error, term()}
        | {making, making()}
        | other.
made({spawn_reply, Request, ok, Pid}, {Node, Request, undefined}) -> {making, {Node, Request, Pid}};
made({spawn_reply, Request, error, noconnection}, {Node, Request, _}) -> {error, {nodedown, Node}};
made({spawn_reply, Request, error, Reason}, {_, Request, _}) -> {error, {spawn_failed, Reason}};
made({ack, Pid, {ok, Pid}}, {_, Request, Pid}) when is_pid(Pid) -> {ok, Pid, Request};
made({ack, Pid, {ok, Pid, Generation}}, {_, Request, Pid}) when is_pid(Pid) -> {attached, Pid, Request, Generation};
made({ack, Pid, {error, {adopted, Native, Generation}}}, {_, Request, Pid}) when is_pid(Pid) ->
    true = erlang:demonitor(Request, [flush]),
    {adopted, Native, erlang:monitor(process, Native), Generation};
made({ack, Pid, {error, Reason}}, {_, Request, Pid}) when is_pid(Pid) ->
    true = erlang:demonitor(Request, [flush]),
    {error, Reason};
made({'DOWN', Request, process, _, noconnection}, {Node, Request, _}) -> {error, {nodedown, Node}};
made({'DOWN', Request, process, _, Reason}, {_, Request, _}) -> {error, Reason};
made(_Message, _Making) -> other.

%% @doc Abandons a start. If the process was created nevertheless, it ends at once, or when its owner does.
-spec abandon(making()) -> ok.
abandon({_, Request, Pid}) when is_pid(Pid) ->
    true = erlang:demonitor(Request, [flush]),
    true = exit(Pid, kill),
    ok;
abandon({_, Request, undefined}) ->
    case erlang:spawn_request_abandon(Request) of
        true ->
            ok;
        false ->
            receive
                {spawn_reply, Request, ok, Pid} ->
                    true = erlang:demonitor(Request, [flush]),
                    true = exit(Pid, kill),
                    ok;
                {spawn_reply, Request, error, _} ->
                    ok
            after 0 -> ok
            end
    end.

%% @doc Gives up waiting for a start of a process that belongs to the node. The process may come to be, and stays.
-spec leave(making()) -> ok.
leave({_, Request, Pid}) when is_pid(Pid) ->
    true = erlang:demonitor(Request, [flush]),
    ok;
leave({_, Request, undefined}) ->
    _ = erlang:spawn_request_abandon(Request),
    ok.

%% @doc Ends a native process with Reason. When this returns `ended', the process is gone, and nobody can reach it.
%% `lost' means that its node is lost, and the process ends with it or later. If Answers() returns false, the node
%% does not answer, and this function does not wait.
-spec stop(pid(), monitor(), term(), fun(() -> boolean())) -> ended | lost.
stop(Native, Monitor, Reason, Answers) ->
    ok = ask_to_end(Native, Reason),
    case await_end(Monitor, Answers) of
        timeout ->
            true = exit(Native, kill),
            known(await_end(Monitor, Answers));
        End ->
            End
    end.

known(timeout) -> lost;
known(End) -> End.

await_end(Monitor, Answers) ->
    Timeout = case Answers() of
        true -> ?STOP_TIMEOUT;
        false -> 0
    end,
    receive
        {'DOWN', Monitor, process, _, noconnection} -> lost;
        {'DOWN', Monitor, process, _, _} -> ended
    after Timeout -> timeout
    end.

%% A process ignores an exit signal with reason normal, and kill would become killed. Both are sent as the system
%% message of sys:terminate/2 instead.
ask_to_end(Native, Reason) when Reason =:= normal; Reason =:= kill ->
    _ = erlang:send(Native, {system, {self(), make_ref()}, {terminate, Reason}}, [noconnect]),
    ok;
ask_to_end(Native, Reason) ->
    true = exit(Native, Reason),
    ok.
