# Nothing here is slow: a test that takes this long waits for something that does not come.
ExUnit.start(timeout: 30_000, capture_log: true)
