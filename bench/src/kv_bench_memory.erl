-module(kv_bench_memory).
-export([run/1]).
-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(_) -> [].
