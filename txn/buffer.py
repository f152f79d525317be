"""What a transaction has written so far, and what it must remember to have read.

The buffer holds the last word on each key: a row, or that it is deleted. Reads
of the transaction look here first, then in its snapshot.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..wal.rows import Rows
from ..wal.types import Key, TableId
from .errors import TransactionTooLarge
from .writes import ReadSet, Write

CHANGE_BYTES = 256
"""About what the entry of one key takes beside vector and payload."""


@dataclass(frozen=True)
class BufferedRow:
    """A row that this transaction wrote: its payload as JSON text, its vector float32 (d,)."""

    payload: str | None
    vector: NDArray[np.float32]


Change = BufferedRow | None
"""None: the key is deleted."""


def nbytes_of(change: Change) -> int:
    """About what the entry of one key takes in memory."""
    if change is None:
        return CHANGE_BYTES
    return CHANGE_BYTES + change.vector.nbytes + len(change.payload or "")


class WriteBuffer:
    """The changes of one transaction. Private to it."""

    def __init__(self, nbytes_max: int) -> None:
        self._nbytes_max = nbytes_max
        self._changes: dict[TableId, dict[Key, Change]] = defaultdict(dict)
        self._keys_read: dict[TableId, set[Key]] = defaultdict(set)
        self._read_whole: set[TableId] = set()
        self.nbytes = 0

    def put(
        self,
        table: TableId,
        keys: Sequence[Key],
        payloads: Sequence[str | None],
        vectors: NDArray[np.float32],
    ) -> None:
        """Write rows over whatever the keys had. keys: distinct; vectors: float32 (n, d)."""
        self._apply(table, dict(zip(keys, map(BufferedRow, payloads, vectors), strict=True)))

    def delete(self, table: TableId, keys: Sequence[Key]) -> None:
        """These keys have no rows from here on."""
        self._apply(table, dict.fromkeys(keys))

    def _apply(self, table: TableId, new: dict[Key, Change]) -> None:
        """Take in all of `new`, or nothing of it."""
        held = self._changes[table]
        replaced = sum(nbytes_of(held[key]) for key in new if key in held)
        grown = self.nbytes + sum(map(nbytes_of, new.values())) - replaced
        if grown > self._nbytes_max:
            raise TransactionTooLarge(
                f"the transaction would buffer {grown} bytes, expected at most {self._nbytes_max}"
            )
        held.update(new)
        self.nbytes = grown

    def changes(self, table: TableId) -> dict[Key, Change]:
        """The last word on each key this transaction touched, in the order of first touch."""
        return self._changes.get(table, {})

    def note_read(self, table: TableId, keys: list[Key]) -> None:
        """These keys were read from the snapshot."""
        self._keys_read[table].update(keys)

    def note_read_whole(self, table: TableId) -> None:
        """The whole table was read: by a search, a count or an iteration."""
        self._read_whole.add(table)

    def writes(self) -> list[Write]:
        """One Write a table that was touched."""
        return [_write(table, changes) for table, changes in self._changes.items() if changes]

    def reads(self) -> dict[TableId, ReadSet]:
        """What a serializable commit has to check."""
        return {
            table: ReadSet(frozenset(self._keys_read.get(table, ())), table in self._read_whole)
            for table in self._keys_read.keys() | self._read_whole
        }


def _write(table: TableId, changes: dict[Key, Change]) -> Write:
    puts = {key: change for key, change in changes.items() if change is not None}
    deletes = [key for key, change in changes.items() if change is None]
    if not puts:
        return Write(table, None, deletes)
    vectors = np.stack([row.vector for row in puts.values()])
    return Write(
        table, Rows.of(list(puts), [row.payload for row in puts.values()], vectors), deletes
    )
