"""Back-pressure: a lag is bounded, and writers who wait for it are counted."""

from dataclasses import replace

import trio

from centroidb import Limits
from centroidb.wal.blocking import substitute
from fuzz.simulation.world import scheduled
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db

from .data import clustered, indexed

LAG: Limits = replace(SMALL, lag_rows=50)


async def test_writers_wait_for_an_index_that_lags() -> None:
    """Rows that wait to be filed are never many more than the limit; waiting is counted."""
    with substitute(inline(3)):
        async with checked_db(limits=LAG) as db:
            table, index = await indexed(db, 100, 4)
            assert (await db.statistics()).writers_waited_s < 60
            before = (await db.statistics()).writers_waited_s
            async with trio.open_nursery() as nursery:
                for writer in range(6):
                    nursery.start_soon(table.upsert, range(200), clustered(200, seed=writer))
                lags = [(await index.statistics()).lag_rows for _ in range(200)]
            chunk = LAG.chunk_bytes // (4 * 8 + 64)
            assert 0 < max(lags) <= LAG.lag_rows + 6 * 2 * chunk
            assert (await db.statistics()).writers_waited_s > before


async def test_without_an_index_nobody_waits() -> None:
    """A table that has no index takes writes as fast as they are committed."""
    async with checked_db(limits=LAG) as db:
        table, _ = await indexed(db, 100, 4)
        await db.drop_index("ix")
        before = (await db.statistics()).writers_waited_s
        await table.upsert(range(500), clustered(500))
        waited = (await db.statistics()).writers_waited_s - before
        assert waited < 0.1


async def test_dropping_the_index_frees_those_who_wait() -> None:
    """Writers who wait for an index that is dropped go on."""
    with substitute(inline(4)), trio.fail_after(60):
        async with checked_db(limits=replace(SMALL, lag_rows=1)) as db:
            table, _ = await indexed(db, 100, 4)
            async with trio.open_nursery() as nursery:
                for writer in range(4):
                    nursery.start_soon(table.upsert, range(300), clustered(300, seed=writer))
                for _ in range(30):
                    await trio.lowlevel.checkpoint()
                await db.drop_index("ix")
            assert await table.count() == 300


async def test_a_build_that_can_not_catch_up_holds_writers_back() -> None:
    """A rebuild beside writers who never pause ends, and says how long it held them."""
    with scheduled("5"), substitute(inline(5)), trio.fail_after(120):
        limits = replace(SMALL, catch_up_rows=1, lag_rows=10_000, gate_rows=10_000)
        async with checked_db(limits=limits) as db:
            table, index = await indexed(db, 300)
            done = trio.Event()

            async def write(seed: int) -> None:
                while not done.is_set():
                    await table.upsert(range(200), clustered(200, seed=seed))

            async with trio.open_nursery() as nursery:
                for writer in range(6):
                    nursery.start_soon(write, writer)
                for _ in range(5):  # one that gains on them anyway holds nobody
                    outcome = await index.rebuild()
                    if outcome.writers_held_s > 0:
                        break
                done.set()
            assert outcome.writers_held_s > 0
            assert outcome.rows_caught_up > 0
