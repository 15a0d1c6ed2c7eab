%% @doc Durable buckets, as far as this VM has to do with them: the identity of a bucket on disk, the sentences about what
%% cannot be, and the end of a bucket or a registry together with its entries.
%% @private
-module(kv_durable).

-export([is_policy/1, policies/0, is_place/1, native/1, options/0, nameless/2, no_reads/0, reason/2, destroy/4]).

-type place() :: {Registry :: binary(), Name :: binary()}.

-spec is_policy(term()) -> boolean().
is_policy(Policy) -> lists:member(Policy, [false, commit, interval]).

%% @doc Returns the policies in words.
-spec policies() -> string().
policies() -> "false, commit or interval".

-spec is_place(term()) -> boolean().
is_place({Registry, Name}) -> is_binary(Registry) andalso is_binary(Name);
is_place(_Other) -> false.

%% @doc Returns the options of the native process about the disk. The second one is its identity in the folder: the name of its
%% registry, which is empty for a registry, and for a bucket without one; and its own name. A process that is not durable has it,
%% too, so that it does not hide a durable one.
-spec native(map()) -> [{durable, commit | interval} | {store, place()}].
native(#{store := Place} = Valid) ->
    policy(Valid) ++ [{store, Place}];
native(Valid) ->
    policy(Valid) ++ identity(kv_start_options:name(Valid)).

policy(#{durable := Policy}) when Policy =/= false -> [{durable, Policy}];
policy(#{}) -> [].

identity({local, Name}) when Name =/= '' -> [{store, {<<>>, atom_to_binary(Name)}}];
identity(_Name) -> [].

%% @doc Returns the defaults of the options of a bucket. A native process that is attached keeps those that it is not given; the
%% options of a start in a tree are all that count.
-spec options() -> #{atom() => term()}.
options() ->
    #{
        max_memory => infinity,
        max_entries => infinity,
        ttl => infinity,
        evict => none,
        touch_on_read => false,
        reads => durable
    }.

%% @doc Returns the sentence for a name under which nothing can be found again.
-spec nameless(kv_proxy:kind(), kv_proxy:name()) -> binary().
nameless(bucket, undefined) ->
    <<"a durable bucket needs a name, by which its entries are found again; give a name that is an atom">>;
nameless(registry, undefined) ->
    <<"a durable registry needs a name, by which its names are found again; give a name that is an atom">>;
nameless(Kind, {local, ''}) ->
    <<"the name of a durable ", (atom_to_binary(Kind))/binary, " must not be empty">>;
nameless(Kind, Name) ->
    Wanted = "an atom, since no other name is sure to mean the same " ++ atom_to_list(Kind) ++ " after a restart",
    kv_options:wrong("the name of a durable " ++ atom_to_list(Kind), Wanted, Name).

%% @doc Returns the sentence for the option `reads' of a bucket in memory.
-spec no_reads() -> binary().
no_reads() ->
    <<"reads: latest is for a durable bucket; give the option durable, or leave reads out, since reads of a bucket in memory never wait">>.

%% @doc Returns the reason for users, from that of a native process that did not start.
-spec reason(term(), atom()) -> term().
reason({no_data_dir, _Text}, Server) -> {no_data_dir, no_data_dir(Server)};
reason({is_durable, Text}, _Server) -> {bad_option, durable, Text};
%% All other options may change.
reason({cannot_change, Text}, _Server) -> {bad_option, evict, Text};
reason(Reason, _Server) -> Reason.

no_data_dir(Server) ->
    Text = [
        kv_text:atom(Server), " has no folder for durable buckets: give it one with its option data_dir, as in "
        "config :kv, data_dir: \"/var/lib/my_app/kv\", or {data_dir, \"/var/lib/my_app/kv\"} in the environment of kv. If this "
        "VM is attached to the node, start its program with --data-dir instead"
    ],
    unicode:characters_to_binary(Text).

%% @doc See {@link kv_bucket:destroy/2} and {@link kv_registry:destroy/2}. Ask sends the request; Call is for the reason of an exit. The
%% native process ends behind its answer, and its proxy with it.
-spec destroy(gen_server:server_ref(), fun(() -> ok | {error, term()}), {module(), atom(), [term()]}, timeout()) ->
    ok | {error, term()}.
destroy(Server, Ask, Call, Timeout) ->
    Monitor = erlang:monitor(process, monitored(Server)),
    try Ask() of
        ok -> await_end(Monitor, Call, Timeout);
        {error, Reason} -> {error, Reason}
    after
        erlang:demonitor(Monitor, [flush])
    end.

await_end(Monitor, Call, Timeout) ->
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    after Timeout -> exit({timeout, Call})
    end.

monitored({global, Name}) -> there(global:whereis_name(Name));
monitored({via, Module, Name}) -> there(Module:whereis_name(Name));
monitored({Name, Node}) when is_atom(Name), is_atom(Node) -> {Name, Node};
monitored(Bucket) when is_pid(Bucket); is_atom(Bucket) -> Bucket;
monitored(_NoProcess) -> undefined.

%% The call says that there is no such process.
there(Pid) when is_pid(Pid) -> Pid;
there(_Nobody) -> undefined.
