%% @doc Walks over the entries of a bucket, in pieces: {@link kv_bucket:scan/3}, {@link kv_bucket:fold/4},
%% {@link kv_bucket:count/2}, and the stream of `KV.Bucket'.
%%
%% The process that walks keeps the cursor; the node keeps nothing between two pieces. While the process works on one piece,
%% the next one is under way.
%% @private
-module(kv_walk).

-include("kv_timeout.hrl").

-export([scan/4, fold/5, count/3, open/3, next/1, close/1]).

-export_type([t/0, filter/0, option/0, cursor/0]).

-type cursor() :: binary().
-type filter() :: {prefix, binary()} | {expires, boolean()}.
-type option() :: filter() | {limit, pos_integer()} | {return, entries | keys | values | timed} | {timeout, timeout()}.
-type call() :: kv_misuse:call().

-define(TIMEOUT, 5000).

-record(walk, {
    bucket :: gen_server:server_ref(),
    options :: [term()],
    timeout :: timeout(),
    %% The piece that is under way; `done' after the last one.
    asked :: {kv_call:id(), term()} | done
}).

-opaque t() :: #walk{}.

%% @doc See {@link kv_bucket:scan/3}.
-spec scan(call(), gen_server:server_ref(), start | cursor(), term()) ->
    {[term()] | non_neg_integer(), cursor() | done} | {error, stale_cursor | bad_cursor}.
scan(Call, Bucket, Cursor, Options) ->
    {Wire, Timeout} = options(Call, Options, [limit, return, prefix, expires, timeout]),
    case Cursor =:= start orelse is_binary(Cursor) of
        true -> kv_request:call(Bucket, scan, [Cursor, Wire], Timeout);
        false -> kv_misuse:raise(Call, 2, kv_options:wrong("the cursor", "start, or the cursor of the piece before", Cursor))
    end.

%% @doc See {@link kv_bucket:fold/4}.
-spec fold(call(), gen_server:server_ref(), fun((term(), Acc) -> Acc), Acc, term()) -> {ok, Acc} | {error, stale_cursor}.
fold(Call, Bucket, Fun, Acc, Options) ->
    fold(open(Call, Bucket, Options), Fun, Acc).

fold(Walk, Fun, Acc) ->
    case next(Walk) of
        done -> {ok, Acc};
        {error, Reason} -> {error, Reason};
        {Entries, Next} -> fold(Next, Fun, fold_piece(Entries, Fun, Acc, Next))
    end.

fold_piece(Entries, Fun, Acc, Walk) ->
    try
        lists:foldl(Fun, Acc, Entries)
    catch
        Class:Reason:Stack ->
            ok = close(Walk),
            erlang:raise(Class, Reason, Stack)
    end.

%% @doc See {@link kv_bucket:count/2}.
-spec count(call(), gen_server:server_ref(), term()) -> {ok, non_neg_integer()} | {error, stale_cursor}.
count(Call, Bucket, Options) ->
    {Wire, Timeout} = options(Call, Options, [prefix, expires, timeout]),
    count(ask(Bucket, [{return, count} | Wire], Timeout, start), 0).

count(Walk, Sum) ->
    case next(Walk) of
        done -> {ok, Sum};
        {error, Reason} -> {error, Reason};
        {Count, Next} -> count(Next, Sum + Count)
    end.

%% @doc Begins a walk, and asks for the first piece.
-spec open(call(), gen_server:server_ref(), term()) -> t().
open(Call, Bucket, Options) ->
    {Wire, Timeout} = options(Call, Options, [limit, return, prefix, expires, timeout]),
    ask(Bucket, Wire, Timeout, start).

ask(Bucket, Options, Timeout, Cursor) ->
    ask(#walk{bucket = Bucket, options = Options, timeout = Timeout, asked = done}, Cursor).

ask(Walk, done) ->
    Walk#walk{asked = done};
ask(#walk{bucket = Bucket, options = Options} = Walk, Cursor) ->
    Message = kv_request:message(scan, [Cursor, Options]),
    Walk#walk{asked = {kv_call:send(Bucket, Message), Message}}.

%% @doc Waits for the piece that is under way, asks for the one after it, and returns the former.
-spec next(t()) -> {[term()] | non_neg_integer(), t()} | done | {error, stale_cursor}.
next(#walk{asked = done}) ->
    done;
next(#walk{bucket = Bucket, timeout = Timeout, asked = {Id, Message}} = Walk) ->
    case kv_call:await(Id, Timeout) of
        {reply, Reply} -> received(Walk, kv_request:read(Reply, Bucket, Message, Timeout));
        {error, Reason} -> exit({Reason, {gen_server, call, [Bucket, Message, Timeout]}})
    end.

received(_Walk, {error, Reason}) -> {error, Reason};
received(Walk, {Entries, Cursor}) -> {Entries, ask(Walk, Cursor)}.

%% @doc Ends a walk before its last piece.
-spec close(t()) -> ok.
close(#walk{asked = done}) -> ok;
close(#walk{asked = {Id, _Message}}) -> kv_call:abandon(Id).

%%% Options

options(Call, Timeout, _Known) when ?IS_TIMEOUT(Timeout) ->
    ok = kv_call_options:server(Call),
    {[], Timeout};
options({_Module, _Function, Arguments} = Call, Options, Known) ->
    ok = kv_call_options:server(Call),
    ok = check(Options, Known, length(Arguments), Call),
    Timeout = proplists:get_value(timeout, Options, ?TIMEOUT),
    Wire = [{Key, proplists:get_value(Key, Options)} || Key <- Known, Key =/= timeout, proplists:is_defined(Key, Options)],
    {Wire, Timeout}.

check([{Key, Value} | Rest], Known, Place, Call) ->
    case lists:member(Key, Known) andalso wanted(Key, Value) of
        ok -> check(Rest, Known, Place, Call);
        false -> kv_misuse:raise(Call, Place, kv_options:unknown(Key, Known));
        Wanted -> kv_misuse:raise(Call, Place, kv_options:wrong(shown(Key), Wanted, Value))
    end;
check([], _Known, _Place, _Call) ->
    ok;
check([Other | _], _Known, Place, Call) ->
    kv_misuse:raise(Call, Place, kv_options:wrong("an option", "a pair of key and value", Other));
check(Other, _Known, Place, Call) ->
    kv_misuse:raise(Call, Place, kv_options:wrong("the last argument", "a timeout or a list of options", Other)).

shown(Key) -> atom_to_list(Key).

wanted(timeout, Value) when ?IS_TIMEOUT(Value) -> ok;
wanted(timeout, _Value) -> ["0 to ", integer_to_list(?MAX_TIMEOUT), " milliseconds, or infinity"];
wanted(limit, Value) when is_integer(Value), Value > 0, Value < 1 bsl 64 -> ok;
wanted(limit, _Value) -> "a number of entries from 1 on";
wanted(prefix, Value) when is_binary(Value) -> ok;
wanted(prefix, _Value) -> "a binary";
wanted(expires, Value) when is_boolean(Value) -> ok;
wanted(expires, _Value) -> "true or false";
wanted(return, Value) when Value =:= entries; Value =:= keys; Value =:= values; Value =:= timed -> ok;
wanted(return, _Value) -> "entries, keys, values or timed".
