"""Where reads come from: the open database, or a file that another process owns.

Both give views; what is read from a view is the same code.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from ...txn.deaths import Visibility
from ...txn.head import Heads
from ...txn.snapshot import Snapshot
from ...wal import meta
from ...wal.blocking import run_blocking
from ...wal.calls import Calls
from ...wal.catalog import TableRow
from ...wal.errors import ClosedError, CorruptError, ReadOnlyError, translated
from ...wal.file import ForeignFile
from ...wal.limits import Limits
from ...wal.pool import read_once
from ...wal.types import IndexId
from ..actors.calibrations import Calibrations
from ..actors.searcher import Search
from ..actors.supervisor import Supervisor
from ..actors.view import OwnViews, PinnedIndex, View, Views
from ..index.generation import Generation
from ..index.rules import Rules
from ..storage.blocks import BlockCache
from ..storage.loading import Loaded, load
from ..storage.lookup import Answer, IndexProbe, Query, search_exactly, search_index
from .statistics import DatabaseStatistics

T = TypeVar("T")

EXPIRE_EVERY_S = 5.0


class Source(Views, Protocol):
    """Gives views and answers searches in them."""

    limits: Limits

    async def search(
        self,
        view: View,
        table: TableRow,
        visibility: Visibility,
        query: Query,
        probe: IndexProbe | None,
    ) -> list[Answer]:
        """One answer a query vector; exact when `probe` is None."""
        ...

    async def rules(self, table: TableRow, generation: Generation) -> Rules | None:
        """By which searches keep to an accuracy; None where there are too few rows for them."""
        ...

    def supervisor(self) -> Supervisor:
        """Who writes; ReadOnlyError when nobody here does."""
        ...

    def is_building(self, index: IndexId) -> bool:
        """Whether this process builds an index now."""
        ...

    async def read_alone(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on a connection of its own, for reads that take their time."""
        ...

    def statistics(
        self, view: View, path: str, records: int, free_bytes: int
    ) -> DatabaseStatistics:
        """Figures of this moment; `records` are in the log, `free_bytes` in free pages."""
        ...


class LiveSource(OwnViews):
    """The database this process owns."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__(supervisor.state)
        self._supervisor = supervisor
        self.limits = supervisor.state.limits

    async def search(
        self,
        view: View,
        table: TableRow,
        visibility: Visibility,
        query: Query,
        probe: IndexProbe | None,
    ) -> list[Answer]:
        """See `Source`."""
        if probe is not None:
            self._supervisor.state.capture(probe.generation.row.index, query.vectors)
            return await self._supervisor.searcher.search(Search(table, visibility, query, probe))
        cache = self._supervisor.state.cache
        return await search_exactly(view.read, cache, table, visibility, query)

    async def rules(self, table: TableRow, generation: Generation) -> Rules | None:
        """See `Source`."""
        return await self._supervisor.calibrations.of(table, generation)

    def supervisor(self) -> Supervisor:
        """See `Source`."""
        self._supervisor.state.require_writable()
        return self._supervisor

    def is_building(self, index: IndexId) -> bool:
        """See `Source`."""
        return index in self._supervisor.state.builds

    async def read_alone(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """See `Source`."""
        self._supervisor.state.require_open()
        return await self._supervisor.state.pool.read_alone(fn)

    def statistics(
        self, view: View, path: str, records: int, free_bytes: int
    ) -> DatabaseStatistics:
        """See `Source`."""
        state = self._supervisor.state
        return DatabaseStatistics(
            path=path,
            lsn=view.snapshot.lsn,
            horizon=state.horizon(),
            tables=len(state.heads.tables),
            indexes=len(state.indexes),
            snapshots=len(state.snapshots) - 1,
            file_bytes=state.file.file_bytes(),
            free_bytes=free_bytes,
            sqlite_wal_bytes=state.file.sqlite_wal_bytes(),
            log_records=records,
            cache_bytes=state.cache.nbytes,
            writers_waited_s=state.waited_s,
            sqlite_version=sqlite3.sqlite_version,
            clean_at_open=state.file.recovered.clean,
        )


@dataclass(eq=False)
class _ForeignView:
    """The SQLite read transaction behind a view of a foreign file."""

    connection: sqlite3.Connection
    turn: trio.Lock = field(default_factory=trio.Lock)
    """Held while a thread uses the connection."""
    snapshot: Snapshot | None = None


class ForeignSource:
    """A file opened read-only, perhaps beside its owner.

    Each view is one SQLite read transaction. The state is read again when it has
    changed; the rows after an index's fold position are replayed into memory then.
    """

    def __init__(self, file: ForeignFile, limits: Limits, cache: BlockCache) -> None:
        self._file = file
        self._cache = cache
        self.limits = limits
        self._idle: list[sqlite3.Connection] = []
        self._open: dict[Snapshot, _ForeignView] = {}
        self._loaded: tuple[object, Loaded] | None = None
        """What the file said last, and the key by which a change is noticed."""
        self._closed = False
        self._calibrations = Calibrations(self, None, {})
        self._calls = Calls()
        """Those that have a connection which is of no view."""

    async def open_view(self) -> View:
        """See `Source`."""
        self._require_open()
        with self._calls.one():
            idle = self._idle
            connection = idle.pop() if idle else await run_blocking(self._file.open_reader)
            try:
                loaded = await run_blocking(self._begin, connection)
                self._require_open()  # it may have been closed meanwhile
            except BaseException:
                with trio.CancelScope(shield=True):
                    await run_blocking(connection.close)
                raise
            return self._view(connection, loaded)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the database is closed")

    def _begin(self, connection: sqlite3.Connection) -> Loaded:
        with translated(f"reading {self._file.path}"):
            connection.execute("BEGIN")
            key = _state_key(connection)
            known = self._loaded
            if known is not None and known[0] == key:
                return known[1]
            loaded = load(connection)
            self._loaded = key, loaded
            return loaded

    def _view(self, connection: sqlite3.Connection, loaded: Loaded) -> View:
        behind = _ForeignView(connection)
        snapshot = Snapshot(Heads(loaded.heads.lsn, loaded.heads.tables), trio.current_time())
        behind.snapshot = snapshot
        self._open[snapshot] = behind
        indexes = {index.row.id: PinnedIndex.of(index) for index in loaded.indexes}
        return View(snapshot, loaded.deaths, indexes, partial(self._read, behind))

    async def _read(self, behind: _ForeignView, fn: Callable[[sqlite3.Connection], T]) -> T:
        async with behind.turn:
            if behind.snapshot is not None:
                behind.snapshot.require_fresh()
            return await run_blocking(_translated_read, fn, behind.connection)

    async def close_view(self, view: View) -> None:
        """See `Source`."""
        view.snapshot.closed = True
        behind = self._open.pop(view.snapshot, None)
        if behind is not None:
            with self._calls.one(), trio.CancelScope(shield=True):
                async with behind.turn:
                    await run_blocking(behind.connection.rollback)
                self._idle.append(behind.connection)

    async def search(
        self,
        view: View,
        table: TableRow,
        visibility: Visibility,
        query: Query,
        probe: IndexProbe | None,
    ) -> list[Answer]:
        """See `Source`."""
        if probe is None:
            return await search_exactly(view.read, self._cache, table, visibility, query)
        ask = partial(
            search_index,
            cache=self._cache,
            table=table,
            visibility=visibility,
            query=query,
            probe=probe,
        )
        try:
            answers: list[Answer] = await view.read(ask)
        except CorruptError:  # a damaged index costs time; a damaged row raises again
            return await search_exactly(view.read, self._cache, table, visibility, query)
        return answers

    async def rules(self, table: TableRow, generation: Generation) -> Rules | None:
        """See `Source`; what the owner has not calibrated is calibrated here."""
        return await self._calibrations.of(table, generation)

    def supervisor(self) -> Supervisor:
        """See `Source`."""
        raise ReadOnlyError(f"{self._file.path}: opened with read_only=True, it can not be written")

    def is_building(self, index: IndexId) -> bool:  # noqa: ARG002 - as in `Source`
        """See `Source`; what the owner builds is in the jobs."""
        return False

    async def read_alone(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """See `Source`."""
        self._require_open()
        with self._calls.one():
            return await run_blocking(read_once, self._file.open_reader, fn)

    def statistics(
        self, view: View, path: str, records: int, free_bytes: int
    ) -> DatabaseStatistics:
        """See `Source`; the owner's snapshots and waits are not known here."""
        return DatabaseStatistics(
            path=path,
            lsn=view.snapshot.lsn,
            horizon=view.snapshot.lsn,
            tables=len(view.snapshot.heads.tables),
            indexes=len(view.indexes),
            snapshots=len(self._open) - 1,
            file_bytes=Path(path).stat().st_size,
            free_bytes=free_bytes,
            sqlite_wal_bytes=0,
            log_records=records,
            cache_bytes=self._cache.nbytes,
            writers_waited_s=0.0,
            sqlite_version=sqlite3.sqlite_version,
            clean_at_open=None,
        )

    async def run(self) -> None:
        """The task: calibrates what is asked for, and ends read transactions that are too old."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._calibrations.run)
            await self._expire()

    async def _expire(self) -> None:
        """So that the owner's WAL can shrink."""
        while True:
            await trio.sleep(EXPIRE_EVERY_S)
            oldest = trio.current_time() - self.limits.snapshot_age_s
            for snapshot, behind in list(self._open.items()):
                if snapshot.opened_at_s < oldest and not snapshot.expired:
                    snapshot.expired = True
                    async with behind.turn:
                        await run_blocking(behind.connection.rollback)

    async def close(self) -> None:
        """End all views, let calls under way end, and give the file back."""
        self._closed = True
        with trio.CancelScope(shield=True):
            while self._open:
                snapshot, behind = self._open.popitem()
                snapshot.closed = True
                async with behind.turn:
                    self._idle.append(behind.connection)
            await self._calls.over()
            for connection in self._idle:
                await run_blocking(connection.close)
            self._file.close()


def _translated_read(fn: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    with translated("reading"):
        return fn(connection)


def _state_key(connection: sqlite3.Connection) -> object:
    """Equal as long as nothing that `load` reads has changed."""
    generations = connection.execute(
        "SELECT i.id, i.active, i.parameters, g.fold_vid, g.sealed, g.segment_sum, g.nlist, "
        "g.cost_at_build "
        "FROM indexes i LEFT JOIN generations g ON g.id = i.active"
    ).fetchall()
    purged = connection.execute("SELECT sum(live), count(*) FROM tables").fetchone()
    return meta.get_int(connection, "next_lsn"), generations, purged
