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
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

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
"""vid, crc, key and new vid: see `rows.replaced_by`."""


def write_puts(
    connection: sqlite3.Connection, progress: Progress, puts: Sequence[Put]
) -> tuple[Progress, list[Outcome]]:
    """Write puts into one table, no key twice; NotFoundError, or DuplicateKeyError for one."""
    head = progress.heads.tables.get(puts[0].table)
    if head is None:
        raise NotFoundError(f"table {puts[0].table} was dropped")
    lsns = [Lsn(progress.heads.lsn + 1 + place) for place in range(len(puts))]
    first_vids = list(accumulate((len(put.rows) for put in puts), initial=head.next_vid))
    count = first_vids.pop() - head.next_vid
    commits = list(zip(lsns, (put.rows for put in puts), strict=True))
    rows.insert(connection, head.id, head.next_vid, commits)
    found = rows.replaced_by(connection, head.id, head.next_vid, count)
    replaced = _by_put(first_vids, found)
    refuse_replaced(head, puts, replaced)
    if found:
        rows.end_replaced(connection, head.id, head.next_vid, count)
    rows.make_live(connection, head.id, head.next_vid, count)
    changes = [
        Change(lsn, 0, Vid(first_vid), put.rows, _versions(replaced.get(place)))
        for place, (lsn, first_vid, put) in enumerate(zip(lsns, first_vids, puts, strict=True))
    ]
    after = record(connection, progress, head, changes).at(lsns[-1])
    return after, [_outcome(change) for change in changes]


def _by_put(first_vids: list[int], found: list[Replaced]) -> dict[int, list[Replaced]]:
    """The versions that each put replaces, by its place."""
    replaced = defaultdict(list)
    for version in found:
        replaced[bisect_right(first_vids, version[3]) - 1].append(version)
    return replaced


def refuse_replaced(
    head: TableRow, puts: Sequence[Put], replaced: dict[int, list[Replaced]]
) -> None:
    """Raise DuplicateKeyError for a put that must not replace what it does."""
    for place, versions in replaced.items():
        if puts[place].refuses:
            raise DuplicateKeyError(
                f"table {head.name!r}: key {versions[0][2]!r} is there already (insert); "
                "use upsert to replace it"
            )


def _versions(replaced: list[Replaced] | None) -> Versions:
    return Versions.of([version[:2] for version in replaced]) if replaced else NO_VERSIONS


def _outcome(change: Change) -> Outcome:
    updated = len(change.ended.vids)
    return Outcome(change.lsn, inserted=change.count - updated, updated=updated)
