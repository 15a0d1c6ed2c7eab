%% @doc The options of {@link kv_registry}'s functions: those of a bucket that is to be created, and the prefix of names.
%% @private
-module(kv_registry_options).

-export([create/2, bucket/1, prefix/2, refused/1]).

-define(TIMEOUT, 5000).

%% @doc Returns the arguments of the request behind the name, and the timeout; or the first option that is wrong. The last
%% argument of the call is a list of options. A wrong timeout raises, as in any call.
-spec create(kv_misuse:call(), term()) -> {ok, [term()], timeout()} | {error, kv_options:error()}.
create({_Module, _Function, _Arguments}, []) ->
    {ok, [], ?TIMEOUT};
create(Call, Options) when is_list(Options) ->
    Own = [{timeout, fun(_) -> true end, ""}, {meta, fun(_) -> true end, ""}],
    case together(kv_start_options:against(Options, Own ++ rows())) of
        {ok, Checked} -> {ok, arguments(Checked), timeout(Call, Options)};
        {error, Reason} -> {error, Reason}
    end;
create(Call, _Other) ->
    {ok, [], kv_call_options:timeout(Call, ?TIMEOUT)}.

arguments(#{meta := Meta} = Checked) -> [given(Checked), Meta];
arguments(Checked) ->
    case given(Checked) of
        [] -> [];
        Given -> [Given]
    end.

%% A bucket of a registry ends with its node anyway.
given(Checked) ->
    Given = maps:without([timeout, meta, on_node_down], Checked),
    [Option || Option <- maps:to_list(Given), not is_default(Option)].

%% The node does not know these values.
is_default({fill, Value}) -> Value =:= undefined orelse Value =:= nil;
is_default({ttl, Value}) -> Value =:= infinity;
is_default(_Option) -> false.

timeout({Module, Function, Arguments}, Options) ->
    Timeouts = [Option || {timeout, _} = Option <- Options],
    kv_call_options:timeout({Module, Function, lists:droplast(Arguments) ++ [Timeouts]}, ?TIMEOUT).

%% @doc Returns the options of a bucket, as a registry has sent them, or the first one that is wrong.
-spec bucket(term()) -> {ok, map()} | {error, kv_options:error()}.
bucket(Options) ->
    together(kv_start_options:against(Options, [lists:keyfind(store, 1, kv_bucket:own_options()) | rows()])).

%% The registry gives its buckets a place on disk, so they need no name of their own; and a policy, unless they have one.
together({ok, #{durable := false, reads := latest}}) ->
    {error, {bad_option, reads, kv_durable:no_reads()}};
together({ok, Valid}) ->
    case kv_bucket:together({ok, maps:without([durable, reads], Valid)}) of
        {ok, _} -> {ok, Valid};
        {error, Reason} -> {error, Reason}
    end;
together(Error) ->
    Error.

rows() ->
    Ends = "exit, since a bucket of a registry ends with its node",
    Own = [Row || {Key, _, _} = Row <- kv_bucket:own_options(), Key =/= label, Key =/= store],
    [{on_node_down, fun(How) -> How =:= exit end, Ends} | kv_start_options:rows([fill]) ++ Own].

%% @doc Returns the error for an option that a registry has refused because it creates its buckets itself.
-spec refused(term()) -> kv_options:error().
refused({durable, Policy}) ->
    {bad_option, durable, kv_options:wrong("durable", "false, since the registry is not durable itself", Policy)};
refused({Key, _Value}) ->
    Text = ["a registry without a supervisor of buckets creates them itself, and has no option ", kv_options:shown(Key)],
    {bad_option, Key, unicode:characters_to_binary(Text)};
refused(Other) ->
    {bad_option, Other, kv_options:wrong("an option", "a pair of key and value", Other)}.

%% @doc Returns the arguments of a request about names, and the timeout, from the last argument of a call.
-spec prefix(kv_misuse:call(), term()) -> {[binary()], timeout()}.
prefix({_Module, _Function, Arguments} = Call, Options) when is_list(Options) ->
    Rows = [{timeout, fun(_) -> true end, ""}, {prefix, fun is_binary/1, "a binary"}],
    case kv_start_options:against(Options, Rows) of
        {ok, #{prefix := Prefix}} -> {[Prefix], timeout(Call, Options)};
        {ok, #{}} -> {[], timeout(Call, Options)};
        {error, {bad_option, _Key, Text}} -> kv_misuse:raise(Call, length(Arguments), Text)
    end;
prefix(Call, _Other) ->
    {[], kv_call_options:timeout(Call, ?TIMEOUT)}.
