"""An index, and its rebuild."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Unpack

import numpy as np
import trio
from numpy.typing import NDArray

from ...wal import segments
from ...wal.catalog import TableRow
from ...wal.errors import NotFoundError
from ...wal.types import IndexId
from ..actors import ddl
from ..actors.control import BuildControl
from ..actors.health import health
from ..actors.rebuild.effort import Effort
from ..actors.rebuild.outcome import Outcome
from ..actors.rebuild.record import Listener
from ..actors.reorganize.reorganizer import Reorganization
from ..actors.supervisor import Supervisor
from ..actors.view import PinnedIndex, View
from ..actors.wide import unwrapped
from ..index.generation import Generation, Manifest
from ..index.parameters import AutoRebuild, IndexParameters
from ..storage.blocks import unpacked
from ..storage.indexes import IndexState
from .inputs import check_integer
from .job import Build, Job
from .options import (
    EffortOptions,
    RebuildOptions,
    effort_of,
    kept_of,
    parameters_of,
    require_known,
)
from .plan import RebuildPlan, plan, read_precedent
from .reading import TableReading
from .source import Source
from .statistics import IndexStatistics

PARTITIONS_MAX = 1 << 31


@dataclass(frozen=True, eq=False)
class Partition:
    """A partition: the number of its centroid, the centroid float32 (dim,), rows listed."""

    id: int
    centroid: NDArray[np.float32]
    rows: int


class Index:
    """Comes from `Table.create_index` and `Database.index`."""

    def __init__(self, source: Source, index_id: IndexId, name: str) -> None:
        self._source = source
        self._id = index_id
        self.name = name

    def __repr__(self) -> str:
        return f"<Index {self.name!r}>"

    async def rebuild(self, **options: Unpack[RebuildOptions]) -> Outcome:
        """Build the index anew while reads and writes go on, and swap it in.

        Raises BusyError while there is another job on it, JobPaused when it was paused or
        its `max_duration` was over, JobCancelled when it or its table is dropped meanwhile,
        RebuildRejected when the new generation does not pass its checks; the index then
        stays as it was.
        """
        return await self._builder(options)(lambda _: None, BuildControl())

    @asynccontextmanager
    async def rebuilding(self, **options: Unpack[RebuildOptions]) -> AsyncIterator[Job]:
        """`rebuild` with events: `async with index.rebuilding() as job: async for event in job`.

        Leaving the block before the build is done interrupts it: asked for again with
        the same options, it goes on. `job.pause()` lets it rest, `job.cancel()` drops it.
        """
        async with self._job(self._builder(options)) as job:
            yield job

    async def resume_rebuild(self, **options: Unpack[EffortOptions]) -> Outcome:
        """Let a rebuild that was paused or interrupted go on from its last durable step.

        It is as wide and as fast as before unless the options say otherwise. NotFoundError
        when there is none; else it ends as `rebuild` does.
        """
        return await self._resumer(options)(lambda _: None, BuildControl())

    @asynccontextmanager
    async def resuming(self, **options: Unpack[EffortOptions]) -> AsyncIterator[Job]:
        """`resume_rebuild` with events, as `rebuilding` has them."""
        async with self._job(self._resumer(options)) as job:
            yield job

    async def pause_rebuild(self) -> bool:
        """Let the rebuild that runs, in whichever task, end durably; it can go on later.

        Its caller gets JobPaused. Returns False when it was done before; NotFoundError
        when none runs.
        """
        supervisor = self._source.supervisor()
        await trio.lowlevel.checkpoint()
        return await supervisor.pause(self._state(supervisor))

    async def abort_rebuild(self) -> None:
        """End the job on the index, or one that was cut short, and drop what it has done."""
        supervisor = self._source.supervisor()
        await trio.lowlevel.checkpoint()
        await supervisor.abort(self._state(supervisor))

    async def rollback(self, *, parallel: int | None = None) -> Outcome:
        """Let the generation that was replaced last take over again, with all rows since.

        The one that is active now is kept in its place, if any are to be kept. NotFoundError
        when no generation is kept: a rebuild keeps some with `keep_previous`.
        """
        supervisor = self._source.supervisor()
        effort = effort_of({"parallel": parallel})
        return await supervisor.roll_back(self._state(supervisor), effort)

    @asynccontextmanager
    async def _job(self, build: Build) -> AsyncIterator[Job]:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                job = Job(self.name, build, self._forget_paused, nursery)
                await job.begun()
                yield job
                nursery.cancel_scope.cancel()

    async def _forget_paused(self) -> None:
        with suppress(NotFoundError), trio.CancelScope(shield=True):
            await self.abort_rebuild()

    def _builder(self, options: RebuildOptions) -> Build:
        def asked(state: IndexState) -> tuple[IndexParameters, Effort]:
            return parameters_of(options, state.parameters), effort_of(options)

        return self._build_as(asked, options, RebuildOptions)

    def _resumer(self, options: EffortOptions) -> Build:
        def asked(state: IndexState) -> tuple[IndexParameters, Effort]:
            unfinished = state.unfinished
            if unfinished is None:
                raise NotFoundError(f"index {self.name!r}: no rebuild was paused or interrupted")
            parameters = IndexParameters.from_json(unfinished.row.parameters)
            return parameters, effort_of(options, Effort.of(unfinished.job))

        return self._build_as(asked, options, EffortOptions)

    def _build_as(
        self,
        asked: Callable[[IndexState], tuple[IndexParameters, Effort]],
        options: EffortOptions,
        known: type[Any],
    ) -> Build:
        """Builds what is `asked` of the index as it is when the build begins."""
        require_known(f"rebuild of index {self.name!r}", options, known)

        async def build(listener: Listener, control: BuildControl) -> Outcome:
            supervisor = self._source.supervisor()
            state = self._state(supervisor)
            parameters, effort = asked(state)
            control.max_duration_s = effort.max_duration_s
            return await supervisor.build(
                state, parameters=parameters, effort=effort, control=control, listener=listener
            )

        return build

    async def reorganize(
        self, partitions: int | None = None, *, parallel: int | None = None
    ) -> Reorganization:
        """Split overgrown partitions and give starving ones up, while reads and writes go on.

        It looks at the rows in and around `partitions` partitions, the worst, or in and around
        all that went wrong; the others stay as they are. A snapshot keeps the partitions it has.
        Raises BusyError while the index is being built, JobCancelled when it or its table is
        dropped meanwhile; partitions done by then stay done.
        """
        supervisor = self._source.supervisor()
        if partitions is not None:
            check_integer("partitions", partitions, 1, PARTITIONS_MAX)
        effort = effort_of({"parallel": parallel})
        state = self._state(supervisor)
        return await supervisor.reorganize(state, partitions=partitions, effort=effort)

    async def alter(
        self,
        *,
        auto_rebuild: AutoRebuild | None = None,
        keep_previous: int | timedelta | None = None,
    ) -> None:
        """Change how the index is watched and what of it is kept; None leaves it as it is.

        auto_rebuild: what the Monitor does when the index should be rebuilt: nothing ("off"),
        say so ("advise"), or rebuild it ("on"). keep_previous: as for a rebuild; of the
        generations kept now, those too many go at the next swap. BusyError when
        `keep_previous` is to change during a build.
        """
        supervisor = self._source.supervisor()
        changes = {"auto_rebuild": auto_rebuild, **kept_of(keep_previous)}
        self._state(supervisor).parameters.changed(**changes)  # refuses what can not be
        given = {name: value for name, value in changes.items() if value is not None}
        await ddl.alter_index(
            supervisor.state, supervisor.committer, self._state(supervisor), given
        )

    def _state(self, supervisor: Supervisor) -> IndexState:
        state = supervisor.state.indexes.get(self._id)
        if state is None:
            raise NotFoundError(f"index {self.name!r} was dropped")
        return state

    @asynccontextmanager
    async def _pinned(self) -> AsyncIterator[tuple[View, TableRow, PinnedIndex]]:
        """The index as it is now."""
        await trio.lowlevel.checkpoint()
        view = await self._source.open_view()
        try:
            pinned = view.indexes.get(self._id)
            if pinned is None:
                raise NotFoundError(f"index {self.name!r} was dropped")
            yield view, view.snapshot.heads.tables[pinned.row.table], pinned
        finally:
            await self._source.close_view(view)

    async def statistics(self) -> IndexStatistics:
        """How healthy it is, and what to do about it."""
        async with self._pinned() as (view, table, pinned):
            building = self._source.is_building(self._id)
            figures = health(table, view.deaths[table.id], pinned, building=building)
            return IndexStatistics.of(self.name, table.name, figures)

    async def explain_rebuild(self) -> RebuildPlan:
        """What a rebuild would take and bring, and whether it is called for; builds nothing."""
        async with self._pinned() as (view, table, pinned):
            building = self._source.is_building(self._id)
            figures = health(table, view.deaths[table.id], pinned, building=building)
            parameters = IndexParameters.from_json(pinned.row.parameters)
            precedent = await view.read(partial(read_precedent, index=self._id))
            limits = self._source.limits
            return plan(self.name, table, figures, parameters, precedent, limits)

    async def partitions(self) -> list[Partition]:
        """Its partitions, by number; none while it is not trained."""
        async with self._pinned() as (_, _, pinned):
            generation = pinned.generation
            if generation is None:
                return []
            sizes = generation.partition_sizes().tolist()
            return [
                Partition(number, generation.centroids[number], rows)
                for number, rows in enumerate(sizes)
            ]

    async def partition_of(self, ids: Any) -> NDArray[np.int32]:
        """The partition each of these keys is in, int32 (n,); -1 for a key that has no row."""
        async with self._pinned() as (view, table, pinned):
            reading = TableReading(self._source, view, table.name)
            keys = reading.inputs.keys(ids)
            if pinned.generation is None:
                return np.full(len(keys), -1, np.int32)
            vids = await reading.versions_of(keys)
            where = await self._where(view, pinned.generation)
            return np.array([where.get(vids.get(key, -1), -1) for key in keys], np.int32)

    async def _where(self, view: View, generation: Generation) -> dict[int, int]:
        """vid -> partition, of every row the generation lists."""
        manifest = generation.manifest()
        try:
            found: dict[int, int] = await view.read(lambda c: _listed(c, manifest))
        finally:
            generation.unpin(manifest)
        return found


def _listed(connection: sqlite3.Connection, manifest: Manifest) -> dict[int, int]:
    where: dict[int, int] = {}
    for centroid, refs in manifest.segments.items():
        for ref in refs:
            vids = unpacked(segments.read(connection, ref.id)).vids
            where.update(dict.fromkeys(vids.tolist(), centroid))
    for view in (manifest.delta, *(batch.rows for batch in manifest.batches)):
        where.update(zip(view.vids.tolist(), view.centroids.tolist(), strict=True))
    return where
