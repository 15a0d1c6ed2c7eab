defmodule KV.EventManager.Forwarder do
  @moduledoc false
  # Sends each event to one process, as `{reference, event}`, for as long as that process lives.

  @behaviour :gen_event

  @type state :: {pid, reference, reference}

  @impl true
  @spec init({pid, reference}) :: {:ok, state}
  def init({pid, reference}), do: {:ok, {pid, reference, Process.monitor(pid)}}

  @impl true
  @spec handle_event(term, state) :: {:ok, state}
  def handle_event(event, {pid, reference, _monitor} = state) do
    send(pid, {reference, event})
    {:ok, state}
  end

  @impl true
  @spec handle_call(term, state) :: {:ok, {:error, term}, state}
  def handle_call(request, state), do: {:ok, {:error, {:bad_request, request}}, state}

  @impl true
  @spec handle_info(term, state) :: {:ok, state} | :remove_handler
  def handle_info({:DOWN, monitor, :process, _pid, _reason}, {_, _, monitor}), do: :remove_handler
  def handle_info(_message, state), do: {:ok, state}

  @impl true
  @spec terminate(term, state) :: true
  def terminate(_reason, {_pid, _reference, monitor}), do: Process.demonitor(monitor, [:flush])
end
