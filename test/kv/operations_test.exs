defmodule KV.OperationsTest do
  @moduledoc """
  Holds `kv_bucket`, `kv_request`, `KV.Bucket` and docs/native-protocol.md to the tables of operations in `c_src/kv/operations_*.c`.
  """

  use KV.Case, async: true

  @root Path.expand("../..", __DIR__)
  @families ~w(single conditional numbers time many)
  @tables for family <- @families, do: "c_src/kv/operations_#{family}.c"

  test "every operation that can be called has a function in both languages" do
    for {name, arity, doors} <- operations(), "CALL" in doors do
      assert exports?(:kv_bucket, name, arity + 1), "kv_bucket:#{name}/#{arity + 1}"

      assert exports?(KV.Bucket, name, arity + 1) or exports?(KV.Bucket, "#{name}?", arity + 1),
             "KV.Bucket.#{name}"
    end
  end

  test "kv_request knows the message of every operation" do
    operations = operations()

    for {name, arity, doors} <- operations, "CALL" in doors do
      # Those with a default for absent keys always send it.
      defaults? =
        name in ~w(get get_many delete) and
          {name, arity + 1} in for({name, arity, _} <- operations, do: {name, arity})

      unless defaults? do
        message = :kv_request.message(String.to_atom(name), arguments(arity))
        assert hd(if is_tuple(message), do: Tuple.to_list(message), else: [message]) == String.to_atom(name)
      end
    end
  end

  test "every operation that can be called can be sent by async/3" do
    bucket = start_supervised!(KV.Bucket)

    for {name, arity, doors} <- operations(), "CALL" in doors do
      request = KV.Bucket.async(bucket, String.to_atom(name), sent(name, arity))
      refute match?({:error, _}, KV.Bucket.await(request)), name
    end
  end

  test "every operation that can be cast is a function of cast/3, and no other is" do
    bucket = start_supervised!(KV.Bucket)
    operations = operations()

    for {name, arity, doors} <- operations, "CALL" in doors do
      castable = Enum.any?(operations, fn {other, _, doors} -> other == name and "CAST" in doors end)
      cast = fn -> KV.Bucket.cast(bucket, String.to_atom(name), sent(name, arity)) end

      if castable,
        do: assert(cast.() == :ok, name),
        else: assert_raise(ArgumentError, ~r"cast/3 cannot send #{name}", cast)
    end
  end

  test "the types of both modules name every function of cast/3" do
    names = Enum.sort(:kv_operations.names(:cast))

    for module <- [:kv_bucket, KV.Bucket] do
      {:ok, types} = Code.Typespec.fetch_types(module)
      [{:type, _, :union, atoms}] = for {:type, {:cast_function, type, []}} <- types, do: type
      assert names == Enum.sort(for {:atom, _, name} <- atoms, do: name)
    end
  end

  test "docs/native-protocol.md has every request" do
    text = File.read!(Path.join(@root, "docs/native-protocol.md"))

    for {name, arity, doors} <- operations(), "CALL" in doors do
      request = if arity == 0, do: "`#{name}`", else: "`{#{name}#{String.duplicate(", [A-Za-z]+", arity)}}`"
      assert text =~ Regex.compile!(request), "#{name}/#{arity}"
    end
  end

  defp operations do
    for file <- @tables,
        [_, name, arity, doors] <-
          Regex.scan(~r/KV_OPERATION\("(\w+)", (\d), ([A-Z |]+),/, File.read!(Path.join(@root, file))),
        do: {name, String.to_integer(arity), String.split(doors, " | ")}
  end

  # Keys, entries and values may be empty lists; a time to live is the last of several.
  defp arguments(0), do: []
  defp arguments(arity), do: List.duplicate([], arity - 1) ++ [if(arity == 1, do: [], else: 60_000)]

  # The same for async/3 and cast/3: a time to live is an option there, and `delete` has no default. A counter has a key of
  # its own.
  defp sent(name, arity) do
    {_, names, options, _, last, _} = :kv_operations.row(String.to_atom(name))
    arguments = arguments(arity)

    cond do
      last == :list -> ["counter", 1] ++ List.duplicate([max: 100], arity - length(names))
      arity == length(names) or last == :default -> arguments
      :ttl in options -> Enum.take(arguments, length(names)) ++ [[ttl: 60_000]]
      true -> Enum.take(arguments, length(names))
    end
  end

  defp exports?(module, name, arity), do: {String.to_atom(name), arity} in module.module_info(:exports)
end
