"""What all actors share: the committed state in memory, and who may change what.

Everything here is read and changed on the event loop only, between two awaits,
so each step sees and leaves it whole. Worker threads get immutable pieces of it.
"""

import os
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import trio
from numpy.typing import NDArray

from ...txn.deaths import Deaths, Visibility
from ...txn.head import Heads
from ...txn.progress import Progress
from ...txn.snapshot import Snapshot, SnapshotRegistry
from ...wal.blocking import WORKER_THREADS
from ...wal.catalog import TableRow
from ...wal.checksum import vid_range
from ...wal.errors import CentroiDBError, ClosedError
from ...wal.file import DatabaseFile
from ...wal.limits import Limits
from ...wal.pool import ReaderPool
from ...wal.types import GenerationId, IndexId, Lsn, TableId, Vid
from ..index.generation import Batch, Generation
from ..storage.blocks import BlockCache
from ..storage.indexes import IndexState
from .brake import Brake
from .capture import Captured
from .control import BuildControl
from .errors import ActorDied

BUILD_WORKERS_MAX = WORKER_THREADS - 4
"""Some threads are never a build's."""


@dataclass(eq=False)
class State:
    """The committed state of an open database."""

    file: DatabaseFile
    pool: ReaderPool
    limits: Limits
    cache: BlockCache
    heads: Heads
    """What is committed; replaced by the Committer when it publishes a group."""
    last_crc: int
    """The crc of the last log record; as `heads`."""
    deaths: dict[TableId, Deaths]
    """When row versions ended; written by the Committer before it replaces `heads`."""
    indexes: dict[IndexId, IndexState]
    """Entries come and go by DDL, in the Committer's turn."""
    retired: list[Generation] = field(default_factory=list)
    """Generations that were replaced or dropped, a version before its successor; the Sweeper takes
    them away."""
    abandoned: list[GenerationId] = field(default_factory=list)
    """Generations that were never swapped in; the Sweeper takes them away."""
    snapshots: SnapshotRegistry = field(default_factory=SnapshotRegistry)
    """Opened and closed by readers, expired by the Sweeper."""
    captured: dict[IndexId, Captured] = field(default_factory=dict)
    """Queries of real searches, by index; offered to by searches, saved by the Monitor and by
    closing, forgotten with the index."""
    captures: bool = True
    """Whether searches are captured; set at open."""
    log_pins: set[Snapshot] = field(default_factory=set)
    """The log after each of these is kept; a rollback adds its own, and takes it out."""
    failed: CentroiDBError | None = None
    """Why writes are refused since a disk error or the death of an actor; set once."""
    closing: bool = False
    """Set once, by closing."""
    filed: trio.Event = field(default_factory=trio.Event)
    """Replaced and set when writers may go on: see `wake_writers`."""
    brakes: set[Brake] = field(default_factory=set)
    """One for each build that can not catch up and holds writers back; it takes it out itself."""
    waited_s: float = 0.0
    """How long writers have waited for indexes and builds in all; added to by the writers."""
    maintenance: trio.Lock = field(default_factory=trio.Lock)
    """Held by whoever folds or compacts an active generation."""
    compaction: trio.Lock = field(default_factory=trio.Lock)
    """Held, before `maintenance`, by a purge while it compacts one generation after the other, and
    by a reorganization: until all are compacted no version takes another's place."""
    build_workers: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(min(os.cpu_count() or 1, BUILD_WORKERS_MAX))
    )
    """As many as there are cores, nobody's: every block of every build takes one and gives it back,
    first come first served. So builds take turns, and searches keep threads of their own."""
    builds: dict[IndexId, BuildControl] = field(default_factory=dict)
    """The builds and reorganizations that run; closing interrupts them, dropping cancels them."""

    def give_up(self, index: IndexState) -> None:
        """A build that was cut short will not go on: its snapshot is let go, its generation goes.

        The caller sees to it that the file says so.
        """
        unfinished, index.unfinished = index.unfinished, None
        if unfinished is not None:
            self.snapshots.close(unfinished.snapshot)
            self.abandoned.append(unfinished.row.id)

    def require_open(self) -> None:
        """Raise ClosedError once closing has begun."""
        if self.closing:
            raise ClosedError("the database is closed")

    def require_writable(self) -> None:
        """Raise ClosedError, or the error that stopped the writes."""
        self.require_open()
        self.require_sound()

    def require_sound(self) -> None:
        """Raise the error that stopped the writes; closing itself still writes."""
        if self.failed is not None:
            raise copy(self.failed) from self.failed  # each caller may note on his

    def fail(self, error: CentroiDBError) -> None:
        """No more writes until the database is reopened; the first reason stays."""
        self.failed = self.failed or error
        self.wake_writers()

    def die(self, error: Exception) -> None:
        """An actor met an error that it did not expect: say so to all who wait or come later."""
        if isinstance(error, CentroiDBError):
            self.fail(error)
            return
        died = ActorDied(f"the database stopped: {error!r}; reopen it")
        died.__cause__ = error
        self.fail(died)

    def wake_writers(self) -> None:
        """Rows were filed, or there are others to wait for, or nobody will file any more."""
        filed, self.filed = self.filed, trio.Event()
        filed.set()

    def stored_generations(self, table: TableId) -> Iterable[Generation]:
        """The active generations of a table's indexes, and those kept for a rollback."""
        yield from self.generations(table)
        for index in self.indexes.values():
            if index.row.table == table:
                yield from index.kept

    def generations(self, table: TableId) -> Iterable[Generation]:
        """The active generations of a table's indexes."""
        for index in self.indexes.values():
            if index.row.table == table and index.active is not None:
                yield index.active

    def publish(self, progress: Progress) -> None:
        """Show a committed group: its rows and deaths, and last its LSN."""
        for table, head in progress.heads.tables.items():
            if table not in self.deaths:
                self.deaths[table] = Deaths(head.next_vid)
            self.deaths[table].reserve(head.next_vid)
        for born in progress.born:  # of a table dropped in the same group too
            vids = vid_range(born.first_vid, len(born.rows))
            self.deaths[born.table].reserve(Vid(born.first_vid + len(born.rows)))
            for generation in self.generations(born.table):
                generation.batches.append(
                    Batch(born.lsn, vids, born.rows.vectors, born.rows.crcs, generation.search)
                )
        for ended in progress.ended:
            self.deaths[ended.table].record(ended.vids, ended.lsn)
        self.heads, self.last_crc = progress.heads, progress.last_crc

    def capture(self, index: IndexId, vectors: NDArray[np.float32]) -> None:
        """An index is searched for these, float32 (q, d)."""
        if self.captures and index in self.indexes:
            if index not in self.captured:
                self.captured[index] = Captured()
            self.captured[index].offer(vectors)

    def horizon(self) -> Lsn:
        """The oldest LSN that a snapshot may still read at."""
        return self.snapshots.horizon(self.heads.lsn)

    def log_needed_after(self) -> Lsn:
        """The oldest LSN that a rollback still reads the log from."""
        return min((snapshot.lsn for snapshot in self.log_pins), default=self.heads.lsn)

    def visibility(self, head: TableRow, lsn: Lsn) -> Visibility:
        """What the snapshot (`lsn`, `head`) sees of a table."""
        return self.deaths[head.id].visibility(head.next_vid, lsn)

    def lag(self) -> tuple[int, int]:
        """(rows, bytes) not yet filed, in the index that is furthest behind."""
        active = [index.active for index in self.indexes.values() if index.active is not None]
        if not active:
            return 0, 0
        rows = max(generation.lag_rows for generation in active)
        return rows, max(generation.lag_bytes for generation in active)
