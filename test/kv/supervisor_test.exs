defmodule KV.SupervisorTest do
  use KV.Case

  doctest KV.Supervisor
  doctest KV.BucketSupervisor
  doctest KV.Bucket.Supervisor

  @tree [
    KV.Supervisor,
    KV.EventManager,
    KV.NodeSupervisor,
    KV.Node,
    KV.StoreSupervisor,
    KV.BucketSupervisor,
    KV.Registry
  ]

  describe "the tree" do
    @tag rows: ["SV-01", "SV-02", "SV-12"]
    test "all processes run under their names when start_link returns" do
      :ok = Application.stop(:kv)
      on_exit(fn -> {:ok, _} = Application.ensure_all_started(:kv) end)

      assert {:ok, supervisor} = KV.Supervisor.start_link()
      assert Process.whereis(KV.Supervisor) == supervisor
      for name <- @tree, do: assert(is_pid(Process.whereis(name)))
      assert is_pid(create(KV.Registry, "shopping"))

      Supervisor.stop(supervisor)
      for name <- @tree, do: refute(Process.whereis(name))
    end

    test "its supervisor can be a child of another and has a name of its own then" do
      :ok = Application.stop(:kv)
      on_exit(fn -> {:ok, _} = Application.ensure_all_started(:kv) end)

      start_supervised!({KV.Supervisor, name: :my_store, ping_interval: 200})
      assert is_pid(Process.whereis(:my_store))
      assert is_pid(create(KV.Registry, "shopping"))
      stop_supervised!(:my_store)
    end

    test "a start that fails returns the plain reason" do
      :ok = Application.stop(:kv)
      on_exit(fn -> {:ok, _} = Application.ensure_all_started(:kv) end)
      Process.flag(:trap_exit, true)

      assert KV.Supervisor.start_link(program: "/no/such/kv_node") ==
               {:error, {:program_missing, "/no/such/kv_node"}}

      assert {:error, {:bad_option, :ping_timeout, _}} = KV.Supervisor.start_link(ping_timeout: 0)
    end

    @tag row: "SV-03"
    test "children start in order: event manager, then node, then bucket supervisor, then registry" do
      assert child_ids(KV.Supervisor) == [KV.EventManager, KV.NodeSupervisor]
      assert child_ids(KV.NodeSupervisor) == [KV.Node, KV.StoreSupervisor]
      assert child_ids(KV.StoreSupervisor) == [KV.BucketSupervisor, KV.Registry]
    end

    test "every supervisor counts and lists its children" do
      create(KV.Registry, "counted")

      for supervisor <- [KV.Supervisor, KV.NodeSupervisor, KV.StoreSupervisor, KV.BucketSupervisor] do
        children = Supervisor.which_children(supervisor)
        assert Supervisor.count_children(supervisor).active == length(children)
        for {_, pid, _, _} <- children, do: assert(node(pid) == node())
      end
    end

    @tag rows: ["SV-04", "SV-05", "RG-31"]
    test "killing the registry ends all buckets, and both come back" do
      registered = Process.monitor(create(KV.Registry, "shopping"))
      {:ok, nameless} = KV.BucketSupervisor.start_bucket()
      nameless = Process.monitor(:kv_proxy.native(nameless))
      buckets = Process.whereis(KV.BucketSupervisor)
      listed = child_pid(KV.StoreSupervisor, KV.Registry)

      {killed, successor} = kill_and_await_successor(KV.Registry)
      await_service()

      assert killed == listed
      assert child_pid(KV.StoreSupervisor, KV.Registry) == successor
      assert down_reason(registered)
      assert down_reason(nameless)
      assert Process.whereis(KV.BucketSupervisor) != buckets
      assert KV.Registry.names(KV.Registry) == []
      assert DynamicSupervisor.count_children(KV.BucketSupervisor).active == 0
    end

    @tag row: "SV-04"
    test "killing the native registry is the same as killing its proxy" do
      registered = Process.monitor(create(KV.Registry, "shopping"))
      proxy = Process.whereis(KV.Registry)
      reference = Process.monitor(proxy)
      Process.exit(:kv_proxy.native(KV.Registry), :kill)

      assert down_reason(reference) == :killed
      assert down_reason(registered)
      await_service()
      assert KV.Registry.lookup(KV.Registry, "shopping") == :error
    end

    @tag row: "SV-04"
    test "killing the bucket supervisor ends the registry too, and both come back" do
      registered = Process.monitor(create(KV.Registry, "shopping"))
      registry = Process.monitor(Process.whereis(KV.Registry))

      kill_and_await_successor(KV.BucketSupervisor)

      assert down_reason(registered)
      assert down_reason(registry)
      await_service()
      assert KV.Registry.lookup(KV.Registry, "shopping") == :error
    end

    @tag row: "BK-28"
    test "killing the program ends all buckets with noconnection; a new one starts, and is empty" do
      bucket = create(KV.Registry, "shopping")
      KV.Bucket.put(bucket, "milk", 1)
      reference = Process.monitor(bucket)
      os_pid = KV.Node.os_pid()
      manager = Process.whereis(KV.EventManager)

      kill_program(os_pid)

      assert down_reason(reference) == :noconnection
      await_service()
      assert KV.Node.os_pid() != os_pid
      assert Process.whereis(KV.EventManager) == manager
      assert KV.Registry.lookup(KV.Registry, "shopping") == :error
      assert KV.Bucket.get(create(KV.Registry, "shopping"), "milk") == nil
    end

    @tag row: "SV-10"
    test "shutting the tree down stops the program and leaves no bucket" do
      on_exit(fn -> {:ok, _} = Application.ensure_all_started(:kv) end)
      bucket = create(KV.Registry, "shopping")
      proxy = find_proxy(bucket)
      references = Enum.map([bucket, proxy, Process.whereis(KV.Registry)], &Process.monitor/1)
      os_pid = KV.Node.os_pid()

      :ok = Application.stop(:kv)

      for reference <- references, do: assert(down_reason(reference) == :shutdown)
      refute :kv_os_process.is_alive(os_pid)
    end
  end

  describe "the bucket supervisor" do
    @tag rows: ["SV-06", "SV-07"]
    test "starts buckets in all the ways of the guide, and they serve at once" do
      {:ok, supervisor} = KV.Bucket.Supervisor.start_link()

      starts = [
        fn -> KV.Bucket.Supervisor.start_bucket(supervisor) end,
        fn -> KV.Bucket.Supervisor.start_bucket() end,
        fn -> KV.BucketSupervisor.start_bucket() end,
        fn -> DynamicSupervisor.start_child(KV.BucketSupervisor, KV.Bucket) end,
        fn -> KV.BucketSupervisor.start_bucket(label: "with a label") end
      ]

      for start <- starts do
        assert {:ok, bucket} = start.()
        assert KV.Bucket.put(bucket, "eggs", 3) == :ok
        assert KV.Bucket.get(bucket, "eggs") == 3
        KV.Bucket.stop(bucket)
      end
    end

    @tag row: "SV-08"
    test "a dead bucket is not replaced and no longer counted" do
      supervisor = start_supervised!({KV.BucketSupervisor, name: nil})
      {:ok, stays} = KV.BucketSupervisor.start_bucket(supervisor)
      {:ok, goes} = KV.BucketSupervisor.start_bucket(supervisor)
      reference = Process.monitor(goes)
      Process.exit(:kv_proxy.native(goes), :kill)
      assert down_reason(reference) == :killed

      eventually(fn -> DynamicSupervisor.count_children(supervisor).workers == 1 end)
      assert [{_, ^stays, :worker, _}] = DynamicSupervisor.which_children(supervisor)
    end

    @tag row: "SV-09"
    test "counts the buckets of all registries that use it together" do
      supervisor = start_supervised!({KV.BucketSupervisor, name: nil})
      one = start_supervised!({KV.Registry, buckets: supervisor}, id: :one)
      two = start_supervised!({KV.Registry, buckets: supervisor}, id: :two)
      alone = start_supervised!(KV.Registry)

      for registry <- [one, two, alone], do: create(registry, "shopping")

      assert DynamicSupervisor.count_children(supervisor).active == 2
    end

    @tag row: "SV-11"
    test "shows a process for each new bucket, by which it can be killed" do
      bucket = create(KV.Registry, "seen in the tree")
      proxy = find_proxy(bucket)
      reference = Process.monitor(bucket)

      assert {:dictionary, dictionary} = Process.info(proxy, :dictionary)
      assert dictionary[:"$kv_native"] == {:bucket, bucket, "seen in the tree"}

      Process.exit(proxy, :kill)
      assert down_reason(reference) in [:killed, :kill]
      assert KV.Registry.lookup(KV.Registry, "seen in the tree") == :error
    end
  end

  defp child_ids(supervisor) do
    supervisor |> Supervisor.which_children() |> Enum.map(&elem(&1, 0)) |> Enum.reverse()
  end

  defp child_pid(supervisor, id) do
    {^id, pid, _, _} = supervisor |> Supervisor.which_children() |> List.keyfind(id, 0)
    pid
  end

  defp find_proxy(bucket) do
    KV.BucketSupervisor
    |> DynamicSupervisor.which_children()
    |> Enum.map(&elem(&1, 1))
    |> Enum.find(&(:kv_proxy.native(&1) == bucket))
  end
end
