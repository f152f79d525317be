"""k-means, one round at a time.

    blocks     the rows of a round, some thousands each
    partial    assigns the rows of one block: pure, in any order, in any thread
    add        sums up in block order, some blocks at a time
    advance    new centroids, then repairs

Lloyd's algorithm on a sample.  Of a sample too large for a round, each round takes the next few
blocks, and these are strided, so that each sees the whole sample.  Rows are assigned exactly
(`centroids`) and summed in float64 in block order, so neither threads nor BLAS change a byte.

Lloyd alone leaves skewed data in partitions of very uneven size, and the large ones are what a
search pays for.  So on all rounds but the last few, clusters of more than twice the mean are split
at the expense of clusters that starve: the centroid of a starving cluster moves next to that of an
oversized one, its own rows fall to their next nearest, and the rounds that follow share the
oversized cluster out.  Empty clusters are used up first, on every round.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from .arrays import Doubles, Floats, Indices, Labels
from .centroids import ExactSearch
from .compiled import KERNELS
from .distance import squared_differences
from .health import imbalance

BLOCK_ROWS: Final = 4096
"""Rows of a block."""

ROUND_BLOCKS: Final = 32
"""Blocks of a round, at most, while that makes `ROUND_SHARE` rows for each centroid."""

ROUND_SHARE: Final = 64

SETTLING_ROUNDS: Final = 4
"""Rounds at the end that do not balance: a cluster just split needs some to settle."""

OVERSIZED: Final = 2.0
STARVING: Final = 0.3
"""Sizes, relative to the mean, beyond which a cluster is split, or used up to split another."""

APART: Final = 1e-6
"""Squared distance to the centroid, relative to the mean, below which a row splits nothing off."""

NUDGE: Final = 0.1
"""How far towards a row the centroids of a split cluster are moved from its mean."""

ROUNDS: Final = 10
"""Rounds of a training, unless it is told otherwise."""

START_ROWS: Final = 8
"""Rows for each centroid that k-means++ draws from."""


@dataclass(frozen=True, slots=True)
class Partial:
    """What one block of b rows adds to a round."""

    labels: Labels
    """(b,): the nearest centroid of each row"""
    squares: Doubles
    """(b,): the squared distance to it"""
    clusters: Labels
    """(c,): the centroids that have rows here, ascending"""
    sums: Doubles
    """(c, d): the sum of these rows"""


@dataclass(frozen=True, slots=True)
class Report:
    """What a round saw, before it changed the centroids."""

    round: int
    inertia: float
    """mean squared distance of a row to its centroid"""
    empty: int
    """clusters without a row"""
    imbalance: float
    """nlist * sum of squared sizes / square of the rows; 1 for clusters of one size"""


@dataclass(frozen=True, slots=True)
class State:
    """Where k-means stands between two rounds; with the same sample it goes on to the same end."""

    round: int
    first: int
    """the block the next round begins with"""
    random: dict[str, Any]
    """the generator's state, as JSON can hold it"""
    centroids: Floats
    """(nlist, d)"""


class KMeans:
    """Clusters a sample (m, d) float32 in index space into nlist centroids."""

    def __init__(
        self,
        sample: Floats,
        nlist: int,
        *,
        seed: int,
        rounds: int = ROUNDS,
        balance: bool = True,
        start: Literal["sample", "kmeans++"] = "sample",
        block_rows: int | None = None,
    ) -> None:
        self.nlist = nlist
        self.round = 0
        self.rounds = rounds
        self._sample = sample
        self._balance = balance
        self._random = np.random.default_rng(seed)
        choose = _spread_rows if start == "kmeans++" else _sample_rows
        self._search = ExactSearch("l2", sample[choose(sample, nlist, self._random)])
        self._rows = block_rows or BLOCK_ROWS
        """Rows of a block."""
        self._blocks = -(-len(sample) // self._rows)
        self._first = int(self._random.integers(self._blocks))
        self._added: list[Partial] = []
        """What was added to this round, without its sums."""
        self._sums = np.zeros(0)

    @property
    def centroids(self) -> Floats:
        """(nlist, d): as of the last round."""
        return self._search.centroids

    @property
    def done(self) -> bool:
        """Whether all rounds are over."""
        return self.round >= self.rounds

    @property
    def state(self) -> State:
        """What `restore` takes."""
        random = dict(self._random.bit_generator.state)
        return State(self.round, self._first, random, self.centroids)

    def restore(self, state: State) -> None:
        """Go on where another run on the same sample, with the same seed, has stood."""
        self.round, self._first = state.round, state.first
        self._random.bit_generator.state = state.random
        self._search = ExactSearch("l2", state.centroids)

    def blocks(self) -> range:
        """The numbers of this round's blocks."""
        rows = max(ROUND_BLOCKS * BLOCK_ROWS, ROUND_SHARE * self.nlist)
        return range(min(self._blocks, -(-rows // self._rows)))

    def partial(self, block: int) -> Partial:
        """Assign the rows of one of this round's blocks; may run in any thread."""
        rows = np.ascontiguousarray(self._sample[self._block_rows(block)])
        labels, squares = self._search.assign(rows)
        return Partial(labels, squares, *_cluster_sums(rows, labels))

    def add(self, partials: Sequence[Partial]) -> None:
        """Sum up the next blocks of this round, in order."""
        if not self._added:
            self._sums = np.zeros(self.centroids.shape)
        for partial in partials:
            self._sums[partial.clusters] += partial.sums
            self._added.append(replace(partial, sums=np.zeros(0)))

    def advance(self, partials: Sequence[Partial] = ()) -> Report:
        """Move the centroids, once the partials of all blocks were added, these ones last."""
        self.add(partials)
        added, self._added = self._added, []
        labels = np.concatenate([partial.labels for partial in added])
        squares = np.concatenate([partial.squares for partial in added])
        sizes = np.bincount(labels, minlength=self.nlist)
        empty = int((sizes == 0).sum())
        report = Report(self.round, float(squares.mean()), empty, imbalance(sizes))
        centroids = self._means(sizes)
        self._repair(centroids, sizes, labels, squares)
        self._search = ExactSearch("l2", centroids)
        self._first = (self._first + len(added)) % self._blocks
        self.round += 1
        return report

    def _block_rows(self, block: int) -> slice:
        """The rows of a block: neighbours in memory, unless only some blocks are used."""
        if len(self.blocks()) == self._blocks:
            return slice(block * self._rows, (block + 1) * self._rows)
        return slice((self._first + block) % self._blocks, None, self._blocks)

    def _means(self, sizes: Indices) -> Floats:
        """The mean of each cluster; a centroid without rows stays."""
        sums, self._sums = self._sums, np.zeros(0)
        centroids = self.centroids.copy()
        filled = sizes > 0
        centroids[filled] = sums[filled] / sizes[filled, np.newaxis]
        return centroids

    def _repair(self, centroids: Floats, sizes: Indices, labels: Labels, squares: Doubles) -> None:
        """Split the largest clusters with the centroids of empty and starving ones.

        The centroids that share a cluster stand close to its mean, each a little towards another of
        its rows: planes through the mean part them.  On the rows themselves they would be farther
        from the others than the mean is, in more than a few dimensions, and draw nothing.
        """
        numbers = np.arange(len(self._sample))
        rows = np.concatenate([numbers[self._block_rows(block)] for block in self.blocks()])
        apart = squares > APART * squares.mean()
        for cluster, donors in self._splits(sizes).items():
            members = rows[apart & (labels == cluster)]
            towards = self._random.permutation(members)[: len(donors) + 1]
            sharing = [cluster, *donors][: len(towards)]
            mean = centroids[cluster]
            centroids[sharing] = mean + NUDGE * (self._sample[towards] - mean)

    def _splits(self, sizes: Indices) -> dict[int, list[int]]:
        """Clusters to split, each with those that give their centroids up for it."""
        mean = sizes.sum() / self.nlist
        balancing = self._balance and self.round < self.rounds - SETTLING_ROUNDS
        starving = STARVING * mean if balancing else 0
        splits: dict[int, list[int]] = {}
        shares = sizes.astype(np.float64)  # the size of a cluster, over the centroids it will have
        for donor in np.argsort(sizes, kind="stable").tolist():
            cluster = int(shares.argmax())
            wanted = shares[cluster] > (OVERSIZED * mean if sizes[donor] else 1)
            if sizes[donor] > starving or not wanted:
                break
            splits.setdefault(cluster, []).append(donor)
            shares[cluster] = sizes[cluster] / (len(splits[cluster]) + 1)
        return splits


def default_nlist(rows: int) -> int:
    """The number of partitions for so many rows: their square root, at least 1."""
    return max(1, math.isqrt(rows))


def _cluster_sums(rows: Floats, labels: Labels) -> tuple[Labels, Doubles]:
    """The labels (c,) that occur, ascending, and the sum (c, d) of the rows of each, in order.

    Without the kernels the first row of every cluster is added, then the second of every one that
    has two, and so on: that is the same sum.
    """
    kernels = KERNELS.loaded
    if kernels is not None:
        found, groups = np.unique(labels, return_inverse=True)
        return found, kernels.add_up(rows, groups.astype(np.int32), len(found))
    order = np.argsort(labels, kind="stable")
    clusters, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    sums = np.zeros((len(clusters), rows.shape[1]))
    for layer in range(sizes.max()):
        deep = np.flatnonzero(sizes > layer)
        sums[deep] += rows[order[starts[deep] + layer]]
    return clusters, sums


def _sample_rows(sample: Floats, nlist: int, random: np.random.Generator) -> Indices:
    """Rows of the sample to start from, none twice if there are enough."""
    return random.choice(len(sample), nlist, replace=nlist > len(sample))


def _spread_rows(sample: Floats, nlist: int, random: np.random.Generator) -> Indices:
    """Rows to start from by k-means++ (Arthur and Vassilvitskii, 2007).

    Each is drawn with a probability in proportion to its squared distance to the nearest so far;
    the draw is from some rows of the sample, which keeps it as cheap as a round.
    """
    some = random.permutation(len(sample))[: START_ROWS * nlist]
    rows = sample[some]
    chosen = [int(random.integers(len(rows)))]
    nearest = squared_differences(rows, np.broadcast_to(rows[chosen[0]], rows.shape))
    while len(chosen) < nlist:
        reached = np.cumsum(nearest)
        draw = random.random() * reached[-1]
        chosen.append(min(int(np.searchsorted(reached, draw, side="right")), len(rows) - 1))
        latest = squared_differences(rows, np.broadcast_to(rows[chosen[-1]], rows.shape))
        np.minimum(nearest, latest, out=nearest)
    return some[chosen]
