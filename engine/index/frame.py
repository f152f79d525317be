"""A frame: where products of float32 are taken, so that they hold what tells one row from another.

Lengths are multiplied by powers of two, so that no square of a tiny value is lost.  Under dot what
a query has in common with all rows is left out; a distance does not depend on where the origin is.
"""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from .arrays import Doubles, Floats
from .distance import Metric

POWER_MAX: Final = 100
"""So that factors and their inverses are no float32 at the limits."""


@dataclass(frozen=True)
class Frame:
    """Factors of lengths, and where the origin is."""

    of_queries: np.float32
    of_rows: np.float32
    """Powers of two."""
    middle: Floats
    """(d,): subtracted from rows"""
    bases: Doubles
    """(q,): values of the middle"""

    @classmethod
    def of(cls, metric: Metric, queries: Floats, centroids: Floats) -> Self:
        """For queries (q, d) as given and centroids (nlist, d) in index space."""
        middle, bases = np.zeros_like(centroids[0]), np.zeros(len(queries))
        if metric == "cosine":
            return cls(np.float32(1), np.float32(1), middle, bases)
        if metric == "dot":
            middle = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
            bases = -(queries.astype(np.float64) @ middle.astype(np.float64))
            return cls(_power(queries), _power(centroids), middle, bases)
        both = min(_power(queries), _power(centroids))
        return cls(both, both, middle, bases)

    @property
    def of_values(self) -> float:
        """The factor of a value."""
        return float(self.of_queries) * float(self.of_rows)

    def moved(self, centroids: Floats) -> Floats:
        """Centroids (nlist, d) in the frame."""
        moved: Floats = (centroids - self.middle) * self.of_rows
        return moved


def _power(vectors: Floats) -> np.float32:
    """The power of two, or one near it, that makes the largest number of vectors (n, d) about 1."""
    _, exponent = math.frexp(float(np.abs(vectors).max(initial=0.0)))
    return np.float32(2.0 ** -max(-POWER_MAX, min(POWER_MAX, exponent)))
