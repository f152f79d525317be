"""The load beside a rebuild: one task that writes, one that searches, without a pause."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import trio
from numpy.typing import NDArray

from centroidb import Table
from tests.bench.data import Corpus
from tests.bench.latency import Latencies, Ticker
from tests.bench.recall import K

NPROBE = 32
SEED = 20_250_102

Commits = Sequence[Callable[[], Awaitable[object]]]
"""Commits that belong together: the writer stops before or after them, not between."""


@dataclass
class Load:
    """The latencies of commits and searches, and the worst lateness of the event loop."""

    table: Table
    queries: NDArray[np.float32]
    writes: Iterator[Commits]
    """Without an end."""
    nprobe: int = NPROBE
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
        for commits in self.writes:
            if done.is_set():
                return
            for commit in commits:
                with self.commits.timed():
                    await commit()

    async def _read(self, done: trio.Event) -> None:
        for query in cycle(self.queries):
            if done.is_set():
                return
            with self.searches.timed():
                await self.table.search(query, k=K, nprobe=self.nprobe)


def rewrites(table: Table, corpus: Corpus) -> Iterator[Commits]:
    """Delete a row, insert it again: a commit each, so the table ends with the same rows."""
    order = np.random.default_rng(SEED).permutation(len(corpus.keys))
    for row in cycle(order.tolist()):
        key, vector = int(corpus.keys[row]), corpus.vectors[row : row + 1]
        yield (
            partial(table.delete, [key]),
            partial(table.upsert, [key], vector, [corpus.payloads[row]]),
        )


def inserts(table: Table, keys: Iterator[int], vectors: NDArray[np.float32]) -> Iterator[Commits]:
    """Insert rows under new keys, a commit each; the vectors come again and again."""
    for key, vector in zip(keys, cycle(vectors), strict=False):
        yield (partial(table.insert, [key], vector[None, :]),)
