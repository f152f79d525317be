"""How far a build is, as events.

begin  sample  cluster        assign                 encode            catch up  verify  swap
|      |       |              |                      |                 |         |      |
0     .02     .05            .35                    .65               .90       .97     1
"""

import time
from dataclasses import dataclass
from typing import Literal

Phase = Literal["begin", "sample", "cluster", "assign", "encode", "catch up", "verify", "swap"]

_STARTS: dict[Phase, float] = {
    "begin": 0.0,
    "sample": 0.02,
    "cluster": 0.05,
    "assign": 0.35,
    "encode": 0.65,
    "catch up": 0.90,
    "verify": 0.97,
    "swap": 0.99,
}
_ENDS = dict(zip(_STARTS, [*list(_STARTS.values())[1:], 1.0], strict=True))

JUDGED_AFTER_S = 0.01
"""A phase has no speed before."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One sign of progress.

    fraction: of the whole job, 0 to 1; round of rounds: of k-means, 0 elsewhere;
    rows of rows_total: done in this phase, rows_per_s: how fast; lag: rows committed
    that the new generation does not have yet, lag_slope: rows a second by which that
    grows (below 0 it shrinks); eta_s: seconds to go, None while there is nothing to
    judge by; held_s: how long writers were held back so that the build could catch up.
    """

    phase: Phase
    fraction: float
    round: int = 0
    rounds: int = 0
    rows: int
    rows_total: int
    rows_per_s: float = 0.0
    lag: int = 0
    lag_slope: float = 0.0
    eta_s: float | None
    elapsed_s: float
    held_s: float = 0.0


class Progress:
    """Turns what a build has done into events. Private to the build."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.held_s = 0.0
        self._fraction = 0.0
        """Of the latest event: phases may come again, but it never falls."""
        self._phase_began: tuple[Phase, float, int] = ("begin", self._began, 0)
        """The phase under way, when it began, and the rows that were done by then."""
        self._lag: tuple[float, int] | None = None
        """When the lag was last looked at, and what it was."""
        self.latest = self.event("begin", 0, 0)

    def event(
        self,
        phase: Phase,
        rows: int,
        rows_total: int,
        *,
        lag: int = 0,
        rounds: tuple[int, int] = (0, 0),
    ) -> Event:
        """The event for `rows` of `rows_total` done in `phase`."""
        now = time.monotonic()
        start, end = _STARTS[phase], _ENDS[phase]
        done = min(1.0, rows / rows_total) if rows_total else 0.0
        fraction = self._fraction = max(self._fraction, start + (end - start) * done)
        elapsed = now - self._began
        self.latest = Event(
            phase=phase,
            fraction=fraction,
            round=rounds[0],
            rounds=rounds[1],
            rows=rows,
            rows_total=rows_total,
            rows_per_s=self._speed(phase, rows, now),
            lag=lag,
            lag_slope=self._slope(phase, lag, now),
            eta_s=elapsed / fraction - elapsed if fraction > _STARTS["cluster"] else None,
            elapsed_s=elapsed,
            held_s=self.held_s,
        )
        return self.latest

    def _speed(self, phase: Phase, rows: int, now: float) -> float:
        if self._phase_began[0] != phase:
            self._phase_began = (phase, now, rows)
        _, began, before = self._phase_began
        return (rows - before) / (now - began) if now - began > JUDGED_AFTER_S else 0.0

    def _slope(self, phase: Phase, lag: int, now: float) -> float:
        before, self._lag = self._lag, (now, lag) if phase == "catch up" else None
        if self._lag is None or before is None or now <= before[0]:
            return 0.0
        return (lag - before[1]) / (now - before[0])
