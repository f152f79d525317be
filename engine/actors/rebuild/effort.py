"""How much a build may take: how wide it is, and how fast it may go.

    blocks    [==]      [===]     [==]           of the work, each some milliseconds
    turns     |---------|--------------|         a block pays for itself, then the next may begin

What a build makes does not depend on any of this.
"""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from ....wal.catalog import JobRow

Throttle = float | int
"""A float is a share of one core, an int is rows a second."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What a caller grants."""

    parallel: int
    """Worker threads."""
    throttle: Throttle | None = None
    """None: as fast as it can."""
    max_duration_s: float = math.inf
    """Then it is paused."""

    @classmethod
    def of(cls, job: JobRow) -> "Effort":
        """How wide and how fast a job ran; a time limit is over with it."""
        return cls(parallel=job.parallel, throttle=json.loads(job.throttle))

    @property
    def throttle_json(self) -> str:
        """The throttle as a job's row keeps it."""
        return json.dumps(self.throttle)


class Pace:
    """The turns of one build's blocks: at the workers that all builds share, and by its throttle.

    Used by all its lanes, on the event loop.
    """

    def __init__(self, throttle: Throttle | None, workers: trio.CapacityLimiter) -> None:
        self._throttle = throttle
        self._workers = workers
        self._free_at_s = -math.inf
        """When the next block may begin, by trio's clock."""

    @property
    def is_throttled(self) -> bool:
        """Whether it holds back."""
        return self._throttle is not None

    def without_throttle(self) -> "Pace":
        """As fast as it can, at the same workers."""
        return Pace(None, self._workers)

    @asynccontextmanager
    async def block(self, rows: int) -> AsyncIterator[None]:
        """Work on so many rows, with a worker; leaving it waits until the work is paid for."""
        async with self._workers:
            began_s = trio.current_time()
            yield
        if self._throttle is not None:
            cost_s = self._cost_s(rows, trio.current_time() - began_s)
            self._free_at_s = max(self._free_at_s, began_s) + cost_s
            await trio.sleep_until(self._free_at_s)

    def _cost_s(self, rows: int, busy_s: float) -> float:
        assert self._throttle is not None
        if isinstance(self._throttle, float):
            return busy_s / self._throttle
        return rows / self._throttle
