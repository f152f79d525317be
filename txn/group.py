"""A group of commits, written in one SQLite transaction.

    BEGIN
      SAVEPOINT  commit 41   rows, deaths, live keys, counters, log record     RELEASE
      SAVEPOINT  commit 42   a key was changed since its snapshot              ROLLBACK TO
      SAVEPOINT  commit 42   (that LSN was not used up)                        RELEASE
    COMMIT                   one fsync for all

Nobody is answered before COMMIT, not even with an error: what an answer was
based on, a row of an earlier commit of the group, could still be rolled back.
A group that fails takes its LSNs and vids back with it, since its counters are
its own until it has returned.
"""

import json
import sqlite3
from dataclasses import dataclass

from ..wal import meta
from ..wal.errors import CentroiDBError, CommitOutcomeUnknown, CorruptError, InputError
from ..wal.types import Lsn
from .commit import CommitWriter, Progress
from .errors import ConflictError
from .writes import CommitRequest, Outcome

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
        progress, answers = before, []
        for request in requests:
            progress, answer = _write_one(connection, progress, request)
            answers.append(answer)
        meta.put(connection, "next_lsn", progress.heads.lsn + 1)
        meta.put(connection, "last_crc", progress.last_crc)
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


def _write_one(
    connection: sqlite3.Connection, progress: Progress, request: CommitRequest
) -> tuple[Progress, Answer]:
    """Write one commit in a savepoint; a refusal is its answer, and leaves no trace."""
    known = _known_outcome(connection, request.idempotency_key)
    if known is not None:
        return progress, known
    writer = CommitWriter(connection, progress, request)
    connection.execute("SAVEPOINT one")
    try:
        outcome = writer.write()
    except (ConflictError, InputError, CorruptError) as refusal:
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return progress, refusal
    connection.execute("RELEASE one")
    return writer.progress, outcome


def _known_outcome(connection: sqlite3.Connection, key: str | None) -> Outcome | None:
    if key is None:
        return None
    row = connection.execute(
        "SELECT lsn, outcome FROM commits WHERE idempotency_key = ?", (key,)
    ).fetchone()
    return Outcome(Lsn(row[0]), **json.loads(row[1]), repeated=True) if row else None
