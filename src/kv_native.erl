%% @doc Starting and ending one native process, from the process that owns it.
%% @private
-module(kv_native).

-export([start/3, stop/3]).

-export_type([monitor/0]).

-type monitor() :: reference().

%% The node answers a spawn request at once: one that is silent for so long hangs.
-define(START_TIMEOUT, 5000).
%% A name is free again as soon as its owner has ended, and that owner may be ending just now.
-define(NAME_TIMEOUT, 1000).
-define(NAME_POLL, 10).
%% How long a native process may take to end when asked, and again when killed.
-define(STOP_TIMEOUT, 2000).

%% @doc Starts Module:init(Options) on Node and returns when it serves. The caller gets
%% `{'DOWN', Monitor, process, Pid, Reason}' when it ends.
-spec start(node(), kv_bucket | kv_registry, [tuple()]) -> {ok, pid(), monitor()} | {error, term()}.
start(Node, Module, Options) ->
    start(Node, Module, Options, erlang:monotonic_time(millisecond) + ?NAME_TIMEOUT).

start(Node, Module, Options, NameDeadline) ->
    case spawn_and_wait(Node, Module, Options) of
        {error, {already_registered, Predecessor}} = Error ->
            case await_end(Predecessor, NameDeadline) of
                true -> start(Node, Module, Options, NameDeadline);
                false -> Error
            end;
        Result ->
            Result
    end.

await_end(Predecessor, Deadline) ->
    Monitor = erlang:monitor(process, Predecessor),
    receive
        {'DOWN', Monitor, process, _, _} ->
            timer:sleep(?NAME_POLL),
            remaining(Deadline) > 0
    after remaining(Deadline) ->
        true = erlang:demonitor(Monitor, [flush]),
        false
    end.

spawn_and_wait(Node, Module, Options) ->
    Deadline = erlang:monotonic_time(millisecond) + ?START_TIMEOUT,
    Request = erlang:spawn_request(Node, Module, init, [Options], [monitor]),
    receive
        {spawn_reply, Request, ok, Pid} -> await_ack(Pid, Request, Deadline);
        {spawn_reply, Request, error, noconnection} -> {error, {nodedown, Node}};
        {spawn_reply, Request, error, Reason} -> {error, {spawn_failed, Reason}}
    after remaining(Deadline) ->
        ok = abandon(Request),
        {error, {start_timeout, ?START_TIMEOUT}}
    end.

await_ack(Pid, Monitor, Deadline) ->
    receive
        {ack, Pid, {ok, Pid}} ->
            {ok, Pid, Monitor};
        {ack, Pid, {error, Reason}} ->
            true = erlang:demonitor(Monitor, [flush]),
            {error, Reason};
        {'DOWN', Monitor, process, _, noconnection} ->
            {error, {nodedown, node(Pid)}};
        {'DOWN', Monitor, process, _, Reason} ->
            {error, Reason}
    after remaining(Deadline) ->
        true = erlang:demonitor(Monitor, [flush]),
        true = exit(Pid, kill),
        {error, {start_timeout, ?START_TIMEOUT}}
    end.

abandon(Request) ->
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

remaining(Deadline) ->
    max(0, Deadline - erlang:monotonic_time(millisecond)).

%% @doc Ends a native process with Reason. When this returns it is gone, and nobody can reach it, unless the
%% whole node hangs.
-spec stop(pid(), monitor(), term()) -> ok.
stop(Native, Monitor, Reason) ->
    ok = ask_to_end(Native, Reason),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    after ?STOP_TIMEOUT ->
        true = exit(Native, kill),
        receive
            {'DOWN', Monitor, process, _, _} -> ok
        after ?STOP_TIMEOUT -> ok
        end
    end.

%% An exit signal with reason normal is ignored, and kill would come out as killed: both go as the system
%% message that sys:terminate/2 sends.
ask_to_end(Native, Reason) when Reason =:= normal; Reason =:= kill ->
    _ = erlang:send(Native, {system, {self(), make_ref()}, {terminate, Reason}}, [noconnect]),
    ok;
ask_to_end(Native, Reason) ->
    true = exit(Native, Reason),
    ok.
