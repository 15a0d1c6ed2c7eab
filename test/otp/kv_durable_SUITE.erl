%% @doc Durable buckets, as far as this VM decides: their options and names, and `destroy'. test/kv/durable_test.exs has what
%% survives.
-module(kv_durable_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_policy_is_false_or_commit,
        a_durable_bucket_without_a_name_is_refused_in_words,
        a_name_that_may_mean_another_bucket_tomorrow_is_refused_in_words,
        a_bucket_is_found_on_disk_by_the_text_of_its_name,
        a_node_without_a_folder_has_no_durable_buckets,
        false_is_the_same_as_no_policy,
        a_registry_has_no_durable_buckets,
        destroy_ends_a_bucket_and_returns_once_it_has_ended,
        destroy_takes_every_form_of_a_name,
        destroy_of_nothing_exits_as_every_call,
        a_vm_that_is_killed_leaves_every_change_that_was_answered,
        a_vm_that_halts_in_order_leaves_them_too,
        the_sentences_of_errors_say_what_to_do
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Options

a_policy_is_false_or_commit(_Config) ->
    [
        ?assertEqual(
            {error, {bad_option, durable, iolist_to_binary(io_lib:format("durable must be false or commit, and is ~p", [Wrong]))}},
            kv_bucket:start_link([{name, a}, {durable, Wrong}])
        )
     || Wrong <- [true, interval, none, 1]
    ].

a_durable_bucket_without_a_name_is_refused_in_words(_Config) ->
    Text = <<"a durable bucket needs a name, by which its entries are found again; give a name that is an atom">>,
    [
        ?assertEqual({error, {bad_option, durable, Text}}, kv_bucket:start_link([{durable, commit} | Nameless]))
     || Nameless <- [[], [{name, undefined}], [{name, nil}]]
    ],
    ?assertMatch({error, {bad_option, durable, <<"the name of a durable bucket must not", _/binary>>}}, durable('')).

a_name_that_may_mean_another_bucket_tomorrow_is_refused_in_words(_Config) ->
    [
        ?assertMatch({error, {bad_option, durable, <<"the name of a durable bucket must be an atom, ", _/binary>>}}, durable(Name))
     || Name <- [{global, sessions}, {via, global, sessions}, {via, global, {sessions, self()}}]
    ].

durable(Name) -> kv_bucket:start_link([{name, Name}, {durable, commit}]).

a_bucket_is_found_on_disk_by_the_text_of_its_name(_Config) ->
    Native = fun(Name) -> kv_durable:native(#{name => Name, durable => commit}) end,
    ?assertEqual([{durable, commit}, {store, {<<>>, <<"sessions">>}}], Native(sessions)),
    ?assertEqual(Native(sessions), Native({local, sessions})),
    ?assertEqual([{durable, commit}, {store, {<<>>, <<"größe"/utf8>>}}], Native('größe')),
    %% A bucket in memory must not hide one on disk.
    [?assertEqual([{store, {<<>>, <<"sessions">>}}], kv_durable:native(Other#{name => sessions})) || Other <- [#{}, #{durable => false}]],
    [?assertEqual([], kv_durable:native(Nameless)) || Nameless <- [#{}, #{name => {global, sessions}}, #{name => ''}]].

a_node_without_a_folder_has_no_durable_buckets(Config) ->
    in_kv(Config, fun() ->
        {error, {no_data_dir, Text}} = durable(sessions),
        ?assertMatch(<<"kv_node has no folder for durable buckets: give it one with its option data_dir", _/binary>>, Text),
        ?assertEqual(Text, kv_error:text({no_data_dir, Text})),
        ?assertEqual(undefined, whereis(sessions))
    end).

false_is_the_same_as_no_policy(Config) ->
    in_kv(Config, fun() ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, false}]),
        ok = kv_bucket:put(sessions, milk, 3)
    end).

a_registry_has_no_durable_buckets(Config) ->
    in_kv(Config, fun() ->
        Text = <<"durable must be false, since the registry is not durable itself, and is commit">>,
        ?assertEqual({error, {bad_option, durable, Text}}, kv_registry:create(kv_registry, <<"a">>, [{durable, commit}])),
        ?assertEqual(ok, kv_registry:create(kv_registry, <<"a">>, [{durable, false}]))
    end).

%%% The end

destroy_ends_a_bucket_and_returns_once_it_has_ended(Config) ->
    in_kv(Config, fun() ->
        process_flag(trap_exit, true),
        {ok, Bucket} = kv_bucket:start_link([{name, sessions}]),
        ok = kv_bucket:put(Bucket, milk, 3),
        ?assertEqual(ok, kv_bucket:destroy(Bucket)),
        ?assertEqual([false, undefined], [is_process_alive(Bucket), whereis(sessions)]),
        ?assertEqual(normal, receive {'EXIT', Bucket, Reason} -> Reason end),
        {ok, Next} = kv_bucket:start_link([{name, sessions}]),
        ?assertEqual(0, kv_bucket:size(Next))
    end).

destroy_takes_every_form_of_a_name(Config) ->
    in_kv(Config, fun() ->
        Forms = [
            {[{name, sessions}], fun(_) -> sessions end},
            {[{name, sessions}], fun(_) -> {sessions, node()} end},
            {[{name, {global, sessions}}], fun(_) -> {global, sessions} end},
            {[{name, {via, global, sessions}}], fun(_) -> {via, global, sessions} end},
            {[], fun(Bucket) -> Bucket end},
            {[], fun(Bucket) -> kv_proxy:native(Bucket) end}
        ],
        [
            begin
                {ok, Bucket} = kv_bucket:start_link(Options),
                Monitor = erlang:monitor(process, Bucket),
                ?assertEqual(ok, kv_bucket:destroy(Form(Bucket), [{timeout, 5000}])),
                ?assertEqual(normal, receive {'DOWN', Monitor, _, _, Reason} -> Reason end)
            end
         || {Options, Form} <- Forms
        ]
    end).

destroy_of_nothing_exits_as_every_call(_Config) ->
    [?assertExit({noproc, _}, kv_bucket:destroy(Nobody)) || Nobody <- [nobody, {global, nobody}, {via, global, nobody}]],
    ?assertError(badarg, kv_bucket:destroy(nobody, [{ttl, 1}])).

%%% The end of the VM

a_vm_that_is_killed_leaves_every_change_that_was_answered(Config) ->
    ends_and_comes_back(Config, fun(Vm) -> kv_test:signal("KILL", kv_test:vm_os_pid(Vm)) end).

a_vm_that_halts_in_order_leaves_them_too(Config) ->
    ends_and_comes_back(Config, fun(Vm) -> peer:cast(Vm, init, stop, []) end).

%% Three VMs, one after the other, have the same folder. Each finds what those before it have put.
ends_and_comes_back(Config, End) ->
    Test = self(),
    lists:foldl(
        fun(Round, Last) ->
            Vm = kv_test:start_vm(Config),
            ok = kv_test:in(Vm, fun() -> open(Config, Last) end),
            Monitor = erlang:monitor(process, Vm),
            Writer = spawn(fun() -> write(Vm, Round, 1, Test) end),
            ok = await_answer(Round, 20),
            _ = unlink(Vm),
            End(Vm),
            receive
                {'DOWN', Monitor, process, _, _} -> ok
            end,
            exit(Writer, kill),
            Last#{Round => last_answer(Round, 20)}
        end,
        #{},
        [1, 2, 3]
    ).

open(Config, Last) ->
    ok = kv_test:start_kv([{data_dir, filename:join(?config(home, Config), "data")}]),
    {ok, Bucket} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
    true = unlink(Bucket),
    Lost = [{Round, N} || {Round, Most} <- maps:to_list(Last), N <- lists:seq(1, Most), kv_bucket:get(Bucket, {Round, N}) =/= N],
    ?assertEqual([], Lost),
    ?assertEqual(1, kv_bucket:generation(Bucket)),
    ok.

write(Vm, Round, N, Test) ->
    ok = kv_test:in(Vm, fun() -> kv_bucket:put(sessions, {Round, N}, N) end),
    Test ! {answered, Round, N},
    write(Vm, Round, N + 1, Test).

await_answer(Round, N) ->
    receive
        {answered, Round, N} -> ok
    end.

last_answer(Round, Last) ->
    receive
        {answered, Round, N} -> last_answer(Round, max(N, Last))
    after 0 -> Last
    end.

%%% Sentences

the_sentences_of_errors_say_what_to_do(_Config) ->
    [
        ?assertMatch({match, _}, re:run(kv_error:text(Reason), Text))
     || {Reason, Text} <- [{enospc, "no space on the disk"}, {busy, "try again"}]
    ].

%%% Support

in_kv(Config, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(Vm, fun() ->
            ok = kv_test:start_kv(),
            Fun()
        end)
    after
        ok = kv_test:stop_vm(Vm)
    end.
