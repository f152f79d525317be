"""A COMMIT that fails at the disk: nobody knows, everybody is told so, and a key finds out."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio

from centroidb import CommitOutcomeUnknown, Database, DiskFullError, StorageError, open_db
from tests.errors.harness import LIMITS, filled_db, vectors
from tests.txn.failing import FailingConnection
from tests.wal.files import crash_copy


@pytest.fixture(autouse=True)
def failing_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection that is opened can be made to fail."""
    failing = partial(sqlite3.connect, factory=FailingConnection)
    monkeypatch.setattr(sqlite3, "connect", failing)


ROWS = "INSERT INTO rows_1"
"""What a commit of rows runs, and no chore does."""


def writer_of(db: Database) -> FailingConnection:
    """The write connection, below all layers."""
    writer = db._source.supervisor().state.file.writer
    assert isinstance(writer, FailingConnection)
    return writer


@asynccontextmanager
async def failing_db(path: Path, *, after_it: bool = False) -> AsyncIterator[Database]:
    """A filled database whose next COMMIT of rows fails, before or after SQLite carried it out."""
    async with filled_db(path):
        pass
    async with open_db(path, limits=LIMITS) as db:
        writer = writer_of(db)
        writer.fail_at, writer.armed_by, writer.after_it = "COMMIT", ROWS, after_it
        yield db


async def test_the_writer_is_told(tmp_path: Path) -> None:
    """The waiting writer gets CommitOutcomeUnknown; later writes are refused, reads go on."""
    async with failing_db(tmp_path / "a.db") as db:
        table = await db.table("ints")
        with pytest.raises(CommitOutcomeUnknown, match="may be there after reopening"):
            await table.upsert(100, [1, 2, 3])

        with pytest.raises(CommitOutcomeUnknown):
            await table.upsert(101, [1, 2, 3])
        with pytest.raises(CommitOutcomeUnknown):
            await db.create_table("new", dim=3)
        with pytest.raises(CommitOutcomeUnknown):
            await (await db.index("ix")).rebuild()
        with pytest.raises(CommitOutcomeUnknown):
            await db.vacuum()
        assert await table.count() == 60
        assert await table.get(100) is None
        assert len(await table.search([1, 2, 3], k=5)) == 5
        async with db.snapshot() as snapshot:
            assert await snapshot.count("texts") == 3


@pytest.mark.parametrize("after_it", [False, True])
async def test_reopening_decides(tmp_path: Path, after_it: bool) -> None:
    """After reopening the commit is there whole or not at all, and the database writes again."""
    async with failing_db(tmp_path / "a.db", after_it=after_it) as db:
        with pytest.raises(CommitOutcomeUnknown):
            await (await db.table("ints")).upsert(range(100, 110), vectors(10))

    async with open_db(tmp_path / "a.db") as db:
        table = await db.table("ints")
        assert await table.count() == (70 if after_it else 60)
        await table.upsert(200, [1, 2, 3])
        assert (await db.check()).errors == ()


@pytest.mark.parametrize("after_it", [False, True])
async def test_an_idempotency_key_finds_out(tmp_path: Path, after_it: bool) -> None:
    """The same call with the same key, after reopening, leaves its rows there exactly once."""
    rows = range(100, 110)
    async with failing_db(tmp_path / "a.db", after_it=after_it) as db:
        with pytest.raises(CommitOutcomeUnknown):
            await (await db.table("ints")).insert(rows, vectors(10), idempotency_key="order 7")

    async with open_db(tmp_path / "a.db") as db:
        table = await db.table("ints")
        for _ in range(2):
            result = await table.insert(rows, vectors(10), idempotency_key="order 7")
            assert (result.inserted, result.updated) == (10, 0)
            assert await table.count() == 70
        assert (await db.check()).errors == ()


async def test_all_that_waited_are_told_each_for_himself(tmp_path: Path) -> None:
    """Every writer of the failed group gets an error of its own, with what it had written."""
    async with filled_db(tmp_path / "a.db"):
        pass
    async with open_db(tmp_path / "a.db", limits=LIMITS) as db:
        table = await db.table("ints")
        errors: list[CommitOutcomeUnknown] = []

        async def write(first: int) -> None:
            try:
                await table.upsert(range(first, first + 10), vectors(10))
                await table.upsert(range(first, first + 100), vectors(100))
            except CommitOutcomeUnknown as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for first in range(1_000, 6_000, 1_000):
                nursery.start_soon(write, first)
            while await table.count() < 80:
                await trio.lowlevel.checkpoint()
            writer = writer_of(db)
            writer.fail_at, writer.armed_by = "COMMIT", ROWS

    assert len(errors) == 5
    assert len(set(map(id, errors))) == 5
    assert all(error.written is not None for error in errors)


async def test_a_failed_transaction_is_told(tmp_path: Path) -> None:
    """A transaction at its commit gets the same error, and leaves the database readable."""
    async with failing_db(tmp_path / "a.db") as db:
        with pytest.raises(CommitOutcomeUnknown):
            async with db.transaction() as tx:
                await tx.upsert("ints", 100, [1, 2, 3])
        assert await (await db.table("ints")).get(100) is None


async def test_a_failed_chore_stops_the_writes(tmp_path: Path) -> None:
    """A disk error in the database's own work, a rebuild's, stops the writes as a commit's does."""
    async with failing_db(tmp_path / "a.db") as db:
        writer_of(db).armed_by = "INSERT INTO generations"
        with pytest.raises(StorageError):
            await (await db.index("ix")).rebuild(nlist=8)
        with pytest.raises(StorageError):
            await (await db.table("ints")).upsert(100, [1, 2, 3])
        assert await (await db.table("ints")).count() == 60

    async with open_db(tmp_path / "a.db") as db:
        assert len(await (await db.index("ix")).partitions()) in (4, 8)
        assert (await db.check()).errors == ()


@pytest.mark.parametrize("at", [ROWS, "INSERT INTO wal", "INSERT OR", "INSERT INTO commits"])
async def test_a_disk_error_before_the_commit(tmp_path: Path, at: str) -> None:
    """A disk error in the middle of a group is StorageError and stops the writes; nothing is in."""
    async with failing_db(tmp_path / "a.db") as db:
        table = await db.table("ints")
        writer = writer_of(db)
        writer.fail_at, writer.code = at, sqlite3.SQLITE_IOERR_WRITE
        writer.armed_by = None if at == ROWS else ROWS
        with pytest.raises(StorageError, match="disk reported an error"):
            await table.upsert(100, [1, 2, 3], idempotency_key="a")
        with pytest.raises(StorageError):
            await table.upsert(101, [1, 2, 3])
        assert await table.count() == 60

    async with open_db(tmp_path / "a.db") as db:
        assert await (await db.table("ints")).count() == 60
        assert (await db.check()).errors == ()


async def test_no_room_at_the_commit(tmp_path: Path) -> None:
    """A full disk at COMMIT is no unknown outcome: nothing is in, and the next write works."""
    async with failing_db(tmp_path / "a.db") as db:
        table = await db.table("ints")
        writer_of(db).code = sqlite3.SQLITE_FULL
        with pytest.raises(DiskFullError):
            await table.upsert(100, [1, 2, 3])

        await table.upsert(100, [1, 2, 3])
        assert (await db.check()).errors == ()


async def test_a_failed_checkpoint_stops_the_writes(tmp_path: Path) -> None:
    """A disk error in a checkpoint loses nothing and stops the writes until the next open."""
    async with failing_db(tmp_path / "a.db") as db:
        table = await db.table("ints")
        writer = writer_of(db)
        writer.fail_at, writer.armed_by = "PRAGMA wal_checkpoint", None
        await table.upsert(100, [1, 2, 3])
        with pytest.raises(StorageError, match="checkpoint: the disk reported an error"):
            await db.vacuum()
        with pytest.raises(StorageError, match="checkpoint: the disk reported an error"):
            await table.upsert(101, [1, 2, 3])
        assert await table.count() == 61

    async with open_db(tmp_path / "a.db") as db:
        assert await (await db.table("ints")).get(100) is not None
        assert (await db.check()).errors == ()


async def test_a_crash_after_the_failure(tmp_path: Path) -> None:
    """The file as a crash leaves it after the failure opens, with all that was acknowledged."""
    async with failing_db(tmp_path / "a.db", after_it=True) as db:
        with pytest.raises(CommitOutcomeUnknown):
            await (await db.table("ints")).upsert(100, np.ones(3))
        crash_copy(db.path, tmp_path / "b.db")

    async with open_db(tmp_path / "b.db") as db:
        assert await (await db.table("ints")).count() in (60, 61)
        assert (await db.check()).errors == ()
