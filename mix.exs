defmodule Mix.Tasks.Compile.KvNative do
  @moduledoc """
  Builds the C program, `priv/kv_node`, by its own Makefile.
  """

  use Mix.Task.Compiler

  @impl true
  @spec run([String.t()]) :: {:ok | :error, [Mix.Task.Compiler.Diagnostic.t()]}
  def run(_args) do
    case make(["-j#{System.schedulers_online()}"]) do
      :ok -> {:ok, []}
      {:error, text} -> {:error, [diagnostic(text)]}
    end
  end

  @impl true
  @spec clean() :: :ok
  def clean do
    _ = make(["clean"])
    :ok
  end

  defp make(args) do
    case System.find_executable("make") do
      nil -> {:error, "building kv_node needs GNU make: see scripts/install"}
      make -> make(make, args)
    end
  end

  defp make(make, args) do
    directory = Path.join(__DIR__, "c_src")
    args = ["--silent", "--no-print-directory", "-C", directory | args]

    case System.cmd(make, args, into: IO.stream(), stderr_to_stdout: true) do
      {_, 0} -> :ok
      {_, status} -> {:error, "#{Path.basename(make)} -C c_src ended with status #{status}"}
    end
  end

  defp diagnostic(text) do
    Mix.shell().error(text)

    %Mix.Task.Compiler.Diagnostic{
      compiler_name: "kv_native",
      file: Path.join(__DIR__, "c_src/Makefile"),
      message: text,
      position: nil,
      severity: :error
    }
  end
end

defmodule KV.MixProject do
  use Mix.Project

  # The Erlang application file is the only place that holds the version, the description and the environment.
  app_src = Path.join(__DIR__, "src/kv.app.src")
  {:ok, [{:application, :kv, properties}]} = :file.consult(app_src)
  @properties properties

  def project do
    [
      app: :kv,
      version: to_string(@properties[:vsn]),
      description: to_string(@properties[:description]),
      elixir: "~> 1.14",
      compilers: [:kv_native] ++ Mix.compilers(),
      erlc_options: [:debug_info, :warn_missing_spec],
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: [],
      releases: [kv: [include_executables_for: [:unix]]]
    ]
  end

  def application do
    [
      mod: {KV, []},
      registered: [
        KV.Supervisor,
        KV.EventManager,
        KV.NodeSupervisor,
        KV.Node,
        KV.StoreSupervisor,
        KV.BucketSupervisor,
        KV.Registry,
        :kv_watcher,
        :kv_nodes
      ],
      extra_applications: [:logger | @properties[:applications] -- [:kernel, :stdlib]],
      env: @properties[:env]
    ]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_), do: ["lib"]
end
