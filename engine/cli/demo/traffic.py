"""A writer and a reader that keep going: how long the longest of their calls took.

The writer counts visits: it writes each place again with a higher number, one commit a place, and
remembers what was acknowledged.  The reader searches.  Neither knows of the rebuild beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np
import trio

from ...db import Table
from .places import Place, positions, unit_vectors
from .truth import Positions


@dataclass
class Pace:
    """The durations of one task's calls."""

    times_ms: list[float] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time one call."""
        start_s = time.perf_counter()
        yield
        self.times_ms.append((time.perf_counter() - start_s) * 1e3)

    @property
    def median_ms(self) -> float:
        """Half of the calls took no longer; nan when there was none."""
        return float(np.median(self.times_ms)) if self.times_ms else math.nan

    @property
    def longest_ms(self) -> float:
        """The longest stall; nan when there was no call."""
        return max(self.times_ms, default=math.nan)


@dataclass
class Traffic:
    """One writer and one reader on a table."""

    table: Table
    places: Sequence[Place]
    questions: Positions
    visits: dict[int, int] = field(default_factory=dict)
    """Key -> the number of visits the database has acknowledged."""
    everywhere: trio.Event = field(default_factory=trio.Event)
    """Set once the writer has been to every place."""

    async def beside(self, work: Callable[[], Awaitable[object]]) -> tuple[Pace, Pace]:
        """Write and read until the work is done; the pace of the writer and of the reader."""
        writes, reads, done = Pace(), Pace(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, writes, done)
            nursery.start_soon(self._read, reads, done)
            await work()
            done.set()
        return writes, reads

    async def _write(self, pace: Pace, done: trio.Event) -> None:
        vectors = unit_vectors(positions(self.places))
        for place, vector in cycle(zip(self.places, vectors, strict=True)):
            if done.is_set():
                return
            visit = self.visits.get(place.key, 0) + 1
            with pace.timed():
                payload = place.payload | {"visits": visit}
                await self.table.upsert([place.key], vector[None, :], [payload])
            self.visits[place.key] = visit
            if len(self.visits) == len(self.places):
                self.everywhere.set()

    async def _read(self, pace: Pace, done: trio.Event) -> None:
        for vector in cycle(unit_vectors(self.questions)):
            if done.is_set():
                return
            with pace.timed():
                await self.table.search(vector, k=3, nprobe=4)

    async def lost(self) -> list[int]:
        """Keys whose last acknowledged visit is not what the table holds."""
        rows = await self.table.get(list(self.visits))
        held = {row.id: row.payload["visits"] for row in rows if row is not None}
        return [key for key, visits in self.visits.items() if held.get(key) != visits]
