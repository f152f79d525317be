"""Captured queries: some of the vectors that an index was really searched for.

Derived data: what is damaged is left out, and nothing but the judgement of an index
depends on them.
"""

import logging
import sqlite3
import time
from collections.abc import Sequence

from .types import IndexId

log = logging.getLogger(__name__)


def replace(connection: sqlite3.Connection, index: IndexId, vectors: Sequence[bytes]) -> None:
    """The captured queries of an index are these from now on, each float32, little-endian."""
    delete(connection, index)
    append(connection, index, vectors)


def append(connection: sqlite3.Connection, index: IndexId, vectors: Sequence[bytes]) -> None:
    """Add some of them: where they are more than one chore may write."""
    now_ns = time.time_ns()
    connection.executemany(
        "INSERT INTO query_samples (index_id, time_ns, vector) VALUES (?,?,?)",
        [(index, now_ns, vector) for vector in vectors],
    )


def read(connection: sqlite3.Connection, index: IndexId) -> list[bytes]:
    """The captured queries of an index; none, with a warning, where they are damaged."""
    try:
        rows = connection.execute(
            "SELECT vector FROM query_samples WHERE index_id = ? ORDER BY id", (index,)
        )
        return [vector for (vector,) in rows if isinstance(vector, bytes)]
    except sqlite3.DatabaseError as error:
        log.warning("captured queries of index %s are left out: %s", index, error)
        return []


def delete(connection: sqlite3.Connection, index: IndexId) -> None:
    """Forget them."""
    connection.execute("DELETE FROM query_samples WHERE index_id = ?", (index,))
