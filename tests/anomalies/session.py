"""The script language: sessions whose commands interleave, each run on the public API.

    t1: begin [serializable]        t1: commit        t1: rollback
    s1: snapshot                    s1: close
    t1: upsert 1 a [at 3,4]         insert, update: the same; delete 1 2
    t1: get 1 2                     count             scan
    t1: search 3,4 k=2 [nprobe=1] [exact]
    db: fill 10 60                  rows with the keys 10 to 59
    db: index nlist=4               rebuild nlist=3 [keep_previous=1]
    db: previous                    the generation before takes over again
    db: reorganize                  fold              drop          vacuum

A session that has not begun anything, `db` among them, works outside of
transactions. The row with key n lies at (n, 0) unless the script says where.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from centroidb import CentroiDBError, Database, Hits, Row, Snapshot, Transaction
from tests.anomalies.upheaval import fold, reorganize

TABLE = "t"


def vector(text: str) -> list[float]:
    """`3,4` as a vector."""
    return [float(part) for part in text.split(",")]


def row_text(key: int, row: Row | None) -> str:
    """A row as scripts show it."""
    return f"{key}=-" if row is None else f"{key}={row.payload}"


def hits_text(hits: Hits) -> str:
    """What a search found, nearest first."""
    return " ".join(f"{hit.id}={hit.payload}({hit.distance:g})" for hit in hits) or "nothing"


@dataclass
class Session:
    """One name before the colon: a transaction, a snapshot, or neither."""

    db: Database
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    transaction: Transaction | None = None
    held: Snapshot | None = None

    @property
    def reads(self) -> Any:
        """What it reads from, given a table's name."""
        return self.transaction or self.held

    async def run(self, line: str) -> str:
        """Carry out one command; what it says, or the error it met."""
        name, *arguments = line.split()
        command: Callable[[Sequence[str]], Awaitable[str]] = getattr(self, f"do_{name}")
        try:
            return await command(arguments)
        except CentroiDBError as error:
            if name == "commit":
                await self.end()
            return f"{type(error).__name__}: {error}"

    async def end(self) -> None:
        """Roll back or let go of what it has open."""
        if self.transaction is not None:
            self.transaction.rollback()
        self.transaction = self.held = None
        await self.stack.aclose()

    async def do_begin(self, arguments: Sequence[str]) -> str:
        """Begin a transaction."""
        isolation: Any = arguments[0] if arguments else "snapshot"
        begun = self.db.transaction(isolation=isolation)
        self.transaction = await self.stack.enter_async_context(begun)
        return "ok"

    async def do_commit(self, _: Sequence[str]) -> str:
        """Commit it."""
        assert self.transaction is not None
        result = await self.transaction.commit()
        await self.end()
        return f"committed at {result.lsn}"

    async def do_rollback(self, _: Sequence[str]) -> str:
        """Roll it back."""
        await self.end()
        return "ok"

    async def do_snapshot(self, _: Sequence[str]) -> str:
        """Open a snapshot."""
        self.held = await self.stack.enter_async_context(self.db.snapshot())
        return f"at {self.held.lsn}"

    do_close = do_rollback

    async def _write(self, method: str, *arguments: Any) -> str:
        if self.transaction is not None:
            await getattr(self.transaction, method)(TABLE, *arguments)
            return "ok"
        table = await self.db.table(TABLE)
        return f"committed at {(await getattr(table, method)(*arguments)).lsn}"

    async def do_upsert(self, arguments: Sequence[str], method: str = "upsert") -> str:
        """Put a row."""
        key, payload, *place = arguments
        at = vector(place[1]) if place else [float(key), 0.0]
        return await self._write(method, int(key), at, payload)

    async def do_insert(self, arguments: Sequence[str]) -> str:
        """Put a row that must not be there."""
        return await self.do_upsert(arguments, "insert")

    async def do_update(self, arguments: Sequence[str]) -> str:
        """Change the payload of a row that must be there."""
        return await self._write("update_payloads", int(arguments[0]), arguments[1])

    async def do_delete(self, arguments: Sequence[str]) -> str:
        """Delete rows."""
        return await self._write("delete", [int(key) for key in arguments])

    async def do_fill(self, arguments: Sequence[str]) -> str:
        """Put many rows."""
        keys = np.arange(*map(int, arguments))
        places = np.stack([keys, np.zeros(len(keys))], axis=1)
        return await self._write("upsert", keys, places, ["fill"] * len(keys))

    async def do_get(self, arguments: Sequence[str]) -> str:
        """Read rows by key."""
        keys = [int(key) for key in arguments]
        table = await self.db.table(TABLE)
        found = await (self.reads.get(TABLE, keys) if self.reads else table.get(keys))
        return " ".join(map(row_text, keys, found))

    async def do_count(self, _: Sequence[str]) -> str:
        """Count the rows."""
        table = await self.db.table(TABLE)
        return str(await (self.reads.count(TABLE) if self.reads else table.count()))

    async def do_scan(self, _: Sequence[str]) -> str:
        """Read all rows, by key."""
        table = await self.db.table(TABLE)
        rows = self.reads.iterate(TABLE) if self.reads else table.iterate()
        found = {int(row.id): row async for row in rows}
        return " ".join(row_text(key, found[key]) for key in sorted(found)) or "nothing"

    async def do_search(self, arguments: Sequence[str]) -> str:
        """Read the rows nearest to a place."""
        query, *words = arguments
        options: dict[str, Any] = {"exact": "exact" in words}
        options |= {name: int(value) for name, value in options_of(words).items()}
        table = await self.db.table(TABLE)
        at = vector(query)
        search = self.reads.search(TABLE, at, **options) if self.reads else None
        return hits_text(await (search or table.search(at, **options)))

    async def do_index(self, arguments: Sequence[str]) -> str:
        """Make an index and build it."""
        table = await self.db.table(TABLE)
        made = await table.create_index("ix", **options_of(arguments))
        return f"{len(await made.partitions())} partitions"

    async def do_rebuild(self, arguments: Sequence[str]) -> str:
        """Rebuild the index online, and swap the new generation in."""
        index = await self.db.index("ix")
        await index.rebuild(parallel=1, **options_of(arguments))
        return f"{len(await index.partitions())} partitions"

    async def do_previous(self, _: Sequence[str]) -> str:
        """Bring back the generation that the last rebuild has replaced."""
        await (await self.db.index("ix")).rollback()
        return "ok"

    async def do_reorganize(self, _: Sequence[str]) -> str:
        """Split and merge partitions between two rebuilds."""
        await reorganize(self.db, "ix")
        return "ok"

    async def do_fold(self, _: Sequence[str]) -> str:
        """Write the rows that the index has in memory as segments."""
        await fold(self.db, "ix")
        return "ok"

    async def do_drop(self, _: Sequence[str]) -> str:
        """Drop the table and make it anew, empty."""
        await self.db.drop_table(TABLE)
        await self.db.create_table(TABLE, dim=2)
        return "ok"

    async def do_vacuum(self, _: Sequence[str]) -> str:
        """Purge what nobody sees."""
        await self.db.vacuum()
        return "ok"


def options_of(words: Sequence[str]) -> dict[str, Any]:
    """`k=2` and its like."""
    pairs = [word.split("=") for word in words if "=" in word]
    return {name: int(value) for name, value in pairs}
