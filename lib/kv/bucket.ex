defmodule KV.Bucket do
  @moduledoc """
  A bucket: a process that keeps values under keys.

  The process itself runs on the C node. `start_link/1`, which is what supervisors call, makes one and gives its
  local proxy; `KV.Registry.lookup/2` gives the native process. All functions here take either, and whatever else
  names a process: a registered name, `{name, node}`, `{:global, name}`, `{:via, module, name}`.

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.get(bucket, "milk")
      nil
      iex> KV.Bucket.put(bucket, "milk", 3)
      :ok
      iex> KV.Bucket.get(bucket, "milk")
      3

  Keys and values are any terms. Keys are the same when `===` says so: `1` and `1.0` are two keys. What the
  bucket holds is lost when it ends.

  A bucket can't run functions of yours: `Agent.get(bucket, fun)` is answered with
  `{:error, {:cannot_run_closures, text}}`. `Agent.stop/3`, `GenServer.call/3` and `:sys` work as with any
  server.

  The last argument of each function is a time in milliseconds, 5000 by default. Functions exit as
  `GenServer.call/3` does: with `:noproc` when there is no such bucket, `:timeout` when it does not answer in
  time, `{:nodedown, node}` when its node is lost.
  """

  @typedoc "A bucket, by anything that names a process."
  @type t :: GenServer.server()

  @typedoc "The pid of the native process, on the C node."
  @type native :: pid

  @typedoc "The pid of the local process that stands for the native one."
  @type proxy :: pid

  @type key :: term
  @type value :: term

  @typedoc """
    * `:name` - an atom, which is registered locally and on the C node, `{:global, term}` or
      `{:via, module, term}`.
    * `:label` - a binary that status reports show.
    * `:node` - the local name of the `KV.Node` to run on, when there are several.
  """
  @type option :: {:name, GenServer.name()} | {:label, binary} | {:node, atom}

  @type options :: [option] | %{optional(:name) => GenServer.name(), optional(atom) => term}

  @doc """
  Starts an empty bucket, linked to the caller, and gives its proxy.

  Returns `{:ok, pid}`, or `{:error, reason}`: `{:bad_option, key}`; `{:already_started, pid}` when the name is
  taken; `{:already_registered, pid}` when it is taken on the C node; `{:not_running, server}` and
  `{:nodedown, node}` when there is no C node.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link(name: :shopping)
      iex> KV.Bucket.put(:shopping, "eggs", 3)
      :ok
      iex> KV.Bucket.start_link(name: :shopping)
      {:error, {:already_started, bucket}}
      iex> KV.Bucket.start_link(colour: :red)
      {:error, {:bad_option, :colour}}
  """
  @doc since: "0.1.0"
  @spec start_link(options) :: {:ok, proxy} | {:error, term}
  def start_link(options \\ []), do: :kv_bucket.start_link(options)

  @doc """
  A child specification. A bucket is `:temporary`: an empty one in its place would hide that its values are gone.

  ## Examples

      iex> Supervisor.child_spec(KV.Bucket, []).restart
      :temporary
      iex> KV.Bucket.child_spec(name: :shopping).start
      {KV.Bucket, :start_link, [[name: :shopping]]}
  """
  @doc since: "0.1.0"
  @spec child_spec(options) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: __MODULE__,
      start: {__MODULE__, :start_link, [options]},
      restart: :temporary,
      # The native process gets two seconds to end, and two more after it is killed.
      shutdown: 5_000,
      type: :worker
    }
  end

  @doc """
  The value under `key`, or `default`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.get(bucket, "milk")
      nil
      iex> KV.Bucket.get(bucket, "milk", 0)
      0
  """
  @doc since: "0.1.0"
  @spec get(t, key, default, timeout) :: value | default when default: term
  def get(bucket, key, default \\ nil, timeout \\ 5_000), do: :kv_bucket.get(bucket, key, default, timeout)

  @doc """
  `{:ok, value}` with the value under `key`, or `:error`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.fetch(bucket, "milk")
      :error
      iex> KV.Bucket.put(bucket, "milk", nil)
      iex> KV.Bucket.fetch(bucket, "milk")
      {:ok, nil}
  """
  @doc since: "0.1.0"
  @spec fetch(t, key, timeout) :: {:ok, value} | :error
  def fetch(bucket, key, timeout \\ 5_000), do: :kv_bucket.fetch(bucket, key, timeout)

  @doc """
  The value under `key`; raises `KeyError` when there is none.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.fetch!(bucket, "milk")
      3
  """
  @doc since: "0.1.0"
  @spec fetch!(t, key, timeout) :: value
  def fetch!(bucket, key, timeout \\ 5_000) do
    case fetch(bucket, key, timeout) do
      {:ok, value} -> value
      :error -> raise KeyError, key: key, term: bucket
    end
  end

  @doc """
  Puts `value` under `key`, in place of the one that is there.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, {:any, "term"}, %{milk: 1})
      :ok
      iex> KV.Bucket.get(bucket, {:any, "term"})
      %{milk: 1}
  """
  @doc since: "0.1.0"
  @spec put(t, key, value, timeout) :: :ok
  def put(bucket, key, value, timeout \\ 5_000), do: :kv_bucket.put(bucket, key, value, timeout)

  @doc """
  Puts `value` under `key` unless there is one already; says whether it did.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put_new(bucket, "milk", 1)
      true
      iex> KV.Bucket.put_new(bucket, "milk", 2)
      false
      iex> KV.Bucket.get(bucket, "milk")
      1
  """
  @doc since: "0.1.0"
  @spec put_new(t, key, value, timeout) :: boolean
  def put_new(bucket, key, value, timeout \\ 5_000), do: :kv_bucket.put_new(bucket, key, value, timeout)

  @doc """
  Removes `key` and gives the value that it had, or `nil`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.delete(bucket, "milk")
      3
      iex> KV.Bucket.delete(bucket, "milk")
      nil
  """
  @doc since: "0.1.0"
  @spec delete(t, key, timeout) :: value | nil
  def delete(bucket, key, timeout \\ 5_000), do: :kv_bucket.delete(bucket, key, timeout)

  @doc """
  Whether there is a value under `key`.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, 1, nil)
      iex> {KV.Bucket.has_key?(bucket, 1), KV.Bucket.has_key?(bucket, 1.0)}
      {true, false}
  """
  @doc since: "0.1.0"
  @spec has_key?(t, key, timeout) :: boolean
  def has_key?(bucket, key, timeout \\ 5_000), do: :kv_bucket.has_key(bucket, key, timeout)

  @doc """
  The number of keys. Takes the same time however many there are.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.size(bucket)
      1
  """
  @doc since: "0.1.0"
  @spec size(t, timeout) :: non_neg_integer
  def size(bucket, timeout \\ 5_000), do: :kv_bucket.size(bucket, timeout)

  @doc """
  All keys, in no order.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.keys(bucket)
      ["milk"]
  """
  @doc since: "0.1.0"
  @spec keys(t, timeout) :: [key]
  def keys(bucket, timeout \\ 5_000), do: :kv_bucket.keys(bucket, timeout)

  @doc """
  All keys with their values.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.to_map(bucket)
      %{"milk" => 3}
  """
  @doc since: "0.1.0"
  @spec to_map(t, timeout) :: %{key => value}
  def to_map(bucket, timeout \\ 5_000), do: :kv_bucket.to_map(bucket, timeout)

  @doc """
  Removes all keys.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.put(bucket, "milk", 3)
      iex> KV.Bucket.clear(bucket)
      :ok
      iex> KV.Bucket.size(bucket)
      0
  """
  @doc since: "0.1.0"
  @spec clear(t, timeout) :: :ok
  def clear(bucket, timeout \\ 5_000), do: :kv_bucket.clear(bucket, timeout)

  @doc """
  Ends the bucket with `reason`, and returns when it is gone.

  ## Examples

      iex> {:ok, bucket} = KV.Bucket.start_link()
      iex> KV.Bucket.stop(bucket)
      :ok
      iex> Process.alive?(bucket)
      false
  """
  @doc since: "0.1.0"
  @spec stop(t, term, timeout) :: :ok
  def stop(bucket, reason \\ :normal, timeout \\ :infinity), do: :kv_bucket.stop(bucket, reason, timeout)
end
