"""Operations of transactions: several are open at once, and the model says which must fail."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from centroidb import ConflictError, DuplicateKeyError, NotFoundError
from centroidb.engine.db.transaction import Isolation
from centroidb.wal.types import Key

from .open_transaction import OpenTransaction
from .oracle import TableModel, Vector, Version
from .reading import ALL, found
from .vectors import vector
from .world import KINDS, World
from .writing import Rows, payload

OPEN_MAX = 3


@dataclass(frozen=True)
class Begin:
    """Open a transaction."""

    isolation: Isolation

    async def run(self, world: World) -> None:
        """At most a few are open at a time."""
        if len(world.transactions) >= OPEN_MAX:
            return
        stack = AsyncExitStack()
        transaction = await stack.enter_async_context(
            world.db.transaction(isolation=self.isolation)
        )
        opened = OpenTransaction(
            transaction, self.isolation, world.clock, dict(world.tables), world.states(), stack
        )
        world.transactions.append(opened)
        stack.callback(transaction.rollback)
        world.closers.append(stack)


Step = Literal["upsert", "insert", "update", "delete", "get", "count", "search", "iterate"]


@dataclass(frozen=True)
class Within:
    """One step in an open transaction."""

    which: int
    step: Step
    rows: Rows

    async def run(self, world: World) -> None:
        """It sees its snapshot with its own writes on top."""
        if not world.transactions:
            return
        opened = world.transactions[self.which % len(world.transactions)]
        if self.rows.table not in opened.states:
            with pytest.raises(NotFoundError):
                await opened.transaction.count(self.rows.table)
            return
        await _STEPS[self.step](world, opened, self.rows)


async def _upsert(world: World, opened: OpenTransaction, rows: Rows) -> None:
    model = opened.models[rows.table]
    keys, vectors = rows.keys(world), rows.vectors(model)
    await opened.transaction.upsert(rows.table, keys, _array(model, vectors), rows.payloads())
    for key, row in _last(world, model, rows):
        opened.put(rows.table, key, row)


async def _insert(world: World, opened: OpenTransaction, rows: Rows) -> None:
    rows = rows.last_of_each()
    model = opened.models[rows.table]
    keys, vectors = rows.keys(world), _array(model, rows.vectors(model))
    there = set(keys) & opened.state(rows.table).rows.keys()
    opened.note_read(rows.table, keys)
    if there:
        with pytest.raises(DuplicateKeyError):
            await opened.transaction.insert(rows.table, keys, vectors)
        return
    await opened.transaction.insert(rows.table, keys, vectors, rows.payloads())
    for key, row in _last(world, model, rows):
        opened.put(rows.table, key, row)


async def _update(world: World, opened: OpenTransaction, rows: Rows) -> None:
    keys = rows.last_of_each().keys(world)
    payloads = [payload(number) for _, number in rows.last_of_each().pairs]
    state = opened.state(rows.table)
    opened.note_read(rows.table, keys)
    if not set(keys) <= state.rows.keys():
        with pytest.raises(NotFoundError):
            await opened.transaction.update_payloads(rows.table, keys, payloads)
        return
    await opened.transaction.update_payloads(rows.table, keys, payloads)
    for key, text in zip(keys, payloads, strict=True):
        opened.put(rows.table, key, Version(0, state.rows[key].vector, text))


async def _delete(world: World, opened: OpenTransaction, rows: Rows) -> None:
    keys = rows.keys(world)
    await opened.transaction.delete(rows.table, keys)
    for key in keys:
        opened.put(rows.table, key, None)


async def _get(world: World, opened: OpenTransaction, rows: Rows) -> None:
    keys = rows.keys(world)
    state = opened.state(rows.table)
    opened.note_read(rows.table, keys)
    got = await opened.transaction.get(rows.table, keys, vectors=True)
    for key, row in zip(keys, got, strict=True):
        assert (row is None) == (key not in state.rows)
        if row is not None:
            assert row.vector.tobytes() == state.rows[key].vector.tobytes()
            assert row.payload == state.rows[key].payload


async def _count(world: World, opened: OpenTransaction, rows: Rows) -> None:
    opened.read_whole.add(rows.table)
    assert await opened.transaction.count(rows.table) == len(opened.state(rows.table).rows)


async def _search(world: World, opened: OpenTransaction, rows: Rows) -> None:
    opened.read_whole.add(rows.table)
    state, kind = opened.state(rows.table), KINDS[rows.table]
    queries = np.array([vector(kind.dim, number) for _, number in rows.pairs])
    answers = await opened.transaction.search(rows.table, queries, 6, nprobe=ALL)
    for query, hits in zip(queries, answers, strict=True):
        assert found(hits) == state.nearest(kind.metric, query, 6)


async def _iterate(world: World, opened: OpenTransaction, rows: Rows) -> None:
    opened.read_whole.add(rows.table)
    keys = [row.id async for row in opened.transaction.iterate(rows.table)]
    assert keys == opened.state(rows.table).keys_in_order()


_STEPS: dict[Step, Callable[[World, OpenTransaction, Rows], Awaitable[None]]] = {
    "upsert": _upsert,
    "insert": _insert,
    "update": _update,
    "delete": _delete,
    "get": _get,
    "count": _count,
    "search": _search,
    "iterate": _iterate,
}


def _array(model: TableModel, vectors: list[Vector]) -> Vector:
    return np.array(vectors, np.float32).reshape(len(vectors), model.kind.dim)


def _last(world: World, model: TableModel, rows: Rows) -> list[tuple[Key, Version]]:
    rows = rows.last_of_each()
    columns = zip(rows.keys(world), rows.vectors(model), rows.payloads(), strict=True)
    return [(key, Version(0, row, text)) for key, row, text in columns]


@dataclass(frozen=True)
class Commit:
    """Commit a transaction."""

    which: int

    async def run(self, world: World) -> None:
        """ConflictError when the model says so, and only then; all of it or nothing."""
        if not world.transactions:
            return
        opened = world.transactions.pop(self.which % len(world.transactions))
        world.closers.remove(opened.stack)
        try:
            await self._commit(world, opened)
        finally:
            await opened.stack.aclose()

    async def _commit(self, world: World, opened: OpenTransaction) -> None:
        if any(opened.changes.values()) and opened.conflicts(world.tables):
            with pytest.raises(ConflictError):
                await opened.transaction.commit()
            return
        result = await opened.transaction.commit()
        now = world.tick()
        inserted, updated, deleted = 0, 0, 0
        for name, changes in opened.changes.items():
            model = opened.models[name]
            for key, row in changes.items():
                there = key in model.rows
                if row is None:
                    deleted += model.delete(key, now)
                    continue
                inserted, updated = inserted + (not there), updated + there
                model.put(key, row.vector, row.payload, now)
        assert (result.inserted, result.updated, result.deleted) == (inserted, updated, deleted)


@dataclass(frozen=True)
class Rollback:
    """Roll a transaction back."""

    which: int

    async def run(self, world: World) -> None:
        """Nothing of it stays."""
        if world.transactions:
            opened = world.transactions.pop(self.which % len(world.transactions))
            world.closers.remove(opened.stack)
            await opened.stack.aclose()
