"""The flat codec: float32 vectors as given, and the bracket of a float32 product.

With n = |x|, Q = |q|, g = `product_slack`, t = `product_floor`, and dot the float32 product
(`kernels`: off by less than g n Q + t, with 16 roundings to spare), the bracket of a rank is

    l2       n^2/2 - dot   +-  (g/2) n^2 + t   +- (g/2) Q^2        since n Q <= (n^2 + Q^2) / 2
    cosine   - dot / n     +-  t / n           +- g
    dot      - dot         +-  g n + t                             since Q < 1

The row's share stands in two float32 arrays, `below` and `above`, rounded outwards; the query's
share is `Queries.slacks`.  What remains is float32 again: two sums, each off by u times a result
no larger than 1.1 (n^2 + Q^2), 1.1 or 1.1 n; under cosine also the rounding of the unit query, of
1/n and of their product, u each; and the rounding of `distances`, (d + 8) 2^-52.  Together that is
less than 6 of the 16 spare roundings (8 under l2, where g is halved, against less than 3).

Where 1/n would overflow float32 it stops at the largest float32; t/n is above 4 there, and no
bracket of a cosine needs more than 2.  A row of zeros has rank 0 under cosine, as its product says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats
from .columns import Columns
from .distance import Metric, squared_norms
from .kernels import float_dots, product_floor, product_slack
from .queries import Queries, rounded_down, rounded_up

INVERSE_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class FloatRows(Columns):
    """Float32 vectors (n, d) in memory, ready to be sieved under one metric."""

    COLUMNS: ClassVar = ("vectors", "below", "above", "inverses")
    vectors: Floats
    below: Floats
    """(n,): what the lower end of a bracket owes to the row."""
    above: Floats
    """(n,): what the upper end owes to it."""
    inverses: Floats | None
    """(n,): 1 / |x| for cosine."""

    @classmethod
    def of(cls, metric: Metric, vectors: Floats) -> Self:
        """Prepare vectors (n, d) float32 as given."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        squares = squared_norms(vectors)
        slack, floor = product_slack(vectors.shape[1]), product_floor(vectors.shape[1])
        inverses = None
        centre, width = np.zeros(len(vectors)), slack * np.sqrt(squares) + floor
        if metric == "cosine":
            norms = np.sqrt(np.where(squares > 0, squares, 1.0))
            width = floor / norms
            inverses = np.minimum(1 / norms, INVERSE_MAX).astype(np.float32)
        elif metric == "l2":
            centre, width = squares / 2, slack * squares / 2 + floor
        return cls(vectors, rounded_down(centre - width), rounded_up(centre + width), inverses)

    @classmethod
    def ask(cls, pieces: Sequence[Self], queries: Queries) -> "FloatAsked":
        """Ask queries about all rows of the pieces, in order."""
        return FloatAsked(
            queries, pieces, np.empty((len(queries), sum(map(len, pieces))), np.float32)
        )

    def multiply(self, kernels: Floats, out: NDArray[np.floating]) -> None:
        """Write the products of kernels (g, d) with the rows to out (g, n)."""
        float_dots(kernels, self.vectors, out)


@dataclass(frozen=True, slots=True)
class FloatAsked:
    """Queries (q, d) asked about float32 rows (n,)."""

    queries: Queries
    pieces: Sequence[FloatRows]
    products: Floats
    """(q, n): to be filled in, piece by piece"""

    def kernels(self, _: int) -> Floats:
        """What to multiply the rows of a piece with: (q, d)."""
        return self.queries.kernels

    def brackets(self) -> tuple[Floats, Floats]:
        """Lower and upper ends (q, n) of the ranks; uses the products up."""
        dots = self.products
        if self.queries.metric == "cosine":
            dots *= np.concatenate([_present(piece.inverses) for piece in self.pieces])
        slacks = self.queries.slacks[:, np.newaxis]
        lower = np.concatenate([piece.below for piece in self.pieces]) - dots
        upper = np.concatenate([piece.above for piece in self.pieces]) - dots
        lower -= slacks
        upper += slacks
        return lower, upper


def _present(column: Floats | None) -> Floats:
    assert column is not None, "a cosine search over rows prepared for another metric"
    return column
