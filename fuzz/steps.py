"""What a workload does, step by step, and what each step may leave behind when it is cut short.

The state of a database is a dict of what is in it: `t/17` -> the number of row 17's vector,
`table t` -> 1, `index i` -> 1, `key k` -> 1 for an idempotency key.  A step that has not been
acknowledged leaves one of its outcomes; one that failed with a typed error leaves what it said.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from centroidb import Database, RebuildRejected
from centroidb.engine.db.writing import ROW_OVERHEAD_BYTES
from centroidb.engine.index.distance import distances
from tests.model.world import require_by_recall
from tests.support.databases import SMALL

DIM = 6
ROWS_A_COMMIT = SMALL.chunk_bytes // (4 * DIM + ROW_OVERHEAD_BYTES)
"""A plain write of more rows is cut into commits of so many."""
QUERY = 1 << 40
"""The numbers from here on are of vectors to search for, never of rows."""

State = Mapping[str, int]


CROWDED = 1 << 32
"""The numbers from here to `QUERY` are of vectors close to each other."""


@cache
def vector(number: int) -> NDArray[np.float32]:
    """The vector of a number, float32 (DIM,)."""
    drawn = np.random.default_rng(number).normal(size=DIM)
    if CROWDED <= number < QUERY:
        drawn = 2.0 + 0.1 * drawn
    return drawn.astype(np.float32)


def vectors(numbers: list[int]) -> NDArray[np.float32]:
    """The vectors of some numbers, float32 (len(numbers), DIM)."""
    return np.array([vector(number) for number in numbers], np.float32).reshape(-1, DIM)


def cuts(count: int) -> list[int]:
    """How many of so many rows there may be after each commit of a plain write."""
    return [*range(0, count, ROWS_A_COMMIT), count]


class Step(ABC):
    """One call, awaited to its end."""

    @abstractmethod
    async def do(self, database: Database) -> None:
        """Make the call."""

    def outcomes(self, before: State) -> list[State]:
        """The states that a crash during it may leave; the last one is that of its end."""
        return [before]

    def after_failure(self, before: State, written: int) -> list[State]:  # noqa: ARG002 - of bulk
        """The states that a typed error may leave which says that so many rows were written."""
        return [before]

    def touches(self) -> set[str]:
        """What it may take away; what it may bring is in its outcomes."""
        return set()


@dataclass(frozen=True)
class Upsert(Step):
    """Rows are written: vector number by key. Cut into commits in order."""

    table: str
    rows: Mapping[int, int]

    async def do(self, database: Database) -> None:
        table = await database.table(self.table)
        await table.upsert(list(self.rows), vectors(list(self.rows.values())), self.payloads())

    def payloads(self) -> list[dict[str, int]]:
        """A row says in its payload which vector it has."""
        return [{"number": number} for number in self.rows.values()]

    def outcomes(self, before: State) -> list[State]:
        return [self._after(before, count) for count in cuts(len(self.rows))]

    def after_failure(self, before: State, written: int) -> list[State]:
        return [self._after(before, written)]

    def _after(self, before: State, count: int) -> State:
        """The state with the first rows."""
        first = list(self.rows.items())[:count]
        return {**before, **{f"{self.table}/{key}": number for key, number in first}}


@dataclass(frozen=True)
class Delete(Step):
    """Rows are deleted. Cut into commits in order."""

    table: str
    keys: tuple[int, ...]

    async def do(self, database: Database) -> None:
        await (await database.table(self.table)).delete(list(self.keys))

    def outcomes(self, before: State) -> list[State]:
        return [self._after(before, count) for count in cuts(len(self.keys))]

    def after_failure(self, before: State, written: int) -> list[State]:
        return [state for state in self.outcomes(before) if len(before) - len(state) == written]

    def _after(self, before: State, count: int) -> State:
        """The state without the first rows."""
        gone = {f"{self.table}/{key}" for key in self.keys[:count]}
        return {item: number for item, number in before.items() if item not in gone}

    def touches(self) -> set[str]:
        return {f"{self.table}/{key}" for key in self.keys}


@dataclass(frozen=True)
class Transaction(Step):
    """Writes to several tables at once: all or none."""

    writes: tuple[Upsert | Delete, ...]
    key: str
    """Its idempotency key."""

    async def do(self, database: Database) -> None:
        async with database.transaction(idempotency_key=self.key) as transaction:
            for write in self.writes:
                if isinstance(write, Delete):
                    await transaction.delete(write.table, list(write.keys))
                else:
                    given = vectors(list(write.rows.values()))
                    await transaction.upsert(write.table, list(write.rows), given, write.payloads())

    def outcomes(self, before: State) -> list[State]:
        after = before
        for write in self.writes:
            after = write.outcomes(after)[-1]
        return [before, {**after, f"key {self.key}": 1}]

    def touches(self) -> set[str]:
        return set().union(*(write.touches() for write in self.writes))


@dataclass(frozen=True)
class CreateTable(Step):
    """A table is made."""

    table: str

    async def do(self, database: Database) -> None:
        await database.create_table(self.table, dim=DIM)

    def outcomes(self, before: State) -> list[State]:
        return [before, {**before, f"table {self.table}": 1}]


@dataclass(frozen=True)
class DropTable(Step):
    """A table and its indexes, named here, are dropped."""

    table: str
    indexes: tuple[str, ...] = ()

    async def do(self, database: Database) -> None:
        await database.drop_table(self.table)

    def outcomes(self, before: State) -> list[State]:
        gone = {f"table {self.table}", *(f"index {name}" for name in self.indexes)}
        after = {
            item: number
            for item, number in before.items()
            if item not in gone and not item.startswith(f"{self.table}/")
        }
        return [before, after]

    def touches(self) -> set[str]:
        return {f"table {self.table}", *(f"index {name}" for name in self.indexes)}


@dataclass(frozen=True)
class CreateIndex(Step):
    """An index is made; it may be there before it is built."""

    table: str
    index: str
    options: tuple[tuple[str, Any], ...] = ()

    async def do(self, database: Database) -> None:
        table = await database.table(self.table)
        await table.create_index(self.index, **dict(self.options))

    def outcomes(self, before: State) -> list[State]:
        return [before, {**before, f"index {self.index}": 1}]

    def after_failure(self, before: State, written: int) -> list[State]:  # noqa: ARG002 - no rows
        return self.outcomes(before)


@dataclass(frozen=True)
class DropIndex(Step):
    """An index is dropped."""

    index: str

    async def do(self, database: Database) -> None:
        await database.drop_index(self.index)

    def outcomes(self, before: State) -> list[State]:
        return [before, {i: n for i, n in before.items() if i != f"index {self.index}"}]

    def touches(self) -> set[str]:
        return {f"index {self.index}"}


@dataclass(frozen=True)
class Rebuild(Step):
    """An index is rebuilt online; the rows stay what they are."""

    index: str
    options: tuple[tuple[str, Any], ...] = ()

    async def do(self, database: Database) -> None:
        try:
            await (await database.index(self.index)).rebuild(**dict(self.options))
        except RebuildRejected as rejection:
            require_by_recall(rejection)


@dataclass(frozen=True)
class Rollback(Step):
    """The generation before becomes active again."""

    index: str

    async def do(self, database: Database) -> None:
        await (await database.index(self.index)).rollback()


@dataclass(frozen=True)
class Reorganize(Step):
    """Partitions are split and merged."""

    index: str

    async def do(self, database: Database) -> None:
        await (await database.index(self.index)).reorganize()


@dataclass(frozen=True)
class Vacuum(Step):
    """All that nobody needs is given back."""

    async def do(self, database: Database) -> None:
        await database.vacuum()


@dataclass(frozen=True)
class Verify(Step):
    """In one snapshot, every index finds what measuring all rows finds; `check()` finds nothing."""

    table: str

    async def do(self, database: Database) -> None:
        async with database.snapshot() as snapshot:
            rows = [row async for row in snapshot.iterate(self.table, vectors=True)]
            stored = np.array([row.vector for row in rows], np.float32).reshape(-1, DIM)
            measured = np.sort(distances("l2", vector(QUERY), stored))[:20].tolist()
            for index in await database.indexes():
                found = await snapshot.search(
                    self.table, vector(QUERY), 20, nprobe=1_000, index=index.name
                )
                assert found.distances.tolist() == measured, "a search differs from brute force"
        findings = await database.check()
        assert findings.errors == (), findings.errors[0]


@dataclass(frozen=True)
class Look(Step):
    """A snapshot is held over other steps, and must not change meanwhile."""

    table: str
    during: tuple[Step, ...]

    async def do(self, database: Database) -> None:
        async with database.snapshot() as snapshot:
            before = await self._seen(snapshot)
            for step in self.during:
                await step.do(database)
            assert await self._seen(snapshot) == before, "a snapshot has changed"

    async def _seen(self, snapshot: Any) -> Any:
        found = await snapshot.search(self.table, vector(QUERY), 20, nprobe=1_000)
        rows = [(row.id, row.payload) async for row in snapshot.iterate(self.table)]
        return found.ids, found.distances.tobytes(), rows

    def outcomes(self, before: State) -> list[State]:
        states = [before]
        for step in self.during:
            states += step.outcomes(states[-1])[1:]
        return states

    def after_failure(self, before: State, written: int) -> list[State]:  # noqa: ARG002 - of some
        return self.outcomes(before)

    def touches(self) -> set[str]:
        return set().union(*(step.touches() for step in self.during))
