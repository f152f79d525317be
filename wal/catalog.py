"""Tables, indexes, generations and jobs as rows of the file.

What they are named and where they stand; what an index or a build *is*, the engine knows.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal

from .checksum import RowSum
from .errors import CorruptError
from .seal import Seal
from .typed import require
from .types import GenerationId, IndexId, JobId, KeyType, Lsn, TableId, Vid

GenerationState = Literal["building", "catching_up", "verified", "active", "kept", "retired"]


_KINDS: dict[str, type] = {
    **dict.fromkeys(("name", "metric", "key_type", "parameters", "state", "codec"), str),
    **dict.fromkeys(("centroid_search", "kind", "phase", "throttle", "message"), str),
    **dict.fromkeys(("drift_baseline", "cost_at_build", "fraction", "rows_per_s"), float),
    **dict.fromkeys(("lag_slope", "held_s", "eta_s"), float),
    **dict.fromkeys(("sum", "segment_sum"), bytes),
}
"""The columns that hold no integers."""
_OPTIONAL = ("dropped_lsn", "active", "generation", "eta_s")


@cache
def _kinds(columns: str) -> tuple[tuple[type, ...], ...]:
    """The types that the columns may have."""
    kinds = ((name, _KINDS.get(name, int)) for name in columns.split(", "))
    return tuple((kind, NoneType) if name in _OPTIONAL else (kind,) for name, kind in kinds)


def _require(what: str, columns: str, row: tuple[object, ...]) -> None:
    require(f"{what} {row[0]!r:.20}", row, _kinds(columns))


@dataclass(frozen=True)
class TableRow:
    """A table as the file has it."""

    id: TableId
    name: str
    dim: int
    metric: str
    key_type: KeyType
    next_vid: Vid
    live: int
    sum: RowSum
    changed_lsn: Lsn
    created_lsn: Lsn
    dropped_lsn: Lsn | None

    @property
    def writes(self) -> int:
        """Rows that were ever written to it, and ended."""
        return 2 * self.next_vid - self.live


_TABLE = (
    "id, name, dim, metric, key_type, next_vid, live, sum, changed_lsn, created_lsn, dropped_lsn"
)


def read_tables(connection: sqlite3.Connection) -> list[TableRow]:
    """All tables, dropped ones that still take space too."""
    found = []
    for row in connection.execute(f"SELECT {_TABLE} FROM tables ORDER BY id").fetchall():
        _require("table", _TABLE, row)
        fields = dict(zip(_TABLE.split(", "), row, strict=True))
        fields["sum"] = RowSum.from_bytes(fields["sum"])
        found.append(TableRow(**fields))
    return found


def insert_table(
    connection: sqlite3.Connection, name: str, dim: int, metric: str, key_type: KeyType, lsn: Lsn
) -> TableId:
    """Add a table, empty."""
    cursor = connection.execute(
        f"INSERT INTO tables ({_TABLE}) VALUES (NULL,?,?,?,?,1,0,?,?,?,NULL)",
        (name, dim, metric, key_type, RowSum().to_bytes(), lsn, lsn),
    )
    assert cursor.lastrowid is not None
    return TableId(cursor.lastrowid)


def update_table(
    connection: sqlite3.Connection,
    table: TableId,
    *,
    next_vid: Vid,
    live: int,
    row_sum: RowSum,
    changed_lsn: Lsn,
) -> None:
    """Set the counters of a table."""
    connection.execute(
        "UPDATE tables SET next_vid = ?, live = ?, sum = ?, changed_lsn = ? WHERE id = ?",
        (next_vid, live, row_sum.to_bytes(), changed_lsn, table),
    )


def mark_table_dropped(connection: sqlite3.Connection, table: TableId, lsn: Lsn) -> None:
    """The table and its indexes end at `lsn`; their rows go later."""
    connection.execute("UPDATE tables SET dropped_lsn = ? WHERE id = ?", (lsn, table))
    connection.execute(
        "UPDATE indexes SET dropped_lsn = ? WHERE table_id = ? AND dropped_lsn IS NULL",
        (lsn, table),
    )


def delete_table(connection: sqlite3.Connection, table: TableId) -> None:
    """Forget a dropped table whose rows are gone."""
    connection.execute("DELETE FROM tables WHERE id = ?", (table,))


@dataclass(frozen=True)
class IndexRow:
    """An index as the file has it; `parameters` is the engine's JSON."""

    id: IndexId
    name: str
    table: TableId
    metric: str
    parameters: dict[str, Any]
    active: GenerationId | None
    created_lsn: Lsn
    dropped_lsn: Lsn | None


_INDEX = "id, name, table_id, metric, parameters, active, created_lsn, dropped_lsn"


def read_indexes(connection: sqlite3.Connection) -> list[IndexRow]:
    """All indexes, dropped ones that still take space too."""
    found = []
    for row in connection.execute(f"SELECT {_INDEX} FROM indexes ORDER BY id").fetchall():
        _require("index", _INDEX, row)
        fields = dict(zip(_INDEX.split(", "), row, strict=True))
        fields["table"] = fields.pop("table_id")
        fields["parameters"] = _parameters(f"index {fields['name']!r}", fields["parameters"])
        found.append(IndexRow(**fields))
    return found


def _parameters(whose: str, text: str) -> dict[str, Any]:
    try:
        parameters = json.loads(text)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise CorruptError(f"{whose}: its parameters are damaged: {text[:40]!r}")
    return parameters


def insert_index(
    connection: sqlite3.Connection,
    name: str,
    table: TableId,
    metric: str,
    parameters: dict[str, Any],
    lsn: Lsn,
) -> IndexId:
    """Add an index that has no generation yet."""
    cursor = connection.execute(
        f"INSERT INTO indexes ({_INDEX}) VALUES (NULL,?,?,?,?,NULL,?,NULL)",
        (name, table, metric, json.dumps(parameters, sort_keys=True), lsn),
    )
    assert cursor.lastrowid is not None
    return IndexId(cursor.lastrowid)


def mark_index_dropped(connection: sqlite3.Connection, index: IndexId, lsn: Lsn) -> None:
    """The index ends at `lsn`; its generations go later."""
    connection.execute("UPDATE indexes SET dropped_lsn = ? WHERE id = ?", (lsn, index))


def set_parameters(
    connection: sqlite3.Connection, index: IndexId, parameters: dict[str, Any]
) -> None:
    """The index is to be something else from its next build on."""
    connection.execute(
        "UPDATE indexes SET parameters = ? WHERE id = ?",
        (json.dumps(parameters, sort_keys=True), index),
    )


def delete_index(connection: sqlite3.Connection, index: IndexId) -> None:
    """Forget a dropped index whose generations are gone, and what was decided about it."""
    connection.execute("DELETE FROM decisions WHERE index_id = ?", (index,))
    connection.execute("DELETE FROM jobs WHERE index_id = ?", (index,))
    connection.execute("DELETE FROM query_samples WHERE index_id = ?", (index,))
    connection.execute("DELETE FROM indexes WHERE id = ?", (index,))


def set_active(
    connection: sqlite3.Connection,
    index: IndexId,
    generation: GenerationId,
    *,
    metric: str,
    parameters: dict[str, Any],
    kept: Sequence[GenerationId] = (),
    time_ns: int = 0,
) -> None:
    """The swap: one UPDATE, in whose transaction the one before is kept, or retired.

    Of those replaced earlier, too, only the ones in `kept` stay.
    """
    connection.execute(
        "UPDATE generations SET state = 'kept', replaced_at_ns = ? "
        "WHERE id = (SELECT active FROM indexes WHERE id = ?)",
        (time_ns, index),
    )
    marks = ",".join("?" * len(kept))
    connection.execute(
        "UPDATE generations SET state = 'retired' "
        f"WHERE index_id = ? AND state = 'kept' AND id NOT IN ({marks})",
        (index, *kept),
    )
    connection.execute("UPDATE generations SET state = 'active' WHERE id = ?", (generation,))
    connection.execute(
        "UPDATE indexes SET active = ?, metric = ?, parameters = ? WHERE id = ?",
        (generation, metric, json.dumps(parameters, sort_keys=True), index),
    )


@dataclass(frozen=True)
class GenerationRow:
    """One complete build of an index, or one under way."""

    id: GenerationId
    index: IndexId
    state: GenerationState
    s0_lsn: Lsn
    s0_high: Vid
    fold_lsn: Lsn
    fold_vid: Vid
    nlist: int
    seed: int
    codec: str
    metric: str
    centroid_search: str
    rows_at_build: int
    drift_baseline: float
    cost_at_build: float
    """Share of the rows that finds 95 % of the neighbours, as built; 0 while not measured."""
    built_at_ns: int
    replaced_at_ns: int
    """When another one took its place; 0 before."""
    seal: Seal
    parameters: dict[str, Any]
    """What it was asked to be; the engine's JSON."""


_GENERATION = (
    "id, index_id, state, s0_lsn, s0_high, fold_lsn, fold_vid, nlist, seed, codec, metric, "
    "centroid_search, rows_at_build, drift_baseline, cost_at_build, built_at_ns, replaced_at_ns, "
    "sealed, segment_sum, parameters"
)


def read_generations(connection: sqlite3.Connection) -> list[GenerationRow]:
    """All generations, in the order they were begun."""
    found = []
    for row in connection.execute(f"SELECT {_GENERATION} FROM generations ORDER BY id").fetchall():
        _require("generation", _GENERATION, row)
        *fields, last, raw, text = row
        seal = Seal(last, RowSum.from_bytes(raw))
        values = (*fields, seal, _parameters(f"generation {fields[0]}", text))
        found.append(GenerationRow(*values))
    return found


def insert_generation(connection: sqlite3.Connection, row: GenerationRow) -> GenerationId:
    """Begin a generation; the id in `row` is ignored."""
    separate = ("id", "seal", "parameters")
    values = [value for name, value in vars(row).items() if name not in separate]
    cursor = connection.execute(
        f"INSERT INTO generations ({_GENERATION}) VALUES (NULL{',?' * 19})",
        [*values, row.seal.last, row.seal.sum.to_bytes(), json.dumps(row.parameters)],
    )
    assert cursor.lastrowid is not None
    return GenerationId(cursor.lastrowid)


def update_generation(
    connection: sqlite3.Connection, generation: GenerationId, **columns: int | float | str | bytes
) -> None:
    """Set columns of a generation: its state, its fold position, its baseline."""
    assert set(columns) <= set(_GENERATION.split(", "))
    names = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(
        f"UPDATE generations SET {names} WHERE id = ?", (*columns.values(), generation)
    )


def set_build_parameters(
    connection: sqlite3.Connection, generation: GenerationId, parameters: dict[str, Any]
) -> None:
    """A build under way is to be something else."""
    update_generation(connection, generation, parameters=json.dumps(parameters))


def set_seal(connection: sqlite3.Connection, generation: GenerationId, seal: Seal) -> None:
    """Say which segments of a generation count."""
    update_generation(connection, generation, sealed=seal.last, segment_sum=seal.sum.to_bytes())


def log_needed_after(connection: sqlite3.Connection) -> Lsn | None:
    """The smallest position that an index still reads the log from; None if none does.

    That is the fold position of an active generation, or S0 of a build under way.
    """
    (lsn,) = connection.execute(
        "SELECT min(CASE state WHEN 'active' THEN fold_lsn ELSE s0_lsn END) FROM generations "
        "WHERE state IN ('active', 'building', 'catching_up', 'verified')"
    ).fetchone()
    return None if lsn is None else Lsn(lsn)


JobKind = Literal["rebuild", "reorganize", "rollback"]


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A job on an index as another process may see it."""

    id: JobId
    index: IndexId
    generation: GenerationId | None
    kind: JobKind
    state: str
    phase: str
    fraction: float
    round: int
    rounds: int
    rows_done: int
    rows_total: int
    rows_per_s: float
    lag_rows: int
    lag_slope: float
    held_s: float
    eta_s: float | None
    parallel: int
    throttle: str
    """The engine's JSON."""
    message: str
    started_ns: int
    updated_ns: int


_JOB = (
    "id, index_id, generation, kind, state, phase, fraction, round, rounds, rows_done, rows_total, "
    "rows_per_s, lag_rows, lag_slope, held_s, eta_s, parallel, throttle, message, "
    "started_ns, updated_ns"
)


def put_job(connection: sqlite3.Connection, row: JobRow) -> JobId:
    """Write a job; one with id 0 is new and gets its id."""
    values = [value for name, value in vars(row).items() if name != "id"]
    cursor = connection.execute(
        f"INSERT OR REPLACE INTO jobs ({_JOB}) VALUES (?{',?' * 20})",
        [row.id or None, *values],
    )
    assert cursor.lastrowid is not None
    return JobId(cursor.lastrowid)


def forget_jobs(connection: sqlite3.Connection, kept: int) -> None:
    """Of each index forget all jobs but the last `kept`, and those that may go on."""
    connection.execute(
        "DELETE FROM jobs WHERE state IN ('done', 'cancelled', 'failed') AND id IN (SELECT id FROM "
        "(SELECT id, row_number() OVER (PARTITION BY index_id ORDER BY id DESC) AS age FROM jobs) "
        "WHERE age > ?)",
        (kept,),
    )


def end_build(connection: sqlite3.Connection, generation: GenerationId, job: JobRow) -> None:
    """A build that will not be swapped in: its generation goes, and its job says why."""
    update_generation(connection, generation, state="retired")
    put_job(connection, job)


def end_builds(connection: sqlite3.Connection, index: IndexId) -> None:
    """No build of an index goes on: there will be another."""
    connection.execute(
        "UPDATE generations SET state = 'retired' "
        "WHERE index_id = ? AND state IN ('building', 'catching_up')",
        (index,),
    )
    connection.execute(
        "UPDATE jobs SET state = 'cancelled' WHERE index_id = ? AND kind = 'rebuild' "
        "AND state IN ('running', 'paused', 'interrupted')",
        (index,),
    )


def read_jobs(connection: sqlite3.Connection) -> list[JobRow]:
    """All jobs, oldest first."""
    found = []
    for row in connection.execute(f"SELECT {_JOB} FROM jobs ORDER BY id").fetchall():
        _require("job", _JOB, row)
        fields = dict(zip(_JOB.split(", "), row, strict=True))
        fields["index"] = fields.pop("index_id")
        found.append(JobRow(**fields))
    return found
