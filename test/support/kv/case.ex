defmodule KV.Case do
  @moduledoc """
  What the tests share: bounded waits for what happens by itself, and looking at operating system processes.

  A test says in its tag `row` or `rows` which rows of `docs/guide-checklist.md` it is about.
  """

  use ExUnit.CaseTemplate

  import ExUnit.Callbacks, only: [on_exit: 1]

  @deadline 10_000
  @poll 10

  using do
    quote do
      import KV.Case
    end
  end

  @doc """
  Asks again and again until the answer is neither `nil` nor `false`, and gives it.

  What can be waited for by a message should be; this is for what sends none.
  """
  @spec eventually((() -> answer), non_neg_integer) :: answer when answer: term
  def eventually(question, deadline \\ System.monotonic_time(:millisecond) + @deadline) do
    cond do
      answer = question.() ->
        answer

      System.monotonic_time(:millisecond) > deadline ->
        ExUnit.Assertions.flunk("did not become true within #{@deadline} ms")

      true ->
        Process.sleep(@poll)
        eventually(question, deadline)
    end
  end

  @doc "The reason for which a process ends, which it must do soon."
  @spec down_reason(pid | reference) :: term
  def down_reason(pid) when is_pid(pid), do: pid |> Process.monitor() |> down_reason()

  def down_reason(reference) do
    receive do
      {:DOWN, ^reference, :process, _pid, reason} -> reason
    after
      @deadline -> ExUnit.Assertions.flunk("no DOWN within #{@deadline} ms")
    end
  end

  @doc "Kills a registered process and waits until another has its name."
  @spec kill_and_await_successor(atom) :: {pid, pid}
  def kill_and_await_successor(name) do
    pid = Process.whereis(name)
    reference = Process.monitor(pid)
    Process.exit(pid, :kill)
    down_reason(reference)
    {pid, eventually(fn -> Process.whereis(name) end)}
  end

  @doc "Sends SIGKILL to an operating system process."
  @spec kill_program(pos_integer) :: :ok
  def kill_program(os_pid) do
    {_, 0} = System.cmd("kill", ["-KILL", Integer.to_string(os_pid)])
    :ok
  end

  @doc "Waits until the application serves again after something of it was killed."
  @spec await_service() :: :ok
  def await_service do
    eventually(fn ->
      try do
        GenServer.call(KV.Registry, {:lookup, "is it there?"}) == :error
      catch
        :exit, _ -> false
      end
    end)

    :ok
  end

  @doc """
  Sends what is logged at that level or above to the calling test, as `{:log, level, domain, text}`.
  """
  @spec forward_log(:logger.level()) :: :ok
  def forward_log(level) do
    handler = :"kv_case_#{System.unique_integer([:positive])}"
    :ok = :logger.add_handler(handler, __MODULE__, %{level: level, config: self()})
    on_exit(fn -> :logger.remove_handler(handler) end)
  end

  @doc false
  @spec log(:logger.log_event(), :logger.handler_config()) :: term
  def log(%{level: level, meta: meta} = event, %{config: test}) do
    text = :logger_formatter.format(event, %{template: [:msg], single_line: true})
    send(test, {:log, level, meta[:domain], IO.chardata_to_string(text)})
  end

  @doc "A bucket that a registry made, by name."
  @spec create(GenServer.server(), binary) :: pid
  def create(registry, name) do
    :ok = KV.Registry.create(registry, name)
    {:ok, bucket} = KV.Registry.lookup(registry, name)
    bucket
  end
end
