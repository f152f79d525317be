"""Snapshots that are let go while they are read: an error, never a part of the rows."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from centroidb import Database, Limits, Snapshot, SnapshotTooOldError
from centroidb.engine.actors.view import View
from centroidb.engine.storage import loading
from centroidb.txn.writes import CommitRequest
from tests.support.databases import checked_db

from .points import filled, points

N = 2_000
AGE_S = 100.0
BLOCK_BYTES = 1_200
"""A hundred rows of three dimensions: reading all takes several reads."""


async def _iterate(snapshot: Snapshot) -> None:
    async for _ in snapshot.iterate("t"):
        pass


async def _search(snapshot: Snapshot) -> None:
    await snapshot.search("t", points(1)[0], N, exact=True)


async def _get(snapshot: Snapshot) -> None:
    await snapshot.get("t", list(range(N)))


@pytest.mark.parametrize(
    ("read_all", "number"),
    [(_iterate, 1), (_iterate, 2), (_search, 1), (_search, 2), (_get, 1)],
)
async def test_what_was_purged_meanwhile_is_not_left_out(
    read_all: Callable[[Snapshot], Any],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    mock_clock: MockClock,
) -> None:
    """A call whose snapshot expires while one of its reads waits, and is purged, raises."""
    monkeypatch.setattr(loading, "BLOCK_BYTES", BLOCK_BYTES)
    async with checked_db(limits=Limits(snapshot_age_s=AGE_S)) as db:
        await filled(db, "t", N)
        async with db.snapshot() as snapshot:
            _expire_before_a_read(monkeypatch, db, snapshot.view, mock_clock, number)
            with pytest.raises(SnapshotTooOldError, match="outlived"):
                await read_all(snapshot)


async def test_an_indexed_search_of_an_expired_snapshot_raises(mock_clock: MockClock) -> None:
    """A search that waits for a reader while its snapshot expires and is purged raises."""
    async with checked_db(limits=Limits(snapshot_age_s=AGE_S, readers=1)) as db:
        table = await filled(db, "t", 100)
        await table.create_index("i", nlist=2)
        gate = threading.Event()
        async with db.snapshot() as snapshot, trio.open_nursery() as nursery:
            await table.delete(range(50))
            pool = db._source.supervisor().state.pool
            nursery.start_soon(pool.read, lambda _: gate.wait())
            await wait_all_tasks_blocked()

            async def search() -> None:
                with pytest.raises(SnapshotTooOldError, match="outlived"):
                    await snapshot.search("t", points(1)[0], 100, nprobe=2)

            nursery.start_soon(search)
            await wait_all_tasks_blocked()
            mock_clock.jump(AGE_S + 1)
            db._source.supervisor().state.snapshots.expire(trio.current_time() - AGE_S)
            gate.set()


@pytest.mark.parametrize("isolation", ["snapshot", "serializable"])
async def test_a_commit_of_an_expired_snapshot_is_refused(
    isolation: Any, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    """A transaction whose snapshot expires while its commit waits, and is purged, is refused.

    Somebody deleted what it wrote, and nothing in the file tells so any more.
    """
    async with checked_db(limits=Limits(snapshot_age_s=AGE_S)) as db:
        table = await filled(db, "t", 20)
        committer = db._source.supervisor().committer
        wait = committer._wait_for_indexes

        async def wait_long(request: CommitRequest) -> None:
            if request.since is not None:
                mock_clock.jump(AGE_S + 1)
                await db.vacuum()
            await wait(request)

        monkeypatch.setattr(committer, "_wait_for_indexes", wait_long)
        async with db.transaction(isolation=isolation) as transaction:
            await transaction.get("t", 1)
            await table.delete(1)
            await transaction.upsert("t", 1, points(1)[0])
            with pytest.raises(SnapshotTooOldError, match="outlived"):
                await transaction.commit()
        assert await table.get(1) is None


def _expire_before_a_read(
    monkeypatch: pytest.MonkeyPatch, db: Database, view: View, clock: MockClock, number: int
) -> None:
    real, reads = view.reads, 0

    async def read(fn: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == number:
            await (await db.table("t")).delete(range(N))
            clock.jump(AGE_S + 1)
            await db.vacuum()
        return await real(fn)

    monkeypatch.setitem(vars(view), "reads", read)
