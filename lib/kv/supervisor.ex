defmodule KV.Supervisor do
  @moduledoc """
  The supervision tree of `KV`. The application starts it.

  To put it into a tree of your own, include the application `kv` in yours, so that it is loaded and not started, and make
  `KV.Supervisor` a child:

      # mix.exs
      def application do
        [mod: {MyApp.Application, []}, extra_applications: [:logger], included_applications: [:kv]]
      end

      # lib/my_app/application.ex
      children = [{KV.Supervisor, ping_timeout: 2_000}]
      Supervisor.start_link(children, strategy: :one_for_one)

  `mix run`, `mix test` and a release follow this. Only one application of a release may include `kv`. If several use `kv`,
  give each of them the dependency with `runtime: false` instead, and have the release load it:

      releases: [my_app: [applications: [kv: :load]]]

  Without that line the release lacks the code of `kv`, and does not boot.

  The processes of the tree have fixed local names, so a VM has only one such tree. Start any number of further registries and
  buckets with `KV.Registry.start_link/1` and `KV.Bucket.start_link/1`.
  """

  @typedoc """
  An option of `KV.Node`, or one of these:

    * `:name` - the local name of the supervisor, `KV.Supervisor` by default.
    * `:registry` - options of `KV.Registry`: `[durable: :commit]` makes it durable. See the section "Durable registries" of
      `KV.Registry`. In a VM that attaches to a node, the registry belongs to the node; `[owner: :vm]` changes that.
  """
  @type option ::
          {:name, atom}
          | {:registry, [{:durable, false | :commit | :interval} | {:owner, :vm | :node}]}
          | KV.Node.option()

  @doc """
  Starts the tree, and returns once all of it is running.

  Takes options that are not given from the application environment of `:kv`.

  Returns `{:ok, pid}`, or `{:error, reason}`. The reason is not wrapped by the supervisors in between:
  `{:already_started, pid}`, or one of the reasons that `KV.Node` lists.

  ## Examples

      iex> {:error, {:already_started, pid}} = KV.Supervisor.start_link()
      iex> pid == Process.whereis(KV.Supervisor)
      true
      iex> KV.Supervisor.start_link(ticktime: "a minute", name: KV.SecondSupervisor)
      {:error, {:bad_option, :ticktime, ~s(ticktime must be 1 to 86400 seconds, and is <<"a minute">>)}}
  """
  @doc since: "0.1.0"
  @spec start_link([option]) :: {:ok, pid} | {:error, term}
  def start_link(options \\ []) do
    {name, others} = :kv_start_options.split_name(options, __MODULE__)
    {registry_options, node_options} = :kv_config.split_registry(others)
    :kv_sup.start_link(config(name, node_options, registry_options))
  end

  @doc """
  Returns a child specification.
  """
  @doc since: "0.1.0"
  @spec child_spec([option]) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: :kv_start_options.child_id(options, __MODULE__),
      start: {__MODULE__, :start_link, [options]},
      type: :supervisor,
      # The children have shutdown times of their own.
      shutdown: :infinity
    }
  end

  defp config(name, node_options, registry_options) do
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
      node_options: :kv_config.node_options(node_options),
      registry_options: registry_options
    }
  end
end
