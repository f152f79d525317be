"""Exceptions: those of the user come out as themselves, and an actor's death is told to all."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from centroidb import (
    ActorDied,
    BusyError,
    ClosedError,
    ConflictError,
    Database,
    DuplicateKeyError,
    Index,
    Table,
    open_db,
)
from centroidb.engine.actors.committer import Committer
from centroidb.engine.actors.indexer import Indexer
from centroidb.engine.actors.monitor import Monitor
from centroidb.engine.actors.searcher import Searcher
from centroidb.engine.actors.sweeper import Sweeper
from centroidb.wal.blocking import substitute
from tests.model.seam import inline
from tests.support.databases import SMALL, checked_db

from .data import clustered, filed, indexed

ONE = clustered(1)[0]


class OurError(Exception):
    """Raised by a test."""


@pytest.mark.parametrize("error", [OurError("ours"), KeyboardInterrupt(), SystemExit(3)])
async def test_what_the_block_raises_comes_out_as_itself(error: BaseException) -> None:
    """An exception from the block of a database is that very object, and the file is closed."""
    with pytest.raises(type(error)) as caught:
        await _raise_inside(open_db(":memory:"), error)
    assert caught.value is error


async def _raise_inside(block: AbstractAsyncContextManager[Any], error: BaseException) -> None:
    async with block:
        raise error


async def test_what_inner_blocks_raise_comes_out_as_itself(tmp_path: Path) -> None:
    """The same through the blocks of snapshots, transactions and jobs, which end."""
    async with checked_db(tmp_path / "t.db") as db:
        table, index = await indexed(db, 300)
        blocks: list[Callable[[], Any]] = [
            db.snapshot,
            db.transaction,
            index.rebuilding,
            lambda: open_db(tmp_path / "t.db", read_only=True),
        ]
        for block in blocks:
            with pytest.raises(OurError):
                await _raise_inside(block(), OurError())
        with pytest.raises(OurError):
            await _delete_and_raise(db)
        assert await table.count() == 300
        assert not (await index.statistics()).building
        await index.rebuild()  # what the job left holds its snapshot until it goes on
        assert (await db.statistics()).snapshots == 0


async def _delete_and_raise(db: Database) -> None:
    async with db.transaction() as transaction:
        await transaction.delete("t", 1)
        raise OurError


async def test_errors_of_calls_come_out_as_themselves() -> None:
    """An error of the library is no group, also out of blocks and tasks of its own."""
    async with checked_db() as db:
        table, index = await indexed(db, 300)
        with pytest.raises(DuplicateKeyError):
            await table.insert([{"id": i, "vector": ONE} for i in (1_000, 1)])
        with pytest.raises(ConflictError):
            await _conflict(db, table)
        with pytest.raises(BusyError):
            await _rebuild_twice(index)


async def _conflict(db: Database, table: Table) -> None:
    async with db.transaction() as transaction:
        await transaction.upsert("t", 1, ONE)
        await table.delete(1)


async def _rebuild_twice(index: Index) -> None:
    async with index.rebuilding() as first:
        await anext(aiter(first))
        async with index.rebuilding() as second:
            await second.wait()


async def test_errors_of_iterables_come_out_as_themselves() -> None:
    """What the user's own iterable raises reaches the user."""

    def rows() -> Any:
        yield {"id": 1, "vector": ONE}
        raise OurError

    async with checked_db() as db:
        table, _ = await indexed(db, 100, 4)
        with pytest.raises(OurError):
            await table.upsert(rows())
        assert await table.count() == 100


async def test_two_that_fail_are_a_group() -> None:
    """Where the block and another task of the user fail, both are told."""
    with pytest.raises(BaseExceptionGroup) as caught:
        await _fail_twice()
    assert caught.group_contains(OurError)
    assert caught.group_contains(ValueError)


async def _fail_twice() -> None:
    async with checked_db(), trio.open_nursery() as nursery:
        nursery.start_soon(_fail)
        raise ValueError("the block")


async def _fail() -> None:
    raise OurError


def broken(*_: Any) -> NoReturn:
    """In place of a step: a fault of ours."""
    raise ZeroDivisionError("a fault")


async def _table(db: Database, method: str, *arguments: Any) -> None:
    await getattr(await db.table("t"), method)(*arguments)


async def _search_at_once(db: Database) -> None:
    """More searches than workers: the others wait, and are gathered by the Searcher's task."""

    async def search() -> None:
        with suppress(ActorDied):
            await _table(db, "search", ONE)

    async with trio.open_nursery() as nursery:
        for _ in range(8 + (os.cpu_count() or 1)):
            nursery.start_soon(search)


async def _train(db: Database) -> None:
    await (await db.table("untrained")).upsert(range(70, 90), clustered(20))


async def _rebuild(db: Database) -> None:
    await (await db.index("ix")).rebuild()


WRITES: dict[str, Callable[[Database], Any]] = {
    "upsert": lambda db: _table(db, "upsert", 1, ONE),
    "delete": lambda db: _table(db, "delete", 1),
    "create_table": lambda db: db.create_table("other", dim=2),
    "drop_table": lambda db: db.drop_table("t"),
    "vacuum": lambda db: db.vacuum(),
    "rebuild": _rebuild,
}


ACTORS: list[tuple[type, str, Callable[[Database], Any]]] = [
    (Committer, "step", lambda db: _table(db, "upsert", 1, ONE)),
    (Committer, "_next_group", lambda db: _table(db, "upsert", 1, ONE)),
    (Indexer, "step", lambda db: _table(db, "upsert", 1, ONE)),
    (Searcher, "step", _search_at_once),
    (Sweeper, "sweep", lambda db: _table(db, "delete", list(range(60)))),
    (Monitor, "step", _train),
]


ACTOR_NAMES = [f"{actor.__name__}.{step}" for actor, step, _ in ACTORS]


@pytest.mark.parametrize(("actor", "step", "nudge"), ACTORS, ids=ACTOR_NAMES)
async def test_the_death_of_an_actor_stops_the_database(
    actor: type,
    step: str,
    nudge: Callable[[Database], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """When an actor meets a fault, calls get a clear error, later ones too; the file is sound."""
    async with open_db(tmp_path / "t.db", limits=SMALL) as db:
        table, _ = await indexed(db, 100, 4)
        other = await db.create_table("untrained", dim=len(ONE))
        await other.create_index("other", nlist=40)
        await other.upsert(range(70), clustered(70))
        with monkeypatch.context() as patch:
            patch.setattr(actor, step, broken)
            with trio.move_on_after(60) as deadline:
                with suppress(ActorDied):  # the nudge itself may be what is told
                    await nudge(db)
                await _stopped(db)
            assert not deadline.cancelled_caught
        for write in WRITES.values():
            with pytest.raises(ActorDied, match="reopen it") as caught:
                await write(db)
            assert any(isinstance(cause, ZeroDivisionError) for cause in causes(caught.value))
        with pytest.raises(ActorDied):
            await table.search(ONE)
        with pytest.raises(ActorDied):
            async with db.transaction() as transaction:
                await transaction.delete("t", 2)
    async with checked_db(tmp_path / "t.db") as db:
        assert 40 <= await (await db.table("t")).count() <= 100


def causes(error: BaseException) -> Iterator[BaseException]:
    """What an error was raised from, and that from, and so on."""
    while error.__cause__ is not None:
        error = error.__cause__
        yield error


async def _stopped(db: Database) -> None:
    """Write until the database refuses."""
    while True:
        try:
            await db.create_table("again", dim=2, if_not_exists=True)
            await db.drop_table("again")
        except ActorDied:
            return


async def test_those_who_wait_are_told_of_the_death(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers that wait for an index that nobody files any more get the error."""

    async def die_when_all_wait(*_: object) -> NoReturn:
        await wait_all_tasks_blocked()
        broken()

    told: list[BaseException] = []
    with substitute(inline(1)), trio.fail_after(60):
        async with open_db(":memory:", limits=replace(SMALL, lag_rows=10)) as db:
            table, _ = await indexed(db, 100, 4)
            await filed(await db.index("ix"))
            monkeypatch.setattr(Indexer, "_carry_out", die_when_all_wait)
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    call = partial(table.upsert, range(50), clustered(50))
                    nursery.start_soon(_until_told, call, ActorDied, told)
    assert len(told) == 4


async def _until_told(
    call: Callable[[], Any], expected: type[BaseException], told: list[BaseException]
) -> None:
    """Call again and again, until the expected error comes."""
    while True:
        try:
            await call()
        except expected as error:
            told.append(error)
            return


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """Every call on what came from a database that is closed raises ClosedError."""
    async with checked_db(tmp_path / "t.db") as db:
        table, index = await indexed(db, 100, 4)
    calls: list[Callable[[], Any]] = [
        lambda: table.upsert(1, ONE),
        lambda: table.delete(1),
        lambda: table.get(1),
        lambda: table.count(),
        lambda: table.search(ONE),
        lambda: table.search(ONE, exact=True),
        lambda: table.create_index("other"),
        lambda: index.rebuild(),
        lambda: index.statistics(),
        lambda: db.create_table("other", dim=2),
        lambda: db.table("t"),
        lambda: db.check(),
        lambda: db.vacuum(),
        lambda: db.backup(tmp_path / "copy.db"),
        lambda: db.jobs(),
        lambda: db.statistics(),
        lambda: db.execute("DROP INDEX ix"),
    ]
    for call in calls:
        with pytest.raises(ClosedError, match="closed"):
            await call()
    for block in (db.snapshot, db.transaction):
        with pytest.raises(ClosedError):
            async with block():
                raise AssertionError("it has begun")


async def test_closing_ends_what_runs() -> None:
    """Calls of other tasks end with ClosedError when the database is closed under them."""
    told: list[BaseException] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, checked_db(limits=SMALL) as db:
            table, index = await indexed(db, 100, 4)
            calls: list[Callable[[], Any]] = [
                lambda: table.upsert(range(30), clustered(30)),
                lambda: table.search(ONE),
                lambda: table.search(ONE, exact=True),
                lambda: index.rebuild(),
                lambda: db.vacuum(),
                lambda: db.check(),
            ]
            for call in calls:
                nursery.start_soon(_until_told, call, ClosedError, told)
            for _ in range(20):
                await table.get(list(range(100)))
    assert len(told) == len(calls)
