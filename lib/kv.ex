defmodule KV do
  @moduledoc """
  Key-value buckets, and a registry that finds them by name, as native processes of a C node.

  A bucket is a process like any other: it has a pid, and you can call it, link to it, monitor, kill, suspend and inspect it
  as if it were written in Elixir. But it runs in another operating system process: a node of the cluster, written in C, that
  the application starts, watches and stops.

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
      ├── KV.EventManager             gets an event for every bucket that is created or ends
      └── KV.NodeSupervisor           rest_for_one
          ├── KV.Node                 owns the C program
          └── KV.StoreSupervisor      one_for_all; one_for_one with a durable or a shared registry
              ├── KV.BucketSupervisor one proxy for each bucket
              └── KV.Registry         the proxy of the native registry

  ## Looking inside

  `tree/1`, `top/1` and `info/1` show the processes from any connected shell, and `:observer.start()` shows them in windows.

  `backup/2` copies the durable buckets of a node that runs.

  ## Configuration

  All options have defaults. `KV.Node` lists the options that the application environment of `:kv` may hold:

      config :kv, ping_timeout: 2_000, log_level: :info

  `registry: [durable: :commit]` makes the registry durable: see `KV.Registry`.

  Alternatively, make `KV.Supervisor` a child of your own supervisor and give the options there. `KV.Supervisor` says how
  your application and its release then load `:kv` without starting it.
  """

  use Application

  @typedoc """
  A running application and its C node. If you give the name of the C node, `info/1` does not ask the VM that owns it. The
  map then has no `:version` and no `:local_reads`, and `:node` has only the name.

    * `:version` - the version of the application.
    * `:node` - the map that `KV.Node.info/1` returns.
    * `:local_reads` - for each node that the VM has called, `:on` if the VM reads buckets from shared memory, or
      `{:off, why}` if it reads by message. docs/local.md lists the reasons.
    * `:processes`, `:buckets`, `:registries` - how many of them are on the node.
    * `:names` - how many names all registries have together.
    * `:memory` - the bytes of all buckets that count against `:max_memory`: pages of 4 KiB of entries and indexes.
    * `:max_memory` - the limit of the node, given or by default.
    * `:operations` - how many operations they have performed.
    * `:queue` - how many requests wait because their processes are suspended.

  The figures from `:processes` on are missing while a node to which the VM is attached is away: `info.node.state` tells.
  """
  @type info :: %{
          optional(:version) => String.t(),
          optional(:local_reads) => %{node => :on | {:off, term}},
          optional(:processes) => non_neg_integer,
          optional(:buckets) => non_neg_integer,
          optional(:registries) => non_neg_integer,
          optional(:names) => non_neg_integer,
          optional(:memory) => non_neg_integer,
          optional(:max_memory) => pos_integer,
          optional(:operations) => non_neg_integer,
          optional(:queue) => non_neg_integer,
          node: KV.Node.info() | %{name: node}
        }

  @typedoc """
  One native process.

    * `:pid` - its native pid.
    * `:owner` - its proxy, or the process that started it without one. `:node` for one that belongs to its node, and that
      several VMs may share.
    * `:kind` - `:bucket`, `:registry`, or `:service` for any other process of the node.
    * `:name` - the name of a bucket, a binary; or the atom under which the process is registered on its node; or
      `nil`.
    * `:size` - the number of keys of a bucket, or of names of a registry. `nil` for a service, and for a process that
      did not answer.
    * `:memory` - of a bucket, the bytes of its entries and their index, which count against its `:max_memory`; of any
      other process, all that it takes.
    * `:max_memory` - the limit that the bucket was started with, or `:infinity`. Only buckets have it.
    * `:durable` - the option of the bucket: `false`, `:commit` or `:interval`. Only buckets have it.
    * `:overhead` - the bytes that a bucket takes besides: the process itself, and space for entries that is not in use.
      Only buckets have it.
    * `:operations` - how many operations it has performed.
    * `:queue` - how many requests wait because the process is `:suspended`.
    * `:links`, `:monitors`, `:monitored_by` - how many of each.
  """
  @type process_info :: %{
          optional(:max_memory) => pos_integer | :infinity,
          optional(:durable) => false | :commit | :interval,
          optional(:overhead) => non_neg_integer,
          pid: pid,
          kind: :bucket | :registry | :service,
          name: String.t() | atom,
          owner: pid | :node | nil,
          size: non_neg_integer | nil,
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

    * `:node` - a VM that runs kv, or a C node. Default: this VM if kv runs here, otherwise all connected VMs that run kv.
    * `:by` - `:memory`, `:operations` or `:queue`: the order of `processes/1` and `top/1`. Default: `:memory`.
    * `:limit` - how many processes `processes/1` and `top/1` show, and how many children of one process `tree/1` shows.
      Default: 20.
    * `:colours` - whether `top/1` and `tree/1` print with colours. Default: `IO.ANSI.enabled?/0`.
  """
  @type option ::
          {:node, node}
          | {:by, :memory | :operations | :queue}
          | {:limit, pos_integer}
          | {:colours, boolean}

  @doc """
  Returns a map about the application and the node that buckets use by default.

  Counts all processes of the node, which takes about 200 ms for 100,000 buckets. The node serves other requests
  meanwhile.

  Exits with `:noproc` if kv runs neither here nor on a connected node.

  ## Examples

      iex> info = KV.info()
      iex> info.node.name == KV.Node.name()
      true
      iex> Enum.sort(Map.keys(info))
      [:buckets, :local_reads, :max_memory, :memory, :names, :node, :operations, :processes, :queue, :registries, :version]
      iex> info.local_reads[KV.Node.name()]
      {:off, :not_wanted}
  """
  @doc since: "0.1.0"
  @spec info() :: info
  def info, do: elixir(:kv.info())

  @doc """
  Returns a map about a bucket, a registry, a node or a VM.

  A bucket or a registry is given by its native pid, its proxy, or any name that a `GenServer` can have. The node answers for
  the process, so this works for suspended processes, too. The result is a `t:process_info/0`.

  A node is given by the local name of its `KV.Node` or by its own name, and a VM by its name. The result is a `t:info/0`.

  Exits with `:noproc` if there is no such process, and with `{:nodedown, node}` if its node cannot be reached. Raises an
  `ArgumentError` if the process is neither a bucket nor a registry.

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
  def info(target), do: target |> :kv.info() |> elixir()

  @doc """
  Returns the native processes with the most memory, the most operations, or the longest queue, in descending order.

  Options: `:node`, `:by`, `:limit`; see `t:option/0`. Returns `{:error, {:bad_option, key, text}}` if one is wrong.

  The C node goes through all of its processes in chunks, and describes only those that are returned.

  ## Examples

      iex> KV.Registry.create(KV.Registry, "largest")
      iex> {:ok, bucket} = KV.Registry.lookup(KV.Registry, "largest")
      iex> KV.Bucket.put(bucket, :value, String.duplicate("a", 1_000_000))
      iex> bucket in Enum.map(KV.processes(by: :memory), & &1.pid)
      true
      iex> KV.processes(by: :colour)
      {:error, {:bad_option, :by, "by must be memory, operations or queue, and is colour"}}
  """
  @doc since: "0.1.0"
  @spec processes([option]) :: [process_info] | {:error, {:bad_option, term, String.t()}}
  def processes(options \\ []) do
    with processes when is_list(processes) <- :kv.processes(options), do: Enum.map(processes, &elixir/1)
  end

  @doc """
  Prints the processes that `processes/1` returns, in a table.

  Options: `:node`, `:by`, `:limit`, `:colours`; see `t:option/0`. Returns `:ok`, or `{:error, {:bad_option, key, text}}`.

      KV.top(by: :operations, limit: 2)
      kv_app@127.0.0.1: 4 processes, of them 1 bucket; 2.6 KiB, 6 operations; by operations
      pid          kind      size   memory  operations  queue  links  monitors  name
      <12345.3.0>  registry     1  1.3 KiB           4      0      0         4  KV.Registry
      <12345.4.0>  bucket       1     80 B           1      0      0         3  "shopping"
      :ok

  Prints to the group leader of the caller. A call by `:erpc` or in a remote shell prints where the call was made.
  """
  @doc since: "0.1.0"
  @spec top([option]) :: :ok | {:error, {:bad_option, term, String.t()}}
  def top(options \\ []), do: options |> coloured() |> :kv.top()

  @doc """
  Prints the tree of processes, across the VM and its C node.

  The first part shows the supervisors and their children. Each proxy stands beside its native process, with name, size and
  memory. The second part shows the other processes of the C node, below the processes that own them.

  Options: `:node`, `:limit`, `:colours`; see `t:option/0`. The name of a node can be given instead of options. Returns
  `:ok`, or `{:error, {:bad_option, key, text}}`.

  If a process has more than 20 children (see `:limit`), the tree shows the first 20 and the number of the others.

      KV.tree()
      app@127.0.0.1
      └── KV.Supervisor <0.213.0>, 2 children
          ├── KV.EventManager <0.214.0>
          └── KV.NodeSupervisor <0.215.0>, 2 children
              ├── KV.Node <0.216.0> ══ kv_app@127.0.0.1, version 0.1.0, OS process 4711, up 2.4 s
              └── KV.StoreSupervisor <0.229.0>, 2 children
                  ├── KV.BucketSupervisor <0.230.0>, 1 child
                  │   └── <0.235.0> ══ <12345.4.0> bucket "shopping", 1 key, 80 B
                  └── <0.231.0> ══ <12345.3.0> registry KV.Registry, 1 name, 1.3 KiB

      kv_app@127.0.0.1, besides: 2 processes, 1.2 KiB
      ├── <12345.1.0> net_kernel, 609 B
      └── <12345.2.0> rex, 609 B
      :ok

  Exits in the same cases as `info/1`. Prints to the group leader of the caller. A call by `:erpc` or in a remote shell prints
  where the call was made.
  """
  @doc since: "0.1.0"
  @spec tree([option] | node) :: :ok | {:error, {:bad_option, term, String.t()}}
  def tree(options_or_node \\ [])
  def tree(node) when is_atom(node), do: tree(node: node)
  def tree(options), do: options |> coloured() |> :kv.tree()

  @doc """
  Makes a backup of the durable buckets of a node, while the node goes on: a new folder, on which a node can start as its
  `:data_dir`. See docs/durability.md.

  Everything is in the backup that anybody had an answer to before the call, and perhaps some of what came later. Each
  request is there as a whole or not at all.

  The folder must not be there, and the one above must be. A relative path starts at the working directory of the VM. The
  folder has its name once all of it is on the disk; until then the name ends in `.tmp`.

  Options:

    * `:node` - the local name of a `KV.Node` of this VM, by default the node that buckets use. Or the name of a C node, also one
      that another VM owns: then the first argument is a plain name, of a folder in the `:backup_dir` of that node.
    * `:timeout` - milliseconds to wait for the end of the backup, or `:infinity`, the default. A backup whose caller has given
      up goes on.

  Returns a map: `:folder`, the absolute path; `:bytes`, the size of all files; and `:written_bytes`, of those that were
  written. A checkpoint is not written again if the backup is on the file system of the data. Or returns `{:error, {word,
  text}}`, where the text says what to do:

    * `:no_data_dir` - the node has no durable buckets.
    * `:bad_folder` - the folder is there already, is in the data folder, the one above is missing or may not be written to, or
      the name is no plain name.
    * `:no_backup_dir` - another node may not make backups.
    * `:backup_under_way` - one at a time.
    * `:enospc` - there is no space. `:eio` - reading or writing has failed. `:enomem` - the system has no thread for the
      backup.
    * `:not_ready` - the program does not take the request now.

  After an error nothing is left of the folder. Exits with `:noproc` if the node does not run, with `:timeout`, with `{:nodedown,
  node}`, and with the reason of the node if its program ends meanwhile. Takes time in proportion to the data.

      KV.backup("/var/backups/kv-1")
      {:ok, %{bytes: 67121152, folder: "/var/backups/kv-1", written_bytes: 67112960}}

  ## Examples

      iex> {:error, {:no_data_dir, text}} = KV.backup("/var/backups/kv-1")
      iex> text
      "the node has no data_dir, so there is nothing to back up"
  """
  @doc since: "0.1.0"
  @spec backup(
          Path.t(),
          [{:node, atom} | {:timeout, timeout}] | %{optional(:node) => atom, optional(:timeout) => timeout}
        ) ::
          {:ok, %{folder: String.t(), bytes: non_neg_integer, written_bytes: non_neg_integer}}
          | {:error, {atom | String.t(), String.t()}}
          | {:error, {:bad_option, term, String.t()}}
  def backup(folder, options \\ []), do: :kv.backup(folder, options)

  # Erlang says `undefined` where Elixir says `nil`.
  defp elixir(%{node: %{} = node} = info), do: %{info | node: KV.Node.elixir(node)}

  defp elixir(info) do
    Map.new(info, fn
      {key, :undefined} -> {key, nil}
      pair -> pair
    end)
  end

  defp coloured(options) when is_list(options), do: options ++ [colours: IO.ANSI.enabled?()]
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
