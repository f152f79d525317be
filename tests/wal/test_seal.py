"""The seal of a generation: it tells the segments that count from any others."""

import pytest

from centroidb.wal.seal import Seal, SegmentRef
from centroidb.wal.types import SegmentId


def refs(*ids: int) -> list[SegmentRef]:
    """Segments of different sizes."""
    return [SegmentRef(SegmentId(each), centroid=0, n=each + 1, nbytes=10) for each in ids]


def test_a_seal_holds_what_was_added_and_not_removed() -> None:
    """In any order, whether they came at once or one by one."""
    seal = Seal().changed(refs(1, 2)).changed(refs(5, 3), removed=refs(2))

    assert seal.last == 5
    assert seal.holds(refs(3, 5, 1))
    assert seal == Seal().changed(refs(1, 3, 5))


def test_nothing_is_sealed_at_first() -> None:
    """A new generation has no segment that counts."""
    assert Seal().holds([])
    assert not Seal().holds(refs(1))


@pytest.mark.parametrize("others", [refs(1, 3), refs(1, 2, 3, 4), refs(1, 2, 4), []])
def test_other_segments_do_not_hold(others: list[SegmentRef]) -> None:
    """One missing, one more, one in the place of another, none."""
    assert not Seal().changed(refs(1, 2, 3)).holds(others)


def test_a_segment_of_another_size_does_not_hold() -> None:
    """The rows of a segment are part of the sum."""
    changed = SegmentRef(SegmentId(1), centroid=0, n=9, nbytes=10)

    assert not Seal().changed(refs(1)).holds([changed])
