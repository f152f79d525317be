"""Stored pieces of an index: opaque to this layer but for their checksums.

A segment is immutable: a fold adds some, a compaction adds new ones and deletes
the old. Either may take several transactions, so new segments are *staged*: they
count from the moment their generation is sealed up to their id, which is one
UPDATE; a crash before it leaves garbage that recovery removes.
Its crc covers every byte and the partition it belongs to, so a piece that was
damaged or filed elsewhere is found when it is read.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .checksum import blobs_crc
from .errors import CorruptError
from .rows import Versions
from .seal import SegmentRef
from .typed import require
from .types import GenerationId, SegmentId

_NONE = SegmentId(0)
_ALL = SegmentId((1 << 63) - 1)


@dataclass(frozen=True)
class StoredSegment:
    """The bytes of one segment of partition `centroid`; `n` rows."""

    centroid: int
    n: int
    vids: bytes
    bounds: bytes
    row_crcs: bytes
    codes: bytes

    def crc(self) -> int:
        """The CRC-32 over partition, row count and bytes."""
        start = blobs_crc(
            self.centroid.to_bytes(8, "little", signed=True),
            self.n.to_bytes(8, "little", signed=True),
        )
        return blobs_crc(self.vids, self.bounds, self.row_crcs, self.codes, start=start)

    @property
    def nbytes(self) -> int:
        """Bytes of content."""
        return len(self.vids) + len(self.bounds) + len(self.row_crcs) + len(self.codes)


def write(
    connection: sqlite3.Connection, generation: GenerationId, segments: Sequence[StoredSegment]
) -> list[SegmentRef]:
    """Store segments, in this order, and say where they are."""
    refs = []
    for segment in segments:
        cursor = connection.execute(
            "INSERT INTO partitions "
            "(generation, centroid, n, crc, bytes, vids, bounds, row_crcs, codes) "
            "VALUES (?,?,?,?,?,?,?,?,?)",
            (
                generation,
                segment.centroid,
                segment.n,
                segment.crc(),
                segment.nbytes,
                segment.vids,
                segment.bounds,
                segment.row_crcs,
                segment.codes,
            ),
        )
        assert cursor.lastrowid is not None
        ref = SegmentRef(SegmentId(cursor.lastrowid), segment.centroid, segment.n, segment.nbytes)
        refs.append(ref)
    return refs


def read(connection: sqlite3.Connection, segment: SegmentId) -> StoredSegment:
    """One segment; CorruptError when it is missing or its checksum does not hold."""
    row = connection.execute(
        "SELECT centroid, n, vids, bounds, row_crcs, codes, crc FROM partitions WHERE id = ?",
        (segment,),
    ).fetchone()
    if row is None:
        raise CorruptError(f"segment {segment} is missing")
    require(f"segment {segment}", row, (int, int, bytes, bytes, bytes, bytes, int))
    stored = StoredSegment(*row[:6])
    if stored.crc() != row[6]:
        raise CorruptError(f"segment {segment} of partition {stored.centroid}: wrong checksum")
    return stored


def references(
    connection: sqlite3.Connection, generation: GenerationId, sealed: SegmentId
) -> list[SegmentRef]:
    """The segments of a generation up to `sealed`, by partition, oldest first."""
    found = connection.execute(
        "SELECT id, centroid, n, bytes FROM partitions WHERE generation = ? AND id <= ? "
        "ORDER BY centroid, id",
        (generation, sealed),
    ).fetchall()
    for row in found:
        require(f"generation {generation}: a segment", row, (int, int, int, int))
    return [SegmentRef(*row) for row in found]


def staged(connection: sqlite3.Connection, generation: GenerationId) -> list[SegmentRef]:
    """All segments of a generation that is being built, in the order they were stored."""
    refs = references(connection, generation, _ALL)
    return sorted(refs, key=lambda ref: ref.id)


def listed_rows(
    connection: sqlite3.Connection,
    generation: GenerationId,
    *,
    after: SegmentId = _NONE,
    until: SegmentId = _ALL,
) -> Iterator[Versions]:
    """vids and crcs of each of its segments with `after` < id <= `until`; CorruptError."""
    for segment, raw_vids, raw_crcs in connection.execute(
        "SELECT id, vids, row_crcs FROM partitions WHERE generation = ? AND id > ? AND id <= ?",
        (generation, after, until),
    ):
        yield _versions(segment, raw_vids, raw_crcs)


def _versions(segment: SegmentId, raw_vids: object, raw_crcs: object) -> Versions:
    """What a segment lists; CorruptError unless it can be: its checksum is not looked at here."""
    if not (isinstance(raw_vids, bytes) and isinstance(raw_crcs, bytes)):
        raise CorruptError(f"segment {segment}: what it lists is of another type")
    if len(raw_vids) % 8 or len(raw_vids) != 2 * len(raw_crcs):
        raise CorruptError(
            f"segment {segment}: {len(raw_vids)} bytes of row versions, "
            f"{len(raw_crcs)} of their checksums"
        )
    vids = np.frombuffer(raw_vids, "<i8")
    if len(vids) and vids.min() < 1:
        raise CorruptError(f"segment {segment}: it lists row version {vids.min()}")
    return Versions(vids, np.frombuffer(raw_crcs, "<u4"))


def listed_by_partition(
    connection: sqlite3.Connection, generation: GenerationId
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(centroid, vids) of each segment of a generation, staged ones too.

    Damaged ones are left out: who asks compares the generation with the one that mends it.
    """
    for segment, centroid, raw_vids, raw_crcs in connection.execute(
        "SELECT id, centroid, vids, row_crcs FROM partitions WHERE generation = ?", (generation,)
    ):
        try:
            vids = _versions(segment, raw_vids, raw_crcs).vids
        except CorruptError:
            continue
        yield centroid, vids


def rows_of(connection: sqlite3.Connection, segments: Sequence[SegmentId]) -> Versions:
    """vids and crcs of the rows that these segments list; CorruptError when one is missing."""
    vids, crcs = [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
    for segment in segments:
        row = connection.execute(
            "SELECT vids, row_crcs FROM partitions WHERE id = ?", (segment,)
        ).fetchone()
        if row is None:
            raise CorruptError(f"segment {segment} is missing")
        listed = _versions(segment, *row)
        vids.append(listed.vids)
        crcs.append(listed.crcs)
    return Versions(np.concatenate(vids), np.concatenate(crcs))


def hand_over(
    connection: sqlite3.Connection, segments: Sequence[SegmentId], generation: GenerationId
) -> None:
    """From now on these segments are another generation's."""
    connection.executemany(
        "UPDATE partitions SET generation = ? WHERE id = ?",
        [(generation, segment) for segment in segments],
    )


def delete_beyond(
    connection: sqlite3.Connection, generation: GenerationId, sealed: SegmentId
) -> None:
    """Remove what something unfinished has staged in one generation."""
    connection.execute(
        "DELETE FROM partitions WHERE id > ? AND generation = ?", (sealed, generation)
    )


def delete_staged(connection: sqlite3.Connection) -> None:
    """Remove what a crash left unsealed in active and kept generations, and what is nobody's.

    Builds under way keep theirs; generations that go are left to be removed in slices.
    """
    connection.execute(
        "DELETE FROM partitions WHERE id > coalesce("
        "(SELECT iif(state IN ('active', 'kept'), sealed, ?) FROM generations g "
        "WHERE g.id = partitions.generation), 0)",
        (_ALL,),
    )


def delete(connection: sqlite3.Connection, segments: Sequence[SegmentId]) -> None:
    """Remove segments that nothing pins."""
    marks = ",".join("?" * len(segments))
    connection.execute(f"DELETE FROM partitions WHERE id IN ({marks})", list(segments))


def delete_some(connection: sqlite3.Connection, generation: GenerationId, nbytes: int) -> bool:
    """Remove about `nbytes` of a generation's segments; True when none is left."""
    chosen: list[SegmentId] = []
    total, ended = 0, True
    for segment, size in connection.execute(
        "SELECT id, bytes FROM partitions WHERE generation = ?", (generation,)
    ):
        if total >= nbytes:
            ended = False
            break
        chosen.append(segment)
        total += size
    if chosen:
        delete(connection, chosen)
    return ended


_CENTROID_BYTES_A_ROW = 1 << 20


def centroid_parts(vectors: bytes, row_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Centroids (float32, little-endian, in order) in parts of about 1 MiB: (first, bytes)."""
    step = max(1, _CENTROID_BYTES_A_ROW // row_bytes)
    for first in range(0, len(vectors) // row_bytes, step):
        yield first, vectors[first * row_bytes : (first + step) * row_bytes]


def write_centroids(
    connection: sqlite3.Connection, generation: GenerationId, first: int, part: bytes, n: int
) -> None:
    """Store one part of `centroid_parts`, or store it anew: `n` centroids from number `first`."""
    connection.execute(
        "INSERT OR REPLACE INTO centroids (generation, first, n, crc, vectors) VALUES (?,?,?,?,?)",
        (generation, first, n, blobs_crc(part), part),
    )


def delete_centroids(connection: sqlite3.Connection, generation: GenerationId, first: int) -> None:
    """Remove the parts that begin with centroid number `first` or later."""
    connection.execute(
        "DELETE FROM centroids WHERE generation = ? AND first >= ?", (generation, first)
    )


def read_centroids(connection: sqlite3.Connection, generation: GenerationId) -> bytes:
    """The centroids of a generation; CorruptError when a checksum does not hold."""
    rows = connection.execute(
        "SELECT first, crc, vectors FROM centroids WHERE generation = ? ORDER BY first",
        (generation,),
    ).fetchall()
    for first, crc, vectors in rows:
        require(f"generation {generation}: centroids", (first, vectors), (int, bytes))
        if blobs_crc(vectors) != crc:
            raise CorruptError(f"generation {generation}: centroids from {first}: wrong checksum")
    return b"".join(vectors for _, _, vectors in rows)


def delete_generation(connection: sqlite3.Connection, generation: GenerationId) -> None:
    """Forget a generation whose segments are gone."""
    connection.execute("DELETE FROM centroids WHERE generation = ?", (generation,))
    connection.execute("DELETE FROM calibrations WHERE generation = ?", (generation,))
    connection.execute("DELETE FROM generations WHERE id = ?", (generation,))
