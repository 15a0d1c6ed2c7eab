%% @doc Key-value buckets and a name registry as native processes of a C node.
%%
%% ```
%% {ok, _} = application:ensure_all_started(kv),
%% ok = kv_registry:create(kv_registry, <<"shopping">>),
%% {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
%% ok = kv_bucket:put(Bucket, eggs, 3),
%% 3 = kv_bucket:get(Bucket, eggs).
%% '''
%%
%% See {@link kv_bucket}, {@link kv_registry}, {@link kv_bucket_sup}, {@link kv_event_manager} and {@link kv_node}.
-module(kv).

-export([info/0]).

%% @doc What is known of the C node: see {@link kv_node:info/1}. Exits with `noproc' when it is not running.
-spec info() -> kv_node:info().
info() ->
    kv_node:info().
