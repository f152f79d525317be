"""Damaged files: what the disk may do to a file, and what the product makes of it."""
