"""A calibration of one generation: sampled rows are its queries, its segments the rows.

Each step is one short read of some partitions, so that no reader is busy for long.
Rows that are not folded yet are left out: they are few, and probed with their partitions.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...txn.deaths import Visibility
from ...wal.blocking import run_blocking
from ...wal.catalog import TableRow
from ...wal.rows import VectorBlock
from ..index.cache import Cache
from ..index.calibration import fit, held_against
from ..index.curves import Curves, residuals
from ..index.generation import Generation, Manifest
from ..index.rules import KS, Rules
from ..index.spread import Spread
from .blocks import BlockCache, TableReader
from .drawing import QUERIES_MIN, draw
from .lookup import ReadCall

Vectors = NDArray[np.float32]

NOTHING: Final = np.empty((0, 0), np.float32)
CAPTURED_MIN: Final = 64
"""Fewer captured queries tell nothing about a share of 0.05."""
QUERIES: Final = 1_024
PAIRS: Final = 100_000_000
"""Of a query and a row; a table of more than 100,000 rows has fewer queries, at least as many as
for the largest k."""
QUERIES_DEEP: Final = 256
"""As many of them do for the largest k, whose recall varies less and costs more to note."""
ROWS_A_STEP: Final = 16_384


async def calibrate(
    read: ReadCall,
    table: TableRow,
    visibility: Visibility,
    generation: Generation,
    *,
    captured: Vectors = NOTHING,
    queries: int | None = None,
) -> Rules | None:
    """Rules for a generation; None where the table has too few rows to draw queries from.

    captured: queries that were asked, float32 (n, d); queries: how many rows are drawn as
    such, by default fewer of a large table.
    """
    seed = generation.row.id
    queries = queries or max(QUERIES_DEEP, min(QUERIES, PAIRS // max(1, table.live)))
    drawn = await read(partial(draw, table=table, visibility=visibility, seed=seed, size=queries))
    if len(drawn.vids) < QUERIES_MIN:
        return None
    sample = await run_blocking(_Sample.of, generation, drawn, captured)
    manifest = generation.manifest()
    try:
        for partitions in _steps(manifest):
            await read(
                partial(
                    sample.add,
                    table=table,
                    visibility=visibility,
                    generation=generation,
                    manifest=manifest,
                    partitions=partitions,
                )
            )
    finally:
        generation.unpin(manifest)
    sizes = generation.partition_sizes()
    return await run_blocking(sample.rules, sizes, table.writes)


def _steps(manifest: Manifest) -> Iterator[list[int]]:
    """The partitions, some at a time."""
    some: list[int] = []
    n = 0
    for partition, refs in manifest.segments.items():
        some.append(partition)
        n += sum(ref.n for ref in refs)
        if n >= ROWS_A_STEP:
            yield some
            some, n = [], 0
    if some:
        yield some


@dataclass
class _Sample:
    """What is known so far. Filled in worker threads, one step after another."""

    nlist: int
    drawn: list[Curves]
    asked: Curves | None
    """Of captured queries, if there are enough."""
    labels: list[NDArray[np.int32]] = field(default_factory=list)
    squares: list[NDArray[np.float64]] = field(default_factory=list)

    @classmethod
    def of(cls, generation: Generation, drawn: VectorBlock, captured: Vectors) -> "_Sample":
        order = np.random.default_rng(generation.row.id).permutation(len(drawn.vids))
        deep = np.sort(order[:QUERIES_DEEP])
        metric, search = generation.metric, generation.search
        curves = [
            Curves(metric, drawn.vectors, drawn.vids, search, KS[:-1]),
            Curves(metric, drawn.vectors[deep], drawn.vids[deep], search, KS[-1:]),
        ]
        asked = None
        if len(captured) >= CAPTURED_MIN:
            nobody = np.zeros(len(captured), np.int64)
            asked = Curves(metric, captured, nobody, search, KS)
        return cls(generation.row.nlist, curves, asked)

    def add(
        self,
        connection: sqlite3.Connection,
        table: TableRow,
        visibility: Visibility,
        generation: Generation,
        manifest: Manifest,
        partitions: Sequence[int],
    ) -> None:
        """Take these partitions in, without a trace in the cache."""
        nothing_kept: BlockCache = Cache(0, keeps_runs=False)
        reader = TableReader(connection, table, nothing_kept)
        for partition in partitions:
            block = reader.partition(generation, partition, manifest.segments[partition])
            of_block, vids = residuals(block), block.vids
            seen = visibility(vids)
            if seen is not None:
                of_block, vids = of_block[seen], vids[seen]
            for curves in self.curves():
                curves.add(partition, of_block, vids)
            self.labels.append(np.full(len(vids), partition, np.int32))
            self.squares.append(np.einsum("ij,ij->i", of_block, of_block, dtype=np.float64))

    def curves(self) -> list[Curves]:
        """All of them."""
        return [*self.drawn, self.asked] if self.asked else self.drawn

    def rules(self, sizes: NDArray[np.int64], writes: int) -> Rules:
        """What follows from all of them."""
        labels = np.concatenate([np.empty(0, np.int32), *self.labels])
        squares = np.concatenate([np.empty(0), *self.squares])
        spread = Spread.of(labels, squares, self.nlist)
        traces = [each for curves in self.drawn for each in curves.traces(spread, sizes)]
        rules = [fit(k, each) for k, each in zip(KS, traces, strict=True)]
        asked = self.asked.traces(spread, sizes) if self.asked else []
        for number, each in enumerate(asked):
            rules[number] = held_against(rules[number], each)
        return Rules(spread, tuple(rules), writes, len(asked and asked[0]))
