"""A rollback: the generation before takes over again, and nobody loses a row or an answer."""

import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from centroidb import BusyError, Database, Index, NotFoundError, Table, open_db
from centroidb.engine.actors.committer import Committer
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .data import ALL, DIM, clustered, indexed, same_everywhere

SEEDS = range(5)


async def rebuilt(db: Database, rows: int = 300) -> tuple[Table, Index]:
    """An index of 10 partitions, rebuilt to 7, the first generation kept."""
    table, index = await indexed(db, rows)
    await index.rebuild(nlist=7, keep_previous=1)
    return table, index


async def change(table: Table, seed: int = 5) -> None:
    """New rows, other rows, fewer rows."""
    await table.upsert(range(200, 420), clustered(220, seed=seed))
    await table.delete(range(0, 90, 2))


async def test_the_generation_before_takes_over() -> None:
    """Rolled back, an index has its old partitions, with all that was written since."""
    async with checked_db(limits=SMALL) as db:
        table, index = await rebuilt(db)
        await change(table)
        outcome = await index.rollback()
        assert (outcome.nlist, outcome.generation) == (10, 1)
        assert (await index.statistics()).nlist == 10
        assert sum(part.rows for part in await index.partitions()) >= await table.count()
        await same_everywhere(table, clustered(1, seed=2)[0])
        assert next((job.kind, job.state) for job in await db.jobs()) == ("rollback", "done")


async def test_a_second_rollback_undoes_the_first() -> None:
    """The generation that was rolled back from is kept in turn."""
    async with checked_db(limits=SMALL) as db:
        table, _index = await rebuilt(db)
        for nlist in (10, 7, 10):
            await change(table, seed=nlist)
            assert (await db.execute("ALTER INDEX ix ROLLBACK")).nlist == nlist
            await same_everywhere(table, clustered(1, seed=nlist)[0])
        await db.vacuum()
        await same_everywhere(table, clustered(1, seed=2)[0])


async def test_without_a_kept_generation_there_is_none() -> None:
    """A rebuild keeps nothing unless it is told to, and then a rollback says so."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 300)
        await index.rebuild(nlist=7)
        with pytest.raises(NotFoundError, match=r"'ix'.*keep_previous"):
            await index.rollback()
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("purged", [False, True])
async def test_it_works_after_a_reopen(purged: bool, tmp_path: Path) -> None:
    """A kept generation is found again at the next open, also when rows were purged meanwhile."""
    path = tmp_path / "t.db"
    async with checked_db(path, limits=SMALL) as db:
        table, _ = await rebuilt(db)
        await change(table)
        if purged:
            await db.vacuum()
    async with checked_db(path, limits=SMALL) as db:
        table, index = await db.table("t"), await db.index("ix")
        await change(table, seed=6)
        assert (await index.rollback()).nlist == 10
        await same_everywhere(table, clustered(1, seed=2)[0])
        await db.vacuum()
        await same_everywhere(table, clustered(1, seed=2)[0])


async def test_as_many_are_kept_as_were_asked_for() -> None:
    """With keep_previous=2 the third generation back goes; with 0 all go."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 300)
        for nlist in (4, 5, 6):
            await index.rebuild(nlist=nlist, keep_previous=2)
        await db.vacuum()
        assert await _states(db) == {2: "kept", 3: "kept", 4: "active"}
        assert (await index.rollback()).nlist == 5
        await index.rebuild(nlist=8, keep_previous=0)
        await db.vacuum()
        assert await leftovers(db) == []


async def _states(db: Database) -> dict[int, str]:
    async with db.snapshot() as snapshot:
        rows = await snapshot.view.read(
            lambda c: c.execute("SELECT id, state FROM generations").fetchall()
        )
    return dict(rows)


async def test_kept_generations_go_at_their_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """With keep_previous=timedelta a generation is kept for so long."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 300)
        await index.rebuild(nlist=7, keep_previous=timedelta(hours=1))
        await db.vacuum()
        assert set((await _states(db)).values()) == {"kept", "active"}
        now_ns = time.time_ns()
        monkeypatch.setattr(time, "time_ns", lambda: now_ns + 3_700 * 10**9)
        await db.vacuum()
        assert set((await _states(db)).values()) == {"active"}
        with pytest.raises(NotFoundError):
            await index.rollback()


async def test_held_snapshots_answer_as_before() -> None:
    """A snapshot answers the same before and after a rebuild, a rollback, purges and a fold."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, 300)
        query = clustered(1, seed=4)[0]
        async with db.snapshot() as first:
            before = await first.search("t", query, 9, nprobe=3)
            await index.rebuild(nlist=7, keep_previous=1)
            await change(table)
            async with db.snapshot() as second:
                between = await second.search("t", query, 9, nprobe=3)
                await index.rollback()
                await change(table, seed=8)
                await db.vacuum()
                for snapshot, answer in ((first, before), (second, between)):
                    again = await snapshot.search("t", query, 9, nprobe=3)
                    assert again.distances.tobytes() == answer.distances.tobytes()
                    exact = await snapshot.search("t", query, 9, exact=True)
                    every = await snapshot.search("t", query, 9, nprobe=ALL)
                    assert (exact.ids, exact.distances.tobytes()) == (
                        every.ids,
                        every.distances.tobytes(),
                    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_under_writes_nothing_is_lost(seed: int) -> None:
    """Writers, readers and sweeps go on while generations take turns: every read is exact."""
    with substitute(inline(seed)), trio.fail_after(120):
        async with checked_db(limits=SMALL) as db:
            table, index = await rebuilt(db)
            done = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_write, table, done, seed)
                nursery.start_soon(_tend, db, done)
                for _ in range(4):
                    await index.rollback()
                    await same_in_one_snapshot(db, seed)
                done.set()
            await same_everywhere(table, clustered(1, seed=1)[0])


async def _write(table: Table, done: trio.Event, seed: int) -> None:
    random = np.random.default_rng(seed)
    while not done.is_set():
        await table.upsert(random.integers(0, 500, 12), clustered(12, seed=seed))
        await table.delete(random.integers(0, 500, 5))


async def _tend(db: Database, done: trio.Event) -> None:
    while not done.is_set():
        await db.vacuum()
        assert (await db.check()).errors == ()


async def same_in_one_snapshot(db: Database, seed: int) -> None:
    """Probing all partitions equals brute force."""
    query = clustered(1, dim=DIM, seed=seed)[0]
    async with db.snapshot() as snapshot:
        hits = await snapshot.search("t", query, 9, nprobe=ALL)
        exact = await snapshot.search("t", query, 9, exact=True)
        assert (hits.ids, hits.distances.tobytes()) == (exact.ids, exact.distances.tobytes())


@pytest.mark.parametrize("writes", range(1, 9))
async def test_cut_short_it_has_changed_nothing(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled after any of its writes, a rollback leaves one generation active, whole."""
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        table, index = await rebuilt(db)
        await change(table)
        await change(table, seed=6)
        with trio.CancelScope() as scope, monkeypatch.context() as patch:
            _cancel_after(writes, scope, patch)
            await index.rollback()
        assert (await db.jobs())[0].state in ("cancelled", "done")
        await same_everywhere(table, clustered(1, seed=2)[0])
        await index.rollback()
        await same_everywhere(table, clustered(1, seed=2)[0])
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        await same_everywhere(await db.table("t"), clustered(1, seed=2)[0])


def _cancel_after(writes: int, scope: trio.CancelScope, patch: pytest.MonkeyPatch) -> None:
    write, left = Committer.write, writes

    async def counted(self: Committer, work: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            scope.cancel()
        return await write(self, work)

    patch.setattr(Committer, "write", counted)


async def test_one_job_at_a_time() -> None:
    """While an index is rebuilt it can not be rolled back."""
    async with checked_db(limits=SMALL) as db:
        _, index = await rebuilt(db)
        async with index.rebuilding() as job:
            await anext(aiter(job))
            with pytest.raises(BusyError):
                await index.rollback()


async def test_a_drop_takes_kept_generations_along() -> None:
    """Nothing is left of an index that was dropped, nor of the generations it kept."""
    async with checked_db(limits=SMALL) as db:
        await rebuilt(db)
        await db.drop_index("ix")
        await db.vacuum()
        assert await leftovers(db) == []
        assert await _states(db) == {}


async def test_a_damaged_kept_generation_is_not_offered(tmp_path: Path) -> None:
    """A kept generation with a segment missing is left out; the active one is not touched."""
    path = tmp_path / "t.db"
    async with open_db(path, limits=SMALL) as db:
        await rebuilt(db)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM partitions WHERE id = (SELECT min(id) FROM partitions)")
    connection.close()
    async with open_db(path, limits=SMALL) as db:
        with pytest.raises(NotFoundError):
            await (await db.index("ix")).rollback()
        await same_everywhere(await db.table("t"), clustered(1, seed=2)[0])
