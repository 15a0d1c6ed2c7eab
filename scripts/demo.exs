# The tour of kv: `make demo`. Needs no input, waits at most ten seconds for each step, and ends with status 1 at the first
# step that does not go as told.

defmodule KV.Demo do
  @deadline 10_000

  def run do
    # The tour kills processes: the reports of their supervisors would bury it.
    Logger.configure(level: :none)

    info = KV.info()
    say("kv #{info.version}. The C node #{info.node.name} is operating system process #{info.node.os_pid}.")

    step("The supervision tree", &tree/0)
    step("A bucket by name", &bucket_by_name/0)
    step("A put is too large, a key too deep", &over_limits/0)
    step("The connection to the C program is lost", &disconnect/0)
    step("A bucket is monitored and stopped", &stop_bucket/0)
    step("A bucket is killed", &kill_bucket/0)
    step("The registry is killed", &kill_registry/0)
    step("The C program is killed with SIGKILL", &kill_program/0)
    step("The same, with a tree of your own", &own_tree/0)
    say("\nAll went as told.")
  end

  defp tree do
    create("camping")
    print(KV.Supervisor, Process.whereis(KV.Supervisor), :supervisor, "", "")
  end

  defp bucket_by_name do
    must("no bucket is called \"shopping\" yet", KV.Registry.lookup(KV.Registry, "shopping") == :error)
    {ms, :ok} = timed(fn -> KV.Registry.create(KV.Registry, "shopping") end)
    {:ok, bucket} = KV.Registry.lookup(KV.Registry, "shopping")
    told("created \"shopping\" in #{ms} ms: #{inspect(bucket)}")
    must("its pid is on the C node", node(bucket) == KV.Node.name())

    {ms, :ok} = timed(fn -> KV.Bucket.put(bucket, "eggs", 3) end)
    told("put \"eggs\", 3 in #{ms} ms")
    {ms, 3} = timed(fn -> KV.Bucket.get(bucket, "eggs") end)
    told("got 3 for \"eggs\" in #{ms} ms")

    must(
      "there is one process more in the tree",
      DynamicSupervisor.count_children(KV.BucketSupervisor).active == 2
    )
  end

  defp over_limits do
    bucket = lookup("shopping")
    {ms, answer} = timed(fn -> KV.Bucket.put(bucket, "much", String.duplicate("x", 135_000_000)) end)

    must(
      "a put of 135 MB was answered in #{ms} ms: #{inspect(answer)}",
      match?({:error, {:too_large, _}}, answer)
    )

    deep = Enum.reduce(1..1_100_000, [], fn _, term -> [term] end)
    {ms, reason} = timed(fn -> exit_reason(fn -> KV.Bucket.get(bucket, deep) end) end)

    must(
      "a get of a key of 1,100,000 levels exited after #{ms} ms: #{inspect(reason)}",
      match?({:too_deep, _}, reason)
    )

    must("the bucket is as it was", KV.Bucket.to_map(bucket) == %{"eggs" => 3})
  end

  defp disconnect do
    bucket = lookup("shopping")
    os_pid = KV.Node.os_pid()
    reference = Process.monitor(bucket)

    {ms, :ok} =
      timed(fn ->
        true = Node.disconnect(KV.Node.name())
        must("a monitor got DOWN with :noconnection, as in OTP", down(reference) == :noconnection)
        await(fn -> KV.Registry.lookup(KV.Registry, "shopping") == {:ok, bucket} end)
      end)

    must("the bucket has kept its pid and its eggs", KV.Bucket.get(bucket, "eggs") == 3)
    must("the C program is the same process", KV.Node.os_pid() == os_pid)
    recovered("the connection", ms)
  end

  defp stop_bucket do
    bucket = lookup("shopping")
    reference = Process.monitor(bucket)
    {ms, :ok} = timed(fn -> Agent.stop(bucket, :shutdown) end)
    told("Agent.stop(bucket, :shutdown) returned after #{ms} ms")
    must("its monitor got DOWN with :shutdown", down(reference) == :shutdown)
    must("the registry has forgotten its name", KV.Registry.lookup(KV.Registry, "shopping") == :error)

    {ms, again} = timed(fn -> create("shopping") end)
    must("created anew it is empty, with another pid", KV.Bucket.to_map(again) == %{} and again != bucket)
    recovered("\"shopping\", by being created again", ms)
  end

  defp kill_bucket do
    bucket = lookup("shopping")
    registry = Process.whereis(KV.Registry)
    KV.Bucket.put(lookup("camping"), "tent", 1)
    reference = Process.monitor(bucket)

    {ms, again} =
      timed(fn ->
        Process.exit(bucket, :kill)
        must("its monitor got DOWN with :killed", down(reference) == :killed)
        must("the registry has forgotten its name", KV.Registry.lookup(KV.Registry, "shopping") == :error)
        create("shopping")
      end)

    must("\"camping\" still has its tent", KV.Bucket.get(lookup("camping"), "tent") == 1)
    must("the registry is the same process", Process.whereis(KV.Registry) == registry)
    must("created anew it is empty", KV.Bucket.to_map(again) == %{})
    recovered("\"shopping\", by being created again", ms)
  end

  defp kill_registry do
    buckets = Enum.map(["shopping", "camping"], &Process.monitor(lookup(&1)))
    registry = Process.whereis(KV.Registry)
    os_pid = KV.Node.os_pid()

    {ms, :ok} =
      timed(fn ->
        Process.exit(registry, :kill)
        await_service(registry)
      end)

    must("its buckets ended with it", Enum.all?(buckets, &down/1))
    must("the new one knows no names", KV.Registry.names(KV.Registry) == [])
    must("the C program is the same process", KV.Node.os_pid() == os_pid)
    must("a bucket can be created", is_pid(create("shopping")))
    recovered("registry and bucket supervisor", ms)
  end

  defp kill_program do
    bucket = Process.monitor(lookup("shopping"))
    registry = Process.whereis(KV.Registry)
    events = Process.whereis(KV.EventManager)
    os_pid = KV.Node.os_pid()

    {ms, :ok} =
      timed(fn ->
        {_, 0} = System.cmd("kill", ["-KILL", Integer.to_string(os_pid)])
        await_service(registry)
      end)

    must("the bucket's monitor got DOWN with :noconnection", down(bucket) == :noconnection)
    must("the VM is here to tell", Process.alive?(self()))

    must(
      "the event manager and its handlers noticed nothing",
      Process.whereis(KV.EventManager) == events
    )

    must("the program is another process: #{KV.Node.os_pid()}", KV.Node.os_pid() != os_pid)
    must("process #{os_pid} is gone", not :kv_os_process.is_alive(os_pid))
    must("a bucket can be created", is_pid(create("shopping")))
    recovered("node, registry and bucket supervisor", ms)
  end

  defp own_tree do
    data = %{"theme" => "dark"}

    children = [
      {KV.Bucket, name: KV.Demo.Sessions},
      {KV.Bucket, name: KV.Demo.Settings, fill: {KV.Bucket, :put_many, [data]}},
      {KV.Registry, name: KV.Demo.Names}
    ]

    # No restart is allowed.
    {:ok, supervisor} = Supervisor.start_link(children, strategy: :one_for_one, max_restarts: 0)
    before = Supervisor.which_children(supervisor)
    for name <- [KV.Demo.Sessions, KV.Demo.Settings], do: KV.Bucket.put(name, "user", 1)
    os_pid = KV.Node.os_pid()

    {ms, :ok} =
      timed(fn ->
        {_, 0} = System.cmd("kill", ["-KILL", Integer.to_string(os_pid)])
        await(fn -> KV.Bucket.generation(KV.Demo.Sessions) == 2 end)
      end)

    must(
      "its supervisor has the same children, and restarted none",
      Supervisor.which_children(supervisor) == before
    )

    must("the bucket without :fill is empty", KV.Bucket.to_map(KV.Demo.Sessions) == %{})
    must("the bucket with :fill has its data again", KV.Bucket.to_map(KV.Demo.Settings) == data)
    must("the registry answers", KV.Registry.create(KV.Demo.Names, "basket") == :ok)
    recovered("the buckets of your own tree", ms)
    Supervisor.stop(supervisor)
  end

  # Parts of the steps

  defp create(name) do
    :ok = KV.Registry.create(KV.Registry, name)
    lookup(name)
  end

  defp lookup(name) do
    {:ok, bucket} = KV.Registry.lookup(KV.Registry, name)
    bucket
  end

  defp down(reference) do
    receive do
      {:DOWN, ^reference, :process, _pid, reason} -> reason
    after
      @deadline -> raise "no DOWN within #{@deadline} ms"
    end
  end

  # Waits until a registry answers that is not the killed one.
  defp await_service(killed) do
    await(fn ->
      pid = Process.whereis(KV.Registry)
      is_pid(pid) and pid != killed and GenServer.call(pid, {:lookup, "shopping"}) == :error
    end)
  end

  # Waits until the question returns true without an exit.
  defp await(question, deadline \\ System.monotonic_time(:millisecond) + @deadline) do
    cond do
      exit_reason(question) == true ->
        :ok

      System.monotonic_time(:millisecond) > deadline ->
        raise "did not recover within #{@deadline} ms"

      true ->
        Process.sleep(1)
        await(question, deadline)
    end
  end

  # Returns the value of the function, or the reason of its exit.
  defp exit_reason(fun) do
    fun.()
  catch
    :exit, {reason, _call} -> reason
  end

  defp print(id, pid, type, lead, indent) do
    say("  #{lead}#{label(id, pid)}")
    children = if type == :supervisor, do: pid |> Supervisor.which_children() |> Enum.reverse(), else: []

    for {{id, pid, type, _}, index} <- Enum.with_index(children, 1) do
      {branch, rest} = if index == length(children), do: {"└── ", "    "}, else: {"├── ", "│   "}
      print(id, pid, type, indent <> branch, indent <> rest)
    end
  end

  defp label(id, pid) do
    name = if id == :undefined, do: "bucket", else: inspect(id)

    case Process.info(pid, :dictionary) do
      {:dictionary, dictionary} -> "#{name} #{inspect(pid)}" <> native(dictionary[:"$kv_native"])
      nil -> name
    end
  end

  defp native({_kind, pid, label}) when is_binary(label), do: " for the native #{inspect(pid)} \"#{label}\""
  defp native({_kind, pid, _label}), do: " for the native #{inspect(pid)}"
  defp native(nil), do: ""

  defp timed(fun) do
    start = System.monotonic_time(:microsecond)
    result = fun.()
    {Float.round((System.monotonic_time(:microsecond) - start) / 1000, 2), result}
  end

  defp step(title, fun) do
    say("\n#{title}")
    fun.()
  end

  defp must(what, true), do: told(what)
  defp must(what, other), do: raise("this did not go as told: #{what} (#{inspect(other)})")

  defp told(what), do: say("  - #{what}")
  defp recovered(what, ms), do: say("  recovered: #{what}, in #{ms} ms")
  defp say(text), do: IO.puts(text)
end

KV.Demo.run()
