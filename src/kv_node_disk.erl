%% @doc Asks a C node about the folder of its durable buckets.
%% @private
-module(kv_node_disk).

-export([reply/3]).

%% How long the program may take to tell about its disk.
-define(TIMEOUT, 2000).

%% @doc Answers a call with a map, to which it adds what the node tells of its disk. The process that is called does not wait for the
%% node.
-spec reply(gen_server:from(), node(), map()) -> ok.
reply(From, Node, Info) ->
    _ = spawn(fun() -> gen_server:reply(From, Info#{disk => ask(Node)}) end),
    ok.

ask(Node) ->
    case kv_inspect:within(fun() -> erpc:call(Node, kv_node, disk, [], ?TIMEOUT) end, ?TIMEOUT) of
        {ok, Disk} -> Disk;
        {error, Reason} -> {error, Reason}
    end.
