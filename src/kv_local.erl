%% @doc Reads buckets and registries of this host without a call, from the memory of their node. This VM maps that
%% memory read-only (docs/store-format.md).
%%
%% Every function that reads returns `call' if the process itself must be asked instead: its node is on another host
%% or does not share its memory, the process is dead or suspended, the key or the value is large, and so on.
%%
%% The watcher of a node (see {@link kv_watcher}) opens the memory, and closes it before it ends. So a process that
%% has learned from a call that a node is lost can no longer read from that node.
%% @private
-module(kv_local).

-export([get/3, fetch/2, has_key/2, size/1, get_many/3, lookup/2, sent/1, settle/1, answered/1, is_settled/1, reads/1]).
-export([wanted/0, wanted/1]).
-export([publish_registry/3, publish_proxy/1]).
-export([is_open/1, opening/1, open/1, close/1, publish/2, withdraw/1, enter_registry/3, reset/0]).

-export_type([answer/1, wanted/0]).

-type answer(T) :: T | call.
%% The arena of each node that is open or about to be, and the native process of each registry, under its proxy and its name,
%% with the arena if it is open already. Once an arena has been open, the map is never empty again, because messages to a
%% proxy whose node is away must be remembered, too.
-type published() :: #{node() => kv_nif:arena() | opening, pid() | atom() => registry() | used}.
-type wanted() :: false | reads | all.
-type registry() :: {kv_nif:arena(), Native :: pid(), Proxy :: pid()} | {Native :: pid(), Proxy :: pid()}.

-define(PUBLISHED, ?MODULE).
-define(USED, '$kv_local').
%% Key in the process dictionary: the buckets and registries to which the process has sent messages that they may not have handled
%% yet. If there are more than SENT_MAX: all, but for those that it has called since.
-define(SENT, '$kv_sent').
-define(SENT_MAX, 1000).
-define(PLACE_TIMEOUT, 5000).

%%% Reading

%% @doc Returns the value of a key, as kv_bucket:get/3 does. A value may be the atom `call', too: a call then gives the
%% same answer.
-spec get(gen_server:server_ref(), term(), Default) -> answer(term() | Default).
get(Pid, Key, Default) when is_pid(Pid) ->
    case persistent_term:get(?PUBLISHED, #{}) of
        #{node(Pid) := Arena} ->
            case get(?SENT) of
                undefined -> kv_nif:get(Arena, Pid, Key, Default);
                Sent -> after_sent(Pid, Sent, fun() -> kv_nif:get(Arena, Pid, Key, Default) end)
            end;
        Published ->
            get_by(Published, Pid, Key, Default)
    end;
get(Server, Key, Default) ->
    get_by(persistent_term:get(?PUBLISHED, #{}), Server, Key, Default).

get_by(Published, _Server, _Key, _Default) when map_size(Published) =:= 0 ->
    call;
get_by(Published, Server, Key, Default) ->
    case get(?SENT) of
        undefined ->
            case kv_nif:get_by(Published, Server, Key, Default) of
                unmet -> meet(Published, Server, fun(Native) -> get(Native, Key, Default) end);
                Answer -> Answer
            end;
        Sent ->
            after_sent_by(Server, Sent, fun(Native) -> get(Native, Key, Default) end)
    end.

%% @doc Returns the value of a key, as kv_bucket:fetch/2 does.
-spec fetch(gen_server:server_ref(), term()) -> answer({ok, term()} | error).
fetch(Pid, Key) when is_pid(Pid) ->
    case persistent_term:get(?PUBLISHED, #{}) of
        #{node(Pid) := Arena} ->
            case get(?SENT) of
                undefined -> checked(kv_nif:fetch(Arena, Pid, Key));
                Sent -> after_sent(Pid, Sent, fun() -> checked(kv_nif:fetch(Arena, Pid, Key)) end)
            end;
        Published ->
            fetch_by(Published, Pid, Key)
    end;
fetch(Server, Key) ->
    fetch_by(persistent_term:get(?PUBLISHED, #{}), Server, Key).

fetch_by(Published, Server, Key) ->
    Met = fun() -> kv_nif:fetch_by(Published, Server, Key) end,
    read_by(Published, Server, Met, fun(Native) -> fetch(Native, Key) end).

checked({ok, _} = Found) -> Found;
checked(error) -> error;
checked(_Reason) -> call.

%% @doc Returns `true' if there is a value.
-spec has_key(gen_server:server_ref(), term()) -> answer(boolean()).
has_key(Server, Key) ->
    with_arena(
        Server,
        fun(Pid, Arena) ->
            case kv_nif:has_key(Arena, Pid, Key) of
                Answer when is_boolean(Answer) -> Answer;
                _Reason -> call
            end
        end,
        fun(Published) -> kv_nif:has_key_by(Published, Server, Key) end
    ).

%% @doc Returns the number of keys.
-spec size(gen_server:server_ref()) -> answer(non_neg_integer()).
size(Server) ->
    with_arena(
        Server,
        fun(Pid, Arena) ->
            case kv_nif:size(Arena, Pid) of
                Size when is_integer(Size) -> Size;
                _Reason -> call
            end
        end,
        fun(Published) -> kv_nif:size_by(Published, Server) end
    ).

%% @doc Returns the values of Keys, all from the same moment. Only succeeds if the bucket did not change meanwhile.
-spec get_many(gen_server:server_ref(), [term()], term()) -> answer({ok, [term()]}).
get_many(Server, Keys, Default) ->
    with_arena(
        Server,
        fun(Pid, Arena) ->
            case kv_nif:counters(Arena, Pid) of
                Before when is_binary(Before) -> get_all(Keys, Default, Arena, Pid, Before, []);
                _Reason -> call
            end
        end,
        fun(_Published) -> unmet end
    ).

get_all([Key | Keys], Default, Arena, Pid, Before, Values) ->
    case kv_nif:fetch(Arena, Pid, Key) of
        {ok, Value} -> get_all(Keys, Default, Arena, Pid, Before, [Value | Values]);
        error -> get_all(Keys, Default, Arena, Pid, Before, [Default | Values]);
        _Reason -> call
    end;
get_all([], _Default, Arena, Pid, Before, Values) ->
    case kv_nif:counters(Arena, Pid) of
        Before -> {ok, lists:reverse(Values)};
        _Changed -> call
    end;
get_all(_Improper, _Default, _Arena, _Pid, _Before, _Values) ->
    call.

%% @doc Returns how many reads of a bucket this VM has made without a call: those that found a value, and those that found none.
-spec reads(gen_server:server_ref()) -> {non_neg_integer(), non_neg_integer()}.
reads(Server) ->
    case persistent_term:get(?PUBLISHED, #{}) of
        #{node(Server) := Arena} when is_pid(Server) -> counted(kv_nif:reads(Arena, Server));
        Published when map_size(Published) =:= 0 -> {0, 0};
        _Published -> reads_by_proxy(kv_proxies:readable(Server))
    end.

reads_by_proxy(none) -> {0, 0};
reads_by_proxy({_Proxy, Native}) -> reads(Native).

counted({_, _} = Reads) -> Reads;
counted(_Reason) -> {0, 0}.

%% @doc Returns the bucket with a name, as kv_registry:lookup/2 does, if there is one. If there is none, the registry
%% must be asked: the name may be about to be created, and the registry waits until it is.
-spec lookup(gen_server:server_ref(), term()) -> answer({ok, pid()}).
lookup(Registry, Name) when is_binary(Name) ->
    case persistent_term:get(?PUBLISHED, #{}) of
        #{Registry := {Arena, Native, Proxy}} -> lookup_by(Proxy, Arena, Native, Name);
        #{node(Registry) := Arena} when is_pid(Registry) -> lookup([Registry], Arena, Registry, Name);
        #{} -> call
    end;
lookup(_Registry, _Name) ->
    call.

%% The native process may outlive its proxy. A caller of the proxy must not reach it then.
lookup_by(Proxy, Arena, Native, Name) ->
    case is_process_alive(Proxy) of
        true -> lookup([Proxy, Native], Arena, Native, Name);
        false -> call
    end.

lookup(Addresses, Arena, Native, Name) ->
    case has_handled(Addresses, get(?SENT)) of
        true -> found(kv_nif:lookup(Arena, Native, Name));
        false -> call
    end.

found({ok, _} = Found) -> Found;
found(_Absent) -> call.

%% ReadBy does the same for a proxy that this thread of the VM has met.
with_arena(Pid, Read, ReadBy) when is_pid(Pid) ->
    case persistent_term:get(?PUBLISHED, #{}) of
        #{node(Pid) := Arena} ->
            case get(?SENT) of
                undefined -> Read(Pid, Arena);
                Sent -> after_sent(Pid, Sent, fun() -> Read(Pid, Arena) end)
            end;
        Published ->
            with_arena_by(Published, Pid, Read, ReadBy)
    end;
with_arena(Server, Read, ReadBy) ->
    with_arena_by(persistent_term:get(?PUBLISHED, #{}), Server, Read, ReadBy).

with_arena_by(Published, Server, Read, ReadBy) ->
    Met = fun() -> ReadBy(Published) end,
    read_by(Published, Server, Met, fun(Native) -> with_arena(Native, Read, ReadBy) end).

%% A bucket that is given by its proxy. Looks nothing up if this VM reads nothing locally. The library remembers which native
%% process a proxy stands for: to look it up takes longer than the read.
read_by(Published, _Server, _Met, _Read) when map_size(Published) =:= 0 ->
    call;
read_by(Published, Server, Met, Read) ->
    case get(?SENT) of
        undefined ->
            case Met() of
                unmet -> meet(Published, Server, Read);
                Answer -> Answer
            end;
        Sent ->
            after_sent_by(Server, Sent, Read)
    end.

meet(Published, Server, Read) ->
    Epoch = kv_nif:epoch(),
    case kv_proxies:readable(Server) of
        {Proxy, Native} when is_map_key(node(Native), Published) ->
            ok = kv_nif:meet(map_get(node(Native), Published), Native, Proxy, node(Native), Epoch),
            Read(Native);
        _ ->
            call
    end.

after_sent_by(Server, Sent, Read) ->
    case kv_proxies:readable(Server) of
        none -> call;
        {Proxy, Native} -> after_sent(Proxy, Sent, fun() -> Read(Native) end)
    end.

%%% Order

%% @doc Called when this process has sent something to a bucket or a registry, and has not waited for the answer, or in vain. The
%% next read is a call, which comes after what was sent.
%%
%% It is called after the message was sent. If the node is not even about to be opened by then, it has the message before the
%% requests of the watcher that opens it.
-spec sent(gen_server:server_ref()) -> ok.
sent(Pid) when is_pid(Pid), node(Pid) =/= node() ->
    case persistent_term:get(?PUBLISHED, #{}) of
        #{node(Pid) := _} -> remember(Pid, get(?SENT));
        #{} -> ok
    end;
sent(Server) ->
    case persistent_term:get(?PUBLISHED, #{}) of
        Published when map_size(Published) =:= 0 -> ok;
        Published -> sent_to(addresses(Server), Published)
    end.

%% Both addresses of a proxy: it may have another native process by the time it is read. The pid behind a name elsewhere is not
%% known, so it may be any.
sent_to([Proxy, Native], _Published) ->
    ok = remember(Proxy, get(?SENT)),
    remember(Native, get(?SENT));
sent_to([Node], Published) when is_map_key(Node, Published) ->
    _ = put(?SENT, all),
    ok;
sent_to([Pid], _Published) when is_pid(Pid) ->
    sent(Pid);
sent_to(_Others, _Published) ->
    ok.

%% Returns the addresses of a server to remember: a proxy and its native process, a native process, or the node of a name.
-spec addresses(gen_server:server_ref()) -> [pid() | node()].
addresses(Pid) when is_pid(Pid), node(Pid) =/= node() ->
    [Pid];
addresses(Server) ->
    try kv_proxies:resolved(Server) of
        {_Name, Node} -> [Node];
        Pid when is_pid(Pid), node(Pid) =/= node() -> [Pid];
        Local -> both(kv_proxies:known(Local))
    catch
        %% The module of the name has failed: nothing can be sent either.
        _:_ -> []
    end.

both({Proxy, Native}) -> [Proxy, Native];
both(none) -> [].

%% @doc Returns `true' if it is known that a bucket has handled all that this process has sent to it.
-spec is_settled(gen_server:server_ref()) -> boolean().
is_settled(Server) ->
    Addresses = addresses(Server),
    is_noted(Addresses) andalso has_handled(Addresses, get(?SENT)).

%% Returns true if all that this process has sent there was remembered.
is_noted([_Proxy, _Native]) -> map_size(persistent_term:get(?PUBLISHED, #{})) > 0;
is_noted([Pid]) when is_pid(Pid) -> is_open(node(Pid));
is_noted([Node]) -> is_open(Node);
is_noted([]) -> false.

has_handled(_Addresses, undefined) -> true;
has_handled(Addresses, Sent) -> not lists:any(fun(Address) -> is_sent(Address, Sent) end, Addresses).

is_sent(_Address, all) -> true;
is_sent(Address, {all_but, Called}) -> not is_map_key(Address, Called);
is_sent(Address, Sent) -> is_map_key(Address, Sent).

remember(Address, undefined) -> _ = put(?SENT, #{Address => sent}), ok;
remember(_Address, all) -> ok;
remember(Address, {all_but, Called}) -> _ = put(?SENT, {all_but, maps:remove(Address, Called)}), ok;
remember(Address, Sent) when is_map_key(Address, Sent) -> ok;
remember(_Address, Sent) when map_size(Sent) >= ?SENT_MAX -> _ = put(?SENT, all), ok;
remember(Address, Sent) -> _ = put(?SENT, Sent#{Address => sent}), ok.

%% The call that follows is a message, and settles the bucket: settle/1.
after_sent(Pid, Sent, Read) ->
    case is_sent(Pid, Sent) of
        true -> call;
        false -> Read()
    end.

%% @doc Called before a call. `unsettled': the bucket may not have handled all that this process has sent, so the call must be a
%% message; once it is answered, the bucket has. If it times out, {@link sent/1} is called again; otherwise {@link answered/1}.
-spec settle(gen_server:server_ref()) -> settled | unsettled.
settle(Server) ->
    case get(?SENT) of
        undefined -> settled;
        Sent -> settle(addresses(Server), Sent)
    end.

settle(Addresses, Sent) ->
    case has_handled(Addresses, Sent) of
        true -> settled;
        false when is_map(Sent) -> ok = forget(Addresses, Sent), unsettled;
        false -> unsettled
    end.

forget(Addresses, Sent) ->
    case maps:without(Addresses, Sent) of
        Rest when map_size(Rest) =:= 0 -> _ = erase(?SENT), ok;
        Rest -> _ = put(?SENT, Rest), ok
    end.

%% @doc Called once the message was answered.
-spec answered(gen_server:server_ref()) -> ok.
answered(Server) ->
    case get(?SENT) of
        {all_but, Called} when map_size(Called) < ?SENT_MAX -> all_but(addresses(Server), Called);
        Sent when is_map(Sent); Sent =:= undefined -> ok;
        _All -> all_but(addresses(Server), #{})
    end.

all_but(Addresses, Called) ->
    Now = maps:from_list([{Address, called} || Address <- Addresses]),
    _ = put(?SENT, {all_but, maps:merge(Called, Now)}),
    ok.

%%% Proxies

%% @doc Lets this VM read a registry that is given by its proxy, or by the local name of its proxy.
-spec publish_registry(pid(), undefined | atom(), pid()) -> ok.
publish_registry(Proxy, Name, Native) ->
    gen_server:cast(kv_watcher, {registry, Proxy, Name, Native}).

%% @doc Enters a proxy into {@link kv_proxies}. A bucket can be read locally by its proxy if its node is read locally
%% at this moment, and otherwise never. If that changed later, a process that sends to the proxy and then reads could
%% miss its own message.
-spec publish_proxy(kv_proxies:proxy()) -> ok.
publish_proxy(Proxy) ->
    ok = kv_on_demand:ensure(kv_watcher),
    try
        gen_server:call(kv_watcher, {proxy, Proxy}, infinity)
    catch
        exit:_ -> ok
    end.

%%% Options

%% @doc Returns what this VM wants of nodes that it does not own: the environment of kv.
-spec wanted() -> wanted().
wanted() ->
    wanted(#{local => application:get_env(kv, local, false), local_reads => application:get_env(kv, local_reads, false)}).

%% @doc Returns what options of kv_node want: `reads' without a call, `all' that is possible, or nothing.
-spec wanted(#{local := term(), local_reads := term(), _ => _}) -> wanted().
wanted(#{local := all}) -> all;
wanted(#{local := reads}) -> reads;
wanted(#{local_reads := true}) -> reads;
wanted(#{}) -> false.

%%% Opening and closing: called by the server of kv_watcher only, so that changes come one after the other

%% @doc Returns `true' if this VM reads processes of that node locally.
-spec is_open(node()) -> boolean().
is_open(Node) ->
    case persistent_term:get(?PUBLISHED, #{}) of
        #{Node := Arena} -> is_reference(Arena);
        #{} -> false
    end.

%% @doc Called before anything is asked of a node whose memory may be opened: from now on processes remember what they send there.
-spec opening(node()) -> ok.
opening(Node) ->
    update(fun(Published) -> maps:merge(#{Node => opening}, Published) end).

%% @doc Maps the memory of a node, if the node shares it with this VM.
-spec open(node()) -> {ok, kv_nif:arena()} | {error, term()}.
open(Node) ->
    case kv_nif:load() of
        ok -> open_loaded(Node);
        {error, {Reason, _Text}} -> {error, Reason}
    end.

open_loaded(Node) ->
    try erpc:call(Node, ?MODULE, place, [], ?PLACE_TIMEOUT) of
        {Place, Creation, Zeros} -> kv_nif:open_arena(Place, atom_to_binary(Node), Creation, Zeros);
        undefined -> {error, not_shared}
    catch
        error:{erpc, Reason} -> {error, Reason};
        error:{exception, undef, _} -> {error, undef};
        error:Reason -> {error, Reason}
    end.

%% @doc Closes the arena: no more reads from it.
-spec close(kv_nif:arena()) -> ok.
close(Arena) ->
    _ = kv_nif:close_arena(Arena),
    ok.

%% @doc Lets this VM read from a node.
-spec publish(node(), kv_nif:arena()) -> ok.
publish(Node, Arena) ->
    update(fun(Published) ->
        maps:map(fun(_Key, Value) -> opened(Node, Arena, Value) end, Published#{Node => Arena, ?USED => used})
    end).

opened(Node, Arena, {Native, Proxy}) when node(Native) =:= Node -> {Arena, Native, Proxy};
opened(_Node, _Arena, Value) -> Value.

%% @doc Stops reading from a node, and from the registries that are on it. They are read again once the node is open again.
-spec withdraw(node()) -> ok.
withdraw(Node) ->
    update(fun(Published) ->
        maps:map(fun(_Key, Value) -> closed(Node, Value) end, without_ended(maps:remove(Node, Published)))
    end).

closed(Node, {_Arena, Native, Proxy}) when node(Native) =:= Node -> {Native, Proxy};
closed(_Node, Value) -> Value.

%% Without registries whose proxies have ended.
without_ended(Published) ->
    maps:filter(
        fun
            (_Key, {_Arena, _Native, Proxy}) -> is_process_alive(Proxy);
            (_Key, {_Native, Proxy}) -> is_process_alive(Proxy);
            (_Node, _Arena) -> true
        end,
        Published
    ).

%% @doc Does what publish_registry/3 asks for.
-spec enter_registry(pid(), undefined | atom(), pid()) -> ok.
enter_registry(Proxy, Name, Native) ->
    update(fun(Published) ->
        Alive = without_ended(Published),
        Registry = registry(Alive, Native, Proxy),
        case Alive of
            #{Name := Arena} when is_reference(Arena); Arena =:= opening -> Alive#{Proxy => Registry};
            #{} when Name =:= undefined -> Alive#{Proxy => Registry};
            #{} -> Alive#{Proxy => Registry, Name => Registry}
        end
    end).

registry(Published, Native, Proxy) ->
    case Published of
        #{node(Native) := Arena} when is_reference(Arena) -> {Arena, Native, Proxy};
        #{} -> {Native, Proxy}
    end.

%% @doc Withdraws everything.
-spec reset() -> ok.
reset() ->
    update(fun(Published) -> maps:with([?USED], Published) end).

-spec update(fun((published()) -> published())) -> ok.
update(Change) ->
    kv_published:update(?PUBLISHED, Change).
