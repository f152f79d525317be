"""A database that is closed, or closes while a call runs: ClosedError, in bounded time."""

import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from centroidb import ClosedError, Database, JobCancelled, Table, open_db
from centroidb.wal import rows
from tests.errors.harness import filled_db, vectors

Call = Callable[[Database, Table], Awaitable[Any]]


async def iterate(_: Database, table: Table) -> None:
    """Read all rows."""
    async for _row in table.iterate():
        pass


async def begin(db: Database, _: Table) -> None:
    """Begin a transaction."""
    async with db.transaction():
        raise AssertionError("not reached")


async def hold(db: Database, _: Table) -> None:
    """Open a snapshot."""
    async with db.snapshot():
        raise AssertionError("not reached")


READS: dict[str, Call] = {
    "get": lambda _, table: table.get(1),
    "count": lambda _, table: table.count(),
    "search": lambda _, table: table.search([1, 2, 3]),
    "search exactly": lambda _, table: table.search([1, 2, 3], exact=True),
    "iterate": iterate,
    "statistics of a table": lambda _, table: table.statistics(),
    "table": lambda db, _: db.table("ints"),
    "tables": lambda db, _: db.tables(),
    "indexes": lambda db, _: db.indexes(),
    "jobs": lambda db, _: db.jobs(),
    "snapshot": hold,
    "check": lambda db, _: db.check(),
    "statistics": lambda db, _: db.statistics(),
    "backup": lambda db, _: db.backup(f"{db.path}.copy"),
}
WRITES: dict[str, Call] = {
    "upsert": lambda _, table: table.upsert(1, [1, 2, 3]),
    "insert": lambda _, table: table.insert(1, [1, 2, 3]),
    "update_payloads": lambda _, table: table.update_payloads(1, 2),
    "delete": lambda _, table: table.delete(1),
    "create_table": lambda db, _: db.create_table("new", dim=2),
    "drop_table": lambda db, _: db.drop_table("ints"),
    "create_index": lambda _, table: table.create_index("new"),
    "drop_index": lambda db, _: db.drop_index("ix"),
    "transaction": begin,
    "vacuum": lambda db, _: db.vacuum(),
    "execute": lambda db, _: db.execute("ALTER INDEX ix REBUILD ONLINE"),
}
CALLS = {**READS, **WRITES}


async def closed_db(path: Path, *, read_only: bool = False) -> tuple[Database, Table]:
    """A database that has been closed, and a table of it."""
    async with filled_db(path):
        pass
    async with open_db(path, read_only=read_only) as db:
        table = await db.table("ints")
    return db, table


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_closed_database_refuses(tmp_path: Path, call: Call) -> None:
    """Every call on a closed database is ClosedError, and the file stays as it was."""
    db, table = await closed_db(tmp_path / "a.db")
    before = (tmp_path / "a.db").read_bytes()

    with pytest.raises(ClosedError, match="the database is closed"):
        await call(db, table)
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize("call", READS.values(), ids=READS.keys())
async def test_a_closed_reader_refuses(tmp_path: Path, call: Call) -> None:
    """Every read of a database that was opened read-only and is closed is ClosedError."""
    db, table = await closed_db(tmp_path / "a.db", read_only=True)

    with pytest.raises(ClosedError, match="the database is closed"):
        await call(db, table)


async def test_what_is_open_ends_with_its_database(tmp_path: Path) -> None:
    """A snapshot or a transaction that outlives its database answers with ClosedError."""
    async with AsyncExitStack() as stack:
        async with filled_db(tmp_path / "a.db") as db:
            snapshot = await stack.enter_async_context(db.snapshot())
            tx = await stack.enter_async_context(db.transaction())
            await tx.upsert("ints", 1, [1, 2, 3])

        with pytest.raises(ClosedError, match="closed"):
            await snapshot.get("ints", 1)
        with pytest.raises(ClosedError, match="closed"):
            await tx.get("ints", 2)
        with pytest.raises(ClosedError, match="closed"):
            await tx.commit()


async def test_a_transaction_that_is_over_refuses(tmp_path: Path) -> None:
    """After commit or rollback every call of a transaction is ClosedError."""
    async with filled_db(tmp_path / "a.db") as db:
        async with db.transaction() as committed:
            await committed.upsert("ints", 1, [1, 2, 3])
            await committed.commit()
        async with db.transaction() as rolled_back:
            rolled_back.rollback()
        for tx in (committed, rolled_back):
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda tx=tx: tx.get("ints", 1),  # type: ignore[misc]  # bound now
                lambda tx=tx: tx.upsert("ints", 1, [1, 2, 3]),  # type: ignore[misc]  # bound now
                lambda tx=tx: tx.search("ints", [1, 2, 3]),  # type: ignore[misc]  # bound now
                lambda tx=tx: tx.count("ints"),  # type: ignore[misc]  # bound now
                tx.commit,
            ]
            for call in calls:
                with pytest.raises(ClosedError, match="the transaction is over: begin another"):
                    await call()


async def test_closing_while_a_call_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that is in its thread when the database closes is answered; a later one refused."""
    entered, go = threading.Event(), threading.Event()
    fetch = rows.fetch

    def slow(*arguments: Any, **options: Any) -> Any:
        entered.set()
        go.wait(60)
        return fetch(*arguments, **options)

    said: list[object] = []
    async with filled_db(tmp_path / "a.db"):
        pass
    async with trio.open_nursery() as nursery:
        async with open_db(tmp_path / "a.db") as db:
            table = await db.table("ints")
            monkeypatch.setattr(rows, "fetch", slow)

            async def read() -> None:
                said.append((await table.get(5)).id)

            nursery.start_soon(read)
            while not entered.is_set():
                await wait_all_tasks_blocked(0.001)
            nursery.start_soon(_release_when_blocked, go)
        with pytest.raises(ClosedError):
            await table.get(5)
    assert said == [5]
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]


async def _release_when_blocked(go: threading.Event) -> None:
    await wait_all_tasks_blocked()
    go.set()


async def test_writers_that_wait_when_it_closes(tmp_path: Path) -> None:
    """Of many writers at the close each is either written and answered, or told ClosedError."""
    answered: list[int] = []
    refused: list[int] = []

    async with trio.open_nursery() as nursery:
        async with filled_db(tmp_path / "a.db") as db:
            pass
        async with open_db(tmp_path / "a.db") as db:
            table = await db.table("ints")

            async def write(key: int) -> None:
                try:
                    await table.upsert([key] * 1, vectors(1))
                    answered.append(key)
                except ClosedError:
                    refused.append(key)

            for key in range(1_000, 1_100):
                nursery.start_soon(write, key)
            while not answered:
                await trio.lowlevel.checkpoint()

    assert sorted(answered + refused) == list(range(1_000, 1_100))
    async with open_db(tmp_path / "a.db") as db:
        found = await (await db.table("ints")).get(range(1_000, 1_100))
        there = {row.id for row in found if row is not None}
        assert set(answered) <= there
        assert (await db.check()).errors == ()


async def test_a_rebuild_that_runs_when_it_closes(tmp_path: Path) -> None:
    """A rebuild under way ends with the database; the file is whole and has one index."""
    async with trio.open_nursery() as nursery, open_db(tmp_path / "a.db") as db:
        table = await db.create_table("t", dim=8)
        await table.upsert(np.arange(3_000), vectors(3_000, 8))
        index = await table.create_index("ix", nlist=4)

        async def rebuild() -> None:
            with pytest.raises((ClosedError, JobCancelled)):
                await index.rebuild(nlist=64)

        nursery.start_soon(rebuild)
        while not [job for job in await db.jobs() if job.state == "running"]:
            await trio.lowlevel.checkpoint()

    async with open_db(tmp_path / "a.db") as db:
        assert (await db.check()).errors == ()
        index = await db.index("ix")
        assert len(await index.partitions()) in (4, 64)
        assert len(await (await db.table("t")).search(np.ones(8), k=5, nprobe=64)) == 5


async def test_an_exception_in_the_block_comes_out_as_itself(tmp_path: Path) -> None:
    """What the body of the block raises comes out, unwrapped, and the database is closed."""

    async def fail() -> None:
        async with open_db(tmp_path / "a.db") as db:
            await db.create_table("t", dim=2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]
    async with open_db(tmp_path / "a.db") as db:
        assert [table.name for table in await db.tables()] == ["t"]


async def test_a_deadline_around_the_block(tmp_path: Path) -> None:
    """Cancelled from outside the database closes as one file, with what was acknowledged."""
    with trio.CancelScope() as scope:
        async with open_db(tmp_path / "a.db") as db:
            table = await db.create_table("t", dim=2)
            await table.upsert(1, [1, 2])
            scope.cancel()
            await table.upsert(2, [1, 2])

    assert scope.cancelled_caught
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]
    async with open_db(tmp_path / "a.db") as db:
        assert await (await db.table("t")).get(1) is not None
        assert (await db.check()).errors == ()
