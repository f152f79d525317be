"""Latencies: how long calls took, and how late the event loop was."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import trio

TICK_S = 0.001


@dataclass
class Latencies:
    """The durations of one kind of call, and when each began."""

    times_ms: list[float] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time one call."""
        start_s = perf_counter()
        yield
        self.times_ms.append((perf_counter() - start_s) * 1e3)
        self.starts_s.append(start_s)

    def summary(self) -> dict[str, float]:
        """Number of calls, median, 99th percentile and longest, in milliseconds."""
        p50, p99 = np.percentile(self.times_ms, [50, 99])
        return {
            "calls": len(self.times_ms),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "max_ms": max(self.times_ms),
        }

    def longest_ms(self, since_s: float, until_s: float) -> float:
        """The longest call that overlaps the span, 0 if none does."""
        starts_s, times_ms = np.array(self.starts_s), np.array(self.times_ms)
        overlapping = (starts_s <= until_s) & (starts_s + times_ms / 1e3 >= since_s)
        return float(times_ms[overlapping].max(initial=0.0))


@dataclass
class Ticker:
    """A task that wants to run every millisecond, and notes how late it came."""

    latest_ms: float = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            due_s = perf_counter() + TICK_S
            await trio.sleep(TICK_S)
            self.latest_ms = max(self.latest_ms, (perf_counter() - due_s) * 1e3)
