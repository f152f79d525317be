"""What can be proven of a file without knowing what an index means.

SQLite's own integrity check
the log: chained from the anchor to the next LSN, crcs of rows where rows are left
each table: every row against its checksum; one live version a key; live and
ended versions are all there is; counters and the sum
each generation: segments and centroids against their checksums
"""

import sqlite3
import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from . import catalog, log, meta, rows, segments
from .catalog import TableRow
from .checksum import RowSum, key_bytes, stored_crc
from .errors import CorruptError
from .typed import integers
from .types import Lsn, Vid

VID_MAX = Vid((1 << 63) - 1)
FINDINGS_MAX = 100


@dataclass
class Report:
    """What was found, and how much was looked at."""

    errors: list[str] = field(default_factory=list)
    tables: int = 0
    rows: int = 0
    records: int = 0
    segments: int = 0

    def add(self, error: str) -> None:
        """Note an error; after the first hundred they are not told apart any more."""
        if len(self.errors) < FINDINGS_MAX:
            self.errors.append(error)

    def expect(self, holds: bool, error: str) -> None:
        """Note `error` unless it `holds`."""
        if not holds:
            self.add(error)


def check_file(connection: sqlite3.Connection, report: Report) -> None:
    """Look at everything, inside one read transaction."""
    for (line,) in connection.execute("PRAGMA integrity_check"):
        report.expect(line == "ok", f"SQLite: {line}")
    _check_log(connection, report)
    for table in catalog.read_tables(connection):
        report.tables += 1
        if table.dropped_lsn is None:
            _check_table(connection, table, report)
    for generation in catalog.read_generations(connection):
        if generation.state in ("active", "kept"):
            _check_pieces(connection, generation, report)


def _check_log(connection: sqlite3.Connection, report: Report) -> None:
    for error in log.verify(connection):
        report.add(error)
    present = {row.id for row in catalog.read_tables(connection) if row.dropped_lsn is None}
    last = Lsn(meta.get_int(connection, "next_lsn") - 1)
    for record, _ in log.read(connection, Lsn(0), last):
        report.records += 1
        if record.kind != "rows" or record.table not in present:
            continue
        until = Vid(min(record.first_vid + record.count, VID_MAX))
        left = rows.read_versions(connection, record.table, record.first_vid, until)
        if len(left.vids) == record.count and log.crc_of_crcs(left.crcs) != record.rows_crc:
            report.add(f"log: the rows of LSN {record.lsn} are not those it was written with")


def _check_table(connection: sqlite3.Connection, table: TableRow, report: Report) -> None:
    name = f"table {table.name!r}"
    stored = _check_rows(connection, table, report)
    dead, ends = rows.read_deaths(connection, table.id)
    dead = np.sort(dead)
    live = _live_vids(connection, table, report)
    report.expect(len(live) == table.live, f"{name}: {len(live)} live rows, counted {table.live}")
    both = np.intersect1d(live, dead)
    report.expect(not len(both), f"{name}: versions {both[:5].tolist()} are live and ended")
    all_vids = np.union1d(live, dead)
    lost = np.setdiff1d(all_vids, stored.vids)
    report.expect(not len(lost), f"{name}: versions {lost[:5].tolist()} are missing")
    stray = np.setdiff1d(stored.vids, all_vids)
    report.expect(not len(stray), f"{name}: versions {stray[:5].tolist()} are nobody's")
    last = int(stored.vids[-1]) if len(stored.vids) else 0
    report.expect(last < table.next_vid, f"{name}: version {last} is beyond {table.next_vid}")
    now = meta.get_int(connection, "next_lsn")
    report.expect(bool(np.all(ends < now)), f"{name}: a version ends in the future")
    seen = np.isin(stored.vids, live)
    found = RowSum.of(stored.vids[seen], stored.crcs[seen])
    report.expect(found == table.sum, f"{name}: the sum over its live rows is another one")


def _check_rows(connection: sqlite3.Connection, table: TableRow, report: Report) -> rows.Versions:
    """Check every stored version against its checksum; returns them all."""
    key_column = "CAST(key AS BLOB)" if table.key_type == "str" else "key"
    lsn_before = 0
    for vid, key, lsn, crc, vector_crc, payload, vector in connection.execute(
        f"SELECT vid, {key_column}, lsn, crc, vector_crc, CAST(payload AS BLOB), vector "
        f"FROM rows_{table.id:d} ORDER BY vid"  # as bytes: damaged text is no text
    ):
        report.rows += 1
        whole = isinstance(key, bytes | int) and isinstance(vector, bytes) and isinstance(lsn, int)
        if not whole:
            report.add(f"table {table.name!r}: row version {vid} has values of other types")
            continue
        raw_key = key if isinstance(key, bytes) else key_bytes(key)
        found = zlib.crc32(vector)
        sums = (found, stored_crc(raw_key, payload, found))
        if len(vector) != 4 * table.dim or sums != (vector_crc, crc):
            report.add(f"table {table.name!r}: row version {vid} does not match its checksum")
        if lsn < lsn_before:
            report.add(f"table {table.name!r}: row version {vid} is older than the one before")
        lsn_before = lsn
    return rows.all_versions(connection, table.id, VID_MAX)


def _live_vids(
    connection: sqlite3.Connection, table: TableRow, report: Report
) -> NDArray[np.int64]:
    """The versions that keys point to, ascending."""
    t = int(table.id)
    stored = connection.execute(f"SELECT vid FROM live_{t}").fetchall()
    vids = integers(f"table {table.name!r}: its keys", (vid for (vid,) in stored))
    (mismatched,) = connection.execute(
        f"SELECT count(*) FROM live_{t} l JOIN rows_{t} r ON r.vid = l.vid WHERE r.key != l.key"
    ).fetchone()
    report.expect(not mismatched, f"table {table.name!r}: {mismatched} keys point to another's row")
    unique = np.unique(vids)
    report.expect(len(unique) == len(vids), f"table {table.name!r}: two keys share a row version")
    return unique


def _check_pieces(
    connection: sqlite3.Connection, generation: catalog.GenerationRow, report: Report
) -> None:
    try:
        segments.read_centroids(connection, generation.id)
    except CorruptError as error:
        report.add(str(error))
    refs = segments.references(connection, generation.id, generation.seal.last)
    report.expect(generation.seal.holds(refs), f"generation {generation.id}: segments are missing")
    for ref in refs:
        report.segments += 1
        try:
            segments.read(connection, ref.id)
        except CorruptError as error:
            report.add(str(error))
