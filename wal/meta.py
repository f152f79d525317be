"""The `meta` table: a handful of named values about the whole file."""

import json
import os
import socket
import sqlite3
import time
from dataclasses import asdict, dataclass

from .errors import CorruptError

Value = int | str | bytes | None


def get(connection: sqlite3.Connection, key: str) -> Value:
    """The value of `key`, None when it was never set."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def get_int(connection: sqlite3.Connection, key: str) -> int:
    """The value of `key`, which must be there."""
    value = get(connection, key)
    if not isinstance(value, int) or value < 0:
        raise CorruptError(f"meta: {key} should be a number from 0, found {value!r}")
    return value


def put(connection: sqlite3.Connection, key: str, value: Value) -> None:
    """Set `key`."""
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))


def put_positions(connection: sqlite3.Connection, next_lsn: int, last_crc: int) -> None:
    """Set where the log ends."""
    connection.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES ('next_lsn', ?), ('last_crc', ?)",
        (next_lsn, last_crc),
    )


def initialise(connection: sqlite3.Connection) -> None:
    """The values of an empty file."""
    for key in ("next_lsn", "anchor_lsn", "anchor_crc", "last_crc", "clean"):
        put(connection, key, 1 if key in ("next_lsn", "clean") else 0)
    put(connection, "created_ns", time.time_ns())


@dataclass(frozen=True)
class Owner:
    """Who has the file open for writing, as another process may read it."""

    pid: int
    host: str
    since: str

    @classmethod
    def this_process(cls) -> "Owner":
        """This process, from now on."""
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return cls(os.getpid(), socket.gethostname(), now)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def put_owner(connection: sqlite3.Connection, owner: Owner | None) -> None:
    """Name the owner, or nobody."""
    put(connection, "owner", json.dumps(asdict(owner)) if owner else None)


def get_owner(connection: sqlite3.Connection) -> Owner | None:
    """The owner last named: still the owner if the lock is held, else one that died."""
    value = get(connection, "owner")
    if not isinstance(value, str):
        return None
    try:
        return Owner(**json.loads(value))
    except (ValueError, TypeError, RecursionError):
        return None
