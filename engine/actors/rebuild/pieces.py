"""Which rows become one segment: the rows of each partition, in order, cut where they are many.

    homes      2 0 1 2 2 0 1 ...            the partition of each row
    passes     [0 1] [2] ...                partitions that are sorted together
    pieces     0:[1 5] 1:[2 6] 2:[0 3] 2:[4 ..]

Sorting all rows at once would take several times their numbers. So each pass goes over all homes,
picks the rows of some partitions, and sorts those; a partition too large for a pass is not sorted
but picked, as many rows at a time as a segment has. The pieces are the same however many passes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...storage.runs import runs

POSITIONS_A_STEP = 1 << 16
"""Homes looked at together."""

Homes = NDArray[np.int32]
Positions = NDArray[np.intp]

Piece = tuple[int, Positions]
"""A centroid and positions of rows in its partition, ascending: what becomes one segment."""

Group = Sequence[Piece]


def partition_sizes(homes: Homes, nlist: int) -> NDArray[np.int64]:
    """Rows of each partition, int64 (nlist,). homes: int32 (n,)."""
    sizes = np.zeros(nlist, np.int64)
    for start in range(0, len(homes), POSITIONS_A_STEP):
        sizes += np.bincount(homes[start : start + POSITIONS_A_STEP], minlength=nlist)
    return sizes


def pieces(
    homes: Homes, sizes: NDArray[np.int64], rows_a_segment: int, rows_a_pass: int
) -> Iterator[Piece]:
    """All pieces, by partition. homes: int32 (n,); sizes: those of the partitions."""
    for first, until in _passes(sizes, rows_a_pass):
        if until - first == 1:
            for positions in _picked(homes, first, rows_a_segment):
                yield first, positions
        else:
            yield from _sorted(homes, first, until, rows_a_segment)


def groups(some: Iterator[Piece], rows_max: int) -> Iterator[Group]:
    """Consecutive pieces with about `rows_max` rows together."""
    return runs(some, lambda piece: len(piece[1]), rows_max)


def _passes(sizes: NDArray[np.int64], rows_a_pass: int) -> Iterator[tuple[int, int]]:
    """Partitions from the first to before the second that have so many rows, or one with more."""
    first, rows = 0, 0
    for centroid, size in enumerate(sizes.tolist()):
        if centroid > first and rows + size > rows_a_pass:
            yield first, centroid
            first, rows = centroid, 0
        rows += size
    yield first, len(sizes)


def _steps(homes: Homes) -> Iterator[tuple[int, Homes]]:
    for start in range(0, len(homes), POSITIONS_A_STEP):
        yield start, homes[start : start + POSITIONS_A_STEP]


def _picked(homes: Homes, centroid: int, rows_a_segment: int) -> Iterator[Positions]:
    """The rows of one partition, as many as a segment has at a time."""
    left = np.empty(0, np.intp)
    for start, some in _steps(homes):
        left = np.concatenate([left, start + np.flatnonzero(some == centroid)])
        while len(left) > rows_a_segment:
            yield left[:rows_a_segment].copy()
            left = left[rows_a_segment:]
    if len(left):
        yield left


def _sorted(homes: Homes, first: int, until: int, rows_a_segment: int) -> Iterator[Piece]:
    """The pieces of several partitions."""
    chosen = np.concatenate(
        [start + np.flatnonzero((some >= first) & (some < until)) for start, some in _steps(homes)]
        or [np.empty(0, np.intp)]
    )
    order = chosen[np.argsort(homes[chosen], kind="stable")]
    found, starts = np.unique(homes[order], return_index=True)
    for centroid, positions in zip(found.tolist(), np.split(order, starts[1:]), strict=False):
        for start in range(0, len(positions), rows_a_segment):
            yield centroid, positions[start : start + rows_a_segment]
