"""SQLite: bare, what durable writes cost at least; and with sqlite-vec, which scans all rows."""

import sqlite3
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centroidb import Limits
from centroidb.engine.db.writing import ROW_OVERHEAD_BYTES
from tests.bench.peers.peer import Keys, Peer, Vectors
from tests.bench.recall import K

FILE = "sqlite.db"


class Sqlite(Peer):
    """One connection with Python's and SQLite's defaults, but a WAL that is synced."""

    def __init__(self, connection: Any, dim: int) -> None:
        self._connection = connection
        self._rows_a_transaction = Limits().chunk_bytes // (4 * dim + ROW_OVERHEAD_BYTES)
        """In a bulk load: as many as CentroiDB puts into a commit."""
        self._turn = Lock()
        """One thread at a time is between BEGIN and COMMIT."""
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL").fetchall()

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """By executemany, some rows a transaction."""
        for start in range(0, len(keys), self._rows_a_transaction):
            some = slice(start, start + self._rows_a_transaction)
            blobs = (vector.tobytes() for vector in vectors[some])
            self._put(zip(keys[some].tolist(), blobs, strict=True))

    def _put(self, rows: Any) -> None:
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")

    def insert(self, key: int, vector: NDArray[np.float32]) -> None:
        """As one transaction."""
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("INSERT INTO rows VALUES (?, ?)", (key, vector.tobytes()))
            self._connection.execute("COMMIT")

    def search(self, query: NDArray[np.float32], effort: int) -> list[int]:
        """By sqlite-vec, all rows."""
        statement = f"SELECT key FROM rows WHERE vector MATCH ? AND k = {K} ORDER BY distance"
        with self._turn:
            return [key for (key,) in self._connection.execute(statement, (query.tobytes(),))]

    def close(self) -> None:
        """Checkpoints too."""
        self._connection.close()


def bare(folder: Path, dim: int) -> Sqlite:
    """Vectors as BLOBs; it can not search."""
    connection = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS rows (key INTEGER PRIMARY KEY, vector BLOB NOT NULL)"
    )
    return Sqlite(connection, dim)


def vec(folder: Path, dim: int) -> Sqlite:
    """With sqlite-vec, loaded by apsw: not every Python's sqlite3 may load extensions."""
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(folder / FILE))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS rows"
        f" USING vec0(key INTEGER PRIMARY KEY, vector FLOAT[{dim}])"
    )
    return Sqlite(connection, dim)
