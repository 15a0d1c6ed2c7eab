%% @doc The tree of processes: the supervisors of a VM with the native processes below them, and the other processes
%% of a C node.
%%
%% Runs in the VM whose kv is inspected: {@link kv} calls it there, and {@link kv_text} formats the result. Describes
%% no more processes than requested, with a few questions to the C node. Of the others it knows only number and memory
%% ({@link kv_totals}).
%% @private
-module(kv_tree).

-export([trees/1, native_tree/2]).

-export_type([tree/0, item/0]).

-type item() ::
    {vm, node()}
    %% With the number of children, if it is a supervisor.
    | {process, pid(), atom(), undefined | non_neg_integer()}
    | {owner, pid(), atom(), kv_node:info()}
    %% A proxy and its native process. A pid if the native process has just ended.
    | {proxy, pid(), atom(), kv_inspect:process() | pid()}
    | {native, kv_inspect:process()}
    %% A C node, and the processes that are not in the tree of its owner.
    | {others, node(), kv_totals:totals()}
    %% A process that started or owns native processes, and its parent.
    | {outside, pid(), term(), term()}
    | {unavailable, node(), term()}
    | {more, non_neg_integer()}.
-type tree() :: {item(), [tree()]}.

%% Going through all processes of a node.
-define(FOLD_TIMEOUT, 30000).
-define(DETAILS_TIMEOUT, 5000).
%% A supervisor that does not answer is shown without its children.
-define(CHILDREN_TIMEOUT, 5000).
-define(INFO_TIMEOUT, 5000).

%% @doc Returns the trees of this VM: for each of its nodes the supervisors with the processes below them, and the
%% other processes of the node. Describes at most Limit children of one process.
-spec trees(pos_integer()) -> [tree()].
trees(Limit) ->
    Roots = lists:usort([root(Server) || Server <- kv_node:running()]),
    {Trees, Proxied} = grow(Roots, [], Limit),
    Nodes = [kv_node:name(Server) || Server <- kv_node:running()],
    Pids = lists:append([shown_proxied(Tree) || Tree <- Trees]),
    Details = details(Pids),
    In = maps:from_keys(Proxied, true),
    [{{vm, node()}, [described_tree(Tree, Details) || Tree <- Trees]}] ++
        [others(Node, In, Limit) || Node <- Nodes].

%% The highest supervisor of kv above a node, or the node itself if it is in a user's tree.
root(Server) ->
    Pid = whereis(Server),
    lists:foldl(
        fun(Ancestor, Root) ->
            case initial_call(Ancestor) of
                {supervisor, kv_sup, 1} -> Ancestor;
                _ -> Root
            end
        end,
        Pid,
        [local(Ancestor) || Ancestor <- dictionary(Pid, '$ancestors', [])]
    ).

local(Name) when is_atom(Name) -> whereis(Name);
local(Pid) -> Pid.

initial_call(Pid) -> dictionary(Pid, '$initial_call', undefined).

dictionary(Pid, Key, Default) when is_pid(Pid), node(Pid) =:= node() ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> proplists:get_value(Key, Dictionary, Default);
        undefined -> Default
    end;
dictionary(_NotLocal, _Key, Default) ->
    Default.

%% Returns the trees of Shown, and the native processes of both Shown and Rest. Rest is not drawn.
grow(Shown, Rest, Limit) ->
    {Trees, Proxied} = lists:unzip([branch(Pid, Limit) || Pid <- Shown]),
    More = [{{more, length(Rest)}, []} || Rest =/= []],
    {Trees ++ More, lists:append(Proxied) ++ [Native || {_, Native, _} <- [proxied(Pid) || Pid <- Rest]]}.

split(Limit, List) when length(List) =< Limit -> {List, []};
split(Limit, List) -> lists:split(Limit, List).

branch(Pid, Limit) ->
    case {proxied(Pid), initial_call(Pid)} of
        {{_, Native, _}, _} ->
            {{{proxy, Pid, name(Pid), Native}, []}, [Native]};
        {none, {supervisor, _, _}} ->
            {Shown, Rest} = children(Pid, Limit),
            {Trees, Proxied} = grow(Shown, Rest, Limit),
            {{{process, Pid, name(Pid), length(Shown) + length(Rest)}, Trees}, Proxied};
        {none, {Owner, init, 1}} when Owner =:= kv_node; Owner =:= kv_attached ->
            {{owner(Pid), []}, []};
        {none, _} ->
            {{{process, Pid, name(Pid), undefined}, []}, []}
    end.

proxied(Pid) -> dictionary(Pid, '$kv_native', none).

owner(Pid) ->
    try
        {owner, Pid, name(Pid), gen_server:call(Pid, info, ?INFO_TIMEOUT)}
    catch
        exit:_ -> {process, Pid, name(Pid), undefined}
    end.

name(Pid) ->
    case node(Pid) =:= node() andalso process_info(Pid, registered_name) of
        {registered_name, Name} -> Name;
        _ -> undefined
    end.

%% As supervisor:which_children/1, which would wait for ever. Children are in the order of their start. Children with
%% an id are written in a supervisor's init, so they are few.
children(Supervisor, Limit) ->
    try gen_server:call(Supervisor, which_children, ?CHILDREN_TIMEOUT) of
        [{undefined, _, _, _} | _] = Children -> split(Limit, lists:sort(pids(Children)));
        Children -> {lists:reverse(pids(Children)), []}
    catch
        exit:_ -> {[], []}
    end.

pids(Children) ->
    [Pid || {_Id, Pid, _Type, _Modules} <- Children, is_pid(Pid)].

shown_proxied({{proxy, _, _, Native}, []}) -> [Native];
shown_proxied({_, Trees}) -> lists:append([shown_proxied(Tree) || Tree <- Trees]).

details(Pids) ->
    case kv_inspect:details(Pids, plain, ?DETAILS_TIMEOUT) of
        {ok, Details} -> maps:from_list([{Pid, Process} || #{pid := Pid} = Process <- Details]);
        _NoAnswer -> #{}
    end.

described_tree({{proxy, Pid, Name, Native}, []}, Details) ->
    {{proxy, Pid, Name, maps:get(Native, Details, Native)}, []};
described_tree({Item, Trees}, Details) ->
    {Item, [described_tree(Tree, Details) || Tree <- Trees]}.

%%% Other processes of a node

%% @doc Returns the native processes of a node, below the processes that own them.
-spec native_tree(node(), pos_integer()) -> tree().
native_tree(Node, Limit) ->
    others(Node, #{}, Limit).

others(Node, In, Limit) ->
    Take = fun
        (#{pid := Pid}, Taken) when is_map_key(Pid, In) -> Taken;
        (#{pid := Pid} = Row, {Totals, Pids}) when map_size(Pids) < Limit -> {kv_totals:add(Row, Totals), Pids#{Pid => true}};
        (Row, {Totals, Pids}) -> {kv_totals:add(Row, Totals), Pids}
    end,
    case kv_inspect:fold(Node, Take, {kv_totals:new(), #{}}, ?FOLD_TIMEOUT) of
        {ok, {Totals, Pids}} -> owned(Node, Totals, lists:sort(maps:keys(Pids)));
        {error, Reason} -> {{unavailable, Node, Reason}, []}
    end.

owned(Node, #{processes := All} = Totals, Pids) ->
    case kv_inspect:details(Pids, relations, ?DETAILS_TIMEOUT) of
        {ok, Details} ->
            More = All - length(Pids),
            Processes = [Process || #{} = Process <- Details],
            {{others, Node, Totals}, by_owner(Processes) ++ [{{more, More}, []} || More > 0]};
        {error, Reason} ->
            {{unavailable, Node, Reason}, []}
    end.

by_owner(Processes) ->
    Known = maps:from_list([{Pid, true} || #{pid := Pid} <- Processes]),
    Add = fun(Process, Owned) ->
        Owner = above(Process),
        Owned#{Owner => [Process | maps:get(Owner, Owned, [])]}
    end,
    Below = lists:foldr(Add, #{}, Processes),
    Owners = [Owner || Owner <- maps:keys(Below), Owner =/= undefined, not is_map_key(Owner, Known)],
    native_branches(maps:get(undefined, Below, []), Below) ++
        [{outside(Owner), native_branches(maps:get(Owner, Below), Below)} || Owner <- lists:sort(Owners)].

above(#{owner := node}) -> undefined;
above(#{owner := Owner}) -> Owner.

native_branches(Processes, Below) ->
    [{{native, Process}, native_branches(maps:get(Pid, Below, []), Below)} || #{pid := Pid} = Process <- Processes].

outside(Pid) ->
    Above =
        case dictionary(Pid, '$ancestors', []) of
            [Ancestor | _] -> Ancestor;
            [] -> undefined
        end,
    {outside, Pid, name(Pid), Above}.
