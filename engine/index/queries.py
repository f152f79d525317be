"""Queries made ready for the sieve, and the scale on which it compares.

A sieve gives each row a *bracket*: two numbers that hold between them what `distances` reports for
the row, that function's own rounding included.  So if one row's lower end lies above another's
upper end, then the first is reported strictly farther away, ties cannot be lost, and k rows with
upper ends at or below T prove that a row with its lower end above T is not among the nearest k.

Brackets are in *rank*, an increasing function of the reported distance D, one for each query,
which saves a square root and keeps the products plain:

    l2       (D^2 - |q|^2) / 2       = |x|^2 / 2 - x.q
    cosine   D - 1                   = - x.q / |x|        q scaled to unit length
    dot      D / 2^s                 = - x.q              q scaled by 2^-s, to a norm below 1

Scaling by a power of two is exact, and leaves the norm of a row as its only magnitude under dot.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from .arrays import Doubles, Floats, Indices
from .distance import Metric, index_doubles, squared_norms
from .kernels import product_slack

ROUNDING = 2.0**-50
"""Relative slack for a handful of float64 operations."""


@dataclass(frozen=True)
class Queries:
    """Queries (q, d) of one search."""

    metric: Metric
    vectors: Floats
    """(q, d): as given; what distances are measured from."""
    directions: Doubles
    """(q, d): as given for l2, of unit length for cosine, scaled by 2^-s for dot."""

    @classmethod
    def of(cls, metric: Metric, vectors: Floats) -> Self:
        """Prepare queries (q, d) float32 as the user gave them."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        queries = cls(metric, vectors, index_doubles(metric, vectors))
        if metric == "dot":
            queries.directions[...] /= queries.scales[:, np.newaxis]
        return queries

    @cached_property
    def origins(self) -> Doubles:
        """(q,): what rank leaves out: |q|^2 / 2 for l2, 1 for cosine, 0 for dot."""
        if self.metric == "l2":
            return squared_norms(self.vectors) / 2
        return np.full(len(self), float(self.metric == "cosine"))

    @cached_property
    def scales(self) -> Doubles:
        """(q,): 2^s for dot, 1 otherwise."""
        if self.metric != "dot":
            return np.ones(len(self))
        scales: Doubles = np.ldexp(1.0, np.frexp(np.sqrt(squared_norms(self.vectors)))[1])
        return scales

    @cached_property
    def kernels(self) -> Floats:
        """(q, d): the directions in float32, for float products."""
        return self.directions.astype(np.float32)

    @cached_property
    def slacks(self) -> Floats:
        """(q,): the query's share in the error of a float rank, rounded up."""
        slack = product_slack(self.dims)
        if self.metric == "cosine":
            return rounded_up(np.full(len(self), slack))
        return rounded_up(slack * self.origins)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dims(self) -> int:
        """Values of a query."""
        return int(self.vectors.shape[1])

    def take(self, indices: Indices) -> Self:
        """The queries at these positions."""
        return type(self)(self.metric, self.vectors[indices], self.directions[indices])

    def ranks_above(self, indices: Indices, distances: Doubles) -> Doubles:
        """Ranks (m,), rounded up, of distances (m,) reported for the queries at these positions."""
        if self.metric == "dot":
            return distances / self.scales[indices]
        raised = np.square(distances) / 2 if self.metric == "l2" else distances
        origins = self.origins[indices]
        return raised - origins + ROUNDING * (raised + origins)


def rounded_up(values: Doubles) -> Floats:
    """The values as float32 that are larger, zero included: no bound is 0."""
    return np.nextafter(values.astype(np.float32), np.float32(np.inf))


def rounded_down(values: Doubles) -> Floats:
    """The values as float32 that are smaller."""
    return np.nextafter(values.astype(np.float32), np.float32(-np.inf))
