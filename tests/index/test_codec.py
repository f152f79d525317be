"""Codecs and brackets: every bracket holds the rank of the distance that is reported."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from centroidb.engine.index.codec import CODECS, CodecName, Rows
from centroidb.engine.index.distance import (
    NORM_MAX,
    Metric,
    distances,
    index_doubles,
    index_space,
    squared_norms,
)
from centroidb.engine.index.flat import FloatRows
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.sq8 import Sq8Rows
from tests.index.data import KINDS, METRICS, SEED, brackets, make

CODEC_NAMES: tuple[CodecName, ...] = ("flat", "sq8")
DIMS = (1, 2, 3, 7, 64, 256, 1536)

Vectors = NDArray[np.float32]


def coded(codec: CodecName, metric: Metric, centroid: Vectors, vectors: Vectors) -> Rows:
    """Vectors that went through a codec's bytes."""
    codes, bounds = CODECS[codec].encode(metric, centroid, vectors)
    return CODECS[codec].decode(metric, centroid, codes, bounds)


def centroid_of(metric: Metric, vectors: Vectors) -> Vectors:
    """Their mean in index space."""
    mean: Vectors = index_space(metric, vectors).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def exact_rank(queries: Queries, query: int, reported: float) -> Fraction:
    """The rank of a reported distance, without rounding."""
    value = Fraction(reported)
    if queries.metric == "l2":
        value = value * value / 2
    return value / Fraction(float(queries.scales[query])) - Fraction(float(queries.origins[query]))


def assert_brackets_hold(metric: Metric, rows: Rows, wanted: Vectors, vectors: Vectors) -> None:
    """Each bracket holds the rank of what `distances` reports, in exact arithmetic."""
    queries = Queries.of(metric, wanted)
    lower, upper = brackets([rows], queries)
    assert lower.shape == upper.shape == (len(wanted), len(vectors))
    for q in range(len(wanted)):
        reported = distances(metric, wanted[q], vectors).tolist()
        for n, distance in enumerate(reported):
            rank = exact_rank(queries, q, distance)
            assert Fraction(float(lower[q, n])) <= rank <= Fraction(float(upper[q, n]))


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_brackets_hold(kind: str, metric: Metric, codec: CodecName) -> None:
    """Brackets hold for every kind of data, for queries of the same kind, near and far."""
    for dims in DIMS:
        vectors = make(kind, 25, dims)
        near, far = make(kind, 2, dims, SEED + 1), make("random", 1, dims)
        wanted = np.concatenate([near, vectors[3:5], -vectors[:1], far])
        rows = coded(codec, metric, centroid_of(metric, vectors), vectors)
        assert_brackets_hold(metric, rows, wanted, vectors)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_equal_the_centroid(metric: Metric) -> None:
    """A segment of nothing but its centroid has a step of 0, and brackets that hold."""
    for dims in DIMS:
        vectors = make("constant", 6, dims)
        centroid = index_space(metric, vectors)[0]
        rows = coded("sq8", metric, centroid, vectors)
        wanted = np.concatenate([vectors[:1], make("random", 2, dims)])
        assert isinstance(rows, Sq8Rows)
        assert metric == "cosine" or not rows.steps.any()
        assert_brackets_hold(metric, rows, wanted, vectors)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_coded_without_loss(metric: Metric) -> None:
    """Whole numbers from -127 to 127 lose nothing as codes, and rounding alone needs a bracket."""
    random = np.random.default_rng(SEED)
    for dims in DIMS:
        vectors, wanted = random.integers(-127, 128, (2, 12, dims)).astype(np.float32)
        vectors[0], wanted[0] = 127, -127
        rows = coded("sq8", metric, np.zeros(dims, np.float32), vectors)
        assert_brackets_hold(metric, rows, wanted, vectors)


floats32 = st.floats(-(2.0**56), 2.0**56, width=32) | st.floats(-4, 4, width=32) | st.just(0.0)


@given(
    st.sampled_from(METRICS),
    st.sampled_from(CODEC_NAMES),
    st.integers(1, 9).flatmap(
        lambda d: st.tuples(
            arrays(np.float32, st.tuples(st.integers(1, 6), st.just(d)), elements=floats32),
            arrays(np.float32, st.tuples(st.integers(1, 5), st.just(d)), elements=floats32),
            arrays(np.float32, (d,), elements=floats32),
        )
    ),
)
def test_brackets_hold_for_anything(
    metric: Metric, codec: CodecName, drawn: tuple[Vectors, Vectors, Vectors]
) -> None:
    """Brackets hold for arbitrary float32 vectors, queries and centroids."""
    vectors, wanted, centroid = drawn
    if metric == "cosine":
        vectors[~vectors.any(axis=1), 0] = wanted[~wanted.any(axis=1), 0] = 1
        centroid = index_space("cosine", centroid[np.newaxis] + np.float32(1e-30))[0]
    rows = coded(codec, metric, centroid, vectors)
    assert_brackets_hold(metric, rows, wanted, vectors)


@pytest.mark.parametrize("metric", METRICS)
def test_the_largest_magnitudes_do_not_overflow(metric: Metric) -> None:
    """Rows and queries of the largest norm, in opposite directions, have finite brackets."""
    for dims in DIMS:
        vectors = np.full((2, dims), 0.999 * NORM_MAX / np.sqrt(dims), np.float32)
        vectors[1] *= -1
        for codec in CODEC_NAMES:
            rows = coded(codec, metric, vectors[0] * np.float32(0), vectors)
            lower, upper = brackets([rows], Queries.of(metric, vectors))
            assert np.isfinite(lower).all()
            assert np.isfinite(upper).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_pieces_are_bracketed_as_one(codec: CodecName, metric: Metric) -> None:
    """Several pieces under different centroids give each row the bracket it has by itself."""
    vectors, queries = make("random", 30, 40), Queries.of(metric, make("random", 3, 40, 1))
    pieces: list[Rows] = [
        coded(codec, metric, centroid_of(metric, part), part)
        for part in (vectors[:7], vectors[7:8], vectors[8:])
    ]

    lower, upper = brackets(pieces, queries)

    alone = [brackets([piece], queries) for piece in pieces]
    assert lower == pytest.approx(np.concatenate([each[0] for each in alone], axis=1), abs=1e-5)
    assert upper == pytest.approx(np.concatenate([each[1] for each in alone], axis=1), abs=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_sq8_errors_are_upper_bounds_and_close(metric: Metric) -> None:
    """A row's stored error is at least what its codes lose, and at most a millionth more."""
    vectors = make("random", 50, 96)
    centroid = centroid_of(metric, vectors)
    rows = coded("sq8", metric, centroid, vectors)
    assert isinstance(rows, Sq8Rows)

    kept = centroid.astype(np.float64) + rows.codes * rows.steps[:, np.newaxis].astype(np.float64)

    lost = np.sqrt(np.square(index_doubles(metric, vectors) - kept).sum(axis=1))
    assert (rows.errors >= lost).all()
    assert rows.errors == pytest.approx(lost, rel=1e-4)
    assert np.abs(rows.codes).max() == 127


def test_sq8_rows_are_bracketed_tightly() -> None:
    """On ordinary data a bracket of int8 codes is a few percent of the distance wide."""
    vectors = make("unit", 500, 256)
    rows = coded("sq8", "l2", centroid_of("l2", vectors), vectors)
    queries = Queries.of("l2", make("unit", 4, 256, 1))

    lower, upper = brackets([rows], queries)

    assert float((upper - lower).max()) < 0.1


def test_flat_rows_are_bracketed_tightly() -> None:
    """On ordinary data a bracket of a float32 product is far narrower than neighbours are apart."""
    rows = FloatRows.of("l2", make("unit", 500, 256))

    lower, upper = brackets([rows], Queries.of("l2", make("unit", 4, 256, 1)))

    assert float((upper - lower).max()) < 1e-4


def test_flat_bytes_are_the_vectors() -> None:
    """The flat codec keeps little-endian float32, bit for bit, not scaled and not moved."""
    vectors = make("mixed", 5, 3)

    codes, bounds = CODECS["flat"].encode("cosine", vectors[0], vectors)

    assert codes == vectors.astype("<f4").tobytes()
    assert bounds == b""


def test_sq8_bytes() -> None:
    """Codes are int8 row by row; bounds are a step, an error norm and a sum of squares per row."""
    centroid = np.array([1, 1], np.float32)
    vectors = np.array([[128, 1], [1, -126], [2.25, 1]], np.float32)

    codes, bounds = CODECS["sq8"].encode("l2", centroid, vectors)

    assert list(codes) == [127, 0, 0, 129, 1, 0]
    records = np.frombuffer(bounds, np.dtype([("step", "<f4"), ("error", "<f4"), ("sum", "<u4")]))
    assert records["step"].tolist() == [1.0, 1.0, 1.0]
    assert records["sum"].tolist() == [127**2, 127**2, 1]
    assert records["error"].tolist() == pytest.approx([0.0, 0.0, 0.25], abs=1e-4)
    assert (records["error"] > 0).all()


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_no_rows(codec: CodecName) -> None:
    """An empty segment is encoded and decoded to no rows."""
    nothing = np.empty((0, 4), np.float32)

    rows = coded(codec, "l2", np.zeros(4, np.float32), nothing)

    assert len(rows) == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_threshold_rank_is_rounded_up(kind: str, metric: Metric) -> None:
    """The rank of a measured distance is never below its exact value, and hardly above."""
    wanted, vectors = make(kind, 4, 33), make(kind, 20, 33, 1)
    queries = Queries.of(metric, wanted)
    for q in range(4):
        reported = distances(metric, wanted[q], vectors)
        ranks = queries.ranks_above(np.full(20, q), reported)
        for distance, rank in zip(reported.tolist(), ranks.tolist(), strict=True):
            exact = exact_rank(queries, q, distance)
            slack = Fraction(2) ** -48 * (abs(exact) + 2 * Fraction(float(queries.origins[q])))
            assert exact <= Fraction(rank) <= exact + slack


@pytest.mark.parametrize("kind", KINDS)
def test_dot_queries_are_scaled_below_one(kind: str) -> None:
    """Under dot the direction is the query times a power of two, with a norm from 1/2 to 1."""
    wanted = make(kind, 4, 33)

    queries = Queries.of("dot", wanted)

    norms = np.sqrt(squared_norms(wanted)) / queries.scales
    assert (np.frexp(queries.scales)[0] == 0.5).all()
    assert ((norms >= 0.5) & (norms < 1)).all()
    assert (queries.directions * queries.scales[:, np.newaxis] == wanted).all()
