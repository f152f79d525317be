"""The model test: random histories against a dict and brute force.

A history is a list of operations that Hypothesis draws and, when one fails,
shrinks. One `trio.run` runs it. Blocking work runs inline, in an order drawn from
the history's seed, and the scheduler's choices are Hypothesis's too: a failure can
be repeated by the blob that is printed. A few histories run on real threads.

CENTROIDB_MODEL_EXAMPLES histories are run for each kind of index, by default 40.
"""

import os
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from centroidb.wal.blocking import substitute

from .indexing import Crash
from .living import CACHES, KINDS_OF_INDEX, LONGEST, run
from .seam import inline
from .strategies import histories
from .world import IndexKind

EXAMPLES = int(os.environ.get("CENTROIDB_MODEL_EXAMPLES", "40"))

histories_run = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("kind", KINDS_OF_INDEX, ids=str)
@given(history=histories(LONGEST), seed=st.integers(0, 999))
@histories_run
def test_histories(kind: IndexKind, history: list[Any], seed: int) -> None:
    """Whatever happens in whatever order, every read is what its state says it must be."""
    note(f"seed {seed}")
    run(kind, history, CACHES[seed % 2], substitute(inline(seed)), MockClock(autojump_threshold=0))


@pytest.mark.parametrize("kind", KINDS_OF_INDEX[1:3], ids=str)
@given(history=histories(LONGEST))
@settings(histories_run, max_examples=max(1, EXAMPLES // 4))
def test_histories_on_threads(kind: IndexKind, history: list[Any]) -> None:
    """The same holds when the work really runs at the same time."""
    history = [each for each in history if not isinstance(each, Crash) or each.backup]
    run(kind, history, CACHES[-1], nullcontext(), None)
