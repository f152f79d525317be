"""Checksums: of a row, of a stored piece, of the log's chain, and of a whole table.

SQLite does not notice a flipped bit in a BLOB, so every byte that a search or
a recovery relies on has a CRC-32 of its own.

A vector has one of its own, and the row's covers that one: a search reads
vectors alone, thousands at a time, and must not take a damaged one for a far
one. CRC-32 is linear, so those of n vectors give the CRC of all n joined
together, and one call over the joined bytes checks them all (the way of
crc32_combine in zlib, by Mark Adler): 0.3 us a vector of 1 KiB, without the
interpreter's lock, where a call a vector takes 0.9 us with it.

The sum of a table is the 128-bit sum of `hash(vid, crc)` over its live rows.
Adding a row adds its hash, ending one subtracts it; the order does not matter.
An index that lists the same rows has the same sum, and one that lost, doubled
or mixed up a row has another one (but for a chance of 2**-128 or so: it guards
against faults, not against an enemy).
The hash is the finalizer of splitmix64 (Steele, Lea, Flood 2014), run twice.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptError
from .types import Key, Vid

Crcs = NDArray[np.uint32]

JOINED_MAX = 256
"""Vectors checked by one call. A power of two."""
ONE_BY_ONE = 16
"""So few rows are summed one by one: numpy would take longer."""
_CRC_BITS = 32
_CRC_BYTES = 4
_HALF_BYTES = 8
_MASK = (1 << 64) - 1
_SEEDS = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)


def key_bytes(key: Key) -> bytes:
    """A key as its checksum sees it: 8 bytes of an int, or UTF-8."""
    if isinstance(key, int):
        return key.to_bytes(8, "little", signed=True)
    return key.encode()


def row_crc(key: Key, payload: str | None, vector_crc: int) -> int:
    """The CRC-32 of one row version: key, payload and the CRC of its vector, in this order."""
    return stored_crc(key_bytes(key), payload.encode() if payload is not None else None, vector_crc)


def stored_crc(key: bytes, payload: bytes | None, vector_crc: int) -> int:
    """`row_crc` of what the file holds, whether or not it is text."""
    start = zlib.crc32(payload or b"", zlib.crc32(key))
    return zlib.crc32(vector_crc.to_bytes(_CRC_BYTES, "little"), start)


def vector_crcs_of(vectors: NDArray[np.float32]) -> Crcs:
    """The CRC-32 of each vector's bytes. vectors: float32 (n, d), C-contiguous."""
    crcs = map(zlib.crc32, row_blobs(vectors))
    return np.fromiter(crcs, dtype=np.uint32, count=len(vectors))


def first_damaged(vectors: NDArray[np.float32], crcs: Crcs) -> int | None:
    """The place of a vector that has another CRC than stored, or None when all are whole.

    vectors: float32 (n, d), C-contiguous; crcs: uint32 (n,), as stored.
    """
    for first in range(0, len(vectors), JOINED_MAX):
        some, stored = vectors[first : first + JOINED_MAX], crcs[first : first + JOINED_MAX]
        if zlib.crc32(some.data) != joined_crc(stored, some[0].nbytes):
            return first + int(np.argmax(vector_crcs_of(some) != stored))
    return None


def joined_crc(crcs: Crcs, size_bytes: int) -> int:
    """The CRC-32 of strings of `size_bytes` each, one after the other, from their own.

    crcs: uint32 (n,), n at most `JOINED_MAX`.
    """
    places = _places(size_bytes)[: len(crcs)][::-1]
    return int(np.bitwise_xor.reduce(places * _bits(crcs), axis=None))


def _bits(crcs: Crcs) -> NDArray[np.uint8]:
    """uint8 (..., 32): the bits of each CRC, the lowest first."""
    octets = np.ascontiguousarray(crcs, dtype="<u4").view(np.uint8)
    return np.unpackbits(octets, bitorder="little").reshape(*crcs.shape, _CRC_BITS)


@lru_cache(maxsize=16)
def _places(size_bytes: int) -> Crcs:
    """uint32 (JOINED_MAX, 32): what a bit of a CRC is once k strings have followed, k a row."""
    zeros = bytes(size_bytes)
    places = np.uint32(1) << np.arange(_CRC_BITS, dtype=np.uint32)[None]
    one_more = [zlib.crc32(zeros, int(bit)) ^ zlib.crc32(zeros) for bit in places[0]]
    further = np.array(one_more, dtype=np.uint32)
    while len(places) < JOINED_MAX:
        places = np.concatenate((places, _mapped(further, places)))
        further = _mapped(further, further)
    return places


def _mapped(of_bits: Crcs, crcs: Crcs) -> Crcs:
    """The image of each CRC under the linear map that takes bit b to of_bits[b]."""
    images: Crcs = np.bitwise_xor.reduce(of_bits * _bits(crcs), axis=-1)
    return images


def row_blobs(vectors: NDArray[np.float32]) -> list[bytes]:
    """The bytes of each row; copies, since the garbage collector would count views.

    vectors: float32 (n, d), C-contiguous.
    """
    if not len(vectors):
        return []
    size = vectors.shape[1] * vectors.itemsize
    whole = vectors.tobytes()
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def blobs_crc(*blobs: bytes, start: int = 0) -> int:
    """The CRC-32 of several byte strings, each preceded by its length."""
    crc = start
    for blob in blobs:
        crc = zlib.crc32(blob, zlib.crc32(len(blob).to_bytes(8, "little"), crc))
    return crc


def _hash(vid: int, crc: int, seed: int) -> int:
    """One half of the hash of a row."""
    return _mixed(_mixed((vid + seed) & _MASK) ^ (crc * seed & _MASK))


def _mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True)
class RowSum:
    """A 128-bit sum over rows, as two 64-bit halves that wrap around."""

    low: int = 0
    high: int = 0

    @classmethod
    def of(cls, vids: NDArray[np.int64], crcs: NDArray[np.uint32 | np.int64]) -> "RowSum":
        """The sum of `hash(vid, crc)`. vids: int64 (n,), crcs: uint32 (n,)."""
        if len(vids) <= ONE_BY_ONE:
            pairs = list(zip(vids.tolist(), crcs.tolist(), strict=True))
            low, high = (sum(_hash(vid, crc, seed) for vid, crc in pairs) for seed in _SEEDS)
            return cls(low & _MASK, high & _MASK)
        halves = []
        for seed in _SEEDS:
            mixed = _mix(vids.astype(np.uint64) + np.uint64(seed))
            mixed = _mix(mixed ^ (crcs.astype(np.uint64) * np.uint64(seed)))
            halves.append(int(mixed.sum(dtype=np.uint64)))
        return cls(*halves)

    def __add__(self, other: "RowSum") -> "RowSum":
        return RowSum((self.low + other.low) & _MASK, (self.high + other.high) & _MASK)

    def __sub__(self, other: "RowSum") -> "RowSum":
        return RowSum((self.low - other.low) & _MASK, (self.high - other.high) & _MASK)

    def to_bytes(self) -> bytes:
        """16 bytes, little-endian, as `tables.sum` holds them."""
        return self.low.to_bytes(_HALF_BYTES, "little") + self.high.to_bytes(_HALF_BYTES, "little")

    @classmethod
    def from_bytes(cls, raw: bytes) -> "RowSum":
        """What `to_bytes` wrote; CorruptError for anything else."""
        if not isinstance(raw, bytes) or len(raw) != 2 * _HALF_BYTES:
            raise CorruptError(f"a sum over rows is damaged: {raw!r:.60}")
        return cls(
            int.from_bytes(raw[:_HALF_BYTES], "little"), int.from_bytes(raw[_HALF_BYTES:], "little")
        )


def vid_range(first: Vid, count: int) -> NDArray[np.int64]:
    """The vids of a run, int64 (count,)."""
    return np.arange(first, first + count, dtype=np.int64)
