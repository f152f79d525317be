"""The log: what each commit did, in LSN order, each record chained to the one before.

    anchor          the records still here                        next
    ......truncated | (7,0) | (8,0) | (8,1) | (9,0) | ... | (n,0) |
                      crc  <- crc   <- crc   <- crc

A commit that touches two tables writes two records, seq 0 and 1.
A record names rows, it does not hold them: the new row versions are a run of
vids, the ended ones a packed list; the rows themselves are in `rows_<t>`.
The crc of a record is taken over the crc before it, its fields, and the crc of
the crcs of its rows, so a record lost, doubled, changed or out of order breaks
the chain from there on.
Truncation moves the anchor: the position and the crc of the last record gone.
"""

import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import meta
from .errors import CorruptError
from .typed import require
from .types import Lsn, TableId, Vid

Kind = Literal["rows", "create_table", "drop_table", "create_index", "drop_index"]

_COLUMNS = "lsn, seq, table_id, kind, first_vid, count, rows_crc, time_ns, crc, ended"


def pack_vids(vids: NDArray[np.int64]) -> bytes:
    """Vids as little-endian int64."""
    return vids.astype("<i8", copy=False).tobytes()


def unpack_vids(raw: bytes) -> NDArray[np.int64]:
    """What `pack_vids` wrote: int64 (n,)."""
    if len(raw) % 8:
        raise CorruptError(f"a packed list of vids has {len(raw)} bytes, expected a multiple of 8")
    return np.frombuffer(raw, dtype="<i8").astype(np.int64, copy=False)


def crc_of_crcs(row_crcs: NDArray[np.uint32]) -> int:
    """One CRC-32 for the rows of a record. row_crcs: uint32 (n,), in vid order."""
    return zlib.crc32(row_crcs.astype("<u4", copy=False).tobytes())


@dataclass(frozen=True)
class Record:
    """One record. `ended` are the vids of the versions it ended, int64 ascending."""

    lsn: Lsn
    seq: int
    table: TableId
    kind: Kind
    first_vid: Vid
    count: int
    rows_crc: int
    time_ns: int
    ended: NDArray[np.int64]

    def chained(self, previous_crc: int) -> int:
        """This record's crc, given the crc of the record before it."""
        fields = struct.pack(
            "<qqqqqqq",
            self.lsn,
            self.seq,
            self.table,
            self.first_vid,
            self.count,
            self.rows_crc,
            self.time_ns,
        )
        crc = zlib.crc32(self.kind.encode(), zlib.crc32(fields, previous_crc))
        return zlib.crc32(pack_vids(self.ended), crc)


def append(connection: sqlite3.Connection, records: Sequence[Record], previous_crc: int) -> int:
    """Write records and return the crc of the last, which the next record is chained to."""
    crc = previous_crc
    values: list[Any] = []
    for record in records:
        crc = record.chained(crc)
        values += [record.lsn, record.seq, record.table, record.kind, record.first_vid]
        values += [record.count, record.rows_crc, record.time_ns, crc, pack_vids(record.ended)]
    tuples = ",".join(["(?,?,?,?,?,?,?,?,?,?)"] * len(records))
    connection.execute(f"INSERT INTO wal ({_COLUMNS}) VALUES {tuples}", values)
    return crc


def read(
    connection: sqlite3.Connection, after: Lsn, until: Lsn, table: TableId | None = None
) -> Iterator[tuple[Record, int]]:
    """The records with `after` < lsn <= `until`, in order, each with its stored crc."""
    kinds = (int, int, int, str, int, int, int, int, int, bytes)
    for row in connection.execute(
        f"SELECT {_COLUMNS} FROM wal WHERE lsn > ? AND lsn <= ? ORDER BY lsn, seq", (after, until)
    ):
        require(f"log: the record {row[:2]}", row, kinds)
        lsn, seq, of_table, kind, first_vid, count, rows_crc, time_ns, crc, ended = row
        if table is None or of_table == table:
            record = Record(
                lsn, seq, of_table, kind, first_vid, count, rows_crc, time_ns, unpack_vids(ended)
            )
            yield record, crc


def ended(
    connection: sqlite3.Connection, after: Lsn, until: Lsn, table: TableId
) -> NDArray[np.int64]:
    """The versions of a table that the records with `after` < lsn <= `until` ended, ascending."""
    parts = [record.ended for record, _ in read(connection, after, until, table)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))


def truncate(connection: sqlite3.Connection, until: Lsn) -> int:
    """Drop the records with lsn <= `until` and move the anchor; returns how many went."""
    last = connection.execute(
        "SELECT lsn, crc FROM wal WHERE lsn <= ? ORDER BY lsn DESC, seq DESC LIMIT 1", (until,)
    ).fetchone()
    if last is None:
        return 0
    meta.put(connection, "anchor_lsn", last[0])
    meta.put(connection, "anchor_crc", last[1])
    return connection.execute("DELETE FROM wal WHERE lsn <= ?", (until,)).rowcount


def verify(connection: sqlite3.Connection) -> list[str]:
    """Every break in the chain, from the anchor to the next LSN, in words."""
    found: list[str] = []
    crc = meta.get_int(connection, "anchor_crc")
    lsn, seq = Lsn(meta.get_int(connection, "anchor_lsn")), -1
    last = Lsn(meta.get_int(connection, "next_lsn") - 1)
    seen = 0
    for record, stored in read(connection, lsn, last):
        seen += 1
        follows = (record.lsn, record.seq) in ((lsn + 1, 0), (lsn, seq + 1))
        if not follows:
            found.append(f"log: ({record.lsn}, {record.seq}) follows ({lsn}, {seq})")
        if record.chained(crc) != stored:
            found.append(f"log: the record ({record.lsn}, {record.seq}) breaks the chain")
        lsn, seq, crc = record.lsn, record.seq, stored
    if lsn != last:
        found.append(f"log: it ends at LSN {lsn}, expected {last}")
    (records,) = connection.execute("SELECT count(*) FROM wal").fetchone()
    if records != seen:
        found.append(f"log: {records} records, {seen} of them from the anchor to LSN {last}")
    if crc != meta.get_int(connection, "last_crc"):
        found.append(f"log: the crc of LSN {last} is not the one in meta")
    return found
