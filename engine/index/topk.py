"""The k nearest rows of each query, as far as they are known."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Indices, Vids
from .queries import Queries

GROUPS: Final = 64
_NO_QUERY: Final[Indices] = np.empty(0, np.intp)
_NO_DISTANCE: Final[Doubles] = np.empty(0)
_NO_VID: Final[Vids] = np.empty(0, np.int64)


class TopK:
    """Measured rows, and for each query the rank beyond which no row can be among the nearest.

    `bounds` falls by upper ends of brackets (`prove`, `lower`) and by distances (`merge`).
    """

    def __init__(self, queries: Queries, k: int) -> None:
        self._queries = queries
        self._k = k
        self._bounds: Doubles | None = None  # inf, unless it is known
        self._has_begun = False  # with k rows, whose bound nobody has asked for yet
        self._uppers: Doubles | None = None  # (q, k): the smallest upper ends so far
        self._query = _NO_QUERY  # the nearest so far, ordered by query, distance, vid
        self._distance = _NO_DISTANCE
        self._vid = _NO_VID

    @property
    def bounds(self) -> Doubles:
        """Ranks (q,) beyond which no row can be among the nearest of a query."""
        if self._has_begun:
            self._has_begun = False
            self.lower(self._queries.ranks_above(self._query[:1], self._distance[-1:]))
        if self._bounds is None:
            self._bounds = np.full(len(self._queries), np.inf)
        return self._bounds

    @property
    def is_empty(self) -> bool:
        """Whether no row was measured yet."""
        return not len(self._vid)

    def prove(self, queries: Indices, uppers: NDArray[np.floating[Any]]) -> None:
        """Take note of upper ends (g, n) of further rows for g of the queries."""
        if self._uppers is None:
            self._uppers = np.full((len(self._queries), self._k), np.inf)
        lowest = np.concatenate([self._uppers[queries], _smallest(uppers, self._k)], axis=1)
        self._uppers[queries] = lowest = _smallest(lowest, self._k)
        kth = lowest.max(axis=1)
        self.bounds[queries] = np.minimum(self.bounds[queries], kth)

    def lower(self, bounds: Doubles) -> None:
        """Take note of ranks (q,) within which k rows of each query were proven to be."""
        self._bounds = bounds.copy() if self._bounds is None else np.minimum(self._bounds, bounds)

    def begin(self, distance: Doubles, vid: Vids) -> None:
        """Take note of rows (m,), nearest first, of the one query that there is, before all others.

        They are measured; of more than k the first k count.
        """
        self._distance, self._vid = distance[: self._k], vid[: self._k]
        self._query = np.zeros(len(self._vid), np.intp)
        self._has_begun = len(self._vid) == self._k

    def merge(self, query: Indices, distance: Doubles, vid: Vids) -> None:
        """Take note of measured rows (m,), each for one query."""
        query = np.concatenate([self._query, query])
        distance = np.concatenate([self._distance, distance])
        vid = np.concatenate([self._vid, vid])
        order = np.lexsort((vid, distance, query))
        position = group_positions(query[order])
        order = order[position < self._k]
        self._query, self._distance, self._vid = query[order], distance[order], vid[order]
        last = group_positions(self._query) == self._k - 1
        full = self._query[last]
        ranks = self._queries.ranks_above(full, self._distance[last])
        self.bounds[full] = np.minimum(self.bounds[full], ranks)

    def of(self, query: int) -> tuple[Vids, Doubles]:
        """Vids (m,) and distances (m,) of one query's nearest, in order."""
        if len(self._queries) == 1:
            return self._vid, self._distance
        start, stop = np.searchsorted(self._query, [query, query + 1])
        return self._vid[start:stop], self._distance[start:stop]


def _smallest(values: NDArray[Any], k: int) -> NDArray[Any]:
    """At most k columns of values (g, n), the smallest of each row, in no order.

    Of many columns, the smallest of each of 64 k groups compete: k values of different columns
    prove as much, and seldom are two of the smallest k in one group.
    """
    groups = GROUPS * k
    depth = values.shape[1] // groups
    if depth >= 4:
        grouped = values[:, : depth * groups].reshape(-1, depth, groups).min(axis=1)
        values = np.concatenate([grouped, values[:, depth * groups :]], axis=1)
    if values.shape[1] <= k:
        return values
    smallest: NDArray[Any] = np.partition(values, k - 1, axis=1)[:, :k]
    return smallest


def group_positions(groups: Indices) -> Indices:
    """The position of each entry within its group, for group numbers (n,) in ascending order."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
