"""The supervisor: opens the state, runs the actors, and stops everything when one dies.

open     file -> recovery -> state -> Committer, Indexer, Searcher, Sweeper, Monitor
death    an error that an actor did not expect: writes stop, whoever waits gets
         the error, later calls too; the database never limps on
close    new calls are refused, builds are interrupted, deltas folded, actors
         stopped, readers drained, one checkpoint, one file
"""

import contextlib
import logging
import math
import os
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import trio

from ...txn.head import Heads
from ...wal import catalog, samples, segments, slices
from ...wal.blocking import run_blocking
from ...wal.catalog import GenerationRow, JobRow
from ...wal.connection import Durability
from ...wal.errors import CentroiDBError, InputError, NotFoundError
from ...wal.file import DatabaseFile, Proof, no_proof, open_file
from ...wal.limits import Limits
from ...wal.pool import ReaderPool
from ...wal.types import GenerationId, IndexId
from ..index.parameters import IndexParameters
from ..storage.blocks import BlockCache
from ..storage.indexes import IndexState, Unfinished
from ..storage.loading import Loaded, load
from .calibrations import Calibrations
from .capture import Captured, save_captured
from .committer import Committer
from .control import BuildControl
from .indexer import Indexer
from .job import drop_unfinished, run_alone
from .monitor import Monitor
from .rebuild.effort import Effort
from .rebuild.outcome import Outcome
from .rebuild.rebuilder import Rebuilder
from .rebuild.record import Listener
from .rebuild.rollback import Rollback
from .reorganize.reorganizer import Reorganization, Reorganizer
from .searcher import Searcher
from .state import State
from .sweeper import Sweeper
from .view import OwnViews

log = logging.getLogger(__name__)

CLOSING_FOLD_S = 5.0
"""A close folds for at most so long; what is left is replayed from the log at the next open."""


OnOpen = Literal["resume", "keep", "drop"]
"""What becomes of builds that were cut short: they go on, wait to be asked for, or go."""


@dataclass(frozen=True)
class Opening:
    """How a database is to be opened."""

    path: str
    create_missing: bool
    durability: Durability
    cache_bytes: int
    on_open: OnOpen = "resume"
    capture_queries: bool = True
    prove: Proof = no_proof
    """What must hold of the file before anything is written to it."""
    limits: Limits = field(default_factory=Limits)


def default_parallel() -> int:
    """Cores less one, at least one."""
    return max(1, (os.cpu_count() or 1) - 1)


async def open_state(opening: Opening) -> State:
    """Open and recover the file, and read the committed state."""
    file, loaded, found = await run_blocking(_open, opening)
    state = State(
        file=file,
        pool=ReaderPool(file.open_reader, opening.limits.readers),
        limits=opening.limits,
        cache=BlockCache(opening.cache_bytes),
        heads=loaded.heads,
        last_crc=loaded.last_crc,
        deaths=loaded.deaths,
        indexes={index.row.id: index for index in loaded.indexes},
        abandoned=found.abandoned,
        captured=found.captured if opening.capture_queries else {},
        captures=opening.capture_queries,
    )
    for row, job in found.unfinished:
        _pin_unfinished(state, row, job)
    return state


def _pin_unfinished(state: State, row: GenerationRow, job: JobRow) -> None:
    """Hold S0 of a build that was cut short, before anything is purged."""
    index = state.indexes[row.index]
    table = replace(state.heads.tables[index.row.table], next_vid=row.s0_high)
    heads = Heads(row.s0_lsn, {table.id: table})
    snapshot = state.snapshots.open(heads, math.inf)
    index.unfinished = Unfinished(row, job, snapshot, trio.current_time())


@dataclass(frozen=True)
class Found:
    """What a crash or a close has left of builds, and the queries that were captured."""

    abandoned: list[GenerationId]
    unfinished: list[tuple[GenerationRow, JobRow]]
    captured: dict[IndexId, Captured]


def _open(opening: Opening) -> tuple[DatabaseFile, Loaded, Found]:
    file = open_file(
        opening.path,
        create_missing=opening.create_missing,
        durability=opening.durability,
        prove=opening.prove,
        recover=partial(clear_unfinished, keep=opening.on_open != "drop"),
    )
    try:
        return file, load(file.writer), _found(file.writer)
    except BaseException:
        file.abandon()
        raise


def clear_unfinished(connection: sqlite3.Connection, *, keep: bool) -> None:
    """What a crash or a close cut short: staged segments, drops under way, and builds.

    With `keep` a build keeps what it has stored, if its job is known.
    """
    connection.execute(
        "UPDATE jobs SET state = iif(kind = 'rebuild', 'interrupted', 'cancelled') "
        "WHERE state = 'running'"
    )
    connection.execute(
        "UPDATE generations SET state = 'retired' WHERE state NOT IN ('active', 'kept', ?, ?) OR "
        "index_id NOT IN (SELECT id FROM indexes WHERE dropped_lsn IS NULL) OR "
        "state NOT IN ('active', 'kept') AND id NOT IN "
        "(SELECT generation FROM jobs WHERE state IN ('interrupted', 'paused'))",
        ("building", "catching_up") if keep else ("active", "active"),
    )
    connection.execute(
        "UPDATE jobs SET state = 'cancelled' WHERE state IN ('interrupted', 'paused') AND "
        "coalesce(generation, 0) NOT IN "
        "(SELECT id FROM generations WHERE state IN ('building', 'catching_up'))"
    )
    slices.delete_finished(connection)
    segments.delete_staged(connection)


def _found(connection: sqlite3.Connection) -> Found:
    jobs = {job.generation: job for job in catalog.read_jobs(connection)}
    rows = catalog.read_generations(connection)
    unfinished = [row for row in rows if row.state in ("building", "catching_up")]
    return Found(
        [row.id for row in rows if row.state == "retired"],
        [(row, jobs[row.id]) for row in unfinished],
        _captured(connection),
    )


def _captured(connection: sqlite3.Connection) -> dict[IndexId, Captured]:
    dims = {table.id: table.dim for table in catalog.read_tables(connection)}
    return {
        index.id: Captured.of_bytes(samples.read(connection, index.id), dims[index.table])
        for index in catalog.read_indexes(connection)
        if index.dropped_lsn is None and index.table in dims
    }


class Supervisor:
    """The actors of one open database. `run` is started in a nursery by `open_db`."""

    def __init__(self, state: State, *, on_open: OnOpen) -> None:
        self.state = state
        self._on_open = on_open
        self.committer = Committer(state, self._committed)
        self.indexer = Indexer(state, self.committer)
        self.searcher = Searcher(state, workers=max(2, os.cpu_count() or 1))
        self.sweeper = Sweeper(state, self.committer)
        self.calibrations = Calibrations(OwnViews(state), self.committer, state.captured)
        self.monitor = Monitor(
            state,
            self.committer,
            self.calibrations,
            build=self.build,
            rebuild=self.rebuild,
            reorganize=partial(self.reorganize, effort=Effort(parallel=1)),
        )
        self.resumed = trio.Event()
        """Set when the builds that were found unfinished at open have ended."""
        self._actors = trio.CancelScope()
        self._stopped = trio.Event()
        self._closed = False

    def __repr__(self) -> str:
        actors = (self.committer, self.indexer, self.searcher, self.sweeper, self.monitor)
        return f"<Supervisor: {', '.join(map(repr, actors))}>"

    def _committed(self) -> None:
        """After each group: who may have something to do now."""
        if self.state.indexes:
            self.indexer.wake()
            if any(map(self.monitor.wants_build, self.state.indexes.values())):
                self.monitor.wake()
        if self.sweeper.wants_purge():
            self.sweeper.wake()

    def _build_ended(self) -> None:
        """There are rows to file in a new generation, or a generation to take away."""
        self.indexer.wake()
        self.sweeper.wake()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The task: runs all actors until `close`, or until one dies."""
        try:
            with self._actors:
                async with trio.open_nursery() as nursery:
                    for actor in (
                        self.committer,
                        self.indexer,
                        self.searcher,
                        self.sweeper,
                        self.calibrations,
                        self.monitor,
                    ):
                        nursery.start_soon(self._watch, actor.run, name=type(actor).__name__)
                    nursery.start_soon(self._watch, self._resume_builds)
                    task_status.started()
        finally:
            self._stopped.set()

    async def _watch(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception as error:
            log.exception("an actor died")
            self.state.die(error)
            self._actors.cancel()

    async def build(
        self,
        index: IndexState,
        *,
        parameters: IndexParameters | None = None,
        effort: Effort | None = None,
        control: BuildControl | None = None,
        listener: Listener = lambda _: None,
    ) -> Outcome:
        """Build an index, or build it anew, and swap the result in.

        One that was cut short, with the same parameters, goes on. Raises BusyError while
        there is another job on the index.
        """
        effort = effort or Effort(parallel=default_parallel())
        control = control or BuildControl(effort.max_duration_s)
        rebuilder = Rebuilder(
            self.state,
            self.committer,
            index,
            parameters or index.parameters,
            effort=effort,
            control=control,
            listener=listener,
            ended=self._build_ended,
        )
        return await run_alone(self.state, index, control, rebuilder.run)

    async def rebuild(self, index: IndexState) -> Outcome:
        """Build an index anew, nlist worked out again: what the Monitor does, on one core."""
        parameters = replace(index.parameters, nlist=None)
        return await self.build(index, parameters=parameters, effort=Effort(parallel=1))

    async def roll_back(self, index: IndexState, effort: Effort) -> Outcome:
        """Let the generation that was replaced last take over again."""
        job = Rollback(self.state, self.committer, index, effort)
        control = BuildControl(resumable=False)
        outcome = await run_alone(self.state, index, control, job.run)
        self._build_ended()
        return outcome

    async def pause(self, index: IndexState) -> bool:
        """Let the rebuild that runs end, durably; False when it was done before."""
        control = self.state.builds.get(index.row.id)
        if control is None:
            raise NotFoundError(f"index {index.row.name!r}: no rebuild runs")
        if not control.resumable:
            raise InputError(f"index {index.row.name!r}: only a rebuild can be paused")
        control.end("paused")
        await control.ended.wait()
        return index.unfinished is not None

    async def abort(self, index: IndexState) -> None:
        """End the job on an index, or forget one that was cut short; what it has done goes."""
        control = self.state.builds.get(index.row.id)
        if control is not None:
            control.end("cancelled")
            await control.ended.wait()
        elif index.unfinished is None:
            raise NotFoundError(f"index {index.row.name!r}: there is no rebuild to abort")
        await drop_unfinished(self.state, self.committer, index, "")  # it may just have paused
        self.monitor.leave_alone(index)
        self.sweeper.wake()

    async def reorganize(
        self,
        index: IndexState,
        *,
        partitions: int | None = None,
        effort: Effort | None = None,
    ) -> Reorganization:
        """Split overgrown partitions of an index and give starving ones up, the worst first."""
        reorganizer = Reorganizer(
            self.state,
            self.committer,
            index,
            fold=self.indexer.fold_now,
            effort=effort or Effort(parallel=default_parallel()),
            ended=self._build_ended,
        )
        control = BuildControl(resumable=False)
        return await run_alone(self.state, index, control, partial(reorganizer.run, partitions))

    async def _resume_builds(self) -> None:
        """Builds that a crash or a close has cut short go on, one after the other."""
        indexes = self.state.indexes.values() if self._on_open == "resume" else ()
        for index in list(indexes):
            unfinished = index.unfinished
            if unfinished is None or unfinished.job.state == "paused" or index.building:
                continue
            try:
                await self.build(
                    index,
                    parameters=IndexParameters.from_json(unfinished.row.parameters),
                    effort=Effort.of(unfinished.job),
                )
            except CentroiDBError as error:
                if self.state.failed is not None:
                    raise
                if not self.state.closing:
                    log.warning("the build of index %s did not go on: %s", index.row.name, error)
        self.resumed.set()

    async def close(self) -> bool:
        """Close the database; True when one file is left. Never raises for the file's sake."""
        state = self.state
        state.closing = True
        state.wake_writers()
        for build in list(state.builds.values()):
            build.end("interrupted")
            await build.ended.wait()
        await self._fold_all()
        await self._save_captured()
        self._actors.cancel()
        await self._stopped.wait()
        await state.pool.aclose()
        self._closed = True
        if state.failed is not None:
            await run_blocking(state.file.abandon)
            return False
        return await run_blocking(state.file.close)

    async def abandon(self) -> None:
        """Give the file back as a crash would leave it, if it was not closed."""
        if not self._closed:
            self._closed = True
            await self.state.pool.aclose()
            await run_blocking(self.state.file.abandon)

    async def _save_captured(self) -> None:
        captured, slice_bytes = self.state.captured, self.state.limits.slice_bytes
        with trio.move_on_after(CLOSING_FOLD_S), contextlib.suppress(CentroiDBError):
            for index in list(captured):
                await save_captured(self.committer, captured, index, slice_bytes=slice_bytes)

    async def _fold_all(self) -> None:
        """What is filed is folded, so that the next open has nothing to replay."""
        if self.state.failed is not None:
            return
        with trio.move_on_after(CLOSING_FOLD_S):
            for index in list(self.state.indexes.values()):
                if index.active is not None:
                    try:
                        await self.indexer.fold(index.active)
                    except CentroiDBError as error:
                        log.warning("closing: a delta was not folded: %s", error)
