"""The static phase of a build: from the rows visible at S0 to centroids and segments.

    vids at S0   1 2 3 5 6 8 9 ...            those not dead at S0, with their crcs
    sample       seeded, samples_per_partition x nlist of them
    cluster      k-means rounds over fixed blocks of the sample
    assign       fixed vid-aligned blocks -> partition of each row
    encode       partitions in order -> segments, staged a slice at a time

Each round and each window of assignments is kept (`slices`), as are the segments;
a build that was cut short takes what is there and computes the rest.

Everything a thread computes is a pure function of a block that is the same
whatever the width, and results are put together in block order. So the same
rows, seed and libraries give the same bytes at any PARALLEL.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ....txn.deaths import Visibility
from ....wal import rows
from ....wal.blocking import run_blocking
from ....wal.catalog import TableRow
from ....wal.pool import ReaderPool
from ....wal.rows import VectorBlock, Versions
from ....wal.segments import StoredSegment
from ....wal.types import Vid
from ...index.centroids import CentroidSearch, make_search
from ...index.distance import Metric, index_space
from ...index.kmeans import BLOCK_ROWS, ROUNDS, KMeans, Partial, default_nlist
from ...index.parameters import IndexParameters
from ...index.segment import encode_segment
from ...storage.blocks import packed
from ...storage.loading import block_rows
from ..wide import each
from .effort import Pace
from .progress import Phase
from .slices import BuildSlices

VERSIONS_A_READ = 32_768
ENCODE_BYTES = 4 << 20

BLOCKS_A_WINDOW = 8
"""Blocks assigned between two of the writes that keep them."""


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

    versions: the rows, in vid order; centroids: int32 (n,); drift_baseline: mean
    distance of a row to its centroid, in index space; sampled: positions of the rows
    that k-means has seen, ascending.
    """

    versions: Versions
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
        kept: BuildSlices,
        parallel: int,
        pace: Pace,
        report: Report,
    ) -> None:
        self._pool = pool
        self._kept = kept
        self._table = table
        self._visibility = visibility
        self._parameters = parameters
        self._parallel = parallel
        self._pace = pace
        self._report = report
        self._done = 0
        """Rows done in the phase under way."""

    async def versions(self) -> Versions:
        """The rows visible at S0, in vid order."""
        starts = range(0, self._visibility.high, VERSIONS_A_READ)
        parts = await each(self._parallel, starts, self._versions_from)
        return Versions(
            np.concatenate([np.empty(0, np.int64), *(part.vids for part in parts)]),
            np.concatenate([np.empty(0, np.uint32), *(part.crcs for part in parts)]),
        )

    async def _versions_from(self, first: int) -> Versions:
        until = Vid(min(first + VERSIONS_A_READ, self._visibility.high))
        stored = await self._pool.read(
            lambda c: rows.read_versions(c, self._table.id, Vid(first), until)
        )
        seen = self._visibility(stored.vids)
        return stored if seen is None else Versions(stored.vids[seen], stored.crcs[seen])

    async def train(self, versions: Versions) -> NDArray[np.float32]:
        """Centroids, float32 (nlist, d), of a seeded sample of the rows; one if there are none."""
        if not len(versions.vids):
            return np.zeros((1, self._table.dim), np.float32)
        last = await self._kept.last_round(self._table.dim)
        if last is not None and last.round >= ROUNDS:
            return last.centroids
        means = await self._means(versions)
        if last is not None:
            means.restore(last)
        while not means.done:
            blocks = list(means.blocks())
            partials = await each(self._parallel, blocks, partial(self._partial, means))
            await run_blocking(means.advance, partials)
            await self._kept.keep_round(means.state)
            a_round = sum(len(part.labels) for part in partials)
            rounds = (means.round, means.rounds)
            await self._report("cluster", a_round * means.round, a_round * rounds[1], rounds=rounds)
        return means.centroids

    async def _partial(self, means: KMeans, block: int) -> Partial:
        async with self._pace.block(BLOCK_ROWS):
            return await run_blocking(means.partial, block)

    async def _means(self, versions: Versions) -> KMeans:
        """k-means before its first round."""
        sample = await self._sample(versions)
        return await run_blocking(
            partial(
                KMeans,
                seed=self._parameters.seed,
                balance=self._parameters.balance,
                start=self._parameters.start,
            ),
            sample,
            self._nlist(len(versions.vids)),
        )

    def _nlist(self, n: int) -> int:
        """Partitions to train over `n` rows."""
        return min(self._parameters.nlist or default_nlist(n), max(1, n))

    async def _sampled(self, n: int) -> NDArray[np.intp]:
        """Which of `n` rows k-means sees, ascending."""
        size = self._nlist(n) * self._parameters.samples_per_partition
        return await run_blocking(_drawn, n, size, self._parameters.seed)

    async def _sample(self, versions: Versions) -> NDArray[np.float32]:
        """Rows in index space, float32 (m, d), drawn without replacement, in vid order."""
        chosen = await self._sampled(len(versions.vids))
        await self._report("sample", 0, len(chosen))
        step = block_rows(self._table.dim)
        parts = [chosen[start : start + step] for start in range(0, len(chosen), step)]
        blocks = await each(
            self._parallel, parts, lambda part: self._read_vectors(versions.vids[part])
        )
        vectors = [block.vectors for block in blocks]
        return await run_blocking(_joined, self._parameters.metric, self._table.dim, vectors)

    async def _read_vectors(self, vids: NDArray[np.int64]) -> VectorBlock:
        dim = self._table.dim
        return await self._pool.read(lambda c: rows.read_vectors(c, self._table.id, vids, dim))

    async def search_of(self, centroids: NDArray[np.float32]) -> CentroidSearch:
        """What assigns rows to these centroids."""
        kind, metric = self._parameters.centroid_search, self._parameters.metric
        return await run_blocking(
            partial(make_search, seed=self._parameters.seed), kind, metric, centroids
        )

    async def assign(self, versions: Versions, search: CentroidSearch, step: Step) -> Assigned:
        """The partition of each row, window by window of vid-aligned blocks."""
        self._done = 0
        windows = await run_blocking(self._windows, versions.vids)
        parts = [
            await self._assign_window(versions, search, step, number, spans)
            for number, spans in enumerate(windows)
        ]
        total = sum(float(distance) for _, distances in parts for distance in distances)
        centroids = np.concatenate([np.empty(0, np.int32), *(part for part, _ in parts)])
        sampled = await self._sampled(len(centroids))
        return Assigned(versions, centroids, total / max(1, len(centroids)), sampled)

    def _windows(self, vids: NDArray[np.int64]) -> list[list[Span]]:
        """Positions of the rows of each block, some blocks at a time."""
        step = block_rows(self._table.dim)
        borders = np.arange(0, self._visibility.high + step, step)
        cuts = np.unique(np.searchsorted(vids, borders))
        spans = list(pairwise(cuts.tolist()))
        return [spans[at : at + BLOCKS_A_WINDOW] for at in range(0, len(spans), BLOCKS_A_WINDOW)]

    async def _assign_window(
        self,
        versions: Versions,
        search: CentroidSearch,
        step: Step,
        number: int,
        spans: list[Span],
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        async def assign_span(span: Span) -> tuple[NDArray[np.int32], float]:
            async with self._pace.block(span[1] - span[0]):
                block = await self._read_span(versions.vids[slice(*span)])
                centroids, squared = await run_blocking(search.assign, block.vectors)
            self._done += len(centroids)
            await self._report("assign", self._done, len(versions.vids))
            return centroids, float(np.sqrt(squared).sum())

        known = await self._kept.assigned(step, number, len(spans))
        if known is not None:
            self._done += len(known[0])
            return known
        parts = await each(self._parallel, spans, assign_span)
        centroids = np.concatenate([part for part, _ in parts])
        distances = np.array([distance for _, distance in parts])
        await self._kept.keep_assigned(step, number, centroids, distances)
        return centroids, distances

    def trimmed(
        self, assigned: Assigned, centroids: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        """The centroids that keep `min_vectors_per_partition` rows; None when all do, or none."""
        sizes = np.bincount(assigned.centroids, minlength=len(centroids))
        kept = sizes >= self._parameters.min_vectors_per_partition
        return None if kept.all() or not kept.any() else centroids[kept]

    async def _read_span(self, vids: NDArray[np.int64]) -> VectorBlock:
        """The rows `vids`, by one range scan where most of the range is asked for."""
        first, until = Vid(int(vids[0])), Vid(int(vids[-1]) + 1)
        if 2 * len(vids) < until - first:
            return await self._read_vectors(vids)
        table = self._table
        block = await self._pool.read(
            lambda c: rows.read_block(c, table.id, first, until, table.dim)
        )
        if len(block.vids) == len(vids):
            return block
        kept = np.isin(block.vids, vids, assume_unique=True)
        return VectorBlock(block.vids[kept], block.crcs[kept], block.vectors[kept])

    async def encode(
        self, group: "Group", assigned: Assigned, centroids: NDArray[np.float32]
    ) -> list[StoredSegment]:
        """The segments of a group of pieces, whose vectors are read in one go."""
        positions = np.sort(np.concatenate([piece for _, piece in group]))
        block = await self._read_vectors(assigned.versions.vids[positions])
        codec = self._parameters.codec_for(self._table.dim)
        metric = self._parameters.metric

        def encode_piece(centroid: int, piece: NDArray[np.intp]) -> StoredSegment:
            at = np.searchsorted(positions, piece)
            vids, crcs, vectors = block.vids[at], block.crcs[at], block.vectors[at]
            segment = encode_segment(codec, metric, centroids[centroid], vids, crcs, vectors)
            return packed(centroid, segment)

        async with self._pace.block(len(positions)):
            encoded = await run_blocking(lambda: [encode_piece(*piece) for piece in group])
        self._done += len(positions)
        await self._report("encode", self._done, len(assigned.centroids))
        return encoded

    async def encoded(
        self,
        assigned: Assigned,
        centroids: NDArray[np.float32],
        segment_bytes: int,
        done: int,
    ) -> AsyncGenerator[list[StoredSegment], None]:
        """All segments but the first `done`, in partition order, a few groups at a time."""
        row_bytes = 4 * self._table.dim
        pieces = await run_blocking(_pieces, assigned.centroids, max(1, segment_bytes // row_bytes))
        self._done = sum(len(positions) for _, positions in pieces[:done])
        groups = list(_groups(pieces[done:], max(1, ENCODE_BYTES // row_bytes)))
        for start in range(0, len(groups), self._parallel):
            window = groups[start : start + self._parallel]
            for encoded in await each(
                self._parallel, window, lambda group: self.encode(group, assigned, centroids)
            ):
                yield encoded


def _drawn(n: int, size: int, seed: int) -> NDArray[np.intp]:
    """Up to `size` of `n` positions, ascending."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(n, min(n, size), replace=False))


def _joined(metric: Metric, dim: int, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return index_space(metric, np.concatenate([np.empty((0, dim), np.float32), *parts]))


Piece = tuple[int, NDArray[np.intp]]
"""A centroid and positions of rows in its partition, ascending: what becomes one segment."""

Group = Sequence[Piece]


def _pieces(centroids: NDArray[np.int32], rows_a_segment: int) -> list[Piece]:
    """The rows of each partition, cut so that no segment is too large. centroids: int32 (n,)."""
    if not len(centroids):
        return []
    order = np.argsort(centroids, kind="stable")
    found, starts = np.unique(centroids[order], return_index=True)
    pieces: list[Piece] = []
    for centroid, positions in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        for start in range(0, len(positions), rows_a_segment):
            pieces.append((centroid, positions[start : start + rows_a_segment]))  # noqa: PERF401 - two loops in one comprehension read worse
    return pieces


def _groups(pieces: Sequence[Piece], rows_max: int) -> Iterator[Group]:
    """Consecutive pieces with about `rows_max` rows together."""
    group: list[Piece] = []
    rows_in_group = 0
    for piece in pieces:
        if group and rows_in_group + len(piece[1]) > rows_max:
            yield group
            group, rows_in_group = [], 0
        group.append(piece)
        rows_in_group += len(piece[1])
    if group:
        yield group
