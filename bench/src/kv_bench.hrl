%% One figure: of one contender, in one round of one cell.
-record(row, {
    part :: kv_bench:part(),
    operation :: atom(),
    callers = 1 :: pos_integer(),
    %% Of a value.
    bytes = 0 :: non_neg_integer(),
    contender :: kv_bench_contender:name(),
    round = 1 :: pos_integer(),
    metric = rate :: atom(),
    value = 0 :: number()
}).
