%% @doc The options of {@link kv_node}: one table, from which everything else about them is made.
%%
%% The table makes the defaults, the checks, the flags for the C program, the documentation of {@link kv_node} and of
%% `KV.Node', and docs/options.md ({@link kv_node_options_text}). To add an option, add a row here and, if the C program has it, a row to c_src/node/option_rows.c; then run `make options'. A test holds all of
%% these together.
%% @private
-module(kv_node_options).

-export([table/0, keys/0, validate/1, check/1, for_program/2]).

-export_type([t/0, row/0, type/0, default/0]).

-type t() :: #{atom() => term()}.
-type row() :: {Key :: atom(), flag(), type(), default(), Since :: string(), Text :: string()}.
%% The option of the C program; `none' for an option that concerns this VM only.
-type flag() :: string() | none.
-type type() ::
    boolean
    | text
    | node_name
    | {integer, Unit :: string(), Least :: non_neg_integer(), Most :: pos_integer()}
    | {one_of, [atom()]}.
%% A value. `{program, Value}': left to the C program, which has this value. `undefined': worked out when the node starts, as
%% the text says. With the last two, a user may give `undefined', too.
-type default() :: term() | {program, term()} | undefined.

%% The longest time that a timer of Erlang takes, in milliseconds.
-define(MAX_TIME, 16#FFFFFFFF).
-define(MIB(N), ((N) bsl 20)).

%% @doc The table. In a text, an atom is between single quotes, and code is between backquotes as in Markdown.
-spec table() -> [row()].
table() ->
    of_this_vm() ++ of_disk() ++ of_messages() ++ of_peers() ++ of_speed() ++ of_releases().

of_this_vm() ->
    [
        {attach, none, node_name, undefined, "0.2.0",
            "Use the C node of this name, which somebody else has started, as by systemd: see docs/attach.md. This VM starts, kills "
            "and restarts no program then, and connects again whenever the node was away. It needs a name of its own. Options of the "
            "program are refused. Default: this VM starts a program."},
        {program, none, text, undefined, "0.1.0",
            "Path of the C program. Default: `kv_node` in the priv directory of the application kv."},
        {node_name, none, node_name, undefined, "0.1.0",
            "Name of the C node, in ASCII. Default: `kv_foo@host` in a VM that is distributed as `foo@host`, shortened if "
            "it would have more than 255 characters. Where kv starts distribution itself, `kv_R@127.0.0.1`. R is "
            "random, and stays the same for the life of the VM."},
        {distribute, none, boolean, true, "0.1.0",
            "Start distribution, and EPMD, if the VM is not distributed. If false, starting the node in such a VM fails "
            "with 'not_alive'."},
        {epmd, none, boolean, true, "0.2.0",
            "If false, the program does not register with EPMD, and listens at the port at which this VM dials every node: the VM "
            "needs `-erl_epmd_port`. kv starts no EPMD then. See docs/standalone.md."},
        {start_timeout, none, milliseconds(1, ?MAX_TIME), 10000, "0.1.0",
            "How long the program may take to get ready. Buckets and registries that are started meanwhile wait as long. While "
            "the program reads durable buckets from disk, each sign of progress starts the time again."},
        {ping_interval, none, milliseconds(1, ?MAX_TIME), 1000, "0.1.0",
            "Time between two questions to the program whether it still answers."},
        {ping_timeout, none, milliseconds(1, ?MAX_TIME), 5000, "0.1.0",
            "A program that has not answered for this long is killed."},
        {stop_timeout, none, milliseconds(1, ?MAX_TIME), 2000, "0.1.0",
            "How long the program may take to stop after its standard input has ended. After that it gets SIGKILL."},
        {reconnect_timeout, "reconnect-timeout", milliseconds(0, 1 bsl 31), 60000, "0.1.0",
            "If the connection to the program is lost, dial again for this long. The program keeps its buckets meanwhile. "
            "After that, start a new, empty program. 0 starts a new one at once."},
        {local, none, {one_of, [false, reads, all]}, false, "0.2.0",
            "Let this VM use buckets of the node through shared memory. 'reads': reads take no call. 'all': other requests take no "
            "message either, while the node is busy with them. Loads a NIF: see docs/local.md."},
        {local_reads, none, boolean, false, "0.1.0", "`true` means the same as `local` with 'reads'."},
        {observer_names, none, {integer, "atoms", 0, 100000}, 1000, "0.1.0",
            "How many atoms kv may create in this VM so that Observer shows proxies by the names of their buckets. From "
            "OTP 27 on no atom is needed, and every proxy is shown by its name."},
        {slow_request, none, milliseconds(0, ?MAX_TIME), undefined, "0.2.0",
            "Each call of this VM to a bucket that takes longer executes the event `[kv, request, slow]` of the library "
            "`telemetry`: see docs/telemetry.md. Set in the VM when the node starts. Default: as it was, which is off at first."},
        {log_level, "log-level", {one_of, [debug, info, notice, warning, error]}, notice, "0.1.0",
            "The program writes no log lines below this level."}
    ].

of_disk() ->
    [
        {data_dir, "data-dir", text, undefined, "0.1.0",
            "Folder for the durable buckets of the node: see docs/durability.md. The program makes the folder if it is missing. "
            "One folder belongs to one node. Without it, starting a durable bucket fails with 'no_data_dir'. A relative path "
            "starts at the working directory of the VM. No default."},
        {checkpoint_log, "checkpoint-log", bytes(?MIB(1), 1 bsl 40), {program, ?MIB(64)}, "0.1.0",
            "The node writes a checkpoint of its durable buckets when the log since the last one is longer than this, and "
            "longer than one and a half times that one. Less log makes a start faster, and writes more."},
        {backup_dir, "backup-dir", text, undefined, "0.1.0",
            "Folder in which other nodes may make backups of the durable buckets, by a message with a plain name: see "
            "docs/durability.md. It must exist. A relative path starts at the working directory of the VM. No default: only this "
            "VM may make backups."}
    ].

of_messages() ->
    [
        {max_memory, "max-memory", bytes(?MIB(1), 1 bsl 43), undefined, "0.1.0",
            "Memory of all buckets together. A put that would exceed the limit fails with 'enomem', unless its bucket "
            "evicts other entries. Default: three quarters of the memory of the machine, or of the least limit of a control "
            "group of the program (cgroup v1 and v2), as in a container."},
        {max_frame, "max-frame", bytes(kv_limits:least(), 16#7FFFFFFF), {program, ?MIB(128)}, "0.1.0",
            "Size of the largest message. A larger request fails with 'too_large'."},
        {max_depth, "max-depth", {integer, "levels", 16, 1 bsl 24}, {program, 1 bsl 20}, "0.1.0",
            "How deep terms may be nested. A request with a term that is nested deeper fails with 'too_deep'."},
        {max_pending, "max-pending", bytes(?MIB(1), 1 bsl 40), {program, 1 bsl 30}, "0.1.0",
            "Memory for the messages of one peer that have arrived in part. A request beyond it fails with "
            "'too_much_pending'."}
    ].

of_peers() ->
    [
        {max_peers, "max-peers", {integer, "nodes", 1, 65536}, {program, 1024}, "0.1.0",
            "Number of nodes that may be connected at once. One place is kept for this VM."},
        {max_queue, "max-queue", bytes(?MIB(1), 1 bsl 40), {program, ?MIB(512)}, "0.1.0",
            "Output that may wait for a peer. A peer beyond it that reads nothing for four seconds, or falls behind by as "
            "much again, is disconnected."},
        {ticktime, "ticktime", {integer, "seconds", 1, 86400}, 60, "0.1.0",
            "A peer that is silent for this long is disconnected."},
        {handshake_timeout, "handshake-timeout", milliseconds(10, 600000), {program, 7000}, "0.1.0",
            "Time for a whole handshake."},
        {bind, "bind", text, undefined, "0.1.0",
            "Address to listen on. Default: the address that the host part of the node name resolves to."},
        {port, "port", {integer, "", 0, 65535}, {program, 0}, "0.1.0", "TCP port to listen on. 0 is any free port."},
        {cores, "cores", boolean, false, "0.1.0",
            "With `true` a crash of the program may write a core file, as far as its limit (`ulimit -c`) allows one. A core holds "
            "all values. The cookie is in none."},
        {seccomp, "seccomp", boolean, false, "0.2.0",
            "With `true` the program makes only the system calls that a node needs, by a filter of the kernel. Another call fails "
            "with EPERM, and a line of the log names it: see docs/operating.md. Needs Linux, and libseccomp."}
    ].

of_speed() ->
    [
        {delay_send, none, boolean, true, "0.1.0",
            "Batch small writes to the node (`delay_send` of `inet`), and read with a buffer of 128 KiB. Many callers get "
            "up to twice as much done, and a single caller loses nothing. Only the connection to this node is affected."},
        {follow, "follow", boolean, true, "0.1.0",
            "If the program may use just two processors, run it on the one that callers of this host send from while 8 or "
            "more processes are calling. The callers get the other one."},
        {gather, "gather", microseconds(0, 1000), {program, 75}, "0.1.0",
            "While 8 or more processes are calling, wait this long before the next read, so that the program answers them "
            "together. A program that follows its callers never waits. 0 turns waiting off."},
        {spin, "spin", microseconds(0, 1000), {program, 200}, "0.1.0",
            "While fewer than 8 processes are calling, and so fast that a message is likely to come soon, look for the next "
            "message for up to this long before sleeping. A lone caller gets its answer in less than half the time, and "
            "the node uses processor time meanwhile. On one processor the program never does so. 0 turns it off."}
    ].

of_releases() ->
    [
        {zeros, "zeros", {one_of, [differ, same]}, undefined, "0.1.0",
            "Makes `0.0` and `-0.0` one key or two. Default: as in this VM, 'same' up to OTP 26 and 'differ' from OTP 27 on."},
        {get_state, "get-state", {one_of, [bare, tagged]}, undefined, "0.1.0",
            "How a native process answers `get_state` of `sys`: with the state, or with a tuple of 'ok' and the state. "
            "Default: as this VM expects the answer."}
    ].

milliseconds(Least, Most) -> {integer, "milliseconds", Least, Most}.

microseconds(Least, Most) -> {integer, "microseconds", Least, Most}.

bytes(Least, Most) -> {integer, "bytes", Least, Most}.

%% @doc The options that a user sets.
-spec keys() -> [atom()].
keys() ->
    [Key || {Key, _, _, _, _, _} <- table()].

%% The supervisor of kv adds these two.
internal() ->
    #{backoff => undefined, event_manager => undefined}.

defaults() ->
    maps:merge(internal(), maps:from_list([{Key, default(Default)} || {Key, _, _, Default, _, _} <- table()])).

default({program, _Value}) -> undefined;
default(Value) -> Value.

%% @doc Returns the options with defaults filled in, or the first one that is wrong.
-spec validate(term()) -> {ok, t()} | {error, kv_options:error()}.
validate(Options) ->
    case kv_options:check(Options, fun verdict/2, keys()) of
        {ok, Given} -> with_defaults(together(Given));
        {error, Reason} -> {error, Reason}
    end.

with_defaults({ok, Given}) -> {ok, maps:merge(defaults(), Given)};
with_defaults(Error) -> Error.

%% @doc Checks the options that a user has set, among which those of the supervisor must not be.
-spec check(term()) -> ok | {error, kv_options:error()}.
check(Options) ->
    case kv_options:check(Options, fun users_verdict/2, keys()) of
        {ok, Given} -> without_value(together(Given));
        {error, Reason} -> {error, Reason}
    end.

together(Given) ->
    case kv_attach:together(Given, keys()) of
        {ok, #{epmd := false}} -> without_epmd(kv_epmd:port_of_all(), Given);
        Result -> Result
    end.

%% This VM must find the node, too. With a module of its own (`-epmd_module') it may do so in another way.
without_epmd(none, Given) ->
    case {net_kernel:epmd_module(), Given} of
        {erl_epmd, _} -> no_way("this VM asks EPMD for the ports of other nodes: start it with -erl_epmd_port, and a port");
        {_, #{port := Port}} when is_integer(Port), Port > 0 -> {ok, Given};
        _ -> no_way("the program needs a port of your choice: set the option port")
    end;
without_epmd(Port, Given) ->
    case Given of
        #{port := Other} when is_integer(Other), Other > 0, Other =/= Port ->
            Text = "this VM dials every node at port ~b (-erl_epmd_port): leave out the option port, which is ~b",
            no_way(io_lib:format(Text, [Port, Other]));
        #{} ->
            {ok, Given#{port => Port}}
    end.

no_way(Why) ->
    {error, {bad_option, epmd, unicode:characters_to_binary(["epmd is false, and ", Why])}}.

without_value({ok, _Given}) -> ok;
without_value(Error) -> Error.

verdict(backoff, Backoff) -> is(Backoff =:= undefined orelse is_reference(Backoff), "a backoff of kv_sup");
verdict(event_manager, Name) -> is(is_atom(Name), "a local name");
verdict(Key, Value) -> users_verdict(Key, Value).

users_verdict(Key, Value) ->
    case lists:keyfind(Key, 1, table()) of
        {Key, _, Type, Default, _, _} ->
            Good = is_of(Type, Value) orelse (Value =:= undefined andalso default(Default) =:= undefined),
            is(Good, kv_node_options_text:wanted(Type));
        false ->
            unknown
    end.

is(true, _Wanted) -> true;
is(false, Wanted) -> {wanted, Wanted}.

is_of(boolean, Value) -> is_boolean(Value);
is_of(text, Value) -> is_text(Value);
is_of(node_name, Value) -> is_atom(Value) andalso kv_node_name:is_valid(Value);
is_of({integer, _, Least, Most}, Value) -> is_integer(Value) andalso Value >= Least andalso Value =< Most;
is_of({one_of, Words}, Value) -> lists:member(Value, Words).

%% A text goes to the program as part of one line.
is_text(Value) ->
    try unicode:characters_to_list(Value) of
        [_ | _] = Text -> not lists:any(fun(Char) -> Char < 32 end, Text);
        _ -> false
    catch
        error:badarg -> false
    end.

%% @doc The lines of options that the program reads from its standard input.
-spec for_program(node(), t()) -> iolist().
for_program(Name, Options) ->
    [
        line("name", Name),
        line("vm", node()),
        line("epmd-port", kv_epmd:port()),
        [<<"--no-epmd\n">> || #{epmd := false} <- [Options]]
        | [
            line(Flag, Value)
         || {Key, Flag, _, _, _, _} <- table(), Flag =/= none, Value <- [value(Key, Options)], Value =/= undefined
        ]
    ].

%% The program cannot know what this release of OTP expects.
value(Key, Options) ->
    case Options of
        #{Key := undefined} when Key =:= zeros -> kv_release:zeros();
        #{Key := undefined} when Key =:= get_state -> kv_release:get_state();
        #{Key := Value} when Key =:= data_dir orelse Key =:= backup_dir, Value =/= undefined -> filename:absname(Value);
        #{Key := Value} -> Value
    end.

line(Flag, Value) ->
    ["--", Flag, "=", text(Value), "\n"].

text(Value) when is_integer(Value) -> integer_to_binary(Value);
text(Value) when is_atom(Value) -> atom_to_binary(Value);
text(Value) -> unicode:characters_to_binary(Value).
