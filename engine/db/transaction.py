"""A transaction: reads of one snapshot with its own writes on top, committed as one.

    begin      snapshot pinned
    reads      own writes first, then the snapshot
    commit     first committer wins: ConflictError when a key it wrote was committed
               by somebody else after its snapshot; "serializable" checks what it
               read as well (a get its keys, a search, count or iteration the table)

Leaving the block commits; an exception from inside rolls back.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import numpy as np
import trio
from numpy.typing import ArrayLike, NDArray

from ...txn.buffer import BufferedRow, Change, WriteBuffer
from ...txn.writes import CommitRequest
from ...wal.blocking import run_blocking
from ...wal.errors import ClosedError, DuplicateKeyError, InputError, NotFoundError
from ...wal.types import Key, Lsn
from ..actors.view import View
from ..index.distance import Metric, distances, nearest
from ..storage.lookup import Answer
from .hits import Hits, Row
from .inputs import decoded
from .reading import SearchOptions, TableReading
from .results import WriteResult, is_one_key, one_or_many, shaped
from .source import Source
from .writing import (
    Given,
    given,
    given_dicts,
    last_of_each,
    new_payloads,
    refuse_repeated,
    result_of,
)

Isolation = Literal["snapshot", "serializable"]


class Transaction:
    """Comes from `Database.transaction`. Not to be shared between tasks."""

    def __init__(
        self, source: Source, view: View, isolation: Isolation, idempotency_key: str | None
    ) -> None:
        if isolation not in ("snapshot", "serializable"):
            raise InputError(f"isolation: expected snapshot or serializable, got {isolation!r}")
        self._source = source
        self._view = view
        self._isolation = isolation
        self._idempotency_key = idempotency_key
        self._buffer = WriteBuffer(source.limits.transaction_bytes)
        self._over = False
        self.result: WriteResult | None = None
        """What it did, once committed."""

    def __repr__(self) -> str:
        state = "over" if self._over else "open"
        return f"<Transaction {state} at LSN {self.lsn}: {self._buffer.nbytes} bytes>"

    @property
    def lsn(self) -> Lsn:
        """The last commit that its reads see."""
        return self._view.snapshot.lsn

    def _reading(self, table: str) -> TableReading:
        if self._over:
            raise ClosedError("the transaction is over: begin another")
        return TableReading(self._source, self._view, table)

    async def upsert(self, table: str, ids: Any, vectors: Any = None, payloads: Any = None) -> None:
        """Insert rows or replace those whose keys are there. See `Table.upsert` for the forms."""
        reading = self._reading(table)
        rows = await run_blocking(_given, reading, ids, vectors, payloads)
        await self._put(reading, last_of_each(rows))

    async def insert(self, table: str, ids: Any, vectors: Any = None, payloads: Any = None) -> None:
        """Insert rows; DuplicateKeyError, and nothing is buffered, when a key is there."""
        reading = self._reading(table)
        rows = await run_blocking(_given, reading, ids, vectors, payloads)
        refuse_repeated(table, rows.keys)
        there = await self._get(reading, rows.keys, vectors=False)
        for key, row in zip(rows.keys, there, strict=True):
            if row is not None:
                raise DuplicateKeyError(f"table {table!r}: key {key!r} is there already (insert)")
        await self._put(reading, rows)

    async def _put(self, reading: TableReading, rows: Given) -> None:
        """Buffer rows: in a thread, and nobody else uses the buffer meanwhile."""
        await run_blocking(
            self._buffer.put, reading.table.id, rows.keys, rows.payloads, rows.vectors
        )

    async def update_payloads(self, table: str, ids: Any, payloads: Any) -> None:
        """Replace the payloads of rows that must be there; their vectors stay."""
        reading = self._reading(table)
        keys, texts = await run_blocking(new_payloads, reading.inputs, ids, payloads)
        refuse_repeated(table, keys, "update_payloads")
        there = await self._get(reading, keys, vectors=True)
        vectors = []
        for key, row in zip(keys, there, strict=True):
            if row is None or row.vector is None:
                raise NotFoundError(f"table {table!r}: no row with key {key!r}")
            vectors.append(row.vector)
        if keys:
            await self._put(reading, Given(keys, np.stack(vectors), texts))

    async def delete(self, table: str, ids: Any) -> None:
        """Delete the rows of these keys; keys without one are passed over."""
        reading = self._reading(table)
        await trio.lowlevel.checkpoint()
        self._buffer.delete(reading.table.id, reading.inputs.keys(ids))

    async def get(self, table: str, ids: Any, *, vectors: bool = False) -> Any:
        """`Table.get`, with this transaction's writes."""
        reading = self._reading(table)
        rows = await self._get(reading, reading.inputs.keys(ids), vectors=vectors)
        return one_or_many(ids, rows)

    async def _get(
        self, reading: TableReading, keys: Sequence[Key], *, vectors: bool
    ) -> list[Row | None]:
        changes = self._buffer.changes(reading.table.id)
        unwritten = [key for key in keys if key not in changes]
        self._buffer.note_read(reading.table.id, unwritten)
        stored = dict(zip(unwritten, await reading.get(unwritten, vectors=vectors), strict=True))
        return [_row(key, changes[key], vectors) if key in changes else stored[key] for key in keys]

    async def count(self, table: str) -> int:
        """Rows of a table, with this transaction's writes."""
        reading = self._reading(table)
        self._buffer.note_read_whole(reading.table.id)
        changes = self._buffer.changes(reading.table.id)
        replaced = len(await reading.vids_of(list(changes)))
        put = sum(change is not None for change in changes.values())
        return reading.count - replaced + put

    async def iterate(self, table: str, *, vectors: bool = False) -> AsyncGenerator[Row, None]:
        """All rows of a table, those this transaction wrote last."""
        reading = self._reading(table)
        self._buffer.note_read_whole(reading.table.id)
        changes = dict(self._buffer.changes(reading.table.id))
        async with aclosing(reading.iterate(vectors=vectors)) as rows:
            async for row in rows:
                if row.id not in changes:
                    yield row
        for key, change in changes.items():
            own = _row(key, change, vectors)
            if own is not None:
                yield own

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
        """`Table.search`, with this transaction's writes: Hits, or a list of them."""
        reading = self._reading(table)
        self._buffer.note_read_whole(reading.table.id)
        options = SearchOptions(k, nprobe, accuracy, exact, index, metric)
        changes = self._buffer.changes(reading.table.id)
        hidden = await reading.vids_of(list(changes)) if changes else None
        answers = await reading.search(query, options, hidden=hidden)
        own = {key: change for key, change in changes.items() if change is not None}
        if own:
            chosen = reading.metric(options)
            vectors = reading.queries(query, chosen)
            answers = [
                _merged(answer, vector, own, chosen, k, reading.table.next_vid)
                for answer, vector in zip(answers, vectors, strict=True)
            ]
        return shaped(query, [Hits.of(answer, self.lsn) for answer in answers])

    async def commit(self) -> WriteResult:
        """Commit now; the transaction is over. ConflictError: run it again."""
        self._end()
        writes = await run_blocking(self._buffer.writes)
        if not writes:
            self.result = WriteResult(lsn=self.lsn)
            return self.result
        serializable = self._isolation == "serializable"
        request = CommitRequest(
            writes,
            self._view.snapshot.heads,
            self._buffer.reads() if serializable else {},
            self._idempotency_key,
            self._buffer.nbytes,
        )
        outcome = await self._source.supervisor().committer.commit(request)
        self.result = result_of(outcome)
        return self.result

    def rollback(self) -> None:
        """Forget its writes; the transaction is over. Twice is harmless."""
        self._over = True

    def _end(self) -> None:
        if self._over:
            raise ClosedError("the transaction is over: begin another")
        self._view.snapshot.require_fresh()
        self._over = True

    @property
    def is_over(self) -> bool:
        """Whether it was committed or rolled back."""
        return self._over


def _given(reading: TableReading, ids: Any, vectors: Any, payloads: Any) -> Given:
    if vectors is None and not is_one_key(ids):
        return given_dicts(reading.inputs, list(ids))
    return given(reading.inputs, ids, vectors, payloads)


def _row(key: Key, change: Change, vectors: bool) -> Row | None:
    if change is None:
        return None
    return Row(key, decoded(change.payload), change.vector if vectors else None)


def _merged(
    answer: Answer,
    query: NDArray[np.float32],
    own: dict[Key, BufferedRow],
    metric: Metric,
    k: int,
    first_vid: int,
) -> Answer:
    """The answer with the transaction's own rows, which count as the youngest."""
    mine = distances(metric, query, np.stack([row.vector for row in own.values()]))
    keys = [*answer.keys, *own]
    payloads = [*answer.payloads, *(row.payload for row in own.values())]
    vids = np.concatenate([answer.vids, np.arange(first_vid, first_vid + len(own))])
    both = np.concatenate([answer.distances, mine])
    order = nearest(both, vids, k)
    return answer._replace(
        vids=vids[order],
        distances=both[order],
        rows_scanned=answer.rows_scanned + len(own),
        keys=[keys[position] for position in order],
        payloads=[payloads[position] for position in order],
    )
