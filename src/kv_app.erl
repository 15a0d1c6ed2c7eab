%% @doc The application callback for Erlang and rebar3. Starts the supervision tree with the options of the
%% application environment.
%% @private
-module(kv_app).
-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    kv_sup:start_link(kv_config:defaults()).

-spec stop(term()) -> ok.
stop(_State) ->
    kv_distribution:stop().
