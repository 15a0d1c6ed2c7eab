%% @doc The options with which a bucket or a registry is started. {@link kv_node_options} has those of a node.
%% @private
-module(kv_start_options).

-export([validate/2, name/1, registered/1, stay/2, child_spec/3]).

-export_type([name/0, stay_option/0]).

-type name() :: atom() | {local, atom()} | {global, term()} | {via, module(), term()}.

-type stay_option() ::
    %% The reaction of the proxy to the loss of its node.
    {on_node_down, kv_life:on_node_down()}
    %% Fills a native process that has been created.
    | {fill, {module(), atom(), [term()]} | undefined}
    %% True: the start waits for a node that is starting.
    | {wait, boolean()}
    %% Override the child specification.
    | {id, term()}
    | {restart, permanent | transient | temporary}
    | {shutdown, brutal_kill | timeout()}.

%% @doc Returns the options as a map, or the first one that is wrong. Valid checks the options that are not common to
%% both.
-spec validate(term(), fun((term(), term()) -> boolean())) -> {ok, map()} | {error, {bad_option, term()}}.
validate(Options, Valid) when is_map(Options) ->
    validate(maps:to_list(Options), Valid, #{});
validate(Options, Valid) ->
    validate(Options, Valid, #{}).

validate([], _Valid, Checked) ->
    {ok, Checked};
validate([{Key, Value} | Rest], Valid, Checked) ->
    case valid(Key, Value, Valid) of
        true -> validate(Rest, Valid, Checked#{Key => Value});
        false -> {error, {bad_option, Key}}
    end;
validate([Other | _], _Valid, _Checked) ->
    {error, {bad_option, Other}};
validate(Other, _Valid, _Checked) ->
    {error, {bad_option, Other}}.

valid(name, Name, _Valid) -> is_name(Name);
valid(node, Server, _Valid) -> is_atom(Server);
valid(on_node_down, How, _Valid) -> lists:member(How, [stay, exit, branch]);
valid(fill, {M, F, A}, _Valid) -> is_atom(M) andalso is_atom(F) andalso is_list(A);
valid(fill, Value, _Valid) -> Value =:= undefined orelse Value =:= nil;
valid(wait, Value, _Valid) -> is_boolean(Value);
valid(id, _Id, _Valid) -> true;
valid(restart, Restart, _Valid) -> lists:member(Restart, [permanent, transient, temporary]);
valid(shutdown, Time, _Valid) -> Time =:= brutal_kill orelse Time =:= infinity orelse (is_integer(Time) andalso Time >= 0);
valid(Key, Value, Valid) -> Valid(Key, Value).

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
-spec stay(map(), stay | exit) -> #{on_node_down := kv_life:on_node_down(), fill := term(), wait := boolean()}.
stay(Options, Unnamed) ->
    #{
        on_node_down => maps:get(on_node_down, Options, on_node_down(name(Options), Unnamed)),
        fill => fill(maps:get(fill, Options, undefined)),
        wait => maps:get(wait, Options, true)
    }.

on_node_down(undefined, Unnamed) -> Unnamed;
on_node_down(_Name, _Unnamed) -> stay.

fill(nil) -> undefined;
fill(Fill) -> Fill.

%% @doc Returns a child specification. A process with a name is permanent, and the name is its id, so that one
%% supervisor can have two. Module and Unnamed are id and restart of a process without a name.
-spec child_spec(term(), module(), temporary | permanent) -> supervisor:child_spec().
child_spec(Options, Module, Unnamed) ->
    Known = case validate(Options, fun(_, _) -> true end) of
        {ok, Valid} -> Valid;
        {error, _} -> #{}
    end,
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
