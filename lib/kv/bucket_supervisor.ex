defmodule KV.BucketSupervisor do
  @moduledoc """
  The supervisor of buckets: a `DynamicSupervisor` whose children are the local proxies of native buckets.

  Buckets are `:temporary`: what a bucket held is gone with it, and an empty one in its place would hide that.

      iex> {:ok, bucket} = DynamicSupervisor.start_child(KV.BucketSupervisor, KV.Bucket)
      iex> KV.Bucket.put(bucket, "eggs", 3)
      :ok
      iex> KV.Bucket.get(bucket, "eggs")
      3
  """

  # Nothing below is restarted, so the intensity of its own restarts is that of KV.StoreSupervisor.
  use DynamicSupervisor

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

  Returns `{:ok, pid}` with the pid of the proxy, or `{:error, reason}`.
  """
  @doc since: "0.1.0"
  @spec start_bucket(Supervisor.supervisor(), KV.Bucket.options()) ::
          {:ok, KV.Bucket.proxy()} | {:error, term}
  def start_bucket(supervisor, options) do
    case DynamicSupervisor.start_child(supervisor, {KV.Bucket, options}) do
      {:ok, pid} -> {:ok, pid}
      {:error, reason} -> {:error, reason}
    end
  end

  # What a registry is told to make its buckets with: the options of a bucket come as one argument more.
  @doc false
  @spec starter(Supervisor.supervisor()) :: {module, atom, [term]}
  def starter(supervisor), do: {__MODULE__, :start_bucket, [supervisor]}

  @impl true
  def init(:ok), do: DynamicSupervisor.init(strategy: :one_for_one)
end
