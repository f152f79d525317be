"""What was decided about an index, and what came of it: a short log for people.

Only the last of each index are kept, and they go with the index. What an action
means, the engine knows.
"""

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from .errors import CorruptError
from .types import IndexId

KEPT = 1_000
"""Decisions kept for each index."""


@dataclass(frozen=True, kw_only=True)
class DecisionRow:
    """A decision as the file has it; `reasons` is the engine's JSON, an object."""

    id: int
    time_ns: int
    index: IndexId
    action: str
    reasons: dict[str, Any]


def append(
    connection: sqlite3.Connection,
    index: IndexId,
    *,
    time_ns: int,
    action: str,
    reasons: dict[str, Any],
) -> None:
    """Add a decision; the oldest of the index goes when there are too many."""
    connection.execute(
        "INSERT INTO decisions (time_ns, index_id, action, reasons) VALUES (?,?,?,?)",
        (time_ns, index, action, json.dumps(reasons)),
    )
    connection.execute(
        "DELETE FROM decisions WHERE id <= (SELECT id FROM decisions WHERE index_id = ?1 "
        "ORDER BY id DESC LIMIT 1 OFFSET ?2) AND index_id = ?1",
        (index, KEPT),
    )


def read(connection: sqlite3.Connection) -> list[DecisionRow]:
    """All decisions, newest first."""
    stored = connection.execute(
        "SELECT id, time_ns, index_id, action, reasons FROM decisions ORDER BY id DESC"
    ).fetchall()
    return [_row(fields) for fields in stored]


def last(connection: sqlite3.Connection, index: IndexId) -> DecisionRow | None:
    """The newest decision about an index, None when there is none."""
    fields = connection.execute(
        "SELECT id, time_ns, index_id, action, reasons FROM decisions WHERE index_id = ? "
        "ORDER BY id DESC LIMIT 1",
        (index,),
    ).fetchone()
    return None if fields is None else _row(fields)


def _row(fields: tuple[int, int, IndexId, str, str]) -> DecisionRow:
    number, time_ns, index, action, text = fields
    try:
        reasons = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        reasons = None
    if not isinstance(reasons, dict):
        raise CorruptError(f"decision {number}: its reasons are damaged: {text!r:.60}")
    return DecisionRow(id=number, time_ns=time_ns, index=index, action=action, reasons=reasons)
