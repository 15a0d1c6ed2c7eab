%% @doc Calls to buckets of this host without a message: docs/local.md.
%%
%% A call first tries the lane of its node, memory that this VM shares with the node: see {@link kv_nif:ask/3}. If that is not
%% possible at this moment, nothing has been done, and {@link kv_call} sends the message. The watcher of a node (see {@link
%% kv_watcher}) opens the lane, and closes it before it ends.
%%
%% A lane call must not overtake what this process has sent to the bucket before. So all requests of {@link kv_request} go
%% through {@link call/3}, which sends a message as long as {@link kv_local:is_settled/1} is false.
%% @private
-module(kv_lane).

-export([call/3, by_message/3]).
-export([open/2, close/1, publish/2, withdraw/1, reset/0, refusal/0]).

%% The lane of each node that has one.
-type published() :: #{node() => kv_nif:lane()}.

-define(PUBLISHED, ?MODULE).
-define(PLACE_TIMEOUT, 5000).
%% A VM or a node on one processor can only wait for each other.
-define(LEAST_PROCESSORS, 2).

%% @doc Calls a server. Exits with the reasons of gen_server:call/3.
-spec call(gen_server:server_ref(), term(), timeout()) -> term().
call(Server, Request, Timeout) ->
    case kv_local:settle(Server) of
        settled -> by_lane(persistent_term:get(?PUBLISHED, #{}), Server, Server, Request, Timeout);
        unsettled -> by_message(Server, Request, Timeout)
    end.

%% @doc Makes a call of a process that is not settled: {@link kv_local:settle/1}.
-spec by_message(gen_server:server_ref(), term(), timeout()) -> term().
by_message(Server, Request, Timeout) ->
    Reply = kv_call:call(Server, Request, Timeout),
    ok = kv_local:answered(Server),
    Reply.

by_lane(Published, Native, Server, Request, Timeout) when is_pid(Native), is_map_key(node(Native), Published) ->
    case kv_nif:ask(map_get(node(Native), Published), Native, Request) of
        {reply, Reply} -> Reply;
        {taken, Held} -> poll(Held, kv_deadline:in(Timeout), Native, {gen_server, call, [Server, Request, Timeout]});
        lost -> lost(Native, {gen_server, call, [Server, Request, Timeout]});
        call -> kv_call:call(Server, Request, Timeout)
    end;
by_lane(Published, Server, Server, Request, Timeout) when map_size(Published) > 0 ->
    case kv_proxies:readable(Server) of
        {_Proxy, Native} when is_map_key(node(Native), Published) -> by_lane(Published, Native, Server, Request, Timeout);
        _ -> kv_call:call(Server, Request, Timeout)
    end;
by_lane(_Published, _Native, Server, Request, Timeout) ->
    kv_call:call(Server, Request, Timeout).

%% The node has taken the request, and was stopped by the system before it answered. So another process runs meanwhile.
poll(Held, Deadline, Native, Call) ->
    case kv_nif:look(Held) of
        {reply, Reply} ->
            Reply;
        wait ->
            case kv_deadline:remaining(Deadline) of
                0 -> timed_out(Call);
                _ -> true = erlang:yield(), poll(Held, Deadline, Native, Call)
            end;
        lost ->
            lost(Native, Call);
        call ->
            {gen_server, call, [Server, Request, _]} = Call,
            kv_call:call(Server, Request, kv_deadline:remaining(Deadline))
    end.

-spec timed_out({gen_server, call, [term()]}) -> no_return().
timed_out({gen_server, call, [Server | _]} = Call) ->
    ok = kv_local:sent(Server),
    exit({timeout, Call}).

-spec lost(pid(), {gen_server, call, [term()]}) -> no_return().
lost(Native, Call) ->
    exit({{nodedown, node(Native)}, Call}).

%%% Opening and closing: called by kv_watcher only

%% @doc Opens the lane to a node whose memory this VM reads.
-spec open(node(), kv_nif:arena()) -> {ok, kv_nif:lane()} | {error, term()}.
open(Node, Arena) ->
    case refusal() of
        none -> open_at(Node, Arena);
        Reason -> {error, Reason}
    end.

open_at(Node, Arena) ->
    try erpc:call(Node, ?MODULE, place, [erlang:system_info(schedulers)], ?PLACE_TIMEOUT) of
        {Place, Groups} -> kv_nif:open_lane(Arena, Place, Groups);
        Reason when is_atom(Reason) -> {error, Reason}
    catch
        error:{erpc, Reason} -> {error, Reason};
        error:{exception, undef, _} -> {error, undef};
        error:Reason -> {error, Reason}
    end.

%% @doc Returns why this VM uses no lanes, or `none'.
-spec refusal() -> none | single_processor.
refusal() ->
    Processors = [N || N <- [erlang:system_info(logical_processors_available), quota()], is_integer(N)],
    case Processors =/= [] andalso lists:min(Processors) < ?LEAST_PROCESSORS of
        true -> single_processor;
        false -> none
    end.

%% Processors that the control group of this VM allows: a number, or `unknown'.
quota() ->
    try
        erlang:system_info(cpu_quota)
    catch
        error:badarg -> unknown
    end.

%% @doc Closes a lane: no more calls by it.
-spec close(kv_nif:lane()) -> ok.
close(Lane) ->
    _ = kv_nif:close_lane(Lane),
    ok.

%% @doc Lets calls to a node use its lane.
-spec publish(node(), kv_nif:lane()) -> ok.
publish(Node, Lane) ->
    update(fun(Published) -> Published#{Node => Lane} end).

%% @doc Lets no calls use it any more.
-spec withdraw(node()) -> ok.
withdraw(Node) ->
    update(fun(Published) -> maps:remove(Node, Published) end).

%% @doc Withdraws everything.
-spec reset() -> ok.
reset() ->
    update(fun(_Published) -> #{} end).

-spec update(fun((published()) -> published())) -> ok.
update(Change) ->
    kv_published:update(?PUBLISHED, Change).
