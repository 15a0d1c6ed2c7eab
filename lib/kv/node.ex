defmodule KV.Node do
  @moduledoc """
  The C node: the process that starts the program `kv_node`, watches that it answers, and stops it.

  It is running exactly as long as the program is, and a supervisor starts both anew. If only the connection to the
  program is lost, it dials again, and the buckets keep their values. Meanwhile it asks over the program's standard input
  whether the program answers.

  Its options, which the application environment of `:kv` may hold, all of them optional:

    * `:program` - path of the program; `kv_node` in the priv directory of `:kv` by default.
    * `:node_name` - name of the C node, `:"alive@host"`. In a VM that is distributed as `foo@host` the
      default is `:"kv_foo@host"`, in one that is not `:"kv_N@127.0.0.1"`, N being the VM's pid.
    * `:distribute` - whether to start distribution, and EPMD, in a VM that is not distributed. With `false`
      such a VM gets `{:error, {:not_alive, text}}`. Default: `true`.
    * `:start_timeout` - milliseconds until the program must be ready. Default: 10000.
    * `:ping_interval`, `:ping_timeout` - milliseconds between two questions whether the program still answers,
      and without an answer after which it is killed. Defaults: 1000 and 5000.
    * `:stop_timeout` - milliseconds the program gets to stop, once its standard input has ended, before SIGKILL.
      Default: 2000.
    * `:reconnect_timeout` - milliseconds for which a lost connection is dialled again; 0 for not at all. Then the program
      is started anew, and empty. Default: 60000.
    * `:delay_send` - whether what this VM sends to the program is gathered for a moment (`delay_send` of `:inet`), and
      read with a buffer of 128 KiB: many callers get up to twice as much done, and a single one loses nothing. Only the
      connection to this node is set so. Default: `true`.
    * `:max_memory` - bytes of all buckets together. A put over it is answered `{:error, :enomem}`, or others go for it,
      if the bucket says so. Default: three quarters of the memory of the machine.
    * `:max_frame` (128 MiB), `:max_depth` (2^20) - bytes of one message, and levels of its terms. A request over one of
      them is answered with an error: see `KV.Bucket`.
    * `:max_pending` (bytes, 1 GiB) - of the messages of one peer that have come in part.
    * `:max_queue` (bytes, 512 MiB) - waiting for a peer that does not read, before the node gives it up.
    * `:ticktime` (seconds), `:max_peers`, `:handshake_timeout` (milliseconds), `:bind`, `:port`, `:log_level` - as
      `priv/kv_node --help` has them.
    * `:local_reads` - whether this VM reads buckets of the node without a call, from its memory; it loads a NIF.
      Default: `false`. docs/local-reads.md.
    * `:observer_names` - how many atoms may be made so that Observer shows proxies by the names of their buckets, for
      all of the VM; 0 for none. From OTP 27 on no atom is needed, and all have their names. Default: 1000.
    * `:follow` - whether the program, where it may use two processors, runs on the one that callers of this host send
      from while 8 or more are at work, which leaves the other to them. Default: `true`; docs/architecture.md says what
      it brings.
    * `:gather` - microseconds, 0 to 1000, that the program waits before it reads again while 8 or more processes are
      calling, so as to answer them together; 0: never. A single caller never waits, and where the program follows its
      callers none does. Default: 75.
    * `:spin` - microseconds, 0 to 1000, that the program looks for the next message before it sleeps, at most, while
      fewer than 8 processes are calling, and so fast that one is likely to come: a lone caller gets its answer in less
      than half the time, and the node takes processor time meanwhile; 0: it sleeps at once. On one processor it never
      does so. Default: 200.
    * `:zeros` - whether `0.0` and `-0.0` are one key, `:same` or `:differ`. `:get_state` - whether
      `:sys.get_state/1` gets a state, `:bare`, or `{:ok, state}`, `:tagged`. Defaults: as in this VM; the releases
      of OTP differ.

  Reasons for which it does not start, or ends:

    * `{:bad_option, key}` - the option is unknown or its value can't be used; nothing was started.
    * `{:not_alive, text}`, `{:no_epmd, text}`, `{:no_distribution, why}` - the VM is not distributed, and
      distribution must not or could not be started.
    * `{:program_missing, path}`, `{:program_not_executable, path}` - build it with `make -C c_src`.
    * `{:version_mismatch, program, application}` - the program is of another version; build it anew.
    * `{:start_timeout, ms}`, `{:not_connected, node}` - not ready in time, or ready but not to be connected to.
    * `{:fatal, reason, text}` - the program gave up, and says why.
    * `{:exited, status}`, `{:killed, signal}` - the program ended without a word.
    * `{:node_unresponsive, ms}` - the program did not answer for that long, and was killed.
    * `{:nodedown, node}` - the connection was lost, and was not back after `:reconnect_timeout`.
    * `{:vm_renamed, old, new}` - the VM was given another node name (`Node.stop/0`, `Node.start/2`). The program knows
      its VM by name, so a new program is started.
  """

  @typedoc "An option, as listed above."
  @type option :: {atom, term}

  @typedoc """
  What is known of the node: its name, the operating system pid of the program, the TCP port it listens on, its
  version, the creation EPMD gave it, the milliseconds since it is connected, the path of the program, and whether it
  is read without a call: `:on`, or `{:off, why}`.
  """
  @type info :: %{
          name: node,
          os_pid: pos_integer,
          port: :inet.port_number(),
          version: String.t(),
          creation: non_neg_integer,
          uptime_ms: non_neg_integer,
          program: String.t(),
          local_reads: :on | {:off, term}
        }

  @doc """
  Starts a node, under the local name `:name`, by default `KV.Node`; the other options are listed above.
  """
  @doc since: "0.1.0"
  @spec start_link([option]) :: {:ok, pid} | {:error, term}
  def start_link(options \\ []) do
    {name, options} = Keyword.pop(options, :name, __MODULE__)
    :kv_node.start_link(name, options)
  end

  @doc """
  A child specification. The time to shut down follows from `:stop_timeout`.
  """
  @doc since: "0.1.0"
  @spec child_spec([option]) :: Supervisor.child_spec()
  def child_spec(options) do
    {name, node_options} = Keyword.pop(options, :name, __MODULE__)
    %{:kv_node.child_spec(name, node_options) | start: {__MODULE__, :start_link, [options]}}
  end

  @doc """
  The name of the C node. No message is sent for it.

  Exits with `:noproc` when the node is not running.

  ## Examples

      iex> KV.Node.name() in Node.list(:hidden)
      true
  """
  @doc since: "0.1.0"
  @spec name(atom) :: node
  def name(server \\ __MODULE__), do: :kv_node.name(server)

  @doc """
  What is known of the C node.

  ## Examples

      iex> KV.Node.info().name == KV.Node.name()
      true
      iex> KV.Node.info().version == KV.info().version
      true
  """
  @doc since: "0.1.0"
  @spec info(GenServer.server()) :: info
  def info(server \\ __MODULE__), do: :kv_node.info(server)

  @doc """
  The operating system pid of the C program.

  ## Examples

      iex> KV.Node.os_pid() == KV.Node.info().os_pid
      true
  """
  @doc since: "0.1.0"
  @spec os_pid(GenServer.server()) :: pos_integer
  def os_pid(server \\ __MODULE__), do: :kv_node.os_pid(server)
end
