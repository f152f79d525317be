"""The gate of a rebuild: would the new generation find as much as the old one, for the same work?

Recall at a fixed nprobe compares nothing, since partitions differ in number and size.  So both
generations get the same budget of rows to read, and read partitions in the order in which they
would probe them.  No search is needed: a true neighbour is found if its partition is read, and if
the budget ends within a partition, then in proportion to the part that is read.

Both generations are asked the same queries, so the differences are taken query by query: how hard a
query is drops out, and a few hundred of them show a difference of one percent.
"""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles

QUERIES: Final = 100
"""How many are asked."""

CONFIDENCE: Final = 1.96
"""Standard errors to either side of a mean that hold the truth in 95 of 100 cases."""


def recall_at_budget(
    homes: NDArray[np.int32],
    ranking: NDArray[np.int32],
    sizes: NDArray[np.int64],
    rows_budget: int,
) -> Doubles:
    """Recall (q,) of each query after `rows_budget` rows.

    `homes` (q, k) are the partitions of the true neighbours, -1 where there are fewer than k;
    `ranking` (q, nlist) are all partitions, best first, and `sizes` (nlist,) their rows.
    A query without any true neighbour has found all of them.
    """
    ordered = sizes[ranking]
    before = np.cumsum(ordered, axis=1) - ordered
    parts = np.clip((rows_budget - before) / np.maximum(ordered, 1), 0.0, 1.0)
    read = np.empty(ranking.shape)
    np.put_along_axis(read, ranking, parts, axis=1)
    found = np.where(homes >= 0, np.take_along_axis(read, np.maximum(homes, 0), axis=1), 0.0)
    known = (homes >= 0).sum(axis=1)
    recall: Doubles = np.where(known > 0, found.sum(axis=1) / np.maximum(known, 1), 1.0)
    return recall


def recall_at_probes(homes: NDArray[np.int32], ranking: NDArray[np.int32], nprobe: int) -> float:
    """The share of the true neighbours that are in the `nprobe` best partitions of their query.

    `homes` and `ranking` as in `recall_at_budget`; 1 when there are no neighbours.
    """
    probed = (homes[:, :, None] == ranking[:, None, :nprobe]).any(axis=2)
    known = int((homes >= 0).sum())
    return int(probed.sum()) / known if known else 1.0


def rows_to_reach(
    homes: NDArray[np.int32], ranking: NDArray[np.int32], sizes: NDArray[np.int64], share: float
) -> int:
    """The smallest budget of rows after which the mean recall is at least `share`.

    The others as in `recall_at_budget`. Found by halving, as recall grows with the budget.
    """
    low, high = 0, int(sizes.sum())
    while low < high:
        middle = (low + high) // 2
        if recall_at_budget(homes, ranking, sizes, middle).mean() >= share:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a new generation compares with an old one."""

    queries: int
    recall_old: float
    recall_new: float
    difference: float
    """mean of new - old"""
    low: float
    high: float
    """its 95 % confidence interval; infinite for fewer than two queries"""
    tolerance: float

    @property
    def passed(self) -> bool:
        """False if the new one is worse by more than the tolerance, and not by chance."""
        return self.high >= -self.tolerance

    @classmethod
    def of(cls, old: Doubles, new: Doubles, tolerance: float) -> Self:
        """From the recalls (q,) of the same queries, at least one."""
        differences = new - old
        error = math.inf
        if len(differences) > 1:
            error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        mean = float(differences.mean())
        return cls(
            queries=len(differences),
            recall_old=float(old.mean()),
            recall_new=float(new.mean()),
            difference=mean,
            low=mean - CONFIDENCE * error,
            high=mean + CONFIDENCE * error,
            tolerance=tolerance,
        )


def verdict(old: Doubles, new: Doubles, tolerance: float = 0.01) -> Verdict:
    """Compare recalls (q,) of two generations for the same queries, at the same rows read."""
    return Verdict.of(old, new, tolerance)
