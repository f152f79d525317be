"""The tasks that own the engine's state, and their supervisor."""
