"""A connection whose statements fail when a test says so."""

import sqlite3
from typing import Any

from centroidb.wal import meta, schema


class FailingConnection(sqlite3.Connection):
    """Raises `error` for the next statement that begins with `fail_at`."""

    fail_at: str | None = None
    armed_by: str | None = None
    """If it is given, only once a statement that begins so was run, or tried."""
    code = sqlite3.SQLITE_IOERR_FSYNC
    after_it = False
    """Whether the statement is carried out first: a sync that failed when all was written."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement, or fail."""
        if self.armed_by is not None and sql.startswith(self.armed_by):
            self.armed_by = None
        armed = self.fail_at is not None and self.armed_by is None
        if not armed or not sql.startswith(self.fail_at or ""):
            return super().execute(sql, parameters)
        self.fail_at = None
        if self.after_it:
            super().execute(sql, parameters)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = self.code
        raise error


def failing_file() -> FailingConnection:
    """An empty database in memory, behind a connection that can fail."""
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=FailingConnection)
    schema.migrate(connection)
    meta.initialise(connection)
    return connection
