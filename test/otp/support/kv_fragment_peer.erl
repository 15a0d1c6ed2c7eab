%% A raw peer (kv_raw_peer) with fragments: frames have a header, terms have no version byte, and a message may arrive
%% in parts.
-module(kv_fragment_peer).

-export([connect/1, connect/2, connect/3, frame/1, frame/2, fragments/4, first/4, other/3]).
-export([recv_frame/2, recv_message/2, call/3, send_call/3, request/3, spawn_bucket/1, self_pid/1]).

-export_type([frame/0, parts/0]).

-type frame() ::
    tick
    | {whole, tuple(), term()}
    | {first, Sequence :: pos_integer(), Id :: pos_integer(), tuple(), binary()}
    | {other, Sequence :: pos_integer(), Id :: pos_integer(), binary()}
    | {error, term()}.
%% Messages of which some fragments have arrived, by sequence.
-type parts() :: #{pos_integer() => {tuple(), pos_integer(), iodata()}}.

-define(DEADLINE, 30000).
-define(FRAGMENTS, 16#800000).
-define(NAME, "raw@127.0.0.1").

%% Connects a peer that offers the flags of OTP 25.
-spec connect(inet:port_number()) -> kv_raw_peer:peer().
connect(Port) ->
    connect(Port, ?NAME).

-spec connect(inet:port_number(), string()) -> kv_raw_peer:peer().
connect(Port, Name) ->
    connect(Port, Name, 0).

%% The same, with further flags.
-spec connect(inet:port_number(), string(), non_neg_integer()) -> kv_raw_peer:peer().
connect(Port, Name, More) ->
    Flags = kv_raw_peer:all_flags() bor ?FRAGMENTS bor More,
    {ok, Peer} = kv_raw_peer:handshake(Port, #{name => Name, flags => Flags}),
    #{node_flags := NodeFlags} = Peer,
    true = NodeFlags band ?FRAGMENTS =/= 0,
    Peer.

%% ---- out ------------------------------------------------------------------------------------

%% A whole frame with its length.
-spec frame(tuple()) -> binary().
frame(Control) ->
    with_length([<<131, 68, 0>>, bare(Control)]).

-spec frame(tuple(), term()) -> binary().
frame(Control, Payload) ->
    with_length([<<131, 68, 0>>, bare(Control), bare(Payload)]).

%% A message in frames of at most Size bytes of payload each; the first frame has no payload.
-spec fragments(pos_integer(), tuple(), term(), pos_integer()) -> [binary()].
fragments(Sequence, Control, Payload, Size) ->
    Parts = cut(bare(Payload), Size),
    Count = length(Parts),
    Ids = lists:seq(Count, 1, -1),
    [first(Sequence, Count + 1, Control, <<>>) |
     [other(Sequence, Id, Part) || {Id, Part} <- lists:zip(Ids, Parts)]].

cut(Bytes, Size) when byte_size(Bytes) > Size ->
    <<Part:Size/binary, Rest/binary>> = Bytes,
    [Part | cut(Rest, Size)];
cut(Bytes, _Size) ->
    [Bytes].

-spec first(non_neg_integer(), non_neg_integer(), tuple(), binary()) -> binary().
first(Sequence, Id, Control, Bytes) ->
    with_length([<<131, 69, Sequence:64, Id:64, 0>>, bare(Control), Bytes]).

-spec other(non_neg_integer(), non_neg_integer(), binary()) -> binary().
other(Sequence, Id, Bytes) ->
    with_length([<<131, 70, Sequence:64, Id:64>>, Bytes]).

with_length(Content) ->
    iolist_to_binary([<<(iolist_size(Content)):32>>, Content]).

bare(Term) ->
    <<131, Bytes/binary>> = term_to_binary(Term),
    Bytes.

%% ---- in -------------------------------------------------------------------------------------

-spec recv_frame(kv_raw_peer:peer(), timeout()) -> frame().
recv_frame(#{socket := Socket}, Timeout) ->
    case gen_tcp:recv(Socket, 4, Timeout) of
        {ok, <<0:32>>} ->
            tick;
        {ok, <<Length:32>>} ->
            {ok, Content} = gen_tcp:recv(Socket, Length, ?DEADLINE),
            read(Content);
        {error, Reason} ->
            {error, Reason}
    end.

read(<<131, 68, 0, Terms/binary>>) ->
    {Control, Rest} = split(Terms),
    {whole, Control, payload(Rest)};
read(<<131, 69, Sequence:64, Id:64, 0, Terms/binary>>) ->
    {Control, Rest} = split(Terms),
    {first, Sequence, Id, Control, Rest};
read(<<131, 70, Sequence:64, Id:64, Rest/binary>>) ->
    {other, Sequence, Id, Rest}.

split(Terms) ->
    {Term, Used} = binary_to_term(<<131, Terms/binary>>, [used]),
    {Term, binary:part(Terms, Used - 1, byte_size(Terms) - Used + 1)}.

payload(<<>>) -> none;
payload(Bytes) -> binary_to_term(<<131, Bytes/binary>>).

%% Returns the next whole message.
-spec recv_message(kv_raw_peer:peer(), parts()) -> {tuple(), term(), parts()}.
recv_message(Peer, Parts) ->
    case recv_frame(Peer, ?DEADLINE) of
        tick ->
            recv_message(Peer, Parts);
        {whole, Control, Payload} ->
            {Control, Payload, Parts};
        {first, Sequence, Id, Control, Bytes} ->
            false = is_map_key(Sequence, Parts),
            taken(Peer, Sequence, Id, {Control, Id, [Bytes]}, Parts);
        {other, Sequence, Id, Bytes} ->
            #{Sequence := {Control, Before, Sofar}} = Parts,
            Id = Before - 1,
            taken(Peer, Sequence, Id, {Control, Id, [Sofar | Bytes]}, Parts)
    end.

taken(_Peer, Sequence, 1, {Control, 1, Bytes}, Parts) ->
    {Control, payload(iolist_to_binary(Bytes)), maps:remove(Sequence, Parts)};
taken(Peer, Sequence, _Id, Part, Parts) ->
    recv_message(Peer, Parts#{Sequence => Part}).

%% ---- what a caller does ---------------------------------------------------------------------

-spec self_pid(kv_raw_peer:peer()) -> pid().
self_pid(#{name := Name, creation := Creation}) ->
    kv_raw_peer:pid(Name, 1, Creation).

%% Returns the pid of a new bucket.
-spec spawn_bucket(kv_raw_peer:peer()) -> pid().
spawn_bucket(Peer) ->
    Self = self_pid(Peer),
    Spawn = frame({29, make_ref(), Self, Self, {kv_bucket, init, 1}, []}, [[]]),
    ok = kv_raw_peer:send_bytes(Peer, Spawn),
    {{31, _Ref, Self, 0, Bucket}, none, #{}} = recv_message(Peer, #{}),
    true = is_pid(Bucket),
    Bucket.

%% Returns the tag, the control message and the payload of a call.
-spec request(kv_raw_peer:peer(), pid(), term()) -> {reference(), tuple(), term()}.
request(Peer, To, Request) ->
    Tag = make_ref(),
    Self = self_pid(Peer),
    {Tag, {22, Self, To}, {'$gen_call', {Self, Tag}, Request}}.

-spec send_call(kv_raw_peer:peer(), pid(), term()) -> reference().
send_call(Peer, To, Request) ->
    {Tag, Control, Payload} = request(Peer, To, Request),
    ok = kv_raw_peer:send_bytes(Peer, frame(Control, Payload)),
    Tag.

%% Calls as gen_server:call/2 does, without a monitor. No other call may be under way.
-spec call(kv_raw_peer:peer(), pid(), term()) -> term().
call(Peer, To, Request) ->
    Tag = send_call(Peer, To, Request),
    {_Send, {Tag, Reply}, #{}} = recv_message(Peer, #{}),
    Reply.
