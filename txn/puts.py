"""Puts: commits that follow each other and do no more than put rows into one table.

    commits     41: a b     42: c     43: d e f
    rows        [ one INSERT, each row with the LSN of its commit ]
    deaths      [ one: of the versions with these keys             ]
    live keys   [ one ]
    counters    [ one ]
    log         [ one: three records                               ]

A commit of a row costs seven statements; sixty-four of them cost as many. No key may be in two of
them: what the first writes, the second would replace. All are written, or one is refused and none
is: then whoever asked writes them one by one.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, count

import numpy as np

from ..wal import rows
from ..wal.catalog import TableRow
from ..wal.errors import DuplicateKeyError, NotFoundError
from ..wal.rows import Versions
from ..wal.types import Key, Lsn, Vid
from .changes import Change, record
from .progress import Progress
from .writes import Outcome, Put

NO_VERSIONS = Versions(np.empty(0, np.int64), np.empty(0, np.uint32))

Replaced = tuple[int, int, Key, int]
"""vid, crc, key and LSN: see `rows.replaced_by`."""


def write_puts(
    connection: sqlite3.Connection, progress: Progress, puts: Sequence[Put]
) -> tuple[Progress, list[Outcome]]:
    """Write puts into one table, no key twice; NotFoundError, or DuplicateKeyError for one."""
    head = progress.heads.tables.get(puts[0].table)
    if head is None:
        raise NotFoundError(f"table {puts[0].table} was dropped")
    commits = dict(zip(map(Lsn, count(progress.heads.lsn + 1)), puts, strict=False))
    replaced = inserted(connection, head, commits)
    new = sum(len(put.rows) for put in puts)
    if replaced:
        rows.end_replaced(connection, head.id, head.next_vid, new)
    rows.make_live(connection, head.id, head.next_vid, new)
    first_vids = accumulate((len(put.rows) for put in puts), initial=head.next_vid)
    changes = [
        Change(lsn, 0, Vid(first_vid), put.rows, _versions(replaced.get(lsn)))
        for (lsn, put), first_vid in zip(commits.items(), first_vids, strict=False)
    ]
    after = record(connection, progress, head, changes).at(changes[-1].lsn)
    return after, [_outcome(change) for change in changes]


def inserted(
    connection: sqlite3.Connection, head: TableRow, commits: Mapping[Lsn, Put]
) -> dict[Lsn, list[Replaced]]:
    """Insert the rows of puts, by their LSNs, in order; the versions that each replaces.

    DuplicateKeyError for a put that must not replace what it does.
    """
    written = [(lsn, put.rows) for lsn, put in commits.items()]
    rows.insert(connection, head.id, head.next_vid, written)
    new = sum(len(each) for _, each in written)
    replaced = defaultdict(list)
    for version in rows.replaced_by(connection, head.id, head.next_vid, new):
        replaced[Lsn(version[3])].append(version)
    for lsn, versions in replaced.items():
        if commits[lsn].refuses:
            raise DuplicateKeyError(
                f"table {head.name!r}: key {versions[0][2]!r} is there already (insert); "
                "use upsert to replace it"
            )
    return replaced


def _versions(replaced: list[Replaced] | None) -> Versions:
    return Versions.of([version[:2] for version in replaced]) if replaced else NO_VERSIONS


def _outcome(change: Change) -> Outcome:
    updated = len(change.ended.vids)
    return Outcome(change.lsn, inserted=change.count - updated, updated=updated)
