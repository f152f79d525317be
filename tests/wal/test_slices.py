"""Slices of an unfinished build: they come back as they were put, or not at all."""

import sqlite3
from collections.abc import Iterator

import pytest

from centroidb.wal import schema, slices
from centroidb.wal.errors import CorruptError
from centroidb.wal.types import GenerationId

ONE, OTHER = GenerationId(1), GenerationId(2)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database in memory."""
    made = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(made)
    yield made
    made.close()


def test_a_slice_comes_back_as_it_was_put(connection: sqlite3.Connection) -> None:
    """By generation, step and number; putting it again replaces it."""
    slices.put(connection, ONE, "assign", 7, b"first")
    slices.put(connection, ONE, "assign", 7, b"second")
    slices.put(connection, OTHER, "assign", 7, b"other")

    assert slices.read(connection, ONE, "assign", 7) == b"second"
    assert slices.read(connection, ONE, "assign", 8) is None
    assert slices.read(connection, ONE, "round", 7) is None


def test_slices_are_listed_by_number(connection: sqlite3.Connection) -> None:
    """Only those of the generation and the step."""
    for number in (9, 1, 4):
        slices.put(connection, ONE, "assign", number, b"")
    slices.put(connection, ONE, "round", 2, b"")

    assert slices.numbers(connection, ONE, "assign") == [1, 4, 9]
    slices.delete(connection, ONE, "assign", before=4)
    assert slices.numbers(connection, ONE, "assign") == [4, 9]


@pytest.mark.parametrize(
    "damage", ["data = x'00'", "number = 8", "step = 'round'"], ids=["data", "number", "step"]
)
def test_a_damaged_slice_is_refused(connection: sqlite3.Connection, damage: str) -> None:
    """Its bytes and its place are both under the checksum."""
    slices.put(connection, ONE, "assign", 7, b"data")
    connection.execute(f"UPDATE slices SET {damage}")

    with pytest.raises(CorruptError, match="wrong checksum"):  # noqa: PT012 - wherever it is now
        for step in ("assign", "round"):
            for number in (7, 8):
                slices.read(connection, ONE, step, number)


def test_they_go_a_few_at_a_time(connection: sqlite3.Connection) -> None:
    """Those of one generation, until none is left."""
    for number in range(2 * slices.SLICES_A_DELETE + 1):
        slices.put(connection, ONE, "assign", number, b"")
    slices.put(connection, OTHER, "assign", 1, b"")

    assert [slices.delete_some(connection, ONE) for _ in range(3)] == [False, False, True]
    assert slices.numbers(connection, ONE, "assign") == []
    assert slices.numbers(connection, OTHER, "assign") == [1]
