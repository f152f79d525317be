"""Simulation: one seed draws a schedule, faults and programs; the same seed lives them again.

base      a closed file with rows and perhaps an index
life      opened, used, ended by a close, a fault or a power loss       up to LIVES of them
judged    SQLite's recovery and all rows, against all that may be there
at last   the product's own recovery, with every proof it offers

A part of the seeds is lived twice; every turn of a task, every word and every file operation must
be the same both times, to the last bit.
"""

import gc
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from centroidb.wal.blocking import substitute
from tests.model.seam import inline

from .. import victim
from ..case import Campaign, Result, scratch
from ..disk import Image, read_image, write_image
from ..oracle import look, recover, settled
from ..steps import State, Step
from ..workloads import workload
from .life import Life
from .program import drawn
from .world import World, world

SEEDS = 200
"""In a round."""
TWICE_ONE_IN = 20
LIVES = 2
BASES = ("crud", "transactions", "fold", "ddl", "create")


def run(text: str) -> Result:
    """`<seed>`."""
    result = Result()
    histories = [_lived(text, result)]
    if int(text) % TWICE_ONE_IN == 0:
        histories.append(_lived(text, Result()))
        result.tried["seeds lived twice"] += 1
        if difference := _first_difference(*histories):
            result.found.append(f"not the same the second time: {difference}")
    result.tried["seeds"] += 1
    return result


def _lived(text: str, result: Result) -> list[Any]:
    """Live a seed; all that happened."""
    history: list[Any] = []
    begun = base(random.Random(f"base {text}").choice(BASES))
    _collected()
    gc.disable()
    try:
        with scratch() as folder, world(text) as made:
            _live(made, folder, begun, result, history)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a simulated world is a defect
        result.found.append(_told(error))
    finally:
        gc.enable()
    return history


@cache
def _settle() -> None:
    """What is loaded or worked out once stays so: no life is the first, nor collects it."""
    base(BASES[0])
    gc.collect()
    gc.freeze()


def _collected() -> None:
    """No finalizer of a life before runs during the next."""
    _settle()
    gc.collect()


def _told(error: BaseException) -> str:
    """An error, and those in it if it is a group."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(each) for each in error.exceptions)
    return repr(error)


def _live(
    made: World,
    folder: Path,
    begun: tuple[Image, State],
    result: Result,
    history: list[Any],
) -> None:
    image, state = begun
    home = folder / "home"
    for number in range(1, made.chance.randint(1, LIVES) + 1):
        write_image(image, home)
        life = Life(made, folder, image, state, drawn(made.chance, state, number))
        try:
            image, belief = life.live()
        finally:
            history += life.history
        _count(life, result)
        write_image(image, home)
        state = look(home) or {}
        belief.judge(state)
    if state:
        write_image(image, home)
        recover(home, state, again=made.chance.random() < 0.5)


def _count(life: Life, result: Result) -> None:
    result.tried["lives"] += 1
    result.tried["crashes"] += life.crashed
    result.tried["lives with a failing disk"] += life.faulty
    result.tried["cancelled steps"] += life.cancelled
    result.tried["acknowledged steps"] += life.ended["a"]
    result.tried["failed steps"] += life.ended["f"]
    result.tried["refused steps"] += life.ended["r"]


@cache
def base(name: str) -> tuple[Image, State]:
    """Files to begin with, and what is in them; made in a world of their own."""
    made = workload(name, 1)
    with scratch() as folder, world(name), substitute(inline(1)):
        victim.prepare(made, folder)
        steps: list[Step] = made.before
        return read_image(folder), settled({}, steps)


def _first_difference(first: list[Any], second: list[Any]) -> str:
    for at, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return f"at {at} of {len(first)}: {one!r:.200} and {other!r:.200}"
    return "" if len(first) == len(second) else f"{len(first)} and {len(second)} entries"


def cases(number: int) -> Iterator[str]:
    """New seeds each round."""
    yield from (str(seed) for seed in range((number - 1) * SEEDS, number * SEEDS))


CAMPAIGN = Campaign(
    "simulation",
    cases,
    run,
    {"seeds": SEEDS, "seeds lived twice": SEEDS // TWICE_ONE_IN},
    watches=True,
)
