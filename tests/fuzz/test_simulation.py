"""The simulated world: what it relies on is there, and a seed gives one schedule."""

import os
import random
import sqlite3
import time
from contextlib import nullcontext

import pytest
import trio

from fuzz.oracle import Bad
from fuzz.simulation.belief import Belief
from fuzz.simulation.world import EPOCH_S, PID, scheduler, world
from fuzz.steps import ROWS_A_COMMIT, Step, Upsert


def test_trio_has_the_private_switches() -> None:
    """The scheduler's switch and generator have the names that a simulation relies on."""
    run = scheduler()
    assert run._ALLOW_DETERMINISTIC_SCHEDULING in (True, False)
    assert isinstance(run._r, random.Random)


async def _order() -> list[int]:
    order: list[int] = []

    async def turns(task: int) -> None:
        for _ in range(5):
            order.append(task)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for task in range(6):
            nursery.start_soon(turns, task)
    return order


def _drawn(seed: str) -> tuple[list[int], bytes]:
    """The order of tasks and SQLite's random bytes in a world."""
    with world(seed) as made:
        connection = sqlite3.connect(":memory:")
        (dice,) = connection.execute("SELECT randomblob(32)").fetchone()
        connection.close()
        return trio.run(_order, clock=made.clock), dice


def test_a_seed_gives_one_schedule_and_one_set_of_dice() -> None:
    """The same seed draws the same, another one draws otherwise."""
    first, again, other = _drawn("1"), _drawn("1"), _drawn("2")
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_time_is_the_worlds() -> None:
    """Clocks and calendar go by the world's clock, and are the process's own again after it."""
    with world("1") as made:
        made.clock.jump(5.0)
        assert time.time_ns() == int((EPOCH_S + 5.0) * 1e9)
        assert time.perf_counter() == 5.0
        assert time.gmtime() == time.gmtime(EPOCH_S + 5.0)
        assert os.getpid() == PID
    assert time.time() > EPOCH_S + 5.0


def _writes() -> list[list[Step]]:
    return [[Upsert("t", {1: 11, 2: 12}), Upsert("t", {1: 13})]]


def test_an_acknowledged_step_must_be_there() -> None:
    """What was acknowledged and is gone is found."""
    belief = Belief({"table t": 1}, _writes())
    belief.hear("s 0 0")
    belief.hear("a 0 0")
    belief.judge({"table t": 1, "t/1": 11, "t/2": 12})
    with pytest.raises(Bad):
        belief.judge({"table t": 1, "t/1": 11})


def test_a_cancelled_step_may_be_there_until_somebody_has_looked() -> None:
    """Each outcome is possible; what was seen once may not go away again."""
    belief = Belief({"table t": 1}, _writes())
    belief.hear("s 0 0")
    belief.hear("u 0 0")
    belief.judge({"table t": 1})
    belief.judge({"table t": 1, "t/1": 11, "t/2": 12})
    belief.hear('v 0 t {"1": 11, "2": 12}')
    with pytest.raises(Bad):
        belief.judge({"table t": 1})


@pytest.mark.parametrize(
    ("failure", "may_be_there"), [("DiskFullError 0", False), ("CommitOutcomeUnknown 0", True)]
)
def test_a_failed_step_leaves_what_its_error_says(failure: str, may_be_there: bool) -> None:
    """Nothing, unless the error says that the outcome is unknown."""
    belief = Belief({"table t": 1}, _writes())
    belief.hear("s 0 0")
    belief.hear(f"f 0 0 {failure}")
    belief.judge({"table t": 1})
    with nullcontext() if may_be_there else pytest.raises(Bad):
        belief.judge({"table t": 1, "t/1": 11, "t/2": 12})


def test_a_large_write_may_end_after_each_of_its_commits() -> None:
    """And nowhere between them."""
    step = Upsert("t", {key: key for key in range(2 * ROWS_A_COMMIT + 1)})
    sizes = [len(state) for state in step.outcomes({})]
    assert sizes == [0, ROWS_A_COMMIT, 2 * ROWS_A_COMMIT, 2 * ROWS_A_COMMIT + 1]
