defmodule KV.DurableRegistryTest do
  @moduledoc """
  A durable registry in a tree of the user, with a supervisor of its buckets. `test/otp/kv_durable_registry_SUITE.erl` has the
  rest, and `test/otp/kv_crash_SUITE.erl` the registry of the application.
  """

  use KV.Case

  setup context do
    folder = Path.join(System.tmp_dir!(), "kv_names_#{System.pid()}_#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(folder) end)
    number = System.unique_integer([:positive])

    %{
      folder: folder,
      node: :"kv_names_node_#{number}",
      buckets: :"kv_names_buckets_#{number}",
      name: context.test
    }
  end

  describe "a durable registry" do
    test "finds names, metadata and entries again after the program was killed", context do
      start_tree(context)
      registry = Process.whereis(context.name)

      for name <- ["milk", "eggs"] do
        {:ok, bucket} = KV.Registry.lookup_or_create(context.name, name, meta: {:of, name})
        :ok = KV.Bucket.put(bucket, :name, name)
      end

      for _ <- 1..3 do
        kill_node(context)
        assert Enum.sort(KV.Registry.list(context.name)) == [{"eggs", :dormant}, {"milk", :dormant}]
        assert KV.Registry.meta(context.name, "eggs") == {:ok, {:of, "eggs"}}
        {:ok, bucket} = KV.Registry.lookup(context.name, "eggs")
        assert KV.Bucket.get(bucket, :name) == "eggs"
        assert KV.Registry.list(context.name, prefix: "e") == [{"eggs", bucket}]
      end

      assert Process.whereis(context.name) == registry
    end

    test "is restarted alone, and finds the same buckets", context do
      start_tree(context)
      {:ok, durable} = KV.Registry.lookup_or_create(context.name, "milk")
      {:ok, volatile} = KV.Registry.lookup_or_create(context.name, "eggs", durable: false)
      registry = Process.whereis(context.name)
      Process.exit(registry, :kill)
      eventually(fn -> Process.whereis(context.name) not in [registry, nil] end)
      assert Enum.sort(KV.Registry.list(context.name)) == [{"eggs", volatile}, {"milk", durable}]
      assert KV.Bucket.size(volatile) == 0
    end

    test "comes back after its whole tree has ended", context do
      start_tree(context)
      {:ok, bucket} = KV.Registry.lookup_or_create(context.name, "milk", max_entries: 3)
      :ok = KV.Bucket.put(bucket, :left, 2)
      :ok = stop_supervised(:tree)

      start_tree(context)
      assert KV.Registry.names(context.name) == ["milk"]
      {:ok, bucket} = KV.Registry.lookup(context.name, "milk")
      assert {KV.Bucket.get(bucket, :left), KV.Bucket.stats(bucket).max_entries} == {2, 3}
    end

    test "keeps a name when its bucket is stopped, and drops it when it is deleted", context do
      start_tree(context)
      {:ok, bucket} = KV.Registry.lookup_or_create(context.name, "milk")
      :ok = KV.Bucket.put(bucket, :left, 2)
      :ok = KV.Bucket.stop(bucket)
      {:ok, next} = KV.Registry.lookup(context.name, "milk")
      assert next != bucket
      assert KV.Bucket.get(next, :left) == 2
      assert KV.Registry.delete(context.name, "milk") == :ok
      assert KV.Registry.lookup(context.name, "milk") == :error
      {:ok, empty} = KV.Registry.lookup_or_create(context.name, "milk")
      assert KV.Bucket.size(empty) == 0
    end

    test "is destroyed with all names, and its supervisor starts an empty one", context do
      start_tree(context)
      {:ok, bucket} = KV.Registry.lookup_or_create(context.name, "milk", meta: :fresh)
      :ok = KV.Bucket.put(bucket, :left, 2)
      registry = Process.whereis(context.name)

      assert KV.Registry.destroy(context.name) == :ok
      refute Process.alive?(registry)
      eventually(fn -> Process.whereis(context.name) end)
      assert KV.Registry.names(context.name) == []
      {:ok, next} = KV.Registry.lookup_or_create(context.name, "milk")
      assert {KV.Bucket.size(next), KV.Registry.meta(context.name, "milk")} == {0, :error}
    end

    test "tells a stream that asked of a bucket that is restored", context do
      {:ok, manager} = KV.EventManager.start_link()
      start_tree(context, event_manager: manager)
      {:ok, bucket} = KV.Registry.lookup_or_create(context.name, "milk")
      reader = Task.async(fn -> manager |> KV.EventManager.stream([:restored]) |> Enum.take(3) end)
      eventually(fn -> KV.EventManager.which_handlers(manager) != [] end)
      :ok = KV.Bucket.stop(bucket)
      {:ok, next} = KV.Registry.lookup(context.name, "milk")

      assert Task.await(reader) ==
               [{:exit, "milk", bucket}, {:create, "milk", next}, {:restored, "milk", next}]
    end
  end

  describe "the registry of KV.Supervisor" do
    test "takes its options from those of the supervisor" do
      assert KV.Supervisor.start_link(name: :kv_unused, registry: [durable: :sometimes]) ==
               {:error,
                {:bad_option, :durable, "durable must be false, commit or interval, and is sometimes"}}
    end
  end

  # ---- support ----------------------------------------------------------------------------------

  defp start_tree(context, options \\ []) do
    registry = [name: context.name, node: context.node, buckets: context.buckets, durable: :commit]

    names = [
      {KV.BucketSupervisor, name: context.buckets},
      {KV.Registry, registry ++ options}
    ]

    stay = %{
      id: :names,
      type: :supervisor,
      start: {Supervisor, :start_link, [names, [strategy: :one_for_one]]}
    }

    node = {KV.Node, name: context.node, data_dir: context.folder}

    start_supervised!(%{
      id: :tree,
      type: :supervisor,
      start: {Supervisor, :start_link, [[node, stay], [strategy: :one_for_one, max_restarts: 100]]}
    })
  end

  # Returns once the registry is on the next program.
  defp kill_node(context) do
    native = :kv_proxy.native(context.name)
    eventually(fn -> KV.Node.info(context.node).uptime_ms >= 1000 end)
    kill_program(KV.Node.os_pid(context.node))
    eventually(fn -> :kv_proxy.native(context.name) != native end)
  end
end
