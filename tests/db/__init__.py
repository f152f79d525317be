"""The database as its users see it, on the public API."""
