"""The record of a job: events for who started it, its row in `jobs` for everybody else."""

import contextlib
import time
from collections.abc import Callable
from functools import partial

import trio

from ....wal import catalog
from ....wal.catalog import JobKind, JobRow
from ....wal.errors import CentroiDBError
from ....wal.types import GenerationId, IndexId, JobId
from ...storage.folding import Writer
from ..errors import JobCancelled
from ..wide import consists_of
from .effort import Effort
from .progress import Event, Phase, Progress

ROW_EVERY_S = 0.25

Listener = Callable[[Event], None]


class JobRecord:
    """Private to one job."""

    def __init__(
        self,
        writer: Writer,
        index: IndexId,
        kind: JobKind,
        effort: Effort,
        listener: Listener = lambda _: None,
    ) -> None:
        self._writer = writer
        self._index = index
        self._kind = kind
        self._effort = effort
        self._listener = listener
        self._progress = Progress()
        self._started_ns = time.time_ns()
        self._row_at_s = 0.0
        self.job = JobId(0)
        self.generation: GenerationId | None = None
        """What the job makes, or brings back."""

    @property
    def latest(self) -> Event:
        """The last event."""
        return self._progress.latest

    def held(self, seconds: float) -> None:
        """So long have writers been held back by now."""
        self._progress.held_s = seconds

    def take_up(self, job: JobRow) -> None:
        """This is the job of a build that was cut short, and it goes on."""
        self.job, self.generation, self._started_ns = job.id, job.generation, job.started_ns

    async def report(
        self,
        phase: Phase,
        rows: int,
        rows_total: int,
        *,
        lag: int = 0,
        rounds: tuple[int, int] = (0, 0),
    ) -> None:
        """Tell the listener, and now and then the file."""
        self.tell(phase, rows, rows_total, lag=lag, rounds=rounds)
        now = time.monotonic()
        if now >= self._row_at_s:
            self._row_at_s = now + ROW_EVERY_S
            await self.write("running")

    def tell(
        self,
        phase: Phase,
        rows: int,
        rows_total: int,
        *,
        lag: int = 0,
        rounds: tuple[int, int] = (0, 0),
    ) -> None:
        """Tell the listener only."""
        self._listener(self._progress.event(phase, rows, rows_total, lag=lag, rounds=rounds))

    async def report_lag(self, lag: int) -> None:
        """The catch-up is so many rows behind."""
        await self.report("catch up", 0, 1, lag=lag)

    async def begin(self) -> None:
        """Put the job into the file."""
        row = self.row("running")
        self.job = await self._writer.write(partial(catalog.put_job, row=row))

    async def write(self, state: str, message: str = "") -> None:
        """Bring the job's row up to date."""
        row = self.row(state, message)
        await self._writer.write(partial(catalog.put_job, row=row))

    async def end(self, error: BaseException) -> None:
        """Say how the job ended; if that can not be written, the next open does."""
        cancelled = consists_of(error, trio.Cancelled, JobCancelled)
        state = "cancelled" if cancelled else "failed"
        with trio.CancelScope(shield=True), contextlib.suppress(CentroiDBError):
            await self.write(state, "" if cancelled else str(error))

    def row(self, state: str, message: str = "") -> JobRow:
        """The latest event as a row of `jobs`."""
        event, done = self.latest, state == "done"
        return JobRow(
            id=self.job,
            index=self._index,
            generation=self.generation,
            kind=self._kind,
            state=state,
            phase=event.phase,
            fraction=1.0 if done else event.fraction,
            round=event.round,
            rounds=event.rounds,
            rows_done=event.rows,
            rows_total=event.rows_total,
            rows_per_s=event.rows_per_s,
            lag_rows=event.lag,
            lag_slope=event.lag_slope,
            held_s=event.held_s,
            eta_s=0.0 if done else event.eta_s,
            parallel=self._effort.parallel,
            throttle=self._effort.throttle_json,
            message=message,
            started_ns=self._started_ns,
            updated_ns=time.time_ns(),
        )
