%% Nodes whose disk will not do: folders, programs that run under a limit, as another user or on a file system of their own, and
%% system calls that fail. All of it goes with the program, however that ends.
-module(kv_disk_world).

-export([start_suite/1, end_suite/1, start_case/1, start_case/2, end_case/1, is_root/0, if_apart/1, if_apart/2]).
-export([build_shim/1, shimmed/2, apart/2, apart_and_shimmed/2, break/3, mend/2]).
-export([start_node/1, start_node/2, restart/2, stop_node/1, os_pid/1, bucket/2, bucket/3, folder/1, file/2, refusal/1, refusal/2]).
-export([patient/1, crc32c/1]).

-include_lib("common_test/include/ct.hrl").

%% One VM for all cases.
start_suite(Config0) ->
    Config = kv_test:start_case(kv_test:start_suite(Config0)),
    Vm = kv_test:start_vm(Config),
    ok = kv_test:in(Vm, fun() -> kv_test:start_kv() end),
    [{vm, Vm} | Config].

end_suite(Config) ->
    ok = kv_test:end_vm(Config),
    kv_test:end_suite(Config).

%% Each case has a folder of its own, on a file system that all users may search. Memory is the quickest.
start_case(Config) ->
    start_case(Config, hd([Folder || Folder <- ["/dev/shm", "/var/tmp"], filelib:is_dir(Folder)])).

start_case(Config, Above) ->
    Home = Above ++ "/kv_disk_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])),
    ok = file:make_dir(Home),
    [{case_home, Home} | Config].

end_case(Config) ->
    ok = file:del_dir_r(?config(case_home, Config)).

is_root() -> os:cmd("id -u") =:= "0\n".

%% Runs Fun where a program may have a mount name space of its own, and a command does its work in one. Else the case is skipped.
if_apart(Fun) -> if_apart("true", Fun).

if_apart(Command, Fun) ->
    case is_root() andalso os:cmd("unshare -m " ++ Command ++ " 2>&1") of
        "" -> Fun();
        Why -> {skip, lists:flatten(io_lib:format("needs root and unshare: ~p", [Why]))}
    end.

folder(Config) -> filename:join(?config(case_home, Config), "data").

file(Name, Config) -> filename:join(folder(Config), Name).

%%% The shim

%% Builds the library that stands before some system calls; see its source.
build_shim(Config) ->
    Above = filename:dirname(string:trim(?config(data_dir, Config), trailing, "/")),
    Source = filename:join([Above, "kv_folder_SUITE_data", "shim.c"]),
    Library = filename:join(?config(priv_dir, Config), "shim.so"),
    "" = os:cmd(lists:join(" ", ["cc -shared -fPIC -O1 -o", Library, Source, "-ldl"])),
    [{shim, Library} | Config].

%% A program with these lines of a shell before it, and the shim.
shimmed(Config, Lines) ->
    Home = ?config(case_home, Config),
    Preload = ["export KV_SHIM=", Home, " LD_PRELOAD=", proplists:get_value(shim, Config, "")],
    kv_test:script([{home, Home} | proplists:delete(home, Config)], "program", [Preload | Lines] ++ ["exec " ++ kv_test:program() ++ " \"$@\""]).

%% A program in a mount name space of its own: what these lines mount goes with the program, a moment later.
apart(Config, Lines) ->
    apart_and_shimmed(proplists:delete(shim, Config), Lines).

apart_and_shimmed(Config, Lines) ->
    shimmed(Config, ["[ -n \"$KV_APART\" ] || KV_APART=1 exec unshare -m \"$0\" \"$@\"" | Lines]).

%% Lets a system call fail, stand, or answer otherwise from now on.
break(Call, How, Config) ->
    ok = file:write_file(filename:join(?config(case_home, Config), Call ++ ".new"), How),
    ok = file:rename(filename:join(?config(case_home, Config), Call ++ ".new"), filename:join(?config(case_home, Config), Call)).

mend(Call, Config) ->
    ok = file:delete(filename:join(?config(case_home, Config), Call)).

%%% In the VM

start_node(Config) ->
    start_node(Config, []).

%% Starts a kv_node for the folder of the case.
start_node(Config, Options) ->
    Server = list_to_atom("kv_disk_" ++ integer_to_list(erlang:unique_integer([positive]))),
    {ok, _} = kv_node:start_link(Server, [{data_dir, folder(Config)} | Options]),
    Server.

stop_node(Server) ->
    gen_server:stop(whereis(Server)).

restart(Config, Server) ->
    ok = stop_node(Server),
    start_node(Config).

os_pid(Server) -> kv_node:os_pid(Server).

bucket(Server, Name) ->
    bucket(Server, Name, []).

bucket(Server, Name, Options) ->
    {ok, Bucket} = kv_bucket:start_link([{name, Name}, {durable, commit}, {node, Server} | Options]),
    Bucket.

%% Returns the sentence with which a node refuses the folder of the case.
refusal(Config) ->
    refusal(Config, []).

refusal(Config, Options) ->
    process_flag(trap_exit, true),
    {error, {fatal, data_dir, Text}} = kv_node:start_link(kv_disk_refused, [{data_dir, folder(Config)} | Options]),
    Text.

%% Asks until there is an answer.
patient(Ask) ->
    kv_test:wait(fun() ->
        try
            {answer, Ask()}
        catch
            exit:_ -> false
        end
    end).

%%% Checksums

%% CRC32C, as the format of the log has it.
crc32c(Bytes) ->
    lists:foldl(fun(Byte, Crc) -> crc_bits(8, Crc bxor Byte) end, 16#FFFFFFFF, binary_to_list(Bytes)) bxor 16#FFFFFFFF.

crc_bits(0, Crc) -> Crc;
crc_bits(Left, Crc) when Crc band 1 =:= 1 -> crc_bits(Left - 1, (Crc bsr 1) bxor 16#82F63B78);
crc_bits(Left, Crc) -> crc_bits(Left - 1, Crc bsr 1).
