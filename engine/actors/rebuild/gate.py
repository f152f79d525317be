"""The gate: before a swap, recall of the new generation against the old, at equal rows read.

    queries    rows held out from the k-means sample, drawn with the build's seed
    truth      their k nearest among the rows at S0, found exactly
    homes      the partition each of these is in, in the old and in the new generation
    verdict    recall after the same number of rows, query by query (see `index.gate`)

Worse by more than the tolerance, and not by chance: the build is rejected, the
old generation stays.
"""

import sqlite3
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....txn.deaths import Visibility
from ....wal import rows, segments
from ....wal.blocking import run_blocking
from ....wal.catalog import TableRow
from ....wal.types import GenerationId
from ...index.gate import Verdict, recall_at_budget, verdict
from ...index.generation import Generation, Manifest
from ...storage.lookup import Query, search_exactly
from ..errors import RebuildRejected
from ..state import State
from .static_phase import Assigned

QUERIES = 100
K = 10
ROWS_SHARE = 10
"""The budget is one row in 10, what a search reads by default."""
TOLERANCE = 0.01

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


async def require_recall(
    state: State,
    table: TableRow,
    visibility: Visibility,
    assigned: Assigned,
    old: Generation,
    new: Generation,
) -> Verdict:
    """Raise RebuildRejected, with both figures, when the new generation is worse."""
    drawn = await run_blocking(held_out, assigned, new.row.seed)
    vectors = (
        await state.pool.read(lambda c: rows.read_vectors(c, table.id, drawn, table.dim))
    ).vectors
    query = Query(new.metric, vectors, K + 1, with_rows=False)
    answers = await search_exactly(state.pool.read, state.cache, table, visibility, query)
    truth = neighbours([answer.vids for answer in answers], drawn)
    manifest = old.manifest()
    try:
        homes = await state.pool.read(lambda c: listed(c, old.row.id, manifest))
    finally:
        old.unpin(manifest)
    outcome = await run_blocking(
        compare,
        vectors,
        truth,
        (old, homes),
        (new, Homes(assigned.versions.vids, assigned.centroids)),
    )
    if not outcome.passed:
        raise RebuildRejected(
            f"recall at equal rows read would fall from {outcome.recall_old:.3f} to "
            f"{outcome.recall_new:.3f} (difference {outcome.difference:+.3f}, 95 % between "
            f"{outcome.low:+.3f} and {outcome.high:+.3f}); the old generation stays"
        )
    return outcome


def held_out(assigned: Assigned, seed: int) -> Vids:
    """Some rows that k-means has not seen, int64 ascending; any, when it has seen all."""
    unseen = np.setdiff1d(np.arange(len(assigned.centroids)), assigned.sampled)
    pool = unseen if len(unseen) >= QUERIES else np.arange(len(assigned.centroids))
    generator = np.random.default_rng((seed, 1))
    drawn = generator.choice(pool, min(QUERIES, len(pool)), replace=False)
    vids: Vids = assigned.versions.vids[np.sort(drawn)]
    return vids


def neighbours(found: list[Vids], own: Vids) -> Vids:
    """The K nearest of each query but itself, int64 (q, K); 0, which no row has, where fewer."""
    truth = np.zeros((len(found), K), np.int64)
    for query, vids in enumerate(found):
        others = vids[vids != own[query]][:K]
        truth[query, : len(others)] = others
    return truth


def listed(connection: sqlite3.Connection, generation: GenerationId, manifest: Manifest) -> Homes:
    """Where the rows of a generation are."""
    vids = [manifest.delta.vids, *(batch.rows.vids for batch in manifest.batches)]
    homes = [manifest.delta.centroids, *(batch.rows.centroids for batch in manifest.batches)]
    for centroid, some in segments.listed_by_partition(connection, generation):
        vids.append(some)
        homes.append(np.full(len(some), centroid, np.int32))
    joined = np.concatenate(vids)
    order = np.argsort(joined, kind="stable")
    return Homes(joined[order], np.concatenate(homes)[order])


def compare(
    vectors: NDArray[np.float32],
    truth: Vids,
    old: tuple[Generation, Homes],
    new: tuple[Generation, Homes],
) -> Verdict:
    """Recall of both after the same number of rows."""
    budget = max(1, int(new[0].partition_sizes().sum()) // ROWS_SHARE)

    def recall(generation: Generation, homes: Homes) -> NDArray[np.float64]:
        ranking = generation.search.rank(vectors, generation.row.nlist)
        return recall_at_budget(homes.of(truth), ranking, generation.partition_sizes(), budget)

    return verdict(recall(*old), recall(*new), TOLERANCE)
