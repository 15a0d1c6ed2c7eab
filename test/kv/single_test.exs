defmodule KV.SingleTest do
  @moduledoc """
  Each operation on a single key does the same by every address of a bucket, by `async/3` and by `cast/3`.
  """

  use KV.Case, async: true

  # The function, its arguments, and the answer for a key `:n` with the value 1.
  @calls [
    {:pop, [:n], {:ok, 1}},
    {:swap, [:n, 2], {:ok, 1}},
    {:replace, [:n, 2], true},
    {:compare_and_put, [:n, 1, 2], true},
    {:compare_and_delete, [:n, 1], true},
    {:incr, [:n, 2], 3},
    {:decr, [:n, 2], -1},
    {:ttl, [:n], {:ok, :infinity}},
    {:expire, [:n, 60_000], true},
    {:expire_at, [:n, 0], true},
    {:persist, [:n], true},
    {:touch, [:n], true}
  ]

  @absent [
    {:pop, [:x], :error},
    {:swap, [:x, 2], :error},
    {:replace, [:x, 2], false},
    {:compare_and_put, [:x, 1, 2], false},
    {:compare_and_delete, [:x, 1], false},
    {:incr, [:x, 2, [default: 40]], 42},
    {:ttl, [:x], :error},
    {:expire, [:x, 60_000], false},
    {:persist, [:x], false},
    {:touch, [:x], false}
  ]

  setup do
    name = :"single_#{System.unique_integer([:positive])}"
    proxy = start_supervised!({KV.Bucket, name: name})
    native = :kv_proxy.native(proxy)
    %{addresses: [proxy, native, name, {name, node()}, {name, node(native)}]}
  end

  defp begin(bucket) do
    _ = KV.Bucket.delete_many(bucket, [:x])
    :ok = KV.Bucket.put(bucket, :n, 1)
  end

  test "by every address", %{addresses: addresses} do
    for address <- addresses, {function, arguments, answer} <- @calls ++ @absent do
      begin(address)

      assert {address, function, answer} ==
               {address, function, apply(KV.Bucket, function, [address | arguments])}
    end
  end

  test "by async", %{addresses: addresses} do
    for address <- addresses, {function, arguments, answer} <- @calls ++ @absent do
      begin(address)
      request = KV.Bucket.async(address, function, arguments)
      assert {address, function, answer} == {address, function, KV.Bucket.await(request)}
    end
  end

  test "by cast, with what a call leaves", %{addresses: [bucket | _] = addresses} do
    for address <- addresses, {function, arguments, _} <- @calls, function not in [:pop, :ttl] do
      begin(bucket)
      apply(KV.Bucket, function, [bucket | arguments])
      left = KV.Bucket.to_map(bucket)
      begin(address)
      :ok = KV.Bucket.cast(address, function, arguments)
      assert {address, function, left} == {address, function, KV.Bucket.to_map(address)}
    end
  end
end
