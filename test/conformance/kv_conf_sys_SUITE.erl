%% System messages: the requests of sys, and so of Observer and the release handler, to every process.
-module(kv_conf_sys_SUITE).

-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, registry/1, call/2, outcome/1, next/0, next/1, end_of/1, serve/1]).
-import(kv_conformance, [same/2]).

suite() -> [{timetrap, {seconds, 60}}].

all() -> kv_conformance:ways().

groups() ->
    kv_conformance:both_ways([
        the_state_of_a_bucket_is_its_map,
        the_state_of_a_registry_is_its_names,
        a_status_has_the_shape_of_a_gen_server,
        a_status_names_the_one_who_spawned_it,
        a_suspended_process_keeps_its_requests_in_order,
        a_suspended_process_answers_system_messages,
        a_suspended_process_gets_the_end_of_others_later,
        to_suspend_and_to_resume_twice_is_once,
        a_suspended_process_can_be_terminated,
        a_terminate_ends_with_its_reason,
        code_is_changed_only_while_suspended,
        statistics_count_messages,
        statistics_that_are_off_say_so,
        a_log_keeps_the_last_events,
        a_log_that_is_off_is_empty,
        log_settings_are_checked,
        debug_settings_are_taken,
        an_unknown_debug_request_is_told,
        an_unknown_system_message_is_told,
        a_system_message_to_a_dead_process_exits_with_noproc,
        a_late_answer_of_sys_never_lands_in_the_mailbox,
        a_system_reply_keeps_its_tag
    ]).

init_per_suite(Config) -> kv_conformance:start(Config).
end_per_suite(Config) -> kv_conformance:stop(Config).
init_per_group(Group, Config) -> kv_conformance:enter(Group, Config).
end_per_group(Group, Config) -> kv_conformance:leave(Group, Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

the_state_of_a_bucket_is_its_map(Config) ->
    ?assertEqual(
        [#{}, #{a => 1, {b} => [c]}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Empty = sys:get_state(Bucket),
            [ok = call(Bucket, {put, K, V}) || {K, V} <- [{a, 1}, {{b}, [c]}]],
            [Empty, sys:get_state(Bucket, 5000)]
        end)
    ).

the_state_of_a_registry_is_its_names(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Pid = call(Registry, {create, <<"a">>}),
        {Pid, sys:get_state(Registry)}
    end).

%% Texts of headers and the process dictionary are not compared.
a_status_has_the_shape_of_a_gen_server(Config) ->
    Seen = same(Config, fun(Node) ->
        [
            begin
                ok = call(Bucket, Put),
                Running = shape(sys:get_status(Bucket)),
                ok = sys:suspend(Bucket),
                Suspended = shape(sys:get_status(Bucket, 5000)),
                ok = sys:resume(Bucket),
                {Running, Suspended}
            end
         || {Bucket, Put} <- [{bucket(Node), {put, a, 1}}]
        ]
    end),
    ?assertMatch([{{status, _, {module, gen_server}, _, running, _, _, _}, {status, _, _, _, suspended, _, _, _}}], Seen).

shape({status, Pid, Module, [Dictionary, State, Parent, Debug, [{header, Header}, {data, General}, {data, Own}]]}) ->
    {status, Pid, Module, lists:keyfind('$initial_call', 1, Dictionary), State, Parent, Debug, {
        io_lib:printable_list(lists:flatten(Header)), [Key || {Key, _} <- General], lists:keyfind("Status", 1, General),
        lists:keyfind("Parent", 1, General), Own
    }}.

a_status_names_the_one_who_spawned_it(Config) ->
    same(Config, fun(Node) ->
        Helper = kv_case:helper(),
        Bucket = kv_case:do(Helper, fun() -> bucket(Node) end),
        {status, Bucket, _, [_, _, Parent, _, _]} = sys:get_status(Bucket),
        {Helper, Bucket, Parent}
    end).

a_suspended_process_keeps_its_requests_in_order(Config) ->
    ?assertMatch(
        {[], [{1, ok}, {2, 1} | _], 21},
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = sys:suspend(Bucket),
            Call = fun(Tag, Request) -> Bucket ! {'$gen_call', {self(), Tag}, Request} end,
            Call(1, {put, a, 1}),
            Call(2, {get, a}),
            [gen_server:cast(Bucket, {put, a, N}) || N <- lists:seq(3, 20)],
            Call(3, {get, a}),
            Bucket ! a_message,
            Call(4, {delete, a}),
            [Call({5, N}, {put_new, N, N}) || N <- lists:seq(1, 20)],
            ok = gen_server:cast(Bucket, {put, a, last}),
            Call(6, {get, a}),
            _ = sys:get_status(Bucket),
            Before = kv_test:mailbox(),
            ok = sys:resume(Bucket),
            {Before, next(25), call(Bucket, size)}
        end)
    ).

a_suspended_process_answers_system_messages(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = call(Bucket, {put, a, 1}),
        ok = sys:suspend(Bucket),
        ok = gen_server:cast(Bucket, {put, a, 2}),
        Seen = [sys:get_state(Bucket), sys:statistics(Bucket, true), sys:statistics(Bucket, false), sys:log(Bucket, true), sys:log(Bucket, false)],
        ok = sys:resume(Bucket),
        [sys:get_state(Bucket) | Seen]
    end).

%% A registry drops names after it has resumed, because the end of a bucket waits with the other messages.
a_suspended_process_gets_the_end_of_others_later(Config) ->
    same(Config, fun(Node) ->
        Registry = registry(Node),
        Bucket = call(Registry, {create, <<"a">>}),
        ok = sys:suspend(Registry),
        ok = gen_server:stop(Bucket),
        ok = sys:resume(Registry),
        ok = kv_test:wait(fun() -> call(Registry, {lookup, <<"a">>}) =:= error end),
        call(Registry, names)
    end).

to_suspend_and_to_resume_twice_is_once(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [sys:resume(Bucket), sys:suspend(Bucket), sys:suspend(Bucket), sys:resume(Bucket), serve(Bucket), sys:resume(Bucket), serve(Bucket)]
    end).

a_suspended_process_can_be_terminated(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = sys:suspend(Bucket),
        Request = gen_server:send_request(Bucket, size),
        Stopped = gen_server:stop(Bucket, {shutdown, suspended}, 5000),
        {Stopped, gen_server:receive_response(Request, 5000)}
    end).

a_terminate_ends_with_its_reason(Config) ->
    same(Config, fun(Node) ->
        [
            begin
                {Bucket, Monitor} = spawn_monitor(Node, kv_bucket, init, [[]]),
                {sys:terminate(Bucket, Reason), kv_test:down(Monitor)}
            end
         || Reason <- [normal, shutdown, kill, killed, crash, {a, "b"}, self()]
        ]
    end).

code_is_changed_only_while_suspended(Config) ->
    ?assertMatch(
        [{error, {unknown_system_msg, {change_code, kv_bucket, undefined, []}}}, ok, ok, ok, #{a := 1}],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            ok = call(Bucket, {put, a, 1}),
            Running = sys:change_code(Bucket, kv_bucket, undefined, []),
            ok = sys:suspend(Bucket),
            Suspended = [sys:change_code(Bucket, kv_bucket, "1.0", extra), sys:change_code(Bucket, kv_bucket, {down, 1}, [], 5000)],
            [Running | Suspended] ++ [sys:resume(Bucket), sys:get_state(Bucket)]
        end)
    ).

statistics_count_messages(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = call(Bucket, {put, before, 1}),
        ok = sys:statistics(Bucket, true),
        [0 = call(Bucket, {get, a, 0}) || _ <- lists:seq(1, 5)],
        [gen_server:cast(Bucket, {put, N, N}) || N <- [1, 2, 3]],
        Bucket ! hello,
        ok = serve(Bucket),
        {ok, Statistics} = sys:statistics(Bucket, get),
        ok = sys:statistics(Bucket, true),
        {ok, Again} = sys:statistics(Bucket, get),
        ok = sys:statistics(Bucket, false),
        {[Key || {Key, _} <- Statistics], counts(Statistics), counts(Again), sys:statistics(Bucket, get), times(Statistics)}
    end).

counts(Statistics) ->
    [lists:keyfind(Key, 1, Statistics) || Key <- [messages_in, messages_out]].

times(Statistics) ->
    [calendar:valid_date(Date) || Key <- [start_time, current_time], {_, {Date, {_, _, _}}} <- [lists:keyfind(Key, 1, Statistics)]].

statistics_that_are_off_say_so(Config) ->
    ?assertEqual({ok, no_statistics}, same(Config, fun(Node) -> sys:statistics(bucket(Node), get) end)).

%% Incoming messages are the same. For outgoing ones see docs/differences.md.
a_log_keeps_the_last_events(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = sys:log(Bucket, true),
        [ok = gen_server:cast(Bucket, {put, N, N}) || N <- lists:seq(1, 4)],
        {ok, Events} = sys:log(Bucket, get),
        ok = sys:log(Bucket, false),
        ok = sys:log(Bucket, {true, 2}),
        [Bucket ! {message, N} || N <- [1, 2, 3]],
        {ok, Last} = sys:log(Bucket, get),
        {[Event || {in, _} = Event <- Events], lists:last([Event || {in, _} = Event <- Last]), length(Last) =< 2}
    end).

a_log_that_is_off_is_empty(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = sys:log(Bucket, true),
        ok = serve(Bucket),
        ok = sys:log(Bucket, false),
        {sys:log(Bucket, get), sys:no_debug(Bucket), sys:log(Bucket, get)}
    end).

log_settings_are_checked(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [debug(Bucket, {log, What}) || What <- [{true, 5}, {true, 0}, {true, -1}, {true, a}, {false, 1}, perhaps, 7, []]] ++ [serve(Bucket)]
    end).

%% A system message as sys sends it, without the checks of sys.
debug(Bucket, What) ->
    system(Bucket, {debug, What}).

system(Bucket, Request) ->
    Tag = make_ref(),
    Bucket ! {system, {self(), Tag}, Request},
    case next() of
        {Tag, Answer} -> Answer;
        Other -> {unexpected, Other}
    end.

debug_settings_are_taken(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Fun = fun(State, _Event, _) -> State end,
        [
            sys:install(Bucket, {Fun, state}), sys:install(Bucket, {my_id, Fun, state}), sys:remove(Bucket, Fun), sys:remove(Bucket, my_id),
            sys:trace(Bucket, false), sys:log_to_file(Bucket, false), sys:no_debug(Bucket), serve(Bucket)
        ]
    end).

an_unknown_debug_request_is_told(Config) ->
    ?assertEqual(
        lists:duplicate(6, unknown_debug),
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            [debug(Bucket, What) || What <- [nothing, {trace, perhaps}, {statistics, perhaps}, {colour, green}, {}, {a, b, c}]]
        end)
    ).

an_unknown_system_message_is_told(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [system(Bucket, Request) || Request <- [hello, {hello, world}, [], get_everything, {get_state}, {change_code, a, b}, "text", 1]] ++ [serve(Bucket)]
    end).

a_system_message_to_a_dead_process_exits_with_noproc(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        ok = gen_server:stop(Bucket),
        [outcome(fun() -> sys:Function(Bucket) end) || Function <- [get_state, get_status, suspend, resume]]
    end).

a_late_answer_of_sys_never_lands_in_the_mailbox(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [_ = outcome(fun() -> sys:get_status(Bucket, 0) end) || _ <- lists:seq(1, 50)],
        ok = serve(Bucket),
        kv_test:mailbox()
    end).

a_system_reply_keeps_its_tag(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [begin Bucket ! {system, {self(), Tag}, get_state}, next() end || Tag <- [tag, [tag], {tag, 1}, [alias | tail], "tag"]]
    end).
