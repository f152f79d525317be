"""REBUILD ONLINE, seen from outside: events, jobs, and everything else that goes on meanwhile."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from centroidb import (
    BusyError,
    ClosedError,
    Database,
    Event,
    Index,
    JobCancelled,
    Limits,
    NotFoundError,
    Table,
    open_db,
)
from centroidb.engine.actors.indexer import Indexer
from centroidb.engine.actors.rebuild.record import JobRecord
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db, resumed
from tests.support.leftovers import leftovers

from .data import ALL, DIM, clustered, filed, indexed, same_everywhere

PHASES = ["begin", "sample", "cluster", "assign", "encode", "catch up", "verify", "swap"]
SEEDS = range(8)
SHORT_LAG: Limits = replace(SMALL, lag_rows=10, catch_up_rows=1_000)
"""A swap may leave a hundred times what writers may run ahead."""


async def events_of(index: Index) -> list[Event]:
    """All events of a rebuild."""
    async with index.rebuilding(parallel=2) as job:
        return [event async for event in job]


async def test_events_come_in_the_order_of_the_phases() -> None:
    """Phases follow one another, the fraction grows to one, rows never pass their total."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 500)
        events = await events_of(index)
        phases = list(dict.fromkeys(event.phase for event in events))
        assert phases == [phase for phase in PHASES if phase in phases]
        assert {"cluster", "assign", "encode", "catch up", "verify", "swap"} <= set(phases)
        fractions = [event.fraction for event in events]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1
        assert all(0 <= event.rows <= event.rows_total for event in events)
        assert [e.elapsed_s for e in events] == sorted(e.elapsed_s for e in events)
        assert events[-1].eta_s == 0


async def test_the_outcome_says_what_was_built() -> None:
    """Rows, partitions and imbalance of the outcome are those of the index."""
    async with checked_db() as db:
        table, index = await indexed(db, 500)
        async with index.rebuilding(nlist=7) as job:
            with pytest.raises(JobCancelled, match="not done"):
                _ = job.outcome
            outcome = await job.wait()
        assert outcome == job.outcome
        assert (outcome.index, outcome.nlist, outcome.rows) == ("ix", 7, 500)
        figures = await index.statistics()
        assert (figures.generation, figures.nlist) == (outcome.generation, 7)
        assert figures.imbalance == outcome.imbalance_after
        assert sum(part.rows for part in await index.partitions()) == 500
        assert await table.count() == 500


async def test_new_parameters_stay() -> None:
    """Parameters given to a rebuild are kept for the next one; nlist is worked out anew."""
    async with checked_db() as db:
        _, index = await indexed(db, 400, codec="flat")
        await index.rebuild(codec="sq8", seed=9, nlist=5)
        assert (await index.statistics()).codec == "sq8"
        outcome = await index.rebuild()
        assert (await index.statistics()).codec == "sq8"
        assert outcome.nlist == 20


async def test_jobs_can_be_read_from_the_database(tmp_path: Path) -> None:
    """A job runs in the table of jobs while it runs, and is done, or cancelled, afterwards."""
    async with checked_db(tmp_path / "t.db") as db:
        _, index = await indexed(db, 500)
        async with index.rebuilding() as job:
            await anext(aiter(job))
            newest, first = await db.jobs()
            assert (newest.state, newest.index, newest.parallel > 0) == ("running", "ix", True)
            assert first.state == "done"
            async with open_db(tmp_path / "t.db", read_only=True) as reader:
                assert (await reader.jobs())[0].id == newest.id
            job.cancel()
            with pytest.raises(JobCancelled):
                await job.wait()
        assert [each.state for each in await db.jobs()] == ["cancelled", "done"]
        await index.rebuild()
        assert [each.state for each in await db.jobs()] == ["done", "cancelled", "done"]
        assert (await db.jobs())[0].fraction == 1
        await db.drop_index("ix")
        await db.vacuum()
        assert await db.jobs() == []


async def test_one_build_at_a_time() -> None:
    """A second rebuild of an index is refused while one runs; another index can be built."""
    async with checked_db() as db:
        table, index = await indexed(db, 500)
        await table.create_index("other", nlist=4)
        async with index.rebuilding() as job:
            assert (await db.jobs())[0].state == "running"
            assert (await index.statistics()).building
            with pytest.raises(BusyError, match="'ix' is being built"):
                await index.rebuild()
            await (await db.index("other")).rebuild()
            await job.wait()
        assert not (await index.statistics()).building
        await index.rebuild()


async def test_leaving_the_block_interrupts() -> None:
    """A block that is left before the build is done leaves the index as it was; it can go on."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 500)
        before = await index.statistics()
        async with index.rebuilding() as job:
            await anext(aiter(job))
        with pytest.raises(JobCancelled):
            _ = job.outcome
        assert await index.statistics() == before
        assert (await db.jobs())[0].state == "interrupted"
        await index.rebuild()
        assert [job.state for job in await db.jobs()] == ["done", "done"]
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("drop", ["index", "table"])
async def test_dropping_ends_a_build(drop: str) -> None:
    """Whoever waits for a build of something that is dropped is told so; nothing is left."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 500)
        with pytest.raises(JobCancelled):
            await _drop_during_a_build(db, index, drop)
        await db.vacuum()
        assert await leftovers(db) == []


async def _drop_during_a_build(db: Database, index: Index, drop: str) -> None:
    async with index.rebuilding() as job:
        await anext(aiter(job))
        await (db.drop_index("ix") if drop == "index" else db.drop_table("t"))
        await job.wait()


@pytest.mark.parametrize("on_open", ["resume", "drop"])
async def test_closing_interrupts_a_build(on_open: str, tmp_path: Path) -> None:
    """Closed during a build, a database is one file; at open the build goes on or is dropped."""
    async with trio.open_nursery() as nursery, open_db(tmp_path / "t.db", limits=SMALL) as db:
        _, index = await indexed(db, 500)
        generation = (await index.statistics()).generation
        begun = trio.Event()
        nursery.start_soon(_closed_during_a_build, index, begun)
        await begun.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["t.db"]
    async with checked_db(tmp_path / "t.db", limits=SMALL, on_open=on_open) as db:
        await resumed(db)
        await db.vacuum()
        assert await leftovers(db) == []
        now = (await (await db.index("ix")).statistics()).generation
        assert (now == generation) == (on_open == "drop")
        assert (await db.jobs())[0].state == ("done" if on_open == "resume" else "cancelled")


async def _closed_during_a_build(index: Index, begun: trio.Event) -> None:
    with pytest.raises(ClosedError):
        await _build(index, begun)


async def _build(index: Index, begun: trio.Event) -> None:
    async with index.rebuilding() as job:
        async for _ in job:
            begun.set()
        await job.wait()


async def write(table: Table, done: trio.Event, seed: int) -> None:
    """Upsert, delete and update until a build is done."""
    random = np.random.default_rng(seed)
    while not done.is_set():
        keys = random.integers(0, 400, 12)
        await table.upsert(keys, clustered(12, seed=int(random.integers(1 << 30))))
        await table.delete(random.integers(0, 400, 3))
        with suppress(NotFoundError):
            await table.update_payloads(int(random.integers(0, 400)), "new")


async def read(db: Database, table: Table, done: trio.Event) -> None:
    """Search all partitions and exactly in one snapshot until a build is done: equal answers."""
    while not done.is_set():
        async with db.snapshot() as snapshot:
            query = clustered(1, seed=int(snapshot.lsn))[0]
            hits = await snapshot.search("t", query, 9, nprobe=ALL)
            some = await snapshot.search("t", query, 9, nprobe=2)
            exact = await snapshot.search("t", query, 9, exact=True)
            assert hits.partitions_probed > 0
            assert (hits.ids, hits.distances.tobytes()) == (exact.ids, exact.distances.tobytes())
            again = await snapshot.search("t", query, 9, nprobe=2)
            assert (some.ids, some.distances.tobytes()) == (again.ids, again.distances.tobytes())
        await table.search(query)


async def tend(db: Database, done: trio.Event) -> None:
    """Check and vacuum until a build is done: nothing is ever wrong."""
    while not done.is_set():
        assert (await db.check()).errors == ()
        await db.vacuum()


@pytest.mark.parametrize("seed", SEEDS)
async def test_writers_and_readers_go_on(seed: int) -> None:
    """While rebuilds follow one another, every read is exact and every write is kept."""
    with substitute(inline(seed)):
        async with checked_db(limits=SMALL) as db:
            table, index = await indexed(db, 300)
            done = trio.Event()
            async with trio.open_nursery() as nursery:
                for writer in range(2):
                    nursery.start_soon(write, table, done, 10 * seed + writer)
                nursery.start_soon(read, db, table, done)
                nursery.start_soon(tend, db, done)
                caught_up = 0
                for parallel in (1, 2, 4):
                    outcome = await index.rebuild(parallel=parallel)
                    caught_up += outcome.rows_caught_up
                    assert await index.statistics()
                done.set()
            assert caught_up > 0, "nobody wrote meanwhile"
            await same_everywhere(table, clustered(1, seed=1)[0])


async def test_writers_and_readers_go_on_in_threads() -> None:
    """The same with real threads."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, 300)
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            for writer in range(3):
                nursery.start_soon(write, table, done, writer)
            for _ in range(2):
                nursery.start_soon(read, db, table, done)
            for parallel in (1, 2):
                await index.rebuild(parallel=parallel)
            done.set()
        await same_everywhere(table, clustered(1, seed=1)[0])


async def test_a_rebuild_of_no_rows() -> None:
    """A table that was emptied can be rebuilt, and filled again."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, 100, 4)
        await table.delete(range(100))
        outcome = await index.rebuild()
        assert (outcome.rows, outcome.nlist) == (0, 1)
        assert await same_everywhere(table, clustered(1)[0]) == []
        await table.upsert(range(50), clustered(50))
        assert len(await same_everywhere(table, clustered(1)[0])) == 20
        assert (await index.rebuild(nlist=5)).rows == 50


async def test_rows_far_apart_and_all_the_same() -> None:
    """Rows that are all equal, and fewer of them than partitions wanted, make an index."""
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(60), np.ones((60, DIM)))
        index = await table.create_index("ix", nlist=20)
        assert (await table.search(np.ones(DIM), 60, nprobe=ALL)).ids == list(range(60))
        await table.delete(range(5, 60))
        await index.rebuild(nlist=30)
        assert (await table.search(np.ones(DIM), 60, nprobe=ALL)).ids == list(range(5))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_swap_behind_a_lag_holds_nobody_for_ever(seed: int) -> None:
    """Writers go on after a swap that leaves more rows to file than they may run ahead."""
    with substitute(inline(seed)), trio.fail_after(60):
        async with checked_db(limits=SHORT_LAG) as db:
            table, index = await indexed(db, 200, 5)
            done = trio.Event()
            async with trio.open_nursery() as nursery:
                for writer in range(4):
                    nursery.start_soon(write, table, done, 10 * seed + writer)
                await index.rebuild()
                await index.rebuild()
                done.set()


async def test_rows_left_by_a_swap_are_filed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that wait in the new generation are filed, though nobody commits any more."""
    report = JobRecord.report

    async def report_and_write(record: JobRecord, phase: Any, *args: Any, **options: Any) -> None:
        await report(record, phase, *args, **options)
        if (phase, *args) == ("swap", 0, 1):
            await table.upsert(range(100), clustered(100, seed=2))
            await filed(index)  # in the old generation: the Indexer is at rest

    with substitute(inline(1)), trio.fail_after(60):
        async with checked_db(limits=SHORT_LAG) as db:
            table, index = await indexed(db, 200, 5)
            monkeypatch.setattr(JobRecord, "report", report_and_write)
            await index.rebuild()
            await filed(index)
            await table.upsert(1, clustered(1)[0])


async def test_a_swap_that_leaves_nothing_frees_those_who_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Writers who wait for the old generation go on when the new one has nothing to file."""
    with substitute(inline(1)), trio.fail_after(60):
        async with checked_db(limits=SHORT_LAG) as db, trio.open_nursery() as nursery:
            table, index = await indexed(db, 200, 5)
            await filed(index)
            monkeypatch.setattr(Indexer, "step", lambda _: None)  # it files nothing
            await table.upsert(range(20), clustered(20))
            nursery.start_soon(table.upsert, range(20), clustered(20))
            await wait_all_tasks_blocked()
            await index.rebuild()
