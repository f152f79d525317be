"""k-means: reproducible whatever runs it, and balanced where Lloyd alone is not."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from centroidb.engine.index import kmeans
from centroidb.engine.index.centroids import ExactSearch
from centroidb.engine.index.health import imbalance
from centroidb.engine.index.kmeans import KMeans, Report, default_nlist
from tests.index.data import SEED, Rows, make

Start = Literal["sample", "kmeans++"]
STARTS: tuple[Start, ...] = ("sample", "kmeans++")


def trained(means: KMeans) -> list[Report]:
    """Run all rounds, one block after the other."""
    reports = []
    while not means.done:
        reports.append(means.advance([means.partial(block) for block in means.blocks()]))
    return reports


def sizes(sample: Rows, centroids: Rows) -> list[int]:
    """How many rows each centroid gets."""
    labels, _ = ExactSearch("l2", centroids).assign(sample)
    counts: list[int] = np.bincount(labels, minlength=len(centroids)).tolist()
    return counts


def ball() -> Rows:
    """Most rows in a small ball, the others spread out, in 24 dimensions."""
    random = np.random.default_rng(SEED)
    rows = random.standard_normal((6000, 24))
    rows[:4500] = 2 + 0.05 * random.standard_normal((4500, 24))
    return random.permutation(rows).astype(np.float32)


def towns() -> Rows:
    """Clusters of very different width and size, in 3 dimensions, as people live on the earth."""
    random = np.random.default_rng(SEED)
    middles, widths = random.standard_normal((60, 3)), 10 ** random.uniform(-3, -0.5, 60)
    shares = random.pareto(1.0, 60) + 0.05
    owners = random.choice(60, 6000, p=shares / shares.sum())
    spread = widths[owners, np.newaxis] * random.standard_normal((6000, 3))
    return (middles[owners] + spread).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that a small sample has many."""
    monkeypatch.setattr(kmeans, "BLOCK_ROWS", 100)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_may_run_in_any_order_and_thread() -> None:
    """Centroids have the same bytes whatever the order and the threads of the blocks."""
    sample = make("random", 1050, 20)
    straight, backwards, threads = (KMeans(sample, 30, seed=5, rounds=4) for _ in range(3))
    assert len(straight.blocks()) == 11

    trained(straight)
    while not backwards.done:
        partials = {block: backwards.partial(block) for block in reversed(backwards.blocks())}
        backwards.advance([partials[block] for block in backwards.blocks()])
    with ThreadPoolExecutor(3) as pool, threadpool_limits(2):
        while not threads.done:
            threads.advance(list(pool.map(threads.partial, threads.blocks())))

    assert backwards.centroids.tobytes() == straight.centroids.tobytes()
    assert threads.centroids.tobytes() == straight.centroids.tobytes()


@pytest.mark.usefixtures("small_blocks")
def test_a_round_may_be_added_up_in_parts() -> None:
    """Sums added a few blocks at a time, in order, give the bytes of all at once."""
    sample = make("random", 1050, 20)
    at_once, in_parts = (KMeans(sample, 30, seed=5, rounds=4, block_rows=64) for _ in range(2))
    assert len(at_once.blocks()) == 17
    trained(at_once)
    while not in_parts.done:
        blocks = in_parts.blocks()
        for start in range(0, len(blocks), 3):
            in_parts.add([in_parts.partial(block) for block in blocks[start : start + 3]])
        in_parts.advance()
    assert in_parts.centroids.tobytes() == at_once.centroids.tobytes()


@pytest.mark.usefixtures("small_blocks")
def test_smaller_blocks_see_as_many_rows() -> None:
    """However small its blocks, a round looks at as many rows, and ends near where others do."""
    sample = make("random", 6_000, 12)
    seen = []
    for block_rows in (None, 40, 7):
        means = KMeans(sample, 8, seed=3, block_rows=block_rows)
        rows = sum(len(means.partial(block).labels) for block in means.blocks())
        seen.append((rows, trained(means)[-1].inertia))
    assert all(abs(rows - 3_200) <= 100 for rows, _ in seen)
    assert max(inertia for _, inertia in seen) < 1.05 * min(inertia for _, inertia in seen)


@pytest.mark.parametrize("start", STARTS)
def test_the_seed_decides(start: Start) -> None:
    """One seed gives the same centroids each time, another one others."""
    sample = make("random", 500, 8)

    def centroids(seed: int) -> bytes:
        means = KMeans(sample, 12, seed=seed, start=start)
        trained(means)
        return means.centroids.tobytes()

    assert centroids(1) == centroids(1)
    assert centroids(1) != centroids(2)


def test_lloyd_never_gets_worse() -> None:
    """Without repairs the mean squared distance falls from round to round, up to rounding."""
    means = KMeans(make("random", 3000, 12), 25, seed=1, rounds=12, balance=False)

    reports = trained(means)

    inertias = [report.inertia for report in reports]
    assert [report.round for report in reports] == list(range(12))
    assert [report.empty for report in reports] == [0] * 12
    assert all(later <= sooner * (1 + 1e-6) for sooner, later in pairwise(inertias))
    assert inertias[-1] < 0.9 * inertias[0]


def test_a_report_says_what_the_round_saw() -> None:
    """The first report has the inertia and sizes of the rows around the starting centroids."""
    sample = make("random", 800, 6)
    means = KMeans(sample, 10, seed=1)
    labels, squares = ExactSearch("l2", means.centroids).assign(sample)

    report = means.advance([means.partial(block) for block in means.blocks()])

    assert report.inertia == pytest.approx(squares.mean(), rel=1e-12)
    assert report.imbalance == imbalance(np.bincount(labels, minlength=10))
    assert (report.round, report.empty, means.round) == (0, 0, 1)


def test_separate_clusters_are_found() -> None:
    """k-means++ with repairs puts one centroid on the mean of each of well separated clusters."""
    random = np.random.default_rng(SEED)
    middles = 100 * random.standard_normal((15, 5))
    owners = np.arange(1500) % 15
    sample = (middles[owners] + 0.1 * random.standard_normal((1500, 5))).astype(np.float32)
    means = KMeans(sample, 15, seed=2, start="kmeans++")

    trained(means)

    assert sorted(sizes(sample, means.centroids)) == [100] * 15


def test_data_far_from_the_origin_is_clustered_alike() -> None:
    """Moving the data by a power of two that loses no bits moves the centroids with it."""
    sample = (np.rint(make("random", 1000, 6) * 64) / 64).astype(np.float32)
    here, there = (KMeans(rows, 20, seed=3) for rows in (sample, sample + np.float32(4096)))

    trained(here)
    trained(there)

    assert there.centroids - 4096 == pytest.approx(here.centroids, abs=2e-3)


@pytest.mark.parametrize(
    ("sample", "start"), [(ball(), "kmeans++"), (towns(), "sample"), (towns(), "kmeans++")]
)
def test_balance_mends_what_lloyd_leaves(sample: Rows, start: Start) -> None:
    """On skewed data the imbalance of balanced centroids is far below that of plain ones."""
    found = []
    for balance in (False, True):
        means = KMeans(sample, 77, seed=4, balance=balance, start=start)
        trained(means)
        found.append(imbalance(sizes(sample, means.centroids)))

    plain, balanced = found
    assert balanced - 1 < 0.67 * (plain - 1)


def test_empty_clusters_are_put_to_use() -> None:
    """Starting from rows that are all the same but few, no cluster stays empty."""
    sample = make("random", 2000, 4)
    sample[:1900] = sample[0] + np.float32(0.01) * sample[:1900]
    means = KMeans(sample, 40, seed=1, balance=False)
    means._search = ExactSearch("l2", np.repeat(sample[:1], 40, axis=0))

    reports = trained(means)

    assert reports[0].empty == 39
    assert min(sizes(sample, means.centroids)) > 0


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("distinct", [1, 3, 7])
def test_fewer_distinct_rows_than_centroids(distinct: int, start: Start) -> None:
    """With fewer distinct rows than centroids each of these rows has a centroid on it."""
    sample = np.repeat(make("random", distinct, 5), 4, axis=0)
    means = KMeans(sample, 9, seed=1, start=start)

    trained(means)

    _, squares = ExactSearch("l2", means.centroids).assign(sample)
    assert means.centroids.shape == (9, 5)
    assert np.isfinite(means.centroids).all()
    if start == "kmeans++":
        assert squares.max() < 1e-12


def test_fewer_rows_than_centroids() -> None:
    """A sample smaller than nlist gives nlist centroids, some of them equal."""
    sample = make("random", 3, 5)
    means = KMeans(sample, 8, seed=1)

    trained(means)

    assert means.centroids.shape == (8, 5)
    assert np.isfinite(means.centroids).all()


def test_one_centroid_is_the_mean() -> None:
    """A single centroid is the mean of the sample."""
    sample = make("offset by 10", 500, 5)
    means = KMeans(sample, 1, seed=1, rounds=2)

    trained(means)

    assert means.centroids[0] == pytest.approx(sample.mean(axis=0, dtype=np.float64), rel=1e-6)


@pytest.mark.usefixtures("small_blocks")
def test_rounds_of_a_large_sample_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a sample is too large for a round, rounds take turns until every row has been used."""
    monkeypatch.setattr(kmeans, "ROUND_BLOCKS", 3)
    monkeypatch.setattr(kmeans, "ROUND_SHARE", 1)
    sample = make("random", 1000, 4)
    means = KMeans(sample, 10, seed=1, rounds=4)
    seen = []

    while not means.done:
        assert len(means.blocks()) == 3
        seen += [sample[means._block_rows(block)] for block in means.blocks()]
        means.advance([means.partial(block) for block in means.blocks()])

    rows = {row.tobytes() for block in seen for row in block}
    assert rows == {row.tobytes() for row in sample}
    assert sum(map(len, seen)) == 1200


def test_default_nlist_is_about_the_square_root() -> None:
    """The default number of partitions is the square root of the rows, and never 0."""
    assert [default_nlist(rows) for rows in (0, 1, 2, 100, 117_159)] == [1, 1, 1, 10, 342]
