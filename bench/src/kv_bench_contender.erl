%% @doc The contenders: each runs in an operating system process of its own, holds one table, and has its own way to be called.
%%
%% All keep the same thousand keys, and get the same requests from the same callers in this VM.
-module(kv_bench_contender).

-export([start/1, stop/1, names/0, all/0, title/1, fill/3]).
%% For contenders that only one part has.
-export([contender/4, alive/1, redis/3]).

-export_type([t/0, name/0]).

-type name() :: atom().
-type t() :: #{
    name := name(),
    %% The process that answers; undefined if it is this VM.
    os_pid := pos_integer() | undefined,
    %% Calls for one look at the clock: more than one if a look costs as much as a call.
    batch := pos_integer(),
    %% A caller's own state, made from its number.
    open := fun((pos_integer()) -> term()),
    close := fun((term()) -> term()),
    get := fun((State :: term(), Key :: binary()) -> term()),
    put := fun((State :: term(), Key :: binary(), Value :: term()) -> term()),
    get_many => fun((State :: term(), [binary()]) -> term()),
    put_many => fun((State :: term(), [{binary(), term()}]) -> term()),
    %% Sends one request for each key before it waits for the first answer.
    pipelined => fun((State :: term(), [binary()]) -> term()),
    %% The same, with a time to live in milliseconds.
    put_expiring => fun((State :: term(), [{binary(), term()}], pos_integer()) -> term()),
    %% Adds one to the number under the key.
    incr => fun((State :: term(), Key :: binary()) -> term()),
    %% Replaces the number under the key by the result of a function of it.
    update => fun((State :: term(), Key :: binary(), fun((integer()) -> integer())) -> term()),
    %% Puts all entries, or none of them.
    transaction => fun((State :: term(), [{binary(), term()}]) -> term()),
    %% Walks over the whole table, and returns how many entries, or keys, it has seen.
    walk => fun((State :: term(), entries | keys) -> non_neg_integer()),
    %% Removes all entries.
    clear => fun((State :: term()) -> term()),
    %% Called before memory is measured: collects garbage, if there is any.
    settle => fun(() -> term()),
    %% Returns true if this is a stored value: some contenders have no store.
    holds := boolean(),
    end_it := fun(() -> term())
}.

-define(LOOPBACK, "127.0.0.1").
-define(CALL_TIMEOUT, 60000).
%% As many connections as the pool of an application on this machine would have.
-define(POOL, 4).

-spec names() -> [name()].
names() ->
    [kv_bucket] ++ [Name || Name <- [kv_gather, kv_eager, kv_prompt], is_valid(options(Name))] ++
        [kv_call, map, ets, agent, eredis, eredis_pool, libei, tcp, local_ets, local_agent].

%% @doc The contenders, with those that only the parts `reads', `terms', `lane' and `tls' have.
-spec all() -> [name()].
all() ->
    names() ++ [kv_local, kv_local_pid, kv_lane, local_server, local_server_ets, persistent_term, nobody, kv_tls, map_tls] ++ kv_bench_stores:names().

%% @doc The name in tables and plots.
-spec title(name()) -> string().
title(kv_bucket) -> "KV.Bucket";
title(kv_gather) -> "KV.Bucket, gathers";
title(kv_eager) -> "KV.Bucket, eager";
title(kv_prompt) -> "KV.Bucket, no delay_send";
title(kv_call) -> "GenServer.call to kv";
title(map) -> "GenServer, map, peer";
title(ets) -> "GenServer, ETS, peer";
title(agent) -> "Agent {M,F,A}, peer";
title(eredis) -> "eredis";
title(eredis_pool) -> "eredis, pool of " ++ integer_to_list(?POOL);
title(libei) -> "libei node";
title(tcp) -> "raw TCP";
title(local_ets) -> "local ETS";
title(local_agent) -> "local Agent";
title(kv_local) -> "KV.Bucket, local_reads";
title(kv_local_pid) -> "the same by pid";
title(kv_lane) -> "KV.Bucket, local: :all";
title(local_server) -> "local GenServer, map";
title(local_server_ets) -> "local GenServer, ETS";
title(persistent_term) -> "persistent_term";
title(nobody) -> "nobody reads";
title(kv_tls) -> "KV.Bucket, over TLS";
title(map_tls) -> "GenServer, map, peer, over TLS";
title(Name) -> kv_bench_stores:title(Name).

-spec stop(t()) -> ok.
stop(#{end_it := End}) ->
    _ = End(),
    ok.

%% @doc Puts this value under each key, and checks that it is there.
-spec fill(t(), [binary()], term()) -> ok.
fill(#{open := Open, close := Close, put := Put, get := Get, holds := Holds}, Keys, Value) ->
    State = Open(1),
    _ = [Put(State, Key, Value) || Key <- Keys],
    _ = Holds andalso [Value = Get(State, Key) || Key <- [hd(Keys), lists:last(Keys)]],
    _ = Close(State),
    ok.

-spec start(name()) -> t().
start(Name) when Name =:= kv_bucket; Name =:= kv_gather; Name =:= kv_eager; Name =:= kv_prompt ->
    kv(Name, options(Name), fun bucket/1);
start(kv_call) ->
    kv(kv_call, [], fun(Bucket) ->
        #{
            get => fun(_, Key) -> gen_server:call(Bucket, {get, Key, nil}) end,
            put => fun(_, Key, Value) -> gen_server:call(Bucket, {put, Key, Value}) end,
            get_many => fun(_, Keys) -> gen_server:call(Bucket, {get_many, Keys}, ?CALL_TIMEOUT) end,
            put_many => fun(_, Entries) -> gen_server:call(Bucket, {put_many, Entries}, ?CALL_TIMEOUT) end,
            pipelined => fun(_, Keys) -> pipelined(Bucket, Keys) end
        }
    end);
start(Name) when Name =:= map; Name =:= ets ->
    on_peer(Name, {server(Name), start, []}, fun(Server) ->
        #{
            get => fun(_, Key) -> gen_server:call(Server, {get, Key, nil}) end,
            put => fun(_, Key, Value) -> gen_server:call(Server, {put, Key, Value}) end,
            get_many => fun(_, Keys) -> gen_server:call(Server, {get_many, Keys}, ?CALL_TIMEOUT) end,
            put_many => fun(_, Entries) -> gen_server:call(Server, {put_many, Entries}, ?CALL_TIMEOUT) end,
            pipelined => fun(_, Keys) -> pipelined(Server, Keys) end,
            incr => fun(_, Key) -> gen_server:call(Server, {incr, Key}) end,
            walk => fun(_, What) -> walk(Name, Server, What) end,
            clear => fun(_) -> gen_server:call(Server, clear, ?CALL_TIMEOUT) end
        }
    end);
start(agent) ->
    on_peer(agent, {'Elixir.Agent', start, [kv_bench_map, new, []]}, fun agent/1);
start(local_agent) ->
    {ok, Agent} = 'Elixir.Agent':start(kv_bench_map, new, []),
    contender(local_agent, undefined, agent(Agent), fun() -> 'Elixir.Agent':stop(Agent) end);
start(local_ets) ->
    Table = ets:new(?MODULE, [public, set, {read_concurrency, true}]),
    Operations = #{
        batch => 100,
        get => fun(_, Key) -> ets:lookup_element(Table, Key, 2) end,
        put => fun(_, Key, Value) -> ets:insert(Table, {Key, Value}) end
    },
    contender(local_ets, undefined, Operations, fun() -> ets:delete(Table) end);
start(eredis) ->
    redis(eredis, 1, ["--save", "", "--appendonly", "no"]);
start(eredis_pool) ->
    redis(eredis_pool, ?POOL, ["--save", "", "--appendonly", "no"]);
start(libei) ->
    Alive = alive(libei),
    Port = kv_bench_os:free_port(),
    Cookie = atom_to_list(erlang:get_cookie()),
    Program = kv_bench_os:start([kv_bench_os:beside("ei_node"), Alive ++ "@" ++ ?LOOPBACK, integer_to_list(Port)], Port, Cookie),
    Server = {bucket, list_to_atom(Alive ++ "@" ++ ?LOOPBACK)},
    Operations = #{
        get => fun(_, Key) -> gen_server:call(Server, {get, Key}) end,
        put => fun(_, Key, Value) -> gen_server:call(Server, {put, Key, Value}) end
    },
    contender(libei, kv_bench_os:os_pid(Program), Operations, fun() -> kv_bench_os:stop(Program) end);
start(tcp) ->
    Port = kv_bench_os:free_port(),
    Program = kv_bench_os:start([kv_bench_os:beside("tcp_server"), integer_to_list(Port)], Port),
    contender(tcp, kv_bench_os:os_pid(Program), tcp(Port), fun() -> kv_bench_os:stop(Program) end).

server(map) -> kv_bench_map;
server(ets) -> kv_bench_ets.

%% @doc A contender with these operations, and with what is usual for the rest.
-spec contender(name(), pos_integer() | undefined, #{atom() => term()}, fun(() -> term())) -> t().
contender(Name, OsPid, Operations, End) ->
    maps:merge(
        #{
            name => Name,
            os_pid => OsPid,
            batch => 1,
            open => fun(Number) -> Number end,
            close => fun(_) -> ok end,
            holds => true,
            end_it => End
        },
        Operations
    ).

%% @doc A name that no other run has.
-spec alive(name()) -> string().
alive(Name) ->
    lists:concat(["bench_", Name, "_", os:getpid(), "_", erlang:unique_integer([positive])]).

%%% kv

%% Nodes with other settings: one gathers, one neither follows nor gathers; for the third, this VM sends at once.
options(kv_bucket) -> [];
options(kv_gather) -> [{follow, false}];
options(kv_eager) -> [{follow, false}, {gather, 0}];
options(kv_prompt) -> [{delay_send, false}].

is_valid(Options) ->
    element(1, kv_node_options:validate(Options)) =:= ok.

bucket(Bucket) ->
    #{
        get => fun(_, Key) -> 'Elixir.KV.Bucket':get(Bucket, Key) end,
        put => fun(_, Key, Value) -> 'Elixir.KV.Bucket':put(Bucket, Key, Value) end,
        get_many => fun(_, Keys) -> kv_bucket:get_many(Bucket, Keys) end,
        put_many => fun(_, Entries) -> kv_bucket:put_many(Bucket, Entries) end,
        pipelined => fun(_, Keys) -> kv_bucket:await_many([kv_bucket:async(Bucket, get, [Key]) || Key <- Keys]) end,
        incr => fun(_, Key) -> 'Elixir.KV.Bucket':incr(Bucket, Key) end,
        update => fun(_, Key, Fun) -> {ok, _} = 'Elixir.KV.Bucket':update(Bucket, Key, 0, Fun, [{timeout, ?CALL_TIMEOUT}]) end,
        transaction => fun(_, Entries) ->
            {ok, _} = 'Elixir.KV.Bucket':transaction(Bucket, [{put, Key, Value} || {Key, Value} <- Entries])
        end,
        walk => fun(_, What) -> length_of('Elixir.KV.Bucket':stream(Bucket, [{return, What}])) end
    }.

length_of(Stream) ->
    'Elixir.Enum':reduce(Stream, 0, fun(_, Count) -> Count + 1 end).

%% A node of its own, with a registry, because a registry knows the pid of the native process.
kv(Name, Options, Operations) ->
    NodeName = list_to_atom(alive(Name) ++ "@" ++ ?LOOPBACK),
    {ok, Node} = kv_node:start_link(Name, [{node_name, NodeName} | Options]),
    {ok, Registry} = kv_registry:start_link([{node, Name}]),
    ok = kv_registry:create(Registry, <<"bench">>),
    {ok, Bucket} = kv_registry:lookup(Registry, <<"bench">>),
    Clear = fun(_) -> 'Elixir.KV.Bucket':clear(Bucket, ?CALL_TIMEOUT) end,
    End = fun() ->
        ok = gen_server:stop(Registry),
        gen_server:stop(Node)
    end,
    All = maps:merge((Operations(Bucket))#{clear => Clear}, expiring(Bucket)),
    contender(Name, kv_node:os_pid(Name), All, End).

%% Tries the call: a kv without the function fails with badarg, and dialyzer knows that it does.
-dialyzer({nowarn_function, expiring/1}).
expiring(Bucket) ->
    PutExpiring = fun(_, Entries, Ms) -> ok = 'Elixir.KV.Bucket':put_many(Bucket, Entries, [{ttl, Ms}]) end,
    try PutExpiring(1, [], 1) of
        ok -> #{put_expiring => PutExpiring}
    catch
        _:_ -> #{}
    end.

%% A piece of a thousand entries for each call from this VM. A map has no pieces.
walk(map, Server, entries) -> length(gen_server:call(Server, to_list, ?CALL_TIMEOUT));
walk(map, Server, keys) -> length(gen_server:call(Server, keys, ?CALL_TIMEOUT));
walk(ets, Server, What) ->
    Table = gen_server:call(Server, table),
    walk_on(node(Server), erpc:call(node(Server), kv_bench_ets, select, [Table, What], ?CALL_TIMEOUT), 0).

walk_on(_Node, '$end_of_table', Count) ->
    Count;
walk_on(Node, {Objects, Continuation}, Count) ->
    walk_on(Node, erpc:call(Node, kv_bench_ets, select, [Continuation], ?CALL_TIMEOUT), Count + length(Objects)).

pipelined(Server, Keys) ->
    [
        {reply, _} = gen_server:receive_response(Request, ?CALL_TIMEOUT)
     || Request <- [gen_server:send_request(Server, {get, Key, nil}) || Key <- Keys]
    ].

%%% Another BEAM node

on_peer(Name, {Module, Function, Arguments}, Operations) ->
    {ok, Peer, Node} = peer:start(#{
        name => alive(Name),
        host => ?LOOPBACK,
        longnames => true,
        connection => standard_io,
        shutdown => close,
        args => kv_bench_tls:arguments() ++ ["-setcookie", atom_to_list(erlang:get_cookie()), "-pa" | code:get_path()]
    }),
    {ok, Server} = peer:call(Peer, Module, Function, Arguments),
    OsPid = list_to_integer(peer:call(Peer, os, getpid, [])),
    pong = net_adm:ping(Node),
    Settle = fun() -> peer:call(Peer, erlang, garbage_collect, [Server], ?CALL_TIMEOUT) end,
    contender(Name, OsPid, (Operations(Server))#{settle => Settle}, fun() -> peer:stop(Peer) end).

%% A closure would travel with every call, and needs the same module on both nodes. With {M, F, A}, Agent needs neither.
agent(Agent) ->
    #{
        get => fun(_, Key) -> 'Elixir.Agent':get(Agent, 'Elixir.Map', get, [Key]) end,
        put => fun(_, Key, Value) -> 'Elixir.Agent':update(Agent, 'Elixir.Map', put, [Key, Value]) end,
        get_many => fun(_, Keys) -> 'Elixir.Agent':get(Agent, kv_bench_map, values, [Keys], ?CALL_TIMEOUT) end,
        put_many => fun(_, Entries) -> 'Elixir.Agent':update(Agent, kv_bench_map, put_all, [Entries], ?CALL_TIMEOUT) end,
        update => fun(_, Key, Fun) -> 'Elixir.Agent':update(Agent, kv_bench_map, updated, [Key, Fun], ?CALL_TIMEOUT) end,
        clear => fun(_) -> 'Elixir.Agent':update(Agent, kv_bench_map, replace, [#{}], ?CALL_TIMEOUT) end
    }.

%%% Redis

%% @doc A Redis with these arguments. The callers share clients: one client sends the commands of many callers together, which
%% makes eredis fast.
-spec redis(name(), pos_integer(), [string()]) -> t().
redis(Name, Clients, Arguments) ->
    Port = kv_bench_os:free_port(),
    Program = kv_bench_os:start(["redis-server", "--port", integer_to_list(Port), "--bind", ?LOOPBACK | Arguments], Port),
    Pool = list_to_tuple([element(2, {ok, _} = eredis:start_link(?LOOPBACK, Port)) || _ <- lists:seq(1, Clients)]),
    Operations = #{
        open => fun(Number) -> element(Number rem Clients + 1, Pool) end,
        get => fun(Client, Key) -> redis_value(eredis:q(Client, [<<"GET">>, Key])) end,
        put => fun(Client, Key, Value) -> {ok, <<"OK">>} = eredis:q(Client, [<<"SET">>, Key, Value]) end,
        get_many => fun(Client, Keys) -> {ok, _} = eredis:q(Client, [<<"MGET">> | Keys], ?CALL_TIMEOUT) end,
        put_many => fun(Client, Entries) ->
            {ok, <<"OK">>} = eredis:q(Client, [<<"MSET">> | flat(Entries)], ?CALL_TIMEOUT)
        end,
        pipelined => fun(Client, Keys) -> eredis:qp(Client, [[<<"GET">>, Key] || Key <- Keys], ?CALL_TIMEOUT) end,
        put_expiring => fun(Client, Entries, Ms) ->
            Ttl = integer_to_binary(Ms),
            eredis:qp(Client, [[<<"SET">>, Key, redis_text(Value), <<"PX">>, Ttl] || {Key, Value} <- Entries], ?CALL_TIMEOUT)
        end,
        incr => fun(Client, Key) -> {ok, _} = eredis:q(Client, [<<"INCR">>, Key]) end,
        transaction => fun(Client, Entries) ->
            Sets = [[<<"SET">>, Key, redis_text(Value)] || {Key, Value} <- Entries],
            {ok, _} = lists:last(eredis:qp(Client, [[<<"MULTI">>]] ++ Sets ++ [[<<"EXEC">>]], ?CALL_TIMEOUT))
        end,
        walk => fun(Client, What) -> redis_walk(Client, What, <<"0">>, 0) end,
        clear => fun(Client) -> {ok, <<"OK">>} = eredis:q(Client, [<<"FLUSHALL">>], ?CALL_TIMEOUT) end
    },
    End = fun() ->
        _ = [eredis:stop(Client) || Client <- tuple_to_list(Pool)],
        kv_bench_os:stop(Program)
    end,
    contender(Name, kv_bench_os:os_pid(Program), Operations, End).

%% SCAN returns keys, so entries take an MGET for each piece.
redis_walk(Client, What, Cursor, Count) ->
    {ok, [Next, Keys]} = eredis:q(Client, [<<"SCAN">>, Cursor, <<"COUNT">>, <<"1000">>], ?CALL_TIMEOUT),
    Seen = Count + redis_entries(Client, What, Keys),
    case Next of
        <<"0">> -> Seen;
        _ -> redis_walk(Client, What, Next, Seen)
    end.

redis_entries(_Client, _What, []) -> 0;
redis_entries(_Client, keys, Keys) -> length(Keys);
redis_entries(Client, entries, Keys) ->
    {ok, Values} = eredis:q(Client, [<<"MGET">> | Keys], ?CALL_TIMEOUT),
    length(lists:zip(Keys, Values)).

flat(Entries) ->
    lists:append([[Key, redis_text(Value)] || {Key, Value} <- Entries]).

redis_text(Value) when is_integer(Value) -> integer_to_binary(Value);
redis_text(Value) -> Value.

redis_value({ok, undefined}) -> nil;
redis_value({ok, Value}) -> Value.

%%% Raw TCP: the cost of a request and a reply of the same size, without any work

tcp(Port) ->
    #{
        holds => false,
        open => fun(_) ->
            Options = [binary, {packet, 4}, {active, false}, {nodelay, true}],
            {ok, Socket} = gen_tcp:connect(?LOOPBACK, Port, Options),
            Socket
        end,
        close => fun gen_tcp:close/1,
        get => fun(Socket, Key) -> exchange(Socket, byte_size(kv_bench_load:value()), Key) end,
        put => fun(Socket, Key, Value) -> exchange(Socket, 2, [Key, Value]) end
    }.

exchange(Socket, ReplySize, Request) ->
    ok = gen_tcp:send(Socket, [<<ReplySize:32>>, Request]),
    {ok, Reply} = gen_tcp:recv(Socket, 0),
    ReplySize = byte_size(Reply),
    Reply.
