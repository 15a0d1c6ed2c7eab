%% @doc Runs one case against a native node and against an ordinary BEAM node, and compares the results.
%%
%% There are three programs: the C program; a VM that holds the reference (test/conformance/reference); and a VM in
%% which the cases run, so that the tests themselves are not in the cluster. The reference is loaded under the names
%% of the native modules. So `spawn(Node, kv_bucket, init, [Options])' works on both nodes, and a case is a fun of a
%% node.
%%
%% A case returns its observations. Messages that are in the mailbox at its end count as well. Pids, references and
%% node names are replaced by names that are equal in both runs: `{pid, target, 1}' is the first pid of the node under
%% test that is mentioned.
%%
%% With tlsv1.3 or tlsv1.2 in the environment variable KV_TLS, all nodes speak this TLS to each other: `make test-tls'.
-module(kv_conformance).

-export([start/1, start/2, stop/1, restart_case/1, same/2, same/3, on/3, caller/1, targets/1, native/1, log_lines/1, program/1]).
-export([start_peer/2, raw_peer/3, tcp_port/2]).
-export([both_ways/1, ways/0, enter/2, leave/2]).
-export([observe/2, normalise/2]).

-include_lib("common_test/include/ct.hrl").

-define(COOKIE, "conformance").
-define(DEADLINE, 30000).

-type observation() :: term().

%%% Programs

-spec start([tuple()]) -> [tuple()].
start(Config) ->
    start(Config, []).

%% Starts all three. Arguments are for the C program.
-spec start([tuple()], [string()]) -> [tuple()].
start(Config0, Arguments) ->
    Config = over(os:getenv("KV_TLS"), kv_test:start_case(kv_test:start_suite(Config0))),
    Name = list_to_atom("native_" ++ unique() ++ "@127.0.0.1"),
    Holder = start_program(Name, Arguments, Config),
    Reference = start_vm(Config, ["-hidden"]),
    ok = kv_reference:load_on(Reference),
    Caller = start_vm(Config, []),
    Targets = [{reference, peer:call(Reference, erlang, node, [])}, {native, Name}],
    [pong = peer:call(Caller, net_adm, ping, [Node]) || {_, Node} <- Targets],
    ok = kv_test:in(Caller, fun() -> [ok = pretend_node_server(Target) || Target <- Targets], ok end),
    [{holder, Holder}, {reference, Reference}, {caller, Caller}, {targets, Targets} | Config].

unique() ->
    integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid().

start_vm(Config, Arguments) ->
    Elixir = [["-pa", Path] || Path <- elixir()],
    start_peer(Config, ["-connect_all", "false"] ++ Arguments ++ lists:append(Elixir)).

%% Starts one more VM that may connect to the others.
-spec start_peer([tuple()], [string()]) -> pid().
start_peer(Config, Arguments) ->
    kv_test:start_vm(Config, ["-setcookie", ?COOKIE] ++ Arguments ++ maps:get(vm, ?config(tls, Config), [])).

%% Performs the handshake of a peer that is nothing but a socket.
-spec raw_peer([tuple()], node(), map()) -> {ok, kv_raw_peer:peer()} | {error, term()}.
raw_peer(Config, Node, Options) ->
    kv_raw_peer:handshake(tcp_port(Config, Node), maps:merge(Options#{cookie => ?COOKIE}, maps:with([tls], ?config(tls, Config)))).

-spec tcp_port([tuple()], node()) -> inet:port_number().
tcp_port(Config, Node) ->
    [Alive, _] = string:split(atom_to_list(Node), "@"),
    kv_program:epmd_port_of(?config(epmd_port, Config), Alive).

%% Adds `tls': the arguments of VMs, those of the program, and the options of a socket.
over(false, Config) ->
    [{tls, #{}} | Config];
over(Version, Config) ->
    {ok, _} = application:ensure_all_started(ssl),
    Home = ?config(home, Config),
    Files = maps:to_list(kv_tls_files:cluster(Home)),
    Client = [{verify, verify_peer}, {versions, [list_to_atom(Version)]} | Files],
    Given = [{"verify", "verify_peer"}, {"fail-if-no-peer-cert", "true"}, {"versions", Version} | Files],
    Tls = #{
        vm => kv_tls_files:arguments(Home, [{fail_if_no_peer_cert, true} | Client], Client),
        program => lists:append([[lists:concat(["--tls-", Option]), Value] || {Option, Value} <- Given]),
        tls => Client
    },
    [{tls, Tls} | Config].

%% Where Elixir is, if it is installed.
elixir() ->
    case os:find_executable("elixir") of
        false -> [];
        _ -> [Path || Path <- [os:cmd("elixir -e ':elixir |> :code.lib_dir(:ebin) |> IO.write()'")], filelib:is_dir(Path)]
    end.

%% Lets kv_bucket:start_link([{node, native}]) in the caller's VM find the node, as kv_node would.
pretend_node_server({Server, Node}) ->
    Test = self(),
    Pid = spawn(fun() ->
        ok = kv_nodes:expected(Server, self(), 5000),
        ok = kv_nodes:up(Server, Node, 1),
        Test ! {self(), up},
        receive never -> ok end
    end),
    receive {Pid, up} -> persistent_term:put({kv_node, Server}, {Node, Pid}) end.

%% Holds the standard input of the program, and its output.
start_program(Name, Arguments, Config) ->
    Self = self(),
    Holder = spawn(fun() -> hold(Self, Name, Arguments, Config) end),
    receive
        {Holder, ready} -> Holder
    after ?DEADLINE -> error(program_not_ready)
    end.

hold(Parent, Name, Arguments, Config) ->
    Program = kv_program:start(
        ["--name", atom_to_list(Name), "--epmd-port", integer_to_list(?config(epmd_port, Config)),
         "--zeros", atom_to_list(kv_release:zeros()), "--get-state", atom_to_list(kv_release:get_state())] ++
            maps:get(program, ?config(tls, Config), []) ++ Arguments,
        [?COOKIE, "\n"]
    ),
    Parent ! {self(), ready},
    holding(Program, []).

holding(#{port := Port} = Program, Lines) ->
    receive
        {Port, {data, {eol, Line}}} ->
            holding(Program, [Line | Lines]);
        {Port, {exit_status, Status}} ->
            exit({program_ended, Status, Lines});
        {From, lines} ->
            From ! {self(), lists:reverse(Lines)},
            holding(Program, Lines);
        {From, program} ->
            From ! {self(), Program},
            holding(Program, Lines);
        {From, stop} ->
            ok = kv_program:stop(Program),
            From ! {self(), ok}
    end.

ask(Config, Question) ->
    Holder = ?config(holder, Config),
    Monitor = monitor(process, Holder),
    Holder ! {self(), Question},
    receive
        {Holder, Answer} ->
            true = demonitor(Monitor, [flush]),
            Answer;
        {'DOWN', Monitor, process, _, Reason} ->
            error({program_lost, Reason})
    after ?DEADLINE -> error(holder_hangs)
    end.

%% Returns the output of the C program so far.
-spec log_lines([tuple()]) -> [binary()].
log_lines(Config) -> ask(Config, lines).

-spec program([tuple()]) -> kv_program:program().
program(Config) -> ask(Config, program).

-spec stop([tuple()]) -> ok.
stop(Config) ->
    [stop_vm(Vm) || Vm <- [?config(caller, Config), ?config(reference, Config)]],
    ok = ask(Config, stop),
    kv_test:end_suite(Config).

%% The program may have ended already.
stop_vm(Vm) ->
    try
        kv_test:stop_vm(Vm)
    catch
        _:_ -> ok
    end.

-spec caller([tuple()]) -> pid().
caller(Config) -> ?config(caller, Config).

-spec targets([tuple()]) -> [{native | reference, node()}].
targets(Config) -> ?config(targets, Config).

-spec native([tuple()]) -> node().
native(Config) -> proplists:get_value(native, targets(Config)).

%% Checks after a case that the program is still the one that was started.
-spec restart_case([tuple()]) -> ok | {fail, term()}.
restart_case(Config) ->
    try program(Config) of
        #{} -> ok
    catch
        error:Reason -> {fail, Reason}
    end.

%%% Ways to call
%%
%% A suite whose groups are both_ways(Groups) and whose cases are ways() runs all of it three times: kv_case:call/2 is
%% gen_server:call/3 first, then the call of kv_bucket, then the call of kv_bucket where local_reads is on.

-spec ways() -> [{group, atom()}].
ways() -> [{group, gen_server}, {group, kv_call}, {group, kv_local_call}].

-spec both_ways([term()]) -> [term()].
both_ways(Groups) -> [{Way, [], Groups} || {group, Way} <- ways()].

%% For init_per_group/2: enters the way of the group, if it is one.
-spec enter(atom(), [tuple()]) -> [tuple()].
enter(Group, Config) ->
    _ = lists:member({group, Group}, ways()) andalso call_by(Group, Config),
    Config.

%% For end_per_group/2.
-spec leave(atom(), [tuple()]) -> ok.
leave(Group, Config) ->
    _ = lists:member({group, Group}, ways()) andalso call_by(gen_server, Config),
    ok.

call_by(Way, Config) ->
    ok = kv_test:in(caller(Config), fun() -> kv_case:call_by(Way) end).

%% The kind of the node must be known before calls of the second way.
know(Node) ->
    ok = kv_watcher:start(Node),
    ok = kv_test:wait(fun() -> kv_watcher:watcher(Node) =/= unknown end).

%%% Comparing

%% Returns the common result, or raises an error that shows both.
-spec same([tuple()], fun((node()) -> observation())) -> observation().
same(Config, Case) ->
    same(Config, Case, ?DEADLINE).

-spec same([tuple()], fun((node()) -> observation()), timeout()) -> observation().
same(Config, Case, Timeout) ->
    [{reference, Expected}, {native, Seen}] = [{Which, on(Config, Node, Case, Timeout)} || {Which, Node} <- targets(Config)],
    case Seen =:= Expected of
        true -> good(Seen);
        false -> error({differs, first_difference(Seen, Expected), [{native, Seen}, {reference, Expected}]})
    end.

%% Returns the two subterms at which two terms first differ.
first_difference([Head | Tail1], [Head | Tail2]) -> first_difference(Tail1, Tail2);
first_difference([Head1 | _], [Head2 | _]) -> inside(Head1, Head2);
first_difference(Tuple1, Tuple2) when tuple_size(Tuple1) =:= tuple_size(Tuple2) ->
    first_difference(tuple_to_list(Tuple1), tuple_to_list(Tuple2));
first_difference(One, Other) -> {native, One, reference, Other}.

inside(One, Other) when is_list(One), is_list(Other); is_tuple(One), tuple_size(One) =:= tuple_size(Other) ->
    first_difference(One, Other);
inside(One, Other) ->
    {native, One, reference, Other}.

good({observed, Seen, []}) -> Seen;
good({observed, Seen, Left}) -> {Seen, {left_in_mailbox, Left}};
good({failed, Reason}) -> error({fails_on_both, Reason}).

%% Runs a case on one node.
-spec on([tuple()], node(), fun((node()) -> observation())) -> term().
on(Config, Node, Case) ->
    on(Config, Node, Case, ?DEADLINE).

on(Config, Node, Case, Timeout) ->
    peer:call(caller(Config), ?MODULE, observe, [Node, Case], Timeout).

%% In the caller's VM, in a new process for each run.
-spec observe(node(), fun((node()) -> observation())) -> {observed, term(), [term()]} | {failed, term()}.
observe(Node, Case) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit(run(Node, Case)) end),
    receive
        {'DOWN', Monitor, process, Pid, {kv_observed, Outcome}} -> Outcome;
        {'DOWN', Monitor, process, Pid, Reason} -> {failed, normalise(Node, Reason)}
    end.

run(Node, Case) ->
    ok = know(Node),
    try Case(Node) of
        Seen ->
            %% Messages that the node has sent before are here once it has answered.
            _ = net_adm:ping(Node),
            {Result, Left} = normalise(Node, {Seen, kv_test:mailbox()}),
            {kv_observed, {observed, Result, Left}}
    catch
        Class:Reason:Stack -> {kv_observed, {failed, normalise(Node, {Class, Reason, Stack})}}
    end.

%% Replaces parts that differ from run to run.
-spec normalise(node(), term()) -> term().
normalise(Node, Term) ->
    {Result, _Seen} = replace(Term, #{node => Node}),
    Result.

replace(Node, #{node := Node} = Seen) -> {'$target', Seen};
replace(Atom, Seen) when Atom =:= node() -> {'$caller', Seen};
replace(Pid, Seen) when is_pid(Pid) -> number({pid, side(node(Pid), Seen)}, Pid, Seen);
replace(Ref, Seen) when is_reference(Ref) -> number({ref}, Ref, Seen);
replace([Head | Tail], Seen0) ->
    {H, Seen1} = replace(Head, Seen0),
    {T, Seen2} = replace(Tail, Seen1),
    {[H | T], Seen2};
replace(Tuple, Seen0) when is_tuple(Tuple) ->
    {List, Seen} = replace(tuple_to_list(Tuple), Seen0),
    {list_to_tuple(List), Seen};
replace(Map, Seen0) when is_map(Map) ->
    {List, Seen} = replace(lists:sort(maps:to_list(Map)), Seen0),
    {maps:from_list(List), Seen};
replace(Other, Seen) ->
    {Other, Seen}.

side(Node, #{node := Node}) -> target;
side(Node, _Seen) when Node =:= node() -> caller;
side(_Node, _Seen) -> other.

number(Kind, Identifier, Seen) ->
    case Seen of
        #{Identifier := Known} ->
            {Known, Seen};
        #{} ->
            Count = maps:get(Kind, Seen, 0) + 1,
            New = erlang:append_element(Kind, Count),
            {New, Seen#{Kind => Count, Identifier => New}}
    end.
