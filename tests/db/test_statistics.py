"""Statistics: figures that agree with what was done, and advice that follows from them."""

from pathlib import Path

import numpy as np
import pytest

from centroidb import NotFoundError
from tests.support.databases import SMALL, checked_db

from .data import DIM, clustered, filed, filled, indexed


async def test_figures_of_a_table() -> None:
    """Rows, ended versions and indexes are counted."""
    async with checked_db() as db:
        table, _ = await indexed(db, 200)
        await table.delete(range(10))
        result = await table.upsert(range(20, 25), clustered(5))
        figures = await table.statistics()
        assert (figures.name, figures.dim, figures.metric, figures.key_type) == (
            "t",
            DIM,
            "l2",
            "int",
        )
        assert (figures.rows, figures.ended, figures.indexes) == (190, 15, 1)
        assert figures.changed_lsn == result.lsn
        assert "rows         190" in str(figures)


async def test_figures_of_an_index() -> None:
    """Rows are in segments, in the delta, or waiting; tombstones are those that have ended."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, 400, codec="sq8", centroid_search="hnsw")
        fresh = await index.statistics()
        assert (fresh.rows, fresh.rows_at_build, fresh.tombstones) == (400, 400, 0)
        assert (fresh.nlist, fresh.codec, fresh.centroid_search) == (10, "sq8", "hnsw")
        assert (fresh.delta_rows, fresh.lag_rows, fresh.drift) == (0, 0, 1.0)
        assert fresh.stored_bytes > 400 * DIM
        assert fresh.advice == "healthy"
        await table.delete(range(20))
        await table.upsert(range(30, 40), clustered(10, seed=3))
        later = await index.statistics()
        assert (later.rows, later.tombstones) == (380, 30)
        await filed(index)
        assert sum(part.rows for part in await index.partitions()) == 410
        await db.vacuum()
        swept = await index.statistics()
        assert (swept.tombstones, swept.delta_rows, swept.lag_rows) == (0, 0, 0)
        assert sum(part.rows for part in await index.partitions()) == 380


async def test_partitions_hold_every_row_once() -> None:
    """Sizes of partitions agree with the partition of each key, before and after a fold."""
    async with checked_db() as db:
        table, index = await indexed(db, 300)
        await table.upsert(range(300, 340), clustered(40, seed=2))
        for _ in range(2):
            where = await index.partition_of(range(345))
            assert where[340:].tolist() == [-1] * 5
            sizes = np.bincount(where[:340], minlength=10)
            await db.vacuum()
            assert [part.rows for part in await index.partitions()] == sizes.tolist()
            assert [part.id for part in await index.partitions()] == list(range(10))


async def test_advice_follows_from_the_figures() -> None:
    """Lopsided partitions, many new rows and drift are each named, with the statement to run."""
    async with checked_db() as db:
        table, index = await indexed(db, 400)
        assert (await index.statistics()).advice == "healthy"
        await table.upsert(range(400, 600), clustered(200, seed=6))
        figures = await index.statistics()
        assert 'ALTER INDEX "ix" REBUILD ONLINE' in figures.advice
        await db.execute('ALTER INDEX "ix" REBUILD ONLINE')
        assert (await index.statistics()).advice == "healthy"
        await table.upsert(range(1_000, 1_900), np.full((900, DIM), 3) + clustered(900) / 1e3)
        await filed(index)
        figures = await index.statistics()
        assert figures.imbalance > 2
        assert figures.advice.startswith("partitions are lopsided")
        await index.rebuild()
        assert (await index.statistics()).imbalance < 2


async def test_drift_is_seen() -> None:
    """Rows that lie far from their centroids raise the drift; a rebuild brings it back to one."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, 400)
        await table.upsert(range(400, 500), clustered(100) * 3)
        await filed(index)
        drift = (await index.statistics()).drift
        assert drift > 1.15
        await db.vacuum()
        assert (await index.statistics()).drift == pytest.approx(drift)
        await index.rebuild()
        assert (await index.statistics()).drift == pytest.approx(1.0)


async def test_figures_of_a_database(tmp_path: Path) -> None:
    """LSN, horizon, snapshots, tables and sizes of the whole file."""
    path = tmp_path / "t.db"
    async with checked_db(path) as db:
        await indexed(db, 100, 4)
        async with db.snapshot() as snapshot:
            await (await db.table("t")).delete(1)
            figures = await db.statistics()
            assert figures.lsn == snapshot.lsn + 1
            assert figures.horizon == snapshot.lsn
            assert (figures.tables, figures.indexes) == (1, 1)
            assert figures.path == str(path)
            assert figures.clean_at_open
            assert figures.file_bytes == path.stat().st_size
            assert figures.sqlite_wal_bytes > 0
        assert (await db.statistics()).snapshots == 0


async def test_names_of_what_there_is() -> None:
    """Tables and indexes are listed by name and found by name, or not, with those alike."""
    async with checked_db() as db:
        table = await filled(db, 3)
        await db.create_table("another", dim=2, key_type="str", metric="dot")
        for name in ("zz", "aa"):
            await table.create_index(name)
        assert [each.name for each in await db.tables()] == ["another", "t"]
        assert [each.name for each in await db.indexes()] == ["aa", "zz"]
        assert (await table.index("aa")).name == "aa"
        with pytest.raises(NotFoundError, match="did you mean 'another'"):
            await db.table("anothr")
        with pytest.raises(NotFoundError, match="there are: 'aa', 'zz'"):
            await db.index("x")
        with pytest.raises(NotFoundError, match="there are: none"):
            await (await db.table("another")).index("aa")
        assert repr(table) == "<Table 't'>"
        assert repr(await db.index("aa")) == "<Index 'aa'>"
        await db.drop_table("t")
        assert await db.indexes() == []
        with pytest.raises(NotFoundError, match="'t' was dropped"):
            await table.upsert(1, clustered(1)[0])


async def test_built_on_too_few_rows(caplog: pytest.LogCaptureFixture) -> None:
    """Too many partitions for the rows are warned of, and a table that has grown is advice."""
    async with checked_db() as db:
        table = await filled(db, 200)
        index = await table.create_index("ix", nlist=20)
        assert caplog.text == ""
        await table.create_index("many", nlist=21)
        assert "index many: nlist=21 on 200 rows" in caplog.text
        await table.upsert(range(200, 2_000), clustered(1_800))
        advice = (await index.statistics()).advice
        assert "it was built on 200 rows and has 2,000" in advice
        assert advice.endswith(': ALTER INDEX "ix" REBUILD ONLINE')


async def test_figures_since_the_build() -> None:
    """Live rows since the build are counted, ended ones not; the time can be read."""
    async with checked_db() as db:
        table, index = await indexed(db, 400)
        await table.upsert(range(390, 430), clustered(40, seed=5))
        await table.upsert(range(390, 400), clustered(10, seed=6))
        await table.delete(range(425, 430))
        figures = await index.statistics()
        assert (figures.rows_at_build, figures.rows_since_build, figures.rows) == (400, 35, 425)
        assert figures.built_at is not None
        assert f"built_at          {figures.built_at}" in str(figures)
        assert (figures.kept, figures.recall, figures.cost) == (0, None, None)
        await index.rebuild(keep_previous=1)
        assert (await index.statistics()).kept == 1
        assert (await index.statistics()).rows_since_build == 0


async def test_what_a_rebuild_would_take(tmp_path: Path) -> None:
    """The plan goes by the last rebuild where that was of as many rows, and by experience else."""
    async with checked_db(tmp_path / "t.db") as db:
        table, index = await indexed(db, 400)
        plan = await index.explain_rebuild()
        assert (plan.action, plan.reasons, plan.rows) == ("none", (), 400)
        assert plan.basis.startswith("the last rebuild of this index: 400 rows in ")
        before = plan.predicted_s
        await table.upsert(range(400, 800), clustered(400, seed=3))
        plan = await index.explain_rebuild()
        assert plan.predicted_s == pytest.approx(2 * before)
        assert plan.action == "rebuild"
        assert (plan.cost_now, plan.cost_expected, plan.gain) == (None, None, None)
        await table.upsert(range(800, 2_000), clustered(1_200, seed=4))
        plan = await index.explain_rebuild()
        assert plan.basis.endswith("on one core")
        assert plan.predicted_s > 0
        assert "; it was built on 400 rows and has 2,000; " in str(plan)
        await index.rebuild()
        assert plan.disk_bytes == (await index.statistics()).stored_bytes
        assert plan.memory_bytes > 2_000 * DIM * 4
    async with checked_db(tmp_path / "t.db", read_only=True) as reader:
        assert (await (await reader.index("ix")).explain_rebuild()).action == "none"


async def test_the_plan_of_an_untrained_index() -> None:
    """Where there are too few rows, nothing is called for."""
    async with checked_db() as db:
        table = await filled(db, 3)
        index = await table.create_index("ix")
        plan = await index.explain_rebuild()
        assert (plan.action, plan.rows) == ("none", 3)
        assert plan.reasons[0].startswith("it is not trained yet")
        assert (await index.statistics()).built_at is None
