"""Snapshots that are let go while they are read: an error, never a part of the rows."""

from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from centroidb import Database, Limits, Snapshot, SnapshotTooOldError
from centroidb.engine.actors.view import View
from centroidb.engine.storage import loading
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


@pytest.mark.parametrize("read_all", [_iterate, _search])
async def test_what_was_purged_meanwhile_is_not_left_out(
    read_all: Callable[[Snapshot], Any], monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    """A call whose snapshot expires between two of its reads, and is purged, raises."""
    monkeypatch.setattr(loading, "BLOCK_BYTES", BLOCK_BYTES)
    async with checked_db(limits=Limits(snapshot_age_s=AGE_S)) as db:
        await filled(db, "t", N)
        async with db.snapshot() as snapshot:
            _expire_before_the_second_read(monkeypatch, db, snapshot.view, mock_clock)
            with pytest.raises(SnapshotTooOldError, match="outlived"):
                await read_all(snapshot)


def _expire_before_the_second_read(
    monkeypatch: pytest.MonkeyPatch, db: Database, view: View, clock: MockClock
) -> None:
    real, reads = view.reads, 0

    async def read(fn: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 2:
            await (await db.table("t")).delete(range(N))
            clock.jump(AGE_S + 1)
            await db.vacuum()
        return await real(fn)

    monkeypatch.setitem(vars(view), "reads", read)
