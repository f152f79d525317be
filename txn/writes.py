"""What a writer asks the Committer for: frozen, checked, and ready to be written."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from ..wal.log import Kind
from ..wal.rows import Rows
from ..wal.types import Key, Lsn, TableId
from .head import Heads


@dataclass(frozen=True)
class Write:
    """Rows to put and keys to delete in one table; no key is in both."""

    table: TableId
    rows: Rows | None = None
    deletes: Sequence[Key] = ()
    if_present: Literal["replace", "refuse"] = "replace"
    """Whether putting a key that is there replaces it, or raises DuplicateKeyError."""

    @property
    def new_rows(self) -> int:
        """How many row versions it adds."""
        return len(self.rows) if self.rows else 0

    def keys(self) -> list[Key]:
        """Every key it touches."""
        return [*(self.rows.keys if self.rows else ()), *self.deletes]


@dataclass(frozen=True)
class Put:
    """A write that is nothing but rows, which must not be there if `refuses`."""

    table: TableId
    rows: Rows
    refuses: bool


@dataclass(frozen=True)
class PayloadWrite:
    """New payloads for rows that are there; their vectors stay. NotFoundError if one is not."""

    table: TableId
    keys: Sequence[Key]
    payloads: Sequence[str | None]

    @property
    def new_rows(self) -> int:
        """How many row versions it adds."""
        return len(self.keys)


@dataclass(frozen=True)
class Ddl:
    """A change of the catalog. `change(connection, lsn)` makes it and returns what was made."""

    kind: Kind
    table: TableId | None
    change: Callable[[sqlite3.Connection, Lsn], Any]
    new_rows = 0


Operation = Write | PayloadWrite | Ddl


@dataclass(frozen=True)
class ReadSet:
    """What a serializable transaction read of one table."""

    keys: frozenset[Key] = frozenset()
    whole: bool = False
    """A search, a count or an iteration: any change of the table is a conflict."""


@dataclass(frozen=True, eq=False)
class CommitRequest:
    """One commit: all of `operations` or nothing."""

    operations: Sequence[Operation]
    since: Heads | None = None
    """The snapshot whose later commits are conflicts; None for a write that never conflicts."""
    reads: Mapping[TableId, ReadSet] = field(default_factory=dict)
    idempotency_key: str | None = None
    nbytes: int = 0

    @cached_property
    def put(self) -> Put | None:
        """What it does, if that is to put rows into one table, whatever others do."""
        if len(self.operations) != 1 or self.since is not None or self.idempotency_key is not None:
            return None
        (only,) = self.operations
        if not isinstance(only, Write) or only.rows is None or only.deletes:
            return None
        return Put(only.table, only.rows, only.if_present == "refuse")

    def new_rows(self, table: TableId) -> int:
        """How many row versions it adds to a table."""
        return sum(each.new_rows for each in self.operations if each.table == table)


@dataclass(frozen=True)
class Outcome:
    """What a commit did. `lsn` is where it can be seen from."""

    lsn: Lsn
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    repeated: bool = False
    """The idempotency key was known: this is what the first call did."""
    made: Any = None
    """What a Ddl returned."""
