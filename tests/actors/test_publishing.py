"""Publishing: what a group has written is shown, and what it was refused is told, to each alone."""

import trio
from trio.testing import wait_all_tasks_blocked

from centroidb import CentroiDBError, Database, DiskFullError
from centroidb.txn.writes import CommitRequest, Outcome, Write
from centroidb.wal.rows import Rows
from centroidb.wal.types import TableId
from tests.support.databases import checked_db

from .points import filled, held_turn, points, set_room, supervisor_of

N = 3_000
"""More row versions than the array of deaths first has room for."""


def _rewrite(table: TableId) -> CommitRequest:
    rows = Rows.of(range(N), [None] * N, points(N))
    return CommitRequest([Write(table, rows)])


async def _commit(
    db: Database, request: CommitRequest, answers: list[Outcome | CentroiDBError]
) -> None:
    try:
        answers.append(await supervisor_of(db).committer.commit(request))
    except CentroiDBError as error:
        answers.append(error)


async def test_a_group_that_drops_the_table_it_writes_to() -> None:
    """Rows written and ended in a group that also drops their table are published, and answered."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=3)
        answers: list[Outcome | CentroiDBError] = []
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery, held_turn(db):
                for task in (_commit, _commit):
                    nursery.start_soon(task, db, _rewrite(table._id), answers)
                    await wait_all_tasks_blocked()
                nursery.start_soon(db.drop_table, "t")
                await wait_all_tasks_blocked()
        done = [(each.inserted, each.updated) for each in answers if isinstance(each, Outcome)]
        assert sorted(done) == [(0, N), (N, 0)]
        assert await db.tables() == []


async def test_each_caller_has_an_error_of_his_own() -> None:
    """The callers of a group that failed get equal errors, and none that another one notes on."""
    async with checked_db() as db:
        table = await filled(db, "t", 1)
        answers: list[Outcome | CentroiDBError] = []
        await set_room(db, 0)
        async with trio.open_nursery() as nursery, held_turn(db):
            for _ in range(3):
                nursery.start_soon(_commit, db, _rewrite(table._id), answers)
            await wait_all_tasks_blocked()
        await set_room(db, 1_000_000)
        assert [type(each) for each in answers] == [DiskFullError] * 3
        assert len({id(each) for each in answers}) == 3
        assert len({str(each) for each in answers}) == 1
