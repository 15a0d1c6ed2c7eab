%% Terms: every kind of term comes back as it was put, as a key and as a value.
-module(kv_conf_terms_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile([export_all, nowarn_export_all]).

-import(kv_case, [bucket/1, bucket/2, call/2, outcome/1, serve/1]).
-import(kv_conformance, [same/2, same/3]).

-define(MAX_DEPTH, 65536).
%% Flags of the raw peer: neither an atom cache nor fragments, so that frames are plain with every node.
-define(PLAIN, (kv_raw_peer:all_flags() band bnot 16#802000)).

suite() -> [{timetrap, {seconds, 120}}].

all() ->
    [
        every_term_is_a_value,
        every_term_is_a_key,
        every_term_survives_inside_others,
        identifiers_of_other_nodes_come_back,
        identifiers_of_five_words_come_back,
        funs_come_back_and_run,
        terms_that_are_equal_but_do_not_match_are_two_keys,
        zeros_are_keys_as_the_callers_otp_has_them,
        a_binary_of_64_mebibytes_comes_back,
        many_sizes_of_binaries_come_back,
        a_long_list_and_a_wide_tuple_come_back,
        a_map_is_one_key_whatever_its_order,
        a_term_is_one_key_however_it_is_written,
        nesting_comes_back_up_to_the_limit,
        a_map_of_a_hundred_thousand_keys_is_a_value,
        whole_buckets_come_back
    ].

init_per_suite(Config) -> kv_conformance:start(Config, ["--max-depth", integer_to_list(?MAX_DEPTH)]).
end_per_suite(Config) -> kv_conformance:stop(Config).
end_per_testcase(_Case, Config) -> kv_conformance:restart_case(Config).

%%% Terms

terms() ->
    atoms() ++ integers() ++ floats() ++ binaries() ++ lists() ++ tuples() ++ maps() ++ identifiers() ++ funs().

%% If 0.0 and -0.0 are one key, a native bucket keeps the key without its sign: docs/differences.md.
keys() ->
    [Term || Term <- terms(), not (is_negative_zero(Term) andalso zeros_are_one())].

is_negative_zero(Term) -> is_float(Term) andalso <<Term/float>> =:= <<1:1, 0:63>>.

zeros_are_one() -> list_to_float("0.0") =:= list_to_float("-0.0").

atoms() ->
    [
        a, '', nil, true, undefined, 'with space', 'åäö', '$gen_call', list_to_atom(lists:duplicate(255, $a)),
        list_to_atom(lists:duplicate(255, 16#E9)), list_to_atom(lists:duplicate(255, 16#20AC)), list_to_atom(lists:duplicate(255, 16#1F600)),
        'Elixir.KV.Bucket', '\0'
    ].

integers() ->
    Edges = [0, 1, 255, 256, 1 bsl 27, 1 bsl 28, 1 bsl 31, 1 bsl 32, 1 bsl 59, 1 bsl 60, 1 bsl 63, 1 bsl 64, 1 bsl 2039, 1 bsl 2040, 1 bsl 2048, 1 bsl 20000],
    lists:usort([Sign * (Edge + Near) || Edge <- Edges, Sign <- [1, -1], Near <- [-1, 0, 1]]).

floats() ->
    [
        0.0, -0.0, 1.0, -1.5, 0.1, 1.0e308, -1.0e308, 1.7976931348623157e308, 2.2250738585072014e-308, 5.0e-324, 3.141592653589793,
        9007199254740992.0, 9007199254740993.0
    ].

binaries() ->
    [<<>>, <<0>>, <<255>>, <<"text">>, <<"åäö"/utf8>>, <<1:1>>, <<0:1>>, <<5:3>>, <<255, 1:7>>, <<0:65535>>, <<1:9>>, binary:copy(<<7>>, 70000)].

lists() ->
    [
        [], [a], "text", [0], [255], [256], lists:seq(0, 255), lists:seq(1, 300), "åäö", [16#1F600], [a | b], [1 | 2], [1, 2 | <<"tail">>],
        [$a | $b], [[]], [[], [[]]], [[a | b] | [c | d]], lists:duplicate(65535, $x), lists:duplicate(65536, $x), lists:duplicate(70000, a)
    ].

tuples() ->
    [{}, {a}, {a, b}, {{}}, {{{}}, [{}]}, list_to_tuple(lists:seq(1, 255)), list_to_tuple(lists:seq(1, 256)), list_to_tuple(lists:seq(1, 1000))].

maps() ->
    [
        #{}, #{a => 1}, #{1 => a, 1.0 => b, <<"1">> => c, "1" => d, '1' => e}, #{#{} => #{}}, #{[] => {}, {} => []},
        maps:from_list([{N, N} || N <- lists:seq(1, 32)]), maps:from_list([{N, N} || N <- lists:seq(1, 33)]),
        maps:from_list([{{N}, [N]} || N <- lists:seq(1, 1000)]), #{a => #{b => #{c => [#{d => e}]}}}
    ].

identifiers() ->
    [self(), make_ref(), alias(), erlang:monitor(time_offset, clock_service), hd(erlang:ports())].

funs() ->
    Value = {captured, self()},
    [fun() -> Value end, fun(A, B) -> {A, B, Value} end, fun ?MODULE:terms/0, fun erlang:node/0, fun no_module:f/7].

%%% Cases

%% Returns the places of the terms that do not come back exactly.
not_kept(Terms, Keeps) ->
    [{N, Term} || {N, Term} <- lists:zip(lists:seq(1, length(Terms)), Terms), not Keeps(Term)].

exactly(A, B) ->
    A =:= B andalso term_to_binary(A) =:= term_to_binary(B).

every_term_is_a_value(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            not_kept(terms(), fun(Term) ->
                ok = call(Bucket, {put, key, Term}),
                [exactly(Term, Value) || Value <- [call(Bucket, {get, key}), call(Bucket, {get, other, Term}), element(2, call(Bucket, {fetch, key}))]] =:= [true, true, true] andalso
                    exactly(Term, call(Bucket, {delete, key}))
            end)
        end)
    ).

every_term_is_a_key(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            not_kept(keys(), fun(Term) ->
                true = call(Bucket, {put_new, Term, 1}),
                false = call(Bucket, {put_new, Term, 2}),
                [Key] = call(Bucket, keys),
                Seen = [call(Bucket, {get, Term, none}), call(Bucket, {has_key, Term}), call(Bucket, {delete, Term}), call(Bucket, size)],
                exactly(Term, Key) andalso Seen =:= [1, true, 1, 0]
            end)
        end)
    ).

every_term_survives_inside_others(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            not_kept(keys(), fun(Term) ->
                Whole = {[Term, {Term}, #{Term => Term, a => [Term | Term]}], <<"end">>},
                ok = call(Bucket, {put, Whole, Whole}),
                exactly(Whole, call(Bucket, {get, Whole, none})) andalso exactly([Whole], call(Bucket, keys)) andalso
                    exactly(#{Whole => Whole}, sys:get_state(Bucket)) andalso ok =:= call(Bucket, clear)
            end)
        end)
    ).

identifiers_of_other_nodes_come_back(Config) ->
    kept(Config, fun(Node) ->
        Bucket = bucket(Node),
        [Bucket, kv_case:other_creation(Bucket, 1), kv_case:other_creation(self(), 1), kv_case:other_creation(make_ref(), 7)] ++
            [kv_raw_peer:pid(Name, Id, 5) || Name <- ["nobody@nowhere", lists:duplicate(200, $n) ++ "@x"], Id <- [0, 1, 16#FFFFFFF, 16#FFFFFFFF]]
    end).

identifiers_of_five_words_come_back(Config) ->
    kept(Config, fun(_Node) ->
        [reference(Words) || Words <- [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5], [16#3FFFF, 16#FFFFFFFF, 16#FFFFFFFF, 16#FFFFFFFF, 16#FFFFFFFF]]]
    end).

reference(Words) ->
    Bytes = <<<<Word:32>> || Word <- Words>>,
    binary_to_term(<<131, 90, (length(Words)):16, 119, 14, "nobody@nowhere", 5:32, Bytes/binary>>).

kept(Config, Terms) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            not_kept(Terms(Node), fun(Term) ->
                ok = call(Bucket, {put, Term, [Term]}),
                exactly([Term], call(Bucket, {get, Term, none})) andalso [Term] =:= call(Bucket, {delete, Term})
            end)
        end)
    ).

funs_come_back_and_run(Config) ->
    ?assertEqual(
        [{captured, 7}, {1, 2, 7}, '$caller'],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Value = binary_to_integer(<<"7">>),
            [ok = call(Bucket, {put, K, V}) || {K, V} <- [{a, fun() -> {captured, Value} end}, {b, fun(A, B) -> {A, B, Value} end}, {c, fun erlang:node/0}]],
            [(call(Bucket, {get, a}))(), (call(Bucket, {get, b}))(1, 2), (call(Bucket, {get, c}))()]
        end)
    ).

terms_that_are_equal_but_do_not_match_are_two_keys(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        Pairs = [{1, 1.0}, {[1], [1.0]}, {{1}, {1.0}}, {#{1 => 1}, #{1 => 1.0}}, {#{1 => a}, #{1.0 => a}}, {[a | 1], [a | 1.0]}],
        [
            begin
                ok = call(Bucket, clear),
                [call(Bucket, {put_new, A, a}), call(Bucket, {put_new, B, b}), call(Bucket, {get, A}), call(Bucket, {get, B}), call(Bucket, size)]
            end
         || {A, B} <- Pairs
        ]
    end).

zeros_are_keys_as_the_callers_otp_has_them(Config) ->
    same(Config, fun(Node) ->
        Bucket = bucket(Node),
        [
            begin
                ok = call(Bucket, clear),
                Seen = [call(Bucket, {put_new, A, a}), call(Bucket, {put_new, B, b}), call(Bucket, {get, A, none}), call(Bucket, size)],
                {Seen, length(call(Bucket, keys))}
            end
         || {A, B} <- [{0.0, -0.0}, {-0.0, 0.0}, {[0.0], [-0.0]}, {{a, 0.0}, {a, -0.0}}, {#{a => 0.0}, #{a => -0.0}}, {0, 0.0}]
        ]
    end).

a_binary_of_64_mebibytes_comes_back(Config) ->
    ?assertEqual(
        [true, true, nil],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Value = binary:copy(<<"0123456789abcdef">>, 4 bsl 20),
            67108864 = byte_size(Value),
            ok = gen_server:call(Bucket, {put, large, Value}, 60000),
            Seen = [
                Value =:= gen_server:call(Bucket, {get, large}, 60000), Value =:= gen_server:call(Bucket, {delete, large}, 60000),
                call(Bucket, {get, large})
            ],
            ok = gen_server:stop(Bucket),
            Seen
        end, 90000)
    ).

%% Sizes around those at which a BEAM sends fragments, and around powers of two.
many_sizes_of_binaries_come_back(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Sizes = [Size + Near || Size <- [64, 1 bsl 10, 1 bsl 16, 1 bsl 17, 1 bsl 20, 3 bsl 20], Near <- lists:seq(-3, 3)] ++ lists:seq(65536 - 200, 65536 + 10, 7),
            [Size || Size <- Sizes, Value <- [binary:copy(<<Size:8>>, Size)], call(Bucket, {put, k, Value}) =/= ok orelse call(Bucket, {get, k}) =/= Value]
        end)
    ).

a_long_list_and_a_wide_tuple_come_back(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Long = lists:seq(1, 300000),
            not_kept([Long, list_to_tuple(Long), {Long, Long}], fun(Term) ->
                ok = call(Bucket, {put, Term, Term}),
                exactly(Term, call(Bucket, {delete, Term}))
            end)
        end)
    ).

%% A BEAM chooses the order of a map. A raw peer sends both orders.
a_map_is_one_key_whatever_its_order(Config) ->
    Keys = lists:seq(1, 100000),
    Up = [Keys, fun encode_pair/1],
    [Ascending, Descending] = [encode_map(Order, lists:last(Up)) || Order <- [Keys, lists:reverse(Keys)]],
    [
        ?assertEqual(
            {Which, [ok, ok, 1, two]},
            {Which, with_raw_peer(Config, Which, Node, fun(Peer, Bucket) ->
                Map = maps:from_list([{N, [N]} || N <- Keys]),
                [
                    request(Peer, Bucket, [<<104, 3>>, bytes(put), Ascending, bytes(one)]),
                    request(Peer, Bucket, [<<104, 3>>, bytes(put), Descending, bytes(two)]),
                    request(Peer, Bucket, [bytes(size)]),
                    request(Peer, Bucket, [bytes({get, Map})])
                ]
            end)}
        )
     || {Which, Node} <- kv_conformance:targets(Config)
    ].

encode_map(Keys, Encode) ->
    [<<116, (length(Keys)):32>>, [Encode(Key) || Key <- Keys]].

encode_pair(N) -> [bytes(N), bytes([N])].

%% A term without the version byte.
bytes(Term) ->
    <<131, Bytes/binary>> = term_to_binary(Term, [{minor_version, 2}]),
    Bytes.

%% Two encodings of one term: each row is put under its first encoding and found under the others.
a_term_is_one_key_however_it_is_written(Config) ->
    Rows = [
        [<<107, 3:16, "abc">>, <<108, 3:32, 97, $a, 97, $b, 97, $c, 106>>],
        [<<107, 1:16, 7>>, <<108, 1:32, 97, 7, 106>>, <<108, 1:32, 98, 7:32, 106>>],
        [<<106>>, <<107, 0:16>>],
        [<<97, 5>>, <<98, 5:32>>, <<110, 1, 0, 5>>, <<111, 1:32, 0, 5>>],
        [<<98, 70000:32>>, <<110, 3, 0, 70000:24/little>>, <<110, 4, 0, 70000:32/little>>],
        [<<110, 8, 0, (1 bsl 63):64/little>>, <<111, 8:32, 0, (1 bsl 63):64/little>>, <<110, 9, 0, (1 bsl 63):72/little>>],
        [<<119, 1, "a">>, <<118, 1:16, "a">>, <<115, 1, "a">>, <<100, 1:16, "a">>],
        [<<119, 2, "é"/utf8>>, <<118, 2:16, "é"/utf8>>, <<115, 1, 16#E9>>, <<100, 1:16, 16#E9>>],
        [<<104, 1, 97, 1>>, <<105, 1:32, 97, 1>>, <<105, 1:32, 98, 1:32>>],
        [<<108, 2:32, 97, 1, 97, 2, 97, 3>>, <<108, 1:32, 97, 1, 108, 1:32, 97, 2, 97, 3>>],
        [<<108, 2:32, 97, 1, 97, 2, 106>>, <<108, 1:32, 97, 1, 107, 1:16, 2>>, <<107, 2:16, 1, 2>>],
        [<<116, 2:32, 97, 1, 97, 2, 97, 3, 97, 4>>, <<116, 2:32, 97, 3, 97, 4, 97, 1, 97, 2>>, <<116, 2:32, 98, 3:32, 97, 4, 97, 1, 98, 2:32>>]
    ],
    Seen = [
        {Which, with_raw_peer(Config, Which, Node, fun(Peer, Bucket) -> [spellings(Peer, Bucket, Row) || Row <- Rows] end)}
     || {Which, Node} <- kv_conformance:targets(Config)
    ],
    [?assertEqual({Which, [[ok | [found || _ <- tl(Row)]] || Row <- Rows]}, {Which, Found}) || {Which, Found} <- Seen].

spellings(Peer, Bucket, [First | Others]) ->
    Put = request(Peer, Bucket, [<<104, 3>>, bytes(put), First, bytes(found)]),
    Found = [request(Peer, Bucket, [<<104, 2>>, bytes(get), Other]) || Other <- Others],
    ok = request(Peer, Bucket, [bytes(clear)]),
    [Put | Found].

%%% Raw peers

with_raw_peer(Config, Which, Node, Fun) ->
    Bucket = kv_test:in(kv_conformance:caller(Config), fun() -> bucket(Node) end),
    Name = "raw_" ++ atom_to_list(Which) ++ "@127.0.0.1",
    {ok, Peer} = kv_conformance:raw_peer(Config, Node, #{name => Name, flags => ?PLAIN}),
    try
        Fun(Peer, Bucket)
    after
        kv_raw_peer:close(Peer)
    end.

%% A call whose request is given as bytes.
request(#{name := Name} = Peer, Bucket, Request) ->
    Self = kv_raw_peer:pid(Name, 1, 77),
    Tag = make_ref(),
    Control = term_to_binary({22, Self, Bucket}),
    Payload = [<<131, 104, 3>>, bytes('$gen_call'), bytes({Self, Tag}), Request],
    Frame = iolist_to_binary([<<112>>, Control, Payload]),
    ok = kv_raw_peer:send_bytes(Peer, <<(byte_size(Frame)):32, Frame/binary>>),
    kv_raw_peer:recv_reply(Peer, Tag).

%%% Limits

%% The term around the value is a tuple inside a tuple. For one past the limit see kv_conf_differences_SUITE.
nesting_comes_back_up_to_the_limit(Config) ->
    ?assertEqual(
        [],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Depths = [1, 2, 1000, 30000, ?MAX_DEPTH - 3, ?MAX_DEPTH - 2],
            Wraps = [fun(X) -> [X] end, fun(X) -> {X} end, fun(X) -> #{a => X} end, fun(X) -> [a, X] end],
            [
                {Depth, Wrap([])}
             || Depth <- Depths,
                Wrap <- Wraps,
                Term <- [nested(Depth, Wrap, [])],
                [ok, Term, ok, Term] =/= [call(Bucket, Request) || Request <- [{put, k, Term}, {get, k}, {put, Term, Term}, {get, Term}]]
            ]
        end)
    ).

%% Depth containers around Inner.
nested(Depth, Wrap, Inner) ->
    lists:foldl(fun(_, Term) -> Wrap(Term) end, Inner, lists:seq(1, Depth)).

a_map_of_a_hundred_thousand_keys_is_a_value(Config) ->
    ?assertEqual(
        true,
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Map = maps:from_list([{{key, N}, #{n => N}} || N <- lists:seq(1, 100000)]),
            ok = call(Bucket, {put, k, Map}),
            Map =:= call(Bucket, {get, k})
        end)
    ).

whole_buckets_come_back(Config) ->
    ?assertEqual(
        [true, true, true],
        same(Config, fun(Node) ->
            Bucket = bucket(Node),
            Map = maps:from_list([{N, {value, N}} || N <- lists:seq(1, 5000)] ++ [{Term, Term} || Term <- keys()]),
            [ok = call(Bucket, {put, Key, Value}) || {Key, Value} <- maps:to_list(Map)],
            [Map =:= call(Bucket, to_map), maps:from_keys(maps:keys(Map), []) =:= maps:from_keys(call(Bucket, keys), []), Map =:= sys:get_state(Bucket)]
        end)
    ).
