"""Curves: what sampled queries would find, partition by partition, from codes alone."""

import numpy as np
import pytest

from centroidb.engine.index import curves as module
from centroidb.engine.index.block import Block
from centroidb.engine.index.calibration import trace
from centroidb.engine.index.centroids import ExactSearch
from centroidb.engine.index.codec import CodecName
from centroidb.engine.index.curves import Curves, residuals
from centroidb.engine.index.distance import Metric, distances, index_space
from centroidb.engine.index.kept_out import KEPT_OUT_ONE_IN, kept_out
from centroidb.engine.index.probing import ladder
from centroidb.engine.index.segment import encode_segment
from centroidb.engine.index.spread import row_values
from tests.index.data import METRICS, make, spread_of

N, NLIST, DIM, QUERIES = 900, 12, 24, 40
KS = (1, 10)


@pytest.mark.parametrize("kept_more", [100, module.KEPT_MORE])
@pytest.mark.parametrize("codec", ["flat", "sq8"])
@pytest.mark.parametrize("metric", METRICS)
def test_curves_are_what_searches_to_the_end_would_note(
    metric: Metric, codec: CodecName, kept_more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of float32 rows to the last one; of rows in bytes, one query or two may differ at a rung."""
    monkeypatch.setattr(module, "KEPT_MORE", kept_more)
    vectors = make("random", N, DIM)
    vids = np.arange(1, N + 1)
    search = ExactSearch(metric, index_space(metric, make("random", NLIST, DIM, 1)))
    vectors[QUERIES : QUERIES + 5] = 0  # under cosine as far from anything as can be
    labels, squares = search.assign(vectors)
    spread = spread_of(labels, squares, NLIST)
    sizes = np.bincount(labels, minlength=NLIST)
    curves = Curves(metric, vectors[:QUERIES], vids[:QUERIES], search, KS)

    for partition in range(NLIST):
        of = labels == partition
        centroid = search.centroids[partition]
        crcs = np.zeros(int(of.sum()), np.uint32)
        segment = encode_segment(codec, metric, centroid, vids[of], crcs, vectors[of])
        block = Block.of(codec, metric, centroid, [segment], None)
        curves.add(partition, residuals(block), block.vids)

    found = curves.traces(spread, sizes)
    places = np.argsort(search.rank(vectors[:QUERIES], NLIST), axis=1)
    rungs = ladder(NLIST)
    for traces, k in zip(found, KS, strict=True):
        recalls = []
        for query in range(QUERIES):
            others = np.arange(N) != query
            values = row_values(metric, distances(metric, vectors[query], vectors[others]))
            recalls.append(trace(values, places[query, labels[others]], rungs, k)[1])
        off = np.abs(traces.recalls.mean(axis=0) - np.mean(recalls, axis=0))
        assert off.max() <= (0.0 if codec == "flat" else 2 / QUERIES)
        assert traces.rows[:, -1].tolist() == [N] * QUERIES


def test_one_row_in_32_is_kept_out() -> None:
    """Whichever rows there are: old or new ones, even or odd."""
    vids = np.arange(1, 320_001)
    for some in (vids, vids[::2], vids[1::2], vids[-50_000:]):
        share = kept_out(some).mean() * KEPT_OUT_ONE_IN
        assert 0.9 < share < 1.1
