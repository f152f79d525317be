"""Blocks: the same rows however they were put together."""

import numpy as np
import pytest

from centroidb.engine.index.block import Block
from centroidb.engine.index.codec import CodecName
from centroidb.engine.index.distance import Metric
from centroidb.engine.index.queries import Queries
from centroidb.engine.index.segment import Segment, encode_segment
from tests.index.data import METRICS, Rows, brackets, make

VECTORS = make("random", 30, 12)
CENTROID = make("random", 1, 12, 1)[0]


def segment(codec: CodecName, metric: Metric, start: int, stop: int) -> Segment:
    """Some of the rows, with their numbers as vids."""
    vids = np.arange(start, stop)
    crcs = vids.astype(np.uint32)
    return encode_segment(codec, metric, CENTROID, vids, crcs, VECTORS[start:stop])


def block_of(codec: CodecName, metric: Metric, vectors: Rows | None) -> Block:
    """All rows, in three segments."""
    segments = [segment(codec, metric, *ends) for ends in ((0, 11), (11, 12), (12, 30))]
    return Block.of(codec, metric, CENTROID, segments, vectors)


def ends(block: Block) -> tuple[list[list[float]], list[list[float]]]:
    """The brackets of a block's rows for one query."""
    queries = Queries.of(block.metric, make("random", 1, 12, 2))
    lower, upper = brackets([block.sieve], queries)
    return lower.tolist(), upper.tolist()


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("codec", ["flat", "sq8"])
def test_a_block_grows_segment_by_segment(codec: CodecName, metric: Metric, cached: bool) -> None:
    """A block extended by a segment equals one made of all segments at once."""
    whole = block_of(codec, metric, VECTORS if cached else None)
    first = segment(codec, metric, 0, 11)
    grown = Block.of(codec, metric, CENTROID, [first], VECTORS[:11] if cached else None)

    for start, stop in ((11, 12), (12, 30)):
        rows = VECTORS[start:stop] if cached else None
        grown = grown.extended(segment(codec, metric, start, stop), rows)

    assert grown.vids.tolist() == whole.vids.tolist() == list(range(30))
    assert ends(grown) == ends(whole)
    assert grown.nbytes == whole.nbytes


@pytest.mark.parametrize("codec", ["flat", "sq8"])
def test_the_head_of_a_block_is_a_view(codec: CodecName) -> None:
    """The head holds the first rows, without copying them."""
    block = block_of(codec, "l2", VECTORS)

    head = block.head(13)

    assert len(head) == 13
    assert head.vids.tolist() == list(range(13))
    assert np.shares_memory(head.vids, block.vids)
    assert head.vectors is not None
    assert block.vectors is not None
    assert np.shares_memory(head.vectors, block.vectors)
    assert [row[:13] for row in ends(block)[0]] == ends(head)[0]


def test_flat_blocks_have_vectors_of_their_own() -> None:
    """The flat codec keeps float32, so its blocks have vectors without being given them."""
    block = block_of("flat", "cosine", None)

    assert block.vectors is not None
    assert block.vectors.tobytes() == VECTORS.tobytes()


def test_sq8_blocks_have_vectors_only_if_given() -> None:
    """Without the vectors of a segment the longer block has codes only."""
    whole = block_of("sq8", "l2", VECTORS)
    first = Block.of("sq8", "l2", CENTROID, [segment("sq8", "l2", 0, 11)], VECTORS[:11])

    assert whole.vectors is not None
    assert whole.vectors.tobytes() == VECTORS.tobytes()
    assert first.extended(segment("sq8", "l2", 11, 30), None).vectors is None


@pytest.mark.parametrize("codec", ["flat", "sq8"])
def test_an_empty_partition(codec: CodecName) -> None:
    """A partition without segments is a block without rows, which can be extended."""
    empty = Block.of(codec, "l2", CENTROID, [], None)

    grown = empty.extended(segment(codec, "l2", 0, 30), None)

    assert len(empty) == 0
    assert len(grown) == 30


def test_bytes_of_a_block() -> None:
    """A block counts its vids, its codes with 16 bytes a row, and its vectors with 8."""
    codes = block_of("sq8", "l2", None)
    both = block_of("sq8", "l2", VECTORS)
    plain = Block.plain("l2", np.arange(30), VECTORS)

    assert codes.nbytes == 30 * (8 + 12 + 16)
    assert plain.nbytes == 30 * (8 + 12 * 4 + 8)
    assert both.nbytes == codes.nbytes + plain.nbytes - 30 * 8
