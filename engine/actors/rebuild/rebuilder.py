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
import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import trio
from numpy.typing import NDArray

from ....txn.snapshot import Snapshot
from ....wal import catalog, segments
from ....wal.catalog import GenerationRow, JobRow, TableRow
from ....wal.errors import CentroiDBError, DiskFullError
from ....wal.seal import Seal
from ....wal.types import GenerationId, JobId, Lsn
from ...index.centroids import CentroidSearch
from ...index.delta import Delta
from ...index.generation import Generation
from ...index.health import imbalance
from ...index.parameters import IndexParameters
from ...storage.folding import stage
from ...storage.indexes import IndexState, Unfinished
from ...storage.loading import by_partition, stored_centroids
from ..blas import one_blas_thread
from ..committer import Committer
from ..control import BuildControl
from ..errors import BusyError, JobCancelled
from ..state import State
from ..wide import leaves
from .budget import Plan, plan_for
from .catch_up import CatchUp, Position
from .gate import Gate
from .progress import Event, Phase, Progress
from .slices import BuildSlices
from .static_phase import Assigned, StaticPhase, Step, Vids
from .swap import Swap, verify_rows

JOB_ROW_EVERY_S = 0.25

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Outcome:
    """What a build did. Times in seconds; `imbalance_before` is None for a first build."""

    index: str
    generation: int
    nlist: int
    rows: int
    rows_caught_up: int
    seconds: float
    writers_held_s: float
    imbalance_before: float | None
    imbalance_after: float


class Rebuilder:
    """See the module. `run` builds; `listener` gets each event, on the event loop."""

    def __init__(
        self,
        state: State,
        committer: Committer,
        index: IndexState,
        parameters: IndexParameters,
        *,
        parallel: int,
        control: BuildControl,
        listener: Listener,
        ended: Callable[[], None],
    ) -> None:
        self._state = state
        self._committer = committer
        self._index = index
        self._parameters = parameters
        self._parallel = parallel
        self._control = control
        self._listener = listener
        self._ended = ended
        """Tells the Indexer and the Sweeper that there may be something to do."""
        self._progress = Progress(index.row.id, parallel)
        self._job_row_at = 0.0
        self._assigned: Assigned | None = None
        """Where the static phase put the rows at S0; the gate asks."""
        self._s0: Snapshot | None = None
        """Pinned from the begin to the end of the build, or until it is taken up again."""

    def __repr__(self) -> str:
        event = self._progress.latest
        return f"<Rebuilder of {self._index.row.name!r}: {event.phase}, {event.fraction:.0%}>"

    async def run(self) -> Outcome:
        """Build and swap. Raises BusyError, JobCancelled, RebuildRejected or a storage error."""
        name = self._index.row.name
        if self._index.building:
            raise BusyError(f"index {name!r} is being built already")
        self._index.building = True
        self._state.builds[self._index.row.id] = self._control
        try:
            with self._control.scope, one_blas_thread():
                return await self._run()
        finally:
            del self._state.builds[self._index.row.id]
            self._index.building = False
            self._control.ended.set()
        self._state.require_open()
        raise JobCancelled(f"the build of index {name!r} was cancelled")

    async def _run(self) -> Outcome:
        try:
            await self._begin()
            self._control.begun.set()
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
        if unfinished is not None:
            self._state.give_up(self._index)
            job = replace(unfinished.job, state="cancelled")
            await self._committer.write(
                partial(catalog.end_build, generation=unfinished.row.id, job=job)
            )
        await self._begin_anew()

    async def _take_up(self, unfinished: Unfinished) -> None:
        """Hold its S0 and clear away what was staged after its last seal."""
        self._index.unfinished = None
        self._s0, self._row = unfinished.snapshot, unfinished.row
        self._progress.take_up(unfinished.job)
        self._table = self._s0.heads.tables[self._index.row.table]
        self._plan = self._planned_for(self._row.rows_at_build)
        job = self._progress.row("running")
        await self._committer.write(partial(_resumed, row=self._row, job=job))

    async def _begin_anew(self) -> None:
        """Pin S0 and make it durable, in one turn: no commit and no truncation comes between."""
        row, job = await self._committer.do(self._pin, lambda written: written)
        self._row = row
        self._progress.job, self._progress.generation = job, row.id

    def _pin(self) -> Callable[[sqlite3.Connection], tuple[GenerationRow, JobId]]:
        heads = self._state.heads
        table = heads.tables.get(self._index.row.table)
        if table is None:
            raise JobCancelled(f"the table of index {self._index.row.name!r} was dropped")
        self._table = table
        self._plan = self._planned_for(table.live)
        self._s0 = self._state.snapshots.open(heads, math.inf)
        planned = self._planned(table, heads.lsn)

        def work(connection: sqlite3.Connection) -> tuple[GenerationRow, JobId]:
            row = replace(planned, id=catalog.insert_generation(connection, planned))
            job = replace(self._progress.row("running"), generation=row.id)
            return row, catalog.put_job(connection, job)

        return work

    def _planned_for(self, rows: int) -> Plan:
        """How to build over so many rows, those visible at S0; InputError if there is no memory."""
        return plan_for(
            self._table, rows, self._parameters, self._state.limits, parallel=self._parallel
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
            workers=state.build_workers,
            report=self._report,
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
        assert self._s0 is not None
        start = Position.of(generation.row, self._table)
        catch_up = CatchUp(
            self._state, self._committer, generation, start, self._report_lag, plan=self._plan
        )
        old = self._index.active
        before = imbalance(old.partition_sizes()) if old is not None else None
        await catch_up.run()
        await self._report("verify", 0, 1)
        if old is not None and self._is_comparable(old, generation):
            await self._pass_gate(old, generation)
        await self._reach_the_end(catch_up, generation)
        swap = Swap(self._state, self._index, generation, catch_up.position, self._parameters)
        await self._report("swap", 0, 1)
        await self._committer.do(swap.start, swap.finish)
        with trio.CancelScope(shield=True):  # what is swapped in is done
            await self._report("swap", 1, 1)
            await self._write_job_row("done")
            await self._slices().clear()
        return Outcome(
            index=self._index.row.name,
            generation=generation.row.id,
            nlist=generation.row.nlist,
            rows=generation.row.rows_at_build,
            rows_caught_up=catch_up.rows,
            seconds=self._progress.latest.elapsed_s,
            writers_held_s=catch_up.held_s,
            imbalance_before=before,
            imbalance_after=imbalance(generation.partition_sizes()),
        )

    def _is_comparable(self, old: Generation, new: Generation) -> bool:
        """Whether recall at equal rows read tells a bad build from a good one.

        It does not on a few rows; and with fewer partitions, which somebody asked
        for, a build can only lose.
        """
        rows = new.row.rows_at_build >= self._state.limits.gate_rows
        return rows and old.metric == new.metric and new.row.nlist >= old.row.nlist

    async def _pass_gate(self, old: Generation, generation: Generation) -> None:
        assert self._s0 is not None
        assert self._assigned is not None
        visibility = self._state.visibility(self._table, self._s0.lsn)
        gate = Gate(self._state, self._table, visibility, self._plan)
        await gate.require_recall(self._assigned, old, generation)

    async def _reach_the_end(self, catch_up: CatchUp, generation: Generation) -> None:
        """Catch up and verify, until nothing much was committed meanwhile.

        The first time writers go on during verification; should that leave too
        much to swap, they are held back the next time.
        """
        hold = False
        while True:
            await catch_up.run()
            self._progress.held_s = catch_up.held_s
            await self._report("verify", 0, 1)
            async with catch_up.holding(hold):
                if hold:
                    await catch_up.apply()
                await self._verify(catch_up.position, generation)
                if catch_up.lag() <= self._state.limits.catch_up_rows:
                    return
            hold = True

    async def _verify(self, position: Position, generation: Generation) -> None:
        visibility = self._state.visibility(position.table, position.lsn)
        async with self._state.build_workers:
            await self._state.pool.read(lambda c: verify_rows(c, generation, position, visibility))

    async def _report(
        self,
        phase: Phase,
        rows: int,
        rows_total: int,
        *,
        lag: int = 0,
        rounds: tuple[int, int] = (0, 0),
    ) -> None:
        self._listener(self._progress.event(phase, rows, rows_total, lag=lag, rounds=rounds))
        now = time.monotonic()
        if now >= self._job_row_at:
            self._job_row_at = now + JOB_ROW_EVERY_S
            await self._write_job_row("running")

    async def _report_lag(self, lag: int) -> None:
        await self._report("catch up", 0, 1, lag=lag)

    async def _write_job_row(self, state: str, message: str = "") -> None:
        row = self._progress.row(state, message)
        await self._committer.write(lambda c: catalog.put_job(c, row))

    async def _cut_short(self, error: BaseException) -> None:
        """Keep what can go on later, drop what can not; if not now, then at the next open."""
        generation, active = self._progress.generation, self._index.active
        swapped = active is not None and active.row.id == generation
        if generation and not swapped and self._state.failed is None:
            with trio.CancelScope(shield=True), contextlib.suppress(CentroiDBError):
                await (self._keep() if self._can_go_on(error) else self._drop(error))
        self._let_go()

    def _can_go_on(self, error: BaseException) -> bool:
        """Whether the build was cut short from outside, and nobody wants it gone."""
        if self._control.given_up or self._index.row.id not in self._state.indexes:
            return False
        return _consists_of(error, trio.Cancelled) or isinstance(error, DiskFullError)

    async def _keep(self) -> None:
        job = self._progress.row("interrupted")
        row = await self._committer.write(lambda c: _interrupted(c, self._row.id, job))
        assert self._s0 is not None
        self._index.unfinished, self._s0 = Unfinished(row, job, self._s0, trio.current_time()), None

    async def _drop(self, error: BaseException) -> None:
        cancelled = _consists_of(error, trio.Cancelled, JobCancelled)
        state = "cancelled" if cancelled else "failed"
        job = self._progress.row(state, "" if cancelled else str(error))
        await self._committer.write(partial(catalog.end_build, generation=self._row.id, job=job))
        self._state.abandoned.append(self._row.id)
        self._ended()


def _interrupted(
    connection: sqlite3.Connection, generation: GenerationId, job: JobRow
) -> GenerationRow:
    catalog.put_job(connection, job)
    return next(row for row in catalog.read_generations(connection) if row.id == generation)


def _resumed(connection: sqlite3.Connection, row: GenerationRow, job: JobRow) -> None:
    if row.state == "catching_up":
        segments.delete_beyond(connection, row.id, row.seal.last)
    catalog.put_job(connection, job)


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


def _consists_of(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether it is one of these, or a group of nothing else."""
    errors = leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return all(isinstance(each, kinds) for each in errors)
