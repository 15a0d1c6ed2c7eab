%% @doc The functions of a bucket that are one request: one row each. {@link kv_request} and {@link kv_call_options} read the
%% rows.
%%
%% == To add a function ==
%% <ol>
%% <li>Add a row to rows/0:
%%     <dl>
%%     <dt>name</dt><dd>of the function, and of the message;</dd>
%%     <dt>arguments</dt><dd>those between the bucket and the last argument, by the names that errors print. `{Name, Value}' may be
%%         left out of {@link kv_bucket:async/3}, and is Value then. A map as `Entries' is sent as a list.</dd>
%%     <dt>options</dt><dd>besides `timeout', which all functions have. `{Name, Type}' if is_good/2 of {@link kv_call_options} knows
%%         the type of the value under another name. A new type is a clause of is_good/2;</dd>
%%     <dt>sent</dt><dd>the functions that may send the request beside a call: `async', `cast', `transaction';</dd>
%%     <dt>last</dt><dd>the last argument of the message, made from the options: {@link last()};</dd>
%%     <dt>answer</dt><dd>how the reply becomes a result: {@link answer()}.</dd>
%%     </dl></li>
%% <li>Add the function to `kv_bucket', with a spec and a doc:
%%     `pop(Bucket, Key, Options) -> kv_request:run(Bucket, pop, [Key], Options)'. Its last argument is a timeout or a list of
%%     options. Do the same in `KV.Bucket'.</li>
%% <li>Add the request to docs/native-protocol.md.</li>
%% </ol>
%% A function with logic of its own in the VM has a module of its own: kv_call_options:options/2 checks its options.
%% @private
-module(kv_operations).

-export([row/1, names/0, names/1]).

-export_type([row/0, argument/0, option/0, last/0, answer/0]).

-type row() :: {
    Name :: atom(), Arguments :: [argument()], Options :: [option()], Sent :: [async | cast | transaction], last(), answer()
}.
-type argument() :: atom() | {atom(), term()}.
-type option() :: atom() | {Name :: atom(), Type :: atom()}.
%% `none': there is none. `ttl': the time to live, if `ttl' or `keep_ttl' is given. `list': all options but `timeout', as a
%% list, if there are any; `options': even if there are none. `default': the default, which users give as an option or as an argument. `absent': what stands for
%% an absent value in the caller's language.
-type last() :: none | ttl | list | options | default | absent.
%% `write': as it is, errors included. `read': exits if the request was refused. `value': any term, as it is, though it may look
%% like an error. `many' and `put_many': as `read' and `write', of a request whose list only the node checks. `take': a
%% map of those that are there. `stats': as `read'; a map, with the reads without a call.
-type answer() :: read | stats | write | value | many | put_many | take.

%% @doc Returns the row of a function. Raises `badarg' if there is none.
-spec row(atom()) -> row().
row(Name) ->
    case lists:keyfind(Name, 1, rows()) of
        false -> error(badarg, [Name]);
        Row -> Row
    end.

%% @doc Returns the names of all functions.
-spec names() -> [atom()].
names() ->
    [Name || {Name, _, _, _, _, _} <- rows()].

%% @doc Returns the names of the functions that `async', `cast' or `transaction' may send.
-spec names(async | cast | transaction) -> [atom()].
names(How) ->
    [Name || {Name, _, _, Sent, _, _} <- rows(), lists:member(How, Sent)].

-spec rows() -> [row()].
rows() ->
    [
        %% name, arguments, options, sent, last, answer
        {get, ['Key'], [default], [async, transaction], default, value},
        {fetch, ['Key'], [], [async, transaction], none, read},
        {has_key, ['Key'], [], [async, transaction], none, read},
        {put, ['Key', 'Value'], [ttl, keep_ttl], [async, cast, transaction], ttl, write},
        {put_new, ['Key', 'Value'], [ttl, keep_ttl], [async, transaction], ttl, write},
        {delete, ['Key'], [], [async, cast, transaction], absent, value},
        {pop, ['Key'], [], [async, transaction], none, read},
        {swap, ['Key', 'Value'], [ttl, keep_ttl], [async, cast, transaction], ttl, write},
        {replace, ['Key', 'Value'], [ttl, keep_ttl], [async, cast, transaction], ttl, write},
        {compare_and_put, ['Key', 'Old', 'New'], [ttl, keep_ttl], [async, cast, transaction], ttl, write},
        {compare_and_delete, ['Key', 'Old'], [], [async, cast, transaction], none, write},
        {incr, ['Key', {'N', 1}], [{default, integer}, ttl, {min, integer}, {max, integer}], [async, cast, transaction], list, write},
        {decr, ['Key', {'N', 1}], [{default, integer}, ttl, {min, integer}, {max, integer}], [async, cast, transaction], list, write},
        {ttl, ['Key'], [], [async, transaction], none, read},
        {expire, ['Key', 'Ms'], [], [async, cast, transaction], none, write},
        {expire_at, ['Key', 'UnixMs'], [], [async, cast, transaction], none, write},
        {persist, ['Key'], [], [async, cast, transaction], none, write},
        {touch, ['Key'], [], [async, cast, transaction], none, write},
        %% many keys
        {get_many, ['Keys'], [default], [async], default, many},
        {take, ['Keys'], [], [async], none, take},
        {put_many, ['Entries'], [ttl, keep_ttl], [async, cast], ttl, put_many},
        {put_new_many, ['Entries'], [ttl, keep_ttl], [async], ttl, put_many},
        {delete_many, ['Keys'], [], [async, cast], none, put_many},
        {transaction, ['Operations'], [], [async], none, write},
        %% for transactions only
        {check, ['Key', 'Value'], [], [transaction], none, write},
        {check_absent, ['Key'], [], [transaction], none, write},
        %% for kv_update only
        {fetch_tagged, ['Key'], [], [], none, write},
        {put_tagged, ['Key', 'Tag', 'Value'], [ttl], [], ttl, write},
        {delete_tagged, ['Key', 'Tag'], [], [], none, write},
        %% the whole bucket
        {scan, ['Cursor'], [limit, {return, walk}, prefix, {expires, boolean}], [async], options, read},
        %% for kv_snapshot only
        {snapshot, ['Owner'], [], [], none, write},
        {snapshot_next, ['Snapshot'], [], [], none, write},
        {snapshot_close, ['Snapshot'], [], [], none, write},
        {clear, [], [], [async, cast], none, write},
        {destroy, [], [], [], none, write},
        {size, [], [], [async], none, read},
        {keys, [], [], [async], none, read},
        {to_map, [], [], [async], none, read},
        {stats, [], [], [async], none, stats},
        {generation, [], [], [async], none, write}
    ].
