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

  ## Looking at it

  `tree/1`, `top/1` and `info/1` show what runs, from any connected shell; `:observer.start()` does with windows.

  ## Settings

  The application environment of `:kv` holds the options of `KV.Node`, which lists them:

      config :kv, ping_timeout: 2_000, log_level: :info

  Nothing has to be set. `KV.Supervisor` can be a child of your own supervisor instead, with options given
  there; have the application loaded but not started then (`runtime: false`).
  """

  use Application

  @typedoc """
  What is known of a running application and its C node.

    * `:version` - of the application. Not there when the C node was asked by its own name.
    * `:node` - as `KV.Node.info/1` has it; its name only when the C node was asked by its own name.
    * `:local_reads` - which way reads take from the VM that runs kv, for each node that it has called: `:on`, or `{:off, why}`
      where they go by message. The reasons are in docs/local-reads.md. Not there when the C node was asked by its own name.
    * `:processes`, `:buckets`, `:registries` - how many there are on the node.
    * `:names` - how many the registries have, all together.
    * `:memory` - bytes of all these processes; `:operations` - what they have done; `:queue` - requests that wait,
      since their processes are suspended.
  """
  @type info :: %{
          optional(:version) => String.t(),
          optional(:local_reads) => %{node => :on | {:off, term}},
          node: KV.Node.info() | %{name: node},
          processes: non_neg_integer,
          buckets: non_neg_integer,
          registries: non_neg_integer,
          names: non_neg_integer,
          memory: non_neg_integer,
          operations: non_neg_integer,
          queue: non_neg_integer
        }

  @typedoc """
  What is known of one native process.

    * `:pid` - its native pid; `:owner` - its proxy, unless it was made otherwise.
    * `:kind` - `:bucket`, `:registry`, or `:service` for what else is on the node.
    * `:name` - of a bucket, as a binary; or what the process is registered under on its node; or `:undefined`.
    * `:size` - the keys of a bucket, the names of a registry; `:undefined` for a service, or when it did not answer.
    * `:memory` - bytes; `:operations` - what it has done.
    * `:queue` - requests that wait, since it is `:suspended`.
    * `:links`, `:monitors`, `:monitored_by` - how many of each.
  """
  @type process_info :: %{
          pid: pid,
          kind: :bucket | :registry | :service,
          name: String.t() | atom,
          owner: pid | :undefined,
          size: non_neg_integer | :undefined,
          memory: non_neg_integer,
          operations: non_neg_integer,
          queue: non_neg_integer,
          suspended: boolean,
          links: non_neg_integer,
          monitors: non_neg_integer,
          monitored_by: non_neg_integer
        }

  @typedoc """
  An option of `processes/1`, `top/1` or `tree/1`.

    * `:node` - a VM that runs kv, or a C node. Default: this VM, or, where kv does not run, all connected ones that
      run it.
    * `:by` - `:memory`, `:operations` or `:queue`: what `processes/1` and `top/1` go by. Default: `:memory`.
    * `:limit` - how many processes they show; in `tree/1` how many children of one process. Default: 20.
    * `:colours` - whether `top/1` and `tree/1` print with colours. Default: `IO.ANSI.enabled?/0`.
  """
  @type option ::
          {:node, node}
          | {:by, :memory | :operations | :queue}
          | {:limit, pos_integer}
          | {:colours, boolean}

  @doc """
  What is known of what runs, in one map.

  It is about the node that buckets use by default. All its processes are counted, which takes some 200 ms for
  100,000 buckets; the node goes on serving meanwhile.

  Exits with `:noproc` when kv runs neither here nor on a connected node.

  ## Examples

      iex> info = KV.info()
      iex> info.node.name == KV.Node.name()
      true
      iex> Enum.sort(Map.keys(info))
      [:buckets, :local_reads, :memory, :names, :node, :operations, :processes, :queue, :registries, :version]
      iex> info.local_reads[KV.Node.name()]
      {:off, :not_wanted}
  """
  @doc since: "0.1.0"
  @spec info() :: info
  def info, do: :kv.info()

  @doc """
  What is known of a bucket, a registry, a node or a VM.

  A bucket or a registry is given by its native pid, its proxy, or any name a `GenServer` can have. It is looked at from
  outside: a suspended one answers, too.

  A node is given by the local name of its `KV.Node` or by its own name, a VM by its name. See `t:info/0` and
  `t:process_info/0` for what there is to know.

  Exits with `:noproc` when there is no such process, with `{:nodedown, node}` when its node can't be reached. Raises
  an `ArgumentError` when it is no bucket, registry or node.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "looked at")
      iex> {:ok, bucket} = KV.Registry.lookup(KV.Registry, "looked at")
      iex> KV.Bucket.put(bucket, "eggs", 3)
      iex> info = KV.info(bucket)
      iex> {info.kind, info.name, info.size, info.operations, info.queue, info.suspended}
      {:bucket, "looked at", 1, 1, 0, false}
      iex> info.pid == bucket
      true
      iex> KV.info(info.owner) == info
      true
      iex> KV.info(KV.Registry).kind
      :registry
      iex> KV.info(KV.Node).node.name == KV.Node.name()
      true
  """
  @doc since: "0.1.0"
  @spec info(KV.Bucket.t() | node) :: info | process_info
  def info(target), do: :kv.info(target)

  @doc """
  The native processes that have most memory, or operations, or the longest queue, most of it first.

  Options: `:node`, `:by`, `:limit`; see `t:option/0`. `{:error, {:bad_option, key}}` names one that is wrong.

  All processes are gone through on the C node, in chunks; only those that are returned are described.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "largest")
      iex> {:ok, bucket} = KV.Registry.lookup(KV.Registry, "largest")
      iex> KV.Bucket.put(bucket, :value, String.duplicate("a", 1_000_000))
      iex> bucket in Enum.map(KV.processes(by: :memory), & &1.pid)
      true
      iex> KV.processes(by: :colour)
      {:error, {:bad_option, :by}}
  """
  @doc since: "0.1.0"
  @spec processes([option]) :: [process_info] | {:error, {:bad_option, term}}
  def processes(options \\ []), do: :kv.processes(options)

  @doc """
  Prints the processes that `processes/1` returns, as a table.

  Options: `:node`, `:by`, `:limit`, `:colours`; see `t:option/0`. Returns `:ok`, or `{:error, {:bad_option, key}}`.

      KV.top(by: :operations, limit: 2)
      kv_app@127.0.0.1: 4 processes, of them 1 bucket; 3.6 KiB, 5 operations; by operations
      pid          kind      size   memory  operations  queue  links  monitors  name
      <12345.3.0>  registry     1   1008 B           4      0      0         4  KV.Registry
      <12345.4.0>  bucket       1  1.5 KiB           1      0      0         3  "shopping"
      :ok

  It prints to the group leader of the caller: a call by `:erpc` or in a remote shell prints where it was made.
  """
  @doc since: "0.1.0"
  @spec top([option]) :: :ok | {:error, {:bad_option, term}}
  def top(options \\ []), do: options |> coloured() |> :kv.top()

  @doc """
  Prints the tree of what runs, across both nodes.

  First the supervisors with what is below them, each proxy beside the native process that it stands for, with name, size
  and memory; then what else is on the C node, below the processes that own it.

  Options: `:node`, `:limit`, `:colours`; see `t:option/0`. The name of a node can be given instead of options. Returns
  `:ok`, or `{:error, {:bad_option, key}}`.

  Of more than 20 children of one process, or `:limit`, the first 20 are shown, and how many more there are.

      KV.tree()
      app@127.0.0.1
      └── KV.Supervisor <0.213.0>, 2 children
          ├── KV.EventManager <0.214.0>
          └── KV.NodeSupervisor <0.215.0>, 2 children
              ├── KV.Node <0.216.0> ══ kv_app@127.0.0.1, version 0.1.0, OS process 4711, up 2.4 s
              └── KV.StoreSupervisor <0.229.0>, 2 children
                  ├── KV.BucketSupervisor <0.230.0>, 1 child
                  │   └── <0.235.0> ══ <12345.4.0> bucket "shopping", 1 key, 1.5 KiB
                  └── <0.231.0> ══ <12345.3.0> registry KV.Registry, 1 name, 1008 B

      kv_app@127.0.0.1, besides: 2 processes, 1.1 KiB
      ├── <12345.1.0> net_kernel, 545 B
      └── <12345.2.0> rex, 545 B
      :ok

  Exits as `info/1` does. It prints to the group leader of the caller: a call by `:erpc` or in a remote shell prints
  where it was made.
  """
  @doc since: "0.1.0"
  @spec tree([option] | node) :: :ok | {:error, {:bad_option, term}}
  def tree(options_or_node \\ [])
  def tree(node) when is_atom(node), do: tree(node: node)
  def tree(options), do: options |> coloured() |> :kv.tree()

  defp coloured(options) when is_list(options), do: [{:colours, IO.ANSI.enabled?()} | options]
  defp coloured(options) when is_map(options), do: Map.put_new(options, :colours, IO.ANSI.enabled?())
  defp coloured(options), do: options

  @doc false
  @impl true
  @spec start(Application.start_type(), term) :: {:ok, pid} | {:error, term}
  def start(_type, _args), do: KV.Supervisor.start_link([])

  @doc false
  @impl true
  @spec stop(term) :: :ok
  def stop(_state), do: :kv_distribution.stop()
end
