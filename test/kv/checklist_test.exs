defmodule KV.ChecklistTest do
  @moduledoc """
  Holds `docs/guide-checklist.md` and the tests to each other.
  """

  use ExUnit.Case, async: true

  @checklist Path.expand("../../docs/guide-checklist.md", __DIR__)
  @tests Path.wildcard(Path.expand("../**/*_test.exs", __DIR__))

  test "every row of the checklist has a test, and every row that a test names is there" do
    rows = rows()
    tagged = Enum.flat_map(@tests, &tagged/1)

    assert length(rows) == length(Enum.uniq(rows)), "a row is there twice"
    assert rows -- tagged == [], "rows without a test"
    assert Enum.uniq(tagged) -- rows == [], "tests of rows that are not in the checklist"
  end

  test "the tests of the guide are here under their own names" do
    titles = @tests |> Enum.flat_map(&titles/1) |> MapSet.new()
    quoted = Regex.scan(~r/^\| KV\S*Test \| (.*?) \|/m, File.read!(@checklist), capture: :all_but_first)

    for [list] <- quoted, [title] <- Regex.scan(~r/"(.*?)"/, list, capture: :all_but_first) do
      assert title in titles
    end
  end

  defp rows do
    ~r/^\| ((?:BK|RG|EV|SV|AP)-\w+|KV\S*Test) \|/m
    |> Regex.scan(File.read!(@checklist), capture: :all_but_first)
    |> List.flatten()
  end

  defp tagged(file) do
    collect(file, fn
      {:@, _, [{:tag, _, [[row: row]]}]} -> [row]
      {:@, _, [{:tag, _, [[rows: rows]]}]} -> rows
      _ -> []
    end)
  end

  defp titles(file) do
    collect(file, fn
      {:test, _, [title | _]} when is_binary(title) -> [title]
      _ -> []
    end)
  end

  defp collect(file, select) do
    {_, found} =
      file
      |> File.read!()
      |> Code.string_to_quoted!(file: file)
      |> Macro.prewalk([], fn node, found -> {node, select.(node) ++ found} end)

    found
  end
end
