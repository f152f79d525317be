"""Cancellation: every public call is cancelled after 0, 1, 2, ... turns, until it ends before that.

A call that is added to the product and has none here is a defect of its own.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from centroidb import open_db
from centroidb.wal.blocking import substitute
from tests.support.databases import SMALL

from ..case import Campaign, Result, scratch
from ..oracle import Bad
from ..simulation.life import descriptors
from ..simulation.world import scheduled
from ..victim import FILE
from . import opening
from .calls import CALLS, CLASSES
from .scene import Scene, Turns

OPENINGS = tuple(f"open_db.{kind}" for kind in opening.KINDS)
ALL_OF_MAX = 40
"""Of a longer call, only every `STRIDE`th turn beyond is tried, others in each round."""
STRIDE = 12
ALONE, BESIDE = "alone", "beside"
TURNS_MAX = 20_000


def public_calls() -> set[str]:
    """Every coroutine, generator and block of the public classes."""
    found = set()
    for kind in CLASSES:
        for name, member in inspect.getmembers(kind, callable):
            made = inspect.unwrap(member)
            if not name.startswith("_") and (
                inspect.iscoroutinefunction(made) or inspect.isasyncgenfunction(made)
            ):
                found.add(f"{kind.__name__}.{name}")
    return found


async def slow(work: Callable[[], Any]) -> Any:
    """A seam: as in a thread, there is a while before the work and after it that goes by anyhow."""
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.cancel_shielded_checkpoint()
    try:
        return work()
    finally:
        await trio.lowlevel.cancel_shielded_checkpoint()


@dataclass(frozen=True)
class Case:
    """A call, whether another task writes beside it, and the round."""

    name: str
    beside: bool
    number: int


def run(text: str) -> Result:
    """`<call> <alone or beside> <round>`."""
    name, how, number = text.split()
    case, result, before = Case(name, how == BESIDE, int(number)), Result(), descriptors()
    with scratch() as folder, scheduled(text), substitute(slow):
        try:
            if name in OPENINGS:
                _open(folder, case, result)
            else:
                turns = Turns()
                trio.run(_live, folder, case, turns, result, instruments=[turns])
                if (left := [path.name for path in folder.iterdir()]) != [FILE]:
                    raise Bad(f"after the close there are {sorted(left)}")
        except Exception as error:  # noqa: BLE001 - whatever comes of a cancellation is a defect
            result.found.append(f"after {result.tried['turns']} cuts: {error!r}")
    if descriptors() != before:
        result.found.append(f"{descriptors() - before} descriptors were left open")
    result.reached["calls"] = {name}
    return result


def turns_of(number: int) -> Iterator[int]:
    """The turns after which a round cancels."""
    yield from range(ALL_OF_MAX)
    yield from range(ALL_OF_MAX + number % STRIDE, TURNS_MAX, STRIDE)


async def _live(folder: Path, case: Case, turns: Turns, result: Result) -> None:
    """One database, in which the call is cancelled again and again."""
    async with open_db(folder / FILE, limits=SMALL) as database:
        scene = Scene(database, folder, turns)
        await scene.fill()
        async with trio.open_nursery() as nursery:
            if case.beside:
                nursery.start_soon(scene.write_beside)
            for after in turns_of(case.number):
                await _cut(scene, case.name, after)
                result.tried["turns"] += 1
                if scene.in_time:
                    break
            nursery.cancel_scope.cancel()
        await scene.finish()


async def _cut(scene: Scene, name: str, after: int) -> None:
    scene.cut_after = after
    try:
        await CALLS[name](scene)
        await scene.judge()
    except Exception as error:
        raise Bad(f"cancelled after {after} turns: {error!r}") from error
    await scene.tidy()


def _open(folder: Path, case: Case, result: Result) -> None:
    kind = case.name.removeprefix("open_db.")
    begun = trio.run(opening.image, kind, folder / "begun")
    for after in turns_of(case.number):
        in_time = opening.cut_short(folder / "home", kind, begun, after)
        result.tried["turns"] += 1
        if in_time:
            return


def cases(number: int) -> Iterator[str]:
    """Every call twice a round: alone, and beside a writer."""
    for how in (ALONE, BESIDE):
        yield from (f"{name} {how} {number}" for name in sorted(public_calls()))
    yield from (f"{name} {ALONE} {number}" for name in OPENINGS)


CAMPAIGN = Campaign("cancellation", cases, run, {"calls": len(CALLS) + len(OPENINGS)})
