"""Distances and ranks of the compiled kernels are those of numpy, to the last bit."""

from typing import Any

import numpy as np
import pytest

from centroidb.engine.index import compiled
from centroidb.engine.index.centroids import ExactSearch
from centroidb.engine.index.compiled import KERNELS, Kernels, agrees
from centroidb.engine.index.distance import Metric, distances, index_space
from centroidb.engine.index.kmeans import KMeans
from centroidb.engine.index.native import Native, address
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.shelf import ROWS, VECTORS, Shelf
from centroidb.engine.index.sweep import Swept
from tests.index.data import KINDS, METRICS, Rows, make

pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("kernels")

DIMS = [*range(1, 20), 127, 128, 129, 135, 136, 256, 784, 1031]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_numpys(kernels: Native, metric: Metric, kind: str) -> None:
    """Whatever the dimension, for each row with a query of its own; zeros have no direction."""
    for dims in DIMS:
        vectors, asked = make(kind, 23, dims), make(kind, 3, dims, 1)
        asked[~asked.any(axis=1)] = 1
        vectors[7] = 0
        query, place = np.arange(23) % 3, np.arange(23)[::-1].copy()
        shelf, queries = Shelf.of_vectors(vectors), Queries.of(metric, asked)
        swept = Swept(kernels, shelf, queries, query, left=None)  # type: ignore[arg-type]  # it is not looked at

        measured, unread = swept.measure(query, place)

        assert unread is None
        expected = distances(metric, asked[query], vectors[place])
        assert measured.tobytes() == expected.tobytes()


def test_rows_without_vectors_are_named(kernels: Native) -> None:
    """Those of other partitions are measured."""
    vectors = make("random", 2, 5)
    shelf = Shelf(2)
    shelf.table[:, ROWS], shelf.table[1, VECTORS] = 2, address(vectors)
    places = np.array([0, 1 << 32 | 1, 1])

    measured, unread = kernels.measure(
        "l2", shelf, places, np.zeros(3, np.intp), vectors[:1].astype(np.float64)
    )

    assert unread is not None
    assert unread.tolist() == [True, False, True]
    assert measured[1] == distances("l2", vectors[0], vectors[1:])[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("nprobe", [1, 5, 20, 41, 99])
def test_ranks_are_numpys(
    metric: Metric, kind: str, nprobe: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same order, with ties and a centroid of zeros, few of them asked for or all."""
    for dims in (1, 3, 40, 300):
        centroids = index_space(metric, make(kind, 41, dims)).copy()
        centroids[5] = 0
        queries = make(kind, 4, dims, 1)
        queries[~queries.any(axis=1)] = 1
        search = ExactSearch(metric, centroids)
        ranked = search.rank(queries, nprobe)
        with monkeypatch.context() as without:
            without.setattr(KERNELS, "_loaded", None)
            assert ranked.tolist() == search.rank(queries, nprobe).tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_clusters_are_numpys(metric: Metric, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows have the same nearest centroids, as far away, and k-means sums them up to the same."""
    for dims in DIMS:
        rows, centroids = make(kind, 200, dims), index_space(metric, make(kind, 11, dims, 1))
        search, means = ExactSearch(metric, centroids), KMeans(rows, 7, seed=1, block_rows=64)
        found = [*search.assign(rows[::2]), *sums(means)]
        with monkeypatch.context() as without:
            without.setattr(KERNELS, "_loaded", None)
            expected = [*search.assign(rows[::2]), *sums(means)]
        assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]


def sums(means: KMeans) -> list[Any]:
    """What the blocks of a round add to it."""
    partials = map(means.partial, means.blocks())
    return [value for each in partials for value in (each.labels, each.clusters, each.sums)]


def test_kernels_that_disagree_with_numpy_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should it add in another order one day, by a single bit."""

    def otherwise(metric: Metric, query: Rows, vectors: Rows) -> Rows:
        return np.nextafter(distances(metric, query, vectors), np.inf)

    assert Kernels().fused(1) is not None
    monkeypatch.setattr(compiled, "distances", otherwise)
    assert KERNELS.loaded is not None
    assert not agrees(KERNELS.loaded)
    assert Kernels().fused(1) is None
