# No test is slow. A test that takes this long waits for something that never happens.
ExUnit.start(timeout: 30_000, capture_log: true)
