%% A user's supervisor, of default intensity, without children at first.
-module(kv_test_sup).
-behaviour(supervisor).

-export([init/1]).

init([]) -> {ok, {#{strategy => one_for_one}, []}}.
