defmodule KV.FunctionsTest do
  @moduledoc """
  The functions that other nodes may call by name on the C node: the list in docs/functions.md, and a comparison with
  this VM. The list comes from the tables in c_src/observe/. `make functions` writes the document.
  """

  use KV.Case, async: false

  @document Path.expand("../../docs/functions.md", __DIR__)
  @timeout 10_000

  # Items whose value has another type here, because the node has no such thing. `undefined` is a value that OTP
  # documents for the first four.
  @without [
             :cpu_topology,
             :microstate_accounting,
             :scheduler_wall_time,
             :scheduler_wall_time_all,
             :system_logger
           ] ++
             [:scheduler_bindings, :smp_support]

  # Functions for Observer and for kv itself. Their answers have tests of their own.
  @tools [
           :appmon_info,
           :observer_backend,
           :kv_local,
           :kv_node,
           :ets,
           :kv_bucket,
           :kv_registry,
           :rex,
           :net_kernel,
           :kv_lane
         ] ++
           [:erpc, :proc_lib, :sys]

  setup_all do
    %{node: :kv_node.name(:kv_node.default())}
  end

  test "docs/functions.md has the functions and items of the node", %{node: node} do
    text = markdown(functions(node), :rpc.call(node, :kv_node, :items, []))
    if System.get_env("KV_WRITE_FUNCTIONS") == "1", do: File.write!(@document, text)
    assert File.read!(@document) == text, "make functions writes docs/functions.md"
  end

  test "rpc, erpc and the rex of older releases call each function alike", %{node: node} do
    for {m, f, arity, _} <- functions(node), m not in @tools, args = arguments(m, f, arity, node) do
      answer = :rpc.call(node, m, f, args, @timeout)
      refute match?({:badrpc, _}, answer), "#{m}:#{f}/#{arity}: #{inspect(answer)}"
      assert kind(erpc(node, m, f, args)) == kind(answer), "erpc #{m}:#{f}/#{arity}"
      assert kind(rex(node, m, f, args)) == kind(answer), "rex #{m}:#{f}/#{arity}"
    end
  end

  test "each function answers a term of the type that a BEAM answers", %{node: node} do
    for {m, f, arity, _} <- functions(node),
        m not in @tools and exists?(m, f, arity),
        args = arguments(m, f, arity, node) do
      here = apply(m, f, arguments(m, f, arity, node()))
      there = :rpc.call(node, m, f, args, @timeout)
      assert alike?(there, here), "#{m}:#{f}/#{arity}: #{inspect(there)}, a BEAM: #{inspect(here)}"
    end
  end

  test "each item of system_info, statistics and process_info has the type that it has on a BEAM", %{
    node: node
  } do
    items = :rpc.call(node, :kv_node, :items, [])
    native = :rpc.call(node, :erlang, :whereis, [:net_kernel])

    for {function, names} <- items, item <- names do
      args = if function == :process_info, do: [[item]], else: [item]
      there = :rpc.call(node, :erlang, function, pid(function, native) ++ args)
      refute match?({:badrpc, _}, there), "#{function}(#{item})"

      case local(function, pid(function, Process.whereis(:net_kernel)) ++ args) do
        {:ok, here} when item not in @without ->
          assert alike?(there, here), "#{item}: #{inspect(there)}, #{inspect(here)}"

        _ ->
          :ok
      end
    end
  end

  test "health checks of Elixir's documentation are answered", %{node: node} do
    {:ok, bucket} = KV.Bucket.start_link()
    native = :kv_proxy.native(bucket)
    assert :rpc.call(node, Process, :alive?, [native])
    assert {:memory, bytes} = :rpc.call(node, Process, :info, [native, :memory])
    assert is_integer(bytes)
    assert :rpc.call(node, Process, :info, [native, :registered_name]) == {:registered_name, []}
    assert native in :rpc.call(node, Process, :list, [])
    assert :rpc.call(node, Process, :whereis, [:nobody]) == nil
    assert :erpc.call(node, Node, :self, []) == node
    assert node() in :erpc.call(node, Node, :list, [:connected])
    assert :erpc.call(node, Node, :ping, [node()]) == :pong
    assert :erpc.call(node, Node, :ping, [:nobody@nowhere]) == :pang
    assert :ok = KV.Bucket.stop(bucket)
    refute :rpc.call(node, Process, :alive?, [native])
    assert :rpc.call(node, Process, :info, [native]) == nil
  end

  test "GenServer.call by rpc asks a native process, and exits as on a BEAM", %{node: node} do
    {:ok, bucket} = KV.Bucket.start_link()
    native = :kv_proxy.native(bucket)
    :ok = KV.Bucket.put(bucket, "milk", 3)
    assert :rpc.call(node, GenServer, :call, [native, {:get, "milk"}]) == 3
    assert :erpc.call(node, :gen_server, :call, [native, {:get, "milk"}, 1000]) == 3
    assert :rpc.call(node, :gen_server, :call, [:net_kernel, {:is_auth, node()}]) == :yes
    assert rex(node, :gen_server, :call, [native, {:get, "milk"}]) == 3

    for module <- [:gen_server, GenServer] do
      assert :rpc.call(node, module, :call, [:nobody, :x]) == :rpc.call(node(), module, :call, [:nobody, :x])

      assert catch_exit(:erpc.call(node, module, :call, [:nobody, :x, 10])) ==
               catch_exit(:erpc.call(node(), module, :call, [:nobody, :x, 10]))
    end

    :ok = :sys.suspend(native)

    assert {:badrpc, {:EXIT, {:timeout, {:gen_server, :call, [^native, :size, 1]}}}} =
             :rpc.call(node, :gen_server, :call, [native, :size, 1])

    :ok = :sys.resume(native)
  end

  test "sys.get_status by rpc takes a pid or a name, and exits as on a BEAM if nobody is there", %{node: node} do
    rex = :rpc.call(node, :erlang, :whereis, [:rex])

    for server <- [rex, :rex, {:rex, node}] do
      assert {:status, ^rex, {:module, _}, _} = :rpc.call(node, :sys, :get_status, [server])
    end

    {:ok, bucket} = KV.Bucket.start_link()
    native = :kv_proxy.native(bucket)
    :ok = KV.Bucket.stop(bucket)
    gone = {:noproc, {:sys, :get_status, [native]}}
    assert :rpc.call(node, :sys, :get_status, [native]) == {:badrpc, {:EXIT, gone}}
    assert catch_exit(:erpc.call(node, :sys, :get_status, [native])) == {:exception, gone}
    assert rex(node, :sys, :get_status, [native]) == {:badrpc, {:EXIT, gone}}

    for args <- [[:nobody], [:nobody, 10]] do
      assert :rpc.call(node, :sys, :get_status, args) == :rpc.call(node(), :sys, :get_status, args)
    end
  end

  test "odd arguments have the result of a BEAM", %{node: node} do
    for {m, f, args} <- [
          {:erlang, :apply, [:erlang, :is_alive, [] | :x]},
          {:erlang, :apply, [:erlang, :apply, [:erlang, :is_alive, [] | :x]]},
          {:erlang, :apply, nested(17)},
          {:erlang, :apply, nested(1000)},
          {:erlang, :time_offset, [[]]},
          {:erlang, :monotonic_time, [[]]},
          {:os, :perf_counter, [[]]},
          {:os, :system_time, [[]]},
          {:application, :get_env, ["x", "k", :default]},
          {:application, :get_env, ["x", 1]},
          {:application, :get_key, ["x", 1]},
          {:application, :get_all_env, ["x"]}
        ] do
      assert failure(rex(node, m, f, args)) == failure(rex(node(), m, f, args)), "#{m}:#{f} #{inspect(args)}"
    end

    for timeout <- [:a, -1, 1.5, []] do
      assert {:badrpc, :badarg} = failure(rex(node, :application, :which_applications, [timeout]))
    end
  end

  test "erl_call gets an answer, as scripts ask for it", %{node: node} do
    if program = erl_call() do
      ask = fn text ->
        args = ["-name", to_string(node), "-c", to_string(:erlang.get_cookie()), "-a", text]
        System.cmd(program, args, stderr_to_stdout: true)
      end

      assert {name, 0} = ask.("erlang node")
      assert name =~ to_string(node)
      assert {"yes", 0} = ask.("gen_server call [net_kernel, {is_auth, x}]")
      assert {"true", 0} = ask.("erlang is_alive")
    end
  end

  test "calls by the rex of older releases have the result of a BEAM's rex", %{node: node} do
    for {m, f, args} <- [
          {:erlang, :is_alive, []},
          {:erlang, :whereis, [1]},
          {:no, :thing, [1]},
          {:erlang, :whereis, :x}
        ] do
      assert failure(rex(node, m, f, args)) == failure(rex(node(), m, f, args)), "#{m}:#{f}"
    end
  end

  test "functions that are not listed are undef, as on a BEAM without that module", %{node: node} do
    assert {:badrpc, {:EXIT, {:undef, [{KV.Bucket, :get, [1, 2], []}]}}} =
             :rpc.call(node, KV.Bucket, :get, [1, 2])

    assert {:badrpc, {:EXIT, {:undef, [{:init, :stop, [], []}]}}} = :rpc.call(node, :init, :stop, [])

    assert_raise ErlangError, ~r/undef/, fn ->
      try do
        :erpc.call(node, :no, :thing, [])
      rescue
        error in ErlangError -> raise ErlangError, original: elem(error.original, 1)
      end
    end
  end

  # Calls

  defp functions(node), do: :rpc.call(node, :kv_node, :functions, [])

  defp erpc(node, m, f, args) do
    :erpc.call(node, m, f, args, @timeout)
  end

  # As rpc:call/4 of OTP 22.
  defp rex(node, m, f, args),
    do: :gen_server.call({:rex, node}, {:call, m, f, args, Process.group_leader()}, @timeout)

  # The arguments of erlang:apply/3 that is called by itself so many times.
  defp nested(levels) do
    Enum.reduce(1..levels//1, [:erlang, :is_alive, []], fn _, args -> [:erlang, :apply, args] end)
  end

  # Elixir has some of the functions only in later versions.
  defp exists?(m, f, arity), do: Code.ensure_loaded?(m) and function_exported?(m, f, arity)

  defp failure({:badrpc, {:EXIT, {reason, [_ | _]}}}), do: {:badrpc, reason}
  defp failure(other), do: other

  defp erl_call do
    name = "erl_call"

    System.find_executable(name) ||
      List.first(Path.wildcard(:code.root_dir() ++ ~c"/lib/erl_interface-*/bin/#{name}"))
  end

  # Arguments that both nodes understand; nil: the function is not compared.
  defp arguments(m, f, _, node) when f in [:is_process_alive, :alive?] and m in [:erlang, Process],
    do: [process(node)]

  defp arguments(_, :alive?, 0, _), do: []

  defp arguments(m, f, 1, node) when m in [:erlang, Process] and f in [:process_info, :info],
    do: [process(node)]

  defp arguments(m, f, 2, node) when m in [:erlang, Process] and f in [:process_info, :info],
    do: [process(node), :memory]

  defp arguments(:erlang, :garbage_collect, 1, node), do: [process(node)]
  defp arguments(_, :node, 1, node), do: [process(node)]
  defp arguments(_, f, 1, _) when f in [:nodes, :list], do: [:connected]
  defp arguments(_, :whereis, 1, _), do: [:net_kernel]
  defp arguments(_, :ping, 1, node), do: [node]
  defp arguments(_, :memory, 1, _), do: [[:total, :ets]]
  defp arguments(_, :system_info, 1, _), do: [:version]
  defp arguments(_, :statistics, 1, _), do: [:wall_clock]
  defp arguments(_, :which_applications, 1, _), do: [1000]
  defp arguments(_, :started_applications, 1, _), do: [1000]
  defp arguments(_, f, 1, _) when f in [:which, :is_loaded], do: [:erlang]

  defp arguments(_, f, 1, _) when f in [:module_loaded, :ensure_loaded, :ensure_loaded?, :loaded?],
    do: [:erlang]

  defp arguments(_, f, 3, _) when f in [:function_exported, :function_exported?], do: [:gen_server, :call, 2]
  defp arguments(_, :get_all_env, 1, _), do: [:nothing]
  defp arguments(_, f, 2, _) when f in [:get_key, :spec], do: [:kv, :vsn]
  defp arguments(_, f, 2, _) when f in [:get_env, :fetch_env], do: [:nothing, :key]
  defp arguments(_, :get_env, 3, _), do: [:nothing, :key, 1]
  defp arguments(m, f, _, _) when m in [:gen_server, GenServer] and f in [:call, :cast], do: nil
  defp arguments(_, _, 1, _), do: [:second]
  defp arguments(_, _, 0, _), do: []

  defp process(node), do: :rpc.call(node, :erlang, :whereis, [:net_kernel])

  defp pid(:process_info, pid), do: [pid]
  defp pid(_, _), do: []

  # An item may be unknown to this release.
  defp local(function, args) do
    {:ok, apply(:erlang, function, args)}
  rescue
    ArgumentError -> :unknown
  end

  # Types

  defp kind(term) when is_tuple(term), do: {:tuple, tuple_size(term)}
  defp kind(term) when is_list(term), do: :list
  defp kind(term) when is_integer(term), do: :integer
  defp kind(term) when is_atom(term), do: :atom
  defp kind(term) when is_binary(term), do: :binary
  defp kind(term) when is_pid(term), do: :pid
  defp kind(_), do: :other

  # The value of an item of process_info is compared as a whole: the parts depend on the process.
  defp alike?([{item, value}], [{item, other}]), do: kind(value) == kind(other)
  # Elements of tuples and the first elements of lists are compared, too.
  defp alike?([first | _], [other | _]), do: alike?(first, other)
  defp alike?(list, other) when is_list(list) and is_list(other), do: true

  defp alike?(tuple, other) when is_tuple(tuple) and tuple_size(tuple) == tuple_size(other),
    do: Enum.zip(Tuple.to_list(tuple), Tuple.to_list(other)) |> Enum.all?(fn {a, b} -> alike?(a, b) end)

  defp alike?(term, other), do: kind(term) == kind(other)

  # The document

  defp markdown(functions, items) do
    IO.chardata_to_string([
      """
      # Functions of the C node

      Any node of the cluster may call these functions on the C node: by `:rpc.call/4`, `:erpc.call/4`, `erl_call -a`,
      and `:gen_server.call({:rex, node}, {:call, m, f, args, group_leader})` as OTP 22 sends it.

      ```elixir
      iex> :rpc.call(node, Process, :alive?, [pid])
      true
      iex> :rpc.call(node, :erlang, :memory, [:total])
      7340032
      ```

      Each answer has the type that a BEAM gives, so health checks and scripts work unchanged. `apply/2,3` act as the call
      that they name; closures do not run ([differences](differences.md#closures-do-not-run)). Any other function is
      `undef`, as on a BEAM without that module. The functions of `KV.Bucket` are among these: run them on a node that has
      kv's code, or send the request itself by `GenServer.call`. The list is the answer of `kv_node:functions/0`; `make
      functions` writes this page.

      """,
      for {module, rows} <-
            Enum.group_by(functions, &elem(&1, 0)) |> Enum.sort_by(fn {m, _} -> inspect(m) end) do
        [
          "## `#{inspect(module)}`\n\n| function | value |\n|---|---|\n",
          for({_, f, arity, value} <- Enum.sort(rows), do: "| `#{f}/#{arity}` | #{value} |\n"),
          "\n"
        ]
      end,
      "## Items\n\n",
      for({function, names} <- items, do: "- `#{function}`: #{names |> Enum.map_join(", ", &"`#{&1}`")}\n"),
      "\nAny other item is `badarg`. `system_info` also knows `{wordsize, internal}` and `{wordsize, external}`.\n"
    ])
  end
end
