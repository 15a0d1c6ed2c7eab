defmodule KVTest do
  use KV.Case

  import ExUnit.CaptureIO

  doctest KV

  @tag row: "KVTest"
  test "the truth" do
    assert 1 + 1 == 2
  end

  test "info/0 has version, node, names and buckets" do
    create(KV.Registry, "counted in info")
    info = KV.info()

    assert info.version == to_string(Application.spec(:kv, :vsn))
    assert info.node.os_pid == KV.Node.os_pid()
    assert info.names >= 1
    assert info.buckets >= 1
    assert info.processes >= info.buckets + info.registries
    assert info.memory > 0
  end

  test "info/1 is the same for a bucket and its proxy, and exits if there is no such process" do
    bucket = start_supervised!(KV.Bucket)
    info = KV.info(bucket)

    assert info.owner == bucket
    assert KV.info(info.pid) == info
    stop_supervised!(KV.Bucket)
    assert {:noproc, _} = catch_exit(KV.info(bucket))
    assert {:noproc, _} = catch_exit(KV.info(info.pid))
    assert_raise ArgumentError, fn -> KV.info(self()) end
  end

  test "top/1 prints what processes/1 returns" do
    bucket = create(KV.Registry, "in the table")
    for _ <- 1..200, do: KV.Bucket.put(bucket, "eggs", 3)
    text = capture_io(fn -> assert KV.top(by: :operations, limit: 1000, colours: false) == :ok end)

    assert [_summary, _titles, first | _] = String.split(text, "\n", trim: true)
    assert Enum.any?(KV.processes(by: :operations, limit: 1000), &(&1.name == "in the table"))
    assert text =~ ~s("in the table")
    assert first =~ ~r/^<\d+\.\d+\.\d+>/
    assert {:error, {:bad_option, :by, _}} = KV.top(by: :colour)
  end

  test "tree/1 prints the supervisors, and each bucket with its name, size and memory" do
    bucket = create(KV.Registry, "in the tree")
    KV.Bucket.put(bucket, "eggs", 3)
    text = capture_io(fn -> assert KV.tree(limit: 1000, colours: false) == :ok end)

    for module <- [
          KV.Supervisor,
          KV.EventManager,
          KV.NodeSupervisor,
          KV.Node,
          KV.StoreSupervisor,
          KV.Registry
        ] do
      assert text =~ inspect(module)
    end

    assert text =~ ~r/<\d+\.\d+\.\d+> ══ <\d+\.\d+\.\d+> bucket "in the tree", 1 key, [\d.]+ K?i?B/
    refute text =~ "\e"
  end

  test "tree/1 takes the name of a node, and colours as IO.ANSI has them" do
    assert capture_io(fn -> KV.tree(node()) end) =~ "KV.Supervisor"
    assert capture_io(fn -> KV.tree(KV.Node.name()) end) =~ "net_kernel"
    assert capture_io(fn -> KV.tree(colours: true) end) =~ "\e[1mKV.Supervisor\e[0m"
    assert capture_io(fn -> KV.tree() end) =~ "\e" == IO.ANSI.enabled?()
    assert {:error, {:bad_option, :colour, _}} = KV.tree(colour: true)
  end
end
