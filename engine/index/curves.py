"""How recall grows with the partitions probed, for sampled queries: what `calibration` is fed.

    partitions, one after another    their rows, decoded from the codes that segments hold
    values (q, m)                    from every sampled query to every row, by one product
    kept                             rows that are among the k nearest of those probed no later

Codes are near enough: where a row lies in the order of a query's neighbours moves by less than
sampling does, and there is a quarter of the bytes to read, partition by partition, as they lie
in the file.  So a calibration reads the index and, but for the queries, none of the rows.

A kept row has its level, the rung with which its partition is probed.  For every level there is
the k-th smallest value of those probed no later; a row above it can not change any trace.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Floats, Indices, Labels, Mask, Vids
from .block import Block
from .calibration import Traces, trace
from .centroids import CentroidSearch
from .distance import Metric, index_space, squared_norms
from .flat import FloatRows
from .frame import Frame
from .probing import ladder, watched
from .spread import Outlook, Spread, centroid_values, outlook
from .sq8 import Sq8Rows
from .topk import group_positions

KEPT_MORE: Final = 1 << 19
"""Rows kept, over all queries, and twice as many as were needed the last time, before those that
no trace needs any more are dropped."""

NO_ANGLE: Final = 2.0
"""The value of a zero row under cosine: its distance is 1."""


def residuals(block: Block) -> Floats:
    """The rows (m, d) of a partition's block less its centroid, in index space, by their codes."""
    assert block.centroid is not None, "only rows of a partition have residuals"
    if isinstance(block.codes, Sq8Rows):
        coded: Floats = block.codes.codes * block.codes.steps.astype(np.float32)[:, np.newaxis]
        return coded
    assert isinstance(block.floats, FloatRows), "a block has codes or vectors"
    return index_space(block.metric, block.floats.vectors) - block.centroid


class Curves:
    """Sampled queries on their way through all partitions."""

    def __init__(
        self, metric: Metric, queries: Floats, own: Vids, search: CentroidSearch, ks: Sequence[int]
    ) -> None:
        """For queries (q, d) as given, each of which is the row `own` (q,), or 0 for none."""
        self._metric = metric
        self._queries = queries
        self._own = own
        self._ks = ks
        self._centroids = search.centroids
        self._frame = frame = Frame.of(metric, queries, search.centroids)
        self._directions: Floats = index_space(metric, queries) * frame.of_queries
        self._middles = frame.moved(search.centroids)
        nlist = len(search.centroids)
        self._ranking = search.rank(queries, nlist)
        self._rungs = ladder(nlist)
        places = np.argsort(self._ranking, axis=1)
        self._levels = np.searchsorted(self._rungs, places, side="right")
        self._bounds = np.full((len(queries), len(self._rungs)), np.inf, np.float32)
        self._kept: list[tuple[Indices, Indices, Floats]] = []
        self._n_kept = 0
        self._n_kept_max = KEPT_MORE

    def add(self, partition: int, rows: Floats, vids: Vids) -> None:
        """Rows (m, d) of a partition less its centroid; all those it has, in one call or more."""
        values = self._values(partition, rows)
        values[self._own[:, np.newaxis] == vids] = np.inf
        if len(vids) > self._k:
            values = np.partition(values, self._k - 1, axis=1)[:, : self._k]
        levels = self._levels[:, partition]
        bounds = self._bounds[np.arange(len(levels)), levels]
        query, row = np.nonzero(values < bounds[:, np.newaxis])
        self._kept.append((query, levels[query], values[query, row]))
        self._n_kept += len(query)
        if self._n_kept > self._n_kept_max:
            self._reduce()

    def _values(self, partition: int, rows: Floats) -> Floats:
        """Values (q, m) in the frame, of float32 products of what is left without the centroid."""
        with np.errstate(over="ignore", invalid="ignore"):  # no row of such a value is kept
            return self._products(self._middles[partition], rows * self._frame.of_rows)

    def _products(self, centroid: Floats, rows: Floats) -> Floats:
        if self._metric == "dot":
            with_rows = self._directions @ rows.T
            return -(self._directions @ centroid)[:, np.newaxis] - with_rows
        offsets = self._directions - centroid
        values: Floats = np.multiply(offsets @ rows.T, -2, dtype=np.float32)
        values += np.einsum("ij,ij->i", offsets, offsets)[:, np.newaxis]
        values += np.einsum("ij,ij->i", rows, rows)
        if self._metric == "cosine":
            values[:, ~_have_direction(rows + centroid)] = NO_ANGLE
        return values

    def _reduce(self) -> None:
        """Drop rows that k others, probed no later, are nearer than."""
        query, level, value = self._sorted()
        nearest = np.full((len(self._own), self._k), np.inf, np.float32)
        for rung in range(len(self._rungs)):
            at = np.flatnonzero(level == rung)
            if len(at):
                nearest = self._with(nearest, query[at], value[at])
            self._bounds[:, rung] = nearest.max(axis=1)
        near = value <= self._bounds[query, level]
        self._kept = [(query[near], level[near], value[near])]
        self._n_kept = int(near.sum())
        self._n_kept_max = KEPT_MORE + 2 * self._n_kept

    @property
    def _k(self) -> int:
        return max(self._ks)

    def _with(self, nearest: Floats, query: Indices, value: Floats) -> Floats:
        """The k smallest (q, k) of these and of further ones (n,), which are ordered by query."""
        position = group_positions(query)
        first = position < self._k
        more = np.full_like(nearest, np.inf)
        more[query[first], position[first]] = value[first]
        both = np.concatenate([nearest, more], axis=1)
        smallest: Floats = np.partition(both, self._k - 1, axis=1)[:, : self._k]
        return smallest

    def _sorted(self) -> tuple[Indices, Indices, Floats]:
        """All kept rows, ordered by query, level and value."""
        nothing = (np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))
        parts = zip(nothing, *self._kept, strict=True)
        query, level, value = (np.concatenate(part) for part in parts)
        order = np.lexsort((value, level, query))
        return query[order], level[order], value[order]

    def traces(self, spread: Spread, sizes: NDArray[np.int64]) -> list[Traces]:
        """What `calibration.fit` takes, for each k; sizes (nlist,): rows that a probe reads."""
        self._reduce()
        (query, level, value), *_ = self._kept
        places = np.concatenate([[0], self._rungs])[level]  # a place that is probed at this rung
        starts = np.searchsorted(query, np.arange(len(self._own) + 1))
        noted = np.array(
            [
                [trace(value[of].astype(np.float64), places[of], self._rungs, k) for k in self._ks]
                for of in (slice(*ends) for ends in pairwise(starts))
            ]
        )
        taus = noted[:, :, 0] / self._frame.of_values + self._frame.bases[:, np.newaxis, np.newaxis]
        read = np.cumsum(sizes[self._ranking], axis=1)[:, self._rungs - 1].astype(np.float64)
        expected = self._expected(spread)
        return [
            Traces(self._rungs, expected, read, taus[:, at], noted[:, at, 1])
            for at in range(len(self._ks))
        ]

    def _expected(self, spread: Spread) -> Outlook:
        """(q, l): the outlook of the partitions that decide."""
        seen = self._ranking[:, watched(self._rungs)]
        shown = [
            expected_of(self._metric, query, self._centroids, partitions, spread)
            for query, partitions in zip(self._queries, seen, strict=True)
        ]
        means, widths = ([getattr(each, name) for each in shown] for name in ("means", "widths"))
        return Outlook(np.array(means), np.array(widths))


def expected_of(
    metric: Metric, query: Floats, centroids: Floats, partitions: Labels, spread: Spread
) -> Outlook:
    """The outlook (m,) of partitions (m,) for one query (d,) as given."""
    near: Doubles = centroid_values(metric, query, centroids[partitions])
    square = float(squared_norms(query[np.newaxis])[0])
    return outlook(metric, spread, partitions, near, square)


def _have_direction(vectors: Floats) -> Mask:
    """Whether each of these (n, d), zero or unit vectors but for rounding, is a unit vector."""
    long: Mask = np.einsum("ij,ij->i", vectors, vectors) > 0.25
    return long
