"""An index made on too few rows answers exactly, and trains itself when there are enough."""

import trio
from trio.testing import wait_all_tasks_blocked

from centroidb import Index
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db

from .data import ALL, DIM, clustered, same_everywhere


async def trained(index: Index) -> None:
    """Wait until the index has a generation."""
    with trio.fail_after(60):
        while (await index.statistics()).generation is None:
            await wait_all_tasks_blocked()


async def test_an_untrained_index_is_exact_and_trains_itself() -> None:
    """Below the rows it needs an index has no generation; a write that brings them builds it."""
    with substitute(inline(1)):
        async with checked_db(limits=SMALL) as db:
            table = await db.create_table("t", dim=DIM)
            vectors = clustered(SMALL.train_rows)
            index = await table.create_index("ix")
            await table.upsert(range(SMALL.train_rows - 1), vectors[:-1])
            figures = await index.statistics()
            assert figures.generation is None
            assert "too few rows" in figures.advice
            hits = await table.search(vectors[0], 5, nprobe=1)
            assert (hits.partitions_probed, len(hits)) == (0, 5)
            assert await index.partitions() == []
            assert (await index.partition_of([0, 1])).tolist() == [-1, -1]
            async with db.snapshot() as before:
                await table.upsert(SMALL.train_rows, vectors[-1])
                await trained(index)
                assert (await before.search("t", vectors[0], nprobe=ALL)).partitions_probed == 0
            assert (await table.search(vectors[0], nprobe=ALL)).partitions_probed > 0
            await same_everywhere(table, vectors[0])
            assert [job.state for job in await db.jobs()] == ["done"]


async def test_a_given_nlist_says_how_many_rows_are_needed() -> None:
    """With nlist given, twice as many rows are enough."""
    with substitute(inline(2)):
        async with checked_db(limits=SMALL) as db:
            table = await db.create_table("t", dim=DIM)
            index = await table.create_index("ix", nlist=4)
            await table.upsert(range(7), clustered(7))
            assert (await index.statistics()).generation is None
            await table.upsert(7, clustered(8)[7])
            await trained(index)
            assert (await index.statistics()).nlist == 4


async def test_it_trains_itself_after_reopening(tmp_path: object) -> None:
    """An index that was left untrained is built by the write that brings enough rows later."""
    path = f"{tmp_path}/t.db"
    async with checked_db(path, limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        await table.create_index("ix", nlist=5)
        await table.upsert(range(5), clustered(5))
    async with checked_db(path, limits=SMALL) as db:
        table = await db.table("t")
        await table.upsert(range(5, 20), clustered(15))
        await trained(await db.index("ix"))
        await same_everywhere(table, clustered(1)[0])


async def test_a_rebuild_trains_at_once() -> None:
    """Who asks for a rebuild gets one, however few rows there are."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=DIM)
        index = await table.create_index("ix")
        await table.upsert(range(3), clustered(3))
        assert (await index.rebuild()).rows == 3
        await same_everywhere(table, clustered(1)[0])
