"""The sq8 codec: one byte per dimension, and how far from the truth it can be.

A row x is stored as its residual from the partition's centroid c, in whole steps: integers a from
-127 to 127 and one step s for each segment, so that x is near x' = c + s a.  What is lost is
measured, not estimated: e_x = |x - x'|, in float64, rounded up.  A query is quantised in the same
way, q near q' = c + r b with its own e_q, and the product a.b is exact in integers.  All of this
is in index space: under cosine x and q are the float64 unit vectors.

    l2, cosine    D' = |x' - q'| = sqrt(s^2 |a|^2 + r^2 |b|^2 - 2 s r a.b)
                  D' - (e_x + e_q)  <=  |x - q|  <=  D' + (e_x + e_q)         (triangle inequality)
    dot           P' = c.q + s r a.b          here q is near r b, without the centroid
                  |x.q - P'|  <=  e_x |q| + s |a| e_q

The rank is |x - q|^2 / 2 or -x.q, less a constant of the query (`queries`).

Rounding.  Steps are float32 values, so s^2, r^2 and s r are exact in float64; the sum under the
root is off by less than 2^-49 (s^2 |a|^2 + r^2 |b|^2), hence D' by less than
2^-24.5 (s |a| + r |b|).  `quantised` puts 2^-22 s |a| and 2^-22 r |b| on top of the measured
errors, which also covers the float64 sums here and in `distances`: (d + 8) 2^-52 of |x - q|, and
|x - q| <= s |a| + e_x + r |b| + e_q.  The relative 2^-22 on the measured error covers its own
measurement and its float32.  Under cosine the units are rounded, by less than d + 8 times 2^-53
each: (d + 64) 2^-48 is added on either side, which stands also where a residual is 0.  Under dot
c.q is off by less than 2^-40 |c| |q|, and so is the part of the reported sum that c has in it.

Under cosine a row of zeros has no direction to encode: its error is infinite, its bracket tells
nothing, and it is always measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from .arrays import Bytes, Doubles, Floats
from .columns import Columns
from .distance import Metric
from .kernels import integer_dots
from .queries import ROUNDING, Queries

STEPS: Final = 127
"""Largest code."""

SLACK: Final = 2.0**-22
"""Share of a length and of a measured error that covers the rounding around it."""

CENTROID_SLACK: Final = 2.0**-40


def steps_of(residuals: Doubles) -> Doubles:
    """The step (...) for residuals (..., d): a float32 value that spreads them over the codes."""
    largest = np.abs(residuals).max(axis=-1, initial=0.0)
    steps: Doubles = (largest / STEPS).astype(np.float32).astype(np.float64)
    return steps


def quantised(metric: Metric, residuals: Doubles, steps: Doubles) -> tuple[Doubles, Doubles]:
    """Codes (..., d), whole numbers, and error norms (...) of residuals (..., d), rounded up.

    `steps` (...) are float32 values; a step of 0 makes codes of 0.
    """
    divisors = np.where(steps > 0, steps, np.inf)[..., np.newaxis]
    codes = residuals / divisors
    np.clip(np.rint(codes, out=codes), -STEPS, STEPS, out=codes)
    scratch = np.square(codes)
    lengths = steps * np.sqrt(scratch.sum(axis=-1))
    np.subtract(residuals, np.multiply(codes, steps[..., np.newaxis], out=scratch), out=scratch)
    errors = np.sqrt(np.square(scratch, out=scratch).sum(axis=-1))
    errors += SLACK * (errors + lengths)
    if metric == "cosine":
        errors += (residuals.shape[-1] + 64) * 2.0**-48
    return codes, errors


@dataclass(frozen=True, slots=True)
class Sq8Rows(Columns):
    """Quantised rows (n, d) of one partition in memory, ready to be sieved."""

    COLUMNS: ClassVar = ("codes", "steps", "squares", "errors")
    centroid: Doubles
    """(d,): in index space."""
    codes: Bytes
    """(n, d): a"""
    steps: Floats
    """(n,): s"""
    squares: Doubles
    """(n,): s^2 |a|^2"""
    errors: Floats
    """(n,): e_x, rounded up"""

    @classmethod
    def ask(cls, pieces: Sequence[Self], queries: Queries) -> "Sq8Asked":
        """Ask queries about all rows of the pieces, in order."""
        return Sq8Asked.of(pieces, queries)

    def multiply(self, kernels: Floats, out: NDArray[Any]) -> None:
        """Write the products of whole-numbered kernels (g, d) with the codes to out (g, n)."""
        integer_dots(kernels, self.codes, out)


@dataclass(frozen=True, slots=True)
class Sq8Asked:
    """Queries (q, d) asked about the rows (n,) of p pieces, each query quantised for each piece."""

    queries: Queries
    pieces: Sequence[Sq8Rows]
    centroids: Doubles
    """(p, d): c"""
    codes: Floats
    """(q, p, d): b"""
    steps: Doubles
    """(q, p): r"""
    errors: Doubles
    """(q, p): e_q"""
    products: Doubles
    """(q, n): a.b, to be filled in, piece by piece"""

    @classmethod
    def of(cls, pieces: Sequence[Sq8Rows], queries: Queries) -> Self:
        """Quantise the queries: their residuals from each centroid, or themselves under dot."""
        centroids = np.stack([piece.centroid for piece in pieces])
        residuals = queries.directions[:, np.newaxis]
        if queries.metric != "dot":
            residuals = residuals - centroids
        steps = steps_of(residuals)
        codes, errors = quantised(queries.metric, residuals, steps)
        products = np.empty((len(queries), sum(map(len, pieces))))
        return cls(queries, pieces, centroids, codes.astype(np.float32), steps, errors, products)

    def kernels(self, index: int) -> Floats:
        """What to multiply the codes of a piece with: (q, d)."""
        return self.codes[:, index if self.codes.shape[1] > 1 else 0]

    def brackets(self) -> tuple[Doubles, Doubles]:
        """Lower and upper ends (q, n) of the ranks; uses the products up."""
        products = self.products
        products *= np.concatenate([piece.steps for piece in self.pieces])
        products *= self._by_row(self.steps)
        squares = np.concatenate([piece.squares for piece in self.pieces])
        errors = np.concatenate([piece.errors for piece in self.pieces])
        if self.queries.metric == "dot":
            return self._dot_brackets(products, squares, errors)
        return self._distance_brackets(products, squares, errors)

    def _distance_brackets(
        self, products: Doubles, squares: Doubles, errors: Floats
    ) -> tuple[Doubles, Doubles]:
        lengths = np.square(self.codes).sum(axis=-1, dtype=np.float64) * np.square(self.steps)
        estimates = np.multiply(products, -2, out=products)
        estimates += squares
        estimates += self._by_row(lengths)
        np.sqrt(np.maximum(estimates, 0, out=estimates), out=estimates)
        margins = self._by_row(self.errors) + errors
        origins = self.queries.origins[:, np.newaxis]
        lower = _half_squares(np.maximum(estimates - margins, 0), origins * (1 + ROUNDING))
        upper = _half_squares(np.add(estimates, margins, out=estimates), origins * (1 - ROUNDING))
        return lower, upper

    def _dot_brackets(
        self, products: Doubles, squares: Doubles, errors: Floats
    ) -> tuple[Doubles, Doubles]:
        directions = self.queries.directions
        offsets = (directions[:, np.newaxis] * self.centroids).sum(axis=-1)
        estimates = np.negative(products, out=products)
        estimates -= self._by_row(offsets)
        norms = np.sqrt(np.square(directions).sum(axis=-1, keepdims=True))
        margins = np.sqrt(squares) * self._by_row(self.errors) + errors * norms
        reach = np.sqrt(np.square(self.centroids).sum(axis=-1))
        margins += self._by_row(CENTROID_SLACK * reach[np.newaxis])
        return estimates - margins, np.add(estimates, margins, out=estimates)

    def _by_row(self, values: Doubles) -> Doubles:
        """Values (q, p) of each piece, or (q, 1) of all of them, for each of its rows."""
        if values.shape[1] == 1:
            return values
        return np.repeat(values, [len(piece) for piece in self.pieces], axis=1)


def _half_squares(values: Doubles, less: Doubles) -> Doubles:
    """Half the squares of values (q, n), less (q, 1); overwrites the values."""
    np.square(values, out=values)
    values *= 0.5
    values -= less
    return values
