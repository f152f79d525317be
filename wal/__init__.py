"""The file: connections, schema, rows, the log, stored pieces of indexes, and the owner lock."""
