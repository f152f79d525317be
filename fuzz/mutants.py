"""Mutants: the product with one rule of its protocol broken, by name.

Whoever looks for defects must find each of them, or nothing can be said of the product either.
Each is a context in which the victim lives; whoever judges it afterwards is sound.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from centroidb.engine.actors import committer
from centroidb.engine.actors.rebuild.catch_up import CatchUp, Position
from centroidb.engine.actors.rebuild.takeover import Takeover
from centroidb.engine.actors.state import State
from centroidb.txn import group
from centroidb.txn.commit import CommitWriter
from centroidb.txn.deaths import Visibility
from centroidb.txn.progress import Ended, Progress
from centroidb.wal import catalog, connection, meta, vectors
from centroidb.wal.rows import StoredRow
from centroidb.wal.types import Lsn

Mutant = Callable[[], AbstractContextManager[object]]


def synchronous_normal() -> AbstractContextManager[object]:
    """Commits are not synced."""
    return patch.dict(connection._SYNCHRONOUS, full="NORMAL")


def synchronous_off() -> AbstractContextManager[object]:
    """Nothing is synced."""
    return patch.dict(connection._SYNCHRONOUS, full="OFF")


@contextmanager
def answered_before_commit() -> Iterator[None]:
    """A group is answered, and COMMIT comes with the next one."""
    write_group, in_transaction = group.write_group, committer._in_transaction

    def ended(writer: sqlite3.Connection) -> None:
        if writer.in_transaction:
            writer.execute("COMMIT")

    def write_late(writer: sqlite3.Connection, *rest: Any) -> Any:
        ended(writer)
        return write_group(writer, *rest)

    def chore_late(writer: sqlite3.Connection, work: Any) -> Any:
        ended(writer)
        return in_transaction(writer, work)

    with (
        patch.object(group, "commit", lambda _: None),
        patch.object(committer, "write_group", write_late),
        patch.object(committer, "_in_transaction", chore_late),
    ):
        yield


def rows_before_counters() -> AbstractContextManager[object]:
    """Rows and log records are one transaction, the next LSN is another."""

    def put_late(writer: sqlite3.Connection, next_lsn: int, last_crc: int) -> None:
        writer.execute("COMMIT")
        writer.execute("BEGIN IMMEDIATE")
        meta.put_positions(writer, next_lsn, last_crc)

    return patch.object(group, "meta", SimpleNamespace(put_positions=put_late))


def folded_too_far() -> AbstractContextManager[object]:
    """A fold says that it has stored two rows more than it has."""
    update = catalog.update_generation

    def update_too_far(writer: sqlite3.Connection, generation: Any, **columns: Any) -> None:
        if "fold_vid" in columns:
            columns["fold_vid"] += 2
        update(writer, generation, **columns)

    return patch.object(catalog, "update_generation", update_too_far)


def swapped_in_two() -> AbstractContextManager[object]:
    """What was active is retired in one transaction, what will be is named in the next."""
    set_active = catalog.set_active

    def set_late(writer: sqlite3.Connection, index: Any, generation: Any, **rest: Any) -> None:
        writer.execute("UPDATE generations SET state = 'retired' WHERE state = 'active'")
        writer.execute("COMMIT")
        writer.execute("BEGIN IMMEDIATE")
        set_active(writer, index, generation, **rest)

    return patch.object(catalog, "set_active", set_late)


@contextmanager
def caught_up_too_far() -> Iterator[None]:
    """A catch-up says that it has applied what it has not; the proof would see it, and is off."""

    async def applied(catch_up: CatchUp) -> None:
        catch_up.position = Position(catch_up._state.heads, catch_up._table())

    async def proven(*_: object) -> None:
        pass

    with patch.object(CatchUp, "apply", applied), patch.object(Takeover, "_verify", proven):
        yield


@contextmanager
def truncated_too_far() -> Iterator[None]:
    """The log is cut without asking who reads it."""
    with (
        patch.object(catalog, "log_needed_after", lambda _: None),
        patch.object(State, "log_needed_after", lambda state: state.heads.lsn),
    ):
        yield


def deaths_published_late() -> AbstractContextManager[object]:
    """Deaths become known with the next commit, after their LSN."""
    publish = State.publish
    withheld: list[Ended] = []

    def publish_late(state: State, progress: Progress) -> None:
        ended = tuple(withheld)
        withheld[:] = progress.ended
        publish(state, replace(progress, ended=ended))

    return patch.object(State, "publish", publish_late)


def kept_not_compacted() -> AbstractContextManager[object]:
    """Rows are purged while a kept generation lists them."""
    return patch.object(State, "stored_generations", State.generations)


def purged_past_a_snapshot() -> AbstractContextManager[object]:
    """The horizon is the last commit, whoever holds an older one."""
    return patch.object(State, "horizon", lambda state: state.heads.lsn)


def later_rows_seen() -> AbstractContextManager[object]:
    """A snapshot sees rows that were born after it."""
    sees = Visibility.__call__

    def sees_all(visibility: Visibility, vids: Any) -> Any:
        later = Visibility(1 << 62, visibility.lsn, visibility._ends, visibility._excluded)  # type: ignore[arg-type]  # no vid is as high
        if len(vids) and visibility._ends is not None and vids.max() >= len(visibility._ends):
            return sees(visibility, vids)
        return sees(later, vids)

    return patch.object(Visibility, "__call__", sees_all)


def first_committer_ignored() -> AbstractContextManager[object]:
    """Nobody asks whether what a transaction wrote was changed after its snapshot."""
    refuse = CommitWriter._refuse_changed_keys

    def refuse_read(writer: CommitWriter, head: Any, keys: Any, did: str) -> None:
        if did == "read":
            refuse(writer, head, keys, did)

    return patch.object(CommitWriter, "_refuse_changed_keys", refuse_read)


def reads_ignored() -> AbstractContextManager[object]:
    """Nobody asks whether what a serializable transaction read was changed."""
    return patch.object(CommitWriter, "_refuse_changed_reads", lambda *_: None)


def refusals_take_numbers() -> AbstractContextManager[object]:
    """A commit that is refused takes its LSN with it."""
    write_one = group._write_one

    def write(writer: sqlite3.Connection, before: Progress, request: Any, *, first: bool) -> Any:
        progress, answer = write_one(writer, before, request, first=first)
        if isinstance(answer, Exception):
            heads = replace(progress.heads, lsn=Lsn(progress.heads.lsn + 1))
            progress = replace(progress, heads=heads)
        return progress, answer

    return patch.object(group, "_write_one", write)


@contextmanager
def checksums_ignored() -> Iterator[None]:
    """Rows and vectors are read without a look at their checksums."""
    with (
        patch.multiple(StoredRow, has_its_fields=lambda _: True, has_its_vector=lambda _: True),
        patch.object(vectors, "first_damaged", lambda *_: None),
    ):
        yield


def sound() -> AbstractContextManager[object]:
    """The product as it is."""
    return contextlib.nullcontext()
