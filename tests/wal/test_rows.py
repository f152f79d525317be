"""Row versions and the statements that write, find, end and purge them."""

import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.txn.writes import CommitRequest, Write
from centroidb.wal import catalog, rows
from centroidb.wal.errors import CorruptError
from centroidb.wal.rows import KEYS_A_STATEMENT, ROWS_A_STATEMENT, Rows, Versions
from centroidb.wal.types import Key, Lsn, TableId, Vid
from centroidb.wal.vectors import read_block, read_vectors
from tests.wal.files import (
    DIM,
    committed,
    create_table,
    delete,
    errors_of,
    keys_in,
    memory_file,
    put,
    rows_of,
    vectors,
)

ODD_KEYS: list[Key] = [
    "",
    " ",
    "\0",
    "a\0b",
    "a\0c",
    "a",
    "'",
    '"',
    "'; DROP TABLE rows_1; --",
    "%_\\",
    "é",
    "e\u0301",
    "\u202eright to left",
    "\U0001f680",
    "\n",
    "NULL",
    "1",
    "01",
    "1.0",
    "x" * 1_024,
]


def test_odd_text_keys_are_told_apart(connection: sqlite3.Connection) -> None:
    """Keys with NUL, quotes, SQL, spaces, combining signs are each found, and only themselves."""
    table = create_table(connection, key_type="str")
    put(connection, table, *ODD_KEYS)

    live = rows.live_versions(connection, table, ODD_KEYS)
    assert {key: vid for vid, _, key in live} == {k: n for n, k in enumerate(ODD_KEYS, 1)}
    for key in ODD_KEYS:
        assert [each for _, _, each in rows.live_versions(connection, table, [key])] == [key]


def test_odd_text_keys_can_be_replaced_and_deleted(connection: sqlite3.Connection) -> None:
    """Writing odd keys again replaces each, and deleting half of them leaves the other half."""
    table = create_table(connection, key_type="str")
    put(connection, table, *ODD_KEYS)
    put(connection, table, *ODD_KEYS)
    assert len(keys_in(connection, table)) == len(ODD_KEYS)

    delete(connection, table, *ODD_KEYS[::2])

    assert set(keys_in(connection, table)) == set(ODD_KEYS[1::2])


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True, max_size=12))
def test_any_text_keys_are_kept(keys: list[str]) -> None:
    """Whatever text is a key, the table holds exactly the keys that were put."""
    made = memory_file()
    table = create_table(made, key_type="str")
    if keys:
        put(made, table, *keys)

    assert sorted(map(str, keys_in(made, table))) == sorted(keys)
    assert errors_of(made) == []
    made.close()


@pytest.mark.parametrize("key", [-(2**63), -1, 0, 2**63 - 1])
def test_all_64_bit_keys_are_kept(connection: sqlite3.Connection, key: int) -> None:
    """The smallest and the largest 64-bit integers are keys like any other."""
    table = create_table(connection)
    put(connection, table, key)

    assert keys_in(connection, table) == [key]


@pytest.mark.parametrize("payload", [None, "{}", '"\\u0000"', '"é\U0001f680"', "x" * 100_000])
def test_a_row_is_read_as_it_was_written(
    connection: sqlite3.Connection, payload: str | None
) -> None:
    """Key, payload and the bytes of the vector come back exactly."""
    table = create_table(connection, key_type="str")
    special = np.array([[-0.0, 1e-45, 3.4e38, 1 / 3]], np.float32)
    committed(connection, CommitRequest([Write(table, Rows.of(["k"], [payload], special))]))

    (head,) = catalog.read_tables(connection)
    (stored,) = rows.fetch(connection, head, [1]).values()
    assert (stored.key, stored.payload, stored.vector) == ("k", payload, special.tobytes())


@pytest.mark.parametrize("n", [1, ROWS_A_STATEMENT, ROWS_A_STATEMENT + 1, 2 * KEYS_A_STATEMENT + 1])
def test_statements_of_many_rows_lose_none(connection: sqlite3.Connection, n: int) -> None:
    """Around the number of rows a statement takes, inserts, ends and reads are complete."""
    table = create_table(connection)
    put(connection, table, *range(n))
    put(connection, table, *range(n), seed=1)

    dead, ends = rows.read_deaths(connection, table)
    assert sorted(dead.tolist()) == list(range(1, n + 1))
    assert set(ends.tolist()) == {3}
    block = read_block(connection, table, Vid(n + 1), Vid(2 * n + 1), DIM)
    assert np.array_equal(block.vectors, vectors(n, 1))
    assert np.array_equal(block.crcs, rows_of(range(n), 1).crcs)
    some = np.arange(1, 2 * n + 1, 2)
    both = np.concatenate([vectors(n), vectors(n, 1)])
    read = read_vectors(connection, table, some, DIM)
    assert np.array_equal(read.vectors, both[some - 1])
    assert np.array_equal(rows.crcs_of(connection, table, some).crcs, read.crcs)


def test_a_snapshot_finds_the_versions_it_sees(connection: sqlite3.Connection) -> None:
    """`versions_at` gives each key's version at every LSN: put, replaced, deleted, put again."""
    table = create_table(connection)
    history: list[tuple[int, int, dict[Key, int]]] = [(1, 1, {})]
    put(connection, table, 1, 2)
    history.append((2, 3, {1: 1, 2: 2}))
    put(connection, table, 1)
    history.append((3, 4, {1: 3, 2: 2}))
    delete(connection, table, 1, 2)
    history.append((4, 4, {}))
    put(connection, table, 2)
    history.append((5, 5, {2: 4}))

    for lsn, high, expected in history:
        found = rows.versions_at(connection, table, [1, 2, 3], Vid(high), Lsn(lsn))
        assert found == expected, lsn


@pytest.mark.parametrize(
    ("change", "conflict"),
    [("put", True), ("replace", True), ("delete", True), ("other", False), ("none", False)],
)
def test_changes_after_a_snapshot_are_found(
    connection: sqlite3.Connection, change: str, conflict: bool
) -> None:
    """A key written, replaced or deleted after the snapshot is named; others are not."""
    table = create_table(connection)
    put(connection, table, 1, 2)
    key: Key = 9 if change == "put" else 1
    if change in ("put", "replace"):
        put(connection, table, key)
    elif change == "delete":
        delete(connection, table, key)
    elif change == "other":
        put(connection, table, 2)

    found = rows.changed_after(connection, table, [key], Vid(3), Lsn(2))

    assert found == (key if conflict else None)


def test_a_key_put_and_deleted_after_a_snapshot_is_a_change(
    connection: sqlite3.Connection,
) -> None:
    """A key that came and went after the snapshot was committed after it all the same."""
    table = create_table(connection)
    put(connection, table, 1)
    put(connection, table, 2)
    delete(connection, table, 2)

    assert rows.changed_after(connection, table, [2], Vid(2), Lsn(2)) == 2


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE rows_1 SET key = 8 WHERE vid = 2",
        "UPDATE rows_1 SET payload = '{}' WHERE vid = 2",
        "UPDATE rows_1 SET vector = zeroblob(16) WHERE vid = 2",
        "UPDATE rows_1 SET vector = x'' WHERE vid = 2",
        "UPDATE rows_1 SET crc = crc + 1 WHERE vid = 2",
    ],
)
def test_a_row_that_is_not_as_it_was_written(script: str) -> None:
    """Fetching a damaged row raises CorruptError, names table and key; others can be fetched."""
    made = memory_file()
    table = create_table(made)
    put(made, table, 1, 7, 9)
    made.execute(script)
    (head,) = catalog.read_tables(made)

    with pytest.raises(CorruptError, match=r"table 't': the row with key [78] does not match"):
        rows.fetch(made, head, [1, 2, 3])
    assert [row.key for row in rows.fetch(made, head, [1, 3]).values()] == [1, 9]
    made.close()


def test_a_missing_version_is_damage(connection: sqlite3.Connection) -> None:
    """Asking for a version that is not stored raises CorruptError and names it."""
    table = create_table(connection)
    put(connection, table, 1)
    (head,) = catalog.read_tables(connection)
    with pytest.raises(CorruptError, match="table 't': row version 7 is missing"):
        rows.fetch(connection, head, [1, 7])


def test_nothing_is_read_as_nothing(connection: sqlite3.Connection) -> None:
    """Reads of an empty table, or of no keys, give empty results of the right shapes."""
    table = create_table(connection)

    assert rows.live_versions(connection, table, []) == []
    assert rows.versions_at(connection, table, [], Vid(1), Lsn(1)) == {}
    assert len(rows.read_versions(connection, table, Vid(0), Vid(9)).vids) == 0
    assert len(Rows.of([], [], np.empty((0, DIM), np.float32))) == 0
    assert Versions.of([]).crcs.dtype == np.uint32


def test_purging_removes_ended_versions_only(connection: sqlite3.Connection) -> None:
    """A purge takes the named versions and their deaths; live rows and other deaths stay."""
    table = create_table(connection)
    put(connection, table, 1, 2, 3)
    put(connection, table, 1, 2)

    rows.purge(connection, table, np.array([1]))

    assert rows.read_versions(connection, table, Vid(0), Vid(9)).vids.tolist() == [2, 3, 4, 5]
    assert rows.read_deaths(connection, table)[0].tolist() == [2]
    assert keys_in(connection, table) == [1, 2, 3]


DAMAGE = {
    "a row lost": ("DELETE FROM rows_1 WHERE vid = 2", "versions [2] are missing"),
    "a live key lost": ("DELETE FROM live_1 WHERE key = 3", "versions [3] are nobody's"),
    "a death lost": ("DELETE FROM dead_1 WHERE vid = 1", "versions [1] are nobody's"),
    "live and dead": (
        "INSERT INTO dead_1 VALUES (3, 3, 2)",
        "versions [3] are live and ended",
    ),
    "a key of another row": ("UPDATE live_1 SET vid = 2 WHERE key = 3", "share a row version"),
    "two keys swapped": (
        "UPDATE live_1 SET vid = 5 - vid WHERE key IN (2, 3)",
        "2 keys point to another's row",
    ),
    "a payload changed": ("UPDATE rows_1 SET payload = '{}' WHERE vid = 2", "version 2 does not"),
    "a vector changed": (
        "UPDATE rows_1 SET vector = zeroblob(16) WHERE vid = 2",
        "version 2 does not match its checksum",
    ),
    "a vector cut": ("UPDATE rows_1 SET vector = x'' WHERE vid = 2", "version 2 does not match"),
    "a row renamed": ("UPDATE rows_1 SET key = 77 WHERE vid = 2", "version 2 does not match"),
    "a count changed": ("UPDATE tables SET live = 9", "3 live rows, counted 9"),
    "a sum changed": ("UPDATE tables SET sum = zeroblob(16)", "the sum over its live rows"),
    "a vid to be used again": ("UPDATE tables SET next_vid = 3", "is beyond 3"),
    "a death in the future": ("UPDATE dead_1 SET end_lsn = 99", "ends in the future"),
    "a birth out of order": ("UPDATE rows_1 SET lsn = 9 WHERE vid = 2", "older than the one"),
}


@pytest.mark.parametrize(("script", "words"), DAMAGE.values(), ids=DAMAGE.keys())
def test_checking_finds_damage(script: str, words: str) -> None:
    """Each way in which rows, keys, deaths and counters can disagree is found, in words."""
    made = memory_file()
    table = create_table(made)
    put(made, table, 1, 2, 3)
    put(made, table, 1)
    assert errors_of(made) == []

    made.executescript(script)

    assert any(words in error for error in errors_of(made)), errors_of(made)
    made.close()


def test_key_types_are_kept_apart() -> None:
    """A table of text keys does not take an integer for the text that looks like it."""
    made = memory_file()
    table = create_table(made, key_type="str")
    put(made, table, "1")

    assert rows.live_versions(made, TableId(table), ["1"])
    assert [type(key) for key in keys_in(made, table)] == [str]
    made.close()


READS: dict[str, Callable[[Any], object]] = {
    "versions": lambda connection: rows.all_versions(connection, TableId(1), Vid(99)),
    "deaths": lambda connection: rows.read_deaths(connection, TableId(1)),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_versions_out_of_order_end(read: Callable[[Any], object]) -> None:
    """A damaged tree that gives the same versions again and again is CorruptError, not endless."""

    class Damaged:
        """Answers whatever is asked with the same versions."""

        def execute(self, _: str, __: object) -> "Damaged":
            return self

        def fetchall(self) -> list[tuple[int, int]]:
            return [(5, 1)]

        def fetchone(self) -> tuple[str, str]:
            return "5", "1"

    with pytest.raises(CorruptError, match="out of order"):
        read(Damaged())
