"""The model test: random histories against a dict and brute force.

A history is a list of operations that Hypothesis draws and, when one fails,
shrinks. One `trio.run` runs it. Blocking work runs inline, in an order drawn from
the history's seed, and the scheduler's choices are Hypothesis's too: a failure can
be repeated by the blob that is printed. A few histories run on real threads.

CENTROIDB_MODEL_EXAMPLES histories are run for each kind of index, by default 40.
"""

import os
import tempfile
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from centroidb.wal.blocking import substitute
from tests.support.databases import SMALL, checked_db

from .indexing import Crash, CreateIndex, CreateTable, Reopen, settled
from .reading import AskAgain, compare_now
from .seam import inline
from .strategies import histories
from .world import IndexKind, World
from .writing import Rows, Upsert

EXAMPLES = int(os.environ.get("CENTROIDB_MODEL_EXAMPLES", "40"))
LONGEST = 60
CACHES = (0, 1 << 20)
"""Nothing is kept in memory, or everything."""
DEADLOCK_S = 100_000
"""By the mocked clock, which jumps only when every task waits."""

KINDS_OF_INDEX = [
    IndexKind("flat", "exact"),
    IndexKind("sq8", "exact"),
    IndexKind("flat", "hnsw"),
    IndexKind("sq8", "hnsw"),
]

BEGINNING = [
    CreateTable("a"),
    CreateTable("b"),
    Upsert(Rows("a", [(at, 7 * at) for at in range(60)])),
    CreateIndex("i0", "a", "l2", 8, 0),
]

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
    history = [each for each in history if each != Crash()]
    run(kind, history, CACHES[-1], nullcontext(), None)


def run(
    kind: IndexKind,
    history: list[Any],
    cache_bytes: int,
    seam: AbstractContextManager[None],
    clock: MockClock | None,
) -> None:
    """Run one history, on a file of its own."""
    with tempfile.TemporaryDirectory() as folder, seam:
        path = Path(folder) / "model.db"
        trio.run(partial(live_through, path, kind, history, cache_bytes), clock=clock)


async def live_through(path: Path, kind: IndexKind, history: list[Any], cache_bytes: int) -> None:
    """All operations, the database being reopened where they say so, and once more at the end."""
    world = World(kind)
    left = deque([*BEGINNING, *history])
    with trio.fail_after(DEADLOCK_S):
        while left:
            await live_until_reopened(path, world, left, cache_bytes)
        async with checked_db(path, limits=SMALL, durability="relaxed") as db:
            await settled(db)
            await compare_now(world.elsewhere(db))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def live_until_reopened(path: Path, world: World, left: deque[Any], cache_bytes: int) -> None:
    """Operations up to the next `Reopen`."""
    async with (
        trio.open_nursery() as builds,
        checked_db(path, limits=SMALL, durability="relaxed", cache_bytes=cache_bytes) as db,
        world.session(db, builds),
    ):
        while left:
            operation = left.popleft()
            if isinstance(operation, Reopen):
                break
            await operation.run(world)
        await AskAgain().run(world)
        await compare_now(world)
        await world.let_go()
        if not db._source.supervisor().state.builds:
            await settled(db)
