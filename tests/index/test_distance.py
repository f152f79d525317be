"""The one distance: what it computes, and that nothing but the row and the query decides it."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.engine.index import distance
from centroidb.engine.index.distance import (
    Metric,
    distances,
    index_doubles,
    index_space,
    nearest,
    squared_differences,
    squared_norms,
)
from tests.index.data import KINDS, METRICS, SEED, Rows, make

DIMS = [*range(1, 1031), 20_000]


def reference(metric: Metric, query: Rows, row: Rows) -> float:
    """The distance by sums without rounding error."""
    x, q = [float(value) for value in row], [float(value) for value in query]
    if metric == "dot":
        return -math.fsum(a * b for a, b in zip(x, q, strict=True))
    if metric == "cosine":
        x_norm, q_norm = (math.sqrt(math.fsum(a * a for a in each)) for each in (x, q))
        x, q = [a / x_norm for a in x], [a / q_norm for a in q]
    total = math.fsum((a - b) ** 2 for a, b in zip(x, q, strict=True))
    return math.sqrt(total) if metric == "l2" else 0.5 * total


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_distance_is_what_its_formula_says(kind: str, metric: Metric) -> None:
    """Each distance agrees with a sum without rounding error, whatever the magnitude."""
    rows = make(kind, 20, 7)
    query = make(kind, 1, 7, SEED + 1)[0]

    measured = distances(metric, query, rows)

    scale = {"l2": 0.0, "cosine": 1e-15, "dot": 1e-15 * float(np.abs(rows * 1.0 * query).max())}
    expected = [reference(metric, query, row) for row in rows]
    assert measured.tolist() == pytest.approx(expected, rel=1e-14, abs=scale[metric])


@pytest.mark.parametrize("metric", METRICS)
def test_a_row_is_measured_alike_in_any_company(metric: Metric) -> None:
    """A row's distance has the same bits alone, among others, and in any memory layout."""
    for dims in DIMS:
        rows = make("random", 6, dims, dims)
        query = make("random", 1, dims, dims + 1)[0]

        together = distances(metric, query, rows)

        alone = [distances(metric, query, rows[i : i + 1])[0] for i in range(6)]
        assert together.tolist() == alone
        assert together[[4, 1]].tolist() == distances(metric, query, rows[[4, 1]]).tolist()
        assert together.tolist() == distances(metric, query, np.asfortranarray(rows)).tolist()
        assert together[::2].tolist() == distances(metric, query, rows[::2]).tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_block_borders_leave_no_trace(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances are the same whatever number of rows is widened at a time."""
    rows, query = make("random", 50, 33), make("random", 1, 33, 1)[0]
    expected = distances(metric, query, rows).tolist()

    for values in (1, 33 * 7, 33 * 49):
        monkeypatch.setattr(distance, "BLOCK_VALUES", values)
        assert distances(metric, query, rows).tolist() == expected


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_for_each_row(metric: Metric) -> None:
    """With a query per row, each distance has the bits it has with that query alone."""
    rows, queries = make("random", 300, 200), make("random", 300, 200, 1)

    paired = distances(metric, queries, rows)

    alone = [distances(metric, queries[i], rows[i : i + 1])[0] for i in range(300)]
    assert paired.tolist() == alone


@pytest.mark.parametrize("metric", METRICS)
def test_no_distance_is_minus_zero(metric: Metric) -> None:
    """A distance of zero is positive zero, so that equal distances print equal."""
    rows = np.array([[1, 0], [0, 1], [0, -1]], np.float32)

    measured = distances(metric, np.array([1, 0], np.float32), rows)

    assert not np.signbit(measured[measured == 0]).any()
    assert (measured == 0).any()


def test_close_neighbours_under_cosine_are_told_apart() -> None:
    """Two places 20 metres apart on the earth have a distance with ten true digits."""
    angle = 20 / 6_371_000
    rows = np.array([[math.cos(angle), math.sin(angle), 0]], np.float32)

    measured = distances("cosine", np.array([1, 0, 0], np.float32), rows)[0]

    y, x = (Fraction(float(value)) for value in (rows[0, 1], rows[0, 0]))
    assert measured == pytest.approx(0.5 * float((y / x) ** 2), rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_index_space_is_row_by_row(kind: str) -> None:
    """Unit vectors for cosine have the same bits alone and among others, and length 1."""
    rows = make(kind, 40, 65)

    units = index_space("cosine", rows)

    alone = np.concatenate([index_space("cosine", rows[i : i + 1]) for i in range(40)])
    assert units.dtype == np.float32
    assert units.tobytes() == alone.tobytes()
    assert squared_norms(units).tolist() == pytest.approx([1.0] * 40, rel=1e-6)
    assert index_doubles("cosine", rows) == pytest.approx(units, rel=1e-6)


def test_index_space_of_the_other_metrics_is_the_vectors() -> None:
    """Under l2 and dot the index sees the vectors as given, without a copy."""
    rows = make("random", 3, 4)

    assert index_space("l2", rows) is rows
    assert index_space("dot", rows) is rows


def test_squared_differences_are_squared_distances() -> None:
    """Squared differences are the squares that l2 takes its root of, bit for bit."""
    rows, query = make("random", 300, 200), make("random", 1, 200, 1)

    squares = squared_differences(rows, np.broadcast_to(query, rows.shape))

    assert np.sqrt(squares).tolist() == distances("l2", query[0], rows).tolist()


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.integers(0, 40)), unique=True),
    st.integers(1, 12),
)
def test_nearest_orders_by_distance_then_vid(pairs: list[tuple[float, int]], k: int) -> None:
    """The k nearest are the first k of all (distance, vid) pairs in order, ties included."""
    measured = np.array([pair[0] for pair in pairs])
    vids = np.array([pair[1] for pair in pairs], np.int64)

    chosen = nearest(measured, vids, k)

    assert [pairs[i] for i in chosen] == sorted(pairs)[:k]
