"""The search over blocks: sieve, then measure what is left.

            blocks a query probes
                    |
        brackets of all their rows          int8 or float32 products (`chunk`)
                    |
        rows the snapshot does not see      leave before anything is concluded from them
                    |
        bound T: k rows are proven near     the k-th smallest upper end, or k-th measured distance
                    |
        lower end <= T: candidates          some dozens of a million
                    |
        `distances`, lower ends first       read, measured, T tightened, until the next is beyond T
                    |
        the nearest k by (distance, vid)

What comes out is what `distances` and `nearest` make of all visible rows, bit for bit, whatever
the codec, the order of the blocks, and the other queries of the batch.

Probes may be a stream longer than memory.  They are taken a chunk at a time, and between chunks
nothing is kept but k rows a query; where brackets tell nothing (data far from the origin, say)
every row is measured, a bounded number at a time.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Floats, Indices, Labels, Mask, Vids
from .chunk import Chunk, Ends, Probe, Task, chunks
from .distance import Metric, distances, nearest
from .native import measured_alone
from .queries import Queries
from .sweep import Partitions, Probing, Swept, left_alone, swept, swept_alone
from .topk import TopK, group_positions

__all__ = ["Fetch", "Found", "Probe", "Scan", "Visible", "search"]

Visible: TypeAlias = Callable[[Vids], Mask | None]
"""Which of the rows (n,) the snapshot sees; None for all of them."""

Fetch: TypeAlias = Callable[[Vids], Floats]
"""Reads the float32 vectors (n, d) of rows (n,)."""

MEASURED_FIRST: Final = 32
"""Rows of a query measured at first, if k is less: fewer are not worth a round of their own."""

MEASURED_VALUES: Final = 1 << 17
"""Values of vectors brought together to be measured: 512 KiB, and as much of queries."""


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest rows of one query, ordered by (distance, vid)."""

    vids: Vids
    """(m,), m <= k"""
    distances: Doubles
    """(m,)"""
    rows_scanned: int
    """rows of the blocks it looked at"""
    rows_reranked: int
    """rows whose distance was measured"""


def search(
    metric: Metric,
    queries: Floats,
    probes: Iterable[Probe],
    k: int,
    *,
    visible: Visible,
    fetch: Fetch,
    partitions: Partitions | None = None,
) -> list[Found]:
    """The k nearest visible rows of the probed blocks, for queries (q, d) as the user gave them.

    `partitions` are probed too.  `visible` is asked about rows before they are counted on; `fetch`
    reads the vectors of rows whose block has none, in the order asked for.
    """
    scan = Scan(Queries.of(metric, queries), k, visible, fetch)
    scan.probe(probes, partitions)
    return [scan.found(query) for query in range(len(queries))]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Pairs of a query and a row whose bracket reaches into the nearest k."""

    query: Indices
    lower: Doubles
    vid: Vids
    place: Indices
    """position of the row in the chunk"""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(
            np.concatenate([part.query for part in parts]),
            np.concatenate([part.lower for part in parts]),
            np.concatenate([part.vid for part in parts]),
            np.concatenate([part.place for part in parts]),
        )

    def where(self, choice: Mask | Indices) -> Self:
        return type(self)(
            self.query[choice], self.lower[choice], self.vid[choice], self.place[choice]
        )

    def __len__(self) -> int:
        return len(self.query)


class Scan:
    """One search: what is known so far, and how to know more."""

    def __init__(self, queries: Queries, k: int, visible: Visible, fetch: Fetch) -> None:
        self.queries = queries
        self._k = k
        self._visible = visible
        self._fetch = fetch
        self._top = TopK(queries, k)
        self._scanned = np.zeros(len(queries), np.int64)
        self._reranked = np.zeros(len(queries), np.int64)

    def probe(self, probes: Iterable[Probe], partitions: Partitions | None) -> None:
        """Take note of the rows of further blocks, none of which were probed before."""
        if partitions is not None and not self.sweep(partitions):
            probes = chain(partitions.probes(), probes)
        self._probe_chunks(probes)

    def _probe_chunks(self, probes: Iterable[Probe]) -> None:
        for chunk in chunks(probes, self.queries):
            self.measure(chunk, self.sieve(chunk))

    def kth_distance(self, query: int) -> float:
        """That of the k-th nearest row so far; inf while fewer are known."""
        distances = self._top.of(query)[1]
        return float(distances[-1]) if len(distances) == self._k else math.inf

    def found(self, query: int) -> Found:
        """What one query has found."""
        vids, distances = self._top.of(query)
        return Found(vids, distances, int(self._scanned[query]), int(self._reranked[query]))

    def sweep(self, partitions: Partitions) -> bool:
        """Scan partitions by the compiled kernels; False if it has to be done by chunks."""
        left = swept(partitions, self.queries, self._k, self._top.bounds)
        if left is None:
            return False
        self._scanned += left.scanned
        vid = left.left.vid
        alone = len(self.queries) == 1 and self._top.is_empty
        if alone and len(vid) <= measured_alone(self._k):
            self._begin(vid, self._distances(left, left.query, vid, left.left.place))
        else:
            self._narrow(left)
        return True

    def sweep_alone(self, probing: Probing) -> Labels | None:
        """Rank and scan for the one query that there is, before all else, in one step.

        Returns what it has probed (1, nprobe); None if it has to be done step by step.
        """
        lone = swept_alone(probing, self.queries, self._k)
        if lone is None:
            return None
        if not lone.fits:
            self._probe_chunks(Partitions(probing.shelf, lone.ranked, probing.alive).probes())
            return lone.ranked
        self._scanned += lone.scanned
        if lone.left is not None:
            self._narrow(left_alone(probing, self.queries, lone.left))
            return lone.ranked
        if lone.unread is not None:
            query = np.zeros(len(lone.vid), np.intp)
            self._read(lone.measured, lone.unread, query, lone.vid)
            self._begin(lone.vid, lone.measured)
        else:
            self._begin_in_order(lone.vid, lone.measured)
        if probing.shelf.plain:
            self._reranked += lone.scanned - len(lone.vid)
        return lone.ranked

    def _begin(self, vid: Vids, measured: Doubles) -> None:
        order = nearest(measured, vid, len(vid))
        self._begin_in_order(vid[order], measured[order])

    def _begin_in_order(self, vid: Vids, measured: Doubles) -> None:
        self._top.begin(measured, vid)
        self._reranked += len(vid)

    def _narrow(self, left: Swept) -> None:
        """Measure what a sweep leaves, as far as need be."""
        bounds, lower = left.ranks()
        self._top.lower(bounds)
        self.measure(left, _Candidates(left.query, lower, left.left.vid, left.left.place))

    def sieve(self, chunk: Chunk) -> _Candidates:
        """The rows of a chunk that may be among the nearest."""
        vids = np.concatenate([block.vids for block in chunk.blocks])
        seen = self._visible(vids)
        parts = []
        for task in chunk.tasks():
            lower, upper = task.asked.brackets()
            if seen is not None:
                hidden = ~task.pick(seen)
                lower[:, hidden] = np.nan  # not below any bound, not even an infinite one
                upper[:, hidden] = np.inf
            self._top.prove(task.queries, upper)
            self._scanned[task.queries] += task.rows
            parts.append(self._candidates(task, lower, vids))
        return _Candidates.joined(parts)

    def _candidates(self, task: Task, lower: Ends, vids: Vids) -> _Candidates:
        bounds = _above(self._top.bounds[task.queries], lower.dtype)
        pairs = np.flatnonzero(lower <= bounds[:, np.newaxis])
        query, row = np.divmod(pairs, task.rows)
        ends = lower.ravel()[pairs].astype(np.float64)
        place = task.places(row)
        return _Candidates(task.queries[query], ends, vids[place], place)

    def measure(self, source: Chunk | Swept, left: _Candidates) -> None:
        """Measure candidates, those with the lowest ends first, while they may be near."""
        left = left.where(np.lexsort((left.lower, left.query)))
        size = max(self._k, MEASURED_FIRST)
        while len(left := left.where(left.lower <= self._top.bounds[left.query])):
            first = group_positions(left.query) < size
            self._measure(source, left.where(first))
            left = left.where(~first)
            size *= 2

    def _measure(self, source: Chunk | Swept, chosen: _Candidates) -> None:
        """Measure these, in the order in which they lie in memory and in the file."""
        order = np.argsort(chosen.place)
        step = max(1, MEASURED_VALUES // self.queries.dims)
        measured = np.empty(len(order))
        for start in range(0, len(order), step):
            at = order[start : start + step]
            some = chosen.where(at)
            measured[at] = self._distances(source, some.query, some.vid, some.place)
        self._top.merge(chosen.query, measured, chosen.vid)
        self._reranked += np.bincount(chosen.query, minlength=len(self.queries))

    def _distances(
        self, source: Chunk | Swept, query: Indices, vid: Vids, place: Indices
    ) -> Doubles:
        """Distances (m,) of rows (m,) from queries (m,), by place where they come from a chunk."""
        measured, unread = source.measure(query, place)
        if unread is not None:
            self._read(measured, unread, query, vid)
        return measured

    def _read(self, measured: Doubles, unread: Mask, query: Indices, vid: Vids) -> None:
        """Add the distances of rows whose vectors are not in memory."""
        metric, asked = self.queries.metric, self.queries.vectors
        if len(asked) == 1:  # no row comes twice
            at = np.flatnonzero(unread)
            at = at[np.argsort(vid[at])]
            measured[at] = distances(metric, asked[0], self._fetch(vid[at]))
            return
        wanted, each = np.unique(vid[unread], return_inverse=True)
        vectors = self._fetch(wanted)[each]
        measured[unread] = distances(metric, asked[query[unread]], vectors)


def _above(bounds: Doubles, dtype: np.dtype[Any]) -> NDArray[np.floating[Any]]:
    """The bounds in the type of the brackets, rounded up, so that comparing is safe and cheap."""
    raised: NDArray[np.floating[Any]] = np.nextafter(bounds.astype(dtype), dtype.type(np.inf))
    return raised
