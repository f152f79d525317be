"""Chunks: every query meets every row of its blocks once, whatever is put together."""

import numpy as np
import pytest

from centroidb.engine.index import chunk
from centroidb.engine.index.block import Block
from centroidb.engine.index.chunk import Probe, chunks
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.segment import encode_segment
from tests.index.data import SEED, brackets, make

QUERIES = Queries.of("l2", make("random", 3, 8))


def block(start: int, stop: int, *, sq8: bool) -> Block:
    """Rows whose vids are their numbers."""
    everything = make("random", 100, 8, 1)
    rows = everything[start:stop]
    vids = np.arange(start, stop)
    if not sq8:
        return Block.plain("l2", vids, rows)
    crcs = np.zeros(len(rows), np.uint32)
    segment = encode_segment("sq8", "l2", everything[0], vids, crcs, rows)
    return Block.of("sq8", "l2", everything[0], [segment], None)


PROBES = [
    Probe(block(0, 30, sq8=True), np.array([0, 2])),
    Probe(block(30, 30, sq8=True)),
    Probe(block(30, 33, sq8=False), np.array([2])),
    Probe(block(33, 70, sq8=True)),
    Probe(block(70, 75, sq8=False), np.empty(0, np.intp)),
    Probe(block(75, 100, sq8=True), np.array([2, 1])),
]
MET = [
    (0, {*range(30), *range(33, 70)}),
    (1, {*range(33, 70), *range(75, 100)}),
    (2, {*range(70), *range(75, 100)}),
]


@pytest.mark.parametrize(("pairs", "values"), [(1 << 21, 1 << 24), (90, 1 << 24), (1 << 21, 60)])
def test_each_query_meets_its_rows_once(
    pairs: int, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all chunks and tasks, a query meets each row of its blocks once, and no others."""
    monkeypatch.setattr(chunk, "CHUNK_PAIRS", pairs)
    monkeypatch.setattr(chunk, "CHUNK_VALUES", values)
    met: list[tuple[int, int]] = []

    made = list(chunks(PROBES, QUERIES))

    for each in made:
        vids = np.concatenate([block.vids for block in each.blocks])
        assert len(vids) == each.starts[-1]
        for task in each.tasks():
            mine = vids[task.places(np.arange(task.rows))].tolist()
            met += [(query, vid) for query in task.queries.tolist() for vid in mine]
    assert sorted(met) == sorted((query, vid) for query, rows in MET for vid in rows)
    assert (len(made) == 1) == (pairs > 90 and values > 60)


def test_brackets_are_those_of_each_pair_by_itself() -> None:
    """A row's bracket in a chunk is the one it has with that query and its block alone."""
    (made,) = chunks(PROBES, QUERIES)

    for task in made.tasks():
        lower, upper = task.asked.brackets()
        for at, query in enumerate(task.queries.tolist()):
            own = QUERIES.take(np.array([query]))
            pieces = [made.blocks[number].sieve for number in task.blocks]
            alone = [brackets([piece], own) for piece in pieces]
            assert lower[at] == pytest.approx(np.concatenate([ends[0][0] for ends in alone]))
            assert upper[at] == pytest.approx(np.concatenate([ends[1][0] for ends in alone]))


def test_chunks_stay_within_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk has more pairs or values than the limits allow, unless a single row has."""
    monkeypatch.setattr(chunk, "CHUNK_PAIRS", 200)
    monkeypatch.setattr(chunk, "CHUNK_VALUES", 12 * 8)
    random = np.random.default_rng(SEED)
    probes = [
        Probe(block(start, stop, sq8=False), np.flatnonzero(random.random(3) < 0.7))
        for start, stop in random.integers(0, 100, (50, 2))
    ]

    made = list(chunks(probes, QUERIES))

    assert len(made) > 10
    for each in made:
        rows = each.starts[-1]
        pairs = sum(len(task.queries) * (task.rows + 8 * len(task.blocks)) for task in each.tasks())
        assert rows == 1 or (pairs <= 200 and rows * 8 <= 96)
