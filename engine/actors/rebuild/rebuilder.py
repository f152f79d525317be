"""The Rebuilder: one build of one index, online.

    lsn    S0 ---------------------------------------------- now
    rows   |  static phase: on S0 alone      | catch-up | verify | swap
    others |  searches and commits go on ...                     |  ... on the new generation

It owns its job and its generation until the swap, and runs in the task of whoever
asked for it. Cut short, by a crash too, it can go on from its last durable step:
S0 stays pinned, what was done is in the file, and the next build of the same index
with the same parameters takes it up. A build that was cancelled by its job, or that
failed, is dropped. A new generation that would find less than the old one, for as
many rows read, is rejected (`gate`).
"""

import contextlib
import logging
import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import numpy as np
import trio
from numpy.typing import NDArray

from ....txn.snapshot import Snapshot
from ....wal import catalog, segments
from ....wal.catalog import GenerationRow, JobRow, TableRow
from ....wal.errors import CentroiDBError, DiskFullError
from ....wal.seal import Seal, SegmentRef
from ....wal.types import GenerationId, JobId, Lsn
from ...index.centroids import CentroidSearch
from ...index.delta import Delta
from ...index.generation import Generation
from ...index.parameters import IndexParameters
from ...storage.folding import stage
from ...storage.indexes import IndexState, Unfinished
from ...storage.loading import by_partition, stored_centroids
from ..committer import Committer
from ..control import BuildControl
from ..errors import JobCancelled
from ..job import drop_unfinished
from ..state import State
from ..wide import consists_of
from .budget import Plan, plan_for
from .catch_up import CatchUp, Position
from .effort import Effort, Pace
from .gate import TOLERANCE, TOLERANCE_FEWER, Gate
from .outcome import Outcome
from .record import JobRecord, Listener
from .slices import BuildSlices
from .static_phase import Assigned, StaticPhase, Step, Vids
from .takeover import Takeover

log = logging.getLogger(__name__)


class Rebuilder:
    """See the module. `run` builds; `listener` gets each event, on the event loop."""

    def __init__(
        self,
        state: State,
        committer: Committer,
        index: IndexState,
        parameters: IndexParameters,
        *,
        effort: Effort,
        control: BuildControl,
        listener: Listener,
        ended: Callable[[], None],
    ) -> None:
        self._state = state
        self._committer = committer
        self._index = index
        self._parameters = parameters
        self._effort = effort
        self._pace = Pace(effort.throttle, state.build_workers)
        self._control = control
        self._ended = ended
        """Tells the Indexer and the Sweeper that there may be something to do."""
        self._record = JobRecord(committer, index.row.id, "rebuild", effort, listener)
        self._assigned: Assigned | None = None
        """Where the static phase put the rows at S0; the gate asks."""
        self._s0: Snapshot | None = None
        """Pinned from the begin to the end of the build, or until it is taken up again."""
        self._takeover: Takeover | None = None

    def __repr__(self) -> str:
        event = self._record.latest
        return f"<Rebuilder of {self._index.row.name!r}: {event.phase}, {event.fraction:.0%}>"

    async def run(self) -> Outcome:
        """Build and swap; to be run as the one job on the index.

        Raises JobCancelled, RebuildRejected or a storage error.
        """
        try:
            with trio.CancelScope(shield=True):  # a pause leaves a job, however early it comes
                await self._begin()
            self._control.begun.set()
            self._control.start_clock()
            generation = await self._static_phase()
            outcome = await self._follow_and_swap(generation)
        except BaseException as error:
            await self._cut_short(error)
            raise
        self._let_go()
        self._ended()
        return outcome

    def _let_go(self) -> None:
        if self._s0 is not None:
            self._state.snapshots.close(self._s0)
            self._s0 = None

    async def _begin(self) -> None:
        """Go on with a build of the same parameters that was cut short, or begin one."""
        unfinished = self._index.unfinished
        if unfinished is not None and unfinished.row.parameters == self._parameters.to_json():
            await self._take_up(unfinished)
            return
        message = "another build was begun"
        await drop_unfinished(self._state, self._committer, self._index, message)
        await self._begin_anew()

    async def _take_up(self, unfinished: Unfinished) -> None:
        """Hold its S0 and clear away what was staged after its last seal."""
        self._index.unfinished = None
        self._s0, self._row = unfinished.snapshot, unfinished.row
        self._record.take_up(unfinished.job)
        self._table = self._s0.heads.tables[self._index.row.table]
        self._plan = self._planned_for(self._row.rows_at_build)
        job = self._record.row("running")
        await self._committer.write(partial(_resumed, row=self._row, job=job))

    async def _begin_anew(self) -> None:
        """Pin S0 and make it durable, in one turn: no commit and no truncation comes between."""
        row, job = await self._committer.do(self._pin, lambda written: written)
        self._row = row
        self._record.job, self._record.generation = job, row.id

    def _pin(self) -> Callable[[sqlite3.Connection], tuple[GenerationRow, JobId]]:
        heads = self._state.heads
        table = heads.tables.get(self._index.row.table)
        if table is None or self._index.row.id not in self._state.indexes:
            raise JobCancelled(f"index {self._index.row.name!r}, or its table, was dropped")
        self._table = table
        self._plan = self._planned_for(table.live)
        self._s0 = self._state.snapshots.open(heads, math.inf)
        planned = self._planned(table, heads.lsn)

        def work(connection: sqlite3.Connection) -> tuple[GenerationRow, JobId]:
            catalog.end_builds(connection, self._index.row.id)  # one whose end was not written
            row = replace(planned, id=catalog.insert_generation(connection, planned))
            job = replace(self._record.row("running"), generation=row.id)
            return row, catalog.put_job(connection, job)

        return work

    def _planned_for(self, rows: int) -> Plan:
        """How to build over so many rows, those visible at S0; InputError if there is no memory."""
        return plan_for(
            self._table, rows, self._parameters, self._state.limits, parallel=self._effort.parallel
        )

    def _planned(self, table: TableRow, lsn: Lsn) -> GenerationRow:
        parameters = self._parameters
        return GenerationRow(
            id=GenerationId(0),
            index=self._index.row.id,
            state="building",
            s0_lsn=lsn,
            s0_high=table.next_vid,
            fold_lsn=lsn,
            fold_vid=table.next_vid,
            nlist=0,
            seed=parameters.seed,
            codec=parameters.codec_for(table.dim),
            metric=parameters.metric,
            centroid_search=parameters.centroid_search,
            rows_at_build=table.live,
            drift_baseline=0.0,
            cost_at_build=0.0,
            built_at_ns=time.time_ns(),
            replaced_at_ns=0,
            seal=Seal(),
            parameters=parameters.to_json(),
        )

    async def _static_phase(self) -> Generation:
        assert self._s0 is not None
        state, dim = self._state, self._table.dim
        phase = StaticPhase(
            state.pool,
            self._table,
            state.visibility(self._table, self._s0.lsn),
            self._parameters,
            plan=self._plan,
            kept=self._slices(),
            pace=self._pace,
            report=self._record.report,
        )
        versions = await phase.versions()
        if self._row.state == "building":
            centroids, search = await self._partition(phase, versions)
            await self._store(phase, centroids)
        else:
            centroids = await state.pool.read(lambda c: stored_centroids(c, self._row, dim))
            search = await phase.search_of(centroids)
            step: Step = "reassign" if await self._slices().has("reassign") else "assign"
            self._assigned = await phase.assign(versions, search, step)
        refs = await state.pool.read(
            lambda c: segments.references(c, self._row.id, self._row.seal.last)
        )
        delta = Delta(dim)
        return Generation(self._table.id, self._row, centroids, search, by_partition(refs), delta)

    def _slices(self) -> BuildSlices:
        return BuildSlices(self._state.pool, self._committer, self._row.id)

    async def _partition(
        self, phase: StaticPhase, versions: Vids
    ) -> tuple[NDArray[np.float32], CentroidSearch]:
        """Train, and assign every row; once more where small partitions are given up."""
        centroids = await phase.train(versions)
        search = await phase.search_of(centroids)
        assigned = await phase.assign(versions, search, "assign")
        trimmed = phase.trimmed(assigned, centroids)
        if trimmed is not None:
            centroids, search = trimmed, await phase.search_of(trimmed)
            del assigned  # or there would be two
            assigned = await phase.assign(versions, search, "reassign")
        self._assigned = assigned
        return centroids, search

    async def _store(self, phase: StaticPhase, centroids: NDArray[np.float32]) -> None:
        """Store centroids and segments; with the last write the catch-up may begin."""
        assert self._assigned is not None
        slice_bytes = self._state.limits.slice_bytes
        await self._store_centroids(centroids)
        refs = await self._state.pool.read(lambda c: segments.staged(c, self._row.id))
        if not await phase.agrees(self._assigned, len(centroids), refs):
            refs = await self._committer.write(partial(_unstaged, row=self._row))
        pieces = phase.encoded(self._assigned, centroids, done=len(refs))
        async with aclosing(pieces) as encoded:
            async for some in encoded:
                refs += await stage(self._committer, self._row.id, some, slice_bytes)
        row = self._row = replace(
            self._row,
            state="catching_up",
            nlist=len(centroids),
            rows_at_build=len(self._assigned.centroids),
            drift_baseline=self._assigned.drift_baseline,
            seal=self._row.seal.changed(refs),
        )
        await self._committer.write(lambda c: _begin_catch_up(c, row))

    async def _store_centroids(self, centroids: NDArray[np.float32]) -> None:
        row = self._row
        raw = np.ascontiguousarray(centroids, "<f4")
        for first, part in segments.centroid_parts(raw.tobytes(), 4 * raw.shape[1]):
            n = len(part) // (4 * raw.shape[1])
            await self._committer.write(
                partial(segments.write_centroids, generation=row.id, first=first, part=part, n=n)
            )

    async def _follow_and_swap(self, generation: Generation) -> Outcome:
        catch_up = CatchUp(
            self._state,
            self._committer,
            generation,
            Position.of(generation.row, self._table),
            self._record.report_lag,
            pace=self._pace,
            plan=self._plan,
        )
        old = self._index.active
        await catch_up.run()
        await self._record.report("verify", 0, 1)
        tolerance = None if old is None else self._tolerance(old, generation)
        if old is not None and tolerance is not None:
            await self._pass_gate(old, generation, tolerance)
        self._takeover = Takeover(
            self._state, self._committer, self._index, generation, catch_up, self._record
        )
        outcome = await self._takeover.run(self._parameters)
        with trio.CancelScope(shield=True):
            await self._slices().clear()
        return outcome

    def _tolerance(self, old: Generation, new: Generation) -> float | None:
        """How much recall may fall at equal rows read; None where that would tell nothing.

        It does not on a few rows, nor by another metric. With fewer partitions a build can
        only lose: when they were asked for that is no fault, and when the table has shrunk
        it is one beyond what fewer partitions explain.
        """
        few = new.row.rows_at_build < self._state.limits.gate_rows
        fewer = new.row.nlist < old.row.nlist
        if few or old.metric != new.metric or (fewer and self._parameters.nlist is not None):
            return None
        return TOLERANCE_FEWER if fewer else TOLERANCE

    async def _pass_gate(self, old: Generation, generation: Generation, tolerance: float) -> None:
        assert self._s0 is not None
        assert self._assigned is not None
        visibility = self._state.visibility(self._table, self._s0.lsn)
        gate = Gate(self._state, self._table, visibility, self._plan, tolerance)
        await gate.require_recall(self._assigned, old, generation)

    async def _cut_short(self, error: BaseException) -> None:
        """Keep what can go on later, drop what can not; if not now, then at the next open."""
        swapped = self._takeover is not None and self._takeover.swapped
        if self._record.generation and not swapped and self._state.failed is None:
            with trio.CancelScope(shield=True):
                try:
                    await self._committer.do(partial(self._put_away, error), self._put_away_done)
                except CentroiDBError as unwritten:
                    await self._remember(error, unwritten)
        self._let_go()

    async def _remember(self, error: BaseException, unwritten: CentroiDBError) -> None:
        """It can not be put away in the file, which calls it running: memory knows better."""
        log.warning("the end of a build of %s: %s", self._index.row.name, unwritten)
        kept = None
        if self._can_go_on(error):
            assert self._s0 is not None
            job, snapshot = self._record.row(self._control.ending), self._s0
            with contextlib.suppress(CentroiDBError):
                row = await self._state.pool.read(partial(_stored, build=self._row.id))
                kept = Unfinished(row, job, snapshot, trio.current_time())
        self._put_away_done(kept)

    def _put_away(self, error: BaseException) -> Callable[[sqlite3.Connection], Unfinished | None]:
        """In the turn, so that no drop comes between: whether it goes on, and what is written."""
        assert self._s0 is not None
        build, snapshot = self._row.id, self._s0
        if self._can_go_on(error):
            job = self._record.row(self._control.ending)
            now_s = trio.current_time()
            return lambda c: Unfinished(_interrupted(c, build, job), job, snapshot, now_s)
        cancelled = consists_of(error, trio.Cancelled, JobCancelled)
        state = "cancelled" if cancelled else "failed"
        job = self._record.row(state, "" if cancelled else str(error))
        return lambda c: catalog.end_build(c, build, job)

    def _put_away_done(self, unfinished: Unfinished | None) -> None:
        self._index.unfinished = unfinished
        if unfinished is not None:
            self._s0 = None
        else:
            self._state.abandoned.append(self._row.id)
            self._ended()

    def _can_go_on(self, error: BaseException) -> bool:
        """Whether the build was cut short from outside, and nobody wants it gone."""
        if self._control.asked == "cancelled" or self._index.row.id not in self._state.indexes:
            return False
        return consists_of(error, trio.Cancelled) or isinstance(error, DiskFullError)


def _interrupted(connection: sqlite3.Connection, build: GenerationId, job: JobRow) -> GenerationRow:
    catalog.put_job(connection, job)
    return _stored(connection, build)


def _stored(connection: sqlite3.Connection, build: GenerationId) -> GenerationRow:
    return next(row for row in catalog.read_generations(connection) if row.id == build)


def _resumed(connection: sqlite3.Connection, row: GenerationRow, job: JobRow) -> None:
    if row.state == "catching_up":
        segments.delete_beyond(connection, row.id, row.seal.last)
    catalog.put_job(connection, job)


def _unstaged(connection: sqlite3.Connection, row: GenerationRow) -> list[SegmentRef]:
    segments.delete_beyond(connection, row.id, row.seal.last)
    return []


def _begin_catch_up(connection: sqlite3.Connection, row: GenerationRow) -> None:
    catalog.update_generation(
        connection,
        row.id,
        state=row.state,
        nlist=row.nlist,
        rows_at_build=row.rows_at_build,
        drift_baseline=row.drift_baseline,
    )
    catalog.set_seal(connection, row.id, row.seal)
