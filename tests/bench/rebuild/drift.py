"""CentroiDB's part of the drift: a stale index, rebuilt without load and under load.

base -> index -> delete, insert -> close -+-> copy: sweep, rebuild PARALLEL 2, sweep,
                                          |         index made anew, sweep
                                          +-> copy: load alone, load beside rebuild PARALLEL 1,
                                                    its rows deleted, sweep
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import trio

from centroidb import Database, Index, Table, open_db
from tests.bench.data import DIM
from tests.bench.load import Load, inserts
from tests.bench.rebuild.accuracy import NPROBE, measure
from tests.bench.rebuild.rows import LOAD_KEY, Drift
from tests.bench.sweep import Exam

TABLE, INDEX = "rows", "rows_ivf"


@dataclass(frozen=True)
class Bench:
    """The rows, what searches are judged by, and how long the load runs alone."""

    drift: Drift
    exam: Exam
    idle_s: float

    async def run(self, folder: Path) -> dict[str, Any]:
        """Everything; the folder must be empty."""
        stale, loaded = folder / "quiet.db", folder / "loaded.db"
        async with opened(stale) as (database, table):
            await self.make_stale(database, table)
        shutil.copy(stale, loaded)
        async with opened(stale) as (database, table):
            result = await self.quiet(database, table)
        async with opened(loaded) as (database, table):
            return result | {"loaded": await self.loaded(database, table)}

    async def make_stale(self, database: Database, table: Table) -> None:
        """An index on the base, then the change."""
        drift = self.drift
        await table.upsert(range(len(drift.base)), drift.base)
        await table.create_index(INDEX)
        await table.delete(drift.deleted)
        await table.upsert(drift.inserted_keys, drift.inserted)
        await database.vacuum()

    async def quiet(self, database: Database, table: Table) -> dict[str, Any]:
        """Before, a rebuild with nothing beside it, after; and an index made anew."""
        before = await measure(table, self.exam)
        outcome = await (await table.index(INDEX)).rebuild(parallel=2)
        after = await measure(table, self.exam)
        await database.drop_index(INDEX)
        await table.create_index(INDEX)
        fresh = await measure(table, self.exam)
        return {
            "before": before,
            "quiet": {"outcome": asdict(outcome), "after": after},
            "fresh": fresh,
        }

    async def loaded(self, database: Database, table: Table) -> dict[str, Any]:
        """The load alone, then beside a rebuild."""
        keys = count(LOAD_KEY)
        writes = inserts(table, keys, self.drift.load)
        idle = Load(table, self.drift.queries, writes, NPROBE)
        busy = Load(table, self.drift.queries, writes, NPROBE)
        alone = await idle.beside(partial(trio.sleep, self.idle_s))
        rebuild = Rebuild(await table.index(INDEX))
        during = await busy.beside(rebuild.run)
        await table.delete(range(LOAD_KEY, next(keys)))
        await database.vacuum()
        return {
            "outcome": rebuild.outcome,
            "swap_ms": (rebuild.ended_s - rebuild.swap_s) * 1e3,
            "swap_pause_ms": rebuild.pause_ms(busy),
            "idle": alone,
            "during": during,
            "after": await measure(table, self.exam),
        }


class Rebuild:
    """A rebuild PARALLEL 1 that notes when it swapped."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.outcome: dict[str, Any] = {}
        self.swap_s = 0.0
        self.ended_s = 0.0

    async def run(self) -> None:
        """Rebuild."""
        async with self._index.rebuilding(parallel=1) as job:
            async for event in job:
                if event.phase == "swap" and not self.swap_s:
                    self.swap_s = perf_counter()
            self.outcome = asdict(job.outcome)
        self.ended_s = perf_counter()

    def pause_ms(self, load: Load) -> float:
        """The longest commit or search that overlapped the swap."""
        span = self.swap_s, self.ended_s
        return max(load.commits.longest_ms(*span), load.searches.longest_ms(*span))


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[Database, Table]]:
    """The database and its one table; what `check()` finds at the end is an error."""
    async with open_db(path) as database:
        yield database, await database.create_table(TABLE, dim=DIM, if_not_exists=True)
        errors = (await database.check()).errors
    if errors:
        raise RuntimeError(f"check() after the bench: {errors}")
