defmodule KV.Registry do
  @moduledoc """
  The registry: creates buckets, and finds them by name.

  Names are binaries, and stay binaries in the registry. Observer is the only reason for which kv ever makes an atom from
  one: before OTP 27, for at most as many names as the option `observer_names` of `KV.Node` allows. When a bucket ends, the
  registry forgets its name before it serves any later request.

      iex> KV.Registry.lookup(KV.Registry, "groceries")
      :error
      iex> KV.Registry.create(KV.Registry, "groceries")
      :ok
      iex> {:ok, bucket} = KV.Registry.lookup(KV.Registry, "groceries")
      iex> KV.Bucket.put(bucket, "milk", 1)
      :ok

  A bucket can be created with options, found or created in one call, given another name and deleted. A name can carry a
  term, its metadata:

      iex> {:ok, _} = KV.Registry.lookup_or_create(KV.Registry, "user:7", max_memory: 1_000_000, meta: %{plan: :free})
      iex> KV.Registry.rename(KV.Registry, "user:7", "user:8")
      :ok
      iex> KV.Registry.meta(KV.Registry, "user:8")
      {:ok, %{plan: :free}}
      iex> KV.Registry.names(KV.Registry, prefix: "user:")
      ["user:8"]
      iex> KV.Registry.delete(KV.Registry, "user:8")
      :ok
      iex> KV.Registry.count(KV.Registry, prefix: "user:")
      0

  `lookup/2` returns the pid of the native process, which works from every node of the cluster. To reach the registry
  from another node, use `{KV.Registry, KV.info().node.name}`:

      iex> GenServer.call({KV.Registry, KV.info().node.name}, {:lookup, "nobody's"})
      :error

  A registry of your own needs no supervisor for its buckets: it creates them itself, and they end with it. Any number of
  registries can run side by side. Each has its own names.

      iex> {:ok, registry} = KV.Registry.start_link(name: :my_registry)
      iex> KV.Registry.create(:my_registry, "groceries")
      :ok
      iex> KV.Registry.names(registry)
      ["groceries"]

  Functions exit in the same cases as `GenServer.call/3`: with `:noproc` if there is no such registry, with `:timeout` if
  the registry does not answer within the timeout, in milliseconds, and with `{:nodedown, node}` as soon as its node is
  lost.

  If the C program dies, a registry of your own stays, whether or not it has a name, and comes back empty. The section
  "In your own tree" of `KV.Bucket` applies to registries as well.

  ## Durable registries

  With `durable: :commit` a registry keeps its names, their metadata and the entries of its buckets on disk, in `data_dir` of
  `KV.Node`. They come back whatever has ended: the bucket, the registry, the C program, or the VM.

      # KV.BucketSupervisor runs already: the application kv starts it.
      children = [
        {KV.Registry, name: MyApp.Carts, durable: :commit, buckets: KV.BucketSupervisor}
      ]

  `config :kv, registry: [durable: :commit]` does the same for the registry of the application.

  A durable bucket whose process has ended keeps its name: the name is *dormant*. The next `lookup/2` or `create/3` attaches a
  process, with all entries. So `KV.Bucket.stop/1` ends a process and nothing else; `delete/2` drops the entries, too,
  and `destroy/1` the registry with all its names. `names/2`,
  `list/2` and `count/2` include dormant names and attach no process. `create(registry, name, durable: false)` makes a bucket
  in memory beside the durable ones. docs/durability.md has the whole story.
  """

  use GenServer

  @typedoc "A registry: a pid, a name, `{name, node}`, `{:global, name}` or `{:via, module, name}`."
  @type t :: GenServer.server()

  @typedoc "The name of a bucket."
  @type name :: binary

  @typedoc """
    * `:name` - an atom, `{:global, term}` or `{:via, module, term}`.
    * `:buckets` - the supervisor that starts the buckets, such as `KV.BucketSupervisor`. Without it the registry creates
      its buckets itself, and they end with it.
    * `:event_manager` - a `:gen_event` process, such as `KV.EventManager`. It gets an event for each bucket that is created
      or ends.
    * `:node` - the local name of the `KV.Node` to run on, if there are several.
    * `:on_node_down` - what the proxy does when the C program is lost: `:stay`, the default, or `:exit`.
    * `:durable` - `:commit` keeps names and buckets on disk: see "Durable registries". Needs a `:name` that is an atom, and cannot
      be combined with `:fill`. `false`, the default, keeps nothing.
    * `:owner` - `:node` makes a registry that belongs to its node, and that several VMs share, with all its buckets: as for
      `KV.Bucket`. It makes its buckets in the node, and sends no events, so it has neither `:buckets` nor `:event_manager`.
    * `:fill`, `:id`, `:restart`, `:shutdown` - as for `KV.Bucket`.
  """
  @type option ::
          {:name, GenServer.name()}
          | {:buckets, Supervisor.supervisor()}
          | {:event_manager, pid | atom | {atom, node}}
          | {:node, atom}
          | {:on_node_down, :stay | :exit}
          | {:durable, false | :commit}
          | {:owner, :vm | :node}
          | {:fill, {module, atom, [term]} | nil}
          | {:id, term}
          | {:restart, :permanent | :transient | :temporary}
          | {:shutdown, timeout | :brutal_kill}

  @typedoc """
    * `:timeout` - milliseconds to wait for the answer, 5000 by default.
    * `:meta` - the metadata of the name: see `meta/2`.
    * `:fill` - as for `KV.Bucket.start_link/1`. Needs a registry with the option `:buckets`. The supervisor of the buckets starts
      one at a time, so nobody creates another bucket below it while the function runs; lookups of names that are there go on.
    * `:durable` - for a durable registry: the policy of this bucket, by default that of the registry. `false` makes a bucket in
      memory.
    * `:max_memory`, `:evict` and all other options of `KV.Bucket.start_link/1` that are about the content of a bucket.
  """
  @type create_option ::
          KV.Bucket.call_option() | {:meta, term} | {:fill, {module, atom, [term]} | nil} | {atom, term}

  @typedoc """
    * `:timeout` - milliseconds to wait for the answer, 5000 by default.
    * `:prefix` - a binary: only the names that begin with it.
  """
  @type names_option :: KV.Bucket.call_option() | {:prefix, binary}

  @doc """
  Starts a registry, linked to the caller. It is empty, unless it is durable and has been started before.

  Takes a list of options; or an atom, which is short for `name: atom`; or the pid of an event manager, which is short for
  `event_manager: pid`.

  Returns `{:ok, pid}`, or `{:error, reason}` with one of the reasons of `KV.Bucket.start_link/1`.

  ## Examples

      iex> {:ok, registry} = KV.Registry.start_link()
      iex> KV.Registry.lookup(registry, "shopping")
      :error
      iex> KV.Registry.start_link(bukets: KV.BucketSupervisor)
      {:error, {:bad_option, :bukets, "there is no option bukets; did you mean buckets?"}}
      iex> {:error, {:bad_option, :durable, text}} = KV.Registry.start_link(durable: :commit)
      iex> text
      "a durable registry needs a name, by which its names are found again; give a name that is an atom"
  """
  @doc since: "0.1.0"
  @spec start_link([option] | atom | pid) :: {:ok, pid} | {:error, term}
  def start_link(options \\ [])
  def start_link(name) when is_atom(name) and name != nil, do: start_link(name: name)
  def start_link(event_manager) when is_pid(event_manager), do: start_link(event_manager: event_manager)

  def start_link(options) do
    with {:ok, checked} <- :kv_start_options.validate(options, own_options()) do
      :kv_registry.start_link(native_options(checked))
    end
  end

  @doc """
  Starts a registry that reports its buckets to an event manager.

  The second argument is a list of options, as in `start_link([event_manager: event_manager] ++ options)`; or the supervisor
  that starts the buckets, as in `start_link(event_manager, buckets, [])`.

  ## Examples

      iex> {:ok, manager} = KV.EventManager.start_link()
      iex> {:ok, buckets} = KV.Bucket.Supervisor.start_link()
      iex> {:ok, registry} = KV.Registry.start_link(manager, buckets)
      iex> KV.Registry.create(registry, "shopping")
      iex> DynamicSupervisor.count_children(buckets).active
      1
  """
  @doc since: "0.1.0"
  @spec start_link(GenServer.server(), [option] | Supervisor.supervisor()) :: {:ok, pid} | {:error, term}
  def start_link(event_manager, options) when is_list(options) do
    start_link([event_manager: event_manager] ++ options)
  end

  def start_link(event_manager, buckets), do: start_link(event_manager, buckets, [])

  @doc """
  Starts a registry that reports its buckets to an event manager, and whose buckets are started by a supervisor.

  The same as `start_link([event_manager: event_manager, buckets: buckets] ++ options)`. Raises `ArgumentError` if the third
  argument is no list: those are the arguments of `start_link/4`.
  """
  @doc since: "0.1.0"
  @spec start_link(GenServer.server(), Supervisor.supervisor(), [option]) :: {:ok, pid} | {:error, term}
  def start_link(event_manager, buckets, options) when is_list(options) do
    start_link([event_manager: event_manager, buckets: buckets] ++ options)
  end

  def start_link(table, event_manager, buckets), do: start_link(table, event_manager, buckets, [])

  @doc """
  Not supported: raises `ArgumentError`.

  An early form of the guide keeps the names in an ETS table that the supervisor owns, so that the names outlive the
  registry. A native registry keeps its names on the C node, where no ETS table can hold them.
  """
  @doc since: "0.1.0"
  @spec start_link(term, term, term, [option]) :: no_return
  def start_link(table, _event_manager, _buckets, _options) do
    raise ArgumentError,
          "a native registry keeps its names on the C node, not in an ETS table (#{inspect(table)}): " <>
            "call KV.Registry.start_link(event_manager, buckets), without the table"
  end

  @doc """
  Returns a child specification. A registry is `:permanent`. Its id is its name, or this module if it has no name. The
  options `:id`, `:restart` and `:shutdown` override this.

  ## Examples

      iex> %{id: KV.Registry, start: start} = KV.Registry.child_spec([])
      iex> start
      {KV.Registry, :start_link, [[]]}
      iex> KV.Registry.child_spec(MyApp.Names).id
      MyApp.Names
  """
  @doc since: "0.1.0"
  @spec child_spec([option] | atom) :: Supervisor.child_spec()
  def child_spec(name) when is_atom(name) and name != nil do
    %{child_spec(name: name) | start: {__MODULE__, :start_link, [name]}}
  end

  def child_spec(options), do: :kv_start_options.child_spec(options, __MODULE__, :permanent)

  @doc """
  Looks up the bucket with this name.

  Returns `{:ok, pid}`, or `:error` if there is none, or `{:error, {:bad_name, name}}` if the name is not a binary. Exits with
  `{{:too_large, bytes}, _}` if the name is larger than a message may be.

  A durable registry attaches a process to a dormant name first; the caller waits meanwhile. If that fails, `lookup/2` returns
  `{:error, reason}` with the reasons of `create/3`, and the name stays.

  ## Examples

      iex> KV.Registry.lookup(KV.Registry, "never created")
      :error
      iex> KV.Registry.lookup(KV.Registry, :an_atom)
      {:error, {:bad_name, :an_atom}}
  """
  @doc since: "0.1.0"
  @spec lookup(t, name, timeout | [KV.Bucket.call_option()]) ::
          {:ok, KV.Bucket.native()} | :error | {:error, {:bad_name, term} | term}
  def lookup(registry, name, timeout \\ 5_000), do: :kv_registry.lookup(registry, name, timeout)

  @doc """
  Creates a bucket with this name, unless there is one already.

  Once `create/3` has returned `:ok`, any process that looks up the name finds the bucket. The last argument is a timeout or
  a list of `t:create_option/0`. If the name exists, its bucket stays as it is, whatever the options are.

  O(1). Of several callers at once one creates the bucket, and all get it.

  Errors:

    * `{:error, {:bad_name, name}}` - the name is not a binary.
    * `{:error, {:name_too_long, bytes}}` - the name is longer than 64 KiB.
    * `{:error, {:bad_option, key, text}}` - an option is wrong; nothing has been started.
    * `{:error, {:meta_too_large, bytes}}`, `{:error, {:options_too_large, bytes}}` - metadata or options take more than 64 KiB.
    * `{:error, :enospc}`, `{:error, :busy}` - there is no room on disk for a durable bucket, or too much waits for the disk.
    * `{:error, reason}` - the bucket could not be started.

  `GenServer.call(registry, {:create, name})` returns the pid at once, as `lookup_or_create/3` does.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "camping", max_memory: 1_000_000, evict: :lru)
      :ok
      iex> {:ok, bucket} = KV.Registry.lookup(KV.Registry, "camping")
      iex> KV.Registry.create(KV.Registry, "camping")
      :ok
      iex> KV.Registry.lookup(KV.Registry, "camping") == {:ok, bucket}
      true
      iex> KV.Registry.create(KV.Registry, "sledging", durable: :commit)
      {:error, {:bad_option, :durable, "durable must be false, since the registry is not durable itself, and is commit"}}
      iex> KV.Registry.create(KV.Registry, "hiking", evict: :all)
      {:error, {:bad_option, :evict, "evict must be none, lru or ttl, and is all"}}
  """
  @doc since: "0.1.0"
  @spec create(t, name, timeout | [create_option]) :: :ok | {:error, term}
  def create(registry, name, timeout \\ 5_000), do: :kv_registry.create(registry, name, timeout)

  @doc """
  Returns `{:ok, pid}` with the bucket of this name, which it creates if there is none.

  Options and errors are those of `create/3`. Options do not matter if the name exists.

  O(1), one request; no request at all if this VM reads the node's memory and the name exists. Of several callers at once
  one creates the bucket, and all get the same pid.

  ## Examples

      iex> {:ok, bucket} = KV.Registry.lookup_or_create(KV.Registry, "picnic")
      iex> KV.Registry.lookup_or_create(KV.Registry, "picnic", max_memory: 1_000_000) == {:ok, bucket}
      true
  """
  @doc since: "0.2.0"
  @spec lookup_or_create(t, name, timeout | [create_option]) :: {:ok, KV.Bucket.native()} | {:error, term}
  def lookup_or_create(registry, name, timeout \\ 5_000),
    do: :kv_registry.lookup_or_create(registry, name, timeout)

  @doc """
  Gives the bucket `old` the name `new`. Pid, content and metadata stay.

  Returns `:ok`, also if both names are the same; `:error` if there is no bucket `old`; `{:error, :name_taken}` if there is a
  bucket `new`, or one is being created; or `{:error, {:bad_name, name}}` and `{:error, {:name_too_long, bytes}}` as `create/3`.

  O(1), one step: nobody finds both names. The event manager gets `{:exit, old, pid}` and then `{:create, new, pid}`. The label
  in status reports and in Observer remains the name with which the bucket was created.

  ## Examples

      iex> {:ok, bucket} = KV.Registry.lookup_or_create(KV.Registry, "draft")
      iex> KV.Registry.rename(KV.Registry, "draft", "final")
      :ok
      iex> KV.Registry.lookup(KV.Registry, "final") == {:ok, bucket}
      true
      iex> KV.Registry.rename(KV.Registry, "draft", "lost")
      :error
      iex> KV.Registry.create(KV.Registry, "draft")
      iex> KV.Registry.rename(KV.Registry, "draft", "final")
      {:error, :name_taken}
  """
  @doc since: "0.2.0"
  @spec rename(t, name, name, timeout | [KV.Bucket.call_option()]) :: :ok | :error | {:error, term}
  def rename(registry, old, new, timeout \\ 5_000), do: :kv_registry.rename(registry, old, new, timeout)

  @doc """
  Stops the bucket of this name with reason `:normal`, and forgets the name. The entries of a durable bucket are dropped, whether or
  not it has a process.

  Returns `:ok`, or `:error` if there is no such name, or `{:error, {:bad_name, name}}`. Once it has returned `:ok`, nobody finds
  the name. Requests that the bucket got before are answered. The native process has ended then, unless one of these requests
  is so large that it takes several turns; the process ends behind it. Its proxy, if a supervisor has one, ends a moment later.

  O(1) for the caller; the node frees the memory of the entries bit by bit.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "old list")
      iex> KV.Registry.delete(KV.Registry, "old list")
      :ok
      iex> KV.Registry.delete(KV.Registry, "old list")
      :error
  """
  @doc since: "0.2.0"
  @spec delete(t, name, timeout | [KV.Bucket.call_option()]) :: :ok | :error | {:error, term}
  def delete(registry, name, timeout \\ 5_000), do: :kv_registry.delete(registry, name, timeout)

  @doc """
  Returns `{:ok, term}` with the metadata of a name, or `:error` if there is no such name, or if it has no metadata.

  The option `:meta` of `create/3` and `put_meta/3` set it. Returns `{:error, {:bad_name, name}}` if the name is not a
  binary. O(1).

  ## Examples

      iex> KV.Registry.create(KV.Registry, "cart", meta: {:owner, 7})
      iex> KV.Registry.meta(KV.Registry, "cart")
      {:ok, {:owner, 7}}
  """
  @doc since: "0.2.0"
  @spec meta(t, name, timeout | [KV.Bucket.call_option()]) :: {:ok, term} | :error | {:error, term}
  def meta(registry, name, timeout \\ 5_000), do: :kv_registry.meta(registry, name, timeout)

  @doc """
  Makes a term the metadata of a name. The term is lost with the name, and follows it when it is renamed. The metadata of a durable
  name is on disk with it.

  Returns `:ok`, or `:error` if there is no such name. Returns `{:error, {:meta_too_large, bytes}}` if the term takes more than
  64 KiB, `{:error, {:bad_name, name}}` if the name is not a binary, or the reason for which the node refused the request:
  nothing has changed then. O(1) beside the copy.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "basket")
      iex> KV.Registry.put_meta(KV.Registry, "basket", %{owner: 7})
      :ok
      iex> KV.Registry.meta(KV.Registry, "basket")
      {:ok, %{owner: 7}}
      iex> KV.Registry.put_meta(KV.Registry, "nobody's", %{owner: 7})
      :error
  """
  @doc since: "0.2.0"
  @spec put_meta(t, name, term, timeout | [KV.Bucket.call_option()]) :: :ok | :error | {:error, term}
  def put_meta(registry, name, meta, timeout \\ 5_000),
    do: :kv_registry.put_meta(registry, name, meta, timeout)

  @doc """
  Returns all names, or with the option `:prefix` those that begin with a binary, in no particular order and all of one moment.

  Exits with `{{:too_large, bytes}, _}` if they take more than 256 MiB. O(all names), with or without a prefix. Other
  requests to this registry wait meanwhile, and the node goes on to serve all other processes.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "party:1")
      iex> "party:1" in KV.Registry.names(KV.Registry)
      true
      iex> KV.Registry.names(KV.Registry, prefix: "party:")
      ["party:1"]
  """
  @doc since: "0.1.0"
  @spec names(t, timeout | [names_option]) :: [name]
  def names(registry, timeout \\ 5_000), do: :kv_registry.names(registry, timeout)

  @doc """
  Returns all names with the pids of their buckets; a dormant name of a durable registry comes with `:dormant` instead. All else is
  as for `names/2`.

  ## Examples

      iex> {:ok, bucket} = KV.Registry.lookup_or_create(KV.Registry, "listed:1")
      iex> KV.Registry.list(KV.Registry, prefix: "listed:") == [{"listed:1", bucket}]
      true
  """
  @doc since: "0.2.0"
  @spec list(t, timeout | [names_option]) :: [{name, KV.Bucket.native() | :dormant}]
  def list(registry, timeout \\ 5_000), do: :kv_registry.list(registry, timeout)

  @doc """
  Returns the number of names, in constant time; or with the option `:prefix` of those that begin with a binary, in O(all names).

  ## Examples

      iex> {:ok, registry} = KV.Registry.start_link()
      iex> for name <- ["user:1", "user:2", "guest"], do: KV.Registry.create(registry, name)
      iex> {KV.Registry.count(registry), KV.Registry.count(registry, prefix: "user:")}
      {3, 2}
  """
  @doc since: "0.2.0"
  @spec count(t, timeout | [names_option]) :: non_neg_integer
  def count(registry, timeout \\ 5_000), do: :kv_registry.count(registry, timeout)

  @doc """
  Returns the generation of the registry: see `KV.Bucket.generation/2`.

  ## Examples

      iex> KV.Registry.generation(KV.Registry)
      1
  """
  @doc since: "0.1.0"
  @spec generation(t, timeout | [KV.Bucket.call_option()]) :: pos_integer
  def generation(registry, timeout \\ 5_000), do: :kv_registry.generation(registry, timeout)

  @doc """
  Stops the registry with reason `:normal`, and returns once it has ended.

  ## Examples

      iex> {:ok, registry} = KV.Registry.start_link()
      iex> KV.Registry.stop(registry)
      :ok
      iex> Process.alive?(registry)
      false
  """
  @doc since: "0.1.0"
  @spec stop(t, timeout | [KV.Bucket.call_option()]) :: :ok
  def stop(registry, timeout \\ 5_000), do: :kv_registry.stop(registry, timeout)

  @doc """
  Removes a durable registry with all its names, their metadata and the values of its buckets, on disk, too. Returns once the
  registry has ended with reason `:normal`.

  `stop/2` ends just the process: a durable registry that is started again under the name has all names. After `destroy/2` it
  begins empty. A supervisor starts a permanent registry again at once; so end the child, too, if it shall stay away.

  The buckets of the registry end with reason `:normal`, those in memory, too, as with `delete/3`: one that is in the middle of a
  large request ends behind it. The event manager gets `{:exit, name, pid}` for each. Other requests to the registry wait
  meanwhile, and exit with its end.

  All or nothing: after a crash the registry is there with all of its names, or it is gone. After an exit with `:timeout` or
  `{:nodedown, node}` it may be either. One write to the disk, however many names there are. The node takes O(names) for the
  rest, and goes on to serve all other processes.

  Returns `{:error, {:not_durable, text}}` for a registry that keeps nothing on disk: `stop/2` ends it. Returns `{:error, :enospc}`
  once a full disk has no room even for this: nothing has changed then.

  ## Examples

      iex> {:ok, registry} = KV.Registry.start_link()
      iex> KV.Registry.destroy(registry)
      {:error, {:not_durable, "the registry keeps nothing on disk; stop ends it, and its names"}}
  """
  @doc since: "0.2.0"
  @spec destroy(t, timeout | [KV.Bucket.call_option()]) :: :ok | {:error, {:not_durable, String.t()} | term}
  def destroy(registry, timeout \\ 5_000), do: :kv_registry.destroy(registry, timeout)

  # An Elixir program names the supervisor of the buckets where an Erlang program names a function.
  defp own_options do
    buckets = {:buckets, &supervisor?/1, "a supervisor of buckets: a pid, a name or {name, node}"}
    [buckets | List.keydelete(:kv_registry.own_options(), :start_bucket, 0)]
  end

  defp supervisor?(buckets),
    do: is_atom(buckets) or is_pid(buckets) or (is_tuple(buckets) and tuple_size(buckets) in 2..3)

  defp native_options(options) do
    case Map.pop(options, :buckets) do
      {nil, options} -> options
      {buckets, options} -> Map.put(options, :start_bucket, KV.BucketSupervisor.starter(buckets))
    end
  end

  # `GenServer.start_link(KV.Registry, :ok)`, as in the guide, starts a registry, too: the new process becomes the proxy of
  # a native registry, as with start_link/1.

  @impl true
  @doc false
  def init(:ok), do: :kv_proxy.init({:registry, %{node: :undefined, native: [], on_node_down: :stay}})

  @impl true
  @doc false
  defdelegate handle_call(request, from, state), to: :kv_proxy

  @impl true
  @doc false
  defdelegate handle_cast(request, state), to: :kv_proxy

  @impl true
  @doc false
  defdelegate handle_info(message, state), to: :kv_proxy

  @impl true
  @doc false
  defdelegate terminate(reason, state), to: :kv_proxy

  @doc """
  As `create/3`, but raises `KV.Error` instead of returning `{:error, reason}`.

  ## Examples

      iex> KV.Registry.create!(KV.Registry, "sailing")
      :ok
      iex> KV.Registry.create!(KV.Registry, :sailing)
      ** (KV.Error) the name of a bucket in a registry must be a binary, and is sailing
  """
  @doc since: "0.2.0"
  @spec create!(t, name, timeout | [create_option]) :: :ok
  def create!(registry, name, timeout \\ 5_000), do: ok!(create(registry, name, timeout))

  @doc """
  As `lookup_or_create/3`, but returns the pid alone, and raises `KV.Error` instead of returning `{:error, reason}`.

  ## Examples

      iex> bucket = KV.Registry.lookup_or_create!(KV.Registry, "rowing")
      iex> KV.Registry.lookup(KV.Registry, "rowing") == {:ok, bucket}
      true
  """
  @doc since: "0.2.0"
  @spec lookup_or_create!(t, name, timeout | [create_option]) :: KV.Bucket.native()
  def lookup_or_create!(registry, name, timeout \\ 5_000) do
    {:ok, bucket} = ok!(lookup_or_create(registry, name, timeout))
    bucket
  end

  @doc """
  As `rename/4`, but raises `KV.Error` instead of returning `{:error, reason}`.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "first name")
      iex> KV.Registry.create(KV.Registry, "second name")
      iex> KV.Registry.rename!(KV.Registry, "first name", "second name")
      ** (KV.Error) the registry has the new name already, or is creating a bucket with it
  """
  @doc since: "0.2.0"
  @spec rename!(t, name, name, timeout | [KV.Bucket.call_option()]) :: :ok | :error
  def rename!(registry, old, new, timeout \\ 5_000), do: ok!(rename(registry, old, new, timeout))

  @doc """
  As `delete/3`, but raises `KV.Error` instead of returning `{:error, reason}`.

  ## Examples

      iex> KV.Registry.delete!(KV.Registry, "never created")
      :error
  """
  @doc since: "0.2.0"
  @spec delete!(t, name, timeout | [KV.Bucket.call_option()]) :: :ok | :error
  def delete!(registry, name, timeout \\ 5_000), do: ok!(delete(registry, name, timeout))

  @doc """
  As `put_meta/4`, but raises `KV.Error` instead of returning `{:error, reason}`.

  ## Examples

      iex> KV.Registry.put_meta!(KV.Registry, "never created", :public)
      :error
  """
  @doc since: "0.2.0"
  @spec put_meta!(t, name, term, timeout | [KV.Bucket.call_option()]) :: :ok | :error
  def put_meta!(registry, name, meta, timeout \\ 5_000), do: ok!(put_meta(registry, name, meta, timeout))

  defp ok!({:error, reason}), do: raise(KV.Error, reason: reason)
  defp ok!(answer), do: answer
end
