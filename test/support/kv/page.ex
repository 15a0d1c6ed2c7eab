defmodule KV.Page do
  @moduledoc """
  Runs the examples of a page of `docs/`.

  A page has sections, which begin with `## `. The code of a section is indented by four spaces. A block that begins with
  `iex>` is run line by line, with the variables of the blocks before it in the section, and each result is compared with the
  one on the page. A block that begins with `defmodule` is compiled. Other blocks are text.
  """

  @root Path.expand("../../..", __DIR__)

  @type section :: {title :: String.t(), [block]}
  @type block :: {:iex, [{code :: String.t(), expected :: String.t()}]} | {:module, String.t()}

  @spec path(String.t()) :: Path.t()
  def path(page), do: Path.join(@root, "docs/#{page}.md")

  @doc "Returns the sections of a page that have code to run."
  @spec sections(String.t()) :: [section]
  def sections(page) do
    page
    |> path()
    |> File.read!()
    |> String.split(~r/^## /m)
    |> Enum.map(fn text -> {text |> String.split("\n") |> hd(), blocks(text)} end)
    |> Enum.reject(fn {_title, blocks} -> blocks == [] end)
  end

  defp blocks(text) do
    text
    |> String.split("\n")
    |> Enum.chunk_by(&(String.starts_with?(&1, "    ") or &1 == ""))
    |> Enum.map(fn lines -> Enum.map_join(lines, "\n", &String.replace_prefix(&1, "    ", "")) end)
    |> Enum.flat_map(&String.split(String.trim(&1), ~r/\n\n(?=iex> |defmodule )/))
    |> Enum.flat_map(&block/1)
  end

  defp block("iex>" <> _ = text), do: [{:iex, text |> String.split("\n") |> steps([])}]
  defp block("defmodule " <> _ = text), do: [{:module, text}]
  defp block(_text), do: []

  # The lines up to the next prompt are the result.
  defp steps([], steps), do: Enum.reverse(steps)

  defp steps(["iex> " <> code | lines], steps) do
    {more, lines} = Enum.split_while(lines, &String.starts_with?(&1, "...> "))
    {expected, lines} = Enum.split_while(lines, &(not String.starts_with?(&1, "iex> ")))
    code = Enum.join([code | Enum.map(more, &String.replace_prefix(&1, "...> ", ""))], "\n")
    steps(lines, [{code, expected |> Enum.join("\n") |> String.trim()} | steps])
  end

  @doc "Runs the blocks of a section. Returns the first step that does not do as the page says, or `:ok`."
  @spec run([block]) :: :ok | {:differs, code :: String.t(), expected :: String.t(), seen :: term}
  def run(blocks), do: run(blocks, [])

  defp run([], _bindings), do: :ok
  defp run([{:iex, []} | blocks], bindings), do: run(blocks, bindings)

  defp run([{:module, text} | blocks], bindings) do
    _ = Code.compile_string(text)
    run(blocks, bindings)
  end

  defp run([{:iex, [{code, expected} | steps]} | blocks], bindings) do
    {seen, bindings} = eval(code, bindings, expected)

    if as_expected?(seen, expected, bindings) do
      run([{:iex, steps} | blocks], bindings)
    else
      {:differs, code, expected, seen}
    end
  end

  # A step may raise: then the page shows the message as `** (Exception) message`.
  defp eval(code, bindings, "** (" <> _) do
    {value, bindings} = Code.eval_string(code, bindings)
    {{:returned, value}, bindings}
  rescue
    error -> {{:raised, "** (#{inspect(error.__struct__)}) #{Exception.message(error)}"}, bindings}
  end

  defp eval(code, bindings, _expected), do: Code.eval_string(code, bindings)

  defp as_expected?(_seen, "", _bindings), do: true

  defp as_expected?({:raised, text}, "** (" <> _ = expected, _bindings),
    do: text == String.replace(expected, "\n", " ")

  defp as_expected?(_seen, "** (" <> _, _bindings), do: false
  # A pid or a reference differs from run to run.
  defp as_expected?(seen, "#" <> _ = expected, _bindings),
    do: hd(String.split(inspect(seen), "<")) == hd(String.split(expected, "<"))

  defp as_expected?(seen, expected, bindings) do
    {value, _bindings} = Code.eval_string(expected, bindings)
    value === seen
  end
end
