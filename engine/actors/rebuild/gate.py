"""The gate: before a swap, recall of the new generation against the old, at equal rows read.

    queries    rows held out from the k-means sample, drawn with the build's seed;
               then vectors that were really searched for (`capture`)
    truth      their k nearest among the rows at S0, found exactly
    homes      the partition each of these is in, in the old and in the new generation
    verdict    recall after the same number of rows, query by query (see `index.gate`)

Worse by more than the tolerance, and not by chance, by the one or the other: the
build is rejected, the old generation stays.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....txn.deaths import Visibility
from ....wal import segments
from ....wal.blocking import run_blocking
from ....wal.catalog import TableRow
from ....wal.types import GenerationId
from ....wal.vectors import read_vectors
from ...index.gate import QUERIES, Verdict, recall_at_budget, verdict
from ...index.generation import Generation, Manifest
from ...storage.blocks import BlockCache
from ...storage.lookup import Query, search_exactly
from ..errors import RebuildRejected
from ..state import State
from .budget import Plan
from .static_phase import Assigned

K = 10
ROWS_SHARE = 10
"""The budget is one row in 10, what a search reads by default."""
TOLERANCE = 0.01
TOLERANCE_FEWER = 0.05
"""For a build into fewer partitions, since the table has shrunk."""
CAPTURED_MIN = 20
"""Fewer captured queries tell nothing."""
QUERIES_A_LOT = 8
"""All partitions are ranked for so many queries at a time."""

Vids = NDArray[np.int64]


@dataclass(frozen=True)
class Homes:
    """Where rows are: vids int64 (n,) ascending, centroids int32 (n,)."""

    vids: Vids
    centroids: NDArray[np.int32]

    def of(self, wanted: Vids) -> NDArray[np.int32]:
        """The partition of each wanted vid, in their shape; -1 for one that is not listed."""
        if not len(self.vids):
            return np.full(wanted.shape, -1, np.int32)
        at = np.minimum(np.searchsorted(self.vids, wanted), len(self.vids) - 1)
        found: NDArray[np.int32] = np.where(self.vids[at] == wanted, self.centroids[at], -1)
        return found


@dataclass(frozen=True)
class Gate:
    """The gate of one build. `visibility` is S0."""

    state: State
    table: TableRow
    visibility: Visibility
    plan: Plan
    tolerance: float

    async def require_recall(self, assigned: Assigned, old: Generation, new: Generation) -> Verdict:
        """Raise RebuildRejected, with both figures, when the new generation is worse.

        By held-out rows, and by captured queries if there are enough of them.
        """
        table, listed = self.table, Homes(assigned.versions, assigned.centroids)
        drawn = await run_blocking(held_out, assigned, new.row.seed)
        block = await self._read(lambda c: read_vectors(c, table.id, drawn, table.dim))
        outcome = await self._verdict("held-out rows", block.vectors, drawn, (old, new), listed)
        captured = self.state.captured.get(old.row.index)
        if captured is not None and len(captured) >= CAPTURED_MIN:
            vectors = captured.vectors(QUERIES)
            nobody = np.zeros(len(vectors), np.int64)
            await self._verdict("captured queries", vectors, nobody, (old, new), listed)
        return outcome

    async def _verdict(
        self,
        what: str,
        vectors: NDArray[np.float32],
        own: Vids,
        generations: tuple[Generation, Generation],
        listed: Homes,
    ) -> Verdict:
        """Compare by these queries, float32 (q, d); own: the row that each is, 0 for none."""
        old, new = generations
        truth = await self._truth(vectors, own, new)
        homes = await self._homes(old, np.unique(truth))
        async with self.state.build_workers:
            outcome = await run_blocking(
                compare, vectors, truth, (old, homes), (new, listed), self.tolerance
            )
        if not outcome.passed:
            raise RebuildRejected(
                f"recall at equal rows read would fall from {outcome.recall_old:.3f} to "
                f"{outcome.recall_new:.3f}, by {outcome.queries} {what} (difference "
                f"{outcome.difference:+.3f}, 95 % between {outcome.low:+.3f} and "
                f"{outcome.high:+.3f}); the old generation stays"
            )
        return outcome

    async def _truth(self, vectors: NDArray[np.float32], own: Vids, new: Generation) -> Vids:
        """The nearest rows of these queries, int64 (q, K)."""
        table = self.table
        query = Query(new.metric, vectors, K + 1, with_rows=False)
        cache = BlockCache(0, keeps_runs=False) if self.plan.is_bounded else self.state.cache
        answers = await search_exactly(
            self._read, cache, table, self.visibility, query, step=self.plan.cut.gate
        )
        return neighbours([answer.vids for answer in answers], own)

    async def _homes(self, old: Generation, wanted: Vids) -> Homes:
        """Where the old generation has these rows."""
        manifest = old.manifest()
        try:
            return Homes(
                wanted, await self._read(lambda c: listed(c, old.row.id, manifest, wanted))
            )
        finally:
            old.unpin(manifest)

    async def _read(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        async with self.state.build_workers:
            return await self.state.pool.read(fn)


def held_out(assigned: Assigned, seed: int) -> Vids:
    """Some rows that k-means has not seen, int64 ascending; any, when it has seen all."""
    n, sampled = len(assigned.centroids), assigned.sampled
    unseen = n - len(sampled)
    generator = np.random.default_rng((seed, 1))
    if unseen >= QUERIES:
        drawn = np.sort(generator.choice(unseen, QUERIES, replace=False))
        gaps = sampled - np.arange(len(sampled))  # how many are unseen before each
        drawn += np.searchsorted(gaps, drawn, side="right")
    else:
        drawn = np.sort(generator.choice(n, min(QUERIES, n), replace=False))
    vids: Vids = assigned.versions[drawn]
    return vids


def neighbours(found: list[Vids], own: Vids) -> Vids:
    """The K nearest of each query but itself, int64 (q, K); 0, which no row has, where fewer."""
    truth = np.zeros((len(found), K), np.int64)
    for query, vids in enumerate(found):
        others = vids[vids != own[query]][:K]
        truth[query, : len(others)] = others
    return truth


def listed(
    connection: sqlite3.Connection, generation: GenerationId, manifest: Manifest, wanted: Vids
) -> NDArray[np.int32]:
    """The partition of each wanted vid in a generation, int32 (n,); -1 if it is not listed."""
    found = np.full(len(wanted), -1, np.int32)

    def look(homes: Homes) -> None:
        here = homes.of(wanted)
        np.copyto(found, here, where=here >= 0)

    for view in (manifest.delta, *(batch.rows for batch in manifest.batches)):
        look(Homes(view.vids, view.centroids))
    for centroid, vids in segments.listed_by_partition(connection, generation):
        if centroid in manifest.segments:
            look(Homes(vids, np.full(len(vids), centroid, np.int32)))
    return found


def compare(
    vectors: NDArray[np.float32],
    truth: Vids,
    old: tuple[Generation, Homes],
    new: tuple[Generation, Homes],
    tolerance: float,
) -> Verdict:
    """Recall of both after the same number of rows."""
    budget = max(1, int(new[0].partition_sizes().sum()) // ROWS_SHARE)

    def recall(generation: Generation, homes: Homes) -> NDArray[np.float64]:
        sizes = generation.partition_sizes()
        lots = [slice(at, at + QUERIES_A_LOT) for at in range(0, len(vectors), QUERIES_A_LOT)]
        return np.concatenate(
            [
                recall_at_budget(
                    homes.of(truth[lot]),
                    generation.search.rank(vectors[lot], generation.row.nlist),
                    sizes,
                    budget,
                )
                for lot in lots
            ]
        )

    return verdict(recall(*old), recall(*new), tolerance)
