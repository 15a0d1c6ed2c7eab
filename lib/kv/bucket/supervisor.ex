defmodule KV.Bucket.Supervisor do
  @moduledoc """
  `KV.BucketSupervisor` by the name that it has in the guide's editions up to Elixir 1.4.

  `start_link/0` starts one without a name.
  """

  @doc """
  Starts a bucket supervisor, with the local name `:name` if one is given.

  ## Examples

      iex> {:ok, supervisor} = KV.Bucket.Supervisor.start_link()
      iex> {:ok, bucket} = KV.Bucket.Supervisor.start_bucket(supervisor)
      iex> KV.Bucket.put(bucket, "eggs", 3)
      :ok
  """
  @doc since: "0.1.0"
  @spec start_link(name: atom) :: Supervisor.on_start()
  def start_link(options \\ []) do
    KV.BucketSupervisor.start_link(name: Keyword.get(options, :name))
  end

  @doc """
  See `KV.BucketSupervisor.start_bucket/1`.
  """
  @doc since: "0.1.0"
  @spec start_bucket(Supervisor.supervisor()) :: {:ok, KV.Bucket.proxy()} | {:error, term}
  def start_bucket(supervisor \\ KV.BucketSupervisor), do: KV.BucketSupervisor.start_bucket(supervisor, [])
end
