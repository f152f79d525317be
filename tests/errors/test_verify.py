"""`open_db(..., verify="full")`: what `check()` would find is found before anything is written."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from centroidb import CorruptError, InputError, open_db
from tests.errors.harness import filled_db

UNSEEN = {
    "live rows": "UPDATE tables SET live = 7 WHERE name = 'ints'",
    "a row": "UPDATE rows_1 SET crc = crc + 1 WHERE vid = 6",
    "a key lost": "DELETE FROM live_1 WHERE key = 5",
    "a segment": "UPDATE partitions SET codes = zeroblob(length(codes)) WHERE id = 2",
}
"""Damage that an open does not look for."""


async def made(folder: Path, script: str | None) -> Path:
    """A closed file, damaged behind its back."""
    path = folder / "a.db"
    async with filled_db(path):
        pass
    if script is not None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(script)
        assert connection.total_changes
        connection.close()
    return path


async def refused(path: Path, **options: Any) -> str:
    """Opening says what is wrong and leaves everything as it was; the words."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    with pytest.raises(CorruptError) as caught:
        async with open_db(path, verify="full", **options):
            raise AssertionError("it was opened")
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before
    return str(caught.value)


@pytest.mark.parametrize("script", UNSEEN.values(), ids=UNSEEN.keys())
@pytest.mark.parametrize("read_only", [False, True])
async def test_damage_is_refused(tmp_path: Path, script: str, read_only: bool) -> None:
    """What a quick open does not see is CorruptError, with all findings of `check()` in it."""
    path = await made(tmp_path, script)
    words = await refused(path, read_only=read_only)
    async with open_db(path, read_only=True) as db:
        findings = await db.check()
    assert findings.errors
    assert all(error in words for error in findings.errors)


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_whole_file_is_opened(tmp_path: Path, read_only: bool) -> None:
    """Where nothing is wrong the database is as after any open."""
    path = await made(tmp_path, None)
    async with open_db(path, verify="full", read_only=read_only) as db:
        assert (await (await db.table("ints")).get(5)).payload == {"n": 5}


async def test_a_new_file_is_made(tmp_path: Path) -> None:
    """Where there is no file yet, nothing stands in the way."""
    async with open_db(tmp_path / "a.db", verify="full") as db:
        assert await db.tables() == []


async def test_another_word_is_refused(tmp_path: Path) -> None:
    """`verify` is one of two words."""
    with pytest.raises(InputError, match="verify"):
        async with open_db(tmp_path / "a.db", verify="some"):  # type: ignore[arg-type]  # meant
            raise AssertionError("it was opened")
