%% @doc The options of buckets and registries.
%% @private
-module(kv_options).

-export([validate/2, name/1, registered/1, id/2]).

-export_type([name/0]).

-type name() :: atom() | {local, atom()} | {global, term()} | {via, module(), term()}.

%% @doc The options as a map, or the first that is wrong. Valid says of a key and a value whether they are.
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
valid(Key, Value, Valid) -> Valid(Key, Value).

is_name({local, Name}) -> is_atom(Name) andalso Name =/= undefined;
is_name({global, _}) -> true;
is_name({via, Module, _}) -> is_atom(Module);
is_name(Name) -> is_atom(Name).

%% @doc The name in the form that gen_server takes.
-spec name(map()) -> kv_proxy:name().
name(#{name := Name}) when is_atom(Name), Name =/= undefined -> {local, Name};
name(#{name := Name}) -> Name;
name(#{}) -> undefined.

%% @doc A local name is also registered on the C node, so that `{Name, kv_node:name()}' works from any node.
-spec registered(map()) -> [{name, atom()}].
registered(Options) ->
    case name(Options) of
        {local, Name} -> [{name, Name}];
        _ -> []
    end.

%% @doc The id in a child specification: the name, so that two can live in one supervisor.
-spec id(term(), module()) -> term().
id(Options, Module) ->
    case validate(Options, fun(_, _) -> true end) of
        {ok, #{name := {local, Name}}} -> Name;
        {ok, #{name := Name}} when Name =/= undefined -> Name;
        _ -> Module
    end.
