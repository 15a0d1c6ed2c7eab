# The reference of the Elixir modules as Markdown, a file for each: mix run --no-start scripts/docs.exs DIRECTORY

defmodule KV.Docs do
  def write(directory) do
    {:ok, modules} = :application.get_key(:kv, :modules)

    pages =
      for module <- modules,
          "Elixir." <> name <- [Atom.to_string(module)],
          text = page(module, name),
          do: {name, text}

    for {name, text} <- pages, do: File.write!(Path.join(directory, "#{name}.md"), text)
    list = for {name, _} <- Enum.sort(pages), do: "- [#{name}](#{name}.md)\n"
    File.write!(Path.join(directory, "index.md"), ["# Elixir modules\n\n", list])
  end

  defp page(module, name) do
    case Code.fetch_docs(module) do
      {:docs_v1, _, _, _, %{"en" => text}, _, docs} ->
        ["# #{name}\n\n", text, section("Types", :type, docs), section("Functions", :function, docs)]

      _ ->
        nil
    end
  end

  defp section(title, kind, docs) do
    entries = for {{^kind, name, arity}, _, heads, %{"en" => text}, _} <- docs, do: {name, arity, heads, text}
    if entries == [], do: [], else: ["\n## #{title}\n" | Enum.map(Enum.sort(entries), &entry/1)]
  end

  defp entry({name, arity, heads, text}) do
    ["\n### #{name}/#{arity}\n\n", for(head <- heads, do: "    #{head}\n"), "\n", text, "\n"]
  end
end

[directory] = System.argv()
KV.Docs.write(directory)
