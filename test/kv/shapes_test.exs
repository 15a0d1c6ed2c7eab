defmodule KV.ShapesTest do
  @moduledoc """
  A bucket behind the functions of Nebulex and Cachex, and docs/adapters.md.
  """

  use KV.Case, async: true

  alias KV.CachexShape, as: Cachex
  alias KV.NebulexShape, as: Nebulex

  @page File.read!(Path.expand("../../docs/adapters.md", __DIR__))

  defp cache(options \\ []), do: start_supervised!({KV.Bucket, options})

  defp nebulex(context, options \\ []) do
    {:ok, spec, meta} = Nebulex.init([name: context.test] ++ options)
    start_supervised!(spec)
    meta
  end

  describe "docs/adapters.md" do
    test "each callback and action that maps or is close has its function, and no other has" do
      for {section, module} <- [{"Nebulex 2.6", Nebulex}, {"Cachex 4.1", Cachex}] do
        rows = rows(section)
        mapped = for {name, verdict} <- rows, verdict in ["maps", "close"], uniq: true, do: name
        refused = for {name, "no"} <- rows, do: name

        functions =
          module.__info__(:functions) |> Keyword.keys() |> Enum.map(&Atom.to_string/1) |> Enum.uniq()

        assert Enum.sort(mapped) == Enum.sort(functions), section
        assert Enum.filter(refused, &(&1 in functions)) == [], section
      end
    end

    defp rows(section) do
      [_, text] = String.split(@page, "## #{section}\n")

      for "| `" <> _ = line <- text |> String.split("\n## ") |> hd() |> String.split("\n"),
          [names, verdict | _] = line |> String.trim("|") |> String.split("|") |> Enum.map(&String.trim/1),
          [_, name] <- Regex.scan(~r/`([a-z_?]+)\//, names) do
        {name, verdict}
      end
    end
  end

  describe "Nebulex" do
    test "put takes its three ways of writing", context do
      meta = nebulex(context)
      assert Nebulex.put(meta, :a, 1, :infinity, :replace, []) == false
      assert Nebulex.put(meta, :a, 1, :infinity, :put_new, [])
      assert Nebulex.put(meta, :a, 2, :infinity, :put_new, []) == false
      assert Nebulex.put(meta, :a, 3, :infinity, :replace, [])
      assert Nebulex.put(meta, :a, 4, 60_000, :put, [])
      assert Nebulex.get(meta, :a, []) == 4
      assert Nebulex.ttl(meta, :a) in 1..60_000
    end

    test "put_all of new entries is all or none", context do
      meta = nebulex(context)
      assert Nebulex.put_all(meta, %{a: 1, b: 2}, :infinity, :put_new, [])
      assert Nebulex.put_all(meta, %{b: 3, c: 4}, :infinity, :put_new, []) == false
      assert Nebulex.get_all(meta, [:a, :b, :c], []) == %{a: 1, b: 2}
      assert Nebulex.put_all(meta, [b: 3, c: 4], :infinity, :put, [])
      assert Nebulex.get_all(meta, [:a, :b, :c], []) == %{a: 1, b: 3, c: 4}
    end

    test "delete, take and has_key? tell absent keys from nil", context do
      meta = nebulex(context)
      assert Nebulex.put(meta, :a, nil, :infinity, :put, [])
      assert Nebulex.has_key?(meta, :a)
      assert Nebulex.take(meta, :a, []) == nil
      refute Nebulex.has_key?(meta, :a)
      assert Nebulex.delete(meta, :a, []) == :ok
    end

    test "expire, ttl and touch", context do
      meta = nebulex(context, ttl: 60_000)
      assert Nebulex.ttl(meta, :a) == nil
      assert {Nebulex.expire(meta, :a, 1_000), Nebulex.touch(meta, :a)} == {false, false}
      assert Nebulex.put(meta, :a, 1, :infinity, :put, [])
      assert Nebulex.ttl(meta, :a) == :infinity
      assert Nebulex.expire(meta, :a, 1_000)
      assert Nebulex.ttl(meta, :a) in 1..1_000
      assert Nebulex.touch(meta, :a)
      assert Nebulex.ttl(meta, :a) in 1_001..60_000
      assert Nebulex.expire(meta, :a, :infinity)
      assert Nebulex.ttl(meta, :a) == :infinity
    end

    test "update_counter begins at its default, and only a new counter gets the time to live", context do
      meta = nebulex(context)
      assert Nebulex.update_counter(meta, :n, 2, :infinity, 10, []) == 12
      assert Nebulex.update_counter(meta, :n, -3, 1_000, 10, []) == 9
      assert Nebulex.ttl(meta, :n) == :infinity
      assert Nebulex.put(meta, :s, "text", :infinity, :put, [])
      assert_raise KV.Error, fn -> Nebulex.update_counter(meta, :s, 1, :infinity, 0, []) end
    end

    test "all, count_all, delete_all and stream", context do
      meta = nebulex(context)
      entries = for n <- 1..5_000, into: %{}, do: {n, -n}
      assert Nebulex.put_all(meta, entries, :infinity, :put, [])
      assert meta |> Nebulex.execute(:all, nil, []) |> Enum.sort() == Enum.to_list(1..5_000)
      assert meta |> Nebulex.stream(nil, return: {:key, :value}) |> Map.new() == entries
      assert Nebulex.execute(meta, :all, {:in, [1, 0]}, return: :value) == [-1]
      assert Nebulex.execute(meta, :count_all, {:in, [1, 0]}, []) == 1
      assert Nebulex.execute(meta, :delete_all, {:in, [1, 0]}, []) == 1
      assert Nebulex.execute(meta, :count_all, nil, []) == 4_999
      assert Nebulex.execute(meta, :delete_all, nil, []) == 4_999
      assert Nebulex.execute(meta, :count_all, nil, []) == 0
    end

    @tag :tmp_dir
    test "dump and load", %{tmp_dir: directory} = context do
      meta = nebulex(context)
      path = Path.join(directory, "dump")
      assert Nebulex.put_all(meta, %{a: 1, b: 2}, :infinity, :put, [])
      assert Nebulex.dump(meta, path, []) == :ok
      assert Nebulex.execute(meta, :delete_all, nil, []) == 2
      assert Nebulex.load(meta, path, []) == :ok
      assert Nebulex.get_all(meta, [:a, :b], []) == %{a: 1, b: 2}
    end

    test "stats count hits, misses and writes", context do
      meta = nebulex(context)
      assert Nebulex.put(meta, :a, 1, :infinity, :put, [])
      assert {Nebulex.get(meta, :a, []), Nebulex.get(meta, :b, [])} == {1, nil}
      assert %{measurements: %{hits: 1, misses: 1, writes: 1, evictions: 0}} = Nebulex.stats(meta)
    end
  end

  describe "Cachex" do
    test "put, get, del, exists? and take" do
      cache = cache()
      assert Cachex.put(cache, :a, 1) == :ok
      assert {Cachex.get(cache, :a), Cachex.get(cache, :b), Cachex.get(cache, :b, default: 0)} == {1, nil, 0}
      assert {Cachex.exists?(cache, :a), Cachex.exists?(cache, :b)} == {true, false}
      assert Cachex.del(cache, :a) == :ok
      assert Cachex.del(cache, :a) == :ok
      assert Cachex.put_many(cache, [{:b, 2}, {:c, 3}], expire: 1_000) == :ok
      assert Cachex.ttl(cache, :b) in 1..1_000
      assert {Cachex.take(cache, :b), Cachex.take(cache, :b)} == {2, nil}
      assert {Cachex.size(cache), Cachex.empty?(cache), Cachex.keys(cache)} == {1, false, [:c]}
      assert Cachex.clear(cache) == 1
      assert Cachex.empty?(cache)
    end

    test "update keeps the time to live and needs an entry" do
      cache = cache()
      assert Cachex.update(cache, :a, 1) == false
      assert Cachex.put(cache, :a, 1, expire: 60_000) == :ok
      assert Cachex.update(cache, :a, 2)
      assert Cachex.get(cache, :a) == 2
      assert Cachex.ttl(cache, :a) in 1..60_000
    end

    test "incr and decr begin at their default" do
      cache = cache()
      assert {Cachex.incr(cache, :n), Cachex.incr(cache, :n, 5), Cachex.decr(cache, :n, 2)} == {1, 6, 4}
      assert Cachex.incr(cache, :m, 1, default: 10) == 11
      assert Cachex.put(cache, :s, "text") == :ok
      assert Cachex.incr(cache, :s) == {:error, :not_an_integer}
    end

    test "get_and_update commits or ignores" do
      cache = cache()
      assert Cachex.get_and_update(cache, :a, fn nil -> {:ignore, :none} end) == {:ignore, :none}
      refute Cachex.exists?(cache, :a)
      assert Cachex.get_and_update(cache, :a, fn nil -> {:commit, 1} end) == {:commit, 1}
      assert Cachex.get_and_update(cache, :a, &(&1 + 1)) == {:commit, 2}
      assert Cachex.get(cache, :a) == 2
    end

    test "expire, expire_at, persist, touch and refresh" do
      cache = cache(ttl: 60_000)
      assert Cachex.put(cache, :a, 1) == :ok
      assert Cachex.ttl(cache, :a) in 1..60_000
      assert Cachex.persist(cache, :a)
      assert Cachex.ttl(cache, :a) == nil
      assert Cachex.expire(cache, :a, 1_000)
      assert Cachex.ttl(cache, :a) in 1..1_000
      assert Cachex.refresh(cache, :a) and Cachex.touch(cache, :a)
      assert Cachex.ttl(cache, :a) in 1_001..60_000
      assert Cachex.expire_at(cache, :a, System.system_time(:millisecond) + 5_000)
      assert Cachex.ttl(cache, :a) in 1..5_000
      assert Cachex.expire(cache, :a, nil)
      assert Cachex.expire(cache, :a, 0)
      refute Cachex.exists?(cache, :a)
      refute Cachex.expire(cache, :a, 1_000)
    end

    @tag :tmp_dir
    test "stream, export, import, save, restore, stats and execute", %{tmp_dir: directory} do
      cache = cache()
      entries = for n <- 1..3_000, do: {n, n}
      assert Cachex.import(cache, entries) == :ok
      assert cache |> Cachex.stream() |> Enum.sort() == entries
      assert cache |> Cachex.export() |> Enum.sort() == entries
      assert Cachex.save(cache, Path.join(directory, "cache")) == :ok
      assert Cachex.clear(cache) == 3_000
      assert Cachex.restore(cache, Path.join(directory, "cache")) == {:ok, 3_000}
      assert Cachex.execute(cache, &Cachex.get(&1, 7)) == 7
      assert %{hits: 1} = Cachex.stats(cache)
    end
  end
end
