"""Long-running fuzzers."""
