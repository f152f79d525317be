"""The swap: one turn of the Committer in which another generation takes over.

    verified at P:  rows listed by the generation == rows of the table (`proof`)
    the turn:       sum at P + log (P, now] == sum of the table now
                    UPDATE indexes SET active = new          one transaction
                    index.active = new                       one reference
                    rows after P are its first batches

The one that was active is kept for a rollback if that was asked for, else retired.
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....wal import catalog, log, rows
from ....wal.catalog import GenerationState, JobRow, TableRow
from ....wal.checksum import RowSum
from ....wal.types import Lsn, Vid
from ...index.generation import Batch, Generation
from ...index.parameters import IndexParameters
from ...storage.indexes import IndexState
from ...storage.loading import load_batches
from ..errors import JobCancelled, RebuildRejected
from ..state import State
from .catch_up import Position


@dataclass(frozen=True)
class Swap:
    """The swap as a chore of the Committer: `start`, the work it returns, `finish`."""

    state: State
    index: IndexState
    generation: Generation
    position: Position
    parameters: IndexParameters
    job: JobRow
    """What the file says of the job once it is done."""

    def start(self) -> "SwapWork":
        """In the turn: pin what is committed now, and refuse if there is nothing to swap in."""
        heads = self.state.heads
        table = heads.tables.get(self.position.table.id)
        if table is None or self.index.row.id not in self.state.indexes:
            raise JobCancelled(f"index {self.index.row.name!r} was dropped during the build")
        return SwapWork(self, table, heads.lsn, self._kept())

    @property
    def settled(self) -> IndexParameters:
        """What the index is from now on; how it is watched may have been altered meanwhile."""
        return replace(self.parameters, auto_rebuild=self.index.parameters.auto_rebuild)

    def _kept(self) -> list[Generation]:
        """Those that a rollback can bring back from now on, oldest first."""
        others = [each for each in self.index.kept if each is not self.generation]
        if self.index.active is not None:
            others.append(self.index.active)
        return others[-self.parameters.keep_previous :] if self.parameters.keep_previous else []

    def finish(self, done: "Swapped") -> None:
        """In the turn: the new generation answers from here on."""
        index, generation, old = self.index, self.generation, self.index.active
        replaced = [*index.kept, old] if old is not None else index.kept
        leaving = [each for each in replaced if each not in (*done.kept, generation)]
        if old is not None:
            state: GenerationState = "kept" if old in done.kept else "retired"
            old.row = replace(old.row, state=state, replaced_at_ns=done.time_ns)
            old.known_until = done.high
        self.state.retired.extend(leaving)
        if old is None and index.row.active is not None:  # it was damaged, and never loaded
            self.state.abandoned.append(index.row.active)
        generation.batches.extend(done.batches)
        generation.row = replace(generation.row, state="active")
        index.row = replace(
            index.row,
            active=generation.row.id,
            metric=self.parameters.metric,
            parameters=self.settled.to_json(),
        )
        index.kept, index.active = done.kept, generation
        self.state.wake_writers()


@dataclass(frozen=True)
class Swapped:
    """What the writing thread did."""

    batches: Sequence[Batch]
    """The rows after the position."""
    kept: list[Generation]
    high: Vid
    """The one before knows every row below."""
    time_ns: int


@dataclass(frozen=True)
class SwapWork:
    """What the writing thread does."""

    swap: Swap
    table: TableRow
    now: Lsn
    kept: list[Generation]

    def __call__(self, connection: sqlite3.Connection) -> Swapped:
        position, generation = self.swap.position, self.swap.generation
        expected = position.table.sum + self._changes(connection)
        if expected != self.table.sum:
            raise RebuildRejected(
                f"generation {generation.row.id}: its rows and the log do not add up to table "
                f"{self.table.name!r} at LSN {self.now}; it is dropped"
            )
        batches = load_batches(
            connection, self.table, position.high, self.table.next_vid, generation
        )
        time_ns = time.time_ns()
        catalog.set_seal(connection, generation.row.id, generation.row.seal)
        catalog.set_active(
            connection,
            self.swap.index.row.id,
            generation.row.id,
            metric=self.swap.parameters.metric,
            parameters=self.swap.settled.to_json(),
            kept=[each.row.id for each in self.kept],
            time_ns=time_ns,
        )
        catalog.put_job(connection, self.swap.job)
        return Swapped(batches, self.kept, self.table.next_vid, time_ns)

    def _changes(self, connection: sqlite3.Connection) -> RowSum:
        """What happened to the table's sum since the position: rows born, rows that ended."""
        position, table = self.swap.position, self.table
        ended = log.ended(connection, position.lsn, self.now, table.id)
        born = rows.read_versions(connection, table.id, position.high, table.next_vid)
        gone = rows.crcs_of(connection, table.id, ended)
        return RowSum.of(born.vids, born.crcs) - RowSum.of(gone.vids, gone.crcs)
