"""The committed state as memory holds it: one immutable head per table, replaced as a whole.

A snapshot is a reference to one `Heads`; nothing in it ever changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..wal.catalog import TableRow
from ..wal.types import Lsn, TableId


@dataclass(frozen=True)
class Heads:
    """What is committed at `lsn`. `tables` has the tables that exist then, by id."""

    lsn: Lsn
    tables: Mapping[TableId, TableRow] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, lsn: Lsn, rows: list[TableRow]) -> "Heads":
        """From the rows of the file; dropped tables are left out."""
        present = {row.id: row for row in rows if row.dropped_lsn is None}
        return cls(lsn, MappingProxyType(present))

    def by_name(self, name: str) -> TableRow | None:
        """The table called `name`, if there is one."""
        return next((row for row in self.tables.values() if row.name == name), None)
