defmodule KV.DurableTest do
  @moduledoc """
  Durable buckets in a tree of the user: what comes back after the end of a bucket, of the program, and of the tree.
  `test/otp/kv_durable_SUITE.erl` ends whole VMs.
  """

  use KV.Case

  # The functions of `:fill` in these tests. Each tells the test that it runs.
  defmodule Data do
    def load(bucket, test, entries) do
      send(test, {:filled, bucket})
      KV.Bucket.put_many(bucket, entries)
    end

    def fail_once(bucket, test, switch) do
      :ok = load(bucket, test, %{"half" => 1})
      if :ets.insert_new(switch, {:done}), do: {:error, :no_data}, else: KV.Bucket.put(bucket, "whole", 1)
    end
  end

  setup context do
    folder = Path.join(System.tmp_dir!(), "kv_durable_#{System.pid()}_#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(folder) end)
    number = System.unique_integer([:positive])
    %{folder: folder, node: :"kv_durable_node_#{number}", name: context.test}
  end

  describe "a durable bucket has its entries" do
    test "after the program was killed, with the same pid, and without a restart", context do
      start_tree(context, max_restarts: 0)
      bucket = Process.whereis(context.name)
      :ok = KV.Bucket.put_many(context.name, %{"milk" => 1, "eggs" => 12, "tea" => {:green, 1.5}})
      12 = KV.Bucket.delete(context.name, "eggs")

      for round <- 1..3 do
        :ok = KV.Bucket.put(context.name, round, round)
        kill_node(context)
        assert KV.Bucket.get_many(context.name, ["milk", "eggs", "tea"]) == [1, nil, {:green, 1.5}]
        assert KV.Bucket.get_many(context.name, Enum.to_list(1..round)) == Enum.to_list(1..round)
        assert KV.Bucket.size(context.name) == 2 + round
      end

      assert Process.whereis(context.name) == bucket
      assert KV.Bucket.generation(context.name) == 1
    end

    test "after it was stopped, and after its native process was killed", context do
      start_tree(context)
      :ok = KV.Bucket.put(context.name, "milk", 1)

      for finish <- [&KV.Bucket.stop/1, &kill_native/1, &Process.exit(Process.whereis(&1), :kill)] do
        bucket = Process.whereis(context.name)
        finish.(context.name)
        eventually(fn -> Process.whereis(context.name) not in [bucket, nil] end)
        assert KV.Bucket.to_map(context.name) == %{"milk" => 1}
      end
    end

    test "after its whole tree has ended and was started again", context do
      tree = start_tree(context)
      :ok = KV.Bucket.put(context.name, "milk", 1)
      :ok = stop_supervised(tree_id(context))
      refute Process.alive?(tree)

      start_tree(context)
      assert KV.Bucket.to_map(context.name) == %{"milk" => 1}
    end

    test "with all changes that were answered before a kill in the middle of others", context do
      start_tree(context)

      for round <- 1..5 do
        test = self()
        writer = Task.async(fn -> write(context.name, round, 1, test) end)
        assert_receive {:answered, ^round, 50}, 10_000
        kill_node(context)
        last = Task.await(writer)
        there = KV.Bucket.get_many(context.name, Enum.map(1..last, &{round, &1}))
        assert there == Enum.to_list(1..last)
      end
    end

    test "with their times to live", context do
      start_tree(context)
      :ok = KV.Bucket.put(context.name, "long", 1, ttl: 600_000)
      :ok = KV.Bucket.put(context.name, "short", 1, ttl: 1)
      :ok = KV.Bucket.put(context.name, "ever", 1)
      kill_node(context)

      assert {:ok, left} = KV.Bucket.ttl(context.name, "long")
      assert left in 1..600_000
      assert {:ok, :infinity} == KV.Bucket.ttl(context.name, "ever")
      assert KV.Bucket.fetch(context.name, "short") == :error
    end

    test "beside one that is not durable, which is empty", context do
      start_tree(context)
      volatile = :"#{context.node}_volatile"
      start_supervised!({KV.Bucket, name: volatile, node: context.node})
      for bucket <- [context.name, volatile], do: :ok = KV.Bucket.put(bucket, "milk", 1)
      kill_node(context)

      assert {KV.Bucket.get(context.name, "milk"), KV.Bucket.get(volatile, "milk")} == {1, nil}
      assert {KV.Bucket.generation(context.name), KV.Bucket.generation(volatile)} == {1, 2}
    end
  end

  describe "fill" do
    test "runs when the bucket is made, and not when it has its entries", context do
      start_tree(context, fill: {Data, :load, [self(), %{"milk" => 1}]})
      assert_received {:filled, _}
      :ok = KV.Bucket.put(context.name, "milk", 2)

      kill_node(context)
      assert KV.Bucket.to_map(context.name) == %{"milk" => 2}
      :ok = KV.Bucket.clear(context.name)
      :ok = stop_supervised(tree_id(context))
      start_tree(context, fill: {Data, :load, [self(), %{"milk" => 1}]})

      assert KV.Bucket.to_map(context.name) == %{}
      assert KV.Bucket.generation(context.name) == 1
      refute_received {:filled, _}
    end

    test "runs again if it has failed, on an empty bucket", context do
      Process.flag(:trap_exit, true)
      start_node(context)
      switch = :ets.new(:switch, [:public])
      options = bucket_options(context, fill: {Data, :fail_once, [self(), switch]})

      assert KV.Bucket.start_link(options) == {:error, :no_data}
      assert {:ok, _} = start_when_free(options)
      assert KV.Bucket.to_map(context.name) == %{"half" => 1, "whole" => 1}
    end
  end

  describe "its options are shown" do
    test "in its figures, by tools, and in the state of its proxy", context do
      start_node(context)

      for {policy, reads} <- [commit: :durable, interval: :latest, commit: :latest] do
        {:ok, bucket} = start_when_free(bucket_options(context, durable: policy, reads: reads))
        assert %{durable: ^policy, reads: ^reads} = KV.Bucket.stats(bucket)
        assert %{durable: ^policy} = KV.info(bucket)
        assert %{durable: ^policy} = state_of(bucket)
        assert tree_text() =~ "durable: #{policy}"
        :ok = KV.Bucket.stop(bucket)
      end
    end

    test "but for those of a bucket in memory, of which tools say nothing", context do
      {:ok, bucket} = KV.Bucket.start_link(name: context.name)
      assert %{durable: false, reads: :durable} = KV.Bucket.info(bucket)
      refute Map.has_key?(state_of(bucket), :durable)
    end
  end

  describe "destroy" do
    test "removes the entries for good, and its supervisor starts an empty bucket", context do
      start_tree(context, fill: {Data, :load, [self(), %{"milk" => 1}]})
      assert_received {:filled, _}
      :ok = KV.Bucket.put(context.name, "eggs", 12)
      bucket = Process.whereis(context.name)

      assert KV.Bucket.destroy(context.name) == :ok
      refute Process.alive?(bucket)
      eventually(fn -> Process.whereis(context.name) end)
      assert KV.Bucket.to_map(context.name) == %{"milk" => 1}
      assert_received {:filled, _}

      kill_node(context)
      assert KV.Bucket.to_map(context.name) == %{"milk" => 1}
    end

    test "frees the name for other options", context do
      start_node(context)
      {:ok, bucket} = KV.Bucket.start_link(bucket_options(context, evict: :lru))
      :ok = KV.Bucket.destroy(bucket)
      {:ok, next} = KV.Bucket.start_link(bucket_options(context, evict: :ttl, durable: false))
      assert %{evict: :ttl} = KV.Bucket.info(next)
    end
  end

  describe "refused in words" do
    test "a durable bucket on a node without a folder", %{name: name} do
      Process.flag(:trap_exit, true)

      assert {:error, {:no_data_dir, text}} = KV.Bucket.start_link(name: name, durable: :commit)
      assert text =~ "KV.Node has no folder for durable buckets: give it one with its option data_dir"
    end

    test "a bucket in memory while the folder has that name, and another way to evict", context do
      Process.flag(:trap_exit, true)
      start_node(context)
      {:ok, bucket} = KV.Bucket.start_link(bucket_options(context, evict: :lru))
      :ok = KV.Bucket.stop(bucket)

      assert {:error, {:bad_option, :durable, text}} =
               KV.Bucket.start_link(name: context.name, node: context.node)

      assert text =~ "durable"

      assert {:error, {:bad_option, :evict, text}} =
               KV.Bucket.start_link(bucket_options(context, evict: :ttl))

      assert text =~ "evict"
    end

    test "a folder that another node has, and one that cannot be made", context do
      Process.flag(:trap_exit, true)
      start_node(context)

      for folder <- [context.folder, "/proc/kv"] do
        assert {:error, {:fatal, :data_dir, text}} =
                 KV.Node.start_link(name: :"#{context.node}_other", data_dir: folder)

        assert text =~ folder
      end
    end
  end

  # ---- support ----------------------------------------------------------------------------------

  # The node may be started again any number of times, and the bucket as often as the options say.
  defp start_tree(context, options \\ []) do
    {limits, bucket} = Keyword.split(options, [:max_restarts])
    children = [{KV.Bucket, bucket_options(context, bucket)}]

    buckets = %{
      id: :buckets,
      type: :supervisor,
      start: {Supervisor, :start_link, [children, [strategy: :one_for_one] ++ limits]}
    }

    start_supervised!(%{
      id: tree_id(context),
      type: :supervisor,
      start:
        {Supervisor, :start_link,
         [[node_child(context), buckets], [strategy: :one_for_one, max_restarts: 100]]}
    })
  end

  defp tree_id(context), do: {:tree, context.node}

  defp start_node(context), do: start_supervised!(node_child(context))
  defp node_child(context), do: {KV.Node, name: context.node, data_dir: context.folder}

  defp bucket_options(context, more) do
    Keyword.merge([name: context.name, node: context.node, durable: :commit], more)
  end

  # A name is free once the process that had it has ended.
  defp start_when_free(options) do
    eventually(fn ->
      case KV.Bucket.start_link(options) do
        {:ok, bucket} -> {:ok, bucket}
        {:error, {:already_started, _}} -> false
      end
    end)
  end

  # As Observer shows it.
  defp state_of(proxy) do
    {:status, _, _, [_, _, _, _, [_, _, {:data, [{~c"State", state}]}]]} = :sys.get_status(proxy)
    state
  end

  defp tree_text, do: ExUnit.CaptureIO.capture_io(fn -> KV.tree(limit: 1000, colours: false) end)

  defp kill_node(context) do
    os_pid = KV.Node.os_pid(context.node)
    kill_program(os_pid)

    eventually(fn ->
      try do
        KV.Node.os_pid(context.node) != os_pid
      catch
        :exit, _ -> false
      end
    end)
  end

  defp kill_native(name), do: Process.exit(:kv_proxy.native(name), :kill)

  # Puts numbers until the node is lost, and returns the last one that was answered.
  defp write(bucket, round, number, test) do
    :ok = KV.Bucket.put(bucket, {round, number}, number)
    send(test, {:answered, round, number})
    write(bucket, round, number + 1, test)
  catch
    :exit, {{:nodedown, _}, _} -> number - 1
  end
end
