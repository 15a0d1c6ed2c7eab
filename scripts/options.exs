# Writes the table of options into docs/options.md and into the documentation of src/kv_node.erl: `make options`.
# The table itself is in src/kv_node_options.erl.

write = fn path, first, last, text ->
  [before, rest] = path |> File.read!() |> String.split(first, parts: 2)
  [_, behind] = String.split(rest, last, parts: 2)
  File.write!(path, before <> text <> behind)
end

write.(
  "docs/options.md",
  "<!-- options of kv_node -->\n",
  "<!-- end -->\n",
  "<!-- options of kv_node -->\n" <> :kv_node_options_text.markdown() <> "<!-- end -->\n"
)

write.(
  "src/kv_node.erl",
  "%% <ul>\n",
  "%% </ul>\n",
  IO.chardata_to_string(:kv_node_options_text.edoc()) <> "\n"
)
