"""The database: opened by `open_db`, closed by leaving its block."""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, get_args

import trio

from ...wal import file as wal_file
from ...wal.blocking import run_blocking
from ...wal.errors import InputError
from ...wal.file import ForeignFile, Proof, no_proof
from ...wal.limits import MIB, Limits
from ...wal.space import page_bytes
from ...wal.types import KeyType
from ..actors import ddl
from ..actors.supervisor import OnOpen, Opening, Supervisor, open_state
from ..actors.view import View
from ..actors.wide import unwrapped
from ..index.distance import Metric
from ..storage.blocks import BlockCache
from .checking import check_database, prove
from .decisions import DecisionRecord, read_decisions
from .findings import Findings
from .index import Index
from .inputs import check_integer, check_name, unknown
from .jobs import JobStatus, read_job_statuses
from .reading import METRICS
from .snapshot import Snapshot
from .source import ForeignSource, LiveSource, Source
from .space import Space, read_space
from .statistics import DatabaseStatistics
from .table import Table
from .transaction import Isolation, Transaction

CACHE_BYTES = 256 * MIB

Mode = Literal["create", "open"]
Verify = Literal["quick", "full"]


@asynccontextmanager
async def open_db(
    path: str | os.PathLike[str],
    *,
    mode: Mode = "create",
    durability: Literal["full", "relaxed"] = "full",
    cache_bytes: int = CACHE_BYTES,
    read_only: bool = False,
    on_open: OnOpen = "resume",
    capture_queries: bool = True,
    verify: Verify = "quick",
    limits: Limits | None = None,
) -> AsyncIterator["Database"]:
    """Open the database at `path`; `:memory:` is one that is gone when it is closed.

    mode: `create` makes the file if it is missing, `open` does not. durability:
    `full`, what was acknowledged survives a power loss; `relaxed`, it survives a
    crash of the process, and after a power loss a prefix of it. cache_bytes: for
    partitions and vectors. read_only: beside an owner or without one; nothing is
    written to the file. on_open: what becomes of index builds that a crash or a close
    has cut short: they go on in the background, wait until they are asked for, or are dropped;
    paused ones wait in any case. capture_queries: whether a few vectors that are searched for
    are kept in the file, so that a rebuild is judged by them too. verify: `quick` proves the
    header, the schema and the log; `full` all that `check` does, before anything is written,
    and reads the whole file for it. limits: bounds, see `Limits`.

    Raises LockedError, which names the owner, when another process (or this one)
    has it open for writing; NotADatabaseError, FutureVersionError, CorruptError for
    a file that is none, too new or damaged, which is left as it is.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: expected the name of a file, got {path!r}")
    if mode not in ("create", "open"):
        raise InputError(f"mode: expected create or open, got {mode!r}")
    if durability not in ("full", "relaxed"):
        raise InputError(f"durability: expected full or relaxed, got {durability!r}")
    if on_open not in get_args(OnOpen):
        raise InputError(f"on_open: expected resume, keep or drop, got {on_open!r}")
    if verify not in ("quick", "full"):
        raise InputError(f"verify: expected quick or full, got {verify!r}")
    check_integer("cache_bytes", cache_bytes, 0, 1 << 62)
    proof = prove if verify == "full" else no_proof
    bounds = limits or Limits()
    if read_only:
        opened = _open_foreign(path, cache_bytes, bounds, proof)
    else:
        create_missing = mode == "create"
        opening = Opening(
            path=os.fspath(path),
            create_missing=create_missing,
            durability=durability,
            cache_bytes=cache_bytes,
            on_open=on_open,
            capture_queries=capture_queries,
            prove=proof,
            limits=bounds,
        )
        opened = _open_live(opening)
    async with opened as database:
        yield database


@asynccontextmanager
async def _open_live(opening: Opening) -> AsyncIterator["Database"]:
    supervisor = Supervisor(await open_state(opening), on_open=opening.on_open)
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run)
                try:
                    yield Database(LiveSource(supervisor), supervisor.state.file.path)
                finally:
                    with trio.CancelScope(shield=True):
                        await supervisor.close()
    finally:
        with trio.CancelScope(shield=True):
            await supervisor.abandon()


@asynccontextmanager
async def _open_foreign(
    path: str | os.PathLike[str], cache_bytes: int, limits: Limits, proof: Proof
) -> AsyncIterator["Database"]:
    file = await run_blocking(ForeignFile, os.fspath(path), proof)
    source = ForeignSource(file, limits, BlockCache(cache_bytes, keeps_runs=False))
    with unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.run)
            try:
                yield Database(source, file.path)
            finally:
                nursery.cancel_scope.cancel()
                await source.close()


class Database:
    """An open database. Comes from `open_db`; safe to share between the tasks of one trio run."""

    def __init__(self, source: Source, path: str) -> None:
        self._source = source
        self.path = path

    def __repr__(self) -> str:
        return f"<Database {self.path!r}>"

    @asynccontextmanager
    async def _view(self) -> AsyncIterator[View]:
        await trio.lowlevel.checkpoint()
        view = await self._source.open_view()
        try:
            yield view
        finally:
            await self._source.close_view(view)

    async def create_table(
        self,
        name: str,
        *,
        dim: int,
        metric: Metric = "l2",
        key_type: KeyType = "int",
        if_not_exists: bool = False,
    ) -> Table:
        """Make a table of vectors of `dim` dimensions.

        metric: what searches go by unless they say otherwise: l2, cosine or dot.
        key_type: int (64 bits) or str. if_not_exists: return the table that is there,
        if it has the same dim, metric and key type.
        """
        supervisor = self._source.supervisor()
        check_name("table", name)
        check_integer("dim", dim, 1, self._source.limits.dims)
        if metric not in METRICS:
            raise InputError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
        if key_type not in ("int", "str"):
            raise InputError(f"key_type: expected int or str, got {key_type!r}")
        known = supervisor.state.heads.by_name(name)
        if known is not None and if_not_exists:
            wanted = (dim, metric, key_type)
            found = (known.dim, known.metric, known.key_type)
            if found != wanted:
                raise InputError(f"table {name!r} exists already with {found}, got {wanted}")
            await trio.lowlevel.checkpoint()
            return Table(self._source, known.id, name)
        made = await ddl.create_table(supervisor.committer, name, dim, metric, key_type)
        return Table(self._source, made, name)

    async def table(self, name: str) -> Table:
        """The table called `name`; NotFoundError, with those alike, when there is none."""
        async with self._view() as view:
            row = view.table(name)
            if row is None:
                known = [each.name for each in view.snapshot.heads.tables.values()]
                raise unknown("table", name, known)
            return Table(self._source, row.id, name)

    async def tables(self) -> list[Table]:
        """All tables, by name."""
        async with self._view() as view:
            found = view.snapshot.heads.tables.values()
            return [
                Table(self._source, row.id, row.name)
                for row in sorted(found, key=lambda row: row.name)
            ]

    async def index(self, name: str) -> Index:
        """The index called `name`; NotFoundError, with those alike, when there is none."""
        async with self._view() as view:
            for pinned in view.indexes.values():
                if pinned.row.name == name:
                    return Index(self._source, pinned.row.id, name)
            raise unknown("index", name, (pinned.row.name for pinned in view.indexes.values()))

    async def indexes(self) -> list[Index]:
        """All indexes, by name."""
        async with self._view() as view:
            rows = sorted((pinned.row for pinned in view.indexes.values()), key=lambda r: r.name)
            return [Index(self._source, row.id, row.name) for row in rows]

    async def drop_table(self, name: str, *, if_exists: bool = False) -> None:
        """Drop a table and its indexes. Snapshots from before still see it."""
        supervisor = self._source.supervisor()
        table = supervisor.state.heads.by_name(name)
        if table is None and not if_exists:
            known = [row.name for row in supervisor.state.heads.tables.values()]
            raise unknown("table", name, known)
        if table is not None:
            await ddl.drop_table(supervisor.state, supervisor.committer, table)
            supervisor.sweeper.wake()
        await trio.lowlevel.checkpoint()

    async def drop_index(self, name: str, *, if_exists: bool = False) -> None:
        """Drop an index; a build of it is cancelled. Snapshots from before still use it."""
        supervisor = self._source.supervisor()
        indexes = supervisor.state.indexes.values()
        index = next((each for each in indexes if each.row.name == name), None)
        if index is None and not if_exists:
            raise unknown("index", name, (each.row.name for each in indexes))
        if index is not None:
            await ddl.drop_index(supervisor.state, supervisor.committer, index)
            supervisor.sweeper.wake()
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """A snapshot of this moment, for as long as the block lasts."""
        async with self._view() as view:
            yield Snapshot(self._source, view)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "snapshot", idempotency_key: str | None = None
    ) -> AsyncIterator[Transaction]:
        """A transaction: leaving the block commits it, an exception rolls it back.

        Raises ConflictError at the commit when somebody else committed first what it
        wrote (`isolation="serializable"`: or read); run the block again then.
        """
        self._source.supervisor()
        async with self._view() as view:
            transaction = Transaction(self._source, view, isolation, idempotency_key)
            try:
                yield transaction
            except BaseException:
                transaction.rollback()
                raise
            if not transaction.is_over:
                await transaction.commit()

    async def execute(self, statement: str) -> Any:
        """Run a statement of the SQL in `docs/sql.md`; returns what its method returns."""
        from ..sql.execute import execute

        return await execute(self, statement)

    async def jobs(self) -> list[JobStatus]:
        """Builds, newest first: those under way, here or in another process, and those past."""
        async with self._view() as view:
            statuses: list[JobStatus] = await view.read(read_job_statuses)
            return statuses

    async def decisions(self, index: str | None = None) -> list[DecisionRecord]:
        """What the Monitor decided about an index, or about all, and did; newest first."""
        async with self._view() as view:
            found: list[DecisionRecord] = await view.read(partial(read_decisions, index=index))
            return found

    async def check(self) -> Findings:
        """Prove the whole file: log chain, checksums, keys, counters, sums, and every index.

        It reads everything; on a large database it takes its time. Searches and
        commits go on meanwhile.
        """
        return await check_database(self._source)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a compact copy of one committed state to `path`, which must not exist.

        Reads, writes and rebuilds go on meanwhile. What a build under way has stored so
        far is in the copy too: there it goes on when the copy is opened for writing.
        """
        target = os.fspath(path)
        async with self._view():
            await self._source.read_alone(lambda _: wal_file.backup(self.path, target))

    async def vacuum(self) -> None:
        """Purge what no snapshot sees and give the space back to the file system."""
        supervisor = self._source.supervisor()
        for index in list(supervisor.state.indexes.values()):
            if index.active is not None:
                await supervisor.indexer.fold(index.active)
        await supervisor.sweeper.sweep(thorough=True)
        await supervisor.committer.checkpoint()

    async def statistics(self) -> DatabaseStatistics:
        """Figures of this moment."""
        async with self._view() as view:
            records, free_bytes = await view.read(_file_figures)
            return self._source.statistics(view, self.path, records, free_bytes)

    async def space(self) -> Space:
        """What each thing in the file costs in bytes.

        It looks at every page of the file (or every row, where SQLite can not count pages);
        searches and commits go on meanwhile. `statistics` has what can be had at once.
        """
        return await self._source.read_alone(read_space)


def _file_figures(connection: sqlite3.Connection) -> tuple[int, int]:
    """Records of the log, and bytes of free pages."""
    (records,) = connection.execute("SELECT count(*) FROM wal").fetchone()
    return records, page_bytes(connection)[1]
