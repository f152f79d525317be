"""A sweep: the partitions of a shelf that queries probe, scanned by the compiled kernels.

Where there are no kernels, and where brackets tell so little that too many rows are left, the same
partitions go through `chunk` as probes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Indices, Mask
from .chunk import Probe
from .compiled import KERNELS
from .native import Alive, Left, Lone, Native, Ranking
from .queries import ROUNDING, Queries
from .shelf import Shelf

ROOM: Final = 4096
"""Rows of a query that may be left, and four times k more."""

K_MAX: Final = 1024
DIMS_MAX: Final = 1 << 16
"""Above these the scan is numpy's: the heap gets deep, and products leave 32 bits."""

PLAIN_DIMS_MAX: Final = 64
"""Above these a product in float32 spares much of measuring all rows without codes: 23,000 rows of
256 dims took 8.1 ms in the kernel and 7.0 by chunks."""

SHARED_QUERIES: Final = 4
"""From here on queries share the partitions they probe."""

ALONE: Final = 2
"""Partitions that each query scans by itself first."""

UPPER_SLACK: Final = 2.0**-40
"""More than what the way from a rank to an upper end and back can round off."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """Which partitions queries probe, all of them on the shelf."""

    shelf: Shelf
    ranked: NDArray[np.int32]
    """(q, nprobe): partitions, nearest first"""
    alive: Alive | None
    """None where only a mask can say what is seen"""

    def probes(self) -> Iterator[Probe]:
        """The same, for a scan by chunks: each partition with the queries that probe it."""
        if len(self.ranked) == 1:
            for _, block in self.shelf.present(self.ranked[0]):
                yield Probe(block)
            return
        flat = self.ranked.ravel()
        order = np.argsort(flat, kind="stable")
        labels, starts = np.unique(flat[order], return_index=True)
        queries = np.split(order // self.ranked.shape[1], starts[1:])
        asked = dict(zip(labels.tolist(), queries, strict=True))
        for label, block in self.shelf.present(labels):
            yield Probe(block, asked[label])


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep leaves, query after query: rows whose brackets reach into the nearest k."""

    kernels: Native
    shelf: Shelf
    queries: Queries
    query: Indices
    left: Left
    """ends not in rank; place = partition << 32 | row"""

    @property
    def scanned(self) -> NDArray[np.int64]:
        """(q,): rows looked at"""
        return self.left.counts[:, 1]

    def ranks(self) -> tuple[Doubles, Doubles]:
        """Within which k rows of each query are proven to be (q,), and lower ends (m,), in rank."""
        return _ranks(self.queries, self.query, self.left.bounds, self.left.lower)

    def measure(self, query: Indices, place: Indices) -> tuple[Doubles, Mask | None]:
        """Distances (m,) of rows at these places from these queries; see `Chunk.measure`."""
        metric, directions = self.queries.metric, self.queries.directions
        measured, unread = self.kernels.measure(metric, self.shelf, place, query, directions)
        if metric == "dot":
            measured *= self.queries.scales[query]
        return measured, unread


@dataclass(frozen=True, slots=True)
class Probing:
    """A search for one query, before its partitions are ranked."""

    ranking: Ranking
    shelf: Shelf
    nprobe: int
    alive: Alive | None
    whole: bool
    """Whether partitions are to have their vectors"""


def swept_alone(probing: Probing, queries: Queries, k: int) -> Lone | None:
    """Rank, scan and measure for the one query that there is; None if that is left to others."""
    kernels, ranking = KERNELS.loaded, probing.ranking
    if kernels is None or probing.alive is None or _is_too_large(queries, k):
        return None
    if probing.shelf.plain and queries.dims > PLAIN_DIMS_MAX:
        return None
    lone = kernels.alone(
        ranking,
        probing.shelf,
        queries.directions,
        probing.alive,
        nprobe=min(probing.nprobe, len(ranking.centroids)),
        k=k,
        room=_room(k),
        whole=probing.whole,
    )
    if lone is not None and queries.metric == "dot":
        lone.measured[...] *= queries.scales[0]
    return lone


def left_alone(probing: Probing, queries: Queries, left: Left) -> Swept:
    """What `swept_alone` has not measured."""
    kernels = KERNELS.loaded
    assert kernels is not None, "they have found it"
    return Swept(kernels, probing.shelf, queries, np.zeros(len(left.vid), np.intp), left)


def _is_too_large(queries: Queries, k: int) -> bool:
    return k > K_MAX or queries.dims > DIMS_MAX


def _room(k: int) -> int:
    return ROOM + 4 * k


def swept(partitions: Partitions, queries: Queries, k: int, bounds: Doubles) -> Swept | None:
    """Scan the partitions; None if that is left to the chunks.

    `bounds` (q,): ranks within which k rows of each query are proven to be already, or inf.
    """
    shelf, ranked = partitions.shelf, partitions.ranked
    kernels = KERNELS.loaded or KERNELS.fused(shelf.rows(ranked.ravel()))
    if kernels is None or partitions.alive is None:
        return None
    if shelf.plain or _is_too_large(queries, k):
        return None
    left = kernels.scan(
        queries.metric,
        shelf,
        _asking(ranked),
        queries.directions,
        partitions.alive,
        uppers=_uppers(queries, bounds),
        k=k,
        room=_room(k),
    )
    if left is None:
        return None
    query = np.repeat(np.arange(len(queries)), left.counts[:, 0])
    return Swept(kernels, shelf, queries, query, left)


def _asking(ranked: NDArray[np.int32]) -> NDArray[np.int64]:
    """What queries probe (q, p) as pairs of a partition and a query (m, 2), in the order of a scan.

    Of several queries each scans its nearest partitions first, so that there is a bound for the
    others; these are scanned for all queries together, so that memory delivers them once.
    """
    q, p = ranked.shape
    pairs = np.empty((q * p, 2), np.int64)
    own = p if q < SHARED_QUERIES else min(ALONE, p)
    first = pairs[: q * own].reshape(q, own, 2)
    first[..., 0], first[..., 1] = ranked[:, :own], np.arange(q)[:, np.newaxis]
    if own < p:
        shared = ranked[:, own:].ravel()
        order = np.argsort(shared, kind="stable")
        pairs[q * own :, 0], pairs[q * own :, 1] = shared[order], order // (p - own)
    return pairs


def _uppers(queries: Queries, bounds: Doubles) -> Doubles:
    """Upper ends (q,), of |x - q| or -x.q, of k rows whose ranks are within the bounds (q,)."""
    if queries.metric == "dot" or bounds.min() == np.inf:
        return bounds
    squares = 2 * np.maximum(bounds + queries.origins * (1 + ROUNDING), 0)
    uppers: Doubles = np.sqrt(squares) * (1 + UPPER_SLACK)
    return uppers


def _ranks(
    queries: Queries, query: Indices, uppers: Doubles, lowers: Doubles
) -> tuple[Doubles, Doubles]:
    """Upper ends (q,) and lower ends (m,), of |x - q| or -x.q, in rank; see `sq8`."""
    if queries.metric == "dot":
        return uppers, lowers
    origins = queries.origins
    bounds = np.square(uppers) * 0.5 - origins * (1 - ROUNDING)
    near = np.maximum(lowers, 0)
    return bounds, np.square(near) * 0.5 - origins[query] * (1 + ROUNDING)
