"""Where the bytes of the file are: by kind, by table, by index; frozen, of one moment."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from ...wal import catalog
from ...wal.space import CountedBy, FileSpace, measure
from ...wal.types import TableId
from .statistics import Printed


@dataclass(frozen=True, kw_only=True)
class TableSpace:
    """Bytes of a table: its row versions, its live keys, and what says when versions ended."""

    rows_bytes: int
    live_keys_bytes: int
    deaths_bytes: int


@dataclass(frozen=True, kw_only=True)
class IndexSpace:
    """Bytes of an index, of all its generations that are still stored, replaced ones too.

    Content: segments of all indexes share pages, so what these add is only in `Space`.
    """

    generations: int
    segments_bytes: int
    centroids_bytes: int


@dataclass(frozen=True, kw_only=True)
class Space(Printed):
    """A whole file. What is not a table's or an index's own is once for all of them.

    counted_by: `pages` is exact; `content` is what the columns hold, where SQLite can not
    count pages, and then `overhead_bytes` is also all that pages and indexes add.
    file_bytes: as large as the file is after the next checkpoint; the other bytes add up to
    it. slices_bytes: what unfinished builds have got done. overhead_bytes: SQLite's own.
    tables, indexes: those that are not dropped; of dropped ones what is still stored is in
    the sums only.
    """

    counted_by: CountedBy
    file_bytes: int
    rows_bytes: int
    live_keys_bytes: int
    deaths_bytes: int
    log_bytes: int
    commits_bytes: int
    segments_bytes: int
    centroids_bytes: int
    calibrations_bytes: int
    slices_bytes: int
    query_samples_bytes: int
    decisions_bytes: int
    jobs_bytes: int
    catalog_bytes: int
    free_bytes: int
    overhead_bytes: int
    tables: Mapping[str, TableSpace]
    indexes: Mapping[str, IndexSpace]


def read_space(connection: sqlite3.Connection) -> Space:
    """Count everything in one state of the file."""
    connection.execute("BEGIN")
    try:
        found = measure(connection)
        return Space(
            counted_by=found.counted_by,
            file_bytes=found.file_bytes,
            free_bytes=found.free_bytes,
            overhead_bytes=found.overhead_bytes,
            tables=_tables(connection, found),
            indexes=_indexes(connection, found),
            **{f"{kind}_bytes": nbytes for kind, nbytes in found.by_kind.items()},
        )
    finally:
        connection.execute("ROLLBACK")


def _tables(connection: sqlite3.Connection, found: FileSpace) -> dict[str, TableSpace]:
    def space_of(table: TableId) -> TableSpace:
        return TableSpace(
            rows_bytes=found.by_table[table, "rows"],
            live_keys_bytes=found.by_table[table, "live_keys"],
            deaths_bytes=found.by_table[table, "deaths"],
        )

    known = catalog.read_tables(connection)
    return {row.name: space_of(row.id) for row in known if row.dropped_lsn is None}


def _indexes(connection: sqlite3.Connection, found: FileSpace) -> dict[str, IndexSpace]:
    generations = catalog.read_generations(connection)

    def space_of(index: int) -> IndexSpace:
        own = [row.id for row in generations if row.index == index]
        return IndexSpace(
            generations=len(own),
            segments_bytes=sum(found.segments.get(each, 0) for each in own),
            centroids_bytes=sum(found.centroids.get(each, 0) for each in own),
        )

    known = catalog.read_indexes(connection)
    return {row.name: space_of(row.id) for row in known if row.dropped_lsn is None}
