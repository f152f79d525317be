"""Space: what nobody can see any more is given back to the file system."""

from pathlib import Path

from centroidb import Limits
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .data import clustered, filed, indexed, same_everywhere

ROWS = 3_000
MANY = 20_000
"""Enough that the pages of empty tables do not count."""


async def test_a_vacuum_gives_space_back(tmp_path: Path) -> None:
    """Deleted rows, their places in the index, and dropped things leave the file."""
    path = tmp_path / "t.db"
    async with checked_db(path) as db:
        table, _ = await indexed(db, MANY)
        await db.vacuum()
        full = path.stat().st_size
        await table.delete(range(100, MANY))
        await db.vacuum()
        tenth = path.stat().st_size
        assert tenth < full / 4
        assert await leftovers(db) == []
        assert len(await same_everywhere(table, clustered(1)[0])) == 20
        assert (await (await db.index("ix")).statistics()).tombstones == 0
        await db.drop_table("t")
        await db.vacuum()
        assert path.stat().st_size < tenth
        assert await leftovers(db) == []


async def test_a_snapshot_holds_its_rows_and_no_more(tmp_path: Path) -> None:
    """While a snapshot is held its rows stay; those that came and went since can go."""
    async with checked_db(tmp_path / "t.db") as db:
        table, _ = await indexed(db, 500)
        async with db.snapshot() as snapshot:
            await table.delete(range(400))
            await db.vacuum()
            assert (await table.statistics()).ended == 400
            assert await snapshot.count("t") == 500
        await db.vacuum()
        assert (await table.statistics()).ended == 0


async def test_replacing_rows_does_not_grow_the_file_for_ever(tmp_path: Path) -> None:
    """Rows that are written over again and again are purged by the way, nobody having asked."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=SMALL) as db:
        table, _ = await indexed(db, 200)
        sizes = []
        for turn in range(30):
            await table.upsert(range(200), clustered(200, seed=turn))
            sizes.append(path.stat().st_size + path.with_name("t.db-wal").stat().st_size)
        assert max(sizes[10:]) <= 1.5 * max(sizes[:10])


async def test_the_log_and_the_wal_stay_short(tmp_path: Path) -> None:
    """Records that nobody needs are cut off; SQLite's WAL is emptied when it has grown."""
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        table, index = await indexed(db, 200)
        for turn in range(60):
            await table.upsert(range(50), clustered(50, seed=turn))
        await filed(index)
        await db.vacuum()
        figures = await db.statistics()
        assert figures.log_records == 0
        assert figures.sqlite_wal_bytes <= SMALL.sqlite_wal_bytes + 8 * SMALL.slice_bytes


async def test_a_database_larger_than_its_cache_works() -> None:
    """With a cache of a few rows, or none, all answers are the same."""
    expected = None
    for cache_bytes in (0, 10_000, 1 << 28):
        async with checked_db(cache_bytes=cache_bytes, limits=Limits(delta_rows=500)) as db:
            table, _ = await indexed(db, ROWS, 30, codec="sq8")
            await table.delete(range(0, ROWS, 3))
            answers = [await same_everywhere(table, query) for query in clustered(5, seed=3)]
            assert (await db.statistics()).cache_bytes <= cache_bytes
            expected = expected or answers
            assert answers == expected
