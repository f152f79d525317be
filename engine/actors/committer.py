"""The Committer: the one that writes.

It owns the write connection, the next LSN and the next vids. It drains its
inbox and writes what has come as one group: one SQLite transaction, one fsync,
however many waited.

    inbox     c1 c2 chore c3 ...
    turn 1    [ group: c1 c2 c3 ]  publish, answer
    turn 2    [ chore: a slice of at most 1 MB ]
    turn 3    [ backfill, when SQLite's WAL has grown ]      the readers' gate closes
    turn 4    [ group: c4 ]                                  while they drain
    turn 5    [ checkpoint ]                                 the gate opens

Others hand it their writes as chores: segments, folds, truncation, drops, the
swap. Commits go first, but a chore gets its turn when the commits since the
last one took four times as long as it did: about a fifth of the time is theirs.

Nothing else happens during a turn: between the moment a chore `start`s and the
moment it has `finish`ed, the committed state does not change.
"""

import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio

from ...txn.errors import SnapshotTooOldError
from ...txn.group import GroupResult, commit, roll_back, write_group
from ...txn.progress import Progress
from ...txn.writes import CommitRequest, Outcome
from ...wal.blocking import run_blocking
from ...wal.errors import (
    CentroiDBError,
    ClosedError,
    CommitOutcomeUnknown,
    RetryError,
    translate,
)
from .promise import Promise, put
from .state import State

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

CHORE_SHARE = 4.0
"""Commits get this many times the time of chores while both wait."""


@dataclass(frozen=True, eq=False)
class Commit:
    """A request to commit."""

    request: CommitRequest
    published: Callable[[Outcome], None] | None = None
    """Called on the event loop in the turn that made it visible."""
    promise: Promise[Outcome] = field(default_factory=Promise)


@dataclass(frozen=True, eq=False)
class Chore:
    """A write that is not a commit, in a transaction of its own.

    `start` runs on the event loop in the turn and returns what the writing
    thread is to do; `finish` gets its result, on the event loop, in the same
    turn. What `finish` returns is the answer.
    """

    start: Callable[[], Callable[[sqlite3.Connection], Any]]
    finish: Callable[[Any], Any]
    promise: Promise[Any] = field(default_factory=Promise)


@dataclass(frozen=True)
class WriteGroup:
    """Effect: write these commits as one group."""

    commits: list[Commit]


@dataclass(frozen=True)
class RunChore:
    """Effect: run this chore."""

    chore: Chore


@dataclass(frozen=True)
class Backfill:
    """Effect: copy what SQLite's WAL holds into the file, beside readers, and close their gate."""


@dataclass(frozen=True)
class Checkpoint:
    """Effect: no reader runs: empty SQLite's WAL, and open the gate."""


@dataclass(frozen=True, eq=False)
class WantCheckpoint:
    """A request to empty SQLite's WAL."""

    promise: Promise[None] = field(default_factory=Promise)


@dataclass(frozen=True)
class Drained:
    """A nudge: the last reader has ended."""


Effect = WriteGroup | RunChore | Backfill | Checkpoint
Request = Commit | Chore | WantCheckpoint
Message = Request | Drained


class Committer:
    """See the module. `run` is its task; `commit` and `do` are called by others' tasks."""

    def __init__(self, state: State, indexer_wake: Callable[[], None]) -> None:
        self._state = state
        self._indexer_wake = indexer_wake
        self._send, self._receive = trio.open_memory_channel[Message](state.limits.queue_requests)
        """The inbox, bounded: whoever finds it full waits."""
        self._commits: deque[Commit] = deque()
        self._chores: deque[Chore] = deque()
        self._checkpoints: list[WantCheckpoint] = []
        """Who waits for a checkpoint."""
        self._draining = False
        """From a backfill to its checkpoint: the readers' gate is closed."""
        self._chore_credit_s = 0.0
        """Time owed to chores; grows while commits go first."""
        self._checkpoint_at_bytes = state.limits.sqlite_wal_bytes

    def __repr__(self) -> str:
        return f"<Committer: {len(self._commits)} commits, {len(self._chores)} chores waiting>"

    async def commit(
        self, request: CommitRequest, published: Callable[[Outcome], None] | None = None
    ) -> Outcome:
        """Commit `request`, waiting first while an index lags too far behind."""
        self._state.require_writable()
        await self._wait_for_indexes(request)
        outcome: Outcome = await self._ask(Commit(request, published))
        return outcome

    async def do(
        self,
        start: Callable[[], Callable[[sqlite3.Connection], T]],
        finish: Callable[[T], R],
    ) -> R:
        """Run a chore and return what `finish` made of it."""
        answer: R = await self._ask(Chore(start, finish))
        return answer

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a chore that needs nothing from the event loop."""
        return await self.do(lambda: work, lambda result: result)

    async def checkpoint(self) -> None:
        """Make a checkpoint now."""
        await self._ask(WantCheckpoint())

    async def _ask(self, message: Request) -> Any:
        self._state.require_sound()
        try:
            await put(self._send, message)
        except trio.BrokenResourceError:
            self._state.require_sound()
            raise ClosedError("the database is closed") from None
        return await message.promise.wait()

    async def _wait_for_indexes(self, request: CommitRequest) -> None:
        began = time.perf_counter()
        for brake in list(self._state.brakes):
            if rows := request.new_rows(brake.table):
                await brake.wait(rows)
        while self._is_far_behind():
            await self._state.filed.wait()
            self._state.require_writable()
        self._state.require_writable()
        self._state.waited_s += time.perf_counter() - began

    def _is_far_behind(self) -> bool:
        rows, nbytes = self._state.lag()
        return rows > self._state.limits.lag_rows or nbytes > self._state.limits.lag_bytes

    async def run(self) -> None:
        """The task: until it is cancelled."""
        try:
            with trio.CancelScope() as work:
                while True:
                    self._take(await self._receive.receive())
                    work.shield = True  # a turn is never cut short
                    await self._work_off()
                    work.shield = False
        except Exception as error:
            self._state.die(error)
            raise
        finally:
            self._refuse_all()

    async def _work_off(self) -> None:
        """Carry out effects until nothing waits."""
        while True:
            self._drain()
            effect = self.step()
            if effect is None:
                return
            await self._carry_out(effect)

    def _take(self, message: Message) -> None:
        match message:
            case Commit():
                self._commits.append(message)
            case Chore():
                self._chores.append(message)
            case WantCheckpoint():
                self._checkpoints.append(message)
            case Drained():
                pass  # `step` asks the pool

    def _drain(self) -> None:
        while len(self._commits) < self._state.limits.queue_requests:
            try:
                self._take(self._receive.receive_nowait())
            except trio.WouldBlock:
                return

    def step(self) -> Effect | None:
        """Decide the next turn; takes from the queues what it will carry out."""
        if self._draining and self._state.pool.is_drained:
            return Checkpoint()
        if not self._draining and self._wants_checkpoint():
            return Backfill()
        if not self._commits or self._chore_credit_s > 0:
            chore = self._next_chore()
            if chore is not None:
                return RunChore(chore)
        group = self._next_group()
        if group:
            return WriteGroup(group)
        chore = self._next_chore()  # all commits were withdrawn
        return RunChore(chore) if chore is not None else None

    def _wants_checkpoint(self) -> bool:
        """Whether the WAL has grown enough, or somebody who still waits has asked."""
        self._checkpoints = [each for each in self._checkpoints if each.promise.take()]
        wal_bytes = self._state.file.sqlite_wal_bytes()
        cut_at = wal_bytes + self._state.limits.sqlite_wal_bytes
        self._checkpoint_at_bytes = min(self._checkpoint_at_bytes, cut_at)  # it may have been cut
        return wal_bytes >= self._checkpoint_at_bytes or bool(self._checkpoints)

    def _next_chore(self) -> Chore | None:
        """The first that was not withdrawn."""
        while self._chores:
            chore = self._chores.popleft()
            if chore.promise.take():
                return chore
        return None

    def _next_group(self) -> list[Commit]:
        group: list[Commit] = []
        nbytes = 0
        while self._commits and nbytes < self._state.limits.group_bytes:
            message = self._commits.popleft()
            if message.promise.take() and self._can_judge(message):
                group.append(message)
                nbytes += message.request.nbytes
        return group

    def _can_judge(self, message: Commit) -> bool:
        """Whether a conflict would show: of versions that are purged nothing tells any more."""
        since, deaths = message.request.since, self._state.deaths
        for table in since.tables if since is not None else ():
            if since is not None and table in deaths and deaths[table].purged_until > since.lsn:
                message.promise.fail(SnapshotTooOldError.of(since.lsn))
                return False
        return True

    async def _carry_out(self, effect: Effect) -> None:
        began = time.perf_counter()
        if isinstance(effect, WriteGroup):
            await self._write_group(effect.commits)
            self._chore_credit_s += (time.perf_counter() - began) / CHORE_SHARE
        elif isinstance(effect, RunChore):
            await self._run_chore(effect.chore)
            self._chore_credit_s = min(0.0, self._chore_credit_s - (time.perf_counter() - began))
        elif isinstance(effect, Backfill):
            await self._backfill()
        else:
            await self._checkpoint()

    async def _write_group(self, commits: list[Commit]) -> None:
        state = self._state
        before = Progress(state.heads, state.last_crc)
        requests = [message.request for message in commits]
        try:
            state.require_sound()
            state.file.require_in_place()
            result = await run_blocking(write_group, state.file.writer, before, requests)
        except Exception as error:  # noqa: BLE001 - it becomes the answer of every waiting caller
            self._refuse(commits, error)
            return
        try:
            self._publish(commits, result)
        except Exception as error:
            for message in commits:  # it is committed, but nobody can be told what
                message.promise.fail(CommitOutcomeUnknown(f"publishing failed: {error!r}"))
            raise

    def _publish(self, commits: list[Commit], result: GroupResult) -> None:
        self._state.publish(result.progress)
        for message, answer in zip(commits, result.answers, strict=True):
            if isinstance(answer, Outcome):
                if message.published is not None:
                    message.published(answer)
                message.promise.keep(answer)
            else:
                message.promise.fail(answer)
        self._indexer_wake()

    def _refuse(self, messages: list[Commit] | list[Chore], error: Exception) -> None:
        typed = self._typed(error)
        for message in messages:
            message.promise.fail(typed)
        if not isinstance(typed, CentroiDBError):
            raise error

    def _typed(self, error: Exception) -> Exception:
        """The error callers get; one that the disk reported also stops the writes."""
        typed = translate(error, "writing") or error
        io_error = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR
        if isinstance(typed, CommitOutcomeUnknown) or io_error:
            assert isinstance(typed, CentroiDBError)
            self._state.fail(typed)
        return typed

    async def _run_chore(self, chore: Chore) -> None:
        try:
            self._state.require_sound()
            work = chore.start()
            result = await run_blocking(_in_transaction, self._state.file.writer, work)
            chore.promise.keep(chore.finish(result))
        except Exception as error:  # noqa: BLE001 - it becomes the answer of the waiting caller
            self._refuse([chore], error)

    async def _backfill(self) -> None:
        """The long part of a checkpoint, while readers go on; then they drain."""
        if await self._attempted(self._state.file.backfill):
            self._draining = True
            self._state.pool.close_gate(self._nudge)
        else:
            self._end_checkpoint()

    def _nudge(self) -> None:
        """The last reader has ended; a full inbox wakes the task anyway."""
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._send.send_nowait(Drained())

    async def _checkpoint(self) -> None:
        """The short part: what came since the backfill.

        Beside a foreign reader the WAL can not be emptied and grows on for a while.
        """
        await self._attempted(self._state.file.checkpoint)
        self._end_checkpoint()

    async def _attempted(self, work: Callable[[], object]) -> bool:
        """Whether the work was done; a disk that fails stops the writes."""
        try:
            await run_blocking(work)
        except RetryError as error:
            log.warning("the WAL grows on: %s", error)  # no room, or somebody's lock
            return False
        except CentroiDBError as error:
            self._state.fail(error)
            return False
        return True

    def _end_checkpoint(self) -> None:
        """Readers go on, and whoever waited for it is answered."""
        self._draining = False
        self._state.pool.open_gate()
        limit = self._state.limits.sqlite_wal_bytes
        self._checkpoint_at_bytes = self._state.file.sqlite_wal_bytes() + limit
        waiting, self._checkpoints = self._checkpoints, []
        for message in waiting:
            if self._state.failed is None:
                message.promise.keep(None)
            else:
                message.promise.fail(self._state.failed)

    def _refuse_all(self) -> None:
        """The task ends: whoever waits, or comes later, gets an error instead of silence."""
        if self._draining:
            self._state.pool.open_gate()
        error = self._state.failed or ClosedError("the database was closed while the call waited")
        left: list[Message] = [*self._commits, *self._chores, *self._checkpoints]
        with contextlib.suppress(trio.WouldBlock):
            while True:
                left.append(self._receive.receive_nowait())
        self._receive.close()
        for message in left:
            if not isinstance(message, Drained):
                message.promise.fail(error)


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
    except BaseException:
        roll_back(connection)
        raise
    commit(connection)
    return result
