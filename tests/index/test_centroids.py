"""Centroid search: the nearest centroid is the nearest, whoever asks along with it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from centroidb.engine.index import centroids
from centroidb.engine.index.centroids import (
    CentroidSearch,
    ExactSearch,
    HnswSearch,
    make_search,
)
from centroidb.engine.index.distance import (
    Metric,
    distances,
    index_space,
    squared_differences,
)
from tests.index.data import KINDS, METRICS, SEED, Rows, make


def some_centroids(metric: Metric, rows: Rows, nlist: int) -> Rows:
    """Rows in index space, the first and the middle one equal."""
    chosen = np.random.default_rng(SEED).integers(0, len(rows), nlist)
    picked = index_space(metric, rows)[chosen].copy()
    picked[nlist // 2] = picked[0]
    return picked


def squares(metric: Metric, rows: Rows, search: CentroidSearch) -> NDArray[np.float64]:
    """All squared distances (n, nlist) in index space, in difference form."""
    indexed = index_space(metric, rows)
    columns = [
        squared_differences(indexed, np.broadcast_to(each, indexed.shape))
        for each in search.centroids
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_assigned_to_the_nearest_centroid(kind: str, metric: Metric) -> None:
    """Assignment equals float64 brute force, ties to the lower centroid, on every kind of data."""
    for dims, nlist in ((1, 5), (3, 20), (64, 40), (300, 1)):
        rows = make(kind, 200, dims)
        search = ExactSearch(metric, some_centroids(metric, rows, nlist))

        labels, measured = search.assign(rows)

        expected = squares(metric, rows, search)
        assert labels.dtype == np.int32
        assert labels.tolist() == expected.argmin(axis=1).tolist()
        assert measured.tolist() == expected.min(axis=1).tolist()


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
@pytest.mark.parametrize("metric", METRICS)
def test_company_and_threads_change_nothing(metric: Metric, kind: str) -> None:
    """A row is assigned, and a query ranked, alike alone, in a batch, and with two BLAS threads."""
    rows = make("random", 600, 48)
    search = make_search(
        "hnsw" if kind == "hnsw" else "exact", metric, some_centroids(metric, rows, 100), seed=3
    )
    labels, ranking = search.assign(rows)[0], search.rank(rows[:50], 9)

    alone = np.concatenate([search.assign(rows[i : i + 1])[0] for i in range(50)])
    ranked = np.concatenate([search.rank(rows[i : i + 1], 9) for i in range(50)])
    with threadpool_limits(2):
        together = search.assign(rows)[0]
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda some: search.assign(some)[0], (rows[:300], rows[300:])))

    assert labels[:50].tolist() == alone.tolist()
    assert ranking.tolist() == ranked.tolist()
    assert labels.tolist() == together.tolist() == np.concatenate(halves).tolist()


def test_the_order_of_work_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits met after a few pairs change neither labels nor distances."""
    rows = make("duplicates", 90, 7)
    search = ExactSearch("l2", some_centroids("l2", rows, 12))
    expected = search.assign(rows)

    monkeypatch.setattr(centroids, "ASSIGN_PAIRS", 40)
    monkeypatch.setattr(centroids, "COMPARED_VALUES", 20)

    labels, measured = search.assign(rows)
    assert labels.tolist() == expected[0].tolist()
    assert measured.tolist() == expected[1].tolist()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("nprobe", [1, 7, 60])
def test_partitions_are_ranked_by_the_metric(metric: Metric, nprobe: int) -> None:
    """Ranking orders centroids by the distance that the metric gives them, ties to the lower."""
    points = make("random", 60, 16)
    points[30] = points[0]
    search = ExactSearch(metric, points)
    queries = make("random", 8, 16, 1)

    ranking = search.rank(queries, nprobe)

    expected = np.stack([distances(metric, query, points) for query in queries])
    order = np.lexsort((np.broadcast_to(np.arange(60), (8, 60)), expected), axis=1)
    assert ranking.shape == (8, nprobe)
    assert ranking.dtype == np.int32
    assert ranking.tolist() == order[:, :nprobe].tolist()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("metric", METRICS)
def test_centroids_that_can_not_be_are_ranked_all_the_same(metric: Metric) -> None:
    """A file may hold them: where float32 overflows every centroid stays to be compared."""
    random = np.random.default_rng(SEED)
    rows = (random.normal(size=(50, 8)) * 1e30).astype(np.float32)
    search = ExactSearch(metric, rows)
    queries = random.normal(size=(3, 8)).astype(np.float32)
    assert search.rank(queries, 5).tolist() == search.rank(queries, 50)[:, :5].tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_a_row_and_a_centroid_of_zeros(metric: Metric) -> None:
    """A row of zeros is assigned, and a centroid at the origin ranked, without a warning."""
    points, rows = make("random", 30, 3), make("random", 10, 3, 1)
    points[4] = rows[2] = 0

    for search in (ExactSearch(metric, points), HnswSearch(metric, points, 1)):
        assert search.assign(rows)[0][2] == 4
        assert sorted(search.rank(rows[:1], 30)[0].tolist()) == list(range(30))


@given(st.integers(1, 4), st.integers(1, 3))
def test_few_centroids(nlist: int, nprobe: int) -> None:
    """One centroid, or several equal ones, are searched like any others."""
    rows = make("random", 20, 4)
    same = np.repeat(rows[:1], nlist, axis=0)

    for search in (ExactSearch("l2", same), HnswSearch("l2", same, 1)):
        labels, _ = search.assign(rows)
        ranking = search.rank(rows[:2], min(nprobe, nlist))
        assert ranking.tolist() == [list(range(min(nprobe, nlist)))] * 2
        assert labels.max() < nlist
    assert ExactSearch("l2", same).assign(rows)[0].tolist() == [0] * 20


@pytest.mark.parametrize("metric", METRICS)
def test_a_graph_finds_nearly_what_an_exact_search_finds(metric: Metric) -> None:
    """Of 1,000 centroids a graph assigns and ranks nearly as an exact search does."""
    rows = make("random", 1000, 16)
    points = make("random", 1000, 16, 1)
    exact, graph = ExactSearch(metric, points), HnswSearch(metric, points, 1)

    same = exact.assign(rows)[0] == graph.assign(rows)[0]
    pairs = zip(exact.rank(rows[:100], 20), graph.rank(rows[:100], 20), strict=True)
    shared = [len(set(a.tolist()) & set(b.tolist())) / 20 for a, b in pairs]

    assert same.mean() > 0.95
    assert np.mean(shared) > 0.95


def test_a_graph_is_the_same_each_time() -> None:
    """Built twice with one seed, a graph gives the same answers."""
    points, rows = make("random", 2000, 24), make("random", 500, 24, 1)

    first, second = HnswSearch("l2", points, 7), HnswSearch("l2", points, 7)

    assert first.assign(rows)[0].tobytes() == second.assign(rows)[0].tobytes()
    assert first.rank(rows, 30).tobytes() == second.rank(rows, 30).tobytes()


def test_a_graph_steps_back_where_it_is_no_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many probes, and an error from the graph, end in the exact answer."""
    points, rows = make("random", 400, 8), make("random", 30, 8, 1)
    exact, graph = ExactSearch("l2", points), HnswSearch("l2", points, 7)
    assert graph.rank(rows, 51).tolist() == exact.rank(rows, 51).tolist()

    monkeypatch.setattr(graph, "_nearby", Unable())
    monkeypatch.setattr(graph, "_ranked", Unable())

    assert graph.rank(rows, 5).tolist() == exact.rank(rows, 5).tolist()
    assert graph.assign(rows)[0].tolist() == exact.assign(rows)[0].tolist()


class Unable:
    """A graph that has lost its way, as hnswlib says it."""

    def knn_query(self, *_: object, **__: object) -> None:
        """Fail as hnswlib does."""
        raise RuntimeError("Cannot return the results in a contiguous 2D array. ef or M too small")


def test_the_crossover_decides() -> None:
    """`auto` is exact below the crossover and a graph from there on; either can be forced."""
    points = make("random", 50, 4)

    below = make_search("auto", "l2", points, seed=1, crossover=51)
    at = make_search("auto", "l2", points, seed=1, crossover=50)
    exact = make_search("exact", "l2", points, seed=1, crossover=50)
    graph = make_search("hnsw", "l2", points, seed=1, crossover=51)

    assert isinstance(below, ExactSearch)
    assert isinstance(at, HnswSearch)
    assert isinstance(exact, ExactSearch)
    assert isinstance(graph, HnswSearch)
