"""Commit groups: one transaction, puts together, savepoints, and a way back for the counters."""

import sqlite3
from collections.abc import Iterator

import pytest

from centroidb.txn.errors import ConflictError
from centroidb.txn.group import write_group
from centroidb.txn.progress import Progress
from centroidb.txn.writes import CommitRequest, Ddl, Outcome, Write
from centroidb.wal import log
from centroidb.wal.errors import (
    CommitOutcomeUnknown,
    DuplicateKeyError,
    InputError,
    NotFoundError,
)
from centroidb.wal.types import Key, Lsn, TableId
from tests.txn.failing import FailingConnection, failing_file
from tests.wal.files import (
    committed,
    create_table,
    delete,
    errors_of,
    keys_in,
    progress_of,
    put,
    rows_of,
)

T = TableId(1)


@pytest.fixture
def connection() -> Iterator[FailingConnection]:
    """A database with an empty table, checked at the end."""
    made = failing_file()
    create_table(made)
    yield made
    assert errors_of(made) == []
    made.close()


def upsert(*keys: Key, key: str | None = None) -> CommitRequest:
    """A request to put rows."""
    return CommitRequest([Write(T, rows_of(keys))], idempotency_key=key)


def insert(*keys: Key) -> CommitRequest:
    """A request to put rows that must not be there."""
    return CommitRequest([Write(T, rows_of(keys), if_present="refuse")])


def outcomes(connection: sqlite3.Connection, *requests: CommitRequest) -> list[object]:
    """The answers to a group: the LSN of each commit, the type of each refusal."""
    answers = committed(connection, *requests).answers
    return [each.lsn if isinstance(each, Outcome) else type(each) for each in answers]


def everything(connection: sqlite3.Connection) -> dict[str, list[object]]:
    """All rows of all tables."""
    names = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not name.startswith("_")
    ]
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def test_a_group_gives_each_commit_its_lsn(connection: FailingConnection) -> None:
    """Commits of one group get consecutive LSNs and vids in their order."""
    result = committed(connection, upsert(1, 2), upsert(3), upsert(1))

    assert [born.first_vid for born in result.progress.born] == [1, 3, 4]
    assert [born.lsn for born in result.progress.born] == [2, 3, 4]
    assert [(ended.lsn, ended.vids.tolist()) for ended in result.progress.ended] == [(4, [1])]
    assert result.progress.heads.lsn == 4


def test_an_outcome_counts_what_happened(connection: FailingConnection) -> None:
    """Inserted, updated and deleted rows are told apart; keys that were not there are not."""
    put(connection, T, 1, 2, 3)
    request = CommitRequest([Write(T, rows_of([3, 4, 5]), deletes=[1, 9])])

    (answer,) = committed(connection, request).answers

    assert isinstance(answer, Outcome)
    assert (answer.inserted, answer.updated, answer.deleted) == (2, 1, 1)


def test_a_refused_commit_leaves_no_trace(connection: FailingConnection) -> None:
    """A refusal in the middle of a group uses no LSN and no vid, and writes nothing."""
    put(connection, T, 1)
    before = everything(connection)
    assert outcomes(connection, insert(2, 1)) == [DuplicateKeyError]
    assert everything(connection) == before

    assert outcomes(connection, upsert(2), insert(5, 2), upsert(3)) == [3, DuplicateKeyError, 4]

    assert keys_in(connection, T) == [1, 2, 3]
    vids = connection.execute("SELECT vid, lsn FROM rows_1").fetchall()
    assert vids == [(1, 2), (2, 3), (3, 4)]


def test_puts_that_are_written_together_are_told_apart(connection: FailingConnection) -> None:
    """Each has its LSN, its counts and its log record, though one statement wrote all rows."""
    put(connection, T, 1, 3)
    log_before = len(list(log.read(connection, Lsn(0), Lsn(99))))

    result = committed(connection, upsert(1, 2), insert(4), upsert(3))

    done = [answer for answer in result.answers if isinstance(answer, Outcome)]
    assert [(each.lsn, each.inserted, each.updated) for each in done] == [
        (3, 1, 1),
        (4, 1, 0),
        (5, 0, 1),
    ]
    records = [record for record, _ in log.read(connection, Lsn(0), Lsn(99))][log_before:]
    assert [(each.lsn, each.seq, each.first_vid, each.count) for each in records] == [
        (3, 0, 3, 2),
        (4, 0, 5, 1),
        (5, 0, 6, 1),
    ]
    assert [each.ended.tolist() for each in records] == [[1], [], [2]]
    ends = connection.execute("SELECT vid, end_lsn FROM dead_1 ORDER BY vid").fetchall()
    assert ends == [(1, 3), (2, 5)]
    assert log.verify(connection) == []


def test_a_refusal_among_puts_leaves_the_others(connection: FailingConnection) -> None:
    """Where one of them is refused, they are written one by one, and only that one is not."""
    put(connection, T, 2)

    assert outcomes(connection, upsert(1), insert(2), insert(3)) == [3, DuplicateKeyError, 4]
    assert keys_in(connection, T) == [1, 2, 3]


def test_puts_are_written_together(connection: FailingConnection) -> None:
    """As many statements for sixty commits as for one."""
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    committed(connection, upsert(1))
    one = len(seen)
    committed(connection, *(upsert(key) for key in range(2, 62)))

    assert len(seen) == 2 * one


def test_a_refusal_sees_the_commits_before_it(connection: FailingConnection) -> None:
    """An insert of a key that an earlier commit of the same group wrote is refused."""
    assert outcomes(connection, insert(1), insert(1)) == [2, DuplicateKeyError]


def test_a_refusal_names_table_and_key(connection: FailingConnection) -> None:
    """A duplicate names the table, the key and what to do instead."""
    put(connection, T, 7)
    (answer,) = committed(connection, insert(6, 7)).answers

    assert str(answer) == "table 't': key 7 is there already (insert); use upsert to replace it"


def test_a_later_operation_takes_the_earlier_back(connection: FailingConnection) -> None:
    """A commit whose second table refuses leaves the first one unwritten too."""
    second = create_table(connection, "b")
    put(connection, second, 1)
    before = everything(connection)
    both = [Write(T, rows_of([1])), Write(second, rows_of([1]), if_present="refuse")]

    assert outcomes(connection, CommitRequest(both)) == [DuplicateKeyError]
    assert everything(connection) == before


def test_ddl_that_is_refused_leaves_no_trace(connection: FailingConnection) -> None:
    """A catalog change that raises InputError after a change is taken back."""

    def change(connection: sqlite3.Connection, lsn: Lsn) -> None:
        connection.execute("CREATE TABLE half (a)")
        raise InputError("no")

    before = everything(connection)
    refused = CommitRequest([Ddl("create_table", None, change)])

    assert outcomes(connection, refused, upsert(1)) == [InputError, 2]
    assert set(everything(connection)) == set(before)


def test_a_write_to_a_dropped_table_is_refused(connection: FailingConnection) -> None:
    """A plain write to a table that is gone is NotFoundError, a transaction's ConflictError."""
    before = progress_of(connection).heads

    def drop(connection: sqlite3.Connection, lsn: Lsn) -> None:
        connection.execute("UPDATE tables SET dropped_lsn = ?", (lsn,))

    dropping = CommitRequest([Ddl("drop_table", T, drop)])
    in_transaction = CommitRequest([Write(T, rows_of([1]))], since=before)

    answers = outcomes(connection, dropping, upsert(1), in_transaction)
    assert answers == [2, NotFoundError, ConflictError]


@pytest.mark.parametrize("after_it", [False, True])
@pytest.mark.parametrize(
    "code",
    [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_TRUNCATE],
)
def test_a_commit_that_fails_at_the_disk(
    connection: FailingConnection, code: int, after_it: bool
) -> None:
    """A disk error at COMMIT is CommitOutcomeUnknown, and the transaction is over."""
    before = progress_of(connection)
    connection.fail_at, connection.code, connection.after_it = "COMMIT", code, after_it

    with pytest.raises(CommitOutcomeUnknown, match=r"may be there after reopening"):
        write_group(connection, before, [upsert(1)])

    assert not connection.in_transaction
    assert keys_in(connection, T) == ([1] if after_it else [])


@pytest.mark.parametrize("at", ["SAVEPOINT", "INSERT INTO rows_1", "INSERT INTO wal", "INSERT OR"])
def test_a_group_that_fails_takes_everything_back(connection: FailingConnection, at: str) -> None:
    """An error of SQLite's before COMMIT writes nothing, and the same LSNs and vids come again."""
    put(connection, T, 1)
    before, stored = progress_of(connection), everything(connection)
    connection.fail_at, connection.code = at, sqlite3.SQLITE_FULL

    with pytest.raises(sqlite3.OperationalError):
        write_group(connection, before, [upsert(2), upsert(2)])

    assert not connection.in_transaction
    assert everything(connection) == stored
    result = write_group(connection, before, [upsert(2), upsert(2)])
    assert result.progress.heads.lsn == 4
    assert [born.first_vid for born in result.progress.born] == [2, 3]


def test_a_commit_for_which_there_is_no_room(connection: FailingConnection) -> None:
    """A full disk at COMMIT is not an unknown outcome: nothing was written."""
    before = progress_of(connection)
    connection.fail_at, connection.code = "COMMIT", sqlite3.SQLITE_FULL

    with pytest.raises(sqlite3.OperationalError):
        write_group(connection, before, [upsert(1)])

    assert keys_in(connection, T) == []
    assert outcomes(connection, upsert(1)) == [2]


def test_progress_is_a_way_back(connection: FailingConnection) -> None:
    """What a group was built on is not changed by it."""
    before = progress_of(connection)
    copy = Progress(before.heads, before.last_crc)
    write_group(connection, before, [upsert(1), upsert(2)])

    assert before == copy
    assert before.heads.tables[T].next_vid == 1


def test_an_idempotency_key_answers_again(connection: FailingConnection) -> None:
    """A request whose key is known is not written again: it gets the first one's answer."""
    (first,) = committed(connection, upsert(1, 2, key="a")).answers
    put(connection, T, 5)
    stored = everything(connection)

    (again,) = committed(connection, upsert(8, 9, key="a")).answers

    assert isinstance(first, Outcome)
    assert isinstance(again, Outcome)
    assert (again.lsn, again.inserted, again.repeated) == (first.lsn, 2, True)
    assert not first.repeated
    assert everything(connection) == stored


def test_an_idempotency_key_holds_within_its_group(connection: FailingConnection) -> None:
    """Two requests with one key in one group are written once."""
    assert outcomes(connection, upsert(1, key="a"), upsert(2, key="a")) == [2, 2]
    assert keys_in(connection, T) == [1]


def test_a_refused_request_keeps_no_key(connection: FailingConnection) -> None:
    """The key of a refused commit is free: the request may be mended and made again."""
    put(connection, T, 1)
    refused = CommitRequest([Write(T, rows_of([1]), if_present="refuse")], idempotency_key="a")

    assert outcomes(connection, refused, upsert(1, key="a")) == [DuplicateKeyError, 3]


def test_the_key_of_a_failed_group_is_free(connection: FailingConnection) -> None:
    """A group that failed remembers no key."""
    before = progress_of(connection)
    connection.fail_at = "COMMIT"
    with pytest.raises(CommitOutcomeUnknown):
        write_group(connection, before, [upsert(1, key="a")])

    (answer,) = committed(connection, upsert(1, key="a")).answers
    assert isinstance(answer, Outcome)
    assert not answer.repeated


def test_a_commit_that_changes_nothing_is_a_commit(connection: FailingConnection) -> None:
    """Deleting what is not there uses an LSN and a record, but is no change of the table."""
    put(connection, T, 1)
    result = delete(connection, T, 9)

    assert result.progress.heads.lsn == 3
    assert result.progress.heads.tables[T].changed_lsn == 2
    assert log.verify(connection) == []
