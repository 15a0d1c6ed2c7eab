defmodule KV.ApiPageTest do
  @moduledoc """
  docs/api.md names functions that exist, and all of them.
  """

  use ExUnit.Case, async: true

  @page Path.expand("../../docs/api.md", __DIR__)
  @text File.read!(@page)
  @external_resource @page

  test "each function that a row names exists with that number of arguments" do
    assert for(
             {module, name, arity} <- calls(),
             not exported?(module, name, arity),
             do: {module, name, arity}
           ) == []
  end

  test "each function of a row has the same name in the Erlang module, but for the exceptions that the page tells" do
    missing =
      for {module, name, _} <- calls(),
          bare = String.trim_trailing(name, "?"),
          not named?(erlang(module), bare),
          do: name

    assert Enum.uniq(missing) -- ["stream", "reduce"] == []
    assert function_exported?(:kv_bucket, :fold, 4)
  end

  test "each other name in the column of kv is a function or an option" do
    options =
      for {name, _, _} <- :kv_bucket.own_options() ++ :kv_registry.own_options(), do: Atom.to_string(name)

    known = ["name", "fill" | options]
    assert for(name <- names(), name not in known, not named?(KV.Bucket, name), do: name) == []
  end

  test "each row that names a function says its cost, its result and its steps" do
    rows = for row <- rows(), row["kv"] =~ ~r/\([br]\b/, do: row
    assert rows != []

    assert for(
             row <- rows,
             column <- ["returns", "cost", "atomic"],
             row[column] == "",
             do: {row["kv"], column}
           ) == []
  end

  test "each function of a bucket or a registry is on the page" do
    named = for {module, name, _} <- calls(), do: {module, name}
    bare = for name <- names(), do: {KV.Bucket, name}

    missing =
      for module <- [KV.Bucket, KV.Registry],
          {function, _} <- module.__info__(:functions),
          name = Atom.to_string(function),
          # The page says once that there are forms with a bang.
          not String.ends_with?(name, "!"),
          {module, name} not in (named ++ bare),
          do: {module, name}

    # Both modules start, stop and count generations alike; GenServer's callbacks are no operations.
    alike = ["start_link", "child_spec", "stop", "generation"]
    callbacks = ["init", "handle_call", "handle_cast", "handle_info", "terminate", "code_change"]

    assert for(
             {module, name} <- Enum.uniq(missing),
             module == KV.Bucket or name not in (alike ++ callbacks),
             do: name
           ) == []
  end

  # The rows of all tables that have a column of kv: maps from heading to cell.
  defp rows do
    for table <- Regex.scan(~r/(?:^\|.*\|\n)+/m, @text),
        [head, _ruler | lines] = table |> hd() |> String.split("\n", trim: true),
        headings = cells(head),
        "kv" in headings,
        line <- lines do
      headings |> Enum.zip(cells(line)) |> Map.new()
    end
  end

  defp cells(line), do: line |> String.trim("|") |> String.split("|") |> Enum.map(&String.trim/1)

  defp spans, do: for(row <- rows(), [_, span] <- Regex.scan(~r/`([^`]+)`/, row["kv"]), do: span)

  # `put(b, k, v, ttl: ms)` is a function of four arguments; the first one tells the module.
  defp calls do
    for span <- spans(), [_, name, text] <- Regex.scan(~r/^([a-z_]+[?!]?)\((.*)\)$/, span) do
      arguments = String.split(text, ", ")
      {if(hd(arguments) == "r", do: KV.Registry, else: KV.Bucket), name, length(arguments)}
    end
  end

  defp names, do: for(span <- spans(), span =~ ~r/^[a-z_]+[?!]?$/, do: span)

  defp exported?(module, name, arity) do
    Code.ensure_loaded!(module)
    function_exported?(module, String.to_atom(name), arity)
  end

  defp named?(module, name) do
    for({function, _} <- module.module_info(:exports), do: Atom.to_string(function)) |> Enum.member?(name)
  end

  defp erlang(KV.Bucket), do: :kv_bucket
  defp erlang(KV.Registry), do: :kv_registry
end
