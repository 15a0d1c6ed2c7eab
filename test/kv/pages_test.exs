defmodule KV.PagesTest do
  @moduledoc """
  The examples of the guides in `docs/`, section by section, as a reader would type them.
  """

  use KV.Case

  for page <- ~w(recipes from-agent from-ets from-cachex from-redis) do
    @external_resource KV.Page.path(page)

    describe "docs/#{page}.md" do
      for {title, blocks} <- KV.Page.sections(page) do
        @blocks blocks
        @tag :tmp_dir
        test "#{title}", %{tmp_dir: directory} do
          File.cd!(directory, fn -> assert KV.Page.run(@blocks) == :ok end)
        end
      end
    end
  end

  test "the runner finds a result that is not the one on the page" do
    assert KV.Page.run([{:iex, [{"1 + 1", "3"}]}]) == {:differs, "1 + 1", "3", 2}
    assert {:differs, _, _, _} = KV.Page.run([{:iex, [{"raise \"a\"", "** (RuntimeError) b"}]}])
    assert KV.Page.run([{:iex, [{"raise \"a\"", "** (RuntimeError) a"}]}]) == :ok
  end
end
