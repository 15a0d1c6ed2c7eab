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
    * `:fill`, `:id`, `:restart`, `:shutdown` - as for `KV.Bucket`.
  """
  @type option ::
          {:name, GenServer.name()}
          | {:buckets, Supervisor.supervisor()}
          | {:event_manager, pid | atom | {atom, node}}
          | {:node, atom}
          | {:on_node_down, :stay | :exit}
          | {:fill, {module, atom, [term]} | nil}
          | {:id, term}
          | {:restart, :permanent | :transient | :temporary}
          | {:shutdown, timeout | :brutal_kill}

  @doc """
  Starts an empty registry, linked to the caller.

  Takes a list of options; or an atom, which is short for `name: atom`; or the pid of an event manager, which is short for
  `event_manager: pid`.

  Returns `{:ok, pid}`, or `{:error, reason}` with one of the reasons of `KV.Bucket.start_link/1`.

  ## Examples

      iex> {:ok, registry} = KV.Registry.start_link()
      iex> KV.Registry.lookup(registry, "shopping")
      :error
      iex> KV.Registry.start_link(bukets: KV.BucketSupervisor)
      {:error, {:bad_option, :bukets, "there is no option bukets; did you mean buckets?"}}
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

  ## Examples

      iex> KV.Registry.lookup(KV.Registry, "never created")
      :error
      iex> KV.Registry.lookup(KV.Registry, :an_atom)
      {:error, {:bad_name, :an_atom}}
  """
  @doc since: "0.1.0"
  @spec lookup(t, name, timeout | [KV.Bucket.call_option()]) ::
          {:ok, KV.Bucket.native()} | :error | {:error, {:bad_name, term}}
  def lookup(registry, name, timeout \\ 5_000), do: :kv_registry.lookup(registry, name, timeout)

  @doc """
  Creates a bucket with this name, unless there is one already.

  Once `create/3` has returned `:ok`, any process that looks up the name finds the bucket. Returns
  `{:error, {:bad_name, name}}` if the name is not a binary, `{:error, {:name_too_long, bytes}}` if it is longer than 64 KiB,
  and `{:error, reason}` if the bucket supervisor could not start a bucket. `GenServer.call(registry, {:create, name})`
  returns the pid at once.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "camping")
      :ok
      iex> {:ok, bucket} = KV.Registry.lookup(KV.Registry, "camping")
      iex> KV.Registry.create(KV.Registry, "camping")
      :ok
      iex> KV.Registry.lookup(KV.Registry, "camping") == {:ok, bucket}
      true
  """
  @doc since: "0.1.0"
  @spec create(t, name, timeout | [KV.Bucket.call_option()]) :: :ok | {:error, term}
  def create(registry, name, timeout \\ 5_000), do: :kv_registry.create(registry, name, timeout)

  @doc """
  Returns all names, in no particular order. Exits with `{{:too_large, bytes}, _}` if they take more than 256 MiB.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "party")
      iex> "party" in KV.Registry.names(KV.Registry)
      true
  """
  @doc since: "0.1.0"
  @spec names(t, timeout | [KV.Bucket.call_option()]) :: [name]
  def names(registry, timeout \\ 5_000), do: :kv_registry.names(registry, timeout)

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
end
