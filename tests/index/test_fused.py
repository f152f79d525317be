"""The compiled scan: its products are exact, and it finds what the scan without it finds."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from centroidb.engine.index import sweep
from centroidb.engine.index.block import Block
from centroidb.engine.index.distance import Metric, index_space
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.scan import Found, Scan, search
from centroidb.engine.index.segment import encode_segment
from centroidb.engine.index.shelf import Shelf
from centroidb.engine.index.sweep import Partitions, swept
from centroidb.txn.deaths import Deaths, Visibility
from centroidb.wal.types import Lsn, Vid
from tests.index.data import KINDS, METRICS, SEED, Rows, brute_force, make

pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("kernels")


class World:
    """Rows (n, d) in partitions, all of them on a shelf; every fifth has ended."""

    def __init__(
        self, metric: Metric, vectors: Rows, *, cached: bool, parts: int = 7, high: int = 0
    ) -> None:
        random = np.random.default_rng(SEED)
        self.metric, self.vectors = metric, vectors
        self.vids = np.sort(random.choice(10 * len(vectors), len(vectors), replace=False))
        self.shelf = Shelf(parts)
        owners = random.integers(0, parts - 1, len(vectors))  # the last one stays empty
        for part in range(parts):
            mine = owners == part
            self.shelf.put(part, self._block(mine, cached) if mine.any() else None)
        deaths = Deaths(Vid(10 * len(vectors)))
        deaths.record(self.vids[::5], Lsn(3))
        self.visible = deaths.visibility(Vid(high or 10 * len(vectors)), Lsn(4))

    def _block(self, mine: NDArray[np.bool_], cached: bool) -> Block:
        rows = self.vectors[mine]
        mean = index_space(self.metric, rows).mean(axis=0, dtype=np.float64).astype(np.float32)
        crcs = np.zeros(len(rows), np.uint32)
        segment = encode_segment("sq8", self.metric, mean, self.vids[mine], crcs, rows)
        return Block.of("sq8", self.metric, mean, [segment], rows if cached else None)

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

    def in_waves(self, query: Rows, k: int) -> Found:
        """One query probes one partition after another, some of them together."""
        scan = Scan(Queries.of(self.metric, query[np.newaxis]), k, self.visible, self.fetch)
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


@given(st.integers(1, 1100), st.integers(1, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_products_are_exact(dims: int, rows: int, seed: int, extreme: bool) -> None:
    """Of codes of any number, the largest ones too, also where a step goes past the end."""
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (rows, dims), dtype=np.int8)
    if extreme:
        codes = np.where(codes < 0, -127, 127).astype(np.int8)
    fused = importlib.import_module("centroidb.engine.index.fused")
    simd = importlib.import_module("centroidb.engine.index.simd")
    query = np.zeros((2, -(-dims // fused.STEP) * fused.STEP), np.int8)
    query[0, :dims] = np.abs(codes[0]) if extreme else random.integers(-127, 128, dims)
    query[1] = np.abs(query[0])
    columns = np.zeros(fused.FIELDS, np.int64)
    columns[[fused.CODES, fused.ROWS]] = codes.ctypes.data, rows
    excess = simd.RAISED * int(query[0].sum(dtype=np.int64))
    dots = np.empty(fused.TILE, np.int32)
    fused.multiply(columns, 0, rows, dims, query, excess, dots)
    expected = codes.astype(np.int64) @ query[0, :dims].astype(np.int64)
    assert dots[:rows].tolist() == expected.tolist()


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "codes only"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_search_equals_brute_force(kind: str, metric: Metric, cached: bool) -> None:
    """Vids and distances equal brute force bit for bit, alone and in a batch, on every kind."""
    for dims in (1, 2, 31, 32, 33, 256, 1024):
        vectors = make(kind, 160, dims)
        queries = np.concatenate([vectors[:2], make(kind, 5, dims, 1), -vectors[3:4]])
        world = World(metric, vectors, cached=cached, high=1200)
        for k in (1, 10, 400):
            expected = [world.expected(query, k) for query in queries]
            assert [answer(found) for found in world.search(queries, k)] == expected
            alone = [world.search(query[np.newaxis], k)[0] for query in queries[:3]]
            assert [answer(found) for found in alone] == expected[:3]


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "codes only"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_waves_find_what_one_pass_finds(kind: str, metric: Metric, cached: bool) -> None:
    """Partition after partition, each with the bound from those before, equals brute force."""
    for dims in (1, 31, 256):
        vectors = make(kind, 160, dims)
        queries = np.concatenate([vectors[:3], make(kind, 2, dims, 1)])
        world = World(metric, vectors, cached=cached, high=1200)
        for k in (1, 10, 400):
            for query in queries:
                assert answer(world.in_waves(query, k)) == world.expected(query, k)


@given(st.integers(0, 2**32 - 1), st.sampled_from(METRICS), st.integers(1, 1024))
def test_random_rows_equal_brute_force(seed: int, metric: Metric, dims: int) -> None:
    """Values of any size, copies and ties among them."""
    random = np.random.default_rng(seed)
    scale = np.float32(10.0 ** random.integers(-12, 12))
    vectors = (random.standard_normal((60, dims)) * scale).astype(np.float32)
    vectors[random.integers(0, 60, 20)] = vectors[random.integers(0, 60, 20)]
    vectors[:3] = 0
    queries = vectors[random.integers(3, 60, 6)] + np.float32(scale * random.integers(0, 2))
    queries = queries[queries.any(axis=1)]
    world = World(metric, vectors, cached=bool(random.integers(2)))
    found = [answer(each) for each in world.search(queries, 5)]
    assert found == [world.expected(query, 5) for query in queries]


@pytest.mark.parametrize("metric", METRICS)
def test_it_measures_few_rows(metric: Metric) -> None:
    """Some dozens of 4,000, and it says how many it has scanned."""
    vectors = make("random", 4000, 64)
    for found in World(metric, vectors, cached=True).search(vectors[:5], 10):
        assert found.rows_scanned == 4000
        assert found.rows_reranked <= 100


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [1, 6])
def test_the_kernels_are_what_scans(metric: Metric, count: int) -> None:
    """Alone and in a batch: nothing is left to the chunks where brackets tell something."""
    vectors = make("random", 500, 64)
    world = World(metric, vectors, cached=True)
    ranked = np.tile(np.arange(7, dtype=np.int32), (count, 1))
    partitions = Partitions(world.shelf, ranked, world.visible.alive())
    left = swept(partitions, Queries.of(metric, vectors[:count]), 10, np.full(count, np.inf))
    assert left is not None
    assert left.scanned.tolist() == [500] * count


def test_too_many_rows_are_left_to_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for what is found, the answer is the same."""
    monkeypatch.setattr(sweep, "ROOM", 0)
    vectors = np.repeat(make("random", 2, 16), 200, axis=0)
    world = World("l2", vectors, cached=True)
    found = world.search(vectors[:6], 3)
    assert [answer(each) for each in found] == [world.expected(each, 3) for each in vectors[:6]]


def test_excluded_rows_are_left_to_the_chunks() -> None:
    """A transaction's own rows hide others, which only a mask says."""
    vectors = make("random", 50, 16)
    world = World("l2", vectors, cached=True)
    hiding = world.visible.excluding(world.vids[1:2])
    (found,) = world.search(vectors[1:2], 3, hiding)
    assert world.vids[1] not in found.vids
