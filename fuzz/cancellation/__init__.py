"""Cancellation: every public call is cancelled after 0, 1, 2, ... turns, until it ends before that.

alone     nobody else does anything
beside    a task writes and another searches meanwhile
reading   the call goes to a read-only open of the file, whose owner writes meanwhile

A call that is added to the product and has no program here is a defect of its own.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

import centroidb
from centroidb import open_db
from centroidb.wal.blocking import substitute
from tests.support.databases import SMALL

from ..case import Campaign, Result, scratch
from ..oracle import Bad
from ..simulation.world import world
from ..victim import FILE
from . import opening
from .calls import CALLS, READS
from .reading import ReadingScene
from .scene import Scene, Turns

OPENINGS = tuple(f"open_db.{kind}" for kind in opening.KINDS)
ALL_OF_MAX = 40
"""Of a longer call, only every `STRIDE`th turn beyond is tried, others in each round."""
STRIDE = 12
ALONE, BESIDE = "alone", "beside"
TURNS_MAX = 20_000
READING = "reading"
STEP_BESIDE = 4
"""Beside others a call takes several times as many turns: only every fourth is tried in a round."""
HANGS_AFTER_S = 1_000.0
"""By the mocked clock, which only moves when all tasks wait."""


def public_calls() -> set[str]:
    """Every coroutine, generator and block of what the package exports, but for `open_db`."""
    found = set()
    for exported in centroidb.__all__:
        kind = getattr(centroidb, exported)
        members = inspect.getmembers(kind, callable) if inspect.isclass(kind) else []
        found |= {f"{exported}.{name}" for name, member in members if _is_call(name, member)}
        if kind is not open_db and _is_call(exported, kind):
            found.add(exported)
    return found


def _is_call(name: str, member: Any) -> bool:
    made = inspect.unwrap(member) if callable(member) else member
    public = not name.startswith("_") or name.startswith("__a")
    return public and (inspect.iscoroutinefunction(made) or inspect.isasyncgenfunction(made))


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
    """A call, what goes on beside it, and the round."""

    name: str
    how: str
    number: int


def run(text: str) -> Result:
    """`<call> <alone, beside or reading> <round>`."""
    name, how, number = text.split()
    if name not in CALLS and name not in OPENINGS:
        return Result(found=[f"no program for {name}"])
    case, result = Case(name, how, int(number)), Result()
    with scratch() as folder, world(text) as around, substitute(slow):
        try:
            if name in OPENINGS:
                _open(folder, case, result)
            else:
                turns, clock = Turns(), around.clock
                trio.run(_live, folder, case, turns, result, clock=clock, instruments=[turns])
                if (left := [path.name for path in folder.iterdir()]) != [FILE]:
                    raise Bad(f"after the close there are {sorted(left)}")
        except Exception as error:  # noqa: BLE001 - whatever comes of a cancellation is a defect
            result.found.append(f"after {result.tried['turns']} cuts: {error!r}")
    result.reached["calls"] = {name}
    return result


def turns_of(number: int, step: int = 1) -> Iterator[int]:
    """The turns after which a round cancels; after `step` * `STRIDE` rounds it is every one."""
    yield from range(number % step, ALL_OF_MAX, step)
    yield from range(ALL_OF_MAX + number % (step * STRIDE), TURNS_MAX, step * STRIDE)


async def _live(folder: Path, case: Case, turns: Turns, result: Result) -> None:
    """One database, in which the call is cancelled again and again."""
    async with open_db(folder / FILE, limits=SMALL) as database:
        scene = Scene(database, database, folder, turns)
        await scene.fill()
        if case.how == READING:
            async with open_db(folder / FILE, read_only=True, limits=SMALL) as reader:
                await _cut_all(
                    ReadingScene(reader, database, folder, turns, scene.rows), case, result
                )
        else:
            await _cut_all(scene, case, result)
        await scene.finish()


async def _cut_all(scene: Scene, case: Case, result: Result) -> None:
    async with trio.open_nursery() as nursery:
        if case.how != ALONE:
            nursery.start_soon(scene.write_beside)
        if case.how == BESIDE:
            nursery.start_soon(scene.search_beside)
        for after in turns_of(case.number, STEP_BESIDE if case.how == BESIDE else 1):
            await _cut(scene, case.name, after)
            result.tried["turns"] += 1
            if scene.in_time:
                break
        nursery.cancel_scope.cancel()


async def _cut(scene: Scene, name: str, after: int) -> None:
    scene.cut_after = after
    try:
        with trio.fail_after(HANGS_AFTER_S):
            await CALLS[name](scene)
            await scene.judge()
            await scene.tidy()
    except Exception as error:
        raise Bad(f"cancelled after {after} turns: {error!r}") from error


def _open(folder: Path, case: Case, result: Result) -> None:
    kind = case.name.removeprefix("open_db.")
    begun = trio.run(opening.image, kind, folder / "begun")
    for after in turns_of(case.number):
        in_time = opening.cut_short(folder / "home", kind, begun, after)
        result.tried["turns"] += 1
        if in_time:
            return


def cases(number: int) -> Iterator[str]:
    """Every call twice a round, alone and beside others, and those that only read once more."""
    for how in (ALONE, BESIDE):
        yield from (f"{name} {how} {number}" for name in sorted(public_calls() | CALLS.keys()))
    yield from (f"{name} {READING} {number}" for name in sorted(READS))
    yield from (f"{name} {ALONE} {number}" for name in OPENINGS)


CAMPAIGN = Campaign("cancellation", cases, run, {"calls": len(CALLS) + len(OPENINGS)})
