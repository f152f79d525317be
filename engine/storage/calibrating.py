"""A calibration of one generation: sampled rows are its queries, its segments the rows.

Each step is one short read of some segments, so that no reader is busy for long.
Rows that are not folded yet are left out: they are few, and probed with their partitions.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...txn.deaths import Visibility
from ...wal.blocking import run_blocking
from ...wal.catalog import TableRow
from ...wal.seal import SegmentRef
from ...wal.vectors import VectorBlock
from ..index.calibration import fit, held_against
from ..index.curves import Curves, residuals
from ..index.generation import Generation, Manifest
from ..index.rules import KS, Rules
from ..index.spread import Moments
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
for a large k."""
QUERIES_DEEP: Final = 256
DEPTHS: Final = ((KS[:2], QUERIES), (KS[2:3], QUERIES_DEEP), (KS[3:], QUERIES_DEEP // 2))
"""For some k, how many queries: the recall of a large k varies less, and costs more to note."""
ROWS_A_STEP: Final = 16_384
ROWS_AT_ONCE: Final = 4_096
"""Rows that are compared with all queries: 16 MiB of values."""

Piece = tuple[int, tuple[SegmentRef, ...]]
"""Some segments of a partition."""


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
        for pieces in _steps(manifest):
            await read(
                partial(
                    sample.add,
                    table=table,
                    visibility=visibility,
                    generation=generation,
                    pieces=pieces,
                )
            )
    finally:
        generation.unpin(manifest)
    sizes = generation.partition_sizes()
    return await run_blocking(sample.rules, generation.centroids_crc, sizes, table.writes)


def _steps(manifest: Manifest) -> Iterator[list[Piece]]:
    """The segments, some at a time; those of a large partition in more than one step."""
    some: list[Piece] = []
    n = 0
    for partition, refs in manifest.segments.items():
        first = 0
        for until, ref in enumerate(refs, 1):
            n += ref.n
            if n >= ROWS_A_STEP:
                yield [*some, (partition, refs[first:until])]
                some, n, first = [], 0, until
        if first < len(refs):
            some.append((partition, refs[first:]))
    if some:
        yield some


@dataclass
class _Sample:
    """What is known so far. Filled in worker threads, one step after another."""

    moments: Moments
    drawn: list[Curves]
    """One for each of `DEPTHS`."""
    asked: Curves | None
    """Of captured queries, if there are enough."""

    @classmethod
    def of(cls, generation: Generation, drawn: VectorBlock, captured: Vectors) -> "_Sample":
        order = np.random.default_rng(generation.row.id).permutation(len(drawn.vids))
        metric, search = generation.metric, generation.search
        curves = []
        for ks, size in DEPTHS:
            some = np.sort(order[:size])
            curves.append(Curves(metric, drawn.vectors[some], drawn.vids[some], search, ks))
        asked = None
        if len(captured) >= CAPTURED_MIN:
            nobody = np.zeros(len(captured), np.int64)
            asked = Curves(metric, captured, nobody, search, KS)
        return cls(Moments(generation.row.nlist), curves, asked)

    def add(
        self,
        connection: sqlite3.Connection,
        table: TableRow,
        visibility: Visibility,
        generation: Generation,
        pieces: Sequence[Piece],
    ) -> None:
        """Take these segments in, without a trace in the cache."""
        nothing_kept = BlockCache(0, keeps_runs=False)
        reader = TableReader(connection, table, nothing_kept)
        for partition, refs in pieces:
            block = reader.partition(generation, partition, refs)
            of_block, vids = residuals(block), block.vids
            seen = visibility(vids)
            if seen is not None:
                of_block, vids = of_block[seen], vids[seen]
            for start in range(0, len(vids), ROWS_AT_ONCE):
                some = slice(start, start + ROWS_AT_ONCE)
                self._take(partition, of_block[some], vids[some])

    def _take(self, partition: int, rows: Vectors, vids: NDArray[np.int64]) -> None:
        """Rows (n, d) of a partition less its centroid."""
        for curves in self.curves():
            curves.add(partition, rows, vids)
        self.moments.add(partition, np.einsum("ij,ij->i", rows, rows, dtype=np.float64))

    def curves(self) -> list[Curves]:
        """All of them."""
        return [*self.drawn, self.asked] if self.asked else self.drawn

    def rules(self, centroids_crc: int, sizes: NDArray[np.int64], writes: int) -> Rules:
        """What follows from all of them."""
        spread = self.moments.spread()
        traces = [each for curves in self.drawn for each in curves.traces(spread, sizes)]
        rules = [fit(k, each) for k, each in zip(KS, traces, strict=True)]
        asked = self.asked.traces(spread, sizes) if self.asked else []
        for number, each in enumerate(asked):
            rules[number] = held_against(rules[number], each)
        return Rules(centroids_crc, spread, tuple(rules), writes, len(asked and asked[0]))
