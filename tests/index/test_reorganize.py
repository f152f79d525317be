"""Reorganizing: what is changed, how partitions split, where rows go, which numbers they get."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from centroidb.engine.index import reorganize
from centroidb.engine.index.arrays import Labels
from centroidb.engine.index.centroids import ExactSearch
from centroidb.engine.index.distance import Metric, index_space
from centroidb.engine.index.reorganize import (
    Change,
    Layout,
    expected_rows,
    fitting,
    laid_out,
    plan,
    split,
)
from tests.index.data import METRICS, SEED, Rows, make


def numbered(nlist: int) -> Rows:
    """Centroids (nlist, 1) that are their own numbers."""
    return np.arange(nlist, dtype=np.float32)[:, np.newaxis]


def test_the_worst_come_first() -> None:
    """Overgrown partitions go before starving ones, each by its distance from the mean."""
    assert plan([40, 52, 0, 47, 310, 3, 44, 230]) == [
        Change(4, 3),
        Change(7, 3),
        Change(2, 0),
        Change(5, 0),
    ]


def test_no_more_is_planned_than_was_asked_for() -> None:
    """A limit takes the first of all changes."""
    sizes = [40, 52, 0, 47, 310, 3, 44, 230]

    assert plan(sizes, 3) == plan(sizes)[:3]


@pytest.mark.parametrize("sizes", [[0], [0, 0, 0], [7], [100, 100], [50, 199, 150, 26, 75]])
def test_what_is_within_bounds_stays(sizes: list[int]) -> None:
    """Sizes between a quarter of the mean and twice the mean are left alone; so is emptiness."""
    assert plan(sizes) == []


@given(st.lists(st.integers(0, 500), min_size=1, max_size=40))
def test_something_is_always_kept(sizes: list[int]) -> None:
    """A plan never gives up or splits every partition, and splits into at least two."""
    changes = plan(sizes)

    assert sum(not change.pieces for change in changes) < len(sizes)
    assert all(change.pieces != 1 for change in changes)
    assert len({change.partition for change in changes}) == len(changes)


def test_a_pass_takes_what_fits() -> None:
    """Changes are taken in their order while their rows fit, and one in any case."""
    changes = [Change(0, 3), Change(1, 2), Change(2, 0), Change(3, 0)]
    rows = [expected_rows(change, 10) for change in changes]

    assert fitting(changes, 10, 1) == changes[:1]
    assert fitting(changes, 10, rows[0] + rows[1]) == changes[:2]
    assert fitting(changes, 10, sum(rows)) == changes


def test_a_split_shares_the_rows_out() -> None:
    """Groups that lie apart get a centroid each."""
    middles = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    sample = np.concatenate([middle + make("random", 80, 2) for middle in middles])

    centroids = split(sample, 3, SEED)

    nearest, squares = ExactSearch("l2", centroids).assign(middles)
    assert sorted(nearest.tolist()) == [0, 1, 2]
    assert squares.max() < 1


def test_a_split_is_repeatable() -> None:
    """The same sample and seed give the same bytes."""
    sample = make("random", 200, 6)

    assert split(sample, 4, 5).tobytes() == split(sample.copy(), 4, 5).tobytes()


@pytest.mark.parametrize("rows", [0, 1, 30])
def test_rows_that_are_alike_are_not_split(rows: int) -> None:
    """Where no centroid could part the rows there are fewer than two."""
    assert len(split(np.ones((rows, 4), np.float32), 3, SEED)) < 2


@pytest.mark.parametrize(
    ("removed", "added", "numbers", "centroids"),
    [
        ([2], 1, [0, 1, -1, 3, 4, 5], [0, 1, 100, 3, 4, 5]),
        ([4, 1], 2, [0, -1, 2, 3, -1, 5], [0, 100, 2, 3, 101, 5]),
        ([1], 3, [0, -1, 2, 3, 4, 5], [0, 100, 2, 3, 4, 5, 101, 102]),
        ([1, 2], 0, [0, -1, -1, 3, 1, 2], [0, 4, 5, 3]),
        ([5], 0, [0, 1, 2, 3, 4, -1], [0, 1, 2, 3, 4]),
        ([0, 5], 1, [-1, 1, 2, 3, 4, -1], [100, 1, 2, 3, 4]),
        ([0, 5, 1], 1, [-1, -1, 2, 3, 1, -1], [100, 4, 2, 3]),
    ],
)
def test_numbers_stay_dense(
    removed: list[int], added: int, numbers: list[int], centroids: list[int]
) -> None:
    """New centroids take free numbers, then go to the end; the last ones fill what is left."""
    layout = laid_out(numbered(6), removed, 100 + numbered(added))

    assert layout.numbers.tolist() == numbers
    assert layout.centroids.ravel().tolist() == centroids
    assert [centroids[place] for place in layout.added] == [100 + each for each in range(added)]
    assert sorted(layout.given_up.tolist()) == sorted(removed)
    assert layout.renumbered.tolist() == [
        old for old, new in enumerate(numbers) if new not in (old, -1)
    ]


def reorganized(metric: Metric, neighbours: int) -> tuple[Rows, Labels, Layout]:
    """Rows, the partitions they were in, and a layout with two partitions split, two given up."""
    rows = make("random", 900, 5)
    space = index_space(metric, rows)
    old, _ = ExactSearch(metric, space[:30]).assign(rows)
    pieces = [split(space[old == number], 3, SEED) for number in (4, 9)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reorganize, "NEIGHBOURS", neighbours)
        layout = laid_out(space[:30], [4, 9, 17, 28], np.concatenate(pieces))
        scope = np.union1d(layout.neighbours(), layout.given_up)
    looked_at = np.isin(old, scope)
    numbers = layout.numbers[old]
    search = ExactSearch(metric, layout.centroids)
    numbers[looked_at], _ = layout.assign(metric, search, rows[looked_at], old[looked_at])
    return rows, numbers, layout


@pytest.mark.parametrize("metric", METRICS)
def test_looking_at_all_neighbours_is_a_full_assignment(metric: Metric) -> None:
    """When no partition is left out every row is with the centroid it would be assigned to."""
    rows, numbers, layout = reorganized(metric, neighbours=30)

    expected, _ = ExactSearch(metric, layout.centroids).assign(rows)

    assert numbers.tolist() == expected.tolist()


def test_few_neighbours_are_nearly_a_full_assignment() -> None:
    """Looking at the nearest eight partitions of each new centroid leaves few rows behind."""
    rows, numbers, layout = reorganized("l2", neighbours=8)

    expected, _ = ExactSearch("l2", layout.centroids).assign(rows)

    assert (numbers != expected).mean() < 0.02


def test_distances_are_added_up() -> None:
    """What a layout says of distances is the difference of their sums before and after."""
    rows = make("random", 300, 5)
    before = ExactSearch("l2", rows[:12])
    old, squares = before.assign(rows)
    layout = laid_out(rows[:12], [3], rows[20:22])
    search = ExactSearch("l2", layout.centroids)

    numbers, growth = layout.assign("l2", search, rows, old)

    differences = np.square(rows - layout.centroids[numbers], dtype=np.float64).sum(axis=1)
    expected = np.sqrt(differences).sum() - np.sqrt(squares).sum()
    assert growth == pytest.approx(expected, rel=1e-4)


def test_without_new_centroids_nobody_else_moves() -> None:
    """Where partitions are only given up, there are no neighbours to look at."""
    layout = laid_out(make("random", 20, 4), [2, 7], np.empty((0, 4), np.float32))

    assert len(layout.neighbours()) == 0
