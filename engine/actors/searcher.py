"""The Searcher: takes searches, answers them in worker threads, many at a time as one.

    searches    s1        s2 s3 s4 s5          s6
    workers     [ s1 ]    |
                  [ s2 ]  gathered while both are busy
                       [ s3 s4 s5 ]            one pass over the partitions they share

A search with one query is answered on the event loop while those inside are quick together
(`quick`). Any other starts at once, in its caller's task, while nobody waits and there are no more
searches than workers. Else searches that ask the same thing of the same state (index,
snapshot, effort, k) wait together and become one batch, so that a partition is
brought in once for all.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import trio

from ...txn.deaths import Visibility
from ...wal.blocking import is_substituted
from ...wal.catalog import TableRow
from ...wal.errors import ClosedError, CorruptError
from ..storage.blocks import NotCached
from ..storage.lookup import Answer, IndexProbe, Query, search_exactly, search_index
from .promise import Promise, put
from .quick import Kind, Quick
from .state import State
from .wide import unwrapped

QUERIES_A_BATCH = 256
INBOX = 1_024

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Search:
    """A request: what `search_index` takes, and the promise of its answers."""

    table: TableRow
    visibility: Visibility
    query: Query
    probe: IndexProbe
    promise: Promise[list[Answer]] = field(default_factory=Promise)

    def alike(self) -> tuple[Any, ...]:
        """Requests that are equal in this can be answered in one pass."""
        probe, query = self.probe, self.query
        return (
            self.visibility.batch_key(),
            probe.generation.row.id,
            id(probe.search),
            probe.nprobe,
            id(probe.rules),
            probe.accuracy,
            query.metric,
            query.k,
            query.with_rows,
        )

    def kind(self) -> Kind:
        """Requests that are equal in this take about as long."""
        probe, query = self.probe, self.query
        return (probe.generation.row.id, probe.nprobe, probe.accuracy, query.k, query.with_rows)


@dataclass(frozen=True)
class LookUp:
    """Effect: answer these requests together."""

    requests: Sequence[Search]


class Searcher:
    """See the module. `run` is its task; `search` is called by others' tasks."""

    def __init__(self, state: State, workers: int) -> None:
        self._state = state
        self._workers = workers
        self._free = trio.Semaphore(workers)
        """Workers that are not busy."""
        self._send, self._receive = trio.open_memory_channel[Search](INBOX)
        self._waiting: list[Search] = []
        """Requests taken from the inbox; no more than the inbox holds."""
        self._ended = False
        """Set by the task when it ends: nothing is looked up any more."""
        self._inside = 0
        """Searches that have come and are not answered."""
        self._quick = Quick()

    def __repr__(self) -> str:
        return f"<Searcher: {len(self._waiting)} waiting, {self._free.value} workers free>"

    async def search(self, request: Search) -> list[Answer]:
        """Answer a request: one Answer a query vector."""
        self._inside += 1
        try:
            await trio.lowlevel.checkpoint()  # those that came together are all inside after it
            answers = self._answer_here(request)
            return answers if answers is not None else await self._answer_elsewhere(request)
        finally:
            self._inside -= 1

    def _answer_here(self, request: Search) -> list[Answer] | None:
        """Answer a request on the event loop; None if it must not be."""
        kind, pool = request.kind(), self._state.pool
        if self._ended or len(request.query.vectors) > 1 or is_substituted():
            return None
        if not self._quick.allows(kind, self._inside) or not pool.can_read_here:
            return None
        try:
            answers, took_s = pool.read_here(
                partial(self._looking_up(request, request.query), loads=False)
            )
        except (CorruptError, NotCached):
            return None  # a worker has time for it
        self._quick.note(kind, took_s)
        return answers

    async def _answer_elsewhere(self, request: Search) -> list[Answer]:
        many = self._waiting or self._inside > self._workers
        if many or self._ended or not self._take_worker():
            await self._queue(request)
        elif request.promise.take():
            await self._carry_out(LookUp([request]))
        return await request.promise.wait()

    async def _queue(self, request: Search) -> None:
        try:
            await put(self._send, request)
        except trio.BrokenResourceError:
            self._state.require_sound()
            raise ClosedError("the database is closed") from None

    def _take_worker(self) -> bool:
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            return False
        return True

    async def run(self) -> None:
        """The task: until it is cancelled."""
        try:
            with unwrapped():
                await self._take_and_answer()
        except Exception as error:
            self._state.die(error)
            raise
        finally:
            self._refuse_all()

    async def _take_and_answer(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                if not self._waiting:
                    self._waiting.append(await self._receive.receive())
                await self._free.acquire()
                self._drain()
                nursery.start_soon(self._carry_out, self.step())

    def _drain(self) -> None:
        while len(self._waiting) < INBOX:
            try:
                self._waiting.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                return

    def step(self) -> LookUp:
        """Take the oldest request and those that can go with it, but leave the others their share.

        All in one batch would have the workers wait while its answers become new requests.
        """
        alike = self._waiting[0].alike()
        chosen: list[Search] = []
        left: list[Search] = []
        there = max(self._inside, len(self._waiting))
        room = min(QUERIES_A_BATCH, -(-there // self._workers))
        for request in self._waiting:
            fits = not chosen or len(request.query.vectors) <= room
            if fits and request.alike() == alike:
                chosen.append(request)
                room -= len(request.query.vectors)
            else:
                left.append(request)
        self._waiting = left
        return LookUp([request for request in chosen if request.promise.take()])

    async def _carry_out(self, effect: LookUp) -> None:
        try:
            if effect.requests:
                await self._answer(effect.requests)
        finally:
            self._free.release()

    async def _answer(self, requests: Sequence[Search]) -> None:
        try:
            with trio.CancelScope(shield=True):
                answers = await self._look_up(requests)
        except Exception as error:  # noqa: BLE001 - it becomes the answer of the waiting callers
            for request in requests:
                request.promise.fail(error)
            return
        for request in requests:
            n = len(request.query.vectors)
            request.promise.keep(answers[:n])
            del answers[:n]

    async def _look_up(self, requests: Sequence[Search]) -> list[Answer]:
        first = requests[0]
        vectors = np.concatenate([request.query.vectors for request in requests])
        query = replace(first.query, vectors=vectors)
        state = self._state
        try:
            answers, took_s = await state.pool.read(self._looking_up(first, query))
        except CorruptError as error:  # a damaged index costs time; a damaged row raises again
            log.warning("index %s: %s; searching exactly", first.probe.generation.row.index, error)
            return await search_exactly(
                state.pool.read, state.cache, first.table, first.visibility, query
            )
        if self._inside == 1 and len(vectors) == 1:
            self._quick.note(first.kind(), took_s)
        return answers

    def _looking_up(self, first: Search, query: Query) -> Callable[..., tuple[list[Answer], float]]:
        """What answers a query on a connection, and says how many seconds that took."""
        return partial(
            _timed,
            cache=self._state.cache,
            table=first.table,
            visibility=first.visibility,
            query=query,
            probe=first.probe,
        )

    def _refuse_all(self) -> None:
        self._ended = True
        self._drain()
        self._receive.close()
        error = self._state.failed or ClosedError("the database was closed during the search")
        for request in self._waiting:
            request.promise.fail(error)


def _timed(connection: sqlite3.Connection, **asked: Any) -> tuple[list[Answer], float]:
    started_s = perf_counter()
    answers = search_index(connection, **asked)
    return answers, perf_counter() - started_s
