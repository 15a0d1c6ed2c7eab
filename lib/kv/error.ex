defmodule KV.Error do
  @moduledoc """
  Raised by the functions with a bang, such as `KV.Bucket.put!/4`, instead of returning `{:error, reason}`. Nothing has
  changed then, except where the reason is `{:incomplete, count, reason}`. Streams raise it, too.

  `reason` is the reason of the error tuple. The message is a sentence that says what is wrong, and what to do about it where
  there is something to do.

      iex> Exception.message(%KV.Error{reason: :full})
      "the bucket has as many entries as max_entries allows, and evict lets none of them go"
  """
  defexception [:reason]

  @type t :: %__MODULE__{reason: term}

  @impl true
  def message(%__MODULE__{reason: reason}), do: :kv_error.text(reason)
end
