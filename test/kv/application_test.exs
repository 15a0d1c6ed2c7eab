defmodule KV.ApplicationTest do
  use KV.Case

  import ExUnit.CaptureLog

  setup do
    on_exit(fn -> {:ok, _} = Application.ensure_all_started(:kv) end)
  end

  @tag row: "AP-01"
  test "the application file lists description, version, registered names, modules and applications" do
    spec = Application.spec(:kv)

    assert to_string(spec[:description]) =~ "Key-value buckets"
    assert spec[:vsn] == source(:kv)[:vsn]
    assert KV.Registry in spec[:registered]
    assert KV.BucketSupervisor in spec[:registered]
    assert KV.Bucket in spec[:modules]
    assert :kv_node in spec[:modules]
    assert [] == [:kernel, :stdlib, :elixir, :logger] -- spec[:applications]

    {:ok, [{:application, :kv, file}]} = :file.consult(Application.app_dir(:kv, "ebin/kv.app"))
    assert Enum.sort(file[:env]) == Enum.sort(source(:kv)[:env])
  end

  @tag row: "AP-02"
  test "the callback module starts the supervisor" do
    assert Application.spec(:kv, :mod) == {KV, []}

    :ok = Application.stop(:kv)
    assert {:ok, supervisor} = KV.start(:normal, [])
    assert Process.whereis(KV.Supervisor) == supervisor
    Supervisor.stop(supervisor)
    KV.stop([])
  end

  @tag row: "AP-03"
  test "starting the running application returns already_started" do
    assert Application.start(:kv) == {:error, {:already_started, :kv}}
  end

  @tag row: "AP-04"
  test "start and stop return :ok, and the stop is logged" do
    assert capture_log(fn -> assert Application.stop(:kv) == :ok end) =~ "Application kv exited: :stopped"
    assert Application.start(:kv) == :ok
  end

  @tag row: "AP-05"
  test "the error names a stopped dependency; ensure_all_started starts it, too" do
    # In another VM, because ExUnit needs the logger.
    assert run("""
           :logger.set_primary_config(:level, :none)
           :ok = Application.stop(:logger)
           :ok = Application.put_env(:logger, :level, :error)
           :ok = Application.load(:kv)
           IO.inspect(Application.start(:kv))
           IO.inspect(Application.ensure_all_started(:kv))
           """) == {"{:error, {:not_started, :logger}}\n{:ok, [:logger, :kv]}\n", 0}
  end

  @tag row: "AP-06"
  test "no bucket of the former run is found after stop and start" do
    bucket = create(KV.Registry, "shopping")
    KV.Bucket.put(bucket, "milk", 1)

    restart()

    assert KV.Registry.lookup(KV.Registry, "shopping") == :error
    assert catch_exit(KV.Bucket.get(bucket, "milk"))
  end

  @tag row: "AP-07"
  test "a VM that starts the application creates and looks up without any further call" do
    assert run("""
           Logger.configure(level: :error)
           {:ok, _} = Application.ensure_all_started(:kv)
           :ok = KV.Registry.create(KV.Registry, "shopping")
           {:ok, bucket} = KV.Registry.lookup(KV.Registry, "shopping")
           :ok = KV.Bucket.put(bucket, "eggs", 3)
           IO.inspect(KV.Bucket.get(bucket, "eggs"))
           """) == {"3\n", 0}
  end

  test "with distribution forbidden, the error tells a VM that is not distributed what to do" do
    assert {text, 0} =
             run("""
             :logger.set_primary_config(:level, :none)
             :ok = Application.load(:kv)
             Application.put_env(:kv, :distribute, false)
             {:error, {:kv, {{:not_alive, text}, _}}} = Application.ensure_all_started(:kv)
             IO.puts(text)
             """)

    assert text =~ "-sname"
  end

  @tag row: "AP-08"
  test "start and stop follow each other again and again, under the same node name" do
    runs =
      for _ <- 1..10 do
        restart()
        assert KV.Registry.lookup(KV.Registry, "shopping") == :error
        bucket = create(KV.Registry, "shopping")
        assert KV.Bucket.put(bucket, "milk", 1) == :ok
        {KV.Node.name(), KV.Node.os_pid()}
      end

    {names, os_pids} = Enum.unzip(runs)
    assert [_] = Enum.uniq(names)
    assert length(Enum.uniq(os_pids)) == 10
    assert Enum.filter(os_pids, &:kv_os_process.is_alive/1) == [KV.Node.os_pid()]
  end

  defp restart do
    :ok = Application.stop(:kv)
    :ok = Application.start(:kv)
  end

  defp source(application) do
    {:ok, [{:application, ^application, properties}]} = :file.consult(~c"src/#{application}.app.src")
    properties
  end

  # Another VM, with the code under test.
  defp run(script) do
    System.cmd("elixir", ["-pa", :kv |> Application.app_dir("ebin"), "-e", script], stderr_to_stdout: true)
  end
end
