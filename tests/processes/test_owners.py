"""One owner a file: refused openings, and owners that die."""

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from centroidb import LockedError, NotADatabaseError, open_db
from tests.support.databases import SMALL, checked_db

from .children import started
from .roles import ACCOUNTS, AMOUNT, hold, make_accounts, move, own, total, try_to_own

SOME_COMMITS = 20


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file with all accounts."""
    await make_accounts(tmp_path / "bank.db")
    return tmp_path / "bank.db"


def files(path: Path) -> dict[str, str]:
    """Every file of the folder with the hash of its content."""
    return {each.name: sha256(each.read_bytes()).hexdigest() for each in path.parent.iterdir()}


async def money(path: Path) -> int:
    """All money, as a reader sees it."""
    async with open_db(path, read_only=True) as db:
        return await total(await db.table("accounts"))


async def test_a_second_owner_is_refused_by_name(path: Path) -> None:
    """Who opens a file that another process owns is told which process that is."""
    with started(hold, str(path)) as (owner, pipe):
        assert pipe.recv() == "open"
        with pytest.raises(LockedError, match=f"process {owner.pid} on .*read_only=True"):
            async with open_db(path):
                raise AssertionError("it has opened")
        pipe.send("stop")
        assert pipe.recv() == "closed"
    async with checked_db(path) as db:
        assert await (await db.table("accounts")).count() == ACCOUNTS


async def test_a_second_owner_is_refused_in_another_process(path: Path) -> None:
    """The same holds the other way round, and inside one process."""
    async with checked_db(path):
        with started(try_to_own, str(path)) as (_, pipe):
            assert "open for writing elsewhere" in pipe.recv()
        with pytest.raises(LockedError, match="open for writing elsewhere"):
            async with open_db(path):
                raise AssertionError("it has opened")
    with started(try_to_own, str(path)) as (_, pipe):
        assert pipe.recv() == "opened"


async def test_a_closed_file_is_read_without_a_trace(path: Path) -> None:
    """Reading a file that nobody owns changes nothing and leaves nothing beside it."""
    before = files(path)
    assert list(before) == ["bank.db"]
    assert await money(path) == ACCOUNTS * AMOUNT
    assert files(path) == before


async def test_a_file_in_wal_mode_without_a_wal_can_be_read(path: Path) -> None:
    """A file that was left in WAL mode, all of it checkpointed, can be read."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("SELECT count(*) FROM meta").fetchall()
    before = files(path)["bank.db"]
    assert await money(path) == ACCOUNTS * AMOUNT
    assert files(path)["bank.db"] == before


async def test_what_a_dead_owner_has_left_can_be_read(path: Path) -> None:
    """After the owner was killed a reader sees a committed state; the next owner recovers."""
    with started(own, str(path)) as (owner, pipe):
        assert pipe.recv() == "open"
        while True:
            pipe.send("how far?")
            if pipe.recv().commits > SOME_COMMITS:
                break
        owner.kill()
        owner.join()
    assert path.with_name("bank.db-wal").exists()
    async with open_db(path, read_only=True) as reader:
        assert (await reader.statistics()).clean_at_open is None
    assert await money(path) == ACCOUNTS * AMOUNT
    async with checked_db(path, limits=SMALL) as db:
        assert await total(await db.table("accounts")) == ACCOUNTS * AMOUNT
        assert (await db.statistics()).clean_at_open is False
    assert list(files(path)) == ["bank.db"]


async def test_a_new_owner_recovers_beside_a_reader(path: Path) -> None:
    """A reader's snapshot outlives the owner, and what the next owner recovers and writes."""
    random = np.random.default_rng(1)
    with started(own, str(path)) as (owner, pipe):
        assert pipe.recv() == "open"
        async with open_db(path, read_only=True) as reader, reader.snapshot() as snapshot:
            rows = [row async for row in snapshot.iterate("accounts")]
            owner.kill()
            owner.join()
            async with checked_db(path, limits=SMALL) as db:
                for _ in range(SOME_COMMITS):
                    await move(db, random)
                await (await db.index("ix")).rebuild()
                await db.vacuum()
                assert [row async for row in snapshot.iterate("accounts")] == rows
                assert await total(await reader.table("accounts")) == ACCOUNTS * AMOUNT
            assert [row async for row in snapshot.iterate("accounts")] == rows
    assert await money(path) == ACCOUNTS * AMOUNT
    async with checked_db(path):
        pass
    assert list(files(path)) == ["bank.db"]


async def test_an_owner_closes_beside_a_reader(path: Path) -> None:
    """The owner's close waits for no reader; the reader goes on, and so does the next owner."""
    with started(own, str(path)) as (_, pipe):
        assert pipe.recv() == "open"
        async with open_db(path, read_only=True) as reader, reader.snapshot() as snapshot:
            rows = [row async for row in snapshot.iterate("accounts")]
            pipe.send("stop")
            assert pipe.recv() == "closed"
            assert [row async for row in snapshot.iterate("accounts")] == rows
            assert await total(await reader.table("accounts")) == ACCOUNTS * AMOUNT
            async with checked_db(path, limits=SMALL) as db:
                await move(db, np.random.default_rng(3))
            assert [row async for row in snapshot.iterate("accounts")] == rows
    async with checked_db(path):
        pass
    assert list(files(path)) == ["bank.db"]


async def test_a_snapshot_of_a_closed_file_keeps_owners_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner is refused while a reader's snapshot, begun without an owner, is held."""
    monkeypatch.setattr("centroidb.wal.connection._BUSY_TIMEOUT_S", 0.0)
    async with open_db(path, read_only=True) as reader:
        async with reader.snapshot():
            with pytest.raises(LockedError, match="another process reads the closed file"):
                async with open_db(path):
                    raise AssertionError("it has opened")
        async with checked_db(path) as db:
            await move(db, np.random.default_rng(2))
        assert await total(await reader.table("accounts")) == ACCOUNTS * AMOUNT


async def test_a_missing_file_is_not_made_by_a_reader(tmp_path: Path) -> None:
    """A reader of a file that is not there is told so, and no file appears."""
    with pytest.raises(NotADatabaseError, match="no such file"):
        async with open_db(tmp_path / "nothing.db", read_only=True):
            raise AssertionError("it has opened")
    assert list(tmp_path.iterdir()) == []
