defmodule KV.OwnTreeTest do
  @moduledoc """
  Buckets and registries in the user's own tree: their specifications, and the loss of the C program.
  """

  use KV.Case

  # The functions of `:fill` in these tests.
  defmodule Data do
    def load(bucket, entries), do: KV.Bucket.put_many(bucket, entries)
    def refuse(_bucket), do: {:error, :no_data}

    def load_once(bucket, switch) do
      if :ets.insert_new(switch, {:done}), do: KV.Bucket.put(bucket, "milk", 1), else: {:error, :only_once}
    end
  end

  setup context do
    on_exit(fn -> {:ok, _} = Application.ensure_all_started(:kv) end)
    %{name: context.test}
  end

  describe "child specifications" do
    test "a bucket or a registry with a name has the name as its id, and is permanent" do
      via = {:via, Registry, {Some.Registry, "a"}}

      for module <- [KV.Bucket, KV.Registry],
          {name, id} <- [{:a, :a}, {{:global, :a}, {:global, :a}}, {via, via}] do
        assert %{id: ^id, restart: :permanent, start: {^module, :start_link, [[name: ^name]]}} =
                 module.child_spec(name: name)
      end

      assert %{id: :a, restart: :permanent, start: {KV.Registry, :start_link, [:a]}} =
               KV.Registry.child_spec(:a)
    end

    test "without a name the id is the module; a bucket is temporary and a registry permanent" do
      assert %{id: KV.Bucket, restart: :temporary} = KV.Bucket.child_spec([])
      assert %{id: KV.Registry, restart: :permanent} = KV.Registry.child_spec([])
    end

    test "restart, id and shutdown are options, and wrong ones are named" do
      options = [name: :a, restart: :transient, id: :b, shutdown: 17]

      for module <- [KV.Bucket, KV.Registry] do
        assert %{id: :b, restart: :transient, shutdown: 17} = module.child_spec(options)
        assert {:error, {:bad_option, :shutdown, _}} = module.start_link(shutdown: :soon)
        assert {:error, {:bad_option, :on_node_down, _}} = module.start_link(on_node_down: :wait)
        assert {:error, {:bad_option, :fill, _}} = module.start_link(fill: {Data, :load})
      end

      assert is_pid(start_supervised!({KV.Bucket, options}))
    end

    test "one supervisor takes several processes with names, without ids", %{name: name} do
      children = for i <- 1..3, do: {KV.Bucket, name: {:global, {name, i}}}
      assert Supervisor.count_children(own_tree(children)).active == 3
    end

    test "start_bucket starts a named bucket as temporary, too", %{name: name} do
      {:ok, bucket} = KV.BucketSupervisor.start_bucket(name: name, restart: :permanent)
      reference = Process.monitor(bucket)
      Process.exit(:kv_proxy.native(bucket), :kill)

      assert down_reason(reference) == :killed
      eventually(fn -> bucket not in children(KV.BucketSupervisor) end)
      assert Process.whereis(name) == nil
    end
  end

  describe "when the program dies" do
    test "named buckets and registries stay, and come back empty in their next generation", %{name: name} do
      tree = own_tree([{KV.Bucket, name: name}, {KV.Registry, name: KV.OwnTreeTest.Names}])
      before = children(tree)
      KV.Bucket.put(name, "milk", 1)
      create(KV.OwnTreeTest.Names, "shopping")
      assert {KV.Bucket.generation(name), KV.Registry.generation(KV.OwnTreeTest.Names)} == {1, 1}

      kill_program(KV.Node.os_pid())
      await_service()

      assert KV.Bucket.to_map(name) == %{}
      assert KV.Registry.names(KV.OwnTreeTest.Names) == []
      assert {KV.Bucket.generation(name), KV.Registry.generation(KV.OwnTreeTest.Names)} == {2, 2}
      assert children(tree) == before
    end

    test "a supervisor that allows no restart does not notice, however often", %{name: name} do
      tree = own_tree([{KV.Bucket, name: name}, KV.Registry], max_restarts: 0)

      for life <- 2..4 do
        kill_program(KV.Node.os_pid())
        await_service()
        assert KV.Bucket.generation(name) == life
      end

      assert Supervisor.count_children(tree).active == 2
    end

    test "a registry started by GenServer.start_link stays as well" do
      {:ok, registry} = GenServer.start_link(KV.Registry, :ok)
      kill_program(KV.Node.os_pid())
      await_service()
      assert KV.Registry.names(registry) == []
    end

    test "a bucket without a name ends with noconnection, unless it is told to stay", %{name: name} do
      ends = start_supervised!(KV.Bucket)
      stays = start_supervised!({KV.Bucket, on_node_down: :stay, id: :stays})
      named = start_supervised!({KV.Bucket, name: name, on_node_down: :exit, restart: :temporary})
      references = Enum.map([ends, named], &Process.monitor/1)

      kill_program(KV.Node.os_pid())

      assert Enum.map(references, &down_reason/1) == [:noconnection, :noconnection]
      await_service()
      assert KV.Bucket.put(stays, "milk", 1) == :ok
    end

    test "fill puts data back before anything else is served", %{name: name} do
      start_supervised!({KV.Bucket, name: name, fill: {Data, :load, [%{"milk" => 1}]}})
      KV.Bucket.put(name, "milk", 2)
      kill_program(KV.Node.os_pid())
      await_service()
      assert KV.Bucket.to_map(name) == %{"milk" => 1}
    end

    test "a bucket that cannot be filled does not start, or ends, with the reason", %{name: name} do
      Process.flag(:trap_exit, true)
      assert KV.Bucket.start_link(fill: {Data, :refuse, []}) == {:error, :no_data}

      switch = :ets.new(:switch, [:public])
      {:ok, bucket} = KV.Bucket.start_link(name: name, fill: {Data, :load_once, [switch]})
      kill_program(KV.Node.os_pid())
      assert_receive {:EXIT, ^bucket, :only_once}, 5_000
      await_service()
    end

    test "one warning says what was lost, with the names", %{name: name} do
      forward_log(:warning)
      start_supervised!({KV.Bucket, name: name})
      kill_program(KV.Node.os_pid())
      await_service()

      assert_receive {:log, :warning, nil, text}, 5_000
      assert text =~ "is lost ({killed,sigkill})"
      # Long names are cut.
      assert text =~ "by name: KV.Registry, " <> String.slice(to_string(name), 0, 20)
      refute_received {:log, :warning, _, _}
    end

    test "handlers and streams that asked for losses get them, others do not", %{name: name} do
      start_supervised!({KV.Bucket, name: name})
      native = :kv_proxy.native(name)
      shopping = create(KV.Registry, "shopping")
      deaf = Task.async(fn -> Enum.take(KV.EventManager.stream(KV.EventManager), 1) end)
      # Buckets that other tests left behind are lost, too.
      names = [name, "shopping", KV.Registry]
      asked = Task.async(fn -> lost(KV.EventManager.stream(KV.EventManager, [:lost]), names) end)

      handler = {KV.EventManager.Forwarder, name}
      :ok = KV.EventManager.add_handler(KV.EventManager, handler, {self(), name}, [:lost])

      eventually(fn -> length(KV.EventManager.which_handlers(KV.EventManager)) == 3 end)
      registry = :kv_proxy.native(KV.Registry)

      kill_program(KV.Node.os_pid())
      await_service()

      expected =
        Enum.sort([{:lost, name, native}, {:lost, "shopping", shopping}, {:lost, KV.Registry, registry}])

      assert Enum.sort(Task.await(asked)) == expected
      assert Enum.sort(for lost <- names, do: receive_loss(name, lost)) == expected
      next = create(KV.Registry, "next")
      assert Task.await(deaf) == [{:create, "next", next}]

      assert handler in KV.EventManager.which_handlers(KV.EventManager)
      refute match?({:error, _}, KV.EventManager.delete_handler(KV.EventManager, handler, :done))
      eventually(fn -> KV.EventManager.which_handlers(KV.EventManager) == [] end)
    end
  end

  describe "calls" do
    test "a call under way exits with nodedown at once; a call without a timeout returns it as an error", %{
      name: name
    } do
      start_supervised!({KV.Bucket, name: name})
      node = KV.Node.name()
      :ok = :sys.suspend(:kv_proxy.native(name))

      calls =
        for server <- [name, :kv_proxy.native(name)] do
          Task.async(fn -> catch_exit(KV.Bucket.get(server, "milk", nil, 60_000)) end)
        end

      endless = Task.async(fn -> GenServer.call(name, {:get, "milk"}, :infinity) end)
      eventually(fn -> KV.info(name).queue == 3 end)
      kill_program(KV.Node.os_pid())

      for call <- calls,
          do: assert({{:nodedown, ^node}, {:gen_server, :call, _}} = Task.await(call))

      assert Task.await(endless) == {:error, {:nodedown, node}}
      await_service()
    end

    test "a call that begins while the node is away waits, within its timeout", %{name: name} do
      start_supervised!({KV.Bucket, name: name})
      :ok = Application.stop(:kv)

      assert {:timeout, _} = catch_exit(KV.Bucket.put(name, "late", 1, 50))
      waiting = Task.async(fn -> KV.Bucket.put(name, "milk", 1, 20_000) end)
      :ok = Application.start(:kv)

      assert Task.await(waiting, 20_000) == :ok
      assert KV.Bucket.to_map(name) == %{"milk" => 1}
    end

    test "without kv, a start fails at once and says what to start", %{name: name} do
      :ok = Application.stop(:kv)

      for module <- [KV.Bucket, KV.Registry] do
        assert {:error, {:not_running, text}} = module.start_link(name: name)
        assert text =~ "start the application kv"
      end
    end
  end

  describe "the connection" do
    test "a lost connection costs no value, no name and no event", %{name: name} do
      bucket = start_supervised!({KV.Bucket, name: name})
      shopping = create(KV.Registry, "shopping")
      for server <- [name, shopping], do: KV.Bucket.put(server, "milk", 1)
      {node, os_pid} = {KV.Node.name(), KV.Node.os_pid()}
      references = Enum.map([bucket, shopping], &Process.monitor/1)

      true = Node.disconnect(node)

      assert down_reason(List.last(references)) == :noconnection
      # A call that begins before all of this VM has noticed the loss exits, too. Later calls wait.
      assert eventually(fn -> answered(fn -> KV.Bucket.get(name, "milk") end) end) == 1

      assert eventually(fn -> answered(fn -> KV.Registry.lookup(KV.Registry, "shopping") end) end) ==
               {:ok, shopping}

      assert KV.Bucket.get(shopping, "milk") == 1
      assert {KV.Node.os_pid(), KV.Bucket.generation(name)} == {os_pid, 1}
      refute_received {:DOWN, _, _, _, _}
    end
  end

  describe "over a limit" do
    setup do
      node = :"small_#{System.unique_integer([:positive])}_#{System.pid()}@127.0.0.1"
      start_supervised!({KV.Node, name: :small, node_name: node, max_frame: 65_536, max_depth: 1_000})
      %{bucket: start_supervised!({KV.Bucket, node: :small})}
    end

    test "functions that write return an error with the size", %{bucket: bucket} do
      large = Enum.to_list(1..65_536)
      deep = Enum.reduce(1..2_000, [], fn _, term -> [term] end)
      KV.Bucket.put(bucket, "kept", 1)

      assert {:error, {:too_large, bytes}} = KV.Bucket.put(bucket, "large", large)
      assert bytes > 65_536
      assert {:error, {:too_large, _}} = KV.Bucket.put_new(bucket, "large", large)
      assert {:error, {:too_large, _}} = KV.Bucket.put_many(bucket, %{"large" => large})
      assert {:error, {:too_large, _}} = KV.Bucket.delete_many(bucket, large)
      assert KV.Bucket.put(bucket, "deep", deep) == {:error, {:too_deep, 1_000}}
      assert KV.Bucket.to_map(bucket) == %{"kept" => 1}
    end

    test "functions that may return any term exit with the error", %{bucket: bucket} do
      large = Enum.to_list(1..65_536)

      for ask <- [&KV.Bucket.get/2, &KV.Bucket.fetch/2, &KV.Bucket.has_key?/2, &KV.Bucket.delete/2] do
        assert {{:too_large, _}, _} = catch_exit(ask.(bucket, large))
      end

      assert {{:too_large, _}, _} = catch_exit(KV.Bucket.get_many(bucket, large))
      assert {:error, {:too_large, _}} = GenServer.call(bucket, {:get, large})
      assert KV.Bucket.put(bucket, "value", {:error, {:too_large, 1}}) == :ok
      assert KV.Bucket.get(bucket, "value") == {:error, {:too_large, 1}}
    end
  end

  defp own_tree(children, options \\ []) do
    start_supervised!(%{
      id: :own_tree,
      type: :supervisor,
      start: {Supervisor, :start_link, [children, [strategy: :one_for_one] ++ options]}
    })
  end

  defp children(supervisor), do: for({_, pid, _, _} <- Supervisor.which_children(supervisor), do: pid)

  # One loss of each name.
  defp lost(stream, names) do
    stream |> Stream.filter(&(elem(&1, 0) == :lost and elem(&1, 1) in names)) |> Enum.take(length(names))
  end

  defp receive_loss(mark, name) do
    receive do
      {^mark, {:lost, ^name, _} = event} -> event
    after
      5_000 -> flunk("no event")
    end
  end

  defp answered(ask) do
    ask.()
  catch
    :exit, {{:nodedown, _}, _} -> false
  end
end
