"""The figures of an index, from what is in memory: cheap enough to be asked at any time."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from ...txn.deaths import ALIVE, Deaths
from ...wal.catalog import TableRow
from ..index.generation import Generation
from ..index.health import PartitionSizes, drift
from ..index.parameters import IndexParameters
from ..index.policy import Figures
from .view import PinnedIndex


@dataclass(frozen=True, kw_only=True)
class Health:
    """The figures of one index at one moment.

    rows: live in the table; delta_rows: filed and not folded; lag_rows: not yet
    filed; tombstones: listed but ended; imbalance: nlist * sum n^2 / (sum n)^2, 1
    when all partitions are of a size; drift: mean distance to the centroid of the
    rows now, over that at the build; rows_since_build: those that came since.

    recall: share of the 10 nearest rows that a search finds by default, as sampled last
    with so many queries; cost: share of the rows, in the order they are probed, that holds
    95 % of these; None while nothing was sampled. cost_at_build: 0 while not known. kept:
    generations that a rollback could bring back. An untrained index has no generation,
    and zeros.
    """

    rows: int
    generation: int | None
    nlist: int
    empty: int
    delta_rows: int
    lag_rows: int
    tombstones: int
    imbalance: float
    partition_p50: float
    partition_p95: float
    partition_max: int
    drift: float
    recall: float | None
    recall_queries: int
    cost: float | None
    cost_at_build: float
    rows_at_build: int
    rows_since_build: int
    built_at: str | None
    built_at_ns: int
    stored_bytes: int
    kept: int
    codec: str
    metric: str
    centroid_search: str
    auto_rebuild: str
    building: bool

    @property
    def figures(self) -> Figures:
        """What a decision about the index is made from."""
        return Figures(
            rows=self.rows,
            nlist=self.nlist,
            rows_at_build=self.rows_at_build,
            came=self.rows_since_build,
            imbalance=self.imbalance,
            partition_max=self.partition_max,
            drift=self.drift,
            recall=self.recall,
            cost=self.cost,
            cost_at_build=self.cost_at_build,
        )


def health(table: TableRow, deaths: Deaths, pinned: PinnedIndex, *, building: bool) -> Health:
    """The figures of an index of `table`."""
    parameters = IndexParameters.from_json(pinned.row.parameters)
    generation, measured = pinned.generation, pinned.measured
    listed = np.zeros(1, np.int64) if generation is None else generation.partition_sizes()
    sizes = PartitionSizes.of(listed)
    row = generation.row if generation else None
    lag = generation.lag_rows if generation else 0
    return Health(
        rows=table.live,
        generation=row.id if row else None,
        nlist=row.nlist if row else 0,
        empty=sizes.empty if generation else 0,
        delta_rows=len(generation.delta) if generation else 0,
        lag_rows=lag,
        tombstones=sizes.rows + lag - table.live if generation else 0,
        imbalance=sizes.imbalance,
        partition_p50=sizes.p50,
        partition_p95=sizes.p95,
        partition_max=sizes.largest,
        drift=_drift(generation) if generation else 0.0,
        recall=measured.recall if measured else None,
        recall_queries=measured.queries if measured else 0,
        cost=measured.cost if measured else None,
        cost_at_build=row.cost_at_build if row else 0.0,
        rows_at_build=row.rows_at_build if row else 0,
        rows_since_build=_came_since(generation, table, deaths) if generation else 0,
        built_at=readable(row.built_at_ns) if row else None,
        built_at_ns=row.built_at_ns if row else 0,
        stored_bytes=_stored_bytes(generation) if generation else 0,
        kept=pinned.kept,
        codec=parameters.codec_for(table.dim),
        metric=parameters.metric,
        centroid_search=parameters.centroid_search,
        auto_rebuild=parameters.auto_rebuild,
        building=building,
    )


def readable(time_ns: int) -> str:
    """A time of the file in words, to the second, UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _came_since(generation: Generation, table: TableRow, deaths: Deaths) -> int:
    """Live rows written since the build began.

    After an open, versions that had been purged before count too, as they are known no more.
    """
    ends = deaths.ends[generation.row.s0_high : table.next_vid]
    return min(table.live, int(np.count_nonzero(ends == ALIVE)))


def _drift(generation: Generation) -> float:
    """Mean distance to the centroid now over that at the build.

    Now: the rows of the build at their old mean, and those that came since. Rows
    that were folded are remembered by their sum.
    """
    row = generation.row
    since = np.sqrt(generation.delta.view().distances)
    n = generation.folded_rows + len(since)
    total = generation.folded_distance + float(since.sum())
    mean_now = (row.drift_baseline * row.rows_at_build + total) / max(1, row.rows_at_build + n)
    return drift(mean_now, row.drift_baseline)


def _stored_bytes(generation: Generation) -> int:
    stored = sum(ref.nbytes for refs in generation.segments.values() for ref in refs)
    return stored + generation.centroids.nbytes
