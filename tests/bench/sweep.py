"""The sweep: what searches find and cost, by nprobe."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from centroidb import Table
from tests.bench import data
from tests.bench.latency import Latencies
from tests.bench.recall import K, Point, recall

NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 512)


@dataclass(frozen=True)
class Exam:
    """Queries, and the rows that their answers are judged by."""

    keys: NDArray[np.int64]
    """(n,), ascending."""
    vectors: NDArray[np.float32]
    """(n, dim)."""
    queries: NDArray[np.float32]
    """(q, dim)."""
    kth_distances: list[float]
    """The distance of the true K-th row of each query."""

    @classmethod
    def of(
        cls,
        keys: NDArray[np.int64],
        vectors: NDArray[np.float32],
        queries: NDArray[np.float32],
    ) -> "Exam":
        """With the true distances, from the cache if they are known."""
        _, distances = data.ground_truth(vectors, queries, K)
        return cls(keys, vectors, queries, distances[:, -1].tolist())

    def recall(self, number: int, ids: Sequence[int]) -> float:
        """What an answer to the query of this number is worth; unknown ids are worth nothing."""
        found = np.asarray(ids, np.int64)
        rows = np.searchsorted(self.keys, found).clip(max=len(self.keys) - 1)
        rows = rows[self.keys[rows] == found]
        return recall(self.queries[number], self.vectors[rows], self.kth_distances[number])


async def sweep(
    table: Table, exam: Exam, nprobes: Iterable[int] = NPROBES, *, index: str | None = None
) -> list[Point]:
    """Every query alone, at every nprobe."""
    return [await sweep_point(table, exam, nprobe, index=index) for nprobe in nprobes]


async def sweep_point(
    table: Table, exam: Exam, nprobe: int | None, *, index: str | None = None
) -> Point:
    """Mean recall and rows read, and the latencies, at one nprobe; at the default if None."""
    latencies, recalls, rows_read, probed = Latencies(), [], [], []
    for number, query in enumerate(exam.queries):
        with latencies.timed():
            hits = await table.search(query, k=K, nprobe=nprobe, index=index)
        recalls.append(exam.recall(number, hits.ids))
        rows_read.append(hits.rows_scanned)
        probed.append(hits.partitions_probed)
    return {
        "nprobe": float(np.max(probed)) if nprobe is None else nprobe,
        "recall": float(np.mean(recalls)),
        "rows_read": float(np.mean(rows_read)),
        **latencies.summary(),
    }
