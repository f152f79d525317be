"""The scan of int8 codes in one pass, compiled by numba; imported only to be compiled (`library`).

    for each partition, in the order asked for
        quantise each query that probes it
        for 128 rows at a time, and for each of these queries
            products              which rows may be near the bound
            each of those         compared once more, with the query as it is
                                  asked whether the snapshot sees it
                                  its upper end may lower the bound

What `chunk` and `sq8` do for all rows in some thirty passes over arrays happens here while the
codes are in the processor's first cache, and the bound of the rows before leaves little to do for
the rows after.  The bound is the k-th smallest upper end so far, in a heap (`brackets` has the
ends).

Partitions are given by the addresses of their columns (`shelf`), so that a search costs nothing a
partition before the scan.  The interpreter lock is not held meanwhile.
"""

from typing import Any, Final

import numpy as np
from numba import carray

from . import native
from .brackets import asked, begin, compared, margin_of, refined
from .native import BOUND, EXCESS, NUMBERS, STEP, TILE
from .shelf import CENTROID, CODES, FIELDS, ROWS, VIDS
from .simd import (
    bytes_at,
    compiled,
    counts_at,
    dot,
    doubles_at,
    inlined,
    integers_at,
    plain_dot,
    prefetch,
)

AHEAD: Final = 4096
"""Bytes that are fetched ahead of the row that is multiplied.

Into all caches: lines that are to be read once and leave nothing (`prefetchnta`) come four times
as slowly where the first cache has to wait for them alone.
"""

LINE: Final = 64
TOGETHER_BYTES: Final = 1 << 17
"""Codes scanned for one query before the next, which finds them in the processor's cache."""

GROUP: Final = 32
"""Rows of a tile that are passed over together where none may be near."""


@inlined
def multiply(
    columns: Any, first: int, last: int, dims: int, query: Any, excess: int, out: Any
) -> None:
    """Products of the rows from first to before last with a query: (2, padded) int8, to out.

    query: the codes, then their magnitudes; excess: what `dot` has too much.  A row whose last
    step would go past all the codes is multiplied one by one.
    """
    signs, sizes = query[0].ctypes.data, query[1].ctypes.data
    steps = query.shape[1] // STEP
    codes = columns[CODES]
    whole = min(last, columns[ROWS] - (steps * STEP - 1) // dims)
    for row in range(first, whole):
        start = codes + row * dims
        for line in range(0, dims, LINE):
            prefetch(start + AHEAD + line)
        out[row - first] = dot(start, signs, sizes, steps) - excess
    for row in range(max(first, whole), last):
        out[row - first] = plain_dot(codes + row * dims, signs, dims)


@compiled
def lowered(heap: Any, upper: float) -> float:
    """Put an upper end in the place of the largest of the heap (k,); returns the largest then."""
    place = 0
    while True:
        child = 2 * place + 1
        if child + 1 < len(heap) and heap[child + 1] > heap[child]:
            child += 1
        if child >= len(heap) or heap[child] <= upper:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = upper
    return heap[0]


@compiled
def kept(lower: Any, place: Any, vid: Any, found: int, bound: float) -> int:
    """Drop found rows whose lower ends are above the bound; returns how many are left."""
    left = 0
    for at in range(found):
        if lower[at] <= bound:
            lower[left], place[left], vid[left] = lower[at], place[at], vid[at]
            left += 1
    return left


@inlined
def seen(vid: int, high: int, lsn: int, ended: Any) -> bool:
    """Whether a snapshot sees a version; ended: its end LSN by vid, (0,) when none has ended.

    A file may lie about its versions, and nothing looks at the bounds of an array here.
    """
    if vid < 0 or vid >= high:
        return False
    return vid >= len(ended) or ended[vid] > lsn


@inlined
def collected(
    is_dot: bool,
    columns: Any,
    rows: tuple[int, int, int],
    excess: Any,
    residual: Any,
    numbers: Any,
    alive: Any,
    heap: Any,
    found: tuple[Any, Any, Any],
    count: int,
) -> int:
    """Add the rows of a tile that may be near to the found ones; -1 when there is no room.

    rows: the partition, the first row of the tile and what comes after its last; excess: (TILE,).
    """
    label, first, last = rows
    high, lsn, ended = alive
    lower, place, vid = found
    vids = integers_at(columns[VIDS])
    for start in range(first, last, GROUP):
        until = min(start + GROUP, last)
        near = 0
        for row in range(start, until):
            near += not (excess[row - first] > 0)
        if not near:
            continue
        for row in range(start, until):
            if excess[row - first] > 0:
                continue
            middle = refined(is_dot, columns, row, residual, numbers)
            margin = margin_of(is_dot, columns, row, numbers)
            if middle - margin > heap[0] or not seen(vids[row], high, lsn, ended):
                continue
            if count == len(lower):
                count = kept(lower, place, vid, count, heap[0])
                if count > len(lower) // 2:
                    return -1
            lower[count], vid[count] = middle - margin, vids[row]
            place[count] = np.int64(label) << 32 | row
            count += 1
            if middle + margin < heap[0]:
                lowered(heap, middle + margin)
    return count


@inlined
def announce(columns: Any, dims: int) -> None:
    """Have what is needed first of a partition, the next one, brought into the cache."""
    for line in range(0, AHEAD, LINE):
        prefetch(columns[CODES] + line)
    for line in range(0, dims * 8, LINE):
        prefetch(columns[CENTROID] + line)


@inlined
def scan_rows(
    is_dot: bool,
    columns: Any,
    rows: tuple[int, int, int],
    query: Any,
    residual: Any,
    numbers: Any,
    alive: Any,
    heap: Any,
    found: tuple[Any, Any, Any],
    count: int,
    scratch: tuple[Any, Any],
) -> int:
    """Scan some rows of a partition for a query.  Returns how many are found now, -1 if too many.

    rows: the partition, and its rows from first to before last; query, residual, numbers: what
    `asked` made; count: found before; scratch: dots int32 (TILE,) and excess float64 (TILE,).
    """
    dots, excess = scratch
    label, start, stop = rows
    for first in range(start, stop, TILE):
        last = min(stop, first + TILE)
        multiply(columns, first, last, len(residual), query, np.int64(numbers[EXCESS]), dots)
        numbers[BOUND] = heap[0]
        compared(is_dot, columns, first, last, dots, numbers, excess)
        some = label, first, last
        count = collected(
            is_dot, columns, some, excess, residual, numbers, alive, heap, found, count
        )
        if count < 0:
            return -1
    return count


@inlined
def scan_partition(
    is_dot: bool,
    table: Any,
    asking: Any,
    directions: Any,
    queries: Any,
    residuals: Any,
    numbers: Any,
    alive: Any,
    heaps: Any,
    found: tuple[Any, Any, Any],
    counts: Any,
    scratch: tuple[Any, Any],
) -> bool:
    """Scan one partition for all that ask for it, some rows for each of them before the next.

    asking: (partition, query) (m, 2), of one partition; queries: int8 (q, 2, padded); residuals:
    float64 (q, d); numbers: (q, NUMBERS), all three after `begin`; found: each (q, room); counts:
    int64 (q, 2), changed; scratch: as for rows.  Whether there was room.
    """
    label, dims = asking[0, 0], directions.shape[1]
    columns = table[label]
    lower, place, vid = found
    if not columns[ROWS]:
        return True
    centroid = carray(doubles_at(columns[CENTROID]), dims)
    for query in asking[:, 1]:
        mine = residuals[query], queries[query], numbers[query]
        asked(is_dot, directions[query], centroid, *mine)
        counts[query, 1] += columns[ROWS]
    together = max(TILE, TOGETHER_BYTES // dims)
    for first in range(0, columns[ROWS], together):
        some = label, first, min(columns[ROWS], first + together)
        for query in asking[:, 1]:
            counts[query, 0] = scan_rows(
                is_dot,
                columns,
                some,
                queries[query],
                residuals[query],
                numbers[query],
                alive,
                heaps[query],
                (lower[query], place[query], vid[query]),
                counts[query, 0],
                scratch,
            )
            if counts[query, 0] < 0:
                return False
    return True


@compiled
def scan(arguments: int) -> int:
    """See `native`.

    What is found is given back first, flat, query after query, where place = partition << 32 | row.
    Returns how many are found in all, -1 if there are too many.
    """
    given = integers_at(arguments)
    is_dot, q, dims, room = (
        given[native.METRIC] == native.DOT,
        given[native.COUNT],
        given[native.DIMS],
        given[native.ROOM],
    )
    table = carray(integers_at(given[native.TABLE_AT]), (given[native.NLIST], FIELDS))
    asking = carray(integers_at(given[native.ASKING_AT]), (given[native.PAIRS], 2))
    directions = carray(doubles_at(given[native.DIRECTIONS_AT]), (q, dims))
    ended = carray(integers_at(given[native.ENDED_AT]), given[native.ENDED])
    alive = given[native.HIGH], given[native.LSN], ended
    heaps = carray(doubles_at(given[native.HEAPS_AT]), (q, given[native.NEAREST]))
    counts = carray(integers_at(given[native.COUNTS_AT]), (q, 2))
    lower = carray(doubles_at(given[native.LOWER_AT]), (q, room))
    place = carray(integers_at(given[native.PLACE_AT]), (q, room))
    found = lower, place, carray(integers_at(given[native.VID_AT]), (q, room))
    origin = carray(doubles_at(given[native.ORIGIN_AT]), dims)
    residuals = carray(doubles_at(given[native.RESIDUALS_AT]), (q, dims))
    numbers = carray(doubles_at(given[native.NUMBERS_AT]), (q, NUMBERS))
    dots, excess = (
        carray(counts_at(given[native.DOTS_AT]), TILE),
        carray(doubles_at(given[native.EXCESS_AT]), TILE),
    )
    queries = carray(bytes_at(given[native.CODES_AT]), (q, 2, (dims + STEP - 1) // STEP * STEP))
    for query in range(q):
        mine = residuals[query], queries[query], numbers[query]
        begin(is_dot, directions[query], origin, *mine)
    start = 0
    while start < len(asking):
        until = start + 1
        while until < len(asking) and asking[until, 0] == asking[start, 0]:
            until += 1
        if until < len(asking):
            announce(table[asking[until, 0]], dims)
        if not scan_partition(
            is_dot,
            table,
            asking[start:until],
            directions,
            queries,
            residuals,
            numbers,
            alive,
            heaps,
            found,
            counts,
            (dots, excess),
        ):
            return -1
        start = until
    lowers, places = (
        carray(doubles_at(given[native.LOWER_AT]), q * room),
        integers_at(given[native.PLACE_AT]),
    )
    vids = carray(integers_at(given[native.VID_AT]), q * room)
    return gathered(lowers, carray(places, q * room), vids, heaps, counts)


@compiled
def gathered(lower: Any, place: Any, vid: Any, heaps: Any, counts: Any) -> int:
    """Move what is left of each query to the front, query after query; how many that are.

    lower, place, vid: flat, (q times the room of one,).
    """
    room = len(lower) // len(counts)
    total = 0
    for query in range(len(counts)):
        start = query * room
        some = slice(start, start + room)
        left = kept(lower[some], place[some], vid[some], counts[query, 0], heaps[query, 0])
        for at in range(left):
            lower[total + at], place[total + at] = lower[start + at], place[start + at]
            vid[total + at] = vid[start + at]
        counts[query, 0] = left
        total += left
    return total
