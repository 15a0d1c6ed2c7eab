%% @doc Key-value buckets and a name registry as native processes of a C node.
%%
%% ```
%% {ok, _} = application:ensure_all_started(kv),
%% ok = kv_registry:create(kv_registry, <<"shopping">>),
%% {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
%% ok = kv_bucket:put(Bucket, eggs, 3),
%% 3 = kv_bucket:get(Bucket, eggs).
%% '''
%%
%% See {@link kv_bucket}, {@link kv_registry}, {@link kv_bucket_sup}, {@link kv_event_manager} and {@link kv_node}.
%%
%% The functions of this module show what runs, without disturbing it. Suspended buckets are shown like any other, and
%% the C node serves other requests while it answers. The functions work on every node of the cluster that has this
%% module, whether or not the application runs there. {@link tree/1} and {@link top/1} print on the terminal of the
%% caller:
%%
%% ```
%% 1> kv:tree().                                    % what runs in this VM, or where it runs
%% 2> kv:top(#{by => operations, limit => 5}).
%% 3> kv:tree('app@10.0.0.7').                      % another VM's
%% 4> erpc:call('app@10.0.0.7', kv, tree, []).      % the same, with no code of kv here
%% 5> kv:info(Bucket).
%% '''
%%
%% They exit with `{noproc, _}' if the application does not run there, with `{{nodedown, Node}, _}' if the node cannot
%% be reached, and with `{timeout, _}' if no answer comes.
-module(kv).

-export([info/0, info/1, processes/0, processes/1, top/0, top/1, tree/0, tree/1]).
-export([backup/1, backup/2]).

-export_type([info/0, process_info/0, option/0, options/0]).

-type info() :: kv_totals:info().
-type process_info() :: kv_inspect:process().
-type option() ::
    %% A VM that runs kv, or a C node. Default: this VM if kv runs here, otherwise all connected VMs that run kv.
    {node, node()}
    %% The order of processes and top. Default: memory.
    | {by, kv_totals:by()}
    %% How many processes top and processes show, and how many children of one process tree shows. Default: 20.
    | {limit, pos_integer()}
    %% True: top and tree print with colours. Default: true if the caller's terminal seems to have colours.
    | {colours, boolean()}.
-type options() :: [option()] | #{node => node(), by => kv_totals:by(), limit => pos_integer(), colours => boolean()}.

-type target() :: {vm | native, node()}.

-define(LIMIT, 20).
%% For questions that are answered from memory.
-define(TIMEOUT, 5000).
%% For questions about all processes. kv_totals and kv_tree have shorter timeouts of their own.
-define(ALL_TIMEOUT, 60000).

%% @doc Returns a map about the application and the node that buckets use by default:
%% <ul>
%% <li>`version': the version of the application;</li>
%% <li>`node': the map that {@link kv_node:info/1} returns;</li>
%% <li>`local_reads': for each node that this VM has called, `on' if this VM reads buckets from shared memory, or
%%     `{off, Why}' (docs/local.md);</li>
%% <li>`processes', `buckets', `registries': how many of them are on the node;</li>
%% <li>`names': how many names all registries have together;</li>
%% <li>`memory': the bytes of all buckets that count against `max_memory': pages of 4 KiB of entries and indexes;</li>
%% <li>`max_memory': the limit of the node, given or by default;</li>
%% <li>`operations': how many operations they have performed;</li>
%% <li>`queue': how many requests wait because their processes are suspended.</li>
%% </ul>
%%
%% The figures from `processes' on are missing while a node to which this VM is attached is away: `state' in `node' tells.
%%
%% Counts all processes of the node, which takes about 200 ms for 100,000 buckets.
-spec info() -> info().
info() ->
    one_info(targets(undefined, {info, []}), {info, []}).

%% @doc Returns a map about a bucket, a registry, a node or a VM.
%%
%% A bucket or a registry is given by its native pid, its proxy, or any name. Its map has
%% <ul>
%% <li>`pid': the native pid;</li>
%% <li>`kind': `bucket' or `registry';</li>
%% <li>`name': a binary, the atom under which the process is registered on its node, or `undefined';</li>
%% <li>`owner': the proxy, or the process that started the native process without one; `node' for one that belongs to its node;</li>
%% <li>`size': the number of keys of a bucket, or of names of a registry;</li>
%% <li>`memory': of a bucket, the bytes of its entries and their index, which count against its `max_memory'; of a
%%     registry, all that it takes;</li>
%% <li>`max_memory': the limit that the bucket was started with, or `infinity'; missing for a registry;</li>
%% <li>`overhead': the bytes that a bucket takes besides: the process itself, and space for entries that is not in use;
%%     missing for a registry;</li>
%% <li>`operations': how many operations it has performed;</li>
%% <li>`queue': how many requests wait because the process is `suspended';</li>
%% <li>`links', `monitors', `monitored_by': how many of each.</li>
%% </ul>
%%
%% A node is given by the local name of its {@link kv_node} or by its own name, and a VM by its name. The result is a
%% map as {@link info/0} returns. If the C node is given by its own name, its VM is not asked: the map has no
%% `version' and no `local_reads', and `node' has only the name.
%%
%% Exits with `{noproc, _}' if there is no such process. Raises `badarg' if the process is neither a bucket nor a
%% registry.
%%
%% ```
%% 1> kv:info(Bucket).
%% #{kind => bucket,links => 0,max_memory => infinity,memory => 80,
%%   monitored_by => 2,monitors => 1,name => <<"shopping">>,operations => 1,
%%   overhead => 944,owner => <0.101.0>,pid => <12345.4.0>,queue => 0,size => 1,
%%   suspended => false}
%% '''
-spec info(kv_bucket:t() | node()) -> info() | process_info().
info(Target) ->
    Call = {info, [Target]},
    case is_atom(Target) andalso kind_of_atom(Target) of
        node -> one_info(targets(Target, Call), Call);
        server -> value(kv_totals:info(Target), Call);
        _ -> described(whereabouts(Target), Call)
    end.

kind_of_atom(Atom) ->
    case lists:member(Atom, kv_node:running()) of
        true -> server;
        false -> lists:member($@, atom_to_list(Atom)) andalso whereis(Atom) =:= undefined andalso node
    end.

one_info([{native, Node} | _], Call) ->
    value(kv_totals:native_info(Node), Call);
one_info([{vm, Node} | _], Call) ->
    [Server | _] = value(on(Node, kv_node, running, []), Call),
    value(value(on(Node, kv_totals, info, [Server]), Call), Call).

%% Resolves a name as gen_server does, without a message to the process.
whereabouts(Pid) when is_pid(Pid) -> Pid;
whereabouts(Name) when is_atom(Name) -> whereis(Name);
whereabouts({global, Name}) -> global:whereis_name(Name);
whereabouts({via, Module, Name}) when is_atom(Module) -> Module:whereis_name(Name);
whereabouts({Name, Node}) when is_atom(Name), Node =:= node() -> whereis(Name);
whereabouts({Name, Node}) when is_atom(Name), is_atom(Node) -> on(Node, erlang, whereis, [Name]);
whereabouts(Other) -> kv_misuse:raise({?MODULE, info, [Other]}, 1, wanted(Other)).

wanted(Other) ->
    kv_options:wrong("the process or node", "a pid, a name as gen_server:call/2 takes it, or the name of a node", Other).

described(undefined, Call) ->
    exited(noproc, Call);
described({error, Reason}, Call) ->
    exited(Reason, Call);
described({ok, Found}, Call) ->
    described(Found, Call);
described(Pid, Call) ->
    Native = value(kv_inspect:native(Pid, ?TIMEOUT), Call),
    %% Asks by way of the VM of the proxy, because this VM may not be able to reach the C node.
    case value(value(on(via(Pid, Native), kv_inspect, details, [[Native], relations, ?TIMEOUT]), Call), Call) of
        [#{} = Process] -> Process;
        [undefined] -> exited(noproc, Call)
    end.

via(Native, Native) -> node();
via(Proxy, _Native) -> node(Proxy).

%% @equiv processes([])
-spec processes() -> [process_info()].
processes() ->
    processes([]).

%% @doc Returns the native processes with the most memory, the most operations, or the longest queue, in descending
%% order. Each is a map as {@link info/1} returns. Options: `node', `by', `limit'.
%%
%% The C node goes through all of its processes in chunks, and describes only those that are returned.
%%
%% ```
%% 1> [Name || #{name := Name} <- kv:processes(#{by => operations, limit => 2})].
%% [kv_registry,<<"shopping">>]
%% '''
-spec processes(options()) -> [process_info()] | {error, kv_options:error()}.
processes(Options) ->
    case validate(Options, [node, by, limit]) of
        {ok, #{by := By, limit := Limit} = Valid} ->
            Call = {processes, [Options]},
            Found = [value(ranked(Result), Call) || {_Node, Result} <- ranking(Valid, Call)],
            lists:sublist(lists:sort(fun(A, B) -> maps:get(By, A) >= maps:get(By, B) end, lists:append(Found)), Limit);
        Error ->
            Error
    end.

ranked({ok, _Totals, Processes}) -> {ok, Processes};
ranked(Failure) -> Failure.

ranking(#{by := By, limit := Limit, node := Node}, Call) ->
    lists:append([ranking_of(Target, By, Limit, Call) || Target <- targets(Node, Call)]).

ranking_of({native, Node}, By, Limit, _Call) -> [{Node, kv_totals:native_processes(Node, By, Limit)}];
ranking_of({vm, Node}, By, Limit, Call) -> value(on(Node, kv_totals, processes, [By, Limit]), Call).

%% @equiv top([])
-spec top() -> ok.
top() ->
    top([]).

%% @doc Prints the processes that {@link processes/1} returns, in a table. Options: `node', `by', `limit', `colours'.
%%
%% ```
%% 1> kv:top(#{by => operations, limit => 2}).
%% kv_app@127.0.0.1: 4 processes, of them 1 bucket; 2.6 KiB, 6 operations; by operations
%% pid          kind      size   memory  operations  queue  links  monitors  name
%% <12345.3.0>  registry     1  1.3 KiB           4      0      0         4  kv_registry
%% <12345.4.0>  bucket       1     80 B           1      0      0         3  "shopping"
%% ok
%% '''
-spec top(options()) -> ok | {error, kv_options:error()}.
top(Options) ->
    case validate(Options, [node, by, limit, colours]) of
        {ok, #{by := By, colours := Colours} = Valid} ->
            Tables = [table(By, Result) || Result <- ranking(Valid, {top, [Options]})],
            kv_text:print(lists:append(spaced(Tables)), Colours);
        Error ->
            Error
    end.

table(By, {Node, {ok, Totals, Processes}}) -> kv_text:table(Node, By, Totals, Processes);
table(_By, {Node, {error, Reason}}) -> [kv_text:unavailable(Node, Reason)].

%% @equiv tree([])
-spec tree() -> ok.
tree() ->
    tree([]).

%% @doc Prints the tree of processes, across the VM and its C node. The first part shows the supervisors and their
%% children. Each proxy stands beside its native process, with name, size and memory. The second part shows the other
%% processes of the C node, below the processes that own them. Options: `node', `limit', `colours'. The name of a node
%% can be given instead of options.
%%
%% If a process has more than 20 children (see `limit'), the tree shows the first 20 and the number of the others.
%%
%% ```
%% 1> kv:tree().
%% app@127.0.0.1
%% └── kv_sup <0.86.0>, 2 children
%%     ├── kv_event_manager <0.87.0>
%%     └── kv_node_sup <0.88.0>, 2 children
%%         ├── kv_node <0.89.0> ══ kv_app@127.0.0.1, version 0.1.0, OS process 4711, up 2.4 s
%%         └── kv_store_sup <0.95.0>, 2 children
%%             ├── kv_bucket_sup <0.96.0>, 1 child
%%             │   └── <0.99.0> ══ <12345.4.0> bucket "shopping", 1 key, 80 B
%%             └── <0.97.0> ══ <12345.3.0> registry kv_registry, 1 name, 1.3 KiB
%%
%% kv_app@127.0.0.1, besides: 2 processes, 1.2 KiB
%% ├── <12345.1.0> net_kernel, 609 B
%% └── <12345.2.0> rex, 609 B
%% ok
%% '''
-spec tree(options() | node()) -> ok | {error, kv_options:error()}.
tree(Node) when is_atom(Node) ->
    tree([{node, Node}]);
tree(Options) ->
    case validate(Options, [node, limit, colours]) of
        {ok, #{node := Node, limit := Limit, colours := Colours}} ->
            Call = {tree, [Options]},
            Trees = lists:append([trees_of(Target, Limit, Call) || Target <- targets(Node, Call)]),
            kv_text:print(lists:append(spaced([kv_text:tree(Tree) || Tree <- Trees])), Colours);
        Error ->
            Error
    end.

trees_of({native, Node}, Limit, _Call) -> [kv_tree:native_tree(Node, Limit)];
trees_of({vm, Node}, Limit, Call) -> value(on(Node, kv_tree, trees, [Limit]), Call).

%% Puts an empty line between two blocks.
spaced(Blocks) -> lists:join([[]], Blocks).

%% @equiv backup(Folder, [])
-spec backup(file:name_all()) -> kv_backup:result().
backup(Folder) ->
    backup(Folder, []).

%% @doc Makes a backup of the durable buckets of a node, while the node goes on: a new folder, on which a node can start as its
%% `data_dir'. See docs/durability.md.
%%
%% Everything is in the backup that anybody had an answer to before the call, and perhaps some of what came later. Each
%% request is there as a whole or not at all.
%%
%% The folder must not be there, and the one above must be. A relative path starts at the working directory of the VM. The
%% folder has its name once all of it is on the disk; until then the name ends in `.tmp'.
%%
%% Options:
%% <ul>
%% <li>`node': the local name of a {@link kv_node} of this VM, by default the node that buckets use. Or the name of a C node, also
%%     one that another VM owns: then the first argument is a plain name, of a folder in the `backup_dir' of that node.</li>
%% <li>`timeout': milliseconds to wait for the end of the backup, or `infinity', the default. A backup whose caller has given up
%%     goes on.</li>
%% </ul>
%%
%% Returns a map: `folder', the absolute path; `bytes', the size of all files; and `written_bytes', of those that were written.
%% A checkpoint is not written again if the backup is on the file system of the data. Or returns `{error, {Word, Text}}', where
%% the text says what to do:
%% <ul>
%% <li>`no_data_dir': the node has no durable buckets;</li>
%% <li>`bad_folder': the folder is there already, is in the data folder, the one above is missing or may not be written to, or the
%%     name is no plain name;</li>
%% <li>`no_backup_dir': another node may not make backups;</li>
%% <li>`backup_under_way': one at a time;</li>
%% <li>`enospc': there is no space; `eio': reading or writing has failed; `enomem': the system has no thread for the
%%     backup;</li>
%% <li>`not_ready': the program does not take the request now.</li>
%% </ul>
%%
%% After an error nothing is left of the folder. Exits with `{noproc, _}' if the node does not run, with `{timeout, _}', with
%% `{{nodedown, Node}, _}', and with the reason of the node if its program ends meanwhile. Takes time in proportion to the data.
%%
%% ```
%% 1> kv:backup("/var/backups/kv-1").
%% {ok,#{bytes => 67121152,folder => <<"/var/backups/kv-1">>,
%%       written_bytes => 67112960}}
%% '''
-spec backup(file:name_all(), [{node, atom()} | {timeout, timeout()}] | #{node => atom(), timeout => timeout()}) ->
    kv_backup:result() | {error, kv_options:error()}.
backup(Folder, Options) ->
    Call = {backup, [Folder, Options]},
    case validate(Options, [node, timeout]) of
        {ok, #{node := undefined, timeout := Timeout}} -> backed_up(kv_backup:by_leash(kv_node:default(), Folder, Timeout), Call);
        {ok, #{node := Node, timeout := Timeout}} -> backed_up(backup_of(kind_of_atom(Node), Node, Folder, Timeout), Call);
        Error -> Error
    end.

backup_of(node, Node, Name, Timeout) -> kv_backup:by_message(Node, Name, Timeout);
backup_of(_Server, Server, Folder, Timeout) -> kv_backup:by_leash(Server, Folder, Timeout).

backed_up({exit, Reason}, Call) -> exited(Reason, Call);
backed_up({misuse, Text}, {Function, Arguments}) -> kv_misuse:raise({?MODULE, Function, Arguments}, 1, Text);
backed_up(Result, _Call) -> Result.

%%% Where to look

-spec targets(node() | undefined, {atom(), [term()]}) -> [target(), ...].
targets(undefined, Call) ->
    case kv_node:running() of
        [_ | _] -> [{vm, node()}];
        [] -> found(connected(), Call)
    end;
targets(Node, Call) ->
    case on(Node, kv_node, running, []) of
        {ok, [_ | _]} -> [{vm, Node}];
        {ok, []} -> exited(noproc, Call);
        {error, undef} -> found([{native, Node} || value(kv_inspect:is_native(Node, ?TIMEOUT), Call)], Call);
        {error, Reason} -> exited(Reason, Call)
    end.

found([], Call) -> exited(noproc, Call);
found(Targets, _Call) -> Targets.

%% C nodes are among the connected nodes, too. They answer `undef'.
connected() ->
    Nodes = lists:sort(nodes(connected)),
    Answers = erpc:multicall(Nodes, kv_node, running, [], ?TIMEOUT),
    [{vm, Node} || {Node, {ok, [_ | _]}} <- lists:zip(Nodes, Answers)].

%% Calls a function on the node where kv runs.
on(Node, Module, Function, Arguments) when Node =:= node() ->
    {ok, apply(Module, Function, Arguments)};
on(Node, Module, Function, Arguments) ->
    case kv_inspect:within(fun() -> erpc:call(Node, Module, Function, Arguments) end, ?ALL_TIMEOUT) of
        {error, noconnection} -> {error, {nodedown, Node}};
        Result -> Result
    end.

value({ok, Value}, _Call) -> Value;
value({error, not_kv}, {Function, [Process | _] = Arguments}) ->
    Text = kv_options:wrong("the process", "a bucket, a registry, or the proxy of one", Process),
    kv_misuse:raise({?MODULE, Function, Arguments}, 1, Text);
value({error, Reason}, Call) -> exited(Reason, Call).

-spec exited(term(), {atom(), [term()]}) -> no_return().
exited(Reason, {Function, Arguments}) ->
    exit({Reason, {?MODULE, Function, Arguments}}).

%%% Options

validate(Options, Known) ->
    case kv_start_options:against(Options, [Row || {Key, _, _} = Row <- rows(), lists:member(Key, Known)]) of
        {ok, Given} -> {ok, maps:merge(maps:with(Known, defaults(Given)), Given)};
        Error -> Error
    end.

rows() ->
    [
        {node, fun is_atom/1, "an atom, the name of a node"},
        {by, fun(By) -> lists:member(By, [memory, operations, queue]) end, "memory, operations or queue"},
        {limit, fun(Limit) -> is_integer(Limit) andalso Limit > 0 end, "a number of 1 or more"},
        {timeout, fun is_timeout/1, "0 to 4294967295 milliseconds, or infinity"},
        {colours, fun is_boolean/1, "true or false"}
    ].

is_timeout(infinity) -> true;
is_timeout(Timeout) -> is_integer(Timeout) andalso Timeout >= 0 andalso Timeout =< 16#FFFFFFFF.

defaults(Given) ->
    #{
        node => undefined,
        timeout => infinity,
        by => memory,
        limit => ?LIMIT,
        colours => not is_map_key(colours, Given) andalso kv_text:colours()
    }.
