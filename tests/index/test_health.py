"""Health figures, against figures worked out by hand."""

import math

import pytest

from centroidb.engine.index.health import PartitionSizes, drift, imbalance


def test_imbalance() -> None:
    """It is 1 for equal sizes, nlist if one partition holds all, and 1 for no rows."""
    assert imbalance([7, 7, 7]) == pytest.approx(1.0)
    assert imbalance([0, 12, 0, 0]) == pytest.approx(4.0)
    assert imbalance([3, 1]) == pytest.approx(2 * 10 / 16)
    assert imbalance([0, 0]) == 1.0
    assert imbalance([]) == 1.0


def test_drift() -> None:
    """It is the ratio of the mean distances, and infinite where there was no distance before."""
    assert drift(0.6, 0.4) == pytest.approx(1.5)
    assert drift(0.0, 0.0) == 1.0
    assert drift(0.1, 0.0) == math.inf


def test_partition_sizes() -> None:
    """Counts, percentiles and extremes are those of the sizes given."""
    sizes = PartitionSizes.of([0, 10, 20, 30, 40])

    assert (sizes.nlist, sizes.rows, sizes.empty, sizes.largest) == (5, 100, 1, 40)
    assert (sizes.p50, sizes.p95) == (20.0, 38.0)
    assert sizes.imbalance == pytest.approx(5 * 3000 / 10_000)
