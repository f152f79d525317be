"""A fold: the rows of a delta become segments, and the fold position moves past them.

    delta    12:7  13:2  15:7  16:0  20:7        (vid:partition)
    segments 0:[16]  2:[13]  7:[12 15 20]        staged, a slice a chore
    seal     fold position (lsn, vid) = (.., 21) and the seal, in one transaction

Until the seal the staged segments do not count, and after a crash they are
removed; after it the rows before the fold position are no longer read from the
log. Both the Indexer and a build fold, each its own generation.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...txn.deaths import Deaths
from ...wal import catalog, segments
from ...wal.blocking import run_blocking
from ...wal.seal import SegmentRef
from ...wal.segments import StoredSegment
from ...wal.types import GenerationId, Lsn, Vid
from ..index.delta import DeltaView
from ..index.generation import Generation
from ..index.segment import encode_segment
from .blocks import packed
from .runs import runs

T = TypeVar("T")


class Writer(Protocol):
    """Who carries out chores: the Committer."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the write connection, in a transaction of its own."""
        ...

    async def do(self, start: Callable[[], Any], finish: Callable[[Any], Any]) -> Any:
        """The same, with a step before and after in the same turn."""
        ...


def encoded(generation: Generation, view: DeltaView, segment_bytes: int) -> list[StoredSegment]:
    """The rows of a delta as segments, one a partition, or more where one would be large."""
    rows_a_segment = max(1, segment_bytes // (4 * generation.centroids.shape[1]))
    order = np.argsort(view.centroids, kind="stable")
    filed = view.centroids[order]
    pieces = []
    start = 0
    while start < len(order):
        centroid = int(filed[start])
        end = int(np.searchsorted(filed, centroid, side="right"))
        end = min(end, start + rows_a_segment)
        pieces.append(_encoded(generation, centroid, view, order[start:end]))
        start = end
    return pieces


def _encoded(
    generation: Generation, centroid: int, view: DeltaView, chosen: NDArray[np.intp]
) -> StoredSegment:
    segment = encode_segment(
        generation.codec,
        generation.metric,
        generation.centroids[centroid],
        view.vids[chosen],
        view.crcs[chosen],
        view.vectors[chosen],
    )
    return packed(centroid, segment)


async def stage(
    writer: Writer, generation: GenerationId, pieces: Sequence[StoredSegment], nbytes_max: int
) -> list[SegmentRef]:
    """Store segments that do not count yet, a slice a chore."""
    refs: list[SegmentRef] = []
    for some in runs(pieces, lambda piece: piece.nbytes, nbytes_max):
        refs += await writer.write(partial(segments.write, generation=generation, segments=some))
    return refs


async def fold(
    writer: Writer, generation: Generation, deaths: Deaths, fold_lsn: Lsn, nbytes_max: int
) -> None:
    """Fold the whole delta. `fold_lsn`: all rows of commits up to it are filed or folded.

    What a fold that failed had staged goes first, or this seal would make it count.
    Rows that are being purged are left out: no snapshot sees them any more.
    """
    view = generation.delta.view()
    if not len(view):
        return
    before = generation.row
    kept = view.where(deaths.listable(view.vids))
    await writer.write(lambda c: segments.delete_beyond(c, before.id, before.seal.last))
    pieces = await run_blocking(encoded, generation, kept, nbytes_max)
    refs = await stage(writer, generation.row.id, pieces, nbytes_max)
    row = replace(
        before,
        fold_lsn=fold_lsn,
        fold_vid=Vid(int(view.vids[-1]) + 1),
        seal=before.seal.changed(refs),
    )

    def seal(connection: sqlite3.Connection) -> None:
        catalog.update_generation(connection, row.id, fold_lsn=row.fold_lsn, fold_vid=row.fold_vid)
        catalog.set_seal(connection, row.id, row.seal)

    await writer.do(lambda: seal, lambda _: generation.add_segments(refs, len(view), row))
