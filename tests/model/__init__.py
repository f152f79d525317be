"""The whole database against a dict and brute force, under random interleavings."""
