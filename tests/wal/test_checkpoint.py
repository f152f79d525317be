"""Checkpoints: SQLite's WAL is emptied beside readers, and stays bounded."""

import sqlite3
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import trio

from centroidb import Limits
from centroidb.wal.file import DatabaseFile, ForeignFile
from centroidb.wal.pool import ReaderPool
from centroidb.wal.types import TableId
from tests.support.databases import SMALL, checked_db
from tests.wal.files import create_table, keys_in, open_checked, put

TABLE = TableId(1)


@pytest.fixture
def filled(tmp_path: Path) -> object:
    """An open file with some hundred kilobytes in its WAL."""
    with open_checked(tmp_path / "a.db") as file:
        create_table(file.writer)
        for commit in range(5):
            put(file.writer, TABLE, *range(100 * commit, 100 * commit + 100))
        assert file.sqlite_wal_bytes() > 100_000
        yield file


def test_a_checkpoint_empties_the_wal(filled: DatabaseFile) -> None:
    """Without readers a checkpoint moves everything into the file and leaves an empty WAL."""
    assert filled.checkpoint()

    assert filled.sqlite_wal_bytes() == 0
    assert len(keys_in(filled.writer, TABLE)) == 500


def test_an_idle_connection_is_not_in_the_way(filled: DatabaseFile) -> None:
    """Readers between two calls hold nothing back."""
    reader = filled.open_reader()
    assert len(keys_in(reader, TABLE)) == 500

    assert filled.checkpoint()
    assert filled.sqlite_wal_bytes() == 0
    reader.close()


def test_a_reader_at_work_is_in_the_way(filled: DatabaseFile) -> None:
    """Beside a read transaction the WAL stays, at once and without an error; then it goes."""
    reader = filled.open_reader()
    reader.execute("BEGIN")
    keys_in(reader, TABLE)
    put(filled.writer, TABLE, 1_000)

    assert not filled.checkpoint()
    assert filled.sqlite_wal_bytes() > 0
    assert len(keys_in(reader, TABLE)) == 500
    reader.execute("ROLLBACK")
    assert filled.checkpoint()
    assert len(keys_in(reader, TABLE)) == 501
    reader.close()


def test_backfilling_beside_a_reader(filled: DatabaseFile) -> None:
    """Copying the WAL into the file needs no drained pool, and changes no reader's state."""
    reader = filled.open_reader()
    reader.execute("BEGIN")
    assert len(keys_in(reader, TABLE)) == 500
    put(filled.writer, TABLE, 1_000)
    before = filled.file_bytes()

    filled.backfill()

    assert filled.file_bytes() > before
    assert len(keys_in(reader, TABLE)) == 500
    reader.close()


async def test_the_wal_is_emptied_beside_busy_readers(filled: DatabaseFile) -> None:
    """With readers always at work a checkpoint behind the gate still empties the WAL."""
    pool = ReaderPool(filled.open_reader, 3)
    reads = 0

    async def read_on() -> None:
        nonlocal reads
        while True:
            await pool.read(lambda connection: len(keys_in(connection, TABLE)))
            reads += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read_on)
        for key in range(3):
            put(filled.writer, TABLE, 2_000 + key)
            async with pool.drained():
                assert await trio.to_thread.run_sync(filled.checkpoint)
                assert filled.sqlite_wal_bytes() == 0
            seen = reads
            while reads < seen + 3:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await pool.aclose()


async def test_the_wal_stays_bounded_under_load(tmp_path: Path) -> None:
    """Beside searches that never pause the WAL is emptied again and again, and stays small."""
    limits = Limits(**{**vars(SMALL), "sqlite_wal_bytes": 200_000})
    rng = np.random.default_rng(0)
    sizes = []
    async with checked_db(tmp_path / "a.db", limits=limits) as db:
        table = await db.create_table("t", dim=8)

        async def search_on() -> None:
            while True:
                await table.search(np.ones(8), k=3)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(search_on)
            nursery.start_soon(search_on)
            for commit in range(60):
                keys = range(20 * commit, 20 * commit + 20)
                await table.upsert(keys, rng.normal(size=(20, 8)))
                sizes.append((await db.statistics()).sqlite_wal_bytes)
            nursery.cancel_scope.cancel()
        assert await table.count() == 1_200
    emptied = sum(later < earlier for earlier, later in pairwise(sizes))
    assert emptied >= 5
    assert max(sizes) < 3 * limits.sqlite_wal_bytes


def test_a_foreign_readers_transaction_is_respected(filled: DatabaseFile) -> None:
    """A read transaction of a read-only open holds the WAL back and sees one state throughout."""
    foreign = ForeignFile(filled.path)
    reader = foreign.open_reader()
    reader.execute("BEGIN")
    assert len(keys_in(reader, TABLE)) == 500
    put(filled.writer, TABLE, 1_000)

    assert not filled.checkpoint()
    assert len(keys_in(reader, TABLE)) == 500
    reader.close()
    foreign.close()
    assert filled.checkpoint()


def test_the_writer_waits_again_after_a_checkpoint(filled: DatabaseFile) -> None:
    """A checkpoint does not wait for readers, and leaves the writer's own patience as it was."""
    before = _busy_timeout(filled.writer)
    filled.checkpoint()

    assert _busy_timeout(filled.writer) == before == 5_000


def _busy_timeout(connection: sqlite3.Connection) -> int:
    (milliseconds,) = connection.execute("PRAGMA busy_timeout").fetchone()
    return int(milliseconds)
