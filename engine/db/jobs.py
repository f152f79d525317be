"""Builds as the file knows them: visible from any process."""

import sqlite3
from dataclasses import dataclass

from ...wal import catalog


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A build. state: running, done, cancelled, failed or interrupted (by a crash or a close).

    fraction: 0 to 1; rows of rows_total in the phase; lag_rows: committed and not
    yet in the new generation; eta_s: seconds to go, None while unknown.
    """

    id: int
    index: str
    state: str
    phase: str
    fraction: float
    rows: int
    rows_total: int
    lag_rows: int
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
            state=row.state,
            phase=row.phase,
            fraction=row.fraction,
            rows=row.rows_done,
            rows_total=row.rows_total,
            lag_rows=row.lag_rows,
            eta_s=row.eta_s,
            parallel=row.parallel,
            message=row.message,
            started_ns=row.started_ns,
            updated_ns=row.updated_ns,
        )
        for row in reversed(catalog.read_jobs(connection))
        if row.index in names
    ]
