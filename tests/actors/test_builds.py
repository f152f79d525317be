"""What a build may be asked for, on what rows, and what is written down about it."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from centroidb import Index, InputError, JobCancelled
from centroidb.engine.actors.rebuild.static_phase import StaticPhase
from tests.support.databases import SMALL, checked_db
from tests.support.leftovers import leftovers

from .points import ALL, held_turn, indexed, points, supervisor_of, until


async def test_an_emptied_table_is_rebuilt() -> None:
    """A rebuild on no rows gives an index that answers, now and when there are rows again."""
    async with checked_db(limits=SMALL) as db:
        table, index = await indexed(db, "t", 100)
        await table.delete(range(100))
        outcome = await index.rebuild()
        assert (outcome.rows, outcome.nlist) == (0, 1)
        assert len(await table.search(points(1)[0], 5)) == 0
        await table.upsert(range(10), points(10))
        assert (await table.search(points(1)[0], 1, nprobe=ALL)).ids == [0]


@pytest.mark.parametrize("options", [{"colour": 1}, {"lag": 3}])
async def test_unknown_options_are_refused(options: dict[str, Any]) -> None:
    """An option that a rebuild does not have is named, with those that it has."""
    async with checked_db() as db:
        _, index = await indexed(db, "t", 100)
        (name,) = options
        with pytest.raises(InputError, match=rf"'t': expected options among .*nlist.*, got {name}"):
            await index.rebuild(**options)
        assert len(await db.jobs()) == 1


async def _cancel_at(index: Index, phase: str) -> None:
    async with index.rebuilding(parallel=2) as job:
        async for event in job:
            if event.phase == phase:
                job.cancel()
                return


@pytest.mark.parametrize("phase", ["sample", "cluster", "assign", "encode", "catch up"])
async def test_a_cancelled_build_is_written_down_as_that(phase: str) -> None:
    """Whenever a build is cancelled, its job says so and no failure, and nothing is left of it."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, "t", 400)
        with trio.fail_after(60):
            await _cancel_at(index, phase)
        job = (await db.jobs())[0]
        assert (job.state, job.message) == ("cancelled", "")
        await db.vacuum()
        assert await leftovers(db) == []


async def test_a_group_of_cancellations_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of which several workers were cancelled is written down as cancelled too."""

    async def train(*_: object) -> None:
        raise ExceptionGroup("workers", [JobCancelled("one"), JobCancelled("other")])

    async with checked_db() as db:
        _, index = await indexed(db, "t", 100)
        monkeypatch.setattr(StaticPhase, "train", train)
        with pytest.raises(ExceptionGroup, match="workers"):
            await index.rebuild()
        assert (await db.jobs())[0].state == "cancelled"


async def test_a_drop_comes_before_the_word_of_the_interruption() -> None:
    """A build that is interrupted when its index is dropped, and says so later, leaves nothing."""
    async with checked_db(limits=SMALL) as db:
        _, index = await indexed(db, "t", 400)
        scope = trio.CancelScope()

        async def build() -> None:
            with scope:
                await index.rebuild()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(build)
            await until(
                lambda: any(each.begun.is_set() for each in supervisor_of(db).state.builds.values())
            )
            async with held_turn(db):
                nursery.start_soon(db.drop_index, "t")
                await wait_all_tasks_blocked()
                scope.cancel()
                await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        await db.vacuum()
        assert await leftovers(db) == []
