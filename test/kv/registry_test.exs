defmodule KV.RegistryTest do
  use KV.Case

  doctest KV.Registry

  setup context do
    _ = start_supervised!({KV.Registry, name: context.test})
    %{registry: context.test}
  end

  describe "starting" do
    @tag row: "RG-01"
    test "start_link/0 and start_link/1 with a name" do
      assert {:ok, nameless} = KV.Registry.start_link()
      assert {:ok, named} = KV.Registry.start_link(name: :registry_by_option)
      assert Process.whereis(:registry_by_option) == named
      assert nameless != named
    end

    @tag row: "RG-02"
    test "event manager and bucket supervisor are passed in" do
      {:ok, manager} = KV.EventManager.start_link()
      {:ok, buckets} = KV.Bucket.Supervisor.start_link()

      assert {:ok, registry} = KV.Registry.start_link(manager, name: :with_events)
      assert is_pid(create(registry, "shopping"))

      assert {:ok, registry} = KV.Registry.start_link(manager, buckets, name: :with_buckets)
      assert is_pid(create(registry, "shopping"))
      assert DynamicSupervisor.count_children(buckets).active == 1
    end

    # 2014: `start_link(event_manager, buckets, opts \\\\ [])`, and before that `start_link(event_manager, opts \\\\ [])`.
    @tag row: "RG-02"
    test "the guide's first edition starts a registry with a manager and a supervisor, without options" do
      {:ok, manager} = KV.EventManager.start_link()
      {:ok, buckets} = KV.Bucket.Supervisor.start_link()
      :gen_event.add_handler(manager, KV.EventManager.Forwarder, {self(), :event})

      assert {:ok, registry} = KV.Registry.start_link(manager, buckets)
      bucket = create(registry, "wine")
      assert_receive {:event, {:create, "wine", ^bucket}}
      assert DynamicSupervisor.count_children(buckets).active == 1
      Agent.stop(bucket)
      assert_receive {:event, {:exit, "wine", ^bucket}}

      assert {:ok, registry} = KV.Registry.start_link(manager)
      bucket = create(registry, "cheese")
      assert_receive {:event, {:create, "cheese", ^bucket}}
    end

    @tag row: "RG-02"
    test "manager and supervisor may be names, and either may be left out as nil" do
      {:ok, _} = KV.EventManager.start_link(name: :wine_events)
      {:ok, _} = KV.Bucket.Supervisor.start_link(name: :wine_buckets)

      for manager <- [:wine_events, {:wine_events, node()}, nil], buckets <- [:wine_buckets, nil] do
        assert {:ok, registry} = KV.Registry.start_link(manager, buckets)
        assert is_pid(create(registry, "wine"))
      end

      assert DynamicSupervisor.count_children(:wine_buckets).active == 3
    end

    @tag row: "RG-03"
    test "start_link/1 with an atom is short for the name" do
      assert {:ok, registry} = KV.Registry.start_link(:registry_by_atom)
      assert Process.whereis(:registry_by_atom) == registry
    end

    @tag row: "RG-04"
    test "the error names a wrong option; a name is not required" do
      assert {:error, {:bad_option, :name, _}} = KV.Registry.start_link(name: 1)
      assert {:error, {:bad_option, :table, _}} = KV.Registry.start_link(table: :names)
      assert {:ok, _} = KV.Registry.start_link([])
    end

    @tag row: "RG-05"
    test "several registries run side by side, each with its own names", %{registry: registry} do
      other = start_supervised!({KV.Registry, name: :other_registry}, id: :other)
      bucket = create(registry, "only here")

      assert KV.Registry.lookup(other, "only here") == :error
      assert KV.Registry.lookup(KV.Registry, "only here") == :error
      assert create(other, "only here") != bucket
      assert KV.Registry.names(registry) == ["only here"]
    end

    @tag row: "RG-06"
    test "child_spec/1 has the module as id and the options as argument" do
      assert %{
               id: KV.Registry,
               start: {KV.Registry, :start_link, [[]]},
               restart: :permanent,
               shutdown: 5_000,
               type: :worker
             } = KV.Registry.child_spec([])
    end

    @tag row: "RG-07"
    test "stop/1 returns :ok; the registry ends with reason normal, and its buckets end with it" do
      {:ok, registry} = KV.Registry.start_link()
      bucket = Process.monitor(create(registry, "shopping"))
      reference = Process.monitor(registry)

      assert KV.Registry.stop(registry) == :ok
      assert down_reason(reference) == :normal
      assert down_reason(bucket)
    end

    @tag row: "RG-08"
    test "a registry that a test supervises ends with :shutdown when the test does", %{registry: registry} do
      reference = Process.monitor(registry)
      native = Process.monitor({registry, KV.Node.name()})
      :ok = stop_supervised!(registry)

      assert down_reason(reference) == :shutdown
      assert down_reason(native) == :shutdown
    end
  end

  describe "lookup and create" do
    @tag rows: ["RG-10", "RG-11", "RG-13"]
    test "spawns buckets", %{registry: registry} do
      assert KV.Registry.lookup(registry, "shopping") == :error

      assert KV.Registry.create(registry, "shopping") == :ok
      assert {:ok, bucket} = KV.Registry.lookup(registry, "shopping")

      KV.Bucket.put(bucket, "milk", 1)
      assert KV.Bucket.get(bucket, "milk") == 1
    end

    @tag row: "RG-12"
    test "the create request returns the pid of the bucket", %{registry: registry} do
      bucket = GenServer.call(registry, {:create, "shopping"})

      assert is_pid(bucket)
      assert KV.Registry.lookup(registry, "shopping") == {:ok, bucket}
    end

    @tag row: "RG-14"
    test "create of an existing name creates no second bucket and changes nothing", %{registry: registry} do
      bucket = create(registry, "shopping")
      KV.Bucket.put(bucket, "milk", 1)

      assert KV.Registry.create(registry, "shopping") == :ok
      assert GenServer.call(registry, {:create, "shopping"}) == bucket
      assert KV.Bucket.get(bucket, "milk") == 1
    end

    @tag row: "RG-14"
    test "processes that create the same name at the same time get the same bucket", %{registry: registry} do
      buckets =
        1..20
        |> Enum.map(fn _ -> Task.async(fn -> GenServer.call(registry, {:create, "shopping"}) end) end)
        |> Task.await_many()

      assert [_] = Enum.uniq(buckets)
    end

    @tag row: "RG-15"
    test "names are binaries, and no atom is created from one", %{registry: registry} do
      name = Base.encode16(:crypto.strong_rand_bytes(16))
      create(registry, name)

      assert KV.Registry.names(registry) == [name]
      assert_raise ArgumentError, fn -> String.to_existing_atom(name) end
      assert KV.Registry.create(registry, :shopping) == {:error, {:bad_name, :shopping}}
      assert KV.Registry.create(registry, 1) == {:error, {:bad_name, 1}}
    end

    @tag row: "RG-16"
    test "once create has returned, any process finds the bucket", %{registry: registry} do
      for number <- 1..20 do
        name = "bucket #{number}"
        assert KV.Registry.create(registry, name) == :ok
        assert {:ok, _} = Task.await(Task.async(fn -> KV.Registry.lookup(registry, name) end))
      end
    end

    @tag row: "RG-17"
    test "lookup is a request like others: it waits while the registry is held up", %{registry: registry} do
      bucket = create(registry, "shopping")
      native = {registry, KV.Node.name()}

      :ok = :sys.suspend(native)
      assert {:timeout, _} = catch_exit(KV.Registry.lookup(registry, "shopping", 50))
      :ok = :sys.resume(native)

      readers = for _ <- 1..20, do: Task.async(fn -> KV.Registry.lookup(registry, "shopping") end)
      assert Enum.uniq(Task.await_many(readers)) == [{:ok, bucket}]
    end

    @tag row: "RG-18"
    test "there is no table that another process could write", %{registry: registry} do
      assert :ets.whereis(registry) == :undefined

      assert GenServer.call(registry, {:put, "shopping", self()}) ==
               {:error, {:bad_request, {:put, "shopping", self()}}}

      assert KV.Registry.names(registry) == []
    end

    @tag row: "RG-19"
    test "lookup takes the pid of the registry as well as its name", %{registry: registry} do
      bucket = create(registry, "shopping")

      assert KV.Registry.lookup(Process.whereis(registry), "shopping") == {:ok, bucket}
      assert KV.Registry.lookup({registry, node()}, "shopping") == {:ok, bucket}
      assert KV.Registry.lookup({registry, KV.Node.name()}, "shopping") == {:ok, bucket}
    end

    @tag row: "RG-50"
    test "the raw messages of the guide do what its functions do" do
      assert {:ok, registry} = GenServer.start_link(KV.Registry, :ok)

      assert GenServer.cast(registry, {:create, "shopping"}) == :ok
      assert {:ok, bucket} = GenServer.call(registry, {:lookup, "shopping"})
      assert GenServer.call(registry, {:create, "shopping"}) == bucket
      assert GenServer.call(registry, {:lookup, "camping"}) == :error
      assert KV.Bucket.put(bucket, "milk", 1) == :ok

      reference = Process.monitor(bucket)
      assert GenServer.stop(registry) == :ok
      assert down_reason(reference)
    end
  end

  describe "options, other names and metadata" do
    setup do
      buckets = start_supervised!({KV.BucketSupervisor, name: nil})
      supervised = start_supervised!({KV.Registry, buckets: buckets}, id: :supervised)
      %{supervised: supervised, buckets: buckets}
    end

    test "create takes the options of a bucket, whoever starts the buckets", %{
      registry: registry,
      supervised: supervised
    } do
      for registry <- [registry, supervised] do
        assert {:ok, bucket} = KV.Registry.lookup_or_create(registry, "one entry", max_entries: 1)
        assert KV.Bucket.put(bucket, "milk", 1) == :ok
        assert KV.Bucket.put(bucket, "eggs", 1) == {:error, :full}
        assert KV.info(bucket).name == "one entry"
      end
    end

    test "fill needs a supervisor that starts the buckets", %{registry: registry, supervised: supervised} do
      fill = {KV.Bucket, :put, ["milk", 1]}
      assert {:ok, bucket} = KV.Registry.lookup_or_create(supervised, "filled", fill: fill)
      assert KV.Bucket.get(bucket, "milk") == 1
      assert {:ok, _} = KV.Registry.lookup_or_create(registry, "empty", fill: nil)
      assert {:error, {:bad_option, :fill, text}} = KV.Registry.create(registry, "filled", fill: fill)
      assert text =~ "has no option fill"
    end

    test "a supervisor of buckets that does not run is named, by whatever it is called" do
      for {buckets, shown} <- [
            {KV.NoBuckets, "KV.NoBuckets"},
            {{:global, :no_buckets}, "{global,no_buckets}"},
            {{:no_buckets, node()}, "{no_buckets,"}
          ] do
        registry = start_supervised!({KV.Registry, buckets: buckets}, id: buckets)
        assert {:error, {:no_supervisor, text}} = KV.Registry.create(registry, "shopping")
        assert text =~ "no process runs under the name #{shown}"
        assert text =~ "start a KV.BucketSupervisor"
      end
    end

    test "a wrong option starts no bucket", %{supervised: supervised, buckets: buckets} do
      assert {:error, {:bad_option, :evict, _}} = KV.Registry.create(supervised, "a", evict: :all)
      assert {:error, {:bad_option, :max_memori, text}} = KV.Registry.create(supervised, "a", max_memori: 1)
      assert text =~ "did you mean max_memory?"

      assert {:error, {:bad_option, :on_node_down, _}} =
               KV.Registry.create(supervised, "a", on_node_down: :stay)

      assert_raise ArgumentError, fn -> KV.Registry.create(supervised, "a", timeout: :soon) end
      assert_raise ArgumentError, fn -> KV.Registry.names(supervised, prefix: :user) end
      assert DynamicSupervisor.count_children(buckets).active == 0
    end

    test "a rename keeps pid, content and metadata, and the label of the bucket", %{registry: registry} do
      {:ok, bucket} = KV.Registry.lookup_or_create(registry, "draft", meta: :mine)
      KV.Bucket.put(bucket, "milk", 1)
      assert KV.Registry.rename(registry, "draft", "final") == :ok
      assert KV.Registry.list(registry) == [{"final", bucket}]
      assert KV.Registry.meta(registry, "final") == {:ok, :mine}
      assert KV.Bucket.get(bucket, "milk") == 1
      assert KV.info(bucket).name == "draft"
    end

    test "a deleted bucket ends with its proxy, and its name can be created again", context do
      %{supervised: supervised, buckets: buckets} = context
      {:ok, bucket} = KV.Registry.lookup_or_create(supervised, "a")
      reference = Process.monitor(bucket)
      assert KV.Registry.delete(supervised, "a") == :ok
      assert KV.Registry.lookup(supervised, "a") == :error
      assert down_reason(reference) in [:normal, :noproc]
      assert eventually(fn -> DynamicSupervisor.count_children(buckets).active == 0 end)
      assert {:ok, fresh} = KV.Registry.lookup_or_create(supervised, "a")
      assert fresh != bucket
    end

    test "no atom is made from a name, a prefix or the bytes of metadata", %{registry: registry} do
      [old, new, meta] = for _ <- 1..3, do: Base.encode16(:crypto.strong_rand_bytes(16))
      :ok = KV.Registry.create(registry, old, meta: meta)
      :ok = KV.Registry.rename(registry, old, new)
      assert KV.Registry.count(registry, prefix: new) == 1
      for text <- [old, new, meta], do: assert_raise(ArgumentError, fn -> String.to_existing_atom(text) end)
    end
  end

  describe "the end of a bucket" do
    @tag rows: ["RG-20", "RG-24"]
    test "removes buckets on exit", %{registry: registry} do
      bucket = create(registry, "shopping")
      Agent.stop(bucket)

      # As in the guide: makes sure that the registry has handled the DOWN.
      _ = KV.Registry.create(registry, "bogus")
      assert KV.Registry.lookup(registry, "shopping") == :error
    end

    @tag rows: ["RG-21", "RG-24"]
    test "removes bucket on crash", %{registry: registry} do
      pid = Process.whereis(registry)
      bucket = create(registry, "shopping")
      Agent.stop(bucket, :shutdown)

      _ = KV.Registry.create(registry, "bogus")
      assert KV.Registry.lookup(registry, "shopping") == :error

      killed = create(registry, "shopping")
      reference = Process.monitor(killed)
      Process.exit(killed, :kill)
      assert down_reason(reference) == :killed
      assert KV.Registry.lookup(registry, "shopping") == :error

      assert Process.whereis(registry) == pid
    end

    @tag row: "RG-24"
    test "removal needs no further request: a process that has seen the end of a bucket does not find it", %{
      registry: registry
    } do
      for _ <- 1..50 do
        bucket = create(registry, "shopping")
        Agent.stop(bucket)
        assert KV.Registry.lookup(registry, "shopping") == :error
      end
    end

    @tag rows: ["BK-22", "KV.RegistryTest"]
    test "bucket can crash at any time", %{registry: registry} do
      bucket = create(registry, "shopping")

      # Simulate a bucket crash by stopping it by hand.
      Agent.stop(bucket, :shutdown)

      # Now trying to call the dead process causes a :noproc exit.
      assert {:noproc, _} = catch_exit(KV.Bucket.put(bucket, "milk", 3))
    end

    @tag rows: ["RG-22", "RG-23"]
    test "other names stay, and the name that is free can be created again", %{registry: registry} do
      shopping = create(registry, "shopping")
      camping = create(registry, "camping")
      Agent.stop(shopping)

      assert KV.Registry.lookup(registry, "camping") == {:ok, camping}
      assert create(registry, "shopping") != shopping
    end

    @tag row: "RG-25"
    test "nothing is left of a bucket", %{registry: registry} do
      for number <- 1..50, do: registry |> create("bucket #{number}") |> Agent.stop()

      assert KV.Registry.names(registry) == []
      assert :sys.get_state({registry, KV.Node.name()}) == %{}
      # Both are shown if they are not 0. A creator ends by itself, after its bucket is known.
      assert eventually(fn ->
               Enum.all?([:relayed, :creators], &(not is_map_key(proxy_state(registry), &1)))
             end)
    end

    @tag row: "RG-26"
    test "unknown messages are ignored", %{registry: registry} do
      bucket = create(registry, "shopping")
      pid = Process.whereis(registry)

      for target <- [registry, {registry, KV.Node.name()}], message <- [:hello, {:DOWN, 1}, "text"] do
        send(target, message)
      end

      GenServer.cast(registry, {:no, :such, "cast"})
      assert KV.Registry.lookup(registry, "shopping") == {:ok, bucket}
      assert Process.whereis(registry) == pid
    end
  end

  describe "the end of a registry" do
    @tag row: "RG-30"
    test "an unknown call is answered with an error and does not crash the registry", %{registry: registry} do
      pid = Process.whereis(registry)
      bucket = create(registry, "shopping")

      assert GenServer.call(registry, :bad_input) == {:error, {:bad_request, :bad_input}}
      assert KV.Registry.lookup(registry, "shopping") == {:ok, bucket}
      assert Process.whereis(registry) == pid
    end

    @tag rows: ["RG-31", "RG-32"]
    test "after a kill its supervisor starts a new registry, without names", %{registry: registry} do
      bucket = Process.monitor(create(registry, "shopping"))
      {killed, successor} = kill_and_await_successor(registry)

      assert killed != successor
      assert down_reason(bucket)
      assert KV.Registry.lookup(registry, "shopping") == :error
      assert is_pid(create(registry, "shopping"))
    end

    @tag rows: ["RG-40", "RG-41", "RG-42"]
    test "names in a table that outlives the registry are not supported, and the error says so" do
      {:ok, manager} = KV.EventManager.start_link()
      table = :ets.new(:names, [:public])

      assert_raise ArgumentError,
                   ~r/not in an ETS table.*call KV.Registry.start_link\(event_manager, buckets\)/,
                   fn ->
                     apply(KV.Registry, :start_link, [table, manager, KV.BucketSupervisor, []])
                   end

      assert_raise ArgumentError, ~r/not in an ETS table/, fn ->
        apply(KV.Registry, :start_link, [table, manager, KV.BucketSupervisor])
      end
    end
  end

  defp proxy_state(registry) do
    {:status, _, _, [_, _, _, _, [_, _, {:data, [{~c"State", state}]}]]} = :sys.get_status(registry)
    state
  end

  test "a bucket of a registry may live for ever, and may not touch on read without a ttl" do
    name = "for ever #{System.unique_integer()}"
    assert :ok == KV.Registry.create(KV.Registry, name, ttl: :infinity)
    {:ok, bucket} = KV.Registry.lookup(KV.Registry, name)
    assert :ok == KV.Bucket.put(bucket, :a, 1)
    assert {:ok, :infinity} == KV.Bucket.ttl(bucket, :a)
    text = "touch_on_read starts the ttl of the bucket again; give a ttl in milliseconds, too"
    refused = {:error, {:bad_option, :touch_on_read, text}}
    assert refused == KV.Registry.create(KV.Registry, "other #{name}", touch_on_read: true)
    assert refused == KV.Bucket.start_link(touch_on_read: true, ttl: :infinity)
    assert_raise KV.Error, text, fn -> KV.Registry.create!(KV.Registry, name <> "!", touch_on_read: true) end
  end
end
