"""The gate: recall at equal rows read, and a verdict that knows chance."""

import numpy as np
import pytest

from centroidb.engine.index.gate import recall_at_budget, recall_at_probes, rows_to_reach, verdict
from tests.index.data import SEED

RANKING = np.array([[2, 0, 1], [0, 1, 2]], np.int32)
HOMES = np.array([[2, 2, 0, 1], [1, 1, 1, -1]], np.int32)
SIZES = np.array([10, 20, 30])


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (0, [0.0, 0.0]),
        (15, [0.25, 0.25]),  # half of partition 2; partition 0 and a quarter of partition 1
        (30, [0.5, 1.0]),
        (40, [0.75, 1.0]),
        (50, [0.875, 1.0]),
        (60, [1.0, 1.0]),
        (1000, [1.0, 1.0]),
    ],
)
def test_neighbours_are_found_as_their_partitions_are_read(
    budget: int, expected: list[float]
) -> None:
    """Partitions are read in the order of their rank, the last one in part."""
    assert recall_at_budget(HOMES, RANKING, SIZES, budget).tolist() == pytest.approx(expected)


def test_empty_partitions_and_queries_without_neighbours() -> None:
    """An empty partition costs nothing; a query with no true neighbour has missed none."""
    ranking = np.array([[0, 1], [0, 1]], np.int32)
    homes = np.array([[1, 1], [-1, -1]], np.int32)

    recall = recall_at_budget(homes, ranking, np.array([0, 4]), 4)

    assert recall.tolist() == [1.0, 1.0]


def test_a_clear_loss_fails() -> None:
    """A generation that finds five percent less, in query after query, does not pass."""
    old = np.random.default_rng(SEED).uniform(0.6, 1.0, 300)

    result = verdict(old, old - 0.05 + np.random.default_rng(1).normal(0, 0.02, 300))

    assert not result.passed
    assert result.difference == pytest.approx(-0.05, abs=0.01)
    assert result.low < result.difference < result.high < -result.tolerance
    assert result.recall_new == pytest.approx(result.recall_old + result.difference)
    assert result.queries == 300


@pytest.mark.parametrize("loss", [-0.02, 0.0, 0.009])
def test_a_gain_or_a_small_loss_passes(loss: float) -> None:
    """A generation passes if it finds more, as much, or less within the tolerance."""
    old = np.random.default_rng(SEED).uniform(0.6, 1.0, 300)

    assert verdict(old, old - loss).passed


def test_a_loss_that_may_be_chance_passes() -> None:
    """A mean below the tolerance passes while its confidence interval reaches above it."""
    old = np.full(20, 0.5)
    new = old + np.where(np.arange(20) % 2, 0.4, -0.5)

    result = verdict(old, new)

    assert result.difference == pytest.approx(-0.05)
    assert result.passed


def test_pairs_count_not_spread() -> None:
    """How much queries differ among themselves does not widen the interval of the difference."""
    even, uneven = np.full(100, 0.5), np.linspace(0.1, 0.9, 100)
    noise = np.random.default_rng(SEED).normal(-0.03, 0.01, 100)

    first, second = verdict(even, even + noise), verdict(uneven, uneven + noise)

    assert first.high - first.low == pytest.approx(second.high - second.low)
    assert not first.passed
    assert not second.passed


def test_one_query_proves_nothing() -> None:
    """A single query has an infinite confidence interval and cannot fail a rebuild."""
    result = verdict(np.array([1.0]), np.array([0.0]))

    assert result.passed
    assert result.high == np.inf


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 0.95, 1.0])
def test_rows_to_reach_a_share(share: float) -> None:
    """It is the smallest budget whose mean recall is the share, as trying each one finds it."""

    def reached(budget: int) -> bool:
        return bool(recall_at_budget(HOMES, RANKING, SIZES, budget).mean() >= share)

    assert rows_to_reach(HOMES, RANKING, SIZES, share) == next(filter(reached, range(61)))


def test_recall_of_so_many_probes() -> None:
    """Neighbours count that are in the best partitions of their own query; all, if all are read."""
    assert [recall_at_probes(HOMES, RANKING, n) for n in (1, 2, 3)] == [2 / 7, 6 / 7, 1.0]
    assert recall_at_probes(np.full((2, 4), -1, np.int32), RANKING, 1) == 1.0
