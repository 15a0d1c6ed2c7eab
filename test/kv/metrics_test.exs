defmodule KV.MetricsTest do
  @moduledoc """
  Holds `docs/metrics.md` to the figures that the program serves. `make metrics` writes the list.
  """

  use ExUnit.Case, async: true

  @root Path.expand("../..", __DIR__)
  @page Path.join(@root, "docs/metrics.md")

  test "docs/metrics.md has every figure, with its kind and its sentence" do
    list = "<!-- figures -->\n" <> table(scrape()) <> "<!-- end -->\n"

    if System.get_env("KV_WRITE_METRICS") do
      File.write!(@page, Regex.replace(~r/<!-- figures -->\n.*<!-- end -->\n/s, File.read!(@page), list))
    end

    assert File.read!(@page) =~ list
  end

  # With a data folder, so that all figures are there.
  defp scrape do
    port = free_port()
    folder = Path.join(System.tmp_dir!(), "kv_metrics_#{System.pid()}_#{port}")
    on_exit(fn -> File.rm_rf!(folder) end)

    arguments =
      ~w(--name kv@127.0.0.1 --no-epmd --port #{free_port()} --metrics 127.0.0.1:#{port} --data-dir #{folder})

    program = Application.app_dir(:kv, "priv/kv_node")
    node = Port.open({:spawn_executable, program}, [:binary, line: 4096, args: arguments])
    Port.command(node, "secret\n")
    await_ready(node)
    text = get(port)
    Port.close(node)
    text
  end

  defp await_ready(node) do
    receive do
      {^node, {:data, {:eol, "ready " <> _}}} -> :ok
      {^node, {:data, _}} -> await_ready(node)
    after
      20_000 -> flunk("the program is not ready")
    end
  end

  defp get(port) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false])
    :ok = :gen_tcp.send(socket, "GET /metrics HTTP/1.1\r\nHost: kv\r\nConnection: close\r\n\r\n")
    [head, body] = socket |> read("") |> String.split("\r\n\r\n", parts: 2)
    assert head =~ "HTTP/1.1 200 OK"
    body
  end

  defp read(socket, text) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, more} -> read(socket, text <> more)
      {:error, :closed} -> text
    end
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    port
  end

  defp table(text) do
    rows =
      for [_, name, help, kind] <- Regex.scan(~r/^# HELP (\w+) (.*)\n# TYPE \w+ (\w+)$/m, text),
          do: "| `#{name}` | #{kind} | #{String.trim_trailing(help, ".")} |\n"

    Enum.join(["| figure | kind | meaning |\n|---|---|---|\n" | rows])
  end
end
