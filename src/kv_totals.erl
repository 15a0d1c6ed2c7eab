%% @doc Totals of all native processes of a node, and the processes with the most of something.
%%
%% Runs in the VM whose kv is inspected: {@link kv} calls it there, and {@link kv_text} formats the result. Describes
%% only the processes that it returns, with a few questions to the C node.
%% @private
-module(kv_totals).

-export([info/1, native_info/1, processes/2, native_processes/3, new/0, add/2]).

-export_type([info/0, by/0, totals/0]).

-type by() :: memory | operations | queue.
-type totals() :: #{
    processes := non_neg_integer(),
    buckets := non_neg_integer(),
    registries := non_neg_integer(),
    memory := non_neg_integer(),
    operations := non_neg_integer(),
    queue := non_neg_integer()
}.
-type info() :: #{
    %% Of the application. Missing if only the C node was asked.
    version => binary(),
    node := kv_node:info() | #{name := node()},
    %% Of all nodes that the VM has called. Missing if only the C node was asked.
    local_reads => #{node() => kv_watcher:local()},
    %% The figures are missing while a node to which this VM is attached is away.
    %% In all registries together.
    names => non_neg_integer(),
    processes => non_neg_integer(),
    buckets => non_neg_integer(),
    registries => non_neg_integer(),
    %% The bytes that count against max_memory of the node.
    memory => non_neg_integer(),
    max_memory => pos_integer(),
    operations => non_neg_integer(),
    queue => non_neg_integer()
}.

%% Going through all processes of a node.
-define(FOLD_TIMEOUT, 30000).
-define(DETAILS_TIMEOUT, 5000).

%% @doc Returns a map about a node and its processes.
-spec info(atom()) -> {ok, info()} | kv_inspect:failure().
info(Server) ->
    case native_info(kv_node:name(Server)) of
        {ok, Info} -> {ok, maps:merge(Info, of_this_vm(kv_node:info(Server)))};
        Failure -> without_node(kv_node:info(Server), Failure)
    end.

%% A node that somebody else has started may be away, and its kv_node tells so.
without_node(#{attached := true, state := {_, _}} = Own, _Failure) -> {ok, of_this_vm(Own)};
without_node(_Own, Failure) -> Failure.

of_this_vm(Own) ->
    #{version => version(), node => Own, local_reads => local_reads(Own)}.

%% Adds a node that nobody has called yet, which is not watched.
local_reads(#{name := Node, local_reads := Local}) ->
    (kv_watcher:locals())#{Node => Local}.

%% @doc The same for a C node, without asking its VM.
-spec native_info(node()) -> {ok, info()} | kv_inspect:failure().
native_info(Node) ->
    Count = fun(#{pid := Pid, kind := Kind} = Row, {Totals, Registries}) ->
        {add(Row, Totals), [Pid || Kind =:= registry] ++ Registries}
    end,
    case kv_inspect:fold(Node, Count, {new(), []}, ?FOLD_TIMEOUT) of
        {ok, {Totals, Registries}} -> with_memory(Node, Totals#{node => #{name => Node}, names => names(Registries)});
        Failure -> Failure
    end.

%% Only the node knows the bytes that count against its max_memory: pages that several tables share.
with_memory(Node, Totals) ->
    case kv_inspect:within(fun() -> erpc:call(Node, kv_node, memory, []) end, ?DETAILS_TIMEOUT) of
        {ok, {Counted, Limit}} -> {ok, Totals#{memory := Counted, max_memory => Limit}};
        Failure -> Failure
    end.

names(Registries) ->
    case kv_inspect:details(Registries, plain, ?DETAILS_TIMEOUT) of
        {ok, Details} -> lists:sum([Size || #{size := Size} <- Details, is_integer(Size)]);
        _NoAnswer -> 0
    end.

version() ->
    _ = application:load(kv),
    {ok, Version} = application:get_key(kv, vsn),
    unicode:characters_to_binary(Version).

%% @doc Returns the totals of no process.
-spec new() -> totals().
new() ->
    #{processes => 0, buckets => 0, registries => 0, memory => 0, operations => 0, queue => 0}.

%% @doc Adds one process to the totals.
-spec add(kv_inspect:row(), totals()) -> totals().
add(#{kind := Kind, memory := Memory, operations := Operations, queue := Queue}, Totals) ->
    #{processes := P, buckets := B, registries := R, memory := M, operations := O, queue := Q} = Totals,
    #{
        processes => P + 1,
        buckets => B + one(Kind, bucket),
        registries => R + one(Kind, registry),
        memory => M + Memory,
        operations => O + Operations,
        queue => Q + Queue
    }.

one(Kind, Kind) -> 1;
one(_, _) -> 0.

%% @doc Returns the processes with the most of something, and the totals of all processes, for each node of this VM.
-spec processes(by(), pos_integer()) -> [{node(), {ok, totals(), [kv_inspect:process()]} | kv_inspect:failure()}].
processes(By, Limit) ->
    [{Node, native_processes(Node, By, Limit)} || Server <- kv_node:running(), Node <- [kv_node:name(Server)]].

%% @doc The same for one C node, without asking its VM.
-spec native_processes(node(), by(), pos_integer()) ->
    {ok, totals(), [kv_inspect:process()]} | kv_inspect:failure().
native_processes(Node, By, Limit) ->
    Keep = fun(#{pid := Pid} = Row, {Totals, Top}) ->
        {add(Row, Totals), keep({maps:get(By, Row), Pid}, Limit, Top)}
    end,
    case kv_inspect:fold(Node, Keep, {new(), gb_sets:empty()}, ?FOLD_TIMEOUT) of
        {ok, {Totals, Top}} -> described(Totals, [Pid || {_, Pid} <- lists:sort(fun first/2, gb_sets:to_list(Top))]);
        Failure -> Failure
    end.

described(Totals, Top) ->
    case kv_inspect:details(Top, relations, ?DETAILS_TIMEOUT) of
        {ok, Processes} -> {ok, Totals, [Process || #{} = Process <- Processes]};
        Failure -> Failure
    end.

%% In descending order; of equal ones, the older comes first.
first({Same, Pid}, {Same, Other}) -> Pid =< Other;
first({Value, _}, {Other, _}) -> Value > Other.

keep(Entry, Limit, Top) ->
    case gb_sets:size(Top) < Limit orelse gb_sets:smallest(Top) < Entry of
        true -> trimmed(gb_sets:add(Entry, Top), Limit);
        false -> Top
    end.

trimmed(Top, Limit) ->
    case gb_sets:size(Top) > Limit of
        true -> gb_sets:delete(gb_sets:smallest(Top), Top);
        false -> Top
    end.
