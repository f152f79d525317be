"""Snapshots that outlive `max_snapshot_age`: told so, and never answered from a purged past."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from centroidb import Database, Limits, Snapshot, SnapshotTooOldError, open_db
from tests.errors.harness import LIMITS, filled_db, vectors

AGE_S = 100.0
OLD = Limits(**{**vars(LIMITS), "snapshot_age_s": AGE_S})


@pytest.fixture
async def db(tmp_path: Path, mock_clock: MockClock) -> AsyncIterator[Database]:
    """A filled database whose snapshots live for a hundred seconds."""
    async with filled_db(tmp_path / "a.db", limits=OLD) as made:
        yield made


async def until_too_old(snapshot: Snapshot, clock: MockClock) -> None:
    """Let a minute pass, again and again, until the snapshot is let go."""
    with suppress(SnapshotTooOldError):
        while True:
            clock.jump(61)
            await wait_all_tasks_blocked()
            await snapshot.get("ints", 1)


async def test_an_old_snapshot_is_told(db: Database, mock_clock: MockClock) -> None:
    """Past its age every call of a snapshot raises SnapshotTooOldError, with its LSN."""
    async with db.snapshot() as snapshot:
        mock_clock.jump(AGE_S - 1)
        await db.vacuum()
        assert await snapshot.count("ints") == 60
        mock_clock.jump(2)
        await db.vacuum()
        words = f"the snapshot at LSN {snapshot.lsn} outlived max_snapshot_age: open a new one"
        with pytest.raises(SnapshotTooOldError, match=words):
            await snapshot.count("ints")
        with pytest.raises(SnapshotTooOldError, match=words):
            await snapshot.get("ints", 1)
        with pytest.raises(SnapshotTooOldError, match=words):
            await snapshot.search("ints", [1, 2, 3])
        with pytest.raises(SnapshotTooOldError, match=words):
            _ = [row async for row in snapshot.iterate("ints")]
    async with db.snapshot() as snapshot:
        assert await snapshot.count("ints") == 60


async def test_an_old_transaction_is_told(db: Database, mock_clock: MockClock) -> None:
    """Past its age a transaction can not commit, and has written nothing."""
    async with db.transaction() as tx:
        await tx.upsert("ints", 100, [1, 2, 3])
        mock_clock.jump(AGE_S + 1)
        await db.vacuum()
        with pytest.raises(SnapshotTooOldError):
            await tx.commit()
        tx.rollback()

    assert await (await db.table("ints")).get(100) is None


async def test_an_old_snapshot_holds_nothing_back(db: Database, mock_clock: MockClock) -> None:
    """While it is fresh ended rows stay; when it is too old they are purged."""
    table = await db.table("ints")
    async with db.snapshot() as snapshot:
        await table.delete(range(30))
        await db.vacuum()
        assert (await table.statistics()).ended == 30
        assert await snapshot.get("ints", 5) is not None

        mock_clock.jump(AGE_S + 1)
        await db.vacuum()
        assert (await table.statistics()).ended == 0
        with pytest.raises(SnapshotTooOldError):
            await snapshot.get("ints", 5)
    assert (await db.statistics()).snapshots == 0


async def test_the_sweeper_lets_go_by_itself(db: Database, mock_clock: MockClock) -> None:
    """Nobody needs to ask: the Sweeper's own round finds the snapshots that are too old."""
    async with db.snapshot() as snapshot:
        await until_too_old(snapshot, mock_clock)


async def test_an_iteration_ends_with_its_snapshot(tmp_path: Path, mock_clock: MockClock) -> None:
    """An iteration that goes on past the age raises; it never leaves out rows in silence."""
    n = 9_000
    async with filled_db(tmp_path / "a.db", limits=Limits(snapshot_age_s=AGE_S)) as db:
        table = await db.table("ints")
        await table.upsert(np.arange(n), vectors(n))
        seen = []

        async def read_on() -> None:
            async with db.snapshot() as snapshot:
                async for row in snapshot.iterate("ints"):
                    seen.append(row.id)
                    if len(seen) == 10:
                        await table.delete(np.arange(n))
                        mock_clock.jump(AGE_S + 1)
                        await db.vacuum()

        with pytest.raises(SnapshotTooOldError):
            await read_on()
    assert 10 <= len(seen) < n


async def test_an_old_foreign_snapshot_is_told(tmp_path: Path, mock_clock: MockClock) -> None:
    """A snapshot of a read-only open is let go past its age, so that the owner's WAL can shrink."""
    path = tmp_path / "a.db"
    async with filled_db(path) as db, open_db(path, read_only=True, limits=OLD) as reader:
        async with reader.snapshot() as snapshot:
            assert await snapshot.count("ints") == 60
            await (await db.table("ints")).upsert(100, [1, 2, 3])
            await db.vacuum()
            assert (await db.statistics()).sqlite_wal_bytes > 0

            await until_too_old(snapshot, mock_clock)
            await db.vacuum()
            assert (await db.statistics()).sqlite_wal_bytes == 0
        assert await (await reader.table("ints")).count() == 61
