defmodule KV.BucketTest do
  use KV.Case, async: true

  doctest KV.Bucket

  setup do
    %{bucket: start_supervised!(KV.Bucket)}
  end

  describe "time and room" do
    test "a key is gone after its time to live", %{bucket: bucket} do
      assert KV.Bucket.put(bucket, "short", 1, ttl: 30) == :ok
      assert KV.Bucket.put_many(bucket, %{"short too" => 1}, ttl: 30, timeout: 1_000) == :ok
      assert KV.Bucket.put_new(bucket, "long", 1, ttl: 60_000)
      assert KV.Bucket.put(bucket, "for good", 1, ttl: :infinity) == :ok
      Process.sleep(40)
      assert KV.Bucket.keys(bucket) |> Enum.sort() == ["for good", "long"]
      assert KV.Bucket.fetch(bucket, "short") == :error
    end

    test "a wrong time to live raises", %{bucket: bucket} do
      for ttl <- [0, -1, 1.5, "1"] do
        assert_raise ArgumentError, fn -> KV.Bucket.put(bucket, 1, 2, ttl: ttl) end
      end

      assert_raise ArgumentError, fn -> KV.Bucket.put(bucket, 1, 2, tll: 1) end
    end

    test "a bucket keeps its limit: puts fail, or other entries are removed" do
      {:ok, strict} = KV.Bucket.start_link(max_memory: 65_536)
      {:ok, cache} = KV.Bucket.start_link(max_memory: 65_536, evict: :lru)
      value = String.duplicate("v", 1_000)
      answers = for i <- 1..100, do: KV.Bucket.put(strict, i, value)
      assert Enum.uniq(answers) == [:ok, {:error, :enomem}]
      assert KV.Bucket.get(strict, 1) == value
      assert for(i <- 1..100, do: KV.Bucket.put(cache, i, value)) |> Enum.uniq() == [:ok]
      assert KV.Bucket.get(cache, 100) == value
      assert KV.Bucket.size(cache) in 30..64
    end

    test "KV.info tells the memory that counts against the limit, never more than it, and the limit" do
      {:ok, limited} = KV.Bucket.start_link(max_memory: 65_536)
      {:ok, free} = KV.Bucket.start_link()
      answers = for i <- 1..1_000, do: KV.Bucket.put(limited, i, String.duplicate("v", 100))
      assert {:error, :enomem} in answers
      assert %{memory: memory, max_memory: 65_536, overhead: overhead} = KV.info(limited)
      assert memory in 60_000..65_536
      assert overhead > 0
      assert %{max_memory: :infinity} = KV.info(free)
      # The next entry is refused, or not, by these figures.
      for i <- 1..20, do: KV.Bucket.delete(limited, i)
      left = 65_536 - KV.info(limited).memory
      assert KV.Bucket.put(limited, 0, String.duplicate("v", left)) == {:error, :enomem}
      assert KV.Bucket.put(limited, 0, String.duplicate("v", left - 256)) == :ok
    end

    test "KV.info of the node tells its limit, and the memory of all buckets that counts against it" do
      {:ok, bucket} = KV.Bucket.start_link()
      %{memory: before, max_memory: limit} = KV.info()
      for i <- 1..10, do: KV.Bucket.put(bucket, i, String.duplicate("v", 1_000_000))
      assert KV.info().memory >= before + 9_000_000
      assert KV.info().memory < limit
      assert KV.info().max_memory == limit
    end

    test "wrong limits are refused" do
      assert {:error, {:bad_option, :max_memory, _}} = KV.Bucket.start_link(max_memory: 0)
      assert {:error, {:bad_option, :evict, _}} = KV.Bucket.start_link(evict: :fifo)
    end
  end

  describe "keys and values" do
    @tag rows: ["BK-03", "BK-04", "KV.BucketTest"]
    test "stores values by key", %{bucket: bucket} do
      assert KV.Bucket.get(bucket, "milk") == nil

      assert KV.Bucket.put(bucket, "milk", 3) == :ok
      assert KV.Bucket.get(bucket, "milk") == 3
    end

    @tag row: "BK-05"
    test "a second put replaces the value", %{bucket: bucket} do
      KV.Bucket.put(bucket, "milk", 3)
      KV.Bucket.put(bucket, "milk", "none left")

      assert KV.Bucket.get(bucket, "milk") == "none left"
      assert KV.Bucket.size(bucket) == 1
    end

    @tag rows: ["BK-06", "BK-08"]
    test "delete removes the key and returns its value", %{bucket: bucket} do
      KV.Bucket.put(bucket, "milk", 3)

      assert KV.Bucket.delete(bucket, "milk") == 3
      assert KV.Bucket.get(bucket, "milk") == nil
    end

    @tag row: "BK-07"
    test "delete of an absent key returns nil and changes nothing", %{bucket: bucket} do
      KV.Bucket.put(bucket, "eggs", 1)

      assert KV.Bucket.delete(bucket, "milk") == nil
      assert KV.Bucket.to_map(bucket) == %{"eggs" => 1}
    end

    @tag row: "BK-09"
    test "keys and values are any term", %{bucket: bucket} do
      terms = [
        "milk",
        :milk,
        ~c"milk",
        1,
        1.0,
        -1,
        1.0e300,
        2 ** 200,
        nil,
        [],
        {},
        %{},
        {:a, [%{"b" => {1, 2.5}}]},
        Map.new(1..100, &{&1, to_string(&1)}),
        [1 | 2],
        <<5::size(3)>>,
        self(),
        make_ref(),
        bucket,
        String.duplicate("x", 100_000),
        &String.length/1
      ]

      for {term, index} <- Enum.with_index(terms) do
        assert KV.Bucket.put(bucket, term, index) == :ok
        assert KV.Bucket.put(bucket, {:value, index}, term) == :ok
      end

      for {term, index} <- Enum.with_index(terms) do
        assert KV.Bucket.get(bucket, term) === index
        assert KV.Bucket.get(bucket, {:value, index}) === term
      end

      assert KV.Bucket.size(bucket) == 2 * length(terms)
    end

    # Only OTP 29 and later have native records, and the function that makes one.
    if Code.ensure_loaded?(:records) do
      test "a native record is refused", %{bucket: bucket} do
        fields = [number: 3, next: {:aisle, 4}]
        record = apply(:records, :create, [KV, :aisle, fields, %{is_exported: true}])

        assert KV.Bucket.put(bucket, :k, record) == {:error, {:unsupported_term, :record}}
        assert KV.Bucket.put(bucket, record, 1) == {:error, {:unsupported_term, :record}}
        assert {{:unsupported_term, :record}, _} = catch_exit(KV.Bucket.get(bucket, record))
        assert KV.Bucket.size(bucket) == 0
      end
    end

    test "a map is one key, in any order of its pairs", %{bucket: bucket} do
      KV.Bucket.put(bucket, Map.new(1..50, &{&1, &1}), "found")

      assert KV.Bucket.get(bucket, Map.new(50..1//-1, &{&1, &1})) == "found"
    end

    test "0.0 and -0.0 are one key if they are equal in this VM", %{bucket: bucket} do
      zeros = for sign <- [0, 1], do: :erlang.binary_to_term(<<131, 70, sign::1, 0::63>>)
      for zero <- zeros, do: KV.Bucket.put(bucket, zero, "zero")

      assert KV.Bucket.size(bucket) == map_size(Map.new(zeros, &{&1, "zero"}))
    end

    @tag row: "BK-10"
    test "two buckets do not see each other's keys", %{bucket: bucket} do
      other = start_supervised!(KV.Bucket, id: :other)
      KV.Bucket.put(bucket, "milk", 3)

      assert KV.Bucket.get(other, "milk") == nil
      assert KV.Bucket.delete(other, "milk") == nil
      assert KV.Bucket.get(bucket, "milk") == 3
    end

    test "fetch, fetch!, has_key?, put_new, keys, to_map and clear", %{bucket: bucket} do
      assert KV.Bucket.put_new(bucket, "milk", nil)
      refute KV.Bucket.put_new(bucket, "milk", 2)

      assert KV.Bucket.fetch(bucket, "milk") == {:ok, nil}
      assert KV.Bucket.fetch(bucket, "eggs") == :error
      assert KV.Bucket.fetch!(bucket, "milk") == nil
      assert_raise KeyError, fn -> KV.Bucket.fetch!(bucket, "eggs") end
      assert KV.Bucket.get(bucket, "eggs", :none) == :none
      assert KV.Bucket.has_key?(bucket, "milk")
      refute KV.Bucket.has_key?(bucket, "eggs")

      KV.Bucket.put(bucket, "eggs", 3)
      assert Enum.sort(KV.Bucket.keys(bucket)) == ["eggs", "milk"]
      assert KV.Bucket.to_map(bucket) == %{"eggs" => 3, "milk" => nil}
      assert KV.Bucket.clear(bucket) == :ok
      assert KV.Bucket.to_map(bucket) == %{}
    end
  end

  describe "requests" do
    @tag row: "BK-11"
    test "requests of several processes are served one by one", %{bucket: bucket} do
      KV.Bucket.put(bucket, "the last egg", 1)

      taken =
        1..20
        |> Enum.map(fn _ -> Task.async(fn -> KV.Bucket.delete(bucket, "the last egg") end) end)
        |> Task.await_many()

      assert Enum.count(taken, &(&1 == 1)) == 1
      assert Enum.count(taken, &is_nil/1) == 19
    end

    @tag row: "BK-12"
    test "a busy caller delays nobody; calls to a bucket that is held up time out",
         %{bucket: bucket} do
      caller =
        Task.async(fn ->
          receive do
            :work_done -> KV.Bucket.put(bucket, "late", true)
          end
        end)

      assert KV.Bucket.put(bucket, "milk", 1) == :ok
      send(caller.pid, :work_done)
      assert Task.await(caller) == :ok

      native = :kv_proxy.native(bucket)
      :ok = :sys.suspend(native)
      assert {:timeout, _} = catch_exit(KV.Bucket.get(bucket, "milk", nil, 50))
      :ok = :sys.resume(native)
      assert KV.Bucket.get(bucket, "milk") == 1
      refute_received _any_late_reply
    end

    @tag row: "RG-51"
    test "the raw messages of the guide do what its functions do", %{bucket: bucket} do
      assert GenServer.call(bucket, {:put, "eggs", 3}) == :ok
      assert GenServer.call(bucket, {:get, "eggs"}) == 3
      assert GenServer.call(bucket, {:delete, "eggs"}) == 3
      assert GenServer.call(bucket, {:delete, "eggs"}) == nil
      assert GenServer.cast(bucket, {:put, "eggs", 4}) == :ok
      assert GenServer.call(bucket, {:get, "eggs"}) == 4
    end

    @tag row: "BK-CLOSURES"
    test "a fun for Agent returns a clear error, and changes nothing", %{bucket: bucket} do
      KV.Bucket.put(bucket, "milk", 1)

      assert {:error, {:cannot_run_closures, text}} = Agent.get(bucket, & &1)
      assert text =~ "KV.Bucket"
      assert {:error, {:cannot_run_closures, ^text}} = Agent.update(bucket, fn _ -> %{} end)
      assert {:error, {:cannot_run_closures, ^text}} = Agent.get_and_update(bucket, &{&1, &1})
      assert KV.Bucket.to_map(bucket) == %{"milk" => 1}
    end

    @tag row: "BK-CLOSURES"
    test "a fun for Agent.cast is dropped, and the log says so", %{bucket: bucket} do
      forward_log(:warning)
      KV.Bucket.put(bucket, "milk", 1)

      assert Agent.cast(bucket, fn _ -> %{} end) == :ok
      assert KV.Bucket.to_map(bucket) == %{"milk" => 1}
      assert_receive {:log, :warning, [:kv, :node], text}, 5_000
      assert text =~ "cannot run closures"
    end

    test "an unknown request is answered with an error, and changes nothing", %{bucket: bucket} do
      assert GenServer.call(bucket, :make_coffee) == {:error, {:bad_request, :make_coffee}}
      assert KV.Bucket.to_map(bucket) == %{}
    end
  end

  describe "starting" do
    @tag row: "BK-01"
    test "start_link/0 starts an empty bucket" do
      assert {:ok, bucket} = KV.Bucket.start_link()
      assert KV.Bucket.to_map(bucket) == %{}
    end

    @tag row: "BK-02"
    test "start_link/1 takes a list of options" do
      assert {:ok, bucket} = KV.Bucket.start_link([])
      assert KV.Bucket.size(bucket) == 0

      assert {:ok, named} = KV.Bucket.start_link(name: :bucket_of_start_link)
      assert Process.whereis(:bucket_of_start_link) == named
      assert {:error, {:bad_option, :restart, _}} = KV.Bucket.start_link(restart: :sometimes)
    end

    @tag row: "BK-27"
    test "child_spec/1 has the module as id and the options as argument" do
      assert %{id: KV.Bucket, start: {KV.Bucket, :start_link, [[]]}} = KV.Bucket.child_spec([])
      assert %{start: {KV.Bucket, :start_link, [[name: :shopping]]}} = KV.Bucket.child_spec(name: :shopping)
    end

    @tag row: "BK-25"
    test "are temporary workers" do
      assert Supervisor.child_spec(KV.Bucket, []).restart == :temporary
    end

    @tag row: "BK-29"
    test "a supervisor takes buckets at run time, with and without options" do
      supervisor = start_supervised!({DynamicSupervisor, strategy: :one_for_one})

      assert {:ok, plain} = DynamicSupervisor.start_child(supervisor, KV.Bucket)
      assert {:ok, named} = DynamicSupervisor.start_child(supervisor, {KV.Bucket, name: :of_a_supervisor})
      assert Process.whereis(:of_a_supervisor) == named
      assert KV.Bucket.put(plain, "eggs", 3) == :ok
      assert %{active: 2, workers: 2} = DynamicSupervisor.count_children(supervisor)
    end

    @tag row: "BK-26"
    test "a bucket that its user makes permanent comes back under its name, empty" do
      supervisor = start_supervised!({DynamicSupervisor, strategy: :one_for_one})
      spec = Supervisor.child_spec({KV.Bucket, name: :comes_back}, restart: :permanent)
      {:ok, _} = DynamicSupervisor.start_child(supervisor, spec)
      KV.Bucket.put(:comes_back, "milk", 1)

      {killed, successor} = kill_and_await_successor(:comes_back)

      assert killed != successor
      assert KV.Bucket.get(:comes_back, "milk") == nil
    end
  end

  describe "names" do
    @tag row: "BK-13"
    test "stores values by key on a named process" do
      start_supervised!({KV.Bucket, name: :stores_values}, id: :named)

      assert KV.Bucket.put(:stores_values, "milk", 3) == :ok
      assert KV.Bucket.get(:stores_values, "milk") == 3
    end

    @tag row: "BK-14"
    test "a bucket can be registered with Registry, under any term" do
      start_supervised!({Registry, keys: :unique, name: KV.BucketTest.Registry})

      for key <- ["shopping", 1, %{a: :map}] do
        via = {:via, Registry, {KV.BucketTest.Registry, key}}
        start_supervised!({KV.Bucket, name: via}, id: key)
        assert KV.Bucket.put(via, "key", key) == :ok
      end

      assert KV.Bucket.get({:via, Registry, {KV.BucketTest.Registry, 1}}, "key") == 1
      assert KV.Bucket.get({:via, Registry, {KV.BucketTest.Registry, %{a: :map}}}, "key") == %{a: :map}
    end

    @tag row: "BK-15"
    test "a bucket can have a global name" do
      name = {:global, {:shopping, make_ref()}}
      start_supervised!({KV.Bucket, name: name}, id: :global)

      assert KV.Bucket.put(name, "milk", 3) == :ok
      assert KV.Bucket.get(name, "milk") == 3
    end

    @tag row: "BK-16"
    test "a bucket can be named by its pid and by {name, node}, from another node as well" do
      proxy = start_supervised!({KV.Bucket, name: :from_afar}, id: :from_afar)
      native = :kv_proxy.native(proxy)
      address = {:from_afar, KV.Node.name()}

      assert node(native) == KV.Node.name()
      assert KV.Bucket.put(native, "milk", 3) == :ok
      assert KV.Bucket.get(address, "milk") == 3

      {:ok, peer, _} = start_peer()
      assert :peer.call(peer, :gen_server, :call, [address, {:get, "milk"}]) == 3
      assert :peer.call(peer, :gen_server, :call, [native, {:put, "milk", 4}]) == :ok
      assert KV.Bucket.get(proxy, "milk") == 4
    end

    @tag row: "BK-17"
    test "two buckets cannot have the same name" do
      {:ok, bucket} = KV.Bucket.start_link(name: :only_one)
      KV.Bucket.put(bucket, "milk", 1)

      assert KV.Bucket.start_link(name: :only_one) == {:error, {:already_started, bucket}}
      assert KV.Bucket.get(:only_one, "milk") == 1
    end
  end

  describe "the end of a bucket" do
    setup %{bucket: bucket} do
      %{native: :kv_proxy.native(bucket)}
    end

    @tag rows: ["BK-18", "BK-19"]
    test "Agent.stop returns when the bucket is gone; its monitors get DOWN once, with their own reference",
         %{native: native} do
      reference = Process.monitor(native)

      assert Agent.stop(native) == :ok
      assert_received {:DOWN, ^reference, :process, ^native, :normal}
      assert catch_exit(KV.Bucket.get(native, "milk"))
      refute_received {:DOWN, ^reference, _, _, _}
    end

    @tag rows: ["BK-18", "BK-19"]
    test "stopping the proxy stops the bucket first", %{bucket: bucket, native: native} do
      reference = Process.monitor(native)

      assert KV.Bucket.stop(bucket) == :ok
      assert down_reason(reference) == :normal
      refute Process.alive?(bucket)
    end

    @tag row: "BK-20"
    test "Agent.stop with :shutdown and an exit signal :shutdown end it with that reason",
         %{bucket: bucket, native: native} do
      reference = Process.monitor(native)
      proxy_reference = Process.monitor(bucket)
      assert Agent.stop(native, :shutdown) == :ok
      assert down_reason(reference) == :shutdown
      assert down_reason(proxy_reference) == :shutdown

      other = :kv_proxy.native(start_supervised!(KV.Bucket, id: :other))
      reference = Process.monitor(other)
      Process.exit(other, :shutdown)
      assert down_reason(reference) == :shutdown
    end

    test "an exit signal :normal is ignored, and :kill ends it with :killed", %{native: native} do
      Process.exit(native, :normal)
      assert KV.Bucket.size(native) == 0

      reference = Process.monitor(native)
      Process.exit(native, :kill)
      assert down_reason(reference) == :killed
    end

    @tag row: "BK-21"
    test "a monitor on a dead bucket gets DOWN at once", %{native: native} do
      KV.Bucket.stop(native)
      assert down_reason(Process.monitor(native)) == :noproc
    end

    @tag row: "BK-22"
    test "calling a dead bucket exits with noproc", %{bucket: bucket, native: native} do
      KV.Bucket.stop(native)
      assert down_reason(bucket) in [:normal, :noproc]

      assert {:noproc, _} = catch_exit(KV.Bucket.put(native, "milk", 3))
      assert {:noproc, _} = catch_exit(KV.Bucket.put(bucket, "milk", 3))
      assert {:noproc, _} = catch_exit(KV.Bucket.put(:no_such_bucket, "milk", 3))
    end

    @tag row: "BK-23"
    test "a bucket dies with the process that started it" do
      for reason <- [:normal, :shutdown, :kill] do
        test = self()

        starter =
          spawn(fn ->
            {:ok, bucket} = KV.Bucket.start_link()
            send(test, {:native, self(), :kv_proxy.native(bucket)})

            receive do
              :return -> :ok
            end
          end)

        assert_receive {:native, ^starter, native}
        reference = Process.monitor(native)
        if reason == :normal, do: send(starter, :return), else: Process.exit(starter, reason)
        assert down_reason(reference) in [:normal, :shutdown, :killed]
      end
    end

    @tag row: "BK-24"
    test "a bucket is linked to the process that started it" do
      Process.flag(:trap_exit, true)
      {:ok, bucket} = KV.Bucket.start_link()
      Process.exit(:kv_proxy.native(bucket), :crashed)

      assert_receive {:EXIT, ^bucket, :crashed}, 5_000
    end
  end

  defp start_peer do
    :peer.start_link(%{
      name: :peer.random_name(),
      host: ~c"127.0.0.1",
      longnames: true,
      connection: :standard_io,
      args: [~c"-setcookie", Atom.to_charlist(Node.get_cookie())]
    })
  end
end
