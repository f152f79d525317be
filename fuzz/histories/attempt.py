"""One transaction of a player: what it reads is noted at once, its wish when it has ended."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from centroidb import ConflictError, Database, Transaction

from ..steps import QUERY, vector, vectors
from .history import Finding, History, Item, Reads, Sight, Wish

EVERY = 1_000
"""Partitions to probe: all."""
K = 5


class Attempt:
    """Reads and writes of a transaction that is open; `before` was known when it began."""

    def __init__(self, history: History, transaction: Transaction, before: int) -> None:
        self.writes: dict[Item, int | None] = {}
        self._history = history
        self._transaction = transaction
        self._before = before
        self._items: set[Item] = set()
        self._tables: set[str] = set()

    async def get(self, table: str, keys: list[int]) -> dict[int, int]:
        """Read some rows."""
        self._items |= {(table, key) for key in keys} - self.writes.keys()
        got = await self._transaction.get(table, keys)
        rows = {row.id: row.payload["number"] for row in got if row is not None}
        self._history.sights.append(
            Sight(table=table, rows=rows, keys=tuple(keys), **self._circumstances())
        )
        return rows

    async def scan(self, table: str) -> None:
        """Read all rows."""
        self._tables.add(table)
        self._history.sights.append(
            Sight(
                table=table, rows=await rows_in(self._transaction, table), **self._circumstances()
            )
        )

    async def search(self, table: str, query: int) -> None:
        """Ask the index."""
        self._tables.add(table)
        found = await found_in(self._transaction, table, query)
        self._history.findings.append(Finding(**found, **self._circumstances()))

    def _circumstances(self) -> dict[str, Any]:
        return {"before": self._before, "lsn": self._transaction.lsn, "own": dict(self.writes)}

    async def put(self, table: str, rows: Mapping[int, int]) -> None:
        """Write rows: vector numbers by key."""
        await put(self._transaction, rows, table)
        self.writes |= {(table, key): number for key, number in rows.items()}

    async def delete(self, table: str, keys: list[int]) -> None:
        """Delete rows."""
        await self._transaction.delete(table, keys)
        self.writes |= {(table, key): None for key in keys}

    def wish(self, *, serializable: bool) -> Wish:
        """What it asks for."""
        return Wish(
            before=self._before,
            snapshot=self._transaction.lsn,
            writes=self.writes,
            reads=Reads(frozenset(self._items), frozenset(self._tables)) if serializable else None,
        )


@asynccontextmanager
async def attempt(
    database: Database, history: History, *, serializable: bool = False
) -> AsyncIterator[Attempt]:
    """A transaction, and how it ended."""
    before = history.known
    try:
        async with database.transaction(
            isolation="serializable" if serializable else "snapshot"
        ) as transaction:
            made = Attempt(history, transaction, before)
            yield made
    except ConflictError as error:
        history.refuse(made.wish(serializable=serializable), str(error))
        return
    if made.writes:
        assert transaction.result is not None
        history.commit(transaction.result.lsn, made.wish(serializable=serializable))


async def put(place: Any, rows: Mapping[int, int], *table: str) -> Any:
    """Write rows whose payloads say which vectors they have, to a table or a transaction."""
    payloads = [{"number": number} for number in rows.values()]
    return await place.upsert(*table, list(rows), vectors(list(rows.values())), payloads)


async def rows_in(place: Any, table: str) -> dict[int, int]:
    """All rows of a table, as a snapshot or a transaction sees them."""
    return {row.id: row.payload["number"] async for row in place.iterate(table)}


async def found_in(place: Any, table: str, query: int) -> dict[str, Any]:
    """What the index finds there, as `Finding` has it."""
    hits = await place.search(table, vector(QUERY + query), K, nprobe=EVERY)
    return {
        "table": table,
        "query": QUERY + query,
        "k": K,
        "keys": tuple(hits.ids),
        "distances": hits.distances.tobytes(),
    }
