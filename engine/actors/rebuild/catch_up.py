"""The catch-up phase of a build: what was committed after S0, from the log.

    lsn      S0 ........ now
             |--- pass 1 ----|
                             |- pass 2 -|
                                        |p3|   lag small: verify, swap

Each pass applies the log from the position reached to the LSN committed when it
begins; commits go on meanwhile. When the lag does not shrink from one pass to
the next, the writers commit faster than one build can file: the next pass holds
them back while it runs (`State.brakes`), and says for how long.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import trio

from ....txn.head import Heads
from ....wal import log
from ....wal.blocking import run_blocking
from ....wal.catalog import GenerationRow, TableRow
from ....wal.errors import CorruptError
from ....wal.log import Record
from ....wal.types import Lsn, Vid
from ...index.generation import Batch, Generation
from ...storage.folding import Writer, fold
from ...storage.loading import load_batches
from ..errors import JobCancelled
from ..state import State
from .budget import Plan

SHRINKING = 0.7
"""A pass that leaves more than this share of the lag before it does not gain on the writers."""


@dataclass(frozen=True)
class Position:
    """How far a generation has got: it knows every row of the commits up to `heads`."""

    heads: Heads
    table: TableRow

    @classmethod
    def of(cls, row: GenerationRow, table: TableRow) -> "Position":
        """What a generation has stored up to its fold position, at S0 or later."""
        return cls(Heads(row.fold_lsn), replace(table, next_vid=row.fold_vid))

    @property
    def lsn(self) -> Lsn:
        """The last LSN applied."""
        return self.heads.lsn

    @property
    def high(self) -> Vid:
        """The first vid not applied."""
        return self.table.next_vid


class CatchUp:
    """Brings one generation up to date. Owns its delta until the swap."""

    def __init__(
        self,
        state: State,
        writer: Writer,
        generation: Generation,
        position: Position,
        report: Callable[[int], Awaitable[None]],
        *,
        plan: Plan,
    ) -> None:
        self._state = state
        self._writer = writer
        self._generation = generation
        self._report = report
        self._cut = plan.cut
        self.position = position
        self.rows = 0
        """Rows applied."""
        self.held_s = 0.0
        """How long writers were held back."""

    def lag(self) -> int:
        """Rows committed and not yet applied."""
        return self._table().next_vid - self.position.high

    def _table(self) -> TableRow:
        table = self._state.heads.tables.get(self.position.table.id)
        if table is None:
            raise JobCancelled(f"table {self.position.table.name!r} was dropped during the build")
        return table

    async def run(self) -> None:
        """Apply pass after pass until the lag is small."""
        before = self.lag()
        hold = False
        while True:
            async with self.holding(hold):
                await self.apply()
            lag = self.lag()
            await self._report(lag)
            if lag <= self._state.limits.catch_up_rows:
                return
            hold = lag > SHRINKING * before
            before = lag

    @asynccontextmanager
    async def holding(self, hold: bool) -> AsyncIterator[None]:
        """Inside, writers wait, if `hold`; how long is counted."""
        if not hold:
            yield
            return
        began = time.perf_counter()
        brake = trio.Event()
        self._state.brakes.add(brake)
        try:
            yield
        finally:
            self._state.brakes.discard(brake)
            brake.set()
            self.held_s += time.perf_counter() - began

    async def apply(self) -> None:
        """Apply the log up to the LSN committed now."""
        heads, table = self._state.heads, self._table()
        after, table_id = self.position.lsn, self.position.table.id
        applied = self.position.high
        await self._state.pool.read(
            lambda c: _require_contiguous(
                (record for record, _ in log.read(c, after, heads.lsn, table_id)),
                applied,
                table.next_vid,
            )
        )
        step = min(self._cut.block, self._cut.delta)
        for first in range(self.position.high, table.next_vid, step):
            until = Vid(min(first + step, table.next_vid))
            some = await self._assigned(table, Vid(first), until)
            for batch in some:
                await self._file(batch)
        self.position = Position(heads, table)

    async def _assigned(self, table: TableRow, first: Vid, until: Vid) -> list[Batch]:
        """The stored rows of a block, whose partitions are known."""
        load = partial(
            load_batches, table=table, first=first, until=until, generation=self._generation
        )
        async with self._state.build_workers:
            some = await self._state.pool.read(load)
            await run_blocking(lambda: [batch.rows for batch in some])
        return some

    async def _file(self, batch: Batch) -> None:
        generation = self._generation
        generation.delta.append(batch.rows)
        self.rows += len(batch)
        if len(generation.delta) >= self._cut.delta:
            deaths = self._state.deaths[self.position.table.id]
            slice_bytes = self._state.limits.slice_bytes
            await fold(self._writer, generation, deaths, self.position.lsn, slice_bytes)


def _require_contiguous(records: Iterable[Record], first: Vid, until: Vid) -> None:
    """The log must name every vid between two positions, once and in order.

    A build that goes on after a fold may have some of the first records' rows already.
    """
    expected = first
    for record in records:
        if record.kind != "rows" or record.first_vid + record.count <= first:
            continue
        if max(record.first_vid, first) != expected:
            raise CorruptError(
                f"log: LSN {record.lsn} begins with row version {record.first_vid}, "
                f"expected {expected}"
            )
        expected = Vid(record.first_vid + record.count)
    if expected != until:
        raise CorruptError(f"log: it names row versions up to {expected}, expected {until}")
