"""Checksums of rows, and the sum over a table's rows."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from centroidb.wal.checksum import (
    JOINED_MAX,
    RowSum,
    blobs_crc,
    first_damaged,
    joined_crc,
    key_bytes,
    row_blobs,
    row_crc,
    vector_crcs_of,
    vid_range,
)
from centroidb.wal.rows import Rows
from centroidb.wal.types import Vid

Pairs = list[tuple[int, int]]
pairs = st.lists(
    st.tuples(st.integers(1, 2**62), st.integers(0, 2**32 - 1)), max_size=30, unique=True
)


def sum_of(rows: Pairs) -> RowSum:
    """The sum over (vid, crc)."""
    both = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return RowSum.of(both[:, 0].copy(), both[:, 1].astype(np.uint32))


@given(pairs.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_the_sum_does_not_depend_on_the_order(orders: tuple[Pairs, Pairs]) -> None:
    """The same rows in another order have the same sum."""
    rows, shuffled = orders

    assert sum_of(rows) == sum_of(shuffled)


@given(pairs, pairs)
def test_sums_add_and_take_away(first: Pairs, second: Pairs) -> None:
    """The sum of two lists is the sum of their sums, and taking one away gives the other."""
    whole = sum_of(first + second)

    assert whole == sum_of(first) + sum_of(second)
    assert whole - sum_of(second) == sum_of(first)
    assert whole - whole == RowSum()


@given(pairs)
def test_a_sum_survives_its_bytes(rows: Pairs) -> None:
    """16 bytes hold a sum, and give it back."""
    total = sum_of(rows)

    assert len(total.to_bytes()) == 16
    assert RowSum.from_bytes(total.to_bytes()) == total


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), min_size=1, max_size=20))
def test_a_lost_doubled_or_mixed_up_row_changes_the_sum(rows: Pairs) -> None:
    """Losing a row, counting one twice, or swapping two rows' checksums shows in the sum."""
    total = sum_of(rows)
    (vid, crc), *others = rows

    assert sum_of(others) != total
    assert sum_of([*rows, (vid, crc)]) != total
    assert sum_of([(vid, crc + 1), *others]) != total
    assert sum_of([(vid + 100, crc), *others]) != total
    for number, (other_vid, other_crc) in enumerate(others):
        if other_vid != vid and other_crc != crc:
            swapped = [(vid, other_crc), *others]
            swapped[1 + number] = (other_vid, crc)
            assert sum_of(swapped) != total


KEYS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8")))


@given(KEYS, st.none() | st.text(st.characters(codec="utf-8")), st.binary(max_size=64))
def test_a_row_crc_covers_key_payload_and_vector(
    key: int | str, payload: str | None, vector: bytes
) -> None:
    """The checksum of a row is the CRC-32 of its key, its payload and its vector's CRC-32."""
    sum_of_vector = zlib.crc32(vector)
    content = key_bytes(key) + (payload or "").encode() + sum_of_vector.to_bytes(4, "little")

    assert row_crc(key, payload, sum_of_vector) == zlib.crc32(content)


@given(st.binary(min_size=4, max_size=64), st.integers(0, 2**31))
def test_one_flipped_bit_changes_a_row_crc(vector: bytes, bit: int) -> None:
    """Any single bit of a vector shows in its row's checksum."""
    damaged = bytearray(vector)
    damaged[bit % len(vector)] ^= 1 << bit % 8

    found = row_crc(7, '{"a":1}', zlib.crc32(damaged))

    assert found != row_crc(7, '{"a":1}', zlib.crc32(vector))


@pytest.mark.parametrize("n", [0, 1, 5])
def test_many_rows_have_the_crcs_of_each(n: int) -> None:
    """The CRCs that `Rows` of an array have are those of each of its rows."""
    vectors: NDArray[np.float32] = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
    payloads = ["x", None, "", "é", "5"][:n]

    sums = vector_crcs_of(vectors)
    crcs = Rows.of(list(range(n)), payloads, vectors).crcs

    assert crcs.dtype == sums.dtype == np.uint32
    assert sums.tolist() == [zlib.crc32(row) for row in vectors]
    assert crcs.tolist() == [row_crc(i, payloads[i], int(sums[i])) for i in range(n)]
    assert row_blobs(vectors) == [row.tobytes() for row in vectors]


@given(st.binary(max_size=200).flatmap(lambda raw: st.tuples(st.just(raw), st.integers(1, 5))))
def test_the_crc_of_joined_strings_comes_from_their_own(joined: tuple[bytes, int]) -> None:
    """The CRCs of strings of one length give that of all of them together."""
    raw, size = joined
    strings = [raw[at : at + size] for at in range(0, len(raw) // size * size, size)]
    crcs = np.array([zlib.crc32(string) for string in strings], dtype=np.uint32)

    assert joined_crc(crcs, size) == zlib.crc32(b"".join(strings))


@pytest.mark.parametrize("n", [1, 2, JOINED_MAX - 1, JOINED_MAX, 2 * JOINED_MAX + 3])
def test_a_damaged_vector_is_named(n: int) -> None:
    """Whole vectors have no damaged one; a flipped bit in one of many names it, or the first."""
    vectors: NDArray[np.float32] = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
    crcs = vector_crcs_of(vectors)
    assert first_damaged(vectors, crcs) is None

    for at in sorted({n - 1, n // 2, 0}, reverse=True):
        vectors.view(np.uint32)[at, 1] ^= 1 << 31
        assert first_damaged(vectors, crcs) == at
    assert first_damaged(vectors[:0], crcs[:0]) is None


def test_blobs_are_told_apart_by_their_borders() -> None:
    """Moving a byte from one blob to the next changes their common checksum."""
    assert blobs_crc(b"ab", b"c") != blobs_crc(b"a", b"bc")
    assert blobs_crc(b"ab", b"") != blobs_crc(b"ab")
    assert blobs_crc(b"b", start=blobs_crc(b"a")) == blobs_crc(b"a", b"b")


def test_a_run_of_vids_is_consecutive() -> None:
    """A run of 3 from 5 is 5, 6, 7."""
    assert vid_range(Vid(5), 3).tolist() == [5, 6, 7]
