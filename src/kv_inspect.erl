%% @doc Asks a node what its native processes are, from outside.
%%
%% No function sends a message to the process that is inspected, so suspended processes can be inspected, too. The one
%% exception: a registry is asked for its names. Every function returns within its timeout, leaves no message behind,
%% and creates no atom.
%% @private
-module(kv_inspect).

-export([details/3, fold/4, native/2, is_native/2, within/2]).

-export_type([process/0, row/0, failure/0]).

-type kind() :: bucket | registry | service.
-type process() :: #{
    pid := pid(),
    kind := kind(),
    %% The name of a bucket, or the name under which the process is registered on its node.
    name := binary() | atom(),
    %% `node': it belongs to its node.
    owner := pid() | node | undefined,
    %% Keys of a bucket, names of a registry.
    size := non_neg_integer() | undefined,
    %% Of a bucket, the bytes that count against max_memory, and what the process takes besides. Of any other process,
    %% all that it takes.
    memory := non_neg_integer(),
    max_memory => pos_integer() | infinity,
    %% Of a bucket: its option.
    durable => false | commit | interval,
    overhead => non_neg_integer(),
    operations := non_neg_integer(),
    queue := non_neg_integer(),
    suspended := boolean(),
    links => non_neg_integer(),
    monitors => non_neg_integer(),
    monitored_by => non_neg_integer()
}.
%% One process, for the fun of fold/4.
-type row() :: #{
    pid := pid(),
    kind := kind(),
    memory := non_neg_integer(),
    operations := non_neg_integer(),
    queue := non_neg_integer()
}.
-type failure() :: {error, timeout | {nodedown, node()} | term()}.

-define(ITEMS, [initial_call, registered_name, label, parent, memory, reductions, message_queue_len, status]).
-define(RELATIONS, [links, monitors, monitored_by]).
%% A registry of many names has to copy them.
-define(NAMES_TIMEOUT, 1000).

%% @doc Returns the processes in the order of Pids; `undefined' for one that is dead. With `relations', the maps also
%% have the number of links and monitors, and the owner of a process that its owner did not start itself. All
%% questions are sent at once.
-spec details([pid()], plain | relations, timeout()) -> {ok, [process() | undefined]} | failure().
details(Pids, Which, Timeout) ->
    within(fun() -> ask(Pids, items(Which)) end, Timeout).

items(plain) -> ?ITEMS;
items(relations) -> ?ITEMS ++ ?RELATIONS.

ask(Pids, Items) ->
    Asked = [{Pid, request(Pid, process_info, [Pid, Items]), table_request(Pid)} || Pid <- Pids],
    Answered = [{Pid, answer(Info), answer(Table)} || {Pid, Info, Table} <- Asked],
    names([process(Pid, Info, Table) || {Pid, Info, Table} <- Answered]).

request(Pid, Function, Arguments) ->
    erpc:send_request(node(Pid), erlang, Function, Arguments).

table_request(Pid) ->
    erpc:send_request(node(Pid), kv_node, table, [Pid]).

answer(Request) ->
    erpc:receive_response(Request).

process(_Pid, undefined, _Table) ->
    undefined;
process(Pid, Items, Table) ->
    Info = maps:from_list(Items),
    #{initial_call := {Module, _, _}, label := Label, registered_name := Registered} = Info,
    Process = #{
        pid => Pid,
        kind => kind(Module),
        name => name(Label, Registered),
        owner => owner(Pid, Info),
        operations => maps:get(reductions, Info),
        queue => maps:get(message_queue_len, Info),
        suspended => maps:get(status, Info) =:= suspended
    },
    Related = maps:map(fun(_, Others) -> length(Others) end, maps:with(?RELATIONS, Info)),
    maps:merge(maps:merge(Process, memory(Table, maps:get(memory, Info))), Related).

%% A process without a table, or one that has ended meanwhile.
memory(undefined, Memory) ->
    #{size => undefined, memory => Memory};
memory({Size, Counted, Limit, Durable}, Memory) ->
    #{size => Size, memory => Counted, max_memory => Limit, durable => Durable, overhead => max(Memory - Counted, 0)}.

kind(kv_bucket) -> bucket;
kind(kv_registry) -> registry;
kind(_Service) -> service.

name(Label, _Registered) when is_binary(Label) -> Label;
name(_Label, []) -> undefined;
name(_Label, Registered) -> Registered.

%% A process that the node itself has started is its own parent, and so is one that belongs to the node and has a name there: the
%% buckets of a registry have none. Buckets and registries monitor their owner first of all. A process without an owner belongs to
%% its parent.
owner(Pid, #{parent := Pid, registered_name := Name, initial_call := {Module, _, _}}) when
    Name =/= [], Module =:= kv_bucket orelse Module =:= kv_registry
->
    node;
owner(_Pid, #{monitors := [{process, Owner} | _], initial_call := {kv_bucket, _, _}}) -> Owner;
owner(Pid, #{parent := Pid}) -> undefined;
owner(_Pid, #{parent := Parent}) -> Parent.

%% Only a registry itself knows how many names it has.
names(Processes) ->
    Asked = [{Process, names_request(Process)} || Process <- Processes],
    [size(Process, Request) || {Process, Request} <- Asked].

names_request(#{kind := registry, suspended := false, pid := Pid}) -> gen_server:send_request(Pid, names);
names_request(_Process) -> undefined.

size(Process, undefined) ->
    Process;
size(Process, Request) ->
    case gen_server:receive_response(Request, ?NAMES_TIMEOUT) of
        {reply, Names} when is_list(Names) -> Process#{size := length(Names)};
        _ -> Process
    end.

%% @doc Folds over all processes of a C node. The node sends them in chunks, and serves other requests between the chunks.
%% The fun runs in a process of its own.
-spec fold(node(), fun((row(), Acc) -> Acc), Acc, timeout()) -> {ok, Acc} | failure().
fold(Node, Fun, Acc, Timeout) ->
    within(
        fun() ->
            {Collector, Monitor} = spawn_opt(Node, kv_node, processes, [self()], [monitor]),
            collect(Node, Collector, Monitor, Fun, Acc)
        end,
        Timeout
    ).

%% c_src/observe/functions.h, kv_processes_behaviour. A node that is not connected leaves a pid of this VM.
collect(Node, Collector, Monitor, Fun, Acc) ->
    receive
        {kv_processes, Collector, Rows} ->
            Next = lists:foldl(fun(Row, Before) -> Fun(row(Row), Before) end, Acc, Rows),
            collect(Node, Collector, Monitor, Fun, Next);
        {'DOWN', Monitor, process, _, normal} ->
            Acc;
        {'DOWN', Monitor, process, _, noconnection} ->
            exit({nodedown, Node});
        {'DOWN', Monitor, process, _, Reason} ->
            exit(Reason)
    end.

row({Pid, Module, _Label, Memory, Operations, Queue}) ->
    #{pid => Pid, kind => kind(Module), memory => Memory, operations => Operations, queue => Queue}.

%% @doc Returns the native process behind a pid, which is a native process or a proxy of any node. `{error, noproc}':
%% the process is dead. `{error, not_kv}': it is another process.
-spec native(pid(), timeout()) -> {ok, pid()} | failure().
native(Pid, Timeout) ->
    case within(fun() -> behind(Pid) end, Timeout) of
        {ok, Native} when is_pid(Native) -> {ok, Native};
        {ok, Problem} -> {error, Problem};
        Failure -> Failure
    end.

behind(Pid) ->
    case erpc:call(node(Pid), erlang, process_info, [Pid, [initial_call]]) of
        [{initial_call, {Module, init, 1}}] when Module =:= kv_bucket; Module =:= kv_registry -> Pid;
        [_] -> behind(Pid, erpc:call(node(Pid), erlang, process_info, [Pid, dictionary]));
        undefined -> noproc
    end.

behind(_Pid, {dictionary, Dictionary}) ->
    case lists:keyfind('$kv_native', 1, Dictionary) of
        {_, {_Kind, Native, _Label}} -> Native;
        false -> not_kv
    end;
behind(_Pid, undefined) ->
    noproc.

%% @doc Returns `true' if a connected node is a C node.
-spec is_native(node(), timeout()) -> {ok, boolean()} | failure().
is_native(Node, Timeout) ->
    within(fun() -> kv_native:kind(Node) =:= native end, Timeout).

%% @doc Runs a fun in a process of its own, at most for Timeout milliseconds. So the caller is not affected by a late
%% answer, or by a connection that blocks.
%%
%% The value is the exit reason of that process, so it arrives with the end of the process or never.
-dialyzer({nowarn_function, within/2}).
-spec within(fun(() -> Value), timeout()) -> {ok, Value} | failure().
within(Fun, Timeout) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit(outcome(Fun)) end),
    receive
        {'DOWN', Monitor, process, Pid, {?MODULE, Value}} -> {ok, Value};
        {'DOWN', Monitor, process, Pid, Reason} -> {error, Reason}
    after Timeout ->
        true = erlang:demonitor(Monitor, [flush]),
        true = exit(Pid, kill),
        {error, timeout}
    end.

outcome(Fun) ->
    try
        {?MODULE, Fun()}
    catch
        error:{erpc, Reason} -> Reason;
        error:{exception, Reason, _} -> Reason;
        _:Reason -> Reason
    end.
