"""The compiled kernels as functions of arrays (`fused`), by the addresses of their machine code.

A kernel takes one number, the address of an array of its arguments: numbers, and addresses of
arrays.  It allocates nothing; what it needs for itself is laid out here, in one piece of memory.
The interpreter lock is not held meanwhile.
"""

from ctypes import CFUNCTYPE, addressof, byref, c_int, c_int64, c_void_p
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Floats, Indices, Mask, Vids

IS_DOT, NLIST, PAIRS, COUNT, DIMS, NEAREST, ROOM, HIGH, LSN, ENDED = range(10)
TABLE_AT, ASKING_AT, DIRECTIONS_AT, ENDED_AT, HEAPS_AT, COUNTS_AT = range(10, 16)
LOWER_AT, PLACE_AT, VID_AT, ORIGIN_AT, RESIDUALS_AT, NUMBERS_AT = range(16, 22)
EXCESS_AT, DOTS_AT, CODES_AT, PLACES_AT, OUT_AT, UNREAD_AT = range(22, 28)
"""The arguments: numbers, then addresses."""

ARGUMENTS: Final = 28

BOUND, STEP_OF, LENGTH, ERROR, SLACK_OF, OFFSET, FLOOR, NORM, ROUNDING, EXCESS = range(10)
"""What is known of a query and a partition: see `brackets`."""

NUMBERS: Final = 10

TILE: Final = 128
"""Rows multiplied before they are compared."""

STEP: Final = 64
"""Codes multiplied at a time; queries are padded with zeros to a multiple."""

WORD_BYTES: Final = 8

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


class Native:
    """Kernels at these addresses."""

    def __init__(self, scan: int, gather: int) -> None:
        self._scan, self._gather = _Function(scan), _Function(gather)

    def scan(
        self,
        is_dot: bool,
        table: NDArray[np.int64],
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

        table: int64 (nlist, FIELDS) of a shelf; asking: int64 (m, 2), a partition and a query that
        probes it, in order; those of one partition that follow each other are scanned together.
        rounding: what it adds to the error of a query.  uppers: (q,), upper ends of k rows that are
        known already.  room: for rows of a query.  Ends are of |x - q|, or of -x.q under dot.
        """
        q, dims = directions.shape
        padded = (dims + STEP - 1) // STEP * STEP
        sizes = [q * k, 2 * q, q * room, q * room, q * room, dims, q * dims, q * NUMBERS]
        sizes += [TILE, TILE // 2, 2 * q * padded // WORD_BYTES]
        *starts, size = accumulate(sizes, initial=0)
        memory = np.zeros(size, np.int64)
        values = memory.view(np.float64)
        values[: q * k].reshape(q, k)[...] = uppers[:, np.newaxis]
        values[starts[7] : starts[8]].reshape(q, NUMBERS)[:, ROUNDING] = rounding
        high, lsn, ended = alive
        start = address(memory)
        total = _called(
            self._scan,
            *(is_dot, len(table), len(asking), q, dims, k, room, high, lsn, len(ended)),
            *map(address, (table, asking, directions, ended)),
            *[start + WORD_BYTES * at for at in starts],
        )
        if total < 0:
            return None
        _, counts, lower, place, vid = starts[:5]
        return Left(
            values[: q * k : k],
            values[lower : lower + total],
            memory[place : place + total],
            memory[vid : vid + total],
            memory[counts:lower].reshape(q, 2),
        )

    def gather(self, table: NDArray[np.int64], places: Indices, out: Floats) -> Mask | None:
        """Write the vectors of rows at places (m,) to out (m, d).

        Returns which rows (m,) have none in memory; None if all have.
        """
        unread = np.empty(len(places), np.bool_)
        given = [0] * ARGUMENTS
        given[NLIST], (given[COUNT], given[DIMS]) = len(table), out.shape
        given[TABLE_AT], given[PLACES_AT] = address(table), address(places)
        given[OUT_AT], given[UNREAD_AT] = address(out), address(unread)
        return unread if _called(self._gather, *given) else None


def _called(function: Any, *arguments: int) -> int:
    given, result = (c_int64 * ARGUMENTS)(*arguments), c_int64()
    if function(byref(result), None, addressof(given)):
        raise AssertionError("a kernel has raised, which none of them can")
    return result.value
