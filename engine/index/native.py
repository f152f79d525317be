"""The compiled kernels as functions of arrays (`fused`, `exact`), by where their machine code is.

A kernel takes one number, the address of an array of its arguments: numbers, and addresses of
arrays.  It allocates nothing; what it needs for itself is laid out here, in one piece of memory.
The interpreter lock is not held meanwhile.
"""

import threading
from ctypes import CFUNCTYPE, addressof, byref, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Floats, Indices, Labels, Mask, Vids
from .distance import Metric

METRIC, NLIST, PAIRS, COUNT, DIMS, NEAREST, ROOM, HIGH, LSN, ENDED = range(10)
TABLE_AT, ASKING_AT, DIRECTIONS_AT, ENDED_AT = range(10, 14)
COUNTS_AT, ORIGIN_AT, NUMBERS_AT, CODES_AT = range(14, 18)
HEAPS_AT, RESIDUALS_AT, EXCESS_AT, DOTS_AT, LOWER_AT, PLACE_AT, VID_AT = range(18, 25)
PLACES_AT, OUT_AT, UNREAD_AT = range(25, 28)
CENTROIDS_AT, SQUARES_AT, KERNELS_AT, HALVES_AT, SLACKS_AT = range(28, 33)
"""The arguments: numbers, then addresses."""

ARGUMENTS: Final = 33

L2, COSINE, DOT = range(3)
METRICS: Final[dict[Metric, int]] = {"l2": L2, "cosine": COSINE, "dot": DOT}

BOUND, STEP_OF, LENGTH, ERROR, SLACK_OF, OFFSET, FLOOR, NORM, ROUNDING, EXCESS = range(10)
"""What is known of a query and a partition: see `brackets`."""

NUMBERS: Final = 10

TILE: Final = 128
"""Rows multiplied before they are compared."""

STEP: Final = 64
"""Codes multiplied at a time; queries are padded with zeros to a multiple."""

SIEVED: Final = 2
"""Where no more than every second centroid is asked for, estimates leave most of them out."""

SMALLEST: Final = float(np.finfo(np.float64).tiny)
"""In place of the squared norm of a centroid at the origin, which has no direction."""

WORD_BYTES: Final = 8
SCRATCH_WORDS: Final = 1 << 17
"""Memory of 1 MiB is kept for the next scan of a thread; what is larger is let go."""

Alive = tuple[int, int, NDArray[np.int64]]
"""The first vid a snapshot does not see, its LSN, and the end LSN by vid, (0,) if none ended."""

_Function = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int64)
"""As numba calls: where the result goes, where an error would, the argument; 0 if all is well."""


def address(array: NDArray[Any]) -> int:
    """Where the values of an array begin."""
    assert array.flags.c_contiguous, "an array is one piece of memory"
    start: int = array.__array_interface__["data"][0]
    return start


@dataclass(frozen=True, slots=True)
class Left:
    """What a scan leaves of q queries, query after query."""

    bounds: Doubles
    """(q,): the largest of the k smallest upper ends"""
    lower: Doubles
    place: Indices
    vid: Vids
    """(m,) each"""
    counts: NDArray[np.int64]
    """(q, 2): how many are left, rows there were"""


@dataclass(frozen=True)
class Ranking:
    """What queries are compared with to rank centroids: see `centroids`."""

    metric: Metric
    centroids: Floats
    """(nlist, d)"""
    squares: Doubles
    """(nlist,): squared norms of the centroids"""
    kernels: Floats
    """(nlist, d): the centroids, or unit vectors under cosine"""
    halves: Floats
    """(nlist,): half the squares for l2, 0 for others"""
    slacks: Doubles
    """(3,): twice the relative error of a product, the largest squared norm of a kernel, and twice
    the absolute error"""

    @cached_property
    def addresses(self) -> list[int]:
        """Of the arrays, in order."""
        arrays: list[NDArray[Any]] = [self.centroids, self.squares, self.kernels, self.halves]
        return [address(array) for array in (*arrays, self.slacks)]


class OnShelf(Protocol):
    """Partitions: see `shelf`."""

    table: NDArray[np.int64]
    """(nlist, FIELDS)"""
    at: int
    """its address"""


class Native:
    """Kernels at these addresses."""

    def __init__(self, scan: int, measure: int, rank: int) -> None:
        self._scan, self._measure, self._rank = map(_Function, (scan, measure, rank))

    def scan(
        self,
        metric: Metric,
        shelf: OnShelf,
        asking: NDArray[np.int64],
        directions: Doubles,
        rounding: float,
        alive: Alive,
        *,
        uppers: Doubles,
        k: int,
        room: int,
    ) -> Left | None:
        """Rows whose brackets reach into the nearest k of queries (q, d); None if too many do.

        asking: int64 (m, 2), a partition and a query that
        probes it, in order; those of one partition that follow each other are scanned together.
        rounding: what it adds to the error of a query.  uppers: (q,), upper ends of k rows that are
        known already.  room: for rows of a query.  Ends are of |x - q|, or of -x.q under dot.
        """
        q, dims = directions.shape
        starts = _layout(q, dims, k, room)
        memory, start = _SCRATCH.words(starts[-1])
        counts, _, numbers, codes, heaps, residuals, *_, lower, place, vid, _ = starts
        memory[:heaps] = 0
        values = memory.view(np.float64)
        values[heaps:residuals].reshape(q, k)[...] = uppers[:, np.newaxis]
        if rounding:
            values[numbers:codes].reshape(q, NUMBERS)[:, ROUNDING] = rounding
        high, lsn, ended = alive
        total = _called(
            self._scan,
            *(METRICS[metric], len(shelf.table), len(asking), q, dims, k, room),
            *(high, lsn, len(ended), shelf.at),
            *map(address, (asking, directions, ended)),
            *[start + WORD_BYTES * at for at in starts[:-1]],
        )
        if total < 0:
            return None
        return Left(
            values[heaps:residuals:k].copy(),
            values[lower : lower + total].copy(),
            memory[place : place + total].copy(),
            memory[vid : vid + total].copy(),
            memory[counts : counts + 2 * q].reshape(q, 2).copy(),
        )

    def measure(
        self,
        metric: Metric,
        shelf: OnShelf,
        places: Indices,
        query: Indices,
        directions: Doubles,
    ) -> tuple[Doubles, Mask | None]:
        """Distances (m,) of rows at places (m,) from a query for each (m,), of directions (q, d).

        Directions are as given, or of unit length for cosine.  Also which rows (m,) have no vectors
        in memory, and so no distance; None if all have.
        """
        measured, unread = np.zeros(len(places)), np.empty(len(places), np.bool_)
        given = [0] * ARGUMENTS
        given[METRIC], given[NLIST] = METRICS[metric], len(shelf.table)
        given[COUNT], given[TABLE_AT] = len(places), shelf.at
        given[DIMS], given[DIRECTIONS_AT] = directions.shape[1], address(directions)
        given[PLACES_AT], given[ASKING_AT] = address(places), address(query)
        given[OUT_AT], given[UNREAD_AT] = address(measured), address(unread)
        return measured, unread if _called(self._measure, *given) else None

    def rank(self, ranking: Ranking, directions: Doubles, nprobe: int) -> Labels:
        """The best centroids (q, nprobe) for directions (q, d) as for `measure`, best first."""
        nlist, dims = ranking.centroids.shape
        ranked = np.empty((len(directions), nprobe), np.int32)
        memory = np.empty(nprobe + nlist + dims)
        given = [0] * ARGUMENTS
        given[METRIC], given[NLIST], given[COUNT] = METRICS[ranking.metric], nlist, len(ranked)
        given[DIMS], given[NEAREST] = dims, nprobe
        given[CENTROIDS_AT:] = ranking.addresses
        given[DIRECTIONS_AT], given[OUT_AT] = address(directions), address(ranked)
        given[HEAPS_AT] = start = address(memory)
        given[LOWER_AT] = start + WORD_BYTES * nprobe
        given[RESIDUALS_AT] = start + WORD_BYTES * (nprobe + nlist)
        _called(self._rank, *given)
        return ranked


@lru_cache(maxsize=256)
def _layout(q: int, dims: int, k: int, room: int) -> tuple[int, ...]:
    """Where the arrays of a scan begin, in words, and where all of them end.

    In the order of the arguments: those up to the heaps are to be zero.
    """
    padded = (dims + STEP - 1) // STEP * STEP
    sizes = [2 * q, dims, q * NUMBERS, 2 * q * padded // WORD_BYTES]
    sizes += [q * k, q * dims, TILE, TILE // 2, q * room, q * room, q * room]
    return tuple(accumulate(sizes, initial=0))


class _Scratch(threading.local):
    """Memory that scans of a thread use one after another."""

    memory = np.empty(0, np.int64)
    start = 0

    def words(self, size: int) -> tuple[NDArray[np.int64], int]:
        """So many, with anything in them, and their address."""
        if size > SCRATCH_WORDS:
            memory = np.empty(size, np.int64)
            return memory, address(memory)
        if len(self.memory) < size:
            self.memory = np.empty(size, np.int64)
            self.start = address(self.memory)
        return self.memory[:size], self.start


_SCRATCH: Final = _Scratch()


def _called(function: Any, *arguments: int) -> int:
    given, result = (c_int64 * ARGUMENTS)(*arguments), c_int64()
    if function(byref(result), None, addressof(given)):
        raise AssertionError("a kernel has raised, which none of them can")
    return result.value
