"""Stored segments and centroids: opaque bytes under checksums."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from centroidb.wal import catalog, segments
from centroidb.wal.errors import CorruptError
from centroidb.wal.segments import StoredSegment
from centroidb.wal.types import GenerationId, SegmentId
from tests.wal.files import memory_file
from tests.wal.test_catalog import generation

FIRST, SECOND = GenerationId(1), GenerationId(2)
ALL = SegmentId(1 << 40)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database."""
    made = memory_file()
    yield made
    made.close()


def segment(centroid: int, *vids: int) -> StoredSegment:
    """A segment that lists these vids, with crcs that are a hundred more."""
    return StoredSegment(
        centroid,
        len(vids),
        np.array(vids, "<i8").tobytes(),
        b"bounds",
        (np.array(vids, "<u4") + 100).astype("<u4").tobytes(),
        b"codes" * len(vids),
    )


def test_a_segment_is_read_as_it_was_written(connection: sqlite3.Connection) -> None:
    """Every byte comes back, and the reference knows place, count and size."""
    written = segment(3, 5, 6, 9)
    (ref,) = segments.write(connection, FIRST, [written])

    assert segments.read(connection, ref.id) == written
    assert (ref.centroid, ref.n, ref.nbytes) == (3, 3, written.nbytes)
    assert segments.references(connection, FIRST, ref.id) == [ref]


def test_references_are_of_one_generation_and_sealed(connection: sqlite3.Connection) -> None:
    """Only segments of the generation up to the sealed one are listed, by partition, by age."""
    refs = segments.write(connection, FIRST, [segment(2, 1), segment(0, 2), segment(2, 3)])
    segments.write(connection, SECOND, [segment(0, 1)])
    staged = segments.write(connection, FIRST, [segment(0, 4)])

    expected = [refs[1], refs[0], refs[2]]
    assert segments.references(connection, FIRST, refs[-1].id) == expected
    assert staged[0] in segments.references(connection, FIRST, staged[0].id)
    assert segments.references(connection, FIRST, SegmentId(0)) == []


DAMAGE = {
    "vids": "UPDATE partitions SET vids = zeroblob(24)",
    "vids cut": "UPDATE partitions SET vids = substr(vids, 1, 16)",
    "bounds": "UPDATE partitions SET bounds = CAST('bOunds' AS BLOB)",
    "row crcs": "UPDATE partitions SET row_crcs = zeroblob(12)",
    "codes": "UPDATE partitions SET codes = zeroblob(15)",
    "bytes moved": "UPDATE partitions SET bounds = x'', codes = CAST(bounds || codes AS BLOB)",
    "another partition": "UPDATE partitions SET centroid = 4",
    "another count": "UPDATE partitions SET n = 2",
    "another crc": "UPDATE partitions SET crc = crc + 1",
}


@pytest.mark.parametrize("script", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found_on_reading(connection: sqlite3.Connection, script: str) -> None:
    """A segment with a changed byte, or filed under another partition, raises CorruptError."""
    (ref,) = segments.write(connection, FIRST, [segment(3, 5, 6, 9)])
    assert connection.execute(script).rowcount == 1

    with pytest.raises(CorruptError, match=f"segment {ref.id} of partition"):
        segments.read(connection, ref.id)


def test_a_missing_segment_is_damage(connection: sqlite3.Connection) -> None:
    """A segment that is not there raises CorruptError."""
    with pytest.raises(CorruptError, match="segment 7 is missing"):
        segments.read(connection, SegmentId(7))


def test_listed_rows_are_those_of_all_segments(connection: sqlite3.Connection) -> None:
    """Every segment of a generation, staged ones too, with its rows' crcs; or some of them."""
    refs = segments.write(connection, FIRST, [segment(0, 4, 9), segment(1, 2), segment(0, 11)])
    segments.write(connection, SECOND, [segment(0, 7)])

    listed = list(segments.listed_rows(connection, FIRST))
    some = segments.listed_rows(connection, FIRST, after=refs[0].id, until=refs[1].id)

    listed.sort(key=lambda part: part.vids[0])
    assert [part.vids.tolist() for part in listed] == [[2], [4, 9], [11]]
    assert [part.crcs.tolist() for part in listed] == [[102], [104, 109], [111]]
    assert [part.vids.tolist() for part in some] == [[2]]
    assert not list(segments.listed_rows(connection, GenerationId(9)))


def test_what_was_staged_and_not_sealed_goes(connection: sqlite3.Connection) -> None:
    """A crash's leavings go: beyond the sealed of an active generation, and of no generation."""
    active, retired = (catalog.insert_generation(connection, generation()) for _ in range(2))
    kept = segments.write(connection, active, [segment(0, 1), segment(1, 2)])
    catalog.update_generation(connection, active, state="active", sealed=kept[-1].id)
    segments.write(connection, active, [segment(0, 3)])
    going = segments.write(connection, retired, [segment(0, 1)])
    segments.write(connection, GenerationId(9), [segment(0, 1)])

    segments.delete_staged(connection)

    assert segments.references(connection, active, ALL) == kept
    assert segments.references(connection, retired, ALL) == going  # removed in slices, later
    assert segments.references(connection, GenerationId(9), ALL) == []


def test_taking_back_what_was_staged(connection: sqlite3.Connection) -> None:
    """Segments of one generation beyond a position go; others stay."""
    (kept,) = segments.write(connection, FIRST, [segment(0, 1)])
    segments.write(connection, FIRST, [segment(0, 2)])
    (other,) = segments.write(connection, SECOND, [segment(0, 3)])

    segments.delete_beyond(connection, FIRST, kept.id)

    assert segments.references(connection, FIRST, ALL) == [kept]
    assert segments.references(connection, SECOND, ALL) == [other]


def test_a_generation_is_deleted_in_slices(connection: sqlite3.Connection) -> None:
    """Each slice removes about as many bytes as asked, and the last one says so."""
    size = segment(0, 1).nbytes
    segments.write(connection, FIRST, [segment(0, vid) for vid in range(1, 6)])
    segments.write(connection, SECOND, [segment(0, 9)])
    left = []
    done = False
    while not done:
        done = segments.delete_some(connection, FIRST, 2 * size)
        left.append(len(segments.references(connection, FIRST, ALL)))

    assert left == [3, 1, 0]
    assert len(segments.references(connection, SECOND, ALL)) == 1
    assert segments.delete_some(connection, FIRST, size)


def centroids(n: int, dim: int) -> bytes:
    """Random centroids as they are stored."""
    return np.random.default_rng(0).normal(size=(n, dim)).astype("<f4").tobytes()


def write_centroids(
    connection: sqlite3.Connection, generation: GenerationId, raw: bytes, row_bytes: int
) -> int:
    """Store centroids part by part; returns how many parts it took."""
    parts = list(segments.centroid_parts(raw, row_bytes))
    for first, part in parts:
        n = len(part) // row_bytes
        segments.write_centroids(connection, generation, first, part, n)
    return len(parts)


@pytest.mark.parametrize(("n", "dim", "parts"), [(1, 3, 1), (500, 1_536, 3), (3, 300_000, 3)])
def test_centroids_are_read_as_they_were_written(
    connection: sqlite3.Connection, n: int, dim: int, parts: int
) -> None:
    """Centroids come back in order from parts of about a megabyte, at least one row each."""
    raw = centroids(n, dim)

    assert write_centroids(connection, FIRST, raw, dim * 4) == parts
    assert segments.read_centroids(connection, FIRST) == raw


def test_damaged_centroids_are_found(connection: sqlite3.Connection) -> None:
    """A changed centroid raises CorruptError and names the generation."""
    write_centroids(connection, FIRST, centroids(10, 4), 16)
    connection.execute("UPDATE centroids SET vectors = zeroblob(160)")

    with pytest.raises(CorruptError, match="generation 1: centroids from 0"):
        segments.read_centroids(connection, FIRST)


def test_a_segments_crc_knows_its_partition() -> None:
    """The same bytes in another partition have another checksum."""
    one = segment(1, 5, 6)

    assert one.crc() == segment(1, 5, 6).crc()
    assert one.crc() != replace(one, centroid=2).crc()
