"""How builds end, and what the file says of it: also when the end is disturbed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from centroidb import (
    Database,
    DiskFullError,
    Index,
    JobCancelled,
    JobPaused,
    Limits,
    NotFoundError,
    open_db,
)
from centroidb.engine.actors.monitor import QUIET_S
from centroidb.engine.actors.rebuild.rebuilder import Rebuilder
from centroidb.engine.actors.rebuild.record import JobRecord
from centroidb.wal.blocking import substitute
from tests.actors.points import held_turn, supervisor_of
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db, resumed

from .data import DIM, clustered, indexed

ROWS = 500


class Cut(BaseException):
    """What stops a process, as far as the file is concerned."""


async def paused(index: Index, **options: Any) -> None:
    """A rebuild of the index rests in the file."""
    async with index.rebuilding(**options) as job:
        async for event in job:
            if event.phase == "cluster":
                break
        assert await job.pause()


async def states(db: Database) -> list[str]:
    """The states of all jobs, newest first."""
    return [job.state for job in await db.jobs()]


async def test_what_is_altered_while_a_build_rests_holds_after_it() -> None:
    """ALTER of a paused build's index: the build keeps what was asked for, and goes on."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        await paused(index, nlist=9)
        await index.alter(keep_previous=1, auto_rebuild="off")
        await index.rebuild(nlist=9)
        assert await states(db) == ["done", "done"]
        assert (await index.statistics()).nlist == 9
        await index.rollback()
        assert (await index.statistics()).nlist == 10


async def test_a_job_is_done_in_the_transaction_of_its_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped right after the swap, a rebuild is done, in this life and in the next."""

    def tell(record: JobRecord, phase: str, rows: int, *_: Any, **__: Any) -> None:
        if (phase, rows) == ("swap", 1):
            raise Cut

    path = tmp_path / "t.db"
    with suppress(Cut, BaseExceptionGroup):
        async with open_db(path, limits=SMALL) as db:
            _, index = await indexed(db, ROWS)
            monkeypatch.setattr(JobRecord, "tell", tell)
            await index.rebuild(nlist=9)
            raise AssertionError("it was not stopped")
    monkeypatch.undo()
    async with checked_db(path, limits=SMALL) as db:
        assert await states(db) == ["done", "done"]
        assert (await (await db.index("ix")).statistics()).nlist == 9


async def test_a_dropped_build_is_not_called_interrupted(tmp_path: Path) -> None:
    """Opened with on_open="drop", no job waits for anybody."""
    async with open_db(tmp_path / "t.db", limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        await paused(index, nlist=9)
    async with checked_db(tmp_path / "t.db", limits=SMALL, on_open="drop") as db:
        assert await states(db) == ["cancelled", "done"]


async def test_a_paused_job_can_be_cancelled() -> None:
    """`job.cancel()` of a paused build drops it."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        async with index.rebuilding(nlist=9) as job:
            assert await job.pause()
            job.cancel()
        assert await states(db) == ["cancelled", "done"]
        assert supervisor_of(db).state.snapshots.horizon(db_lsn(db)) == db_lsn(db)


def db_lsn(db: Database) -> Any:
    """The LSN committed last."""
    return supervisor_of(db).state.heads.lsn


async def test_an_abort_during_a_pause_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abort that comes while a pause is being written drops the build."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        put_away, resting = Rebuilder._put_away, trio.Event()

        def put_away_seen(rebuilder: Rebuilder, error: BaseException) -> Any:
            resting.set()
            return put_away(rebuilder, error)

        async def rebuild() -> None:
            with pytest.raises((JobCancelled, JobPaused)):
                await index.rebuild(nlist=9)

        monkeypatch.setattr(Rebuilder, "_put_away", put_away_seen)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rebuild)
            while not supervisor_of(db).state.builds:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(index.pause_rebuild)
            await resting.wait()
            await index.abort_rebuild()
        assert await states(db) == ["cancelled", "done"]


async def test_a_build_that_can_not_be_put_away_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no room to say that it rests, a build rests in memory; the next one replaces it."""

    def full(rebuilder: Rebuilder, error: BaseException) -> Any:
        raise DiskFullError("no room")

    async with open_db(tmp_path / "t.db", limits=SMALL) as db:
        _, index = await indexed(db, ROWS)
        with monkeypatch.context() as patch:
            patch.setattr(Rebuilder, "_put_away", full)
            await paused(index, nlist=9)
        assert supervisor_of(db).state.indexes[index._id].unfinished is not None
        await index.rebuild(nlist=8)
    async with checked_db(tmp_path / "t.db", limits=SMALL) as db:
        await resumed(db)
        assert (await (await db.index("ix")).statistics()).nlist == 8
        assert await states(db) == ["done", "cancelled", "done"]


async def test_a_first_build_that_was_paused_waits_to_be_asked() -> None:
    """A paused first build does not go on by itself when rows come; nor one that was aborted."""
    with substitute(inline(1)):
        async with checked_db(limits=SMALL) as db:
            table = await db.create_table("t", dim=DIM)
            await table.upsert(range(ROWS), clustered(ROWS))

            async def create() -> None:
                with pytest.raises(JobPaused):
                    await table.create_index("ix", nlist=9)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(create)
                while not supervisor_of(db).state.builds:
                    await trio.lowlevel.checkpoint()
                index = await db.index("ix")
                assert await index.pause_rebuild()
            await table.upsert(0, clustered(1)[0])
            await wait_all_tasks_blocked()
            assert await states(db) == ["paused"]
            await index.abort_rebuild()
            await table.upsert(1, clustered(1)[0])
            await wait_all_tasks_blocked()
            assert await states(db) == ["cancelled"]
            await index.rebuild()
            assert await states(db) == ["done", "cancelled"]


async def test_a_first_build_that_fails_is_not_tried_at_every_commit(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    """After a failed build there is a quiet time; then the index trains itself."""
    tries = 0

    async def full(*_: Any) -> None:
        nonlocal tries
        tries += 1
        raise DiskFullError("no room")

    with substitute(inline(1)):
        async with checked_db(limits=SMALL) as db:
            table = await db.create_table("t", dim=DIM)
            index = await table.create_index("ix")
            with monkeypatch.context() as patch:
                patch.setattr(Rebuilder, "_store", full)
                for key in range(SMALL.train_rows + 10):
                    await table.upsert(key, clustered(1)[0] + np.float32(key))
                    await wait_all_tasks_blocked()
            assert tries == 1
            mock_clock.jump(QUIET_S + 1)
            await table.upsert(0, clustered(1)[0])
            await wait_all_tasks_blocked()
            assert (await index.statistics()).nlist > 0


async def test_other_limits_do_not_spoil_a_build_that_rests(tmp_path: Path) -> None:
    """Segments staged under other limits are cut otherwise: the build stages them anew."""
    path = tmp_path / "t.db"
    async with open_db(path, limits=Limits(**{**vars(SMALL), "slice_bytes": 1_024})) as db:
        _, index = await indexed(db, 3_000)
        async with index.rebuilding(nlist=9) as job:
            async for event in job:
                if event.phase == "encode" and event.rows > 1_000:
                    break
            assert await job.pause()
    async with checked_db(path, limits=SMALL) as db:
        index = await db.index("ix")
        assert (await index.resume_rebuild()).nlist == 9
        assert await states(db) == ["done", "done"]


async def test_an_index_dropped_with_its_table_in_one_group_says_so() -> None:
    """CREATE INDEX and DROP TABLE in one group: the index was there, and says it is gone."""
    async with checked_db(limits=SMALL) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS), clustered(ROWS))

        async def create() -> None:
            index = await table.create_index("ix", nlist=9)
            with pytest.raises(NotFoundError, match="was dropped"):
                await index.rebuild()

        async with trio.open_nursery() as nursery, held_turn(db):
            nursery.start_soon(create)
            await wait_all_tasks_blocked()
            nursery.start_soon(db.drop_table, "t")
            await wait_all_tasks_blocked()
        assert await db.indexes() == []
