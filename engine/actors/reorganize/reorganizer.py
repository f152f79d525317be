"""The Reorganizer: upkeep of one index between two rebuilds, online.

    passes    | fold  split  look  move  prove | take over | fold  split ...
    others    | searches and commits go on ...             | ... on the next version

It splits partitions that have grown far beyond the others and gives up those that starve, the
worst first, and looks again at the rows beside the borders that changed; all other partitions stay
as they are, down to their bytes.  The work is cut into passes of a few MB of vectors.  Each makes a
version of the generation, with centroids of its own, that takes over in one turn of the Committer;
views keep the version they have pinned.

During a pass nothing else folds or compacts, so it is short; between two of them others get their
turn.  What a pass had staged when it was cut short is deleted, and the passes before it stay.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import trio

from ....wal import segments
from ....wal.catalog import TableRow
from ....wal.errors import CentroiDBError
from ...index.generation import Generation
from ...index.health import imbalance
from ...index.reorganize import Change, Layout, expected_rows, fitting, plan
from ...storage.indexes import IndexState
from ..committer import Committer
from ..errors import JobCancelled
from ..rebuild.effort import Effort
from ..rebuild.record import JobRecord
from ..state import State
from .rewriting import Rewriting, Rewritten, rows_of_a_pass
from .succession import Succession


@dataclass(frozen=True)
class Reorganization:
    """What was done: partitions split and given up, rows that changed theirs; in seconds."""

    index: str
    nlist_before: int
    nlist_after: int
    split: int
    merged: int
    rows_moved: int
    seconds: float
    imbalance_before: float
    imbalance_after: float


class Reorganizer:
    """See the module. `run` does it."""

    def __init__(
        self,
        state: State,
        committer: Committer,
        index: IndexState,
        *,
        fold: Callable[[Generation], Awaitable[None]],
        effort: Effort,
        ended: Callable[[], None],
    ) -> None:
        self._state = state
        self._committer = committer
        self._index = index
        self._fold = fold
        """Folds a generation, for who holds `State.maintenance`."""
        self._effort = effort
        self._ended = ended
        """Tells the Indexer and the Sweeper that there may be something to do."""
        self._record = JobRecord(committer, index.row.id, "reorganize", effort)
        self._split = self._merged = self._rows = self._rows_moved = 0

    def __repr__(self) -> str:
        return f"<Reorganizer of {self._index.row.name!r}: {self._rows_moved} rows moved>"

    async def run(self, limit: int | None) -> Reorganization:
        """Change at most `limit` partitions; to be run as the one job on the index."""
        began = time.perf_counter()
        before = self._index.active
        if before is None:  # it has too few rows to be trained, and no partitions
            await trio.lowlevel.checkpoint()
            return self._outcome(began, 0, 1.0)
        sizes = before.partition_sizes()
        changes = plan(sizes, limit)
        self._record.generation = before.row.id
        await self._record.begin()
        try:
            await self._make(changes, float(sizes.mean()))
        except BaseException as error:
            await self._record.end(error)
            raise
        with trio.CancelScope(shield=True):  # what has taken over is done
            await self._record.write("done")
        return self._outcome(began, len(sizes), imbalance(sizes))

    def _outcome(self, began: float, nlist: int, imbalance_before: float) -> Reorganization:
        active = self._index.active
        return Reorganization(
            index=self._index.row.name,
            nlist_before=nlist,
            nlist_after=active.row.nlist if active else 0,
            split=self._split,
            merged=self._merged,
            rows_moved=self._rows_moved,
            seconds=time.perf_counter() - began,
            imbalance_before=imbalance_before,
            imbalance_after=imbalance(active.partition_sizes()) if active else 1.0,
        )

    async def _make(self, changes: Sequence[Change], mean: float) -> None:
        """Make the changes, some in each pass; a pass may renumber the partitions of the next."""
        while changes:
            room = rows_of_a_pass(self._state, self._table().dim)
            some = fitting(changes, mean, room)
            changes = changes[len(some) :]
            layout = await self._pass(some)
            if layout is not None:
                changes = [
                    replace(each, partition=int(layout.numbers[each.partition])) for each in changes
                ]
            left = sum(expected_rows(each, mean) for each in changes)
            await self._record.report("assign", self._rows, self._rows + left)

    def _table(self) -> TableRow:
        table = self._state.heads.tables.get(self._index.row.table)
        if table is None:
            raise JobCancelled(f"the table of index {self._index.row.name!r} was dropped")
        return table

    async def _pass(self, changes: Sequence[Change]) -> Layout | None:
        """One version: what it changed, None if nothing."""
        state, table = self._state, self._table()
        async with state.compaction, state.maintenance:
            before = self._index.active
            if before is None:
                raise JobCancelled(f"index {self._index.row.name!r} was dropped meanwhile")
            await self._fold(before)
            await self._clear_staged(before)
            rewriting = Rewriting(
                state, self._committer, table, before, parallel=self._effort.parallel
            )
            try:
                rewritten = await rewriting.run(changes)
                if rewritten is None:
                    return None
                succession = Succession(state, self._index, before, rewritten)
                await self._committer.do(succession.start, succession.finish)
            except BaseException:
                with trio.CancelScope(shield=True), contextlib.suppress(CentroiDBError):
                    await self._clear_staged(before)
                raise
        self._count(changes, rewritten)
        self._ended()
        return rewritten.layout

    async def _clear_staged(self, generation: Generation) -> None:
        """Delete what this pass, or something before it, has staged and not sealed."""
        row = generation.row
        await self._committer.write(lambda c: segments.delete_beyond(c, row.id, row.seal.last))

    def _count(self, changes: Sequence[Change], rewritten: Rewritten) -> None:
        given_up = set(rewritten.layout.given_up.tolist())
        made = [each for each in changes if each.partition in given_up]
        self._split += sum(each.pieces > 0 for each in made)
        self._merged += sum(each.pieces == 0 for each in made)
        self._rows += rewritten.rows
        self._rows_moved += rewritten.rows_moved
