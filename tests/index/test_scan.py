"""Search: what it finds is brute force, bit for bit, and it looks no further than it must."""

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from centroidb.engine.index import chunk, kernels, scan
from centroidb.engine.index.block import Block
from centroidb.engine.index.codec import CodecName
from centroidb.engine.index.distance import Metric, index_space
from centroidb.engine.index.scan import Found, Probe, search
from centroidb.engine.index.segment import encode_segment
from tests.index.data import KINDS, METRICS, SEED, Rows, brute_force, make

Mask = NDArray[np.bool_]
Visible = Callable[[NDArray[np.int64]], Mask | None]


@dataclass(frozen=True)
class World:
    """Vectors, and blocks that hold them."""

    metric: Metric
    vids: NDArray[np.int64]
    vectors: Rows
    blocks: list[Block]

    @classmethod
    def of(
        cls, metric: Metric, codec: CodecName, vectors: Rows, *, cached: bool, parts: int = 5
    ) -> "World":
        """Rows spread over blocks at random, the last block plain, as a delta is."""
        random = np.random.default_rng(SEED)
        vids = np.sort(random.choice(10 * len(vectors), len(vectors), replace=False))
        owners = random.integers(0, parts, len(vectors))
        blocks = []
        for part in range(parts - 1):
            mine = owners == part
            rows = vectors[mine]
            centroid = index_space(metric, rows if len(rows) else vectors)
            mean = centroid.mean(axis=0, dtype=np.float64).astype(np.float32)
            crcs = np.zeros(len(rows), np.uint32)
            segment = encode_segment(codec, metric, mean, vids[mine], crcs, rows)
            blocks.append(Block.of(codec, metric, mean, [segment], rows if cached else None))
        delta = owners == parts - 1
        blocks.append(Block.plain(metric, vids[delta], vectors[delta]))
        return cls(metric, vids, vectors, blocks)

    def fetch(self, vids: NDArray[np.int64]) -> Rows:
        """Vectors by vid, each asked for once and in order."""
        assert (np.diff(vids) > 0).all()
        return self.vectors[np.searchsorted(self.vids, vids)]

    def search(
        self, queries: Rows, k: int, visible: Visible, probes: list[Probe] | None = None
    ) -> list[Found]:
        """Search all blocks, or some."""
        everything = probes or [Probe(block) for block in self.blocks]
        return search(self.metric, queries, everything, k, visible=visible, fetch=self.fetch)

    def expected(self, query: Rows, k: int, visible: Visible) -> tuple[list[int], list[float]]:
        """The answer by brute force."""
        seen = visible(self.vids)
        mask = slice(None) if seen is None else seen
        return brute_force(self.metric, query, self.vids[mask], self.vectors[mask], k)


def all_visible(vids: NDArray[np.int64]) -> Mask | None:
    """No row is hidden."""
    return None


def most_visible(vids: NDArray[np.int64]) -> Mask | None:
    """A third of the rows is hidden."""
    hidden: Mask = vids % 3 != 0
    return hidden


def answer(found: Found) -> tuple[list[int], list[float]]:
    """What a query found, to compare exactly."""
    return found.vids.tolist(), found.distances.tolist()


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "codes only"])
@pytest.mark.parametrize("codec", ["flat", "sq8"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_search_equals_brute_force(
    kind: str, metric: Metric, codec: CodecName, cached: bool
) -> None:
    """Vids and distances equal brute force bit for bit, alone and in a batch, on every kind."""
    for dims in (1, 2, 3, 7, 64, 256, 1536):
        vectors = make(kind, 160, dims)
        queries = np.concatenate([vectors[:2], make(kind, 4, dims, 1), -vectors[3:4]])
        world = World.of(metric, codec, vectors, cached=cached)
        for visible in (all_visible, most_visible):
            batch = world.search(queries, 10, visible)
            alone = [world.search(query[np.newaxis], 10, visible)[0] for query in queries[:3]]
            expected = [world.expected(query, 10, visible) for query in queries]
            assert [answer(found) for found in batch] == expected
            assert [answer(found) for found in alone] == expected[:3]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(METRICS),
    st.sampled_from(["flat", "sq8"]),
    st.sampled_from(list(KINDS)),
    st.integers(1, 6),
    st.integers(1, 40),
)
def test_each_query_sees_the_blocks_it_probes(
    seed: int, metric: Metric, codec: CodecName, kind: str, count: int, k: int
) -> None:
    """A query of a batch finds the nearest rows of its own probes, whatever the others probe."""
    random = np.random.default_rng(seed)
    vectors = make(kind, 60, 5, seed)
    world = World.of(metric, codec, vectors, cached=bool(seed % 2), parts=6)
    queries = make(kind, count, 5, seed + 1)
    wanted = random.random((6, count)) < 0.5
    probes = [
        Probe(block, None if row.all() else np.flatnonzero(row))
        for block, row in zip(world.blocks, wanted, strict=True)
    ]

    found = world.search(queries, k, most_visible, probes)

    for query in range(count):
        looked_at = [
            block.vids for block, row in zip(world.blocks, wanted, strict=True) if row[query]
        ]
        vids = np.concatenate([np.empty(0, np.int64), *looked_at])
        assert found[query].rows_scanned == len(vids)
        seen = np.sort(vids[most_visible(vids)])
        nearest = brute_force(metric, queries[query], seen, world.fetch(seen), k)
        assert answer(found[query]) == nearest


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "codes only"])
@pytest.mark.parametrize("codec", ["flat", "sq8"])
def test_limits_leave_no_trace(
    codec: CodecName, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers are the same when every limit is met after a few rows."""
    for kind in ("random", "duplicates", "offset by 10,000"):
        world = World.of("l2", codec, make(kind, 300, 6), cached=cached)
        queries = make(kind, 5, 6, 1)
        expected = [world.expected(query, 7, most_visible) for query in queries]
        for limit in ("CHUNK_PAIRS", "CHUNK_VALUES"):
            for value in (1, 50, 700):
                monkeypatch.setattr(chunk, limit, value)
                found = world.search(queries, 7, most_visible)
                assert [answer(each) for each in found] == expected
        monkeypatch.setattr(scan, "MEASURED_VALUES", 13)
        monkeypatch.setattr(kernels, "SCRATCH_VALUES", 40)
        assert [answer(each) for each in world.search(queries, 7, most_visible)] == expected
        monkeypatch.undo()


def test_many_queries_take_the_matrix_product() -> None:
    """A batch long enough for a matrix product finds what each of its queries finds alone."""
    world = World.of("cosine", "sq8", make("unit", 2000, 40), cached=False)
    queries = make("unit", 50, 40, 1)

    batch = world.search(queries, 5, all_visible)

    alone = [world.search(query[np.newaxis], 5, all_visible)[0] for query in queries]
    assert [answer(found) for found in batch] == [answer(found) for found in alone]


def test_threads_share_blocks() -> None:
    """Searches of the same blocks in several threads at once find what each finds alone."""
    world = World.of("l2", "sq8", make("random", 3000, 32), cached=False)
    queries = make("random", 40, 32, 1)
    expected = [answer(found) for found in world.search(queries, 5, most_visible)]

    with ThreadPoolExecutor(4) as pool:
        alone = pool.map(lambda query: world.search(query[np.newaxis], 5, most_visible)[0], queries)

    assert [answer(found) for found in alone] == expected


def test_hidden_rows_prove_nothing() -> None:
    """Rows that the snapshot does not see cannot push out rows that it does."""
    vectors = make("random", 400, 8)
    query = vectors[0]
    world = World.of("l2", "sq8", vectors, cached=True)
    nearest, _ = world.expected(query, 300, all_visible)
    hidden = np.array(nearest[:290])

    found = world.search(query[np.newaxis], 10, lambda vids: ~np.isin(vids, hidden))

    assert found[0].vids.tolist() == nearest[290:300]


@pytest.mark.parametrize("codec", ["flat", "sq8"])
def test_a_tie_at_no_distance_goes_to_the_smaller_vid(
    codec: CodecName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows as near as can be are not passed over, however many came before them."""
    monkeypatch.setattr(chunk, "CHUNK_VALUES", 10)
    zeros = np.zeros((40, 2), np.float32)
    segments = [
        encode_segment(codec, "l2", zeros[0], vids, np.zeros(4, np.uint32), zeros[:4])
        for vids in np.arange(40).reshape(10, 4)[::-1]
    ]
    probes = [Probe(Block.of(codec, "l2", zeros[0], [each], None)) for each in segments]

    found = search(
        "l2", zeros[:1], probes, 5, visible=all_visible, fetch=lambda vids: zeros[: len(vids)]
    )

    assert answer(found[0]) == (list(range(5)), [0.0] * 5)


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "codes only"])
@pytest.mark.parametrize("codec", ["flat", "sq8"])
@pytest.mark.parametrize("metric", METRICS)
def test_rows_of_zeros(metric: Metric, codec: CodecName, cached: bool) -> None:
    """Rows of zeros are found like any others, under cosine at distance 1."""
    vectors = make("random", 60, 3)
    vectors[::4] = 0
    world = World.of(metric, codec, vectors, cached=cached)
    query = make("random", 1, 3, 1)

    found = world.search(query, 60, all_visible)

    assert answer(found[0]) == world.expected(query[0], 60, all_visible)
    zeros = np.isin(found[0].vids, world.vids[::4])
    assert np.isfinite(found[0].distances).all()
    assert metric != "cosine" or (found[0].distances[zeros] == 1).all()
    assert zeros.sum() == 15


def test_fewer_rows_than_asked_for() -> None:
    """With fewer than k visible rows all of them are found, and with none nothing."""
    world = World.of("l2", "sq8", make("random", 30, 4), cached=False)
    queries = make("random", 2, 4, 1)

    everything = world.search(queries, 100, all_visible)
    nothing = world.search(queries, 100, lambda vids: np.zeros(len(vids), np.bool_))
    nowhere = search("l2", queries, [], 5, visible=all_visible, fetch=world.fetch)

    assert [sorted(found.vids.tolist()) for found in everything] == [world.vids.tolist()] * 2
    assert [answer(found) for found in nothing + nowhere] == [([], [])] * 4


def test_no_queries() -> None:
    """A batch without queries has no answers."""
    world = World.of("l2", "flat", make("random", 30, 4), cached=True)

    assert world.search(np.empty((0, 4), np.float32), 5, all_visible) == []


@pytest.mark.parametrize(("codec", "most"), [("flat", 12), ("sq8", 60)])
@pytest.mark.parametrize("metric", METRICS)
def test_few_rows_are_measured(metric: Metric, codec: CodecName, most: int) -> None:
    """Of thousands of ordinary rows a few dozen are measured, not more."""
    world = World.of(metric, codec, make("random", 5000, 64), cached=codec == "flat")

    found = world.search(make("random", 20, 64, 1), 10, all_visible)

    assert max(each.rows_reranked for each in found) <= most
    assert {each.rows_scanned for each in found} == {5000}


def test_vectors_in_memory_are_not_fetched() -> None:
    """A block that has its vectors asks for none."""
    world = World.of("l2", "sq8", make("random", 300, 8), cached=True)

    def refuse(vids: NDArray[np.int64]) -> Rows:
        raise AssertionError(f"{len(vids)} vectors fetched")

    probes = [Probe(block) for block in world.blocks]
    query = make("random", 1, 8, 1)
    found = search("l2", query, probes, 5, visible=all_visible, fetch=refuse)

    assert answer(found[0]) == world.expected(query[0], 5, all_visible)


@pytest.mark.parametrize("kind", ["random", "constant"])
def test_a_stream_is_let_go(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a stream longer than memory are dropped on the way, even if all rows are near."""
    monkeypatch.setattr(chunk, "CHUNK_VALUES", 4 * 50 * 8)
    vectors = make(kind, 5000, 8)
    vids = np.arange(5000)
    streamed: list[weakref.ref[Rows]] = []
    alive = []

    def stream() -> Iterator[Probe]:
        for start in range(0, 5000, 50):
            rows = vectors[start : start + 50].copy()
            streamed.append(weakref.ref(rows))
            yield Probe(Block.plain("l2", vids[start : start + 50], rows))
            del rows
            alive.append(sum(each() is not None for each in streamed))

    found = search(
        "l2", vectors[:2], stream(), 10, visible=all_visible, fetch=lambda _: vectors[:0]
    )

    for query in range(2):
        assert answer(found[query]) == brute_force("l2", vectors[query], vids, vectors, 10)
    assert max(alive) <= 12
