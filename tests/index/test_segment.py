"""Segments: immutable, and able to lose rows without being encoded again."""

import numpy as np
import pytest

from centroidb.engine.index.codec import CODECS, CodecName
from centroidb.engine.index.columns import Columns
from centroidb.engine.index.distance import Metric
from centroidb.engine.index.segment import Segment, encode_segment
from tests.index.data import METRICS, SEED, make


def segment_of(codec: CodecName, metric: Metric, count: int) -> Segment:
    """A segment of random rows."""
    vids = np.arange(count, dtype=np.int64) * 3 + 5
    crcs = (vids * 17).astype(np.uint32)
    centroid = make("random", 1, 12, 1)[0]
    return encode_segment(codec, metric, centroid, vids, crcs, make("random", count, 12))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codec", ["flat", "sq8"])
def test_kept_rows_are_those_rows(codec: CodecName, metric: Metric) -> None:
    """What is kept decodes to the rows that were there before, bit for bit."""
    segment = segment_of(codec, metric, 20)
    mask = np.random.default_rng(SEED).random(20) < 0.4

    kept = segment.keep(mask)

    centroid = make("random", 1, 12, 1)[0]
    before = CODECS[codec].decode(metric, centroid, segment.codes, segment.bounds)
    after = CODECS[codec].decode(metric, centroid, kept.codes, kept.bounds)
    assert len(kept) == mask.sum() > 0
    assert kept.vids.tolist() == segment.vids[mask].tolist()
    assert kept.row_crcs.tolist() == segment.row_crcs[mask].tolist()
    assert isinstance(before, Columns)
    for name in before.COLUMNS:
        old, new = getattr(before, name), getattr(after, name)
        assert (old is None and new is None) or old[mask].tolist() == new.tolist()


@pytest.mark.parametrize("codec", ["flat", "sq8"])
def test_everything_or_nothing_is_kept(codec: CodecName) -> None:
    """Keeping all rows changes no byte, and keeping none leaves an empty segment."""
    segment = segment_of(codec, "l2", 4)

    everything = segment.keep(np.ones(4, np.bool_))
    nothing = segment.keep(np.zeros(4, np.bool_))

    assert (everything.codes, everything.bounds) == (segment.codes, segment.bounds)
    assert (len(nothing), nothing.codes, nothing.bounds) == (0, b"", b"")
    assert len(nothing.keep(np.zeros(0, np.bool_))) == 0
