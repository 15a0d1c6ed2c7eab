%% @doc What durable stores write for what is put, and how long they take to start with a million entries.
%%
%% All files are in the page cache: what is measured is the work of the store, and not the disk.
-module(kv_bench_recovery).

-export([run/1]).

-include("kv_bench.hrl").

-define(NODE, kv_bench_recovery_node).
-define(VALUE_BYTES, 100).
-define(ENTRY_BYTES, 120).
%% Entries of one put_many: of the fill, and of the row about bytes.
-define(CHUNK, 1000).
-define(COMMIT, 100).
-define(COMMITS, 12000).
%% Keys that are put at random.
-define(RANDOM, 100000).
-define(CALL_TIMEOUT, 120000).
-define(TABLE, kv_bench_recovery_table).
%% Of the entries: DETS takes 30 seconds to repair a million.
-define(DETS_PART, 10).
-define(ROUNDS_MAX, 2).
-define(POLL_MS, 2).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{rounds := Rounds, entries := Entries, quick := Quick}) ->
    ok = kv_bench_load:prepare(?VALUE_BYTES),
    Times = min(Rounds, ?ROUNDS_MAX),
    io:format("~ndurable: bytes written, and starts with ~b entries~n", [Entries]),
    written(Quick) ++ kv(Entries, Times) ++ redis(Entries, Times) ++ mnesia(Entries, Times) ++ dets(Entries div ?DETS_PART, Times).

%%% Bytes

%% /proc counts all that the process has let the disk write, files written ahead included.
written(Quick) ->
    Folder = kv_bench_stores:folder("written"),
    {Node, OsPid} = kv_bench_stores:node(?NODE, Folder),
    #{put_many := PutMany} = Bucket = kv_bench_stores:bucket(kv_commit, ?NODE, OsPid),
    Commits = case Quick of true -> ?COMMITS div 10; false -> ?COMMITS end,
    Put = fun() -> [PutMany(1, entries([rand:uniform(?RANDOM) || _ <- lists:seq(1, ?COMMIT)])) || _ <- lists:seq(1, Commits)] end,
    %% The first files are new; later ones were files before.
    _ = Put(),
    Before = written_by(OsPid),
    _ = Put(),
    Ratio = (written_by(OsPid) - Before) / (Commits * ?COMMIT * ?ENTRY_BYTES),
    ok = kv_bench_contender:stop(Bucket),
    ok = stop(Node, OsPid),
    ok = file:del_dir_r(Folder),
    io:format("  ~.2f bytes written for each byte put, ~b puts a commit~n", [Ratio, ?COMMIT]),
    [#row{part = durable, operation = written, callers = ?COMMIT, bytes = ?VALUE_BYTES, contender = kv_commit, metric = bytes_per_byte, value = Ratio}].

written_by(OsPid) ->
    {ok, Text} = file:read_file(lists:concat(["/proc/", OsPid, "/io"])),
    {match, [Bytes]} = re:run(Text, "write_bytes: ([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Bytes).

%%% Starts

kv(Entries, Times) ->
    Folder = kv_bench_stores:folder("recovery_kv"),
    {Node, OsPid} = kv_bench_stores:node(?NODE, Folder),
    #{put_many := PutMany} = kv_bench_stores:bucket(kv_commit, ?NODE, OsPid),
    ok = fill(fun(Chunk) -> PutMany(1, Chunk) end, Entries),
    ok = stop(Node, OsPid),
    Rows = [row(kv_commit, Round, Entries, start_kv(Folder)) || Round <- lists:seq(1, Times)],
    ok = file:del_dir_r(Folder),
    Rows.

start_kv(Folder) ->
    Began = now_ns(),
    {Node, OsPid} = kv_bench_stores:node(?NODE, Folder),
    #{get := Get} = kv_bench_stores:bucket(kv_commit, ?NODE, OsPid),
    true = is_binary(Get(1, kv_bench_load:key(1))),
    Ns = now_ns() - Began,
    ok = stop(Node, OsPid),
    Ns.

%% The bucket ends with its node: this process is linked to it.
stop(Node, OsPid) ->
    Bucket = whereis(kv_commit),
    _ = Bucket =:= undefined orelse kv_bucket:stop(Bucket),
    ok = gen_server:stop(Node),
    kv_bench_os:await_end(OsPid).

%% The same entries as a log of commands, and as a dump.
redis(Entries, Times) ->
    Folder = kv_bench_stores:folder("recovery_redis"),
    Aof = ["--dir", Folder, "--save", "", "--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"],
    Rdb = ["--dir", Folder, "--save", "", "--appendonly", "no"],
    #{open := Open} = Filled = kv_bench_stores:redis(redis_aof, 1, Aof),
    Client = Open(1),
    ok = fill(fun(Chunk) -> eredis:qp(Client, [[<<"SET">>, Key, Value] || {Key, Value} <- Chunk], ?CALL_TIMEOUT) end, Entries),
    {ok, <<"OK">>} = eredis:q(Client, [<<"SAVE">>], ?CALL_TIMEOUT),
    ok = kv_bench_contender:stop(Filled),
    Rows = [
        row(Name, Round, Entries, start_redis(Name, Arguments, Entries))
     || {Name, Arguments, Rounds} <- [{redis_rdb, Rdb, Times}, {redis_aof, Aof, 1}], Round <- lists:seq(1, Rounds)
    ],
    ok = file:del_dir_r(Folder),
    Rows.

start_redis(Name, Arguments, Entries) ->
    Began = now_ns(),
    #{open := Open} = Redis = kv_bench_stores:redis(Name, 1, Arguments),
    ok = until_loaded(Open(1), integer_to_binary(Entries)),
    Ns = now_ns() - Began,
    ok = kv_bench_contender:stop(Redis),
    Ns.

until_loaded(Client, Entries) ->
    case eredis:q(Client, [<<"DBSIZE">>], ?CALL_TIMEOUT) of
        {ok, Entries} ->
            ok;
        {error, <<"LOADING", _/binary>>} ->
            timer:sleep(?POLL_MS),
            until_loaded(Client, Entries)
    end.

mnesia(Entries, Times) ->
    Folder = kv_bench_stores:folder("recovery_mnesia"),
    _ = application:load(mnesia),
    ok = application:set_env(mnesia, dir, Folder),
    %% Dumped once, at the end.
    ok = application:set_env(mnesia, dump_log_write_threshold, 2 * Entries),
    ok = mnesia:create_schema([node()]),
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(?TABLE, [{disc_copies, [node()]}]),
    ok = fill(fun(Chunk) -> [ok = mnesia:dirty_write({?TABLE, Key, Value}) || {Key, Value} <- Chunk] end, Entries),
    dumped = mnesia:dump_log(),
    stopped = mnesia:stop(),
    Rows = [row(mnesia, Round, Entries, start_mnesia(Entries)) || Round <- lists:seq(1, Times)],
    ok = application:unload(mnesia),
    ok = file:del_dir_r(Folder),
    Rows.

start_mnesia(Entries) ->
    Began = now_ns(),
    ok = mnesia:start(),
    ok = mnesia:wait_for_tables([?TABLE], ?CALL_TIMEOUT),
    Ns = now_ns() - Began,
    Entries = mnesia:table_info(?TABLE, size),
    stopped = mnesia:stop(),
    Ns.

dets(Entries, Times) ->
    Folder = kv_bench_stores:folder("recovery_dets"),
    File = {file, filename:join(Folder, "dets")},
    {ok, ?TABLE} = dets:open_file(?TABLE, [File]),
    ok = fill(fun(Chunk) -> ok = dets:insert(?TABLE, Chunk) end, Entries),
    ok = dets:close(?TABLE),
    Rows = [row(dets, Round, Entries, repair(File)) || Round <- lists:seq(1, Times)],
    ok = file:del_dir_r(Folder),
    Rows.

%% As after a crash.
repair(File) ->
    Began = now_ns(),
    {ok, ?TABLE} = dets:open_file(?TABLE, [File, {repair, force}]),
    Ns = now_ns() - Began,
    ok = dets:close(?TABLE),
    Ns.

%%% Entries

fill(Put, Entries) ->
    lists:foreach(fun(First) -> Put(entries(lists:seq(First, min(First + ?CHUNK - 1, Entries)))) end, lists:seq(1, Entries, ?CHUNK)).

entries(Numbers) ->
    [{kv_bench_load:key(Number), kv_bench_load:value()} || Number <- Numbers].

row(Name, Round, Entries, Ns) ->
    Rate = Entries * 1.0e9 / Ns,
    io:format("  ~b ~-28ts ~10b entries/s: ~b in ~b ms~n", [Round, kv_bench_contender:title(Name), round(Rate), Entries, round(Ns / 1.0e6)]),
    #row{part = durable, operation = recovery, bytes = ?VALUE_BYTES, contender = Name, round = Round, value = Rate}.

now_ns() ->
    erlang:monotonic_time(nanosecond).
