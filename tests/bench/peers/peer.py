"""What a bench asks of another system: one table of keys and vectors, its calls blocking."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
Vectors = NDArray[np.float32]


class Peer:
    """A table; a bench calls only what the system can do."""

    def session(self) -> Self:
        """What another thread uses: the same handle, unless threads need their own."""
        return self

    def fill(self, keys: Keys, vectors: Vectors) -> None:
        """Insert many rows, durably if the system can."""
        raise NotImplementedError

    def insert(self, key: int, vector: NDArray[np.float32]) -> None:
        """Insert one row as one transaction."""
        self.fill(np.array([key]), vector[None, :])

    def delete(self, keys: Keys) -> None:
        """Delete many rows."""
        raise NotImplementedError

    def index(self, nlist: int) -> float | None:
        """Make the index on the rows, of as many partitions if it has any.

        Gives the seconds, where they are not those of the call.
        """
        return None

    def rebuild(self) -> None:
        """Make the index anew, while others read and write."""
        raise NotImplementedError

    def search(self, query: NDArray[np.float32], effort: int) -> Sequence[int]:
        """The keys of the K nearest rows that the effort finds: an nprobe, or an ef."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave in the folder all that opening it again needs."""

    def processes(self) -> list[int]:
        """Process ids of its own, besides the one that calls it."""
        return []
