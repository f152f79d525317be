"""The database between processes: one writes, others read."""
