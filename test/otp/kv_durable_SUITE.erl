%% @doc Durable buckets, as far as this VM decides: their options and names, and `destroy'. test/kv/durable_test.exs has what
%% survives.
-module(kv_durable_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

suite() -> [{timetrap, {seconds, 60}}].

all() ->
    [
        a_policy_is_false_commit_or_interval,
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
        a_vm_that_is_killed_while_a_bucket_is_filled_leaves_nothing_of_it,
        the_loss_of_the_program_is_no_loss_of_durable_buckets,
        telemetry_tells_of_a_bucket_that_has_its_entries,
        telemetry_tells_of_a_bucket_of_a_registry_that_has_its_entries,
        the_node_tells_of_its_disk,
        the_tree_shows_the_disk,
        with_interval_a_killed_program_leaves_every_change_that_was_answered,
        with_interval_a_killed_vm_leaves_them_too,
        the_policy_changes_between_commit_and_interval_and_back,
        reads_is_durable_or_latest,
        the_sentences_of_errors_say_what_to_do
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% Options

a_policy_is_false_commit_or_interval(_Config) ->
    [
        ?assertEqual(
            {error, {bad_option, durable, iolist_to_binary(io_lib:format("durable must be false, commit or interval, and is ~p", [Wrong]))}},
            kv_bucket:start_link([{name, a}, {durable, Wrong}])
        )
     || Wrong <- [true, always, none, 1]
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
        ?assertMatch({match, _}, re:run(Text, "If this VM is attached to the node, start its program with --data-dir instead$")),
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

%% The operating system has all that is written and not synced yet.
with_interval_a_killed_program_leaves_every_change_that_was_answered(Config) ->
    ends_and_comes_back(Config, [interval, interval, interval], fun kill_program_and_vm/1).

with_interval_a_killed_vm_leaves_them_too(Config) ->
    ends_and_comes_back(Config, [interval, interval, interval], fun kill_vm/1).

the_policy_changes_between_commit_and_interval_and_back(Config) ->
    ends_and_comes_back(Config, [commit, interval, commit], fun kill_program_and_vm/1).

kill_vm(Vm) ->
    kv_test:signal("KILL", kv_test:vm_os_pid(Vm)).

kill_program_and_vm(Vm) ->
    kv_test:signal("KILL", kv_test:in(Vm, fun() -> kv_node:os_pid() end)),
    kill_vm(Vm).

reads_is_durable_or_latest(Config) ->
    ?assertEqual(
        {error, {bad_option, reads, <<"reads must be durable or latest, and is now">>}},
        kv_bucket:start_link([{reads, now}])
    ),
    in_kv_with_folder(Config, fun(_Folder) ->
        [
            begin
                {ok, Bucket} = kv_bucket:start_link([{name, sessions}, {durable, Policy}, {reads, Reads}]),
                ok = kv_bucket:put(Bucket, Reads, 1),
                ?assertEqual(1, kv_bucket:get(Bucket, Reads)),
                ?assertEqual(kv_bucket:size(Bucket), length(kv_bucket:keys(Bucket))),
                ok = kv_bucket:stop(Bucket)
            end
         || Policy <- [commit, interval], Reads <- [durable, latest]
        ],
        {ok, Shop} = kv_registry:start_link([{name, shop}, {durable, commit}]),
        ok = kv_registry:create(Shop, <<"latest">>, [{reads, latest}]),
        {ok, Latest} = kv_registry:lookup(Shop, <<"latest">>),
        ?assertMatch(#{durable := commit, reads := latest}, kv_bucket:stats(Latest)),
        {ok, Volatile} = kv_registry:start_link([{start_bucket, {kv_bucket, start_link, []}}]),
        Refused = [
            kv_bucket:start_link([{reads, latest}]),
            kv_bucket:start_link([{name, sessions}, {durable, false}, {reads, latest}]),
            kv_registry:create(Shop, <<"memory">>, [{durable, false}, {reads, latest}]),
            kv_registry:create(Volatile, <<"memory">>, [{reads, latest}])
        ],
        [?assertMatch({error, {bad_option, reads, <<"reads: latest is for a durable bucket; ", _/binary>>}}, One) || One <- Refused],
        ok
    end).

a_vm_that_is_killed_while_a_bucket_is_filled_leaves_nothing_of_it(Config) ->
    Folder = filename:join(?config(home, Config), "filled"),
    Vm = kv_test:start_vm(Config),
    OsPid = kv_test:vm_os_pid(Vm),
    ok = kv_test:in(Vm, fun() ->
        ok = kv_test:start_kv([{data_dir, Folder}]),
        Test = self(),
        _ = spawn(fun() -> kv_bucket:start_link([{name, soup}, {durable, commit}, {fill, {?MODULE, fill_in_part, [Test]}}]) end),
        receive
            half -> ok
        end
    end),
    Monitor = erlang:monitor(process, Vm),
    _ = unlink(Vm),
    ok = kv_test:signal("KILL", OsPid),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end,
    in_kv_with(Config, Folder, fun() ->
        Fill = {fill, {?MODULE, fill, [self()]}},
        {ok, Bucket} = kv_bucket:start_link([{name, soup}, {durable, commit}, Fill]),
        ?assertEqual(#{whole => 1}, kv_bucket:to_map(Bucket)),
        true = unlink(Bucket),
        ok = kv_bucket:stop(Bucket),
        {ok, Next} = kv_bucket:start_link([{name, soup}, {durable, commit}, Fill]),
        ?assertEqual(#{whole => 1}, kv_bucket:to_map(Next)),
        ?assertEqual([filled], kv_test:mailbox()),
        ?assertEqual(1, kv_bucket:generation(Next))
    end).

fill_in_part(Bucket, Test) ->
    ok = kv_bucket:put(Bucket, half, 1),
    Test ! half,
    timer:sleep(infinity).

fill(Bucket, Test) ->
    Test ! filled,
    kv_bucket:put(Bucket, whole, 1).

%% Three VMs, one after the other, have the same folder. Each finds what those before it have put.
ends_and_comes_back(Config, End) ->
    ends_and_comes_back(Config, [commit, commit, commit], End).

ends_and_comes_back(Config, Policies, End) ->
    Test = self(),
    lists:foldl(
        fun(Round, Last) ->
            Vm = kv_test:start_vm(Config),
            Policy = lists:nth(Round, Policies),
            ok = kv_test:in(Vm, fun() -> open(Config, Policy, Last) end),
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

open(Config, Policy, Last) ->
    ok = kv_test:start_kv([{data_dir, filename:join(?config(home, Config), "data")}]),
    {ok, Bucket} = kv_bucket:start_link([{name, sessions}, {durable, Policy}]),
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

%%% The end of the program, and what is told of it

the_loss_of_the_program_is_no_loss_of_durable_buckets(Config) ->
    in_kv_with_folder(Config, fun(Folder) ->
        ok = kv_event_manager:add_handler(kv_event_manager, {kv_test_handler, asked}, self(), [lost]),
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}, {on_node_down, stay}]),
        {ok, _} = kv_bucket:start_link([{name, cache}, {on_node_down, stay}]),
        ok = await_totals(fun(#{durable := Durable}) -> Durable =:= 1 end),
        ok = kv_test_log:listen(warning, fun(#{level := Level}) -> Level =:= warning end),
        ok = kill_program(),
        ok = kv_bucket:put(sessions, milk, 1),
        ok = kv_bucket:put(cache, milk, 1),
        ?assertEqual([cache, kv_registry], lists:sort([lost_name(), lost_name()])),
        Line = await_line("is lost"),
        ?assertEqual([], [Name || {event, {lost, Name, _}} <- kv_test:mailbox()]),
        ?assertMatch({match, _}, re:run(Line, "what it held: 1 bucket, 1 registry as of .* ago; by name: cache, kv_registry; ")),
        ?assertMatch({match, _}, re:run(Line, ["; 1 durable bucket comes back from ", Folder, "$"]))
    end).

telemetry_tells_of_a_bucket_that_has_its_entries(Config) ->
    in_kv_with_folder(Config, fun(_Folder) ->
        ok = load_telemetry(),
        true = register(kv_telemetry_test, self()),
        {ok, Bucket} = kv_bucket:start_link([{name, sessions}, {durable, commit}, {on_node_down, stay}]),
        ?assertMatch(#{bucket := Bucket, generation := 1, durable := true}, told(started)),
        ok = kill_program(),
        ok = kv_bucket:put(sessions, milk, 1),
        ?assertMatch(#{bucket := Bucket}, told(lost)),
        ?assertMatch(#{bucket := Bucket, generation := 1, name := {local, sessions}}, told(restored)),
        true = unlink(Bucket),
        ok = kv_bucket:stop(Bucket),
        ?assertMatch(#{bucket := Bucket}, told(stopped)),
        {ok, Next} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        ?assertMatch(#{bucket := Next}, told(restored))
    end).

telemetry_tells_of_a_bucket_of_a_registry_that_has_its_entries(Config) ->
    in_kv_with_folder(Config, fun(_Folder) ->
        ok = load_telemetry(),
        true = register(kv_telemetry_test, self()),
        Start = {start_bucket, {kv_bucket_sup, start_bucket, [kv_bucket_sup]}},
        {ok, _} = kv_registry:start_link([{name, shop}, {durable, commit}, Start]),
        {ok, First} = kv_registry:lookup_or_create(shop, <<"eggs">>),
        ?assertMatch(#{native := First, durable := true}, told(started)),
        ok = kv_bucket:stop(First),
        ?assertMatch(#{native := First}, told(stopped)),
        {ok, Next} = kv_registry:lookup(shop, <<"eggs">>),
        ?assertMatch(#{native := Next, generation := 1, durable := true}, told(restored)),
        ok = kill_program(),
        {ok, Last} = kv_test:wait(fun() -> try kv_registry:lookup(shop, <<"eggs">>) catch exit:_ -> false end end),
        ?assertMatch(#{native := Last, generation := 1}, told(restored)),
        ?assertEqual([], [Event || {telemetry, [kv, bucket, started], _, _} = Event <- kv_test:mailbox()])
    end).

the_node_tells_of_its_disk(Config) ->
    in_kv_with_folder(Config, fun(Folder) ->
        {ok, _} = kv_bucket:start_link([{name, sessions}, {durable, commit}]),
        #{disk := Before} = kv_node:info(),
        ok = kv_bucket:put(sessions, milk, binary:copy(<<"m">>, 10000)),
        #{disk := Disk} = kv_node:info(),
        #{folder := Shown, files := Files, file_bytes := Bytes, position := Position, log_bytes := Log} = Disk,
        ?assertEqual(Folder, binary_to_list(Shown)),
        ?assert(Position >= map_get(position, Before) + 10000 andalso Log =< Position),
        ?assert(Files >= 1 andalso Bytes =:= Files * 67108864),
        ?assertMatch(#{full := false, waiting_bytes := 0, recovery_ms := Ms} when Ms >= 0, Disk),
        ?assert(map_get(syncs, Disk) > map_get(syncs, Before) andalso map_get(written_bytes, Disk) >= 10000),
        ?assert(is_integer(map_get(last_sync_ms, Disk)))
    end),
    in_kv(Config, fun() -> ?assertMatch(#{disk := undefined}, kv_node:info()) end).

the_tree_shows_the_disk(Config) ->
    in_kv_with_folder(Config, fun(Folder) ->
        Text = tree(Folder ++ ".tree"),
        ?assertMatch({match, _}, re:run(Text, "up [^;]*; /.*: log [0-9.]+ KiB(, synced .* ago)?, read in ", [unicode]))
    end).

%%% Sentences

the_sentences_of_errors_say_what_to_do(_Config) ->
    [
        ?assertMatch({match, _}, re:run(kv_error:text(Reason), Text))
     || {Reason, Text} <- [{enospc, "no space on the disk"}, {busy, "try again"}]
    ].

%%% Support

in_kv_with_folder(Config, Fun) ->
    Folder = filename:join(?config(home, Config), "folder"),
    in_kv_with(Config, Folder, fun() -> Fun(Folder) end).

in_kv_with(Config, Folder, Fun) ->
    Vm = kv_test:start_vm(Config),
    try
        kv_test:in(Vm, fun() ->
            ok = kv_test:start_kv([{data_dir, Folder}]),
            Fun()
        end)
    after
        ok = kv_test:stop_vm(Vm)
    end.

kill_program() ->
    OsPid = kv_node:os_pid(),
    Monitor = erlang:monitor(process, kv_node),
    ok = kv_test:signal("KILL", OsPid),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end.

%% Until the last answer to a ping says so.
await_totals(Wanted) ->
    kv_test:wait(fun() ->
        {kv_totals, _, _, _, _, Durable} = gen_server:call({net_kernel, kv_node:name()}, kv_totals),
        State = sys:get_state(kv_node),
        Wanted(#{durable => Durable}) andalso has_totals(State, Durable)
    end),
    ok.

%% The totals are a map somewhere in the state.
has_totals(State, Durable) when is_tuple(State) -> lists:any(fun(Part) -> has_totals(Part, Durable) end, tuple_to_list(State));
has_totals(#{durable := Durable, asked := _}, Durable) -> true;
has_totals(_Other, _Durable) -> false.

await_line(Part) ->
    receive
        {line, {_, Line}} ->
            case string:find(Line, Part) of
                nomatch -> await_line(Part);
                _ -> Line
            end
    end.

lost_name() ->
    receive
        {event, {lost, Name, _}} -> Name
    end.

told(Event) ->
    receive
        {telemetry, [kv, bucket, Event], #{system_time := _}, Facts} -> Facts
    end.

%% A library that hands each event to the test.
load_telemetry() ->
    Forms = [
        {attribute, 1, module, telemetry},
        {attribute, 1, export, [{execute, 3}]},
        {function, 1, execute, 3, [
            {clause, 1, [{var, 1, 'E'}, {var, 1, 'M'}, {var, 1, 'F'}], [], [
                {op, 1, '!', {atom, 1, kv_telemetry_test}, {tuple, 1, [{atom, 1, telemetry}, {var, 1, 'E'}, {var, 1, 'M'}, {var, 1, 'F'}]}}
            ]}
        ]}
    ],
    {ok, telemetry, Code} = compile:forms(Forms),
    {module, telemetry} = code:load_binary(telemetry, "telemetry.erl", Code),
    ok.

%% The lines of kv:tree/0.
tree(File) ->
    {ok, Device} = file:open(File, [write, {encoding, utf8}]),
    Leader = group_leader(),
    true = group_leader(Device, self()),
    ok = kv:tree([{colours, false}]),
    true = group_leader(Leader, self()),
    ok = file:close(Device),
    {ok, Text} = file:read_file(File),
    unicode:characters_to_list(Text).

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
