"""Space: what nobody can see any more is given back to the file system."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from centroidb import Limits, Space, open_db
from centroidb.engine.actors import sweeper
from centroidb.wal import schema
from centroidb.wal import space as wal_space
from tests.actors.points import supervisor_of
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .data import DIM, clustered, filed, indexed, same_everywhere

ROWS = 3_000
CHURNED = 2_000
MEDIUM = Limits(
    **{**vars(SMALL), "chunk_bytes": 1 << 15, "slice_bytes": 1 << 15, "delta_rows": 300}
)
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


async def test_twenty_rebuilds_leave_the_file_as_large_as_a_few(tmp_path: Path) -> None:
    """Most rows replaced between rebuilds, commits during them: the file does not grow on."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=MEDIUM) as db:
        table, index = await indexed(db, CHURNED, codec="sq8")
        sizes = []
        for turn in range(20):
            await table.upsert(range(CHURNED), clustered(CHURNED, seed=turn))
            async with index.rebuilding(nlist=10) as job:
                await anext(aiter(job))
                await table.upsert(range(100), clustered(100, seed=100 + turn))
                await job.wait()
            await supervisor_of(db).sweeper.sweep()
            await supervisor_of(db).committer.checkpoint()
            sizes.append(path.stat().st_size)
        assert max(sizes[10:]) <= max(sizes[:5]) + 5 * schema.PAGE_SIZE_BYTES
        await db.vacuum()
        assert await leftovers(db) == []
        assert len(await same_everywhere(table, clustered(1)[0])) == 20


async def test_free_pages_go_while_commits_go_on(tmp_path: Path) -> None:
    """What a dropped index frees is given back, though somebody commits all the while."""
    async with checked_db(tmp_path / "t.db", limits=MEDIUM) as db:
        table, _ = await indexed(db, MANY // 2)
        full = (await db.space()).file_bytes

        async def commit(task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            while True:
                await table.upsert([0], clustered(1))

        async with trio.open_nursery() as nursery:
            await nursery.start(commit)
            await db.drop_index("ix")
            await supervisor_of(db).sweeper.sweep()
            nursery.cancel_scope.cancel()
        after = await db.space()
        assert after.file_bytes < 0.8 * full
        assert after.indexes == {}
        assert after.free_bytes <= 5 * max(MEDIUM.slice_bytes, schema.PAGE_SIZE_BYTES)


async def test_a_wal_that_begins_anew_is_cut(tmp_path: Path) -> None:
    """A WAL that grew beside foreign readers is short as soon as SQLite writes it from the start.

    It does so when all of it is in the file and the last reader has gone, before a checkpoint.
    """
    path = tmp_path / "t.db"
    limit = Limits().sqlite_wal_bytes
    async with checked_db(path) as db:
        table = await db.create_table("t", dim=DIM)
        async with open_db(path, read_only=True) as foreign:
            async with AsyncExitStack() as late:
                async with foreign.snapshot():
                    for turn in range(12):
                        await table.upsert(range(5_000), clustered(5_000, seed=turn))
                    await supervisor_of(db).sweeper.sweep()  # or it would write on
                    await late.enter_async_context(foreign.snapshot())
                await supervisor_of(db).committer.checkpoint()
                assert (await db.statistics()).sqlite_wal_bytes > 3 * limit
            sizes = []
            for rows in (10, *[3_000] * 20):
                await table.upsert(range(rows), clustered(rows, seed=rows))
                sizes.append((await db.statistics()).sqlite_wal_bytes)
        assert sizes[0] <= limit
        assert max(sizes) <= 2 * limit + 2 * Limits().chunk_bytes


async def test_old_jobs_are_forgotten() -> None:
    """Of each index the last jobs stay, and none that another index has is counted."""
    limits = Limits(**{**vars(SMALL), "jobs_kept": 3, "gate_rows": 1_000})
    async with checked_db(limits=limits) as db:
        table, index = await indexed(db, 100, nlist=3)
        await table.create_index("other", nlist=3)
        for seed in range(5):
            await index.rebuild(seed=seed)
        await db.vacuum()
        assert [(job.index, job.id) for job in await db.jobs()] == [
            ("ix", 7),
            ("ix", 6),
            ("ix", 5),
            ("other", 2),
        ]


async def test_a_long_log_is_cut_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records, and keys of commits, that nobody needs all go, however few at a time."""
    monkeypatch.setattr(sweeper, "LSNS_A_SLICE", 7)
    limits = Limits(**{**vars(SMALL), "commits_kept": 10})
    async with checked_db(limits=limits) as db:
        table = await db.create_table("t", dim=DIM)
        for key in range(50):
            await table.upsert([key], clustered(1), idempotency_key=f"key {key}")
        await db.vacuum()
        assert (await db.statistics()).log_records == 0
        kept = await db._source.read_alone(
            lambda c: c.execute("SELECT lsn FROM commits").fetchall()
        )
        assert [lsn for (lsn,) in kept] == list(range(42, 52))


def _sum_of_kinds(space: Space) -> int:
    return sum(
        value
        for name, value in vars(space).items()
        if name.endswith("_bytes") and name != "file_bytes"
    )


@pytest.mark.parametrize("counted_by", ["pages", "content"])
async def test_space_says_what_each_thing_costs(
    counted_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything in the file is named, adds up to the file, and grows with what it is of."""
    if counted_by == "content":
        monkeypatch.setattr(wal_space, "has_dbstat", lambda _: False)
    async with checked_db(tmp_path / "t.db") as db:
        table, index = await indexed(db, 3_000, codec="flat")
        await table.update_payloads(1, {"n": 1}, idempotency_key="once")
        await db.vacuum()
        before = await db.space()
        assert before.counted_by == counted_by
        assert before.file_bytes == (await db.statistics()).file_bytes == _sum_of_kinds(before)
        vectors = 3_000 * DIM * 4
        assert vectors < before.rows_bytes == before.tables["t"].rows_bytes < 3 * vectors
        assert vectors < before.indexes["ix"].segments_bytes < 2 * vectors
        assert before.segments_bytes >= before.indexes["ix"].segments_bytes
        assert before.indexes["ix"].centroids_bytes == 10 * DIM * 4
        assert before.indexes["ix"].generations == 1
        assert min(before.live_keys_bytes, before.log_bytes + before.commits_bytes) > 0
        assert min(before.jobs_bytes, before.catalog_bytes, before.centroids_bytes) > 0
        async with db.snapshot():
            await table.delete(range(2_000))
            async with index.rebuilding(nlist=5) as job:
                async for event in job:
                    if event.phase == "encode":
                        break
            held = await db.space()
            assert held.rows_bytes >= before.rows_bytes
            assert held.deaths_bytes > before.deaths_bytes
            if counted_by == "content":  # they may fit in the pages of the empty table
                assert held.slices_bytes > before.slices_bytes == 0
            assert held.indexes["ix"].generations == 2
        assert "counted_by" in str(held)


async def test_space_of_a_foreign_file_and_of_what_was_dropped(tmp_path: Path) -> None:
    """A file opened read-only is counted too; what was dropped is in no table's bytes."""
    path = tmp_path / "t.db"
    async with checked_db(path) as db:
        table, _ = await indexed(db, 500)
        async with open_db(path, read_only=True) as foreign:
            assert await foreign.space() == await db.space()
            async with db.snapshot():
                await db.drop_table("t")
                dropped = await db.space()
                assert (dropped.tables, dropped.indexes) == ({}, {})
                assert dropped.rows_bytes > 500 * DIM * 4
        assert table.name == "t"
