defmodule KV.WalkTest do
  # Not beside others: a bucket of more than 256 MiB takes the memory and the time that they measure.
  use KV.Case, async: false

  setup do
    %{bucket: start_supervised!(KV.Bucket)}
  end

  test "every way to walk sees every entry once", %{bucket: bucket} do
    entries = Map.new(1..20_000, &{&1, -&1})
    :ok = KV.Bucket.put_many(bucket, entries)
    assert bucket |> KV.Bucket.stream() |> Enum.sort() == Enum.sort(entries)
    assert bucket |> KV.Bucket.stream(limit: 77) |> Enum.sort() == Enum.sort(entries)
    assert bucket |> KV.Bucket.stream(return: :keys) |> Enum.sort() == Enum.to_list(1..20_000)
    assert bucket |> KV.Bucket.stream(return: :values) |> Enum.sum() == -200_010_000
    assert KV.Bucket.reduce(bucket, 0, fn {key, value}, sum -> sum + key + value + 1 end) == 20_000
    assert KV.Bucket.count(bucket) == 20_000
  end

  test "filters choose by prefix and by time to live", %{bucket: bucket} do
    :ok = KV.Bucket.put_many(bucket, for(n <- 1..5_000, do: {"a#{n}", n}))
    :ok = KV.Bucket.put_many(bucket, for(n <- 1..5_000, do: {"b#{n}", n}), ttl: 600_000)
    :ok = KV.Bucket.put_many(bucket, %{:a => 1, ["a"] => 1, "" => 1})
    assert KV.Bucket.count(bucket, prefix: "a") == 5_000
    assert KV.Bucket.count(bucket, prefix: "") == 10_001
    assert KV.Bucket.count(bucket, prefix: "a", expires: true) == 0
    assert KV.Bucket.count(bucket, expires: true) == 5_000
    assert KV.Bucket.count(bucket, expires: false) == 5_003

    assert [{"b77", 77, ttl}] =
             bucket |> KV.Bucket.stream(prefix: "b77", return: :timed) |> Enum.filter(&(elem(&1, 0) == "b77"))

    assert ttl in 500_000..600_000

    assert [{"", 1, :infinity}] =
             bucket |> KV.Bucket.stream(return: :timed) |> Enum.filter(&(elem(&1, 0) == ""))
  end

  test "keys that stay come exactly once while another process writes", %{bucket: bucket} do
    :ok = KV.Bucket.put_many(bucket, for(n <- 1..20_000, do: {n, n}))

    writer =
      Task.async(fn ->
        Enum.each(Stream.cycle(1..20), fn round ->
          :ok = KV.Bucket.put_many(bucket, for(n <- 1..2_000, do: {{round, n}, n}))
          KV.Bucket.delete_many(bucket, for(n <- 1..2_000, do: {rem(round + 7, 20), n}))
        end)
      end)

    for _ <- 1..5 do
      keys = bucket |> KV.Bucket.stream(return: :keys, limit: 500) |> Enum.to_list()
      assert keys |> Enum.filter(&is_integer/1) |> Enum.sort() == Enum.to_list(1..20_000)
      assert length(Enum.uniq(keys)) == length(keys)
    end

    Task.shutdown(writer, :brutal_kill)
  end

  test "a stream that is left early leaves nothing in the mailbox", %{bucket: bucket} do
    :ok = KV.Bucket.put_many(bucket, for(n <- 1..20_000, do: {n, n}))
    assert bucket |> KV.Bucket.stream() |> Enum.take(3) |> length() == 3
    assert catch_throw(KV.Bucket.reduce(bucket, 0, fn _, _ -> throw(:enough) end)) == :enough
    assert KV.Bucket.size(bucket) == 20_000
    assert Process.info(self(), :messages) == {:messages, []}
  end

  test "a cursor of another bucket is stale, and a clear leaves it valid", %{bucket: bucket} do
    {:ok, other} = KV.Bucket.start_link()
    for b <- [bucket, other], do: :ok = KV.Bucket.put_many(b, for(n <- 1..100, do: {n, n}))
    {[_], cursor} = KV.Bucket.scan(bucket, :start, limit: 1)
    assert KV.Bucket.scan(other, cursor) == {:error, :stale_cursor}
    assert KV.Bucket.scan(bucket, "nonsense") == {:error, :bad_cursor}
    :ok = KV.Bucket.clear(bucket)
    assert KV.Bucket.scan(bucket, cursor) == {[], :done}
  end

  test "a walk over a bucket that is replaced meanwhile raises, and says what to do" do
    start = fn ->
      {:ok, pid} = KV.Bucket.start_link(name: __MODULE__)
      :ok = KV.Bucket.put_many(pid, for(n <- 1..100, do: {n, n}))
    end

    replace = fn -> KV.Bucket.stop(__MODULE__) && start.() end
    start.()
    text = ~r"the bucket was replaced during the walk; begin the walk again"

    # The second piece is under way while the first one is used, and the third is asked for after the end of the bucket.
    walk = fn fun -> assert_raise KV.Error, text, fun end
    seen = fn entry -> if(Process.put(:seen, true), do: entry, else: replace.()) end
    walk.(fn -> __MODULE__ |> KV.Bucket.stream(limit: 1) |> Enum.each(seen) end)
    Process.delete(:seen)
    walk.(fn -> KV.Bucket.reduce(__MODULE__, 0, fn entry, _ -> seen.(entry) end, limit: 1) end)

    assert {:stale_cursor, _} =
             catch_exit(:kv_bucket.fold(__MODULE__, fn e, _ -> replace.() && e end, 0, limit: 1))

    assert Exception.message(%KV.Error{reason: :bad_cursor}) =~ "the cursor is none"
  end

  test "an entry of more than 1 MiB comes alone", %{bucket: bucket} do
    large = String.duplicate("x", 2_000_000)
    for n <- 1..3, do: :ok = KV.Bucket.put(bucket, n, large)
    assert {[_], cursor} = KV.Bucket.scan(bucket, :start)
    assert {[_], cursor} = KV.Bucket.scan(bucket, cursor)
    assert {[_], :done} = KV.Bucket.scan(bucket, cursor)
    assert {keys, :done} = KV.Bucket.scan(bucket, :start, return: :keys)
    assert Enum.sort(keys) == [1, 2, 3]
  end

  @tag timeout: 300_000
  test "a bucket over 256 MiB, for which to_map/1 is too large, is walked", %{bucket: bucket} do
    large = :binary.copy("x", 30_000_000)
    for n <- 1..10, do: :ok = KV.Bucket.put(bucket, n, large)
    assert {{:too_large, _}, _} = catch_exit(KV.Bucket.to_map(bucket))
    assert KV.Bucket.reduce(bucket, 0, fn {_, value}, sum -> sum + byte_size(value) end) == 300_000_000
  end

  test "a wrong option raises", %{bucket: bucket} do
    assert_raise ArgumentError, ~r"prefix", fn -> KV.Bucket.count(bucket, prefix: :a) end
    assert_raise ArgumentError, ~r"did you mean limit", fn -> KV.Bucket.scan(bucket, :start, limt: 1) end
    assert_raise ArgumentError, ~r"the cursor", fn -> KV.Bucket.scan(bucket, 1) end
    assert_raise ArgumentError, ~r"limit", fn -> bucket |> KV.Bucket.stream(limit: 0) |> Enum.to_list() end
  end

  test "by proxy, by name and by its native pid, a walk is the same" do
    {:ok, proxy} = KV.Bucket.start_link(name: __MODULE__)
    :ok = KV.Bucket.put_many(proxy, for(n <- 1..5_000, do: {n, n}))
    for address <- [proxy, __MODULE__, {__MODULE__, node()}], do: assert(KV.Bucket.count(address) == 5_000)
    assert {:ok, request} = {:ok, :kv_bucket.fold(proxy, fn _, n -> n + 1 end, 0)}
    assert request == 5_000
  end

  test "stats count what has happened", %{bucket: bucket} do
    call = fn request -> GenServer.call(bucket, request) end
    :ok = KV.Bucket.put_many(bucket, a: 1, b: 2)
    true = KV.Bucket.put_new(bucket, :c, 3)
    3 = KV.Bucket.delete(bucket, :c)
    assert [1, nil] = call.({:get_many, [:a, :z], nil})
    assert :error = call.({:fetch, :z})

    assert %{puts: 3, deletes: 1, hits: 2, misses: 3, evictions: 0, expirations: 0, size: 2} =
             KV.Bucket.stats(bucket)

    assert %{local_hits: 0, local_misses: 0, evict: :none, ttl: :infinity, touch_on_read: false} =
             KV.Bucket.stats(bucket)

    assert %{durable: false, reads: :durable} = KV.Bucket.stats(bucket)

    assert %{size: 2, puts: 3, local_hits: 0, node: node} = KV.Bucket.info(bucket)
    assert node != node()
  end

  test "stats count evictions and expirations" do
    {:ok, cache} = KV.Bucket.start_link(max_memory: 65_536, evict: :lru)
    for i <- 1..100, do: :ok = KV.Bucket.put(cache, i, String.duplicate("v", 1_000))
    assert %{evictions: evictions, size: size, max_memory: 65_536} = KV.Bucket.stats(cache)
    assert evictions + size == 100
    {:ok, bucket} = KV.Bucket.start_link(ttl: 60_000, evict: :ttl, touch_on_read: true, max_entries: 9)
    assert %{ttl: 60_000, evict: :ttl, touch_on_read: true, max_entries: 9} = KV.Bucket.info(bucket)
    :ok = KV.Bucket.put(bucket, 1, 1, ttl: 1)
    eventually(fn -> match?(%{expirations: 1, size: 0}, KV.Bucket.stats(bucket)) end)
  end
end
