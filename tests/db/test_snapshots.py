"""Snapshots: what is read in one never changes, whatever is done to the database meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from centroidb import (
    ClosedError,
    Database,
    Limits,
    NotFoundError,
    Snapshot,
    SnapshotTooOldError,
    open_db,
)
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .data import ALL, clustered, indexed

QUERIES = clustered(4, seed=8)


async def everything(snapshot: Snapshot) -> list[Any]:
    """All that can be asked of a snapshot: rows, counts, searches of every width."""
    found: list[Any] = [snapshot.lsn, await snapshot.count("t")]
    found += [(row.id, row.payload) async for row in snapshot.iterate("t")]
    found += [await snapshot.get("t", list(range(320)))]
    for options in ({"nprobe": 1}, {"nprobe": 3}, {"nprobe": ALL}, {"exact": True}, {}):
        for hits in await snapshot.search("t", QUERIES, 8, **options):
            found.append((hits.ids, hits.distances.tobytes(), hits.partitions_probed))
    return found


async def writes(db: Database) -> None:
    """New rows, new versions, deletes: some hundred, so that folds happen."""
    table = await db.table("t")
    await table.upsert(range(250, 400), clustered(150, seed=3))
    await table.delete(range(100, 200))
    await table.update_payloads(range(200, 250), ["new"] * 50)


async def rebuild(db: Database) -> None:
    """Another generation."""
    await (await db.index("ix")).rebuild(nlist=4)


async def write_and_vacuum(db: Database) -> None:
    """A fold, a compaction, a purge."""
    await writes(db)
    await db.vacuum()


async def rebuild_and_vacuum(db: Database) -> None:
    """What the snapshot uses is retired, and everything else is purged."""
    await writes(db)
    await rebuild(db)
    await writes(db)
    await db.vacuum()


async def drop_index(db: Database) -> None:
    """The index goes, and all that can."""
    await db.drop_index("ix")
    await db.vacuum()


async def drop_table(db: Database) -> None:
    """The table goes, and all that can; another gets its name."""
    await db.drop_table("t")
    await db.vacuum()
    await db.create_table("t", dim=2)


DEEDS: list[Callable[[Database], Awaitable[None]]] = [
    writes,
    rebuild,
    write_and_vacuum,
    rebuild_and_vacuum,
    drop_index,
    drop_table,
]


@pytest.mark.parametrize("codec", ["flat", "sq8"])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@pytest.mark.parametrize("deed", DEEDS)
async def test_a_snapshot_never_changes(
    deed: Callable[[Database], Awaitable[None]], cache_bytes: int, codec: str
) -> None:
    """Rows and answers stay through folds, swaps, purges and drops, cached or not."""
    async with checked_db(limits=SMALL, cache_bytes=cache_bytes) as db:
        table, _ = await indexed(db, 300, codec=codec)
        await table.delete(range(0, 60, 2))
        await table.upsert(range(10), clustered(10, seed=5))
        async with db.snapshot() as snapshot:
            before = await everything(snapshot)
            await deed(db)
            assert await everything(snapshot) == before
            await deed(db) if deed not in (drop_index, drop_table) else None
            assert await everything(snapshot) == before
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("codec", ["flat", "sq8"])
async def test_partitions_read_for_the_first_time_after_a_purge(codec: str) -> None:
    """A retired generation passes over what a purge has removed, and answers all the same."""
    async with checked_db(limits=SMALL) as db:
        table, _ = await indexed(db, 300, codec=codec)
        await table.delete(range(0, 200, 2))
        async with db.snapshot() as snapshot:
            await rebuild_and_vacuum(db)
            for query in QUERIES:
                hits = await snapshot.search("t", query, 300, nprobe=ALL)
                exact = await snapshot.search("t", query, 300, exact=True)
                assert hits.partitions_probed == 10
                assert len(hits) == 200
                assert hits.ids == exact.ids
                assert hits.distances.tobytes() == exact.distances.tobytes()


async def test_purges_keep_what_any_snapshot_sees() -> None:
    """Of many snapshots each sees its own state, in whatever order they are closed."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, 300)
        async with db.snapshot() as first:
            states = [await everything(first)]
            await table.delete(range(100))
            async with db.snapshot() as second:
                states.append(await everything(second))
                await index.rebuild(nlist=6)
                async with db.snapshot() as third:
                    states.append(await everything(third))
                    await table.delete(range(100, 200))
                    await db.vacuum()
                    assert [await everything(each) for each in (first, second, third)] == states
                await db.vacuum()
                assert [await everything(each) for each in (first, second)] == states[:2]
            await db.vacuum()
            assert await everything(first) == states[0]


async def test_a_snapshot_can_be_given_to_a_table() -> None:
    """`Table.search` takes a snapshot, and then sees what it sees."""
    async with checked_db() as db:
        table, _ = await indexed(db, 300)
        async with db.snapshot() as snapshot:
            expected = (await table.search(QUERIES[0])).ids
            await table.delete(expected)
            assert (await table.search(QUERIES[0], snapshot=snapshot)).ids == expected
            assert set((await table.search(QUERIES[0])).ids).isdisjoint(expected)


async def test_a_snapshot_does_not_see_later_tables_and_indexes() -> None:
    """What was made after a snapshot is not found in it."""
    async with checked_db() as db:
        table, _ = await indexed(db, 300)
        async with db.snapshot() as snapshot:
            await db.create_table("later", dim=2)
            await table.create_index("later")
            with pytest.raises(NotFoundError, match="no table named 'later'"):
                await snapshot.count("later")
            with pytest.raises(NotFoundError, match="no index named 'later'"):
                await snapshot.search("t", QUERIES[0], index="later")


async def test_a_snapshot_from_before_an_index_is_searched_exactly() -> None:
    """An index made after a snapshot does not serve it."""
    async with checked_db() as db:
        table, _ = await indexed(db, 300)
        await db.drop_index("ix")
        async with db.snapshot() as snapshot:
            await table.delete(range(50))
            await table.create_index("ix", nlist=5)
            hits = await snapshot.search("t", QUERIES[0], 300, nprobe=1)
            assert hits.partitions_probed == 0
            assert len(hits) == 300


async def test_an_old_snapshot_is_let_go(mock_clock: MockClock) -> None:
    """A snapshot that outlives its age says so, and holds nothing back any more."""
    limits = Limits(snapshot_age_s=100)
    async with open_db(":memory:", limits=limits) as db:
        table, _ = await indexed(db, 100, 4)
        async with db.snapshot() as old:
            await table.delete(range(50))
            mock_clock.jump(90)
            async with db.snapshot() as young:
                mock_clock.jump(20)
                await db.vacuum()
                with pytest.raises(SnapshotTooOldError, match="open a new one"):
                    await old.count("t")
                with pytest.raises(SnapshotTooOldError):
                    await old.search("t", QUERIES[0])
                assert await young.count("t") == 50
                assert len(await young.search("t", QUERIES[0], 100, nprobe=ALL)) == 50
        await db.vacuum()
        assert await leftovers(db) == []
        with pytest.raises(SnapshotTooOldError):
            await _commit_late(db, mock_clock)
        assert await table.count() == 50


async def _commit_late(db: Database, mock_clock: MockClock) -> None:
    async with db.transaction() as late:
        await late.delete("t", 60)
        mock_clock.jump(200)
        await db.vacuum()


async def test_a_closed_snapshot_is_not_read() -> None:
    """After its block a snapshot holds nothing, and says so when it is asked."""
    async with checked_db() as db:
        table, _ = await indexed(db, 100, 4)
        async with db.snapshot() as snapshot:
            assert (await db.statistics()).snapshots >= 1
        assert (await db.statistics()).snapshots == 0
        for read in (
            lambda: snapshot.count("t"),
            lambda: snapshot.get("t", 1),
            lambda: snapshot.search("t", QUERIES[0]),
            lambda: snapshot.iterate("t").__anext__(),
            lambda: table.search(QUERIES[0], snapshot=snapshot),
        ):
            with pytest.raises(ClosedError, match="is closed: open a new one"):
                await read()
        with trio.move_on_after(0):
            async with db.snapshot():
                await trio.sleep_forever()
        assert (await db.statistics()).snapshots == 0
