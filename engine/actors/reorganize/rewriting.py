"""What a pass of a reorganization computes and stages: partitions anew, in and around the changes.

    split      a sample of each partition to split -> its new centroids
    look       rows of what is given up and of the neighbours, block by block -> who moves;
               segments that lose some are kept without these, codes unchanged
    move       the rows that move, ordered by where they go -> new segments
    prove      the new segments list the rows that the replaced ones listed, each once
    file       rows that are in no segment, with the partitions that they have now

Nothing here counts before the version takes over (`succession`): segments are staged beside those
of the generation that is active, and one none of whose rows moves is not touched.  From one step
to the next a row is only its vid and its partition, so memory is bounded by a few blocks of rows.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ....wal import segments
from ....wal.blocking import run_blocking
from ....wal.catalog import TableRow
from ....wal.checksum import RowSum
from ....wal.seal import SegmentRef
from ....wal.segments import StoredSegment
from ....wal.types import Vid
from ....wal.vectors import read_vectors
from ...index.centroids import ExactSearch
from ...index.delta import Delta, DeltaView
from ...index.distance import index_space
from ...index.generation import Batch, Generation
from ...index.reorganize import SAMPLES_A_PIECE, Change, Layout, laid_out, split
from ...index.segment import Segment
from ...storage.blocks import packed, unpacked
from ...storage.folding import Writer, encoded, stage
from ...storage.loading import block_rows
from ...storage.runs import runs
from ..errors import RebuildRejected
from ..indexer import search_of
from ..state import State
from ..wide import each

Vids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Numbers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A version of a generation that can take over: staged and proven."""

    layout: Layout
    successor: Generation
    """Its delta has the rows below `filed_until` that are in no segment."""
    filed_until: Vid
    replaced: list[SegmentRef]
    added: list[SegmentRef]
    rows: int
    """rows looked at"""
    rows_moved: int


@dataclass(frozen=True, eq=False)
class Looked:
    """What was seen in some segments: those that lose rows, what stays of them, and who moves."""

    replaced: list[SegmentRef]
    kept: list[StoredSegment]
    vids: Vids
    numbers: Numbers
    rows: int
    growth: float
    """of the sum of distances to centroids"""


class Rewriting:
    """One pass over one generation. Whoever runs it holds `State.maintenance`."""

    def __init__(
        self, state: State, writer: Writer, table: TableRow, before: Generation, *, parallel: int
    ) -> None:
        self._state = state
        self._writer = writer
        self._table = table
        self._before = before
        self._parallel = parallel
        self._replaced: list[SegmentRef] = []
        self._added: list[SegmentRef] = []

    async def run(self, changes: Sequence[Change]) -> Rewritten | None:
        """Stage the version with these changes; None when none of them can be made."""
        layout = await self._laid_out(changes)
        if layout is None:
            return None
        successor = self._version(layout)
        successor.search = await run_blocking(search_of, successor)
        looked = await self._look_around(layout, successor)
        vids = np.concatenate([np.empty(0, np.int64), *(look.vids for look in looked)])
        numbers = np.concatenate([np.empty(0, np.int32), *(look.numbers for look in looked)])
        await self._move(successor, vids, numbers)
        await self._prove()
        successor.folded_distance += sum(look.growth for look in looked)
        successor.replace_segments(self._segments())
        filed_until = await self._file(successor)
        rows_seen = sum(look.rows for look in looked)
        return Rewritten(
            layout, successor, filed_until, self._replaced, self._added, rows_seen, len(vids)
        )

    async def _laid_out(self, changes: Sequence[Change]) -> Layout | None:
        """The centroids to come; a partition whose rows are all alike is not split."""
        found = await each(self._parallel, changes, self._split)
        made = [
            (change.partition, pieces)
            for change, pieces in zip(changes, found, strict=True)
            if not change.pieces or len(pieces) > 1
        ]
        if not made:
            return None
        added = np.concatenate([pieces for _, pieces in made])
        removed = [partition for partition, _ in made]
        return await run_blocking(laid_out, self._before.centroids, removed, added)

    async def _split(self, change: Change) -> Vectors:
        """New centroids, float32 (m, d), of a partition to split; none of one to give up."""
        before, dim = self._before, self._table.dim
        if not change.pieces:
            return np.empty((0, dim), np.float32)
        refs = before.segments.get(change.partition, ())
        size = min(change.pieces * SAMPLES_A_PIECE, rows_of_a_pass(self._state, dim))
        seed = (before.row.seed, change.partition)
        drawn = await self._state.pool.read(partial(_drawn, refs=refs, size=size, seed=seed))
        step = block_rows(dim)
        parts = [await self._vectors(drawn[at : at + step]) for at in range(0, len(drawn), step)]
        vectors = np.concatenate([np.empty((0, dim), np.float32), *parts])
        sample = await run_blocking(index_space, before.metric, vectors)
        return await run_blocking(split, sample, change.pieces, before.row.seed)

    async def _vectors(self, vids: Vids) -> Vectors:
        """Those of some rows, float32 (n, d); vids: ascending."""
        table = self._table
        block = await self._state.pool.read(lambda c: read_vectors(c, table.id, vids, table.dim))
        return block.vectors

    def _version(self, layout: Layout) -> Generation:
        before, centroids = self._before, layout.centroids
        return Generation(
            before.table,
            replace(before.row, nlist=len(centroids)),
            centroids,
            ExactSearch(before.metric, centroids),
            before.segments,
            Delta(self._table.dim),
            folded_rows=before.folded_rows,
            folded_distance=before.folded_distance,
        )

    async def _look_around(self, layout: Layout, successor: Generation) -> list[Looked]:
        """Look at the rows that may move, and stage what stays of segments that lose some."""
        neighbours = await run_blocking(layout.neighbours)
        scope = {*neighbours.tolist(), *layout.given_up.tolist(), *layout.renumbered.tolist()}
        refs = [ref for number in sorted(scope) for ref in self._before.segments.get(number, ())]
        blocks = list(runs(refs, lambda ref: ref.n, block_rows(self._table.dim)))
        seen: list[Looked] = []
        for at in range(0, len(blocks), self._parallel):
            some = blocks[at : at + self._parallel]
            for looked in await each(
                self._parallel, some, lambda block: self._look(layout, successor, block)
            ):
                await self._stage(looked.kept)
                self._replaced += looked.replaced
                seen.append(replace(looked, kept=[]))
        return seen

    async def _look(
        self, layout: Layout, successor: Generation, refs: Sequence[SegmentRef]
    ) -> Looked:
        parts, vectors = await self._state.pool.read(partial(_listed, refs=refs, table=self._table))
        return await run_blocking(_sorted_out, layout, successor, refs, parts, vectors)

    async def _stage(self, pieces: Sequence[StoredSegment]) -> None:
        slice_bytes = self._state.limits.slice_bytes
        self._added += await stage(self._writer, self._before.row.id, pieces, slice_bytes)

    async def _move(self, successor: Generation, vids: Vids, numbers: Numbers) -> None:
        """Stage new segments of the rows `vids` (n,), which now are in partitions `numbers`."""
        order = await run_blocking(np.lexsort, (vids, numbers))
        step = block_rows(self._table.dim)
        runs = [order[at : at + step] for at in range(0, len(order), step)]

        async def encode(run: NDArray[np.intp]) -> list[StoredSegment]:
            run = run[np.argsort(vids[run])]
            return await self._encoded(successor, vids[run], numbers[run])

        for at in range(0, len(runs), self._parallel):
            for pieces in await each(self._parallel, runs[at : at + self._parallel], encode):
                await self._stage(pieces)

    async def _encoded(
        self, successor: Generation, vids: Vids, numbers: Numbers
    ) -> list[StoredSegment]:
        """Segments of these rows, by partition; vids: ascending."""
        table = self._table
        block = await self._state.pool.read(lambda c: read_vectors(c, table.id, vids, table.dim))
        view = DeltaView(vids, numbers, block.crcs, np.zeros(len(vids)), block.vectors)
        return await run_blocking(encoded, successor, view, self._state.limits.slice_bytes)

    async def _prove(self) -> None:
        """Raise RebuildRejected unless the new segments list what the replaced ones did."""
        listed = partial(_row_sum, refs=self._replaced), partial(_row_sum, refs=self._added)
        if await self._state.pool.read(listed[0]) != await self._state.pool.read(listed[1]):
            raise RebuildRejected(
                f"generation {self._before.row.id}: the new segments do not list the rows of those "
                "that they replace; it stays as it is"
            )

    def _segments(self) -> dict[int, tuple[SegmentRef, ...]]:
        """The partitions that have other segments now, oldest first; `()` where none is left."""
        gone = {ref.id for ref in self._replaced}
        before = self._before.segments
        found = {
            number: tuple(ref for ref in before.get(number, ()) if ref.id not in gone)
            for number in {ref.centroid for ref in (*self._replaced, *self._added)}
        }
        for ref in self._added:  # in the order of their ids
            found[ref.centroid] += (ref,)
        return found

    async def _file(self, successor: Generation) -> Vid:
        """Assign what is in no segment; returns the first vid that is not in the new delta."""
        until = Vid(0)
        for batch in unfolded(self._before, until, successor):
            successor.delta.append(await self._assigned(batch))
            until = Vid(int(batch.vids[-1]) + 1)
        return until

    async def _assigned(self, batch: Batch) -> DeltaView:
        return await run_blocking(lambda: batch.rows)


PASS_SLICES = 16
"""A pass looks at so many slices of vectors, about: 16 MiB; as much is handed over in its seal."""


def rows_of_a_pass(state: State, dim: int) -> int:
    """About how many rows of `dim` dimensions a pass looks at."""
    return max(1, PASS_SLICES * state.limits.slice_bytes // (4 * dim))


def unfolded(before: Generation, first: Vid, successor: Generation) -> list[Batch]:
    """The rows from `first` on that are in no segment of `before`, to be assigned by `successor`.

    `first` is where a batch begins, or before all.
    """
    filed = before.delta.view()
    filed = filed.since(int(np.searchsorted(filed.vids, first)))
    batches = [batch for batch in before.batches if batch.vids[0] >= first]
    search = successor.search
    found = [Batch(some.lsn, some.vids, some.vectors, some.crcs, search) for some in batches]
    if len(filed):  # its commits are of LSNs before those of the batches
        lsn = before.row.fold_lsn
        found.insert(0, Batch(lsn, filed.vids, filed.vectors, filed.crcs, search))
    return found


def _read(connection: sqlite3.Connection, ref: SegmentRef) -> Segment:
    return unpacked(segments.read(connection, ref.id))


def _drawn(
    connection: sqlite3.Connection, refs: Sequence[SegmentRef], size: int, seed: tuple[int, int]
) -> Vids:
    """Up to `size` of the rows of these segments, ascending."""
    listed = [_read(connection, ref).vids for ref in refs]
    vids = np.sort(np.concatenate([np.empty(0, np.int64), *listed]))
    random = np.random.default_rng(seed)
    return np.sort(random.choice(vids, min(size, len(vids)), replace=False))


def _listed(
    connection: sqlite3.Connection, refs: Sequence[SegmentRef], table: TableRow
) -> tuple[list[Segment], Vectors]:
    """Segments, and the vectors of all their rows, in their order."""
    parts = [_read(connection, ref) for ref in refs]
    vids = np.concatenate([part.vids for part in parts])
    order = np.argsort(vids)
    block = read_vectors(connection, table.id, vids[order], table.dim)
    vectors = np.empty_like(block.vectors)
    vectors[order] = block.vectors
    return parts, vectors


def _sorted_out(
    layout: Layout,
    successor: Generation,
    refs: Sequence[SegmentRef],
    parts: Sequence[Segment],
    vectors: Vectors,
) -> Looked:
    """Find out which of these rows move; vectors: float32 (n, d), of all parts in their order."""
    old = np.repeat([ref.centroid for ref in refs], [ref.n for ref in refs]).astype(np.int32)
    numbers, growth = layout.assign(successor.metric, successor.search, vectors, old)
    stays = numbers == layout.numbers[old]
    replaced, kept, at = [], [], 0
    for ref, part in zip(refs, parts, strict=True):
        mask = stays[at : at + ref.n]
        at += ref.n
        number = int(layout.numbers[ref.centroid])
        if mask.all() and number == ref.centroid:
            continue
        replaced.append(ref)
        if mask.any():
            kept.append(packed(number, part.keep(mask)))
    vids = np.concatenate([part.vids for part in parts])
    return Looked(replaced, kept, vids[~stays], numbers[~stays], len(vids), growth)


def _row_sum(connection: sqlite3.Connection, refs: Sequence[SegmentRef]) -> tuple[int, RowSum]:
    """How many rows these segments list, and their sum."""
    listed = segments.rows_of(connection, [ref.id for ref in refs])
    return len(listed.vids), RowSum.of(listed.vids, listed.crcs)
