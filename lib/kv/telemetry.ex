defmodule KV.Telemetry do
  @moduledoc """
  Events for the library `telemetry`, if it is there. docs/telemetry.md lists the events.

  kv does not depend on the library. While the module `:telemetry` is not loaded, no handler can be attached, and kv makes no
  events.
  """

  @doc """
  Executes the event `[:kv, :bucket, :stats]` with the numbers of `KV.Bucket.stats/2`, for `telemetry_poller`.

  Does nothing if the bucket does not answer, so that the poller goes on.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Telemetry.measure(bucket)
      :ok
  """
  @doc since: "0.2.0"
  @spec measure(KV.Bucket.t()) :: :ok
  def measure(bucket), do: :kv_telemetry.measure(bucket)

  @doc """
  From now on each call to a bucket that takes longer than `ms` milliseconds executes `[:kv, :request, :slow]`, in the process
  that has called.

  `:infinity`, as at the start of the VM, turns that off. Reads without a call, `async/3` and `cast/3` do not count. The option
  `:slow_request` of `KV.Node` calls this function whenever its node starts in this VM.

  ## Examples

      iex> KV.Telemetry.slow_request(:infinity)
      :ok
  """
  @doc since: "0.2.0"
  @spec slow_request(non_neg_integer | :infinity) :: :ok
  def slow_request(ms), do: :kv_telemetry.slow_request(ms)

  @doc """
  Returns the names of all events, for `:telemetry.attach_many/4`.

  ## Examples

      iex> [:kv, :request, :slow] in KV.Telemetry.events()
      true
  """
  @doc since: "0.2.0"
  @spec events() :: [[atom, ...]]
  def events, do: :kv_telemetry.events()
end
