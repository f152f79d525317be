"""A group of commits, written in one SQLite transaction.

    BEGIN
                 commits 41 to 48   puts of one table, written as one
      SAVEPOINT  commit 49          a key was changed since its snapshot      ROLLBACK TO
      SAVEPOINT  commit 49          (that LSN was not used up)                RELEASE
    COMMIT                          one fsync for all

What comes first needs no savepoint, for which SQLite would copy every page it changes: to take it
back is to begin the transaction anew.

Nobody is answered before COMMIT, not even with an error: what an answer was
based on, a row of an earlier commit of the group, could still be rolled back.
A group that fails takes its LSNs and vids back with it, since its counters are
its own until it has returned.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..wal import meta
from ..wal.errors import CentroiDBError, CommitOutcomeUnknown, CorruptError, InputError
from ..wal.types import Key, Lsn
from .commit import CommitWriter
from .errors import ConflictError
from .progress import Progress
from .puts import write_puts
from .writes import CommitRequest, Outcome

T = TypeVar("T")

UNDO = ("ROLLBACK TO one", "RELEASE one")

ROWS_A_BATCH = 1_024
"""Rows of commits that are written together."""

Answer = Outcome | CentroiDBError


@dataclass(frozen=True)
class GroupResult:
    """What to publish, and the answer to each request, in their order."""

    progress: Progress
    answers: list[Answer]


def write_group(
    connection: sqlite3.Connection, before: Progress, requests: list[CommitRequest]
) -> GroupResult:
    """Write `requests` on top of `before` and commit.

    Raises CommitOutcomeUnknown when COMMIT failed at the disk. Any other error
    means that nothing was written and `before` still holds.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        progress = before
        answers: list[Answer] = []
        for batch in _batches(requests):
            progress, some = _write_batch(connection, before, progress, batch)
            answers += some
        if progress is not before:
            meta.put_positions(connection, progress.heads.lsn + 1, progress.last_crc)
    except BaseException:
        roll_back(connection)
        raise
    commit(connection)
    return GroupResult(progress, answers)


def roll_back(connection: sqlite3.Connection) -> None:
    """End the transaction, unless the error at hand has ended it already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def commit(connection: sqlite3.Connection) -> None:
    """COMMIT; a disk error there is CommitOutcomeUnknown.

    NB: after a failed fsync no connection sees the rows, yet a crash brings them
    back, and a later commit loses them for good. So there must be no later one.
    """
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        roll_back(connection)
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
            raise CommitOutcomeUnknown(
                f"COMMIT failed ({error}): what it wrote may be there after reopening"
            ) from error
        raise


def _batches(requests: Sequence[CommitRequest]) -> Iterator[list[CommitRequest]]:
    """The requests in their order, those together that can be written together."""
    batch: list[CommitRequest] = []
    keys: set[Key] = set()
    for request in requests:
        if batch and not _joins(request, batch[-1], keys):
            yield batch
            batch, keys = [], set()
        batch.append(request)
        keys.update(request.put.rows.keys if request.put else ())
    if batch:
        yield batch


def _joins(request: CommitRequest, last: CommitRequest, keys: set[Key]) -> bool:
    """Whether it can be written with the one before it, in whose batch are these keys."""
    one, other = request.put, last.put
    if one is None or other is None or one.table != other.table:
        return False
    return len(keys) + len(one.rows) <= ROWS_A_BATCH and keys.isdisjoint(one.rows.keys)


def _write_batch(
    connection: sqlite3.Connection,
    before: Progress,
    progress: Progress,
    batch: list[CommitRequest],
) -> tuple[Progress, Sequence[Answer]]:
    """Write what can be written together; where one of it is refused, one by one."""
    puts = [request.put for request in batch if request.put is not None]
    if len(puts) == len(batch):
        together = partial(write_puts, connection, progress, puts)
        written = _attempted(connection, together, first=progress is before)
        if not isinstance(written, CentroiDBError):
            return written
    answers: list[Answer] = []
    for request in batch:
        progress, answer = _write_one(connection, progress, request, first=progress is before)
        answers.append(answer)
    return progress, answers


def _write_one(
    connection: sqlite3.Connection, progress: Progress, request: CommitRequest, *, first: bool
) -> tuple[Progress, Answer]:
    """Write one commit; a refusal is its answer, and leaves no trace."""
    known = _known_outcome(connection, request.idempotency_key)
    if known is not None:
        return progress, known
    writer = CommitWriter(connection, progress, request)
    answer = _attempted(connection, writer.write, first=first)
    return progress if isinstance(answer, CentroiDBError) else writer.progress, answer


def _attempted(
    connection: sqlite3.Connection, write: Callable[[], T], *, first: bool
) -> T | CentroiDBError:
    """What `write` returns, or a refusal, which leaves no trace. first: nothing is written yet."""
    if not first:
        connection.execute("SAVEPOINT one")
    try:
        written = write()
    except (ConflictError, InputError, CorruptError) as refusal:
        for statement in ("ROLLBACK", "BEGIN IMMEDIATE") if first else UNDO:
            connection.execute(statement)
        return refusal
    if not first:
        connection.execute("RELEASE one")
    return written


def _known_outcome(connection: sqlite3.Connection, key: str | None) -> Outcome | None:
    if key is None:
        return None
    row = connection.execute(
        "SELECT lsn, outcome FROM commits WHERE idempotency_key = ?", (key,)
    ).fetchone()
    return Outcome(Lsn(row[0]), **json.loads(row[1]), repeated=True) if row else None
