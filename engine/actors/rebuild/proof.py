"""The proof before a swap: the new generation lists exactly the rows of the table.

    lsn       P ............. Q ...... now
    stored    |-- all segments, while others write --|
    verified                  |  what came since, and the delta: short
    the turn                           |  the log adds up to the table's sum (`swap`)

Sums are over hash(vid, crc) of every live row, so a row that was lost, listed twice or
mixed up with another can not pass. The long part, reading every segment, is done at a
position P while commits go on; at the position Q of the swap only the newer segments
and the delta are read, and the log says what ended between.
"""

import sqlite3
from dataclasses import dataclass

import numpy as np

from ....txn.deaths import Visibility
from ....wal import log, rows, segments
from ....wal.checksum import RowSum
from ....wal.types import Lsn, SegmentId, Vid
from ...index.generation import Generation
from ..errors import RebuildRejected
from .catch_up import Position


@dataclass(frozen=True)
class Stored:
    """What the segments up to `last` list: the sum of their rows that were live at `lsn`."""

    lsn: Lsn
    last: SegmentId
    until: Vid
    """The fold position: no vid from here on is in these segments."""
    sum: RowSum


def sum_stored(
    connection: sqlite3.Connection,
    generation: Generation,
    position: Position,
    visibility: Visibility,
) -> Stored:
    """Read all segments of a generation; `visibility` is the position's."""
    row = generation.row
    total = RowSum()
    for listed in segments.listed_rows(connection, row.id, until=row.seal.last):
        total += _sum_of_seen(listed, visibility)
    return Stored(position.lsn, row.seal.last, row.fold_vid, total)


def verify_rows(
    connection: sqlite3.Connection,
    generation: Generation,
    stored: Stored,
    position: Position,
    visibility: Visibility,
) -> None:
    """Raise RebuildRejected unless the generation lists exactly the rows live at `position`."""
    seal, delta = generation.row.seal, generation.delta.view()
    total = stored.sum - _ended_since(connection, stored, position)
    newer = segments.listed_rows(connection, generation.row.id, after=stored.last, until=seal.last)
    for listed in (*newer, rows.Versions(delta.vids, delta.crcs)):
        total += _sum_of_seen(listed, visibility)
    if total != position.table.sum:
        raise RebuildRejected(
            f"generation {generation.row.id}: the rows it lists are not those of table "
            f"{position.table.name!r} at LSN {position.lsn}; it is dropped"
        )


def _sum_of_seen(listed: rows.Versions, visibility: Visibility) -> RowSum:
    seen = visibility(listed.vids)
    if seen is None:
        return RowSum.of(listed.vids, listed.crcs)
    return RowSum.of(listed.vids[seen], listed.crcs[seen])


def _ended_since(connection: sqlite3.Connection, stored: Stored, position: Position) -> RowSum:
    """The rows in the stored segments that ended between the two positions."""
    table = position.table.id
    ended = log.ended(connection, stored.lsn, position.lsn, table)
    gone = rows.crcs_of(connection, table, ended[: np.searchsorted(ended, stored.until)])
    return RowSum.of(gone.vids, gone.crcs)
