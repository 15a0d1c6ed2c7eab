defmodule KV.NebulexShape do
  @moduledoc """
  A bucket in the shape of an adapter of Nebulex 2.6: the callbacks of its behaviours `Entry`, `Queryable`, `Persistence` and
  `Stats`, each on one function of `KV.Bucket`. docs/adapters.md has the table.
  """

  @type meta :: %{bucket: KV.Bucket.t()}
  @type on_write :: :put | :put_new | :replace

  @doc "Options are those of a bucket."
  def init(options), do: {:ok, KV.Bucket.child_spec(options), %{bucket: Keyword.fetch!(options, :name)}}

  ## Entry

  def get(%{bucket: bucket}, key, _opts), do: KV.Bucket.get(bucket, key)

  def get_all(%{bucket: bucket}, keys, _opts), do: KV.Bucket.take(bucket, keys)

  def put(%{bucket: bucket}, key, value, ttl, :put, _opts),
    do: KV.Bucket.put!(bucket, key, value, ttl: ttl) == :ok

  def put(%{bucket: bucket}, key, value, ttl, :put_new, _opts),
    do: KV.Bucket.put_new!(bucket, key, value, ttl: ttl)

  def put(%{bucket: bucket}, key, value, ttl, :replace, _opts),
    do: KV.Bucket.replace!(bucket, key, value, ttl: ttl)

  def put_all(%{bucket: bucket}, entries, ttl, :put, _opts),
    do: KV.Bucket.put_many!(bucket, entries, ttl: ttl) == :ok

  def put_all(%{bucket: bucket}, entries, ttl, :put_new, _opts),
    do: KV.Bucket.put_new_many!(bucket, entries, ttl: ttl)

  def delete(%{bucket: bucket}, key, _opts) do
    _ = KV.Bucket.delete(bucket, key)
    :ok
  end

  def take(%{bucket: bucket}, key, _opts), do: or_nil(KV.Bucket.pop(bucket, key))

  def has_key?(%{bucket: bucket}, key), do: KV.Bucket.has_key?(bucket, key)

  def ttl(%{bucket: bucket}, key), do: or_nil(KV.Bucket.ttl(bucket, key))

  def expire(%{bucket: bucket}, key, :infinity), do: KV.Bucket.persist(bucket, key)
  def expire(%{bucket: bucket}, key, ttl), do: KV.Bucket.expire(bucket, key, ttl)

  def touch(%{bucket: bucket}, key), do: KV.Bucket.touch(bucket, key)

  def update_counter(%{bucket: bucket}, key, amount, ttl, default, _opts),
    do: KV.Bucket.incr!(bucket, key, amount, ttl: ttl, default: default)

  defp or_nil({:ok, value}), do: value
  defp or_nil(:error), do: nil

  ## Queryable: `nil` is the query for all entries, `{:in, keys}` the one for some.

  def execute(meta, :all, nil, opts), do: Enum.to_list(stream(meta, nil, opts))

  def execute(%{bucket: bucket}, :all, {:in, keys}, opts) do
    bucket |> KV.Bucket.take(keys) |> Enum.map(&returned(&1, opts[:return]))
  end

  def execute(%{bucket: bucket}, :count_all, nil, _opts), do: KV.Bucket.count(bucket)

  def execute(%{bucket: bucket}, :count_all, {:in, keys}, _opts), do: map_size(KV.Bucket.take(bucket, keys))

  # The number is the one of a moment before.
  def execute(%{bucket: bucket}, :delete_all, nil, _opts) do
    count = KV.Bucket.count(bucket)
    :ok = KV.Bucket.clear(bucket)
    count
  end

  def execute(%{bucket: bucket}, :delete_all, {:in, keys}, _opts), do: KV.Bucket.delete_many!(bucket, keys)

  def stream(%{bucket: bucket}, nil, opts) do
    bucket |> KV.Bucket.stream() |> Stream.map(&returned(&1, opts[:return]))
  end

  defp returned({key, _value}, none_or_key) when none_or_key in [nil, :key], do: key
  defp returned({_key, value}, :value), do: value
  defp returned(entry, {:key, :value}), do: entry

  ## Persistence

  def dump(%{bucket: bucket}, path, _opts), do: with({:ok, _count} <- KV.Bucket.export(bucket, path), do: :ok)

  def load(%{bucket: bucket}, path, _opts), do: with({:ok, _count} <- KV.Bucket.import(bucket, path), do: :ok)

  ## Stats

  def stats(%{bucket: bucket}) do
    stats = KV.Bucket.stats(bucket)

    %{
      measurements: %{
        hits: stats.hits + Map.get(stats, :local_hits, 0),
        misses: stats.misses + Map.get(stats, :local_misses, 0),
        writes: stats.puts,
        evictions: stats.evictions,
        expirations: stats.expirations
      },
      metadata: %{bucket: bucket}
    }
  end
end
