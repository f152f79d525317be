"""Reorganizing: mend the few partitions that went wrong, and leave the others as they are.

    sizes      40  52   0  47 310   3  44        mean 71: one is overgrown, two starve
    changes    . . .  give up 2 and 5, split 4 into four
    numbers     0   1 [2]  3 [4] [5]  6          2, 4 and 5 are free; new ones take them, and 7
    rows       those of 2, 4, 5: to the nearest centroid there is now
               those of the neighbours of the new ones: to a new one, if it is nearer

Centroids that stay do not move, so the codes of rows that stay are as they were.  A row beside a
changed border may be nearer to a new centroid than to its own: the rows of the partitions around
are looked at again, which is the condition that keeps SPFresh's LIRE near a full assignment (Xu et
al., SOSP 2023); to weigh partitions by what they cost, and to split and merge by that, is Quake's
(Mohoney et al., OSDI 2025).  A partition that is given up loses its centroid, and nobody else's
row can be the nearer for it: only its own rows move.

Numbers stay dense.  A number whose centroid changed has a new set of rows from the ground up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from .arrays import Floats, Indices, Labels
from .centroids import CentroidSearch, ExactSearch
from .distance import Metric, index_space, squared_differences
from .kmeans import KMeans

OVERGROWN: Final = 2.0
STARVING: Final = 0.25
"""Sizes, relative to the mean, beyond which a partition is split or given up."""

NEIGHBOURS: Final = 16
"""Partitions around each new centroid whose rows are looked at again."""

SAMPLES_A_PIECE: Final = 100
"""Rows that the k-means of a split sees, for each piece."""


@dataclass(frozen=True, slots=True)
class Change:
    """A partition to split into so many pieces, or to give up, with 0 of them."""

    partition: int
    pieces: int


def plan(sizes: ArrayLike, limit: int | None = None) -> list[Change]:
    """What to change in partitions of these sizes (nlist,), the worst first, at most `limit`.

    The worse, the farther a size is from the mean: all that are overgrown come before those that
    starve.  Nothing is wrong with partitions that hold no rows at all.
    """
    counts = np.asarray(sizes, dtype=np.float64)
    if not counts.sum():
        return []
    shares = counts / counts.mean()
    wrong = np.flatnonzero((shares > OVERGROWN) | (shares < STARVING))
    worst = wrong[np.argsort(-np.abs(shares[wrong] - 1), kind="stable")][:limit]
    pieces = np.where(shares > OVERGROWN, np.rint(shares), 0).astype(int)
    return [Change(each, int(pieces[each])) for each in worst.tolist()]


def expected_rows(change: Change, mean: float) -> int:
    """About how many rows are to be looked at for a change, in partitions of `mean` rows."""
    partitions = change.pieces + NEIGHBOURS if change.pieces else 1
    return math.ceil(partitions * mean)


def fitting(changes: Sequence[Change], mean: float, rows_max: int) -> Sequence[Change]:
    """The first of the changes, at least one, for which about `rows_max` rows are to be seen."""
    rows = np.cumsum([expected_rows(change, mean) for change in changes])
    return changes[: max(1, int(np.searchsorted(rows, rows_max, side="right")))]


def split(sample: Floats, pieces: int, seed: int) -> Floats:
    """Centroids (m, d) that share out the rows of a sample (n, d) in index space.

    m is at most `pieces`, and fewer than 2 where the rows can not be told apart.
    """
    if len(sample) < 2:
        return sample[:0]
    means = KMeans(sample, min(pieces, len(sample)), seed=seed)
    while not means.done:
        means.advance([means.partial(block) for block in means.blocks()])
    labels, _ = ExactSearch("l2", means.centroids).assign(sample)
    return means.centroids[np.unique(labels)]


@dataclass(frozen=True, eq=False)
class Layout:
    """The centroids before and after, and where rows belong now.

    Make it with `laid_out`.
    """

    before: Floats
    """(nlist before, d)"""
    centroids: Floats
    """(nlist, d)"""
    numbers: Labels
    """(nlist before,): the number that a partition has now; -1 for one that is no more"""
    added: Labels
    """(a,): the numbers of the new centroids, ascending"""

    @property
    def renumbered(self) -> Indices:
        """Partitions that stay under another number, by their old ones, ascending."""
        others = self.numbers != np.arange(len(self.numbers))
        return np.flatnonzero(others & (self.numbers >= 0))

    @property
    def given_up(self) -> Indices:
        """Partitions that are no more, ascending."""
        return np.flatnonzero(self.numbers < 0)

    def neighbours(self) -> Indices:
        """Partitions, by their old numbers, whose rows may be nearer to a new centroid."""
        kept = np.flatnonzero(self.numbers >= 0)
        if not len(kept) or not len(self.added):
            return kept[:0]
        around = ExactSearch("l2", self.before[kept])
        return kept[np.unique(around.rank(self.centroids[self.added], NEIGHBOURS))]

    def assign(
        self, metric: Metric, search: CentroidSearch, vectors: Floats, old: Labels
    ) -> tuple[Labels, float]:
        """The partition (n,) now of rows (n, d) as given, whose partitions were `old` (n,).

        `search` is over the new centroids; it is asked for rows whose partition is no more.
        Others move only to a new centroid that is nearer than their own.  Also by how much their
        distances to their centroids, summed up, have grown; it is below 0 as a rule.
        """
        rows = index_space(metric, vectors)
        numbers, squares = self.numbers[old], squared_differences(rows, self.before[old])
        distances_before = float(np.sqrt(squares).sum())
        lost = np.flatnonzero(numbers < 0)
        if len(lost):
            numbers[lost], squares[lost] = search.assign(vectors[lost])
        kept = np.flatnonzero(self.numbers[old] >= 0)
        if len(kept) and len(self.added):
            best, nearby = ExactSearch(metric, self.centroids[self.added]).assign(vectors[kept])
            labels = self.added[best]
            ties = (nearby == squares[kept]) & (labels < numbers[kept])
            nearer = (nearby < squares[kept]) | ties
            numbers[kept[nearer]], squares[kept[nearer]] = labels[nearer], nearby[nearer]
        return numbers, float(np.sqrt(squares).sum()) - distances_before


def laid_out(centroids: Floats, removed: Sequence[int], added: Floats) -> Layout:
    """Centroids (nlist, d) without those numbered `removed`, and with `added` (a, d).

    A new one takes the number of one that is no more; when there are too few of these, the new
    ones go to the end, and when there are too many, the last partitions move into the holes.
    """
    free = sorted(removed)
    nlist = len(centroids) - len(free) + len(added)
    places = np.array([*free, *range(len(centroids), nlist)][: len(added)], np.int32)
    numbers = np.arange(len(centroids), dtype=np.int32)
    numbers[free] = -1
    holes = [each for each in free[len(added) :] if each < nlist]
    numbers[[each for each in range(nlist, len(centroids)) if numbers[each] >= 0]] = holes
    after = np.empty((nlist, centroids.shape[1]), np.float32)
    kept = numbers >= 0
    after[numbers[kept]] = centroids[kept]
    after[places] = added
    return Layout(centroids, after, numbers, places)
