"""The keys of rows without payloads, in memory: an answer of them needs no read of the file.

    vid     0     1     2     3     4
    key    17   None    4   None   99          None: not known, or the row has a payload

They come in with the vectors of their rows. A row version never changes, so a key that is known
stays right; what they take is part of the cache's budget, at most a share of it.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...wal.types import Key, TableId

POINTER_BYTES = 8

Column = NDArray[Any]
"""Objects by vid: a key, or None."""


class Keys:
    """Those of all tables, the least recently used of which go first. Safe in any thread."""

    def __init__(self, claim: Callable[[int], bool]) -> None:
        self._claim = claim
        """Takes so many bytes of a budget, or gives them back; False where there is no room."""
        self._guard = threading.Lock()
        """Guards the fields below."""
        self._columns: OrderedDict[TableId, tuple[Column, int]] = OrderedDict()
        """With the bytes that each has claimed."""

    def of(self, table: TableId, vids: NDArray[np.int64]) -> list[Key | None]:
        """The keys of row versions, None for those that are not known."""
        with self._guard:
            known = self._columns.get(table)
            if known is not None:
                self._columns.move_to_end(table)
        if known is None:
            return [None] * len(vids)
        try:
            found: list[Key | None] = known[0][vids].tolist()
        except IndexError:  # of rows that have come since
            return [None] * len(vids)
        return found

    def learn(self, table: TableId, vids: NDArray[np.int64], keys: Sequence[Key | None]) -> None:
        """Remember keys, if there is room."""
        if not len(vids):
            return
        with self._guard:
            column, claimed = self._columns.pop(table, (np.empty(0, object), 0))
            longer = _reaching(column, int(vids.max()) + 1)
            more = POINTER_BYTES * (len(longer) - len(column))
            more += sum(map(sys.getsizeof, _fresh(longer[vids].tolist(), keys)))
            while not self._claim(more):
                if not self._columns:
                    self._columns[table] = column, claimed
                    return
                self._claim(-self._columns.popitem(last=False)[1][1])
            longer[vids] = np.array(keys, dtype=object)
            self._columns[table] = longer, claimed + more


def _fresh(known: Sequence[Key | None], keys: Sequence[Key | None]) -> Iterator[Key]:
    """Those of the keys that were not known; a partition may come in again."""
    for before, key in zip(known, keys, strict=True):
        if before is None and key is not None:
            yield key


def _reaching(column: Column, size: int) -> Column:
    """A column with at least so many places; who reads the old one misses what comes."""
    if size <= len(column):
        return column
    longer = np.empty(max(size, 2 * len(column)), object)
    longer[: len(column)] = column
    return longer
