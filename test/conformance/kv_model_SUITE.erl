%% Random programs of several clients against a model: values, links, monitors, exits, owners, names, lost
%% connections.
%%
%% The environment variable RUNS sets the number of programs.
-module(kv_model_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(RUNS, 3000).
%% With the calls of kv_bucket, which send no monitors.
-define(KV_CALL_RUNS, 1000).
%% With local reads.
-define(KV_LOCAL_RUNS, 1000).
%% Checks the model against an ordinary node, too.
-define(REFERENCE_RUNS, 300).

suite() -> [{timetrap, {hours, 12}}].

all() ->
    [
        the_model_is_true_of_ordinary_processes,
        the_model_is_true_of_native_processes,
        the_model_is_true_of_calls_without_monitors,
        the_model_is_true_of_local_reads,
        the_node_keeps_nothing_of_the_programs
    ].

init_per_suite(Config) ->
    case code:ensure_loaded(proper) of
        {module, proper} -> kv_conformance:start(Config);
        {error, _} -> {skip, "there is no PropEr"}
    end.

end_per_suite(Config) -> kv_conformance:stop(Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

the_model_is_true_of_ordinary_processes(Config) ->
    check(Config, reference, ?REFERENCE_RUNS).

the_model_is_true_of_native_processes(Config) ->
    check(Config, native, list_to_integer(os:getenv("RUNS", integer_to_list(?RUNS)))).

the_model_is_true_of_calls_without_monitors(Config) ->
    _ = kv_conformance:enter(kv_call, Config),
    check(Config, native, ?KV_CALL_RUNS),
    kv_conformance:leave(kv_call, Config).

the_model_is_true_of_local_reads(Config) ->
    _ = kv_conformance:enter(kv_local_call, Config),
    check(Config, native, ?KV_LOCAL_RUNS),
    kv_conformance:leave(kv_local_call, Config).

check(Config, Which, Runs) ->
    Node = proplists:get_value(Which, kv_conformance:targets(Config)),
    Caller = kv_conformance:caller(Config),
    {Microseconds, Outcome} = timer:tc(fun() -> peer:call(Caller, kv_model_run, check, [Which, Node, Runs], infinity) end),
    ct:pal("~b programs on the ~p node in ~.1f s", [Runs, Which, Microseconds / 1.0e6]),
    ?assertEqual(ok, Outcome),
    {comment, lists:flatten(io_lib:format("~b programs", [Runs]))}.

%% Only net_kernel, rex and the call itself are left.
the_node_keeps_nothing_of_the_programs(Config) ->
    Node = kv_conformance:native(Config),
    ?assertEqual(
        ok,
        kv_test:in(kv_conformance:caller(Config), fun() ->
            kv_test:wait(fun() -> length(erpc:call(Node, erlang, processes, [])) =< 3 end)
        end)
    ).
