%% @doc The sentence for each reason with which a function of {@link kv_bucket} or {@link kv_registry}, or {@link kv:backup/2},
%% returns `{error, Reason}'.
-module(kv_error).

-export([text/1]).

%% @doc Returns the sentence for a reason. `KV.Error' uses it as its message.
%%
%% ```
%% <<"the value is not an integer">> = kv_error:text(not_an_integer).
%% '''
-spec text(term()) -> binary().
text(Reason) ->
    unicode:characters_to_binary(sentence(Reason)).

%% Room
sentence(enomem) -> "there is no room for the entry: the bucket or its node has reached max_memory";
sentence(full) -> "the bucket has as many entries as max_entries allows, and evict lets none of them go";
%% Disk
sentence(enospc) -> "there is no space on the disk for the change, so nothing has changed; reads go on";
sentence(busy) -> "too many changes wait for the disk, so nothing has changed; try again in a moment";
sentence({no_data_dir, Text}) -> Text;
%% Backups
sentence({Word, Text}) when
    is_binary(Text),
    (Word =:= bad_folder orelse Word =:= no_backup_dir orelse Word =:= backup_under_way orelse Word =:= not_ready orelse
        Word =:= enospc orelse Word =:= enomem orelse Word =:= eio)
->
    Text;
%% Values
sentence(not_an_integer) -> "the value is not an integer";
sentence({limit, Current}) ->
    ["the result would be out of bounds, so nothing has changed; the step would start from ", shown(Current),
        ", which is the value, or the default of an absent key"];
%% Transactions
sentence(check_failed) -> "the check of the transaction does not hold";
sentence({too_many_operations, Count}) -> ["a transaction has at most 1000 operations; this one has ", shown(Count)];
sentence({Index, Reason}) when is_integer(Index) -> ["operation ", integer_to_list(Index), ", counted from 0: ", sentence(Reason)];
%% Requests over a limit of the node
sentence({too_large, Bytes}) ->
    [shown(Bytes), " bytes are too many: a transaction may have 1 MiB, an answer 256 MiB, and any other message what max_frame allows"];
sentence({too_deep, Levels}) -> ["the request is nested deeper than ", shown(Levels), " levels (max_depth)"];
sentence({too_much_pending, Bytes}) ->
    ["more large messages are under way than the node keeps (max_pending, ", shown(Bytes), " bytes); try again"];
sentence({unsupported_term, Kind}) -> ["the request holds a term that not every release of OTP can read: ", shown(Kind)];
sentence({bad_request, Request}) -> ["the process does not know the request ", shown(Request)];
%% Arguments that the node has found wrong
sentence({bad_ttl, Given}) -> wrong("the time to live", "1 to 70368744177664 milliseconds, infinity or keep", Given);
sentence({bad_time, Given}) -> wrong("the time", "milliseconds since 1970, at most 70368744177664 from now", Given);
sentence({bad_step, Given}) -> wrong("the step", "an integer of at most 1,024 bits", Given);
sentence({bad_keys, Given}) -> wrong("the list of keys", "a proper list", Given);
sentence({bad_entries, Given}) -> wrong("the collection of entries", "a map or a proper list of pairs", Given);
sentence({bad_tag, Given}) -> wrong("the tag", "one that fetch_tagged has returned", Given);
sentence({bad_name, Given}) -> wrong("the name of a bucket in a registry", "a binary", Given);
sentence({bad_prefix, Given}) -> wrong("the prefix", "a binary", Given);
sentence({name_too_long, Bytes}) -> ["the name has ", shown(Bytes), " bytes, which is more than a registry takes"];
sentence({bad_option, _Key, Text}) -> Text;
sentence({bad_tls_option, Option, Text}) -> ["the option ", shown(Option), " of TLS: ", Text];
sentence({bad_option, Option}) -> ["the option ", shown(Option), " is unknown, or its value is wrong"];
sentence({options_too_large, Bytes}) -> ["the options take ", shown(Bytes), " bytes, which is more than a registry keeps"];
sentence({meta_too_large, Bytes}) -> ["the metadata takes ", shown(Bytes), " bytes, which is more than a registry keeps"];
%% Starting and finding
sentence({already_started, Pid}) -> ["the name is taken by ", shown(Pid)];
sentence({already_registered, Pid}) -> ["the name is taken on the C node by ", shown(Pid)];
sentence({unknown_name, Text}) when is_binary(Text) -> Text;
sentence(name_taken) -> "the registry has the new name already, or is creating a bucket with it";
sentence({already_created, Pid}) -> ["the registry has the name already, for ", shown(Pid)];
sentence({not_running, Text}) -> Text;
sentence({no_supervisor, Text}) when is_binary(Text) -> Text;
sentence({start_timeout, Ms}) ->
    ["the node was not ready within ", shown(Ms), " milliseconds (start_timeout): its log says what it was at; raise start_timeout if it needs longer"];
sentence({program_missing, Path}) when is_binary(Path) ->
    ["there is no program ", Path, ": build it with make -C c_src, or name it with the option program"];
sentence({program_not_executable, Path}) when is_binary(Path) ->
    ["the file ", Path, " may not be run: build the program with make -C c_src, or name it with the option program"];
sentence({node_unresponsive, Ms}) -> ["the program did not answer for ", shown(Ms), " milliseconds, and was killed"];
sentence({fatal, _Reason, Text}) when is_binary(Text) -> Text;
sentence({nodedown, Node}) -> ["the connection to the node ", shown(Node), " is lost; whether the request was handled is not known"];
%% Agent
sentence({cannot_run_closures, Text}) -> Text;
%% Walks
sentence(stale_cursor) -> "the bucket was replaced during the walk; begin the walk again";
sentence(bad_cursor) -> "the cursor is none that a walk has returned";
%% Snapshots
sentence(stale_snapshot) -> "the bucket was replaced in the middle of the export; export it again";
sentence({snapshot_too_old, Text}) -> Text;
sentence({too_many_snapshots, Most}) ->
    ["the bucket has ", shown(Most), " exports under way, which is the limit; try again when one of them has ended"];
%% Files
sentence({file, not_regular}) -> "the file is a directory, a FIFO, a socket or a device; only a regular file will do";
sentence({file, Posix}) -> ["the file cannot be opened, read or written: ", file:format_error(Posix)];
sentence({bad_file, Text}) -> Text;
sentence({incomplete, Count, Reason}) -> ["the import ended early, after ", shown(Count), " entries: ", sentence(Reason)];
%% Anything else, such as the reason of a function of `fill'
sentence(Reason) -> shown(Reason).

wrong(What, Wanted, Given) -> kv_options:wrong(What, Wanted, Given).

shown(Term) -> kv_options:shown(Term).
