"""What one call reads: a snapshot, and the index generations that were active when it opened.

A generation pinned here stays until the view is closed, also when a rebuild has
swapped another one in; so the same search in one view looks at the same
partitions, whatever happens meanwhile.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeVar

import trio

from ...txn.deaths import Deaths, Visibility
from ...txn.snapshot import Snapshot
from ...wal.catalog import IndexRow, TableRow
from ...wal.errors import CorruptError
from ...wal.types import IndexId, TableId
from ..index.centroids import CentroidSearch
from ..index.distance import Metric
from ..index.generation import Generation
from ..index.health import Measured
from ..storage.indexes import IndexState
from ..storage.lookup import ReadCall
from .state import State

T = TypeVar("T")


@dataclass(frozen=True)
class PinnedIndex:
    """An index as a view sees it; `generation` is None while it has none: search is exact."""

    row: IndexRow
    generation: Generation | None
    search: CentroidSearch | None
    kept: int
    """How many generations a rollback could bring back."""
    measured: Measured | None
    """What the Monitor measured last of this very generation."""

    @classmethod
    def of(cls, index: IndexState) -> "PinnedIndex":
        """The index as it is now; the generation is held by whoever asks."""
        active, measured = index.active, index.measured
        if active is None or (measured and measured.generation != active.row.id):
            measured = None
        search = active.search if active else None
        return cls(index.row, active, search, len(index.kept), measured)


@dataclass(frozen=True, eq=False)
class View:
    """A pinned state of the database."""

    snapshot: Snapshot
    deaths: Mapping[TableId, Deaths]
    indexes: Mapping[IndexId, PinnedIndex]
    reads: ReadCall
    """Runs a function on a connection that sees at least this state."""

    async def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """`fn(connection)`; SnapshotTooOldError once the snapshot has been let go."""
        with self.kept():
            result: T = await self.reads(fn)
        return result

    def kept(self) -> "Kept":
        """What is read inside is of this state, or SnapshotTooOldError is raised at the end."""
        return Kept(self.snapshot)

    def table(self, name: str) -> TableRow | None:
        """The table called `name` in this state."""
        self.snapshot.require_fresh()
        return self.snapshot.heads.by_name(name)

    def table_with(self, number: TableId) -> TableRow:
        """The table that an index of this state is on."""
        return self.snapshot.heads.tables[number]

    def visibility(self, table: TableRow) -> Visibility:
        """What it sees of a table."""
        return self.deaths[table.id].visibility(table.next_vid, self.snapshot.lsn)

    def indexes_of(self, table: TableId) -> list[PinnedIndex]:
        """The indexes of a table, newest last."""
        return [pinned for pinned in self.indexes.values() if pinned.row.table == table]

    def choose_index(self, table: TableId, metric: Metric) -> PinnedIndex | None:
        """The newest index of a metric that can serve this snapshot."""
        for pinned in reversed(self.indexes_of(table)):
            if pinned.row.metric == metric and self.serves(pinned):
                return pinned
        return None

    def serves(self, pinned: PinnedIndex) -> bool:
        """Whether the index has a generation that knows every row of this snapshot."""
        generation = pinned.generation
        return generation is not None and self.snapshot.lsn >= generation.row.s0_lsn


class Kept:
    """See `View.kept`.

    A read may wait while the snapshot is let go, and its rows are purged before it begins.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __enter__(self) -> None:
        self._snapshot.require_fresh()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, CorruptError):  # what it misses may be purged
            self._snapshot.require_fresh()


class Views(Protocol):
    """Where views come from: the open database, or a file that another process owns."""

    async def open_view(self) -> View:
        """Pin the committed state of this moment; not always a checkpoint, as a read in it is."""
        ...

    async def close_view(self, view: View) -> None:
        """Let it go."""
        ...


class OwnViews:
    """Views of the database this process owns."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def open_view(self) -> View:
        """See `Views`."""
        return open_view(self._state, trio.current_time())

    async def close_view(self, view: View) -> None:
        """See `Views`; never a checkpoint, so it is safe in a `finally`."""
        close_view(self._state, view)


def open_view(state: State, now_s: float) -> View:
    """Pin the state: snapshot and generations in one step."""
    state.require_open()
    indexes = {}
    for index_id, index in state.indexes.items():
        generation = index.active
        if generation is not None:
            generation.held += 1
        indexes[index_id] = PinnedIndex.of(index)
    return View(state.snapshots.open(state.heads, now_s), state.deaths, indexes, state.pool.read)


@contextmanager
def viewing(state: State) -> Iterator[View]:
    """A view for the length of a block."""
    view = open_view(state, trio.current_time())
    try:
        yield view
    finally:
        close_view(state, view)


def close_view(state: State, view: View) -> None:
    """Let snapshot and generations go. Call it once."""
    state.snapshots.close(view.snapshot)
    for pinned in view.indexes.values():
        if pinned.generation is not None:
            pinned.generation.held -= 1
