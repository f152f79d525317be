"""How far a build is: events for who started it, a row in `jobs` for everybody else.

begin  sample  cluster        assign                 encode            catch up  verify  swap
|      |       |              |                      |                 |         |      |
0     .02     .05            .35                    .65               .90       .97     1
"""

import time
from dataclasses import dataclass
from typing import Literal

from ....wal.catalog import JobRow
from ....wal.types import GenerationId, IndexId, JobId

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


@dataclass(frozen=True)
class Event:
    """One sign of progress.

    fraction: of the whole job, 0 to 1; rows of rows_total: done in this phase;
    lag: rows committed that the new generation does not have yet; eta_s: seconds
    to go, None while there is nothing to judge by; held_s: how long writers were
    held back so that the build could catch up.
    """

    phase: Phase
    fraction: float
    rows: int
    rows_total: int
    lag: int
    eta_s: float | None
    elapsed_s: float
    held_s: float = 0.0


class Progress:
    """Turns what a build has done into events. Private to the build."""

    def __init__(self, index: IndexId, parallel: int) -> None:
        self._index = index
        self._parallel = parallel
        self._began = time.monotonic()
        self._started_ns = time.time_ns()
        self.job = JobId(0)
        self.generation: GenerationId | None = None
        self.held_s = 0.0
        self._fraction = 0.0
        """Of the latest event: phases may come again, but it never falls."""
        self.latest = self.event("begin", 0, 0)

    def take_up(self, job: JobRow) -> None:
        """This is the job of a build that was cut short, and it goes on."""
        self.job, self.generation, self._started_ns = job.id, job.generation, job.started_ns

    def event(self, phase: Phase, rows: int, rows_total: int, lag: int = 0) -> Event:
        """The event for `rows` of `rows_total` done in `phase`."""
        start, end = _STARTS[phase], _ENDS[phase]
        done = min(1.0, rows / rows_total) if rows_total else 0.0
        fraction = self._fraction = max(self._fraction, start + (end - start) * done)
        elapsed = time.monotonic() - self._began
        eta = elapsed / fraction - elapsed if fraction > _STARTS["cluster"] else None
        self.latest = Event(phase, fraction, rows, rows_total, lag, eta, elapsed, self.held_s)
        return self.latest

    def row(self, state: str, message: str = "") -> JobRow:
        """The latest event as a row of `jobs`."""
        event = self.latest
        return JobRow(
            self.job,
            self._index,
            self.generation,
            state,
            event.phase,
            1.0 if state == "done" else event.fraction,
            event.rows,
            event.rows_total,
            event.lag,
            0.0 if state == "done" else event.eta_s,
            self._parallel,
            message,
            self._started_ns,
            time.time_ns(),
        )
