"""Captured queries in the file."""

import sqlite3

from centroidb.wal import samples
from centroidb.wal.types import IndexId

from .files import memory_file

FIRST, SECOND = IndexId(1), IndexId(2)


def test_the_samples_of_an_index_are_replaced_as_a_whole() -> None:
    """What is written last is what is read, in its order; other indexes keep theirs."""
    connection = memory_file()
    samples.replace(connection, FIRST, [b"one", b"two"])
    samples.replace(connection, SECOND, [b"other"])
    samples.replace(connection, FIRST, [b"three"])
    assert samples.read(connection, FIRST) == [b"three"]
    samples.delete(connection, FIRST)
    assert samples.read(connection, FIRST) == []
    assert samples.read(connection, SECOND) == [b"other"]
    connection.close()


def test_samples_that_can_not_be_read_are_left_out() -> None:
    """Damage here costs the samples, and nothing else."""
    connection = sqlite3.connect(":memory:")  # it does not even have the table
    assert samples.read(connection, FIRST) == []
    connection.close()
