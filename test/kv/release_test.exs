defmodule KV.ReleaseTest do
  @moduledoc """
  Releases of a small application that uses kv, built and booted as a user would.
  """

  use ExUnit.Case, async: false

  @moduletag timeout: 180_000

  setup_all do
    folder = Path.join(System.tmp_dir!(), "kv_release_#{System.unique_integer([:positive])}_#{System.pid()}")
    on_exit(fn -> File.rm_rf!(folder) end)
    %{folder: folder}
  end

  test "a release starts kv as an application", %{folder: folder} do
    assert boot(mix_release(folder, [], "{:kv, path: #{path()}}", "", "")) =~ "milk: 3, application: true"
  end

  test "a release has KV.Supervisor in the tree of its application, which includes kv", %{folder: folder} do
    release =
      mix_release(folder, ["KV.Supervisor"], "{:kv, path: #{path()}}", "included_applications: [:kv]", "")

    assert boot(release) =~ "milk: 3, application: false"
  end

  test "so it does with runtime: false, if the release loads kv", %{folder: folder} do
    dependency = "{:kv, path: #{path()}, runtime: false}"

    release =
      mix_release(
        folder,
        ["{KV.Supervisor, ping_timeout: 2_000}"],
        dependency,
        "",
        "applications: [kv: :load]"
      )

    assert boot(release) =~ "milk: 3, application: false"
  end

  test "a release by rebar3 has kv_sup in the tree of its application", %{folder: folder} do
    case System.find_executable("rebar3") do
      nil -> :ok
      rebar3 -> assert boot(rebar3_release(folder, rebar3)) =~ "milk: 3"
    end
  end

  defp path, do: inspect(File.cwd!())

  defp mix_release(folder, own_tree, dependency, application, release) do
    write(folder, "mix.exs", """
    defmodule Shop.MixProject do
      use Mix.Project

      def project do
        [app: :shop, version: "0.1.0", deps: [#{dependency}], releases: [shop: [#{release}]]]
      end

      def application, do: [mod: {Shop, []}, extra_applications: [:logger], #{application}]
    end
    """)

    write(folder, "lib/shop.ex", """
    defmodule Shop do
      use Application

      def start(_type, _arguments) do
        children = [#{Enum.map_join(own_tree, &(&1 <> ", "))}{Task, &work/0}]
        Supervisor.start_link(children, strategy: :one_for_one)
      end

      defp work do
        :ok = KV.Registry.create(KV.Registry, "shopping")
        {:ok, bucket} = KV.Registry.lookup(KV.Registry, "shopping")
        KV.Bucket.put(bucket, "milk", 3)
        started = List.keymember?(Application.started_applications(), :kv, 0)
        IO.puts("milk: \#{KV.Bucket.get(bucket, "milk")}, application: \#{started}")
        System.stop(0)
      end
    end
    """)

    # Mix does not see that only the names of applications have changed.
    File.rm_rf!(Path.join(folder, "_build/prod/lib/shop"))
    run(folder, System.find_executable("mix"), ["release", "--quiet", "--overwrite", "--path", "release"])
    {folder, "release/bin/shop", ["start"]}
  end

  defp rebar3_release(folder, rebar3) do
    folder = Path.join(folder, "rebar3")

    write(folder, "rebar.config", """
    {deps, [kv]}.
    {relx, [{release, {shop, "1"}, [shop]}, {dev_mode, false}, {include_src, false}, {extended_start_script, false}]}.
    """)

    write(folder, "src/shop.app.src", """
    {application, shop, [
        {vsn, "1"}, {mod, {shop, []}}, {applications, [kernel, stdlib]}, {included_applications, [kv]}
    ]}.
    """)

    write(folder, "src/shop.erl", ~S"""
    -module(shop).
    -behaviour(application).
    -export([start/2, stop/1, init/1, work/0]).

    start(_Type, _Arguments) -> supervisor:start_link(?MODULE, []).

    stop(_State) -> ok.

    init([]) ->
        Kv = #{id => kv, start => {kv_sup, start_link, [kv_config:defaults()]}, type => supervisor, shutdown => infinity},
        {ok, {#{}, [Kv, #{id => work, start => {?MODULE, work, []}, restart => temporary}]}}.

    work() ->
        ok = kv_registry:create(kv_registry, <<"shopping">>),
        {ok, Bucket} = kv_registry:lookup(kv_registry, <<"shopping">>),
        ok = kv_bucket:put(Bucket, milk, 3),
        io:format("milk: ~p~n", [kv_bucket:get(Bucket, milk)]),
        init:stop(),
        ignore.
    """)

    File.mkdir_p!(Path.join(folder, "_checkouts"))
    File.ln_s!(File.cwd!(), Path.join(folder, "_checkouts/kv"))
    run(folder, rebar3, ["release"])
    {folder, "_build/default/rel/shop/bin/shop", ["-noinput"]}
  end

  defp write(folder, name, text) do
    file = Path.join(folder, name)
    File.mkdir_p!(Path.dirname(file))
    File.write!(file, text)
  end

  # The node is named by kv, so that no release depends on the name of the host.
  defp boot({folder, program, arguments}) do
    run(folder, Path.join(folder, program), arguments)
  end

  defp run(folder, program, arguments) do
    environment = [{"MIX_ENV", "prod"}, {"RELEASE_DISTRIBUTION", "none"}, {"ERL_CRASH_DUMP_SECONDS", "0"}]
    {said, status} = System.cmd(program, arguments, cd: folder, env: environment, stderr_to_stdout: true)
    assert status == 0, "#{program} ended with status #{status}:\n#{said}"
    said
  end
end
