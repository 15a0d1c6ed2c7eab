%% @doc The entries of a bucket at one moment, in pieces, while others change the bucket: {@link kv_bucket:export/3}.
%%
%% The node keeps what it needs for that until the last piece. A process of its own stands for the snapshot: the node monitors
%% it, and forgets the snapshot when it ends. It ends when the caller ends or closes the snapshot, so a call that
%% times out leaves nothing behind. While the caller works on one piece, the next one is under way.
%% @private
-module(kv_snapshot).

-export([open/2, next/1, close/1]).

-export_type([t/0, entry/0, reason/0]).

%% The time to live is what was left at the moment of the snapshot, in milliseconds.
-type entry() :: {Key :: term(), Value :: term(), Ttl :: pos_integer() | infinity}.

%% `stale_snapshot': the bucket was replaced. `snapshot_too_old': the bucket has changed faster than the snapshot was read, as the
%% text says. `too_many_snapshots': the bucket has so many already. `busy': too much waits for the disk.
-type reason() :: stale_snapshot | {snapshot_too_old, binary()} | {too_many_snapshots, pos_integer()} | busy.

-record(snapshot, {
    bucket :: gen_server:server_ref(),
    timeout :: timeout(),
    owner :: pid(),
    handle :: binary(),
    %% The piece that is under way; `done' after the last one.
    asked :: {kv_call:id(), term()} | done
}).

-opaque t() :: #snapshot{}.

%% @doc Begins a snapshot, and asks for the first piece. The timeout is for each request. The caller closes the snapshot.
-spec open(gen_server:server_ref(), timeout()) -> {ok, t()} | {error, reason()}.
open(Bucket, Timeout) ->
    Caller = self(),
    Owner = spawn(fun() -> own(erlang:monitor(process, Caller)) end),
    try kv_request:call(Bucket, snapshot, [Owner], Timeout) of
        {ok, Handle, _Lsn} ->
            {ok, ask(#snapshot{bucket = Bucket, timeout = Timeout, owner = Owner, handle = Handle, asked = done})};
        {error, Reason} ->
            Owner ! close,
            {error, Reason}
    catch
        Class:Reason:Stack ->
            Owner ! close,
            erlang:raise(Class, Reason, Stack)
    end.

own(Caller) ->
    receive
        close -> ok;
        {'DOWN', Caller, process, _Pid, _Reason} -> ok
    end.

ask(#snapshot{bucket = Bucket, handle = Handle} = Snapshot) ->
    Message = kv_request:message(snapshot_next, [Handle]),
    Snapshot#snapshot{asked = {kv_call:send(Bucket, Message), Message}}.

%% @doc Waits for the piece that is under way, asks for the one after it, and returns the former.
-spec next(t()) -> {[entry()], t()} | done | {error, reason()}.
next(#snapshot{asked = done}) ->
    done;
next(#snapshot{bucket = Bucket, timeout = Timeout, asked = {Id, Message}} = Snapshot) ->
    case kv_call:await(Id, Timeout) of
        {reply, {error, Reason}} -> {error, Reason};
        {reply, {Entries, more}} -> {Entries, ask(Snapshot)};
        {reply, {Entries, done}} -> {Entries, Snapshot#snapshot{asked = done}};
        {error, Reason} -> exit({Reason, {gen_server, call, [Bucket, Message, Timeout]}})
    end.

%% @doc Ends a snapshot, wherever it is.
-spec close(t()) -> ok.
close(#snapshot{owner = Owner, asked = Asked}) ->
    Owner ! close,
    case Asked of
        done -> ok;
        {Id, _Message} -> kv_call:abandon(Id)
    end.
