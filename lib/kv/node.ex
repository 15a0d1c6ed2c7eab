defmodule KV.Node do
  @external_resource "src/kv_node_options.erl"
  @external_resource "src/kv_node_options_text.erl"
  @moduledoc """
  The C node: the process that starts the program `kv_node`, watches that it answers, and stops it.

  It is running exactly as long as the program is, and a supervisor starts both anew. If only the connection to the
  program is lost, it dials again, and the buckets keep their values. Meanwhile it asks over the program's standard input
  whether the program answers.

  Its options, all of them optional. The application environment of `:kv` holds those of the node that the application
  starts by itself:

  #{:kv_node_options_text.elixir()}

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
