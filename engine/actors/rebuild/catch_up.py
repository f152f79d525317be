"""The catch-up: what was committed after a generation's position, until little is missing.

    lsn      S0 ........ now
             |--- pass 1 ----|
                             |- pass 2 -|
                                        |p3|   lag small: verify, swap

Each pass applies what came from the position reached to the LSN committed when it
begins; commits go on meanwhile. A build asks the log, which it has pinned, that no
row is missing; a rollback comes from rows alone.

A pass that leaves more than seven tenths of the lag before it does not gain on the
writers enough. A build that is throttled goes as fast as it can from then on, rather
than slow writers for its own slowness. If that does not gain on them either, they are
let through at seven tenths of the speed of that pass (`Brake`), and slower with each
further such pass. So every pass leaves at most about seven tenths, under any write
rate, and a writer waits no longer than the rows before it take.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import trio

from ....txn.deaths import Visibility
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
from ..brake import Brake
from ..errors import JobCancelled
from ..state import State
from .budget import Plan
from .effort import Pace

SHRINKING = 0.7
"""The share of the lag before it that a pass may leave."""


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
        pace: Pace,
        from_log: bool = True,
    ) -> None:
        self._state = state
        self._writer = writer
        self._generation = generation
        self._report = report
        self._cut = plan.cut
        self._pace = pace
        self._from_log = from_log
        self._brake = Brake(position.table.id)
        self.position = position
        self.rows = 0
        """Rows applied."""

    @property
    def held_s(self) -> float:
        """How long writers were held back."""
        return self._brake.held_s

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
        with self._braking():
            before = self.lag()
            while True:
                began_s, rows = trio.current_time(), self.rows
                await self.apply()
                lag = self.lag()
                await self._report(lag)
                if lag <= self._state.limits.catch_up_rows:
                    return
                if lag > SHRINKING * before and self.rows > rows:
                    seconds = max(1e-3, trio.current_time() - began_s)
                    self._gain_on_writers((self.rows - rows) / seconds)
                before = lag

    @contextmanager
    def _braking(self) -> Iterator[None]:
        """Afterwards writers go on as they like."""
        brake = self._brake
        try:
            yield
        finally:
            self._state.brakes.discard(brake)
            brake.release()
            self._brake = Brake(brake.table, brake.held_s)

    def _gain_on_writers(self, rows_per_s: float) -> None:
        """A pass went at this speed and did not gain on them: go faster, or slow them."""
        if self._pace.is_throttled:
            self._pace = self._pace.without_throttle()
            return
        self._brake.slow_to(SHRINKING * min(rows_per_s, self._brake.rows_per_s))
        self._state.brakes.add(self._brake)

    async def apply(self) -> None:
        """Apply what came up to the LSN committed now."""
        heads, table = self._state.heads, self._table()
        if self._from_log:
            await self._require_logged(heads, table)
        step = min(self._cut.block, self._cut.delta)
        for first in range(self.position.high, table.next_vid, step):
            until = Vid(min(first + step, table.next_vid))
            for batch in await self._assigned(table, Vid(first), until, heads.lsn):
                await self._file(batch)
            self._generation.known_until = until
            await self._report(self._table().next_vid - until)
        self.position = Position(heads, table)

    async def file_batches(self) -> None:
        """File what a generation that was active had not yet filed."""
        generation = self._generation
        while generation.batches:
            batch = generation.batches[0]
            async with self._pace.block(len(batch)):
                await run_blocking(lambda: batch.rows)  # noqa: B023 - it is called here
            generation.file_if_first(batch)

    async def _require_logged(self, heads: Heads, table: TableRow) -> None:
        after, applied = self.position.lsn, self.position.high
        await self._state.pool.read(
            lambda c: _require_contiguous(
                [record for record, _ in log.read(c, after, heads.lsn, table.id)],
                applied,
                table.next_vid,
            )
        )

    async def _assigned(self, table: TableRow, first: Vid, until: Vid, lsn: Lsn) -> list[Batch]:
        """The rows of a block that had not ended at `lsn`, with their partitions.

        Nobody will ask the generation for the others: it answers later snapshots only.
        """
        load = partial(
            load_batches, table=table, first=first, until=until, generation=self._generation
        )
        visibility = self._state.visibility(table, lsn)
        async with self._pace.block(until - first):
            some = list(_seen(await self._state.pool.read(load), visibility))
            await run_blocking(lambda: [batch.rows for batch in some])
        return some

    async def _file(self, batch: Batch) -> None:
        generation = self._generation
        generation.delta.append(batch.rows)
        generation.known_until = Vid(int(batch.vids[-1]) + 1)
        self.rows += len(batch)
        if len(generation.delta) >= self._cut.delta:
            deaths = self._state.deaths[self.position.table.id]
            slice_bytes = self._state.limits.slice_bytes
            async with self._state.maintenance:
                await fold(self._writer, generation, deaths, self.position.lsn, slice_bytes)


def _seen(batches: Iterable[Batch], visibility: Visibility) -> Iterator[Batch]:
    """The visible rows of each batch that has any."""
    for batch in batches:
        mask = visibility(batch.vids)
        seen = batch if mask is None else batch.where(mask)
        if len(seen):
            yield seen


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
