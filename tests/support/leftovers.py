"""What builds, folds and drops may not leave behind in the file."""

import sqlite3

import numpy as np

from centroidb import Database

_QUERIES = {
    "generation {} is nobody's": (
        "SELECT id FROM generations WHERE id NOT IN "
        "(SELECT active FROM indexes WHERE active IS NOT NULL AND dropped_lsn IS NULL) "
        "AND (state != 'kept' OR index_id NOT IN (SELECT id FROM indexes))"
    ),
    "segment {} is of no generation": (
        "SELECT id FROM partitions WHERE generation NOT IN (SELECT id FROM generations)"
    ),
    "segment {} was staged and never counted": (
        "SELECT p.id FROM partitions p JOIN generations g ON g.id = p.generation "
        "WHERE p.id > g.sealed"
    ),
    "slices of {} are of no build": (
        "SELECT DISTINCT generation FROM slices WHERE generation NOT IN "
        "(SELECT id FROM generations WHERE state IN ('building', 'catching_up'))"
    ),
    "centroids of {} are of no generation": (
        "SELECT generation FROM centroids WHERE generation NOT IN (SELECT id FROM generations)"
    ),
    "job {} still runs": "SELECT id FROM jobs WHERE state = 'running'",
    "index {} was dropped": "SELECT id FROM indexes WHERE dropped_lsn IS NOT NULL",
    "table {} was dropped": "SELECT id FROM tables WHERE dropped_lsn IS NOT NULL",
    "{} free pages": "SELECT freelist_count FROM pragma_freelist_count WHERE freelist_count > 0",
}


def in_file(connection: sqlite3.Connection) -> list[str]:
    """Everything that should be gone once no snapshot is held, no build runs, and all is swept."""
    found = []
    for words, query in _QUERIES.items():
        found += [words.format(row[0]) for row in connection.execute(query)]
    for (table,) in connection.execute("SELECT id FROM tables").fetchall():
        ended = connection.execute(f"SELECT vid FROM dead_{table:d}")
        found += [f"table {table}: version {row[0]} has ended" for row in ended]
    return found + _unknown_rows(connection)


def _unknown_rows(connection: sqlite3.Connection) -> list[str]:
    """Rows that segments list and the table no longer has: nothing would hide them."""
    found = []
    for segment, table, vids in connection.execute(
        "SELECT p.id, i.table_id, p.vids FROM partitions p "
        "JOIN generations g ON g.id = p.generation "
        "JOIN indexes i ON i.active = g.id OR i.id = g.index_id AND g.state = 'kept'"
    ).fetchall():
        stored = {row[0] for row in connection.execute(f"SELECT vid FROM rows_{table:d}")}
        gone = set(np.frombuffer(vids, "<i8").tolist()) - stored
        found += [f"segment {segment} lists row {vid}, which is gone" for vid in sorted(gone)]
    return found


async def leftovers(db: Database) -> list[str]:
    """`in_file` of an open database, between two folds."""
    async with db._source.supervisor().state.maintenance, db.snapshot() as snapshot:
        found: list[str] = await snapshot.view.read(in_file)
        return found
