defmodule KV do
  @moduledoc """
  Key-value buckets, and a registry that finds them by name, as native processes of a C node.

  A bucket is a process like any other: it has a pid, it is called, linked, monitored, killed, suspended and
  looked into as if it were written in Elixir. It runs in an operating system process of its own, though: a
  node of the cluster, written in C, that the application starts, watches and stops.

      iex> KV.Registry.create(KV.Registry, "shopping in KV")
      :ok
      iex> {:ok, bucket} = KV.Registry.lookup(KV.Registry, "shopping in KV")
      iex> KV.Bucket.put(bucket, "eggs", 3)
      :ok
      iex> KV.Bucket.get(bucket, "eggs")
      3
      iex> node(bucket) == KV.Node.name()
      true

  ## The supervision tree

      KV.Supervisor                   one_for_one
      ├── KV.EventManager             hears of every bucket that comes and goes
      └── KV.NodeSupervisor           rest_for_one
          ├── KV.Node                 owns the C program
          └── KV.StoreSupervisor      one_for_all
              ├── KV.BucketSupervisor one proxy for each bucket
              └── KV.Registry         the proxy of the native registry

  ## Settings

  The application environment of `:kv` holds the options of `KV.Node`, which lists them:

      config :kv, ping_timeout: 2_000, log_level: :info

  Nothing has to be set. `KV.Supervisor` can be a child of your own supervisor instead, with options given
  there; have the application loaded but not started then (`runtime: false`).
  """

  use Application

  @typedoc """
  What `info/0` tells: the version of the application, the C node as `KV.Node.info/1` describes it, how many
  names the registry holds and how many buckets the bucket supervisor.
  """
  @type info :: %{
          version: String.t(),
          node: KV.Node.info(),
          names: non_neg_integer,
          buckets: non_neg_integer
        }

  @doc """
  What is known of the running application, in one map.

  Exits with `:noproc` when the application is not running.

  ## Examples

      iex> info = KV.info()
      iex> info.node.name == KV.Node.name()
      true
      iex> Enum.sort(Map.keys(info))
      [:buckets, :names, :node, :version]
  """
  @doc since: "0.1.0"
  @spec info() :: info
  def info do
    %{
      version: version(),
      node: KV.Node.info(),
      names: length(KV.Registry.names(KV.Registry)),
      buckets: DynamicSupervisor.count_children(KV.BucketSupervisor).active
    }
  end

  defp version do
    {:ok, vsn} = :application.get_key(:kv, :vsn)
    to_string(vsn)
  end

  @doc false
  @impl true
  @spec start(Application.start_type(), term) :: {:ok, pid} | {:error, term}
  def start(_type, _args), do: KV.Supervisor.start_link([])

  @doc false
  @impl true
  @spec stop(term) :: :ok
  def stop(_state), do: :kv_distribution.stop()
end
