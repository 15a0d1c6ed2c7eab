defmodule KV.NodeTest do
  use KV.Case

  doctest KV.Node

  test "the program is a process of its own, of the same version" do
    info = KV.Node.info()

    assert :kv_os_process.is_alive(info.os_pid)
    assert Integer.to_string(info.os_pid) != System.pid()
    assert info.version == to_string(Application.spec(:kv, :vsn))
    assert info.uptime_ms >= 0
    assert File.exists?(info.program)
  end

  test "the error names an option that is unknown or wrong, and nothing is started" do
    assert {:error, {:bad_option, :colour, _}} = KV.Node.start_link(colour: :red)
    assert {:error, {:bad_option, :port, _}} = KV.Node.start_link(port: 70_000)
  end

  test "of an option that is given twice the first counts" do
    first = KV.Node.child_spec(stop_timeout: 10, stop_timeout: 1_000)

    assert first.shutdown == KV.Node.child_spec(stop_timeout: 10).shutdown
    assert first.shutdown < KV.Node.child_spec(stop_timeout: 1_000).shutdown
    assert KV.Node.child_spec(name: :first, name: :second).id == :first
  end

  test "a missing program is a plain reason" do
    Process.flag(:trap_exit, true)

    assert KV.Node.start_link(name: :nowhere, node_name: :"nowhere@127.0.0.1", program: "/no/such/kv_node") ==
             {:error, {:program_missing, "/no/such/kv_node"}}
  end

  test "the program is this VM's own, and the VM is connected to it" do
    assert %{attached: false, state: :up} = KV.Node.info()
  end

  test "a VM attaches only under a name of its own" do
    Process.flag(:trap_exit, true)
    assert {:error, {:not_alive, text}} = KV.Node.start_link(name: :shared, attach: :"kv_other@127.0.0.1")
    assert text =~ "a VM that attaches to kv_other@127.0.0.1 needs a name of its own"
  end

  test "options of a program are refused where the VM starts none" do
    assert {:error, {:bad_option, :max_memory, text}} =
             KV.Supervisor.start_link(name: :attached, attach: :"kv_other@127.0.0.1", max_memory: 1_048_576)

    assert text ==
             "max_memory is an option of the program, and kv_other@127.0.0.1 has been started by somebody else: " <>
               "give it the option there"
  end

  test "a second node beside that of the application has buckets and registries of its own" do
    name = :"second_#{System.pid()}@127.0.0.1"
    start_supervised!({KV.Node, name: :second, node_name: name})
    bucket = start_supervised!({KV.Bucket, node: :second})
    registry = start_supervised!({KV.Registry, node: :second})

    assert KV.Node.name(:second) == name
    assert node(:kv_proxy.native(bucket)) == name
    assert node(create(registry, "here")) == name
    assert KV.Node.name() != name
  end
end
