"""Pause, resume, cancel, throttle, time limits: every verb in every phase, from every side."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from centroidb import (
    Index,
    InputError,
    Job,
    JobCancelled,
    JobPaused,
    NotFoundError,
    open_db,
)
from centroidb.engine.actors.rebuild import budget, static_phase
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db, resumed
from tests.support.leftovers import leftovers

from .data import clustered, indexed, same_everywhere
from .test_determinism import bytes_of_index

PHASES = ["begin", "sample", "cluster", "assign", "encode", "catch up", "verify", "swap"]
OPTIONS: dict[str, Any] = {"nlist": 9, "parallel": 2}
ROWS = 500


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that a phase has several."""
    monkeypatch.setattr(budget, "block_rows", lambda _: 50)
    monkeypatch.setattr(static_phase, "WINDOW_BLOCKS", 3)


async def reached(job: Job, phase: str) -> None:
    """Wait for the first event of a phase, or of a later one."""
    async for event in job:
        if PHASES.index(event.phase) >= PHASES.index(phase):
            return


async def rebuilt(path: Path) -> list[Any]:
    """The bytes of the index after a rebuild that nobody disturbs."""
    async with checked_db(path, limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        await index.rebuild(**OPTIONS)
        return await bytes_of_index(db)


@pytest.mark.parametrize("phase", PHASES)
async def test_paused_in_any_phase_it_goes_on_to_the_same_end(phase: str, tmp_path: Path) -> None:
    """`job.pause()` leaves a paused job in the file, and `job.resume()` ends in the same bytes."""
    expected = await rebuilt(tmp_path / "whole.db")
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        table, index = await indexed(db, ROWS)
        async with index.rebuilding(**OPTIONS) as job:
            await reached(job, phase)
            if await job.pause():
                assert [each.state for each in await db.jobs()] == ["paused", "done"]
                with pytest.raises(JobPaused):
                    _ = job.outcome
                assert (await index.statistics()).nlist == 10
                await same_everywhere(table, clustered(1, seed=3)[0])
                job.resume()
            await job.wait()
        assert await bytes_of_index(db) == expected
        assert [each.state for each in await db.jobs()] == ["done", "done"]
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("phase", PHASES)
async def test_cancelled_in_any_phase_nothing_is_left(phase: str) -> None:
    """`job.cancel()` in any phase ends in the old generation or the new one, and leaves nothing."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, ROWS)
        async with index.rebuilding(**OPTIONS) as job:
            await reached(job, phase)
            job.cancel()
        state = (await db.jobs())[0].state
        assert (await index.statistics()).nlist == (9 if state == "done" else 10)
        assert state in ("done", "cancelled")
        await same_everywhere(table, clustered(1, seed=3)[0])
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("phase", PHASES[:-1])
@pytest.mark.parametrize("verb", ["RESUME", "ABORT"])
async def test_a_statement_finds_a_paused_build_in_a_file(
    phase: str, verb: str, tmp_path: Path
) -> None:
    """Paused and closed, a build does not go on by itself at the next open, but when told to."""
    path = tmp_path / "t.db"
    async with open_db(path, limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        async with index.rebuilding(**OPTIONS) as job:
            await reached(job, phase)
            assert await job.pause()
    async with checked_db(path, limits=SMALL) as db:
        await resumed(db)
        assert (await db.jobs())[0].state == "paused"
        await db.execute(f"ALTER INDEX ix REBUILD {verb}")
        assert (await db.jobs())[0].state == ("done" if verb == "RESUME" else "cancelled")
        nlist = (await (await db.index("ix")).statistics()).nlist
        assert nlist == (9 if verb == "RESUME" else 10)
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("verb", ["PAUSE", "ABORT"])
async def test_statements_end_a_build_of_another_task(verb: str) -> None:
    """Whoever waits in `rebuild` is told that somebody paused or aborted it."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, ROWS)

        async def told() -> None:
            error = JobPaused if verb == "PAUSE" else JobCancelled
            with pytest.raises(error, match="'ix'"):
                await index.rebuild(**OPTIONS)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(told)
            await _until_building(index)
            await db.execute(f"ALTER INDEX ix REBUILD {verb}")
        state = "paused" if verb == "PAUSE" else "cancelled"
        assert (await db.jobs())[0].state == state


async def _until_building(index: Index) -> None:
    with trio.fail_after(60):
        while not (await index.statistics()).building:
            await trio.lowlevel.checkpoint()


async def test_where_there_is_no_build_the_verbs_say_so() -> None:
    """Pausing, resuming and aborting what is not there names the index."""
    async with checked_db(limits=SMALL) as db:
        await indexed(db, 100)
        for verb in ("PAUSE", "RESUME", "ABORT"):
            with pytest.raises(NotFoundError, match="'ix'"):
                await db.execute(f"ALTER INDEX ix REBUILD {verb}")


async def test_a_time_limit_pauses(mock_clock: MockClock) -> None:
    """After `max_duration` a build is paused, durably, and can be resumed without the limit."""
    with substitute(inline(3)):
        async with checked_db(limits=SMALL) as db:
            _, index = await indexed(db, ROWS)
            async with index.rebuilding(max_duration=timedelta(seconds=9), **OPTIONS) as job:
                await reached(job, "assign")
                mock_clock.jump(10)
                with pytest.raises(JobPaused):
                    await job.wait()
                assert job.paused
            assert (await db.jobs())[0].state == "paused"
            assert (await index.resume_rebuild()).nlist == 9


async def test_a_throttle_slows_and_changes_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """At 100 rows a second the rows of each phase take their seconds; the bytes are the same."""
    with substitute(inline(3)):
        expected = await rebuilt(tmp_path / "whole.db")
        async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
            _, index = await indexed(db, ROWS)
            began = trio.current_time()
            await index.rebuild(throttle=100, **OPTIONS)
            assert trio.current_time() - began > 2 * ROWS / 100
            assert await bytes_of_index(db) == expected


async def test_a_throttle_is_no_brake_on_writers(autojump_clock: MockClock) -> None:
    """A build that is slower than the writers, since it was told so, drops its throttle first."""
    with substitute(inline(4)), trio.fail_after(3_600):
        async with checked_db(limits=SMALL) as db, trio.open_nursery() as nursery:
            table, index = await indexed(db, ROWS)

            async def write() -> None:
                while True:
                    await table.upsert(range(20), clustered(20))
                    await trio.sleep(0.1)

            nursery.start_soon(write)
            outcome = await index.rebuild(throttle=100)
            nursery.cancel_scope.cancel()
            assert outcome.writers_held_s == 0
            assert outcome.rows_caught_up > 0


async def test_a_throttle_lasts_through_a_crash(tmp_path: Path) -> None:
    """A build that goes on at the next open is as wide and as slow as it was."""
    path = tmp_path / "t.db"
    async with open_db(path, limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        async with index.rebuilding(throttle=0.9, **OPTIONS) as job:
            await reached(job, "assign")
    async with checked_db(path, limits=SMALL) as db:
        await resumed(db)
        async with db.snapshot() as snapshot:
            throttles = await snapshot.view.read(
                lambda c: c.execute("SELECT throttle, parallel FROM jobs ORDER BY id").fetchall()
            )
        assert throttles[1] == ("0.9", 2)
        assert (await db.jobs())[0].state == "done"


@pytest.mark.parametrize(
    "options",
    [
        {"throttle": 0},
        {"throttle": 0.0},
        {"throttle": -3},
        {"throttle": True},
        {"throttle": "half"},
        {"throttle": float("nan")},
        {"max_duration": 0},
        {"max_duration": "a minute"},
        {"max_duration": timedelta(0)},
        {"keep_previous": -1},
        {"keep_previous": 17},
        {"keep_previous": "all"},
        {"keep_previous": timedelta(seconds=-1)},
        {"memory_bytes": 0},
        {"metric": "manhattan"},
        {"balance": "yes"},
    ],
)
async def test_what_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """A wrong option is named, with what was expected and what came; no build begins."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, 100)
        (name,) = options
        with pytest.raises(InputError, match=f"{name}: expected"):
            await index.rebuild(**options)
        assert len(await db.jobs()) == 1


async def test_a_paused_build_is_dropped_after_its_age(mock_clock: MockClock) -> None:
    """A paused build pins its snapshot for as long as the limit says, and not for ever."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        async with index.rebuilding(**OPTIONS) as job:
            await reached(job, "encode")
            assert await job.pause()
        mock_clock.jump(SMALL.unfinished_age_s + 10)
        await db.vacuum()
        assert (await db.jobs())[0].state == "cancelled"
        assert await leftovers(db) == []


async def test_the_metric_changes_at_the_swap() -> None:
    """Rebuilt for another metric, an index serves that one, and probes like brute force."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, ROWS)
        async with db.snapshot() as before:
            outcome = await index.rebuild(metric="cosine", nlist=12)
            held = await before.search("t", clustered(1)[0], 5, index="ix")
        assert outcome.nlist == 12
        figures = await index.statistics()
        assert figures.metric == "cosine"
        query = clustered(1, seed=9)[0]
        hits = await table.search(query, 20, metric="cosine", nprobe=60_000)
        exact = await table.search(query, 20, metric="cosine", exact=True)
        assert (hits.ids, hits.distances.tobytes()) == (exact.ids, exact.distances.tobytes())
        assert hits.partitions_probed == 12
        assert len(held) == 5
