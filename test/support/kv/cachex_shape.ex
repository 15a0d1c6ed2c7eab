defmodule KV.CachexShape do
  @moduledoc """
  A bucket in the shape of the actions of Cachex 4.1, each on one function of `KV.Bucket`. docs/adapters.md has the table.

  An action that fails returns `{:error, reason}`.
  """

  ## Reading

  def get(cache, key, options \\ []), do: KV.Bucket.get(cache, key, Keyword.get(options, :default))
  def exists?(cache, key), do: KV.Bucket.has_key?(cache, key)
  def size(cache), do: KV.Bucket.size(cache)
  def empty?(cache), do: KV.Bucket.size(cache) == 0
  def keys(cache), do: KV.Bucket.keys(cache)
  def stream(cache, options \\ []), do: KV.Bucket.stream(cache, options)
  def export(cache), do: Enum.to_list(KV.Bucket.stream(cache))
  def stats(cache), do: KV.Bucket.stats(cache)

  ## Writing

  def put(cache, key, value, options \\ []), do: KV.Bucket.put(cache, key, value, ttl(options))
  def put_many(cache, pairs, options \\ []), do: KV.Bucket.put_many(cache, pairs, ttl(options))
  def update(cache, key, value), do: KV.Bucket.replace(cache, key, value, keep_ttl: true)
  def import(cache, entries), do: KV.Bucket.put_many(cache, entries)

  def del(cache, key) do
    _ = KV.Bucket.delete(cache, key)
    :ok
  end

  def take(cache, key) do
    case KV.Bucket.pop(cache, key) do
      {:ok, value} -> value
      :error -> nil
    end
  end

  # The number is the one of a moment before.
  def clear(cache) do
    size = KV.Bucket.size(cache)
    :ok = KV.Bucket.clear(cache)
    size
  end

  defp ttl(options) do
    case Keyword.fetch(options, :expire) do
      {:ok, nil} -> [ttl: :infinity]
      {:ok, ms} -> [ttl: ms]
      :error -> []
    end
  end

  ## Numbers, and by a function

  def incr(cache, key, amount \\ 1, options \\ []), do: KV.Bucket.incr(cache, key, amount, options)
  def decr(cache, key, amount \\ 1, options \\ []), do: KV.Bucket.decr(cache, key, amount, options)

  def get_and_update(cache, key, fun) do
    outcome =
      KV.Bucket.get_and_update(cache, key, fn value ->
        case fun.(value) do
          {:ignore, _} = ignored -> throw({:ignored, ignored})
          {:commit, new} -> {{:commit, new}, new}
          new -> {{:commit, new}, new}
        end
      end)

    with {:ok, tagged} <- outcome, do: tagged
  catch
    # The function has left: nothing has changed.
    {:ignored, tagged} -> tagged
  end

  ## Time

  def ttl(cache, key) do
    case KV.Bucket.ttl(cache, key) do
      {:ok, ms} when is_integer(ms) -> ms
      _none -> nil
    end
  end

  def expire(cache, key, nil), do: KV.Bucket.persist(cache, key)
  def expire(cache, key, ms) when ms > 0, do: KV.Bucket.expire(cache, key, ms)
  def expire(cache, key, _past), do: KV.Bucket.pop(cache, key) != :error

  def expire_at(cache, key, unix_ms), do: KV.Bucket.expire_at(cache, key, unix_ms)
  def persist(cache, key), do: KV.Bucket.persist(cache, key)
  def touch(cache, key), do: KV.Bucket.touch(cache, key)
  def refresh(cache, key), do: KV.Bucket.touch(cache, key)

  ## Files

  def save(cache, path), do: with({:ok, _count} <- KV.Bucket.export(cache, path), do: :ok)
  def restore(cache, path), do: KV.Bucket.import(cache, path)

  ## Together

  def execute(cache, fun), do: fun.(cache)
end
