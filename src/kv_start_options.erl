%% @doc The options with which a bucket or a registry is started. {@link kv_node_options} has those of a node.
%% @private
-module(kv_start_options).
-compile({no_auto_import, [node/1]}).

-export([validate/2, against/2, rows/1, only_name/1, split_name/2, child_id/2, name/1, node/1, registered/1, stay/2, child_spec/3]).
-export([together/2]).

-export_type([name/0, stay_option/0, row/0]).

-type name() :: atom() | {local, atom()} | {global, term()} | {via, module(), term()}.

%% An option: is a value good, and which values are, as in "evict must be none, lru or ttl".
-type row() :: {Key :: atom(), fun((term()) -> boolean()), Wanted :: string()}.

-type stay_option() ::
    %% The reaction of the proxy to the loss of its node.
    {on_node_down, kv_life:on_node_down()}
    %% To whom the native process belongs: to its proxy, and with it to this VM; or to the node.
    | {owner, kv_life:owner()}
    %% Fills a native process that has been created.
    | {fill, {module(), atom(), [term()]} | undefined}
    %% True: the start waits for a node that is starting.
    | {wait, boolean()}
    %% Override the child specification.
    | {id, term()}
    | {restart, permanent | transient | temporary}
    | {shutdown, brutal_kill | timeout()}.

%% @doc Returns the options as a map, or the first one that is wrong. Own are the options that are not common to both.
-spec validate(term(), [row()]) -> {ok, map()} | {error, kv_options:error()}.
validate(Options, Own) ->
    against(Options, Own ++ common()).

%% @doc The same for a function that takes just some options, without those of a process.
-spec against(term(), [row()]) -> {ok, map()} | {error, kv_options:error()}.
against(Options, Rows) ->
    %% Nobody but the application's own registry sets `wait', and nobody but a registry sets `store'.
    Known = [Key || {Key, _, _} <- Rows, Key =/= wait, Key =/= store],
    kv_options:check(Options, fun(Key, Value) -> verdict(lists:keyfind(Key, 1, Rows), Value) end, Known).

%% @doc The same for a process whose only option is a local name.
-spec only_name(term()) -> {ok, #{name => atom()}} | {error, kv_options:error()}.
only_name(Options) ->
    against(Options, [{name, fun is_atom/1, "an atom"}]).

%% @doc Returns the option `name', or Default, and all other options. Options that are none are refused by the function that
%% reads the others.
-spec split_name(term(), atom()) -> {term(), term()}.
split_name(Options, Default) when is_map(Options) ->
    split_name(maps:to_list(Options), Default);
split_name(Options, Default) ->
    case kv_options:check(Options, fun(_, _) -> true end, []) of
        {ok, Checked} -> {maps:get(name, Checked, Default), [Option || {Key, _} = Option <- Options, Key =/= name]};
        {error, _} -> {Default, Options}
    end.

%% @doc Returns the id of a child: the option `name', or Default.
-spec child_id(term(), atom()) -> term().
child_id(Options, Default) ->
    case split_name(Options, Default) of
        {nil, _} -> Default;
        {Name, _} -> Name
    end.

verdict(false, _Value) ->
    unknown;
verdict({_Key, IsGood, Wanted}, Value) ->
    case IsGood(Value) of
        true -> true;
        false -> {wanted, Wanted}
    end.

%% @doc Returns the rows of some options that are common to both.
-spec rows([atom()]) -> [row()].
rows(Keys) ->
    [Row || {Key, _, _} = Row <- common(), lists:member(Key, Keys)].

common() ->
    [
        {name, fun is_name/1, "an atom, {local, Atom}, {global, Term} or {via, Module, Term}"},
        {node, fun is_atom/1, "an atom, the local name of a kv_node"},
        {on_node_down, fun(How) -> lists:member(How, [stay, exit, branch]) end, "stay or exit"},
        {owner, fun(Owner) -> Owner =:= vm orelse Owner =:= node end, "vm or node"},
        {fill, fun is_fill/1, "{Module, Function, Arguments}"},
        {wait, fun is_boolean/1, "true or false"},
        {id, fun(_) -> true end, "any term"},
        {restart, fun(How) -> lists:member(How, [permanent, transient, temporary]) end, "permanent, transient or temporary"},
        {shutdown, fun is_shutdown/1, "milliseconds, infinity or brutal_kill"}
    ].

is_fill(Value) -> Value =:= undefined orelse Value =:= nil orelse kv_options:is_call(Value).

is_shutdown(Time) -> Time =:= brutal_kill orelse Time =:= infinity orelse (is_integer(Time) andalso Time >= 0).

is_name({local, Name}) -> is_atom(Name) andalso Name =/= undefined;
is_name({global, _}) -> true;
is_name({via, Module, _}) -> is_atom(Module);
is_name(Name) -> is_atom(Name).

%% @doc Returns the name in the form that gen_server takes.
-spec name(map()) -> kv_proxy:name().
name(#{name := nil}) -> undefined;
name(#{name := Name}) when is_atom(Name), Name =/= undefined -> {local, Name};
name(#{name := Name}) -> Name;
name(#{}) -> undefined.

%% @doc Returns the local name of the node to run on, or `undefined'.
-spec node(map()) -> atom().
node(#{node := Name}) when Name =/= nil -> Name;
node(#{}) -> undefined.

%% @doc Returns the options of the native process that register it. A local name is also registered on the C node, so
%% that `{Name, kv_node:name()}' works from any node.
-spec registered(map()) -> [{name, atom()}].
registered(Options) ->
    case name(Options) of
        {local, Name} -> [{name, Name}];
        _ -> []
    end.

%% @doc Returns the options of the proxy about the loss of its node. A process with a name stays. Unnamed is the
%% default of one without.
-spec stay(map(), stay | exit) ->
    #{on_node_down := kv_life:on_node_down(), owner := kv_life:owner(), fill := term(), wait := boolean()}.
stay(Options, Unnamed) ->
    #{
        owner => maps:get(owner, Options, vm),
        on_node_down => maps:get(on_node_down, Options, on_node_down(name(Options), Unnamed)),
        fill => fill(maps:get(fill, Options, undefined)),
        wait => maps:get(wait, Options, true)
    }.

on_node_down(undefined, Unnamed) -> Unnamed;
on_node_down(_Name, _Unnamed) -> stay.

fill(nil) -> undefined;
fill(Fill) -> Fill.

%% @doc Returns an error if the options are good one by one, but not for a process that belongs to the node. Alone are options that
%% concern one VM, with the cause.
-spec together(map(), [{atom(), string()}]) -> ok | {error, kv_options:error()}.
together(#{owner := node} = Options, Alone) ->
    case {name(Options), [Refused || {Key, _} = Refused <- Alone, is_given(maps:get(Key, Options, undefined))]} of
        {{local, Name}, []} when Name =/= '' ->
            ok;
        {{local, Name}, [{Key, Why} | _]} when Name =/= '' ->
            {error, {bad_option, Key, unicode:characters_to_binary([kv_options:shown(Key), Why])}};
        _ ->
            {error, {bad_option, owner, <<"what belongs to the node needs a name, by which every VM finds it; give a name that is an atom">>}}
    end;
together(_Options, _Alone) ->
    ok.

is_given(Value) -> Value =/= undefined andalso Value =/= nil.

%% @doc Returns a child specification. A process with a name is permanent, and the name is its id, so that one
%% supervisor can have two. Module and Unnamed are id and restart of a process without a name.
-spec child_spec(term(), module(), temporary | permanent) -> supervisor:child_spec().
child_spec(Options, Module, Unnamed) ->
    Known = known(Options),
    {Id, Restart} = case name(Known) of
        undefined -> {Module, Unnamed};
        {local, Name} -> {Name, permanent};
        Name -> {Name, permanent}
    end,
    #{
        id => maps:get(id, Known, Id),
        start => {Module, start_link, [Options]},
        restart => maps:get(restart, Known, Restart),
        %% The native process gets 2 s to end, and 2 s more after it has been killed.
        shutdown => maps:get(shutdown, Known, 5000),
        type => worker,
        modules => [Module]
    }.

%% Wrong options are refused when the child starts.
known(Options) ->
    Rows = common(),
    Verdict = fun(Key, Value) -> not lists:keymember(Key, 1, Rows) orelse verdict(lists:keyfind(Key, 1, Rows), Value) end,
    case kv_options:check(Options, Verdict, []) of
        {ok, Known} -> Known;
        {error, _} -> #{}
    end.
