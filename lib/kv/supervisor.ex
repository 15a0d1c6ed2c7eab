defmodule KV.Supervisor do
  @moduledoc """
  The supervision tree of `KV`, which the application starts by itself.

  To have it in a tree of your own, keep the application from starting (`runtime: false` for the dependency)
  and make it a child:

      children = [{KV.Supervisor, ping_timeout: 2_000}]
      Supervisor.start_link(children, strategy: :one_for_one)

  Its processes have fixed local names, so there is one such tree in a VM. Registries and buckets besides it
  are started with `KV.Registry.start_link/1` and `KV.Bucket.start_link/1`, any number of them.
  """

  @typedoc """
  An option of `KV.Node`, or `:name`: the local name of the supervisor, `KV.Supervisor` by default.
  """
  @type option :: {:name, atom} | KV.Node.option()

  @doc """
  Starts the tree. All of it is running when this returns.

  Options that are not given are taken from the application environment of `:kv`.

  Returns `{:ok, pid}`, or `{:error, reason}` with the plain reason: `{:already_started, pid}`,
  `{:bad_option, key}`, or one of those that `KV.Node` lists.

  ## Examples

      iex> {:error, {:already_started, pid}} = KV.Supervisor.start_link()
      iex> pid == Process.whereis(KV.Supervisor)
      true
      iex> KV.Supervisor.start_link(ticktime: "a minute", name: KV.SecondSupervisor)
      {:error, {:bad_option, :ticktime}}
  """
  @doc since: "0.1.0"
  @spec start_link([option]) :: {:ok, pid} | {:error, term}
  def start_link(options \\ []) when is_list(options) do
    {name, node_options} = Keyword.pop(options, :name, __MODULE__)
    :kv_sup.start_link(config(name, node_options))
  end

  @doc """
  A child specification.
  """
  @doc since: "0.1.0"
  @spec child_spec([option]) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: Keyword.get(options, :name, __MODULE__),
      start: {__MODULE__, :start_link, [options]},
      type: :supervisor,
      # Its children's own times to shut down add up below it.
      shutdown: :infinity
    }
  end

  defp config(name, node_options) do
    %{
      supervisor: name,
      event_manager: KV.EventManager,
      node_supervisor: KV.NodeSupervisor,
      node: KV.Node,
      store_supervisor: KV.StoreSupervisor,
      bucket_supervisor: KV.BucketSupervisor,
      registry: KV.Registry,
      bucket_supervisor_spec: KV.BucketSupervisor.child_spec([]),
      start_bucket: KV.BucketSupervisor.starter(KV.BucketSupervisor),
      node_options: Keyword.merge(:kv_config.node_options(), node_options)
    }
  end
end
