"""An index, and its rebuild."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import trio
from numpy.typing import NDArray

from ...wal import segments
from ...wal.catalog import TableRow
from ...wal.errors import InputError, NotFoundError
from ...wal.types import IndexId
from ..actors.control import BuildControl
from ..actors.errors import JobCancelled
from ..actors.monitor import health
from ..actors.rebuild.rebuilder import Listener, Outcome
from ..actors.supervisor import Supervisor
from ..actors.view import PinnedIndex, View
from ..actors.wide import unwrapped
from ..index.generation import Generation, Manifest
from ..index.parameters import IndexParameters
from ..storage.blocks import unpacked
from ..storage.indexes import IndexState
from .inputs import check_integer
from .job import Job
from .reading import TableReading
from .source import Source
from .statistics import IndexStatistics

PARALLEL_MAX = 256


class RebuildOptions(TypedDict, total=False):
    """What a rebuild may be told; what is left out stays as the index has it."""

    parallel: int | None
    """Worker threads; by default all cores but one."""
    nlist: int | None
    """Partitions; left out, worked out from the live rows."""
    samples_per_partition: int | None
    min_vectors_per_partition: int | None
    codec: Literal["auto", "flat", "sq8"] | None
    seed: int | None
    start: Literal["sample", "kmeans++"] | None
    centroid_search: Literal["auto", "exact", "hnsw"] | None
    target_accuracy: int | None
    memory_bytes: int | None
    """What the build may take at most; below what it needs it is refused."""


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

        Raises BusyError while it is being built, JobCancelled when it or its table
        is dropped meanwhile, RebuildRejected when the new generation does not pass
        its checks; the index then stays as it was.
        """
        return await self._build(options, lambda _: None, BuildControl())

    @asynccontextmanager
    async def rebuilding(self, **options: Unpack[RebuildOptions]) -> AsyncIterator[Job]:
        """`rebuild` with events: `async with index.rebuilding() as job: async for event in job`.

        Leaving the block before the build is done interrupts it: asked for again with
        the same options, it goes on. `job.cancel()` drops it.
        """
        control = BuildControl()
        job = Job(self.name, control)

        async def build() -> None:
            outcome = None
            try:
                outcome = await self._build(options, job.listen, control)
            except JobCancelled:
                if not job.cancelled:
                    raise
            finally:
                control.begun.set()
                job.finish(outcome)

        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(build)
                await control.begun.wait()
                yield job
                nursery.cancel_scope.cancel()

    async def _build(
        self, options: RebuildOptions, listener: Listener, control: BuildControl
    ) -> Outcome:
        supervisor = self._source.supervisor()
        state = self._state(supervisor)
        unknown_options = options.keys() - RebuildOptions.__annotations__.keys()
        if unknown_options:
            raise InputError(
                f"rebuild of index {self.name!r}: expected options among "
                f"{', '.join(RebuildOptions.__annotations__)}, got {', '.join(unknown_options)}"
            )
        changes = dict(options)
        parallel = options.get("parallel")
        changes.pop("parallel", None)
        if parallel is not None:
            check_integer("parallel", parallel, 1, PARALLEL_MAX)
        parameters = state.parameters.changed(**changes)
        return await supervisor.build(
            state,
            parameters=replace(parameters, nlist=options.get("nlist")),
            parallel=parallel,
            control=control,
            listener=listener,
        )

    def _state(self, supervisor: Supervisor) -> IndexState:
        state = supervisor.state.indexes.get(self._id)
        if state is None:
            raise NotFoundError(f"index {self.name!r} was dropped")
        return state

    @asynccontextmanager
    async def _pinned(self) -> AsyncIterator[tuple[View, TableRow, PinnedIndex]]:
        """The index as it is now."""
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
        async with self._pinned() as (_, table, pinned):
            parameters = IndexParameters.from_json(pinned.row.parameters)
            building = self._source.is_building(self._id)
            figures = health(table, pinned.generation, parameters, building=building)
            return IndexStatistics.of(self.name, table.name, figures)

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
