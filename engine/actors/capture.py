"""Captured queries: a few of the vectors that each index is really searched for.

    searches   q1 q2 q3 ... q128 q129 ...            of one index, in their order
    kept       [ 128 of them, each of the last 4,096 as likely as another ]

A rebuild is judged by them (`rebuild.gate`): what users ask for need not look like the
rows. It is reservoir sampling (Vitter's algorithm R, 1985), but a query replaces another
with no less a chance than if there had been 4,096, so that old ones go as searches
change. They are kept in memory, and in the file now and then; a crash costs the newest.
"""

import random
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...wal import samples
from ...wal.types import IndexId
from ..storage.folding import Writer
from ..storage.indexes import IndexState

KEPT = 128
WINDOW = 4_096

Vectors = NDArray[np.float32]


class Captured:
    """The queries kept of one index. Offered to by searches, on the event loop."""

    def __init__(self, vectors: Iterable[Vectors] = ()) -> None:
        self._kept: list[Vectors] = list(vectors)[:KEPT]
        self._seen = len(self._kept)
        self._random = random.Random(0)
        self.changed = False
        """Whether the file knows less; cleared by whoever saves them."""

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, vectors: Vectors) -> None:
        """Perhaps keep some of these queries, float32 (q, d)."""
        for vector in vectors[:KEPT]:
            self._seen = min(self._seen + 1, WINDOW)
            place = len(self._kept) if len(self._kept) < KEPT else self._drawn()
            if place < KEPT:
                self._kept[place : place + 1] = [vector.copy()]
                self.changed = True

    def _drawn(self) -> int:
        return self._random.randrange(self._seen)

    def vectors(self, limit: int) -> Vectors:
        """Up to `limit` of them, float32 (n, d); (0, 0) if there are none."""
        return np.array(self._kept[:limit], np.float32) if self._kept else np.empty((0, 0), "<f4")

    def to_bytes(self) -> list[bytes]:
        """Each as the file has it."""
        return [vector.astype("<f4", copy=False).tobytes() for vector in self._kept]

    @classmethod
    def of_bytes(cls, stored: Iterable[bytes], dim: int) -> "Captured":
        """From the file; what has another length or is not finite is left out."""
        whole = [np.frombuffer(raw, "<f4") for raw in stored if len(raw) == 4 * dim]
        return cls([vector for vector in whole if np.isfinite(vector).all()])


async def save_captured(
    writer: Writer, captured: dict[IndexId, Captured], indexes: dict[IndexId, IndexState]
) -> None:
    """Write down what was captured since the last time, an index at a time."""
    for index, queries in list(captured.items()):
        if queries.changed and index in indexes:
            queries.changed = False
            stored = queries.to_bytes()
            await writer.write(lambda c: samples.replace(c, index, stored))  # noqa: B023 - at once
