defmodule KV.ExportTest do
  # Not beside others: a bucket of more than 256 MiB takes the memory and the time that they measure.
  use KV.Case, async: false

  import Bitwise, only: [<<<: 2]

  setup do
    folder = Path.join(System.tmp_dir!(), "kv-export-#{System.pid()}-#{System.unique_integer([:positive])}")
    File.mkdir!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    %{bucket: start_supervised!(KV.Bucket), path: Path.join(folder, "bucket.kv")}
  end

  defp other(options \\ []) do
    {:ok, bucket} = KV.Bucket.start_link(options)
    bucket
  end

  defp export(entries, file) do
    bucket = other()
    :ok = KV.Bucket.put_many(bucket, entries)
    assert KV.Bucket.export(bucket, file) == {:ok, map_size(entries)}
    File.read!(file)
  end

  test "an import brings back every kind of term", %{bucket: bucket, path: file} do
    terms = [
      nil,
      1,
      -1.5,
      1.0,
      1 <<< 200,
      "text",
      <<1::3>>,
      ~c"chars",
      [],
      [1 | 2],
      {},
      {1, [2]},
      %{},
      %{a: %{"b" => 1}}
    ]

    terms = terms ++ [self(), make_ref(), &String.length/1, :ünicode, String.duplicate("large", 1_000)]
    entries = terms |> Enum.reverse() |> Enum.zip(terms) |> Map.new()
    export(entries, file)
    assert KV.Bucket.import(bucket, file) == {:ok, length(terms)}
    assert KV.Bucket.to_map(bucket) == entries
  end

  test "an entry keeps the instant of its end, and one that has expired is left out", %{
    bucket: bucket,
    path: file
  } do
    :ok = KV.Bucket.put_many(bucket, for(n <- 1..2_500, do: {n, n}), ttl: 600_000)
    :ok = KV.Bucket.put(bucket, :large, String.duplicate("x", 2_000_000), ttl: 600_000)
    :ok = KV.Bucket.put(bucket, :for_good, 0)
    :ok = KV.Bucket.put(bucket, :short, 0, ttl: 200)
    assert KV.Bucket.export(bucket, file) == {:ok, 2_503}
    eventually(fn -> not KV.Bucket.has_key?(bucket, :short) end)
    copy = other(ttl: 1_000)
    assert KV.Bucket.import(copy, file) == {:ok, 2_502}
    assert KV.Bucket.ttl(copy, :for_good) == {:ok, :infinity}

    for key <- [1, 2_500, :large] do
      {:ok, ttl} = KV.Bucket.ttl(bucket, key)
      {:ok, copied} = KV.Bucket.ttl(copy, key)
      assert_in_delta copied, ttl, 5_000
    end

    assert KV.Bucket.count(copy, expires: true) == 2_501
  end

  @tag timeout: 300_000
  test "a bucket over 256 MiB is exported and imported, with values of any size", %{
    bucket: bucket,
    path: file
  } do
    large = :binary.copy("x", 25_000_000)
    # A busy machine takes seconds for each large value.
    patience = 60_000
    for n <- 1..12, do: :ok = KV.Bucket.put(bucket, n, large, patience)
    :ok = KV.Bucket.put_many(bucket, for(n <- 13..20_000, do: {n, n}), patience)
    assert KV.Bucket.export(bucket, file, patience) == {:ok, 20_000}
    :ok = KV.Bucket.clear(bucket, patience)
    assert KV.Bucket.import(bucket, file, patience) == {:ok, 20_000}
    assert KV.Bucket.size(bucket, patience) == 20_000
    assert KV.Bucket.get(bucket, 3, nil, patience) == large
  end

  test "an import keeps the other entries, and replaces those of the same key", %{bucket: bucket, path: file} do
    export(%{a: 1, b: 2}, file)
    :ok = KV.Bucket.put_many(bucket, b: :old, c: 3)
    assert KV.Bucket.import!(bucket, file) == 2
    assert KV.Bucket.to_map(bucket) == %{a: 1, b: 2, c: 3}
  end

  test "an empty bucket is a file, too", %{bucket: bucket, path: file} do
    assert KV.Bucket.export!(bucket, file) == 0
    assert File.stat!(file).size == 33
    assert KV.Bucket.import(bucket, file) == {:ok, 0}
  end

  test "a file that is torn at any byte changes nothing", %{bucket: bucket, path: file} do
    whole = export(%{:a => 1, "key" => [2.5]}, file)

    for length <- 0..(byte_size(whole) - 1) do
      File.write!(file, binary_part(whole, 0, length))
      assert {:error, {:bad_file, text}} = KV.Bucket.import(bucket, file)
      assert text =~ if(length < 8, do: "no export", else: ~r"ends|torn"), "#{length}"
    end

    assert KV.Bucket.size(bucket) == 0
  end

  test "a file with a flipped bit in any byte changes nothing", %{bucket: bucket, path: file} do
    whole = export(%{:a => 1, "key" => [2.5]}, file)

    for at <- 0..(byte_size(whole) - 1), bit <- [1, 128] do
      before = binary_part(whole, 0, at)
      <<byte, rest::binary>> = binary_part(whole, at, byte_size(whole) - at)
      File.write!(file, [before, Bitwise.bxor(byte, bit), rest])
      assert {:error, {:bad_file, _}} = KV.Bucket.import(bucket, file)
    end

    File.write!(file, [whole, 0])
    assert {:error, {:bad_file, "something follows the end" <> _}} = KV.Bucket.import(bucket, file)
    assert KV.Bucket.size(bucket) == 0
  end

  test "a record that holds no pair, or a wrong count, is found before any put", %{bucket: bucket, path: file} do
    sealed = fn bytes -> [bytes, <<:erlang.crc32(bytes)::32>>] end
    head = sealed.(<<"KVEXPORT", 1::32>>)
    record = fn bytes -> sealed.(<<1, 0::64, byte_size(bytes)::32, bytes::binary>>) end
    good = record.(:erlang.term_to_binary({1, 2}))
    trailer = fn count -> sealed.(<<2, count::64, 0::32>>) end

    import_of = fn parts ->
      File.write!(file, [head | parts])
      KV.Bucket.import(bucket, file)
    end

    assert {:error, {:bad_file, text}} = import_of.([good, trailer.(2)])
    assert text == "the file has 1 entries, and should have 2"

    for bytes <- [:erlang.term_to_binary(1), <<131, 255>>, ""] do
      assert {:error, {:bad_file, text}} = import_of.([good, record.(bytes), trailer.(2)])
      assert text =~ "damaged: the record at byte"
    end

    File.write!(file, sealed.(<<"KVEXPORT", 2::32>>))

    assert KV.Bucket.import(bucket, file) ==
             {:error, {:bad_file, "the file has version 2 of the format, and this kv reads version 1"}}

    assert KV.Bucket.size(bucket) == 0
    assert import_of.([good, trailer.(1)]) == {:ok, 1}
  end

  test "an export that fails leaves the old file and nothing else", %{bucket: bucket, path: file} do
    :ok = KV.Bucket.put(bucket, :a, 1)
    folder = Path.dirname(file)
    missing = Path.join([folder, "missing", "bucket.kv"])
    assert KV.Bucket.export(bucket, missing) == {:error, {:file, :enoent}}
    assert KV.Bucket.import(bucket, missing) == {:error, {:file, :enoent}}
    assert {:error, {:file, _}} = KV.Bucket.export(bucket, folder)
    assert File.ls!(folder) == []
    File.write!(file, "old")
    assert {:noproc, _} = catch_exit(KV.Bucket.export(:no_bucket_here, file))
    assert File.ls!(folder) == ["bucket.kv"]
    assert File.read!(file) == "old"
    assert {:ok, 1} = KV.Bucket.export(bucket, file)
    assert File.ls!(folder) == ["bucket.kv"]
    assert Process.info(self(), :messages) == {:messages, []}
  end

  test "an export to a symbolic link writes the file where the link leads", %{bucket: bucket, path: file} do
    :ok = KV.Bucket.put(bucket, :a, 1)
    folder = Path.dirname(file)
    links = for name <- ~w(one two), do: Path.join(folder, name)
    for {link, to} <- Enum.zip(links, ["two", "bucket.kv"]), do: :ok = File.ln_s(to, link)

    for _ <- [:new, :old], link <- links do
      assert KV.Bucket.export(bucket, link) == {:ok, 1}
      assert File.lstat!(link).type == :symlink
      assert KV.Bucket.import(bucket, link) == {:ok, 1}
    end

    assert Enum.sort(File.ls!(folder)) == ["bucket.kv", "one", "two"]
    assert File.lstat!(file).type == :regular
    circle = Path.join(folder, "circle")
    :ok = File.ln_s("circle", circle)
    assert KV.Bucket.export(bucket, circle) == {:error, {:file, :eloop}}
  end

  test "only a regular file is written or read", %{bucket: bucket, path: file} do
    {_, 0} = System.cmd("mkfifo", [file])
    other = file <> ".link"
    :ok = File.ln_s(file, other)

    for path <- [file, other, Path.dirname(file), "/dev/null"] do
      assert KV.Bucket.export(bucket, path) == {:error, {:file, :not_regular}}
      assert KV.Bucket.import(bucket, path) == {:error, {:file, :not_regular}}
    end

    assert_raise KV.Error, ~r"only a regular file will do", fn -> KV.Bucket.import!(bucket, file) end
    assert File.lstat!(file).type == :other
  end

  test "the name of a file may be a list of strings and characters", %{bucket: bucket, path: file} do
    path = [Path.dirname(file), ?/, ["é", ~c"ü", ["z"]]]
    assert KV.Bucket.export(bucket, path) == {:ok, 0}
    assert KV.Bucket.import(bucket, IO.chardata_to_string(path)) == {:ok, 0}

    for wrong <- [[], [""], [<<255>>], "a" <> <<0>>, ["a", 0], [1.5], :file] do
      assert_raise ArgumentError, ~r"the file must be the name of a file", fn ->
        KV.Bucket.export(bucket, wrong)
      end
    end
  end

  test "an import without room says how many entries are in", %{path: file} do
    export(Map.new(1..5_000, &{&1, &1}), file)
    small = other(max_entries: 2_500)
    assert {:error, {:incomplete, 2_000, :full}} = KV.Bucket.import(small, file)
    assert KV.Bucket.size(small) == 2_000
    small = other(max_memory: 8_192)
    assert {:error, {:incomplete, 0, :enomem}} = KV.Bucket.import(small, file)

    assert_raise KV.Error, ~r"after 0 entries: there is no room", fn -> KV.Bucket.import!(small, file) end
  end

  describe "an export has the bucket of one moment" do
    for durable <- [false, :commit] do
      test "while 16 processes move amounts by transactions, durable: #{durable}", %{path: file} = context do
        bucket = accounts(unquote(durable), context)
        :ok = KV.Bucket.put_many(bucket, for(n <- 0..9_999, do: {n, 100}))
        movers = for n <- 1..16, do: spawn_link(fn -> move(bucket, n) end)

        for _ <- 1..10 do
          assert KV.Bucket.export(bucket, file, timeout: 60_000) == {:ok, 10_000}
          copy = other()
          assert KV.Bucket.import(copy, file) == {:ok, 10_000}
          assert copy |> KV.Bucket.to_map() |> Map.values() |> Enum.sum() == 1_000_000
        end

        for mover <- movers, do: stop(mover)
      end
    end

    test "while it is cleared and filled", %{bucket: bucket, path: file} do
      spawn_link(fn -> clear_and_fill(bucket) end)

      for _ <- 1..10 do
        {:ok, count} = KV.Bucket.export(bucket, file)
        assert count in [0, 5_000]
      end
    end

    defp accounts(false, context), do: context.bucket

    defp accounts(:commit, context) do
      node = :"kv_export_node_#{System.unique_integer([:positive])}"
      start_supervised!({KV.Node, name: node, data_dir: Path.dirname(context.path) <> "-data"})
      on_exit(fn -> File.rm_rf!(Path.dirname(context.path) <> "-data") end)
      start_supervised!({KV.Bucket, name: context.test, node: node, durable: :commit}, id: :accounts)
      context.test
    end

    # Moves 1 from one account to another until it is told to stop.
    defp move(bucket, n) do
      [from, to] = [:rand.uniform(10_000) - 1, rem(n * 601 + :rand.uniform(9_000), 10_000)]

      if from != to do
        {:ok, [_, _]} = KV.Bucket.transaction(bucket, [{:decr, from}, {:incr, to}], timeout: 60_000)
      end

      receive do
        {:stop, test} -> send(test, {:stopped, self()})
      after
        0 -> move(bucket, n)
      end
    end

    defp stop(mover) do
      send(mover, {:stop, self()})
      assert_receive {:stopped, ^mover}, 60_000
    end

    defp clear_and_fill(bucket) do
      :ok = KV.Bucket.put_many(bucket, for(n <- 1..5_000, do: {n, n}))
      :ok = KV.Bucket.clear(bucket)
      clear_and_fill(bucket)
    end
  end

  test "the end of a process that exports gives its snapshot back", %{bucket: bucket} do
    :ok = KV.Bucket.put_many(bucket, for(n <- 1..10_000, do: {n, n}))
    test = self()

    openers =
      for _ <- 1..8 do
        spawn(fn ->
          send(test, :kv_snapshot.open(bucket, 60_000))
          Process.sleep(:infinity)
        end)
      end

    for _ <- openers, do: assert_receive({:ok, _snapshot}, 60_000)
    assert :kv_snapshot.open(bucket, 60_000) == {:error, {:too_many_snapshots, 8}}
    overhead = KV.info(bucket).overhead
    :ok = KV.Bucket.put_many(bucket, for(n <- 1..10_000, do: {n, -n}))
    assert KV.info(bucket).overhead > overhead
    for opener <- openers, do: Process.exit(opener, :kill)
    eventually(fn -> KV.info(bucket).overhead < overhead end)
    assert {:ok, snapshot} = :kv_snapshot.open(bucket, 60_000)
    assert :kv_snapshot.close(snapshot) == :ok
  end

  test "an export of a suspended bucket waits, and one that times out leaves nothing behind", context do
    %{bucket: bucket, path: file} = context
    :ok = KV.Bucket.put(bucket, :a, 1)
    :ok = :sys.suspend(bucket)
    for _ <- 1..3, do: assert({:timeout, _} = catch_exit(KV.Bucket.export(bucket, file, 1)))
    waiting = Task.async(fn -> KV.Bucket.export(bucket, file, 60_000) end)
    :ok = :sys.resume(bucket)
    assert Task.await(waiting, 60_000) == {:ok, 1}
    assert KV.Bucket.export(bucket, file) == {:ok, 1}
  end

  test "both languages, charlists and every address write and read the same", %{path: file} do
    {:ok, _} = KV.Bucket.start_link(name: __MODULE__)
    :ok = :kv_bucket.put(__MODULE__, "é", :ü)
    assert :kv_bucket.export({__MODULE__, node()}, String.to_charlist(file), timeout: 1_000) == {:ok, 1}
    copy = other()
    assert :kv_bucket.import(copy, [String.to_charlist(file)]) == {:ok, 1}
    assert :kv_bucket.to_map(copy) == %{"é" => :ü}
  end

  test "a wrong argument raises", %{bucket: bucket, path: file} do
    for function <- [:export, :import] do
      call = fn args -> fn -> apply(KV.Bucket, function, args) end end
      assert_raise ArgumentError, ~r"the file must be the name of a file", call.([bucket, 1])
      assert_raise ArgumentError, ~r"the file", call.([bucket, ""])
      assert_raise ArgumentError, ~r"timeout", call.([bucket, file, [timeout: -1]])
      assert_raise ArgumentError, ~r"timeout", call.([bucket, file, [limit: 1]])
      assert_raise ArgumentError, ~r"the server", call.(["bucket", file])
    end

    refute File.exists?(file)
  end
end
