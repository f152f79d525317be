"""Every public coroutine is a checkpoint: it lets others run, and can be cancelled."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import assert_checkpoints

from centroidb import (
    Database,
    Index,
    InputError,
    NotFoundError,
    Row,
    Snapshot,
    Table,
    Transaction,
)
from tests.support.databases import checked_db

from .data import clustered, indexed

ONE = clustered(1)[0]
TARGET = "copy.db"

OF_DATABASE: dict[str, Callable[[Database], Awaitable[Any]]] = {
    "create_table": lambda db: db.create_table("other", dim=2),
    "create_table, there": lambda db: db.create_table("t", dim=len(ONE), if_not_exists=True),
    "table": lambda db: db.table("t"),
    "tables": lambda db: db.tables(),
    "index": lambda db: db.index("ix"),
    "indexes": lambda db: db.indexes(),
    "drop_table": lambda db: db.drop_table("t"),
    "drop_table, missing": lambda db: db.drop_table("none", if_exists=True),
    "drop_index": lambda db: db.drop_index("ix"),
    "drop_index, missing": lambda db: db.drop_index("none", if_exists=True),
    "execute": lambda db: db.execute("ALTER INDEX ix REBUILD ONLINE"),
    "jobs": lambda db: db.jobs(),
    "check": lambda db: db.check(),
    "vacuum": lambda db: db.vacuum(),
    "statistics": lambda db: db.statistics(),
}
OF_TABLE: dict[str, Callable[[Table], Awaitable[Any]]] = {
    "upsert": lambda table: table.upsert(1, ONE),
    "upsert, nothing": lambda table: table.upsert([], []),
    "upsert, mappings": lambda table: table.upsert([{"id": 1, "vector": ONE}]),
    "upsert, no mappings": lambda table: table.upsert([]),
    "insert": lambda table: table.insert(1_000, ONE),
    "update_payloads": lambda table: table.update_payloads(1, "new"),
    "update_payloads, nothing": lambda table: table.update_payloads([], []),
    "delete": lambda table: table.delete(1),
    "delete, nothing": lambda table: table.delete([]),
    "get": lambda table: table.get(1),
    "get, nothing": lambda table: table.get([]),
    "count": lambda table: table.count(),
    "iterate": lambda table: first(table.iterate()),
    "search": lambda table: table.search(ONE),
    "search, exact": lambda table: table.search(ONE, exact=True),
    "search, nothing": lambda table: table.search(clustered(1)[:0]),
    "create_index": lambda table: table.create_index("other"),
    "create_index, there": lambda table: table.create_index("ix", if_not_exists=True),
    "index": lambda table: table.index("ix"),
    "statistics": lambda table: table.statistics(),
}
OF_INDEX: dict[str, Callable[[Index], Awaitable[Any]]] = {
    "rebuild": lambda index: index.rebuild(),
    "statistics": lambda index: index.statistics(),
    "partitions": lambda index: index.partitions(),
    "partition_of": lambda index: index.partition_of([1]),
    "partition_of, nothing": lambda index: index.partition_of([]),
}
OF_SNAPSHOT: dict[str, Callable[[Snapshot], Awaitable[Any]]] = {
    "search": lambda snapshot: snapshot.search("t", ONE),
    "search, exact": lambda snapshot: snapshot.search("t", ONE, exact=True),
    "search, nothing": lambda snapshot: snapshot.search("t", clustered(1)[:0], exact=True),
    "get": lambda snapshot: snapshot.get("t", 1),
    "get, nothing": lambda snapshot: snapshot.get("t", []),
    "count": lambda snapshot: snapshot.count("t"),
    "iterate": lambda snapshot: first(snapshot.iterate("t")),
}
OF_TRANSACTION: dict[str, Callable[[Transaction], Awaitable[Any]]] = {
    "upsert": lambda tx: tx.upsert("t", 1, ONE),
    "upsert, mappings": lambda tx: tx.upsert("t", [{"id": 1, "vector": ONE}]),
    "insert": lambda tx: tx.insert("t", 1_000, ONE),
    "update_payloads": lambda tx: tx.update_payloads("t", 1, "new"),
    "delete": lambda tx: tx.delete("t", 1),
    "get": lambda tx: tx.get("t", 1),
    "count": lambda tx: tx.count("t"),
    "iterate": lambda tx: first(tx.iterate("t")),
    "search": lambda tx: tx.search("t", ONE),
    "commit": lambda tx: tx.commit(),
}


async def first(rows: AsyncGenerator[Row, None]) -> Row:
    """The first of some rows; the others are left alone."""
    async with aclosing(rows):
        return await anext(rows)


async def checkpoints(call: Callable[[Any], Awaitable[Any]], of: Any) -> None:
    """A call lets others run, and when it is cancelled from the start it raises at once."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await call(of)
    assert scope.cancelled_caught
    with assert_checkpoints():
        await call(of)


@pytest.mark.parametrize("name", OF_DATABASE)
async def test_database(name: str) -> None:
    """All coroutines of a database are checkpoints."""
    async with checked_db() as db:
        await indexed(db, 100, 4)
        await checkpoints(OF_DATABASE[name], db)


@pytest.mark.parametrize("name", OF_TABLE)
async def test_table(name: str) -> None:
    """All coroutines of a table are checkpoints."""
    async with checked_db() as db:
        table, _ = await indexed(db, 100, 4)
        await checkpoints(OF_TABLE[name], table)


async def test_rows_of_an_empty_table() -> None:
    """To look for rows is a checkpoint, also where there are none."""
    async with checked_db() as db:
        table = await db.create_table("t", dim=2)
        with trio.CancelScope() as scope:
            scope.cancel()
            async for _ in table.iterate():
                pass
        assert scope.cancelled_caught


@pytest.mark.parametrize("name", OF_INDEX)
async def test_index(name: str) -> None:
    """All coroutines of an index are checkpoints."""
    async with checked_db() as db:
        _, index = await indexed(db, 100, 4)
        await checkpoints(OF_INDEX[name], index)


@pytest.mark.parametrize("name", OF_SNAPSHOT)
async def test_snapshot(name: str) -> None:
    """All coroutines of a snapshot are checkpoints."""
    async with checked_db() as db:
        await indexed(db, 100, 4)
        async with db.snapshot() as snapshot:
            await checkpoints(OF_SNAPSHOT[name], snapshot)


@pytest.mark.parametrize("name", OF_TRANSACTION)
async def test_transaction(name: str) -> None:
    """All coroutines of a transaction are checkpoints."""
    async with checked_db() as db:
        await indexed(db, 100, 4)
        async with db.transaction() as transaction:
            await transaction.upsert("t", 1, ONE)
            with trio.CancelScope() as scope:
                scope.cancel()
                await OF_TRANSACTION[name](transaction)
            assert scope.cancelled_caught
        async with db.transaction() as transaction:
            await transaction.upsert("t", 1, ONE)
            with assert_checkpoints():
                await OF_TRANSACTION[name](transaction)


async def test_contexts(tmp_path: Path) -> None:
    """Entering a snapshot, a transaction and a job is a checkpoint; so is a backup."""
    async with checked_db(tmp_path / "t.db") as db:
        _, index = await indexed(db, 100, 4)
        for enter in (db.snapshot, db.transaction, index.rebuilding):
            context: Any = enter()
            with assert_checkpoints():
                async with context as entered:
                    if enter == index.rebuilding:
                        await entered.wait()
        with assert_checkpoints():
            await db.backup(tmp_path / TARGET)


async def test_a_commit_of_nothing() -> None:
    """A transaction that wrote nothing commits nothing, and lets others run all the same."""
    async with checked_db() as db:
        await indexed(db, 100, 4)
        async with db.transaction() as transaction:
            with assert_checkpoints():
                result = await transaction.commit()
            assert (result.inserted, result.updated, result.deleted) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "error"),
    [("upsert", InputError), ("get", InputError), ("search", InputError), ("count", NotFoundError)],
)
async def test_refusals(name: str, error: type[Exception]) -> None:
    """A call that is refused changes nothing."""
    async with checked_db() as db:
        table, _ = await indexed(db, 100, 4)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "upsert": lambda: table.upsert("text", ONE),
            "get": lambda: table.get("text"),
            "search": lambda: table.search(ONE[:2]),
            "count": lambda: _count_missing(db),
        }
        with pytest.raises(error):
            await calls[name]()
        assert await table.count() == 100


async def _count_missing(db: Database) -> int:
    async with db.snapshot() as snapshot:
        return await snapshot.count("none")
