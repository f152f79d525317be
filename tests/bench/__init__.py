"""The bench: real load, measured. `make bench` runs it."""
