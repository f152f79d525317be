"""The arithmetic of the bench of rebuilds."""

import math

import numpy as np
import pytest

from tests.bench.latency import Latencies
from tests.bench.rebuild import rows
from tests.bench.recall import at_recall, at_rows
from tests.bench.sweep import Exam

POINTS = [
    {"nprobe": 1.0, "recall": 0.5, "rows_read": 100.0},
    {"nprobe": 2.0, "recall": 0.9, "rows_read": 200.0},
    {"nprobe": 4.0, "recall": 1.0, "rows_read": 400.0},
]


@pytest.mark.parametrize(
    ("recall", "expected"), [(0.95, 300.0), (0.9, 200.0), (0.6, 125.0), (0.3, 100.0)]
)
def test_rows_at_recall_lie_on_the_line(recall: float, expected: float) -> None:
    """Rows read at a recall lie between the points around it, never below the first."""
    assert at_recall(POINTS, "rows_read", recall) == pytest.approx(expected)


def test_a_recall_that_is_not_reached_has_no_rows() -> None:
    """Where no point reaches the recall there is no figure, rather than a wrong one."""
    assert math.isnan(at_recall(POINTS[:2], "rows_read", 0.95))


def test_recall_at_rows_is_the_inverse() -> None:
    """Recall at the rows that a recall needs is that recall."""
    assert at_rows(POINTS, at_recall(POINTS, "rows_read", 0.93)) == pytest.approx(0.93)


def test_the_longest_call_over_a_span_is_found() -> None:
    """A call counts if any part of it lies in the span, however early it began."""
    latencies = Latencies(times_ms=[5_000.0, 100.0, 900.0], starts_s=[0.0, 4.5, 7.0])

    assert latencies.longest_ms(4.0, 6.0) == 5_000.0
    assert latencies.longest_ms(5.5, 8.0) == 900.0
    assert latencies.longest_ms(8.5, 9.0) == 0.0


def test_unknown_rows_are_worth_nothing() -> None:
    """Only hits among the rows of the exam, within the true distance, count."""
    keys = np.array([2, 5, 9])
    vectors = np.array([[0.0], [1.0], [7.0]], np.float32)
    exam = Exam(keys, vectors, np.zeros((1, 1), np.float32), [1.0])

    assert exam.recall(0, [2, 5]) == pytest.approx(0.2)
    assert exam.recall(0, [2, 3, 9, 10]) == pytest.approx(0.1)
    assert exam.recall(0, []) == 0.0


def test_live_rows_are_those_that_were_not_deleted() -> None:
    """What is left at the end of a drift has the keys it was written under."""
    drift = rows.Drift(
        base=np.array([[0.0], [1.0], [2.0]], np.float32),
        deleted=np.array([1]),
        inserted=np.array([[3.0]], np.float32),
        load=np.empty((0, 1), np.float32),
        queries=np.empty((0, 1), np.float32),
    )

    keys, vectors = drift.live()

    assert keys.tolist() == [0, 2, 3]
    assert vectors.ravel().tolist() == [0.0, 2.0, 3.0]
