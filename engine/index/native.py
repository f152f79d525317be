"""The compiled kernels as functions of arrays (`fused`, `exact`, `lone`), by their addresses.

A kernel takes one number, the address of an array of its arguments: numbers, and addresses of
arrays.  It allocates nothing; what it needs for itself is laid out here, in one piece of memory.
The interpreter lock is not held meanwhile.
"""

import threading
from ctypes import CFUNCTYPE, addressof, byref, c_int, c_int64, c_void_p
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Floats, Indices, Labels, Mask, Vids
from .distance import Metric

METRIC, NLIST, COUNT, DIMS = range(4)
"""The arguments: numbers first. Of queries, which are COUNT, and centroids."""

PAIRS, NEAREST, ROOM, HIGH, LSN, ENDED = range(4, 10)
"""Of a scan: partitions by queries, k, rows of a query that may be left, and what is seen."""

PROBED, LEFT, LIMIT, WHOLE, PLAIN = range(10, 15)
"""Centroids to rank, rows to measure; no more rows than LIMIT alone, of WHOLE partitions or any, or
of PLAIN ones, which have no codes."""

TABLE_AT, DIRECTIONS_AT, ENDED_AT = range(15, 18)
"""Then addresses: what is given."""

CENTROIDS_AT, SQUARES_AT, KERNELS_AT, HALVES_AT, SLACKS_AT = range(18, 23)
"""What is ranked: see `Ranking`."""

QUERY_AT, COUNTS_AT, ORIGIN_AT, NUMBERS_AT, CODES_AT = range(23, 28)
HEAPS_AT, RESIDUALS_AT, EXCESS_AT, DOTS_AT, LOWER_AT, PLACE_AT, VID_AT = range(28, 35)
"""Of a scan, its memory and what it finds; QUERY is the query of each row to measure."""

ASKING_AT, RANKED_AT, SCORES_AT, ESTIMATES_AT, NARROW_AT = range(35, 40)
"""What is asked for, what is ranked, and memory for that."""

MEASURED_AT, UNREAD_AT = range(40, 42)
"""What is measured."""

ROWS_AT, LABELS_AT, SUMS_AT = range(42, 45)
"""What is added up, in groups."""

ARGUMENTS: Final = 45

L2, COSINE, DOT, SQUARE = range(4)
Measured = Metric | Literal["square"]
"""What rows are measured by: a metric, or what l2 is before its root."""

METRICS: Final[dict[Measured, int]] = {"l2": L2, "cosine": COSINE, "dot": DOT, "square": SQUARE}

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

MEASURED_ALONE: Final = 128
"""Rows of a query measured at once, after a scan, if k is less than half."""

SOME_UNREAD: Final = 1 << 32
"""A count of rows is so much higher where some of them have no vectors."""

ABSENT: Final = -2
"""In place of a count, where a partition is not on the shelf."""

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


class Left(NamedTuple):
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
    plain: bool
    """whether they have no codes"""


class Lone(NamedTuple):
    """What the kernels make of a query that is alone."""

    ranked: Labels
    """(1, nprobe): the partitions it has probed, nearest first"""
    scanned: int
    """rows looked at"""
    vid: Vids
    """(m,): rows that may be among the nearest"""
    measured: Doubles
    """(m,): their distances, ascending, if all have one"""
    unread: Mask | None
    """(m,): which have no vectors in memory, and so no distance; None if all have"""
    left: Left | None
    """In place of these where there are many, of which none is measured."""
    fits: bool
    """False where there was no room for what a scan has found: then there is none of these."""


class Native:
    """Kernels at these addresses."""

    def __init__(self, scan: int, measure: int, rank: int, alone: int, add_up: int) -> None:
        self._scan, self._measure = _Function(scan), _Function(measure)
        self._rank, self._alone = _Function(rank), _Function(alone)
        self._add_up = _Function(add_up)

    def scan(
        self,
        metric: Metric,
        shelf: OnShelf,
        asking: NDArray[np.int64],
        directions: Doubles,
        alive: Alive,
        *,
        uppers: Doubles,
        k: int,
        room: int,
    ) -> Left | None:
        """Rows whose brackets reach into the nearest k of queries (q, d); None if too many do.

        asking: int64 (m, 2), a partition and a query that probes it, in order; those of one
        partition that follow each other are scanned together.  uppers: (q,), upper ends of k rows
        that are known already.  room: for rows of a query.  Ends are of |x - q|, or of -x.q under
        dot.
        """
        q, dims = directions.shape
        starts = _scan_layout(q, dims, k, room)
        given, memory = _scanning(metric, shelf, directions, alive, starts, k, room)
        heaps, residuals = starts[HEAPS_AT : RESIDUALS_AT + 1]
        memory.view(np.float64)[heaps:residuals].reshape(q, k)[...] = uppers[:, np.newaxis]
        given[PAIRS], given[ASKING_AT] = len(asking), address(asking)
        total = _called(self._scan, given)
        return None if total < 0 else _left(memory, starts, q, k, total)

    def alone(
        self,
        ranking: Ranking,
        shelf: OnShelf,
        direction: Doubles,
        alive: Alive,
        *,
        nprobe: int,
        k: int,
        room: int,
        whole: bool,
    ) -> Lone | None:
        """`rank`, `scan` and `measure` for a direction (1, d), in one call.

        Of rows without codes all are measured, and the k nearest are left, in order.

        None where a partition is not on the shelf, `whole` ones with their vectors.
        """
        nlist, dims = ranking.centroids.shape
        limit = measured_alone(k)
        starts = _alone_layout(nlist, nprobe, dims, k, room)
        given, memory = _scanning(ranking.metric, shelf, direction, alive, starts, k, room)
        values = memory.view(np.float64)
        heaps = starts[HEAPS_AT]
        values[heaps : heaps + k] = np.inf
        given[PAIRS] = given[PROBED] = nprobe
        given[LIMIT : PLAIN + 1] = limit, whole, shelf.plain
        given[QUERY_AT] = _FIRST_AT
        given[CENTROIDS_AT : SLACKS_AT + 1] = ranking.addresses
        total = _called(self._alone, given)
        if total == ABSENT:
            return None
        fits = total >= 0
        some_unread, total = divmod(max(0, total), SOME_UNREAD)
        vid, ranked = starts[VID_AT], starts[RANKED_AT]
        measured, unread = starts[MEASURED_AT : UNREAD_AT + 1]
        many = total > limit
        here = 0 if many else total
        return Lone(
            memory.view(np.int32)[2 * ranked : 2 * ranked + nprobe].reshape(1, -1).copy(),
            int(memory[starts[COUNTS_AT] + 1]),
            memory[vid : vid + here].copy(),
            values[measured : measured + here].copy(),
            memory[unread:].view(np.bool_)[:here].copy() if some_unread else None,
            _left(memory, starts, 1, k, total) if many else None,
            fits,
        )

    def measure(
        self,
        metric: Measured,
        shelf: OnShelf,
        places: Indices,
        query: Indices,
        directions: Doubles,
    ) -> tuple[Doubles, Mask | None]:
        """Distances (m,) of rows at places (m,) from a query for each (m,), of directions (q, d).

        Directions are as given, or of unit length for cosine.  Also which rows (m,) have no vectors
        in memory, and so no distance; None if all have.
        """
        measured, unread = np.empty(len(places)), np.empty(len(places), np.bool_)
        given = [0] * ARGUMENTS
        given[METRIC], given[NLIST] = METRICS[metric], len(shelf.table)
        given[LEFT], given[TABLE_AT] = len(places), shelf.at
        given[DIMS], given[DIRECTIONS_AT] = directions.shape[1], address(directions)
        given[PLACE_AT], given[QUERY_AT] = address(places), address(query)
        given[MEASURED_AT], given[UNREAD_AT] = address(measured), address(unread)
        return measured, unread if _called(self._measure, given) else None

    def rank(self, ranking: Ranking, directions: Doubles, nprobe: int) -> Labels:
        """The best centroids (q, nprobe) for directions (q, d) as for `measure`, best first."""
        nlist, dims = ranking.centroids.shape
        ranked = np.empty((len(directions), nprobe), np.int32)
        memory = np.empty(nprobe + nlist + dims)
        given = [0] * ARGUMENTS
        given[METRIC], given[NLIST], given[COUNT] = METRICS[ranking.metric], nlist, len(ranked)
        given[DIMS], given[PROBED] = dims, nprobe
        given[CENTROIDS_AT : SLACKS_AT + 1] = ranking.addresses
        given[DIRECTIONS_AT], given[RANKED_AT] = address(directions), address(ranked)
        given[SCORES_AT] = start = address(memory)
        given[ESTIMATES_AT] = start + WORD_BYTES * nprobe
        given[NARROW_AT] = start + WORD_BYTES * (nprobe + nlist)
        _called(self._rank, given)
        return ranked

    def add_up(self, vectors: Floats, labels: Labels, groups: int) -> Doubles:
        """The sum (groups, d) of the vectors (n, d) with each label (n,), one after another."""
        sums = np.zeros((groups, vectors.shape[1]))
        given = [0] * ARGUMENTS
        given[LEFT], given[DIMS] = vectors.shape
        given[ROWS_AT], given[LABELS_AT], given[SUMS_AT] = (
            address(vectors),
            address(labels),
            address(sums),
        )
        _called(self._add_up, given)
        return sums


def measured_alone(k: int) -> int:
    """So many rows of a query that is alone are all measured: to find out which takes longer."""
    return max(2 * k, MEASURED_ALONE)


def _scanning(
    metric: Metric,
    shelf: OnShelf,
    directions: Doubles,
    alive: Alive,
    starts: tuple[int, ...],
    k: int,
    room: int,
) -> tuple[list[int], NDArray[np.int64]]:
    """Arguments of a scan, and the memory for it, by a layout."""
    q, dims = directions.shape
    memory, start = _SCRATCH.words(starts[-1])
    memory[: starts[HEAPS_AT]] = 0
    if metric == "cosine":
        numbers, codes = starts[NUMBERS_AT : CODES_AT + 1]
        rounding = (dims + 64) * 2.0**-48
        memory.view(np.float64)[numbers:codes].reshape(q, NUMBERS)[:, ROUNDING] = rounding
    given = [0] * ARGUMENTS
    given[METRIC : DIMS + 1] = METRICS[metric], len(shelf.table), q, dims
    given[NEAREST], given[ROOM] = k, room
    given[HIGH], given[LSN], ended = alive
    given[ENDED], given[ENDED_AT] = len(ended), address(ended)
    given[TABLE_AT], given[DIRECTIONS_AT] = shelf.at, address(directions)
    given[COUNTS_AT : len(starts) - 1] = [start + WORD_BYTES * at for at in starts[COUNTS_AT:-1]]
    return given, memory


def _left(memory: NDArray[np.int64], starts: tuple[int, ...], q: int, k: int, total: int) -> Left:
    """What a scan has left in its memory."""
    values = memory.view(np.float64)
    counts = starts[COUNTS_AT]
    heaps, residuals = starts[HEAPS_AT : RESIDUALS_AT + 1]
    lower, place, vid = starts[LOWER_AT : VID_AT + 1]
    return Left(
        values[heaps:residuals:k].copy(),
        values[lower : lower + total].copy(),
        memory[place : place + total].copy(),
        memory[vid : vid + total].copy(),
        memory[counts : counts + 2 * q].reshape(q, 2).copy(),
    )


@lru_cache(maxsize=256)
def _scan_layout(q: int, dims: int, k: int, room: int) -> tuple[int, ...]:
    """Where the arrays of a scan begin, in words, by argument, and last where all of them end.

    These are the arguments from `COUNTS_AT` to `VID_AT`; those before the heaps are to be zero.
    """
    padded = (dims + STEP - 1) // STEP * STEP
    sizes = [2 * q, dims, q * NUMBERS, 2 * q * padded // WORD_BYTES]
    sizes += [q * k, q * dims, TILE, TILE // 2, q * room, q * room, q * room]
    return (*[0] * COUNTS_AT, *accumulate(sizes, initial=0))


@lru_cache(maxsize=256)
def _alone_layout(nlist: int, nprobe: int, dims: int, k: int, room: int) -> tuple[int, ...]:
    """The same for a query that is alone, on to `UNREAD_AT`."""
    *scan, end = _scan_layout(1, dims, k, room)
    limit = measured_alone(k)
    sizes = [2 * nprobe, _words(4 * nprobe), nprobe, nlist, _words(4 * dims), limit, _words(limit)]
    return (*scan, *accumulate(sizes, initial=end))


def _words(size_bytes: int) -> int:
    return -(-size_bytes // WORD_BYTES)


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

_FIRST: Final = np.zeros(1 << 11, np.int64)
_FIRST_AT: Final = address(_FIRST)
"""The query of each row, where there is one query."""


def _called(function: Any, arguments: list[int]) -> int:
    given, result = (c_int64 * ARGUMENTS)(*arguments), c_int64()
    if function(byref(result), None, addressof(given)):
        raise AssertionError("a kernel has raised, which none of them can")
    return result.value
