"""A query that is alone: one call of the kernels finds what ranking, scanning, measuring find."""

from dataclasses import replace

import numpy as np
import pytest

from centroidb.engine.index import native, sweep
from centroidb.engine.index.centroids import ExactSearch
from centroidb.engine.index.compiled import KERNELS
from centroidb.engine.index.distance import Metric
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.scan import Scan
from centroidb.engine.index.shelf import ROWS, VECTORS
from centroidb.engine.index.sweep import Partitions, Probing, swept_alone
from centroidb.txn.deaths import Visibility
from tests.index.data import KINDS, METRICS, Rows, make
from tests.index.world import World, answer

pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("kernels")

PARTS = 7


def probing(world: World, nprobe: int, *, whole: bool = False) -> Probing:
    """A search in the partitions of a world."""
    ranking = world.centroid_search().ranking
    return Probing(ranking, world.shelf, nprobe, world.visible.alive(), whole)


def step_by_step(world: World, search: ExactSearch, query: Rows, k: int, nprobe: int) -> Scan:
    """The same search by three calls."""
    ranked = search.rank(query[np.newaxis], nprobe)
    scan = world.scan(query, k)
    scan.probe([], Partitions(world.shelf, ranked, world.visible.alive()))
    return scan


@pytest.mark.parametrize("cached", [True, False, None], ids=["cached", "codes only", "mixed"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_what_the_steps_find(kind: str, metric: Metric, cached: bool | None) -> None:
    """The same partitions, rows, distances and counts, to the last bit."""
    for dims in (1, 31, 256):
        vectors = make(kind, 160, dims)
        world = World(metric, vectors, cached=cached, high=1200)
        search = world.centroid_search()
        for query in (vectors[0], make(kind, 1, dims, 1)[0]):
            for k, nprobe in ((1, 1), (10, 3), (400, 6), (10, PARTS), (10, 99)):
                scan = world.scan(query, k)
                ranked = scan.sweep_alone(probing(world, nprobe))
                assert ranked is not None
                assert ranked.tolist() == search.rank(query[np.newaxis], nprobe).tolist()
                assert scan.found(0).rows_scanned == world.shelf.rows(ranked[0])
                steps = step_by_step(world, search, query, k, nprobe).found(0)
                assert answer(scan.found(0)) == answer(steps)
                assert scan.found(0).rows_reranked == steps.rows_reranked


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_codes_are_all_measured(kind: str, metric: Metric) -> None:
    """Those of the partitions probed, and no others; a batch goes through chunks as before."""
    for dims in (1, 3, sweep.PLAIN_DIMS_MAX):
        vectors = make(kind, 160, dims)
        world = World(metric, vectors, cached=True, plain=True, high=1200)
        search = world.centroid_search()
        queries = np.concatenate([vectors[:1], make(kind, 2, dims, 1)])
        for query in queries:
            for k, nprobe in ((1, 1), (10, 3), (400, 6), (10, PARTS), (10, 99)):
                scan = world.scan(query, k)
                ranked = scan.sweep_alone(probing(world, nprobe))
                assert ranked is not None
                found = scan.found(0)
                assert found.rows_scanned == found.rows_reranked == world.shelf.rows(ranked[0])
                steps = step_by_step(world, search, query, k, nprobe).found(0)
                assert answer(found) == answer(steps)
        expected = [world.expected(query, 10) for query in queries]
        assert [answer(found) for found in world.search(queries, 10)] == expected


def test_rows_in_memory_join_what_it_finds() -> None:
    """What is probed after it is compared with the k-th row that it has found."""
    vectors = make("random", 200, 16)
    world = World("l2", vectors, cached=True)
    scan = world.scan(vectors[3], 5)
    ranked = scan.sweep_alone(probing(world, 2))
    assert ranked is not None

    rest = np.setdiff1d(np.arange(PARTS, dtype=np.int32), ranked)[np.newaxis]
    scan.probe(Partitions(world.shelf, rest, None).probes(), None)

    assert answer(scan.found(0)) == world.expected(vectors[3], 5)


def test_partitions_that_are_not_there_are_left_to_others() -> None:
    """One that is not on the shelf, has no vectors where they are wanted, or plain long ones."""
    many = World("l2", make("random", 100, sweep.PLAIN_DIMS_MAX + 1), cached=True, plain=True)
    assert many.scan(many.vectors[0], 5).sweep_alone(probing(many, PARTS)) is None
    for plain in (True, False):
        world = World("l2", make("random", 100, 16), cached=True, plain=plain)
        world.shelf.table[1, ROWS] = -1
        assert world.scan(world.vectors[0], 5).sweep_alone(probing(world, PARTS)) is None
    vectors = make("random", 100, 16)
    for cached in (True, False):
        world = World("l2", vectors, cached=cached)
        found = world.scan(vectors[0], 5).sweep_alone(probing(world, PARTS, whole=True))
        assert (found is not None) == cached
    world.shelf.table[2, ROWS] = -1
    assert world.scan(vectors[0], 5).sweep_alone(probing(world, PARTS)) is None


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "codes only"])
def test_where_many_rows_are_left_some_are_measured(cached: bool) -> None:
    """Those with the lowest ends first, until the next is too far."""
    vectors = make("random", 4_000, 256)
    world = World("l2", vectors, cached=cached)
    queries = Queries.of("l2", vectors[:1])
    lone = swept_alone(probing(world, PARTS), queries, 64)
    assert lone is not None
    assert lone.left is not None
    scan = world.scan(vectors[0], 64)

    assert scan.sweep_alone(probing(world, PARTS)) is not None

    assert answer(scan.found(0)) == world.expected(vectors[0], 64)
    assert 64 <= scan.found(0).rows_reranked < len(lone.left.vid)


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "codes only"])
def test_where_there_is_no_room_chunks_are_scanned(
    cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same partitions: the answer is the same."""
    monkeypatch.setattr(sweep, "ROOM", 0)
    vectors = np.repeat(make("random", 2, 16), 200, axis=0)
    world = World("l2", vectors, cached=cached)
    lone = swept_alone(probing(world, PARTS), Queries.of("l2", vectors[:1]), 3)
    assert lone is not None
    assert not lone.fits
    scan = world.scan(vectors[0], 3)

    ranked = scan.sweep_alone(probing(world, PARTS))

    assert ranked is not None
    assert ranked.tolist() == lone.ranked.tolist()
    assert answer(scan.found(0)) == world.expected(vectors[0], 3)
    assert scan.found(0).rows_scanned == len(vectors)


def test_what_only_numpy_can_do_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are excluded one by one, a very large k, and all where there are no kernels."""
    vectors = make("random", 50, 16)
    world = World("l2", vectors, cached=True)
    hiding: Visibility = world.visible.excluding(world.vids[1:2])
    excluded = Probing(world.centroid_search().ranking, world.shelf, 2, hiding.alive(), False)
    assert world.scan(vectors[1], 3, hiding).sweep_alone(excluded) is None
    assert world.scan(vectors[1], sweep.K_MAX + 1).sweep_alone(probing(world, 2)) is None
    monkeypatch.setattr(KERNELS, "_loaded", None)
    assert world.scan(vectors[1], 3).sweep_alone(probing(world, 2)) is None


def test_a_shelf_never_lets_vectors_go() -> None:
    """A scan may be reading them: who comes second is not heard, with vectors or without."""
    vectors = make("random", 60, 16)
    world, other = World("l2", vectors, cached=True), World("l2", vectors, cached=False)
    filled = world.shelf.blocks[0]
    assert filled is not None
    assert filled.vectors is not None
    before = world.shelf.table.copy()

    world.shelf.put(0, filled.with_vectors(filled.vectors.copy()))
    world.shelf.put(0, replace(filled, floats=None))

    assert world.shelf.blocks[0] is filled
    assert world.shelf.table.tolist() == before.tolist()
    bare = other.shelf.blocks[0]
    assert bare is not None
    other.shelf.put(0, bare.with_vectors(filled.vectors))
    assert other.shelf.table[0, VECTORS] == before[0, VECTORS]


@pytest.mark.parametrize("length", [1e-6, 1.0, 1e9])
def test_few_centroids_are_compared_whatever_the_length(length: float) -> None:
    """Under dot a query is scaled, and the sieve leaves as few of them as before."""
    centroids = make("random", 300, 32) * np.float32(length)
    search = ExactSearch("dot", centroids)
    direction = Queries.of("dot", make("random", 1, 32, 1)).directions[0]
    assert len(search._likely(direction, 3)) < 10


def test_the_largest_k_has_room() -> None:
    """All rows that are measured at once have the one query that there is."""
    assert native.measured_alone(sweep.K_MAX) <= len(native._FIRST)
