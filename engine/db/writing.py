"""Writes outside of a transaction: any size, cut into commits of about 1 MB.

    call     |------------------- rows ------------------|
    prepare  [ 0..930 ][ 931..1860 ][ ...                    in a worker thread, one ahead
    commit             [ lsn 7     ][ lsn 8   ] ...          each atomic, durable when answered

All of the call is checked before its first row is written, but for an iterable,
which is checked as it is read. What went in before an error is on the error:
`error.written`. A single row is checked and prepared where it is given: a thread for
it would cost more than the work.
"""

from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np
import trio
from numpy.typing import NDArray

from ...txn.writes import CommitRequest, Operation, Outcome, PayloadWrite, Write
from ...wal.blocking import run_blocking
from ...wal.catalog import TableRow
from ...wal.errors import CentroiDBError, DuplicateKeyError, InputError
from ...wal.rows import Rows, parts
from ...wal.types import Key
from ..actors.committer import Committer
from ..actors.wide import unwrapped
from .inputs import Inputs
from .results import WriteResult, is_one_key

T = TypeVar("T")

ROW_OVERHEAD_BYTES = 64

IfPresent = Literal["replace", "refuse"]


@dataclass(frozen=True)
class Given:
    """Rows as checked: keys, vectors float32 (n, d), payloads as JSON texts."""

    keys: Sequence[Key]
    vectors: NDArray[np.float32]
    payloads: Sequence[str | None]

    def part(self, start: int, end: int) -> "Given":
        """The rows from `start` to before `end`."""
        return Given(self.keys[start:end], self.vectors[start:end], self.payloads[start:end])


def given(inputs: Inputs, ids: Any, vectors: Any, payloads: Any) -> Given:
    """Check rows given as arrays, or as one row."""
    if vectors is None:
        raise InputError("vectors: expected one a key, got None")
    one = is_one_key(ids)
    keys = inputs.keys([ids] if one else ids)
    if not keys and not np.size(vectors):
        return Given([], np.empty((0, 0), np.float32), [])
    checked = inputs.vectors(vectors)
    inputs.same_length(keys, checked)
    if one and payloads is not None:
        payloads = [payloads]
    return Given(keys, checked, inputs.payloads(payloads, len(keys)))


def new_payloads(inputs: Inputs, ids: Any, payloads: Any) -> tuple[list[Key], list[str | None]]:
    """Check keys, or one key, and a payload for each."""
    keys = inputs.keys(ids)
    return keys, inputs.payloads([payloads] if is_one_key(ids) else payloads, len(keys))


def given_dicts(inputs: Inputs, dicts: Sequence[Mapping[str, Any]]) -> Given:
    """Check rows given as mappings with `id`, `vector` and perhaps `payload`."""
    for row, each in enumerate(dicts):
        names = set(each) if isinstance(each, Mapping) else None
        if names is None or not {"id", "vector"} <= names <= {"id", "vector", "payload"}:
            raise InputError(
                f"row {row}: expected a mapping with id, vector and perhaps payload, "
                f"got {sorted(map(str, names)) if names is not None else type(each).__name__}"
            )
    return given(
        inputs,
        [each["id"] for each in dicts],
        [each["vector"] for each in dicts],
        [each.get("payload") for each in dicts],
    )


def last_of_each(rows: Given) -> Given:
    """Without the rows whose key comes again later in the call."""
    last = {key: position for position, key in enumerate(rows.keys)}
    if len(last) == len(rows.keys):
        return rows
    kept = sorted(last.values())
    return Given(
        [rows.keys[position] for position in kept],
        rows.vectors[kept],
        [rows.payloads[position] for position in kept],
    )


def refuse_repeated(table: str, keys: Sequence[Key], call: str = "insert") -> None:
    """Raise DuplicateKeyError when a key comes twice in one call."""
    seen: set[Key] = set()
    for key in keys:
        if key in seen:
            raise DuplicateKeyError(f"table {table!r}: key {key!r} comes twice in one {call}")
        seen.add(key)


class TableWriting:
    """Writes to one table through the Committer."""

    def __init__(
        self, committer: Committer, table: TableRow, inputs: Inputs, chunk_bytes: int
    ) -> None:
        self._committer = committer
        self._table = table
        self._inputs = inputs
        self._chunk_bytes = chunk_bytes
        self._rows_a_chunk = max(1, chunk_bytes // (4 * table.dim + ROW_OVERHEAD_BYTES))

    async def put(
        self, ids: Any, vectors: Any, payloads: Any, if_present: IfPresent, key: str | None
    ) -> WriteResult:
        """Insert or replace rows given in any of the forms of `Table.upsert`."""
        if vectors is None and not is_one_key(ids):
            chunks = self._chunks_of_dicts(iter(ids), if_present)
        else:
            check = partial(self._checked, ids, vectors, payloads, if_present)
            chunks = self._chunks(await _where_it_pays(ids, check), if_present)
        return await self._commit_all(ids, chunks, key)

    def _checked(self, ids: Any, vectors: Any, payloads: Any, if_present: IfPresent) -> Given:
        return self._distinct(given(self._inputs, ids, vectors, payloads), if_present)

    def _distinct(self, rows: Given, if_present: IfPresent) -> Given:
        if len(rows.keys) == 1:
            return rows
        if if_present == "refuse":
            refuse_repeated(self._table.name, rows.keys)
        return last_of_each(rows)

    def _chunks(self, rows: Given, if_present: IfPresent) -> Iterator[CommitRequest]:
        for start, end in self._cuts(rows):
            yield self._request(rows.part(start, end), if_present)

    def _cuts(self, rows: Given) -> Iterator[tuple[int, int]]:
        """Where a chunk ends: after so many rows, or earlier when payloads are long."""
        start, nbytes = 0, 0
        for position, payload in enumerate(rows.payloads):
            nbytes += len(payload or "")
            if position - start >= self._rows_a_chunk or nbytes > self._chunk_bytes:
                if position > start:
                    yield start, position
                start, nbytes = position, len(payload or "")
        if start < len(rows.keys):
            yield start, len(rows.keys)

    def _chunks_of_dicts(
        self, dicts: Iterator[Mapping[str, Any]], if_present: IfPresent
    ) -> Iterator[CommitRequest]:
        while some := list(islice(dicts, self._rows_a_chunk)):
            rows = given_dicts(self._inputs, some)
            for start, end in self._cuts(rows):
                part = self._distinct(rows.part(start, end), if_present)
                yield self._request(part, if_present)

    def _request(self, rows: Given, if_present: IfPresent) -> CommitRequest:
        prepared = Rows.of(rows.keys, rows.payloads, rows.vectors)
        write = Write(self._table.id, prepared, if_present=if_present)
        nbytes = rows.vectors.nbytes + sum(len(payload or "") for payload in rows.payloads)
        return CommitRequest([write], nbytes=nbytes)

    async def delete(self, ids: Any, key: str | None) -> WriteResult:
        """Delete the rows of these keys; keys without one are passed over."""
        checked = await _where_it_pays(ids, partial(self._inputs.keys, ids))
        keys = list(dict.fromkeys(checked))
        chunks = (
            _one(Write(self._table.id, deletes=some), ROW_OVERHEAD_BYTES * len(some))
            for some in parts(keys, self._rows_a_chunk)
        )
        return await self._commit_all(ids, chunks, key)

    async def update_payloads(self, ids: Any, payloads: Any, key: str | None) -> WriteResult:
        """Replace the payloads of rows that must be there."""
        check = partial(new_payloads, self._inputs, ids, payloads)
        keys, texts = await _where_it_pays(ids, check)
        refuse_repeated(self._table.name, keys, "update_payloads")
        step = self._rows_a_chunk
        chunks = (
            _one(
                PayloadWrite(self._table.id, keys[at : at + step], texts[at : at + step]),
                self._chunk_bytes,
            )
            for at in range(0, len(keys), step)
        )
        return await self._commit_all(ids, chunks, key)

    async def _commit_all(
        self, ids: Any, chunks: Iterable[CommitRequest], key: str | None
    ) -> WriteResult:
        written = _Written(self._committer, key)
        try:
            if is_one_key(ids):
                for request in chunks:
                    await written.commit(request)
            else:
                async with prepared_ahead(iter(chunks)) as ready:
                    async for request in ready:
                        await written.commit(request)
        except CentroiDBError as error:
            error.written = done = written.result
            if done.lsn:
                error.add_note(f"before this error {done} was committed")
            raise
        return written.result


class _Written:
    """The commits of a call that are in."""

    def __init__(self, committer: Committer, key: str | None) -> None:
        self.result = WriteResult()
        self._committer = committer
        self._key = key
        self._count = 0

    async def commit(self, request: CommitRequest) -> None:
        """Commit the next of them."""
        outcome = await self._committer.commit(_named(request, self._key, self._count))
        self.result += result_of(outcome)
        self._count += 1


async def _where_it_pays(ids: Any, check: Callable[[], T]) -> T:
    """What the check returns: for one key here, else in a worker thread."""
    return check() if is_one_key(ids) else await run_blocking(check)


def _one(operation: Operation, nbytes: int) -> CommitRequest:
    return CommitRequest([operation], nbytes=nbytes)


def _named(request: CommitRequest, key: str | None, number: int) -> CommitRequest:
    """The request with the idempotency key of its chunk."""
    if key is None:
        return request
    chunk_key = f"{key}#{number}"
    return CommitRequest(request.operations, idempotency_key=chunk_key, nbytes=request.nbytes)


def result_of(outcome: Outcome) -> WriteResult:
    """What a commit did, as users see it."""
    return WriteResult(outcome.inserted, outcome.updated, outcome.deleted, outcome.lsn)


@asynccontextmanager
async def prepared_ahead(
    chunks: Iterator[CommitRequest],
) -> AsyncIterator[trio.MemoryReceiveChannel[CommitRequest]]:
    """The chunks, each prepared in a worker thread while the one before is committed.

    A chunk that cannot be prepared raises when those before it are in, never in the
    middle of a commit: the caller could not say what that commit did.
    """
    send, receive = trio.open_memory_channel[CommitRequest](0)
    failed: list[Exception] = []

    async def prepare() -> None:
        with send:  # not `async with`: a checkpoint on the way out could lose an error
            try:
                while (request := await run_blocking(_next, chunks)) is not None:
                    await send.send(request)
            except Exception as error:  # noqa: BLE001 - raised below, when it is its turn
                failed.append(error)

    with unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepare)
            yield receive
            nursery.cancel_scope.cancel()
    if failed:
        raise failed[0]


def _next(chunks: Iterator[CommitRequest]) -> CommitRequest | None:
    return next(chunks, None)
