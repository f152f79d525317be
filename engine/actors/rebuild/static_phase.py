"""The static phase of a build: from the rows visible at S0 to centroids and segments.

    versions     1 2 3 5 6 8 9 ...            the vids that are not dead at S0
    sample       seeded, samples_per_partition x nlist of them
    cluster      k-means rounds over fixed blocks of the sample
    assign       fixed vid-aligned blocks -> partition of each row
    encode       partitions in order -> segments, staged a slice at a time

Each round and each window of assignments is kept (`slices`), as are the segments;
a build that was cut short takes what is there and computes the rest.

How large blocks are says the plan (`budget`), which knows the rows and the memory
there is, and not the width. Everything a thread computes is a pure function of a
block, and results are put together in block order. So the same rows, parameters
and libraries give the same bytes at any PARALLEL. Each block waits for its turn
at the workers that all builds share.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from typing import Literal, Protocol, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from ....txn.deaths import Visibility
from ....wal import rows
from ....wal.blocking import run_blocking
from ....wal.catalog import TableRow
from ....wal.errors import CorruptError
from ....wal.pool import ReaderPool
from ....wal.seal import SegmentRef
from ....wal.segments import StoredSegment
from ....wal.types import Vid
from ....wal.vectors import VectorBlock, read_block, read_vectors
from ...index.centroids import CentroidSearch, make_search
from ...index.distance import index_space
from ...index.kept_out import KEPT_OUT_ROWS_MIN, kept_out
from ...index.kmeans import ROUNDS, KMeans, Partial
from ...index.parameters import IndexParameters
from ...index.segment import encode_segment
from ...storage.blocks import packed
from ..wide import each
from .budget import Plan
from .effort import Pace
from .footprint import SORTED_GROUPS, WINDOW_BLOCKS
from .pieces import Group, Piece, groups, partition_sizes, pieces
from .progress import Phase
from .slices import BuildSlices

Vids = NDArray[np.int64]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Report(Protocol):
    """Says how many rows of how many are done in a phase."""

    async def __call__(
        self, phase: Phase, rows: int, rows_total: int, *, rounds: tuple[int, int] = (0, 0)
    ) -> None:
        """May write the job's row."""
        ...


Step = Literal["assign", "reassign"]

Span = tuple[int, int]
"""Positions of rows: the first, and the one after the last."""


@dataclass(frozen=True)
class Assigned:
    """Where each row visible at S0 belongs.

    versions: vids of the rows, int64 (n,) ascending; centroids: int32 (n,); drift_baseline:
    mean distance of a row to its centroid, in index space; sampled: positions of the rows
    that k-means has seen, ascending.
    """

    versions: Vids
    centroids: NDArray[np.int32]
    drift_baseline: float
    sampled: NDArray[np.intp]


class StaticPhase:
    """One build's static phase. `visibility` is S0."""

    def __init__(
        self,
        pool: ReaderPool,
        table: TableRow,
        visibility: Visibility,
        parameters: IndexParameters,
        *,
        plan: Plan,
        kept: BuildSlices,
        pace: Pace,
        report: Report,
    ) -> None:
        self._pool = pool
        self._kept = kept
        self._table = table
        self._visibility = visibility
        self._parameters = parameters
        self._plan = plan
        self._pace = pace
        self._report = report
        self._done = 0
        """Rows done in the phase under way."""

    async def _run(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """Compute in a worker thread, when it is this build's turn."""
        async with self._pace.block(0):
            return await run_blocking(fn, *args)

    async def versions(self) -> Vids:
        """The rows visible at S0, int64 (n,), ascending; CorruptError if some are gone."""
        starts = range(0, self._visibility.high, self._plan.cut.versions)
        found = np.empty(self._plan.size.rows, np.int64)
        width, filled = self._plan.width.versions, 0
        for at in range(0, len(starts), width):
            for vids in await each(width, starts[at : at + width], self._versions_from):
                filled += len(vids)
                if filled <= len(found):
                    found[filled - len(vids) : filled] = vids
        if filled != len(found):
            raise CorruptError(
                f"table {self._table.name!r}: {filled} of the {len(found)} rows at LSN "
                f"{self._visibility.lsn} are stored"
            )
        return found

    async def _versions_from(self, first: int) -> Vids:
        until = Vid(min(first + self._plan.cut.versions, self._visibility.high))
        async with self._pace.block(0):
            vids = await self._pool.read(
                lambda c: rows.read_versions(c, self._table.id, Vid(first), until).vids
            )
        seen = self._visibility(vids)
        return vids if seen is None else vids[seen]

    async def train(self, versions: Vids) -> NDArray[np.float32]:
        """Centroids, float32 (nlist, d), of a seeded sample of the rows; one if there are none."""
        if not len(versions):
            return np.zeros((1, self._table.dim), np.float32)
        last = await self._kept.last_round(self._table.dim)
        if last is not None and last.round >= ROUNDS:
            return last.centroids
        means = await self._means(versions)
        if last is not None:
            means.restore(last)
        while not means.done:
            a_round = await self._round(means)
            await self._kept.keep_round(means.state)
            rounds = (means.round, means.rounds)
            await self._report("cluster", a_round * means.round, a_round * rounds[1], rounds=rounds)
        return means.centroids

    async def _round(self, means: KMeans) -> int:
        """One round of k-means, a few blocks at a time; returns how many rows it looked at."""
        blocks, width = means.blocks(), self._plan.width.cluster

        rows_seen = 0
        for at in range(0, len(blocks), 2 * width):
            some = blocks[at : at + 2 * width]
            partials = await each(width, some, partial(self._partial, means))
            rows_seen += sum(len(part.labels) for part in partials)
            await self._run(means.add, partials)
        await self._run(means.advance)
        return rows_seen

    async def _partial(self, means: KMeans, block: int) -> Partial:
        cut = self._plan.cut
        async with self._pace.block(min(cut.cluster, cut.sample)):
            return await run_blocking(means.partial, block)

    async def _means(self, versions: Vids) -> KMeans:
        """k-means before its first round."""
        sample = await self._sample(versions)
        make = partial(
            KMeans,
            seed=self._parameters.seed,
            balance=self._parameters.balance,
            start=self._parameters.start,
            block_rows=self._plan.cut.cluster,
        )
        return await self._run(make, sample, self._plan.size.nlist)

    async def _sampled(self, versions: Vids) -> NDArray[np.intp]:
        """Which of the rows k-means sees, as positions, ascending."""
        return await self._run(_drawn, versions, self._plan.cut.sample, self._parameters.seed)

    async def _sample(self, versions: Vids) -> NDArray[np.float32]:
        """Rows in index space, float32 (m, d), drawn without replacement, in vid order."""
        chosen = await self._sampled(versions)
        await self._report("sample", 0, len(chosen))
        step, metric = self._plan.cut.block, self._parameters.metric
        sample = np.empty((len(chosen), self._table.dim), np.float32)

        async def read(start: int) -> None:
            some = slice(start, start + step)
            async with self._pace.block(0):
                block = await self._read_vectors(versions[chosen[some]])
                sample[some] = await run_blocking(index_space, metric, block.vectors)

        await each(self._plan.width.sample, range(0, len(chosen), step), read)
        return sample

    async def _read_vectors(self, vids: Vids) -> VectorBlock:
        dim = self._table.dim
        return await self._pool.read(lambda c: read_vectors(c, self._table.id, vids, dim))

    async def search_of(self, centroids: NDArray[np.float32]) -> CentroidSearch:
        """What assigns rows to these centroids."""
        kind, metric = self._parameters.centroid_search, self._parameters.metric
        make = partial(make_search, seed=self._parameters.seed)
        return await self._run(make, kind, metric, centroids)

    async def assign(self, versions: Vids, search: CentroidSearch, step: Step) -> Assigned:
        """The partition of each row, window by window of vid-aligned blocks."""
        self._done = 0
        windows = await self._run(self._windows, versions)
        centroids = np.empty(len(versions), np.int32)
        distances: list[float] = []
        for number, spans in enumerate(windows):
            found, by_block = await self._assign_window(versions, search, step, number, spans)
            centroids[spans[0][0] : spans[-1][1]] = found
            distances += by_block.tolist()
        baseline = sum(distances) / max(1, len(centroids))
        return Assigned(versions, centroids, baseline, await self._sampled(versions))

    def _windows(self, vids: Vids) -> list[list[Span]]:
        """Positions of the rows of each block, some blocks at a time."""
        step = self._plan.cut.block
        borders = np.arange(0, self._visibility.high + step, step)
        cuts = np.unique(np.searchsorted(vids, borders))
        spans = list(pairwise(cuts.tolist()))
        return [spans[at : at + WINDOW_BLOCKS] for at in range(0, len(spans), WINDOW_BLOCKS)]

    async def _assign_window(
        self,
        versions: Vids,
        search: CentroidSearch,
        step: Step,
        number: int,
        spans: list[Span],
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        async def assign_span(span: Span) -> tuple[NDArray[np.int32], float]:
            async with self._pace.block(span[1] - span[0]):
                block = await self._read_span(versions[slice(*span)])
                centroids, squared = await run_blocking(search.assign, block.vectors)
            self._done += len(centroids)
            await self._report("assign", self._done, len(versions))
            return centroids, float(np.sqrt(squared).sum())

        rows_here = spans[-1][1] - spans[0][0]
        known = await self._kept.assigned(step, number, len(spans), rows_here)
        if known is not None:
            self._done += len(known[0])
            return known
        parts = await each(self._plan.width.assign, spans, assign_span)
        centroids = np.concatenate([part for part, _ in parts])
        distances = np.array([distance for _, distance in parts])
        await self._kept.keep_assigned(step, number, centroids, distances)
        return centroids, distances

    def trimmed(
        self, assigned: Assigned, centroids: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        """The centroids that keep `min_vectors_per_partition` rows; None when all do, or none."""
        sizes = partition_sizes(assigned.centroids, len(centroids))
        kept = sizes >= self._parameters.min_vectors_per_partition
        return None if kept.all() or not kept.any() else centroids[kept]

    async def _read_span(self, vids: Vids) -> VectorBlock:
        """The rows `vids`, by one range scan where most of the range is asked for."""
        first, until = Vid(int(vids[0])), Vid(int(vids[-1]) + 1)
        if 2 * len(vids) < until - first:
            return await self._read_vectors(vids)
        table = self._table
        block = await self._pool.read(lambda c: read_block(c, table.id, first, until, table.dim))
        if len(block.vids) == len(vids):
            return block
        kept = np.isin(block.vids, vids, assume_unique=True)
        return VectorBlock(block.vids[kept], block.crcs[kept], block.vectors[kept])

    async def encode(
        self, group: Group, assigned: Assigned, centroids: NDArray[np.float32]
    ) -> list[StoredSegment]:
        """The segments of a group of pieces, whose vectors are read in one go."""
        rows_in_group = sum(len(piece) for _, piece in group)
        async with self._pace.block(rows_in_group):
            positions = np.sort(np.concatenate([piece for _, piece in group]))
            block = await self._read_vectors(assigned.versions[positions])
            codec = self._parameters.codec_for(self._table.dim)
            metric = self._parameters.metric

            def encode_piece(centroid: int, piece: NDArray[np.intp]) -> StoredSegment:
                at = np.searchsorted(positions, piece)
                vids, crcs, vectors = block.vids[at], block.crcs[at], block.vectors[at]
                segment = encode_segment(codec, metric, centroids[centroid], vids, crcs, vectors)
                return packed(centroid, segment)

            encoded = await run_blocking(lambda: [encode_piece(*piece) for piece in group])
        self._done += rows_in_group
        await self._report("encode", self._done, len(assigned.centroids))
        return encoded

    async def agrees(self, assigned: Assigned, nlist: int, staged: Sequence[SegmentRef]) -> bool:
        """Whether the first segments are cut as those staged were: other limits cut otherwise."""
        left = await self._pieces(assigned, nlist)
        cut = await self._run(lambda: [(c, len(at)) for c, at in islice(left, len(staged))])
        return cut == [(ref.centroid, ref.n) for ref in staged]

    async def _pieces(self, assigned: Assigned, nlist: int) -> Iterator[Piece]:
        homes, cut = assigned.centroids, self._plan.cut
        sizes = await self._run(partition_sizes, homes, nlist)
        return pieces(homes, sizes, cut.segment, SORTED_GROUPS * max(cut.group, cut.segment))

    async def encoded(
        self, assigned: Assigned, centroids: NDArray[np.float32], done: int
    ) -> AsyncGenerator[list[StoredSegment], None]:
        """All segments but the first `done`, in partition order, a few groups at a time."""
        cut, width = self._plan.cut, self._plan.width.encode
        left = await self._pieces(assigned, len(centroids))
        self._done = await self._run(lambda: sum(len(rows) for _, rows in islice(left, done)))
        grouped = groups(left, cut.group)
        while window := await self._run(lambda: list(islice(grouped, width))):
            for encoded in await each(
                width, window, lambda group: self.encode(group, assigned, centroids)
            ):
                yield encoded


def _drawn(versions: Vids, size: int, seed: int) -> NDArray[np.intp]:
    """Positions of up to `size` rows, ascending; of many rows, none of those kept out."""
    generator = np.random.default_rng(seed)
    trained = np.arange(len(versions))
    if len(versions) >= KEPT_OUT_ROWS_MIN:
        trained = np.flatnonzero(~kept_out(versions))
    chosen = generator.choice(len(trained), min(len(trained), size), replace=False)
    return trained[np.sort(chosen)]
