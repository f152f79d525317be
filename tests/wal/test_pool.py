"""The pool of readers and its gate."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from centroidb.wal.errors import ClosedError, CorruptError
from centroidb.wal.file import DatabaseFile
from centroidb.wal.pool import ReaderPool
from tests.wal.files import create_table, keys_in, open_checked, put

READERS = 2


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DatabaseFile]:
    """An open file with a table of one row."""
    with open_checked(tmp_path / "a.db") as made:
        put(made.writer, create_table(made.writer), 1)
        yield made


@pytest.fixture
async def pool(file: DatabaseFile) -> object:
    """A pool of two readers, closed at the end."""
    made = ReaderPool(file.open_reader, READERS)
    yield made
    await made.aclose()


def count(connection: sqlite3.Connection) -> int:
    """How many keys there are."""
    return len(keys_in(connection, 1))  # type: ignore[arg-type]  # the first table


class Held:
    """Reads that stay in their worker threads until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = 0
        self.ended = 0

    def __call__(self, connection: sqlite3.Connection) -> int:
        self.running += 1
        self.go.wait(60)
        self.ended += 1
        return count(connection)


@contextmanager
def let_go(held: Held) -> Iterator[Held]:
    """Let the threads end however the block is left."""
    try:
        yield held
    finally:
        held.go.set()


async def started(held: Held, n: int) -> None:
    """Wait until `n` reads are in their threads."""
    while held.running < n:
        await wait_all_tasks_blocked(0.001)


async def test_a_read_is_one_state(pool: ReaderPool, file: DatabaseFile) -> None:
    """A commit that comes while a read runs is not seen by it, but by the next one."""

    def twice(connection: sqlite3.Connection) -> tuple[int, int]:
        before = count(connection)
        put(file.writer, 1, 2)  # type: ignore[arg-type]  # the first table
        return before, count(connection)

    assert await pool.read(twice) == (1, 1)
    assert await pool.read(count) == 2


async def test_a_reader_can_not_write(pool: ReaderPool) -> None:
    """A connection of the pool refuses to write."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM live_1")

    with pytest.raises(Exception, match="can not be written to"):
        await pool.read(write)
    assert await pool.read(count) == 1


async def test_errors_come_out_typed_and_readers_go_on(pool: ReaderPool) -> None:
    """An error inside a read comes out, SQLite's typed; the connection serves the next read."""

    def fail(error: Exception) -> Callable[[sqlite3.Connection], None]:
        def raising(_: sqlite3.Connection) -> None:
            raise error

        return raising

    damaged = sqlite3.DatabaseError("malformed")
    damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    for _ in range(READERS + 1):
        with pytest.raises(CorruptError, match="reading: the file is damaged"):
            await pool.read(fail(damaged))
        with pytest.raises(ZeroDivisionError):
            await pool.read(fail(ZeroDivisionError()))
    assert await pool.read(count) == 1


async def test_no_more_read_at_once_than_there_are_readers(pool: ReaderPool) -> None:
    """Of three calls two run; the third starts when one of them ends."""
    with let_go(Held()) as held:
        async with trio.open_nursery() as nursery:
            for _ in range(READERS + 1):
                nursery.start_soon(pool.read, held)
            await started(held, READERS)
            await wait_all_tasks_blocked()
            assert held.running == READERS
            held.go.set()
    assert held.ended == READERS + 1


async def test_connections_are_used_again(file: DatabaseFile) -> None:
    """Any number of reads, one after the other, opens one connection."""
    opened: list[sqlite3.Connection] = []

    def open_reader() -> sqlite3.Connection:
        opened.append(file.open_reader())
        return opened[-1]

    pool = ReaderPool(open_reader, 4)
    for _ in range(10):
        await pool.read(count)

    assert len(opened) == 1
    await pool.aclose()


async def test_draining_waits_for_running_reads(pool: ReaderPool) -> None:
    """The body of `drained` begins only when the last running read has ended."""
    entered = []

    async def drain() -> None:
        async with pool.drained():
            entered.append(held.ended)

    with let_go(Held()) as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.read, held)
            nursery.start_soon(pool.read, held)
            await started(held, 2)
            nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            assert entered == []
            assert "draining: 2 running" in repr(pool)
            held.go.set()
    assert entered == [2]


async def test_reads_that_come_while_draining_wait(pool: ReaderPool) -> None:
    """A call that comes while the gate is closed runs after it has opened."""
    seen: list[int] = []

    async def read() -> None:
        seen.append(await pool.read(count))

    async with trio.open_nursery() as nursery, pool.drained():
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        assert seen == []
        assert "0 running" in repr(pool)
    assert seen == [1]


@pytest.mark.parametrize("steps", range(6))
async def test_no_read_slips_through_a_closing_gate(pool: ReaderPool, steps: int) -> None:
    """At whatever step a call is when the gate closes, none runs inside `drained`."""
    async with trio.open_nursery() as nursery:
        for _ in range(READERS):
            nursery.start_soon(pool.read, count)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        async with pool.drained():
            await wait_all_tasks_blocked()
            assert "draining: 0 running" in repr(pool)


async def test_the_gate_can_close_again_at_once(pool: ReaderPool) -> None:
    """A call let through by an opening gate that closes again in the same step still waits."""
    async with trio.open_nursery() as nursery:
        async with pool.drained():
            nursery.start_soon(pool.read, count)
            await wait_all_tasks_blocked()
        async with pool.drained():
            await wait_all_tasks_blocked()
            assert "draining: 0 running" in repr(pool)


async def test_the_gate_opens_after_an_error(pool: ReaderPool) -> None:
    """A checkpoint that fails, or is cancelled, leaves the gate open."""
    with pytest.raises(ZeroDivisionError):
        async with pool.drained():
            raise ZeroDivisionError
    with let_go(Held()) as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.read, held)
            await started(held, 1)
            with trio.CancelScope() as scope:
                scope.cancel()
                async with pool.drained():
                    raise AssertionError("not reached")
            held.go.set()

    assert await pool.read(count) == 1


async def test_a_cancelled_read_ends_first(pool: ReaderPool) -> None:
    """A cancelled call leaves when its thread has ended, so its connection is free again."""
    with let_go(Held()) as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.read, held)
            await started(held, 1)
            nursery.cancel_scope.cancel()
            held.go.set()
    assert held.ended == 1
    assert await pool.read(count) == 1


@pytest.mark.parametrize("call", ["read", "read_alone"])
async def test_closing_lets_running_reads_end(file: DatabaseFile, call: str) -> None:
    """Closing waits for running reads, then closes all connections; later calls are refused."""
    pool = ReaderPool(file.open_reader, READERS)
    connections: list[sqlite3.Connection] = []
    closed: list[int] = []

    def keep(connection: sqlite3.Connection) -> int:
        connections.append(connection)
        return held(connection)

    async def close(pool: ReaderPool) -> None:
        await pool.aclose()
        closed.append(held.ended)

    with let_go(Held()) as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(pool, call), keep)
            await started(held, 1)
            nursery.start_soon(close, pool)
            await wait_all_tasks_blocked()
            assert closed == []
            held.go.set()
    assert closed == [1]

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].execute("SELECT 1")
    with pytest.raises(ClosedError, match="the database is closed"):
        await getattr(pool, call)(count)


async def test_calls_that_wait_while_it_closes_are_refused(file: DatabaseFile) -> None:
    """A call that waits for a slot or at the gate when the pool closes gets ClosedError."""
    pool = ReaderPool(file.open_reader, 1)
    refused: list[str] = []

    async def read() -> None:
        try:
            await pool.read(count)
        except ClosedError as error:
            refused.append(str(error))

    with let_go(Held()) as held:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.read, held)
            await started(held, 1)
            nursery.start_soon(read)
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            nursery.start_soon(pool.aclose)
            await wait_all_tasks_blocked()
            held.go.set()
    assert refused == ["the database is closed"] * 2
