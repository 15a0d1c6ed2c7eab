%% Differences from a BEAM process that stay. docs/differences.md lists them with their reasons; this suite proves
%% them. Each case asks both kinds of nodes. A difference that disappears must be removed from the page.
-module(kv_conf_differences_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, call/2, outcome/1, next/0, next/1, serve/1, end_of/1]).

%% The term around the value is a tuple inside a tuple, so a value may have one container less.
-define(MAX_DEPTH, 65536).

suite() -> [{timetrap, {seconds, 60}}].

all() -> [the_page_names_every_case_and_no_other | cases()].

cases() ->
    [
        closures_do_not_run,
        agents_functions_by_name_run,
        a_key_that_looks_like_a_function_needs_a_default,
        an_unknown_function_cannot_be_spawned,
        only_listed_functions_can_be_called,
        unknown_options_of_spawn_are_taken,
        a_change_of_code_changes_nothing,
        a_killed_watcher_is_as_a_lost_node,
        the_log_has_no_states,
        traces_and_installed_functions_do_nothing,
        no_log_is_written_to_a_file,
        an_answer_has_no_trace_token,
        messages_are_handled_before_an_exit_that_follows_them,
        a_suspended_process_ends_with_its_owner,
        a_malformed_from_is_ignored,
        a_parent_that_is_only_claimed_to_have_ended_is_ignored,
        terms_too_deep_are_refused,
        messages_too_large_are_refused,
        a_negative_zero_loses_its_sign_as_a_key,
        the_node_never_connects_by_itself
    ].

init_per_suite(Config) -> kv_conformance:start(Config, ["--max-frame", "1000000", "--max-depth", integer_to_list(?MAX_DEPTH)]).
end_per_suite(Config) -> kv_conformance:stop(Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%% The results of the two nodes.
each(Config, Case) ->
    Seen = maps:from_list([{Which, kv_conformance:on(Config, Node, Case)} || {Which, Node} <- kv_conformance:targets(Config)]),
    maps:map(fun(_Which, {observed, What, _Left}) -> What; (_Which, {failed, Reason}) -> {failed, Reason} end, Seen).

%%% The page

the_page_names_every_case_and_no_other(_Config) ->
    {ok, Page} = file:read_file(page(filename:dirname(code:which(?MODULE)))),
    {match, Named} = re:run(Page, "Kept true by `([a-z_]+)`", [global, {capture, [1], list}]),
    ?assertEqual(lists:sort([atom_to_list(Case) || Case <- cases()]), lists:sort(lists:append(Named))),
    %% Every section says whether there is a test.
    Sections = tl(binary:split(Page, <<"\n### ">>, [global])),
    ?assertEqual([], [hd(binary:split(Section, <<"\n">>)) || Section <- Sections, re:run(Section, "Kept true by|Tested elsewhere|Not tested: ") =:= nomatch]).

%% The tests may run from a build directory inside the project.
page("/") ->
    error(no_page);
page(Directory) ->
    Path = filename:join([Directory, "docs", "differences.md"]),
    case filelib:is_regular(Path) of
        true -> Path;
        false -> page(filename:dirname(Directory))
    end.

%%% Code

closures_do_not_run(Config) ->
    Fun = fun(X) -> X end,
    #{native := Seen} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        Answers = [call(Bucket, {Kind, Fun}) || Kind <- [get, update, get_and_update]],
        ok = gen_server:cast(Bucket, {cast, Fun}),
        {
            [{Error, Kind} || {Error, {Kind, Text}} <- Answers, is_binary(Text)],
            outcome(fun() -> sys:replace_state(Bucket, Fun) end),
            outcome(fun() -> spawn_monitor(Node, fun() -> ok end) end),
            rpc:call(Node, erlang, apply, [fun() -> ok end, []]),
            call(Bucket, size)
        }
    end),
    ?assertMatch(
        {
            [{error, cannot_run_closures}, {error, cannot_run_closures}, {error, cannot_run_closures}],
            {error, {callback_failed, {gen_server, system_replace_state}, {error, notsup}}},
            {error, cannot_run_closures},
            {badrpc, {'EXIT', {cannot_run_closures, _}}},
            0
        },
        Seen
    ).

agents_functions_by_name_run(Config) ->
    Map = 'Elixir.Map',
    Requests = [
        {{get, {Map, get, [a]}}, nil}, {{update, {Map, put, [a, 1]}}, ok}, {{get, {Map, get, [a]}}, 1}, {{get, {Map, get, [b, 2]}}, 2},
        {{get, {Map, fetch, [a]}}, {ok, 1}}, {{get, {Map, 'has_key?', [b]}}, false}, {{get, {maps, size, []}}, 1},
        {{get, {erlang, map_size, []}}, 1}, {{get, {'Elixir.Kernel', map_size, []}}, 1},
        {{update, {Map, put_new, [a, 2]}}, ok}, {{get, {'Elixir.Function', identity, []}}, #{a => 1}},
        {{get, {Map, keys, []}}, [a]}, {{get, {Map, values, []}}, [1]}, {{get, {Map, to_list, []}}, [{a, 1}]},
        {{get, {maps, keys, []}}, [a]}, {{get, {maps, values, []}}, [1]}, {{get, {maps, to_list, []}}, [{a, 1}]},
        {{get_and_update, {Map, pop, [a]}}, 1}, {{get_and_update, {Map, pop, [a, none]}}, none}, {{update, {Map, delete, [a]}}, ok}
    ],
    #{native := Seen} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        Answers = [{Request, call(Bucket, Request)} || {Request, _} <- Requests],
        ok = gen_server:cast(Bucket, {cast, {Map, put, [cast, 1]}}),
        {Answers, call(Bucket, {get, {lists, reverse, [a]}}), call(Bucket, to_map)}
    end),
    ?assertMatch({Requests, {error, {cannot_run_closures, _}}, #{cast := 1}}, Seen).

a_key_that_looks_like_a_function_needs_a_default(Config) ->
    Keys = [fun erlang:node/0, {a, b, [c]}, {a, b, "c"}],
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        [begin ok = call(Bucket, {put, Key, 1}), {call(Bucket, {get, Key}), call(Bucket, {get, Key, none}), call(Bucket, {fetch, Key})} end || Key <- Keys]
    end),
    ?assertEqual([{1, 1, {ok, 1}} || _ <- Keys], Reference),
    [?assertMatch({{error, {cannot_run_closures, _}}, 1, {ok, 1}}, Seen) || Seen <- Native].

an_unknown_function_cannot_be_spawned(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        outcome(fun() ->
            {Pid, Monitor} = spawn_monitor(Node, no_module, f, [1]),
            {is_pid(Pid), kv_test:down(Monitor)}
        end)
    end),
    ?assertEqual({error, undef}, Native),
    ?assertMatch({returned, {true, {undef, [{no_module, f, [1], []}]}}}, Reference).

only_listed_functions_can_be_called(Config) ->
    Calls = [{lists, reverse, [[1, 2]]}, {erlang, halt, []}, {os, cmd, ["true"]}, {code, load_file, [kv_bucket]}, {erlang, register, [a, self()]}],
    #{native := Seen} = each(Config, fun(Node) ->
        [rpc:call(Node, M, F, A) || {M, F, A} <- Calls, Node =/= node(), not is_ordinary(Node)]
    end),
    ?assertEqual([undef || _ <- Calls], [Reason || {badrpc, {'EXIT', {Reason, _}}} <- Seen]).

%% Nothing of this list may be done to the reference.
is_ordinary(Node) ->
    rpc:call(Node, erlang, system_info, [machine]) =:= "BEAM".

unknown_options_of_spawn_are_taken(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        outcome(fun() -> serve(spawn_opt(Node, kv_bucket, init, [[]], [unknown, {priority, unknown}])) end)
    end),
    ?assertEqual({{returned, ok}, {error, badarg}}, {Native, Reference}).

a_change_of_code_changes_nothing(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = sys:suspend(Bucket),
        sys:change_code(Bucket, no_such_module, any, thing)
    end),
    ?assertEqual(ok, Native),
    ?assertEqual(ok, Reference).

%%% Debugging

a_killed_watcher_is_as_a_lost_node(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = sys:suspend(Bucket),
        ok = sys:log(Bucket, true),
        Self = self(),
        Caller = kv_case:helper(),
        ok = kv_case:tell(Caller, fun() -> Self ! {outcome, outcome(fun() -> kv_bucket:size(Bucket) end)} end),
        ok = kv_case:await_call(Caller),
        Watcher = kv_watcher:watcher(Node),
        _ = is_pid(Watcher) andalso exit(Watcher, kill),
        _ = is_pid(Watcher) orelse sys:resume(Bucket),
        receive
            {outcome, Outcome} -> {Outcome, sys:resume(Bucket), sys:log(Bucket, get)}
        after 5000 -> error(no_outcome)
        end
    end),
    ?assertMatch({{exit, {{nodedown, '$target'}, {gen_server, call, [_, size, 5000]}}}, ok, {ok, [{in, {'$kv_call', {ref, _}, size}} | _]}}, Native),
    ?assertMatch({{returned, 0}, ok, {ok, [{in, {'$gen_call', {_, _}, size}} | _]}}, Reference).

the_log_has_no_states(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = sys:log(Bucket, true),
        ok = call(Bucket, {put, a, 1}),
        {ok, Events} = sys:log(Bucket, get),
        Events
    end),
    ?assertMatch([{in, {'$gen_call', _, {put, a, 1}}}, {out, ok, {_, _}}], Native),
    ?assertMatch([{in, {'$gen_call', _, {put, a, 1}}}, {out, ok, {_, _}, #{a := 1}}], Reference).

traces_and_installed_functions_do_nothing(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        Installed = sys:install(Bucket, {tell, fun kv_case:tell_event/3, self()}),
        Traced = case is_ordinary(Node) of true -> ok; false -> sys:trace(Bucket, true) end,
        ok = gen_server:cast(Bucket, {put, a, 1}),
        ok = serve(Bucket),
        {Installed, Traced, lists:usort(kv_test:mailbox())}
    end),
    ?assertEqual({ok, ok, []}, Native),
    ?assertMatch({ok, ok, [_ | _]}, Reference).

no_log_is_written_to_a_file(Config) ->
    File = filename:join(?config(priv_dir, Config), "a_log"),
    #{native := Native, reference := Reference} = each(Config, fun(Node) -> sys:log_to_file(bucket(Node), File) end),
    ?assertEqual({{error, open_file}, ok}, {Native, Reference}).

%%% Order

%% Requests with a token are understood all the same: to a pid, to a name, and by rpc.
an_answer_has_no_trace_token(Config) ->
    Kept = fun(Fun) ->
        _ = seq_trace:set_token(label, 17),
        Answer = Fun(),
        Token = seq_trace:get_token(label),
        _ = seq_trace:set_token([]),
        {Answer, Token}
    end,
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        [
            Kept(fun() -> gen_server:call(Bucket, {put, a, 1}) end),
            Kept(fun() -> gen_server:call(Bucket, size) end),
            Kept(fun() -> gen_server:call({net_kernel, Node}, {is_auth, node()}) end),
            element(1, Kept(fun() -> rpc:call(Node, erlang, is_alive, []) end))
        ]
    end),
    ?assertEqual([{ok, {label, 17}}, {1, {label, 17}}, {yes, {label, 17}}, true], Reference),
    ?assertEqual([{ok, []}, {1, []}, {yes, []}, true], Native).

messages_are_handled_before_an_exit_that_follows_them(Config) ->
    #{native := Native} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        [Bucket ! {'$gen_call', {self(), N}, {get, a, N}} || N <- lists:seq(1, 1000)],
        exit(Bucket, kill),
        _ = end_of(Bucket),
        length(kv_test:mailbox())
    end),
    ?assertEqual(1000, Native).

a_suspended_process_ends_with_its_owner(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Owner = kv_case:helper(),
        Bucket = bucket(Node, [{owner, Owner}]),
        ok = sys:suspend(Bucket),
        Monitor = monitor(process, Bucket),
        crash = kv_case:finish(Owner, crash),
        %% The process answers, or is dead.
        Alive = outcome(fun() -> sys:get_state(Bucket) end),
        _ = outcome(fun() -> sys:resume(Bucket) end),
        {element(1, Alive), kv_test:down(Monitor)}
    end),
    ?assertEqual({exit, crash}, Native),
    ?assertEqual({returned, crash}, Reference).

%%% Robustness

a_malformed_from_is_ignored(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        Bucket ! {'$gen_call', no_from, size},
        outcome(fun() -> serve(Bucket) end)
    end),
    ?assertEqual({returned, ok}, Native),
    ?assertMatch({exit, _}, Reference).

a_parent_that_is_only_claimed_to_have_ended_is_ignored(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        Bucket ! {'EXIT', self(), claimed},
        outcome(fun() -> serve(Bucket) end)
    end),
    ?assertEqual({returned, ok}, Native),
    ?assertMatch({exit, _}, Reference).

%%% Limits

terms_too_deep_are_refused(Config) ->
    Deep = lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, ?MAX_DEPTH - 1)),
    refused(Config, Deep, fun(Answer) -> ?assertEqual({error, {too_deep, ?MAX_DEPTH}}, Answer) end).

messages_too_large_are_refused(Config) ->
    Large = binary:copy(<<0>>, 1000000),
    refused(Config, Large, fun(Answer) -> ?assertMatch({error, {too_large, Bytes}} when Bytes > 1000000, Answer) end).

%% A value one past the limit is answered with an error. The bucket and the connection survive.
refused(Config, Term, Check) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = call(Bucket, {put, kept, 1}),
        true = erlang:monitor_node(Node, true),
        Answer = call(Bucket, {put, Term, 1}),
        Lost = receive {nodedown, _} -> true after 0 -> false end,
        true = erlang:monitor_node(Node, false),
        {Answer, Lost, map_size(call(Bucket, to_map))}
    end),
    {Answer, false, 1} = Native,
    Check(Answer),
    ?assertEqual({ok, false, 2}, Reference).

%% If 0.0 and -0.0 are two keys, each keeps its sign.
a_negative_zero_loses_its_sign_as_a_key(Config) ->
    #{native := Native, reference := Reference} = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = call(Bucket, {put, -0.0, -0.0}),
        {[term_to_binary(Key) || Key <- call(Bucket, keys)], term_to_binary(call(Bucket, {get, -0.0}))}
    end),
    Signed = term_to_binary(-0.0),
    ?assertEqual({[Signed], Signed}, Reference),
    case list_to_float("0.0") =:= list_to_float("-0.0") of
        true -> ?assertEqual({[term_to_binary(0.0)], Signed}, Native);
        false -> ?assertEqual(Reference, Native)
    end.

%%% Clusters

the_node_never_connects_by_itself(Config) ->
    Other = kv_conformance:start_peer(Config, ["-hidden"]),
    Receiver = kv_test:in(Other, fun() ->
        spawn(fun() -> receive never -> ok end end)
    end),
    _ = each(Config, fun(Node) ->
        Bucket = bucket(Node),
        Bucket ! {'$gen_call', {Receiver, Node}, size},
        serve(Bucket)
    end),
    %% If there were a connection, the answer would have come before the answer to this ping.
    Received = kv_test:in(Other, fun() ->
        pong = net_adm:ping(kv_conformance:native(Config)),
        ok = kv_test:wait(fun() -> process_info(Receiver, message_queue_len) =/= {message_queue_len, 0} end),
        {messages, Messages} = process_info(Receiver, messages),
        Messages
    end),
    ?assertEqual([{proplists:get_value(reference, kv_conformance:targets(Config)), 0}], Received),
    ok = kv_test:stop_vm(Other).
