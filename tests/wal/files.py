"""Files for tests of the file layer, and copies of them as a crash would leave them."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from centroidb.txn.group import GroupResult, write_group
from centroidb.txn.head import Heads
from centroidb.txn.progress import Progress
from centroidb.txn.writes import CommitRequest, Ddl, Write
from centroidb.wal import catalog, meta, schema
from centroidb.wal.check import Report, check_file
from centroidb.wal.file import DatabaseFile, open_file
from centroidb.wal.rows import Rows
from centroidb.wal.types import Key, KeyType, Lsn, TableId

DIM = 4
PARTS = ("", "-wal", "-journal", "-shm")


def opened(path: str | os.PathLike[str]) -> DatabaseFile:
    """The file at `path`, made if it is missing, open for writing."""
    return open_file(
        os.fspath(path), create_missing=True, durability="full", recover=lambda _: None
    )


@contextmanager
def open_checked(path: str | os.PathLike[str]) -> Iterator[DatabaseFile]:
    """An open file that `check_file` finds whole at the end, closed as one file."""
    file = opened(path)
    try:
        yield file
        assert errors_of(file.writer) == []
    except BaseException:
        file.abandon()
        raise
    assert file.close()


def errors_of(connection: sqlite3.Connection) -> list[str]:
    """What `check_file` finds wrong."""
    report = Report()
    connection.execute("BEGIN")
    check_file(connection, report)
    connection.execute("ROLLBACK")
    return report.errors


def memory_file() -> sqlite3.Connection:
    """A connection to an empty database of this format, in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    meta.initialise(connection)
    return connection


def progress_of(connection: sqlite3.Connection) -> Progress:
    """Where the next commit starts."""
    lsn = Lsn(meta.get_int(connection, "next_lsn") - 1)
    heads = Heads.of(lsn, catalog.read_tables(connection))
    return Progress(heads, meta.get_int(connection, "last_crc"))


def committed(connection: sqlite3.Connection, *requests: CommitRequest) -> GroupResult:
    """Write `requests` as one group on top of what is committed."""
    return write_group(connection, progress_of(connection), list(requests))


def create_table(
    connection: sqlite3.Connection, name: str = "t", key_type: KeyType = "int"
) -> TableId:
    """Commit a new table of `DIM` dimensions."""

    def change(connection: sqlite3.Connection, lsn: Lsn) -> TableId:
        table = catalog.insert_table(connection, name, DIM, "l2", key_type, lsn)
        schema.create_storage(connection, table, key_type)
        return table

    committed(connection, CommitRequest([Ddl("create_table", None, change)]))
    return next(row.id for row in catalog.read_tables(connection) if row.name == name)


def vectors(n: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """`n` random vectors, float32 (n, DIM)."""
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


def rows_of(keys: Sequence[Key], seed: int = 0, payload: str | None = None) -> Rows:
    """Rows with these keys and random vectors."""
    return Rows.of(keys, [payload] * len(keys), vectors(len(keys), seed))


def put(connection: sqlite3.Connection, table: TableId, *keys: Key, seed: int = 0) -> GroupResult:
    """Commit rows with these keys."""
    return committed(connection, CommitRequest([Write(table, rows_of(keys, seed))]))


def delete(connection: sqlite3.Connection, table: TableId, *keys: Key) -> GroupResult:
    """Commit the end of these keys."""
    return committed(connection, CommitRequest([Write(table, deletes=keys)]))


def keys_in(connection: sqlite3.Connection, table: TableId) -> list[Key]:
    """The live keys, sorted."""
    found = connection.execute(f"SELECT key FROM live_{table:d} ORDER BY key")
    return [key for (key,) in found]


def crash_copy(path: str | os.PathLike[str], target: Path) -> Path:
    """A copy of a live database as a crash at this moment would leave it.

    Another process copies: a descriptor that this one closed would drop SQLite's locks.
    """
    for part in PARTS[:3]:
        if Path(f"{os.fspath(path)}{part}").exists():
            subprocess.run(["cp", f"{os.fspath(path)}{part}", f"{target}{part}"], check=True)
    return target


def contents(path: Path) -> dict[str, bytes]:
    """The bytes of a database nobody has open, and of what lies beside it, but for `-shm`."""
    found = sorted(path.parent.glob(f"{path.name}*"))
    return {each.name: each.read_bytes() for each in found if not each.name.endswith("-shm")}


def names(folder: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(each.name for each in folder.iterdir())


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
