"""How well an index finds what is near, measured on a sample of its own rows.

    queries    some live rows, drawn at random
    truth      their 10 nearest others, found exactly, a few runs of the table at a time
    homes      the partition that each of these is in
    recall     the share that a search finds in the partitions it probes by default
    cost       the share of the rows, in the order they are probed, that holds 95 % of them

Rows of the table are easier queries than those of users where users ask for what is not
there; as figures to compare with those of the same index after its build they serve.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...wal.blocking import run_blocking
from ...wal.types import IndexId
from ..index.centroids import CentroidSearch
from ..index.gate import recall_at_probes, rows_to_reach
from ..index.generation import Generation
from ..index.health import Measured
from ..index.parameters import default_nprobe
from ..storage.blocks import BlockCache
from ..storage.drawing import QUERIES_MIN, draw
from ..storage.lookup import Query, search_exactly
from .rebuild.gate import Homes, K, listed, neighbours
from .state import State
from .view import View, viewing

QUERIES = 128
"""With 64 the cost of one index varied by 12 % from sample to sample, with 128 by 6 %."""
FOUND_SHARE = 0.95
"""What part of the neighbours the cost is for."""

Vids = NDArray[np.int64]


async def sample(state: State, index: IndexId) -> Measured | None:
    """Measure the active generation of an index; None where it has none, or few rows are drawn.

    The cache is left alone: what searches use stays in it.
    """
    with viewing(state) as view:
        pinned = view.indexes.get(index)
        if pinned is None or pinned.generation is None:
            return None
        return await _measured(view, pinned.generation)


async def _measured(view: View, generation: Generation) -> Measured | None:
    table = view.table_with(generation.table)
    visibility = view.visibility(table)
    queries = await view.read(
        partial(draw, table=table, visibility=visibility, seed=generation.row.id, size=QUERIES)
    )
    if len(queries.vids) < QUERIES_MIN:
        return None
    query = Query(generation.metric, queries.vectors, K + 1, with_rows=False)
    nothing_kept = BlockCache(0, keeps_runs=False)
    answers = await search_exactly(view.read, nothing_kept, table, visibility, query)
    truth = neighbours([answer.vids for answer in answers], queries.vids)
    manifest = generation.manifest()
    try:
        wanted = np.unique(truth)
        found = await view.read(lambda c: listed(c, generation.row.id, manifest, wanted))
        homes = Homes(wanted, found)
    finally:
        generation.unpin(manifest)
    sizes = generation.partition_sizes()
    figures = await run_blocking(measure, generation.search, sizes, queries.vectors, truth, homes)
    recall, rows_read = figures
    return Measured(generation.row.id, recall, len(queries.vids), min(1.0, rows_read / table.live))


def measure(
    search: CentroidSearch,
    sizes: NDArray[np.int64],
    vectors: NDArray[np.float32],
    truth: Vids,
    homes: Homes,
) -> tuple[float, int]:
    """Recall by default, and the rows that hold 95 % of the neighbours.

    sizes: rows of each partition; vectors (q, dim); truth (q, K): their true neighbours.
    """
    ranking = search.rank(vectors, len(sizes))
    where = homes.of(truth)
    recall = recall_at_probes(where, ranking, default_nprobe(len(sizes)))
    return recall, rows_to_reach(where, ranking, sizes, FOUND_SHARE)
