"""Operations that write rows outside of transactions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from centroidb import DuplicateKeyError, NotFoundError, WriteResult
from centroidb.wal.types import Key

from .oracle import TableModel, Vector
from .vectors import vector
from .world import World

Form = Literal["arrays", "mappings", "one by one"]


def payload(number: int) -> Any:
    """A payload by number; some rows have none."""
    return (None, {"n": number}, [number, "é"], "text")[number % 4]


@dataclass(frozen=True)
class Rows:
    """Rows for a table: pairs of a key's number and a vector's, which is the payload's too."""

    table: str
    pairs: Sequence[tuple[int, int]]

    def keys(self, world: World) -> list[Key]:
        """The keys, which may repeat."""
        return [world.key(self.table, key) for key, _ in self.pairs]

    def vectors(self, model: TableModel) -> list[Vector]:
        """float32 (dim,) each."""
        return [vector(model.kind.dim, number) for _, number in self.pairs]

    def payloads(self) -> list[Any]:
        """One a row."""
        return [payload(number) for _, number in self.pairs]

    def last_of_each(self) -> "Rows":
        """Without the rows whose key comes again."""
        last = {key: at for at, (key, _) in enumerate(self.pairs)}
        return Rows(self.table, [self.pairs[at] for at in sorted(last.values())])


@dataclass(frozen=True)
class Upsert:
    """Write rows, given in one of the forms."""

    rows: Rows
    form: Form = "arrays"

    async def run(self, world: World) -> None:
        """Write them, and expect what was there to be counted as updated."""
        model = world.tables.get(self.rows.table)
        if model is None:
            return
        rows = self.rows if self.form == "arrays" else self.rows.last_of_each()
        found = await self._write(world, model, rows)
        inserted = len(set(rows.keys(world)) - model.rows.keys())
        updated = len(set(rows.keys(world))) - inserted
        assert (found.inserted, found.updated, found.deleted) == (inserted, updated, 0)
        put(world, model, rows.last_of_each())

    async def _write(self, world: World, model: TableModel, rows: Rows) -> WriteResult:
        table = await world.table(rows.table)
        keys, vectors, payloads = rows.keys(world), rows.vectors(model), rows.payloads()
        if self.form == "arrays":
            return await table.upsert(
                keys, np.array(vectors).reshape(len(keys), model.kind.dim), payloads
            )
        each = zip(keys, vectors, payloads, strict=True)
        if self.form == "mappings":
            return await table.upsert(
                {"id": key, "vector": v.tolist(), "payload": p} for key, v, p in each
            )
        done = WriteResult()
        for key, v, p in each:
            done += await table.upsert(key, v, p)
        return done


def put(world: World, model: TableModel, rows: Rows) -> None:
    """Write rows to the model, in one commit; each key once."""
    now = world.tick()
    columns = zip(rows.keys(world), rows.vectors(model), rows.payloads(), strict=True)
    for key, row, text in columns:
        model.put(key, row, text, now)


@dataclass(frozen=True)
class Insert:
    """Write rows whose keys must be new."""

    rows: Rows

    async def run(self, world: World) -> None:
        """Refused as a whole when a key is there, or comes twice."""
        model = world.tables.get(self.rows.table)
        if model is None:
            return
        table = await world.table(self.rows.table)
        keys = self.rows.keys(world)
        vectors = np.array(self.rows.vectors(model)).reshape(len(keys), model.kind.dim)
        if len(set(keys)) < len(keys) or set(keys) & model.rows.keys():
            with pytest.raises(DuplicateKeyError):
                await table.insert(keys, vectors)
            return
        found = await table.insert(keys, vectors, self.rows.payloads())
        assert found.inserted == len(keys)
        put(world, model, self.rows)


@dataclass(frozen=True)
class UpdatePayloads:
    """Replace the payloads of some keys."""

    table: str
    keys: Sequence[int]
    number: int

    async def run(self, world: World) -> None:
        """Refused as a whole when a key has no row."""
        model = world.tables.get(self.table)
        if model is None:
            return
        table = await world.table(self.table)
        keys = [world.key(self.table, key) for key in dict.fromkeys(self.keys)]
        if not set(keys) <= model.rows.keys():
            with pytest.raises(NotFoundError):
                await table.update_payloads(keys, [payload(self.number)] * len(keys))
            return
        found = await table.update_payloads(keys, [payload(self.number)] * len(keys))
        assert found.updated == len(keys)
        now = world.tick()
        for key in keys:
            model.put(key, model.rows[key].vector, payload(self.number), now)


@dataclass(frozen=True)
class Delete:
    """Delete a range of keys, many of which may have no row."""

    table: str
    first: int
    count: int

    async def run(self, world: World) -> None:
        """Those that have a row are counted."""
        model = world.tables.get(self.table)
        if model is None:
            return
        table = await world.table(self.table)
        keys = [world.key(self.table, self.first + at) for at in range(self.count)]
        found = await table.delete(keys)
        now = world.tick()
        assert found.deleted == sum([model.delete(key, now) for key in keys])
