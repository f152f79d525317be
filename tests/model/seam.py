"""Blocking work done inline, in an order drawn from a seed: a run that can be repeated.

    task 1   --*........==--           * asks   . others run   = the work itself
    task 2      --*==..........--

Before and after its work each call lets the others run a while, as a thread would
that is slow to begin or slow to be noticed.
"""

import random
from collections.abc import Callable
from typing import Any

import trio

from centroidb.wal.blocking import Seam

PAUSES = (0, 0, 0, 1, 2, 5, 20)
"""Turns of the event loop that pass before or after a call."""


def inline(seed: int) -> Seam:
    """A seam for `substitute`."""
    chance = random.Random(seed)

    async def pause() -> None:
        for _ in range(chance.choice(PAUSES)):
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def run(work: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        await pause()
        try:
            return work()
        finally:
            await pause()

    return run
