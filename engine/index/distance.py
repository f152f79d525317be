"""The one distance: every number the database reports is computed here.

    l2       sqrt(sum((x - q)^2))              Euclidean distance
    cosine   0.5 * |x/|x| - q/|q||^2           = 1 - cos(x, q), without its cancellation
    dot      -sum(x * q)                       smaller is nearer, as for the others

A row of zeros has no direction; under cosine it counts as at right angles to every query, at
distance 1.  Queries of zeros are refused before they come here.

The stored float32 values are widened to float64 first, so nothing overflows or underflows, and
the difference forms keep their precision for neighbours that are close together or far from the
origin.  A row's value depends on that row and the query alone: each row is summed by itself, in an
order that only the dimension decides.  One row or a million, in one thread or four, the bits are
the same, and so are the answers of every path through the database.

BLAS has no part in this: its sums change with the shape of the call and the number of threads.
Fast float32 products only sieve (see `kernels`); what passes the sieve is measured here.
"""

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import numpy as np

from .arrays import Doubles, Floats, Indices, Mask, Vids

Metric: TypeAlias = Literal["l2", "cosine", "dot"]

NORM_MAX: Final = 1e18
"""Vectors of a larger Euclidean norm are refused: their float32 products could overflow."""

FEW: Final = 64
"""So many are sorted rather than split before."""

BLOCK_VALUES: Final = 1 << 15
"""Values widened to float64 at a time: 256 KiB, so that the passes over them stay in the cache."""


def distances(metric: Metric, query: Floats, vectors: Floats) -> Doubles:
    """Distances (n,) float64 from one query (d,), or a query per row (n, d), to vectors (n, d)."""
    result = np.empty(len(vectors))
    for rows in row_blocks(vectors):
        wanted = query[rows] if query.ndim == 2 else query[np.newaxis]
        result[rows] = _distances(metric, _widened(wanted), _widened(vectors[rows]))
    return result


def _distances(metric: Metric, queries: Doubles, rows: Doubles) -> Doubles:
    """The same for one block of rows (n, d) and queries (n, d) or (1, d); overwrites both."""
    if metric == "dot":
        rows *= queries
        return 0.0 - _row_sums(rows)  # a subtraction, so that no distance is -0.0
    if metric == "cosine":
        _normalise(queries)
        directed = _normalise(rows)
        rows -= queries
        return np.where(directed, 0.5 * _square_sums(rows), 1.0)
    rows -= queries
    result: Doubles = np.sqrt(_square_sums(rows))
    return result


def index_doubles(metric: Metric, vectors: Floats) -> Doubles:
    """A float64 copy of vectors (n, d) in index space: for cosine each divided by its norm.

    A row of zeros stays one.
    """
    rows = _widened(vectors)
    if metric == "cosine":
        _normalise(rows)
    return rows


def index_space(metric: Metric, vectors: Floats) -> Floats:
    """Vectors (n, d) float32 as k-means, assignment and codecs see them: unit vectors for cosine.

    Under l2 and dot these are the vectors themselves, not a copy.
    """
    if metric != "cosine":
        return vectors
    result = np.empty(vectors.shape, np.float32)
    for rows in row_blocks(vectors):
        result[rows] = index_doubles(metric, vectors[rows])
    return result


def squared_norms(vectors: Floats) -> Doubles:
    """Squared Euclidean norms (n,) float64 of vectors (n, d), row by row."""
    if len(vectors) == 1:  # a query, most often
        return _square_sums(_widened(vectors))
    result = np.empty(len(vectors))
    for rows in row_blocks(vectors):
        result[rows] = _square_sums(_widened(vectors[rows]))
    return result


def row_products(vectors: Floats, direction: Doubles) -> Doubles:
    """Products (n,) float64 of vectors (n, d) and a direction (d,), row by row."""
    result = np.empty(len(vectors))
    for rows in row_blocks(vectors):
        products = _widened(vectors[rows])
        products *= direction
        result[rows] = _row_sums(products)
    return result


def squared_differences(vectors: Floats, others: Floats | Doubles) -> Doubles:
    """Squared Euclidean distances (n,) float64 between vectors (n, d) and others (n, d), by row."""
    result = np.empty(len(vectors))
    for rows in row_blocks(vectors):
        differences = _widened(vectors[rows])
        differences -= others[rows]
        result[rows] = _square_sums(differences)
    return result


def nearest(distances: Doubles, vids: Vids, k: int) -> Indices:
    """Positions of the k smallest (distance, vid) pairs, in order; of all, if there are fewer."""
    if max(k, FEW) < len(distances):
        kth = np.partition(distances, k - 1)[k - 1]
        near = np.flatnonzero(distances <= kth)
    else:
        near = np.arange(len(distances))
    order = np.lexsort((vids[near], distances[near]))
    result: Indices = near[order[:k]]
    return result


def row_blocks(vectors: Floats) -> Iterator[slice]:
    """Slices of at most `BLOCK_VALUES` values (at least one row) that cover vectors (n, d)."""
    step = max(1, BLOCK_VALUES // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        yield slice(start, min(start + step, len(vectors)))


def _widened(vectors: Floats) -> Doubles:
    """A fresh float64 copy, C-contiguous whatever the argument is: sums run along memory."""
    return np.array(vectors, dtype=np.float64, order="C")


def _square_sums(rows: Doubles) -> Doubles:
    """Sum of squares of each row; overwrites the rows."""
    return _row_sums(np.square(rows, out=rows))


def _row_sums(rows: Doubles) -> Doubles:
    """numpy sums a contiguous last axis pairwise, row by row: the order depends on d alone."""
    result: Doubles = np.add.reduce(rows, axis=-1)
    return result


def _normalise(rows: Doubles) -> Mask:
    """Divide each row by its norm, in place, but for rows of zeros; returns which are not."""
    norms = np.sqrt(_row_sums(np.square(rows)))
    directed: Mask = norms > 0
    np.divide(rows, np.where(directed, norms, 1.0)[:, np.newaxis], out=rows)
    return directed
