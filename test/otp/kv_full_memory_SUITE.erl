%% @doc Nodes whose memory is full: each starts again on its own data with the same limit, and as often as it must.
-module(kv_full_memory_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-define(LIMIT, (16 bsl 20)).
-define(STARTS, 10).
%% So that the loan has room for what a second brings: a start frees entries a second late.
-define(PAUSE, 60).

suite() -> [{timetrap, {seconds, 300}}].

all() ->
    [
        data_that_fills_the_memory_fits_again,
        buckets_that_evict_leave_others_their_memory,
        a_registry_of_many_small_buckets_fits_again,
        entries_that_had_expired_need_no_memory,
        entries_that_live_for_a_moment_need_no_more_than_in_life,
        entries_that_are_about_to_expire_are_waited_for,
        an_entry_that_was_prolonged_stays_though_the_clock_was_set_ahead,
        the_limit_is_what_it_was_after_a_start,
        data_larger_than_the_limit_is_refused_with_the_need
    ].

init_per_suite(Config) -> kv_disk_world:build_shim(kv_disk_world:start_suite(Config)).
end_per_suite(Config) -> kv_disk_world:end_suite(Config).
init_per_testcase(_Case, Config) -> kv_disk_world:start_case(Config).
end_per_testcase(_Case, Config) -> kv_disk_world:end_case(Config).

%%% Start after start

%% In each life the sizes of values change while the memory is full. Each bucket has what it had.
data_that_fills_the_memory_fits_again(Config) ->
    Names = [small, middle, large, mixed],
    starts(Config, fun(Server, Found) ->
        Buckets = [kv_disk_world:bucket(Server, Name) || Name <- Names],
        check(Found, [contents(Bucket) || Bucket <- Buckets]),
        _ = [churn(Bucket, Longest) || {Bucket, Longest} <- lists:zip(Buckets, shuffled([10, 300, 3000, 30000]))],
        [contents(Bucket) || Bucket <- Buckets]
    end).

buckets_that_evict_leave_others_their_memory(Config) ->
    starts(Config, fun(Server, Found) ->
        Kept = kv_disk_world:bucket(Server, kept),
        Caches = [kv_disk_world:bucket(Server, Name, [{evict, lru}]) || Name <- [cache, other_cache]],
        check(Found, contents(Kept)),
        _ = [churn(Bucket, Longest) || {Bucket, Longest} <- lists:zip([Kept | Caches], shuffled([20, 200, 5000]))],
        ?assert(lists:all(fun(Cache) -> kv_bucket:size(Cache) > 0 end, Caches)),
        contents(Kept)
    end).

a_registry_of_many_small_buckets_fits_again(Config) ->
    starts(Config, fun(Server, Found) ->
        {ok, Registry} = kv_registry:start_link([{name, carts}, {durable, commit}, {node, Server}]),
        check(Found, carts(Registry)),
        fill_carts(Registry, 1),
        carts(Registry)
    end).

fill_carts(Registry, N) ->
    Name = integer_to_binary(N),
    ok = kv_registry:create(Registry, Name),
    {ok, Cart} = kv_registry:lookup(Registry, Name),
    case kv_bucket:put_many(Cart, [{rand:uniform(1000), value(400)} || _ <- lists:seq(1, 40)]) of
        ok when N < 3000 -> fill_carts(Registry, N + 1);
        _ -> ok
    end.

carts(Registry) ->
    [
        {Name, contents(element(2, kv_registry:lookup(Registry, Name)))}
     || Name <- lists:sort(kv_registry:names(Registry))
    ].

the_limit_is_what_it_was_after_a_start(Config) ->
    starts(Config, fun(Server, _Found) ->
        Bucket = kv_disk_world:bucket(Server, sessions),
        churn(Bucket, 500),
        {Memory, Limit} = rpc:call(maps:get(name, kv_node:info(Server)), kv_node, memory, []),
        ?assertEqual(?LIMIT, Limit),
        ?assert(Memory =< Limit + Limit div 16, Memory),
        ?assertEqual({error, enomem}, kv_bucket:put(Bucket, big, binary:copy(<<"v">>, ?LIMIT div 4)))
    end).

%%% Entries that have ended

%% The log has four times what the memory can hold.
entries_that_had_expired_need_no_memory(Config) ->
    starts(Config, 3, fun(Server, _Found) ->
        Bucket = kv_disk_world:bucket(Server, sessions),
        ?assertEqual(1, kv_bucket:get(Bucket, ever, 1)),
        ok = kv_bucket:put(Bucket, ever, 1),
        put_for_a_moment(Bucket, 55)
    end).

%% Each life of the entries is shorter than the second that a start allows for clocks that differ. The loan is an eighth of the
%% limit, since the program takes the memory of the machine for so small.
entries_that_live_for_a_moment_need_no_more_than_in_life(Config) ->
    Folder = ?config(case_home, Config),
    Fake = filename:join(Folder, "meminfo"),
    ok = file:write_file(Fake, "MemTotal: 84260 kB\nMemFree: 84260 kB\nMemAvailable: 84260 kB\n"),
    Mount = "mount --bind " ++ Fake ++ " /proc/meminfo",
    kv_disk_world:if_apart(Mount, fun() ->
        Options = [{max_memory, 64 bsl 20}, {checkpoint_log, 1 bsl 40}, {program, kv_disk_world:apart(Config, [Mount])}],
        in_vm(Config, fun() ->
            Server = kv_disk_world:start_node(Config, Options),
            Bucket = kv_disk_world:bucket(Server, sessions),
            ok = kv_bucket:put(Bucket, ever, 1),
            fill_again_and_again(Bucket, 250),
            ok = kv_test:signal("KILL", kv_disk_world:os_pid(Server)),
            kv_disk_world:patient(fun() -> kv_bucket:get(Bucket, ever) end),
            ?assertEqual(1, kv_bucket:get(Bucket, ever)),
            kv_disk_world:stop_node(Server)
        end)
    end).

%% Puts so many megabytes, and fills the memory each time that its entries have expired.
fill_again_and_again(_Bucket, 0) -> ok;
fill_again_and_again(Bucket, Left) ->
    case kv_bucket:put_many(Bucket, [{{Left, J}, binary:copy(<<J>>, 100000)} || J <- lists:seq(1, 10)], [{ttl, 300}]) of
        ok -> fill_again_and_again(Bucket, Left - 1);
        %% Counting makes the room of what has expired free, at once.
        {error, enomem} -> _ = kv_bucket:size(Bucket), fill_again_and_again(Bucket, Left)
    end.

%% With them the data is larger than the limit of the second start.
entries_that_are_about_to_expire_are_waited_for(Config) ->
    in_vm(Config, fun() ->
        Server = start_node(Config, []),
        Bucket = kv_disk_world:bucket(Server, sessions),
        Put = fun(Of, Options) ->
            [ok = kv_bucket:put_many(Bucket, [{{Of, I, J}, binary:copy(<<J>>, 10000)} || J <- lists:seq(1, 100)], Options) || I <- lists:seq(1, 6)]
        end,
        _ = Put(kept, [{ttl, 3600000}]),
        _ = Put(soon, [{ttl, 1500}]),
        kv_disk_world:stop_node(Server)
    end),
    in_vm(Config, fun() ->
        Next = kv_disk_world:start_node(Config, [{max_memory, ?LIMIT div 2}]),
        Bucket = kv_disk_world:bucket(Next, sessions),
        ?assertEqual(600, length([Key || {kept, _, _} = Key <- kv_bucket:keys(Bucket)])),
        kv_disk_world:stop_node(Next)
    end).

%% Puts so many megabytes, each as soon as there is room.
put_for_a_moment(Bucket, Count) ->
    Put = fun(I) -> kv_bucket:put_many(Bucket, [{{I, J}, binary:copy(<<J>>, 10000)} || J <- lists:seq(1, 100)], [{ttl, 300}]) end,
    _ = [ok = kv_test:wait(fun() -> Put(I) =:= ok andalso ok end) || I <- lists:seq(1, Count), ok =:= timer:sleep(?PAUSE)],
    ok.

%% By the clock its first life was over when memory became short at the next start.
an_entry_that_was_prolonged_stays_though_the_clock_was_set_ahead(Config) ->
    Program = {program, kv_disk_world:shimmed(Config, [])},
    in_vm(Config, fun() ->
        Server = start_node(Config, [Program]),
        Bucket = kv_disk_world:bucket(Server, sessions),
        ok = kv_bucket:put(Bucket, prolonged, 1, [{ttl, 60000}]),
        ok = kv_disk_world:break("clock", integer_to_list(600), Config),
        put_for_a_moment(Bucket, 24),
        true = kv_bucket:expire(Bucket, prolonged, 3600000),
        kv_disk_world:stop_node(Server)
    end),
    in_vm(Config, fun() ->
        Server = start_node(Config, [Program]),
        ?assertEqual(1, kv_bucket:get(kv_disk_world:bucket(Server, sessions), prolonged)),
        kv_disk_world:stop_node(Server)
    end).

%%% Too much

data_larger_than_the_limit_is_refused_with_the_need(Config) ->
    in_vm(Config, fun() ->
        Server = start_node(Config, []),
        churn(kv_disk_world:bucket(Server, sessions), 500),
        kv_disk_world:stop_node(Server)
    end),
    Text = in_vm(Config, fun() -> kv_disk_world:refusal(Config, [{max_memory, ?LIMIT div 4 * 3}]) end),
    Pattern = "^data folder .*: the durable buckets need ([0-9]+) bytes of memory, and --max-memory allows 12582912: raise it$",
    {match, [Need]} = re:run(Text, Pattern, [{capture, all_but_first, list}]),
    in_vm(Config, fun() ->
        Server = kv_disk_world:start_node(Config, [{max_memory, list_to_integer(Need)}]),
        kv_disk_world:stop_node(Server)
    end).

%%% Support

in_vm(Config, Fun) -> kv_test:in(?config(vm, Config), Fun, 250000).

start_node(Config, Options) -> kv_disk_world:start_node(Config, [{max_memory, ?LIMIT} | Options]).

%% Starts a node again and again. The function gets what it has returned in the life before; first `none'.
starts(Config, Life) ->
    starts(Config, ?STARTS, Life).

starts(Config, Count, Life) ->
    lists:foldl(fun(N, Found) -> in_vm(Config, fun() -> one_life(Config, N, Found, Life) end) end, none, lists:seq(1, Count)).

one_life(Config, N, Found, Life) ->
    _ = rand:seed(exsss, {N, 2, 3}),
    Server = start_node(Config, []),
    Left = Life(Server, Found),
    ok = kv_disk_world:stop_node(Server),
    Left.

check(none, _Now) -> ok;
check(Found, Now) -> ?assertEqual(Found, Now).

contents(Bucket) ->
    Map = kv_bucket:to_map(Bucket),
    {map_size(Map), erlang:phash2(lists:sort(maps:to_list(Map)))}.

%% Puts and deletes until the memory has been full for a while.
churn(Bucket, Longest) ->
    churn(Bucket, Longest, 0, 0).

churn(_Bucket, _Longest, Refused, Done) when Refused >= 30; Done >= 1000 -> ok;
churn(Bucket, Longest, Refused, Done) ->
    Entries = [{rand:uniform(100000), value(Longest)} || _ <- lists:seq(1, 100)],
    Answer = kv_bucket:put_many(Bucket, Entries),
    _ = kv_bucket:delete_many(Bucket, [rand:uniform(100000) || _ <- lists:seq(1, 10)]),
    churn(Bucket, Longest, Refused + if Answer =:= ok -> 0; true -> 1 end, Done + 1).

value(Longest) -> binary:copy(<<"v">>, rand:uniform(Longest)).

shuffled(List) -> [X || {_, X} <- lists:sort([{rand:uniform(), X} || X <- List])].
