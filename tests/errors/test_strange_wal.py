"""A WAL that is left beside another file, or beside none, is never played back."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from centroidb import StorageError, open_db
from tests.support.databases import SMALL, checked_db

from .harness import vectors


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """What a killed process leaves of `a.db`: a file and its WAL. Beside it a backup, `b.db`."""
    path = tmp_path / "a.db"
    async with checked_db(path, limits=SMALL) as db:
        table = await db.create_table("t", dim=3)
        await table.upsert(range(50), vectors(50))
        await db.backup(tmp_path / "b.db")
        await table.upsert(range(50, 90), vectors(40))
        (tmp_path / "left").mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", tmp_path / "left" / f"a.db{suffix}")
    return tmp_path / "left" / "a.db"


async def refused(path: Path, **options: Any) -> None:
    """Opening says what lies there, and nothing is changed."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    with pytest.raises(StorageError, match="a WAL lies beside it"):
        async with open_db(path, **options):
            raise AssertionError("it was opened")
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


async def test_a_new_file_is_not_made_beside_a_wal(killed: Path) -> None:
    """Where only the WAL is left, a new database is not begun under it."""
    killed.unlink()
    await refused(killed)


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_file_put_before_a_strange_wal(killed: Path, read_only: bool) -> None:
    """A backup copied over a killed file is refused while that file's WAL lies there."""
    shutil.copy(killed.parent.parent / "b.db", killed)
    await refused(killed, read_only=read_only)

    killed.with_name("a.db-wal").unlink()
    async with checked_db(killed) as db:
        assert await (await db.table("t")).count() == 50


async def test_a_backup_is_not_made_before_a_wal(killed: Path, tmp_path: Path) -> None:
    """A copy under a name beside which a WAL lies would be read together with it."""
    killed.unlink()
    async with open_db(tmp_path / "b.db") as db:
        with pytest.raises(StorageError, match="a WAL lies beside it"):
            await db.backup(killed)
    assert [each.name for each in killed.parent.iterdir()] == ["a.db-wal"]


async def test_its_own_wal_is_played_back(killed: Path) -> None:
    """What the killed process had committed is there."""
    async with checked_db(killed) as db:
        assert await (await db.table("t")).count() == 90
