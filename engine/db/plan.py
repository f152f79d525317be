"""What a rebuild would take and bring: told before it is begun."""

import sqlite3
from dataclasses import dataclass, replace

from ...wal import catalog
from ...wal.catalog import TableRow
from ...wal.limits import Limits
from ...wal.types import IndexId
from ..actors.health import Health
from ..actors.rebuild.budget import plan_for
from ..actors.supervisor import default_parallel
from ..index.kmeans import default_nlist
from ..index.parameters import IndexParameters
from ..index.policy import Action, decide
from .statistics import Printed

BUILD_S_A_VALUE = 1.5e-7
"""Measured: 20,000 to 100,000 rows of 32 to 384 dims on one core of a small virtual machine took
0.8 to 2.0e-7 s for each of their rows' values."""
BASIS_SHARE = 4
"""A build of less than a quarter of the rows there are now says little about them."""
ROW_OVERHEAD_BYTES = 12
"""Vid and crc of a row in a segment."""
SQ8_BOUNDS_BYTES = 12


@dataclass(frozen=True, kw_only=True)
class RebuildPlan(Printed):
    """A rebuild of an index that has not begun.

    action: what the figures call for, and reasons, why; predicted_s: how long it takes, and
    basis, where that is known from, pauses of that rebuild included; disk_bytes: the new
    generation, beside the old one until that is dropped; memory_bytes: what the build holds
    at most. cost_now, cost_expected: share of the rows that must be read to find 95 % of
    the nearest ones, as sampled last and as it was after the last build; gain: the one over
    the other; None where not known.
    """

    index: str
    action: Action
    reasons: tuple[str, ...]
    rows: int
    predicted_s: float
    basis: str
    disk_bytes: int
    memory_bytes: int
    cost_now: float | None
    cost_expected: float | None
    gain: float | None


@dataclass(frozen=True)
class Precedent:
    """A rebuild of the index that is done."""

    rows: int
    seconds: float


def read_precedent(connection: sqlite3.Connection, index: IndexId) -> Precedent | None:
    """The last rebuild of an index whose generation is still there, None without one."""
    rows = {row.id: row.rows_at_build for row in catalog.read_generations(connection)}
    for job in reversed(catalog.read_jobs(connection)):
        done = (job.index, job.kind, job.state) == (index, "rebuild", "done")
        if done and job.generation in rows:
            return Precedent(rows[job.generation], (job.updated_ns - job.started_ns) / 1e9)
    return None


def plan(
    name: str,
    table: TableRow,
    health: Health,
    parameters: IndexParameters,
    precedent: Precedent | None,
    limits: Limits,
) -> RebuildPlan:
    """What a rebuild of index `name` with the parameters it has would take and bring."""
    action, reasons = _advised(health)
    predicted_s, basis = _predicted(table, precedent)
    expected = health.cost_at_build or None
    return RebuildPlan(
        index=name,
        action=action,
        reasons=reasons,
        rows=table.live,
        predicted_s=predicted_s,
        basis=basis,
        disk_bytes=_disk_bytes(table, parameters),
        memory_bytes=plan_for(
            table,
            table.live,
            replace(parameters, nlist=None),
            limits,
            parallel=default_parallel(),
        ).peak_bytes,
        cost_now=health.cost,
        cost_expected=expected,
        gain=health.cost / expected if health.cost is not None and expected else None,
    )


def _advised(health: Health) -> tuple[Action, tuple[str, ...]]:
    if health.generation is None:
        return "none", ("it is not trained yet, and trains itself when there are rows enough",)
    decision = decide(health.figures)
    return decision.action, decision.reasons


def _predicted(table: TableRow, precedent: Precedent | None) -> tuple[float, str]:
    """Seconds, and where they are known from."""
    if precedent is not None and precedent.rows * BASIS_SHARE >= max(1, table.live):
        basis = (
            f"the last rebuild of this index: {precedent.rows:,} rows in {precedent.seconds:.1f} s"
        )
        return precedent.seconds * table.live / precedent.rows, basis
    seconds = table.live * table.dim * BUILD_S_A_VALUE
    return seconds, "what rows of so many dimensions took elsewhere, on one core"


def _disk_bytes(table: TableRow, parameters: IndexParameters) -> int:
    if parameters.codec_for(table.dim) == "sq8":
        codes = table.dim + SQ8_BOUNDS_BYTES
    else:
        codes = 4 * table.dim
    centroids = 4 * table.dim * default_nlist(table.live)
    return table.live * (ROW_OVERHEAD_BYTES + codes) + centroids
