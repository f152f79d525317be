"""Captured queries: a few of the vectors that each index is really searched for.

    searches   q1 q2 q3 ... q128 q129 ...            of one index, in their order
    kept       [ 128 of them, each of the last 4,096 as likely as another ]

A rebuild is judged by them (`rebuild.gate`): what users ask for need not look like the
rows. It is reservoir sampling (Vitter's algorithm R, 1985), but a query replaces another
with no less a chance than if there had been 4,096, so that old ones go as searches
change. They are kept in memory, and in the file now and then; a crash costs the newest.
"""

import logging
import random
import sqlite3
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...wal import samples
from ...wal.types import IndexId
from ..storage.folding import Writer

log = logging.getLogger(__name__)

KEPT = 128
WINDOW = 4_096

Vectors = NDArray[np.float32]
Work = Callable[[sqlite3.Connection], None]


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
        return int(self._random.random() * self._seen)

    def vectors(self, limit: int) -> Vectors:
        """Up to `limit` of them, float32 (n, d); (0, 0) if there are none."""
        return np.array(self._kept[:limit], np.float32) if self._kept else np.empty((0, 0), "<f4")

    def to_bytes(self) -> list[bytes]:
        """Each as the file has it."""
        return [vector.astype("<f4", copy=False).tobytes() for vector in self._kept]

    @classmethod
    def of_bytes(cls, stored: Iterable[bytes], dim: int) -> "Captured":
        """From the file; what has another length or is not finite is left out, and logged."""
        stored = list(stored)
        whole = [np.frombuffer(raw, "<f4") for raw in stored if len(raw) == 4 * dim]
        sound = [vector for vector in whole if np.isfinite(vector).all()]
        if len(sound) < len(stored):
            damaged = len(stored) - len(sound)
            log.warning("%d captured queries are no vectors of %d dims: left out", damaged, dim)
        return cls(sound)


async def save_captured(
    writer: Writer, captured: dict[IndexId, Captured], index: IndexId, *, slice_bytes: int
) -> None:
    """Write down what was captured of an index since the last time, a slice at a time.

    What could not be written is written the next time. Nothing is when the index is dropped
    meanwhile, since a drop removes its entry from `captured`.
    """
    queries = captured.get(index)
    if queries is None or not queries.changed:
        return
    queries.changed = False
    try:
        for number, vectors in enumerate(_slices(queries.to_bytes(), slice_bytes)):
            put = samples.append if number else samples.replace
            work = partial(put, index=index, vectors=vectors)
            await writer.do(partial(_unless_gone, captured, index, queries, work), _done)
    except BaseException:
        queries.changed = True
        raise


def _slices(vectors: list[bytes], slice_bytes: int) -> list[list[bytes]]:
    """All of one length."""
    step = max(1, slice_bytes // len(vectors[0]))
    return [vectors[at : at + step] for at in range(0, len(vectors), step)]


def _unless_gone(
    captured: dict[IndexId, Captured], index: IndexId, queries: Captured, work: Work
) -> Work:
    """In the turn of the write: rows of an index that is gone would outlive it."""
    return work if captured.get(index) is queries else _done


def _done(_: object) -> None:
    """Nothing is left to do."""
