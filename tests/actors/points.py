"""Small tables to upset, and the means to: faults, damage, a full disk, a turn that waits."""

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from numpy.typing import NDArray
from trio.testing import wait_all_tasks_blocked

from centroidb import Database, DiskFullError, Index, Table
from centroidb.engine.actors.supervisor import Supervisor
from centroidb.engine.db.source import LiveSource

SEED = 7
ALL = 60_000
"""More partitions than any index has."""

Vectors = NDArray[np.float32]


def points(n: int, dim: int = 3) -> Vectors:
    """`n` vectors, float32 (n, dim)."""
    return np.random.default_rng(SEED).normal(size=(n, dim)).astype(np.float32)


async def filled(db: Database, name: str, n: int, *, dim: int = 3) -> Table:
    """A table whose keys are 0 to n - 1."""
    table = await db.create_table(name, dim=dim)
    await table.upsert(range(n), points(n, dim))
    return table


async def indexed(db: Database, name: str, n: int, *, dim: int = 3) -> tuple[Table, Index]:
    """The same with an index of the same name, of nine partitions."""
    table = await filled(db, name, n, dim=dim)
    return table, await table.create_index(name, nlist=9)


def supervisor_of(db: Database) -> Supervisor:
    """The actors behind an open database."""
    source = db._source
    assert isinstance(source, LiveSource)
    return source._supervisor


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until `condition` holds."""
    with trio.fail_after(60):
        while not condition():
            await trio.lowlevel.checkpoint()


async def filed(db: Database) -> None:
    """Wait until no row waits to be filed."""
    await until(lambda: supervisor_of(db).state.lag() == (0, 0))


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """The next call of `owner.name` finds the disk full."""
    real = getattr(owner, name)

    def full(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(owner, name, real)
        raise DiskFullError("no room, once")

    monkeypatch.setattr(owner, name, full)


async def set_room(db: Database, pages: int) -> None:
    """From now on the file may grow by so many pages."""

    def limit(connection: sqlite3.Connection) -> None:
        (now,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {now + pages:d}").fetchall()

    await supervisor_of(db).committer.write(limit)


def damage(path: Path, statement: str) -> None:
    """Change a closed file behind the library's back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


@asynccontextmanager
async def held_turn(db: Database) -> AsyncIterator[None]:
    """The Committer is busy until the block ends: what comes meanwhile becomes one group."""
    go_on = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor_of(db).committer.write, lambda _: go_on.wait())
        await wait_all_tasks_blocked()
        try:
            yield
        finally:
            go_on.set()
