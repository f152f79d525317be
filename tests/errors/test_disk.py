"""A disk that is full: DiskFullError, reads go on, and with room so do the writes."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from centroidb import (
    Database,
    DiskFullError,
    Limits,
    Table,
    open_db,
)
from tests.errors.harness import vectors
from tests.wal.files import run_python

MIB = 1 << 20
DIM = 32
ROWS_A_WRITE = 200
LIMITS = Limits(sqlite_wal_bytes=MIB // 2, slice_bytes=MIB // 8, chunk_bytes=MIB // 8)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB, most of it taken by a file `room` that can be deleted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    (folder / "room").write_bytes(b"x" * (3 * MIB))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def fill(table: Table, first: int = 0) -> int:
    """Write until the disk is full; returns the first key that was refused."""
    key = first
    while True:
        rows = np.arange(key, key + ROWS_A_WRITE)
        try:
            await table.upsert(rows, vectors(ROWS_A_WRITE, DIM, key))
        except DiskFullError:
            return key
        key += ROWS_A_WRITE


async def require(table: Table, n: int) -> None:
    """The table has exactly the first `n` keys, and their vectors."""
    assert await table.count() == n
    for first in range(0, n, ROWS_A_WRITE):
        row = await table.get(first, vectors=True)
        assert np.array_equal(row.vector, vectors(ROWS_A_WRITE, DIM, first)[0])
    assert (await table.search(vectors(1, DIM)[0], k=1, exact=True)).ids == [0]


@asynccontextmanager
async def full(folder: Path) -> AsyncIterator[tuple[Database, Table, int]]:
    """A database on a full disk, with the number of rows that went in."""
    async with open_db(folder / "a.db", limits=LIMITS) as db:
        table = await db.create_table("t", dim=DIM)
        await table.upsert(range(ROWS_A_WRITE), vectors(ROWS_A_WRITE, DIM))
        await table.create_index("ix", nlist=4)
        yield db, table, await fill(table, ROWS_A_WRITE)


async def test_a_full_disk(small_disk: Path) -> None:
    """On a full disk writes raise DiskFullError, reads go on, and nothing acknowledged is lost."""
    async with full(small_disk) as (db, table, n):
        for _ in range(3):
            with pytest.raises(DiskFullError, match="writing: the disk is full"):
                await table.upsert(range(n, n + 2_000), vectors(2_000, DIM))
        await require(table, n)
        assert (await db.check()).errors == ()

    async with open_db(small_disk / "a.db", read_only=True) as db:
        await require(await db.table("t"), n)


async def test_with_room_writes_go_on(small_disk: Path) -> None:
    """When somebody has made room the same database writes on, without reopening."""
    async with full(small_disk) as (db, table, n):
        (small_disk / "room").unlink()
        await table.upsert(range(n, n + ROWS_A_WRITE), vectors(ROWS_A_WRITE, DIM, n))
        await require(table, n + ROWS_A_WRITE)
        await (await db.index("ix")).rebuild(nlist=8)
        assert (await db.check()).errors == ()

    assert sorted(each.name for each in small_disk.iterdir()) == ["a.db"]


async def test_closing_on_a_full_disk(small_disk: Path) -> None:
    """A close without room raises nothing; with room the next open has all acknowledged rows."""
    async with full(small_disk) as (_, _, n):
        pass
    (small_disk / "room").unlink()

    async with open_db(small_disk / "a.db") as db:
        await require(await db.table("t"), n)
        assert (await db.check()).errors == ()
    assert sorted(each.name for each in small_disk.iterdir()) == ["a.db"]


async def test_backing_up_without_room(small_disk: Path) -> None:
    """Without room a backup is DiskFullError and leaves nothing behind."""
    async with full(small_disk) as (db, table, n):
        with pytest.raises(DiskFullError, match="backup to"):
            await db.backup(small_disk / "b.db")
        assert not list(small_disk.glob("b.db*"))
        await require(table, n)


async def test_opening_without_room(small_disk: Path) -> None:
    """Without any room a new file, and a closed one, are DiskFullError; with room both open."""
    async with full(small_disk):
        pass
    use_up(small_disk)
    for name in ("a.db", "new.db"):
        with pytest.raises(DiskFullError):
            async with open_db(small_disk / name):
                raise AssertionError("not reached")
    assert not (small_disk / "new.db").exists()

    (small_disk / "room").unlink()
    for name in ("a.db", "new.db"):
        async with open_db(small_disk / name) as db:
            assert (await db.check()).errors == ()


def use_up(folder: Path) -> None:
    """Write until nothing fits any more."""
    descriptor = os.open(folder / "more", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 4_096)
    except OSError:
        os.close(descriptor)


FILE_SIZE_LIMIT = """
import resource, sys
import numpy as np, trio
from centroidb import CentroiDBError, open_db

async def main():
    async with open_db(sys.argv[1]) as db:
        table = await db.create_table("t", dim=32)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        n = 0
        try:
            while True:
                await table.upsert(range(n, n + 200), np.ones((200, 32)))
                n += 200
        except CentroiDBError as error:
            print(type(error).__name__, n)
        try:
            await table.upsert(5, np.ones(32))
        except CentroiDBError as error:
            print(type(error).__name__)
        print(await table.count())

trio.run(main)
"""


async def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """A write beyond RLIMIT_FSIZE is a disk error: unknown outcome, no more writes, reads go on."""
    said = run_python(FILE_SIZE_LIMIT, str(tmp_path / "a.db"))
    assert said.returncode == 0, said.stderr
    error, n, later, count = said.stdout.split()

    assert (error, later) == ("CommitOutcomeUnknown", "CommitOutcomeUnknown")
    assert 0 < int(n) == int(count)
    async with open_db(tmp_path / "a.db") as db:
        assert int(n) <= await (await db.table("t")).count() <= int(n) + 200
        assert (await db.check()).errors == ()
