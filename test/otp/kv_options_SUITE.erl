%% Options, in every function that takes some: which one counts, and the sentences about wrong ones.
-module(kv_options_SUITE).

-include_lib("stdlib/include/assert.hrl").
-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

all() ->
    [
        of_an_option_given_twice_the_first_counts,
        a_second_value_is_checked_all_the_same,
        the_first_stop_timeout_decides_the_shutdown_time,
        the_first_of_two_options_of_a_child_specification_counts,
        an_unknown_option_is_refused_with_the_nearest_one,
        if_no_option_is_near_all_are_named,
        a_wrong_value_is_refused_with_the_values_that_are_right,
        a_long_value_is_cut_in_the_error,
        something_that_is_no_option_is_said_to_be_none,
        every_option_of_a_node_has_a_sentence,
        an_unknown_key_in_the_environment_is_refused_with_the_nearest_one,
        an_option_of_the_supervisor_is_refused_in_the_environment,
        an_included_application_is_no_option,
        a_setting_that_is_made_before_kv_is_loaded_counts
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_test:start_case(Config).
end_per_testcase(_Case, Config) -> kv_test:end_case(Config).

%%% One option twice

of_an_option_given_twice_the_first_counts(Config) ->
    {ok, #{ticktime := 5, port := 1}} = kv_node_options:validate([{ticktime, 5}, {port, 1}, {ticktime, 7}]),
    in(Config, fun() ->
        {ok, Bucket} = kv_bucket:start_link([{name, first}, {label, <<"one">>}, {name, second}, {label, <<"two">>}]),
        ?assertEqual(Bucket, whereis(first)),
        ?assertEqual(undefined, whereis(second)),
        {ok, Registry} = kv_registry:start_link([{name, third}, {name, fourth}]),
        ?assertEqual([Registry, undefined], [whereis(third), whereis(fourth)]),
        ?assertMatch([_], kv:processes([{limit, 1}, {limit, 3}])),
        ?assertEqual(ok, kv_bucket:put(Bucket, milk, 3, [{ttl, infinity}, {ttl, 1}, {timeout, 5000}, {timeout, 0}]))
    end).

a_second_value_is_checked_all_the_same(_Config) ->
    ?assertMatch({error, {bad_option, ticktime, _}}, kv_node_options:validate([{ticktime, 5}, {ticktime, 0}])),
    ?assertMatch({error, {bad_option, evict, _}}, kv_bucket:start_link([{evict, lru}, {evict, fifo}])).

the_first_stop_timeout_decides_the_shutdown_time(_Config) ->
    #{shutdown := Time} = kv_node:child_spec(a, [{stop_timeout, 100}, {stop_timeout, 9000}]),
    ?assertMatch(#{shutdown := Time}, kv_node:child_spec(a, #{stop_timeout => 100})),
    ?assertMatch(#{shutdown := Time}, kv_node:child_spec(a, [{stop_timeout, 100}])).

the_first_of_two_options_of_a_child_specification_counts(_Config) ->
    Options = [{restart, transient}, {id, one}, {restart, temporary}, {id, two}],
    ?assertMatch(#{id := one, restart := transient}, kv_bucket:child_spec(Options)),
    ?assertMatch(#{id := one, restart := transient}, kv_registry:child_spec(Options)).

%%% Sentences

an_unknown_option_is_refused_with_the_nearest_one(_Config) ->
    Near = [{max_memroy, max_memory}, {tick_time, ticktime}, {stop_timout, stop_timeout}, {loglevel, log_level}],
    [
        ?assertEqual(unknown(Key, ["; did you mean ", atom_to_list(Meant), "?"]), kv_node:start_link([{Key, 1}]))
     || {Key, Meant} <- Near
    ],
    ?assertEqual(unknown(evickt, "; did you mean evict?"), kv_bucket:start_link([{evickt, lru}])),
    ?assertEqual(unknown(colors, "; did you mean colours?"), kv:tree([{colors, true}])).

if_no_option_is_near_all_are_named(_Config) ->
    ?assertEqual(
        unknown(
            taste,
            "; the options are durable, evict, fill, id, label, max_entries, max_memory, name, node, on_node_down, owner, reads, "
            "restart, shutdown, touch_on_read, ttl"
        ),
        kv_bucket:start_link([{taste, sweet}])
    ),
    {error, {bad_option, "port", Text}} = kv_node:start_link([{"port", 1}]),
    ?assertMatch({match, _}, re:run(Text, "^there is no option \"port\"; the options are attach, backup_dir, bind, .*, zeros$")).

unknown(Key, Hint) ->
    {error, {bad_option, Key, iolist_to_binary(["there is no option ", atom_to_list(Key), Hint])}}.

a_wrong_value_is_refused_with_the_values_that_are_right(_Config) ->
    Wrong = [
        {max_memory, 1, <<"max_memory must be 1048576 to 8796093022208 bytes, and is 1">>},
        {port, "80", <<"port must be 0 to 65535, and is \"80\"">>},
        {log_level, loud, <<"log_level must be debug, info, notice, warning or error, and is loud">>},
        {distribute, yes, <<"distribute must be true or false, and is yes">>},
        {node_name, kv, <<"node_name must be an atom of visible ASCII characters with one @, as in kv@host, and is kv">>},
        {bind, 7, <<"bind must be a string of one line, and is 7">>}
    ],
    [?assertEqual({error, {bad_option, Key, Text}}, kv_node:start_link([{Key, Value}])) || {Key, Value, Text} <- Wrong],
    ?assertEqual(
        {error, {bad_option, evict, <<"evict must be none, lru or ttl, and is fifo">>}}, kv_bucket:start_link([{evict, fifo}])
    ),
    ?assertEqual({error, {bad_option, limit, <<"limit must be a number of 1 or more, and is 0">>}}, kv:top([{limit, 0}])),
    ?assertEqual({error, {bad_option, name, <<"name must be an atom, and is \"a\"">>}}, kv_node:start_link("a", [])).

a_long_value_is_cut_in_the_error(_Config) ->
    {error, {bad_option, label, Text}} = kv_bucket:start_link([{label, lists:seq(1, 100000)}]),
    ?assert(byte_size(Text) < 200).

something_that_is_no_option_is_said_to_be_none(_Config) ->
    ?assertEqual(
        {error, {bad_option, odd, <<"an option must be a pair of key and value, and is odd">>}}, kv_node:start_link([odd])
    ),
    ?assertEqual(
        {error, {bad_option, odd, <<"options must be a list of pairs or a map, and is odd">>}}, kv_bucket:start_link(odd)
    ).

every_option_of_a_node_has_a_sentence(_Config) ->
    [
        begin
            {error, {bad_option, Key, Text}} = kv_node_options:validate([{Key, {no, value}}]),
            Start = <<(atom_to_binary(Key))/binary, " must be ">>,
            ?assertMatch({0, _}, binary:match(Text, Start))
        end
     || Key <- kv_node_options:keys()
    ].

%%% The environment of the application

an_unknown_key_in_the_environment_is_refused_with_the_nearest_one(Config) ->
    in_vm(Config, fun() ->
        ok = application:load(kv),
        ok = application:set_env(kv, max_memroy, 1),
        Text = <<"there is no option max_memroy; did you mean max_memory?">>,
        ?assertMatch({error, {{bad_option, max_memroy, Text}, _}}, application:start(kv)),
        ?assertEqual(undefined, whereis(kv_sup))
    end).

an_option_of_the_supervisor_is_refused_in_the_environment(Config) ->
    in_vm(Config, fun() ->
        ok = application:load(kv),
        ok = application:set_env(kv, event_manager, mine),
        ?assertMatch({error, {{bad_option, event_manager, _}, _}}, application:start(kv))
    end).

an_included_application_is_no_option(Config) ->
    in_vm(Config, fun() ->
        ok = application:load(kv),
        ok = application:set_env(kv, included_applications, []),
        ?assertEqual(ok, application:start(kv)),
        ?assertNot(lists:keymember(included_applications, 1, kv_config:node_options()))
    end).

%% OTP lets the defaults of an application file replace such a setting.
a_setting_that_is_made_before_kv_is_loaded_counts(Config) ->
    in_vm(Config, fun() ->
        _ = application:unload(kv),
        ok = application:set_env(kv, max_memory, 2 bsl 20),
        {ok, _} = application:ensure_all_started(kv),
        ?assertMatch(#{max_memory := 2097152}, kv:info()),
        ok = application:stop(kv)
    end).

%%% Helpers

in(Config, Fun) ->
    in_vm(Config, fun() ->
        {ok, _} = application:ensure_all_started(kv),
        Fun()
    end).

in_vm(Config, Fun) ->
    Vm = kv_test:start_vm(Config),
    _ = kv_test:in(Vm, Fun),
    ok = kv_test:stop_vm(Vm).
