defmodule KVTest do
  use KV.Case

  doctest KV

  @tag row: "KVTest"
  test "the truth" do
    assert 1 + 1 == 2
  end

  test "info/0 tells version, node, names and buckets" do
    create(KV.Registry, "counted in info")
    info = KV.info()

    assert info.version == to_string(Application.spec(:kv, :vsn))
    assert info.node.os_pid == KV.Node.os_pid()
    assert info.names >= 1
    assert info.buckets >= info.names
  end
end
