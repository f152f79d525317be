"""Samples: drawn from live rows only, the same again, and measured as a full count would."""

from pathlib import Path

import numpy as np
import pytest

from centroidb import Database, Index
from centroidb.engine.actors import sampling
from centroidb.engine.actors.sampling import sample
from centroidb.engine.index.distance import Metric
from centroidb.engine.index.health import Measured
from centroidb.engine.index.parameters import default_nprobe
from tests.support.databases import SMALL, checked_db

from .points import filed, filled, points, supervisor_of

N = 300


async def measured(db: Database, index: Index) -> Measured:
    """A sample of an index."""
    found = await sample(supervisor_of(db).state, index._id)
    assert found is not None
    return found


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
async def test_it_is_the_recall_of_searches(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every row as a query, recall is what searches find, exactly, for each metric."""
    monkeypatch.setattr(sampling, "QUERIES", N)
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", N)
        index = await table.create_index("t", nlist=30, metric=metric)
        found = 0
        for key, query in enumerate(points(N)):
            near = await table.search(query, N, nprobe=default_nprobe(30), metric=metric)
            exact = await table.search(query, 11, exact=True, metric=metric)
            others = [each for each in exact.ids if each != key][:10]
            found += len(set(others) & set(near.ids))
        result = await measured(db, index)
        assert result.queries == N
        assert result.recall == pytest.approx(found / (10 * N))
        assert 0 < result.cost < 1


async def test_the_cost_of_an_index_that_ranks_well_is_low() -> None:
    """Where each partition is a tight group, a tenth of the rows holds all neighbours."""
    random = np.random.default_rng(1)
    middles = random.normal(0, 100, (10, 3))
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=3)
        vectors = np.repeat(middles, 30, axis=0) + random.normal(size=(300, 3))
        await table.upsert(range(300), vectors.astype(np.float32))
        index = await table.create_index("t", nlist=10, start="kmeans++")
        result = await measured(db, index)
        assert result.recall == 1.0
        assert result.cost == pytest.approx(0.095, abs=0.01)


async def test_only_live_rows_are_drawn(tmp_path: Path) -> None:
    """Neither ended rows are queries, nor rows purged before the file was opened again."""
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        table = await filled(db, "t", N)
        await table.create_index("t", nlist=9)
        await table.delete(range(100, N))
        await filed(db)
        await db.vacuum()
        await table.delete(range(60, 100))
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        index = await db.index("t")
        await db.vacuum()  # else the Sweeper changes the sizes of partitions in between
        result = await measured(db, index)
        assert result.queries == 60
        assert await measured(db, index) == result


async def test_nothing_is_said_where_little_is_to_be_drawn() -> None:
    """An index without a generation, one on few rows and one that was dropped give no figures."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", 31)
        index = await table.create_index("t")
        state = supervisor_of(db).state
        assert await sample(state, index._id) is None
        await index.rebuild()
        assert await sample(state, index._id) is None
        await table.upsert(31, [1, 2, 3])
        assert (await measured(db, index)).queries == 32
        await db.drop_index("t")
        assert await sample(state, index._id) is None


async def test_a_sample_leaves_nothing_pinned() -> None:
    """After it no snapshot is open and nothing is held; the cache is as it was."""
    async with checked_db(limits=SMALL) as db:
        table = await filled(db, "t", N)
        index = await table.create_index("t", nlist=9)
        state = supervisor_of(db).state
        cached = state.cache.nbytes
        await measured(db, index)
        assert len(state.snapshots) == 0
        active = state.indexes[index._id].active
        assert active is not None
        assert (active.held, len(active.pins), state.cache.nbytes) == (0, 0, cached)
