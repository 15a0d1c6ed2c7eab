%% @doc Walks over the entries of a bucket, in pieces: {@link kv_bucket:scan/3}, {@link kv_bucket:fold/4},
%% {@link kv_bucket:count/2}, and the stream of `KV.Bucket'.
%%
%% The process that walks keeps the cursor; the node keeps nothing between two pieces. While the process works on one piece,
%% the next one is under way.
%% @private
-module(kv_walk).

-export([scan/4, fold/5, count/3, open/3, next/1, close/1]).

-export_type([t/0, filter/0, option/0, cursor/0]).

-type cursor() :: binary().
-type filter() :: {prefix, binary()} | {expires, boolean()}.
-type option() :: filter() | {limit, pos_integer()} | {return, entries | keys | values | timed} | {timeout, timeout()}.
-type call() :: kv_misuse:call().

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
scan(Call, Bucket, Cursor, _Options) ->
    {Wire, Timeout} = options(Call, known()),
    ok = kv_call_options:argument(Call, 2, 'Cursor'),
    kv_request:call(Bucket, scan, [Cursor, Wire], Timeout).

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
count(Call, Bucket, _Options) ->
    {Wire, Timeout} = options(Call, [prefix, {expires, boolean}]),
    count(ask(Bucket, [{return, count} | Wire], Timeout, start), 0).

count(Walk, Sum) ->
    case next(Walk) of
        done -> {ok, Sum};
        {error, Reason} -> {error, Reason};
        {Count, Next} -> count(Next, Sum + Count)
    end.

%% @doc Begins a walk, and asks for the first piece.
-spec open(call(), gen_server:server_ref(), term()) -> t().
open(Call, Bucket, _Options) ->
    {Wire, Timeout} = options(Call, known()),
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

%% Returns the options as the node takes them, and the timeout.
options(Call, Known) ->
    ok = kv_call_options:server(Call),
    #{timeout := Timeout} = Options = kv_call_options:options(Call, Known),
    {maps:to_list(maps:remove(timeout, Options)), Timeout}.

%% Those of a walk that returns entries.
known() ->
    {scan, _, Known, _, _, _} = kv_operations:row(scan),
    Known.
