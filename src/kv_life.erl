%% @doc The life of the native process of a proxy: created, filled, lost with its node, and found again.
%%
%% The loss of the node and the end of the native process are different events:
%%
%% ```
%%  making --> filling --> here --connection lost--> lost --same program is back--> here
%%     ^                                              |
%%     |                                    program is gone: `stay', or `exit'
%%     |                                              v                |
%%     +----------------------node is up------------ away              +--> the proxy ends
%% '''
%%
%% A native process that belongs to the node (`owner') is found there if it has been made, and stays when the proxy ends. It has been
%% made by the proxy of another VM, or by an earlier proxy of this one.
%%
%% All of this is driven by messages to the proxy, which it passes to {@link progress/2}. So the proxy can be told to
%% stop at any time.
%% @private
-module(kv_life).

-export([new/1, make/2, progress/2, not_connected/1, end_native/2, give_up/1]).
-export([phase/1, native/1, nodedown/1, generation/1, is_durable/1, is_shared/1, is_attached/1, is_given_up/1, may_take_long/1]).
-export([filler/1, run/3]).

-export_type([t/0, event/0, on_node_down/0, owner/0]).

%% To whom the native process belongs: to the proxy, and with it to this VM, or to the node.
-type owner() :: vm | node.

%% `branch' is for the registry of kv's own tree. Its supervisor ends it when the node is lost.
-type on_node_down() :: stay | exit | branch.
%% `marking': the native process is about to write down that it is filled.
-type phase() ::
    here | lost | away | {making, kv_native:making()} | {filling, pid(), reference()} | {marking, {kv_filled, reference()}}.
%% The effect of a message on the native process. `found': it was lost, and is here again by now. `given_up': its node is away, and
%% nobody should wait for it.
-type event() :: here | lost | found | given_up | on_its_way.

-record(life, {
    kind :: kv_proxy:kind(),
    server :: atom(),
    %% Options of the native process, without its owner.
    options :: [tuple()],
    on_node_down :: on_node_down(),
    owner :: owner(),
    fill :: undefined | {module(), atom(), [term()]},
    phase = away :: phase(),
    place :: undefined | kv_nodes:place(),
    native :: undefined | pid(),
    monitor :: undefined | kv_native:monitor(),
    filled = false :: boolean(),
    generation = 0 :: non_neg_integer(),
    %% True: the function of `fill' has begun, and has not ended well.
    half = false :: boolean(),
    %% True: the native process has the entries of one before it.
    attached = false :: boolean(),
    %% True: the node is away, and may not come back.
    given_up = false :: boolean(),
    %% A monitor on kv_nodes, which reports on the node while the proxy waits for it.
    subscription :: undefined | reference(),
    %% Until this time, starting is repeated if the name is taken on the node; undefined: the name was free.
    name_deadline :: undefined | integer()
}).

-opaque t() :: #life{}.

%% A name is free again once its owner has ended, and the owner may be about to end.
-define(NAME_TIMEOUT, 1000).
-define(NAME_POLL, 10).
%% How long the DOWN of a process whose node is lost may take.
-define(LOSS_TIMEOUT, 1000).
%% How long kv's own registry waits for its supervisors to notice that the node is lost. If it ended at once, it would
%% only use up the intensity of the supervisor in between.
-define(BRANCH_END_TIMEOUT, 1000).
%% The native process takes no more: c_src/kv/start.c.
-define(ANCESTORS_MAX, 16).

-spec new(#{
    kind := kv_proxy:kind(),
    server := atom(),
    options := [tuple()],
    on_node_down := on_node_down(),
    owner := owner(),
    fill := undefined | {module(), atom(), [term()]}
}) -> t().
new(#{kind := Kind, server := Server, options := Options, on_node_down := OnNodeDown, owner := Owner, fill := Fill}) ->
    #life{kind = Kind, server = Server, options = Options, on_node_down = OnNodeDown, owner = Owner, fill = Fill}.

-spec phase(t()) -> here | lost | away | making | filling | marking.
phase(#life{phase = Phase}) when is_atom(Phase) -> Phase;
phase(#life{phase = Phase}) -> element(1, Phase).

%% @doc Returns the native process, if there is one.
-spec native(t()) -> pid() | undefined.
native(#life{native = Native}) -> Native.

-spec generation(t()) -> non_neg_integer().
generation(#life{generation = Generation}) -> Generation.

%% @doc Returns `true' if the entries outlive the native process.
-spec is_durable(t()) -> boolean().
is_durable(#life{options = Options}) -> proplists:get_value(durable, Options, false) =/= false.

%% @doc Returns `true' if the native process belongs to the node.
-spec is_shared(t()) -> boolean().
is_shared(#life{owner = Owner}) -> Owner =:= node.

%% @doc Returns `true' if the node is away for so long that nobody should wait for it.
-spec is_given_up(t()) -> boolean().
is_given_up(#life{given_up = GivenUp}) -> GivenUp.

%% @doc Returns `true' if the native process has the entries of one before it.
-spec is_attached(t()) -> boolean().
is_attached(#life{attached = Attached}) -> Attached.

%% @doc Returns the reason that callers get when the node is lost.
-spec nodedown(t()) -> {nodedown, node()}.
nodedown(#life{place = #{node := Node}}) -> {nodedown, Node}.

%% @doc Returns `true' while the user's function fills the native process, which may take any time.
-spec may_take_long(t()) -> boolean().
may_take_long(Life) -> phase(Life) =:= filling.

%% @doc Returns the process that is filling the native process, if any.
-spec filler(t()) -> pid() | undefined.
filler(#life{phase = {filling, Filler, _}}) -> Filler;
filler(_Life) -> undefined.

%% @doc Begins to create the native process.
-spec make(kv_nodes:place(), t()) -> t().
make(#{node := Node} = Place, #life{kind = Kind, generation = Generation} = Life) ->
    Options = [{generation, Generation + 1} | belongs(Place, Life) ++ fills(Life) ++ Life#life.options],
    Making = kv_native:request(Node, module(Kind), Options),
    Life#life{
        phase = {making, Making}, place = Place, native = undefined, monitor = undefined, filled = false, given_up = false
    }.

%% The supervisors of this VM are nothing to a process of several.
belongs(_Place, #life{owner = node}) -> [{starter, self()}];
belongs(Place, #life{owner = vm, place = Before}) -> [{owner, self()}, {ancestors, ancestors()} | again(Place, Before)].

module(bucket) -> kv_bucket;
module(registry) -> kv_registry.

%% A durable bucket remembers that it is to be filled until {@link mark/1}. If the function did not end well, the next native
%% process is empty, and counts as one that was made.
fills(#life{fill = undefined}) -> [];
fills(Life) -> [{fill, true} || is_durable(Life)].

%% The program may have created a process without being able to say so. `only' ends it.
again(#{creation := Creation}, #{creation := Creation}) -> [{only, true}];
again(_Place, _Before) -> [].

%% @doc Handles a message. Returns the event, or why the proxy must end, or `other' if the message is about something
%% else.
-spec progress(term(), t()) -> {event(), t()} | {leave, term(), t()} | other.
progress(make_again, #life{phase = away, place = Place, name_deadline = Deadline} = Life) when is_integer(Deadline) ->
    {on_its_way, make(Place, Life)};
progress(branch_ends, #life{phase = away, on_node_down = branch} = Life) ->
    {leave, noconnection, Life};
progress({'DOWN', Monitor, process, _, noconnection}, #life{monitor = Monitor} = Life) when is_reference(Monitor) ->
    native_lost(Life);
progress({'DOWN', Monitor, process, _, Reason}, #life{monitor = Monitor} = Life) when is_reference(Monitor) ->
    {leave, Reason, stop_filling(Life)};
progress({'DOWN', Filling, process, _, Result}, #life{phase = {filling, _, Filling}} = Life) ->
    filled(Result, Life);
progress({Mark, Answer}, #life{phase = {marking, Mark}} = Life) ->
    case Answer of
        ok -> whole(Life);
        {error, Reason} -> {leave, Reason, undo(Life)}
    end;
progress({'EXIT', Filler, _}, #life{phase = {filling, Filler, _}} = Life) ->
    {on_its_way, Life};
progress({'EXIT', _Filler, {filled, _}}, Life) ->
    {on_its_way, Life};
progress({kv_nodes, Server, Status}, #life{server = Server} = Life) ->
    node_is(Status, Life);
progress({'DOWN', Subscription, process, _, _}, #life{subscription = Subscription} = Life) when is_reference(Subscription) ->
    watch_node(on_its_way, Life#life{subscription = undefined});
progress(Message, #life{phase = {making, Making}} = Life) ->
    case kv_native:made(Message, Making) of
        {making, More} -> {on_its_way, Life#life{phase = {making, More}}};
        {ok, Native, Monitor} -> made(Native, Monitor, Life);
        {attached, Native, Monitor, Generation} -> attached(Native, Monitor, Generation, Life);
        {adopted, Native, Monitor, Generation} -> attached(Native, Monitor, Generation, Life);
        {error, Reason} -> not_made(Reason, Life);
        other -> other
    end;
progress(_Message, _Life) ->
    other.

made(Native, Monitor, #life{generation = Generation} = Life) ->
    fill(Life#life{native = Native, monitor = Monitor, generation = Generation + 1, attached = false, name_deadline = undefined}).

%% A durable bucket has its entries, unless its program ended while it was being filled.
attached(Native, Monitor, Generation, #life{half = Half} = Life) ->
    Attached = Life#life{native = Native, monitor = Monitor, generation = Generation, attached = true, name_deadline = undefined},
    case Half of
        true -> fill(Attached);
        false -> {here, Attached#life{phase = here, filled = true}}
    end.

not_made({nodedown, _}, Life) ->
    watch_node(on_its_way, Life#life{phase = away, name_deadline = undefined});
not_made({Taken, _} = Reason, #life{name_deadline = Deadline} = Life) when
    Taken =:= already_registered; Taken =:= already_started
->
    Now = erlang:monotonic_time(millisecond),
    case Deadline of
        undefined -> make_later(Life#life{name_deadline = Now + ?NAME_TIMEOUT});
        _ when Now < Deadline -> make_later(Life);
        _ -> {leave, Reason, Life}
    end;
not_made(Reason, #life{server = Server} = Life) ->
    {leave, kv_durable:reason(Reason, Server), Life}.

make_later(Life) ->
    _ = erlang:send_after(?NAME_POLL, self(), make_again),
    {on_its_way, Life#life{phase = away}}.

%%% Filling, by a process of its own

fill(#life{fill = undefined} = Life) ->
    {here, Life#life{phase = here, filled = true}};
fill(#life{fill = Fill, native = Native} = Life) ->
    {Filler, Monitor} = spawn_opt(?MODULE, run, [Fill, Native, self()], [link, monitor]),
    {on_its_way, Life#life{phase = {filling, Filler, Monitor}, half = true}}.

%% @private
-spec run({module(), atom(), [term()]}, pid(), pid()) -> no_return().
run({Module, Function, Arguments}, Native, Proxy) ->
    _ = put('$callers', [Proxy]),
    exit({filled, apply(Module, Function, [Native | Arguments])}).

filled({filled, {error, Reason}}, Life) -> {leave, Reason, undo(Life)};
filled({filled, error}, Life) -> {leave, fill_failed, undo(Life)};
filled({filled, _}, Life) ->
    case is_durable(Life) of
        true -> {on_its_way, mark(Life)};
        false -> whole(Life)
    end;
%% The native process seems to be lost. If it is, its monitor will say so in a moment.
filled({{nodedown, Node}, _} = Reason, #life{place = #{node := Node}} = Life) ->
    Monitor = make_ref(),
    _ = erlang:send_after(?LOSS_TIMEOUT, self(), {'DOWN', Monitor, process, self(), {not_lost, Reason}}),
    {on_its_way, Life#life{phase = {filling, self(), Monitor}}};
filled({not_lost, Reason}, Life) -> {leave, Reason, undo(Life)};
filled(Reason, Life) -> {leave, Reason, undo(Life)}.

whole(Life) ->
    {here, Life#life{phase = here, filled = true, half = false}}.

%% From the answer on, the bucket is not filled again.
mark(#life{native = Native} = Life) ->
    Mark = {kv_filled, make_ref()},
    _ = erlang:send(Native, {'$gen_call', {self(), Mark}, filled}, [noconnect]),
    Life#life{phase = {marking, Mark}}.

%% Removes a durable bucket that is half filled, so that its successor is filled. Nobody waits for the answer.
undo(#life{half = true, native = Native} = Life) ->
    _ =
        is_durable(Life) andalso
            erlang:send(Native, {'$gen_call', {self(), make_ref()}, destroy}, [noconnect]),
    Life;
undo(Life) ->
    Life.

stop_filling(#life{phase = {filling, Filler, Monitor}} = Life) when Filler =/= self() ->
    true = erlang:demonitor(Monitor, [flush]),
    true = unlink(Filler),
    true = exit(Filler, kill),
    Life;
stop_filling(Life) ->
    Life.

%%% Losing it with the node

%% @doc Called when a message could not be sent to the native process: the connection is lost. The news comes as a message, as
%% the monitor sends it. The monitor itself may have been set for the next connection, and then says nothing.
-spec not_connected(t()) -> ok.
not_connected(#life{native = Native, monitor = Monitor}) ->
    true = erlang:demonitor(Monitor, [flush]),
    self() ! {'DOWN', Monitor, process, Native, noconnection},
    ok.

%% If the node is back by now, the answers that were on their way are lost nevertheless.
native_lost(Life) ->
    case watch_node(lost, (stop_filling(Life))#life{phase = lost}) of
        {here, Found} -> {found, Found};
        Other -> Other
    end.

%% Returns Event, unless the node is back by now.
watch_node(Event, #life{server = Server, subscription = Before} = Life) ->
    _ = is_reference(Before) andalso erlang:demonitor(Before, [flush]),
    {Status, Subscription} = kv_nodes:subscribe(Server),
    case node_is(Status, Life#life{subscription = Subscription}) of
        {on_its_way, Next} -> {Event, Next};
        Other -> Other
    end.

%% The same connection as before: kv_node has not yet noticed the loss, and will report it.
node_is({up, #{connection := Connection}}, #life{place = #{connection := Connection}} = Life) ->
    {on_its_way, Life};
node_is({up, #{creation := Creation} = Place}, #life{phase = lost, place = #{creation := Creation}} = Life) ->
    find_again(Life#life{place = Place});
node_is({up, Place}, #life{phase = away, name_deadline = undefined, on_node_down = How} = Life) when How =/= branch ->
    {on_its_way, make(Place, Life)};
node_is({lost, _}, Life) ->
    {on_its_way, Life};
node_is(away, #life{phase = lost, on_node_down = exit} = Life) ->
    {leave, noconnection, Life};
node_is(away, #life{phase = Phase} = Life) when Phase =:= lost; Phase =:= away ->
    {given_up, Life#life{phase = away, native = undefined, monitor = undefined, given_up = true, name_deadline = undefined}};
node_is(Status, #life{phase = lost} = Life) ->
    program_gone(Status, Life);
node_is(_Status, Life) ->
    {on_its_way, Life}.

find_again(#life{native = Native, filled = Filled} = Life) ->
    Found = Life#life{monitor = erlang:monitor(process, Native)},
    case Filled of
        true -> {here, Found#life{phase = here}};
        false -> fill(Found)
    end.

program_gone(_Status, #life{on_node_down = exit} = Life) ->
    {leave, noconnection, Life};
program_gone(_Status, #life{on_node_down = branch} = Life) ->
    _ = erlang:send_after(?BRANCH_END_TIMEOUT, self(), branch_ends),
    {on_its_way, Life#life{phase = away, native = undefined, monitor = undefined}};
program_gone(Status, #life{on_node_down = stay} = Life) ->
    node_is(Status, Life#life{phase = away, native = undefined, monitor = undefined}).

%%% Ending it

%% @doc Ends the native process, unless it belongs to the node. Returns `lost' if the process has ended with its node, or will end later.
-spec end_native(term(), t()) -> ended | lost.
end_native(_Reason, #life{phase = here, owner = node, monitor = Monitor}) ->
    true = erlang:demonitor(Monitor, [flush]),
    ended;
end_native(Reason, #life{phase = Phase, native = Native, monitor = Monitor, server = Server} = Life) when
    Phase =:= here; element(1, Phase) =:= filling; element(1, Phase) =:= marking
->
    _ = undo(stop_filling(Life)),
    kv_native:stop(Native, Monitor, Reason, fun() -> kv_nodes:answers(Server) end);
end_native(_Reason, Life) ->
    ok = give_up(Life),
    lost.

%% @doc Gives up creating and filling. A native process that was created meanwhile, or is found again, ends because it
%% has no owner.
-spec give_up(t()) -> ok.
give_up(#life{phase = {making, Making}, owner = node}) -> kv_native:leave(Making);
give_up(#life{phase = {making, Making}}) -> kv_native:abandon(Making);
give_up(Life) -> _ = stop_filling(Life), ok.

%% The processes above the proxy, for the tree that the node draws of itself. A name alone is not enough: the name is
%% known on this node only, and a viewer needs a pid to open.
ancestors() ->
    Known = [Ancestor || Name <- get('$ancestors'), {ok, Ancestor} <- [ancestor(Name)]],
    lists:sublist(Known, ?ANCESTORS_MAX).

ancestor(Pid) when is_pid(Pid), node(Pid) =:= node() ->
    case process_info(Pid, registered_name) of
        {registered_name, Name} -> {ok, {Name, Pid}};
        _ -> {ok, Pid}
    end;
ancestor(Pid) when is_pid(Pid) ->
    {ok, Pid};
ancestor(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> {ok, {Name, Pid}};
        _ -> unknown
    end.
