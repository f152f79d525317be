"""When each row version ended: the one place that knows a row is gone.

    vid     1    2    3    4    5    6    7
    end     -    9    -    -    12   -    -        "-" is ALIVE, later than any LSN

A snapshot at LSN 10 sees 1, 3, 4, 5, 6, 7 of these (as far as they were born):
2 ended before it, 5 after. One gather and one comparison answer for any number
of vids, so visibility costs a scan about a nanosecond a row.

The array is written on the event loop only, before the LSN of the death is
published, and read by worker threads without a lock: a reader's snapshot is
older than any death written while it reads, and ALIVE and a later LSN answer
the same to it. When the array grows, readers keep the old one.

A purged version stays ended here for as long as the process runs.
"""

from collections import deque
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from ..wal.types import Lsn, Vid

ALIVE = np.iinfo(np.int64).max
_CAPACITY_MIN = 1_024


class Deaths:
    """The end LSN of each version of one table. Owned by the Committer's publishing."""

    def __init__(self, high: Vid) -> None:
        self.ends: NDArray[np.int64] = np.full(max(_CAPACITY_MIN, high), ALIVE)
        """end LSN by vid, int64; at least as long as the highest vid published."""
        self._stored: deque[tuple[Lsn, NDArray[np.int64]]] = deque()
        """(end LSN, vids) of ended versions that the file still holds, in LSN order."""
        self.count_stored = 0
        """How many versions that is."""
        self._any_ended = False
        """Whether a death was ever recorded."""
        self.purged_until = Lsn(0)
        """Versions that ended at or before may be gone from the file: nothing may list them."""

    def reserve(self, high: Vid) -> None:
        """Make room for all vids below `high`."""
        if high > len(self.ends):
            grown = np.full(max(high, 2 * len(self.ends)), ALIVE)
            grown[: len(self.ends)] = self.ends
            self.ends = grown

    def record(self, vids: NDArray[np.int64], lsn: Lsn) -> None:
        """These versions ended at `lsn`."""
        if len(vids):
            self.ends[vids] = lsn
            self._any_ended = True
            self._stored.append((lsn, vids))
            self.count_stored += len(vids)

    def load(self, vids: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Take over what the file holds, at open."""
        order = np.argsort(ends, kind="stable")
        lsns, starts = np.unique(ends[order], return_index=True)
        for lsn, group in zip(lsns.tolist(), np.split(vids[order], starts[1:]), strict=False):
            self.record(np.sort(group), Lsn(lsn))

    def stored_until(self, horizon: Lsn) -> NDArray[np.int64]:
        """Versions that ended at or before `horizon` and are still in the file, ascending."""
        below = [vids for _, vids in takewhile(lambda entry: entry[0] <= horizon, self._stored)]
        return np.sort(np.concatenate(below)) if below else np.empty(0, np.int64)

    def can_purge(self, horizon: Lsn, enough: int) -> bool:
        """Whether at least `enough` are stored, and the oldest of them ended by `horizon`."""
        return self.count_stored >= enough and self._stored[0][0] <= horizon

    def visibility(self, high: Vid, lsn: Lsn) -> "Visibility":
        """What a snapshot at `lsn` sees of versions below `high`."""
        return Visibility(high, lsn, self.ends if self._any_ended else None)

    def listable(self, vids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which versions a stored segment may list, bool (n,): those not being purged."""
        mask: NDArray[np.bool_] = self.ends[vids] > self.purged_until
        return mask

    def forget_until(self, horizon: Lsn) -> None:
        """The versions of `stored_until` are no longer in the file."""
        while self._stored and self._stored[0][0] <= horizon:
            _, vids = self._stored.popleft()
            self.count_stored -= len(vids)


class Visibility:
    """Which row versions of a table one snapshot sees. Immutable; safe in any thread."""

    def __init__(
        self,
        high: Vid,
        lsn: Lsn,
        ends: NDArray[np.int64] | None,
        excluded: NDArray[np.int64] | None = None,
    ) -> None:
        """`ends` as in `Deaths`; None when nothing has ended yet, which is quicker to answer."""
        self.high = high
        self.lsn = lsn
        self._ends = ends
        self._excluded = excluded

    def __call__(self, vids: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """The mask of visible rows, bool (n,); None when all are. vids: int64 (n,), any order."""
        if not len(vids):
            return None
        born = None
        if vids.max() >= self.high:
            born = vids < self.high
            vids = np.where(born, vids, 0)  # a later vid may lie beyond this array
        conditions = [] if born is None else [born]
        if self._ends is not None:
            conditions.append(self._ends[vids] > self.lsn)
        if self._excluded is not None:
            conditions.append(~np.isin(vids, self._excluded))
        if not conditions:
            return None
        mask: NDArray[np.bool_] = np.logical_and.reduce(conditions)
        return None if mask.all() else mask

    def alive(self) -> tuple[Vid, Lsn, NDArray[np.int64]] | None:
        """What a row is seen by: the first vid that is not, the LSN, and the end LSN by vid.

        (0,) when nothing has ended; None when rows are excluded, which only a mask can say.
        """
        if self._excluded is not None:
            return None
        return (self.high, self.lsn, np.empty(0, np.int64) if self._ends is None else self._ends)

    def batch_key(self) -> tuple[int, ...]:
        """Equal for two that answer alike; one that excludes rows is only like itself."""
        return (self.high, self.lsn, id(self) if self._excluded is not None else 0)

    def excluding(self, vids: NDArray[np.int64]) -> "Visibility":
        """The same, but these versions are hidden: a transaction has written over them."""
        return Visibility(self.high, self.lsn, self._ends, vids)
