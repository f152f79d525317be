"""First committer wins, for what a transaction wrote and, serializable, for what it read."""

import sqlite3
from collections.abc import Iterator

import pytest

from centroidb.txn.errors import ConflictError
from centroidb.txn.head import Heads
from centroidb.txn.writes import CommitRequest, Outcome, PayloadWrite, ReadSet, Write
from centroidb.wal import rows
from centroidb.wal.errors import NotFoundError
from centroidb.wal.types import Key, TableId, Vid
from tests.wal.files import (
    DIM,
    committed,
    create_table,
    delete,
    errors_of,
    keys_in,
    memory_file,
    progress_of,
    put,
    rows_of,
    vectors,
)

T = TableId(1)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A database with a table of keys 1, 2, 3 and an empty second one."""
    made = memory_file()
    create_table(made)
    create_table(made, "b")
    put(made, T, 1, 2, 3)
    yield made
    assert errors_of(made) == []
    made.close()


def transaction(
    since: Heads, *puts: Key, deletes: tuple[Key, ...] = (), reads: ReadSet | None = None
) -> CommitRequest:
    """What a transaction asks for at its commit."""
    write = Write(T, rows_of(puts) if puts else None, deletes)
    return CommitRequest([write], since, {T: reads} if reads else {})


def answer(connection: sqlite3.Connection, request: CommitRequest) -> str:
    """The answer to a request: "committed", or what the conflict says."""
    (found,) = committed(connection, request).answers
    if isinstance(found, Outcome):
        return "committed"
    assert isinstance(found, ConflictError)
    return str(found)


LATER = {
    "nothing": lambda _: None,
    "the key replaced": lambda c: put(c, T, 1),
    "the key deleted": lambda c: delete(c, T, 1),
    "the key deleted and put again": lambda c: (delete(c, T, 1), put(c, T, 1)),
    "another key": lambda c: put(c, T, 2, 9),
    "another table": lambda c: put(c, TableId(2), 1),
    "a key deleted that was not there": lambda c: delete(c, T, 77),
}
CONFLICTING = {"the key replaced", "the key deleted", "the key deleted and put again"}


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("deletes", [False, True])
def test_the_first_committer_wins(
    connection: sqlite3.Connection, later: str, deletes: bool
) -> None:
    """A key that somebody else committed after the snapshot is a conflict, no other change is."""
    since = progress_of(connection).heads
    LATER[later](connection)  # type: ignore[no-untyped-call]
    request = transaction(since, deletes=(1,)) if deletes else transaction(since, 1)

    said = answer(connection, request)

    assert (said != "committed") == (later in CONFLICTING)
    if said != "committed":
        assert "table 't': key 1, which the transaction wrote, was committed by somebody" in said


def test_a_new_key_that_somebody_else_put_is_a_conflict(connection: sqlite3.Connection) -> None:
    """Two transactions that both put a new key: the second is refused, and may try again."""
    since = progress_of(connection).heads
    assert answer(connection, transaction(since, 50)) == "committed"
    assert "key 50" in answer(connection, transaction(since, 49, 50))
    assert keys_in(connection, T) == [1, 2, 3, 50]

    again = progress_of(connection).heads
    assert answer(connection, transaction(again, 49, 50)) == "committed"


def test_a_key_that_came_and_went_is_a_conflict(connection: sqlite3.Connection) -> None:
    """A key put and deleted by somebody else in between was committed all the same."""
    since = progress_of(connection).heads
    put(connection, T, 50)
    delete(connection, T, 50)

    assert "key 50" in answer(connection, transaction(since, 50))


def test_conflicts_within_one_group(connection: sqlite3.Connection) -> None:
    """Of two transactions of one group that write the same key the first one wins."""
    since = progress_of(connection).heads
    result = committed(connection, transaction(since, 1), transaction(since, 1))

    assert [type(each) for each in result.answers] == [Outcome, ConflictError]


def test_reads_do_not_conflict_under_snapshot_isolation(connection: sqlite3.Connection) -> None:
    """Without a read set a key that was read and changed by others is no conflict."""
    since = progress_of(connection).heads
    put(connection, T, 1)

    assert answer(connection, transaction(since, 2)) == "committed"


READ_LATER = {
    "nothing": (lambda _: None, False, False),
    "the key read": (lambda c: put(c, T, 1), True, True),
    "the key read, deleted": (lambda c: delete(c, T, 1), True, True),
    "the absent key put": (lambda c: put(c, T, 99), True, True),
    "another key": (lambda c: put(c, T, 3), False, True),
    "a new key": (lambda c: put(c, T, 50), False, True),
    "another table": (lambda c: put(c, TableId(2), 1), False, False),
    "nothing deleted": (lambda c: delete(c, T, 77), False, False),
}


@pytest.mark.parametrize("later", READ_LATER)
@pytest.mark.parametrize("whole", [False, True])
def test_serializable_reads_conflict(
    connection: sqlite3.Connection, later: str, whole: bool
) -> None:
    """Keys read, absent ones too, conflict with their change; a table read whole with any."""
    since = progress_of(connection).heads
    change, of_keys, of_table = READ_LATER[later]
    change(connection)  # type: ignore[no-untyped-call]
    reads = ReadSet(whole=True) if whole else ReadSet(frozenset({1, 99}))

    said = answer(connection, transaction(since, 2, reads=reads))

    assert (said != "committed") == (of_table if whole else of_keys)
    if said != "committed":
        words = "read whole, was changed at LSN" if whole else "which the transaction read"
        assert words in said


def test_a_payload_write_takes_the_vectors_there_are(connection: sqlite3.Connection) -> None:
    """New payloads get the live vectors, in the order of the keys, not of the vids."""
    put(connection, T, 2, seed=5)
    write = PayloadWrite(T, [3, 1, 2], ['"c"', None, '"b"'])
    committed(connection, CommitRequest([write]))

    found = rows.versions_at(connection, T, [1, 2, 3], Vid(99), progress_of(connection).heads.lsn)
    head = progress_of(connection).heads.tables[T]
    stored = rows.fetch(connection, head, list(found.values()))
    by_key = {row.key: (row.payload, row.vector) for row in stored.values()}
    assert by_key == {
        1: (None, vectors(3)[0].tobytes()),
        2: ('"b"', vectors(1, 5)[0].tobytes()),
        3: ('"c"', vectors(3)[2].tobytes()),
    }
    assert len(by_key[1][1] or b"") == 4 * DIM


def test_a_payload_write_to_a_missing_key_is_refused(connection: sqlite3.Connection) -> None:
    """One key without a row refuses all of the call, and names the key."""
    write = PayloadWrite(T, [1, 44], ["{}", "{}"])
    (found,) = committed(connection, CommitRequest([write])).answers

    assert isinstance(found, NotFoundError)
    assert str(found) == "table 't': no row with key 44"
