"""Captured queries: which are kept, how they survive, and that a rebuild is judged by them."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centroidb import DiskFullError, RebuildRejected, open_db
from centroidb.engine.actors.capture import KEPT, WINDOW, Captured, save_captured
from centroidb.engine.actors.rebuild import gate
from centroidb.engine.actors.rebuild.static_phase import StaticPhase
from centroidb.wal import samples
from centroidb.wal.types import IndexId
from tests.support.databases import SMALL, checked_db
from tests.wal.files import memory_file

from .points import SEED, indexed, points, supervisor_of


def test_no_more_than_the_limit_are_kept() -> None:
    """However many are offered, a bounded number is kept, each a query as it was asked."""
    captured = Captured()
    for start in range(0, 2_000, 50):
        captured.offer(np.arange(start, start + 50, dtype=np.float32)[:, np.newaxis])
    kept = captured.vectors(KEPT)[:, 0]
    assert len(kept) == len(captured) == KEPT
    assert len(np.unique(kept)) == KEPT
    assert np.all(kept == kept.astype(int))


def test_old_queries_go_as_new_ones_come() -> None:
    """After many more queries than the window holds, hardly one of the first is left."""
    captured = Captured()
    captured.offer(np.zeros((KEPT, 1), np.float32))
    for _ in range(8 * WINDOW // KEPT):
        captured.offer(np.ones((KEPT, 1), np.float32))
    assert captured.vectors(KEPT).sum() > 0.99 * KEPT


def test_what_the_file_holds_damaged_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A vector of another length, or one that is no number, is not a query, and is logged."""
    whole = np.array([1, 2], "<f4").tobytes()
    broken = np.array([1, np.nan], "<f4").tobytes()
    captured = Captured.of_bytes([whole, b"123", broken], dim=2)
    assert captured.vectors(9).tolist() == [[1, 2]]
    assert caplog.messages == ["2 captured queries are no vectors of 2 dims: left out"]


class Turns:
    """Carries chores out on a file of its own, and does something after each."""

    def __init__(self, after: Callable[[int], None] = lambda _: None) -> None:
        self.connection = memory_file()
        self.done = 0
        self._after = after

    async def do(self, start: Callable[[], Any], finish: Callable[[Any], Any]) -> Any:
        """One turn."""
        result = finish(start()(self.connection))
        self.done += 1
        self._after(self.done)
        return result

    async def write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """The same."""
        return await self.do(lambda: work, lambda result: result)


INDEX = IndexId(1)


def asked(n: int) -> dict[IndexId, Captured]:
    """One index that was searched for n vectors of 16 bytes."""
    captured = {INDEX: Captured()}
    captured[INDEX].offer(points(n, 4))
    return captured


async def test_they_are_saved_in_slices() -> None:
    """No chore writes more than a slice, and what was saved is not saved again."""
    captured, turns = asked(10), Turns()
    await save_captured(turns, captured, INDEX, slice_bytes=16 * 4)
    assert turns.done == 3
    assert samples.read(turns.connection, INDEX) == captured[INDEX].to_bytes()
    await save_captured(turns, captured, INDEX, slice_bytes=16 * 4)
    assert turns.done == 3


async def test_a_drop_between_slices_is_the_end_of_them() -> None:
    """After a drop no more rows come, which nobody would take away."""
    captured = asked(10)
    turns = Turns(lambda done: captured.clear() if done == 1 else None)
    await save_captured(turns, captured, INDEX, slice_bytes=16 * 4)
    assert len(samples.read(turns.connection, INDEX)) == 4


async def test_what_could_not_be_saved_is_saved_later() -> None:
    """After a full disk the file gets all of them the next time."""

    def full(done: int) -> None:
        if done == 2:
            raise DiskFullError("no room, once")

    captured, turns = asked(10), Turns(full)
    with pytest.raises(DiskFullError):
        await save_captured(turns, captured, INDEX, slice_bytes=16 * 4)
    await save_captured(turns, captured, INDEX, slice_bytes=16 * 4)
    assert samples.read(turns.connection, INDEX) == captured[INDEX].to_bytes()


async def test_they_are_there_after_a_reopen(tmp_path: Path) -> None:
    """What was searched for before a close is known after it, and goes with the index."""
    path = tmp_path / "t.db"
    async with checked_db(path) as db:
        table, index = await indexed(db, "t", 100)
        await table.search(points(30), 3)
    async with checked_db(path) as db:
        state = supervisor_of(db).state
        assert state.captured[index._id].vectors(99).tobytes() == points(30).tobytes()
        await db.drop_index("t")
        await db.vacuum()
        assert await _stored(db) == 0


async def _stored(db: Any) -> int:
    async with db.snapshot() as snapshot:
        (stored,) = await snapshot.view.read(
            lambda c: c.execute("SELECT count(*) FROM query_samples").fetchone()
        )
    return int(stored)


async def test_nothing_is_kept_when_told_so(tmp_path: Path) -> None:
    """With capture_queries=False no search leaves anything, and what was kept is not used."""
    path = tmp_path / "t.db"
    async with open_db(path) as db:
        table, _ = await indexed(db, "t", 100)
        await table.search(points(30), 3)
    async with checked_db(path, capture_queries=False) as db:
        await (await db.table("t")).search(points(30), 3)
        assert supervisor_of(db).state.captured == {}


async def test_a_rebuild_that_only_users_would_notice_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Centroids that serve most rows and not the queries do not pass: the old generation stays."""
    random = np.random.default_rng(SEED)
    crowd, asked = random.normal(size=(1_800, 4)), random.normal(20, 1, (200, 4))
    rows = np.concatenate([crowd, asked]).astype(np.float32)
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=4)
        await table.upsert(range(len(rows)), rows)
        index = await table.create_index("ix", nlist=20)
        queries = random.normal(20, 1, (60, 4))
        before = (await index.statistics()).generation
        await table.search(queries, 10)

        train = StaticPhase.train

        async def for_the_crowd(self: StaticPhase, versions: Any) -> Any:
            centroids = await train(self, versions)
            return np.where(centroids.mean(axis=1, keepdims=True) > 10, -60, centroids)

        monkeypatch.setattr(StaticPhase, "train", for_the_crowd)
        monkeypatch.setattr(gate, "held_out", lambda *_: np.arange(1, 1_800, 20))
        with pytest.raises(RebuildRejected, match=r"would fall from .* by 60 captured queries"):
            await index.rebuild(nlist=20)
        assert (await index.statistics()).generation == before
