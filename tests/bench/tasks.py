"""CentroiDB, measured through its public API: one task, then so many tasks at once.

Each measurement opens the file, durable, and closes it; a ticker beside all but the sweep, which
it would slow, notes how late the event loop was.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count, cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import trio

from centroidb import Database, Table, open_db
from tests.bench.latency import Latencies, Ticker
from tests.bench.memory import memory_bytes
from tests.bench.recall import K, Point
from tests.bench.sets import nlist
from tests.bench.sweep import Exam, sweep_point
from tests.bench.systems import NPROBES
from tests.bench.threads import CLIENTS, ENOUGH, WARM_UP, effort_at

FILE = "centroidb.db"
TABLE, INDEX = "rows", "rows_ivf"
MIB = 1 << 20


class Tasks:
    """The file that was built last, and what searches are judged by."""

    def __init__(self, exam: Exam, *, codes_only: bool) -> None:
        self._exam = exam
        self._dim = exam.queries.shape[1]
        raw_bytes = exam.vectors.nbytes
        self._cache_bytes = raw_bytes // 2 if codes_only else 2 * raw_bytes + 64 * MIB
        self._folder = Path()
        self._seed = 0

    def build(self, folder: Path) -> dict[str, Any]:
        """By another seed of k-means than the last."""
        self._folder = folder
        self._seed += 1
        return trio.run(self._build, folder / FILE)

    async def _build(self, path: Path) -> dict[str, Any]:
        async with self._opened(path) as (_, table), ticking() as ticker:
            start_s = perf_counter()
            await table.upsert(self._exam.keys, self._exam.vectors)
            loaded_s = perf_counter()
            lanes = os.cpu_count()  # as faiss has threads
            await table.create_index(
                INDEX, nlist=nlist(self._exam), seed=self._seed, parallel=lanes
            )
            ended_s = perf_counter()
        return {
            "load_s": loaded_s - start_s,
            "build_s": ended_s - loaded_s,
            "late_ms": ticker.latest_ms,
        }

    def search(self, recall: float, seconds: float) -> dict[str, Any]:
        """One client by effort, then more at the effort that reaches the recall."""
        return trio.run(self._search, recall, seconds)

    async def _search(self, recall: float, seconds: float) -> dict[str, Any]:
        queries = cycle(self._exam.queries)
        async with self._opened(self._folder / FILE) as (_, table):
            points = await self._sweep(table)
            effort = effort_at(points, recall)

            async def call() -> None:
                await table.search(next(queries), k=K, nprobe=effort)

            async with ticking() as ticker:
                rates = {number: await together(number, seconds, call) for number in CLIENTS}
        return {
            "points": points,
            "effort": effort,
            "clients": rates,
            "late_ms": ticker.latest_ms,
        }

    async def _sweep(self, table: Table) -> list[Point]:
        enough = max(WARM_UP, nlist(self._exam) // 4)  # vectors join a few partitions at a time
        for query in islice(cycle(self._exam.queries), enough):
            await table.search(query, k=K, nprobe=nlist(self._exam))
        points: list[Point] = []
        for effort in NPROBES:
            point = await sweep_point(table, self._exam, effort)
            points.append({"effort": effort, **point})
            if point["recall"] >= ENOUGH:
                break
        return points

    def write(self, folder: Path, number: int, seconds: float) -> dict[str, Any]:
        """Rows of the set under new keys."""
        return trio.run(self._write, folder / FILE, number, seconds)

    async def _write(self, path: Path, number: int, seconds: float) -> dict[str, float]:
        rows = zip(count(), cycle(self._exam.vectors), strict=False)
        async with self._opened(path) as (_, table), ticking() as ticker:

            async def call() -> None:
                key, vector = next(rows)
                await table.insert(key, vector)

            result = await together(number, seconds, call)
        return {**result, "late_ms": ticker.latest_ms}

    def close(self) -> dict[str, Any]:
        """It is closed already."""
        files = self._folder.glob(f"{FILE}*")
        return {"bytes": sum(file.stat().st_size for file in files)}

    def reopen(self, folder: Path, effort: int) -> dict[str, Any]:
        """Memory is over that of an empty one, which is measured first, in the same process."""
        return trio.run(self._reopen, folder, effort)

    async def _reopen(self, folder: Path, effort: int) -> dict[str, Any]:
        async with self._opened(folder / "empty.db"):
            empty_bytes = memory_bytes([os.getpid()])
        start_s = perf_counter()
        async with self._opened(folder / FILE) as (_, table):
            await table.search(self._exam.queries[0], k=K, nprobe=effort)
            first_s = perf_counter() - start_s
            for query in self._exam.queries:
                await table.search(query, k=K, nprobe=effort)
            held = memory_bytes([os.getpid()])
        return {"first_s": first_s, "memory_bytes": held - empty_bytes}

    @asynccontextmanager
    async def _opened(self, path: Path) -> AsyncIterator[tuple[Database, Table]]:
        async with open_db(path, cache_bytes=self._cache_bytes) as database:
            yield database, await database.create_table(TABLE, dim=self._dim, if_not_exists=True)


@asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    """A ticker beside the body."""
    ticker = Ticker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticker.run)
        yield ticker
        nursery.cancel_scope.cancel()


async def together(
    number: int, seconds: float, call: Callable[[], Awaitable[None]]
) -> dict[str, float]:
    """So many tasks that call without a pause for some seconds: latencies, and calls a second."""
    latencies, start_s = Latencies(), perf_counter()

    async def work() -> None:
        while perf_counter() < start_s + seconds:
            with latencies.timed():
                await call()

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(work)
    summary = latencies.summary()
    return {**summary, "per_s": summary["calls"] / (perf_counter() - start_s)}
