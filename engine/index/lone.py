"""A query that is alone, from its ranks to its distances in one call of the kernels.

    rank      the partitions it probes, nearest first              `exact`
    look up   whether all of them are on the shelf                 here
    scan      which of their rows may be among the nearest         `fused`
    measure   how far these are                                    `exact`

Between two calls of kernels there are 20 to 60 us of Python and numpy, and where few partitions are
enough a search takes no longer than that.  Rows without codes are all measured, and the nearest are
kept in a heap: a product in float32 would spare little of that in few dimensions.
"""

from typing import Any

from numba import carray

from . import native
from .exact import FLOAT_BYTES, distance, heaped, heapify, measure, put_in_order, rank
from .fused import scan, seen
from .shelf import FIELDS, ROWS, VECTORS, VIDS
from .simd import compiled, counts_at, doubles_at, integers_at


@compiled
def is_there(columns: Any, plain: int, whole: int) -> bool:
    """Whether a partition is on the shelf, with codes but for plain ones, with vectors if whole.

    Another thread may put it there meanwhile: see `shelf`.
    """
    if columns[ROWS] <= 0:
        return columns[ROWS] == 0
    for at in range(ROWS):
        if columns[at] == 0 and (at == VIDS or not plain):
            return False
    return columns[VECTORS] != 0 or not (plain or whole)


@compiled
def found_all(table: Any, ranked: Any, asking: Any, plain: int, whole: int) -> bool:
    """Ask for the partitions ranked (p,), and say whether all are there; asking: (p, 2)."""
    for at in range(len(ranked)):
        label = ranked[at]
        if not is_there(table[label], plain, whole):
            return False
        asking[at, 0], asking[at, 1] = label, 0
    return True


@compiled
def measure_all(arguments: int, table: Any, ranked: Any) -> int:
    """Measure all rows of the partitions ranked (p,); leaves the k nearest, in order."""
    given = integers_at(arguments)
    metric, dims = given[native.METRIC], given[native.DIMS]
    ended = carray(integers_at(given[native.ENDED_AT]), given[native.ENDED])
    distances = carray(doubles_at(given[native.MEASURED_AT]), given[native.NEAREST])
    nearest = carray(integers_at(given[native.VID_AT]), given[native.NEAREST])
    scanned, count = 0, 0
    for label in ranked:
        columns = table[label]
        vids = integers_at(columns[VIDS])
        scanned += columns[ROWS]
        for row in range(columns[ROWS]):
            if seen(vids[row], given[native.HIGH], given[native.LSN], ended):
                vector = columns[VECTORS] + row * dims * FLOAT_BYTES
                value = distance(metric, vector, given[native.DIRECTIONS_AT], dims)
                count = heaped(distances, nearest, value, vids[row], count)
    integers_at(given[native.COUNTS_AT])[1] = scanned
    if count < len(nearest):
        heapify(distances[:count], nearest[:count])
    put_in_order(distances[:count], nearest[:count])
    return count


@compiled
def alone(arguments: int) -> int:
    """See `native`; how many rows are left, `SOME_UNREAD` more where some have no vectors.

    -1 where there is no room for them, `ABSENT` where a partition is not there.
    """
    given = integers_at(arguments)
    nprobe, plain = given[native.PROBED], given[native.PLAIN]
    rank(arguments)
    table = carray(integers_at(given[native.TABLE_AT]), (given[native.NLIST], FIELDS))
    ranked = carray(counts_at(given[native.RANKED_AT]), nprobe)
    asking = carray(integers_at(given[native.ASKING_AT]), (nprobe, 2))
    if not found_all(table, ranked, asking, plain, given[native.WHOLE]):
        return native.ABSENT
    if plain:
        return measure_all(arguments, table, ranked)
    left = scan(arguments)
    if left < 0 or left > given[native.LIMIT]:
        return left
    given[native.LEFT] = left
    if measure(arguments):
        return left + native.SOME_UNREAD
    distances = carray(doubles_at(given[native.MEASURED_AT]), left)
    vids = carray(integers_at(given[native.VID_AT]), left)
    heapify(distances, vids)
    put_in_order(distances, vids)
    return left
