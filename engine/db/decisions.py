"""What the Monitor decided, as the file knows it: visible from any process."""

import sqlite3
from dataclasses import dataclass

from ...wal import catalog, decisions
from ...wal.decisions import DecisionRow
from ..actors.health import readable
from .inputs import unknown


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """A decision about an index, or an action and what came of it.

    action: none, reorganize or rebuild; auto: what the index said about rebuilding it, advise
    or on; reasons: in words; outcome: None for a decision alone, "done", or the error.
    """

    id: int
    index: str
    time: str
    time_ns: int
    action: str
    auto: str
    reasons: tuple[str, ...]
    outcome: str | None


def read_decisions(connection: sqlite3.Connection, index: str | None) -> list[DecisionRecord]:
    """The decisions about an index, or about all, newest first; NotFoundError for an unknown name.

    Those about dropped indexes are left out.
    """
    names = {
        row.id: row.name for row in catalog.read_indexes(connection) if row.dropped_lsn is None
    }
    if index is not None and index not in names.values():
        raise unknown("index", index, names.values())
    return [
        _record(row, names[row.index])
        for row in decisions.read(connection)
        if row.index in names and index in (None, names[row.index])
    ]


def _record(row: DecisionRow, name: str) -> DecisionRecord:
    return DecisionRecord(
        id=row.id,
        index=name,
        time=readable(row.time_ns),
        time_ns=row.time_ns,
        action=row.action,
        auto=row.reasons.get("auto", ""),
        reasons=tuple(row.reasons.get("reasons", ())),
        outcome=row.reasons.get("outcome"),
    )
