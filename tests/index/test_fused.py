"""The compiled scan: its products are exact, and it finds what the scan without it finds."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.engine.index import sweep
from centroidb.engine.index.distance import Metric
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.sweep import Partitions, swept
from tests.index.data import KINDS, METRICS, make
from tests.index.world import World, answer

pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("kernels")


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
