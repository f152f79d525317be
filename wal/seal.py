"""Which segments of a generation count.

    segments   1  2  3  5  8     9  11
    seal       last 8, sum of 1 2 3 5 8     9 and 11 are staged by something unfinished

The sum is over `hash(id, rows)` of the segments that count. A search asks for
those it finds in the file; should one be gone, they do not add up to the seal,
and the generation is not used.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from .checksum import RowSum
from .types import SegmentId

_NO_SEGMENT = SegmentId(0)
_NO_SUM = RowSum()


@dataclass(frozen=True)
class SegmentRef:
    """Where a segment is, without its bytes."""

    id: SegmentId
    centroid: int
    n: int
    nbytes: int


@dataclass(frozen=True)
class Seal:
    """See the module; at first no segment counts."""

    last: SegmentId = _NO_SEGMENT
    sum: RowSum = _NO_SUM

    def changed(
        self, added: Collection[SegmentRef], removed: Collection[SegmentRef] = ()
    ) -> "Seal":
        """The seal once `added` count too, and `removed` no longer."""
        last = max([self.last, *(ref.id for ref in added)])
        return Seal(last, self.sum + _sum_of(added) - _sum_of(removed))

    def holds(self, refs: Collection[SegmentRef]) -> bool:
        """Whether these are the segments that count."""
        return _sum_of(refs) == self.sum


def _sum_of(refs: Collection[SegmentRef]) -> RowSum:
    ids = np.array([ref.id for ref in refs], dtype=np.int64)
    return RowSum.of(ids, np.array([ref.n for ref in refs], dtype=np.int64))
