%% @doc Log lines about a node: one line each when it has started, is lost, cannot start again, and is back.
%%
%% These lines have no domain, because the default handler of Erlang's logger drops lines of unknown domains.
%% @private
-module(kv_node_log).

-include_lib("kernel/include/logger.hrl").

-export([recovering/2, serves/4, lost/5, cannot_start/3, connection_lost/2, connection_back/2]).
-export([attached/2, attachment_lost/2, silent/2, away/2, another_run/2, cannot_attach/2]).

-type totals() :: undefined | #{
    buckets := non_neg_integer(),
    registries := non_neg_integer(),
    entries := non_neg_integer(),
    bytes := non_neg_integer(),
    %% Durable buckets, which are not among the buckets. Entries and bytes are those of all.
    durable := non_neg_integer(),
    asked := integer()
}.

-export_type([totals/0]).

-define(NAMES_MAX, 20).

%% @doc Logs how much of its durable buckets a program that starts has read.
-spec recovering(atom(), 0..100) -> ok.
recovering(Server, Percent) ->
    log(notice, "~ts reads its durable buckets from disk: ~b% done", [kv_text:atom(Server), Percent]).

%% @doc Logs that the program serves, for the first time or again.
-spec serves(first | {back_after, non_neg_integer()}, node(), pos_integer(), map()) -> ok.
serves(How, Node, OsPid, Facts) ->
    log(notice, "~ts ~ts: OS process ~b, version ~ts~ts", [Node, how(How), OsPid, maps:get(version, Facts), limits(Facts)]).

%% As text, because Elixir's logger would format terms in its own way, over several lines.
log(Level, Format, Arguments) ->
    ?LOG(Level, "~ts", [io_lib:format(Format, Arguments)]).

how(first) -> "has started";
how({back_after, Ms}) -> io_lib:format("is back after ~b ms", [Ms]).

limits(Facts) ->
    Keys = [max_memory, max_frame, max_depth, max_peers, max_queue],
    [io_lib:format(", ~ts ~b", [Key, Value]) || Key <- Keys, #{Key := Value} <- [Facts], is_integer(Value)].

%% @doc Logs that the program is gone, and what its processes held. The last argument is the folder of its durable buckets.
-spec lost(node(), term(), totals(), [kv_proxies:proxy()], undefined | unicode:chardata()) -> ok.
lost(Node, Reason, Totals, Proxies, Folder) ->
    log(warning, "~ts is lost (~0tp)~ts~ts~ts", [Node, Reason, totals(Totals), named(Proxies), kept(Totals, Folder)]).

%% Durable buckets are not lost.
kept(_Totals, undefined) -> "";
kept(#{durable := 0}, _Folder) -> "";
kept(#{durable := 1}, Folder) -> io_lib:format("; 1 durable bucket comes back from ~ts", [Folder]);
kept(#{durable := Durable}, Folder) -> io_lib:format("; ~b durable buckets come back from ~ts", [Durable, Folder]);
kept(undefined, Folder) -> io_lib:format("; durable buckets come back from ~ts", [Folder]).

totals(undefined) ->
    "";
totals(#{buckets := Buckets, registries := Registries, asked := Asked} = Totals) ->
    Age = (erlang:monotonic_time(millisecond) - Asked) / 1000,
    io_lib:format(
        ", and what it held: ~ts, ~ts~ts as of ~.1f s ago",
        [kv_text:count(Buckets, "bucket", "buckets"), kv_text:count(Registries, "registry", "registries"), contents(Totals), Age]
    ).

%% The entries of durable buckets are among them.
contents(#{entries := Entries, bytes := Bytes, durable := 0}) ->
    io_lib:format(", ~ts, ~ts", [kv_text:count(Entries, "entry", "entries"), kv_text:bytes(Bytes)]);
contents(_Totals) ->
    "".

named(Proxies) ->
    case lists:usort([Name || #{name := Name} <- Proxies, Name =/= undefined]) of
        [] -> "";
        Names -> ["; by name: ", lists:join(", ", [shown(Name) || Name <- lists:sublist(Names, ?NAMES_MAX)]), more(length(Names))]
    end.

shown(Name) when is_atom(Name) -> kv_text:atom(Name);
shown(Name) when is_binary(Name) -> io_lib:format("~0tp", [Name]);
shown(Name) -> io_lib:format("~0tP", [Name, 9]).

more(Number) when Number > ?NAMES_MAX -> io_lib:format(", and ~b more", [Number - ?NAMES_MAX]);
more(_Number) -> "".

%% @doc Logs that the program could not be started again.
-spec cannot_start(atom(), term(), non_neg_integer()) -> ok.
cannot_start(Server, Reason, NextMs) ->
    log(error, "~ts cannot start (~0tp)~ts, next try ~ts", [kv_text:atom(Server), Reason, advice(Reason), in(NextMs)]).

%% Other reasons have their sentence in themselves.
advice({Kind, _} = Reason) when Kind =:= program_missing; Kind =:= program_not_executable; Kind =:= start_timeout ->
    [": ", kv_error:text(Reason)];
advice(_Reason) ->
    "".

in(0) -> "at once";
in(Ms) -> io_lib:format("in ~b ms", [Ms]).

%% @doc Logs that the connection is lost while the program is running.
-spec connection_lost(node(), non_neg_integer() | {nameless, non_neg_integer()}) -> ok.
connection_lost(Node, {nameless, Timeout}) ->
    Format = "this VM has stopped its distribution, and with it the connection to ~ts; waiting for a new name for up to ~b ms",
    log(warning, Format, [Node, Timeout]);
connection_lost(Node, Timeout) ->
    log(warning, "the connection to ~ts is lost; its program is running; dialling again for up to ~b ms", [Node, Timeout]).

%% @doc Logs that the connection is back.
-spec connection_back(node(), non_neg_integer()) -> ok.
connection_back(Node, Ms) ->
    log(notice, "the connection to ~ts is back after ~b ms", [Node, Ms]).

%%% A node to which this VM is attached

%% @doc Logs that this VM is attached.
-spec attached(node(), kv_attach:facts()) -> ok.
attached(Node, Facts) ->
    log(notice, "this VM is attached to ~ts: ~ts", [Node, run(Facts)]).

run(#{os_pid := OsPid, version := Version, creation := Creation}) ->
    io_lib:format("OS process ~b of its host, version ~ts, creation ~b", [OsPid, Version, Creation]).

%% @doc Logs that the connection is lost. This VM cannot know whether the program runs.
-spec attachment_lost(node(), non_neg_integer()) -> ok.
attachment_lost(Node, Timeout) ->
    log(warning, "the connection to ~ts is lost; what this VM has there is kept for ~b ms; dialling again", [Node, Timeout]).

%% @doc Logs that the node has left questions without an answer for that long.
-spec silent(node(), non_neg_integer()) -> ok.
silent(Node, Ms) ->
    log(warning, "~ts has not answered for ~b ms: this VM closes the connection, and dials again", [Node, Ms]).

%% @doc Logs that nobody waits for the node any more.
-spec away(node(), non_neg_integer()) -> ok.
away(Node, Ms) ->
    log(warning, "~ts has been away for ~b ms: what this VM owned there is lost; calls exit until it is back; dialling on", [Node, Ms]).

%% @doc Logs that the node is back as another run of the program.
-spec another_run(node(), kv_attach:facts()) -> ok.
another_run(Node, Facts) ->
    log(warning, "~ts has been started anew (~ts), and what it held is lost, but for durable buckets", [Node, run(Facts)]).

%% @doc Logs that this VM cannot use the node that is there now.
-spec cannot_attach(atom(), term()) -> ok.
cannot_attach(Server, Reason) ->
    log(error, "~ts cannot attach (~0tp), and tries again each second", [kv_text:atom(Server), Reason]).
