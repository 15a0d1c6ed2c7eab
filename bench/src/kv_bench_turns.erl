%% @doc The longest turn of the node's loop while a checkpoint is written, and beside it that of the same puts without one.
%%
%% Times are processor time, taken by the library c/turns.c, so that other work of the machine counts little.
-module(kv_bench_turns).

-export([run/1]).

-include("kv_bench.hrl").

-define(NODE, kv_bench_turns_node).
-define(VALUE_BYTES, 1000).
-define(CHUNK, 100).
%% Puts of all entries until a checkpoint must have ended.
-define(PASSES_MAX, 4).
-define(HEADER, 16).

%% @doc Entries of a kilobyte, so that a million of them are a gigabyte. Says if no checkpoint came.
-spec run(kv_bench:settings()) -> [kv_bench:row()] | none.
run(#{entries := Entries}) ->
    io:format("~ndurable: turns while a checkpoint of ~b entries of 1000 bytes is written~n", [Entries]),
    case [phase(Name, Entries) || Name <- [kv_commit, control]] of
        [none | _] -> none;
        [Commit, Control] -> [row(kv_commit, Commit), row(control, Control)]
    end.

%% The node of the control never begins a checkpoint.
options(kv_commit) -> [];
options(control) -> [{checkpoint_log, 1 bsl 40}].

%% Starts the program with the library that takes the times.
wrapper(Folder, File) ->
    Path = filename:join(Folder, "program"),
    Program = filename:join(code:priv_dir(kv), "kv_node"),
    Library = filename:absname(kv_bench_os:beside("turns.so")),
    ok = file:write_file(Path, ["#!/bin/sh\nLD_PRELOAD='", Library, "' KV_TURNS='", File, "' exec '", Program, "' \"$@\"\n"]),
    ok = file:change_mode(Path, 8#755),
    Path.

phase(Name, Entries) ->
    Folder = kv_bench_stores:folder("turns"),
    File = "/dev/shm/kv_bench_turns_" ++ os:getpid(),
    Data = filename:join(Folder, "data"),
    {Node, OsPid} = kv_bench_stores:node(?NODE, Data, [{program, wrapper(Folder, File)} | options(Name)]),
    Bucket = kv_bench_stores:bucket(kv_commit, ?NODE, OsPid),
    ok = pass(Bucket, Entries),
    Before = kept(File),
    Seen = checkpoints(Data),
    Ended = passes(Name, Bucket, fun() -> checkpoints(Data) =/= Seen end, Entries, ?PASSES_MAX),
    Longest = longest(File, Before, kept(File)),
    io:format("  ~-28ts longest turn ~b us~n", [kv_bench_contender:title(Name), Longest]),
    ok = kv_bench_contender:stop(Bucket),
    ok = gen_server:stop(Node),
    ok = kv_bench_os:await_end(OsPid),
    ok = file:delete(File),
    ok = file:del_dir_r(Folder),
    case Ended of
        true -> Longest;
        false -> none
    end.

passes(control, Bucket, _IsEnded, Entries, _Left) ->
    ok = pass(Bucket, Entries),
    true;
passes(_Name, _Bucket, _IsEnded, _Entries, 0) ->
    false;
passes(Name, Bucket, IsEnded, Entries, Left) ->
    ok = pass(Bucket, Entries),
    IsEnded() orelse passes(Name, Bucket, IsEnded, Entries, Left - 1).

pass(#{put_many := PutMany}, Entries) ->
    Value = binary:copy(<<"v">>, ?VALUE_BYTES),
    lists:foreach(
        fun(First) -> PutMany(1, [{kv_bench_load:key(I), Value} || I <- lists:seq(First, min(First + ?CHUNK - 1, Entries))]) end,
        lists:seq(1, Entries, ?CHUNK)
    ).

%% Whole ones: those that are being written have another ending.
checkpoints(Data) ->
    [Name || Name <- filelib:wildcard("checkpoint-*", Data), filename:extension(Name) =:= ""].

kept(File) ->
    {ok, Opened} = file:open(File, [read, raw, binary]),
    {ok, <<_All:64/native, Kept:64/native>>} = file:pread(Opened, 0, ?HEADER),
    ok = file:close(Opened),
    Kept.

longest(_File, Same, Same) ->
    0;
longest(File, Before, After) ->
    {ok, Opened} = file:open(File, [read, raw, binary]),
    {ok, Bytes} = file:pread(Opened, ?HEADER + 4 * Before, 4 * (After - Before)),
    ok = file:close(Opened),
    lists:max([Time || <<Time:32/native>> <= Bytes]) div 1000.

row(Name, Us) ->
    #row{part = durable, operation = checkpoint, bytes = ?VALUE_BYTES, contender = Name, metric = longest_us, value = Us}.
