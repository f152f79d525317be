"""Figures about a database, its tables and its indexes: frozen, of one moment."""

from dataclasses import asdict, dataclass
from typing import Any

from ...wal.catalog import TableRow
from ...wal.types import Lsn
from ..actors.health import Health
from ..index.policy import Action, decide


class Printed:
    """A dataclass that prints one figure a line."""

    def __str__(self) -> str:
        fields: dict[str, Any] = asdict(self)  # type: ignore[call-overload]  # of dataclasses only
        width = max(map(len, fields))
        return "\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in fields.items())


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "; ".join(value) or "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@dataclass(frozen=True, kw_only=True)
class TableStatistics(Printed):
    """A table. ended: versions that were replaced or deleted and still take space."""

    name: str
    dim: int
    metric: str
    key_type: str
    rows: int
    ended: int
    indexes: int
    changed_lsn: Lsn

    @classmethod
    def of(cls, table: TableRow, *, ended: int, indexes: int) -> "TableStatistics":
        """From the table's row."""
        return cls(
            name=table.name,
            dim=table.dim,
            metric=table.metric,
            key_type=table.key_type,
            rows=table.live,
            ended=ended,
            indexes=indexes,
            changed_lsn=table.changed_lsn,
        )


@dataclass(frozen=True, kw_only=True)
class IndexStatistics(Printed):
    """An index: see `Health` for the figures. advice: what to do, in a sentence."""

    name: str
    table: str
    metric: str
    codec: str
    rows: int
    generation: int | None
    nlist: int
    empty: int
    imbalance: float
    partition_p50: float
    partition_p95: float
    partition_max: int
    drift: float
    recall: float | None
    recall_queries: int
    cost: float | None
    cost_at_build: float
    delta_rows: int
    lag_rows: int
    tombstones: int
    rows_at_build: int
    rows_since_build: int
    built_at: str | None
    built_at_ns: int
    stored_bytes: int
    kept: int
    centroid_search: str
    auto_rebuild: str
    building: bool
    advice: str

    @classmethod
    def of(cls, name: str, table: str, health: Health) -> "IndexStatistics":
        """From what the Monitor sees."""
        return cls(name=name, table=table, advice=advice(name, health), **asdict(health))


@dataclass(frozen=True, kw_only=True)
class DatabaseStatistics(Printed):
    """A whole database. Sizes in bytes, times in seconds.

    free_bytes: of the file, in pages that nothing uses; `Database.space` has the rest.
    """

    path: str
    lsn: Lsn
    horizon: Lsn
    tables: int
    indexes: int
    snapshots: int
    file_bytes: int
    free_bytes: int
    sqlite_wal_bytes: int
    log_records: int
    cache_bytes: int
    writers_waited_s: float
    sqlite_version: str
    clean_at_open: bool | None
    """Whether it was closed cleanly the last time; None when it is opened read-only."""


def advice(name: str, health: Health) -> str:
    """What the figures suggest, with the statement to run."""
    if health.generation is None:
        return "too few rows to train on; searches are exact, and it trains itself later"
    decision = decide(health.figures)
    if decision.action == "none":
        return "healthy"
    return f"{'; '.join(decision.reasons)}: {statement(name, decision.action)}"


def statement(name: str, action: Action) -> str:
    """What to run for an action on an index; for none, nothing."""
    verb = {"none": "", "reorganize": "REORGANIZE", "rebuild": "REBUILD ONLINE"}[action]
    return f'ALTER INDEX "{name}" {verb}' if verb else ""
