%% @doc Contenders that keep their entries on disk, each in a folder of its own, and the volatile bucket beside them.
-module(kv_bench_stores).

-export([names/0, title/1, folder/1, start/2, node/2, node/3, bucket/3, redis/3, mnesia/1]).

-include("kv_bench.hrl").

%% Writes after which Mnesia dumps its log.
-define(MNESIA_DUMPED, 100000).
-define(CALL_TIMEOUT, 60000).
-define(LOOPBACK, "127.0.0.1").
-define(POOL, 4).
-define(TABLE, kv_bench_table).

%% @doc All that a table of the report may have, in its order.
-spec names() -> [kv_bench_contender:name()].
names() ->
    [raw, kv_volatile, kv_commit, kv_interval, kv_before, redis_always, redis_always_pool, redis_everysec, redis_everysec_pool] ++
        [redis_rdb, redis_aof, sqlite, mnesia, mnesia_sync, dets, bitcask, bitcask_sync, control].

-spec title(kv_bench_contender:name()) -> string().
title(raw) -> "the disk alone";
title(kv_volatile) -> "kv, volatile";
title(kv_commit) -> "kv, durable: :commit";
title(kv_interval) -> "kv, durable: :interval";
title(kv_before) -> "kv, the program BEFORE";
title(redis_always) -> "Redis, always";
title(redis_always_pool) -> "Redis, always, pool of 4";
title(redis_everysec) -> "Redis, everysec";
title(redis_everysec_pool) -> "Redis, everysec, pool of 4";
title(redis_rdb) -> "Redis, RDB";
title(redis_aof) -> "Redis, AOF";
title(sqlite) -> "SQLite, WAL, FULL";
title(mnesia) -> "Mnesia, disc_copies";
title(mnesia_sync) -> "Mnesia, sync_log";
title(dets) -> "DETS, sync";
title(bitcask) -> "Bitcask";
title(bitcask_sync) -> "Bitcask, sync";
title(control) -> "control".

%% @doc A new folder inside of DURABLE_DIR, by default /var/tmp: a file system that is no memory.
-spec folder(string()) -> file:filename().
folder(Name) ->
    Parent = os:getenv("DURABLE_DIR", "/var/tmp"),
    Folder = filename:join(Parent, lists:concat(["kv_bench_", os:getpid(), "_", Name, "_", erlang:unique_integer([positive])])),
    ok = filelib:ensure_dir(filename:join(Folder, "file")),
    Folder.

%% @doc Starts one; the folder belongs to it alone. The buckets of kv belong to a node that runs: see node/2.
-spec start(kv_bench_contender:name(), file:filename()) -> kv_bench_contender:t().
start(redis_always, Folder) -> redis(redis_always, 1, aof(Folder, "always"));
start(redis_always_pool, Folder) -> redis(redis_always_pool, ?POOL, aof(Folder, "always"));
start(redis_everysec, Folder) -> redis(redis_everysec, 1, aof(Folder, "everysec"));
start(redis_everysec_pool, Folder) -> redis(redis_everysec_pool, ?POOL, aof(Folder, "everysec"));
start(dets, Folder) ->
    {ok, ?TABLE} = dets:open_file(?TABLE, [{file, filename:join(Folder, "dets")}]),
    Put = fun(_, Key, Value) ->
        ok = dets:insert(?TABLE, {Key, Value}),
        ok = dets:sync(?TABLE)
    end,
    local(dets, Put, fun(_, Key) -> ets_value(dets:lookup(?TABLE, Key)) end, fun() -> dets:close(?TABLE) end);
start(bitcask, Folder) -> bitcask(bitcask, Folder, fun(_) -> ok end);
start(bitcask_sync, Folder) -> bitcask(bitcask_sync, Folder, fun(Ref) -> bitcask:sync(Ref) end).

aof(Folder, Sync) ->
    ["--dir", Folder, "--save", "", "--appendonly", "yes", "--appendfsync", Sync, "--auto-aof-rewrite-percentage", "0"].

-spec redis(kv_bench_contender:name(), pos_integer(), [string()]) -> kv_bench_contender:t().
redis(Name, Clients, Arguments) ->
    kv_bench_contender:redis(Name, Clients, Arguments).

local(Name, Put, Get, End) ->
    kv_bench_contender:contender(Name, undefined, #{put => Put, get => Get}, End).

%%% kv

%% @doc A node of this name with a data_dir. Returns its process and the process of the system.
-spec node(atom(), file:filename()) -> {pid(), pos_integer()}.
node(Name, Folder) ->
    node(Name, Folder, []).

%% @doc The same with more options.
-spec node(atom(), file:filename(), [kv_node:option()]) -> {pid(), pos_integer()}.
node(Name, Folder, More) ->
    NodeName = list_to_atom(kv_bench_contender:alive(Name) ++ "@" ++ ?LOOPBACK),
    {ok, Node} = kv_node:start_link(Name, [{node_name, NodeName}, {data_dir, Folder}, {start_timeout, ?CALL_TIMEOUT} | More]),
    {Node, kv_node:os_pid(Name)}.

%% @doc A bucket of that node with the policy of its name; or false, if this kv knows no such policy. All have a name, since
%% durable ones must.
-spec bucket(kv_bench_contender:name(), atom(), pos_integer()) -> kv_bench_contender:t() | false.
bucket(Name, Node, OsPid) ->
    case kv_bucket:start_link([{name, Name}, {node, Node} | policy(Name)]) of
        {ok, Bucket} -> kv_bench_contender:contender(Name, OsPid, operations(Bucket), fun() -> kv_bucket:destroy(Bucket, ?CALL_TIMEOUT) end);
        {error, {bad_option, durable, _Text}} -> false
    end.

policy(kv_commit) -> [{durable, commit}];
policy(kv_interval) -> [{durable, interval}];
policy(_) -> [].

operations(Bucket) ->
    #{
        get => fun(_, Key) -> 'Elixir.KV.Bucket':get(Bucket, Key) end,
        put => fun(_, Key, Value) -> ok = 'Elixir.KV.Bucket':put(Bucket, Key, Value) end,
        put_many => fun(_, Entries) -> ok = kv_bucket:put_many(Bucket, Entries, ?CALL_TIMEOUT) end
    }.

%%% Stores of this VM

ets_value([{_, Value}]) -> Value;
ets_value([]) -> nil.

%% @doc Mnesia with one table of kind disc_copies, and two contenders: of the second, each transaction ends with sync_log.
-spec mnesia(file:filename()) -> [kv_bench_contender:t()].
mnesia(Folder) ->
    ok = application:load(mnesia),
    ok = application:set_env(mnesia, dir, Folder),
    %% With the default of 1000, Mnesia is overloaded with dumps all the time, and says so in hundreds of warnings.
    ok = application:set_env(mnesia, dump_log_write_threshold, ?MNESIA_DUMPED),
    ok = mnesia:create_schema([node()]),
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(?TABLE, [{disc_copies, [node()]}]),
    Put = fun(_, Key, Value) -> {atomic, ok} = mnesia:transaction(fun() -> mnesia:write({?TABLE, Key, Value}) end) end,
    Get = fun(_, Key) -> mnesia_value(mnesia:dirty_read(?TABLE, Key)) end,
    Synced = fun(State, Key, Value) ->
        {atomic, ok} = Put(State, Key, Value),
        ok = mnesia:sync_log()
    end,
    [local(mnesia, Put, Get, fun() -> ok end), local(mnesia_sync, Synced, Get, fun end_mnesia/0)].

mnesia_value([{_, _, Value}]) -> Value;
mnesia_value([]) -> nil.

end_mnesia() ->
    stopped = mnesia:stop(),
    application:unload(mnesia).

%% One process may write, and it keeps the state.
bitcask(Name, Folder, Sync) ->
    Parent = self(),
    Pid = spawn_link(fun() ->
        Ref = bitcask:open(Folder, [read_write]),
        Parent ! {self(), open},
        serve_bitcask(Ref, Sync)
    end),
    receive
        {Pid, open} -> ok
    end,
    local(Name, fun(_, Key, Value) -> ask(Pid, {put, Key, Value}) end, fun(_, Key) -> ask(Pid, {get, Key}) end, fun() -> ask(Pid, stop) end).

serve_bitcask(Ref, Sync) ->
    receive
        {From, {put, Key, Value}} ->
            ok = bitcask:put(Ref, Key, Value),
            From ! {self(), Sync(Ref)},
            serve_bitcask(Ref, Sync);
        {From, {get, Key}} ->
            {ok, Value} = bitcask:get(Ref, Key),
            From ! {self(), Value},
            serve_bitcask(Ref, Sync);
        {From, stop} ->
            From ! {self(), bitcask:close(Ref)}
    end.

ask(Pid, Request) ->
    Pid ! {self(), Request},
    receive
        {Pid, Answer} -> Answer
    end.
