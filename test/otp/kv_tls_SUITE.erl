%% Distribution over TLS: VMs that use kv, with every certificate that they may have, and strangers.
-module(kv_tls_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([init_per_testcase/2, end_per_testcase/2]).
-compile(export_all).
-compile(nowarn_export_all).

-define(LONG_AGO, {{2001, 1, 1}, {2002, 1, 1}}).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [{group, 'tlsv1.2'}, {group, 'tlsv1.3'}, {group, strangers}, {group, options}, {group, life}].

groups() ->
    [
        {'tlsv1.2', [parallel], certificates()},
        {'tlsv1.3', [parallel], certificates()},
        {strangers, [parallel], [
            a_stranger_that_speaks_no_tls_is_refused_in_words,
            garbage_in_a_record_is_refused,
            half_a_record_hits_the_deadline,
            silence_hits_the_deadline,
            a_hundred_scanners_keep_nobody_out
        ]},
        {options, [parallel], [
            a_vm_without_options_is_told_of_it,
            options_of_the_command_line_count_first,
            options_that_the_program_cannot_follow_are_refused_by_name,
            a_file_that_is_not_there_is_named,
            a_file_that_is_no_certificate_is_named,
            a_key_with_a_password_opens
        ]},
        {life, [parallel], [
            kv_starts_distribution_over_tls,
            a_vm_with_inet6_tls_uses_kv,
            large_values_arrive,
            a_lost_connection_is_made_again,
            reads_need_no_call_over_tls_either,
            a_renewed_certificate_is_used_without_a_restart,
            a_certificate_that_cannot_be_read_leaves_the_old_one
        ]}
    ].

certificates() ->
    [
        a_vm_with_a_certificate_of_the_authority_uses_kv,
        a_vm_without_a_certificate_is_refused,
        a_vm_without_a_certificate_gets_in_if_none_is_needed,
        a_vm_of_another_authority_is_refused,
        a_vm_whose_certificate_has_expired_is_refused,
        a_vm_of_a_host_that_is_not_allowed_is_refused,
        a_vm_refuses_a_program_of_another_host,
        the_cookie_counts_over_tls_too
    ].

init_per_suite(Config) -> kv_test:start_suite(Config).
end_per_suite(Config) -> kv_test:end_suite(Config).

init_per_group(Version, Config) when Version =:= 'tlsv1.2'; Version =:= 'tlsv1.3' -> [{versions, [Version]} | Config];
init_per_group(_Group, Config) -> [{versions, ['tlsv1.3', 'tlsv1.2']} | Config].

end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> kv_test:start_case(Config).

end_per_testcase(_Case, Config) -> kv_test:end_vm(Config).

%%% VMs over TLS

usual() -> #{node => #{}, vm => #{}}.

files(Config) -> kv_tls_files:make(?config(home, Config), usual()).

options(Config, Files) ->
    [{versions, ?config(versions, Config)} | maps:to_list(Files)].

verifying(Config, Files) ->
    [{verify, verify_peer}, {fail_if_no_peer_cert, true} | options(Config, Files)].

%% Runs a fun in a VM with these options.
in_vm(Config, Server, Client, Fun) ->
    in_vm_with(Config, kv_tls_files:arguments(?config(home, Config), Server, Client), Fun).

in_vm_with(Config, Arguments, Fun) ->
    run_in(kv_test:start_vm(Config, Arguments), Fun).

in_undistributed_vm(Config, Arguments, Fun) ->
    run_in(kv_test:start_undistributed_vm(Config, Arguments), Fun).

run_in(Vm, Fun) ->
    try
        kv_test:in(Vm, fun() ->
            process_flag(trap_exit, true),
            Fun()
        end)
    after
        kv_test:stop_vm(Vm)
    end.

use_kv() ->
    ok = kv_test:start_kv(),
    {ok, Bucket} = kv_bucket:start_link([]),
    ok = kv_bucket:put(Bucket, key, value),
    ?assertEqual(value, kv_bucket:get(Bucket, key)),
    ok = application:stop(kv).

%% Returns why the program and this VM do not meet.
cannot_use_kv() ->
    _ = application:load(kv),
    {error, {not_connected, _Node, Text}} = start_node(),
    Text.

start_node() ->
    kv_node:start_link([]).

says(Text, Words) ->
    ?assertNotEqual(nomatch, string:find(Text, Words), Text).

%%% Certificates

a_vm_with_a_certificate_of_the_authority_uses_kv(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    in_vm(Config, verifying(Config, Node), verifying(Config, Vm) -- [{fail_if_no_peer_cert, true}], fun use_kv/0).

a_vm_without_a_certificate_is_refused(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    Text = in_vm(Config, verifying(Config, Node), options(Config, maps:with([cacertfile], Vm)), fun cannot_use_kv/0),
    says(Text, "peer did not return a certificate").

a_vm_without_a_certificate_gets_in_if_none_is_needed(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    Server = [{verify, verify_peer} | options(Config, Node)],
    in_vm(Config, Server, options(Config, maps:with([cacertfile], Vm)), fun use_kv/0).

a_vm_of_another_authority_is_refused(Config) ->
    #{node := Node} = files(Config),
    #{vm := Other} = files(Config),
    Text = in_vm(Config, verifying(Config, Node), [{verify, verify_none} | options(Config, Other)], fun cannot_use_kv/0),
    says(Text, "its certificate is refused: ").

a_vm_whose_certificate_has_expired_is_refused(Config) ->
    #{node := Node, vm := Vm} = kv_tls_files:make(?config(home, Config), #{node => #{}, vm => #{validity => ?LONG_AGO}}),
    Text = in_vm(Config, verifying(Config, Node), options(Config, Vm), fun cannot_use_kv/0),
    says(Text, "its certificate is refused: certificate has expired").

%% The address does not help: this certificate holds a name only.
a_vm_of_a_host_that_is_not_allowed_is_refused(Config) ->
    #{node := Node, vm := Vm} = kv_tls_files:make(?config(home, Config), #{node => #{}, vm => #{hosts => ["elsewhere"]}}),
    Server = [{verify_fun, {inet_tls_dist, verify_client, []}} | verifying(Config, Node)],
    ok = in_vm(Config, Server, options(Config, Vm), fun use_kv/0),
    Text = in_vm(Config, Server, options(Config, Vm), fun() ->
        Kv = list_to_atom("kv_" ++ atom_to_list(node())),
        ok = net_kernel:allow([Kv]),
        cannot_use_kv()
    end),
    says(Text, "its certificate is refused: hostname mismatch").

a_vm_refuses_a_program_of_another_host(Config) ->
    #{node := Node, vm := Vm} = kv_tls_files:make(?config(home, Config), #{node => #{hosts => ["elsewhere"]}, vm => #{}}),
    Client = [{verify, verify_peer} | options(Config, Vm)],
    Text = in_vm(Config, options(Config, Node), Client, fun cannot_use_kv/0),
    ?assert(string:find(Text, "must be for 127.0.0.1") =/= nomatch orelse string:find(Text, "alert") =/= nomatch, Text).

the_cookie_counts_over_tls_too(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    in_vm(Config, verifying(Config, Node), options(Config, Vm), fun() ->
        ok = kv_test:start_kv(),
        Kv = kv_node:name(),
        {ok, Bucket} = kv_bucket:start_link([]),
        ok = kv_loss:lose(),
        ?assertEqual(false, net_kernel:connect_node(Kv)),
        ok = kv_loss:find(),
        ?assertEqual(0, kv_bucket:size(Bucket)),
        ok = application:stop(kv)
    end).

%%% Strangers

logged(Text) ->
    kv_test:wait(fun() -> lists:any(fun({_Level, Line}) -> string:find(Line, Text) =/= nomatch end, kv_test_log:heard()) end).

%% Runs a fun with the port of a program that speaks TLS, and hears the log.
with_program(Config, Options, Fun) ->
    #{node := Node, vm := Vm} = files(Config),
    in_vm(Config, verifying(Config, Node), options(Config, Vm), fun() ->
        ok = kv_test:start_kv(Options),
        ok = kv_test_log:listen(notice),
        Fun(kv_epmd:port_of(kv_node:name())),
        {ok, Bucket} = kv_bucket:start_link([]),
        ?assertEqual(0, kv_bucket:size(Bucket)),
        ok = application:stop(kv)
    end).

connect(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    Socket.

%% Returns what comes before the other side closes.
rest(Socket) ->
    case gen_tcp:recv(Socket, 0, 20000) of
        {ok, Bytes} -> <<Bytes/binary, (rest(Socket))/binary>>;
        {error, Reason} when Reason =:= closed; Reason =:= econnreset -> <<>>
    end.

a_stranger_that_speaks_no_tls_is_refused_in_words(Config) ->
    with_program(Config, [], fun(Port) ->
        Socket = connect(Port),
        ok = gen_tcp:send(Socket, [<<31:16, "N", 16#d07df7fbd:64, 1:32, 16:16>>, "raw@127.0.0.1...", "more"]),
        _ = rest(Socket),
        ok = logged("it speaks no TLS, and this node speaks nothing else")
    end).

garbage_in_a_record_is_refused(Config) ->
    with_program(Config, [], fun(Port) ->
        Socket = connect(Port),
        ok = gen_tcp:send(Socket, [<<22, 3, 1, 200:16>>, rand:bytes(200)]),
        _ = rest(Socket),
        ok = logged("handshake with 127.0.0.1 port ")
    end).

half_a_record_hits_the_deadline(Config) ->
    with_program(Config, [{handshake_timeout, 2000}], fun(Port) ->
        Socket = connect(Port),
        ok = gen_tcp:send(Socket, <<22, 3, 1, 200:16, 1, 0>>),
        _ = rest(Socket),
        ok = logged("took too long")
    end).

silence_hits_the_deadline(Config) ->
    with_program(Config, [{handshake_timeout, 2000}], fun(Port) ->
        Socket = connect(Port),
        ?assertEqual(<<>>, rest(Socket)),
        ok = logged("took too long")
    end).

a_hundred_scanners_keep_nobody_out(Config) ->
    with_program(Config, [], fun(Port) ->
        Silent = [connect(Port) || _ <- lists:seq(1, 50)],
        [ok = gen_tcp:close(connect(Port)) || _ <- lists:seq(1, 50)],
        Kv = kv_node:name(),
        true = erlang:disconnect_node(Kv),
        ok = kv_test:wait(fun() -> lists:member(Kv, nodes(hidden)) end),
        [ok = gen_tcp:close(Socket) || Socket <- Silent]
    end).

%%% Options

a_vm_without_options_is_told_of_it(Config) ->
    in_vm_with(Config, ["-proto_dist", "inet_tls"], fun() ->
        {error, {bad_tls_option, certfile, Text}} = start_node(),
        says(Text, "-ssl_dist_optfile")
    end).

options_of_the_command_line_count_first(Config) ->
    #{node := #{certfile := Certificate, keyfile := Key}, vm := Vm} = files(Config),
    Arguments =
        ["-ssl_dist_opt", "server_certfile", Certificate, "server_keyfile", Key, "-ssl_dist_opt", "server_depth", "3"] ++
            kv_tls_files:arguments(?config(home, Config), [{certfile, "/nowhere"}, {secure_renegotiate, true}], options(Config, Vm)),
    in_vm_with(Config, Arguments, fun use_kv/0).

options_that_the_program_cannot_follow_are_refused_by_name(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    Refused = [
        {verify_fun, {some, function, []}},
        {crl_cache, {ssl_crl_cache, {internal, [{http, 5000}]}}},
        {crl_check, true},
        {versions, ['tlsv1.1', 'tlsv1.2']},
        {ciphers, ["no such cipher"]},
        {sni_hosts, []},
        {certs_keys, [#{certfile => "a"}, #{certfile => "b"}]}
    ],
    [
        in_vm(Config, [Option | options(Config, Node) -- [lists:keyfind(Name, 1, options(Config, Node))]], options(Config, Vm), fun() ->
            ?assertMatch({error, {bad_tls_option, Name, <<_, _/binary>>}}, start_node())
        end)
     || {Name, _} = Option <- Refused
    ].

a_file_that_is_not_there_is_named(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    Server = options(Config, Node#{keyfile := "/nowhere/a.key"}),
    in_vm(Config, Server, options(Config, Vm), fun() ->
        {error, {fatal, tls, Text}} = start_node(),
        ?assertEqual(<<"cannot read /nowhere/a.key: No such file or directory">>, Text)
    end).

a_file_that_is_no_certificate_is_named(Config) ->
    #{node := #{keyfile := Key} = Node, vm := Vm} = files(Config),
    Server = options(Config, Node#{certfile := Key}),
    in_vm(Config, Server, options(Config, Vm), fun() ->
        {error, {fatal, tls, Text}} = start_node(),
        says(Text, "the certificate cannot be used: "),
        says(Text, Key)
    end).

a_key_with_a_password_opens(Config) ->
    #{node := #{keyfile := Key} = Node, vm := Vm} = files(Config),
    {ok, Pem} = file:read_file(Key),
    [Entry] = public_key:pem_decode(Pem),
    Locked = public_key:pem_entry_encode(element(1, Entry), public_key:pem_entry_decode(Entry), {
        {"AES-128-CBC", crypto:strong_rand_bytes(16)}, "open sesame"
    }),
    ok = file:write_file(Key, public_key:pem_encode([Locked])),
    in_vm(Config, [{password, "open sesame"} | options(Config, Node)], options(Config, Vm), fun use_kv/0).

%%% Life

kv_starts_distribution_over_tls(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    Arguments = kv_tls_files:arguments(?config(home, Config), verifying(Config, Node), options(Config, Vm)),
    in_undistributed_vm(Config, Arguments, fun use_kv/0).

a_vm_with_inet6_tls_uses_kv(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    [_, _ | Rest] = kv_tls_files:arguments(?config(home, Config), verifying(Config, Node), options(Config, Vm)),
    Name = "six_" ++ integer_to_list(erlang:unique_integer([positive])) ++ "_" ++ os:getpid(),
    [
        in_undistributed_vm(Config, ["-proto_dist", "inet6_tls", "-name", Name ++ "@::1" | Rest], fun use_kv/0)
     || has_ipv6()
    ].

has_ipv6() ->
    case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.

large_values_arrive(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    in_vm(Config, verifying(Config, Node), options(Config, Vm), fun() ->
        ok = kv_test:start_kv(),
        {ok, Bucket} = kv_bucket:start_link([]),
        [
            begin
                Value = rand:bytes(Size),
                ok = kv_bucket:put(Bucket, Size, Value),
                ?assertEqual(Value, kv_bucket:get(Bucket, Size))
            end
         || Size <- [0, 1, 16383, 16384, 16385, 65536, 1 bsl 20, 20 bsl 20]
        ],
        Callers = [
            kv_loss:async(fun() ->
                [?assertEqual(rand_of(Size), kv_bucket:get(Bucket, {Size, caller}, rand_of(Size))) || Size <- lists:seq(1, 200)],
                byte_size(kv_bucket:get(Bucket, 1 bsl 20))
            end)
         || _ <- lists:seq(1, 32)
        ],
        [?assertEqual({ok, 1 bsl 20}, kv_loss:await(Caller)) || Caller <- Callers],
        ok = application:stop(kv)
    end).

rand_of(Size) -> binary:copy(<<Size:32>>, Size).

a_lost_connection_is_made_again(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    in_vm(Config, verifying(Config, Node), options(Config, Vm), fun() ->
        ok = kv_test:start_kv(),
        {ok, Bucket} = kv_bucket:start_link([]),
        [
            begin
                ok = kv_bucket:put(Bucket, N, N),
                ok = kv_loss:disconnect_and_await(),
                ?assertEqual(N, kv_bucket:get(Bucket, N))
            end
         || N <- lists:seq(1, 10)
        ],
        ok = application:stop(kv)
    end).

reads_need_no_call_over_tls_either(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    in_vm(Config, verifying(Config, Node), options(Config, Vm), fun() ->
        ok = kv_test:start_kv([{local, reads}]),
        {ok, Bucket} = kv_bucket:start_link([]),
        ok = kv_bucket:put(Bucket, key, 1),
        ok = kv_test:wait(fun() -> kv_local:fetch(Bucket, key) =:= {ok, 1} end),
        ?assertEqual(1, kv_bucket:get(Bucket, key)),
        ok = application:stop(kv)
    end).

%% From OTP 26 on a VM verifies its peers unless it is told otherwise, and would refuse the new authority.
a_renewed_certificate_is_used_without_a_restart(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    #{node := Renewed} = files(Config),
    in_vm(Config, options(Config, Node), [{verify, verify_none} | options(Config, Vm)], fun() ->
        ok = kv_test:start_kv(),
        Before = certificate(),
        OsPid = kv_node:os_pid(),
        [{ok, _} = file:copy(maps:get(Kind, Renewed), maps:get(Kind, Node)) || Kind <- [certfile, keyfile, cacertfile]],
        After = certificate(),
        ?assertNotEqual(Before, After),
        [{'Certificate', After, _} | _] = public_key:pem_decode(element(2, file:read_file(maps:get(certfile, Renewed)))),
        ?assertEqual(OsPid, kv_node:os_pid()),
        ok = kv_loss:disconnect_and_await(),
        ok = application:stop(kv)
    end).

a_certificate_that_cannot_be_read_leaves_the_old_one(Config) ->
    #{node := Node, vm := Vm} = files(Config),
    in_vm(Config, options(Config, Node), options(Config, Vm), fun() ->
        ok = kv_test:start_kv(),
        ok = kv_test_log:listen(notice),
        Before = certificate(),
        ok = file:write_file(maps:get(certfile, Node), <<"not yet written">>),
        ?assertEqual(Before, certificate()),
        ok = logged("the old ones stay in use"),
        ok = kv_loss:disconnect_and_await(),
        ok = application:stop(kv)
    end).

%% The certificate that the program shows to a client.
certificate() ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Socket} = ssl:connect({127, 0, 0, 1}, kv_epmd:port_of(kv_node:name()), [{verify, verify_none}, {log_level, none}], 5000),
    {ok, Certificate} = ssl:peercert(Socket),
    ok = ssl:close(Socket),
    Certificate.
