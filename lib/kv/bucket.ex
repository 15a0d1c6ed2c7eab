defmodule KV.Bucket do
  @moduledoc """
  A bucket: a process that keeps values under keys.

  The process itself runs on the C node. `start_link/1`, which is what supervisors call, makes one and gives its
  local proxy; `KV.Registry.lookup/2` gives the native process. All functions here take either, and whatever else
  names a process: a registered name, `{name, node}`, `{:global, name}`, `{:via, module, name}`.

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.get(bucket, "milk")
      nil
      iex> KV.Bucket.put(bucket, "milk", 3)
      :ok
      iex> KV.Bucket.get(bucket, "milk")
      3

  Keys and values are any terms. Keys are the same when `===` says so: `1` and `1.0` are two keys. A bucket's
  values are lost when the bucket ends, and when the C program does.

  A bucket can't run functions of yours: `Agent.get(bucket, fun)` is answered with
  `{:error, {:cannot_run_closures, text}}`. `Agent.stop/3`, `GenServer.call/3` and `:sys` work as with any
  server.

  The last argument of each function is a time in milliseconds, 5000 by default. Functions exit as
  `GenServer.call/3` does: with `:noproc` when there is no such bucket, `:timeout` when it does not answer in
  time, `{:nodedown, node}` as soon as its node is lost.

  ## In your own tree

      children = [
        {KV.Bucket, name: MyApp.Sessions, fill: {MyApp.Sessions, :load, []}},
        {KV.Registry, name: MyApp.Names}
      ]

  The application `:kv` must be running: it is when your `mix.exs` lists `:kv` as a dependency.

    * A bucket with a name is `:permanent`, and the name is its id. If the C program dies, the bucket stays: the proxy
      keeps its pid and its name, and your supervisor notices nothing. As soon as the program is back, the proxy makes a
      new native process, which is empty. `on_node_down: :exit` ends the proxy with `:noconnection` instead. Take
      `:exit` where others monitor or link to the bucket, or rely on `:rest_for_one`.
    * A bucket without a name is `:temporary` and ends with `:noconnection`. `on_node_down: :stay` makes it stay.
    * `fill: {module, function, args}` puts data back. It is called as `apply(module, function, [bucket | args])` each
      time the native process was made, with the native pid, and before any other request is served. If it raises, exits
      or returns `{:error, reason}`, the bucket ends.
    * `generation/1` counts: 1 at first, one more each time the C program took the values with it. A log line of level
      `:warning` says what was lost; `KV.EventManager.add_handler/4` tells handlers.
    * If the native process itself ends, by a kill, a stop or a crash, its proxy ends with the same reason, and your
      supervisor starts one anew.
    * If only the connection to the C program is lost, the bucket keeps its values.

  While the node is away, calls of the proxy wait within their timeout, 10,000 messages or 64 MiB at most; beyond, they
  exit with `{:nodedown, node}`. A call under way when the node is lost exits with `{:nodedown, node}` at once.
  `GenServer.call(proxy, request, :infinity)` returns `{:error, {:nodedown, node}}`. Calls of the native pid never wait:
  its process does not come back.

  ## Requests over a limit

  A request of more than `:max_frame` bytes (128 MiB), or nested deeper than `:max_depth` (2^20), changes nothing.
  `put/4`, `put_new/4`, `put_many/3` and `delete_many/3` return `{:error, {:too_large, bytes}}` or
  `{:error, {:too_deep, levels}}`. All others, whose answer may be any term, exit with `{{:too_large, bytes}, _}` or
  `{{:too_deep, levels}, _}`. `t:refused/0` has the rest of the reasons.

  ## Speed

  The fastest address is the native process, which `KV.Registry.lookup/2` gives: a call of it is one message each way and
  nothing else. The proxy is a hop more, a name costs a look-up more.

  `get_many/4`, `put_many/3` and `delete_many/3` send all keys in one message. `async/3` sends any request without waiting
  for its answer, so that many can be under way, to one bucket or to several, without a process for each; `await/2`
  waits for it, `cast/3` wants no answer at all. What a process sends to
  one address of a bucket is handled in the order in which it was sent, whichever way.
  """

  @typedoc "A bucket, by anything that names a process."
  @type t :: GenServer.server()

  @typedoc "The pid of the native process, on the C node."
  @type native :: pid

  @typedoc "The pid of the local process that stands for the native one."
  @type proxy :: pid

  @type key :: term
  @type value :: term

  @typedoc "A map, or a list of pairs, of which the later one of two with the same key counts."
  @type entries :: %{key => value} | [{key, value}]

  @typedoc "What `async/3` gives, for `await/2`."
  @opaque request :: :kv_bucket.request()

  @typedoc """
    * `:name` - an atom, which is registered locally and on the C node, `{:global, term}` or
      `{:via, module, term}`.
    * `:label` - a binary that status reports show.
    * `:node` - the local name of the `KV.Node` to run on, when there are several.
    * `:max_memory` - the bytes that entries and their index may take; unlimited unless given. All buckets of a node
      together have its `:max_memory`.
    * `:evict` - what happens to a put that finds no room: with `:none`, the default, it is answered
      `{:error, :enomem}`; with `:lru` the entry goes that, of some that are looked at, was not used for longest; with
      `:ttl` the one that expires soonest, and none that never does.
    * `:on_node_down` - what becomes of the proxy when the C program is gone: `:stay` or `:exit`. Default: `:stay` with
      a name, `:exit` without.
    * `:fill` - `{module, function, args}`, called each time the native process was made.
    * `:id`, `:restart`, `:shutdown` - of the child specification.
  """
  @type option ::
          {:name, GenServer.name()}
          | {:label, binary}
          | {:node, atom}
          | {:max_memory, pos_integer}
          | {:evict, :none | :lru | :ttl}
          | {:on_node_down, :stay | :exit}
          | {:fill, {module, atom, [term]} | nil}
          | {:id, term}
          | {:restart, :permanent | :transient | :temporary}
          | {:shutdown, timeout | :brutal_kill}

  @typedoc "How long what is put stays there, and how long the answer is waited for; in milliseconds."
  @type put_option :: {:ttl, pos_integer | :infinity} | {:timeout, timeout}

  @type options :: [option] | %{optional(:name) => GenServer.name(), optional(atom) => term}

  @typedoc """
  Why the node refused a request, which has changed nothing then.

    * `{:too_large, bytes}` - it is larger than `:max_frame` of `KV.Node`.
    * `{:too_deep, levels}` - its terms are nested deeper than `:max_depth`, which is `levels`.
    * `{:too_much_pending, bytes}` - more large messages were under way than the node keeps. Try again.
    * `{:unsupported_term, :record | :integer}` - it holds a term that not every release of OTP can read.
  """
  @type refused ::
          {:too_large | :too_deep | :too_much_pending, pos_integer}
          | {:unsupported_term, :record | :integer}

  @doc """
  Starts an empty bucket, linked to the caller, and gives its proxy.

  Waits for a node that is starting or restarting, at most for `:start_timeout` of `KV.Node`.

  Returns `{:ok, pid}`, or `{:error, reason}`: `{:bad_option, key}`; `{:already_started, pid}` when the name is
  taken; `{:already_registered, pid}` when it is taken on the C node; `{:not_running, text}` when nobody starts a C
  node, and the text says what to start; `{:start_timeout, ms}` or `{:nodedown, node}` when the node is not there in
  time; or the reason for which `:fill` failed.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link(name: :shopping)
      iex> KV.Bucket.put(:shopping, "eggs", 3)
      :ok
      iex> KV.Bucket.start_link(name: :shopping)
      {:error, {:already_started, bucket}}
      iex> KV.Bucket.start_link(colour: :red)
      {:error, {:bad_option, :colour}}
      iex> {:ok, bucket} = KV.Bucket.start_link(fill: {KV.Bucket, :put_many, [%{"milk" => 3}]})
      iex> KV.Bucket.get(bucket, "milk")
      3
  """
  @doc since: "0.1.0"
  @spec start_link(options) :: {:ok, proxy} | {:error, term}
  def start_link(options \\ []), do: :kv_bucket.start_link(options)

  @doc """
  A child specification.

  A bucket with a name has the name as its id and is `:permanent`. One without a name is `:temporary`: nobody would find
  an empty one in its place. The options `:id`, `:restart` and `:shutdown` say otherwise.

  ## Examples

      iex> Supervisor.child_spec(KV.Bucket, []).restart
      :temporary
      iex> spec = KV.Bucket.child_spec(name: :shopping)
      iex> {spec.id, spec.restart, spec.start}
      {:shopping, :permanent, {KV.Bucket, :start_link, [[name: :shopping]]}}
      iex> KV.Bucket.child_spec(name: :shopping, restart: :transient).restart
      :transient
  """
  @doc since: "0.1.0"
  @spec child_spec(options) :: Supervisor.child_spec()
  def child_spec(options), do: :kv_start_options.child_spec(options, __MODULE__, :temporary)

  @doc """
  The value under `key`, or `default`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.get(bucket, "milk")
      nil
      iex> KV.Bucket.get(bucket, "milk", 0)
      0
  """
  @doc since: "0.1.0"
  @spec get(t, key, default, timeout) :: value | default when default: term
  def get(bucket, key, default \\ nil, timeout \\ 5_000), do: :kv_bucket.get(bucket, key, default, timeout)

  @doc """
  `{:ok, value}` with the value under `key`, or `:error`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.fetch(bucket, "milk")
      :error
      iex> KV.Bucket.put(bucket, "milk", nil)
      iex> KV.Bucket.fetch(bucket, "milk")
      {:ok, nil}
  """
  @doc since: "0.1.0"
  @spec fetch(t, key, timeout) :: {:ok, value} | :error
  def fetch(bucket, key, timeout \\ 5_000), do: :kv_bucket.fetch(bucket, key, timeout)

  @doc """
  The value under `key`; raises `KeyError` when there is none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.fetch!(bucket, "milk")
      3
  """
  @doc since: "0.1.0"
  @spec fetch!(t, key, timeout) :: value
  def fetch!(bucket, key, timeout \\ 5_000) do
    case fetch(bucket, key, timeout) do
      {:ok, value} -> value
      :error -> raise KeyError, key: key, term: bucket
    end
  end

  @doc """
  Puts `value` under `key`, in place of the one that is there.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, {:any, "term"}, %{milk: 1})
      :ok
      iex> KV.Bucket.get(bucket, {:any, "term"})
      %{milk: 1}

  The last argument is a timeout, or a list of `:ttl`, the milliseconds after which the key is gone, and `:timeout`. A put
  without `:ttl` stays, also where one was set before.

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 1, ttl: 60_000)
      :ok
      iex> KV.Bucket.get(bucket, "milk")
      1

  `{:error, :enomem}` when there is no room, `{:error, reason}` with a reason of `t:refused/0` when the request is over a
  limit: nothing has changed then.

      iex> {:ok, bucket} = KV.Bucket.start_link(max_memory: 1024)
      iex> KV.Bucket.put(bucket, "milk", String.duplicate("m", 1024))
      {:error, :enomem}
  """
  @doc since: "0.1.0"
  @spec put(t, key, value, timeout | [put_option]) :: :ok | {:error, :enomem | refused}
  def put(bucket, key, value, options \\ 5_000), do: :kv_bucket.put(bucket, key, value, options)

  @doc """
  Puts `value` under `key` unless there is one already; says whether it did. Options and errors are as for `put/4`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_new(bucket, "milk", 1)
      true
      iex> KV.Bucket.put_new(bucket, "milk", 2)
      false
      iex> KV.Bucket.get(bucket, "milk")
      1
  """
  @doc since: "0.1.0"
  @spec put_new(t, key, value, timeout | [put_option]) :: boolean | {:error, :enomem | refused}
  def put_new(bucket, key, value, options \\ 5_000), do: :kv_bucket.put_new(bucket, key, value, options)

  @doc """
  Removes `key` and gives the value that it had, or `nil`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.delete(bucket, "milk")
      3
      iex> KV.Bucket.delete(bucket, "milk")
      nil
  """
  @doc since: "0.1.0"
  @spec delete(t, key, timeout) :: value | nil
  def delete(bucket, key, timeout \\ 5_000), do: :kv_bucket.delete(bucket, key, timeout)

  @doc """
  Whether there is a value under `key`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, 1, nil)
      iex> {KV.Bucket.has_key?(bucket, 1), KV.Bucket.has_key?(bucket, 1.0)}
      {true, false}
  """
  @doc since: "0.1.0"
  @spec has_key?(t, key, timeout) :: boolean
  def has_key?(bucket, key, timeout \\ 5_000), do: :kv_bucket.has_key(bucket, key, timeout)

  @doc """
  The number of keys. Takes the same time however many there are.

  What has expired (`:ttl` of `put/4`) does not count. Only in a bucket of more than 1,000 keys it does until the node has
  removed it, by itself: within some 2 seconds, and 3 more for each million of keys.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.size(bucket)
      1
  """
  @doc since: "0.1.0"
  @spec size(t, timeout) :: non_neg_integer
  def size(bucket, timeout \\ 5_000), do: :kv_bucket.size(bucket, timeout)

  @doc """
  All keys, in no order. Exits with `{{:too_large, bytes}, _}` when they have more than 256 MiB.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.keys(bucket)
      ["milk"]
  """
  @doc since: "0.1.0"
  @spec keys(t, timeout) :: [key]
  def keys(bucket, timeout \\ 5_000), do: :kv_bucket.keys(bucket, timeout)

  @doc """
  All keys with their values. Exits with `{{:too_large, bytes}, _}` when they have more than 256 MiB.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.to_map(bucket)
      %{"milk" => 3}
  """
  @doc since: "0.1.0"
  @spec to_map(t, timeout) :: %{key => value}
  def to_map(bucket, timeout \\ 5_000), do: :kv_bucket.to_map(bucket, timeout)

  @doc """
  Removes all keys.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.clear(bucket)
      :ok
      iex> KV.Bucket.size(bucket)
      0
  """
  @doc since: "0.1.0"
  @spec clear(t, timeout) :: :ok
  def clear(bucket, timeout \\ 5_000), do: :kv_bucket.clear(bucket, timeout)

  @doc """
  Which life of the bucket this is: 1 for the native process that was made first, and one more each time it was lost
  with its node and made anew.

  If the number is the same as before, the bucket was not emptied meanwhile by the loss of its node.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.generation(bucket)
      1
  """
  @doc since: "0.1.0"
  @spec generation(t, timeout) :: pos_integer
  def generation(bucket, timeout \\ 5_000), do: :kv_bucket.generation(bucket, timeout)

  @doc """
  The values under `keys`, in their order, with `default` where there is none; all of one moment.

  It is one message, however many keys. While the node answers it, some 10 milliseconds for 100,000 keys, it serves
  nothing else. Exits with `{{:too_large, bytes}, _}` when the answer would have more than 256 MiB. Raises
  `ArgumentError` when `keys` is no proper list. `take/3` gives a map.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, %{"milk" => 3, "eggs" => 12})
      iex> KV.Bucket.get_many(bucket, ["eggs", "tea", "milk"])
      [12, nil, 3]
      iex> KV.Bucket.get_many(bucket, ["eggs", "tea"], 0)
      [12, 0]
  """
  @doc since: "0.1.0"
  @spec get_many(t, [key], default, timeout) :: [value | default] when default: term
  def get_many(bucket, keys, default \\ nil, timeout \\ 5_000),
    do: :kv_bucket.get_many(bucket, keys, default, timeout)

  @doc """
  Those of `keys` that have a value, with it, as `Map.take/2` does.

  Otherwise as `get_many/4`, whose list is made several times faster than a map.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, %{"milk" => 3, "eggs" => nil})
      iex> KV.Bucket.take(bucket, ["eggs", "tea"])
      %{"eggs" => nil}
  """
  @doc since: "0.1.0"
  @spec take(t, [key], timeout) :: %{key => value}
  def take(bucket, keys, timeout \\ 5_000), do: :kv_bucket.take(bucket, keys, timeout)

  @doc """
  Puts all `entries` in one message: nobody sees some of them without the others.

  Raises `ArgumentError`, and puts nothing, when they are neither a map nor a list of pairs. `{:error, :enomem}`: there was
  no room for one of them; those before it, in the order of the list, are put.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, milk: 3, eggs: 12)
      :ok
      iex> KV.Bucket.to_map(bucket)
      %{milk: 3, eggs: 12}
  """
  @doc since: "0.1.0"
  @spec put_many(t, entries, timeout | [put_option]) :: :ok | {:error, :enomem | refused}
  def put_many(bucket, entries, options \\ 5_000), do: :kv_bucket.put_many(bucket, entries, options)

  @doc """
  Removes `keys` in one message, and says how many of them there were.

  Raises `ArgumentError`, and removes nothing, when `keys` is no proper list.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, milk: 3, eggs: 12)
      iex> KV.Bucket.delete_many(bucket, [:milk, :tea])
      1
      iex> KV.Bucket.keys(bucket)
      [:eggs]
  """
  @doc since: "0.1.0"
  @spec delete_many(t, [key], timeout) :: non_neg_integer | {:error, refused}
  def delete_many(bucket, keys, timeout \\ 5_000), do: :kv_bucket.delete_many(bucket, keys, timeout)

  @doc """
  Sends a request and returns at once; `await/2` gives the answer.

  `function` is the name of a function of this module that asks a bucket something, `args` its arguments without bucket
  and timeout. The answer belongs to the process that called `async/3`, and must be waited for once, or given up with
  `abandon/1`: otherwise it stays in the mailbox.

  Unlike `Task.async/3` it starts no process and links to none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> put = KV.Bucket.async(bucket, :put, ["milk", 3])
      iex> get = KV.Bucket.async(bucket, :get, ["milk"])
      iex> {KV.Bucket.await(put), KV.Bucket.await(get)}
      {:ok, 3}
  """
  @doc since: "0.1.0"
  @spec async(t, atom, [term]) :: request
  def async(bucket, function, args)
  def async(bucket, :get, [key]), do: :kv_bucket.async(bucket, :get, [key, nil])
  def async(bucket, :get_many, [keys]), do: :kv_bucket.async(bucket, :get_many, [keys, nil])
  def async(bucket, :has_key?, args), do: :kv_bucket.async(bucket, :has_key, args)
  def async(bucket, function, args), do: :kv_bucket.async(bucket, function, args)

  @doc """
  Waits for the answer to a request of `async/3`.

  Exits as a call does. After a timeout the request is given up: its answer is dropped when it comes. Raises
  `ArgumentError` in any process but the one that sent it.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> bucket |> KV.Bucket.async(:fetch, ["milk"]) |> KV.Bucket.await()
      :error
  """
  @doc since: "0.1.0"
  @spec await(request, timeout) :: term
  def await(request, timeout \\ 5_000), do: :kv_bucket.await(request, timeout)

  @doc """
  Waits for the answers to requests, and gives them in the order of the list. The timeout is for all of them together.

  When one exits the rest is given up.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> requests = for n <- 1..3, do: KV.Bucket.async(bucket, :put_new, [rem(n, 2), n])
      iex> KV.Bucket.await_many(requests)
      [true, true, false]
  """
  @doc since: "0.1.0"
  @spec await_many([request], timeout) :: [term]
  def await_many(requests, timeout \\ 5_000), do: :kv_bucket.await_many(requests, timeout)

  @doc """
  Gives up a request of `async/3`: no answer to it comes any more. The bucket may have handled it, or may still do so.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> bucket |> KV.Bucket.async(:size, []) |> KV.Bucket.abandon()
      :ok
  """
  @doc since: "0.1.0"
  @spec abandon(request) :: :ok
  def abandon(request), do: :kv_bucket.abandon(request)

  @doc """
  Has something done without an answer, not even whether it was.

  `function` is `:put`, `:delete`, `:clear`, `:put_many` or `:delete_many`, `args` are as for `async/3`. Always `:ok`, also
  when there is no such bucket.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.cast(bucket, :put, ["milk", 3])
      :ok
      iex> KV.Bucket.get(bucket, "milk")
      3
  """
  @doc since: "0.1.0"
  @spec cast(t, :put | :delete | :clear | :put_many | :delete_many, [term]) :: :ok
  def cast(bucket, function, args), do: :kv_bucket.cast(bucket, function, args)

  @doc """
  Ends the bucket with `reason`, and returns when it is gone.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.stop(bucket)
      :ok
      iex> Process.alive?(bucket)
      false
  """
  @doc since: "0.1.0"
  @spec stop(t, term, timeout) :: :ok
  def stop(bucket, reason \\ :normal, timeout \\ :infinity), do: :kv_bucket.stop(bucket, reason, timeout)
end
