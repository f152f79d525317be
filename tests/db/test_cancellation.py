"""Cancellation: a write that was cancelled is not written, or it is whole; nothing is left."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from centroidb import Database, InputError, open_db
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .data import ALL, DIM, clustered, filled, indexed, same_everywhere

TURNS = 60
"""Enough turns of the event loop for any call here to end by itself."""


async def cancel_after(scope: trio.CancelScope, turns: int) -> None:
    """Cancel once the event loop has turned so many times."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.parametrize("turns", range(0, TURNS, 3))
async def test_a_cancelled_write_is_done_or_not_when_the_call_ends(turns: int) -> None:
    """Whenever a write is cancelled, what it did is done when it ends: nothing comes later."""
    with substitute(inline(turns)):
        async with checked_db() as db:
            table = await db.create_table("t", dim=DIM)
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, turns)
                    await table.upsert(1, clustered(1)[0])
                found = await table.count()
            assert found == 1 or scope.cancelled_caught
            await table.upsert(2, clustered(1)[0])
            assert await table.count() == found + 1


@pytest.mark.parametrize("turns", range(0, 3 * TURNS, 9))
async def test_a_cancelled_transaction_is_whole_or_not_there(turns: int) -> None:
    """A transaction cancelled at any moment, in its block or its commit, leaves all or nothing."""
    with substitute(inline(turns)):
        async with checked_db() as db:
            table = await filled(db, 3)
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, turns)
                    async with db.transaction() as transaction:
                        await transaction.upsert("t", [3, 4], clustered(2))
                        await transaction.delete("t", 0)
            keys = sorted([row.id async for row in table.iterate()])
            assert keys == ([0, 1, 2] if scope.cancelled_caught else [1, 2, 3, 4])


@pytest.mark.parametrize("turns", range(0, 10 * TURNS, 30))
async def test_a_cancelled_bulk_write_ends_at_a_commit(turns: int) -> None:
    """Cancelled in the middle, a large write leaves the commits before, each whole, in order."""
    with substitute(inline(turns)):
        async with checked_db(limits=SMALL) as db:
            table = await db.create_table("t", dim=DIM)
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, turns)
                    await table.upsert(range(200), clustered(200))
            keys = [row.id async for row in table.iterate()]
            assert keys == list(range(len(keys)))
            chunk = SMALL.chunk_bytes // (4 * DIM + 64)
            assert len(keys) == 200 or (scope.cancelled_caught and len(keys) % chunk == 0)


@pytest.mark.parametrize("turns", range(0, 20 * TURNS, 50))
async def test_a_cancelled_rebuild_goes_on(turns: int) -> None:
    """Whenever a rebuild is cancelled, the index answers; asked for again it ends, tidily."""
    with substitute(inline(turns)):
        async with checked_db(limits=SMALL) as db:
            table, index = await indexed(db, 300)
            before = await index.statistics()
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, turns)
                    await index.rebuild(parallel=2)
            await db.vacuum()
            after = await index.statistics()
            assert scope.cancelled_caught == (after.generation == before.generation)
            assert not after.building
            await same_everywhere(table, clustered(1, seed=1)[0])
            await index.rebuild()
            assert {job.state for job in await db.jobs()} == {"done"}
            await same_everywhere(table, clustered(1, seed=1)[0])
            await db.vacuum()
            assert await leftovers(db) == []


@pytest.mark.parametrize("turns", range(0, 4 * TURNS, 6))
async def test_a_cancelled_opening_gives_the_file_back(turns: int, tmp_path: Path) -> None:
    """Whenever opening is cancelled, the file is not held and can be opened."""
    with substitute(inline(turns)):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_after, scope, turns)
                async with open_db(tmp_path / "t.db") as db:
                    await use(db)
        async with checked_db(tmp_path / "t.db") as db:
            await use(db)


async def use(db: Database) -> None:
    """Something to be cancelled in."""
    table = await db.create_table("t", dim=DIM, if_not_exists=True)
    for _ in range(3):
        await table.upsert(1, clustered(1)[0])


async def test_calls_cancelled_at_any_moment_leave_a_sound_database(tmp_path: Path) -> None:
    """Searches, reads, vacuums and backups that were cancelled hold nothing back."""
    chance = random.Random(5)
    with substitute(inline(5)):
        async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
            table, index = await indexed(db, 200)
            query = clustered(1)[0]
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: table.search(query, nprobe=ALL),
                lambda: table.search(query, exact=True),
                lambda: table.get(range(200)),
                lambda: db.vacuum(),
                lambda: db.check(),
                lambda: index.partition_of(range(200)),
                lambda: table.create_index("other"),
                lambda: db.drop_index("other", if_exists=True),
                lambda: table.delete(chance.randrange(200)),
                lambda: db.statistics(),
            ]
            for _ in range(150):
                async with trio.open_nursery() as nursery:
                    with trio.CancelScope() as scope:
                        nursery.start_soon(cancel_after, scope, chance.randrange(40))
                        with suppress(InputError):  # the index "other" may be there already
                            await chance.choice(calls)()
            await same_everywhere(table, query)
            await db.drop_index("other", if_exists=True)
            await db.vacuum()
            assert await leftovers(db) == []
            assert (await db.statistics()).snapshots == 0


async def test_a_deadline_ends_a_wait() -> None:
    """A search that waits for its turn takes part in deadlines."""
    async with checked_db() as db:
        table, _ = await indexed(db, 200)
        with trio.move_on_after(0) as scope:
            await table.search(clustered(1)[0])
        assert scope.cancelled_caught
