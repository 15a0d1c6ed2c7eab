defmodule KV.Bucket do
  @moduledoc """
  A bucket: a process that keeps values under keys.

  The process runs on the C node. `start_link/1`, which supervisors call, starts the process and returns its local
  proxy. `KV.Registry.lookup/2` returns the native process itself. All functions of this module take either, or anything
  else that names a process: a registered name, `{name, node}`, `{:global, name}` or `{:via, module, name}`.

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.get(bucket, "milk")
      nil
      iex> KV.Bucket.put(bucket, "milk", 3)
      :ok
      iex> KV.Bucket.get(bucket, "milk")
      3

  Keys and values are any terms. Keys are compared with `===`, so `1` and `1.0` are two keys. A bucket loses its values
  when its native process ends, and when the C program ends, unless it is durable.

  A bucket cannot run your functions: it answers `Agent.get(bucket, fun)` with
  `{:error, {:cannot_run_closures, text}}`. `Agent.stop/3`, `GenServer.call/3` and `:sys` work as with any server. Given the
  proxy or a local name, `:sys.get_state/1` returns the state of the proxy; `:sys.get_state(KV.info(bucket).pid)` returns the values.

  The last argument of each function that waits is a timeout in milliseconds, 5000 by default, or a list of options.
  `:timeout` is an option of all of them: `KV.Bucket.size(bucket, timeout: 100)`. Functions that put have `:ttl`, and
  `get/4` and `get_many/4` have `:default`. Of an option that is given twice the first counts. A wrong argument raises
  `ArgumentError`; the message says which argument is wrong, and which value is wanted.

  Functions exit in the same cases as `GenServer.call/3`: with `:noproc` if there is no such bucket, with `:timeout` if the
  bucket does not answer in time, and with `{:nodedown, node}` as soon as its node is lost. If the server is no bucket but
  another process of the node, they exit with `{{:bad_request, request}, _}`.

  ## In your own tree

      children = [
        {KV.Bucket, name: MyApp.Sessions, fill: {MyApp.Sessions, :load, []}},
        {KV.Registry, name: MyApp.Names}
      ]

  The application `:kv` must be running. It is if your `mix.exs` lists `:kv` as a dependency.

    * A bucket with a name is `:permanent`, and its name is the child id. If the C program dies, the bucket stays: the
      proxy keeps its pid and its name, and your supervisor notices nothing. As soon as the program is back, the proxy
      starts a new native process, which is empty. With `on_node_down: :exit` the proxy ends with `:noconnection`
      instead. Use `:exit` if other processes monitor the bucket or link to it, or rely on `:rest_for_one`.
    * A bucket without a name is `:temporary` and ends with `:noconnection`. With `on_node_down: :stay` it stays.
    * `fill: {module, function, args}` puts the data back. kv calls `apply(module, function, [bucket | args])` with the
      native pid each time it has started the native process, before the bucket serves any other request. If the function
      raises, exits or returns `{:error, reason}`, the bucket ends.
    * `generation/1` starts at 1 and grows by one each time the values were lost with the C program. A log line of level
      `:warning` says how much was lost, and `KV.EventManager.add_handler/4` tells handlers.
    * If the native process itself is killed or stopped, or crashes, its proxy ends with the same reason, and your
      supervisor starts a new bucket.
    * If only the connection to the C program is lost, the bucket keeps its values.
    * A bucket with `durable: :commit` keeps its values on disk. The bucket that is started next under its name has all of
      them, in the cases above, too: `fill` does not run, and the generation stays the same. See `docs/durability.md`.

  While the node is away, calls to the proxy wait, at most for their timeout. The proxy holds up to 10,000 messages or
  64 MiB; further calls exit with `{:nodedown, node}`. A call that is under way when the node is lost exits with
  `{:nodedown, node}` at once. `GenServer.call(proxy, request, :infinity)` returns `{:error, {:nodedown, node}}` instead.
  Calls to the native pid never wait, because that process does not come back.

  ## Requests over a limit

  A request of more than `:max_frame` bytes (128 MiB by default), or one that is nested deeper than `:max_depth` (2^20),
  changes nothing. `put/4`, `put_new/4`, `put_many/3` and `delete_many/3` return `{:error, {:too_large, bytes}}` or
  `{:error, {:too_deep, levels}}`. All other functions may return any term, so they exit with
  `{{:too_large, bytes}, _}` or `{{:too_deep, levels}, _}`. `t:refused/0` lists all reasons.

  ## Speed

  The native pid, which `KV.Registry.lookup/2` returns, is the fastest address: a call is one message each way. The proxy
  adds a hop, and a name adds a look-up.

  `get_many/4`, `put_many/3` and `delete_many/3` send all keys in one message. `async/3` sends a request without waiting
  for the answer, so that one process can have many requests under way, to one bucket or to several. `await/2` waits for
  the answer, and `cast/3` asks for none. A bucket handles all that one process sends to one of its addresses in the
  order of sending.
  """

  @typedoc "A bucket: a pid, or anything else that names a process."
  @type t :: GenServer.server()

  @typedoc "The pid of the native process, on the C node."
  @type native :: pid

  @typedoc "The pid of the local process that stands for the native one."
  @type proxy :: pid

  @type key :: term
  @type value :: term

  @typedoc "A map, or a list of pairs. Of two pairs with the same key, the later one counts."
  @type entries :: %{key => value} | [{key, value}]

  @typedoc "How far a walk has come. Opaque; may be stored and sent."
  @type cursor :: binary

  @typedoc "One entry of a walk, as the option `:return` says."
  @type entry :: {key, value} | key | value | {key, value, pos_integer | :infinity}

  @type filter :: {:prefix, binary} | {:expires, boolean}

  @type walk_option ::
          filter | {:limit, pos_integer} | {:return, :entries | :keys | :values | :timed} | call_option

  @typedoc "A request that `async/3` has sent, for `await/2`."
  @opaque request :: :kv_bucket.request()

  @typedoc """
    * `:name` - an atom, `{:global, term}` or `{:via, module, term}`. An atom is registered locally and on the C node.
    * `:label` - a binary. Status reports show it.
    * `:node` - the local name of the `KV.Node` to run on, if there are several.
    * `:max_memory` - the number of bytes that the entries and their index may take. No limit by default, but all buckets
      of a node together are limited by `:max_memory` of `KV.Node`.
    * `:max_entries` - the number of entries that the bucket may have. No limit by default. Expired entries count until
      they are removed; in a bucket of up to 1,000 entries they do not count.
    * `:evict` - what a put does that finds no room. `:none`, the default: it returns `{:error, :enomem}`, or
      `{:error, :full}` for a new key above `:max_entries`. `:lru`: it removes the least recently used of a sample of
      entries. `:ttl`: it removes the entry that expires soonest, and never one without a time to live.
    * `:ttl` - the time to live, in milliseconds, of each entry that is put without one. `:infinity` by default. Every
      function that puts honours it.
    * `:touch_on_read` - `true` starts the `:ttl` of the bucket again with each read of a value. Reads are `get/4`, `fetch/3`,
      `fetch!/3`, `get_many/4`, `take/3`, the functions that call yours (`update/5`, `update_existing/4`, `update!/4`,
      `get_and_update/4`), `:get` and `:fetch` in a transaction, and `Agent.get(bucket, Map, :get, [key])`. No other function
      is a read: neither `has_key?/3`, `ttl/3`, `incr/4`, `compare_and_put/5` and a `:check`, nor those of the whole bucket,
      such as `to_map/2`, `scan/3` and `export/3`. Entries that never expire stay so. A process that reads without a call
      starts the time again only once a tenth of it is over. It needs a `:ttl`. `false` by default.
    * `:durable` - `:commit` keeps the entries on disk, in `:data_dir` of `KV.Node`. Each change is on disk before it is
      answered, and the next bucket of this name has all of them, whatever has ended meanwhile: the bucket, the program or
      the VM. The `:name` must be an atom. `destroy/2` removes the entries. `:interval` does not wait for the disk: a change
      is answered once the operating system has it, and is on disk within a second. A power cut may lose that second; the end
      of the bucket, the program or the VM loses nothing. Each start may give the other of the two. `false` by default.
    * `:reads` - `:latest` lets all functions of a durable bucket that change nothing return what the bucket has, without
      waiting for the disk. So a read may show a change that a crash takes back. `:durable` by default: a read of a key waits
      until the last change of that key is safe, and waits for no other key. `:latest` needs `:durable`: a bucket in memory
      never waits.
    * `:on_node_down` - what the proxy does when the C program is lost: `:stay` or `:exit`. The default is `:stay` with a
      name and `:exit` without one.
    * `:owner` - `:node` makes a bucket that belongs to its node, and that several VMs share. It stays when the proxy or the
      VM ends; the next start under this name, in whatever VM, finds it with its entries, and keeps its options. `stop/3` ends
      it for all. If it is killed, every proxy ends, the first one that is started again makes a new one, and the others find
      that. Needs a `:name` that is an atom, and cannot be combined with `:fill`. `:vm`, the default: the bucket ends with its
      proxy. See docs/attach.md.
    * `:fill` - `{module, function, args}`, called each time the native process has been started. Of a durable bucket the
      function runs only if the folder has none of that name yet.
    * `:id`, `:restart`, `:shutdown` - override the child specification.
  """
  @type option ::
          {:name, GenServer.name()}
          | {:label, binary}
          | {:node, atom}
          | {:max_memory, pos_integer}
          | {:max_entries, pos_integer}
          | {:evict, :none | :lru | :ttl}
          | {:ttl, pos_integer | :infinity}
          | {:touch_on_read, boolean}
          | {:durable, false | :commit | :interval}
          | {:reads, :durable | :latest}
          | {:on_node_down, :stay | :exit}
          | {:owner, :vm | :node}
          | {:fill, {module, atom, [term]} | nil}
          | {:id, term}
          | {:restart, :permanent | :transient | :temporary}
          | {:shutdown, timeout | :brutal_kill}

  @typedoc "The time to wait for the answer, in milliseconds."
  @type call_option :: {:timeout, timeout}

  @typedoc "The answer where there is no value."
  @type get_option :: {:default, term} | call_option

  @typedoc """
  An operation of `transaction/3`: the name of a function that has one key, or `:check` or `:check_absent`, and its
  arguments.
  """
  @type operation :: tuple

  @typedoc """
    * `:ttl`, `:timeout` - as for `t:put_option/0`.
    * `:keep_ttl` - `true`: the entry keeps its time to live. So it does without `:ttl`.
  """
  @type update_option :: {:keep_ttl, true} | put_option

  @typedoc "The time to live of an entry, in milliseconds; or the entry keeps its own."
  @type put_option :: {:ttl, pos_integer | :infinity} | {:keep_ttl, boolean} | call_option

  @typedoc "A function that `cast/3` can send."
  @type cast_function ::
          :put
          | :delete
          | :swap
          | :replace
          | :compare_and_put
          | :compare_and_delete
          | :incr
          | :decr
          | :expire
          | :expire_at
          | :persist
          | :touch
          | :put_many
          | :delete_many
          | :clear

  @typedoc "Options of `incr/4` and `decr/4`."
  @type count_option :: {:default | :min | :max, integer} | {:ttl, pos_integer | :infinity} | call_option

  @typedoc "Errors of `incr/4` and `decr/4`."
  @type count_error :: :not_an_integer | {:limit, integer} | :enomem | :full | refused

  @type options :: [option] | %{optional(:name) => GenServer.name(), optional(atom) => term}

  @typedoc """
  The reason for which the node refused a request. A refused request has changed nothing.

    * `:enospc` - the bucket is durable, and the disk is full. Nothing has changed. Reads go on, and deletes from a reserve.
    * `:busy` - the bucket is durable, and too much waits for the disk. Nothing has changed. Try again.
    * `{:too_large, bytes}` - the request is larger than `:max_frame` of `KV.Node`.
    * `{:too_deep, levels}` - a term of the request is nested deeper than `:max_depth` of `KV.Node`, which is `levels`.
    * `{:too_much_pending, bytes}` - more large messages were under way than the node keeps. Try again.
    * `{:unsupported_term, :record | :integer}` - the request holds a term that not every release of OTP can read.
  """
  @type refused ::
          :enospc
          | :busy
          | {:too_large | :too_deep | :too_much_pending, pos_integer}
          | {:unsupported_term, :record | :integer}

  @doc """
  Starts an empty bucket, linked to the caller, and returns its proxy.

  If the node is starting or restarting, waits for it, at most for `:start_timeout` of `KV.Node`.

  Returns `{:ok, pid}`, or `{:error, reason}` with one of these reasons:

    * `{:bad_option, key, text}` - the option is unknown, or its value is wrong. The text says what is wanted. Of an option
      that is given twice the first counts.
    * `{:already_started, pid}` - the name is taken.
    * `{:already_registered, pid}` - the name is taken on the C node.
    * `{:not_running, text}` - nobody starts a C node. The text says what to start.
    * `{:no_data_dir, text}` - the bucket is to be durable, and its node has no `:data_dir`.
    * `:enospc`, `:busy` - the folder has no space for a new durable bucket; or too much waits for the disk.
    * `{:start_timeout, ms}`, `{:nodedown, node}` - the node was not ready in time.
    * any other reason - the function of `:fill` failed with it.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link(name: :shopping)
      iex> KV.Bucket.put(:shopping, "eggs", 3)
      :ok
      iex> KV.Bucket.start_link(name: :shopping)
      {:error, {:already_started, bucket}}
      iex> KV.Bucket.start_link(evict: :fifo)
      {:error, {:bad_option, :evict, "evict must be none, lru or ttl, and is fifo"}}
      iex> KV.Bucket.start_link(max_memroy: 1_000_000)
      {:error, {:bad_option, :max_memroy, "there is no option max_memroy; did you mean max_memory?"}}
      iex> {:ok, bucket} = KV.Bucket.start_link(fill: {KV.Bucket, :put_many, [%{"milk" => 3}]})
      iex> KV.Bucket.get(bucket, "milk")
      3
  """
  @doc since: "0.1.0"
  @spec start_link(options) :: {:ok, proxy} | {:error, term}
  def start_link(options \\ []), do: :kv_bucket.start_link(options)

  @doc """
  Returns a child specification.

  A bucket with a name is `:permanent`, and the name is its id. A bucket without a name is `:temporary`, because nobody
  would find its empty successor. The options `:id`, `:restart` and `:shutdown` override this.

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
  Returns the value under `key`, or `default` if there is none.

  The third argument is options if it is a keyword list with `:timeout` or `:default` in it. For such a list as the
  default write `default: [timeout: 100]`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.get(bucket, "milk")
      nil
      iex> KV.Bucket.get(bucket, "milk", 0)
      0
      iex> KV.Bucket.get(bucket, "milk", timeout: 1_000)
      nil
      iex> KV.Bucket.get(bucket, "milk", default: 0, timeout: 1_000)
      0
  """
  @doc since: "0.1.0"
  @spec get(t, key, default | [get_option]) :: value | default when default: term
  def get(bucket, key, default_or_options \\ nil)

  def get(bucket, key, [_ | _] = default_or_options) do
    {default, timeout} = :kv_call_options.third({:kv_bucket, :get, [bucket, key, default_or_options]}, nil)
    :kv_bucket.get(bucket, key, default, timeout)
  end

  def get(bucket, key, default), do: :kv_bucket.get(bucket, key, default, 5_000)

  @doc """
  Returns the value under `key`, or `default` if there is none. The last argument is a timeout, or options with `:timeout`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> {KV.Bucket.get(bucket, "milk", 0, 1_000), KV.Bucket.get(bucket, "milk", 0, timeout: 1_000)}
      {0, 0}
  """
  @doc since: "0.1.0"
  @spec get(t, key, default, timeout | [call_option]) :: value | default when default: term
  def get(bucket, key, default, options), do: :kv_bucket.get(bucket, key, default, options)

  @doc """
  Returns `{:ok, value}` with the value under `key`, or `:error` if there is none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.fetch(bucket, "milk")
      :error
      iex> KV.Bucket.put(bucket, "milk", nil)
      iex> KV.Bucket.fetch(bucket, "milk")
      {:ok, nil}
  """
  @doc since: "0.1.0"
  @spec fetch(t, key, timeout | [call_option]) :: {:ok, value} | :error
  def fetch(bucket, key, timeout \\ 5_000), do: :kv_bucket.fetch(bucket, key, timeout)

  @doc """
  Returns the value under `key`, or raises `KeyError` if there is none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.fetch!(bucket, "milk")
      3
  """
  @doc since: "0.1.0"
  @spec fetch!(t, key, timeout | [call_option]) :: value
  def fetch!(bucket, key, timeout \\ 5_000) do
    case fetch(bucket, key, timeout) do
      {:ok, value} -> value
      :error -> raise KeyError, key: key, term: bucket
    end
  end

  @doc """
  Puts `value` under `key`, replacing any value that is there.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, {:any, "term"}, %{milk: 1})
      :ok
      iex> KV.Bucket.get(bucket, {:any, "term"})
      %{milk: 1}

  The last argument is a timeout, or a list with `:timeout`, `:ttl` and `:keep_ttl`. The key expires after `:ttl`
  milliseconds, or never with `ttl: :infinity`. With `keep_ttl: true` the entry keeps the expiry that it has. Without
  either, and for a new entry, the `:ttl` of the bucket counts. If the bucket has none, the key never expires, even if the
  value that was there would have.

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 1, ttl: 60_000)
      :ok
      iex> KV.Bucket.get(bucket, "milk")
      1

  Returns `{:error, :enomem}` if there is no room, and `{:error, reason}` with a reason of `t:refused/0` if the request is
  over a limit. In both cases nothing has changed.

      iex> {:ok, bucket} = KV.Bucket.start_link(max_memory: 1024)
      iex> KV.Bucket.put(bucket, "milk", String.duplicate("m", 1024))
      {:error, :enomem}
  """
  @doc since: "0.1.0"
  @spec put(t, key, value, timeout | [put_option]) :: :ok | {:error, :enomem | :full | refused}
  def put(bucket, key, value, options \\ 5_000), do: :kv_bucket.put(bucket, key, value, options)

  @doc """
  Puts `value` under `key` unless there already is a value. Returns `true` if it did.

  Options and errors are those of `put/4`.

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
  @spec put_new(t, key, value, timeout | [put_option]) :: boolean | {:error, :enomem | :full | refused}
  def put_new(bucket, key, value, options \\ 5_000), do: :kv_bucket.put_new(bucket, key, value, options)

  @doc """
  Removes `key` and returns its value, or `nil` if there was none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.delete(bucket, "milk")
      3
      iex> KV.Bucket.delete(bucket, "milk")
      nil
  """
  @doc since: "0.1.0"
  @spec delete(t, key, timeout | [call_option]) :: value | nil
  def delete(bucket, key, timeout \\ 5_000), do: :kv_request.delete(bucket, key, nil, timeout)

  @doc """
  Replaces the value under `key` by the result of `fun`, called with the value; or puts `initial` if there is none.

  Returns `{:ok, new}` with the value that is there now. Nobody changes the key between the read and the put.

  `fun` runs in the calling process, at least once: if the key was changed meanwhile, `fun` runs again with the present
  value. If `fun` raises, exits or throws, nothing has changed, and the exception goes to the caller. `fun` must not change
  the key itself; an update of the same key within `fun` raises `ArgumentError`. It may use other keys and buckets. But if the
  functions of two processes update each other's key, both may wait until their timeouts: let all update in one order, or use
  `transaction/3`.

  At first, processes run their functions at the same time. Once an update has found the value changed, the processes of this
  VM that update the key queue up, and one after the other runs its `fun`, as with an `Agent`, until nobody waits. So a
  slow `fun` makes the others wait, each within its timeout. A process that keeps writing the key by `put/4` or `incr/4`
  does not queue up, and can make an update try again until its timeout; don't mix them on a hot key.

  The entry keeps its time to live unless `:ttl` is given. The time-out does not interrupt `fun`; the result of a `fun`
  that took longer is not put. `async/3` cannot send an update, since the function runs in the process that waits.

  Returns `{:error, reason}` as `put/4` does; nothing has changed then. Exits as all functions do. After an exit with
  `:timeout` or `{:nodedown, node}` the change may have been made.

  O(1), and the bytes of the value: two requests without contention. Under contention one request puts the result of up
  to 128 functions.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.update(bucket, "milk", 1, &(&1 + 1))
      {:ok, 1}
      iex> KV.Bucket.update(bucket, "milk", 1, &(&1 + 1))
      {:ok, 2}
      iex> KV.Bucket.update(bucket, "milk", 1, &(&1 + 1), ttl: 60_000, timeout: 1_000)
      {:ok, 3}
  """
  @doc since: "0.2.0"
  @spec update(t, key, initial, (value -> value), timeout | [update_option]) ::
          {:ok, initial | value} | {:error, term}
        when initial: term
  def update(bucket, key, initial, fun, options \\ 5_000),
    do: :kv_bucket.update(bucket, key, initial, fun, options)

  @doc """
  Does the same as `update/5` if there is a value under `key`. Returns `:error` if there is none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.update_existing(bucket, "milk", &(&1 + 1))
      :error
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.update_existing(bucket, "milk", &(&1 + 1))
      {:ok, 4}
  """
  @doc since: "0.2.0"
  @spec update_existing(t, key, (value -> value), timeout | [update_option]) ::
          {:ok, value} | :error | {:error, term}
  def update_existing(bucket, key, fun, options \\ 5_000),
    do: :kv_bucket.update_existing(bucket, key, fun, options)

  @doc """
  Does the same as `update/5` if there is a value under `key`, and returns the new value. Raises `KeyError` if there is
  none, and `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.update!(bucket, "milk", &(&1 + 1))
      4
  """
  @doc since: "0.2.0"
  @spec update!(t, key, (value -> value), timeout | [update_option]) :: value
  def update!(bucket, key, fun, options \\ 5_000) do
    case update_existing(bucket, key, fun, options) do
      {:ok, new} -> new
      :error -> raise KeyError, key: key, term: bucket
      {:error, reason} -> raise KV.Error, reason: reason
    end
  end

  @doc """
  Calls `fun` with the value under `key`, or with `nil` if there is none.

  If `fun` returns `{get, new}`, puts `new` and returns `{:ok, get}`. If `fun` returns `:pop`, removes the key and returns
  `{:ok, value}` with the argument of `fun`. All else is as for `update/5`. Raises `ArgumentError` if `fun` returns
  anything else.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "queue", [1, 2])
      iex> KV.Bucket.get_and_update(bucket, "queue", fn [head | tail] -> {head, tail} end)
      {:ok, 1}
      iex> KV.Bucket.get_and_update(bucket, "queue", fn _ -> :pop end)
      {:ok, [2]}
      iex> KV.Bucket.get_and_update(bucket, "queue", fn _ -> :pop end)
      {:ok, nil}
  """
  @doc since: "0.2.0"
  @spec get_and_update(t, key, (value | nil -> {get, value} | :pop), timeout | [update_option]) ::
          {:ok, get | value | nil} | {:error, term}
        when get: term
  def get_and_update(bucket, key, fun, options \\ 5_000) do
    call = {:kv_bucket, :get_and_update, [bucket, key, fun, options]}
    :kv_update.get_and_update(call, bucket, key, nil, fun, :kv_update.options(call, 3))
  end

  @doc """
  Removes `key` and returns `{:ok, value}` with the value that was there, or `:error` if there was none.

  Of two callers only one gets the value. O(1), and the bytes of the value.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "token", nil)
      iex> {KV.Bucket.pop(bucket, "token"), KV.Bucket.pop(bucket, "token")}
      {{:ok, nil}, :error}
  """
  @doc since: "0.2.0"
  @spec pop(t, key, timeout | [call_option]) :: {:ok, value} | :error
  def pop(bucket, key, options \\ 5_000), do: :kv_bucket.pop(bucket, key, options)

  @doc """
  Removes `key` and returns its value, or raises `KeyError` if there was none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "token", 7)
      iex> KV.Bucket.pop!(bucket, "token")
      7
  """
  @doc since: "0.2.0"
  @spec pop!(t, key, timeout | [call_option]) :: value
  def pop!(bucket, key, options \\ 5_000) do
    case pop(bucket, key, options) do
      {:ok, value} -> value
      :error -> raise KeyError, key: key, term: bucket
    end
  end

  @doc """
  Puts `value` under `key` and returns `{:ok, old}` with the value that was there, or `:error` if there was none; `value` is
  put all the same.

  Nobody changes the key in between. Options and errors are those of `put/4`. O(1), and the bytes of both values.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.swap(bucket, "leader", :a)
      :error
      iex> KV.Bucket.swap(bucket, "leader", :b)
      {:ok, :a}
  """
  @doc since: "0.2.0"
  @spec swap(t, key, value, timeout | [put_option]) ::
          {:ok, value} | :error | {:error, :enomem | :full | refused}
  def swap(bucket, key, value, options \\ 5_000), do: :kv_bucket.swap(bucket, key, value, options)

  @doc """
  Puts `value` under `key` if there is a value already. Returns `true` if it did.

  Nobody changes the key in between. Options and errors are those of `put/4`. O(1), and the bytes of `value`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.replace(bucket, "milk", 1)
      false
      iex> KV.Bucket.put(bucket, "milk", 1)
      iex> KV.Bucket.replace(bucket, "milk", 2)
      true
  """
  @doc since: "0.2.0"
  @spec replace(t, key, value, timeout | [put_option]) :: boolean | {:error, :enomem | :full | refused}
  def replace(bucket, key, value, options \\ 5_000), do: :kv_bucket.replace(bucket, key, value, options)

  @doc """
  Puts `new` under `key` if the value that is there is `old`, by `===`. Returns `true` if it did.

  Returns `false` if there is another value or none; `put_new/4` is the same for a key without a value. Nobody changes the key
  between the comparison and the put. Options and errors are those of `put/4`.

  O(1), and the bytes of the values. Values whose bytes differ though they may be equal, such as maps, cost as much as
  sorting their keys.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "state", :open)
      iex> KV.Bucket.compare_and_put(bucket, "state", :open, :closed)
      true
      iex> KV.Bucket.compare_and_put(bucket, "state", :open, :closed)
      false
  """
  @doc since: "0.2.0"
  @spec compare_and_put(t, key, value, value, timeout | [put_option]) ::
          boolean | {:error, :enomem | :full | refused}
  def compare_and_put(bucket, key, old, new, options \\ 5_000),
    do: :kv_bucket.compare_and_put(bucket, key, old, new, options)

  @doc """
  Removes `key` if the value that is there is `old`, by `===`. Returns `true` if it did.

  The comparison and its cost are those of `compare_and_put/5`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "lock", self())
      iex> {KV.Bucket.compare_and_delete(bucket, "lock", :me), KV.Bucket.compare_and_delete(bucket, "lock", self())}
      {false, true}
  """
  @doc since: "0.2.0"
  @spec compare_and_delete(t, key, value, timeout | [call_option]) :: boolean | {:error, refused}
  def compare_and_delete(bucket, key, old, options \\ 5_000),
    do: :kv_bucket.compare_and_delete(bucket, key, old, options)

  @doc """
  Adds `n` to the integer under `key`, and returns the result. No increment is lost, however many processes add.

  `n` is 1 if it is left out: `incr(bucket, key)`, `incr(bucket, key, max: 100)`. The last argument is a timeout or a list of
  options:

    * `:default` - the value of an absent key before the step, 0 by default.
    * `:ttl` - the time to live of a new entry. An entry that is there keeps its expiry.
    * `:min`, `:max` - bounds of the result.
    * `:timeout`.

  Errors, after which nothing has changed:

    * `{:error, :not_an_integer}` - there is another value. Floats do not count.
    * `{:error, {:limit, current}}` - the result would be out of bounds, or have more than 1,024 bits.
    * those of `put/4`.

  O(1).

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> {KV.Bucket.incr(bucket, "hits"), KV.Bucket.incr(bucket, "hits", 10)}
      {1, 11}

  A rate limiter is one call. Its window begins with the first call and ends a minute later:

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> for _ <- 1..3, do: KV.Bucket.incr(bucket, {"ada", :window}, 1, ttl: 60_000, max: 2)
      [1, 2, {:error, {:limit, 2}}]
  """
  @doc since: "0.2.0"
  @spec incr(t, key, integer | [count_option], timeout | [count_option]) :: integer | {:error, count_error}
  def incr(bucket, key, n_or_options \\ 1, options \\ 5_000)
  def incr(bucket, key, options, 5_000) when is_list(options), do: :kv_bucket.incr(bucket, key, 1, options)
  def incr(bucket, key, n, options), do: :kv_bucket.incr(bucket, key, n, options)

  @doc """
  Subtracts `n` from the integer under `key`, and returns the result. Otherwise as `incr/4`.

  ## Examples

  A stock that never goes below nothing:

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "stock", 1)
      iex> for _ <- 1..2, do: KV.Bucket.decr(bucket, "stock", min: 0)
      [0, {:error, {:limit, 0}}]
  """
  @doc since: "0.2.0"
  @spec decr(t, key, integer | [count_option], timeout | [count_option]) :: integer | {:error, count_error}
  def decr(bucket, key, n_or_options \\ 1, options \\ 5_000)
  def decr(bucket, key, options, 5_000) when is_list(options), do: :kv_bucket.decr(bucket, key, 1, options)
  def decr(bucket, key, n, options), do: :kv_bucket.decr(bucket, key, n, options)

  @doc """
  Returns `{:ok, ms}` with the milliseconds until `key` expires, `{:ok, :infinity}` if it never does, or `:error` if there is
  no such key.

  Neither a use nor a read of the entry. O(1).

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 1)
      iex> {KV.Bucket.ttl(bucket, "milk"), KV.Bucket.ttl(bucket, "tea")}
      {{:ok, :infinity}, :error}
  """
  @doc since: "0.2.0"
  @spec ttl(t, key, timeout | [call_option]) :: {:ok, pos_integer | :infinity} | :error
  def ttl(bucket, key, options \\ 5_000), do: :kv_bucket.ttl(bucket, key, options)

  @doc """
  Lets `key` expire `ms` milliseconds from now: the key is there for `ms` milliseconds, and gone from then on.

  `:infinity` is `persist/3`. Returns `false` if there is no such key. O(1) if the key has an expiry already. Otherwise the
  entry is written anew, with a copy of its value: returns `{:error, :enomem}` if there is no room, and nothing has changed.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 1)
      iex> {KV.Bucket.expire(bucket, "milk", 60_000), KV.Bucket.expire(bucket, "tea", 60_000)}
      {true, false}
  """
  @doc since: "0.2.0"
  @spec expire(t, key, pos_integer | :infinity, timeout | [call_option]) ::
          boolean | {:error, :enomem | refused}
  def expire(bucket, key, ms, options \\ 5_000), do: :kv_bucket.expire(bucket, key, ms, options)

  @doc """
  Lets `key` expire at a time of the wall clock, in milliseconds since 1970.

  A time that has passed removes the key at once. The time is at most 2^46. Returns `false` if there is no such key. Cost and
  errors are those of `expire/4`.

  The node converts the time when it handles the request, by the wall clock of its own host. Entries expire by a clock that
  nobody sets, so a later step of the wall clock does not move the expiry.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 1)
      iex> KV.Bucket.expire_at(bucket, "milk", System.system_time(:millisecond) + 60_000)
      true
      iex> KV.Bucket.expire_at(bucket, "milk", 0)
      true
      iex> KV.Bucket.has_key?(bucket, "milk")
      false
  """
  @doc since: "0.2.0"
  @spec expire_at(t, key, integer, timeout | [call_option]) :: boolean | {:error, :enomem | refused}
  def expire_at(bucket, key, unix_ms, options \\ 5_000),
    do: :kv_bucket.expire_at(bucket, key, unix_ms, options)

  @doc """
  Lets `key` never expire.

  Returns `false` if there is no such key, and `true` even if the key would not have expired. Cost and errors are those of
  `expire/4`: an entry that had an expiry is written anew.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 1, ttl: 60_000)
      iex> KV.Bucket.persist(bucket, "milk")
      true
      iex> KV.Bucket.ttl(bucket, "milk")
      {:ok, :infinity}
  """
  @doc since: "0.2.0"
  @spec persist(t, key, timeout | [call_option]) :: boolean | {:error, :enomem | refused}
  def persist(bucket, key, options \\ 5_000), do: :kv_bucket.persist(bucket, key, options)

  @doc """
  Starts the time to live of `key` again, with the `:ttl` of the bucket, even if the entry was put with another one.

  A key that never expires stays so. In a bucket without `:ttl` the touch only counts as a use of the entry (`:evict`).
  Returns `false` if there is no such key: a session that was removed does not come back. O(1).

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link(ttl: 60_000)
      iex> KV.Bucket.put(bucket, "session", 1, ttl: 1_000)
      iex> {KV.Bucket.touch(bucket, "session"), KV.Bucket.touch(bucket, "other")}
      {true, false}
      iex> {:ok, ms} = KV.Bucket.ttl(bucket, "session")
      iex> ms > 50_000
      true
  """
  @doc since: "0.2.0"
  @spec touch(t, key, timeout | [call_option]) :: boolean | {:error, refused}
  def touch(bucket, key, options \\ 5_000), do: :kv_bucket.touch(bucket, key, options)

  @doc """
  Returns `true` if there is a value under `key`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, 1, nil)
      iex> {KV.Bucket.has_key?(bucket, 1), KV.Bucket.has_key?(bucket, 1.0)}
      {true, false}
  """
  @doc since: "0.1.0"
  @spec has_key?(t, key, timeout | [call_option]) :: boolean
  def has_key?(bucket, key, timeout \\ 5_000), do: :kv_bucket.has_key(bucket, key, timeout)

  @doc """
  Returns the number of keys, in constant time.

  Expired keys (see `:ttl` of `put/4`) do not count. In a bucket of more than 1,000 keys, an expired key counts until the
  node has removed it, which takes about 2 seconds, plus 3 seconds per million keys. `KV.info/1`, Observer and Agent's
  functions count in the same way. `keys/2` and `to_map/2` never have an expired key.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.size(bucket)
      1
  """
  @doc since: "0.1.0"
  @spec size(t, timeout | [call_option]) :: non_neg_integer
  def size(bucket, timeout \\ 5_000), do: :kv_bucket.size(bucket, timeout)

  @doc """
  Returns all keys, in no particular order. Exits with `{{:too_large, bytes}, _}` if the keys, without their values, take
  more than 256 MiB; the count stops there.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.keys(bucket)
      ["milk"]
  """
  @doc since: "0.1.0"
  @spec keys(t, timeout | [call_option]) :: [key]
  def keys(bucket, timeout \\ 5_000), do: :kv_bucket.keys(bucket, timeout)

  @doc """
  Returns a map of all keys and values. Exits with `{{:too_large, bytes}, _}` if they take more than 256 MiB. Expired ones
  that are not removed yet are part of `bytes`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.to_map(bucket)
      %{"milk" => 3}
  """
  @doc since: "0.1.0"
  @spec to_map(t, timeout | [call_option]) :: %{key => value}
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
  @spec clear(t, timeout | [call_option]) :: :ok | {:error, refused}
  def clear(bucket, timeout \\ 5_000), do: :kv_bucket.clear(bucket, timeout)

  @doc """
  Returns the generation of the bucket: 1 for its first native process, and one more for each process that was started
  because the node was lost.

  If the generation is the same as before, the loss of a node has not emptied the bucket in between. A durable bucket
  keeps its generation together with its values.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.generation(bucket)
      1
  """
  @doc since: "0.1.0"
  @spec generation(t, timeout | [call_option]) :: pos_integer
  def generation(bucket, timeout \\ 5_000), do: :kv_bucket.generation(bucket, timeout)

  @doc """
  Returns the values under `keys`, in the order of `keys`, with `default` for each key that has no value.

  All keys are sent in one message, and all values are from the same moment. O(n); for more than 1,024 keys the node serves
  other buckets in between. Exits with `{{:too_large, bytes}, _}` if the answer would take more than 256 MiB. Raises
  `ArgumentError` if `keys` is not a proper list. `take/3` returns a map. The third argument is a default or options, as in
  `get/3`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, %{"milk" => 3, "eggs" => 12})
      iex> KV.Bucket.get_many(bucket, ["eggs", "tea", "milk"])
      [12, nil, 3]
      iex> KV.Bucket.get_many(bucket, ["eggs", "tea"], 0)
      [12, 0]
      iex> KV.Bucket.get_many(bucket, ["eggs", "tea"], default: 0, timeout: 1_000)
      [12, 0]
  """
  @doc since: "0.1.0"
  @spec get_many(t, [key], default | [get_option]) :: [value | default] when default: term
  def get_many(bucket, keys, default_or_options \\ nil)

  def get_many(bucket, keys, [_ | _] = default_or_options) do
    {default, timeout} =
      :kv_call_options.third({:kv_bucket, :get_many, [bucket, keys, default_or_options]}, nil)

    :kv_bucket.get_many(bucket, keys, default, timeout)
  end

  def get_many(bucket, keys, default), do: :kv_bucket.get_many(bucket, keys, default, 5_000)

  @doc """
  Returns the values under `keys`, as `get_many/3` does. The last argument is a timeout, or options with `:timeout`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.get_many(bucket, ["eggs", "tea"], 0, timeout: 1_000)
      [0, 0]
  """
  @doc since: "0.1.0"
  @spec get_many(t, [key], default, timeout | [call_option]) :: [value | default] when default: term
  def get_many(bucket, keys, default, options), do: :kv_bucket.get_many(bucket, keys, default, options)

  @doc """
  Returns a map of those `keys` that have a value, with their values, as `Map.take/2` does.

  Has the limits of `get_many/4`, whose list is built several times faster than this map.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, %{"milk" => 3, "eggs" => nil})
      iex> KV.Bucket.take(bucket, ["eggs", "tea"])
      %{"eggs" => nil}
  """
  @doc since: "0.1.0"
  @spec take(t, [key], timeout | [call_option]) :: %{key => value}
  def take(bucket, keys, timeout \\ 5_000), do: :kv_bucket.take(bucket, keys, timeout)

  @doc """
  Returns a map of what has happened in the bucket since its native process was started.

    * `:hits`, `:misses` - how many times an operation has looked for a key and found it, or not. Operations that look before
      they change something count, too.
    * `:local_hits`, `:local_misses` - the same of the reads without a call (docs/local.md) that this VM has made.
      `:hits` and `:misses` do not have them, and other VMs have their own.
    * `:puts`, `:deletes` - how many entries were put, and how many that were there were deleted by their key. The operations
      of a transaction count even if it fails.
    * `:expirations`, `:evictions` - how many entries were removed because their time had come, or to make room
    * `:age` - for how many milliseconds this has been counted
    * `:size`, `:memory` - the number of entries, and the bytes of entries and index that count against `:max_memory`
    * `:max_memory`, `:max_entries`, `:ttl`, `:evict`, `:touch_on_read`, `:durable`, `:reads` - the options of the bucket. A
      limit or a time to live may be `:infinity`.
    * `:generation` - see `generation/1`

  O(1). All figures are of one moment, but for those of the reads without a call.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link(max_entries: 10)
      iex> KV.Bucket.put_many(bucket, milk: 3, eggs: 12)
      iex> KV.Bucket.delete(bucket, :milk)
      iex> %{puts: 2, deletes: 1, evictions: 0, size: 1, max_entries: 10, max_memory: :infinity} = KV.Bucket.stats(bucket)
      iex> %{durable: false, reads: :durable} = KV.Bucket.stats(bucket)
      iex> :ok
      :ok
  """
  @doc since: "0.2.0"
  @spec stats(t, timeout | [call_option]) :: %{
          atom =>
            non_neg_integer
            | :infinity
            | :none
            | :lru
            | :ttl
            | :commit
            | :interval
            | :durable
            | :latest
            | boolean
        }
  def stats(bucket, timeout \\ 5_000), do: :kv_bucket.stats(bucket, timeout)

  @doc """
  Returns a map with all that is known about a bucket: that of `KV.info/1`, that of `stats/1`, and `:node`, the node of its
  native process.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link(label: "basket")
      iex> %{size: 0, puts: 0, generation: 1, suspended: false} = KV.Bucket.info(bucket)
      iex> :ok
      :ok
  """
  @doc since: "0.2.0"
  @spec info(t) :: %{atom => term}
  def info(bucket), do: :kv_bucket.info(bucket)

  @doc """
  Returns a piece of a walk over all entries, and the cursor for the next piece, or `:done`. Begins with `:start`.

  A key that is there during the whole walk comes exactly once. A key that is put or deleted meanwhile comes at most once.
  There is no order. A walk is not a snapshot: each piece is of its own moment. The node keeps nothing between two pieces,
  so a walk may rest for any time, end early, or go on in another process. `stream/2` does all pieces.

    * `return: :entries`, the default: `{key, value}`. `:keys`, `:values`: these alone. `:timed`: `{key, value, ttl}`,
      where `ttl` is the number of milliseconds that are left, or `:infinity`.
    * `prefix: binary` - only keys that are binaries and begin with `binary`.
    * `expires: true` - only entries with a time to live; `false`: only entries without.
    * `limit: n` - at most `n` entries in a piece.
    * `:timeout`

  The node looks at no more than 4,096 entries for a piece, and a piece has no more than 1 MiB, so it may have fewer entries
  than `limit`, or none, before the end. An entry of more than 1 MiB comes alone. A piece takes the node less than a
  millisecond, however large the bucket is. A filter does not shorten the walk: the node looks at every entry.

  Returns `{:error, :stale_cursor}` if the cursor is of another life of the bucket: the bucket was started again meanwhile,
  or its node was lost. The walk must begin again. `clear/1` does not change the life of a bucket. Returns
  `{:error, :bad_cursor}` if the binary is no cursor.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, %{"user:1" => :ann, "user:2" => :bob, "page" => 3})
      iex> {entries, :done} = KV.Bucket.scan(bucket, :start, prefix: "user:")
      iex> Enum.sort(entries)
      [{"user:1", :ann}, {"user:2", :bob}]
      iex> {[_], cursor} = KV.Bucket.scan(bucket, :start, limit: 1)
      iex> {keys, :done} = KV.Bucket.scan(bucket, cursor, return: :keys)
      iex> length(keys)
      2
  """
  @doc since: "0.2.0"
  @spec scan(t, :start | cursor, timeout | [walk_option]) ::
          {[entry], cursor | :done} | {:error, :stale_cursor | :bad_cursor}
  def scan(bucket, cursor, options \\ []), do: :kv_bucket.scan(bucket, cursor, options)

  @doc """
  Returns a stream of all entries, in no order. Works for a bucket of any size.

  Options and guarantees are those of `scan/3`; `:timeout` is for each piece. While the consumer works on one piece, the next
  piece is under way. The stream must be consumed by one process. Raises `KV.Error` with the reason
  `:stale_cursor` if the bucket is replaced in the middle of the walk, and exits as a call does. O(n).

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, for(n <- 1..10_000, do: {n, n * n}))
      iex> bucket |> KV.Bucket.stream() |> Enum.count(fn {key, value} -> value == key * key end)
      10_000
      iex> bucket |> KV.Bucket.stream(return: :values) |> Enum.max()
      100_000_000
  """
  @doc since: "0.2.0"
  @spec stream(t, timeout | [walk_option]) :: Enumerable.t(entry)
  def stream(bucket, options \\ []) do
    call = {__MODULE__, :stream, [bucket, options]}
    Stream.resource(fn -> :kv_walk.open(call, bucket, options) end, &next_piece/1, &close_walk/1)
  end

  defp next_piece(walk) do
    case :kv_walk.next(walk) do
      :done -> {:halt, :ended}
      {:error, reason} -> raise(KV.Error, reason: reason)
      piece -> piece
    end
  end

  defp close_walk(:ended), do: :ok
  defp close_walk(walk), do: :kv_walk.close(walk)

  @doc """
  Calls `fun` with each entry and the accumulator, in no order, and returns the last accumulator.

  Options, guarantees and errors are those of `stream/2`. The function runs in the calling process, and may use the bucket.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, milk: 3, eggs: 12)
      iex> KV.Bucket.reduce(bucket, 0, fn {_key, value}, sum -> value + sum end)
      15
  """
  @doc since: "0.2.0"
  @spec reduce(t, acc, (entry, acc -> acc), timeout | [walk_option]) :: acc when acc: term
  def reduce(bucket, acc, fun, options \\ []) do
    call = {__MODULE__, :reduce, [bucket, acc, fun, options]}
    :ok = :kv_call_options.argument(call, 3, :Reducer)

    case :kv_walk.fold(call, bucket, fun, acc, options) do
      {:ok, acc} -> acc
      {:error, reason} -> raise(KV.Error, reason: reason)
    end
  end

  @doc """
  Returns the number of entries that have not expired and pass the filters.

  Options: `:prefix`, `:expires` and `:timeout` of `scan/3`. Guarantees and errors are those of `stream/2`. O(n), in pieces;
  `size/1` is O(1).

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, %{"user:1" => :ann, "user:2" => :bob, "page" => 3})
      iex> KV.Bucket.count(bucket, prefix: "user:")
      2
      iex> KV.Bucket.count(bucket, expires: true)
      0
  """
  @doc since: "0.2.0"
  @spec count(t, timeout | [filter | call_option]) :: non_neg_integer
  def count(bucket, options \\ []) do
    case :kv_walk.count({__MODULE__, :count, [bucket, options]}, bucket, options) do
      {:ok, count} -> count
      {:error, reason} -> raise(KV.Error, reason: reason)
    end
  end

  @doc """
  Writes all entries, with their times to live, to a file of this VM's machine. Returns `{:ok, count}` with their number.

  The file appears under its name once it is whole and on disk; a file of that name is replaced. If the name is a symbolic
  link, the file where the link leads is replaced. Until then the entries are in a file beside it, whose name ends with
  `.tmp`. After an error that file is gone, and the file of that name is as it was; only a process that is killed while it
  exports leaves the temporary file behind. docs/export-format.md has the format.

  The file has the bucket of one moment, that at which the export began, though other processes go on to change the bucket.
  An entry whose time has come since then may be missing. The file of a durable bucket has only changes that are on disk.
  Works for a bucket of any size. O(n), in pieces. The timeout is for each piece.

  Each entry that changes before the export has come to it is kept by the node in its old state: a copy, and up to 128 MiB of
  them. If they become more, because others change the bucket faster than the file is written, the export ends with
  `{:error, {:snapshot_too_old, text}}`. The changes go on.

  Returns `{:error, {:file, posix}}` if the file cannot be written, such as `:enoent` and `:enospc`,
  `{:error, {:file, :not_regular}}` if the name is that of a directory, a FIFO or a device, `{:error, :stale_snapshot}` if
  the bucket was replaced meanwhile, `{:error, {:too_many_snapshots, 8}}` if it has 8 exports under way, and `{:error, :busy}`
  if too much waits for the disk. Exits as a call does.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, milk: 3, eggs: 12)
      iex> file = Path.join(System.tmp_dir!(), "shopping-#{System.unique_integer([:positive])}.kv")
      iex> KV.Bucket.export(bucket, file)
      {:ok, 2}
      iex> {:ok, other} = KV.Bucket.start_link()
      iex> {KV.Bucket.import(other, file), File.rm(file)}
      {{:ok, 2}, :ok}
      iex> KV.Bucket.to_map(other)
      %{milk: 3, eggs: 12}
      iex> KV.Bucket.export(bucket, "/nowhere/shopping.kv")
      {:error, {:file, :enoent}}
  """
  @doc since: "0.2.0"
  @spec export(t, Path.t(), timeout | [call_option]) ::
          {:ok, non_neg_integer}
          | {:error,
             {:file, atom}
             | :stale_snapshot
             | {:snapshot_too_old, String.t()}
             | {:too_many_snapshots, pos_integer}
             | :busy}
  def export(bucket, file, options \\ 5_000), do: :kv_bucket.export(bucket, file, options)

  @doc """
  As `export/3`, but returns the number of entries alone, and raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.export!(bucket, "/nowhere/shopping.kv")
      ** (KV.Error) the file cannot be opened, read or written: no such file or directory
  """
  @doc since: "0.2.0"
  @spec export!(t, Path.t(), timeout | [call_option]) :: non_neg_integer
  def export!(bucket, file, options \\ 5_000), do: count!(export(bucket, file, options))

  @doc """
  Puts the entries of a file that `export/3` has written. Returns `{:ok, count}` with the number of entries that were put.

  An entry keeps the instant at which it expires, by the wall clock; one that has expired since the export is left out. An
  entry without a time to live has none again, also in a bucket with a default. Entries that are in the bucket already
  stay, unless the file has their key.

  The whole file is checked before the first entry is put. Then its entries are put in many requests, of up to 1,000
  entries each: others see some of them before the rest. O(n), and the file is read twice; a file of any size takes the VM
  no more memory than about three of its largest entry. The timeout is for each request.

  Errors:

    * `{:file, posix}` - the file cannot be read. `{:file, :not_regular}` - it is a directory, a FIFO or a device.
    * `{:bad_file, text}` - the file is no export, is torn, damaged or of a later version, as the sentence says. The bucket
      is unchanged.
    * `{:incomplete, count, reason}` - `count` entries have been put, and the next request got `{:error, reason}`, such as
      `:enomem`.

  Exits as a call does. Import only files that you trust: their terms may bring new atoms into the VM.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.import(bucket, "/nowhere/shopping.kv")
      {:error, {:file, :enoent}}
      iex> {:error, {:bad_file, text}} = KV.Bucket.import(bucket, "/etc/passwd")
      iex> text
      "the file is no export of a bucket"
  """
  @doc since: "0.2.0"
  @spec import(t, Path.t(), timeout | [call_option]) ::
          {:ok, non_neg_integer}
          | {:error, {:file, atom} | {:bad_file, String.t()} | {:incomplete, non_neg_integer, term}}
  def import(bucket, file, options \\ 5_000), do: :kv_bucket.import(bucket, file, options)

  @doc """
  As `import/3`, but returns the number of entries alone, and raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.import!(bucket, "/etc/passwd")
      ** (KV.Error) the file is no export of a bucket
  """
  @doc since: "0.2.0"
  @spec import!(t, Path.t(), timeout | [call_option]) :: non_neg_integer
  def import!(bucket, file, options \\ 5_000), do: count!(__MODULE__.import(bucket, file, options))

  defp count!(answer) do
    {:ok, count} = ok!(answer)
    count
  end

  @doc """
  Puts all `entries` in one message: all or none. Nobody sees some of them without the others.

  Takes time in proportion to the bytes of `entries`. Raises `ArgumentError`, and puts nothing, if `entries` is neither a
  map nor a list of pairs. Returns `{:error, :enomem}` if there is no room for all of them, and `{:error, :full}` if they
  are more than `:max_entries` allows: no key has changed then. A bucket that evicts makes room for all, and never evicts
  an entry that the same request has put. `keep_ttl: true` finds each old entry, except in a request of more than 1,024
  keys or 256 KiB, which may evict the entry of a key that comes later in its list. Evicted entries are gone even after
  an error. Options and other errors are those of `put/4`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, milk: 3, eggs: 12)
      :ok
      iex> KV.Bucket.to_map(bucket)
      %{milk: 3, eggs: 12}
  """
  @doc since: "0.1.0"
  @spec put_many(t, entries, timeout | [put_option]) :: :ok | {:error, :enomem | :full | refused}
  def put_many(bucket, entries, options \\ 5_000), do: :kv_bucket.put_many(bucket, entries, options)

  @doc """
  Puts all `entries` if the bucket has none of their keys.

  Returns `true`; or `false`, and puts nothing, if the bucket has one of the keys. Looks and puts in one step. Options and
  errors are those of `put_many/3`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_new_many(bucket, seat_1: "Ada", seat_2: "Bob")
      true
      iex> KV.Bucket.put_new_many(bucket, seat_2: "Eve", seat_3: "Eve")
      false
      iex> KV.Bucket.to_map(bucket)
      %{seat_1: "Ada", seat_2: "Bob"}
  """
  @doc since: "0.2.0"
  @spec put_new_many(t, entries, timeout | [put_option]) :: boolean | {:error, :enomem | :full | refused}
  def put_new_many(bucket, entries, options \\ 5_000), do: :kv_bucket.put_new_many(bucket, entries, options)

  @doc """
  Removes `keys` in one message. Returns the number of keys that had a value.

  Raises `ArgumentError`, and removes nothing, if `keys` is not a proper list.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, milk: 3, eggs: 12)
      iex> KV.Bucket.delete_many(bucket, [:milk, :tea])
      1
      iex> KV.Bucket.keys(bucket)
      [:eggs]
  """
  @doc since: "0.1.0"
  @spec delete_many(t, [key], timeout | [call_option]) :: non_neg_integer | {:error, refused}
  def delete_many(bucket, keys, timeout \\ 5_000), do: :kv_bucket.delete_many(bucket, keys, timeout)

  @doc """
  Does all `operations`, or none, in one request.

  An operation is a tuple of the name of a function that has one key, and its arguments without the bucket, such as
  `{:put, key, value}`, `{:put, key, value, ttl: 1_000}`, `{:get, key}` or `{:delete, key}`. Two more are for transactions
  only: `{:check, key, value}` wants the value under `key` to be `value`, by `===`, and `{:check_absent, key}` wants no
  value there.

  Each operation sees those before it; nobody else sees some of them without the others. Returns `{:ok, results}` with
  the result of each function, and `:ok` for each check.

  Returns `{:error, {index, reason}}`, with an index from 0, if an operation returns `{:error, reason}`. Nothing has
  changed then. The reason of a check is `:check_failed`, and that of a put without room `:enomem`. `false`, as
  `put_new/4` returns, and `:error`, as `fetch/3` returns, are results and no failures: use a check where the transaction
  must not go on.

  At most 1,000 operations, else it raises `ArgumentError`, and 1 MiB, else it returns `{:error, {:too_large, bytes}}`. The
  bytes are those of the list of operations in the external term format (`:erlang.external_size/1`): names, keys, values
  and options, also of reads and checks. The values that are in the bucket do not count. The answer has at most 256 MiB.

  A transaction needs room for its result: what the transaction deletes or makes smaller is room for its puts. To make
  room, the bucket may evict other keys, but no key that an operation of the transaction names, even if the operation only
  reads.

  O(number of operations), and the bytes of keys and values.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many(bucket, alice: 10, bob: 0)
      iex> move = [{:check, :alice, 10}, {:put, :alice, 7}, {:put, :bob, 3}, {:get, :bob}]
      iex> KV.Bucket.transaction(bucket, move)
      {:ok, [:ok, :ok, :ok, 3]}
      iex> KV.Bucket.transaction(bucket, move)
      {:error, {0, :check_failed}}
      iex> KV.Bucket.to_map(bucket)
      %{alice: 7, bob: 3}
  """
  @doc since: "0.2.0"
  @spec transaction(t, [operation], timeout | [call_option]) ::
          {:ok, [term]} | {:error, {non_neg_integer, term} | refused}
  def transaction(bucket, operations, options \\ 5_000) do
    call = {:kv_bucket, :transaction, [bucket, operations, options]}
    :kv_transaction.run(call, bucket, operations, nil)
  end

  @doc """
  Sends a request and returns at once. `await/2` returns the answer.

  `function` is the name of a function of this module that sends a request to a bucket, and `args` are its arguments
  without bucket and timeout, with options as the last one. The timeout is an argument of `await/2`; `async/3` raises
  `ArgumentError` if `args` has one, or does not fit the function. The answer goes to the process that called `async/3`.
  That process must call `await/2` once, or `abandon/1`; otherwise the answer stays in its mailbox.

  Unlike `Task.async/3`, `async/3` starts no process and creates no link.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> put = KV.Bucket.async(bucket, :put, ["milk", 3])
      iex> get = KV.Bucket.async(bucket, :get, ["milk"])
      iex> {KV.Bucket.await(put), KV.Bucket.await(get)}
      {:ok, 3}
      iex> bucket |> KV.Bucket.async(:put, ["eggs", 12, [ttl: 60_000]]) |> KV.Bucket.await(timeout: 1_000)
      :ok
  """
  @doc since: "0.1.0"
  @spec async(t, atom, [term]) :: request
  def async(bucket, function, args)
  def async(bucket, :has_key?, args), do: :kv_request.async(bucket, :has_key, args, nil)
  def async(bucket, function, args), do: :kv_request.async(bucket, function, args, nil)

  @doc """
  Waits for the answer to a request of `async/3`, and returns it.

  Exits in the same cases as a call. A request that has timed out is abandoned: its answer is dropped when it arrives.
  Raises `ArgumentError` in any process but the one that sent the request, and, once the time is over, if the request has
  been awaited before.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> bucket |> KV.Bucket.async(:fetch, ["milk"]) |> KV.Bucket.await()
      :error
  """
  @doc since: "0.1.0"
  @spec await(request, timeout | [call_option]) :: term
  def await(request, timeout \\ 5_000), do: :kv_bucket.await(request, timeout)

  @doc """
  Waits for the answers to requests, and returns them in the order of the list. The timeout is for all of them together.

  If one of the requests exits, the rest are abandoned.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> requests = for n <- 1..3, do: KV.Bucket.async(bucket, :put_new, [rem(n, 2), n])
      iex> KV.Bucket.await_many(requests)
      [true, true, false]
  """
  @doc since: "0.1.0"
  @spec await_many([request], timeout | [call_option]) :: [term]
  def await_many(requests, timeout \\ 5_000), do: :kv_bucket.await_many(requests, timeout)

  @doc """
  Abandons a request of `async/3`: its answer never arrives. The bucket may already have handled the request, or may still
  do so.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> bucket |> KV.Bucket.async(:size, []) |> KV.Bucket.abandon()
      :ok
  """
  @doc since: "0.1.0"
  @spec abandon(request) :: :ok
  def abandon(request), do: :kv_bucket.abandon(request)

  @doc """
  Sends a request that is not answered.

  `function` is `:put`, `:delete`, `:swap`, `:replace`, `:compare_and_put`, `:compare_and_delete`, `:incr`, `:decr`,
  `:expire`, `:expire_at`, `:persist`, `:touch`, `:put_many`, `:delete_many` or `:clear`. `args` are its arguments, as for
  `async/3`. Always returns `:ok`, even if there is no such bucket or the request fails.

  `put_new/4`, `put_new_many/3`, `pop/3` and `transaction/3` cannot be cast, because their caller needs the answer: whether
  the key was taken, the value that is gone, or whether the transaction was done. `async/3` sends them.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.cast(bucket, :put, ["milk", 3])
      :ok
      iex> KV.Bucket.get(bucket, "milk")
      3
  """
  @doc since: "0.1.0"
  @spec cast(t, cast_function, [term]) :: :ok
  def cast(bucket, function, args), do: :kv_bucket.cast(bucket, function, args)

  @doc """
  Stops the bucket with `reason`, and returns once it has ended. A bucket that belongs to its node (`:owner`) ends for all VMs;
  the end of a proxy alone leaves it.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.stop(bucket)
      :ok
      iex> Process.alive?(bucket)
      false
      iex> {:ok, proxy} = KV.Bucket.start_link(name: :of_the_node, owner: :node)
      iex> KV.Bucket.put(proxy, "milk", 3)
      iex> GenServer.stop(proxy)
      iex> {:ok, proxy} = KV.Bucket.start_link(name: :of_the_node, owner: :node)
      iex> KV.Bucket.get(proxy, "milk")
      3
      iex> KV.Bucket.stop(:of_the_node)
      :ok
  """
  @doc since: "0.1.0"
  @spec stop(t, term, timeout | [call_option]) :: :ok
  def stop(bucket, reason \\ :normal, timeout \\ :infinity), do: :kv_bucket.stop(bucket, reason, timeout)

  @doc """
  Removes the bucket and all of its values, on disk, too, and returns once the bucket has ended with reason `:normal`.

  `stop/3` ends just the process: a durable bucket that is started again under the name has its values. After `destroy/2`
  it begins empty, runs `:fill`, and may have other options. A supervisor starts a permanent bucket again at once; so end
  the child, too, if it shall stay away. A bucket that is not durable ends as with `stop/3`.

  All or nothing: after a crash the bucket is there with all of its values, or it is gone. After an exit with `:timeout` or
  `{:nodedown, node}` it may be either. Returns `{:error, :busy}` if too much waits for the disk; nothing has changed then.

  One write to the disk, however many values there are; the node frees their memory in O(n).

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.destroy(bucket)
      :ok
      iex> Process.alive?(bucket)
      false
  """
  @doc since: "0.1.0"
  @spec destroy(t, timeout | [call_option]) :: :ok | {:error, :busy | refused}
  def destroy(bucket, timeout \\ 5_000), do: :kv_bucket.destroy(bucket, timeout)

  @doc """
  Puts `value` under `key` as `put/4` does, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put!(bucket, "milk", 1)
      :ok

      iex> {:ok, bucket} = KV.Bucket.start_link(max_memory: 1024)
      iex> KV.Bucket.put!(bucket, "milk", String.duplicate("m", 1024))
      ** (KV.Error) there is no room for the entry: the bucket or its node has reached max_memory
  """
  @doc since: "0.2.0"
  @spec put!(t, key, value, timeout | [put_option]) :: :ok
  def put!(bucket, key, value, options \\ 5_000), do: ok!(put(bucket, key, value, options))

  @doc """
  As `put_new/4`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_new!(bucket, "milk", 1)
      true
  """
  @doc since: "0.2.0"
  @spec put_new!(t, key, value, timeout | [put_option]) :: boolean
  def put_new!(bucket, key, value, options \\ 5_000), do: ok!(put_new(bucket, key, value, options))

  @doc """
  As `replace/4`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.replace!(bucket, "milk", 1)
      false
  """
  @doc since: "0.2.0"
  @spec replace!(t, key, value, timeout | [put_option]) :: boolean
  def replace!(bucket, key, value, options \\ 5_000), do: ok!(replace(bucket, key, value, options))

  @doc """
  As `swap/4`, but raises `KV.Error` instead of returning an error. `:error` still says that there was no value.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.swap!(bucket, "milk", 1)
      :error
  """
  @doc since: "0.2.0"
  @spec swap!(t, key, value, timeout | [put_option]) :: {:ok, value} | :error
  def swap!(bucket, key, value, options \\ 5_000), do: ok!(swap(bucket, key, value, options))

  @doc """
  As `compare_and_put/5`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.compare_and_put!(bucket, "milk", 1, 2)
      false
  """
  @doc since: "0.2.0"
  @spec compare_and_put!(t, key, value, value, timeout | [put_option]) :: boolean
  def compare_and_put!(bucket, key, old, new, options \\ 5_000),
    do: ok!(compare_and_put(bucket, key, old, new, options))

  @doc """
  As `compare_and_delete/4`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.compare_and_delete!(bucket, "milk", 1)
      false
  """
  @doc since: "0.2.0"
  @spec compare_and_delete!(t, key, value, timeout | [call_option]) :: boolean
  def compare_and_delete!(bucket, key, old, options \\ 5_000),
    do: ok!(compare_and_delete(bucket, key, old, options))

  @doc """
  As `put_many/3`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_many!(bucket, milk: 1)
      :ok
  """
  @doc since: "0.2.0"
  @spec put_many!(t, entries, timeout | [put_option]) :: :ok
  def put_many!(bucket, entries, options \\ 5_000), do: ok!(put_many(bucket, entries, options))

  @doc """
  As `put_new_many/3`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_new_many!(bucket, milk: 1)
      true
  """
  @doc since: "0.2.0"
  @spec put_new_many!(t, entries, timeout | [put_option]) :: boolean
  def put_new_many!(bucket, entries, options \\ 5_000), do: ok!(put_new_many(bucket, entries, options))

  @doc """
  As `delete_many/3`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.delete_many!(bucket, [:milk])
      0
  """
  @doc since: "0.2.0"
  @spec delete_many!(t, [key], timeout | [call_option]) :: non_neg_integer
  def delete_many!(bucket, keys, options \\ 5_000), do: ok!(delete_many(bucket, keys, options))

  @doc """
  As `incr/4`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.incr!(bucket, "hits", 2, default: 5)
      7
      iex> KV.Bucket.put(bucket, "hits", "many")
      iex> KV.Bucket.incr!(bucket, "hits")
      ** (KV.Error) the value is not an integer
  """
  @doc since: "0.2.0"
  @spec incr!(t, key, integer | [count_option], timeout | [count_option]) :: integer
  def incr!(bucket, key, n_or_options \\ 1, options \\ 5_000),
    do: ok!(incr(bucket, key, n_or_options, options))

  @doc """
  As `decr/4`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.decr!(bucket, "hits", 2, default: 5)
      3
      iex> KV.Bucket.put(bucket, "hits", "many")
      iex> KV.Bucket.decr!(bucket, "hits")
      ** (KV.Error) the value is not an integer
  """
  @doc since: "0.2.0"
  @spec decr!(t, key, integer | [count_option], timeout | [count_option]) :: integer
  def decr!(bucket, key, n_or_options \\ 1, options \\ 5_000),
    do: ok!(decr(bucket, key, n_or_options, options))

  @doc """
  As `expire/4`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.expire!(bucket, "milk", 60_000)
      false
  """
  @doc since: "0.2.0"
  @spec expire!(t, key, pos_integer | :infinity, timeout | [call_option]) :: boolean
  def expire!(bucket, key, ms, options \\ 5_000), do: ok!(expire(bucket, key, ms, options))

  @doc """
  As `expire_at/4`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.expire_at!(bucket, "milk", 60_000)
      false
  """
  @doc since: "0.2.0"
  @spec expire_at!(t, key, integer, timeout | [call_option]) :: boolean
  def expire_at!(bucket, key, unix_ms, options \\ 5_000), do: ok!(expire_at(bucket, key, unix_ms, options))

  @doc """
  As `persist/3`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.persist!(bucket, "milk")
      false
  """
  @doc since: "0.2.0"
  @spec persist!(t, key, timeout | [call_option]) :: boolean
  def persist!(bucket, key, options \\ 5_000), do: ok!(persist(bucket, key, options))

  @doc """
  As `touch/3`, but raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.touch!(bucket, "milk")
      false
  """
  @doc since: "0.2.0"
  @spec touch!(t, key, timeout | [call_option]) :: boolean
  def touch!(bucket, key, options \\ 5_000), do: ok!(touch(bucket, key, options))

  @doc """
  As `transaction/3`, but returns the results alone, and raises `KV.Error` instead of returning an error.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.transaction!(bucket, [{:incr, :visits}, {:get, :visits}])
      [1, 1]
  """
  @doc since: "0.2.0"
  @spec transaction!(t, [operation], timeout | [call_option]) :: [term]
  def transaction!(bucket, operations, options \\ 5_000) do
    {:ok, results} = ok!(transaction(bucket, operations, options))
    results
  end

  # Raises the error of a function that returns one.
  defp ok!({:error, reason}), do: raise(KV.Error, reason: reason)
  defp ok!(answer), do: answer
end
