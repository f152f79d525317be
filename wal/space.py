"""What each thing in the file costs in bytes.

    pages     SQLite's own count of the pages of each table and index (`dbstat`)
    content   where SQLite was built without it: the bytes of the columns

The first is exact and reads the head of every page, the second reads every row and leaves out
what pages and indexes add. Neither is cheap on a large file.
"""

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .types import GenerationId, TableId

CountedBy = Literal["pages", "content"]
Kind = Literal[
    "rows",
    "live_keys",
    "deaths",
    "log",
    "commits",
    "segments",
    "centroids",
    "calibrations",
    "slices",
    "query_samples",
    "decisions",
    "jobs",
    "catalog",
]

_KINDS: Final[dict[str, Kind]] = {
    "rows": "rows",
    "live": "live_keys",
    "dead": "deaths",
    "wal": "log",
    "commits": "commits",
    "partitions": "segments",
    "centroids": "centroids",
    "calibrations": "calibrations",
    "slices": "slices",
    "query_samples": "query_samples",
    "decisions": "decisions",
    "jobs": "jobs",
}
"""By table, those of a table of rows without their number; all others are the catalog."""

_NUMBER_BYTES: Final = 8


@dataclass(frozen=True, kw_only=True)
class FileSpace:
    """All in bytes.

    segments, centroids: their content, by generation, since all share one table; overhead:
    pages of SQLite's own.
    """

    counted_by: CountedBy
    file_bytes: int
    by_kind: Mapping[Kind, int]
    by_table: Mapping[tuple[TableId, Kind], int]
    segments: Mapping[GenerationId, int]
    centroids: Mapping[GenerationId, int]
    free_bytes: int
    overhead_bytes: int


def measure(connection: sqlite3.Connection) -> FileSpace:
    """Count everything, inside one read transaction."""
    counted_by: CountedBy = "pages" if has_dbstat(connection) else "content"
    count = _pages if counted_by == "pages" else _content
    by_kind: dict[Kind, int] = dict.fromkeys([*_KINDS.values(), "catalog"], 0)
    by_table: dict[tuple[TableId, Kind], int] = {}
    for name, nbytes in count(connection).items():
        kind, table = _kind_of(name)
        by_kind[kind] += nbytes
        if table is not None:
            by_table[table, kind] = nbytes
    file_bytes, free = page_bytes(connection)
    return FileSpace(
        counted_by=counted_by,
        file_bytes=file_bytes,
        by_kind=by_kind,
        by_table=by_table,
        segments=_by_generation(connection, "SELECT generation, sum(bytes) FROM partitions"),
        centroids=_by_generation(
            connection, "SELECT generation, sum(length(vectors)) FROM centroids"
        ),
        free_bytes=free,
        overhead_bytes=file_bytes - free - sum(by_kind.values()),
    )


def page_bytes(connection: sqlite3.Connection) -> tuple[int, int]:
    """Bytes of all pages, those still in SQLite's WAL too, and of the free ones; cheap."""
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return size * pages, size * free


def has_dbstat(connection: sqlite3.Connection) -> bool:
    """Whether this SQLite counts pages."""
    found = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'")
    return found.fetchone() is not None


def _kind_of(table: str) -> tuple[Kind, TableId | None]:
    numbered = re.fullmatch(r"(rows|live|dead)_(\d+)", table)
    if numbered:
        return _KINDS[numbered[1]], TableId(int(numbered[2]))
    return _KINDS.get(table, "catalog"), None


def _pages(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of the pages of each table and its indexes."""
    rows = connection.execute(
        "SELECT coalesce(s.tbl_name, d.name), sum(d.pgsize) FROM dbstat d "
        "LEFT JOIN sqlite_schema s ON s.name = d.name WHERE d.aggregate = TRUE GROUP BY 1"
    )
    return dict(rows.fetchall())


def _content(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of the columns of each table."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    found = {}
    for (name,) in tables:
        columns = connection.execute("SELECT name, type FROM pragma_table_info(?)", (name,))
        terms = " + ".join(_length(column, of_type) for column, of_type in columns.fetchall())
        (nbytes,) = connection.execute(f'SELECT total({terms}) FROM "{name}"').fetchone()
        found[name] = int(nbytes)
    return found


def _length(column: str, of_type: str) -> str:
    """SQL for the bytes of a column; of a BLOB it is known without reading it."""
    if of_type in ("INTEGER", "REAL"):
        return str(_NUMBER_BYTES)
    value = f'"{column}"' if of_type == "BLOB" else f'CAST("{column}" AS BLOB)'
    return f"coalesce(length({value}), 0)"


def _by_generation(connection: sqlite3.Connection, select: str) -> dict[GenerationId, int]:
    return dict(connection.execute(f"{select} GROUP BY generation").fetchall())
