defmodule KV.EventManagerTest do
  use KV.Case

  doctest KV.EventManager

  # The handler of the guide: sends each event to the process that is its argument.
  defmodule Forwarder do
    @behaviour :gen_event

    @impl true
    def init({pid, :slow}), do: {:ok, {pid, :slow}}
    def init(pid), do: {:ok, pid}

    @impl true
    def handle_event({:wait_for, pid}, {test, :slow} = state) do
      reference = Process.monitor(pid)

      receive do
        {:DOWN, ^reference, :process, ^pid, _} -> send(test, {:handled_by, self()})
      end

      {:ok, state}
    end

    def handle_event(event, pid) do
      send(pid, event)
      {:ok, pid}
    end

    @impl true
    def handle_call(_request, state), do: {:ok, :ok, state}
  end

  setup context do
    manager = start_supervised!({KV.EventManager, name: Module.concat(context.test, Events)})
    _ = start_supervised!({KV.Registry, name: context.test, event_manager: manager})
    :ok = KV.EventManager.add_handler(manager, Forwarder, self())
    %{registry: context.test, manager: manager}
  end

  @tag row: "EV-01"
  test "a manager takes events even without handlers" do
    assert {:ok, manager} = KV.EventManager.start_link()
    assert KV.EventManager.notify(manager, :event) == :ok
    assert KV.EventManager.sync_notify(manager, :event) == :ok
  end

  @tag row: "EV-02"
  test "handlers run in the manager; sync_notify returns when they have run, notify at once" do
    {:ok, manager} = KV.EventManager.start_link()
    assert KV.EventManager.add_handler(manager, Forwarder, {self(), :slow}) == :ok
    wait = fn -> spawn(fn -> receive(do: (:go -> :ok)) end) end

    held = wait.()
    assert KV.EventManager.notify(manager, {:wait_for, held}) == :ok
    refute_received {:handled_by, _}
    send(held, :go)
    assert_receive {:handled_by, ^manager}, 5_000

    held = wait.()
    send(held, :go)
    assert KV.EventManager.sync_notify(manager, {:wait_for, held}) == :ok
    assert_received {:handled_by, ^manager}
  end

  @tag row: "EV-03"
  test "a supervised handler is removed when the process that added it dies", %{manager: manager} do
    test = self()

    adder =
      spawn(fn ->
        :ok = KV.EventManager.add_sup_handler(manager, {Forwarder, :supervised}, test)
        send(test, :added)
        receive(do: (:go -> :ok))
      end)

    assert_receive :added, 5_000
    assert {Forwarder, :supervised} in KV.EventManager.which_handlers(manager)

    send(adder, :go)
    eventually(fn -> {Forwarder, :supervised} not in KV.EventManager.which_handlers(manager) end)
    assert Forwarder in KV.EventManager.which_handlers(manager)
  end

  @tag rows: ["EV-04", "EV-05", "EV-07"]
  test "sends events on create and crash", %{registry: registry} do
    bucket = create(registry, "shopping")
    assert_receive {:create, "shopping", ^bucket}, 5_000

    Agent.stop(bucket)
    assert_receive {:exit, "shopping", ^bucket}, 5_000
  end

  @tag row: "EV-04"
  test "creating an existing name sends nothing", %{registry: registry} do
    bucket = create(registry, "shopping")
    assert_receive {:create, "shopping", ^bucket}, 5_000

    create(registry, "shopping")
    Agent.stop(bucket)
    # Events come in order: another {:create, ...} would have come before this.
    assert_receive {:exit, "shopping", ^bucket}, 5_000
    refute_received {:create, _, _}
  end

  @tag row: "EV-05"
  test "the end of a bucket sends an event, for any reason", %{registry: registry} do
    ends = [
      fn bucket -> Agent.stop(bucket, :shutdown) end,
      fn bucket -> Process.exit(bucket, :kill) end,
      fn bucket -> Process.exit(bucket, {:some, "reason"}) end
    ]

    for stop <- ends do
      bucket = create(registry, "shopping")
      stop.(bucket)
      assert_receive {:exit, "shopping", ^bucket}, 5_000
    end
  end

  @tag row: "EV-06"
  test "events come after the registry changed", %{registry: registry} do
    {:ok, _} = Task.start_link(fn -> KV.Registry.create(registry, "shopping") end)
    assert_receive {:create, "shopping", bucket}, 5_000
    assert KV.Registry.lookup(registry, "shopping") == {:ok, bucket}

    Process.exit(bucket, :shutdown)
    assert_receive {:exit, "shopping", ^bucket}, 5_000
    assert KV.Registry.lookup(registry, "shopping") == :error
  end

  @tag row: "EV-07"
  test "events of one registry come in order", %{registry: registry} do
    expected =
      Enum.flat_map(1..20, fn number ->
        name = "bucket #{number}"
        bucket = create(registry, name)
        Agent.stop(bucket)
        [{:create, name, bucket}, {:exit, name, bucket}]
      end)

    got =
      for _ <- expected do
        assert_receive event when elem(event, 0) in [:create, :exit], 5_000
        event
      end

    assert got == expected
  end

  @tag row: "EV-08"
  test "a stream passes the events to a consumer process", %{registry: registry, manager: manager} do
    reader = Task.async(fn -> manager |> KV.EventManager.stream() |> Enum.take(2) end)
    eventually(fn -> length(KV.EventManager.which_handlers(manager)) == 2 end)

    bucket = create(registry, "shopping")
    Agent.stop(bucket)

    assert Task.await(reader) == [{:create, "shopping", bucket}, {:exit, "shopping", bucket}]
    assert KV.EventManager.which_handlers(manager) == [Forwarder]
  end

  test "a stream ends when its manager does, and leaves nothing when its consumer does" do
    {:ok, manager} = KV.EventManager.start_link()
    reader = Task.async(fn -> manager |> KV.EventManager.stream() |> Enum.to_list() end)
    eventually(fn -> KV.EventManager.which_handlers(manager) != [] end)
    Task.shutdown(reader, :brutal_kill)
    eventually(fn -> KV.EventManager.which_handlers(manager) == [] end)

    reader = Task.async(fn -> manager |> KV.EventManager.stream() |> Enum.to_list() end)
    eventually(fn -> KV.EventManager.which_handlers(manager) != [] end)
    KV.EventManager.notify(manager, :last)
    :gen_event.stop(manager)
    assert Task.await(reader) == [:last]
  end

  test "a stream without a manager exits, and leaves no message to its consumer" do
    assert catch_exit(KV.EventManager.stream(:no_manager) |> Enum.take(1)) == :noproc
    refute_received _
  end

  @tag row: "EV-09"
  test "the manager of the tree gets the events of its registry, and survives a crash of the registry with its handlers" do
    :ok = KV.EventManager.add_handler(KV.EventManager, {Forwarder, :tree}, self())
    on_exit(fn -> KV.EventManager.delete_handler(KV.EventManager, {Forwarder, :tree}, :done) end)
    manager = Process.whereis(KV.EventManager)

    bucket = create(KV.Registry, "before the crash")
    assert_receive {:create, "before the crash", ^bucket}, 5_000

    kill_and_await_successor(KV.Registry)
    await_service()

    assert Process.whereis(KV.EventManager) == manager
    bucket = create(KV.Registry, "after the crash")
    assert_receive {:create, "after the crash", ^bucket}, 5_000
  end
end
