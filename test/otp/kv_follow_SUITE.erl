%% Following: while many processes call, the program runs on their processor if it may use two.
-module(kv_follow_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(CALLERS, 32).
%% How often the place of the program is looked at, every few milliseconds: more often than a busy machine needs.
-define(LOOKS, 2000).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        while_many_call_it_runs_on_one_of_two_processors_and_then_on_both,
        a_few_callers_do_not_move_it,
        it_goes_on_as_before_when_a_vm_has_gone_whose_lane_it_looked_at,
        it_stays_where_that_is_not_wanted,
        with_one_processor_it_stays_and_answers
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_testcase(with_one_processor_it_stays_and_answers, Config) ->
    start(Config);
init_per_testcase(_Case, Config) ->
    case processors() of
        [_, _ | _] -> start(Config);
        [_] -> {skip, "two processors are needed"}
    end.

start(Config) ->
    Started = kv_test:start_case(Config),
    [{vm, kv_test:start_vm(Started)} | Started].

end_per_testcase(_Case, Config) -> kv_test:end_with_vm(Config).

while_many_call_it_runs_on_one_of_two_processors_and_then_on_both(Config) ->
    Two = lists:sublist(processors(), 2),
    in_vm(Config, Two, [], fun(Bucket) ->
        Two = allowed(),
        Callers = callers(Bucket, ?CALLERS),
        [One] = wait_for(fun(Processors) -> length(Processors) =:= 1 end),
        true = lists:member(One, Two),
        ok = stop(Callers),
        %% kv_node asks the node once a second whether it answers. That is enough to let it go.
        Two = wait_for(fun(Processors) -> Processors =:= Two end)
    end).

a_few_callers_do_not_move_it(Config) ->
    Two = lists:sublist(processors(), 2),
    stays(Config, Two, [], 4).

%% While it looks at a lane it does not move. The lane ends while it does: its callers have just asked.
it_goes_on_as_before_when_a_vm_has_gone_whose_lane_it_looked_at(Config) ->
    Other = kv_test:start_vm(Config),
    in_vm(Config, lists:sublist(processors(), 2), [], fun(_Bucket) -> ok end),
    Bucket = in(Config, fun() -> kv_proxy:native(bucket) end),
    ok = kv_test:in(Other, fun() ->
        _ = application:load(kv),
        ok = application:set_env(kv, local, all),
        ok = kv_test:wait(fun() -> kv_bucket:has_key(Bucket, key) andalso kv_watcher:lane(node(Bucket)) =:= on end),
        true = kv_lane_test:ask(Bucket, {has_key, key}),
        Lane = kv_lane_test:lane(Bucket),
        _ = spawn(fun() -> ask_for_ever(Lane, Bucket) end),
        ok
    end),
    ok = peer:cast(Other, ?MODULE, leave, [Bucket]),
    ok = kv_test:wait(fun() -> not is_process_alive(Other) end),
    in(Config, fun() ->
        Callers = callers(Bucket, ?CALLERS),
        [_One] = wait_for(fun(Processors) -> length(Processors) =:= 1 end),
        ok = stop(Callers)
    end).

ask_for_ever(Lane, Bucket) ->
    _ = kv_nif:ask(Lane, Bucket, {has_key, key}),
    ask_for_ever(Lane, Bucket).

leave(Bucket) ->
    [true = kv_lane_test:ask(Bucket, {has_key, key}) || _ <- lists:seq(1, 1000)],
    true = erlang:disconnect_node(node(Bucket)),
    erlang:halt(0, [{flush, false}]).

it_stays_where_that_is_not_wanted(Config) ->
    Two = lists:sublist(processors(), 2),
    stays(Config, Two, [{follow, false}], ?CALLERS).

with_one_processor_it_stays_and_answers(Config) ->
    stays(Config, [hd(processors())], [], ?CALLERS).

stays(Config, Processors, Options, Number) ->
    in_vm(Config, Processors, Options, fun(Bucket) ->
        Callers = callers(Bucket, Number),
        [Processors = look() || _ <- lists:seq(1, 100)],
        ok = stop(Callers)
    end).

%% ---- a program that may use these processors only ------------------------------------------------

in(Config, Fun) -> kv_test:in(?config(vm, Config), Fun).

in_vm(Config, Processors, Options, Fun) ->
    Program = wrapper(?config(priv_dir, Config), Processors),
    in(Config, fun() ->
        ok = kv_test:start_kv([{program, Program} | Options]),
        {ok, Proxy} = kv_bucket:start_link([{name, bucket}]),
        true = unlink(Proxy),
        ok = kv_bucket:put(Proxy, key, value),
        _ = Fun(kv_proxy:native(Proxy)),
        ok
    end).

wrapper(Directory, Processors) ->
    Path = filename:join(Directory, "kv_node_" ++ integer_to_list(erlang:unique_integer([positive]))),
    List = lists:join(",", [integer_to_list(Processor) || Processor <- Processors]),
    ok = file:write_file(Path, ["#!/bin/sh\nexec taskset -c ", List, " ", kv_program:program(), " \"$@\"\n"]),
    ok = file:change_mode(Path, 8#755),
    Path.

callers(Bucket, Number) ->
    [spawn_link(fun() -> call(Bucket) end) || _ <- lists:seq(1, Number)].

call(Bucket) ->
    value = kv_bucket:get(Bucket, key),
    receive
        {stop, From} -> From ! {stopped, self()}
    after 0 -> call(Bucket)
    end.

stop(Callers) ->
    _ = [Caller ! {stop, self()} || Caller <- Callers],
    _ = [receive {stopped, Caller} -> ok end || Caller <- Callers],
    ok.

look() ->
    timer:sleep(5),
    allowed().

wait_for(IsIt) -> wait_for(IsIt, ?LOOKS).

wait_for(IsIt, Looks) when Looks > 0 ->
    Allowed = look(),
    case IsIt(Allowed) of
        true -> Allowed;
        false -> wait_for(IsIt, Looks - 1)
    end.

%% ---- what the system says ----------------------------------------------------------------------

processors() -> processors_of("self").

allowed() -> processors_of(integer_to_list(kv_node:os_pid())).

processors_of(Process) ->
    {ok, Status} = file:read_file(["/proc/", Process, "/status"]),
    {match, [List]} = re:run(Status, "Cpus_allowed_list:\\s*(\\S+)", [{capture, [1], list}]),
    lists:append([range(string:split(Range, "-")) || Range <- string:lexemes(List, ",")]).

range([One]) -> [list_to_integer(One)];
range([First, Last]) -> lists:seq(list_to_integer(First), list_to_integer(Last)).
