"""Vectors of many rows, read as blocks and proven."""

import sqlite3

import numpy as np
import pytest

from centroidb.txn.writes import CommitRequest, Write
from centroidb.wal.errors import CorruptError
from centroidb.wal.types import Vid
from centroidb.wal.vectors import read_block, read_vectors
from tests.wal.files import DIM, committed, create_table, memory_file, put, rows_of


def test_a_version_that_is_missing_is_damage(connection: sqlite3.Connection) -> None:
    """CorruptError names it."""
    table = create_table(connection)
    put(connection, table, 1)
    with pytest.raises(CorruptError, match=r"row versions \[7\] are missing"):
        read_vectors(connection, table, np.array([1, 7]), DIM)


def test_nothing_is_read_as_nothing(connection: sqlite3.Connection) -> None:
    """Of an empty table, or of no versions, blocks have the right shapes."""
    table = create_table(connection)
    assert read_block(connection, table, Vid(0), Vid(9), DIM).vectors.shape == (0, DIM)
    assert read_vectors(connection, table, np.empty(0, np.int64), DIM).vectors.shape == (0, DIM)


def test_a_vector_of_another_length_is_damage(connection: sqlite3.Connection) -> None:
    """A stored vector that is cut short raises CorruptError instead of shifting the others."""
    table = create_table(connection)
    put(connection, table, 1, 2)
    connection.execute("SAVEPOINT before")
    connection.execute("UPDATE rows_1 SET vector = x'00000000' WHERE vid = 1")

    with pytest.raises(CorruptError, match="20 bytes of vectors of 4"):
        read_block(connection, table, Vid(0), Vid(3), DIM)
    connection.execute("ROLLBACK TO before")
    connection.execute("RELEASE before")


def test_keys_of_rows_without_payloads_come_with_their_vectors() -> None:
    """None stands for those of rows with payloads, and for those that are damaged."""
    connection = memory_file()
    table = create_table(connection, key_type="str")
    put(connection, table, "plain", "damaged")
    committed(connection, CommitRequest([Write(table, rows_of(["described"], payload="{}"))]))
    connection.execute(f"UPDATE rows_{table:d} SET key = 'damagee' WHERE key = 'damaged'")

    found = read_vectors(connection, table, np.arange(1, 4), DIM, keys_of="str")

    assert found.keys == ["plain", None, None]
    assert len(found.vectors) == 3
    assert read_vectors(connection, table, np.arange(1, 4), DIM).keys == []
    connection.close()
