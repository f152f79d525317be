"""Where a group of commits stands, and what memory must learn once it is committed."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..wal.catalog import TableRow
from ..wal.rows import Rows
from ..wal.types import Lsn, TableId, Vid
from .head import Heads


@dataclass(frozen=True)
class Born:
    """Rows that a commit added to a table."""

    lsn: Lsn
    table: TableId
    first_vid: Vid
    rows: Rows


@dataclass(frozen=True)
class Ended:
    """Versions that a commit ended. vids: int64 ascending."""

    lsn: Lsn
    table: TableId
    vids: NDArray[np.int64]


@dataclass(frozen=True)
class Progress:
    """Where a group stands: provisional until its COMMIT, so an old one is a way back."""

    heads: Heads
    last_crc: int
    born: tuple[Born, ...] = ()
    ended: tuple[Ended, ...] = ()

    def with_head(self, head: TableRow) -> Self:
        """With another head of a table, at the same LSN."""
        tables = MappingProxyType({**self.heads.tables, head.id: head})
        return replace(self, heads=Heads(self.heads.lsn, tables))

    def at(self, lsn: Lsn) -> Self:
        """At another LSN, with the same tables."""
        return replace(self, heads=Heads(lsn, self.heads.tables))
