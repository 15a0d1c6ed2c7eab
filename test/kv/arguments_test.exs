defmodule KV.ArgumentsTest do
  @moduledoc "Arguments in Elixir: the message of an error, options in last place, `nil` for what is absent."

  use KV.Case, async: true

  setup do
    {:ok, bucket: start_supervised!(KV.Bucket)}
  end

  describe "a wrong argument raises ArgumentError with a message" do
    test "that says which argument is wrong, and which value is wanted", %{bucket: bucket} do
      for {call, message} <- [
            {fn -> KV.Bucket.put(bucket, :k, :v, ttl: 0) end,
             "4th argument: ttl must be 1 to 70368744177664 milliseconds"},
            {fn -> KV.Bucket.put(bucket, :k, :v, tll: 1) end,
             "4th argument: there is no option tll; did you mean ttl?"},
            {fn -> KV.Bucket.size(bucket, -1) end,
             "2nd argument: the timeout must be 0 to 4294967295 milliseconds"},
            {fn -> KV.Bucket.get(bucket, :k, timeout: :soon) end, "3rd argument: timeout must be 0 to"},
            {fn -> KV.Bucket.delete(bucket, :k, :soon) end, "3rd argument: the timeout must be 0 to"},
            {fn -> KV.Bucket.get_many(bucket, :k) end,
             "2nd argument: the list of keys must be a proper list, and is k"},
            {fn -> KV.Bucket.put_many(bucket, [:k]) end,
             "2nd argument: the collection of entries must be a map"},
            {fn -> KV.Bucket.async(bucket, :puts, []) end,
             "2nd argument: async/3 cannot send puts; did you mean put?"},
            {fn -> KV.Bucket.async(bucket, :put, [:k, :v, 1000]) end, "await/2 takes the timeout"},
            {fn -> KV.Bucket.cast(bucket, :get, [:k]) end, "2nd argument: cast/3 cannot send get"},
            {fn -> KV.Bucket.await(:k) end,
             "1st argument: the request must be a value that async/3 has returned"},
            {fn -> KV.Registry.lookup(KV.Registry, "k", :soon) end, "3rd argument: the timeout must be"},
            {fn -> KV.EventManager.add_handler(KV.EventManager, X, [], [:gone]) end,
             "4th argument: the list of events must be"},
            {fn -> KV.EventManager.stream(KV.EventManager, [:gone]) end,
             "2nd argument: the list of events must be"},
            {fn -> KV.info("kv") end, "1st argument: the process or node must be"},
            {fn -> KV.info(self()) end, "1st argument: the process must be a bucket, a registry"},
            {fn -> KV.Bucket.expire_at(bucket, :k, Bitwise.bsl(1, 60)) end,
             "3rd argument: the time must be milliseconds since 1970, at most 70368744177664"},
            {fn -> KV.Bucket.reduce(bucket, 0, 3) end,
             "3rd argument: the function must be a function with two arguments, and is 3"},
            {fn -> KV.Bucket.reduce(bucket, 0, fn _ -> 0 end) end,
             "3rd argument: the function must be a function with two arguments"},
            {fn -> KV.Bucket.put(bucket, :k, :v, [{:ttl, 1} | :x]) end,
             "4th argument: the list of options is improper: its tail is x"},
            {fn -> KV.Bucket.incr(bucket, :k, [{:max, 1} | :x], 1_000) end,
             "4th argument: the list of options is improper: its tail is x"},
            {fn -> KV.Bucket.async(bucket, :put, [:k, :v, [{:ttl, 1} | :x]]) end,
             "3rd argument: the list of options is improper: its tail is x"},
            {fn -> KV.Bucket.update(bucket, :k, 0, fn _ -> 0 end, [{:ttl, 1} | :x]) end,
             "5th argument: the list of options is improper: its tail is x"},
            {fn -> KV.Bucket.scan(bucket, :start, [{:limit, 1} | :x]) end,
             "3rd argument: the list of options is improper: its tail is x"}
          ] do
        assert_raise ArgumentError, ~r/#{Regex.escape(message)}/, call
      end
    end

    test "that is the same for a call, for async and for cast", %{bucket: bucket} do
      for {function, args, message} <- [
            {:incr, [:k, 1.5], "the step must be an integer of at most 1,024 bits, and is 1.5"},
            {:decr, [:k, :one], "the step must be an integer"},
            {:expire, [:k, 0], "the time to live must be 1 to 70368744177664 milliseconds"},
            {:expire_at, [:k, Bitwise.bsl(1, 60)], "the time must be milliseconds since 1970"},
            {:scan, [:start, [limit: 0]], "limit must be a number of entries from 1 on"},
            {:scan, [:start, [return: :all]], "return must be entries, keys, values or timed"},
            {:scan, [:first], "the cursor must be start"}
          ] do
        expected = ~r/#{Regex.escape(message)}/
        assert_raise ArgumentError, expected, fn -> apply(KV.Bucket, function, [bucket | args]) end
        assert_raise ArgumentError, expected, fn -> KV.Bucket.async(bucket, function, args) end

        unless function == :scan do
          assert_raise ArgumentError, expected, fn -> KV.Bucket.cast(bucket, function, args) end
          operation = List.to_tuple([function | args])
          assert_raise ArgumentError, expected, fn -> KV.Bucket.transaction(bucket, [operation]) end
        end
      end
    end

    test "that forbids an update of the same key inside of an update", %{bucket: bucket} do
      :ok = KV.Bucket.put(bucket, :k, 1)

      nested = fn value ->
        KV.Bucket.update(bucket, :k, 0, & &1)
        value
      end

      message = ~r/the function of an update must not update the same key/
      assert_raise ArgumentError, message, fn -> KV.Bucket.update(bucket, :k, 0, nested) end

      rescued =
        KV.Bucket.update(bucket, :k, 0, fn value ->
          try do
            nested.(value)
          rescue
            error -> Exception.message(error)
          end
        end)

      assert {:ok, text} = rescued
      assert text =~ message
    end

    test "as a shell prints it", %{bucket: bucket} do
      {error, stacktrace} =
        try do
          KV.Bucket.put(bucket, :k, :v, :soon)
        rescue
          error -> {error, __STACKTRACE__}
        end

      assert Exception.format(:error, error, stacktrace) =~
               "4th argument: the timeout must be 0 to 4294967295 milliseconds, or infinity, or a list of options, and is soon"
    end
  end

  test "options that are no list, or unknown, are refused in the same words by every start function" do
    for start <- [
          &KV.Bucket.start_link/1,
          &KV.Registry.start_link/1,
          &KV.BucketSupervisor.start_link/1,
          &KV.EventManager.start_link/1,
          &KV.Node.start_link/1
        ] do
      assert {:error, {:bad_option, "no list", "options must be a list of pairs or a map, and is " <> _}} =
               start.("no list")

      assert {:error, {:bad_option, :nmae, "there is no option nmae; " <> _}} = start.(nmae: :a)
    end
  end

  test "every function takes options in last place", %{bucket: bucket} do
    long = [timeout: 60_000]
    assert KV.Bucket.get(bucket, :k, long) == nil
    assert KV.Bucket.get(bucket, :k, default: 0) == 0
    assert KV.Bucket.get(bucket, :k, [default: [timeout: 1]] ++ long) == [timeout: 1]
    assert KV.Bucket.get(bucket, :k, 0, long) == 0
    assert KV.Bucket.get(bucket, :k, ttl: 1) == [ttl: 1]
    assert KV.Bucket.get_many(bucket, [:k], long) == [nil]
    assert KV.Bucket.get_many(bucket, [:k], default: 0) == [0]
    assert KV.Bucket.fetch(bucket, :k, long) == :error
    assert_raise KeyError, fn -> KV.Bucket.fetch!(bucket, :k, long) end
    assert KV.Bucket.put(bucket, :k, 1, long ++ [ttl: :infinity]) == :ok
    assert KV.Bucket.put_new(bucket, :k, 1, long) == false
    assert KV.Bucket.put_many(bucket, %{k: 2}, long) == :ok
    assert KV.Bucket.has_key?(bucket, :k, long)
    assert KV.Bucket.take(bucket, [:k], long) == %{k: 2}
    assert KV.Bucket.keys(bucket, long) == [:k]
    assert KV.Bucket.size(bucket, long) == 1
    assert KV.Bucket.delete(bucket, :k, long) == 2
    assert KV.Bucket.delete_many(bucket, [:k], long) == 0
    assert KV.Bucket.clear(bucket, long) == :ok
    assert KV.Bucket.generation(bucket, long) == 1
    assert bucket |> KV.Bucket.async(:put, [:k, 3, [ttl: 60_000]]) |> KV.Bucket.await(long) == :ok
    assert [KV.Bucket.async(bucket, :get, [:k])] |> KV.Bucket.await_many(long) == [3]
    assert KV.Bucket.stop(bucket, :normal, long) == :ok
  end

  test "a counter takes options without a step, and a timeout after them", %{bucket: bucket} do
    assert KV.Bucket.incr(bucket, :k, [max: 3], 1_000) == 1
    assert KV.Bucket.incr(bucket, :k, [max: 3], 5_000) == 2
    assert KV.Bucket.decr(bucket, :k, [min: 0], 1_000) == 1
    assert :kv_bucket.incr(bucket, :k, [max: 3], 1_000) == 2
  end

  test "the sentence of an error blames the limit of a transaction, and says nothing of a value that is not there" do
    for reason <- [{:too_large, 1_100_023}, {3, {:too_large, 1_100_023}}] do
      assert Exception.message(%KV.Error{reason: reason}) =~
               "1100023 bytes are too many: a transaction may have 1 MiB"
    end

    {:ok, bucket} = KV.Bucket.start_link()
    large = String.duplicate("x", 1_100_000)

    assert_raise KV.Error, ~r"a transaction may have 1 MiB", fn ->
      KV.Bucket.transaction!(bucket, [{:put, :k, large}])
    end

    assert_raise KV.Error, ~r"nothing has changed; the step would start from 0", fn ->
      KV.Bucket.incr!(bucket, :absent, 5, max: 3)
    end
  end

  test "an asynchronous scan needs no options", %{bucket: bucket} do
    :ok = KV.Bucket.put(bucket, :k, 1)
    assert bucket |> KV.Bucket.async(:scan, [:start]) |> KV.Bucket.await() == {[k: 1], :done}
    assert bucket |> KV.Bucket.async(:scan, [:start, [return: :keys]]) |> KV.Bucket.await() == {[:k], :done}
  end

  test "an absent key is nil in every function, and a figure that is absent, too", %{bucket: bucket} do
    assert KV.Bucket.get(bucket, :k) == nil
    assert KV.Bucket.get_many(bucket, [:k]) == [nil]
    assert KV.Bucket.delete(bucket, :k) == nil

    for {function, arg, absent} <- [{:get, :k, nil}, {:get_many, [:k], [nil]}, {:delete, :k, nil}] do
      assert bucket |> KV.Bucket.async(function, [arg]) |> KV.Bucket.await() == absent
    end

    assert KV.info(bucket).name == nil
    for process <- KV.processes(limit: 1000), do: refute(:undefined in Map.values(process))
  end

  test "nil is no option, wherever an option may be left out" do
    {:ok, bucket} = KV.Bucket.start_link(name: nil, node: nil, fill: nil)
    assert KV.Bucket.size(bucket) == 0
    {:ok, registry} = KV.Registry.start_link(name: nil, node: nil, buckets: nil, event_manager: nil)
    assert KV.Registry.create(registry, "one") == :ok
  end
end
