"""Polls of many seeds, and how they change."""

import pytest

from centroidb.engine.cli.demo.neighbours import Neighbours
from centroidb.engine.cli.demo.places import Place
from centroidb.engine.cli.demo.poll import Change, Poll

HERE, NEAR, FAR = (Place(key, f"Place {key}", "XX", 40.0, -80.0 + key, 0) for key in range(3))


def answer(found: Place, share: float) -> Neighbours:
    return Neighbours(HERE, found=[found], true=[NEAR], share=share, rows_read=1)


def test_commonest_answer() -> None:
    """The answer that most seeds give is shown, with their number."""
    poll = Poll([answer(FAR, 0), answer(NEAR, 1), answer(NEAR, 1)])
    commonest, count = poll.commonest

    assert commonest.found == [NEAR]
    assert count == 2
    assert poll.shares.mean() == pytest.approx(2 / 3)


def test_change_counts_seed_by_seed() -> None:
    """A seed that finds more and one that finds less do not cancel out in the counts."""
    before = Poll([answer(FAR, 0), answer(NEAR, 1), answer(NEAR, 1), answer(NEAR, 1)])
    after = Poll([answer(NEAR, 1), answer(FAR, 0), answer(NEAR, 1), answer(NEAR, 1)])
    change = Change(before, after)

    assert (change.better, change.worse) == (1, 1)
    assert change.mean == 0
    assert change.standard_error == pytest.approx((2 / 3) ** 0.5 / 2)
