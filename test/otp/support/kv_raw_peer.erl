%% A distribution peer that is nothing but a socket. It speaks the handshake as initiator, step by step, and sends and
%% receives frames. So tests can send the C node what no BEAM would send.
-module(kv_raw_peer).

-export([
    connect/1,
    handshake/2,
    send_name/2,
    send_message/2,
    recv_message/1,
    recv_status/1,
    recv_challenge/1,
    send_reply/3,
    recv_ack/1,
    finish/2,
    close/1
]).
-export([
    send_bytes/2,
    setopts/2,
    send_frame/3,
    frame/1,
    frame/2,
    recv_frame/2,
    recv_control/2,
    is_closed/2,
    ping/1,
    spawn_bucket/1,
    call/3,
    send_call/3,
    recv_reply/2,
    pid/3
]).
-export([all_flags/0]).

-export_type([peer/0, socket/0]).

%% Over TLS, that of ssl.
-type socket() :: gen_tcp:socket() | ssl:sslsocket().
-type peer() :: #{
    socket := socket(),
    name := string(),
    creation := non_neg_integer(),
    flags := non_neg_integer(),
    node => string(),
    node_flags => non_neg_integer(),
    node_creation => non_neg_integer()
}.

-define(DEADLINE, 10000).
-define(FLAGS, 16#D075F7FBC).

%% The flags of OTP 25 without fragments: frames have the form that frame/2 makes.
-spec all_flags() -> non_neg_integer().
all_flags() ->
    ?FLAGS.

%% ---- handshake ------------------------------------------------------------------------------

-spec connect(inet:port_number()) -> gen_tcp:socket().
connect(Port) ->
    {ok, Socket} = gen_tcp:connect(
        {127, 0, 0, 1}, Port, [binary, {active, false}, {packet, raw}, {nodelay, true}], ?DEADLINE
    ),
    Socket.

secured(Socket, #{tls := Options}) ->
    {ok, Secured} = ssl:connect(Socket, [{server_name_indication, disable} | Options], ?DEADLINE),
    Secured;
secured(Socket, _Options) ->
    Socket.

carrier(Socket) when is_tuple(Socket), element(1, Socket) =:= sslsocket -> ssl;
carrier(_Socket) -> gen_tcp.

%% Performs the whole handshake. Options: name, cookie, flags, creation, form (new, or old for the 'n' message), and
%% tls: options of ssl, to speak TLS.
%% Returns a peer, or the step that failed and why.
-spec handshake(inet:port_number(), map()) -> {ok, peer()} | {error, {atom(), term()}}.
handshake(Port, Options) ->
    Socket = secured(connect(Port), Options),
    ok = send_name(Socket, Options),
    case recv_status(Socket) of
        {ok, "ok"} -> finish(Socket, Options);
        {ok, "alive"} ->
            ok = send_message(Socket, "strue"),
            finish(Socket, Options);
        {ok, Status} -> {error, {status, Status}};
        {error, Reason} -> {error, {status, Reason}}
    end.

%% Performs the steps after the status.
-spec finish(socket(), map()) -> {ok, peer()} | {error, {atom(), term()}}.
finish(Socket, Options) ->
    case recv_challenge(Socket) of
        {ok, {Flags, Challenge, Creation, Name}} ->
            ok = complement(Socket, Options),
            ok = send_reply(Socket, Challenge, maps:get(cookie, Options, "secret")),
            case recv_ack(Socket) of
                ok -> {ok, peer(Socket, Options, Flags, Creation, Name)};
                {error, Reason} -> {error, {ack, Reason}}
            end;
        {error, Reason} ->
            {error, {challenge, Reason}}
    end.

peer(Socket, Options, Flags, Creation, Name) ->
    #{
        socket => Socket,
        name => name(Options),
        creation => creation(Options),
        flags => flags(Options),
        node => Name,
        node_flags => Flags,
        node_creation => Creation
    }.

name(Options) -> maps:get(name, Options, "raw@127.0.0.1").
creation(Options) -> maps:get(creation, Options, 77).
flags(Options) -> maps:get(flags, Options, ?FLAGS).

-spec send_name(socket(), map()) -> ok.
send_name(Socket, #{form := old} = Options) ->
    send_message(Socket, [<<$n, 5:16, (flags(Options)):32>>, name(Options)]);
send_name(Socket, Options) ->
    Name = list_to_binary(name(Options)),
    Length = byte_size(Name),
    send_message(Socket, <<
        $N, (flags(Options)):64, (creation(Options)):32, Length:16, Name/binary
    >>).

complement(Socket, #{form := old} = Options) ->
    send_message(Socket, <<$c, (flags(Options) bsr 32):32, (creation(Options)):32>>);
complement(_Socket, _Options) ->
    ok.

%% Sends a handshake message. The node may have closed the socket already.
-spec send_message(socket(), iodata()) -> ok.
send_message(Socket, Message) ->
    _ = (carrier(Socket)):send(Socket, [<<(iolist_size(Message)):(length_bits(Socket))>>, Message]),
    ok.

-spec recv_message(socket()) -> {ok, binary()} | {error, term()}.
recv_message(Socket) ->
    Bits = length_bits(Socket),
    case (carrier(Socket)):recv(Socket, Bits div 8, ?DEADLINE) of
        {ok, <<Length:Bits>>} -> (carrier(Socket)):recv(Socket, Length, ?DEADLINE);
        {error, econnreset} -> {error, closed};
        {error, Reason} -> {error, Reason}
    end.

%% Over TLS all lengths have four bytes (ssl, inet_tls_dist.erl).
length_bits(Socket) ->
    case carrier(Socket) of
        ssl -> 32;
        gen_tcp -> 16
    end.

-spec recv_status(socket()) -> {ok, string()} | {error, term()}.
recv_status(Socket) ->
    case recv_message(Socket) of
        {ok, <<$s, Status/binary>>} -> {ok, binary_to_list(Status)};
        {ok, Other} -> {error, {not_a_status, Other}};
        {error, Reason} -> {error, Reason}
    end.

-spec recv_challenge(socket()) ->
    {ok, {non_neg_integer(), non_neg_integer(), non_neg_integer(), string()}} | {error, term()}.
recv_challenge(Socket) ->
    case recv_message(Socket) of
        {ok, <<$N, Flags:64, Challenge:32, Creation:32, Length:16, Name:Length/binary>>} ->
            {ok, {Flags, Challenge, Creation, binary_to_list(Name)}};
        {ok, Other} ->
            {error, {not_a_challenge, Other}};
        {error, Reason} ->
            {error, Reason}
    end.

-spec send_reply(socket(), non_neg_integer(), string()) -> ok.
send_reply(Socket, Challenge, Cookie) ->
    put({?MODULE, Socket}, Cookie),
    send_message(Socket, [<<$r, 4711:32>>, digest(Cookie, Challenge)]).

%% Also checks that the node knows the cookie.
-spec recv_ack(socket()) -> ok | {error, term()}.
recv_ack(Socket) ->
    Digest = digest(get({?MODULE, Socket}), 4711),
    case recv_message(Socket) of
        {ok, <<$a, Digest:16/binary>>} -> ok;
        {ok, Other} -> {error, {not_an_ack, Other}};
        {error, Reason} -> {error, Reason}
    end.

digest(Cookie, Challenge) ->
    erlang:md5([Cookie, integer_to_list(Challenge)]).

-spec close(peer() | socket()) -> ok.
close(#{socket := Socket}) -> close(Socket);
close(Socket) -> (carrier(Socket)):close(Socket).

%% ---- frames ---------------------------------------------------------------------------------

-spec send_bytes(peer(), iodata()) -> ok | {error, term()}.
send_bytes(#{socket := Socket}, Bytes) ->
    (carrier(Socket)):send(Socket, Bytes).

-spec setopts(peer(), [gen_tcp:option()]) -> ok | {error, term()}.
setopts(#{socket := Socket}, Options) ->
    case carrier(Socket) of
        ssl -> ssl:setopts(Socket, Options);
        gen_tcp -> inet:setopts(Socket, Options)
    end.

-spec send_frame(peer(), tuple(), term()) -> ok | {error, term()}.
send_frame(Peer, Control, Payload) ->
    send_bytes(Peer, frame(Control, Payload)).

%% A frame with its length.
-spec frame(tuple()) -> binary().
frame(Control) ->
    with_length(<<112, (term_to_binary(Control))/binary>>).

-spec frame(tuple(), term()) -> binary().
frame(Control, Payload) ->
    with_length(<<112, (term_to_binary(Control))/binary, (term_to_binary(Payload))/binary>>).

with_length(Bytes) ->
    <<(byte_size(Bytes)):32, Bytes/binary>>.

%% Returns the next frame: tick, or the control message and its payload (none if there is none).
-spec recv_frame(peer(), timeout()) -> tick | {tuple(), term()} | {error, term()}.
recv_frame(#{socket := Socket}, Timeout) ->
    case (carrier(Socket)):recv(Socket, 4, Timeout) of
        {ok, <<0:32>>} ->
            tick;
        {ok, <<Length:32>>} ->
            {ok, <<112, Terms/binary>>} = (carrier(Socket)):recv(Socket, Length, ?DEADLINE),
            {Control, Used} = binary_to_term(Terms, [used]),
            {Control, payload(binary:part(Terms, Used, byte_size(Terms) - Used))};
        {error, econnreset} ->
            {error, closed};
        {error, Reason} ->
            {error, Reason}
    end.

payload(<<>>) -> none;
payload(Bytes) -> binary_to_term(Bytes).

%% Returns the next frame that is not a tick.
-spec recv_control(peer(), timeout()) -> {tuple(), term()} | {error, term()}.
recv_control(Peer, Timeout) ->
    case recv_frame(Peer, Timeout) of
        tick -> recv_control(Peer, Timeout);
        Other -> Other
    end.

%% Returns true if the node closes the connection within that time. Skips data that the node still sends.
-spec is_closed(peer() | socket(), timeout()) -> boolean().
is_closed(#{socket := Socket}, Timeout) ->
    is_closed(Socket, Timeout);
is_closed(Socket, Timeout) ->
    case (carrier(Socket)):recv(Socket, 0, Timeout) of
        {ok, _} -> is_closed(Socket, Timeout);
        {error, timeout} -> false;
        {error, _} -> true
    end.

%% ---- what a caller does ---------------------------------------------------------------------

%% Makes a pid of any node, whether or not it exists.
-spec pid(string(), non_neg_integer(), non_neg_integer()) -> pid().
pid(Node, Id, Creation) ->
    Length = length(Node),
    binary_to_term(<<
        131, 88, 119, Length, (list_to_binary(Node))/binary, Id:32, 0:32, Creation:32
    >>).

self_pid(#{name := Name, creation := Creation}) ->
    pid(Name, 1, Creation).

%% As net_adm:ping/1 on a connected node: returns yes, or what came instead.
-spec ping(peer()) -> term().
ping(#{name := Name} = Peer) ->
    Tag = make_ref(),
    Request = {'$gen_call', {self_pid(Peer), Tag}, {is_auth, list_to_atom(Name)}},
    case send_frame(Peer, {6, self_pid(Peer), '', net_kernel}, Request) of
        ok -> recv_reply(Peer, Tag);
        {error, Reason} -> {error, Reason}
    end.

%% Returns the pid of a new bucket.
-spec spawn_bucket(peer()) -> pid().
spawn_bucket(Peer) ->
    Ref = make_ref(),
    Self = self_pid(Peer),
    ok = send_frame(Peer, {29, Ref, Self, Self, {kv_bucket, init, 1}, []}, [[]]),
    {{31, _Ref, Self, 0, Bucket}, none} = recv_control(Peer, ?DEADLINE),
    true = is_pid(Bucket),
    Bucket.

%% Calls as gen_server:call/2 does, without a monitor.
-spec call(peer(), pid(), term()) -> term().
call(Peer, To, Request) ->
    recv_reply(Peer, send_call(Peer, To, Request)).

-spec send_call(peer(), pid(), term()) -> reference().
send_call(Peer, To, Request) ->
    Tag = make_ref(),
    Self = self_pid(Peer),
    ok = send_frame(Peer, {22, Self, To}, {'$gen_call', {Self, Tag}, Request}),
    Tag.

-spec recv_reply(peer(), reference()) -> term().
recv_reply(Peer, Tag) ->
    case recv_control(Peer, ?DEADLINE) of
        {_Send, {Tag, Reply}} -> Reply;
        Other -> {unexpected, Other}
    end.
