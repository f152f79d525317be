"""Memory: a build with a budget stays within it, and makes the same at any width."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from centroidb import Database, Index, InputError, Limits, Table
from centroidb.engine.index.distance import Metric
from tests.support.databases import checked_db, resumed
from tests.support.leftovers import leftovers

from .data import clustered, same_everywhere
from .test_determinism import bytes_of_index

DIM = 256
ROWS = 16_000
"""16 MB of vectors."""
FEW = 4_000
BUDGET = 4_500_000
OPTIONS: dict[str, Any] = {"nlist": 25, "samples_per_partition": 200, "memory_bytes": BUDGET}
LIMITS = Limits(slice_bytes=1 << 16, gate_rows=100, delta_rows=600, catch_up_rows=8)


async def indexed(db: Database, rows: int = ROWS, **options: Any) -> tuple[Table, Index]:
    """A table, several times as large as the budget, and an index over it."""
    table = await db.create_table("t", dim=DIM)
    await table.upsert(range(rows), clustered(rows, dim=DIM))
    await table.delete(range(0, rows, 9))
    index = await table.create_index("ix", **{"nlist": 25, **options})
    await db.vacuum()
    return table, index


async def peak_of(work: Callable[[], Awaitable[Any]]) -> int:
    """The most bytes that Python and numpy held more than before, while `work` ran."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("codec", "metric", "parallel"),
    [("sq8", "l2", 1), ("flat", "l2", 3), ("sq8", "cosine", 4), ("flat", "dot", 2)],
)
async def test_a_build_stays_within_its_budget(codec: Any, metric: Metric, parallel: int) -> None:
    """The peak of a rebuild of a table of several times the budget is within the budget."""
    async with checked_db(limits=LIMITS) as db:
        table, index = await indexed(db, codec=codec, metric=metric)

        peak = await peak_of(lambda: index.rebuild(parallel=parallel, **OPTIONS))

        assert BUDGET / 4 < peak <= BUDGET
        assert 4 * DIM * await table.count() >= 3 * BUDGET
        assert (await db.jobs())[0].state == "done"
        assert len(await same_everywhere(table, clustered(1, dim=DIM, seed=4)[0])) == 20


async def test_without_a_budget_it_takes_more() -> None:
    """The same rebuild without a budget takes more than that: the measure measures."""
    async with checked_db(limits=LIMITS) as db:
        _, index = await indexed(db)
        assert await peak_of(lambda: index.rebuild(nlist=25, parallel=3)) > 2 * BUDGET


async def _interrupted_at(index: Index, phase: str, **options: Any) -> None:
    async with index.rebuilding(**OPTIONS, **options) as job:
        async for event in job:
            if event.phase == phase:
                return


async def _all_filed(index: Index) -> None:
    """The index that is searched has filed every row: that takes memory, not the build's."""
    while (await index.statistics()).lag_rows:
        await trio.lowlevel.checkpoint()


async def test_catching_up_stays_within_the_budget() -> None:
    """Rows committed since S0, more than the budget holds, are caught up in small deltas."""
    async with checked_db(limits=LIMITS) as db:
        table, index = await indexed(db)
        await _interrupted_at(index, "encode")
        await table.upsert(range(14_000, 20_000), clustered(6_000, dim=DIM, seed=3))
        await _all_filed(index)
        await db.vacuum()

        peak = await peak_of(lambda: index.rebuild(parallel=2, **OPTIONS))

        assert peak <= BUDGET
        assert await table.count() == 20_000 - -(-14_000 // 9)
        assert len(await same_everywhere(table, clustered(1, dim=DIM, seed=4)[0])) == 20


async def test_the_width_does_not_show_in_a_budget(tmp_path: Path) -> None:
    """With a budget too the bytes are the same at any width, and are others than without."""
    async with checked_db(tmp_path / "t.db", limits=LIMITS) as db:
        _, index = await indexed(db, FEW)
        await index.rebuild(nlist=25, samples_per_partition=200)
        without = await bytes_of_index(db)
        found = []
        for parallel in (1, 2, 5):
            await index.rebuild(parallel=parallel, **OPTIONS)
            found.append(await bytes_of_index(db))
        assert found[1:] == found[:-1]
        assert found[0] != without


async def test_a_budget_that_is_large_enough_does_not_show() -> None:
    """A build that has room for everything makes the bytes that it makes without a budget."""
    async with checked_db(limits=LIMITS) as db:
        _, index = await indexed(db, FEW)
        await index.rebuild(nlist=25)
        without = await bytes_of_index(db)
        await index.rebuild(nlist=25, memory_bytes=1 << 30)
        assert await bytes_of_index(db) == without


@pytest.mark.parametrize("phase", ["cluster", "assign", "encode"])
async def test_a_build_with_a_budget_goes_on(phase: str, tmp_path: Path) -> None:
    """Cut short at one width it ends at another, in the bytes that it would have ended in."""
    async with checked_db(tmp_path / "whole.db", limits=LIMITS) as db:
        _, index = await indexed(db, FEW)
        await index.rebuild(parallel=1, **OPTIONS)
        expected = await bytes_of_index(db)
    path = tmp_path / "cut.db"
    async with checked_db(path, limits=LIMITS) as db:
        _, index = await indexed(db, FEW)
        await _interrupted_at(index, phase, parallel=4)
    async with checked_db(path, limits=LIMITS) as db:
        await resumed(db)
        assert [job.state for job in await db.jobs()] == ["done", "done"]
        assert await bytes_of_index(db) == expected
        await db.vacuum()
        assert await leftovers(db) == []


async def test_a_budget_that_is_too_small_is_refused() -> None:
    """A build that can not stay within its budget says how much it needs, and of what."""
    async with checked_db(limits=LIMITS) as db:
        table, index = await indexed(db, FEW)
        before = await bytes_of_index(db)
        with pytest.raises(
            InputError,
            match=r"memory_bytes: expected at least \d+ for 3,555 rows of 256 dimensions in 25 "
            r"partitions, got 1000: \d+ for the rows \(\d+ bytes each\) and \d+ for",
        ):
            await index.rebuild(nlist=25, memory_bytes=1000)
        with pytest.raises(InputError, match=r"memory_bytes: expected at least"):
            await table.create_index("other", memory_bytes=1000)
        assert [each.name for each in await db.indexes()] == ["ix"]
        assert await bytes_of_index(db) == before
        assert len(await db.jobs()) == 1


async def test_an_index_remembers_its_budget() -> None:
    """A budget given when an index is made holds for its later rebuilds."""
    async with checked_db(limits=LIMITS) as db:
        _, index = await indexed(db, memory_bytes=BUDGET)
        assert await peak_of(lambda: index.rebuild(nlist=25)) <= BUDGET
