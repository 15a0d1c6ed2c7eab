%% @doc The process that owns the C program: starts it, connects to it, checks that it answers, and ends it.
%%
%% The process runs exactly as long as the program. It starts only once the program is ready and connected, so
%% whatever its supervisor starts next can use the node at once. If the program ends or does not answer, the process
%% ends, and its supervisor starts both again.
%%
%% If only the connection is lost, the process dials again, and the program keeps everything. Meanwhile it checks over
%% the standard input of the program that the program answers. It starts a new, empty program if the connection is not
%% back after `reconnect_timeout', or if the node name of the VM has changed (`net_kernel:stop/0' and
%% `net_kernel:start/2'). The new program is named after the VM's present name.
%%
%% With the option `attach', the program is another's, and the process is that of {@link kv_attached}: it stays while the node is
%% away, and connects again.
%%
%% == Options ==
%%
%% All options are optional. The environment of the application `kv' holds the options of the node that the
%% application starts.
%% <ul>
%% <li>`attach': Use the C node of this name, which somebody else has started, as by systemd: see docs/attach.md. This
%%     VM starts, kills and restarts no program then, and connects again whenever the node was away. It needs a name
%%     of its own. Options of the program are refused. Default: this VM starts a program. Value: an atom.</li>
%% <li>`program': Path of the C program. Default: `kv_node' in the priv directory of the application kv. Value: a
%%     string.</li>
%% <li>`node_name': Name of the C node, in ASCII. Default: `kv_foo@host' in a VM that is distributed as `foo@host',
%%     shortened if it would have more than 255 characters. Where kv starts distribution itself, `kv_R@127.0.0.1'. R
%%     is random, and stays the same for the life of the VM. Value: an atom.</li>
%% <li>`distribute': Start distribution, and EPMD, if the VM is not distributed. If false, starting the node in such a
%%     VM fails with `not_alive'. Value: `true' or `false'; `true' by default.</li>
%% <li>`epmd': If false, the program does not register with EPMD, and listens at the port at which this VM dials every
%%     node: the VM needs `-erl_epmd_port'. kv starts no EPMD then. See docs/standalone.md. Value: `true' or `false';
%%     `true' by default.</li>
%% <li>`start_timeout': How long the program may take to get ready. Buckets and registries that are started meanwhile
%%     wait as long. While the program reads durable buckets from disk, each sign of progress starts the time again.
%%     Value: 1 to 4294967295 milliseconds; `10000' by default.</li>
%% <li>`ping_interval': Time between two questions to the program whether it still answers. Value: 1 to 4294967295
%%     milliseconds; `1000' by default.</li>
%% <li>`ping_timeout': A program that has not answered for this long is killed. Value: 1 to 4294967295 milliseconds;
%%     `5000' by default.</li>
%% <li>`stop_timeout': How long the program may take to stop after its standard input has ended. After that it gets
%%     SIGKILL. Value: 1 to 4294967295 milliseconds; `2000' by default.</li>
%% <li>`reconnect_timeout': If the connection to the program is lost, dial again for this long. The program keeps its
%%     buckets meanwhile. After that, start a new, empty program. 0 starts a new one at once. Value: 0 to 2147483648
%%     milliseconds; `60000' by default.</li>
%% <li>`local': Let this VM use buckets of the node through shared memory. `reads': reads take no call. `all': other
%%     requests take no message either, while the node is busy with them. Loads a NIF: see docs/local.md. Value:
%%     `false', `reads' or `all'; `false' by default.</li>
%% <li>`local_reads': `true' means the same as `local' with `reads'. Value: `true' or `false'; `false' by
%%     default.</li>
%% <li>`observer_names': How many atoms kv may create in this VM so that Observer shows proxies by the names of their
%%     buckets. From OTP 27 on no atom is needed, and every proxy is shown by its name. Value: 0 to 100000 atoms;
%%     `1000' by default.</li>
%% <li>`slow_request': Each call of this VM to a bucket that takes longer executes the event `[kv, request, slow]' of
%%     the library `telemetry': see docs/telemetry.md. Set in the VM when the node starts. Default: as it was, which
%%     is off at first. Value: 0 to 4294967295 milliseconds.</li>
%% <li>`log_level': The program writes no log lines below this level. Value: `debug', `info', `notice', `warning' or
%%     `error'; `notice' by default.</li>
%% <li>`data_dir': Folder for the durable buckets of the node: see docs/durability.md. The program makes the folder if
%%     it is missing. One folder belongs to one node. Without it, starting a durable bucket fails with `no_data_dir'.
%%     A relative path starts at the working directory of the VM. No default. Value: a string.</li>
%% <li>`checkpoint_log': The node writes a checkpoint of its durable buckets when the log since the last one is longer
%%     than this, and longer than one and a half times that one. Less log makes a start faster, and writes more.
%%     Value: 1048576 to 1099511627776 bytes; `67108864' by default.</li>
%% <li>`backup_dir': Folder in which other nodes may make backups of the durable buckets, by a message with a plain
%%     name: see docs/durability.md. It must exist. A relative path starts at the working directory of the VM. No
%%     default: only this VM may make backups. Value: a string.</li>
%% <li>`max_memory': Memory of all buckets together. A put that would exceed the limit fails with `enomem', unless its
%%     bucket evicts other entries. Default: three quarters of the memory of the machine, or of the least limit of a
%%     control group of the program (cgroup v1 and v2), as in a container. Value: 1048576 to 8796093022208 bytes.</li>
%% <li>`max_frame': Size of the largest message. A larger request fails with `too_large'. Value: 4096 to 2147483647
%%     bytes; `134217728' by default.</li>
%% <li>`max_depth': How deep terms may be nested. A request with a term that is nested deeper fails with `too_deep'.
%%     Value: 16 to 16777216 levels; `1048576' by default.</li>
%% <li>`max_pending': Memory for the messages of one peer that have arrived in part. A request beyond it fails with
%%     `too_much_pending'. Value: 1048576 to 1099511627776 bytes; `1073741824' by default.</li>
%% <li>`max_peers': Number of nodes that may be connected at once. One place is kept for this VM. Value: 1 to 65536
%%     nodes; `1024' by default.</li>
%% <li>`max_queue': Output that may wait for a peer. A peer beyond it that reads nothing for four seconds, or falls
%%     behind by as much again, is disconnected. Value: 1048576 to 1099511627776 bytes; `536870912' by default.</li>
%% <li>`ticktime': A peer that is silent for this long is disconnected. Value: 1 to 86400 seconds; `60' by
%%     default.</li>
%% <li>`handshake_timeout': Time for a whole handshake. Value: 10 to 600000 milliseconds; `7000' by default.</li>
%% <li>`bind': Address to listen on. Default: the address that the host part of the node name resolves to. Value: a
%%     string.</li>
%% <li>`port': TCP port to listen on. 0 is any free port. Value: 0 to 65535; `0' by default.</li>
%% <li>`cores': With `true' a crash of the program may write a core file, as far as its limit (`ulimit -c') allows
%%     one. A core holds all values. The cookie is in none. Value: `true' or `false'; `false' by default.</li>
%% <li>`seccomp': With `true' the program makes only the system calls that a node needs, by a filter of the kernel.
%%     Another call fails with EPERM, and a line of the log names it: see docs/operating.md. Needs Linux, and
%%     libseccomp. Value: `true' or `false'; `false' by default.</li>
%% <li>`delay_send': Batch small writes to the node (`delay_send' of `inet'), and read with a buffer of 128 KiB. Many
%%     callers get up to twice as much done, and a single caller loses nothing. Only the connection to this node is
%%     affected. Value: `true' or `false'; `true' by default.</li>
%% <li>`follow': If the program may use just two processors, run it on the one that callers of this host send from
%%     while 8 or more processes are calling. The callers get the other one. Value: `true' or `false'; `true' by
%%     default.</li>
%% <li>`gather': While 8 or more processes are calling, wait this long before the next read, so that the program
%%     answers them together. A program that follows its callers never waits. 0 turns waiting off. Value: 0 to 1000
%%     microseconds; `75' by default.</li>
%% <li>`spin': While fewer than 8 processes are calling, and so fast that a message is likely to come soon, look for
%%     the next message for up to this long before sleeping. A lone caller gets its answer in less than half the time,
%%     and the node uses processor time meanwhile. On one processor the program never does so. 0 turns it off. Value:
%%     0 to 1000 microseconds; `200' by default.</li>
%% <li>`zeros': Makes `0.0' and `-0.0' one key or two. Default: as in this VM, `same' up to OTP 26 and `differ' from
%%     OTP 27 on. Value: `differ' or `same'.</li>
%% <li>`get_state': How a native process answers `get_state' of `sys': with the state, or with a tuple of `ok' and the
%%     state. Default: as this VM expects the answer. Value: `bare' or `tagged'.</li>
%% </ul>
%%
%% == Reasons ==
%%
%% The process fails to start, or ends, with one of these reasons:
%% <ul>
%% <li>`{bad_option, Key, Text}': the option is unknown, or its value is wrong. The text says what is wanted, as in "ticktime
%%     must be 1 to 86400 seconds, and is 0". Nothing was started. Of an option that is given twice the first counts.</li>
%% <li>`{not_alive, Text}': the VM is not distributed, and `distribute' is `false'; or the VM has a dynamic name
%%     (`-sname undefined'), and no node has given it one yet.</li>
%% <li>`{bad_node_name, Text}': no name for the node can be made of the name of this VM, or the VM does not dial
%%     `node_name': with a short name it dials no host with a dot, and with a long one no other.</li>
%% <li>`{no_epmd, Text}', `{no_distribution, Why}': EPMD or distribution could not be started.</li>
%% <li>`{bad_tls_option, Option, Text}': the VM dials over TLS, and the program cannot follow an option with which the VM takes
%%     connections. Nothing was started. docs/tls.md lists the options.</li>
%% <li>`{program_missing, Path}', `{program_not_executable, Path}': build the program with `make -C c_src'.</li>
%% <li>`{version_mismatch, Program, Application}': the program has another version than the application. Build it again. Of a
%%     VM that attaches: the messages of the two versions differ.</li>
%% <li>`{zeros_mismatch, Text}': the VM attaches to a node for which `0.0' and `-0.0' are one key, and for the VM two, or the other
%%     way round.</li>
%% <li>`{start_timeout, Ms}': the program was not ready in time.</li>
%% <li>`{not_connected, Node, Text}': the program is ready, but the VM could not connect to it. The text says why, in the words of
%%     the program if it has heard of the attempt.</li>
%% <li>`{bad_cookie, Text}': the cookie that the VM has for the node (`erlang:get_cookie/1') is one that Erlang nodes cannot use.</li>
%% <li>`{fatal, Reason, Text}': the program gave up. The text says why. `tls': a file with certificates or keys cannot be read or
%%     used. Two of the reasons are about durable buckets: `data_dir':
%%     the folder cannot be used, or its data are damaged; `log_failed': a write to the disk has failed. The next program has
%%     all changes that were answered.</li>
%% <li>`{exited, Status}', `{killed, Signal}': the program ended without a message. Status 127: the system could not load it, mostly
%%     for want of a shared library; `ldd' names it.</li>
%% <li>`{node_unresponsive, Ms}': the program did not answer for this long, and was killed.</li>
%% <li>`{nodedown, Node}': the connection was lost, and was not back after `reconnect_timeout'.</li>
%% <li>`{vm_renamed, Old, New}': the node name of the VM has changed, and the program knows only the old one.
%%     New is `nonode@nohost' if the VM has been without a name for 5 seconds.</li>
%% </ul>
-module(kv_node).
-behaviour(gen_server).

-export([start_link/1, start_link/2, child_spec/2]).
-export([name/0, name/1, info/0, info/1, os_pid/0, os_pid/1, default/0, running/0]).
-export([tables/0, tables/1, destroy/1, destroy/2, destroy/3]).
%% For kv_backup.
-export([backup/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3, format_status/1]).
-export([run_greeting/2]).

-export_type([option/0, info/0, disk/0]).

-type option() :: {atom(), term()}.
-type info() :: #{
    name := node(),
    os_pid := pos_integer(),
    port := inet:port_number(),
    version := binary(),
    creation := non_neg_integer(),
    uptime_ms := non_neg_integer(),
    %% Of a node that this VM has started.
    program => binary(),
    %% True: somebody else has started it.
    attached := boolean(),
    %% With the milliseconds since the connection was lost. Away: for longer than the node keeps the processes of this VM.
    state := up | {lost | away, non_neg_integer()},
    local_reads := kv_watcher:local(),
    lane := kv_watcher:local(),
    disk := undefined | disk() | {error, term()}
}.
%% The folder of the durable buckets. Sizes are in bytes, times in milliseconds.
-type disk() :: #{
    folder := binary(),
    %% How much was ever written to the log.
    position := non_neg_integer(),
    %% Of it, what a start would read.
    log_bytes := non_neg_integer(),
    %% The files of the log, and their size together.
    files := non_neg_integer(),
    file_bytes := non_neg_integer(),
    %% Changes that are not on disk yet. Nobody has an answer to them.
    waiting_bytes := non_neg_integer(),
    %% Since the program has started: what was written to the log, and how often it was made durable.
    written_bytes := non_neg_integer(),
    syncs := non_neg_integer(),
    %% The time since it was made durable last; undefined: not since the program has started.
    last_sync_ms := undefined | non_neg_integer(),
    %% How long the program took to read the folder when it started.
    recovery_ms := non_neg_integer(),
    %% The size of the last checkpoint, 0 if there is none; and the time since it was begun.
    checkpoint_bytes := non_neg_integer(),
    last_checkpoint_ms := undefined | non_neg_integer(),
    %% The node has given up the last checkpoint, and tries again: the log grows meanwhile.
    checkpoint_failing := boolean(),
    %% There is no space: a change that needs some returns {error, enospc}.
    full := boolean()
}.

-record(state, {
    server :: atom(),
    node :: node(),
    program :: kv_node_program:t(),
    path :: file:filename_all(),
    ready :: kv_node_program:ready(),
    options :: kv_node_options:t(),
    backoff :: kv_backoff:t(),
    since :: integer(),
    connection :: kv_connection:t(),
    pulse :: kv_pulse:t(),
    %% A monitor on kv_nodes, which tells others of this node.
    nodes :: undefined | reference(),
    %% A monitor on the process that greets a connection that is back.
    greeter :: undefined | reference(),
    fatal :: undefined | {fatal, atom() | binary(), binary()},
    %% The caller that waits for a backup, and the number of that one.
    backup = none :: none | {gen_server:from(), binary()},
    backups = 0 :: non_neg_integer()
}).

%% A lost connection usually means that the program has ended. Its exit status comes soon, and says more.
-define(EXIT_STATUS_GRACE, 200).

%% @doc Starts a node under the local name `kv_node'.
-spec start_link([option()]) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    start_link(?MODULE, Options).

%% @doc Starts a node under a local name.
-spec start_link(atom(), [option()]) -> {ok, pid()} | {error, term()}.
start_link(Name, _Options) when not is_atom(Name) ->
    {error, {bad_option, name, kv_options:wrong("name", "an atom", Name)}};
start_link(Name, Options) ->
    case kv_node_options:validate(Options) of
        {ok, Valid} ->
            case gen_server:start_link({local, Name}, module(Valid), {Name, Valid}, []) of
                {ok, Pid} -> {ok, Pid};
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} ->
            {error, Reason}
    end.

%% A node that this VM has not started needs no program, and no leash.
module(#{attach := undefined}) -> ?MODULE;
module(#{attach := _Node}) -> kv_attached.

%% @doc Returns a child specification. Its shutdown time follows from `stop_timeout'.
-spec child_spec(atom(), [option()]) -> supervisor:child_spec().
child_spec(Name, Options) ->
    StopTimeout = stop_timeout(kv_node_options:validate(Options)),
    #{
        id => Name,
        start => {?MODULE, start_link, [Name, Options]},
        restart => permanent,
        %% The end of input and SIGKILL get stop_timeout each; EPMD and distribution need a moment.
        shutdown => 2 * StopTimeout + 5000,
        type => worker,
        modules => [?MODULE, kv_attached]
    }.

%% Wrong options are refused when the child starts.
stop_timeout({ok, #{stop_timeout := Ms}}) -> Ms;
stop_timeout({error, _}) -> stop_timeout(kv_node_options:validate([])).

%% @doc Returns the name of the C node. Exits with `noproc' if the node is not running.
%%
%% ```
%% 1> kv_node:name().
%% 'kv_k3j9x2ab@127.0.0.1'
%% '''
-spec name() -> node().
name() ->
    name(default()).

%% @doc Returns the name of the C node that a kv_node owns, without sending a message.
-spec name(atom()) -> node().
name(Server) ->
    case kv_node_directory:name(Server) of
        undefined -> exit({noproc, {?MODULE, name, [Server]}});
        Node -> Node
    end.

%% @doc Returns the local name of the kv_node that buckets use by default: the first that was started, or `kv_node' if
%% none is running.
-spec default() -> atom().
default() ->
    kv_node_directory:default().

%% @doc Returns the local names of all kv_nodes that run in this VM, the default one first.
-spec running() -> [atom()].
running() ->
    kv_node_directory:running().

%% @doc The same as {@link info/1} for the default node.
-spec info() -> info().
info() ->
    info(default()).

%% @doc Returns a map about the node: its name, operating system pid, TCP port, version and creation, the milliseconds
%% since the VM has started and connected the program, the path of the program, `local_reads': `on' if this VM
%% reads buckets from shared memory, otherwise `{off, Why}'; `lane': `on' if other calls of this VM use shared memory, too; and `disk': a map about the folder of the durable buckets, or
%% `undefined' without a `data_dir'. The program is asked about the disk, for two seconds at most: if it does not answer, `disk' is
%% `{error, Reason}'.
%%
%% ```
%% 1> maps:get(disk, kv_node:info()).
%% #{folder => <<"/var/lib/my_app/kv">>,position => 1286144,log_bytes => 1286144,files => 2,file_bytes => 134217728,
%%   waiting_bytes => 0,written_bytes => 1286144,syncs => 314,last_sync_ms => 1203,recovery_ms => 3,checkpoint_bytes => 0,
%%   last_checkpoint_ms => undefined,checkpoint_failing => false,full => false}
%% '''
-spec info(gen_server:server_ref()) -> info().
info(Server) ->
    gen_server:call(Server, info).

%% @doc Returns the operating system pid of the default node.
-spec os_pid() -> pos_integer().
os_pid() ->
    os_pid(default()).

%% @doc Returns the operating system pid of the C program.
-spec os_pid(gen_server:server_ref()) -> pos_integer().
os_pid(Server) ->
    gen_server:call(Server, os_pid).

%% @equiv tables(default())
-spec tables() -> [kv_node_tables:table()].
tables() ->
    tables(default()).

%% @doc Returns the durable buckets and registries of a node, also those that have no process: `pid' is `dormant' then. A bucket
%% that is in a registry is not among them: {@link kv_registry:list/2} has those. Empty without a `data_dir'.
%%
%% ```
%% 1> kv_node:tables().
%% [#{name => sessions,kind => bucket,durable => commit,size => 300,memory => 45056,pid => <12345.67.0>},
%%  #{name => old_sessions,kind => bucket,durable => commit,size => 12,memory => 8192,pid => dormant}]
%% '''
%%
%% O(tables). Exits with `noproc' if the node is not running, and as any call does.
-spec tables(atom()) -> [kv_node_tables:table()].
tables(Server) ->
    kv_node_tables:list(name(Server)).

%% @equiv destroy(default(), Name)
-spec destroy(atom() | binary()) -> ok | {error, {unknown_name, binary()} | term()}.
destroy(Name) ->
    destroy(default(), Name).

%% @equiv destroy(Server, Name, 5000)
-spec destroy(atom(), atom() | binary()) -> ok | {error, {unknown_name, binary()} | term()}.
destroy(Server, Name) ->
    destroy(Server, Name, 5000).

%% @doc Removes a durable bucket or registry from the folder of a node by its name, whether or not it has a process. It is for what
%% {@link tables/1} lists as dormant: {@link kv_bucket:destroy/1} and {@link kv_registry:destroy/1} need a process. A registry goes
%% with all its names. A process that there is ends, and its supervisor starts an empty one in its place.
%%
%% Errors: `{unknown_name, Text}': the folder has nothing of that name; and those of the two functions.
-spec destroy(atom(), atom() | binary(), timeout()) -> ok | {error, {unknown_name, binary()} | term()}.
destroy(Server, Name, Timeout) when is_atom(Name); is_binary(Name) ->
    kv_node_tables:destroy(name(Server), Name, Timeout).

%% @private
%% Asks the program for a backup. The path is absolute, and has no control characters.
-spec backup(gen_server:server_ref(), binary(), timeout()) ->
    {ok, Bytes :: non_neg_integer(), Written :: non_neg_integer()} | {error, {atom() | binary(), binary()}}.
backup(Server, Folder, Timeout) ->
    gen_server:call(Server, {backup, Folder}, Timeout).

%%% Start

%% @private
-spec init({atom(), kv_node_options:t()}) -> {ok, #state{}} | {stop, term()}.
init({Server, Options}) ->
    process_flag(trap_exit, true),
    ok = kv_node_keeper:slow_request(Options),
    Before = kv_nodes:is_expected(Server),
    Nodes = kv_node_keeper:expect(Server, Options),
    Backoff = kv_backoff:of_options(Options),
    ok = kv_node_start:end_predecessor(Backoff, Options),
    ok = kv_backoff:wait(Backoff),
    case kv_node_start:start(Options#{server => Server}, Backoff) of
        {ok, Started} ->
            State = (state(Started, Server, Options, Backoff))#state{nodes = Nodes},
            ok = publish(State),
            {ok, State};
        {error, Reason} ->
            ok = kv_backoff:failed(Backoff),
            ok = kv_node_keeper:cannot_start(Server, Reason, Backoff),
            ok = kv_node_keeper:not_expected(Server, Before),
            {stop, Reason}
    end.

state(#{node := Node, program := Program, path := Path, ready := Ready, cookie := Cookie}, Server, Options, Backoff) ->
    #state{
        server = Server,
        node = Node,
        program = Program,
        path = Path,
        ready = Ready,
        options = Options,
        backoff = Backoff,
        since = erlang:monotonic_time(millisecond),
        connection = kv_connection:new(Node, Program, Cookie, maps:get(reconnect_timeout, Options)),
        pulse = kv_pulse:new(Server, Node, Program, Options)
    }.

publish(#state{server = Server, node = Node, options = Options, program = Program, ready = Ready} = State) ->
    ok = kv_names:allow(Server, maps:get(observer_names, Options)),
    ok = allow_frames(Node, Options),
    ok = kv_node_directory:enter(Server, Node),
    ok = greet(Node, Options),
    Facts = maps:merge(Options, Ready),
    kv_node_log:serves(kv_backoff:served(State#state.backoff), Node, kv_node_program:os_pid(Program), Facts),
    announce(State).

%% Without the option, only the program knows its limit.
allow_frames(Node, #{max_frame := MaxFrame}) when is_integer(MaxFrame) -> kv_limits:set(Node, MaxFrame);
allow_frames(_Node, _Options) -> ok.

%% Needed for each new connection, even if another process has dialled.
greet(Node, Options) ->
    ok = kv_node_start:set_socket(Node, Options),
    _ = kv_watcher:start(Node, kv_local:wanted(Options)),
    ok.

announce(#state{server = Server, node = Node, ready = #{creation := Creation}}) ->
    kv_nodes:up(Server, Node, Creation).

%%% Life

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}} | {noreply, #state{}}.
handle_call(info, From, #state{ready = Ready, program = Program, options = Options} = State) ->
    Info = Ready#{
        name := State#state.node,
        os_pid => kv_node_program:os_pid(Program),
        uptime_ms => uptime(State),
        program => unicode:characters_to_binary(State#state.path),
        attached => false,
        state => shown(State#state.connection),
        local_reads => local(State, fun kv_watcher:local/1),
        lane => local(State, fun kv_watcher:lane/1)
    },
    case maps:get(data_dir, Options) of
        undefined ->
            {reply, Info#{disk => undefined}, State};
        _Folder ->
            ok = kv_node_disk:reply(From, State#state.node, Info),
            {noreply, State}
    end;
handle_call(os_pid, _From, #state{program = Program} = State) ->
    {reply, kv_node_program:os_pid(Program), State};
handle_call({backup, Folder}, From, #state{backup = none} = State) ->
    {noreply, begin_backup(Folder, From, State)};
handle_call({backup, _Folder}, _From, State) ->
    {reply, {error, {backup_under_way, <<"the node is making another backup: wait for that one">>}}, State};
handle_call(Request, _From, State) ->
    {reply, {error, {bad_request, Request}}, State}.

begin_backup(Folder, From, #state{program = Program, backups = Number} = State) ->
    Id = integer_to_binary(Number),
    case kv_node_program:ask(Program, ["backup ", Id, " ", Folder]) of
        true ->
            State#state{backup = {From, Id}, backups = Number + 1};
        false ->
            ok = gen_server:reply(From, {error, {not_ready, <<"the program does not read what it is asked: try again">>}}),
            State
    end.

backup_ended(Id, Result, #state{backup = {From, Id}} = State) ->
    ok = gen_server:reply(From, Result),
    State#state{backup = none};
backup_ended(_Id, _Result, State) ->
    State.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info(ping, State) ->
    ping(State);
handle_info({nodedown, Node, _Info}, #state{node = Node} = State) ->
    {noreply, connection_lost(State)};
handle_info({nodeup, Node, _Info}, #state{node = Node} = State) ->
    {noreply, connection_found(State)};
handle_info({'DOWN', Greeter, process, _, Result}, #state{greeter = Greeter} = State) ->
    greeted(Result, State#state{greeter = undefined});
handle_info(dial, State) ->
    dial(State);
handle_info({still_running, Loss}, #state{connection = Connection, node = Node, options = Options} = State) ->
    _ = kv_connection:since(Connection) =:= Loss andalso
        kv_node_log:connection_lost(Node, kv_connection:patience(maps:get(reconnect_timeout, Options))),
    {noreply, State};
handle_info({'DOWN', Nodes, process, _, _}, #state{nodes = Nodes, server = Server, connection = Connection} = State) ->
    Next = State#state{nodes = kv_node_keeper:expect(Server, State#state.options)},
    ok = announce(Next),
    _ = kv_connection:is_up(Connection) orelse kv_nodes:lost(Server),
    {noreply, Next};
handle_info({'DOWN', Monitor, process, _, _}, #state{connection = Connection} = State) ->
    case kv_connection:dialled(Monitor, Connection) of
        {ok, Next} -> {noreply, State#state{connection = Next}};
        other -> {noreply, State}
    end;
handle_info({Port, Event}, #state{program = Program} = State) when is_port(Port) ->
    case kv_node_program:port(Program) of
        Port -> port_event(Event, State);
        _ -> {noreply, State}
    end;
handle_info({'EXIT', Port, Reason}, #state{program = Program} = State) when is_port(Port) ->
    case kv_node_program:port(Program) of
        %% The program has ended, and its exit status was not reported.
        Port when Reason =:= epipe -> fail(kv_node_program:exit_reason(unknown, State#state.fatal), State);
        Port when Reason =/= normal -> fail({port_closed, Reason}, State);
        _ -> {noreply, State}
    end;
handle_info(Message, #state{pulse = Pulse} = State) ->
    case kv_node_keeper:other(Message, Pulse) of
        {ok, Next} -> {noreply, State#state{pulse = Next}};
        {stop, Reason} -> {stop, Reason, State}
    end.

port_event({data, {_, Line}}, #state{connection = Connection, pulse = Pulse} = State) ->
    case kv_node_program:parse(Line) of
        {fatal, _, _} = Fatal ->
            {noreply, State#state{fatal = Fatal}};
        {pong, Text} ->
            {noreply, State#state{connection = kv_connection:pong(Text, Connection), pulse = kv_pulse:heard(Pulse)}};
        {backup, Id, Result} ->
            {noreply, backup_ended(Id, Result, State)};
        Other ->
            ok = kv_node_program:log(Other),
            {noreply, State}
    end;
port_event({exit_status, Status}, State) ->
    fail(kv_node_program:exit_reason(Status, State#state.fatal), State);
port_event(_Other, State) ->
    {noreply, State}.

%%% The connection

connection_lost(#state{server = Server, connection = Connection, pulse = Pulse} = State) ->
    case kv_connection:is_up(Connection) of
        true ->
            ok = kv_nodes:lost(Server),
            Lost = kv_connection:lost(Connection),
            _ = erlang:send_after(?EXIT_STATUS_GRACE, self(), {still_running, kv_connection:since(Lost)}),
            State#state{connection = Lost, pulse = kv_pulse:heard(Pulse)};
        false ->
            State
    end.

%% The first connection was greeted when this process started.
connection_found(#state{connection = Connection} = State) ->
    case kv_connection:is_up(Connection) of
        true -> State;
        false -> connection_back(State)
    end.

connection_back(#state{node = Node, connection = Connection} = State) ->
    {Ms, Found} = kv_connection:found(Connection),
    _ = Ms >= ?EXIT_STATUS_GRACE andalso kv_node_log:connection_back(Node, Ms),
    start_greeting(State#state{connection = Found, pulse = kv_pulse:heard(State#state.pulse)}).

%% Greeting takes a round trip, and longer with a node that hangs. So a process of its own does it. That of an earlier connection
%% may be at it still, and is not heard any more.
start_greeting(#state{node = Node, options = Options} = State) ->
    {_, Greeter} = spawn_monitor(?MODULE, run_greeting, [Node, Options]),
    State#state{greeter = Greeter}.

%% @private
-spec run_greeting(node(), kv_node_options:t()) -> no_return().
run_greeting(Node, Options) ->
    ok = greet(Node, Options),
    exit(greeted).

greeted(Result, #state{connection = Connection} = State) ->
    case {kv_connection:is_up(Connection), Result} of
        {false, _} ->
            {noreply, State};
        {true, greeted} ->
            ok = announce(State),
            {noreply, State};
        %% A purge kills a process that waits inside of kv, when code of kv has been loaded twice meanwhile.
        {true, killed} ->
            {noreply, start_greeting(State)};
        {true, Reason} ->
            {stop, Reason, State}
    end.

dial(#state{connection = Connection} = State) ->
    case kv_connection:dial(Connection) of
        {ok, Next} -> {noreply, State#state{connection = Next}};
        {error, Reason} -> fail(Reason, State)
    end.

ping(#state{pulse = Pulse, connection = Connection} = State) ->
    case kv_pulse:beat(way(Connection), Pulse) of
        {ok, Next} -> {noreply, State#state{pulse = Next, connection = kv_connection:refresh(Connection)}};
        {unresponsive, Ms} -> fail({node_unresponsive, Ms}, State)
    end.

%% A write to a program that has just ended would fail, and hide the exit status.
way(Connection) ->
    case {kv_connection:is_up(Connection), kv_connection:age(Connection)} of
        {true, _} -> connection;
        {false, Age} when Age < ?EXIT_STATUS_GRACE -> none;
        {false, _} -> leash
    end.

shown(Connection) ->
    case kv_connection:is_up(Connection) of
        true -> up;
        false -> {lost, kv_connection:age(Connection)}
    end.

local(#state{node = Node, options = Options}, Of) ->
    case kv_local:wanted(Options) of
        false -> {off, not_wanted};
        _ -> Of(Node)
    end.

uptime(#state{since = Since}) ->
    erlang:monotonic_time(millisecond) - Since.

%%% End

%% Ends this process as an exit signal ends a process that does not trap exits, without a crash report. The log line
%% says as much, and the supervisor reports the end.
-spec fail(term(), #state{}) -> {stop, term(), #state{}}.
fail(Reason, State) ->
    ok = terminate(Reason, State),
    process_flag(trap_exit, false),
    true = exit(self(), Reason),
    {stop, Reason, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, #state{server = Server, node = Node, program = Program, options = Options} = State) ->
    kv_node_stop:stop(Reason, Options, #{
        server => Server,
        node => Node,
        program => Program,
        backoff => State#state.backoff,
        totals => kv_pulse:totals(State#state.pulse),
        uptime => uptime(State)
    }).

%% @private
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(#{state := #state{} = State} = Status) ->
    #state{server = Server, node = Node, program = Program} = State,
    Status#{
        state := #{
            server => Server,
            name => Node,
            os_pid => kv_node_program:os_pid(Program),
            uptime_ms => uptime(State),
            connected => kv_connection:is_up(State#state.connection),
            unanswered_pings => kv_pulse:unanswered(State#state.pulse)
        }
    };
format_status(Status) ->
    Status.

%% @private
-spec code_change(term(), #state{}, term()) -> {ok, #state{}}.
code_change(_OldVersion, State, _Extra) ->
    {ok, State}.
