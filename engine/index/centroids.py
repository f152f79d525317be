"""Centroid search: which partition a row belongs to, and which partitions a query probes.

Both must be the same whoever asks along with it: a search in a snapshot never changes, and a row
assigned in a batch lands where it would alone.  So float32 products only sieve, and float64, in an
order that only the dimension decides, has the last word; ties go to the lower centroid.

    rank      in float64 |c|^2 / 2 - c.q (l2), -c.q / |c| (cosine), -c.q (dot), for all centroids
              that a float32 product leaves among the nprobe best
    assign    float32 matrix product of rows and centroids, both moved by the mean of the centroids;
              all centroids within the error of the best are compared by sum((x - c)^2) in float64

Under cosine a query ranks by angle, not by distance to the mean of unit vectors, which is nearer to
the origin the more its partition spreads.  On 117,159 x 256 sentence embeddings in 342 partitions
that raises recall at 8,000 rows read from 0.867 to 0.883; unit centroids for k-means add nothing.

The move makes the error independent of how far the data lies from the origin.  It is the error of
`flat`, plus a float32 rounding of each moved value: with n and m the moved norms, |x - c| is off by
u (n + m), and half its square by less than u (n + m)^2 <= 2 u (n^2 + m^2), within the roundings
that `flat` leaves to spare.

An HNSW graph over the centroids pays above some thousands of them.  It is built by one thread with
a fixed seed in centroid order, so it is the same graph each time; it proposes some centroids, and
float64 decides among these.  It answers approximately, but repeatably.
"""

import math
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from .arrays import Doubles, Floats, Indices, Labels
from .compiled import KERNELS
from .distance import (
    Metric,
    index_doubles,
    index_space,
    nearest,
    row_products,
    squared_differences,
    squared_norms,
)
from .kernels import product_floor, product_slack
from .native import SIEVED, SMALLEST, Ranking
from .queries import rounded_up
from .shelf import Shelf
from .topk import group_positions

if TYPE_CHECKING:
    import hnswlib

CROSSOVER: Final = 3000
"""Centroids from which on a graph is faster than a matrix product."""

ASSIGN_PAIRS: Final = 1 << 18
"""Pairs of a row and a centroid estimated together: 1 MiB, which stays in the cache."""

COMPARED_VALUES: Final = 1 << 20
"""Values of rows, and as many of centroids, brought together for float64: 4 MiB each."""

TWICE: Final = 2.01
"""The errors of two estimates that are compared, and of comparing them."""

GRAPH_LINKS: Final = 16
GRAPH_BUILD_BREADTH: Final = 200
GRAPH_BREADTH: Final = 48
"""hnswlib's M, ef_construction and ef; ef is never less than what is asked for."""

GRAPH_SHARE: Final = 8
"""A query that probes more than one in 8 centroids ranks them all."""

PROPOSALS: Final = 4
"""Centroids that a graph proposes for each row to assign."""


class CentroidSearch(Protocol):
    """Answers for one set of centroids."""

    centroids: Floats
    """(nlist, d), in index space"""

    @property
    def ranking(self) -> Ranking | None:
        """What the kernels rank by; None where a graph does."""
        ...

    def rank(self, queries: Floats, nprobe: int) -> Labels:
        """The nprobe best centroids (q, nprobe) for queries (q, d) as given, best first."""
        ...

    def assign(self, vectors: Floats) -> tuple[Labels, Doubles]:
        """Nearest centroids (n,) of vectors (n, d) as given, and squared distances (n,) to them.

        Distances are Euclidean in index space, whatever the metric.
        """
        ...


def make_search(
    kind: Literal["auto", "exact", "hnsw"],
    metric: Metric,
    centroids: Floats,
    *,
    seed: int,
    crossover: int = CROSSOVER,
) -> CentroidSearch:
    """A search over centroids (nlist, d); `auto` takes the graph from `crossover` of them on."""
    if kind == "hnsw" or (kind == "auto" and len(centroids) >= crossover):
        return HnswSearch(metric, centroids, seed)
    return ExactSearch(metric, centroids)


class ExactSearch:
    """Looks at every centroid (nlist, d)."""

    def __init__(self, metric: Metric, centroids: Floats) -> None:
        self.centroids = np.ascontiguousarray(centroids, dtype=np.float32)
        self._metric = metric

    def rank(self, queries: Floats, nprobe: int) -> Labels:
        """See `CentroidSearch`."""
        directions = index_doubles(self._metric, queries)
        nprobe = min(nprobe, len(self.centroids))
        kernels = KERNELS.loaded
        if kernels is not None:
            return kernels.rank(self.ranking, directions, nprobe)
        ranked = [self._rank(direction, nprobe) for direction in directions]
        return np.array(ranked, dtype=np.int32).reshape(len(queries), -1)

    def assign(self, vectors: Floats) -> tuple[Labels, Doubles]:
        """See `CentroidSearch`."""
        rows = np.ascontiguousarray(index_space(self._metric, vectors), dtype=np.float32)
        labels = np.empty(len(rows), np.int32)
        squares = np.empty(len(rows))
        step = max(1, ASSIGN_PAIRS // len(self.centroids))
        for start in range(0, len(rows), step):
            some = slice(start, start + step)
            labels[some], squares[some] = self._assign(rows[some])
        return labels, squares

    def _rank(self, direction: Doubles, nprobe: int) -> Indices:
        labels = self._likely(direction, nprobe)
        scores = _scores(self._metric, self.centroids[labels], self._squares[labels], direction)
        ranked: Indices = labels[nearest(scores, labels, nprobe)]
        return ranked

    def _likely(self, direction: Doubles, nprobe: int) -> Indices:
        """Centroids that may be among the nprobe best of a direction (d,), ascending.

        Products of float32 are off by `product_slack` |c| |q|, which (|c|^2 + |q|^2) bounds with
        half of it to spare, for the rounding of what is multiplied and added (see `flat`). Under
        dot nothing is added, and 2 |c| |q| is as much, however long the query is.
        """
        if nprobe * SIEVED > len(self.centroids):
            return np.arange(len(self.centroids))
        ranking = self.ranking
        estimates = ranking.halves - ranking.kernels @ direction.astype(np.float32)
        relative, reach, floor = ranking.slacks.tolist()
        square = float(np.vdot(direction, direction))
        length = 2 * math.sqrt(reach * square) if self._metric == "dot" else reach + square
        slack = relative * length + floor
        limit = np.partition(estimates, nprobe - 1)[nprobe - 1] + np.float32(slack)
        return np.flatnonzero(~(estimates > limit))  # what overflows, in a file that lies, stays

    def _assign(self, rows: Floats) -> tuple[Labels, Doubles]:
        mean, centroids, halves, reach = self._moved
        moved = rows - mean
        estimates = moved @ centroids.T
        np.subtract(halves, estimates, out=estimates)
        norms = 1.01 * np.vecdot(moved, moved).astype(np.float64)  # squared; off by less than 1 %
        slack = product_slack(rows.shape[1]) * (norms + reach) + product_floor(rows.shape[1])
        limits = rounded_up(estimates.min(axis=1) + 2 * slack)
        pairs = np.flatnonzero(estimates <= limits[:, np.newaxis])
        row, label = np.divmod(pairs, len(self.centroids))
        return _nearest_pairs(rows, self.doubles, row, label)

    @cached_property
    def doubles(self) -> Doubles:
        """The centroids, float64."""
        return self.centroids.astype(np.float64)

    @cached_property
    def _squares(self) -> Doubles:
        return squared_norms(self.centroids)

    @cached_property
    def ranking(self) -> Ranking:
        """What the kernels rank by."""
        nlist, dims = self.centroids.shape
        kernels, halves, reach = self.centroids, np.zeros(nlist, np.float32), self._squares.max()
        if self._metric == "cosine":
            kernels, reach = index_space("cosine", self.centroids), np.float64(1)
        elif self._metric == "l2":
            halves = (self._squares / 2).astype(np.float32)
        slacks = np.array([TWICE * product_slack(dims), reach, TWICE * product_floor(dims)])
        return Ranking(self._metric, self.centroids, self._squares, kernels, halves, slacks)

    @cached_property
    def _moved(self) -> tuple[Floats, Floats, Floats, float]:
        """The mean, the centroids less the mean, half their squared norms, the largest of these."""
        mean = self.centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
        moved = self.centroids - mean
        squares = squared_norms(moved)
        return mean, moved, (squares / 2).astype(np.float32), float(squares.max())


class HnswSearch:
    """Looks at the centroids (nlist, d) that a graph proposes."""

    ranking = None

    def __init__(self, metric: Metric, centroids: Floats, seed: int) -> None:
        self._exact = ExactSearch(metric, centroids)
        self.centroids = self._exact.centroids
        self._metric = metric
        self._nearby = self._ranked = _graph("l2", self.centroids, seed)
        if metric == "dot":
            self._ranked = _graph("ip", self.centroids, seed)
        elif metric == "cosine":
            self._ranked = _graph("cosine", self.centroids, seed)

    def rank(self, queries: Floats, nprobe: int) -> Labels:
        """See `CentroidSearch`; exact where the graph would have to name too many."""
        proposed = None
        if nprobe * GRAPH_SHARE <= len(self.centroids):
            proposed = _proposed(self._ranked, index_space(self._metric, queries), 2 * nprobe)
        if proposed is None:
            return self._exact.rank(queries, nprobe)
        directions = index_doubles(self._metric, queries)
        ranked = [
            labels[nearest(self._scores(labels, direction), labels, nprobe)]
            for labels, direction in zip(proposed, directions, strict=True)
        ]
        return np.array(ranked, dtype=np.int32).reshape(len(queries), -1)

    def assign(self, vectors: Floats) -> tuple[Labels, Doubles]:
        """See `CentroidSearch`; the nearest of a few that the graph proposes."""
        rows = np.ascontiguousarray(index_space(self._metric, vectors), dtype=np.float32)
        proposed = _proposed(self._nearby, rows, min(PROPOSALS, len(self.centroids)))
        if proposed is None:
            return self._exact.assign(vectors)
        row = np.repeat(np.arange(len(rows)), proposed.shape[1])
        return _nearest_pairs(rows, self._exact.doubles, row, proposed.ravel())

    def _scores(self, labels: Indices, direction: Doubles) -> Doubles:
        centroids = self.centroids[labels]
        return _scores(self._metric, centroids, squared_norms(centroids), direction)


def _scores(metric: Metric, centroids: Floats, squares: Doubles, direction: Doubles) -> Doubles:
    """What a query ranks centroids (m, d) by, one at a time, smallest first: see `exact`, too."""
    products = row_products(centroids, direction)
    if metric == "cosine":
        return -products / np.sqrt(np.maximum(squares, SMALLEST))
    return -products if metric == "dot" else squares / 2 - products


def _nearest_pairs(
    rows: Floats, centroids: Doubles, row: Indices, label: Indices
) -> tuple[Labels, Doubles]:
    """For each row the nearest of the centroids it is paired with, and the squared distance.

    Every row is in a pair; of centroids equally near the lower one is taken.
    """
    squares = _pair_squares(rows, centroids, row, label)
    if len(row) == len(rows):  # one centroid each, as a rule
        return label.astype(np.int32), squares
    order = np.lexsort((label, squares, row))
    best = order[group_positions(row[order]) == 0]
    return label[best].astype(np.int32), squares[best]


def _pair_squares(rows: Floats, centroids: Doubles, row: Indices, label: Indices) -> Doubles:
    """Squared distances (m,) of pairs of a row and a centroid, by their numbers."""
    kernels = KERNELS.fused(len(row))
    if kernels is not None:
        measured, _ = kernels.measure("square", Shelf.of_vectors(rows), row, label, centroids)
        return measured
    squares = np.empty(len(row))
    step = max(1, COMPARED_VALUES // rows.shape[1])
    for start in range(0, len(row), step):
        some = slice(start, start + step)
        squares[some] = squared_differences(rows[row[some]], centroids[label[some]])
    return squares


def _graph(space: Literal["l2", "ip", "cosine"], centroids: Floats, seed: int) -> "hnswlib.Index":
    """A graph that is the same each time: two threads would build another one at each attempt."""
    import hnswlib  # here, since it takes a compiler to install and few databases need it

    graph = hnswlib.Index(space=space, dim=centroids.shape[1])
    graph.init_index(
        max_elements=len(centroids),
        M=GRAPH_LINKS,
        ef_construction=GRAPH_BUILD_BREADTH,
        random_seed=seed,
    )
    graph.add_items(centroids, np.arange(len(centroids)), num_threads=1)
    graph.set_ef(GRAPH_BREADTH)
    return graph


def _proposed(graph: "hnswlib.Index", rows: Floats, count: int) -> Indices | None:
    """The `count` centroids that the graph names for each row (n, count); None if it cannot."""
    try:
        labels, _ = graph.knn_query(rows, k=count, num_threads=1)
    except RuntimeError:  # it came upon fewer than it was asked for
        return None
    return labels.astype(np.intp)
