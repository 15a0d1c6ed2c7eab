defmodule KV.BucketSupervisor do
  @moduledoc """
  The supervisor of buckets: a `DynamicSupervisor` whose children are the local proxies of native buckets.

  `start_bucket/2` starts every bucket as `:temporary`, whether or not it has a name, because an empty successor would hide
  that the values are gone. `DynamicSupervisor.start_child/2` follows the child specification, where a bucket with a name is
  `:permanent`.

      iex> {:ok, bucket} = DynamicSupervisor.start_child(KV.BucketSupervisor, KV.Bucket)
      iex> KV.Bucket.put(bucket, "eggs", 3)
      :ok
      iex> KV.Bucket.get(bucket, "eggs")
      3
  """

  # The children have shutdown times of their own.
  use DynamicSupervisor, shutdown: :infinity

  @doc """
  Starts a bucket supervisor under the local name `:name`, by default `KV.BucketSupervisor`.

  With `name: nil` the supervisor has no name. Returns `{:error, {:bad_option, key, text}}` for any other option.
  """
  @doc since: "0.1.0"
  @spec start_link(name: atom) :: Supervisor.on_start()
  def start_link(options \\ []) do
    case :kv_start_options.only_name(options) do
      {:ok, %{name: nil}} ->
        DynamicSupervisor.start_link(__MODULE__, :ok)

      {:ok, checked} ->
        DynamicSupervisor.start_link(__MODULE__, :ok, name: Map.get(checked, :name, __MODULE__))

      error ->
        error
    end
  end

  @doc """
  Starts a bucket below the supervisor of the application.

  ## Examples

      iex> {:ok, bucket} = KV.BucketSupervisor.start_bucket()
      iex> KV.Bucket.size(bucket)
      0
  """
  @doc since: "0.1.0"
  @spec start_bucket() :: {:ok, KV.Bucket.proxy()} | {:error, term}
  def start_bucket, do: start_bucket(__MODULE__, [])

  @doc """
  Starts a bucket with options below the supervisor of the application, or a bucket without options below the given
  supervisor.
  """
  @doc since: "0.1.0"
  @spec start_bucket(KV.Bucket.options() | Supervisor.supervisor()) ::
          {:ok, KV.Bucket.proxy()} | {:error, term}
  def start_bucket(options) when is_list(options) or is_map(options), do: start_bucket(__MODULE__, options)
  def start_bucket(supervisor), do: start_bucket(supervisor, [])

  @doc """
  Starts a bucket below a supervisor. The options are those of `KV.Bucket.start_link/1`.

  The bucket is always `:temporary`; the option `:restart` has no effect. Returns `{:ok, pid}` with the pid of the proxy, or
  `{:error, reason}`.
  """
  @doc since: "0.1.0"
  @spec start_bucket(Supervisor.supervisor(), KV.Bucket.options()) ::
          {:ok, KV.Bucket.proxy()} | {:error, term}
  def start_bucket(supervisor, options) do
    spec = Supervisor.child_spec({KV.Bucket, options}, restart: :temporary)

    case DynamicSupervisor.start_child(supervisor, spec) do
      {:ok, pid} -> {:ok, pid}
      {:error, reason} -> {:error, reason}
    end
  end

  # The function with which a registry starts its buckets. The registry adds the options of the bucket as the last argument.
  @doc false
  @spec starter(Supervisor.supervisor()) :: {module, atom, [term]}
  def starter(supervisor), do: {__MODULE__, :start_bucket, [supervisor]}

  # A DynamicSupervisor is always one_for_one. Buckets are temporary, so the intensity counts only for those that a user
  # makes permanent. More than 3 of them ending in 5 s take the store down, as with any supervisor.
  @impl true
  @spec init(:ok) :: {:ok, DynamicSupervisor.sup_flags()}
  def init(:ok), do: DynamicSupervisor.init(strategy: :one_for_one, max_restarts: 3, max_seconds: 5)
end
