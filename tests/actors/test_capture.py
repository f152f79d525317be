"""Captured queries: which are kept, how they survive, and that a rebuild is judged by them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from centroidb import RebuildRejected, open_db
from centroidb.engine.actors.capture import KEPT, WINDOW, Captured
from centroidb.engine.actors.rebuild import gate
from centroidb.engine.actors.rebuild.static_phase import StaticPhase
from tests.support.databases import SMALL, checked_db

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


def test_what_the_file_holds_damaged_is_left_out() -> None:
    """A vector of another length, or one that is no number, is not a query."""
    whole = np.array([1, 2], "<f4").tobytes()
    broken = np.array([1, np.nan], "<f4").tobytes()
    captured = Captured.of_bytes([whole, b"123", broken], dim=2)
    assert captured.vectors(9).tolist() == [[1, 2]]


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
