defmodule KV.EventManager do
  @moduledoc """
  The event manager: a `:gen_event` process that gets an event for every bucket of a registry.

  Its handlers get `{:create, name, pid}` when a bucket has been created and `{:exit, name, pid}` when a bucket has ended. The
  registry has already changed by then. `name` is a binary, and `pid` is the native process. A handler is a module with the
  callbacks of `:gen_event`:

      defmodule Printer do
        @behaviour :gen_event

        def init(prefix), do: {:ok, prefix}

        def handle_event(event, prefix) do
          IO.puts([prefix, inspect(event)])
          {:ok, prefix}
        end

        def handle_call(_request, prefix), do: {:ok, :ok, prefix}
      end

      KV.EventManager.add_handler(KV.EventManager, Printer, "bucket: ")

  The event manager of the application is registered as `KV.EventManager`. It and its handlers survive a crash of the
  registry, of the buckets and of the C node. Use `stream/2` if you only want to read events.

  When the C program dies, handlers get no `:exit` events. A handler that was added by `add_handler/4` with `[:lost]` gets
  `{:lost, name, pid}` for each bucket and registry of this VM that was lost. `name` is a binary for a bucket of a registry;
  otherwise it is the name with which the process was started. A process without a name causes no event.

  A durable bucket whose process has ended keeps its name and its entries (see `KV.Registry`). As soon as it has a process
  again, all handlers get `{:create, name, pid}`. A handler that was added with `[:restored]` gets `{:restored, name, pid}` after
  that event.
  """

  @typedoc "An event manager."
  @type t :: pid | atom | {atom, node} | {:global, term} | {:via, module, term}

  @typedoc "A handler: a module, or a module with an id if one manager has the module several times."
  @type handler :: module | {module, term}

  @typedoc "An event that a registry or a `KV.Node` sends."
  @type event ::
          {:create, KV.Registry.name(), KV.Bucket.native()}
          | {:exit, KV.Registry.name(), KV.Bucket.native()}
          | {:lost, KV.Registry.name() | GenServer.name(), KV.Bucket.native()}
          | {:restored, KV.Registry.name(), KV.Bucket.native()}

  @typedoc "An event that only those handlers get that ask for it."
  @type asked :: :lost | :restored

  @doc """
  Starts an event manager, linked to the caller, under the local name `:name` if one is given.

  ## Examples

      iex> {:ok, manager} = KV.EventManager.start_link()
      iex> KV.EventManager.sync_notify(manager, :nobody_listens)
      :ok
  """
  @doc since: "0.1.0"
  @spec start_link(name: atom) ::
          {:ok, pid} | {:error, {:already_started, pid}} | {:error, {:bad_option, term, String.t()}}
  def start_link(options \\ []) do
    case :kv_start_options.only_name(options) do
      {:ok, %{name: name}} when name != nil -> :kv_event_manager.start_link(name)
      {:ok, _} -> :gen_event.start_link()
      error -> error
    end
  end

  @doc """
  Returns a child specification.
  """
  @doc since: "0.1.0"
  @spec child_spec(name: atom) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: :kv_start_options.child_id(options, __MODULE__),
      start: {__MODULE__, :start_link, [options]},
      # Handlers are the user's code, so the manager gets the usual time of a GenServer.
      shutdown: 5_000,
      type: :worker,
      modules: :dynamic
    }
  end

  @doc """
  Adds a handler. The manager calls `handler.init(args)`, and runs the handler in its own process.

  With `:lost` in the list of the last argument, the handler gets `{:lost, name, pid}` as well, and with `:restored`
  `{:restored, name, pid}`. Remove the handler with `delete_handler/3`.

  Returns `:ok`, or `{:EXIT, reason}` if `init/1` crashed, or the value of `init/1` if it is not `{:ok, state}`.
  """
  @doc since: "0.1.0"
  @spec add_handler(t, handler, term, [asked]) :: :ok | term
  def add_handler(manager, handler, args, events \\ []) do
    :kv_event_manager.add_handler(manager, handler, args, events)
  end

  @doc """
  Adds a handler that is removed when the calling process ends, as `:gen_event.add_sup_handler/3` does.

  Links the manager and the caller. If the handler is removed for another reason, the caller gets
  `{:gen_event_EXIT, handler, reason}`.
  """
  @doc since: "0.1.0"
  @spec add_sup_handler(t, handler, term) :: :ok | term
  def add_sup_handler(manager, handler, args), do: :gen_event.add_sup_handler(manager, handler, args)

  @doc """
  Removes a handler, and returns the value of its `terminate(args, state)`.

  Returns `{:error, :module_not_found}` if the manager has no such handler.
  """
  @doc since: "0.1.0"
  @spec delete_handler(t, handler, term) :: term
  def delete_handler(manager, handler, args), do: :kv_event_manager.delete_handler(manager, handler, args)

  @doc """
  Returns all handlers of the manager.

  ## Examples

      iex> {:ok, manager} = KV.EventManager.start_link()
      iex> KV.EventManager.which_handlers(manager)
      []
  """
  @doc since: "0.1.0"
  @spec which_handlers(t) :: [handler]
  def which_handlers(manager) do
    for handler <- :gen_event.which_handlers(manager) do
      case handler do
        # A handler that asked for more events.
        {:kv_event_handler, handler} -> handler
        handler -> handler
      end
    end
  end

  @doc """
  Sends an event to all handlers, and returns at once.
  """
  @doc since: "0.1.0"
  @spec notify(t, term) :: :ok
  def notify(manager, event), do: :gen_event.notify(manager, event)

  @doc """
  Sends an event to all handlers, and returns once all of them have handled it.
  """
  @doc since: "0.1.0"
  @spec sync_notify(t, term) :: :ok
  def sync_notify(manager, event), do: :gen_event.sync_notify(manager, event)

  @doc """
  Returns a stream of events. The stream begins when its consumer does, and ends when the manager ends.

  Events wait in the mailbox of the consumer, so one process must read the whole stream. The list of events is that of
  `add_handler/4`: with `[:lost]` the stream has `{:lost, name, pid}` as well.

  ## Examples

      iex> {:ok, manager} = KV.EventManager.start_link()
      iex> reader = Task.async(fn -> manager |> KV.EventManager.stream() |> Enum.take(2) end)
      iex> Stream.repeatedly(fn -> KV.EventManager.sync_notify(manager, :tick) end)
      ...> |> Enum.find(fn _ -> not Process.alive?(reader.pid) end)
      iex> Task.await(reader)
      [:tick, :tick]
  """
  @doc since: "0.1.0"
  @spec stream(t, [asked]) :: Enumerable.t()
  def stream(manager, events \\ []) do
    :ok = :kv_event_manager.check(events, {__MODULE__, :stream, [manager, events]}, 2)
    Stream.resource(fn -> subscribe(manager, events) end, &next/1, &unsubscribe/1)
  end

  # The tag is the id of the handler, and that of its messages. The monitor comes last: if there is no manager, the caller
  # exits, and gets no message later.
  defp subscribe(manager, events) do
    tag = make_ref()
    :ok = add_handler(manager, {KV.EventManager.Forwarder, tag}, {self(), tag}, events)
    {manager, tag, Process.monitor(manager)}
  end

  defp next({_manager, tag, monitor} = subscription) do
    receive do
      {^tag, event} -> {[event], subscription}
      {:DOWN, ^monitor, :process, _pid, _reason} -> {:halt, subscription}
    end
  end

  defp unsubscribe({manager, tag, monitor}) do
    if Process.demonitor(monitor, [:flush, :info]) do
      _ = delete_handler(manager, {KV.EventManager.Forwarder, tag}, :done)
    end

    flush(tag)
  end

  defp flush(tag) do
    receive do
      {^tag, _event} -> flush(tag)
    after
      0 -> :ok
    end
  end
end
