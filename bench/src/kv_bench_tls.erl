%% @doc The same calls over TLS and in clear: a bucket of kv beside a process of another VM that keeps a map.
%%
%% A VM that is started for it makes the calls over TLS, and its contenders follow it: kv_node takes the options of its VM, and so
%% do the VMs that it starts. A round measures TLS and clear one after the other, so that both ratios can be taken within it.
-module(kv_bench_tls).

-export([run/1, arguments/0]).
%% Called in the VM that speaks TLS.
-export([round/2]).

-include("kv_bench.hrl").

-define(LARGE, 1024 * 1024).
-define(TIMEOUT, 300000).

-spec run(kv_bench:settings()) -> [kv_bench:row()].
run(#{rounds := Rounds} = Settings) ->
    Folder = certificates(),
    Vm = start(Folder),
    Rows = [numbered(Round, in_turn(Round, Vm, Settings#{rounds := 1})) || Round <- lists:seq(1, Rounds)],
    ok = peer:stop(Vm),
    ok = file:del_dir_r(Folder),
    lists:append(Rows).

numbered(Round, Rows) ->
    [Row#row{round = Round} || Row <- Rows].

in_turn(Round, Vm, Settings) when Round rem 2 =:= 0 -> secure(Vm, Settings) ++ round(clear, Settings);
in_turn(_Round, Vm, Settings) -> round(clear, Settings) ++ secure(Vm, Settings).

secure(Vm, Settings) ->
    peer:call(Vm, ?MODULE, round, [secure, Settings], ?TIMEOUT).

%% @private
-spec round(secure | clear, kv_bench:settings()) -> [kv_bench:row()].
round(How, Settings) ->
    [Row#row{contender = name(How, Row#row.contender)} || Row <- kv_bench_calls:run(tls, Settings#{contenders := [kv_bucket, map]})].

name(clear, Name) -> Name;
name(secure, kv_bucket) -> kv_tls;
name(secure, map) -> map_tls.

%%% The VM

start(Folder) ->
    {ok, Vm, _Node} = peer:start(#{
        name => kv_bench_contender:alive(tls),
        host => "127.0.0.1",
        longnames => true,
        connection => standard_io,
        shutdown => close,
        args => ["-proto_dist", "inet_tls", "-ssl_dist_optfile", options(Folder), "-setcookie", atom_to_list(erlang:get_cookie()), "-pa"
            | code:get_path()]
    }),
    {ok, _} = peer:call(Vm, application, ensure_all_started, [elixir]),
    Vm.

%% @doc The arguments that make another VM speak to this one.
-spec arguments() -> [string()].
arguments() ->
    lists:append([
        ["-" ++ atom_to_list(Flag) | Values]
     || Flag <- [proto_dist, ssl_dist_optfile], {ok, [Values]} <- [init:get_argument(Flag)]
    ]).

options(Folder) ->
    In = fun(Name) -> filename:join(Folder, Name) end,
    Own = [{certfile, In("node.crt")}, {keyfile, In("node.key")}, {cacertfile, In("ca.pem")}, {verify, verify_peer}],
    ok = file:write_file(In("options"), io_lib:format("~tp.~n", [[{server, [{fail_if_no_peer_cert, true} | Own]}, {client, Own}]])),
    In("options").

%% As docs/tls.md makes them.
certificates() ->
    Folder = string:trim(os:cmd("mktemp -d")),
    Names = "subjectAltName=DNS:127.0.0.1,IP:127.0.0.1",
    ok = file:write_file(filename:join(Folder, "names"), Names),
    _ = [
        _ = os:cmd(lists:concat(["cd ", Folder, " && openssl ", Command]))
     || Command <- [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=authority",
            "req -newkey rsa:2048 -nodes -keyout node.key -out node.csr -subj /CN=node",
            "x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out node.crt"
        ]
    ],
    Folder.
