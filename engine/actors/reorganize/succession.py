"""The succession: one turn of the Committer in which a version of a generation takes over.

                     before                          after
    generation G     segments  1 2 3 4 5             1 2     5      8 9      new centroids
    generation G'                                        3 4                 retired

The new version keeps the id, so segments that both have stay where they are.  Those that it no
longer has become another generation's, a retired one: the version before is that one from then on,
and the Sweeper deletes these, and only these, once no snapshot holds it.  It needs the others too,
so it holds its successor.  After a crash the retired one goes as any other.
"""

import sqlite3
import time
from dataclasses import dataclass, replace

from ....wal import catalog, segments
from ....wal.catalog import GenerationRow
from ....wal.types import GenerationId
from ...index.generation import Generation
from ...storage.indexes import IndexState
from ..errors import JobCancelled
from ..state import State
from .rewriting import Rewritten, unfolded


@dataclass(frozen=True)
class Succession:
    """A chore of the Committer: `start`, the work it returns, `finish`."""

    state: State
    index: IndexState
    before: Generation
    rewritten: Rewritten

    def start(self) -> "SuccessionWork":
        """In the turn: refuse if there is nothing to succeed to."""
        if self.index.active is not self.before:
            raise JobCancelled(f"index {self.index.row.name!r} was dropped meanwhile")
        before, rewritten = self.before.row, self.rewritten
        seal = before.seal.changed(rewritten.added, rewritten.replaced)
        return SuccessionWork(
            rewritten,
            row=replace(before, nlist=len(rewritten.layout.centroids), seal=seal),
            retired=replace(before, state="retired", replaced_at_ns=time.time_ns()),
        )

    def finish(self, rows: tuple[GenerationRow, GenerationRow]) -> None:
        """In the turn: the successor answers from here on, with the rows that came meanwhile."""
        before, successor = self.before, self.rewritten.successor
        successor.row, before.row = rows
        successor.batches.extend(unfolded(before, self.rewritten.filed_until, successor))
        before.successor = successor
        successor.held += 1
        self.state.retired.append(before)
        self.index.active = successor
        self.state.wake_writers()


@dataclass(frozen=True)
class SuccessionWork:
    """What the writing thread does; returns both rows as they are now: the successor's first."""

    rewritten: Rewritten
    row: GenerationRow
    retired: GenerationRow

    def __call__(self, connection: sqlite3.Connection) -> tuple[GenerationRow, GenerationRow]:
        retired = replace(self.retired, id=catalog.insert_generation(connection, self.retired))
        replaced = [ref.id for ref in self.rewritten.replaced]
        segments.hand_over(connection, replaced, retired.id)
        self._write_centroids(connection, self.row.id)
        catalog.update_generation(connection, self.row.id, nlist=self.row.nlist)
        catalog.set_seal(connection, self.row.id, self.row.seal)
        return self.row, retired

    def _write_centroids(self, connection: sqlite3.Connection, generation: GenerationId) -> None:
        """The parts that changed; those beyond the last centroid go."""
        layout = self.rewritten.layout
        row_bytes = 4 * layout.centroids.shape[1]
        before = dict(segments.centroid_parts(layout.before.astype("<f4").tobytes(), row_bytes))
        after = layout.centroids.astype("<f4").tobytes()
        for first, part in segments.centroid_parts(after, row_bytes):
            if part != before.get(first):
                n = len(part) // row_bytes
                segments.write_centroids(connection, generation, first, part, n)
        segments.delete_centroids(connection, generation, len(layout.centroids))
