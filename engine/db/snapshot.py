"""A snapshot: reads of one committed state, rows and indexes alike, for as long as it is open."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import trio
from numpy.typing import ArrayLike

from ...wal.types import Lsn
from ..actors.view import View
from ..index.distance import Metric
from .hits import Hits, Row
from .reading import SearchOptions, TableReading
from .results import one_or_many, shaped
from .source import Source


class Snapshot:
    """Comes from `Database.snapshot`; every method reads the same state."""

    def __init__(self, source: Source, view: View) -> None:
        self._source = source
        self.view = view

    def __repr__(self) -> str:
        return f"<Snapshot at LSN {self.lsn}>"

    @property
    def lsn(self) -> Lsn:
        """The last commit it sees."""
        return self.view.snapshot.lsn

    def reading(self, table: str) -> TableReading:
        """A table in this state; NotFoundError when it was not there yet, or no longer."""
        return TableReading(self._source, self.view, table)

    async def search(
        self,
        table: str,
        query: ArrayLike,
        k: int = 10,
        *,
        nprobe: int | None = None,
        accuracy: float | None = None,
        exact: bool = False,
        index: str | None = None,
        metric: Metric | None = None,
    ) -> Any:
        """`Table.search` in this state: Hits, or a list of them for a batch."""
        options = SearchOptions(k, nprobe, accuracy, exact, index, metric)
        answers = await self.reading(table).search(query, options)
        return shaped(query, [Hits.of(answer, self.lsn) for answer in answers])

    async def get(self, table: str, ids: Any, *, vectors: bool = False) -> Any:
        """`Table.get` in this state."""
        reading = self.reading(table)
        return one_or_many(ids, await reading.get(reading.inputs.keys(ids), vectors=vectors))

    async def count(self, table: str) -> int:
        """Rows of a table in this state."""
        await trio.lowlevel.checkpoint()
        return self.reading(table).count

    async def iterate(self, table: str, *, vectors: bool = False) -> AsyncGenerator[Row, None]:
        """All rows of a table in this state, oldest version first."""
        async with aclosing(self.reading(table).iterate(vectors=vectors)) as rows:
            async for row in rows:
                yield row
