"""Golden scripts of interleaved transactions, one file an anomaly."""
