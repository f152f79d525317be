"""SQLite's locks on the file stay, whatever is called: without them a stranger deletes the WAL."""

import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import numpy as np
import pytest

from centroidb import CorruptError, Database, LockedError, open_db
from tests.support.databases import SMALL, checked_db
from tests.wal.files import names

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/locks")

Call = Callable[[Database], Awaitable[object]]
VECTORS = np.eye(4, dtype=np.float32)


def locks_on(path: str) -> set[tuple[str, str]]:
    """(kind, first byte) of the locks that this process holds on a file."""
    inode = str(Path(path).stat().st_ino)
    held = set()
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, _, access, pid, place, start, _ = line.replace("-> ", "").split()
        if pid == str(os.getpid()) and place.split(":")[2] == inode:
            held.add((f"{kind} {access}", start))
    return held


@asynccontextmanager
async def filled(path: Path) -> AsyncIterator[Database]:
    """A database with a table, an index and a few rows."""
    async with checked_db(path, limits=SMALL) as db:
        table = await db.create_table("t", dim=4)
        await table.upsert(range(80), np.random.default_rng(0).normal(size=(80, 4)))
        await table.create_index("ix", nlist=4)
        yield db


async def write(db: Database) -> object:
    """Writes of every kind."""
    table = await db.table("t")
    await table.upsert([1, 2, 3, 4], VECTORS)
    await table.update_payloads([1], [{"a": 1}])
    async with db.transaction() as tx:
        await tx.upsert("t", 900, VECTORS[0])
    return await table.delete([2, 3])


async def read(db: Database) -> object:
    """Reads of every kind."""
    table = await db.table("t")
    async with db.snapshot() as snapshot:
        await snapshot.count("t")
    await table.get([1, 2], vectors=True)
    _ = [row async for row in table.iterate()]
    await table.search(VECTORS, k=3, exact=True)
    return await table.search(VECTORS[0], k=3, nprobe=4)


async def define(db: Database) -> None:
    """Tables and indexes that come and go."""
    table = await db.create_table("u", dim=2)
    await table.create_index("iu")
    await db.drop_index("iu")
    await db.drop_table("u")


async def rebuild(db: Database) -> object:
    """A rebuild by statement."""
    return await db.execute("ALTER INDEX ix REBUILD ONLINE PARALLEL 2")


async def open_again(db: Database) -> None:
    """A second open for writing, which is refused."""
    with pytest.raises(LockedError):
        async with open_db(db.path):
            raise AssertionError("not reached")


async def open_to_read(db: Database) -> None:
    """Read-only opens beside it, one inside the other."""
    async with open_db(db.path, read_only=True) as outer:
        async with open_db(db.path, read_only=True) as inner:
            assert await (await inner.table("t")).count() == await (await outer.table("t")).count()
        await (await outer.table("t")).search(VECTORS[0])
        await outer.check()


async def back_up(db: Database) -> None:
    """A backup, and one that is refused."""
    await db.backup(f"{db.path}.copy")
    with pytest.raises(ValueError, match="exists already"):
        await db.backup(f"{db.path}.copy")


CALLS: dict[str, Call] = {
    "write": write,
    "read": read,
    "define": define,
    "rebuild": rebuild,
    "open again": open_again,
    "open to read": open_to_read,
    "backup": back_up,
    "check": lambda db: db.check(),
    "statistics": lambda db: db.statistics(),
    "jobs": lambda db: db.jobs(),
    "vacuum": lambda db: db.vacuum(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_no_call_drops_the_locks(tmp_path: Path, call: Call) -> None:
    """The locks held on the database file after each public call are those held before it."""
    async with filled(tmp_path / "a.db") as db:
        before = locks_on(db.path)
        assert {kind for kind, _ in before} == {"POSIX READ", "FLOCK WRITE"}
        await call(db)
        assert locks_on(db.path) == before


async def test_a_plain_close_would_drop_them(tmp_path: Path) -> None:
    """The test can fail: a descriptor of the file, opened and closed, takes SQLite's lock away."""
    async with filled(tmp_path / "a.db") as db:
        os.close(os.open(db.path, os.O_RDONLY))
        assert {kind for kind, _ in locks_on(db.path)} == {"FLOCK WRITE"}


async def test_nothing_is_held_after_the_close(tmp_path: Path) -> None:
    """A closed database has neither locks nor open descriptors left."""
    before = len(names(Path("/proc/self/fd")))
    async with filled(tmp_path / "a.db") as db:
        path = db.path

    assert locks_on(path) == set()
    assert len(names(Path("/proc/self/fd"))) == before


async def test_an_error_holds_no_file_open(tmp_path: Path) -> None:
    """A file that is refused is closed at once, though the error is kept, with its traceback."""
    async with filled(tmp_path / "a.db"):
        pass
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("UPDATE generations SET parameters = 'no JSON'")
    before = len(names(Path("/proc/self/fd")))

    with pytest.raises(CorruptError) as kept:
        async with open_db(tmp_path / "a.db", read_only=True) as db:
            await db.tables()

    assert len(names(Path("/proc/self/fd"))) == before
    assert kept.value.__traceback__ is not None
