defmodule KV.BucketSupervisor do
  @moduledoc """
  The supervisor of buckets: a `DynamicSupervisor` whose children are the local proxies of native buckets.

  `start_bucket` starts every bucket as `:temporary`, with or without a name: an empty one in its place would hide that its
  values are gone. `DynamicSupervisor.start_child/2` does as the child specification says: a bucket with a name is
  `:permanent` there.

      iex> {:ok, bucket} = DynamicSupervisor.start_child(KV.BucketSupervisor, KV.Bucket)
      iex> KV.Bucket.put(bucket, "eggs", 3)
      :ok
      iex> KV.Bucket.get(bucket, "eggs")
      3
  """

  # A supervisor waits as long as its children's own times to shut down add up to.
  use DynamicSupervisor, shutdown: :infinity

  @doc """
  Starts a bucket supervisor under the local name `:name`, by default `KV.BucketSupervisor`.

  With `name: nil` it has none.
  """
  @doc since: "0.1.0"
  @spec start_link(name: atom) :: Supervisor.on_start()
  def start_link(options \\ []) do
    case Keyword.get(options, :name, __MODULE__) do
      nil -> DynamicSupervisor.start_link(__MODULE__, :ok)
      name -> DynamicSupervisor.start_link(__MODULE__, :ok, name: name)
    end
  end

  @doc """
  Starts a bucket in the supervisor of the application.

  ## Examples

      iex> {:ok, bucket} = KV.BucketSupervisor.start_bucket()
      iex> KV.Bucket.size(bucket)
      0
  """
  @doc since: "0.1.0"
  @spec start_bucket() :: {:ok, KV.Bucket.proxy()} | {:error, term}
  def start_bucket, do: start_bucket(__MODULE__, [])

  @doc """
  Starts a bucket with options, in the supervisor of the application, or one without options in the given
  supervisor.
  """
  @doc since: "0.1.0"
  @spec start_bucket(KV.Bucket.options() | Supervisor.supervisor()) ::
          {:ok, KV.Bucket.proxy()} | {:error, term}
  def start_bucket(options) when is_list(options), do: start_bucket(__MODULE__, options)
  def start_bucket(supervisor), do: start_bucket(supervisor, [])

  @doc """
  Starts a bucket in a supervisor. The options are those of `KV.Bucket.start_link/1`.

  The bucket is `:temporary`, whatever its options say. Returns `{:ok, pid}` with the pid of the proxy, or
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

  # What a registry is told to make its buckets with: the options of a bucket come as one argument more.
  @doc false
  @spec starter(Supervisor.supervisor()) :: {module, atom, [term]}
  def starter(supervisor), do: {__MODULE__, :start_bucket, [supervisor]}

  # one_for_one is what a DynamicSupervisor has. Buckets are temporary, so its intensity counts only for those that a
  # user makes permanent: more than 3 of them ending in 5 s takes the store down, like any supervisor's children.
  @impl true
  @spec init(:ok) :: {:ok, DynamicSupervisor.sup_flags()}
  def init(:ok), do: DynamicSupervisor.init(strategy: :one_for_one, max_restarts: 3, max_seconds: 5)
end
