"""The load beside a rebuild: a writer that deletes and inserts, a reader that searches."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy as np
import trio

from centroidb import Table
from tests.bench.data import Corpus
from tests.bench.latency import Latencies, Ticker
from tests.bench.recall import K

NPROBE = 32
SEED = 20_250_102


@dataclass
class Load:
    """The latencies of commits and searches, and the worst lateness of the event loop."""

    table: Table
    corpus: Corpus
    commits: Latencies = field(default_factory=Latencies)
    searches: Latencies = field(default_factory=Latencies)
    ticker: Ticker = field(default_factory=Ticker)

    async def beside(self, work: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        """Write and read without a pause until the work is done."""
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as load:
                nursery.start_soon(self.ticker.run)
                load.start_soon(self._write, done)
                load.start_soon(self._read, done)
                await work()
                done.set()
            nursery.cancel_scope.cancel()
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """The latencies of both tasks and of the loop."""
        return {
            "commit": self.commits.summary(),
            "search": self.searches.summary(),
            "loop_latest_ms": self.ticker.latest_ms,
        }

    async def _write(self, done: trio.Event) -> None:
        """Delete a row, insert it again: a commit each, so the table ends with the same rows."""
        order = np.random.default_rng(SEED).permutation(len(self.corpus.keys))
        for row in cycle(order.tolist()):
            if done.is_set():
                return
            key = int(self.corpus.keys[row])
            with self.commits.timed():
                await self.table.delete([key])
            with self.commits.timed():
                await self.table.upsert(
                    [key], self.corpus.vectors[row : row + 1], [self.corpus.payloads[row]]
                )

    async def _read(self, done: trio.Event) -> None:
        for query in cycle(self.corpus.queries):
            if done.is_set():
                return
            with self.searches.timed():
                await self.table.search(query, k=K, nprobe=NPROBE)
