%% @doc Errors that say which argument of a call is wrong, and which is wanted: `badarg' with `error_info' (EEP 54). Shells
%% and logs print the sentence, and Elixir makes the message of an `ArgumentError' from it.
%% @private
-module(kv_misuse).

-export([raise/3, format_error/2]).

-export_type([call/0, place/0]).

%% The call that the user has made.
-type call() :: {module(), atom(), [term()]}.
%% The number of the wrong argument.
-type place() :: pos_integer() | general.

%% The frames of the call itself are left out of the stack trace.
-define(INNER, [
    ?MODULE, erlang, kv_call_options, kv_request, kv_update, kv_transaction, kv_walk, kv_export, kv_import, kv_bucket,
    kv_registry, kv_registry_options, kv_event_manager, kv,
    'Elixir.KV.Bucket', 'Elixir.KV.Registry', 'Elixir.KV.EventManager', 'Elixir.KV'
]).

%% @doc Raises `badarg', as if the function of Call had found it.
-spec raise(call(), place(), unicode:chardata()) -> no_return().
raise({Module, Function, Arguments}, Place, Text) ->
    {current_stacktrace, Stack} = process_info(self(), current_stacktrace),
    Outside = lists:dropwhile(fun({Inner, _, _, _}) -> lists:member(Inner, ?INNER) end, Stack),
    %% A binary: Elixir takes the text of `general' as it is.
    Info = #{module => ?MODULE, cause => #{Place => unicode:characters_to_binary(Text)}},
    erlang:raise(error, badarg, [{Module, Function, Arguments, [{error_info, Info}]} | Outside]).

%% @doc Called by whatever prints the error.
-spec format_error(term(), [tuple()]) -> #{place() => unicode:chardata()}.
format_error(_Reason, [{_Module, _Function, _Arguments, Info} | _]) ->
    #{cause := Cause} = proplists:get_value(error_info, Info),
    Cause.
