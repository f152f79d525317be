"""Verification and the swap: one turn of the Committer in which the new generation takes over.

    verified at P:  rows listed by the generation == rows of the table, by their sums
    the turn:       sum at P + log (P, now] == sum of the table now
                    UPDATE indexes SET active = new          one transaction
                    index.active = new                       one reference
                    rows after P are its first batches

The sums are over hash(vid, crc) of every live row, so a row that the build lost,
listed twice or mixed up with another can not pass.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....txn.deaths import Visibility
from ....wal import catalog, log, rows, segments
from ....wal.catalog import TableRow
from ....wal.checksum import RowSum
from ....wal.types import Lsn, Vid
from ...index.generation import Batch, Generation
from ...index.parameters import IndexParameters
from ...storage.indexes import IndexState
from ...storage.loading import load_batches
from ..errors import JobCancelled, RebuildRejected
from ..state import State
from .catch_up import Position


def verify_rows(
    connection: sqlite3.Connection,
    generation: Generation,
    position: Position,
    visibility: Visibility,
) -> None:
    """Raise RebuildRejected unless the generation lists exactly the rows live at `position`."""
    delta = generation.delta.view()
    total = RowSum()
    for listed in segments.listed_rows(connection, generation.row.id):
        total += _sum_of_seen(listed, visibility)
    total += _sum_of_seen(rows.Versions(delta.vids, delta.crcs), visibility)
    if total != position.table.sum:
        raise RebuildRejected(
            f"generation {generation.row.id}: the rows it lists are not those of table "
            f"{position.table.name!r} at LSN {position.lsn}; it is dropped"
        )


def _sum_of_seen(listed: rows.Versions, visibility: Visibility) -> RowSum:
    seen = visibility(listed.vids)
    if seen is None:
        return RowSum.of(listed.vids, listed.crcs)
    return RowSum.of(listed.vids[seen], listed.crcs[seen])


@dataclass(frozen=True)
class Swap:
    """The swap as a chore of the Committer: `start`, the work it returns, `finish`."""

    state: State
    index: IndexState
    generation: Generation
    position: Position
    parameters: IndexParameters

    def start(self) -> "SwapWork":
        """In the turn: pin what is committed now, and refuse if there is nothing to swap in."""
        heads = self.state.heads
        table = heads.tables.get(self.position.table.id)
        if table is None or self.index.row.id not in self.state.indexes:
            raise JobCancelled(f"index {self.index.row.name!r} was dropped during the build")
        return SwapWork(self, table, heads.lsn)

    def finish(self, batches: Sequence[Batch]) -> None:
        """In the turn: the new generation answers from here on."""
        old = self.index.active
        if old is not None:
            self.state.retired.append(old)
        elif self.index.row.active is not None:  # it was damaged, and never loaded
            self.state.abandoned.append(self.index.row.active)
        self.generation.batches.extend(batches)
        self.generation.row = replace(self.generation.row, state="active")
        parameters = self.parameters.to_json()
        self.index.row = replace(
            self.index.row, active=self.generation.row.id, parameters=parameters
        )
        self.index.active = self.generation
        self.state.wake_writers()


@dataclass(frozen=True)
class SwapWork:
    """What the writing thread does; returns the rows that became the first batches."""

    swap: Swap
    table: TableRow
    now: Lsn

    def __call__(self, connection: sqlite3.Connection) -> list[Batch]:
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
        catalog.set_seal(connection, generation.row.id, generation.row.seal)
        catalog.set_active(
            connection, self.swap.index.row.id, generation.row.id, self.swap.parameters.to_json()
        )
        return batches

    def _changes(self, connection: sqlite3.Connection) -> RowSum:
        """What the log says happened to the table's sum since the position."""
        total = RowSum()
        for record, _ in log.read(connection, self.swap.position.lsn, self.now, self.table.id):
            until = Vid(record.first_vid + record.count)
            born = rows.read_versions(connection, self.table.id, record.first_vid, until)
            gone = rows.crcs_of(connection, self.table.id, record.ended)
            total += RowSum.of(born.vids, born.crcs) - RowSum.of(gone.vids, gone.crcs)
        return total
