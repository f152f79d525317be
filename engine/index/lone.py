"""A query that is alone, from its ranks to its distances in one call of the kernels.

    rank      the partitions it probes, nearest first              `exact`
    look up   whether all of them are on the shelf                 here
    scan      which of their rows may be among the nearest         `fused`
    measure   how far these are                                    `exact`

Between two calls of kernels there are 20 to 60 us of Python and numpy, and where few partitions are
enough a search takes no longer than that.
"""

from typing import Any

from numba import carray

from . import native
from .exact import measure, rank
from .fused import scan
from .shelf import FIELDS, ROWS, VECTORS
from .simd import compiled, counts_at, integers_at


@compiled
def is_there(columns: Any, whole: int) -> bool:
    """Whether a partition is on the shelf, with its vectors if it is to be whole.

    Another thread may put it there meanwhile: see `shelf`.
    """
    if columns[ROWS] <= 0:
        return columns[ROWS] == 0
    for at in range(ROWS):
        if columns[at] == 0:
            return False
    return columns[VECTORS] != 0 or not whole


@compiled
def found_all(table: Any, ranked: Any, asking: Any, whole: int) -> bool:
    """Ask for the partitions ranked (p,), and say whether all are there; asking: (p, 2)."""
    for at in range(len(ranked)):
        label = ranked[at]
        if not is_there(table[label], whole):
            return False
        asking[at, 0], asking[at, 1] = label, 0
    return True


@compiled
def alone(arguments: int) -> int:
    """See `native`; how many rows are left, `SOME_UNREAD` more where some have no vectors.

    -1 where there is no room for them, `ABSENT` where a partition is not there.
    """
    given = integers_at(arguments)
    nprobe = given[native.PROBED]
    rank(arguments)
    table = carray(integers_at(given[native.TABLE_AT]), (given[native.NLIST], FIELDS))
    ranked = carray(counts_at(given[native.RANKED_AT]), nprobe)
    asking = carray(integers_at(given[native.ASKING_AT]), (nprobe, 2))
    if not found_all(table, ranked, asking, given[native.WHOLE]):
        return native.ABSENT
    left = scan(arguments)
    if left < 0 or left > given[native.LIMIT]:
        return left
    given[native.LEFT] = left
    return left + native.SOME_UNREAD * measure(arguments)
