"""The machine: histories that Hypothesis draws, against a dict and brute force, and shrinks.

The same as the tests' model, which has crashes, reopenings, builds and damage among its
operations, with new seeds each round.
"""

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from centroidb.wal.blocking import substitute
from tests.model import living
from tests.model.seam import inline
from tests.model.strategies import histories

from .case import Campaign, Result

EXAMPLES = 10
"""Histories of a case."""
CASES = 1
"""Of each kind of index, a round."""


def run(text: str) -> Result:
    """`<kind of index> <seed>`."""
    kind, number = text.split()
    result = Result()

    @seed(int(number))
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(history=histories(living.LONGEST), order=st.integers(0, 999))
    def machine(history: list[Any], order: int) -> None:
        note(f"order {order}")
        clock = MockClock(autojump_threshold=0)
        cache_bytes = living.CACHES[order % len(living.CACHES)]
        result.tried["histories"] += 1
        result.tried["operations"] += len(history)
        living.run(
            living.KINDS_OF_INDEX[int(kind)], history, cache_bytes, substitute(inline(order)), clock
        )

    machine()
    return result


def cases(number: int) -> Iterator[str]:
    """New seeds each round."""
    for kind in range(len(living.KINDS_OF_INDEX)):
        yield from (f"{kind} {seed}" for seed in range((number - 1) * CASES, number * CASES))


GOAL = CASES * len(living.KINDS_OF_INDEX) * EXAMPLES
CAMPAIGN = Campaign("machine", cases, run, {"histories": GOAL})
