defmodule KV.TelemetryTest do
  use KV.Case, async: false

  doctest KV.Telemetry

  @page Path.expand("../../docs/telemetry.md", __DIR__)

  # Stands for the library. Hands events to the process that is registered under its name.
  @fake (quote do
           def execute(event, measurements, metadata) do
             # A bucket that ends with its test tells nobody.
             pid = Process.whereis(:kv_telemetry_test)
             if pid, do: send(pid, {event, measurements, metadata})
             :ok
           end
         end)

  setup do
    Process.register(self(), :kv_telemetry_test)
    Module.create(:telemetry, @fake, Macro.Env.location(__ENV__))

    on_exit(fn ->
      KV.Telemetry.slow_request(:infinity)
      :code.purge(:telemetry)
      :code.delete(:telemetry)
      :code.purge(:telemetry)
    end)
  end

  test "a bucket tells of its start and its end" do
    {:ok, bucket} = KV.Bucket.start_link(name: __MODULE__)
    assert_receive {[:kv, :bucket, :started], %{system_time: _}, %{bucket: ^bucket, generation: 1} = started}
    assert started.native == KV.info(bucket).pid
    assert started.name == {:local, __MODULE__}
    :ok = KV.Bucket.stop(bucket)
    assert_receive {[:kv, :bucket, :stopped], %{system_time: _}, %{bucket: ^bucket, reason: :normal}}
    refute_received {[:kv, :bucket, _], _, %{bucket: ^bucket}}
  end

  test "a bucket tells once that its native process was killed" do
    bucket = start_supervised!({KV.Bucket, restart: :temporary})
    assert_receive {[:kv, :bucket, :started], _, %{bucket: ^bucket, native: native}}
    Process.exit(native, :kill)
    assert_receive {[:kv, :bucket, :stopped], _, %{bucket: ^bucket, native: ^native, reason: :killed}}, 10_000
    refute_received {[:kv, :bucket, _], _, %{bucket: ^bucket}}
  end

  test "a bucket that stays tells of the loss of its node, and of its new native process" do
    bucket = start_supervised!({KV.Bucket, name: __MODULE__})
    assert_receive {[:kv, :bucket, :started], _, %{bucket: ^bucket, generation: 1, native: native}}
    {"", 0} = System.cmd("kill", ["-9", to_string(KV.Node.os_pid())])
    assert_receive {[:kv, :bucket, :lost], _, %{bucket: ^bucket, generation: 1, native: ^native}}, 10_000
    assert_receive {[:kv, :bucket, :started], _, %{bucket: ^bucket, generation: 2}}, 10_000
    refute_received {[:kv, :bucket, _], _, %{bucket: ^bucket}}
  end

  test "a measurement has the counters, and one of no bucket is left out" do
    {:ok, bucket} = KV.Bucket.start_link(max_entries: 10)
    :ok = KV.Bucket.put(bucket, :a, 1)
    :ok = KV.Telemetry.measure(bucket)

    assert_receive {[:kv, :bucket, :stats], %{puts: 1, size: 1, max_entries: 10} = counters,
                    %{bucket: ^bucket}}

    assert Enum.all?(Map.values(counters), &is_integer/1)
    assert KV.Telemetry.measure(:no_bucket_here) == :ok
    refute_received {[:kv, :bucket, :stats], _, _}
  end

  test "calls that take too long are told of once that is wanted" do
    {:ok, bucket} = KV.Bucket.start_link()
    :ok = KV.Bucket.put(bucket, :a, 1)
    refute_received {[:kv, :request, :slow], _, _}
    :ok = KV.Telemetry.slow_request(0)
    :ok = KV.Bucket.put(bucket, :a, 1)
    assert_receive {[:kv, :request, :slow], %{duration: duration}, %{bucket: ^bucket, function: :put}}
    assert duration > 0
    :ok = KV.Telemetry.slow_request(60_000)
    :ok = KV.Bucket.put(bucket, :a, 1)
    refute_received {[:kv, :request, :slow], _, _}
  end

  test "the option slow_request tells of slow calls from the start of the node on" do
    Application.put_env(:kv, :slow_request, 0)

    on_exit(fn ->
      Application.stop(:kv)
      Application.delete_env(:kv, :slow_request)
      KV.Telemetry.slow_request(:infinity)
      Application.ensure_all_started(:kv)
    end)

    :ok = Application.stop(:kv)
    {:ok, _} = Application.ensure_all_started(:kv)
    {:ok, bucket} = KV.Bucket.start_link()
    :ok = KV.Bucket.put(bucket, :a, 1)
    assert_receive {[:kv, :request, :slow], _, %{bucket: ^bucket, function: :put}}
    :ok = KV.Telemetry.slow_request(:infinity)
    :ok = KV.Bucket.put(bucket, :a, 1)
    refute_received {[:kv, :request, :slow], _, _}
  end

  test "a slow_request that is no number of milliseconds is refused" do
    for wrong <- [-1, :infinity, "50", 1.5] do
      assert {:error, {:bad_option, :slow_request, text}} = KV.Node.start_link(slow_request: wrong)
      assert text =~ "slow_request must be 0 to 4294967295 milliseconds"
    end
  end

  test "docs/telemetry.md has the events of the module" do
    listed = Regex.scan(~r/^\| `\[(:kv, :\w+, :\w+)\]`/m, File.read!(@page), capture: :all_but_first)

    assert Enum.sort(List.flatten(listed)) ==
             Enum.sort(for(e <- KV.Telemetry.events(), do: Enum.map_join(e, ", ", &inspect/1)))
  end
end
