defmodule KV.OptionsTest do
  @moduledoc """
  Holds all lists of options to `src/kv_node_options.erl`, and those of buckets in the two languages to each other.
  """

  use ExUnit.Case, async: true

  @root Path.expand("../..", __DIR__)
  # Options of the program that kv_node sets by itself, and those for a person at a terminal.
  @own_flags ~w(name vm epmd-port no-epmd) ++
               ~w(tls-certfile tls-keyfile tls-password tls-cacertfile tls-verify tls-fail-if-no-peer-cert) ++
               ~w(tls-hosts tls-depth tls-versions tls-ciphers tls-dhfile)
  @manual_flags ~w(no-leash metrics config cookie-file check-config) ++
                  ~w(check salvage to version help)

  test "the application file has no defaults, which would replace what was set before kv is loaded" do
    {:ok, [{:application, :kv, properties}]} = :file.consult(path("src/kv.app.src"))
    assert Keyword.fetch!(properties, :env) == []
  end

  test "docs/options.md has the table" do
    assert File.read!(path("docs/options.md")) =~ :kv_node_options_text.markdown()
  end

  test "the documentation of kv_node has the list" do
    assert File.read!(path("src/kv_node.erl")) =~ IO.chardata_to_string(:kv_node_options_text.edoc())
  end

  test "the documentation of KV.Node has the list" do
    {:docs_v1, _, _, _, %{"en" => text}, _, _} = Code.fetch_docs(KV.Node)

    assert text =~ :kv_node_options_text.elixir()
    for key <- :kv_node_options.keys(), do: assert(text =~ "  * `#{inspect(key)}` - ")
  end

  test "the program has every flag, with the same bounds and the same default" do
    help = help()

    for {key, flag, type, default, _, _} <- :kv_node_options.table(), flag != :none do
      assert help_matches?(Map.fetch!(help, to_string(flag)), key, type, value(default)), "--#{flag}"
    end
  end

  test "every flag of the program has an option" do
    flags = for {_, flag, _, _, _, _} <- :kv_node_options.table(), flag != :none, do: to_string(flag)

    assert Enum.sort(Map.keys(help())) == Enum.sort(flags ++ @own_flags ++ @manual_flags)
  end

  test "docs/native-protocol.md has every flag of the program, and the default of each number" do
    lines = path("docs/native-protocol.md") |> File.read!() |> String.split("\n")
    for flag <- Map.keys(help()), do: assert(Enum.any?(lines, &(&1 =~ "`--#{flag}`")), "--#{flag}")

    for {_, flag, {:integer, _, _, _}, default, _, _} <- :kv_node_options.table(),
        flag != :none and default != :undefined do
      row = Enum.find(lines, &String.starts_with?(&1, "| `--#{flag}` |"))
      assert row =~ ~r/\| #{value(default)}\b[^|]*\|$/, "--#{flag}"
    end
  end

  test "a number is taken from its least to its most value" do
    for {key, _, {:integer, _, least, most}, _, _, _} <- :kv_node_options.table() do
      assert {:ok, %{^key => ^least}} = :kv_node_options.validate([{key, least}])
      assert {:ok, %{^key => ^most}} = :kv_node_options.validate(%{key => most})

      for wrong <- [least - 1, most + 1, 1.0, "1", nil, :infinity] do
        assert {:error, {:bad_option, ^key, _}} = :kv_node_options.validate([{key, wrong}])
      end
    end
  end

  test "the defaults are options that can be given" do
    for {key, _, _, default, _, _} <- :kv_node_options.table() do
      assert {:ok, _} = :kv_node_options.validate([{key, value(default)}])
    end
  end

  test "undefined can be given if the program or the start decides" do
    for {key, _, _, default, _, _} <- :kv_node_options.table() do
      taken = match?({:ok, _}, :kv_node_options.validate([{key, :undefined}]))
      assert taken == (default == :undefined or match?({:program, _}, default)), inspect(key)
    end
  end

  test "every option that has a flag reaches the program" do
    {:ok, options} =
      :kv_node_options.validate(max_pending: 1_048_577, port: 4711, log_level: :debug, data_dir: "/data")

    lines =
      :kv_node_options.for_program(:"kv@127.0.0.1", options) |> IO.chardata_to_string() |> String.split("\n")

    for line <-
          ~w(--name=kv@127.0.0.1 --max-pending=1048577 --port=4711 --log-level=debug --follow=true --data-dir=/data) do
      assert line in lines
    end

    refute Enum.any?(lines, &String.starts_with?(&1, "--max-frame")), "its default is left to the program"
  end

  test "kv_bucket and KV.Bucket take the same options and document each" do
    erlang = option_keys(:kv_bucket, :option) ++ option_keys(:kv_start_options, :stay_option)
    elixir = option_keys(KV.Bucket, :option)

    # Only the application's own registry asks whether the start waits for the node.
    assert Enum.sort(erlang -- [:wait]) == Enum.sort(elixir)

    edoc = comment_above("src/kv_bucket.erl", "-spec start_link(options())")
    typedoc = typedoc(KV.Bucket, :option)

    for key <- elixir do
      assert edoc =~ "`#{key}'", "src/kv_bucket.erl, start_link/1: #{key}"
      assert typedoc =~ "`#{inspect(key)}`", "KV.Bucket.option: #{key}"
      assert File.read!(path("docs/options.md")) =~ "`#{key}`", "docs/options.md: #{key}"
    end
  end

  test "kv_registry and KV.Registry take the same options and document each" do
    erlang = option_keys(:kv_registry, :option) ++ option_keys(:kv_start_options, :stay_option)
    elixir = option_keys(KV.Registry, :option)

    # The supervisor of the buckets, as each language names one.
    assert Enum.sort(erlang -- [:wait, :start_bucket]) == Enum.sort(elixir -- [:buckets])

    edoc = comment_above("src/kv_registry.erl", "-spec start_link(options()")
    for key <- erlang -- [:wait], do: assert(edoc =~ "`#{key}'", "src/kv_registry.erl, start_link/1: #{key}")

    for key <- elixir,
        do: assert(typedoc(KV.Registry, :option) =~ "`#{inspect(key)}`", "KV.Registry.option: #{key}")
  end

  test "kv_bucket and KV.Bucket document the same errors of a start" do
    erlang = Regex.scan(~r/`\{(\w+), /, comment_above("src/kv_bucket.erl", "-spec start_link(options())"))
    elixir = Regex.scan(~r/`\{:(\w+), /, doc(KV.Bucket, :start_link, 1))

    assert tags(erlang) == tags(elixir)
  end

  test "kv_bucket and KV.Bucket refuse a request for the same reasons" do
    erlang = atoms(type(:kv_bucket, :refused))
    elixir = atoms(type(KV.Bucket, :refused))

    assert Enum.sort(erlang) == Enum.sort(elixir)

    for reason <- erlang do
      assert File.read!(path("src/kv_bucket.erl")) =~ ~r/`\{#{reason}, |#{reason}\}'|`#{reason}'/,
             "kv_bucket: #{reason}"

      assert typedoc(KV.Bucket, :refused) =~ inspect(reason), "KV.Bucket.refused: #{reason}"
    end
  end

  test "a proxy names as many ancestors as a native process takes" do
    [_, given] = Regex.run(~r/-define\(ANCESTORS_MAX, (\d+)\)/, File.read!(path("src/kv_life.erl")))
    [_, taken] = Regex.run(~r/ANCESTORS_MAX = (\d+)/, File.read!(path("c_src/kv/start.c")))

    assert given == taken
  end

  defp path(file), do: Path.join(@root, file)

  defp value({:program, value}), do: value
  defp value(value), do: value

  # The text of --help for each option, on one line.
  defp help do
    {text, 0} = System.cmd(Application.app_dir(:kv, "priv/kv_node"), ["--help"])

    for [_, flag, rest] <- Regex.scan(~r/^  --([a-z-]+)((?:.*\n)(?: {27}.*\n)*)/m, text), into: %{} do
      {flag, String.replace(rest, ~r/\s+/, " ")}
    end
  end

  # 0 is the program's own word for a default that it works out.
  defp help_matches?(text, :max_memory, {:integer, _, _, most}, :undefined), do: text =~ "0 to #{most} (0)"

  defp help_matches?(text, _, {:integer, _, least, most}, default),
    do: text =~ "#{least} to #{most} (#{default})"

  defp help_matches?(text, _, {:one_of, words}, :undefined), do: Enum.all?(words, &(text =~ "#{&1}"))
  defp help_matches?(text, _, {:one_of, words}, default), do: Enum.all?([default | words], &(text =~ "#{&1}"))
  defp help_matches?(text, _, :boolean, default), do: text =~ "true|false" and text =~ "(#{default})"
  defp help_matches?(text, :data_dir, :text, :undefined), do: text =~ "durable buckets are kept"
  defp help_matches?(text, :backup_dir, :text, :undefined), do: text =~ "make backups of --data-dir"
  defp help_matches?(text, :bind, :text, :undefined), do: text =~ "what HOST resolves to"

  defp type(module, name) do
    {:ok, types} = Code.Typespec.fetch_types(module)
    Enum.find_value(types, fn {_, {type, form, _}} -> type == name && form end)
  end

  # The first element of each pair in a union of pairs.
  defp option_keys(module, name) do
    {:type, _, :union, members} = type(module, name)
    for {:type, _, :tuple, [{:atom, _, key} | _]} <- members, do: key
  end

  defp atoms({:atom, _, atom}), do: [atom]
  defp atoms({:type, _, kind, members}) when kind in [:union, :tuple], do: Enum.flat_map(members, &atoms/1)
  defp atoms(_), do: []

  defp doc(module, name, arity) do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(module)
    Enum.find_value(docs, fn {id, _, _, doc, _} -> id == {:function, name, arity} && doc["en"] end)
  end

  defp typedoc(module, name) do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(module)
    Enum.find_value(docs, fn {id, _, _, doc, _} -> match?({:type, ^name, _}, id) && doc["en"] end)
  end

  # The comment of an Erlang function.
  defp comment_above(file, spec) do
    [before | _] = file |> path() |> File.read!() |> String.split(spec)

    before
    |> String.split("\n")
    |> Enum.drop(-1)
    |> Enum.reverse()
    |> Enum.take_while(&String.starts_with?(&1, "%%"))
    |> Enum.join("\n")
  end

  # Tuples of the same paragraphs that are no errors.
  @no_errors ~w(ok error local global via Module)

  defp tags(matches), do: Enum.sort(Enum.uniq(Enum.map(matches, &List.last/1)) -- @no_errors)
end
