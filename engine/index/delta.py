"""What a generation learnt since its last fold, row after row, in memory.

    vids         12   13   15   16   20   21  |  room to grow
    partition     7    2    7    0    7    3  |
    vectors      ==   ==   ==   ==   ==   ==  |
                 <----- a view: the first n ->

Rows are only ever appended, in vid order, so a prefix never changes: a search
pins one by remembering its length. When the buffers grow, older views keep the
buffers they have.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS_MIN = 256


@dataclass(frozen=True)
class DeltaView:
    """A prefix of a delta.

    vids: int64 (n,) ascending; centroids: int32 (n,); crcs: uint32 (n,);
    distances: float64 (n,), squared, to the centroid; vectors: float32 (n, d).
    """

    vids: NDArray[np.int64]
    centroids: NDArray[np.int32]
    crcs: NDArray[np.uint32]
    distances: NDArray[np.float64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.vids)

    def head(self, n: int) -> "DeltaView":
        """Its first `n` rows."""
        return DeltaView(
            self.vids[:n],
            self.centroids[:n],
            self.crcs[:n],
            self.distances[:n],
            self.vectors[:n],
        )

    def since(self, start: int) -> "DeltaView":
        """Its rows from position `start` on."""
        return DeltaView(
            self.vids[start:],
            self.centroids[start:],
            self.crcs[start:],
            self.distances[start:],
            self.vectors[start:],
        )

    def where(self, mask: NDArray[np.bool_]) -> "DeltaView":
        """The rows where `mask`, bool (n,), holds."""
        return self if mask.all() else DeltaView(*(column[mask] for column in vars(self).values()))

    def of_centroids(self, wanted: NDArray[np.int32]) -> NDArray[np.intp]:
        """Positions of the rows in any of the partitions `wanted`, ascending."""
        return np.flatnonzero(np.isin(self.centroids, wanted))


class Delta:
    """The buffers. Written by one actor at a time, on the event loop."""

    def __init__(self, dim: int) -> None:
        self._rows = DeltaView(
            np.empty(0, np.int64),
            np.empty(0, np.int32),
            np.empty(0, np.uint32),
            np.empty(0, np.float64),
            np.empty((0, dim), np.float32),
        )
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, rows: DeltaView) -> None:
        """Add rows whose vids are above all that are here."""
        assert not len(rows) or not self._n or rows.vids[0] > self._rows.vids[self._n - 1]
        end = self._n + len(rows)
        if end > len(self._rows):
            self._grow(end)
        for name, column in vars(rows).items():
            getattr(self._rows, name)[self._n : end] = column
        self._n = end

    def _grow(self, n: int) -> None:
        size = max(n, 2 * len(self._rows), _ROWS_MIN)
        columns = {}
        for name, old in vars(self._rows).items():
            columns[name] = np.empty((size, *old.shape[1:]), old.dtype)
            columns[name][: self._n] = old[: self._n]
        self._rows = DeltaView(**columns)

    def view(self) -> DeltaView:
        """All rows so far."""
        return self._rows.head(self._n)

    def without_first(self, n: int) -> "Delta":
        """A delta of its own with the rows after the first `n`, which were folded."""
        rest = Delta(self._rows.vectors.shape[1])
        rest.append(self.view().since(n))
        return rest
