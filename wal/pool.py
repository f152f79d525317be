"""The pool of readers, and the gate that lets a checkpoint finish.

A reader holds a SQLite read transaction only for one call, or on the event loop
for one statement, and each is short by construction. Even so, a WAL that always
has *some* reader never resets and grows without end. So once in a while the gate
closes: new calls wait, running ones drain, one checkpoint completes, the gate
opens. Writing goes on while they drain.

    calls    ==  ===   ==|===       |===  ==
               ==   === =|=         |==  ===
    gate     open        closed     open
    writer   .. .  . .. . .  .. ckpt . ..
"""

import math
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from .blocking import run_blocking
from .calls import Calls
from .errors import ClosedError, translated

T = TypeVar("T")


class ReaderPool:
    """Connections that only read. All its fields belong to the event loop's thread."""

    def __init__(self, open_reader: Callable[[], sqlite3.Connection], size: int) -> None:
        self._open_reader = open_reader
        self._slots = trio.Semaphore(size, max_value=size)
        """One for each call that may run at a time."""
        self._idle: list[sqlite3.Connection] = []
        """Connections between two calls."""
        self._running = 0
        """Calls in a worker thread now."""
        self._gate = trio.Event()
        """Set while the gate is open."""
        self._on_drained: Callable[[], None] = _nothing
        """Called when the gate is closed and the last running call has ended."""
        self._alone = Calls()
        """Those on connections of their own."""
        self._gate.set()
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self._gate.is_set() else "draining"
        return f"<ReaderPool {state}: {self._running} running, {len(self._idle)} idle>"

    async def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn(connection)` in a worker thread, inside one read transaction."""
        async with self._slot():
            while not self._gate.is_set():  # it may close again before this task has its turn
                await self._gate.wait()
            if self.closed:
                raise ClosedError("the database is closed")
            self._running += 1
            try:
                return await self._read(fn)
            finally:
                self._running -= 1
                if self.is_drained:
                    self._on_drained()

    @property
    def can_read_here(self) -> bool:
        """Whether a call could run at once, on a connection that is open already."""
        return bool(self._idle and self._slots.value and self._gate.is_set() and not self.closed)

    def read_here(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn(connection)` in this thread, each statement by itself: see `can_read_here`.

        A transaction would cost what a short search takes, and rows that a snapshot sees never
        change. Nothing else happens on the event loop meanwhile, so `fn` must be short.
        """
        with translated("reading"):
            return fn(self._idle[-1])

    async def read_alone(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on a connection of its own, if it takes its time: only closing waits for it."""
        if self.closed:
            raise ClosedError("the database is closed")
        with self._alone.one():
            return await run_blocking(read_once, self._open_reader, fn)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            self._slots.acquire_nowait()  # most often; waiting for nothing would cost a turn
        except trio.WouldBlock:
            await self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    async def _read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle.pop() if self._idle else await run_blocking(self._open_reader)
        try:
            return await run_blocking(_in_transaction, connection, fn)
        finally:
            self._idle.append(connection)

    @property
    def is_drained(self) -> bool:
        """Whether the gate is closed and no call runs."""
        return not self._gate.is_set() and not self._running

    def close_gate(self, on_drained: Callable[[], None]) -> None:
        """Calls wait from now on, until `open_gate`; `on_drained` is called when none runs."""
        if self._gate.is_set():
            self._gate = trio.Event()
        self._on_drained = on_drained
        if self.is_drained:
            on_drained()

    def open_gate(self) -> None:
        """Calls go on; harmless when it is open."""
        self._gate.set()

    @asynccontextmanager
    async def drained(self) -> AsyncIterator[None]:
        """Inside, no reader runs; calls that come meanwhile wait."""
        empty = trio.Event()
        self.close_gate(empty.set)
        try:
            await empty.wait()
            yield
        finally:
            self.open_gate()

    async def aclose(self) -> None:
        """Let running calls end, close the connections; later calls raise ClosedError."""
        self.closed = True
        with trio.CancelScope(deadline=math.inf, shield=True):
            async with self.drained():
                idle, self._idle = self._idle, []
                await run_blocking(_close_all, idle)
            await self._alone.over()


def read_once(
    open_reader: Callable[[], sqlite3.Connection], fn: Callable[[sqlite3.Connection], T]
) -> T:
    """Open a connection, run `fn(connection)`, close it."""
    connection = open_reader()
    try:
        with translated("reading"):
            return fn(connection)
    finally:
        connection.close()


def _nothing() -> None:
    pass


def _in_transaction(connection: sqlite3.Connection, fn: Callable[[sqlite3.Connection], T]) -> T:
    with translated("reading"):
        connection.execute("BEGIN")
        try:
            return fn(connection)
        finally:
            connection.rollback()  # unless an error has ended the transaction


def _close_all(connections: list[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()
