"""Other systems, each with the few methods that the benches call, and how each is made."""
