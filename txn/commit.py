"""One commit, written inside its savepoint.

    check     first committer wins: a key written after the snapshot is a conflict
    rows      new versions, vids in LSN order
    deaths    the versions they replace, and those deleted
    live      key -> vid
    counters  next vid, live rows, the table's sum
    log       one record a table, chained

All of it in one SQLite transaction: there is no second source of truth that
could disagree with it after a crash.
"""

import json
import sqlite3
import time
from dataclasses import dataclass, field, replace

import numpy as np

from ..wal import catalog, log, rows
from ..wal.catalog import TableRow
from ..wal.errors import NotFoundError
from ..wal.log import Record
from ..wal.rows import Rows, Versions
from ..wal.types import Key, Lsn, TableId, Vid
from ..wal.vectors import read_vectors
from .changes import Change, record
from .errors import ConflictError
from .head import Heads
from .progress import Progress
from .puts import Replaced, inserted
from .writes import CommitRequest, Ddl, Outcome, PayloadWrite, Put, ReadSet, Write

_NO_VIDS = np.empty(0, np.int64)


@dataclass
class CommitWriter:
    """Writes one request on top of `progress`; private to the writing thread."""

    connection: sqlite3.Connection
    progress: Progress
    request: CommitRequest
    seq: int = 0
    outcome: Outcome = field(default_factory=lambda: Outcome(Lsn(0)))
    """The answer as far as it is known."""

    @property
    def lsn(self) -> Lsn:
        """The LSN this commit gets if it is not refused."""
        return Lsn(self.progress.heads.lsn + 1)

    def write(self) -> Outcome:
        """Write all operations; raises ConflictError, DuplicateKeyError or NotFoundError."""
        for table, read in self.request.reads.items():
            self._refuse_changed_reads(table, read)
        for operation in self.request.operations:
            if isinstance(operation, Write):
                self._write_rows(operation)
            elif isinstance(operation, PayloadWrite):
                self._write_rows(self._with_vectors(operation))
            else:
                self._change_catalog(operation)
        if self.request.idempotency_key is not None:
            self._remember()
        self.progress = self.progress.at(self.lsn)
        return replace(self.outcome, lsn=self.progress.heads.lsn)

    def _head(self, table: TableId) -> TableRow:
        head = self.progress.heads.tables.get(table)
        if head is not None:
            return head
        if self.request.since is not None:
            raise ConflictError(f"table {table} was dropped after the transaction's snapshot")
        raise NotFoundError(f"table {table} was dropped")

    def _refuse_changed_reads(self, table: TableId, read: ReadSet) -> None:
        head = self._head(table)
        since = self._since()
        if read.whole and head.changed_lsn > since.lsn:
            raise ConflictError(
                f"table {head.name!r}, which the transaction read whole, "
                f"was changed at LSN {head.changed_lsn}, after its snapshot {since.lsn}"
            )
        self._refuse_changed_keys(head, list(read.keys), "read")

    def _since(self) -> Heads:
        assert self.request.since is not None
        return self.request.since

    def _refuse_changed_keys(self, head: TableRow, keys: list[Key], did: str) -> None:
        since = self._since()
        high = since.tables[head.id].next_vid
        key = rows.changed_after(self.connection, head.id, keys, high, since.lsn)
        if key is not None:
            raise ConflictError(
                f"table {head.name!r}: key {key!r}, which the transaction {did}, "
                f"was committed by somebody else after its snapshot {since.lsn}"
            )

    def _with_vectors(self, write: PayloadWrite) -> Write:
        """The same as a Write, with the vectors that the rows have now."""
        head = self._head(write.table)
        versions = rows.live_versions(self.connection, head.id, write.keys)
        vid_of = {key: vid for vid, _, key in versions}
        missing = [key for key in write.keys if key not in vid_of]
        if missing:
            raise NotFoundError(f"table {head.name!r}: no row with key {missing[0]!r}")
        vids = np.array([vid_of[key] for key in write.keys], dtype=np.int64)
        ascending, where = np.unique(vids, return_inverse=True)
        block = read_vectors(self.connection, head.id, ascending, head.dim)
        return Write(head.id, Rows.of(write.keys, write.payloads, block.vectors[where]))

    def _write_rows(self, write: Write) -> None:
        head = self._head(write.table)
        if self.request.since is not None:
            self._refuse_changed_keys(head, write.keys(), "wrote")
        new = write.rows
        replaced = self._put(head, new, write) if new is not None else []
        deleted = rows.live_versions(self.connection, head.id, write.deletes)
        gone = [each[:2] for each in replaced] + [each[:2] for each in deleted]
        ended = Versions.of(gone)
        rows.end(self.connection, head.id, ended.vids, self.lsn)
        if new is not None:
            rows.make_live(self.connection, head.id, head.next_vid, len(new))
        rows.remove_live(self.connection, head.id, [key for _, _, key in deleted])
        change = Change(self.lsn, self.seq, head.next_vid, new, ended)
        self.seq += 1
        self.progress = record(self.connection, self.progress, head, [change])
        self._count(change.count, len(replaced), len(deleted))

    def _put(self, head: TableRow, new: Rows, write: Write) -> list[Replaced]:
        put = Put(head.id, new, write.if_present == "refuse")
        return inserted(self.connection, head, {self.lsn: put}).get(self.lsn, [])

    def _count(self, new: int, replaced: int, deleted: int) -> None:
        self.outcome = replace(
            self.outcome,
            inserted=self.outcome.inserted + new - replaced,
            updated=self.outcome.updated + replaced,
            deleted=self.outcome.deleted + deleted,
        )

    def _change_catalog(self, ddl: Ddl) -> None:
        if ddl.table is not None:
            self._head(ddl.table)
        made = ddl.change(self.connection, self.lsn)
        self.outcome = replace(self.outcome, made=made)
        table = made if ddl.table is None else ddl.table
        entry = Record(
            self.lsn, self.seq, TableId(table), ddl.kind, Vid(0), 0, 0, time.time_ns(), _NO_VIDS
        )
        self.seq += 1
        heads = Heads.of(self.progress.heads.lsn, catalog.read_tables(self.connection))
        crc = log.append(self.connection, [entry], self.progress.last_crc)
        self.progress = replace(self.progress, heads=heads, last_crc=crc)

    def _remember(self) -> None:
        counts = {name: getattr(self.outcome, name) for name in ("inserted", "updated", "deleted")}
        self.connection.execute(
            "INSERT INTO commits (lsn, time_ns, idempotency_key, outcome) VALUES (?,?,?,?)",
            (self.lsn, time.time_ns(), self.request.idempotency_key, json.dumps(counts)),
        )
