"""Builds that are cut short go on: at any durable step, to the generation they would have made."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from centroidb import Database, Index, JobCancelled, Limits, open_db
from centroidb.engine.actors.committer import Committer
from centroidb.engine.actors.rebuild import budget, static_phase
from centroidb.engine.actors.rebuild.static_phase import StaticPhase
from tests.support.databases import SMALL, checked_db, resumed
from tests.support.leftovers import leftovers

from .data import DIM, clustered
from .test_determinism import bytes_of_index

ROWS = 600
TINY = Limits(**{**vars(SMALL), "slice_bytes": 2_048})
OPTIONS: dict[str, Any] = {"nlist": 9, "min_vectors_per_partition": 40}
STOPS = range(1, 38)
"""Such a build writes some forty times."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that there are several windows of assignments."""
    monkeypatch.setattr(budget, "block_rows", lambda _: 40)
    monkeypatch.setattr(static_phase, "WINDOW_BLOCKS", 3)


class Cut(BaseException):
    """What stops a process, as far as the file is concerned."""


async def filled(path: Path) -> None:
    """A table with an index of another shape than the rebuild makes."""
    async with open_db(path, limits=TINY) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS), clustered(ROWS))
        await table.delete(range(0, ROWS, 7))
        await table.create_index("ix", nlist=5)


async def rebuilt(path: Path, parallel: int) -> list[Any]:
    """What a rebuild that nothing interrupts makes of the same rows."""
    await filled(path)
    async with checked_db(path, limits=TINY) as db:
        await (await db.index("ix")).rebuild(parallel=parallel, **OPTIONS)
        return await bytes_of_index(db)


def cut_after(writes: int, patch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """From now on the write with this number stops the database as a crash would."""
    write, left = Committer.write, writes
    crashed = False

    async def counted(self: Committer, work: Callable[[sqlite3.Connection], Any]) -> Any:
        nonlocal left, crashed
        if crashed:
            raise Cut
        result = await write(self, work)
        left -= 1
        if left == 0:
            crashed = True
            self._state.fail(OSError("crashed"))  # type: ignore[arg-type]  # nothing is tidied up
            raise Cut
        return result

    patch.setattr(Committer, "write", counted)
    return lambda: crashed


async def cut_short(path: Path, writes: int, patch: pytest.MonkeyPatch) -> bool:
    """A rebuild that stops after so many writes; False when it was done before."""
    with patch.context() as local:
        try:
            async with open_db(path, limits=TINY) as db:
                index = await db.index("ix")
                crashed = cut_after(writes, local)
                await index.rebuild(parallel=2, **OPTIONS)
        except (Cut, BaseExceptionGroup):
            pass
    return crashed()


@pytest.mark.parametrize("writes", STOPS)
async def test_a_build_goes_on_from_any_durable_step(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after any write, a build ends at the next open, in the same bytes, at any width."""
    expected = await rebuilt(tmp_path / "whole.db", parallel=1)
    path = tmp_path / "cut.db"
    await filled(path)
    crashed = await cut_short(path, writes, monkeypatch)

    async with checked_db(path, limits=TINY) as db:
        await resumed(db)
        assert await bytes_of_index(db) == expected
        jobs = await db.jobs()
        assert [job.state for job in jobs] == ["done", "done"]
        assert crashed
        await db.vacuum()
        assert await leftovers(db) == []


async def test_what_was_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that goes on in the catch-up trains nothing and assigns nothing anew."""
    path = tmp_path / "t.db"
    await filled(path)
    async with open_db(path, limits=TINY) as db:
        await _interrupted_at(await db.index("ix"), "catch up")

    def never(*_: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(StaticPhase, "_means", never)
    monkeypatch.setattr(StaticPhase, "_read_span", never)
    monkeypatch.setattr(StaticPhase, "encode", never)
    async with checked_db(path, limits=TINY) as db:
        await resumed(db)
        assert [job.state for job in await db.jobs()] == ["done", "done"]


async def _interrupted_at(index: Index, phase: str) -> None:
    async with index.rebuilding(**OPTIONS) as job:
        async for event in job:
            if event.phase == phase:
                return


@pytest.mark.parametrize("phase", ["sample", "cluster", "assign", "encode", "catch up", "verify"])
@pytest.mark.parametrize("reopened", [False, True])
async def test_writes_meanwhile_are_caught_up(phase: str, reopened: bool, tmp_path: Path) -> None:
    """Rows written before and after the interruption are all in the generation, each once."""
    path = tmp_path / "t.db"
    await filled(path)
    async with checked_db(path, limits=TINY) as db:
        await _interrupted_at(await db.index("ix"), phase)
        await _write(db)
        if not reopened:
            await (await db.index("ix")).rebuild(**OPTIONS)
            found = await _partitions(db)
    if reopened:
        async with checked_db(path, limits=TINY) as db:
            await resumed(db)
            found = await _partitions(db)
    assert found == await _uninterrupted(tmp_path / "whole.db")


async def test_windows_of_other_blocks_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that goes on with blocks of another size takes none of the windows it finds."""
    expected = await rebuilt(tmp_path / "whole.db", parallel=1)
    path = tmp_path / "cut.db"
    await filled(path)
    async with open_db(path, limits=TINY) as db:
        await _interrupted_at(await db.index("ix"), "encode")
    monkeypatch.setattr(budget, "block_rows", lambda _: 70)
    async with checked_db(path, limits=TINY) as db:
        await resumed(db)
        assert await bytes_of_index(db) == expected


async def _write(db: Database) -> None:
    table = await db.table("t")
    await table.upsert(range(500, 700), clustered(200, seed=5))
    await table.delete(range(20))


async def _uninterrupted(path: Path) -> Any:
    await filled(path)
    async with checked_db(path, limits=TINY) as db:
        async with (
            trio.open_nursery() as nursery,
            (await db.index("ix")).rebuilding(**OPTIONS) as job,
        ):
            await anext(aiter(job))
            nursery.start_soon(_write, db)
            await job.wait()
        return await _partitions(db)


async def _partitions(db: Database) -> Any:
    index, table = await db.index("ix"), await db.table("t")
    keys = sorted([row.id async for row in table.iterate()])
    centroids = [part.centroid.tobytes() for part in await index.partitions()]
    return centroids, keys, (await index.partition_of(keys)).tolist()


async def test_other_parameters_begin_anew(tmp_path: Path) -> None:
    """A rebuild with other parameters drops what was cut short, and leaves nothing of it."""
    async with checked_db(tmp_path / "t.db", limits=TINY) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS), clustered(ROWS))
        index = await table.create_index("ix", nlist=5)
        await _interrupted_at(index, "encode")
        outcome = await index.rebuild(nlist=12)
        assert outcome.nlist == 12
        assert [job.state for job in await db.jobs()] == ["done", "cancelled", "done"]
        await db.vacuum()
        assert await leftovers(db) == []


@pytest.mark.parametrize("drop", ["index", "table"])
async def test_a_drop_takes_what_was_cut_short_along(drop: str, tmp_path: Path) -> None:
    """Nothing of an interrupted build is left when its index or its table is dropped."""
    async with checked_db(tmp_path / "t.db", limits=TINY) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS), clustered(ROWS))
        index = await table.create_index("ix", nlist=5)
        await _interrupted_at(index, "encode")
        await (db.drop_index("ix") if drop == "index" else db.drop_table("t"))
        await db.vacuum()
        assert await leftovers(db) == []


async def test_damaged_slices_cost_the_build(tmp_path: Path) -> None:
    """A slice that is damaged ends the build that goes on; the old generation stays."""
    path = tmp_path / "t.db"
    await filled(path)
    async with open_db(path, limits=TINY) as db:
        await _interrupted_at(await db.index("ix"), "encode")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE slices SET data = zeroblob(length(data))")
    connection.close()
    async with checked_db(path, limits=TINY) as db:
        await resumed(db)
        assert [job.state for job in await db.jobs()] == ["failed", "done"]
        assert (await (await db.index("ix")).statistics()).nlist == 5
        await db.vacuum()
        assert await leftovers(db) == []


async def test_a_build_that_nobody_takes_up_is_dropped(mock_clock: MockClock) -> None:
    """After its age an interrupted build holds nothing back, and leaves nothing."""
    async with checked_db(limits=TINY) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS), clustered(ROWS))
        index = await table.create_index("ix", nlist=5)
        await _interrupted_at(index, "encode")
        await table.delete(range(50))
        mock_clock.jump(TINY.unfinished_age_s - 10)
        await db.vacuum()
        assert (await db.jobs())[0].state == "interrupted"
        mock_clock.jump(20)
        await db.vacuum()
        assert (await db.jobs())[0].state == "cancelled"
        assert await leftovers(db) == []
        await index.rebuild(**OPTIONS)


async def test_a_job_that_is_cancelled_does_not_go_on(tmp_path: Path) -> None:
    """`job.cancel()` drops what was done: there is nothing to take up."""
    async with checked_db(tmp_path / "t.db", limits=TINY) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS), clustered(ROWS))
        index = await table.create_index("ix", nlist=5)
        async with index.rebuilding(**OPTIONS) as job:
            async for event in job:
                if event.phase == "encode":
                    job.cancel()
        with pytest.raises(JobCancelled):
            _ = job.outcome
        await db.vacuum()
        assert await leftovers(db) == []
