"""Builds as the file knows them: visible from any process."""

import sqlite3
from dataclasses import dataclass

from ...wal import catalog


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job on an index.

    kind: rebuild, reorganize or rollback; state: running, paused, interrupted (by a crash
    or a close), done, cancelled or failed. The figures are those of `Event`.
    """

    id: int
    index: str
    kind: str
    state: str
    phase: str
    fraction: float
    round: int
    rounds: int
    rows: int
    rows_total: int
    rows_per_s: float
    lag_rows: int
    lag_slope: float
    held_s: float
    eta_s: float | None
    parallel: int
    message: str
    started_ns: int
    updated_ns: int


def read_job_statuses(connection: sqlite3.Connection) -> list[JobStatus]:
    """All jobs whose index is still known, newest first."""
    names = {row.id: row.name for row in catalog.read_indexes(connection)}
    return [
        JobStatus(
            id=row.id,
            index=names[row.index],
            kind=row.kind,
            state=row.state,
            phase=row.phase,
            fraction=row.fraction,
            round=row.round,
            rounds=row.rounds,
            rows=row.rows_done,
            rows_total=row.rows_total,
            rows_per_s=row.rows_per_s,
            lag_rows=row.lag_rows,
            lag_slope=row.lag_slope,
            held_s=row.held_s,
            eta_s=row.eta_s,
            parallel=row.parallel,
            message=row.message,
            started_ns=row.started_ns,
            updated_ns=row.updated_ns,
        )
        for row in reversed(catalog.read_jobs(connection))
        if row.index in names
    ]
