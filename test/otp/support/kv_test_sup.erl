%% A supervisor as a user has one: of default intensity, and with what is added.
-module(kv_test_sup).
-behaviour(supervisor).

-export([init/1]).

init([]) -> {ok, {#{strategy => one_for_one}, []}}.
