"""What commits did to one table, brought into its counters, its sum and the log.

Memory learns of it when the group is published (`Progress.born`, `Progress.ended`).
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..wal import catalog, log
from ..wal.catalog import TableRow
from ..wal.checksum import RowSum, vid_range
from ..wal.log import Record
from ..wal.rows import Rows, Versions
from ..wal.types import Lsn, Vid
from .progress import Born, Ended, Progress

_NO_CRCS = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Change:
    """What one commit did to the table, already written to its rows."""

    lsn: Lsn
    seq: int
    """Which of the commit's records it is."""
    first_vid: Vid
    rows: Rows | None
    """New versions, from `first_vid` on."""
    ended: Versions

    @property
    def count(self) -> int:
        """New versions."""
        return len(self.rows) if self.rows is not None else 0

    def record(self, table: TableRow, time_ns: int) -> Record:
        """What the log says of it."""
        crc = log.crc_of_crcs(self.rows.crcs if self.rows is not None else _NO_CRCS)
        ended = self.ended.vids
        return Record(
            self.lsn, self.seq, table.id, "rows", self.first_vid, self.count, crc, time_ns, ended
        )


def record(
    connection: sqlite3.Connection, progress: Progress, head: TableRow, changes: Sequence[Change]
) -> Progress:
    """Write counters, sum and log after consecutive changes of one table; where that leads."""
    changed = _counted(head, changes)
    catalog.update_table(
        connection,
        head.id,
        next_vid=changed.next_vid,
        live=changed.live,
        row_sum=changed.sum,
        changed_lsn=changed.changed_lsn,
    )
    now_ns = time.time_ns()
    records = [change.record(head, now_ns) for change in changes]
    born = tuple(
        Born(change.lsn, head.id, change.first_vid, change.rows)
        for change in changes
        if change.rows is not None
    )
    gone = tuple(
        Ended(change.lsn, head.id, change.ended.vids)
        for change in changes
        if len(change.ended.vids)
    )
    return replace(
        progress.with_head(changed),
        last_crc=log.append(connection, records, progress.last_crc),
        born=progress.born + born,
        ended=progress.ended + gone,
    )


def _counted(head: TableRow, changes: Sequence[Change]) -> TableRow:
    """The head of the table after them."""
    new = sum(change.count for change in changes)
    crcs = [change.rows.crcs for change in changes if change.rows is not None]
    row_sum = head.sum + RowSum.of(vid_range(head.next_vid, new), np.concatenate([_NO_CRCS, *crcs]))
    gone = 0
    for change in changes:
        if len(change.ended.vids):
            gone += len(change.ended.vids)
            row_sum -= RowSum.of(change.ended.vids, change.ended.crcs)
    return replace(
        head,
        next_vid=Vid(head.next_vid + new),
        live=head.live + new - gone,
        sum=row_sum,
        changed_lsn=changes[-1].lsn if new or gone else head.changed_lsn,
    )
