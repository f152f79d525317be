"""SQLite connections: how each is opened, and what it may do.

    writer    one; the only one that writes and checkpoints
    readers   a pool; `query_only`, a read transaction only for one call
    foreign   a read-only open from another process: one read transaction a call

A cursor is never given a name where an error may be raised: the error's traceback would hold
it, and SQLite keeps the file of a closed connection open as long as one of its cursors lives.

SQLite before 3.51.3 can lose commits when two connections write or checkpoint
at the same instant; one writer that is also the one checkpointer is out of its
reach.
"""

import contextlib
import sqlite3
import sys
from pathlib import Path
from typing import Literal

from .errors import CentroiDBError, LockedError, translated

Durability = Literal["full", "relaxed", "none"]
Access = Literal["rw", "ro", "immutable"]

_SYNCHRONOUS = {"full": "FULL", "relaxed": "NORMAL", "none": "OFF"}
_BUSY_TIMEOUT_S = 5.0
_CACHED_STATEMENTS = 256
_ROW_BYTES_MAX = 1 << 28
_WAL_BYTES_KEPT = 4 << 20
"""To so many a WAL is cut that grew beside a foreign reader, once it begins anew."""

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _ROW_BYTES_MAX,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 1,  # VACUUM INTO attaches the copy it writes
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
}


def connect(path: str, access: Access) -> sqlite3.Connection:
    """Open the file at `path`, which must exist, and bar what a hostile schema could do."""
    query = "immutable=1" if access == "immutable" else f"mode={access}"
    with translated(f"opening {path}"):
        connection = sqlite3.connect(
            f"{Path(path).as_uri()}?{query}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_TIMEOUT_S,
            cached_statements=_CACHED_STATEMENTS,
        )
        try:
            _harden(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _harden(connection: sqlite3.Connection) -> None:
    for name, value in (("trusted_schema", 0), ("cell_size_check", 1), ("mmap_size", 0)):
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    if sys.version_info >= (3, 12):
        for option in (sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW):
            connection.setconfig(option, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def make_writer(connection: sqlite3.Connection, durability: Durability) -> None:
    """Switch the file to WAL and this connection to the durability asked for."""
    with translated("switching the file to WAL mode"):
        _enter_wal_mode(connection)
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}").fetchall()
        connection.execute("PRAGMA secure_delete = OFF").fetchall()
        connection.execute("PRAGMA temp_store = MEMORY")  # a savepoint's pages: a group at most
        if sys.platform == "darwin":  # fsync does not reach the platter there
            connection.execute("PRAGMA fullfsync = 1")
            connection.execute("PRAGMA checkpoint_fullfsync = 1")


def _enter_wal_mode(connection: sqlite3.Connection) -> None:
    """It takes the file alone: who reads the closed file must let go first."""
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        raise LockedError(
            f"another process reads the closed file (a snapshot with read_only=True, a backup, "
            f"or another program) and did not let go for {_BUSY_TIMEOUT_S:g} s: open it again then"
        ) from error


def open_reader(path: str, access: Access = "rw") -> sqlite3.Connection:
    """A connection that can not write; `rw` lets it share the WAL's index with the writer."""
    connection = connect(path, access)
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    return connection


def close_untouched(connection: sqlite3.Connection, path: str) -> None:
    """Close without the checkpoint that SQLite makes when the last connection goes.

    One that can not write is opened first and closed last.
    """
    with contextlib.ExitStack() as last:
        with contextlib.suppress(CentroiDBError), translated(f"closing {path}"):
            witness = last.enter_context(contextlib.closing(connect(path, "ro")))
            witness.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        connection.close()
