defmodule KV.Node do
  @external_resource "src/kv_node_options.erl"
  @external_resource "src/kv_node_options_text.erl"
  @moduledoc """
  The owner of the C node: the process that starts the program `kv_node`, checks that the program answers, and stops it.

  The process runs exactly as long as the program. When the program ends, the process ends, too, and its supervisor starts
  both again. If only the connection to the program is lost, the process dials again, and the buckets keep their values.
  Meanwhile it checks over the standard input of the program that the program answers.

  With the option `:attach`, the program is another's: the process connects to it, stays while the node is away, and
  connects again. `info/1` tells its state. docs/attach.md says when to use that.

  ## Options

  All options are optional. The application environment of `:kv` holds the options of the node that the application starts.

  #{:kv_node_options_text.elixir()}

  ## Reasons

  The process fails to start, or ends, with one of these reasons:

    * `{:bad_option, key, text}` - the option is unknown, or its value is wrong. The text says what is wanted. Nothing was
      started. Of an option that is given twice the first counts.
    * `{:not_alive, text}` - the VM is not distributed, and `:distribute` is `false`; or the VM has a dynamic name
      (`--sname undefined`), and no node has given it one yet.
    * `{:bad_node_name, text}` - no name for the node can be made of the name of this VM, or the VM does not dial
      `:node_name`: with a short name it dials no host with a dot, and with a long one no other.
    * `{:no_epmd, text}`, `{:no_distribution, why}` - EPMD or distribution could not be started.
    * `{:bad_tls_option, option, text}` - the VM dials over TLS, and the program cannot follow an option with which the VM
      takes connections. Nothing was started. docs/tls.md lists the options.
    * `{:program_missing, path}`, `{:program_not_executable, path}` - build the program with `make -C c_src`.
    * `{:version_mismatch, program, application}` - the program has another version than the application. Build it again. Of a VM
      that attaches: the messages of the two versions differ.
    * `{:start_timeout, ms}` - the program was not ready in time.
    * `{:not_connected, node, text}` - the program is ready, but the VM could not connect to it. The text says why, in the
      words of the program if it has heard of the attempt.
    * `{:zeros_mismatch, text}` - the VM attaches to a node for which `0.0` and `-0.0` are one key, and for the VM two; or the
      other way round.
    * `{:bad_cookie, text}` - the cookie that the VM has for the node (`:erlang.get_cookie/1`) is one that Erlang nodes
      cannot use.
    * `{:fatal, reason, text}` - the program gave up. The text says why. `:tls`: a file with certificates or keys cannot
      be read or used. Two of the reasons are about durable buckets:
      `:data_dir`, if the folder cannot be used, or its data are damaged; and `:log_failed`, if a write to the disk has
      failed. The next program has all changes that were answered.
    * `{:exited, status}`, `{:killed, signal}` - the program ended without a message. Status 127: the system could not load
      it, mostly for want of a shared library; `ldd` names it.
    * `{:node_unresponsive, ms}` - the program did not answer for this long, and was killed.
    * `{:nodedown, node}` - the connection was lost, and was not back after `:reconnect_timeout`.
    * `{:vm_renamed, old, new}` - the node name of the VM has changed (`Node.stop/0`, `Node.start/2`). The program knows
      its VM by name, so a new program is started. `new` is `:nonode@nohost` if the VM has been without a name for 5
      seconds.
  """

  @typedoc "An option, as listed above."
  @type option :: {atom, term}

  @typedoc """
  A running node.

    * `:name` - its node name.
    * `:os_pid` - the operating system pid of the program.
    * `:port` - the TCP port on which it listens.
    * `:version` - the version of the program.
    * `:creation` - the number that EPMD gave this run of the node.
    * `:uptime_ms` - milliseconds since the VM has started and connected the program.
    * `:program` - the path of the program; missing if the VM is attached.
    * `:attached` - whether somebody else has started the node (the option `:attach`).
    * `:state` - `:up`; `{:lost, ms}` since the connection was lost; or `{:away, ms}` once it has been lost for so long that an
      attached node no longer keeps the processes of this VM.
    * `:local_reads` - `:on` if this VM reads buckets from shared memory, otherwise `{:off, why}`.
    * `:lane` - `:on` if other calls of this VM use shared memory, too, otherwise `{:off, why}`.
    * `:disk` - the folder of the durable buckets, or `nil` without a `:data_dir`. If the program does not tell within two
      seconds, `{:error, reason}`.
  """
  @type info :: %{
          optional(:program) => String.t(),
          name: node,
          os_pid: pos_integer,
          port: :inet.port_number(),
          version: String.t(),
          creation: non_neg_integer,
          uptime_ms: non_neg_integer,
          attached: boolean,
          state: :up | {:lost | :away, non_neg_integer},
          local_reads: :on | {:off, term},
          lane: :on | {:off, term},
          disk: disk | nil | {:error, term}
        }

  @typedoc """
  The folder of the durable buckets. Sizes are in bytes, and times in milliseconds.

    * `:folder` - its path.
    * `:position` - how much was ever written to the log.
    * `:log_bytes` - of it, what a start would read.
    * `:files` - how many files the log has, and `:file_bytes` their size together.
    * `:waiting_bytes` - changes that are not on disk yet. Nobody has an answer to them.
    * `:written_bytes` - what was written to the log since the program has started.
    * `:syncs` - how often that was made durable, and `:last_sync_ms` the time since then; `nil` if not yet.
    * `:recovery_ms` - how long the program took to read the folder when it started.
    * `:checkpoint_bytes` - the size of the last checkpoint, 0 if there is none; and `:last_checkpoint_ms` the time since it was begun,
      `nil` if there is none.
    * `:checkpoint_failing` - whether the node has given up the last checkpoint. It tries again, and the log grows meanwhile.
    * `:full` - whether there is no space. A change that needs some returns `{:error, :enospc}` then.
  """
  @type disk :: %{
          folder: String.t(),
          position: non_neg_integer,
          log_bytes: non_neg_integer,
          files: non_neg_integer,
          file_bytes: non_neg_integer,
          waiting_bytes: non_neg_integer,
          written_bytes: non_neg_integer,
          syncs: non_neg_integer,
          last_sync_ms: non_neg_integer | nil,
          recovery_ms: non_neg_integer,
          checkpoint_bytes: non_neg_integer,
          last_checkpoint_ms: non_neg_integer | nil,
          checkpoint_failing: boolean,
          full: boolean
        }

  @doc """
  Starts a node under the local name `:name`, by default `KV.Node`. The other options are listed above.

  ## Examples

      iex> {:error, {:bad_option, :ticktime, text}} = KV.Node.start_link(ticktime: 0)
      iex> text
      "ticktime must be 1 to 86400 seconds, and is 0"
  """
  @doc since: "0.1.0"
  @spec start_link([option]) :: {:ok, pid} | {:error, term}
  def start_link(options \\ []) do
    {name, options} = :kv_start_options.split_name(options, __MODULE__)
    :kv_node.start_link(name, options)
  end

  @doc """
  Returns a child specification. Its shutdown time follows from `:stop_timeout`.
  """
  @doc since: "0.1.0"
  @spec child_spec([option]) :: Supervisor.child_spec()
  def child_spec(options) do
    {name, node_options} = :kv_start_options.split_name(options, __MODULE__)
    %{:kv_node.child_spec(name, node_options) | start: {__MODULE__, :start_link, [options]}}
  end

  @doc """
  Returns the name of the C node, without sending a message.

  Exits with `:noproc` if the node is not running.

  ## Examples

      iex> KV.Node.name() in Node.list(:hidden)
      true
  """
  @doc since: "0.1.0"
  @spec name(atom) :: node
  def name(server \\ __MODULE__), do: :kv_node.name(server)

  @doc """
  Returns a map about the C node.

  ## Examples

      iex> KV.Node.info().name == KV.Node.name()
      true
      iex> KV.Node.info().version == KV.info().version
      true
      iex> KV.Node.info().disk
      nil
  """
  @doc since: "0.1.0"
  @spec info(GenServer.server()) :: info
  def info(server \\ __MODULE__), do: server |> :kv_node.info() |> elixir()

  # Erlang says `undefined` where Elixir says `nil`.
  @doc false
  @spec elixir(map) :: map
  def elixir(%{disk: :undefined} = info), do: %{info | disk: nil}

  def elixir(%{disk: %{last_sync_ms: _} = disk} = info),
    do: %{info | disk: Map.new(disk, fn {key, value} -> {key, if(value != :undefined, do: value)} end)}

  def elixir(info), do: info

  @typedoc """
  A durable bucket or registry of a node.

    * `:name` - its name: an atom, or the text of one that this VM does not know.
    * `:kind` - `:bucket` or `:registry`.
    * `:durable` - its policy.
    * `:size` - the entries of a bucket, the names of a registry.
    * `:memory` - the bytes of a bucket that count against its `:max_memory`.
    * `:pid` - its native process, or `:dormant`.
  """
  @type table :: %{
          name: atom | binary,
          kind: :bucket | :registry,
          durable: :commit | :interval,
          size: non_neg_integer,
          memory: non_neg_integer,
          pid: pid | :dormant
        }

  @doc """
  Returns the durable buckets and registries of a node, also those that have no process: `pid` is `:dormant` then.

  A bucket that is in a registry is not among them: `KV.Registry.list/2` has those. Empty without a `:data_dir`. O(tables).

  ## Examples

      iex> KV.Node.tables()
      []
  """
  @doc since: "0.2.0"
  @spec tables(atom) :: [table]
  def tables(server \\ __MODULE__), do: :kv_node.tables(server)

  @doc """
  Removes a durable bucket or registry from the folder of a node by its name, whether or not it has a process.

  It is for what `tables/1` lists as dormant: `KV.Bucket.destroy/2` and `KV.Registry.destroy/2` need a process. A registry goes with
  all its names. A process that there is ends, and its supervisor starts an empty one in its place.

  Errors: `{:unknown_name, text}` if the folder has nothing of that name, and those of the two functions.

  ## Examples

      iex> {:error, {:unknown_name, text}} = KV.Node.destroy(:no_such_bucket)
      iex> text
      "the node keeps nothing on disk: it has no data_dir"
  """
  @doc since: "0.2.0"
  @spec destroy(atom | binary, atom, timeout) :: :ok | {:error, {:unknown_name, String.t()} | term}
  def destroy(name, server \\ __MODULE__, timeout \\ 5000), do: :kv_node.destroy(server, name, timeout)

  @doc """
  Returns the operating system pid of the C program.

  ## Examples

      iex> KV.Node.os_pid() == KV.Node.info().os_pid
      true
  """
  @doc since: "0.1.0"
  @spec os_pid(GenServer.server()) :: pos_integer
  def os_pid(server \\ __MODULE__), do: :kv_node.os_pid(server)
end
