"""The scan of int8 codes in one pass, compiled by numba; imported only with numba (`compiled`).

    for each partition, nearest first where there are few queries
        quantise each query that probes it
        for 64 rows at a time, and for each of these queries
            products, and which rows may be near the bound
            each of those         asked whether the snapshot sees it
                                  its upper end may lower the bound

What `chunk` and `sq8` do for all rows in some thirty passes over arrays happens here while the
codes are in the processor's first cache, and the bound of the rows before leaves little to do for
the rows after.  The bound is the k-th smallest upper end so far, in a heap.  Errors are those of
`sq8`: only the first comparison is of its own, D'^2 > ((t + e_x + e_q) (1 + 2^-30))^2 in place of
D' - (e_x + e_q) > t, which drops fewer rows, as far as the slack reaches.  Sums are added in any
order, which all of these errors allow for.

Partitions are given by the addresses of their columns (`shelf`), so that a search costs nothing a
partition before the scan.  The interpreter lock is not held meanwhile.
"""

from typing import Any, Final

import numpy as np
from numba import carray, njit

from .shelf import CENTROID, CODES, ERRORS, FIELDS, ROWS, SQUARES, STEPS, VECTORS, VIDS
from .simd import STEP, dot, doubles_at, floats_at, integers_at, plain_dot, prefetch

AHEAD: Final = 2048
"""Bytes that are fetched ahead of the row that is multiplied."""

LINE: Final = 64
TILE: Final = 64
"""Rows multiplied before they are compared."""

BOUND, STEP_OF, LENGTH, ERROR, OFFSET, FLOOR, NORM, ROUNDING, DIMS = range(9)
"""What is known of the query and a partition: `begin`, `asked`."""

NUMBERS: Final = 9

STEPS_MAX: Final = 127.0
WIDENED: Final = 1 + 2.0**-30
SLACK: Final = 2.0**-22
CENTROID_SLACK: Final = 2.0**-40

compiled = njit(nogil=True, cache=True)
summing = njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})


@summing
def quantised(
    direction: Any, centroid: Any, residual: Any, codes: Any, magnitudes: Any
) -> tuple[float, float, float]:
    """Step, |codes| and error of a direction (d,) from a centroid (d,); see `sq8.quantised`.

    Overwrites the residual (d,) float64, the codes and the magnitudes int8, which are padded.
    """
    largest = 0.0
    for at in range(len(direction)):
        residual[at] = direction[at] - centroid[at]
        largest = max(largest, abs(residual[at]))
    step = np.float64(np.float32(largest / STEPS_MAX))
    inverse = 1.0 / step if step > 0 else 0.0
    length, error = 0.0, 0.0
    for at in range(len(direction)):
        code = min(STEPS_MAX, max(-STEPS_MAX, np.rint(residual[at] * inverse)))
        lost = residual[at] - code * step
        error += lost * lost
        length += code * code
        codes[at] = np.int8(code)
        magnitudes[at] = np.int8(abs(code))
    length, error = step * np.sqrt(length), np.sqrt(error)
    return step, length, error + SLACK * (error + length)


@summing
def product(one: Any, other: Any) -> float:
    """The product of two vectors (d,), float64."""
    total = 0.0
    for at in range(len(one)):
        total += one[at] * other[at]
    return total


@compiled
def multiply(codes: int, first: int, last: int, rows: int, dims: int, query: Any, out: Any) -> None:
    """Products of the rows from first to before last with a query: (2, padded) int8, to out.

    query: the codes, then their magnitudes.  A row whose last step would go past all the codes is
    multiplied one by one.
    """
    signs, sizes = query[0].ctypes.data, query[1].ctypes.data
    steps = query.shape[1] // STEP
    end = codes + rows * dims
    for row in range(first, last):
        start = codes + row * dims
        for line in range(0, dims, LINE):
            prefetch(start + AHEAD + line)
        if start + steps * STEP <= end:
            out[row - first] = dot(start, signs, sizes, steps)
        else:
            out[row - first] = plain_dot(start, signs, dims)


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


@compiled
def asked(
    is_dot: bool, direction: Any, centroid: Any, residual: Any, query: Any, numbers: Any
) -> None:
    """Quantise a direction (d,) for a partition, to query (2, padded) int8 and numbers (6,).

    The numbers: step, length and error of the codes, what the centroid adds to a product, what
    rounding adds to a margin, and the norm of the direction.  `numbers[ROUNDING]` is kept.
    """
    if not is_dot:
        step, length, error = quantised(direction, centroid, residual, query[0], query[1])
        numbers[STEP_OF], numbers[LENGTH], numbers[ERROR] = step, length, error + numbers[ROUNDING]
        return
    numbers[OFFSET] = product(direction, centroid)
    numbers[FLOOR] = CENTROID_SLACK * np.sqrt(product(centroid, centroid))


@compiled
def bracketed(
    is_dot: bool, columns: Any, first: int, last: int, dots: Any, numbers: Any, ends: Any
) -> None:
    """Middles and margins of the rows from first to before last, and what they exceed the bound by.

    columns: the partition's in the table; ends: float64 (3, TILE), middle (squared but for dot),
    margin, excess over `numbers[BOUND]`.
    """
    steps, squares = floats_at(columns[STEPS]), doubles_at(columns[SQUARES])
    errors = floats_at(columns[ERRORS])
    bound, step, error = numbers[BOUND], numbers[STEP_OF], numbers[ERROR]
    offset, floor, norm = numbers[OFFSET], numbers[FLOOR], numbers[NORM]
    square = numbers[LENGTH] * numbers[LENGTH]
    if is_dot:
        for at in range(last - first):
            row = first + at
            middle = -(steps[row] * step * dots[at]) - offset
            margin = errors[row] * norm + np.sqrt(squares[row]) * error + floor
            ends[0, at], ends[1, at], ends[2, at] = middle, margin, middle - margin - bound
        return
    for at in range(last - first):
        row = first + at
        middle = squares[row] + square - 2 * (steps[row] * step * dots[at])
        margin = error + errors[row]
        reach = (bound + margin) * WIDENED
        ends[0, at], ends[1, at], ends[2, at] = middle, margin, middle - reach * reach


@compiled
def seen(vid: int, high: int, lsn: int, ended: Any) -> bool:
    """Whether a snapshot sees a version; ended: its end LSN by vid, (0,) when none has ended.

    A file may lie about its versions, and nothing looks at the bounds of an array here.
    """
    if vid < 0 or vid >= high:
        return False
    return vid >= len(ended) or ended[vid] > lsn


@compiled
def collected(
    is_dot: bool,
    ends: Any,
    places: tuple[int, int],
    vids: Any,
    alive: Any,
    heap: Any,
    lower: Any,
    place: Any,
    vid: Any,
    found: int,
) -> int:
    """Add the rows of a tile that may be near to the found ones; -1 when there is no room.

    places: of the first row of the tile, and rows.
    """
    high, lsn, ended = alive
    for at in range(places[1]):
        if ends[2, at] > 0 or not seen(vids[at], high, lsn, ended):
            continue
        middle = ends[0, at] if is_dot else np.sqrt(max(0.0, ends[0, at]))
        if found == len(lower):
            found = kept(lower, place, vid, found, heap[0])
            if found > len(lower) // 2:
                return -1
        lower[found], place[found], vid[found] = middle - ends[1, at], places[0] + at, vids[at]
        found += 1
        if middle + ends[1, at] < heap[0]:
            lowered(heap, middle + ends[1, at])
    return found


@compiled
def tile(
    is_dot: bool,
    columns: Any,
    label: int,
    rows: tuple[int, int],
    query: Any,
    numbers: Any,
    alive: Any,
    heap: Any,
    found: tuple[Any, Any, Any],
    count: int,
    scratch: tuple[Any, Any],
) -> int:
    """Scan the rows from the first to before the second of a partition for a query.

    query, numbers: what `asked` made; scratch: dots int32 (TILE,) and ends float64 (3, TILE).
    Returns how many rows are found now, of `count` before; -1 if too many.
    """
    first, last = rows
    dots, ends = scratch
    lower, place, vid = found
    dims = np.int64(numbers[DIMS])
    multiply(columns[CODES], first, last, columns[ROWS], dims, query, dots)
    numbers[BOUND] = heap[0]
    bracketed(is_dot, columns, first, last, dots, numbers, ends)
    places = (np.int64(label) << 32 | first, last - first)
    vids = carray(integers_at(columns[VIDS]), columns[ROWS])[first:last]
    return collected(is_dot, ends, places, vids, alive, heap, lower, place, vid, count)


@compiled
def begin(is_dot: bool, direction: Any, rounding: float, query: Any, numbers: Any) -> None:
    """What is known of a query (d,) before the first partition."""
    numbers[NORM], numbers[ROUNDING] = np.sqrt(product(direction, direction)), rounding
    numbers[DIMS] = len(direction)
    if is_dot:
        residual, origin = np.empty(len(direction)), np.zeros(len(direction))
        asked(False, direction, origin, residual, query, numbers)


@compiled
def scan_alone(
    is_dot: bool,
    table: Any,
    labels: Any,
    direction: Any,
    query: Any,
    numbers: Any,
    alive: Any,
    heap: Any,
    found: tuple[Any, Any, Any],
) -> tuple[int, int]:
    """Scan partitions (p,) for one query, after `begin`: rows found, -1 if too many, and rows."""
    residual = np.empty(len(direction))
    scratch = np.empty(TILE, np.int32), np.empty((3, TILE))
    count, rows = 0, 0
    for label in labels:
        columns = table[label]
        if columns[ROWS]:
            rows += columns[ROWS]
            centroid = carray(doubles_at(columns[CENTROID]), len(direction))
            asked(is_dot, direction, centroid, residual, query, numbers)
        for first in range(0, columns[ROWS], TILE):
            some = first, min(columns[ROWS], first + TILE)
            count = tile(
                is_dot,
                columns,
                label,
                some,
                query,
                numbers,
                alive,
                heap,
                found,
                count,
                scratch,
            )
            if count < 0:
                return -1, rows
    return count, rows


@compiled
def scan_shared(
    is_dot: bool,
    table: Any,
    label: int,
    askers: Any,
    directions: Any,
    queries: Any,
    numbers: Any,
    alive: Any,
    heaps: Any,
    found: tuple[Any, Any, Any],
    counts: Any,
) -> bool:
    """Scan one partition for some queries (m,), a tile for all of them before the next.

    queries: int8 (q, 2, padded); numbers: (q, NUMBERS), both after `begin`; found: as in `scan`;
    counts: int64 (q, 2), changed.  Whether there was room.
    """
    columns, residual = table[label], np.empty(directions.shape[1])
    scratch = np.empty(TILE, np.int32), np.empty((3, TILE))
    lower, place, vid = found
    room = len(lower) // len(heaps)
    if not columns[ROWS]:
        return True
    centroid = carray(doubles_at(columns[CENTROID]), directions.shape[1])
    for query in askers:
        asked(is_dot, directions[query], centroid, residual, queries[query], numbers[query])
        counts[query, 1] += columns[ROWS]
    for first in range(0, columns[ROWS], TILE):
        some = first, min(columns[ROWS], first + TILE)
        for query in askers:
            mine = slice(query * room, (query + 1) * room)
            counts[query, 0] = tile(
                is_dot,
                columns,
                label,
                some,
                queries[query],
                numbers[query],
                alive,
                heaps[query],
                (lower[mine], place[mine], vid[mine]),
                counts[query, 0],
                scratch,
            )
            if counts[query, 0] < 0:
                return False
    return True


@compiled
def scan(
    is_dot: bool,
    table: Any,
    ranked: Any,
    asking: Any,
    directions: Any,
    rounding: float,
    alive: Any,
    heaps: Any,
    found: tuple[Any, Any, Any],
    counts: Any,
) -> int:
    """Rows whose brackets reach into the nearest k of queries (q, d) float64.

    table: int64 (nlist, FIELDS); ranked: int32 (q, p), partitions that each query probes first,
    alone; asking: int64 (m, 2), others and who probes them, ordered by partition, scanned for all
    of these together; rounding: what it adds to the error of a query; alive: the first vid the
    snapshot does not see, its LSN, the end LSN by vid, (0,) when none has ended; heaps: float64
    (q, k), all infinite, and then the k smallest upper ends.

    found: lower ends, places and vids, each (q times the room of one,), filled from the front,
    query after query, where place = partition << 32 | row; counts: int64 (q, 2) of zeros, rows
    found and rows there were.  Ends are of |x - q|, or of -x.q under dot.  Returns how many are
    found in all, -1 if there are too many.
    """
    q, dims = directions.shape
    queries = np.zeros((q, 2, (dims + STEP - 1) // STEP * STEP), np.int8)
    numbers = np.zeros((q, NUMBERS))
    lower, place, vid = found
    room = len(lower) // q
    for query in range(q):
        mine = slice(query * room, (query + 1) * room)
        begin(is_dot, directions[query], rounding, queries[query], numbers[query])
        counts[query] = scan_alone(
            is_dot,
            table,
            ranked[query],
            directions[query],
            queries[query],
            numbers[query],
            alive,
            heaps[query],
            (lower[mine], place[mine], vid[mine]),
        )
        if counts[query, 0] < 0:
            return -1
    start = 0
    while start < len(asking):
        until = start + 1
        while until < len(asking) and asking[until, 0] == asking[start, 0]:
            until += 1
        if not scan_shared(
            is_dot,
            table,
            asking[start, 0],
            asking[start:until, 1],
            directions,
            queries,
            numbers,
            alive,
            heaps,
            found,
            counts,
        ):
            return -1
        start = until
    return gathered(found, heaps, counts)


@compiled
def gathered(found: tuple[Any, Any, Any], heaps: Any, counts: Any) -> int:
    """Move what each query has found, and is still near, to the front; returns how many it is."""
    lower, place, vid = found
    room = len(lower) // len(heaps)
    total = 0
    for query in range(len(heaps)):
        start = query * room
        some = slice(start, start + room)
        left = kept(lower[some], place[some], vid[some], counts[query, 0], heaps[query, 0])
        for at in range(left):
            lower[total + at], place[total + at] = lower[start + at], place[start + at]
            vid[total + at] = vid[start + at]
        counts[query, 0] = left
        total += left
    return total


@compiled
def gather(table: Any, places: Any, out: Any, unread: Any) -> bool:
    """Write the vectors of rows at places (m,) to out (m, d), and which have none to unread (m,).

    Whether there are any that have none.
    """
    dims, lacks = out.shape[1], False
    for at in range(len(places)):
        columns = table[places[at] >> 32]
        unread[at] = columns[VECTORS] == 0
        lacks |= unread[at]
        if not unread[at]:
            start = (places[at] & 0xFFFFFFFF) * dims
            vectors = floats_at(columns[VECTORS])
            for value in range(dims):
                out[at, value] = vectors[start + value]
    return lacks


def warm() -> None:
    """Compile the scan for the types it is called with, or load it from numba's cache."""
    table, ranked = np.zeros((1, FIELDS), np.int64), np.zeros((1, 1), np.int32)
    alive = (1, 0, np.empty(0, np.int64))
    found = np.empty(1), np.empty(1, np.int64), np.empty(1, np.int64)
    asking, counts = np.empty((0, 2), np.int64), np.zeros((1, 2), np.int64)
    heaps = np.full((1, 1), np.inf)
    scan(False, table, ranked, asking, np.zeros((1, 1)), 0.0, alive, heaps, found, counts)
    gather(table, np.zeros(1, np.int64), np.empty((1, 1), np.float32), np.empty(1, np.bool_))
