"""The Indexer: files what was committed into the active generations, and folds.

    Committer --batches--> [ assign in a worker ] --file--> delta --fold--> segments

It takes the batches of each generation in LSN order. When a delta has grown
large it is folded: its rows become segments, and the log before them is free.

Its lag is bounded: while more rows or bytes wait than the limits allow, writers
wait with them (`Committer.commit`), and `State.waited_s` says how long.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import trio

from ...wal.blocking import run_blocking
from ...wal.errors import RetryError
from ...wal.types import Lsn
from ..index.centroids import CentroidSearch, ExactSearch, make_search
from ..index.generation import Batch, Generation
from ..index.parameters import CentroidSearchKind
from ..storage.folding import Writer, fold
from .state import State

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assign:
    """Effect: find the partitions of the rows of a batch, then file it."""

    generation: Generation
    batch: Batch


@dataclass(frozen=True)
class Fold:
    """Effect: turn a generation's delta into segments."""

    generation: Generation


Effect = Assign | Fold


class Indexer:
    """See the module. `run` is its task; `wake` tells it that something was committed."""

    def __init__(self, state: State, writer: Writer) -> None:
        self._state = state
        self._writer = writer
        self._send, self._receive = trio.open_memory_channel[None](1)
        """The inbox holds one nudge: what there is to do stands in the generations."""
        self._folds_wait = False
        """Set when a fold found the disk full; the next commit that succeeds ends it."""

    def __repr__(self) -> str:
        rows, nbytes = self._state.lag()
        return f"<Indexer: {rows} rows ({nbytes} bytes) behind>"

    def wake(self) -> None:
        """There is something to file; never waits."""
        with suppress(trio.WouldBlock):
            self._send.send_nowait(None)

    async def run(self) -> None:
        """The task: until it is cancelled."""
        await self._build_graphs()
        self.wake()
        async for _ in self._receive:
            self._folds_wait = False
            while (effect := self.step()) is not None:
                await self._carry_out(effect)

    async def _build_graphs(self) -> None:
        """HNSW graphs are never stored: until they are built here, centroids rank exactly."""
        for index in list(self._state.indexes.values()):
            generation = index.active
            if generation is not None and isinstance(generation.search, ExactSearch):
                generation.search = await run_blocking(search_of, generation)

    def step(self) -> Effect | None:
        """The next thing to do: fold what is full, else file the batch that waits longest."""
        waiting: list[Assign] = []
        for generation in self._generations():
            if self._is_full(generation) and not self._folds_wait:
                return Fold(generation)
            if generation.batches:
                waiting.append(Assign(generation, generation.batches[0]))
        return min(waiting, key=lambda assign: assign.batch.lsn, default=None)

    def _is_full(self, generation: Generation) -> bool:
        limits, rows = self._state.limits, len(generation.delta)
        row_bytes = 4 * generation.centroids.shape[1]
        return rows >= limits.delta_rows or rows * row_bytes >= limits.delta_bytes

    def _generations(self) -> list[Generation]:
        active = (index.active for index in self._state.indexes.values())
        return [generation for generation in active if generation is not None]

    async def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Fold):
            try:
                await self.fold(effect.generation)
            except RetryError as error:
                log.warning("folding: %s", error)
                self._folds_wait = True
            return
        await run_blocking(lambda: effect.batch.rows)
        effect.generation.file_if_first(effect.batch)
        self._state.wake_writers()

    async def fold(self, generation: Generation) -> None:
        """Fold all that is filed, unless the generation was replaced or dropped meanwhile."""
        async with self._state.maintenance:
            await self.fold_now(generation)

    async def fold_now(self, generation: Generation) -> None:
        """The same, for who holds `State.maintenance`."""
        state, index = self._state, self._state.indexes.get(generation.row.index)
        if index is None or index.active is not generation:
            return
        lsn, deaths = self._filed_until(generation), state.deaths[index.row.table]
        await fold(self._writer, generation, deaths, lsn, state.limits.slice_bytes)

    def _filed_until(self, generation: Generation) -> Lsn:
        """All rows of commits up to this LSN are filed."""
        if generation.batches:
            return Lsn(max(generation.row.fold_lsn, generation.batches[0].lsn - 1))
        return self._state.heads.lsn


def search_of(generation: Generation) -> CentroidSearch:
    """The centroid search a generation was built for."""
    kind = cast("CentroidSearchKind", generation.row.centroid_search)
    return make_search(kind, generation.metric, generation.centroids, seed=generation.row.seed)
