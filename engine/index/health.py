"""How well an index fits its rows, in a few numbers."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from ...wal.types import GenerationId


def imbalance(sizes: ArrayLike) -> float:
    """What uneven partitions of these sizes (nlist,) cost: nlist * sum(n_i^2) / n^2.

    It is the size of the partition that a row is in, on average over the rows, relative to the mean
    size of a partition: 1 when all are of one size, nlist when one holds everything, and 1 when
    there are no rows.
    """
    counts = np.asarray(sizes, dtype=np.float64)
    rows = counts.sum()
    return float(len(counts) * np.square(counts).sum() / rows**2) if rows else 1.0


def drift(now: float, at_build: float) -> float:
    """Mean distance of a row to its centroid, relative to what it was when the index was built.

    Above 1 the rows have moved away from the centroids.  Where every row was its own centroid,
    any distance at all is infinite drift.
    """
    if at_build > 0:
        return now / at_build
    return 1.0 if now == 0 else float("inf")


@dataclass(frozen=True, slots=True)
class PartitionSizes:
    """How the rows of an index spread over its partitions."""

    nlist: int
    rows: int
    empty: int
    """partitions without a row"""
    p50: float
    p95: float
    """rows of the median partition, and of one larger than 95 in 100"""
    largest: int
    imbalance: float

    @classmethod
    def of(cls, sizes: ArrayLike) -> Self:
        """From the rows of each partition (nlist,), at least one partition."""
        counts = np.asarray(sizes, dtype=np.int64)
        p50, p95 = np.percentile(counts, (50, 95)).tolist()
        return cls(
            nlist=len(counts),
            rows=int(counts.sum()),
            empty=int((counts == 0).sum()),
            p50=p50,
            p95=p95,
            largest=int(counts.max()),
            imbalance=imbalance(counts),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a sample of queries said about a generation.

    recall: share of the 10 nearest rows that a search finds by default; queries: of how
    many; cost: share of the rows, in the order they are probed, that holds 95 % of them.
    """

    generation: GenerationId
    recall: float
    queries: int
    cost: float
