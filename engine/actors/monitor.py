"""The Monitor: how healthy each index is, in figures.

It watches, it does not decide: but for an index that has no generation yet,
because it was made on too few rows, and whose table has grown enough since. That
one is built.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import trio

from ...wal.catalog import TableRow
from ...wal.errors import CentroiDBError
from ..index.generation import Generation
from ..index.health import PartitionSizes, drift
from ..index.parameters import IndexParameters
from ..storage.indexes import IndexState
from .state import State

PERIOD_S = 60.0

Build = Callable[[IndexState], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Health:
    """The figures of one index at one moment.

    rows: live in the table; delta_rows: filed and not folded; lag_rows: not yet
    filed; tombstones: listed but ended; imbalance: nlist * sum n^2 / (sum n)^2, 1
    when all partitions are of a size; drift: mean distance to the centroid of the
    rows now, over that at the build. An untrained index has no generation, and
    zeros.
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
    rows_at_build: int
    built_at_ns: int
    stored_bytes: int
    codec: str
    metric: str
    centroid_search: str
    building: bool


class Monitor:
    """See the module. `run` is its task; what it decides is in `step`."""

    def __init__(self, state: State, build: Build) -> None:
        self._state = state
        self._build = build
        self._send, self._receive = trio.open_memory_channel[None](1)
        """The inbox holds one nudge: what there is to see stands in the state."""

    def __repr__(self) -> str:
        return f"<Monitor of {len(self._state.indexes)} indexes>"

    def wake(self) -> None:
        """Look soon; never waits."""
        with suppress(trio.WouldBlock):
            self._send.send_nowait(None)

    async def run(self) -> None:
        """The task: until it is cancelled."""
        while True:
            with trio.move_on_after(PERIOD_S):
                await self._receive.receive()
            for index in self.step():
                await self._train(index)

    def step(self) -> list[IndexState]:
        """The indexes that have no generation and rows enough for one."""
        return [index for index in self._state.indexes.values() if self.wants_build(index)]

    def wants_build(self, index: IndexState) -> bool:
        """Whether an index is untrained although its table has rows enough."""
        busy = index.building or index.reserved
        if index.active is not None or busy or self._state.failed is not None:
            return False
        return self.has_rows_enough(index)

    def has_rows_enough(self, index: IndexState) -> bool:
        """Whether there are rows enough to train the index on."""
        table = self._state.heads.tables.get(index.row.table)
        needed = index.parameters.rows_to_train(self._state.limits.train_rows)
        return table is not None and table.live >= needed

    async def _train(self, index: IndexState) -> None:
        """An index dropped or built meanwhile is no fault; a failed disk stops the database."""
        try:
            await self._build(index)
        except CentroiDBError:
            if self._state.failed is not None:
                raise


def health(
    table: TableRow, generation: Generation | None, parameters: IndexParameters, *, building: bool
) -> Health:
    """The figures of an index of `table` whose active generation is `generation`."""
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
        rows_at_build=row.rows_at_build if row else 0,
        built_at_ns=row.built_at_ns if row else 0,
        stored_bytes=_stored_bytes(generation) if generation else 0,
        codec=parameters.codec_for(table.dim),
        metric=parameters.metric,
        centroid_search=parameters.centroid_search,
        building=building,
    )


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
