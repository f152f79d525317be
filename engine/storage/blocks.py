"""Blocks of a table as a search asks for them: from the cache, else from the file.

A cached partition may hold more than a manifest names: folds add at its end, and
a manifest from before sees the head of it. After a compaction the partition
starts with other segments and is read anew.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...wal import rows, segments
from ...wal.catalog import TableRow
from ...wal.rows import StoredRow
from ...wal.seal import SegmentRef
from ...wal.segments import StoredSegment
from ...wal.types import Key, KeyType, Vid
from ...wal.vectors import read_block, read_vectors
from ..index.block import Block
from ..index.cache import Cache
from ..index.distance import Metric
from ..index.generation import Generation, Segments
from ..index.segment import Segment
from ..index.shelf import Shelf
from .keys import Keys
from .loading import block_rows

VECTORS_SHARE = 0.6
"""Float32 vectors are cached beside codes when those of the whole table fit in this share."""

SHELF_SHARE = 0.8
"""Partitions are held all at once when what a search probes of them is likely to fit in this."""

FILLED_A_SEARCH = 8
"""Partitions whose vectors join their codes in one search, so that none takes long for it."""

FEW = 256
"""Vectors read row by row, with all that the rows have, which an answer needs too."""

KNOWN = 1_024
"""Rows that are remembered for the answer, about."""

ROW_BYTES = 40
"""What a row takes beside its vector and its codes, about."""


@dataclass(frozen=True)
class CachedBlock:
    """A block, and the segments it was made of, in order; none for a run of a table."""

    refs: tuple[SegmentRef, ...]
    block: Block


class BlockCache(Cache[CachedBlock]):
    """Blocks, and keys of rows whose vectors are in them."""

    def __init__(self, nbytes_max: int, *, keeps_runs: bool = True) -> None:
        super().__init__(nbytes_max, keeps_runs=keeps_runs)
        self.keys = Keys(self.claim)


class NotCached(Exception):
    """A search that was to read no partition from the file needs one."""


def unpacked(stored: StoredSegment) -> Segment:
    """A stored segment as the index knows it."""
    return Segment(
        np.frombuffer(stored.vids, "<i8"),
        np.frombuffer(stored.row_crcs, "<u4"),
        stored.codes,
        stored.bounds,
    )


def packed(centroid: int, segment: Segment) -> StoredSegment:
    """A segment as the file knows it."""
    return StoredSegment(
        centroid,
        len(segment),
        segment.vids.astype("<i8", copy=False).tobytes(),
        segment.bounds,
        segment.row_crcs.astype("<u4", copy=False).tobytes(),
        segment.codes,
    )


class TableReader:
    """Reads one table on one connection, in a worker thread or on the event loop."""

    def __init__(self, connection: sqlite3.Connection, table: TableRow, cache: BlockCache) -> None:
        self._connection = connection
        self._table = table
        self._cache = cache
        self.keeps_vectors = table.live * table.dim * 4 <= VECTORS_SHARE * cache.nbytes_max
        """Whether vectors join their codes in memory."""
        self._fills_left = FILLED_A_SEARCH
        self._known: dict[int, StoredRow] = {}
        """The first rows that were fetched."""

    def fetch(self, vids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, d) of these versions, in their order."""
        if len(vids) <= FEW:
            return self._fetch_few(vids.tolist())
        return self._fetch_many(vids)

    def _fetch_few(self, vids: list[int]) -> NDArray[np.float32]:
        """The same; some of these rows are asked for again soon, as an answer."""
        stored = self._read(vids)
        if len(self._known) < KNOWN:
            self._known |= stored
        joined = b"".join(stored[vid].vector for vid in vids)
        return np.frombuffer(joined, "<f4").reshape(-1, self._table.dim)

    def _fetch_many(
        self, vids: NDArray[np.int64], *, keys_of: KeyType | None = None
    ) -> NDArray[np.float32]:
        """The same, and learn the keys, of this type, of those that have no payload."""
        table = self._table
        ascending, where = np.unique(vids, return_inverse=True)
        block = read_vectors(self._connection, table.id, ascending, table.dim, keys_of=keys_of)
        if keys_of is not None:
            self._cache.keys.learn(table.id, block.vids, block.keys)
        return block.vectors[where]

    def _fetch_to_keep(self, vids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._fetch_many(vids, keys_of=self._table.key_type)

    def keys(self, vids: NDArray[np.int64]) -> list[Key | None]:
        """The keys of these versions, as far as they are known to have no payload."""
        return self._cache.keys.of(self._table.id, vids)

    def rows(self, vids: Sequence[int]) -> dict[int, StoredRow]:
        """These versions; CorruptError for one that is not as it was written."""
        stored = self._read(vids)
        rows.require_whole(self._table, stored.values())
        return stored

    def _read(self, vids: Sequence[int]) -> dict[int, StoredRow]:
        known = {vid: self._known[vid] for vid in vids if vid in self._known}
        missing = sorted({vid for vid in vids if vid not in known}) if known else sorted(vids)
        if not missing:
            return known
        return rows.stored_rows(self._connection, self._table, missing) | known

    def shelf_as_it_is(
        self, generation: Generation, segments: Segments, count: int
    ) -> Shelf | None:
        """The shelf with what is on it already, of which a search probes `count` partitions.

        None where so many have no room.
        """
        nlist, plain = generation.row.nlist, generation.codec == "flat"
        share = min(1.0, count / nlist)
        value_bytes = 4 if plain else 5 if self.keeps_vectors else 1
        row_bytes = self._table.dim * value_bytes + ROW_BYTES
        if share * self._table.live * row_bytes > SHELF_SHARE * self._cache.nbytes_max:
            return None
        made = partial(Shelf, nlist, plain=plain)
        return self._cache.derived(("shelf", generation.row.id), segments, made)

    def shelf(
        self,
        generation: Generation,
        segments: Segments,
        ranked: NDArray[np.int32],
        *,
        loads: bool = True,
    ) -> Shelf | None:
        """A shelf with the partitions named in ranked int32 (q, nprobe).

        None where it would hold more than memory may.
        With `loads` false, NotCached in place of None, and where a partition is not there yet.
        """
        shelf = self.shelf_as_it_is(generation, segments, ranked.size)
        if shelf is None:
            if not loads:
                raise NotCached
            return None
        labels = ranked.ravel()
        fills = self.keeps_vectors and not shelf.plain
        bare = shelf.bare(labels)[: self._fills_left] if fills else []
        missing = shelf.missing(labels)
        if (missing or bare) and not loads:
            raise NotCached
        for label in (*missing, *bare):
            refs = segments.get(label)
            shelf.put(label, self.partition(generation, label, refs) if refs else None)
        return shelf

    def partition(self, generation: Generation, centroid: int, refs: Sequence[SegmentRef]) -> Block:
        """The rows of `refs`, all the segments a manifest names for a partition.

        Whoever asks first gets codes, a fifth of what there is to read; later ones get the vectors
        with them, if they are kept, a few partitions a search.
        """
        key = ("partition", generation.row.id, centroid)
        wanted = tuple(refs)
        known = self._cache.get(key)
        if known is not None and known.refs[: len(wanted)] == wanted:
            if len(known.refs) > len(wanted):
                return known.block.head(sum(ref.n for ref in wanted))
            if not self._is_filled_now(generation, known.block):
                return known.block
            block = known.block.with_vectors(self._fetch_to_keep(known.block.vids))
        elif known is not None and known.refs == wanted[: len(known.refs)]:
            block = self._extended(known, wanted)
        else:
            block = self._assembled(generation, centroid, wanted)
        self._cache.put(key, CachedBlock(wanted, block), block.nbytes)
        return block

    def _is_filled_now(self, generation: Generation, block: Block) -> bool:
        """Whether the vectors of a block join its codes in this search."""
        lacks = self.keeps_vectors and generation.codec != "flat" and block.vectors is None
        fills = lacks and self._fills_left > 0
        self._fills_left -= fills
        return fills

    def _extended(self, known: CachedBlock, wanted: tuple[SegmentRef, ...]) -> Block:
        block = known.block
        for ref in wanted[len(known.refs) :]:
            segment = self._segment(ref)
            has_vectors = block.codes is not None and block.vectors is not None
            vectors = self._fetch_to_keep(segment.vids) if has_vectors else None
            block = block.extended(segment, vectors)
        return block

    def _assembled(
        self, generation: Generation, centroid: int, refs: Sequence[SegmentRef]
    ) -> Block:
        parts = [self._segment(ref) for ref in refs]
        of = generation.centroids[centroid]
        return Block.of(generation.codec, generation.metric, of, parts, None)

    def _segment(self, ref: SegmentRef) -> Segment:
        return unpacked(segments.read(self._connection, ref.id))

    def runs(self, metric: Metric, first: Vid, until: Vid) -> Iterator[Block]:
        """All stored rows from `first` to before `until`, run by run, for an exact search.

        Where runs are cached, `first` is where one begins, and `until` where one ends or the
        first vid not yet given out. A whole run never changes (what is purged from it has
        ended before any snapshot that could ask), so it is cached; the last one still grows.
        Beside a foreign owner nothing tells what was purged, so there runs are not cached.
        """
        step = block_rows(self._table.dim)
        for start in range(first, until, step):
            key = ("run", self._table.id, metric, start)
            known = self._cache.get(key)
            if known is not None:
                yield known.block
                continue
            block = self._run(metric, Vid(start), Vid(min(start + step, until)))
            if self._cache.keeps_runs and start + step <= until:
                self._cache.put(key, CachedBlock((), block), block.nbytes)
            yield block

    def _run(self, metric: Metric, first: Vid, until: Vid) -> Block:
        stored = read_block(self._connection, self._table.id, first, until, self._table.dim)
        return Block.plain(metric, stored.vids, stored.vectors)
