"""What the rows of a partition are like, seen from a query that has not read them.

A *value* is what a search compares rows by, smaller is nearer:

    l2       |q - x|^2                 the square of the distance reported
    cosine   |q - x|^2, unit vectors   twice the distance reported
    dot      -x.q                      the distance reported

For rows x = c + e of a partition, with e isotropic in m dimensions and E|e|^2 = R:

    |q - x|^2    has mean |q - c|^2 + R    and variance 2 R^2 / m + 4 |q - c|^2 R / m
    -x.q         has mean -c.q             and variance |q|^2 R / m

R is measured for each partition, and m is one number for the whole index: the variance of |e|^2
within a partition is 2 R^2 / m for a Gaussian.  So there are nlist + 1 floats to keep.  What comes
out is a scale to compare partitions on and not a model that anything relies on: `calibration`
measures what stopping by it does.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from .arrays import Doubles, Floats, Indices, Labels
from .distance import Metric, distances, index_space

D = TypeVar("D", float, Doubles)

DIMS_MAX: Final = 1e9
"""Effective dimensions, where the rows of each partition are all equally far from its centroid."""

WIDTH_MIN: Final = 1e-200
"""Width of the values of a partition whose rows all lie on its centroid: below the squares of the
smallest float32 values, and so large that those of the largest norms can be divided by it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How the rows of an index lie about their centroids."""

    squares: Doubles
    """(nlist,): mean squared distance of a row to its centroid; of all rows, where there is none"""
    dims: float
    """dimensions that the rows spread in, at least 1"""


class Moments:
    """What a spread follows from, gathered partition by partition: three numbers for each."""

    def __init__(self, nlist: int) -> None:
        self._counts = np.zeros(nlist, np.int64)
        self._means = np.zeros(nlist)
        self._deviations = np.zeros(nlist)
        """Sums of squared deviations from the mean of the partition."""

    def add(self, partition: int, squares: Doubles) -> None:
        """Squared distances (n,) to its centroid of some rows of a partition.

        Merged without cancellation, as Chan, Golub and LeVeque do (The American Statistician 37,
        1983).
        """
        n, before = len(squares), int(self._counts[partition])
        if not n:
            return
        mean = float(squares.mean())
        step = mean - float(self._means[partition])
        self._means[partition] += step * n / (before + n)
        apart = step * step * before * n / (before + n)
        self._deviations[partition] += float(np.square(squares - mean).sum()) + apart
        self._counts[partition] += n

    def spread(self) -> Spread:
        """Partitions without rows are taken for average ones."""
        n = int(self._counts.sum())
        if not n:
            return Spread(np.zeros(len(self._counts)), 1.0)
        average = float(np.average(self._means, weights=self._counts))
        means = np.where(self._counts > 0, self._means, average)
        return Spread(means, self._effective_dims(n))

    def _effective_dims(self, n: int) -> float:
        """2 E[R^2] / Var[|e|^2], over all rows."""
        scale = float(self._means.max())  # so that no square leaves the range
        if not scale:
            return 1.0
        squares = float(np.vdot(self._counts, np.square(self._means / scale))) / n
        variance = float(self._deviations.sum()) / scale / scale / n
        return max(1.0, 2 * squares / max(variance, 2 / DIMS_MAX))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of the values in some partitions (..., m)."""

    means: Doubles
    widths: Doubles
    """(..., m): standard deviations, above 0"""


def outlook(
    metric: Metric,
    spread: Spread,
    partitions: Indices | Labels,
    centroid_values: Doubles,
    query_square: float | Doubles,
) -> Outlook:
    """Mean and width of the values of the rows in some partitions (..., m), in probing order.

    `centroid_values` (..., m) are those of the partitions' centroids (see `centroid_values`);
    `query_square` is |q|^2, (..., 1) for many queries, and only looked at under dot.
    """
    own = spread.squares[partitions]
    if metric == "dot":
        widths = np.sqrt(query_square * own / spread.dims)
        return Outlook(centroid_values, np.maximum(widths, WIDTH_MIN))
    variances = (2 * np.square(own) + 4 * centroid_values * own) / spread.dims
    return Outlook(centroid_values + own, np.maximum(np.sqrt(variances), WIDTH_MIN))


def centroid_values(metric: Metric, query: Floats, centroids: Floats) -> Doubles:
    """The values (m,), about, of centroids (m, d) in index space for a query (d,) as given."""
    if metric == "dot":
        return distances(metric, query, centroids)
    differences = centroids - index_space(metric, query[np.newaxis])
    squares: Doubles = np.einsum("ij,ij->i", differences, differences).astype(np.float64)
    return squares


def row_values(metric: Metric, reported: D) -> D:
    """The values of rows at the distances, or of one at the distance, that `distances` reports."""
    if metric == "dot":
        return reported
    return reported * reported if metric == "l2" else 2 * reported
