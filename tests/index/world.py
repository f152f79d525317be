"""Rows in partitions on a shelf, searched by the compiled kernels and by brute force."""

import numpy as np
from numpy.typing import NDArray

from centroidb.engine.index.block import Block
from centroidb.engine.index.centroids import ExactSearch
from centroidb.engine.index.codec import CodecName
from centroidb.engine.index.distance import Metric, index_space
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.scan import Found, Scan, search
from centroidb.engine.index.segment import encode_segment
from centroidb.engine.index.shelf import Shelf
from centroidb.engine.index.sweep import Partitions
from centroidb.txn.deaths import Deaths, Visibility
from centroidb.wal.types import Lsn, Vid
from tests.index.data import SEED, Rows, brute_force


class World:
    """Rows (n, d) in partitions, all of them on a shelf; every fifth has ended."""

    def __init__(
        self,
        metric: Metric,
        vectors: Rows,
        *,
        cached: bool | None,
        plain: bool = False,
        parts: int = 7,
        high: int = 0,
    ) -> None:
        """cached: whether vectors are in memory; None, those of every other partition.

        plain: without codes.
        """
        random = np.random.default_rng(SEED)
        self.metric, self.vectors = metric, vectors
        self.vids = np.sort(random.choice(10 * len(vectors), len(vectors), replace=False))
        self.shelf = Shelf(parts, plain=plain)
        self.centroids = np.zeros((parts, vectors.shape[1]), np.float32)
        owners = random.integers(0, parts - 1, len(vectors))  # the last one stays empty
        for part in range(parts):
            mine = owners == part
            has_vectors = part % 2 == 0 if cached is None else cached
            self.shelf.put(part, self._block(part, mine, has_vectors) if mine.any() else None)
        deaths = Deaths(Vid(10 * len(vectors)))
        deaths.record(self.vids[::5], Lsn(3))
        self.visible = deaths.visibility(Vid(high or 10 * len(vectors)), Lsn(4))

    def _block(self, part: int, mine: NDArray[np.bool_], cached: bool) -> Block:
        rows = self.vectors[mine]
        self.centroids[part] = mean = (
            index_space(self.metric, rows).mean(axis=0, dtype=np.float64).astype(np.float32)
        )
        crcs = np.zeros(len(rows), np.uint32)
        codec: CodecName = "flat" if self.shelf.plain else "sq8"
        segment = encode_segment(codec, self.metric, mean, self.vids[mine], crcs, rows)
        return Block.of(codec, self.metric, mean, [segment], rows if cached else None)

    def fetch(self, vids: NDArray[np.int64]) -> Rows:
        """Vectors by vid."""
        return self.vectors[np.searchsorted(self.vids, vids)]

    def search(self, queries: Rows, k: int, visible: Visibility | None = None) -> list[Found]:
        """Every query probes all partitions, in an order of its own."""
        seen = visible or self.visible
        random = np.random.default_rng(SEED)
        everyone = np.arange(len(self.shelf.blocks), dtype=np.int32)
        ranked = np.array([random.permutation(everyone) for _ in queries])
        return search(
            self.metric,
            queries,
            [],
            k,
            visible=seen,
            fetch=self.fetch,
            partitions=Partitions(self.shelf, ranked, seen.alive()),
        )

    def centroid_search(self) -> ExactSearch:
        """That of its partitions."""
        return ExactSearch(self.metric, self.centroids)

    def scan(self, query: Rows, k: int, visible: Visibility | None = None) -> Scan:
        """A scan for one query (d,) that has not begun."""
        queries = Queries.of(self.metric, query[np.newaxis])
        return Scan(queries, k, visible or self.visible, self.fetch)

    def in_waves(self, query: Rows, k: int) -> Found:
        """One query probes one partition after another, some of them together."""
        scan = self.scan(query, k)
        order = np.random.default_rng(SEED).permutation(len(self.shelf.blocks)).astype(np.int32)
        for wave in np.array_split(order, [1, 2, 4]):
            scan.probe([], Partitions(self.shelf, wave[np.newaxis], self.visible.alive()))
        return scan.found(0)

    def expected(self, query: Rows, k: int) -> tuple[list[int], list[float]]:
        """The answer by brute force."""
        seen = self.visible(self.vids)
        mask = np.ones(len(self.vids), np.bool_) if seen is None else seen
        return brute_force(self.metric, query, self.vids[mask], self.vectors[mask], k)


def answer(found: Found) -> tuple[list[int], list[float]]:
    """What a query found, to compare exactly."""
    return found.vids.tolist(), found.distances.tolist()
