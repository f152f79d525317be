"""The engine: indexes, the actors that keep them, and what people touch."""
