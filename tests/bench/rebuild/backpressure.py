"""Backpressure: a rebuild beside writers that write as fast as they can, or a share of that.

    peak:   writers alone, without a pause  ->  rows a second
    then:   writers at 10, 50, 100 % of it  ||  rebuild

A rebuild that always ends, however fast the writers are, converges.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import trio
from numpy.typing import NDArray

from centroidb import Index, Table
from tests.bench.latency import Latencies
from tests.bench.mixture import Mixture
from tests.bench.rebuild.drift import INDEX, opened

ROWS = 100_000
WRITERS = 2
ROWS_A_COMMIT = 500
SHARES = (0.1, 0.5, 1.0)
LIMIT_S = 900.0
"""A rebuild that is not done by then does not converge."""
SEED = 20_250_105


@dataclass
class Writers:
    """Tasks that replace rows, some hundred at a time, `rows_per_s` together."""

    table: Table
    vectors: NDArray[np.float32]
    rows_per_s: float
    commits: Latencies = field(default_factory=Latencies)

    async def beside(self, work: Callable[[], Awaitable[object]]) -> dict[str, float]:
        """Write until the work is done; the latencies, and the rows written a second."""
        start_s = perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(WRITERS):
                nursery.start_soon(self._write, np.random.default_rng([SEED, number]))
            await work()
            seconds = perf_counter() - start_s
            nursery.cancel_scope.cancel()
        summary = self.commits.summary()
        return {**summary, "rows_per_s": summary["calls"] * ROWS_A_COMMIT / seconds}

    async def _write(self, random: np.random.Generator) -> None:
        """On the beat; a commit that is late is made at once, and the beat goes on from it."""
        beat_s = WRITERS * ROWS_A_COMMIT / self.rows_per_s
        due_s = trio.current_time()
        while True:
            due_s = max(due_s + beat_s, trio.current_time())
            await trio.sleep_until(due_s)
            keys = random.choice(len(self.vectors), ROWS_A_COMMIT, replace=False)
            values = self.vectors[random.permutation(keys)]
            with self.commits.timed():
                await self.table.upsert(keys, values)


class Rebuild:
    """A rebuild that notes how far it was behind."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.result: dict[str, Any] = {"converged": False}

    async def run(self) -> None:
        """Rebuild, within the limit."""
        lag, slope = 0, 0.0
        with trio.move_on_after(LIMIT_S):
            async with self._index.rebuilding() as job:
                async for event in job:
                    lag = max(lag, event.lag)
                    slope = event.lag_slope or slope
                self.result |= {"converged": True, "outcome": asdict(job.outcome)}
        self.result |= {"largest_lag": lag, "last_lag_slope": slope}


async def run(folder: Path, scale: float, peak_s: float) -> list[dict[str, Any]]:
    """The peak, then the shares of it."""
    random = np.random.default_rng(SEED)
    vectors = Mixture.of(random).draw(random, int(ROWS * scale))
    async with opened(folder / "backpressure.db") as (database, table):
        await table.upsert(np.arange(len(vectors)), vectors)
        index = await table.create_index(INDEX)
        writers = partial(Writers, table, vectors)
        peak = await writers(np.inf).beside(partial(trio.sleep, peak_s))
        results: list[dict[str, Any]] = [{"share": "peak, no rebuild", "writers": peak}]
        for share in SHARES:
            await database.vacuum()
            rebuild = Rebuild(index)
            rate = peak["rows_per_s"] * share if share < 1 else np.inf
            written = await writers(rate).beside(rebuild.run)
            results.append({"share": f"{share:.0%}", "writers": written, **rebuild.result})
    return results
