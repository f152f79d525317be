"""Histories: several tasks want the same rows, and what each did and saw is checked afterwards.

    writers      plain writes, snapshot and serializable transactions, the ring
    readers      snapshots held for a while
    upheavals    folds, rebuilds, swaps, rollbacks, reorganizations, vacuums
    beside       another process that reads the file (on real threads only)

`inline` runs them in a simulated world, where a seed lives once more in the same way; `threads`
runs them as they come.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import trio

from centroidb import open_db
from centroidb.wal.blocking import Seam, substitute
from tests.model.seam import inline
from tests.support.databases import SMALL

from ..case import Campaign, Result, scratch
from ..oracle import Bad
from ..simulation.world import World, world
from .beside import beside
from .checker import check
from .history import WRITERS, History
from .players import RING, UPHEAVALS_MIN, begun, look, look_from, one_ring, upheave, write

READERS = 2
CALLS = 15
"""Of a writer."""
INLINE, THREADS = 30, 8
"""Seeds in a round."""
WORK_S = 0.002
HANGS_AFTER_S = 250.0
"""By the clock of the world, which in a simulation moves on only when nobody can."""


def run(text: str) -> Result:
    """`inline <seed>` or `threads <seed>`."""
    how, seed = text.split()
    result = Result()
    with scratch() as folder:
        if how == "inline":
            with world(seed) as made, substitute(taking_time(made, inline(int(seed)))):
                history = trio.run(partial(play, folder, seed, others=False), clock=made.clock)
        else:
            history = trio.run(partial(play, folder, seed, others=True))
    try:
        judge(history)
    except Bad as bad:
        result.found.append(str(bad))
    result.tried["histories"] += 1
    result.tried["commits"] += len(history.commits)
    result.tried["refusals"] += len(history.refusals)
    result.tried["readings"] += len(history.sights) + len(history.findings)
    result.tried["upheavals"] += history.upheavals
    return result


def taking_time(made: World, run: Seam) -> Seam:
    """Each piece of work takes a while by the clock of the world, or who waits waits for ever."""

    async def taking(work: Callable[[], Any]) -> Any:
        made.clock.jump(WORK_S)
        return await run(work)

    return taking


async def play(folder: Path, seed: str, *, others: bool) -> History:
    """One history. others: another process reads."""
    path = folder / "history.db"
    with trio.fail_after(HANGS_AFTER_S):
        async with open_db(path, limits=SMALL) as database, AsyncExitStack() as stack:
            game = await begun(database)
            chances = iter(random.Random(f"player {number} {seed}") for number in range(20))
            reader = await stack.enter_async_context(beside(path)) if others else None
            async with trio.open_nursery() as nursery:
                for _ in range(READERS):
                    nursery.start_soon(look, game, next(chances))
                nursery.start_soon(upheave, game, next(chances))
                if reader is not None:
                    nursery.start_soon(look_from, reader, game, next(chances))
                await write(game, [next(chances) for _ in range(WRITERS)], CALLS)
            findings = await database.check()
            assert findings.errors == (), findings.errors[0]
    return game.history


def judge(history: History) -> None:
    """Bad unless it can have happened so, and the ring was one wherever all of it was seen."""
    check(history)
    for sight in history.sights:
        if sight.table == RING and sight.keys is None and not one_ring(sight.rows):
            raise Bad(f"at LSN {sight.lsn} the ring is broken: {sight.rows}")


def cases(number: int) -> Iterator[str]:
    """New seeds each round."""
    yield from (f"inline {seed}" for seed in range((number - 1) * INLINE, number * INLINE))
    yield from (f"threads {seed}" for seed in range((number - 1) * THREADS, number * THREADS))


CAMPAIGN = Campaign(
    "histories",
    cases,
    run,
    {
        "histories": INLINE + THREADS,
        "commits": 1_500,
        "refusals": 500,
        "readings": 8_000,
        "upheavals": UPHEAVALS_MIN * (INLINE + THREADS),
    },
)
