"""A transaction under way: what it has seen and done, and whether it can still commit."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from centroidb import Transaction
from centroidb.engine.db.transaction import Isolation
from centroidb.wal.types import Key

from .oracle import TableModel, TableState, Version

YOUNGEST = 1 << 40
"""Orders of the rows a transaction has written: after all that are committed."""


@dataclass(eq=False)
class OpenTransaction:
    """A transaction, and what it has seen and done."""

    transaction: Transaction
    isolation: Isolation
    since: int
    """The commit it sees last."""
    models: dict[str, TableModel]
    """The tables of its snapshot; one made later under the same name is another."""
    states: dict[str, TableState]
    stack: AsyncExitStack
    changes: dict[str, dict[Key, Version | None]] = field(default_factory=dict)
    keys_read: dict[str, set[Key]] = field(default_factory=dict)
    read_whole: set[str] = field(default_factory=set)

    def state(self, table: str) -> TableState:
        """What it must see: its snapshot with its own writes on top, as the youngest rows."""
        before, changes = self.states[table], self.changes.get(table, {})
        rows = {key: row for key, row in before.rows.items() if key not in changes}
        for at, (key, row) in enumerate(changes.items()):
            if row is not None:
                rows[key] = Version(YOUNGEST + at, row.vector, row.payload)
        return TableState(before.kind, rows)

    def put(self, table: str, key: Key, row: Version | None) -> None:
        """Write; None deletes."""
        self.changes.setdefault(table, {})[key] = row

    def note_read(self, table: str, keys: Sequence[Key]) -> None:
        """A read of these keys; those it wrote itself do not count."""
        own = self.changes.get(table, {})
        self.keys_read.setdefault(table, set()).update(key for key in keys if key not in own)

    def conflicts(self, tables: Mapping[str, TableModel]) -> bool:
        """Whether somebody committed first what it wrote, or (serializable) read.

        tables: as they are now.
        """
        if any(self._changed(tables, name, keys) for name, keys in self.changes.items() if keys):
            return True
        if self.isolation == "snapshot":
            return False
        whole = (self.models[name] for name in self.read_whole)
        if any(self._gone(tables, model) or model.table_changed_at > self.since for model in whole):
            return True
        return any(self._changed(tables, name, keys) for name, keys in self.keys_read.items())

    def _changed(self, tables: Mapping[str, TableModel], table: str, keys: Iterable[Key]) -> bool:
        model = self.models[table]
        changed = (model.changed_at.get(key, 0) > self.since for key in keys)
        return self._gone(tables, model) or any(changed)

    def _gone(self, tables: Mapping[str, TableModel], model: TableModel) -> bool:
        return tables.get(model.kind.name) is not model
